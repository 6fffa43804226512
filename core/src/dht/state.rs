//! What a node keeps from one run to the next.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bencode::{self, Limits, dict_value_spans};
use crate::limits::MAX_DHT_SAVED_NODES;
use crate::wire::krpc::{NodeId, NodeInfo};

/// A node's places and the nodes that it knows, so that it need not be introduced again.
///
/// Nothing in it is believed: nodes are asked before they are made use of, and a place that does not fit our address
/// is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DhtState {
    /// The place among IPv4 nodes.
    pub id: Option<NodeId>,
    /// The place among IPv6 nodes.
    pub id6: Option<NodeId>,
    /// Nodes of both families, at most [`MAX_DHT_SAVED_NODES`] each.
    pub nodes: Vec<NodeInfo>,
}

/// The bytes are no state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not the saved state of a DHT node")]
pub struct BadDhtState;

impl DhtState {
    /// As it goes into a file: a bencoded dictionary, at most 23 KB long.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::from(&b"d"[..]);
        for (key, id) in [(&b"2:id"[..], &self.id), (b"3:id6", &self.id6)] {
            if let Some(id) = id {
                out.extend(key);
                out.extend(b"20:");
                out.extend(id.as_bytes());
            }
        }
        for (key, v6) in [(&b"5:nodes"[..], false), (b"6:nodes6", true)] {
            let nodes = self.nodes.iter();
            let packed: Vec<u8> = nodes
                .filter(|node| node.address.is_ipv6() == v6)
                .take(MAX_DHT_SAVED_NODES)
                .flat_map(packed)
                .collect();
            out.extend(key);
            out.extend(alloc::format!("{}:", packed.len()).into_bytes());
            out.extend(packed);
        }
        out.push(b'e');
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Unknown keys are ignored.
    ///
    /// # Errors
    ///
    /// [`BadDhtState`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadDhtState> {
        bencode::scan_all(bytes, Limits::MESSAGE).map_err(|_| BadDhtState)?;
        if bytes.first() != Some(&b'd') {
            return Err(BadDhtState);
        }
        let [id, id6, nodes, nodes6] = dict_value_spans(bytes, ["id", "id6", "nodes", "nodes6"])
            .map_err(|_| BadDhtState)?
            .map(|span| span.and_then(|span| string(bytes.get(span)?)));
        let place = |bytes: Option<&[u8]>| Some(NodeId::new(bytes?.try_into().ok()?));
        let mut state = Self {
            id: place(id),
            id6: place(id6),
            nodes: Vec::new(),
        };
        for (list, stride) in [(nodes, 26), (nodes6, 38)] {
            let list = list.unwrap_or_default().chunks_exact(stride);
            for node in list.take(MAX_DHT_SAVED_NODES) {
                state.nodes.extend(unpacked(node));
            }
        }
        Ok(state)
    }
}

fn string(value: &[u8]) -> Option<&[u8]> {
    let colon = value.iter().position(|byte| *byte == b':')?;
    value.first()?.is_ascii_digit().then_some(())?;
    value.get(colon + 1..)
}

fn packed(node: &NodeInfo) -> Vec<u8> {
    let mut out = Vec::from(&node.id.as_bytes()[..]);
    match node.address.ip() {
        core::net::IpAddr::V4(ip) => out.extend(ip.octets()),
        core::net::IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(node.address.port().to_be_bytes());
    out
}

/// None with port 0.
fn unpacked(bytes: &[u8]) -> Option<NodeInfo> {
    let (id, address) = bytes.split_first_chunk()?;
    let (ip, port) = address.split_last_chunk()?;
    let port = u16::from_be_bytes(*port);
    let ip: core::net::IpAddr = match ip.len() {
        4 => <[u8; 4]>::try_from(ip).ok()?.into(),
        _ => <[u8; 16]>::try_from(ip).ok()?.into(),
    };
    let address = core::net::SocketAddr::new(ip, port);
    let id = NodeId::new(*id);
    (port != 0).then_some(NodeInfo { id, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u16, v6: bool) -> NodeInfo {
        let address = if v6 {
            core::net::SocketAddr::from(([n, 1, 2, 3, 4, 5, 6, 7], n + 1))
        } else {
            core::net::SocketAddr::from(([5, 6, 7, n as u8], n + 1))
        };
        NodeInfo {
            id: NodeId::new([n as u8; 20]),
            address,
        }
    }

    #[test]
    fn what_is_saved_is_restored_within_bounds() {
        let mut state = DhtState {
            id: Some(NodeId::new([1; 20])),
            id6: None,
            nodes: (0..10)
                .flat_map(|n| [node(n, false), node(n, true)])
                .collect(),
        };
        let mut restored = DhtState::from_bytes(&state.to_bytes()).unwrap();
        restored.nodes.sort();
        state.nodes.sort();
        assert_eq!(restored, state);
        state.nodes = (0..1_000).map(|n| node(n, n % 2 == 0)).collect();
        let bytes = state.to_bytes();
        assert!(bytes.len() < 23_000);
        let restored = DhtState::from_bytes(&bytes).unwrap();
        assert_eq!(restored.nodes.len(), 2 * MAX_DHT_SAVED_NODES);
    }

    #[test]
    fn anything_else_is_refused_or_empty() {
        for bytes in [&b""[..], b"le", b"i1e", b"d", b"d2:id20:short"] {
            assert_eq!(DhtState::from_bytes(bytes), Err(BadDhtState));
        }
        let odd = b"d2:idi1e5:nodes3:abce";
        assert_eq!(DhtState::from_bytes(odd), Ok(DhtState::default()));
    }
}
