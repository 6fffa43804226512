//! The engine: one mutator, which hands every event to whom it concerns.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::action::Actions;
use crate::command::Reply;
use crate::config::Config;
use crate::connections::{Conn, Connections};
use crate::ctx::{Ctx, Identity, Op, Timer};
use crate::dht::contacts::Contacts;
use crate::dht::{Dht, DhtView};
use crate::error::CommandError;
use crate::event::{CloseReason, ContactError, Event, OpResult, Undelivered};
use crate::eviction::Evictor;
use crate::id::{ConnId, OpId, RequestId, TorrentId};
use crate::limits;
use crate::lsd::Lsd;
use crate::metainfo::InfoHash;
use crate::notice::{Notice, PeerError};
use crate::peer::handshake::Greeting;
use crate::rate;
use crate::rng::{Rng, Seed};
use crate::slab::Slab;
use crate::stats::Stats;
use crate::status::{PeerSource, Traffic};
use crate::throttle::{Cause, Throttle};
use crate::time::{Instant, UnixTime};
use crate::timer::Timers;
use crate::torrent::candidates::Banned;
use crate::torrent::{Fate, Torrent, TorrentView};
use crate::tracker::{UdpOutcome, UdpTrackers};
use crate::wire::handshake::PeerId;

/// When the engine wants to be called again if no event comes before.
#[must_use = "an engine that is not called again in time does nothing"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wake {
    /// At once: progress was made, and more is queued.
    Now(Reason),
    /// At this time, which lies in the future.
    At(Instant, Reason),
    /// Only an event can change anything.
    Idle,
}

impl Wake {
    /// By when to call again: `now` for [`Now`](Self::Now), and none when there is no need to.
    ///
    /// ```
    /// use anabranch_core::{Config, Engine, Event, Instant, Seed, UnixTime, Wake};
    ///
    /// let now = Instant::ZERO;
    /// let mut engine = Engine::new(Config::default(), Seed([0; 32]), now, UnixTime(0));
    /// let wake = engine.handle(now, Event::Tick, &mut Default::default());
    /// // Without torrents it waits for commands, however long that takes.
    /// assert_eq!((wake, wake.deadline(now)), (Wake::Idle, None));
    /// ```
    #[must_use]
    pub const fn deadline(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Now(_) => Some(now),
            Self::At(at, _) => Some(at),
            Self::Idle => None,
        }
    }
}

/// Why the engine wants to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// A connection must be looked after: time-outs, keep-alives.
    Connection,
    /// Peers are to be chosen to upload to.
    Choke,
    /// Peers are to be told which pieces have come.
    Have,
    /// Peers are to be dialled.
    Dial,
    /// A tracker is to be asked, or asked again.
    Tracker,
    /// Resume data is to be saved.
    Checkpoint,
    /// A disk that failed is to be looked at.
    Probe,
    /// The DHT: an answer is late, or something is to be asked.
    Dht,
    /// A rate limit allows more.
    RateLimit,
    /// A goal may be reached.
    Goal,
    /// A peer is late with a piece of the metadata.
    Metadata,
    /// Peers are to be told of each other.
    PeerExchange,
    /// The local network is to be told of our torrents.
    LocalDiscovery,
    /// The end must not wait any longer.
    Goodbye,
}

/// A BitTorrent client without I/O. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    rng: Rng,
    now: Instant,
    wall: UnixTime,
    identity: Identity,
    stats: Stats,
    traffic: rate::Traffic,
    timers: Timers<Timer>,
    ops: Slab<OpId, Op>,
    connections: Connections,
    /// Who of all torrents' peers may have to go.
    evictor: Evictor,
    torrents: Slab<TorrentId, Torrent>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    /// The names of peers that are being looked up: one for each such operation under way.
    peer_hosts: BTreeMap<OpId, String>,
    throttle: Throttle,
    banned: Banned,
    dht_nodes: Contacts,
    dht: Option<Box<Dht>>,
    udp: UdpTrackers,
    lsd: Lsd,
    /// Torrents that may have somebody to dial, and which of them is next.
    dialers: BTreeSet<TorrentId>,
    last_dialer: Option<TorrentId>,
    shutdown: Option<RequestId>,
    is_down: bool,
}

/// Lends the shared parts, next to the tables that a handler works on.
macro_rules! ctx {
    ($engine:expr, $actions:expr) => {
        Ctx {
            now: $engine.now,
            config: &$engine.config,
            rng: &mut $engine.rng,
            actions: $actions,
            timers: &mut $engine.timers,
            ops: &mut $engine.ops,
            stats: &mut $engine.stats,
            traffic: &mut $engine.traffic,
            connections: &mut $engine.connections,
            throttle: &mut $engine.throttle,
            banned: &mut $engine.banned,
            lsd: &mut $engine.lsd,
            dht_nodes: &mut $engine.dht_nodes,
            identity: &$engine.identity,
        }
    };
}

// After the macro, which they use.
mod commands;
mod contacts;
mod dht;

impl Engine {
    /// Makes an engine. All its choices follow from the seed; see [`Seed`] on where to take it from.
    ///
    /// `now` is the embedder's monotonic clock, `wall` the time of day. Values of `config` that cannot
    /// work are raised to the least that can, as its documentation says of each.
    #[must_use]
    pub fn new(config: Config, seed: Seed, now: Instant, wall: UnixTime) -> Self {
        let config = config.sound();
        let now = now.min(Instant::LATEST);
        let mut rng = Rng::new(seed);
        let mut random = [0; 12];
        rng.fill(&mut random);
        let peer_id = PeerId::with_prefix(config.peer_id_prefix, random);
        let dht = config.dht.enabled;
        let dht = dht.then(|| Box::new(Dht::new(config.dht.clone(), now, &mut rng)));
        Self {
            throttle: Throttle::new(config.limits, now),
            udp: UdpTrackers::default(),
            lsd: Lsd::new(rng.u32(), now),
            rng,
            now,
            wall,
            identity: Identity {
                peer_id,
                listen: None,
            },
            stats: Stats::default(),
            traffic: rate::Traffic::default(),
            timers: Timers::default(),
            ops: Slab::default(),
            connections: Connections::default(),
            evictor: Evictor::default(),
            torrents: Slab::default(),
            by_hash: BTreeMap::new(),
            peer_hosts: BTreeMap::new(),
            banned: Banned::default(),
            dht_nodes: Contacts::default(),
            dht,
            dialers: BTreeSet::new(),
            last_dialer: None,
            shutdown: None,
            is_down: false,
            config,
        }
    }

    /// Feeds one event, and appends what must now be done to `actions`.
    ///
    /// Does a bounded amount of work, never fails and never panics, whatever the event says. `now` is
    /// the time at which the caller looked at its clock; one before that of an earlier call counts as
    /// that earlier time, and one after [`Instant::LATEST`] as that.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Actions) -> Wake {
        if now < self.now {
            self.stats.clock_went_back += 1;
        }
        if now > Instant::LATEST {
            self.stats.clock_ran_out += 1;
        }
        self.now = self.now.max(now.min(Instant::LATEST));
        self.stats.events += 1;
        match event {
            Event::Tick => {}
            Event::Wall(wall) => self.wall = wall,
            Event::Command { request, command } => self.on_command(request, *command, actions),
            Event::Incoming { ticket, from } => self.on_incoming(ticket, from, actions),
            Event::Connected { conn } => self.on_connected(conn, actions),
            Event::Received { conn, data } => self.on_received(conn, data, actions),
            Event::Sent { conn, len } => self.on_sent(conn, len, actions),
            Event::Closed { conn, reason } => self.on_closed(conn, reason, actions),
            Event::Datagram { from, data } => self.on_datagram(from, &data, actions),
            Event::Undelivered { to, reason } => self.on_undelivered(to, reason, actions),
            Event::Multicast { from, data } => self.on_multicast(from, &data, actions),
            Event::Done { op, result } => self.on_done(op, result, actions),
        }
        self.run_timers(actions);
        actions.seal();
        self.wake()
    }

    /// A look at a torrent; none if the id is not, or no longer, of this engine.
    #[must_use]
    pub fn torrent(&self, id: TorrentId) -> Option<TorrentView<'_>> {
        let torrent = self.torrents.get(id)?;
        Some(TorrentView {
            torrent,
            config: &self.config,
            stats: &self.stats,
            dht: self.dht.as_deref(),
        })
    }

    /// The torrents, in the order of their slots.
    pub fn torrents(&self) -> impl Iterator<Item = TorrentId> + '_ {
        self.torrents.keys()
    }

    /// The torrent with an info-hash.
    #[must_use]
    pub fn find(&self, info_hash: &InfoHash) -> Option<TorrentId> {
        self.by_hash.get(info_hash).copied()
    }

    /// A look at the DHT node; none if there is none.
    #[must_use]
    pub fn dht(&self) -> Option<DhtView<'_>> {
        let (dht, now) = (self.dht.as_deref()?, self.now);
        Some(DhtView { dht, now })
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What all torrents transfer together, as of `now`.
    #[must_use]
    pub fn traffic(&self, now: Instant) -> Traffic {
        Traffic {
            downloaded: self.stats.payload_received,
            uploaded: self.stats.payload_sent,
            download_rate: self.traffic.down.per_second(now),
            upload_rate: self.traffic.up.per_second(now),
        }
    }

    /// What the engine was told when it was made, with limits as they are now.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The id by which peers and trackers know this engine (BEP 20).
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id
    }

    /// Connections that are open, being made or being closed.
    #[must_use]
    pub fn connection_count(&self) -> u32 {
        self.connections.len()
    }

    /// Whether a shutdown has come to its end.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// Checks every invariant that must hold between two events. Costs time in proportion to all that
    /// the engine holds; for tests and simulations.
    ///
    /// # Panics
    ///
    /// When one does not hold, which is a defect of the engine.
    pub fn check(&self) {
        assert!(self.timers.is_consistent(), "timers are consistent");
        self.connections.check();
        if let Some(dht) = &self.dht {
            dht.check();
        }
        for (id, torrent) in self.torrents.iter() {
            assert_eq!(id, torrent.id, "a torrent is found under its id");
            assert_eq!(
                self.by_hash.get(&torrent.info_hash()),
                Some(&id),
                "and under its info-hash"
            );
            torrent.check();
        }
        assert_eq!(
            self.torrents.len(),
            self.by_hash.len(),
            "every info-hash is a torrent's"
        );
        assert!(
            self.throttle.total() <= 2 * self.connections.len() as usize + 2,
            "the queue is bounded"
        );
    }

    /// Lets a handler work on a torrent, then sees whether the torrent still is.
    fn with(
        &mut self,
        id: TorrentId,
        actions: &mut Actions,
        work: impl FnOnce(&mut Torrent, &mut Ctx<'_>, &mut UdpTrackers),
    ) -> Result<Reply, CommandError> {
        let mut ctx = ctx!(self, actions);
        let torrent = self
            .torrents
            .get_mut(id)
            .ok_or(CommandError::NoSuchTorrent(id))?;
        work(torrent, &mut ctx, &mut self.udp);
        self.settle(id, actions);
        Ok(Reply::Done)
    }

    /// Forgets a torrent that has done all that it owed.
    fn settle(&mut self, id: TorrentId, actions: &mut Actions) {
        let mut ctx = ctx!(self, actions);
        let Some(torrent) = self.torrents.get_mut(id) else {
            return;
        };
        if torrent.fate(&mut ctx) == Fate::Gone {
            self.by_hash.remove(&torrent.info_hash());
            self.torrents.remove(id);
            self.udp.forget(&mut ctx, id);
            self.dialers.remove(&id);
            if let Some(dht) = &mut self.dht {
                dht.forget_torrent(id);
            }
            self.finish_shutdown(actions);
        }
    }

    fn on_received(&mut self, conn: ConnId, data: Bytes, actions: &mut Actions) {
        self.stats.received = self.stats.received.saturating_add(data.len() as u64);
        match self.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                let mut ctx = ctx!(self, actions);
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.receive(&mut ctx, conn, data);
                }
            }
            Some(Conn::Greeting(greeting)) => {
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.stats.uncredited += u64::from(len.saturating_sub(greeting.credit));
                greeting.credit = greeting.credit.saturating_sub(len);
                self.greet(conn, data, actions);
            }
            // What was on its way when we closed.
            Some(Conn::Closing { .. }) => {}
            None => self.stats.stale_conns += 1,
        }
    }

    fn on_sent(&mut self, conn: ConnId, len: u64, actions: &mut Actions) {
        let counted = match self.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                let mut ctx = ctx!(self, actions);
                let torrent = self.torrents.get_mut(torrent);
                torrent.map_or(0, |torrent| torrent.sent(&mut ctx, conn, len))
            }
            Some(Conn::Greeting(Greeting { unsent, .. }) | Conn::Closing { unsent, .. }) => {
                let counted = len.min(*unsent);
                *unsent -= counted;
                counted
            }
            None => {
                self.stats.stale_conns += 1;
                return;
            }
        };
        self.stats.sent += counted;
        self.stats.oversent = self.stats.oversent.saturating_add(len - counted);
    }

    fn on_closed(&mut self, conn: ConnId, reason: CloseReason, actions: &mut Actions) {
        match self.connections.closed(conn) {
            None => {
                self.stats.stale_conns += 1;
                return;
            }
            Some(Conn::Peer { torrent, .. }) => {
                let mut ctx = ctx!(self, actions);
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.closed(&mut ctx, conn, reason);
                }
            }
            Some(Conn::Greeting(greeting)) => {
                self.timers.cancel(Timer::Conn(conn));
                if !greeting.is_incoming()
                    && let Some(torrent) = greeting.torrent()
                {
                    let mut ctx = ctx!(self, actions);
                    if let Some(torrent) = self.torrents.get_mut(torrent) {
                        torrent.dial_ended(&mut ctx, greeting.address, reason);
                    }
                }
            }
            Some(Conn::Closing { .. }) => {}
        }
        self.finish_shutdown(actions);
        self.dial_soon();
    }

    fn on_datagram(&mut self, from: SocketAddr, data: &Bytes, actions: &mut Actions) {
        // What begins with a `d` is a dictionary, which no other protocol of this port begins with.
        if data.first() == Some(&b'd') && self.dht.is_some() {
            self.on_dht_datagram(from, data, actions);
            return;
        }
        let mut ctx = ctx!(self, actions);
        match self.udp.on_datagram(&mut ctx, from, data) {
            Some(outcomes) => {
                for outcome in outcomes {
                    self.on_udp_outcome(outcome, actions);
                }
            }
            None => self.stats.stray_datagrams += 1,
        }
    }

    /// Only trackers are waited for so long that it matters.
    fn on_undelivered(&mut self, to: SocketAddr, reason: Undelivered, actions: &mut Actions) {
        let mut ctx = ctx!(self, actions);
        for outcome in self.udp.on_undelivered(&mut ctx, to, reason) {
            self.on_udp_outcome(outcome, actions);
        }
    }

    /// Somebody in the local network takes part in torrents (BEP 14).
    fn on_multicast(&mut self, from: SocketAddr, data: &Bytes, actions: &mut Actions) {
        if !self.config.local_discovery {
            return;
        }
        let Some((peer, info_hashes)) = self.lsd.hear(self.now, from, data) else {
            return;
        };
        for info_hash in info_hashes {
            let found = self.by_hash.get(&info_hash).copied();
            let mut ctx = ctx!(self, actions);
            if let Some(torrent) = found.and_then(|id| self.torrents.get_mut(id))
                && torrent.takes_peers()
            {
                torrent.add_candidates(&mut ctx, [peer], PeerSource::Lsd);
            }
        }
    }

    fn on_udp_outcome(&mut self, outcome: UdpOutcome, actions: &mut Actions) {
        let id = outcome.torrent;
        let mut ctx = ctx!(self, actions);
        let Some(torrent) = self.torrents.get_mut(id) else {
            return;
        };
        let facts = torrent.facts(&ctx);
        let peers = torrent
            .announcer()
            .on_udp_done(&mut ctx, &mut self.udp, &facts, outcome);
        torrent.add_candidates(&mut ctx, peers, PeerSource::Tracker);
        self.settle(id, actions);
    }

    fn on_done(&mut self, op: OpId, result: OpResult, actions: &mut Actions) {
        let Some(owner) = self.ops.remove(op) else {
            self.stats.stale_ops += 1;
            return;
        };
        let mut ctx = ctx!(self, actions);
        match owner {
            Op::Disk(id, about) => {
                let Some(torrent) = self.torrents.get_mut(id) else {
                    return;
                };
                let result = match result {
                    OpResult::Disk(result) => result,
                    OpResult::Resolved(_) | OpResult::Http(_) | OpResult::Cancelled => {
                        Err(crate::event::DiskError {
                            kind: crate::event::DiskErrorKind::Io,
                            file: String::new(),
                            message: String::from("the disk job was given up"),
                        })
                    }
                };
                torrent.on_disk(&mut ctx, &mut self.udp, op, about, result);
                // The disk has caught up somewhat: whoever waited for it may go on.
                self.release_waiting(Cause::Disk, actions);
                self.settle(id, actions);
            }
            Op::TrackerHttp(id) => {
                let Some(torrent) = self.torrents.get_mut(id) else {
                    return;
                };
                let facts = torrent.facts(&ctx);
                let announcer = torrent.announcer();
                let peers = announcer.on_http_done(&mut ctx, &mut self.udp, &facts, op, result);
                torrent.add_candidates(&mut ctx, peers, PeerSource::Tracker);
                self.settle(id, actions);
            }
            Op::TrackerResolve => {
                let result = match result {
                    OpResult::Resolved(result) => result,
                    OpResult::Disk(_) | OpResult::Http(_) | OpResult::Cancelled => {
                        Err(ContactError::TimedOut)
                    }
                };
                for outcome in self.udp.on_resolved(&mut ctx, op, result) {
                    self.on_udp_outcome(outcome, actions);
                }
            }
            Op::DhtResolve => self.on_dht_resolved(op, result, actions),
            Op::TrackerPeerResolve(id, port) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    let peers = torrent.announcer().on_peer_resolved(&ctx, port, result);
                    torrent.add_candidates(&mut ctx, peers, PeerSource::Tracker);
                }
            }
            Op::PeerResolve(id, port) => {
                let host = self.peer_hosts.remove(&op).unwrap_or_default();
                let Some(torrent) = self.torrents.get_mut(id) else {
                    return;
                };
                let found = match result {
                    OpResult::Resolved(result) => result,
                    OpResult::Disk(_) | OpResult::Http(_) | OpResult::Cancelled => {
                        Err(ContactError::TimedOut)
                    }
                };
                match found {
                    Ok(addresses) if !addresses.is_empty() => {
                        let peers = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
                        torrent.add_candidates(&mut ctx, peers, PeerSource::User);
                    }
                    nobody => ctx.notify(Notice::PeerFailed {
                        torrent: id,
                        peer: format!("{host}:{port}"),
                        error: PeerError::Name(nobody.err().unwrap_or(ContactError::NoSuchHost)),
                    }),
                }
            }
        }
    }

    fn run_timers(&mut self, actions: &mut Actions) {
        for _ in 0..limits::TIMERS_PER_CALL {
            let Some(timer) = self.timers.pop_due(self.now) else {
                return;
            };
            self.on_timer(timer, actions);
        }
    }

    fn on_timer(&mut self, timer: Timer, actions: &mut Actions) {
        let mut ctx = ctx!(self, actions);
        match timer {
            Timer::Conn(conn) => match ctx.connections.get(conn) {
                Some(Conn::Peer { torrent, .. }) => {
                    let torrent = *torrent;
                    if let Some(torrent) = self.torrents.get_mut(torrent) {
                        torrent.look_after(&mut ctx, conn);
                    }
                }
                Some(Conn::Greeting(_)) => self.hang_up(conn, PeerError::Silent, actions),
                Some(Conn::Closing { .. }) | None => {}
            },
            Timer::Choke(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.choke_round(&mut ctx);
                }
            }
            Timer::Have(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.tell_all(&mut ctx);
                }
            }
            Timer::Dial => self.dial(actions),
            Timer::Candidates(id) => {
                self.dialers.insert(id);
                self.dial(actions);
            }
            Timer::Tracker(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_tracker_timer(&mut ctx, &mut self.udp);
                }
                self.settle(id, actions);
            }
            Timer::UdpTracker => {
                for outcome in self.udp.on_timer(&mut ctx) {
                    self.on_udp_outcome(outcome, actions);
                }
            }
            Timer::Checkpoint(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_checkpoint_timer(&mut ctx);
                }
            }
            Timer::Probe(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.probe(&mut ctx);
                }
            }
            Timer::Goal(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_goal_timer(&mut ctx, &mut self.udp);
                }
            }
            Timer::Metadata(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_metadata_timer(&mut ctx, &mut self.udp);
                }
            }
            Timer::Pex(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.exchange_peers(&mut ctx);
                }
            }
            Timer::Lsd => {
                let torrents = &self.torrents;
                let port = self.identity.port();
                let hash = |id| torrents.get(id).map(Torrent::info_hash);
                self.lsd
                    .announce(self.now, port, hash, &mut self.timers, actions);
            }
            Timer::Throttle => self.release_waiting(Cause::Rate, actions),
            Timer::Dht => self.on_dht_timer(actions),
            Timer::DhtTorrent(id) => self.on_dht_torrent(id, actions),
            Timer::Goodbye(id) => self.settle(id, actions),
        }
    }

    /// Lets every connection that waits for a cause try again, once.
    fn release_waiting(&mut self, cause: Cause, actions: &mut Actions) {
        for _ in 0..self.throttle.len(cause) {
            let Some((torrent, conn, direction)) = self.throttle.next(cause) else {
                return;
            };
            let mut ctx = ctx!(self, actions);
            if let Some(torrent) = self.torrents.get_mut(torrent) {
                torrent.unthrottle(&mut ctx, conn, direction);
            }
        }
    }

    fn wake(&self) -> Wake {
        match self.timers.next() {
            None => Wake::Idle,
            Some((at, timer)) => {
                let reason = reason(timer);
                if at <= self.now {
                    Wake::Now(reason)
                } else {
                    Wake::At(at, reason)
                }
            }
        }
    }
}

fn reason(timer: Timer) -> Reason {
    match timer {
        Timer::Conn(_) => Reason::Connection,
        Timer::Choke(_) => Reason::Choke,
        Timer::Have(_) => Reason::Have,
        Timer::Dial | Timer::Candidates(_) => Reason::Dial,
        Timer::Tracker(_) | Timer::UdpTracker => Reason::Tracker,
        Timer::Checkpoint(_) => Reason::Checkpoint,
        Timer::Probe(_) => Reason::Probe,
        Timer::Goal(_) => Reason::Goal,
        Timer::Metadata(_) => Reason::Metadata,
        Timer::Pex(_) => Reason::PeerExchange,
        Timer::Lsd => Reason::LocalDiscovery,
        Timer::Throttle => Reason::RateLimit,
        Timer::Dht | Timer::DhtTorrent(_) => Reason::Dht,
        Timer::Goodbye(_) => Reason::Goodbye,
    }
}
