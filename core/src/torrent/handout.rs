//! BEP 6: which pieces a complete torrent suggests, so that all have gone out once before any goes out
//! twice.

use crate::bitfield::Bitfield;

/// The pieces that nobody has but us, as far as we know, and that nobody has been offered.
///
/// Peers that choose by themselves see what others have, not what others are fetching: where one seed
/// feeds many, it sends a piece again and again while its first copies are still under way. Takes a
/// bit a piece.
#[derive(Debug)]
pub(crate) struct Handout {
    /// Pieces that somebody has, or was offered, or asked us for.
    out: Bitfield,
    /// Where to look next. Where it begins is drawn by lot, so that several seeds offer different
    /// pieces.
    next: u32,
}

impl Handout {
    pub(crate) fn new(pieces: u32, begin: u32) -> Self {
        Self {
            out: Bitfield::new(pieces),
            next: begin % pieces.max(1),
        }
    }

    /// The next piece to offer, which counts as handed out. Pieces for which `is_known` holds, as
    /// others have them, are not looked at again.
    pub(crate) fn next(&mut self, is_known: impl Fn(u32) -> bool) -> Option<u32> {
        loop {
            let piece = self.first_from(self.next).or_else(|| self.first_from(0))?;
            self.out.insert(piece);
            self.next = piece + 1;
            if !is_known(piece) {
                return Some(piece);
            }
        }
    }

    /// Somebody asks for the piece.
    pub(crate) fn give(&mut self, piece: u32) {
        self.out.insert(piece);
    }

    /// Who was offered the piece will not take it.
    pub(crate) fn take_back(&mut self, piece: u32) {
        self.out.remove(piece);
    }

    fn first_from(&self, begin: u32) -> Option<u32> {
        let pieces = self.out.len();
        if self.out.is_full() || begin >= pieces {
            return None;
        }
        let skip = begin as usize / 64;
        let words = self.out.words().iter().enumerate().skip(skip);
        words
            .map(|(at, word)| {
                let before = if at == skip {
                    (1 << (begin % 64)) - 1
                } else {
                    0
                };
                (at as u32, !(word | before))
            })
            .find(|(_, free)| *free != 0)
            .map(|(at, free)| at * 64 + free.trailing_zeros())
            .filter(|piece| *piece < pieces)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;

    quickcheck! {
        fn each_piece_that_nobody_has_is_offered_once(pieces: u8, begin: u32, known: Vec<u8>) -> bool {
            let pieces = u32::from(pieces);
            let known: BTreeSet<u32> = known.into_iter().map(u32::from).collect();
            let mut handout = Handout::new(pieces, begin);
            let mut offered = Vec::new();
            while let Some(piece) = handout.next(|piece| known.contains(&piece)) {
                offered.push(piece);
            }
            offered.sort_unstable();
            offered.into_iter().eq((0..pieces).filter(|piece| !known.contains(piece)))
        }
    }

    #[test]
    fn what_is_asked_for_is_not_offered_and_what_is_not_taken_is_offered_again() {
        let mut handout = Handout::new(100, 98);
        handout.give(0);
        let mut next = || handout.next(|_| false);
        assert_eq!([next(), next(), next()], [98, 99, 1].map(Some));
        handout.take_back(99);
        let rest: BTreeSet<u32> = core::iter::from_fn(|| handout.next(|_| false)).collect();
        assert_eq!(rest.len(), 97);
        assert!(rest.contains(&99) && !rest.contains(&98) && !rest.contains(&0));
    }
}
