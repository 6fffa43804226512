//! Connections that came in and have not finished their handshake, by network.
//!
//! They have places of their own ([`Config::max_incoming_handshakes`](crate::Config::max_incoming_handshakes)), as nobody
//! knows yet what they are worth. When these are taken, the network that holds most of them gives one up, that which has
//! waited longest: a network, however large its crowd, takes no place from one that holds fewer, and an honest newcomer,
//! who says its handshake at once, is through before its turn to go comes.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Reverse;
use core::net::IpAddr;

use crate::eviction::Network;
use crate::id::ConnId;

/// Strangers in the order of their coming. Each operation costs the logarithm of their number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Strangers {
    networks: BTreeMap<Network, BTreeMap<u64, ConnId>>,
    /// The networks by how many they are, and then by who came first: the last gives up a place.
    crowds: BTreeSet<(usize, Reverse<u64>, Network)>,
    count: u32,
    arrivals: u64,
}

impl Strangers {
    /// Somebody came. The number that it has to be removed with.
    pub(crate) fn add(&mut self, address: IpAddr, conn: ConnId) -> u64 {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.change(Network::of(address), |queue| {
            queue.insert(arrival, conn);
        });
        self.count += 1;
        arrival
    }

    pub(crate) fn remove(&mut self, address: IpAddr, arrival: u64) {
        self.change(Network::of(address), |queue| {
            queue.remove(&arrival);
        });
        self.count -= 1;
    }

    /// Who makes room for one more from this address.
    pub(crate) fn first_to_go(&self, address: IpAddr) -> Option<ConnId> {
        let network = Network::of(address);
        let (most, _, crowd) = self.crowds.last()?;
        let own = self.networks.get(&network).map_or(0, BTreeMap::len);
        // With the newcomer its own network would be the largest.
        let loses = if own == *most { network } else { *crowd };
        self.networks.get(&loses)?.values().next().copied()
    }

    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    fn change(&mut self, network: Network, how: impl FnOnce(&mut BTreeMap<u64, ConnId>)) {
        let mut queue = self.networks.remove(&network).unwrap_or_default();
        if let Some(rank) = rank(network, &queue) {
            self.crowds.remove(&rank);
        }
        how(&mut queue);
        if let Some(rank) = rank(network, &queue) {
            self.crowds.insert(rank);
            self.networks.insert(network, queue);
        }
    }

    /// Panics unless it holds exactly these: connection, address and arrival.
    pub(crate) fn check(&self, them: impl Iterator<Item = (ConnId, IpAddr, u64)>) {
        let mut expected: BTreeMap<Network, BTreeMap<u64, ConnId>> = BTreeMap::new();
        for (conn, address, arrival) in them {
            let queue = expected.entry(Network::of(address)).or_default();
            queue.insert(arrival, conn);
        }
        assert_eq!(expected, self.networks, "strangers are known by network");
        let networks = self.networks.iter();
        let crowds: BTreeSet<_> = networks
            .filter_map(|(net, queue)| rank(*net, queue))
            .collect();
        assert_eq!(crowds, self.crowds, "crowds are in order");
        let count: usize = self.networks.values().map(BTreeMap::len).sum();
        assert_eq!(count, self.count as usize, "strangers are counted right");
    }
}

fn rank(network: Network, queue: &BTreeMap<u64, ConnId>) -> Option<(usize, Reverse<u64>, Network)> {
    let (first, _) = queue.first_key_value()?;
    Some((queue.len(), Reverse(*first), network))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec::Vec;

    use super::*;

    fn address(network: u8, host: u8) -> IpAddr {
        IpAddr::from([10, 0, network, host])
    }

    #[test]
    fn a_crowd_from_one_network_gives_up_places_to_others_and_to_its_own() {
        let mut strangers = Strangers::default();
        let lone = ConnId::new(0, 1);
        strangers.add(address(1, 1), lone);
        let crowd: Vec<ConnId> = (1..40).map(|slot| ConnId::new(slot, 1)).collect();
        for (host, conn) in crowd.iter().enumerate() {
            strangers.add(address(2, host as u8), *conn);
        }
        // Whoever comes: the crowd's first goes, not the one who came before all of them.
        for network in [1, 2, 3] {
            let first = strangers.first_to_go(address(network, 99));
            assert_eq!(first, Some(crowd[0]), "{network}");
        }
    }

    #[test]
    fn among_networks_of_one_each_who_has_waited_longest_goes() {
        let mut strangers = Strangers::default();
        for network in 0..5 {
            strangers.add(address(network, 1), ConnId::new(network.into(), 1));
        }
        let first = strangers.first_to_go(address(9, 1));
        assert_eq!(first, Some(ConnId::new(0, 1)));
        // A second one of a network takes the place of the first.
        let first = strangers.first_to_go(address(3, 2));
        assert_eq!(first, Some(ConnId::new(3, 1)));
    }

    quickcheck! {
        fn nobody_is_forgotten_and_a_network_that_holds_fewer_loses_nothing(steps: Vec<(u8, bool)>) -> bool {
            let mut strangers = Strangers::default();
            let mut there: Vec<(ConnId, IpAddr, u64)> = Vec::new();
            for (slot, (network, comes)) in steps.into_iter().enumerate() {
                let from = address(network % 4, 1);
                if comes || there.is_empty() {
                    let conn = ConnId::new(slot as u32, 1);
                    let arrival = strangers.add(from, conn);
                    there.push((conn, from, arrival));
                } else {
                    let first = strangers.first_to_go(from).unwrap();
                    let at = there.iter().position(|(conn, ..)| *conn == first).unwrap();
                    let (_, loses, arrival) = there.remove(at);
                    let size = |who: IpAddr| there.iter().filter(|(_, ip, _)| *ip == who).count();
                    // It held as many as the others or more, the newcomer's with it among them.
                    let mut others = (0..4).map(|network| address(network, 1));
                    assert!(others.all(|other| size(other) <= size(loses) + 1));
                    strangers.remove(loses, arrival);
                }
                strangers.check(there.iter().copied());
            }
            strangers.len() as usize == there.len()
        }
    }
}
