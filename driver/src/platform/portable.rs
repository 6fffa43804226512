//! The same by means of std alone. Folders are paths, looked at before they are gone through: enough
//! against torrents, not against somebody who swaps folders for symlinks at the same moment.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use super::{Access, Stat, not_a_regular_file};
use crate::sync::lock;

/// A file has one position, which is shared by all who use it.
static POSITION: Mutex<()> = Mutex::new(());

/// What a process may have open where there is no way to ask.
const OPEN_FILES: usize = 512;

/// A folder.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// Opens the folder with this path, which the user chose and may lead over symlinks.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() {
            Ok(Self(path.to_owned()))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Goes into a folder in this one; never over a symlink.
    pub(crate) fn enter(
        &self,
        name: &(impl AsRef<OsStr> + ?Sized),
        create: bool,
    ) -> io::Result<Self> {
        let name = name.as_ref();
        let path = self.0.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(Self(path)),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                match fs::create_dir(&path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    Ok(()) | Err(_) => self.enter(name, false),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file in this folder; never over a symlink.
    pub(crate) fn open_file(
        &self,
        name: &(impl AsRef<OsStr> + ?Sized),
        access: Access,
    ) -> io::Result<File> {
        let name = name.as_ref();
        if self.stat(name)?.is_some_and(|stat| !stat.regular) {
            return Err(not_a_regular_file());
        }
        OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(access == Access::Create)
            .create_new(access == Access::CreateNew)
            .open(self.0.join(name))
    }

    /// What has this name in this folder, if anything; a symlink is looked at itself.
    pub(crate) fn stat(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<Option<Stat>> {
        match fs::symlink_metadata(self.0.join(name.as_ref())) {
            Ok(metadata) => Ok(Some(stat_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which folder it is, by whatever path.
    #[allow(
        clippy::unnecessary_wraps,
        reason = "it has to ask the system elsewhere"
    )]
    pub(crate) fn id(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    pub(crate) fn remove_file(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<()> {
        fs::remove_file(self.0.join(name.as_ref()))
    }

    pub(crate) fn remove_folder(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<()> {
        fs::remove_dir(self.0.join(name.as_ref()))
    }

    /// Makes the names in this folder durable, which is not asked of std.
    #[allow(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "it has to ask the system elsewhere"
    )]
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Would make the whole file system durable.
    #[allow(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "it has to ask the system elsewhere"
    )]
    pub(crate) fn sync_file_system(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Whether some data more fits, as far as that can be told without the right to write here.
    pub(crate) fn probe_space(&self, space: u64) -> io::Result<()> {
        match self.probe(space) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    /// Whether files of this folder can be written, and some data more fits.
    pub(crate) fn probe(&self, space: u64) -> io::Result<()> {
        const NAME: &str = ".anabranch-probe";
        // What was never there but for an interrupted probe.
        let _ = self.remove_file(NAME);
        let mut file = self.open_file(NAME, Access::CreateNew)?;
        let len = usize::try_from(space).map_or(64 << 10, |space| space.min(64 << 10));
        let result = file.write_all(&vec![1; len]).and_then(|()| file.sync_all());
        drop(file);
        self.remove_file(NAME)?;
        result
    }
}

/// What this machine is called, where that can be learnt.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Reads until the buffer is full or the file ends; says how much was read.
pub(crate) fn read_at(mut file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let _position = lock(&POSITION);
    file.seek(SeekFrom::Start(offset))?;
    let mut done = 0;
    while done < buf.len() {
        match file.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all the slices, one after the other.
pub(crate) fn write_all_at(
    mut file: &File,
    slices: &mut [IoSlice<'_>],
    offset: u64,
) -> io::Result<()> {
    let _position = lock(&POSITION);
    file.seek(SeekFrom::Start(offset))?;
    slices.iter().try_for_each(|slice| file.write_all(slice))
}

/// What is known of an open file.
pub(crate) fn stat(file: &File) -> io::Result<Stat> {
    Ok(stat_of(&file.metadata()?))
}

fn stat_of(metadata: &Metadata) -> Stat {
    let mtime = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        });
    Stat {
        regular: metadata.is_file(),
        size: metadata.len(),
        mtime,
        deleted: false,
        id: None,
    }
}

/// Makes the file as long at least; space is not taken.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() < len {
        file.set_len(len)?;
    }
    Ok(())
}

/// Would give space back.
pub(crate) fn discard(_file: &File, _range: Range<u64>) {}

/// Nothing is known of holes, so all is data.
pub(crate) fn next_data(_file: &File, from: u64, end: u64) -> Option<Range<u64>> {
    (from < end).then_some(from..end)
}

/// Would say that a part of the file will be read soon.
pub(crate) fn will_need(_file: &File, _offset: u64, _len: u64) {}

/// Would drop what the system keeps of the file in memory.
pub(crate) fn forget_cached(_file: &File) {}

/// Not known without asking the system.
pub(crate) fn free_space(_folder: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How many files this process may have open.
pub(crate) fn open_file_limit() -> usize {
    OPEN_FILES
}

/// Whether the process has too many files open: not told apart here.
pub(crate) fn is_out_of_files(_error: &io::Error) -> bool {
    false
}

/// Whether there was a symlink where none may be: found before, and said otherwise.
pub(crate) fn is_symlink_refused(_error: &io::Error) -> bool {
    false
}

/// Whether the file system does not take a name that others take.
pub(crate) fn is_name_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput
    )
}
