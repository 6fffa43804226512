//! Every bound that is not configuration, in one place, with what it can cost at worst.

use core::time::Duration;

/// Bytes of a block: what is asked for in one request.
pub const BLOCK_LEN: u32 = 16 * 1024;

/// The largest block that a peer may ask us for, in bytes.
pub const MAX_REQUEST_LEN: u32 = 128 * 1024;

/// The largest read from storage, in bytes: several requests for neighbouring blocks share one.
pub const READ_LEN: u32 = 256 * 1024;

/// Bytes that may be received on a connection ahead of what the engine has taken. What all
/// connections together can have in transit between driver and engine is this times their number, but
/// only [`Config::write_budget`](crate::Config::write_budget) of it can be kept.
pub const READ_WINDOW: u32 = 1 << 20;

/// Bytes handed to the driver for a connection and not sent, at most; an upload waits beyond it.
pub const SEND_WINDOW: u32 = 1 << 20;

/// Bytes of packets handed to the driver and not sent, of those that the engine is told of when they are; what streams over
/// packets have beyond it waits.
pub const DATAGRAM_WINDOW: u32 = 1 << 20;

/// Bytes that all connections by uTP keep of what they received and nobody has taken, and as many of what they have under
/// way.
pub const STREAM_MEMORY: u64 = 64 << 20;

/// Packets that are taken in before what they lead to is looked at, if nothing else happens: one acknowledgement answers
/// them all.
pub const PACKETS_PER_BATCH: u32 = 64;

/// How often what parts say to connections over packets, and what comes of that, is looked at in a call; the next call goes on.
pub const ROUNDS_PER_CALL: u32 = 8;

/// After how long a peer that does not answer by one transport is dialled by another as well.
pub const RIVAL_AFTER: Duration = Duration::from_millis(500);

/// What a connection costs at most beside payload in transit, in bytes: queues of requests in both
/// directions (2,000 × 16 and 2,000 × 24), a piece map (256 KiB at two million pieces), a message
/// under way.
pub const CONN_MEMORY: u32 = 512 * 1024;

/// Connections beyond [`Config::max_connections`](crate::Config::max_connections) that may be waiting for the driver to
/// close them: what gives up its place to a newcomer leaves when the newcomer is there already. 64 × a socket, and what it
/// has not sent.
pub const MAX_CLOSING: u32 = 64;

/// The longest extension message, in bytes (BEP 10).
pub const MAX_EXTENDED_LEN: u32 = 1 << 20;

/// Peers that a torrent remembers without being connected to them: 2,000 × some 100 bytes.
pub const MAX_CANDIDATES: usize = 2_000;

/// Addresses that are not talked to any more: 4,096 × some 40 bytes. The oldest are forgotten. As many more that
/// the user named.
pub const MAX_BANNED: usize = 4_096;

/// Networks (IPv4 /24, IPv6 /48) of which it is remembered who held a place and was of no use: 2,048
/// × 8 hosts × 40 bytes, 700 KB. The oldest are forgotten.
pub const MAX_IDLE_NETWORKS: usize = 2_048;

/// Requests that we keep outstanding with one peer, whatever it allows: 2,000 × 40 bytes.
pub const MAX_OUTSTANDING: u32 = 2_000;

/// Requests that we keep outstanding with one peer at least.
pub const MIN_OUTSTANDING: u32 = 4;

/// Pieces of a torrent that are under way at a time: 2,048 × some 200 bytes beside their blocks.
pub const MAX_PARTIAL_PIECES: usize = 2_048;

/// Blocks of all pieces of a torrent that are under way: 131,072 × some 80 bytes beside their payload.
/// A single piece may have more.
pub const MAX_PARTIAL_BLOCKS: usize = 131_072;

/// Peers asked for the same block at the end of a download, when one after the other is late with it.
pub const ENDGAME_COPIES: usize = 3;

/// Failed copies of pieces whose block digests are kept to find out who lied: 64 × 20 bytes a block.
pub const MAX_SUSPECTS: usize = 64;

/// Bytes of an HTTP tracker's reply, unpacked.
pub const TRACKER_REPLY_LEN: u32 = 1 << 20;

/// Peers taken from one tracker reply.
pub const MAX_TRACKER_PEERS: usize = 2_000;

/// Host names of peers taken from one tracker reply: 16 × some 300 bytes.
pub const MAX_TRACKER_NAMES: usize = 16;

/// Lookups of such names that a torrent has under way; names beyond it wait for the next reply that has them.
pub const MAX_PEER_LOOKUPS: usize = 16;

/// Addresses that are taken from the lookup of one such name.
pub const MAX_PEER_NAME_ADDRESSES: usize = 8;

/// Trackers of one torrent, over all tiers.
pub const MAX_TRACKERS: usize = 100;

/// How long a tracker is waited for before the next one is asked beside it. Two exchanges of packets with the other end
/// of the world, or a TLS handshake and a reply, take about one second.
pub const TRACKER_PATIENCE: Duration = Duration::from_secs(3);

/// How long after that one the trackers behind it are asked, each after the one before: whoever has a silent tracker at
/// the front of the list has more of them, often.
pub const TRACKER_STEP: Duration = Duration::from_secs(1);

/// Trackers of a torrent that are asked at a time, the answer of none of them having come: 16 × some 3 KB. Of a private
/// torrent (BEP 27) it is one.
pub const MAX_TRACKERS_ASKED: usize = 16;

/// How long a tracker is waited for when others are to be asked in its place, because as many as may be are asked
/// already. Twice as long with each failure, up to eight times: a slow one gets its chance.
pub const TRACKER_HOLD: Duration = Duration::from_secs(15);

/// Redirects that an HTTP exchange follows.
pub const MAX_REDIRECTS: u8 = 5;

/// How long an HTTP exchange with a tracker may take.
pub const TRACKER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a name, a warning or a failure reason that a stranger gives us and that we keep.
pub const MAX_FOREIGN_TEXT: usize = 512;

/// How long a piece that came may be kept from peers that have enough to ask us for: what comes until
/// then is told together.
pub const HAVE_DELAY: Duration = Duration::from_secs(1);

/// How often the choker decides (BEP 3).
pub const CHOKE_INTERVAL: Duration = Duration::from_secs(10);

/// After how many rounds of the choker the optimistic slot moves on (BEP 3: 30 s).
pub const OPTIMISTIC_ROUNDS: u32 = 3;

/// The least and the most that a request may take before it is asked of another peer.
pub const REQUEST_TIMEOUT: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(20)..=Duration::from_secs(60);

/// Events that may be handled for one timer wake-up before the caller is given control back with
/// [`Wake::Now`](crate::Wake::Now).
pub const TIMERS_PER_CALL: u32 = 64;

/// What parts of an engine tell each other in one go; the rest is told after the next timer, or in the next call, for
/// which [`Wake::Now`](crate::Wake::Now) asks.
pub const SIGNALS_PER_CALL: u32 = 256;

/// Storages that are opened at a time; other torrents wait for their turn.
pub const MAX_OPENING: u32 = 64;

/// Exchanges with trackers by HTTP at a time; other torrents wait for their turn. Goodbyes do not wait.
pub const MAX_HTTP_ANNOUNCES: u32 = 64;

/// Torrents that an engine takes leave of in one go when it shuts down; the next go follows at once.
pub const REMOVALS_PER_CALL: usize = 64;

/// Torrents that are looked at in one go when the DHT can be asked; the next go follows when lookups have ended.
pub const LOOKUPS_PER_CALL: usize = 64;

/// Requests to UDP trackers that wait or are under way, of all torrents: 4,096 × some 300 bytes.
pub const MAX_UDP_TRACKER_REQUESTS: usize = 4_096;

/// Requests that one UDP tracker is sent before it has answered the earlier ones: a start with thousands of torrents
/// must not overrun its socket, or ours.
pub const UDP_TRACKER_WINDOW: usize = 64;

/// UDP trackers that are remembered, with their addresses and connection ids: 512 × some 500 bytes.
pub const MAX_UDP_TRACKERS: usize = 512;

/// Nodes in a bucket of the DHT's routing table, and closest nodes that a lookup seeks (BEP 5: k). With the cache of
/// replacements, both tables hold at most 2 × 160 × 16 nodes × some 120 bytes, 600 KB; on the whole Internet some 400
/// nodes.
pub const DHT_BUCKET: usize = 8;

/// Queries that a DHT lookup has under way at a time, beside those that take too long to be waited for.
pub const DHT_PARALLEL: usize = 4;

/// Nodes that a DHT lookup remembers: 128 × some 150 bytes.
pub const MAX_DHT_CANDIDATES: usize = 128;

/// Nodes that a DHT lookup asks at most, whatever it is told.
pub const MAX_DHT_LOOKUP_QUERIES: u32 = 200;

/// DHT lookups at a time: 64 × at most 100 KB. Commands beyond it fail, torrents wait.
pub const MAX_DHT_LOOKUPS: usize = 64;

/// Peers that a DHT lookup keeps for its user: 1,000 × 32 bytes.
pub const MAX_DHT_LOOKUP_PEERS: usize = 1_000;

/// DHT queries that wait for an answer: 1,024 × some 200 bytes.
pub const MAX_DHT_QUERIES: usize = 1_024;

/// Those of them with which DHT lookups find their way, and beyond which they take turns. The others are for what lookups
/// store at their ends, for users' pings and for the tables.
pub const MAX_DHT_QUERIES_OF_LOOKUPS: usize = 768;

/// DHT nodes that are to be asked whether they are there, and host names that are to be looked up: 256 × some 100
/// bytes.
pub const MAX_DHT_CONTACTS: usize = 256;

/// Torrents of which the DHT node keeps peers for others: 2,000 × some 200 bytes beside their peers.
pub const MAX_DHT_TORRENTS: usize = 2_000;

/// Peers that the DHT node keeps of one torrent.
pub const MAX_DHT_TORRENT_PEERS: usize = 500;

/// Peers that the DHT node keeps in all: 100,000 × some 120 bytes, 12 MB.
pub const MAX_DHT_PEERS: usize = 100_000;

/// Torrents for which one party, an IPv4 address or an IPv6 network, may have its peers kept.
pub const MAX_DHT_PEERS_PER_SOURCE: u32 = 500;

/// Items (BEP 44) that the DHT node keeps for others: 1,000 × at most 1.4 KB.
pub const MAX_DHT_ITEMS: usize = 1_000;

/// Items that one party may have kept.
pub const MAX_DHT_ITEMS_PER_SOURCE: u32 = 50;

/// Parties whose share of the DHT node's answers is remembered: 4,096 × some 150 bytes.
pub const MAX_DHT_SOURCES: usize = 4_096;

/// Bytes of answers that one party may have at once from the DHT node.
pub const DHT_SOURCE_BURST: u32 = 16 * 1024;

/// Bytes a second of answers that one party may have from the DHT node in the long run.
pub const DHT_SOURCE_RATE: u32 = 2 * 1024;

/// Nodes whose word on our own address counts.
pub const DHT_ADDRESS_VOTES: usize = 20;

/// Nodes of each family that are saved with the DHT's state: 300 × 38 bytes.
pub const MAX_DHT_SAVED_NODES: usize = 300;
