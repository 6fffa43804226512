//! The engine: one mutator, which hands every event to whom it concerns.

use serde::{Deserialize, Serialize};

use crate::action::Actions;
use crate::config::Config;
use crate::event::Event;
use crate::rng::Seed;
use crate::stats::Stats;
use crate::time::{Instant, UnixTime};

/// When the engine wants to be called again if no event comes before.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wake {
    /// At once: progress was made, and more is queued.
    Now(Reason),
    /// At this time, which lies in the future.
    At(Instant, Reason),
    /// Only an event can change anything.
    Idle,
}

/// Why the engine wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// More timers are due than one call works off.
    Backlog,
    /// A connection must be looked after: time-outs, keep-alives.
    Connection,
    /// Peers are to be chosen to upload to.
    Choke,
    /// Peers are to be dialled.
    Dial,
    /// A tracker is to be asked, or asked again.
    Tracker,
    /// Resume data is to be saved.
    Checkpoint,
    /// A disk that failed is to be looked at.
    Probe,
    /// A rate limit allows more.
    RateLimit,
    /// A goal may be reached.
    Goal,
    /// The end must not wait any longer.
    Shutdown,
}

/// A BitTorrent client without I/O.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Makes an engine. All its choices follow from the seed.
    pub fn new(_config: Config, _seed: Seed, _now: Instant, _wall: UnixTime) -> Self {
        Self {}
    }

    /// Feeds one event, and appends what must now be done to `actions`.
    pub fn handle(&mut self, _now: Instant, _event: Event, _actions: &mut Actions) -> Wake {
        Wake::Idle
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        unreachable!()
    }
}
