//! What can be told from an address alone: whether there can be anybody, how far it reaches, and who holds it
//! (BEP 40, 42).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::ops::RangeInclusive;

/// One form for each address: IPv4 is never written as IPv6, and what IPv6 adds to an address only
/// stays where it tells links apart.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    let scope = match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, address.port())),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, address.port(), 0, scope)),
    }
}

/// Whether there can be a host at all: neither nobody in particular nor several at once, and neither in "this network"
/// (0/8) nor in the reserved block (240/4) with the broadcast address, which have no hosts.
pub(crate) fn is_host(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 240 && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

/// Whether a peer can be there at all.
pub(crate) fn is_dialable(address: SocketAddr) -> bool {
    is_host(address.ip()) && address.port() != 0
}

/// All addresses with this one's host.
pub(crate) fn ports_of(ip: IpAddr) -> RangeInclusive<SocketAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let port = |port| SocketAddr::V4(SocketAddrV4::new(ip, port));
            port(0)..=port(u16::MAX)
        }
        IpAddr::V6(ip) => {
            let last = SocketAddrV6::new(ip, u16::MAX, u32::MAX, u32::MAX);
            SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, 0))..=SocketAddr::V6(last)
        }
    }
}

/// BEP 40: a number on which both ends of a connection agree, and which nobody can choose.
pub(crate) fn canonical_priority(own: SocketAddr, peer: SocketAddr) -> u32 {
    if own.ip() == peer.ip() {
        let low = own.port().min(peer.port()).to_be_bytes();
        let high = own.port().max(peer.port()).to_be_bytes();
        return crc32c(low.into_iter().chain(high));
    }
    match (own.ip(), peer.ip()) {
        (IpAddr::V4(own), IpAddr::V4(peer)) => masked_priority(own.octets(), peer.octets(), 2),
        (IpAddr::V6(own), IpAddr::V6(peer)) => masked_priority(own.octets(), peer.octets(), 6),
        // Never asked for: each family is compared with our address in it.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    }
}

/// Of two addresses, half of the bits count from where they differ on, but all of the first `whole`
/// bytes.
fn masked_priority<const N: usize>(own: [u8; N], peer: [u8; N], whole: usize) -> u32 {
    let same = own.iter().zip(&peer).take_while(|(a, b)| a == b).count();
    let mask = |mut octets: [u8; N]| {
        for octet in octets.iter_mut().skip(whole.max(same + 1)) {
            *octet &= 0x55;
        }
        octets
    };
    let (own, peer) = (mask(own), mask(peer));
    crc32c(own.min(peer).into_iter().chain(own.max(peer)))
}

/// CRC-32C (Castagnoli), as in RFC 3720.
pub(crate) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

/// How far an address reaches: only this machine, this link, this network, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Machine,
    Link,
    Network,
    World,
}

pub(crate) fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            if ip.is_loopback() {
                Reach::Machine
            } else if ip.is_link_local() {
                Reach::Link
            } else if ip.is_private() || is_carriers(ip) {
                Reach::Network
            } else {
                Reach::World
            }
        }
        IpAddr::V6(ip) => {
            if ip.is_loopback() {
                Reach::Machine
            } else if ip.is_unicast_link_local() {
                Reach::Link
            } else if ip.is_unique_local() {
                Reach::Network
            } else {
                Reach::World
            }
        }
    }
}

/// Whether a peer can know an address, and can do anything with it: one that reaches no less far than its
/// own.
pub(crate) fn may_know(peer: IpAddr, address: IpAddr) -> bool {
    // An address of a link says nothing without the link's name.
    let named = reach(address) != Reach::Link || address.is_ipv4();
    named && reach(address) >= reach(peer)
}

/// Whether an address is of those that carriers share out among their customers (RFC 6598).
fn is_carriers(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

/// Whether an address is of this machine or its own network: such nodes are exempt from what keeps strangers from
/// being many.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match (reach(ip), ip.to_canonical()) {
        (Reach::Machine | Reach::Link, _) => true,
        // Whoever shares a carrier's network with us is a stranger all the same.
        (Reach::Network, IpAddr::V4(ip)) => !is_carriers(ip),
        (Reach::Network, IpAddr::V6(_)) => true,
        (Reach::World, _) => false,
    }
}

/// Whether a node or peer may be at `address`, if the node at `from` says so: who is far away knows nothing of our
/// neighbourhood, and is not believed if it sends us there.
pub(crate) fn is_believable(address: SocketAddr, from: SocketAddr) -> bool {
    let (ip, from) = (address.ip().to_canonical(), from.ip().to_canonical());
    let near_enough = if ip.is_loopback() {
        from.is_loopback()
    } else {
        !is_local(ip) || is_local(from)
    };
    is_dialable(address) && near_enough
}

/// What one party holds at the least: its network of 256 IPv4 addresses, or its IPv6 network. None for local
/// addresses, each of which counts for itself.
pub(crate) fn network(ip: IpAddr) -> Option<IpAddr> {
    if is_local(ip) {
        return None;
    }
    Some(match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    })
}

/// One party as far as limits go: an IPv4 address, an IPv6 network, or a single port of a local address, behind which
/// whole test networks live.
pub(crate) fn party(address: SocketAddr) -> SocketAddr {
    let ip = address.ip().to_canonical();
    match ip {
        _ if is_local(ip) => SocketAddr::new(ip, address.port()),
        IpAddr::V4(_) => SocketAddr::new(ip, 0),
        IpAddr::V6(_) => SocketAddr::new(network(ip).unwrap_or(ip), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_are_not_believed_about_our_neighbourhood() {
        for (address, from, believed) in [
            ("203.0.113.1:1", "198.51.100.1:1", true),
            ("203.0.113.1:1", "127.0.0.1:1", true),
            ("192.168.1.2:1", "198.51.100.1:1", false),
            ("192.168.1.2:1", "10.0.0.1:1", true),
            ("127.0.0.1:9", "127.0.0.1:1", true),
            ("127.0.0.1:9", "192.168.1.2:1", false),
            ("127.0.0.1:9", "198.51.100.1:1", false),
            ("[::1]:9", "[2001:db8::1]:1", false),
            ("[fd00::1]:9", "[2001:db8::1]:1", false),
            ("[::ffff:127.0.0.1]:9", "198.51.100.1:1", false),
            ("203.0.113.1:0", "198.51.100.1:1", false),
            ("224.0.0.1:7", "198.51.100.1:1", false),
            ("0.0.0.0:7", "127.0.0.1:1", false),
        ] {
            assert_eq!(
                is_believable(at(address), at(from)),
                believed,
                "{address} of {from}"
            );
        }
    }

    #[test]
    fn a_party_is_an_address_a_network_or_a_local_port() {
        assert_eq!(party(at("203.0.113.7:5")), at("203.0.113.7:0"));
        assert_eq!(party(at("127.0.0.1:5")), at("127.0.0.1:5"));
        assert_eq!(party(at("[2001:db8::7]:5")), at("[2001:db8::]:0"));
        assert_eq!(
            network(at("203.0.113.7:5").ip()),
            Some(at("203.0.113.0:0").ip())
        );
        assert_eq!(network(at("10.0.0.1:5").ip()), None);
    }

    #[test]
    fn nobody_tells_of_what_is_nearer_to_us_than_they_are() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, address, may) in [
            ("8.8.8.8", "9.9.9.9", true),
            ("8.8.8.8", "2001:4860::1", true),
            ("8.8.8.8", "192.168.1.1", false),
            ("8.8.8.8", "127.0.0.1", false),
            ("8.8.8.8", "::ffff:10.0.0.1", false),
            ("8.8.8.8", "fd00::1", false),
            ("192.168.1.2", "192.168.1.1", true),
            ("192.168.1.2", "100.64.0.1", true),
            ("192.168.1.2", "127.0.0.1", false),
            ("192.168.1.2", "169.254.0.1", false),
            ("fe80::1", "fe80::2", false),
            ("127.0.0.1", "127.0.0.9", true),
            ("127.0.0.1", "8.8.8.8", true),
        ] {
            assert_eq!(may_know(ip(peer), ip(address)), may, "{peer} {address}");
        }
    }

    #[test]
    fn a_carriers_network_is_near_and_not_ours() {
        let ip = "100.64.0.1".parse::<IpAddr>().unwrap();
        assert_eq!((reach(ip), is_local(ip)), (Reach::Network, false));
        let home = "192.168.0.1".parse::<IpAddr>().unwrap();
        assert_eq!((reach(home), is_local(home)), (Reach::Network, true));
    }

    #[test]
    fn there_is_nobody_where_there_are_no_hosts() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "240.0.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(!is_host(ip), "{text}");
        }
        assert!(is_host(IpAddr::from([192, 0, 2, 1])));
        assert!(!is_dialable(at("192.0.2.1:0")));
    }
}
