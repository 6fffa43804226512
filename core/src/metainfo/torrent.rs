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
use serde::{Deserialize, Serialize};

use super::{
    FileIndex, InfoHash, MetainfoError, Oddity, PieceIndex, SafePath,
    error::EntryFault,
    fields::{Field, Str, decode},
    layout::piece_size,
    limits,
    oddity::{OddFiles, Oddities},
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
    oddities: Vec<Oddity>,
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: SafePath,
    /// The bencoded list of components, or the bencoded name of a single file, in `info`. Empty if there
    /// is none.
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

impl FileKind {
    fn of(attr: Option<Str<'_>>) -> Self {
        match (has(attr, b'l'), has(attr, b'p')) {
            (true, _) => Self::Symlink,
            (false, true) => Self::Pad,
            (false, false) => Self::Data,
        }
    }
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
    /// Hybrid torrents of version 1 and 2 are read as version 1. The info-hash is taken over the bytes of
    /// `info` as they stand.
    ///
    /// # What is needed
    ///
    /// `info`, and in it `name`, `piece length`, `pieces`, and either `length` or `files`; of each file
    /// its `length` and, if it has data to be created, its `path`. These have to be there once and be of
    /// the right type. A `name.utf-8` or `path.utf-8` in UTF-8, of which something is left when it is
    /// made safe, takes the place of the field without the suffix.
    ///
    /// Any other field that is malformed counts as absent, and is told by [`Metainfo::oddities`]; so is
    /// what follows the end of the torrent. A `private` in any other form than 0 counts as set.
    ///
    /// # Errors
    ///
    /// Whatever makes the torrent unusable, or is beyond [`limits`].
    pub fn parse(torrent: Bytes) -> Result<Self, MetainfoError> {
        let end = scan_dictionary(&torrent, "the torrent")?;
        let mut oddities = Oddities::default();
        if end < torrent.len() {
            let len = torrent.len() - end;
            oddities.note(Oddity::TrailingData { len });
        }
        let torrent = torrent.slice(..end);
        let [info] = Field::find(&torrent, ["info"]);
        let mut metainfo = Self::parse_info(torrent.slice(info.needed_span(None)?))?;
        metainfo.read_outer_fields(&torrent, &mut oddities);
        metainfo.oddities.splice(..0, oddities.into_vec());
        Ok(metainfo)
    }

    /// Reads an info dictionary alone, as peers send it (BEP 9). There is nothing beside it:
    /// trackers, web seeds and the like are empty.
    ///
    /// # Errors
    ///
    /// As [`Metainfo::parse`].
    pub fn from_info(info: Bytes) -> Result<Self, MetainfoError> {
        let end = scan_dictionary(&info, "info")?;
        // The info-hash is over all of it.
        if end < info.len() {
            return Err(bencode::Error::TrailingData { offset: end }.into());
        }
        Self::parse_info(info)
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
    /// name where that is a folder. They are not safe to create; the URLs of web seeds have them. None
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

    /// What is odd about the file that was read: a few entries at most, however many files have the
    /// same. None of it keeps the torrent from being used.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities
    }

    /// Of an info dictionary that has been scanned.
    fn parse_info(info: Bytes) -> Result<Self, MetainfoError> {
        if !info.starts_with(b"d") {
            return Err(MetainfoError::NotADictionary { what: "info" });
        }
        let mut oddities = Oddities::default();
        let [
            name,
            name_utf8,
            piece_length,
            pieces,
            length,
            files,
            attr,
            source,
            version,
        ] = Field::find(
            &info,
            [
                "name",
                "name.utf-8",
                "piece length",
                "pieces",
                "length",
                "files",
                "attr",
                "source",
                "meta version",
            ],
        );
        let version = version.optional(&info, None, "an integer", &mut oddities);
        if let Some(version) = version
            && !pieces.is_there()
        {
            return Err(MetainfoError::UnsupportedVersion { version });
        }

        let length_of_pieces: i128 = piece_length.needed(&info, None, "an integer")?;
        let piece_length = u32::try_from(length_of_pieces)
            .ok()
            .filter(|length| (1..=limits::MAX_PIECE_LENGTH).contains(length))
            .ok_or(MetainfoError::PieceLength {
                length: length_of_pieces,
            })?;
        let pieces: Str<'_> = pieces.needed(&info, None, "a string")?;
        // A part of `info`, or this would panic: it was decoded without a copy.
        let pieces = info.slice_ref(pieces.0);
        let piece_count = count_pieces(&pieces)?;

        let info_hash = InfoHash::of_info(&info);
        let usable = |span| decode::<Str<'_>>(&info, span).is_some_and(|name| is_usable(&name));
        let original_name =
            match name_utf8.optional_span(None, "a name in UTF-8", &mut oddities, usable) {
                Some(span) => span,
                None => name.needed_span(None)?,
            };
        let name = decode::<Str<'_>>(&info, original_name.clone())
            .ok_or_else(|| name.wrong_type(None, "a string"))?;
        let name = safe_component(&String::from_utf8_lossy(name.0))
            .unwrap_or_else(|| info_hash.to_string());
        let name = SafePath::from_untrusted([name.as_bytes()]);

        let multi_file = files.is_there();
        let files = if multi_file {
            read_files(&info, files.needed_span(None)?, &name, &mut oddities)?
        } else {
            let attr = attr.optional(&info, None, "a string", &mut oddities);
            let length = match FileKind::of(attr) {
                FileKind::Symlink => symlink_length(&info, &length, None, &mut oddities),
                FileKind::Data | FileKind::Pad => length.needed(&info, None, "an integer")?,
            };
            let mut files = Vec::new();
            let draft = Draft::new(0, original_name.clone(), length, attr)?;
            push_file(&mut files, draft, name.clone())?;
            files
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
            private: read_private(&info, &mut oddities),
            source: source
                .optional(&info, None, "a string", &mut oddities)
                .and_then(text),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            oddities: oddities.into_vec(),
            info,
        })
    }

    /// What is beside the info dictionary. None of it is needed.
    fn read_outer_fields(&mut self, torrent: &[u8], oddities: &mut Oddities) {
        let [
            announce,
            announce_list,
            comment,
            comment_utf8,
            created_by,
            creation_date,
            url_list,
            httpseeds,
            nodes,
        ] = Field::find(
            torrent,
            [
                "announce",
                "announce-list",
                "comment",
                "comment.utf-8",
                "created by",
                "creation date",
                "url-list",
                "httpseeds",
                "nodes",
            ],
        );
        let mut string = |field: &Field| {
            let string: Option<Str<'_>> = field.optional(torrent, None, "a string", oddities);
            string
        };
        let announce = string(&announce);
        let (comment, comment_utf8) = (string(&comment), string(&comment_utf8));
        self.comment = comment_utf8.and_then(text).or(comment.and_then(text));
        self.created_by = string(&created_by).and_then(text);
        let mut value = |field: &Field, starts: &[u8], expected| {
            let accepts = |span: Range<usize>| starts.contains(&torrent[span.start]);
            let span = field.optional_span(None, expected, oddities, accepts);
            span.map_or(&[][..], |span| &torrent[span])
        };
        let one_or_many = b"0123456789l";
        self.trackers = read_tiers(value(&announce_list, b"l", "a list"));
        self.web_seeds = read_urls(value(&url_list, one_or_many, "a string or a list"));
        self.http_seeds = read_urls(value(&httpseeds, one_or_many, "a string or a list"));
        self.nodes = read_nodes(value(&nodes, b"l", "a list"));
        let mut seconds = None;
        creation_date.optional_span(None, "a date since 1970", oddities, |span| {
            seconds = decode::<i128>(torrent, span).and_then(|date| u64::try_from(date).ok());
            seconds.is_some()
        });
        self.creation_date = seconds;
        if self.trackers.is_empty() {
            self.trackers = announce
                .and_then(|url| clean_url(url.0))
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
        length: i128,
        attr: Option<Str<'_>>,
    ) -> Result<Self, MetainfoError> {
        let length = i64::try_from(length).and_then(u64::try_from).map_err(|_| {
            MetainfoError::FileLength {
                file: index,
                length,
            }
        })?;
        Ok(Self {
            original_path,
            length,
            kind: FileKind::of(attr),
            executable: has(attr, b'x'),
            hidden: has(attr, b'h'),
            index,
        })
    }
}

fn has(attr: Option<Str<'_>>, flag: u8) -> bool {
    attr.is_some_and(|attr| attr.0.contains(&flag))
}

/// The list of files at `span`, whose paths are made safe and distinct.
fn read_files(
    info: &[u8],
    span: Range<usize>,
    folder: &SafePath,
    oddities: &mut Oddities,
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
            oddities,
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
    oddities: &mut Oddities,
) -> Result<(Draft, SafePath), MetainfoError> {
    let entry = &info[span.clone()];
    if !entry.starts_with(b"d") {
        return Err(MetainfoError::MalformedFile {
            file: index,
            fault: EntryFault::NotADictionary,
        });
    }
    // There are no more than `MAX_FILES`.
    let file = FileIndex::new(index as u32);
    let [length, path, path_utf8, attr] =
        Field::find(entry, ["length", "path", "path.utf-8", "attr"]);
    let attr = attr.optional(entry, Some(file), "a string", oddities);
    let kind = FileKind::of(attr);
    let length = match kind {
        FileKind::Symlink => symlink_length(entry, &length, Some(file), oddities),
        FileKind::Data | FileKind::Pad => length.needed(entry, Some(file), "an integer")?,
    };
    let found = read_path(entry, kind, &path, &path_utf8, file, oddities)?;
    let Some((original_path, components)) = found else {
        let draft = Draft::new(index, 0..0, length, attr)?;
        // As BEP 47 would have it named.
        let path = SafePath::from_untrusted([&b".pad"[..], draft.length.to_string().as_bytes()]);
        return Ok((draft, path));
    };
    if components.len() > limits::MAX_PATH_DEPTH {
        return Err(MetainfoError::PathTooDeep {
            file: index,
            depth: components.len(),
        });
    }
    let original_path = span.start + original_path.start..span.start + original_path.end;
    let draft = Draft::new(index, original_path, length, attr)?;
    let path = SafePath::from_untrusted(components.iter().map(|name| name.0));
    Ok((draft, path))
}

/// Where in its entry a file's path is, and its components.
type FoundPath<'a> = (Range<usize>, Vec<Str<'a>>);

/// The path of a file; none for one that is never created, if there is none that can be used.
fn read_path<'a>(
    entry: &'a [u8],
    kind: FileKind,
    path: &Field,
    path_utf8: &Field,
    file: FileIndex,
    oddities: &mut Oddities,
) -> Result<Option<FoundPath<'a>>, MetainfoError> {
    const PATH: &str = "a list of strings";
    let mut components: Vec<Str<'a>> = Vec::new();
    let utf8 = path_utf8.optional_span(Some(file), "a path in UTF-8", oddities, |span| {
        components = decode(entry, span).unwrap_or_default();
        components.iter().all(Str::is_utf8) && components.last().is_some_and(is_usable)
    });
    if let Some(span) = utf8 {
        return Ok(Some((span, components)));
    }
    match kind {
        FileKind::Data if path.is_there() => {
            components = path.needed(entry, Some(file), PATH)?;
            if !components.is_empty() {
                return Ok(Some((path.needed_span(Some(file))?, components)));
            }
        }
        FileKind::Data => {}
        FileKind::Pad | FileKind::Symlink => {
            let span = path.optional_span(Some(file), PATH, oddities, |span| {
                let found = decode(entry, span);
                components = found.clone().unwrap_or_default();
                found.is_some()
            });
            if let Some(span) = span
                && !components.is_empty()
            {
                return Ok(Some((span, components)));
            }
            let files = OddFiles::one(file);
            oddities.note(Oddity::NoPath { files });
            return Ok(None);
        }
    }
    Err(MetainfoError::NoPath {
        file: file.as_usize(),
    })
}

/// A symlink has no data, whatever it says.
fn symlink_length(
    bytes: &[u8],
    length: &Field,
    file: Option<FileIndex>,
    oddities: &mut Oddities,
) -> i128 {
    if length.is_there() && !matches!(length.needed(bytes, None, "an integer"), Ok(0_i128)) {
        let files = OddFiles::one(file.unwrap_or(FileIndex::new(0)));
        oddities.note(Oddity::SymlinkLength { files });
    }
    0
}

/// Whether something is left of a name in UTF-8 when it is made safe.
fn is_usable(name: &Str<'_>) -> bool {
    core::str::from_utf8(name.0).is_ok_and(|name| safe_component(name).is_some())
}

/// Whether the torrent is private (BEP 27). Whoever writes it meant it, whatever it looks like: all but
/// a 0 counts as set, and where it repeats, one that is set counts.
fn read_private(info: &[u8], oddities: &mut Oddities) -> bool {
    let mut is_set = false;
    let mut times = 0_usize;
    let values = bencode::dict_entries(info).filter(|(key, _)| *key == b"private");
    for (_, span) in values {
        let value: Option<i128> = decode(info, span);
        if !matches!(value, Some(0 | 1)) {
            oddities.note(Oddity::Private);
        }
        is_set |= value != Some(0);
        times += 1;
    }
    if times > 1 {
        oddities.note(Oddity::Repeated {
            field: "private",
            files: None,
        });
    }
    is_set
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

fn text(string: Str<'_>) -> Option<String> {
    let text = safe_text(string.0, limits::MAX_TEXT_LEN);
    (!text.is_empty()).then_some(text)
}

/// Checks what begins with a dictionary, and says where that ends.
fn scan_dictionary(bytes: &[u8], what: &'static str) -> Result<usize, MetainfoError> {
    if bytes.len() > limits::MAX_TORRENT_LEN {
        return Err(MetainfoError::TooLarge { len: bytes.len() });
    }
    let end = bencode::scan(bytes, limits::BENCODE)?;
    if !bytes.starts_with(b"d") {
        return Err(MetainfoError::NotADictionary { what });
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
