use alloc::string::String;

use super::limits;
use crate::bencode;

/// Why a torrent was refused (BEP 3).
///
/// Files are counted from 0, in the order of the torrent; in words, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// The file is longer than [`limits::MAX_TORRENT_LEN`].
    #[error(
        "the torrent file has {len} bytes; at most {} are accepted",
        limits::MAX_TORRENT_LEN
    )]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// It is not bencoded, or beyond [`limits::BENCODE`].
    #[error("not a torrent file: {0}")]
    Bencode(#[from] bencode::Error),
    /// The torrent, or its `info`, is not a dictionary.
    #[error("{what} is not a dictionary")]
    NotADictionary {
        /// Which of them.
        what: &'static str,
    },
    /// A field that has to be there is not.
    #[error("the field {field:?} is missing")]
    MissingField {
        /// Its key.
        field: &'static str,
    },
    /// A dictionary has a field more than once.
    #[error("the field {field:?} is there more than once")]
    DuplicateField {
        /// Its key.
        field: String,
    },
    /// A field is of another type than it has to be.
    #[error("the field {field:?} is not {expected}")]
    WrongType {
        /// Its key.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A torrent of a version that is not supported, and not of version 1 besides.
    #[error("it is a torrent of version {version} alone, which is not supported yet")]
    UnsupportedVersion {
        /// Its `meta version` (BEP 52).
        version: i128,
    },
    /// The piece length is not in 1 ..= [`limits::MAX_PIECE_LENGTH`].
    #[error(
        "the piece length {length} is not between 1 and {}",
        limits::MAX_PIECE_LENGTH
    )]
    PieceLength {
        /// What the torrent says.
        length: i128,
    },
    /// The piece hashes are not a multiple of 20 bytes long.
    #[error("the piece hashes have {len} bytes, which is not a multiple of 20")]
    PieceHashes {
        /// How long they are.
        len: usize,
    },
    /// There are more pieces than [`limits::MAX_PIECES`].
    #[error("{count} pieces; at most {} are accepted", limits::MAX_PIECES)]
    TooManyPieces {
        /// How many there are.
        count: usize,
    },
    /// There is not one hash for each piece of the data.
    #[error("hashes of {found} pieces, but the data has {expected}")]
    PieceCount {
        /// How many pieces the lengths of the files make.
        expected: u64,
        /// How many hashes there are.
        found: u32,
    },
    /// The list of files is empty.
    #[error("the torrent has no files")]
    NoFiles,
    /// There are more files than [`limits::MAX_FILES`].
    #[error("more than {} files", limits::MAX_FILES)]
    TooManyFiles,
    /// An entry of the list of files is not a dictionary, or a field that it needs is malformed.
    #[error("the entry of file {} is malformed: {fault}", .file.saturating_add(1))]
    MalformedFile {
        /// Which file.
        file: usize,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// A file that has data to be created has no path, or an empty one.
    #[error("file {} has no path", .file.saturating_add(1))]
    NoPath {
        /// Which file.
        file: usize,
    },
    /// A file's length is negative or not below 2^63.
    #[error("the length of file {}, {length}, is out of range", .file.saturating_add(1))]
    FileLength {
        /// Which file.
        file: usize,
        /// What the torrent says.
        length: i128,
    },
    /// The lengths of all files up to this one make 2^63 or more.
    #[error("the files up to file {} have 2^63 bytes or more", .file.saturating_add(1))]
    TotalLength {
        /// Which file.
        file: usize,
    },
    /// A file lies in more than [`limits::MAX_PATH_DEPTH`] folders.
    #[error(
        "the path of file {} has {depth} components; at most {} are accepted",
        .file.saturating_add(1),
        limits::MAX_PATH_DEPTH
    )]
    PathTooDeep {
        /// Which file.
        file: usize,
        /// How many components its path has.
        depth: usize,
    },
    /// A file's path is longer than [`limits::MAX_PATH_LEN`], although its components are not.
    #[error(
        "the path of file {} has {len} bytes; at most {} are accepted",
        .file.saturating_add(1),
        limits::MAX_PATH_LEN
    )]
    PathTooLong {
        /// Which file.
        file: usize,
        /// How long it is.
        len: usize,
    },
}

/// What is wrong with an entry of the list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// It is not a dictionary.
    #[error("it is not a dictionary")]
    NotADictionary,
    /// A field that has to be there is not.
    #[error("the field {field:?} is missing")]
    Missing {
        /// Its key.
        field: &'static str,
    },
    /// A field that it needs is there more than once.
    #[error("the field {field:?} is there more than once")]
    Repeated {
        /// Its key.
        field: &'static str,
    },
    /// A field that it needs is of another type than it has to be.
    #[error("the field {field:?} is not {expected}")]
    WrongType {
        /// Its key.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}
