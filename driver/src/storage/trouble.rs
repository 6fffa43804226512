//! What failed last, and whether it would fail again.
//!
//! A torrent whose disk failed is stopped until a probe goes well. A probe that tested anything else than
//! what failed would let it go on only to fail again; and one that asked for more than is needed, such as
//! writing where only reading failed, would never let it go on.

use std::io;

use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::metainfo::Metainfo;

use super::cache::Slot;
use super::disk_error;
use super::files::FileStorage;
use super::locate::Route;
use crate::platform::{self, Access, Dir};
use crate::sync::lock;

/// What the resume data of most torrents needs, in bytes.
const RESUME_SPACE: u64 = 64 << 10;

/// Bytes that are read where reading failed.
const TASTE: usize = 512;

/// What failed.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Reading a file from an offset on.
    Read(Slot, u64),
    /// Writing to a file that is there.
    Write(Slot),
    /// Making a file of the torrent, or making it longer.
    Make(Route),
    /// Keeping the record.
    Record,
    /// Somebody else works on the torrent.
    Lock,
}

impl FileStorage {
    /// Notes what failed, for the next [`probe_trouble`](Self::probe_trouble).
    pub(super) fn note(&self, trouble: Trouble) {
        *lock(&self.trouble) = Some(trouble);
    }

    /// Does all that `probe` does.
    pub(super) fn probe_trouble(
        &self,
        metainfo: Option<&Metainfo>,
        space: u64,
    ) -> Result<(), DiskError> {
        let dir = self.require_folders(metainfo)?;
        let trouble = lock(&self.trouble).clone();
        let (Some(trouble), Some(metainfo)) = (trouble, metainfo) else {
            // Nothing is known to fail: what is needed next is tried.
            if self.options.read_only {
                return Ok(());
            }
            dir.probe(space)
                .map_err(|error| disk_error(&self.dir, &error))?;
            return self.probe_record(&dir);
        };
        match trouble {
            Trouble::Read(slot, offset) => self.probe_file(metainfo, slot, Access::Read, offset),
            Trouble::Write(slot) => {
                self.probe_space(&dir, space)?;
                self.probe_file(metainfo, slot, Access::Write, 0)
            }
            Trouble::Make(route) => {
                self.probe_space(&dir, space)?;
                self.probe_make(&route)
                    .map_err(|error| disk_error(&route.path(&self.dir), &error))
            }
            Trouble::Record => self.probe_record(&dir),
            Trouble::Lock => self.take_lock(metainfo, false),
        }
    }

    fn probe_space(&self, dir: &Dir, space: u64) -> Result<(), DiskError> {
        dir.probe_space(space)
            .map_err(|error| disk_error(&self.dir, &error))
    }

    /// A file that is not there any more is no reason to wait: opening finds that out.
    fn probe_file(
        &self,
        metainfo: &Metainfo,
        slot: Slot,
        access: Access,
        offset: u64,
    ) -> Result<(), DiskError> {
        let tried = self.open_slot(metainfo, slot, access).and_then(|file| {
            // A short file reads as nothing.
            platform::read_at(&file, &mut [0; TASTE], offset).map(drop)
        });
        match tried {
            Err(error) if platform::error_kind(&error) == DiskErrorKind::NotFound => Ok(()),
            tried => tried.map_err(|error| disk_error(&self.slot_path(metainfo, slot), &error)),
        }
    }

    /// The file, or the innermost folder that is there of those that lead to it.
    fn probe_make(&self, route: &Route) -> io::Result<()> {
        let mut walker = self.walker()?;
        match walker.parent(route, false) {
            Ok((folder, name)) => match folder.stat(name)? {
                Some(_) => folder.open_file(name, Access::Write).map(drop),
                None => folder.probe(1),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut folders = route.folders().to_vec();
                loop {
                    match walker.enter(&folders, false) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        folder => return folder?.probe(1),
                    }
                    if folders.pop().is_none() {
                        return Err(error);
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether either folder takes a record.
    fn probe_record(&self, dir: &Dir) -> Result<(), DiskError> {
        let beside = match self.resume_folder(false) {
            // It is made in there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.options.resume_dir {
                    Some(_) => Ok(()),
                    None => dir.probe(RESUME_SPACE),
                }
            }
            folder => folder.and_then(|folder| folder.probe(RESUME_SPACE)),
        };
        let Err(error) = beside else {
            return Ok(());
        };
        let spare = self
            .spare_folder(true)
            .and_then(|folder| folder.probe(RESUME_SPACE));
        spare.map_err(|_| disk_error(&self.resume_path(), &error))
    }
}
