//! Making the files that are wanted: created, as long as they must be, with what was kept aside for them.
//!
//! All that can keep a file from being made is looked at before the first one is made. What was made is
//! recorded before anything but zeros and copies of what is kept aside is in it: after a crash, nobody would
//! know whose it is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anabranch_core::event::DiskError;
use anabranch_core::metainfo::FileIndex;

use super::aside::move_kept;
use super::cache::Slot;
use super::disk_error;
use super::files::{FileStorage, Preallocation};
use super::folder::Walker;
use super::locate::Routes;
use super::resume::Stamp;
use super::session::{FileId, Place, Places, Session};
use super::trouble::Trouble;
use crate::platform::{self, Access};
use crate::sync::{lock, write};

impl FileStorage {
    /// Makes what is wanted and not there, or not as it must be.
    pub(super) fn make_wanted(
        &self,
        session: &Session,
        places: &mut Places,
    ) -> Result<(), DiskError> {
        let mut routes = Routes::clone(&self.routes());
        let due = self.due(session, places, &routes);
        if due.is_empty() {
            return Ok(());
        }
        self.require_folders(Some(&session.metainfo))?;
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        let mut making = Making {
            used: places
                .files
                .iter()
                .filter_map(|place| place.file?)
                .collect(),
            there: (0..)
                .zip(&places.files)
                .filter(|(_, place)| place.file.is_some())
                .map(|(file, _)| file)
                .collect(),
        };
        for file in &due {
            // One that has appeared meanwhile is nothing that we vouch for.
            self.find_room(&mut walker, session, &routes, places, *file, &making)
                .map_err(|error| self.cannot_make(session, &routes, *file, &error))?;
        }
        let has_kept = lock(&places.parts).is_some();
        let kept = match has_kept {
            true => Some(self.file(session, places, Slot::Parts, false)?.0),
            false => None,
        };
        let mut moved = Vec::new();
        for file in due {
            let made = self.make_file(&mut walker, session, &mut routes, places, file, &mut making);
            let range = range_of(session, file);
            let place = places.files[file as usize];
            let finished = made.and_then(|made| {
                if let Some(parts) = &kept
                    && (place.file.is_none() || place.unmoved)
                    && move_kept(parts, &made, range.clone())?
                {
                    lock(&session.unsynced).insert(Slot::File(file));
                    moved.push(range);
                }
                platform::stat(&made)
            });
            let stat =
                finished.map_err(|error| self.cannot_make(session, &routes, file, &error))?;
            places.files[file as usize] = Place {
                wanted: true,
                file: Some(stat.id),
                short: false,
                unmoved: false,
            };
            let mut recorded = lock(&session.recorded);
            recorded.files[file as usize] = Some(Stamp::from(stat));
            recorded.changed.insert(Slot::File(file));
        }
        *write(&self.routes) = Arc::new(routes);
        self.had_folder.store(true, Ordering::Relaxed);
        session.written.store(true, Ordering::Relaxed);
        self.record_made(session, places, moved);
        Ok(())
    }

    /// Files to be made, and first of all those with names that a file system may refuse: so long as nothing was
    /// made, the others can have other names as well.
    fn due(&self, session: &Session, places: &Places, routes: &Routes) -> Vec<u32> {
        if self.options.read_only {
            return Vec::new();
        }
        let due = (0..).zip(&places.files).filter(|(file, place)| {
            place.wanted
                && (place.file.is_none() || place.short || place.unmoved)
                && routes.get(&session.metainfo, *file).is_some()
                && !self.is_foreign(*file)
        });
        let mut due: Vec<u32> = due.map(|(file, _)| file).collect();
        if !due.is_empty() {
            let odd = routes.not_portable(&session.metainfo);
            due.sort_by_key(|file| !odd.contains(file));
        }
        due
    }

    fn find_room(
        &self,
        walker: &mut Walker,
        session: &Session,
        routes: &Routes,
        places: &Places,
        file: u32,
        making: &Making,
    ) -> io::Result<()> {
        if places.files[file as usize].file.is_some() {
            return Ok(());
        }
        let route = routes
            .get(&session.metainfo, file)
            .ok_or(io::ErrorKind::NotFound)?;
        let there = match walker.parent(&route, false) {
            Ok((folder, name)) => folder.stat(name),
            Err(error) => Err(error),
        };
        match there {
            Ok(Some(stat)) if !making.is_twin(session, routes, file, stat.id) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Ok(_) => Ok(()),
            // Some file systems cannot even look for such a name.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound || platform::is_name_refused(&error) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a file, or makes an existing one as long as it should be. Where the file system does not take
    /// its name, it gets one that all take, and so do all others if none is there yet.
    fn make_file(
        &self,
        walker: &mut Walker,
        session: &Session,
        routes: &mut Routes,
        places: &Places,
        file: u32,
        making: &mut Making,
    ) -> io::Result<File> {
        let metainfo = &session.metainfo;
        let access = match places.files[file as usize].file {
            Some(_) => Access::Write,
            None => Access::CreateNew,
        };
        let mut open = |routes: &Routes| {
            let route = routes.get(metainfo, file).ok_or(io::ErrorKind::NotFound)?;
            let (folder, name) = walker.parent(&route, access == Access::CreateNew)?;
            folder.open_file(name, access)
        };
        let opened = match open(routes) {
            Err(error) if access == Access::CreateNew && may_be_refused(&error) => {
                let mut others = routes.clone();
                let differs = others.make_portable(metainfo, file);
                if differs && making.there.is_empty() {
                    others.make_all_portable(metainfo);
                }
                match differs.then(|| open(&others)) {
                    Some(Ok(opened)) => {
                        *routes = others;
                        opened
                    }
                    // It was not for the name.
                    Some(Err(_)) | None => return Err(error),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Another file of the torrent: their names are one name here.
                let route = routes.get(metainfo, file);
                let id = route.and_then(|route| {
                    let (folder, name) = walker.parent(&route, false).ok()?;
                    folder.stat(name).ok()??.id
                });
                if !making.is_twin(session, routes, file, id)
                    || !routes.make_portable(metainfo, file)
                {
                    return Err(error);
                }
                let route = routes.get(metainfo, file).ok_or(io::ErrorKind::NotFound)?;
                let (folder, name) = walker.parent(&route, true)?;
                folder.open_file(name, access)?
            }
            opened => opened?,
        };
        let range = range_of(session, file);
        let len = range.end - range.start;
        let stat = platform::stat(&opened)?;
        if stat.size < len {
            match self.options.preallocation {
                Preallocation::Sparse => opened.set_len(len)?,
                Preallocation::Full => platform::allocate(&opened, len)?,
            }
        }
        making.used.extend(stat.id);
        making.there.insert(file);
        Ok(opened)
    }

    /// Records the files that were made, and lets go of what was moved into them: what comes to an end before
    /// that finds it twice, and moves it again. What cannot be recorded is told by the next checkpoint.
    fn record_made(&self, session: &Session, places: &Places, moved: Vec<Range<u64>>) {
        if session.keeps_record {
            return;
        }
        if self.record_new(session, places, !moved.is_empty()).is_err() {
            *lock(&self.trouble) = None;
            return;
        }
        if moved.is_empty() || lock(&places.parts).is_none() {
            return;
        }
        if let Ok((parts, _)) = self.file(session, places, Slot::Parts, true) {
            for range in moved {
                platform::discard(&parts, range);
            }
            // A change of ours must not look like one of somebody else's.
            if let Ok(stat) = platform::stat(&parts) {
                lock(&session.recorded).parts = Some(Stamp::from(stat));
            }
            lock(&session.unsynced).insert(Slot::Parts);
            if self.record_new(session, places, false).is_err() {
                *lock(&self.trouble) = None;
            }
        }
    }

    /// Notes that a file could not be made, or made longer.
    fn cannot_make(
        &self,
        session: &Session,
        routes: &Routes,
        file: u32,
        error: &io::Error,
    ) -> DiskError {
        match routes.get(&session.metainfo, file) {
            Some(route) => {
                let path = route.path(&self.dir);
                self.note(Trouble::Make(route));
                disk_error(&path, error)
            }
            None => disk_error(&self.dir, error),
        }
    }
}

/// What is there while files are made.
struct Making {
    /// What files of the torrent are, by whatever name.
    used: BTreeSet<(u64, u64)>,
    /// Files of the torrent.
    there: BTreeSet<u32>,
}

impl Making {
    /// Whether what has the name of this file is another file of the torrent. Not all file systems without case
    /// have one number for a file.
    fn is_twin(&self, session: &Session, routes: &Routes, file: u32, id: FileId) -> bool {
        id.is_some_and(|id| self.used.contains(&id))
            || routes
                .same_but_for_case(&session.metainfo, file)
                .iter()
                .any(|twin| self.there.contains(twin))
    }
}

/// Whether it may be the name that a file system does not take. Some say that there is no such file, or that it
/// is not allowed.
fn may_be_refused(error: &io::Error) -> bool {
    platform::is_name_refused(error)
        || matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
}

fn range_of(session: &Session, file: u32) -> Range<u64> {
    let range = session.layout.file_range(FileIndex::new(file));
    range.unwrap_or_default()
}
