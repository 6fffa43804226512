//! BEP 3, 7, 23: the lists of peers in the reply of an HTTP tracker.
//!
//! Each entry is taken for itself: one that cannot be used is counted and costs none of the others.

use alloc::vec::Vec;
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use url::Host;

use super::{
    PeerId,
    extended::packed_ip,
    guard::Scalar,
    tracker::{PeerName, TrackerPeer},
};
use crate::limits::{MAX_TRACKER_NAMES, MAX_TRACKER_PEERS};

/// The longest host name of the DNS, in bytes.
const MAX_NAME_LEN: usize = 253;

/// One address and port of a compact list; `None` where it is not of that length.
pub(super) fn compact_peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    Some(SocketAddr::new(packed_ip(ip)?, u16::from_be_bytes(*port)))
}

/// A list of peers: compact with addresses of `N` bytes, or of dictionaries. Bounded by
/// [`MAX_TRACKER_PEERS`] and [`MAX_TRACKER_NAMES`].
#[derive(Default)]
pub(super) struct Peers<const N: usize> {
    pub(super) list: Vec<TrackerPeer>,
    pub(super) names: Vec<PeerName>,
    pub(super) dropped: u32,
}

impl<const N: usize> Peers<N> {
    /// Shortens the list of addresses.
    pub(super) fn cut(&mut self, len: usize) {
        let over = self.list.len().saturating_sub(len);
        self.list.truncate(len);
        self.dropped = self
            .dropped
            .saturating_add(u32::try_from(over).unwrap_or(u32::MAX));
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Peer(peer) if peer.addr.port() != 0 && self.list.len() < MAX_TRACKER_PEERS => {
                self.list.push(peer);
            }
            Entry::Name(name) if name.port != 0 && self.names.contains(&name) => {}
            Entry::Name(name) if name.port != 0 && self.names.len() < MAX_TRACKER_NAMES => {
                self.names.push(name);
            }
            Entry::Peer(_) | Entry::Name(_) | Entry::Odd => {
                self.dropped = self.dropped.saturating_add(1);
            }
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Peers<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PeersVisitor::<N>)
    }
}

struct PeersVisitor<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for PeersVisitor<N> {
    type Value = Peers<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Peers<N>, E> {
        let mut peers = Peers::default();
        for peer in bytes.chunks(N + 2) {
            // A cut-off last one counts as dropped.
            let addr = compact_peer(peer).filter(|_| peer.len() == N + 2);
            peers.add(addr.map_or(Entry::Odd, |addr| {
                Entry::Peer(TrackerPeer {
                    addr,
                    peer_id: None,
                })
            }));
        }
        Ok(peers)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Peers<N>, A::Error> {
        let mut peers = Peers::default();
        while let Some(entry) = seq.next_element()? {
            peers.add(entry);
        }
        Ok(peers)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Peers<N>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Peers::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Peers<N>, E> {
        Ok(Peers::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Peers<N>, E> {
        Ok(Peers::default())
    }
}

/// One peer of a list that is not compact.
enum Entry {
    Peer(TrackerPeer),
    Name(PeerName),
    Odd,
}

impl Entry {
    /// Where `ip` is text: an address, an IPv6 address in brackets, or a host name.
    fn new(ip: &[u8], port: u16, peer_id: Option<PeerId>) -> Self {
        let Ok(text) = core::str::from_utf8(ip) else {
            return Self::Odd;
        };
        let peer = |ip| {
            let addr = SocketAddr::new(ip, port);
            Self::Peer(TrackerPeer { addr, peer_id })
        };
        let text = text.trim();
        if let Ok(ip) = text.parse() {
            return peer(ip);
        }
        // The resolver would read `2130706433` and `0x7f.1` as addresses, too: better now than there.
        match Host::parse(text) {
            Ok(Host::Ipv4(ip)) => peer(IpAddr::V4(ip)),
            Ok(Host::Ipv6(ip)) => peer(IpAddr::V6(ip)),
            Ok(Host::Domain(host)) if host.len() <= MAX_NAME_LEN => {
                Self::Name(PeerName { host, port })
            }
            Ok(Host::Domain(_)) | Err(_) => Self::Odd,
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    /// Of a key that is there twice, the first counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut ip, mut port, mut peer_id) = (None, None, None);
        while let Some((key, value)) = map.next_entry::<Scalar<'de>, Scalar<'de>>()? {
            match key.bytes() {
                Some(b"ip") => ip = ip.or(value.bytes()),
                Some(b"port") => port = port.or_else(|| as_port(value)),
                Some(b"peer id") => peer_id = peer_id.or(value.bytes()),
                Some(_) | None => {}
            }
        }
        let peer_id = peer_id.and_then(|id| id.try_into().ok()).map(PeerId);
        Ok(match ip.zip(port) {
            Some((ip, port)) => Entry::new(ip, port, peer_id),
            None => Entry::Odd,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entry::Odd)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Entry, E> {
        Ok(Entry::Odd)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entry, E> {
        Ok(Entry::Odd)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entry, E> {
        Ok(Entry::Odd)
    }
}

/// A number, or one written as a string.
fn as_port(value: Scalar<'_>) -> Option<u16> {
    match value {
        Scalar::Int(port) => u16::try_from(port).ok(),
        Scalar::Bytes(text) => core::str::from_utf8(text).ok()?.trim().parse().ok(),
        Scalar::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::{String, ToString};

    use quickcheck::quickcheck;

    use super::*;
    use crate::wire::tracker::{AnnounceReply, Answer};
    use crate::wire::tracker_http::decode_announce;

    fn reply(entries: &str) -> AnnounceReply {
        let body = format!("d5:peersl{entries}ee");
        match decode_announce(body.as_bytes()) {
            Ok(Answer::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn peer(addr: &str) -> TrackerPeer {
        TrackerPeer {
            addr: addr.parse().unwrap(),
            peer_id: None,
        }
    }

    const GOOD: &str = "d2:ip7:1.2.3.44:porti5ee";

    #[test]
    fn peers_as_dictionaries_are_read() {
        let reply = reply(
            "d2:ip9:127.0.0.17:peer id20:-AB0100-abcdefghijkl4:porti6881eed2:ip3:::14:porti80ee",
        );
        let first = TrackerPeer {
            peer_id: Some(PeerId(*b"-AB0100-abcdefghijkl")),
            ..peer("127.0.0.1:6881")
        };
        assert_eq!(reply.peers, [first, peer("[::1]:80")]);
        assert_eq!(reply.dropped, 0);
    }

    #[test]
    fn an_odd_entry_costs_none_of_the_others() {
        for odd in [
            "i7e",
            "2:xy",
            "6:\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}",
            "le",
            "li1ed2:ip1:aee",
            "de",
            "d2:ip7:1.2.3.4e",
            "d4:porti5ee",
            "d2:ip7:1.2.3.44:porti0ee",
            "d2:ip7:1.2.3.44:porti65536ee",
            "d2:ip7:1.2.3.44:porti-5ee",
            "d2:ip7:1.2.3.44:port2:x5e",
            "d2:ip7:1.2.3.44:portlee",
            "d2:ipi16909060e4:porti5ee",
            "d2:ipd1:ai1ee4:porti5ee",
            "d2:ip0:4:porti5ee",
            "d2:ip5:a b/c4:porti5ee",
            "d2:ip6:[::1]x4:porti5ee",
            "d2:ip9:1.2.3.4:54:porti5ee",
        ] {
            let reply = reply(&[GOOD, odd, GOOD].concat());
            assert_eq!(reply.peers, [peer("1.2.3.4:5"), peer("1.2.3.4:5")], "{odd}");
            assert_eq!((reply.dropped, reply.names.len()), (1, 0), "{odd}");
        }
    }

    #[test]
    fn what_can_be_understood_is() {
        for (entry, expected) in [
            ("d2:ip7:1.2.3.44:port1:5e", "1.2.3.4:5"),
            ("d2:ip7:1.2.3.44:port3: 5 e", "1.2.3.4:5"),
            ("d2:ip9: 1.2.3.4 4:porti5ee", "1.2.3.4:5"),
            ("d2:ip5:[::1]4:porti5ee", "[::1]:5"),
            ("d2:ip13:[2001:db8::1]4:porti5ee", "[2001:db8::1]:5"),
            ("d2:ip10:21307064334:porti5ee", "127.0.0.1:5"),
            // The first of two counts.
            (
                "d2:ip7:1.2.3.42:ip7:5.6.7.84:porti5e4:porti6ee",
                "1.2.3.4:5",
            ),
        ] {
            let reply = reply(entry);
            assert_eq!(reply.peers, [peer(expected)], "{entry}");
            assert_eq!(reply.dropped, 0, "{entry}");
        }
    }

    #[test]
    fn host_names_are_kept_apart_and_bounded() {
        let entry = |host: &str| format!("d2:ip{}:{host}4:porti5ee", host.len());
        let name = |host: &str| PeerName {
            host: host.to_string(),
            port: 5,
        };
        let found = reply(&[entry("Peer.example"), entry("peer.example"), entry("b")].concat());
        assert_eq!(found.names, [name("peer.example"), name("b")]);
        assert_eq!((found.peers.len(), found.dropped), (0, 0));
        let many: String = (0..100).map(|n| entry(&format!("{n}.example"))).collect();
        let found = reply(&[&many, GOOD].concat());
        assert_eq!(found.names.len(), MAX_TRACKER_NAMES);
        assert_eq!(found.peers.len(), 1);
        assert_eq!(found.dropped as usize, 100 - MAX_TRACKER_NAMES);
        assert_eq!(reply(&entry(&"a".repeat(254))).names, []);
        // Lists of both families share the bound.
        let body = format!(
            "d5:peersl{many}e6:peers6l{}ee",
            many.replace("example", "invalid")
        );
        let Ok(Answer::Reply(found)) = decode_announce(body.as_bytes()) else {
            panic!("a reply");
        };
        assert_eq!(found.names.len(), MAX_TRACKER_NAMES);
    }

    quickcheck! {
        fn any_text_for_an_address_is_judged(ip: Vec<u8>, port: u16) -> bool {
            match Entry::new(&ip, port, None) {
                Entry::Peer(peer) => peer.addr.port() == port,
                Entry::Name(name) => !name.host.is_empty() && name.host.len() <= MAX_NAME_LEN,
                Entry::Odd => true,
            }
        }
    }
}
