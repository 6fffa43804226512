//! Peers that come by uTP: they learn from the engine's packets what a connection needs, and speak over it.

use std::net::SocketAddr;

use anabranch_core::command::Command;
use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::wire::utp::{Header, Kind, Packet};
use anabranch_core::wire::{Handshake, PeerId, Reserved};
use anabranch_core::{Event, Transports};
use bytes::BytesMut;

use super::{Run, message};
use crate::draw::Draw;

/// Callers that are remembered.
const MAX_CALLERS: usize = 16;

/// What a caller lets come.
const WINDOW: u32 = 1 << 20;

/// One that asked for a connection.
pub(super) struct Caller {
    from: SocketAddr,
    /// What the engine's packets bear; its own bear one more.
    connection: u16,
    seq: u16,
    ack: u16,
    stands: bool,
    greeted: bool,
    answered: bool,
}

impl Caller {
    fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            connection: self.connection.wrapping_add(u16::from(kind != Kind::Syn)),
            timestamp: 0,
            delay: 0,
            window: WINDOW,
            seq: self.seq,
            ack: self.ack,
        }
    }
}

impl Run {
    pub(super) fn packets(&mut self, draw: &mut Draw<'_>) {
        match draw.byte() % 16 {
            0..=2 => self.call(draw),
            3 => self.stray(draw),
            4 => self.feed(Event::Flushed { len: draw.number() }),
            5 => {
                let all = [Transports::Both, Transports::Utp, Transports::Tcp];
                self.command(Command::SetTransports(all[draw.below(all.len())]));
            }
            _ => self.say(draw),
        }
    }

    /// What a caller learns of a packet to it.
    pub(super) fn overhear(&mut self, outbound: &Outbound) {
        for packet in outbound.packets() {
            let Ok(Packet { header, .. }) = Packet::decode(&packet) else {
                return;
            };
            let is_to = |caller: &&mut Caller| {
                caller.from == outbound.to && caller.connection == header.connection
            };
            let Some(caller) = self.callers.iter_mut().find(is_to) else {
                continue;
            };
            match header.kind {
                Kind::State if !caller.stands => {
                    caller.stands = true;
                    caller.ack = header.seq.wrapping_sub(1);
                }
                Kind::Data | Kind::Fin if header.seq == caller.ack.wrapping_add(1) => {
                    caller.ack = header.seq;
                    if !std::mem::replace(&mut caller.answered, true) {
                        self.outcome.spoken += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn call(&mut self, draw: &mut Draw<'_>) {
        let caller = Caller {
            from: draw.address(),
            connection: draw.number() as u16,
            seq: draw.number() as u16,
            ack: 0,
            stands: false,
            greeted: false,
            answered: false,
        };
        let mut packet = Vec::new();
        caller.header(Kind::Syn).encode(&[], &mut packet);
        let from = caller.from;
        if self.callers.len() == MAX_CALLERS {
            self.callers.remove(0);
        }
        self.callers.push(Caller {
            seq: caller.seq.wrapping_add(1),
            ..caller
        });
        self.feed(Event::datagram(from, packet.into()));
    }

    /// A packet of nobody, or of a caller who lost count.
    fn stray(&mut self, draw: &mut Draw<'_>) {
        let kinds = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
        let caller = self.callers.get(draw.below(self.callers.len()));
        let header = Header {
            kind: kinds[draw.below(kinds.len())],
            connection: caller.map_or(0, |caller| caller.connection) ^ u16::from(draw.byte() % 4),
            timestamp: draw.number() as u32,
            delay: draw.number() as u32,
            window: draw.number() as u32,
            seq: draw.number() as u16,
            ack: draw.number() as u16,
        };
        let from = caller.map(|caller| caller.from);
        let from = from.unwrap_or_else(|| draw.address());
        let mut packet = Vec::new();
        header.encode(&[], &mut packet);
        packet.extend_from_slice(&draw.bytes());
        self.feed(Event::datagram(from, packet.into()));
    }

    /// A caller shakes hands, or says a message, in one packet or in several that the system joined.
    fn say(&mut self, draw: &mut Draw<'_>) {
        let at = draw.below(self.callers.iter().filter(|caller| caller.stands).count());
        let mut standing = self.callers.iter_mut().filter(|caller| caller.stands);
        let Some(caller) = standing.nth(at) else {
            return self.call(draw);
        };
        let mut said = BytesMut::new();
        if !std::mem::replace(&mut caller.greeted, true) {
            let handshake = Handshake {
                reserved: Reserved::default().with_fast(true).with_extended(true),
                info_hash: *self.torrents[0].metainfo.info_hash().as_bytes(),
                peer_id: PeerId([draw.byte(); 20]),
            };
            said.extend_from_slice(&handshake.encode());
        }
        message(draw).encode(&mut said);
        let part = match draw.byte() % 4 {
            0 => said.len().div_ceil(3).max(1),
            _ => 1_000,
        };
        let mut joined = Vec::new();
        let mut segment = 0;
        for payload in said.chunks(part) {
            caller.header(Kind::Data).encode(&[], &mut joined);
            joined.extend_from_slice(payload);
            caller.seq = caller.seq.wrapping_add(1);
            if segment == 0 {
                segment = joined.len() as u32;
            }
        }
        // Cut apart elsewhere than they were joined.
        if draw.chance(16) {
            segment = draw.small();
        }
        let inbound = Inbound::new(caller.from, joined.into()).in_segments(segment);
        self.feed(Event::Datagram(inbound));
    }
}
