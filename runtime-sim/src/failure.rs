//! A run that went wrong, and how to repeat it.

use std::fmt;

use anabranch_core::Instant;
use thiserror::Error;

use crate::world::HostId;

/// A check that did not hold. Shows the seed, the virtual time and the command that repeats the run.
#[derive(Clone, PartialEq, Eq, Error)]
#[error(
    "seed {seed:#x}, at {at}{}: {kind}\n  repeat with: {repeat}",
    host.map_or(String::new(), |host| format!(", {host}"))
)]
pub struct Failure {
    /// The world's seed.
    pub seed: u64,
    /// The virtual time.
    pub at: Instant,
    /// Where, if it was in one place.
    pub host: Option<HostId>,
    /// What did not hold.
    pub kind: FailureKind,
    /// The command that repeats the run.
    pub repeat: String,
}

/// So that a failed `unwrap` can be read.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FailureKind {
    /// The engine panicked, or an invariant of it did not hold.
    #[error("the engine panicked: {0}")]
    Panic(String),
    /// The engine wants to be woken at a time that is not in the future.
    #[error("a wake in the past: {0}")]
    WakeInThePast(String),
    /// The engine is woken again and again, and nothing comes of it.
    #[error("{0} wakes without progress: {1}")]
    Spinning(u32, String),
    /// The engine sleeps for good with work left.
    #[error("asleep with work left: {0}")]
    Asleep(String),
    /// A torrent gets no further although all of it is within reach.
    #[error("no progress: {0}")]
    Stalled(String),
    /// Nothing can happen any more, and what was waited for has not happened.
    #[error("nothing is left to happen: {0}")]
    Quiet(String),
    /// What was waited for did not happen in time.
    #[error("not in time: {0}")]
    Late(String),
    /// The engine holds more than it may.
    #[error("over a bound: {0}")]
    OverBound(String),
    /// What the engine keeps in memory, and has others keep, is more than its limits add up to.
    #[error("{held} bytes of payload in memory, and {most} are allowed")]
    OverMemory {
        /// Bytes held.
        held: u64,
        /// Bytes allowed.
        most: u64,
    },
    /// A piece is reported that is not there, or not right.
    #[error("not right on the disk: {0}")]
    NotOnDisk(String),
    /// A torrent is complete as far as its engine can know, but not right on the disk, which lied.
    #[error("complete, but not right on the disk: {0}")]
    Corrupt(String),
    /// The engine broke its contract with whoever drives it.
    #[error("broken contract: {0}")]
    Contract(String),
}

/// The variable that names the one seed to run with, see [`seeds`].
pub const SEED_VARIABLE: &str = "ANABRANCH_SEED";

/// The seeds that a test runs with: `0..fixed`; or the one in the environment variable
/// [`SEED_VARIABLE`], decimal or hexadecimal with `0x`, and no other.
///
/// # Panics
///
/// When the variable holds no number.
pub fn seeds(fixed: u64) -> Vec<u64> {
    let Ok(text) = std::env::var(SEED_VARIABLE) else {
        return (0..fixed).collect();
    };
    let seed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match seed {
        Ok(seed) => vec![seed],
        Err(error) => panic!("{SEED_VARIABLE}={text}: {error}"),
    }
}

/// The command that runs the present test again with this seed, as far as it can be told.
pub(crate) fn repeat_command(seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| String::from("anabranch-sim"));
    // The test harness names a test's thread after it.
    let thread = std::thread::current();
    match thread.name().filter(|name| *name != "main") {
        Some(test) => {
            format!("{SEED_VARIABLE}={seed:#x} cargo test -p {package} -- --exact {test}")
        }
        None => format!(
            "{SEED_VARIABLE}={seed:#x} {}",
            std::env::args().collect::<Vec<_>>().join(" ")
        ),
    }
}
