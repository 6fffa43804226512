//! From a message to a datagram. Keys are written in their order.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Body, Message, Method, NodeId, NodeInfo, PutMutable, Query, Response, Want};
use crate::wire::tracker_http_server::put_compact;

impl Message<'_> {
    /// Appends the datagram. Nodes and peers are written under the key of their list, whatever their family; whoever
    /// makes a message sees to it that they fit.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        match &self.body {
            Body::Query(query) => {
                string(out, b"a");
                arguments(query, out);
            }
            Body::Error(fault) => {
                string(out, b"e");
                out.push(b'l');
                integer(out, fault.code);
                string(out, fault.message);
                out.push(b'e');
            }
            Body::Response(_) => {}
        }
        if let Some(address) = self.your_address {
            string(out, b"ip");
            compact(out, address);
        }
        match &self.body {
            Body::Query(query) => {
                string(out, b"q");
                string(out, name(&query.method));
            }
            Body::Response(response) => {
                string(out, b"r");
                results(response, out);
            }
            Body::Error(_) => {}
        }
        if self.read_only {
            flag(out, b"ro");
        }
        pair(out, b"t", self.transaction);
        if let Some(version) = self.version {
            pair(out, b"v", version);
        }
        let kind = match &self.body {
            Body::Query(_) => b"q",
            Body::Response(_) => b"r",
            Body::Error(_) => b"e",
        };
        pair(out, b"y", kind);
        out.push(b'e');
    }
}

fn name<'a>(method: &Method<'a>) -> &'a [u8] {
    match method {
        Method::Ping => b"ping",
        Method::FindNode { .. } => b"find_node",
        Method::GetPeers { .. } => b"get_peers",
        Method::AnnouncePeer { .. } => b"announce_peer",
        Method::Get { .. } => b"get",
        Method::Put { .. } => b"put",
        Method::Unknown { name } => name,
        Method::Invalid { .. } => b"",
    }
}

fn arguments(query: &Query<'_>, out: &mut Vec<u8>) {
    out.push(b'd');
    // The only key that sorts before the sender's.
    if let Method::Put {
        mutable: Some(PutMutable { cas: Some(cas), .. }),
        ..
    } = &query.method
    {
        string(out, b"cas");
        integer(out, *cas);
    }
    pair(out, b"id", query.sender.as_bytes());
    match &query.method {
        Method::Ping | Method::Unknown { .. } | Method::Invalid { .. } => {}
        Method::FindNode { target, want } => {
            pair(out, b"target", target.as_bytes());
            families(*want, out);
        }
        Method::GetPeers {
            info_hash,
            want,
            no_seeds,
            scrape,
        } => {
            pair(out, b"info_hash", info_hash.as_bytes());
            if *no_seeds {
                flag(out, b"noseed");
            }
            if *scrape {
                flag(out, b"scrape");
            }
            families(*want, out);
        }
        Method::AnnouncePeer {
            info_hash,
            port,
            implied_port,
            seed,
            token,
        } => {
            if *implied_port {
                flag(out, b"implied_port");
            }
            pair(out, b"info_hash", info_hash.as_bytes());
            string(out, b"port");
            integer(out, i64::from(*port));
            if *seed {
                flag(out, b"seed");
            }
            pair(out, b"token", token);
        }
        Method::Get { target, want, seq } => {
            if let Some(seq) = seq {
                string(out, b"seq");
                integer(out, *seq);
            }
            pair(out, b"target", target.as_bytes());
            families(*want, out);
        }
        Method::Put {
            token,
            value,
            mutable,
        } => {
            if let Some(mutable) = mutable {
                pair(out, b"k", &mutable.key);
                if !mutable.salt.is_empty() {
                    pair(out, b"salt", mutable.salt);
                }
                string(out, b"seq");
                integer(out, mutable.seq);
                pair(out, b"sig", &mutable.signature);
            }
            pair(out, b"token", token);
            string(out, b"v");
            out.extend(*value);
        }
    }
    out.push(b'e');
}

fn results(response: &Response<'_>, out: &mut Vec<u8>) {
    out.push(b'd');
    if let Some(peers) = response.peers {
        pair(out, b"BFpe", peers);
    }
    if let Some(seeds) = response.seeds {
        pair(out, b"BFsd", seeds);
    }
    pair(out, b"id", response.sender.as_bytes());
    if let Some(key) = &response.key {
        pair(out, b"k", key);
    }
    for (key, list) in [
        (&b"nodes"[..], &response.nodes),
        (b"nodes6", &response.nodes6),
    ] {
        if let Some(list) = list {
            string(out, key);
            nodes(list, out);
        }
    }
    if let Some(seq) = response.seq {
        string(out, b"seq");
        integer(out, seq);
    }
    if let Some(signature) = &response.signature {
        pair(out, b"sig", signature);
    }
    if let Some(token) = response.token {
        pair(out, b"token", token);
    }
    if let Some(value) = response.value {
        string(out, b"v");
        out.extend(value);
    }
    if !response.values.is_empty() {
        string(out, b"values");
        out.push(b'l');
        for address in &response.values {
            compact(out, *address);
        }
        out.push(b'e');
    }
    out.push(b'e');
}

fn families(want: Option<Want>, out: &mut Vec<u8>) {
    let Some(want) = want else {
        return;
    };
    string(out, b"want");
    out.push(b'l');
    if want.v4 {
        string(out, b"n4");
    }
    if want.v6 {
        string(out, b"n6");
    }
    out.push(b'e');
}

fn nodes(list: &[NodeInfo], out: &mut Vec<u8>) {
    let len = |node: &NodeInfo| NodeId::LEN + compact_len(node.address);
    length(out, list.iter().map(len).sum());
    for node in list {
        out.extend(node.id.as_bytes());
        put_compact(node.address, out);
    }
}

fn compact(out: &mut Vec<u8>, address: SocketAddr) {
    length(out, compact_len(address));
    put_compact(address, out);
}

const fn compact_len(address: SocketAddr) -> usize {
    if address.is_ipv4() { 6 } else { 18 }
}

fn flag(out: &mut Vec<u8>, key: &[u8]) {
    string(out, key);
    integer(out, 1);
}

fn pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    string(out, key);
    string(out, value);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend(bytes);
}

/// What goes before the bytes of a string.
fn length(out: &mut Vec<u8>, bytes: usize) {
    number(out, bytes as u64);
    out.push(b':');
}

fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b'i');
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
    out.push(b'e');
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten is a digit, and twenty of them hold every number of 64 bits.
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend(&digits[at..]);
}
