//! What users see of a torrent.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bitfield::Bitfield;
use crate::command::Priority;
use crate::config::Config;
use crate::dht::Dht;
use crate::id::TorrentId;
use crate::metainfo::{FileIndex, InfoHash, Metainfo, PieceIndex};
use crate::notice::TorrentState;
use crate::stats::Stats;
use crate::status::{
    FileStatus, Hindrance, MetadataStatus, PeerStatus, TorrentStatus, TrackerStatus,
};
use crate::time::Instant;
use crate::torrent::Torrent;

/// A look at a torrent, from [`Engine::torrent`](crate::Engine::torrent).
#[derive(Clone, Copy, Debug)]
pub struct TorrentView<'a> {
    pub(crate) torrent: &'a Torrent,
    pub(crate) config: &'a Config,
    pub(crate) stats: &'a Stats,
    pub(crate) dht: Option<&'a Dht>,
}

impl TorrentView<'_> {
    /// The torrent's id.
    #[must_use]
    pub fn id(&self) -> TorrentId {
        self.torrent.id
    }

    /// Its info-hash.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.torrent.info_hash()
    }

    /// Its name: that which its files have, or else that of its magnet link, or its info-hash.
    #[must_use]
    pub fn name(&self) -> String {
        self.torrent.name()
    }

    /// What the .torrent file says; none while it is being fetched for a magnet link.
    #[must_use]
    pub fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        let known = self.torrent.fetch.is_none();
        known.then_some(&self.torrent.metainfo)
    }

    /// The pieces that are verified and written.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        self.torrent.have()
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> TorrentState {
        self.torrent.state
    }

    /// Everything at a glance, as of `now`.
    pub fn status(&self, now: Instant) -> TorrentStatus {
        let torrent = self.torrent;
        let wanted = torrent.wanted_bytes();
        let have = torrent.wanted_have_bytes();
        // An average over what has been: of who has stopped, it would tell of what is no more.
        let download_rate = match torrent.state {
            TorrentState::Downloading => torrent.down.per_second(now),
            TorrentState::FetchingMetadata
            | TorrentState::Checking
            | TorrentState::Seeding
            | TorrentState::Paused
            | TorrentState::Failed
            | TorrentState::Removing => 0,
        };
        let upload_rate = match torrent.is_running() {
            true => torrent.up.per_second(now),
            false => 0,
        };
        let eta = match (wanted - have, download_rate) {
            (0, _) | (_, 0) => None,
            (left, rate) => Some(left.div_ceil(rate)),
        };
        let count = |test: fn(&crate::peer::Peer) -> bool| {
            torrent.peers.values().filter(|peer| test(peer)).count() as u32
        };
        TorrentStatus {
            torrent: torrent.id,
            info_hash: torrent.info_hash(),
            name: torrent.metainfo.name().to_string(),
            state: torrent.state,
            hindrance: self.hindrance(),
            total: torrent.layout.total_length(),
            wanted,
            have,
            pieces: torrent.layout.piece_count(),
            pieces_have: torrent.have().count(),
            pieces_unchecked: torrent.storage.unchecked(),
            downloaded: torrent
                .earlier_downloaded
                .saturating_add(torrent.session_downloaded),
            uploaded: torrent
                .earlier_uploaded
                .saturating_add(torrent.session_uploaded),
            session_downloaded: torrent.session_downloaded,
            session_uploaded: torrent.session_uploaded,
            wasted: torrent.wasted,
            download_rate,
            upload_rate,
            download_time: torrent.downloaded_for(now),
            eta,
            peers: torrent.peers.len() as u32,
            seeds: count(crate::peer::Peer::is_seed),
            unchoking_us: count(|peer| !peer.peer_choking),
            unchoked: torrent.unchoked,
            candidates: torrent.candidates.len() as u32,
            metadata: torrent.fetch.as_ref().map(|fetch| {
                let (received, total) = fetch.progress();
                let peers = fetch.givers();
                MetadataStatus {
                    received,
                    total,
                    peers,
                }
            }),
            availability_permille: torrent.picker.copies_permille(),
        }
    }

    /// What holds it back; none when nothing does.
    pub fn hindrance(&self) -> Option<Hindrance> {
        let torrent = self.torrent;
        match torrent.state {
            TorrentState::Checking => Some(Hindrance::Checking),
            TorrentState::Paused => Some(match (torrent.storage.error(), &torrent.unusable) {
                (Some(error), _) => Hindrance::Disk(error.clone()),
                (None, Some(why)) => Hindrance::Unusable(why.clone()),
                (None, None) => Hindrance::Paused,
            }),
            TorrentState::FetchingMetadata => Some(match &torrent.fetch {
                Some(fetch) if fetch.givers() > 0 => Hindrance::Metadata {
                    peers: fetch.givers(),
                },
                Some(_) | None => self.hindrance_to_find_peers().unwrap_or(
                    // Those that are there do not have it, or have not said so.
                    Hindrance::Metadata { peers: 0 },
                ),
            }),
            TorrentState::Failed => torrent.storage.error().cloned().map(Hindrance::Disk),
            TorrentState::Seeding | TorrentState::Removing => None,
            TorrentState::Downloading => self.hindrance_to_download(),
        }
    }

    /// The connected peers, in the order of their connections' ids.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerStatus> {
        self.torrent
            .peers
            .values()
            .map(|peer| peer.status(now))
            .collect()
    }

    /// The files, in the order of the torrent.
    #[must_use]
    pub fn files(&self) -> Vec<FileStatus> {
        let torrent = self.torrent;
        let files = torrent.metainfo.files().iter().enumerate();
        files
            .map(|(index, file)| FileStatus {
                path: torrent
                    .metainfo
                    .download_path(FileIndex::new(index as u32))
                    .map(|path| path.to_string())
                    .unwrap_or_default(),
                length: file.length(),
                have: self.have_of_file(FileIndex::new(index as u32)),
                priority: torrent
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
        self.torrent.announcer.statuses(now)
    }

    fn hindrance_to_find_peers(&self) -> Option<Hindrance> {
        let torrent = self.torrent;
        if !torrent.peers.is_empty() {
            return None;
        }
        if torrent.candidates.len() > 0 || torrent.candidates.connecting() > 0 {
            return Some(match torrent.candidates.is_denied() {
                true => Hindrance::Denied,
                false => Hindrance::Connecting,
            });
        }
        Some(match torrent.announcer.last_error() {
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
        let torrent = self.torrent;
        if let Some(hindrance) = self.hindrance_to_find_peers() {
            return Some(hindrance);
        }
        if self.stats.write_backlog >= u64::from(self.config.write_budget) / 2 {
            return Some(Hindrance::DiskBusy);
        }
        let mut interesting = torrent
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
        let limited = torrent.down_limit.is_limited() || self.config.limits.download.is_some();
        let waiting = torrent.peers.values().any(|peer| peer.credit_waits);
        (limited && waiting).then_some(Hindrance::RateLimit)
    }

    /// Bytes of a file that are in verified pieces.
    fn have_of_file(&self, file: FileIndex) -> u64 {
        let torrent = self.torrent;
        let Some((range, pieces)) = torrent
            .layout
            .file_range(file)
            .zip(torrent.layout.pieces_of_file(file))
        else {
            return 0;
        };
        let bytes = |piece: u32| {
            let start = torrent
                .layout
                .piece_offset(PieceIndex::new(piece))
                .unwrap_or(range.end);
            let end = start + u64::from(torrent.piece_size(piece));
            end.min(range.end).saturating_sub(start.max(range.start))
        };
        pieces
            .filter(|piece| torrent.have().contains(*piece))
            .map(bytes)
            .sum()
    }
}
