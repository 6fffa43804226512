//! From a datagram to a message.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

use super::{
    BLOOM_LEN, Body, Fault, MAX_ITEM_LEN, MAX_MESSAGE_LEN, MAX_NODES, MAX_TOKEN_LEN,
    MAX_TRANSACTION_LEN, MAX_VALUES, Message, Method, NodeId, NodeInfo, PutMutable, Query,
    Response, Want,
};
use crate::bencode::{self, Limits, dict_value_spans, list_items};
use crate::metainfo::InfoHash;
use crate::wire::WireError;
use crate::wire::tracker_peers::compact_peer;

/// An item may be nested as its author likes, but not without an end; and nothing in a message of this length needs
/// more values than this.
const LIMITS: Limits = Limits {
    depth: 32,
    tokens: 1_500,
    leading_zeros: true,
};

impl<'a> Message<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// What is no message: too long, not bencoded, not a dictionary, without a transaction id, a kind or the sender's
    /// place, or with such a key twice.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, WireError> {
        if datagram.len() > MAX_MESSAGE_LEN {
            return Err(WireError::TooLong {
                id: None,
                len: u32::try_from(datagram.len()).unwrap_or(u32::MAX),
                max: MAX_MESSAGE_LEN as u32,
            });
        }
        bencode::scan_all(datagram, LIMITS)?;
        let root = Value(datagram).dict().ok_or(WireError::Shape)?;
        let [transaction, kind, method, arguments, results, error] =
            root.keys(["t", "y", "q", "a", "r", "e"])?;
        let [version, read_only, your_address] = root.keys(["v", "ro", "ip"])?;
        let transaction = transaction
            .ok_or(WireError::Missing { key: "t" })?
            .string()
            .filter(|id| id.len() <= MAX_TRANSACTION_LEN)
            .ok_or(WireError::Invalid { key: "t" })?;
        let body = match kind.and_then(Value::string) {
            Some(b"q") => {
                let name = method
                    .and_then(Value::string)
                    .ok_or(WireError::Missing { key: "q" })?;
                let arguments = arguments
                    .and_then(Value::dict)
                    .ok_or(WireError::Missing { key: "a" })?;
                Body::Query(query(name, arguments)?)
            }
            Some(b"r") => {
                let results = results
                    .and_then(Value::dict)
                    .ok_or(WireError::Missing { key: "r" })?;
                Body::Response(response(results)?)
            }
            Some(b"e") => Body::Error(refusal(error)?),
            Some(_) => return Err(WireError::Invalid { key: "y" }),
            None => return Err(WireError::Missing { key: "y" }),
        };
        Ok(Self {
            transaction,
            version: version.and_then(Value::string),
            read_only: read_only.is_some_and(|value| value.integer() == Some(1)),
            your_address: your_address.and_then(Value::string).and_then(compact_peer),
            body,
        })
    }
}

fn query<'a>(name: &'a [u8], arguments: Dict<'a>) -> Result<Query<'a>, WireError> {
    let [sender] = arguments.keys(["id"])?;
    let sender = sender
        .and_then(Value::array)
        .map(NodeId)
        .ok_or(WireError::Missing { key: "id" })?;
    let method = match name {
        b"ping" => Ok(Method::Ping),
        b"find_node" => find_node(arguments),
        b"get_peers" => get_peers(arguments),
        b"announce_peer" => announce_peer(arguments),
        b"get" => get(arguments),
        b"put" => put(arguments),
        name => Ok(Method::Unknown { name }),
    };
    let method = method.unwrap_or_else(|Argument(key)| Method::Invalid { key });
    Ok(Query { sender, method })
}

/// The argument that can't be understood.
struct Argument(&'static str);

impl From<WireError> for Argument {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Missing { key } | WireError::Invalid { key } => Self(key),
            WireError::NotBitTorrent
            | WireError::TooLong { .. }
            | WireError::WrongLength { .. }
            | WireError::TooShort { .. }
            | WireError::Bencode { .. }
            | WireError::Shape
            | WireError::ShortDatagram { .. }
            | WireError::UnknownAction { .. } => Self("a"),
        }
    }
}

fn find_node(arguments: Dict<'_>) -> Result<Method<'_>, Argument> {
    let [target, want] = arguments.keys(["target", "want"])?;
    Ok(Method::FindNode {
        target: place(target, "target")?,
        want: want.map(families),
    })
}

fn get_peers(arguments: Dict<'_>) -> Result<Method<'_>, Argument> {
    let [info_hash, want, no_seeds, scrape] =
        arguments.keys(["info_hash", "want", "noseed", "scrape"])?;
    Ok(Method::GetPeers {
        info_hash: InfoHash::new(place(info_hash, "info_hash")?.0),
        want: want.map(families),
        no_seeds: is_set(no_seeds),
        scrape: is_set(scrape),
    })
}

fn announce_peer(arguments: Dict<'_>) -> Result<Method<'_>, Argument> {
    let [info_hash, port, implied_port, seed, token] =
        arguments.keys(["info_hash", "port", "implied_port", "seed", "token"])?;
    let implied_port = is_set(implied_port);
    let port = port
        .and_then(Value::integer)
        .and_then(|port| u16::try_from(port).ok());
    Ok(Method::AnnouncePeer {
        info_hash: InfoHash::new(place(info_hash, "info_hash")?.0),
        port: port
            .or(implied_port.then_some(0))
            .filter(|port| *port != 0 || implied_port)
            .ok_or(Argument("port"))?,
        implied_port,
        seed: is_set(seed),
        token: token.and_then(Value::string).ok_or(Argument("token"))?,
    })
}

fn get(arguments: Dict<'_>) -> Result<Method<'_>, Argument> {
    let [target, want, seq] = arguments.keys(["target", "want", "seq"])?;
    Ok(Method::Get {
        target: place(target, "target")?,
        want: want.map(families),
        seq: seq.and_then(Value::integer),
    })
}

fn put(arguments: Dict<'_>) -> Result<Method<'_>, Argument> {
    let [token, value] = arguments.keys(["token", "v"])?;
    let [key, salt, seq, signature, cas] = arguments.keys(["k", "salt", "seq", "sig", "cas"])?;
    let mutable = match key {
        None => None,
        Some(key) => Some(PutMutable {
            key: key.array().ok_or(Argument("k"))?,
            salt: match salt {
                None => &[],
                Some(salt) => salt.string().ok_or(Argument("salt"))?,
            },
            // BEP 44 lets a negative number be refused; nobody has a use for one.
            seq: seq
                .and_then(Value::integer)
                .filter(|seq| *seq >= 0)
                .ok_or(Argument("seq"))?,
            signature: signature.and_then(Value::array).ok_or(Argument("sig"))?,
            cas: cas.and_then(Value::integer),
        }),
    };
    Ok(Method::Put {
        token: token.and_then(Value::string).ok_or(Argument("token"))?,
        value: value.ok_or(Argument("v"))?.0,
        mutable,
    })
}

fn response(results: Dict<'_>) -> Result<Response<'_>, WireError> {
    let [sender, nodes, nodes6, values, token] =
        results.keys(["id", "nodes", "nodes6", "values", "token"])?;
    let [seeds, peers, value, key, seq, signature] =
        results.keys(["BFsd", "BFpe", "v", "k", "seq", "sig"])?;
    Ok(Response {
        sender: sender
            .and_then(Value::array)
            .map(NodeId)
            .ok_or(WireError::Missing { key: "id" })?,
        nodes: nodes.and_then(Value::string).map(compact_nodes::<26>),
        nodes6: nodes6.and_then(Value::string).map(compact_nodes::<38>),
        values: values.map(compact_values).unwrap_or_default(),
        token: token
            .and_then(Value::string)
            .filter(|token| token.len() <= MAX_TOKEN_LEN),
        seeds: seeds.and_then(bloom),
        peers: peers.and_then(bloom),
        value: value
            .map(|value| value.0)
            .filter(|value| value.len() <= MAX_ITEM_LEN),
        key: key.and_then(Value::array),
        seq: seq.and_then(Value::integer).filter(|seq| *seq >= 0),
        signature: signature.and_then(Value::array),
    })
}

fn refusal(error: Option<Value<'_>>) -> Result<Fault<'_>, WireError> {
    let list = error.ok_or(WireError::Missing { key: "e" })?.0;
    let mut items = list_items(list)
        .filter_map(|span| list.get(span))
        .map(Value);
    let code = items.next().and_then(Value::integer);
    Ok(Fault {
        code: code.ok_or(WireError::Invalid { key: "e" })?,
        message: items.next().and_then(Value::string).unwrap_or_default(),
    })
}

fn place(value: Option<Value<'_>>, key: &'static str) -> Result<NodeId, Argument> {
    value
        .and_then(Value::array)
        .map(NodeId)
        .ok_or(Argument(key))
}

fn is_set(value: Option<Value<'_>>) -> bool {
    value
        .and_then(Value::integer)
        .is_some_and(|value| value != 0)
}

fn families(list: Value<'_>) -> Want {
    let mut want = Want::default();
    for item in list_items(list.0).filter_map(|span| list.0.get(span)) {
        match Value(item).string() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            // BEP 32: whatever else there will be is ignored.
            Some(_) | None => {}
        }
    }
    want
}

fn compact_nodes<const LEN: usize>(bytes: &[u8]) -> Vec<NodeInfo> {
    let (nodes, _) = bytes.as_chunks::<LEN>();
    nodes
        .iter()
        .filter_map(|node| {
            let (id, address) = node.split_first_chunk()?;
            let address = compact_peer(address)?;
            let id = NodeId(*id);
            (address.port() != 0).then_some(NodeInfo { id, address })
        })
        .take(MAX_NODES)
        .collect()
}

/// Lists of addresses of both families are read (BEP 32).
fn compact_values(list: Value<'_>) -> Vec<SocketAddr> {
    list_items(list.0)
        .filter_map(|span| Value(list.0.get(span)?).string())
        .filter_map(compact_peer)
        .filter(|address| address.port() != 0)
        .take(MAX_VALUES)
        .collect()
}

fn bloom(value: Value<'_>) -> Option<&[u8; BLOOM_LEN]> {
    value.string()?.try_into().ok()
}

/// A dictionary that was scanned.
#[derive(Clone, Copy)]
struct Dict<'a>(&'a [u8]);

impl<'a> Dict<'a> {
    fn keys<const N: usize>(
        self,
        keys: [&'static str; N],
    ) -> Result<[Option<Value<'a>>; N], WireError> {
        let spans = dict_value_spans(self.0, keys).map_err(|_| WireError::Shape)?;
        Ok(spans
            .map(|span: Option<Range<usize>>| span.and_then(|span| self.0.get(span)).map(Value)))
    }
}

/// A value that was scanned, as it stands.
#[derive(Clone, Copy)]
struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    fn dict(self) -> Option<Dict<'a>> {
        (self.0.first() == Some(&b'd')).then_some(Dict(self.0))
    }

    fn string(self) -> Option<&'a [u8]> {
        if !self.0.first()?.is_ascii_digit() {
            return None;
        }
        let colon = self.0.iter().position(|byte| *byte == b':')?;
        self.0.get(colon + 1..)
    }

    fn array<const N: usize>(self) -> Option<[u8; N]> {
        self.string()?.try_into().ok()
    }

    fn integer(self) -> Option<i64> {
        let digits = self.0.strip_prefix(b"i")?.strip_suffix(b"e")?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    }
}
