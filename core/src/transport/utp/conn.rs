//! One connection: its state, its timers, and what it makes of packets.

mod transmit;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::congestion::{Acked, Congestion, Lost};
use super::delay::{Delay, RoundTrip};
use super::limits::{
    ACK_DELAY, FIRST_TIMEOUT, FIRST_WINDOW, KEEP_ALIVE, LINGER, MAX_FIN_TIMEOUTS, MAX_OLD_ACK,
    MAX_SYN_RESENDS, MAX_TIMEOUT, MAX_TIMEOUTS, MAX_WINDOW_PROBE, MIN_TIMEOUT, SYN_TIMEOUT,
    WINDOW_PROBE,
};
use super::mtu::Mtu;
use super::pacing::Pacer;
use super::receive::{Arrival, Receiver};
use super::send::{Outcome, Sender};
use super::{CloseReason, Config, Event, UtpId, sizes};
use crate::id::SocketId;
use crate::time::Instant;
use crate::wire::utp::{HEADER_LEN, Header, Kind, Packet};

/// What others may take to acknowledge a single packet: libutp's 100 ms.
const PEER_ACK_DELAY: Duration = Duration::from_millis(100);

/// A window that opens by less is told with the next packet.
const WORTH_TELLING: u32 = 3_000;

/// What a call is lent.
pub(super) struct Lent<'a> {
    pub(super) config: &'a Config,
    pub(super) now: Instant,
    pub(super) id: UtpId,
    /// What may be kept of what arrives, beside what all connections keep.
    pub(super) receive_room: u64,
    /// What may be kept of what is sent.
    pub(super) send_room: u64,
    pub(super) events: &'a mut Vec<Event>,
}

/// What a connection waits for that an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Syn,
    Data,
    /// Half a time-out: the end of what was sent may be what is lost.
    Tail,
    Window,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) addr: SocketAddr,
    /// The socket that the other end's packets come by, once one has.
    pub(super) socket: Option<SocketId>,
    /// The id that packets to us carry.
    pub(super) local: u16,
    /// The id that packets to the other end carry.
    pub(super) remote: u16,
    pub(super) is_initiator: bool,
    pub(super) is_open: bool,
    /// Flags of the table's queues.
    pub(super) touched: bool,
    pub(super) queued: bool,
    /// Why it has ended.
    pub(super) ended: Option<CloseReason>,
    /// The number of the SYN.
    syn: u16,
    sender: Sender,
    receiver: Receiver,
    congestion: Box<dyn Congestion>,
    delay: Delay,
    trip: RoundTrip,
    pacer: Pacer,
    mtu: Mtu,
    /// What the other end has room for.
    window: u32,
    /// What it was told that we have.
    told: u32,
    /// The reader's.
    credit: u64,
    /// Packets that are not acknowledged, and when that is due.
    unacked: u32,
    ack_due: Option<Instant>,
    ack_now: bool,
    /// A SYN is to leave.
    syn_now: bool,
    /// A packet may leave although the window is closed, or the time has not come.
    nudged: bool,
    tail_sent: bool,
    /// Whether the congestion window held something back since the last acknowledgement.
    held_back: bool,
    /// Since when time-outs count.
    waits_since: Instant,
    timeouts: u8,
    last_sent: Instant,
    last_heard: Instant,
    /// Whether anything arrived since the last time-out.
    heard: bool,
    closing: bool,
    linger_since: Instant,
    finished_told: bool,
    resent: u64,
    all_timeouts: u64,
}

/// Numbers begin so high that nothing before them is below zero.
const ORIGIN: u64 = 1 << 32;

/// The number that is meant by 16 bits of it, near a known one.
fn unwrap(near: u64, seq: u16) -> u64 {
    let ahead = seq.wrapping_sub(near as u16) as i16;
    near.wrapping_add_signed(i64::from(ahead))
}

impl Connection {
    fn new(
        addr: SocketAddr,
        local: u16,
        first: u64,
        next: u64,
        now: Instant,
        config: &Config,
    ) -> Self {
        let (floor, begin, most) = sizes(addr, config);
        let mtu = Mtu::new(floor, begin, most);
        let packet = u32::from(mtu.current()) - HEADER_LEN as u32;
        Self {
            addr,
            socket: None,
            local,
            remote: local,
            is_initiator: true,
            is_open: false,
            touched: false,
            queued: false,
            ended: None,
            syn: 0,
            sender: Sender::new(first),
            receiver: Receiver::new(next, config.receive_window),
            congestion: (config.congestion)(config.target, packet),
            delay: Delay::new(),
            trip: RoundTrip::new(),
            pacer: Pacer::default(),
            mtu,
            window: 0,
            told: FIRST_WINDOW,
            credit: 0,
            unacked: 0,
            ack_due: None,
            ack_now: false,
            syn_now: false,
            nudged: false,
            tail_sent: false,
            held_back: false,
            waits_since: now,
            timeouts: 0,
            last_sent: now,
            last_heard: now,
            heard: false,
            closing: false,
            linger_since: now,
            finished_told: false,
            resent: 0,
            all_timeouts: 0,
        }
    }

    /// A connection that we make.
    pub(super) fn connect(
        addr: SocketAddr,
        local: u16,
        syn: u16,
        now: Instant,
        config: &Config,
    ) -> Self {
        let first = ORIGIN + u64::from(syn) + 1;
        Self {
            remote: local.wrapping_add(1),
            syn,
            syn_now: true,
            ..Self::new(addr, local, first, ORIGIN, now, config)
        }
    }

    /// A connection that the other end has made: its SYN had the number `syn`, and it waits for our packet `first`.
    pub(super) fn accept(
        addr: SocketAddr,
        local: u16,
        syn: u16,
        first: u16,
        now: Instant,
        config: &Config,
    ) -> Self {
        let next = ORIGIN + u64::from(syn) + 1;
        Self {
            remote: local.wrapping_sub(1),
            is_initiator: false,
            is_open: true,
            syn,
            ..Self::new(addr, local, ORIGIN + u64::from(first), next, now, config)
        }
    }

    /// Takes a packet with our id.
    pub(super) fn packet(&mut self, lent: &mut Lent<'_>, arrived_at: Instant, packet: &Packet<'_>) {
        let header = &packet.header;
        match header.kind {
            Kind::Syn => {
                // The other end did not hear our answer.
                if !self.is_initiator && header.seq == self.syn {
                    self.ack_now = true;
                }
                return;
            }
            Kind::Reset => {
                self.reset(header);
                return;
            }
            Kind::State if !self.is_open => {
                if header.ack != self.syn {
                    return;
                }
                // The answer takes no number: the other end's first packet has the same.
                self.receiver =
                    Receiver::new(ORIGIN + u64::from(header.seq), lent.config.receive_window);
                self.is_open = true;
                if self.timeouts == 0 {
                    self.trip
                        .sample(arrived_at, arrived_at.since(self.last_sent));
                }
                self.timeouts = 0;
                // So that the other end knows where we are, also if we have nothing to say.
                self.unacked = 1;
                lent.events.push(Event::Connected { id: lent.id });
            }
            Kind::Data | Kind::Fin if !self.is_open => return,
            Kind::State | Kind::Data | Kind::Fin => {}
        }
        let newest = self.sender.first() - 1;
        let ack = unwrap(newest, header.ack);
        if ack >= self.sender.next() || ack + MAX_OLD_ACK + self.sender.packets() < newest {
            return;
        }
        self.last_heard = arrived_at;
        self.heard = true;
        self.delay.arrived(lent.now, arrived_at, header.timestamp);
        self.delay.told(lent.now, header.delay);
        if ack >= newest {
            let was_closed = self.is_window_closed();
            self.window = header.window;
            if was_closed && !self.is_window_closed() && self.timeouts > 0 {
                // What asked whether it is open was refused; now it is wanted.
                self.sender.lose_all();
                self.timeouts = 0;
                self.waits_since = arrived_at;
                self.nudged = true;
            }
        }
        self.acknowledged(arrived_at, ack, packet.selective.as_bytes());
        if matches!(header.kind, Kind::Data | Kind::Fin) {
            self.payload(lent, packet);
        }
    }

    /// A reset of this connection, whichever of its ids it carries.
    pub(super) fn reset(&mut self, header: &Header) {
        if !self.is_open {
            if header.ack == self.syn {
                self.ended = Some(CloseReason::Refused);
            }
            return;
        }
        let newest = self.sender.first() - 1;
        let ack = unwrap(newest, header.ack);
        // One of our packets brought it, or it names the last one that has arrived.
        if ack > self.sender.next() || ack + MAX_OLD_ACK < newest {
            return;
        }
        // Who has said all and heard all forgets, and answers what still comes.
        let is_end = self.sender.fin().is_some() || self.receiver.is_finished();
        self.ended = Some(if is_end {
            CloseReason::Finished
        } else {
            CloseReason::Reset
        });
    }

    fn acknowledged(&mut self, at: Instant, ack: u64, mask: &[u8]) {
        let (least, smoothed) = (self.trip.least(), self.trip.smoothed());
        let before = self.sender.in_flight();
        let was = self.sender.first();
        let mut outcome = self.sender.ack(at, ack, mask, least);
        if let Some(took) = outcome.trip {
            self.trip.sample(at, took);
        }
        if outcome.packets > 0 {
            self.timeouts = 0;
            self.tail_sent = false;
            self.waits_since = at;
            self.linger_since = at;
            self.mtu.heard();
        }
        if self.sender.first() > was && self.sender.is_idle() {
            self.nudged = false;
        }
        if outcome.packets > 0 || self.sender.reorder_at().is_some() {
            self.sender.judge(at, least, smoothed, &mut outcome);
        }
        self.tell(at, before, outcome);
    }

    /// Tells those who decide what was learnt.
    fn tell(&mut self, at: Instant, before: u64, outcome: Outcome) {
        let queueing = self.queueing();
        if let Some(len) = outcome.probe_arrived {
            self.mtu.arrived(len);
            self.resize();
        }
        if let Some(len) = outcome.probe_lost {
            self.mtu.lost(len);
        }
        if outcome.bytes > 0 {
            let window = self.congestion.window();
            self.congestion.acked(&Acked {
                now: at,
                bytes: outcome.bytes,
                queueing,
                least_trip: self.trip.least(),
                trip: self.trip.smoothed(),
                limited: self.held_back || before * 4 >= window * 3,
            });
            self.held_back = false;
        }
        if outcome.lost > 0 {
            self.congestion.lost(&Lost {
                now: at,
                bytes: outcome.lost,
                queueing,
                first: outcome.first,
            });
        }
        if outcome.bytes > 0 || outcome.lost > 0 {
            self.pace();
        }
    }

    fn pace(&mut self) {
        if self.trip.is_known() {
            self.pacer.set(
                self.congestion.window(),
                self.trip.smoothed(),
                self.congestion.pace(),
                u64::from(self.mtu.current()),
            );
        }
    }

    /// Packets are of another length.
    fn resize(&mut self) {
        self.congestion
            .packet_len(u32::from(self.mtu.current()) - HEADER_LEN as u32);
    }

    /// How long packets wait in queues: what the other end measures, else what round trips take longer than the shortest.
    fn queueing(&self) -> Duration {
        let above = self.trip.smoothed().saturating_sub(self.trip.least());
        match self.delay.queueing() {
            // No queue is longer than the round trip in which it was measured.
            Some(queueing) => {
                let most = self.trip.smoothed() + self.trip.variance() * 4;
                Duration::from_micros(u64::from(queueing)).min(most)
            }
            None => above,
        }
    }

    fn payload(&mut self, lent: &Lent<'_>, packet: &Packet<'_>) {
        let seq = unwrap(self.receiver.next(), packet.header.seq);
        let is_fin = packet.header.kind == Kind::Fin;
        let room = lent.receive_room;
        match self.receiver.insert(seq, packet.payload, is_fin, room) {
            Arrival::InOrder => {
                self.unacked += 1;
                self.ack_now |= self.receiver.is_finished();
            }
            Arrival::OutOfOrder | Arrival::Duplicate | Arrival::NoRoom => self.ack_now = true,
        }
    }

    /// A router says that the other end can't be reached, or that packets are too long.
    pub(super) fn unreachable(&mut self) {
        // Whoever has answered was there: what others say does not count against that.
        if !self.is_open {
            self.ended = Some(CloseReason::Unreachable);
        }
    }

    /// See [`unreachable`](Self::unreachable).
    pub(super) fn too_big(&mut self, len: u16) {
        if self.is_open && self.mtu.told(len) {
            self.resize();
        }
    }

    pub(super) fn send(&mut self, bytes: Bytes) {
        self.sender.push(bytes);
    }

    pub(super) fn give(&mut self, credit: u64) {
        self.credit = self.credit.saturating_add(credit);
    }

    pub(super) fn close(&mut self, now: Instant) {
        if !self.closing {
            self.closing = true;
            self.linger_since = now;
            if !self.is_open && self.sender.unsent() == 0 {
                self.ended = Some(CloseReason::Aborted);
            }
        }
    }

    /// Does what is due, and hands over what has arrived: at the end of a batch, and when a timer is due.
    pub(super) fn settle(&mut self, lent: &mut Lent<'_>) {
        let now = lent.now;
        if let Some((at, wait)) = self.waits()
            && at <= now
        {
            self.overdue(lent, wait);
        }
        if self.sender.reorder_at().is_some_and(|at| at <= now) {
            let mut outcome = Outcome::default();
            let (least, smoothed) = (self.trip.least(), self.trip.smoothed());
            self.sender.judge(now, least, smoothed, &mut outcome);
            self.tell(now, self.sender.in_flight(), outcome);
        }
        self.deliver(lent);
        self.acknowledge(lent);
        if self.is_open && now.since(self.last_sent) >= KEEP_ALIVE {
            self.ack_now = true;
            self.sender.shrink();
            self.receiver.shrink();
        }
        if self.closing && self.ended.is_none() {
            let is_over = self.sender.is_finished() && self.receiver.is_finished();
            if is_over || now.since(self.linger_since) >= LINGER {
                self.ended = Some(CloseReason::Finished);
            }
        }
    }

    fn deliver(&mut self, lent: &mut Lent<'_>) {
        if self.closing {
            // Nobody reads any more.
            while self.receiver.take(u64::MAX).is_some() {}
        }
        while let Some(bytes) = self.receiver.take(self.credit) {
            self.credit -= bytes.len() as u64;
            lent.events.push(Event::Readable { id: lent.id, bytes });
        }
        if self.receiver.is_finished() && self.receiver.waiting() == 0 && !self.finished_told {
            self.finished_told = true;
            if !self.closing {
                lent.events.push(Event::Finished { id: lent.id });
            }
        }
    }

    /// Decides whether what has arrived is acknowledged now.
    fn acknowledge(&mut self, lent: &Lent<'_>) {
        if self.ack_due.is_some_and(|at| at <= lent.now) || self.unacked >= 2 {
            self.ack_now = true;
        } else if self.unacked > 0 && self.ack_due.is_none() {
            self.ack_due = Some(lent.now + ACK_DELAY);
        }
        // A sender that found the window closed, or nearly, waits for this.
        let window = self.receiver.window(lent.receive_room);
        self.ack_now |=
            self.is_open && self.told < window / 4 && window - self.told >= WORTH_TELLING;
    }

    /// Nothing was heard in time.
    fn overdue(&mut self, lent: &Lent<'_>, wait: Wait) {
        let now = lent.now;
        match wait {
            Wait::Syn => {
                if self.timeouts >= MAX_SYN_RESENDS {
                    self.ended = Some(CloseReason::TimedOut);
                } else {
                    self.timeouts += 1;
                    self.syn_now = true;
                    self.waits_since = now;
                }
            }
            Wait::Tail => {
                self.tail_sent = true;
                self.waits_since = now;
                // Something new shows what is lost as well, and is of more use.
                let has_new = !self.sender.has_gap()
                    && self.sender.unsent() > 0
                    && self.sender.outstanding() + u64::from(self.payload_len())
                        <= u64::from(self.window);
                self.nudged = has_new || self.sender.nudge();
            }
            Wait::Window => {
                self.timeouts = self.timeouts.saturating_add(1);
                self.waits_since = now;
                self.nudged = true;
            }
            Wait::Data => {
                let only_fin = self.sender.only_fin_is_left();
                let limit = if only_fin {
                    MAX_FIN_TIMEOUTS
                } else {
                    MAX_TIMEOUTS
                };
                // A window that stays closed is a peer that is slow, not one that is gone.
                let is_closed = self.heard && self.is_window_closed();
                if self.timeouts >= limit && !is_closed {
                    self.ended = Some(if only_fin {
                        CloseReason::Finished
                    } else {
                        CloseReason::TimedOut
                    });
                    return;
                }
                self.timeouts = self.timeouts.saturating_add(1);
                self.all_timeouts += 1;
                self.heard = false;
                self.waits_since = now;
                self.tail_sent = false;
                let (longest, probe) = self.sender.lose_all();
                if let Some(len) = probe {
                    self.mtu.lost(len);
                }
                if !is_closed {
                    self.congestion.timed_out(now);
                    if self.mtu.timed_out(longest + HEADER_LEN as u16) {
                        self.resize();
                    }
                }
                self.pace();
                self.nudged = true;
            }
        }
    }

    /// Whether the other end has no room for what is under way.
    const fn is_window_closed(&self) -> bool {
        (self.window as u64) < self.sender.outstanding()
    }

    /// What is waited for, and until when.
    fn waits(&self) -> Option<(Instant, Wait)> {
        if !self.is_open {
            let patience = SYN_TIMEOUT * (1 << self.timeouts.min(6));
            return (!self.syn_now).then_some((self.waits_since + patience, Wait::Syn));
        }
        if self.sender.is_idle() {
            let is_closed = self.sender.unsent() > 0 && self.window < u32::from(self.payload_len());
            let patience = (WINDOW_PROBE * (1 << self.timeouts.min(6))).min(MAX_WINDOW_PROBE);
            let is_waiting = is_closed && !self.nudged;
            return is_waiting.then_some((self.waits_since + patience, Wait::Window));
        }
        let patience = if self.trip.is_known() {
            (self.trip.smoothed() + self.trip.variance() * 4).max(MIN_TIMEOUT)
        } else {
            FIRST_TIMEOUT
        };
        let patience = (patience * (1 << self.timeouts.min(6))).min(MAX_TIMEOUT);
        if self.timeouts == 0
            && !self.tail_sent
            && self.trip.is_known()
            && (!self.sender.has_lost() || self.sender.has_gap())
            && self.sender.in_flight() > 0
        {
            let alone = if self.sender.packets() == 1 {
                PEER_ACK_DELAY
            } else {
                ACK_DELAY
            };
            let soon = self.trip.smoothed() * 2 + alone;
            if soon < patience {
                return Some((self.waits_since.max(self.last_sent) + soon, Wait::Tail));
            }
        }
        Some((self.waits_since + patience, Wait::Data))
    }

    /// When to call [`settle`](Self::settle), or to look for something to transmit.
    pub(super) fn deadline(&mut self, now: Instant, room: u64) -> Instant {
        let mut first = self.last_sent + KEEP_ALIVE;
        let mut at = |at: Option<Instant>| first = at.map_or(first, |at| first.min(at));
        at(self.waits().map(|(at, _)| at));
        at(self.sender.reorder_at());
        at(self.ack_due);
        at(self.closing.then_some(self.linger_since + LINGER));
        if !self.pacer.is_due(now) && self.next(now, room).is_some() {
            at(Some(self.pacer.wakes()));
        }
        first
    }

    /// An acknowledgement that outlives the connection.
    pub(super) fn last_word(&mut self, now: Instant) -> Header {
        self.header(Kind::State, now, u64::MAX)
    }

    pub(super) const fn owes_acknowledgement(&self) -> bool {
        self.ack_now || self.unacked > 0
    }

    /// What tells the other end that the connection has ended.
    pub(super) fn farewell(&mut self, now: Instant) -> Header {
        self.header(Kind::Reset, now, 0)
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) const fn unsent(&self) -> u64 {
        self.sender.unsent()
    }

    /// Bytes that are kept of what arrived, and of what was sent.
    pub(super) fn kept(&self) -> (u64, u64) {
        (
            self.receiver.kept(),
            self.sender.kept() - self.sender.unsent(),
        )
    }

    pub(super) fn stats(&self) -> super::ConnectionStats {
        super::ConnectionStats {
            round_trip: self.trip.smoothed(),
            queueing: self.queueing(),
            window: self.congestion.window(),
            in_flight: self.sender.in_flight(),
            packet_len: self.mtu.current(),
            resent: self.resent,
            timeouts: self.all_timeouts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_idle_connections_are_small() {
        // Beside it, what decides about congestion, and entries in tables.
        assert!(
            size_of::<Connection>() <= 1_100,
            "{}",
            size_of::<Connection>()
        );
        assert!(size_of::<super::super::congestion::Ledbat>() <= 300);
    }

    #[test]
    fn numbers_are_unwrapped_near_a_known_one() {
        for near in [ORIGIN, ORIGIN + 65_535, ORIGIN + 70_000] {
            for ahead in -32_000..32_000_i64 {
                let seq = near.wrapping_add_signed(ahead);
                assert_eq!(unwrap(near, seq as u16), seq);
            }
        }
    }
}
