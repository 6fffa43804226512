//! The one timer table.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// Deadlines by key. Equal deadlines fire in the order in which they were set.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queue: BTreeSet<(Instant, u64, K)>,
    by_key: BTreeMap<K, (Instant, u64)>,
    sequence: u64,
}

impl<K: Copy + Ord> Default for Timers<K> {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            by_key: BTreeMap::new(),
            sequence: 0,
        }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, in place of the one that it had.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some((was, sequence)) = self.by_key.get(&key).copied() {
            if was == at {
                return;
            }
            self.queue.remove(&(was, sequence, key));
        }
        self.sequence += 1;
        self.by_key.insert(key, (at, self.sequence));
        self.queue.insert((at, self.sequence, key));
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
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.by_key.clear();
    }

    /// Takes the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, _, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Instant, K)> {
        self.queue.first().map(|(at, _, key)| (*at, *key))
    }

    pub(crate) fn deadline(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).map(|(at, _)| *at)
    }

    /// Whether both tables name the same deadlines.
    pub(crate) fn is_consistent(&self) -> bool {
        self.queue.len() == self.by_key.len()
            && self
                .queue
                .iter()
                .all(|(at, sequence, key)| self.by_key.get(key) == Some(&(*at, *sequence)))
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
