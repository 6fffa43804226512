//! uTP: single packets, and a whole end under attack beside an honest connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::transport::utp::{Config, Event, Icmp, Utp, UtpId};
use anabranch_core::wire::utp::{Extension, HEADER_LEN, Header, Kind, Packet};
use anabranch_core::{Instant, Seed};
use bytes::Bytes;

use crate::draw::Draw;

/// What decodes is likely to be one, and encodes to what decodes to the same.
pub fn utp_packet(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else {
        return;
    };
    assert!(Packet::is_likely(data));
    assert_eq!(Packet::is_syn(data), packet.header.kind == Kind::Syn);
    let mut extensions = Vec::new();
    let mask = packet.selective.as_bytes();
    if !mask.is_empty() {
        extensions.push(Extension::Selective(mask));
    }
    extensions.extend(packet.bits.map(Extension::Bits));
    extensions.extend(packet.close_reason.map(Extension::CloseReason));
    let mut out = Vec::new();
    packet.header.encode(&extensions, &mut out);
    assert!(out.len() >= HEADER_LEN);
    out.extend_from_slice(packet.payload);
    assert_eq!(Packet::decode(&out), Ok(packet));
}

/// How long a packet takes.
const LATENCY: Duration = Duration::from_millis(20);

/// Steps of one sequence, at most.
const MAX_STEPS: usize = 2_000;

/// Connections that the end under attack has at most.
const PLACES: usize = 20;

/// An end takes whatever comes, within its bounds, and an honest connection beside it goes on.
pub fn utp(data: &[u8]) {
    let mut draw = Draw(data);
    let mut run = Run::new(&mut draw);
    for _ in 0..MAX_STEPS {
        let Some(step) = draw.next() else {
            break;
        };
        run.step(step, &mut draw);
    }
    run.finish();
}

struct End {
    utp: Utp,
    address: SocketAddr,
    events: Vec<Event>,
}

struct Run {
    now: Instant,
    /// Under attack.
    target: End,
    honest: End,
    /// On the way between them: when it arrives, and whether at the target.
    wire: VecDeque<(Instant, bool, Vec<u8>)>,
    /// What strangers were told, the last of it.
    told: VecDeque<(SocketAddr, Header)>,
    /// Connections with strangers.
    others: Vec<UtpId>,
    text: Bytes,
    got: Vec<u8>,
    begun: Instant,
    /// Whether strangers also speak in the honest end's name, with numbers that they overheard.
    overheard: bool,
    last: Option<Header>,
    buffer: Vec<u8>,
    /// Calls in a row that left something to do.
    overdue: u32,
}

impl Run {
    fn new(draw: &mut Draw<'_>) -> Self {
        let end = |seed, host| {
            let config = Config {
                max_connections: PLACES,
                receive_memory: 1 << 20,
                send_memory: 1 << 20,
                ..Config::default()
            };
            End {
                utp: Utp::new(config, Seed([seed; 32])),
                address: SocketAddr::new([10, 9, 9, host].into(), 6881),
                events: Vec::new(),
            }
        };
        let mut run = Self {
            now: Instant::from_millis(1_000),
            target: end(1, 1),
            honest: end(2, 2),
            wire: VecDeque::new(),
            told: VecDeque::new(),
            others: Vec::new(),
            text: (0..40_000_u32).map(|at| (at >> 3) as u8).collect(),
            got: Vec::new(),
            begun: Instant::from_millis(1_000),
            overheard: draw.chance(64),
            last: None,
            buffer: Vec::new(),
            overdue: 0,
        };
        let to = run.target.address;
        let stream = run.honest.utp.connect(run.now, to).expect("there is room");
        run.honest
            .utp
            .send(stream, run.text.clone())
            .expect("it fits");
        run.honest.utp.close(run.now, stream);
        run.settle();
        run
    }

    fn step(&mut self, step: u8, draw: &mut Draw<'_>) {
        match step % 8 {
            0..=3 => self.attack(draw),
            4 => {
                // A flood.
                for _ in 0..draw.byte() {
                    let from = draw.address();
                    let header = Header {
                        kind: Kind::Syn,
                        ..self.header(draw)
                    };
                    self.tell(from, header, &[], &[]);
                }
            }
            5 => {
                let wait = draw.duration().min(Duration::from_secs(2));
                self.pass(wait);
            }
            6 => self.order(draw),
            _ => {
                let to = draw.address();
                let what = match draw.byte() % 2 {
                    0 => Icmp::Unreachable,
                    _ => Icmp::TooBig(draw.number() as u16),
                };
                if to.ip() != self.honest.address.ip() {
                    self.target.utp.icmp(to, what);
                }
            }
        }
        self.settle();
        self.check();
    }

    fn header(&self, draw: &mut Draw<'_>) -> Header {
        let kinds = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
        Header {
            kind: kinds[draw.below(kinds.len())],
            connection: draw.number() as u16,
            timestamp: draw.number() as u32,
            delay: draw.number() as u32,
            window: draw.number() as u32,
            seq: draw.number() as u16,
            ack: draw.number() as u16,
        }
    }

    /// A packet of somebody who knows what he was told, or nothing.
    fn attack(&mut self, draw: &mut Draw<'_>) {
        let mut header = self.header(draw);
        let mut from = draw.address();
        let nearly = |draw: &mut Draw<'_>| draw.byte().wrapping_sub(8) as i8 as u16;
        if draw.chance(200)
            && let Some((to, told)) = self.told.get(draw.below(self.told.len())).copied()
        {
            // What answers it, nearly.
            from = to;
            header.connection = told.connection.wrapping_add(u16::from(draw.byte() % 3));
            header.ack = told.seq.wrapping_sub(1).wrapping_add(nearly(draw) % 9);
            header.seq = told.ack.wrapping_add(nearly(draw) % 9);
        } else if self.overheard
            && draw.chance(128)
            && let Some(last) = self.last
        {
            from = self.honest.address;
            header.connection = last.connection.wrapping_add(u16::from(draw.byte() % 3));
            header.ack = last.ack.wrapping_add(nearly(draw));
            header.seq = last.seq.wrapping_add(nearly(draw));
        }
        let mask = draw.bytes();
        let payload = draw.bytes();
        self.tell(from, header, &mask, &payload);
    }

    fn tell(&mut self, from: SocketAddr, header: Header, mask: &[u8], payload: &[u8]) {
        let mut packet = Vec::new();
        if mask.is_empty() {
            header.encode(&[], &mut packet);
        } else {
            header.encode(&[Extension::Selective(mask)], &mut packet);
        }
        packet.extend_from_slice(payload);
        let End { utp, events, .. } = &mut self.target;
        utp.datagram(self.now, from, &packet, self.now, events);
    }

    fn order(&mut self, draw: &mut Draw<'_>) {
        let utp = &mut self.target.utp;
        let Some(id) = self.others.get(draw.below(self.others.len())).copied() else {
            let to = draw.address();
            if to.ip() != self.honest.address.ip() {
                self.others.extend(utp.connect(self.now, to));
            }
            return;
        };
        match draw.byte() % 5 {
            0 => utp.credit(id, draw.number()),
            1 => utp.close(self.now, id),
            2 => utp.abort(self.now, id),
            _ => {
                let _ = utp.send(id, draw.bytes());
            }
        }
    }

    /// Lets time pass, and what is on the way arrive.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = [
                self.wire.front().map(|(at, ..)| *at),
                self.target.utp.deadline(),
                self.honest.utp.deadline(),
            ];
            let next = next.into_iter().flatten().min();
            match next {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            while let Some((at, _, _)) = self.wire.front()
                && *at <= self.now
                && let Some((at, at_target, packet)) = self.wire.pop_front()
            {
                let (end, from) = if at_target {
                    (&mut self.target, self.honest.address)
                } else {
                    (&mut self.honest, self.target.address)
                };
                end.utp
                    .datagram(self.now, from, &packet, at, &mut end.events);
            }
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    fn settle(&mut self) {
        for at_target in [true, false] {
            let (end, other) = if at_target {
                (&mut self.target, self.honest.address)
            } else {
                (&mut self.honest, self.target.address)
            };
            end.utp.settle(self.now, &mut end.events);
            while let Some(transmit) = end
                .utp
                .transmit(self.now, &mut self.buffer, &mut end.events)
            {
                for packet in self.buffer.chunks(transmit.segment) {
                    let header = Packet::decode(packet).expect("our own").header;
                    if transmit.to == other {
                        if !at_target {
                            self.last = Some(header);
                        }
                        let at = self.now + LATENCY;
                        self.wire.push_back((at, !at_target, packet.to_vec()));
                    } else {
                        self.told.push_back((transmit.to, header));
                        if self.told.len() > 32 {
                            self.told.pop_front();
                        }
                    }
                }
            }
            // What is due at this very moment may take a call more, and not many.
            let is_due = end.utp.deadline().is_some_and(|at| at <= self.now);
            self.overdue = if is_due { self.overdue + 1 } else { 0 };
            assert!(self.overdue < 20, "more and more is to be done at once");
        }
        let events = std::mem::take(&mut self.target.events);
        for event in events {
            match event {
                Event::Incoming { id, from } if from == self.honest.address => {
                    self.target.utp.credit(id, 1 << 20);
                }
                Event::Incoming { id, .. } => self.others.push(id),
                Event::Readable { id, bytes } => {
                    if !self.others.contains(&id) {
                        self.got.extend_from_slice(&bytes);
                    }
                }
                Event::Finished { id } => self.target.utp.close(self.now, id),
                Event::Closed { id, .. } => self.others.retain(|other| *other != id),
                Event::Connected { .. } | Event::Sent { .. } => {}
            }
        }
        self.honest.events.clear();
    }

    fn check(&self) {
        let utp = &self.target.utp;
        assert!(utp.len() <= PLACES, "connections are bounded");
        let (received, sent) = utp.memory();
        let each = (utp.len() as u64) * (64 << 10);
        assert!(received <= (1 << 20) + each, "{received} bytes received");
        assert!(sent <= (1 << 20) + each, "{sent} bytes under way");
        if !self.overheard {
            assert!(
                self.text.starts_with(&self.got),
                "other bytes than were sent"
            );
        }
    }

    /// Nobody attacks any more: what is honest has arrived within minutes.
    fn finish(mut self) {
        for _ in 0..600 {
            if self.overheard || self.got.len() == self.text.len() {
                break;
            }
            self.pass(Duration::from_secs(1));
            self.check();
        }
        // All places may have been taken before it came, and then it was refused.
        let was_refused = self.got.is_empty() && self.honest.utp.is_empty();
        assert!(
            self.overheard || was_refused || self.got == self.text,
            "{} of {} bytes came in {:?}",
            self.got.len(),
            self.text.len(),
            self.now.since(self.begun)
        );
    }
}
