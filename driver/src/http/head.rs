//! RFC 9112, sections 2 to 6: the head of a reply, as servers write it.

use anabranch_core::event::ContactError;
use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};
use percent_encoding::{AsciiSet, percent_encode};

use crate::http::body::Framing;

/// Bytes of a reply's head, that of interim replies in front of it included. Memory: the same, and what
/// was read together with the end of it.
const MAX_HEAD: usize = 64 << 10;

/// Lines of a head that are taken for headers. Memory: 16 KiB, while a head is read.
const MAX_HEADERS: usize = 512;

/// What a head begins with, in capitals or not: HTTP of any version, told or not, and what Shoutcast says in
/// its place.
const PROTOCOLS: [&[u8]; 3] = [b"HTTP/", b"HTTP ", b"ICY "];

/// No character at all: bytes that are not ASCII are encoded whatever is asked for.
const NON_ASCII: &AsciiSet = &AsciiSet::EMPTY;

/// What a head says, as far as it is of interest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// ASCII.
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) coding: Option<String>,
    pub(super) framing: Framing,
}

/// The heads of a reply as they come in: any number of interim ones, which are skipped, and the reply's
/// own.
#[derive(Debug)]
pub(super) struct Heads {
    buffer: Vec<u8>,
    /// No head ends in front of this offset.
    searched: usize,
    /// Bytes that have been skipped.
    skipped: usize,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            searched: 0,
            skipped: 0,
        }
    }

    /// Takes what has come, and returns the reply's head and what is behind it, once it is whole.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<Option<(Head, Vec<u8>)>, ContactError> {
        self.buffer.extend_from_slice(input);
        loop {
            self.skip_line_ends();
            self.begins_like_http()?;
            let end = self.end();
            if self.skipped + end.unwrap_or(self.buffer.len()) > MAX_HEAD {
                return Err(ContactError::Failed(format!(
                    "the reply's headers have more than {MAX_HEAD} bytes"
                )));
            }
            let Some(end) = end else {
                return Ok(None);
            };
            let head = parse(&self.buffer[..end])?;
            let rest = self.buffer.split_off(end);
            if head.status / 100 != 1 {
                return Ok(Some((head, rest)));
            }
            self.skipped += end;
            self.searched = 0;
            self.buffer = rest;
        }
    }

    /// Whether nothing of a head is there.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Empty lines in front of a head, which belong to what was sent before it.
    fn skip_line_ends(&mut self) {
        let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let len = self.buffer.iter().take_while(is_line_end).count();
        self.buffer.drain(..len);
        self.skipped += len;
        self.searched -= len.min(self.searched);
    }

    /// A server of something else is known by its first word, and may wait for us to speak on.
    fn begins_like_http(&self) -> Result<(), ContactError> {
        let is_like = |begin: &[u8]| {
            let len = begin.len().min(self.buffer.len());
            self.buffer[..len].eq_ignore_ascii_case(&begin[..len])
        };
        if PROTOCOLS.iter().any(|begin| is_like(begin)) {
            Ok(())
        } else {
            Err(ContactError::Failed("the reply is not HTTP".into()))
        }
    }

    /// Where the first head ends: behind an empty line.
    fn end(&mut self) -> Option<usize> {
        while let Some(at) = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            self.searched += at;
            let behind = &self.buffer[self.searched + 1..];
            let returns = behind.iter().take_while(|byte| **byte == b'\r').count();
            match behind.get(returns) {
                Some(b'\n') => return Some(self.searched + returns + 2),
                // More bytes tell.
                None => return None,
                Some(_) => self.searched += 1,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// The status in the first line of a head. Whatever version of whatever is in front of it, the number says
/// enough.
fn status(line: &[u8]) -> Option<u16> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = line.split(is_space).filter(|word| !word.is_empty());
    let word = words.nth(1)?;
    let (digits, behind) = word.split_at_checked(3)?;
    let is_number = !behind.first().is_some_and(u8::is_ascii_digit);
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (is_number && (100..1000).contains(&status)).then_some(status)
}

/// The lines of a head without the first one, as the parser takes them: none has a NUL, or a carriage
/// return that ends no line. What is behind one of these is left out, as it is by whoever reads text up
/// to there; the other headers tell what they tell.
fn tidy_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut tidy = Vec::new();
    for line in lines {
        let line = strip_returns(line);
        let is_end = |byte: &u8| matches!(byte, b'\0' | b'\r');
        let len = line.iter().position(is_end).unwrap_or(line.len());
        // Where nothing is left, an empty line would end the head.
        if !line[..len].trim_ascii().is_empty() {
            tidy.extend_from_slice(&line[..len]);
            tidy.extend_from_slice(b"\r\n");
        }
    }
    tidy
}

/// A line without the carriage returns that end it: where two programs add one each, there are two.
fn strip_returns(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| *byte != b'\r';
    &line[..line.iter().rposition(is_text).map_or(0, |last| last + 1)]
}

fn parse(bytes: &[u8]) -> Result<Head, ContactError> {
    let malformed = || ContactError::Failed("the reply's head is malformed".into());
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let status = status(strip_returns(lines.next().unwrap_or_default())).ok_or_else(malformed)?;
    let mut tidy = b"HTTP/1.1 200\r\n".to_vec();
    tidy.extend(tidy_lines(lines));
    tidy.extend_from_slice(b"\r\n");
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let parsed = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_space_before_first_header_name(true)
        .ignore_invalid_headers_in_responses(true)
        .parse_response(&mut response, &tidy);
    match parsed {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(malformed()),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ContactError::Failed(format!(
                "the reply has more than {MAX_HEADERS} headers"
            )));
        }
        Err(error) => {
            return Err(ContactError::Failed(format!(
                "the reply's head is malformed: {error}"
            )));
        }
    }
    let mut head = Head {
        status,
        location: None,
        retry_after: None,
        coding: None,
        framing: Framing::default(),
    };
    for header in response.headers.iter() {
        // What is not ASCII is so in places only, and names something in an encoding of the server's.
        let value = percent_encode(header.value, NON_ASCII).to_string();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("location") {
            // Of several the last counts.
            head.location = Some(unfolded(&value));
        } else if is("retry-after") {
            head.retry_after = Some(unfolded(&value));
        } else if is("content-encoding") {
            head.coding = Some(match head.coding.take() {
                Some(coding) => coding + ", " + &value,
                None => value,
            });
        } else if is("content-length") {
            // Of several the first that is a number.
            let mut numbers = value.split(',').filter_map(|part| part.trim().parse().ok());
            head.framing.length = head.framing.length.or_else(|| numbers.next());
        } else if is("transfer-encoding") {
            head.framing.chunked |= value.to_ascii_lowercase().contains("chunked");
        }
    }
    Ok(head)
}

/// A value that was written on several lines, on one.
fn unfolded(value: &str) -> String {
    let lines: Vec<&str> = value.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    /// What comes of a reply whose bytes come in such pieces.
    fn read(input: &[u8], piece: usize) -> Result<Option<(Head, Vec<u8>)>, ContactError> {
        let mut heads = Heads::new();
        let mut pieces = input.chunks(piece.max(1));
        while let Some(next) = pieces.next() {
            if let Some((head, mut rest)) = heads.push(next)? {
                rest.extend(pieces.flatten());
                return Ok(Some((head, rest)));
            }
        }
        Ok(None)
    }

    const REPLY: &[u8] = b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 302 Found\nLocation: /a\n\
        LOCATION :\r\n  /b\r\n\tc\r\nno header\r\nRetry-After: 120\r\nContent-Length: x\r\nContent-Length: 5, 6\r\n\
        Content-Encoding: br\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nbody\n\n";

    #[test]
    fn a_head_is_read_however_it_is_cut_into_pieces() {
        for piece in 1..=REPLY.len() {
            let (head, rest) = read(REPLY, piece).expect("a head").expect("whole");
            let expected = Head {
                status: 302,
                location: Some("/b c".into()),
                retry_after: Some("120".into()),
                coding: Some("br, gzip".into()),
                framing: Framing {
                    chunked: true,
                    length: Some(5),
                },
            };
            assert_eq!(head, expected, "{piece}");
            assert_eq!(rest, b"body\n\n", "{piece}");
        }
    }

    #[test]
    fn a_location_is_ascii_whatever_the_server_writes_it_in() {
        for (location, expected) in [
            (&b"/\xe9"[..], "/%E9"),
            ("/\u{e9}".as_bytes(), "/%C3%A9"),
            (b"/%e9 x", "/%e9 x"),
        ] {
            let reply = [b"HTTP/1.1 302 Found\nLocation: ", location, b"\n\n"].concat();
            let (head, _) = read(&reply, usize::MAX).expect("a head").expect("whole");
            assert_eq!(head.location.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_head_may_have_its_limit_and_no_more() {
        let sized = |len: usize| {
            let (front, back) = ("HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n");
            let fill = "x".repeat(len - front.len() - back.len());
            format!("{front}{fill}{back}body").into_bytes()
        };
        for piece in [1000, MAX_HEAD * 2] {
            assert!(read(&sized(MAX_HEAD), piece).is_ok_and(|head| head.is_some()));
            assert!(read(&sized(MAX_HEAD + 1), piece).is_err());
        }
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let many = interim.repeat(MAX_HEAD / interim.len());
        assert_eq!(read(&many, 1000), Ok(None));
        assert!(read(&interim.repeat(MAX_HEAD / interim.len() + 1), 1000).is_err());
        let lines = |n| {
            let many: String = (0..n).map(|n| format!("X-{n}: {n}\n")).collect();
            format!("HTTP/1.1 200 OK\n{many}\n").into_bytes()
        };
        assert!(read(&lines(MAX_HEADERS), 1000).is_ok_and(|head| head.is_some()));
        assert!(read(&lines(MAX_HEADERS + 1), 1000).is_err());
    }

    #[test]
    fn a_status_is_read_in_whatever_line_it_is() {
        for line in [
            "HTTP/1.1 404 Not Found",
            "http/1.1 404 not found",
            "HTTP/2 404",
            "HTTP/2.0  404 ",
            "Http/3 404 \u{e9}\u{1}\0\r?",
            "HTTP/1.1\t404\tNot Found",
            "HTTP 404 Not Found",
            "ICY 404 Not Found",
            "icy 404",
            "HTTP/ 404",
            "HTTP/1.1 404Not Found",
            "HTTP/1.1 404\r",
        ] {
            let reply = format!("{line}\r\nRetry-After: 5\r\n\r\nbody");
            for piece in [1, 7, usize::MAX] {
                let (head, rest) = read(reply.as_bytes(), piece).expect(line).expect(line);
                assert_eq!((head.status, &rest[..]), (404, &b"body"[..]), "{line}");
                assert_eq!(head.retry_after.as_deref(), Some("5"), "{line}");
            }
        }
        for line in [
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 OK",
            "HTTP/1.1 40",
            "HTTP/1.1 4040",
            "HTTP/1.1 -04",
        ] {
            let reply = format!("{line}\r\n\r\n");
            assert!(read(reply.as_bytes(), usize::MAX).is_err(), "{line}");
        }
    }

    #[test]
    fn a_value_ends_at_a_nul_or_a_stray_carriage_return_and_costs_no_other() {
        for line in [
            "X-Odd: a\0b",
            "X-Odd: a\rb",
            "X-Odd: \0",
            "\0",
            "\0\0",
            "\rX: y",
            "X\0: y",
            "X\r: y",
            "X: y\r\0",
            " \0",
            "X-Odd: \u{1}\0\u{7f}",
        ] {
            for end in ["\n", "\r\n", "\r\r\n"] {
                let lines = [
                    "HTTP/1.1 302 Found",
                    line,
                    "Location: /b\0/c",
                    "Content-Length: 5\r7",
                    "",
                    "body",
                ];
                let reply = lines.join(end);
                for piece in [1, usize::MAX] {
                    let (head, rest) = read(reply.as_bytes(), piece)
                        .expect("a head")
                        .expect("whole");
                    assert_eq!(head.status, 302, "{reply:?}");
                    assert_eq!(head.location.as_deref(), Some("/b"), "{reply:?}");
                    assert_eq!(head.framing.length, Some(5), "{reply:?}");
                    assert_eq!(rest, b"body", "{reply:?}");
                }
            }
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_word() {
        for greeting in [
            "SSH-2.0-x",
            "220 mail",
            "d8:",
            "\r\n\r\nHTTQ",
            "HTTPS/1.1",
            "ICYx",
        ] {
            assert!(read(greeting.as_bytes(), 100).is_err(), "{greeting}");
        }
        assert_eq!(read(b"HTT", 100), Ok(None));
    }

    quickcheck! {
        fn what_comes_of_bytes_does_not_hang_on_how_they_are_cut(drawn: Vec<u8>, piece: usize) -> bool {
            // Drawn from what heads are made of, so that many get far.
            let parts: [&[u8]; 10] = [
                b"HTTP/1.1 200 OK", b"\r\n", b"\n", b"\r", b":", b" ", b"Location", b"HTTP/1.1 100 C\r\n\r\n", b"x", b"\0",
            ];
            let input: Vec<u8> =
                drawn.iter().flat_map(|part| parts[usize::from(*part) % parts.len()]).copied().collect();
            let whole = read(&input, usize::MAX);
            read(&input, piece % 20) == whole
        }
    }
}
