//! A piece under way: what is known of each of its blocks.

use alloc::vec::Vec;

use crate::id::ConnId;
use crate::limits::{BLOCK_LEN, ENDGAME_COPIES};
use crate::torrent::blame::{Contributor, UNKNOWN};
use crate::wire::BlockRequest;

/// Blocks written early by one job, at most.
const FLUSH_BLOCKS: usize = 64;

/// A piece under way.
#[derive(Debug)]
pub(super) struct Partial<D> {
    pub(super) len: u32,
    pub(super) blocks: Vec<Block<D>>,
    /// The fast peer that has the piece for itself while there are open blocks.
    pub(super) owner: Option<ConnId>,
    pub(super) who: Vec<Contributor>,
    /// No block before this one is open.
    pub(super) first_open: usize,
    /// Blocks that nobody is asked for.
    pub(super) open: usize,
    /// Blocks that somebody is asked for.
    pub(super) requested: usize,
    pub(super) in_memory: usize,
    pub(super) writing: usize,
    /// Not wanted any more, but a write is under way: until it ends the piece must not be begun
    /// anew, or an old block could overwrite a new one.
    pub(super) abandoned: bool,
}

/// What is known of a block, and `D` its payload.
#[derive(Debug, Default)]
pub(super) enum Block<D> {
    /// Nobody is asked for it.
    #[default]
    Open,
    Requested(Askers),
    Memory {
        data: D,
        from: u16,
    },
    /// On its way to the disk, early. It is kept until it is there.
    Writing {
        data: D,
        from: u16,
    },
    /// On the disk, not vouched for.
    Stored {
        from: u16,
    },
}

/// The peers that a block is asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Askers([Option<ConnId>; ENDGAME_COPIES]);

impl<D> Partial<D> {
    /// The block that begins at `begin`.
    pub(super) fn index(&self, begin: u32) -> Option<usize> {
        (begin.is_multiple_of(BLOCK_LEN) && begin < self.len)
            .then_some((begin / BLOCK_LEN) as usize)
    }

    pub(super) fn id(&self, piece: u32, index: usize) -> BlockRequest {
        let begin = index as u32 * BLOCK_LEN;
        BlockRequest {
            piece,
            begin,
            len: BLOCK_LEN.min(self.len - begin),
        }
    }

    /// The place of `from` in the list of contributors.
    pub(super) fn author(&mut self, from: Contributor) -> u16 {
        let place = match self.who.iter().rposition(|who| *who == from) {
            Some(place) => place,
            None if self.who.len() < usize::from(UNKNOWN) => {
                self.who.push(from);
                self.who.len() - 1
            }
            // More authors than fit: those that come last are not held responsible.
            None => return UNKNOWN,
        };
        place as u16
    }

    /// Blocks that have not come.
    pub(super) fn missing(&self) -> usize {
        self.open + self.requested
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing() == 0 && self.writing == 0 && !self.abandoned
    }

    /// The longest run of blocks in memory, cut at [`FLUSH_BLOCKS`].
    pub(super) fn longest_run(&self) -> core::ops::Range<usize> {
        let (mut best, mut start) = (0..0, 0);
        for (index, block) in self.blocks.iter().enumerate() {
            if !matches!(block, Block::Memory { .. }) {
                start = index + 1;
            } else if index + 1 - start > best.len() {
                best = start..index + 1;
                if best.len() == FLUSH_BLOCKS {
                    break;
                }
            }
        }
        best
    }
}

impl<D> Block<D> {
    pub(super) fn askers(&self) -> Askers {
        match self {
            Self::Requested(askers) => *askers,
            Self::Open | Self::Memory { .. } | Self::Writing { .. } | Self::Stored { .. } => {
                Askers::default()
            }
        }
    }

    pub(super) fn from(&self) -> u16 {
        match self {
            Self::Memory { from, .. } | Self::Writing { from, .. } | Self::Stored { from } => *from,
            Self::Open | Self::Requested(_) => UNKNOWN,
        }
    }

    pub(super) fn has_come(&self) -> bool {
        match self {
            Self::Memory { .. } | Self::Writing { .. } | Self::Stored { .. } => true,
            Self::Open | Self::Requested(_) => false,
        }
    }
}

impl Askers {
    /// The peers.
    pub(crate) fn iter(self) -> impl Iterator<Item = ConnId> {
        self.0.into_iter().flatten()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.0.contains(&Some(conn))
    }

    /// Says whether there was a place for it, and it was not there yet.
    pub(super) fn insert(&mut self, conn: ConnId) -> bool {
        if self.contains(conn) {
            return false;
        }
        let place = self.0.iter_mut().find(|place| place.is_none());
        place.map(|place| *place = Some(conn)).is_some()
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> bool {
        let place = self.0.iter_mut().find(|place| **place == Some(conn));
        place.map(|place| *place = None).is_some()
    }
}
