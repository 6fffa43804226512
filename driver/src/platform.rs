//! All that differs between operating systems: folders that are entered without following symlinks,
//! positional reads and writes, holes, space and limits.
//!
//! [`unix`](self::unix) stands on system calls; [`portable`](self::portable) on std alone, for every
//! other system. Both have the same items.

use std::io;

use anabranch_core::event::DiskErrorKind;

#[cfg(any(test, not(unix)))]
#[cfg_attr(
    unix,
    allow(dead_code, reason = "compiled here so that it is tested here")
)]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(crate) use self::portable::*;
#[cfg(unix)]
pub(crate) use self::unix::*;

/// What is known of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Whether it is a regular file: neither a folder nor a symlink nor anything else.
    pub(crate) regular: bool,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub(crate) mtime: i64,
    /// Whether no folder has it any more.
    pub(crate) deleted: bool,
    /// What it is, by whatever name: device and inode, where there is such a thing.
    pub(crate) id: Option<(u64, u64)>,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To be read; it must be there.
    Read,
    /// To be read and written; it must be there.
    Write,
    /// To be read and written; it is created if it is not there.
    Create,
    /// To be read and written; it must not be there yet.
    CreateNew,
}

/// What an error means to a user.
pub(crate) fn error_kind(error: &io::Error) -> DiskErrorKind {
    use std::io::ErrorKind;

    const KINDS: [(ErrorKind, DiskErrorKind); 9] = [
        (ErrorKind::StorageFull, DiskErrorKind::NoSpace),
        (ErrorKind::QuotaExceeded, DiskErrorKind::NoSpace),
        (ErrorKind::FileTooLarge, DiskErrorKind::NoSpace),
        (ErrorKind::NotFound, DiskErrorKind::NotFound),
        (ErrorKind::PermissionDenied, DiskErrorKind::Permission),
        (ErrorKind::ReadOnlyFilesystem, DiskErrorKind::ReadOnly),
        (ErrorKind::NotADirectory, DiskErrorKind::UnsafePath),
        (ErrorKind::IsADirectory, DiskErrorKind::UnsafePath),
        (ErrorKind::UnexpectedEof, DiskErrorKind::Truncated),
    ];

    if is_out_of_files(error) {
        return DiskErrorKind::TooManyFiles;
    }
    if is_symlink_refused(error) {
        return DiskErrorKind::UnsafePath;
    }
    KINDS
        .iter()
        .find(|(kind, _)| *kind == error.kind())
        .map_or(DiskErrorKind::Io, |(_, kind)| *kind)
}

/// What is there is a symlink, a folder, a device: not what we read or write.
pub(crate) fn not_a_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::NotADirectory, "not a regular file")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_meaning() {
        use rustix::io::Errno;
        for (errno, kind) in [
            (Errno::NOSPC, DiskErrorKind::NoSpace),
            (Errno::DQUOT, DiskErrorKind::NoSpace),
            (Errno::NOENT, DiskErrorKind::NotFound),
            (Errno::ACCESS, DiskErrorKind::Permission),
            (Errno::PERM, DiskErrorKind::Permission),
            (Errno::ROFS, DiskErrorKind::ReadOnly),
            (Errno::MFILE, DiskErrorKind::TooManyFiles),
            (Errno::NFILE, DiskErrorKind::TooManyFiles),
            (Errno::LOOP, DiskErrorKind::UnsafePath),
            (Errno::NOTDIR, DiskErrorKind::UnsafePath),
            (Errno::ISDIR, DiskErrorKind::UnsafePath),
            (Errno::IO, DiskErrorKind::Io),
        ] {
            assert_eq!(error_kind(&io::Error::from(errno)), kind, "{errno:?}");
        }
    }

    macro_rules! suite {
        ($system:ident) => {
            mod $system {
                use std::fs;
                use std::io::IoSlice;

                use super::super::{Access, error_kind, $system::*};
                use anabranch_core::event::DiskErrorKind;

                #[test]
                fn symlinks_are_not_followed() {
                    let outside = tempfile::tempdir().unwrap();
                    let temp = tempfile::tempdir().unwrap();
                    fs::write(outside.path().join("victim"), b"keep").unwrap();
                    std::os::unix::fs::symlink(outside.path(), temp.path().join("folder")).unwrap();
                    std::os::unix::fs::symlink(
                        outside.path().join("victim"),
                        temp.path().join("file"),
                    )
                    .unwrap();
                    std::os::unix::fs::symlink(
                        outside.path().join("new"),
                        temp.path().join("dangling"),
                    )
                    .unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    for create in [false, true] {
                        let error = dir.enter("folder", create).err().unwrap();
                        assert_eq!(error_kind(&error), DiskErrorKind::UnsafePath);
                    }
                    for access in [Access::Read, Access::Write, Access::Create] {
                        for name in ["file", "dangling"] {
                            let error = dir.open_file(name, access).unwrap_err();
                            assert_eq!(error_kind(&error), DiskErrorKind::UnsafePath);
                        }
                    }
                    assert!(!dir.stat("file").unwrap().unwrap().regular);
                    assert!(!outside.path().join("new").exists());
                }

                #[test]
                fn what_is_no_regular_file_is_refused() {
                    let temp = tempfile::tempdir().unwrap();
                    fs::create_dir(temp.path().join("folder")).unwrap();
                    fs::write(temp.path().join("file"), b"").unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    for access in [Access::Read, Access::Write, Access::Create] {
                        let error = dir.open_file("folder", access).unwrap_err();
                        assert_eq!(error_kind(&error), DiskErrorKind::UnsafePath);
                    }
                    let error = dir.enter("file", true).err().unwrap();
                    assert_eq!(error_kind(&error), DiskErrorKind::UnsafePath);
                    assert_eq!(dir.stat("nothing").unwrap(), None);
                }

                #[test]
                fn many_slices_arrive_in_order_where_they_belong() {
                    let temp = tempfile::tempdir().unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    let file = dir.open_file("file", Access::CreateNew).unwrap();
                    let data: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
                    let mut slices: Vec<_> = data.chunks(3).map(IoSlice::new).collect();
                    write_all_at(&file, &mut slices, 70).unwrap();
                    let mut back = vec![1; 5100];
                    assert_eq!(read_at(&file, &mut back, 0).unwrap(), 5070);
                    assert!(back[..70].iter().all(|byte| *byte == 0));
                    assert_eq!(back[70..5070], data);
                    assert_eq!(read_at(&file, &mut back, 6000).unwrap(), 0);
                    assert_eq!(stat(&file).unwrap().size, 5070);
                }

                #[test]
                fn files_are_renamed_over_each_other_and_removed() {
                    let temp = tempfile::tempdir().unwrap();
                    let root = Dir::open(temp.path()).unwrap();
                    let dir = root.enter("folder", true).unwrap();
                    for name in ["a", "b"] {
                        dir.open_file(name, Access::Create).unwrap();
                    }
                    dir.rename("a", "b").unwrap();
                    dir.sync().unwrap();
                    assert!(root.remove_folder("folder").is_err());
                    dir.remove_file("b").unwrap();
                    root.remove_folder("folder").unwrap();
                    assert!(!temp.path().join("folder").exists());
                }

                #[test]
                fn a_file_system_is_synced_as_a_whole_or_left_alone() {
                    let temp = tempfile::tempdir().unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    dir.open_file("file", Access::Create).unwrap();
                    // Which of the two depends on the file system.
                    dir.sync_file_system().unwrap();
                }

                #[test]
                fn space_is_probed_without_leaving_anything() {
                    let temp = tempfile::tempdir().unwrap();
                    let dir = Dir::open(temp.path()).unwrap();
                    dir.probe(1 << 20).unwrap();
                    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
                    assert!(open_file_limit() > 0);
                }
            }
        };
    }

    suite!(unix);
    suite!(portable);

    #[test]
    fn too_much_space_is_not_there() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let error = dir.probe(1 << 60).unwrap_err();
        assert_eq!(error_kind(&error), DiskErrorKind::NoSpace);
    }

    #[test]
    fn a_deleted_file_is_noticed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let file = dir.open_file("file", Access::Create).unwrap();
        assert!(!stat(&file).unwrap().deleted);
        dir.remove_file("file").unwrap();
        assert!(stat(&file).unwrap().deleted);
    }

    #[test]
    fn a_fifo_does_not_hold_us_up() {
        let temp = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(temp.path().join("fifo"))
            .status();
        assert!(made.unwrap().success());
        let dir = Dir::open(temp.path()).unwrap();
        for access in [Access::Read, Access::Write, Access::Create] {
            assert!(dir.open_file("fifo", access).is_err());
        }
    }

    #[test]
    fn holes_are_told_from_data() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let file = dir.open_file("file", Access::Create).unwrap();
        file.set_len(8 << 20).unwrap();
        write_all_at(&file, &mut [io::IoSlice::new(b"x")], 4 << 20).unwrap();
        let data = next_data(&file, 0, 8 << 20).unwrap();
        // A file system that knows no holes says that all is data.
        assert!(data.contains(&(4 << 20)));
        if data.start > 0 {
            assert_eq!(next_data(&file, data.end, 8 << 20), None);
        }
    }
}
