//! A client with one torrent, in virtual time, for the tests of this folder.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::Means;
use super::TrackerServer;
use super::announcer::{Announcer, Facts};
use super::udp::{UdpOutcome, UdpTrackers};
use crate::action::{Action, Actions};
use crate::config::Config;
use crate::ctx::{Ctx, Identity, Op, Timer};
use crate::datagram::Outbound;
use crate::event::{ContactError, HttpReply, OpResult, Undelivered};
use crate::gate::Gate;
use crate::id::{OpId, TorrentId};
use crate::metainfo::InfoHash;
use crate::notice::Notice;
use crate::rng::{Rng, Seed};
use crate::slab::Slab;
use crate::stats::Stats;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::PeerId;
use crate::wire::tracker::{AnnounceEvent, AnnounceQuery};
use crate::wire::tracker_http_server::parse_announce;

pub(super) const OWN: &str = "192.0.2.1:6881";

/// What a driver and an engine keep beside the machine under test.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) config: Config,
    pub(super) timers: Timers<Timer>,
    pub(super) ops: Slab<OpId, Op>,
    pub(super) stats: Stats,
    pub(super) gate: Gate,
    identity: Identity,
    rng: Rng,
    actions: Actions,
}

impl World {
    pub(super) fn new(seed: u8) -> Self {
        // Anything but the origin: a test must not pass because a default is zero.
        let now = Instant::from_millis(1_000_000);
        let config = Config::default();
        Self {
            now,
            config,
            timers: Timers::default(),
            ops: Slab::default(),
            stats: Stats::default(),
            gate: Gate::new(1, 1, 1_000),
            identity: Identity {
                peer_id: PeerId([8; 20]),
                listen: Some(OWN.parse().unwrap()),
            },
            rng: Rng::new(Seed([seed; 32])),
            actions: Actions::new(),
        }
    }

    pub(super) fn ctx(&mut self) -> Ctx<'_> {
        Ctx {
            now: self.now,
            config: &self.config,
            rng: &mut self.rng,
            actions: &mut self.actions,
            timers: &mut self.timers,
            ops: &mut self.ops,
            stats: &mut self.stats,
            gate: &mut self.gate,
            identity: &self.identity,
        }
    }

    pub(super) fn drain(&mut self) -> Vec<Action> {
        self.actions.drain().collect()
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }
}

pub(super) fn torrent(slot: u32) -> TorrentId {
    TorrentId::new(slot, 1)
}

/// An HTTP exchange that waits for its end.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) op: OpId,
    pub(super) url: String,
    pub(super) timeout_ms: u32,
}

impl Exchange {
    pub(super) fn query(&self) -> AnnounceQuery {
        let (_, query) = self.url.split_once('?').unwrap();
        parse_announce(query).unwrap()
    }

    pub(super) fn event(&self) -> Option<AnnounceEvent> {
        self.query().event
    }

    /// The host, which is how the tests tell trackers apart.
    pub(super) fn host(&self) -> String {
        self.url.split('/').nth(2).unwrap().to_string()
    }
}

/// An announcer with its surroundings; what it asks for is kept until a test answers.
pub(super) struct Client {
    pub(super) world: World,
    pub(super) udp: UdpTrackers,
    pub(super) announcer: Announcer,
    pub(super) facts: Facts,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) datagrams: Vec<(SocketAddr, Bytes)>,
    pub(super) cancelled: Vec<OpId>,
    /// Peers' names that wait to be looked up.
    pub(super) lookups: Vec<(OpId, String)>,
    pub(super) notices: Vec<Notice>,
    pub(super) peers: Vec<SocketAddr>,
}

impl Client {
    pub(super) fn new(seed: u8, tiers: &[&[&str]]) -> Self {
        let mut world = World::new(seed);
        let tiers: Vec<Vec<String>> = tiers
            .iter()
            .map(|tier| tier.iter().map(ToString::to_string).collect())
            .collect();
        Self {
            announcer: Announcer::new(&tiers, false, &mut world.rng),
            world,
            udp: UdpTrackers::default(),
            facts: Facts {
                torrent: torrent(0),
                info_hash: InfoHash::new([7; 20]),
                peer_id: PeerId([8; 20]),
                port: 6881,
                uploaded: 1,
                downloaded: 2,
                left: 3,
                want_peers: true,
                private: false,
            },
            exchanges: Vec::new(),
            datagrams: Vec::new(),
            cancelled: Vec::new(),
            lookups: Vec::new(),
            notices: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// A client that has started.
    pub(super) fn started(seed: u8, tiers: &[&[&str]]) -> Self {
        let mut client = Self::new(seed, tiers);
        client.call(Announcer::start);
        client
    }

    pub(super) fn call(&mut self, method: impl FnOnce(&mut Announcer, &mut Means<'_>, &Facts)) {
        let ctx = self.world.ctx();
        let udp = &mut self.udp;
        method(&mut self.announcer, &mut Means { ctx, udp }, &self.facts);
        self.collect();
    }

    pub(super) fn listen(&mut self, address: Option<SocketAddr>) {
        self.world.identity.listen = address;
        self.facts.port = self.world.identity.port();
    }

    pub(super) fn complete(&mut self) {
        self.announcer.complete();
        self.call(Announcer::on_timer);
    }

    /// Lets timers fire at their deadlines until `seconds` have passed.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.world.now + Duration::from_secs(seconds);
        for _ in 0..10_000 {
            let Some((at, _)) = self.world.timers.next().filter(|(at, _)| *at <= end) else {
                self.world.now = end;
                return;
            };
            self.world.now = self.world.now.max(at);
            match self.world.timers.pop_due(self.world.now).unwrap() {
                Timer::Tracker(id) => {
                    assert_eq!(id, self.facts.torrent);
                    self.call(Announcer::on_timer);
                }
                Timer::UdpTracker => {
                    let outcomes = self.udp.on_timer(&mut self.world.ctx());
                    self.route(outcomes);
                }
                other => panic!("a timer of somebody else: {other:?}"),
            }
        }
        panic!("time stands still at {}", self.world.now);
    }

    pub(super) fn http(&mut self, op: OpId, result: OpResult) {
        assert!(self.world.ops.remove(op).is_some(), "done twice: {op}");
        let ctx = self.world.ctx();
        let udp = &mut self.udp;
        let means = &mut Means { ctx, udp };
        let peers = self.announcer.on_http_done(means, &self.facts, op, result);
        self.peers.extend(peers);
        self.collect();
    }

    /// The only exchange under way.
    pub(super) fn take(&mut self) -> Exchange {
        assert_eq!(self.exchanges.len(), 1, "{:?}", self.exchanges);
        self.exchanges.remove(0)
    }

    /// Ends the only exchange with status 200 and this body; returns the exchange.
    pub(super) fn reply(&mut self, body: impl AsRef<[u8]>) -> Exchange {
        self.reply_status(200, body)
    }

    pub(super) fn reply_status(&mut self, status: u16, body: impl AsRef<[u8]>) -> Exchange {
        let exchange = self.take();
        let body = Bytes::copy_from_slice(body.as_ref());
        self.http(
            exchange.op,
            OpResult::Http(Ok(HttpReply {
                status,
                body,
                retry_after: None,
            })),
        );
        exchange
    }

    /// Ends the only exchange with a failure; returns the exchange.
    pub(super) fn refuse(&mut self) -> Exchange {
        let exchange = self.take();
        self.http(exchange.op, OpResult::Http(Err(ContactError::NoSuchHost)));
        exchange
    }

    /// Ends the oldest exchange with a failure.
    pub(super) fn refuse_first(&mut self) {
        let exchange = self.exchanges.remove(0);
        self.http(exchange.op, OpResult::Http(Err(ContactError::NoSuchHost)));
    }

    /// Ends the oldest lookup of a peer's name.
    pub(super) fn resolved(&mut self, result: OpResult) {
        let (op, _) = self.lookups.remove(0);
        let Some(Op::TrackerPeerResolve(_, port)) = self.world.ops.remove(op) else {
            panic!("no lookup of a peer's name");
        };
        let peers = self
            .announcer
            .on_peer_resolved(self.world.identity.listen, port, result);
        self.peers.extend(peers);
    }

    pub(super) fn undelivered(&mut self, to: &str, reason: Undelivered) {
        let to = to.parse().unwrap();
        let outcomes = self.udp.on_undelivered(&mut self.world.ctx(), to, reason);
        self.route(outcomes);
    }

    pub(super) fn datagram(&mut self, from: SocketAddr, data: &[u8]) -> bool {
        let outcomes = self.udp.on_datagram(&mut self.world.ctx(), from, data);
        let ours = outcomes.is_some();
        self.route(outcomes.unwrap_or_default());
        ours
    }

    /// Has `server` answer everything that waits, over both protocols, from `from`.
    pub(super) fn serve(&mut self, server: &mut TrackerServer, from: SocketAddr) {
        while !(self.exchanges.is_empty() && self.datagrams.is_empty()) {
            for exchange in core::mem::take(&mut self.exchanges) {
                let now = self.world.now;
                let (path, query) = exchange.url.split_once('?').unwrap();
                let body = if path.ends_with("/scrape") {
                    server.scrape_http(now, query)
                } else {
                    server.announce_http(now, from.ip(), query)
                };
                let reply = HttpReply {
                    status: 200,
                    body,
                    retry_after: None,
                };
                self.http(exchange.op, OpResult::Http(Ok(reply)));
            }
            for (to, data) in core::mem::take(&mut self.datagrams) {
                if let Some(answer) = server.udp(self.world.now, from, &data) {
                    assert!(self.datagram(to, &answer));
                }
            }
        }
    }

    pub(super) fn failures(&self) -> Vec<(String, String, Option<u32>)> {
        self.notices
            .iter()
            .filter_map(|notice| {
                if let Notice::TrackerFailed {
                    url,
                    error,
                    retry_in,
                    ..
                } = notice
                {
                    Some((url.clone(), error.clone(), *retry_in))
                } else {
                    None
                }
            })
            .collect()
    }

    fn route(&mut self, outcomes: Vec<UdpOutcome>) {
        for outcome in outcomes {
            assert_eq!(outcome.torrent, self.facts.torrent);
            let ctx = self.world.ctx();
            let udp = &mut self.udp;
            let means = &mut Means { ctx, udp };
            let peers = self.announcer.on_udp_done(means, &self.facts, outcome);
            self.peers.extend(peers);
        }
        self.collect();
    }

    fn collect(&mut self) {
        assert!(self.world.timers.is_consistent());
        for action in self.world.drain() {
            match action {
                Action::Http { op, request, .. } => self.exchanges.push(Exchange {
                    op,
                    url: request.url,
                    timeout_ms: request.timeout_ms,
                }),
                Action::Datagram(Outbound { to, data, .. }) => self.datagrams.push((to, data)),
                Action::Cancel { op } => {
                    self.exchanges.retain(|exchange| exchange.op != op);
                    self.cancelled.push(op);
                }
                Action::Resolve { op, host, .. } => self.lookups.push((op, host)),
                Action::Notify(notice) => self.notices.push(notice),
                other => panic!("nothing that a tracker is for: {other:?}"),
            }
        }
    }
}
