//! Reading a torrent file (BEP 3), and the info dictionary in it.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use bytes::Bytes;

use super::{
    FileKind, Metainfo,
    beside::text,
    files::{Draft, is_usable, push_file, read_files, symlink_length},
};
use crate::bencode;
use crate::metainfo::{
    InfoHash, MetainfoError, Oddity, SafePath,
    fields::{Field, INTEGER, Str, decode},
    limits,
    oddity::Oddities,
    path::safe_component,
};

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
        let version = version.optional(&info, None, INTEGER, &mut oddities);
        if let Some(version) = version
            && !pieces.is_there()
        {
            return Err(MetainfoError::UnsupportedVersion { version });
        }

        let length_of_pieces: i128 = piece_length.needed(&info, None, INTEGER)?;
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
                FileKind::Data | FileKind::Pad => length.needed(&info, None, INTEGER)?,
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
