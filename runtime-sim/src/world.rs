//! The world: hosts, what lies between them, and time.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::error::CommandError;
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::id::{RequestId, StorageKey, TorrentId};
use anabranch_core::metainfo::InfoHash;
use anabranch_core::{Action, Actions, Command, Engine, Event, Instant, Wake};

use crate::actor::{Actor, ActorEvent};
use crate::chance::{Chance, PPM, mix};
use crate::config::{HostConfig, WorldConfig};
use crate::content::Content;
use crate::event::Happening;
use crate::failure::{Failure, FailureKind, repeat_command};
use crate::fault::{Fault, FaultPlan};
use crate::host::{Acting, Added, Host, Node, Running, Tamper};
use crate::http::DnsMode;
use crate::log::Log;
use crate::queue::Queue;
use crate::record::Sink;
use crate::stream::Conns;
use crate::trace::Trace;
use crate::tracker::Tracker;
use crate::web::WebServer;

/// Set in the number of a place on the network that is a tracker, not a host.
pub(crate) const TRACKER_BIT: u32 = 1 << 31;

/// How often it is looked whether every torrent gets on.
const WATCH: Duration = Duration::from_secs(60);

/// A host of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

impl HostId {
    /// The host's number: they are counted from 0 in the order in which they were added.
    pub const fn index(self) -> u32 {
        self.0
    }

    /// The host with a number.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.0)
    }
}

/// A tracker of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerId(pub(crate) u32);

impl fmt::Display for TrackerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tracker {}", self.0)
    }
}

/// Hosts, trackers, disks and the network between them, in virtual time.
///
/// Everything that happens is in one queue, ordered by time and, at the same time, by the order in which
/// it was put there. All chance comes from the seed. So a run is a function of what the caller did and
/// of the seed; [`World::trace_hash`] tells two runs apart.
#[derive(Debug)]
pub struct World {
    pub(crate) config: WorldConfig,
    pub(crate) now: Instant,
    pub(crate) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) conns: Conns,
    pub(crate) trackers: Vec<Tracker>,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) dns: DnsMode,
    pub(crate) webs: Vec<WebServer>,
    pub(crate) fetches: Vec<Option<Result<HttpReply, ContactError>>>,
    pub(crate) contents: BTreeMap<InfoHash, Content>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) log: Option<Log>,
    pub(crate) buffer: Actions,
    failure: Option<Failure>,
    repeat: Option<String>,
    /// Torrents of hosts that have not been completed.
    pub(crate) incomplete: u32,
    happened: u64,
    watch_at: Instant,
    pub(crate) last_fault: Instant,
}

impl World {
    /// An empty world with everything at its default.
    pub fn new(seed: u64) -> Self {
        Self::with_config(WorldConfig::new(seed))
    }

    /// An empty world.
    pub fn with_config(config: WorldConfig) -> Self {
        Self {
            chance: Chance::new(config.seed),
            config,
            now: Instant::ZERO,
            queue: Queue::default(),
            hosts: Vec::new(),
            conns: Conns::default(),
            trackers: Vec::new(),
            names: BTreeMap::new(),
            dns: DnsMode::default(),
            webs: Vec::new(),
            fetches: Vec::new(),
            contents: BTreeMap::new(),
            trace: Trace::default(),
            log: None,
            buffer: Actions::new(),
            failure: None,
            repeat: None,
            incomplete: 0,
            happened: 0,
            watch_at: Instant::ZERO + WATCH,
            last_fault: Instant::ZERO,
        }
    }

    /// What a failure names as the command that repeats the run. Without it, a guess is made from the
    /// running test.
    pub fn set_repeat_command(&mut self, command: impl Into<String>) {
        self.repeat = Some(command.into());
    }

    /// Adds a host with an engine.
    pub fn add_host(&mut self, config: HostConfig) -> HostId {
        let id = self.add_place(config);
        self.boot(id.0);
        id
    }

    /// Adds a host with an engine, and records to `out` what the engine is told and does, without
    /// payload, to be replayed by [`anabranch_replay`] or the command. Of its first life, until it
    /// crashes or leaves; what cannot be written is left out, and changes nothing in the world.
    ///
    /// The recording is complete when the host has left or the world is dropped.
    pub fn add_recorded_host(
        &mut self,
        config: HostConfig,
        out: impl std::io::Write + Send + 'static,
    ) -> HostId {
        let id = self.add_place(config);
        self.boot_recorded(id.0, Some(Sink::new(out)));
        id
    }

    /// Adds a scripted peer.
    pub fn add_actor(&mut self, config: HostConfig, actor: impl Actor + 'static) -> HostId {
        let id = self.add_place(config);
        let life = 1;
        if let Some(host) = self.hosts.get_mut(id.0 as usize) {
            host.life = life;
            host.node = Node::Actor(Acting {
                actor: Some(Box::new(actor)),
                conns: BTreeMap::new(),
                next: 0,
            });
        }
        self.queue
            .push(self.now, Happening::ActorStart { host: id.0, life });
        id
    }

    /// Gives a host a torrent. The world knows from then on what is in it.
    ///
    /// # Errors
    ///
    /// What the engine answers.
    ///
    /// # Panics
    ///
    /// When the host has no engine at the moment.
    pub fn add_torrent(
        &mut self,
        host: HostId,
        content: &Content,
        add: AddTorrent,
    ) -> Result<TorrentId, CommandError> {
        let key = self.know(host, content, &add);
        self.add_known(host, key)
    }

    /// Gives a host a torrent that is complete on its disk.
    ///
    /// # Errors
    ///
    /// What the engine answers.
    ///
    /// # Panics
    ///
    /// When the host has no engine at the moment.
    pub fn seed_torrent(
        &mut self,
        host: HostId,
        content: &Content,
        add: AddTorrent,
    ) -> Result<TorrentId, CommandError> {
        let key = self.know(host, content, &add);
        if let Some(this) = self.hosts.get_mut(host.0 as usize) {
            this.disk.fill(key, content);
        }
        self.add_known(host, key)
    }

    /// Moves what one host has of a torrent on its disk to the disk of another, resume data and all.
    /// Nothing happens if there is nothing.
    ///
    /// # Panics
    ///
    /// When the other host is of another world.
    pub fn move_data(&mut self, content: &Content, from: HostId, to: HostId) {
        let source = self.hosts.get_mut(from.0 as usize);
        let Some(store) = source.and_then(|host| {
            let (key, _) = host.added(content)?;
            host.disk.take_out(key)
        }) else {
            return;
        };
        let key = self.know(to, content, &AddTorrent::default());
        if let Some(host) = self.hosts.get_mut(to.0 as usize) {
            host.disk.put_in(key, store);
        }
    }

    /// Gives an engine a command. The answer, if it comes at once, else none; see [`Host::reply`].
    ///
    /// # Panics
    ///
    /// When the host has no engine at the moment.
    pub fn command(
        &mut self,
        host: HostId,
        command: Command,
    ) -> (RequestId, Option<Result<Reply, CommandError>>) {
        let Some(running) = self.running(host.0) else {
            panic!("{host} has no engine at the moment");
        };
        running.next_request += 1;
        let request = RequestId(running.next_request);
        self.feed(
            host.0,
            Event::Command {
                request,
                command: Box::new(command),
            },
        );
        let reply = self.host(host).reply(request).cloned();
        (request, reply)
    }

    /// Lets something go wrong after a time.
    pub fn schedule(&mut self, after: Duration, fault: Fault) {
        let at = self.now + after;
        self.last_fault = self.last_fault.max(at);
        self.queue.push(at, Happening::Fault(Box::new(fault)));
    }

    /// Lets many things go wrong.
    pub fn schedule_all(&mut self, plan: &FaultPlan) {
        for (after, fault) in plan {
            self.schedule(*after, fault.clone());
        }
    }

    /// Lets `tamper` change what a host's engines answer from now on, their deadlines and their actions:
    /// a way to see what becomes of an engine that breaks its contract.
    pub fn tamper(
        &mut self,
        host: HostId,
        tamper: impl FnMut(Instant, &Engine, &mut Wake, &mut Vec<Action>) + Send + 'static,
    ) {
        self.host_mut(host).tamper = Some(Tamper(Box::new(tamper)));
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What the world is like.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// A host.
    ///
    /// # Panics
    ///
    /// When it is of another world.
    pub fn host(&self, host: HostId) -> &Host {
        match self.hosts.get(host.0 as usize) {
            Some(found) => found,
            None => panic!("there is no {host}"),
        }
    }

    /// A host, to change what is wrong with it.
    ///
    /// # Panics
    ///
    /// When it is of another world.
    pub fn host_mut(&mut self, host: HostId) -> &mut Host {
        match self.hosts.get_mut(host.0 as usize) {
            Some(found) => found,
            None => panic!("there is no {host}"),
        }
    }

    /// All hosts, in the order in which they were added.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId)
    }

    /// A host's address.
    ///
    /// # Panics
    ///
    /// When it is of another world.
    pub fn address(&self, host: HostId) -> SocketAddr {
        self.host(host).address
    }

    /// How long a packet takes from one host to another, without jitter and waiting.
    pub fn latency_between(&self, from: HostId, to: HostId) -> Duration {
        self.latency(from.0, to.0)
    }

    /// One number for the course that the run has taken so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// How many things have happened.
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// Streams that exist, and things that wait to happen.
    pub fn load(&self) -> (usize, usize) {
        (self.conns.len(), self.queue.len())
    }

    /// How many torrents of how many hosts are not complete, as far as their engines know.
    pub fn incomplete(&self) -> u32 {
        self.incomplete
    }

    /// From now on, what happens is written to `out`, an event a line. So it is with the other three:
    /// there is one log, and the last one called says which.
    pub fn log_to(&mut self, out: impl std::io::Write + Send + 'static) {
        self.log = Some(Log::new(out));
    }

    /// From now on, what happens is written to `out` as CSV, which begins with the line
    /// `time_s,host,direction,event,detail`. The direction is `in` for what an engine is told, `out` for
    /// what it does about it, and `world` for what happens to the world as a whole.
    pub fn log_csv_to(&mut self, out: impl std::io::Write + Send + 'static) {
        self.log = Some(Log::csv(out));
    }

    /// As [`World::log_to`], but what happens to other hosts is left out. What happens to the world as a
    /// whole is not.
    pub fn log_host_to(&mut self, host: HostId, out: impl std::io::Write + Send + 'static) {
        self.log = Some(Log::new(out).only(host.0));
    }

    /// As [`World::log_csv_to`], but what happens to other hosts is left out. What happens to the world
    /// as a whole is not.
    pub fn log_host_csv_to(&mut self, host: HostId, out: impl std::io::Write + Send + 'static) {
        self.log = Some(Log::csv(out).only(host.0));
    }

    /// Runs for a time.
    ///
    /// # Errors
    ///
    /// A check did not hold.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.now + time;
        self.guarded(|world| while world.step_before(until) {})?;
        self.now = until;
        Ok(())
    }

    /// Runs for a time, or until `done`, which is asked after everything that happens. Says whether it
    /// is done.
    ///
    /// # Errors
    ///
    /// A check did not hold.
    pub fn run_for_or_until(
        &mut self,
        time: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Failure> {
        let until = self.now + time;
        let finished = self.guarded(|world| {
            loop {
                if done(world) {
                    return true;
                }
                if !world.step_before(until) {
                    return false;
                }
            }
        })?;
        if !finished {
            self.now = until;
        }
        Ok(finished)
    }

    /// Runs until `done`, which is asked after everything that happens.
    ///
    /// # Errors
    ///
    /// A check did not hold, or it is not done after `limit`, or nothing is left to happen.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<(), Failure> {
        let until = self.now + limit;
        let finished = self.guarded(|world| {
            loop {
                if done(world) {
                    return true;
                }
                if !world.step_before(until) {
                    return false;
                }
            }
        })?;
        if finished {
            return Ok(());
        }
        if self.queue.next_at().is_some() {
            self.fail(None, FailureKind::Late(self.describe()));
        } else {
            self.find_stuck(Duration::ZERO);
            self.fail(None, FailureKind::Quiet(self.describe()));
        }
        self.outcome(())
    }

    /// Runs until every torrent of every host has been completed.
    ///
    /// Engines believe a disk that says that it wrote what it was given. Who lets disks lie about that
    /// ([`DiskFaults::corrupt_writes_ppm`](crate::DiskFaults::corrupt_writes_ppm)) and wants to know no
    /// more than what engines can know asks [`World::run_until`] for [`World::incomplete`].
    ///
    /// # Errors
    ///
    /// As [`World::run_until`]; and [`FailureKind::Corrupt`] when a host is complete as far as its engine
    /// can know, but what it downloaded was written wrong.
    pub fn run_until_complete(&mut self, limit: Duration) -> Result<(), Failure> {
        self.run_until(limit, |world| world.incomplete == 0)?;
        self.find_corrupt();
        self.outcome(())
    }

    /// Lets the next thing happen. False when nothing is left to, or a check did not hold.
    ///
    /// # Errors
    ///
    /// A check did not hold.
    pub fn step(&mut self) -> Result<bool, Failure> {
        self.guarded(|world| world.step_before(Instant::FAR))
    }

    /// Lets the next thing happen if it happens no later than `until`.
    fn step_before(&mut self, until: Instant) -> bool {
        if self.failure.is_some() {
            return false;
        }
        let Some(at) = self.queue.next_at().filter(|at| *at <= until) else {
            return false;
        };
        if at > self.watch_at {
            self.now = self.watch_at;
            self.watch_at = self.now + WATCH;
            self.find_stuck(self.config.checks.patience);
            return true;
        }
        let Some((at, happening)) = self.queue.pop() else {
            return false;
        };
        self.now = self.now.max(at);
        self.happened += 1;
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake { host, life } => {
                if self.life(host) == life {
                    self.on_wake(host);
                }
            }
            Happening::Spurious { host, life } => {
                if self.life(host) == life {
                    self.feed(host, Event::Tick);
                }
            }
            Happening::JobDone {
                host,
                life,
                op,
                result,
            } => {
                if self.life(host) == life {
                    self.on_job_done(host, op, *result);
                }
            }
            Happening::Contact {
                host,
                life,
                op,
                event,
            } => {
                let current = self.life(host) == life;
                let waits = current
                    && self
                        .running(host)
                        .is_some_and(|running| running.contacts.remove(&op));
                if waits {
                    self.feed(host, *event);
                }
            }
            Happening::PowerOff { host, life } => {
                if self.life(host) == life {
                    self.switch_off(host);
                }
            }
            Happening::ActorTimer { host, life, token } => {
                if self.life(host) == life {
                    self.act(host, ActorEvent::Timer { token });
                }
            }
            Happening::ActorStart { host, life } => {
                if self.life(host) == life {
                    self.act(host, ActorEvent::Started);
                }
            }
            Happening::Uplink { host } => self.on_uplink(host),
            Happening::Syn { conn, attempt } => self.on_syn(conn, attempt),
            Happening::SynAck { conn } => self.on_syn_ack(conn),
            Happening::Established { conn } => self.on_established(conn),
            Happening::Refused { conn } => self.on_refused(conn),
            Happening::Arrive { conn, to, segment } => self.on_arrive(conn, to, segment),
            Happening::Deliver { conn, to, segment } => self.on_deliver(conn, to, segment),
            Happening::Acknowledge { conn, to } => self.on_acknowledge(conn, to),
            Happening::Lost { conn, to, segment } => self.on_lost(conn, to, segment),
            Happening::Window { conn, to } => self.on_window(conn, to),
            Happening::Retry { conn, side } => self.on_retry(conn, side),
            Happening::Accepted { conn, side } => self.on_accepted(conn, side),
            Happening::Flush { conn, side } => self.on_flush(conn, side),
            Happening::Reset { conn, to } => self.on_reset(conn, to),
            Happening::Broken { conn, side, reason } => self.on_broken(conn, side, reason),
            Happening::ClosedLocally { host, life, conn } => {
                if self.life(host) == life {
                    self.on_closed_locally(host, conn);
                }
            }
            Happening::PacketArrive { to, packet } => self.on_packet_arrive(to, packet),
            Happening::PacketDeliver { to, packet } => self.on_packet_deliver(to, *packet),
            Happening::Undelivered { host, to } => self.on_undelivered(host, to),
            Happening::Flushed { host, life, len } => {
                if self.life(host) == life {
                    self.feed(host, Event::Flushed { len });
                }
            }
            Happening::Visit(visit) => self.on_visit(*visit),
            Happening::Fetched { fetch, result } => self.on_fetched(fetch, *result),
            Happening::WebAnswer { web, answer } => self.on_web_answer(web, *answer),
            Happening::WebFree { web } => self.on_web_free(web),
            Happening::WebChunk { part, last } => self.on_web_chunk(*part, last),
            Happening::Fault(fault) => self.strike(*fault),
        }
    }

    fn know(&mut self, host: HostId, content: &Content, add: &AddTorrent) -> StorageKey {
        self.contents.insert(content.info_hash(), content.clone());
        // Who has a magnet link is not given the torrent.
        let metainfo = match add.magnet {
            Some(_) => add.metainfo.clone(),
            None => content.torrent(),
        };
        let add = AddTorrent {
            metainfo,
            ..add.clone()
        };
        let Some(this) = self.hosts.get_mut(host.0 as usize) else {
            panic!("there is no {host}");
        };
        if let Some((key, _)) = this.added(content) {
            // It is taken on otherwise this time.
            if let Some(added) = this.torrents.get_mut(key.0 as usize) {
                added.add = AddTorrent {
                    storage: key,
                    ..add
                };
            }
            return key;
        }
        let key = StorageKey(this.torrents.len() as u64);
        this.torrents.push(Added {
            content: content.clone(),
            add: AddTorrent {
                storage: key,
                ..add
            },
            completed: None,
        });
        self.incomplete += 1;
        key
    }

    pub(crate) fn add_known(
        &mut self,
        host: HostId,
        key: StorageKey,
    ) -> Result<TorrentId, CommandError> {
        let add = match self.host(host).torrents.get(key.0 as usize) {
            Some(added) => added.add.clone(),
            None => AddTorrent::default(),
        };
        match self.command(host, Command::AddTorrent(add)).1 {
            Some(Ok(Reply::Added { torrent })) => Ok(torrent),
            Some(Err(error)) => Err(error),
            other => panic!("a torrent that is added is answered at once: {other:?}"),
        }
    }

    /// Notes that a check did not hold. Only the first counts.
    pub(crate) fn fail(&mut self, host: Option<u32>, kind: FailureKind) {
        if self.failure.is_some() {
            return;
        }
        let seed = self.config.seed;
        let repeat = self.repeat.clone();
        self.failure = Some(Failure {
            seed,
            at: self.now,
            host: host.map(HostId),
            kind,
            repeat: repeat.unwrap_or_else(|| repeat_command(seed)),
        });
    }

    /// Runs, and turns a panic of an engine into a failure.
    fn guarded<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> Result<T, Failure> {
        match catch_unwind(AssertUnwindSafe(|| run(self))) {
            Ok(value) => self.outcome(value),
            Err(panic) => {
                self.fail(None, FailureKind::Panic(message(&*panic)));
                match self.failure.clone() {
                    Some(failure) => Err(failure),
                    None => std::panic::resume_unwind(panic),
                }
            }
        }
    }

    fn outcome<T>(&self, value: T) -> Result<T, Failure> {
        match &self.failure {
            None => Ok(value),
            Some(failure) => Err(failure.clone()),
        }
    }

    pub(crate) fn running(&mut self, host: u32) -> Option<&mut Running> {
        self.hosts.get_mut(host as usize)?.running()
    }

    pub(crate) fn life(&self, host: u32) -> u32 {
        self.hosts.get(host as usize).map_or(0, |host| host.life)
    }

    /// Whether anything gets from one place to another at the moment.
    pub(crate) fn path_is_open(&self, from: u32, to: u32) -> bool {
        // Trackers are always there, on the side of those that are not cut off.
        let group = |place: u32| {
            if place & TRACKER_BIT != 0 {
                return Some(0);
            }
            let host = self.hosts.get(place as usize)?;
            host.is_up().then_some(host.group)
        };
        matches!((group(from), group(to)), (Some(from), Some(to)) if from == to)
    }

    /// How long a packet takes from one place to another.
    pub(crate) fn latency(&self, from: u32, to: u32) -> Duration {
        let pair = u64::from(from.min(to)) << 32 | u64::from(from.max(to));
        let range = self
            .config
            .latency_max
            .saturating_sub(self.config.latency_min);
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        let share = mix(self.config.seed, pair);
        let within = (u128::from(share) * u128::from(range)) >> 64;
        let access = |place: u32| {
            let host = self.hosts.get(place as usize);
            host.map_or(Duration::ZERO, |host| host.config.link.latency)
        };
        self.config.latency_min + Duration::from_nanos(within as u64) + access(from) + access(to)
    }

    /// The same for one packet, with jitter.
    pub(crate) fn one_way(&mut self, from: u32, to: u32) -> Duration {
        let most = self.config.jitter + self.jitter_at(from) + self.jitter_at(to);
        self.latency(from, to) + self.chance.up_to(most)
    }

    /// Packets that are lost between two places, in a million.
    pub(crate) fn loss_between(&self, from: u32, to: u32) -> u32 {
        let all = u64::from(PPM);
        let passed = [self.config.loss_ppm, self.loss_at(from), self.loss_at(to)]
            .into_iter()
            .fold(all, |passed, loss| {
                passed * all.saturating_sub(loss.into()) / all
            });
        // What is left of a million is no more than that.
        (all - passed) as u32
    }

    /// Trackers are at the end of perfect links.
    fn jitter_at(&self, place: u32) -> Duration {
        let host = self.hosts.get(place as usize);
        host.map_or(Duration::ZERO, |host| host.config.link.jitter)
    }

    fn loss_at(&self, place: u32) -> u32 {
        let host = self.hosts.get(place as usize);
        host.map_or(0, |host| host.config.link.loss_ppm)
    }
}

/// The same host's address of IPv6.
pub(crate) fn address6_of(host: u32) -> IpAddr {
    let [_, high, middle, low] = (host + 1).to_be_bytes();
    let [network, subnet] = [[low, middle], [high, 0]].map(u16::from_be_bytes);
    IpAddr::from([0x2a05, network, subnet, 0, 0, 0, 0, 1])
}

/// Hosts next to each other are far apart on the network: what goes by networks should not take them
/// for one.
pub(crate) fn address_of(host: u32) -> IpAddr {
    let [_, high, middle, low] = (host + 1).to_be_bytes();
    IpAddr::from([5, low, middle, high])
}

/// The number of the host with an address.
pub(crate) fn host_number(address: IpAddr) -> Option<u32> {
    let number = |high, middle, low| u32::from_be_bytes([0, high, middle, low]).checked_sub(1);
    match address {
        IpAddr::V4(ip) => match ip.octets() {
            [5, low, middle, high] => number(high, middle, low),
            _ => None,
        },
        IpAddr::V6(ip) => match ip.octets() {
            [0x2a, 5, low, middle, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] => {
                number(high, middle, low)
            }
            _ => None,
        },
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => String::from(*text),
        (_, Some(text)) => text.clone(),
        _ => String::from("no message"),
    }
}
