//! How fast a torrent is of late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back it is looked: the engine's meters look back further, and take that long to see that others have made
/// room.
const WINDOW: Duration = Duration::from_secs(3);

/// A shorter time than this says little.
const SHORTEST: Duration = Duration::from_secs(1);

/// What had come and gone when it was looked at, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    down: u64,
    up: u64,
}

impl Pace {
    /// Notes what has come and gone in all.
    pub(super) fn note(&mut self, at: Instant, down: u64, up: u64) {
        // One that is as old as the window or older is kept to measure from.
        while let Some(second) = self.0.get(1)
            && at.saturating_duration_since(second.at) >= WINDOW
        {
            self.0.pop_front();
        }
        self.0.push_back(Sample { at, down, up });
    }

    /// Bytes a second towards us and away from us; none as long as too little is known.
    pub(super) fn rates(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let time = last.at.saturating_duration_since(first.at);
        // Who was not looked at for long was at rest, and what follows is no average over that.
        if time < SHORTEST || time > WINDOW * 2 {
            return None;
        }
        let nanos = time.as_nanos();
        let rate = |before: u64, now: u64| {
            let bytes = u128::from(now.saturating_sub(before));
            u64::try_from(bytes * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
        };
        Some((rate(first.down, last.down), rate(first.up, last.up)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_changes_shows_within_the_window() {
        let begin = Instant::now();
        let mut pace = Pace::default();
        let mut down = 0;
        for tick in 0..80_u32 {
            // Ten seconds at 1 MB/s, and then four times as fast, since others have finished.
            down += if tick < 40 { 250_000 } else { 1_000_000 };
            pace.note(begin + Duration::from_millis(250) * tick, down, 0);
            match tick {
                0..4 => assert_eq!(pace.rates(), None),
                4..40 => assert_eq!(pace.rates(), Some((1_000_000, 0))),
                52.. => assert_eq!(pace.rates(), Some((4_000_000, 0))),
                _ => {}
            }
        }
        assert!(pace.0.len() < 20, "it is bounded");
    }

    #[test]
    fn a_long_rest_is_no_part_of_an_average() {
        let begin = Instant::now();
        let mut pace = Pace::default();
        pace.note(begin, 0, 0);
        pace.note(begin + Duration::from_secs(600), 600, 600);
        assert_eq!(pace.rates(), None);
        pace.note(begin + Duration::from_secs(601), 1_600, 600);
        pace.note(begin + Duration::from_secs(604), 4_600, 600);
        assert_eq!(pace.rates(), Some((1_000, 0)));
    }
}
