//! Bounds what we send to whom asks: UDP sources can be made up, and an answer is longer than its question.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;
use core::time::Duration;

use crate::address::party;
use crate::limits::{DHT_SOURCE_BURST, DHT_SOURCE_RATE, MAX_DHT_SOURCES};
use crate::ratelimit::Bucket;
use crate::time::Instant;

/// How many bytes each party may still be sent in answers, and all together.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The parties that were answered of late.
    sources: BTreeMap<SocketAddr, Source>,
    /// The same, the longest unseen first.
    by_age: BTreeSet<(Instant, SocketAddr)>,
    all: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    /// Bytes that it may be sent at once.
    left: u32,
    seen: Instant,
}

impl Limiter {
    /// `rate` bounds the bytes a second to all parties together.
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Self {
            sources: BTreeMap::new(),
            by_age: BTreeSet::new(),
            all: Bucket::new(rate, now),
        }
    }

    /// Whether the party at an address may be answered at all: a look before the work.
    pub(crate) fn is_open(&mut self, now: Instant, to: SocketAddr) -> bool {
        let left = self
            .sources
            .get(&party(to))
            .map_or(DHT_SOURCE_BURST, |source| source.refilled(now));
        left > 0 && self.all.available(now) > 0
    }

    /// Takes the bytes of an answer into account. Says whether it may be sent.
    pub(crate) fn take(&mut self, now: Instant, to: SocketAddr, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let key = party(to);
        let known = self.sources.get(&key).copied();
        let left = known.map_or(DHT_SOURCE_BURST, |source| source.refilled(now));
        if left < bytes || self.all.available(now) < u64::from(bytes) {
            return false;
        }
        self.all.take(now, u64::from(bytes));
        if let Some(known) = known {
            self.by_age.remove(&(known.seen, key));
        } else if self.sources.len() >= MAX_DHT_SOURCES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.sources.remove(&oldest);
        }
        let left = left - bytes;
        self.sources.insert(key, Source { left, seen: now });
        self.by_age.insert((now, key));
        true
    }

    /// Panics unless both lists name the same parties.
    pub(crate) fn check(&self) {
        assert_eq!(self.sources.len(), self.by_age.len());
        assert!(self.sources.len() <= MAX_DHT_SOURCES);
    }
}

impl Source {
    fn refilled(&self, now: Instant) -> u32 {
        let millis = now
            .since(self.seen)
            .min(Duration::from_secs(3_600))
            .as_millis();
        // An hour at the rate fits.
        let earned = (millis * u128::from(DHT_SOURCE_RATE) / 1_000) as u32;
        self.left.saturating_add(earned).min(DHT_SOURCE_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_gets_its_burst_and_then_its_rate() {
        let mut limiter = Limiter::new(None, Instant::ZERO);
        let victim = |port: u16| SocketAddr::from(([203, 0, 113, 1], port));
        let mut sent = 0;
        for millis in 0..60_000 {
            let now = Instant::from_millis(millis);
            // Another port is no other party.
            if limiter.is_open(now, victim(millis as u16))
                && limiter.take(now, victim(millis as u16), 500)
            {
                sent += 500;
            }
        }
        assert!(sent <= DHT_SOURCE_BURST + 60 * DHT_SOURCE_RATE, "{sent}");
        assert!(sent >= DHT_SOURCE_BURST, "{sent}");
        assert!(limiter.take(
            Instant::from_millis(60_000),
            SocketAddr::from(([203, 0, 113, 2], 1)),
            500
        ));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut limiter = Limiter::new(None, Instant::ZERO);
        for n in 0..2 * MAX_DHT_SOURCES as u32 {
            let from = SocketAddr::from(((0x0500_0000 + n).to_be_bytes(), 6881));
            assert!(limiter.take(Instant::from_millis(u64::from(n)), from, 100));
            limiter.check();
        }
        assert_eq!(limiter.sources.len(), MAX_DHT_SOURCES);
    }

    #[test]
    fn all_together_have_a_limit_too() {
        let mut limiter = Limiter::new(Some(10_000), Instant::ZERO);
        let sent: usize = (0..1_000_u32)
            .map(|n| SocketAddr::from(((0x0500_0000 + n).to_be_bytes(), 6881)))
            .filter(|from| limiter.take(Instant::ZERO, *from, 1_000))
            .count();
        assert_eq!(sent, 16, "the burst of a slow limit");
    }
}
