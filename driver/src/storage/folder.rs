//! Ways to files below the download folder that no symlink can lead out of it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::locate::Route;
use crate::platform::Dir;

/// Goes from file to file, keeping the folders on the way open: files that follow each other are
/// mostly neighbours.
pub(super) struct Walker {
    root: Dir,
    entered: Vec<(OsString, Dir)>,
    /// The last folder that a link led to.
    elsewhere: Option<(PathBuf, Dir)>,
    /// The folder that no torrent may write to.
    forbidden: Option<(u64, u64)>,
}

impl Walker {
    /// Starts in the download folder. `forbidden` is the folder of the resume data.
    pub(super) fn new(root: Dir, forbidden: Option<&Dir>) -> io::Result<Self> {
        let forbidden = match forbidden {
            Some(folder) => folder.id()?,
            None => None,
        };
        Ok(Self {
            root,
            entered: Vec::new(),
            elsewhere: None,
            forbidden,
        })
    }

    /// The folder that a file is in, and its name there. Folders on the way are created if told so.
    pub(super) fn parent<'a>(
        &mut self,
        route: &'a Route,
        create: bool,
    ) -> io::Result<(&Dir, &'a OsStr)> {
        match route {
            Route::Below(names) => {
                let (name, folders) = names.split_last().ok_or(io::ErrorKind::NotFound)?;
                Ok((self.enter(folders, create)?, name))
            }
            Route::Elsewhere(path) => {
                let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
                let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
                Ok((self.go_to(folder)?, name))
            }
        }
    }

    /// Goes to the folder with this path below the download folder.
    pub(super) fn enter(&mut self, folders: &[OsString], create: bool) -> io::Result<&Dir> {
        let shared = self
            .entered
            .iter()
            .zip(folders)
            .take_while(|((entered, _), name)| entered == *name)
            .count();
        self.entered.truncate(shared);
        for name in &folders[shared..] {
            let folder = self.here().enter(name, create)?;
            if self.forbidden.is_some() && folder.id()? == self.forbidden {
                return Err(into_resume_data());
            }
            self.entered.push((name.clone(), folder));
        }
        Ok(self.here())
    }

    /// Goes to a folder that a link led to.
    pub(super) fn go_to(&mut self, path: &Path) -> io::Result<&Dir> {
        let (_, folder) = match self.elsewhere.take_if(|(open, _)| open == path) {
            Some(elsewhere) => self.elsewhere.insert(elsewhere),
            None => {
                let folder = Dir::open(path)?;
                if self.forbidden.is_some() && folder.id()? == self.forbidden {
                    return Err(into_resume_data());
                }
                self.elsewhere.insert((path.to_owned(), folder))
            }
        };
        Ok(folder)
    }

    fn here(&self) -> &Dir {
        self.entered.last().map_or(&self.root, |(_, folder)| folder)
    }
}

fn into_resume_data() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotADirectory,
        "the path leads into the folder of the resume data",
    )
}
