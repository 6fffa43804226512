//! Checkpoints: data first, then the resume data that vouches for it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anabranch_core::Bitfield;
use anabranch_core::event::DiskError;
use anabranch_core::metainfo::FileKind;
use anabranch_hash::Sha1;

use super::cache::Slot;
use super::disk_error;
use super::files::FileStorage;
use super::folder::Walker;
use super::locate::Route;
use super::resume::{self, Resume, Stamp, parts_name, resume_name};
use super::session::{Places, Session};
use super::trouble::Trouble;
use crate::platform::{self, Dir};
use crate::sync::{lock, read};

/// So many files of one file system are synced together.
///
/// Fewer are synced for themselves: what other programs have to write there is not waited for.
const MANY_FILES: usize = 256;

/// What the next checkpoint says of the files.
#[derive(Debug)]
pub(super) struct Recorded {
    /// One entry a file: what it looked like when it was opened, or after it was last synced.
    ///
    /// Files that we do not write to keep the stamp from before they were verified, so that what
    /// somebody else writes to them shows.
    pub(super) files: Vec<Option<Stamp>>,
    /// The same for what is kept aside.
    pub(super) parts: Option<Stamp>,
    /// Files that were created or made longer since.
    pub(super) changed: BTreeSet<Slot>,
    /// The SHA-1 of what was last written: the same is not written again.
    pub(super) last: Option<[u8; 20]>,
    /// What was last recorded of pieces and totals, for a record between checkpoints.
    pub(super) told: Told,
}

/// The pieces that were stored, and the totals, at a checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) have: Bitfield,
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
}

impl FileStorage {
    /// Does all that `checkpoint` does.
    pub(super) fn record(&self, session: &Session, told: Told) -> Result<(), DiskError> {
        // Nothing is moved between what is kept aside and a file until this is done.
        let places = read(&session.places);
        let mut recorded = lock(&session.recorded);
        self.keep_place(session, &mut recorded)?;
        let unsynced = std::mem::take(&mut *lock(&session.unsynced));
        let synced = self.sync(session, &places, &unsynced, &mut recorded);
        if let Err(error) = synced {
            lock(&session.unsynced).extend(unsynced);
            return Err(error);
        }
        recorded.changed.clear();
        recorded.told = told;
        self.write_record(session, &places, &mut recorded)?;
        self.drop_parts(session, &places, &mut recorded);
        Ok(())
    }

    /// Records files that were made, between checkpoints. What else was written since the last one is not vouched
    /// for by that; nor must names last that have nothing behind them, unless something was moved.
    pub(super) fn record_new(
        &self,
        session: &Session,
        places: &Places,
        moved: bool,
    ) -> Result<(), DiskError> {
        let mut recorded = lock(&session.recorded);
        self.keep_place(session, &mut recorded)?;
        if moved {
            self.sync_folders(session, &recorded.changed)?;
        }
        self.write_record(session, places, &mut recorded)
    }

    /// Sees to it that the record is where this process alone writes it.
    fn keep_place(&self, session: &Session, recorded: &mut Recorded) -> Result<(), DiskError> {
        if !self.keep_lock(&session.metainfo)? {
            // Where the lock is gone the record is, too.
            recorded.last = None;
        }
        Ok(())
    }

    fn write_record(
        &self,
        session: &Session,
        places: &Places,
        recorded: &mut Recorded,
    ) -> Result<(), DiskError> {
        let info_hash = session.metainfo.info_hash();
        let state = Resume {
            have: recorded.told.have.clone(),
            partial: lock(&session.partial).clone(),
            files: self.own_stamps(&recorded.files),
            parts: recorded.parts,
            wanted: places.files.iter().map(|place| place.wanted).collect(),
            uploaded: recorded.told.uploaded,
            downloaded: recorded.told.downloaded,
        };
        let path = self.resume_path().join(resume_name(info_hash));
        let fail = |error: io::Error| disk_error(&path, &error);
        let bytes = state.encode(info_hash).map_err(fail)?;
        let digest = Sha1::digest(&bytes);
        if recorded.last != Some(digest) {
            let needed = session.written.load(Ordering::Relaxed);
            self.keep(info_hash, needed, |folder| {
                resume::save(folder, info_hash, &bytes)
            })
            .inspect_err(|_| self.note(Trouble::Record))?;
            recorded.last = Some(digest);
        }
        Ok(())
    }

    /// A file of somebody else's is not there as far as this torrent goes.
    fn own_stamps(&self, stamps: &[Option<Stamp>]) -> Vec<Option<Stamp>> {
        let foreign = read(&self.foreign);
        let own = |(file, stamp): (u32, &Option<Stamp>)| stamp.filter(|_| !foreign.contains(file));
        (0..).zip(stamps).map(own).collect()
    }

    /// Makes what was written durable, and looks at the files again.
    ///
    /// The stamps are taken after the sync. A write between the two belongs to a piece that is not
    /// vouched for yet, so it may be lost without harm, and its file is in the next checkpoint.
    fn sync(
        &self,
        session: &Session,
        places: &Places,
        unsynced: &BTreeSet<Slot>,
        recorded: &mut Recorded,
    ) -> Result<(), DiskError> {
        let together = self.sync_together(places, unsynced);
        for slot in unsynced.iter().filter(|slot| !together.contains(slot)) {
            let opened = self.file(session, places, *slot, true);
            let (file, _) = opened.inspect_err(|_| self.note(Trouble::Write(*slot)))?;
            // With its time of writing: else a loss of power would make it look changed.
            if let Err(error) = file.sync_all() {
                platform::forget_cached(&file);
                self.note(Trouble::Write(*slot));
                return Err(disk_error(
                    &self.slot_path(&session.metainfo, *slot),
                    &error,
                ));
            }
        }
        self.sync_folders(session, &recorded.changed)?;
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        for slot in unsynced.union(&recorded.changed.clone()) {
            let stamp = Some(self.stamp(session, places, *slot, &mut walker)?);
            match slot {
                Slot::File(file) => {
                    if let Some(entry) = recorded.files.get_mut(*file as usize) {
                        *entry = stamp;
                    }
                }
                Slot::Parts => recorded.parts = stamp,
            }
        }
        Ok(())
    }

    /// Where many files of one file system were written to, makes all of it durable at once: each for itself
    /// takes the disk some milliseconds, which comes to half a minute for 10,000 small ones. Returns those
    /// that are done with. Whatever does not work out is left to be synced one by one, which tells what is
    /// wrong with which.
    fn sync_together(&self, places: &Places, unsynced: &BTreeSet<Slot>) -> BTreeSet<Slot> {
        let device_of = |slot: &Slot| match slot {
            Slot::File(file) => Some(places.files.get(*file as usize)?.file??.0),
            Slot::Parts => None,
        };
        let Ok(dir) = Dir::open(&self.dir) else {
            return BTreeSet::new();
        };
        let Ok(Some((device, _))) = dir.id() else {
            return BTreeSet::new();
        };
        let here: BTreeSet<Slot> = unsynced
            .iter()
            .filter(|slot| device_of(slot) == Some(device))
            .copied()
            .collect();
        match here.len() >= MANY_FILES && dir.sync_file_system().unwrap_or(false) {
            true => here,
            false => BTreeSet::new(),
        }
    }

    /// Makes the names of new files durable.
    fn sync_folders(&self, session: &Session, changed: &BTreeSet<Slot>) -> Result<(), DiskError> {
        if changed.is_empty() {
            return Ok(());
        }
        let routes = self.routes();
        let changed = changed.iter().filter_map(|slot| match slot {
            Slot::File(file) => routes.get(&session.metainfo, *file),
            Slot::Parts => None,
        });
        let mut folders = BTreeSet::new();
        let mut elsewhere = BTreeSet::new();
        for route in changed {
            if let Route::Elsewhere(path) = &route {
                elsewhere.extend(path.parent().map(Path::to_owned));
                continue;
            }
            let mut folder = route.folders().to_vec();
            while folders.insert(folder.clone()) && folder.pop().is_some() {}
        }
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        if folders.len() >= MANY_FILES && elsewhere.is_empty() {
            let root = Dir::open(&self.dir).map_err(|error| disk_error(&self.dir, &error))?;
            if root.sync_file_system().unwrap_or(false) {
                return Ok(());
            }
        }
        for folder in folders {
            let synced = walker
                .enter(&folder, false)
                .and_then(|folder| folder.sync());
            let path = || self.dir.join(folder.iter().collect::<PathBuf>());
            synced.map_err(|error| disk_error(&path(), &error))?;
        }
        for path in elsewhere {
            let synced = walker.go_to(&path).and_then(|folder| folder.sync());
            synced.map_err(|error| disk_error(&path, &error))?;
        }
        Ok(())
    }

    /// What a file looks like at its path, where the next run will find it, if it is still the one
    /// that we work on.
    fn stamp(
        &self,
        session: &Session,
        places: &Places,
        slot: Slot,
        walker: &mut Walker,
    ) -> Result<Stamp, DiskError> {
        let fail = |error: io::Error| disk_error(&self.slot_path(&session.metainfo, slot), &error);
        let (stat, expected) = match slot {
            Slot::File(file) => {
                let route = self.routes().get(&session.metainfo, file);
                let route = route.ok_or_else(|| self.gone(session, slot))?;
                let (folder, name) = walker.parent(&route, false).map_err(fail)?;
                let place = places.files.get(file as usize);
                (
                    folder.stat(name).map_err(fail)?,
                    place.and_then(|place| place.file),
                )
            }
            Slot::Parts => {
                let folder = self.resume_folder(false).map_err(fail)?;
                let name = parts_name(session.metainfo.info_hash());
                (folder.stat(&name).map_err(fail)?, *lock(&places.parts))
            }
        };
        stat.filter(|stat| Some(stat.id) == expected)
            .map(Stamp::from)
            .ok_or_else(|| self.gone(session, slot))
    }

    /// Whether there is a foreign file that is not wanted: what pieces have of it stays aside.
    fn keeps_foreign_aside(&self, places: &Places) -> bool {
        let foreign = read(&self.foreign);
        (0..)
            .zip(&places.files)
            .any(|(file, place)| !place.wanted && foreign.contains(file))
    }

    /// Deletes what is kept aside when all files are there: it was moved, and that is recorded.
    fn drop_parts(&self, session: &Session, places: &Places, recorded: &mut Recorded) {
        let all_there = session
            .metainfo
            .files()
            .iter()
            .zip(&places.files)
            .all(|(file, place)| place.file.is_some() || file.kind() != FileKind::Data)
            && !self.keeps_foreign_aside(places);
        let mut parts = lock(&places.parts);
        if !all_there || parts.is_none() {
            return;
        }
        let name = parts_name(session.metainfo.info_hash());
        let removed = self
            .resume_folder(false)
            .and_then(|folder| resume::remove_if_there(&folder, &name));
        // Else the next checkpoint tries again; nobody needs it.
        if removed.is_ok() {
            *parts = None;
            recorded.parts = None;
            lock(&session.unsynced).remove(&Slot::Parts);
            self.options.open_files.close(self.key(Slot::Parts));
        }
    }
}
