//! BEP 11: messages by which peers tell each other whom else they are connected to.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    WireError,
    guard::{self, Raw, Scalar},
};

/// The extension's name in the extended handshake.
pub const NAME: &str = "ut_pex";

/// Addresses of a kind (added or dropped, IPv4 or IPv6) that are read from one message; more are
/// ignored. A message ought to have 50, and the first one may have more.
pub const MAX_READ: usize = 200;

/// What is said about a peer that was added. Bits without a meaning here are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It is a seed, or wants nothing more (BEP 21).
    pub const SEED: Self = Self(0x02);
    /// It speaks uTP (BEP 29).
    pub const UTP: Self = Self(0x04);
    /// It can arrange connections through address translators (BEP 55).
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender dialled it, so it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With all of `other`, if told so.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { self }
    }
}

/// A message of the peer exchange.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PexMessage {
    /// Peers that the sender has connected to since the last message.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Peers that the sender is not connected to any more.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Decodes the payload of an extended message. Addresses with port 0 are left out, and those past
    /// [`MAX_READ`] of a kind ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::Bencode`] or [`WireError::Shape`]: it is not a bencoded dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let scanned = guard::scan(payload)?;
        let incoming: Incoming<'_> = scanned.decode()?;
        let mut message = Self::default();
        let lists = [
            (incoming.added, incoming.added_f),
            (incoming.added6, incoming.added6_f),
        ];
        for ((addresses, flags), read) in lists.into_iter().zip([read_v4, read_v6]) {
            let flags = flags.bytes().unwrap_or_default();
            for (index, address) in read(addresses.bytes().unwrap_or_default()) {
                let flags = flags.get(index).copied().unwrap_or_default();
                message.added.push((address, PexFlags(flags)));
            }
        }
        for (addresses, read) in [incoming.dropped, incoming.dropped6]
            .into_iter()
            .zip([read_v4, read_v6])
        {
            let addresses = read(addresses.bytes().unwrap_or_default());
            message
                .dropped
                .extend(addresses.into_iter().map(|(_, address)| address));
        }
        Ok(message)
    }

    /// The payload of an extended message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut added = Packed::default();
        for (address, flags) in &self.added {
            added.push(*address, *flags);
        }
        let mut dropped = Packed::default();
        for address in &self.dropped {
            dropped.push(*address, PexFlags::default());
        }
        guard::encode(&Outgoing {
            added: Raw(&added.v4),
            added_f: Raw(&added.v4_flags),
            added6: Raw(&added.v6),
            added6_f: Raw(&added.v6_flags),
            dropped: Raw(&dropped.v4),
            dropped6: Raw(&dropped.v6),
        })
    }
}

/// Addresses as they stand in a message.
#[derive(Default)]
struct Packed {
    v4: Vec<u8>,
    v4_flags: Vec<u8>,
    v6: Vec<u8>,
    v6_flags: Vec<u8>,
}

impl Packed {
    fn push(&mut self, address: SocketAddr, flags: PexFlags) {
        let (list, list_flags) = match address.ip() {
            IpAddr::V4(ip) => {
                self.v4.extend(ip.octets());
                (&mut self.v4, &mut self.v4_flags)
            }
            IpAddr::V6(ip) => {
                self.v6.extend(ip.octets());
                (&mut self.v6, &mut self.v6_flags)
            }
        };
        list.extend(address.port().to_be_bytes());
        list_flags.push(flags.0);
    }
}

/// The addresses in a list, each with its place there.
fn read_v4(list: &[u8]) -> Vec<(usize, SocketAddr)> {
    let entries = list.as_chunks::<6>().0.iter().take(MAX_READ).enumerate();
    entries
        .map(|(index, [a, b, c, d, high, low])| {
            let port = u16::from_be_bytes([*high, *low]);
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            (index, SocketAddr::new(ip.into(), port))
        })
        .filter(|(_, address)| address.port() != 0)
        .collect()
}

fn read_v6(list: &[u8]) -> Vec<(usize, SocketAddr)> {
    let entries = list.as_chunks::<18>().0.iter().take(MAX_READ).enumerate();
    entries
        .filter_map(|(index, entry)| {
            let (ip, port) = entry.split_first_chunk::<16>()?;
            let port = u16::from_be_bytes(port.try_into().ok()?);
            Some((index, SocketAddr::new(Ipv6Addr::from(*ip).into(), port)))
        })
        .filter(|(_, address)| address.port() != 0)
        .collect()
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default, borrow)]
    added: Scalar<'a>,
    #[serde(default, borrow, rename = "added.f")]
    added_f: Scalar<'a>,
    #[serde(default, borrow)]
    added6: Scalar<'a>,
    #[serde(default, borrow, rename = "added6.f")]
    added6_f: Scalar<'a>,
    #[serde(default, borrow)]
    dropped: Scalar<'a>,
    #[serde(default, borrow)]
    dropped6: Scalar<'a>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    added: Raw<'a>,
    #[serde(rename = "added.f")]
    added_f: Raw<'a>,
    added6: Raw<'a>,
    #[serde(rename = "added6.f")]
    added6_f: Raw<'a>,
    dropped: Raw<'a>,
    dropped6: Raw<'a>,
}

#[cfg(test)]
mod tests {
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for PexMessage {
        fn arbitrary(g: &mut Gen) -> Self {
            fn addresses(g: &mut Gen) -> Vec<SocketAddr> {
                let family: fn(&SocketAddr) -> bool = SocketAddr::is_ipv6;
                let mut addresses: Vec<(IpAddr, u16)> = Vec::arbitrary(g);
                addresses.truncate(MAX_READ);
                let addresses = addresses.into_iter().filter(|(_, port)| *port != 0);
                let mut addresses: Vec<SocketAddr> = addresses
                    .map(|(ip, port)| SocketAddr::new(ip, port))
                    .collect();
                // In the order of the wire.
                addresses.sort_by_key(family);
                addresses
            }
            let added = addresses(g);
            Self {
                added: added
                    .into_iter()
                    .map(|address| (address, PexFlags(u8::arbitrary(g))))
                    .collect(),
                dropped: addresses(g),
            }
        }
    }

    quickcheck! {
        fn what_is_encoded_is_decoded(message: PexMessage) -> bool {
            PexMessage::decode(&message.encode()) == Ok(message)
        }

        fn a_flipped_byte_never_panics(message: PexMessage, at: usize, byte: u8) -> bool {
            let mut bytes = message.encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            PexMessage::decode(&bytes)
                .is_ok_and(|other| PexMessage::decode(&other.encode()) == Ok(other))
                || PexMessage::decode(&bytes).is_err()
        }
    }

    #[test]
    fn flags_follow_their_addresses_and_port_0_is_left_out() {
        let payload =
            b"d5:added12:\x01\x02\x03\x04\0\0\x05\x06\x07\x08\x1a\xe17:added.f2:\x01\x12e";
        let message = PexMessage::decode(payload).unwrap();
        let flags = PexFlags::SEED.with(PexFlags::REACHABLE, true);
        assert_eq!(message.added, [("5.6.7.8:6881".parse().unwrap(), flags)]);
        assert!(message.dropped.is_empty());
    }

    #[test]
    fn lists_are_bounded_and_odd_ends_ignored() {
        let list = [7; 6 * 1_000 + 5];
        let mut payload = alloc::format!("d5:added{}:", list.len()).into_bytes();
        payload.extend_from_slice(&list);
        payload.push(b'e');
        let message = PexMessage::decode(&payload).unwrap();
        assert_eq!(message.added.len(), MAX_READ);
        for strange in [&b"d5:addedi1ee"[..], b"d5:addedle7:added.fi3ee", b"de"] {
            assert_eq!(PexMessage::decode(strange), Ok(PexMessage::default()));
        }
    }
}
