//! A node that is a process of its own, in a network of nodes that do little, asked by many.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_driver::engine::dht::{NodeId, NodeInfo};
use anabranch_driver::engine::wire::krpc::{Body, Message, Method, Query, Response};
use anabranch_tests::usage::{Memory, running_time};
use anabranch_tests::{Scratch, wait};
use bytes::Bytes;
use smol::{Async, Task};

use crate::alone::{encode, get_peers, info_hash, place, query};
use crate::node::{Kind, Node};

/// Buckets of the table that get nodes, the farthest first: as many as in a network of ten million.
const BUCKETS: usize = 21;

/// Nodes that could be in each. libtorrent's farthest buckets are larger than 8.
const WANTED: [usize; 4] = [256, 128, 64, 32];

/// The same for all other buckets.
const WANTED_ELSEWHERE: usize = 16;

/// Addresses that ask: more than those that a node keeps accounts of, so that none comes to its limit.
const ASKERS: usize = 6_000;

/// Threads that ask, and queries that each has under way.
const THREADS: usize = 2;
const WINDOW: usize = 24;

/// Torrents, which have as many peers as askers by this.
const TORRENTS: usize = 120;

/// An answer that is not there by then is lost.
const LOST: Duration = Duration::from_millis(250);

/// How often a node hears of the others: it makes so many contacts at a time, and no more.
const INTRODUCTIONS: Duration = Duration::from_secs(1);

/// For how long its table has to stay the same.
const SETTLED: Duration = Duration::from_secs(6);

/// What a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Ping,
    FindNode,
    GetPeers,
}

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Ping, Self::FindNode, Self::GetPeers];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find_node",
            Self::GetPeers => "get_peers",
        }
    }
}

/// What one run of one node gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Memory when it knows nobody, with a table, and after all queries.
    pub(crate) bare: Memory,
    pub(crate) table: Memory,
    pub(crate) end: Memory,
    /// Nodes in the table.
    pub(crate) nodes: u64,
    pub(crate) served: Vec<(Load, Served)>,
}

/// What came of queries of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) asked: usize,
    pub(crate) answers: usize,
    pub(crate) bytes: usize,
    /// Processor time of the node, and time that passed.
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// Measures a node of one kind.
pub(crate) fn run(
    kind: Kind,
    bin: &Path,
    scratch: &Scratch,
    queries: usize,
) -> Result<Sample, String> {
    let mut node = Node::start(kind, bin, scratch);
    let target = node.address();
    let id = place_of(target)?;
    let bare = memory(&node)?;
    let crowd = Crowd::gather(&id).map_err(|error| format!("nodes: {error}"))?;
    let nodes = settle(&mut node, &crowd);
    let table = memory(&node)?;
    let askers = askers(target).map_err(|error| format!("askers: {error}"))?;
    announce(&askers)?;
    let mut served = Vec::new();
    for load in Load::ALL {
        let time = || running_time(node.process().id()).unwrap_or_default();
        let (begin, before) = (Instant::now(), time());
        let answered = ask_all(&askers, load, queries);
        let (cpu, wall) = (time().saturating_sub(before), begin.elapsed());
        served.push((
            load,
            Served {
                cpu,
                wall,
                ..answered
            },
        ));
    }
    Ok(Sample {
        bare,
        table,
        end: memory(&node)?,
        nodes,
        served,
    })
}

fn memory(node: &Node) -> Result<Memory, String> {
    let memory = node.process().usage().memory;
    memory.ok_or_else(|| "the node ended".to_owned())
}

/// Makes a node get to know the crowd, until its table is as full as it gets.
fn settle(node: &mut Node, crowd: &Crowd) -> u64 {
    let mut last = (0, Instant::now());
    wait::until_every(INTRODUCTIONS, "a full table", || {
        crowd.introduce_to(node);
        let known = node.known();
        if known != last.0 {
            last = (known, Instant::now());
        }
        (known > 0 && last.1.elapsed() > SETTLED).then_some(known)
    })
}

/// Where a node is, by its answer.
fn place_of(target: SocketAddr) -> Result<NodeId, String> {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        // It is not to be asked back: it goes away.
        socket.send_to(&query(Method::Ping), target)?;
        let mut buffer = [0; 2_048];
        let (length, _) = socket.recv_from(&mut buffer)?;
        let message = Message::decode(&buffer[..length]).map_err(io::Error::other)?;
        match message.body {
            Body::Response(response) => Ok(response.sender),
            Body::Query(_) | Body::Error(_) => Err(io::Error::other("no answer to a ping")),
        }
    };
    ask().map_err(|error: io::Error| format!("{target}: {error}"))
}

/// Nodes that are there, and answer with each other's addresses.
struct Crowd {
    nodes: Vec<(NodeInfo, Arc<Async<UdpSocket>>)>,
    _tasks: Vec<Task<io::Result<()>>>,
}

impl Crowd {
    /// As many nodes around a place as could be in the table of one who is there.
    fn gather(around: &NodeId) -> io::Result<Self> {
        let mut nodes = Vec::new();
        for bucket in 0..BUCKETS {
            let wanted = WANTED.get(bucket).copied();
            for number in 0..wanted.unwrap_or(WANTED_ELSEWHERE) {
                let [high, low] = (nodes.len() as u16).to_be_bytes();
                let socket = Async::<UdpSocket>::bind((Ipv4Addr::new(127, 77, high, low), 0))?;
                let address = socket.get_ref().local_addr()?;
                let id = place(around, bucket, number);
                nodes.push((NodeInfo { id, address }, Arc::new(socket)));
            }
        }
        let all: Arc<[NodeInfo]> = nodes.iter().map(|(info, _)| *info).collect();
        let tasks = nodes.iter().map(|(info, socket)| {
            let (info, socket, all) = (*info, Arc::clone(socket), Arc::clone(&all));
            smol::spawn(async move {
                let mut buffer = [0; 2_048];
                loop {
                    let (length, from) = socket.recv_from(&mut buffer).await?;
                    if let Some(answer) = answer(&buffer[..length], &info, &all) {
                        socket.send_to(&answer, from).await?;
                    }
                }
            })
        });
        let _tasks = tasks.collect();
        Ok(Self { nodes, _tasks })
    }

    /// Lets a node hear of all of them.
    fn introduce_to(&self, node: &mut Node) {
        let target = node.address();
        for (info, socket) in &self.nodes {
            let hello = Query {
                sender: info.id,
                method: Method::Ping,
            };
            // One that is lost is said again.
            let _ = socket
                .get_ref()
                .send_to(&encode(b"hi", Body::Query(hello)), target);
            node.introduce(info.address);
        }
    }
}

fn answer(data: &[u8], info: &NodeInfo, all: &[NodeInfo]) -> Option<Bytes> {
    let message = Message::decode(data).ok()?;
    let Body::Query(query) = message.body else {
        return None;
    };
    let nodes = match query.method {
        Method::FindNode { target, .. } => {
            let mut nodes = all.to_vec();
            nodes.sort_by_key(|node| node.id.distance(&target));
            nodes.truncate(8);
            Some(nodes)
        }
        Method::GetPeers { .. } => Some(Vec::new()),
        Method::Ping
        | Method::AnnouncePeer { .. }
        | Method::Get { .. }
        | Method::Put { .. }
        | Method::Unknown { .. }
        | Method::Invalid { .. } => None,
    };
    let response = Response {
        sender: info.id,
        nodes,
        token: Some(b"token"),
        ..Response::default()
    };
    Some(encode(message.transaction, Body::Response(response)))
}

/// Somebody who asks: a party by its own port and address.
struct Asker {
    number: usize,
    socket: UdpSocket,
}

impl Asker {
    fn send(&self, data: &[u8]) -> bool {
        self.socket.send(data).is_ok()
    }

    /// The next answer, if it comes in time.
    fn answer<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            let length = self.socket.recv(buffer).ok()?;
            // Who asks is asked whether it is there, and has no time to answer.
            let message = Message::decode(&buffer[..length]).ok()?;
            if matches!(message.body, Body::Response(_)) {
                return Some(&buffer[..length]);
            }
        }
    }
}

fn askers(target: SocketAddr) -> io::Result<Vec<Asker>> {
    (0..ASKERS)
        .map(|number| {
            let [_, _, high, low] = (number as u32).to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 99, high, low), 0))?;
            socket.connect(target)?;
            socket.set_read_timeout(Some(LOST))?;
            Ok(Asker { number, socket })
        })
        .collect()
}

/// Gives the torrents their peers.
fn announce(askers: &[Asker]) -> Result<(), String> {
    let mut taken = 0;
    let mut buffer = [0; 2_048];
    for asker in askers {
        let info_hash = info_hash(asker.number % TORRENTS);
        asker.send(&query(get_peers(info_hash)));
        let Some(token) = asker.answer(&mut buffer).and_then(token) else {
            continue;
        };
        let announce = Method::AnnouncePeer {
            info_hash,
            port: 6881,
            implied_port: false,
            seed: false,
            token: &token,
        };
        asker.send(&query(announce));
        taken += usize::from(asker.answer(&mut buffer).is_some());
    }
    match taken * 10 >= askers.len() * 9 {
        true => Ok(()),
        false => Err(format!(
            "only {taken} of {} announces were taken",
            askers.len()
        )),
    }
}

fn token(data: &[u8]) -> Option<Vec<u8>> {
    match Message::decode(data).ok()?.body {
        Body::Response(response) => response.token.map(<[u8]>::to_vec),
        Body::Query(_) | Body::Error(_) => None,
    }
}

/// Lets all askers in turn ask so much in all.
fn ask_all(askers: &[Asker], load: Load, queries: usize) -> Served {
    let each = queries / THREADS;
    let parts = askers.chunks(askers.len().div_ceil(THREADS));
    thread::scope(|scope| {
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(move || ask(part, load, each)))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .flatten()
            .fold(Served::default(), |all, one| Served {
                asked: all.asked + one.asked,
                answers: all.answers + one.answers,
                bytes: all.bytes + one.bytes,
                ..all
            })
    })
}

fn ask(askers: &[Asker], load: Load, queries: usize) -> Served {
    let mut served = Served::default();
    let mut buffer = [0; 2_048];
    for window in askers.chunks(WINDOW).cycle() {
        for asker in window {
            let number = served.asked;
            let data = match load {
                Load::Ping => query(Method::Ping),
                Load::FindNode => query(Method::FindNode {
                    target: NodeId::from(info_hash(number)),
                    want: None,
                }),
                Load::GetPeers => query(get_peers(info_hash(number % TORRENTS))),
            };
            asker.send(&data);
            served.asked += 1;
        }
        for asker in window {
            if let Some(answer) = asker.answer(&mut buffer) {
                served.answers += 1;
                served.bytes += answer.len();
            }
        }
        if served.asked >= queries {
            return served;
        }
    }
    served
}
