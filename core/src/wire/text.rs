//! Text from strangers, made fit to show.

use alloc::string::String;

/// At most `max` characters of `bytes` as text. What is not UTF-8, control characters and the marks that reorder or
/// hide text become U+FFFD, so that nothing sent by a stranger drives a terminal.
pub(super) fn printable(bytes: &[u8], max: usize) -> String {
    // A character has at most four bytes: no need to look at more of what may be a megabyte.
    let bytes = bytes.get(..max.saturating_mul(4)).unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .take(max)
        .map(|c| {
            if is_harmful(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_stays() {
        assert_eq!(
            printable("µTorrent 1.2 ☃".as_bytes(), 100),
            "µTorrent 1.2 ☃"
        );
    }

    #[test]
    fn escapes_marks_and_broken_utf8_do_not_pass() {
        let text = printable(b"a\x1b[31m\xff\xe2\x80\xaeb\0", 100);
        assert_eq!(text, "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(printable("äöüß".as_bytes(), 3), "äöü");
        assert_eq!(printable(&[b'x'; 1 << 20], 8).len(), 8);
    }
}
