//! BEP 5, 33, 44: what lookups are for. A task has one in each address family, and ends when both have, and when what
//! was to be stored at their ends is.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::bloom::Bloom;
use super::command::{DhtCommand, DhtPath, DhtPeers, DhtReply, DhtScrape, DhtStored};
use super::item::{Item, MutableItem, Value, mutable_target};
use super::lookup::{Found, Lookup};
use super::rpc::{LONG, Why};
use super::table::{Standing, is_v6};
use super::{Dht, DhtOutcome, Due};
use crate::action::Action;
use crate::address::is_believable;
use crate::address::is_dialable;
use crate::command::Reply;
use crate::ctx::Ctx;
use crate::error::CommandError;
use crate::id::{RequestId, TorrentId};
use crate::limits;
use crate::metainfo::InfoHash;
use crate::time::Instant;
use crate::wire::krpc::{MAX_SALT_LEN, Method, NodeId, NodeInfo, PutMutable, Response, Want};

/// How long a user's wish waits for nodes to become known.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lookups that the node may have under way for its tables, beside those for others.
pub(super) const OWN_LOOKUPS: usize = 16;

/// A task; never given out twice.
pub(super) type TaskId = u64;

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: TaskId,
    v6: bool,
    lookup: Lookup,
}

/// What lookups are for.
#[derive(Debug)]
pub(super) struct Task {
    request: Option<RequestId>,
    kind: Kind,
    /// Lookups and stores under way.
    pub(super) open: u32,
    begun: Instant,
    path: DhtPath,
    stored: u32,
    refusal: Option<(i64, String)>,
}

#[derive(Debug)]
enum Kind {
    /// To find our own neighbourhood.
    Join {
        v6: bool,
    },
    /// To fill a bucket.
    Refresh,
    Peers {
        info_hash: InfoHash,
        torrent: Option<TorrentId>,
        announce: Option<Announce>,
        found: BTreeSet<SocketAddr>,
    },
    Scrape {
        info_hash: InfoHash,
        seeds: Box<Bloom>,
        peers: Box<Bloom>,
    },
    Get {
        target: NodeId,
        /// Key and salt of a mutable item.
        mutable: Option<([u8; 32], Bytes)>,
        best: Option<Item>,
    },
    Put {
        item: Item,
        cas: Option<i64>,
    },
}

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announce {
    /// Where peers can dial us; 0 if nobody can, and then nothing is announced.
    pub(crate) port: u16,
    /// Whether we are complete.
    pub(crate) seed: bool,
}

/// Whether a torrent is being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It is; outcomes follow.
    Begun,
    /// No other node is known. [`DhtOutcome::Ready`] follows when that has changed.
    NoNodes,
    /// Too many lookups are under way.
    Busy,
}

impl Kind {
    fn target(&self, own: NodeId) -> NodeId {
        match self {
            Self::Join { .. } | Self::Refresh => own,
            Self::Peers { info_hash, .. } | Self::Scrape { info_hash, .. } => (*info_hash).into(),
            Self::Get { target, .. } => *target,
            Self::Put { item, .. } => item.target(),
        }
    }

    /// What nodes on the way are asked.
    fn method(&self, target: NodeId) -> Method<'static> {
        match self {
            Self::Join { .. } => Method::FindNode {
                target,
                // The other family's nodes are welcome as long as we look for company.
                want: Some(Want { v4: true, v6: true }),
            },
            Self::Refresh => Method::FindNode { target, want: None },
            Self::Peers { info_hash, .. } => Method::GetPeers {
                info_hash: *info_hash,
                want: None,
                no_seeds: false,
                scrape: false,
            },
            Self::Scrape { info_hash, .. } => Method::GetPeers {
                info_hash: *info_hash,
                want: None,
                no_seeds: false,
                scrape: true,
            },
            Self::Get { target, .. } => Method::Get {
                target: *target,
                want: None,
                seq: None,
            },
            Self::Put { .. } => Method::Get {
                target,
                want: None,
                seq: None,
            },
        }
    }
}

impl Task {
    fn new(request: Option<RequestId>, kind: Kind, now: Instant) -> Self {
        Self {
            request,
            kind,
            open: 0,
            begun: now,
            path: DhtPath::default(),
            stored: 0,
            refusal: None,
        }
    }

    /// Tells the user, if there is one, that nothing comes of it.
    pub(super) fn fail(self, ctx: &mut Ctx<'_>, why: &CommandError) {
        if let Some(request) = self.request {
            let result = Err(why.clone());
            ctx.push(Action::Reply { request, result });
        }
    }
}

/// With so many lookups under way, torrents wait.
const TORRENT_LOOKUPS: usize = limits::MAX_DHT_LOOKUPS * 3 / 4;

impl Dht {
    /// Carries out a user's wish. It is answered now or later.
    pub(crate) fn command(
        &mut self,
        ctx: &mut Ctx<'_>,
        request: RequestId,
        command: DhtCommand,
    ) -> Vec<DhtOutcome> {
        let mut outcomes = Vec::new();
        let kind = match command {
            DhtCommand::Status => {
                let status = DhtReply::Status(self.status(ctx.now));
                return answer(ctx, request, Ok(Reply::Dht(status.into())));
            }
            DhtCommand::Save => {
                let state = DhtReply::State(self.state(ctx.now));
                return answer(ctx, request, Ok(Reply::Dht(state.into())));
            }
            DhtCommand::AddNode { node } => {
                self.add_node(ctx, node);
                return answer(ctx, request, Ok(Reply::Done));
            }
            DhtCommand::Ping { .. } if !self.listening => {
                return answer(ctx, request, Err(CommandError::NoDhtNodes));
            }
            DhtCommand::Ping { address } => {
                self.user_ping(ctx, request, address);
                self.arm(ctx);
                return outcomes;
            }
            DhtCommand::GetPeers { info_hash } => Kind::peers(info_hash, None, None),
            DhtCommand::Announce {
                info_hash,
                port,
                seed,
            } => {
                let port = port.unwrap_or_else(|| ctx.identity.port());
                Kind::peers(info_hash, None, Some(Announce { port, seed }))
            }
            DhtCommand::Scrape { info_hash } => Kind::Scrape {
                info_hash,
                seeds: Box::default(),
                peers: Box::default(),
            },
            DhtCommand::GetImmutable { target } => Kind::Get {
                target,
                mutable: None,
                best: None,
            },
            DhtCommand::GetMutable { salt, .. } if salt.len() > MAX_SALT_LEN => {
                // Nothing can be stored there.
                return answer(ctx, request, Ok(Reply::Dht(DhtReply::Item(None).into())));
            }
            DhtCommand::GetMutable { key, salt } => Kind::Get {
                target: mutable_target(&key, &salt),
                mutable: Some((key, salt)),
                best: None,
            },
            DhtCommand::PutImmutable { value } => Kind::Put {
                item: Item::Immutable(value),
                cas: None,
            },
            DhtCommand::PutMutable { item, cas } => Kind::Put {
                item: Item::Mutable(item),
                cas,
            },
        };
        if !self.listening {
            return answer(ctx, request, Err(CommandError::NoDhtNodes));
        }
        if self.tasks.len() >= limits::MAX_DHT_LOOKUPS {
            return answer(ctx, request, Err(CommandError::DhtBusy));
        }
        let id = self.fresh_id();
        self.tasks
            .insert(id, Task::new(Some(request), kind, ctx.now));
        if !self.begin(ctx, id, &mut outcomes) {
            self.timers.set(Due::Task(id), ctx.now + PATIENCE);
        }
        self.arm(ctx);
        outcomes
    }

    /// How many more torrents can be looked up. A few places are left to users, who wait for their answers.
    pub(crate) fn room(&self) -> usize {
        if !self.listening || !(self.v4.ready || self.v6.ready) {
            return 0;
        }
        TORRENT_LOOKUPS.saturating_sub(self.tasks.len())
    }

    /// Looks for peers of a torrent, and announces it.
    pub(crate) fn announce_torrent(
        &mut self,
        ctx: &mut Ctx<'_>,
        torrent: TorrentId,
        info_hash: InfoHash,
        announce: Announce,
    ) -> (Attempt, Vec<DhtOutcome>) {
        let mut outcomes = Vec::new();
        if !self.listening || !(self.v4.ready || self.v6.ready) {
            return (Attempt::NoNodes, outcomes);
        }
        if self.room() == 0 {
            return (Attempt::Busy, outcomes);
        }
        let id = self.fresh_id();
        let kind = Kind::peers(info_hash, Some(torrent), Some(announce));
        self.tasks.insert(id, Task::new(None, kind, ctx.now));
        let begun = self.begin(ctx, id, &mut outcomes);
        self.arm(ctx);
        if begun {
            (Attempt::Begun, outcomes)
        } else {
            self.tasks.remove(&id);
            (Attempt::NoNodes, outcomes)
        }
    }

    /// A torrent has stopped: its lookups are of no more use.
    pub(crate) fn forget_torrent(&mut self, torrent: TorrentId) {
        for task in self.tasks.values_mut() {
            if let Kind::Peers {
                torrent: of,
                announce,
                ..
            } = &mut task.kind
                && *of == Some(torrent)
            {
                *of = None;
                *announce = None;
            }
        }
    }

    /// Begins to look for our own neighbourhood. False if there is nobody to ask.
    pub(super) fn seek_neighbours(
        &mut self,
        ctx: &mut Ctx<'_>,
        v6: bool,
        outcomes: &mut Vec<DhtOutcome>,
    ) -> bool {
        let id = self.fresh_id();
        let kind = Kind::Join { v6 };
        self.tasks.insert(id, Task::new(None, kind, ctx.now));
        let target = *self.net(v6).table.own();
        let begun = self.begin_at(ctx, id, [(v6, target)], outcomes);
        if !begun {
            self.tasks.remove(&id);
        }
        begun
    }

    /// Begins to look for nodes around a place.
    pub(super) fn refresh(
        &mut self,
        ctx: &mut Ctx<'_>,
        v6: bool,
        target: NodeId,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let own = self.tasks.values();
        let own = own.filter(|task| matches!(task.kind, Kind::Refresh | Kind::Join { .. }));
        if own.count() >= OWN_LOOKUPS - 2 {
            return;
        }
        let id = self.fresh_id();
        self.tasks
            .insert(id, Task::new(None, Kind::Refresh, ctx.now));
        if !self.begin_at(ctx, id, [(v6, target)], outcomes) {
            self.tasks.remove(&id);
        }
    }

    /// Begins all tasks that waited for nodes.
    pub(super) fn begin_waiting(&mut self, ctx: &mut Ctx<'_>, outcomes: &mut Vec<DhtOutcome>) {
        let waiting = self.tasks.iter().filter(|(_, task)| task.open == 0);
        let waiting: Vec<TaskId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            if self.timers.deadline(Due::Task(id)).is_some() && self.begin(ctx, id, outcomes) {
                self.timers.cancel(Due::Task(id));
            }
        }
    }

    /// A task has waited long enough.
    pub(super) fn task_due(&mut self, ctx: &mut Ctx<'_>, id: TaskId) {
        if let Some(task) = self.tasks.remove(&id) {
            task.fail(ctx, &CommandError::NoDhtNodes);
        }
    }

    pub(super) fn lookup_stalled(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u64,
        address: SocketAddr,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        if let Some(running) = self.lookups.get_mut(&id) {
            running.lookup.on_stalled(address);
            self.drive(ctx, id, outcomes);
        }
    }

    pub(super) fn lookup_failed(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u64,
        address: SocketAddr,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        if let Some(running) = self.lookups.get_mut(&id) {
            running.lookup.on_failed(address);
            self.drive(ctx, id, outcomes);
        }
    }

    /// How long an answer is waited for.
    pub(super) fn lookup_patience(&self, id: u64) -> Duration {
        let running = self.lookups.get(&id);
        running.map_or(LONG, |running| running.lookup.patience())
    }

    /// An answer on the way took so long.
    pub(super) fn lookup_heard(&mut self, id: u64, took: Duration) {
        if let Some(running) = self.lookups.get_mut(&id) {
            running.lookup.on_heard(took);
        }
    }

    /// A node on the way answered.
    pub(super) fn lookup_replied(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u64,
        from: NodeInfo,
        response: &Response<'_>,
        nodes: &[NodeInfo],
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let Some(running) = self.lookups.get_mut(&id) else {
            return;
        };
        let (v6, task_id) = (running.v6, running.task);
        let own = if v6 { &self.v6 } else { &self.v4 }.table.own();
        let (near, others): (Vec<NodeInfo>, Vec<NodeInfo>) =
            nodes.iter().partition(|node| is_v6(node.address) == v6);
        let token = response.token.map(Bytes::copy_from_slice);
        let had = response.value.is_some() || response.seq.is_some();
        running.lookup.on_reply(from, token, had, &near, own);
        let mut settled = false;
        if let Some(task) = self.tasks.get_mut(&task_id) {
            settled = task.learn(from, response, outcomes);
        }
        if self.net(!v6).table.len() < limits::DHT_BUCKET {
            self.hear_of(ctx, &others);
        }
        if settled {
            let lookups = self.lookups.iter();
            let lookups = lookups.filter(|(_, running)| running.task == task_id);
            let lookups: Vec<u64> = lookups.map(|(id, _)| *id).collect();
            for id in lookups {
                self.finish_lookup(ctx, id, outcomes);
            }
        } else {
            self.drive(ctx, id, outcomes);
        }
    }

    /// A node took what it was given to store, or refused; none if it did not answer.
    pub(super) fn stored(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: TaskId,
        result: Option<Result<(), (i64, String)>>,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        if let Some(task) = self.tasks.get_mut(&id) {
            match result {
                Some(Ok(())) => task.stored += 1,
                Some(Err(refusal)) => task.refusal = Some(refusal),
                None => {}
            }
        }
        self.release(ctx, id, outcomes);
    }

    /// Begins a task's lookups. False if there is nobody to ask.
    fn begin(&mut self, ctx: &mut Ctx<'_>, id: TaskId, outcomes: &mut Vec<DhtOutcome>) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else {
            return false;
        };
        task.begun = ctx.now;
        let target = task.kind.target(NodeId::default());
        self.begin_at(ctx, id, [(false, target), (true, target)], outcomes)
    }

    fn begin_at(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: TaskId,
        targets: impl IntoIterator<Item = (bool, NodeId)>,
        outcomes: &mut Vec<DhtOutcome>,
    ) -> bool {
        // Held until all have begun, lest it ends with the first.
        if let Some(task) = self.tasks.get_mut(&id) {
            task.open += 1;
        }
        let mut begun = false;
        for (v6, target) in targets {
            begun |= self.begin_lookup(ctx, id, v6, target, outcomes);
        }
        if begun {
            self.release(ctx, id, outcomes);
        } else if let Some(task) = self.tasks.get_mut(&id) {
            task.open -= 1;
        }
        begun
    }

    fn begin_lookup(
        &mut self,
        ctx: &mut Ctx<'_>,
        task_id: TaskId,
        v6: bool,
        target: NodeId,
        outcomes: &mut Vec<DhtOutcome>,
    ) -> bool {
        let net = self.net(v6);
        let own = *net.table.own();
        let lonely = net.table.len() < limits::DHT_BUCKET;
        let joining = matches!(
            self.tasks.get(&task_id).map(|task| &task.kind),
            Some(Kind::Join { .. })
        );
        let count = 2 * limits::DHT_BUCKET;
        let mut nodes = net
            .table
            .closest(&target, count, Standing::Questionable, ctx.now);
        if let (true, Some(state)) = (joining && lonely, &self.config.state) {
            let saved = state.nodes.iter();
            nodes.extend(saved.filter(|node| is_v6(node.address) == v6));
        }
        let routers = self.routers.iter().flat_map(|router| &router.addresses);
        let starters: Vec<SocketAddr> = routers
            .filter(|address| lonely && is_v6(**address) == v6)
            .copied()
            .collect();
        if nodes.is_empty() && starters.is_empty() {
            return false;
        }
        let enforce = self.config.enforce_node_ids;
        let lookup = Lookup::new(target, enforce, &own, nodes, starters);
        let id = self.fresh_id();
        let running = Running {
            task: task_id,
            v6,
            lookup,
        };
        self.lookups.insert(id, running);
        self.counters.lookups += 1;
        if let Some(task) = self.tasks.get_mut(&task_id) {
            task.open += 1;
        }
        self.drive(ctx, id, outcomes);
        true
    }

    /// Asks whoever is to be asked next, and sees whether the lookup is over.
    fn drive(&mut self, ctx: &mut Ctx<'_>, id: u64, outcomes: &mut Vec<DhtOutcome>) {
        loop {
            let Some(running) = self.lookups.get_mut(&id) else {
                return;
            };
            if self.queries.len() >= limits::MAX_DHT_QUERIES_OF_LOOKUPS && !running.lookup.is_done()
            {
                if !self.in_line.contains(&id) {
                    self.in_line.push_back(id);
                }
                return;
            }
            let target = *running.lookup.target();
            let Some(ask) = running.lookup.next() else {
                if running.lookup.is_done() {
                    self.finish_lookup(ctx, id, outcomes);
                }
                return;
            };
            let Some(task) = self.tasks.get(&running.task) else {
                return;
            };
            let method = task.kind.method(target);
            if !self.ask(ctx, id, ask, method)
                && let Some(running) = self.lookups.get_mut(&id)
            {
                running.lookup.on_failed(ask.address);
            }
        }
    }

    /// A query has ended: lookups that waited for that go on.
    pub(super) fn go_on(&mut self, ctx: &mut Ctx<'_>, outcomes: &mut Vec<DhtOutcome>) {
        while self.queries.len() < limits::MAX_DHT_QUERIES_OF_LOOKUPS
            && let Some(next) = self.in_line.pop_front()
        {
            self.drive(ctx, next, outcomes);
        }
    }

    /// A lookup is over: stores what is to be stored where it led.
    fn finish_lookup(&mut self, ctx: &mut Ctx<'_>, id: u64, outcomes: &mut Vec<DhtOutcome>) {
        let Some(Running {
            task: task_id,
            lookup,
            ..
        }) = self.lookups.remove(&id)
        else {
            return;
        };
        self.in_line.retain(|waiting| *waiting != id);
        let closest = lookup.closest();
        let (asked, replied) = lookup.counts();
        let Some(task) = self.tasks.get_mut(&task_id) else {
            return;
        };
        let path = &mut task.path;
        path.asked += asked;
        path.replied += replied;
        path.hops = path.hops.max(lookup.hops());
        path.took = ctx.now.since(task.begun);
        let nearest = closest.iter().take(limits::DHT_BUCKET);
        path.nodes.extend(nearest.map(|found| found.node));
        match &task.kind {
            Kind::Peers {
                info_hash,
                announce: Some(announce),
                ..
            } => {
                let (info_hash, announce) = (*info_hash, *announce);
                self.announce_at(ctx, task_id, info_hash, announce, &closest);
            }
            Kind::Put { item, cas } => {
                let (item, cas) = (item.clone(), *cas);
                self.put_at(ctx, task_id, &item, cas, &closest);
            }
            Kind::Peers { announce: None, .. }
            | Kind::Join { .. }
            | Kind::Refresh
            | Kind::Scrape { .. }
            | Kind::Get { .. } => {}
        }
        self.release(ctx, task_id, outcomes);
    }

    fn announce_at(
        &mut self,
        ctx: &mut Ctx<'_>,
        task: TaskId,
        info_hash: InfoHash,
        announce: Announce,
        closest: &[Found],
    ) {
        let implied_port = self.config.implied_port;
        if announce.port == 0 {
            return;
        }
        for found in closest {
            let Some(token) = &found.token else {
                continue;
            };
            let method = Method::AnnouncePeer {
                info_hash,
                port: announce.port,
                implied_port,
                seed: announce.seed,
                token,
            };
            self.store_at(ctx, task, found, method);
        }
    }

    fn put_at(
        &mut self,
        ctx: &mut Ctx<'_>,
        task: TaskId,
        item: &Item,
        cas: Option<i64>,
        closest: &[Found],
    ) {
        for found in closest {
            let Some(token) = &found.token else {
                continue;
            };
            let mutable = match item {
                Item::Immutable(_) => None,
                Item::Mutable(item) => Some(PutMutable {
                    key: *item.key(),
                    salt: item.salt(),
                    seq: item.seq(),
                    signature: *item.signature(),
                    // BEP 44: only where there is something to compare with.
                    cas: cas.filter(|_| found.had),
                }),
            };
            let method = Method::Put {
                token,
                value: item.value(),
                mutable,
            };
            self.store_at(ctx, task, found, method);
        }
    }

    fn store_at(&mut self, ctx: &mut Ctx<'_>, task: TaskId, found: &Found, method: Method<'_>) {
        let NodeInfo { id, address } = found.node;
        if self.query(ctx, address, Some(id), Why::Store { task }, method)
            && let Some(task) = self.tasks.get_mut(&task)
        {
            task.open += 1;
        }
    }

    /// A lookup or a store of a task is over.
    fn release(&mut self, ctx: &mut Ctx<'_>, id: TaskId, outcomes: &mut Vec<DhtOutcome>) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.open -= 1;
        if task.open > 0 {
            return;
        }
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let reply = match task.kind {
            Kind::Join { v6 } => return self.joined(ctx, v6, outcomes),
            Kind::Refresh => return,
            Kind::Peers { torrent, found, .. } => {
                if let Some(torrent) = torrent {
                    outcomes.push(DhtOutcome::Announced {
                        torrent,
                        peers: found.len() as u32,
                        nodes: task.stored,
                    });
                }
                DhtReply::Peers(DhtPeers {
                    peers: found.into_iter().collect(),
                    announced: task.stored,
                    path: task.path,
                })
            }
            Kind::Scrape { seeds, peers, .. } => DhtReply::Scraped(DhtScrape {
                seeds: seeds.estimate(),
                peers: peers.estimate(),
                path: task.path,
            }),
            Kind::Get { best, .. } => DhtReply::Item(best),
            Kind::Put { item, .. } => DhtReply::Stored(DhtStored {
                target: item.target(),
                nodes: task.stored,
                refusal: task.refusal,
            }),
        };
        if let Some(request) = task.request {
            let result = Ok(Reply::Dht(reply.into()));
            ctx.push(Action::Reply { request, result });
        }
    }
}

impl Kind {
    fn peers(info_hash: InfoHash, torrent: Option<TorrentId>, announce: Option<Announce>) -> Self {
        Self::Peers {
            info_hash,
            torrent,
            announce,
            found: BTreeSet::new(),
        }
    }
}

impl Task {
    /// Takes what an answer brings. Says whether nothing more is to be found.
    fn learn(
        &mut self,
        from: NodeInfo,
        response: &Response<'_>,
        outcomes: &mut Vec<DhtOutcome>,
    ) -> bool {
        let values = response.values.iter().copied();
        let values = values.filter(|peer| is_dialable(*peer) && is_believable(*peer, from.address));
        match &mut self.kind {
            Kind::Join { .. } | Kind::Refresh | Kind::Put { .. } => false,
            Kind::Peers { torrent, found, .. } => {
                let mut fresh = Vec::new();
                for peer in values {
                    if found.len() < limits::MAX_DHT_LOOKUP_PEERS && found.insert(peer) {
                        fresh.push(peer);
                    }
                }
                if let (Some(torrent), false) = (*torrent, fresh.is_empty()) {
                    let peers = fresh;
                    outcomes.push(DhtOutcome::Found { torrent, peers });
                }
                false
            }
            Kind::Scrape { seeds, peers, .. } => {
                if let (Some(more_seeds), Some(more_peers)) = (response.seeds, response.peers) {
                    seeds.unite(&Bloom::new(*more_seeds));
                    peers.unite(&Bloom::new(*more_peers));
                } else {
                    // BEP 33: a node that knows no filters tells peers; who is a seed elsewhere is none of them.
                    let unknown = values.map(|peer| peer.ip());
                    for ip in unknown {
                        if !seeds.may_contain(ip) {
                            peers.insert(ip);
                        }
                    }
                }
                false
            }
            Kind::Get {
                target,
                mutable,
                best,
            } => {
                let value = response
                    .value
                    .and_then(|value| Value::new(Bytes::copy_from_slice(value)).ok());
                let Some(value) = value else {
                    return false;
                };
                let Some((key, salt)) = mutable else {
                    // Nobody can change what is found under its own hash.
                    let right = value.target() == *target;
                    if right {
                        *best = Some(Item::Immutable(value));
                    }
                    return right;
                };
                let known = match best {
                    Some(Item::Mutable(item)) => Some(item.seq()),
                    Some(Item::Immutable(_)) | None => None,
                };
                if let (Some(seq), Some(signature)) = (response.seq, response.signature)
                    && response.key.is_none_or(|theirs| theirs == *key)
                    && known.is_none_or(|known| seq > known)
                    && let Ok(item) = MutableItem::new(*key, salt.clone(), seq, value, signature)
                {
                    *best = Some(Item::Mutable(item));
                }
                false
            }
        }
    }
}

fn answer(
    ctx: &mut Ctx<'_>,
    request: RequestId,
    result: Result<Reply, CommandError>,
) -> Vec<DhtOutcome> {
    ctx.push(Action::Reply { request, result });
    Vec::new()
}
