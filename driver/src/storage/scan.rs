//! Opening a torrent's files: what is there, what of it can be trusted, and what must be made.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use anabranch_core::Bitfield;
use anabranch_core::action::OpenStorage;
use anabranch_core::event::{DiskError, DiskErrorKind, ForeignFile, Opened};
use anabranch_core::metainfo::{FileIndex, Layout, Metainfo};

use super::aside::move_kept;
use super::cache::Slot;
use super::checkpoint::Recorded;
use super::disk_error;
use super::files::{FileStorage, Preallocation, RESUME_FOLDER};
use super::folder::Walker;
use super::locate::{Route, Routes};
use super::resume::{Resume, Stamp};
use super::session::{Place, Places, Session};
use super::trouble::Trouble;
use crate::platform::{self, Access, Dir};
use crate::sync::{lock, read, write};

impl FileStorage {
    /// Does all that `open` does.
    pub(super) fn scan(&self, open: &OpenStorage) -> Result<(Session, Opened), DiskError> {
        let metainfo = &open.metainfo;
        self.prepare_folders(metainfo)?;
        self.take_lock(metainfo)?;
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        let resume = self.load_record(metainfo);
        let layout = Layout::new(metainfo);
        let mut routes = Routes::find(&mut walker, &self.dir, metainfo, self.options.links);
        let mut survey = self.survey(&mut walker, metainfo, &routes, &open.wanted)?;
        if let Some(resume) = &resume {
            survey.forget_unused(&open.wanted, resume);
        }
        let foreign = match open.overwrite {
            true => BTreeSet::new(),
            false => survey.foreign(&mut walker, metainfo, &routes, &layout, resume.as_ref()),
        };

        // All of this before anything is changed, which would show as a change.
        let mut trusted = Bitfield::new(layout.piece_count());
        let mut known = trusted.clone();
        let mut partial = Vec::new();
        if let Some(resume) = resume.as_ref().filter(|_| !open.recheck) {
            let unchanged = survey.unchanged(resume, &layout);
            for piece in resume
                .have
                .iter()
                .filter(|piece| unchanged.contains(*piece))
            {
                trusted.insert(piece);
            }
            partial = survey.partial(resume, &layout);
            for map in &partial {
                // It is not complete, so there is nothing to verify.
                if unchanged.contains(map.piece.get()) {
                    known.insert(map.piece.get());
                }
            }
        }
        for piece in trusted.iter() {
            known.insert(piece);
        }
        let doubtful = survey
            .doubtful(
                &mut walker,
                metainfo,
                &routes,
                &layout,
                &known,
                &open.wanted,
            )
            .map_err(|(route, error)| disk_error(&route.path(&self.dir), &error))?;

        let mut places = Places {
            files: survey
                .files
                .iter()
                .map(|stat| Place {
                    wanted: false,
                    file: stat.as_ref().map(|stat| stat.id),
                })
                .collect(),
            parts: Mutex::new(survey.parts.as_ref().map(|(_, stat)| stat.id)),
        };
        let mut recorded = Recorded {
            files: survey
                .files
                .iter()
                .map(|stat| stat.map(Stamp::from))
                .collect(),
            parts: survey.parts.as_ref().map(|(_, stat)| Stamp::from(*stat)),
            changed: BTreeSet::new(),
            last: None,
        };
        let mut unsynced = BTreeSet::new();
        let mut used: BTreeSet<_> = survey.files.iter().filter_map(|stat| (*stat)?.id).collect();
        for file in 0..metainfo.files().len() as u32 {
            let index = file as usize;
            if !is_wanted(&open.wanted, index) || routes.get(metainfo, file).is_none() {
                continue;
            }
            places.files[index].wanted = true;
            if self.options.read_only || foreign.contains(&file) {
                continue;
            }
            let range = layout.file_range(FileIndex::new(file)).unwrap_or_default();
            let (there, parts) = (survey.files[index], &survey.parts);
            let short = there.is_none_or(|stat| stat.size < range.end - range.start);
            // Moving may have been interrupted after the file was created.
            let unmoved = parts.is_some()
                && resume
                    .as_ref()
                    .is_some_and(|resume| resume.files[index].is_none());
            if self.options.read_only || (!short && !unmoved) {
                continue;
            }
            let mut make = |routes: &mut Routes| {
                let range = range.clone();
                self.make_file(&mut walker, routes, metainfo, file, Access::Create, range)
            };
            let mut made = make(&mut routes);
            // One that was not there is another file of the torrent: their names are one name here.
            let is_used = |made: &File| {
                there.is_none()
                    && platform::stat(made)
                        .is_ok_and(|stat| stat.id.is_some_and(|id| used.contains(&id)))
            };
            if made.as_ref().is_ok_and(is_used) && routes.make_portable(metainfo, file) {
                made = make(&mut routes);
            }
            let moved = made.and_then(|made| {
                let moved = match parts {
                    Some((parts, _)) if there.is_none() || unmoved => {
                        move_kept(parts, &made, range)?
                    }
                    Some(_) | None => false,
                };
                Ok((platform::stat(&made)?.id, moved))
            });
            let (id, moved) = moved.map_err(|error| {
                self.note_make(&routes, metainfo, file);
                self.route_error(&routes, metainfo, file, &error)
            })?;
            used.extend(id);
            places.files[index].file = Some(id);
            recorded.changed.insert(Slot::File(file));
            if moved {
                unsynced.extend([Slot::File(file), Slot::Parts]);
            }
        }

        self.had_dir.store(true, Ordering::Relaxed);
        if places.files.iter().any(|place| place.file.is_some()) {
            self.had_folder.store(true, Ordering::Relaxed);
        }
        let opened = Opened {
            trusted,
            doubtful,
            partial: partial.clone(),
            uploaded: resume.as_ref().map_or(0, |resume| resume.uploaded),
            downloaded: resume.as_ref().map_or(0, |resume| resume.downloaded),
            foreign: (foreign.iter())
                .filter(|file| is_wanted(&open.wanted, **file as usize))
                .filter_map(|file| {
                    Some(ForeignFile {
                        file: FileIndex::new(*file),
                        path: routes
                            .get(metainfo, *file)?
                            .path(&self.dir)
                            .display()
                            .to_string(),
                    })
                })
                .collect(),
            longer: survey.longer(metainfo, &open.wanted),
        };
        let session = Session {
            metainfo: Arc::clone(metainfo),
            layout,
            places: RwLock::new(places),
            unsynced: Mutex::new(unsynced),
            written: AtomicBool::new(!recorded.changed.is_empty()),
            partial: Mutex::new(partial),
            recorded: Mutex::new(recorded),
            zeros: OnceLock::new(),
        };
        *write(&self.routes) = Arc::new(routes);
        *write(&self.foreign) = foreign;
        self.record_made(&session, resume.as_ref(), &opened);
        Ok((session, opened))
    }

    /// Records the files that were made before anything is written to them: what comes to an end before the
    /// first checkpoint would leave files with data that nobody knows. A record that says more of a file than
    /// is known now is left as it is. What cannot be recorded is told by the next checkpoint.
    fn record_made(&self, session: &Session, resume: Option<&Resume>, opened: &Opened) {
        let stamps = lock(&session.recorded).files.clone();
        let made = !lock(&session.recorded).changed.is_empty();
        let (mut fresh, mut lost) = (made, false);
        {
            let foreign = read(&self.foreign);
            for (file, stamp) in (0..).zip(&stamps) {
                let known = resume.is_some_and(|resume| {
                    let then = resume.files.get(file as usize);
                    then.is_some_and(Option::is_some)
                });
                let is_foreign = foreign.contains(&file);
                lost |= known && is_foreign;
                fresh |= stamp.is_some() && !known && !is_foreign;
            }
        }
        if self.options.read_only || !fresh || lost {
            return;
        }
        let recorded = self.record(session, &opened.trusted, opened.uploaded, opened.downloaded);
        if recorded.is_err() {
            *lock(&self.trouble) = None;
        }
    }

    /// Does all that `select` does.
    pub(super) fn select_files(&self, session: &Session, wanted: &[bool]) -> Result<(), DiskError> {
        let mut places = write(&session.places);
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        let mut routes = Routes::clone(&self.routes());
        for file in 0..session.metainfo.files().len() as u32 {
            let index = file as usize;
            if routes.get(&session.metainfo, file).is_none() {
                continue;
            }
            let wants = is_wanted(wanted, index);
            if wants && read(&self.foreign).contains(&file) {
                return Err(self.not_ours(session, file));
            }
            if wants && places.files[index].file.is_none() && !self.options.read_only {
                self.require_folders(Some(&session.metainfo))?;
                let range = session
                    .layout
                    .file_range(FileIndex::new(file))
                    .unwrap_or_default();
                // A file that has appeared meanwhile is nothing that we vouch for.
                let access = Access::CreateNew;
                let metainfo = &session.metainfo;
                let made = self.make_file(
                    &mut walker,
                    &mut routes,
                    metainfo,
                    file,
                    access,
                    range.clone(),
                );
                let fail = |error: io::Error| {
                    self.note_make(&routes, metainfo, file);
                    self.route_error(&routes, metainfo, file, &error)
                };
                let made = made.map_err(fail)?;
                *write(&self.routes) = Arc::new(routes.clone());
                let kept = lock(&places.parts).is_some();
                if kept {
                    let (parts, _) = self.file(session, &places, Slot::Parts, true)?;
                    if move_kept(&parts, &made, range).map_err(fail)? {
                        lock(&session.unsynced).extend([Slot::File(file), Slot::Parts]);
                    }
                }
                let id = platform::stat(&made).map_err(fail)?.id;
                places.files[index].file = Some(id);
                self.had_folder.store(true, Ordering::Relaxed);
                session.written.store(true, Ordering::Relaxed);
                lock(&session.recorded).changed.insert(Slot::File(file));
            }
            places.files[index].wanted = wants;
        }
        Ok(())
    }

    /// Opens the download folder, and makes sure that the torrent's own is there if it was before.
    pub(super) fn require_folders(&self, metainfo: Option<&Metainfo>) -> Result<Dir, DiskError> {
        let dir = Dir::open(&self.dir).map_err(|error| disk_error(&self.dir, &error))?;
        if self.had_folder.load(Ordering::Relaxed)
            && let Some(name) = metainfo.and_then(|metainfo| self.own_folder(metainfo))
        {
            dir.enter(&name, false)
                .map_err(|error| disk_error(&self.dir.join(&name), &error))?;
        }
        Ok(dir)
    }

    fn prepare_folders(&self, metainfo: &Metainfo) -> Result<(), DiskError> {
        if let Some(path) = &self.options.resume_dir {
            // Whether it takes anything shows when there is something to keep.
            let _ = std::fs::create_dir_all(path);
        } else if let Some((_, route)) = Routes::default().files(metainfo).find(|(_, route)| {
            let first = match route {
                Route::Below(names) => names.first(),
                Route::Elsewhere(_) => None,
            };
            first.is_some_and(|name| name.eq_ignore_ascii_case(RESUME_FOLDER))
        }) {
            return Err(DiskError {
                kind: DiskErrorKind::UnsafePath,
                file: route.path(&self.dir).display().to_string(),
                message: "the path leads into the folder of the resume data".to_owned(),
            });
        }
        let missing =
            Dir::open(&self.dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if missing
            && !self.options.read_only
            && !self.had_dir.load(Ordering::Relaxed)
            && !self.has_resume(metainfo)
        {
            std::fs::create_dir_all(&self.dir).map_err(|error| disk_error(&self.dir, &error))?;
        }
        self.require_folders(Some(metainfo)).map(drop)
    }

    /// Whether an earlier run had this torrent.
    fn has_resume(&self, metainfo: &Metainfo) -> bool {
        self.load_record(metainfo).is_some()
    }

    /// Creates a file, or makes an existing one as long as it should be. Where the file system does not take
    /// its name, it gets one that all take.
    fn make_file(
        &self,
        walker: &mut Walker,
        routes: &mut Routes,
        metainfo: &Metainfo,
        file: u32,
        access: Access,
        range: Range<u64>,
    ) -> io::Result<File> {
        let mut open = |routes: &Routes| {
            let route = routes.get(metainfo, file).ok_or(io::ErrorKind::NotFound)?;
            let (folder, name) = walker.parent(&route, true)?;
            folder.open_file(name, access)
        };
        let file = match open(routes) {
            Err(error) if platform::is_name_refused(&error) => {
                match routes.make_portable(metainfo, file) {
                    true => open(routes)?,
                    false => return Err(error),
                }
            }
            opened => opened?,
        };
        let len = range.end - range.start;
        if platform::stat(&file)?.size < len {
            match self.options.preallocation {
                Preallocation::Sparse => file.set_len(len)?,
                Preallocation::Full => platform::allocate(&file, len)?,
            }
        }
        Ok(file)
    }

    /// Notes that a file could not be made, or made longer.
    fn note_make(&self, routes: &Routes, metainfo: &Metainfo, file: u32) {
        if let Some(route) = routes.get(metainfo, file) {
            self.note(Trouble::Make(route));
        }
    }

    fn route_error(
        &self,
        routes: &Routes,
        metainfo: &Metainfo,
        file: u32,
        error: &io::Error,
    ) -> DiskError {
        let route = routes.get(metainfo, file);
        let path = route.map_or_else(|| self.dir.clone(), |route| route.path(&self.dir));
        disk_error(&path, error)
    }
}

pub(super) fn is_wanted(wanted: &[bool], file: usize) -> bool {
    wanted.get(file).copied().unwrap_or(false)
}
