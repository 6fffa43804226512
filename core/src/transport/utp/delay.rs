//! How long packets wait in queues: one-way delays, of which only what is above the least of some minutes counts, for the
//! two clocks have nothing to do with one another.

use core::time::Duration;

use super::limits::{BASE_BUCKET, BASE_BUCKETS};
use crate::time::Instant;

/// What uTorrent sends while it has no measurement.
const UNINITIALISED: u32 = 0x7fff_ffff;

/// Samples of which the least is the present delay: a packet that waited behind others' burst says little.
const FILTER: usize = 4;

/// The other end's base may sink by so much at a time, in microseconds, and is taken for a clock that drifts; more is
/// another path.
const MAX_DRIFT: u32 = 10_000;

/// Whether `a` is before `b` on a clock that wraps.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The least of some minutes, on a clock that wraps.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// The least of each bucket of time, the present one first.
    buckets: [u32; BASE_BUCKETS],
    filled: usize,
    since: Instant,
}

impl Base {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [0; BASE_BUCKETS],
            filled: 0,
            since: Instant::ZERO,
        }
    }

    pub(super) fn get(&self) -> Option<u32> {
        let mut buckets = self.buckets.iter().take(self.filled).copied();
        let first = buckets.next()?;
        Some(buckets.fold(
            first,
            |least, next| if before(next, least) { next } else { least },
        ))
    }

    /// Takes a sample, and returns what it is above the least.
    pub(super) fn sample(&mut self, now: Instant, value: u32) -> u32 {
        if self.filled == 0 {
            self.buckets[0] = value;
            self.filled = 1;
            self.since = now;
        } else if now.since(self.since) >= BASE_BUCKET {
            // After a long silence the older ones are worth as little, and say no less.
            self.buckets.copy_within(..BASE_BUCKETS - 1, 1);
            self.buckets[0] = value;
            self.filled = (self.filled + 1).min(BASE_BUCKETS);
            self.since = now;
        } else if before(value, self.buckets[0]) {
            self.buckets[0] = value;
        }
        let least = self.get().unwrap_or(value);
        value.wrapping_sub(least)
    }

    /// The clocks have drifted apart by so much.
    fn raise(&mut self, by: u32) {
        for bucket in self.buckets.iter_mut().take(self.filled) {
            *bucket = bucket.wrapping_add(by);
        }
    }
}

/// Delays in both directions.
#[derive(Debug)]
pub(super) struct Delay {
    /// Of what we send, as the other end measures it.
    ours: Base,
    /// Of what the other end sends, as we do.
    theirs: Base,
    recent: [u32; FILTER],
    next: usize,
    filled: usize,
    /// What the next packets tell the other end.
    reply: u32,
}

impl Delay {
    pub(super) const fn new() -> Self {
        Self {
            ours: Base::new(),
            theirs: Base::new(),
            recent: [0; FILTER],
            next: 0,
            filled: 0,
            reply: 0,
        }
    }

    /// A packet was sent by the other end's clock and arrived by ours.
    pub(super) fn arrived(&mut self, now: Instant, arrived_at: Instant, timestamp: u32) {
        self.reply = micros(arrived_at).wrapping_sub(timestamp);
        let was = self.theirs.get();
        self.theirs.sample(now, self.reply);
        let is = self.theirs.get();
        if let (Some(was), Some(is)) = (was, is)
            && before(is, was)
            && was.wrapping_sub(is) < MAX_DRIFT
        {
            // Their clock runs faster than ours, so that our packets seem to take longer and longer.
            self.ours.raise(was.wrapping_sub(is));
        }
    }

    /// The other end has measured the delay of what we send.
    pub(super) fn told(&mut self, now: Instant, delay: u32) {
        if delay == 0 || delay == UNINITIALISED {
            return;
        }
        let queueing = self.ours.sample(now, delay);
        self.recent[self.next] = queueing;
        self.next = (self.next + 1) % FILTER;
        self.filled = (self.filled + 1).min(FILTER);
    }

    /// How long our packets wait in queues, in microseconds, if the other end ever said so.
    pub(super) fn queueing(&self) -> Option<u32> {
        self.recent.iter().take(self.filled).copied().min()
    }

    pub(super) fn reply(&self) -> u32 {
        self.reply
    }
}

/// The clock that packets carry: microseconds that wrap after 71 minutes.
pub(super) fn micros(at: Instant) -> u32 {
    (at.as_nanos() / 1_000) as u32
}

/// What the two ends measure of round trips.
#[derive(Debug)]
pub(super) struct RoundTrip {
    smoothed: u64,
    variance: u64,
    /// The least of some minutes, in microseconds.
    base: Base,
}

impl RoundTrip {
    pub(super) const fn new() -> Self {
        Self {
            smoothed: 0,
            variance: 0,
            base: Base::new(),
        }
    }

    pub(super) fn sample(&mut self, now: Instant, took: Duration) {
        // A round trip is below hours, whatever clocks say.
        let nanos = (took.as_nanos() as u64).clamp(1_000, 1 << 42);
        self.base.sample(now, (nanos / 1_000) as u32);
        if self.smoothed == 0 {
            self.smoothed = nanos;
            self.variance = nanos / 2;
        } else {
            self.variance = (self.variance * 3 + self.smoothed.abs_diff(nanos)) / 4;
            self.smoothed = (self.smoothed * 7 + nanos) / 8;
        }
    }

    /// Whether there was a sample.
    pub(super) const fn is_known(&self) -> bool {
        self.smoothed > 0
    }

    pub(super) const fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed)
    }

    pub(super) const fn variance(&self) -> Duration {
        Duration::from_nanos(self.variance)
    }

    /// The least of some minutes.
    pub(super) fn least(&self) -> Duration {
        Duration::from_micros(u64::from(self.base.get().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn what_is_above_the_least_is_queueing() {
        let mut delay = Delay::new();
        assert_eq!(delay.queueing(), None);
        // Clocks may be anything apart, also so that the difference wraps in the midst.
        for offset in [5_u32, 1 << 31, u32::MAX - 10_000] {
            delay = Delay::new();
            delay.told(seconds(0), offset.wrapping_add(20_000));
            for _ in 0..FILTER {
                delay.told(seconds(1), offset.wrapping_add(50_000));
            }
            assert_eq!(delay.queueing(), Some(30_000), "{offset}");
        }
    }

    #[test]
    fn one_late_packet_is_no_queue() {
        let mut delay = Delay::new();
        for sample in [1_000, 1_100, 90_000, 1_050] {
            delay.told(seconds(0), sample);
        }
        assert_eq!(delay.queueing(), Some(0));
    }

    #[test]
    fn a_delay_that_was_never_measured_is_none() {
        let mut delay = Delay::new();
        delay.told(seconds(0), 0);
        delay.told(seconds(0), UNINITIALISED);
        assert_eq!(delay.queueing(), None);
    }

    #[test]
    fn a_longer_path_is_the_base_after_some_minutes() {
        let mut base = Base::new();
        base.sample(seconds(0), 10_000);
        let mut above = 0;
        for second in 1..=BASE_BUCKETS as u64 * BASE_BUCKET.as_secs() + 1 {
            above = base.sample(seconds(second), 110_000);
        }
        assert_eq!(above, 0);
    }

    #[test]
    fn clocks_that_drift_apart_are_no_queue() {
        let mut delay = Delay::new();
        // 200 ppm: theirs is ahead by 200 µs more with each second, ours measures less of their packets, they more of
        // ours.
        for second in 0..600_u32 {
            let now = seconds(u64::from(second));
            delay.arrived(
                now,
                now,
                micros(now).wrapping_sub(20_000).wrapping_add(second * 200),
            );
            delay.told(now, 20_000 + second * 200);
            assert!(delay.queueing() <= Some(1_000), "{:?}", delay.queueing());
        }
    }

    #[test]
    fn round_trips_are_smoothed_and_bounded() {
        let mut trip = RoundTrip::new();
        assert!(!trip.is_known());
        for _ in 0..100 {
            trip.sample(seconds(0), Duration::from_millis(50));
        }
        assert_eq!(trip.smoothed(), Duration::from_millis(50));
        assert!(trip.variance() < Duration::from_millis(1));
        trip.sample(seconds(0), Duration::MAX);
        assert!(trip.smoothed() < Duration::from_secs(3_600));
        assert_eq!(trip.least(), Duration::from_millis(50));
    }
}
