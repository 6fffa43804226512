//! BEP 5, 33, 44: what this node keeps for others, peers of torrents and items.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::bloom::Bloom;
use super::item::Item;
use crate::address::{is_local, party};
use crate::limits::{
    MAX_DHT_ITEMS, MAX_DHT_ITEMS_PER_SOURCE, MAX_DHT_PEERS, MAX_DHT_PEERS_PER_SOURCE,
    MAX_DHT_TORRENT_PEERS, MAX_DHT_TORRENTS,
};
use crate::metainfo::InfoHash;
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::krpc::{NodeId, code};

/// How long a peer is kept after it was announced: two regular announces may be missed.
pub(crate) const PEER_LIFE: Duration = Duration::from_secs(45 * 60);

/// How long an item is kept after it was put (BEP 44).
pub(crate) const ITEM_LIFE: Duration = Duration::from_secs(2 * 3_600);

/// The longest number of peers of one torrent for which announces are still invited (BEP 33).
const CROWDED: usize = MAX_DHT_TORRENT_PEERS;

/// Peers of torrents, as they announced themselves.
#[derive(Debug, Default)]
pub(crate) struct PeerStore {
    torrents: BTreeMap<InfoHash, Swarm>,
    /// How many entries each party has.
    per_source: BTreeMap<SocketAddr, u32>,
    peers: usize,
}

#[derive(Debug, Default)]
struct Swarm {
    /// By what is told apart: BEP 33 wants one entry an address, but local addresses hold many peers.
    peers: BTreeMap<SocketAddr, Stored>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    port: u16,
    seed: bool,
    announced: Instant,
}

impl PeerStore {
    /// A peer says that it has a torrent. Says whether it is kept.
    pub(crate) fn announce(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        peer: SocketAddr,
        seed: bool,
    ) -> bool {
        let key = key(peer);
        let stored = Stored {
            port: peer.port(),
            seed,
            announced: now,
        };
        if let Some(known) = self
            .torrents
            .get_mut(&info_hash)
            .and_then(|swarm| swarm.peers.get_mut(&key))
        {
            *known = stored;
            return true;
        }
        let held = self.per_source.get(&party(peer)).copied().unwrap_or(0);
        if held >= MAX_DHT_PEERS_PER_SOURCE {
            return false;
        }
        self.make_room(&info_hash);
        self.torrents
            .entry(info_hash)
            .or_default()
            .peers
            .insert(key, stored);
        self.peers += 1;
        *self.per_source.entry(party(key)).or_default() += 1;
        true
    }

    /// Whether a torrent takes more announces (BEP 33).
    pub(crate) fn is_open(&self, info_hash: &InfoHash) -> bool {
        self.torrents
            .get(info_hash)
            .is_none_or(|swarm| swarm.peers.len() < CROWDED)
    }

    /// Up to `max` peers of a torrent in one address family, drawn at random; those that are not complete come first
    /// if `no_seeds` is set.
    pub(crate) fn sample(
        &self,
        info_hash: &InfoHash,
        v6: bool,
        no_seeds: bool,
        max: usize,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(swarm) = self.torrents.get(info_hash) else {
            return Vec::new();
        };
        let mut drawn = Vec::with_capacity(swarm.peers.len());
        // Whoever is of less use comes after all others.
        let groups: &[Option<bool>] = match no_seeds {
            true => &[Some(false), Some(true)],
            false => &[None],
        };
        for group in groups {
            let before = drawn.len();
            let peers = swarm.peers.iter();
            let peers = peers.filter(|(key, _)| key.is_ipv6() == v6);
            let peers = peers.filter(|(_, peer)| group.is_none_or(|seed| peer.seed == seed));
            drawn.extend(peers.map(|(key, peer)| SocketAddr::new(key.ip(), peer.port)));
            if let Some(drawn) = drawn.get_mut(before..) {
                rng.draw(drawn, max.saturating_sub(before));
            }
        }
        drawn.truncate(max);
        drawn
    }

    /// Filters of the complete peers of a torrent, and of the others; none if nothing is known of it.
    pub(crate) fn filters(&self, info_hash: &InfoHash) -> Option<(Bloom, Bloom)> {
        let swarm = self.torrents.get(info_hash)?;
        let (mut seeds, mut peers) = (Bloom::default(), Bloom::default());
        for (key, peer) in &swarm.peers {
            let filter = if peer.seed { &mut seeds } else { &mut peers };
            filter.insert(key.ip());
        }
        Some((seeds, peers))
    }

    /// Forgets what was announced too long ago.
    pub(crate) fn expire(&mut self, now: Instant) {
        let old: Vec<(InfoHash, SocketAddr)> = self
            .torrents
            .iter()
            .flat_map(|(info_hash, swarm)| {
                let old = swarm.peers.iter();
                old.filter(|(_, peer)| now.since(peer.announced) >= PEER_LIFE)
                    .map(|(key, _)| (*info_hash, *key))
            })
            .collect();
        for (info_hash, key) in old {
            self.remove(&info_hash, key);
        }
    }

    /// Torrents, and peers in all.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.torrents.len(), self.peers)
    }

    /// Panics unless all counts agree.
    pub(crate) fn check(&self) {
        let peers: usize = self.torrents.values().map(|swarm| swarm.peers.len()).sum();
        assert_eq!(self.peers, peers);
        let held: u32 = self.per_source.values().sum();
        assert_eq!(held as usize, peers);
        assert!(self.torrents.len() <= MAX_DHT_TORRENTS && peers <= MAX_DHT_PEERS);
        assert!(self.torrents.values().all(|swarm| !swarm.peers.is_empty()));
    }

    /// Sees to it that one more peer of a torrent fits.
    fn make_room(&mut self, info_hash: &InfoHash) {
        let known = self.torrents.get(info_hash);
        if let Some(swarm) = known.filter(|swarm| swarm.peers.len() >= MAX_DHT_TORRENT_PEERS) {
            let oldest = swarm.peers.iter().min_by_key(|(_, peer)| peer.announced);
            if let Some((key, _)) = oldest {
                let key = *key;
                self.remove(info_hash, key);
            }
            return;
        }
        let full = self.peers >= MAX_DHT_PEERS
            || known.is_none() && self.torrents.len() >= MAX_DHT_TORRENTS;
        if !full {
            return;
        }
        // The smallest swarm is the least loss, and making many small ones up does not drive a large one out.
        let smallest = self
            .torrents
            .iter()
            .filter(|(known, _)| *known != info_hash)
            .min_by_key(|(_, swarm)| swarm.peers.len())
            .map(|(info_hash, swarm)| {
                (*info_hash, swarm.peers.keys().copied().collect::<Vec<_>>())
            });
        if let Some((info_hash, keys)) = smallest {
            for key in keys {
                self.remove(&info_hash, key);
            }
        }
    }

    fn remove(&mut self, info_hash: &InfoHash, key: SocketAddr) {
        let Some(swarm) = self.torrents.get_mut(info_hash) else {
            return;
        };
        if swarm.peers.remove(&key).is_none() {
            return;
        }
        if swarm.peers.is_empty() {
            self.torrents.remove(info_hash);
        }
        self.peers -= 1;
        release(&mut self.per_source, key);
    }
}

/// What tells the peers of a torrent apart.
fn key(peer: SocketAddr) -> SocketAddr {
    let port = if is_local(peer.ip()) { peer.port() } else { 0 };
    SocketAddr::new(peer.ip().to_canonical(), port)
}

fn release(per_source: &mut BTreeMap<SocketAddr, u32>, key: SocketAddr) {
    let party = party(key);
    if let Some(held) = per_source.get_mut(&party) {
        *held -= 1;
        if *held == 0 {
            per_source.remove(&party);
        }
    }
}

/// Items, as they were put.
#[derive(Debug, Default)]
pub(crate) struct ItemStore {
    items: BTreeMap<NodeId, StoredItem>,
    per_source: BTreeMap<SocketAddr, u32>,
}

#[derive(Debug)]
struct StoredItem {
    item: Item,
    from: SocketAddr,
    put: Instant,
}

impl ItemStore {
    pub(crate) fn get(&self, target: &NodeId) -> Option<&Item> {
        self.items.get(target).map(|stored| &stored.item)
    }

    /// Keeps an item for others. `own` is this node's place: what is far from it goes first when there is too much.
    ///
    /// # Errors
    ///
    /// The code of the refusal, and in words.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        own: &NodeId,
        from: SocketAddr,
        item: Item,
        cas: Option<i64>,
    ) -> Result<(), (i64, &'static str)> {
        let target = item.target();
        if let Some(known) = self.items.get_mut(&target) {
            if let (Item::Mutable(known), Item::Mutable(new)) = (&known.item, &item) {
                if cas.is_some_and(|cas| cas != known.seq()) {
                    return Err((code::CAS, "another sequence number is stored"));
                }
                let same = new.seq() == known.seq() && new.value() == known.value();
                if new.seq() <= known.seq() && !same {
                    return Err((code::OUTDATED, "the sequence number is not greater"));
                }
            }
            known.item = item;
            known.put = now;
            return Ok(());
        }
        let held = self.per_source.get(&party(from)).copied().unwrap_or(0);
        if held >= MAX_DHT_ITEMS_PER_SOURCE {
            return Err((code::GENERIC, "too many items"));
        }
        if self.items.len() >= MAX_DHT_ITEMS {
            let farthest = self
                .items
                .keys()
                .copied()
                .max_by_key(|key| own.distance(key));
            match farthest {
                Some(farthest) if own.distance(&farthest) > own.distance(&target) => {
                    self.remove(&farthest);
                }
                Some(_) | None => return Err((code::SERVER, "no room")),
            }
        }
        *self.per_source.entry(party(from)).or_default() += 1;
        let put = now;
        self.items.insert(target, StoredItem { item, from, put });
        Ok(())
    }

    /// Forgets what was put too long ago.
    pub(crate) fn expire(&mut self, now: Instant) {
        let old = self.items.iter();
        let old: Vec<NodeId> = old
            .filter(|(_, stored)| now.since(stored.put) >= ITEM_LIFE)
            .map(|(target, _)| *target)
            .collect();
        for target in old {
            self.remove(&target);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Panics unless all counts agree.
    pub(crate) fn check(&self) {
        let held: u32 = self.per_source.values().sum();
        assert_eq!(held as usize, self.items.len());
        assert!(self.items.len() <= MAX_DHT_ITEMS);
    }

    fn remove(&mut self, target: &NodeId) {
        if let Some(stored) = self.items.remove(target) {
            release(&mut self.per_source, stored.from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::{MutableItem, SecretKey, Value};
    use super::*;
    use crate::rng::Seed;

    fn peer(n: u32, port: u16) -> SocketAddr {
        SocketAddr::from(((0x0500_0000 + n).to_be_bytes(), port))
    }

    fn hash(n: u32) -> InfoHash {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash::new(bytes)
    }

    fn minutes(n: u64) -> Instant {
        Instant::from_millis(n * 60_000)
    }

    #[test]
    fn an_address_has_one_entry_and_a_local_port_has_one() {
        let mut store = PeerStore::default();
        let mut rng = Rng::new(Seed([1; 32]));
        for port in 1..=9 {
            assert!(store.announce(minutes(0), hash(1), peer(1, port), false));
            let local = SocketAddr::from(([127, 0, 0, 1], port));
            assert!(store.announce(minutes(0), hash(1), local, port == 1));
        }
        store.check();
        assert_eq!(store.len(), (1, 10));
        let sample = store.sample(&hash(1), false, true, 9, &mut rng);
        assert!(sample.contains(&peer(1, 9)) && sample.len() == 9);
        assert!(
            !sample.contains(&SocketAddr::from(([127, 0, 0, 1], 1))),
            "a seed comes last"
        );
        assert!(store.sample(&hash(1), true, false, 9, &mut rng).is_empty());
        let (seeds, peers) = store.filters(&hash(1)).unwrap();
        assert_eq!((seeds.estimate(), peers.estimate()), (1, 2));
        assert!(store.filters(&hash(2)).is_none());
    }

    #[test]
    fn peers_are_forgotten_when_they_do_not_announce_again() {
        let mut store = PeerStore::default();
        store.announce(minutes(0), hash(1), peer(1, 1), false);
        store.announce(minutes(0), hash(2), peer(2, 1), false);
        store.announce(minutes(30), hash(2), peer(2, 1), false);
        store.expire(minutes(46));
        assert_eq!(store.len(), (1, 1));
        store.expire(minutes(75));
        assert_eq!(store.len(), (0, 0));
        store.check();
    }

    #[test]
    fn every_limit_holds_whatever_is_announced() {
        let mut store = PeerStore::default();
        for n in 0..2 * MAX_DHT_TORRENT_PEERS as u32 {
            store.announce(minutes(0), hash(0), peer(n, 1), false);
        }
        assert_eq!(store.len(), (1, MAX_DHT_TORRENT_PEERS));
        assert!(!store.is_open(&hash(0)));
        let kept =
            (0..2_000).filter(|n| store.announce(minutes(1), hash(1 + n), peer(9_999, 1), false));
        assert_eq!(kept.count(), MAX_DHT_PEERS_PER_SOURCE as usize);
        for n in 0..3_000 {
            store.announce(minutes(2), hash(10_000 + n), peer(10_000 + n, 1), false);
        }
        store.check();
        assert_eq!(store.len().0, MAX_DHT_TORRENTS);
        assert!(store.filters(&hash(0)).is_some(), "the large swarm stays");
    }

    #[test]
    fn a_mutable_item_only_goes_forward() {
        let mut store = ItemStore::default();
        let own = NodeId::default();
        let secret = SecretKey::new(&[5; 32]);
        let item = |seq, text: &'static [u8]| {
            let value = Value::from_string(text).unwrap();
            Item::Mutable(MutableItem::sign(&secret, "", seq, value).unwrap())
        };
        let mut put = |at, item, cas| {
            store
                .put(minutes(at), &own, peer(1, 1), item, cas)
                .map_err(|e| e.0)
        };
        assert_eq!(
            put(0, item(3, b"three"), Some(9)),
            Ok(()),
            "nothing to compare with"
        );
        assert_eq!(put(1, item(2, b"two"), None), Err(code::OUTDATED));
        assert_eq!(put(1, item(3, b"other"), None), Err(code::OUTDATED));
        assert_eq!(put(60, item(3, b"three"), None), Ok(()), "it lives longer");
        assert_eq!(put(60, item(4, b"four"), Some(2)), Err(code::CAS));
        assert_eq!(put(60, item(4, b"four"), Some(3)), Ok(()));
        assert_eq!(store.get(&item(0, b"").target()), Some(&item(4, b"four")));
        store.expire(minutes(179));
        assert_eq!(store.len(), 1);
        store.expire(minutes(180));
        assert_eq!(store.len(), 0);
        store.check();
    }

    #[test]
    fn too_many_items_leave_those_that_are_near() {
        let mut store = ItemStore::default();
        let own = NodeId::default();
        for n in 0..2_000_u32 {
            let item = Item::Immutable(Value::from_string(&n.to_be_bytes()).unwrap());
            let _ = store.put(minutes(0), &own, peer(n / 10, 1), item, None);
            store.check();
        }
        assert_eq!(store.len(), MAX_DHT_ITEMS);
        let farthest = store.items.keys().last().unwrap();
        assert!(
            farthest.as_bytes()[0] < 0xa0,
            "about the nearer half: {farthest}"
        );
        let flood = (0..200_u32).filter(|n| {
            let mut store_one = |n: u32| {
                let item = Item::Immutable(Value::from_string(&[9, n as u8]).unwrap());
                store
                    .put(minutes(0), &own, peer(7_777, 1), item, None)
                    .is_ok()
            };
            store_one(*n)
        });
        assert!(flood.count() <= MAX_DHT_ITEMS_PER_SOURCE as usize);
    }
}
