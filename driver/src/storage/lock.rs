//! One process at a time works on a torrent's files.
//!
//! Two of them would record what the other undoes, and each would take the other's writing for a stranger's. So:
//!
//! - Who keeps its record beside the data locks it there, whether it downloads or seeds. Another process is
//!   refused, and told who has it.
//! - Who can only read there (a read-only medium, somebody else's folder) locks nothing that is another's, so
//!   that a reader never keeps the owner out; but if the owner's process has the lock, the reader is refused:
//!   files that change under it are no good to seed from. Several that only read may run side by side.
//! - The lock is the operating system's (`flock`), so that it goes with the process that holds it, however that
//!   ends; the file says who that is. Another process that has it may be about to end, after a kill: it gets a
//!   moment to do so.
//! - Somebody may take the file away, with its folder. That shows before the next write and at the next
//!   checkpoint, and the lock is taken anew; if another process has taken it meanwhile, this one stops.
//! - Where there are no locks (some network file systems), or too many torrents for the files that may be open,
//!   the torrent goes without.

use std::fs::{File, TryLockError};
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::thread;
use std::time::Duration;

use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::metainfo::{InfoHash, Metainfo};

use super::cache::LockPermit;
use super::files::FileStorage;
use super::trouble::Trouble;
use crate::platform::{self, Access, Dir};
use crate::sync::lock;

/// What is read of a lock at most, in bytes.
const HOLDER_LEN: u64 = 512;

/// How often a lock is looked at that its holder is just giving up.
const TRIES: usize = 8;

/// How often, and after how long each time, a lock is tried again that another process has: one that was killed
/// goes on holding it until the system is through with it.
const PATIENCE: (u32, Duration) = (10, Duration::from_millis(50));

/// A lock that this process holds. The file goes with it.
#[derive(Debug)]
pub(super) struct Lock {
    folder: Dir,
    name: String,
    file: File,
    _permit: LockPermit,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    Locked(Lock),
    /// Nobody can lock anything there.
    Without,
    /// Somebody else has it: who, in words.
    Taken(String),
}

impl Lock {
    /// Locks a torrent's resume data in `folder`. Who is `patient` waits a moment for another process.
    pub(super) fn take(
        folder: Dir,
        info_hash: InfoHash,
        permit: LockPermit,
        patient: bool,
    ) -> Attempt {
        let name = format!("{info_hash}.lock");
        for _ in 0..TRIES {
            let Ok(file) = folder.open_file(&name, Access::Create) else {
                return look(&folder, &name);
            };
            if let Err(error) = try_patiently(&file, patient) {
                return failed(&error, &file);
            }
            // Its holder may have taken it away in between: then it keeps nobody out.
            let there = folder.stat(&name).ok().flatten();
            let same = match (there, platform::stat(&file)) {
                (Some(there), Ok(ours)) => there.id == ours.id,
                (None, _) | (_, Err(_)) => false,
            };
            if same {
                // For people alone: that it is locked is what counts.
                let _ = sign(&file);
                return Attempt::Locked(Self {
                    folder,
                    name,
                    file,
                    _permit: permit,
                });
            }
        }
        Attempt::Without
    }

    /// Whether it is where others look for it.
    pub(super) fn is_in(&self, folder: &Dir) -> bool {
        let there = folder.stat(&self.name).ok().flatten();
        let ours = platform::stat(&self.file).ok();
        there
            .zip(ours)
            .is_some_and(|(there, ours)| there.id == ours.id && !ours.deleted)
    }
}

impl Lock {
    /// Whether the file was deleted.
    fn is_deleted(&self) -> bool {
        platform::stat(&self.file).is_ok_and(|stat| stat.deleted)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // As long as it is locked: afterwards it might be another's. If it was taken away, it already may be.
        if self.is_in(&self.folder) {
            let _ = self.folder.remove_file(&self.name);
        }
    }
}

/// Who cannot lock anything there sees at least whether somebody else has it. Shared, and for a moment only: it
/// keeps nobody out.
fn look(folder: &Dir, name: &str) -> Attempt {
    let Ok(file) = folder.open_file(name, Access::Read) else {
        return Attempt::Without;
    };
    match file.try_lock_shared() {
        Ok(()) => Attempt::Without,
        Err(error) => failed(&error, &file),
    }
}

/// A lock was not to be had: because somebody has it, or because there are no locks here.
fn failed(error: &TryLockError, file: &File) -> Attempt {
    match error {
        TryLockError::WouldBlock => Attempt::Taken(holder(file)),
        TryLockError::Error(_) => Attempt::Without,
    }
}

fn try_patiently(file: &File, patient: bool) -> Result<(), TryLockError> {
    let mut tries = if patient { PATIENCE.0 } else { 0 };
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if tries > 0 && !is_own(file) => {
                tries -= 1;
                thread::sleep(PATIENCE.1);
            }
            tried => return tried,
        }
    }
}

impl FileStorage {
    /// Keeps other processes from the same torrent, where that can be done. Who is `patient` waits a moment for
    /// one that is about to end.
    pub(super) fn take_lock(&self, metainfo: &Metainfo, patient: bool) -> Result<(), DiskError> {
        let mut held = lock(&self.lock);
        let Ok(folder) = self.resume_folder(true) else {
            *held = None;
            return Ok(());
        };
        if held.as_ref().is_some_and(|held| held.is_in(&folder)) {
            return Ok(());
        }
        let Some(permit) = self.options.open_files.lock_permit() else {
            return Ok(());
        };
        match Lock::take(folder, metainfo.info_hash(), permit, patient) {
            Attempt::Locked(lock) => *held = Some(lock),
            Attempt::Without => *held = None,
            // One that was lost stays lost, and is looked for again before anything else is written.
            Attempt::Taken(message) => {
                self.note(Trouble::Lock);
                return Err(DiskError {
                    kind: DiskErrorKind::InUse,
                    file: self.resume_path().display().to_string(),
                    message,
                });
            }
        }
        Ok(())
    }

    /// Takes the lock anew if it is not where others look for it any more. Says whether it was there.
    pub(super) fn keep_lock(&self, metainfo: &Metainfo) -> Result<bool, DiskError> {
        let is_kept = lock(&self.lock).as_ref().is_none_or(|held| {
            let folder = self.resume_folder(false);
            folder.is_ok_and(|folder| held.is_in(&folder))
        });
        if !is_kept {
            self.take_lock(metainfo, false)?;
        }
        Ok(is_kept)
    }

    /// As [`keep_lock`](Self::keep_lock), if the file was deleted: cheap enough for every write.
    pub(super) fn keep_lock_to_write(&self, metainfo: &Metainfo) -> Result<(), DiskError> {
        let is_lost = lock(&self.lock).as_ref().is_some_and(Lock::is_deleted);
        if is_lost {
            self.take_lock(metainfo, false)?;
        }
        Ok(())
    }

    /// Lets others in, and leaves no folder that has nothing in it.
    pub(super) fn unlock(&self) {
        let held = lock(&self.lock).take();
        if held.is_some() {
            drop(held);
            self.drop_resume_folder();
        }
    }
}

/// Writes down who has the lock.
fn sign(file: &File) -> io::Result<()> {
    let program = std::env::current_exe().ok();
    let program = program
        .as_deref()
        .and_then(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let text = format!(
        "{}\n{program}\n{}\n",
        std::process::id(),
        platform::host_name()
    );
    file.set_len(0)?;
    platform::write_all_at(file, &mut [IoSlice::new(text.as_bytes())], 0)
}

/// Whether it is this process that has the lock.
fn is_own(mut file: &File) -> bool {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0));
    let read = read.and_then(|_| file.take(HOLDER_LEN).read_to_string(&mut text));
    let mut lines = text.lines();
    let pid = lines.next() == Some(std::process::id().to_string().as_str());
    read.is_ok() && pid && lines.nth(1) == Some(platform::host_name().as_str())
}

/// Who has the lock, in words.
fn holder(mut file: &File) -> String {
    let mut bytes = Vec::new();
    let _ = file.seek(SeekFrom::Start(0));
    // Whoever has it may be about to write.
    let _ = file.take(HOLDER_LEN).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
    let mut next = || lines.next().unwrap_or_default();
    let (pid, program, host) = (next(), next(), next());
    if pid.parse::<u32>().is_err() {
        return "another process works on it".to_owned();
    }
    let program = match program.as_str() {
        "" => String::new(),
        program => format!(" ({program})"),
    };
    if host != platform::host_name() {
        return format!("process {pid}{program} on {host} works on it");
    }
    if pid == std::process::id().to_string() {
        return format!("this process works on it already ({pid})");
    }
    format!("process {pid}{program} works on it")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::cache::OpenFiles;
    use super::*;

    fn take(dir: &std::path::Path, files: &OpenFiles) -> Attempt {
        let folder = Dir::open(dir).unwrap();
        match files.lock_permit() {
            Some(permit) => Lock::take(folder, InfoHash::new([7; 20]), permit, true),
            None => Attempt::Without,
        }
    }

    #[test]
    fn a_lock_keeps_others_out_says_who_has_it_and_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(9);
        let Attempt::Locked(lock) = take(temp.path(), &files) else {
            panic!("nobody has it");
        };
        assert!(lock.is_in(&Dir::open(temp.path()).unwrap()));
        let Attempt::Taken(who) = take(temp.path(), &files) else {
            panic!("it is taken");
        };
        assert!(who.contains(&std::process::id().to_string()), "{who}");
        drop(lock);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        assert!(matches!(take(temp.path(), &files), Attempt::Locked(_)));
    }

    #[test]
    fn what_a_killed_process_left_is_no_lock() {
        let temp = tempfile::tempdir().unwrap();
        let name = format!("{}.lock", InfoHash::new([7; 20]));
        fs::write(temp.path().join(&name), "1\ninit\nelsewhere\n").unwrap();
        let Attempt::Locked(lock) = take(temp.path(), &OpenFiles::new(9)) else {
            panic!("nobody has it");
        };
        let text = fs::read_to_string(temp.path().join(&name)).unwrap();
        assert!(
            text.starts_with(&format!("{}\n", std::process::id())),
            "{text}"
        );
        drop(lock);
    }

    #[test]
    fn a_lock_that_was_deleted_is_not_where_others_look() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Dir::open(temp.path()).unwrap();
        let Attempt::Locked(lock) = take(temp.path(), &OpenFiles::new(9)) else {
            panic!("nobody has it");
        };
        for entry in fs::read_dir(temp.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(!lock.is_in(&folder));
        assert!(matches!(
            take(temp.path(), &OpenFiles::new(9)),
            Attempt::Locked(_)
        ));
    }

    #[test]
    fn what_has_no_locks_is_used_without() {
        let file = tempfile::tempfile().unwrap();
        let error = TryLockError::Error(io::ErrorKind::Unsupported.into());
        assert!(matches!(failed(&error, &file), Attempt::Without));
        let error = TryLockError::WouldBlock;
        assert!(matches!(failed(&error, &file), Attempt::Taken(_)));
    }

    #[test]
    fn no_more_locks_are_held_than_files_may_be_open() {
        let files = OpenFiles::new(1);
        let permit = files.lock_permit();
        assert!(permit.is_some() && files.lock_permit().is_none());
        drop(permit);
        assert!(files.lock_permit().is_some());
    }

    #[test]
    fn whatever_a_lock_holds_is_told_harmlessly() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        for (text, told) in [
            ("", "another process works on it"),
            ("x\u{1b}[2J\ny\nz", "another process works on it"),
            (
                "12\nfoo\u{7}bar\nnowhere\n",
                "process 12 (foobar) on nowhere works on it",
            ),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(&File::open(&path).unwrap()), told);
        }
    }
}
