//! What users see of a torrent.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bitfield::Bitfield;
use crate::budget::Budgets;
use crate::command::Priority;
use crate::config::Config;
use crate::dht::Dht;
use crate::id::TorrentId;
use crate::metainfo::{FileIndex, InfoHash, Metainfo, PieceIndex};
use crate::notice::TorrentState;
use crate::status::{
    FileStatus, Hindrance, MetadataStatus, PeerStatus, TorrentStatus, TrackerStatus,
};
use crate::time::Instant;
use crate::torrent::Torrent;
use crate::torrent::content::Content;
use crate::torrent::phase::Phase;

/// A look at a torrent, from [`Engine::torrent`](crate::Engine::torrent).
#[derive(Clone, Copy, Debug)]
pub struct TorrentView<'a> {
    pub(crate) torrent: &'a Torrent,
    pub(crate) config: &'a Config,
    pub(crate) budgets: &'a Budgets,
    pub(crate) dht: Option<&'a Dht>,
}

impl TorrentView<'_> {
    /// The torrent's id.
    #[must_use]
    pub fn id(&self) -> TorrentId {
        self.torrent.id()
    }

    /// Its info-hash.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.torrent.info_hash()
    }

    /// Its name: that which its files have, or else that of its magnet link, or its info-hash.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.torrent.trade.phase {
            Phase::Fetching(fetching) => fetching.name.clone(),
            Phase::Loaded(content) => content.name(),
        }
    }

    /// What the .torrent file says; none while it is being fetched for a magnet link.
    #[must_use]
    pub fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        let content = self.torrent.trade.phase.content();
        content.map(|content| &content.metainfo)
    }

    /// The pieces that are verified and written.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        static NOTHING: Bitfield = Bitfield::EMPTY;
        let content = self.torrent.trade.phase.content();
        content.map_or(&NOTHING, Content::have)
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> TorrentState {
        self.torrent.trade.course.state()
    }

    /// Everything at a glance, as of `now`.
    pub fn status(&self, now: Instant) -> TorrentStatus {
        let trade = &self.torrent.trade;
        let (content, swarm, flow) = (trade.phase.content(), &trade.swarm, &trade.flow);
        let state = trade.course.state();
        let wanted = content.map_or(0, Content::wanted_bytes);
        let have = content.map_or(0, Content::wanted_have_bytes);
        // An average over what has been: of who has stopped, it would tell of what is no more.
        let download_rate = match state {
            TorrentState::Downloading => flow.down.per_second(now),
            TorrentState::FetchingMetadata
            | TorrentState::Checking
            | TorrentState::Seeding
            | TorrentState::Paused
            | TorrentState::Failed
            | TorrentState::Removing => 0,
        };
        let upload_rate = match trade.course.is_running() {
            true => flow.up.per_second(now),
            false => 0,
        };
        let eta = match (wanted - have, download_rate) {
            (0, _) | (_, 0) => None,
            (left, rate) => Some(left.div_ceil(rate)),
        };
        let count = |test: fn(&crate::peer::Peer) -> bool| {
            swarm.peers.values().filter(|peer| test(peer)).count() as u32
        };
        TorrentStatus {
            torrent: self.torrent.id(),
            info_hash: self.torrent.info_hash(),
            name: self.name(),
            state,
            hindrance: self.hindrance(),
            total: content.map_or(0, |content| content.layout.total_length()),
            wanted,
            have,
            pieces: content.map_or(0, |content| content.layout.piece_count()),
            pieces_have: content.map_or(0, |content| content.have().count()),
            pieces_unchecked: trade.storage.unchecked(),
            downloaded: flow.downloaded(),
            uploaded: flow.uploaded(),
            session_downloaded: flow.session_downloaded,
            session_uploaded: flow.session_uploaded,
            wasted: flow.wasted,
            download_rate,
            upload_rate,
            download_time: trade.course.downloaded_for(now),
            eta,
            peers: swarm.peers.len() as u32,
            seeds: count(crate::peer::Peer::is_seed),
            unchoking_us: count(|peer| !peer.peer_choking),
            unchoked: swarm.unchoked,
            candidates: swarm.candidates.len() as u32,
            metadata: trade.phase.fetching().map(|fetching| {
                let (received, total) = fetching.fetch.progress();
                let peers = fetching.fetch.givers();
                MetadataStatus {
                    received,
                    total,
                    peers,
                }
            }),
            availability_permille: content.map_or(0, |content| content.picker.copies_permille()),
        }
    }

    /// What holds it back; none when nothing does.
    pub fn hindrance(&self) -> Option<Hindrance> {
        let trade = &self.torrent.trade;
        let fetching = trade.phase.fetching();
        match trade.course.state() {
            TorrentState::Checking => Some(Hindrance::Checking),
            TorrentState::Paused => {
                let unusable = fetching.and_then(|fetching| fetching.unusable.as_ref());
                Some(match (trade.storage.error(), unusable) {
                    (Some(error), _) => Hindrance::Disk(error.clone()),
                    (None, Some(why)) => Hindrance::Unusable(why.clone()),
                    (None, None) => Hindrance::Paused,
                })
            }
            TorrentState::FetchingMetadata => {
                Some(
                    match fetching.map_or(0, |fetching| fetching.fetch.givers()) {
                        // Those that are there do not have it, or have not said so.
                        0 => self
                            .hindrance_to_find_peers()
                            .unwrap_or(Hindrance::Metadata { peers: 0 }),
                        peers => Hindrance::Metadata { peers },
                    },
                )
            }
            TorrentState::Failed => trade.storage.error().cloned().map(Hindrance::Disk),
            TorrentState::Seeding | TorrentState::Removing => None,
            TorrentState::Downloading => self.hindrance_to_download(),
        }
    }

    /// The connected peers, in the order of their connections' ids.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        self.torrent
            .trade
            .swarm
            .peers
            .values()
            .map(|peer| peer.status(now))
            .collect()
    }

    /// The files, in the order of the torrent.
    #[must_use]
    pub fn files(&self) -> Vec<FileStatus> {
        let Some(content) = self.torrent.trade.phase.content() else {
            return Vec::new();
        };
        let files = content.metainfo.files().iter().enumerate();
        files
            .map(|(index, file)| FileStatus {
                path: content
                    .metainfo
                    .download_path(FileIndex::new(index as u32))
                    .map(|path| path.to_string())
                    .unwrap_or_default(),
                length: file.length(),
                have: have_of_file(content, FileIndex::new(index as u32)),
                priority: content
                    .priorities
                    .get(index)
                    .copied()
                    .unwrap_or(Priority::Normal),
            })
            .collect()
    }

    /// The trackers, tier by tier.
    #[must_use]
    pub fn trackers(&self, now: Instant) -> Vec<TrackerStatus> {
        self.torrent.discovery.announcer.statuses(now)
    }

    fn hindrance_to_find_peers(&self) -> Option<Hindrance> {
        let swarm = &self.torrent.trade.swarm;
        if !swarm.peers.is_empty() {
            return None;
        }
        if swarm.candidates.len() > 0 || swarm.candidates.connecting() > 0 {
            return Some(match swarm.candidates.is_denied() {
                true => Hindrance::Denied,
                false => Hindrance::Connecting,
            });
        }
        Some(match self.torrent.discovery.announcer.last_error() {
            Some(error) => Hindrance::Tracker(error.to_string()),
            None if self.is_lost() => Hindrance::NoDhtNodes,
            None => Hindrance::NoPeers,
        })
    }

    /// Whether it would ask the DHT, and there is nobody to ask.
    fn is_lost(&self) -> bool {
        let asks = self.torrent.dht_wish().is_some();
        asks && self.dht.is_some_and(|dht| dht.is_alone())
    }

    fn hindrance_to_download(&self) -> Option<Hindrance> {
        let trade = &self.torrent.trade;
        if let Some(hindrance) = self.hindrance_to_find_peers() {
            return Some(hindrance);
        }
        if self.budgets.writing >= u64::from(self.config.write_budget) / 2 {
            return Some(Hindrance::DiskBusy);
        }
        let mut interesting = trade
            .swarm
            .peers
            .values()
            .filter(|peer| peer.interesting > 0)
            .peekable();
        if interesting.peek().is_none() {
            return Some(Hindrance::NothingToGet);
        }
        if interesting.all(|peer| peer.peer_choking && peer.pipeline.is_empty()) {
            return Some(Hindrance::Choked);
        }
        let limited = trade.flow.down_limit.is_limited() || self.config.limits.download.is_some();
        let waiting = trade.swarm.peers.values().any(|peer| peer.credit_waits);
        (limited && waiting).then_some(Hindrance::RateLimit)
    }
}

/// Bytes of a file that are in verified pieces.
fn have_of_file(content: &Content, file: FileIndex) -> u64 {
    let Some((range, pieces)) = content
        .layout
        .file_range(file)
        .zip(content.layout.pieces_of_file(file))
    else {
        return 0;
    };
    let bytes = |piece: u32| {
        let start = content
            .layout
            .piece_offset(PieceIndex::new(piece))
            .unwrap_or(range.end);
        let end = start + u64::from(content.piece_size(piece));
        end.min(range.end).saturating_sub(start.max(range.start))
    };
    pieces
        .filter(|piece| content.have().contains(*piece))
        .map(bytes)
        .sum()
}
