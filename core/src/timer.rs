//! The one timer table.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// Deadlines by key. Equal deadlines fire in the order in which they were set.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queue: BTreeSet<(Instant, u64, K)>,
    by_key: BTreeMap<K, (Instant, u64)>,
    /// The first of the queue: it is looked at with every event, and seldom changes.
    first: Option<(Instant, K)>,
    sequence: u64,
}

impl<K: Copy + Ord> Default for Timers<K> {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            by_key: BTreeMap::new(),
            first: None,
            sequence: 0,
        }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one that it had.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        self.sequence += 1;
        let entry = self.by_key.entry(key).or_insert((Instant::ZERO, 0));
        let (was, sequence) = *entry;
        if sequence > 0 {
            if was == at {
                return;
            }
            self.queue.remove(&(was, sequence, key));
        }
        *entry = (at, self.sequence);
        self.queue.insert((at, self.sequence, key));
        let first = self
            .first
            .is_some_and(|(first, other)| first <= at && other != key);
        if !first {
            self.find_first();
        }
    }

    /// Sets the deadline of `key` unless it has one that comes no later.
    pub(crate) fn set_no_later(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|(was, _)| *was > at) {
            self.set(key, at);
        }
    }

    pub(crate) fn cancel(&mut self, key: K) {
        if let Some((at, sequence)) = self.by_key.remove(&key) {
            self.queue.remove(&(at, sequence, key));
            self.find_first();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.by_key.clear();
        self.first = None;
    }

    /// Takes the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.first?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.by_key.remove(&key);
        self.find_first();
        Some(key)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Instant, K)> {
        self.first
    }

    pub(crate) fn deadline(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).map(|(at, _)| *at)
    }

    /// Whether both tables name the same deadlines.
    pub(crate) fn is_consistent(&self) -> bool {
        self.queue.len() == self.by_key.len()
            && self.first == self.queue.first().map(|(at, _, key)| (*at, *key))
            && self
                .queue
                .iter()
                .all(|(at, sequence, key)| self.by_key.get(key) == Some(&(*at, *sequence)))
    }

    fn find_first(&mut self) {
        self.first = self.queue.first().map(|(at, _, key)| (*at, *key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_deadlines_fire_in_the_order_in_which_they_were_set() {
        let mut timers = Timers::default();
        let at = Instant::from_millis(5);
        for key in [3_u8, 1, 2] {
            timers.set(key, at);
        }
        assert_eq!(timers.pop_due(Instant::from_millis(4)), None);
        let fired: std::vec::Vec<u8> = core::iter::from_fn(|| timers.pop_due(at)).collect();
        assert_eq!(fired, [3, 1, 2]);
    }

    #[test]
    fn a_timer_has_one_deadline() {
        let mut timers = Timers::default();
        timers.set('a', Instant::from_millis(9));
        timers.set_no_later('a', Instant::from_millis(10));
        assert_eq!(timers.deadline('a'), Some(Instant::from_millis(9)));
        timers.set_no_later('a', Instant::from_millis(3));
        timers.set('b', Instant::from_millis(4));
        timers.cancel('b');
        assert_eq!(timers.next(), Some((Instant::from_millis(3), 'a')));
        assert!(timers.is_consistent());
    }
}
