//! What torrents hold: made up, so that a simulated gigabyte costs neither memory nor hashing, or real.

use std::sync::{Arc, OnceLock};

use anabranch_core::metainfo::{Creation, Creator, InfoHash, Metainfo, MetainfoError, PieceIndex};
use bytes::{Bytes, BytesMut};
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::chance::{Chance, mix};

/// Content is made of windows of this length; within one it is a slice of the pattern.
const WINDOW: u64 = 1 << 20;

/// A window begins at any of the first half's bytes.
const PATTERN_LEN: usize = 2 << 20;

/// A torrent of one file, and everything that is in it.
///
/// *Synthetic* content is a function of its seed and of the place in it: every byte of it lies in a
/// pattern of 2 MiB that all contents share, and payloads are slices of that pattern. They are real
/// bytes all the same: they travel, can be damaged on the way, and are compared byte for byte where a
/// real client would compare digests (a slice of the right place of the pattern needs no comparison).
/// Only the digests in the torrent are made up, as nobody computes any.
///
/// *Real* content is given as bytes and is hashed with SHA-1 wherever a real client would.
///
/// Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Content(Arc<Inner>);

/// Why a torrent and its bytes do not go together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentError {
    /// It is no torrent.
    #[error(transparent)]
    Torrent(#[from] MetainfoError),
    /// The files are of another length.
    #[error("{0} bytes are not as many as the torrent's files have")]
    Length(usize),
    /// A piece does not match its digest.
    #[error("piece {0} is not what the torrent says")]
    Piece(u32),
}

#[derive(Debug)]
struct Inner {
    torrent: Bytes,
    metainfo: Metainfo,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Synthetic { seed: u64 },
    Real { data: Bytes },
}

impl Content {
    /// Made-up content of `length` bytes.
    ///
    /// # Panics
    ///
    /// When no torrent can be made of these lengths: no bytes, no piece length, or more pieces than
    /// [`limits::MAX_PIECES`](anabranch_core::metainfo::limits::MAX_PIECES).
    pub fn synthetic(seed: u64, length: u64, piece_length: u32) -> Self {
        let creator = Creator::single_file(format!("synthetic-{seed}.bin"), length)
            .with_piece_length(piece_length);
        let digests: Vec<u8> = (0..creator.piece_count())
            .flat_map(|piece| synthetic_digest(seed, piece))
            .collect();
        Self::new(&creator, &digests, Kind::Synthetic { seed })
    }

    /// Content that really is these bytes.
    ///
    /// # Panics
    ///
    /// When no torrent can be made of it, as with [`Content::synthetic`].
    pub fn real(name: &str, data: impl Into<Bytes>, piece_length: u32) -> Self {
        let data = data.into();
        let creator = Creator::single_file(name, data.len() as u64).with_piece_length(piece_length);
        let digests: Vec<u8> = data
            .chunks(piece_length.max(1) as usize)
            .flat_map(Sha1::digest)
            .collect();
        Self::new(&creator, &digests, Kind::Real { data })
    }

    /// A torrent of any kind that others made, and its files' bytes, end to end.
    ///
    /// # Errors
    ///
    /// It is no torrent, or the bytes are not its.
    pub fn of_torrent(
        torrent: impl Into<Bytes>,
        data: impl Into<Bytes>,
    ) -> Result<Self, ContentError> {
        let (torrent, data) = (torrent.into(), data.into());
        let metainfo = Metainfo::parse(torrent.clone())?;
        let kind = Kind::Real { data: data.clone() };
        let content = Self(Arc::new(Inner {
            torrent,
            metainfo,
            kind,
        }));
        if content.length() != data.len() as u64 {
            return Err(ContentError::Length(data.len()));
        }
        let wrong = (0..content.pieces())
            .find(|piece| !content.matches(*piece, &[content.slice(*piece, 0, u32::MAX)]));
        match wrong {
            Some(piece) => Err(ContentError::Piece(piece)),
            None => Ok(content),
        }
    }

    /// The bytes of the torrent file. It names no trackers: they are given when a torrent is added.
    pub fn torrent(&self) -> Bytes {
        self.0.torrent.clone()
    }

    /// What the torrent file says.
    pub fn metainfo(&self) -> &Metainfo {
        &self.0.metainfo
    }

    /// The torrent's info-hash.
    pub fn info_hash(&self) -> InfoHash {
        self.0.metainfo.info_hash()
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.0.metainfo.total_length()
    }

    /// Pieces in all.
    pub fn pieces(&self) -> u32 {
        self.0.metainfo.piece_count()
    }

    /// Bytes of a piece; 0 past the end.
    pub fn piece_size(&self, piece: u32) -> u32 {
        self.0
            .metainfo
            .piece_size(PieceIndex::new(piece))
            .unwrap_or_default()
    }

    /// The right bytes of a part of a piece; cut off where the piece ends. Free of charge but at the
    /// seams of synthetic content, which lie a mebibyte apart.
    pub fn slice(&self, piece: u32, begin: u32, len: u32) -> Bytes {
        let size = self.piece_size(piece);
        let begin = begin.min(size);
        let len = len.min(size - begin);
        match &self.0.kind {
            Kind::Real { data } => {
                let from =
                    u64::from(piece) * u64::from(self.0.metainfo.piece_length()) + u64::from(begin);
                let from = from as usize;
                data.slice(from..from + len as usize)
            }
            Kind::Synthetic { seed } => {
                let first = synthetic(*seed, piece, u64::from(begin), u64::from(len));
                if first.len() == len as usize {
                    return first;
                }
                let mut joined = BytesMut::with_capacity(len as usize);
                joined.extend_from_slice(&first);
                while joined.len() < len as usize {
                    let at = u64::from(begin) + joined.len() as u64;
                    let rest = u64::from(len) - joined.len() as u64;
                    joined.extend_from_slice(&synthetic(*seed, piece, at, rest));
                }
                joined.freeze()
            }
        }
    }

    /// Whether bytes are the right ones for this place.
    pub fn is_right(&self, piece: u32, begin: u32, bytes: &[u8]) -> bool {
        let right = self.slice(piece, begin, bytes.len() as u32);
        // The same memory holds the same bytes.
        std::ptr::eq(right.as_ptr(), bytes.as_ptr()) && right.len() == bytes.len()
            || right[..] == *bytes
    }

    /// The digest that the torrent names for a piece, and whether bytes match it.
    pub(crate) fn matches(&self, piece: u32, parts: &[Bytes]) -> bool {
        let total: usize = parts.iter().map(Bytes::len).sum();
        if total != self.piece_size(piece) as usize {
            return false;
        }
        match &self.0.kind {
            Kind::Real { .. } => {
                let mut digest = Sha1::new();
                for part in parts {
                    digest.update(part);
                }
                let digest: [u8; 20] = digest.finalize().into();
                self.digest(piece) == Some(&digest)
            }
            Kind::Synthetic { .. } => {
                let mut at = 0;
                parts.iter().all(|part| {
                    let right = self.is_right(piece, at, part);
                    at += part.len() as u32;
                    right
                })
            }
        }
    }

    /// The digest that the torrent names for a piece.
    pub(crate) fn digest(&self, piece: u32) -> Option<&[u8; 20]> {
        self.0.metainfo.piece_hash(PieceIndex::new(piece))
    }

    fn new(creator: &Creator, digests: &[u8], kind: Kind) -> Self {
        let Creation { torrent, metainfo } = match creator.finish(digests) {
            Ok(creation) => creation,
            Err(error) => panic!("no torrent can be made of this: {error}"),
        };
        Self(Arc::new(Inner {
            torrent,
            metainfo,
            kind,
        }))
    }
}

/// As much of a synthetic piece from `at` on as lies in one window.
fn synthetic(seed: u64, piece: u32, at: u64, len: u64) -> Bytes {
    let window = at / WINDOW;
    let start = mix(mix(seed, u64::from(piece)), window) % WINDOW;
    let within = at % WINDOW;
    let len = len.min(WINDOW - within);
    let from = (start + within) as usize;
    pattern().slice(from..from + len as usize)
}

fn synthetic_digest(seed: u64, piece: u64) -> [u8; 20] {
    let mut digest = [0; 20];
    for (word, bytes) in digest.chunks_mut(8).enumerate() {
        let number = mix(mix(seed, piece), word as u64 + 1).to_be_bytes();
        bytes.copy_from_slice(&number[..bytes.len()]);
    }
    digest
}

/// The bytes that all synthetic content is made of. Never freed, so that slices need no counting.
fn pattern() -> Bytes {
    static PATTERN: OnceLock<&'static [u8]> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        let mut bytes = vec![0; PATTERN_LEN];
        Chance::new(0).fill(&mut bytes);
        bytes.leak()
    });
    Bytes::from_static(pattern)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn a_large_synthetic_torrent_costs_nothing() {
        let content = Content::synthetic(3, 1 << 40, 16 << 20);
        assert_eq!(content.pieces(), 1 << 16);
        let slice = content.slice(65_535, (16 << 20) - 100, 1_000);
        assert_eq!(slice.len(), 100, "cut off at the end");
        assert!(content.is_right(65_535, (16 << 20) - 100, &slice));
    }

    #[test]
    fn places_differ_in_their_bytes() {
        let content = Content::synthetic(1, 4 << 20, 64 << 10);
        let block = content.slice(5, 16_384, 16_384);
        assert!(!content.is_right(5, 0, &block));
        assert!(!content.is_right(6, 16_384, &block));
        let other = Content::synthetic(2, 4 << 20, 64 << 10);
        assert!(!other.is_right(5, 16_384, &block));
        assert_ne!(content.info_hash(), other.info_hash());
    }

    #[test]
    fn a_torrent_of_others_goes_with_its_bytes_and_no_others() {
        let made = Content::real("file", vec![7; 100_000], 65_536);
        let torrent = made.torrent();
        let same = Content::of_torrent(torrent.clone(), vec![7; 100_000]);
        assert_eq!(
            same.map(|same| same.info_hash()).ok(),
            Some(made.info_hash())
        );
        let of = |data: Vec<u8>| Content::of_torrent(torrent.clone(), data).err();
        assert_eq!(of(vec![7; 99_999]), Some(ContentError::Length(99_999)));
        let mut wrong = vec![7; 100_000];
        wrong[70_000] = 8;
        assert_eq!(of(wrong), Some(ContentError::Piece(1)));
        let rubbish = Content::of_torrent(&b"rubbish"[..], vec![]).err();
        assert!(matches!(rubbish, Some(ContentError::Torrent(_))));
    }

    #[test]
    fn real_content_is_judged_by_its_digest() {
        let content = Content::real("file", vec![7; 100_000], 65_536);
        let mut piece = content.slice(1, 0, u32::MAX);
        assert_eq!(piece.len(), 100_000 - 65_536);
        assert!(content.matches(1, &[piece.split_to(9), piece.clone()]));
        assert!(!content.matches(1, &[piece]));
    }

    quickcheck! {
        fn slices_fit_together_across_seams(begin: u32, len: u16, cut: u16, flip: u16) -> bool {
            let content = Content::synthetic(9, 5 << 20, 4 << 20);
            let begin = begin % ((4 << 20) - 70_000);
            let len = u32::from(len) + 1;
            let whole = content.slice(0, begin, len);
            let cut = u32::from(cut) % len;
            let parts = [content.slice(0, begin, cut), content.slice(0, begin + cut, len - cut)];
            let mut damaged = whole.to_vec();
            damaged[usize::from(flip) % len as usize] ^= 1;
            whole[..] == parts.concat()
                && content.is_right(0, begin, &parts.concat())
                && !content.is_right(0, begin, &damaged)
        }
    }
}
