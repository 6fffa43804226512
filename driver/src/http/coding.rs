//! RFC 9110, section 8.4: content codings, undone by what a body is rather than by what is said of it.

use std::io::{ErrorKind, Read};

use anabranch_core::bencode;
use anabranch_core::event::ContactError;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

/// What gzip begins with (RFC 1952): nothing that is bencoded does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What deflate with its header (RFC 1950) begins with, at its four levels and with its largest window.
/// Nothing that is bencoded does.
const ZLIB: [[u8; 2]; 4] = [[0x78, 0x01], [0x78, 0x5e], [0x78, 0x9c], [0x78, 0xda]];

/// Codings around one another that are undone: where a server and what stands in front of it both
/// compress, there are two.
const MAX_LAYERS: u32 = 2;

/// Members of one gzip body; they count one after the other.
const MAX_MEMBERS: u32 = 64;

/// Unpacked at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// Undoes the content coding of a body, whatever the header says of it: gzip is known by its first
/// bytes, behind what scripts print in front of it; so is zlib, if something bencoded is in it; and what
/// is announced as brotli or deflate and is not, is plain. What is cut short or lacks its trailer is
/// unpacked as far as it goes; whoever reads it knows whether that is whole.
///
/// The memory for it, which is there while this runs, is at most twice the limit and 17 MiB: brotli's
/// largest window, and otherwise 50 KiB.
///
/// # Errors
///
/// [`ContactError::TooLarge`], and [`ContactError::Failed`] for a gzip body that is damaged.
pub(super) fn unpack(
    packed: Bytes,
    coding: Option<&str>,
    limit: u32,
) -> Result<Bytes, ContactError> {
    let mut body = packed;
    for layer in 0..MAX_LAYERS {
        // A byte order mark or a line end in front of what is packed.
        let inner = bencode::trim_start(&body);
        let mut unpacked = None;
        if inner.starts_with(&GZIP) {
            unpacked = Some(gunzip(inner, limit)?);
        } else if ZLIB.iter().any(|magic| inner.starts_with(magic)) {
            unpacked = unzlib(inner, limit)?;
        }
        if unpacked.is_none() && layer == 0 {
            unpacked = announced(&body, coding.unwrap_or_default(), limit)?;
        }
        match unpacked {
            Some(unpacked) => body = unpacked.into(),
            None => break,
        }
    }
    Ok(body)
}

/// Whether this begins as what trackers and torrent files are: a bencoded dictionary, perhaps behind a byte
/// order mark and white space.
pub(super) fn begins_like_bencoding(body: &[u8]) -> bool {
    matches!(bencode::trim_start(body), [b'd', b'0'..=b'9' | b'e', ..])
}

/// Unpacks what looks like zlib, as far as it goes, if that is something bencoded: its first two bytes
/// alone are no proof.
fn unzlib(packed: &[u8], limit: u32) -> Result<Option<Vec<u8>>, ContactError> {
    let (unpacked, _) = inflated(packed, true, limit)?;
    Ok(Some(unpacked).filter(|unpacked| begins_like_bencoding(unpacked)))
}

/// Unpacks what has no certain sign of its own, if it is what it is said to be.
fn announced(body: &[u8], coding: &str, limit: u32) -> Result<Option<Vec<u8>>, ContactError> {
    let coding = coding.to_ascii_lowercase();
    let mut codings = coding.split(',').map(str::trim);
    if codings.clone().any(|coding| coding == "br") {
        unbrotli(body, limit)
    } else if codings.any(|coding| matches!(coding, "deflate" | "gzip" | "x-gzip")) {
        // Deflate has meant both, with a header (RFC 1950) and without one.
        match inflate(body, true, limit)? {
            Some(unpacked) => Ok(Some(unpacked)),
            None => inflate(body, false, limit),
        }
    } else {
        Ok(None)
    }
}

fn gunzip(packed: &[u8], limit: u32) -> Result<Vec<u8>, ContactError> {
    let mut unpacked = Unpacked::new(limit);
    let mut rest = packed;
    let mut chunk = vec![0; CHUNK];
    for _ in 0..MAX_MEMBERS {
        // What is behind the last member is something else.
        if !rest.starts_with(&GZIP) {
            break;
        }
        let mut member = GzDecoder::new(rest);
        loop {
            match member.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => unpacked.push(&chunk[..len])?,
                // Here it was cut, perhaps within the trailer.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(unpacked.bytes);
                }
                Err(error) => return Err(ContactError::Failed(format!("gzip: {error}"))),
            }
        }
        rest = member.into_inner();
    }
    Ok(unpacked.bytes)
}

/// Undoes deflate, with its header or without. `None` where it is something else, or cut short:
/// without a sign of its own, only an end that fits shows that it is deflate.
fn inflate(packed: &[u8], header: bool, limit: u32) -> Result<Option<Vec<u8>>, ContactError> {
    let (unpacked, is_whole) = inflated(packed, header, limit)?;
    Ok(is_whole.then_some(unpacked))
}

/// Undoes deflate as far as that goes, and says whether it came to its end.
fn inflated(packed: &[u8], header: bool, limit: u32) -> Result<(Vec<u8>, bool), ContactError> {
    let mut inflater = Decompress::new(header);
    let mut unpacked = Unpacked::new(limit);
    let mut chunk = vec![0; CHUNK];
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let rest = usize::try_from(read)
            .ok()
            .and_then(|read| packed.get(read..))
            .unwrap_or_default();
        let status = inflater.decompress(rest, &mut chunk, FlushDecompress::None);
        // No more than a chunk's length.
        let len = (inflater.total_out() - written) as usize;
        unpacked.push(&chunk[..len])?;
        let made_headway = len > 0 || inflater.total_in() > read;
        match status {
            Ok(Status::StreamEnd) => return Ok((unpacked.bytes, true)),
            Ok(Status::Ok | Status::BufError) if made_headway => {}
            Ok(Status::Ok | Status::BufError) | Err(_) => return Ok((unpacked.bytes, false)),
        }
    }
}

/// Undoes brotli (RFC 7932), without the larger windows that some have added to it. `None` where it is
/// something else, or cut short, as with [`inflate`].
fn unbrotli(packed: &[u8], limit: u32) -> Result<Option<Vec<u8>>, ContactError> {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut unpacked = Unpacked::new(limit);
    let mut chunk = vec![0; CHUNK];
    let (mut left, mut read, mut total) = (packed.len(), 0, 0);
    loop {
        let (mut room, mut written) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            packed,
            &mut room,
            &mut written,
            &mut chunk,
            &mut total,
            &mut state,
        );
        unpacked.push(&chunk[..written])?;
        match result {
            BrotliResult::ResultSuccess => return Ok(Some(unpacked.bytes)),
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => return Ok(None),
        }
    }
}

/// What has been unpacked, up to the limit.
struct Unpacked {
    bytes: Vec<u8>,
    limit: u32,
}

impl Unpacked {
    fn new(limit: u32) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), ContactError> {
        if bytes.len() > self.limit as usize - self.bytes.len() {
            return Err(ContactError::TooLarge { limit: self.limit });
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use quickcheck::quickcheck;

    use super::*;

    const LIMIT: u32 = 100_000;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn unpacked(body: &[u8], coding: &str) -> Result<Bytes, ContactError> {
        unpack(Bytes::copy_from_slice(body), Some(coding), LIMIT)
    }

    /// Brotli that was never compressed: a window of 16 bits, stored blocks, and an empty last one.
    fn brotli(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for block in data.chunks(1 << 16) {
            let bits = ((block.len() - 1) << 3) | (1 << 19);
            // One bit in front of the first block tells of the window.
            let bits = if out.is_empty() { bits << 1 } else { bits };
            out.extend_from_slice(&bits.to_le_bytes()[..3]);
            out.extend_from_slice(block);
        }
        out.push(3);
        out
    }

    #[test]
    fn what_is_cut_is_unpacked_as_far_as_it_goes() {
        let data: Vec<u8> = (0..1000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let whole = gzip(&data);
        for len in 2..=whole.len() {
            let body = unpacked(&whole[..len], "gzip").expect("as far as it goes");
            assert!(data.starts_with(&body), "{len}");
            assert!(len < whole.len() - 8 || body == data, "{len}");
        }
    }

    #[test]
    fn a_body_may_have_its_limit_and_no_more_in_every_coding() {
        let too_large = Err(ContactError::TooLarge { limit: LIMIT });
        let fits = vec![b'x'; LIMIT as usize];
        let more = vec![b'x'; LIMIT as usize + 1];
        for pack in [gzip, zlib, deflate] {
            assert_eq!(unpacked(&pack(&fits), "deflate").expect("fits"), fits);
            assert_eq!(unpacked(&pack(&more), "deflate"), too_large);
        }
        assert_eq!(unpacked(&brotli(&fits), "br").expect("fits"), fits);
        assert_eq!(unpacked(&brotli(&more), "br"), too_large);
    }

    #[test]
    fn members_are_counted() {
        let members = |n: u32| gzip(b"x").repeat(n as usize);
        let body = unpacked(&members(MAX_MEMBERS + 5), "").expect("the first ones");
        assert_eq!(body.len(), MAX_MEMBERS as usize);
    }

    #[test]
    fn zlib_that_nobody_announced_is_known_by_what_is_in_it() {
        let body = b"d8:intervali60ee";
        for (level, magic) in [(0, 0x01), (2, 0x5e), (6, 0x9c), (9, 0xda)] {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(body).expect("in memory");
            let packed = encoder.finish().expect("in memory");
            // The level's own byte, with the check that makes it a multiple of 31.
            let packed = [&[0x78, magic], &packed[2..]].concat();
            for coding in ["", "gzip", "identity"] {
                assert_eq!(unpacked(&packed, coding).expect("plain"), &body[..]);
            }
            // The checksum, or a part of it, is missing.
            for cut in 1..5 {
                let body_of = |packed: &[u8]| unpacked(packed, "").expect("as far as it goes");
                assert_eq!(body_of(&packed[..packed.len() - cut]), &body[..]);
            }
        }
        // What is packed is not bencoded, or is not packed at all.
        for other in [
            zlib(b"<html>"),
            b"x\x9c is what it says".to_vec(),
            vec![0x78, 0x9c],
        ] {
            assert_eq!(unpacked(&other, "").expect("plain"), other);
        }
        assert_eq!(
            unpacked(&zlib(b"<html>"), "deflate").expect("announced"),
            "<html>"
        );
        assert_eq!(
            unpacked(&gzip(&zlib(body)), "gzip").expect("both"),
            &body[..]
        );
    }

    #[test]
    fn what_stands_in_front_of_what_is_packed_is_passed_over() {
        let body = b"d8:intervali60ee";
        for front in ["\u{feff}", "\r\n", " \n\u{feff}"] {
            for packed in [gzip(body), zlib(body)] {
                let packed = [front.as_bytes(), &packed].concat();
                assert_eq!(unpacked(&packed, "").expect("packed"), &body[..]);
            }
            let plain = [front.as_bytes(), body].concat();
            assert_eq!(unpacked(&plain, "gzip").expect("plain"), plain);
        }
    }

    #[test]
    fn more_layers_than_anybody_has_are_left_packed() {
        let thrice = gzip(&gzip(&gzip(b"x")));
        assert_eq!(unpacked(&thrice, "gzip").expect("two of them"), gzip(b"x"));
    }

    quickcheck! {
        fn any_bytes_come_to_an_end_within_the_limit(bytes: Vec<u8>) -> bool {
            let gzip = [&GZIP[..], &[8, 0, 0, 0, 0, 0, 0, 0], &bytes].concat();
            ["br", "deflate", "gzip", ""].iter().all(|coding| {
                [&bytes, &gzip].iter().all(|body| match unpacked(body, coding) {
                    Ok(body) => body.len() <= LIMIT as usize,
                    Err(_) => true,
                })
            })
        }

        fn whatever_is_packed_is_unpacked(data: Vec<u8>) -> bool {
            let starts_like_gzip = bencode::trim_start(&data).starts_with(&GZIP);
            starts_like_gzip
                || [gzip(&data), zlib(&data), deflate(&data)]
                    .iter()
                    .all(|packed| unpacked(packed, "deflate").is_ok_and(|body| body == data))
        }
    }
}
