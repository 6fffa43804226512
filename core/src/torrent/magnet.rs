//! BEP 9, 53: a torrent of which only the info-hash is known. It finds peers as every torrent does,
//! fetches its metadata from them, and becomes an ordinary torrent without letting go of them.
//!
//! What peers say that they have is kept as it came and judged when the storage is open and checked: a
//! torrent is `unjudged` until then.

use alloc::boxed::Box;
use alloc::string::ToString;
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
use crate::metainfo::{self, FileIndex, FileKind, Magnet, Metainfo, MetainfoError, torrent_file};
use crate::notice::{DisconnectReason, Notice};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::torrent::content::Content;
use crate::torrent::metadata::Arrival;
use crate::torrent::phase::{Activity, Phase};
use crate::torrent::trade::Trade;
use crate::torrent::transfer::Transfer;
use crate::wire::{Message, MetadataMessage};

/// More pieces than this are not told one by one: the peers are connected anew instead.
const MAX_HAVES: u32 = 4_096;

impl Trade {
    /// Asks for what is missing of the metadata.
    pub(super) fn fetch_more(&mut self, ctx: &mut Shared) {
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        if self.course.activity() != Activity::Fetching || fetching.unusable.is_some() {
            return;
        }
        for (conn, piece) in fetching.fetch.requests(ctx.now) {
            if let Some(peer) = self.swarm.peers.get_mut(&conn) {
                let id = peer.extensions.metadata;
                let payload = MetadataMessage::Request { piece }.encode();
                peer.send(&mut ctx.out(), &Message::Extended { id, payload });
            }
        }
        match fetching.fetch.deadline(ctx.now) {
            Some(at) => ctx.timers.set(Timer::Metadata(self.id), at),
            None => ctx.timers.cancel(Timer::Metadata(self.id)),
        }
    }

    /// Whether the metadata is all that was wanted, or of no use.
    pub(super) fn is_done(&self) -> bool {
        let at_end = match &self.phase {
            Phase::Fetching(fetching) => fetching.unusable.is_some(),
            Phase::Loaded(_) => true,
        };
        at_end && self.course.activity() == Activity::Fetching
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
        let Phase::Fetching(fetching) = &mut self.phase else {
            return Ok(());
        };
        if let Some(peer) = self.swarm.peers.get_mut(&conn) {
            peer.last_useful = ctx.now;
            peer.note_moved(data.len() as u64, ctx.now);
        }
        match fetching.fetch.received(conn, piece, total_size, data)? {
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
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        let magnet = fetching.magnet.as_ref();
        let trackers = magnet.map_or(&[][..], |magnet| &magnet.trackers);
        let tiers: Vec<_> = trackers.iter().map(|url| [url.clone()].into()).collect();
        let web_seeds = magnet.map_or(&[][..], |magnet| &magnet.web_seeds);
        let bytes = torrent_file(info, &tiers, web_seeds);
        let names = ctx.config.names;
        let read = parse_fetched(info, &bytes)
            .map(|metainfo| match &fetching.given_name {
                Some(name) => metainfo.with_name(name, names),
                None => metainfo.with_names(names),
            })
            .map_err(|error| error.to_string())
            .and_then(|metainfo| match magnet {
                Some(magnet) if fetching.priorities.is_empty() => {
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
                fetching.unusable = Some(error);
                ctx.timers.cancel(Timer::Metadata(self.id));
                ctx.signal(Signal::Done(self.id));
                return;
            }
        };
        let priorities = match fetching.priorities.is_empty() {
            true => selection,
            false => core::mem::take(&mut fetching.priorities),
        };
        let metadata_only = fetching.metadata_only;
        let content = Content::new(metainfo, priorities, fetching.sequential, true);
        let map = content.layout.piece_count().div_ceil(8);
        self.phase = Phase::Loaded(Box::new(content));
        for peer in self.swarm.peers.values_mut() {
            peer.decoder.set_max_bitfield(map);
        }
        ctx.timers.cancel(Timer::Metadata(self.id));
        ctx.notify(Notice::MetadataReceived {
            torrent: self.id,
            metainfo: bytes,
        });
        if self.phase.is_private() {
            self.become_private(ctx);
        }
        self.storage.note_fetched();
        if metadata_only {
            ctx.signal(Signal::Done(self.id));
        } else if let Some(mut transfer) = self.transfer() {
            transfer.open_storage(ctx);
        }
    }

    /// It turned out to be private (BEP 27): whoever was found otherwise than by its trackers goes.
    fn become_private(&mut self, ctx: &mut Shared) {
        self.swarm.candidates.forget_hearsay();
        ctx.lsd.leave(self.id);
        // The DHT forgets it when it is asked what it knows.
        if ctx.config.dht.enabled {
            ctx.timers.cancel(Timer::DhtTorrent(self.id));
            ctx.signal(Signal::LookUp(self.id));
        }
        ctx.timers.cancel(Timer::Pex(self.id));
        let peers = self.swarm.peers.values();
        let strangers: Vec<ConnId> = peers
            .filter(|peer| peer.source.is_hearsay())
            .map(|peer| peer.conn)
            .collect();
        for conn in strangers {
            self.disconnect(ctx, conn, DisconnectReason::Stopped);
        }
        self.swarm.candidates.forget_hearsay();
    }
}

impl Transfer<'_> {
    /// The storage is open and checked for the first time: what peers have said is judged, and they hear
    /// what there is.
    pub(super) fn judge_maps(&mut self, ctx: &mut Shared) {
        if !core::mem::take(&mut self.content.unjudged) {
            return;
        }
        let pieces = self.content.layout.piece_count();
        let have: Vec<u32> = match self.content.have().count() {
            count if count <= MAX_HAVES => self.content.have().iter().collect(),
            _ => {
                self.disconnect_all(ctx);
                return;
            }
        };
        for conn in self.swarm.conns() {
            let Some(peer) = self.swarm.peers.get_mut(&conn) else {
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
                    self.content.picker.peer_joined(&peer.have);
                    peer.interesting = self.content.picker.count_missing(&peer.have);
                    let wants = self.content.picker.missing().count() > 0;
                    peer.show_interest(&mut ctx.out(), wants);
                }
                Err(blame) => self.punish(ctx, conn, blame),
            }
        }
        self.refresh_extended_handshakes(ctx);
        if !self.swarm.peers.is_empty() {
            let soon = ctx.now + Duration::from_secs(1);
            ctx.timers.set_no_later(Timer::Choke(self.id), soon);
        }
    }

    /// After `judge_maps`, in the state that follows: the first requests, and the first to go.
    pub(super) fn greet_early_peers(&mut self, ctx: &mut Shared) {
        self.disconnect_useless(ctx);
        for conn in self.swarm.conns() {
            self.request_blocks(ctx, conn);
            ctx.timers
                .set_no_later(Timer::Conn(conn), ctx.now + limits::CHOKE_INTERVAL);
        }
    }
}

/// Reads a torrent file around an info dictionary that peers sent. All of that was hashed: what follows
/// its end would be taken for fields beside it.
fn parse_fetched(info: &[u8], torrent: &Bytes) -> Result<Metainfo, MetainfoError> {
    bencode::scan_all(info, metainfo::limits::BENCODE)?;
    Metainfo::parse(torrent.clone())
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
