//! Waiting for something that happens in another process.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test gives up on it.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often a condition that cannot be waited for is looked at.
pub const INTERVAL: Duration = Duration::from_millis(20);

/// Polls `probe` until it gives a value.
///
/// # Panics
///
/// When nothing came within [`LIMIT`]; `what` says what was waited for.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_every(INTERVAL, what, probe)
}

/// The same, with another interval between two looks.
///
/// # Panics
///
/// As [`until`] does.
pub fn until_every<T>(interval: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_within(LIMIT, interval, what, probe)
}

/// The same, with another limit as well.
///
/// # Panics
///
/// When nothing came within it.
pub fn until_within<T>(
    limit: Duration,
    interval: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(interval);
    }
}
