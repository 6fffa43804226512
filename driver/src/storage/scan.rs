//! Opening a torrent's files: what is there, what of it can be trusted, and what must be made.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use anabranch_core::Bitfield;
use anabranch_core::action::OpenStorage;
use anabranch_core::event::{DiskError, DiskErrorKind, ForeignFile, Opened};
use anabranch_core::metainfo::{FileIndex, Layout, Metainfo};

use super::checkpoint::{Recorded, Told};
use super::disk_error;
use super::files::{FileStorage, RESUME_FOLDER};
use super::foreign::Foreign;
use super::locate::{Route, Routes};
use super::resume::Stamp;
use super::session::{Place, Places, Session};
use crate::platform::Dir;
use crate::sync::{read, write};

impl FileStorage {
    /// Does all that `open` does.
    pub(super) fn scan(&self, open: &OpenStorage) -> Result<(Session, Opened), DiskError> {
        let metainfo = &open.metainfo;
        self.prepare_folders(metainfo)?;
        self.take_lock(metainfo, true)?;
        let mut walker = self
            .walker()
            .map_err(|error| disk_error(&self.dir, &error))?;
        let resume = self.load_record(metainfo);
        let layout = Layout::new(metainfo);
        let routes = Routes::find(
            &mut walker,
            &self.dir,
            metainfo,
            self.options.name.as_ref(),
            self.options.links,
        );
        let mut survey = self.survey(&mut walker, metainfo, &routes, &open.wanted)?;
        if let Some(resume) = &resume {
            survey.forget_unused(&open.wanted, resume);
        }
        let foreign = match open.overwrite {
            true => Foreign::default(),
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

        let unmoved = |index: usize| {
            // Moving may have been interrupted after the file was created.
            let recorded = resume.as_ref().map(|resume| resume.files[index]);
            survey.parts.is_some() && recorded == Some(None)
        };
        let places = Places {
            files: (0..)
                .zip(&survey.files)
                .map(|(file, stat)| {
                    let range = layout.file_range(FileIndex::new(file)).unwrap_or_default();
                    let short = stat.is_some_and(|stat| stat.size < range.end - range.start);
                    let index = file as usize;
                    Place {
                        wanted: is_wanted(&open.wanted, index),
                        file: stat.as_ref().map(|stat| stat.id),
                        short,
                        unmoved: stat.is_some() && unmoved(index),
                    }
                })
                .collect(),
            parts: Mutex::new(survey.parts.as_ref().map(|(_, stat)| stat.id)),
        };
        let recorded = Recorded {
            files: survey
                .files
                .iter()
                .map(|stat| stat.map(Stamp::from))
                .collect(),
            parts: survey.parts.as_ref().map(|(_, stat)| Stamp::from(*stat)),
            changed: BTreeSet::new(),
            last: None,
            told: Told {
                have: trusted.clone(),
                uploaded: resume.as_ref().map_or(0, |resume| resume.uploaded),
                downloaded: resume.as_ref().map_or(0, |resume| resume.downloaded),
            },
        };
        // A record that says more of a file than is known now is left as it is.
        let loses = |file: u32| {
            let then = resume
                .as_ref()
                .and_then(|resume| resume.files[file as usize]);
            then.is_some() && foreign.contains(file)
        };
        let keeps_record = (0..metainfo.files().len() as u32).any(loses);

        self.had_dir.store(true, Ordering::Relaxed);
        if places.files.iter().any(|place| place.file.is_some()) {
            self.had_folder.store(true, Ordering::Relaxed);
        }
        let opened = Opened {
            trusted,
            doubtful,
            partial: partial.clone(),
            uploaded: recorded.told.uploaded,
            downloaded: recorded.told.downloaded,
            foreign: (foreign.with_pieces())
                .filter(|file| is_wanted(&open.wanted, *file as usize))
                .filter_map(|file| {
                    Some(ForeignFile {
                        file: FileIndex::new(file),
                        path: routes
                            .get(metainfo, file)?
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
            unsynced: Mutex::default(),
            written: AtomicBool::new(false),
            partial: Mutex::new(partial),
            recorded: Mutex::new(recorded),
            keeps_record,
        };
        *write(&self.routes) = Arc::new(routes);
        *write(&self.foreign) = foreign;
        // While it is not known whose some files are, none is made or changed: `select` does that then.
        if opened.foreign.is_empty() {
            self.make_wanted(&session, &mut write(&session.places))?;
        }
        Ok((session, opened))
    }

    /// Does all that `select` does.
    pub(super) fn select_files(&self, session: &Session, wanted: &[bool]) -> Result<(), DiskError> {
        let mut places = write(&session.places);
        // One that must not be used keeps all others from being made.
        let refused = (0..session.metainfo.files().len() as u32)
            .find(|file| is_wanted(wanted, *file as usize) && read(&self.foreign).refuses(*file));
        if let Some(file) = refused {
            return Err(self.not_ours(session, file));
        }
        for (index, place) in places.files.iter_mut().enumerate() {
            place.wanted = is_wanted(wanted, index);
        }
        self.make_wanted(session, &mut places)
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
        let named = Routes::named(self.options.name.as_ref());
        if let Some(path) = &self.options.resume_dir {
            // Whether it takes anything shows when there is something to keep.
            let _ = std::fs::create_dir_all(path);
        } else if let Some((_, route)) = named.files(metainfo).find(|(_, route)| {
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
}

pub(super) fn is_wanted(wanted: &[bool], file: usize) -> bool {
    wanted.get(file).copied().unwrap_or(false)
}
