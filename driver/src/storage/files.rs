//! A torrent in files below a download folder (BEP 3), pad files left out (BEP 47).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use anabranch_core::Bitfield;
use anabranch_core::action::OpenStorage;
use anabranch_core::event::{DiskError, DiskErrorKind, Opened, PartialPiece};
use anabranch_core::metainfo::{FileIndex, InfoHash, Metainfo, PieceIndex};
use anabranch_hash::{digest, digest_two};
use bytes::Bytes;

use super::cache::{FileKey, OpenFiles, Slot};
use super::checkpoint::Told;
#[cfg(doc)]
use super::find_files;
use super::folder::Walker;
use super::foreign::Foreign;
use super::hash::with_scratch;
use super::keep::KeepWarning;
use super::locate::{Links, Routes};
use super::lock::Lock;
use super::resume::{self, parts_name};
use super::session::{Places, Session, Target};
use super::stored::matches;
use super::trouble::Trouble;
use super::{FileName, Storage, disk_error, not_open, out_of_range};
use crate::platform::{self, Access, Dir, Stat};
use crate::sync::{lock, read, write};

/// The folder of the resume data, if no other is given.
pub(super) const RESUME_FOLDER: &str = ".anabranch";

/// How [`FileStorage`] works.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct FileOptions {
    /// Where resume data lies, and what is kept aside of files that are not wanted: by default in
    /// `.anabranch` in the download folder. It should be on a file system that knows sparse files.
    pub resume_dir: Option<PathBuf>,
    /// Whether space is taken ahead.
    pub preallocation: Preallocation,
    /// Whether the torrent's files are only read, as for seeding: none is created, made longer, cut or
    /// written to. What is to be written is an error.
    pub read_only: bool,
    /// Where resume data goes that its own folder does not take, as on a read-only medium or in another
    /// user's folder: a folder of the user's, for all torrents. None: such a torrent is verified anew at
    /// every start.
    pub spare_resume_dir: Option<PathBuf>,
    /// Says so when that happened. Give the same to all storages.
    pub warning: KeepWarning,
    /// The files that are kept open. Give the same to all storages.
    pub open_files: OpenFiles,
    /// What is done about symbolic links.
    pub links: Links,
    /// What its one file, or the folder of its files, is called on the disk, in place of the name that the core knows.
    /// To go on in a later run, give it again. A file system that does not take it gets the core's instead.
    pub name: Option<FileName>,
}

impl FileOptions {
    /// Everything as it usually is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps resume data in this folder.
    pub fn resume_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.resume_dir = Some(dir.into());
        self
    }

    /// Whether space is taken ahead.
    pub fn preallocation(mut self, preallocation: Preallocation) -> Self {
        self.preallocation = preallocation;
        self
    }

    /// Whether the torrent's files are only read.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Where resume data goes that its own folder does not take.
    pub fn spare_resume_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spare_resume_dir = Some(dir.into());
        self
    }

    /// Says so when that happened.
    pub fn warning(mut self, warning: KeepWarning) -> Self {
        self.warning = warning;
        self
    }

    /// The files that are kept open.
    pub fn open_files(mut self, files: OpenFiles) -> Self {
        self.open_files = files;
        self
    }

    /// What is done about symbolic links.
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Calls its one file, or the folder of its files, so.
    pub fn name(mut self, name: FileName) -> Self {
        self.name = Some(name);
        self
    }
}

/// Whether a file's space is taken when it is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Files have their length from the start, but take space only as they are filled.
    #[default]
    Sparse,
    /// Files take all their space from the start, where the file system can do that. A full disk
    /// shows before anything was fetched.
    Full,
}

/// The files of a torrent below a download folder.
///
/// - Only files that are wanted are created. What pieces have of other files goes into one sparse
///   file beside the resume data, and from there into the file when it becomes wanted. A file that is
///   not wanted but there is used as it is, and never made longer.
/// - No symlink below the download folder is followed, unless [`FileOptions::links`] says so, and nothing but
///   regular files is opened. The download folder itself may be reached over symlinks. Where links led is
///   found out by [`open`](Storage::open): one that is changed after that leads to an error. What links
///   led out of the folder is not deleted together with the torrent.
/// - Data that is there is [found](find_files) under the names that stand in the torrent, too, whatever
///   bytes they are, and under those that every system takes; what is created has the torrent's names, or the
///   latter if the file system does not take those.
/// - A file that was there with data in it is [foreign](Opened::foreign) until something shows that it is
///   this torrent's, and is not written to before: a piece that is right and not zeros only, resume data with its length and
///   time, or its length alone if that resume data vouched for no piece in it. What is
///   empty, or zeros only, is nobody's loss and may be written. The bytes that pieces have of a foreign file
///   that is not wanted are kept aside.
/// - A file that is shorter than it should be is made as long when it is opened, unless it is foreign. One
///   that is longer stays so until all its pieces are verified, and is then [cut](Storage::trim).
/// - A file that is deleted or replaced while it is in use is an error, never created again before
///   the next [`open`](Storage::open). That one asks for the download folder, and for the torrent's own
///   folder in it, to be there if they were before: an unmounted disk is not filled from below.
/// - Resume data is trusted file by file, where length and time of the last write are those of the
///   last checkpoint. What cannot be trusted but has data is doubtful.
#[derive(Debug)]
pub struct FileStorage {
    pub(super) dir: PathBuf,
    pub(super) options: FileOptions,
    /// Which storage it is in this process.
    number: u64,
    session: RwLock<Option<Arc<Session>>>,
    /// The torrent of the last `open`, whether that went well or not.
    subject: Mutex<Option<Arc<Metainfo>>>,
    /// Where they lie, as found at the last `open`.
    pub(super) routes: RwLock<Arc<Routes>>,
    /// Files that were there at the last `open` and are somebody else's as far as is known.
    pub(super) foreign: RwLock<Foreign>,
    /// Whether the download folder was there.
    pub(super) had_dir: AtomicBool,
    /// Whether the torrent's own folder was there.
    pub(super) had_folder: AtomicBool,
    /// Keeps other processes from the same torrent.
    pub(super) lock: Mutex<Option<Lock>>,
    /// What failed since it was opened.
    pub(super) trouble: Mutex<Option<Trouble>>,
}

impl FileStorage {
    /// The storage of a torrent with its files below `dir`. Nothing is touched before it is opened.
    #[must_use]
    pub fn new(dir: PathBuf, options: FileOptions) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            dir,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            session: RwLock::default(),
            subject: Mutex::default(),
            routes: RwLock::new(Arc::new(Routes::named(options.name.as_ref()))),
            options,
            foreign: RwLock::default(),
            had_dir: AtomicBool::new(false),
            had_folder: AtomicBool::new(false),
            lock: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Which files of this torrent were wanted at its last checkpoint, one entry a file; `None` if
    /// there is no resume data that is worth anything. Reads a small file.
    #[must_use]
    pub fn recorded_selection(&self, metainfo: &Metainfo) -> Option<Vec<bool>> {
        Some(self.load_record(metainfo)?.wanted)
    }

    /// The folder of the resume data.
    pub(super) fn resume_folder(&self, create: bool) -> io::Result<Dir> {
        match &self.options.resume_dir {
            Some(path) => {
                if create {
                    std::fs::create_dir_all(path)?;
                }
                Dir::open(path)
            }
            // A torrent may not have put a symlink there, but somebody else may.
            None => Dir::open(&self.dir)?.enter(RESUME_FOLDER, create),
        }
    }

    pub(super) fn resume_path(&self) -> PathBuf {
        match &self.options.resume_dir {
            Some(path) => path.clone(),
            None => self.dir.join(RESUME_FOLDER),
        }
    }

    pub(super) fn walker(&self) -> io::Result<Walker> {
        let root = Dir::open(&self.dir)?;
        Walker::new(root, self.resume_folder(false).ok().as_ref())
    }

    /// Where the files lie.
    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&read(&self.routes))
    }

    /// The folder of a torrent that has one, below the download folder.
    pub(super) fn own_folder(&self, metainfo: &Metainfo) -> Option<OsString> {
        let routes = self.routes();
        let mut files = routes.files(metainfo);
        files.find_map(|(_, route)| route.folders().first().cloned())
    }

    /// As [`file_path`](Self::file_path), for whatever is opened.
    pub(super) fn slot_path(&self, metainfo: &Metainfo, slot: Slot) -> PathBuf {
        match slot {
            Slot::File(file) => match self.routes().get(metainfo, file) {
                Some(route) => route.path(&self.dir),
                None => self.dir.clone(),
            },
            Slot::Parts => self.resume_path().join(parts_name(metainfo.info_hash())),
        }
    }

    /// Opens without looking at what is kept open.
    pub(super) fn open_slot(
        &self,
        metainfo: &Metainfo,
        slot: Slot,
        access: Access,
    ) -> io::Result<File> {
        match slot {
            Slot::File(file) => {
                let route = self.routes().get(metainfo, file);
                let route = route.ok_or(io::ErrorKind::NotFound)?;
                let mut walker = self.walker()?;
                let (folder, name) = walker.parent(&route, false)?;
                folder.open_file(name, access)
            }
            Slot::Parts => {
                let folder = self.resume_folder(access == Access::Create)?;
                folder.open_file(&parts_name(metainfo.info_hash()), access)
            }
        }
    }

    /// An open file that is still what and where it was.
    pub(super) fn file(
        &self,
        session: &Session,
        places: &Places,
        slot: Slot,
        to_write: bool,
    ) -> Result<(Arc<File>, Stat), DiskError> {
        let fail = |error: &io::Error| disk_error(&self.slot_path(&session.metainfo, slot), error);
        if to_write && self.options.read_only && matches!(slot, Slot::File(_)) {
            return Err(DiskError {
                kind: DiskErrorKind::ReadOnly,
                file: self
                    .slot_path(&session.metainfo, slot)
                    .display()
                    .to_string(),
                message: "opened for reading only".to_owned(),
            });
        }
        let key = self.key(slot);
        let access = if to_write {
            Access::Write
        } else {
            Access::Read
        };
        let open = |access| {
            self.options
                .open_files
                .open(key, access != Access::Read, || {
                    self.open_slot(&session.metainfo, slot, access)
                })
        };
        let (file, expected) = match slot {
            Slot::File(index) => {
                let place = places.files.get(index as usize);
                (open(access), place.and_then(|place| place.file).flatten())
            }
            Slot::Parts => {
                let mut parts = lock(&places.parts);
                match *parts {
                    Some(id) => (open(access), id),
                    None if to_write => {
                        let file = open(Access::Create).map_err(|error| fail(&error))?;
                        let stat = platform::stat(&file).map_err(|error| fail(&error))?;
                        *parts = Some(stat.id);
                        return Ok((file, stat));
                    }
                    None => (Err(io::ErrorKind::NotFound.into()), None),
                }
            }
        };
        let file = file.map_err(|error| fail(&error))?;
        let stat = platform::stat(&file).map_err(|error| fail(&error))?;
        if stat.deleted || (expected.is_some() && expected != stat.id) {
            self.options.open_files.close(key);
            return Err(self.gone(session, slot));
        }
        Ok((file, stat))
    }

    /// A file is not what it was.
    pub(super) fn gone(&self, session: &Session, slot: Slot) -> DiskError {
        let path = self.slot_path(&session.metainfo, slot);
        DiskError {
            kind: DiskErrorKind::NotFound,
            file: path.display().to_string(),
            message: "deleted or replaced while in use".to_owned(),
        }
    }

    pub(super) fn key(&self, slot: Slot) -> FileKey {
        FileKey {
            storage: self.number,
            slot,
        }
    }

    fn session(&self) -> Result<Arc<Session>, DiskError> {
        read(&self.session)
            .clone()
            .ok_or_else(|| not_open(self.dir.display().to_string()))
    }

    fn end_session(&self) {
        *write(&self.session) = None;
        self.options.open_files.close_storage(self.number);
    }

    pub(super) fn drop_resume_folder(&self) {
        if self.options.resume_dir.is_none()
            && let Ok(dir) = Dir::open(&self.dir)
        {
            // It stays while it has anything of other torrents.
            let _ = dir.remove_folder(RESUME_FOLDER);
        }
    }

    fn write_span(
        &self,
        session: &Session,
        places: &Places,
        target: Target,
        slices: &mut [IoSlice<'_>],
    ) -> Result<(), DiskError> {
        if self.options.read_only {
            let path = self.slot_path(&session.metainfo, target.slot);
            return Err(disk_error(&path, &io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let opened = self.file(session, places, target.slot, true);
        let (file, _) = opened.inspect_err(|_| self.note(Trouble::Write(target.slot)))?;
        let written = platform::write_all_at(&file, slices, target.offset);
        session.written.store(true, Ordering::Relaxed);
        lock(&session.unsynced).insert(target.slot);
        written.map_err(|error| {
            self.note(Trouble::Write(target.slot));
            disk_error(&self.slot_path(&session.metainfo, target.slot), &error)
        })
    }
}

impl Storage for FileStorage {
    fn open(&self, open: &OpenStorage) -> Result<Opened, DiskError> {
        self.end_session();
        *lock(&self.subject) = Some(Arc::clone(&open.metainfo));
        *lock(&self.trouble) = None;
        let scanned = self.scan(open);
        let (session, opened) = match scanned {
            Ok(scanned) => scanned,
            Err(error) => {
                // Nothing is worked on until the next try.
                self.unlock();
                return Err(error);
            }
        };
        if open.fetched {
            let metainfo = &open.metainfo;
            self.keep(metainfo.info_hash(), false, |folder| {
                resume::save_metainfo(folder, metainfo)
            })?;
        }
        *write(&self.session) = Some(Arc::new(session));
        Ok(opened)
    }

    fn saved_metainfo(&self, info_hash: InfoHash) -> Option<Bytes> {
        let load = |folder: io::Result<Dir>| resume::load_metainfo(&folder.ok()?, info_hash);
        load(self.resume_folder(false)).or_else(|| load(self.spare_folder(false)))
    }

    fn verify(&self, piece: PieceIndex, expected: &[u8; 20]) -> Result<bool, DiskError> {
        let session = self.session()?;
        let places = read(&session.places);
        with_scratch(|scratch| {
            let mut message = self.message(&session, &places, piece, scratch)?;
            let found = digest(&mut message);
            let right = matches(found, expected)?;
            Ok(right && self.own(&session, &places, piece, &message.shown))
        })
    }

    fn verify_two(&self, pieces: [(PieceIndex, &[u8; 20]); 2]) -> [Result<bool, DiskError>; 2] {
        let hash = |scratch: &mut [u8]| {
            let session = self.session()?;
            let places = read(&session.places);
            let (half, other_half) = scratch.split_at_mut(scratch.len() / 2);
            let [(one, first), (two, second)] = pieces;
            let mut one = self.message(&session, &places, one, half)?;
            let mut two = self.message(&session, &places, two, other_half)?;
            let [found_one, found_two] = digest_two(&mut one, &mut two);
            let own = |piece, right, shown: &[u32]| {
                Ok(right? && self.own(&session, &places, piece, shown))
            };
            Ok([
                own(pieces[0].0, matches(found_one, first), &one.shown),
                own(pieces[1].0, matches(found_two, second), &two.shown),
            ])
        };
        with_scratch(hash).unwrap_or_else(|error: DiskError| [Err(error.clone()), Err(error)])
    }

    fn write(&self, piece: PieceIndex, begin: u32, data: &[Bytes]) -> Result<(), DiskError> {
        let session = self.session()?;
        self.keep_lock_to_write(&session.metainfo)?;
        let places = read(&session.places);
        let len = data
            .iter()
            .try_fold(0_u32, |sum, bytes| {
                sum.checked_add(u32::try_from(bytes.len()).ok()?)
            })
            .ok_or_else(|| out_of_range(piece))?;
        let spans = session
            .layout
            .spans(piece, begin, len)
            .ok_or_else(|| out_of_range(piece))?;
        let mut rest = data.iter().map(|bytes| &bytes[..]);
        let mut current: &[u8] = &[];
        let mut slices = Vec::new();
        for span in spans {
            let span_len = (span.range.end - span.range.start) as usize;
            let mut missing = span_len;
            while missing > 0 {
                if current.is_empty() {
                    // The spans are as long as the data.
                    current = rest.next().ok_or_else(|| out_of_range(piece))?;
                }
                let (now, later) = current.split_at(current.len().min(missing));
                slices.push(IoSlice::new(now));
                missing -= now.len();
                current = later;
            }
            if let Some(target) = self.place_of(&session, &places, &span, true)? {
                self.write_span(&session, &places, target, &mut slices)?;
            }
            slices.clear();
        }
        Ok(())
    }

    fn read(&self, piece: PieceIndex, begin: u32, buf: &mut [u8]) -> Result<(), DiskError> {
        let session = self.session()?;
        let places = read(&session.places);
        let spans = u32::try_from(buf.len())
            .ok()
            .and_then(|len| session.layout.spans(piece, begin, len))
            .ok_or_else(|| out_of_range(piece))?;
        for span in spans {
            let part = &mut buf[span.range.start as usize..span.range.end as usize];
            let Some(target) = self.place_of(&session, &places, &span, false)? else {
                part.fill(0);
                continue;
            };
            let note = || self.note(Trouble::Read(target.slot, target.offset));
            let (file, _) = self
                .file(&session, &places, target.slot, false)
                .inspect_err(|_| note())?;
            let path = || self.slot_path(&session.metainfo, target.slot);
            let read = platform::read_at(&file, part, target.offset).map_err(|error| {
                note();
                disk_error(&path(), &error)
            })?;
            if read < part.len() {
                note();
                let error = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file is shorter than it should be",
                );
                return Err(disk_error(&path(), &error));
            }
        }
        Ok(())
    }

    fn select(&self, wanted: &[bool]) -> Result<(), DiskError> {
        let session = self.session()?;
        self.select_files(&session, wanted)
    }

    fn trim(&self, file: FileIndex) -> Result<bool, DiskError> {
        let session = self.session()?;
        let places = read(&session.places);
        if self.options.read_only || self.is_foreign(file.get()) {
            return Ok(false);
        }
        let range = session.layout.file_range(file).unwrap_or_default();
        let slot = Slot::File(file.get());
        let (opened, _) = self.file(&session, &places, slot, true)?;
        opened
            .set_len(range.end - range.start)
            .map_err(|error| disk_error(&self.slot_path(&session.metainfo, slot), &error))?;
        session.written.store(true, Ordering::Relaxed);
        lock(&session.unsynced).insert(slot);
        Ok(true)
    }

    fn note_partial(&self, partial: Vec<PartialPiece>) {
        if let Ok(session) = self.session() {
            *lock(&session.partial) = partial;
        }
    }

    fn checkpoint(&self, have: &Bitfield, uploaded: u64, downloaded: u64) -> Result<(), DiskError> {
        let session = self.session()?;
        let told = Told {
            have: have.clone(),
            uploaded,
            downloaded,
        };
        self.record(&session, told)
    }

    fn probe(&self, space: u64) -> Result<(), DiskError> {
        let metainfo = lock(&self.subject).clone();
        self.probe_trouble(metainfo.as_deref(), space)
    }

    fn close(&self) -> Result<(), DiskError> {
        self.end_session();
        self.unlock();
        Ok(())
    }

    fn remove(&self, data: bool) -> Result<(), DiskError> {
        let session = read(&self.session).clone();
        // What was never this torrent's stays, whatever its name.
        let ours = |file: u32| {
            let used = session.as_ref().is_none_or(|session| {
                let places = read(&session.places);
                places
                    .files
                    .get(file as usize)
                    .is_some_and(|place| place.file.is_some())
            });
            used && !self.is_foreign(file)
        };
        self.end_session();
        self.unlock();
        let Some(metainfo) = lock(&self.subject).take() else {
            return Ok(());
        };
        // Before the record goes that may say so.
        let had_parts = session
            .as_ref()
            .is_some_and(|session| lock(&read(&session.places).parts).is_some());
        let recorded = |resume: resume::Resume| resume.parts.is_some();
        let has_parts = had_parts || self.load_record(&metainfo).is_some_and(recorded);
        let forgotten = self.remove_resume(&metainfo, has_parts);
        if data {
            self.remove_files(&metainfo, ours)?;
        }
        forgotten
    }
}
