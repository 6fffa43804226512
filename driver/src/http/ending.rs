//! Where a bencoded body ends by itself, whatever was told of its length.

use anabranch_core::bencode::{self, Limits, Scanner};
use bytes::Bytes;

use crate::http::coding::{begins_like_bencoding, unpack};
use crate::runtime::HttpContent;

/// What a torrent file may hold is held against it by whoever reads it.
const LIMITS: Limits = Limits {
    depth: bencode::MAX_DEPTH,
    tokens: usize::MAX,
    leading_zeros: true,
};

/// How often a packed body is unpacked to see whether it is whole.
const MAX_UNPACKED: u32 = 8;

/// How far a body has come, by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is bencoded, and whole.
    Whole,
    /// It is bencoded, and there must be more of it.
    Incomplete,
    /// It does not tell.
    Unknown,
}

/// Watches a body that comes in, each byte of it once.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    /// Of a body that may be bencoded.
    scanner: Option<Scanner>,
    coding: Option<&'a str>,
    limit: u32,
    unpacked: u32,
}

impl<'a> Watch<'a> {
    /// Watches a body of so many bytes at most, packed as the header says or otherwise.
    pub(super) fn new(content: HttpContent, coding: Option<&'a str>, limit: u32) -> Self {
        Self {
            scanner: content.is_bencoded().then(|| Scanner::new(LIMITS)),
            coding,
            limit,
            unpacked: 0,
        }
    }

    /// How far it has come, given all that is there of it. It is called again with that and more.
    /// `is_counted`: it has come as far as was told. Before that, nothing is unpacked: where it ends is
    /// told well enough.
    pub(super) fn look(&mut self, body: &[u8], is_counted: bool) -> Ending {
        let Some(scanner) = &mut self.scanner else {
            return Ending::Unknown;
        };
        if begins_like_bencoding(body) {
            return scan(scanner, bencode::trim_start(body));
        }
        if !is_counted || self.unpacked >= MAX_UNPACKED {
            return Ending::Unknown;
        }
        self.unpacked += 1;
        let unpacked = unpack(Bytes::copy_from_slice(body), self.coding, self.limit);
        match unpacked {
            Ok(unpacked) if begins_like_bencoding(&unpacked) => {
                scan(&mut Scanner::new(LIMITS), bencode::trim_start(&unpacked))
            }
            Ok(_) | Err(_) => Ending::Unknown,
        }
    }
}

fn scan(scanner: &mut Scanner, body: &[u8]) -> Ending {
    match scanner.scan(body) {
        Ok(_) => Ending::Whole,
        Err(error) if error.is_incomplete() => Ending::Incomplete,
        Err(_) => Ending::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const BODY: &[u8] = b"\r\nd8:intervali60e5:peers6:abcdefe";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn look(content: HttpContent, body: &[u8]) -> Ending {
        Watch::new(content, None, 1000).look(body, true)
    }

    #[test]
    fn a_bencoded_body_tells_where_it_ends_however_it_comes() {
        for step in 1..BODY.len() {
            let mut watch = Watch::new(HttpContent::TrackerReply, None, 1000);
            let mut len = 0;
            while len < BODY.len() {
                let ending = watch.look(&BODY[..len], false);
                // Three bytes tell what it is.
                let expected = if len < 4 {
                    Ending::Unknown
                } else {
                    Ending::Incomplete
                };
                assert_eq!(ending, expected, "{len}");
                len += step;
            }
            assert_eq!(watch.look(BODY, false), Ending::Whole);
        }
    }

    #[test]
    fn what_is_packed_is_looked_into_where_the_length_ends_and_a_few_times() {
        let whole = gzip(BODY);
        let content = HttpContent::TorrentFile;
        assert_eq!(look(content, &whole), Ending::Whole);
        let mut watch = Watch::new(content, Some("gzip"), 1000);
        let most = &whole[..whole.len() - 12];
        assert_eq!(watch.look(most, false), Ending::Unknown);
        for _ in 0..MAX_UNPACKED {
            assert_eq!(watch.look(most, true), Ending::Incomplete);
        }
        assert_eq!(watch.look(&whole, true), Ending::Unknown);
        let bomb = gzip(&[b"d4:spam2000:", &[b'x'; 2000][..], b"e"].concat());
        assert_eq!(look(content, &bomb), Ending::Unknown);
    }

    #[test]
    fn what_is_no_bencoding_does_not_tell() {
        let content = HttpContent::TrackerReply;
        for body in [
            &b""[..],
            b"d",
            b"<html>",
            b"di1e",
            b"d3:x",
            b"d1:ae",
            b"li1e",
        ] {
            let ending = look(content, body);
            let cut = body == b"d3:x";
            assert_eq!(ending == Ending::Incomplete, cut, "{body:?}");
        }
        assert_eq!(look(HttpContent::Anything, BODY), Ending::Unknown);
    }
}
