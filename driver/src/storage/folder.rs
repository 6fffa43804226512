//! Ways to files below the download folder that no symlink can lead out of it.

use std::io;

use anabranch_core::metainfo::SafePath;

use crate::platform::Dir;

/// Goes from file to file, keeping the folders on the way open: files that follow each other are
/// mostly neighbours.
pub(super) struct Walker {
    root: Dir,
    entered: Vec<(String, Dir)>,
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
            forbidden,
        })
    }

    /// The folder that a file is in, and its name there. Folders on the way are created if told so.
    pub(super) fn parent<'a>(
        &mut self,
        path: &'a SafePath,
        create: bool,
    ) -> io::Result<(&Dir, &'a str)> {
        let mut folders = path.components();
        let name = folders.next_back().unwrap_or_default();
        self.enter(folders, create)?;
        Ok((self.here(), name))
    }

    /// Goes to the folder with this path below the download folder.
    pub(super) fn enter<'a>(
        &mut self,
        folders: impl Iterator<Item = &'a str> + Clone,
        create: bool,
    ) -> io::Result<&Dir> {
        let shared = self
            .entered
            .iter()
            .zip(folders.clone())
            .take_while(|((entered, _), name)| entered == name)
            .count();
        self.entered.truncate(shared);
        for name in folders.skip(shared) {
            let folder = self.here().enter(name, create)?;
            if self.forbidden.is_some() && folder.id()? == self.forbidden {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    "the path leads into the folder of the resume data",
                ));
            }
            self.entered.push((name.to_owned(), folder));
        }
        Ok(self.here())
    }

    fn here(&self) -> &Dir {
        self.entered.last().map_or(&self.root, |(_, folder)| folder)
    }
}
