//! BEP 5, 32, 33, 42, 43, 44: the messages between nodes of the distributed hash table.
//!
//! A message is one datagram with one bencoded dictionary. Byte strings are borrowed from the datagram; lists are
//! bounded. What a query lacks is told by [`Method::Invalid`], so that it can be answered with an error; what is no
//! message at all is a [`WireError`], and nobody is answered.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(doc)]
use super::WireError;
use crate::metainfo::InfoHash;

/// The longest message that is read, in bytes. None that is honest comes near it.
pub const MAX_MESSAGE_LEN: usize = 4_096;

/// The longest transaction id that is read, in bytes: it is chosen by others, and given back.
pub const MAX_TRANSACTION_LEN: usize = 32;

/// Nodes of one family that are taken from a response. BEP 5 has 8.
pub const MAX_NODES: usize = 32;

/// Peers that are taken from a response.
pub const MAX_VALUES: usize = 200;

/// The longest token that is kept, in bytes.
pub const MAX_TOKEN_LEN: usize = 64;

/// The longest value of an item, bencoded, in bytes (BEP 44).
pub const MAX_ITEM_LEN: usize = 1_000;

/// The longest salt of an item, in bytes (BEP 44).
pub const MAX_SALT_LEN: usize = 64;

/// Length of a Bloom filter (BEP 33), in bytes.
pub const BLOOM_LEN: usize = 256;

/// The place of a node, a torrent or an item in the table: 160 bits. Which of two places is nearer to a third is told
/// by [`distance`](Self::distance).
///
/// Written as 40 hexadecimal digits, in lower case; read in either case. Serialised as that text by formats for
/// people, and as 20 bytes by the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId([u8; Self::LEN]);

impl NodeId {
    /// Its length in bytes.
    pub const LEN: usize = 20;

    /// The place that these bytes name.
    #[must_use]
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// How far two places are from each other: the exclusive or of both, as a number in network byte order.
    #[must_use]
    pub fn distance(&self, other: &Self) -> [u8; Self::LEN] {
        let mut distance = self.0;
        for (byte, other) in distance.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        distance
    }

    /// How many bits both have in common from the first on: 0 to 160.
    #[must_use]
    pub fn common_bits(&self, other: &Self) -> u32 {
        let mut bits = 0;
        for byte in self.distance(other) {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }
}

impl From<InfoHash> for NodeId {
    fn from(info_hash: InfoHash) -> Self {
        Self(*info_hash.as_bytes())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(HEXLOWER_PERMISSIVE.encode(&self.0).as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// The text is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place in the table is 40 hexadecimal digits")]
pub struct ParseNodeIdError;

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let info_hash: InfoHash = text.parse().map_err(|_| ParseNodeIdError)?;
        Ok(info_hash.into())
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        InfoHash::new(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let info_hash = InfoHash::deserialize(deserializer).map_err(de::Error::custom)?;
        Ok(info_hash.into())
    }
}

/// A node: its place, and where it can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its place.
    pub id: NodeId,
    /// Its address.
    pub address: SocketAddr,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Chosen by who asks, given back by who answers.
    pub transaction: &'a [u8],
    /// The sender's software: two letters and a version, as far as it says so.
    pub version: Option<&'a [u8]>,
    /// The sender answers no queries (BEP 43), and is not to be asked any. Only in queries.
    pub read_only: bool,
    /// The address of the receiver as the sender sees it (BEP 42). Only in responses and errors.
    pub your_address: Option<SocketAddr>,
    /// What is said.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// The answer to one.
    Response(Response<'a>),
    /// The refusal of one.
    Error(Fault<'a>),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The place of who asks.
    pub sender: NodeId,
    /// What is asked.
    pub method: Method<'a>,
}

/// Which nodes a response should name (BEP 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Those with IPv4 addresses.
    pub v4: bool,
    /// Those with IPv6 addresses.
    pub v6: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are closest to a place?
    FindNode {
        /// The place.
        target: NodeId,
        /// Of which families; that of the datagram where absent.
        want: Option<Want>,
    },
    /// Who has this torrent?
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Nodes of which families; that of the datagram where absent.
        want: Option<Want>,
        /// Peers that are complete are of no use (BEP 33).
        no_seeds: bool,
        /// Bloom filters of the peers are wanted (BEP 33).
        scrape: bool,
    },
    /// I have this torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// The port at which the sender takes connections, if `implied_port` is not set.
        port: u16,
        /// The port is that of the datagram.
        implied_port: bool,
        /// The sender is complete (BEP 33).
        seed: bool,
        /// From a response to `GetPeers`.
        token: &'a [u8],
    },
    /// What is stored at a place (BEP 44)?
    Get {
        /// The place.
        target: NodeId,
        /// Nodes of which families; that of the datagram where absent.
        want: Option<Want>,
        /// A value is of use only if its number is greater.
        seq: Option<i64>,
    },
    /// Store this (BEP 44). Neither the length of the value nor that of the salt is judged here, since each has an
    /// error of its own.
    Put {
        /// From a response to `Get`.
        token: &'a [u8],
        /// The value, bencoded.
        value: &'a [u8],
        /// What makes it one that can be changed.
        mutable: Option<PutMutable<'a>>,
    },
    /// A method that is not known here.
    Unknown {
        /// Its name.
        name: &'a [u8],
    },
    /// A known method whose arguments can't be understood.
    Invalid {
        /// The argument.
        key: &'static str,
    },
}

/// What is put along with the value of a mutable item (BEP 44).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutMutable<'a> {
    /// The public key.
    pub key: [u8; 32],
    /// Tells the items of one key apart; may be empty.
    pub salt: &'a [u8],
    /// Grows with each change.
    pub seq: i64,
    /// Of salt, number and value.
    pub signature: [u8; 64],
    /// The number that must be stored at present.
    pub cas: Option<i64>,
}

/// An answer. Which fields are there depends on what was asked, which only the transaction tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response<'a> {
    /// The place of who answers.
    pub sender: NodeId,
    /// Close nodes with IPv4 addresses, at most [`MAX_NODES`]; none with port 0.
    pub nodes: Option<Vec<NodeInfo>>,
    /// Close nodes with IPv6 addresses, at most [`MAX_NODES`]; none with port 0.
    pub nodes6: Option<Vec<NodeInfo>>,
    /// Peers, at most [`MAX_VALUES`]; none with port 0.
    pub values: Vec<SocketAddr>,
    /// To be given back with an announce or a put; at most [`MAX_TOKEN_LEN`] bytes.
    pub token: Option<&'a [u8]>,
    /// Bloom filter of the complete peers (BEP 33).
    pub seeds: Option<&'a [u8; BLOOM_LEN]>,
    /// Bloom filter of the other peers (BEP 33).
    pub peers: Option<&'a [u8; BLOOM_LEN]>,
    /// An item's value, bencoded (BEP 44); at most [`MAX_ITEM_LEN`] bytes.
    pub value: Option<&'a [u8]>,
    /// The item's public key, if it is mutable.
    pub key: Option<[u8; 32]>,
    /// Its number.
    pub seq: Option<i64>,
    /// Its signature.
    pub signature: Option<[u8; 64]>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// What kind: see [`code`].
    pub code: i64,
    /// In words.
    pub message: &'a [u8],
}

/// Kinds of refusals.
pub mod code {
    /// Of no other kind (BEP 5).
    pub const GENERIC: i64 = 201;
    /// Something failed where the query was answered (BEP 5).
    pub const SERVER: i64 = 202;
    /// Arguments that can't be understood, or a wrong token (BEP 5).
    pub const PROTOCOL: i64 = 203;
    /// A method that is not known (BEP 5).
    pub const METHOD: i64 = 204;
    /// A value that is too long (BEP 44).
    pub const VALUE_TOO_LONG: i64 = 205;
    /// A signature that does not match (BEP 44).
    pub const SIGNATURE: i64 = 206;
    /// A salt that is too long (BEP 44).
    pub const SALT_TOO_LONG: i64 = 207;
    /// Another number is stored than the one expected (BEP 44).
    pub const CAS: i64 = 301;
    /// A number that is not greater than the one stored (BEP 44).
    pub const OUTDATED: i64 = 302;
}
