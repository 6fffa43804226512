use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::command::{Command, Reply};
use crate::datagram::Outbound;
use crate::id::RequestId;
use crate::metainfo::InfoHash;
use crate::wire::krpc::{Body, Fault, Message, Method, PutMutable, Query, Response, Want, code};
use crate::{Actions, Config, Engine, Event, Seed, UnixTime, Wake};

/// An engine that is nothing but a DHT node.
struct Host {
    engine: Engine,
    address: SocketAddr,
    wake: Wake,
    replies: BTreeMap<RequestId, Result<Reply, CommandError>>,
}

/// Nodes, and packets under way between them.
struct Network {
    now: Instant,
    hosts: Vec<Host>,
    by_address: BTreeMap<SocketAddr, usize>,
    packets: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Bytes)>,
    /// What went to addresses where nobody is.
    outside: Vec<(SocketAddr, SocketAddr, Bytes)>,
    sequence: u64,
    /// Whether all packets are lost.
    down: bool,
}

const LATENCY: Duration = Duration::from_millis(20);

fn stranger(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([198, a, b, 1], 6881))
}

fn info_hash() -> InfoHash {
    InfoHash::new([0x5a; 20])
}

fn config() -> DhtConfig {
    DhtConfig {
        enabled: true,
        ..DhtConfig::default()
    }
}

impl Network {
    fn new() -> Self {
        Self {
            now: Instant::from_millis(500_000),
            hosts: Vec::new(),
            by_address: BTreeMap::new(),
            packets: BTreeMap::new(),
            outside: Vec::new(),
            sequence: 0,
            down: false,
        }
    }

    fn add_at(&mut self, address: SocketAddr, dht: DhtConfig) -> usize {
        let host = self.hosts.len();
        let config = Config {
            dht,
            ..Config::default()
        };
        let mut seed = [host as u8; 32];
        seed[1] = (host >> 8) as u8;
        self.hosts.push(Host {
            engine: Engine::new(config, Seed(seed), self.now, UnixTime(0)),
            address,
            wake: Wake::Idle,
            replies: BTreeMap::new(),
        });
        self.by_address.insert(address, host);
        let address = Some(address);
        self.command(host, Command::Listening { address });
        host
    }

    /// A node on one machine with all others.
    fn add(&mut self, dht: DhtConfig) -> usize {
        let port = 1_000 + self.hosts.len() as u16;
        self.add_at(SocketAddr::from(([127, 0, 0, 1], port)), dht)
    }

    /// `count` nodes that know the first one.
    fn with(count: usize) -> Self {
        let mut network = Self::new();
        network.add(config());
        let bootstrap = vec![network.node(0)];
        for _ in 1..count {
            let bootstrap = bootstrap.clone();
            network.add(DhtConfig {
                bootstrap,
                ..config()
            });
        }
        network.pass(30);
        network
    }

    fn node(&self, host: usize) -> Node {
        let address = self.hosts[host].address;
        Node {
            host: alloc::format!("{}", address.ip()),
            port: address.port(),
        }
    }

    fn feed(&mut self, host: usize, event: Event) {
        let mut actions = Actions::new();
        let this = &mut self.hosts[host];
        this.wake = this.engine.handle(self.now, event, &mut actions);
        this.engine.check();
        let from = this.address;
        for action in actions.drain() {
            match action {
                Action::Datagram(_) if self.down => {}
                Action::Datagram(Outbound { to, data, .. }) => {
                    self.sequence += 1;
                    self.packets
                        .insert((self.now + LATENCY, self.sequence), (from, to, data));
                }
                Action::Reply { request, result } => {
                    let this = &mut self.hosts[host];
                    assert!(this.replies.insert(request, result).is_none(), "once");
                }
                Action::Notify(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn command(&mut self, host: usize, command: Command) -> RequestId {
        self.sequence += 1;
        let request = RequestId(self.sequence);
        let command = command.into();
        self.feed(host, Event::Command { request, command });
        request
    }

    fn step(&mut self, until: Instant) -> bool {
        let wakes = self.hosts.iter().enumerate();
        let wake = wakes
            .filter_map(|(host, this)| Some((this.wake.deadline(self.now)?, host)))
            .min();
        let packet = self.packets.keys().next().copied();
        let packet_at = packet.map(|(at, _)| at);
        match (packet_at, wake) {
            (Some(at), wake) if at <= until && wake.is_none_or(|(due, _)| at <= due) => {
                self.now = at;
                let (_, (from, to, data)) = self.packets.pop_first().unwrap();
                match self.by_address.get(&to).copied() {
                    Some(host) => self.feed(host, Event::datagram(from, data)),
                    None => self.outside.push((from, to, data)),
                }
                true
            }
            (_, Some((due, host))) if due <= until => {
                self.now = self.now.max(due);
                self.feed(host, Event::Tick);
                true
            }
            _ => false,
        }
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.step(until) {}
        self.now = until;
    }

    fn ask(&mut self, host: usize, command: DhtCommand) -> Result<DhtReply, CommandError> {
        let request = self.command(host, Command::Dht(command));
        let until = self.now + Duration::from_secs(120);
        while !self.hosts[host].replies.contains_key(&request) && self.step(until) {}
        match self.hosts[host].replies.remove(&request) {
            Some(Ok(Reply::Dht(reply))) => Ok(*reply),
            Some(Err(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, host: usize) -> DhtStatus {
        self.hosts[host].engine.dht().unwrap().status()
    }

    /// Sends a query of a stranger's, and takes the answer.
    fn query(&mut self, from: SocketAddr, method: Method<'_>) -> Option<Vec<u8>> {
        let sender = NodeId::new([0x77; 20]);
        let message = Message {
            transaction: b"tx",
            version: None,
            // Nobody asks back.
            read_only: true,
            your_address: None,
            body: Body::Query(Query { sender, method }),
        };
        let mut data = Vec::new();
        message.encode(&mut data);
        let data = Bytes::from(data);
        self.outside.clear();
        self.feed(0, Event::datagram(from, data));
        self.pass(1);
        let mut to_us = self.outside.iter().filter(|(_, to, _)| *to == from);
        to_us.next().map(|(_, _, data)| data.to_vec())
    }
}

fn response(data: &[u8]) -> Response<'_> {
    let message = Message::decode(data).unwrap();
    assert_eq!(message.transaction, b"tx");
    match message.body {
        Body::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn refusal(data: &[u8]) -> i64 {
    match Message::decode(data).unwrap().body {
        Body::Error(Fault { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn get_peers(scrape: bool) -> Method<'static> {
    Method::GetPeers {
        info_hash: info_hash(),
        want: None,
        no_seeds: false,
        scrape,
    }
}

fn announce(port: u16, implied_port: bool, seed: bool, token: &[u8]) -> Method<'_> {
    Method::AnnouncePeer {
        info_hash: info_hash(),
        port,
        implied_port,
        seed,
        token,
    }
}

#[test]
fn queries_are_answered_with_the_address_that_they_came_from() {
    let mut network = Network::with(20);
    let target = NodeId::new([3; 20]);
    let data = network.query(stranger(1), Method::Ping).unwrap();
    assert_eq!(
        Message::decode(&data).unwrap().your_address,
        Some(stranger(1))
    );
    assert_eq!(response(&data).sender, network.status(0).v4.id);
    let near = SocketAddr::from(([127, 0, 0, 1], 9));
    let want = None;
    let data = network
        .query(near, Method::FindNode { target, want })
        .unwrap();
    let answer = response(&data);
    assert_eq!(answer.nodes.map(|nodes| nodes.len()), Some(8));
    assert_eq!(answer.nodes6, None);
    let want = Some(Want {
        v4: false,
        v6: true,
    });
    let data = network
        .query(near, Method::FindNode { target, want })
        .unwrap();
    assert_eq!(
        (response(&data).nodes, response(&data).nodes6),
        (None, Some(Vec::new()))
    );
    // Who is far away is told nothing of this machine's own addresses.
    let want = None;
    let data = network
        .query(stranger(2), Method::FindNode { target, want })
        .unwrap();
    assert_eq!(response(&data).nodes, Some(Vec::new()));
    let data = network.query(stranger(3), Method::Unknown { name: b"vote" });
    assert_eq!(refusal(&data.unwrap()), code::METHOD);
}

#[test]
fn announces_need_a_token_of_the_same_address() {
    let mut network = Network::with(1);
    let data = network.query(stranger(1), get_peers(false)).unwrap();
    let token = response(&data).token.unwrap().to_vec();
    assert!(response(&data).values.is_empty());
    for (from, token) in [
        (stranger(2), &token[..]),
        (stranger(1), b"12345678"),
        (stranger(1), b""),
    ] {
        let data = network
            .query(from, announce(7, false, false, token))
            .unwrap();
        assert_eq!(refusal(&data), code::PROTOCOL);
    }
    assert_eq!(network.status(0).counters.bad_tokens, 3);
    network
        .query(stranger(1), announce(7, false, false, &token))
        .unwrap();
    let data = network.query(stranger(9), get_peers(false)).unwrap();
    assert_eq!(
        response(&data).values,
        [SocketAddr::new(stranger(1).ip(), 7)]
    );
    assert!(
        response(&data).nodes.is_some(),
        "nodes come along with peers"
    );
    network
        .query(stranger(1), announce(0, true, true, &token))
        .unwrap();
    let data = network.query(stranger(9), get_peers(true)).unwrap();
    let answer = response(&data);
    assert_eq!(
        answer.values,
        [stranger(1)],
        "the port that the packet came from"
    );
    let filter = |bytes: Option<&[u8; 256]>| bloom::Bloom::new(*bytes.unwrap()).estimate();
    assert_eq!((filter(answer.seeds), filter(answer.peers)), (1, 0));
    assert!(data.len() < 1_400, "one packet");
    // Ten minutes later the token is of no more use.
    network.pass(700);
    let data = network
        .query(stranger(1), announce(7, false, false, &token))
        .unwrap();
    assert_eq!(refusal(&data), code::PROTOCOL);
}

#[test]
fn items_are_stored_as_the_specification_says() {
    let mut network = Network::with(1);
    let from = stranger(1);
    let secret = SecretKey::new(&[4; 32]);
    let item = |seq, text: &[u8]| {
        MutableItem::sign(
            &secret,
            &b"salt"[..],
            seq,
            Value::from_string(text).unwrap(),
        )
        .unwrap()
    };
    let target = item(0, b"").target();
    let get = |seq| Method::Get {
        target,
        want: None,
        seq,
    };
    let data = network.query(from, get(None)).unwrap();
    let token = response(&data).token.unwrap().to_vec();
    assert_eq!(response(&data).value, None);
    let mut put = |item: &MutableItem, salt: &[u8], cas, value: Option<&[u8]>, token: &[u8]| {
        let mutable = Some(PutMutable {
            key: *item.key(),
            salt,
            seq: item.seq(),
            signature: *item.signature(),
            cas,
        });
        let value = value.unwrap_or(item.value().as_bytes());
        let data = network
            .query(
                from,
                Method::Put {
                    token,
                    value,
                    mutable,
                },
            )
            .unwrap();
        match Message::decode(&data).unwrap().body {
            Body::Error(fault) => fault.code,
            _ => 0,
        }
    };
    let two = item(2, b"two");
    let long = [b"1000:".to_vec(), vec![b'x'; 1_000]].concat();
    assert_eq!(
        put(&two, b"salt", None, Some(&long), &token),
        code::VALUE_TOO_LONG
    );
    assert_eq!(
        put(&two, &[b's'; 65], None, None, &token),
        code::SALT_TOO_LONG
    );
    assert_eq!(
        put(&two, b"salt", None, Some(b"i02e"), &token),
        code::PROTOCOL
    );
    assert_eq!(put(&two, b"salt", None, None, b"wrong"), code::PROTOCOL);
    assert_eq!(
        put(&two, b"salt", None, Some(b"3:owt"), &token),
        code::SIGNATURE
    );
    assert_eq!(put(&two, b"salt", None, None, &token), 0);
    assert_eq!(
        put(&item(1, b"one"), b"salt", None, None, &token),
        code::OUTDATED
    );
    assert_eq!(
        put(&item(3, b"three"), b"salt", Some(1), None, &token),
        code::CAS
    );
    assert_eq!(put(&item(3, b"three"), b"salt", Some(2), None, &token), 0);
    let data = network.query(from, get(Some(2))).unwrap();
    let answer = response(&data);
    assert_eq!((answer.value, answer.seq), (Some(&b"5:three"[..]), Some(3)));
    assert_eq!(answer.key, Some(secret.public()));
    let data = network.query(from, get(Some(3))).unwrap();
    assert_eq!(
        (response(&data).value, response(&data).seq),
        (None, Some(3))
    );
}

#[test]
fn a_read_only_node_asks_but_does_not_answer() {
    let mut network = Network::new();
    let bootstrap = vec![Node {
        host: "198.51.100.1".into(),
        port: 6881,
    }];
    let read_only = true;
    network.add(DhtConfig {
        bootstrap,
        read_only,
        ..config()
    });
    network.pass(1);
    let (_, to, data) = network.outside.first().unwrap();
    assert_eq!(*to, "198.51.100.1:6881".parse().unwrap());
    assert!(Message::decode(data).unwrap().read_only);
    assert_eq!(network.query(stranger(1), Method::Ping), None);
    assert_eq!(network.status(0).counters.served, 0);
}

#[test]
fn what_goes_to_a_made_up_source_is_bounded() {
    let mut network = Network::with(30);
    let victim = SocketAddr::from(([203, 0, 113, 1], 53));
    let mut sent = 0;
    for n in 0..5_000_u32 {
        let method = match n % 3 {
            0 => get_peers(true),
            1 => Method::Get {
                target: NodeId::new([1; 20]),
                want: None,
                seq: None,
            },
            _ => Method::FindNode {
                target: NodeId::new([1; 20]),
                want: Some(Want { v4: true, v6: true }),
            },
        };
        let message = Message {
            transaction: &n.to_be_bytes(),
            version: None,
            read_only: false,
            your_address: None,
            body: Body::Query(Query {
                sender: NodeId::new([n as u8; 20]),
                method,
            }),
        };
        let mut data = Vec::new();
        message.encode(&mut data);
        network.outside.clear();
        network.feed(0, Event::datagram(victim, data.into()));
        network.now = network.now + Duration::from_millis(12);
        while network.step(network.now) {}
        sent += network
            .outside
            .iter()
            .filter(|(_, to, _)| *to == victim)
            .map(|(.., data)| data.len())
            .sum::<usize>();
    }
    network.outside.clear();
    network.pass(5);
    sent += network
        .outside
        .iter()
        .map(|(.., data)| data.len())
        .sum::<usize>();
    // A minute's share, its burst, and a few pings to see whether the newcomer is there.
    let bound = limits::DHT_SOURCE_BURST + 65 * limits::DHT_SOURCE_RATE + 65 * 4 * 70;
    assert!(sent <= bound as usize, "{sent} bytes");
    assert!(network.status(0).counters.limited > 2_000);
}

#[test]
fn answers_count_only_from_where_the_question_went() {
    let mut network = Network::new();
    let router = stranger(1);
    let bootstrap = vec![Node {
        host: alloc::format!("{}", router.ip()),
        port: router.port(),
    }];
    network.add(DhtConfig {
        bootstrap,
        ..config()
    });
    network.pass(1);
    let (_, to, data) = network.outside.remove(0);
    assert_eq!(to, router);
    let query = Message::decode(&data).unwrap();
    let answer = |transaction: &[u8]| {
        let nodes = Some(vec![
            NodeInfo {
                id: NodeId::new([1; 20]),
                address: "192.168.1.1:6881".parse().unwrap(),
            },
            NodeInfo {
                id: NodeId::new([2; 20]),
                address: stranger(2),
            },
        ]);
        let message = Message {
            transaction,
            version: None,
            read_only: false,
            your_address: None,
            body: Body::Response(Response {
                sender: NodeId::new([9; 20]),
                nodes,
                ..Response::default()
            }),
        };
        let mut data = Vec::new();
        message.encode(&mut data);
        Bytes::from(data)
    };
    network.feed(0, Event::datagram(stranger(7), answer(query.transaction)));
    network.feed(0, Event::datagram(router, answer(b"abcd")));
    network.feed(0, Event::datagram(router, answer(b"")));
    assert_eq!(network.status(0).counters.stray, 3);
    assert_eq!(network.status(0).v4.nodes, 0);
    network.feed(0, Event::datagram(router, answer(query.transaction)));
    assert_eq!(network.status(0).v4.nodes, 1);
    network.pass(20);
    assert!(network.outside.iter().any(|(_, to, _)| *to == stranger(2)));
    assert!(
        network
            .outside
            .iter()
            .all(|(_, to, _)| *to == router || *to == stranger(2)),
        "nobody is sent into our neighbourhood by a stranger"
    );
}

#[test]
fn a_network_finds_peers_items_and_counts() {
    let mut network = Network::with(60);
    for host in 0..60 {
        let status = network.status(host);
        assert!(status.v4.ready && status.v4.good >= 8, "{status:?}");
        assert!(!status.v6.ready && status.lookups == 0);
    }
    for host in 10..20 {
        let seed = host < 13;
        let port = Some(7_000 + host as u16);
        let info_hash = info_hash();
        let reply = network.ask(
            host,
            DhtCommand::Announce {
                info_hash,
                port,
                seed,
            },
        );
        let Ok(DhtReply::Peers(peers)) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(peers.announced, 8);
    }
    let info_hash = info_hash();
    let reply = network.ask(40, DhtCommand::GetPeers { info_hash });
    let Ok(DhtReply::Peers(found)) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(found.peers.len(), 10);
    assert!(found.path.hops >= 1 && found.path.hops <= 6);
    assert_eq!(found.path.nodes.len(), 8);
    let reply = network.ask(41, DhtCommand::Scrape { info_hash });
    let Ok(DhtReply::Scraped(scrape)) = reply else {
        panic!("{reply:?}");
    };
    // All are on one address, which is in both filters.
    assert_eq!((scrape.seeds, scrape.peers), (1, 1));

    let value = Value::from_string(b"Hello World!").unwrap();
    let target = value.target();
    let reply = network.ask(3, DhtCommand::GetImmutable { target });
    assert_eq!(reply, Ok(DhtReply::Item(None)));
    let reply = network.ask(
        3,
        DhtCommand::PutImmutable {
            value: value.clone(),
        },
    );
    assert!(
        matches!(reply, Ok(DhtReply::Stored(stored)) if stored.nodes == 8 && stored.target == target)
    );
    let reply = network.ask(50, DhtCommand::GetImmutable { target });
    assert_eq!(reply, Ok(DhtReply::Item(Some(Item::Immutable(value)))));

    let secret = SecretKey::new(&[8; 32]);
    let item = |seq| {
        MutableItem::sign(&secret, "", seq, Value::from_string(&[seq as u8]).unwrap()).unwrap()
    };
    let put = |seq, cas| DhtCommand::PutMutable {
        item: item(seq),
        cas,
    };
    assert!(
        matches!(network.ask(4, put(1, None)), Ok(DhtReply::Stored(stored)) if stored.nodes == 8)
    );
    assert!(
        matches!(network.ask(5, put(2, Some(1))), Ok(DhtReply::Stored(stored)) if stored.nodes == 8)
    );
    let reply = network.ask(6, put(3, Some(1)));
    assert!(
        matches!(&reply, Ok(DhtReply::Stored(stored)) if stored.nodes == 0),
        "{reply:?}"
    );
    assert!(
        matches!(reply, Ok(DhtReply::Stored(stored)) if stored.refusal.as_ref().is_some_and(|(kind, _)| *kind == code::CAS))
    );
    let (key, salt) = (secret.public(), Bytes::new());
    let reply = network.ask(51, DhtCommand::GetMutable { key, salt });
    assert_eq!(reply, Ok(DhtReply::Item(Some(Item::Mutable(item(2))))));

    let address = network.hosts[9].address;
    let reply = network.ask(2, DhtCommand::Ping { address });
    let id = network.status(9).v4.id;
    let took = 2 * LATENCY;
    let version = Some("AB\\x01\\x00".into());
    assert_eq!(reply, Ok(DhtReply::Pong(DhtPong { id, took, version })));
    let reply = network.ask(
        2,
        DhtCommand::Ping {
            address: stranger(1),
        },
    );
    assert_eq!(reply, Err(CommandError::NoDhtAnswer));
}

#[test]
fn a_node_that_a_query_does_not_reach_is_not_waited_for() {
    for (reason, why) in [
        (Undelivered::Refused, CommandError::DhtRefused),
        (Undelivered::Unreachable, CommandError::DhtUnreachable),
        (Undelivered::Denied, CommandError::DhtDenied),
    ] {
        let mut network = Network::new();
        let to = stranger(1);
        let bootstrap = vec![Node {
            host: alloc::format!("{}", to.ip()),
            port: to.port(),
        }];
        let host = network.add(DhtConfig {
            bootstrap,
            ..config()
        });
        let info_hash = InfoHash::new([9; 20]);
        let asked = [
            DhtCommand::Ping { address: to },
            DhtCommand::GetPeers { info_hash },
        ];
        let requests = asked.map(|command| network.command(host, Command::Dht(command)));
        // What is about somebody else, or about nobody, changes nothing.
        network.feed(
            host,
            Event::Undelivered {
                to: stranger(2),
                reason,
            },
        );
        let replies = &network.hosts[host].replies;
        assert!(
            requests
                .iter()
                .all(|request| !replies.contains_key(request))
        );
        network.feed(host, Event::Undelivered { to, reason });
        network.feed(host, Event::Undelivered { to, reason });
        let replies = &network.hosts[host].replies;
        assert_eq!(replies.get(&requests[0]), Some(&Err(why)));
        let Some(Ok(Reply::Dht(reply))) = replies.get(&requests[1]) else {
            panic!("{replies:?}");
        };
        assert!(
            matches!(&**reply, DhtReply::Peers(peers) if peers.path.replied == 0),
            "{reply:?}"
        );
    }
}

#[test]
fn a_network_keeps_itself_alive_for_hours_and_forgets_who_left() {
    let mut network = Network::with(20);
    for host in 10..20 {
        let address = network.hosts[host].address;
        network.by_address.remove(&address);
        network.command(host, Command::Shutdown);
    }
    network.pass(2 * 3_600);
    for host in 0..10 {
        let status = network.status(host);
        assert_eq!(status.v4.good, 9, "{status:?}");
    }
}

#[test]
fn what_is_saved_brings_a_node_back_without_an_introduction() {
    let mut network = Network::with(20);
    let state = network.hosts[7].engine.dht().unwrap().state();
    let state = DhtState::from_bytes(&state.to_bytes()).unwrap();
    let back = network.add(DhtConfig {
        state: Some(state.clone()),
        ..config()
    });
    network.pass(20);
    let status = network.status(back);
    assert_eq!(Some(status.v4.id), state.id);
    assert!(status.v4.ready && status.v4.good >= 8, "{status:?}");
    // A node that never found anybody keeps what it was given.
    let mut alone = Network::new();
    alone.add(DhtConfig {
        state: Some(state.clone()),
        ..config()
    });
    alone.pass(60);
    assert_eq!(
        alone.hosts[0].engine.dht().unwrap().state().nodes,
        state.nodes
    );
}

#[test]
fn commands_without_nodes_wait_and_then_fail_or_are_carried_out() {
    let mut network = Network::with(1);
    let info_hash = info_hash();
    let begun = network.now;
    let reply = network.ask(0, DhtCommand::GetPeers { info_hash });
    assert_eq!(reply, Err(CommandError::NoDhtNodes));
    assert_eq!(network.now.since(begun), Duration::from_secs(30));
    let request = network.command(0, Command::Dht(DhtCommand::GetPeers { info_hash }));
    network.pass(10);
    let node = network.node(0);
    network.add(DhtConfig {
        bootstrap: vec![node],
        ..config()
    });
    network.pass(10);
    assert!(matches!(
        network.hosts[0].replies.get(&request),
        Some(Ok(Reply::Dht(_)))
    ));
    // What is under way at the end is answered.
    let address = stranger(1);
    let request = network.command(0, Command::Dht(DhtCommand::Ping { address }));
    network.command(0, Command::Shutdown);
    assert_eq!(
        network.hosts[0].replies.get(&request),
        Some(&Err(CommandError::ShuttingDown))
    );
    let mut off = Network::new();
    off.add(DhtConfig::default());
    assert_eq!(off.ask(0, DhtCommand::Status), Err(CommandError::DhtOff));
}

#[test]
fn a_node_moves_to_where_its_address_belongs_when_many_say_so() {
    let mut network = Network::new();
    let at = |n: u16| stranger(n + 1);
    let ip = |n: u16| -> IpAddr { at(n).ip() };
    for n in 0..12 {
        let bootstrap = if n == 0 {
            Vec::new()
        } else {
            vec![network.node(0)]
        };
        // All but the last know where they are.
        let external = if n < 11 { vec![ip(n)] } else { Vec::new() };
        network.add_at(
            at(n),
            DhtConfig {
                bootstrap,
                external,
                ..config()
            },
        );
    }
    network.pass(60);
    let status = network.status(11);
    assert_eq!(status.v4.external, Some(ip(11)));
    assert_eq!(status.counters.moves, 1);
    assert!(node_id::is_valid(&status.v4.id, ip(11)));
    assert!(status.v4.ready && status.v4.good == 11, "{status:?}");
    assert_eq!(network.status(3).counters.moves, 0);
}

#[test]
fn both_address_families_are_used_side_by_side() {
    let mut network = Network::new();
    let v6 = |n: u16| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], n));
    let mut bootstrap = Vec::new();
    for n in 0..12 {
        let host = network.add_at(
            v6(100 + n),
            DhtConfig {
                bootstrap: bootstrap.clone(),
                ..config()
            },
        );
        if n == 0 {
            bootstrap.push(network.node(host));
        }
    }
    network.pass(30);
    let status = network.status(5);
    assert!(
        status.v6.ready && status.v6.good >= 8 && status.v4.nodes == 0,
        "{status:?}"
    );
    let info_hash = info_hash();
    let announce = DhtCommand::Announce {
        info_hash,
        port: Some(7),
        seed: false,
    };
    assert!(matches!(network.ask(3, announce), Ok(DhtReply::Peers(peers)) if peers.announced == 8));
    let reply = network.ask(4, DhtCommand::GetPeers { info_hash });
    assert!(matches!(reply, Ok(DhtReply::Peers(found)) if found.peers == [v6(7)]));
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut network = Network::with(3);
    for data in [
        &b"d"[..],
        b"de",
        b"d1:y1:qe",
        b"d1:t2:aa1:y1:q1:q4:ping1:a3:abce",
    ] {
        let from = stranger(1);
        let data = Bytes::from_static(data);
        network.feed(0, Event::datagram(from, data));
    }
    assert_eq!(network.status(0).counters.malformed, 4);
    assert_eq!(network.status(0).v4.nodes, 2);
}

#[test]
fn lookups_take_turns_when_there_are_too_many_queries() {
    let mut network = Network::with(40);
    // Nobody answers any more, so that every query takes as long as it can.
    network.down = true;
    let before = network.status(0).counters;
    let wishes: Vec<RequestId> = (0..limits::MAX_DHT_LOOKUPS as u8)
        .map(|n| {
            let info_hash = InfoHash::new([4 * n; 20]);
            network.command(0, Command::Dht(DhtCommand::GetPeers { info_hash }))
        })
        .collect();
    let mut most = 0;
    let end = network.now + Duration::from_secs(60);
    while network.step(end) {
        most = most.max(network.status(0).waiting);
    }
    assert_eq!(most as usize, limits::MAX_DHT_QUERIES_OF_LOOKUPS);
    let sent = network.status(0).counters.queries_sent - before.queries_sent;
    let mut asked = 0;
    for wish in wishes {
        match network.hosts[0].replies.remove(&wish) {
            Some(Ok(Reply::Dht(reply))) => match *reply {
                DhtReply::Peers(peers) => asked += u64::from(peers.path.asked),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    assert!(asked > most.into() && asked <= sent, "{asked} of {sent}");
    assert_eq!(network.status(0).lookups, 0);
}
