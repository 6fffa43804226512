//! Sums that fade with time.

use crate::time::Instant;

/// In this time, in milliseconds, what was counted comes to half as much: two minutes, so that who
/// had its turn some minutes ago is not forgotten, and nobody lives long on what was once.
const HALF_LIFE: u64 = 120_000;

/// Bytes that count the less the longer ago they were: half after two minutes, a quarter after
/// four.
///
/// Integers only. Takes 16 bytes; a call costs a multiplication and two divisions. Within a
/// half-life it fades along a straight line. Sums are exact to a byte below 10^14, and saturate
/// above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fading {
    /// The sum as it would have been at the beginning of `period`.
    sum: u64,
    /// A half-life, counted from the clock's origin.
    period: u64,
}

impl Fading {
    /// Counts bytes. What came before a time that was told already counts as of then.
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        let (period, left) = split(now);
        if period > self.period {
            self.sum = halved(self.sum, period - self.period);
            self.period = period;
        }
        let at_beginning = bytes.saturating_mul(HALF_LIFE) / left;
        self.sum = self.sum.saturating_add(at_beginning);
    }

    /// What has come of it by now.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        let (period, left) = split(now);
        let sum = halved(self.sum, period.saturating_sub(self.period));
        sum.saturating_mul(left) / HALF_LIFE
    }
}

/// The period that a time is in, and what of `HALF_LIFE` stands for what is left of something by
/// then: all at the beginning, half at the end.
fn split(now: Instant) -> (u64, u64) {
    let millis = now.as_nanos() / 1_000_000;
    (millis / HALF_LIFE, HALF_LIFE - millis % HALF_LIFE / 2)
}

fn halved(sum: u64, times: u64) -> u64 {
    u32::try_from(times)
        .ok()
        .and_then(|times| sum.checked_shr(times))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec::Vec;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn half_is_left_after_two_minutes_and_nothing_in_the_end() {
        for begin in [0, 1, 59_999, 119_999, 7_654_321] {
            let mut sum = Fading::default();
            sum.add(at(begin), 1 << 20);
            let left = |seconds: u64| sum.at(at(begin + seconds * 1_000));
            assert!(left(0).abs_diff(1 << 20) <= 1, "{}", left(0));
            assert!(left(120).abs_diff(1 << 19) <= 1);
            assert!(left(600).abs_diff(1 << 15) <= 1);
            assert_eq!(left(120 * 64), 0);
            assert_eq!(sum.at(Instant::FAR), 0);
        }
    }

    #[test]
    fn who_moves_much_stands_far_above_who_moves_a_block_a_minute() {
        let (mut much, mut little) = (Fading::default(), Fading::default());
        for second in 0..1_200 {
            much.add(at(second * 1_000), 100_000);
            if second % 60 == 0 {
                little.add(at(second * 1_000), 16 << 10);
            }
        }
        let end = at(1_200_000);
        assert!(much.at(end) > 300 * little.at(end));
        // And ten minutes later still above it.
        assert!(much.at(at(1_800_000)) > 8 * (16 << 10));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut sum = Fading::default();
        sum.add(Instant::FAR, u64::MAX);
        sum.add(Instant::FAR, u64::MAX);
        assert!(sum.at(Instant::FAR) > 0);
        sum.add(Instant::ZERO, 1);
    }

    quickcheck! {
        fn it_never_grows_by_itself_and_never_exceeds_what_was_added(adds: Vec<(u16, u32)>, look: u16) -> bool {
            let mut sum = Fading::default();
            let (mut now, mut all) = (0, 0);
            for (wait, bytes) in adds {
                now += u64::from(wait) * 8;
                sum.add(at(now), u64::from(bytes));
                all += u64::from(bytes);
            }
            let first = sum.at(at(now));
            let later = sum.at(at(now + u64::from(look)));
            later <= first && first <= all
        }
    }
}
