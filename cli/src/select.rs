//! Which files of a torrent are wanted: numbers, ranges and patterns.

use std::ops::RangeInclusive;
use std::str::FromStr;

use glob::{MatchOptions, Pattern};

/// A list as `--files` takes it: `1,3-5,*.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileList(Vec<Selector>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    /// File numbers as `show` prints them, from 1.
    Numbers(RangeInclusive<u32>),
    Glob(Pattern),
}

impl FromStr for FileList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(selector)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|selectors| match selectors.is_empty() {
                true => Err("name at least one file, for example 1,3-5 or *.txt".to_owned()),
                false => Ok(Self(selectors)),
            })
    }
}

fn selector(text: &str) -> Result<Selector, String> {
    let number = |text: &str| match text.parse::<u32>() {
        Ok(0) => Err("files are counted from 1; `anabranch show` lists them".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("'{}' is too large for a file number", text)),
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(text) {
        let number = number(text)?;
        return Ok(Selector::Numbers(number..=number));
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
            Ok(Selector::Numbers(first..=last))
        }
        Some(_) | None => Pattern::new(text.trim_end_matches('/'))
            .map(Selector::Glob)
            .map_err(|error| {
                format!(
                    "'{}' is not a pattern: {}",
                    text.escape_default(),
                    error.msg
                )
            }),
    }
}

impl FileList {
    /// The files as ranges of numbers from 0, if there are no patterns among them.
    pub(crate) fn numbers(&self) -> Option<Vec<RangeInclusive<u32>>> {
        let ranges = self.0.iter().map(|selector| match selector {
            Selector::Numbers(range) => {
                // They are counted from 1.
                let (first, last) = (range.start(), range.end());
                Some(first.saturating_sub(1)..=last.saturating_sub(1))
            }
            Selector::Glob(_) => None,
        });
        ranges.collect()
    }

    /// Which of these paths are meant, one entry a path. An error if part of the list means none.
    ///
    /// A pattern with a `/` is compared with whole paths, and with folders, from the torrent's own
    /// folder on or from within it; one without is compared with the name of every file and folder.
    /// `*` and `?` stay within a name, `**` does not.
    pub(crate) fn choose<S: AsRef<str>>(&self, paths: &[S]) -> Result<Vec<bool>, String> {
        let mut wanted = vec![false; paths.len()];
        for selector in &self.0 {
            match selector {
                Selector::Numbers(range) => {
                    let open = *range.end() == u32::MAX;
                    let first = *range.start() as usize - 1;
                    let last = match open {
                        true => paths.len(),
                        false => *range.end() as usize,
                    };
                    if first >= paths.len() || last > paths.len() {
                        return Err(match paths.len() {
                            1 => "the torrent has only one file, number 1".to_owned(),
                            count => format!("the torrent's files have the numbers 1 to {count}"),
                        });
                    }
                    wanted[first..last].fill(true);
                }
                Selector::Glob(pattern) => {
                    let mut found = false;
                    for (wanted, path) in wanted.iter_mut().zip(paths) {
                        if matches(pattern, path.as_ref()) {
                            *wanted = true;
                            found = true;
                        }
                    }
                    if !found {
                        return Err(format!("no file of the torrent matches '{pattern}'"));
                    }
                }
            }
        }
        Ok(wanted)
    }
}

fn matches(pattern: &Pattern, path: &str) -> bool {
    const OPTIONS: MatchOptions = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    if !pattern.as_str().contains('/') {
        return path
            .split('/')
            .any(|name| pattern.matches_with(name, OPTIONS));
    }
    let within = path.split_once('/').map(|(_, within)| within);
    // The path itself, and each folder that it lies in.
    [Some(path), within].into_iter().flatten().any(|path| {
        path.match_indices('/')
            .map(|(end, _)| &path[..end])
            .chain([path])
            .any(|prefix| pattern.matches_with(prefix, OPTIONS))
    })
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    const PATHS: [&str; 6] = [
        "t/readme.txt",
        "t/film.mkv",
        "t/subs/en.srt",
        "t/subs/de.srt",
        "t/extras/deep/film.mkv",
        "t/2-3",
    ];

    fn chosen(list: &str) -> Result<Vec<usize>, String> {
        let wanted = list.parse::<FileList>()?.choose(&PATHS)?;
        Ok((0..PATHS.len()).filter(|&index| wanted[index]).collect())
    }

    #[test]
    fn numbers_count_from_one() {
        assert_eq!(chosen("1"), Ok(vec![0]));
        assert_eq!(chosen("1,3-5"), Ok(vec![0, 2, 3, 4]));
        assert!(chosen(" 5 - ,1").is_err());
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

    quickcheck! {
        fn nothing_typed_panics(list: String, paths: Vec<String>) -> bool {
            match list.parse::<FileList>() {
                Ok(list) => list.choose(&paths).is_ok_and(|wanted| wanted.len() == paths.len())
                    || list.choose(&paths).is_err(),
                Err(_) => true,
            }
        }
    }
}
