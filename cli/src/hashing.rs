//! Pieces hashed on all cores, from files on the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use anabranch_driver::buffers::AlignedBuf;
use anabranch_hash::{Message, digest_two};

use crate::exit::Failure;
use crate::output::{Event, Output};

/// Bytes read of a piece at a time: enough for the disk, and little enough that two pieces, which are
/// hashed side by side, are hashed from the cache.
const CHUNK: usize = 128 << 10;

/// Where a part of the data lies; its place in the list is that in the torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The file; none for zeros that are nowhere.
    pub(crate) path: Option<PathBuf>,
    /// Bytes.
    pub(crate) length: u64,
}

/// Why a piece could not be read.
#[derive(Debug)]
pub(crate) struct ReadError {
    /// Which part.
    pub(crate) part: usize,
    pub(crate) error: io::Error,
}

/// Reads and hashes all pieces, on all cores, and tells how far it is. `each` gets the outcome of every
/// piece, in any order, and may stop the work.
pub(crate) fn hash_pieces(
    parts: &[Part],
    piece_length: u32,
    output: &mut Output,
    mut each: impl FnMut(u32, Result<[u8; 20], ReadError>) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let ends: Vec<u64> = parts
        .iter()
        .scan(0_u64, |end, part| {
            *end = end.saturating_add(part.length);
            Some(*end)
        })
        .collect();
    let total = ends.last().copied().unwrap_or(0);
    let pieces = total.div_ceil(u64::from(piece_length.max(1)));
    let pieces = u32::try_from(pieces).map_err(|_| Failure::new("the data has too many pieces"))?;
    let next = AtomicU32::new(0);
    let hashed = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let threads = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(pieces.div_ceil(2) as usize);
    // Bounded, so that a worker never runs far ahead of what is done with its results.
    let (sender, receiver) = mpsc::sync_channel(threads.max(1) * 4);

    thread::scope(|scope| {
        for _ in 0..threads {
            let sender = sender.clone();
            let (ends, next, hashed, stop) = (&ends, &next, &hashed, &stop);
            scope.spawn(move || {
                let [mut one, mut two] = [0, 1].map(|_| Reader::new(parts, ends, hashed));
                loop {
                    let first = next.fetch_add(2, Ordering::Relaxed);
                    if first >= pieces || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    for (reader, piece) in [(&mut one, first), (&mut two, first + 1)] {
                        let begin = u64::from(piece) * u64::from(piece_length);
                        reader.begin(begin, (begin + u64::from(piece_length)).min(total));
                    }
                    let results = digest_two(&mut one, &mut two);
                    for (piece, result) in (first..pieces).zip(results) {
                        if sender.send((piece, result)).is_err() {
                            return;
                        }
                    }
                }
            });
        }
        drop(sender);

        let interval = output.interval();
        let mut told = std::time::Instant::now();
        let result = loop {
            let outcome = receiver.recv_timeout(interval);
            if told.elapsed() >= interval {
                told = std::time::Instant::now();
                let done = hashed.load(Ordering::Relaxed);
                if let Err(failure) = output.tell(&Event::Hashing { done, total }) {
                    break Err(failure);
                }
            }
            match outcome {
                Ok((piece, result)) => {
                    if each(piece, result).is_break() {
                        break Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
        };
        stop.store(true, Ordering::Relaxed);
        // A worker that waits to hand over a result gives up.
        drop(receiver);
        result
    })?;
    output.clear();
    Ok(())
}

/// Reads a piece, part after part. Keeps the last file open, and one buffer.
struct Reader<'a> {
    parts: &'a [Part],
    ends: &'a [u64],
    /// Counts what was read.
    hashed: &'a AtomicU64,
    /// What is left of the piece, among all parts.
    left: Range<u64>,
    open: Option<(usize, File)>,
    buffer: AlignedBuf,
}

impl<'a> Reader<'a> {
    fn new(parts: &'a [Part], ends: &'a [u64], hashed: &'a AtomicU64) -> Self {
        Self {
            parts,
            ends,
            hashed,
            left: 0..0,
            open: None,
            buffer: AlignedBuf::zeroed(CHUNK),
        }
    }

    /// Begins with the bytes from `begin` to `end` of all parts.
    fn begin(&mut self, begin: u64, end: u64) {
        self.left = begin..end;
    }
}

impl Message for Reader<'_> {
    type Error = ReadError;

    fn next(&mut self) -> Result<&[u8], ReadError> {
        if self.left.is_empty() {
            return Ok(&[]);
        }
        let at = self.left.start;
        let part = self.ends.partition_point(|&part_end| part_end <= at);
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before]);
        let until = self.ends[part].min(self.left.end);
        let len = usize::try_from(until - at).map_or(CHUNK, |len| len.min(CHUNK));
        if let Err(error) = self.read(part, at - start, len) {
            // What could not be read needs no more time, and counts, too.
            self.hashed.fetch_add(self.left.end - at, Ordering::Relaxed);
            self.open = None;
            return Err(ReadError { part, error });
        }
        self.left.start += len as u64;
        self.hashed.fetch_add(len as u64, Ordering::Relaxed);
        Ok(&self.buffer.as_ref()[..len])
    }
}

impl Reader<'_> {
    /// Fills the buffer from a part.
    fn read(&mut self, part: usize, offset: u64, len: usize) -> io::Result<()> {
        let buffer = &mut self.buffer.as_mut()[..len];
        let Some(path) = &self.parts[part].path else {
            buffer.fill(0);
            return Ok(());
        };
        let file = match self.open.take() {
            Some((open, file)) if open == part => file,
            Some(_) | None => {
                // Opening a pipe would wait for somebody to write to it.
                if !path.metadata()?.is_file() {
                    return Err(io::Error::other("not a regular file"));
                }
                File::open(path)?
            }
        };
        let (_, file) = self.open.insert((part, file));
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anabranch_hash::Sha1;

    use super::*;

    fn hashes(parts: &[Part], piece_length: u32) -> Vec<(u32, Result<[u8; 20], usize>)> {
        let mut found = Vec::new();
        hash_pieces(
            parts,
            piece_length,
            &mut Output::new(false),
            |piece, result| {
                found.push((piece, result.map_err(|error| error.part)));
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        found.sort_by_key(|(piece, _)| *piece);
        found
    }

    #[test]
    fn pieces_run_across_files_and_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let mut data = Vec::new();
        let mut parts = Vec::new();
        for (index, length) in [0_usize, 700_001, 3, 0, 300_000].into_iter().enumerate() {
            let content = vec![index as u8 + 1; length];
            let path = dir.path().join(index.to_string());
            fs::write(&path, &content).unwrap();
            data.extend(content);
            parts.push(Part {
                path: Some(path),
                length: length as u64,
            });
        }
        parts.push(Part {
            path: None,
            length: 50_000,
        });
        data.extend(vec![0; 50_000]);
        for piece_length in [16 << 10, 100_000, 4 << 20] {
            let expected: Vec<_> = data
                .chunks(piece_length)
                .enumerate()
                .map(|(index, piece)| (index as u32, Ok(Sha1::digest(piece))))
                .collect();
            assert_eq!(hashes(&parts, piece_length as u32), expected);
        }
    }

    #[test]
    fn a_file_that_is_missing_or_short_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short");
        fs::write(&path, vec![1; 30_000]).unwrap();
        let parts = [
            Part {
                path: Some(path),
                length: 40_000,
            },
            Part {
                path: Some(dir.path().join("missing")),
                length: 20_000,
            },
        ];
        let outcomes: Vec<_> = hashes(&parts, 20_000)
            .into_iter()
            .map(|(_, result)| result.map(|_| ()))
            .collect();
        assert_eq!(outcomes, [Ok(()), Err(0), Err(1)]);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let parts = [Part {
            path: Some(dir.path().into()),
            length: 1,
        }];
        assert_eq!(hashes(&parts, 16_384), [(0, Err(0))]);
    }

    #[test]
    fn the_work_can_be_stopped() {
        let parts = [Part {
            path: None,
            length: 1 << 30,
        }];
        let mut count = 0;
        hash_pieces(&parts, 16 << 10, &mut Output::new(false), |_, _| {
            count += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(count, 1);
    }
}
