//! Addresses that are not talked to any more.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::IpAddr;

use crate::limits::MAX_BANNED;

/// Addresses that are not talked to any more, the latest [`MAX_BANNED`].
#[derive(Debug, Default)]
pub(crate) struct Banned {
    addresses: BTreeSet<IpAddr>,
    /// The oldest first.
    pub(super) order: VecDeque<IpAddr>,
}

impl Banned {
    /// Bans an address; the one banned longest is pardoned if there are too many. Says whether it is
    /// news.
    pub(crate) fn insert(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if !self.addresses.insert(ip) {
            return false;
        }
        self.order.push_back(ip);
        if self.order.len() > MAX_BANNED
            && let Some(oldest) = self.order.pop_front()
        {
            self.addresses.remove(&oldest);
        }
        true
    }

    /// Whether the address is banned.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip.to_canonical())
    }
}
