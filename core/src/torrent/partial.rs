//! Pieces under way: which blocks are asked of whom, which have come, and what of them is in memory.

mod hold;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use crate::action::Segment;
use crate::bitfield::Bitfield;
use crate::id::ConnId;
use crate::limits::{BLOCK_LEN, MAX_PARTIAL_BLOCKS, MAX_PARTIAL_PIECES};
use crate::torrent::blame::{Contributor, Contributors, UNKNOWN};
use crate::torrent::piece::{Askers, Block, Partial};
use crate::wire::BlockRequest;

pub(crate) use self::hold::Held;

/// Lists of blocks that are kept for the next pieces, and the longest of them: 1.3 MB, and only while
/// something is under way.
const SPARE_LISTS: usize = 16;
const SPARE_BLOCKS: usize = 1_024;

/// The pieces of one torrent that are under way.
///
/// A fast peer gets pieces of its own, so that a piece is soon complete and has one author; slow
/// peers share theirs. `D` is a block's payload: chunks of what was read.
#[derive(Debug)]
pub(crate) struct Partials<D> {
    pieces: BTreeMap<u32, Partial<D>>,
    workers: BTreeMap<ConnId, Worker>,
    /// Pieces with blocks that nobody is asked for; those that no peer has for itself first.
    open: BTreeSet<(bool, u32)>,
    blocks: usize,
    /// Those of them that have not come.
    missing: usize,
    in_memory: u64,
    spare: Vec<Vec<Block<D>>>,
}

/// What came of a block's arrival.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was missing.
    Accepted {
        /// The others that were asked for it, too: to be told that it is not needed any more. They
        /// are not counted as asked from now on.
        cancel: Askers,
        /// Whether the piece can be [taken](Partials::take).
        complete: bool,
    },
    /// It is there already, or its piece is not under way (any more).
    Superfluous,
    /// It is missing, but this peer is not asked for it. Nothing was kept.
    Unasked,
    /// There is no such block.
    Misfit,
}

/// What came of the end of an early write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The piece goes on.
    Continues,
    /// The piece can be [taken](Partials::take).
    Complete,
    /// The piece had been abandoned, and is gone by now.
    Gone,
}

/// A complete piece on its way to the disk.
#[derive(Debug)]
pub(crate) struct Taken<D> {
    pub(crate) data: Vec<Segment>,
    pub(crate) from: Contributors,
    /// Bytes of it that were in memory.
    pub(crate) in_memory: u64,
    /// The same once more, for [`put_back`](Partials::put_back) or [`finish`](Partials::finish).
    pub(crate) held: Held<D>,
}

/// A part of a piece to be written before the piece is complete.
#[derive(Debug)]
pub(crate) struct Flush {
    pub(crate) piece: u32,
    pub(crate) begin: u32,
    pub(crate) len: u32,
    pub(crate) data: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Worker {
    /// What the peer is asked for, as (piece, block). Answers mostly come in this order.
    requests: VecDeque<(u32, u32)>,
    /// The piece that it works on.
    piece: Option<u32>,
}

impl<D> Default for Partials<D> {
    fn default() -> Self {
        Self {
            pieces: BTreeMap::new(),
            workers: BTreeMap::new(),
            open: BTreeSet::new(),
            blocks: 0,
            missing: 0,
            in_memory: 0,
            spare: Vec::new(),
        }
    }
}

impl<D: IntoIterator<Item = Bytes> + Clone> Partials<D> {
    /// Whether another piece of `len` bytes can be begun.
    pub(crate) fn has_room(&self, len: u32) -> bool {
        let blocks = len.div_ceil(BLOCK_LEN) as usize;
        // The largest pieces must be possible one at a time.
        self.pieces.is_empty()
            || self.pieces.len() < MAX_PARTIAL_PIECES && self.blocks + blocks <= MAX_PARTIAL_BLOCKS
    }

    /// Begins a piece that `conn` is to work on; a fast peer gets it for itself. Says whether it did:
    /// not if it is under way already, has no bytes, or there is no [room](Self::has_room).
    pub(crate) fn start(&mut self, piece: u32, len: u32, conn: ConnId, fast: bool) -> bool {
        if self.pieces.contains_key(&piece) || len == 0 || !self.has_room(len) {
            return false;
        }
        self.insert_open(piece, len);
        self.assign(conn, piece, fast);
        true
    }

    fn insert_open(&mut self, piece: u32, len: u32) {
        let count = len.div_ceil(BLOCK_LEN) as usize;
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.resize_with(count, Block::default);
        self.blocks += count;
        self.missing += count;
        self.pieces.insert(
            piece,
            Partial {
                len,
                blocks,
                owner: None,
                who: Vec::new(),
                first_open: 0,
                open: count,
                requested: 0,
                in_memory: 0,
                writing: 0,
                abandoned: false,
            },
        );
        self.open.insert((false, piece));
    }

    /// The next block of the piece that the peer works on, or of one that no peer has for itself, that
    /// the peer has and that `may_join` lets it join. It counts as asked for. None when a new piece
    /// should be begun.
    pub(crate) fn request(
        &mut self,
        conn: ConnId,
        map: &Bitfield,
        fast: bool,
        may_join: impl Fn(u32) -> bool,
    ) -> Option<BlockRequest> {
        let current = self.workers.get(&conn).and_then(|worker| worker.piece);
        let current = current.filter(|piece| {
            self.pieces.get(piece).is_some_and(|partial| {
                let mine = partial.owner.is_none_or(|owner| owner == conn);
                partial.open != 0 && mine && !partial.abandoned
            })
        });
        let piece = current.or_else(|| {
            let free = self.open.range((false, 0)..(true, 0));
            free.map(|(_, piece)| *piece)
                .find(|piece| map.contains(*piece) && may_join(*piece))
        })?;
        self.assign(conn, piece, fast);
        self.request_open(conn, piece)
    }

    /// A block that nobody is asked for, of a piece that another peer has for itself. For a peer for
    /// which no piece can be begun.
    pub(crate) fn request_shared(&mut self, conn: ConnId, map: &Bitfield) -> Option<BlockRequest> {
        let mut owned = self.open.range((true, 0)..);
        let (_, piece) = *owned.find(|(_, piece)| map.contains(*piece))?;
        self.request_open(conn, piece)
    }

    /// Whether there is a block that nobody is asked for.
    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// A copy of a block that others are asked for already, but not this peer, and fewer of them than
    /// may be. It counts as asked for.
    pub(crate) fn request_copy(
        &mut self,
        conn: ConnId,
        piece: u32,
        begin: u32,
    ) -> Option<BlockRequest> {
        let partial = self.pieces.get(&piece)?;
        let index = partial.index(begin)?;
        match partial.blocks.get(index)? {
            Block::Requested(_) => self.ask(conn, piece, index),
            Block::Open | Block::Memory { .. } | Block::Writing { .. } | Block::Stored { .. } => {
                None
            }
        }
    }

    /// The lowest open block of a piece, whoever has it for itself. It counts as asked for.
    pub(crate) fn request_open(&mut self, conn: ConnId, piece: u32) -> Option<BlockRequest> {
        let partial = self.pieces.get_mut(&piece)?;
        if partial.abandoned {
            return None;
        }
        let rest = partial.blocks.get(partial.first_open..)?;
        let block =
            partial.first_open + rest.iter().position(|block| matches!(block, Block::Open))?;
        partial.first_open = block + 1;
        self.ask(conn, piece, block)
    }

    fn ask(&mut self, conn: ConnId, piece: u32, index: usize) -> Option<BlockRequest> {
        let partial = self.pieces.get_mut(&piece)?;
        let id = partial.id(piece, index);
        let mut askers = partial.blocks.get(index)?.askers();
        if !askers.insert(conn) {
            return None;
        }
        self.set(piece, index, Block::Requested(askers));
        self.workers
            .entry(conn)
            .or_default()
            .requests
            .push_back((piece, index as u32));
        Some(id)
    }

    /// Whether the peer is asked for the block.
    pub(crate) fn is_asked(&self, conn: ConnId, piece: u32, begin: u32) -> bool {
        let block = self
            .pieces
            .get(&piece)
            .and_then(|partial| partial.blocks.get(partial.index(begin)?));
        block.is_some_and(|block| block.askers().contains(conn))
    }

    /// A block arrived. `late` says that it is welcome although the peer is not asked for it any
    /// more: because it once was.
    pub(crate) fn receive(
        &mut self,
        from: Contributor,
        piece: u32,
        begin: u32,
        len: u32,
        data: D,
        late: bool,
    ) -> Arrival {
        let Some(partial) = self.pieces.get_mut(&piece) else {
            return Arrival::Superfluous;
        };
        let Some(index) = partial.index(begin) else {
            return Arrival::Misfit;
        };
        if partial.id(piece, index).len != len {
            return Arrival::Misfit;
        }
        let mut askers = partial.blocks[index].askers();
        match partial.blocks[index] {
            Block::Memory { .. } | Block::Writing { .. } | Block::Stored { .. } => {
                return Arrival::Superfluous;
            }
            Block::Open | Block::Requested(_) => {}
        }
        if partial.abandoned {
            return Arrival::Superfluous;
        }
        if !askers.contains(from.conn) && !late {
            return Arrival::Unasked;
        }
        let author = partial.author(from);
        for asker in askers.iter() {
            self.forget_request(asker, piece, index);
        }
        self.set(piece, index, Block::Memory { data, from: author });
        askers.remove(from.conn);
        Arrival::Accepted {
            cancel: askers,
            complete: self.is_complete(piece),
        }
    }

    /// The peer will not deliver a block: it said so, took too long, or is not to deliver it any
    /// more. Says whether it was asked for it.
    pub(crate) fn release(&mut self, conn: ConnId, piece: u32, begin: u32) -> bool {
        let Some(index) = self
            .pieces
            .get(&piece)
            .and_then(|partial| partial.index(begin))
        else {
            return false;
        };
        let asked = self.forget_request(conn, piece, index);
        if asked {
            self.unask(conn, piece, index);
        }
        asked
    }

    /// The peer will deliver nothing that it was asked for; it choked us. Others may take its piece
    /// on.
    pub(crate) fn release_all(&mut self, conn: ConnId) {
        self.disown(conn);
        let Some(worker) = self.workers.get_mut(&conn) else {
            return;
        };
        // The list goes back for the next requests.
        let mut requests = mem::take(&mut worker.requests);
        for (piece, index) in requests.drain(..) {
            self.unask(conn, piece, index as usize);
        }
        if let Some(worker) = self.workers.get_mut(&conn) {
            worker.requests = requests;
        }
    }

    /// The peer is gone.
    pub(crate) fn remove_peer(&mut self, conn: ConnId) {
        self.release_all(conn);
        self.workers.remove(&conn);
    }

    /// The peer has no piece for itself any more: it became slow.
    pub(crate) fn disown(&mut self, conn: ConnId) {
        let Some(piece) = self
            .workers
            .get_mut(&conn)
            .and_then(|worker| worker.piece.take())
        else {
            return;
        };
        if let Some(partial) = self.pieces.get(&piece)
            && partial.owner == Some(conn)
        {
            self.set_owner(piece, None);
        }
    }

    /// Whether the piece is under way.
    pub(crate) fn contains(&self, piece: u32) -> bool {
        self.pieces.contains_key(&piece)
    }

    /// Whether the piece can be taken.
    pub(crate) fn is_complete(&self, piece: u32) -> bool {
        self.pieces.get(&piece).is_some_and(Partial::is_complete)
    }

    /// Takes a complete piece out.
    pub(crate) fn take(&mut self, piece: u32) -> Option<Taken<D>> {
        if !self.is_complete(piece) {
            return None;
        }
        let mut partial = self.pieces.remove(&piece)?;
        let mut in_memory = 0;
        let mut data: Vec<Segment> = Vec::with_capacity(partial.blocks.len());
        let who = mem::take(&mut partial.who);
        let from = Contributors::new(who, partial.blocks.iter().map(Block::from));
        for (index, block) in partial.blocks.iter().enumerate() {
            let len = partial.id(piece, index).len;
            match block {
                Block::Memory { data: chunks, .. } => {
                    in_memory += u64::from(len);
                    // No payload is copied: the chunks are counted.
                    data.extend(chunks.clone().into_iter().map(Segment::Memory));
                }
                Block::Stored { .. } => {
                    if let Some(Segment::Stored { len: stored }) = data.last_mut() {
                        *stored += len;
                    } else {
                        data.push(Segment::Stored { len });
                    }
                }
                Block::Open | Block::Requested(_) | Block::Writing { .. } => {}
            }
        }
        self.in_memory -= in_memory;
        self.blocks -= partial.blocks.len();
        Some(Taken {
            data,
            from,
            in_memory,
            held: Held::new(partial),
        })
    }

    /// Gives a piece up: it is not wanted any more. Returns those that were asked for its blocks, with
    /// the blocks, so that they can be told, and whether the piece is gone: it is not while a part of
    /// it is being written.
    pub(crate) fn abandon(&mut self, piece: u32) -> (Vec<(ConnId, BlockRequest)>, bool) {
        let mut cancel = Vec::new();
        let count = self
            .pieces
            .get(&piece)
            .map_or(0, |partial| partial.blocks.len());
        for index in 0..count {
            let Some(partial) = self.pieces.get(&piece) else {
                continue;
            };
            let id = partial.id(piece, index);
            for asker in partial.blocks[index].askers().iter() {
                cancel.push((asker, id));
                self.release(asker, piece, id.begin);
            }
        }
        let Some(partial) = self.pieces.get_mut(&piece) else {
            return (cancel, true);
        };
        partial.abandoned = true;
        let owned = partial.owner.take().is_some();
        self.open.remove(&(owned, piece));
        for index in 0..count {
            if self
                .pieces
                .get(&piece)
                .is_some_and(|partial| matches!(partial.blocks[index], Block::Memory { .. }))
            {
                self.set(piece, index, Block::Open);
            }
        }
        (cancel, self.bury(piece))
    }

    /// Drops an abandoned piece if no part of it is being written.
    fn bury(&mut self, piece: u32) -> bool {
        let finished = |partial: &Partial<D>| partial.abandoned && partial.writing == 0;
        if !self.pieces.get(&piece).is_some_and(finished) {
            return false;
        }
        if let Some(mut partial) = self.pieces.remove(&piece) {
            partial.blocks.iter_mut().for_each(|block| {
                mem::take(block);
            });
            self.retire(partial);
        }
        true
    }

    /// Keeps the list of a piece's blocks, which hold nothing any more, for another piece.
    fn retire(&mut self, partial: Partial<D>) {
        self.blocks -= partial.blocks.len();
        self.missing -= partial.missing();
        self.recycle(partial.blocks);
    }

    fn recycle(&mut self, mut blocks: Vec<Block<D>>) {
        if self.pieces.is_empty() {
            self.spare = Vec::new();
        } else if self.spare.len() < SPARE_LISTS && blocks.capacity() <= SPARE_BLOCKS {
            blocks.clear();
            self.spare.push(blocks);
        }
    }

    /// What should be written early if memory is short: neighbouring blocks of the piece that holds
    /// most memory for longest, as far as that can be foreseen. They count as being written until
    /// [`written`](Self::written) or [`write_failed`](Self::write_failed).
    pub(crate) fn flush(&mut self) -> Option<Flush> {
        // What it holds times what it waits for: a piece that is about to be complete would only
        // have to be read back.
        let (piece, _) = self
            .pieces
            .iter()
            .filter(|(_, partial)| partial.in_memory != 0 && !partial.is_complete())
            .map(|(piece, partial)| (*piece, partial.in_memory * partial.missing().max(1)))
            .max_by_key(|(piece, cost)| (*cost, core::cmp::Reverse(*piece)))?;
        let run = self.pieces.get(&piece)?.longest_run();
        let mut flush = Flush {
            piece,
            begin: run.start as u32 * BLOCK_LEN,
            len: 0,
            data: Vec::with_capacity(run.len()),
        };
        for index in run {
            let partial = self.pieces.get_mut(&piece)?;
            let len = partial.id(piece, index).len;
            let Block::Memory { data, from } = &partial.blocks[index] else {
                continue;
            };
            let (data, from) = (data.clone(), *from);
            flush.len += len;
            flush.data.extend(data.clone());
            self.set(piece, index, Block::Writing { data, from });
        }
        Some(flush)
    }

    /// An early write is done.
    pub(crate) fn written(&mut self, piece: u32, begin: u32, len: u32) -> Written {
        self.end_write(piece, begin, len, true)
    }

    /// An early write failed: what it was to write is in memory again.
    pub(crate) fn write_failed(&mut self, piece: u32, begin: u32, len: u32) -> Written {
        self.end_write(piece, begin, len, false)
    }

    fn end_write(&mut self, piece: u32, begin: u32, len: u32, stored: bool) -> Written {
        let first = (begin / BLOCK_LEN) as usize;
        let count = len.div_ceil(BLOCK_LEN) as usize;
        for index in first..first.saturating_add(count) {
            let Some(partial) = self.pieces.get(&piece) else {
                break;
            };
            let abandoned = partial.abandoned;
            let Some(block) = partial.blocks.get(index) else {
                break;
            };
            let next = match block {
                Block::Writing { from, .. } if stored => Block::Stored { from: *from },
                Block::Writing { .. } if abandoned => Block::Open,
                Block::Writing { data, from } => Block::Memory {
                    data: data.clone(),
                    from: *from,
                },
                Block::Open | Block::Requested(_) | Block::Memory { .. } | Block::Stored { .. } => {
                    continue;
                }
            };
            self.set(piece, index, next);
        }
        if self.bury(piece) {
            Written::Gone
        } else if self.is_complete(piece) {
            Written::Complete
        } else {
            Written::Continues
        }
    }

    /// Payload bytes in memory, of all pieces.
    pub(crate) fn in_memory(&self) -> u64 {
        self.in_memory
    }

    /// Blocks that have not come, of all pieces.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// The pieces under way, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.pieces.keys().copied()
    }

    /// How many bytes of a piece under way have come.
    pub(crate) fn received(&self, piece: u32) -> u32 {
        let Some(partial) = self.pieces.get(&piece) else {
            return 0;
        };
        let blocks = partial.blocks.iter().enumerate();
        blocks
            .filter(|(_, block)| block.has_come())
            .map(|(index, _)| partial.id(piece, index).len)
            .sum()
    }

    /// The peer works on the piece from now on; a fast one has it for itself.
    fn assign(&mut self, conn: ConnId, piece: u32, fast: bool) {
        let worker = self.workers.entry(conn).or_default();
        if worker.piece != Some(piece) {
            self.disown(conn);
            self.workers.entry(conn).or_default().piece = Some(piece);
        }
        let owner = self.pieces.get(&piece).and_then(|partial| partial.owner);
        if fast && owner.is_none() {
            self.set_owner(piece, Some(conn));
        } else if !fast && owner == Some(conn) {
            self.set_owner(piece, None);
        }
    }

    fn set_owner(&mut self, piece: u32, owner: Option<ConnId>) {
        if let Some(partial) = self.pieces.get_mut(&piece) {
            let before = partial.owner.is_some();
            partial.owner = owner;
            if self.open.remove(&(before, piece)) {
                self.open.insert((owner.is_some(), piece));
            }
        }
    }

    /// Drops a request from the peer's list. Says whether it was there.
    fn forget_request(&mut self, conn: ConnId, piece: u32, index: usize) -> bool {
        let Some(worker) = self.workers.get_mut(&conn) else {
            return false;
        };
        let request = (piece, index as u32);
        let Some(place) = worker.requests.iter().position(|other| *other == request) else {
            return false;
        };
        worker.requests.remove(place);
        true
    }

    /// Drops the peer from those that are asked for a block.
    fn unask(&mut self, conn: ConnId, piece: u32, index: usize) {
        let Some(block) = self
            .pieces
            .get(&piece)
            .and_then(|partial| partial.blocks.get(index))
        else {
            return;
        };
        let mut askers = block.askers();
        if !askers.remove(conn) {
            return;
        }
        if askers.count() == 0 {
            self.set(piece, index, Block::Open);
        } else {
            self.set(piece, index, Block::Requested(askers));
        }
    }

    /// Changes a block's state, and all counters and indices with it. Returns the state before.
    fn set(&mut self, piece: u32, index: usize, block: Block<D>) -> Block<D> {
        let Some(partial) = self.pieces.get_mut(&piece) else {
            return block;
        };
        let len = u64::from(partial.id(piece, index).len);
        let before = mem::replace(&mut partial.blocks[index], block);
        self.missing += usize::from(before.has_come());
        self.missing -= usize::from(partial.blocks[index].has_come());
        match &before {
            Block::Open => {
                partial.open -= 1;
                if partial.open == 0 {
                    // Nothing is left to have for oneself.
                    let owned = partial.owner.take().is_some();
                    self.open.remove(&(owned, piece));
                }
            }
            Block::Requested(_) => partial.requested -= 1,
            Block::Memory { .. } => {
                partial.in_memory -= 1;
                self.in_memory -= len;
            }
            Block::Writing { .. } => partial.writing -= 1,
            Block::Stored { .. } => {}
        }
        match &partial.blocks[index] {
            Block::Open => {
                partial.open += 1;
                partial.first_open = partial.first_open.min(index);
                if partial.open == 1 && !partial.abandoned {
                    self.open.insert((partial.owner.is_some(), piece));
                }
            }
            Block::Requested(_) => partial.requested += 1,
            Block::Memory { .. } => {
                partial.in_memory += 1;
                self.in_memory += len;
            }
            Block::Writing { .. } => partial.writing += 1,
            Block::Stored { .. } => {}
        }
        before
    }

    /// Panics unless all parts agree.
    pub(crate) fn check(&self) {
        let (mut blocks, mut missing, mut in_memory, mut requests) = (0, 0, 0, 0);
        let mut open = BTreeSet::new();
        for (piece, partial) in &self.pieces {
            assert_eq!(
                partial.blocks.len(),
                partial.len.div_ceil(BLOCK_LEN) as usize
            );
            blocks += partial.blocks.len();
            let (mut opens, mut requested, mut writing, mut memory) = (0, 0, 0, 0);
            for (index, block) in partial.blocks.iter().enumerate() {
                match block {
                    Block::Open => {
                        opens += 1;
                        assert!(partial.first_open <= index);
                    }
                    Block::Requested(askers) => {
                        let distinct: BTreeSet<ConnId> = askers.iter().collect();
                        assert_eq!(distinct.len(), askers.count());
                        assert_ne!(distinct.len(), 0);
                        requested += 1;
                        requests += distinct.len();
                        for asker in distinct {
                            let request = (*piece, index as u32);
                            let list = &self.workers[&asker].requests;
                            assert_eq!(list.iter().filter(|other| **other == request).count(), 1);
                        }
                    }
                    Block::Memory { from, .. } => {
                        memory += 1;
                        in_memory += u64::from(partial.id(*piece, index).len);
                        assert!(usize::from(*from) < partial.who.len() || *from == UNKNOWN);
                    }
                    Block::Writing { .. } => writing += 1,
                    Block::Stored { .. } => {}
                }
            }
            assert_eq!(
                (
                    partial.open,
                    partial.requested,
                    partial.writing,
                    partial.in_memory
                ),
                (opens, requested, writing, memory)
            );
            missing += opens + requested;
            assert!(!partial.abandoned || writing != 0 && memory == 0 && requested == 0);
            if opens != 0 && !partial.abandoned {
                open.insert((partial.owner.is_some(), *piece));
            }
            if let Some(owner) = partial.owner {
                assert_ne!(opens, 0);
                assert_eq!(self.workers[&owner].piece, Some(*piece));
            }
        }
        let listed: usize = self
            .workers
            .values()
            .map(|worker| worker.requests.len())
            .sum();
        assert_eq!(listed, requests);
        assert_eq!(
            (self.blocks, self.missing, self.in_memory),
            (blocks, missing, in_memory)
        );
        assert_eq!(self.open, open);
        assert!(self.pieces.len() <= MAX_PARTIAL_PIECES && self.spare.len() <= SPARE_LISTS);
        assert!(self.blocks <= MAX_PARTIAL_BLOCKS || self.pieces.len() == 1);
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec;

    use super::*;
    use crate::limits::ENDGAME_COPIES;
    use crate::wire::BlockData;

    type Pieces = Partials<BlockData>;

    /// Three blocks and a bit.
    const LEN: u32 = 3 * BLOCK_LEN + 100;

    fn conn(number: u8) -> ConnId {
        ConnId::new(u32::from(number), 1)
    }

    fn from(number: u8) -> Contributor {
        Contributor {
            conn: conn(number),
            address: [10, 0, 0, number].into(),
        }
    }

    fn everything() -> Bitfield {
        Bitfield::full(16)
    }

    fn only(piece: u32) -> Bitfield {
        let mut map = Bitfield::new(16);
        map.insert(piece);
        map
    }

    fn block(piece: u32, index: u32) -> BlockRequest {
        let begin = index * BLOCK_LEN;
        BlockRequest {
            piece,
            begin,
            len: BLOCK_LEN.min(LEN - begin),
        }
    }

    /// The bytes of a block, different from those of its neighbours.
    fn content(block: BlockRequest) -> Bytes {
        let byte = (block.piece * 16 + block.begin / BLOCK_LEN) as u8;
        Bytes::from(vec![byte; block.len as usize])
    }

    fn deliver(pieces: &mut Pieces, number: u8, block: BlockRequest) -> Arrival {
        let data = BlockData::from(content(block));
        let BlockRequest { piece, begin, len } = block;
        let arrival = pieces.receive(from(number), piece, begin, len, data, false);
        pieces.check();
        arrival
    }

    fn accepted(complete: bool) -> Arrival {
        Arrival::Accepted {
            cancel: Askers::default(),
            complete,
        }
    }

    fn asked(pieces: &Pieces, conn: ConnId) -> usize {
        let worker = pieces.workers.get(&conn);
        worker.map_or(0, |worker| worker.requests.len())
    }

    fn request_all(pieces: &mut Pieces, number: u8, fast: bool) -> Vec<BlockRequest> {
        let map = everything();
        let all =
            core::iter::from_fn(|| pieces.request(conn(number), &map, fast, |_| true)).collect();
        pieces.check();
        all
    }

    /// A piece with blocks delivered by one peer.
    fn with_blocks(indices: &[u32]) -> Pieces {
        let mut pieces = Pieces::default();
        assert!(pieces.start(0, LEN, conn(1), true));
        request_all(&mut pieces, 1, true);
        for index in indices {
            deliver(&mut pieces, 1, block(0, *index));
        }
        pieces
    }

    #[test]
    fn a_piece_is_requested_in_order_and_complete_with_its_last_block() {
        let mut pieces = Pieces::default();
        assert!(pieces.start(7, LEN, conn(1), true) && !pieces.start(7, LEN, conn(2), true));
        let all = request_all(&mut pieces, 1, true);
        assert_eq!(all, [0, 1, 2, 3].map(|index| block(7, index)));
        assert_eq!(asked(&pieces, conn(1)), 4);
        for index in [1, 0, 3] {
            assert_eq!(deliver(&mut pieces, 1, all[index]), accepted(false));
        }
        assert_eq!(deliver(&mut pieces, 1, all[1]), Arrival::Superfluous);
        assert_eq!(pieces.received(7), 2 * BLOCK_LEN + 100);
        assert!(pieces.take(7).is_none());
        assert_eq!(deliver(&mut pieces, 1, all[2]), accepted(true));
        assert_eq!(pieces.in_memory(), u64::from(LEN));
        let taken = pieces.take(7).unwrap();
        assert_eq!(taken.in_memory, u64::from(LEN));
        let expected: Vec<_> = all.iter().map(|id| Segment::Memory(content(*id))).collect();
        assert_eq!(taken.data, expected);
        assert_eq!(taken.from.only(), Some(from(1)));
        assert_eq!((pieces.in_memory(), pieces.pieces.len()), (0, 0));
        assert_eq!(deliver(&mut pieces, 1, all[2]), Arrival::Superfluous);
    }

    #[test]
    fn a_fast_peer_has_a_piece_for_itself_and_slow_ones_share() {
        let mut pieces = Pieces::default();
        let map = everything();
        assert!(pieces.start(0, LEN, conn(1), true) && pieces.start(1, LEN, conn(2), false));
        assert_eq!(
            pieces.request(conn(1), &map, true, |_| true),
            Some(block(0, 0))
        );
        assert_eq!(
            pieces.request(conn(2), &map, false, |_| true),
            Some(block(1, 0))
        );
        assert_eq!(
            pieces.request(conn(3), &map, false, |_| true),
            Some(block(1, 1))
        );
        // One that has become fast takes the shared one over.
        assert_eq!(
            pieces.request(conn(3), &map, true, |_| true),
            Some(block(1, 2))
        );
        pieces.check();
        assert_eq!(pieces.request(conn(4), &map, true, |_| true), None);
        assert_eq!(pieces.request(conn(2), &map, false, |_| true), None);
        // Where nothing else can be begun, owned pieces are helped with.
        assert_eq!(pieces.request_shared(conn(4), &only(1)), Some(block(1, 3)));
        assert_eq!(pieces.request_shared(conn(4), &only(1)), None);
        assert_eq!(pieces.request_shared(conn(4), &map), Some(block(0, 1)));
        // One that has become slow gives its piece up.
        pieces.disown(conn(1));
        assert_eq!(
            pieces.request(conn(4), &map, false, |_| true),
            Some(block(0, 2))
        );
        pieces.check();
    }

    #[test]
    fn a_peer_is_only_asked_for_what_it_has() {
        let mut pieces = Pieces::default();
        assert!(pieces.start(3, LEN, conn(1), false));
        assert_eq!(pieces.request(conn(2), &only(4), false, |_| true), None);
        assert_eq!(
            pieces.request(conn(2), &only(3), false, |_| true),
            Some(block(3, 0))
        );
    }

    #[test]
    fn a_piece_is_joined_only_where_that_is_allowed() {
        let mut pieces = Pieces::default();
        let map = everything();
        assert!(pieces.start(0, LEN, conn(1), false) && pieces.start(1, LEN, conn(1), false));
        let mut request = |number, piece| pieces.request(conn(number), &map, false, |p| p == piece);
        assert_eq!(request(2, 5), None);
        assert_eq!(request(2, 1), Some(block(1, 0)));
        // What it works on already it goes on with.
        assert_eq!(request(2, 0), Some(block(1, 1)));
    }

    #[test]
    fn what_a_peer_that_is_gone_was_asked_for_is_open_again() {
        let mut pieces = with_blocks(&[1]);
        pieces.remove_peer(conn(1));
        pieces.check();
        assert_eq!(asked(&pieces, conn(1)), 0);
        let all = request_all(&mut pieces, 2, false);
        assert_eq!(all, [0, 2, 3].map(|index| block(0, index)));
        assert!(pieces.release(conn(2), 0, 0) && !pieces.release(conn(2), 0, 0));
        assert!(!pieces.release(conn(2), 0, 1) && !pieces.release(conn(2), 9, 0));
        assert_eq!(request_all(&mut pieces, 3, false), [block(0, 0)]);
        pieces.release_all(conn(3));
        assert_eq!(request_all(&mut pieces, 3, true), [block(0, 0)]);
    }

    #[test]
    fn copies_are_asked_of_others_and_of_so_many_only() {
        let mut pieces = with_blocks(&[2, 3]);
        let mut copy = |number, index| {
            let asked = pieces.request_copy(conn(number), 0, index * BLOCK_LEN);
            assert!(asked.is_none_or(|asked| asked == block(0, index)));
            asked.is_some()
        };
        assert!(!copy(1, 0) && copy(2, 0) && copy(3, 0) && !copy(4, 0));
        assert!(copy(3, 1) && !copy(3, 1));
        // What has come, and what is not there.
        assert!(!copy(2, 2) && !copy(2, 4));
        assert_eq!(pieces.request_copy(conn(2), 0, 1), None);
        assert_eq!(pieces.request_copy(conn(2), 1, 0), None);
        assert_eq!(pieces.missing(), 2);
        pieces.check();
        let Arrival::Accepted { cancel, complete } = deliver(&mut pieces, 2, block(0, 0)) else {
            panic!("refused");
        };
        assert!(!complete);
        assert_eq!(cancel.iter().collect::<Vec<_>>(), [conn(1), conn(3)]);
        assert!(!pieces.is_asked(conn(3), 0, 0) && pieces.is_asked(conn(3), 0, BLOCK_LEN));
        assert_eq!(deliver(&mut pieces, 3, block(0, 0)), Arrival::Superfluous);
    }

    #[test]
    fn what_was_not_asked_for_is_not_kept_unless_it_once_was() {
        let mut pieces = with_blocks(&[]);
        assert_eq!(deliver(&mut pieces, 2, block(0, 0)), Arrival::Unasked);
        for (begin, len) in [
            (1, BLOCK_LEN),
            (0, BLOCK_LEN - 1),
            (3 * BLOCK_LEN, BLOCK_LEN),
            (4 * BLOCK_LEN, 100),
            (u32::MAX, 1),
        ] {
            let data = BlockData::default();
            let arrival = pieces.receive(from(1), 0, begin, len, data, true);
            assert_eq!(arrival, Arrival::Misfit);
        }
        pieces.release(conn(1), 0, 0);
        let data = BlockData::from(content(block(0, 0)));
        let arrival = pieces.receive(from(1), 0, 0, BLOCK_LEN, data, true);
        assert_eq!(arrival, accepted(false));
        pieces.check();
    }

    #[test]
    fn authors_are_known_block_by_block() {
        let mut pieces = with_blocks(&[0]);
        pieces.release_all(conn(1));
        for id in request_all(&mut pieces, 2, false) {
            deliver(&mut pieces, 2, id);
        }
        let from_whom = pieces.take(0).unwrap().from;
        let authors: Vec<_> = (0..4).map(|index| from_whom.of(index)).collect();
        assert_eq!(authors, [1, 2, 2, 2].map(|number| Some(from(number))));
        assert_eq!(from_whom.only(), None);
    }

    #[test]
    fn memory_is_freed_by_writing_a_run_of_blocks() {
        let mut pieces = with_blocks(&[0, 1, 3]);
        let flush = pieces.flush().unwrap();
        pieces.check();
        assert_eq!((flush.piece, flush.begin, flush.len), (0, 0, 2 * BLOCK_LEN));
        assert_eq!(flush.data, [content(block(0, 0)), content(block(0, 1))]);
        assert_eq!(pieces.in_memory(), 100);
        assert_eq!(deliver(&mut pieces, 1, block(0, 2)), accepted(false));
        assert!(!pieces.is_complete(0));
        assert_eq!(pieces.written(0, 0, 2 * BLOCK_LEN), Written::Complete);
        let taken = pieces.take(0).unwrap();
        assert_eq!(
            taken.data,
            [
                Segment::Stored { len: 2 * BLOCK_LEN },
                Segment::Memory(content(block(0, 2))),
                Segment::Memory(content(block(0, 3))),
            ]
        );
        assert_eq!(taken.in_memory, u64::from(BLOCK_LEN) + 100);
        assert_eq!(taken.from.only(), Some(from(1)));
    }

    #[test]
    fn what_is_nearly_complete_stays_in_memory() {
        let mut pieces = with_blocks(&[0, 1, 2]);
        assert!(pieces.start(1, LEN, conn(2), true));
        request_all(&mut pieces, 2, true);
        deliver(&mut pieces, 2, block(1, 0));
        deliver(&mut pieces, 2, block(1, 1));
        assert_eq!(pieces.flush().map(|flush| flush.piece), Some(1));
        assert_eq!(pieces.flush().map(|flush| flush.piece), Some(0));
        assert!(pieces.flush().is_none());
        assert_eq!(pieces.in_memory(), 0);
    }

    #[test]
    fn what_could_not_be_written_is_in_memory_again() {
        let mut pieces = with_blocks(&[0, 1, 2, 3]);
        assert!(pieces.flush().is_none());
        let mut pieces = with_blocks(&[0, 1]);
        let flush = pieces.flush().unwrap();
        assert_eq!(
            pieces.write_failed(0, flush.begin, flush.len),
            Written::Continues
        );
        assert_eq!(request_all(&mut pieces, 2, false), []);
        assert_eq!(pieces.in_memory(), 2 * u64::from(BLOCK_LEN));
        assert_eq!(pieces.flush().unwrap().data, flush.data);
        assert_eq!(
            pieces.write_failed(0, flush.begin, flush.len),
            Written::Continues
        );
        // Late, or of another piece: nothing happens.
        assert_eq!(
            pieces.written(0, flush.begin, flush.len),
            Written::Continues
        );
        assert_eq!(pieces.written(5, 0, u32::MAX), Written::Continues);
        assert_eq!(pieces.written(0, u32::MAX, u32::MAX), Written::Continues);
        pieces.check();
    }

    #[test]
    fn a_piece_that_could_not_be_stored_is_complete_again_with_its_authors() {
        for trust in [true, false] {
            let mut pieces = with_blocks(&[0, 1]);
            let flush = pieces.flush().unwrap();
            pieces.written(0, flush.begin, flush.len);
            deliver(&mut pieces, 1, block(0, 2));
            deliver(&mut pieces, 1, block(0, 3));
            let taken = pieces.take(0).unwrap();
            assert_eq!(pieces.in_memory(), 0);
            pieces.check();
            assert!(pieces.put_back(0, taken.held, &taken.from, trust));
            pieces.check();
            assert_eq!(pieces.in_memory(), u64::from(BLOCK_LEN) + 100);
            assert_eq!(pieces.complete(), if trust { vec![0] } else { vec![] });
            if !trust {
                // What was written early is not taken for good.
                for id in request_all(&mut pieces, 2, false) {
                    deliver(&mut pieces, 2, id);
                }
            }
            let again = pieces.take(0).unwrap();
            let author = if trust { 1 } else { 2 };
            assert_eq!(again.from.of(0), Some(from(author)));
            assert_eq!(again.from.of(3), Some(from(1)));
            pieces.finish(again.held);
            pieces.check();
        }
    }

    #[test]
    fn what_an_earlier_run_stored_is_not_asked_for_and_nobody_answers_for_it() {
        let mut map = Bitfield::new(4);
        map.insert(1);
        map.insert(3);
        let mut pieces = Pieces::default();
        assert!(!pieces.restore(0, LEN, &Bitfield::full(5)), "another size");
        assert!(!pieces.restore(0, LEN, &Bitfield::new(4)), "nothing");
        assert!(pieces.restore(0, LEN, &map));
        pieces.check();
        let stored = pieces.stored();
        assert_eq!((stored[0].piece.get(), &stored[0].blocks), (0, &map));
        let asked = request_all(&mut pieces, 1, true);
        assert_eq!(asked, [block(0, 0), block(0, 2)]);
        for id in asked {
            deliver(&mut pieces, 1, id);
        }
        let taken = pieces.take(0).unwrap();
        assert_eq!(taken.from.only(), None);
        assert_eq!(taken.from.of(1), None);
        assert_eq!(taken.from.of(2), Some(from(1)));
        assert!(pieces.restore(1, LEN, &Bitfield::full(4)));
        assert_eq!(pieces.complete(), [1]);
    }

    #[test]
    fn what_a_disk_may_have_lost_is_open_until_it_says_otherwise() {
        let mut pieces = with_blocks(&[0, 1]);
        let flush = pieces.flush().unwrap();
        pieces.written(0, flush.begin, flush.len);
        deliver(&mut pieces, 1, block(0, 2));
        deliver(&mut pieces, 1, block(0, 3));
        pieces.forget_stored();
        pieces.check();
        assert!(!pieces.is_complete(0));
        let mut map = Bitfield::new(4);
        map.insert(0);
        map.insert(3);
        assert!(!pieces.restore(0, LEN, &map), "it is under way");
        pieces.check();
        assert_eq!(request_all(&mut pieces, 2, false), [block(0, 1)]);
        deliver(&mut pieces, 2, block(0, 1));
        let from_whom = pieces.take(0).unwrap().from;
        let authors: Vec<_> = (0..4).map(|index| from_whom.of(index)).collect();
        assert_eq!(authors, [None, Some(from(2)), Some(from(1)), Some(from(1))]);
    }

    #[test]
    fn an_abandoned_piece_names_who_is_to_be_told() {
        let mut pieces = with_blocks(&[0]);
        pieces.request_copy(conn(2), 0, BLOCK_LEN);
        let (cancel, gone) = pieces.abandon(0);
        let expected = [(1, 1), (2, 1), (1, 2), (1, 3)];
        assert_eq!(
            cancel,
            expected.map(|(number, index)| (conn(number), block(0, index)))
        );
        assert!(gone && !pieces.contains(0));
        assert_eq!((pieces.in_memory(), asked(&pieces, conn(1))), (0, 0));
        pieces.check();
    }

    #[test]
    fn an_abandoned_piece_is_not_begun_anew_while_a_part_of_it_is_written() {
        let mut pieces = with_blocks(&[0]);
        let flush = pieces.flush().unwrap();
        let (_, gone) = pieces.abandon(0);
        assert!(!gone && !pieces.start(0, LEN, conn(1), true));
        pieces.check();
        let map = everything();
        assert_eq!(pieces.request(conn(1), &map, true, |_| true), None);
        assert_eq!(pieces.request_open(conn(1), 0), None);
        assert_eq!(pieces.request_shared(conn(1), &map), None);
        assert_eq!(pieces.request_copy(conn(2), 0, BLOCK_LEN), None);
        let data = BlockData::from(content(block(0, 1)));
        let late = pieces.receive(from(1), 0, BLOCK_LEN, BLOCK_LEN, data, true);
        assert_eq!(late, Arrival::Superfluous);
        assert_eq!(pieces.written(0, flush.begin, flush.len), Written::Gone);
        assert!(pieces.start(0, LEN, conn(1), true));
        pieces.check();
    }

    #[test]
    fn pieces_and_blocks_are_bounded() {
        let mut pieces = Pieces::default();
        assert!(!pieces.start(0, 0, conn(1), false));
        // A single piece may be of any size.
        assert!(pieces.start(0, u32::MAX, conn(1), false));
        assert!(!pieces.start(1, 1, conn(1), false));
        pieces.check();
        pieces.abandon(0);
        let started = (0..).take_while(|piece| pieces.start(*piece, 1, conn(1), false));
        assert_eq!(started.count(), MAX_PARTIAL_PIECES);
        pieces.check();
    }

    #[test]
    fn a_block_is_little_more_than_its_payload() {
        assert!(size_of::<Block<BlockData>>() <= size_of::<BlockData>() + 8);
    }

    /// What is known of a piece from outside.
    #[derive(Default)]
    struct Model {
        asked: BTreeSet<(u8, BlockRequest)>,
        /// Blocks that have come.
        got: BTreeSet<BlockRequest>,
        under_way: BTreeSet<u32>,
        abandoned: BTreeSet<u32>,
        writes: Vec<Flush>,
    }

    impl Model {
        fn ask(&mut self, number: u8, block: Option<BlockRequest>, again: bool) {
            if let Some(block) = block {
                assert!(self.under_way.contains(&block.piece));
                assert!(!self.got.contains(&block));
                let asked = self.asked.iter().any(|(_, other)| *other == block);
                assert_eq!(asked, again);
                assert!(self.asked.insert((number, block)));
            }
        }

        fn askers(&self, block: BlockRequest) -> usize {
            self.asked
                .iter()
                .filter(|(_, other)| *other == block)
                .count()
        }

        fn is_complete(&self, piece: u32) -> bool {
            (0..4).all(|index| self.got.contains(&block(piece, index)))
                && self.writes.iter().all(|write| write.piece != piece)
        }

        fn forget(&mut self, piece: u32) {
            self.got.retain(|block| block.piece != piece);
            self.asked.retain(|(_, block)| block.piece != piece);
            self.under_way.remove(&piece);
        }
    }

    quickcheck! {
        fn agrees_with_a_model_whatever_happens(steps: Vec<(u8, u8, u8)>) -> bool {
            let mut pieces = Pieces::default();
            let mut model = Model::default();
            let map = everything();
            for (step, a, b) in steps {
                let (number, piece) = (a % 5, u32::from(b % 4));
                let some = block(piece, u32::from(b / 4 % 4));
                match step % 24 {
                    0..3 => {
                        let free = !model.under_way.contains(&piece)
                            && !model.abandoned.contains(&piece);
                        assert_eq!(pieces.start(piece, LEN, conn(number), a > 99), free);
                        if free {
                            model.under_way.insert(piece);
                        }
                    }
                    3..8 => {
                        let block = pieces.request(conn(number), &map, a > 99, |_| true);
                        model.ask(number, block, false);
                    }
                    8 => {
                        let block = pieces.request_shared(conn(number), &map);
                        model.ask(number, block, false);
                    }
                    9 | 10 => {
                        let copy = pieces.request_copy(conn(number), piece, some.begin);
                        let copies = model.askers(some);
                        let may = (1..ENDGAME_COPIES).contains(&copies)
                            && !model.asked.contains(&(number, some));
                        assert_eq!(copy, may.then_some(some));
                        model.ask(number, copy, true);
                    }
                    11 => {
                        let block = pieces.request_open(conn(number), piece);
                        model.ask(number, block, false);
                    }
                    12..16 => {
                        let asked = model.asked.contains(&(number, some));
                        assert_eq!(pieces.is_asked(conn(number), some.piece, some.begin), asked);
                        match deliver(&mut pieces, number, some) {
                            Arrival::Accepted { cancel, complete } => {
                                assert!(asked && !model.got.contains(&some));
                                assert_eq!(cancel.count() + 1, model.askers(some));
                                for other in cancel.iter() {
                                    assert!(model.asked.contains(&(other.slot() as u8, some)));
                                }
                                model.asked.retain(|(_, other)| *other != some);
                                model.got.insert(some);
                                assert_eq!(complete, model.is_complete(piece));
                            }
                            Arrival::Superfluous => {
                                assert!(
                                    model.got.contains(&some) || !model.under_way.contains(&piece)
                                );
                            }
                            Arrival::Unasked => assert!(!asked && !model.got.contains(&some)),
                            Arrival::Misfit => panic!("it fits"),
                        }
                    }
                    16 => {
                        let asked = model.asked.remove(&(number, some));
                        assert_eq!(pieces.release(conn(number), piece, some.begin), asked);
                    }
                    17 => {
                        if a > 99 {
                            pieces.release_all(conn(number));
                        } else {
                            pieces.remove_peer(conn(number));
                        }
                        model.asked.retain(|(other, _)| *other != number);
                    }
                    18 => {
                        let known = model.under_way.contains(&piece);
                        let (cancel, gone) = pieces.abandon(piece);
                        let asked = model.asked.iter().filter(|(_, block)| block.piece == piece);
                        assert_eq!(cancel.len(), asked.count());
                        let writing = model.writes.iter().any(|write| write.piece == piece);
                        assert_eq!(gone, !writing);
                        if known && writing {
                            model.abandoned.insert(piece);
                        }
                        model.forget(piece);
                    }
                    19 => model.writes.extend(pieces.flush()),
                    20 | 21 if !model.writes.is_empty() => {
                        let write = model.writes.swap_remove(usize::from(a) % model.writes.len());
                        let piece = write.piece;
                        let ended = if a > 99 {
                            pieces.written(piece, write.begin, write.len)
                        } else {
                            pieces.write_failed(piece, write.begin, write.len)
                        };
                        let last = model.writes.iter().all(|write| write.piece != piece);
                        let expected = if model.abandoned.contains(&piece) && last {
                            model.abandoned.remove(&piece);
                            Written::Gone
                        } else if model.is_complete(piece) {
                            Written::Complete
                        } else {
                            Written::Continues
                        };
                        assert_eq!(ended, expected);
                    }
                    _ => {
                        let taken = pieces.take(piece);
                        assert_eq!(taken.is_some(), model.is_complete(piece));
                        if let Some(taken) = taken {
                            let mut at = 0;
                            for segment in taken.data {
                                at += match segment {
                                    Segment::Memory(bytes) => {
                                        let here = block(piece, at / BLOCK_LEN);
                                        assert_eq!(bytes, content(here));
                                        here.len
                                    }
                                    Segment::Stored { len } => len,
                                };
                            }
                            assert_eq!(at, LEN);
                            if a > 199 {
                                assert!(pieces.put_back(piece, taken.held, &taken.from, true));
                            } else {
                                pieces.finish(taken.held);
                                model.forget(piece);
                            }
                        }
                    }
                }
                pieces.check();
                let expected = model.asked.iter().filter(|(other, _)| *other == number);
                assert_eq!(asked(&pieces, conn(number)), expected.count());
            }
            true
        }
    }
}
