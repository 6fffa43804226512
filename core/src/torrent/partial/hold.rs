//! Pieces that outlast the disk's failure, and the run: what is held of those that are on their way, and
//! what an earlier run left of those that were not complete.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Partials;
use crate::bitfield::Bitfield;
use crate::event::PartialPiece;
use crate::limits::BLOCK_LEN;
use crate::metainfo::PieceIndex;
use crate::torrent::blame::{Contributors, UNKNOWN};
use crate::torrent::piece::{Block, Partial};

/// A piece that is held until it is on the disk: what came of it need not come again.
#[derive(Debug)]
pub(crate) struct Held<D>(Partial<D>);

impl<D> Held<D> {
    pub(super) fn new(partial: Partial<D>) -> Self {
        Self(partial)
    }
}

impl<D: IntoIterator<Item = Bytes> + Clone> Partials<D> {
    /// The blocks in `map` of a piece turned out to be on the disk. Nobody answers for them. Says whether the
    /// piece is new, as [`start`](Partials::start); one that is under way gets those that nobody is asked for.
    pub(crate) fn restore(&mut self, piece: u32, len: u32, map: &Bitfield) -> bool {
        if map.len() != len.div_ceil(BLOCK_LEN) || map.count() == 0 {
            return false;
        }
        let is_new = !self.pieces.contains_key(&piece);
        if is_new {
            if !self.has_room(len) {
                return false;
            }
            self.insert_open(piece, len);
        }
        for index in map.iter().map(|index| index as usize) {
            let partial = self.pieces.get(&piece).filter(|piece| !piece.abandoned);
            if partial.is_some_and(|partial| matches!(partial.blocks[index], Block::Open)) {
                self.set(piece, index, Block::Stored { from: UNKNOWN });
            }
        }
        is_new
    }

    /// A piece that was [taken](Partials::take) is through: it is on the disk, or is not what it should be.
    pub(crate) fn finish(&mut self, held: Held<D>) {
        self.recycle(held.0.blocks);
    }

    /// A piece that was [taken](Partials::take) is not on the disk: what is in memory of it waits here, complete
    /// as it was. `trust` says that what was written of it early is still good; else it must come again.
    /// Says whether there was room for it.
    pub(crate) fn put_back(
        &mut self,
        piece: u32,
        held: Held<D>,
        from: &Contributors,
        trust: bool,
    ) -> bool {
        let mut partial = held.0;
        if self.pieces.contains_key(&piece) || !self.has_room(partial.len) {
            return false;
        }
        partial.who = from.all().to_vec();
        self.blocks += partial.blocks.len();
        self.missing += partial.missing();
        let stored: Vec<usize> = (0..partial.blocks.len())
            .filter(|index| matches!(partial.blocks[*index], Block::Stored { .. }))
            .collect();
        for (index, block) in partial.blocks.iter().enumerate() {
            if matches!(block, Block::Memory { .. }) {
                self.in_memory += u64::from(partial.id(piece, index).len);
            }
        }
        self.pieces.insert(piece, partial);
        for index in stored.into_iter().filter(|_| !trust) {
            self.set(piece, index, Block::Open);
        }
        true
    }

    /// The storage is opened anew, and may not have what was written early of any piece. What it has, it
    /// says: see [`restore`](Self::restore).
    pub(crate) fn forget_stored(&mut self) {
        let stored: Vec<(u32, usize)> = self
            .pieces
            .iter()
            .flat_map(|(piece, partial)| {
                let blocks = partial.blocks.iter().enumerate();
                blocks
                    .filter(|(_, block)| matches!(block, Block::Stored { .. }))
                    .map(|(index, _)| (*piece, index))
            })
            .collect();
        for (piece, index) in stored {
            self.set(piece, index, Block::Open);
        }
    }

    /// The pieces that can be [taken](Partials::take).
    pub(crate) fn complete(&self) -> Vec<u32> {
        let complete = self.pieces.iter().filter(|(_, piece)| piece.is_complete());
        complete.map(|(piece, _)| *piece).collect()
    }

    /// The piece that holds most memory.
    pub(crate) fn largest(&self) -> Option<u32> {
        let held = self.pieces.iter().filter(|(_, piece)| piece.in_memory != 0);
        held.max_by_key(|(_, piece)| piece.in_memory)
            .map(|(piece, _)| *piece)
    }

    /// Whether any early write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.pieces.values().any(|piece| piece.writing != 0)
    }

    /// What is on the disk of incomplete pieces, one map of blocks for each that has any.
    pub(crate) fn stored(&self) -> Vec<PartialPiece> {
        let stored = self.pieces.iter().filter(|(_, piece)| !piece.abandoned);
        let maps = stored.map(|(piece, partial)| {
            let mut blocks = Bitfield::new(partial.blocks.len() as u32);
            for (index, block) in (0..).zip(&partial.blocks) {
                if matches!(block, Block::Stored { .. }) {
                    blocks.insert(index);
                }
            }
            PartialPiece {
                piece: PieceIndex::new(*piece),
                blocks,
            }
        });
        maps.filter(|map| map.blocks.count() != 0).collect()
    }
}
