//! UDP packets, as an embedder's sockets take and give them.

use core::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{SocketId, TorrentId};
use crate::time::Instant;

/// Packets that came from one address: one, or several that the system joined because they came together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inbound {
    /// Who claims to have sent them.
    pub from: SocketAddr,
    /// Their payload, one behind the other.
    pub data: Bytes,
    /// Bytes of each but the last, which may have fewer. Zero if there is one only.
    pub segment: u32,
    /// Which socket they came by, if there are several. What answers them goes out by the same.
    pub socket: Option<SocketId>,
    /// When they arrived, on the clock of [`Engine::handle`](crate::Engine::handle), if it is known better than by the
    /// time at which the engine is told. Delays on the way are measured by it.
    pub at: Option<Instant>,
}

impl Inbound {
    /// One packet.
    #[must_use]
    pub const fn new(from: SocketAddr, data: Bytes) -> Self {
        Self {
            from,
            data,
            segment: 0,
            socket: None,
            at: None,
        }
    }

    /// Packets of so many bytes each, but the last.
    #[must_use]
    pub const fn in_segments(mut self, segment: u32) -> Self {
        self.segment = segment;
        self
    }

    /// They came by this socket.
    #[must_use]
    pub const fn by(mut self, socket: SocketId) -> Self {
        self.socket = Some(socket);
        self
    }

    /// They arrived at this time.
    #[must_use]
    pub const fn at(mut self, at: Instant) -> Self {
        self.at = Some(at);
        self
    }

    /// Each of them: at least one, which is empty if there is no payload.
    pub fn packets(&self) -> impl Iterator<Item = Bytes> + '_ {
        segments(&self.data, self.segment)
    }
}

/// Packets to one address: one, or several for a system that cuts them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Outbound {
    /// Where to.
    pub to: SocketAddr,
    /// Their payload, one behind the other.
    pub data: Bytes,
    /// Bytes of each but the last, which may have fewer. Zero if there is one only.
    pub segment: u32,
    /// Which socket they go out by; none if any will do that reaches the address.
    pub socket: Option<SocketId>,
    /// Whether routers may cut a packet apart that is too long for a link. Where not, it is best lost: the engine finds
    /// out what length arrives. A driver that cannot choose lets them.
    pub may_fragment: bool,
    /// Whether [`Flushed`](crate::Event::Flushed) is owed.
    pub is_counted: bool,
    /// For which torrent; none for what is for none or for several: the DHT, the local discovery, and the connection
    /// that torrents share to a UDP tracker.
    pub torrent: Option<TorrentId>,
}

impl Outbound {
    /// One packet that nothing is owed for, from any socket.
    #[must_use]
    pub const fn new(to: SocketAddr, data: Bytes) -> Self {
        Self {
            to,
            data,
            segment: 0,
            socket: None,
            may_fragment: true,
            is_counted: false,
            torrent: None,
        }
    }

    /// Each of them: at least one, which is empty if there is no payload.
    pub fn packets(&self) -> impl Iterator<Item = Bytes> + '_ {
        segments(&self.data, self.segment)
    }
}

fn segments(data: &Bytes, segment: u32) -> impl Iterator<Item = Bytes> + '_ {
    let len = match segment as usize {
        0 => data.len().max(1),
        len => len,
    };
    let count = data.len().div_ceil(len).max(1);
    (0..count).map(move |at| data.slice(at * len..data.len().min((at + 1) * len)))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn packets_are_cut_apart_where_they_were_joined() {
        let from = ([192, 0, 2, 1], 6881).into();
        let cut = |data: &'static [u8], segment| {
            let inbound = Inbound::new(from, Bytes::from_static(data)).in_segments(segment);
            inbound.packets().collect::<Vec<_>>()
        };
        assert_eq!(cut(b"abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(cut(b"abcdef", 3), ["abc", "def"]);
        assert_eq!(cut(b"abc", 0), ["abc"]);
        assert_eq!(cut(b"abc", 70_000), ["abc"]);
        assert_eq!(cut(b"", 0), [""]);
        assert_eq!(cut(b"", 3), [""]);
    }
}
