//! The arguments of `anabranch dht`.

use std::path::PathBuf;
use std::time::Duration;

use anabranch_core::dht::NodeId;
use anabranch_core::metainfo::InfoHash;
use clap::{Args, Subcommand, ValueHint};

use super::network::{DhtNetwork, Listening, PeerAddress};
use super::path::path;
use super::source::parse_torrent_id;
use crate::runtime::Choice;
use crate::units::{parse_duration, parse_rate};

/// Ask the distributed hash table, or be a node of it.
///
/// All but `node` join it for a moment, and answer nobody.
#[derive(Debug, Args)]
pub(crate) struct Dht {
    #[command(subcommand)]
    pub(crate) command: DhtCommand,
}

/// What to do with the DHT.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum DhtCommand {
    /// Find peers of a torrent, and print their addresses.
    GetPeers(DhtGetPeers),
    /// Ask a node whether it is there. Exit code 1 means that no answer came, and 5 that none came within --timeout.
    Ping(DhtPing),
    /// Be a node until Ctrl-C, for example one to get to know others by in a private network.
    Node(DhtNode),
    /// Join, and tell how that went: addresses, nodes that are known, packets.
    Stats(DhtStats),
    /// Get an item that somebody stored. Exit code 3 means that nobody has it.
    Get(DhtGet),
    /// Store an item for two hours, and print where: what `get` takes.
    Put(DhtPut),
}

/// What all DHT commands have in common.
#[derive(Debug, Args)]
pub(crate) struct DhtCommon {
    #[command(flatten)]
    pub(crate) network: DhtNetwork,

    #[command(flatten)]
    pub(crate) listening: Listening,

    /// What the engine runs on.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,

    /// Write JSON to standard output instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long a DHT command waits.
#[derive(Debug, Args)]
pub(crate) struct DhtPatience {
    /// Give up, with exit code 5, when there is no answer after so long, such as 10s.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct DhtGetPeers {
    /// The torrent: its info-hash in hexadecimal, or its magnet link.
    #[arg(value_name = "INFOHASH|MAGNET", value_parser = parse_torrent_id)]
    pub(crate) torrent: InfoHash,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPing {
    /// The node.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) node: PeerAddress,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtNode {
    #[command(flatten)]
    pub(crate) common: DhtCommon,

    /// Ask, but answer nobody.
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Know nobody to begin with: for the first node of a private network.
    #[arg(long, conflicts_with = "dht_nodes")]
    pub(crate) alone: bool,

    /// Limit the answers to all others together, in bytes a second, such as 1MiB. Without it, 250k.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) reply_rate: Option<u64>,

    /// How often to tell how it is.
    #[arg(long, value_name = "T", default_value = "10s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DhtStats {
    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtGet {
    /// Where it is: 40 hexadecimal digits for an item that nobody can change, 64 for the public key of its
    /// owner.
    #[arg(value_name = "TARGET|KEY", value_parser = parse_item_id)]
    pub(crate) item: ItemId,

    /// What tells the items of a key apart.
    #[arg(long, value_name = "S", default_value = "")]
    pub(crate) salt: String,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPut {
    /// What to store, at most 996 bytes.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,

    /// Store it under a key, so that it can be changed later: a file with 64 hexadecimal digits, which are
    /// its secret.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// What tells the items of a key apart.
    #[arg(long, value_name = "S", default_value = "", requires = "key")]
    pub(crate) salt: String,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

/// By what an item is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemId {
    Immutable(NodeId),
    Mutable([u8; 32]),
}

pub(super) fn parse_item_id(text: &str) -> Result<ItemId, String> {
    let mutable = || parse_key(text).map(ItemId::Mutable);
    match text.parse() {
        Ok(target) => Ok(ItemId::Immutable(target)),
        Err(_) => mutable().ok_or_else(|| "neither 40 nor 64 hexadecimal digits".to_owned()),
    }
}

/// Reads 64 hexadecimal digits.
pub(crate) fn parse_key(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() == 64)?;
    let bytes = pairs.chunks_exact(2);
    let bytes: Option<Vec<u8>> = bytes
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect();
    bytes?.try_into().ok()
}
