//! What an engine does most, without anything around it: the same work for counts of instructions and
//! of allocations, and for time.
//!
//! The peers are scripts; all that they prepare stays outside of [`measured`] calls.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "shared by programs that use a part of it each"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a script looks for some kinds of action among all"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::action::DiskJob;
use anabranch_core::command::AddTorrent;
use anabranch_core::event::{CloseReason, DiskDone, OpResult, Opened};
use anabranch_core::id::{ConnId, OpId, RequestId, Ticket};
use anabranch_core::metainfo::Creator;
use anabranch_core::wire::decoder::{Decoder, Limits};
use anabranch_core::wire::{BlockRequest, Handshake, Message, PeerId, Reserved};
use anabranch_core::{Action, Actions, Bitfield, Command, Config, Engine, Event, Instant};
use anabranch_core::{Seed, UnixTime, Wake};
use bytes::{Bytes, BytesMut};

const BLOCK: u32 = 16 << 10;

/// The one way into the engine: whoever measures counts what happens within.
#[inline(never)]
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
    probe::enter();
    let result = work();
    probe::leave();
    result
}

/// Told when measured work begins and ends on this thread.
pub mod probe {
    use std::cell::Cell;

    thread_local! {
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }

    pub fn enter() {
        INSIDE.set(true);
    }

    pub fn leave() {
        INSIDE.set(false);
    }

    /// Whether measured work is under way.
    pub fn is_inside() -> bool {
        INSIDE.try_with(Cell::get).unwrap_or(false)
    }
}

/// Time that goes into measured work of this thread. It is taken outside of [`measured`], so that it
/// counts for nobody else.
pub mod clock {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        static RUNNING: Cell<bool> = const { Cell::new(false) };
        static SPENT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    /// Turns the clock on or off.
    pub fn turn(on: bool) {
        RUNNING.set(on);
    }

    /// What was spent since this was last asked, and in how many calls.
    pub fn take() -> (Duration, u64) {
        (SPENT.take(), CALLS.take())
    }

    /// Counts what `work` takes, if the clock is on.
    pub fn time<T>(work: impl FnOnce() -> T) -> T {
        if !RUNNING.get() {
            return work();
        }
        let begin = Instant::now();
        let result = work();
        SPENT.set(SPENT.get() + begin.elapsed());
        CALLS.set(CALLS.get() + 1);
        result
    }

    /// Does what is not part of a unit, without the clock.
    pub fn aside<T>(work: impl FnOnce() -> T) -> T {
        let was = RUNNING.replace(false);
        let result = work();
        RUNNING.set(was);
        result
    }
}

/// Work of one kind, in units that can be counted.
pub trait Workload {
    /// Does so many units.
    fn run(&mut self, units: u32);
}

/// An engine with one torrent.
struct Rig {
    engine: Engine,
    now: Instant,
    wake: Wake,
    actions: Actions,
    info_hash: [u8; 20],
    tickets: u64,
}

impl Rig {
    fn new(pieces: u32, piece_length: u32, seed: bool) -> Self {
        let mut config = Config::default();
        config.max_connections_per_torrent = 1_000;
        config.max_connections = 1_000;
        let mut rig = Self {
            engine: Engine::new(config, Seed([1; 32]), Instant::ZERO, UnixTime(0)),
            now: Instant::ZERO,
            wake: Wake::Idle,
            actions: Actions::new(),
            info_hash: [0; 20],
            tickets: 0,
        };
        rig.info_hash = rig.add("file", pieces, piece_length, seed);
        rig
    }

    fn add(&mut self, name: &str, pieces: u32, piece_length: u32, seed: bool) -> [u8; 20] {
        let length = u64::from(pieces) * u64::from(piece_length);
        let creator = Creator::single_file(name, length).with_piece_length(piece_length);
        let hashes = vec![7; pieces as usize * 20];
        let creation = creator.finish(&hashes).expect("a torrent");
        let add = AddTorrent {
            metainfo: creation.torrent,
            ..AddTorrent::default()
        };
        self.feed(Event::Command {
            request: RequestId(1),
            command: Box::new(Command::AddTorrent(add)),
        });
        let open = self.drain().into_iter().find_map(|action| match action {
            Action::Disk {
                op,
                job: DiskJob::Open(_),
                ..
            } => Some(op),
            _ => None,
        });
        let mut trusted = if seed {
            Bitfield::full(pieces)
        } else {
            Bitfield::new(pieces)
        };
        // The first piece is fetched by lot; what comes after it is what counts.
        trusted.insert(0);
        let opened = Opened {
            trusted,
            doubtful: Bitfield::new(pieces),
            ..Opened::default()
        };
        self.done(
            open.expect("storage is opened"),
            DiskDone::Opened(Box::new(opened)),
        );
        *creation.metainfo.info_hash().as_bytes()
    }

    fn feed(&mut self, event: Event) {
        let (engine, now, actions) = (&mut self.engine, self.now, &mut self.actions);
        self.wake = clock::time(|| measured(|| engine.handle(now, event, actions)));
    }

    fn done(&mut self, op: OpId, done: DiskDone) {
        let result = OpResult::Disk(Ok(done));
        self.feed(Event::Done { op, result });
    }

    fn drain(&mut self) -> Vec<Action> {
        self.actions.drain().collect()
    }

    /// Lets time pass, with a tick when one is due.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if let Wake::At(at, _) = self.wake
            && at <= self.now
        {
            self.feed(Event::Tick);
        }
    }

    /// A peer dials in and shakes hands.
    fn peer(&mut self, number: u32) -> ConnId {
        self.tickets += 1;
        let [_, a, b, c] = number.to_be_bytes();
        self.feed(Event::Incoming {
            ticket: Ticket(self.tickets),
            from: SocketAddr::new([10, a, b, c + 1].into(), 5000),
        });
        let accepted = self.drain().into_iter().find_map(|action| match action {
            Action::Accept { conn, .. } => Some(conn),
            _ => None,
        });
        let conn = accepted.expect("it is welcome");
        let mut peer_id = [7; 20];
        peer_id[..4].copy_from_slice(&number.to_be_bytes());
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true),
            info_hash: self.info_hash,
            peer_id: PeerId(peer_id),
        };
        self.receive(conn, Bytes::copy_from_slice(&handshake.encode()));
        conn
    }

    fn say(&mut self, conn: ConnId, message: &Message) {
        let mut data = BytesMut::new();
        message.encode(&mut data);
        self.receive(conn, data.freeze());
    }

    fn receive(&mut self, conn: ConnId, data: Bytes) {
        self.feed(Event::Received { conn, data });
    }
}

/// What was sent to one peer, cut into messages.
#[derive(Default)]
struct Stream {
    greeted: bool,
    rest: Vec<u8>,
}

impl Stream {
    /// Calls `see` with the id and the payload of every message that is complete.
    fn take(&mut self, data: &[u8], mut see: impl FnMut(u8, &[u8])) {
        self.rest.extend_from_slice(data);
        let mut at = 0;
        if !self.greeted && self.rest.len() >= 68 {
            (self.greeted, at) = (true, 68);
        }
        while self.greeted
            && let Some((head, body)) = self.rest[at..].split_first_chunk::<4>()
        {
            let len = u32::from_be_bytes(*head) as usize;
            let Some(message) = body.get(..len) else {
                break;
            };
            if let Some((id, payload)) = message.split_first() {
                see(*id, payload);
            }
            at += 4 + len;
        }
        self.rest.drain(..at);
    }
}

/// A download from one seed; a unit is a block, from its arrival to the answer of the disk.
pub struct Download {
    rig: Rig,
    conn: ConnId,
    stream: Stream,
    requests: VecDeque<BlockRequest>,
    payload: Vec<u8>,
}

impl Download {
    pub fn new() -> Self {
        let mut rig = Rig::new(16_384, 256 << 10, false);
        let conn = rig.peer(0);
        rig.say(conn, &Message::HaveAll);
        rig.say(conn, &Message::Unchoke);
        let mut download = Self {
            rig,
            conn,
            stream: Stream::default(),
            requests: VecDeque::new(),
            payload: vec![0; BLOCK as usize],
        };
        download.perform();
        download
    }

    fn perform(&mut self) {
        for action in self.rig.drain() {
            match action {
                Action::Send { conn, data } => {
                    let len = data.len() as u64;
                    self.stream.take(&data, |id, payload| {
                        if let (6, Ok(request)) = (id, <[u8; 12]>::try_from(payload)) {
                            let word = |at: usize| {
                                u32::from_be_bytes([
                                    request[at],
                                    request[at + 1],
                                    request[at + 2],
                                    request[at + 3],
                                ])
                            };
                            self.requests.push_back(BlockRequest {
                                piece: word(0),
                                begin: word(4),
                                len: word(8),
                            });
                        }
                    });
                    self.rig.feed(Event::Sent { conn, len });
                }
                Action::Disk { op, job, .. } => match job {
                    DiskJob::Store { .. } => {
                        self.rig.done(op, DiskDone::Stored { blocks: None });
                    }
                    DiskJob::Checkpoint { .. } => self.rig.done(op, DiskDone::Checkpointed),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

impl Workload for Download {
    fn run(&mut self, units: u32) {
        let mut left = units;
        while left > 0 {
            // As a socket would give them: some blocks together.
            let mut data = BytesMut::new();
            let mut count = 0;
            while count < left.min(4) {
                let request = self.requests.pop_front().expect("a request is open");
                let len = 9 + request.len;
                data.extend_from_slice(&len.to_be_bytes());
                data.extend_from_slice(&[7]);
                data.extend_from_slice(&request.piece.to_be_bytes());
                data.extend_from_slice(&request.begin.to_be_bytes());
                data.extend_from_slice(&self.payload[..request.len as usize]);
                count += 1;
            }
            left -= count;
            self.rig.pass(Duration::from_micros(20) * count);
            // A driver's buffers are shared from the start; so is this one, once it has been cloned.
            let data = data.freeze();
            let _shared = data.clone();
            self.rig.receive(self.conn, data);
            // Answers beget requests, and requests nothing but bytes that were sent.
            self.perform();
            self.perform();
        }
    }
}

/// An upload to one peer; a unit is a block, from its request to its last byte.
pub struct Upload {
    rig: Rig,
    conn: ConnId,
    next: u32,
    block: Bytes,
}

impl Upload {
    const PIECES: u32 = 16_384;
    const PIECE: u32 = 256 << 10;
    /// Requests that come together.
    const BATCH: u32 = 8;

    pub fn new() -> Self {
        let mut rig = Rig::new(Self::PIECES, Self::PIECE, true);
        let conn = rig.peer(0);
        rig.say(conn, &Message::HaveNone);
        rig.say(conn, &Message::Interested);
        let mut upload = Self {
            rig,
            conn,
            next: 0,
            block: Bytes::from(vec![0; 256 << 10]),
        };
        upload.perform();
        upload
    }

    /// Says how many bytes were sent.
    fn perform(&mut self) -> u64 {
        let mut sent = 0;
        for action in self.rig.drain() {
            match action {
                Action::Send { conn, data } => {
                    let len = data.len() as u64;
                    sent += len;
                    self.rig.feed(Event::Sent { conn, len });
                }
                Action::Disk { op, job, .. } => match job {
                    DiskJob::Read { len, .. } => {
                        let data = self.block.slice(..len as usize);
                        self.rig.done(op, DiskDone::Read { data });
                    }
                    DiskJob::Checkpoint { .. } => self.rig.done(op, DiskDone::Checkpointed),
                    _ => {}
                },
                _ => {}
            }
        }
        sent
    }
}

impl Workload for Upload {
    fn run(&mut self, units: u32) {
        let mut left = units;
        while left > 0 {
            let mut data = BytesMut::new();
            let count = left.min(Self::BATCH);
            for _ in 0..count {
                let at = u64::from(self.next) * u64::from(BLOCK);
                let piece = (at / u64::from(Self::PIECE)) as u32 % Self::PIECES;
                let begin = (at % u64::from(Self::PIECE)) as u32;
                let len = BLOCK;
                Message::Request(BlockRequest { piece, begin, len }).encode(&mut data);
                self.next += 1;
            }
            left -= count;
            self.rig.pass(Duration::from_micros(20) * count);
            let data = data.freeze();
            let _shared = data.clone();
            self.rig.receive(self.conn, data);
            let mut sent = 0;
            // The disk answers, and what it read goes out.
            for _ in 0..3 {
                sent += self.perform();
            }
            assert!(sent >= u64::from(count * BLOCK), "every request is served");
        }
    }
}

/// A peer that gets one piece after the other; a unit is a `have`.
pub struct Have {
    rig: Rig,
    conn: ConnId,
    next: u32,
}

impl Have {
    pub fn new() -> Self {
        let mut rig = Rig::new(200_000, BLOCK, false);
        let conn = rig.peer(0);
        rig.say(conn, &Message::HaveNone);
        rig.drain();
        Self { rig, conn, next: 0 }
    }
}

impl Workload for Have {
    fn run(&mut self, units: u32) {
        for _ in 0..units {
            let message = Message::Have(self.next);
            self.next += 1;
            self.rig.say(self.conn, &message);
            self.rig.actions.drain().for_each(drop);
        }
    }
}

/// A peer among fifty that chokes and unchokes us, in a torrent of a hundred thousand pieces; a unit is a
/// request that is chosen.
pub struct Pick {
    rig: Rig,
    conn: ConnId,
    stream: Stream,
}

impl Pick {
    const PIECES: u32 = 100_000;

    pub fn new() -> Self {
        let mut rig = Rig::new(Self::PIECES, 256 << 10, false);
        let mut state = 1_u32;
        for number in 1..50 {
            let conn = rig.peer(number);
            let mut have = Bitfield::new(Self::PIECES);
            for piece in 0..Self::PIECES {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 31 == 0 {
                    have.insert(piece);
                }
            }
            rig.say(conn, &Message::Bitfield(have.to_wire()));
        }
        let conn = rig.peer(0);
        let mut stream = Stream::default();
        rig.say(conn, &Message::HaveAll);
        for action in rig.drain() {
            if let Action::Send { conn: to, data } = action
                && to == conn
            {
                stream.take(&data, |_, _| {});
            }
        }
        // The peer's handshake was sent among its first messages.
        stream.greeted = true;
        Self { rig, conn, stream }
    }
}

impl Workload for Pick {
    fn run(&mut self, units: u32) {
        let mut left = units;
        while left > 0 {
            self.rig.say(self.conn, &Message::Unchoke);
            let mut asked = 0;
            let mut cancelled = BytesMut::new();
            for action in self.rig.drain() {
                if let Action::Send { conn, data } = action
                    && conn == self.conn
                {
                    self.stream.take(&data, |id, payload| {
                        if id == 6 {
                            asked += 1;
                            let word = |at: usize| {
                                payload[at..at + 4]
                                    .iter()
                                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
                            };
                            let request = BlockRequest {
                                piece: word(0),
                                begin: word(4),
                                len: word(8),
                            };
                            Message::Reject(request).encode(&mut cancelled);
                        }
                    });
                    let len = data.len() as u64;
                    self.rig.feed(Event::Sent { conn, len });
                }
            }
            assert!(asked > 0, "there is always something to ask for");
            left = left.saturating_sub(asked);
            self.rig.say(self.conn, &Message::Choke);
            self.rig.receive(self.conn, cancelled.freeze());
            self.rig.actions.drain().for_each(drop);
            self.rig.pass(Duration::from_millis(1));
        }
    }
}

/// A thousand torrents with nothing to do; a unit is a second.
pub struct Idle {
    rig: Rig,
}

impl Idle {
    pub fn new() -> Self {
        let mut rig = Rig::new(100, BLOCK, true);
        for number in 1..1_000 {
            rig.add(&format!("file {number}"), 100, BLOCK, true);
        }
        rig.actions.drain().for_each(drop);
        Self { rig }
    }
}

impl Workload for Idle {
    fn run(&mut self, units: u32) {
        let end = self.rig.now + Duration::from_secs(units.into());
        while let Wake::At(at, _) = self.rig.wake
            && at <= end
        {
            self.rig.now = at;
            self.rig.feed(Event::Tick);
            self.rig.actions.drain().for_each(drop);
        }
        self.rig.now = end;
    }
}

/// A thousand torrents with a peer each that says nothing; a unit is a tick, once in a millisecond,
/// whether something is due or not.
pub struct Ticks {
    rig: Rig,
}

impl Ticks {
    pub fn new() -> Self {
        let mut rig = Rig::new(100, BLOCK, true);
        for number in 0..1_000 {
            if number > 0 {
                rig.info_hash = rig.add(&format!("file {number}"), 100, BLOCK, true);
            }
            let conn = rig.peer(number);
            rig.say(conn, &Message::HaveNone);
        }
        rig.actions.drain().for_each(drop);
        Self { rig }
    }
}

impl Workload for Ticks {
    fn run(&mut self, units: u32) {
        for _ in 0..units {
            self.rig.now = self.rig.now + Duration::from_millis(1);
            self.rig.feed(Event::Tick);
            self.rig.actions.drain().for_each(drop);
        }
    }
}

/// A torrent of a hundred thousand pieces, with five hundred peers that have from none to nearly all of
/// them.
struct Crowd {
    rig: Rig,
    peers: Vec<(ConnId, Bitfield)>,
    /// For the next peer's address.
    number: u32,
    state: u32,
}

impl Crowd {
    const PIECES: u32 = 100_000;
    const PEERS: u32 = 500;

    fn new() -> Self {
        let mut crowd = Self {
            rig: Rig::new(Self::PIECES, BLOCK, false),
            peers: Vec::new(),
            number: 0,
            state: 1,
        };
        for peer in 0..Self::PEERS {
            let map = crowd.some(peer % 100);
            let conn = crowd.join(&map);
            crowd.peers.push((conn, map));
        }
        crowd
    }

    /// So many of a hundred pieces, by lot.
    fn some(&mut self, percent: u32) -> Bitfield {
        let mut map = Bitfield::new(Self::PIECES);
        for piece in 0..Self::PIECES {
            self.state = self
                .state
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            if (self.state >> 16) % 100 < percent {
                map.insert(piece);
            }
        }
        map
    }

    fn connect(&mut self) -> ConnId {
        self.number += 1;
        // No address ends in 0 or 255.
        self.rig
            .peer(self.number / 200 % 60_000 * 256 + self.number % 200)
    }

    fn join(&mut self, map: &Bitfield) -> ConnId {
        let conn = self.connect();
        self.rig.say(conn, &Message::Bitfield(map.to_wire()));
        conn
    }

    fn leave(&mut self, conn: ConnId) {
        self.rig.feed(Event::Closed {
            conn,
            reason: CloseReason::Remote,
        });
        self.rig.actions.drain().for_each(drop);
    }
}

/// The [`Crowd`] gets pieces; a unit is a `have`.
pub struct CrowdHave {
    crowd: Crowd,
    next: usize,
}

impl CrowdHave {
    pub fn new() -> Self {
        let crowd = Crowd::new();
        Self { crowd, next: 0 }
    }
}

impl Workload for CrowdHave {
    fn run(&mut self, units: u32) {
        let mut left = units;
        while left > 0 {
            // Each peer in turn, and pieces that stand apart from each other.
            let peers = self.crowd.peers.len();
            let piece = (self.next / peers) as u32 * 7_919 % Crowd::PIECES;
            let (conn, map) = &mut self.crowd.peers[self.next % peers];
            let conn = *conn;
            let is_new = map.insert(piece);
            self.next += 1;
            if is_new {
                self.crowd.rig.say(conn, &Message::Have(piece));
                self.crowd.rig.actions.drain().for_each(drop);
                left -= 1;
            }
        }
    }
}

/// A peer with half of the pieces comes to the [`Crowd`] and goes; a unit is its map, or its end.
pub struct CrowdChurn {
    crowd: Crowd,
    map: Bitfield,
    /// Whether the coming is measured, or the going.
    coming: bool,
}

impl CrowdChurn {
    pub fn new(coming: bool) -> Self {
        let mut crowd = Crowd::new();
        let map = crowd.some(50);
        Self { crowd, map, coming }
    }
}

impl Workload for CrowdChurn {
    fn run(&mut self, units: u32) {
        let map = Message::Bitfield(self.map.to_wire());
        for _ in 0..units {
            let conn = clock::aside(|| self.crowd.connect());
            let crowd = &mut self.crowd;
            if self.coming {
                crowd.rig.say(conn, &map);
                clock::aside(|| crowd.leave(conn));
            } else {
                clock::aside(|| crowd.rig.say(conn, &map));
                crowd.leave(conn);
            }
        }
    }
}

/// The decoder of the peer wire; a unit is a block and a `have` in front of it.
pub struct Decode {
    decoder: Decoder,
    input: Bytes,
}

impl Decode {
    pub fn new() -> Self {
        let mut input = BytesMut::new();
        Message::Have(7).encode(&mut input);
        input.extend_from_slice(&(9 + BLOCK).to_be_bytes());
        input.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0, 0]);
        input.extend_from_slice(&vec![0; BLOCK as usize]);
        Self {
            decoder: Decoder::new(Limits {
                max_block: BLOCK,
                max_bitfield: 1_000,
                max_extended: 1_000,
            }),
            input: input.freeze(),
        }
    }
}

impl Workload for Decode {
    fn run(&mut self, units: u32) {
        for _ in 0..units {
            let mut input = self.input.clone();
            let decoder = &mut self.decoder;
            let frames = clock::time(|| {
                measured(|| {
                    let mut frames = 0;
                    while let Ok(Some(frame)) = decoder.decode(&mut input) {
                        std::hint::black_box(frame);
                        frames += 1;
                    }
                    frames
                })
            });
            assert_eq!(frames, 2);
        }
    }
}
