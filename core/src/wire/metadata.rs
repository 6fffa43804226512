//! BEP 9: messages that carry a torrent's info dictionary from peer to peer.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{
    WireError,
    guard::{self, Scalar},
};

/// The extension's name in the extended handshake.
pub const NAME: &str = "ut_metadata";

/// Bytes of each piece of the metadata but the last.
pub const PIECE_LEN: u32 = 16 * 1024;

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

/// A message of the metadata extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataMessage {
    /// The sender wants this piece.
    Request {
        /// Which piece.
        piece: u32,
    },
    /// A piece, as it was asked for.
    Data {
        /// Which piece.
        piece: u32,
        /// Bytes of the whole metadata, as claimed.
        total_size: Option<u32>,
        /// The piece: a slice of the message.
        data: Bytes,
    },
    /// The sender does not give this piece.
    Reject {
        /// Which piece.
        piece: u32,
    },
}

impl MetadataMessage {
    /// Decodes the payload of an extended message. None for a kind that is not known, which is to be
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::Bencode`] or [`WireError::Shape`]: it does not begin with a bencoded dictionary;
    /// [`WireError::Missing`], [`WireError::Invalid`]: a field that it needs is not there, or makes no
    /// sense.
    pub fn decode(payload: &Bytes) -> Result<Option<Self>, WireError> {
        let scanned = guard::scan(payload)?;
        let incoming: Incoming<'_> = scanned.decode()?;
        let kind = incoming.msg_type.int();
        let kind = kind.ok_or(WireError::Missing { key: "msg_type" })?;
        if ![REQUEST, DATA, REJECT].contains(&kind) {
            return Ok(None);
        }
        let piece = incoming.piece.int();
        let piece = piece.ok_or(WireError::Missing { key: "piece" })?;
        let piece = u32::try_from(piece).map_err(|_| WireError::Invalid { key: "piece" })?;
        let total_size = incoming.total_size.int();
        Ok(Some(match kind {
            REQUEST => Self::Request { piece },
            REJECT => Self::Reject { piece },
            _ => Self::Data {
                piece,
                total_size: total_size.and_then(|size| u32::try_from(size).ok()),
                data: payload.slice(scanned.end..),
            },
        }))
    }

    /// The payload of an extended message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (msg_type, piece, total_size, data) = match self {
            Self::Request { piece } => (REQUEST, *piece, None, None),
            Self::Reject { piece } => (REJECT, *piece, None, None),
            Self::Data {
                piece,
                total_size,
                data,
            } => (DATA, *piece, *total_size, Some(data)),
        };
        let head: Vec<u8> = guard::encode(&Outgoing {
            msg_type,
            piece,
            total_size,
        });
        match data {
            None => head.into(),
            Some(data) => {
                let mut message = BytesMut::with_capacity(head.len() + data.len());
                message.extend_from_slice(&head);
                message.extend_from_slice(data);
                message.freeze()
            }
        }
    }
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default, borrow)]
    msg_type: Scalar<'a>,
    #[serde(default, borrow)]
    piece: Scalar<'a>,
    #[serde(default, borrow)]
    total_size: Scalar<'a>,
}

#[derive(Serialize)]
struct Outgoing {
    msg_type: i64,
    piece: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_size: Option<u32>,
}

#[cfg(test)]
mod tests {
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for MetadataMessage {
        fn arbitrary(g: &mut Gen) -> Self {
            let piece = u32::arbitrary(g);
            match u8::arbitrary(g) % 3 {
                0 => Self::Request { piece },
                1 => Self::Reject { piece },
                _ => Self::Data {
                    piece,
                    total_size: Arbitrary::arbitrary(g),
                    data: Vec::arbitrary(g).into(),
                },
            }
        }
    }

    quickcheck! {
        fn what_is_encoded_is_decoded(message: MetadataMessage) -> bool {
            MetadataMessage::decode(&message.encode()) == Ok(Some(message))
        }

        fn a_flipped_byte_never_panics(message: MetadataMessage, at: usize, byte: u8) -> bool {
            let mut bytes = message.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            match MetadataMessage::decode(&bytes.into()) {
                Ok(Some(other)) => MetadataMessage::decode(&other.encode()) == Ok(Some(other)),
                Ok(None) | Err(_) => true,
            }
        }
    }

    fn decode(payload: &'static [u8]) -> Result<Option<MetadataMessage>, WireError> {
        MetadataMessage::decode(&Bytes::from_static(payload))
    }

    #[test]
    fn the_examples_of_the_specification_are_understood() {
        let request = MetadataMessage::Request { piece: 0 };
        assert_eq!(decode(b"d8:msg_typei0e5:piecei0ee"), Ok(Some(request)));
        let data = MetadataMessage::Data {
            piece: 0,
            total_size: Some(3425),
            data: Bytes::from_static(b"xxxx"),
        };
        let example = b"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxx";
        assert_eq!(data.encode(), &example[..]);
        assert_eq!(decode(example), Ok(Some(data)));
        let reject = MetadataMessage::Reject { piece: 7 };
        assert_eq!(decode(b"d8:msg_typei2e5:piecei7ee"), Ok(Some(reject)));
    }

    #[test]
    fn unknown_kinds_are_ignored_and_nonsense_is_refused() {
        assert_eq!(decode(b"d8:msg_typei9ee"), Ok(None));
        for nonsense in [
            &b"d5:piecei0ee"[..],
            b"d8:msg_typei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei0e5:piecei4294967296ee",
            b"le",
            b"",
            b"d",
        ] {
            assert!(decode(nonsense).is_err(), "{}", nonsense.escape_ascii());
        }
    }
}
