//! BEP 5, 42: the routing table of one address family.
//!
//! Only nodes that have answered us are in it. Buckets follow our own place: bucket `i` has the nodes that share
//! exactly `i` bits with it, and the last one all that share more. Each has a cache of replacements.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::node_id::is_valid;
use crate::address::{is_local, network, party};
use crate::limits::DHT_BUCKET;
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::krpc::{NodeId, NodeInfo};

/// How long a node is good after it was heard, and a bucket fresh after it changed (BEP 5).
pub(crate) const FRESH: Duration = Duration::from_secs(15 * 60);

/// How long before that a node is asked again, so that it stays good.
const PROBE: Duration = Duration::from_secs(13 * 60);

/// After so many queries without an answer a node is bad.
const MAX_FAILURES: u8 = 2;

/// After so many it is forgotten.
const HOPELESS: u8 = 5;

/// Nodes of one network (256 IPv4 addresses) in a bucket: nobody fills it with their own.
const MAX_PER_NETWORK: usize = 2;

/// Nodes of one address family, by their distance from us.
#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    /// At least one.
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    live: Vec<Entry>,
    /// Replacements, the latest last.
    spare: Vec<Entry>,
    changed: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    node: NodeInfo,
    replied: Instant,
    queried: Option<Instant>,
    /// Queries in a row that stayed without an answer.
    failures: u8,
    probed: Option<Instant>,
}

/// What a node is worth (BEP 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Good,
    Questionable,
    Bad,
}

impl Entry {
    fn new(node: NodeInfo, now: Instant) -> Self {
        Self {
            node,
            replied: now,
            queried: None,
            failures: 0,
            probed: None,
        }
    }

    /// When it was last heard. All entries have answered at least once, so a query of theirs counts as well.
    fn heard(&self) -> Instant {
        self.queried.map_or(self.replied, |at| at.max(self.replied))
    }

    fn standing(&self, now: Instant) -> Standing {
        if self.failures >= MAX_FAILURES {
            Standing::Bad
        } else if self.failures == 0 && now.since(self.heard()) < FRESH {
            Standing::Good
        } else {
            Standing::Questionable
        }
    }

    fn is_compliant(&self) -> bool {
        is_valid(&self.node.id, self.node.address.ip())
    }
}

impl Table {
    /// An empty table around a place.
    pub(crate) fn new(own: NodeId, now: Instant) -> Self {
        let buckets = vec![Bucket::new(now)];
        Self { own, buckets }
    }

    /// Our place.
    pub(crate) fn own(&self) -> &NodeId {
        &self.own
    }

    /// Nodes, without replacements.
    pub(crate) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Nodes of a standing, without replacements.
    pub(crate) fn count(&self, now: Instant, standing: Standing) -> usize {
        let entries = self.entries();
        entries
            .filter(|entry| entry.standing(now) == standing)
            .count()
    }

    /// All nodes that are not bad, without replacements.
    pub(crate) fn nodes(&self, now: Instant) -> impl Iterator<Item = NodeInfo> + '_ {
        self.entries()
            .filter(move |entry| entry.standing(now) != Standing::Bad)
            .map(|entry| entry.node)
    }

    /// Moves all nodes to a table around another place.
    pub(crate) fn move_to(&mut self, own: NodeId, now: Instant) {
        let old = core::mem::replace(self, Self::new(own, now));
        for bucket in old.buckets {
            for entry in bucket.live {
                if entry.failures == 0 {
                    self.admit(entry, now);
                }
            }
        }
    }

    /// Whether a node that is not known would be taken in if it answered.
    pub(crate) fn wants(&self, node: &NodeInfo, now: Instant) -> bool {
        if node.id == self.own || self.find(node).is_some() || !self.has_place_for(node) {
            return false;
        }
        let index = self.index(&node.id);
        let Some(bucket) = self.buckets.get(index) else {
            return false;
        };
        bucket.live.len() < DHT_BUCKET
            || self.can_split(index)
            || bucket
                .live
                .iter()
                .any(|entry| entry.standing(now) != Standing::Good)
    }

    /// A node sent us a query: it is there. Says whether it is one of ours.
    pub(crate) fn queried(&mut self, node: &NodeInfo, now: Instant) -> bool {
        match self.find_mut(node) {
            Some(entry) => {
                entry.queried = Some(now);
                true
            }
            None => false,
        }
    }

    /// A node answered us. It is taken in if there is a place for it. A node whose place it could have, but of which
    /// nothing was heard for long, is returned: it should be asked whether it is still there.
    pub(crate) fn replied(&mut self, node: NodeInfo, now: Instant) -> Option<NodeInfo> {
        if node.id == self.own {
            return None;
        }
        let index = self.index(&node.id);
        if let Some(entry) = self.find_mut(&node) {
            entry.replied = now;
            entry.failures = 0;
            entry.probed = None;
            if let Some(bucket) = self.buckets.get_mut(index) {
                bucket.changed = now;
            }
            return None;
        }
        // A node that comes back with another place or another port has left the old one.
        let party_of = party(node.address);
        for bucket in &mut self.buckets {
            bucket.remove(|entry| {
                entry.node.address == node.address
                    || entry.failures > 0
                        && (entry.node.id == node.id || party(entry.node.address) == party_of)
            });
        }
        self.admit(Entry::new(node, now), now)
    }

    /// A node did not answer us.
    pub(crate) fn failed(&mut self, node: &NodeInfo, now: Instant) {
        let Some(entry) = self.find_mut(node) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        if entry.standing(now) != Standing::Bad {
            return;
        }
        let entry_failures = entry.failures;
        let index = self.index(&node.id);
        let Some(bucket) = self.buckets.get_mut(index) else {
            return;
        };
        // Without a replacement it may stay for a while: it might come back, and is told to nobody.
        if entry_failures >= HOPELESS {
            bucket.live.retain(|entry| entry.node != *node);
        } else if let Some(spare) = bucket.spare.pop() {
            bucket.live.retain(|entry| entry.node != *node);
            bucket.live.push(spare);
            bucket.changed = now;
        }
    }

    /// Up to `max` nodes closest to a place, the closest first: good ones only, or all that are not bad.
    pub(crate) fn closest(
        &self,
        target: &NodeId,
        max: usize,
        worst: Standing,
        now: Instant,
    ) -> Vec<NodeInfo> {
        let mut found = Vec::with_capacity(max + DHT_BUCKET);
        for bucket in self.by_closeness(target) {
            let before = found.len();
            let usable = bucket.live.iter();
            let usable = usable.filter(|entry| entry.standing(now) <= worst);
            found.extend(usable.map(|entry| entry.node));
            if let Some(group) = found.get_mut(before..) {
                group.sort_unstable_by_key(|node| node.id.distance(target));
            }
            if found.len() >= max {
                break;
            }
        }
        found.truncate(max);
        found
    }

    /// The buckets in the order in which their nodes are close to a place: every node of one is closer than any of the
    /// next.
    fn by_closeness(&self, target: &NodeId) -> impl Iterator<Item = &Bucket> {
        let last = self.buckets.len() - 1;
        let own = self.index(target);
        // The target's own bucket is nearest to it. Of those that are nearer to us, each differs from all that follow it
        // in one bit: where the target has that bit, too, it is nearer than all of them, otherwise farther. Last come
        // those that are farther from us, the farthest at the end.
        let sides = |index: &usize| !same_bit(&self.own, target, *index);
        let nearer = (own + 1)..last;
        let innermost = (own < last).then_some(last);
        let order = core::iter::once(own)
            .chain(nearer.clone().filter(sides))
            .chain(innermost)
            .chain(nearer.rev().filter(move |index| !sides(index)))
            .chain((0..own).rev());
        order.filter_map(|index| self.buckets.get(index))
    }

    /// A random place in the bucket that has not changed for longest, if that is too long. It counts as changed from
    /// now on.
    pub(crate) fn stale(&mut self, now: Instant, rng: &mut Rng) -> Option<NodeId> {
        let last = self.buckets.len() - 1;
        let (index, bucket) = self
            .buckets
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, bucket)| bucket.changed)?;
        if now.since(bucket.changed) < FRESH {
            return None;
        }
        bucket.changed = now;
        let mut bytes = [0; NodeId::LEN];
        rng.fill(&mut bytes);
        let own = *self.own.as_bytes();
        // The bits that all of the bucket have in common with us, and the one in which they differ.
        for bit in 0..=index {
            let mask = 0x80 >> (bit % 8);
            let flip = if bit == index && index < last {
                mask
            } else {
                0
            };
            if bit < index || index < last {
                bytes[bit / 8] = bytes[bit / 8] & !mask | (own[bit / 8] ^ flip) & mask;
            }
        }
        Some(NodeId::new(bytes))
    }

    /// Up to `max` nodes that should be asked whether they are still there. They count as asked.
    pub(crate) fn probe(&mut self, max: usize, now: Instant) -> Vec<NodeInfo> {
        let due = |entry: &Entry| {
            let quiet = now.since(entry.heard()) >= PROBE || entry.failures > 0;
            let asked = entry.probed.is_some_and(|at| now.since(at) < PROBE / 4);
            quiet && !asked
        };
        let mut probes = Vec::new();
        for entry in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.live) {
            if probes.len() < max && due(entry) {
                entry.probed = Some(now);
                probes.push(entry.node);
            }
        }
        probes
    }

    /// Panics unless every node is in its bucket, once, and no bucket is too full.
    pub(crate) fn check(&self) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.live.len() <= DHT_BUCKET && bucket.spare.len() <= DHT_BUCKET);
            for entry in bucket.live.iter().chain(&bucket.spare) {
                assert_eq!(self.index(&entry.node.id), index, "in its bucket");
                assert_ne!(entry.node.id, self.own);
            }
            for (at, entry) in bucket.live.iter().enumerate() {
                let later = bucket.live.get(at + 1..).unwrap_or_default();
                assert!(
                    later.iter().all(|other| other.node.id != entry.node.id),
                    "once"
                );
            }
        }
    }

    /// Takes an entry in where there is a place for it. Returns whom to ask whether a place is free.
    fn admit(&mut self, entry: Entry, now: Instant) -> Option<NodeInfo> {
        if !self.has_place_for(&entry.node) {
            return None;
        }
        loop {
            let index = self.index(&entry.node.id);
            let can_split = self.can_split(index);
            let bucket = self.buckets.get_mut(index)?;
            if bucket
                .live
                .iter()
                .any(|known| known.node.id == entry.node.id)
            {
                // Two with one place: the first one is believed as long as it answers.
                return None;
            }
            if bucket.live.len() < DHT_BUCKET {
                bucket.live.push(entry);
                bucket.changed = now;
                return None;
            }
            if can_split {
                self.split(now);
                continue;
            }
            let mut live = bucket.live.iter_mut();
            if let Some(bad) = live.find(|entry| entry.standing(now) == Standing::Bad) {
                *bad = entry;
                bucket.changed = now;
                return None;
            }
            let compliant = entry.is_compliant();
            let mut live = bucket.live.iter_mut().rev();
            if let Some(lesser) = live.find(|entry| compliant && !entry.is_compliant()) {
                let lesser = core::mem::replace(lesser, entry);
                bucket.changed = now;
                bucket.spare(lesser);
                return None;
            }
            bucket.spare(entry);
            let mut quiet: Vec<&mut Entry> = bucket
                .live
                .iter_mut()
                .filter(|entry| {
                    entry.standing(now) == Standing::Questionable && entry.probed.is_none()
                })
                .collect();
            quiet.sort_by_key(|entry| entry.heard());
            let quietest = quiet.into_iter().next()?;
            quietest.probed = Some(now);
            return Some(quietest.node);
        }
    }

    /// Whether nobody has more than their share already: one node an address, few a network. A node that moved to
    /// another place has a share in the old one no longer.
    fn has_place_for(&self, node: &NodeInfo) -> bool {
        let ip = node.address.ip();
        if is_local(ip) {
            return true;
        }
        let holder = party(node.address);
        if self
            .entries()
            .filter(|entry| entry.node.address != node.address)
            .any(|entry| party(entry.node.address) == holder)
        {
            return false;
        }
        let network_of = network(ip);
        let Some(bucket) = self.buckets.get(self.index(&node.id)) else {
            return false;
        };
        let same = bucket.live.iter();
        same.filter(|entry| network(entry.node.address.ip()) == network_of)
            .count()
            < MAX_PER_NETWORK
    }

    fn can_split(&self, index: usize) -> bool {
        index + 1 == self.buckets.len() && self.buckets.len() < 8 * NodeId::LEN
    }

    /// Parts the last bucket in two.
    fn split(&mut self, now: Instant) {
        let own = self.own;
        let bits = self.buckets.len() as u32;
        let Some(last) = self.buckets.last_mut() else {
            return;
        };
        let mut next = Bucket::new(last.changed.min(now));
        let moves = |entry: &Entry| own.common_bits(&entry.node.id) >= bits;
        for (from, to) in [
            (&mut last.live, &mut next.live),
            (&mut last.spare, &mut next.spare),
        ] {
            to.extend(from.extract_if(.., |entry| moves(entry)));
        }
        self.buckets.push(next);
    }

    fn index(&self, id: &NodeId) -> usize {
        let bits = self.own.common_bits(id) as usize;
        bits.min(self.buckets.len() - 1)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    fn find(&self, node: &NodeInfo) -> Option<&Entry> {
        let bucket = self.buckets.get(self.index(&node.id))?;
        bucket.live.iter().find(|entry| entry.node == *node)
    }

    fn find_mut(&mut self, node: &NodeInfo) -> Option<&mut Entry> {
        let index = self.index(&node.id);
        let bucket = self.buckets.get_mut(index)?;
        bucket.live.iter_mut().find(|entry| entry.node == *node)
    }
}

/// Whether two places have the same bit at an index.
fn same_bit(one: &NodeId, other: &NodeId, index: usize) -> bool {
    let bit = |id: &NodeId| {
        let byte = id.as_bytes().get(index / 8).copied();
        byte.unwrap_or(0) & (0x80 >> (index % 8))
    };
    bit(one) == bit(other)
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            live: Vec::new(),
            spare: Vec::new(),
            changed: now,
        }
    }

    fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
        self.live.retain(|entry| !gone(entry));
        self.spare.retain(|entry| !gone(entry));
    }

    /// Keeps a node as a replacement.
    fn spare(&mut self, entry: Entry) {
        let same = |known: &Entry| {
            known.node.id == entry.node.id || party(known.node.address) == party(entry.node.address)
        };
        self.spare.retain(|known| !same(known));
        if self.spare.len() >= DHT_BUCKET {
            self.spare.remove(0);
        }
        self.spare.push(entry);
    }
}

/// Whether an address is of IPv6, however it is written.
pub(crate) fn is_v6(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv6()
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;
    use crate::rng::Seed;

    const OWN: NodeId = NodeId::new([0; 20]);

    fn at(minutes: u64) -> Instant {
        Instant::from_millis(1_000 + minutes * 60_000)
    }

    /// A node that shares `bits` bits with us.
    fn node(bits: u32, n: u32) -> NodeInfo {
        let mut id = [0; 20];
        id[bits as usize / 8] = 0x80 >> (bits % 8);
        id[16..].copy_from_slice(&n.to_be_bytes());
        let ip = (0x0a00_0000 + n).to_be_bytes();
        NodeInfo {
            id: NodeId::new(id),
            address: SocketAddr::from((ip, 6881)),
        }
    }

    fn full(bits: u32, now: Instant) -> Table {
        let mut table = Table::new(OWN, now);
        // Our own half must split off first.
        for n in 0..10 {
            table.replied(node(100, 1_000 + n), now);
        }
        for n in 0..8 {
            assert_eq!(table.replied(node(bits, n), now), None);
        }
        table
    }

    #[test]
    fn only_the_bucket_of_our_own_place_splits() {
        let mut table = Table::new(OWN, at(0));
        for n in 0..100 {
            table.replied(node(0, n), at(0));
        }
        assert_eq!(table.len(), 8);
        for bits in 1..50 {
            for n in 0..20 {
                table.replied(node(bits, bits * 100 + n), at(0));
            }
        }
        assert_eq!(table.len(), 50 * 8);
        table.check();
    }

    #[test]
    fn a_full_bucket_keeps_those_that_last_and_asks_those_that_are_quiet() {
        let mut table = full(0, at(0));
        let newcomer = node(0, 50);
        assert_eq!(table.replied(newcomer, at(1)), None, "all are good");
        assert!(!table.wants(&node(0, 51), at(1)));
        // 15 minutes later all but one are questionable; the quietest is asked, once.
        table.queried(&node(0, 0), at(10));
        let asked = table.replied(node(0, 52), at(20));
        assert_eq!(asked, Some(node(0, 1)));
        assert!(table.wants(&node(0, 53), at(20)));
        table.failed(&node(0, 1), at(20));
        table.failed(&node(0, 1), at(20));
        let closest = table.closest(&node(0, 52).id, 8, Standing::Bad, at(20));
        assert_eq!(
            closest.first(),
            Some(&node(0, 52)),
            "the latest replacement"
        );
        assert!(!closest.contains(&node(0, 1)));
        table.check();
    }

    #[test]
    fn standing_follows_answers_queries_and_silence() {
        let mut table = full(3, at(0));
        assert_eq!(table.count(at(14), Standing::Good), 16);
        assert_eq!(table.count(at(15), Standing::Questionable), 16);
        assert!(table.queried(&node(3, 1), at(14)));
        assert!(!table.queried(&node(3, 99), at(14)));
        assert_eq!(table.count(at(15), Standing::Good), 1);
        table.replied(node(3, 2), at(15));
        assert_eq!(table.count(at(15), Standing::Good), 2);
        table.failed(&node(3, 2), at(16));
        assert_eq!(table.count(at(16), Standing::Good), 1);
        table.failed(&node(3, 2), at(16));
        assert_eq!(table.count(at(16), Standing::Bad), 1);
        assert!(!table.nodes(at(16)).any(|known| known == node(3, 2)));
        table.replied(node(3, 2), at(17));
        assert_eq!(table.count(at(17), Standing::Bad), 0);
        let probes = table.probe(100, at(29));
        assert_eq!(probes.len(), 15, "all but the one that was heard");
        assert!(table.probe(100, at(29)).is_empty(), "once");
    }

    #[test]
    fn an_address_has_one_node_and_a_network_few() {
        let mut table = Table::new(OWN, at(0));
        let with_ip = |n: u32, ip: [u8; 4], port| NodeInfo {
            address: SocketAddr::from((ip, port)),
            ..node(1, n)
        };
        for n in 0..8 {
            table.replied(with_ip(n, [203, 0, 113, 1], n as u16 + 1), at(0));
        }
        assert_eq!(table.len(), 1);
        for n in 10..18 {
            table.replied(with_ip(n, [203, 0, 113, n as u8], 1), at(0));
        }
        assert_eq!(table.len(), 2);
        for n in 20..26 {
            table.replied(with_ip(n, [127, 0, 0, 1], n as u16), at(0));
        }
        assert_eq!(table.len(), 8, "a test network on one address is fine");
    }

    #[test]
    fn a_place_or_an_address_is_not_taken_from_who_answers() {
        let mut table = Table::new(OWN, at(0));
        table.replied(node(1, 1), at(0));
        let thief = NodeInfo {
            address: node(1, 9).address,
            ..node(1, 1)
        };
        table.replied(thief, at(1));
        assert_eq!(table.nodes(at(1)).collect::<Vec<_>>(), [node(1, 1)]);
        table.failed(&node(1, 1), at(2));
        table.replied(thief, at(2));
        assert_eq!(table.nodes(at(2)).collect::<Vec<_>>(), [thief]);
        let renamed = NodeInfo {
            id: node(2, 5).id,
            ..thief
        };
        table.replied(renamed, at(3));
        assert_eq!(table.nodes(at(3)).collect::<Vec<_>>(), [renamed]);
    }

    #[test]
    fn nodes_that_keep_to_their_place_go_first() {
        let mut table = full(0, at(0));
        let mut rng = Rng::new(Seed([9; 32]));
        let stranger = |n: u8| SocketAddr::from(([203, n, 113, 1], 1));
        let mut table_of = |compliant: bool| loop {
            let ip = stranger(7).ip();
            let id = super::super::node_id::generate(compliant.then_some(ip), &mut rng);
            if id.common_bits(&OWN) == 0 && is_valid(&id, ip) == compliant {
                return id;
            }
        };
        // Local addresses comply anyhow, so one of the bucket is made a stranger that does not.
        table.failed(&node(0, 0), at(0));
        table.failed(&node(0, 0), at(0));
        let other = NodeInfo {
            id: table_of(false),
            address: stranger(3),
        };
        table.replied(other, at(0));
        assert!(table.nodes(at(0)).any(|known| known == other));
        let compliant = NodeInfo {
            id: table_of(true),
            address: stranger(7),
        };
        table.replied(compliant, at(0));
        assert!(table.nodes(at(0)).any(|known| known == compliant));
        assert!(!table.nodes(at(0)).any(|known| known == other));
        table.check();
    }

    #[test]
    fn a_bucket_that_does_not_change_is_refreshed_within_its_range() {
        let mut rng = Rng::new(Seed([4; 32]));
        let mut table = full(2, at(0));
        let buckets = table.buckets.len() as u32;
        assert_eq!(table.stale(at(14), &mut rng), None);
        let mut seen: Vec<u32> = Vec::new();
        while let Some(target) = table.stale(at(15), &mut rng) {
            seen.push(OWN.common_bits(&target).min(buckets - 1));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..buckets).collect::<Vec<_>>());
    }

    #[test]
    fn moving_keeps_the_nodes() {
        let mut table = full(0, at(0));
        let len = table.len();
        table.move_to(node(5, 77).id, at(1));
        table.check();
        assert_eq!(table.own(), &node(5, 77).id);
        assert!(table.len() >= 16 && table.len() <= len);
    }

    quickcheck! {
        fn the_closest_are_those_that_sorting_all_gives(seeds: Vec<u16>, target: u64) -> bool {
            let mut rng = Rng::new(Seed([8; 32]));
            let mut table = Table::new(OWN, at(0));
            for n in &seeds {
                let mut id = [0; 20];
                rng.fill(&mut id);
                // Many near to us, so that there are many buckets.
                id[0] >>= n % 8;
                id[1] >>= n % 7;
                let address = SocketAddr::from(([127, 0, 0, 1], *n));
                table.replied(NodeInfo { id: NodeId::new(id), address }, at(0));
                table.check();
            }
            let mut bytes = [0; 20];
            // Anywhere from far away to the midst of them.
            let target = target >> (target % 20);
            bytes[..8].copy_from_slice(&target.to_be_bytes());
            let target = NodeId::new(bytes);
            let mut all: Vec<NodeInfo> = table.nodes(at(0)).collect();
            all.sort_by_key(|node| node.id.distance(&target));
            all.truncate(8);
            table.closest(&target, 8, Standing::Good, at(0)) == all
        }
    }
}
