//! What a user can ask of an engine.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dht::command::{DhtCommand, DhtReply};
#[cfg(doc)]
use crate::error::CommandError;
use crate::id::{StorageKey, TorrentId};
use crate::metainfo::FileIndex;
use crate::transport::Transports;

/// A user's wish, as data. Answered by exactly one [`Action::Reply`](crate::Action::Reply) that bears
/// its request id: within the same call, unless something else is said below.
///
/// # Errors
///
/// A command about a torrent fails with [`NoSuchTorrent`](CommandError::NoSuchTorrent) when there is
/// none of that id (any more), and every command with [`ShuttingDown`](CommandError::ShuttingDown) once
/// there was a `Shutdown`. Others are said below. A command that failed has changed nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Take a torrent on. Answered with [`Reply::Added`]; it begins by looking at what is on the disk, or
    /// by fetching its metadata if only a magnet link is given.
    ///
    /// Fails with [`BadMetainfo`](CommandError::BadMetainfo) for what is no usable torrent,
    /// [`BadMagnet`](CommandError::BadMagnet) for what is no usable link, or one that selects none of the
    /// torrent's files,
    /// [`Duplicate`](CommandError::Duplicate) for one that is there, which stays as it is (what a
    /// second link names can be given to it with [`AddPeers`](Self::AddPeers) and
    /// [`AddTrackers`](Self::AddTrackers)), and
    /// [`TooManyTorrents`](CommandError::TooManyTorrents) at the limit.
    AddTorrent(AddTorrent),
    /// Forget a torrent: say goodbye to its peers and trackers, release its storage. Answered when
    /// the storage is released and the trackers know, or will not be waited for; with
    /// [`Disk`](CommandError::Disk) if something could not be deleted, and then the torrent is gone all
    /// the same.
    RemoveTorrent {
        /// The torrent.
        torrent: TorrentId,
        /// Whether its files are deleted as well.
        delete_data: bool,
    },
    /// Stop transferring; resume data is saved.
    Pause {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Go on after `Pause`, after a goal was reached, or at once after a failure.
    Resume {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Verify everything on the disk anew. A torrent that is paused stays paused after that.
    Recheck {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Save resume data now. Answered when it is durable, or fails with [`Disk`](CommandError::Disk).
    /// While the storage is being opened or checked, it waits until that is done.
    Checkpoint {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Change what is wanted. Fails with [`NoSuchFile`](CommandError::NoSuchFile).
    SetPriorities {
        /// The torrent.
        torrent: TorrentId,
        /// The files to change; others stay as they are.
        files: Vec<(FileIndex, Priority)>,
    },
    /// Download in the order of the pieces, or not.
    SetSequential {
        /// The torrent.
        torrent: TorrentId,
        /// Whether in order.
        sequential: bool,
    },
    /// Change rate limits.
    SetLimits {
        /// The torrent; all together when none is named.
        torrent: Option<TorrentId>,
        /// The new limits.
        limits: RateLimits,
    },
    /// Change by what peers are dialled and let in from now on. Connections that are there stay.
    SetTransports(Transports),
    /// Change when seeding ends.
    SetGoal {
        /// The torrent.
        torrent: TorrentId,
        /// The new goal.
        goal: SeedGoal,
    },
    /// Peers that the user knows. Of all that it hears of, a torrent keeps the
    /// [`MAX_CANDIDATES`](crate::limits::MAX_CANDIDATES) that promise most.
    AddPeers {
        /// The torrent.
        torrent: TorrentId,
        /// Where they listen.
        peers: Vec<SocketAddr>,
    },
    /// A peer that the user knows by name. Answered at once, whatever becomes of the lookup.
    AddPeerHost {
        /// The torrent.
        torrent: TorrentId,
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// Ask the trackers again as soon as their minimum interval allows.
    Reannounce {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Ask a tracker how many peers it knows, without announcing (BEP 48); the answer shows in the
    /// trackers' status.
    Scrape {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Which multicast groups of the local discovery (BEP 14) the driver has joined. It tells what it
    /// hears there as [`Event::Multicast`](crate::Event::Multicast), and sends packets to them on every
    /// network that it listens on.
    LocalDiscovery {
        /// That of IPv4: [`GROUP_V4`](crate::wire::lsd::GROUP_V4).
        v4: bool,
        /// That of IPv6: [`GROUP_V6`](crate::wire::lsd::GROUP_V6).
        v6: bool,
    },
    /// Ask the DHT, or about it; [`DhtCommand`] says how each is answered.
    Dht(DhtCommand),
    /// The address that the driver listens on for peers, whose port is announced; none when it does
    /// not listen.
    Listening {
        /// The address.
        address: Option<SocketAddr>,
    },
    /// End everything in good order: as for `RemoveTorrent`, but resume data is saved and kept. Answered
    /// when nothing is left to do; from its call on, commands fail and connections are refused.
    Shutdown,
    /// Trackers that the user knows, each a tier of its own after those that the torrent has. Those it has already,
    /// and those beyond [`MAX_TRACKERS`](crate::limits::MAX_TRACKERS), are passed over. They are forgotten with the
    /// torrent: resume data does not keep them.
    ///
    /// Fails with [`Private`](CommandError::Private) for a private torrent, which has its own alone (BEP 27).
    AddTrackers {
        /// The torrent.
        torrent: TorrentId,
        /// Their URLs.
        urls: Vec<String>,
    },
    /// Have nothing to do with an address, whatever the port: connections with it end, it is neither dialled nor let in,
    /// in all torrents and until `Unban` or the engine's end. Fails with
    /// [`TooManyBans`](CommandError::TooManyBans).
    Ban {
        /// The address. One of IPv4 written as one of IPv6 counts as itself.
        address: IpAddr,
    },
    /// Forget that an address was banned, by the user or for what it did.
    Unban {
        /// The address.
        address: IpAddr,
    },
}

/// A torrent to take on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AddTorrent {
    /// The bytes of the .torrent file; empty if there is only a magnet link.
    pub metainfo: Bytes,
    /// A magnet link. Without `metainfo` the torrent is fetched from peers first; with it, the link adds
    /// its trackers, its peers and its selection of files, and must be of the same torrent.
    pub magnet: Option<String>,
    /// Whether a magnet link's torrent pauses once its metadata is there, before it touches its storage: with
    /// [`metainfo`](Self::metainfo) beside the link, it begins so. [`Command::Resume`] goes on.
    pub metadata_only: bool,
    /// Where its data lives, for the driver.
    pub storage: StorageKey,
    /// The name of its one file, or of the folder of its files, in place of that which stands in the torrent. Made
    /// safe like that.
    pub name: Option<String>,
    /// Whether it starts paused.
    pub paused: bool,
    /// Priorities by file; files past the end of the list have [`Priority::Normal`]. An empty list leaves
    /// the choice to the magnet link (BEP 53), if there is one.
    pub priorities: Vec<Priority>,
    /// Whether pieces are downloaded in order.
    pub sequential: bool,
    /// Whether resume data is ignored.
    pub recheck: bool,
    /// Whether files that are there may be written over although nothing in them is this torrent's.
    /// Without it the torrent fails with [`Foreign`](crate::event::DiskErrorKind::Foreign).
    pub overwrite: bool,
    /// Rate limits of this torrent.
    pub limits: RateLimits,
    /// When seeding ends.
    pub goal: SeedGoal,
    /// Peers that the user knows.
    pub peers: Vec<SocketAddr>,
    /// Tracker tiers in place of those that the torrent names, if any.
    pub trackers: Option<Vec<Vec<String>>>,
}

/// How much a file is wanted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Priority {
    /// Not at all: it is not even created.
    Skip,
    /// After the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Payload and protocol bytes a second; none is no limit. The smallest limit is 1 KiB a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    /// Towards us.
    pub download: Option<u64>,
    /// Away from us.
    pub upload: Option<u64>,
}

/// When a complete torrent stops seeding: as soon as one of the goals is reached, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeedGoal {
    /// Uploaded bytes over the torrent's wanted bytes, in thousandths.
    pub ratio_permille: Option<u32>,
    /// Time spent seeding in this run.
    pub time: Option<Duration>,
}

/// A command's success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The torrent was taken on.
    Added {
        /// Its id.
        torrent: TorrentId,
    },
    /// What the DHT says.
    Dht(Box<DhtReply>),
    /// It is done.
    Done,
}
