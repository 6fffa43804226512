//! BEP 5, 32, 33, 42, 43, 44: the distributed hash table: finding peers without a tracker.
//!
//! An engine whose [`DhtConfig::enabled`] is set is a node. Its torrents, but for private ones, look for peers and
//! announce themselves; users ask it with [`Command::Dht`](crate::Command::Dht), and look at it with
//! [`Engine::dht`](crate::Engine::dht).
//!
//! | file | subject |
//! |---|---|
//! | `mod` | the node: its two address families, packets, timers |
//! | `rpc` | queries of ours: transactions, time-outs, answers |
//! | `serve` | queries of others |
//! | `task` | what lookups are for: torrents, users, the table itself |
//! | `table`, `lookup`, `store`, `token`, `limiter`, `node_id`, `bloom` | the decisions, without I/O |
//! | `item`, `command`, `config`, `state` | what users have to do with |

mod bloom;
pub(crate) mod command;
pub(crate) mod config;
mod item;
mod limiter;
mod lookup;
mod node_id;
mod rpc;
mod serve;
mod state;
mod store;
mod table;
mod task;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects and fails at the rest"
)]
mod tests;
mod token;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

pub use self::command::{
    DhtCommand, DhtCounters, DhtFamilyStatus, DhtPath, DhtPeers, DhtPong, DhtReply, DhtScrape,
    DhtStatus, DhtStored,
};
pub use self::config::DhtConfig;
pub use self::item::{Item, ItemError, MutableItem, SecretKey, Value, mutable_target};
pub use self::state::{BadDhtState, DhtState};
pub use crate::wire::krpc::{NodeId, NodeInfo, ParseNodeIdError};

use crate::action::Action;
use crate::address::canonical;
use crate::ctx::{Ctx, Op, Timer};
use crate::error::CommandError;
use crate::event::{ContactError, Undelivered};
use crate::id::{OpId, TorrentId};
use crate::limits;
use crate::metainfo::Node;
use crate::rng::Rng;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::krpc::Method;

use self::limiter::Limiter;
use self::node_id::External;
use self::rpc::{Pending, Why};
use self::store::{ItemStore, PeerStore};
use self::table::{Standing, Table, is_v6};
pub(crate) use self::task::{Announce, Attempt};
use self::task::{Running, Task, TaskId};
use self::token::Tokens;

/// How often the tables and the stores are looked after.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// How long after a vain attempt the node tries again to get to know others; doubles each time.
const RETRY: Duration = Duration::from_secs(5);

/// The longest time between two such attempts.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// Nodes of a table that are asked at a time whether they are still there.
const PROBES: usize = 8;

/// Contacts that are made at a time, and how long after that the next ones.
const CONTACTS: usize = 16;
const CONTACT_PAUSE: Duration = Duration::from_millis(250);

/// Saved nodes that are asked at the start, beside those on the way to our own place.
const OLD_FRIENDS: usize = 64;

/// What the engine must do after the node has handled something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DhtOutcome {
    /// A torrent has new peers, as claimed.
    Found {
        torrent: TorrentId,
        peers: Vec<SocketAddr>,
    },
    /// A torrent's lookup is over.
    Announced {
        torrent: TorrentId,
        /// Peers found.
        peers: u32,
        /// Nodes that took the announce.
        nodes: u32,
    },
    /// Torrents that could not be looked up so far can be now.
    Ready,
}

/// A node of the distributed hash table.
#[derive(Debug)]
pub(crate) struct Dht {
    config: DhtConfig,
    listening: bool,
    v4: Net,
    v6: Net,
    queries: BTreeMap<u32, Pending>,
    lookups: BTreeMap<u64, Running>,
    /// Lookups that wait for others' queries to end before they can ask on, each once, the first to wait first.
    in_line: VecDeque<u64>,
    tasks: BTreeMap<TaskId, Task>,
    /// Ids given out, of lookups and tasks alike.
    ids: u64,
    timers: Timers<Due>,
    tokens: Tokens,
    peers: PeerStore,
    items: ItemStore,
    limiter: Limiter,
    /// Nodes to be asked whether they are there.
    contacts: VecDeque<Contact>,
    /// Names to be looked up, or that were.
    routers: VecDeque<Router>,
    counters: DhtCounters,
}

/// One address family.
#[derive(Debug)]
struct Net {
    table: Table,
    external: External,
    /// Whether the neighbourhood was found.
    ready: bool,
    /// The place of which the neighbourhood is being looked for.
    joining: Option<NodeId>,
    retry: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Contact {
    address: SocketAddr,
    id: Option<NodeId>,
}

#[derive(Debug)]
struct Router {
    node: Node,
    addresses: Vec<SocketAddr>,
    lookup: Option<OpId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A query takes long, or too long.
    Query(u32),
    /// A task has waited long enough for nodes.
    Task(TaskId),
    /// Contacts are to be made.
    Contacts,
    /// The neighbourhood is to be found: in IPv4, or in IPv6.
    Join { v6: bool },
    /// Tables and stores are to be looked after.
    Maintenance,
}

impl Dht {
    pub(crate) fn new(config: DhtConfig, now: Instant, rng: &mut Rng) -> Self {
        let net = |v6: bool, rng: &mut Rng| {
            let external = config.external.iter().map(IpAddr::to_canonical);
            let external = external.clone().find(|ip| ip.is_ipv6() == v6);
            let state = config.state.as_ref();
            let saved = state.and_then(|state| if v6 { state.id6 } else { state.id });
            let fits = |id: &NodeId| external.is_none_or(|ip| node_id::is_valid(id, ip));
            let id = saved
                .filter(fits)
                .unwrap_or_else(|| node_id::generate(external, rng));
            Net {
                table: Table::new(id, now),
                external: External::new(external),
                ready: false,
                joining: None,
                retry: RETRY,
            }
        };
        let (v4, v6) = (net(false, rng), net(true, rng));
        let mut dht = Self {
            listening: false,
            v4,
            v6,
            queries: BTreeMap::new(),
            lookups: BTreeMap::new(),
            in_line: VecDeque::new(),
            tasks: BTreeMap::new(),
            ids: 0,
            timers: Timers::default(),
            tokens: Tokens::new(now, rng),
            peers: PeerStore::default(),
            items: ItemStore::default(),
            limiter: Limiter::new(config.reply_rate, now),
            contacts: VecDeque::new(),
            routers: VecDeque::new(),
            counters: DhtCounters::default(),
            config,
        };
        for node in core::mem::take(&mut dht.config.bootstrap) {
            dht.remember(node);
        }
        dht
    }

    /// The embedder has begun to listen, or stopped.
    pub(crate) fn listen(&mut self, ctx: &mut Ctx<'_>, listening: bool) {
        if listening == self.listening {
            return;
        }
        self.listening = listening;
        if listening {
            self.start(ctx);
        } else {
            self.stop(ctx, &CommandError::NoDhtNodes);
        }
        self.arm(ctx);
    }

    /// Ends all that is under way; users are told `why`.
    pub(crate) fn stop(&mut self, ctx: &mut Ctx<'_>, why: &CommandError) {
        for (_, task) in core::mem::take(&mut self.tasks) {
            task.fail(ctx, why);
        }
        for (_, query) in core::mem::take(&mut self.queries) {
            if let Why::User(request) = query.why {
                let result = Err(why.clone());
                ctx.push(Action::Reply { request, result });
            }
        }
        self.lookups.clear();
        self.in_line.clear();
        self.contacts.clear();
        self.timers.clear();
        for net in [&mut self.v4, &mut self.v6] {
            net.joining = None;
            net.ready = false;
        }
        self.listening = false;
        ctx.timers.cancel(Timer::Dht);
    }

    /// A packet came that looks like the DHT's.
    pub(crate) fn on_datagram(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        data: &[u8],
    ) -> Vec<DhtOutcome> {
        self.counters.received += data.len() as u64;
        let mut outcomes = Vec::new();
        if self.listening {
            self.on_message(ctx, canonical(from), data, &mut outcomes);
            self.arm(ctx);
        }
        outcomes
    }

    /// A packet to this address did not arrive.
    pub(crate) fn on_undelivered(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: SocketAddr,
        reason: Undelivered,
    ) -> Vec<DhtOutcome> {
        let mut outcomes = Vec::new();
        self.on_lost(ctx, canonical(to), reason, &mut outcomes);
        self.arm(ctx);
        outcomes
    }

    /// A name lookup ended.
    pub(crate) fn on_resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        op: OpId,
        result: Result<Vec<IpAddr>, ContactError>,
    ) {
        let Some(router) = self
            .routers
            .iter_mut()
            .find(|router| router.lookup == Some(op))
        else {
            return;
        };
        router.lookup = None;
        let port = router.node.port;
        // What was known before stands if the resolver is out of order.
        if let Ok(found) = result {
            router.addresses.clear();
            for v6 in [false, true] {
                let of_family = found.iter().map(IpAddr::to_canonical);
                let of_family = of_family.filter(|ip| ip.is_ipv6() == v6);
                // A name that stands for a crowd is no more than a few nodes here.
                let few = of_family.take(4).map(|ip| SocketAddr::new(ip, port));
                router.addresses.extend(few);
            }
        }
        if self.listening {
            for v6 in [false, true] {
                self.timers.set_no_later(Due::Join { v6 }, ctx.now);
            }
            self.arm(ctx);
        }
    }

    /// [`Timer::Dht`] fired: a deadline has come.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>) -> Vec<DhtOutcome> {
        let mut outcomes = Vec::new();
        for _ in 0..limits::TIMERS_PER_CALL {
            match self.timers.pop_due(ctx.now) {
                Some(Due::Query(transaction)) => self.query_due(ctx, transaction, &mut outcomes),
                Some(Due::Task(task)) => self.task_due(ctx, task),
                Some(Due::Contacts) => self.make_contacts(ctx),
                Some(Due::Join { v6 }) => self.join(ctx, v6, &mut outcomes),
                Some(Due::Maintenance) => self.maintain(ctx, &mut outcomes),
                None => break,
            }
        }
        self.arm(ctx);
        outcomes
    }

    /// A peer says that a node is at an address.
    pub(crate) fn on_contact(&mut self, ctx: &mut Ctx<'_>, address: SocketAddr) {
        self.contact(ctx, address, None);
        self.arm(ctx);
    }

    /// A peer says what our address is.
    pub(crate) fn on_own_address(&mut self, ctx: &mut Ctx<'_>, peer: SocketAddr, own: IpAddr) {
        if self.listening {
            self.on_vote(ctx, canonical(peer), None, own);
            self.arm(ctx);
        }
    }

    /// Gets to know a node that the user, or a torrent, names.
    pub(crate) fn add_node(&mut self, ctx: &mut Ctx<'_>, node: Node) {
        self.remember(node);
        if self.listening {
            self.resolve(ctx);
            self.arm(ctx);
        }
    }

    pub(crate) fn status(&self, now: Instant) -> DhtStatus {
        let family = |net: &Net| DhtFamilyStatus {
            id: *net.table.own(),
            external: net.external.address(),
            ready: net.ready,
            nodes: net.table.len() as u32,
            good: net.table.count(now, Standing::Good) as u32,
        };
        let (torrents, peers) = self.peers.len();
        DhtStatus {
            v4: family(&self.v4),
            v6: family(&self.v6),
            lookups: self.lookups.len() as u32,
            waiting: self.queries.len() as u32,
            torrents: torrents as u32,
            peers: peers as u32,
            items: self.items.len() as u32,
            counters: self.counters,
        }
    }

    /// Whether no other node is known.
    pub(crate) fn is_alone(&self) -> bool {
        self.v4.table.len() + self.v6.table.len() == 0
    }

    /// What should be kept for the next run. A node that has not found anybody yet keeps what it was given.
    pub(crate) fn state(&self, now: Instant) -> DhtState {
        let mut state = DhtState {
            id: Some(*self.v4.table.own()),
            id6: Some(*self.v6.table.own()),
            nodes: Vec::new(),
        };
        for net in [&self.v4, &self.v6] {
            let nodes = net.table.nodes(now).take(limits::MAX_DHT_SAVED_NODES);
            state.nodes.extend(nodes);
        }
        if let (true, Some(old)) = (state.nodes.is_empty(), &self.config.state) {
            state.nodes.clone_from(&old.nodes);
        }
        state
    }

    /// Panics unless what must hold between two events holds.
    pub(crate) fn check(&self) {
        assert!(self.timers.is_consistent());
        self.v4.table.check();
        self.v6.table.check();
        self.peers.check();
        self.items.check();
        self.limiter.check();
        assert!(self.queries.len() <= limits::MAX_DHT_QUERIES);
        assert!(self.lookups.len() <= 2 * limits::MAX_DHT_LOOKUPS + task::OWN_LOOKUPS);
        assert!(self.contacts.len() <= limits::MAX_DHT_CONTACTS);
        assert!(self.routers.len() <= limits::MAX_DHT_CONTACTS);
        for id in &self.in_line {
            assert!(self.lookups.contains_key(id), "who waits is there");
        }
        assert!(
            self.in_line.is_empty() || self.queries.len() >= limits::MAX_DHT_QUERIES_OF_LOOKUPS,
            "nobody waits in vain"
        );
        for transaction in self.queries.keys() {
            let due = self.timers.deadline(Due::Query(*transaction));
            assert!(due.is_some(), "every query ends");
        }
        for (id, task) in &self.tasks {
            let lookups = self.lookups.values();
            let lookups = lookups.filter(|running| running.task == *id).count();
            let stores = self.queries.values();
            let stores =
                stores.filter(|query| matches!(query.why, Why::Store { task, .. } if task == *id));
            assert_eq!(task.open as usize, lookups + stores.count(), "a task ends");
            let waits = self.timers.deadline(Due::Task(*id)).is_some();
            assert!(task.open > 0 || waits, "a task waits for something");
        }
    }

    fn net(&self, v6: bool) -> &Net {
        if v6 { &self.v6 } else { &self.v4 }
    }

    fn net_mut(&mut self, v6: bool) -> &mut Net {
        if v6 { &mut self.v6 } else { &mut self.v4 }
    }

    fn fresh_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn arm(&self, ctx: &mut Ctx<'_>) {
        match self.timers.next() {
            Some((at, _)) => ctx.timers.set(Timer::Dht, at.max(ctx.now)),
            None => ctx.timers.cancel(Timer::Dht),
        }
    }

    fn start(&mut self, ctx: &mut Ctx<'_>) {
        self.resolve(ctx);
        for v6 in [false, true] {
            self.timers.set(Due::Join { v6 }, ctx.now);
        }
        self.timers.set(Due::Maintenance, ctx.now + MAINTENANCE);
        // The way to our own place only meets neighbours; others fill the rest of the table.
        let mut old: Vec<NodeInfo> = match &self.config.state {
            Some(state) => state.nodes.clone(),
            None => Vec::new(),
        };
        ctx.rng.shuffle(&mut old);
        for node in old.into_iter().take(OLD_FRIENDS) {
            self.contact(ctx, node.address, Some(node.id));
        }
    }

    fn remember(&mut self, node: Node) {
        if node.port == 0 || self.routers.iter().any(|router| router.node == node) {
            return;
        }
        // The oldest that nothing is waited for gives way: the user's own come first, and are gone last only if few.
        if self.routers.len() >= limits::MAX_DHT_CONTACTS {
            let idle = self
                .routers
                .iter()
                .position(|router| router.lookup.is_none());
            match idle {
                Some(idle) => drop(self.routers.remove(idle)),
                None => return,
            }
        }
        let literal: Option<IpAddr> = node.host.parse().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip.to_canonical(), node.port));
        self.routers.push_back(Router {
            node,
            addresses: addresses.into_iter().collect(),
            lookup: None,
        });
    }

    /// Looks up the names whose addresses are not known.
    fn resolve(&mut self, ctx: &mut Ctx<'_>) {
        let mut literals = false;
        for router in &mut self.routers {
            if !router.addresses.is_empty() {
                literals = true;
            } else if router.lookup.is_none() {
                let op = ctx.ops.insert(Op::DhtResolve);
                router.lookup = Some(op);
                let host: String = router.node.host.clone();
                ctx.push(Action::Resolve {
                    op,
                    host,
                    torrent: None,
                });
            }
        }
        if literals {
            for v6 in [false, true] {
                self.timers.set_no_later(Due::Join { v6 }, ctx.now);
            }
        }
    }

    /// Finds the neighbourhood of our own place, unless that is under way, or there is nobody to ask.
    fn join(&mut self, ctx: &mut Ctx<'_>, v6: bool, outcomes: &mut Vec<DhtOutcome>) {
        if self.net(v6).joining.is_some() || !self.listening {
            return;
        }
        if self.net(v6).table.len() == 0 {
            // Names may have moved since.
            self.resolve(ctx);
            self.timers.cancel(Due::Join { v6 });
        }
        let net = self.net_mut(v6);
        net.joining = Some(*net.table.own());
        if !self.seek_neighbours(ctx, v6, outcomes) {
            self.net_mut(v6).joining = None;
        }
    }

    /// The lookup of our own place is over.
    fn joined(&mut self, ctx: &mut Ctx<'_>, v6: bool, outcomes: &mut Vec<DhtOutcome>) {
        let net = self.net_mut(v6);
        let joined = net.joining.take();
        let moved = joined.is_some_and(|place| place != *net.table.own());
        let known = net.table.len();
        if moved {
            // What was found is the neighbourhood of where we were before.
            self.timers.set_no_later(Due::Join { v6 }, ctx.now);
        } else if known < limits::DHT_BUCKET {
            // Nobody, or a network that is small or young: others may have come when we look again.
            let retry = net.retry;
            net.retry = (2 * retry).min(MAX_RETRY);
            // Many that were started together should not come back together.
            let spread = ctx.rng.below(retry.as_millis() as u32).into();
            let due = ctx.now + retry + Duration::from_millis(spread);
            self.timers.set_no_later(Due::Join { v6 }, due);
        } else {
            net.retry = RETRY;
        }
        let net = self.net_mut(v6);
        if known > 0 && !net.ready {
            net.ready = true;
            outcomes.push(DhtOutcome::Ready);
            self.begin_waiting(ctx, outcomes);
        }
    }

    /// Asks an address whether there is a node, soon.
    fn contact(&mut self, ctx: &mut Ctx<'_>, address: SocketAddr, id: Option<NodeId>) {
        let address = canonical(address);
        if !self.listening
            || self.contacts.len() >= limits::MAX_DHT_CONTACTS
            || self.contacts.iter().any(|known| known.address == address)
        {
            return;
        }
        self.contacts.push_back(Contact { address, id });
        self.timers.set_no_later(Due::Contacts, ctx.now);
    }

    fn make_contacts(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..CONTACTS {
            let Some(Contact { address, id }) = self.contacts.pop_front() else {
                return;
            };
            self.ping(ctx, address, id);
        }
        if !self.contacts.is_empty() {
            self.timers.set(Due::Contacts, ctx.now + CONTACT_PAUSE);
        }
    }

    fn maintain(&mut self, ctx: &mut Ctx<'_>, outcomes: &mut Vec<DhtOutcome>) {
        self.timers.set(Due::Maintenance, ctx.now + MAINTENANCE);
        self.tokens.rotate(ctx.now, ctx.rng);
        self.peers.expire(ctx.now);
        self.items.expire(ctx.now);
        for v6 in [false, true] {
            if self.net(v6).table.len() == 0 {
                self.net_mut(v6).ready = false;
                let soon = ctx.now + self.net(v6).retry;
                let sources = self.has_sources(v6);
                if sources && self.net(v6).joining.is_none() {
                    self.timers.set_no_later(Due::Join { v6 }, soon);
                }
                continue;
            }
            for node in self.net_mut(v6).table.probe(PROBES, ctx.now) {
                // Asked for its neighbours, which are of the same bucket, it brings replacements along.
                let (target, want) = (node.id, None);
                let method = Method::FindNode { target, want };
                self.query(ctx, node.address, Some(node.id), Why::Probe, method);
            }
            let stale = self.net_mut(v6).table.stale(ctx.now, ctx.rng);
            if let Some(target) = stale {
                self.refresh(ctx, v6, target, outcomes);
            }
        }
    }

    /// Whether there is anybody to begin with.
    fn has_sources(&self, v6: bool) -> bool {
        let mut addresses = self.routers.iter().flat_map(|router| &router.addresses);
        let saved = self.config.state.as_ref();
        addresses.any(|address| is_v6(*address) == v6)
            || saved.is_some_and(|state| {
                let mut nodes = state.nodes.iter();
                nodes.any(|node| is_v6(node.address) == v6)
            })
    }

    /// A node, or a peer, says what our address is.
    fn on_vote(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr, id: Option<&NodeId>, own: IpAddr) {
        let v6 = is_v6(from);
        if own.to_canonical().is_ipv6() != v6 {
            return;
        }
        let net = self.net_mut(v6);
        if !net.external.vote(from, id, own) {
            return;
        }
        let address = net.external.address();
        if address.is_some_and(|ip| node_id::is_valid(net.table.own(), ip)) {
            return;
        }
        let id = node_id::generate(address, ctx.rng);
        net.table.move_to(id, ctx.now);
        self.counters.moves += 1;
        self.timers.set_no_later(Due::Join { v6 }, ctx.now);
    }
}

/// A look at the DHT node of an engine, from [`Engine::dht`](crate::Engine::dht).
#[derive(Clone, Copy, Debug)]
pub struct DhtView<'a> {
    pub(crate) dht: &'a Dht,
    pub(crate) now: Instant,
}

impl DhtView<'_> {
    /// How it is.
    #[must_use]
    pub fn status(&self) -> DhtStatus {
        self.dht.status(self.now)
    }

    /// What should be kept for the next run.
    #[must_use]
    pub fn state(&self) -> DhtState {
        self.dht.state(self.now)
    }
}
