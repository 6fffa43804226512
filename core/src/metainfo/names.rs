//! The names of a torrent's files for the system at hand.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{
    FileIndex, FileKind, InfoHash, Metainfo, Names, SafePath, limits,
    path::{resolve_collisions, safe_component},
};

impl Metainfo {
    /// The same torrent with another name of its one file, or of the folder of its files. The info-hash stays, and
    /// so does what stands in the torrent; the name is made safe as all [names](Names) of this kind.
    #[must_use]
    pub fn with_name(mut self, name: &str, names: Names) -> Self {
        self.given_name = Some(name.into());
        self.with_names(names)
    }

    /// The same torrent with [names](Names) of another kind, made from those that stand in it.
    ///
    /// Where they would be longer than [`limits::MAX_PATH_LEN`], all stay as they are.
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        let own = self.wished_name();
        let name = match names.component(&String::from_utf8_lossy(own)) {
            Some(_) => SafePath::with_names([own], names),
            // It has the info-hash already.
            None => SafePath::with_names([self.name().as_bytes()], names),
        };
        if !self.is_multi_file() {
            self.rename(name.clone(), [name]);
            return self;
        }
        let mut paths: Vec<(SafePath, bool)> = (0..)
            .map(FileIndex::new)
            .zip(self.files())
            .map(|(index, file)| {
                let path = match self.original_path(index) {
                    Some(path) => SafePath::with_names(path, names),
                    None => file.path().clone(),
                };
                (path, file.kind() == FileKind::Data)
            })
            .collect();
        resolve_collisions(&mut paths, names);
        let longest = paths.iter().map(|(path, _)| path.as_str().len()).max();
        if name.as_str().len() + 1 + longest.unwrap_or(0) <= limits::MAX_PATH_LEN {
            self.rename(name, paths.into_iter().map(|(path, _)| path));
        }
        self
    }
}

/// What a torrent is called of which only a link is known: as the user says, as the link says, or else by its info-hash.
pub(crate) fn placeholder_name(
    info_hash: InfoHash,
    link: Option<&str>,
    given: Option<&str>,
    names: Names,
) -> String {
    let name = link
        .and_then(safe_component)
        .unwrap_or_else(|| info_hash.to_string());
    let path = match given {
        Some(given) if names.component(given).is_some() => {
            SafePath::with_names([given.as_bytes()], names)
        }
        Some(_) => SafePath::with_names([name.as_bytes()], names),
        None => SafePath::from_untrusted([name.as_bytes()]),
    };
    path.to_string()
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::super::{Creator, SourceFile};
    use super::*;

    fn folder(name: &str, files: &[&str]) -> Metainfo {
        let files = files.iter().map(|path| SourceFile {
            path: path.split('/').map(Into::into).collect(),
            length: 0,
        });
        Creator::multi_file(name, files)
            .finish(&[])
            .unwrap()
            .metainfo
    }

    fn paths(metainfo: &Metainfo) -> Vec<String> {
        (0..metainfo.files().len() as u32)
            .map(|file| {
                metainfo
                    .download_path(FileIndex::new(file))
                    .unwrap()
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn names_of_a_folder_are_made_anew_there_and_back() {
        let portable = folder("R.E.M.", &["B/x", "aux.c", "b/X ", "e: y"]);
        let there = vec!["R.E.M/B/x", "R.E.M/_aux.c", "R.E.M/b/X.1", "R.E.M/e_ y"];
        assert_eq!(paths(&portable), there);
        let unix = portable.clone().with_names(Names::Unix);
        let here = vec!["R.E.M./B/x", "R.E.M./aux.c", "R.E.M./b/X ", "R.E.M./e: y"];
        assert_eq!(
            (unix.name(), paths(&unix)),
            ("R.E.M.", here.into_iter().map(Into::into).collect())
        );
        assert_eq!(unix.with_names(Names::Portable), portable);
    }

    #[test]
    fn the_users_name_takes_the_place_of_the_torrents() {
        let folder = folder("t", &["a", "b"]);
        let hash = folder.info_hash();
        let named = folder.with_name("R.E.M.", Names::Unix);
        assert_eq!(paths(&named), vec!["R.E.M./a", "R.E.M./b"]);
        assert_eq!(
            (named.info_hash(), named.original_name()),
            (hash, &b"t"[..])
        );
        assert_eq!(
            paths(&named.with_names(Names::Portable)),
            vec!["R.E.M/a", "R.E.M/b"]
        );

        let file = Creator::single_file("file", 0)
            .finish(&[])
            .unwrap()
            .metainfo;
        for (given, safe) in [("other", "other"), ("../x", ".._x"), ("..", "file")] {
            let named = file.clone().with_name(given, Names::Unix);
            assert_eq!(paths(&named), vec![safe], "{given}");
        }
    }

    #[test]
    fn a_single_file_is_named_as_its_torrent() {
        let torrent = Creator::single_file("nul.txt ", 0)
            .finish(&[])
            .unwrap()
            .metainfo;
        assert_eq!(torrent.name(), "_nul.txt");
        let unix = torrent.with_names(Names::Unix);
        assert_eq!(
            (unix.name(), paths(&unix)),
            ("nul.txt ", vec!["nul.txt ".into()])
        );
    }

    #[test]
    fn a_name_of_dots_stays_the_info_hash() {
        let info = b"d6:lengthi0e4:name3:...12:piece lengthi16384e6:pieces0:e";
        let torrent = Metainfo::from_info(info.as_slice().into()).unwrap();
        let hash = torrent.info_hash().to_string();
        assert_eq!(torrent.with_names(Names::Unix).name(), hash);
    }
}
