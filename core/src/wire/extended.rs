//! BEP 10, 21: the handshake of the extension protocol.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    WireError,
    guard::{self, Raw, Scalar},
    text::printable,
};

/// The extended message id of the handshake itself.
pub const HANDSHAKE_ID: u8 = 0;

/// Extensions of a peer that are remembered; those past it, in the order they are sent, are
/// ignored.
pub const MAX_EXTENSIONS: usize = 64;

/// The longest name of an extension, in bytes; longer ones are ignored.
pub const MAX_EXTENSION_NAME: usize = 64;

/// The longest client name that is kept, in bytes.
pub const MAX_CLIENT_NAME: usize = 128;

/// What a peer says about itself in the first extended message, and may change in later ones.
/// Everything is optional; unknown keys are ignored, and a key with a value that makes no sense
/// counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExtendedHandshake {
    /// `m`: extensions by name and the ids under which the sender of this wants their messages. 0
    /// switches one off. A later handshake adds to an earlier one.
    pub extensions: BTreeMap<String, u8>,
    /// `v`: client and version, made fit to show.
    pub client: Option<String>,
    /// `p`: the TCP port the sender listens on, not 0.
    pub port: Option<u16>,
    /// `reqq`: requests the sender takes without dropping any.
    pub reqq: Option<u32>,
    /// `yourip`: the address under which the sender sees the receiver.
    pub your_ip: Option<IpAddr>,
    /// `ipv4`: an address of the sender's.
    pub ipv4: Option<Ipv4Addr>,
    /// `ipv6`: an address of the sender's.
    pub ipv6: Option<Ipv6Addr>,
    /// `metadata_size`: size of the info dictionary in bytes (BEP 9), as claimed.
    pub metadata_size: Option<u32>,
    /// `upload_only`: the sender does not download (BEP 21). `None` where it does not say.
    pub upload_only: Option<bool>,
    /// `e`: the sender prefers encrypted connections.
    pub encryption: Option<bool>,
}

impl ExtendedHandshake {
    /// Decodes the payload of an extended message with id 0.
    ///
    /// # Errors
    ///
    /// [`WireError::Bencode`] or [`WireError::Shape`]: it is not a bencoded dictionary, or goes
    /// over a limit of nesting or count.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let scanned = guard::scan(payload)?;
        let incoming: Incoming<'_> = scanned.decode()?;
        Ok(Self {
            extensions: incoming.m.0,
            client: incoming.v.bytes().map(|v| printable(v, MAX_CLIENT_NAME)),
            port: incoming
                .p
                .int()
                .and_then(|port| u16::try_from(port).ok())
                .filter(|&port| port != 0),
            reqq: incoming.reqq.count(),
            your_ip: incoming.yourip.bytes().and_then(packed_ip),
            ipv4: incoming
                .ipv4
                .bytes()
                .and_then(packed::<4>)
                .map(Ipv4Addr::from),
            ipv6: incoming
                .ipv6
                .bytes()
                .and_then(packed::<16>)
                .map(Ipv6Addr::from),
            metadata_size: incoming
                .metadata_size
                .int()
                .and_then(|size| u32::try_from(size).ok()),
            upload_only: incoming.upload_only.int().map(|value| value != 0),
            encryption: incoming.e.int().map(|value| value != 0),
        })
    }

    /// The payload of an extended message with id 0.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let your_ip = self.your_ip.map(|ip| match ip {
            IpAddr::V4(ip) => Vec::from(ip.octets()),
            IpAddr::V6(ip) => Vec::from(ip.octets()),
        });
        let ipv4 = self.ipv4.map(|ip| ip.octets());
        let ipv6 = self.ipv6.map(|ip| ip.octets());
        guard::encode(&Outgoing {
            e: self.encryption.map(u8::from),
            m: &self.extensions,
            v: self.client.as_deref(),
            p: self.port,
            reqq: self.reqq,
            yourip: your_ip.as_deref().map(Raw),
            ipv4: ipv4.as_ref().map(|ip| Raw(ip)),
            ipv6: ipv6.as_ref().map(|ip| Raw(ip)),
            metadata_size: self.metadata_size,
            upload_only: self.upload_only.map(u8::from),
        })
    }
}

/// An address of 4 or 16 bytes.
pub(super) fn packed_ip(bytes: &[u8]) -> Option<IpAddr> {
    packed::<4>(bytes)
        .map(IpAddr::from)
        .or_else(|| packed::<16>(bytes).map(IpAddr::from))
}

fn packed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default)]
    m: Extensions,
    #[serde(default, borrow)]
    v: Scalar<'a>,
    #[serde(default, borrow)]
    p: Scalar<'a>,
    #[serde(default, borrow)]
    reqq: Scalar<'a>,
    #[serde(default, borrow)]
    yourip: Scalar<'a>,
    #[serde(default, borrow)]
    ipv4: Scalar<'a>,
    #[serde(default, borrow)]
    ipv6: Scalar<'a>,
    #[serde(default, borrow)]
    metadata_size: Scalar<'a>,
    #[serde(default, borrow)]
    upload_only: Scalar<'a>,
    #[serde(default, borrow)]
    e: Scalar<'a>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<u8>,
    m: &'a BTreeMap<String, u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reqq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yourip: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_only: Option<u8>,
}

/// The `m` dictionary, within its bounds.
#[derive(Default)]
struct Extensions(BTreeMap<String, u8>);

impl<'de> Deserialize<'de> for Extensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtensionsVisitor)
    }
}

struct ExtensionsVisitor;

impl<'de> Visitor<'de> for ExtensionsVisitor {
    type Value = Extensions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Extensions, A::Error> {
        let mut extensions = BTreeMap::new();
        while let Some((name, id)) = map.next_entry::<Scalar<'de>, Scalar<'de>>()? {
            let name = name
                .bytes()
                .filter(|name| name.len() <= MAX_EXTENSION_NAME)
                .and_then(|name| core::str::from_utf8(name).ok());
            let id = id.int().and_then(|id| u8::try_from(id).ok());
            if let (Some(name), Some(id)) = (name, id)
                && extensions.len() < MAX_EXTENSIONS
            {
                extensions.insert(name.to_string(), id);
            }
        }
        Ok(Extensions(extensions))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Extensions, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Extensions::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Extensions, E> {
        Ok(Extensions::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Extensions, E> {
        Ok(Extensions::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Extensions, E> {
        Ok(Extensions::default())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for ExtendedHandshake {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut names = BTreeMap::<String, u8>::arbitrary(g);
            names.retain(|name, _| name.len() <= MAX_EXTENSION_NAME);
            Self {
                extensions: names.into_iter().take(MAX_EXTENSIONS).collect(),
                client: Option::<String>::arbitrary(g)
                    .map(|client| printable(client.as_bytes(), MAX_CLIENT_NAME)),
                port: Option::<u16>::arbitrary(g).filter(|&port| port != 0),
                reqq: Arbitrary::arbitrary(g),
                your_ip: Arbitrary::arbitrary(g),
                ipv4: Arbitrary::arbitrary(g),
                ipv6: Arbitrary::arbitrary(g),
                metadata_size: Arbitrary::arbitrary(g),
                upload_only: Arbitrary::arbitrary(g),
                encryption: Arbitrary::arbitrary(g),
            }
        }
    }

    quickcheck! {
        fn what_is_encoded_is_decoded(handshake: ExtendedHandshake) -> bool {
            ExtendedHandshake::decode(&handshake.encode()) == Ok(handshake)
        }

        fn a_flipped_byte_never_panics(handshake: ExtendedHandshake, at: usize, byte: u8) -> bool {
            let mut bytes = handshake.encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            // Whatever comes of it can be said again.
            ExtendedHandshake::decode(&bytes)
                .is_ok_and(|other| ExtendedHandshake::decode(&other.encode()) == Ok(other))
                || ExtendedHandshake::decode(&bytes).is_err()
        }
    }

    #[test]
    fn the_example_of_the_specification_is_understood() {
        let payload = "d1:md11:LT_metadatai1e7:µT_PEXi2ee1:pi6881e1:v13:µTorrent 1.2e";
        let handshake = ExtendedHandshake::decode(payload.as_bytes()).unwrap();
        assert_eq!(handshake.extensions["LT_metadata"], 1);
        assert_eq!(handshake.extensions["µT_PEX"], 2);
        assert_eq!(handshake.port, Some(6881));
        assert_eq!(handshake.client.as_deref(), Some("µTorrent 1.2"));
        assert_eq!(handshake.encode(), payload.as_bytes());
    }

    #[test]
    fn values_of_a_strange_type_count_as_absent() {
        let payload =
            b"d3:bogle1:mi4e1:pi70000e4:reqqi-1e11:upload_onlyi1e1:vd1:ali1eee6:yourip3:abce";
        let expected = ExtendedHandshake {
            upload_only: Some(true),
            ..ExtendedHandshake::default()
        };
        assert_eq!(ExtendedHandshake::decode(payload), Ok(expected));
    }

    #[test]
    fn a_number_of_any_size_spoils_no_handshake() {
        let wide = "9".repeat(500);
        let payload = format!(
            "d1:ei{wide}e1:md6:ut_pexi{wide}e11:ut_metadatai3ee13:metadata_sizei{wide}e1:pi{wide}e4:reqqi{wide}e1:v1:x1:zd1:ai-{wide}eee"
        );
        let handshake = ExtendedHandshake::decode(payload.as_bytes()).unwrap();
        let expected = ExtendedHandshake {
            extensions: [("ut_metadata".to_string(), 3)].into(),
            client: Some("x".into()),
            encryption: Some(true),
            // As many as there can be.
            reqq: Some(u32::MAX),
            ..ExtendedHandshake::default()
        };
        assert_eq!(handshake, expected);
    }

    #[test]
    fn extensions_are_bounded() {
        let mut payload = String::from("d1:md");
        for n in 0..10_000 {
            payload += &format!("6:x{n:05}i1e");
        }
        payload += &format!("100:{}i1ee1:v1000:{}e", "z".repeat(100), "v".repeat(1000));
        let handshake = ExtendedHandshake::decode(payload.as_bytes()).unwrap();
        assert_eq!(handshake.extensions.len(), MAX_EXTENSIONS);
        assert_eq!(handshake.client.map(|v| v.len()), Some(MAX_CLIENT_NAME));
    }

    #[test]
    fn anything_but_a_dictionary_is_refused() {
        for payload in ["", "le", "i1e", "2:de", "d", "d1:pi1e1:pi2ee"] {
            assert!(
                ExtendedHandshake::decode(payload.as_bytes()).is_err(),
                "{payload}"
            );
        }
    }
}
