//! Names from a torrent (BEP 3) made safe to be created below the download folder.
//!
//! What leads out of the folder, drives a terminal or hides what a name is, is never created. The rest is
//! a matter of the [system](Names): a name that is changed where it need not be is one under which nobody
//! finds data that is there.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{MAX_COMPONENT_LEN, MAX_UNIX_COMPONENT_LEN};

/// Which names can be created: what differs between systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Names {
    /// Names that every system and file system takes. None is a drive or a device of Windows, has a
    /// backslash or an invisible mark in it, or ends in a dot or space; a component has at most
    /// [`MAX_COMPONENT_LEN`] bytes; no two differ in case alone.
    #[default]
    Portable,
    /// Names as Unix takes them. What only Windows cannot have is left as it is, and so are joiners and
    /// the like after a character that is not ASCII: scripts and emoji need them. A component has at
    /// most [`MAX_UNIX_COMPONENT_LEN`] bytes.
    Unix,
}

impl Names {
    const fn max_len(self) -> usize {
        match self {
            Self::Portable => MAX_COMPONENT_LEN,
            Self::Unix => MAX_UNIX_COMPONENT_LEN,
        }
    }

    /// One name made safe; `None` if nothing of it is left.
    pub(super) fn component(self, name: &str) -> Option<String> {
        match self {
            Self::Portable => safe_component(name),
            Self::Unix => unix_component(name),
        }
    }

    /// What two paths have in common that would meet.
    fn key(self, path: &str) -> String {
        match self {
            Self::Portable => key(path),
            Self::Unix => path.replace('/', "\0"),
        }
    }
}

/// A relative path that is safe to be created below a folder, on a system of the [`Names`] that it was made
/// for.
///
/// It has at least one component. Each is UTF-8 and not empty or dots alone; there is no separator in it, no
/// control character, and no mark that changes the direction of text. Displayed, and serialised, with
/// `/` between components.
///
/// Whether something that already lies in the folder, such as a symlink, leads out of it, is for
/// whoever opens the file to find out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SafePath(Box<str>);

impl SafePath {
    /// Makes a path from a torrent safe on every system, whatever it holds.
    pub fn from_untrusted<'a>(components: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::with_names(components, Names::Portable)
    }

    /// Makes a path from a torrent safe, whatever it holds.
    ///
    /// Folders that are empty or only dots and spaces are left out, so that `..` goes nowhere; a
    /// file of such a name, or without any, becomes `_`.
    pub fn with_names<'a>(components: impl IntoIterator<Item = &'a [u8]>, names: Names) -> Self {
        let mut path = String::new();
        let mut components = components.into_iter().peekable();
        while let Some(component) = components.next() {
            let name = names.component(&String::from_utf8_lossy(component));
            match name {
                Some(name) => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(&name);
                }
                None if components.peek().is_none() => path.push_str(match path.as_str() {
                    "" => "_",
                    _ => "/_",
                }),
                None => {}
            }
        }
        if path.is_empty() {
            path.push('_');
        }
        Self(path.into())
    }

    /// This path below a folder.
    #[must_use]
    pub fn within(&self, folder: &Self) -> Self {
        Self(format!("{folder}/{self}").into())
    }

    /// Its components, from the outermost folder to the file. There is at least one.
    #[must_use]
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.split().1
    }

    /// All of it, with `/` between components.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(folder), name),
            None => (None, &self.0),
        }
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<SafePath> for String {
    fn from(path: SafePath) -> Self {
        path.0.into()
    }
}

/// The text is not a path that [`SafePath`] could have written, for names of any kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a safe relative path")]
pub struct UnsafePathError(pub String);

impl TryFrom<String> for SafePath {
    type Error = UnsafePathError;

    fn try_from(path: String) -> Result<Self, UnsafePathError> {
        let safe = path
            .split('/')
            .all(|component| unix_component(component).is_some_and(|safe| *safe == *component));
        if !safe {
            return Err(UnsafePathError(path));
        }
        Ok(Self(path.into()))
    }
}

/// One name made safe; `None` if nothing of it is left.
pub(super) fn safe_component(name: &str) -> Option<String> {
    let mut safe: String = name
        .chars()
        .filter(|&c| !is_invisible(c))
        .map(|c| match is_forbidden(c) || is_special(c) {
            true => '_',
            false => c,
        })
        .collect();
    trim(&mut safe);
    cut(&mut safe);
    if is_device(&safe) {
        safe.insert(0, '_');
        cut(&mut safe);
    }
    (!safe.is_empty()).then_some(safe)
}

/// What Windows, and the file systems that come from there, have in no name. With a colon, a path could start with a
/// drive, and replace the folder that it is joined to.
fn is_special(c: char) -> bool {
    matches!(c, ':' | '?' | '*' | '"' | '<' | '>' | '|')
}

/// One name made safe for Unix; `None` if nothing of it is left, or only dots and spaces.
fn unix_component(name: &str) -> Option<String> {
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '\\' {
            safe.push(c);
        } else if is_forbidden(c) {
            safe.push('_');
        } else if !is_invisible(c)
            || is_joiner(c) && !safe.chars().next_back().is_none_or(|c| c.is_ascii())
        {
            safe.push(c);
        }
    }
    if safe.len() > MAX_UNIX_COMPONENT_LEN {
        let (stem, extension) = split_extension(&safe);
        let stem = truncated(stem, MAX_UNIX_COMPONENT_LEN - extension.len());
        safe = format!("{stem}{extension}");
    }
    let nothing = safe.trim_matches(['.', ' ']).is_empty();
    (!nothing).then_some(safe)
}

/// Gives another name to each path that would meet another one: the same name, where the system does not
/// tell case apart also one that differs in case only, or one that is another's folder.
///
/// The names become `name.1.ext`, `name.2.ext` and so on. The first of equals keeps its name, a
/// folder always does, and no new name takes one that another path has by itself. Paths for which
/// the flag is false are not created: they are left alone and are in nobody's way.
///
/// The time is that of sorting the paths, and the memory that of one more copy of them.
pub(super) fn resolve_collisions(paths: &mut [(SafePath, bool)], names: Names) {
    let taken = Taken::new(paths, names);
    let mut new_names = BTreeSet::new();
    // Equal stems share a counter, or many losers of one name would try the same numbers again
    // and again.
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    for index in taken.losers() {
        let path = &mut paths[index].0;
        let (folder, name) = path.split();
        let (stem, extension) = split_extension(name);
        let stem = truncated(stem, names.max_len() - extension.len() - SUFFIX_LEN);
        let renamed = |name: String| match folder {
            Some(folder) => format!("{folder}/{name}"),
            None => name,
        };
        let counter = counters
            .entry(names.key(&renamed(format!("{stem}{extension}"))))
            .or_default();
        let new_path = loop {
            *counter += 1;
            // A stem that was cut can have become a device's name.
            let name = names.component(&format!("{stem}.{counter}{extension}"));
            let new_path = renamed(name.unwrap_or_else(|| format!("_{counter}")));
            let key = names.key(&new_path);
            if !taken.contains(&key) && new_names.insert(key) {
                break new_path;
            }
        };
        *path = SafePath(new_path.into());
    }
}

/// Room for a dot and a number; there are fewer paths than it has digits for.
const SUFFIX_LEN: usize = 12;

/// The keys of all paths that are created, in order, and where each path is in the list.
struct Taken(Vec<(String, usize)>);

impl Taken {
    fn new(paths: &[(SafePath, bool)], names: Names) -> Self {
        let created = paths
            .iter()
            .enumerate()
            .filter(|(_, (_, created))| *created);
        let mut keys: Vec<_> = created
            .map(|(index, (path, _))| (names.key(path.as_str()), index))
            .collect();
        keys.sort_unstable();
        Self(keys)
    }

    /// Which paths need another name, in the order of the list.
    fn losers(&self) -> Vec<usize> {
        let mut losers = Vec::new();
        for group in self.0.chunk_by(|(a, _), (b, _)| a == b) {
            // A folder's key is taken by what is in it, so that no file may have it.
            let keeps_name = usize::from(!self.is_folder(&group[0].0));
            losers.extend(group[keeps_name..].iter().map(|(_, index)| *index));
        }
        losers.sort_unstable();
        losers
    }

    fn contains(&self, key: &str) -> bool {
        let found = self
            .0
            .binary_search_by(|(taken, _)| taken.as_str().cmp(key));
        found.is_ok() || self.is_folder(key)
    }

    /// What is in a folder follows right after the folder's own key.
    fn is_folder(&self, key: &str) -> bool {
        let after = self.0.partition_point(|(taken, _)| taken.as_str() <= key);
        self.0.get(after).is_some_and(|(next, _)| {
            next.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(KEY_SEPARATOR))
        })
    }
}

/// Sorts before everything that a path can have in it.
const KEY_SEPARATOR: char = '\0';

/// A path without case. Upper case first: letters like `ß` or `ſ` have their other forms there.
fn key(path: &str) -> String {
    path.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '/' { KEY_SEPARATOR } else { c })
        .collect()
}

/// Marks that are not seen but change how a name looks, or make two names look alike.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Those of them that scripts and emoji need after a character: non-joiners and joiners, marks of the
/// direction of one place, selectors of forms, tags.
fn is_joiner(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{200c}'..='\u{200f}'
        | '\u{e0020}'..='\u{e007f}')
}

/// Separators of any system, control characters and line ends.
fn is_forbidden(c: char) -> bool {
    matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}') || c.is_control()
}

/// Windows strips trailing dots and spaces, so that names which differ in them are one file there.
/// It also takes care of `.` and `..`.
fn trim(name: &mut String) {
    let len = name.trim_end_matches(['.', ' ']).len();
    name.truncate(len);
}

/// Cuts a name to the longest that is allowed, and keeps its extension.
fn cut(name: &mut String) {
    if name.len() <= MAX_COMPONENT_LEN {
        return;
    }
    let (stem, extension) = split_extension(name);
    let stem = truncated(stem, MAX_COMPONENT_LEN - extension.len());
    *name = format!("{stem}{extension}");
    trim(name);
}

/// An extension starts with its dot; one that is long for an extension is none.
fn split_extension(name: &str) -> (&str, &str) {
    const MAX_EXTENSION_LEN: usize = 32;
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_LEN => name.split_at(dot),
        Some(_) | None => (name, ""),
    }
}

fn truncated(text: &str, max_len: usize) -> &str {
    &text[..text.floor_char_boundary(max_len)]
}

/// Whether Windows takes the name for a device; it does whatever the extension is.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let stem = stem.to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$" => true,
        stem => stem
            .strip_prefix("COM")
            .or_else(|| stem.strip_prefix("LPT"))
            .is_some_and(|port| {
                let mut chars = port.chars();
                matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
            }),
    }
}

/// Text from a torrent that is meant for people: UTF-8 without control characters but line ends
/// and tabs, so that a terminal can show it. What is beyond `max_len` bytes, after that, is cut; so it
/// stays the same when it is made safe once more.
pub(super) fn safe_text(bytes: &[u8], max_len: usize) -> String {
    let chunks = bytes.utf8_chunks();
    let mut chars = chunks
        .flat_map(|chunk| {
            let replaced = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(replaced)
        })
        .filter(|&c| !is_invisible(c))
        .peekable();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        let c = match c {
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if text.len() + c.len_utf8() > max_len {
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use quickcheck::quickcheck;

    use super::*;

    fn safe(components: &[&str]) -> String {
        SafePath::from_untrusted(components.iter().map(|c| c.as_bytes())).to_string()
    }

    fn resolved(names: &[&str]) -> Vec<String> {
        let mut paths: Vec<_> = names
            .iter()
            .map(|name| {
                (
                    SafePath::from_untrusted(name.split('/').map(str::as_bytes)),
                    true,
                )
            })
            .collect();
        resolve_collisions(&mut paths, Names::Portable);
        paths
            .into_iter()
            .map(|(path, _)| path.to_string())
            .collect()
    }

    #[test]
    fn ordinary_names_are_left_as_they_are() {
        for name in [
            "a",
            ".hidden",
            "a b",
            "tar.gz.",
            "naïve.txt",
            "日本語",
            "a..b",
            "-rf",
            "~",
            "$HOME",
            "%2e%2e",
            "console",
            "com10",
            "auxiliary.c",
        ] {
            let expected = name.trim_end_matches('.');
            assert_eq!(safe(&[name]), expected);
        }
        assert_eq!(safe(&["folder", "sub", "file.txt"]), "folder/sub/file.txt");
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for (components, expected) in [
            (&["..", "..", "etc", "passwd"][..], "etc/passwd"),
            (&["a", "..", "b"], "a/b"),
            (&["a", ".", "", "b"], "a/b"),
            (&["/etc/passwd"], "_etc_passwd"),
            (&["/", "etc", "passwd"], "_/etc/passwd"),
            (&["", "etc"], "etc"),
            (&["a/../../b"], "a_.._.._b"),
            (&["..\\..\\windows"], ".._.._windows"),
            (&["C:\\windows"], "C__windows"),
            (&["12:30 what?*\"<>|"], "12_30 what______"),
            (&["c:", "x"], "c_/x"),
            (&["\\\\server\\share"], "__server_share"),
            (&["a\0b"], "a_b"),
            (&["a\nb\x1b[2J\u{85}"], "a_b_[2J_"),
            (&[".. "], "_"),
            (&[". .", "x"], "x"),
            (&[".\u{200b}."], "_"),
            (&["a", "..."], "a/_"),
            (&["a", ""], "a/_"),
            (&[], "_"),
            (&["..", ".."], "_"),
        ] {
            assert_eq!(safe(components), expected, "{components:?}");
        }
    }

    #[test]
    fn marks_that_are_not_seen_are_dropped() {
        assert_eq!(safe(&["photo\u{202e}gpj.exe"]), "photogpj.exe");
        assert_eq!(safe(&["\u{feff}a\u{200d}b\u{2066}"]), "ab");
    }

    #[test]
    fn names_of_devices_and_what_windows_strips() {
        for (name, expected) in [
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("aux .tar.gz", "_aux .tar.gz"),
            ("COM1", "_COM1"),
            ("lpt³.x", "_lpt³.x"),
            ("CONOUT$", "_CONOUT$"),
            ("name. . .", "name"),
            ("name ", "name"),
        ] {
            assert_eq!(safe(&[name]), expected);
        }
    }

    fn unix(components: &[&str]) -> String {
        SafePath::with_names(components.iter().map(|c| c.as_bytes()), Names::Unix).to_string()
    }

    #[test]
    fn unix_keeps_names_that_only_windows_cannot_have() {
        let long = "x".repeat(251) + ".tar";
        let longer = "é".repeat(127);
        for name in [
            "R.E.M.",
            "a name ",
            " a name",
            "aux.c",
            "NUL",
            "E: The Movie.mkv",
            "C:",
            "back\\slash",
            "what?*\"<>|",
            "می\u{200c}خواهم.mp3",
            "क्\u{200d}ष",
            "അവന\u{d4d}\u{200d}.mp3",
            "👨\u{200d}👩\u{200d}👧",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "שלום\u{200f}!",
            "...a",
            "tar.gz.",
            &long,
            &longer,
        ] {
            assert_eq!(unix(&[name]), name);
            assert_eq!(SafePath::try_from(name.to_string()).unwrap().as_str(), name);
        }
        let twins = ["a.txt", "A.TXT", "d/x", "D/X", "a.txt"];
        let mut paths: Vec<_> = (twins.iter())
            .map(|twin| {
                (
                    SafePath::with_names(twin.split('/').map(str::as_bytes), Names::Unix),
                    true,
                )
            })
            .collect();
        resolve_collisions(&mut paths, Names::Unix);
        let paths: Vec<_> = paths.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a.txt", "A.TXT", "d/x", "D/X", "a.1.txt"]);
    }

    #[test]
    fn unix_names_lead_nowhere_and_hide_nothing() {
        for (components, expected) in [
            (&["..", "..", "etc", "passwd"][..], "etc/passwd"),
            (&["/etc/passwd"], "_etc_passwd"),
            (&["a/../../b"], "a_.._.._b"),
            (&["a\0b"], "a_b"),
            (&["a\nb\x1b[2J\u{85}\u{2028}"], "a_b_[2J__"),
            (&[". .", "x"], "x"),
            (&[".\u{200b}."], "_"),
            (&["a", "..."], "a/_"),
            (&[], "_"),
            (&["photo\u{202e}gpj.exe"], "photogpj.exe"),
            (&["\u{feff}a\u{200d}b\u{2066}\u{200b}"], "ab"),
        ] {
            assert_eq!(unix(components), expected, "{components:?}");
        }
        assert_eq!(
            unix(&[&("x".repeat(300) + ".tar")]),
            "x".repeat(251) + ".tar"
        );
        assert_eq!(unix(&[&".".repeat(300)]), "_");
        assert_eq!(unix(&[&(".".repeat(300) + "x")]), ".".repeat(254) + "x");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let path = SafePath::from_untrusted([&b"caf\xe9.txt"[..]]);
        assert_eq!(path.as_str(), "caf\u{fffd}.txt");
    }

    #[test]
    fn long_names_are_cut_and_keep_their_extension() {
        let long = safe(&[&("x".repeat(300) + ".tar")]);
        assert_eq!(long, "x".repeat(236) + ".tar");
        assert_eq!(safe(&[&"é".repeat(200)]), "é".repeat(120));
        let no_extension = "x".repeat(10) + "." + &"y".repeat(300);
        assert_eq!(safe(&[&no_extension]).len(), 240);
        // The cut uncovers a device.
        let device = format!("CON{}x", " ".repeat(300));
        assert_eq!(safe(&[&device]), "_CON");
    }

    #[test]
    fn twins_are_numbered_in_order() {
        assert_eq!(
            resolved(&["a.txt", "A.TXT", "b", "a.txt", "straße", "STRASSE"]),
            ["a.txt", "A.1.TXT", "b", "a.2.txt", "straße", "STRASSE.1"]
        );
        assert_eq!(resolved(&["d/x", "D/X"]), ["d/x", "D/X.1"]);
    }

    #[test]
    fn a_new_name_never_takes_one_that_is_there() {
        assert_eq!(
            resolved(&["a", "a", "a.1", "a.2/b", "a"]),
            ["a", "a.3", "a.1", "a.2/b", "a.4"]
        );
    }

    #[test]
    fn a_file_gives_way_to_a_folder() {
        assert_eq!(resolved(&["a", "a/b"]), ["a.1", "a/b"]);
        assert_eq!(resolved(&["A/b", "a"]), ["A/b", "a.1"]);
        assert_eq!(resolved(&["a/b/c", "a/b", "a"]), ["a/b/c", "a/b.1", "a.1"]);
    }

    #[test]
    fn what_is_not_created_is_in_nobodys_way() {
        let path = || SafePath::from_untrusted([&b"a"[..]]);
        let mut paths = vec![(path(), false), (path(), true), (path(), false)];
        resolve_collisions(&mut paths, Names::Portable);
        assert!(paths.iter().all(|(resolved, _)| *resolved == path()));
    }

    #[test]
    fn many_long_twins_are_resolved_quickly() {
        // All names share what remains of them when a number is added, so that a counter for each
        // name would go through the numbers of all others: 10^8 steps.
        let names: Vec<String> = (0..20_000)
            .map(|i| format!("{}{:05}", "x".repeat(235), i / 2))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut resolved = resolved(&names);
        resolved.sort_unstable();
        resolved.dedup();
        assert_eq!(resolved.len(), names.len());
        assert!(resolved.iter().all(|name| name.len() <= MAX_COMPONENT_LEN));
    }

    #[test]
    fn text_for_people_cannot_drive_a_terminal() {
        assert_eq!(
            safe_text(b"a\x1b[31m\r\nb\t\xff", 100),
            "a\u{fffd}[31m\nb\t\u{fffd}"
        );
        assert_eq!(safe_text("ééé".as_bytes(), 5), "éé");
    }

    #[test]
    fn only_safe_paths_are_deserialised() {
        assert!(SafePath::try_from(String::from("a/b.txt")).is_ok());
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/..",
            "a/. .",
            "a\0",
            "a\u{202e}b",
        ] {
            assert!(SafePath::try_from(String::from(path)).is_err(), "{path}");
        }
    }

    quickcheck! {
        fn any_name_becomes_safe(components: Vec<Vec<u8>>) -> bool {
            let path = SafePath::from_untrusted(components.iter().map(Vec::as_slice));
            SafePath::try_from(path.to_string()) == Ok(path)
        }

        fn any_text_becomes_safe(components: Vec<String>) -> bool {
            let path = SafePath::from_untrusted(components.iter().map(String::as_bytes));
            SafePath::try_from(path.to_string()) == Ok(path)
        }

        fn any_text_becomes_safe_for_unix(components: Vec<String>) -> bool {
            let bytes = || components.iter().map(String::as_bytes);
            let path = SafePath::with_names(bytes(), Names::Unix);
            let portable = SafePath::with_names(bytes(), Names::Portable);
            // What every system takes, Unix takes.
            SafePath::try_from(path.to_string()) == Ok(path)
                && SafePath::try_from(portable.to_string()) == Ok(portable)
        }

        fn resolved_paths_never_meet(picks: Vec<Vec<u8>>) -> bool {
            const NAMES: [&[u8]; 8] = [b"a", b"A", b"a.1", b"b", b"B.x", b"b.x", b"b.1.x", b"nul"];
            let mut paths: Vec<_> = picks
                .iter()
                .map(|path| {
                    let components = path.iter().take(3).map(|pick| NAMES[usize::from(*pick) % 8]);
                    (SafePath::from_untrusted(components), true)
                })
                .collect();
            resolve_collisions(&mut paths, Names::Portable);
            paths.iter().enumerate().all(|(i, (a, _))| {
                let a = key(a.as_str());
                SafePath::try_from(paths[i].0.to_string()).is_ok()
                    && paths.iter().enumerate().all(|(j, (b, _))| {
                        let b = key(b.as_str());
                        i == j || a != b && !b.starts_with(&(a.clone() + "\0"))
                    })
            })
        }
    }
}
