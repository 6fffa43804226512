//! What goes out: bytes that wait, packets under way, and which of them are lost.
//!
//! Losses are found as RACK does (RFC 8985): a packet is lost when one that was sent later has arrived, and the time in
//! which it could still be overtaken has passed. Each transmission is judged by its own time, so that nothing is sent
//! twice for one loss, and a resend that is lost is found as well. Judged are only packets below the highest one that is
//! known to have arrived: others' selective acknowledgements speak of 32 packets often, ours of 2,016, and what they do
//! not speak of is not lost.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::time::Instant;

/// Arrivals behind a gap after which it is a loss without waiting, as long as nothing was ever reordered.
const ENOUGH: usize = 3;

/// Quarters of the least round trip that a packet may be overtaken by, at most.
const MAX_REORDERING: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    UnderWay,
    Lost,
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    offset: u64,
    len: u16,
    /// The length of the datagram, if it was a probe for a longer one.
    probe: u16,
    sends: u8,
    fate: Fate,
    fin: bool,
    /// Sent again only to hear something.
    nudged: bool,
}

/// A packet to encode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) seq: u64,
    pub(super) fin: bool,
    pub(super) offset: u64,
    pub(super) len: u16,
    /// Whether it is sent for the first time.
    pub(super) fresh: bool,
}

/// What an acknowledgement, or time, did.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Bytes that arrived, now that we know.
    pub(super) bytes: u64,
    /// Packets that did.
    pub(super) packets: u32,
    pub(super) trip: Option<Duration>,
    /// Bytes that are lost, without probes.
    pub(super) lost: u64,
    /// Whether they begin a round trip of losses.
    pub(super) first: bool,
    pub(super) probe_arrived: Option<u16>,
    pub(super) probe_lost: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Sender {
    chunks: VecDeque<(u64, Bytes)>,
    /// Offsets of the first byte that was not sent, and of the one behind the last.
    sent_to: u64,
    end: u64,
    /// The number of the first packet in `flight`.
    first: u64,
    flight: VecDeque<Sent>,
    arrived: usize,
    /// Bytes under way, and bytes lost and not sent again.
    in_flight: u64,
    lost_bytes: u64,
    lost: VecDeque<u64>,
    /// Packets that were sent again, by time.
    resent: VecDeque<(u64, Instant)>,
    /// Packets before it that were sent once are judged.
    judged: u64,
    /// The highest packet that has arrived.
    highest: u64,
    /// The packet sent last among those that have arrived: its time, its number, how long it took.
    latest: (Instant, u64, Duration),
    reordered: bool,
    reordering: u32,
    /// Losses below it belong to what is known already.
    recovery: u64,
    reorder_at: Option<Instant>,
    /// The first byte that FIN comes behind has this number, once it is sent.
    fin: Option<u64>,
}

impl Sender {
    pub(super) fn new(first: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            sent_to: 0,
            end: 0,
            first,
            flight: VecDeque::new(),
            arrived: 0,
            in_flight: 0,
            lost_bytes: 0,
            lost: VecDeque::new(),
            resent: VecDeque::new(),
            judged: first,
            highest: first - 1,
            latest: (Instant::ZERO, 0, Duration::ZERO),
            reordered: false,
            reordering: 1,
            recovery: first,
            reorder_at: None,
            fin: None,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let start = self.end;
            self.end += bytes.len() as u64;
            self.chunks.push_back((start, bytes));
        }
    }

    /// A new packet with so many bytes.
    pub(super) fn send(&mut self, now: Instant, len: u16, probe: u16) -> Outgoing {
        let len = u64::from(len).min(self.unsent()) as u16;
        self.add(now, len, probe, false)
    }

    pub(super) fn send_fin(&mut self, now: Instant) -> Outgoing {
        self.fin = Some(self.next());
        self.add(now, 0, 0, true)
    }

    fn add(&mut self, now: Instant, len: u16, probe: u16, fin: bool) -> Outgoing {
        let (seq, offset) = (self.next(), self.sent_to);
        self.flight.push_back(Sent {
            at: now,
            offset,
            len,
            probe,
            sends: 1,
            fate: Fate::UnderWay,
            fin,
            nudged: false,
        });
        self.sent_to += u64::from(len);
        self.in_flight += u64::from(len);
        Outgoing {
            seq,
            fin,
            offset,
            len,
            fresh: true,
        }
    }

    /// The length of the next packet that is to be sent again.
    pub(super) fn lost_len(&mut self) -> Option<u16> {
        loop {
            let seq = *self.lost.front()?;
            if let Some(sent) = self.get(seq)
                && sent.fate == Fate::Lost
            {
                return Some(sent.len);
            }
            self.lost.pop_front();
        }
    }

    /// Whether that is the first packet that has not arrived.
    pub(super) fn is_first_lost(&self) -> bool {
        self.lost.front() == Some(&self.first)
    }

    /// Sends it again.
    pub(super) fn resend(&mut self, now: Instant) -> Option<Outgoing> {
        self.lost_len()?;
        let seq = self.lost.pop_front()?;
        let at = (seq - self.first) as usize;
        let sent = self.flight.get_mut(at)?;
        sent.at = now;
        sent.sends = sent.sends.saturating_add(1);
        sent.fate = Fate::UnderWay;
        sent.probe = 0;
        let sent = *sent;
        self.lost_bytes -= u64::from(sent.len);
        self.in_flight += u64::from(sent.len);
        self.resent.push_back((seq, now));
        Some(Outgoing {
            seq,
            fin: sent.fin,
            offset: sent.offset,
            len: sent.len,
            fresh: false,
        })
    }

    /// Has a packet sent again so that there is an answer: the last one under way, whose arrival shows what is lost before
    /// it; or, where that is known, the one that all wait for, since masks may have no room for the arrival of others.
    pub(super) fn nudge(&mut self) -> bool {
        let is_under_way = |sent: &Sent| sent.fate == Fate::UnderWay;
        let at = if self.has_gap() {
            self.flight.iter().position(is_under_way)
        } else {
            let back = self.flight.iter().rev().position(is_under_way);
            back.map(|back| self.flight.len() - 1 - back)
        };
        let Some(at) = at else { return false };
        if let Some(sent) = self.flight.get_mut(at) {
            sent.fate = Fate::Lost;
            sent.nudged = true;
            self.in_flight -= u64::from(sent.len);
            self.lost_bytes += u64::from(sent.len);
            self.lost.push_front(self.first + at as u64);
        }
        true
    }

    /// Takes what the other end says has arrived: all up to `ack`, and behind it what the mask says.
    pub(super) fn ack(&mut self, now: Instant, ack: u64, mask: &[u8], least: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let mut newest = None;
        while self.first <= ack {
            let Some(sent) = self.flight.pop_front() else {
                break;
            };
            let seq = self.first;
            self.first += 1;
            if sent.fate == Fate::Arrived {
                self.arrived -= 1;
            } else {
                self.arrive(now, seq, sent, least, &mut outcome, &mut newest);
            }
        }
        self.judged = self.judged.max(self.first);
        let kept = self.flight.front().map_or(self.sent_to, |sent| sent.offset);
        while let Some((start, bytes)) = self.chunks.front()
            && start + bytes.len() as u64 <= kept
        {
            self.chunks.pop_front();
        }
        for (byte, bits) in mask.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            for bit in (0..8).filter(|bit| bits & 1 << bit != 0) {
                let seq = ack + 2 + byte as u64 * 8 + bit;
                let Some(at) = seq.checked_sub(self.first) else {
                    continue;
                };
                let Some(sent) = self.flight.get_mut(at as usize) else {
                    break;
                };
                if sent.fate != Fate::Arrived {
                    let was = *sent;
                    sent.fate = Fate::Arrived;
                    self.arrived += 1;
                    self.arrive(now, seq, was, least, &mut outcome, &mut newest);
                }
            }
        }
        outcome.trip = newest.map(|at| now.since(at));
        outcome
    }

    fn arrive(
        &mut self,
        now: Instant,
        seq: u64,
        sent: Sent,
        least: Duration,
        outcome: &mut Outcome,
        newest: &mut Option<Instant>,
    ) {
        let len = u64::from(sent.len);
        outcome.bytes += len;
        outcome.packets += 1;
        let took = now.since(sent.at);
        let mut proves = true;
        match sent.fate {
            Fate::Lost => {
                self.lost_bytes -= len;
                self.reordered |= !sent.nudged;
            }
            Fate::UnderWay | Fate::Arrived => {
                self.in_flight -= len;
                if sent.sends == 1 {
                    // Karn: which transmission of one that was sent again has arrived, nobody knows.
                    *newest = (*newest).max(Some(sent.at));
                    self.reordered |= seq < self.highest;
                } else if took < least / 2 {
                    // It can't be the last one.
                    proves = false;
                    if !sent.nudged {
                        self.reordered = true;
                        self.reordering = (self.reordering + 1).min(MAX_REORDERING);
                    }
                }
            }
        }
        if sent.probe > 0 && sent.sends == 1 {
            outcome.probe_arrived = Some(sent.probe);
        }
        if proves && (sent.at, seq) > (self.latest.0, self.latest.1) {
            self.latest = (sent.at, seq, took);
        }
        self.highest = self.highest.max(seq);
    }

    /// Finds out what is lost by now.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        least: Duration,
        smoothed: Duration,
        outcome: &mut Outcome,
    ) {
        let patience = if !self.reordered && self.arrived >= ENOUGH {
            Duration::ZERO
        } else {
            (least * self.reordering / 4).min(smoothed)
        };
        let (latest, latest_seq, took) = self.latest;
        self.reorder_at = None;
        // Whether a transmission is lost, is not known yet but will be at some time, or can't be judged.
        let verdict = |seq: u64, at: Instant| {
            if (at, seq) >= (latest, latest_seq) {
                return None;
            }
            Some(at + took + patience)
        };
        while self.judged < self.highest {
            let seq = self.judged;
            if let Some(sent) = self.get(seq)
                && sent.fate == Fate::UnderWay
                && sent.sends == 1
            {
                match verdict(seq, sent.at) {
                    Some(due) if due <= now => self.lose(seq, outcome),
                    other => {
                        self.reorder_at = other;
                        break;
                    }
                }
            }
            self.judged += 1;
        }
        while let Some((seq, at)) = self.resent.front().copied() {
            if let Some(sent) = self.get(seq)
                && sent.fate == Fate::UnderWay
                && sent.at == at
            {
                match verdict(seq, at) {
                    Some(due) if due <= now && seq < self.highest => self.lose(seq, outcome),
                    Some(due) if seq < self.highest => {
                        self.reorder_at = Some(self.reorder_at.map_or(due, |first| first.min(due)));
                        break;
                    }
                    _ => break,
                }
            }
            self.resent.pop_front();
        }
        if outcome.first {
            self.recovery = self.next();
        }
    }

    fn lose(&mut self, seq: u64, outcome: &mut Outcome) {
        let Some(sent) = self.flight.get_mut((seq - self.first) as usize) else {
            return;
        };
        sent.fate = Fate::Lost;
        let len = u64::from(sent.len);
        self.in_flight -= len;
        self.lost_bytes += len;
        self.lost.push_back(seq);
        if sent.probe > 0 {
            outcome.probe_lost = Some(sent.probe);
        } else {
            outcome.lost += len;
            outcome.first |= seq >= self.recovery;
        }
    }

    /// Nothing was heard for too long: whatever is under way is lost. Returns the length of the longest packet of it, and
    /// of a probe.
    pub(super) fn lose_all(&mut self) -> (u16, Option<u16>) {
        let (mut longest, mut probe) = (0, None);
        self.lost.clear();
        self.resent.clear();
        for (at, sent) in self.flight.iter_mut().enumerate() {
            if sent.fate == Fate::Arrived {
                continue;
            }
            if sent.fate == Fate::UnderWay {
                self.in_flight -= u64::from(sent.len);
                self.lost_bytes += u64::from(sent.len);
                sent.fate = Fate::Lost;
            }
            // What was sent twice because of it says nothing about reordering.
            sent.nudged = true;
            if sent.probe > 0 {
                probe = Some(sent.probe);
            } else {
                longest = longest.max(sent.len);
            }
            self.lost.push_back(self.first + at as u64);
        }
        self.recovery = self.next();
        self.reorder_at = None;
        (longest, probe)
    }

    /// Appends the payload of a packet.
    pub(super) fn copy(&self, packet: Outgoing, out: &mut Vec<u8>) {
        let (mut from, end) = (packet.offset, packet.offset + u64::from(packet.len));
        let behind = self.chunks.partition_point(|(start, _)| *start <= from);
        let mut at = behind.saturating_sub(1);
        while from < end {
            let Some((start, bytes)) = self.chunks.get(at) else {
                return;
            };
            let skip = from.saturating_sub(*start) as usize;
            let Some(part) = bytes.get(skip..) else {
                return;
            };
            let part = part.get(..(end - from) as usize).unwrap_or(part);
            out.extend_from_slice(part);
            from += part.len() as u64;
            at += 1;
        }
    }

    /// Gives back what idle queues hold.
    pub(super) fn shrink(&mut self) {
        if self.flight.is_empty() {
            self.flight = VecDeque::new();
            self.lost = VecDeque::new();
            self.resent = VecDeque::new();
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
    }

    fn get(&self, seq: u64) -> Option<Sent> {
        let at = seq.checked_sub(self.first)?;
        self.flight.get(at as usize).copied()
    }

    /// The first packet that has not arrived.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next new packet.
    pub(super) fn next(&self) -> u64 {
        self.first + self.flight.len() as u64
    }

    pub(super) const fn unsent(&self) -> u64 {
        self.end - self.sent_to
    }

    /// Bytes that are kept: waiting, under way, or arrived behind a gap.
    pub(super) fn kept(&self) -> u64 {
        self.end - self.flight.front().map_or(self.sent_to, |sent| sent.offset)
    }

    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Bytes that are not known to have arrived.
    pub(super) const fn outstanding(&self) -> u64 {
        self.in_flight + self.lost_bytes
    }

    pub(super) fn packets(&self) -> u64 {
        self.flight.len() as u64
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_empty()
    }

    /// Whether something has arrived behind what has not.
    pub(super) const fn has_gap(&self) -> bool {
        self.arrived > 0
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) const fn reorder_at(&self) -> Option<Instant> {
        self.reorder_at
    }

    pub(super) const fn fin(&self) -> Option<u64> {
        self.fin
    }

    /// Whether FIN, and so all before it, has arrived.
    pub(super) fn is_finished(&self) -> bool {
        self.fin.is_some_and(|fin| fin < self.first)
    }

    /// Whether all has arrived but FIN.
    pub(super) fn only_fin_is_left(&self) -> bool {
        self.fin == Some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A sender with so many packets of 10 bytes under way, one sent each millisecond.
    fn sender(packets: u64) -> Sender {
        let mut sender = Sender::new(1_000);
        for byte in 0..packets {
            sender.push(Bytes::from(std::vec![byte as u8; 10]));
        }
        for millis in 0..packets {
            sender.send(at(millis), 10, 0);
        }
        sender
    }

    fn ack(sender: &mut Sender, millis: u64, ack: u64, mask: &[u8]) -> Outcome {
        let mut outcome = sender.ack(at(millis), ack, mask, TRIP);
        sender.judge(at(millis), TRIP, TRIP, &mut outcome);
        outcome
    }

    #[test]
    fn payload_is_what_was_given_wherever_packets_begin() {
        let mut sender = Sender::new(7);
        let bytes: Vec<u8> = (0..=255).collect();
        for part in bytes.chunks(37) {
            sender.push(Bytes::copy_from_slice(part));
        }
        let mut out = Vec::new();
        while sender.unsent() > 0 {
            let packet = sender.send(at(0), 50, 0);
            sender.copy(packet, &mut out);
        }
        assert_eq!(out, bytes);
        assert_eq!(sender.kept(), 256);
        ack(&mut sender, 1, 8, &[]);
        assert_eq!(sender.kept(), 156);
        sender.lose_all();
        let mut out = Vec::new();
        while let Some(packet) = sender.resend(at(2)) {
            sender.copy(packet, &mut out);
        }
        assert_eq!(out, bytes[100..]);
    }

    #[test]
    fn three_arrivals_behind_a_gap_are_a_loss_and_one_is_sent_again() {
        let mut sender = sender(6);
        assert_eq!(ack(&mut sender, 100, 999, &[0b01]).lost, 0);
        assert_eq!(ack(&mut sender, 101, 999, &[0b11]).lost, 0);
        let outcome = ack(&mut sender, 102, 999, &[0b111]);
        assert_eq!((outcome.lost, outcome.first), (10, true));
        let again = sender.resend(at(102)).expect("it is lost");
        assert_eq!(again.seq, 1_000);
        // More of the same says nothing new.
        for millis in 103..105 {
            let outcome = ack(&mut sender, millis, 999, &[0b1_1111]);
            assert_eq!(outcome.lost, 0);
            assert!(sender.resend(at(millis)).is_none());
        }
    }

    #[test]
    fn a_resend_that_is_lost_is_found() {
        let mut sender = sender(5);
        ack(&mut sender, 100, 999, &[0b111]);
        sender.resend(at(100)).expect("it is lost");
        sender.push(Bytes::from_static(&[0; 10]));
        sender.send(at(110), 10, 0);
        // That one is acknowledged, the one sent again before it is not.
        let outcome = ack(&mut sender, 210, 999, &[0b1_1111]);
        assert_eq!((outcome.lost, outcome.first), (10, false));
        assert_eq!(sender.resend(at(211)).map(|packet| packet.seq), Some(1_000));
    }

    #[test]
    fn what_is_only_overtaken_is_waited_for() {
        let mut sender = sender(20);
        // One is overtaken, and arrives.
        ack(&mut sender, 100, 999, &[0b1]);
        ack(&mut sender, 101, 1_001, &[]);
        // From now on arrivals alone are not enough: a quarter of a round trip must pass.
        let outcome = ack(&mut sender, 106, 1_001, &[0b1111]);
        assert_eq!(outcome.lost, 0);
        let due = sender.reorder_at().expect("it is waited for");
        assert!(due > at(106) && due <= at(106) + TRIP / 4, "{due}");
        let mut outcome = Outcome::default();
        sender.judge(due, TRIP, TRIP, &mut outcome);
        assert_eq!(outcome.lost, 10);
    }

    #[test]
    fn round_trips_are_of_packets_that_were_sent_once() {
        let mut sender = sender(1);
        sender.lose_all();
        sender.resend(at(500)).expect("it is lost");
        assert_eq!(ack(&mut sender, 510, 1_000, &[]).trip, None);
        assert!(sender.is_idle());
    }

    #[test]
    fn what_masks_do_not_speak_of_is_not_lost() {
        let mut sender = sender(200);
        // 32 bits, as libutp sends.
        let outcome = ack(&mut sender, 300, 999, &[0xff; 4]);
        assert_eq!(outcome.lost, 10);
        sender.resend(at(300)).expect("it is lost");
        let outcome = ack(&mut sender, 400, 1_032, &[]);
        assert_eq!(outcome.lost, 0);
        assert!(sender.resend(at(400)).is_none());
        assert_eq!(sender.in_flight(), 167 * 10);
    }

    #[test]
    fn bits_beyond_what_was_sent_and_old_acknowledgements_say_nothing() {
        let mut sender = sender(3);
        let outcome = ack(&mut sender, 100, 999, &[0xff; 252]);
        assert_eq!(outcome.packets, 2);
        let outcome = ack(&mut sender, 100, 900, &[0xff; 252]);
        assert_eq!(outcome.packets, 1);
        assert_eq!(sender.in_flight(), 0);
    }

    #[test]
    fn a_nudge_sends_the_last_packet_again() {
        let mut sender = sender(3);
        assert!(sender.nudge());
        assert_eq!(sender.resend(at(300)).map(|packet| packet.seq), Some(1_002));
        assert_eq!(sender.in_flight(), 30);
    }
}
