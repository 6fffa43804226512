//! A TCP connection: an ordered stream each way, with what bounds its speed.
//!
//! A stream's bytes are kept once, from the application that sends them to the one that reads them.
//! What travels are segments, which name a range of the stream, so that loss and order are matters of
//! time alone:
//!
//! ```text
//! read ≤ delivered ≤ next ≤ accepted ≤ written
//!  by the   in order    sent    by the system  by the application
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::id::ConnId;
use bytes::{Bytes, BytesMut};

use crate::chance::Chance;
use crate::config::Chop;

/// What fits into a packet. Loss is by packets; windows are opened by so many of them.
pub(crate) const PACKET: u64 = 1_460;

/// The largest segment that travels as one: a block with its header and some small messages.
const SEGMENT: u64 = 16 * 1024 + 256;

/// The first window (RFC 6928).
const FIRST_WINDOW: u64 = 10 * PACKET;

/// Bytes that the system takes in without having sent any.
const FIRST_BUFFER: u64 = 64 * 1024;

/// Messages below this length are joined when they are handed over together.
const SMALL: usize = 2_048;

/// When a segment is sent again into what seems to be nothing: at first, and at most.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Names a connection in the world's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnRef {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    /// Who dialled.
    Dialler,
    /// Who was dialled.
    Listener,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What the host at an end calls the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Local {
    /// Nothing yet.
    Nameless,
    Engine(ConnId),
    Actor(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The dialler waits; the listener does not know.
    Opening,
    Open,
    /// The host has ended it; what it had sent still travels.
    Shut,
    /// The host is gone without a word.
    Dead,
}

/// A range of a stream on its way. The last one carries the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) len: u32,
    pub(crate) fin: bool,
    /// Bytes that it takes on the links: fewer than `len` when one lost packet is sent again.
    pub(crate) weight: u32,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) dialler: End,
    pub(crate) listener: End,
    /// Everything that is sent vanishes.
    pub(crate) black_hole: bool,
    /// Where the dialler wants to go.
    pub(crate) to: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct End {
    /// Whose end; none if nobody has that address.
    pub(crate) host: Option<u32>,
    pub(crate) life: u32,
    pub(crate) local: Local,
    pub(crate) state: State,

    /// Bytes that the other end has not read.
    stream: VecDeque<Bytes>,
    /// Where in `stream` the next segment begins: chunk, and offset in it.
    cut: (usize, usize),
    written: u64,
    accepted: u64,
    next: u64,
    closing: bool,
    fin_sent: bool,
    lost: BTreeMap<u64, Segment>,
    inflight: u64,
    /// What the other end has got, and when that is known here. It is looked at when it matters.
    acks: VecDeque<(Instant, Segment)>,
    /// The next of them is in the world's queue.
    pub(crate) awaits_ack: bool,
    acked: u64,
    cwnd: u64,
    ssthresh: u64,
    /// Losses before this place belong to a window that was cut already.
    recover: u64,
    /// What was sent before this place filled the window.
    filled: u64,
    /// The segments before did not get through: nothing is sent before the timer says so.
    pub(crate) stalled_since: Option<Instant>,
    pub(crate) waiting_retry: bool,
    pub(crate) retry: Duration,
    /// The other end's window holds us back.
    window_closed: bool,
    /// In the queue of the host's uplink.
    pub(crate) queued: bool,
    /// `Sent` is on its way to the application.
    pub(crate) telling: bool,
    /// The last arrival at the other end: a stream keeps its order.
    pub(crate) last_arrival: Instant,

    /// Of the other end's stream.
    delivered: u64,
    read: u64,
    early: BTreeMap<u64, Segment>,
    early_bytes: u64,
    fin_at: Option<u64>,
    pub(crate) credit: u64,
    pub(crate) flushing: bool,
}

impl Conn {
    pub(crate) fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialler => &self.dialler,
            Side::Listener => &self.listener,
        }
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Listener => &mut self.listener,
        }
    }

    /// Whether nobody cares any more.
    pub(crate) fn is_over(&self) -> bool {
        let over = |end: &End| matches!(end.state, State::Shut | State::Dead);
        over(&self.dialler) && over(&self.listener)
    }

    /// What `side` may put on its link next.
    pub(crate) fn next_segment(&mut self, side: Side, receive_buffer: u64) -> Option<Segment> {
        let there = self.end(side.other());
        let unread = there.delivered - there.read;
        let window = receive_buffer.saturating_sub(unread + there.early_bytes);
        self.end_mut(side).next_segment(window)
    }

    /// Takes what the application at `side` may read next out of the other end's stream.
    pub(crate) fn take(&mut self, side: Side, chop: Chop, chance: &mut Chance) -> Option<Bytes> {
        let here = self.end_mut(side);
        let most = here.readable();
        if most == 0 {
            return None;
        }
        let data = match side {
            Side::Dialler => self.listener.take(most, chop, chance),
            Side::Listener => self.dialler.take(most, chop, chance),
        };
        let here = self.end_mut(side);
        here.read += data.len() as u64;
        here.credit -= data.len() as u64;
        Some(data)
    }
}

impl End {
    pub(crate) fn new(host: Option<u32>, life: u32, local: Local) -> Self {
        Self {
            host,
            life,
            local,
            state: State::Opening,
            stream: VecDeque::new(),
            cut: (0, 0),
            written: 0,
            accepted: 0,
            next: 0,
            closing: false,
            fin_sent: false,
            lost: BTreeMap::new(),
            inflight: 0,
            acks: VecDeque::new(),
            awaits_ack: false,
            acked: 0,
            cwnd: FIRST_WINDOW,
            ssthresh: u64::MAX,
            recover: 0,
            filled: 0,
            stalled_since: None,
            waiting_retry: false,
            retry: RETRY.0,
            window_closed: false,
            queued: false,
            telling: false,
            last_arrival: Instant::ZERO,
            delivered: 0,
            read: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            fin_at: None,
            credit: 0,
            flushing: false,
        }
    }

    /// The application sends.
    pub(crate) fn write(&mut self, data: Bytes) {
        self.written += data.len() as u64;
        self.stream.push_back(data);
    }

    /// Bytes that the application has sent and the system has not taken in.
    pub(crate) fn unaccepted(&self) -> u64 {
        self.written - self.accepted
    }

    /// Lets the system take in what has room. Says how many bytes that were.
    pub(crate) fn accept(&mut self, send_buffer: u64) -> u64 {
        let room = (2 * self.cwnd).clamp(FIRST_BUFFER, send_buffer.max(FIRST_BUFFER));
        let held = self.accepted - self.acked;
        let more = room.saturating_sub(held).min(self.unaccepted());
        self.accepted += more;
        more
    }

    /// The application ends the connection: what the system has not taken in is forgotten, the rest
    /// and the end of the stream are still sent.
    pub(crate) fn shut(&mut self) {
        self.state = State::Shut;
        self.closing = true;
        let mut excess = self.written - self.accepted;
        self.written = self.accepted;
        while excess > 0 {
            let Some(last) = self.stream.back_mut() else {
                break;
            };
            if last.len() as u64 <= excess {
                excess -= last.len() as u64;
                self.stream.pop_back();
            } else {
                last.truncate(last.len() - excess as usize);
                excess = 0;
            }
        }
    }

    /// The other end has got a segment, and that is known here at a time, or later if what was sent
    /// before is.
    pub(crate) fn acknowledge_at(&mut self, at: Instant, segment: Segment) {
        let last = self.acks.back().map_or(at, |(last, _)| at.max(*last));
        self.acks.push_back((last, segment));
    }

    /// Takes note of what is known by now to have come.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some((_, segment)) = self.acks.pop_front_if(|(at, _)| *at <= now) {
            self.acknowledged(segment);
        }
    }

    /// Whether there is anything to put on the link.
    pub(crate) fn has_unsent(&self) -> bool {
        self.accepted > self.next || !self.lost.is_empty() || (self.closing && !self.fin_sent)
    }

    /// When something is known to have come next, if that lets this end get on and nothing else does.
    pub(crate) fn next_ack(&self) -> Option<Instant> {
        let held = self.unaccepted() > 0 || (!self.queued && self.has_unsent());
        let next = self.acks.front().filter(|_| held && !self.awaits_ack);
        next.map(|(at, _)| *at)
    }

    /// The other end has got a segment.
    fn acknowledged(&mut self, segment: Segment) {
        let len = u64::from(segment.len);
        self.inflight = self.inflight.saturating_sub(len);
        self.acked += len;
        self.stalled_since = None;
        self.retry = RETRY.0;
        // A window that is not used tells nothing about the way.
        if segment.seq >= self.filled {
            return;
        }
        if self.cwnd < self.ssthresh {
            self.cwnd += len;
        } else {
            self.cwnd += (PACKET * len / self.cwnd).max(1);
        }
    }

    /// A segment was lost, and the others behind it tell.
    pub(crate) fn lost(&mut self, segment: Segment) {
        self.inflight = self.inflight.saturating_sub(u64::from(segment.len));
        self.lost.insert(segment.seq, segment);
        if segment.seq >= self.recover {
            self.recover = self.next;
            self.ssthresh = (self.cwnd * 7 / 10).max(2 * PACKET);
            self.cwnd = self.ssthresh;
        }
    }

    /// A segment was lost, and nothing comes back.
    pub(crate) fn vanished(&mut self, segment: Segment, now: Instant) {
        self.inflight = self.inflight.saturating_sub(u64::from(segment.len));
        let whole = Segment {
            weight: segment.len,
            ..segment
        };
        self.lost.insert(segment.seq, whole);
        self.stalled_since.get_or_insert(now);
        self.ssthresh = (self.cwnd / 2).max(2 * PACKET);
        self.cwnd = FIRST_WINDOW;
        self.recover = self.next;
    }

    /// Whether the other end waits to be told that there is room again. Asks once.
    pub(crate) fn take_window_closed(&mut self) -> bool {
        std::mem::take(&mut self.window_closed)
    }

    /// A segment has come. Says whether there is more to read, or the end is there.
    pub(crate) fn receive(&mut self, segment: Segment) -> bool {
        if segment.seq != self.delivered {
            let same = self.early.insert(segment.seq, segment);
            let same = same.map_or(0, |same| u64::from(same.len));
            self.early_bytes = self.early_bytes + u64::from(segment.len) - same;
            return false;
        }
        self.deliver(segment);
        while let Some(next) = self.early.remove(&self.delivered) {
            self.early_bytes -= u64::from(next.len);
            self.deliver(next);
        }
        true
    }

    /// Bytes that the application may take.
    pub(crate) fn readable(&self) -> u64 {
        (self.delivered - self.read).min(self.credit)
    }

    /// Whether the other end has closed, and all that it sent has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.fin_at == Some(self.read)
    }

    fn deliver(&mut self, segment: Segment) {
        self.delivered += u64::from(segment.len);
        if segment.fin {
            self.fin_at = Some(self.delivered);
        }
    }

    fn next_segment(&mut self, their_window: u64) -> Option<Segment> {
        if self.waiting_retry {
            return None;
        }
        let theirs = their_window.saturating_sub(self.inflight);
        let window = self.cwnd.saturating_sub(self.inflight);
        if let Some((_, first)) = self.lost.first_key_value() {
            // What is sent again has its room at the other end.
            let fits = u64::from(first.len) <= window || self.inflight == 0;
            let segment = if fits {
                self.lost.pop_first()?.1
            } else {
                return None;
            };
            self.inflight += u64::from(segment.len);
            return Some(segment);
        }
        let unsent = self.accepted - self.next;
        if unsent == 0 {
            if !self.closing || self.fin_sent {
                return None;
            }
            self.fin_sent = true;
            return Some(Segment {
                seq: self.next,
                len: 0,
                fin: true,
                weight: 0,
            });
        }
        let wanted = unsent.min(SEGMENT);
        if theirs < wanted {
            self.window_closed = true;
        }
        if window < wanted {
            self.filled = self.next;
        }
        let limit = wanted.min(window).min(theirs);
        // Small segments only where nothing is under way that would make room for larger ones.
        if limit == 0 || (limit < wanted.min(PACKET) && self.inflight > 0) {
            return None;
        }
        let len = self.advance(limit);
        let segment = Segment {
            seq: self.next,
            len: len as u32,
            fin: false,
            weight: len as u32,
        };
        self.next += len;
        self.inflight += len;
        Some(segment)
    }

    /// Moves the cut forward by at most `limit` bytes, and by whole chunks where that is possible, so
    /// that a block arrives as it was sent.
    fn advance(&mut self, limit: u64) -> u64 {
        let mut len = 0;
        let (mut chunk, mut offset) = self.cut;
        while let Some(bytes) = self.stream.get(chunk) {
            let rest = (bytes.len() - offset) as u64;
            if len + rest > limit {
                break;
            }
            len += rest;
            chunk += 1;
            offset = 0;
        }
        if len == 0 {
            offset += limit as usize;
            len = limit;
        }
        self.cut = (chunk, offset);
        len
    }

    /// Takes at most `most` bytes off the front of the stream, at least one.
    fn take(&mut self, most: u64, chop: Chop, chance: &mut Chance) -> Bytes {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match chop {
            Chop::Random(longest) => {
                let len = most.min(1 + chance.below(u64::from(longest)) as usize);
                let mut joined = BytesMut::with_capacity(len);
                while joined.len() < len {
                    let part = self.split(len - joined.len());
                    joined.extend_from_slice(&part);
                }
                joined.freeze()
            }
            Chop::AsSent => {
                let first = self.split(most);
                let small = |bytes: &Bytes| bytes.len() < SMALL;
                let next = self.stream.front().filter(|next| small(next));
                if !small(&first) || next.is_none() || first.len() == most {
                    return first;
                }
                let mut joined = BytesMut::from(&first[..]);
                while joined.len() < most && self.stream.front().is_some_and(small) {
                    let part = self.split(most - joined.len());
                    joined.extend_from_slice(&part);
                }
                joined.freeze()
            }
        }
    }

    /// Takes the first chunk, or as much of it as is allowed.
    fn split(&mut self, most: usize) -> Bytes {
        let Some(first) = self.stream.front_mut() else {
            return Bytes::new();
        };
        let part = first.split_to(most.min(first.len()));
        let (chunk, offset) = self.cut;
        if first.is_empty() {
            self.stream.pop_front();
            self.cut = (chunk.saturating_sub(1), if chunk == 0 { 0 } else { offset });
        } else if chunk == 0 {
            self.cut = (0, offset.saturating_sub(part.len()));
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn conn() -> Conn {
        let end = || {
            let mut end = End::new(Some(0), 0, Local::Nameless);
            end.state = State::Open;
            end
        };
        Conn {
            dialler: end(),
            listener: end(),
            black_hole: false,
            to: SocketAddr::from(([1, 2, 3, 4], 5)),
        }
    }

    quickcheck! {
        fn what_is_read_is_what_was_written(
            writes: Vec<Vec<u8>>, fates: Vec<u8>, longest: Option<u8>, credits: Vec<u8>
        ) -> bool {
            let mut conn = conn();
            let mut chance = Chance::new(1);
            let mut expected = Vec::new();
            for write in writes.iter().filter(|write| !write.is_empty()) {
                expected.extend_from_slice(write);
                conn.dialler.write(Bytes::copy_from_slice(write));
            }
            let mut fates = fates.into_iter();
            let mut credits = credits.into_iter();
            let mut got = Vec::new();
            let mut flying = VecDeque::new();
            loop {
                conn.dialler.accept(1 << 20);
                while let Some(segment) = conn.next_segment(Side::Dialler, 1 << 20) {
                    flying.push_back(segment);
                }
                let Some(segment) = flying.pop_front() else {
                    break;
                };
                match fates.next().map_or(3, |fate| fate % 4) {
                    0 => conn.dialler.lost(segment),
                    1 => flying.push_back(segment),
                    _ => {
                        conn.listener.receive(segment);
                        {conn.dialler.acknowledge_at(Instant::ZERO, segment); conn.dialler.settle(Instant::ZERO);};
                    }
                }
                conn.listener.credit = credits.next().map_or(1 << 20, u64::from);
                let chop = longest.map_or(Chop::AsSent, |most| Chop::Random(u32::from(most)));
                while let Some(data) = conn.take(Side::Listener, chop, &mut chance) {
                    got.extend_from_slice(&data);
                }
            }
            conn.listener.credit = 1 << 20;
            while let Some(data) = conn.take(Side::Listener, Chop::AsSent, &mut chance) {
                got.extend_from_slice(&data);
            }
            got == expected
        }
    }

    #[test]
    fn the_window_opens_with_what_gets_through_and_closes_with_what_does_not() {
        let mut conn = conn();
        conn.dialler.write(Bytes::from(vec![0; 10 << 20]));
        let mut rounds = Vec::new();
        for _ in 0..4 {
            conn.dialler.accept(4 << 20);
            let mut round = Vec::new();
            while let Some(segment) = conn.next_segment(Side::Dialler, 4 << 20) {
                round.push(segment);
            }
            rounds.push(
                round
                    .iter()
                    .map(|segment| u64::from(segment.len))
                    .sum::<u64>(),
            );
            round.into_iter().for_each(|segment| {
                conn.dialler.acknowledge_at(Instant::ZERO, segment);
                conn.dialler.settle(Instant::ZERO);
            });
        }
        assert_eq!(rounds[0], FIRST_WINDOW);
        assert!(rounds[3] >= 7 * FIRST_WINDOW, "{rounds:?}");
        let before = conn.dialler.cwnd;
        conn.dialler.accept(4 << 20);
        let segment = conn.next_segment(Side::Dialler, 4 << 20).unwrap();
        conn.dialler.lost(segment);
        assert_eq!(conn.dialler.cwnd, before * 7 / 10);
        let again = conn.next_segment(Side::Dialler, 4 << 20).unwrap();
        assert_eq!(again.seq, segment.seq);
        conn.dialler.lost(again);
        assert_eq!(conn.dialler.cwnd, before * 7 / 10, "one window, one cut");
    }

    #[test]
    fn what_was_taken_in_is_still_sent_after_a_close_and_the_rest_is_not() {
        let mut conn = conn();
        conn.dialler.write(Bytes::from(vec![1; 100_000]));
        conn.dialler.write(Bytes::from(vec![2; 100_000]));
        assert_eq!(conn.dialler.accept(1 << 20), FIRST_BUFFER);
        conn.dialler.shut();
        let mut total = 0;
        while let Some(segment) = conn.next_segment(Side::Dialler, 1 << 20) {
            total += u64::from(segment.len);
            conn.listener.receive(segment);
            {
                conn.dialler.acknowledge_at(Instant::ZERO, segment);
                conn.dialler.settle(Instant::ZERO);
            };
        }
        assert_eq!(total, FIRST_BUFFER);
        assert!(!conn.listener.is_at_end());
        conn.listener.credit = u64::MAX;
        let mut chance = Chance::new(1);
        while conn
            .take(Side::Listener, Chop::AsSent, &mut chance)
            .is_some()
        {}
        assert!(conn.listener.is_at_end());
    }

    #[test]
    fn a_full_receiver_holds_the_sender_back() {
        let mut conn = conn();
        conn.dialler.write(Bytes::from(vec![0; 1 << 20]));
        let mut sent = 0;
        for _ in 0..100 {
            conn.dialler.accept(1 << 20);
            while let Some(segment) = conn.next_segment(Side::Dialler, 100_000) {
                sent += u64::from(segment.len);
                conn.listener.receive(segment);
                {
                    conn.dialler.acknowledge_at(Instant::ZERO, segment);
                    conn.dialler.settle(Instant::ZERO);
                };
            }
        }
        assert!((90_000..=100_000).contains(&sent), "{sent}");
        assert!(conn.dialler.take_window_closed());
    }
}
