//! How a torrent is taken on.

use std::net::SocketAddr;
use std::path::PathBuf;

use anabranch_core::command::{Priority, RateLimits, SeedGoal};

use crate::storage::{FileName, Links, Preallocation};
#[cfg(doc)]
use crate::torrent::Torrent;

/// How a torrent is taken on.
///
/// ```
/// use anabranch_driver::AddOptions;
///
/// let options = AddOptions::new().dir("downloads").sequential(true);
/// # assert!(options.sequential);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct AddOptions {
    /// Where its files go; the client's own folder if none is named.
    pub dir: Option<PathBuf>,
    /// Whether the space for its files is taken ahead.
    pub preallocation: Preallocation,
    /// Whether it starts paused.
    pub paused: bool,
    /// Whether a magnet link's torrent pauses once its metadata is there, before it touches a file; from the
    /// beginning, if it was fetched in an earlier run. [`Torrent::resume`] goes on, with the priorities that
    /// were set meanwhile.
    pub metadata_only: bool,
    /// Priorities by file; files past the end of the list have [`Priority::Normal`]. An empty list leaves
    /// the choice to the magnet link, if there is one.
    pub priorities: Vec<Priority>,
    /// Whether pieces are downloaded in order.
    pub sequential: bool,
    /// Whether resume data is ignored, and everything on the disk verified.
    pub recheck: bool,
    /// Whether files that are there may be written over although nothing in them is this torrent's. Without
    /// it such a torrent fails with [`DiskErrorKind::Foreign`](anabranch_core::event::DiskErrorKind::Foreign),
    /// and what it would have written over is left as it is.
    pub overwrite: bool,
    /// The name of its one file, or of the folder of its files, in place of that which stands in the torrent. Made
    /// safe like that. To go on in a later run, give it again.
    pub name: Option<String>,
    /// The same, byte for byte, where it lies in files. Counts before [`name`](Self::name).
    pub file_name: Option<FileName>,
    /// Whether its files are only read, for what is complete and is to stay as it is: none is created,
    /// made longer or cut. What turns out to be missing cannot be downloaded.
    pub read_only: bool,
    /// What is done about symbolic links below its folder.
    pub links: Links,
    /// Its own rate limits.
    pub limits: RateLimits,
    /// When seeding ends.
    pub goal: SeedGoal,
    /// Peers that are known.
    pub peers: Vec<SocketAddr>,
    /// Tracker tiers in place of those that the torrent names, if any.
    pub trackers: Option<Vec<Vec<String>>>,
}

impl AddOptions {
    /// To the client's folder, with everything as it usually is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Downloads to this folder instead of the client's own.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Whether the space for its files is taken ahead.
    pub fn preallocation(mut self, preallocation: Preallocation) -> Self {
        self.preallocation = preallocation;
        self
    }

    /// Whether it starts paused.
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Whether a magnet link's torrent pauses once its metadata is there.
    pub fn metadata_only(mut self, metadata_only: bool) -> Self {
        self.metadata_only = metadata_only;
        self
    }

    /// Priorities by file, in the order of the torrent.
    pub fn priorities(mut self, priorities: impl IntoIterator<Item = Priority>) -> Self {
        self.priorities = priorities.into_iter().collect();
        self
    }

    /// Whether pieces are downloaded in order.
    pub fn sequential(mut self, sequential: bool) -> Self {
        self.sequential = sequential;
        self
    }

    /// Whether resume data is ignored, and everything on the disk verified.
    pub fn recheck(mut self, recheck: bool) -> Self {
        self.recheck = recheck;
        self
    }

    /// Whether files that are there may be written over although nothing in them is this torrent's.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Gives its one file, or the folder of its files, this name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Calls its one file, or the folder of its files, so, byte for byte.
    pub fn file_name(mut self, name: FileName) -> Self {
        self.file_name = Some(name);
        self
    }

    /// Whether its files are only read.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// What is done about symbolic links below its folder.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Its own rate limits.
    pub fn limits(mut self, limits: RateLimits) -> Self {
        self.limits = limits;
        self
    }

    /// When seeding ends.
    pub fn goal(mut self, goal: SeedGoal) -> Self {
        self.goal = goal;
        self
    }

    /// Peers that are known.
    pub fn peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers = peers.into_iter().collect();
        self
    }

    /// Tracker tiers in place of those that the torrent names.
    pub fn trackers(mut self, tiers: Vec<Vec<String>>) -> Self {
        self.trackers = Some(tiers);
        self
    }
}
