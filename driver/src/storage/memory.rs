//! A torrent in memory.

use std::sync::Mutex;

use anabranch_core::Bitfield;
use anabranch_core::action::OpenStorage;
use anabranch_core::event::{DiskError, DiskErrorKind, Opened, PartialPiece};
use anabranch_core::metainfo::{Layout, PieceIndex};
use anabranch_hash::Sha1;
use bytes::Bytes;

use super::{Storage, not_open, out_of_range};
use crate::sync::lock;

const NAME: &str = "memory";

/// Keeps a torrent in memory: for tests, and as an example of a storage of one's own.
///
/// Space is taken piece by piece as data arrive. What a checkpoint recorded is trusted by the next
/// `open` of the same value, and whatever else is there is verified; a value that is dropped takes
/// everything with it. Nothing here can fail but for a caller that asks for what is not there.
///
/// [`Client::add_with`](crate::Client::add_with) downloads into it, or into any other [`Storage`]. What
/// the engine asks of one, step by step:
///
/// ```
/// use std::sync::Arc;
///
/// use anabranch_driver::engine::Bitfield;
/// use anabranch_driver::engine::action::{OpenStorage, Segment};
/// use anabranch_driver::engine::id::StorageKey;
/// use anabranch_driver::engine::metainfo::{Creator, Metainfo, PieceIndex};
/// use anabranch_driver::storage::{MemoryStorage, Storage, Verdict, store};
/// use anabranch_hash::Sha1;
///
/// // A torrent of one file and one piece.
/// let data = b"downstream";
/// let digest = Sha1::digest(data);
/// let torrent = Creator::single_file("file", data.len() as u64).finish(&digest)?.torrent;
/// let open = OpenStorage {
///     key: StorageKey(1),
///     metainfo: Arc::new(Metainfo::parse(torrent)?),
///     wanted: vec![true],
///     recheck: false,
///     overwrite: false,
///     fetched: false,
/// };
/// let piece = PieceIndex::new(0);
///
/// // Nothing is there at first, and what is not there matches no digest.
/// let storage = MemoryStorage::new();
/// assert_eq!(storage.open(&open)?.trusted, Bitfield::new(1));
/// assert!(!storage.verify(piece, &digest)?);
///
/// // A piece is stored only if it is right.
/// let wrong = [Segment::Memory(b"upstream..".as_slice().into())];
/// let verdict = store(&storage, piece, &digest, &wrong, false)?;
/// assert!(matches!(verdict, Verdict::Mismatched { .. }));
/// let right = [Segment::Memory(data.as_slice().into())];
/// let verdict = store(&storage, piece, &digest, &right, false)?;
/// assert_eq!(verdict, Verdict::Matched { blocks: None });
/// let mut stream = [0; 6];
/// storage.read(piece, 4, &mut stream)?;
/// assert_eq!(&stream, b"stream");
///
/// // What a checkpoint vouched for is trusted when the storage is opened again.
/// storage.checkpoint(&Bitfield::full(1), 0, 10)?;
/// storage.close()?;
/// assert_eq!(storage.open(&open)?.trusted, Bitfield::full(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    layout: Option<Layout>,
    pieces: Vec<Option<Box<[u8]>>>,
    recorded: Opened,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    /// The size of a piece, if `len` bytes from `begin` on are within it.
    fn check(&self, piece: PieceIndex, begin: usize, len: usize) -> Result<usize, DiskError> {
        let layout = self.layout.as_ref().ok_or_else(|| not_open(NAME.into()))?;
        layout
            .piece_size(piece)
            .map(|size| size as usize)
            .filter(|size| begin.checked_add(len).is_some_and(|end| end <= *size))
            .ok_or_else(|| out_of_range(piece))
    }
}

impl Storage for MemoryStorage {
    fn open(&self, open: &OpenStorage) -> Result<Opened, DiskError> {
        let mut state = lock(&self.state);
        let layout = Layout::new(&open.metainfo);
        let pieces = layout.piece_count();
        state.layout = Some(layout);
        state.pieces.resize(pieces as usize, None);
        let mut opened = state.recorded.clone();
        if opened.trusted.len() != pieces {
            opened = Opened {
                trusted: Bitfield::new(pieces),
                doubtful: Bitfield::new(pieces),
                ..Opened::default()
            };
        }
        if open.recheck {
            opened.partial.clear();
        }
        for piece in 0..pieces {
            let there = state.pieces[piece as usize].is_some();
            if there && (open.recheck || !opened.trusted.contains(piece)) {
                opened.trusted.remove(piece);
                opened.doubtful.insert(piece);
            }
        }
        Ok(opened)
    }

    fn verify(&self, piece: PieceIndex, digest: &[u8; 20]) -> Result<bool, DiskError> {
        let state = lock(&self.state);
        state.check(piece, 0, 0)?;
        let data = state.pieces.get(piece.as_usize()).and_then(Option::as_ref);
        Ok(data.is_some_and(|data| Sha1::digest(data)[..] == digest[..]))
    }

    fn write(&self, piece: PieceIndex, begin: u32, data: &[Bytes]) -> Result<(), DiskError> {
        let mut state = lock(&self.state);
        let mut at = begin as usize;
        for bytes in data {
            let size = state.check(piece, at, bytes.len())?;
            let slot = state.pieces.get_mut(piece.as_usize());
            let slot = slot.ok_or_else(|| out_of_range(piece))?;
            let whole = slot.get_or_insert_with(|| vec![0; size].into());
            whole[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
        Ok(())
    }

    fn read(&self, piece: PieceIndex, begin: u32, buf: &mut [u8]) -> Result<(), DiskError> {
        let state = lock(&self.state);
        let begin = begin as usize;
        state.check(piece, begin, buf.len())?;
        let data = state.pieces.get(piece.as_usize()).and_then(Option::as_ref);
        let data = data.ok_or_else(|| DiskError {
            kind: DiskErrorKind::NotFound,
            file: NAME.to_owned(),
            message: format!("piece {} is not there", piece.get()),
        })?;
        buf.copy_from_slice(&data[begin..begin + buf.len()]);
        Ok(())
    }

    fn select(&self, _wanted: &[bool]) -> Result<(), DiskError> {
        Ok(())
    }

    fn note_partial(&self, partial: Vec<PartialPiece>) {
        lock(&self.state).recorded.partial = partial;
    }

    fn checkpoint(&self, have: &Bitfield, uploaded: u64, downloaded: u64) -> Result<(), DiskError> {
        let mut state = lock(&self.state);
        state.recorded = Opened {
            trusted: have.clone(),
            doubtful: Bitfield::new(have.len()),
            partial: std::mem::take(&mut state.recorded.partial),
            uploaded,
            downloaded,
            ..Opened::default()
        };
        Ok(())
    }

    fn probe(&self, _space: u64) -> Result<(), DiskError> {
        Ok(())
    }

    fn close(&self) -> Result<(), DiskError> {
        lock(&self.state).layout = None;
        Ok(())
    }

    fn remove(&self, data: bool) -> Result<(), DiskError> {
        let mut state = lock(&self.state);
        state.layout = None;
        state.recorded = Opened::default();
        if data {
            state.pieces = Vec::new();
        }
        Ok(())
    }
}
