//! Packets of nobody's: SYNs, what follows them, what comes after the end, and strays. They come from anywhere, so what
//! they cost does not last.
//!
//! The number of our first packet is a digest of the other end's address, of its SYN, and of a secret, so that the packet
//! which acknowledges it proves that it got our answer. What is remembered of SYNs only serves those whose first packets
//! overtake one another.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::{IpAddr, SocketAddr};

use sha1::{Digest, Sha1};

use super::limits::{
    COOKIE_AGE, ENDED_AGE, FIRST_WINDOW, MAX_ANSWERS, MAX_ENDED, MAX_HALF_OPEN, RESETS_PER_SECOND,
};
use crate::id::SocketId;
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::utp::{Header, Kind};

type Place = (SocketAddr, u16);

/// To whom, and by which socket.
pub(super) type Way = (SocketAddr, Option<SocketId>);

/// What a packet of an unknown connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The first one of a new connection.
    New {
        /// The number of its SYN.
        syn: u16,
        /// The number of the packet that the other end waits for.
        first: u16,
    },
    /// One of a connection that has ended; it was answered.
    Ended,
    /// Neither.
    Unknown,
}

/// What is remembered for a while, the oldest of it forgotten first.
#[derive(Debug)]
struct Memory<T> {
    entries: BTreeMap<Place, (u64, T)>,
    order: VecDeque<(Instant, u64, Place)>,
    count: u64,
    most: usize,
}

impl<T: Copy> Memory<T> {
    fn new(most: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: VecDeque::new(),
            count: 0,
            most,
        }
    }

    fn insert(&mut self, now: Instant, place: Place, value: T) {
        self.count += 1;
        self.entries.insert(place, (self.count, value));
        self.order.push_back((now, self.count, place));
        while self.order.len() > self.most {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, count, place)) = self.order.pop_front()
            && self
                .entries
                .get(&place)
                .is_some_and(|(last, _)| *last == count)
        {
            self.entries.remove(&place);
        }
    }

    fn get(&mut self, now: Instant, age: core::time::Duration, place: Place) -> Option<T> {
        while let Some((at, ..)) = self.order.front()
            && now.since(*at) > age
        {
            self.forget_first();
        }
        self.entries.get(&place).map(|(_, value)| *value)
    }
}

#[derive(Debug)]
pub(super) struct Answers {
    secret: [u8; 32],
    /// The numbers of SYNs that were answered.
    half_open: Memory<u16>,
    /// The last words of connections that have ended.
    ended: Memory<(Option<SocketId>, Header)>,
    queue: VecDeque<(Way, Header)>,
    /// Resets in the present second.
    resets: (u64, u32),
}

impl Answers {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        Self {
            secret,
            half_open: Memory::new(MAX_HALF_OPEN),
            ended: Memory::new(MAX_ENDED),
            queue: VecDeque::new(),
            resets: (0, 0),
        }
    }

    /// The number of our first packet to whoever sent such a SYN at such a time.
    fn number(&self, addr: SocketAddr, connection: u16, syn: u16, age: u64) -> u16 {
        let mut digest = Sha1::new();
        digest.update(self.secret);
        match addr.ip() {
            IpAddr::V4(ip) => digest.update(ip.octets()),
            IpAddr::V6(ip) => digest.update(ip.octets()),
        }
        digest.update(addr.port().to_be_bytes());
        digest.update(connection.to_be_bytes());
        digest.update(syn.to_be_bytes());
        digest.update(age.to_be_bytes());
        let digest = digest.finalize();
        u16::from_be_bytes([digest[0], digest[1]])
    }

    fn age(now: Instant) -> u64 {
        now.as_nanos() / COOKIE_AGE.as_nanos() as u64
    }

    /// Answers a SYN. Whether there was room for the answer.
    pub(super) fn greet(&mut self, now: Instant, way: Way, syn: &Header) -> bool {
        let (from, _) = way;
        let place = (from, syn.connection.wrapping_add(1));
        self.half_open.insert(now, place, syn.seq);
        let number = self.number(from, syn.connection, syn.seq, Self::age(now));
        let answer = Header {
            kind: Kind::State,
            connection: syn.connection,
            timestamp: 0,
            delay: super::delay::micros(now).wrapping_sub(syn.timestamp),
            window: FIRST_WINDOW,
            seq: number,
            ack: syn.seq,
        };
        self.push(way, answer)
    }

    /// Finds out what a packet of an unknown connection is.
    pub(super) fn recognise(&mut self, now: Instant, way: Way, header: &Header) -> Greeting {
        let (from, _) = way;
        let place = (from, header.connection);
        if let Some((socket, mut word)) = self.ended.get(now, ENDED_AGE, place) {
            // Nobody waits for an answer to an acknowledgement.
            if header.kind != Kind::State {
                word.kind = Kind::State;
                self.push((from, way.1.or(socket)), word);
            }
            return Greeting::Ended;
        }
        // Of a SYN that is forgotten, only the next packet is known; it shows by its number.
        let known = self.half_open.get(now, COOKIE_AGE * 2, place);
        let syn = known.unwrap_or(header.seq.wrapping_sub(1));
        let age = Self::age(now);
        for age in [age, age.wrapping_sub(1)] {
            let number = self.number(from, header.connection.wrapping_sub(1), syn, age);
            // Our answer takes no number, but to some who read BEP 29 by the letter it does.
            if header.ack == number.wrapping_sub(1) || header.ack == number {
                let first = header.ack.wrapping_add(1);
                return Greeting::New { syn, first };
            }
        }
        Greeting::Unknown
    }

    /// Tells the sender of a packet that there is no such connection. Whether there was room for that.
    pub(super) fn refuse(&mut self, now: Instant, way: Way, header: &Header) -> bool {
        let second = now.as_nanos() / 1_000_000_000;
        if self.resets.0 != second {
            self.resets = (second, 0);
        }
        self.resets.1 = self.resets.1.saturating_add(1);
        if self.resets.1 > RESETS_PER_SECOND {
            return false;
        }
        let answer = Header {
            kind: Kind::Reset,
            connection: header.connection,
            timestamp: 0,
            delay: 0,
            window: 0,
            seq: 0,
            ack: header.seq,
        };
        self.push(way, answer)
    }

    /// A connection has ended, and answers with that for a while.
    pub(super) fn ended(&mut self, now: Instant, (addr, socket): Way, local: u16, word: Header) {
        self.ended.insert(now, (addr, local), (socket, word));
    }

    pub(super) fn push(&mut self, to: Way, header: Header) -> bool {
        let has_room = self.queue.len() < MAX_ANSWERS;
        if has_room {
            self.queue.push_back((to, header));
        }
        has_room
    }

    pub(super) fn pop(&mut self) -> Option<(Way, Header)> {
        self.queue.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
