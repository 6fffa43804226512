//! Bencoding from strangers (BEP 3): looked over here before serde sees it.
//!
//! The bencode crate follows nesting by recursion and adds string lengths unchecked, so a few
//! hundred bytes could overflow its stack or its arithmetic. [`scan`] walks over a value without
//! recursion first; what passes can't do either. The loose types let one field of a strange type be
//! missing rather than spoil the whole message.

use alloc::vec::Vec;
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{BencodeFault, WireError};

/// Lists and dictionaries inside one another. The deepest message in use has four; a strange field may be
/// deeper, and does not cost the rest of its message. At most the bits of the masks in [`scan`], and the
/// bencode crate's recursion is as deep.
pub(super) const MAX_DEPTH: u32 = 100;

/// Values in one message: enough for thousands of peers as dictionaries.
pub(super) const MAX_TOKENS: u32 = 50_000;

/// Decodes the dictionary at the start of `input`. Bytes behind it are left alone: some senders
/// append a line end or (in metadata messages) raw data.
pub(super) fn decode<'a, T: Deserialize<'a>>(input: &'a [u8]) -> Result<T, WireError> {
    decode_prefix(input).map(|(value, _)| value)
}

/// The same, and where the dictionary ends.
pub(super) fn decode_prefix<'a, T: Deserialize<'a>>(
    input: &'a [u8],
) -> Result<(T, usize), WireError> {
    let end = scan(input)?;
    let value = input.get(..end).unwrap_or_default();
    if value.first() != Some(&b'd') {
        return Err(WireError::Shape);
    }
    let value = bt_bencode::from_slice(value).map_err(|_| WireError::Shape)?;
    Ok((value, end))
}

/// Encodes a value of ours, keys in order.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Cannot fail: writing to a Vec does not, and everything handed in here is structs and maps of
    // integers, strings and lists, all of which bencoding has; absent options are skipped.
    bt_bencode::to_vec(value).expect("integers, strings, lists and maps have a bencoding")
}

/// Looks over one value without recursion or allocation and returns where it ends.
fn scan(input: &[u8]) -> Result<usize, WireError> {
    let mut at = 0;
    let mut tokens = 0;
    let mut depth = 0;
    // One bit a level, the innermost lowest: whether it is a dictionary, and whether that wants a
    // key next.
    let mut dictionaries = 0_u128;
    let mut wants_key = 0_u128;
    loop {
        let fault = |fault| Err(WireError::Bencode { at, fault });
        let Some(&byte) = input.get(at) else {
            return fault(BencodeFault::Truncated);
        };
        let in_dictionary = depth > 0 && dictionaries & 1 == 1;
        let key_expected = in_dictionary && wants_key & 1 == 1;
        tokens += 1;
        if tokens > MAX_TOKENS {
            return fault(BencodeFault::Tokens);
        }
        match byte {
            b'0'..=b'9' => at = string_end(input, at)?,
            // A dictionary can't end between a key and its value, and only a string is a key.
            b'e' if depth > 0 && (key_expected || !in_dictionary) => {
                depth -= 1;
                dictionaries >>= 1;
                wants_key >>= 1;
                at += 1;
            }
            b'i' if !key_expected => at = integer_end(input, at)?,
            b'l' | b'd' if !key_expected => {
                if depth == MAX_DEPTH {
                    return fault(BencodeFault::Depth);
                }
                depth += 1;
                let dictionary = u128::from(byte == b'd');
                dictionaries = dictionaries << 1 | dictionary;
                wants_key = wants_key << 1 | dictionary;
                at += 1;
                continue;
            }
            _ => return fault(BencodeFault::Unexpected),
        }
        if depth == 0 {
            return Ok(at);
        }
        // A string, an integer or a whole container is complete: a key is followed by a value and
        // the other way.
        if dictionaries & 1 == 1 {
            wants_key ^= 1;
        }
    }
}

/// Where the string that starts at `start` ends.
pub(super) fn string_end(input: &[u8], start: usize) -> Result<usize, WireError> {
    let (len, colon) = digits(input, start)?;
    let fault = |fault| WireError::Bencode { at: start, fault };
    match input.get(colon) {
        Some(b':') => {}
        Some(_) => {
            return Err(WireError::Bencode {
                at: colon,
                fault: BencodeFault::Unexpected,
            });
        }
        None => return Err(fault(BencodeFault::Truncated)),
    }
    let len = usize::try_from(len).map_err(|_| fault(BencodeFault::Number))?;
    (colon + 1)
        .checked_add(len)
        .filter(|&end| end <= input.len())
        .ok_or(fault(BencodeFault::Truncated))
}

fn integer_end(input: &[u8], start: usize) -> Result<usize, WireError> {
    let negative = input.get(start + 1) == Some(&b'-');
    let (value, end) = digits(input, start + 1 + usize::from(negative))?;
    let fault = |fault| Err(WireError::Bencode { at: end, fault });
    match input.get(end) {
        Some(b'e') if negative && i64::try_from(value).is_err() => fault(BencodeFault::Number),
        Some(b'e') => Ok(end + 1),
        Some(_) => fault(BencodeFault::Unexpected),
        None => fault(BencodeFault::Truncated),
    }
}

/// The number that starts at `start` and the offset behind its last digit. Leading zeros are let
/// through: real trackers send them, and no hash is taken over these messages.
fn digits(input: &[u8], start: usize) -> Result<(u64, usize), WireError> {
    let mut value = 0_u64;
    let mut at = start;
    while let Some(digit) = input.get(at).filter(|byte| byte.is_ascii_digit()) {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(WireError::Bencode {
                at: start,
                fault: BencodeFault::Number,
            })?;
        at += 1;
    }
    if at == start {
        let fault = match input.get(at) {
            Some(_) => BencodeFault::Unexpected,
            None => BencodeFault::Truncated,
        };
        return Err(WireError::Bencode { at, fault });
    }
    Ok((value, at))
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
    use alloc::{string::String, vec};

    use quickcheck::quickcheck;

    use super::*;

    fn fault(input: &[u8]) -> BencodeFault {
        match scan(input) {
            Err(WireError::Bencode { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for value in [
            "i0e",
            "i-12e",
            "0:",
            "3:abc",
            "le",
            "de",
            "d1:ai1e1:bl1:ci2eee",
            "lld1:xleeee",
            "i18446744073709551615e",
        ] {
            assert_eq!(scan(value.as_bytes()), Ok(value.len()), "{value}");
            let mut longer = Vec::from(value);
            longer.extend_from_slice(b"\n trailing");
            assert_eq!(scan(&longer), Ok(value.len()), "{value}");
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
    fn malformed_values_are_refused() {
        for value in [
            "e", "ie", "i-e", "i1x", "1x", "di1ei2ee", "d1:ae", "x", "dlei1ee", "l-e",
        ] {
            assert_eq!(fault(value.as_bytes()), BencodeFault::Unexpected, "{value}");
        }
        for value in [
            "i18446744073709551616e",
            "i-9223372036854775808e",
            "99999999999999999999:",
        ] {
            assert_eq!(fault(value.as_bytes()), BencodeFault::Number, "{value}");
        }
        assert_eq!(fault(b"18446744073709551615:a"), BencodeFault::Truncated);
    }

    #[test]
    fn nesting_is_limited_exactly() {
        let depth = MAX_DEPTH as usize;
        let nested = |n: usize| "l".repeat(n) + &"e".repeat(n);
        assert_eq!(scan(nested(depth).as_bytes()), Ok(2 * depth));
        assert_eq!(fault(nested(depth + 1).as_bytes()), BencodeFault::Depth);
        assert_eq!(fault(&vec![b'l'; 1 << 20]), BencodeFault::Depth);
        assert_eq!(
            fault("d1:a".repeat(1 << 16).as_bytes()),
            BencodeFault::Depth
        );
    }

    #[test]
    fn the_number_of_values_is_limited() {
        let many = String::from("l") + &"i0e".repeat(MAX_TOKENS as usize) + "e";
        assert_eq!(fault(many.as_bytes()), BencodeFault::Tokens);
    }

    quickcheck! {
        fn what_passes_the_scan_is_bencoding(input: Vec<u8>) -> bool {
            // Drawn from bencoding's own alphabet, so that many inputs get far.
            let alphabet = b"dlei0123456789:-abde";
            let input: Vec<u8> =
                input.iter().map(|&byte| alphabet[byte as usize % alphabet.len()]).collect();
            match scan(&input) {
                Ok(end) => bt_bencode::from_slice::<bt_bencode::Value>(&input[..end]).is_ok(),
                Err(_) => true,
            }
        }
    }
}
