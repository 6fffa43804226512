//! Text from strangers on its way to a terminal.

use std::borrow::Cow;

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

/// The text cut to so many characters, with an ellipsis where something is missing.
pub(crate) fn shortened(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
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
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(printable("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(printable("photo\u{202e}gpj.exe"), "photo\\u{202e}gpj.exe");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shortened("日本語", 3), "日本語");
        assert_eq!(shortened("日本語x", 3), "日本…");
        assert_eq!(shortened("abc", 0), "…");
    }

    quickcheck! {
        fn nothing_unprintable_is_left(text: String) -> bool {
            !printable(&text).chars().any(is_unprintable)
        }

        fn escaped_json_means_the_same(text: String) -> bool {
            let json = printable_json(serde_json::to_string(&text).unwrap());
            !json.chars().any(is_unprintable)
                && serde_json::from_str::<String>(&json).unwrap() == text
        }
    }
}
