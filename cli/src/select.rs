//! Which files of a torrent are wanted: numbers, ranges, names, patterns, and what is not wanted.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::str::FromStr;

use anabranch_core::command::Priority;
use anabranch_core::metainfo::{FileIndex, Metainfo};
use glob::{MatchOptions, Pattern};

use crate::exit::Failure;
use crate::output::text::printable;

/// Which files of a torrent are wanted, once it is known which ones it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    lists: Vec<FileList>,
    case: Case,
}

impl Choice {
    /// None if there are no lists, which is no choice.
    pub(crate) fn new(lists: Vec<FileList>, case: Case) -> Option<Self> {
        (!lists.is_empty()).then_some(Self { lists, case })
    }

    /// The priority of each file of a torrent.
    pub(crate) fn priorities(&self, metainfo: &Metainfo) -> Result<Vec<Priority>, Failure> {
        let files = (0..).map(FileIndex::new).zip(metainfo.files());
        let paths: Vec<Vec<String>> = files.map(|(index, _)| called(metainfo, index)).collect();
        let wanted = choose(&self.lists, self.case, &paths).map_err(|why| {
            Failure::usage(format!("--files: {why}"))
                .advise("`anabranch show TORRENT` lists the files with their numbers")
        })?;
        let priority = |wanted| match wanted {
            true => Priority::Normal,
            false => Priority::Skip,
        };
        Ok(wanted.into_iter().map(priority).collect())
    }
}

/// What a file is called: its path as it is created, and as it stands in the torrent, if that is another one.
fn called(metainfo: &Metainfo, file: FileIndex) -> Vec<String> {
    let path = metainfo.download_path(file);
    let path = path.map_or_else(String::new, |path| path.to_string());
    let mut original = metainfo.original_name().to_vec();
    if metainfo.is_multi_file() {
        for component in metainfo.original_path(file).unwrap_or_default() {
            original.push(b'/');
            original.extend(component);
        }
    }
    let original = from_bytes(&original);
    match original == path {
        true => vec![path],
        false => vec![path, original],
    }
}

/// What stands for a byte that belongs to no character: one that nobody else has a use for.
const BYTES: u32 = 0x10_ff00;

/// Text that may not be UTF-8, so that what is different stays different.
fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        let stray = chunk.invalid().iter();
        text.extend(stray.filter_map(|byte| char::from_u32(BYTES + u32::from(*byte))));
    }
    text
}

/// The same to be read by people.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match u32::from(c).checked_sub(BYTES) {
            Some(byte) => shown += &format!("\\x{byte:02x}"),
            None => shown.push(c),
        }
    }
    printable(&shown).into_owned()
}

/// A list as `--files` takes it: `1,3-5,*.txt,!*sample*`. The option may be given several times.
///
/// What its parts mean can only be said of a torrent: a name that is there is meant as it is, with all its digits and
/// brackets; else it is a number, what is not wanted, or a pattern. A number behind a `+` is one whatever is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileList {
    /// As it was typed: it may be a single name with commas in it.
    text: String,
    parts: Vec<String>,
}

/// How names are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Case {
    /// As they are.
    #[default]
    Sensitive,
    /// Capitals are small letters.
    Ignored,
}

impl FileList {
    /// Reads what is typed: bytes, where names are bytes.
    pub(crate) fn read(text: OsString) -> Result<Self, String> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt as _;
            from_bytes(text.as_bytes()).parse()
        }
        #[cfg(not(unix))]
        {
            text.to_str().ok_or("it has to be in UTF-8")?.parse()
        }
    }
}

impl FromStr for FileList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = split(text)
            .iter()
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            return Err("name at least one file, for example 1,3-5 or *.txt".to_owned());
        }
        for number in parts.iter().filter_map(|part| sure_number(part)) {
            numbers(number)?;
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

/// The parts between commas. A comma behind a backslash is part of a name.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            c => {
                let c = match (c, chars.peek()) {
                    ('\\', Some(',')) => chars.next().unwrap_or(c),
                    _ => c,
                };
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}

/// What is behind the `+` of a number that is no name.
fn sure_number(text: &str) -> Option<&str> {
    let number = text.strip_prefix('!').unwrap_or(text).strip_prefix('+')?;
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(number)
}

/// A number or a range of numbers; none if it is something else.
fn numbers(text: &str) -> Result<Option<RangeInclusive<u32>>, String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(0) => Err("files are counted from 1; `anabranch show` lists them".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("'{text}' is too large for a file number")),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(text) {
        let number = number(text)?;
        return Ok(Some(number..=number));
    }
    match text.split_once('-') {
        Some((first, last)) if is_number(first) && (last.is_empty() || is_number(last)) => {
            let first = number(first)?;
            let last = match last {
                "" => u32::MAX,
                last => number(last)?,
            };
            if last < first {
                return Err(format!("the range {first}-{last} is empty"));
            }
            Ok(Some(first..=last))
        }
        Some(_) | None => Ok(None),
    }
}

/// Which of these paths are meant, one entry a path. An error if part of a list means none, or nothing is
/// left in the end.
///
/// A part is first of all a name: with a `/`, it is compared with whole paths, and with
/// folders, from the torrent's own folder on or from within it; without one, with the name of every file
/// and folder. If there is none of that name, it is a number or a range of them, or else a pattern for the same, in
/// which `*` and `?` stay within a name, and `**` does not. With `!` before it, it is what is not wanted, of what else
/// the lists name, or of everything if they name nothing else.
fn choose(lists: &[FileList], case: Case, paths: &[Vec<String>]) -> Result<Vec<bool>, String> {
    let fold = |called: &Vec<String>| called.iter().map(|path| case.fold(path)).collect();
    let names = Names {
        paths: paths.iter().map(fold).collect(),
        case,
    };
    let mut wanted = vec![false; paths.len()];
    let mut unwanted = vec![false; paths.len()];
    let mut includes = false;
    for list in lists {
        // A name with commas in it.
        if let Some(found) = names.exactly(list.text.trim().trim_end_matches('/')) {
            includes = true;
            mark(&mut wanted, &found);
            continue;
        }
        for part in &list.parts {
            let text = part.trim_end_matches('/');
            let (exclude, found) = match (names.exactly(text), text.strip_prefix('!')) {
                (Some(found), _) => (false, found),
                (None, Some(text)) => (true, names.meant_by(text)?),
                (None, None) => (false, names.meant_by(text)?),
            };
            includes |= !exclude;
            mark(if exclude { &mut unwanted } else { &mut wanted }, &found);
        }
    }
    if !includes {
        wanted.fill(true);
    }
    for (wanted, unwanted) in wanted.iter_mut().zip(unwanted) {
        *wanted &= !unwanted;
    }
    match wanted.contains(&true) {
        true => Ok(wanted),
        false => Err("no file is left".to_owned()),
    }
}

fn mark(marks: &mut [bool], more: &[bool]) {
    for (mark, more) in marks.iter_mut().zip(more) {
        *mark |= more;
    }
}

impl Case {
    fn fold(self, text: &str) -> String {
        match self {
            Self::Sensitive => text.to_owned(),
            Self::Ignored => text.to_lowercase(),
        }
    }
}

/// The paths of a torrent's files.
struct Names {
    /// What each is called, in one way or in two.
    paths: Vec<Vec<String>>,
    case: Case,
}

impl Names {
    fn numbered(&self, range: &RangeInclusive<u32>) -> Result<Vec<bool>, String> {
        let count = self.paths.len();
        let first = *range.start() as usize - 1;
        let last = match *range.end() {
            u32::MAX => count,
            last => last as usize,
        };
        if first >= count || last > count {
            return Err(match count {
                1 => "the torrent has only one file, number 1".to_owned(),
                count => format!("the torrent's files have the numbers 1 to {count}"),
            });
        }
        Ok((0..count)
            .map(|index| (first..last).contains(&index))
            .collect())
    }

    /// The files of this name, or in folders of it.
    fn exactly(&self, text: &str) -> Option<Vec<bool>> {
        let text = self.case.fold(text);
        self.matching(text.contains('/'), |name| name == text)
    }

    fn meant_by(&self, text: &str) -> Result<Vec<bool>, String> {
        const OPTIONS: MatchOptions = MatchOptions {
            // Both have been made the same where it does not matter.
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let text = text.trim().trim_end_matches('/');
        if let Some(number) = sure_number(text)
            && let Some(range) = numbers(number)?
        {
            return self.numbered(&range);
        }
        if let Some(found) = self.exactly(text) {
            return Ok(found);
        }
        if let Some(range) = numbers(text)? {
            return self.numbered(&range);
        }
        let pattern = Pattern::new(&self.case.fold(text)).map_err(|error| {
            format!(
                "'{}' is neither the name of a file nor a pattern: {}",
                shown(text),
                error.msg
            )
        })?;
        self.matching(text.contains('/'), |name| {
            pattern.matches_with(name, OPTIONS)
        })
        .ok_or_else(|| format!("no file of the torrent matches '{}'", shown(text)))
    }

    /// The files that match by their names or those of their folders; none if there are none.
    fn matching(&self, whole: bool, matches: impl Fn(&str) -> bool) -> Option<Vec<bool>> {
        let found: Vec<bool> = self
            .paths
            .iter()
            .map(|called| {
                called.iter().any(|path| match whole {
                    true => prefixes(path).any(&matches),
                    false => path.split('/').any(&matches),
                })
            })
            .collect();
        found.contains(&true).then_some(found)
    }
}

/// A path and each folder that it lies in, from the torrent's own folder on, and from within that.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let within = path.split_once('/').map(|(_, within)| within);
    [Some(path), within].into_iter().flatten().flat_map(|path| {
        path.match_indices('/')
            .map(|(end, _)| &path[..end])
            .chain([path])
    })
}

#[cfg(test)]
mod tests {
    use anabranch_core::metainfo::{Creator, SourceFile};
    use quickcheck::quickcheck;

    use super::*;
    use crate::exit::Exit;

    const PATHS: [&str; 6] = [
        "t/readme.txt",
        "t/film.mkv",
        "t/subs/en.srt",
        "t/subs/de.srt",
        "t/extras/deep/film.mkv",
        "t/2-3",
    ];

    fn each_one_name(paths: &[impl AsRef<str>]) -> Vec<Vec<String>> {
        let paths = paths.iter().map(|path| vec![path.as_ref().to_owned()]);
        paths.collect()
    }

    fn chosen(list: &str) -> Result<Vec<usize>, String> {
        chosen_of(&[list], Case::Sensitive, &PATHS)
    }

    fn chosen_of(lists: &[&str], case: Case, paths: &[&str]) -> Result<Vec<usize>, String> {
        let lists: Vec<FileList> = lists
            .iter()
            .map(|list| list.parse())
            .collect::<Result<_, _>>()?;
        let wanted = choose(&lists, case, &each_one_name(paths))?;
        Ok((0..paths.len()).filter(|&index| wanted[index]).collect())
    }

    #[test]
    fn numbers_count_from_one() {
        assert_eq!(chosen("1"), Ok(vec![0]));
        assert_eq!(chosen("1,3-5"), Ok(vec![0, 2, 3, 4]));
        assert!(chosen(" 5 - ,1").is_err());
        assert_eq!(chosen("+1,+3-4"), Ok(vec![0, 2, 3]));
        assert_eq!(chosen("5-"), Ok(vec![4, 5]));
        assert_eq!(chosen("6,6,6"), Ok(vec![5]));
    }

    #[test]
    fn patterns_match_names_paths_and_folders() {
        assert_eq!(chosen("*.mkv"), Ok(vec![1, 4]));
        assert_eq!(chosen("subs"), Ok(vec![2, 3]));
        assert_eq!(chosen("subs/"), Ok(vec![2, 3]));
        assert_eq!(chosen("subs/e*"), Ok(vec![2]));
        assert_eq!(chosen("extras/*"), Ok(vec![4]));
        assert_eq!(
            chosen("extras/*.mkv"),
            Err("no file of the torrent matches 'extras/*.mkv'".into())
        );
        assert_eq!(chosen("**/*.mkv"), Ok(vec![1, 4]));
        assert_eq!(chosen("[2]-3"), Ok(vec![5]));
        assert_eq!(chosen("deep"), Ok(vec![4]));
        assert_eq!(chosen("t/subs"), Ok(vec![2, 3]));
        assert_eq!(chosen("t/*.mkv"), Ok(vec![1]));
        assert_eq!(chosen("t"), Ok(vec![0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_means_nothing_is_an_error() {
        for list in ["", ",", "0", "7", "1-7", "3-2", "x*", "99999999999", "[a"] {
            assert!(chosen(list).is_err(), "{list}");
        }
        assert_eq!(
            chosen("7"),
            Err("the torrent's files have the numbers 1 to 6".into())
        );
    }

    #[test]
    fn a_name_is_meant_as_it_is_before_it_is_a_pattern() {
        const NAMES: [&str; 7] = [
            "t/x [1080p].mkv",
            "t/x 1.mkv",
            "t/a, b.txt",
            "t/b.txt",
            "t/!c",
            "t/[d",
            "t/e, !f/g*",
        ];
        let chosen = |list| chosen_of(&[list], Case::Sensitive, &NAMES);
        assert_eq!(chosen("x [1080p].mkv"), Ok(vec![0]));
        assert_eq!(chosen("t/x [1080p].mkv"), Ok(vec![0]));
        assert_eq!(chosen("x [0-9].mkv"), Ok(vec![1]));
        assert_eq!(chosen("[d"), Ok(vec![5]));
        assert_eq!(chosen("!c"), Ok(vec![4]));
        // Commas: the whole list is a name, or they are behind a backslash.
        assert_eq!(chosen("a, b.txt"), Ok(vec![2]));
        assert_eq!(chosen("a\\, b.txt,!c"), Ok(vec![2, 4]));
        assert_eq!(chosen("e, !f/"), Ok(vec![6]));
        assert_eq!(chosen("t/e\\, !f/g*,4"), Ok(vec![3, 6]));
        let several = ["a, b.txt", "x [1080p].mkv", "4"];
        assert_eq!(
            chosen_of(&several, Case::Sensitive, &NAMES),
            Ok(vec![0, 2, 3])
        );
    }

    #[test]
    fn a_name_of_digits_is_a_name_before_it_is_a_number() {
        const NAMES: [&str; 5] = ["t/a", "t/1", "t/2-3", "t/0", "t/1,2"];
        let chosen = |list| chosen_of(&[list], Case::Sensitive, &NAMES);
        assert_eq!(chosen("1"), Ok(vec![1]));
        assert_eq!(chosen("2-3"), Ok(vec![2]));
        assert_eq!(chosen("0"), Ok(vec![3]));
        assert_eq!(chosen("1,2"), Ok(vec![4]));
        assert_eq!(chosen("!1"), Ok(vec![0, 2, 3, 4]));
        // The numbers, whatever the names are.
        assert_eq!(chosen("+1"), Ok(vec![0]));
        assert_eq!(chosen("+2-3"), Ok(vec![1, 2]));
        assert_eq!(chosen("!+1"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(chosen("3"), Ok(vec![2]), "no file is called so");
        for list in ["+0", "!+0", "+3-2", "+9"] {
            assert!(chosen(list).is_err(), "{list}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_utf8_can_be_typed() {
        use std::os::unix::ffi::OsStringExt as _;
        let files = [&b"caf\xe9"[..], b"caf\xe8", b"tea"].map(|name| SourceFile {
            path: vec![name.to_vec()],
            length: 0,
        });
        let torrent = Creator::multi_file("t", files).finish(&[]).unwrap();
        let wanted = |list: &[u8]| {
            let list = FileList::read(OsString::from_vec(list.to_vec())).unwrap();
            let choice = Choice::new(vec![list], Case::Sensitive).unwrap();
            let wanted = choice
                .priorities(&torrent.metainfo)
                .map_err(|f| f.to_string())?;
            let wanted = wanted.iter().map(|priority| *priority == Priority::Normal);
            Ok::<Vec<bool>, String>(wanted.collect())
        };
        // Files are in the order of their paths.
        assert_eq!(wanted(b"caf\xe9"), Ok(vec![false, true, false]));
        assert_eq!(wanted(b"t/caf\xe8"), Ok(vec![true, false, false]));
        assert_eq!(wanted(b"caf?"), Ok(vec![true, true, false]));
        assert_eq!(wanted(b"!caf\xe9"), Ok(vec![true, false, true]));
        let refused = wanted(b"\xff").unwrap_err();
        assert!(refused.contains("'\\xff'"), "{refused}");
    }

    #[test]
    fn what_is_excluded_is_taken_from_the_rest() {
        assert_eq!(chosen("!*.srt"), Ok(vec![0, 1, 4, 5]));
        assert_eq!(chosen("*.mkv,!extras"), Ok(vec![1]));
        assert_eq!(chosen("!extras,*.mkv"), Ok(vec![1]));
        assert_eq!(chosen("1-5,!+2-3"), Ok(vec![0, 3, 4]));
        assert_eq!(chosen("1-6,!2-3"), Ok(vec![0, 1, 2, 3, 4]));
        assert_eq!(chosen("! readme.txt , subs"), Ok(vec![2, 3]));
        assert_eq!(chosen("!subs/en.srt"), Ok(vec![0, 1, 3, 4, 5]));
        let lists = ["t/subs", "!de.*"];
        assert_eq!(chosen_of(&lists, Case::Sensitive, &PATHS), Ok(vec![2]));
        assert_eq!(chosen("subs,!*"), Err("no file is left".into()));
        assert_eq!(
            chosen("!*.avi"),
            Err("no file of the torrent matches '*.avi'".into())
        );
        for list in ["!0", "!7", "!3-2", "!"] {
            assert!(chosen(list).is_err(), "{list}");
        }
    }

    #[test]
    fn case_matters_unless_it_is_to_be_ignored() {
        const NAMES: [&str; 4] = ["T/Readme.TXT", "T/Ünder/a.txt", "T/B[1].txt", "T/c"];
        let chosen = |list, case| chosen_of(&[list], case, &NAMES);
        assert!(chosen("*.Txt", Case::Sensitive).is_err());
        assert_eq!(chosen("*.Txt", Case::Ignored), Ok(vec![0, 1, 2]));
        assert_eq!(chosen("readme.txt", Case::Ignored), Ok(vec![0]));
        assert_eq!(chosen("t/üNDER/*", Case::Ignored), Ok(vec![1]));
        assert_eq!(chosen("b[1].TXT", Case::Ignored), Ok(vec![2]));
        assert_eq!(chosen("[A-C]", Case::Ignored), Ok(vec![3]));
        assert_eq!(chosen("!*.TXT", Case::Ignored), Ok(vec![3]));
    }

    #[test]
    fn files_that_are_not_listed_are_skipped() {
        let files = ["a", "b/c", "b/d"].map(|path| SourceFile {
            path: path.split('/').map(Into::into).collect(),
            length: 0,
        });
        let torrent = Creator::multi_file("t", files).finish(&[]).unwrap();
        let priorities = |list: &str| {
            let choice = Choice::new(vec![list.parse().unwrap()], Case::Sensitive).unwrap();
            choice.priorities(&torrent.metainfo)
        };
        assert_eq!(Choice::new(Vec::new(), Case::Sensitive), None);
        assert_eq!(
            priorities("b/d,1").unwrap(),
            [Priority::Normal, Priority::Skip, Priority::Normal]
        );
        let failure = priorities("4").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.advice().is_some());
    }

    quickcheck! {
        fn nothing_typed_panics(list: String, paths: Vec<String>, ignored: bool) -> bool {
            let case = if ignored { Case::Ignored } else { Case::Sensitive };
            match list.parse::<FileList>() {
                Ok(list) => match choose(&[list], case, &each_one_name(&paths)) {
                    Ok(wanted) => wanted.len() == paths.len() && wanted.contains(&true),
                    Err(why) => !why.is_empty(),
                },
                Err(why) => !why.is_empty(),
            }
        }

        fn a_file_can_be_chosen_by_its_path(folders: Vec<String>, name: String) -> bool {
            let name = format!("{}x", name.replace(['/', '\\'], "_"));
            let paths: Vec<String> = folders
                .iter()
                .map(|folder| format!("t/{}y/z", folder.replace('/', "_")))
                .chain([format!("t/a{name}")])
                .collect();
            let list = format!("t/a{}", name.replace(',', "\\,"));
            let last = paths.len() - 1;
            let chosen = choose(&[list.parse().unwrap()], Case::Sensitive, &each_one_name(&paths));
            // What is trimmed is at the end of the name, which is an x.
            chosen.is_ok_and(|wanted| wanted[last])
        }
    }
}
