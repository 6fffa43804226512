//! Text from strangers, made fit to show.

use alloc::string::String;

/// What is in `bytes` as text of at most `max` bytes. What is not UTF-8, control characters and the
/// marks that reorder or hide text become U+FFFD, so that nothing sent by a stranger drives a
/// terminal.
pub(super) fn printable(bytes: &[u8], max: usize) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for c in chunk.valid().chars().chain(broken) {
            let c = if is_harmful(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            };
            if text.len() + c.len_utf8() > max {
                return text;
            }
            text.push(c);
        }
    }
    text
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
    fn length_is_counted_in_bytes_of_what_comes_out() {
        assert_eq!(printable("äöüß".as_bytes(), 5), "äö");
        assert_eq!(printable(b"\0\0\0", 8), "\u{fffd}\u{fffd}");
        assert_eq!(printable(&[b'x'; 1 << 20], 8), "xxxxxxxx");
    }
}
