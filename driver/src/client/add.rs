//! How a torrent is taken on.

use std::net::SocketAddr;
use std::path::PathBuf;

use anabranch_core::command::{Priority, RateLimits, SeedGoal};

use crate::storage::{Links, Preallocation};
#[cfg(doc)]
use crate::torrent::Torrent;

/// How a torrent is taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
