//! BEP 29: packets of the uTorrent transport protocol.
//!
//! A packet is a header of 20 bytes, a chain of extensions and payload. Extensions that nobody here knows are skipped,
//! as BEP 29 wants; the chain is bounded. Sequence numbers, and the microseconds of both clocks, wrap.

use alloc::vec::Vec;

use super::WireError;

/// Bytes of a header.
pub const HEADER_LEN: usize = 20;

/// Extensions that a packet may chain. Others send at most two; one that is padded to find out what a path carries has
/// up to seven.
pub const MAX_EXTENSIONS: usize = 16;

/// Bytes of the longest mask of selective acknowledgements that is sent: the most that is a multiple of four, and that
/// a length of one byte can name. It speaks of 2,016 packets.
pub const MAX_SELECTIVE: usize = 252;

/// The most that padding can add to a packet with one extension, in bytes.
pub const MAX_PADDING: usize = 257;

const VERSION: u8 = 1;
const SELECTIVE: u8 = 1;
const BITS: u8 = 2;
const CLOSE_REASON: u8 = 3;
/// A number that nobody has given a meaning: whoever gets it skips it.
const PADDING: u8 = 0x7f;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Payload.
    Data,
    /// The last packet of its sender.
    Fin,
    /// An acknowledgement alone. It takes no sequence number.
    State,
    /// The sender knows no such connection, or wants none.
    Reset,
    /// The first packet of a connection.
    Syn,
}

impl Kind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Data),
            1 => Some(Self::Fin),
            2 => Some(Self::State),
            3 => Some(Self::Reset),
            4 => Some(Self::Syn),
            _ => None,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Fin => 1,
            Self::State => 2,
            Self::Reset => 3,
            Self::Syn => 4,
        }
    }
}

/// The fixed part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// The id that its receiver knows the connection by; in a SYN, the one that its sender does.
    pub connection: u16,
    /// The sender's clock when it was sent, in microseconds.
    pub timestamp: u32,
    /// What the sender's clock was ahead of the timestamp of the last packet that it received, in microseconds: how long
    /// that packet took, if the clocks were the same. 0 if there was none.
    pub delay: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// The packet's number; in a [`State`](Kind::State), that of the next packet that takes one.
    pub seq: u16,
    /// The last packet up to which the sender has received all.
    pub ack: u16,
}

/// An extension that goes out with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension<'a> {
    /// Which packets behind a gap have arrived: see [`SelectiveAck`]. At most 255 bytes are sent.
    Selective(&'a [u8]),
    /// What the sender is capable of; no bit has a meaning yet.
    Bits([u8; 8]),
    /// Why the sender closes the connection, as libtorrent numbers it.
    CloseReason(u16),
    /// So many bytes that say nothing, beside two for the extension itself.
    Padding(u8),
}

impl Header {
    /// Appends the header and its extensions; payload follows.
    pub fn encode(&self, extensions: &[Extension<'_>], out: &mut Vec<u8>) {
        out.push(self.kind.number() << 4 | VERSION);
        let mut link = out.len();
        out.push(0);
        out.extend_from_slice(&self.connection.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.delay.to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ack.to_be_bytes());
        for extension in extensions.iter().take(MAX_EXTENSIONS) {
            let kind = match extension {
                Extension::Selective(_) => SELECTIVE,
                Extension::Bits(_) => BITS,
                Extension::CloseReason(_) => CLOSE_REASON,
                Extension::Padding(_) => PADDING,
            };
            if let Some(before) = out.get_mut(link) {
                *before = kind;
            }
            link = out.len();
            out.push(0);
            match extension {
                Extension::Selective(mask) => {
                    let mask = mask.get(..255).unwrap_or(mask);
                    out.push(mask.len() as u8);
                    out.extend_from_slice(mask);
                }
                Extension::Bits(bits) => {
                    out.push(8);
                    out.extend_from_slice(bits);
                }
                Extension::CloseReason(reason) => {
                    out.push(4);
                    out.extend_from_slice(&u32::from(*reason).to_be_bytes());
                }
                Extension::Padding(len) => {
                    out.push(*len);
                    out.resize(out.len() + usize::from(*len), 0);
                }
            }
        }
    }
}

/// Which packets behind the first gap have arrived: bit `i`, the lowest of a byte first, speaks of packet
/// `ack + 2 + i`. Packet `ack + 1` is the one that is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelectiveAck<'a>(&'a [u8]);

impl<'a> SelectiveAck<'a> {
    /// The mask's bytes: any number, though BEP 29 speaks of multiples of four.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether it says that anything has arrived.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// A packet as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its fixed part.
    pub header: Header,
    /// What of it has arrived behind a gap; empty without such an extension.
    pub selective: SelectiveAck<'a>,
    /// What the sender is capable of.
    pub bits: Option<[u8; 8]>,
    /// Why the sender closes the connection, as libtorrent numbers it.
    pub close_reason: Option<u16>,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Whether a datagram can be one of uTP: neither a message of the DHT nor one of a UDP tracker begins like it.
    #[must_use]
    pub fn is_likely(datagram: &[u8]) -> bool {
        datagram.len() >= HEADER_LEN
            && datagram
                .first()
                .is_some_and(|first| first & 0x0f == VERSION && first >> 4 <= 4)
    }

    /// Whether a datagram asks for a connection, if it is one of uTP.
    #[must_use]
    pub fn is_syn(datagram: &[u8]) -> bool {
        Self::is_likely(datagram)
            && datagram
                .first()
                .is_some_and(|first| first >> 4 == Kind::Syn.number())
    }

    /// Decodes a datagram.
    ///
    /// # Errors
    ///
    /// [`WireError::ShortDatagram`] for less than a header, [`WireError::Invalid`] for another version, an unknown kind, a
    /// chain of extensions that is too long or goes beyond the datagram, and for extension bits that are not eight
    /// bytes.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, WireError> {
        let Some((fixed, mut rest)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(WireError::ShortDatagram {
                len: datagram.len(),
                min: HEADER_LEN,
            });
        };
        if fixed[0] & 0x0f != VERSION {
            return Err(WireError::Invalid { key: "version" });
        }
        let kind =
            Kind::from_number(fixed[0] >> 4).ok_or(WireError::Invalid { key: "packet type" })?;
        let two = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let four = |at: usize| u32::from(two(at)) << 16 | u32::from(two(at + 2));
        let mut packet = Self {
            header: Header {
                kind,
                connection: two(2),
                timestamp: four(4),
                delay: four(8),
                window: four(12),
                seq: two(16),
                ack: two(18),
            },
            selective: SelectiveAck::default(),
            bits: None,
            close_reason: None,
            payload: &[],
        };
        let mut extension = fixed[1];
        let mut chained = 0;
        while extension != 0 {
            chained += 1;
            let ([next, len], behind) = rest
                .split_first_chunk()
                .filter(|_| chained <= MAX_EXTENSIONS)
                .ok_or(WireError::Invalid { key: "extensions" })?;
            let (body, behind) = behind
                .split_at_checked(usize::from(*len))
                .ok_or(WireError::Invalid { key: "extensions" })?;
            match extension {
                SELECTIVE => packet.selective = SelectiveAck(body),
                BITS => {
                    let bits = body.try_into().map_err(|_| WireError::Invalid {
                        key: "extension bits",
                    })?;
                    packet.bits = Some(bits);
                }
                // Of another length, it is of no use, and no harm either.
                CLOSE_REASON => {
                    if let [_, _, high, low] = body {
                        packet.close_reason = Some(u16::from_be_bytes([*high, *low]));
                    }
                }
                _ => {}
            }
            extension = *next;
            rest = behind;
        }
        packet.payload = rest;
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    #[derive(Debug, Clone)]
    struct Sample {
        header: Header,
        selective: Vec<u8>,
        bits: Option<[u8; 8]>,
        close_reason: Option<u16>,
        padding: Vec<u8>,
        payload: Vec<u8>,
    }

    impl Arbitrary for Sample {
        fn arbitrary(g: &mut Gen) -> Self {
            let kinds = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
            let mut selective = Vec::<u8>::arbitrary(g);
            selective.truncate(255);
            let mut padding = Vec::<u8>::arbitrary(g);
            padding.truncate(6);
            Self {
                header: Header {
                    kind: *g.choose(&kinds).expect("there are five"),
                    connection: u16::arbitrary(g),
                    timestamp: u32::arbitrary(g),
                    delay: u32::arbitrary(g),
                    window: u32::arbitrary(g),
                    seq: u16::arbitrary(g),
                    ack: u16::arbitrary(g),
                },
                selective,
                bits: bool::arbitrary(g).then(|| core::array::from_fn(|_| u8::arbitrary(g))),
                close_reason: Option::arbitrary(g),
                padding,
                payload: Vec::arbitrary(g),
            }
        }
    }

    impl Sample {
        fn encode(&self) -> Vec<u8> {
            let mut extensions: Vec<_> = self
                .padding
                .iter()
                .copied()
                .map(Extension::Padding)
                .collect();
            if !self.selective.is_empty() {
                extensions.push(Extension::Selective(&self.selective));
            }
            extensions.extend(self.bits.map(Extension::Bits));
            extensions.extend(self.close_reason.map(Extension::CloseReason));
            let mut out = Vec::new();
            self.header.encode(&extensions, &mut out);
            out.extend_from_slice(&self.payload);
            out
        }
    }

    quickcheck! {
        fn what_is_encoded_is_decoded(sample: Sample) -> bool {
            let bytes = sample.encode();
            let Ok(packet) = Packet::decode(&bytes) else { return false };
            Packet::is_likely(&bytes)
                && packet.header == sample.header
                && packet.selective.as_bytes() == sample.selective
                && packet.bits == sample.bits
                && packet.close_reason == sample.close_reason
                && packet.payload == sample.payload
        }

        fn a_flipped_byte_or_a_cut_never_panics(sample: Sample, at: usize, byte: u8, cut: usize) -> bool {
            let mut bytes = sample.encode();
            let len = bytes.len();
            bytes[at % len] ^= byte;
            let _ = Packet::decode(&bytes);
            let _ = Packet::decode(&bytes[..cut % len]);
            true
        }

        fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) -> bool {
            Packet::decode(&bytes).is_err() || Packet::is_likely(&bytes)
        }
    }

    /// A packet that begins with `first` and whose chain of extensions is `chain`.
    fn chained(extension: u8, chain: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x21, extension];
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(chain);
        bytes
    }

    #[test]
    fn the_layout_is_that_of_bep_29() {
        let header = Header {
            kind: Kind::State,
            connection: 0x0102,
            timestamp: 0x0304_0506,
            delay: 0x0708_090a,
            window: 0x0b0c_0d0e,
            seq: 0x0f10,
            ack: 0x1112,
        };
        let mut bytes = Vec::new();
        header.encode(&[Extension::Selective(&[0b101, 0, 0, 0])], &mut bytes);
        let mut expected = vec![0x21, 1];
        expected.extend(1..=0x12);
        expected.extend([0, 4, 0b101, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn unknown_extensions_are_skipped_and_the_chain_is_bounded() {
        let bytes = chained(9, &[8, 3, 1, 2, 3, 1, 0, 0, 4, 1, 0, 0, 0, b'x']);
        let packet = Packet::decode(&bytes).expect("nothing is wrong with it");
        assert_eq!(packet.selective.as_bytes(), [1, 0, 0, 0]);
        assert_eq!(packet.payload, b"x");

        let endless: Vec<u8> = (0..2_000).flat_map(|_| [9, 0]).collect();
        assert_eq!(
            Packet::decode(&chained(9, &endless)),
            Err(WireError::Invalid { key: "extensions" })
        );
        for beyond in [&[0_u8][..], &[0, 1], &[0, 255, 1, 2]] {
            assert_eq!(
                Packet::decode(&chained(1, beyond)),
                Err(WireError::Invalid { key: "extensions" })
            );
        }
    }

    #[test]
    fn odd_lengths_are_taken_where_they_harm_nobody() {
        let bytes = chained(1, &[0, 3, 1, 2, 3]);
        let packet = Packet::decode(&bytes).expect("a mask may have any length");
        assert_eq!(packet.selective.as_bytes(), [1, 2, 3]);
        let bytes = chained(3, &[0, 2, 1, 2]);
        let packet = Packet::decode(&bytes).expect("a reason of another length is passed over");
        assert_eq!(packet.close_reason, None);
        assert!(Packet::decode(&chained(2, &[0, 7, 0, 0, 0, 0, 0, 0, 0])).is_err());
    }

    #[test]
    fn other_versions_and_kinds_and_other_protocols_are_refused() {
        for first in [0x20, 0x22, 0x51, 0xf1, b'd', 0] {
            let mut bytes = vec![first];
            bytes.resize(HEADER_LEN, 0);
            assert!(Packet::decode(&bytes).is_err(), "{first:x}");
            assert!(!Packet::is_likely(&bytes), "{first:x}");
        }
        assert!(matches!(
            Packet::decode(&[0x21; 19]),
            Err(WireError::ShortDatagram { len: 19, min: 20 })
        ));
    }
}
