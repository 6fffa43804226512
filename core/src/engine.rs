//! The engine: one mutator, which hands every event to whom it concerns.

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::action::{Action, Actions};
use crate::command::{AddTorrent, Command, Reply};
use crate::config::Config;
use crate::connections::{Conn, Connections};
use crate::ctx::{Ctx, Identity, Op, Timer};
use crate::error::CommandError;
use crate::event::{CloseReason, ContactError, Event, OpResult};
use crate::id::{ConnId, OpId, RequestId, Ticket, TorrentId};
use crate::limits;
use crate::metainfo::{InfoHash, Metainfo};
use crate::notice::Notice;
use crate::peer::Introduction;
use crate::peer::handshake::Progress;
use crate::rng::{Rng, Seed};
use crate::slab::Slab;
use crate::stats::Stats;
use crate::throttle::{Cause, Throttle};
use crate::time::{Instant, UnixTime};
use crate::timer::Timers;
use crate::torrent::candidates::{Banned, Source};
use crate::torrent::{Fate, Torrent, TorrentView};
use crate::tracker::{UdpOutcome, UdpTrackers};
use crate::wire::handshake::{Handshake, PeerId, Reserved};

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
    /// Peers are to be dialled.
    Dial,
    /// A tracker is to be asked, or asked again.
    Tracker,
    /// Resume data is to be saved.
    Checkpoint,
    /// A disk that failed is to be looked at.
    Probe,
    /// A rate limit allows more.
    RateLimit,
    /// A goal may be reached.
    Goal,
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
    timers: Timers<Timer>,
    ops: Slab<OpId, Op>,
    connections: Connections,
    torrents: Slab<TorrentId, Torrent>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    throttle: Throttle,
    banned: Banned,
    udp: UdpTrackers,
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
            connections: &mut $engine.connections,
            throttle: &mut $engine.throttle,
            banned: &mut $engine.banned,
            identity: &$engine.identity,
        }
    };
}

impl Engine {
    /// Makes an engine. All its choices follow from the seed; see [`Seed`] on where to take it from.
    ///
    /// `now` is the embedder's monotonic clock, `wall` the time of day. Values of `config` that cannot
    /// work are raised to the least that can, as its documentation says of each.
    #[must_use]
    pub fn new(config: Config, seed: Seed, now: Instant, wall: UnixTime) -> Self {
        let config = config.sound();
        let mut rng = Rng::new(seed);
        let mut random = [0; 12];
        rng.fill(&mut random);
        let peer_id = PeerId::with_prefix(config.peer_id_prefix, random);
        Self {
            throttle: Throttle::new(config.limits, now),
            udp: UdpTrackers::default(),
            rng,
            now,
            wall,
            identity: Identity {
                peer_id,
                listen: None,
            },
            stats: Stats::default(),
            timers: Timers::default(),
            ops: Slab::default(),
            connections: Connections::default(),
            torrents: Slab::default(),
            by_hash: BTreeMap::new(),
            banned: Banned::default(),
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
    /// that earlier time.
    pub fn handle(&mut self, now: Instant, event: Event, actions: &mut Actions) -> Wake {
        if now < self.now {
            self.stats.clock_went_back += 1;
        }
        self.now = self.now.max(now);
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

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
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

    fn on_command(&mut self, request: RequestId, command: Command, actions: &mut Actions) {
        if self.shutdown.is_some() || self.is_down {
            let result = Err(CommandError::ShuttingDown);
            actions.push(Action::Reply { request, result });
            return;
        }
        let result = match command {
            Command::AddTorrent(add) => self.add_torrent(&add, actions),
            Command::RemoveTorrent {
                torrent,
                delete_data,
            } => {
                let mut ctx = ctx!(self, actions);
                let Some(found) = self.torrents.get_mut(torrent) else {
                    let result = Err(CommandError::NoSuchTorrent(torrent));
                    actions.push(Action::Reply { request, result });
                    return;
                };
                found.remove(&mut ctx, &mut self.udp, Some(request), delete_data);
                self.settle(torrent, actions);
                return;
            }
            Command::Pause { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.pause(ctx, udp)
            }),
            Command::Resume { torrent } => {
                self.with(torrent, actions, |torrent, ctx, _| torrent.resume(ctx))
            }
            Command::Recheck { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.recheck(ctx, udp)
            }),
            Command::Checkpoint { torrent } => {
                let mut ctx = ctx!(self, actions);
                match self.torrents.get_mut(torrent) {
                    Some(found) => {
                        found.save(&mut ctx, request);
                        return;
                    }
                    None => Err(CommandError::NoSuchTorrent(torrent)),
                }
            }
            Command::SetPriorities { torrent, files } => {
                let mut outcome = Ok(());
                self.with(torrent, actions, |torrent, ctx, _| {
                    outcome = torrent.set_priorities(ctx, &files);
                })
                .and_then(|done| outcome.map(|()| done))
            }
            Command::SetSequential {
                torrent,
                sequential,
            } => self.with(torrent, actions, |torrent, _, _| {
                torrent.set_sequential(sequential)
            }),
            Command::SetLimits {
                torrent: Some(torrent),
                limits,
            } => self.with(torrent, actions, |torrent, ctx, _| {
                torrent.set_limits(ctx, limits)
            }),
            Command::SetLimits {
                torrent: None,
                limits,
            } => {
                self.config.limits = limits;
                self.throttle.down.set_rate(limits.download, self.now);
                self.throttle.up.set_rate(limits.upload, self.now);
                self.timers.set_no_later(Timer::Throttle, self.now);
                Ok(Reply::Done)
            }
            Command::SetGoal { torrent, goal } => self.with(torrent, actions, |torrent, ctx, _| {
                torrent.set_goal(ctx, goal)
            }),
            Command::AddPeers { torrent, peers } => {
                self.with(torrent, actions, |torrent, ctx, _| {
                    torrent.add_candidates(ctx, peers, Source::USER);
                })
            }
            Command::AddPeerHost {
                torrent,
                host,
                port,
            } => {
                if self.torrents.contains(torrent) {
                    let op = self.ops.insert(Op::PeerResolve(torrent, port));
                    actions.push(Action::Resolve { op, host });
                    Ok(Reply::Done)
                } else {
                    Err(CommandError::NoSuchTorrent(torrent))
                }
            }
            Command::Reannounce { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.reannounce(ctx, udp)
            }),
            Command::Scrape { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.scrape(ctx, udp)
            }),
            Command::Listening { address } => {
                self.identity.listen = address;
                Ok(Reply::Done)
            }
            Command::Shutdown => {
                self.begin_shutdown(request, actions);
                return;
            }
        };
        actions.push(Action::Reply { request, result });
    }

    fn add_torrent(
        &mut self,
        add: &AddTorrent,
        actions: &mut Actions,
    ) -> Result<Reply, CommandError> {
        if self.torrents.len() as u32 >= self.config.max_torrents {
            return Err(CommandError::TooManyTorrents {
                limit: self.config.max_torrents,
            });
        }
        let metainfo = Metainfo::parse(add.metainfo.clone()).map_err(|error| {
            CommandError::BadMetainfo(alloc::string::ToString::to_string(&error))
        })?;
        let info_hash = metainfo.info_hash();
        if let Some(torrent) = self.by_hash.get(&info_hash).copied() {
            return Err(CommandError::Duplicate { info_hash, torrent });
        }
        let mut ctx = ctx!(self, actions);
        let torrent = self
            .torrents
            .insert_with(|id| Torrent::new(id, metainfo, add, &mut ctx));
        self.by_hash.insert(info_hash, torrent);
        ctx.notify(Notice::Added { torrent, info_hash });
        if let Some(added) = self.torrents.get_mut(torrent) {
            added.begin(&mut ctx, &add.peers);
        }
        Ok(Reply::Added { torrent })
    }

    fn begin_shutdown(&mut self, request: RequestId, actions: &mut Actions) {
        self.shutdown = Some(request);
        let torrents: Vec<TorrentId> = self.torrents.keys().collect();
        for id in torrents {
            let mut ctx = ctx!(self, actions);
            if let Some(torrent) = self.torrents.get_mut(id) {
                torrent.remove(&mut ctx, &mut self.udp, None, false);
            }
        }
        let conns: Vec<ConnId> = self.connections.ids().collect();
        for conn in conns {
            self.connections.close(conn, actions);
            self.timers.cancel(Timer::Conn(conn));
        }
        self.finish_shutdown(actions);
    }

    /// Answers the shutdown once nothing is left.
    fn finish_shutdown(&mut self, actions: &mut Actions) {
        if self.torrents.len() == 0
            && self.connections.len() == 0
            && let Some(request) = self.shutdown.take()
        {
            self.is_down = true;
            self.timers.clear();
            actions.push(Action::Reply {
                request,
                result: Ok(Reply::Done),
            });
        }
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
            self.finish_shutdown(actions);
        }
    }

    fn on_incoming(&mut self, ticket: Ticket, from: SocketAddr, actions: &mut Actions) {
        let welcome = self.shutdown.is_none()
            && !self.is_down
            && self.torrents.len() > 0
            && self.connections.len() < self.config.max_connections
            && !self.banned.contains(from.ip())
            && self.connections.count_with_address(from.ip())
                < self.config.max_connections_per_address;
        if !welcome {
            self.stats.refused += 1;
            actions.push(Action::Refuse { ticket });
            return;
        }
        let conn = self.connections.accept(from);
        self.stats.connections += 1;
        actions.push(Action::Accept { ticket, conn });
        self.begin_greeting(conn, actions);
    }

    fn on_connected(&mut self, conn: ConnId, actions: &mut Actions) {
        let Some(greeting) = self.connections.connected(conn) else {
            self.stats.stale_conns += 1;
            return;
        };
        let torrent = greeting.torrent();
        self.send_handshake(conn, torrent, actions);
        self.begin_greeting(conn, actions);
        self.dial_soon();
    }

    /// Allows a handshake to be received, and bounds the time that it may take.
    fn begin_greeting(&mut self, conn: ConnId, actions: &mut Actions) {
        let Some(Conn::Greeting(greeting)) = self.connections.get_mut(conn) else {
            return;
        };
        // Room for the handshake and the piece map behind it.
        let credit = limits::READ_WINDOW / 16;
        greeting.credit += credit;
        actions.push(Action::Read { conn, credit });
        self.timers
            .set(Timer::Conn(conn), self.now + self.config.handshake_timeout);
    }

    fn send_handshake(&mut self, conn: ConnId, torrent: Option<TorrentId>, actions: &mut Actions) {
        let Some(torrent) = torrent.and_then(|torrent| self.torrents.get(torrent)) else {
            return;
        };
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true).with_extended(true),
            info_hash: *torrent.info_hash().as_bytes(),
            peer_id: self.identity.peer_id,
        };
        let sent = actions.send_with(conn, |buffer| buffer.extend_from_slice(&handshake.encode()));
        if let Some(Conn::Greeting(greeting)) = self.connections.get_mut(conn) {
            greeting.unsent += sent as u64;
        }
    }

    fn on_received(&mut self, conn: ConnId, data: Bytes, actions: &mut Actions) {
        self.stats.received += data.len() as u64;
        match self.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                let mut ctx = ctx!(self, actions);
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.receive(&mut ctx, conn, data);
                }
            }
            Some(Conn::Greeting(greeting)) => {
                greeting.credit = greeting.credit.saturating_sub(data.len() as u32);
                self.greet(conn, data, actions);
            }
            // What was on its way when we closed.
            Some(Conn::Closing { .. }) => {}
            None => self.stats.stale_conns += 1,
        }
    }

    /// Bytes of a handshake.
    fn greet(&mut self, conn: ConnId, mut data: Bytes, actions: &mut Actions) {
        let Some(Conn::Greeting(greeting)) = self.connections.get_mut(conn) else {
            return;
        };
        let expected = greeting
            .torrent()
            .and_then(|torrent| self.torrents.get(torrent));
        let expected = expected.map(Torrent::info_hash);
        let mut progress = greeting.receive(&mut data, expected);
        if let Ok(Progress::Asks(info_hash)) = progress {
            let found = self.by_hash.get(&info_hash).copied();
            let running =
                found.filter(|id| self.torrents.get(*id).is_some_and(Torrent::is_running));
            let Some(torrent) = running else {
                self.stats.refused += 1;
                self.hang_up(conn, actions);
                return;
            };
            self.send_handshake(conn, Some(torrent), actions);
            let Some(Conn::Greeting(greeting)) = self.connections.get_mut(conn) else {
                return;
            };
            progress = greeting.answer(torrent, &mut data);
        }
        match progress {
            Ok(Progress::Wait | Progress::Asks(_)) => {}
            Ok(Progress::Done {
                torrent,
                id,
                reserved,
            }) => {
                self.introduce(conn, torrent, id, reserved, data, actions);
            }
            Err(_) => self.hang_up(conn, actions),
        }
    }

    fn introduce(
        &mut self,
        conn: ConnId,
        torrent: TorrentId,
        id: PeerId,
        reserved: Reserved,
        rest: Bytes,
        actions: &mut Actions,
    ) {
        let Some(Conn::Greeting(greeting)) = self.connections.get(conn) else {
            return;
        };
        let introduction = Introduction {
            conn,
            address: greeting.address,
            incoming: greeting.is_incoming(),
            id,
            reserved,
            // What lies behind the handshake is taken off the credit when the peer has it.
            credit: greeting.credit + rest.len() as u32,
            unsent: greeting.unsent,
        };
        self.timers.cancel(Timer::Conn(conn));
        let mut ctx = ctx!(self, actions);
        let Some(torrent) = self.torrents.get_mut(torrent) else {
            self.connections.close(conn, actions);
            return;
        };
        if torrent.join(&mut ctx, introduction) {
            torrent.receive(&mut ctx, conn, rest);
        }
    }

    /// Ends a connection that has not become a peer's.
    fn hang_up(&mut self, conn: ConnId, actions: &mut Actions) {
        self.timers.cancel(Timer::Conn(conn));
        if let Some(Conn::Greeting(greeting)) = self.connections.get(conn)
            && !greeting.is_incoming()
            && let Some(torrent) = greeting.torrent()
        {
            let address = greeting.address;
            let mut ctx = ctx!(self, actions);
            if let Some(torrent) = self.torrents.get_mut(torrent) {
                torrent.dial_failed(&mut ctx, address);
            }
        }
        self.connections.close(conn, actions);
        self.dial_soon();
    }

    fn on_sent(&mut self, conn: ConnId, len: u64, actions: &mut Actions) {
        self.stats.sent += len;
        match self.connections.get_mut(conn) {
            Some(Conn::Peer { torrent, .. }) => {
                let torrent = *torrent;
                let mut ctx = ctx!(self, actions);
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.sent(&mut ctx, conn, len);
                }
            }
            Some(Conn::Greeting(greeting)) => greeting.unsent = greeting.unsent.saturating_sub(len),
            Some(Conn::Closing { .. }) => {}
            None => self.stats.stale_conns += 1,
        }
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
                        torrent.dial_failed(&mut ctx, greeting.address);
                    }
                }
            }
            Some(Conn::Closing { .. }) => {}
        }
        self.finish_shutdown(actions);
        self.dial_soon();
    }

    fn on_datagram(&mut self, from: SocketAddr, data: &Bytes, actions: &mut Actions) {
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
        torrent.add_candidates(&mut ctx, peers, Source::TRACKER);
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
                            file: alloc::string::String::new(),
                            message: alloc::string::String::from("the disk job was given up"),
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
                torrent.add_candidates(&mut ctx, peers, Source::TRACKER);
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
            Op::PeerResolve(id, port) => {
                if let (OpResult::Resolved(Ok(addresses)), Some(torrent)) =
                    (result, self.torrents.get_mut(id))
                {
                    let peers = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
                    torrent.add_candidates(&mut ctx, peers, Source::USER);
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
                Some(Conn::Greeting(_)) => self.hang_up(conn, actions),
                Some(Conn::Closing { .. }) | None => {}
            },
            Timer::Choke(id) => {
                if let Some(torrent) = self.torrents.get_mut(id) {
                    torrent.choke_round(&mut ctx);
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
                    torrent.checkpoint(&mut ctx);
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
            Timer::Throttle => self.release_waiting(Cause::Rate, actions),
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

    /// Sees to it that torrents that wait for a free place are asked again.
    fn dial_soon(&mut self) {
        if !self.dialers.is_empty() {
            self.timers.set_no_later(Timer::Dial, self.now);
        }
    }

    /// Dials for the torrents that want peers, in turn, as far as the limits allow.
    fn dial(&mut self, actions: &mut Actions) {
        while !self.dialers.is_empty() && self.shutdown.is_none() {
            if let Err(later) = self.connections.may_dial(&self.config, self.now) {
                if let Some(at) = later {
                    self.timers.set_no_later(Timer::Dial, at);
                }
                return;
            }
            let next = self.last_dialer.and_then(|last| {
                self.dialers
                    .range((
                        core::ops::Bound::Excluded(last),
                        core::ops::Bound::Unbounded,
                    ))
                    .next()
            });
            let Some(id) = next.or_else(|| self.dialers.first()).copied() else {
                return;
            };
            self.last_dialer = Some(id);
            let mut ctx = ctx!(self, actions);
            let Some(torrent) = self.torrents.get_mut(id) else {
                self.dialers.remove(&id);
                continue;
            };
            match torrent.next_candidate(&mut ctx) {
                Some(address) => {
                    let conn = self.connections.dial(id, address, actions);
                    self.stats.connections += 1;
                    self.timers
                        .set(Timer::Conn(conn), self.now + self.config.connect_timeout);
                }
                None => {
                    torrent.seek_peers(&mut ctx);
                    self.dialers.remove(&id);
                }
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
        Timer::Dial | Timer::Candidates(_) => Reason::Dial,
        Timer::Tracker(_) | Timer::UdpTracker => Reason::Tracker,
        Timer::Checkpoint(_) => Reason::Checkpoint,
        Timer::Probe(_) => Reason::Probe,
        Timer::Goal(_) => Reason::Goal,
        Timer::Throttle => Reason::RateLimit,
        Timer::Goodbye(_) => Reason::Goodbye,
    }
}
