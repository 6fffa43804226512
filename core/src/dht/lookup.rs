//! BEP 5, 42: one iterative lookup: whom to ask next on the way to a place, and when that has been reached.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::node_id::is_valid;
use super::rpc::LONG;
use crate::address::{network, party};
use crate::limits::{DHT_BUCKET, DHT_PARALLEL, MAX_DHT_CANDIDATES, MAX_DHT_LOOKUP_QUERIES};
use crate::wire::krpc::{NodeId, NodeInfo};

/// Nodes of one network that are believed to be near the place: who wants to surround it needs many networks.
const MAX_PER_NETWORK: usize = 2;

/// So many nodes whose place is not bound to their address end a lookup.
const STRANGERS: usize = 4 * DHT_BUCKET;

/// Who takes so many times as long as the slowest that answered does not answer any more.
const SLOW: u32 = 8;

/// But this long everybody is waited for: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nodes that one answer may add.
const MAX_HEARSAY: usize = 2 * DHT_BUCKET;

/// The way to a place, in one address family.
///
/// The closest nodes known are asked, [`DHT_PARALLEL`] at a time; one that takes too long holds nobody up. It ends
/// when the [`DHT_BUCKET`] closest have answered. Nodes whose place is not bound to their address (BEP 42) count half,
/// and up to half of what is needed, so that who takes places next to a torrent does not hide it; or they do not count
/// at all if that is enforced. Where there are none but such, [`STRANGERS`] of them are enough.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: NodeId,
    enforce: bool,
    /// Nodes whose place is not known yet.
    starters: Vec<Starter>,
    /// The closest first.
    candidates: Vec<Candidate>,
    asked: u32,
    replied: u32,
    /// The longest that an answer took.
    slowest: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Starter {
    address: SocketAddr,
    state: State,
}

#[derive(Clone, Debug)]
struct Candidate {
    node: NodeInfo,
    /// How many nodes were asked one after the other to get here, with this one.
    hops: u8,
    state: State,
    token: Option<Bytes>,
    /// Whether it had what was looked for.
    had: bool,
    compliant: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Waiting,
    /// Still waited for, but not alone.
    Stalled,
    Replied,
    Failed,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) address: SocketAddr,
    /// Its place, if it is known.
    pub(crate) id: Option<NodeId>,
}

/// A node at the end of a lookup.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) node: NodeInfo,
    /// To store something there.
    pub(crate) token: Option<Bytes>,
    /// Whether it had what was looked for.
    pub(crate) had: bool,
}

impl Lookup {
    /// A lookup from nodes whose places are known, and addresses of others. `enforce` leaves out nodes whose place is
    /// not bound to their address.
    pub(crate) fn new(
        target: NodeId,
        enforce: bool,
        own: &NodeId,
        nodes: impl IntoIterator<Item = NodeInfo>,
        starters: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let mut lookup = Self {
            target,
            enforce,
            starters: Vec::new(),
            candidates: Vec::new(),
            asked: 0,
            replied: 0,
            slowest: None,
        };
        for node in nodes {
            lookup.add(node, 1, own);
        }
        for address in starters.into_iter().take(MAX_DHT_CANDIDATES) {
            let state = State::Fresh;
            lookup.starters.push(Starter { address, state });
        }
        lookup
    }

    pub(crate) fn target(&self) -> &NodeId {
        &self.target
    }

    /// Queries so far, and answers.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.asked, self.replied)
    }

    /// How long an answer is waited for. Where few nodes are, each that is gone costs this time: with a network that
    /// answers fast there is no reason to wait as long as with one that is slow, or silent so far.
    pub(crate) fn patience(&self) -> Duration {
        let slowest = self.slowest.map(|slowest| slowest.saturating_mul(SLOW));
        slowest.map_or(LONG, |limit| limit.clamp(PATIENCE, LONG))
    }

    /// An answer took so long.
    pub(crate) fn on_heard(&mut self, took: Duration) {
        self.slowest = self.slowest.max(Some(took));
    }

    /// Whom to ask now, if anybody; it counts as asked.
    pub(crate) fn next(&mut self) -> Option<Ask> {
        if self.waiting() >= DHT_PARALLEL || self.asked >= MAX_DHT_LOOKUP_QUERIES {
            return None;
        }
        let mut starters = self.starters.iter_mut();
        if let Some(starter) = starters.find(|starter| starter.state == State::Fresh) {
            starter.state = State::Waiting;
            self.asked += 1;
            return Some(Ask {
                address: starter.address,
                id: None,
            });
        }
        let reach = self.reach();
        let mut near = self.candidates.iter_mut().take(reach);
        let candidate = near.find(|candidate| candidate.state == State::Fresh)?;
        candidate.state = State::Waiting;
        self.asked += 1;
        Some(Ask {
            address: candidate.node.address,
            id: Some(candidate.node.id),
        })
    }

    /// Whether nobody is left to ask or to wait for.
    pub(crate) fn is_done(&self) -> bool {
        let reach = self.reach();
        let exhausted = self.asked >= MAX_DHT_LOOKUP_QUERIES;
        let fresh = self.starters.iter().map(|starter| starter.state);
        let near = self.candidates.iter().take(reach);
        let mut left = fresh.chain(near.map(|candidate| candidate.state));
        if !exhausted && left.any(|state| state == State::Fresh) || self.waiting() > 0 {
            return false;
        }
        // Those that take too long are worth waiting for only if there are not enough others.
        self.end().is_some() || self.stalled() == 0
    }

    /// A node answered, and names others. One that says to be elsewhere than was thought counts as another one.
    pub(crate) fn on_reply(
        &mut self,
        from: NodeInfo,
        token: Option<Bytes>,
        had: bool,
        nodes: &[NodeInfo],
        own: &NodeId,
    ) {
        self.replied += 1;
        let mut hops = 1;
        let known = self.position(from.address);
        if let Some(candidate) = known.and_then(|at| self.candidates.get_mut(at)) {
            hops = candidate.hops;
            if candidate.node.id != from.id {
                candidate.state = State::Failed;
            }
        }
        self.starters
            .retain(|starter| starter.address != from.address);
        self.add(from, hops, own);
        let mut candidates = self.candidates.iter_mut();
        if let Some(candidate) = candidates.find(|candidate| candidate.node == from) {
            candidate.state = State::Replied;
            candidate.token = token;
            candidate.had = had;
        }
        for node in nodes.iter().take(MAX_HEARSAY) {
            self.add(*node, hops.saturating_add(1), own);
        }
    }

    /// A node takes long: others are asked in the meantime.
    pub(crate) fn on_stalled(&mut self, address: SocketAddr) {
        self.change(address, State::Stalled);
    }

    /// A node did not answer, or refused.
    pub(crate) fn on_failed(&mut self, address: SocketAddr) {
        self.change(address, State::Failed);
    }

    /// The closest nodes that answered, the closest first; behind them, as far as they are not among them, the closest
    /// of those whose place is bound to their address.
    pub(crate) fn closest(&self) -> Vec<Found> {
        let replied = self.candidates.iter().filter(|candidate| {
            candidate.state == State::Replied && (candidate.compliant || !self.enforce)
        });
        let (mut near, mut compliant) = (0, 0);
        replied
            .filter(|candidate| {
                near += 1;
                compliant += usize::from(candidate.compliant);
                near <= DHT_BUCKET || candidate.compliant && compliant <= DHT_BUCKET
            })
            .map(|candidate| Found {
                node: candidate.node,
                token: candidate.token.clone(),
                had: candidate.had,
            })
            .collect()
    }

    /// How many nodes were asked one after the other to find the closest ones.
    pub(crate) fn hops(&self) -> u8 {
        let replied = self.candidates.iter();
        replied
            .filter(|candidate| candidate.state == State::Replied)
            .take(DHT_BUCKET)
            .map(|candidate| candidate.hops)
            .max()
            .unwrap_or(0)
    }

    /// How many of the closest candidates matter: up to the one with which enough have answered.
    fn reach(&self) -> usize {
        self.end().map_or(self.candidates.len(), |end| end + 1)
    }

    /// The candidate with which enough have answered, if they have.
    fn end(&self) -> Option<usize> {
        let (mut compliant, mut strangers) = (0, 0);
        self.candidates.iter().position(|candidate| {
            if candidate.state == State::Replied {
                if candidate.compliant {
                    compliant += 1;
                } else {
                    strangers += usize::from(!self.enforce);
                }
            }
            2 * compliant + strangers.min(DHT_BUCKET) >= 2 * DHT_BUCKET || strangers >= STRANGERS
        })
    }

    fn waiting(&self) -> usize {
        self.count(State::Waiting)
    }

    fn stalled(&self) -> usize {
        self.count(State::Stalled)
    }

    fn count(&self, state: State) -> usize {
        let starters = self.starters.iter();
        let starters = starters.filter(|starter| starter.state == state).count();
        let candidates = self.candidates.iter();
        starters
            + candidates
                .filter(|candidate| candidate.state == state)
                .count()
    }

    fn change(&mut self, address: SocketAddr, state: State) {
        let asked = |state| matches!(state, State::Waiting | State::Stalled);
        for starter in &mut self.starters {
            if starter.address == address && asked(starter.state) {
                starter.state = state;
            }
        }
        for candidate in &mut self.candidates {
            if candidate.node.address == address && asked(candidate.state) {
                candidate.state = state;
            }
        }
    }

    fn position(&self, address: SocketAddr) -> Option<usize> {
        self.candidates.iter().position(|candidate| {
            candidate.node.address == address && candidate.state != State::Failed
        })
    }

    fn add(&mut self, node: NodeInfo, hops: u8, own: &NodeId) {
        if node.id == *own {
            return;
        }
        let distance = node.id.distance(&self.target);
        let holder = party(node.address);
        let network_of = network(node.address.ip());
        let mut neighbours = 0;
        for known in &self.candidates {
            // What was said of an address stands until the address proves it wrong.
            let live = known.state != State::Failed;
            if known.node == node || live && party(known.node.address) == holder {
                return;
            }
            // A place can be claimed by many; it is given to the first, and to whoever answers from there.
            if live && known.node.id == node.id {
                return;
            }
            neighbours += usize::from(
                live && network_of.is_some() && network(known.node.address.ip()) == network_of,
            );
        }
        if neighbours >= MAX_PER_NETWORK {
            return;
        }
        let at = self
            .candidates
            .partition_point(|known| known.node.id.distance(&self.target) < distance);
        if self.candidates.len() >= MAX_DHT_CANDIDATES {
            // The farthest that nothing is waited for makes room, if the newcomer is nearer.
            let farthest = self.candidates.iter().rposition(|known| {
                matches!(known.state, State::Fresh | State::Failed | State::Replied)
            });
            match farthest.filter(|farthest| *farthest >= at) {
                Some(farthest) => {
                    self.candidates.remove(farthest);
                }
                None => return,
            }
        }
        self.candidates.insert(
            at,
            Candidate {
                node,
                hops,
                state: State::Fresh,
                token: None,
                had: false,
                compliant: is_valid(&node.id, node.address.ip()),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::rng::{Rng, Seed};

    const OWN: NodeId = NodeId::new([0xee; 20]);

    fn node(first: u8, n: u16) -> NodeInfo {
        let mut id = [0; 20];
        id[0] = first;
        id[1..3].copy_from_slice(&n.to_be_bytes());
        NodeInfo {
            id: NodeId::new(id),
            address: SocketAddr::from(([127, 0, 0, 1], n)),
        }
    }

    fn target() -> NodeId {
        NodeId::new([0; 20])
    }

    fn start(nodes: impl IntoIterator<Item = NodeInfo>) -> Lookup {
        Lookup::new(target(), false, &OWN, nodes, [])
    }

    fn reply(lookup: &mut Lookup, from: NodeInfo, nodes: &[NodeInfo]) {
        lookup.on_reply(from, Some(Bytes::from_static(b"token")), false, nodes, &OWN);
    }

    #[test]
    fn the_closest_are_asked_first_and_no_more_than_allowed_at_a_time() {
        let mut lookup = start((1..=8).map(|n| node(9 - n as u8, n)));
        let asked: Vec<u16> = core::iter::from_fn(|| lookup.next())
            .map(|ask| ask.address.port())
            .collect();
        assert_eq!(asked, [8, 7, 6, 5]);
        lookup.on_stalled(node(1, 8).address);
        assert_eq!(lookup.next().map(|ask| ask.address.port()), Some(4));
        assert_eq!(lookup.next(), None);
        assert!(!lookup.is_done());
    }

    #[test]
    fn it_ends_when_the_closest_have_answered() {
        let mut lookup = start((1..=20).map(|n| node(n as u8, n)));
        let mut asked = 0;
        while !lookup.is_done() {
            let ask = lookup.next().unwrap();
            asked += 1;
            let n = ask.address.port();
            reply(&mut lookup, node(n as u8, n), &[]);
        }
        assert_eq!(asked, 8);
        let closest: Vec<u16> = lookup
            .closest()
            .iter()
            .map(|found| found.node.address.port())
            .collect();
        assert_eq!(closest, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn who_is_silent_is_waited_for_as_long_as_the_others_make_likely() {
        let mut lookup = start([]);
        assert_eq!(lookup.patience(), LONG, "nobody has answered");
        for (took, patience) in [(20, 2_000), (500, 4_000), (90, 4_000), (5_000, 6_000)] {
            lookup.on_heard(Duration::from_millis(took));
            assert_eq!(lookup.patience(), Duration::from_millis(patience));
        }
    }

    #[test]
    fn silent_nodes_neither_hold_it_up_nor_count() {
        let mut lookup = start((1..=20).map(|n| node(n as u8, n)));
        let mut asked = 0;
        while let Some(ask) = lookup.next() {
            asked += 1;
            let n = ask.address.port();
            if n % 2 == 0 {
                reply(&mut lookup, node(n as u8, n), &[]);
            } else {
                lookup.on_stalled(ask.address);
            }
        }
        assert!(lookup.is_done(), "the stalled ones are not needed");
        assert_eq!(asked, 16);
        assert_eq!(lookup.closest().len(), 8);
        // With too few answers the rest is waited for.
        let mut lookup = start((1..=3).map(|n| node(n as u8, n)));
        while let Some(ask) = lookup.next() {
            lookup.on_stalled(ask.address);
        }
        assert!(!lookup.is_done());
        for n in 1..=3 {
            lookup.on_failed(node(n as u8, n).address);
        }
        assert!(lookup.is_done());
    }

    #[test]
    fn a_node_that_is_not_where_it_was_said_to_be_does_not_take_the_place() {
        let mut lookup = start([node(9, 9)]);
        lookup.next();
        let liar = node(1, 5);
        reply(&mut lookup, node(9, 9), &[liar]);
        assert_eq!(lookup.next().map(|ask| ask.id), Some(Some(liar.id)));
        let really = NodeInfo {
            id: node(7, 5).id,
            ..liar
        };
        reply(&mut lookup, really, &[]);
        let closest: Vec<NodeInfo> = lookup.closest().iter().map(|found| found.node).collect();
        assert_eq!(closest, [really, node(9, 9)]);
    }

    #[test]
    fn one_network_does_not_surround_a_place() {
        let mut lookup = start([node(200, 1)]);
        lookup.next();
        let sybils: Vec<NodeInfo> = (0..100)
            .map(|n| NodeInfo {
                address: SocketAddr::from(([203, 0, 113, n as u8], 6881)),
                ..node(0, 1_000 + n)
            })
            .collect();
        reply(&mut lookup, node(200, 1), &sybils);
        let asked = core::iter::from_fn(|| {
            let ask = lookup.next()?;
            lookup.on_failed(ask.address);
            Some(ask)
        });
        assert_eq!(asked.count(), 2);
        // And one address has one place only.
        let mut lookup = start([node(200, 1)]);
        lookup.next();
        let many: Vec<NodeInfo> = (0..100)
            .map(|n| NodeInfo {
                address: SocketAddr::from(([203, 0, 113, 1], n + 1)),
                ..node(0, 1_000 + n)
            })
            .collect();
        reply(&mut lookup, node(200, 1), &many);
        assert_eq!(core::iter::from_fn(|| lookup.next()).count(), 1);
    }

    #[test]
    fn nodes_without_a_bound_place_count_half_or_not_at_all() {
        let stranger = |n: u16| NodeInfo {
            address: SocketAddr::from(([5, n as u8, 1, 1], 6881)),
            ..node(n as u8, n)
        };
        for (enforce, targets) in [(false, 8), (true, 0)] {
            let nodes = (1..=40)
                .map(stranger)
                .filter(|node| !is_valid(&node.id, node.address.ip()));
            let mut lookup = Lookup::new(target(), enforce, &OWN, nodes, []);
            let mut asked = 0;
            while let Some(ask) = lookup.next() {
                asked += 1;
                let from = NodeInfo {
                    id: ask.id.unwrap(),
                    address: ask.address,
                };
                reply(&mut lookup, from, &[]);
            }
            assert!(lookup.is_done());
            assert_eq!(lookup.closest().len(), targets);
            assert_eq!(asked == STRANGERS, !enforce, "{asked}");
        }
    }

    #[test]
    fn endless_hearsay_ends() {
        let mut lookup = start([node(255, 1)]);
        let mut rng = Rng::new(Seed([6; 32]));
        let mut asked = 0;
        while let Some(ask) = lookup.next() {
            asked += 1;
            let mut closer = Vec::new();
            for _ in 0..32 {
                let mut id = [0; 20];
                rng.fill(&mut id[10..]);
                let port = 1 + rng.below(60_000) as u16;
                let address = SocketAddr::from(([127, 0, rng.below(255) as u8, 1], port));
                closer.push(NodeInfo {
                    id: NodeId::new(id),
                    address,
                });
            }
            // It answers from elsewhere than it was said to be, and so is never near enough.
            let mut id = [0xf0; 20];
            rng.fill(&mut id[2..]);
            reply(
                &mut lookup,
                NodeInfo {
                    id: NodeId::new(id),
                    address: ask.address,
                },
                &closer,
            );
            assert!(lookup.candidates.len() <= MAX_DHT_CANDIDATES);
        }
        assert!(asked > 50 && asked <= MAX_DHT_LOOKUP_QUERIES, "{asked}");
        assert!(lookup.is_done());
    }

    #[test]
    fn in_a_network_of_perfect_tables_hops_grow_with_the_logarithm() {
        let mut rng = Rng::new(Seed([2; 32]));
        let mut ids: Vec<NodeId> = Vec::new();
        for _ in 0..256 {
            let mut id = [0; 20];
            rng.fill(&mut id);
            ids.push(NodeId::new(id));
        }
        let at = |n: usize| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6881));
        let by_id: BTreeMap<NodeId, usize> =
            ids.iter().enumerate().map(|(n, id)| (*id, n)).collect();
        let tables: Vec<super::super::table::Table> = (0..ids.len())
            .map(|n| {
                let mut table = super::super::table::Table::new(ids[n], crate::time::Instant::ZERO);
                for _ in 0..700 {
                    let other = rng.below(256) as usize;
                    let node = NodeInfo {
                        id: ids[other],
                        address: at(other),
                    };
                    table.replied(node, crate::time::Instant::ZERO);
                }
                table
            })
            .collect();
        let now = crate::time::Instant::ZERO;
        let standing = super::super::table::Standing::Good;
        for from in 0..100 {
            let mut bytes = [0; 20];
            rng.fill(&mut bytes);
            let target = NodeId::new(bytes);
            let nodes = tables[from].closest(&target, 8, standing, now);
            let mut lookup = Lookup::new(target, false, &ids[from], nodes, []);
            while let Some(ask) = lookup.next() {
                let id = ask.id.unwrap();
                let nodes = tables[by_id[&id]].closest(&target, 8, standing, now);
                lookup.on_reply(
                    NodeInfo {
                        id,
                        address: ask.address,
                    },
                    None,
                    false,
                    &nodes,
                    &ids[from],
                );
            }
            let mut all = ids.clone();
            all.retain(|id| *id != ids[from]);
            all.sort_by_key(|id| id.distance(&target));
            let found: Vec<NodeId> = lookup.closest().iter().map(|found| found.node.id).collect();
            let right = found.iter().filter(|id| all[..8].contains(id)).count();
            assert!(right >= 7, "{right} of the 8 closest");
            assert!(lookup.hops() <= 8, "{} hops", lookup.hops());
        }
    }
}
