//! What users can choose about the DHT.

use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::state::DhtState;
use crate::metainfo::Node;

/// How an engine takes part in the distributed hash table. Part of [`Config`](crate::Config).
///
/// The node speaks over the port that the engine was told it [listens](crate::Command::Listening) on, once it listens.
///
/// Memory: some 20 MB at worst, if strangers fill all that it keeps for others (see the limits that begin with
/// [`MAX_DHT`](crate::limits::MAX_DHT_PEERS)); an idle node with a table of the public DHT's size has well under 1 MB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtConfig {
    /// Whether there is a node at all. Default false: an embedder must carry UDP packets for it.
    pub enabled: bool,
    /// Whether it asks but does not answer (BEP 43): for machines that cannot be reached, or whose traffic is dear.
    /// Default false.
    pub read_only: bool,
    /// Nodes by which to get to know others, as names or addresses. Default none; at most
    /// [`MAX_DHT_CONTACTS`](crate::limits::MAX_DHT_CONTACTS) count.
    pub bootstrap: Vec<Node>,
    /// What an earlier run [saved](crate::dht::DhtCommand::Save). Default none.
    pub state: Option<DhtState>,
    /// Our addresses as others see them, at most one of each family, as far as they are known. Default none: other nodes
    /// tell, and are believed when many agree. The node's place is bound to them (BEP 42).
    pub external: Vec<IpAddr>,
    /// Whether nodes whose place is not bound to their address (BEP 42) are of no account in lookups. Default false:
    /// they count half, as many honest nodes are such.
    pub enforce_node_ids: bool,
    /// Whether announces leave it to the other node to see our port (BEP 5): for a machine behind a translator that
    /// gives UDP and TCP the same port. Default false.
    pub implied_port: bool,
    /// Bytes a second of answers to all others together; none is no limit. Default 250 KB/s. The smallest limit is 1 KiB
    /// a second.
    pub reply_rate: Option<u64>,
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            read_only: false,
            bootstrap: Vec::new(),
            state: None,
            external: Vec::new(),
            enforce_node_ids: false,
            implied_port: false,
            reply_rate: Some(250_000),
        }
    }
}
