//! How much payload is in memory on its way to the disk or from it, which decides who may go on.

use crate::ctx::DiskOp;

/// Bytes of all torrents together. [`Stats`](crate::Stats) tells of them; it decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budgets {
    /// Of incomplete pieces.
    pub(crate) partial: u64,
    /// Handed to the disk and not written.
    pub(crate) writing: u64,
    /// Being read.
    pub(crate) reading: u64,
}

impl Budgets {
    /// A job was handed to the disk.
    pub(crate) fn begin(&mut self, about: DiskOp) {
        let (writes, reads) = weight(about);
        self.writing += writes;
        self.reading += reads;
    }

    /// A job of the disk ended, however it did.
    pub(crate) fn end(&mut self, about: DiskOp) {
        let (writes, reads) = weight(about);
        self.writing = self.writing.saturating_sub(writes);
        self.reading = self.reading.saturating_sub(reads);
    }
}

/// Bytes that are in memory for a job until it has ended: to be written, and to be read.
fn weight(about: DiskOp) -> (u64, u64) {
    match about {
        DiskOp::Store { bytes, .. } => (bytes.into(), 0),
        DiskOp::Write { len, .. } => (len.into(), 0),
        DiskOp::Read { len, .. } => (0, len.into()),
        DiskOp::Open
        | DiskOp::Verify { .. }
        | DiskOp::Select
        | DiskOp::Trim { .. }
        | DiskOp::Checkpoint
        | DiskOp::Probe
        | DiskOp::Close
        | DiskOp::Remove => (0, 0),
    }
}
