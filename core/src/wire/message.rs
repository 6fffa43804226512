//! BEP 3, 5, 6, 10: the messages of the peer wire, and how they are written.

use bytes::{BufMut, Bytes, BytesMut};

use super::BlockRequest;

/// Message ids: the byte behind the length prefix.
pub(super) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
}

/// Length of what [`encode_piece_header`] writes.
pub const PIECE_HEADER_LEN: usize = 13;

/// A message of the peer wire. Blocks are not among them: they are written as a header and their
/// own bytes ([`encode_piece_header`]) and read as [`Frame::Block`](super::Frame::Block), so that
/// no payload is ever copied.
///
/// Only the form is checked here: whether an index or a bitfield fits the torrent, and whether a
/// message may come now, is judged by the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Nothing, but the sender lives.
    KeepAlive,
    /// The sender serves no requests for now.
    Choke,
    /// The sender serves requests.
    Unchoke,
    /// The sender wants something that the receiver has.
    Interested,
    /// The sender wants nothing that the receiver has.
    NotInterested,
    /// The sender has this piece now.
    Have(u32),
    /// The pieces the sender has, the first in the highest bit of the first byte.
    Bitfield(Bytes),
    /// The sender wants this block.
    Request(BlockRequest),
    /// The sender does not want this block any more.
    Cancel(BlockRequest),
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// The sender would like this piece to be asked for (BEP 6).
    Suggest(u32),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This request will not be served (BEP 6).
    Reject(BlockRequest),
    /// This piece will be served even while choked (BEP 6).
    AllowedFast(u32),
    /// A message of an extension (BEP 10).
    Extended {
        /// 0 for the extended handshake, else as the receiver's extended handshake names it.
        id: u8,
        /// What the extension makes of it.
        payload: Bytes,
    },
}

impl Message {
    /// Appends the message as it goes over the wire. Payloads (bitfield, extended) are below 4 GiB.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => put_plain(out, id::CHOKE),
            Self::Unchoke => put_plain(out, id::UNCHOKE),
            Self::Interested => put_plain(out, id::INTERESTED),
            Self::NotInterested => put_plain(out, id::NOT_INTERESTED),
            Self::Have(piece) => put_index(out, id::HAVE, *piece),
            Self::Bitfield(bits) => {
                put_head(out, id::BITFIELD, bits.len());
                out.put_slice(bits);
            }
            Self::Request(block) => put_block(out, id::REQUEST, *block),
            Self::Cancel(block) => put_block(out, id::CANCEL, *block),
            Self::Port(port) => {
                put_head(out, id::PORT, 2);
                out.put_u16(*port);
            }
            Self::Suggest(piece) => put_index(out, id::SUGGEST, *piece),
            Self::HaveAll => put_plain(out, id::HAVE_ALL),
            Self::HaveNone => put_plain(out, id::HAVE_NONE),
            Self::Reject(block) => put_block(out, id::REJECT, *block),
            Self::AllowedFast(piece) => put_index(out, id::ALLOWED_FAST, *piece),
            Self::Extended { id, payload } => {
                put_head(out, id::EXTENDED, payload.len().saturating_add(1));
                out.put_u8(*id);
                out.put_slice(payload);
            }
        }
    }
}

/// Appends the 13 bytes that stand before a block's payload in a `piece` message. Exactly
/// `block.len` bytes follow on the wire; they are sent as they are.
pub fn encode_piece_header(block: BlockRequest, out: &mut BytesMut) {
    out.put_u32(block.len.saturating_add(9));
    out.put_u8(id::PIECE);
    out.put_u32(block.piece);
    out.put_u32(block.begin);
}

fn put_head(out: &mut BytesMut, id: u8, body: usize) {
    out.reserve(body.saturating_add(5));
    out.put_u32(u32::try_from(body).unwrap_or(u32::MAX).saturating_add(1));
    out.put_u8(id);
}

fn put_plain(out: &mut BytesMut, id: u8) {
    put_head(out, id, 0);
}

fn put_index(out: &mut BytesMut, id: u8, piece: u32) {
    put_head(out, id, 4);
    out.put_u32(piece);
}

fn put_block(out: &mut BytesMut, id: u8, block: BlockRequest) {
    put_head(out, id, 12);
    out.put_u32(block.piece);
    out.put_u32(block.begin);
    out.put_u32(block.len);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &Message) -> BytesMut {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn messages_are_written_as_the_specification_shows_them() {
        let block = BlockRequest {
            piece: 1,
            begin: 0x4000,
            len: 0x4000,
        };
        let cases: [(Message, &[u8]); 7] = [
            (Message::KeepAlive, &[0, 0, 0, 0]),
            (Message::Interested, &[0, 0, 0, 1, 2]),
            (Message::Have(258), &[0, 0, 0, 5, 4, 0, 0, 1, 2]),
            (
                Message::Bitfield(Bytes::from_static(&[0xf0])),
                &[0, 0, 0, 2, 5, 0xf0],
            ),
            (
                Message::Reject(block),
                &[0, 0, 0, 13, 16, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
            ),
            (Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]),
            (
                Message::Extended {
                    id: 3,
                    payload: Bytes::from_static(b"de"),
                },
                &[0, 0, 0, 4, 20, 3, b'd', b'e'],
            ),
        ];
        for (message, bytes) in cases {
            assert_eq!(encoded(&message), bytes, "{message:?}");
        }
    }

    #[test]
    fn a_piece_header_counts_the_payload_that_follows() {
        let mut out = BytesMut::new();
        let block = BlockRequest {
            piece: 2,
            begin: 3,
            len: 4,
        };
        encode_piece_header(block, &mut out);
        assert_eq!(out.len(), PIECE_HEADER_LEN);
        assert_eq!(out, [0, 0, 0, 13, 7, 0, 0, 0, 2, 0, 0, 0, 3][..]);
    }
}
