//! The fields of a torrent file (BEP 3), as they are met.
//!
//! What is needed is strict: a wrong type, or a key that is there twice, refuses the torrent, since two
//! programs could read two different torrents there. Anything else that is malformed counts as absent
//! and is noted as an [`Oddity`]; where it repeats, the first counts.
//! [`Metainfo::parse`](super::Metainfo::parse) says which fields are needed.

use core::{fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};

use super::{
    FileIndex, MetainfoError,
    error::EntryFault,
    oddity::{OddFiles, Oddities, Oddity},
};
use crate::bencode;

/// What a number has to be. Bencoding has no bound on its digits, and a longer one in a field that nobody
/// needs costs nobody anything.
pub(super) const INTEGER: &str = "an integer of 64 bits";

/// A field of a dictionary: where the value of its key is.
#[derive(Clone, Debug)]
pub(super) struct Field {
    key: &'static str,
    /// Of the first one, should the key repeat.
    span: Option<Range<usize>>,
    repeated: bool,
}

/// Whose entry in the list of files a field is in, if it is in one.
pub(super) type Owner = Option<FileIndex>;

impl Field {
    /// Looks for these keys in the dictionary that `bytes` start with, in one pass.
    pub(super) fn find<const N: usize>(bytes: &[u8], keys: [&'static str; N]) -> [Self; N] {
        let mut fields = keys.map(|key| Self {
            key,
            span: None,
            repeated: false,
        });
        for (found, span) in bencode::dict_entries(bytes) {
            let known = fields
                .iter_mut()
                .find(|field| field.key.as_bytes() == found);
            match known {
                Some(field) if field.span.is_none() => field.span = Some(span),
                Some(field) => field.repeated = true,
                None => {}
            }
        }
        fields
    }

    pub(super) fn is_there(&self) -> bool {
        self.span.is_some()
    }

    /// The place of a value that has to be there, and only once.
    pub(super) fn needed_span(&self, owner: Owner) -> Result<Range<usize>, MetainfoError> {
        let field = self.key;
        if self.repeated {
            return Err(match owner {
                None => MetainfoError::DuplicateField {
                    field: field.into(),
                },
                Some(file) => MetainfoError::MalformedFile {
                    file: file.as_usize(),
                    fault: EntryFault::Repeated { field },
                },
            });
        }
        self.span.clone().ok_or(match owner {
            None => MetainfoError::MissingField { field },
            Some(file) => MetainfoError::MalformedFile {
                file: file.as_usize(),
                fault: EntryFault::Missing { field },
            },
        })
    }

    /// A value that has to be there, only once, and of this type.
    pub(super) fn needed<'a, T: Deserialize<'a>>(
        &self,
        bytes: &'a [u8],
        owner: Owner,
        expected: &'static str,
    ) -> Result<T, MetainfoError> {
        let span = self.needed_span(owner)?;
        decode(bytes, span).ok_or_else(|| self.wrong_type(owner, expected))
    }

    pub(super) fn wrong_type(&self, owner: Owner, expected: &'static str) -> MetainfoError {
        let field = self.key;
        match owner {
            None => MetainfoError::WrongType { field, expected },
            Some(file) => MetainfoError::MalformedFile {
                file: file.as_usize(),
                fault: EntryFault::WrongType { field, expected },
            },
        }
    }

    /// The place of a value that need not be there, if it is one that `accepts`.
    pub(super) fn optional_span(
        &self,
        owner: Owner,
        expected: &'static str,
        oddities: &mut Oddities,
        accepts: impl FnOnce(Range<usize>) -> bool,
    ) -> Option<Range<usize>> {
        let span = self.span.clone()?;
        let field = self.key;
        let files = owner.map(OddFiles::one);
        if self.repeated {
            oddities.note(Oddity::Repeated { field, files });
        }
        if !accepts(span.clone()) {
            oddities.note(Oddity::Ignored {
                field,
                expected,
                files,
            });
            return None;
        }
        Some(span)
    }

    /// A value that need not be there; none if it is of another type.
    pub(super) fn optional<'a, T: Deserialize<'a>>(
        &self,
        bytes: &'a [u8],
        owner: Owner,
        expected: &'static str,
        oddities: &mut Oddities,
    ) -> Option<T> {
        let mut value = None;
        self.optional_span(owner, expected, oddities, |span| {
            value = decode(bytes, span);
            value.is_some()
        })?;
        value
    }
}

/// The value at a span that has been scanned; `None` if it is of another type.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], span: Range<usize>) -> Option<T> {
    bt_bencode::from_slice(bytes.get(span)?).ok()
}

/// A bencoded string, borrowed. A plain `&[u8]` would take a value of any type, in its raw form.
#[derive(Clone, Copy)]
pub(super) struct Str<'a>(pub(super) &'a [u8]);

impl Str<'_> {
    pub(super) fn is_utf8(&self) -> bool {
        core::str::from_utf8(self.0).is_ok()
    }
}

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
