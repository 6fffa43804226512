//! Where a torrent's files lie on the disk at hand: mostly where the torrent says, but data that is there
//! is found under other names as well, and, if the user says so, behind symbolic links.
//!
//! A file is looked for under the name that the torrent's [`Names`] give it, under that which stands in the
//! torrent, byte for byte, and under the [portable](Names::Portable) one, which earlier versions and other
//! systems used. The first that is there is it. Files of which none is there are to be created where others
//! of the torrent are found, so that a folder does not become two.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use anabranch_core::metainfo::{File, FileIndex, FileKind, Metainfo, Names, SafePath};

use super::FileName;
use super::folder::Walker;
use crate::platform::Dir;

/// What is done about symbolic links below the download folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// None is followed: a torrent's data never leaves the folder that the user named.
    #[default]
    Refuse,
    /// Those that are there when the torrent is opened are followed if what they lead to is a regular file
    /// below the download folder.
    Inside,
    /// Those that are there when the torrent is opened are followed wherever they lead.
    Follow,
}

/// The names that the file systems of this system take.
#[must_use]
pub fn system_names() -> Names {
    if cfg!(unix) {
        Names::Unix
    } else {
        Names::Portable
    }
}

/// Where the files of a torrent lie below `dir`, or would be created: one entry a file, none for what is no
/// file of data. With a name, its one file or the folder of its files is called so
/// ([`FileOptions::name`](super::FileOptions::name)). What is found there is not looked into. Reads folders, and blocks.
#[must_use]
pub fn find_files(
    dir: &Path,
    metainfo: &Metainfo,
    name: Option<&FileName>,
    links: Links,
) -> Vec<Option<PathBuf>> {
    let routes = Dir::open(dir)
        .and_then(|root| Walker::new(root, None))
        .map(|mut walker| Routes::find(&mut walker, dir, metainfo, name, links))
        .unwrap_or_else(|_| Routes::named(name));
    (0..metainfo.files().len() as u32)
        .map(|file| Some(routes.get(metainfo, file)?.path(dir)))
        .collect()
}

/// The way to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Names below the download folder, at least one.
    Below(Vec<OsString>),
    /// A path that a link led to, without links in it.
    Elsewhere(PathBuf),
}

impl Route {
    fn safe(path: &SafePath) -> Self {
        Self::Below(path.components().map(OsString::from).collect())
    }

    /// The same, with what is directly in the download folder called so.
    fn called(self, name: Option<&FileName>) -> Self {
        match (self, name) {
            (Self::Below(mut names), Some(name)) => {
                if let Some(first) = names.first_mut() {
                    name.as_os_str().clone_into(first);
                }
                Self::Below(names)
            }
            (route, _) => route,
        }
    }

    /// As the user knows it.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        match self {
            Self::Below(names) => names
                .iter()
                .fold(dir.to_owned(), |path, name| path.join(name)),
            Self::Elsewhere(path) => path.clone(),
        }
    }

    /// The folders below the download folder, from the outermost on.
    pub(super) fn folders(&self) -> &[OsString] {
        match self {
            Self::Below(names) => names.split_last().map_or(&[], |(_, folders)| folders),
            Self::Elsewhere(_) => &[],
        }
    }

    /// Whether the names are there, and those of a regular file.
    fn is_there(&self, walker: &mut Walker) -> bool {
        let found = walker
            .parent(self, false)
            .and_then(|(folder, name)| folder.stat(name));
        matches!(found, Ok(Some(stat)) if stat.regular)
    }
}

/// The ways to a torrent's files. Takes memory for those alone that do not lie where the torrent says.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    /// What its file or folder is called, in place of what the core calls it.
    name: Option<FileName>,
    others: BTreeMap<u32, Route>,
}

impl Routes {
    /// The ways that a torrent and the user name, whatever is there.
    pub(super) fn named(name: Option<&FileName>) -> Self {
        Self {
            name: name.cloned(),
            others: BTreeMap::new(),
        }
    }

    /// The way to a file of data.
    pub(super) fn get(&self, metainfo: &Metainfo, file: u32) -> Option<Route> {
        let index = FileIndex::new(file);
        if metainfo.file(index)?.kind() != FileKind::Data {
            return None;
        }
        match self.others.get(&file) {
            Some(route) => Some(route.clone()),
            None => {
                let path = metainfo.download_path(index)?;
                Some(Route::safe(&path).called(self.name.as_ref()))
            }
        }
    }

    /// All files of data, and the ways to them.
    pub(super) fn files<'a>(
        &'a self,
        metainfo: &'a Metainfo,
    ) -> impl Iterator<Item = (u32, Route)> + 'a {
        let count = metainfo.files().len() as u32;
        (0..count).filter_map(|file| Some((file, self.get(metainfo, file)?)))
    }

    /// The file system does not take the torrent's names for this file: it gets those that all take. Says
    /// whether they are others.
    pub(super) fn make_portable(&mut self, metainfo: &Metainfo, file: u32) -> bool {
        let portable = metainfo.clone().with_names(Names::Portable);
        let Some(path) = portable.download_path(FileIndex::new(file)) else {
            return false;
        };
        let route = Route::safe(&path);
        let other = self.get(metainfo, file).as_ref() != Some(&route);
        self.others.insert(file, route);
        other
    }

    /// All files get the names that every system takes.
    pub(super) fn make_all_portable(&mut self, metainfo: &Metainfo) {
        let portable = Alternatives::portable(metainfo);
        for file in 0..metainfo.files().len() as u32 {
            if let (Some(given), Some(route)) =
                (self.get(metainfo, file), portable.get(metainfo, file))
                && given != route
            {
                self.others.insert(file, route);
            }
        }
    }

    /// Files that have names that not every system takes, for what is in the name: of those that differ in case
    /// alone, the first keeps its own.
    pub(super) fn not_portable(&self, metainfo: &Metainfo) -> BTreeSet<u32> {
        let portable = Alternatives::portable(metainfo);
        let mut odd: BTreeSet<u32> = self
            .files(metainfo)
            .filter(|(file, route)| portable.get(metainfo, *file).as_ref() != Some(route))
            .map(|(file, _)| file)
            .collect();
        if !odd.is_empty() {
            let mut seen = BTreeMap::new();
            for (file, route) in self.files(metainfo) {
                if let Route::Below(names) = &route
                    && let Some(twin) = seen.insert(fold(names), file)
                {
                    odd.remove(&twin);
                    odd.remove(&file);
                }
            }
        }
        odd
    }

    /// Other files whose names differ from that of this one in case alone.
    pub(super) fn same_but_for_case(&self, metainfo: &Metainfo, file: u32) -> Vec<u32> {
        let Some(Route::Below(names)) = self.get(metainfo, file) else {
            return Vec::new();
        };
        let folded = fold(&names);
        self.files(metainfo)
            .filter(|(other, route)| {
                *other != file && matches!(route, Route::Below(names) if fold(names) == folded)
            })
            .map(|(other, _)| other)
            .collect()
    }

    /// Looks for the files.
    pub(super) fn find(
        walker: &mut Walker,
        dir: &Path,
        metainfo: &Metainfo,
        name: Option<&FileName>,
        links: Links,
    ) -> Self {
        let mut routes = Self::named(name);
        let count = metainfo.files().len() as u32;
        let named = routes.clone();
        let given = |file| named.get(metainfo, file);
        let mut found = BTreeSet::new();
        let mut missing = Vec::new();
        // Where those that are nowhere are to be created, behind a link to their folder.
        let mut behind = BTreeMap::new();
        for file in 0..count {
            let Some(route) = given(file) else {
                continue;
            };
            if route.is_there(walker) {
                found.insert(file);
                continue;
            }
            match follow(&route, dir, links) {
                Some((real, true)) => {
                    found.insert(file);
                    routes.others.insert(file, real);
                    continue;
                }
                Some((real, false)) if real != route => {
                    behind.insert(file, real);
                }
                Some(_) | None => {}
            }
            missing.push(file);
        }
        // What has the name of one file may be another under the name that every system takes.
        if !missing.is_empty() && !found.is_empty() {
            let portable = Alternatives::portable(metainfo);
            let routes_of = |file| Some((file, given(file)?, portable.get(metainfo, file)?));
            let pairs: Vec<_> = (0..count).filter_map(routes_of).collect();
            if pairs.iter().any(|(_, given, portable)| given != portable) {
                let there = (pairs.iter())
                    .filter(|(.., portable)| portable.is_there(walker))
                    .count();
                if there > found.len() {
                    let pairs = pairs.into_iter();
                    routes.others = pairs
                        .filter(|(_, given, portable)| given != portable)
                        .map(|(file, _, portable)| (file, portable))
                        .collect();
                    return routes;
                }
            }
        }
        for other in [Alternatives::raw, Alternatives::portable] {
            if !missing.is_empty() {
                routes.adopt(walker, metainfo, &other(metainfo), &mut missing, &mut found);
            }
        }
        for (file, real) in behind {
            routes.others.entry(file).or_insert(real);
        }
        for file in twins(walker, dir, metainfo, &named) {
            routes.make_portable(metainfo, file);
        }
        routes
    }

    /// Takes other names for files that are there under them. Those that are nowhere get such names, too,
    /// if all that is found has them.
    fn adopt(
        &mut self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        alternatives: &Alternatives,
        missing: &mut Vec<u32>,
        found: &mut BTreeSet<u32>,
    ) {
        let named = Self::named(self.name.as_ref());
        let given = |file| named.get(metainfo, file);
        let others: Vec<(u32, Route)> = missing
            .iter()
            .filter_map(|file| {
                let route = alternatives.get(metainfo, *file)?;
                Some((*file, alternatives.called(route, self.name.as_ref())))
            })
            .filter(|(file, route)| given(*file).as_ref() != Some(route))
            .collect();
        if others.is_empty() {
            return;
        }
        // No file may get the name of another.
        let mut taken: BTreeSet<Vec<OsString>> = (0..metainfo.files().len() as u32)
            .filter_map(|file| match self.get(metainfo, file)? {
                Route::Below(names) => Some(names),
                Route::Elsewhere(_) => None,
            })
            .collect();
        let mut free = |route: &Route| match route {
            Route::Below(names) => taken.insert(names.clone()),
            Route::Elsewhere(_) => false,
        };
        let none_before = found.is_empty();
        let (there, nowhere): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|(_, route)| route.is_there(walker));
        let adopts = !there.is_empty();
        for (file, route) in there {
            if free(&route) {
                self.others.insert(file, route);
                found.insert(file);
            }
        }
        if adopts && none_before {
            for (file, route) in nowhere {
                if free(&route) {
                    self.others.insert(file, route);
                }
            }
        }
        missing.retain(|file| !found.contains(file));
    }
}

/// Other names for a torrent's files.
enum Alternatives {
    /// As they stand in the torrent.
    Raw,
    /// Those of the same torrent, named for every system.
    Portable(Box<Metainfo>),
}

impl Alternatives {
    fn raw(_: &Metainfo) -> Self {
        Self::Raw
    }

    fn portable(metainfo: &Metainfo) -> Self {
        Self::Portable(Box::new(metainfo.clone().with_names(Names::Portable)))
    }

    /// The name that the user gave is one as well. Not every system takes it.
    fn called(&self, route: Route, name: Option<&FileName>) -> Route {
        match self {
            Self::Raw => route.called(name),
            Self::Portable(_) => route,
        }
    }

    fn get(&self, metainfo: &Metainfo, file: u32) -> Option<Route> {
        let index = FileIndex::new(file);
        match self {
            Self::Portable(portable) => Some(Route::safe(&portable.download_path(index)?)),
            Self::Raw => {
                let name = metainfo.is_multi_file() || metainfo.has_given_name();
                let name = name.then(|| metainfo.wished_name());
                let path = metainfo.original_path(index)?;
                let path = path
                    .into_iter()
                    .filter(|_| metainfo.is_multi_file() || name.is_none());
                let names = name.into_iter().chain(path);
                let names: Option<Vec<OsString>> = names.map(raw_name).collect();
                names.map(Route::Below)
            }
        }
    }
}

/// A name as it stands in a torrent, if it is one that stays in its folder.
fn raw_name(name: &[u8]) -> Option<OsString> {
    let stays = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
    if !stays {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Some(OsStr::from_bytes(name).to_owned())
    }
    #[cfg(not(unix))]
    {
        // Drives, streams, devices and other separators are names of something else here.
        let name = std::str::from_utf8(name).ok()?;
        let safe = SafePath::from_untrusted([name.as_bytes()]);
        (safe.as_str() == name).then(|| name.into())
    }
}

/// Where a file really is that links lead to, and whether it is there: the file itself, or a folder on the way to it,
/// may be one.
fn follow(route: &Route, dir: &Path, links: Links) -> Option<(Route, bool)> {
    if links == Links::Refuse {
        return None;
    }
    let path = route.path(dir);
    let dir = dir.canonicalize().ok()?;
    let (real, is_there) = match path.canonicalize() {
        Ok(real) => (real, true),
        // Not there yet, in a folder that may be behind a link.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_link = std::fs::symlink_metadata(&path).is_ok();
            let (folder, name) = (path.parent()?, path.file_name()?);
            match is_link {
                // It leads nowhere.
                true => return None,
                false => (folder.canonicalize().ok()?.join(name), false),
            }
        }
        Err(_) => return None,
    };
    if std::fs::metadata(&real).is_ok_and(|metadata| !metadata.is_file()) {
        return None;
    }
    match real.strip_prefix(&dir) {
        Ok(below) => {
            let names = below.iter().map(OsStr::to_owned).collect();
            Some((Route::Below(names), is_there))
        }
        Err(_) if links == Links::Follow => Some((Route::Elsewhere(real), is_there)),
        Err(_) => None,
    }
}

fn fold(names: &[OsString]) -> Vec<String> {
    let fold = |name: &OsString| name.to_string_lossy().to_uppercase().to_lowercase();
    names.iter().map(fold).collect()
}

/// Files that are one with another file of the torrent here, since the file system does not tell case apart.
fn twins(walker: &mut Walker, dir: &Path, metainfo: &Metainfo, given: &Routes) -> Vec<u32> {
    let mut seen = BTreeMap::new();
    let mut pairs = Vec::new();
    for file in 0..metainfo.files().len() as u32 {
        let index = FileIndex::new(file);
        let is_data = metainfo.file(index).map(File::kind) == Some(FileKind::Data);
        let path = metainfo.download_path(index).filter(|_| is_data);
        if let Some(path) = path
            && let Some(first) = seen.insert(path.as_str().to_uppercase().to_lowercase(), file)
        {
            pairs.push((first, file));
        }
    }
    let mut id = |file| {
        let route = given.get(metainfo, file)?;
        let (folder, name) = walker.parent(&route, false).ok()?;
        folder.stat(name).ok()??.id
    };
    // Not all such file systems have one number for a file; their folders name it once.
    let is_listed = |file| {
        let path = given.get(metainfo, file)?.path(dir);
        let names = std::fs::read_dir(path.parent()?).ok()?;
        let name = path.file_name()?;
        Some(names.flatten().any(|entry| entry.file_name() == name))
    };
    pairs.retain(|(one, two)| {
        let (first, second) = (id(*one), id(*two));
        first.is_some()
            && second.is_some()
            && (first == second || is_listed(*one) == Some(false) || is_listed(*two) == Some(false))
    });
    pairs.into_iter().map(|(_, file)| file).collect()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use anabranch_core::Bitfield;
    use anabranch_core::event::DiskErrorKind;
    use anabranch_core::metainfo::PieceIndex;

    use super::super::testing::Torrent;
    use super::super::{FileOptions, FileStorage, Storage};
    use super::*;

    const PIECE: u32 = 16 << 10;

    const ODD: [&str; 12] = [
        "R.E.M.",
        "a name ",
        "aux.c",
        "E: The Movie.mkv",
        "می\u{200c}خواهم",
        "क्\u{200d}ष",
        "👨\u{200d}👩\u{200d}👧",
        "back\\slash",
        "zero\u{200b}width",
        "bidi\u{202e}mark",
        "new\nline",
        "plain",
    ];

    fn storage(dir: &Path, links: Links) -> FileStorage {
        let options = FileOptions {
            links,
            ..FileOptions::default()
        };
        FileStorage::new(dir.to_owned(), options)
    }

    fn odd(name: &str) -> Torrent {
        let long = ["x".repeat(241), "y".repeat(255)];
        let names = ODD.iter().copied().chain(long.iter().map(String::as_str));
        let files: Vec<(&str, u64)> = names.map(|name| (name, 3_000)).collect();
        let len = files.len() * 3_000;
        let data: Vec<u8> = (0..len).map(|at| ((at * at) >> 5) as u8).collect();
        Torrent::with_data(name, PIECE, &files, data.into())
    }

    fn all_match(torrent: &Torrent, storage: &FileStorage) -> bool {
        (0..torrent.metainfo.piece_count()).all(|piece| torrent.matches(storage, piece))
    }

    #[test]
    fn what_is_there_is_found_under_the_names_that_stand_in_the_torrent() {
        let torrent = odd("R.E.M.");
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("R.E.M.");
        fs::create_dir(&folder).unwrap();
        for (file, data) in (0..).zip(torrent.data.chunks(3_000)) {
            let name = torrent
                .metainfo
                .original_path(FileIndex::new(file))
                .unwrap();
            fs::write(folder.join(OsStr::from_bytes(name[0])), data).unwrap();
        }
        let before = fs::read_dir(&folder).unwrap().count();
        for torrent in [torrent.unix(), torrent] {
            let storage = storage(temp.path(), Links::Refuse);
            storage.open(&torrent.open_all()).unwrap();
            assert!(all_match(&torrent, &storage));
            assert_eq!(fs::read_dir(&folder).unwrap().count(), before);
            let found = find_files(temp.path(), &torrent.metainfo, None, Links::Refuse);
            assert!(found.iter().all(|path| path.as_ref().unwrap().is_file()));
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_found_byte_for_byte() {
        let temp = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(b"caf\xe9.txt");
        fs::write(temp.path().join(name), [7; 100]).unwrap();
        let hash = anabranch_hash::Sha1::digest(&[7; 100]);
        let info = [
            b"d6:lengthi100e4:name8:caf\xe9.txt12:piece lengthi16384e6:pieces20:".as_slice(),
            &hash,
            b"e",
        ];
        let metainfo = Metainfo::from_info(info.concat().into()).unwrap();
        let found = find_files(
            temp.path(),
            &metainfo.clone().with_names(Names::Unix),
            None,
            Links::Refuse,
        );
        assert_eq!(found, [Some(temp.path().join(name))]);
        let torrent = Torrent {
            metainfo: metainfo.into(),
            data: vec![7; 100].into(),
        };
        for links in [Links::Refuse, Links::Inside, Links::Follow] {
            let storage = storage(temp.path(), links);
            storage.open(&torrent.open_all()).unwrap();
            assert!(torrent.matches(&storage, 0));
        }
        let storage = storage(temp.path(), Links::Refuse);
        storage.open(&torrent.open_all()).unwrap();
        assert!(torrent.matches(&storage, 0));
        storage.checkpoint(&Bitfield::full(1), 0, 0).unwrap();
        storage.remove(true).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_that_lead_elsewhere_are_never_looked_for() {
        for name in [&b".."[..], b".", b"", b"a/b", b"/", b"a\0b", b"../x"] {
            assert_eq!(raw_name(name), None);
        }
    }

    #[test]
    fn a_download_begun_under_other_names_goes_on_under_them() {
        let old = odd("R.E.M.");
        let temp = tempfile::tempdir().unwrap();
        let first = storage(temp.path(), Links::Refuse);
        let mut wanted = vec![true; old.metainfo.files().len()];
        wanted[0] = false;
        first.open(&old.open(&wanted)).unwrap();
        old.store(&first, 1);
        let mut have = Bitfield::new(old.metainfo.piece_count());
        have.insert(1);
        first.checkpoint(&have, 0, 0).unwrap();
        drop(first);
        let new = old.unix();
        let second = storage(temp.path(), Links::Refuse);
        let opened = second.open(&new.open_all()).unwrap();
        assert!(opened.trusted.contains(1));
        new.store_all(&second);
        second
            .checkpoint(&Bitfield::full(new.metainfo.piece_count()), 0, 0)
            .unwrap();
        let mut folders: Vec<_> = fs::read_dir(temp.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        folders.sort();
        assert_eq!(folders, [".anabranch", "R.E.M"]);
        drop(second);
        let third = storage(temp.path(), Links::Refuse);
        assert!(third.open(&new.open_all()).unwrap().trusted.is_full());
        third.remove(true).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_file_is_found_under_the_name_of_another() {
        // The portable name of the first is the second one's own.
        let torrent = Torrent::new(PIECE, &[("a.", 100), ("a", 100)]).unix();
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("t")).unwrap();
        fs::write(temp.path().join("t/a"), &torrent.data[100..]).unwrap();
        let found = find_files(temp.path(), &torrent.metainfo, None, Links::Refuse);
        let below = |name| Some(temp.path().join(name));
        assert_eq!(found, [below("t/a."), below("t/a")]);
    }

    #[test]
    fn links_are_followed_as_far_as_was_said() {
        let torrent = Torrent::new(PIECE, &[("a", 20_000), ("sub/b", 20_000), ("c", 20_000)]);
        let outside = tempfile::tempdir().unwrap();
        for links in [Links::Refuse, Links::Inside, Links::Follow] {
            for target in ["inside", "outside"] {
                let temp = tempfile::tempdir().unwrap();
                let real = match target {
                    "inside" => temp.path().join("real"),
                    _ => outside.path().join(format!("{links:?}")),
                };
                fs::create_dir_all(&real).unwrap();
                fs::create_dir(temp.path().join("t")).unwrap();
                fs::write(real.join("a"), &torrent.data[..20_000]).unwrap();
                fs::write(real.join("b"), &torrent.data[20_000..40_000]).unwrap();
                fs::write(temp.path().join("t/c"), &torrent.data[40_000..]).unwrap();
                symlink(real.join("a"), temp.path().join("t/a")).unwrap();
                symlink(&real, temp.path().join("t/sub")).unwrap();
                let storage = storage(temp.path(), links);
                let opened = storage.open(&torrent.open_all());
                let follows =
                    links == Links::Follow || links == Links::Inside && target == "inside";
                assert_eq!(opened.is_ok(), follows, "{links:?} {target}");
                let Ok(_) = opened else {
                    assert_eq!(opened.unwrap_err().kind, DiskErrorKind::UnsafePath);
                    continue;
                };
                assert!(all_match(&torrent, &storage));
                // One that is changed later leads nowhere.
                fs::remove_file(temp.path().join("t/a")).unwrap();
                symlink("/etc/passwd", temp.path().join("t/a")).unwrap();
                let mut buf = vec![0; 100];
                storage.read(PieceIndex::new(0), 0, &mut buf).unwrap();
                assert_eq!(buf, torrent.data[..100]);
                let full = Bitfield::full(torrent.metainfo.piece_count());
                storage.checkpoint(&full, 0, 0).unwrap();
                storage.remove(true).unwrap();
                // The user made the links, and what is outside is not the torrent's to delete.
                assert_eq!(real.join("a").exists(), target == "outside");
            }
        }
    }

    #[test]
    fn a_download_through_links_arrives_where_they_lead() {
        let torrent = Torrent::new(PIECE, &[("a", 20_000), ("sub/b", 20_000)]);
        let outside = tempfile::tempdir().unwrap();
        let temp = tempfile::tempdir().unwrap();
        symlink(outside.path(), temp.path().join("t")).unwrap();
        fs::create_dir(outside.path().join("sub")).unwrap();
        assert!(
            storage(temp.path(), Links::Refuse)
                .open(&torrent.open_all())
                .is_err()
        );
        let storage = storage(temp.path(), Links::Follow);
        storage.open(&torrent.open_all()).unwrap();
        torrent.store_all(&storage);
        let full = Bitfield::full(torrent.metainfo.piece_count());
        storage.checkpoint(&full, 0, 0).unwrap();
        assert_eq!(
            fs::read(outside.path().join("sub/b")).unwrap(),
            torrent.data[20_000..]
        );
        drop(storage);
        let again = self::storage(temp.path(), Links::Follow);
        assert!(again.open(&torrent.open_all()).unwrap().trusted.is_full());
    }

    #[test]
    fn a_link_that_leads_nowhere_or_in_circles_is_not_gone_through() {
        let torrent = Torrent::new(PIECE, &[("a", 20_000)]);
        for target in ["nowhere", "a"] {
            let temp = tempfile::tempdir().unwrap();
            fs::create_dir(temp.path().join("t")).unwrap();
            symlink(target, temp.path().join("t/a")).unwrap();
            let storage = storage(temp.path(), Links::Follow);
            let opened = storage.open(&torrent.open_all());
            assert_eq!(opened.unwrap_err().kind, DiskErrorKind::UnsafePath);
            assert!(!temp.path().join("t/nowhere").exists());
        }
    }
}
