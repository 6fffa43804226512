use alloc::vec;
use alloc::vec::Vec;
use std::string::{String, ToString};

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;
use crate::wire::{BencodeFault, WireError};

fn ascii_id(text: &[u8; 20]) -> NodeId {
    NodeId::new(*text)
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn plain(transaction: &'static [u8], body: Body<'static>) -> Message<'static> {
    Message {
        transaction,
        version: None,
        read_only: false,
        your_address: None,
        body,
    }
}

#[test]
fn the_examples_of_the_specification_are_read_and_written() {
    let sender = ascii_id(b"abcdefghij0123456789");
    let other = ascii_id(b"mnopqrstuvwxyz123456");
    let info_hash = InfoHash::new(*other.as_bytes());
    let query = |method| Body::Query(Query { sender, method });
    let cases: Vec<(&[u8], Body<'static>)> = vec![
        (
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
            query(Method::Ping),
        ),
        (
            b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
            Body::Response(Response {
                sender: other,
                ..Response::default()
            }),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
            query(Method::FindNode {
                target: other,
                want: None,
            }),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
            query(Method::GetPeers {
                info_hash,
                want: None,
                no_seeds: false,
                scrape: false,
            }),
        ),
        (
            b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
            Body::Response(Response {
                sender,
                token: Some(b"aoeusnth"),
                values: vec![
                    "97.120.106.101:11893".parse().unwrap(),
                    "105.100.104.116:28269".parse().unwrap(),
                ],
                ..Response::default()
            }),
        ),
        (
            b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
            query(Method::AnnouncePeer {
                info_hash,
                port: 6881,
                implied_port: true,
                seed: false,
                token: b"aoeusnth",
            }),
        ),
        (
            b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
            Body::Error(Fault {
                code: code::GENERIC,
                message: b"A Generic Error Ocurred",
            }),
        ),
    ];
    for (bytes, body) in cases {
        let message = plain(b"aa", body);
        assert_eq!(Message::decode(bytes).as_ref(), Ok(&message));
        assert_eq!(encoded(&message), bytes);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let cases: [(&[u8], WireError); 8] = [
        (b"le", WireError::Shape),
        (b"de", WireError::Missing { key: "t" }),
        (b"d1:ti1e1:y1:qe", WireError::Invalid { key: "t" }),
        (b"d1:t2:aae", WireError::Missing { key: "y" }),
        (b"d1:t2:aa1:y1:xe", WireError::Invalid { key: "y" }),
        (b"d1:q4:ping1:t2:aa1:y1:qe", WireError::Missing { key: "a" }),
        (
            b"d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe",
            WireError::Missing { key: "id" },
        ),
        (b"d1:t2:aa1:t2:bb1:y1:qe", WireError::Shape),
    ];
    for (bytes, error) in cases {
        assert_eq!(Message::decode(bytes), Err(error));
    }
    let mut trailing = Vec::from(&b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"[..]);
    trailing.push(b'x');
    assert_eq!(
        Message::decode(&trailing),
        Err(WireError::Bencode {
            at: 47,
            fault: BencodeFault::Unexpected
        })
    );
    let long = vec![b'd'; MAX_MESSAGE_LEN + 1];
    assert!(matches!(
        Message::decode(&long),
        Err(WireError::TooLong { .. })
    ));
}

#[test]
fn a_query_that_is_wrong_in_its_arguments_can_be_answered() {
    for (arguments, name, key) in [
        ("", "find_node", "target"),
        ("6:target3:abc", "find_node", "target"),
        ("", "get_peers", "info_hash"),
        (
            "9:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:x",
            "announce_peer",
            "port",
        ),
        (
            "9:info_hash20:mnopqrstuvwxyz1234564:porti65536e5:token1:x",
            "announce_peer",
            "port",
        ),
        (
            "9:info_hash20:mnopqrstuvwxyz1234564:porti1e",
            "announce_peer",
            "token",
        ),
        ("5:token1:x", "put", "v"),
        ("1:k3:abc5:token1:x1:vi1e", "put", "k"),
        (
            "6:target20:mnopqrstuvwxyz1234566:target20:mnopqrstuvwxyz123456",
            "get",
            "a",
        ),
    ] {
        let text = std::format!(
            "d1:ad2:id20:abcdefghij0123456789{arguments}e1:q{}:{name}1:t2:aa1:y1:qe",
            name.len()
        );
        let message = Message::decode(text.as_bytes()).unwrap();
        let Body::Query(query) = message.body else {
            panic!("{text}");
        };
        assert_eq!(query.method, Method::Invalid { key }, "{text}");
    }
}

#[test]
fn lists_are_bounded_and_ports_of_zero_left_out() {
    let mut response = Response {
        sender: NodeId::default(),
        nodes: Some(Vec::new()),
        ..Response::default()
    };
    for port in 0..100 {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        let id = NodeId::new([7; 20]);
        response
            .nodes
            .as_mut()
            .unwrap()
            .push(NodeInfo { id, address });
    }
    let bytes = encoded(&plain(b"a", Body::Response(response)));
    let Body::Response(read) = Message::decode(&bytes).unwrap().body else {
        panic!("a response");
    };
    let nodes = read.nodes.unwrap();
    assert_eq!(nodes.len(), MAX_NODES);
    assert_eq!(nodes[0].address.port(), 1);
}

#[test]
fn places_are_as_far_apart_as_their_bits_say() {
    let a = NodeId::new([0; 20]);
    let mut bytes = [0; 20];
    bytes[2] = 0x10;
    let b = NodeId::new(bytes);
    assert_eq!(a.common_bits(&b), 19);
    assert_eq!(a.common_bits(&a), 160);
    assert_eq!(a.distance(&b), bytes);
    assert_eq!(b.to_string().parse(), Ok(b));
    assert_eq!("xyz".parse::<NodeId>(), Err(ParseNodeIdError));
}

/// A message with everything owned, so that quickcheck can draw one.
#[derive(Clone, Debug)]
struct Drawn {
    transaction: Vec<u8>,
    version: Option<Vec<u8>>,
    read_only: bool,
    address: Option<SocketAddr>,
    kind: u8,
    places: [[u8; 20]; 2],
    bytes: Vec<u8>,
    text: Vec<u8>,
    numbers: (i64, u16, Option<i64>),
    flags: (bool, bool, bool),
    bloom: [u8; BLOOM_LEN],
    v4: Vec<(u32, u16)>,
    v6: Vec<(u128, u16)>,
}

impl Arbitrary for Drawn {
    fn arbitrary(g: &mut Gen) -> Self {
        let short = |g: &mut Gen, max: usize| {
            let mut bytes = Vec::<u8>::arbitrary(g);
            bytes.truncate(max);
            bytes
        };
        let address = |g: &mut Gen| match bool::arbitrary(g) {
            true => SocketAddr::from((u32::arbitrary(g).to_be_bytes(), 9)),
            false => SocketAddr::from((u128::arbitrary(g).to_be_bytes(), 9)),
        };
        let port = |g: &mut Gen| u16::arbitrary(g).max(1);
        Self {
            transaction: short(g, MAX_TRANSACTION_LEN),
            version: bool::arbitrary(g).then(|| short(g, 8)),
            read_only: bool::arbitrary(g),
            address: bool::arbitrary(g).then(|| address(g)),
            kind: u8::arbitrary(g) % 9,
            places: core::array::from_fn(|_| core::array::from_fn(|_| u8::arbitrary(g))),
            bytes: short(g, MAX_TOKEN_LEN),
            text: short(g, MAX_SALT_LEN),
            numbers: (
                i64::arbitrary(g).saturating_abs(),
                port(g),
                // The least number of all is beyond what is read.
                Option::<i64>::arbitrary(g).map(|number| number.max(-i64::MAX)),
            ),
            flags: Arbitrary::arbitrary(g),
            bloom: core::array::from_fn(|_| u8::arbitrary(g)),
            v4: (0..u8::arbitrary(g) % 10)
                .map(|_| (u32::arbitrary(g), port(g)))
                .collect(),
            v6: (0..u8::arbitrary(g) % 10)
                .map(|_| (u128::arbitrary(g), port(g)))
                .collect(),
        }
    }
}

impl Drawn {
    fn message<'a>(&'a self, value: &'a [u8]) -> Message<'a> {
        let [sender, target] = self.places.map(NodeId::new);
        let (seq, port, maybe) = self.numbers;
        let (a, b, c) = self.flags;
        let want = a.then_some(Want { v4: b, v6: c });
        let info_hash = InfoHash::new(self.places[1]);
        let signature: [u8; 64] = core::array::from_fn(|at| self.bloom[at]);
        let key: [u8; 32] = core::array::from_fn(|at| self.bloom[64 + at]);
        let query = |method| Body::Query(Query { sender, method });
        let v4: Vec<SocketAddr> = self
            .v4
            .iter()
            .map(|(ip, port)| SocketAddr::from((ip.to_be_bytes(), *port)))
            .collect();
        let v6: Vec<SocketAddr> = self
            .v6
            .iter()
            .map(|(ip, port)| SocketAddr::from((ip.to_be_bytes(), *port)))
            .collect();
        let nodes = |list: &[SocketAddr]| {
            let node = |address: &SocketAddr| NodeInfo {
                id: target,
                address: *address,
            };
            list.iter().map(node).collect::<Vec<_>>()
        };
        let body = match self.kind {
            0 => query(Method::Ping),
            1 => query(Method::FindNode { target, want }),
            2 => query(Method::GetPeers {
                info_hash,
                want,
                no_seeds: b,
                scrape: c,
            }),
            3 => query(Method::AnnouncePeer {
                info_hash,
                port,
                implied_port: a,
                seed: b,
                token: &self.bytes,
            }),
            4 => query(Method::Get {
                target,
                want,
                seq: maybe,
            }),
            5 => query(Method::Put {
                token: &self.bytes,
                value,
                mutable: a.then_some(PutMutable {
                    key,
                    salt: &self.text,
                    seq,
                    signature,
                    cas: maybe,
                }),
            }),
            6 => Body::Error(Fault {
                code: seq,
                message: &self.text,
            }),
            _ => Body::Response(Response {
                sender,
                nodes: a.then(|| nodes(&v4)),
                nodes6: b.then(|| nodes(&v6)),
                values: [v4.clone(), v6.clone()].concat(),
                token: c.then_some(&self.bytes),
                seeds: a.then_some(&self.bloom),
                peers: b.then_some(&self.bloom),
                value: c.then_some(value),
                key: c.then_some(key),
                seq: a.then_some(seq),
                signature: c.then_some(signature),
            }),
        };
        Message {
            transaction: &self.transaction,
            version: self.version.as_deref(),
            read_only: self.read_only,
            your_address: self.address,
            body,
        }
    }
}

quickcheck! {
    fn what_is_written_is_read_again(drawn: Drawn, value: i64) -> bool {
        let value = String::from("l") + &std::format!("i{}e4:spam", value.saturating_abs()) + "e";
        let message = drawn.message(value.as_bytes());
        let bytes = encoded(&message);
        Message::decode(&bytes) == Ok(message)
    }

    fn no_bytes_make_it_panic(bytes: Vec<u8>) -> bool {
        let alphabet = b"dlei0123456789:-abqrtyv";
        let text: Vec<u8> = bytes.iter().map(|byte| alphabet[*byte as usize % alphabet.len()]).collect();
        let _ = Message::decode(&bytes);
        let _ = Message::decode(&text);
        true
    }

    fn a_message_cut_short_is_none(drawn: Drawn) -> bool {
        let bytes = encoded(&drawn.message(b"i1e"));
        (0..bytes.len()).all(|end| Message::decode(&bytes[..end]).is_err())
    }
}
