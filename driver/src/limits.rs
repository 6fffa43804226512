//! What one turn of the loop may do, and what may wait for the next.

use std::time::Duration;

/// Bytes written to one connection before the others have their turn.
pub(crate) const WRITE_BURST: u64 = 1 << 20;
/// Bytes read from one connection before the others have their turn.
pub(crate) const READ_BURST: usize = 512 << 10;
/// Bytes read before the machine has its turn.
pub(crate) const BYTES_PER_TURN: usize = 2 << 20;
/// Sources polled before the machine has its turn.
pub(crate) const SOURCES_PER_TURN: usize = 256;
/// Events gathered before the machine has its turn; one source can exceed it by its own bound.
pub(crate) const EVENTS_PER_TURN: usize = 1024;
/// Messages of handles taken before the machine has its turn.
pub(crate) const MESSAGES_PER_TURN: usize = 64;
/// Connections accepted from one socket in a turn.
pub(crate) const ACCEPTS_PER_TURN: usize = 16;
/// Packets received from one socket in a turn.
pub(crate) const DATAGRAMS_PER_TURN: usize = 64;
/// Packets that wait for one socket; more are lost.
pub(crate) const DATAGRAM_QUEUE: usize = 256;
/// Turns before the loop yields to whatever else runs on its thread.
pub(crate) const TURNS_PER_POLL: usize = 8;
/// How long a socket that fails for want of descriptors is left alone.
pub(crate) const SOCKET_PAUSE: Duration = Duration::from_secs(1);
