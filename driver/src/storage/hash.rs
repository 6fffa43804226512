//! Hashing pieces (BEP 3) and their blocks on their way to the disk.

use std::cell::Cell;

use anabranch_core::action::Segment;
use anabranch_core::event::DiskError;
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::PieceIndex;
use anabranch_hash::{Message, Sha1, digest, digest_two};
use bytes::Bytes;

use super::{Arriving, Storage, Verdict, out_of_range};
use crate::buffers::AlignedBuf;

/// How much is read at a time to be hashed or copied, in bytes: small enough to stay in a core's own
/// cache, large enough for the system call not to count.
const CHUNK: usize = 256 << 10;

thread_local! {
    static SCRATCH: Cell<Option<AlignedBuf>> = const { Cell::new(None) };
}

/// Lends this thread's buffer of [`CHUNK`] bytes.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    // Work that asks for the buffer within the work gets one of its own.
    let scratch = SCRATCH.take();
    let mut scratch = scratch.unwrap_or_else(|| AlignedBuf::zeroed(CHUNK));
    let result = work(scratch.as_mut());
    SCRATCH.set(Some(scratch));
    result
}

/// Writes a whole piece if it has this SHA-1, and nothing otherwise: hashes the segments from memory,
/// reads back with [`Storage::read`] what was stored before, and hands each run of segments in memory
/// to [`Storage::write`]. With `blocks`, a piece that matches comes with the hashes of its blocks, too.
///
/// The [`Pool`](crate::pool::Pool) does the same in two steps.
///
/// # Errors
///
/// When reading back or writing fails. The piece does not count as stored then.
pub fn store<S: Storage + ?Sized>(
    storage: &S,
    piece: PieceIndex,
    digest: &[u8; 20],
    data: &[Segment],
    blocks: bool,
) -> Result<Verdict, DiskError> {
    let arriving = Arriving {
        piece,
        digest,
        data,
    };
    let verdict = check(storage, arriving, blocks)?;
    match verdict {
        Verdict::Matched { .. } => write_memory(storage, piece, data)?,
        Verdict::Mismatched { .. } => {}
    }
    Ok(verdict)
}

/// Hashes a piece that is to be stored. Nothing is written.
pub(crate) fn check<S: Storage + ?Sized>(
    storage: &S,
    arriving: Arriving<'_>,
    blocks: bool,
) -> Result<Verdict, DiskError> {
    with_scratch(|scratch| {
        let mut message = Segments::new(storage, arriving.piece, arriving.data, scratch);
        let (found, blocks) = if blocks {
            let mut both = Both::default();
            message.visit(|bytes| both.update(bytes))?;
            let (found, blocks) = both.finish();
            (found, Some(blocks))
        } else {
            (digest(&mut message)?, None)
        };
        conclude(message, found, arriving.digest, blocks)
    })
}

/// Hashes two pieces side by side, without the hashes of their blocks: [`check`] of each.
pub(crate) fn check_two<S: Storage + ?Sized>(
    storage: &S,
    pieces: [Arriving<'_>; 2],
) -> [Result<Verdict, DiskError>; 2] {
    with_scratch(|scratch| {
        let (half, other_half) = scratch.split_at_mut(CHUNK / 2);
        let [first, second] = pieces;
        let mut one = Segments::new(storage, first.piece, first.data, half);
        let mut two = Segments::new(storage, second.piece, second.data, other_half);
        let [found_one, found_two] = digest_two(&mut one, &mut two);
        [
            found_one.and_then(|found| conclude(one, found, first.digest, None)),
            found_two.and_then(|found| conclude(two, found, second.digest, None)),
        ]
    })
}

/// The hash of a piece is known: where it is wrong, those of its blocks tell where.
fn conclude<S: Storage + ?Sized>(
    mut message: Segments<'_, S>,
    found: [u8; 20],
    expected: &[u8; 20],
    blocks: Option<Vec<[u8; 20]>>,
) -> Result<Verdict, DiskError> {
    if found == *expected {
        return Ok(Verdict::Matched { blocks });
    }
    let blocks = match blocks {
        Some(blocks) => blocks,
        // Mismatches are rare enough to hash twice.
        None => {
            message.rewind();
            let mut blocks = BlockHasher::default();
            message.visit(|bytes| blocks.update(bytes))?;
            blocks.finish()
        }
    };
    Ok(Verdict::Mismatched { blocks })
}

/// All bytes of the segments of a piece in order.
struct Segments<'a, S: ?Sized> {
    storage: &'a S,
    piece: PieceIndex,
    data: &'a [Segment],
    scratch: &'a mut [u8],
    /// The segment to be read, where it begins in the piece, and what of it has been read.
    index: usize,
    begin: u32,
    done: u32,
}

impl<'a, S: Storage + ?Sized> Segments<'a, S> {
    fn new(storage: &'a S, piece: PieceIndex, data: &'a [Segment], scratch: &'a mut [u8]) -> Self {
        Self {
            storage,
            piece,
            data,
            scratch,
            index: 0,
            begin: 0,
            done: 0,
        }
    }

    fn rewind(&mut self) {
        (self.index, self.begin, self.done) = (0, 0, 0);
    }

    fn visit(&mut self, mut see: impl FnMut(&[u8])) -> Result<(), DiskError> {
        loop {
            match self.next()? {
                [] => return Ok(()),
                bytes => see(bytes),
            }
        }
    }
}

impl<S: Storage + ?Sized> Message for Segments<'_, S> {
    type Error = DiskError;

    fn next(&mut self) -> Result<&[u8], DiskError> {
        while let Some(segment) = self.data.get(self.index) {
            let end = advance(self.piece, self.begin, segment)?;
            let left = end - self.begin - self.done;
            if left == 0 {
                (self.index, self.begin, self.done) = (self.index + 1, end, 0);
                continue;
            }
            return match segment {
                Segment::Memory(bytes) => {
                    self.done = left;
                    Ok(bytes)
                }
                Segment::Stored { .. } => {
                    let step = self.scratch.len().min(left as usize);
                    let part = &mut self.scratch[..step];
                    self.storage
                        .read(self.piece, self.begin + self.done, part)?;
                    self.done += step as u32;
                    Ok(part)
                }
            };
        }
        Ok(&[])
    }
}

/// Writes each run of segments in memory.
pub(crate) fn write_memory<S: Storage + ?Sized>(
    storage: &S,
    piece: PieceIndex,
    data: &[Segment],
) -> Result<(), DiskError> {
    let mut run: Vec<Bytes> = Vec::with_capacity(data.len());
    let mut start = 0;
    let mut begin = 0;
    for segment in data {
        match segment {
            Segment::Memory(bytes) => {
                if run.is_empty() {
                    start = begin;
                }
                run.push(bytes.clone());
            }
            Segment::Stored { .. } => {
                if !run.is_empty() {
                    storage.write(piece, start, &run)?;
                    run.clear();
                }
            }
        }
        begin = advance(piece, begin, segment)?;
    }
    if !run.is_empty() {
        storage.write(piece, start, &run)?;
    }
    Ok(())
}

fn advance(piece: PieceIndex, begin: u32, segment: &Segment) -> Result<u32, DiskError> {
    let len = match segment {
        Segment::Memory(bytes) => u32::try_from(bytes.len()).ok(),
        Segment::Stored { len } => Some(*len),
    };
    len.and_then(|len| begin.checked_add(len))
        .ok_or(out_of_range(piece))
}

/// The SHA-1 of a piece, and of each of its blocks.
#[derive(Default)]
struct Both {
    whole: Sha1,
    blocks: BlockHasher,
}

impl Both {
    fn update(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.blocks.update(bytes);
    }

    fn finish(self) -> ([u8; 20], Vec<[u8; 20]>) {
        (self.whole.finish(), self.blocks.finish())
    }
}

/// The SHA-1 of each block of a piece that comes in parts of any length.
#[derive(Default)]
struct BlockHasher {
    done: Vec<[u8; 20]>,
    current: Sha1,
    /// Bytes of the current block.
    filled: usize,
}

impl BlockHasher {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = bytes.len().min(BLOCK_LEN as usize - self.filled);
            let (now, later) = bytes.split_at(step);
            self.current.update(now);
            self.filled += step;
            if self.filled == BLOCK_LEN as usize {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn finish(mut self) -> Vec<[u8; 20]> {
        if self.filled > 0 {
            self.end_block();
        }
        self.done
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.current);
        self.done.push(block.finish());
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn block_digests_do_not_depend_on_how_the_piece_is_cut(len: u32, cuts: Vec<u16>) -> bool {
            let data: Vec<u8> = (0..len % 100_000).map(|i| (i / 7) as u8).collect();
            let mut hasher = BlockHasher::default();
            let mut rest = &data[..];
            for cut in cuts {
                let (now, later) = rest.split_at(rest.len().min(cut.into()));
                hasher.update(now);
                rest = later;
            }
            hasher.update(rest);
            let expected: Vec<[u8; 20]> = data
                .chunks(BLOCK_LEN as usize)
                .map(Sha1::digest)
                .collect();
            hasher.finish() == expected
        }
    }

    #[test]
    fn scratch_within_scratch_is_another_buffer() {
        let sum = with_scratch(|outer| {
            outer[0] = 1;
            with_scratch(|inner| inner[0] = 2);
            outer[0]
        });
        assert_eq!(sum, 1);
    }
}
