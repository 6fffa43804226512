//! RFC 9112, sections 6 and 7: where a body ends.

use anabranch_core::event::ContactError;
use bytes::Bytes;

use crate::runtime::HttpBody;

/// Bytes of the line in front of a chunk. Memory: the same.
const MAX_CHUNK_LINE: usize = 1024;

/// What a head says of the body behind it. Neither: it ends with the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    /// It comes in chunks, whatever length is told beside that.
    pub(super) chunked: bool,
    /// Its length, in bytes.
    pub(super) length: Option<u64>,
}

/// A body as it comes in, out of its framing.
#[derive(Debug)]
pub(super) struct Body {
    bytes: HttpBody,
    state: State,
    /// Whether it comes in chunks, as far as was told.
    chunked: bool,
    /// What was told of the length beside chunks.
    length: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// So many bytes are to come.
    Length(u64),
    /// All that comes.
    ToTheEnd,
    /// In front of a chunk, with what is there of its line.
    ChunkLine {
        is_first: bool,
        line: Vec<u8>,
    },
    /// Within a chunk, of which so many bytes are to come.
    Chunk(u64),
    Whole,
}

impl State {
    fn without_chunks(length: Option<u64>) -> Self {
        match length {
            Some(0) => Self::Whole,
            Some(length) => Self::Length(length),
            None => Self::ToTheEnd,
        }
    }
}

impl Body {
    /// An empty body of at most so many bytes.
    pub(super) fn new(framing: Framing, limit: u32) -> Self {
        let state = if framing.chunked {
            State::ChunkLine {
                is_first: true,
                line: Vec::new(),
            }
        } else {
            State::without_chunks(framing.length)
        };
        Self {
            bytes: HttpBody::new(limit),
            state,
            chunked: framing.chunked,
            length: framing.length,
        }
    }

    /// Takes what has come, and says whether the body is whole.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<bool, ContactError> {
        let mut rest = input;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Whole => break,
                State::ToTheEnd => {
                    self.bytes.push(rest)?;
                    break;
                }
                State::Length(left) => {
                    let (taken, behind) = split(rest, *left);
                    self.bytes.push(taken)?;
                    *left -= taken.len() as u64;
                    if *left > 0 {
                        break;
                    }
                    // More that comes with the last byte shows that the length was that of something
                    // else, such as of characters, or that somebody added a line end.
                    self.bytes.push_what_fits(behind);
                    self.state = State::Whole;
                    break;
                }
                State::Chunk(left) => {
                    let (taken, behind) = split(rest, *left);
                    self.bytes.push(taken)?;
                    *left -= taken.len() as u64;
                    if *left == 0 {
                        self.state = State::ChunkLine {
                            is_first: false,
                            line: Vec::new(),
                        };
                    }
                    behind
                }
                State::ChunkLine { .. } => self.chunk_line(rest)?,
            };
        }
        Ok(matches!(self.state, State::Whole))
    }

    /// Takes what comes behind the end of a body whose length was told too short.
    pub(super) fn push_behind(&mut self, input: &[u8]) {
        self.bytes.push_what_fits(input);
    }

    /// Whether there may be more than the framing tells of: a length that was counted by hand.
    pub(super) fn may_go_on(&self) -> bool {
        !self.chunked && !self.bytes.is_full()
    }

    /// What has come of the body.
    pub(super) fn so_far(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Whether anything has come of the body itself, as far as can be told.
    pub(super) fn has_begun(&self) -> bool {
        // In front of the first chunk, what has come may be a body that is not chunked.
        let is_line =
            matches!(&self.state, State::ChunkLine { is_first: true, line } if !line.is_empty());
        is_line || !self.bytes.is_empty()
    }

    /// The body when the connection ends, whether that is what was promised or not. One of which
    /// nothing has come although something was promised is none.
    pub(super) fn end(mut self) -> Result<Bytes, ContactError> {
        if let State::ChunkLine {
            is_first: true,
            line,
        } = &mut self.state
            && !line.is_empty()
        {
            // Too short for a chunk.
            let line = std::mem::take(line);
            self.state = State::ToTheEnd;
            self.push(&line)?;
        }
        let was_promised = !matches!(self.state, State::Whole | State::ToTheEnd);
        let bytes = self.bytes.finish();
        if bytes.is_empty() && (was_promised || self.length.is_some_and(|length| length > 0)) {
            return Err(ContactError::Failed(
                "the server closed the connection in front of the body".into(),
            ));
        }
        Ok(bytes)
    }

    /// A body that is whole.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.finish()
    }

    /// Takes of a line in front of a chunk, and returns what is behind that.
    fn chunk_line<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ContactError> {
        let State::ChunkLine { is_first, line } = &mut self.state else {
            return Ok(input);
        };
        let end = input.iter().position(|byte| *byte == b'\n');
        let (more, behind) = input.split_at(end.map_or(input.len(), |end| end + 1));
        let room = MAX_CHUNK_LINE.saturating_sub(line.len());
        let fits = more.len() <= room;
        line.extend_from_slice(&more[..more.len().min(room)]);
        if end.is_none() && fits {
            return Ok(behind);
        }
        // What ends a chunk's data stands in front of the next one's line.
        let is_between = !*is_first && matches!(line[..], [b'\n'] | [b'\r', b'\n']);
        if is_between && fits {
            line.clear();
            return Ok(behind);
        }
        match chunk_size(line).filter(|_| fits) {
            // Trailers are of no interest.
            Some(0) => self.state = State::Whole,
            Some(size) => self.state = State::Chunk(size),
            // The server says that it sends chunks and does not.
            None if *is_first => {
                let taken = std::mem::take(line);
                self.state = State::without_chunks(self.length);
                self.push(&taken)?;
                return Ok(&input[input.len().min(more.len().min(room))..]);
            }
            None => {
                return Err(ContactError::Failed(
                    "a chunk of the reply is malformed".into(),
                ));
            }
        }
        Ok(behind)
    }
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len())))
}

/// The number in front of a chunk: hexadecimal, and spaces, a semicolon and more may follow.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line.trim_ascii()).ok();
    let number = match text {
        Some(text) => text.split(';').next().unwrap_or_default().trim_end(),
        None => return None,
    };
    // `from_str_radix` takes a sign.
    if !number.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    const LIMIT: u32 = 50;

    /// What comes of a body whose bytes come in such pieces, on a connection that then ends.
    fn read(framing: Framing, input: &[u8], piece: usize) -> Result<Bytes, ContactError> {
        let mut body = Body::new(framing, LIMIT);
        for next in input.chunks(piece.max(1)) {
            if body.push(next)? {
                return Ok(body.finish());
            }
        }
        body.end()
    }

    fn chunked(length: Option<u64>) -> Framing {
        Framing {
            chunked: true,
            length,
        }
    }

    #[test]
    fn chunks_are_put_together_however_they_are_cut() {
        let plain = b"d8:intervali60ee";
        for input in [
            &b"10\r\nd8:intervali60ee\r\n0\r\n\r\n"[..],
            b"8\r\nd8:inter\r\n0008;x=\"y\"\r\nvali60ee\r\n0\r\n\r\nmore",
            b"8 \nd8:inter\n8\nvali60ee\n0\n\n",
            b"8\r\nd8:intera\r\nvali60ee",
            b"10\r\nd8:intervali60ee",
            // None at all.
            b"d8:intervali60ee",
        ] {
            for piece in 1..=input.len() {
                let body = read(chunked(None), input, piece).expect("a body");
                let text = String::from_utf8_lossy(input);
                assert_eq!(body, &plain[..], "{text} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn chunks_that_are_none_have_the_length_that_was_told() {
        for piece in 1..20 {
            let body = read(chunked(Some(5)), b"what?\n", 6).expect("a body");
            assert!(body.starts_with(b"what?"), "{piece}");
            let body = read(chunked(None), b"a long line\nand more", piece).expect("a body");
            assert_eq!(body, "a long line\nand more");
        }
        let mut body = Body::new(chunked(Some(5)), LIMIT);
        assert_eq!(
            body.push(b"what?\n"),
            Ok(true),
            "nothing more is waited for"
        );
    }

    #[test]
    fn a_line_in_front_of_a_chunk_is_bounded() {
        let line = |len: usize| [b"1;", &vec![b'x'; len - 3][..], b"\n", b"d\n0\n\n"].concat();
        for piece in [1, 100, usize::MAX] {
            let input = line(MAX_CHUNK_LINE);
            assert_eq!(read(chunked(None), &input, piece).expect("a body"), "d");
            // Then it is none, and a body that is longer than the limit.
            let error = read(chunked(None), &line(MAX_CHUNK_LINE + 1), piece).expect_err("long");
            assert_eq!(error, ContactError::TooLarge { limit: LIMIT });
            let second = [b"1\nd\n", &line(MAX_CHUNK_LINE + 1)[..]].concat();
            let error = read(chunked(None), &second, piece).expect_err("long");
            assert!(matches!(error, ContactError::Failed(_)), "{error}");
        }
    }

    #[test]
    fn a_body_is_what_has_come_of_it() {
        let length = |length| Framing {
            chunked: false,
            length: Some(length),
        };
        for (framing, input, expected) in [
            (Framing::default(), &b"abc"[..], Some(&b"abc"[..])),
            (Framing::default(), b"", Some(b"")),
            (length(0), b"", Some(b"")),
            (length(3), b"abc", Some(b"abc")),
            (length(30), b"abc", Some(b"abc")),
            (length(30), b"", None),
            (chunked(None), b"", None),
            (chunked(None), b"5\r\n", None),
            (chunked(None), b"5\r\nab", Some(b"ab")),
            (chunked(None), b"0\r\n", Some(b"")),
        ] {
            let body = read(framing, input, usize::MAX).ok();
            assert_eq!(body.as_deref(), expected, "{framing:?} {input:?}");
        }
    }

    #[test]
    fn what_comes_behind_a_length_never_counts_against_the_limit() {
        let framing = Framing {
            chunked: false,
            length: Some(u64::from(LIMIT)),
        };
        let input = [b'x'; LIMIT as usize + 2];
        let body = read(framing, &input, usize::MAX).expect("a body");
        assert_eq!(body.len(), LIMIT as usize);
    }

    quickcheck! {
        fn chunks_do_not_hang_on_how_they_are_cut(drawn: Vec<u8>, piece: usize) -> bool {
            // Drawn from what chunks are made of, so that many get far.
            let parts: [&[u8]; 8] = [b"1", b"a", b"\r\n", b"\n", b";", b" ", b"1\r\nx\r\n", b"0"];
            let input: Vec<u8> =
                drawn.iter().flat_map(|part| parts[usize::from(*part) % parts.len()]).copied().collect();
            let whole = read(chunked(None), &input, usize::MAX);
            read(chunked(None), &input, piece % 10) == whole
        }
    }
}
