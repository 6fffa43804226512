//! What is known of a torrent's files from one `open` to the next.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use anabranch_core::event::PartialPiece;
use anabranch_core::metainfo::{FileKind, FileSpan, Layout, Metainfo};

use super::cache::Slot;
use super::checkpoint::Recorded;

/// What is known from one `open` to the next.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) layout: Layout,
    /// Read-locked by all that moves data or records where it is.
    pub(super) places: RwLock<Places>,
    /// What is written to that was not synced. A file is added after each write and before the job is
    /// answered, so that a checkpoint finds all files of all pieces that it vouches for.
    pub(super) unsynced: Mutex<BTreeSet<Slot>>,
    /// Whether anything was made or written, so that a record is needed.
    pub(super) written: AtomicBool,
    /// What is there of incomplete pieces, for the next record.
    pub(super) partial: Mutex<Vec<PartialPiece>>,
    pub(super) recorded: Mutex<Recorded>,
    /// Whether the record that is there knows of files that were replaced since, and stays until a checkpoint.
    pub(super) keeps_record: bool,
}

/// Where the files' data is.
#[derive(Debug)]
pub(super) struct Places {
    /// One entry a file.
    pub(super) files: Vec<Place>,
    /// The file of what is kept aside, once it is there.
    pub(super) parts: Mutex<Option<FileId>>,
}

/// Where a file's data is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) wanted: bool,
    /// The file, if it is there; without, its data is kept aside.
    pub(super) file: Option<FileId>,
    /// Whether it is there and shorter than it must be.
    pub(super) short: bool,
    /// Whether it is there, and what was kept aside for it may not be in it.
    pub(super) unmoved: bool,
}

/// Device and inode, where there is such a thing.
pub(super) type FileId = Option<(u64, u64)>;

/// Where a span is written or read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) slot: Slot,
    pub(super) offset: u64,
}

impl Session {
    /// `None` for what is zeros and nowhere.
    pub(super) fn target(&self, places: &Places, span: &FileSpan) -> Option<Target> {
        match span.kind {
            FileKind::Data => {}
            FileKind::Pad | FileKind::Symlink => return None,
        }
        let index = span.file.get();
        let in_file = places.files.get(index as usize)?.file.is_some();
        if in_file {
            Some(Target {
                slot: Slot::File(index),
                offset: span.offset,
            })
        } else {
            self.aside(span)
        }
    }

    /// What is kept aside lies where it is in the torrent: no index is needed, and none can be wrong. The
    /// file is as sparse as the pieces are few.
    pub(super) fn aside(&self, span: &FileSpan) -> Option<Target> {
        match span.kind {
            FileKind::Data => {}
            FileKind::Pad | FileKind::Symlink => return None,
        }
        let range = self.layout.file_range(span.file)?;
        Some(Target {
            slot: Slot::Parts,
            offset: range.start + span.offset,
        })
    }
}
