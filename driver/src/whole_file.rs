//! Files that a program keeps for itself: written whole or not at all, and never over what is somebody else's.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that are tried for a file that is set aside.
const MAX_ASIDE: u32 = 1_000;

/// Puts bytes in the place of a file, so that whoever reads it finds what was there or what is there now. Blocks
/// until they are on the disk.
///
/// A new file has the mode that the system gives to new files; one that is there keeps its own. A link stays, and the
/// file that it leads to is replaced.
///
/// # Errors
///
/// What is there is no regular file (a folder, a device, a pipe, a link that leads nowhere) and stays as it is;
/// or whatever the system says.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (path, there) = look(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Another thread, or another process, may be writing to the same place.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let count = WRITTEN.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let mut file = File::create_new(&temporary)?;
    let written = there
        // Before anything is in it that others may not read.
        .map_or(Ok(()), |there| file.set_permissions(there.permissions()))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // The first error says more.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether something is at this path that [`replace_file`] would refuse to replace.
///
/// # Errors
///
/// What that is.
pub fn check_replaceable(path: &Path) -> io::Result<()> {
    look(path).map(drop)
}

/// Gives another name to a file that is in the way: its own with a number behind it. Says which.
///
/// # Errors
///
/// It is no regular file; or whatever the system says.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let (path, _) = look(path)?;
    for number in 1..=MAX_ASIDE {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        let aside = path.with_file_name(name);
        if fs::symlink_metadata(&aside).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            fs::rename(&path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Where a file really is, and what is there.
fn look(path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((path.to_owned(), None));
        }
        there => there?,
    };
    if !there.is_symlink() {
        return regular(path.to_owned(), there);
    }
    let real = path
        .canonicalize()
        .map_err(|_| io::Error::other("a symbolic link that leads nowhere"))?;
    let there = fs::metadata(&real)?;
    regular(real, there)
}

fn regular(path: PathBuf, there: Metadata) -> io::Result<(PathBuf, Option<Metadata>)> {
    match there.is_file() {
        true => Ok((path, Some(there))),
        false => Err(io::Error::other("not a regular file")),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_keeps_its_mode_and_nothing_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        replace_file(&path, b"one").unwrap();
        for kept in [0o600, 0o640, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            replace_file(&path, b"two").unwrap();
            assert_eq!(
                (mode(&path), fs::read(&path).unwrap()),
                (kept, b"two".to_vec())
            );
        }
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| temp.path().join(name));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        replace_file(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        fs::remove_file(&file).unwrap();
        assert!(replace_file(&link, b"new").is_err());
        assert!(link.is_symlink() && !file.exists());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_stays() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let link = temp.path().join("link");
        symlink("fifo", &link).unwrap();
        for path in [&fifo, &link, Path::new("/dev/null"), temp.path()] {
            assert!(replace_file(path, b"x").is_err(), "{}", path.display());
            assert!(check_replaceable(path).is_err());
            assert!(set_aside(path).is_err());
        }
        assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_set_aside_takes_nobodys_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        for (number, content) in [(1, "one"), (2, "two")] {
            fs::write(&path, content).unwrap();
            let aside = set_aside(&path).unwrap();
            assert_eq!(aside, temp.path().join(format!("file.{number}")));
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
            assert!(!path.exists());
        }
    }
}
