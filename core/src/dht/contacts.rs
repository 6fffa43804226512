//! BEP 5: nodes that peers tell of, on their way from a torrent to the DHT.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

/// How many wait at most. The engine takes them out within the same call, so few are enough.
const MAX_WAITING: usize = 64;

/// Addresses of nodes that have been heard of and not been asked yet. Whoever puts one in sets
/// [`Timer::Dht`](crate::ctx::Timer::Dht), on which the node takes them out.
#[derive(Debug, Default)]
pub(crate) struct Contacts(VecDeque<SocketAddr>);

impl Contacts {
    /// Puts an address in. What does not fit is forgotten: there will be others.
    pub(crate) fn push(&mut self, address: SocketAddr) {
        if self.0.len() < MAX_WAITING && !self.0.contains(&address) {
            self.0.push_back(address);
        }
    }

    /// Takes the oldest out.
    pub(crate) fn pop(&mut self) -> Option<SocketAddr> {
        self.0.pop_front()
    }
}
