use anabranch_core::Bitfield;
use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::event::{DiskDone, Opened};
use anabranch_core::limits::BLOCK_LEN;
use sha1::{Digest, Sha1};

/// A torrent's data in memory. It cannot fail, and forgets what was checkpointed.
pub(super) struct Disk {
    pub(super) data: Vec<u8>,
    pub(super) piece_length: usize,
}

impl Disk {
    /// Carries a job out. Everything that the engine asks for lies within its torrent.
    pub(super) fn perform(&mut self, job: DiskJob) -> DiskDone {
        match job {
            // Any piece may be there: the engine has all of them verified before it begins.
            DiskJob::Open(open) => DiskDone::Opened(Box::new(Opened {
                trusted: Bitfield::new(open.metainfo.piece_count()),
                doubtful: Bitfield::full(open.metainfo.piece_count()),
                ..Opened::default()
            })),
            DiskJob::Verify { piece, digest } => {
                let stored = self.data.chunks(self.piece_length).nth(piece.as_usize());
                let matches = stored.is_some_and(|data| Sha1::digest(data)[..] == digest);
                DiskDone::Verified { matches }
            }
            // A whole piece. Parts of it may have been written before, and are hashed with the rest.
            DiskJob::Store {
                piece,
                digest,
                data,
                blocks,
            } => {
                let start = piece.as_usize() * self.piece_length;
                let mut whole = Vec::new();
                for segment in &data {
                    whole.extend_from_slice(match segment {
                        Segment::Memory(bytes) => bytes,
                        Segment::Stored { len } => {
                            &self.data[start + whole.len()..][..*len as usize]
                        }
                    });
                }
                let digests = || {
                    let blocks = whole.chunks(BLOCK_LEN as usize);
                    blocks.map(|block| Sha1::digest(block).into()).collect()
                };
                // The digests of a wrong piece's blocks are how the engine finds out who lied.
                if Sha1::digest(&whole)[..] != digest {
                    return DiskDone::Mismatched { blocks: digests() };
                }
                self.data[start..][..whole.len()].copy_from_slice(&whole);
                DiskDone::Stored {
                    blocks: blocks.then(digests),
                }
            }
            // A part of a piece that is not complete yet, so that memory is freed.
            DiskJob::Write { piece, begin, data } => {
                let (start, data) = (piece.as_usize() * self.piece_length, data.concat());
                self.data[start + begin as usize..][..data.len()].copy_from_slice(&data);
                DiskDone::Written
            }
            DiskJob::Read { piece, begin, len } => {
                let start = piece.as_usize() * self.piece_length + begin as usize;
                let data = self.data[start..][..len as usize].to_vec().into();
                DiskDone::Read { data }
            }
            DiskJob::Select { .. } => DiskDone::Selected,
            DiskJob::Trim { .. } => DiskDone::Trimmed { cut: false },
            DiskJob::Checkpoint { .. } => DiskDone::Checkpointed,
            DiskJob::Probe { .. } => DiskDone::Usable,
            DiskJob::Close | DiskJob::Remove { .. } => DiskDone::Closed,
        }
    }
}
