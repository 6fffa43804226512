//! Reading a torrent file: BEP 3, with DHT nodes (BEP 5), tiers (BEP 12), web seeds (BEP 17 and
//! 19), private torrents (BEP 27) and file attributes (BEP 47).

use alloc::{
    boxed::Box,
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Range};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    FileIndex, InfoHash, MetainfoError, PieceIndex, SafePath,
    layout::piece_size,
    limits,
    path::{Names, resolve_collisions, safe_component, safe_text},
};
use crate::bencode;

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
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: SafePath,
    /// The bencoded list of components, or the bencoded name of a single file, in `info`.
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
    /// Reads a torrent file.
    ///
    /// Hybrid torrents of version 1 and 2 are read as version 1.
    ///
    /// # Errors
    ///
    /// Whatever makes the torrent unusable, or is beyond [`limits`].
    pub fn parse(torrent: Bytes) -> Result<Self, MetainfoError> {
        scan_dictionary(&torrent, "the torrent")?;
        let [info] = bencode::dict_value_spans(&torrent, ["info"])?;
        let info = info.ok_or(MetainfoError::MissingField { field: "info" })?;
        let mut metainfo = Self::parse_info(torrent.slice(info))?;
        metainfo.read_outer_fields(&torrent);
        Ok(metainfo)
    }

    /// Reads an info dictionary alone, as peers send it (BEP 9). There is nothing beside it:
    /// trackers, web seeds and the like are empty.
    ///
    /// # Errors
    ///
    /// As [`Metainfo::parse`].
    pub fn from_info(info: Bytes) -> Result<Self, MetainfoError> {
        scan_dictionary(&info, "info")?;
        Self::parse_info(info)
    }

    /// What stands in for a torrent whose info dictionary is yet to be fetched: no files and no pieces.
    /// It never leaves the engine.
    pub(crate) fn unknown(info_hash: InfoHash, name: Option<&str>) -> Self {
        let hash = info_hash.to_string();
        let name = name.and_then(safe_component).unwrap_or(hash);
        Self {
            info_hash,
            info: Bytes::new(),
            pieces: Bytes::new(),
            name: SafePath::from_untrusted([name.as_bytes()]),
            original_name: 0..0,
            given_name: None,
            multi_file: false,
            piece_length: 1,
            total_length: 0,
            files: Vec::new(),
            private: false,
            source: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

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

    /// The name of the torrent: of its one file, or of the folder of its files. It was made safe
    /// as in [`SafePath`], for [`Names::Portable`] unless it was [asked](Self::with_names) for others; if
    /// nothing was left of it, it is the info-hash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The name as it stands in the torrent. It is not safe to create; the URLs of web seeds have it.
    #[must_use]
    pub fn original_name(&self) -> &[u8] {
        decode::<Str<'_>>(&self.info, self.original_name.clone()).map_or(&[], |name| name.0)
    }

    /// The name that its file or folder has on the disk, before it is made safe: that which the user
    /// [gave](Self::with_name), or else that which stands in the torrent.
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

    /// The length of all pieces but the last, in bytes: 1 to [`limits::MAX_PIECE_LENGTH`], and
    /// not always a power of two.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The length of all files together in bytes, pad files included; below 2^63.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// How many pieces there are: at most [`limits::MAX_PIECES`], and none if no file has data.
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
    /// one and at most [`limits::MAX_FILES`].
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

    /// The components of this file's path as they stand in the torrent, without the torrent's
    /// name where that is a folder. They are not safe to create; the URLs of web seeds have them.
    #[must_use]
    pub fn original_path(&self, file: FileIndex) -> Option<Vec<&[u8]>> {
        let span = self.file(file)?.original_path.clone();
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
    /// there are at most [`limits::MAX_TRACKERS`]; whether their schemes are supported is not
    /// looked at.
    #[must_use]
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.trackers
    }

    /// The URLs of web seeds (BEP 19), at most [`limits::MAX_WEB_SEEDS`].
    #[must_use]
    pub fn web_seeds(&self) -> &[String] {
        &self.web_seeds
    }

    /// The URLs of web seeds of the older kind (BEP 17), at most [`limits::MAX_WEB_SEEDS`].
    #[must_use]
    pub fn http_seeds(&self) -> &[String] {
        &self.http_seeds
    }

    /// DHT nodes (BEP 5), at most [`limits::MAX_NODES`].
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

    /// Of an info dictionary that has been scanned.
    fn parse_info(info: Bytes) -> Result<Self, MetainfoError> {
        if !info.starts_with(b"d") {
            return Err(MetainfoError::NotADictionary { what: "info" });
        }
        let [
            name,
            name_utf8,
            piece_length,
            pieces,
            length,
            files,
            attr,
            private,
            source,
            version,
        ] = bencode::dict_value_spans(
            &info,
            [
                "name",
                "name.utf-8",
                "piece length",
                "pieces",
                "length",
                "files",
                "attr",
                "private",
                "source",
                "meta version",
            ],
        )?;
        if pieces.is_none()
            && let Some(version) = version.and_then(|span| decode(&info, span))
        {
            return Err(MetainfoError::UnsupportedVersion { version });
        }

        let piece_length =
            integer(&info, piece_length, "piece length")?.ok_or(MetainfoError::MissingField {
                field: "piece length",
            })?;
        let piece_length = u32::try_from(piece_length)
            .ok()
            .filter(|length| (1..=limits::MAX_PIECE_LENGTH).contains(length))
            .ok_or(MetainfoError::PieceLength {
                length: piece_length,
            })?;
        let pieces = required_string(&info, pieces, "pieces")?;
        // A part of `info`, or this would panic: it was decoded without a copy.
        let pieces = info.slice_ref(pieces);
        let piece_count = count_pieces(&pieces)?;

        let info_hash = InfoHash::of_info(&info);
        let original_name = name_utf8
            .filter(|span| is_utf8_string(&info, span.clone()))
            .or(name);
        let name = required_string(&info, original_name.clone(), "name")?;
        let name =
            safe_component(&String::from_utf8_lossy(name)).unwrap_or_else(|| info_hash.to_string());
        let name = SafePath::from_untrusted([name.as_bytes()]);
        // It was required above.
        let original_name = original_name.unwrap_or_default();

        let multi_file = files.is_some();
        let files = match files {
            Some(files) => read_files(&info, files, &name)?,
            None => {
                let length = integer(&info, length, "length")?
                    .ok_or(MetainfoError::MissingField { field: "length" })?;
                let attr = attr.and_then(|span| decode::<Str<'_>>(&info, span));
                let mut files = Vec::new();
                let draft = Draft::new(0, original_name.clone(), Some(length), attr)?;
                push_file(&mut files, draft, name.clone())?;
                files
            }
        };
        let total_length = files.last().map_or(0, |file| file.offset + file.length);
        let expected = total_length.div_ceil(u64::from(piece_length));
        if expected != u64::from(piece_count) {
            return Err(MetainfoError::PieceCount {
                expected,
                found: piece_count,
            });
        }

        Ok(Self {
            info_hash,
            pieces,
            name,
            original_name,
            given_name: None,
            multi_file,
            piece_length,
            total_length,
            files,
            private: integer(&info, private, "private")?.is_some_and(|private| private != 0),
            source: text(&info, source),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            info,
        })
    }

    /// What is beside the info dictionary. None of it is worth refusing a torrent for; where a
    /// key repeats, the first counts.
    fn read_outer_fields(&mut self, torrent: &[u8]) {
        let mut announce = None;
        let mut announce_list = None;
        let mut comment = None;
        let mut comment_utf8 = None;
        for (key, span) in bencode::dict_entries(torrent) {
            let value = &torrent[span.clone()];
            match key {
                b"announce" => announce = announce.or(Some(span)),
                b"announce-list" => announce_list = announce_list.or(Some(span)),
                b"comment" => comment = comment.or(Some(span)),
                b"comment.utf-8" => comment_utf8 = comment_utf8.or(Some(span)),
                b"created by" if self.created_by.is_none() => {
                    self.created_by = text(torrent, Some(span));
                }
                b"creation date" if self.creation_date.is_none() => {
                    self.creation_date = decode::<i128>(torrent, span)
                        .and_then(|seconds| u64::try_from(seconds).ok());
                }
                b"url-list" if self.web_seeds.is_empty() => self.web_seeds = read_urls(value),
                b"httpseeds" if self.http_seeds.is_empty() => self.http_seeds = read_urls(value),
                b"nodes" if self.nodes.is_empty() => self.nodes = read_nodes(value),
                _ => {}
            }
        }
        self.comment = text(torrent, comment_utf8.or(comment));
        self.trackers = announce_list.map_or_else(Vec::new, |span| read_tiers(&torrent[span]));
        if self.trackers.is_empty() {
            self.trackers = announce
                .and_then(|span| read_url(&torrent[span]))
                .map_or_else(Vec::new, |url| [[url].into()].into());
        }
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

/// What stands in a torrent about one file.
struct Draft {
    original_path: Range<usize>,
    length: u64,
    kind: FileKind,
    executable: bool,
    hidden: bool,
    index: usize,
}

impl Draft {
    fn new(
        index: usize,
        original_path: Range<usize>,
        length: Option<i128>,
        attr: Option<Str<'_>>,
    ) -> Result<Self, MetainfoError> {
        let has = |flag| attr.is_some_and(|attr| attr.0.contains(&flag));
        let kind = match (has(b'l'), has(b'p')) {
            (true, _) => FileKind::Symlink,
            (false, true) => FileKind::Pad,
            (false, false) => FileKind::Data,
        };
        let length = match (length, kind) {
            (Some(length), _) => length,
            (None, FileKind::Symlink) => 0,
            (None, FileKind::Data | FileKind::Pad) => {
                return Err(MetainfoError::NoLength { file: index });
            }
        };
        let length = i64::try_from(length).and_then(u64::try_from).map_err(|_| {
            MetainfoError::FileLength {
                file: index,
                length,
            }
        })?;
        if kind == FileKind::Symlink && length > 0 {
            return Err(MetainfoError::SymlinkWithData {
                file: index,
                length,
            });
        }
        Ok(Self {
            original_path,
            length,
            kind,
            executable: has(b'x'),
            hidden: has(b'h'),
            index,
        })
    }
}

/// An entry of the list of files. Unknown fields are skipped.
#[derive(Deserialize)]
struct RawFile<'a> {
    length: Option<i128>,
    #[serde(borrow)]
    path: Option<Vec<Str<'a>>>,
    #[serde(borrow, rename = "path.utf-8")]
    path_utf8: Option<Vec<Str<'a>>>,
    #[serde(borrow)]
    attr: Option<Str<'a>>,
}

/// The list of files at `span`, whose paths are made safe and distinct.
fn read_files(
    info: &[u8],
    span: Range<usize>,
    folder: &SafePath,
) -> Result<Vec<File>, MetainfoError> {
    let list = &info[span.clone()];
    if !list.starts_with(b"l") {
        return Err(MetainfoError::WrongType {
            field: "files",
            expected: "a list",
        });
    }
    let mut drafts = Vec::new();
    let mut paths = Vec::new();
    for (index, entry) in bencode::list_items(list).enumerate() {
        if index == limits::MAX_FILES {
            return Err(MetainfoError::TooManyFiles);
        }
        let (draft, path) = read_file(
            info,
            span.start + entry.start..span.start + entry.end,
            index,
        )?;
        paths.push((path, draft.kind == FileKind::Data));
        drafts.push(draft);
    }
    if drafts.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    resolve_collisions(&mut paths, Names::Portable);
    let mut files = Vec::with_capacity(drafts.len());
    for (draft, (path, _)) in drafts.into_iter().zip(paths) {
        let len = folder.as_str().len() + 1 + path.as_str().len();
        if len > limits::MAX_PATH_LEN {
            return Err(MetainfoError::PathTooLong {
                file: draft.index,
                len,
            });
        }
        push_file(&mut files, draft, path)?;
    }
    Ok(files)
}

fn read_file(
    info: &[u8],
    span: Range<usize>,
    index: usize,
) -> Result<(Draft, SafePath), MetainfoError> {
    let entry = &info[span.clone()];
    let malformed = |reason: String| MetainfoError::MalformedFile {
        file: index,
        reason,
    };
    // Serde would take a list for the fields in order.
    if !entry.starts_with(b"d") {
        return Err(malformed("not a dictionary".into()));
    }
    let raw: RawFile<'_> =
        bt_bencode::from_slice(entry).map_err(|error| malformed(error.to_string()))?;
    let utf8 = raw.path_utf8.filter(|path| {
        !path.is_empty() && path.iter().all(|name| core::str::from_utf8(name.0).is_ok())
    });
    let (key, path) = match utf8 {
        Some(path) => ("path.utf-8", path),
        None => ("path", raw.path.unwrap_or_default()),
    };
    let original_path = bencode::dict_value_span(entry, key.as_bytes())
        .filter(|_| !path.is_empty())
        .ok_or(MetainfoError::NoPath { file: index })?;
    if path.len() > limits::MAX_PATH_DEPTH {
        return Err(MetainfoError::PathTooDeep {
            file: index,
            depth: path.len(),
        });
    }
    let original_path = span.start + original_path.start..span.start + original_path.end;
    let draft = Draft::new(index, original_path, raw.length, raw.attr)?;
    let path = SafePath::from_untrusted(path.iter().map(|name| name.0));
    Ok((draft, path))
}

/// Puts a file behind those that are there.
fn push_file(files: &mut Vec<File>, draft: Draft, path: SafePath) -> Result<(), MetainfoError> {
    let offset = files.last().map_or(0, |last| last.offset + last.length);
    // Both are below 2^63, so that the sum is not past the end of a u64.
    if offset + draft.length > i64::MAX.unsigned_abs() {
        return Err(MetainfoError::TotalLength { file: draft.index });
    }
    files.push(File {
        path,
        original_path: draft.original_path,
        length: draft.length,
        offset,
        kind: draft.kind,
        executable: draft.executable,
        hidden: draft.hidden,
    });
    Ok(())
}

fn count_pieces(pieces: &[u8]) -> Result<u32, MetainfoError> {
    let (hashes, rest) = pieces.as_chunks::<20>();
    if !rest.is_empty() {
        return Err(MetainfoError::PieceHashes { len: pieces.len() });
    }
    u32::try_from(hashes.len())
        .ok()
        .filter(|&count| count <= limits::MAX_PIECES)
        .ok_or(MetainfoError::TooManyPieces {
            count: hashes.len(),
        })
}

/// Tiers of trackers: a list of lists of URLs, or, as some write it, of URLs.
fn read_tiers(list: &[u8]) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut tiers = Vec::new();
    for item in bencode::list_items(list) {
        let item = &list[item];
        let single = read_url(item).into_iter();
        let many = bencode::list_items(item).filter_map(|url| read_url(&item[url]));
        let mut tier = Vec::new();
        for url in single.chain(many) {
            if seen.len() == limits::MAX_TRACKERS {
                break;
            }
            if seen.insert(url.clone()) {
                tier.push(url);
            }
        }
        if !tier.is_empty() {
            tiers.push(tier);
        }
        if seen.len() == limits::MAX_TRACKERS {
            break;
        }
    }
    tiers
}

/// Web seeds: one URL, or a list of them.
fn read_urls(value: &[u8]) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let many = bencode::list_items(value).filter_map(|url| read_url(&value[url]));
    for url in read_url(value).into_iter().chain(many) {
        if urls.len() == limits::MAX_WEB_SEEDS {
            break;
        }
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

fn read_nodes(list: &[u8]) -> Vec<Node> {
    bencode::list_items(list)
        .filter_map(|node| {
            let (host, port) = decode::<(Str<'_>, u16)>(list, node)?;
            let host = clean_url(host.0)?;
            (port != 0).then_some(Node { host, port })
        })
        .take(limits::MAX_NODES)
        .collect()
}

fn read_url(value: &[u8]) -> Option<String> {
    clean_url(decode::<Str<'_>>(value, 0..value.len())?.0)
}

fn clean_url(url: &[u8]) -> Option<String> {
    let url = core::str::from_utf8(url).ok()?.trim();
    let usable =
        !url.is_empty() && url.len() <= limits::MAX_URL_LEN && !url.chars().any(char::is_control);
    usable.then(|| url.into())
}

fn text(bytes: &[u8], span: Option<Range<usize>>) -> Option<String> {
    let text = safe_text(decode::<Str<'_>>(bytes, span?)?.0, limits::MAX_TEXT_LEN);
    (!text.is_empty()).then_some(text)
}

fn integer(
    bytes: &[u8],
    span: Option<Range<usize>>,
    field: &'static str,
) -> Result<Option<i128>, MetainfoError> {
    span.map(|span| {
        decode(bytes, span).ok_or(MetainfoError::WrongType {
            field,
            expected: "an integer",
        })
    })
    .transpose()
}

fn required_string<'a>(
    bytes: &'a [u8],
    span: Option<Range<usize>>,
    field: &'static str,
) -> Result<&'a [u8], MetainfoError> {
    let span = span.ok_or(MetainfoError::MissingField { field })?;
    let string: Str<'a> = decode(bytes, span).ok_or(MetainfoError::WrongType {
        field,
        expected: "a string",
    })?;
    Ok(string.0)
}

fn is_utf8_string(bytes: &[u8], span: Range<usize>) -> bool {
    decode::<Str<'_>>(bytes, span).is_some_and(|string| core::str::from_utf8(string.0).is_ok())
}

/// The value at a span that has been scanned; `None` if it is of another type.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], span: Range<usize>) -> Option<T> {
    bt_bencode::from_slice(bytes.get(span)?).ok()
}

fn scan_dictionary(bytes: &[u8], what: &'static str) -> Result<(), MetainfoError> {
    if bytes.len() > limits::MAX_TORRENT_LEN {
        return Err(MetainfoError::TooLarge { len: bytes.len() });
    }
    bencode::scan_all(bytes, limits::BENCODE)?;
    if !bytes.starts_with(b"d") {
        return Err(MetainfoError::NotADictionary { what });
    }
    Ok(())
}

/// A bencoded string, borrowed. A plain `&[u8]` would take a value of any type, in its raw form.
#[derive(Clone, Copy)]
struct Str<'a>(&'a [u8]);

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrVisitor)
    }
}

struct StrVisitor;

impl<'de> de::Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Str<'de>, E> {
        Ok(Str(bytes))
    }
}

#[cfg(test)]
mod tests;
