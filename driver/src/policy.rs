//! The embedder's word on whom this machine talks to.

use std::net::SocketAddr;

/// A contact that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contact<'a> {
    /// A TCP connection to a peer.
    Connect(SocketAddr),
    /// A TCP connection from a peer.
    Accept(SocketAddr),
    /// A UDP packet.
    Datagram(SocketAddr),
    /// A name lookup, by the system's resolver.
    Resolve(&'a str),
    /// An HTTP exchange: asked once for every hop and every address that may be used for it.
    Http {
        /// The URL of this hop.
        url: &'a str,
        /// Where its host name leads.
        address: SocketAddr,
    },
}

/// Decides which contacts are made. The engine takes a refusal as an answer: `Denied`.
///
/// Asked inside the loop, so it must not wait for anything. Closures are policies:
///
/// ```
/// use anabranch_driver::{Contact, Policy};
///
/// let only_here = |contact: &Contact<'_>| match contact {
///     Contact::Connect(to) | Contact::Datagram(to) => to.ip().is_loopback(),
///     _ => true,
/// };
/// assert!(only_here.allows(&Contact::Connect(([127, 0, 0, 1], 6881).into())));
/// assert!(!only_here.allows(&Contact::Connect(([192, 0, 2, 1], 6881).into())));
/// ```
pub trait Policy: Send + Sync + 'static {
    /// Whether this contact may be made.
    fn allows(&self, contact: &Contact<'_>) -> bool;
}

impl<F: Fn(&Contact<'_>) -> bool + Send + Sync + 'static> Policy for F {
    fn allows(&self, contact: &Contact<'_>) -> bool {
        self(contact)
    }
}

/// The policy that allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn allows(&self, _contact: &Contact<'_>) -> bool {
        true
    }
}
