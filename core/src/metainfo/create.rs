//! Making a torrent of one's own (BEP 3), with tiers (BEP 12), web seeds (BEP 19) and the private
//! flag (BEP 27).
//!
//! The info dictionary is the one that mktorrent makes of the same files with the same piece
//! length, byte for byte.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::cmp::Ordering;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{Metainfo, MetainfoError};

/// The shortest piece length that [`automatic_piece_length`] chooses, in bytes.
pub const MIN_AUTOMATIC_PIECE_LENGTH: u32 = 16 << 10;

/// The longest piece length that [`automatic_piece_length`] chooses, in bytes.
pub const MAX_AUTOMATIC_PIECE_LENGTH: u32 = 16 << 20;

/// A piece length that suits data of this length, in bytes: the power of two that makes some 1,000
/// to 2,000 pieces, in [`MIN_AUTOMATIC_PIECE_LENGTH`] ..= [`MAX_AUTOMATIC_PIECE_LENGTH`].
///
/// ```
/// # use anabranch_core::metainfo::automatic_piece_length;
/// assert_eq!(automatic_piece_length(0), 16 << 10);
/// assert_eq!(automatic_piece_length(700 << 20), 512 << 10);
/// assert_eq!(automatic_piece_length(4 << 40), 16 << 20);
/// ```
#[must_use]
pub const fn automatic_piece_length(total_length: u64) -> u32 {
    const MOST_PIECES: u64 = 2000;
    let mut length = MIN_AUTOMATIC_PIECE_LENGTH;
    while length < MAX_AUTOMATIC_PIECE_LENGTH && total_length.div_ceil(length as u64) > MOST_PIECES
    {
        length *= 2;
    }
    length
}

/// The order of files in a torrent: by the bytes of their paths with `/` between components, as
/// mktorrent has it. So `a-b` comes before `a/b`, and `a/b` before `ab`.
pub fn compare_paths<T: AsRef<[u8]>>(a: &[T], b: &[T]) -> Ordering {
    joined(a).cmp(joined(b))
}

fn joined<T: AsRef<[u8]>>(path: &[T]) -> impl Iterator<Item = u8> {
    path.iter().enumerate().flat_map(|(index, component)| {
        let separator = (index > 0).then_some(b'/');
        separator
            .into_iter()
            .chain(component.as_ref().iter().copied())
    })
}

/// A file that goes into a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The components of its path below the torrent's folder, as the system has them.
    pub path: Vec<Vec<u8>>,
    /// Its length in bytes.
    pub length: u64,
}

/// Collects what goes into a torrent, and puts it together once the pieces are hashed.
///
/// It reads nothing: its caller names the files, reads them one after the other in the order of
/// [`Creator::files`], and hashes each [`Creator::piece_length`] bytes of that.
///
/// ```
/// use anabranch_core::metainfo::Creator;
/// use sha1::{Digest, Sha1};
///
/// let creator = Creator::single_file("greeting.txt", 5)
///     .with_tracker_tier(["udp://tracker.example:6969/announce"])
///     .with_comment("hi");
/// assert_eq!(creator.piece_count(), 1);
/// let creation = creator.finish(&Sha1::digest(b"hello"))?;
/// assert!(creation.torrent.starts_with(b"d8:announce35:udp://"));
/// assert_eq!(creation.metainfo.name(), "greeting.txt");
/// # Ok::<(), anabranch_core::metainfo::CreateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creator {
    name: Vec<u8>,
    files: Vec<SourceFile>,
    multi_file: bool,
    piece_length: Option<u32>,
    private: bool,
    source: Option<String>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<u64>,
}

/// A torrent that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The torrent file.
    pub torrent: Bytes,
    /// What it says.
    pub metainfo: Metainfo,
}

/// Why a torrent could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The torrent's name is empty, `.` or `..`, or has a `/` or a zero byte in it.
    #[error("{:?} cannot be the name of a torrent", String::from_utf8_lossy(.name))]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// A file's path is empty, or a component of it is empty, `.` or `..`, or has a `/` or a zero
    /// byte in it.
    #[error("{:?} cannot be the path of a file", String::from_utf8_lossy(.path))]
    Path {
        /// The path, with `/` between components.
        path: Vec<u8>,
    },
    /// Two files have the same path.
    #[error("the file {:?} is there twice", String::from_utf8_lossy(.path))]
    DuplicatePath {
        /// The path, with `/` between components.
        path: Vec<u8>,
    },
    /// There is not one hash of 20 bytes for each piece.
    #[error("{found} bytes of piece hashes where {expected} are needed")]
    PieceHashes {
        /// How many bytes of hashes the pieces have.
        expected: u64,
        /// How many bytes were given.
        found: usize,
    },
    /// The torrent would be refused: it has no files, too many of them, too many pieces or the like.
    #[error("the torrent would not be usable: {0}")]
    Unusable(#[from] MetainfoError),
    /// The torrent could not be encoded.
    #[error("encoding the torrent failed: {0}")]
    Encode(String),
}

impl Creator {
    /// A torrent of one file, which has the name of the torrent. The length is in bytes.
    pub fn single_file(name: impl Into<Vec<u8>>, length: u64) -> Self {
        let path = Vec::new();
        Self::new(name.into(), [SourceFile { path, length }].into(), false)
    }

    /// A torrent of files in a folder, which has the name of the torrent. The files may come in
    /// any order.
    pub fn multi_file(
        name: impl Into<Vec<u8>>,
        files: impl IntoIterator<Item = SourceFile>,
    ) -> Self {
        let mut files: Vec<SourceFile> = files.into_iter().collect();
        files.sort_by(|a, b| compare_paths(&a.path, &b.path));
        Self::new(name.into(), files, true)
    }

    /// Sets the piece length in bytes. Without it, [`automatic_piece_length`] chooses.
    #[must_use]
    pub fn with_piece_length(self, length: u32) -> Self {
        Self {
            piece_length: Some(length),
            ..self
        }
    }

    /// Sets whether peers may come from the torrent's trackers only (BEP 27).
    #[must_use]
    pub fn with_private(self, private: bool) -> Self {
        Self { private, ..self }
    }

    /// Sets what makes the info-hash differ from that of the same files elsewhere.
    #[must_use]
    pub fn with_source(self, source: impl Into<String>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Adds a tier of trackers' URLs, to be asked after those before it (BEP 12).
    #[must_use]
    pub fn with_tracker_tier<T: Into<String>>(mut self, urls: impl IntoIterator<Item = T>) -> Self {
        let tier: Vec<String> = urls.into_iter().map(Into::into).collect();
        if !tier.is_empty() {
            self.trackers.push(tier);
        }
        self
    }

    /// Adds the URL of a web seed (BEP 19).
    #[must_use]
    pub fn with_web_seed(mut self, url: impl Into<String>) -> Self {
        self.web_seeds.push(url.into());
        self
    }

    /// Sets what is to be said about the torrent.
    #[must_use]
    pub fn with_comment(self, comment: impl Into<String>) -> Self {
        Self {
            comment: Some(comment.into()),
            ..self
        }
    }

    /// Sets the program that makes the torrent.
    #[must_use]
    pub fn with_created_by(self, created_by: impl Into<String>) -> Self {
        Self {
            created_by: Some(created_by.into()),
            ..self
        }
    }

    /// Sets when the torrent is made, in seconds since 1970 (UTC).
    #[must_use]
    pub fn with_creation_date(self, seconds: u64) -> Self {
        Self {
            creation_date: Some(seconds),
            ..self
        }
    }

    /// The files in the order in which they have to be read. The path of a single file is empty.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The length of all files together, in bytes.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |total, file| total.saturating_add(file.length))
    }

    /// The length of a piece in bytes, as set or chosen.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
            .unwrap_or_else(|| automatic_piece_length(self.total_length()))
    }

    /// How many pieces have to be hashed; the last one may be shorter.
    #[must_use]
    pub fn piece_count(&self) -> u64 {
        // A length of 0 is refused by `finish`.
        self.total_length()
            .div_ceil(u64::from(self.piece_length().max(1)))
    }

    /// Makes the torrent, given the SHA-1 of every piece, one after the other.
    ///
    /// Fields at their default are left out, so that the same input makes the same file.
    ///
    /// # Errors
    ///
    /// Names that no file can have, hashes that are not of all pieces, and whatever
    /// [`Metainfo::parse`] would refuse.
    pub fn finish(&self, piece_hashes: &[u8]) -> Result<Creation, CreateError> {
        self.check_names()?;
        let expected = self.piece_count().saturating_mul(20);
        if piece_hashes.len() as u64 != expected {
            return Err(CreateError::PieceHashes {
                expected,
                found: piece_hashes.len(),
            });
        }
        let torrent = bt_bencode::to_vec(&self.encoded(piece_hashes))
            .map_err(|error| CreateError::Encode(error.to_string()))?;
        let torrent = Bytes::from(torrent);
        Ok(Creation {
            metainfo: Metainfo::parse(torrent.clone())?,
            torrent,
        })
    }

    fn new(name: Vec<u8>, files: Vec<SourceFile>, multi_file: bool) -> Self {
        Self {
            name,
            files,
            multi_file,
            piece_length: None,
            private: false,
            source: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    fn check_names(&self) -> Result<(), CreateError> {
        if !is_name(&self.name) {
            return Err(CreateError::Name {
                name: self.name.clone(),
            });
        }
        if !self.multi_file {
            return Ok(());
        }
        for file in &self.files {
            if file.path.is_empty() || !file.path.iter().all(|name| is_name(name)) {
                return Err(CreateError::Path {
                    path: joined(&file.path).collect(),
                });
            }
        }
        for pair in self.files.windows(2) {
            if pair[0].path == pair[1].path {
                return Err(CreateError::DuplicatePath {
                    path: joined(&pair[0].path).collect(),
                });
            }
        }
        Ok(())
    }

    fn encoded<'a>(&'a self, piece_hashes: &'a [u8]) -> EncodedTorrent<'a> {
        let mut urls = self.trackers.iter().flatten();
        let announce = urls.next().map(String::as_str);
        let files = self.files.iter().map(|file| EncodedFile {
            length: file.length,
            path: file.path.iter().map(|name| RawStr(name)).collect(),
        });
        EncodedTorrent {
            announce,
            // With one tracker, there is nothing to be said that `announce` does not say.
            announce_list: urls.next().map(|_| self.trackers.as_slice()),
            comment: self.comment.as_deref(),
            created_by: self.created_by.as_deref(),
            creation_date: self.creation_date,
            info: EncodedInfo {
                length: match self.files.as_slice() {
                    [file] if !self.multi_file => Some(file.length),
                    _ => None,
                },
                files: self.multi_file.then(|| files.collect()),
                name: RawStr(&self.name),
                piece_length: self.piece_length(),
                pieces: RawStr(piece_hashes),
                private: self.private.then_some(1),
                source: self.source.as_deref(),
            },
            url_list: match self.web_seeds.as_slice() {
                [] => None,
                [url] => Some(EncodedUrls::One(url)),
                urls => Some(EncodedUrls::Many(urls)),
            },
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[derive(Serialize)]
struct EncodedTorrent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    announce: Option<&'a str>,
    #[serde(rename = "announce-list", skip_serializing_if = "Option::is_none")]
    announce_list: Option<&'a [Vec<String>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(rename = "created by", skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    #[serde(rename = "creation date", skip_serializing_if = "Option::is_none")]
    creation_date: Option<u64>,
    info: EncodedInfo<'a>,
    #[serde(rename = "url-list", skip_serializing_if = "Option::is_none")]
    url_list: Option<EncodedUrls<'a>>,
}

#[derive(Serialize)]
struct EncodedInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<EncodedFile<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    name: RawStr<'a>,
    #[serde(rename = "piece length")]
    piece_length: u32,
    pieces: RawStr<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

#[derive(Serialize)]
struct EncodedFile<'a> {
    length: u64,
    path: Vec<RawStr<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EncodedUrls<'a> {
    One(&'a str),
    Many(&'a [String]),
}

/// A string that need not be UTF-8.
struct RawStr<'a>(&'a [u8]);

impl Serialize for RawStr<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use quickcheck::quickcheck;
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::metainfo::{FileIndex, PieceIndex};

    const MULTI: &[u8] = include_bytes!("testdata/multi.torrent");
    const SINGLE: &[u8] = include_bytes!("testdata/single.torrent");
    const SEEDS: &[u8] = include_bytes!("testdata/seeds.torrent");

    /// The files that the torrents in testdata were made of: path, length, and the byte they
    /// consist of.
    const ALBUM: [(&str, usize, u8); 9] = [
        ("sub/deep/er/é", 2298, b'e'),
        ("alphab", 1, b'b'),
        ("alpha/z", 70_000, b'z'),
        ("alpha/0", 0, b'0'),
        ("alpha.x/q", 1847, b'q'),
        ("alpha-1", 638, b'-'),
        ("a", 40_000, b'a'),
        ("Zed/1", 1698, b'1'),
        ("B", 947, b'B'),
    ];

    fn hashes(data: &[u8], piece_length: u32) -> Vec<u8> {
        data.chunks(piece_length as usize)
            .flat_map(Sha1::digest)
            .collect()
    }

    fn file(path: &str, length: u64) -> SourceFile {
        SourceFile {
            path: path.split('/').map(Into::into).collect(),
            length,
        }
    }

    fn album() -> (Creator, Vec<u8>) {
        let files = ALBUM.map(|(path, length, _)| file(path, length as u64));
        let creator = Creator::multi_file("album", files).with_piece_length(1 << 15);
        let data = creator
            .files()
            .iter()
            .flat_map(|source| {
                let path: Vec<u8> = joined(&source.path).collect();
                let found = ALBUM.iter().find(|(name, ..)| name.as_bytes() == path);
                let (_, length, byte) = found.unwrap();
                vec![*byte; *length]
            })
            .collect();
        (creator, data)
    }

    #[test]
    fn a_folder_gives_what_mktorrent_makes_of_it() {
        let (creator, data) = album();
        let creation = creator
            .with_tracker_tier(["http://t.example/announce"])
            .with_created_by("mktorrent 1.1")
            .finish(&hashes(&data, 1 << 15))
            .unwrap();
        assert_eq!(creation.torrent, MULTI);
        let theirs = Metainfo::parse(Bytes::from_static(MULTI)).unwrap();
        assert_eq!(creation.metainfo.info_bytes(), theirs.info_bytes());
        assert_eq!(creation.metainfo, theirs);
        assert_eq!(
            theirs.download_path(FileIndex::new(8)).unwrap().as_str(),
            "album/sub/deep/er/é"
        );
    }

    #[test]
    fn a_private_file_gives_what_mktorrent_makes_of_it() {
        let creation = Creator::single_file("z", 70_000)
            .with_piece_length(1 << 15)
            .with_private(true)
            .with_source("SRC")
            .with_comment("a comment")
            .with_created_by("mktorrent 1.1")
            .with_tracker_tier(["http://t.example/announce", "http://u.example/announce"])
            .with_tracker_tier(["udp://v.example:80/announce"])
            .with_web_seed("http://w.example/f")
            .finish(&hashes(&[b'z'; 70_000], 1 << 15))
            .unwrap();
        assert_eq!(creation.torrent, SINGLE);
        assert!(creation.metainfo.is_private());
    }

    #[test]
    fn several_web_seeds_give_what_mktorrent_makes_of_them() {
        let creation = Creator::single_file("renamed", 40_000)
            .with_piece_length(1 << 16)
            .with_created_by("mktorrent 1.1")
            .with_tracker_tier(["http://t.example/announce"])
            .with_web_seed("http://w.example/f")
            .with_web_seed("http://x.example/")
            .finish(&hashes(&[b'a'; 40_000], 1 << 16))
            .unwrap();
        assert_eq!(creation.torrent, SEEDS);
    }

    #[test]
    fn files_are_ordered_by_whole_paths() {
        let files = ["ab", "a/b", "a-b", "a.b", "a/B/c", "B"].map(|path| file(path, 0));
        let creator = Creator::multi_file("t", files);
        let order: Vec<Vec<u8>> = creator
            .files()
            .iter()
            .map(|file| joined(&file.path).collect())
            .collect();
        assert_eq!(order, [&b"B"[..], b"a-b", b"a.b", b"a/B/c", b"a/b", b"ab"]);
    }

    #[test]
    fn the_automatic_piece_length_aims_at_a_thousand_pieces() {
        for (total, length) in [
            (1, 16 << 10),
            (2000 * (16 << 10), 16 << 10),
            (2000 * (16 << 10) + 1, 32 << 10),
            (1 << 30, 1 << 20),
            (u64::MAX, 16 << 20),
        ] {
            assert_eq!(automatic_piece_length(total), length, "{total}");
        }
        assert_eq!(Creator::single_file("x", 1 << 30).piece_count(), 1024);
    }

    #[test]
    fn hashes_have_to_be_of_all_pieces() {
        let creator = Creator::single_file("x", 40_000).with_piece_length(16384);
        for found in [0, 40, 59, 61, 80] {
            assert_eq!(
                creator.finish(&vec![0; found]),
                Err(CreateError::PieceHashes {
                    expected: 60,
                    found
                })
            );
        }
    }

    #[test]
    fn names_that_no_file_has_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0"] {
            let error = Creator::single_file(name, 0).finish(&[]);
            let name = name.into();
            assert_eq!(error, Err(CreateError::Name { name }));
        }
        for path in [&[][..], &[""], &["a", ".."], &["a", ""], &["a/b", "."]] {
            let source = SourceFile {
                path: path.iter().map(|name| (*name).into()).collect(),
                length: 0,
            };
            let error = Creator::multi_file("t", [source]).finish(&[]);
            assert!(matches!(error, Err(CreateError::Path { .. })), "{path:?}");
        }
        let twice = [file("a/b", 0), file("c", 0), file("a/b", 0)];
        assert_eq!(
            Creator::multi_file("t", twice).finish(&[]),
            Err(CreateError::DuplicatePath {
                path: b"a/b".into()
            })
        );
    }

    #[test]
    fn what_would_be_refused_is_not_made() {
        assert_eq!(
            Creator::multi_file("t", []).finish(&[]),
            Err(CreateError::Unusable(MetainfoError::NoFiles))
        );
        assert_eq!(
            Creator::single_file("x", 0)
                .with_piece_length(0)
                .finish(&[]),
            Err(CreateError::Unusable(MetainfoError::PieceLength {
                length: 0
            }))
        );
        let huge = Creator::multi_file("t", [file("a", u64::MAX), file("b", 1)]);
        assert_eq!(huge.total_length(), u64::MAX);
        assert!(huge.finish(&[]).is_err());
    }

    #[test]
    fn names_that_are_not_utf8_are_written_as_they_are() {
        let creation = Creator::single_file(b"caf\xe9", 0).finish(&[]).unwrap();
        assert_eq!(creation.metainfo.original_name(), b"caf\xe9");
        assert_eq!(creation.metainfo.name(), "caf\u{fffd}");
    }

    quickcheck! {
        fn what_is_made_is_read_again(
            lengths: Vec<u16>,
            piece_length: u8,
            private: bool,
            comment: String,
            date: u64
        ) -> bool {
            let piece_length = u32::from(piece_length) + 100;
            let lengths: Vec<u16> = lengths.into_iter().map(|length| length % 2000).collect();
            let comment: String = comment.chars().filter(char::is_ascii_graphic).collect();
            let files = lengths
                .iter()
                .enumerate()
                .map(|(i, length)| file(&format!("{}/{i}", i % 3), u64::from(*length)));
            let creator = Creator::multi_file("made", files)
                .with_piece_length(piece_length)
                .with_private(private)
                .with_comment(comment.clone())
                .with_creation_date(date)
                .with_tracker_tier(["http://a/"])
                .with_tracker_tier(["udp://b:1", "udp://c:1"]);
            let data = vec![3; creator.total_length() as usize];
            let Ok(creation) = creator.finish(&hashes(&data, piece_length)) else {
                return lengths.is_empty();
            };
            let read = &creation.metainfo;
            let files_agree = read.files().len() == creator.files().len()
                && read.files().iter().zip(creator.files()).enumerate().all(|(i, (file, source))| {
                    let original = read.original_path(FileIndex::new(i as u32)).unwrap();
                    file.length() == source.length
                        && original == source.path
                        && file.path().as_str().bytes().eq(joined(&source.path))
                });
            let pieces_agree = data
                .chunks(piece_length as usize)
                .enumerate()
                .all(|(i, piece)| {
                    let index = PieceIndex::new(i as u32);
                    read.piece_hash(index) == Some(&Sha1::digest(piece).into())
                        && read.piece_size(index) == Some(piece.len() as u32)
                });
            files_agree
                && pieces_agree
                && read.piece_length() == piece_length
                && read.is_private() == private
                && read.comment().unwrap_or_default() == comment
                && read.creation_date() == Some(date)
                && read.trackers().iter().map(Vec::len).eq([1, 2])
                && Metainfo::parse(creation.torrent.clone()).as_ref() == Ok(read)
        }
    }
}
