//! What a [`Utp`](super::Utp) is told, and what it tells.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::congestion::{Ledbat, MakeCongestion};
use super::limits::MAX_PER_ADDRESS;
use crate::id::SocketId;
use crate::slab::Key;

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Config {
    /// The queueing delay that connections aim at: 60 ms as in LEDBAT++.
    pub target: Duration,
    /// What decides how much is under way.
    pub congestion: MakeCongestion,
    /// Whether others may connect.
    pub accept: bool,
    /// Connections at a time: some 1.5 kB each, beside payload.
    pub max_connections: usize,
    /// Bytes that a connection receives ahead of its reader at most, when its reader has taken as much. No link is filled
    /// with less than it carries in a round trip.
    pub receive_window: u32,
    /// Bytes that all connections keep of what they receive, beside [64 KiB](super::limits::MIN_WINDOW) that each may.
    pub receive_memory: u64,
    /// Bytes that may wait to be sent on a connection.
    pub send_queue: u32,
    /// Bytes that all connections have under way.
    pub send_memory: u64,
    /// The longest IP packet that the first hop carries.
    pub link_mtu: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: Duration::from_millis(60),
            congestion: Ledbat::boxed,
            accept: true,
            max_connections: 4_096,
            receive_window: 64 << 20,
            receive_memory: 256 << 20,
            send_queue: 4 << 20,
            send_memory: 256 << 20,
            link_mtu: 1_500,
        }
    }
}

/// A connection in a [`Utp`](super::Utp).
///
/// A slot and its generation: an id that outlived what it named matches nothing, ever after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtpId {
    slot: u32,
    generation: u32,
}

impl Key for UtpId {
    fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    fn slot(self) -> u32 {
        self.slot
    }

    fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for UtpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "utp#{}.{}", self.slot, self.generation)
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody has connected to us, and has shown to be at that address.
    Incoming {
        /// The new connection.
        id: UtpId,
        /// Who.
        from: SocketAddr,
    },
    /// A connection that was to be made is there.
    Connected {
        /// Which.
        id: UtpId,
    },
    /// Bytes have arrived: the next ones of the stream.
    Readable {
        /// On which connection.
        id: UtpId,
        /// The bytes; never more than was given [credit](super::Utp::credit) for.
        bytes: Bytes,
    },
    /// Bytes have left for the first time.
    Sent {
        /// On which connection.
        id: UtpId,
        /// How many more.
        bytes: u64,
    },
    /// The other end has said all, and all was handed over. We may go on.
    Finished {
        /// Which connection.
        id: UtpId,
    },
    /// A connection is no more, and neither is its id.
    Closed {
        /// Which.
        id: UtpId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was closed, and what was to be sent has arrived, as far as the other end wanted it.
    Finished,
    /// We had it ended at once.
    Aborted,
    /// The other end wants no connection.
    Refused,
    /// The other end knows the connection no more.
    Reset,
    /// The other end does not answer.
    TimedOut,
    /// The network says that nobody is there.
    Unreachable,
}

/// Why a connection can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// As many as may be are there: close one.
    #[error("there are {max} uTP connections, which is all that may be")]
    TooMany {
        /// [`Config::max_connections`].
        max: usize,
    },
    /// As many as one address may have are there: close one.
    #[error(
        "there are {MAX_PER_ADDRESS} uTP connections to that address, which is all that may be"
    )]
    TooManyToAddress,
    /// Nobody can be there.
    #[error("nobody can be reached at that address")]
    NoAddress,
}

/// Why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closed, or was never there.
    #[error("the uTP connection is closed")]
    Closed,
    /// More would wait than may: wait for [`Event::Sent`].
    #[error("more than {max} bytes would wait to be sent")]
    Full {
        /// [`Config::send_queue`].
        max: u32,
    },
}

/// Datagrams to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: SocketAddr,
    /// Which connection's they are; none for answers to those who have none.
    pub id: Option<UtpId>,
    /// Which socket the other end's packets come by; none before the first one has come.
    pub socket: Option<SocketId>,
    /// Bytes of each datagram in the buffer; the last one may be shorter.
    pub segment: usize,
    /// Whether what lies between may cut it up. All others must be sent unfragmented where the system can do that, or the
    /// length that a path carries is not found. This one is for what was found too late.
    pub may_fragment: bool,
}

/// What the network says of datagrams that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmp {
    /// Nobody is there.
    Unreachable,
    /// IP packets may have so many bytes on the way there.
    TooBig(u16),
}

/// How a connection fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionStats {
    /// A round trip on average; zero before the first one.
    pub round_trip: Duration,
    /// How long packets wait in queues.
    pub queueing: Duration,
    /// Bytes that may be under way.
    pub window: u64,
    /// Bytes that are.
    pub in_flight: u64,
    /// Bytes of UDP payload in a full packet.
    pub packet_len: u16,
    /// Packets that were sent again.
    pub resent: u64,
    /// How often nothing was heard for so long that all was taken for lost.
    pub timeouts: u64,
}

/// What was counted since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that are no packets of uTP.
    pub malformed: u64,
    /// SYNs of connections that are not there.
    pub syns: u64,
    /// Packets of connections that are not there.
    pub strays: u64,
    /// Answers to either that were not sent, because there were too many.
    pub unanswered: u64,
}
