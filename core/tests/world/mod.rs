//! Engines in one process: pipes instead of sockets, maps instead of disks, and a clock that jumps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::error::CommandError;
use anabranch_core::event::{CloseReason, DiskDone, DiskError, OpResult, Opened, PartialPiece};
use anabranch_core::id::{ConnId, RequestId, StorageKey, Ticket, TorrentId};
use anabranch_core::metainfo::{Creation, Creator};
use anabranch_core::{
    Action, Actions, Bitfield, Command, Config, Engine, Event, Instant, Notice, Seed, UnixTime,
    Wake,
};
use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The same, unless it is chosen.
const LATENCY: Duration = Duration::from_millis(5);

/// A torrent of one file, and what is in it.
pub(crate) struct Content {
    pub(crate) torrent: Bytes,
    pub(crate) data: Vec<u8>,
    pub(crate) piece_length: usize,
}

impl Content {
    pub(crate) fn new(len: usize, piece_length: u32) -> Self {
        let data: Vec<u8> = (0..len as u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let creator =
            Creator::single_file("content.bin", len as u64).with_piece_length(piece_length);
        let hashes: Vec<u8> = data
            .chunks(piece_length as usize)
            .flat_map(Sha1::digest)
            .collect();
        let Creation { torrent, .. } = creator.finish(&hashes).expect("one digest a piece");
        Self {
            torrent,
            data,
            piece_length: piece_length as usize,
        }
    }
}

/// What may go wrong at a host, on purpose.
#[derive(Default)]
pub(crate) struct Faults {
    /// Reads of these pieces give wrong bytes: a peer that lies.
    pub(crate) corrupt: BTreeSet<u32>,
    /// Stores fail with this error.
    pub(crate) store: Option<DiskError>,
    /// Whether a probe says that all is well although stores fail.
    pub(crate) blind: bool,
    /// Checkpoints fail with this error.
    pub(crate) checkpoint: Option<DiskError>,
}

/// One engine and everything around it.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    /// What is on the disk, piece by piece.
    pub(crate) disk: BTreeMap<u32, Vec<u8>>,
    pub(crate) piece_length: usize,
    /// What was checkpointed last.
    pub(crate) resume: Option<Bitfield>,
    /// What was checkpointed last of incomplete pieces.
    pub(crate) partial: Vec<PartialPiece>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) replies: BTreeMap<RequestId, Result<Reply, CommandError>>,
    pub(crate) faults: Faults,
    pub(crate) actions: u64,
    buffer: Actions,
    wake: Wake,
    conns: BTreeMap<ConnId, Pipe>,
    tickets: BTreeMap<Ticket, (usize, ConnId)>,
    next: u64,
}

#[derive(Default)]
struct Pipe {
    /// The other end, once it stands.
    peer: Option<(usize, ConnId)>,
    credit: u64,
    /// Arrived and not yet allowed in.
    inbox: VecDeque<Bytes>,
    /// The other end closed; to be told when the inbox is empty.
    ended: bool,
}

enum Delivery {
    Event(Event),
    Dial { from: usize, conn: ConnId },
    Established { conn: ConnId, peer: (usize, ConnId) },
    Bytes { conn: ConnId, data: Bytes },
    Ended { conn: ConnId },
}

/// Hosts and the time between them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    queue: BTreeMap<(Instant, u64), (usize, Delivery)>,
    sequence: u64,
    /// How long a byte takes from one host to another.
    pub(crate) latency: Duration,
    /// Largest number of bytes that arrive together.
    pub(crate) chunk: usize,
    /// Whether packets get through, and which of them do not: one in so many.
    pub(crate) carries_packets: bool,
    pub(crate) lost: Option<u64>,
    /// Packets that were sent.
    pub(crate) packets: u64,
    /// Connections that were dialled by TCP.
    pub(crate) dialled: u64,
    /// Whether anybody is reached by TCP.
    pub(crate) carries_streams: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            chunk: 100_000,
            latency: LATENCY,
            carries_packets: true,
            lost: None,
            packets: 0,
            dialled: 0,
            carries_streams: true,
        }
    }

    pub(crate) fn host(&mut self, config: Config) -> usize {
        let index = self.hosts.len();
        let address = SocketAddr::new([10, 0, 0, index as u8 + 1].into(), 6881);
        let mut seed = [7; 32];
        seed[0] = index as u8;
        let engine = Engine::new(config, Seed(seed), self.now, UnixTime(1_700_000_000));
        self.hosts.push(Host {
            engine,
            address,
            disk: BTreeMap::new(),
            piece_length: 0,
            resume: None,
            partial: Vec::new(),
            notices: Vec::new(),
            replies: BTreeMap::new(),
            faults: Faults::default(),
            actions: 0,
            buffer: Actions::new(),
            wake: Wake::Idle,
            conns: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next: 0,
        });
        let listening = Command::Listening {
            address: Some(address),
        };
        assert_eq!(self.command(index, listening), Ok(Reply::Done));
        index
    }

    /// A host that has everything.
    pub(crate) fn seed(&mut self, config: Config, content: &Content) -> usize {
        let host = self.host(config);
        let pieces = content.data.chunks(content.piece_length).enumerate();
        self.hosts[host].disk = pieces
            .map(|(at, piece)| (at as u32, piece.to_vec()))
            .collect();
        self.add(host, content, AddTorrent::default());
        host
    }

    pub(crate) fn add(&mut self, host: usize, content: &Content, add: AddTorrent) -> TorrentId {
        self.hosts[host].piece_length = content.piece_length;
        let add = AddTorrent {
            metainfo: content.torrent.clone(),
            storage: StorageKey(1),
            ..add
        };
        match self.command(host, Command::AddTorrent(add)) {
            Ok(Reply::Added { torrent }) => torrent,
            other => panic!("not added: {other:?}"),
        }
    }

    /// Gives a command; its answer, if it came at once, else `Done`.
    pub(crate) fn command(&mut self, host: usize, command: Command) -> Result<Reply, CommandError> {
        let request = self.request(host, command);
        self.hosts[host]
            .replies
            .get(&request)
            .cloned()
            .unwrap_or(Ok(Reply::Done))
    }

    pub(crate) fn request(&mut self, host: usize, command: Command) -> RequestId {
        self.hosts[host].next += 1;
        let request = RequestId(self.hosts[host].next);
        self.feed(
            host,
            Event::Command {
                request,
                command: Box::new(command),
            },
        );
        request
    }

    /// Runs until `done`, or panics when `limit` of virtual time is over or nothing can happen.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(
                self.step(),
                "idle at {} and not done: {}",
                self.now,
                self.describe()
            );
            assert!(
                self.now <= end,
                "not done after {limit:?}: {}",
                self.describe()
            );
        }
    }

    /// Runs for a time.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn has_all(&self, host: usize, content: &Content) -> bool {
        let host = &self.hosts[host];
        let torrent = host
            .engine
            .torrents()
            .next()
            .and_then(|id| host.engine.torrent(id));
        let complete = torrent.is_some_and(|torrent| torrent.have().is_full());
        complete && {
            let data: Vec<u8> = host.disk.values().flatten().copied().collect();
            assert_eq!(data.len(), content.data.len());
            assert!(data == content.data, "what is reported as there is right");
            true
        }
    }

    fn describe(&self) -> String {
        let describe = |host: &Host| {
            host.engine
                .torrents()
                .filter_map(|id| host.engine.torrent(id))
                .map(|torrent| {
                    format!(
                        "{:?}\n{:#?}",
                        torrent.status(self.now),
                        torrent.peers(self.now)
                    )
                })
                .collect::<Vec<_>>()
                .join("\n")
        };
        self.hosts
            .iter()
            .map(describe)
            .collect::<Vec<_>>()
            .join("\n---\n")
    }

    fn next_at(&self) -> Option<Instant> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let wakes = self.hosts.iter().filter_map(|host| match host.wake {
            Wake::Now(_) => Some(self.now),
            Wake::At(at, _) => Some(at),
            Wake::Idle => None,
        });
        wakes.chain(queued).min()
    }

    /// The next thing that happens. False when nothing can.
    pub(crate) fn step(&mut self) -> bool {
        let Some(at) = self.next_at() else {
            return false;
        };
        self.now = self.now.max(at);
        let due = self
            .queue
            .keys()
            .next()
            .copied()
            .filter(|(at, _)| *at <= self.now);
        if let Some((host, delivery)) = due.and_then(|key| self.queue.remove(&key)) {
            self.deliver(host, delivery);
            return true;
        }
        let due = self.hosts.iter().position(|host| match host.wake {
            Wake::Now(_) => true,
            Wake::At(at, _) => at <= self.now,
            Wake::Idle => false,
        });
        match due {
            Some(host) => self.feed(host, Event::Tick),
            None => return false,
        }
        true
    }

    fn schedule(&mut self, after: Duration, host: usize, delivery: Delivery) {
        self.sequence += 1;
        self.queue
            .insert((self.now + after, self.sequence), (host, delivery));
    }

    fn deliver(&mut self, host: usize, delivery: Delivery) {
        match delivery {
            Delivery::Event(event) => self.feed(host, event),
            Delivery::Dial { from, conn } => {
                self.hosts[host].next += 1;
                let ticket = Ticket(self.hosts[host].next);
                self.hosts[host].tickets.insert(ticket, (from, conn));
                let from = self.hosts[from].address;
                self.feed(host, Event::Incoming { ticket, from });
            }
            Delivery::Established { conn, peer } => {
                let Some(pipe) = self.hosts[host].conns.get_mut(&conn) else {
                    self.schedule(self.latency, peer.0, Delivery::Ended { conn: peer.1 });
                    return;
                };
                pipe.peer = Some(peer);
                self.feed(host, Event::Connected { conn });
            }
            Delivery::Bytes { conn, data } => {
                let pipe = self.hosts[host].conns.get_mut(&conn);
                if let Some(pipe) = pipe.filter(|_| !data.is_empty()) {
                    pipe.inbox.push_back(data);
                }
                self.flush(host, conn);
            }
            Delivery::Ended { conn } => {
                if let Some(pipe) = self.hosts[host].conns.get_mut(&conn) {
                    pipe.ended = true;
                }
                self.flush(host, conn);
            }
        }
    }

    /// Hands over what has arrived, as far as credit goes.
    fn flush(&mut self, host: usize, conn: ConnId) {
        loop {
            let chunk = self.chunk;
            let Some(pipe) = self.hosts[host].conns.get_mut(&conn) else {
                return;
            };
            let Some(front) = pipe.inbox.front_mut() else {
                if pipe.ended {
                    self.hosts[host].conns.remove(&conn);
                    self.feed(
                        host,
                        Event::Closed {
                            conn,
                            reason: CloseReason::Remote,
                        },
                    );
                }
                return;
            };
            let len = front.len().min(pipe.credit as usize).min(chunk);
            if len == 0 {
                return;
            }
            let data = front.split_to(len);
            if front.is_empty() {
                pipe.inbox.pop_front();
            }
            pipe.credit -= len as u64;
            self.feed(host, Event::Received { conn, data });
        }
    }

    pub(crate) fn feed(&mut self, host: usize, event: Event) {
        let now = self.now;
        let this = &mut self.hosts[host];
        this.wake = this.engine.handle(now, event, &mut this.buffer);
        this.engine.check();
        if let Wake::At(at, reason) = this.wake {
            assert!(at > now, "a deadline in the past: {reason:?}");
        }
        let actions: Vec<Action> = this.buffer.drain().collect();
        this.actions += actions.len() as u64;
        for action in actions {
            self.perform(host, action);
        }
    }

    fn perform(&mut self, host: usize, action: Action) {
        match action {
            Action::Connect { conn, to, .. } => {
                self.dialled += 1;
                self.hosts[host].conns.insert(conn, Pipe::default());
                if !self.carries_streams {
                    return;
                }
                match self.hosts.iter().position(|other| other.address == to) {
                    Some(other) => {
                        self.schedule(self.latency, other, Delivery::Dial { from: host, conn })
                    }
                    None => {
                        self.hosts[host].conns.remove(&conn);
                        let event = Event::Closed {
                            conn,
                            reason: CloseReason::Refused,
                        };
                        self.schedule(self.latency, host, Delivery::Event(event));
                    }
                }
            }
            Action::Accept { ticket, conn } => {
                let peer = self.hosts[host]
                    .tickets
                    .remove(&ticket)
                    .expect("a ticket once");
                self.hosts[host].conns.insert(
                    conn,
                    Pipe {
                        peer: Some(peer),
                        ..Pipe::default()
                    },
                );
                let established = Delivery::Established {
                    conn: peer.1,
                    peer: (host, conn),
                };
                self.schedule(self.latency, peer.0, established);
            }
            Action::Refuse { ticket } => {
                let (other, conn) = self.hosts[host]
                    .tickets
                    .remove(&ticket)
                    .expect("a ticket once");
                self.hosts[other].conns.remove(&conn);
                let event = Event::Closed {
                    conn,
                    reason: CloseReason::Reset,
                };
                self.schedule(self.latency, other, Delivery::Event(event));
            }
            Action::Send { conn, data } => {
                let len = data.len() as u64;
                let pipe = self.hosts[host]
                    .conns
                    .get(&conn)
                    .expect("sends only while open");
                if let Some((other, theirs)) = pipe.peer {
                    self.schedule(self.latency, other, Delivery::Bytes { conn: theirs, data });
                }
                self.schedule(
                    Duration::from_micros(10),
                    host,
                    Delivery::Event(Event::Sent { conn, len }),
                );
            }
            Action::Read { conn, credit } => {
                if let Some(pipe) = self.hosts[host].conns.get_mut(&conn) {
                    pipe.credit += u64::from(credit);
                }
                // Not at once: the engine is not called from within a call.
                let nothing = Delivery::Bytes {
                    conn,
                    data: Bytes::new(),
                };
                self.schedule(Duration::ZERO, host, nothing);
            }
            Action::Close { conn } => {
                let pipe = self.hosts[host].conns.remove(&conn);
                let event = Event::Closed {
                    conn,
                    reason: CloseReason::Local,
                };
                self.schedule(Duration::ZERO, host, Delivery::Event(event));
                if let Some((other, theirs)) = pipe.and_then(|pipe| pipe.peer) {
                    self.schedule(self.latency, other, Delivery::Ended { conn: theirs });
                }
            }
            Action::Disk { op, job, .. } => {
                let result = OpResult::Disk(self.hosts[host].work(job));
                let took = Duration::from_micros(200);
                self.schedule(took, host, Delivery::Event(Event::Done { op, result }));
            }
            Action::Resolve { op, .. } | Action::Http { op, .. } => {
                let event = Event::Done {
                    op,
                    result: OpResult::Cancelled,
                };
                self.schedule(self.latency, host, Delivery::Event(event));
            }
            Action::Datagram(outbound) => self.send_packets(host, &outbound),
            Action::Cancel { .. } => {}
            Action::Reply { request, result } => {
                let before = self.hosts[host].replies.insert(request, result);
                assert!(before.is_none(), "a request is answered once");
            }
            Action::Notify(notice) => self.hosts[host].notices.push(notice),
        }
    }
}

impl World {
    /// Packets arrive in order, each by itself, unless it is their turn to be lost.
    fn send_packets(&mut self, host: usize, outbound: &Outbound) {
        let from = self.hosts[host].address;
        let to = self
            .hosts
            .iter()
            .position(|other| other.address == outbound.to);
        for data in outbound.packets() {
            self.packets += 1;
            let is_lost = self
                .lost
                .is_some_and(|each| self.packets.is_multiple_of(each));
            if let (Some(to), false) = (to, is_lost || !self.carries_packets) {
                let event = Event::Datagram(Inbound::new(from, data));
                self.schedule(self.latency, to, Delivery::Event(event));
            }
        }
        if outbound.is_counted {
            let len = outbound.data.len() as u64;
            let flushed = Delivery::Event(Event::Flushed { len });
            self.schedule(Duration::from_micros(10), host, flushed);
        }
    }
}

impl Host {
    fn work(&mut self, job: DiskJob) -> Result<DiskDone, DiskError> {
        Ok(match job {
            DiskJob::Open(open) => {
                let pieces = open.metainfo.piece_count();
                let trusted = match &self.resume {
                    Some(resume) if !open.recheck => resume.clone(),
                    _ => Bitfield::new(pieces),
                };
                let mut doubtful = Bitfield::new(pieces);
                for piece in self.disk.keys().filter(|piece| !trusted.contains(**piece)) {
                    doubtful.insert(*piece);
                }
                let partial = match open.recheck {
                    true => Vec::new(),
                    false => self.partial.clone(),
                };
                DiskDone::Opened(Box::new(Opened {
                    trusted,
                    doubtful,
                    partial,
                    ..Opened::default()
                }))
            }
            DiskJob::Verify { piece, digest } => {
                let data = self.disk.get(&piece.get());
                DiskDone::Verified {
                    matches: data.is_some_and(|data| Sha1::digest(data)[..] == digest),
                }
            }
            DiskJob::Store {
                piece,
                digest,
                data,
                blocks,
            } => {
                if let Some(error) = &self.faults.store {
                    return Err(error.clone());
                }
                let mut whole: Vec<u8> = Vec::new();
                for segment in data {
                    match segment {
                        Segment::Memory(bytes) => whole.extend_from_slice(&bytes),
                        Segment::Stored { len } => {
                            let at = whole.len();
                            whole
                                .extend_from_slice(&self.disk[&piece.get()][at..at + len as usize]);
                        }
                    }
                }
                let digests = || {
                    whole
                        .chunks(16 * 1024)
                        .map(|block| Sha1::digest(block).into())
                        .collect()
                };
                if Sha1::digest(&whole)[..] != digest {
                    return Ok(DiskDone::Mismatched { blocks: digests() });
                }
                let blocks = blocks.then(digests);
                self.disk.insert(piece.get(), whole);
                DiskDone::Stored { blocks }
            }
            DiskJob::Write { piece, begin, data } => {
                let length = self.piece_length;
                let stored = self
                    .disk
                    .entry(piece.get())
                    .or_insert_with(|| vec![0; length]);
                let mut at = begin as usize;
                for chunk in data {
                    stored[at..at + chunk.len()].copy_from_slice(&chunk);
                    at += chunk.len();
                }
                DiskDone::Written
            }
            DiskJob::Read { piece, begin, len } => {
                let from = begin as usize;
                let mut data = self.disk[&piece.get()][from..from + len as usize].to_vec();
                if self.faults.corrupt.contains(&piece.get()) {
                    data[0] ^= 1;
                }
                DiskDone::Read { data: data.into() }
            }
            DiskJob::Select { .. } => DiskDone::Selected,
            DiskJob::Trim { .. } => DiskDone::Trimmed { cut: false },
            DiskJob::Checkpoint { have, partial, .. } => {
                if let Some(error) = &self.faults.checkpoint {
                    return Err(error.clone());
                }
                self.resume = Some(have);
                self.partial = partial;
                DiskDone::Checkpointed
            }
            DiskJob::Probe { .. } => match &self.faults.store {
                Some(error) if !self.faults.blind => return Err(error.clone()),
                Some(_) | None => DiskDone::Usable,
            },
            DiskJob::Close | DiskJob::Remove { .. } => DiskDone::Closed,
        })
    }
}

/// The default configuration, changed.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}
