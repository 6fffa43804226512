//! BEP 3, 6, 9: what a peer says that it has before anybody here knows how many pieces there are.

use alloc::vec::Vec;

use crate::bitfield::Bitfield;
use crate::error::{Blame, Misbehaviour};
use crate::metainfo::limits::MAX_PIECES;

/// The longest piece map that any torrent can have, in bytes.
pub(crate) const MAX_MAP: u32 = MAX_PIECES.div_ceil(8);

/// Pieces that were named, kept until they can be judged. No more memory than the largest piece map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EarlyMap {
    /// Whether anything was said.
    said: bool,
    all: bool,
    bits: Vec<u8>,
    /// The length of the piece map, if one came.
    length: Option<usize>,
    /// The last of the pieces that were named singly.
    last: Option<u32>,
}

impl EarlyMap {
    /// It has everything.
    pub(crate) fn set_all(&mut self) {
        *self = Self {
            said: true,
            all: true,
            ..Self::default()
        };
    }

    /// It has nothing.
    pub(crate) fn set_none(&mut self) {
        *self = Self {
            said: true,
            ..Self::default()
        };
    }

    /// It has what is in a piece map.
    pub(crate) fn set(&mut self, map: &[u8]) {
        *self = Self {
            said: true,
            all: false,
            bits: map.to_vec(),
            length: Some(map.len()),
            last: None,
        };
    }

    /// It has one more piece.
    pub(crate) fn insert(&mut self, piece: u32) -> Result<(), Blame> {
        if piece >= MAX_PIECES {
            return Err(Blame::Misbehaved(Misbehaviour::PieceOutOfRange));
        }
        self.said = true;
        let byte = piece as usize / 8;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= 0x80 >> (piece % 8);
        self.last = self.last.max(Some(piece));
        Ok(())
    }

    /// What it means for a torrent of so many pieces; none if nothing was said.
    pub(crate) fn resolve(mut self, pieces: u32) -> Result<Option<Bitfield>, Blame> {
        if !self.said {
            return Ok(None);
        }
        if self.all {
            return Ok(Some(Bitfield::full(pieces)));
        }
        let length = pieces.div_ceil(8) as usize;
        let misfit = self.length.is_some_and(|said| said != length);
        // What a map has in its last byte beyond the pieces is padding; a piece that was named is a piece.
        let beyond = self.last.is_some_and(|last| last >= pieces);
        if misfit || beyond {
            return Err(Blame::Misbehaved(Misbehaviour::BadBitfield));
        }
        self.bits.resize(length, 0);
        Bitfield::from_wire(&self.bits, pieces)
            .map(Some)
            .map_err(|_| Blame::Misbehaved(Misbehaviour::BadBitfield))
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn map(change: impl FnOnce(&mut EarlyMap)) -> EarlyMap {
        let mut map = EarlyMap::default();
        change(&mut map);
        map
    }

    #[test]
    fn what_was_said_is_judged_once_it_can_be() {
        assert_eq!(EarlyMap::default().resolve(9), Ok(None));
        assert_eq!(
            map(EarlyMap::set_all).resolve(9),
            Ok(Some(Bitfield::full(9)))
        );
        assert_eq!(
            map(EarlyMap::set_none).resolve(9),
            Ok(Some(Bitfield::new(9)))
        );
        let bits = |bytes: &[u8]| map(|map| map.set(bytes)).resolve(9);
        assert_eq!(bits(&[0xff, 0x80]), Ok(Some(Bitfield::full(9))));
        let bad = Err(Blame::Misbehaved(Misbehaviour::BadBitfield));
        for wrong in [&[0xff][..], &[0xff, 0x80, 0], &[]] {
            assert_eq!(bits(wrong), bad);
        }
        assert_eq!(bits(&[0xff, 0xff]), Ok(Some(Bitfield::full(9))));
        let beyond = map(|map| map.insert(9).unwrap());
        assert_eq!(beyond.resolve(9), bad);
        let out = Err(Blame::Misbehaved(Misbehaviour::PieceOutOfRange));
        assert_eq!(EarlyMap::default().insert(MAX_PIECES), out);
    }

    quickcheck! {
        fn single_pieces_add_up(named: Vec<u16>, rest: u16) -> bool {
            let pieces = named.iter().max().map_or(0, |max| u32::from(*max)) + 1 + u32::from(rest);
            let mut early = EarlyMap::default();
            let mut expected = Bitfield::new(pieces);
            for piece in &named {
                early.insert((*piece).into()).unwrap();
                expected.insert((*piece).into());
            }
            early.resolve(pieces) == Ok((!named.is_empty()).then_some(expected))
        }
    }
}
