//! The embedder's word on whom this machine talks to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use anabranch_core::id::TorrentId;

/// Decides which contacts are made. The engine takes a refusal as an answer, `Denied`, and a torrent's status says
/// when it is what holds the torrent back.
///
/// There is a method for each kind of contact, and what it does not say is *no*: a kind that a later version makes is
/// not made before the policy speaks of it. To allow all but some, write each method that is to say yes, and let it ask
/// [`AllowAll`]; to go by addresses alone, take [`ByAddress`].
///
/// Asked inside the loop, so it must not wait for anything.
///
/// ```
/// use std::net::SocketAddr;
///
/// use anabranch_driver::{Policy, Purpose};
///
/// /// Peers and their packets; no names, no web.
/// struct PeersOnly;
///
/// impl Policy for PeersOnly {
///     fn connect(&self, to: SocketAddr, _: &Purpose) -> bool {
///         to.port() >= 1024
///     }
///
///     fn accept(&self, _: SocketAddr, _: &Purpose) -> bool {
///         true
///     }
///
///     fn datagram(&self, to: SocketAddr, _: &Purpose) -> bool {
///         to.port() >= 1024
///     }
/// }
/// ```
pub trait Policy: Send + Sync + 'static {
    /// Whether a connection to a peer may be made, by TCP or by uTP.
    fn connect(&self, to: SocketAddr, purpose: &Purpose) -> bool {
        let _ = (to, purpose);
        false
    }

    /// Whether a connection from a peer may be kept, by TCP or by uTP. Packets of a connection that was allowed need no
    /// further leave, neither here nor of [`datagram`](Self::datagram).
    fn accept(&self, from: SocketAddr, purpose: &Purpose) -> bool {
        let _ = (from, purpose);
        false
    }

    /// Whether a UDP packet may be sent: of the DHT, to a tracker, to the local network.
    fn datagram(&self, to: SocketAddr, purpose: &Purpose) -> bool {
        let _ = (to, purpose);
        false
    }

    /// Whether the system's resolver may be asked for a name.
    fn resolve(&self, name: &str, purpose: &Purpose) -> bool {
        let _ = (name, purpose);
        false
    }

    /// Whether an HTTP exchange may be made: asked once for every hop, and for every address that its host's name leads
    /// to and that may be used for it.
    fn http(&self, url: &str, address: SocketAddr, purpose: &Purpose) -> bool {
        let _ = (url, address, purpose);
        false
    }
}

/// What a contact is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purpose {
    /// For which torrent. None where that is not known yet, as of a connection from a peer, and for what is for none
    /// or for several: the DHT, the local discovery, a UDP tracker's name and the connection to it that torrents
    /// share.
    pub torrent: Option<TorrentId>,
}

impl Purpose {
    /// For a torrent, or for none.
    pub const fn new(torrent: Option<TorrentId>) -> Self {
        Self { torrent }
    }
}

/// The policy that allows everything that this version knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn connect(&self, _: SocketAddr, _: &Purpose) -> bool {
        true
    }

    fn accept(&self, _: SocketAddr, _: &Purpose) -> bool {
        true
    }

    fn datagram(&self, _: SocketAddr, _: &Purpose) -> bool {
        true
    }

    fn resolve(&self, _: &str, _: &Purpose) -> bool {
        true
    }

    fn http(&self, _: &str, _: SocketAddr, _: &Purpose) -> bool {
        true
    }
}

/// The policy that goes by addresses, whatever the contact is: an allow-list, a block-list, one network. No name is
/// looked up, since that tells a resolver about it; addresses in text are no names.
///
/// ```
/// use anabranch_driver::ByAddress;
///
/// let only_here = ByAddress(|address: std::net::IpAddr| address.is_loopback());
/// # fn is_policy(_: impl anabranch_driver::Policy) {}
/// # is_policy(only_here);
/// ```
#[derive(Clone, Copy)]
pub struct ByAddress<F>(pub F);

impl<F> fmt::Debug for ByAddress<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByAddress").finish_non_exhaustive()
    }
}

impl<F: Fn(IpAddr) -> bool + Send + Sync + 'static> Policy for ByAddress<F> {
    fn connect(&self, to: SocketAddr, _: &Purpose) -> bool {
        self.0(to.ip())
    }

    fn accept(&self, from: SocketAddr, _: &Purpose) -> bool {
        self.0(from.ip())
    }

    fn datagram(&self, to: SocketAddr, _: &Purpose) -> bool {
        self.0(to.ip())
    }

    fn http(&self, _: &str, address: SocketAddr, _: &Purpose) -> bool {
        self.0(address.ip())
    }
}

/// A contact that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact<'a> {
    pub(crate) kind: ContactKind<'a>,
    pub(crate) purpose: Purpose,
}

/// The kinds of contacts, each of which is a method of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContactKind<'a> {
    Connect(SocketAddr),
    Accept(SocketAddr),
    Datagram(SocketAddr),
    /// A packet of a connection by uTP that one side has made.
    Stream(SocketAddr),
    Resolve(&'a str),
    Http {
        url: &'a str,
        address: SocketAddr,
    },
}

impl fmt::Display for ContactKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(to) => write!(f, "connect to {to}"),
            Self::Accept(from) => write!(f, "accept {from}"),
            Self::Datagram(to) | Self::Stream(to) => write!(f, "packet to {to}"),
            Self::Resolve(name) => write!(f, "look up {name}"),
            // The URL may hold a key.
            Self::Http { address, .. } => write!(f, "http with {address}"),
        }
    }
}

impl<'a> Contact<'a> {
    pub(crate) const fn new(kind: ContactKind<'a>, torrent: Option<TorrentId>) -> Self {
        let purpose = Purpose::new(torrent);
        Self { kind, purpose }
    }
}

impl dyn Policy {
    /// The one place where a policy is asked.
    pub(crate) fn allows(&self, contact: &Contact<'_>) -> bool {
        let purpose = &contact.purpose;
        let allowed = match contact.kind {
            ContactKind::Connect(to) => self.connect(to, purpose),
            ContactKind::Accept(from) => self.accept(from, purpose),
            ContactKind::Datagram(to) => self.datagram(to, purpose),
            ContactKind::Stream(to) => self.connect(to, purpose) || self.accept(to, purpose),
            ContactKind::Resolve(name) => self.resolve(name, purpose),
            ContactKind::Http { url, address } => self.http(url, address, purpose),
        };
        if !allowed {
            tracing::debug!(contact = %contact.kind, "denied by the policy");
        }
        allowed
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A policy in one closure, for tests that look at what is asked.
    pub(crate) struct Rule<F>(pub(crate) F);

    impl<F: Fn(ContactKind<'_>) -> bool + Send + Sync + 'static> Policy for Rule<F> {
        fn connect(&self, to: SocketAddr, _: &Purpose) -> bool {
            self.0(ContactKind::Connect(to))
        }

        fn accept(&self, from: SocketAddr, _: &Purpose) -> bool {
            self.0(ContactKind::Accept(from))
        }

        fn datagram(&self, to: SocketAddr, _: &Purpose) -> bool {
            self.0(ContactKind::Datagram(to))
        }

        fn resolve(&self, name: &str, _: &Purpose) -> bool {
            self.0(ContactKind::Resolve(name))
        }

        fn http(&self, url: &str, address: SocketAddr, _: &Purpose) -> bool {
            self.0(ContactKind::Http { url, address })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(policy: &dyn Policy) -> [bool; 5] {
        let at: SocketAddr = ([127, 0, 0, 1], 80).into();
        let url = "http://a/";
        [
            ContactKind::Connect(at),
            ContactKind::Accept(at),
            ContactKind::Datagram(at),
            ContactKind::Resolve("a"),
            ContactKind::Http { url, address: at },
        ]
        .map(|kind| policy.allows(&Contact::new(kind, None)))
    }

    #[test]
    fn what_a_policy_does_not_speak_of_is_denied() {
        struct Silent;
        impl Policy for Silent {}
        struct Dials;
        impl Policy for Dials {
            fn connect(&self, to: SocketAddr, purpose: &Purpose) -> bool {
                AllowAll.connect(to, purpose)
            }
        }
        assert_eq!(answers(&Silent), [false; 5]);
        assert_eq!(answers(&Dials), [true, false, false, false, false]);
        assert_eq!(answers(&AllowAll), [true; 5]);
    }

    #[test]
    fn a_policy_by_address_looks_up_no_name() {
        let here = ByAddress(|address: IpAddr| address.is_loopback());
        assert_eq!(answers(&here), [true, true, true, false, true]);
        let elsewhere = ByAddress(|address: IpAddr| !address.is_loopback());
        assert_eq!(answers(&elsewhere), [false; 5]);
    }
}
