//! Rate limits.

use core::time::Duration;

use crate::time::Instant;

/// The smallest limit, in bytes a second.
const MIN_RATE: u64 = 1024;

/// The burst, in bytes, of a slow limit: a block must fit into it.
const MIN_BURST: u64 = 16 * 1024;

/// The debt, in bytes, that a slow limit pays back: the largest block that goes out in one go.
const MAX_DEBT: i64 = 128 * 1024;

/// The part of a second that a fast limit may be ahead of its average.
const BURSTS_PER_SECOND: u64 = 10;

const NANOS: u128 = 1_000_000_000;

/// A token bucket: over any time `t` it grants at most `rate × t` bytes and one burst, and in the
/// long run it grants `rate` exactly, as fractions of bytes are carried over.
///
/// What was used without being asked for can be charged, and is paid back before anything is granted
/// again; the debt never exceeds the burst, or 128 KiB if that is more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    /// Bytes a second; none is no limit.
    rate: Option<u64>,
    /// Bytes that may flow at once, or a debt.
    tokens: i64,
    /// The fraction of a byte beyond `tokens`, in billionths.
    carry: u64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        let mut bucket = Self {
            rate: None,
            tokens: i64::MAX,
            carry: 0,
            at: now,
        };
        bucket.set_rate(rate, now);
        bucket
    }

    /// Changes the limit, in bytes a second. What has been saved up or is owed is kept, as far as the
    /// new burst goes.
    pub(crate) fn set_rate(&mut self, rate: Option<u64>, now: Instant) {
        self.refill(now);
        if self.rate.is_none() {
            self.tokens = i64::MAX;
        }
        self.rate = rate.map(|rate| rate.max(MIN_RATE));
        if let Some(rate) = self.rate {
            self.clamp(burst(rate));
        }
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// How many bytes may flow at once, at most.
    pub(crate) fn burst(&self) -> u64 {
        self.rate.map_or(u64::MAX, burst)
    }

    /// How many bytes may flow now.
    pub(crate) fn available(&mut self, now: Instant) -> u64 {
        self.refill(now);
        match self.rate {
            None => u64::MAX,
            Some(_) => u64::try_from(self.tokens).unwrap_or(0),
        }
    }

    /// Grants up to `want` bytes, as many as may flow now.
    pub(crate) fn take(&mut self, now: Instant, want: u64) -> u64 {
        let granted = self.available(now).min(want);
        self.charge(now, granted);
        granted
    }

    /// Counts bytes that have flowed whether they were granted or not.
    pub(crate) fn charge(&mut self, now: Instant, bytes: u64) {
        self.refill(now);
        if let Some(rate) = self.rate {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_sub(bytes);
            self.clamp(burst(rate));
        }
    }

    /// When `min` bytes may flow, or a burst if that is less; none when they may at `now`.
    pub(crate) fn next_at(&mut self, now: Instant, min: u64) -> Option<Instant> {
        self.refill(now);
        let rate = self.rate?;
        let min = min.min(burst(rate));
        let missing = i128::from(min) - i128::from(self.tokens);
        let missing = u128::try_from(missing)
            .ok()
            .filter(|missing| *missing != 0)?;
        let nanos = (missing * NANOS - u128::from(self.carry)).div_ceil(u128::from(rate));
        Some(self.at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.since(self.at).as_nanos();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate
            && elapsed != 0
        {
            let earned = elapsed * u128::from(rate) + u128::from(self.carry);
            let bytes = i64::try_from(earned / NANOS).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_add(bytes);
            self.carry = (earned % NANOS) as u64;
            self.clamp(burst(rate));
        }
    }

    fn clamp(&mut self, burst: u64) {
        let debt = i64::try_from(burst).unwrap_or(i64::MAX).max(MAX_DEBT);
        let burst = i64::try_from(burst).unwrap_or(i64::MAX);
        if self.tokens >= burst {
            self.tokens = burst;
            // A full bucket has no room for a fraction.
            self.carry = 0;
        }
        self.tokens = self.tokens.max(-debt);
    }
}

fn burst(rate: u64) -> u64 {
    (rate / BURSTS_PER_SECOND).max(MIN_BURST)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec::Vec;

    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn no_limit_grants_everything() {
        let mut bucket = Bucket::new(None, Instant::ZERO);
        assert_eq!(bucket.take(Instant::ZERO, u64::MAX), u64::MAX);
        bucket.charge(Instant::ZERO, u64::MAX);
        assert_eq!(bucket.next_at(Instant::ZERO, u64::MAX), None);
    }

    #[test]
    fn the_long_run_is_exact_at_rates_that_do_not_divide_a_second() {
        for rate in [1_024, 1_000_003, 9_999_999_967_u64] {
            let mut bucket = Bucket::new(Some(rate), Instant::ZERO);
            let mut now = Instant::ZERO;
            // As long as the bucket is full, what flows in is lost.
            let mut granted = bucket.take(now, u64::MAX);
            for _ in 0..10_000 {
                now = now + Duration::from_nanos(999_983);
                granted += bucket.take(now, u64::MAX);
            }
            let exact = u128::from(rate) * u128::from(now.as_nanos()) / NANOS;
            assert_eq!(u128::from(granted), exact + u128::from(burst(rate)));
        }
    }

    #[test]
    fn a_debt_is_paid_back_first_and_is_bounded() {
        let mut bucket = Bucket::new(Some(16_384), Instant::ZERO);
        bucket.charge(Instant::ZERO, u64::MAX);
        assert_eq!(bucket.available(Instant::ZERO), 0);
        assert_eq!(bucket.next_at(Instant::ZERO, 0), Some(at(8_000_000_000)));
        assert_eq!(
            bucket.next_at(Instant::ZERO, 16_384),
            Some(at(9_000_000_000))
        );
        assert_eq!(bucket.take(at(8_500_000_000), 16_384), 8_192);
    }

    #[test]
    fn a_change_keeps_what_the_new_burst_allows() {
        let mut bucket = Bucket::new(Some(1 << 30), Instant::ZERO);
        bucket.set_rate(Some(2_048), Instant::ZERO);
        assert_eq!(bucket.available(Instant::ZERO), MIN_BURST);
        assert_eq!(bucket.take(Instant::ZERO, 16_000), 16_000);
        bucket.set_rate(Some(1 << 30), Instant::ZERO);
        assert_eq!(bucket.available(Instant::ZERO), 384);
        bucket.set_rate(None, Instant::ZERO);
        assert_eq!(bucket.available(Instant::ZERO), u64::MAX);
        bucket.set_rate(Some(0), Instant::ZERO);
        assert_eq!(bucket.rate, Some(MIN_RATE));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(Some(u64::MAX), Instant::ZERO);
        bucket.charge(Instant::ZERO, u64::MAX);
        bucket.charge(Instant::ZERO, u64::MAX);
        assert!(bucket.next_at(Instant::ZERO, u64::MAX).is_some());
        assert_eq!(bucket.take(Instant::FAR, u64::MAX), burst(u64::MAX));
    }

    quickcheck! {
        fn never_more_than_the_rate_and_a_burst(rate: u32, steps: Vec<(u32, u32)>) -> bool {
            let rate = u64::from(rate).max(MIN_RATE);
            let mut bucket = Bucket::new(Some(rate), Instant::ZERO);
            let (mut now, mut granted) = (0_u64, 0);
            steps.into_iter().all(|(wait, want)| {
                now += u64::from(wait);
                granted += u128::from(bucket.take(at(now), u64::from(want)));
                granted <= u128::from(rate) * u128::from(now) / NANOS + u128::from(burst(rate))
            })
        }

        fn the_time_that_it_names_is_the_first_at_which_there_is_enough(
            rate: u32, used: u32, min: u16
        ) -> bool {
            let mut bucket = Bucket::new(Some(u64::from(rate)), Instant::ZERO);
            bucket.charge(Instant::ZERO, u64::from(used));
            let min = u64::from(min) % MIN_BURST + 1;
            let Some(next) = bucket.next_at(Instant::ZERO, min) else {
                return bucket.available(Instant::ZERO) >= min;
            };
            let just_before = at(next.as_nanos() - 1);
            bucket.clone().available(just_before) < min && bucket.available(next) >= min
        }
    }
}
