//! Bencode (BEP 3), written apart from the engine's so that one checks the other.

use std::collections::BTreeMap;
use std::ops::Range;

/// A bencoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Int(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary.
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl Value {
    /// A byte string from text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// A dictionary from its entries.
    #[must_use]
    pub fn dict<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let owned = entries.map(|(key, value)| (key.as_bytes().to_vec(), value));
        Self::Dict(BTreeMap::from(owned))
    }

    /// The value at a key, of a dictionary that has it.
    #[must_use]
    pub fn at(&self, key: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else {
            return None;
        };
        entries.get(key.as_bytes())
    }

    /// The integer, if it is one.
    #[must_use]
    pub const fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The byte string, if it is one.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self {
            Some(value)
        } else {
            None
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(values) = self {
            Some(values)
        } else {
            None
        }
    }

    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(value) => out.extend(format!("i{value}e").bytes()),
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_bytes(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend(bytes);
}

/// Reads one value at the start of `input`.
///
/// # Panics
///
/// When it is no bencode: the input comes from a tool that the suite relies on.
#[must_use]
pub fn decode(input: &[u8]) -> Value {
    Reader { input, at: 0 }.value()
}

/// Where the value of `key` stands in the dictionary that `input` is.
///
/// # Panics
///
/// When it is no dictionary.
#[must_use]
pub fn span(input: &[u8], key: &str) -> Option<Range<usize>> {
    let mut reader = Reader { input, at: 0 };
    assert_eq!(reader.take(), b'd', "no dictionary");
    while reader.peek() != b'e' {
        let found = reader.bytes() == key.as_bytes();
        let start = reader.at;
        let _ = reader.value();
        if found {
            return Some(start..reader.at);
        }
    }
    None
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Value {
        match self.peek() {
            b'i' => {
                self.at += 1;
                Value::Int(self.number(b'e'))
            }
            b'l' => {
                self.at += 1;
                let mut values = Vec::new();
                while self.peek() != b'e' {
                    values.push(self.value());
                }
                self.at += 1;
                Value::List(values)
            }
            b'd' => {
                self.at += 1;
                let mut entries = BTreeMap::new();
                while self.peek() != b'e' {
                    let key = self.bytes().to_vec();
                    entries.insert(key, self.value());
                }
                self.at += 1;
                Value::Dict(entries)
            }
            _ => Value::Bytes(self.bytes().to_vec()),
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.number(b':')).expect("the length of a string");
        let start = self.at;
        self.at += length;
        &self.input[start..self.at]
    }

    fn number(&mut self, end: u8) -> i64 {
        let start = self.at;
        while self.take() != end {}
        let digits = std::str::from_utf8(&self.input[start..self.at - 1]).expect("digits");
        digits.parse().expect("a number")
    }

    fn peek(&self) -> u8 {
        self.input[self.at]
    }

    fn take(&mut self) -> u8 {
        self.at += 1;
        self.input[self.at - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let value = Value::dict([
            (
                "list",
                Value::List(vec![Value::Int(-7), Value::text("spam")]),
            ),
            ("zero", Value::Int(0)),
        ]);
        assert_eq!(value.encode(), b"d4:listli-7e4:spame4:zeroi0ee");
        assert_eq!(decode(&value.encode()), value);
    }

    #[test]
    fn a_span_covers_the_value_alone() {
        let input = b"d1:ai1e4:infod1:xi2ee1:zi3ee";
        let range = span(input, "info").unwrap();
        assert_eq!(&input[range], b"d1:xi2ee");
        assert_eq!(span(input, "other"), None);
    }
}
