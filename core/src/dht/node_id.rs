//! BEP 42: places that are bound to addresses, and what our own address is.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use crate::address::{crc32c, is_dialable};
use crate::address::{is_local, party};
use crate::limits::DHT_ADDRESS_VOTES;
use crate::rng::Rng;
use crate::wire::krpc::NodeId;

/// So many nodes must agree on our address before it is believed, and they must be the majority of those that were
/// heard last.
const QUORUM: usize = 6;

/// A place that a node at `ip` may have; any place for a local address, or none.
pub(crate) fn generate(ip: Option<IpAddr>, rng: &mut Rng) -> NodeId {
    let mut id = [0; NodeId::LEN];
    rng.fill(&mut id);
    let bound = ip.filter(|ip| !is_local(*ip));
    if let Some(hash) = bound.map(|ip| hash(ip, id[19])) {
        let [a, b, c, _] = hash.to_be_bytes();
        id[0] = a;
        id[1] = b;
        id[2] = (c & 0xf8) | (id[2] & 0x07);
    }
    NodeId::new(id)
}

/// Whether a node at `ip` may have the place.
pub(crate) fn is_valid(id: &NodeId, ip: IpAddr) -> bool {
    if is_local(ip) {
        return true;
    }
    let bytes = id.as_bytes();
    let [a, b, c, _] = hash(ip, bytes[19]).to_be_bytes();
    bytes[0] == a && bytes[1] == b && bytes[2] & 0xf8 == c & 0xf8
}

fn hash(ip: IpAddr, random: u8) -> u32 {
    const V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let seasoned = |octets: &[u8], mask: &[u8]| {
        let masked = octets.iter().zip(mask).map(|(octet, mask)| octet & mask);
        let salt = (random & 0x07) << 5;
        let with_salt = masked
            .enumerate()
            .map(|(at, octet)| if at == 0 { octet | salt } else { octet });
        crc32c(with_salt)
    };
    match ip.to_canonical() {
        IpAddr::V4(ip) => seasoned(&ip.octets(), &V4),
        IpAddr::V6(ip) => seasoned(&ip.octets(), &V6),
    }
}

/// Our address in one family, as others see it. Nobody is believed alone: a wrong address costs us our place.
#[derive(Debug, Default)]
pub(crate) struct External {
    known: Option<IpAddr>,
    /// The last word of each of the last voters, the oldest first.
    votes: VecDeque<(SocketAddr, IpAddr)>,
}

impl External {
    /// What the embedder knows.
    pub(crate) fn new(known: Option<IpAddr>) -> Self {
        Self {
            known,
            votes: VecDeque::new(),
        }
    }

    /// Our address, as far as it is known.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.known
    }

    /// Somebody says what our address is: a node of this place, or a peer, which has none. Says whether that changed what
    /// we believe.
    ///
    /// Once an address is believed, only nodes at the places that theirs give them can talk us out of it: otherwise
    /// those who gathered around a torrent could, as soon as we come by.
    pub(crate) fn vote(&mut self, from: SocketAddr, place: Option<&NodeId>, ip: IpAddr) -> bool {
        if self.known.is_some() && !place.is_some_and(|id| is_valid(id, from.ip())) {
            return false;
        }
        let ip = ip.to_canonical();
        if is_local(ip) || !is_dialable(SocketAddr::new(ip, 1)) {
            return false;
        }
        let voter = party(from);
        self.votes.retain(|(known, _)| *known != voter);
        if self.votes.len() >= DHT_ADDRESS_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, ip));
        let agreeing = self.votes.iter().filter(|(_, vote)| *vote == ip).count();
        let believed = agreeing >= QUORUM && 2 * agreeing > self.votes.len();
        if !believed || self.known == Some(ip) {
            return false;
        }
        self.known = Some(ip);
        // Whoever voted so far need not be at the right place.
        self.votes.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn the_examples_of_the_specification_are_valid() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let (ip, id): (IpAddr, NodeId) = (ip.parse().unwrap(), id.parse().unwrap());
            assert!(is_valid(&id, ip), "{ip}");
            assert!(!is_valid(&id, "203.0.113.9".parse().unwrap()), "{ip}");
            assert!(is_valid(&id, "192.168.0.1".parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_generated_place_is_valid_at_its_address_and_differs_each_time() {
        let mut rng = Rng::new(Seed([1; 32]));
        for ip in ["203.0.113.9", "2001:db8::1", "127.0.0.1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let one = generate(Some(ip), &mut rng);
            let two = generate(Some(ip), &mut rng);
            assert!(is_valid(&one, ip) && is_valid(&two, ip));
            assert_ne!(one, two);
        }
        assert_ne!(generate(None, &mut rng), generate(None, &mut rng));
    }

    #[test]
    fn a_majority_of_different_voters_is_believed() {
        let mut external = External::default();
        let own: IpAddr = "203.0.113.9".parse().unwrap();
        let lie: IpAddr = "198.51.100.1".parse().unwrap();
        let mut rng = Rng::new(Seed([2; 32]));
        let mut voter = |external: &mut External, n: u8, ip: IpAddr| {
            let address = SocketAddr::from(([5, n, 0, 1], 6881));
            let id = generate(Some(address.ip()), &mut rng);
            external.vote(address, Some(&id), ip)
        };
        let sybil = |external: &mut External, n: u8| {
            let address = SocketAddr::from(([6, n, 0, 1], 6881));
            external.vote(address, Some(&NodeId::new([7; 20])), lie)
        };
        let peer = |external: &mut External, n: u8, ip: IpAddr| {
            external.vote(SocketAddr::from(([7, n, 0, 1], 6881)), None, ip)
        };
        for _ in 0..100 {
            assert!(!voter(&mut external, 0, lie), "one voter is not many");
            assert!(!peer(&mut external, 0, lie), "nor are two");
        }
        for n in 1..4 {
            assert!(!voter(&mut external, n, own));
            assert!(!peer(&mut external, n, own) || n == 3);
        }
        assert_eq!(external.address(), Some(own), "six of eight");
        assert!(!voter(&mut external, 7, own), "nothing new");
        for n in 10..15 {
            assert!(!voter(&mut external, n, own));
        }
        for n in 20..26 {
            assert!(!voter(&mut external, n, lie), "no majority");
        }
        for n in 0..100 {
            assert!(!sybil(&mut external, n), "not where they belong");
            assert!(!peer(&mut external, n, lie), "of no place at all");
        }
        for n in 40..80 {
            voter(&mut external, n, "192.168.1.1".parse().unwrap());
        }
        assert_eq!(external.address(), Some(own), "local addresses do not vote");
    }
}
