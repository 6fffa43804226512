//! The time that a loop lives by.

use std::time::Duration;

use anabranch_core::{Instant, UnixTime};

/// The monotonic clock that a loop's machine lives by.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        let nanos = self.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// A point of this clock as the standard library has it.
    pub(crate) fn to_std(self, at: Instant) -> std::time::Instant {
        // What lies past the end of the platform's clock is looked at again in a day.
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        self.origin
            .checked_add(Duration::from_nanos(at.as_nanos()))
            .unwrap_or_else(|| std::time::Instant::now() + DAY)
    }

    /// The wall clock's time.
    pub fn wall() -> UnixTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixTime(since.map_or(0, |since| since.as_secs()))
    }
}
