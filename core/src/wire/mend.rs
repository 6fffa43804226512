//! BEP 3: a tracker's reply as it is met, in the bencoding that it was meant to be.
//!
//! Scripts print a byte order mark or a line end in front of it, write a key twice, and numbers that no
//! integer holds. None of that leaves a doubt about the rest, and no hash is taken over a reply, so it is
//! put right here, in one walk without recursion; what is malformed otherwise stays as it is, for
//! [`guard`](super::guard) to refuse.

use alloc::{borrow::Cow, collections::BTreeSet, vec::Vec};

use crate::bencode::{self, Limits};

/// Bytes of a number that is none, such as one with a fraction.
const MAX_NUMBER: usize = 64;

/// What a number that is none becomes: every reader takes it for a field of a strange type.
const NOTHING: &[u8] = b"le";

/// A reply without what stands in front of it, with each key of a dictionary once and numbers within
/// 64 bits. Of a key that is there twice the first counts.
///
/// While this runs it holds a reference to each key, of which there are at most those of
/// [`Limits::MESSAGE`]: some 2 MiB. The result, if anything had to be put right, is no longer than the reply.
pub(super) fn mended(reply: &[u8]) -> Cow<'_, [u8]> {
    let bencoding = bencode::trim_start(reply);
    let mut mender = Mender {
        input: bencoding,
        copied: 0,
        output: Vec::new(),
    };
    match mender.walk() {
        Some(end) if mender.copied > 0 => {
            mender.replace(end, end, b"");
            Cow::Owned(mender.output)
        }
        Some(_) | None => Cow::Borrowed(bencoding),
    }
}

/// A list or a dictionary that has begun.
enum Level<'a> {
    List,
    Dictionary {
        keys: BTreeSet<&'a [u8]>,
        /// The last key, if its value is still to come, and where it begins if it is there again.
        value_of: Option<Key>,
    },
}

#[derive(Clone, Copy)]
enum Key {
    First,
    Again { at: usize },
}

struct Mender<'a> {
    input: &'a [u8],
    /// The input in front of this offset is in the output, as far as it is meant to be.
    copied: usize,
    output: Vec<u8>,
}

impl<'a> Mender<'a> {
    /// Walks over one value and returns where it ends; `None` where it is malformed.
    fn walk(&mut self) -> Option<usize> {
        let mut at = 0;
        let mut levels: Vec<Level<'a>> = Vec::new();
        // How many levels there are outside of a value that is left out.
        let mut left_out: Option<usize> = None;
        for _ in 0..Limits::MESSAGE.tokens {
            let byte = *self.input.get(at)?;
            let level = levels.last_mut();
            if let Some(Level::Dictionary {
                keys,
                value_of: value_of @ None,
            }) = level
                && byte != b'e'
            {
                let end = bencode::string_end(self.input, at)?;
                let is_new = keys.insert(self.input.get(at..end)?);
                *value_of = Some(if is_new {
                    Key::First
                } else {
                    Key::Again { at }
                });
                if !is_new && left_out.is_none() {
                    left_out = Some(levels.len());
                }
                at = end;
                continue;
            }
            match byte {
                b'0'..=b'9' => at = bencode::string_end(self.input, at)?,
                b'i' => at = self.number(at, left_out.is_some())?,
                b'l' | b'd' => {
                    if levels.len() >= Limits::MESSAGE.depth {
                        return None;
                    }
                    levels.push(match byte {
                        b'l' => Level::List,
                        _ => Level::Dictionary {
                            keys: BTreeSet::new(),
                            value_of: None,
                        },
                    });
                    at += 1;
                    continue;
                }
                // Not between a key and its value.
                b'e' => match levels.pop()? {
                    Level::List | Level::Dictionary { value_of: None, .. } => at += 1,
                    Level::Dictionary { .. } => return None,
                },
                _ => return None,
            }
            // A value is complete.
            let depth = levels.len();
            match levels.last_mut() {
                None => return Some(at),
                Some(Level::List) => {}
                Some(Level::Dictionary { value_of, .. }) => {
                    if let Some(Key::Again { at: key }) = value_of.take()
                        && left_out == Some(depth)
                    {
                        self.replace(key, at, b"");
                        left_out = None;
                    }
                }
            }
        }
        None
    }

    /// Puts a number right, unless it is left out anyway, and returns where it ends.
    fn number(&mut self, start: usize, is_left_out: bool) -> Option<usize> {
        let text = self.input.get(start + 1..)?;
        let is_digit = |byte: &&u8| matches!(byte, b'-' | b'0'..=b'9');
        let digits = text.iter().take_while(is_digit).count();
        let most = text.len().min(digits.max(MAX_NUMBER) + 1);
        let len = text[..most].iter().position(|byte| *byte == b'e')?;
        let (text, end) = (&text[..len], start + 1 + len);
        if !is_left_out && let Some(better) = better_number(text) {
            self.replace(start, end + 1, better);
        }
        Some(end + 1)
    }

    /// Copies the input up to `from`, and goes on behind `to`, with something else in between.
    fn replace(&mut self, from: usize, to: usize, with: &[u8]) {
        let before = self.input.get(self.copied..from).unwrap_or_default();
        self.output.extend_from_slice(before);
        self.output.extend_from_slice(with);
        self.copied = to;
    }
}

/// What stands for a number that is out of range or none at all; `None` where it is good.
fn better_number(text: &[u8]) -> Option<&'static [u8]> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Some(NOTHING);
    }
    bencode::nearest(text)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use bt_bencode::Value;
    use quickcheck::quickcheck;

    use super::*;

    fn text(reply: &str) -> String {
        String::from_utf8(mended(reply.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn what_is_right_stays_as_it_is() {
        for reply in [
            "d8:intervali60ee",
            "d8:intervali60ee\r\n",
            "d1:ad1:al1:aee1:bd1:ai0eee",
            "le",
            "i-5e",
        ] {
            let same = mended(reply.as_bytes());
            assert!(matches!(same, Cow::Borrowed(_)), "{reply}");
            assert_eq!(same, reply.as_bytes());
        }
    }

    #[test]
    fn keys_count_once_at_every_level() {
        for (reply, expected) in [
            ("d1:ai1e1:ai2ee", "d1:ai1ee"),
            ("d1:ai1e1:ai2e1:bi3e1:ai4ee...", "d1:ai1e1:bi3ee"),
            ("d1:ad1:bi1e1:bi2eee", "d1:ad1:bi1eee"),
            // What is left out is left out whole.
            ("d1:ai1e1:ad1:bi1e1:bi2.5eee", "d1:ai1ee"),
            ("d1:ai1e1:ad1:ai1e1:ali2.5eeee", "d1:ai1ee"),
            ("ld1:ai1eed1:ai2eee", "ld1:ai1eed1:ai2eee"),
            ("d1:ai1.5e1:ai2ee", "d1:alee"),
        ] {
            assert_eq!(text(reply), expected, "{reply}");
        }
    }

    #[test]
    fn numbers_come_into_range() {
        for (number, expected) in [
            ("18446744073709551615", "i18446744073709551615e"),
            ("18446744073709551616", "i18446744073709551615e"),
            ("99999999999999999999", "i18446744073709551615e"),
            ("-9223372036854775807", "i-9223372036854775807e"),
            ("-9223372036854775808", "i-9223372036854775807e"),
            ("-9223372036854775809", "i-9223372036854775807e"),
            ("1.5", "le"),
            ("1.5E+9", "le"),
            ("+1", "le"),
            ("--1", "le"),
            ("", "le"),
            ("0x10", "le"),
        ] {
            let reply = alloc::format!("d1:ai{number}ee");
            assert_eq!(text(&reply), alloc::format!("d1:a{expected}e"), "{number}");
        }
        for digits in [MAX_NUMBER, 100_000] {
            let long = alloc::format!("i{}e", "9".repeat(digits));
            assert_eq!(text(&long), "i18446744073709551615e");
        }
        let long = alloc::format!("i1.{}e", "0".repeat(MAX_NUMBER - 2));
        assert_eq!(text(&long), "le");
        let long = alloc::format!("i1.{}e", "0".repeat(MAX_NUMBER - 1));
        assert_eq!(text(&long), long, "is refused by whoever reads it");
    }

    #[test]
    fn what_is_malformed_stays_as_it_is() {
        for reply in [
            "",
            "x",
            "d",
            "di1ei2ee",
            "d1:ae",
            "d1:ai1",
            "d1:ai2.5e1:b",
            "e",
        ] {
            assert_eq!(text(reply), reply);
        }
        let deep = "l".repeat(1 << 16);
        assert_eq!(text(&deep), deep);
        let many = String::from("l") + &"i1.5e".repeat(Limits::MESSAGE.tokens) + "e";
        assert_eq!(text(&many), many);
    }

    quickcheck! {
        fn what_was_put_right_is_bencoding(drawn: Vec<u8>) -> bool {
            // Drawn from what replies are made of, so that many get far.
            let parts = [
                "d", "l", "e", "e", "1:a", "1:b", "i1e", "i1.5e", "i-99999999999999999999e", "0:", "1:ai2e",
            ];
            let body: String = drawn.iter().map(|part| parts[usize::from(*part) % parts.len()]).collect();
            let reply = String::from("d") + &body + "e";
            match mended(reply.as_bytes()) {
                Cow::Borrowed(same) => same == reply.as_bytes(),
                Cow::Owned(better) => {
                    better.len() <= reply.len()
                        && bt_bencode::from_slice::<Value>(&better).is_ok()
                        && matches!(mended(&better), Cow::Borrowed(_))
                }
            }
        }
    }
}
