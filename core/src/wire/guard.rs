//! Messages in bencoding from strangers (BEP 3): [scanned](crate::bencode) before serde sees them.
//!
//! The loose types let one field of a strange type be missing rather than spoil the whole message.

use alloc::{borrow::Cow, vec::Vec};
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::WireError;
use crate::bencode::{self, Limits, Scanner};

/// A dictionary that has passed the scan.
pub(super) struct Scanned<'a> {
    value: Cow<'a, [u8]>,
    /// Where it ended in the input.
    pub(super) end: usize,
}

/// Looks over the dictionary at the start of `input`. Bytes behind it are left alone: some senders
/// append a line end or (in metadata messages) raw data. Numbers past 64 bits become the nearest that can
/// be read, so that the field that they are in decides what they are worth.
pub(super) fn scan(input: &[u8]) -> Result<Scanned<'_>, WireError> {
    let mut scanner = Scanner::new(Limits::MESSAGE);
    let end = scanner.scan(input)?;
    let value = input.get(..end).unwrap_or_default();
    if value.first() != Some(&b'd') {
        return Err(WireError::Shape);
    }
    let value = match scanner.has_wide_integers() {
        false => Cow::Borrowed(value),
        true => Cow::Owned(bencode::narrowed(value)),
    };
    Ok(Scanned { value, end })
}

impl Scanned<'_> {
    /// Decodes it.
    pub(super) fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, WireError> {
        bt_bencode::from_slice(&self.value).map_err(|_| WireError::Shape)
    }
}

/// Encodes a value of ours, keys in order.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Cannot fail: writing to a Vec does not, and everything handed in here is structs and maps of
    // integers, strings and lists, all of which bencoding has; absent options are skipped.
    bt_bencode::to_vec(value).expect("integers, strings, lists and maps have a bencoding")
}

/// An integer or a string; anything else is taken and forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Scalar<'a> {
    #[default]
    Other,
    /// Numbers past `i64` are cut to its largest.
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Scalar<'a> {
    pub(super) fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Bytes(_) | Self::Other => None,
        }
    }

    /// A count: negative ones are no answer, and what does not fit is as large as can be.
    pub(super) fn count(self) -> Option<u32> {
        let value = self.int().filter(|&value| value >= 0)?;
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }

    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Int(_) | Self::Other => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Scalar::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// Bytes that are written as a bencoded string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::wire::BencodeFault;

    fn fault(input: &[u8]) -> BencodeFault {
        match scan(input) {
            Err(WireError::Bencode { fault, .. }) => fault,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it passes"),
        }
    }

    #[test]
    fn a_message_ends_where_it_ends() {
        for value in ["de", "d1:ai1e1:bl1:ci2eee", "d1:ai99999999999999999999ee"] {
            for behind in ["", "\n", " trailing"] {
                let input = alloc::format!("{value}{behind}");
                let scanned = scan(input.as_bytes()).unwrap();
                assert_eq!(scanned.end, value.len(), "{input}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_refused_at_every_length() {
        let whole = b"d1:ai-1e1:bl3:cdei2eee";
        for end in 0..whole.len() {
            assert_eq!(fault(&whole[..end]), BencodeFault::Truncated, "{end}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_the_words_of_messages() {
        for value in [
            "e", "ie", "i-e", "i1x", "di1ei2ee", "d1:ae", "x", "dlei1ee", "l-e",
        ] {
            assert_eq!(fault(value.as_bytes()), BencodeFault::Unexpected, "{value}");
        }
        for value in ["1x", "99999999999999999999:"] {
            assert_eq!(fault(value.as_bytes()), BencodeFault::Length, "{value}");
        }
        assert_eq!(fault(b"18446744073709551615:a"), BencodeFault::Truncated);
        assert_eq!(fault(&[b'l'; 1000]), BencodeFault::Depth);
        let many = [b"l", &b"i0e".repeat(Limits::MESSAGE.tokens)[..]].concat();
        assert_eq!(fault(&many), BencodeFault::Tokens);
        assert!(matches!(scan(b"le"), Err(WireError::Shape)));
    }

    #[test]
    fn a_number_of_any_size_is_the_nearest_that_can_be_read() {
        let input = b"d1:ai99999999999999999999e1:bi-99999999999999999999e1:ci7ee";
        let scanned = scan(input).unwrap();
        let fields: BTreeMap<&str, Scalar<'_>> = scanned.decode().unwrap();
        let int = |key| fields[key].int();
        assert_eq!(int("a"), Some(i64::MAX));
        assert_eq!(int("b"), Some(-i64::MAX));
        assert_eq!(int("c"), Some(7));
    }
}
