//! BEP 14: the sockets of the local discovery. What is said there is the engine's business.
//!
//! One socket for each address family hears what is said to the group, on every network that it has
//! joined it on; and one for each address speaks from there, because the system sends a packet to a group
//! out of one network only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anabranch_core::wire::lsd::{GROUP_V4, GROUP_V6};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Routers that an announcement passes at most: the groups are those of a site.
const HOPS: u32 = 4;

/// Networks that are taken part in at most.
const MAX_NETWORKS: usize = 32;

/// The sockets of one address family.
#[derive(Debug)]
pub(crate) struct Group {
    /// Where announcements go.
    pub(crate) address: SocketAddr,
    /// Hears them.
    pub(crate) ear: UdpSocket,
    /// Speak, each on one network.
    pub(crate) mouths: Vec<UdpSocket>,
}

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// The interface's number.
    index: u32,
}

/// Joins the groups on the networks of these addresses; an unspecified address stands for all networks
/// of its family but this machine's own. A family without any network has no group.
///
/// # Errors
///
/// Those of the operating system, where a family has networks and none of them can be joined.
pub(crate) fn join(listening: &[SocketAddr]) -> Vec<io::Result<Group>> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let networks: Vec<Network> = interfaces
        .iter()
        .map(|interface| Network {
            address: interface.ip(),
            index: interface.index.unwrap_or(0),
        })
        .collect();
    let loopback = |v6: bool| {
        let own = networks.iter();
        let own = own.filter(|network| network.address.is_loopback());
        own.filter(|network| network.address.is_ipv6() == v6)
            .map(|network| network.index)
            .next()
    };
    [GROUP_V4, GROUP_V6]
        .into_iter()
        .filter_map(|group| {
            let mut chosen: Vec<Network> = Vec::new();
            let family = |address: &IpAddr| address.is_ipv6() == group.is_ipv6();
            for address in listening.iter().map(SocketAddr::ip).filter(family) {
                if address.is_unspecified() {
                    let all = networks.iter().filter(|n| family(&n.address));
                    chosen.extend(all.filter(|network| !network.address.is_loopback()));
                } else if address.is_loopback() {
                    // All of 127/8 is this machine, and only one address of it has an interface.
                    let index = loopback(group.is_ipv6()).unwrap_or(0);
                    chosen.push(Network { address, index });
                } else {
                    chosen.extend(networks.iter().filter(|n| n.address == address));
                }
            }
            chosen.truncate(MAX_NETWORKS);
            (!chosen.is_empty()).then(|| open(group, &chosen))
        })
        .collect()
}

fn open(group: SocketAddr, networks: &[Network]) -> io::Result<Group> {
    let ear = socket(group)?;
    ear.set_reuse_address(true)?;
    // Other clients on this machine hear the same.
    #[cfg(unix)]
    ear.set_reuse_port(true)?;
    let any: IpAddr = match group {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Bound to the group itself, where that is possible, nothing that was sent to us alone arrives.
    let at = if cfg!(unix) { group.ip() } else { any };
    ear.bind(&SockAddr::from(SocketAddr::new(at, group.port())))?;
    let mut mouths = Vec::new();
    let mut failure = None;
    let mut joined = Vec::new();
    for network in networks {
        let result = (|| {
            // Several addresses of one interface share it.
            if !joined.contains(&network.index) {
                enter(&ear, group.ip(), *network)?;
                joined.push(network.index);
            }
            speak(group, *network)
        })();
        match result {
            Ok(mouth) => mouths.push(mouth),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if mouths.is_empty() => Err(error),
        Some(_) | None => Ok(Group {
            address: group,
            ear: ear.into(),
            mouths,
        }),
    }
}

fn enter(ear: &Socket, group: IpAddr, network: Network) -> io::Result<()> {
    match (group, network.address) {
        (IpAddr::V4(group), IpAddr::V4(address)) => ear.join_multicast_v4(&group, &address),
        (IpAddr::V6(group), IpAddr::V6(_)) => ear.join_multicast_v6(&group, network.index),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// A socket that sends to the group from one address.
fn speak(group: SocketAddr, network: Network) -> io::Result<UdpSocket> {
    let mouth = socket(group)?;
    let scope = network.index;
    let from = match network.address {
        IpAddr::V4(address) => {
            mouth.set_multicast_if_v4(&address)?;
            mouth.set_multicast_loop_v4(true)?;
            mouth.set_multicast_ttl_v4(HOPS)?;
            SocketAddr::new(address.into(), 0)
        }
        IpAddr::V6(address) => {
            mouth.set_multicast_if_v6(scope)?;
            mouth.set_multicast_loop_v6(true)?;
            mouth.set_multicast_hops_v6(HOPS)?;
            let scope = if address.is_unicast_link_local() {
                scope
            } else {
                0
            };
            std::net::SocketAddrV6::new(address, 0, 0, scope).into()
        }
    };
    mouth.bind(&SockAddr::from(from))?;
    Ok(mouth.into())
}

fn socket(group: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_said_on_loopback_is_heard_there() {
        let groups = join(&["127.0.0.1:1".parse().expect("an address")]);
        assert_eq!(groups.len(), 1, "{groups:?}");
        let group = groups.into_iter().next().expect("one").expect("joined");
        group.ear.set_nonblocking(false).expect("a socket");
        let limit = Some(Duration::from_secs(10));
        group.ear.set_read_timeout(limit).expect("a socket");
        // Others may use the same group at the same time.
        let word = format!("anabranch test {}", std::process::id());
        group.mouths[0]
            .send_to(word.as_bytes(), group.address)
            .expect("sent");
        let mut buffer = [0; 2_000];
        loop {
            let (len, from) = group.ear.recv_from(&mut buffer).expect("heard");
            if buffer[..len] == *word.as_bytes() {
                assert!(from.ip().is_loopback());
                return;
            }
        }
    }

    #[test]
    fn who_listens_nowhere_joins_nothing() {
        assert!(join(&[]).is_empty());
        let nowhere = "192.0.2.77:1".parse().expect("an address");
        assert!(join(&[nowhere]).is_empty());
    }
}
