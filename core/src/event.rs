//! What goes in: every input of an [`Engine`](crate::Engine), as data.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[cfg(doc)]
use crate::action::Action;
use crate::bitfield::Bitfield;
use crate::command::Command;
use crate::datagram::Inbound;
pub use crate::error::{DiskError, DiskErrorKind};
use crate::id::{ConnId, OpId, RequestId, Ticket};
use crate::metainfo::{FileIndex, PieceIndex};
use crate::time::UnixTime;

/// One input. Owned and serialisable, so that configuration, seed and events fix a run bit for bit.
///
/// Any event may be told at any time. One about a connection or an operation that has ended, or
/// never was, is counted in [`Stats`](crate::Stats) and otherwise ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A deadline that the engine [returned](crate::Wake) has come and no other event has: every
    /// event looks at the time, so whoever has one to tell owes no tick. A tick too many is
    /// harmless.
    Tick,
    /// The time of day. The engine knows it from its start and keeps none of its own: tell it when
    /// it is known to have been set, and otherwise as often as seems right.
    Wall(UnixTime),
    /// The user wants something; answered by exactly one [`Reply`](Action::Reply).
    Command {
        /// Returned in the reply.
        request: RequestId,
        /// What is wanted.
        command: Box<Command>,
    },
    /// A connection came in. Answered within the same call by one [`Accept`](Action::Accept) or one
    /// [`Refuse`](Action::Refuse) with the same ticket.
    Incoming {
        /// The driver's name for it.
        ticket: Ticket,
        /// Who dialled.
        from: SocketAddr,
    },
    /// A [`Connect`](Action::Connect) succeeded. At most once for each, and never for an `Accept`.
    /// What the engine has to say, and how much it will hear, follows.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes arrived, no more than the credit given by [`Read`](Action::Read); at least one. They
    /// may be split and joined in any way.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes; the engine keeps slices of them, so a driver must not hand out a large buffer
        /// for a few bytes.
        data: Bytes,
    },
    /// Bytes of [`Send`](Action::Send) actions were handed to the operating system, in their order.
    /// Where one ends and the next begins does not matter.
    Sent {
        /// The connection.
        conn: ConnId,
        /// How many since the last such event.
        len: u64,
    },
    /// A connection ended, or could not be made. The last event for its id: exactly one follows
    /// every [`Connect`](Action::Connect) and [`Accept`](Action::Accept), also after
    /// [`Close`](Action::Close).
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// UDP packets arrived on the port that the engine was told it [listens](Command::Listening)
    /// on. Whatever they are: strangers' packets are counted and forgotten.
    Datagram(Inbound),
    /// Counted packets of [`Datagram`](Action::Datagram) actions were handed to the operating system, or given up.
    Flushed {
        /// How many bytes of them since the last such event.
        len: u64,
    },
    /// A [`Datagram`](Action::Datagram) did not arrive: the network said so, or the driver did not send it. What nothing
    /// is known of needs no such event; it saves whoever waits for an answer the time until it gives up.
    Undelivered {
        /// Where it was to go.
        to: SocketAddr,
        /// Why it did not.
        reason: Undelivered,
    },
    /// A packet came to a multicast group that the engine was told the driver has
    /// [joined](Command::LocalDiscovery). Packets of its own may be among them.
    Multicast {
        /// Who claims to have sent it.
        from: SocketAddr,
        /// The payload.
        data: Bytes,
    },
    /// An operation ended. Exactly one follows every action that begins one
    /// ([`Disk`](Action::Disk), [`Resolve`](Action::Resolve), [`Http`](Action::Http)), also after
    /// [`Cancel`](Action::Cancel); the order is free. A result of another kind than the action's
    /// counts as a failure.
    Done {
        /// The operation.
        op: OpId,
        /// How it ended.
        result: OpResult,
    },
}

impl Event {
    /// One UDP packet arrived.
    #[must_use]
    pub const fn datagram(from: SocketAddr, data: Bytes) -> Self {
        Self::Datagram(Inbound::new(from, data))
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The engine asked for it.
    #[error("closed by us")]
    Local,
    /// The peer closed in good order.
    #[error("closed by the peer")]
    Remote,
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The peer, or something on the way, reset it.
    #[error("connection reset")]
    Reset,
    /// The operating system gave up waiting.
    #[error("connection timed out")]
    TimedOut,
    /// There is no way there.
    #[error("network unreachable")]
    Unreachable,
    /// The driver's policy forbids this contact.
    #[error("forbidden by policy")]
    Denied,
    /// This machine lacks something: descriptors, ports, memory.
    #[error("out of local resources")]
    Exhausted,
    /// Anything else.
    #[error("connection failed")]
    Failed,
}

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Undelivered {
    /// Nobody listens there.
    #[error("port unreachable")]
    Refused,
    /// There is no way there.
    #[error("network unreachable")]
    Unreachable,
    /// The driver's policy forbids this contact.
    #[error("forbidden by policy")]
    Denied,
}

/// How an operation ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum OpResult {
    /// A `Disk` action's outcome.
    Disk(Result<DiskDone, DiskError>),
    /// A `Resolve` action's outcome: addresses in order of preference.
    Resolved(Result<Vec<IpAddr>, ContactError>),
    /// An `Http` action's outcome: any reply that came whole, whatever its status.
    Http(Result<HttpReply, ContactError>),
    /// The operation was given up because of `Cancel`.
    Cancelled,
}

/// What a disk job achieved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskDone {
    /// `Open`: the storage is usable.
    Opened(Box<Opened>),
    /// `Verify`: whether what is stored matches the digest. Data that is not there does not match.
    Verified {
        /// Whether it matches.
        matches: bool,
    },
    /// `Store`: the piece matched its digest and has been written.
    Stored {
        /// The SHA-1 of each block, where the job asked for them.
        blocks: Option<Vec<[u8; 20]>>,
    },
    /// `Store`: the piece did not match its digest; nothing was written.
    Mismatched {
        /// The SHA-1 of each block, so that the next correct copy shows which of them was wrong.
        blocks: Vec<[u8; 20]>,
    },
    /// `Write` is done.
    Written,
    /// `Read`: exactly the bytes that were asked for.
    Read {
        /// The bytes.
        data: Bytes,
    },
    /// `Select` is done.
    Selected,
    /// `Trim` is done.
    Trimmed {
        /// Whether the file was cut. A storage that only reads leaves it as it is.
        cut: bool,
    },
    /// `Checkpoint`: what was named is on the disk and will be trusted by a later `Open`.
    Checkpointed,
    /// `Probe`: the storage can take more.
    Usable,
    /// `Close` or `Remove` is done. The storage's last answer.
    Closed,
}

/// What is stored of a piece that is not complete. None of it is vouched for: the piece is verified when
/// the rest has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialPiece {
    /// The piece.
    pub piece: PieceIndex,
    /// Which of its blocks, of [`BLOCK_LEN`](crate::limits::BLOCK_LEN) bytes each but the last.
    pub blocks: Bitfield,
}

/// What `Open` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Pieces that resume data vouches for, and whose files have not changed since.
    pub trusted: Bitfield,
    /// Pieces that may be there, and must be verified before they count. Disjoint from `trusted`.
    pub doubtful: Bitfield,
    /// What resume data says of incomplete pieces, as far as their files are there. It may be wrong, and
    /// shows when the piece is complete. For a recheck it is empty.
    #[serde(default)]
    pub partial: Vec<PartialPiece>,
    /// Payload bytes uploaded in earlier runs.
    pub uploaded: u64,
    /// Payload bytes downloaded in earlier runs.
    pub downloaded: u64,
    /// Wanted files that were there with data in them, and that nothing recorded says to be this torrent's.
    /// They were not touched, and best no other was made or changed yet either. One that neither a piece in it
    /// nor, if it fits into a piece, another file of its folder shows to be the torrent's belongs to somebody
    /// else, and the torrent fails with [`Foreign`](DiskErrorKind::Foreign). Else `Select` is asked for once
    /// what is doubtful is verified: it makes what is missing, or fails with that error, too.
    pub foreign: Vec<ForeignFile>,
    /// Wanted files that are longer than the torrent says.
    pub longer: Vec<LongerFile>,
}

/// A file that may be somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignFile {
    /// Which file of the torrent has its name.
    pub file: FileIndex,
    /// The file, as the user knows it.
    pub path: String,
}

/// A file that is longer than the torrent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongerFile {
    /// Which file.
    pub file: FileIndex,
    /// Its length on the disk, in bytes.
    pub found: u64,
}

/// A name could not be resolved, or an HTTP exchange did not come to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum ContactError {
    /// The name is not known.
    #[error("no such host")]
    NoSuchHost,
    /// Nobody listens there, or there is no way there.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// It took longer than allowed.
    #[error("timed out")]
    TimedOut,
    /// The reply is larger than allowed.
    #[error("the reply is larger than {limit} bytes")]
    TooLarge {
        /// The limit that the request named.
        limit: u32,
    },
    /// The certificate could not be trusted, or TLS failed otherwise.
    #[error("TLS: {0}")]
    Tls(String),
    /// A redirect led somewhere it must not, or in circles.
    #[error("refused redirect: {0}")]
    Redirect(String),
    /// The driver's policy forbids this contact.
    #[error("forbidden by policy")]
    Denied,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An HTTP reply, redirects followed and content encoding undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body, within the limit that the request named.
    pub body: Bytes,
    /// The seconds that a `Retry-After` header names, as a number or by the date that it gives.
    #[serde(default)]
    pub retry_after: Option<u32>,
}
