//! Whole networks of DHT nodes: lookups through loss and churn, torrents without a tracker, hostile nodes.
//!
//! The networks are small by default; `ANABRANCH_DHT_NODES=1000 cargo test -p anabranch-sim --test dht --
//! --nocapture` takes one of that size as well, and prints the table of `docs/dht.md`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a script answers what it knows, and a test fails at what it does not expect"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::dht::{DhtCommand, DhtConfig, DhtPeers, DhtReply, DhtState, NodeId, NodeInfo};
use anabranch_core::limits::{DHT_SOURCE_BURST, DHT_SOURCE_RATE};
use anabranch_core::metainfo::{InfoHash, Node};
use anabranch_core::wire::krpc::{Body, Fault, Message, Method, Query, Response, code};
use anabranch_core::{Command, Engine, TorrentState};
use anabranch_sim::{
    Actor, ActorEvent, Content, HostConfig, HostId, Stage, World, WorldConfig, seeds,
};
use common::{HOUR, MINUTE};

const ROUTER: &str = "router.example";
const PORT: u16 = 6_881;

fn dht() -> DhtConfig {
    let mut dht = DhtConfig::default();
    dht.enabled = true;
    dht.bootstrap = vec![Node {
        host: String::from(ROUTER),
        port: PORT,
    }];
    dht
}

fn host() -> HostConfig {
    let mut host = HostConfig::with_rate(1_000_000);
    host.engine.dht = dht();
    host
}

/// Nodes that all know the first one, and came one after the other.
fn network(seed: u64, nodes: usize, loss_ppm: u32) -> (World, Vec<HostId>) {
    let mut config = WorldConfig::new(seed);
    config.checks.invariants_every = 5_000;
    config.checks.keep_notices = false;
    config.loss_ppm = loss_ppm;
    let mut world = World::with_config(config);
    let first = world.add_host(host());
    world.set_name(ROUTER, vec![world.address(first).ip()]);
    let mut hosts = vec![first];
    while hosts.len() < nodes {
        hosts.push(world.add_host(host()));
        // What a network of that size bears: it doubles within seconds.
        let pause = Duration::from_millis(20_000 / hosts.len() as u64);
        run(&mut world, pause);
    }
    run(&mut world, 2 * MINUTE);
    (world, hosts)
}

fn run(world: &mut World, time: Duration) {
    if let Err(failure) = world.run_for(time) {
        panic!("{failure}");
    }
}

fn engine(world: &World, host: HostId) -> &Engine {
    world.host(host).engine().expect("an engine")
}

fn ask(world: &mut World, host: HostId, command: DhtCommand) -> DhtReply {
    let (request, _) = world.command(host, Command::Dht(command));
    let done = world.run_until(5 * MINUTE, |world| {
        world.host(host).reply(request).is_some()
    });
    if let Err(failure) = done {
        panic!("{failure}");
    }
    match world.host(host).reply(request) {
        Some(Ok(Reply::Dht(reply))) => reply.as_ref().clone(),
        other => panic!("{other:?}"),
    }
}

fn peers(reply: DhtReply) -> DhtPeers {
    match reply {
        DhtReply::Peers(peers) => peers,
        other => panic!("{other:?}"),
    }
}

fn place(n: u64) -> InfoHash {
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (at as u64) << 32 | 1);
        *byte = (mixed >> 40) as u8;
    }
    InfoHash::new(bytes)
}

/// A row of the table: how lookups in a network of that size go, with so much loss and after that churn.
fn measure(seed: u64, nodes: usize, loss_ppm: u32, churn: bool) -> String {
    let (mut world, hosts) = network(seed, nodes, loss_ppm);
    let lookups = 40;
    let announcer = |n: u64| hosts[1 + (n as usize * 7) % (nodes - 1)];
    for n in 0..lookups {
        let info_hash = place(n);
        let port = Some(1_000 + n as u16);
        let seed = false;
        let command = DhtCommand::Announce {
            info_hash,
            port,
            seed,
        };
        let reply = peers(ask(&mut world, announcer(n), command));
        assert!(reply.announced >= 4, "{reply:?}");
    }
    let mut gone = Vec::new();
    if churn {
        // A fifth leaves without a word, and as many are new.
        gone = hosts.iter().copied().skip(2).step_by(5).collect();
        for host in &gone {
            world.crash(*host);
        }
        for _ in 0..gone.len() {
            world.add_host(host());
            run(&mut world, Duration::from_millis(200));
        }
        run(&mut world, MINUTE);
    }
    let (mut found, mut hops, mut most, mut asked, mut millis) = (0, 0, 0, 0, 0);
    let mut askers = hosts
        .iter()
        .rev()
        .filter(|host| !gone.contains(host))
        .cycle();
    for n in 0..lookups {
        let info_hash = place(n);
        let asker = *askers.next().expect("somebody is left");
        let reply = peers(ask(&mut world, asker, DhtCommand::GetPeers { info_hash }));
        let announced = SocketAddr::new(world.address(announcer(n)).ip(), 1_000 + n as u16);
        found += u64::from(reply.peers.contains(&announced));
        hops += u64::from(reply.path.hops);
        most = most.max(reply.path.hops);
        asked += u64::from(reply.path.asked);
        millis += reply.path.took.as_millis();
    }
    let log = (nodes as f64).log2();
    assert!(
        found * 100 >= lookups * 95,
        "{found} of {lookups} were found among {nodes}"
    );
    assert!(f64::from(most) <= log + 2.0, "{most} hops among {nodes}");
    assert!(
        hops as f64 / lookups as f64 <= log,
        "{hops} hops for {lookups} lookups"
    );
    let mean = |sum: f64| sum / lookups as f64;
    format!(
        "| {nodes} | {:.1} | {}.{} % | {} | {found} of {lookups} | {:.1} | {most} | {:.0} | {:.1} s |",
        log,
        loss_ppm / 10_000,
        loss_ppm / 1_000 % 10,
        if churn { "a fifth" } else { "none" },
        mean(hops as f64),
        mean(asked as f64),
        mean(millis as f64) / 1_000.0,
    )
}

#[test]
fn lookups_succeed_through_loss_and_churn_within_the_hops_of_theory() {
    let whole = std::env::var("ANABRANCH_DHT_NODES").ok();
    let whole = whole.map(|nodes| nodes.parse().expect("a number of nodes"));
    let sizes: Vec<usize> = [32, 128].into_iter().chain(whole).collect();
    println!("| nodes | log2 | loss | churn | found | hops | most | queries | took |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for seed in seeds(1) {
        for nodes in &sizes {
            for (loss_ppm, churn) in [(0, false), (50_000, true)] {
                println!("{}", measure(seed, *nodes, loss_ppm, churn));
            }
        }
    }
}

/// No more than what torrent it is.
fn link(content: &Content) -> AddTorrent {
    AddTorrent {
        magnet: Some(format!("magnet:?xt=urn:btih:{}", content.info_hash())),
        ..AddTorrent::default()
    }
}

fn seeding(world: &mut World, host: HostId, content: &Content) {
    world
        .seed_torrent(host, content, AddTorrent::default())
        .expect("the seed takes the torrent on");
}

#[test]
fn a_swarm_finds_itself_by_the_dht_alone() {
    for seed in seeds(2) {
        let (mut world, hosts) = network(seed, 24, 10_000);
        let content = Content::synthetic(3, 4 << 20, 64 << 10);
        seeding(&mut world, hosts[5], &content);
        for host in &hosts[10..15] {
            world
                .add_torrent(*host, &content, AddTorrent::default())
                .expect("a leecher takes the torrent on");
        }
        if let Err(failure) = world.run_until_complete(HOUR) {
            panic!("{failure}");
        }
        let info_hash = content.info_hash();
        let found = peers(ask(
            &mut world,
            hosts[20],
            DhtCommand::GetPeers { info_hash },
        ));
        assert_eq!(found.peers.len(), 6, "{found:?}");
        let DhtReply::Scraped(scrape) =
            ask(&mut world, hosts[21], DhtCommand::Scrape { info_hash })
        else {
            panic!("a scrape");
        };
        assert!(
            (5..=7).contains(&(scrape.seeds + scrape.peers)),
            "{scrape:?}"
        );
    }
}

#[test]
fn a_link_is_enough_where_there_is_a_dht() {
    for seed in seeds(2) {
        let (mut world, hosts) = network(seed, 24, 10_000);
        // Metadata of two blocks.
        let content = Content::synthetic(5, 16 << 20, 16 << 10);
        seeding(&mut world, hosts[5], &content);
        for host in &hosts[10..13] {
            world
                .add_torrent(*host, &content, link(&content))
                .expect("a link is taken on");
        }
        if let Err(failure) = world.run_until_complete(HOUR) {
            panic!("{failure}");
        }
        for host in &hosts[10..13] {
            let engine = engine(&world, *host);
            let mut torrents = engine.torrents().filter_map(|id| engine.torrent(id));
            assert!(torrents.all(|torrent| torrent.state() == TorrentState::Seeding));
        }
    }
}

#[test]
fn a_node_comes_back_by_what_it_saved_and_needs_nobody_to_begin_with() {
    let (mut world, hosts) = network(seeds(1)[0], 24, 10_000);
    let DhtReply::State(state) = ask(&mut world, hosts[7], DhtCommand::Save) else {
        panic!("a state");
    };
    let info_hash = place(9);
    let announce = DhtCommand::Announce {
        info_hash,
        port: Some(5),
        seed: true,
    };
    assert!(peers(ask(&mut world, hosts[3], announce)).announced > 0);
    // The node by which all others began is gone, and so is the one that comes back, at another address.
    world.set_name(ROUTER, Vec::new());
    world.crash(hosts[0]);
    world.crash(hosts[7]);
    let back = |state: Option<DhtState>| {
        let mut host = host();
        host.engine.dht.bootstrap = Vec::new();
        host.engine.dht.state = state;
        host
    };
    let saved = DhtState::from_bytes(&state.to_bytes()).expect("what was written");
    let returned = world.add_host(back(Some(saved)));
    let stranger = world.add_host(back(None));
    run(&mut world, MINUTE);
    let status = engine(&world, returned).dht().expect("a DHT").status();
    assert!(status.v4.ready && status.v4.good >= 8, "{status:?}");
    // At another address it has another place (BEP 42), as the nodes told.
    let address = world.address(returned).ip();
    assert_eq!(status.v4.external, Some(address), "{status:?}");
    let found = peers(ask(
        &mut world,
        returned,
        DhtCommand::GetPeers { info_hash },
    ));
    assert_eq!(found.peers.len(), 1, "{found:?}");
    // Without what was saved there is no way in.
    let status = engine(&world, stranger).dht().expect("a DHT").status();
    assert_eq!((status.v4.ready, status.v4.nodes), (false, 0));
}

#[test]
fn a_peer_introduces_a_node_that_knows_nobody() {
    let (mut world, hosts) = network(seeds(1)[0], 12, 0);
    let content = Content::synthetic(4, 1 << 20, 64 << 10);
    seeding(&mut world, hosts[3], &content);
    let mut config = host();
    config.engine.dht.bootstrap.clear();
    let newcomer = world.add_host(config);
    let add = AddTorrent {
        peers: vec![world.address(hosts[3])],
        ..AddTorrent::default()
    };
    world
        .add_torrent(newcomer, &content, add)
        .expect("the newcomer takes the torrent on");
    run(&mut world, MINUTE);
    let status = engine(&world, newcomer).dht().expect("a node").status();
    assert!(status.v4.ready && status.v4.good >= 8, "{status:?}");
}

/// What a hostile node does.
#[derive(Clone, Copy, Debug)]
enum Malice {
    /// Sits next to a place, names its friends alone, and keeps nothing.
    Surround,
    /// Gives tokens, and refuses them.
    Token,
    /// Answers with what is no message.
    Garbage,
    /// Names nodes that are not there, next to whatever is sought.
    Mirage,
    /// Says that others are elsewhere than they are.
    Misplace,
}

#[derive(Debug)]
struct Hostile {
    malice: Malice,
    id: NodeId,
    friends: Vec<NodeInfo>,
    router: SocketAddr,
}

impl Actor for Hostile {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        let (from, data) = match event {
            ActorEvent::Datagram { from, data } => (from, data),
            ActorEvent::Started | ActorEvent::Timer { .. } => {
                // Makes itself known, now and then.
                let target = self.id;
                let method = Method::FindNode { target, want: None };
                let body = Body::Query(Query {
                    sender: self.id,
                    method,
                });
                stage.datagram(self.router, message(b"hi", None, body));
                stage.wake_in(Duration::from_secs(20), 0);
                return;
            }
            _ => return,
        };
        let Ok(Message {
            transaction, body, ..
        }) = Message::decode(&data)
        else {
            return;
        };
        let query = match body {
            Body::Query(query) => query,
            Body::Response(response) => {
                // And goes on to all that it hears of.
                for node in response.nodes.unwrap_or_default() {
                    let body = Body::Query(Query {
                        sender: self.id,
                        method: Method::Ping,
                    });
                    stage.datagram(node.address, message(b"hi", None, body));
                }
                return;
            }
            Body::Error(_) => return,
        };
        let target = match query.method {
            Method::FindNode { target, .. } | Method::Get { target, .. } => Some(target),
            Method::GetPeers { info_hash, .. } => Some(NodeId::from(info_hash)),
            _ => None,
        };
        let stores = matches!(
            query.method,
            Method::AnnouncePeer { .. } | Method::Put { .. }
        );
        let mut response = Response {
            sender: self.id,
            token: target.map(|_| &b"a token"[..]),
            nodes: target.map(|_| self.friends.clone()),
            ..Response::default()
        };
        let lie = SocketAddr::from(([9, 9, 9, 9], 9));
        match self.malice {
            Malice::Token if stores => {
                let fault = Fault {
                    code: code::PROTOCOL,
                    message: b"bad token",
                };
                stage.datagram(from, message(transaction, None, Body::Error(fault)));
                return;
            }
            Malice::Garbage => {
                let mut bytes = vec![0; 200];
                bytes
                    .iter_mut()
                    .for_each(|byte| *byte = stage.chance.below(256) as u8);
                bytes[0] = b'd';
                stage.datagram(from, bytes);
                return;
            }
            Malice::Mirage | Malice::Misplace => {
                let Some(target) = target else {
                    return;
                };
                let near = |n: u8, address| {
                    let mut bytes = *target.as_bytes();
                    bytes[19] ^= n + 1;
                    bytes[12] ^= n;
                    NodeInfo {
                        id: NodeId::new(bytes),
                        address,
                    }
                };
                let nodes = (0..16_u8).map(|n| match self.malice {
                    Malice::Misplace => near(n, SocketAddr::from(([5, n + 1, 0, 0], PORT))),
                    _ => near(
                        n,
                        SocketAddr::from(([7, n, stage.chance.below(250) as u8, 1], PORT)),
                    ),
                });
                response.nodes = Some(nodes.collect());
            }
            Malice::Surround | Malice::Token => {}
        }
        stage.datagram(
            from,
            message(transaction, Some(lie), Body::Response(response)),
        );
    }
}

fn message(transaction: &[u8], your_address: Option<SocketAddr>, body: Body<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let message = Message {
        transaction,
        version: None,
        read_only: false,
        your_address,
        body,
    };
    message.encode(&mut out);
    out
}

#[test]
fn a_swarm_of_magnet_links_completes_among_hostile_nodes() {
    for seed in seeds(1) {
        let (mut world, hosts) = network(seed, 40, 10_000);
        let content = Content::synthetic(5, 2 << 20, 64 << 10);
        let target = content.info_hash();
        let router = world.address(hosts[0]);
        let first = world.hosts().count() as u32;
        // Twenty next to the torrent, each on a network of its own, and four of each other kind.
        let near = |n: u32| {
            let mut bytes = *target.as_bytes();
            bytes[19] ^= n as u8 + 1;
            NodeId::new(bytes)
        };
        let address = |n: u32| SocketAddr::from(([5, (first + n + 1) as u8, 0, 0], PORT));
        let friends: Vec<NodeInfo> = (0..20)
            .map(|n| NodeInfo {
                id: near(n),
                address: address(n),
            })
            .collect();
        for n in 0..20 {
            let (malice, id) = (Malice::Surround, near(n));
            let friends = friends
                .iter()
                .copied()
                .filter(|node| node.id != id)
                .collect();
            let actor = Hostile {
                malice,
                id,
                friends,
                router,
            };
            let added = world.add_actor(HostConfig::default(), actor);
            assert_eq!(world.address(added), address(n));
        }
        for malice in [
            Malice::Token,
            Malice::Garbage,
            Malice::Mirage,
            Malice::Misplace,
        ] {
            for n in 0..4_u64 {
                let id = NodeId::from(place(1_000 + n + 10 * malice as u64));
                let actor = Hostile {
                    malice,
                    id,
                    friends: Vec::new(),
                    router,
                };
                world.add_actor(HostConfig::default(), actor);
            }
        }
        run(&mut world, 5 * MINUTE);
        seeding(&mut world, hosts[7], &content);
        run(&mut world, MINUTE);
        for host in &hosts[20..26] {
            world
                .add_torrent(*host, &content, link(&content))
                .expect("a link is taken on");
        }
        if let Err(failure) = world.run_until_complete(HOUR) {
            panic!("{failure}");
        }
        for host in &hosts {
            let engine = engine(&world, *host);
            engine.check();
            let view = engine.dht().expect("a node");
            let status = view.status();
            assert_ne!(status.v4.external, Some([9, 9, 9, 9].into()), "{status:?}");
            let mut torrents = engine.torrents().filter_map(|id| engine.torrent(id));
            assert!(torrents.all(|torrent| torrent.state() == TorrentState::Seeding));
        }
    }
}

/// Counts what it is sent.
#[derive(Debug)]
struct Victim(Arc<AtomicU64>);

impl Actor for Victim {
    fn on(&mut self, _: &mut Stage<'_>, event: ActorEvent) {
        if let ActorEvent::Datagram { data, .. } = event {
            self.0.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Asks for much in the name of another.
#[derive(Debug)]
struct Forger {
    victim: SocketAddr,
    nodes: Vec<SocketAddr>,
}

impl Actor for Forger {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        if matches!(event, ActorEvent::Started | ActorEvent::Timer { .. }) {
            for node in &self.nodes {
                let (want, seq) = (None, None);
                let target = NodeId::from(place(stage.chance.below(1_000)));
                let method = Method::Get { target, want, seq };
                let body = Body::Query(Query {
                    sender: target,
                    method,
                });
                stage.forged_datagram(self.victim, *node, message(b"xy", None, body));
            }
            stage.wake_in(Duration::from_millis(20), 0);
        }
    }
}

#[test]
fn what_a_victim_is_sent_is_bounded_whoever_asks_in_its_name() {
    let (mut world, hosts) = network(seeds(1)[0], 12, 0);
    let count = Arc::new(AtomicU64::new(0));
    let victim = world.add_actor(HostConfig::default(), Victim(Arc::clone(&count)));
    let nodes: Vec<SocketAddr> = hosts[..4].iter().map(|host| world.address(*host)).collect();
    let forger = Forger {
        victim: world.address(victim),
        nodes,
    };
    world.add_actor(HostConfig::default(), forger);
    run(&mut world, 2 * MINUTE);
    let received = count.load(Ordering::Relaxed);
    // What each node may send to one party, and now and then a ping to see whether it is there.
    let bound = 4 * u64::from(DHT_SOURCE_BURST + 120 * DHT_SOURCE_RATE + 120 * 70);
    assert!(received <= bound, "{received} bytes of at most {bound}");
    assert!(received > 0, "it is asked for");
}

#[test]
fn a_seed_that_came_before_the_network_is_known_to_it_soon() {
    let seed = seeds(1)[0];
    let (mut world, mut hosts) = network(seed, 2, 0);
    let content = Content::synthetic(5, 1 << 20, 64 << 10);
    seeding(&mut world, hosts[1], &content);
    run(&mut world, MINUTE / 6);
    let keepers = |world: &World, hosts: &[HostId]| {
        let keeps = |host: &&HostId| {
            let node = engine(world, **host).dht().expect("a node");
            node.status().torrents > 0
        };
        hosts.iter().filter(keeps).count()
    };
    assert_eq!(keepers(&world, &hosts), 1, "nobody else is there");
    hosts.extend((0..30).map(|_| world.add_host(host())));
    run(&mut world, 5 * MINUTE);
    assert!(
        keepers(&world, &hosts) >= 8,
        "in minutes, not with the next round"
    );
}
