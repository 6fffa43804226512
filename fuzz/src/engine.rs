//! Sequences of events, drawn from bytes, into an engine that checks its invariants after each.
//!
//! Peers shake hands and say valid messages with drawn numbers, or bytes; disks, trackers and nodes answer rightly, or
//! oddly; and what an embedder tells (lengths, times, ids, limits) is drawn from all there is, the ends above all.

mod packets;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::action::DiskJob;
use anabranch_core::command::{AddTorrent, Command, Priority, RateLimits, SeedGoal};
use anabranch_core::dht::DhtCommand;
use anabranch_core::event::{
    CloseReason, ContactError, DiskDone, DiskError, DiskErrorKind, ForeignFile, HttpReply,
    LongerFile, OpResult, Opened, PartialPiece, Undelivered,
};
use anabranch_core::id::{ConnId, OpId, RequestId, StorageKey, Ticket, TorrentId};
use anabranch_core::metainfo::{Creation, Creator, FileIndex, Magnet, Node, PieceIndex};
use anabranch_core::wire::{
    BlockRequest, Decoder, Frame, Handshake, HandshakeDecoder, Limits, Message, MetadataMessage,
    PeerId, Reserved, encode_piece_header, krpc,
};
use anabranch_core::{
    Action, Actions, Bitfield, Config, Engine, Event, Instant, Seed, SeedChoke, Transports,
    UnixTime, Wake,
};
use bytes::{Bytes, BytesMut};

use self::packets::Caller;
use crate::draw::Draw;

/// Events of one sequence, at most.
const MAX_EVENTS: usize = 4_000;

/// Actions that one event may lead to. The most are those of a choke: each of a peer's requests is rejected.
const MAX_ACTIONS: usize = 10_000;

/// What a sequence came to, for those who measure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Events fed.
    pub events: usize,
    /// Actions that they led to.
    pub actions: usize,
    /// The most that a single event led to.
    pub most_actions: usize,
    /// Connections by uTP over which the engine said something.
    pub spoken: usize,
}

/// An engine takes whatever comes, without a panic, with its invariants kept, in bounded steps.
pub fn engine(data: &[u8]) {
    sequence(data);
}

/// The same, and what it came to.
pub fn sequence(data: &[u8]) -> Outcome {
    let mut draw = Draw(data);
    let mut run = Run::new(&mut draw);
    while let Some(step) = draw.next() {
        if run.outcome.events >= MAX_EVENTS {
            break;
        }
        run.step(step, &mut draw);
    }
    run.outcome
}

/// What is drawn of the engine's own vocabulary.
trait DrawTerms {
    fn bitfield(&mut self, pieces: u32) -> Bitfield;
    fn limits(&mut self) -> RateLimits;
}

impl DrawTerms for Draw<'_> {
    fn bitfield(&mut self, pieces: u32) -> Bitfield {
        let len = match self.byte() {
            0 => self.byte().into(),
            1 => 0,
            _ => pieces,
        };
        match self.byte() % 3 {
            0 => Bitfield::new(len),
            1 => Bitfield::full(len),
            _ => {
                let mut map = Bitfield::new(len);
                for _ in 0..self.byte() % 32 {
                    map.insert(self.byte().into());
                }
                map
            }
        }
    }

    fn limits(&mut self) -> RateLimits {
        RateLimits {
            download: self.some(Self::number),
            upload: self.some(Self::number),
        }
    }
}

/// A connection as its other end sees it.
struct Link {
    conn: ConnId,
    /// Dialled by the engine, and not yet told to stand.
    dialled: bool,
    greeted: bool,
    /// The engine's handshake, until it came.
    greeting: Option<HandshakeDecoder>,
    decoder: Decoder,
    torrent: usize,
    unsent: u64,
    /// What the engine asked for.
    asked: VecDeque<BlockRequest>,
    /// Pieces of the metadata that it asked for.
    metadata: VecDeque<u32>,
}

enum Job {
    Disk(DiskJob),
    Resolve,
    Http,
}

struct Run {
    engine: Engine,
    now: Instant,
    actions: Actions,
    torrents: [Creation; 2],
    links: Vec<Link>,
    jobs: Vec<(OpId, Job)>,
    /// Ids that are of no more use.
    old_conns: Vec<ConnId>,
    old_ops: Vec<OpId>,
    datagrams: VecDeque<(SocketAddr, Bytes)>,
    /// Peers that come by uTP.
    callers: Vec<Caller>,
    requests: u64,
    tickets: u64,
    outcome: Outcome,
}

fn creation(name: &str, pieces: u32, piece_length: u32) -> Creation {
    let creator = Creator::single_file(name, u64::from(pieces) * u64::from(piece_length) - 777)
        .with_piece_length(piece_length)
        .with_tracker_tier([
            "udp://tracker.example:80/announce",
            "http://tracker.example/a",
        ]);
    let hashes = vec![7; 20 * pieces as usize];
    creator.finish(&hashes).expect("one digest a piece")
}

fn config(draw: &mut Draw<'_>) -> Config {
    let mut config = Config::default();
    config.max_torrents = 8;
    config.max_connections = 64;
    config.dht.enabled = draw.chance(128);
    if draw.chance(128) {
        config.max_connections = draw.small() % 128;
        config.max_connections_per_torrent = draw.small();
        config.max_connections_per_address = draw.small();
        config.max_half_open = draw.small();
        config.max_incoming_handshakes = draw.small();
        config.max_connects_per_second = draw.small();
        config.unchoke_slots = draw.small();
        config.seed_choke = [SeedChoke::Fastest, SeedChoke::RoundRobin][draw.below(2)];
        config.limits = draw.limits();
    }
    if draw.chance(64) {
        config.max_peer_requests = draw.number() as u32;
        config.default_peer_reqq = draw.number() as u32;
        config.write_budget = draw.number() as u32;
        config.read_budget = draw.number() as u32;
        config.check_depth = draw.number() as u32;
        config.tracker_numwant = draw.number() as u32;
        config.max_metadata_size = draw.number() as u32;
        config.dht.reply_rate = draw.some(Draw::number);
    }
    if draw.chance(64) {
        for slot in [
            &mut config.connect_timeout,
            &mut config.handshake_timeout,
            &mut config.silence_timeout,
            &mut config.keep_alive,
            &mut config.idle_timeout,
            &mut config.checkpoint_interval,
            &mut config.goodbye_timeout,
        ] {
            *slot = draw.duration();
        }
    }
    config
}

impl Run {
    fn new(draw: &mut Draw<'_>) -> Self {
        let now = match draw.byte() {
            0 => Instant::from_nanos(draw.number()),
            _ => Instant::ZERO,
        };
        let mut config = config(draw);
        let seed = draw.byte();
        config.transports = match seed {
            0..=63 => Transports::Tcp,
            64..=127 => Transports::Utp,
            _ => Transports::Both,
        };
        let mut run = Self {
            engine: Engine::new(config, Seed([seed; 32]), now, UnixTime(draw.number())),
            now,
            actions: Actions::new(),
            torrents: [
                creation("data", 12, 32 << 10),
                creation("more", 40, 16 << 10),
            ],
            links: Vec::new(),
            jobs: Vec::new(),
            old_conns: Vec::new(),
            old_ops: Vec::new(),
            datagrams: VecDeque::new(),
            callers: Vec::new(),
            requests: 0,
            tickets: 0,
            outcome: Outcome::default(),
        };
        run.command(Command::Listening {
            address: Some(SocketAddr::from(([10, 9, 9, 9], 6881))),
        });
        run.add(0, draw);
        run
    }

    fn add(&mut self, index: usize, draw: &mut Draw<'_>) {
        let creation = &self.torrents[index];
        let link = draw.chance(64);
        let magnet = Magnet::of(&creation.metainfo).to_string();
        let add = AddTorrent {
            metainfo: if link {
                Bytes::new()
            } else {
                creation.torrent.clone()
            },
            magnet: link.then_some(magnet),
            metadata_only: draw.chance(16),
            storage: StorageKey(index as u64),
            paused: draw.chance(16),
            sequential: draw.chance(64),
            recheck: draw.chance(32),
            limits: if draw.chance(64) {
                draw.limits()
            } else {
                RateLimits::default()
            },
            goal: goal(draw),
            peers: (0..draw.byte() % 8).map(|_| draw.address()).collect(),
            ..AddTorrent::default()
        };
        self.command(Command::AddTorrent(add));
    }

    fn command(&mut self, command: Command) {
        self.requests += 1;
        self.feed(Event::Command {
            request: RequestId(self.requests),
            command: Box::new(command),
        });
    }

    fn feed(&mut self, event: Event) {
        self.outcome.events += 1;
        let wake = self.engine.handle(self.now, event, &mut self.actions);
        self.engine.check();
        if let Wake::At(at, reason) = wake {
            assert!(at > self.now.min(Instant::LATEST), "{reason:?} was due");
        }
        let actions: Vec<Action> = self.actions.drain().collect();
        self.outcome.actions += actions.len();
        self.outcome.most_actions = self.outcome.most_actions.max(actions.len());
        assert!(actions.len() <= MAX_ACTIONS, "{} actions", actions.len());
        for action in actions {
            self.obey(action);
        }
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::Connect { conn, .. } => self.links.push(link(conn, true)),
            Action::Accept { conn, .. } => self.links.push(link(conn, false)),
            Action::Send { conn, data } => {
                if let Some(link) = self.links.iter_mut().find(|link| link.conn == conn) {
                    link.hear(data);
                }
            }
            Action::Disk { op, job, .. } => self.jobs.push((op, Job::Disk(job))),
            Action::Resolve { op, .. } => self.jobs.push((op, Job::Resolve)),
            Action::Http { op, .. } => self.jobs.push((op, Job::Http)),
            Action::Datagram(outbound) => {
                self.overhear(&outbound);
                if self.datagrams.len() == 32 {
                    self.datagrams.pop_front();
                }
                self.datagrams.push_back((outbound.to, outbound.data));
            }
            // The end is drawn, as everything is.
            Action::Close { .. }
            | Action::Refuse { .. }
            | Action::Read { .. }
            | Action::Cancel { .. }
            | Action::Reply { .. }
            | Action::Notify(_) => {}
        }
    }

    fn step(&mut self, step: u8, draw: &mut Draw<'_>) {
        match step % 32 {
            2 | 12..=14 | 26 | 31 if step >= 128 => self.packets(draw),
            0..=1 => self.pass(draw),
            2..=3 => self.knock(draw),
            4..=6 => self.greet(draw),
            7..=13 => self.talk(draw),
            14 => self.babble(draw),
            15..=16 => self.deliver(draw),
            17..=18 => self.sent(draw),
            19 => self.close(draw),
            20..=24 => self.answer(draw),
            25 => self.answer_oddly(draw),
            26 => self.datagram(draw),
            27..=28 => self.reply(draw),
            29 => self.stale(draw),
            _ => self.wish(draw),
        }
    }

    /// Time passes, or goes back.
    fn pass(&mut self, draw: &mut Draw<'_>) {
        match draw.byte() % 32 {
            0 => self.now = Instant::from_nanos(draw.number()),
            1 => self.now = self.now + draw.duration(),
            2..=12 => self.now = self.now + Duration::from_secs(draw.byte().into()),
            _ => self.now = self.now + Duration::from_millis(draw.byte().into()),
        }
        if draw.chance(16) {
            self.feed(Event::Wall(UnixTime(draw.number())));
        } else {
            self.feed(Event::Tick);
        }
    }

    fn knock(&mut self, draw: &mut Draw<'_>) {
        self.tickets += 1;
        let ticket = if draw.chance(8) {
            draw.number()
        } else {
            self.tickets
        };
        self.feed(Event::Incoming {
            ticket: Ticket(ticket),
            from: draw.address(),
        });
    }

    /// A connection stands, or its other end says its handshake.
    fn greet(&mut self, draw: &mut Draw<'_>) {
        let at = draw.below(self.links.iter().filter(|link| !link.greeted).count());
        let mut waiting = self.links.iter_mut().filter(|link| !link.greeted);
        let Some(link) = waiting.nth(at) else {
            return self.knock(draw);
        };
        let conn = link.conn;
        if std::mem::take(&mut link.dialled) {
            return self.feed(Event::Connected { conn });
        }
        link.greeted = true;
        link.torrent = draw.below(8) / 7;
        let features = draw.byte();
        let mut id = [draw.byte(); 20];
        id[19] = conn.slot() as u8;
        let handshake = Handshake {
            reserved: Reserved::default()
                .with_fast(features & 3 != 0)
                .with_extended(features & 12 != 0)
                .with_dht(features & 16 != 0),
            info_hash: *self.torrents[link.torrent].metainfo.info_hash().as_bytes(),
            peer_id: PeerId(id),
        };
        let mut data = BytesMut::from(&handshake.encode()[..]);
        match draw.byte() % 4 {
            0 => Message::HaveAll.encode(&mut data),
            1 => Message::HaveNone.encode(&mut data),
            2 => Message::Bitfield(draw.bitfield(12).to_wire()).encode(&mut data),
            _ => {}
        }
        self.feed(Event::Received {
            conn,
            data: data.freeze(),
        });
    }

    /// A connection that has come far enough, if there is one.
    fn partner(&mut self, draw: &mut Draw<'_>) -> Option<&mut Link> {
        let at = draw.below(self.links.iter().filter(|link| link.greeted).count());
        self.links.iter_mut().filter(|link| link.greeted).nth(at)
    }

    fn talk(&mut self, draw: &mut Draw<'_>) {
        let Some(conn) = self.partner(draw).map(|link| link.conn) else {
            return self.greet(draw);
        };
        let mut data = BytesMut::new();
        let times = match draw.byte() {
            byte @ 0..=8 => usize::from(byte) * 100,
            byte => usize::from(byte % 4) + 1,
        };
        let message = message(draw);
        for _ in 0..times {
            message.encode(&mut data);
        }
        if !data.is_empty() {
            let data = data.freeze();
            self.feed(Event::Received { conn, data });
        }
    }

    fn babble(&mut self, draw: &mut Draw<'_>) {
        let at = draw.below(self.links.len());
        if let Some(link) = self.links.get(at) {
            let (conn, data) = (link.conn, draw.bytes());
            if !data.is_empty() {
                self.feed(Event::Received { conn, data });
            }
        }
    }

    /// What the engine asked for comes, or about that.
    fn deliver(&mut self, draw: &mut Draw<'_>) {
        let many = 1 + draw.below(16);
        let odd = draw.chance(16);
        let info = [0, 1].map(|at| self.torrents[at].metainfo.info_bytes().to_vec());
        let Some(link) = self.partner(draw) else {
            return;
        };
        let mut data = BytesMut::new();
        for _ in 0..many {
            if let Some(piece) = link.metadata.pop_front() {
                let info = &info[link.torrent];
                let from = (piece as usize * (16 << 10)).min(info.len());
                let to = (from + (16 << 10)).min(info.len());
                let message = MetadataMessage::Data {
                    piece,
                    total_size: Some(info.len() as u32),
                    data: Bytes::copy_from_slice(&info[from..to]),
                };
                // The id under which the engine wants them.
                let (id, payload) = (2, message.encode());
                Message::Extended { id, payload }.encode(&mut data);
            }
            if let Some(mut block) = link.asked.pop_front() {
                if odd {
                    block.begin ^= 1 << draw.below(20);
                    block.len = block.len.saturating_sub(draw.byte().into());
                }
                encode_piece_header(block, &mut data);
                data.resize(data.len() + block.len as usize, 7);
            }
        }
        let conn = link.conn;
        if !data.is_empty() {
            let data = data.freeze();
            self.feed(Event::Received { conn, data });
        }
    }

    fn sent(&mut self, draw: &mut Draw<'_>) {
        let at = draw.below(self.links.len());
        if let Some(link) = self.links.get_mut(at) {
            let len = match draw.byte() {
                0..=15 => draw.number(),
                16..=127 => link.unsent / 2,
                _ => link.unsent,
            };
            link.unsent = link.unsent.saturating_sub(len);
            let conn = link.conn;
            self.feed(Event::Sent { conn, len });
        }
    }

    fn close(&mut self, draw: &mut Draw<'_>) {
        if self.links.is_empty() {
            return;
        }
        let link = self.links.swap_remove(draw.below(self.links.len()));
        let conn = link.conn;
        self.old_conns.push(conn);
        let reasons = [CloseReason::Local, CloseReason::Remote, CloseReason::Denied];
        let reason = reasons[draw.below(reasons.len())];
        self.feed(Event::Closed { conn, reason });
    }

    /// The oldest operations end as they should.
    fn answer(&mut self, draw: &mut Draw<'_>) {
        for _ in 0..=draw.byte() % 16 {
            if self.jobs.is_empty() {
                return;
            }
            let at = if draw.chance(64) {
                draw.below(self.jobs.len())
            } else {
                0
            };
            let (op, job) = self.jobs.remove(at);
            self.old_ops.push(op);
            let result = match job {
                Job::Disk(job) => OpResult::Disk(Ok(done(job, draw))),
                Job::Resolve => {
                    let addresses = (0..draw.byte() % 4).map(|_| draw.address().ip());
                    OpResult::Resolved(Ok(addresses.collect()))
                }
                Job::Http => {
                    let mut body = format!("d8:intervali{}e5:peers", draw.number()).into_bytes();
                    body.extend_from_slice(b"12:\x0a\x00\x05\x07\x1a\xe1\x0a\x00\x06\x07\x1a\xe1e");
                    OpResult::Http(Ok(HttpReply {
                        status: 200,
                        body: body.into(),
                        retry_after: draw.chance(16).then(|| draw.number() as u32),
                    }))
                }
            };
            self.feed(Event::Done { op, result });
        }
    }

    fn answer_oddly(&mut self, draw: &mut Draw<'_>) {
        if self.jobs.is_empty() {
            return;
        }
        let (op, _) = self.jobs.remove(draw.below(self.jobs.len()));
        self.old_ops.push(op);
        let result = odd_result(draw);
        self.feed(Event::Done { op, result });
    }

    fn datagram(&mut self, draw: &mut Draw<'_>) {
        let (from, data) = (draw.address(), draw.bytes());
        if draw.chance(64) {
            self.feed(Event::Multicast { from, data });
        } else if draw.chance(64) {
            let to = self.datagrams.pop_front().map_or(from, |(to, _)| to);
            let reasons = [
                Undelivered::Refused,
                Undelivered::Unreachable,
                Undelivered::Denied,
            ];
            let reason = reasons[draw.below(reasons.len())];
            self.feed(Event::Undelivered { to, reason });
        } else {
            self.feed(Event::datagram(from, data));
        }
    }

    /// A tracker or a node answers.
    fn reply(&mut self, draw: &mut Draw<'_>) {
        let Some((to, data)) = self.datagrams.pop_front() else {
            return self.query(draw);
        };
        let mut answer = Vec::new();
        if let Ok(query) = krpc::Message::decode(&data) {
            answer.extend_from_slice(b"d1:rd2:id20:");
            answer.extend_from_slice(&[draw.byte(); 20]);
            let nodes = usize::from(draw.byte() % 9);
            answer.extend_from_slice(format!("5:nodes{}:", nodes * 26).as_bytes());
            for _ in 0..nodes {
                answer.extend_from_slice(&[draw.byte(); 20]);
                answer.extend_from_slice(&[10, draw.byte(), draw.byte(), 7, 0x1a, 0xe1]);
            }
            answer.extend_from_slice(b"5:token4:aaaae1:t");
            answer.extend_from_slice(format!("{}:", query.transaction.len()).as_bytes());
            answer.extend_from_slice(query.transaction);
            answer.extend_from_slice(b"1:y1:re");
        } else if data.len() >= 16 {
            answer.extend_from_slice(&data[8..16]);
            for _ in 0..3 {
                answer.extend_from_slice(&(draw.number() as u32).to_be_bytes());
            }
            for _ in 0..draw.byte() % 8 {
                answer.extend_from_slice(&[10, 0, draw.byte(), 7, 0x1a, 0xe1]);
            }
            if data.len() == 16 {
                answer.truncate(16);
            }
        }
        self.feed(Event::datagram(to, answer.into()));
    }

    /// Another node asks.
    fn query(&mut self, draw: &mut Draw<'_>) {
        let mut query = b"d1:ad2:id20:".to_vec();
        query.extend_from_slice(&[draw.byte(); 20]);
        let name = match draw.byte() % 3 {
            0 => "4:ping",
            1 => {
                query.extend_from_slice(b"6:target20:");
                query.extend_from_slice(&[draw.byte(); 20]);
                "9:find_node"
            }
            _ => {
                query.extend_from_slice(b"9:info_hash20:");
                query.extend_from_slice(&[draw.byte(); 20]);
                "9:get_peers"
            }
        };
        query.extend_from_slice(format!("e1:q{name}1:t2:aa1:y1:qe").as_bytes());
        self.feed(Event::datagram(draw.address(), query.into()));
    }

    /// Something about what is no more.
    fn stale(&mut self, draw: &mut Draw<'_>) {
        let conn = self
            .old_conns
            .get(draw.below(self.old_conns.len()))
            .copied();
        let op = self.old_ops.get(draw.below(self.old_ops.len())).copied();
        match (draw.byte() % 5, conn, op) {
            (0, Some(conn), _) => self.feed(Event::Connected { conn }),
            (1, Some(conn), _) => self.feed(Event::Sent {
                conn,
                len: draw.number(),
            }),
            (2, Some(conn), _) => {
                let data = Bytes::from_static(b"\x13BitTorrent protocol");
                self.feed(Event::Received { conn, data });
            }
            (3, Some(conn), _) => self.feed(Event::Closed {
                conn,
                reason: CloseReason::Local,
            }),
            (_, _, Some(op)) => {
                let result = odd_result(draw);
                self.feed(Event::Done { op, result });
            }
            _ => {}
        }
    }

    /// A command.
    fn wish(&mut self, draw: &mut Draw<'_>) {
        let torrents: Vec<TorrentId> = self.engine.torrents().collect();
        let torrent = torrents.get(draw.below(torrents.len())).copied();
        let Some(torrent) = torrent else {
            return self.add(draw.below(2), draw);
        };
        let command = match draw.byte() % 24 {
            0 => return self.add(draw.below(2), draw),
            1 => Command::Pause { torrent },
            2..=4 => Command::Resume { torrent },
            5 => Command::Recheck { torrent },
            6 => Command::Checkpoint { torrent },
            7 => Command::RemoveTorrent {
                torrent,
                delete_data: draw.chance(128),
            },
            8 => Command::SetPriorities {
                torrent,
                files: vec![(
                    FileIndex::new(draw.small()),
                    [
                        Priority::Skip,
                        Priority::Low,
                        Priority::Normal,
                        Priority::High,
                    ][draw.below(4)],
                )],
            },
            9 => Command::SetSequential {
                torrent,
                sequential: draw.chance(128),
            },
            10..=11 => Command::SetLimits {
                torrent: draw.chance(128).then_some(torrent),
                limits: draw.limits(),
            },
            12 => Command::SetGoal {
                torrent,
                goal: goal(draw),
            },
            13..=15 => Command::AddPeers {
                torrent,
                peers: (0..draw.byte() % 32).map(|_| draw.address()).collect(),
            },
            16 => Command::AddPeerHost {
                torrent,
                host: "peer.example".to_owned(),
                port: draw.number() as u16,
            },
            17 => Command::Reannounce { torrent },
            18 => Command::Scrape { torrent },
            19 => Command::LocalDiscovery {
                v4: draw.chance(128),
                v6: draw.chance(128),
            },
            20 => Command::Dht(DhtCommand::GetPeers {
                info_hash: self.torrents[draw.below(2)].metainfo.info_hash(),
            }),
            21 => Command::Dht(DhtCommand::AddNode {
                node: Node {
                    host: "10.0.3.7".to_owned(),
                    port: 6881,
                },
            }),
            22 => Command::Listening {
                address: draw.some(Draw::address),
            },
            _ if draw.chance(8) => Command::Shutdown,
            _ => Command::AddTrackers {
                torrent,
                urls: vec!["udp://other.example:1/announce".to_owned()],
            },
        };
        self.command(command);
    }
}

fn goal(draw: &mut Draw<'_>) -> SeedGoal {
    if !draw.chance(64) {
        return SeedGoal::default();
    }
    SeedGoal {
        ratio_permille: draw.some(|draw| draw.number() as u32),
        time: draw.some(Draw::duration),
    }
}

fn link(conn: ConnId, dialled: bool) -> Link {
    Link {
        conn,
        dialled,
        greeted: false,
        greeting: Some(HandshakeDecoder::new()),
        decoder: Decoder::new(Limits::default()),
        torrent: 0,
        unsent: 0,
        asked: VecDeque::new(),
        metadata: VecDeque::new(),
    }
}

impl Link {
    fn hear(&mut self, mut data: Bytes) {
        self.unsent = self.unsent.saturating_add(data.len() as u64);
        if let Some(greeting) = &mut self.greeting {
            match greeting.decode(&mut data) {
                Ok(Some(_)) => self.greeting = None,
                Ok(None) => return,
                Err(error) => panic!("the engine's handshake: {error}"),
            }
        }
        loop {
            match self.decoder.decode(&mut data) {
                Ok(Some(Frame::Message(Message::Request(request)))) => {
                    self.asked.push_back(request)
                }
                Ok(Some(Frame::Message(Message::Extended { id: 3, payload }))) => {
                    let message = MetadataMessage::decode(&payload);
                    if let Ok(Some(MetadataMessage::Request { piece })) = message {
                        self.metadata.push_back(piece);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => panic!("the engine's message: {error}"),
            }
        }
    }
}

fn message(draw: &mut Draw<'_>) -> Message {
    let piece = |draw: &mut Draw<'_>| match draw.byte() {
        0 => draw.number() as u32,
        byte => u32::from(byte % 13),
    };
    let block = |draw: &mut Draw<'_>| BlockRequest {
        piece: piece(draw),
        begin: match draw.byte() {
            0 => draw.number() as u32,
            byte => u32::from(byte % 2) << 14,
        },
        len: match draw.byte() {
            0 => draw.number() as u32,
            _ => 1 << 14,
        },
    };
    match draw.byte() % 24 {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2..=4 => Message::Unchoke,
        5..=6 => Message::Interested,
        7 => Message::NotInterested,
        8..=9 => Message::Have(piece(draw)),
        10 => Message::Bitfield(draw.bitfield(12).to_wire()),
        11 => Message::HaveAll,
        12 => Message::HaveNone,
        13..=15 => Message::Request(block(draw)),
        16 => Message::Cancel(block(draw)),
        17 => Message::Port(draw.number() as u16),
        18 => Message::Suggest(piece(draw)),
        19 => Message::Reject(block(draw)),
        20 => Message::AllowedFast(piece(draw)),
        21 => Message::Extended {
            id: 0,
            payload: format!(
                "d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei{}e4:reqqi{}ee",
                match draw.byte() {
                    0 => draw.number(),
                    _ => 1_000,
                },
                draw.number() as i64,
            )
            .into(),
        },
        22 => Message::Extended {
            id: 2,
            payload: match draw.byte() % 3 {
                0 => MetadataMessage::Request {
                    piece: draw.small(),
                },
                1 => MetadataMessage::Reject {
                    piece: draw.small(),
                },
                _ => MetadataMessage::Data {
                    piece: draw.small(),
                    total_size: draw.some(Draw::small),
                    data: draw.bytes(),
                },
            }
            .encode(),
        },
        _ => Message::Extended {
            id: draw.byte() % 4,
            payload: draw.bytes(),
        },
    }
}

fn done(job: DiskJob, draw: &mut Draw<'_>) -> DiskDone {
    match job {
        DiskJob::Open(open) => {
            let pieces = open.metainfo.piece_count();
            DiskDone::Opened(Box::new(opened(pieces, draw)))
        }
        DiskJob::Verify { .. } => DiskDone::Verified {
            matches: draw.chance(128),
        },
        DiskJob::Store { data, .. } => {
            let count = data.len() + usize::from(draw.chance(8));
            let digests = vec![[draw.byte(); 20]; count];
            if draw.chance(32) {
                DiskDone::Mismatched { blocks: digests }
            } else {
                DiskDone::Stored {
                    blocks: draw.chance(128).then_some(digests),
                }
            }
        }
        DiskJob::Write { .. } => DiskDone::Written,
        DiskJob::Read { len, .. } => DiskDone::Read {
            data: vec![7; len as usize].into(),
        },
        DiskJob::Select { .. } => DiskDone::Selected,
        DiskJob::Trim { .. } => DiskDone::Trimmed {
            cut: draw.chance(128),
        },
        DiskJob::Checkpoint { .. } => DiskDone::Checkpointed,
        DiskJob::Probe { .. } => DiskDone::Usable,
        DiskJob::Close | DiskJob::Remove { .. } => DiskDone::Closed,
    }
}

/// What a storage may have found, whatever there is.
fn opened(pieces: u32, draw: &mut Draw<'_>) -> Opened {
    let mut found = Opened {
        trusted: draw.bitfield(pieces),
        doubtful: draw.bitfield(pieces),
        uploaded: draw.number(),
        downloaded: draw.number(),
        ..Opened::default()
    };
    let file = FileIndex::new(draw.byte() as u32 % 4);
    if draw.chance(32) {
        let path = "data".to_owned();
        found.foreign.push(ForeignFile { file, path });
    }
    if draw.chance(32) {
        let found_len = draw.number();
        found.longer.push(LongerFile {
            file,
            found: found_len,
        });
    }
    for _ in 0..draw.byte() % 4 {
        found.partial.push(PartialPiece {
            piece: PieceIndex::new(u32::from(draw.byte()) % 16),
            blocks: draw.bitfield(4),
        });
    }
    found
}

fn odd_result(draw: &mut Draw<'_>) -> OpResult {
    let kinds = [
        DiskErrorKind::NoSpace,
        DiskErrorKind::Io,
        DiskErrorKind::NotFound,
    ];
    match draw.byte() % 9 {
        0..=2 => OpResult::Disk(Err(DiskError {
            kind: kinds[draw.below(kinds.len())],
            file: "data".to_owned(),
            message: "it failed".to_owned(),
        })),
        3 => OpResult::Disk(Ok(DiskDone::Read { data: draw.bytes() })),
        4 => OpResult::Disk(Ok(DiskDone::Opened(Box::new(opened(12, draw))))),
        5 => OpResult::Disk(Ok(DiskDone::Mismatched {
            blocks: vec![[1; 20]; draw.byte().into()],
        })),
        6 => OpResult::Http(Ok(HttpReply {
            status: draw.number() as u16,
            body: draw.bytes(),
            retry_after: None,
        })),
        7 => OpResult::Resolved(Err(ContactError::NoSuchHost)),
        _ => OpResult::Cancelled,
    }
}
