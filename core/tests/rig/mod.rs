//! One engine with one torrent, told what to make of the world by a script.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::wildcard_enum_match_arm,
    reason = "each test uses the part that it needs, and looks for one kind of action among all"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::action::DiskJob;
use anabranch_core::command::AddTorrent;
use anabranch_core::event::{DiskDone, OpResult, Opened};
use anabranch_core::id::{ConnId, RequestId, Ticket};
use anabranch_core::metainfo::{Creator, Metainfo};
use anabranch_core::wire::{
    BlockRequest, Handshake, Message, PeerId, Reserved, encode_piece_header,
};
use anabranch_core::{
    Action, Actions, Bitfield, Command, Config, Engine, Event, Instant, Seed, UnixTime,
};
use bytes::{Bytes, BytesMut};

pub(crate) const PIECES: u32 = 20;
pub(crate) const PIECE: u32 = 16 * 1024;

/// An engine with one torrent of twenty pieces, and what it did.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) metainfo: Metainfo,
    pub(crate) now: Instant,
    pub(crate) actions: Vec<Action>,
    pub(crate) tickets: u64,
}

impl Rig {
    /// `have` says whether the engine is a seed.
    pub(crate) fn new(have: bool) -> Self {
        Self::with(Config::default(), have)
    }

    /// The same with another configuration.
    pub(crate) fn with(config: Config, have: bool) -> Self {
        Self::of(config, have, PIECES)
    }

    /// The same with so many pieces.
    pub(crate) fn of(config: Config, have: bool, pieces: u32) -> Self {
        let creator =
            Creator::single_file("data", u64::from(pieces * PIECE)).with_piece_length(PIECE);
        let creation = creator
            .finish(&vec![7; 20 * pieces as usize])
            .expect("a torrent");
        let engine = Engine::new(config, Seed([1; 32]), Instant::ZERO, UnixTime(0));
        let mut rig = Self {
            engine,
            metainfo: creation.metainfo,
            now: Instant::ZERO,
            actions: Vec::new(),
            tickets: 0,
        };
        let add = AddTorrent {
            metainfo: creation.torrent,
            ..AddTorrent::default()
        };
        let command = Box::new(Command::AddTorrent(add));
        rig.feed(Event::Command {
            request: RequestId(1),
            command,
        });
        let open = rig.take(|action| match action {
            Action::Disk {
                op,
                job: DiskJob::Open(_),
                ..
            } => Some(*op),
            _ => None,
        });
        let trusted = if have {
            Bitfield::full(pieces)
        } else {
            Bitfield::new(pieces)
        };
        let opened = Opened {
            trusted,
            doubtful: Bitfield::new(pieces),
            ..Opened::default()
        };
        let result = OpResult::Disk(Ok(DiskDone::Opened(Box::new(opened))));
        rig.feed(Event::Done {
            op: open[0],
            result,
        });
        rig
    }

    pub(crate) fn feed(&mut self, event: Event) {
        let mut actions = Actions::new();
        let _ = self.engine.handle(self.now, event, &mut actions);
        self.engine.check();
        self.actions.extend(actions.drain());
    }

    pub(crate) fn take<T>(&mut self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let (taken, rest) = self
            .actions
            .drain(..)
            .partition(|action| pick(action).is_some());
        self.actions = rest;
        let taken: Vec<Action> = taken;
        taken.iter().filter_map(pick).collect()
    }

    /// Somebody dials in; the connection, if it is taken in.
    pub(crate) fn knock(&mut self, from: SocketAddr) -> Option<ConnId> {
        self.tickets += 1;
        self.feed(Event::Incoming {
            ticket: Ticket(self.tickets),
            from,
        });
        let taken = self.take(|action| match action {
            Action::Accept { conn, .. } => Some(*conn),
            _ => None,
        });
        taken.first().copied()
    }

    /// A peer dials in and shakes hands.
    pub(crate) fn peer(&mut self, last_octet: u8, fast: bool) -> ConnId {
        let from = SocketAddr::new([10, 0, 0, last_octet].into(), 5000);
        let conn = self.knock(from).expect("it is welcome");
        let reserved = Reserved::default().with_fast(fast);
        self.shake_hands(conn, reserved, PeerId([last_octet; 20]));
        conn
    }

    /// A peer sends its handshake.
    pub(crate) fn shake_hands(&mut self, conn: ConnId, reserved: Reserved, peer_id: PeerId) {
        let handshake = Handshake {
            reserved,
            info_hash: *self.metainfo.info_hash().as_bytes(),
            peer_id,
        };
        self.feed(Event::Received {
            conn,
            data: Bytes::copy_from_slice(&handshake.encode()),
        });
    }

    pub(crate) fn say(&mut self, conn: ConnId, message: &Message) {
        let mut data = BytesMut::new();
        message.encode(&mut data);
        self.feed(Event::Received {
            conn,
            data: data.freeze(),
        });
    }

    /// A peer sends a piece, and the disk takes it.
    pub(crate) fn deliver(&mut self, conn: ConnId, piece: u32) {
        let block = BlockRequest {
            piece,
            begin: 0,
            len: PIECE,
        };
        let mut data = BytesMut::new();
        encode_piece_header(block, &mut data);
        data.resize(data.len() + PIECE as usize, 7);
        self.feed(Event::Received {
            conn,
            data: data.freeze(),
        });
        let stores = self.take(|action| match action {
            Action::Disk {
                op,
                job: DiskJob::Store { .. },
                ..
            } => Some(*op),
            _ => None,
        });
        for op in stores {
            let result = OpResult::Disk(Ok(DiskDone::Stored { blocks: None }));
            self.feed(Event::Done { op, result });
        }
    }

    pub(crate) fn is_closed(&mut self, conn: ConnId) -> bool {
        !self
            .take(|action| match action {
                Action::Close { conn: closed } if *closed == conn => Some(()),
                _ => None,
            })
            .is_empty()
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.feed(Event::Tick);
    }

    /// The ids of the messages that went to a peer.
    pub(crate) fn sent(&mut self, conn: ConnId) -> Vec<u8> {
        self.messages(conn).into_iter().map(|(id, _)| id).collect()
    }

    /// The pieces that the messages with an id named which went to a peer.
    pub(crate) fn pieces(&mut self, conn: ConnId, id: u8) -> Vec<u32> {
        let messages = self.messages(conn).into_iter();
        messages
            .filter(|(sent, _)| *sent == id)
            .filter_map(|(_, payload)| payload.first_chunk().copied())
            .map(u32::from_be_bytes)
            .collect()
    }

    /// The messages that went to a peer: ids and payloads.
    pub(crate) fn messages(&mut self, conn: ConnId) -> Vec<(u8, Vec<u8>)> {
        let sends = self.take(|action| match action {
            Action::Send { conn: to, data } if *to == conn => Some(data.clone()),
            _ => None,
        });
        let mut stream: Vec<u8> = sends.concat();
        if stream.starts_with(b"\x13BitTorrent protocol") {
            stream.drain(..68);
        }
        let mut messages = Vec::new();
        let mut rest = stream.as_slice();
        while let Some((head, body)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*head) as usize;
            if let Some((id, payload)) = body[..len].split_first() {
                messages.push((*id, payload.to_vec()));
            }
            rest = &body[len..];
        }
        messages
    }
}
