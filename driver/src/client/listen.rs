//! The sockets that a client listens on: which addresses, and their ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::StartError;
use crate::net::{self, Bound};

#[derive(Clone, Debug)]
pub(super) enum Listen {
    /// Every address of the machine, on this port; 0 for one that the system chooses.
    Everywhere(u16),
    At(Vec<SocketAddr>),
}

/// Binds what is to be listened on, or else sockets for packets alone.
pub(super) fn bind(
    listen: &Listen,
    from: Option<IpAddr>,
) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let fail = |address| move |source| StartError::Listen { address, source };
    match listen {
        Listen::At(addresses) if addresses.is_empty() => bind_packets(from),
        Listen::At(addresses) => {
            let mut bound = Vec::with_capacity(addresses.len());
            for address in addresses {
                // Peers are told one port: where any will do, it is that of the first.
                let first = bound
                    .first()
                    .map(|(first, _): &(SocketAddr, _)| first.port());
                let wish = first.filter(|_| address.port() == 0);
                let wished = wish.map(|port| net::bind(SocketAddr::new(address.ip(), port)));
                let pair = match wished {
                    Some(Ok(pair)) => pair,
                    Some(Err(_)) | None => net::bind(*address).map_err(fail(*address))?,
                };
                bound.push(pair);
            }
            Ok(bound)
        }
        Listen::Everywhere(port) => bind_everywhere(*port),
    }
}

fn bind_everywhere(port: u16) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let mut tried = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    net::draw(port, || bind_families(port, &mut tried)).map_err(|source| StartError::Listen {
        address: tried,
        source,
    })
}

/// Binds one port in the families that there are; `tried` is the last one that was tried.
fn bind_families(port: u16, tried: &mut SocketAddr) -> io::Result<Vec<(SocketAddr, Bound)>> {
    let mut port = port;
    let mut sockets = Vec::new();
    *tried = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    match net::bind(*tried) {
        Ok((address, bound)) => {
            port = address.port();
            sockets.push((address, bound));
        }
        Err(error) if net::is_family_missing(&error) => {}
        Err(source) => return Err(source),
    }
    *tried = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match net::bind(*tried) {
        Ok(pair) => sockets.push(pair),
        Err(error) if net::is_family_missing(&error) && !sockets.is_empty() => {}
        Err(source) => return Err(source),
    }
    Ok(sockets)
}

/// Sockets for packets that nobody dials: trackers are asked over UDP also by who does not listen.
fn bind_packets(from: Option<IpAddr>) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let everywhere = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let addresses = match from {
        Some(from) => vec![from],
        None => everywhere.to_vec(),
    };
    let mut sockets = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(address, 0);
        match net::bind_udp(address) {
            Ok(udp) => sockets.push((address, Bound { tcp: None, udp })),
            Err(error) if net::is_family_missing(&error) && from.is_none() => {}
            Err(source) => return Err(StartError::Listen { address, source }),
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_listen_on_one_port_that_the_system_chose() {
        let sockets = bind(&Listen::Everywhere(0), None).expect("a free port");
        let ports: Vec<u16> = sockets.iter().map(|(address, _)| address.port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn several_addresses_share_the_port_that_the_system_chose_for_the_first() {
        let any = |last| SocketAddr::from(([127, 0, 0, last], 0));
        let sockets = bind(&Listen::At(vec![any(1), any(2), any(3)]), None).expect("free ports");
        let ports: Vec<u16> = sockets.iter().map(|(address, _)| address.port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        // One that is taken there is no reason to fail.
        let sockets = bind(&Listen::At(vec![any(1), any(1)]), None).expect("free ports");
        assert_ne!(sockets[0].0.port(), sockets[1].0.port());
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let (taken, _held) =
            net::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let error = bind(&Listen::At(vec![taken]), None).expect_err("taken");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
