//! The embedder's word on whom this machine talks to.

use std::net::SocketAddr;

use anabranch_core::id::TorrentId;

/// A contact that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contact<'a> {
    /// What kind of contact, and with whom.
    pub kind: ContactKind<'a>,
    /// For which torrent. None where that is not known yet, as of a connection from a peer, and for what is for none
    /// or for several: the DHT, the local discovery, a UDP tracker's name and the connection to it that torrents
    /// share.
    pub torrent: Option<TorrentId>,
}

/// The kinds of contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContactKind<'a> {
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

impl<'a> Contact<'a> {
    pub(crate) const fn new(kind: ContactKind<'a>, torrent: Option<TorrentId>) -> Self {
        Self { kind, torrent }
    }
}

/// Decides which contacts are made. The engine takes a refusal as an answer, `Denied`, and a torrent's status says
/// when it is what holds the torrent back.
///
/// Asked inside the loop, so it must not wait for anything. Closures are policies. End their `match` with what is
/// right for kinds of contacts that are not known yet: as a rule, no.
///
/// ```
/// use anabranch_driver::{Contact, ContactKind};
///
/// let only_here = |contact: &Contact<'_>| match contact.kind {
///     ContactKind::Connect(with)
///     | ContactKind::Accept(with)
///     | ContactKind::Datagram(with)
///     | ContactKind::Http { address: with, .. } => with.ip().is_loopback(),
///     _ => false,
/// };
/// # fn is_policy(_: impl anabranch_driver::Policy) {}
/// # is_policy(only_here);
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
