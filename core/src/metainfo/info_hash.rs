use core::{fmt, str::FromStr};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha1::{Digest, Sha1};

/// The identity of a v1 torrent: the SHA-1 of its info dictionary (BEP 3).
///
/// Written as 40 hexadecimal digits, in lower case; read in either case. Serialised as that text
/// by formats for people, and as 20 bytes by the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash([u8; Self::LEN]);

impl InfoHash {
    /// Its length in bytes.
    pub const LEN: usize = 20;

    /// The info-hash of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The info-hash of the torrent with this info dictionary, bencoded.
    #[must_use]
    pub fn of_info(info: &[u8]) -> Self {
        Self(Sha1::digest(info).into())
    }

    /// Its bytes, as they stand in handshakes and announces.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for InfoHash {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for InfoHash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(HEXLOWER_PERMISSIVE.encode(&self.0).as_str())
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

/// The text is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an info-hash is 40 hexadecimal digits")]
pub struct ParseInfoHashError;

impl FromStr for InfoHash {
    type Err = ParseInfoHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; Self::LEN];
        let fits = HEXLOWER_PERMISSIVE.decode_len(text.len()) == Ok(Self::LEN);
        if !fits {
            return Err(ParseInfoHashError);
        }
        HEXLOWER_PERMISSIVE
            .decode_mut(text.as_bytes(), &mut bytes)
            .map_err(|_| ParseInfoHashError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for InfoHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for InfoHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(InfoHashVisitor)
        } else {
            deserializer.deserialize_bytes(InfoHashVisitor)
        }
    }
}

struct InfoHashVisitor;

impl de::Visitor<'_> for InfoHashVisitor {
    type Value = InfoHash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an info-hash: 20 bytes, or 40 hexadecimal digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<InfoHash, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<InfoHash, E> {
        bytes
            .try_into()
            .map(InfoHash)
            .map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use quickcheck::quickcheck;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f10111213";

    fn counting() -> InfoHash {
        InfoHash::new(core::array::from_fn(|i| i as u8))
    }

    #[test]
    fn text_is_lower_case_hex() {
        assert_eq!(counting().to_string(), HEX);
        assert_eq!(
            alloc::format!("{:?}", counting()),
            alloc::format!("InfoHash({HEX})")
        );
    }

    #[test]
    fn either_case_is_read_and_nothing_else() {
        assert_eq!(HEX.parse(), Ok(counting()));
        assert_eq!(HEX.to_uppercase().parse(), Ok(counting()));
        for text in [
            "",
            &HEX[1..],
            &HEX[2..],
            &HEX.replace('a', "g"),
            &HEX.replace('a', "é"),
        ] {
            assert_eq!(text.parse::<InfoHash>(), Err(ParseInfoHashError), "{text}");
        }
        assert!(
            (alloc::string::String::from(HEX) + "00")
                .parse::<InfoHash>()
                .is_err()
        );
    }

    #[test]
    fn it_is_the_sha1_of_the_info_dictionary() {
        assert_eq!(
            InfoHash::of_info(b"abc").to_string(),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }

    quickcheck! {
        fn text_and_bytes_round_trip(seed: u64) -> bool {
            let hash = InfoHash::of_info(&seed.to_be_bytes());
            let bytes = bt_bencode::to_vec(&hash).unwrap();
            hash.to_string().parse() == Ok(hash)
                && bytes.starts_with(b"20:")
                && bt_bencode::from_slice::<InfoHash>(&bytes).unwrap() == hash
        }
    }
}
