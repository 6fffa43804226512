//! Everything that can be in the queue.

use std::net::SocketAddr;

use anabranch_core::event::{CloseReason, ContactError, HttpReply, OpResult};
use anabranch_core::id::{ConnId, OpId};
use anabranch_core::{Event, Instant};

use crate::conn::{ConnRef, Segment, Side};
use crate::fault::Fault;
use crate::host::Packet;
use crate::http::Visit;
use crate::web::{Answer, Part};

/// Something that is going to happen. `life` says which start of a host it is meant for.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A deadline of an engine; of no meaning unless it is still the one that counts.
    Wake { host: u32, life: u32 },
    /// A tick that nobody asked for.
    Spurious { host: u32, life: u32 },
    /// The end of a disk job.
    JobDone {
        host: u32,
        life: u32,
        op: OpId,
        result: Box<OpResult>,
    },
    /// The end of a name look-up or an HTTP exchange, unless it has ended.
    Contact {
        host: u32,
        life: u32,
        op: OpId,
        event: Box<Event>,
    },
    /// A host that has shut down is switched off.
    PowerOff { host: u32, life: u32 },
    /// An actor's timer.
    ActorTimer { host: u32, life: u32, token: u64 },
    /// An actor begins.
    ActorStart { host: u32, life: u32 },
    /// A host's uplink is free.
    Uplink { host: u32 },
    /// A wish to connect has come.
    Syn { conn: ConnRef, attempt: u8 },
    /// The answer to it has come.
    SynAck { conn: ConnRef },
    /// The dialler's confirmation has come.
    Established { conn: ConnRef },
    /// A dialler is told no.
    Refused { conn: ConnRef },
    /// A segment has come to the last link before its end.
    Arrive {
        conn: ConnRef,
        to: Side,
        segment: Segment,
    },
    /// A segment has come.
    Deliver {
        conn: ConnRef,
        to: Side,
        segment: Segment,
    },
    /// A sender that waits for it knows that a segment has come.
    Acknowledge { conn: ConnRef, to: Side },
    /// The sender knows that a segment is lost.
    Lost {
        conn: ConnRef,
        to: Side,
        segment: Segment,
    },
    /// There is room at the receiver again.
    Window { conn: ConnRef, to: Side },
    /// Segments that vanished are sent again.
    Retry { conn: ConnRef, side: Side },
    /// An application may be told what the system has taken in.
    Accepted { conn: ConnRef, side: Side },
    /// An application has allowed more to be read.
    Flush { conn: ConnRef, side: Side },
    /// A reset has come.
    Reset { conn: ConnRef, to: Side },
    /// An end learns from its own system that the connection is no more.
    Broken {
        conn: ConnRef,
        side: Side,
        reason: CloseReason,
    },
    /// An engine is told that a connection is closed as it wished.
    ClosedLocally { host: u32, life: u32, conn: ConnId },
    /// A packet has come to the last link.
    PacketArrive { to: u32, packet: Box<Packet> },
    /// A packet has come.
    PacketDeliver { to: u32, packet: Box<Packet> },
    /// A packet has come back to a host: nobody listens where it was to go.
    Undelivered { host: u32, to: SocketAddr },
    /// A host's system has taken packets off its engine's hands.
    Flushed { host: u32, life: u32, len: u64 },
    /// A request has come to a tracker or a web server.
    Visit(Box<Visit>),
    /// The end of an exchange that no engine asked for, unless it has ended.
    Fetched {
        fetch: u64,
        result: Box<Result<HttpReply, ContactError>>,
    },
    /// A web server begins with an answer.
    WebAnswer { web: u32, answer: Box<Answer> },
    /// A web server's link is free.
    WebFree { web: u32 },
    /// A part of a web server's answer has come to the last link before its host.
    WebChunk { part: Box<Part>, last: bool },
    /// Something goes wrong.
    Fault(Box<Fault>),
}

/// The time of something, for logs.
pub(crate) fn stamp(at: Instant) -> String {
    let nanos = at.as_nanos();
    format!(
        "{:>6}.{:06}",
        nanos / 1_000_000_000,
        nanos % 1_000_000_000 / 1_000
    )
}
