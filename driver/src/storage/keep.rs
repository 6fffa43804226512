//! Where a torrent's record is kept: beside its data, or else in a spare folder.
//!
//! To seed, and to find a download complete, reading is enough: a read-only medium or another user's folder
//! takes no record, so it goes to the user's own folder, and what was written nowhere is only verified
//! again. But data that was written needs a record: without one, what is there after a crash is anybody's
//! guess.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anabranch_core::event::DiskError;
use anabranch_core::metainfo::{InfoHash, Metainfo};
use anabranch_hash::Sha1;

use super::disk_error;
use super::files::FileStorage;
use super::resume::{self, Resume};
use crate::platform::Dir;
use crate::sync::lock;

/// A word to the user about records that could not be kept where they belong. Clones share it: give the
/// same to all storages, and there is one word, however many torrents it is about.
#[derive(Clone, Default)]
pub struct KeepWarning(Arc<Mutex<Word>>);

#[derive(Default)]
enum Word {
    #[default]
    None,
    Due(String),
    Told,
}

impl KeepWarning {
    /// The word, if there is one; once.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        let mut word = lock(&self.0);
        match std::mem::take(&mut *word) {
            Word::None => None,
            Word::Due(text) => {
                *word = Word::Told;
                Some(text)
            }
            Word::Told => {
                *word = Word::Told;
                None
            }
        }
    }

    fn set(&self, text: impl FnOnce() -> String) {
        let mut word = lock(&self.0);
        if matches!(*word, Word::None) {
            *word = Word::Due(text());
        }
    }
}

impl fmt::Debug for KeepWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepWarning")
    }
}

impl FileStorage {
    /// The newest record of a torrent that is worth anything, from wherever it was kept.
    pub(super) fn load_record(&self, metainfo: &Metainfo) -> Option<Resume> {
        let load = |folder: io::Result<Dir>| resume::load(&folder.ok()?, metainfo);
        let beside = load(self.resume_folder(false));
        let spare = load(self.spare_folder(false));
        match (beside, spare) {
            (Some(beside), Some(spare)) => {
                // What either says of the data holds only as far as the files are what they were then.
                let (uploaded, downloaded) = (
                    beside.uploaded.max(spare.uploaded),
                    beside.downloaded.max(spare.downloaded),
                );
                let newer = match self.is_spare_newer(metainfo.info_hash()) {
                    true => spare,
                    false => beside,
                };
                Some(Resume {
                    uploaded,
                    downloaded,
                    ..newer
                })
            }
            (beside, spare) => beside.or(spare),
        }
    }

    fn is_spare_newer(&self, info_hash: InfoHash) -> bool {
        let name = resume::resume_name(info_hash);
        let time = |folder: io::Result<Dir>| Some(folder.ok()?.stat(&name).ok()??.mtime);
        time(self.spare_folder(false)) > time(self.resume_folder(false))
    }

    /// Keeps something of a torrent with `save`, which is given the folder: the one beside its data, or
    /// else the spare one. `needed` says that it is an error if neither takes it; else it is worth a word.
    pub(super) fn keep(
        &self,
        info_hash: InfoHash,
        needed: bool,
        save: impl Fn(&Dir) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let Err(error) = self.resume_folder(true).and_then(|folder| save(&folder)) else {
            if let Ok(spare) = self.spare_folder(false) {
                // Older by now; what stays is not harmful.
                let _ = resume::forget(&spare, info_hash);
            }
            return Ok(());
        };
        let path = self.resume_path();
        let taken = self.spare_folder(true).and_then(|folder| save(&folder));
        match (taken, self.spare_path()) {
            (Ok(()), Some(spare)) => self.options.warning.set(|| {
                format!(
                    "{} takes no resume data ({error}): it is kept in {}",
                    path.display(),
                    spare.display()
                )
            }),
            _ if needed => return Err(disk_error(&path, &error)),
            _ => self.options.warning.set(|| {
                format!(
                    "{} takes no resume data ({error}): the next start verifies everything again",
                    path.display()
                )
            }),
        }
        Ok(())
    }

    /// Where records go that the data's own folder does not take. Each download folder has its own in it:
    /// a copy of a torrent's data elsewhere is another matter.
    fn spare_path(&self) -> Option<PathBuf> {
        let dir = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let digest = Sha1::digest(dir.as_os_str().as_encoded_bytes());
        let name: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Some(self.options.spare_resume_dir.as_ref()?.join(name))
    }

    pub(super) fn spare_folder(&self, create: bool) -> io::Result<Dir> {
        let path = self.spare_path().ok_or(io::ErrorKind::NotFound)?;
        if create {
            std::fs::create_dir_all(&path)?;
        }
        Dir::open(&path)
    }

    /// Removes what the spare folder has of a torrent.
    pub(super) fn forget_spare(&self, info_hash: InfoHash) -> io::Result<()> {
        let folder = match self.spare_folder(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            folder => folder?,
        };
        resume::forget(&folder, info_hash)?;
        if let Some(path) = self.spare_path() {
            // It stays while it has anything of other torrents.
            let _ = std::fs::remove_dir(path);
        }
        Ok(())
    }
}
