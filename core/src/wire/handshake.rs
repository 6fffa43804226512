//! BEP 3, 5, 6, 10, 20: the handshake that opens every connection, and peer-ids.

use alloc::{borrow::ToOwned, format, string::String};
use core::fmt;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::WireError;

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const RESERVED_AT: usize = 20;
const INFO_HASH_AT: usize = 28;
const PEER_ID_AT: usize = 48;

/// The first message in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// What the sender can do.
    pub reserved: Reserved,
    /// The torrent it is about.
    pub info_hash: [u8; 20],
    /// Who the sender is.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The handshake as it goes over the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..RESERVED_AT].copy_from_slice(PROTOCOL);
        out[RESERVED_AT..INFO_HASH_AT].copy_from_slice(&self.reserved.0);
        out[INFO_HASH_AT..PEER_ID_AT].copy_from_slice(&self.info_hash);
        out[PEER_ID_AT..].copy_from_slice(&self.peer_id.0);
        out
    }
}

/// The eight reserved bytes of a handshake: flags of what the sender can do. Bits without a meaning
/// here are kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// With the DHT flag (BEP 5) set or cleared.
    #[must_use]
    pub fn with_dht(self, on: bool) -> Self {
        self.with(7, 0x01, on)
    }

    /// With the flag of the fast extension (BEP 6) set or cleared.
    #[must_use]
    pub fn with_fast(self, on: bool) -> Self {
        self.with(7, 0x04, on)
    }

    /// With the flag of the extension protocol (BEP 10) set or cleared.
    #[must_use]
    pub fn with_extended(self, on: bool) -> Self {
        self.with(5, 0x10, on)
    }

    /// The sender runs a DHT node (BEP 5).
    #[must_use]
    pub fn dht(&self) -> bool {
        self.0[7] & 0x01 != 0
    }

    /// The sender speaks the fast extension (BEP 6).
    #[must_use]
    pub fn fast(&self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// The sender speaks the extension protocol (BEP 10).
    #[must_use]
    pub fn extended(&self) -> bool {
        self.0[5] & 0x10 != 0
    }

    fn with(mut self, byte: usize, bit: u8, on: bool) -> Self {
        if on {
            self.0[byte] |= bit;
        } else {
            self.0[byte] &= !bit;
        }
        self
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

/// Gathers a handshake from bytes cut anywhere.
///
/// An incoming connection is matched to its torrent as soon as [`info_hash`](Self::info_hash) is
/// there: some peers send their peer-id only after our handshake.
#[derive(Debug, Clone)]
pub struct HandshakeDecoder {
    bytes: [u8; HANDSHAKE_LEN],
    have: usize,
}

impl HandshakeDecoder {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: [0; HANDSHAKE_LEN],
            have: 0,
        }
    }

    /// Takes what belongs to the handshake off `input` and leaves what is behind it. `None` says
    /// that more is needed.
    ///
    /// # Errors
    ///
    /// [`WireError::NotBitTorrent`] from the first byte that does not fit. What has been taken is
    /// then still in [`received`](Self::received), for whoever else can make sense of it.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Handshake>, WireError> {
        let taken = input.len().min(HANDSHAKE_LEN - self.have);
        self.bytes[self.have..self.have + taken].copy_from_slice(&input[..taken]);
        self.have += taken;
        input.advance(taken);

        let checked = self.have.min(PROTOCOL.len());
        if self.bytes[..checked] != PROTOCOL[..checked] {
            return Err(WireError::NotBitTorrent);
        }
        if self.have < HANDSHAKE_LEN {
            return Ok(None);
        }
        Ok(Some(Handshake {
            reserved: Reserved(self.field(RESERVED_AT)),
            info_hash: self.field(INFO_HASH_AT),
            peer_id: PeerId(self.field(PEER_ID_AT)),
        }))
    }

    /// The reserved bytes, once they are there.
    #[must_use]
    pub fn reserved(&self) -> Option<Reserved> {
        (self.have >= INFO_HASH_AT).then(|| Reserved(self.field(RESERVED_AT)))
    }

    /// The info-hash, once it is there: from the 48th byte on.
    #[must_use]
    pub fn info_hash(&self) -> Option<[u8; 20]> {
        (self.have >= PEER_ID_AT).then(|| self.field(INFO_HASH_AT))
    }

    /// All bytes taken so far.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.bytes[..self.have]
    }

    /// `N` bytes from `at` on, which lie within the handshake for every caller.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[at..at + N]);
        field
    }
}

impl Default for HandshakeDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The 20 bytes by which a peer names itself. They are chosen by the peer, so they prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 20]);

impl PeerId {
    /// A peer-id of the usual form: eight bytes that tell the client and its version, such as
    /// `-AB0100-`, then twelve random ones (BEP 20).
    #[must_use]
    pub fn with_prefix(prefix: [u8; 8], random: [u8; 12]) -> Self {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&prefix);
        id[8..].copy_from_slice(&random);
        Self(id)
    }

    /// Best guess at the client and its version, such as `Transmission 4.0.6`, to be shown to
    /// people. Where the scheme is unknown, the first bytes, with everything but printable ASCII
    /// escaped.
    #[must_use]
    pub fn client(&self) -> String {
        azureus_style(&self.0)
            .or_else(|| dashed_style(&self.0))
            .unwrap_or_else(|| format!("unknown ({})", self.0[..8].escape_ascii()))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

/// `-XX1234-`: two letters for the client, four digits of base 36 for the version.
fn azureus_style(id: &[u8; 20]) -> Option<String> {
    let [b'-', first, second, a, b, c, d, b'-', ..] = *id else {
        return None;
    };
    let code = [first, second];
    let name = match &code {
        b"7T" => "aTorrent",
        b"AB" => "Anabranch",
        b"AZ" => "Vuze",
        b"BC" => "BitComet",
        b"BI" => "BiglyBT",
        b"BT" => "BitTorrent",
        b"BW" => "BitWombat",
        b"CT" => "CTorrent",
        b"DE" => "Deluge",
        b"FD" => "Free Download Manager",
        b"FL" => "Flud",
        b"FW" => "FrostWire",
        b"GT" => "anacrolix/torrent",
        b"KT" => "KTorrent",
        b"LT" => "libtorrent",
        b"lt" => "rTorrent",
        b"MG" => "MediaGet",
        b"PI" => "PicoTorrent",
        b"qB" => "qBittorrent",
        b"rQ" => "rqbit",
        b"SD" | b"XL" => "Xunlei",
        b"TI" => "Tixati",
        b"TL" => "Tribler",
        b"TR" => "Transmission",
        b"UM" => "µTorrent Mac",
        b"UT" => "µTorrent",
        b"UW" => "µTorrent Web",
        b"WD" => "WebTorrent Desktop",
        b"WW" => "WebTorrent",
        _ if code.iter().all(u8::is_ascii_alphanumeric) => "",
        _ => return None,
    };
    let mut version = String::new();
    let digits = [a, b, c, d];
    // At least two numbers; further zeros say nothing.
    let shown = digits
        .iter()
        .rposition(|&digit| digit != b'0')
        .map_or(2, |last| (last + 1).max(2));
    for (at, &digit) in digits.iter().enumerate().take(shown) {
        let value = char::from(digit).to_digit(36)?;
        let dot = if at == 0 { "" } else { "." };
        version += &format!("{dot}{value}");
    }
    Some(match name {
        "" => format!("{} {version}", code.escape_ascii()),
        name => format!("{name} {version}"),
    })
}

/// `M7-10-5-` and `A2-1-37-0-`: a letter or a code, numbers between dashes.
fn dashed_style(id: &[u8; 20]) -> Option<String> {
    let (name, rest) = match &id[..] {
        [b'A', b'2', b'-', rest @ ..] => ("aria2", rest),
        [b'M', rest @ ..] => ("BitTorrent", rest),
        _ => return None,
    };
    let numbers = rest
        .split(|&byte| byte == b'-')
        .take(3)
        .map(|number| core::str::from_utf8(number).ok())
        .collect::<Option<alloc::vec::Vec<_>>>()?;
    let is_version = numbers.len() == 3
        && numbers
            .iter()
            .all(|n| matches!(n.len(), 1..=3) && n.bytes().all(|byte| byte.is_ascii_digit()));
    is_version.then(|| name.to_owned() + " " + &numbers.join("."))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for Handshake {
        fn arbitrary(g: &mut Gen) -> Self {
            Self {
                reserved: Reserved(core::array::from_fn(|_| u8::arbitrary(g))),
                info_hash: core::array::from_fn(|_| u8::arbitrary(g)),
                peer_id: PeerId(core::array::from_fn(|_| u8::arbitrary(g))),
            }
        }
    }

    fn id(text: &[u8]) -> PeerId {
        let mut id = [b'x'; 20];
        id[..text.len()].copy_from_slice(text);
        PeerId(id)
    }

    quickcheck! {
        fn any_split_gives_the_same_handshake(handshake: Handshake, cuts: Vec<u8>, behind: Vec<u8>) -> bool {
            let mut stream = Vec::from(handshake.encode());
            stream.extend_from_slice(&behind);
            let mut rest = Bytes::from(stream);
            let mut decoder = HandshakeDecoder::new();
            let mut cuts = cuts.into_iter().chain(core::iter::repeat(1));
            loop {
                let cut = usize::from(cuts.next().unwrap_or(1)).min(rest.len());
                let mut part = rest.split_to(cut);
                match decoder.decode(&mut part) {
                    Ok(None) => assert!(part.is_empty()),
                    Ok(Some(decoded)) => {
                        let left = [&part[..], &rest[..]].concat();
                        return decoded == handshake && left == behind;
                    }
                    Err(_) => return false,
                }
            }
        }

        fn a_client_description_is_printable(bytes: Vec<u8>) -> bool {
            let mut raw = [0; 20];
            raw.iter_mut().zip(&bytes).for_each(|(to, &from)| *to = from);
            let azureus = {
                let mut raw = raw;
                raw[0] = b'-';
                raw[7] = b'-';
                PeerId(raw)
            };
            [PeerId(raw), azureus].iter().all(|id| !id.client().chars().any(char::is_control))
        }
    }

    #[test]
    fn the_info_hash_is_there_with_the_48th_byte() {
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true),
            info_hash: [7; 20],
            peer_id: PeerId([8; 20]),
        };
        let bytes = handshake.encode();
        let mut decoder = HandshakeDecoder::new();
        for (at, &byte) in bytes.iter().enumerate() {
            assert_eq!(decoder.info_hash(), (at >= 48).then_some([7; 20]));
            assert_eq!(decoder.reserved(), (at >= 28).then_some(handshake.reserved));
            let done = decoder.decode(&mut Bytes::copy_from_slice(&[byte]));
            assert_eq!(done, Ok((at == 67).then_some(handshake)));
        }
    }

    #[test]
    fn another_protocol_is_seen_at_its_first_wrong_byte() {
        for wrong in 0..20 {
            let mut bytes = *PROTOCOL;
            bytes[wrong] ^= 0x20;
            let mut decoder = HandshakeDecoder::new();
            let (head, tail) = bytes.split_at(wrong);
            assert_eq!(decoder.decode(&mut Bytes::copy_from_slice(head)), Ok(None));
            let error = decoder.decode(&mut Bytes::copy_from_slice(&tail[..1]));
            assert_eq!(error, Err(WireError::NotBitTorrent));
            assert_eq!(decoder.received(), &bytes[..=wrong]);
        }
    }

    #[test]
    fn flags_stand_where_the_beps_put_them() {
        let none = Reserved::default();
        assert_eq!(none.with_dht(true).0, [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(none.with_fast(true).0, [0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(none.with_extended(true).0, [0, 0, 0, 0, 0, 0x10, 0, 0]);
        let all = Reserved([0xff; 8]);
        assert!(all.dht() && all.fast() && all.extended());
        let all = all.with_dht(false).with_fast(false).with_extended(false);
        assert!(!all.dht() && !all.fast() && !all.extended());
        assert_eq!(all.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xfa]);
    }

    #[test]
    fn clients_are_named() {
        for (prefix, name) in [
            (&b"-TR4060-"[..], "Transmission 4.0.6"),
            (b"-qB4620-", "qBittorrent 4.6.2"),
            (b"-LT20B0-", "libtorrent 2.0.11"),
            (b"-AB0100-", "Anabranch 0.1"),
            (b"-DE2000-", "Deluge 2.0"),
            (b"-ZZ1234-", "ZZ 1.2.3.4"),
            (b"A2-1-37-0-", "aria2 1.37.0"),
            (b"M7-10-5--", "BitTorrent 7.10.5"),
            (b"\x1b[31m\0ab", "unknown (\\x1b[31m\\x00ab)"),
        ] {
            assert_eq!(id(prefix).client(), name);
        }
    }
}
