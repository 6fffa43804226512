//! BEP 29: uTP, streams of bytes over UDP that fill a link and get out of the way of everybody else.
//!
//! [`Utp`] holds all connections of one socket. It opens none and looks at no clock:
//!
//! 1. **Feed it** each datagram that [may be one of uTP](crate::wire::utp::Packet::is_likely) with [`Utp::datagram`], and
//!    the time at which it arrived, best by the kernel's word.
//! 2. **Settle** with [`Utp::settle`] when the batch is through, and when the time has come that [`Utp::deadline`] named.
//!    One acknowledgement answers a batch, and what arrived is handed over in as few slices as it can be.
//! 3. **Transmit** with [`Utp::transmit`] until there is nothing left. A batch is one packet, or several of the same length
//!    to one address, as segmentation offload wants it.
//! 4. **Order**: [`connect`](Utp::connect), [`send`](Utp::send), [`credit`](Utp::credit), [`close`](Utp::close),
//!    [`abort`](Utp::abort), in any order and at any time. Then settle.
//!
//! [`Event`]s are appended to the caller's buffer. Every connection that was made or came in ends in one
//! [`Closed`](Event::Closed).
//!
//! # What it does
//!
//! - Connections both ways, ends in either order or at once, resets; selective acknowledgements both ways; extension bits
//!   and close reasons are read, and unknown extensions skipped.
//! - Losses are found by time, as in RACK (RFC 8985), and the end of what is sent by a probe. Nothing is sent twice for the
//!   same loss. Time-outs follow Karn.
//! - The congestion control is a [trait](congestion::Congestion); [LEDBAT++](congestion) is what it is unless another
//!   is given. Packets are paced.
//! - The longest packet of a path is found by trying, and black holes are survived. A packet that has become too long on
//!   the way is marked as one that [may be fragmented](Transmit::may_fragment), since uTP can't cut it anew.
//! - A SYN costs nothing that lasts: the number that answers it is computed from the address with a secret, and proves with
//!   the first packet that the other end is where it says. A connection is there from then on.
//!
//! # Bounds
//!
//! All of them are in [`limits`] and in [`Config`]. Beside payload, a connection costs some 1.5 kB when it is idle.
//! What it receives ahead of its reader is bounded by a window that begins with 1 MiB and grows by what the reader takes;
//! what it has under way by the congestion window, which only acknowledged bytes let grow; both by what all connections
//! together may keep.
//!
//! A mask of selective acknowledgements speaks of 2,016 packets at most, since BEP 29 gives it a length of one byte. With
//! more under way, some 2.8 MB, a loss stops a connection for a round trip sooner or later.
//!
//! # Two ends in virtual time
//!
//! ```
//! use anabranch_core::transport::utp::{Config, Event, Utp};
//! use anabranch_core::{Instant, Seed};
//! use bytes::Bytes;
//!
//! let addresses = ["192.0.2.1:6881".parse()?, "192.0.2.2:6881".parse()?];
//! let mut ends = [1, 2].map(|seed| Utp::new(Config::default(), Seed([seed; 32])));
//! let mut now = Instant::from_millis(1);
//! let mut events = Vec::new();
//!
//! let stream = ends[0].connect(now, addresses[1]).expect("there is room");
//! let text = Bytes::from(vec![b'x'; 100_000]);
//! ends[0].send(stream, text.clone()).expect("it fits");
//! ends[0].close(now, stream);
//!
//! let (mut got, mut closed) = (Vec::new(), 0);
//! let (mut batch, mut wires) = (Vec::new(), [Vec::new(), Vec::new()]);
//! while closed < 2 {
//!     for at in 0..2 {
//!         // What the other one sent 10 ms ago.
//!         for packet in wires[at].drain(..) {
//!             let packet: Vec<u8> = packet;
//!             ends[at].datagram(now, addresses[1 - at], &packet, now, &mut events);
//!         }
//!         ends[at].settle(now, &mut events);
//!         while let Some(transmit) = ends[at].transmit(now, &mut batch, &mut events) {
//!             wires[1 - at].extend(batch.chunks(transmit.segment).map(<[u8]>::to_vec));
//!         }
//!         for event in events.drain(..) {
//!             match event {
//!                 Event::Incoming { id, .. } => ends[at].credit(id, 1 << 20),
//!                 Event::Readable { bytes, .. } => got.extend_from_slice(&bytes),
//!                 Event::Finished { id } => ends[at].close(now, id),
//!                 Event::Closed { .. } => closed += 1,
//!                 Event::Connected { .. } | Event::Sent { .. } => {}
//!             }
//!         }
//!     }
//!     now = now + core::time::Duration::from_millis(10);
//! }
//! assert_eq!(got, text);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod answers;
pub mod congestion;
mod conn;
mod delay;
pub mod limits;
mod mtu;
mod pacing;
mod receive;
mod send;
mod vocabulary;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

pub use self::vocabulary::{
    CloseReason, Config, ConnectError, ConnectionStats, Event, Icmp, SendError, Stats, Transmit,
    UtpId,
};

use self::answers::{Answers, Greeting, Way};
use self::conn::{Connection, Lent};
use self::limits::{
    FLOOR_V4, FLOOR_V6, MAX_PER_ADDRESS, OVERHEAD_V4, OVERHEAD_V6, TIMERS_PER_CALL,
};
use crate::id::SocketId;
use crate::rng::{Rng, Seed};
use crate::slab::Slab;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::utp::{Header, Kind, Packet};

/// The least, the first and the longest UDP payload on the way to an address.
fn sizes(addr: SocketAddr, config: &Config) -> (u16, u16, u16) {
    let (overhead, floor) = if addr.ip().to_canonical().is_ipv4() {
        (OVERHEAD_V4, FLOOR_V4)
    } else {
        (OVERHEAD_V6, FLOOR_V6)
    };
    let most = config.link_mtu.clamp(floor, 9_000) - overhead;
    (floor - overhead, FLOOR_V6 - overhead, most)
}

/// All uTP connections of one socket: see the [module](self).
#[derive(Debug)]
pub struct Utp {
    config: Config,
    rng: Rng,
    connections: Slab<UtpId, Connection>,
    /// By the other end's address and the id that its packets carry.
    by_key: BTreeMap<(SocketAddr, u16), UtpId>,
    timers: Timers<UtpId>,
    /// Those that something happened to since they were settled.
    touched: Vec<UtpId>,
    /// Those that have something to transmit.
    ready: VecDeque<UtpId>,
    answers: Answers,
    /// Bytes that all connections keep of what they received, and have under way.
    received: u64,
    sent: u64,
    /// Work that was left for the next call.
    is_behind: bool,
    stats: Stats,
}

impl Utp {
    /// No connections yet. What is drawn by chance follows from the seed, which nobody else may know.
    #[must_use]
    pub fn new(config: Config, seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            answers: Answers::new(&mut rng),
            config,
            rng,
            connections: Slab::default(),
            by_key: BTreeMap::new(),
            timers: Timers::default(),
            touched: Vec::new(),
            ready: VecDeque::new(),
            received: 0,
            sent: 0,
            is_behind: false,
            stats: Stats::default(),
        }
    }

    /// Begins a connection. Bytes may be sent at once; they leave when it is there.
    ///
    /// # Errors
    ///
    /// If there are too many already, or nobody can be at the address.
    pub fn connect(&mut self, now: Instant, to: SocketAddr) -> Result<UtpId, ConnectError> {
        if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
            return Err(ConnectError::NoAddress);
        }
        self.has_room(to)?;
        // Few of 65,536 ids are taken at one address, so one of these is free.
        let mut local = self.rng.u32() as u16;
        while self.by_key.contains_key(&(to, local))
            || self.by_key.contains_key(&(to, local.wrapping_add(1)))
        {
            local = local.wrapping_add(2);
        }
        let syn = self.rng.u32() as u16;
        let id = self.insert(Connection::connect(to, local, syn, now, &self.config));
        self.touch(id);
        Ok(id)
    }

    /// Takes a datagram that arrived from an address at a time, which may be earlier than now. What is no packet of uTP is
    /// counted and ignored.
    pub fn datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        arrived_at: Instant,
        events: &mut Vec<Event>,
    ) {
        self.datagram_by(now, (from, None), datagram, arrived_at, events);
    }

    /// The same, for a datagram that came by one of several sockets. What answers it, and all that a connection sends
    /// from its first packet from there on, goes out by the same one.
    pub fn datagram_by(
        &mut self,
        now: Instant,
        way: (SocketAddr, Option<SocketId>),
        datagram: &[u8],
        arrived_at: Instant,
        events: &mut Vec<Event>,
    ) {
        let (from, socket) = way;
        let Ok(packet) = Packet::decode(datagram) else {
            self.stats.malformed += 1;
            return;
        };
        let header = packet.header;
        let arrived_at = arrived_at.min(now);
        // A SYN carries the id of its sender; packets to us will carry the next one.
        let local = match header.kind {
            Kind::Syn => header.connection.wrapping_add(1),
            Kind::Data | Kind::Fin | Kind::State | Kind::Reset => header.connection,
        };
        if let Some(id) = self.by_key.get(&(from, local)).copied() {
            if let Some(conn) = self.connections.get_mut(id) {
                conn.socket = conn.socket.or(socket);
            }
            self.feed(now, id, arrived_at, &packet, events);
        } else {
            match header.kind {
                Kind::Syn => self.greeted(now, way, &header),
                Kind::Reset => self.reset_by_other_id(from, &header),
                Kind::Data | Kind::Fin | Kind::State => {
                    self.stranger(now, way, arrived_at, &packet, events);
                }
            }
        }
    }

    /// Has bytes sent.
    ///
    /// # Errors
    ///
    /// If the connection is closed, or too much waits already: then nothing of it is taken.
    pub fn send(&mut self, id: UtpId, bytes: Bytes) -> Result<(), SendError> {
        let max = self.config.send_queue;
        let conn = self
            .connections
            .get_mut(id)
            .filter(|conn| !conn.is_closing());
        let conn = conn.ok_or(SendError::Closed)?;
        if conn.unsent() > 0 && conn.unsent() + bytes.len() as u64 > u64::from(max) {
            return Err(SendError::Full { max });
        }
        conn.send(bytes);
        self.touch(id);
        Ok(())
    }

    /// Lets so many more bytes be handed over.
    pub fn credit(&mut self, id: UtpId, bytes: u64) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.give(bytes);
            self.touch(id);
        }
    }

    /// Ends a connection once what waits has arrived. What the other end still sends is not handed over any more.
    pub fn close(&mut self, now: Instant, id: UtpId) {
        if let Some(conn) = self.connections.get_mut(id) {
            conn.close(now);
            self.touch(id);
        }
    }

    /// Ends a connection at once.
    pub fn abort(&mut self, now: Instant, id: UtpId) {
        if let Some(conn) = self.connections.get_mut(id) {
            if conn.is_open {
                let farewell = conn.farewell(now);
                let way = (conn.addr, conn.socket);
                self.stats.unanswered += u64::from(!self.answers.push(way, farewell));
            }
            conn.ended = Some(CloseReason::Aborted);
            self.touch(id);
        }
    }

    /// Takes what the network says of datagrams to an address.
    pub fn icmp(&mut self, to: SocketAddr, what: Icmp) {
        for id in self.at_address(to) {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            match what {
                Icmp::Unreachable => conn.unreachable(),
                Icmp::TooBig(mtu) => {
                    let overhead = if to.ip().to_canonical().is_ipv4() {
                        OVERHEAD_V4
                    } else {
                        OVERHEAD_V6
                    };
                    conn.too_big(mtu.saturating_sub(overhead));
                }
            }
            self.touch(id);
        }
    }

    /// Does what is due, and hands over what has arrived.
    pub fn settle(&mut self, now: Instant, events: &mut Vec<Event>) {
        let mut fired = 0;
        while fired < TIMERS_PER_CALL
            && let Some(id) = self.timers.pop_due(now)
        {
            fired += 1;
            self.touch(id);
        }
        self.is_behind = fired == TIMERS_PER_CALL;
        self.settle_touched(now, events);
    }

    /// Writes the next datagrams to send into the buffer, in place of what was there; `None` when there is nothing more for
    /// now.
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        events: &mut Vec<Event>,
    ) -> Option<Transmit> {
        out.clear();
        self.settle_touched(now, events);
        if let Some(((to, socket), mut header)) = self.answers.pop() {
            header.timestamp = delay::micros(now);
            header.encode(&[], out);
            return Some(Transmit {
                to,
                id: None,
                socket,
                segment: out.len(),
                may_fragment: false,
            });
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            conn.queued = false;
            let before = conn.kept();
            let mut lent = Self::lend(&self.config, now, id, self.received, self.sent, events);
            let transmit = conn.transmit(&mut lent, out);
            let after = conn.kept();
            self.account(before, after);
            self.schedule(now, id);
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    /// When to call [`settle`](Self::settle) and [`transmit`](Self::transmit) next if nothing else happens; `None` if
    /// nothing ever does. It may be in the past, which is at once.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if !self.ready.is_empty() || !self.answers.is_empty() {
            return Some(Instant::ZERO);
        }
        self.deadline_while_full()
    }

    /// When to call [`settle`](Self::settle) next while the network takes nothing, so that [`transmit`](Self::transmit) has
    /// to wait.
    #[must_use]
    pub fn deadline_while_full(&self) -> Option<Instant> {
        if self.is_behind || !self.touched.is_empty() {
            return Some(Instant::ZERO);
        }
        self.timers.next().map(|(at, _)| at)
    }

    /// How a connection fares.
    #[must_use]
    pub fn connection(&self, id: UtpId) -> Option<ConnectionStats> {
        self.connections.get(id).map(Connection::stats)
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.len() == 0
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Bytes that all connections keep: of what they received, and of what they have under way.
    #[must_use]
    pub const fn memory(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    fn has_room(&self, addr: SocketAddr) -> Result<(), ConnectError> {
        let max = self.config.max_connections;
        if self.connections.len() >= max {
            return Err(ConnectError::TooMany { max });
        }
        if self.at_address(addr).len() >= MAX_PER_ADDRESS {
            return Err(ConnectError::TooManyToAddress);
        }
        Ok(())
    }

    fn at_address(&self, addr: SocketAddr) -> Vec<UtpId> {
        let range = self.by_key.range((addr, 0)..=(addr, u16::MAX));
        range.take(MAX_PER_ADDRESS).map(|(_, id)| *id).collect()
    }

    fn insert(&mut self, conn: Connection) -> UtpId {
        let key = (conn.addr, conn.local);
        let id = self.connections.insert(conn);
        self.by_key.insert(key, id);
        id
    }

    /// What a connection may look at, and write to.
    fn lend<'a>(
        config: &'a Config,
        now: Instant,
        id: UtpId,
        received: u64,
        sent: u64,
        events: &'a mut Vec<Event>,
    ) -> Lent<'a> {
        Lent {
            now,
            id,
            receive_room: config.receive_memory.saturating_sub(received),
            send_room: config.send_memory.saturating_sub(sent),
            config,
            events,
        }
    }

    fn feed(
        &mut self,
        now: Instant,
        id: UtpId,
        arrived_at: Instant,
        packet: &Packet<'_>,
        events: &mut Vec<Event>,
    ) {
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        let before = conn.kept();
        let mut lent = Self::lend(&self.config, now, id, self.received, self.sent, events);
        conn.packet(&mut lent, arrived_at, packet);
        let after = conn.kept();
        self.account(before, after);
        self.touch(id);
    }

    fn account(&mut self, before: (u64, u64), after: (u64, u64)) {
        self.received = self.received + after.0 - before.0;
        self.sent = self.sent + after.1 - before.1;
    }

    /// Somebody wants to connect.
    fn greeted(&mut self, now: Instant, way: Way, header: &Header) {
        self.stats.syns += 1;
        if !self.config.accept {
            self.refuse(now, way, header);
            return;
        }
        let is_taken = self.answers.greet(now, way, header);
        self.stats.unanswered += u64::from(!is_taken);
    }

    /// A packet of a connection that is not there: the first one of a new one, one that did not hear of the end, or a stray.
    fn stranger(
        &mut self,
        now: Instant,
        way: Way,
        arrived_at: Instant,
        packet: &Packet<'_>,
        events: &mut Vec<Event>,
    ) {
        let header = &packet.header;
        let (from, socket) = way;
        match self.answers.recognise(now, way, header) {
            Greeting::New { syn, first } if self.config.accept && self.has_room(from).is_ok() => {
                let local = header.connection;
                let mut conn = Connection::accept(from, local, syn, first, now, &self.config);
                conn.socket = socket;
                let id = self.insert(conn);
                events.push(Event::Incoming { id, from });
                self.feed(now, id, arrived_at, packet, events);
            }
            Greeting::Ended => {}
            Greeting::New { .. } | Greeting::Unknown => {
                self.stats.strays += 1;
                self.refuse(now, way, header);
            }
        }
    }

    fn refuse(&mut self, now: Instant, way: Way, header: &Header) {
        self.stats.unanswered += u64::from(!self.answers.refuse(now, way, header));
    }

    /// Resets may carry the id that our packets carry: that is all that a stranger knows of a connection.
    fn reset_by_other_id(&mut self, from: SocketAddr, header: &Header) {
        for local in [
            header.connection.wrapping_sub(1),
            header.connection.wrapping_add(1),
        ] {
            if let Some(id) = self.by_key.get(&(from, local)).copied()
                && let Some(conn) = self.connections.get_mut(id)
                && conn.remote == header.connection
            {
                conn.reset(header);
                self.touch(id);
            }
        }
    }

    fn touch(&mut self, id: UtpId) {
        if let Some(conn) = self.connections.get_mut(id)
            && !conn.touched
        {
            conn.touched = true;
            self.touched.push(id);
        }
    }

    fn settle_touched(&mut self, now: Instant, events: &mut Vec<Event>) {
        let mut touched = core::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            let Some(conn) = self.connections.get_mut(id) else {
                continue;
            };
            conn.touched = false;
            let before = conn.kept();
            if conn.ended.is_none() {
                let mut lent = Self::lend(&self.config, now, id, self.received, self.sent, events);
                conn.settle(&mut lent);
            }
            let after = conn.kept();
            let ended = conn.ended;
            self.account(before, after);
            match ended {
                Some(reason) => self.remove(now, id, reason, events),
                None => self.schedule(now, id),
            }
        }
        // Its memory is used again.
        self.touched = touched;
    }

    fn schedule(&mut self, now: Instant, id: UtpId) {
        let room = self.config.send_memory.saturating_sub(self.sent);
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        if conn.wants_to_transmit(now, room) && !conn.queued {
            conn.queued = true;
            self.ready.push_back(id);
        }
        let at = conn.deadline(now, room);
        self.timers.set_no_later(id, at);
    }

    fn remove(&mut self, now: Instant, id: UtpId, reason: CloseReason, events: &mut Vec<Event>) {
        self.timers.cancel(id);
        let Some(mut conn) = self.connections.remove(id) else {
            return;
        };
        self.by_key.remove(&(conn.addr, conn.local));
        let kept = conn.kept();
        self.account(kept, (0, 0));
        if reason == CloseReason::Finished {
            // The end's acknowledgement may be lost, and then the end comes again.
            let word = conn.last_word(now);
            let way = (conn.addr, conn.socket);
            self.answers.ended(now, way, conn.local, word);
            if conn.owes_acknowledgement() {
                self.stats.unanswered += u64::from(!self.answers.push(way, word));
            }
        }
        events.push(Event::Closed { id, reason });
    }
}
