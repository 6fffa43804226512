//! Configuration of an engine.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::RateLimits;

/// What an engine is told once, when it is made. Part of a recording, hence serialisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Config {
    /// The first bytes of the peer-id (BEP 20): `-`, two letters of the client, four digits of its
    /// version, `-`. The rest is drawn at random. Default: `-AB0100-`.
    pub peer_id_prefix: [u8; 8],
    /// Connections in all, with those being made. Default 500. Costs up to
    /// [`limits::CONN_MEMORY`](crate::limits::CONN_MEMORY) bytes each beside what is in transit.
    pub max_connections: u32,
    /// Connections of one torrent. Default 100.
    pub max_connections_per_torrent: u32,
    /// Connections being made at a time. Default 50.
    pub max_half_open: u32,
    /// Connections begun in a second. Default 30.
    pub max_connects_per_second: u32,
    /// Torrents. Default 10,000.
    pub max_torrents: u32,
    /// How long dialling may take. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// After how long without a byte a peer is gone. Default 130 s (BEP 3 asks for a keep-alive every
    /// 2 min).
    pub silence_timeout: Duration,
    /// After how long without sending we send a keep-alive. Default 100 s.
    pub keep_alive: Duration,
    /// After how long a peer that wants nothing, and has nothing for us, loses its place. Default 600 s.
    pub idle_timeout: Duration,
    /// Peers that we upload to at a time, beside one optimistic slot; grows with the upload rate.
    /// Default 8.
    pub unchoke_slots: u32,
    /// How a complete torrent chooses whom to upload to. Default [`SeedChoke::Fastest`].
    pub seed_choke: SeedChoke,
    /// Requests that a peer may have outstanding with us; more is a flood. Advertised as `reqq`
    /// (BEP 10). Default 2,000 (16 bytes each).
    pub max_peer_requests: u32,
    /// Requests that we keep outstanding with a peer that does not say how many it accepts.
    /// Default 250.
    pub default_peer_reqq: u32,
    /// Bytes of pieces that are not complete, or not written, in memory. Half of it is for incomplete
    /// pieces; beyond it, blocks are written before their piece is complete, and reading from peers
    /// stops until the disk has caught up. Default 32 MiB.
    pub write_budget: u32,
    /// Bytes read from the disk, or being read, for peers that have not taken them. Default 16 MiB.
    pub read_budget: u32,
    /// Pieces verified at a time when what is on the disk is checked. Default 16.
    pub check_depth: u32,
    /// How often resume data is saved while a torrent downloads. Default 30 s.
    pub checkpoint_interval: Duration,
    /// Rate limits over all torrents. Default: none.
    pub limits: RateLimits,
    /// Peers asked of a tracker. Default 200.
    pub tracker_numwant: u32,
    /// How long `stopped` announces may hold up the end. Default 3 s.
    pub goodbye_timeout: Duration,
    /// Connections with one address, whatever the port, that may come in. Default 16: enough for a
    /// household behind one address or a swarm on one machine, too few to take all places.
    pub max_connections_per_address: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peer_id_prefix: *b"-AB0100-",
            max_connections: 500,
            max_connections_per_torrent: 100,
            max_half_open: 50,
            max_connects_per_second: 30,
            max_torrents: 10_000,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(130),
            keep_alive: Duration::from_secs(100),
            idle_timeout: Duration::from_secs(600),
            unchoke_slots: 8,
            seed_choke: SeedChoke::Fastest,
            max_peer_requests: 2_000,
            default_peer_reqq: 250,
            write_budget: 32 << 20,
            read_budget: 16 << 20,
            check_depth: 16,
            checkpoint_interval: Duration::from_secs(30),
            limits: RateLimits {
                download: None,
                upload: None,
            },
            tracker_numwant: 200,
            goodbye_timeout: Duration::from_secs(3),
            max_connections_per_address: 16,
        }
    }
}

/// How a complete torrent chooses whom to upload to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeedChoke {
    /// Those that take data fastest.
    #[default]
    Fastest,
    /// Everybody in turn.
    RoundRobin,
}
