//! The files of a folder, to make a torrent of.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anabranch_core::metainfo::{SourceFile, limits};

use crate::exit::Failure;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path below the folder, and its length.
    pub(crate) source: SourceFile,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Where downloads keep their resume data, in the folder that they go to. It is no part of them.
const RESUME_FOLDER: &str = ".anabranch";

/// What is in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Every file, hidden ones too, in no particular order.
    pub(crate) files: Vec<Found>,
    /// What was left out: it is neither file nor folder, or the resume data of downloads.
    pub(crate) skipped: Vec<PathBuf>,
}

/// Looks for all files of a folder. Symbolic links are followed; those that lead back to a folder on
/// the way to them, or nowhere, are errors.
pub(crate) fn walk(root: &Path) -> Result<Folder, Failure> {
    let mut folder = Folder::default();
    let real = root
        .canonicalize()
        .map_err(|error| Failure::io("read", root, &error))?;
    let mut waiting = vec![Pending {
        path: root.to_owned(),
        components: Vec::new(),
        above: vec![real],
    }];
    while let Some(pending) = waiting.pop() {
        visit(pending, &mut waiting, &mut folder)?;
    }
    Ok(folder)
}

/// A folder to be looked into.
struct Pending {
    path: PathBuf,
    /// Its path below the root.
    components: Vec<Vec<u8>>,
    /// Where it and the folders on the way to it really are.
    above: Vec<PathBuf>,
}

fn visit(pending: Pending, waiting: &mut Vec<Pending>, folder: &mut Folder) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("read", &pending.path, &error);
    for entry in fs::read_dir(&pending.path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let mut components = pending.components.clone();
        components.push(file_name(&entry.file_name()));
        if components.len() > limits::MAX_PATH_DEPTH {
            return Err(Failure::new(format!(
                "{} is nested too deeply for a torrent; at most {} levels are possible",
                path.display(),
                limits::MAX_PATH_DEPTH
            )));
        }
        let is_link = entry.file_type().map_err(failed)?.is_symlink();
        let metadata = fs::metadata(&path).map_err(|error| {
            let failure = Failure::io("read", &path, &error);
            match is_link {
                true => failure.advise("it is a symbolic link that leads nowhere; remove it"),
                false => failure,
            }
        })?;
        if metadata.is_dir() && components == [RESUME_FOLDER.as_bytes()] {
            folder.skipped.push(path);
        } else if metadata.is_dir() {
            let mut above = pending.above.clone();
            let real = path
                .canonicalize()
                .map_err(|error| Failure::io("read", &path, &error))?;
            if above.contains(&real) {
                return Err(Failure::new(format!(
                    "{} is a symbolic link that leads back to {}, a folder that it lies in",
                    path.display(),
                    real.display()
                ))
                .advise("remove the link, or make the torrent of a folder without it"));
            }
            above.push(real);
            waiting.push(Pending {
                path,
                components,
                above,
            });
        } else if metadata.is_file() {
            if folder.files.len() >= limits::MAX_FILES {
                return Err(Failure::new(format!(
                    "{} files are the most that a torrent can have",
                    limits::MAX_FILES
                )));
            }
            folder.files.push(Found {
                source: SourceFile {
                    path: components,
                    length: metadata.len(),
                },
                path,
            });
        } else {
            folder.skipped.push(path);
        }
    }
    Ok(())
}

/// A name as the system has it: its bytes where names are bytes.
pub(crate) fn file_name(name: &OsStr) -> Vec<u8> {
    #[cfg(unix)]
    {
        std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
    }
    #[cfg(not(unix))]
    {
        name.to_string_lossy().into_owned().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Folder) -> Vec<String> {
        let mut names: Vec<_> = folder
            .files
            .iter()
            .map(|found| {
                let path = found.source.path.join(&b'/');
                format!(
                    "{} {}",
                    String::from_utf8(path).unwrap(),
                    found.source.length
                )
            })
            .collect();
        names.sort();
        names
    }

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.hidden")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        for (path, content) in [("a", "1"), (".h", ""), ("sub/.hidden/x", "123")] {
            fs::write(dir.path().join(path), content).unwrap();
        }
        dir
    }

    #[test]
    fn hidden_files_count_and_empty_folders_do_not() {
        let dir = sample();
        let folder = walk(dir.path()).unwrap();
        assert_eq!(names(&folder), [".h 0", "a 1", "sub/.hidden/x 3"]);
        assert!(folder.skipped.is_empty());
    }

    #[test]
    fn resume_data_stays_out_of_the_torrent() {
        let dir = sample();
        for folder in [".anabranch", "sub/.anabranch"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("x"), "1").unwrap();
        }
        let folder = walk(dir.path()).unwrap();
        assert_eq!(folder.skipped, [dir.path().join(".anabranch")]);
        assert!(names(&folder).contains(&"sub/.anabranch/x 1".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        use std::os::unix::fs::symlink;
        let dir = sample();
        symlink("../a", dir.path().join("sub/link")).unwrap();
        symlink("sub/.hidden", dir.path().join("again")).unwrap();
        assert_eq!(
            names(&walk(dir.path()).unwrap()),
            [".h 0", "a 1", "again/x 3", "sub/.hidden/x 3", "sub/link 1"]
        );
        symlink("..", dir.path().join("sub/.hidden/loop")).unwrap();
        let failure = walk(dir.path()).unwrap_err();
        assert!(failure.message().contains("leads back"), "{failure}");
        assert!(failure.advice().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn links_to_nowhere_and_what_is_no_file() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;
        let dir = sample();
        let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        assert_eq!(
            walk(dir.path()).unwrap().skipped,
            [dir.path().join("socket")]
        );
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let failure = walk(dir.path()).unwrap_err();
        assert!(
            failure
                .advice()
                .is_some_and(|advice| advice.contains("nowhere"))
        );
    }
}
