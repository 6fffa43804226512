//! Where the data of torrents lives: the [`Storage`] trait, open to embedders, and what comes with it.
//!
//! [`FileStorage`] keeps torrents in files; [`MemoryStorage`] keeps one in memory and shows how little
//! a storage of one's own must do. [`perform`] carries a [`DiskJob`] out on any of them; the
//! [`Pool`](crate::pool::Pool) does so on worker threads.

mod aside;
mod cache;
mod checkpoint;
mod files;
mod folder;
mod foreign;
mod hash;
mod keep;
mod locate;
mod lock;
mod make;
mod memory;
mod name;
mod remove;
mod resume;
mod scan;
mod session;
mod stored;
mod survey;
mod trouble;

use std::io;
use std::path::Path;

use anabranch_core::Bitfield;
use anabranch_core::action::{DiskJob, OpenStorage, Segment};
use anabranch_core::event::{DiskDone, DiskError, DiskErrorKind, Opened, PartialPiece};
use anabranch_core::limits::READ_LEN;
use anabranch_core::metainfo::{FileIndex, InfoHash, PieceIndex};
use bytes::Bytes;

pub use self::cache::OpenFiles;
pub use self::files::{FileOptions, FileStorage, Preallocation};
pub use self::hash::store;
pub(crate) use self::hash::{check, check_two, write_memory};
pub use self::keep::KeepWarning;
pub use self::locate::{Links, find_files, system_names};
pub use self::memory::MemoryStorage;
pub use self::name::{FileName, FileNameError};
use crate::buffers::BufferPool;
use crate::platform;

/// The data of one torrent: whatever an embedder can read and write by piece and offset.
///
/// [`MemoryStorage`] is a complete example. Hashing pieces on their way into it is none of its concern:
/// [`store`] and the [`Pool`](crate::pool::Pool) do that, and hand over what is right.
///
/// Errors need not be final: the torrent stops with what they say, `probe` is called now and then, and
/// once that succeeds the torrent goes on, after another `open` unless the error was a lack of space.
///
/// All methods may block, and are called on threads where that does no harm: several at once for one
/// storage, in any order. Only `close` and `remove` come alone and last, and the pool also lets `open`,
/// `select` and `trim` run alone. Before the first `open` nothing else is called.
pub trait Storage: Send + Sync {
    /// Finds what is there and creates what must be. Also called again: after a failure, and for a
    /// recheck.
    ///
    /// # Errors
    ///
    /// Whatever keeps the storage from being used.
    fn open(&self, open: &OpenStorage) -> Result<Opened, DiskError>;

    /// The .torrent file of a torrent whose metadata was fetched from peers in an earlier run
    /// ([`OpenStorage::fetched`]), if it was kept. Asked before a magnet link is added; nothing is kept by
    /// what is provided. May block.
    fn saved_metainfo(&self, info_hash: InfoHash) -> Option<Bytes> {
        let _ = info_hash;
        None
    }

    /// Whether what is stored of a piece has this SHA-1. Data that is not there does not match.
    ///
    /// # Errors
    ///
    /// Only when what is there cannot be read.
    fn verify(&self, piece: PieceIndex, digest: &[u8; 20]) -> Result<bool, DiskError>;

    /// Two pieces verified: what [`verify`](Self::verify) says of each. Worth writing for a storage whose
    /// pieces can be hashed side by side, as [`anabranch_hash`] does.
    fn verify_two(&self, pieces: [(PieceIndex, &[u8; 20]); 2]) -> [Result<bool, DiskError>; 2] {
        pieces.map(|(piece, digest)| self.verify(piece, digest))
    }

    /// Writes a piece whose hash was right, or a part of one that is not vouched for. The
    /// [`Pool`](crate::pool::Pool) lets no two writes to one storage run at once.
    ///
    /// # Errors
    ///
    /// When not all of it could be written.
    fn write(&self, piece: PieceIndex, begin: u32, data: &[Bytes]) -> Result<(), DiskError>;

    /// Fills `buf` with the bytes of a piece from `begin` on.
    ///
    /// # Errors
    ///
    /// When not all of them are there.
    fn read(&self, piece: PieceIndex, begin: u32, buf: &mut [u8]) -> Result<(), DiskError>;

    /// From now on these files are wanted, one entry a file, and no others.
    ///
    /// # Errors
    ///
    /// When a file that is newly wanted cannot be created or filled with what was kept aside.
    fn select(&self, wanted: &[bool]) -> Result<(), DiskError>;

    /// All pieces of a file that [`open`](Self::open) found [longer](Opened::longer) than it should be have
    /// been verified: cuts it, and says whether it did. A storage that only reads leaves it.
    ///
    /// # Errors
    ///
    /// When it could not be cut. That is told, and does no other harm.
    fn trim(&self, file: FileIndex) -> Result<bool, DiskError> {
        let _ = file;
        Ok(false)
    }

    /// What was written of incomplete pieces, for the next [`checkpoint`](Self::checkpoint) to record, so that
    /// a later [`open`](Self::open) finds it ([`Opened::partial`]). Called right before it. Nothing is
    /// recorded by what is provided.
    fn note_partial(&self, partial: Vec<PartialPiece>) {
        let _ = partial;
    }

    /// Makes durable what was stored, then records it so that a later [`open`](Self::open) trusts it.
    ///
    /// # Errors
    ///
    /// When either fails; what was recorded before still stands.
    fn checkpoint(&self, have: &Bitfield, uploaded: u64, downloaded: u64) -> Result<(), DiskError>;

    /// After a failure: whether what failed would go well now, with room for `space` bytes where it was
    /// about writing. Nothing else is asked for: who only reads may have no right to write.
    ///
    /// # Errors
    ///
    /// What is still wrong.
    fn probe(&self, space: u64) -> Result<(), DiskError>;

    /// Lets go of files and memory.
    ///
    /// # Errors
    ///
    /// When something that was written got lost. The storage is closed all the same.
    fn close(&self) -> Result<(), DiskError>;

    /// As [`close`](Self::close), and forgets what was recorded; with `data` also deletes what was
    /// stored.
    ///
    /// # Errors
    ///
    /// When something that is there could not be deleted. The storage is closed all the same.
    fn remove(&self, data: bool) -> Result<(), DiskError>;
}

/// A piece that is to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving<'a> {
    pub(crate) piece: PieceIndex,
    /// The SHA-1 that it must have.
    pub(crate) digest: &'a [u8; 20],
    /// All of it, in order.
    pub(crate) data: &'a [Segment],
}

/// What became of a piece that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Matched {
        /// The SHA-1 of each of its blocks, where that was asked for.
        blocks: Option<Vec<[u8; 20]>>,
    },
    /// It is wrong; nothing of it was written.
    Mismatched {
        /// The SHA-1 of each of its blocks.
        blocks: Vec<[u8; 20]>,
    },
}

/// Carries a job out. Blocks until it is done.
///
/// # Errors
///
/// What the storage says.
pub fn perform(
    storage: &dyn Storage,
    job: DiskJob,
    buffers: &BufferPool,
) -> Result<DiskDone, DiskError> {
    Ok(match job {
        DiskJob::Open(open) => DiskDone::Opened(Box::new(storage.open(&open)?)),
        DiskJob::Verify { piece, digest } => DiskDone::Verified {
            matches: storage.verify(piece, &digest)?,
        },
        DiskJob::Store {
            piece,
            digest,
            data,
            blocks,
        } => stored(store(storage, piece, &digest, &data, blocks)?),
        DiskJob::Write { piece, begin, data } => {
            storage.write(piece, begin, &data)?;
            DiskDone::Written
        }
        DiskJob::Read { piece, begin, len } => {
            if len > READ_LEN {
                return Err(out_of_range(piece));
            }
            let len = len as usize;
            let mut buf = buffers.take(len);
            storage.read(piece, begin, &mut buf.as_mut()[..len])?;
            DiskDone::Read {
                data: buf.freeze(len),
            }
        }
        DiskJob::Select { wanted } => {
            storage.select(&wanted)?;
            DiskDone::Selected
        }
        DiskJob::Trim { file } => DiskDone::Trimmed {
            cut: storage.trim(file)?,
        },
        DiskJob::Checkpoint {
            have,
            partial,
            uploaded,
            downloaded,
        } => {
            storage.note_partial(partial);
            storage.checkpoint(&have, uploaded, downloaded)?;
            DiskDone::Checkpointed
        }
        DiskJob::Probe { space } => {
            storage.probe(space)?;
            DiskDone::Usable
        }
        DiskJob::Close => {
            storage.close()?;
            DiskDone::Closed
        }
        DiskJob::Remove { data } => {
            storage.remove(data)?;
            DiskDone::Closed
        }
    })
}

pub(crate) fn stored(verdict: Verdict) -> DiskDone {
    match verdict {
        Verdict::Matched { blocks } => DiskDone::Stored { blocks },
        Verdict::Mismatched { blocks } => DiskDone::Mismatched { blocks },
    }
}

/// How many bytes the user may still write where a folder is.
///
/// # Errors
///
/// Whatever the system says; always, where it cannot be asked.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    platform::free_space(folder)
}

/// What the core is told when the operating system refused something about this file.
#[must_use]
pub fn disk_error(file: &Path, error: &io::Error) -> DiskError {
    DiskError {
        kind: platform::error_kind(error),
        file: file.display().to_string(),
        message: error.to_string(),
    }
}

/// A job for a part of a torrent that does not exist.
fn out_of_range(piece: PieceIndex) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        file: format!("piece {}", piece.get()),
        message: "not within the torrent".to_owned(),
    }
}

/// A job for a storage that is not open.
fn not_open(name: String) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        file: name,
        message: "the storage is not open".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(unix)]
mod tests;
