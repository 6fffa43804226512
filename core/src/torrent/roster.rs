//! BEP 11: whom we are connected to, and who was and left, in the order of coming and going.
//!
//! Everybody who is told of it has a place in it, instead of a list of what was told: with a
//! hundred peers, that would be a hundred lists of a hundred addresses.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::peer::exchange::{MAX_TOLD, Told};
use crate::wire::{PexFlags, PexMessage};

/// Those that left and are remembered. Somebody who has not been told of more than these is never told.
const MAX_LEFT: usize = 500;

#[derive(Debug)]
struct Present {
    came: u64,
    address: SocketAddr,
    flags: PexFlags,
}

#[derive(Debug)]
struct Gone {
    came: u64,
    left: u64,
    address: SocketAddr,
}

/// Comings and goings, numbered.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    last: u64,
    /// In the order of coming. As many as there are connections.
    present: Vec<Present>,
    /// In the order of leaving.
    gone: VecDeque<Gone>,
}

impl Roster {
    /// Takes note of who is connected now.
    pub(super) fn update(&mut self, mut connected: BTreeMap<SocketAddr, PexFlags>) {
        let (last, gone) = (&mut self.last, &mut self.gone);
        self.present.retain_mut(|present| {
            if let Some(flags) = connected.remove(&present.address) {
                present.flags = flags;
                return true;
            }
            *last += 1;
            if gone.len() == MAX_LEFT {
                gone.pop_front();
            }
            gone.push_back(Gone {
                came: present.came,
                left: *last,
                address: present.address,
            });
            false
        });
        for (address, flags) in connected {
            self.last += 1;
            self.present.push(Present {
                came: self.last,
                address,
                flags,
            });
        }
    }

    /// What has changed since a place that is of interest, if anything, as far as it fits; the place
    /// moves on.
    pub(super) fn news(
        &self,
        place: &mut Told,
        is_of_interest: impl Fn(&SocketAddr) -> bool,
    ) -> Option<PexMessage> {
        let known = place.came;
        let mut added = Vec::new();
        let first = self
            .present
            .partition_point(|present| present.came <= place.came);
        for present in &self.present[first..] {
            if added.len() == MAX_TOLD {
                break;
            }
            place.came = present.came;
            if is_of_interest(&present.address) {
                added.push((present.address, present.flags));
            }
        }
        let mut dropped = Vec::new();
        let first = self.gone.partition_point(|gone| gone.left <= place.left);
        for gone in self.gone.range(first..) {
            if dropped.len() == MAX_TOLD {
                break;
            }
            place.left = gone.left;
            let back =
                |present: &Present| present.address == gone.address && present.came <= place.came;
            if gone.came <= known && is_of_interest(&gone.address) && !self.present.iter().any(back)
            {
                dropped.push(gone.address);
            }
        }
        (!added.is_empty() || !dropped.is_empty()).then_some(PexMessage { added, dropped })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use quickcheck::quickcheck;

    use super::*;

    fn address(number: u16) -> SocketAddr {
        let [high, low] = number.to_be_bytes();
        SocketAddr::new([10, 0, high, low].into(), 6881)
    }

    fn connected(numbers: impl IntoIterator<Item = u16>) -> BTreeMap<SocketAddr, PexFlags> {
        numbers
            .into_iter()
            .map(|number| (address(number), PexFlags::SEED))
            .collect()
    }

    #[test]
    fn changes_are_told_once_and_only_if_they_are_of_interest() {
        let (mut roster, mut place) = (Roster::default(), Told::default());
        let of_interest = |other: &SocketAddr| *other != address(2);
        roster.update(connected(0..4));
        let news = roster.news(&mut place, of_interest).unwrap();
        let added: Vec<SocketAddr> = news.added.iter().map(|(address, _)| *address).collect();
        assert_eq!(added, [0, 1, 3].map(address));
        assert!(news.dropped.is_empty());
        roster.update(connected(0..4));
        assert_eq!(roster.news(&mut place, of_interest), None);
        roster.update(connected(1..5));
        let news = roster.news(&mut place, of_interest).unwrap();
        assert_eq!(news.added, [(address(4), PexFlags::SEED)]);
        assert_eq!(news.dropped, [address(0)]);
    }

    #[test]
    fn what_does_not_fit_comes_next_time() {
        let (mut roster, mut place) = (Roster::default(), Told::default());
        roster.update(connected(0..120));
        for expected in [50, 50, 20] {
            let news = roster.news(&mut place, |_| true).unwrap();
            assert_eq!((news.added.len(), news.dropped.len()), (expected, 0));
        }
        roster.update(connected(120..121));
        for expected in [(1, 50), (0, 50), (0, 20)] {
            let news = roster.news(&mut place, |_| true).unwrap();
            assert_eq!((news.added.len(), news.dropped.len()), expected);
        }
        assert_eq!(roster.news(&mut place, |_| true), None);
    }

    #[test]
    fn who_came_and_left_unseen_is_not_told_of() {
        let (mut roster, mut place) = (Roster::default(), Told::default());
        roster.update(connected(0..2));
        roster.news(&mut place, |_| true);
        roster.update(connected(0..3));
        roster.update(connected(0..2));
        assert_eq!(roster.news(&mut place, |_| true), None);
        // Nor is one that left and came back told of as gone.
        roster.update(connected([0]));
        roster.update(connected(0..2));
        let news = roster.news(&mut place, |_| true).unwrap();
        assert_eq!((news.added.len(), news.dropped.len()), (1, 0));
    }

    quickcheck! {
        fn who_is_told_of_everything_knows_who_is_there(rounds: Vec<BTreeSet<u8>>) -> bool {
            let (mut roster, mut place) = (Roster::default(), Told::default());
            let mut known = BTreeSet::new();
            let mut there = BTreeSet::new();
            for round in rounds {
                there = round.into_iter().map(u16::from).collect();
                roster.update(connected(there.iter().copied()));
                if let Some(news) = roster.news(&mut place, |_| true) {
                    for gone in news.dropped {
                        known.remove(&gone);
                    }
                    known.extend(news.added.into_iter().map(|(address, _)| address));
                }
                assert!(roster.gone.len() <= MAX_LEFT);
            }
            while let Some(news) = roster.news(&mut place, |_| true) {
                for gone in news.dropped {
                    known.remove(&gone);
                }
                known.extend(news.added.into_iter().map(|(address, _)| address));
            }
            known == there.into_iter().map(address).collect()
        }
    }
}
