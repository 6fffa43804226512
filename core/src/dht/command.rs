//! What a user can ask of the DHT, and what the answer is.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::item::{Item, MutableItem, Value};
use super::state::DhtState;
#[cfg(doc)]
use crate::error::CommandError;
use crate::metainfo::{InfoHash, Node};
use crate::wire::krpc::{NodeId, NodeInfo};

/// A wish about the DHT. Where others must be asked, it is answered when they have: after some seconds. A node that
/// knows no others yet is given half a minute to get to know some.
///
/// # Errors
///
/// [`DhtOff`](CommandError::DhtOff) where there is no node, [`DhtBusy`](CommandError::DhtBusy) when there are
/// [`MAX_DHT_LOOKUPS`](crate::limits::MAX_DHT_LOOKUPS) lookups already, [`NoDhtNodes`](CommandError::NoDhtNodes) when no
/// other node is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DhtCommand {
    /// Find peers of a torrent. Answered with [`DhtReply::Peers`].
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// Find peers of a torrent, and say that there is one here. Torrents of the engine do so by themselves. Answered with
    /// [`DhtReply::Peers`].
    Announce {
        /// The torrent.
        info_hash: InfoHash,
        /// Where the peer listens, at the address of this machine; where the engine does if absent.
        port: Option<u16>,
        /// Whether the peer is complete (BEP 33).
        seed: bool,
    },
    /// Estimate how many peers a torrent has (BEP 33). Answered with [`DhtReply::Scraped`].
    Scrape {
        /// The torrent.
        info_hash: InfoHash,
    },
    /// Ask a node whether it is there. Answered with [`DhtReply::Pong`], or fails with
    /// [`NoDhtAnswer`](CommandError::NoDhtAnswer).
    Ping {
        /// Its address.
        address: SocketAddr,
    },
    /// Get to know a node. Answered at once with [`Reply::Done`](crate::command::Reply::Done), whatever becomes of it.
    AddNode {
        /// The node.
        node: Node,
    },
    /// Get an immutable item (BEP 44). Answered with [`DhtReply::Item`].
    GetImmutable {
        /// Where it is stored.
        target: NodeId,
    },
    /// Get a mutable item (BEP 44): of all that are found, the one with the greatest number. Answered with
    /// [`DhtReply::Item`].
    GetMutable {
        /// Its owner's public key.
        key: [u8; 32],
        /// What tells it apart from others of the key; at most 64 bytes.
        salt: bytes::Bytes,
    },
    /// Store an immutable item (BEP 44). It is forgotten after two hours unless it is put again. Answered with
    /// [`DhtReply::Stored`].
    PutImmutable {
        /// The value.
        value: Value,
    },
    /// Store a mutable item (BEP 44), likewise.
    PutMutable {
        /// The item.
        item: MutableItem,
        /// Only where this number, if any, is stored at present.
        cas: Option<i64>,
    },
    /// Tell how the node is. Answered at once with [`DhtReply::Status`].
    Status,
    /// Tell what should be kept for the next run. Answered at once with [`DhtReply::State`].
    Save,
}

/// The success of a [`DhtCommand`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DhtReply {
    /// Peers of a torrent.
    Peers(DhtPeers),
    /// Counts of a torrent.
    Scraped(DhtScrape),
    /// A node is there.
    Pong(DhtPong),
    /// An item; none if nobody has it.
    Item(Option<Item>),
    /// Where an item is stored now.
    Stored(DhtStored),
    /// How the node is.
    Status(DhtStatus),
    /// What should be kept.
    State(DhtState),
}

/// What a lookup for peers came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtPeers {
    /// The peers, at most [`MAX_DHT_LOOKUP_PEERS`](crate::limits::MAX_DHT_LOOKUP_PEERS); as claimed.
    pub peers: Vec<SocketAddr>,
    /// Nodes that took the announce.
    pub announced: u32,
    /// How the lookup went.
    pub path: DhtPath,
}

/// What a scrape came to. Estimates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtScrape {
    /// Complete peers.
    pub seeds: u32,
    /// Other peers.
    pub peers: u32,
    /// How the lookup went.
    pub path: DhtPath,
}

/// How a lookup went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtPath {
    /// The nodes closest to the place, of each address family the closest first.
    pub nodes: Vec<NodeInfo>,
    /// Queries sent.
    pub asked: u32,
    /// Answers.
    pub replied: u32,
    /// How many nodes were asked one after the other to find the closest ones.
    pub hops: u8,
    /// From the first query to the last answer that mattered.
    pub took: Duration,
}

/// A node's answer to a ping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtPong {
    /// Its place.
    pub id: NodeId,
    /// From the question to the answer.
    pub took: Duration,
    /// Its software, as far as it says so; escaped.
    pub version: Option<String>,
}

/// What storing an item came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtStored {
    /// Where it is stored.
    pub target: NodeId,
    /// How many nodes took it.
    pub nodes: u32,
    /// The last refusal, if there was one: its code (see [`code`](crate::wire::krpc::code)) and in words, escaped.
    pub refusal: Option<(i64, String)>,
}

/// How the DHT node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtStatus {
    /// Its side towards IPv4 nodes.
    pub v4: DhtFamilyStatus,
    /// Its side towards IPv6 nodes.
    pub v6: DhtFamilyStatus,
    /// Lookups under way.
    pub lookups: u32,
    /// Queries that wait for an answer.
    pub waiting: u32,
    /// Torrents of which peers are kept for others.
    pub torrents: u32,
    /// Peers that are kept for others.
    pub peers: u32,
    /// Items that are kept for others.
    pub items: u32,
    /// What it has done so far.
    pub counters: DhtCounters,
}

/// How the DHT node is towards one address family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtFamilyStatus {
    /// Its place.
    pub id: NodeId,
    /// Our address, as far as it is known.
    pub external: Option<IpAddr>,
    /// Whether it has found its neighbours.
    pub ready: bool,
    /// Nodes in the routing table.
    pub nodes: u32,
    /// Those of them that are good (BEP 5).
    pub good: u32,
}

/// What a DHT node has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtCounters {
    /// Bytes received, of packets that look like the DHT's.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Queries sent.
    pub queries_sent: u64,
    /// Queries that were answered in time.
    pub answered: u64,
    /// Queries that were not.
    pub unanswered: u64,
    /// Queries of others that were answered.
    pub served: u64,
    /// Queries of others that were not, because of a rate limit.
    pub limited: u64,
    /// Announces of others that were kept.
    pub announces: u64,
    /// Announces and items of others with a token that was not ours.
    pub bad_tokens: u64,
    /// Packets that are no messages.
    pub malformed: u64,
    /// Answers that nobody waited for.
    pub stray: u64,
    /// Lookups begun.
    pub lookups: u64,
    /// How often the node took another place because its address changed.
    pub moves: u64,
}
