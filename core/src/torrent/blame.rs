//! Who is to blame for a piece that does not match its digest.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::id::ConnId;
use crate::limits::MAX_SUSPECTS;

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contributor {
    pub(crate) conn: ConnId,
    pub(crate) address: IpAddr,
}

/// Who contributed which block of a piece. A piece that came from one peer takes no entry a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contributors {
    who: Vec<Contributor>,
    /// By block: its place in `who`; [`UNKNOWN`] where nothing is known. Empty when the first of
    /// `who` contributed all.
    blocks: Vec<u16>,
}

/// No place in a list of contributors.
pub(crate) const UNKNOWN: u16 = u16::MAX;

impl Contributors {
    /// From a list of contributors and, by block, the place in that list.
    pub(crate) fn new(who: Vec<Contributor>, blocks: impl Iterator<Item = u16> + Clone) -> Self {
        let blocks = if who.len() == 1 && blocks.clone().all(|place| place == 0) {
            Vec::new()
        } else {
            blocks.collect()
        };
        Self { who, blocks }
    }

    /// Who contributed a block.
    pub(crate) fn of(&self, block: usize) -> Option<Contributor> {
        let place = if self.blocks.is_empty() {
            0
        } else {
            self.blocks.get(block).copied().unwrap_or(UNKNOWN)
        };
        self.who.get(usize::from(place)).copied()
    }

    /// The one who contributed every block, over whatever connections.
    pub(crate) fn only(&self) -> Option<Contributor> {
        let first = *self.who.first()?;
        let rest = self.who.iter().all(|who| who.address == first.address);
        let known = self.blocks.iter().all(|place| *place != UNKNOWN);
        (rest && known).then_some(first)
    }

    /// Everybody who contributed something.
    pub(crate) fn all(&self) -> &[Contributor] {
        &self.who
    }
}

/// Remembers, block by block, copies of pieces that failed. When a good copy of the same piece
/// arrives, whoever sent a block that differs from it is convicted, and nobody else.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// The oldest first.
    copies: VecDeque<FailedCopy>,
}

#[derive(Debug)]
struct FailedCopy {
    piece: u32,
    digests: Vec<[u8; 20]>,
    from: Contributors,
}

impl Suspects {
    /// A piece failed; `digests` are the SHA-1 of its blocks. Returns the guilty one if there is only
    /// one who can be. Else the copy is kept, and the oldest one is forgotten if there are too many.
    pub(crate) fn failed(
        &mut self,
        piece: u32,
        digests: Vec<[u8; 20]>,
        from: Contributors,
    ) -> Option<Contributor> {
        let only = from.only();
        if only.is_some() || from.all().is_empty() {
            return only;
        }
        if self.copies.len() >= MAX_SUSPECTS {
            self.copies.pop_front();
        }
        self.copies.push_back(FailedCopy {
            piece,
            digests,
            from,
        });
        None
    }

    /// Whether the digests of a good copy's blocks would convict somebody.
    pub(crate) fn is_suspect(&self, piece: u32) -> bool {
        self.copies.iter().any(|copy| copy.piece == piece)
    }

    /// A good copy arrived; `digests` are the SHA-1 of its blocks. Returns the guilty ones, one for
    /// each address, and forgets the failed copies.
    pub(crate) fn passed(&mut self, piece: u32, digests: &[[u8; 20]]) -> Vec<Contributor> {
        let mut guilty: Vec<Contributor> = Vec::new();
        self.copies.retain(|copy| {
            if copy.piece != piece {
                return true;
            }
            for (block, (bad, good)) in copy.digests.iter().zip(digests).enumerate() {
                if bad != good
                    && let Some(who) = copy.from.of(block)
                    && guilty.iter().all(|known| known.address != who.address)
                {
                    guilty.push(who);
                }
            }
            false
        });
        guilty
    }

    /// Forgets the failed copies of a piece: it came from elsewhere, or is not wanted any more.
    pub(crate) fn forget(&mut self, piece: u32) {
        self.copies.retain(|copy| copy.piece != piece);
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn peer(number: u8) -> Contributor {
        Contributor {
            conn: ConnId::new(u32::from(number), 1),
            address: IpAddr::from([10, 0, 0, number]),
        }
    }

    fn from(who: &[u8], blocks: &[u16]) -> Contributors {
        let who = who.iter().map(|number| peer(*number)).collect();
        Contributors::new(who, blocks.iter().copied())
    }

    fn digests(of: &[u8]) -> Vec<[u8; 20]> {
        of.iter().map(|byte| [*byte; 20]).collect()
    }

    #[test]
    fn who_contributed_all_of_it_is_guilty_at_once() {
        let mut suspects = Suspects::default();
        let guilty = suspects.failed(3, digests(&[1, 2]), from(&[7], &[0, 0]));
        assert_eq!(guilty, Some(peer(7)));
        assert!(!suspects.is_suspect(3));
        // Over two connections from one address, too.
        let again = Contributor {
            conn: ConnId::new(9, 1),
            ..peer(7)
        };
        let both = Contributors::new(vec![peer(7), again], [0, 1].into_iter());
        assert_eq!(suspects.failed(3, digests(&[1, 2]), both), Some(peer(7)));
    }

    #[test]
    fn a_good_copy_convicts_who_sent_other_blocks_and_nobody_else() {
        let mut suspects = Suspects::default();
        let failed = digests(&[1, 2, 66, 4, 66]);
        let guilty = suspects.failed(3, failed, from(&[5, 6, 7], &[0, 1, 2, 0, 2]));
        assert_eq!(guilty, None);
        let failed = digests(&[1, 77, 3, 4, 5]);
        assert_eq!(
            suspects.failed(3, failed, from(&[8, 5], &[1, 0, 1, 1, 1])),
            None
        );
        assert_eq!(
            suspects.failed(4, digests(&[9, 9]), from(&[5, 6], &[0, 1])),
            None
        );
        assert!(suspects.is_suspect(3));
        let good = digests(&[1, 2, 3, 4, 5]);
        assert_eq!(suspects.passed(3, &good), [peer(7), peer(8)]);
        assert!(!suspects.is_suspect(3) && suspects.is_suspect(4));
        assert!(suspects.passed(3, &good).is_empty());
        suspects.forget(4);
        assert!(!suspects.is_suspect(4));
    }

    #[test]
    fn a_block_of_unknown_origin_convicts_nobody() {
        let mut suspects = Suspects::default();
        let mixed = from(&[5], &[0, UNKNOWN]);
        assert_eq!(mixed.only(), None);
        assert_eq!(suspects.failed(0, digests(&[1, 66]), mixed), None);
        assert!(suspects.passed(0, &digests(&[1, 2])).is_empty());
        let unknown = from(&[], &[UNKNOWN, UNKNOWN]);
        assert_eq!(suspects.failed(0, digests(&[1, 66]), unknown), None);
        assert!(!suspects.is_suspect(0));
    }

    #[test]
    fn the_oldest_copy_is_forgotten_first() {
        let mut suspects = Suspects::default();
        for piece in 0..=MAX_SUSPECTS as u32 {
            suspects.failed(piece, digests(&[1, 2]), from(&[5, 6], &[0, 1]));
        }
        assert!(!suspects.is_suspect(0));
        assert!(suspects.is_suspect(1) && suspects.is_suspect(MAX_SUSPECTS as u32));
    }
}
