//! What is known of a torrent, and what it is doing: each one of a few things, and no two at once.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::Priority;
use crate::id::TorrentId;
use crate::metainfo::Magnet;
use crate::notice::{Notice, TorrentState};
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::content::Content;
use crate::torrent::metadata::Fetch;

/// What is known of a torrent.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its info-hash: the metadata is to be had from peers.
    Fetching(Box<Fetching>),
    /// All of it.
    Loaded(Box<Content>),
}

/// A torrent of which only a link is known.
#[derive(Debug)]
pub(super) struct Fetching {
    /// What it is called until its metadata says so.
    pub(super) name: String,
    /// What the user calls it, whatever its metadata says.
    pub(super) given_name: Option<String>,
    pub(super) magnet: Option<Magnet>,
    pub(super) fetch: Fetch,
    /// Why no torrent can be made of the metadata.
    pub(super) unusable: Option<String>,
    /// Whether to pause when the metadata is there.
    pub(super) metadata_only: bool,
    /// What the user wants of it, by file, if that was said.
    pub(super) priorities: Vec<Priority>,
    pub(super) sequential: bool,
}

impl Phase {
    pub(super) fn content(&self) -> Option<&Content> {
        match self {
            Self::Fetching(_) => None,
            Self::Loaded(content) => Some(content),
        }
    }

    pub(super) fn fetching(&self) -> Option<&Fetching> {
        match self {
            Self::Fetching(fetching) => Some(fetching),
            Self::Loaded(_) => None,
        }
    }

    /// Whether what peers say that they have waits to be judged: from a link until the storage is open for the first
    /// time.
    pub(super) fn is_unjudged(&self) -> bool {
        match self {
            Self::Fetching(_) => true,
            Self::Loaded(content) => content.unjudged,
        }
    }

    /// Whether only trackers may tell of its peers (BEP 27). What is not known yet may turn out to be so, but could not
    /// be fetched otherwise.
    pub(super) fn is_private(&self) -> bool {
        self.content()
            .is_some_and(|content| content.metainfo.is_private())
    }

    /// Whether every piece is there.
    pub(super) fn is_full(&self) -> bool {
        self.content()
            .is_some_and(|content| !content.unjudged && content.have().is_full())
    }
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Looks for its metadata.
    Fetching,
    /// Its storage is being opened and checked.
    Checking {
        /// Whether it pauses after that.
        pause: bool,
    },
    Downloading {
        since: Instant,
    },
    Seeding {
        since: Instant,
    },
    /// The user, or a goal, wants it stopped.
    Paused,
    /// The disk failed.
    Failed,
    /// It is on its way out.
    Removing,
}

/// What a torrent is doing, and how long it has done so.
#[derive(Debug)]
pub(super) struct Course {
    activity: Activity,
    /// How long it has downloaded before.
    downloaded_for: Duration,
}

impl Course {
    pub(super) fn new(pause: bool) -> Self {
        Self {
            activity: Activity::Checking { pause },
            downloaded_for: Duration::ZERO,
        }
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity
    }

    /// What users are told that it is doing.
    pub(super) fn state(&self) -> TorrentState {
        match self.activity {
            Activity::Fetching => TorrentState::FetchingMetadata,
            Activity::Checking { .. } => TorrentState::Checking,
            Activity::Downloading { .. } => TorrentState::Downloading,
            Activity::Seeding { .. } => TorrentState::Seeding,
            Activity::Paused => TorrentState::Paused,
            Activity::Failed => TorrentState::Failed,
            Activity::Removing => TorrentState::Removing,
        }
    }

    /// Whether data is transferred.
    pub(super) fn is_running(&self) -> bool {
        matches!(
            self.activity,
            Activity::Downloading { .. } | Activity::Seeding { .. }
        )
    }

    /// Whether the user wants it stopped.
    pub(super) fn is_paused(&self) -> bool {
        matches!(
            self.activity,
            Activity::Paused | Activity::Checking { pause: true }
        )
    }

    /// Since when it seeds, if it does.
    pub(super) fn seeding_since(&self) -> Option<Instant> {
        match self.activity {
            Activity::Seeding { since } => Some(since),
            Activity::Fetching
            | Activity::Checking { .. }
            | Activity::Downloading { .. }
            | Activity::Paused
            | Activity::Failed
            | Activity::Removing => None,
        }
    }

    /// Whether peers may be connected: while it runs, and from a link until it does.
    pub(super) fn takes_peers(&self, unjudged: bool) -> bool {
        match self.activity {
            Activity::Downloading { .. } | Activity::Seeding { .. } | Activity::Fetching => true,
            Activity::Checking { pause } => unjudged && !pause,
            Activity::Paused | Activity::Failed | Activity::Removing => false,
        }
    }

    /// How long it has been downloading in this run.
    pub(super) fn downloaded_for(&self, now: Instant) -> Duration {
        let going = match self.activity {
            Activity::Downloading { since } => now.since(since),
            Activity::Fetching
            | Activity::Checking { .. }
            | Activity::Seeding { .. }
            | Activity::Paused
            | Activity::Failed
            | Activity::Removing => Duration::ZERO,
        };
        self.downloaded_for.saturating_add(going)
    }

    /// It does something else from now on; the user is told if it is.
    pub(super) fn enter(&mut self, ctx: &mut Shared, torrent: TorrentId, next: Activity) {
        let before = self.state();
        let downloaded_for = self.downloaded_for(ctx.now);
        let was = core::mem::replace(&mut self.activity, next);
        let state = self.state();
        if state != before {
            self.downloaded_for = downloaded_for;
            ctx.notify(Notice::State { torrent, state });
        } else if !matches!(next, Activity::Checking { .. }) {
            // It goes on, since when it did.
            self.activity = was;
        }
    }
}
