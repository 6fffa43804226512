//! BEP 9, 10, 21: what a torrent and its peers say of themselves, and which extension a message is for.

use alloc::string::String;

use bytes::Bytes;

use core::net::{IpAddr, SocketAddr};

use crate::error::Blame;
use crate::id::ConnId;
use crate::limits;
use crate::peer::Peer;
use crate::peer::extensions::{self, METADATA_ID, PEX_ID};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::torrent::content::Content;
use crate::torrent::flow::Flow;
use crate::torrent::metadata;
use crate::torrent::phase::Phase;
use crate::torrent::trade::Trade;
use crate::wire::handshake::PeerId;
use crate::wire::{ExtendedHandshake, Message, MetadataMessage, extended};

/// How often each piece of the metadata is given to a peer; who asks for more gets nothing (BEP 9).
const METADATA_COPIES: u32 = 3;

/// What peers are told of us.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// Whether we want nothing (BEP 21).
    complete: bool,
    /// Bytes of the metadata; 0 if there is none.
    metadata_size: u32,
    /// Whether peers are exchanged: not with a private torrent (BEP 27).
    pex: bool,
}

impl About {
    /// While nothing is known.
    pub(super) fn nothing(ctx: &Shared) -> Self {
        Self {
            complete: false,
            metadata_size: 0,
            pex: ctx.config.pex,
        }
    }

    pub(super) fn of(content: &Content, ctx: &Shared) -> Self {
        Self {
            complete: !content.unjudged && content.picker.missing().count() == 0,
            metadata_size: content.metainfo.info_bytes().len() as u32,
            pex: ctx.config.pex && !content.metainfo.is_private(),
        }
    }
}

/// Introduces us with an extended handshake, or tells what has changed since the last one.
pub(super) fn send_handshake(peer: &mut Peer, ctx: &mut Shared, about: About) {
    if !peer.extended {
        return;
    }
    let About {
        complete,
        metadata_size,
        pex,
    } = about;
    let listen = ctx.identity.listen.map(|address| address.ip());
    let port = ctx.identity.port();
    let own = listen.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let handshake = ExtendedHandshake {
        extensions: extensions::ours(pex),
        client: Some(client_name(&ctx.config.peer_id_prefix)),
        port: (port != 0).then_some(port),
        reqq: Some(ctx.config.max_peer_requests),
        your_ip: Some(peer.address.ip().to_canonical()),
        // The address of the other family: this one it sees.
        ipv4: own.and_then(|ip| match ip {
            IpAddr::V4(ip) if peer.address.is_ipv6() => Some(ip),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }),
        ipv6: own.and_then(|ip| match ip {
            IpAddr::V6(ip) if peer.address.is_ipv4() => Some(ip),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }),
        metadata_size: (metadata_size > 0).then_some(metadata_size),
        // It is worth saying that it is not so only to who heard that it is.
        upload_only: (complete || peer.told_upload_only).then_some(complete),
        encryption: None,
    };
    peer.told_upload_only = complete;
    let payload = Bytes::from(handshake.encode());
    let id = extended::HANDSHAKE_ID;
    peer.send(&mut ctx.out(), &Message::Extended { id, payload });
}

impl Trade {
    /// A message of an extension. One that cannot be read (no dictionary, cut short, too deep, a key twice) leads to
    /// nothing, whichever extension it is for, as one for an extension that nobody has: it is passed over, and its
    /// sender heard on. What was said before still holds.
    pub(super) fn on_extended(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        id: u8,
        payload: &Bytes,
    ) -> Result<(), Blame> {
        match id {
            extended::HANDSHAKE_ID => self.on_extended_handshake(ctx, conn, payload),
            METADATA_ID => self.on_metadata_message(ctx, conn, payload),
            PEX_ID => self.on_pex(ctx, conn, payload),
            // We named no other, so it is for nobody.
            _ => match self.swarm.peers.get_mut(&conn) {
                Some(peer) => peer.count_chatter(),
                None => Ok(()),
            },
        }
    }

    fn on_extended_handshake(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        payload: &[u8],
    ) -> Result<(), Blame> {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let heard = peer.count_chatter();
        let Ok(handshake) = ExtendedHandshake::decode(payload) else {
            return heard;
        };
        peer.extensions.update(&handshake.extensions);
        if let Some(requests) = handshake.reqq {
            peer.allowed_requests = requests.clamp(1, limits::MAX_OUTSTANDING);
        }
        if let Some(client) = handshake.client {
            peer.client = client;
        }
        if let (true, Some(port)) = (peer.incoming, handshake.port) {
            peer.dial_address = Some(SocketAddr::new(peer.address.ip(), port));
        }
        // Its address of the other family, `ipv4` or `ipv6`, is of no use: it is connected, so a second connection to it
        // would be closed, and anybody could have us knock at doors of others with it. Those who have no connection to it
        // hear of its addresses by trackers, PEX and the DHT.
        let own = handshake.your_ip.filter(|_| !peer.incoming);
        let from = peer.address;
        peer.upload_only = handshake.upload_only.unwrap_or(peer.upload_only);
        peer.encryption = handshake.encryption.unwrap_or(peer.encryption);
        peer.metadata_size = handshake.metadata_size.unwrap_or(peer.metadata_size);
        let (address, size) = (peer.address.ip().to_canonical(), peer.metadata_size);
        let speaks = peer.extensions.metadata != 0;
        if let Phase::Fetching(fetching) = &mut self.phase {
            let size = if speaks { size } else { 0 };
            fetching.fetch.offer(conn, address, size);
            self.fetch_more(ctx);
        }
        if let Some(own) = own
            && ctx.config.dht.enabled
            && !self.phase.is_private()
        {
            ctx.signal(Signal::OwnAddress { peer: from, own });
        }
        self.update_exchange(ctx, conn);
        heard
    }

    fn on_metadata_message(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        payload: &Bytes,
    ) -> Result<(), Blame> {
        let message = MetadataMessage::decode(payload).ok().flatten();
        if let Some(MetadataMessage::Data {
            piece,
            total_size,
            data,
        }) = &message
        {
            self.on_metadata(ctx, conn, *piece, *total_size, data)?;
        }
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let heard = peer.count_chatter();
        match message {
            Some(MetadataMessage::Request { piece }) => {
                let info = self.phase.content().map(|content| &content.metainfo);
                let info = info.map(|metainfo| metainfo.info_bytes().clone());
                serve_metadata(peer, &mut self.flow, ctx, &info.unwrap_or_default(), piece);
            }
            Some(MetadataMessage::Reject { piece }) => {
                if let Phase::Fetching(fetching) = &mut self.phase {
                    fetching.fetch.rejected(conn, piece, ctx.now);
                    self.fetch_more(ctx);
                }
            }
            Some(MetadataMessage::Data { .. }) | None => {}
        }
        heard
    }
}

/// Gives a piece of the metadata to who asks for it: so often, and as long as it takes what it got.
fn serve_metadata(peer: &mut Peer, flow: &mut Flow, ctx: &mut Shared, info: &Bytes, piece: u32) {
    let pieces = info
        .len()
        .div_ceil(crate::wire::metadata::PIECE_LEN as usize) as u32;
    let total_size = Some(info.len() as u32);
    let data = metadata::slice(info, piece);
    let id = peer.extensions.metadata;
    if id == 0 {
        return;
    }
    let room = limits::SEND_WINDOW / 2;
    let may = peer.metadata_served < METADATA_COPIES.saturating_mul(pieces)
        && peer.unsent < u64::from(room);
    let mut owed = 0;
    let answer = match data.filter(|_| may) {
        Some(data) => {
            peer.metadata_served += 1;
            owed = data.len() as u64;
            ctx.throttle.up.charge(ctx.now, data.len() as u64);
            flow.up_limit.charge(ctx.now, data.len() as u64);
            MetadataMessage::Data {
                piece,
                total_size,
                data,
            }
        }
        None => MetadataMessage::Reject { piece },
    };
    let payload = answer.encode();
    peer.send(&mut ctx.out(), &Message::Extended { id, payload });
    peer.owed += owed;
}

fn client_name(prefix: &[u8; 8]) -> String {
    PeerId::with_prefix(*prefix, [0; 12]).client()
}
