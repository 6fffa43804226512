//! What the operating system says of packets that did not arrive.
//!
//! A socket that is not connected hears nothing of ICMP messages unless it asks for them. Linux keeps them in a queue of
//! the socket, with the destination of the packet that each is about. Other systems report an error and no destination,
//! which is of no use here.

use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;

use anabranch_core::Event;
use anabranch_core::event::Undelivered;

/// Reports that are taken at a time; the socket's own limit on memory is about as small.
const REPORTS_AT_ONCE: usize = 256;

/// The reports of one socket, of which it is a second handle.
pub(crate) struct Reports(Option<UdpSocket>);

impl Reports {
    /// Asks for the reports of a socket. There are none where the system has none to give.
    pub(crate) fn of(socket: &UdpSocket) -> Self {
        Self(system::ask(socket).ok())
    }

    /// For a socket that sends nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Takes what has come.
    pub(crate) fn take(&self, events: &mut VecDeque<Event>) {
        let Some(socket) = &self.0 else {
            return;
        };
        for _ in 0..REPORTS_AT_ONCE {
            let Some(report) = system::next(socket) else {
                return;
            };
            if let Some((to, error)) = report
                && let Some(reason) = reason(&error)
            {
                events.push_back(Event::Undelivered { to, reason });
            }
        }
    }
}

/// The engine's word for the failure of a packet; nothing for what says nothing of the destination.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of the standard library grow"
)]
pub(crate) fn reason(error: &io::Error) -> Option<Undelivered> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Undelivered::Refused),
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::PermissionDenied => Some(Undelivered::Unreachable),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io::{self, IoSliceMut};
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};

    /// More than a report and the address of its sender take.
    type Space = [u8; 256];

    pub(super) fn ask(socket: &UdpSocket) -> io::Result<UdpSocket> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(socket, Ipv4RecvErr, &true)?;
        } else {
            setsockopt(socket, Ipv6RecvErr, &true)?;
        }
        socket.try_clone()
    }

    /// The next report, if there is one; what it is about, if it says.
    #[expect(
        clippy::wildcard_enum_match_arm,
        clippy::option_option,
        reason = "a report of something else is no end of the reports"
    )]
    pub(super) fn next(socket: &UdpSocket) -> Option<Option<(SocketAddr, io::Error)>> {
        // Nothing but the address is wanted of the packet.
        let mut packet = [0; 0];
        let mut slices = [IoSliceMut::new(&mut packet)];
        let mut space = nix::cmsg_space!(Space);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        let report = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut space), flags).ok()?;
        let errno = report.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _) => i32::try_from(error.ee_errno).ok(),
                _ => None,
            })
        });
        let to = report.address.and_then(|address| {
            let v4 = address
                .as_sockaddr_in()
                .map(|to| SocketAddr::V4((*to).into()));
            v4.or_else(|| {
                address
                    .as_sockaddr_in6()
                    .map(|to| SocketAddr::V6((*to).into()))
            })
        });
        Some(to.zip(errno.map(io::Error::from_raw_os_error)))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::net::{SocketAddr, UdpSocket};

    pub(super) fn ask(_: &UdpSocket) -> io::Result<UdpSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[expect(clippy::option_option, reason = "as it is on Linux")]
    pub(super) fn next(_: &UdpSocket) -> Option<Option<(SocketAddr, io::Error)>> {
        None
    }
}
