//! What a connection sends, and when the windows and the pace let it.

use alloc::vec::Vec;

use super::super::delay::micros;
use super::super::limits::{MAX_BATCH, MAX_BATCH_BYTES, MAX_PACKETS};
use super::super::send::Outgoing;
use super::super::{Event, Transmit, UtpId};
use super::{Connection, Lent};
use crate::time::Instant;
use crate::wire::utp::{Extension, HEADER_LEN, Header, Kind, MAX_PADDING, MAX_SELECTIVE};

/// What may leave next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Again(u16),
    New(u16),
    Probe(u16),
    Fin,
}

impl Connection {
    pub(super) const fn payload_len(&self) -> u16 {
        self.mtu.current() - HEADER_LEN as u16
    }

    /// What the windows let leave, whatever the pace.
    pub(super) fn next(&mut self, now: Instant, room: u64) -> Option<Next> {
        if !self.is_open {
            return None;
        }
        let in_flight = self.sender.in_flight();
        let window = self.congestion.window();
        if let Some(len) = self.sender.lost_len() {
            // The one that all wait for is never held back: masks may have no room for what has arrived behind it, which
            // seems to be under way for as long.
            let is_first = self.sender.is_first_lost();
            if in_flight == 0 || self.nudged || is_first || in_flight + u64::from(len) <= window {
                return Some(Next::Again(len));
            }
            self.held_back = true;
            return None;
        }
        let unsent = self.sender.unsent();
        if unsent == 0 {
            let is_end = self.closing && self.sender.fin().is_none();
            return is_end.then_some(Next::Fin);
        }
        let len = u64::from(self.payload_len()).min(unsent);
        if self.sender.packets() >= MAX_PACKETS || room < len {
            return None;
        }
        if self.sender.outstanding() + len > u64::from(self.window) && !self.nudged {
            return None;
        }
        if in_flight > 0 && !self.nudged && in_flight + len > window {
            self.held_back = true;
            return None;
        }
        let len = len as u16;
        if len == self.payload_len()
            && in_flight >= u64::from(len) * 3
            && let Some(probe) = self.mtu.wants(now)
            && probe > self.mtu.current() + 1
        {
            return Some(Next::Probe(probe));
        }
        Some(Next::New(len))
    }

    /// Whether there is something to transmit at this time.
    pub(in super::super) fn wants_to_transmit(&mut self, now: Instant, room: u64) -> bool {
        self.syn_now
            || self.ack_now
            || (self.nudged || self.pacer.is_due(now)) && self.next(now, room).is_some()
    }

    /// Writes the next packets: one, or several of the same length of which the last may be shorter.
    pub(in super::super) fn transmit(
        &mut self,
        lent: &mut Lent<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let now = lent.now;
        let room = lent.receive_room;
        if self.syn_now {
            self.syn_now = false;
            self.last_sent = now;
            self.waits_since = now;
            let header = Header {
                connection: self.local,
                seq: self.syn,
                ack: 0,
                ..self.header(Kind::Syn, now, room)
            };
            header.encode(&[], out);
            return Some(self.batch(lent.id, out, 0, false));
        }
        // Payload acknowledges as well, but has no room to say what is behind a gap.
        let has_next = |this: &mut Self| {
            (this.nudged || this.pacer.is_due(now)) && this.next(now, lent.send_room).is_some()
        };
        if self.ack_now && (self.receiver.has_gap() || !has_next(self)) {
            self.state(now, room, out);
            return Some(self.batch(lent.id, out, 0, false));
        }
        let mut segment = 0;
        let mut may_fragment = false;
        let mut send_room = lent.send_room;
        while self.nudged || self.pacer.is_due(now) {
            let Some(next) = self.next(now, send_room) else {
                break;
            };
            let len = match next {
                Next::Again(len) | Next::New(len) => usize::from(len) + HEADER_LEN,
                Next::Fin => HEADER_LEN,
                Next::Probe(len) => usize::from(len),
            };
            // A shorter one ends a batch, a longer one or a probe begins one.
            let is_first = segment == 0;
            let fits = len <= segment && out.len() + len <= MAX_BATCH_BYTES;
            if !is_first
                && (!fits || matches!(next, Next::Probe(_)) || out.len() / segment >= MAX_BATCH)
            {
                break;
            }
            let was_nudged = core::mem::take(&mut self.nudged);
            if self.sender.is_idle() {
                self.waits_since = now;
            }
            let packet = match next {
                Next::Again(_) => match self.sender.resend(now) {
                    Some(packet) => packet,
                    None => break,
                },
                Next::New(len) => self.sender.send(now, len, 0),
                Next::Fin => self.sender.send_fin(now),
                Next::Probe(len) => {
                    self.mtu.sent(len);
                    self.sender.send(now, self.payload_len(), len)
                }
            };
            let probe = if let Next::Probe(len) = next { len } else { 0 };
            self.write(now, room, packet, probe, out);
            may_fragment |= !packet.fresh && len > usize::from(self.mtu.current());
            self.pacer.sent(now, len as u64);
            self.last_sent = now;
            self.resent += u64::from(!packet.fresh);
            if packet.fresh {
                send_room = send_room.saturating_sub(u64::from(packet.len));
                if packet.len > 0 {
                    sent(lent, packet.len);
                }
            }
            if is_first {
                segment = len;
            }
            // One that had leave to go although it was not its turn goes alone.
            if len < segment || probe > 0 || was_nudged {
                break;
            }
        }
        (segment > 0).then(|| self.batch(lent.id, out, segment, may_fragment))
    }

    fn batch(&self, id: UtpId, out: &[u8], segment: usize, may_fragment: bool) -> Transmit {
        Transmit {
            to: self.addr,
            id: Some(id),
            socket: self.socket,
            segment: if segment == 0 { out.len() } else { segment },
            may_fragment,
        }
    }

    pub(super) fn header(&mut self, kind: Kind, now: Instant, room: u64) -> Header {
        self.told = self.receiver.window(room);
        Header {
            kind,
            connection: self.remote,
            timestamp: micros(now),
            delay: self.delay.reply(),
            window: self.told,
            seq: self.sender.next() as u16,
            ack: (self.receiver.next() - 1) as u16,
        }
    }

    /// Writes an acknowledgement.
    fn state(&mut self, now: Instant, room: u64, out: &mut Vec<u8>) {
        let header = self.header(Kind::State, now, room);
        let mut mask = [0; MAX_SELECTIVE];
        let len = self.receiver.mask(&mut mask);
        match mask.get(..len) {
            Some(mask) if len > 0 => header.encode(&[Extension::Selective(mask)], out),
            _ => header.encode(&[], out),
        }
        self.last_sent = now;
        self.acknowledged_all();
    }

    const fn acknowledged_all(&mut self) {
        self.ack_now = false;
        self.ack_due = None;
        self.unacked = 0;
    }

    fn write(&mut self, now: Instant, room: u64, packet: Outgoing, probe: u16, out: &mut Vec<u8>) {
        let kind = if packet.fin { Kind::Fin } else { Kind::Data };
        let header = Header {
            seq: packet.seq as u16,
            ..self.header(kind, now, room)
        };
        let mut padding = Vec::new();
        let mut missing = usize::from(probe).saturating_sub(HEADER_LEN + usize::from(packet.len));
        while missing >= 2 {
            // An extension has two bytes at least, so that a rest of one must not be left.
            let len = if missing == MAX_PADDING + 1 {
                missing - 2
            } else {
                missing.min(MAX_PADDING)
            };
            padding.push(Extension::Padding((len - 2) as u8));
            missing -= len;
        }
        header.encode(&padding, out);
        self.sender.copy(packet, out);
        if !self.receiver.has_gap() {
            self.acknowledged_all();
        }
    }
}

/// Says that bytes have left, in one event for those that leave together.
fn sent(lent: &mut Lent<'_>, len: u16) {
    let id = lent.id;
    if let Some(Event::Sent { id: last, bytes }) = lent.events.last_mut()
        && *last == id
    {
        *bytes += u64::from(len);
    } else {
        lent.events.push(Event::Sent {
            id,
            bytes: u64::from(len),
        });
    }
}
