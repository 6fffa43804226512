//! A table with stable, generational keys.

use alloc::vec::Vec;
use core::marker::PhantomData;

/// A key of a [`Slab`].
pub(crate) trait Key: Copy + Eq {
    /// The key for a slot at a generation.
    fn new(slot: u32, generation: u32) -> Self;
    /// The slot.
    fn slot(self) -> u32;
    /// The generation.
    fn generation(self) -> u32;
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A table that hands out keys. The freed slot that was used last is used next, so the table stays
/// dense; its generation grows with each use, so that an old key finds nothing.
#[derive(Debug)]
pub(crate) struct Slab<K, T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
    key: PhantomData<fn() -> K>,
}

impl<K: Key, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
            key: PhantomData,
        }
    }
}

impl<K: Key, T> Slab<K, T> {
    pub(crate) fn insert(&mut self, value: T) -> K {
        self.insert_with(|_| value)
    }

    /// Inserts a value that knows its key.
    pub(crate) fn insert_with(&mut self, value: impl FnOnce(K) -> T) -> K {
        self.len += 1;
        if let Some(slot) = self.free.pop()
            && let Some(entry) = self.slots.get_mut(slot as usize)
        {
            let key = K::new(slot, entry.generation);
            entry.value = Some(value(key));
            return key;
        }
        // Each slot holds an open connection, torrent or operation, all of which have limits far
        // below 2^32.
        let key = K::new(self.slots.len() as u32, 1);
        self.slots.push(Slot {
            generation: 1,
            value: Some(value(key)),
        });
        key
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let entry = self.slots.get_mut(key.slot() as usize)?;
        if entry.generation != key.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1).max(1);
        self.free.push(key.slot());
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let entry = self.slots.get_mut(key.slot() as usize)?;
        if entry.generation == key.generation() {
            entry.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let entry = self.slots.get(key.slot() as usize)?;
        if entry.generation == key.generation() {
            entry.value.as_ref()
        } else {
            None
        }
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Keys and values in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| {
            entry
                .value
                .as_ref()
                .map(|value| (K::new(slot as u32, entry.generation), value))
        })
    }

    /// Keys in slot order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConnId;

    #[test]
    fn a_key_that_outlived_its_value_finds_nothing() {
        let mut slab: Slab<ConnId, u8> = Slab::default();
        let first = slab.insert(1);
        assert_eq!(slab.remove(first), Some(1));
        let second = slab.insert(2);
        assert_eq!(second.slot(), 0);
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&2));
        assert_eq!(slab.len(), 1);
    }
}
