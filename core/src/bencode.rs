//! Bencoding, BEP 3: the scan that everything bencoded passes before it is decoded.
//!
//! [`scan`] walks over the bytes once, without recursion and without allocating, and refuses what
//! is malformed, nested too deeply or made of too many tokens. Only then is it safe and cheap to
//! decode, since the bencode crate follows nesting by recursion, and adds string lengths unchecked: by
//! serde (`bt_bencode`), for which integers past 64 bits are [`narrowed`], or piecewise with [`dict_value_span`], [`dict_value_spans`],
//! [`dict_entries`] and [`list_items`], which give the places of values in the input. The raw
//! bytes matter where they are hashed or signed, as an info dictionary is.
//!
//! ```
//! use anabranch_core::bencode::{self, Limits};
//!
//! let reply = b"d8:intervali1800e5:peers6:\x7f\0\0\x01\x1a\xe1e";
//! bencode::scan_all(reply, Limits::MESSAGE)?;
//! let span = bencode::dict_value_span(reply, b"interval").expect("it is in there");
//! assert_eq!(&reply[span], b"i1800e");
//! # Ok::<(), bencode::Error>(())
//! ```

use alloc::vec::Vec;
use core::ops::Range;

use serde::de::DeserializeOwned;

/// The deepest nesting that [`scan`] can follow, whatever the [`Limits`] say.
pub const MAX_DEPTH: usize = 128;

/// What a [`scan`] lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many lists and dictionaries may be open at once; more than [`MAX_DEPTH`] counts as
    /// [`MAX_DEPTH`].
    pub depth: usize,
    /// How many strings, integers, openings and ends there may be.
    pub tokens: usize,
    /// Whether integers and string lengths may be padded with zeros (`i007e`, `03:abc`, `i-0e`).
    /// BEP 3 forbids it; files in the wild have it.
    pub leading_zeros: bool,
}

impl Limits {
    /// For one message of a protocol: a tracker's reply, an extension or DHT message.
    ///
    /// The largest honest one is a tracker's reply with some thousands of peers as dictionaries,
    /// at nine tokens a peer. The deepest in use has four levels; a strange field may be deeper, and does
    /// not cost the rest of its message. The decoder's recursion is as deep.
    pub const MESSAGE: Self = Self {
        depth: 100,
        tokens: 50_000,
        leading_zeros: true,
    };

    /// The iterators below stop at the end of the input in any case.
    const NONE: Self = Self {
        depth: MAX_DEPTH,
        tokens: usize::MAX,
        leading_zeros: true,
    };
}

/// Why a [`scan`] refused its input. Offsets are in bytes from the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside of a value.
    #[error("the bencoded data ends too early, at byte {offset}")]
    UnexpectedEnd {
        /// The length of the input.
        offset: usize,
    },
    /// A byte that starts no value.
    #[error("byte {byte:#04x} at {offset} starts no bencoded value")]
    UnexpectedByte {
        /// Where it is.
        offset: usize,
        /// What it is.
        byte: u8,
    },
    /// An integer that is malformed.
    #[error("malformed integer at byte {offset}")]
    InvalidInteger {
        /// Where it starts.
        offset: usize,
    },
    /// A string length that is malformed, or larger than an address.
    #[error("malformed string length at byte {offset}")]
    InvalidLength {
        /// Where it starts.
        offset: usize,
    },
    /// A string that promises more than the input has.
    #[error("the string at byte {offset} claims {length} bytes, more than there are")]
    StringTooLong {
        /// Where its length starts.
        offset: usize,
        /// How long it claims to be.
        length: usize,
    },
    /// A dictionary key that is not a string.
    #[error("the dictionary key at byte {offset} is not a string")]
    KeyNotString {
        /// Where it is.
        offset: usize,
    },
    /// A dictionary that ends after a key.
    #[error("the dictionary that ends at byte {offset} lacks its last value")]
    MissingValue {
        /// Where the dictionary ends.
        offset: usize,
    },
    /// More lists and dictionaries within each other than [`Limits::depth`].
    #[error("nested too deeply at byte {offset}")]
    TooDeep {
        /// Where the one too many starts.
        offset: usize,
    },
    /// More tokens than [`Limits::tokens`].
    #[error("too many values, up to byte {offset}")]
    TooManyTokens {
        /// Where the one too many starts.
        offset: usize,
    },
    /// Something follows the value.
    #[error("data follows the bencoded value, at byte {offset}")]
    TrailingData {
        /// Where the value ends.
        offset: usize,
    },
}

impl Error {
    /// Whether more bytes behind those that are there could make it good.
    #[must_use]
    pub fn is_incomplete(self) -> bool {
        matches!(
            self,
            Self::UnexpectedEnd { .. } | Self::StringTooLong { .. }
        )
    }
}

/// Checks the one value that `bytes` starts with, and returns where it ends.
///
/// Dictionary keys may be in any order and may repeat, and integers may have any number of digits. The
/// time is linear in the length of the value, strings are skipped, and nothing is allocated.
///
/// # Errors
///
/// The first thing found that is malformed or beyond `limits`.
pub fn scan(bytes: &[u8], limits: Limits) -> Result<usize, Error> {
    Scanner::new(limits).scan(bytes)
}

/// A [`scan`] that can go on where the input ended: for bytes that are still coming in.
///
/// ```
/// use anabranch_core::bencode::{Limits, Scanner};
///
/// let mut scanner = Scanner::new(Limits::MESSAGE);
/// let error = scanner.scan(b"d1:ai1e1:").expect_err("there is more to come");
/// assert!(error.is_incomplete());
/// assert_eq!(scanner.scan(b"d1:ai1e1:bi2ee\r\n"), Ok(14));
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: Limits,
    /// Where the next token starts.
    pos: usize,
    tokens: usize,
    depth: usize,
    /// Bit 0 stands for the innermost open container: a dictionary if it is set, else a list.
    dicts: u128,
    key_is_next: bool,
    has_wide_integers: bool,
}

impl Scanner {
    /// A scan of one value.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pos: 0,
            tokens: 0,
            depth: 0,
            dicts: 0,
            key_is_next: false,
            has_wide_integers: false,
        }
    }

    /// Goes on with the scan of `bytes`, and returns where the value ends. After an error that
    /// [is incomplete](Error::is_incomplete) it may be called again, with the same bytes and more behind
    /// them; what was seen before is not looked at again, but for a token that was cut.
    ///
    /// # Errors
    ///
    /// As [`scan`].
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let max_depth = self.limits.depth.min(MAX_DEPTH);
        loop {
            let offset = self.pos;
            let byte = *bytes.get(offset).ok_or(Error::UnexpectedEnd { offset })?;
            if self.tokens == self.limits.tokens {
                return Err(Error::TooManyTokens { offset });
            }
            match byte {
                b'0'..=b'9' => {
                    self.pos = string_at(bytes, offset, self.limits)?.end;
                    if self.key_is_next {
                        self.tokens += 1;
                        self.key_is_next = false;
                        continue;
                    }
                }
                b'e' if self.depth > 0 => {
                    if self.dicts & 1 == 1 && !self.key_is_next {
                        return Err(Error::MissingValue { offset });
                    }
                    self.pos += 1;
                    self.depth -= 1;
                    self.dicts >>= 1;
                }
                byte if self.key_is_next => {
                    return Err(match byte {
                        b'i' | b'l' | b'd' => Error::KeyNotString { offset },
                        byte => Error::UnexpectedByte { offset, byte },
                    });
                }
                b'i' => {
                    let integer = integer_at(bytes, offset, self.limits)?;
                    self.has_wide_integers |= is_wide(bytes.get(integer.clone()));
                    self.pos = integer.end + 1;
                }
                b'l' | b'd' => {
                    if self.depth == max_depth {
                        return Err(Error::TooDeep { offset });
                    }
                    self.tokens += 1;
                    self.pos += 1;
                    self.depth += 1;
                    self.key_is_next = byte == b'd';
                    self.dicts = self.dicts << 1 | u128::from(self.key_is_next);
                    continue;
                }
                byte => return Err(Error::UnexpectedByte { offset, byte }),
            }
            self.tokens += 1;
            // A value is complete; in a dictionary, a key follows a value.
            if self.depth == 0 {
                return Ok(self.pos);
            }
            self.key_is_next = self.dicts & 1 == 1;
        }
    }

    /// Whether integers were seen that the decoder has no type for: those outside of
    /// -(2^63 - 1) ..= 2^64 - 1. [`narrowed`] is for them.
    #[must_use]
    pub fn has_wide_integers(&self) -> bool {
        self.has_wide_integers
    }
}

/// The value that `bytes` are, with integers that the decoder has no type for replaced by the nearest
/// that it has. So whatever field they are in, it decides for itself, and costs none of the others.
///
/// For bytes that a [`scan`] has passed; of others, what comes is unspecified.
#[must_use]
pub fn narrowed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut pos = 0;
    while let Some(byte) = bytes.get(pos) {
        let end = match byte {
            b'0'..=b'9' => string_at(bytes, pos, Limits::NONE).map(|content| content.end),
            b'i' => integer_at(bytes, pos, Limits::NONE).map(|integer| integer.end + 1),
            _ => Ok(pos + 1),
        };
        let Some(token) = end.ok().and_then(|end| bytes.get(pos..end)) else {
            break;
        };
        let integer = token.strip_prefix(b"i").and_then(|rest| rest.split_last());
        out.extend_from_slice(match integer {
            Some((_, integer)) => nearest(integer).unwrap_or(token),
            None => token,
        });
        pos += token.len();
    }
    out
}

/// The integer, bencoded, that takes the place of one that the decoder has no type for.
pub(crate) fn nearest(integer: &[u8]) -> Option<&'static [u8]> {
    is_wide(Some(integer)).then_some(match integer.first() {
        Some(b'-') => b"i-9223372036854775807e",
        _ => b"i18446744073709551615e",
    })
}

/// Whether digits, perhaps with a sign, make a number that the decoder has no type for.
fn is_wide(integer: Option<&[u8]>) -> bool {
    /// What fits in any case.
    const SHORT: usize = 18;
    let Some(integer) = integer.filter(|integer| integer.len() > SHORT) else {
        return false;
    };
    let (digits, most) = match integer.strip_prefix(b"-") {
        Some(digits) => (digits, i64::MAX.unsigned_abs()),
        None => (integer, u64::MAX),
    };
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        value.checked_mul(10)?.checked_add(digit)
    });
    value.is_none_or(|value| value > most)
}

/// What comes behind a byte order mark and white space, which scripts print in front of what they mean.
#[must_use]
pub fn trim_start(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        let without = rest.trim_ascii_start();
        let without = without.strip_prefix(b"\xef\xbb\xbf").unwrap_or(without);
        if without.len() == rest.len() {
            return rest;
        }
        rest = without;
    }
}

/// Decodes the one value that `bytes` are, once it has passed a [`scan`]. `None` if it does not, or is of
/// another type.
#[must_use]
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Option<T> {
    let mut scanner = Scanner::new(limits);
    if scanner.scan(bytes).ok()? < bytes.len() {
        return None;
    }
    match scanner.has_wide_integers() {
        false => bt_bencode::from_slice(bytes).ok(),
        true => bt_bencode::from_slice(&narrowed(bytes)).ok(),
    }
}

/// Checks that `bytes` are one value and nothing else.
///
/// # Errors
///
/// As [`scan`], and [`Error::TrailingData`].
pub fn scan_all(bytes: &[u8], limits: Limits) -> Result<(), Error> {
    let end = scan(bytes, limits)?;
    if end < bytes.len() {
        return Err(Error::TrailingData { offset: end });
    }
    Ok(())
}

/// Where the value of `key` is in the dictionary that `bytes` start with: the first one, should
/// the key repeat. `None` if there is no such key, or no dictionary.
#[must_use]
pub fn dict_value_span(bytes: &[u8], key: &[u8]) -> Option<Range<usize>> {
    dict_entries(bytes).find_map(|(found, span)| (found == key).then_some(span))
}

/// Where the values of several keys are in the dictionary that `bytes` start with, in the order
/// of `keys` and in one pass.
///
/// # Errors
///
/// A key that the dictionary has more than once, of those asked for: which value counts is not
/// defined, and two programs could choose differently.
pub fn dict_value_spans<'k, const N: usize>(
    bytes: &[u8],
    keys: [&'k str; N],
) -> Result<[Option<Range<usize>>; N], DuplicateKey<'k>> {
    let mut spans = [const { None }; N];
    for (found, span) in dict_entries(bytes) {
        for (key, slot) in keys.iter().zip(&mut spans) {
            if key.as_bytes() == found && slot.replace(span.clone()).is_some() {
                return Err(DuplicateKey(key));
            }
        }
    }
    Ok(spans)
}

/// The dictionary has this key more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dictionary has the key {0:?} more than once")]
pub struct DuplicateKey<'k>(pub &'k str);

/// The entries of the dictionary that `bytes` start with, as they stand: each key, and where its
/// value is. Empty if it is no dictionary; ends early where the data is malformed.
#[must_use]
pub fn dict_entries(bytes: &[u8]) -> DictEntries<'_> {
    DictEntries(Cursor::inside(bytes, b'd'))
}

/// Where the items of the list that `bytes` start with are. Empty if it is no list; ends early
/// where the data is malformed.
#[must_use]
pub fn list_items(bytes: &[u8]) -> ListItems<'_> {
    ListItems(Cursor::inside(bytes, b'l'))
}

/// What [`dict_entries`] returns.
#[derive(Clone, Debug)]
pub struct DictEntries<'a>(Cursor<'a>);

impl<'a> Iterator for DictEntries<'a> {
    type Item = (&'a [u8], Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let cursor = &mut self.0;
        let key = string_at(cursor.bytes, cursor.pos, Limits::NONE).ok()?;
        cursor.pos = key.end;
        Some((cursor.bytes.get(key)?, cursor.next_value()?))
    }
}

/// What [`list_items`] returns.
#[derive(Clone, Debug)]
pub struct ListItems<'a>(Cursor<'a>);

impl Iterator for ListItems<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_value()
    }
}

#[derive(Clone, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    fn inside(bytes: &'a [u8], opening: u8) -> Self {
        let bytes = if bytes.first() == Some(&opening) {
            bytes
        } else {
            &[]
        };
        Self { bytes, pos: 1 }
    }

    /// `None` at the `e` of the container, which starts no value.
    fn next_value(&mut self) -> Option<Range<usize>> {
        let len = scan(self.bytes.get(self.pos..)?, Limits::NONE).ok()?;
        let start = self.pos;
        self.pos += len;
        Some(start..self.pos)
    }
}

/// The content of the string whose length starts at `start`.
fn string_at(bytes: &[u8], start: usize, limits: Limits) -> Result<Range<usize>, Error> {
    let invalid = Error::InvalidLength { offset: start };
    let (length, colon) = digits(bytes, start, limits).ok_or(invalid)?;
    let length = usize::try_from(length).map_err(|_| invalid)?;
    match bytes.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(invalid),
        None => return Err(Error::UnexpectedEnd { offset: colon }),
    }
    let content = colon + 1;
    let end = content
        .checked_add(length)
        .filter(|&end| end <= bytes.len())
        .ok_or(Error::StringTooLong {
            offset: start,
            length,
        })?;
    Ok(content..end)
}

/// Where the string ends whose length starts at `start`; `None` if it is malformed or cut.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    string_at(bytes, start, Limits::NONE)
        .ok()
        .map(|content| content.end)
}

/// The integer whose `i` is at `start`: its digits, with a sign if it has one. What follows is an `e`.
fn integer_at(bytes: &[u8], start: usize, limits: Limits) -> Result<Range<usize>, Error> {
    let invalid = Error::InvalidInteger { offset: start };
    let is_negative = bytes.get(start + 1) == Some(&b'-');
    let first = start + 1 + usize::from(is_negative);
    let mut end = first;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    match bytes.get(end) {
        Some(b'e') if end > first => {}
        Some(_) => return Err(invalid),
        None => return Err(Error::UnexpectedEnd { offset: end }),
    }
    let is_padded = bytes.get(first) == Some(&b'0') && (is_negative || end - first > 1);
    if is_padded && !limits.leading_zeros {
        return Err(invalid);
    }
    Ok(start + 1..end)
}

/// The number at `start`, of at least one digit, and where it ends.
fn digits(bytes: &[u8], start: usize, limits: Limits) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    let mut pos = start;
    while let Some(&digit @ b'0'..=b'9') = bytes.get(pos) {
        value = value
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
        pos += 1;
    }
    let padded = pos - start > 1 && bytes.get(start) == Some(&b'0');
    (pos > start && (limits.leading_zeros || !padded)).then_some((value, pos))
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use quickcheck::quickcheck;

    use super::*;

    const STRICT: Limits = Limits {
        depth: 4,
        tokens: 20,
        leading_zeros: false,
    };

    fn nested(depth: usize) -> Vec<u8> {
        [vec![b'l'; depth], vec![b'e'; depth]].concat()
    }

    #[test]
    fn well_formed_values_pass_whole() {
        for bytes in [
            &b"0:"[..],
            b"4:spam",
            b"i0e",
            b"i-42e",
            b"i18446744073709551615e",
            b"i-9223372036854775807e",
            b"i18446744073709551616e",
            b"i-9223372036854775808e",
            b"i-99999999999999999999999999999999999999999999999999999999999999999999999999e",
            b"le",
            b"de",
            b"d1:ai1e1:bl1:xdeee",
            b"d1:bi1e1:ai1ee",
        ] {
            assert_eq!(scan_all(bytes, STRICT), Ok(()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn malformed_values_say_where_and_why() {
        for (bytes, error) in [
            (&b""[..], Error::UnexpectedEnd { offset: 0 }),
            (b"l", Error::UnexpectedEnd { offset: 1 }),
            (b"i12", Error::UnexpectedEnd { offset: 3 }),
            (b"i", Error::UnexpectedEnd { offset: 1 }),
            (b"i-", Error::UnexpectedEnd { offset: 2 }),
            (b"3", Error::UnexpectedEnd { offset: 1 }),
            (b"ie", Error::InvalidInteger { offset: 0 }),
            (b"i-e", Error::InvalidInteger { offset: 0 }),
            (b"i+1e", Error::InvalidInteger { offset: 0 }),
            (b"i1.5e", Error::InvalidInteger { offset: 0 }),
            (b"i-0e", Error::InvalidInteger { offset: 0 }),
            (b"i03e", Error::InvalidInteger { offset: 0 }),
            (b"03:abc", Error::InvalidLength { offset: 0 }),
            (b"3-abc", Error::InvalidLength { offset: 0 }),
            (b"99999999999999999999:", Error::InvalidLength { offset: 0 }),
            (
                b"l5:abce",
                Error::StringTooLong {
                    offset: 1,
                    length: 5,
                },
            ),
            (b"di1ei2ee", Error::KeyNotString { offset: 1 }),
            (b"dlei2ee", Error::KeyNotString { offset: 1 }),
            (b"d1:ae", Error::MissingValue { offset: 4 }),
            (b"d1:ai1ei2ee", Error::KeyNotString { offset: 7 }),
            (
                b"dx",
                Error::UnexpectedByte {
                    offset: 1,
                    byte: b'x',
                },
            ),
            (
                b"e",
                Error::UnexpectedByte {
                    offset: 0,
                    byte: b'e',
                },
            ),
            (b"i1ei2e", Error::TrailingData { offset: 3 }),
            (b"llllleeeee", Error::TooDeep { offset: 4 }),
        ] {
            assert_eq!(
                scan_all(bytes, STRICT),
                Err(error),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn a_string_length_near_the_address_limit_does_not_wrap() {
        let bytes = alloc::format!("{}:x", usize::MAX);
        assert_eq!(
            scan(bytes.as_bytes(), STRICT),
            Err(Error::StringTooLong {
                offset: 0,
                length: usize::MAX
            })
        );
    }

    #[test]
    fn padding_zeros_pass_when_tolerated() {
        for bytes in [&b"i007e"[..], b"i-0e", b"i-07e", b"003:abc"] {
            assert_eq!(scan_all(bytes, Limits::MESSAGE), Ok(()));
            assert!(scan_all(bytes, STRICT).is_err());
        }
    }

    #[test]
    fn nesting_is_cut_at_the_limit_and_never_past_the_maximum() {
        let limits = |depth| Limits {
            depth,
            ..Limits::NONE
        };
        assert_eq!(scan_all(&nested(100), limits(100)), Ok(()));
        assert_eq!(
            scan_all(&nested(101), limits(100)),
            Err(Error::TooDeep { offset: 100 })
        );
        assert_eq!(scan_all(&nested(MAX_DEPTH), limits(1000)), Ok(()));
        assert_eq!(
            scan_all(&nested(1_000_000), limits(usize::MAX)),
            Err(Error::TooDeep { offset: MAX_DEPTH })
        );
    }

    #[test]
    fn containers_of_both_kinds_keep_their_kind_at_any_depth() {
        // A dictionary inside of a list inside of a dictionary: after each end the scan has to
        // know again whether a key or a value is due.
        assert_eq!(scan_all(b"d1:ald1:bleei5ee1:ci1ee", STRICT), Ok(()));
        assert_eq!(
            scan_all(b"d1:ald1:bleei5eei1ee", STRICT),
            Err(Error::KeyNotString { offset: 16 })
        );
    }

    #[test]
    fn tokens_are_counted_with_ends() {
        let limits = |tokens| Limits { tokens, ..STRICT };
        assert_eq!(scan(b"li1ei2ee", limits(4)), Ok(8));
        assert_eq!(
            scan(b"li1ei2ee", limits(3)),
            Err(Error::TooManyTokens { offset: 7 })
        );
    }

    #[test]
    fn what_follows_a_value_is_left_to_the_caller() {
        assert_eq!(scan(b"d8:msg_typei1eeDATA", STRICT), Ok(15));
    }

    #[test]
    fn spans_point_at_the_raw_values() {
        let bytes = b"d4:infod1:xi1ee4:listl1:a2:bbe1:zi-3ee";
        assert_eq!(
            &bytes[dict_value_span(bytes, b"info").unwrap()],
            b"d1:xi1ee"
        );
        assert_eq!(&bytes[dict_value_span(bytes, b"z").unwrap()], b"i-3e");
        assert_eq!(dict_value_span(bytes, b"x"), None);
        let list = &bytes[dict_value_span(bytes, b"list").unwrap()];
        let items: Vec<&[u8]> = list_items(list).map(|span| &list[span]).collect();
        assert_eq!(items, [&b"1:a"[..], b"2:bb"]);
        let keys: Vec<&[u8]> = dict_entries(bytes).map(|(key, _)| key).collect();
        assert_eq!(keys, [&b"info"[..], b"list", b"z"]);
    }

    #[test]
    fn a_key_that_repeats_is_an_error_only_if_it_is_asked_for() {
        let bytes = b"d1:ai1e1:bi2e1:ai3ee";
        assert_eq!(dict_value_spans(bytes, ["a"]), Err(DuplicateKey("a")));
        assert_eq!(
            dict_value_spans(bytes, ["b", "c"]),
            Ok([Some(10..13), None])
        );
        assert_eq!(dict_value_span(bytes, b"a"), Some(4..7));
    }

    #[test]
    fn iterators_over_something_else_are_empty() {
        for bytes in [&b""[..], b"i1e", b"3:abc"] {
            assert_eq!(dict_entries(bytes).count(), 0);
            assert_eq!(list_items(bytes).count(), 0);
        }
        assert_eq!(dict_entries(b"l1:ae").count(), 0);
        assert_eq!(list_items(b"d1:a1:be").count(), 0);
        assert_eq!(list_items(b"li1ei2x").count(), 1);
    }

    #[test]
    fn integers_past_64_bits_become_the_nearest_that_can_be_decoded() {
        for (bytes, expected) in [
            ("i18446744073709551615e", None),
            ("i-9223372036854775807e", None),
            ("i000000000000000000000000007e", None),
            ("i18446744073709551616e", Some("i18446744073709551615e")),
            ("i-9223372036854775808e", Some("i-9223372036854775807e")),
            (
                "d1:ali99999999999999999999999999e3:i9ee1:bi-99999999999999999999e1:ci5ee",
                Some("d1:ali18446744073709551615e3:i9ee1:bi-9223372036854775807e1:ci5ee"),
            ),
        ] {
            let mut scanner = Scanner::new(Limits::MESSAGE);
            assert_eq!(scanner.scan(bytes.as_bytes()), Ok(bytes.len()));
            assert_eq!(scanner.has_wide_integers(), expected.is_some(), "{bytes}");
            let better = narrowed(bytes.as_bytes());
            assert_eq!(better, expected.unwrap_or(bytes).as_bytes());
        }
        let many = alloc::format!("li{}e4:spame", "9".repeat(100_000));
        let decoded: Option<(u64, bt_bencode::ByteString)> =
            decode(many.as_bytes(), Limits::MESSAGE);
        assert_eq!(decoded.map(|(number, _)| number), Some(u64::MAX));
    }

    #[test]
    fn what_is_decoded_has_passed_the_scan() {
        let read = |bytes: &[u8]| decode::<Vec<u8>>(bytes, STRICT);
        assert_eq!(read(b"li1ei2ee"), Some(vec![1, 2]));
        for bytes in [
            &b"li1ei2eex"[..],
            b"li1e",
            b"l1:xe",
            b"99999999999999999999:",
        ] {
            assert_eq!(read(bytes), None);
        }
        assert_eq!(read(&vec![b'l'; 1 << 20]), None);
    }

    #[test]
    fn a_byte_order_mark_and_white_space_in_front_are_passed_over() {
        for front in ["", "\u{feff}", "\r\n", " \u{feff}\t\u{feff}\n"] {
            assert_eq!(trim_start(alloc::format!("{front}d").as_bytes()), b"d");
        }
        assert_eq!(trim_start(b"\xef\xbbd"), b"\xef\xbbd");
    }

    #[test]
    fn the_limits_of_messages_are_exact() {
        let depth = Limits::MESSAGE.depth;
        assert_eq!(scan(&nested(depth), Limits::MESSAGE), Ok(2 * depth));
        for bomb in [
            nested(depth + 1),
            vec![b'l'; 1 << 20],
            b"d1:a".repeat(1 << 16),
        ] {
            let error = scan(&bomb, Limits::MESSAGE).unwrap_err();
            assert!(matches!(error, Error::TooDeep { .. }), "{error}");
        }
        let many = [b"l", &b"i0e".repeat(Limits::MESSAGE.tokens)[..], b"e"].concat();
        let error = scan(&many, Limits::MESSAGE).unwrap_err();
        assert!(matches!(error, Error::TooManyTokens { .. }), "{error}");
    }

    quickcheck! {
        fn a_scan_goes_on_where_the_input_ended(picks: Vec<u8>, steps: Vec<u8>) -> bool {
            let parts = ["d", "l", "e", "e", "1:a", "12:aaaaaaaaaaaa", "i-12e", "i7", "x"];
            let bytes: Vec<u8> = picks
                .iter()
                .flat_map(|pick| parts[usize::from(*pick) % parts.len()].bytes())
                .collect();
            let mut scanner = Scanner::new(STRICT);
            let mut end = 0;
            for step in steps {
                end = (end + usize::from(step) % 5).min(bytes.len());
                match scanner.scan(&bytes[..end]) {
                    Err(error) if error.is_incomplete() => {}
                    result => return result == scan(&bytes, STRICT),
                }
            }
            scanner.scan(&bytes) == scan(&bytes, STRICT)
        }

        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) -> bool {
            let _ = scan_all(&bytes, STRICT);
            let items = list_items(&bytes).chain(dict_entries(&bytes).map(|(_, span)| span));
            items.into_iter().all(|span| bytes.get(span).is_some())
        }

        fn bytes_of_the_alphabet_scan_as_they_decode(picks: Vec<u8>) -> bool {
            let bytes: Vec<u8> = picks
                .iter()
                .map(|pick| b"dlie0123:-"[usize::from(*pick) % 10])
                .collect();
            // What passes here decodes there; what the decoder refuses must have been refused.
            scan_all(&bytes, Limits::NONE).is_err()
                || decode::<bt_bencode::Value>(&bytes, Limits::NONE).is_some()
        }
    }
}
