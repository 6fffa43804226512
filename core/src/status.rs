//! Snapshots of a torrent for users: what it does, how far it is, and what holds it back.

use alloc::string::String;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::Priority;
use crate::id::TorrentId;
use crate::metainfo::InfoHash;
use crate::notice::TorrentState;
use crate::transport::Transport;

/// A torrent at a glance. Bytes are payload unless told otherwise, rates are bytes a second over the
/// last few seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TorrentStatus {
    /// The torrent.
    pub torrent: TorrentId,
    /// Its info-hash.
    pub info_hash: InfoHash,
    /// Its name; until the metadata is there, the one that the magnet link has, or else the info-hash.
    pub name: String,
    /// What it is doing.
    pub state: TorrentState,
    /// What holds it back, from the state that decides; none when nothing does.
    pub hindrance: Option<Hindrance>,
    /// Bytes of all files.
    pub total: u64,
    /// Bytes of the wanted pieces.
    pub wanted: u64,
    /// Bytes of the wanted pieces that are verified.
    pub have: u64,
    /// Pieces in all.
    pub pieces: u32,
    /// Pieces verified, wanted or not.
    pub pieces_have: u32,
    /// Pieces still to be looked at while [`TorrentState::Checking`].
    pub pieces_unchecked: u32,
    /// Bytes downloaded, in this run and before.
    pub downloaded: u64,
    /// Bytes uploaded, in this run and before.
    pub uploaded: u64,
    /// Bytes downloaded in this run.
    pub session_downloaded: u64,
    /// Bytes uploaded in this run.
    pub session_uploaded: u64,
    /// Bytes downloaded in this run that were of no use.
    pub wasted: u64,
    /// Towards us; 0 unless it is downloading.
    pub download_rate: u64,
    /// Away from us; 0 unless it is downloading or seeding.
    pub upload_rate: u64,
    /// How long it has been [`Downloading`](TorrentState::Downloading) in this run, all times together.
    pub download_time: Duration,
    /// Seconds until all that is wanted is there, at the present rate.
    pub eta: Option<u64>,
    /// Peers connected, with the handshake done.
    pub peers: u32,
    /// Those of them that have everything.
    pub seeds: u32,
    /// Those of them that we download from.
    pub unchoking_us: u32,
    /// Those of them that we upload to.
    pub unchoked: u32,
    /// Peers known and not connected.
    pub candidates: u32,
    /// The metadata, while it is being fetched (BEP 9); none once it is there.
    pub metadata: Option<MetadataStatus>,
    /// Whole copies of what is wanted among the peers, in thousandths.
    pub availability_permille: u64,
}

/// What all torrents of an engine transfer together: payload alone.
///
/// The rates are measured over all connections at once. They are not the sum of the torrents' rates: each of
/// those is an average over the time since its own transfer began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes downloaded since the engine was made.
    pub downloaded: u64,
    /// Bytes uploaded since the engine was made.
    pub uploaded: u64,
    /// Towards us, in bytes a second over the last few seconds.
    pub download_rate: u64,
    /// Away from us.
    pub upload_rate: u64,
}

/// How far the metadata of a magnet link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetadataStatus {
    /// Bytes that have come. They can be verified only all together.
    pub received: u32,
    /// Bytes in all, as far as peers agree.
    pub total: Option<u32>,
    /// Connected peers that have it.
    pub peers: u32,
}

/// What holds a torrent back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Hindrance {
    /// What is on the disk is being looked at.
    #[error("checking what is there")]
    Checking,
    /// The metadata is being fetched.
    #[error("fetching metadata from {peers} peers")]
    Metadata {
        /// Connected peers that have it.
        peers: u32,
    },
    /// The metadata is what the magnet link means, and no torrent can be made of it.
    #[error("not a usable torrent: {0}")]
    Unusable(String),
    /// The user or a goal stopped it.
    #[error("paused")]
    Paused,
    /// The disk failed.
    #[error(transparent)]
    Disk(crate::event::DiskError),
    /// The disk does not keep up.
    #[error("the disk is busy")]
    DiskBusy,
    /// No peer is known.
    #[error("no peers known")]
    NoPeers,
    /// No peer is known, and no node of the DHT that could be asked for some.
    #[error("no peers known, and no node of the DHT")]
    NoDhtNodes,
    /// No peer is known because no tracker answers.
    #[error("no peers: tracker: {0}")]
    Tracker(String),
    /// Peers are known, and none is connected (any more, or so far).
    #[error("connecting to peers")]
    Connecting,
    /// Peers are known, and the embedder's policy forbids to dial them.
    #[error("refused by policy")]
    Denied,
    /// No connected peer has what is missing.
    #[error("no connected peer has what is missing")]
    NothingToGet,
    /// Everybody who has something for us chokes us.
    #[error("choked by every peer")]
    Choked,
    /// A rate limit.
    #[error("rate limit reached")]
    RateLimit,
}

/// How a peer was found.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PeerSource {
    /// The user named it, or the magnet link did.
    #[error("user")]
    User,
    /// It was a peer in an earlier run.
    #[error("resume")]
    Resume,
    /// It dialled us.
    #[error("incoming")]
    Incoming,
    /// A tracker.
    #[error("tracker")]
    Tracker,
    /// It is in the same network and said so (BEP 14).
    #[error("lsd")]
    Lsd,
    /// The distributed hash table (BEP 5).
    #[error("dht")]
    Dht,
    /// Another peer (BEP 11).
    #[error("pex")]
    Pex,
}

impl PeerSource {
    /// All of them, those first that say more for an address.
    pub const ALL: [Self; 7] = [
        Self::User,
        Self::Resume,
        Self::Incoming,
        Self::Tracker,
        Self::Lsd,
        Self::Dht,
        Self::Pex,
    ];

    /// Whether anybody could have made the address up.
    pub(crate) const fn is_hearsay(self) -> bool {
        match self {
            Self::Lsd | Self::Dht | Self::Pex => true,
            Self::User | Self::Resume | Self::Incoming | Self::Tracker => false,
        }
    }
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Its software, as far as it says so; escaped.
    pub client: String,
    /// Whether it dialled us.
    pub incoming: bool,
    /// What its bytes come by.
    pub transport: Transport,
    /// How it was found; the most trustworthy way if there are several.
    pub source: PeerSource,
    /// We choke it.
    pub am_choking: bool,
    /// We want something of it.
    pub am_interested: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// It wants something of us.
    pub peer_interested: bool,
    /// It did not deliver in time.
    pub snubbed: bool,
    /// It has everything, or says that it wants nothing more (BEP 21).
    pub upload_only: bool,
    /// Pieces it has.
    pub pieces: u32,
    /// Towards us, in bytes a second.
    pub download_rate: u64,
    /// Away from us, in bytes a second.
    pub upload_rate: u64,
    /// Towards us, in bytes.
    pub downloaded: u64,
    /// Away from us, in bytes.
    pub uploaded: u64,
    /// Requests that we wait for.
    pub requests_out: u32,
    /// Requests that it waits for.
    pub requests_in: u32,
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileStatus {
    /// Its path below the download folder, components separated by `/`.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Bytes of it in verified pieces.
    pub have: u64,
    /// How much it is wanted.
    pub priority: Priority,
}

/// A tracker of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrackerStatus {
    /// Its URL, as the torrent has it.
    pub url: String,
    /// Its tier, from 0.
    pub tier: u32,
    /// What it answered last, if it answered.
    pub working: bool,
    /// Its last error or warning.
    pub message: Option<String>,
    /// Seeds that it knows of.
    pub seeds: Option<u32>,
    /// Other peers that it knows of.
    pub leechers: Option<u32>,
    /// Peers that its last answer named.
    pub peers: u32,
    /// Seconds until it is asked again.
    pub next_announce: Option<u64>,
    /// Whether an answer of it is waited for, also of one that is told that the torrent stops.
    pub asked: bool,
}
