//! A run in words: a line an event, a line an action, and no payload.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anabranch_core::action::DiskJob;
use anabranch_core::command::Command;
use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::event::{DiskDone, OpResult};
use anabranch_core::id::{ConnId, Ticket};
use anabranch_core::metainfo::Metainfo;
use anabranch_core::wire::{Decoder, Frame, HandshakeDecoder, Limits, Message};
use anabranch_core::{Action, Event};
use bytes::Bytes;

/// Puts events and actions into words. It reads along what goes over each connection, so that lines
/// name the messages; it must be told of everything, in order.
///
/// Lines may hold what peers and trackers said. Control characters in it are escaped.
#[derive(Debug, Default)]
pub struct Narrator {
    peers: BTreeMap<ConnId, Peer>,
    /// Who waits to be accepted.
    callers: BTreeMap<Ticket, SocketAddr>,
}

#[derive(Debug)]
struct Peer {
    address: Option<SocketAddr>,
    received: Reader,
    sent: Reader,
}

/// One direction of a connection.
#[derive(Debug)]
enum Reader {
    Greeting(HandshakeDecoder),
    Messages(Decoder),
    Lost,
}

impl Narrator {
    /// At the start of a run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An event in a line, such as `received conn#0.0 (10.0.0.2:6881) 49191 B: 3 x block of piece 7`.
    pub fn event(&mut self, event: &Event) -> String {
        match event {
            Event::Tick => "tick".to_owned(),
            Event::Wall(wall) => format!("the time of day is {}", wall.0),
            Event::Command { request, command } => {
                format!("command {}: {}", request.0, describe_command(command))
            }
            Event::Incoming { ticket, from } => {
                self.callers.insert(*ticket, *from);
                format!("incoming {} from {from}", ticket.0)
            }
            Event::Connected { conn } => format!("connected {}", self.name(*conn)),
            Event::Received { conn, data } => {
                let mut line = format!("received {} {} B", self.name(*conn), data.len());
                if let Some(peer) = self.peers.get_mut(conn) {
                    peer.received.tell(&mut line, data);
                }
                line
            }
            Event::Sent { conn, len } => format!("sent {} {len} B", self.name(*conn)),
            Event::Closed { conn, reason } => {
                let line = format!("closed {}: {reason}", self.name(*conn));
                self.peers.remove(conn);
                line
            }
            Event::Undelivered { to, reason } => format!("undelivered to {to}: {reason}"),
            Event::Multicast { from, data } => format!("multicast from {from}, {} B", data.len()),
            Event::Datagram(Inbound { from, data, .. }) => {
                format!("datagram from {from}, {} B", data.len())
            }
            Event::Flushed { len } => format!("flushed {len} B of datagrams"),
            Event::Done { op, result } => format!("done {op}: {}", describe_result(result)),
        }
    }

    /// An action in a line, such as `send conn#0.0 (10.0.0.2:6881) 17 B: request of piece 8`.
    pub fn action(&mut self, action: &Action) -> String {
        match action {
            Action::Connect { conn, to, .. } => {
                self.peers.insert(*conn, Peer::new(Some(*to)));
                format!("connect {conn} to {to}")
            }
            Action::Accept { ticket, conn } => {
                let peer = Peer::new(self.callers.remove(ticket));
                self.peers.insert(*conn, peer);
                format!("accept {} as {}", ticket.0, self.name(*conn))
            }
            Action::Refuse { ticket } => {
                self.callers.remove(ticket);
                format!("refuse {}", ticket.0)
            }
            Action::Send { conn, data } => {
                let mut line = format!("send {} {} B", self.name(*conn), data.len());
                if let Some(peer) = self.peers.get_mut(conn) {
                    peer.sent.tell(&mut line, data);
                }
                line
            }
            Action::Read { conn, credit } => {
                format!("read {} up to {credit} B more", self.name(*conn))
            }
            Action::Close { conn } => format!("close {}", self.name(*conn)),
            Action::Datagram(Outbound { to, data, .. }) => {
                format!("datagram to {to}, {} B", data.len())
            }
            Action::Disk { op, torrent, job } => {
                format!("disk {op} of {torrent}: {}", describe_job(job))
            }
            Action::Resolve { op, host, .. } => format!("resolve {op}: {}", host.escape_debug()),
            Action::Http { op, request, .. } => {
                format!("http {op}: {}", request.url.escape_debug())
            }
            Action::Cancel { op } => format!("cancel {op}"),
            Action::Reply { request, result } => match result {
                Ok(reply) => format!("reply to {}: {reply:?}", request.0),
                Err(error) => format!("reply to {}: {}", request.0, escaped(error)),
            },
            Action::Notify(notice) => format!("notify {notice:?}"),
        }
    }

    fn name(&self, conn: ConnId) -> String {
        match self.peers.get(&conn).and_then(|peer| peer.address) {
            Some(address) => format!("{conn} ({address})"),
            None => conn.to_string(),
        }
    }
}

impl Peer {
    fn new(address: Option<SocketAddr>) -> Self {
        Self {
            address,
            received: Reader::Greeting(HandshakeDecoder::new()),
            sent: Reader::Greeting(HandshakeDecoder::new()),
        }
    }
}

impl Reader {
    /// Appends what `data` completes to a line.
    fn tell(&mut self, line: &mut String, data: &Bytes) {
        let mut data = data.clone();
        // What comes several times in a row is told once.
        let mut told: Vec<(String, u32)> = Vec::new();
        while let Some(text) = self.next(&mut data) {
            match told.last_mut() {
                Some((last, times)) if *last == text => *times += 1,
                Some(_) | None => told.push((text, 1)),
            }
        }
        for (index, (text, times)) in told.iter().enumerate() {
            line.push_str(if index == 0 { ": " } else { ", " });
            if *times > 1 {
                // A string takes everything.
                let _ = write!(line, "{times} x ");
            }
            line.push_str(text);
        }
    }

    fn next(&mut self, data: &mut Bytes) -> Option<String> {
        match self {
            Self::Greeting(decoder) => match decoder.decode(data) {
                Ok(handshake) => {
                    let handshake = handshake?;
                    *self = Self::Messages(Decoder::new(Limits::default()));
                    let client = escaped(handshake.peer_id.client());
                    Some(format!("handshake of {client}"))
                }
                Err(error) => Some(self.lose(&error)),
            },
            Self::Messages(decoder) => match decoder.decode(data) {
                Ok(frame) => frame.map(|frame| describe_frame(&frame)),
                Err(error) => Some(self.lose(&error)),
            },
            Self::Lost => None,
        }
    }

    fn lose(&mut self, error: &dyn std::fmt::Display) -> String {
        *self = Self::Lost;
        format!("what cannot be read ({error})")
    }
}

fn escaped(text: impl std::fmt::Display) -> String {
    text.to_string().escape_debug().to_string()
}

fn describe_frame(frame: &Frame) -> String {
    match frame {
        Frame::Block(block) => format!("block of piece {}", block.piece),
        Frame::Unknown { id, len } => format!("message {id} of {len} B"),
        Frame::Message(message) => match message {
            Message::KeepAlive => "keep-alive".to_owned(),
            Message::Choke => "choke".to_owned(),
            Message::Unchoke => "unchoke".to_owned(),
            Message::Interested => "interested".to_owned(),
            Message::NotInterested => "not interested".to_owned(),
            Message::Have(piece) => format!("have {piece}"),
            Message::Bitfield(bits) => {
                let have: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
                format!("bitfield with {have} pieces")
            }
            Message::Request(block) => format!("request of piece {}", block.piece),
            Message::Cancel(block) => format!("cancel of piece {}", block.piece),
            Message::Port(port) => format!("port {port}"),
            Message::Suggest(piece) => format!("suggest {piece}"),
            Message::HaveAll => "have all".to_owned(),
            Message::HaveNone => "have none".to_owned(),
            Message::Reject(block) => format!("reject of piece {}", block.piece),
            Message::AllowedFast(piece) => format!("allowed fast {piece}"),
            Message::Extended { id, payload } => {
                format!("extended message {id} of {} B", payload.len())
            }
        },
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "most commands are short enough to be shown as they are"
)]
fn describe_command(command: &Command) -> String {
    match command {
        Command::AddTorrent(add) => match Metainfo::parse(add.metainfo.clone()) {
            Ok(metainfo) => format!(
                "add {} ({}), {} pieces of {} B, {} peers known",
                escaped(metainfo.name()),
                metainfo.info_hash(),
                metainfo.piece_count(),
                metainfo.piece_length(),
                add.peers.len(),
            ),
            Err(error) => format!(
                "add {} B that are no torrent: {}",
                add.metainfo.len(),
                escaped(error)
            ),
        },
        Command::SetPriorities { torrent, files } => {
            format!("set the priorities of {} files of {torrent}", files.len())
        }
        Command::AddPeers { torrent, peers } => {
            format!("add {} peers to {torrent}", peers.len())
        }
        command => format!("{command:?}"),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is short is shown as it is"
)]
fn describe_result(result: &OpResult) -> String {
    match result {
        OpResult::Disk(Ok(done)) => match done {
            DiskDone::Read { data } => format!("read {} B", data.len()),
            DiskDone::Stored { .. } => "stored".to_owned(),
            DiskDone::Verified { matches: true } => "verified, it matches".to_owned(),
            DiskDone::Verified { matches: false } => "verified, it does not match".to_owned(),
            DiskDone::Mismatched { .. } => "does not match its digest".to_owned(),
            DiskDone::Opened(opened) => format!(
                "opened, {} pieces trusted, {} doubtful",
                opened.trusted.count(),
                opened.doubtful.count()
            ),
            done => format!("{done:?}").to_lowercase(),
        },
        OpResult::Disk(Err(error)) => format!("failed: {}", escaped(error)),
        OpResult::Resolved(Ok(addresses)) => format!("resolved to {addresses:?}"),
        OpResult::Http(Ok(reply)) => format!("status {}, {} B", reply.status, reply.body.len()),
        OpResult::Resolved(Err(error)) | OpResult::Http(Err(error)) => {
            format!("failed: {}", escaped(error))
        }
        OpResult::Cancelled => "cancelled".to_owned(),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "what is short is shown as it is"
)]
fn describe_job(job: &DiskJob) -> String {
    match job {
        DiskJob::Open(open) => format!("open {}", open.metainfo.info_hash()),
        DiskJob::Verify { piece, .. } => format!("verify piece {}", piece.get()),
        DiskJob::Store { piece, .. } => format!("store piece {}", piece.get()),
        DiskJob::Write { piece, begin, data } => {
            let len: usize = data.iter().map(Bytes::len).sum();
            format!("write {len} B at {begin} of piece {}", piece.get())
        }
        DiskJob::Read { piece, begin, len } => {
            format!("read {len} B at {begin} of piece {}", piece.get())
        }
        DiskJob::Select { wanted } => format!("select among {} files", wanted.len()),
        DiskJob::Checkpoint { have, .. } => format!("checkpoint of {} pieces", have.count()),
        job => format!("{job:?}").to_lowercase(),
    }
}
