//! Files that are kept open, for all storages together.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

use crate::platform::{is_out_of_files, open_file_limit};
use crate::sync::lock;

/// A bounded number of open files, of which the least recently used is closed first. Clones share it:
/// give the same one to all storages.
///
/// A job holds the files that it works on beyond the bound; so as many more may be open as jobs run. As
/// many more again are locks that keep other processes from the same files.
#[derive(Clone)]
pub struct OpenFiles {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    limit: usize,
    entries: BTreeMap<FileKey, Entry>,
    /// The same by when they were last used.
    by_use: BTreeMap<u64, FileKey>,
    /// Counts uses.
    clock: u64,
    /// How many locks are held, each of which is an open file beside these.
    locks: usize,
}

/// The right to hold a lock: as many are given out as files may be kept open.
pub(super) struct LockPermit(OpenFiles);

struct Entry {
    file: Arc<File>,
    writable: bool,
    used: u64,
}

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileKey {
    /// The number that the storage has in this process.
    pub(super) storage: u64,
    pub(super) slot: Slot,
}

/// Which file of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// A file of the torrent.
    File(u32),
    /// What is kept aside of files that are not wanted.
    Parts,
}

impl OpenFiles {
    /// Keeps up to `limit` files open.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared {
                limit,
                ..Shared::default()
            })),
        }
    }

    /// How many files are kept open now.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared).entries.len()
    }

    /// Whether no file is kept open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, opened with `open` if it is not, or not so that it can be written. When there are too
    /// many open files, the ones kept here are given up before it is tried once more.
    pub(super) fn open(
        &self,
        key: FileKey,
        write: bool,
        open: impl Fn() -> io::Result<File>,
    ) -> io::Result<Arc<File>> {
        if let Some(file) = lock(&self.shared).find(key, write) {
            return Ok(file);
        }
        let file = match open() {
            Err(error) if is_out_of_files(&error) => {
                self.close_all();
                open()?
            }
            opened => opened?,
        };
        let file = Arc::new(file);
        // Closing may take its time and is not done under the lock.
        let closed = lock(&self.shared).insert(key, write, Arc::clone(&file));
        drop(closed);
        Ok(file)
    }

    /// Closes one file.
    pub(super) fn close(&self, key: FileKey) {
        let closed = lock(&self.shared).take(key);
        drop(closed);
    }

    /// Closes all files of a storage.
    pub(super) fn close_storage(&self, storage: u64) {
        let first = FileKey {
            storage,
            slot: Slot::File(0),
        };
        let last = FileKey {
            storage,
            slot: Slot::Parts,
        };
        let closed: Vec<_> = {
            let mut shared = lock(&self.shared);
            let keys: Vec<_> = shared
                .entries
                .range(first..=last)
                .map(|(k, _)| *k)
                .collect();
            keys.into_iter().map(|key| shared.take(key)).collect()
        };
        drop(closed);
    }

    /// Leave to hold a lock, if there are not too many.
    pub(super) fn lock_permit(&self) -> Option<LockPermit> {
        let mut shared = lock(&self.shared);
        if shared.locks >= shared.limit {
            return None;
        }
        shared.locks += 1;
        Some(LockPermit(self.clone()))
    }

    fn close_all(&self) {
        let closed = {
            let mut shared = lock(&self.shared);
            shared.by_use.clear();
            std::mem::take(&mut shared.entries)
        };
        drop(closed);
    }
}

impl Drop for LockPermit {
    fn drop(&mut self) {
        lock(&self.0.shared).locks -= 1;
    }
}

impl fmt::Debug for LockPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockPermit")
    }
}

impl Default for OpenFiles {
    /// Keeps up to a quarter of the files open that the process may have: the rest is for sockets.
    fn default() -> Self {
        Self::new((open_file_limit() / 4).max(1))
    }
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFiles({})", self.len())
    }
}

impl Shared {
    fn find(&mut self, key: FileKey, write: bool) -> Option<Arc<File>> {
        let entry = self.entries.get_mut(&key)?;
        if write && !entry.writable {
            return None;
        }
        self.clock += 1;
        self.by_use.remove(&entry.used);
        self.by_use.insert(self.clock, key);
        entry.used = self.clock;
        Some(Arc::clone(&entry.file))
    }

    /// Returns what must be closed for it.
    fn insert(&mut self, key: FileKey, writable: bool, file: Arc<File>) -> Vec<Arc<File>> {
        let mut closed: Vec<_> = self.take(key).into_iter().collect();
        self.clock += 1;
        let used = self.clock;
        self.by_use.insert(used, key);
        let entry = Entry {
            file,
            writable,
            used,
        };
        self.entries.insert(key, entry);
        while self.entries.len() > self.limit {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            closed.extend(self.entries.remove(&oldest).map(|entry| entry.file));
        }
        closed
    }

    fn take(&mut self, key: FileKey) -> Option<Arc<File>> {
        let entry = self.entries.remove(&key)?;
        self.by_use.remove(&entry.used);
        Some(entry.file)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn key(storage: u64, file: u32) -> FileKey {
        FileKey {
            storage,
            slot: Slot::File(file),
        }
    }

    #[test]
    fn the_least_recently_used_file_is_closed_first() {
        let files = OpenFiles::new(2);
        let opened = Cell::new(0);
        let open = |file| {
            files
                .open(key(1, file), false, || {
                    opened.set(opened.get() + 1);
                    tempfile::tempfile()
                })
                .unwrap();
            opened.get()
        };
        let counts: Vec<_> = [0, 1, 0, 2, 0, 1].map(open).to_vec();
        assert_eq!(counts, [1, 2, 2, 3, 3, 4]);
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_file_is_opened_again_to_be_written_and_closed_with_its_storage() {
        let files = OpenFiles::new(9);
        let opened = Cell::new(0);
        let open = |storage, write| {
            files
                .open(key(storage, 0), write, || {
                    opened.set(opened.get() + 1);
                    tempfile::tempfile()
                })
                .unwrap();
            opened.get()
        };
        assert_eq!(
            [
                open(1, false),
                open(1, true),
                open(1, false),
                open(2, false)
            ],
            [1, 2, 2, 3]
        );
        files.close_storage(1);
        assert_eq!((files.len(), open(2, false), open(1, false)), (1, 3, 4));
        files.close(key(1, 0));
        assert_eq!(files.len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn too_many_open_files_are_closed_before_another_try() {
        let files = OpenFiles::new(9);
        files.open(key(1, 0), false, tempfile::tempfile).unwrap();
        let tries = Cell::new(0);
        let opened = files.open(key(1, 1), false, || {
            tries.set(tries.get() + 1);
            if files.is_empty() {
                tempfile::tempfile()
            } else {
                Err(rustix::io::Errno::MFILE.into())
            }
        });
        assert!(opened.is_ok());
        assert_eq!((tries.get(), files.len()), (2, 1));
    }
}
