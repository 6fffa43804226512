//! An engine alone: no socket, no driver, and a clock that does as it is told.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anabranch_driver::engine::datagram::Outbound;
use anabranch_driver::engine::dht::{DhtCommand, DhtStatus, NodeId, NodeInfo};
use anabranch_driver::engine::id::RequestId;
use anabranch_driver::engine::limits::{DHT_BUCKET, MAX_DHT_PEERS, MAX_DHT_TORRENTS};
use anabranch_driver::engine::metainfo::InfoHash;
use anabranch_driver::engine::wire::krpc::{Body, Message, Method, Query, Response};
use anabranch_driver::engine::{
    Action, Actions, Command, Config, Engine, Event, Instant, Seed, UnixTime,
};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use crate::counting;
use crate::table::{kib, median};

/// Buckets of a table in a network of some ten million nodes: eight of them are closer than 2 to the power of this are
/// to the rest.
const PUBLIC_BUCKETS: usize = 21;

/// Bits that two places have in common at most if eight, and eight to replace them, are to be in one bucket.
const MOST_BUCKETS: usize = 155;

/// Different parties that ask.
const ASKERS: u32 = 65_536;

/// From one event to the next.
const STEP: Duration = Duration::from_micros(10);

/// What is asked of a node.
const KINDS: [&str; 5] = [
    "ping",
    "find_node",
    "get_peers, unknown",
    "get_peers, 50 peers",
    "announce_peer",
];

/// Measures and prints.
pub(crate) fn run(queries: usize, runs: usize) {
    let mut bench = Bench::new();
    let empty = bench.bytes();
    bench.fill_tables(PUBLIC_BUCKETS);
    let public = bench.status();
    let usual = bench.bytes();
    bench.fill_store();
    let stored = bench.status();
    let busy = bench.bytes();
    print_served(&mut bench, queries, runs);
    let before = bench.bytes();
    bench.fill_tables(MOST_BUCKETS);
    let most = bench.status();
    let nodes = |status: &DhtStatus| status.v4.nodes + status.v6.nodes;

    println!("\nMemory that an engine has allocated which is a DHT node and nothing else");
    println!("  {:>8.0} KiB  when it knows nobody", kib(empty));
    println!(
        "  {:>8.0} KiB  with tables of IPv4 and IPv6 as in a network of ten million: {} nodes and as many \
         replacements",
        kib(usual),
        nodes(&public)
    );
    println!(
        "  {:>8.0} KiB  with all that it keeps for others at most: {} peers of {} torrents",
        kib(busy),
        stored.peers,
        stored.torrents
    );
    println!(
        "  {:>8.0} KiB  with tables that have no room left as well: {} nodes and as many replacements",
        kib(busy + bench.bytes().saturating_sub(before)),
        nodes(&most)
    );
}

fn print_served(bench: &mut Bench, queries: usize, runs: usize) {
    println!(
        "\nQueries that an engine serves alone, with the tables of a node in a network of ten million and as many \
         peers as it keeps; {runs} times {queries}"
    );
    println!(
        "  {:20} {:>12} {:>12} {:>12} {:>8}",
        "", "a s and core", "ns a query", "allocations", "bytes"
    );
    for kind in KINDS {
        let samples: Vec<Sample> = (0..runs).map(|_| bench.serve(kind, queries)).collect();
        let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        let seconds = of(|sample| sample.cpu.as_secs_f64() / sample.answers as f64);
        println!(
            "  {kind:20} {:>12.0} {:>12.0} {:>12.1} {:>8.0}",
            1.0 / seconds,
            seconds * 1e9,
            of(|sample| sample.allocations as f64 / sample.answers as f64),
            of(|sample| sample.bytes as f64 / sample.answers as f64),
        );
    }
}

struct Sample {
    cpu: Duration,
    answers: usize,
    allocations: usize,
    bytes: usize,
}

struct Bench {
    engine: Engine,
    actions: Actions,
    now: Instant,
    requests: u64,
    /// Bytes allocated before there was an engine.
    before: usize,
}

impl Bench {
    fn new() -> Self {
        let before = counting::bytes();
        let mut config = Config::default();
        config.dht.enabled = true;
        // What it could do is measured, not what it is allowed to. Each party has its limit still.
        config.dht.reply_rate = None;
        let now = Instant::from_nanos(1_000_000_000);
        let mut bench = Self {
            engine: Engine::new(config, Seed([7; 32]), now, UnixTime(0)),
            actions: Actions::new(),
            now,
            requests: 0,
            before,
        };
        let address = Some(SocketAddr::from(([0_u16; 8], 6881)));
        bench.command(Command::Listening { address });
        bench
    }

    /// Bytes that the engine has allocated.
    fn bytes(&self) -> usize {
        counting::bytes() - self.before
    }

    fn status(&self) -> DhtStatus {
        let dht = self.engine.dht();
        // It was switched on above.
        dht.expect("a DHT").status()
    }

    fn command(&mut self, command: Command) {
        self.requests += 1;
        let request = RequestId(self.requests);
        let command = command.into();
        self.feed(Event::Command { request, command });
    }

    /// One event, and those that are due after it.
    fn feed(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let wake = self.engine.handle(self.now, event, &mut self.actions);
            let due = wake.deadline(self.now);
            next = due.filter(|due| *due <= self.now).map(|_| Event::Tick);
        }
        self.now = self.now + STEP;
    }

    /// What the engine sent, with the addresses.
    fn sent(&mut self) -> Vec<(SocketAddr, Bytes)> {
        let drained = self.actions.drain();
        let sent = drained.filter_map(|action| {
            if let Action::Datagram(Outbound { to, data, .. }) = action {
                Some((to, data))
            } else {
                None
            }
        });
        sent.collect()
    }

    /// Makes the engine ask nodes that answer: a bucketful, and another for its replacements, for each of the buckets.
    fn fill_tables(&mut self, buckets: usize) {
        let status = self.status();
        for (v6, own) in [(false, status.v4.id), (true, status.v6.id)] {
            for bucket in 0..buckets {
                for count in 0..2 * DHT_BUCKET {
                    let number = (bucket * 2 * DHT_BUCKET + count) as u32;
                    let node = NodeInfo {
                        id: place(&own, bucket, count),
                        address: address(v6, number),
                    };
                    self.meet(node);
                }
            }
        }
    }

    fn meet(&mut self, node: NodeInfo) {
        let address = node.address;
        self.sent();
        self.command(Command::Dht(DhtCommand::Ping { address }));
        // The engine asks for other reasons, too; whoever is asked answers.
        let mut asked = self.sent();
        while let Some((to, query)) = asked.pop() {
            if to != address {
                continue;
            }
            let message = Message::decode(&query).expect("a query");
            let response = Response {
                sender: node.id,
                ..Response::default()
            };
            let data = encode(message.transaction, Body::Response(response));
            self.feed(Event::datagram(to, data));
            asked.extend(self.sent());
        }
    }

    /// Makes as many parties announce as there is room for.
    fn fill_store(&mut self) {
        let each = MAX_DHT_PEERS / MAX_DHT_TORRENTS;
        for number in 0..MAX_DHT_PEERS {
            let torrent = number / each;
            let from = address(false, 0x10_0000 + number as u32);
            let query = self.announce(from, torrent);
            self.feed(Event::datagram(from, query));
            self.sent();
        }
    }

    /// An announce with the token that it needs.
    fn announce(&mut self, from: SocketAddr, torrent: usize) -> Bytes {
        let info_hash = info_hash(torrent);
        let data = query(get_peers(info_hash));
        self.sent();
        self.feed(Event::datagram(from, data));
        let answers = self.sent();
        let answer = answers.iter().find(|(to, _)| *to == from);
        let (_, answer) = answer.expect("an answer");
        let token = match Message::decode(answer).expect("a message").body {
            Body::Response(response) => response.token.map(<[u8]>::to_vec),
            Body::Query(_) | Body::Error(_) => None,
        };
        query(Method::AnnouncePeer {
            info_hash,
            port: 6881,
            implied_port: false,
            seed: false,
            token: &token.unwrap_or_default(),
        })
    }

    fn serve(&mut self, kind: &str, queries: usize) -> Sample {
        let asker = |number: usize| address(false, 0x20_0000 + number as u32 % ASKERS);
        let mut asked: Vec<(SocketAddr, Bytes)> = Vec::with_capacity(queries);
        for number in 0..queries {
            let from = asker(number);
            let data = match kind {
                "ping" => query(Method::Ping),
                "find_node" => query(Method::FindNode {
                    target: NodeId::from(info_hash(number)),
                    want: None,
                }),
                "get_peers, unknown" => query(get_peers(info_hash(MAX_DHT_TORRENTS + number))),
                "get_peers, 50 peers" => query(get_peers(info_hash(number % MAX_DHT_TORRENTS))),
                // Somebody new: the one who announced longest ago gives way.
                _ => self.announce(from, number % MAX_DHT_TORRENTS),
            };
            asked.push((from, data));
            // Each party may have as much as it likes by the time that it is asked in earnest.
            self.now = self.now + STEP;
        }
        self.sent();
        self.now = self.now + Duration::from_secs(1);
        let (before, begin) = (counting::calls(), cpu());
        let (mut answers, mut bytes) = (0, 0);
        for (from, data) in asked {
            self.feed(Event::datagram(from, data));
            for action in self.actions.drain() {
                if let Action::Datagram(Outbound { to, data, .. }) = action
                    && to == from
                {
                    answers += 1;
                    bytes += data.len();
                    black_box(data);
                }
            }
        }
        Sample {
            cpu: cpu() - begin,
            answers,
            allocations: counting::calls() - before,
            bytes,
        }
    }
}

/// The processor time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A place that has so many bits in common with another one, and no more. They differ by number.
pub(crate) fn place(own: &NodeId, bits: usize, number: usize) -> NodeId {
    let mut bytes = *own.as_bytes();
    bytes[bits / 8] ^= 0x80 >> (bits % 8);
    // What follows that bit is as one likes: the number goes to the end, if need be only what fits.
    let mut left = number;
    for bit in (bits + 1..160).rev() {
        let mask = 0x80 >> (bit % 8);
        bytes[bit / 8] = bytes[bit / 8] & !mask | if left & 1 == 1 { mask } else { 0 };
        left >>= 1;
    }
    NodeId::new(bytes)
}

/// Addresses of networks of their own.
fn address(v6: bool, number: u32) -> SocketAddr {
    let ip = match v6 {
        // Behind 20.0.0.0 there is nothing special for long.
        false => IpAddr::V4(Ipv4Addr::from(0x1400_0001 + (number << 8 | number >> 16))),
        true => {
            let [high, low] = [(number >> 16) as u16, number as u16];
            IpAddr::V6(Ipv6Addr::new(0x2a00, high, low, 0, 0, 0, 0, 1))
        }
    };
    SocketAddr::new(ip, 6881)
}

pub(crate) fn info_hash(number: usize) -> InfoHash {
    // Spread over all places.
    let mut bytes = [0; 20];
    let mut state = number as u64;
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = (mixed ^ (mixed >> 31)).to_be_bytes();
        chunk.copy_from_slice(&mixed[..chunk.len()]);
    }
    InfoHash::new(bytes)
}

pub(crate) const fn get_peers(info_hash: InfoHash) -> Method<'static> {
    Method::GetPeers {
        info_hash,
        want: None,
        no_seeds: false,
        scrape: false,
    }
}

pub(crate) fn query(method: Method<'_>) -> Bytes {
    let sender = NodeId::new([0x77; 20]);
    encode(b"tx", Body::Query(Query { sender, method }))
}

pub(crate) fn encode(transaction: &[u8], body: Body<'_>) -> Bytes {
    let message = Message {
        transaction,
        version: None,
        read_only: false,
        your_address: None,
        body,
    };
    let mut data = Vec::new();
    message.encode(&mut data);
    data.into()
}
