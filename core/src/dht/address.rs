//! BEP 42: which addresses are local, and what one place of the network is taken for.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::torrent::candidates::address::is_dialable;

/// Whether an address is of this machine or its own network: such nodes are exempt from what keeps strangers from
/// being many.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
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
}
