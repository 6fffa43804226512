//! The one queue of everything that is going to happen.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use anabranch_core::Instant;

/// A day of the calendar is so many binary digits of nanoseconds: 65 µs.
const DAY_BITS: u32 = 16;

/// A year is so many binary digits of days: half a second, longer than most things take on a network.
const YEAR_BITS: u32 = 13;

const DAYS: usize = 1 << YEAR_BITS;

/// Emptied days whose memory is kept for the next ones.
const SPARE: usize = 64;

/// Things to come, by time; at the same time, in the order in which they were put in. That order is
/// total, so a run has one course.
///
/// It is a calendar: what is due on the present day lies in a heap, what is due on a later day of this
/// year in that day's list, and what is due in a later year in that year's. So most things are moved
/// twice, however many there are; and what is due at once never gets into it.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// When the last thing happened.
    now: Instant,
    /// Due at `now`, and put in since then: behind all others that are due then.
    at_once: VecDeque<T>,
    /// The present day, and what is due on it or before.
    day: u64,
    today: BinaryHeap<Reverse<Entry<T>>>,
    /// The later days of this year, and which of them are not empty.
    days: Vec<Vec<Reverse<Entry<T>>>>,
    busy: Vec<u64>,
    years: BTreeMap<u64, Vec<Reverse<Entry<T>>>>,
    spare: Vec<Vec<Reverse<Entry<T>>>>,
    sequence: u64,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    item: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            now: Instant::ZERO,
            at_once: VecDeque::new(),
            day: 0,
            today: BinaryHeap::new(),
            days: std::iter::repeat_with(Vec::new).take(DAYS).collect(),
            busy: vec![0; DAYS / 64],
            years: BTreeMap::new(),
            spare: Vec::new(),
            sequence: 0,
            len: 0,
        }
    }
}

impl<T> Queue<T> {
    /// Puts something in; what is due before the last thing that happened is due at once.
    pub(crate) fn push(&mut self, at: Instant, item: T) {
        self.len += 1;
        if at <= self.now {
            self.at_once.push_back(item);
            return;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.enter(Reverse(Entry { at, sequence, item }));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&mut self) -> Option<Instant> {
        if !self.at_once.is_empty() {
            return Some(self.now);
        }
        while self.today.is_empty() && self.turn_over() {}
        self.today.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        // What was put in for this very time before it came goes first.
        let due = |entry: &Reverse<Entry<T>>| entry.0.at <= self.now;
        if !self.today.peek().is_some_and(due)
            && let Some(item) = self.at_once.pop_front()
        {
            self.len -= 1;
            return Some((self.now, item));
        }
        self.next_at()?;
        let Reverse(entry) = self.today.pop()?;
        self.len -= 1;
        self.now = entry.at;
        Some((entry.at, entry.item))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn enter(&mut self, entry: Reverse<Entry<T>>) {
        let day = entry.0.at.as_nanos() >> DAY_BITS;
        if day <= self.day {
            self.today.push(entry);
        } else if day >> YEAR_BITS == self.day >> YEAR_BITS {
            let index = day as usize % DAYS;
            if let Some(list) = self.days.get_mut(index) {
                if list.capacity() == 0
                    && let Some(spare) = self.spare.pop()
                {
                    *list = spare;
                }
                list.push(entry);
            }
            if let Some(word) = self.busy.get_mut(index / 64) {
                *word |= 1 << (index % 64);
            }
        } else {
            self.years.entry(day >> YEAR_BITS).or_default().push(entry);
        }
    }

    /// Makes the next day on which something is due the present one, or the first of the next such
    /// year. The present one is over. False when nothing is due any more.
    fn turn_over(&mut self) -> bool {
        if let Some(index) = self.next_busy() {
            self.day = self.day >> YEAR_BITS << YEAR_BITS | index as u64;
            if let Some(word) = self.busy.get_mut(index / 64) {
                *word &= !(1 << (index % 64));
            }
            let list = self.days.get_mut(index).map(std::mem::take);
            let over = std::mem::replace(&mut self.today, list.unwrap_or_default().into());
            if self.spare.len() < SPARE && over.capacity() > 0 {
                self.spare.push(over.into_vec());
            }
            return true;
        }
        let Some((year, entries)) = self.years.pop_first() else {
            return false;
        };
        self.day = year << YEAR_BITS;
        for entry in entries {
            self.enter(entry);
        }
        true
    }

    /// The next day of this year on which something is due.
    fn next_busy(&self) -> Option<usize> {
        let from = self.day as usize % DAYS + 1;
        let (first, rest) = (from / 64, u64::MAX << (from % 64));
        let mut words = self.busy.iter().enumerate().skip(first);
        words.find_map(|(index, word)| {
            let word = if index == first { word & rest } else { *word };
            (word != 0).then(|| index * 64 + word.trailing_zeros() as usize)
        })
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn the_order_is_by_time_and_then_as_they_came(times: Vec<u8>) -> bool {
            let mut queue = Queue::default();
            for (index, at) in times.iter().enumerate() {
                queue.push(Instant::from_nanos(u64::from(*at)), index);
            }
            let mut expected: Vec<(u8, usize)> = times.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            expected.into_iter().all(|(at, index)| {
                queue.pop() == Some((Instant::from_nanos(u64::from(at)), index))
            }) && queue.pop().is_none()
        }

        fn it_does_what_a_sorted_list_does(steps: Vec<(u8, u16)>) -> bool {
            let mut queue = Queue::default();
            let mut list: Vec<(Instant, usize)> = Vec::new();
            let mut now = Instant::ZERO;
            for (index, (kind, number)) in steps.into_iter().enumerate() {
                if kind % 3 == 0 {
                    let at = list.iter().map(|(at, _)| *at).min();
                    if queue.next_at() != at {
                        return false;
                    }
                    let first = list.iter().position(|(is, _)| Some(*is) == at);
                    let first = first.map(|first| list.remove(first));
                    if queue.pop() != first {
                        return false;
                    }
                    now = first.map_or(now, |(at, _)| at);
                } else {
                    // At once, on the same day, in the same year, or much later.
                    let shift = [0, 4, 14, 24, 40][usize::from(kind) % 5];
                    let after = if kind < 30 { 0 } else { u64::from(number) << shift };
                    let at = Instant::from_nanos(now.as_nanos() + after);
                    queue.push(at, index);
                    list.push((at, index));
                }
                if queue.len() != list.len() {
                    return false;
                }
            }
            true
        }
    }

    #[test]
    fn what_is_looked_at_early_does_not_keep_others_from_coming_before_it() {
        let mut queue = Queue::default();
        queue.push(Instant::from_millis(10_000), "late");
        assert_eq!(queue.next_at(), Some(Instant::from_millis(10_000)));
        queue.push(Instant::from_millis(20), "early");
        queue.push(Instant::from_millis(9_999), "later");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(_, item)| item)
            .collect();
        assert_eq!(order, ["early", "later", "late"]);
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        let mut queue = Queue::default();
        queue.push(Instant::FAR, 2);
        queue.push(Instant::from_nanos(u64::MAX - 1), 1);
        assert_eq!(queue.pop().map(|(_, item)| item), Some(1));
        assert_eq!(queue.pop(), Some((Instant::FAR, 2)));
        assert_eq!(queue.pop(), None);
    }
}
