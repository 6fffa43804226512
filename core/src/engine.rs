//! The engine: one mutator, which hands every event to whom it concerns.

mod commands;
mod contacts;
mod dht;
mod streams;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Bound;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::action::Actions;
use crate::bans::Banned;
use crate::budget::Budgets;
use crate::command::Reply;
use crate::config::Config;
use crate::connections::{Conn, Connections};
use crate::ctx::{DiskOp, Identity, Op, Timer};
use crate::datagram::Inbound;
use crate::dht::{Dht, DhtView};
use crate::error::CommandError;
use crate::event::{CloseReason, ContactError, Event, OpResult, Undelivered};
use crate::eviction::Evictor;
use crate::gate::{Gate, Lane};
use crate::id::{ConnId, OpId, RequestId, TorrentId};
use crate::idlers::Idlers;
use crate::limits;
use crate::lsd::Lsd;
use crate::metainfo::InfoHash;
use crate::notice::{Notice, PeerError};
use crate::peer::handshake::Greeting;
use crate::rate;
use crate::rng::{Rng, Seed};
use crate::shared::Shared;
use crate::signal::{Signal, Signals};
use crate::slab::Slab;
use crate::stats::Stats;
use crate::status::{PeerSource, Traffic};
use crate::streams::Streams;
use crate::throttle::{Cause, Throttle};
use crate::time::{Instant, UnixTime};
use crate::timer::Timers;
use crate::torrent::{Fate, Torrent, TorrentView};
use crate::tracker::{Means, UdpOutcome, UdpTrackers};
use crate::transport::Transport;
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
    /// A connection over packets: one may leave, or one is late.
    Transport,
}

/// A BitTorrent client without I/O. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Engine {
    shared: Shared,
    wall: UnixTime,
    /// Who of all torrents' peers may have to go.
    evictor: Evictor,
    torrents: Slab<TorrentId, Torrent>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    /// The names of peers that are being looked up: one for each such operation under way.
    peer_hosts: BTreeMap<OpId, String>,
    dht: Option<Box<Dht>>,
    /// Connections over packets, once there may be any.
    streams: Option<Box<Streams>>,
    /// Torrents that may have somebody to dial, and which of them is next.
    dialers: BTreeSet<TorrentId>,
    last_dialer: Option<TorrentId>,
    /// After which torrent the DHT is asked for the next of all, if it is.
    lookup_round: Option<Bound<InfoHash>>,
    /// Torrents that the engine has not taken leave of, the next one last.
    leaving: Vec<TorrentId>,
    shutdown: Option<RequestId>,
    is_down: bool,
}

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
        let lsd = Lsd::new(rng.u32(), now);
        let streams = config
            .transports
            .contain(Transport::Utp)
            .then(|| Box::new(Streams::new(&config, Seed(rng.bytes()))));
        let gate = Gate::new(
            limits::MAX_OPENING,
            config.check_depth,
            limits::MAX_HTTP_ANNOUNCES,
        );
        let identity = Identity {
            peer_id,
            listen: None,
        };
        Self {
            shared: Shared {
                now,
                throttle: Throttle::new(config.limits, now),
                config,
                identity,
                rng,
                actions: Actions::new(),
                timers: Timers::default(),
                ops: Slab::default(),
                stats: Stats::default(),
                budgets: Budgets::default(),
                gate,
                traffic: rate::Traffic::default(),
                connections: Connections::default(),
                banned: Banned::default(),
                idlers: Idlers::default(),
                udp: UdpTrackers::default(),
                lsd,
                signals: Signals::default(),
            },
            wall,
            evictor: Evictor::default(),
            torrents: Slab::default(),
            by_hash: BTreeMap::new(),
            peer_hosts: BTreeMap::new(),
            dht,
            streams,
            dialers: BTreeSet::new(),
            last_dialer: None,
            lookup_round: None,
            leaving: Vec::new(),
            shutdown: None,
            is_down: false,
        }
    }

    /// Feeds one event, and appends what must now be done to `actions`.
    ///
    /// Does a bounded amount of work, never fails and never panics, whatever the event says. `now` is
    /// the time at which the caller looked at its clock; one before that of an earlier call counts as
    /// that earlier time, and one after [`Instant::LATEST`] as that.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Actions) -> Wake {
        if now < self.shared.now {
            self.shared.stats.clock_went_back += 1;
        }
        if now > Instant::LATEST {
            self.shared.stats.clock_ran_out += 1;
        }
        self.shared.now = self.shared.now.max(now.min(Instant::LATEST));
        self.shared.stats.events += 1;
        core::mem::swap(&mut self.shared.actions, actions);
        let before = self.shared.actions.len();
        let is_packet = matches!(event, Event::Datagram(_));
        match event {
            Event::Tick => {}
            Event::Wall(wall) => self.wall = wall,
            Event::Command { request, command } => self.on_command(request, *command),
            Event::Incoming { ticket, from } => self.on_incoming(ticket, from),
            Event::Connected { conn } => self.on_connected(conn),
            Event::Received { conn, data } => self.on_received(conn, data),
            Event::Sent { conn, len } => self.on_sent(conn, len),
            Event::Closed { conn, reason } => self.on_closed(conn, reason),
            Event::Datagram(inbound) => self.on_datagram(&inbound),
            Event::Flushed { len } => self.on_flushed(len),
            Event::Undelivered { to, reason } => self.on_undelivered(to, reason),
            Event::Multicast { from, data } => self.on_multicast(from, &data),
            Event::Done { op, result } => self.on_done(op, result),
        }
        self.hear();
        self.run_timers();
        self.call_waiting();
        self.take_leave();
        self.carry(before, is_packet);
        self.tell_budgets();
        self.shared.actions.seal();
        core::mem::swap(&mut self.shared.actions, actions);
        self.wake()
    }

    /// A look at a torrent; none if the id is not, or no longer, of this engine.
    #[must_use]
    pub fn torrent(&self, id: TorrentId) -> Option<TorrentView<'_>> {
        let torrent = self.torrents.get(id)?;
        Some(TorrentView {
            torrent,
            config: &self.shared.config,
            budgets: &self.shared.budgets,
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
        let (dht, now) = (self.dht.as_deref()?, self.shared.now);
        Some(DhtView { dht, now })
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// What all torrents transfer together, as of `now`.
    #[must_use]
    pub fn traffic(&self, now: Instant) -> Traffic {
        Traffic {
            downloaded: self.shared.stats.payload_received,
            uploaded: self.shared.stats.payload_sent,
            download_rate: self.shared.traffic.down.per_second(now),
            upload_rate: self.shared.traffic.up.per_second(now),
        }
    }

    /// What the engine was told when it was made, with limits as they are now.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The id by which peers and trackers know this engine (BEP 20).
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.identity.peer_id
    }

    /// Connections that are open, being made or being closed.
    #[must_use]
    pub fn connection_count(&self) -> u32 {
        self.shared.connections.len()
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
        assert!(self.shared.timers.is_consistent(), "timers are consistent");
        self.shared.connections.check();
        if let Some(streams) = &self.streams {
            let connections = &self.shared.connections;
            streams.check(|conn| connections.get(conn).is_some());
        }
        self.shared.idlers.check();
        if let Some(dht) = &self.dht {
            dht.check();
        }
        let mut budgets = Budgets::default();
        let mut jobs = BTreeMap::<TorrentId, Vec<(OpId, DiskOp)>>::new();
        let mut lookups = 0;
        let (mut opening, mut verifying, mut http) = (0, 0, 0);
        for (op, owner) in self.shared.ops.iter() {
            match owner {
                Op::Disk(id, about) => {
                    budgets.begin(*about);
                    opening += u32::from(*about == DiskOp::Open);
                    verifying += u32::from(matches!(about, DiskOp::Verify { .. }));
                    jobs.entry(*id).or_default().push((op, *about));
                }
                Op::PeerResolve(..) => {
                    lookups += 1;
                    assert!(self.peer_hosts.contains_key(&op), "a lookup is of a name");
                }
                Op::TrackerHttp(_) => http += 1,
                Op::TrackerResolve | Op::DhtResolve | Op::TrackerPeerResolve(..) => {}
            }
        }
        assert_eq!(lookups, self.peer_hosts.len(), "a name is being looked up");
        for (lane, under_way) in [
            (Lane::Open, opening),
            (Lane::Verify, verifying),
            (Lane::Http, http),
        ] {
            self.shared.gate.check(lane, under_way);
        }
        let mut waiting = 0;
        for (id, torrent) in self.torrents.iter() {
            assert_eq!(id, torrent.id(), "a torrent is found under its id");
            assert_eq!(
                self.by_hash.get(&torrent.info_hash()),
                Some(&id),
                "and under its info-hash"
            );
            torrent.check(jobs.get(&id).map_or(&[], Vec::as_slice));
            budgets.partial += torrent.in_memory();
            waiting += torrent.waiting();
        }
        assert_eq!(
            self.torrents.len(),
            self.by_hash.len(),
            "every info-hash is a torrent's"
        );
        assert_eq!(
            self.shared.budgets, budgets,
            "budgets are what they stand for"
        );
        assert_eq!(
            self.shared.throttle.total(),
            waiting,
            "who waits is in the queue, once"
        );
        for id in &self.dialers {
            assert!(self.torrents.contains(*id), "who is dialled for is there");
        }
    }

    /// Tells of what decides.
    fn tell_budgets(&mut self) {
        let Budgets {
            partial,
            writing,
            reading,
        } = self.shared.budgets;
        let stats = &mut self.shared.stats;
        stats.partial_backlog = partial;
        stats.write_backlog = writing;
        stats.read_backlog = reading;
    }

    /// Lets a handler work on a torrent, then sees whether the torrent still is.
    fn with(
        &mut self,
        id: TorrentId,
        work: impl FnOnce(&mut Torrent, &mut Shared),
    ) -> Result<Reply, CommandError> {
        let torrent = self
            .torrents
            .get_mut(id)
            .ok_or(CommandError::NoSuchTorrent(id))?;
        work(torrent, &mut self.shared);
        self.settle(id);
        Ok(Reply::Done)
    }

    /// Forgets a torrent that has done all that it owed.
    fn settle(&mut self, id: TorrentId) {
        let Some(torrent) = self.torrents.get_mut(id) else {
            return;
        };
        if torrent.fate(&mut self.shared) == Fate::Gone {
            self.by_hash.remove(&torrent.info_hash());
            self.torrents.remove(id);
            let Means { mut ctx, udp } = self.shared.trackers();
            udp.forget(&mut ctx, id);
            self.dialers.remove(&id);
            if let Some(dht) = &mut self.dht {
                dht.forget_torrent(id);
            }
            self.finish_shutdown();
        }
    }

    fn on_received(&mut self, conn: ConnId, data: Bytes) {
        self.shared.stats.received = self.shared.stats.received.saturating_add(data.len() as u64);
        match self.shared.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.receive(&mut self.shared, conn, data);
                }
            }
            Some(Conn::Greeting(greeting)) => {
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.shared.stats.uncredited += u64::from(len.saturating_sub(greeting.credit));
                greeting.credit = greeting.credit.saturating_sub(len);
                self.greet(conn, data);
            }
            // What was on its way when we closed.
            Some(Conn::Closing { .. }) => {}
            None => self.shared.stats.stale_conns += 1,
        }
    }

    fn on_sent(&mut self, conn: ConnId, len: u64) {
        let counted = match self.shared.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                let torrent = self.torrents.get_mut(torrent);
                torrent.map_or(0, |torrent| torrent.sent(&mut self.shared, conn, len))
            }
            Some(Conn::Greeting(Greeting { unsent, .. }) | Conn::Closing { unsent, .. }) => {
                let counted = len.min(*unsent);
                *unsent -= counted;
                counted
            }
            None => {
                self.shared.stats.stale_conns += 1;
                return;
            }
        };
        self.shared.stats.sent += counted;
        self.shared.stats.oversent = self.shared.stats.oversent.saturating_add(len - counted);
    }

    fn on_closed(&mut self, conn: ConnId, reason: CloseReason) {
        match self.shared.connections.closed(conn) {
            None => {
                self.shared.stats.stale_conns += 1;
                return;
            }
            Some(Conn::Peer { torrent, .. }) => {
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.closed(&mut self.shared, conn, reason);
                }
            }
            Some(Conn::Greeting(greeting)) => {
                self.shared.timers.cancel(Timer::Conn(conn));
                self.on_greeting_closed(&greeting, reason);
            }
            Some(Conn::Closing { .. }) => {}
        }
        self.finish_shutdown();
        self.dial_soon();
    }

    fn on_datagram(&mut self, inbound: &Inbound) {
        for packet in inbound.packets() {
            if !self.is_of_stream(&packet) {
                self.on_packet(inbound.from, &packet);
            } else if let Some(streams) = &mut self.streams {
                streams.arrive(self.shared.now, inbound, &packet);
            }
        }
    }

    fn on_packet(&mut self, from: SocketAddr, data: &Bytes) {
        // What begins with a `d` is a dictionary, which no other protocol of this port begins with.
        if data.first() == Some(&b'd') && self.dht.is_some() {
            self.on_dht_datagram(from, data);
            return;
        }
        let Means { mut ctx, udp } = self.shared.trackers();
        match udp.on_datagram(&mut ctx, from, data) {
            Some(outcomes) => {
                for outcome in outcomes {
                    self.on_udp_outcome(outcome);
                }
            }
            None => self.shared.stats.stray_datagrams += 1,
        }
    }

    /// Trackers, nodes of the DHT and peers by uTP are waited for so long that it matters.
    fn on_undelivered(&mut self, to: SocketAddr, reason: Undelivered) {
        if let Some(streams) = &mut self.streams {
            streams.undelivered(to, reason);
        }
        let Means { mut ctx, udp } = self.shared.trackers();
        for outcome in udp.on_undelivered(&mut ctx, to, reason) {
            self.on_udp_outcome(outcome);
        }
        self.on_dht_undelivered(to, reason);
    }

    /// Somebody in the local network takes part in torrents (BEP 14).
    fn on_multicast(&mut self, from: SocketAddr, data: &Bytes) {
        if !self.shared.config.local_discovery {
            return;
        }
        let Some((peer, info_hashes)) = self.shared.lsd.hear(self.shared.now, from, data) else {
            return;
        };
        for info_hash in info_hashes {
            let found = self.by_hash.get(&info_hash).copied();
            if let Some(torrent) = found.and_then(|id| self.torrents.get_mut(id))
                && torrent.takes_peers()
            {
                torrent.add_candidates(&mut self.shared, [peer], PeerSource::Lsd);
            }
        }
    }

    fn on_udp_outcome(&mut self, outcome: UdpOutcome) {
        let id = outcome.torrent;
        let Some(torrent) = self.torrents.get_mut(id) else {
            return;
        };
        torrent.on_udp_done(&mut self.shared, outcome);
        self.settle(id);
    }

    fn on_done(&mut self, op: OpId, result: OpResult) {
        let Some(owner) = self.shared.ops.remove(op) else {
            self.shared.stats.stale_ops += 1;
            return;
        };
        match owner {
            Op::Disk(id, about) => {
                self.shared.budgets.end(about);
                match about {
                    DiskOp::Open => self.shared.leave(Lane::Open),
                    DiskOp::Verify { .. } => self.shared.leave(Lane::Verify),
                    DiskOp::Store { .. }
                    | DiskOp::Write { .. }
                    | DiskOp::Read { .. }
                    | DiskOp::Select
                    | DiskOp::Trim { .. }
                    | DiskOp::Checkpoint
                    | DiskOp::Probe
                    | DiskOp::Close
                    | DiskOp::Remove => {}
                }
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
                torrent.on_disk(&mut self.shared, op, about, result);
                // The disk has caught up somewhat: whoever waited for it may go on.
                self.release_waiting(Cause::Disk);
                self.settle(id);
            }
            Op::TrackerHttp(id) => {
                self.shared.leave(Lane::Http);
                let Some(torrent) = self.torrents.get_mut(id) else {
                    return;
                };
                torrent.on_http_done(&mut self.shared, op, result);
                self.settle(id);
            }
            Op::TrackerResolve => {
                let result = match result {
                    OpResult::Resolved(result) => result,
                    OpResult::Disk(_) | OpResult::Http(_) | OpResult::Cancelled => {
                        Err(ContactError::TimedOut)
                    }
                };
                let Means { mut ctx, udp } = self.shared.trackers();
                for outcome in udp.on_resolved(&mut ctx, op, result) {
                    self.on_udp_outcome(outcome);
                }
            }
            Op::DhtResolve => self.on_dht_resolved(op, result),
            Op::TrackerPeerResolve(id, port) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_peer_resolved(&mut self.shared, port, result);
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
                        torrent.add_candidates(&mut self.shared, peers, PeerSource::User);
                    }
                    nobody => self.shared.notify(Notice::PeerFailed {
                        torrent: id,
                        peer: format!("{host}:{port}"),
                        error: PeerError::Name(nobody.err().unwrap_or(ContactError::NoSuchHost)),
                    }),
                }
            }
        }
    }

    /// Tells what parts have to say to each other, until nobody has anything to say.
    fn hear(&mut self) {
        for _ in 0..limits::SIGNALS_PER_CALL {
            let Some(signal) = self.shared.signals.pop() else {
                return;
            };
            self.on_signal(signal);
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Started(id) => self.visit(id, Torrent::on_started),
            Signal::Completed(id) => self.visit(id, Torrent::on_completed),
            Signal::Lonely(id) => self.visit(id, Torrent::on_lonely),
            Signal::Done(id) => self.visit(id, Torrent::on_done),
            Signal::Admitted(lane, id) => {
                self.visit(id, |torrent, shared| torrent.on_admitted(shared, lane));
                if self.shared.gate.is_unused(lane, id) {
                    self.shared.leave(lane);
                }
            }
            Signal::Goal(id) => self.visit(id, Torrent::on_goal),
            Signal::LookUp(id) => self.on_dht_torrent(id),
            Signal::Seek(id) => self.dial_for(id),
            Signal::Place => self.dial(),
            Signal::Unthrottled => self.release_waiting(Cause::Rate),
            Signal::Node(address) => self.on_dht_contact(address),
            Signal::OwnAddress { peer, own } => self.on_own_address(peer, own),
        }
    }

    /// Lends a torrent what it needs, if it still is.
    fn visit(&mut self, id: TorrentId, work: impl FnOnce(&mut Torrent, &mut Shared)) {
        if let Some(torrent) = self.torrents.get_mut(id) {
            work(torrent, &mut self.shared);
        }
    }

    /// Calls those who wait for room in a table that somebody else keeps.
    fn call_waiting(&mut self) {
        let gate = &mut self.shared.gate;
        if !self.shared.udp.is_full()
            && let Some(torrent) = gate.next(Lane::Udp)
        {
            self.shared.signal(Signal::Admitted(Lane::Udp, torrent));
            self.hear();
        }
    }

    fn run_timers(&mut self) {
        for _ in 0..limits::TIMERS_PER_CALL {
            let Some(timer) = self.shared.timers.pop_due(self.shared.now) else {
                return;
            };
            self.on_timer(timer);
            self.hear();
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Conn(conn) if self.shared.connections.may_have_rival(conn) => {
                self.dial_rival(conn);
            }
            Timer::Conn(conn) => match self.shared.connections.get(conn) {
                Some(Conn::Peer { torrent, .. }) => {
                    let torrent = *torrent;
                    if let Some(torrent) = self.torrents.get_mut(torrent) {
                        torrent.look_after(&mut self.shared, conn);
                    }
                }
                Some(Conn::Greeting(_)) => self.hang_up(conn, PeerError::Silent),
                Some(Conn::Closing { .. }) | None => {}
            },
            Timer::Choke(id) => self.visit(id, Torrent::choke_round),
            Timer::Slots(id) => self.visit(id, Torrent::review_slots),
            Timer::Have(id) => self.visit(id, Torrent::tell_all),
            Timer::Dial => self.dial(),
            Timer::Candidates(id) => self.dial_for(id),
            Timer::Tracker(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.on_tracker_timer(&mut self.shared);
                }
                self.settle(id);
            }
            Timer::UdpTracker => {
                let Means { mut ctx, udp } = self.shared.trackers();
                for outcome in udp.on_timer(&mut ctx) {
                    self.on_udp_outcome(outcome);
                }
            }
            Timer::Checkpoint(id) => self.visit(id, Torrent::on_checkpoint_timer),
            Timer::Probe(id) => self.visit(id, Torrent::probe),
            Timer::Goal(id) => self.visit(id, Torrent::on_goal),
            Timer::Metadata(id) => self.visit(id, Torrent::fetch_more),
            Timer::Pex(id) => self.visit(id, Torrent::exchange_peers),
            Timer::Lsd => {
                let torrents = &self.torrents;
                let port = self.shared.identity.port();
                let hash = |id| torrents.get(id).map(Torrent::info_hash);
                self.shared.lsd.announce(
                    self.shared.now,
                    port,
                    hash,
                    &mut self.shared.timers,
                    &mut self.shared.actions,
                );
            }
            Timer::Throttle => self.release_waiting(Cause::Rate),
            Timer::Dht => self.on_dht_timer(),
            Timer::DhtTorrent(id) => self.on_dht_torrent(id),
            Timer::Goodbye(id) => self.settle(id),
        }
    }

    /// Lets every connection that waits for a cause try again, once.
    fn release_waiting(&mut self, cause: Cause) {
        for _ in 0..self.shared.throttle.len(cause) {
            let Some((torrent, conn, direction)) = self.shared.throttle.next(cause) else {
                return;
            };
            if let Some(torrent) = self.torrents.get_mut(torrent) {
                torrent.unthrottle(&mut self.shared, conn, direction);
            }
        }
    }

    fn wake(&self) -> Wake {
        if let Some(signal) = self.shared.signals.first() {
            return Wake::Now(reason_of(signal));
        }
        if !self.leaving.is_empty() {
            return Wake::Now(Reason::Goodbye);
        }
        if let Some(at) = self.streams.as_ref().and_then(|streams| streams.deadline()) {
            let timers = self.shared.timers.next().map(|(at, _)| at);
            if at <= self.shared.now {
                return Wake::Now(Reason::Transport);
            } else if timers.is_none_or(|timers| at < timers) {
                return Wake::At(at, Reason::Transport);
            }
        }
        match self.shared.timers.next() {
            None => Wake::Idle,
            Some((at, timer)) => {
                let reason = reason(timer);
                if at <= self.shared.now {
                    Wake::Now(reason)
                } else {
                    Wake::At(at, reason)
                }
            }
        }
    }
}

fn reason_of(signal: Signal) -> Reason {
    match signal {
        Signal::Started(_)
        | Signal::Completed(_)
        | Signal::Lonely(_)
        | Signal::Admitted(Lane::Http | Lane::Udp, _) => Reason::Tracker,
        Signal::Admitted(Lane::Open | Lane::Verify, _) => Reason::Checkpoint,
        Signal::Admitted(Lane::LookUp, _) => Reason::Dht,
        Signal::LookUp(_) | Signal::Node(_) | Signal::OwnAddress { .. } => Reason::Dht,
        Signal::Done(_) => Reason::Metadata,
        Signal::Goal(_) => Reason::Goal,
        Signal::Seek(_) | Signal::Place => Reason::Dial,
        Signal::Unthrottled => Reason::RateLimit,
    }
}

fn reason(timer: Timer) -> Reason {
    match timer {
        Timer::Conn(_) => Reason::Connection,
        Timer::Choke(_) | Timer::Slots(_) => Reason::Choke,
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
