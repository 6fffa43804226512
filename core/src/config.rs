//! Configuration of an engine.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::RateLimits;
use crate::dht::config::DhtConfig;
use crate::limits;
use crate::metainfo::Names;
use crate::transport::Transports;

/// What an engine is told once, when it is made. Part of a recording, hence serialisable.
///
/// Every field has a default that suits a desktop; change those that do not:
///
/// ```
/// use std::time::Duration;
///
/// use anabranch_core::{Config, Engine, Instant, Seed, UnixTime};
///
/// let mut config = Config::default();
/// config.max_connections = 50;
/// config.write_budget = 4 << 20;
/// config.limits.upload = Some(1_000_000);
/// config.keep_alive = Duration::ZERO;
///
/// let engine = Engine::new(config, Seed([0; 32]), Instant::ZERO, UnixTime(0));
/// assert_eq!(engine.config().max_connections, 50);
/// // No value makes an engine hang or spin: where one would, the least that works is used.
/// assert_eq!(engine.config().keep_alive, Duration::from_secs(1));
/// ```
///
/// # Memory
///
/// What an engine may come to hold at worst, whatever peers do, is the sum of
///
/// - [`write_budget`](Self::write_budget) and [`read_budget`](Self::read_budget) of payload;
/// - [`max_connections`](Self::max_connections) × what each connection costs: see there;
/// - for each torrent, its .torrent file and what is under way: see
///   [`max_torrents`](Self::max_torrents);
/// - some 2 MB for tables that all share: see [`limits`](crate::limits);
/// - for the DHT node, if there is one, some 20 MB: see [`DhtConfig`].
///
/// An embedder adds what it keeps in transit: for each connection at most
/// [`SEND_WINDOW`](crate::limits::SEND_WINDOW) that it was given and has not sent, and
/// [`READ_WINDOW`](crate::limits::READ_WINDOW), if it buffers what it has not told the engine yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Config {
    /// The first bytes of the peer-id (BEP 20): `-`, two letters of the client, four digits of its
    /// version, `-`. The rest is drawn at random. Default: `-AB0100-`.
    pub peer_id_prefix: [u8; 8],
    /// Connections in all, with those being made; 0 for none. Default 500. When they are all there, somebody
    /// new takes the place of who is of least use; for a moment there are up to
    /// [`limits::MAX_CLOSING`](crate::limits::MAX_CLOSING) more, which are being closed.
    ///
    /// Memory: up to [`limits::CONN_MEMORY`](crate::limits::CONN_MEMORY), half a MiB, each: 250 MiB in
    /// all. That takes torrents of the most pieces there can be, and peers that fill every queue.
    pub max_connections: u32,
    /// Connections of one torrent; 0 for none. Default 100. When they are all there, somebody new takes the
    /// place of who is of least use. Costs no memory but that of the connections.
    pub max_connections_per_torrent: u32,
    /// Connections that we make at a time, from dialling until both sides are introduced; 0 to dial nobody.
    /// Default 50. Costs no memory but that of the connections.
    pub max_half_open: u32,
    /// Connections that came in and are in the middle of their handshake, at a time, or a quarter of
    /// [`max_connections`](Self::max_connections), if that is more. When there are so many, the network (IPv4
    /// /24, IPv6 /48) with most of them gives one up for each that comes. Default 100, at least 1. Costs no
    /// memory but that of the connections.
    pub max_incoming_handshakes: u32,
    /// Connections begun in a second; 0 to dial nobody. Default 30. Costs no memory but that of the
    /// connections.
    pub max_connects_per_second: u32,
    /// Torrents at a time; 0 for none. Default 10,000.
    ///
    /// Memory: each has its .torrent file, up to 32 MiB
    /// ([`MAX_TORRENT_LEN`](crate::metainfo::limits::MAX_TORRENT_LEN)), and what was parsed of it,
    /// which is of the same order; up to 200 KB of addresses
    /// ([`MAX_CANDIDATES`](crate::limits::MAX_CANDIDATES)); and while it downloads up to 11 MB
    /// about blocks under way, beside their payload
    /// ([`MAX_PARTIAL_BLOCKS`](crate::limits::MAX_PARTIAL_BLOCKS)).
    pub max_torrents: u32,
    /// By what peers are reached, and may reach us. Default: TCP alone, since uTP takes a driver that
    /// brings packets. Can be [changed](crate::Command::SetTransports).
    ///
    /// Memory: a connection by uTP costs some 1.5 kB beside what all cost, and all of them keep up to
    /// [`limits::STREAM_MEMORY`](crate::limits::STREAM_MEMORY) in each direction.
    pub transports: Transports,
    /// How long dialling may take. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// After how long without a byte a peer is gone. Default 130 s (BEP 3 asks for a keep-alive every
    /// 2 min).
    pub silence_timeout: Duration,
    /// After how long without sending we send a keep-alive. Default 100 s, at least 1 s.
    pub keep_alive: Duration,
    /// After how long a peer that wants nothing, and has nothing for us, loses its place. Default
    /// 600 s.
    pub idle_timeout: Duration,
    /// Peers that we upload to at a time, beside one optimistic slot; grows with the upload rate.
    /// Default 8. Costs no memory: what is read for them is bounded by
    /// [`read_budget`](Self::read_budget).
    pub unchoke_slots: u32,
    /// How a complete torrent chooses whom to upload to. Default [`SeedChoke::Fastest`].
    pub seed_choke: SeedChoke,
    /// Requests that a peer may have outstanding with us; more is a flood. Advertised as `reqq`
    /// (BEP 10). Default 2,000, at least 1.
    ///
    /// Memory: 16 bytes each, for each connection; the default's are part of
    /// [`limits::CONN_MEMORY`](crate::limits::CONN_MEMORY).
    pub max_peer_requests: u32,
    /// Requests that we keep outstanding with a peer that does not say how many it accepts. Default
    /// 250, at least 1 and at most [`limits::MAX_OUTSTANDING`](crate::limits::MAX_OUTSTANDING).
    ///
    /// Memory: 40 bytes each, for each connection, part of
    /// [`limits::CONN_MEMORY`](crate::limits::CONN_MEMORY).
    pub default_peer_reqq: u32,
    /// Bytes of pieces that are not complete, or not written, in memory. Half of it is for incomplete
    /// pieces; beyond it, blocks are written before their piece is complete, and reading from peers
    /// stops until the disk has caught up. Default 32 MiB, at least 64 KiB.
    ///
    /// Memory: itself, and what connections had been allowed to send when it was reached, at most
    /// [`READ_WINDOW`](crate::limits::READ_WINDOW) each.
    pub write_budget: u32,
    /// Bytes that are being read from the disk for peers. Default 16 MiB.
    /// One read at a time is always possible.
    ///
    /// Memory: itself, or [`READ_LEN`](crate::limits::READ_LEN) if that is more.
    pub read_budget: u32,
    /// Pieces of all torrents that are verified at a time when what is on the disk is checked. Default 64, at
    /// least 1.
    ///
    /// Memory: none here; the embedder's disk needs that of as many jobs, a piece each if it reads
    /// whole pieces.
    pub check_depth: u32,
    /// Which names torrents give to their files: those that the file systems at hand take. Default: those
    /// that all take. An adapter that knows the system sets it. Costs no memory.
    pub names: Names,
    /// How often resume data is saved while a torrent downloads. Default 30 s, at least 1 s.
    pub checkpoint_interval: Duration,
    /// Rate limits over all torrents, in bytes a second. Default: none. Costs no memory.
    pub limits: RateLimits,
    /// Peers asked of a tracker; 0 to ask for none. Default 200. No more than
    /// [`MAX_TRACKER_PEERS`](crate::limits::MAX_TRACKER_PEERS) are taken from a reply, and no more
    /// than [`MAX_CANDIDATES`](crate::limits::MAX_CANDIDATES) kept.
    pub tracker_numwant: u32,
    /// Whether trackers on this machine (loopback, `localhost`, link-local addresses) may be asked over HTTP on any path.
    /// Otherwise the last part of the path must begin with `announce`, so that no torrent can make us use other services
    /// of this machine. Default false. Costs no memory.
    pub allow_local_trackers: bool,
    /// How long `stopped` announces may hold up the end. Default 3 s.
    pub goodbye_timeout: Duration,
    /// Whether peers tell each other of peers (BEP 11); never for private torrents. Default true.
    ///
    /// Memory: for each connection some 50 bytes for each peer that it was told of, at most
    /// [`max_connections_per_torrent`](Self::max_connections_per_torrent) of them.
    pub pex: bool,
    /// Whether torrents are announced to the local network (BEP 14), where the driver reaches it; never
    /// private ones. Default true. Costs no memory.
    pub local_discovery: bool,
    /// The largest metadata that is fetched for a magnet link, in bytes (BEP 9). Default 30 MiB, at most
    /// [`MAX_TORRENT_LEN`](crate::metainfo::limits::MAX_TORRENT_LEN).
    ///
    /// Memory: itself for each torrent without metadata, as it comes, and twice that while it is
    /// verified. Its SHA-1 is taken within one call of the engine: some 100 ms for the largest, less
    /// than 1 ms for what is usual.
    pub max_metadata_size: u32,
    /// Connections with one address, whatever the port, that a torrent takes in, and that may be in the
    /// middle of their handshake; over all torrents a quarter of
    /// [`max_connections`](Self::max_connections), if that is more. Default 16: enough for a household
    /// behind one address or a swarm on one machine, too few to take all places.
    pub max_connections_per_address: u32,
    /// The distributed hash table. Default: off.
    ///
    /// Memory: see [`DhtConfig`].
    pub dht: DhtConfig,
}

impl Config {
    /// Raises what would make an engine hang or spin to the least that does not.
    pub(crate) fn sound(mut self) -> Self {
        self.keep_alive = self.keep_alive.max(Duration::from_secs(1));
        self.checkpoint_interval = self.checkpoint_interval.max(Duration::from_secs(1));
        self.max_incoming_handshakes = self.max_incoming_handshakes.max(1);
        self.max_peer_requests = self.max_peer_requests.max(1);
        self.default_peer_reqq = self.default_peer_reqq.clamp(1, limits::MAX_OUTSTANDING);
        self.write_budget = self.write_budget.max(4 * limits::BLOCK_LEN);
        self.check_depth = self.check_depth.max(1);
        let longest = crate::metainfo::limits::MAX_TORRENT_LEN as u32;
        self.max_metadata_size = self.max_metadata_size.min(longest);
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peer_id_prefix: *b"-AB0100-",
            max_connections: 500,
            max_connections_per_torrent: 100,
            max_half_open: 50,
            max_incoming_handshakes: 100,
            max_connects_per_second: 30,
            max_torrents: 10_000,
            transports: Transports::Tcp,
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
            check_depth: 64,
            names: Names::Portable,
            checkpoint_interval: Duration::from_secs(30),
            limits: RateLimits {
                download: None,
                upload: None,
            },
            tracker_numwant: 200,
            allow_local_trackers: false,
            goodbye_timeout: Duration::from_secs(3),
            pex: true,
            local_discovery: true,
            max_metadata_size: 30 << 20,
            max_connections_per_address: 16,
            dht: DhtConfig::default(),
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
