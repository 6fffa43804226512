//! One process at a time works on a torrent's files: a lock beside its resume data.
//!
//! Two of them would record what the other undoes, and each would take the other's writing for a
//! stranger's. The lock is the operating system's (`flock`), so that it goes with the process that holds
//! it, however that ends; the file says who that is. It is not needed to read or write: where it cannot
//! be had (a read-only medium, a network file system without locks, somebody else's folder, too many
//! torrents for the files that may be open) the torrent goes without.

use std::fs::{File, TryLockError};
use std::io::{self, IoSlice, Read};

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
    /// Locks a torrent's resume data in `folder`.
    pub(super) fn take(folder: Dir, info_hash: InfoHash, permit: LockPermit) -> Attempt {
        let name = format!("{info_hash}.lock");
        for _ in 0..TRIES {
            // Another user's can be locked without being written to.
            let opened = folder
                .open_file(&name, Access::Create)
                .or_else(|_| folder.open_file(&name, Access::Read));
            let Ok(file) = opened else {
                return Attempt::Without;
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Attempt::Taken(holder(&file)),
                Err(TryLockError::Error(_)) => return Attempt::Without,
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

impl Drop for Lock {
    fn drop(&mut self) {
        // As long as it is locked: afterwards it might be another's.
        let _ = self.folder.remove_file(&self.name);
    }
}

impl FileStorage {
    /// Keeps other processes from the same torrent, where that can be done.
    pub(super) fn take_lock(&self, metainfo: &Metainfo) -> Result<(), DiskError> {
        let mut held = lock(&self.lock);
        let Ok(folder) = self.resume_folder(true) else {
            *held = None;
            return Ok(());
        };
        if held.as_ref().is_some_and(|held| held.is_in(&folder)) {
            return Ok(());
        }
        *held = None;
        let Some(permit) = self.options.open_files.lock_permit() else {
            return Ok(());
        };
        match Lock::take(folder, metainfo.info_hash(), permit) {
            Attempt::Locked(lock) => *held = Some(lock),
            Attempt::Without => {}
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

/// Who has the lock, in words.
fn holder(file: &File) -> String {
    let mut bytes = Vec::new();
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
            Some(permit) => Lock::take(folder, InfoHash::new([7; 20]), permit),
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
