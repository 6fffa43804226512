//! The system calls of Unix, by way of rustix; what only Linux has is marked.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Access, Stat, not_a_regular_file};

/// Slices that one system call takes at least everywhere.
const IOV_MAX: usize = 1024;

/// Enough to look at something and to go through it, even where it must not be listed.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC);

/// A folder, held by descriptor: it stays the same one whatever happens to its path.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens the folder with this path, which the user chose and may lead over symlinks.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = LOOK | OFlags::DIRECTORY;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Goes into a folder in this one; never over a symlink.
    pub(crate) fn enter(
        &self,
        name: &(impl AsRef<OsStr> + ?Sized),
        create: bool,
    ) -> io::Result<Self> {
        let name = name.as_ref();
        let flags = LOOK | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if create => match rustix::fs::mkdirat(&self.0, name, 0o777.into()) {
                Ok(()) | Err(Errno::EXIST) => self.enter(name, false),
                Err(error) => Err(error.into()),
            },
            opened => Ok(Self(opened?)),
        }
    }

    /// Opens a regular file in this folder; never over a symlink.
    pub(crate) fn open_file(
        &self,
        name: &(impl AsRef<OsStr> + ?Sized),
        access: Access,
    ) -> io::Result<File> {
        // A FIFO must not hold us up before it is seen to be one.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let flags = flags
            | match access {
                Access::Read => OFlags::RDONLY,
                Access::Write => OFlags::RDWR,
                Access::Create => OFlags::RDWR | OFlags::CREATE,
                Access::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let file = File::from(rustix::fs::openat(
            &self.0,
            name.as_ref(),
            flags,
            0o666.into(),
        )?);
        if stat(&file)?.regular {
            Ok(file)
        } else {
            Err(not_a_regular_file())
        }
    }

    /// What has this name in this folder, if anything; a symlink is looked at itself.
    pub(crate) fn stat(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Which folder it is, by whatever path.
    pub(crate) fn id(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(stat_of(&rustix::fs::fstat(&self.0)?).id)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    pub(crate) fn remove_file(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.0,
            name.as_ref(),
            AtFlags::empty(),
        )?)
    }

    pub(crate) fn remove_folder(&self, name: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.0,
            name.as_ref(),
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Makes the names in this folder durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(self.listable()?) {
            // Some file systems have nothing to do for a folder, and say so like this.
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the whole file system durable that this folder is in, with one call instead of one for each of
    /// many files. Says whether it did: not where a failure to write might go unnoticed.
    #[cfg(target_os = "linux")]
    pub(crate) fn sync_file_system(&self) -> io::Result<bool> {
        // Of these it is known that they write everything, and say so if they cannot.
        const EXT4: u64 = 0xEF53;
        const XFS: u64 = 0x5846_5342;
        const BTRFS: u64 = 0x9123_683E;
        const F2FS: u64 = 0xF2F5_2010;
        const TMPFS: u64 = 0x0102_1994;

        let folder = self.listable()?;
        let kind = rustix::fs::fstatfs(&folder)?.f_type as u64;
        if ![EXT4, XFS, BTRFS, F2FS, TMPFS].contains(&kind) || !tells_of_failed_syncs() {
            return Ok(false);
        }
        rustix::fs::syncfs(&folder)?;
        Ok(true)
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "it has to ask the system elsewhere"
    )]
    pub(crate) fn sync_file_system(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Whether files of this folder can be written, and `space` bytes more fit.
    pub(crate) fn probe(&self, space: u64) -> io::Result<()> {
        let stat = rustix::fs::fstatvfs(self.listable()?)?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < space {
            return Err(Errno::NOSPC.into());
        }
        self.probe_write(space)
    }

    /// Whether `space` bytes more fit, as far as that can be told without the right to write here.
    pub(crate) fn probe_space(&self, space: u64) -> io::Result<()> {
        match self.probe(space) {
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(()),
                _ => Err(error),
            },
            Ok(()) => Ok(()),
        }
    }

    /// The same folder, opened for more than to go through it.
    fn listable(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, ".", flags, Mode::empty())?)
    }

    /// A quota shows only to who writes, so a file without a name takes the space for a moment.
    #[cfg(target_os = "linux")]
    fn probe_write(&self, space: u64) -> io::Result<()> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, ".", flags, 0o600.into()) {
            Ok(file) => allocate(&File::from(file), space.max(1)),
            // The file system has no such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
                self.probe_access()
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn probe_write(&self, _space: u64) -> io::Result<()> {
        self.probe_access()
    }

    fn probe_access(&self) -> io::Result<()> {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        Ok(rustix::fs::accessat(
            &self.0,
            ".",
            access,
            AtFlags::empty(),
        )?)
    }
}

/// Whether syncing a file system reports what could not be written: since Linux 5.8.
#[cfg(target_os = "linux")]
fn tells_of_failed_syncs() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next()) >= (5, 8)
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: (stat.st_mtime as i64)
            .saturating_mul(1_000_000_000)
            .saturating_add(stat.st_mtime_nsec as i64),
        deleted: stat.st_nlink == 0,
        id: Some((stat.st_dev as u64, stat.st_ino as u64)),
    }
}

/// Reads until the buffer is full or the file ends; says how much was read.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all the slices, one after the other, with as few system calls as there can be.
pub(crate) fn write_all_at(
    file: &File,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    // Empty ones at the front would look like a write that gets nowhere.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let batch = &slices[..slices.len().min(IOV_MAX)];
        match rustix::io::pwritev(file, batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is known of an open file.
pub(crate) fn stat(file: &File) -> io::Result<Stat> {
    let metadata = file.metadata()?;
    let mtime = metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec());
    Ok(Stat {
        regular: metadata.is_file(),
        size: metadata.size(),
        mtime,
        deleted: metadata.nlink() == 0,
        id: Some((metadata.dev(), metadata.ino())),
    })
}

/// Takes the space that the first `len` bytes of the file need, and makes it as long at least. Where
/// the file system cannot, it is made as long only.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        result => return Ok(result?),
    }
    if stat(file)?.size < len {
        file.set_len(len)?;
    }
    Ok(())
}

/// Gives the space of a part of the file back, if that can be done; it reads as zeros then. For
/// tidiness only.
pub(crate) fn discard(file: &File, range: Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::FallocateFlags;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // What stays is never looked at again.
        let _ = rustix::fs::fallocate(file, flags, range.start, range.end - range.start);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, range);
}

/// The first stretch of data at or after `from` and before `end`. All is data where nothing is known
/// of holes; what is not data reads as zeros.
pub(crate) fn next_data(file: &File, from: u64, end: u64) -> Option<Range<u64>> {
    if from >= end {
        return None;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{SeekFrom, seek};
        let start = match seek(file, SeekFrom::Data(from)) {
            Ok(start) if start < end => start,
            Ok(_) | Err(Errno::NXIO) => return None,
            Err(_) => from,
        };
        let stop = seek(file, SeekFrom::Hole(start)).unwrap_or(end).min(end);
        // A file that changes meanwhile must not make a caller's loop stand still.
        Some(start..stop.max(start + 1))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Some(from..end)
    }
}

/// Says that a part of the file will be read soon.
pub(crate) fn will_need(file: &File, offset: u64, len: u64) {
    #[cfg(target_os = "linux")]
    {
        // Advice only.
        let len = std::num::NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(file, offset, len, rustix::fs::Advice::WillNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, len);
}

/// Drops what the system keeps of the file in memory: after a failed sync it may be marked as clean
/// without being on the disk, and must not be verified in place of what is.
pub(crate) fn forget_cached(file: &File) {
    #[cfg(target_os = "linux")]
    {
        // Advice only.
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// How many bytes the user may still write where a folder is.
pub(crate) fn free_space(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What this machine is called.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// How many files this process may have open.
pub(crate) fn open_file_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Whether the process or the system has too many files open.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Whether there was a symlink where none may be.
pub(crate) fn is_symlink_refused(error: &io::Error) -> bool {
    // The second is FreeBSD's word for it.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::LOOP | Errno::MLINK)
    )
}

/// Whether the file system does not take a name that others take: its length, or what is in it.
pub(crate) fn is_name_refused(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ)
    )
}
