//! What a thread of the pool does with a job, and with two at a time.
//!
//! A piece on its way to the disk (BEP 3) is hashed wherever there is a thread for it, but writing it is
//! another step: a file lets in one writer at a time, and more of them only keep cores busy waiting.

use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::event::{DiskDone, DiskError};
use anabranch_core::metainfo::PieceIndex;
use bytes::Bytes;

use crate::buffers::BufferPool;
use crate::storage::{Arriving, Storage, Verdict, check, check_two, perform, stored, write_memory};

/// What came of a job.
#[derive(Debug)]
pub(super) enum Step {
    Done(Result<DiskDone, DiskError>),
    /// Something must be written, while nobody else writes to the same storage.
    ToWrite(Write),
}

/// Data that may be written.
#[derive(Debug)]
pub(super) struct Write {
    piece: PieceIndex,
    data: Data,
    /// What is answered then.
    done: DiskDone,
}

#[derive(Debug)]
enum Data {
    /// All of the piece, parts of which may have been written before.
    Whole(Vec<Segment>),
    Part {
        begin: u32,
        blocks: Vec<Bytes>,
    },
}

impl Write {
    /// Blocks until it is written.
    pub(super) fn perform(self, storage: &dyn Storage) -> Result<DiskDone, DiskError> {
        match &self.data {
            Data::Whole(segments) => write_memory(storage, self.piece, segments)?,
            Data::Part { begin, blocks } => storage.write(self.piece, *begin, blocks)?,
        }
        Ok(self.done)
    }
}

/// Carries a job out, but for what must be written.
pub(super) fn begin(storage: &dyn Storage, job: DiskJob, buffers: &BufferPool) -> Step {
    match job {
        DiskJob::Store {
            piece,
            digest,
            data,
            blocks,
        } => {
            let arriving = Arriving {
                piece,
                digest: &digest,
                data: &data,
            };
            let verdict = check(storage, arriving, blocks);
            checked(piece, data, verdict)
        }
        DiskJob::Write { piece, begin, data } => Step::ToWrite(Write {
            piece,
            data: Data::Part {
                begin,
                blocks: data,
            },
            done: DiskDone::Written,
        }),
        DiskJob::Open(_)
        | DiskJob::Verify { .. }
        | DiskJob::Read { .. }
        | DiskJob::Select { .. }
        | DiskJob::Trim { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. }
        | DiskJob::Close
        | DiskJob::Remove { .. } => Step::Done(perform(storage, job, buffers)),
    }
}

/// Whether [`begin_two`] takes less work for two jobs of one storage than they take alone.
pub(super) fn go_together(one: &DiskJob, two: &DiskJob) -> bool {
    let is_plain_store = |job: &DiskJob| matches!(job, DiskJob::Store { blocks: false, .. });
    let is_verify = |job: &DiskJob| matches!(job, DiskJob::Verify { .. });
    (is_plain_store(one) && is_plain_store(two)) || (is_verify(one) && is_verify(two))
}

/// Carries out two jobs that [go together](go_together), but for what must be written.
pub(super) fn begin_two(
    storage: &dyn Storage,
    jobs: [DiskJob; 2],
    buffers: &BufferPool,
) -> [Step; 2] {
    match jobs {
        [
            DiskJob::Store {
                piece: one,
                digest: one_digest,
                data: one_data,
                blocks: false,
            },
            DiskJob::Store {
                piece: two,
                digest: two_digest,
                data: two_data,
                blocks: false,
            },
        ] => {
            let pieces = [
                Arriving {
                    piece: one,
                    digest: &one_digest,
                    data: &one_data,
                },
                Arriving {
                    piece: two,
                    digest: &two_digest,
                    data: &two_data,
                },
            ];
            let [one_verdict, two_verdict] = check_two(storage, pieces);
            [
                checked(one, one_data, one_verdict),
                checked(two, two_data, two_verdict),
            ]
        }
        [
            DiskJob::Verify {
                piece: one,
                digest: one_digest,
            },
            DiskJob::Verify {
                piece: two,
                digest: two_digest,
            },
        ] => {
            let results = storage.verify_two([(one, &one_digest), (two, &two_digest)]);
            results.map(|result| Step::Done(result.map(|matches| DiskDone::Verified { matches })))
        }
        jobs => jobs.map(|job| begin(storage, job, buffers)),
    }
}

fn checked(piece: PieceIndex, data: Vec<Segment>, verdict: Result<Verdict, DiskError>) -> Step {
    match verdict {
        Ok(verdict @ Verdict::Matched { .. }) => Step::ToWrite(Write {
            piece,
            data: Data::Whole(data),
            done: stored(verdict),
        }),
        Ok(verdict @ Verdict::Mismatched { .. }) => Step::Done(Ok(stored(verdict))),
        Err(error) => Step::Done(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::Torrent;
    use crate::storage::{FileOptions, FileStorage};

    const PIECE: u32 = 32 << 10;

    fn finish(storage: &dyn Storage, step: Step) -> Result<DiskDone, DiskError> {
        match step {
            Step::Done(result) => result,
            Step::ToWrite(write) => write.perform(storage),
        }
    }

    #[test]
    fn two_pieces_at_once_fare_as_each_alone() {
        let dir = tempfile::tempdir().unwrap();
        let torrent = Torrent::new(PIECE, &[("a", 40_000), ("b/c", 100_000), ("d", 5_000)]);
        let storage = FileStorage::new(dir.path().to_owned(), FileOptions::default());
        storage.open(&torrent.open_all()).unwrap();
        let buffers = BufferPool::default();
        let last = torrent.metainfo.piece_count() - 1;
        let wrong = Bytes::from(vec![9; PIECE as usize]);
        let pieces = [
            (0, wrong.clone()),
            (1, torrent.piece(1)),
            (last, torrent.piece(last)),
        ];
        for (one, two) in [(0, 1), (1, 2), (2, 0)] {
            let jobs = [one, two].map(|at: usize| {
                let (piece, data) = &pieces[at];
                // A part of it was written before.
                let len = data.len() / 3;
                let write = DiskJob::Write {
                    piece: PieceIndex::new(*piece),
                    begin: 0,
                    data: vec![data.slice(..len)],
                };
                let written = finish(&storage, begin(&storage, write, &buffers));
                assert_eq!(written, Ok(DiskDone::Written));
                let rest = Segment::Memory(data.slice(len..));
                DiskJob::Store {
                    piece: PieceIndex::new(*piece),
                    digest: torrent.digest(*piece),
                    data: vec![Segment::Stored { len: len as u32 }, rest],
                    blocks: false,
                }
            });
            let alone = jobs.clone().map(|job| perform(&storage, job, &buffers));
            assert!(go_together(&jobs[0], &jobs[1]));
            let results = begin_two(&storage, jobs, &buffers).map(|step| finish(&storage, step));
            assert_eq!(results, alone);
            let right = results.map(|result| result == Ok(DiskDone::Stored { blocks: None }));
            assert_eq!(right, [one != 0, two != 0]);
        }
        let verify = |piece| DiskJob::Verify {
            piece: PieceIndex::new(piece),
            digest: torrent.digest(piece),
        };
        for (one, two) in [(0, 1), (1, last), (last, 2)] {
            let jobs = [verify(one), verify(two)];
            let results = begin_two(&storage, jobs, &buffers).map(|step| finish(&storage, step));
            let expected = [one, two].map(|piece| {
                let matches = piece == 1 || piece == last;
                Ok(DiskDone::Verified { matches })
            });
            assert_eq!(results, expected);
        }
    }
}
