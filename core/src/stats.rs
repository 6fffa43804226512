//! Counters of an engine.

use serde::{Deserialize, Serialize};

/// What an engine has done since it was made. Counters only grow; gauges say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Calls whose time lay before that of an earlier call; the earlier time was used.
    pub clock_went_back: u64,
    /// Calls whose time lay after [`Instant::LATEST`](crate::Instant::LATEST), which was used.
    pub clock_ran_out: u64,
    /// Events about a connection that has ended.
    pub stale_conns: u64,
    /// Bytes that the driver said had left, beyond those that it had been handed to send; they are not counted as
    /// sent.
    pub oversent: u64,
    /// Bytes that the driver brought beyond what it had been allowed to receive; they are taken all the same.
    pub uncredited: u64,
    /// Completions of an operation that has ended.
    pub stale_ops: u64,
    /// Bytes received from peers, payload and protocol.
    pub received: u64,
    /// Bytes sent to peers, payload and protocol.
    pub sent: u64,
    /// Payload bytes received that were asked for.
    pub payload_received: u64,
    /// Payload bytes handed out to be sent.
    pub payload_sent: u64,
    /// Payload bytes that were of no use: not asked for, come twice, or of a piece that failed.
    pub wasted: u64,
    /// Pieces that matched their digest.
    pub pieces_verified: u64,
    /// Pieces that did not.
    pub pieces_failed: u64,
    /// Connections accepted or begun.
    pub connections: u64,
    /// Connections that came in and were refused.
    pub refused: u64,
    /// Peers that gave up their place to somebody new.
    pub replaced: u64,
    /// Connections that came in and whose handshake was ended to let another begin.
    pub displaced: u64,
    /// Addresses banned.
    pub bans: u64,
    /// UDP packets that nobody waited for.
    pub stray_datagrams: u64,
    /// Gauge: bytes of incomplete pieces in memory.
    pub partial_backlog: u64,
    /// Gauge: bytes of payload handed to the disk and not written.
    pub write_backlog: u64,
    /// Gauge: bytes of payload in memory on the way from the disk.
    pub read_backlog: u64,
}
