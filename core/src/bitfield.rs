//! Piece maps.

use alloc::vec::Vec;
use core::fmt;

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;
use bytes::{BufMut, Bytes, BytesMut};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A set of piece indices below a fixed length, with a count of its members.
///
/// Takes one bit a piece. On the wire (BEP 3) the first piece is the high bit of the first byte.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bitfield {
    bits: BitVec<u64, Lsb0>,
    ones: u32,
}

/// Why bytes are not a piece map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BitfieldError {
    /// The map has another number of bytes than the pieces need.
    #[error("a piece map of {found} bytes where {expected} are needed")]
    Length {
        /// Bytes that the pieces need.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
}

impl Bitfield {
    /// The empty set of no indices.
    pub(crate) const EMPTY: Self = Self {
        bits: BitVec::EMPTY,
        ones: 0,
    };

    /// The empty set of indices below `len`.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self {
            bits: BitVec::repeat(false, len as usize),
            ones: 0,
        }
    }

    /// The set of all indices below `len`.
    #[must_use]
    pub fn full(len: u32) -> Self {
        Self {
            bits: BitVec::repeat(true, len as usize),
            ones: len,
        }
    }

    /// Reads the wire's form of a map of `len` pieces. The spare bits behind the last piece, which BEP 3 wants to
    /// be zero, are not looked at: old clients set them.
    ///
    /// # Errors
    ///
    /// When the length does not fit.
    pub fn from_wire(wire: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = (len as usize).div_ceil(8);
        if wire.len() != expected {
            return Err(BitfieldError::Length {
                expected,
                found: wire.len(),
            });
        }
        let words: Vec<u64> = wire
            .chunks(8)
            .map(|chunk| {
                chunk
                    .iter()
                    .rev()
                    .fold(0, |word, byte| word << 8 | u64::from(byte.reverse_bits()))
            })
            .collect();
        let mut bits = BitVec::<u64, Lsb0>::from_vec(words);
        bits.truncate(len as usize);
        let ones = bits.count_ones() as u32;
        Ok(Self { bits, ones })
    }

    /// The same set for another number of indices, without those that it has no more.
    pub(crate) fn resized(mut self, len: u32) -> Self {
        self.bits.resize(len as usize, false);
        self.ones = self.bits.count_ones() as u32;
        self
    }

    /// Adds an index. Says whether it was new; an index past the length is not added.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.len() || self.contains(index) {
            return false;
        }
        self.bits.set(index as usize, true);
        self.ones += 1;
        true
    }

    /// Takes an index out. Says whether it was in.
    pub fn remove(&mut self, index: u32) -> bool {
        if !self.contains(index) {
            return false;
        }
        self.bits.set(index as usize, false);
        self.ones -= 1;
        true
    }

    /// Whether an index is in the set; one past the length is not.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.bits.get(index as usize).is_some_and(|bit| *bit)
    }

    /// How many indices there are in all, in the set or not.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.bits.len() as u32
    }

    /// Whether the map has no indices at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// How many indices are in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every index is in the set.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ones == self.len()
    }

    /// The indices in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bits.iter_ones().map(|index| index as u32)
    }

    /// The map in words, lowest index in the lowest bit of the first; bits behind the last index
    /// are unspecified. For set operations over whole maps.
    pub(crate) fn words(&self) -> &[u64] {
        self.bits.as_raw_slice()
    }

    /// The wire's form.
    #[must_use]
    pub fn to_wire(&self) -> Bytes {
        let mut wire = BytesMut::with_capacity(self.bits.len().div_ceil(64) * 8);
        for word in self.words() {
            for byte in word.to_le_bytes() {
                wire.put_u8(byte.reverse_bits());
            }
        }
        wire.truncate(self.bits.len().div_ceil(8));
        let used = self.bits.len() % 8;
        if used != 0
            && let Some(last) = wire.last_mut()
        {
            *last &= 0xff << (8 - used);
        }
        wire.freeze()
    }
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.ones, self.len())
    }
}

impl Serialize for Bitfield {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.len(), self.to_wire()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bitfield {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (len, wire) = <(u32, Bytes)>::deserialize(deserializer)?;
        Self::from_wire(&wire, len).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::{TestResult, quickcheck};
    use std::vec::Vec;

    use super::*;

    quickcheck! {
        fn the_wire_form_keeps_every_bit(indices: Vec<u32>, len: u16) -> TestResult {
            let len = u32::from(len);
            let mut map = Bitfield::new(len);
            for index in &indices {
                map.insert(index % len.max(1));
            }
            let wire = map.to_wire();
            for index in 0..len {
                let bit = wire[index as usize / 8] & (0x80 >> (index % 8)) != 0;
                if bit != map.contains(index) {
                    return TestResult::failed();
                }
            }
            TestResult::from_bool(Bitfield::from_wire(&wire, len) == Ok(map))
        }
    }

    #[test]
    fn spare_bits_are_ignored_and_wrong_lengths_refused() {
        for last in [0b1111_1000, 0b1111_1111] {
            let map = Bitfield::from_wire(&[0xff, last], 13);
            assert_eq!(map, Ok(Bitfield::full(13)));
        }
        for len in [1, 13, 63, 64, 65, 127, 200] {
            let wire = [0xff; 25];
            let wire = &wire[..(len as usize).div_ceil(8)];
            let map = Bitfield::from_wire(wire, len).unwrap();
            assert_eq!(
                (&map, map.iter().count()),
                (&Bitfield::full(len), len as usize)
            );
        }
        let spare_alone = Bitfield::from_wire(&[0, 0b0000_0111], 13);
        assert_eq!(spare_alone, Ok(Bitfield::new(13)));
        let length = BitfieldError::Length {
            expected: 2,
            found: 3,
        };
        assert_eq!(Bitfield::from_wire(&[0, 0, 0], 13), Err(length));
        assert!(Bitfield::from_wire(&[], 0).is_ok());
    }

    #[test]
    fn the_count_follows_insertions_and_removals() {
        let mut map = Bitfield::new(70);
        assert!(map.insert(69) && !map.insert(69) && !map.insert(70));
        assert_eq!((map.count(), map.is_full()), (1, false));
        assert!(map.remove(69) && !map.remove(69));
        assert_eq!(Bitfield::full(70).iter().count(), 70);
        assert!(Bitfield::full(70).is_full());
        assert_eq!(
            Bitfield::full(70).to_wire(),
            [0xff; 9]
                .map(|b: u8| b)
                .iter()
                .enumerate()
                .map(|(i, b)| if i == 8 { 0b1111_1100 } else { *b })
                .collect::<Vec<u8>>()
        );
    }
}
