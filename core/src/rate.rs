//! How fast bytes flow.

use crate::time::Instant;

/// A slot's length in nanoseconds, and how many there are: the rate is that of the last 10 s.
const SLOT: u64 = 500_000_000;
const SLOTS: usize = 20;

/// A shorter time than this is taken as this long, in nanoseconds: a few bytes in the first
/// microsecond are no fast flow.
const SHORTEST: u64 = 1_000_000_000;

/// A meter of bytes a second over the last 10 s, or since the flow began if that is less.
///
/// Integers only. Takes 200 bytes; a call costs a few additions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    /// A ring: bytes by slot.
    slots: [u64; SLOTS],
    /// All of `slots`.
    sum: u64,
    /// The latest slot that was written to, counted from the clock's origin.
    slot: u64,
    /// When the flow began, in nanoseconds.
    began: u64,
}

impl Rate {
    /// Counts bytes.
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        let slot = now.as_nanos() / SLOT;
        self.advance(slot);
        if self.sum == 0 {
            self.began = now.as_nanos();
        }
        // No flow gets near the ends of 64 bits in 10 s; a caller's nonsense must not overflow.
        let bytes = bytes.min(u64::MAX - self.sum);
        self.slots[(self.slot % SLOTS as u64) as usize] += bytes;
        self.sum += bytes;
    }

    /// Bytes a second.
    pub(crate) fn per_second(&self, now: Instant) -> u64 {
        let slot = now.as_nanos() / SLOT;
        let mut sum = self.sum;
        for gone in self.expired(slot) {
            sum -= self.slots[(gone % SLOTS as u64) as usize];
        }
        let window = slot.saturating_sub(SLOTS as u64 - 1).saturating_mul(SLOT);
        let time = now
            .as_nanos()
            .saturating_sub(window.max(self.began))
            .max(SHORTEST);
        let rate = u128::from(sum) * 1_000_000_000 / u128::from(time);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    fn advance(&mut self, slot: u64) {
        for gone in self.expired(slot) {
            let bytes = &mut self.slots[(gone % SLOTS as u64) as usize];
            self.sum -= *bytes;
            *bytes = 0;
        }
        self.slot = self.slot.max(slot);
    }

    /// The places in the ring that must be empty when the latest slot is `slot`.
    fn expired(&self, slot: u64) -> core::ops::RangeInclusive<u64> {
        let first = self.slot + 1;
        // Once around the ring is all there is to empty.
        first..=slot.min(self.slot + SLOTS as u64)
    }
}

/// Meters for both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Towards us.
    pub(crate) down: Rate,
    /// Away from us.
    pub(crate) up: Rate,
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
    fn a_steady_flow_is_measured_exactly_enough() {
        for rate in [1_000, 10_000_000_000_u64] {
            let mut meter = Rate::default();
            for millis in 0..60_000 {
                meter.add(at(millis), rate / 1_000);
                if millis >= 2_000 {
                    let measured = meter.per_second(at(millis + 1));
                    assert!(
                        measured.abs_diff(rate) <= rate / 100,
                        "{measured} at {millis}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_flow_that_ended_is_forgotten_after_the_window() {
        let mut meter = Rate::default();
        meter.add(at(100), 20_000);
        assert_eq!(meter.per_second(at(200)), 20_000);
        assert_eq!(meter.per_second(at(5_100)), 4_000);
        assert!(meter.per_second(at(9_999)) > 0);
        assert_eq!(meter.per_second(at(10_000)), 0);
        assert_eq!(meter.per_second(Instant::FAR), 0);
    }

    #[test]
    fn a_flow_that_resumes_is_measured_from_its_new_start() {
        let mut meter = Rate::default();
        meter.add(at(0), 1 << 40);
        meter.add(at(100_000), 500);
        meter.add(at(101_000), 500);
        assert_eq!(meter.per_second(at(102_000)), 500);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut meter = Rate::default();
        meter.add(Instant::FAR, u64::MAX);
        meter.add(Instant::FAR, u64::MAX);
        assert_eq!(meter.per_second(Instant::FAR), u64::MAX);
        meter.add(Instant::ZERO, 1);
    }

    quickcheck! {
        fn agrees_with_all_bytes_remembered(adds: Vec<(u16, u32)>, look: u16) -> bool {
            let mut meter = Rate::default();
            let mut now = 0;
            let mut all = Vec::new();
            for (wait, bytes) in adds {
                now += u64::from(wait) / 16;
                meter.add(at(now), u64::from(bytes));
                all.push((now, u64::from(bytes)));
            }
            let look = now + u64::from(look) / 8;
            let oldest = (look / 500).saturating_sub(19) * 500;
            let sum: u64 = all.iter().filter(|(at, _)| *at >= oldest).map(|(_, bytes)| bytes).sum();
            let rate = meter.per_second(at(look));
            // The divisor lies between the shortest and the whole window.
            rate <= sum && rate >= sum / 10
        }
    }
}
