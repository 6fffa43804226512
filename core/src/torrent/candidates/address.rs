//! What can be told from an address alone (BEP 40).

use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
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

/// Whether a peer can be there at all.
pub(crate) fn is_dialable(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        // Neither "this network" (0/8) nor the reserved block (240/4) with the broadcast address has
        // hosts.
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 240 && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && address.port() != 0
}

/// All addresses with this one's host.
pub(super) fn ports_of(ip: IpAddr) -> RangeInclusive<SocketAddr> {
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
pub(super) fn canonical_priority(own: SocketAddr, peer: SocketAddr) -> u32 {
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
