//! Who held a place lately and was of no use.
//!
//! Who had to give up its place and comes back at once would have a newcomer's time again, and
//! again. So such visitors are known for some minutes, and are not given what a newcomer is given.
//! A crowd that has a network to itself has more addresses than anybody can remember: of a network,
//! an IPv4 /24 or an IPv6 /48, so many are remembered, and then all of it is known.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use crate::eviction::Network;
use crate::limits::MAX_IDLE_NETWORKS;
use crate::time::Instant;

/// For how long they are remembered after they were of no use last.
const MEMORY: Duration = Duration::from_secs(300);

/// Hosts of a network that are remembered one by one; with so many, it is known as a whole.
const HOSTS: usize = 8;

/// Addresses of those who held a place and were of no use, by network. Each operation costs the
/// logarithm of their number.
#[derive(Debug, Default)]
pub(crate) struct Idlers {
    networks: BTreeMap<Network, Hosts>,
    /// The networks in the order of what was last heard of them.
    order: BTreeSet<(Instant, Network)>,
}

/// Those of a network, and when they were of no use last: the first to be forgotten first.
#[derive(Debug, Default)]
struct Hosts(Vec<(IpAddr, Instant)>);

impl Idlers {
    /// Somebody at this address held a place and was of no use.
    pub(crate) fn note(&mut self, now: Instant, address: IpAddr) {
        let (network, host) = (Network::of(address), host(address));
        let known = self.networks.entry(network).or_default();
        if let Some((_, last)) = known.0.last() {
            self.order.remove(&(*last, network));
        }
        known
            .0
            .retain(|(other, at)| *other != host && now.since(*at) < MEMORY);
        if known.0.len() == HOSTS {
            known.0.remove(0);
        }
        known.0.push((host, now));
        self.order.insert((now, network));
        // No more than two are taken out for one that is put in.
        for _ in 0..2 {
            let Some((at, oldest)) = self.order.first().copied() else {
                return;
            };
            let is_over = self.networks.len() > MAX_IDLE_NETWORKS;
            if is_over || now.since(at) >= MEMORY {
                self.order.pop_first();
                self.networks.remove(&oldest);
            }
        }
    }

    /// Whether somebody at this address, or its network as a whole, was of no use a while ago.
    pub(crate) fn knows(&self, now: Instant, address: IpAddr) -> bool {
        let Some(known) = self.networks.get(&Network::of(address)) else {
            return false;
        };
        let host = host(address);
        let mut recent = known.0.iter().filter(|(_, at)| now.since(*at) < MEMORY);
        recent.clone().count() >= HOSTS || recent.any(|(other, _)| *other == host)
    }

    /// Panics unless it is as large as it may be at most.
    pub(crate) fn check(&self) {
        assert!(self.networks.len() <= MAX_IDLE_NETWORKS, "it is bounded");
        let lasts = self.networks.iter().filter_map(|(network, known)| {
            assert!(known.0.len() <= HOSTS, "so is each network");
            Some((known.0.last()?.1, *network))
        });
        assert!(
            lasts.collect::<BTreeSet<_>>() == self.order,
            "each network is in order"
        );
    }
}

/// Who can be told from whom: of IPv6 addresses one host has a whole /64.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::format;

    use super::*;

    const NOW: Instant = Instant::from_millis(10_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_was_of_no_use_is_known_for_some_minutes_whatever_its_port_or_spelling() {
        let mut idlers = Idlers::default();
        idlers.note(NOW, ip("10.1.2.3"));
        assert!(idlers.knows(NOW, ip("::ffff:10.1.2.3")));
        assert!(!idlers.knows(NOW, ip("10.1.2.4")));
        let last = NOW + MEMORY - Duration::from_millis(1);
        assert!(idlers.knows(last, ip("10.1.2.3")));
        assert!(!idlers.knows(NOW + MEMORY, ip("10.1.2.3")));
    }

    #[test]
    fn an_ipv6_host_is_a_64_and_a_crowd_in_a_48_is_known_as_a_whole() {
        let mut idlers = Idlers::default();
        idlers.note(NOW, ip("2001:db8:1:1::1"));
        assert!(idlers.knows(NOW, ip("2001:db8:1:1:ffff::9")));
        assert!(!idlers.knows(NOW, ip("2001:db8:1:2::1")));
        for subnet in 2..=HOSTS {
            idlers.note(NOW, ip(&format!("2001:db8:1:{subnet:x}::1")));
        }
        assert!(idlers.knows(NOW, ip("2001:db8:1:ffff::1")));
        assert!(!idlers.knows(NOW, ip("2001:db8:2:ffff::1")));
    }

    #[test]
    fn one_network_pushes_nobody_else_out() {
        let mut idlers = Idlers::default();
        idlers.note(NOW, ip("192.0.2.1"));
        for subnet in 0..10_000 {
            idlers.note(NOW, ip(&format!("2001:db8:1:{subnet:x}::1")));
            idlers.check();
        }
        assert!(idlers.knows(NOW, ip("192.0.2.1")));
    }

    #[test]
    fn of_too_many_networks_the_oldest_are_forgotten() {
        let mut idlers = Idlers::default();
        let nth = |number: usize| IpAddr::from(((10 << 24) + ((number as u32) << 8)).to_be_bytes());
        for number in 0..=MAX_IDLE_NETWORKS {
            idlers.note(NOW + Duration::from_millis(number as u64), nth(number));
        }
        idlers.check();
        let then = NOW + Duration::from_secs(10);
        assert!(!idlers.knows(then, nth(0)) && idlers.knows(then, nth(1)));
    }

    quickcheck! {
        fn it_knows_no_one_whose_network_was_never_noted(notes: Vec<(u8, u8, u16)>, network: u8) -> bool {
            let mut idlers = Idlers::default();
            let mut now = NOW;
            for (net, host, wait) in notes {
                now = now + Duration::from_millis(u64::from(wait) * 16);
                let address = IpAddr::from([10, 0, net, host]);
                if net != network {
                    idlers.note(now, address);
                    assert!(idlers.knows(now, address));
                }
                idlers.check();
            }
            !idlers.knows(now, IpAddr::from([10, 0, network, 1]))
        }
    }
}
