//! Scripted peers: hosts that say whatever they like, byte for byte.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::event::CloseReason;
use anabranch_core::wire::{
    BlockRequest, Decoder, Frame, Handshake, HandshakeDecoder, Limits, Message, PeerId, Reserved,
    encode_piece_header,
};
use bytes::{Bytes, BytesMut};

use crate::chance::Chance;
use crate::content::Content;

/// A host without an engine. It is told what happens and says what it does about it.
pub trait Actor: fmt::Debug + Send {
    /// Something happened.
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent);
}

/// What happens to an actor. Connections have numbers of their own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ActorEvent {
    /// It is there: the first event.
    Started,
    /// Somebody dialled.
    Incoming {
        /// The connection.
        conn: u64,
        /// Who.
        from: SocketAddr,
    },
    /// A connection that it made stands.
    Connected {
        /// The connection.
        conn: u64,
    },
    /// Bytes came.
    Received {
        /// The connection.
        conn: u64,
        /// The bytes.
        data: Bytes,
    },
    /// A connection ended, other than by [`Stage::close`].
    Closed {
        /// The connection.
        conn: u64,
        /// Why.
        reason: CloseReason,
    },
    /// A UDP packet came.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// What is in it.
        data: Bytes,
    },
    /// A time asked for with [`Stage::wake_in`] has come.
    Timer {
        /// The number given there.
        token: u64,
    },
}

/// What an actor can see and do.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The time.
    pub now: Instant,
    /// Its own address.
    pub address: SocketAddr,
    /// Where it takes random numbers from.
    pub chance: &'a mut Chance,
    pub(crate) next: &'a mut u64,
    pub(crate) deeds: Vec<Deed>,
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Connect {
        conn: u64,
        to: SocketAddr,
    },
    Send {
        conn: u64,
        data: Bytes,
    },
    Close {
        conn: u64,
    },
    Reset {
        conn: u64,
    },
    Datagram {
        to: SocketAddr,
        data: Bytes,
    },
    Forge {
        from: SocketAddr,
        to: SocketAddr,
        data: Bytes,
    },
    Wake {
        after: Duration,
        token: u64,
    },
}

impl Stage<'_> {
    /// Dials. `Connected` or `Closed` follows.
    pub fn connect(&mut self, to: SocketAddr) -> u64 {
        *self.next += 1;
        let conn = *self.next;
        self.deeds.push(Deed::Connect { conn, to });
        conn
    }

    /// Sends bytes.
    pub fn send(&mut self, conn: u64, data: impl Into<Bytes>) {
        let data = data.into();
        self.deeds.push(Deed::Send { conn, data });
    }

    /// Ends a connection in good order.
    pub fn close(&mut self, conn: u64) {
        self.deeds.push(Deed::Close { conn });
    }

    /// Breaks a connection.
    pub fn reset(&mut self, conn: u64) {
        self.deeds.push(Deed::Reset { conn });
    }

    /// Sends a UDP packet.
    pub fn datagram(&mut self, to: SocketAddr, data: impl Into<Bytes>) {
        let data = data.into();
        self.deeds.push(Deed::Datagram { to, data });
    }

    /// Sends a UDP packet that claims to come from another host.
    pub fn forged_datagram(&mut self, from: SocketAddr, to: SocketAddr, data: impl Into<Bytes>) {
        let data = data.into();
        self.deeds.push(Deed::Forge { from, to, data });
    }

    /// Asks for a `Timer`.
    pub fn wake_in(&mut self, after: Duration, token: u64) {
        self.deeds.push(Deed::Wake { after, token });
    }
}

/// Lets everybody in and never says a word.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mute;

impl Actor for Mute {
    fn on(&mut self, _: &mut Stage<'_>, _: ActorEvent) {}
}

/// Answers everything with random bytes, and dials nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Babbler;

impl Actor for Babbler {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        if let ActorEvent::Incoming { conn, .. } | ActorEvent::Received { conn, .. } = event {
            let mut bytes = vec![0; 1 + stage.chance.below(200) as usize];
            stage.chance.fill(&mut bytes);
            stage.send(conn, bytes);
        }
    }
}

/// How a [`ScriptedSeed`] treats those that want something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every block is right.
    Honest,
    /// The first byte of every block is wrong.
    Corrupt,
    /// It promises everything and sends nothing.
    Stingy,
    /// It sends every block so many times.
    Repeating(u32),
    /// It sends keep-alives, so many for every request, and no block.
    Flooding(u32),
    /// It sends one block, and then a message whose length is a lie.
    Breaking,
}

/// A peer that has everything, written down by hand: plain BEP 3, no extension.
#[derive(Debug)]
pub struct ScriptedSeed {
    content: Content,
    manner: Manner,
    conns: std::collections::BTreeMap<u64, Talk>,
}

#[derive(Debug)]
struct Talk {
    greeting: Option<HandshakeDecoder>,
    decoder: Decoder,
    sent: u64,
}

impl ScriptedSeed {
    /// A seed of this content.
    pub fn new(content: &Content, manner: Manner) -> Self {
        Self {
            content: content.clone(),
            manner,
            conns: std::collections::BTreeMap::new(),
        }
    }

    fn greet(&self, stage: &mut Stage<'_>, conn: u64) {
        let mut id = *b"-SC0001-............";
        stage.chance.fill(&mut id[8..]);
        let handshake = Handshake {
            reserved: Reserved::default(),
            info_hash: *self.content.info_hash().as_bytes(),
            peer_id: PeerId(id),
        };
        let mut out = BytesMut::from(&handshake.encode()[..]);
        let map = anabranch_core::Bitfield::full(self.content.pieces()).to_wire();
        Message::Bitfield(map).encode(&mut out);
        Message::Unchoke.encode(&mut out);
        stage.send(conn, out);
    }

    fn answer(&mut self, stage: &mut Stage<'_>, conn: u64, request: BlockRequest) {
        let Some(talk) = self.conns.get_mut(&conn) else {
            return;
        };
        let mut out = BytesMut::new();
        let right = self
            .content
            .slice(request.piece, request.begin, request.len);
        talk.sent += 1;
        let (times, damage) = match self.manner {
            Manner::Honest => (1, false),
            Manner::Corrupt => (1, true),
            Manner::Stingy => (0, false),
            Manner::Repeating(times) => (times, false),
            Manner::Flooding(times) => {
                (0..times).for_each(|_| Message::KeepAlive.encode(&mut out));
                (0, false)
            }
            Manner::Breaking if talk.sent > 1 => {
                out.extend_from_slice(&[0xff; 64]);
                (0, false)
            }
            Manner::Breaking => (1, false),
        };
        for _ in 0..times {
            encode_piece_header(request, &mut out);
            let start = out.len();
            out.extend_from_slice(&right);
            if damage && let Some(byte) = out.get_mut(start) {
                *byte ^= 0xff;
            }
        }
        stage.send(conn, out);
    }
}

impl Actor for ScriptedSeed {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        match event {
            ActorEvent::Incoming { conn, .. } | ActorEvent::Connected { conn } => {
                let talk = Talk {
                    greeting: Some(HandshakeDecoder::new()),
                    decoder: Decoder::new(Limits::default()),
                    sent: 0,
                };
                self.conns.insert(conn, talk);
                self.greet(stage, conn);
            }
            ActorEvent::Received { conn, mut data } => {
                let mut requests = Vec::new();
                let Some(talk) = self.conns.get_mut(&conn) else {
                    return;
                };
                if let Some(greeting) = &mut talk.greeting {
                    match greeting.decode(&mut data) {
                        Ok(None) => return,
                        Ok(Some(_)) => talk.greeting = None,
                        Err(_) => return stage.close(conn),
                    }
                }
                while let Ok(Some(frame)) = talk.decoder.decode(&mut data) {
                    if let Frame::Message(Message::Request(request)) = frame {
                        requests.push(request);
                    }
                }
                for request in requests {
                    self.answer(stage, conn, request);
                }
            }
            ActorEvent::Closed { conn, .. } => {
                self.conns.remove(&conn);
            }
            ActorEvent::Started | ActorEvent::Datagram { .. } | ActorEvent::Timer { .. } => {}
        }
    }
}
