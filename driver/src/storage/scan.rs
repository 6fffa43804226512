//! Opening a torrent's files: what is there, what of it can be trusted, and what must be made.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use anabranch_core::Bitfield;
use anabranch_core::action::OpenStorage;
use anabranch_core::event::{
    DiskError, DiskErrorKind, ForeignFile, LongerFile, Opened, PartialPiece,
};
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::{FileIndex, FileKind, FileSpan, Layout, Metainfo, PieceIndex};
use anabranch_hash::Sha1;

use super::cache::Slot;
use super::checkpoint::Recorded;
use super::disk_error;
use super::files::{FileStorage, Place, Places, Preallocation, RESUME_FOLDER, Session};
use super::folder::Walker;
use super::hash::with_scratch;
use super::locate::{Route, Routes};
use super::resume::{Resume, Stamp, parts_name};
use super::trouble::Trouble;
use crate::platform::{self, Access, Dir, Stat};
use crate::sync::{lock, read, write};

/// What is kept aside is moved in units of so many bytes, leaving out those that are all zeros.
const MOVE_UNIT: usize = 4096;

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

    fn survey(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        wanted: &[bool],
    ) -> Result<Survey, DiskError> {
        let mut files = vec![None; metainfo.files().len()];
        for (file, route) in routes.files(metainfo) {
            let index = file as usize;
            files[index] = match look(walker, &route) {
                Ok(stat) => stat,
                // What is not wanted is not in the way either.
                Err(_) if !is_wanted(wanted, index) => None,
                Err(error) => return Err(disk_error(&route.path(&self.dir), &error)),
            };
        }
        let parts = self.resume_folder(false).ok().and_then(|folder| {
            let name = parts_name(metainfo.info_hash());
            let file = folder
                .open_file(&name, Access::Write)
                .or_else(|_| folder.open_file(&name, Access::Read))
                .ok()?;
            let stat = platform::stat(&file).ok()?;
            Some((file, stat))
        });
        Ok(Survey { files, parts })
    }
}

/// What was there before anything was changed.
struct Survey {
    /// One entry a file.
    files: Vec<Option<Stat>>,
    /// What is kept aside.
    parts: Option<(File, Stat)>,
}

impl Survey {
    /// A file that is not wanted, and of which the resume data says that its bytes are kept aside, is in
    /// nobody's way.
    fn forget_unused(&mut self, wanted: &[bool], resume: &Resume) {
        for (index, stat) in self.files.iter_mut().enumerate() {
            if !is_wanted(wanted, index) && resume.files.get(index) == Some(&None) {
                *stat = None;
            }
        }
    }

    /// Files with data that may be somebody else's.
    fn foreign(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        layout: &Layout,
        resume: Option<&Resume>,
    ) -> BTreeSet<u32> {
        let mut foreign = BTreeSet::new();
        for (file, path) in routes.files(metainfo) {
            let index = FileIndex::new(file);
            let Some(stat) = self.files[file as usize].filter(|stat| stat.size > 0) else {
                continue;
            };
            let recorded =
                resume.and_then(|resume| Some((resume, (*resume.files.get(file as usize)?)?)));
            let ours = recorded.is_some_and(|(resume, stamp)| {
                // After a crash the time may be later than that of the last checkpoint. Where that
                // vouched for pieces, they will show whose file it is.
                let vouched = || {
                    let mut pieces = layout.pieces_of_file(index).unwrap_or_default();
                    pieces.any(|piece| resume.have.contains(piece))
                };
                stamp == Stamp::from(stat) || stamp.size == stat.size && !vouched()
            });
            if ours {
                continue;
            }
            let range = layout.file_range(index).unwrap_or_default();
            let kept = self.parts.as_ref().map(|(parts, _)| (parts, range.start));
            let has_data = walker
                .parent(&path, false)
                .and_then(|(folder, name)| folder.open_file(name, Access::Read))
                .and_then(|opened| has_other_data(&opened, stat.size, kept));
            // What cannot be read may be anything.
            if has_data.unwrap_or(true) {
                foreign.insert(file);
            }
        }
        foreign
    }

    fn longer(&self, metainfo: &Metainfo, wanted: &[bool]) -> Vec<LongerFile> {
        (0..)
            .zip(metainfo.files().iter().zip(&self.files))
            .filter_map(|(file, (expected, stat))| {
                let found = (*stat)?.size;
                let counts = expected.kind() == FileKind::Data && is_wanted(wanted, file as usize);
                (counts && found > expected.length()).then_some(LongerFile {
                    file: FileIndex::new(file),
                    found,
                })
            })
            .collect()
    }

    /// The pieces of which no file has changed since resume data was made.
    ///
    /// The clock behind a file's time may stand still for some milliseconds, so a write after a
    /// checkpoint can go unnoticed. That does no harm: our own writes only touch pieces that the
    /// checkpoint did not name.
    fn unchanged(&self, resume: &Resume, layout: &Layout) -> Bitfield {
        let parts = self.parts.as_ref().map(|(_, stat)| Stamp::from(*stat));
        let parts_agree = parts.is_some() && parts == resume.parts;
        let mut unchanged = Bitfield::full(layout.piece_count());
        for (file, (now, then)) in (0..).zip(self.files.iter().zip(&resume.files)) {
            let agrees = match then {
                Some(_) => now.map(Stamp::from) == *then,
                // A file that was not there then was made by somebody else, or by a run that came
                // to an end before it was filled.
                None => now.is_none() && parts_agree,
            };
            let file = FileIndex::new(file);
            let counts = layout.file_kind(file) == Some(FileKind::Data);
            if counts && !agrees {
                for piece in layout.pieces_of_file(file).unwrap_or_default() {
                    unchanged.remove(piece);
                }
            }
        }
        unchanged
    }

    /// What resume data says of incomplete pieces, as far as there is anything where it should be. A file
    /// that changed since is most likely one that more was written to, as before a crash; if not, that
    /// shows when the piece is complete.
    fn partial(&self, resume: &Resume, layout: &Layout) -> Vec<PartialPiece> {
        let is_there = |span: FileSpan| {
            if span.kind != FileKind::Data {
                return true;
            }
            let end = span.offset + (span.range.end - span.range.start) as u64;
            let start = layout.file_range(span.file).unwrap_or_default().start;
            match (self.files.get(span.file.as_usize()), &self.parts) {
                (Some(Some(stat)), _) => end <= stat.size,
                (_, Some((_, parts))) => start + end <= parts.size,
                (_, None) => false,
            }
        };
        let there = resume.partial.iter().map(|map| {
            let size = layout.piece_size(map.piece).unwrap_or_default();
            let mut blocks = Bitfield::new(map.blocks.len());
            for block in map.blocks.iter() {
                let begin = block * BLOCK_LEN;
                let len = BLOCK_LEN.min(size.saturating_sub(begin));
                let spans = layout.spans(map.piece, begin, len);
                if spans.is_some_and(|mut spans| spans.all(is_there)) {
                    blocks.insert(block);
                }
            }
            PartialPiece {
                piece: map.piece,
                blocks,
            }
        });
        there.filter(|map| map.blocks.count() > 0).collect()
    }

    /// The pieces but for those that are `known` that may be there: they lie within the files as they are, and
    /// not in holes only, unless a piece of zeros is what is expected. Fails with a wanted file that we may not
    /// read: its data is there, and must not be taken for missing.
    fn doubtful(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        layout: &Layout,
        known: &Bitfield,
        wanted: &[bool],
    ) -> Result<Bitfield, (Route, io::Error)> {
        let piece_length = u64::from(layout.piece_length());
        let mut present = Bitfield::full(layout.piece_count());
        for piece in known.iter() {
            present.remove(piece);
        }
        let mut sources = Vec::new();
        for (file, path) in routes.files(metainfo) {
            let range = layout.file_range(FileIndex::new(file)).unwrap_or_default();
            let in_file = self.files[file as usize];
            let end = match (in_file, &self.parts) {
                (Some(stat), _) => range.start.saturating_add(stat.size).min(range.end),
                (None, Some((_, parts))) => parts.size.clamp(range.start, range.end),
                (None, None) => range.start,
            };
            if end < range.end {
                for piece in (end / piece_length)..range.end.div_ceil(piece_length) {
                    present.remove(piece as u32);
                }
            }
            if end > range.start {
                let wanted = is_wanted(wanted, file as usize);
                sources.push((path, in_file.is_some(), wanted, range.start, end));
            }
        }

        let mut data = Bitfield::new(layout.piece_count());
        for (path, in_file, wanted, start, end) in sources {
            let pieces = (start / piece_length) as u32..end.div_ceil(piece_length) as u32;
            if !pieces.clone().any(|piece| present.contains(piece)) {
                continue;
            }
            let opened = match (in_file, &self.parts) {
                (true, _) => {
                    let opened = walker
                        .parent(&path, false)
                        .and_then(|(folder, name)| folder.open_file(name, Access::Read));
                    match opened {
                        Ok(file) => Some((file, start)),
                        Err(error) if wanted && error.kind() == io::ErrorKind::PermissionDenied => {
                            return Err((path, error));
                        }
                        Err(_) => None,
                    }
                }
                (false, Some((parts, _))) => parts.try_clone().ok().map(|file| (file, 0)),
                (false, None) => None,
            };
            match opened {
                Some((file, base)) => mark_data(&file, base, start..end, piece_length, &mut data),
                // Verifying it will say what is wrong.
                None => pieces.for_each(|piece| {
                    data.insert(piece);
                }),
            }
        }

        let mut zeros = Zeros::default();
        let mut doubtful = Bitfield::new(layout.piece_count());
        for piece in present.iter() {
            let index = PieceIndex::new(piece);
            let size = layout.piece_size(index).unwrap_or_default();
            if data.contains(piece) || metainfo.piece_hash(index) == Some(&zeros.digest(size)) {
                doubtful.insert(piece);
            }
        }
        Ok(doubtful)
    }
}

/// Marks the pieces that have data of a stretch of the torrent. The file starts at `base` of it.
fn mark_data(file: &File, base: u64, range: Range<u64>, piece_length: u64, data: &mut Bitfield) {
    let mut at = range.start;
    while let Some(found) = platform::next_data(file, at - base, range.end - base) {
        let first = (base + found.start) / piece_length;
        let end = (base + found.end).div_ceil(piece_length);
        for piece in first..end {
            data.insert(piece as u32);
        }
        // However scattered the data is, there is one step a piece at most.
        at = end.saturating_mul(piece_length);
        if at >= range.end {
            break;
        }
    }
}

/// SHA-1 of zeros, each length hashed once: those of a whole piece and of the last.
#[derive(Default)]
struct Zeros {
    known: Vec<(u32, [u8; 20])>,
}

impl Zeros {
    fn digest(&mut self, len: u32) -> [u8; 20] {
        if let Some((_, digest)) = self.known.iter().find(|(known, _)| *known == len) {
            return *digest;
        }
        let digest = with_scratch(|scratch| {
            scratch.fill(0);
            let mut hash = Sha1::new();
            let mut left = len as usize;
            while left > 0 {
                let step = left.min(scratch.len());
                hash.update(&scratch[..step]);
                left -= step;
            }
            hash.finish()
        });
        self.known.push((len, digest));
        digest
    }
}

/// Copies what is kept aside of a stretch of the torrent into the file that it belongs to, makes it
/// durable there, and gives the space back. Says whether there was anything.
///
/// Zeros are left out: mostly nothing was ever written there, and a new file has them already. Where
/// the file was there before, nothing of it is trusted.
fn move_kept(parts: &File, file: &File, range: Range<u64>) -> io::Result<bool> {
    let mut moved = false;
    with_scratch(|scratch| {
        let mut at = range.start;
        while let Some(found) = platform::next_data(parts, at, range.end) {
            at = found.start;
            while at < found.end {
                let len = (found.end - at).min(scratch.len() as u64) as usize;
                let read = platform::read_at(parts, &mut scratch[..len], at)?;
                for (unit, offset) in scratch[..read]
                    .chunks(MOVE_UNIT)
                    .zip((at..).step_by(MOVE_UNIT))
                {
                    if unit.iter().any(|byte| *byte != 0) {
                        let slices = &mut [IoSlice::new(unit)];
                        platform::write_all_at(file, slices, offset - range.start)?;
                        moved = true;
                    }
                }
                if read < len {
                    return Ok(());
                }
                at += len as u64;
            }
        }
        io::Result::Ok(())
    })?;
    if moved {
        file.sync_all()?;
        platform::discard(parts, range);
    }
    Ok(moved)
}

/// Whether there is more in a file than zeros and copies of what is kept aside for it: that of a move which
/// was interrupted is all there twice. What is kept aside for the file begins at `kept`.
fn has_other_data(file: &File, len: u64, kept: Option<(&File, u64)>) -> io::Result<bool> {
    let mut unit = [0; MOVE_UNIT];
    let mut same = [0; MOVE_UNIT];
    let mut at = 0;
    while let Some(found) = platform::next_data(file, at, len) {
        at = found.start;
        while at < found.end {
            let step = (found.end - at).min(MOVE_UNIT as u64) as usize;
            let read = platform::read_at(file, &mut unit[..step], at)?;
            let data = &unit[..read];
            if data.iter().any(|byte| *byte != 0) {
                let Some((parts, start)) = kept else {
                    return Ok(true);
                };
                let there = platform::read_at(parts, &mut same[..read], start.saturating_add(at))?;
                if same[..there] != *data {
                    return Ok(true);
                }
            }
            if read < step {
                return Ok(false);
            }
            at += step as u64;
        }
    }
    Ok(false)
}

fn look(walker: &mut Walker, path: &Route) -> io::Result<Option<Stat>> {
    let stat = match walker.parent(path, false) {
        Ok((folder, name)) => folder.stat(name)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match stat {
        Some(stat) if !stat.regular => Err(platform::not_a_regular_file()),
        stat => Ok(stat),
    }
}

fn is_wanted(wanted: &[bool], file: usize) -> bool {
    wanted.get(file).copied().unwrap_or(false)
}
