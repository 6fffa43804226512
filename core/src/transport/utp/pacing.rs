//! When the next packets may leave: spread over the round trip, in bursts of a millisecond, so that they do not queue
//! behind one another and distort the delays that others measure.

use core::time::Duration;

use super::limits::MAX_BATCH_BYTES;
use crate::time::Instant;

/// What timers and batches can keep.
const BURST: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When the next packet is due.
    due: Instant,
    /// Nanoseconds of 1,024 bytes; 0 is no pacing.
    per_kib: u64,
    /// How much may leave at once.
    burst: Duration,
}

impl Pacer {
    /// Lets `window` bytes leave in `trip` times 16 by `pace`.
    pub(super) fn set(&mut self, window: u64, trip: Duration, pace: u64, packet: u64) {
        let spread = trip.as_nanos() as u64 / (pace.max(16)) * 16;
        // A trip is below hours, so that this does not overflow.
        self.per_kib = spread.saturating_mul(1_024) / window.max(1);
        let packets = self.takes(packet * 2);
        let batch = self.takes(MAX_BATCH_BYTES as u64);
        self.burst = BURST.clamp(packets, batch.max(packets));
    }

    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_nanos(self.per_kib.saturating_mul(bytes) / 1_024)
    }

    /// Whether a packet may leave now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// When to look again: not for a single packet, but for as many as a burst is.
    pub(super) fn wakes(&self) -> Instant {
        self.due + self.burst / 2
    }

    pub(super) fn sent(&mut self, now: Instant, bytes: u64) {
        // Who was late with a timer catches up, who was idle does not.
        let earliest = now - self.burst * 2;
        self.due = self.due.max(earliest) + self.takes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that leave within a second, by a loop that comes when it is told, and late by some time.
    fn in_a_second(pacer: &mut Pacer, packet: u64, late: Duration) -> (u64, u64) {
        let mut now = Instant::from_millis(1_000);
        let end = now + Duration::from_secs(1);
        let (mut sent, mut longest) = (0, 0);
        while now < end {
            let mut burst = 0;
            while pacer.is_due(now) {
                pacer.sent(now, packet);
                burst += packet;
            }
            sent += burst;
            longest = longest.max(burst);
            now = pacer.wakes().max(now) + late;
        }
        (sent, longest)
    }

    #[test]
    fn a_window_leaves_in_a_round_trip_in_bursts_of_a_millisecond() {
        for (rate, late) in [
            (125_000_u64, 0),
            (1_250_000, 100),
            (125_000_000, 0),
            (12_500_000, 900),
        ] {
            let mut pacer = Pacer::default();
            let trip = Duration::from_millis(50);
            pacer.set(rate / 20, trip, 16, 1_400);
            let (sent, longest) = in_a_second(&mut pacer, 1_400, Duration::from_micros(late));
            assert!(
                sent.abs_diff(rate) <= rate / 20 + 5 * 1_400,
                "{rate}: {sent}"
            );
            assert!(longest <= (rate / 300).max(5 * 1_400), "{rate}: {longest}");
        }
    }

    #[test]
    fn what_has_no_round_trip_is_not_held_back() {
        let mut pacer = Pacer::default();
        for _ in 0..100 {
            assert!(pacer.is_due(Instant::ZERO));
            pacer.sent(Instant::ZERO, 1_400);
        }
    }
}
