//! What is in a torrent file: BEP 3, with DHT nodes (BEP 5), tiers (BEP 12), web seeds (BEP 17 and
//! 19), private torrents (BEP 27) and file attributes (BEP 47).
//!
//! | subject | what it reads |
//! |---|---|
//! | `read` | the file, and the info dictionary in it |
//! | `files` | the files in that |
//! | `beside` | what is beside the info dictionary |

mod beside;
mod files;
mod read;

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, ops::Range};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    FileIndex, InfoHash, Oddity, PieceIndex, SafePath,
    fields::{Str, decode},
    layout::piece_size,
};

/// A torrent: what there is to be downloaded, and where peers may be found.
///
/// What is in the info dictionary is sound: there is a hash for each piece, no length overflows,
/// and every path is safe and met by no other. What is beside it was taken as far as it makes
/// sense and is not needed. The info dictionary and the piece hashes are slices of the bytes that
/// were parsed; clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Metainfo {
    info_hash: InfoHash,
    info: Bytes,
    pieces: Bytes,
    name: SafePath,
    /// In `info`.
    original_name: Range<usize>,
    /// The user's name for it, if there is one.
    pub(super) given_name: Option<Box<str>>,
    multi_file: bool,
    piece_length: u32,
    total_length: u64,
    files: Vec<File>,
    private: bool,
    source: Option<String>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    http_seeds: Vec<String>,
    nodes: Vec<Node>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<u64>,
    oddities: Vec<Oddity>,
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: SafePath,
    /// The bencoded list of components, or the bencoded name of a single file, in `info`. Empty if
    /// there is none.
    original_path: Range<usize>,
    length: u64,
    offset: u64,
    kind: FileKind,
    executable: bool,
    hidden: bool,
}

/// What is to be done with a file (BEP 47).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// It is downloaded and created.
    Data,
    /// Zeros that fill the space to the next piece. Never created.
    Pad,
    /// A link to another file, without data. Never created: its target may be anything.
    Symlink,
}

/// A DHT node that the torrent names (BEP 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// A host name or an IP address.
    pub host: String,
    /// Its UDP port, which is not 0.
    pub port: u16,
}

impl Metainfo {
    /// The identity of the torrent, taken over the info dictionary as it stood in the file.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The info dictionary as it stood in the file, bencoded.
    #[must_use]
    pub fn info_bytes(&self) -> &Bytes {
        &self.info
    }

    /// The name of the torrent: of its one file, or of the folder of its files. It was made safe as
    /// in [`SafePath`], for [`Names::Portable`](super::Names::Portable) unless it was
    /// [asked](Self::with_names) for others; if nothing was left of it, it is the info-hash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The name as it stands in the torrent. It is not safe to create; the URLs of web seeds have
    /// it.
    #[must_use]
    pub fn original_name(&self) -> &[u8] {
        decode::<Str<'_>>(&self.info, self.original_name.clone()).map_or(&[], |name| name.0)
    }

    /// The name that its file or folder has on the disk, before it is made safe: that which the
    /// user [gave](Self::with_name), or else that which stands in the torrent.
    #[must_use]
    pub fn wished_name(&self) -> &[u8] {
        match &self.given_name {
            Some(name) => name.as_bytes(),
            None => self.original_name(),
        }
    }

    /// Whether the user gave it a name.
    #[must_use]
    pub fn has_given_name(&self) -> bool {
        self.given_name.is_some()
    }

    /// Whether the files lie in a folder; else there is one file only.
    #[must_use]
    pub fn is_multi_file(&self) -> bool {
        self.multi_file
    }

    /// The length of all pieces but the last, in bytes: 1 to
    /// [`limits::MAX_PIECE_LENGTH`](super::limits::MAX_PIECE_LENGTH), and not always a power of
    /// two.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The length of all files together in bytes, pad files included; below 2^63.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// How many pieces there are: at most [`limits::MAX_PIECES`](super::limits::MAX_PIECES), and
    /// none if no file has data.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.piece_hashes().len() as u32
    }

    /// The length of this piece in bytes; the last one is shorter where the data ends.
    #[must_use]
    pub fn piece_size(&self, piece: PieceIndex) -> Option<u32> {
        piece_size(
            piece,
            self.piece_count(),
            self.piece_length,
            self.total_length,
        )
    }

    /// The SHA-1 that this piece has to have.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<&[u8; 20]> {
        self.piece_hashes().get(piece.as_usize())
    }

    /// The SHA-1 of every piece, in order.
    #[must_use]
    pub fn piece_hashes(&self) -> &[[u8; 20]] {
        self.pieces.as_chunks().0
    }

    /// The files in the order of the torrent, pad files and symlinks included. There is at least
    /// one and at most [`limits::MAX_FILES`](super::limits::MAX_FILES).
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file with this number.
    #[must_use]
    pub fn file(&self, file: FileIndex) -> Option<&File> {
        self.files.get(file.as_usize())
    }

    /// Where this file belongs below the download folder: in the torrent's own folder, if it has
    /// one.
    #[must_use]
    pub fn download_path(&self, file: FileIndex) -> Option<SafePath> {
        let path = &self.file(file)?.path;
        Some(if self.multi_file {
            path.within(&self.name)
        } else {
            path.clone()
        })
    }

    /// The components of this file's path as they stand in the torrent, without the torrent's name
    /// where that is a folder. They are not safe to create; the URLs of web seeds have them. None
    /// at all for a file that is never created and has no path.
    #[must_use]
    pub fn original_path(&self, file: FileIndex) -> Option<Vec<&[u8]>> {
        let span = self.file(file)?.original_path.clone();
        if span.is_empty() {
            return Some(Vec::new());
        }
        if self.multi_file {
            let components: Vec<Str<'_>> = decode(&self.info, span)?;
            Some(
                components
                    .into_iter()
                    .map(|component| component.0)
                    .collect(),
            )
        } else {
            Some([decode::<Str<'_>>(&self.info, span)?.0].into())
        }
    }

    /// Whether peers may come from the torrent's trackers only (BEP 27).
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// What makes the info-hash differ between trackers that share a torrent.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The URLs of the trackers, in tiers (BEP 12). No tier is empty, no URL is there twice, and
    /// there are at most [`limits::MAX_TRACKERS`](super::limits::MAX_TRACKERS); whether their
    /// schemes are supported is not looked at.
    #[must_use]
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.trackers
    }

    /// The URLs of web seeds (BEP 19), at most
    /// [`limits::MAX_WEB_SEEDS`](super::limits::MAX_WEB_SEEDS).
    #[must_use]
    pub fn web_seeds(&self) -> &[String] {
        &self.web_seeds
    }

    /// The URLs of web seeds of the older kind (BEP 17), at most
    /// [`limits::MAX_WEB_SEEDS`](super::limits::MAX_WEB_SEEDS).
    #[must_use]
    pub fn http_seeds(&self) -> &[String] {
        &self.http_seeds
    }

    /// DHT nodes (BEP 5), at most [`limits::MAX_NODES`](super::limits::MAX_NODES).
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What the maker of the torrent says about it. A terminal can show it as it is.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The program that made the torrent. A terminal can show it as it is.
    #[must_use]
    pub fn created_by(&self) -> Option<&str> {
        self.created_by.as_deref()
    }

    /// When the torrent was made, in seconds since 1970 (UTC).
    #[must_use]
    pub fn creation_date(&self) -> Option<u64> {
        self.creation_date
    }

    /// Puts other paths in the place of those of all files, and another name.
    pub(super) fn rename(&mut self, name: SafePath, paths: impl IntoIterator<Item = SafePath>) {
        self.name = name;
        for (file, path) in self.files.iter_mut().zip(paths) {
            file.path = path;
        }
    }

    /// What is odd about the file that was read: a few entries at most, however many files have the
    /// same. None of it keeps the torrent from being used.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }
}

/// Without the hashes and the info dictionary, which are long.
impl fmt::Debug for Metainfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metainfo")
            .field("info_hash", &self.info_hash)
            .field("name", &self.name)
            .field("multi_file", &self.multi_file)
            .field("piece_length", &self.piece_length)
            .field("piece_count", &self.piece_count())
            .field("total_length", &self.total_length)
            .field("files", &self.files.len())
            .field("private", &self.private)
            .field("trackers", &self.trackers)
            .finish_non_exhaustive()
    }
}

impl File {
    /// Its path below the torrent's own folder, or below the download folder if the torrent has
    /// no folder ([`Metainfo::download_path`] knows). Files of data never meet: no two paths are
    /// equal, not even without regard to case, and none is another's folder.
    #[must_use]
    pub fn path(&self) -> &SafePath {
        &self.path
    }

    /// Its length in bytes; below 2^63.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where it starts in the torrent, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What is to be done with it.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Whether it is meant to be executable.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// Whether it is meant to be hidden.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }
}

#[cfg(test)]
mod tests;
