//! The usual swarm, described in a few words, run step by step, and reported on.
//!
//! A [`Scenario`] is some peers that want one torrent from some seeders, found through a tracker, on
//! links that are all alike, with whatever goes wrong. [`Scenario::start`] makes a [`Run`] of it, which
//! has the [`World`], the [`Metrics`] over time, the [`Report`] and the picture ([`Run::plot`]).
//!
//! ```
//! use std::ops::ControlFlow;
//! use std::time::Duration;
//!
//! use anabranch_sim::scenario::{End, Faults, Scenario};
//!
//! let mut run = Scenario::new(7)
//!     .peers(10)
//!     .size(2 << 20)
//!     .rates(1_000_000, 4_000_000)
//!     .latency(Duration::from_millis(30))
//!     .faults(Faults::preset("flaky-network").ok_or("no such preset")?)
//!     .start()?;
//! let end = run.advance(|progress| {
//!     println!("{:?}: {} complete", progress.now, progress.complete);
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(end, End::Complete);
//! let report = run.report();
//! assert_eq!(report.unfinished, 0);
//! assert!(run.plot().starts_with("<svg"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod metrics;
mod plot;
mod report;
mod run;

use std::time::Duration;

use anabranch_core::Transports;
use anabranch_core::error::CommandError;
use anabranch_core::metainfo::{automatic_piece_length, limits};
use thiserror::Error;

pub use self::faults::{Faults, FaultsError, PRESETS};
pub use self::metrics::{HostSample, Metrics, Role, Sample};
pub use self::report::{Report, Spread};
pub use self::run::{End, Progress, Run};
use crate::chance::PPM;
use crate::config::{Checks, Link};
use crate::world::World;

/// Peers, seeders and hostile peers of a scenario, at most.
pub const MAX_HOSTS: u32 = 20_000;

/// Hosts times pieces of a scenario, at most: each host remembers something about each piece.
pub const MAX_PIECES: u64 = 200_000_000;

/// Packets that may be lost, in a million: of connections that lose more than half of what they send
/// nothing can be expected.
pub const MAX_LOSS: u32 = PPM / 2;

/// The time from one host to another, at most. Nobody waits much longer for a connection.
pub const MAX_LATENCY: Duration = Duration::from_secs(5);

/// The smallest piece. Blocks are 16 KiB, and a piece is whole blocks.
const MIN_PIECE_LENGTH: u32 = 16 << 10;

/// The smallest piece that is chosen without being asked for.
const LEAST_AUTOMATIC: u32 = 128 << 10;

/// The time that a scenario has at least, if nothing else is said.
const LEAST_TIME: Duration = Duration::from_secs(2 * 3_600);

/// What a swarm is like and what happens to it. Everything has a default but the seed; nothing is
/// looked at before [`Scenario::start`].
#[derive(Clone, Debug)]
pub struct Scenario {
    seed: u64,
    peers: u32,
    seeders: u32,
    size: u64,
    piece_length: Option<u32>,
    up: u64,
    down: u64,
    latency: Duration,
    jitter: Duration,
    loss_ppm: u32,
    churn_ppm: u32,
    transports: Transports,
    faults: Faults,
    until: Option<Duration>,
    sample_every: Option<Duration>,
    checks: Checks,
}

impl Scenario {
    /// A swarm of 100 peers and one seeder, 16 MiB, 1 MiB/s up and 4 MiB/s down, with 50 ms from one
    /// host to another, in which nothing goes wrong.
    pub fn new(seed: u64) -> Self {
        let checks = Checks {
            invariants_every: 1_024,
            keep_notices: false,
            ..Checks::default()
        };
        Self {
            seed,
            peers: 100,
            seeders: 1,
            size: 16 << 20,
            piece_length: None,
            up: 1 << 20,
            down: 4 << 20,
            latency: Duration::from_millis(50),
            jitter: Duration::ZERO,
            loss_ppm: 0,
            churn_ppm: 0,
            transports: Transports::Tcp,
            faults: Faults::default(),
            until: None,
            sample_every: None,
            checks,
        }
    }

    /// How many hosts want the torrent.
    #[must_use]
    pub fn peers(mut self, peers: u32) -> Self {
        self.peers = peers;
        self
    }

    /// How many hosts have it from the beginning.
    #[must_use]
    pub fn seeders(mut self, seeders: u32) -> Self {
        self.seeders = seeders;
        self
    }

    /// Bytes of the torrent. They are made up and cost no memory.
    #[must_use]
    pub fn size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Bytes of a piece. Default: what
    /// [`automatic_piece_length`] says, and 128 KiB at
    /// least: what peers tell each other about small pieces would take most of the time of a run.
    #[must_use]
    pub fn piece_length(mut self, piece_length: u32) -> Self {
        self.piece_length = Some(piece_length);
        self
    }

    /// Bytes a second that each host can send and receive.
    #[must_use]
    pub fn rates(mut self, up: u64, down: u64) -> Self {
        self.up = up;
        self.down = down;
        self
    }

    /// The time from one host to another. Each pair of hosts has one of its own, between half of this
    /// and one and a half times this; [`MAX_LATENCY`] at most.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// What is added to that at random, packet by packet, at most. Default 0.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Packets that are lost, in a million; [`MAX_LOSS`] at most.
    #[must_use]
    pub fn loss(mut self, ppm: u32) -> Self {
        self.loss_ppm = ppm;
        self
    }

    /// By what peers reach each other. Default: TCP.
    #[must_use]
    pub fn transports(mut self, transports: Transports) -> Self {
        self.transports = transports;
        self
    }

    /// Of a million peers, so many leave in each minute, half of them in good order and half by losing
    /// power. Each comes back within 10 to 50 seconds.
    #[must_use]
    pub fn churn(mut self, ppm: u32) -> Self {
        self.churn_ppm = ppm;
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// When the run ends whoever is complete by then. Default: ten times the shortest time that is
    /// possible, and two hours at least.
    #[must_use]
    pub fn until(mut self, until: Duration) -> Self {
        self.until = Some(until);
        self
    }

    /// How much virtual time lies between two samples of the metrics. It doubles whenever there are too
    /// many samples. Default: a 200th of the shortest time that is possible.
    #[must_use]
    pub fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = Some(interval);
        self
    }

    /// What is checked while it runs. Default: everything, the invariants at every 1,024th event of a
    /// host; notices are not kept.
    #[must_use]
    pub fn checks(mut self, checks: Checks) -> Self {
        self.checks = checks;
        self
    }

    /// The shortest time in which everybody can have everything, whatever the protocol: the fluid bound
    /// max(F/U, F/d, nF/(U + Σu')) for F bytes, seeders that send U together, and n peers that each
    /// send u' and receive d bytes a second.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let seconds = |bytes: u128, rate: u128| bytes * 1_000_000_000 / rate.max(1);
        let (size, up) = (u128::from(self.size), u128::from(self.up));
        let (peers, seeders) = (u128::from(self.peers), u128::from(self.seeders));
        let nanos = seconds(size, seeders * up)
            .max(seconds(size, u128::from(self.down)))
            .max(seconds(peers * size, (seeders + peers) * up));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Makes the world.
    ///
    /// # Errors
    ///
    /// Nothing sensible can be made of the scenario.
    pub fn start(self) -> Result<Run, ScenarioError> {
        self.start_with(|_| ())
    }

    /// Makes the world; `prepare` is given it while it is empty, to set a log or the command that
    /// repeats the run.
    ///
    /// # Errors
    ///
    /// Nothing sensible can be made of the scenario.
    pub fn start_with(self, prepare: impl FnOnce(&mut World)) -> Result<Run, ScenarioError> {
        let piece_length = self.check()?;
        Run::new(self, piece_length, prepare)
    }

    /// Looks whether the numbers make sense. The length of a piece, if they do.
    fn check(&self) -> Result<u32, ScenarioError> {
        if self.peers == 0 {
            return Err(ScenarioError::NoPeers);
        }
        if self.seeders == 0 {
            return Err(ScenarioError::NoSeeders);
        }
        let hostile = self.faults.hostile(self.peers);
        let hosts = hostile
            .map(|(_, count)| count)
            .fold(self.peers.saturating_add(self.seeders), u32::saturating_add);
        if hosts > MAX_HOSTS {
            return Err(ScenarioError::TooManyHosts(hosts));
        }
        if self.size == 0 {
            return Err(ScenarioError::NoSize);
        }
        if self.up == 0 || self.down == 0 {
            return Err(ScenarioError::NoRate);
        }
        if self.loss_ppm > MAX_LOSS {
            return Err(ScenarioError::Loss(self.loss_ppm));
        }
        if self.latency > MAX_LATENCY {
            return Err(ScenarioError::Latency(self.latency));
        }
        if self.churn_ppm > PPM {
            return Err(ScenarioError::Churn(self.churn_ppm));
        }
        if self.until == Some(Duration::ZERO) {
            return Err(ScenarioError::NoTime);
        }
        let piece_length = match self.piece_length {
            Some(length) if length < MIN_PIECE_LENGTH => {
                return Err(ScenarioError::PieceLength(length));
            }
            Some(length) => length,
            None => automatic_piece_length(self.size).max(LEAST_AUTOMATIC),
        };
        let pieces = self.size.div_ceil(u64::from(piece_length));
        let each = pieces.checked_mul(u64::from(hosts));
        if pieces > u64::from(limits::MAX_PIECES) || each.is_none_or(|each| each > MAX_PIECES) {
            return Err(ScenarioError::TooManyPieces { pieces, hosts });
        }
        Ok(piece_length)
    }

    fn link(&self) -> Link {
        Link {
            up: Some(self.up),
            down: Some(self.down),
            ..Link::default()
        }
    }
}

/// Why a [`Scenario`] cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Nobody wants anything.
    #[error("a swarm without peers has nothing to do")]
    NoPeers,
    /// Nobody has anything.
    #[error("without a seeder nobody has anything to give")]
    NoSeeders,
    /// More than [`MAX_HOSTS`].
    #[error("{0} hosts are too many, the most is {MAX_HOSTS}")]
    TooManyHosts(u32),
    /// An empty torrent.
    #[error("a torrent of no bytes leaves nothing to do")]
    NoSize,
    /// A link that carries nothing.
    #[error("a link of no bytes a second carries nothing")]
    NoRate,
    /// More than [`MAX_LOSS`].
    #[error("a loss of {}.{:04} % is too much, the most is 50 %", .0 / 10_000, .0 % 10_000)]
    Loss(u32),
    /// More than [`MAX_LATENCY`].
    #[error("a latency of {} s is too much, the most is {} s", .0.as_secs(), MAX_LATENCY.as_secs())]
    Latency(Duration),
    /// More than everybody in a minute.
    #[error("more than 100 % of the peers cannot leave in a minute")]
    Churn(u32),
    /// No time at all.
    #[error("a run of no time shows nothing")]
    NoTime,
    /// Less than a block.
    #[error("pieces of {0} bytes are too small, the least is a block of {MIN_PIECE_LENGTH}")]
    PieceLength(u32),
    /// More than a torrent may have, or more than fits into memory with so many hosts.
    #[error("{pieces} pieces are too many for a torrent and {hosts} hosts; make the pieces longer")]
    TooManyPieces {
        /// Pieces of the torrent.
        pieces: u64,
        /// Peers and seeders.
        hosts: u32,
    },
    /// The faults do not fit the swarm.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// An engine does not take the torrent.
    #[error("an engine does not take the torrent: {0}")]
    Engine(#[from] CommandError),
}
