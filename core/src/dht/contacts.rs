//! BEP 5, 10: what peers tell that is of use to the DHT, on its way from a torrent to there.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

/// How much of each kind waits at most. The engine takes it out within the same call, so little is enough.
const MAX_WAITING: usize = 64;

/// What has been heard from peers and not been looked at yet. Whoever puts something in sets
/// [`Timer::Dht`](crate::ctx::Timer::Dht), on which the node takes it out. What does not fit is forgotten: there will be
/// more.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    nodes: VecDeque<SocketAddr>,
    votes: VecDeque<(SocketAddr, IpAddr)>,
}

impl Contacts {
    /// A node may be at an address.
    pub(crate) fn push(&mut self, address: SocketAddr) {
        if self.nodes.len() < MAX_WAITING && !self.nodes.contains(&address) {
            self.nodes.push_back(address);
        }
    }

    /// The address heard of first.
    pub(crate) fn pop(&mut self) -> Option<SocketAddr> {
        self.nodes.pop_front()
    }

    /// A peer says what our address is.
    pub(crate) fn push_vote(&mut self, peer: SocketAddr, own: IpAddr) {
        if self.votes.len() < MAX_WAITING {
            self.votes.push_back((peer, own));
        }
    }

    /// The peer that spoke first, and what it said.
    pub(crate) fn pop_vote(&mut self) -> Option<(SocketAddr, IpAddr)> {
        self.votes.pop_front()
    }
}
