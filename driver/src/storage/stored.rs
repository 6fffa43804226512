//! Pieces as they are on the disk, to be hashed.

use std::fs::File;
use std::sync::Arc;

use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::metainfo::{FileSpan, PieceIndex};
use anabranch_hash::Message;

use super::cache::Slot;
use super::files::FileStorage;
use super::session::{Places, Session, Target};
use super::trouble::Trouble;
use super::{disk_error, out_of_range};
use crate::platform;
use crate::sync::read;

/// How far the system is asked to read ahead when a piece is verified, in bytes.
const READ_AHEAD: u64 = 4 << 20;

impl FileStorage {
    /// A piece as it is on the disk, to be hashed; parts of it go through `scratch`.
    pub(super) fn message<'a>(
        &'a self,
        session: &'a Session,
        places: &'a Places,
        piece: PieceIndex,
        scratch: &'a mut [u8],
    ) -> Result<Stored<'a, impl Iterator<Item = FileSpan> + 'a>, DiskError> {
        let spans = session
            .layout
            .piece_size(piece)
            .and_then(|size| session.layout.spans(piece, 0, size))
            .ok_or_else(|| out_of_range(piece))?;
        Ok(Stored {
            storage: self,
            session,
            places,
            spans,
            current: Current::Zeros { left: 0 },
            shown: Vec::new(),
            looks: !read(&self.foreign).is_empty(),
            scratch,
        })
    }
}

/// A piece of a torrent as it is on the disk.
pub(super) struct Stored<'a, I> {
    storage: &'a FileStorage,
    session: &'a Session,
    places: &'a Places,
    spans: I,
    current: Current,
    /// Foreign files that have bytes other than zeros in it.
    pub(super) shown: Vec<u32>,
    /// Whether there are foreign files.
    looks: bool,
    scratch: &'a mut [u8],
}

/// What is left of the span that is being read.
pub(super) enum Current {
    Zeros {
        left: usize,
    },
    File {
        file: Arc<File>,
        target: Target,
        left: usize,
    },
}

/// Why a piece has no hash.
pub(super) enum Unhashed {
    /// Some of it is not there.
    Missing,
    Failed(DiskError),
}

impl<I> Stored<'_, I> {
    fn begin(&self, span: &FileSpan) -> Result<Current, Unhashed> {
        let left = (span.range.end - span.range.start) as usize;
        let Some(target) = self.session.target(self.places, span) else {
            return Ok(Current::Zeros { left });
        };
        let opened = self
            .storage
            .file(self.session, self.places, target.slot, false);
        let (file, _) = opened.map_err(|error| match error.kind {
            DiskErrorKind::NotFound => Unhashed::Missing,
            DiskErrorKind::NoSpace
            | DiskErrorKind::Permission
            | DiskErrorKind::ReadOnly
            | DiskErrorKind::TooManyFiles
            | DiskErrorKind::UnsafePath
            | DiskErrorKind::Foreign
            | DiskErrorKind::InUse
            | DiskErrorKind::Io
            | DiskErrorKind::Truncated
            | _ => Unhashed::Failed(error),
        })?;
        // The descriptor also serves uploads, so it is not marked as read sequentially.
        platform::will_need(&file, target.offset, (left as u64).min(READ_AHEAD));
        Ok(Current::File { file, target, left })
    }
}

impl<I: Iterator<Item = FileSpan>> Message for Stored<'_, I> {
    type Error = Unhashed;

    fn next(&mut self) -> Result<&[u8], Unhashed> {
        let room = self.scratch.len();
        loop {
            match &mut self.current {
                Current::Zeros { left: 0 } | Current::File { left: 0, .. } => {
                    let Some(span) = self.spans.next() else {
                        return Ok(&[]);
                    };
                    self.current = self.begin(&span)?;
                }
                Current::Zeros { left } => {
                    let part = &mut self.scratch[..(*left).min(room)];
                    *left -= part.len();
                    part.fill(0);
                    return Ok(part);
                }
                Current::File { file, target, left } => {
                    let part = &mut self.scratch[..(*left).min(room)];
                    let read = platform::read_at(file, part, target.offset).map_err(|error| {
                        let trouble = Trouble::Read(target.slot, target.offset);
                        self.storage.note(trouble);
                        let path = self.storage.slot_path(&self.session.metainfo, target.slot);
                        Unhashed::Failed(disk_error(&path, &error))
                    })?;
                    if read < part.len() {
                        return Err(Unhashed::Missing);
                    }
                    if let Slot::File(file) = target.slot
                        && self.looks
                        && self.shown.last() != Some(&file)
                        && part.iter().any(|byte| *byte != 0)
                    {
                        self.shown.push(file);
                    }
                    target.offset += part.len() as u64;
                    *left -= part.len();
                    return Ok(part);
                }
            }
        }
    }
}

/// Whether a piece has the hash that it should have. What is not there has not.
pub(super) fn matches(
    found: Result<[u8; 20], Unhashed>,
    expected: &[u8; 20],
) -> Result<bool, DiskError> {
    match found {
        Ok(found) => Ok(found == *expected),
        Err(Unhashed::Missing) => Ok(false),
        Err(Unhashed::Failed(error)) => Err(error),
    }
}
