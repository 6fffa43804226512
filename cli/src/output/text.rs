//! Text from strangers on its way to a terminal.

use std::borrow::Cow;
use std::fmt;

use console::measure_text_width;

/// The text without anything that a terminal would obey or that would deceive its reader: control
/// characters, and marks that are invisible or change the direction of text, are written as
/// escapes.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// One line of JSON in which these characters are escaped, too: inside of strings is the only place
/// where they can stand.
pub(crate) fn printable_json(json: String) -> String {
    if !json.chars().any(is_unprintable) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unprintable(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// An error in words, without the numbers that the system has for it: `(os error 2)`.
pub(crate) fn reason(error: &impl fmt::Display) -> String {
    const NUMBER: &str = " (os error ";
    // What is looked up is told before.
    const LOOKUP: &str = "failed to lookup address information: ";
    let text = error.to_string();
    let mut words = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(NUMBER) {
        words += before;
        let digits = after
            .trim_start_matches('-')
            .trim_start_matches(|c: char| c.is_ascii_digit());
        rest = match digits.strip_prefix(')') {
            Some(after) => after,
            None => {
                words += NUMBER;
                after
            }
        };
    }
    (words + rest).replace(LOOKUP, "")
}

/// The text in so many columns of a terminal, with an ellipsis where something is missing.
pub(crate) fn shortened(text: &str, columns: usize, ellipsis: &str) -> String {
    cut(text, columns, ellipsis, |_, _| true)
}

/// The same of a sentence: as many of its clauses as there is room for, which say less and nothing else; or else the
/// first cut between words, so that no number loses digits.
pub(crate) fn cut_sentence(text: &str, columns: usize, ellipsis: &str) -> String {
    if measure_text_width(text) > columns {
        let ends = [": ", "; ", ", "]
            .into_iter()
            .flat_map(|mark| text.match_indices(mark));
        let starts = ends.map(|(end, _)| &text[..end]);
        let longest = starts
            .filter(|start| measure_text_width(start) <= columns)
            .max_by_key(|start| start.len());
        if let Some(clauses) = longest {
            return clauses.to_owned();
        }
    }
    cut(text, columns, ellipsis, |before, after| {
        !before.ends_with(' ') && after.starts_with(' ')
    })
}

/// The first clause of a sentence.
pub(crate) fn first_clause(text: &str) -> &str {
    let ends = [": ", "; ", ", "]
        .into_iter()
        .filter_map(|mark| text.find(mark));
    &text[..ends.min().unwrap_or(text.len())]
}

/// The longest start of the text that leaves room for the ellipsis and ends where `may` says.
fn cut(text: &str, columns: usize, ellipsis: &str, may: impl Fn(&str, &str) -> bool) -> String {
    if measure_text_width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(measure_text_width(ellipsis)) else {
        return String::new();
    };
    let mut end = 0;
    for (at, _) in text.char_indices().skip(1) {
        let (before, after) = text.split_at(at);
        if measure_text_width(before) > room {
            break;
        }
        if may(before, after) {
            end = at;
        }
    }
    format!("{}{ellipsis}", &text[..end])
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "a b", "naïve 日本語 🎬", "100%"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn errors_of_the_system_have_words_alone() {
        let gone = std::io::Error::from_raw_os_error(2);
        let words = reason(&gone);
        assert!(!words.contains("os error") && !words.is_empty(), "{words}");
        assert_eq!(reason(&"a (os error 2): b (os error -104)"), "a: b");
        for plain in ["", "a", "a (os error x)", "(os error 1", "a (os error 1"] {
            assert_eq!(reason(&plain), plain);
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(printable("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(printable("photo\u{202e}gpj.exe"), "photo\\u{202e}gpj.exe");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("日本語", 6, "…"), "日本語");
        assert_eq!(shortened("日本語x", 6, "…"), "日本…");
        assert_eq!(shortened("日本語x", 4, "…"), "日…");
        assert_eq!(shortened("abcdef", 5, "..."), "ab...");
        assert_eq!(shortened("abc", 1, "…"), "…");
        assert_eq!(shortened("abc", 0, "…"), "");
    }

    #[test]
    fn sentences_are_cut_between_words() {
        let text = "no peers: 1410 refused";
        assert_eq!(cut_sentence(text, 22, "…"), text);
        assert_eq!(cut_sentence(text, 21, "…"), "no peers");
        assert_eq!(cut_sentence(text, 8, "…"), "no peers");
        assert_eq!(cut_sentence(text, 7, "…"), "no…");
        assert_eq!(cut_sentence(text, 2, "…"), "…");
        assert_eq!(cut_sentence("one, two; three: four", 10, "…"), "one, two");
        assert_eq!(first_clause("one two; three: four"), "one two");
    }

    quickcheck! {
        fn nothing_unprintable_is_left(text: String) -> bool {
            !printable(&text).chars().any(is_unprintable)
        }

        fn what_is_cut_fits(text: String, columns: u8) -> bool {
            let text = printable(&text);
            let columns = usize::from(columns);
            ["…", "..."].into_iter().all(|ellipsis| {
                measure_text_width(&shortened(&text, columns, ellipsis)) <= columns
                    && measure_text_width(&cut_sentence(&text, columns, ellipsis)) <= columns
            })
        }

        fn escaped_json_means_the_same(text: String) -> bool {
            let json = printable_json(serde_json::to_string(&text).unwrap());
            !json.chars().any(is_unprintable)
                && serde_json::from_str::<String>(&json).unwrap() == text
        }
    }
}
