//! The characters that are drawn with: box drawing where the locale has it, ASCII elsewhere.

use std::env;

/// What bars and cut texts are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glyphs {
    /// The full part of a bar.
    pub(crate) full: char,
    /// Its last cell, if that is half full.
    pub(crate) half: char,
    /// What is left of it.
    pub(crate) rest: char,
    /// Stands for what is cut off.
    pub(crate) ellipsis: &'static str,
    /// Whether bars have colours.
    pub(crate) colours: bool,
}

impl Glyphs {
    /// Characters of Unicode.
    pub(crate) const UNICODE: Self = Self {
        full: '━',
        half: '╸',
        rest: '─',
        ellipsis: "…",
        colours: false,
    };

    /// ASCII alone.
    pub(crate) const ASCII: Self = Self {
        full: '=',
        half: '>',
        rest: '-',
        ellipsis: "...",
        colours: false,
    };

    /// What the user's locale can show.
    pub(crate) fn of_environment() -> Self {
        let locale = |name: &str| env::var(name).ok();
        match is_unicode(locale) {
            true => Self::UNICODE,
            false => Self::ASCII,
        }
    }
}

/// Whether the locale's character set is UTF-8: that of the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set
/// (POSIX.1, 8.2). None set means the locale C, which has ASCII. Windows has no such variables, and its
/// terminals show Unicode.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .filter(|value| !value.is_empty());
    match set.next() {
        Some(locale) => {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        }
        None => cfg!(windows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_locale(all: Option<&str>, ctype: Option<&str>, lang: Option<&str>) -> bool {
        is_unicode(|name| {
            let value = match name {
                "LC_ALL" => all,
                "LC_CTYPE" => ctype,
                _ => lang,
            };
            value.map(str::to_owned)
        })
    }

    #[test]
    fn the_locale_decides_on_box_characters() {
        assert!(in_locale(None, None, Some("de_DE.UTF-8")));
        assert!(in_locale(None, Some("C.utf8"), Some("C")));
        assert!(in_locale(Some(""), None, Some("en_US.UTF-8")));
        assert!(!in_locale(Some("C"), None, Some("de_DE.UTF-8")));
        assert!(!in_locale(Some("POSIX"), Some("C.UTF-8"), None));
        assert!(!in_locale(None, None, Some("de_DE.ISO-8859-1")));
        assert_eq!(in_locale(None, None, None), cfg!(windows));
    }

    #[test]
    fn ascii_is_ascii() {
        let Glyphs {
            full,
            half,
            rest,
            ellipsis,
            ..
        } = Glyphs::ASCII;
        assert!([full, half, rest].iter().all(char::is_ascii));
        assert!(ellipsis.is_ascii());
    }
}
