//! Where a magnet link is in the text that somebody copied it with, and what became of it on its way.
//!
//! It may be in quotes, in a page's markup, behind a word that says what it is, broken into lines by a mail,
//! or percent-encoded as a whole, with what it is in or without. A path or another URL that has a link in
//! it is none.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{MAX_MAGNET_LEN, decode};

/// Links in one text that are looked at.
const MAX_LINKS: usize = 32;

/// Words in one text that a link may begin with.
const MAX_WORDS: usize = 10_000;

/// What stands in front of a link without white space, in bytes.
const MAX_FRONT: usize = 512;

/// How often a link may have been percent-encoded: often enough for one that was put into another one's
/// parameter.
const MAX_ENCODINGS: usize = 3;

/// What may be around a link as one character each, and what ends it then.
const PAIRS: [(char, &str); 16] = [
    ('=', ">"),
    ('"', "\""),
    ('\'', "'"),
    ('`', "`"),
    ('<', ">"),
    ('>', "<"),
    ('(', ")"),
    ('[', "]"),
    ('«', "»"),
    ('»', "«"),
    ('“', "”"),
    ('”', "”"),
    ('„', "“”"),
    ('‘', "’"),
    ('’', "’"),
    ('‚', "‘’"),
];

/// What stands around what is to be seen, in chats.
const EMPHASIS: &str = "*_~|";

/// The same in a page's source.
const ENTITIES: [(&str, &str); 7] = [
    ("&quot;", "&quot;"),
    ("&#34;", "&#34;"),
    ("&#x22;", "&#x22;"),
    ("&apos;", "&apos;"),
    ("&#39;", "&#39;"),
    ("&#x27;", "&#x27;"),
    ("&lt;", "&gt;"),
];

/// The same in percent encoding, without the percent signs.
const ENCODED: [(&str, &str); 6] = [
    ("22", "22"),
    ("27", "27"),
    ("3C", "3E"),
    ("28", "29"),
    ("5B", "5D"),
    ("60", "60"),
];

/// White space in percent encoding, and the last byte of a byte order mark.
const ENCODED_SPACES: [&str; 5] = ["20", "09", "0A", "0D", "BF"];

/// As much of a text as is read, and how many bytes are left out.
pub(super) fn cut(text: &str) -> (&str, usize) {
    let Some((head, _)) = text
        .split_at_checked(text.floor_char_boundary(MAX_MAGNET_LEN))
        .filter(|(_, tail)| !tail.is_empty())
    else {
        return (text, 0);
    };
    let end = head.rfind('&').unwrap_or(head.len());
    (&text[..end], text.len() - end)
}

/// The links in a text: of each what follows the scheme and the question mark.
pub(super) fn queries(text: &str) -> impl Iterator<Item = String> {
    find(text).into_iter().filter_map(|link| {
        let link = tidy(link);
        query(&link).map(Cow::into_owned)
    })
}

/// The links in a text, without what they are in. One begins where no other one goes on.
fn find(text: &str) -> Vec<&str> {
    let starts = starts(text);
    let mut links = Vec::new();
    let mut from = 0;
    for (index, (start, close)) in starts.iter().enumerate() {
        if *start < from {
            continue;
        }
        let next = starts.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let link = &text[*start..next];
        let in_front = text[..*start].chars().filter(|c| !is_blank(*c));
        let is_alone = next == text.len() && in_front.take(2).count() < 2;
        let len = end(link, close, is_alone).unwrap_or(link.len());
        links.push(link[..len].trim_matches(around));
        from = start + len;
    }
    links
}

/// How a link ends.
enum Close {
    /// With the text.
    Open,
    /// With one of these characters.
    Chars(&'static str),
    /// With this, in capitals or not.
    Text(String),
}

/// Where links begin, and how each ends.
fn starts(text: &str) -> Vec<(usize, Close)> {
    let mut starts = Vec::new();
    let mut from = 0;
    for _ in 0..MAX_WORDS {
        let Some(at) = text.get(from..).and_then(find_word) else {
            break;
        };
        let start = from + at;
        if let Some(close) = close_of(text, start) {
            starts.push((start, close));
        }
        if starts.len() >= MAX_LINKS {
            break;
        }
        from = start + 1;
    }
    starts
}

/// Where the word is that all links begin with, in capitals or not.
fn find_word(text: &str) -> Option<usize> {
    const WORD: &[u8] = b"magnet";
    text.as_bytes()
        .windows(WORD.len())
        .position(|window| window.eq_ignore_ascii_case(WORD))
}

/// How a link ends that begins here, if one does: by what is in front of it and right behind the word.
fn close_of(text: &str, start: usize) -> Option<Close> {
    let before = &text[..start];
    let rest = &text[start + "magnet".len()..];
    let is_first = before.chars().all(is_blank);
    let near = &before[before.ceil_char_boundary(before.len().saturating_sub(MAX_FRONT))..];
    let looks_like_one = match rest.strip_prefix(':') {
        Some(rest) => {
            let is_topic = rest
                .get(..3)
                .is_some_and(|xt| xt.eq_ignore_ascii_case("xt="));
            is_first || is_topic || rest.starts_with(['?', '/', '%'])
        }
        None => is_encoded(rest, "3A"),
    };
    if !looks_like_one {
        return None;
    }
    if is_first {
        return Some(Close::Open);
    }
    let word = near.rsplit(char::is_whitespace).next().unwrap_or(near);
    // Markdown has a name in front, which may be anything.
    let is_markdown = before.ends_with("](") || before.ends_with("](<");
    let is_part = word.len() >= MAX_FRONT - 4 || word.contains("://") || is_path(word);
    if is_part && !is_markdown {
        return None;
    }
    if let Some((_, close)) = ENTITIES.iter().find(|(open, _)| ends_with(before, open)) {
        return Some(Close::Text((*close).into()));
    }
    if let Some(close) = encoded_close(before) {
        return Some(close);
    }
    if !word.is_empty() && word.chars().all(|c| EMPHASIS.contains(c)) {
        return Some(Close::Text(word.into()));
    }
    if word.starts_with('[') && word.ends_with('=') {
        return Some(Close::Chars("]"));
    }
    if word.ends_with(']') {
        return Some(Close::Text("[/".into()));
    }
    let last = before.chars().next_back()?;
    if let Some((_, close)) = PAIRS.iter().find(|(open, _)| *open == last) {
        return Some(Close::Chars(close));
    }
    // Arrows and pictures.
    let is_sign = !last.is_ascii() && !last.is_alphanumeric();
    let is_boundary = is_sign || is_blank(last) || matches!(last, ':' | ',' | ';' | '{');
    is_boundary.then_some(Close::Open)
}

/// Whether a word in front of a link is the beginning of a path, or of what has a query of its own.
fn is_path(word: &str) -> bool {
    let markup = word.starts_with('<') || word.contains(['"', '>', '<']);
    !markup && word.contains(['/', '\\', '?'])
}

/// How a link ends in front of which something stands in percent encoding, once or several times.
fn encoded_close(before: &str) -> Option<Close> {
    let (front, digits) = before.split_at_checked(before.len().checked_sub(2)?)?;
    // `%22`, `%2522`, `%252522`.
    let signs = (0..MAX_ENCODINGS).scan(String::from("%"), |sign, _| {
        let this = sign.clone();
        sign.push_str("25");
        Some(this)
    });
    let sign = signs.filter(|sign| front.ends_with(sign.as_str())).last()?;
    let is = |known: &&str| digits.eq_ignore_ascii_case(known);
    if ENCODED_SPACES.iter().any(is) {
        return Some(Close::Open);
    }
    let (_, close) = ENCODED.iter().find(|(open, _)| is(open))?;
    Some(Close::Text(sign + close))
}

/// Whether text begins with a character in percent encoding, once or several times.
fn is_encoded(text: &str, digits: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('%') else {
        return false;
    };
    for _ in 1..MAX_ENCODINGS {
        rest = rest.strip_prefix("25").unwrap_or(rest);
    }
    rest.get(..digits.len())
        .is_some_and(|found| found.eq_ignore_ascii_case(digits))
}

fn ends_with(text: &str, end: &str) -> bool {
    let tail = text
        .len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// Where a link ends, if that is in front of the end of the text.
fn end(link: &str, close: &Close, is_alone: bool) -> Option<usize> {
    let markup = || {
        ["\">", "</", "<br"]
            .iter()
            .filter_map(|end| link.find(end))
            .min()
    };
    match close {
        Close::Open => markup(),
        Close::Text(text) => {
            let ends = |found: &[u8]| found.eq_ignore_ascii_case(text.as_bytes());
            let last = link.trim_end_matches(is_blank);
            match ends_with(last, text) {
                true => Some(last.len() - text.len()),
                false => link.as_bytes().windows(text.len()).position(ends),
            }
        }
        Close::Chars(closes) => {
            let is_close = |c: char| closes.contains(c);
            match closes.chars().next()? {
                // A name may have pairs of them.
                // Markdown has a title behind a space.
                ')' => {
                    let title = link.find(" \"");
                    balanced(link, '(', ')').into_iter().chain(title).min()
                }
                ']' => balanced(link, '[', ']'),
                // A name may have apostrophes. They end the link where they end the text, or a word.
                '\'' | '’' | '‘' => {
                    let whole = link.trim_end_matches(is_blank);
                    let last = whole
                        .char_indices()
                        .next_back()
                        .filter(|(_, c)| is_close(*c));
                    match last {
                        Some((at, _)) if is_alone => Some(at),
                        _ => link.char_indices().find_map(|(at, c)| {
                            let next = link[at + c.len_utf8()..].chars().next();
                            let ends = next.is_none_or(|next| {
                                is_blank(next)
                                    || matches!(next, '>' | '/' | ',' | ';' | ')' | ']' | '.')
                            });
                            (is_close(c) && ends).then_some(at)
                        }),
                    }
                }
                // At the beginning of a line it quotes that.
                '>' => {
                    let mut is_front = false;
                    link.char_indices().find_map(|(at, c)| {
                        let is_quote = is_front && c == '>';
                        is_front = is_quote || matches!(c, '\r' | '\n') || is_front && is_blank(c);
                        (c == '>' && !is_quote).then_some(at)
                    })
                }
                _ => link.find(is_close),
            }
        }
    }
}

/// Where a bracket closes that was opened in front of the text.
fn balanced(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_usize;
    text.char_indices().find_map(|(at, c)| {
        if c == close {
            match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Some(at),
            }
        } else if c == open {
            depth += 1;
        }
        None
    })
}

/// White space and what nobody sees.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

/// What is never the first or the last character of a link.
fn around(c: char) -> bool {
    is_blank(c) || matches!(c, '"' | '<' | '>' | '`' | '«' | '»' | '“' | '”' | '„')
}

/// A link as it was before it was broken into lines and encoded.
fn tidy(link: &str) -> Cow<'_, str> {
    let mut link = Cow::Borrowed(link);
    if link.contains(is_break) {
        link = Cow::Owned(unbroken(&link));
    }
    if is_quoted_printable(&link) {
        link = Cow::Owned(unquoted(&link));
    }
    for _ in 0..MAX_ENCODINGS {
        if strip_scheme(&link, "magnet%").is_none() {
            break;
        }
        let decoded = decode(&link);
        link = Cow::Owned(
            String::from_utf8_lossy(&decoded)
                .trim_matches(around)
                .into(),
        );
    }
    link
}

/// What stands in a link only since somebody broke it into lines; it would be encoded otherwise.
fn is_break(c: char) -> bool {
    matches!(
        c,
        '\r' | '\n' | '\t' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
    )
}

/// Puts the lines of a link together, without what stands in front of each: spaces, and the signs of a
/// quotation.
fn unbroken(link: &str) -> String {
    let mut out = String::with_capacity(link.len());
    let is_quoted = is_quoted_printable(link);
    for (index, line) in link.split(['\r', '\n']).enumerate() {
        let line = match index {
            0 => line,
            _ => line.trim_start_matches([' ', '\t', '>']),
        };
        // A quoted-printable line ends like this where it is broken.
        let line = match line.strip_suffix('=') {
            Some(cut) if is_quoted => cut,
            Some(_) | None => line,
        };
        out.extend(line.chars().filter(|c| !is_break(*c)));
    }
    out
}

/// Whether a link is as it stands in the source of a mail (RFC 2045, 6.7): there, each `=` is `=3D`.
fn is_quoted_printable(link: &str) -> bool {
    let topic = b"xt=3d";
    link.as_bytes()
        .windows(topic.len())
        .any(|window| window.eq_ignore_ascii_case(topic))
}

/// Undoes that.
fn unquoted(link: &str) -> String {
    // But for its sign it is percent encoding, whose own sign is to stay.
    let encoded = link.replace('%', "=25").replace('=', "%");
    String::from_utf8_lossy(&decode(&encoded)).into_owned()
}

/// What follows the scheme and the question mark, if it is a magnet link.
fn query(link: &str) -> Option<Cow<'_, str>> {
    let strip = |query: &str| query.trim_start_matches(['/', '?']).len();
    let query = strip_scheme(link, "magnet:")?;
    let query = &query[query.len() - strip(query)..];
    if query.contains('=') {
        return Some(Cow::Borrowed(query));
    }
    // All but the scheme is percent-encoded.
    let decoded = decode(query);
    let decoded = String::from_utf8_lossy(&decoded);
    let start = decoded.len() - strip(&decoded);
    Some(Cow::Owned(decoded[start..].into()))
}

pub(super) fn strip_scheme<'a>(link: &'a str, scheme: &str) -> Option<&'a str> {
    link.split_at_checked(scheme.len())
        .filter(|(start, _)| start.eq_ignore_ascii_case(scheme))
        .map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests;
