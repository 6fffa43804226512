//! Hashing pieces (BEP 3) and their blocks on their way to the disk.

use std::cell::Cell;

use anabranch_core::action::Segment;
use anabranch_core::event::DiskError;
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::PieceIndex;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::{Storage, Verdict, out_of_range};

/// How much is read at a time to be hashed or copied, in bytes: small enough to stay in a core's own
/// cache, large enough for the system call not to count.
const CHUNK: usize = 256 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends this thread's buffer of [`CHUNK`] bytes.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    // Work that asks for the buffer within the work gets one of its own.
    let mut scratch = SCRATCH.take();
    scratch.resize(CHUNK, 0);
    let result = work(&mut scratch);
    SCRATCH.set(scratch);
    result
}

/// [`Storage::store`] in terms of `read` and `write`.
pub(super) fn store<S: Storage + ?Sized>(
    storage: &S,
    piece: PieceIndex,
    digest: &[u8; 20],
    data: &[Segment],
    blocks: bool,
) -> Result<Verdict, DiskError> {
    let mut whole = Sha1::new();
    let mut parts = blocks.then(BlockHasher::default);
    visit(storage, piece, data, |bytes| {
        whole.update(bytes);
        if let Some(parts) = &mut parts {
            parts.update(bytes);
        }
    })?;
    let matches = <[u8; 20]>::from(whole.finalize()) == *digest;
    if matches {
        write_memory(storage, piece, data)?;
        return Ok(Verdict::Matched {
            blocks: parts.map(BlockHasher::finish),
        });
    }
    let parts = match parts {
        Some(parts) => parts,
        // Mismatches are rare enough to hash twice.
        None => {
            let mut parts = BlockHasher::default();
            visit(storage, piece, data, |bytes| parts.update(bytes))?;
            parts
        }
    };
    Ok(Verdict::Mismatched {
        blocks: parts.finish(),
    })
}

/// Shows all bytes of the segments in order.
fn visit<S: Storage + ?Sized>(
    storage: &S,
    piece: PieceIndex,
    data: &[Segment],
    mut see: impl FnMut(&[u8]),
) -> Result<(), DiskError> {
    let mut begin: u32 = 0;
    for segment in data {
        match segment {
            Segment::Memory(bytes) => see(bytes),
            Segment::Stored { len } => with_scratch(|scratch| {
                let mut done = 0;
                while done < *len {
                    let step = (*len - done).min(CHUNK as u32);
                    let chunk = &mut scratch[..step as usize];
                    let at = begin.checked_add(done).ok_or(out_of_range(piece))?;
                    storage.read(piece, at, chunk)?;
                    see(chunk);
                    done += step;
                }
                Ok(())
            })?,
        }
        begin = advance(piece, begin, segment)?;
    }
    Ok(())
}

/// Writes each run of segments in memory.
fn write_memory<S: Storage + ?Sized>(
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
        self.done.push(self.current.finalize_reset().into());
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
                .map(|block| Sha1::digest(block).into())
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
