//! The files of a torrent (BEP 3), with their attributes (BEP 47).

use alloc::{string::ToString, vec::Vec};
use core::ops::Range;

use super::{File, FileKind};
use crate::bencode;
use crate::metainfo::{
    FileIndex, MetainfoError, Oddity, SafePath,
    error::EntryFault,
    fields::{Field, INTEGER, Str, decode},
    limits,
    oddity::{OddFiles, Oddities},
    path::{Names, resolve_collisions, safe_component},
};

impl FileKind {
    pub(super) fn of(attr: Option<Str<'_>>) -> Self {
        match (has(attr, b'l'), has(attr, b'p')) {
            (true, _) => Self::Symlink,
            (false, true) => Self::Pad,
            (false, false) => Self::Data,
        }
    }
}

/// What stands in a torrent about one file.
pub(super) struct Draft {
    original_path: Range<usize>,
    length: u64,
    kind: FileKind,
    executable: bool,
    hidden: bool,
    index: usize,
}

impl Draft {
    pub(super) fn new(
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
pub(super) fn read_files(
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
        FileKind::Data | FileKind::Pad => length.needed(entry, Some(file), INTEGER)?,
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
pub(super) fn symlink_length(
    bytes: &[u8],
    length: &Field,
    file: Option<FileIndex>,
    oddities: &mut Oddities,
) -> i128 {
    if length.is_there() && !matches!(length.needed(bytes, None, INTEGER), Ok(0_i128)) {
        let files = OddFiles::one(file.unwrap_or(FileIndex::new(0)));
        oddities.note(Oddity::SymlinkLength { files });
    }
    0
}

/// Whether something is left of a name in UTF-8 when it is made safe.
pub(super) fn is_usable(name: &Str<'_>) -> bool {
    core::str::from_utf8(name.0).is_ok_and(|name| safe_component(name).is_some())
}

/// Puts a file behind those that are there.
pub(super) fn push_file(
    files: &mut Vec<File>,
    draft: Draft,
    path: SafePath,
) -> Result<(), MetainfoError> {
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
