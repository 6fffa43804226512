//! BEP 9, 53: a torrent of which only the info-hash is known. It finds peers as every torrent does,
//! fetches its metadata from them, and becomes an ordinary torrent without letting go of them.
//!
//! What peers say that they have is kept as it came and judged when the storage is open and checked: a
//! torrent is `early` until then.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::bencode;
use crate::command::Priority;
use crate::ctx::Timer;
use crate::error::Blame;
use crate::id::ConnId;
use crate::limits;
use crate::metainfo::{
    self, FileIndex, FileKind, Layout, Magnet, Metainfo, MetainfoError, torrent_file,
};
use crate::notice::{DisconnectReason, Notice, TorrentState};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::torrent::Torrent;
use crate::torrent::metadata::{Arrival, Fetch};
use crate::torrent::picker::Picker;
use crate::wire::{BlockRequest, Message, MetadataMessage};

/// What trackers are told to be missing while nobody knows how much it is: enough not to be taken for a
/// seed, and what others tell, too.
pub(super) const UNKNOWN_LEFT: u64 = 16 * 1024;

/// More pieces than this are not told one by one: the peers are connected anew instead.
const MAX_HAVES: u32 = 4_096;

impl Torrent {
    /// Looks for the metadata. Connections that there are stay.
    pub(super) fn fetch_metadata(&mut self, ctx: &mut Shared) {
        self.set_state(ctx, TorrentState::FetchingMetadata);
        ctx.signal(Signal::Started(self.id));
        ctx.lsd.join(self.id, ctx.now, &mut ctx.timers);
        self.start_dht(ctx);
        self.seek_peers(ctx);
    }

    /// Asks for what is missing of the metadata.
    pub(crate) fn fetch_more(&mut self, ctx: &mut Shared) {
        if self.state != TorrentState::FetchingMetadata || self.unusable.is_some() {
            return;
        }
        let Some(fetch) = &mut self.fetch else {
            return;
        };
        for (conn, piece) in fetch.requests(ctx.now) {
            if let Some(peer) = self.peers.get_mut(&conn) {
                let id = peer.extensions.metadata;
                let payload = MetadataMessage::Request { piece }.encode();
                peer.send(&mut ctx.out(), &Message::Extended { id, payload });
            }
        }
        match fetch.deadline(ctx.now) {
            Some(at) => ctx.timers.set(Timer::Metadata(self.id), at),
            None => ctx.timers.cancel(Timer::Metadata(self.id)),
        }
    }

    /// The metadata is all that was wanted, or of no use.
    pub(crate) fn on_done(&mut self, ctx: &mut Shared) {
        let at_end = self.unusable.is_some() || self.fetch.is_none();
        if at_end && self.state == TorrentState::FetchingMetadata {
            self.pause(ctx);
        }
    }

    /// A piece of the metadata came.
    pub(super) fn on_metadata(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        piece: u32,
        total_size: Option<u32>,
        data: &[u8],
    ) -> Result<(), Blame> {
        let Some(fetch) = &mut self.fetch else {
            return Ok(());
        };
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.last_useful = ctx.now;
            peer.last_moved = Some(ctx.now);
        }
        match fetch.received(conn, piece, total_size, data)? {
            Arrival::Waiting | Arrival::Spoilt => {}
            Arrival::Lied { by } => self.ban(ctx, SocketAddr::new(by, 0), Blame::Corrupt),
            Arrival::Complete { info, liars } => {
                for liar in liars {
                    self.ban(ctx, SocketAddr::new(liar, 0), Blame::Corrupt);
                }
                self.adopt(ctx, &info);
                return Ok(());
            }
        }
        self.fetch_more(ctx);
        Ok(())
    }

    /// The metadata is there, and matches the info-hash.
    fn adopt(&mut self, ctx: &mut Shared, info: &[u8]) {
        let magnet = self.magnet.take();
        let trackers = magnet.as_ref().map_or(&[][..], |magnet| &magnet.trackers);
        let tiers: Vec<_> = trackers.iter().map(|url| [url.clone()].into()).collect();
        let web_seeds = magnet.as_ref().map_or(&[][..], |magnet| &magnet.web_seeds);
        let bytes = torrent_file(info, &tiers, web_seeds);
        let names = ctx.config.names;
        let read = parse_fetched(info, &bytes)
            .map(|metainfo| metainfo.named_as(&self.metainfo, names))
            .map_err(|error| error.to_string())
            .and_then(|metainfo| match &magnet {
                Some(magnet) if self.priorities.is_empty() => {
                    let selection =
                        selection(magnet, &metainfo).map_err(|error| error.to_string())?;
                    Ok((metainfo, selection))
                }
                Some(_) | None => Ok((metainfo, Vec::new())),
            });
        let (metainfo, selection) = match read {
            Ok(read) => read,
            Err(error) => {
                // Nobody has another one: the hash is right.
                ctx.notify(Notice::MetadataUnusable {
                    torrent: self.id,
                    error: error.clone(),
                });
                self.unusable = Some(error);
                self.magnet = magnet;
                ctx.timers.cancel(Timer::Metadata(self.id));
                ctx.signal(Signal::Done(self.id));
                return;
            }
        };
        self.fetch = None;
        if self.priorities.is_empty() {
            self.priorities = selection;
        }
        self.priorities
            .resize(metainfo.files().len(), Priority::Normal);
        self.layout = Layout::new(&metainfo);
        self.picker = Picker::new(self.layout.piece_count());
        self.metainfo = Arc::new(metainfo);
        self.apply_priorities();
        self.count_missing();
        let map = self.layout.piece_count().div_ceil(8);
        for peer in self.peers.values_mut() {
            peer.decoder.set_max_bitfield(map);
        }
        ctx.timers.cancel(Timer::Metadata(self.id));
        ctx.notify(Notice::MetadataReceived {
            torrent: self.id,
            metainfo: bytes,
        });
        if self.metainfo.is_private() {
            self.become_private(ctx);
        }
        self.storage.note_fetched();
        if self.metadata_only {
            ctx.signal(Signal::Done(self.id));
        } else {
            self.open_storage(ctx);
        }
    }

    /// It turned out to be private (BEP 27): whoever was found otherwise than by its trackers goes.
    fn become_private(&mut self, ctx: &mut Shared) {
        self.candidates.forget_hearsay();
        ctx.lsd.leave(self.id);
        self.quit_dht(ctx);
        ctx.timers.cancel(Timer::Pex(self.id));
        let peers = self.peers.values();
        let strangers: Vec<ConnId> = peers
            .filter(|peer| peer.source.is_hearsay())
            .map(|peer| peer.conn)
            .collect();
        for conn in strangers {
            self.disconnect(ctx, conn, DisconnectReason::Stopped);
        }
        self.candidates.forget_hearsay();
    }

    /// What a peer says while nobody knows what it means.
    pub(super) fn on_early_message(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        message: Message,
    ) -> Result<(), Blame> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        match message {
            Message::Choke => peer.peer_choking = true,
            Message::Unchoke => peer.peer_choking = false,
            Message::Interested => peer.peer_interested = true,
            Message::NotInterested => peer.peer_interested = false,
            Message::Have(piece) => {
                peer.early.insert(piece)?;
                // They come as fast as the peer downloads.
                return Ok(());
            }
            Message::Bitfield(bits) => peer.early.set(&bits),
            Message::HaveAll => peer.early.set_all(),
            Message::HaveNone => peer.early.set_none(),
            Message::Request(block) => reject(ctx, peer, block),
            Message::AllowedFast(piece) => {
                if peer.allowed_to_us.len() < super::swarm::MAX_ALLOWED
                    && !peer.allowed_to_us.contains(&piece)
                {
                    peer.allowed_to_us.push(piece);
                }
            }
            Message::Extended { id, payload } => {
                return self.on_extended(ctx, conn, id, &payload);
            }
            Message::KeepAlive
            | Message::Cancel(_)
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::Reject(_) => {}
        }
        self.on_chatter(conn)
    }

    /// The storage is open and checked for the first time: what peers have said is judged, and they hear
    /// what there is.
    pub(super) fn end_early(&mut self, ctx: &mut Shared) {
        if !core::mem::take(&mut self.early) {
            return;
        }
        let pieces = self.layout.piece_count();
        let have: Vec<u32> = match self.have().count() {
            count if count <= MAX_HAVES => self.have().iter().collect(),
            _ => {
                self.disconnect_all(ctx);
                return;
            }
        };
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            let Some(peer) = self.peers.get_mut(&conn) else {
                continue;
            };
            peer.have = crate::bitfield::Bitfield::new(pieces);
            peer.allowed_to_us.retain(|piece| *piece < pieces);
            for piece in &have {
                peer.send(&mut ctx.out(), &Message::Have(*piece));
            }
            match core::mem::take(&mut peer.early).resolve(pieces) {
                Ok(None) => {}
                Ok(Some(map)) => {
                    peer.mapped = true;
                    peer.have = map;
                    self.picker.peer_joined(&peer.have);
                    peer.interesting = self.picker.count_missing(&peer.have);
                    self.show_interest(ctx, conn);
                }
                Err(blame) => self.punish(ctx, conn, blame),
            }
        }
        self.refresh_extended_handshakes(ctx);
        if !self.peers.is_empty() {
            let soon = ctx.now + Duration::from_secs(1);
            ctx.timers.set_no_later(Timer::Choke(self.id), soon);
        }
    }

    /// After `end_early`, in the state that follows: the first requests, and the first to go.
    pub(super) fn greet_early_peers(&mut self, ctx: &mut Shared) {
        self.disconnect_useless(ctx);
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.request_blocks(ctx, conn);
            ctx.timers
                .set_no_later(Timer::Conn(conn), ctx.now + limits::CHOKE_INTERVAL);
        }
    }

    /// The fetch for a magnet link, if there is no metadata.
    pub(super) fn new_fetch(metainfo: &Metainfo, ctx: &Shared) -> Option<Box<Fetch>> {
        let unknown = metainfo.info_bytes().is_empty();
        let fetch = || Fetch::new(metainfo.info_hash(), ctx.config.max_metadata_size);
        unknown.then(fetch).map(Box::new)
    }
}

/// Reads a torrent file around an info dictionary that peers sent. All of that was hashed: what follows
/// its end would be taken for fields beside it.
fn parse_fetched(info: &[u8], torrent: &Bytes) -> Result<Metainfo, MetainfoError> {
    bencode::scan_all(info, metainfo::limits::BENCODE)?;
    Metainfo::parse(torrent.clone())
}

/// Says no to a request, where there is a way to say so.
fn reject(ctx: &mut Shared, peer: &mut crate::peer::Peer, block: BlockRequest) {
    if peer.fast {
        peer.send(&mut ctx.out(), &Message::Reject(block));
    }
}

/// A link selects files of which the torrent has none. It is of another torrent, or was written wrong; to
/// download all of it instead is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link selects (so=) none of the torrent's {files} files")]
pub(crate) struct NothingSelected {
    files: usize,
}

/// What a link selects of a torrent (BEP 53). No priorities at all: everything.
pub(crate) fn selection(
    magnet: &Magnet,
    metainfo: &Metainfo,
) -> Result<Vec<Priority>, NothingSelected> {
    if magnet.select.is_none() {
        return Ok(Vec::new());
    }
    let files = (0..).map(FileIndex::new).zip(metainfo.files());
    let wanted: Vec<bool> = files
        .map(|(index, file)| file.kind() == FileKind::Data && magnet.selects(index))
        .collect();
    if !wanted.contains(&true) {
        return Err(NothingSelected {
            files: metainfo.files().len(),
        });
    }
    let priority = |wanted| {
        if wanted {
            Priority::Normal
        } else {
            Priority::Skip
        }
    };
    Ok(wanted.into_iter().map(priority).collect())
}
