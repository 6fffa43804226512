//! Addresses that are not talked to any more.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::IpAddr;

use crate::limits::MAX_BANNED;

/// Addresses that are not talked to any more: the latest [`MAX_BANNED`] of those that earned it, and as many
/// that the user named. Crowds of the former push none of the latter out.
#[derive(Debug, Default)]
pub(crate) struct Banned {
    addresses: BTreeSet<IpAddr>,
    /// The oldest first.
    order: VecDeque<IpAddr>,
    by_user: BTreeSet<IpAddr>,
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

    /// Bans an address until the user pardons it. Says whether there was room for it.
    pub(crate) fn insert_by_user(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let room = self.by_user.len() < MAX_BANNED || self.by_user.contains(&ip);
        if room {
            self.by_user.insert(ip);
        }
        room
    }

    /// Forgets that an address was banned, by whomever.
    pub(crate) fn pardon(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        self.by_user.remove(&ip);
        if self.addresses.remove(&ip) {
            self.order.retain(|banned| *banned != ip);
        }
    }

    /// Whether the address is banned.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.addresses.contains(&ip) || self.by_user.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    fn nth(number: usize) -> IpAddr {
        let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
        IpAddr::V4(Ipv4Addr::from(first + number as u32))
    }

    #[test]
    fn the_oldest_ban_is_lifted_when_there_are_too_many() {
        let mut banned = Banned::default();
        for number in 0..=MAX_BANNED {
            assert!(banned.insert(nth(number)));
        }
        assert!(!banned.insert("::ffff:10.0.0.1".parse().unwrap()));
        assert_eq!(banned.order.len(), MAX_BANNED);
        assert!(!banned.contains(nth(0)) && banned.contains(nth(1)));
    }
}
