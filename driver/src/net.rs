//! Sockets before a runtime has them, and what the operating system says about them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anabranch_core::event::{CloseReason, ContactError};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Begins to dial: the socket is in non-blocking mode, with Nagle's algorithm off, and becomes
/// writable when it is connected or has failed, which `take_error` tells.
///
/// # Errors
///
/// Those of the operating system; also `from` and `to` of different families.
pub fn begin_connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    }
    match socket.connect(&SockAddr::from(to)) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Prepares a connection that was accepted: non-blocking, Nagle's algorithm off.
///
/// # Errors
///
/// Those of the operating system.
pub fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)
}

/// The sockets of one address: TCP and UDP on the same port.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) udp: UdpSocket,
}

/// How often a port that the system chose is drawn anew when it is taken for another protocol or
/// address family.
const PORT_DRAWS: u32 = 16;

/// Binds what shares one port. The system chooses port 0 for the first socket alone, and others may
/// be taken already where that one was free: then another is drawn.
pub(crate) fn draw<T>(port: u16, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut draws = 1;
    loop {
        match bind() {
            Err(error)
                if port == 0 && draws < PORT_DRAWS && error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
        draws += 1;
    }
}

/// Binds TCP and UDP to one address. Port 0 is filled in.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(SocketAddr, Bound)> {
    draw(address.port(), || bind_pair(address))
}

fn bind_pair(address: SocketAddr) -> io::Result<(SocketAddr, Bound)> {
    let tcp = bind_tcp(address)?;
    let address = tcp.local_addr()?;
    let udp = bind_udp(address)?;
    Ok((
        address,
        Bound {
            tcp: Some(tcp),
            udp,
        },
    ))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own on the same port.
        socket.set_only_v6(true)?;
    }
    // Elsewhere than on Unix this would let two programs share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds UDP to one address.
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket.into())
}

/// Whether a failure to bind is only the lack of an address family on this machine.
pub(crate) fn is_family_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(error),
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
        )
    }
    #[cfg(not(unix))]
    {
        matches!(
            error.kind(),
            io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
        )
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::INPROGRESS)
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::WouldBlock
    }
}

/// Whether this machine lacks something that another socket needs: descriptors, memory, ports.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        if let Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) =
            Errno::from_io_error(error)
        {
            return true;
        }
    }
    matches!(
        error.kind(),
        io::ErrorKind::OutOfMemory | io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

/// The engine's word for a socket's failure.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of the standard library grow"
)]
pub(crate) fn close_reason(error: &io::Error) -> CloseReason {
    if is_exhausted(error) {
        return CloseReason::Exhausted;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => CloseReason::Reset,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            CloseReason::Unreachable
        }
        _ => CloseReason::Failed,
    }
}

/// The engine's word for a failed name lookup. The resolver's errors have no kind of their own in the
/// standard library, only words.
#[must_use]
pub fn lookup_error(error: &io::Error) -> ContactError {
    let text = error.to_string();
    if text.contains("emporary failure") || text.contains("try again") {
        ContactError::Failed(text)
    } else {
        ContactError::NoSuchHost
    }
}

/// Whether an address belongs to the public internet: neither this machine, nor a private or
/// link-local network, nor a range that routers drop.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !(first == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (first == 100 && second & 0xc0 == 64)
        || (first, second, third) == (192, 0, 0)
        || (first == 198 && second & 0xfe == 18)
        || address.is_documentation()
        || first >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = embedded_v4(address) {
        return is_public_v4(v4);
    }
    let [first, second, ..] = address.segments();
    // Only 2000::/3 has been given out; 2001:db8::/32 is for documentation.
    first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0x0db8)
}

/// The IPv4 address that packets to this address end up at: mapped, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_recognised_in_every_guise() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in ["1.1.1.1", "2606:4700::1", "64:ff9b::1.1.1.1", "100.128.0.1"] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn tcp_and_udp_share_a_port_that_the_system_chose() {
        let (address, bound) = bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        assert_ne!(address.port(), 0);
        assert_eq!(bound.udp.local_addr().expect("bound"), address);
        let taken = bind(address).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_that_is_half_taken_is_drawn_anew_if_the_system_chose_it() {
        let taken = || io::Error::from(io::ErrorKind::AddrInUse);
        let tries = |port, free_at| {
            let mut tries = 0;
            let result = draw(port, || {
                tries += 1;
                if tries == free_at {
                    Ok(())
                } else {
                    Err(taken())
                }
            });
            (tries, result.is_ok())
        };
        assert_eq!(tries(0, 3), (3, true));
        assert_eq!(tries(0, 0), (PORT_DRAWS, false));
        assert_eq!(tries(6881, 2), (1, false));
    }
}
