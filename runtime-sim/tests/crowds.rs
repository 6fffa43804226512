//! Crowds that connect to everybody and take all places: an honest download from an honest seed
//! ends all the same.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "members care for few events of all"
)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::wire::{
    BlockRequest, Handshake, Message, PeerId, Reserved, encode_piece_header,
};
use anabranch_sim::{Actor, ActorEvent, Content, HostConfig, Stage, World, seeds};
use bytes::BytesMut;
use common::{Swarm, real, strict};

/// Places of each torrent: fewer than the crowd has members.
const PLACES: u32 = 20;

/// How often a member does what it does.
const BEAT: Duration = Duration::from_secs(2);

/// How long a member that lost its connection waits before it comes back.
const RETURN: Duration = Duration::from_secs(20);

/// In this time the download is complete: without a crowd it takes some seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// What the members of a crowd do once they have shaken hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// They do not even shake hands.
    Dumb,
    Silent,
    KeepAlive,
    /// They want something, and then nothing, and then something.
    Flapping,
    /// They claim to have everything, want something, and neither ask nor answer.
    Promising,
    /// They take a block now and then.
    Trickling,
    /// They take a block a minute, and want something all the time.
    Miserly,
    /// They want something, ask for nothing, and are back at once when they had to go.
    Returning,
    /// They have everything, and give a block a minute.
    Giving,
}

const MANNERS: [Manner; 9] = [
    Manner::Dumb,
    Manner::Silent,
    Manner::KeepAlive,
    Manner::Flapping,
    Manner::Promising,
    Manner::Trickling,
    Manner::Miserly,
    Manner::Returning,
    Manner::Giving,
];

/// A host that connects to its targets, so many times to each.
#[derive(Debug)]
struct Member {
    content: Content,
    manner: Manner,
    targets: Vec<SocketAddr>,
    times: u32,
    conns: BTreeMap<u64, SocketAddr>,
    /// What came over a connection and was not looked at yet, from the handshake on.
    heard: BTreeMap<u64, BytesMut>,
    away: Vec<SocketAddr>,
    beats: u32,
}

const A_BLOCK: Message = Message::Request(BlockRequest {
    piece: 0,
    begin: 0,
    len: 1 << 14,
});

const BEAT_TOKEN: u64 = 1;
const RETURN_TOKEN: u64 = 2;

impl Member {
    fn dial(&mut self, stage: &mut Stage<'_>, to: SocketAddr) {
        let conn = stage.connect(to);
        self.conns.insert(conn, to);
    }

    fn greet(&self, stage: &mut Stage<'_>, conn: u64) {
        let mut id = *b"-CR0001-............";
        stage.chance.fill(&mut id[8..]);
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true),
            info_hash: *self.content.info_hash().as_bytes(),
            peer_id: PeerId(id),
        };
        let mut out = BytesMut::from(&handshake.encode()[..]);
        match self.manner {
            Manner::Dumb => return,
            Manner::Promising => {
                Message::HaveAll.encode(&mut out);
                Message::Interested.encode(&mut out);
            }
            Manner::Giving => {
                Message::HaveAll.encode(&mut out);
                Message::Unchoke.encode(&mut out);
            }
            Manner::Miserly | Manner::Returning => {
                Message::HaveNone.encode(&mut out);
                Message::Interested.encode(&mut out);
            }
            Manner::Silent | Manner::KeepAlive | Manner::Flapping | Manner::Trickling => {
                Message::HaveNone.encode(&mut out);
            }
        }
        stage.send(conn, out);
    }

    fn beat(&mut self, stage: &mut Stage<'_>) {
        if self.manner == Manner::Giving && self.beats.is_multiple_of(30) {
            self.give(stage);
        }
        let every = |beats: u32| self.beats.is_multiple_of(beats);
        let messages: &[Message] = match self.manner {
            Manner::Flapping if every(2) => &[Message::Interested],
            Manner::Flapping => &[Message::NotInterested],
            Manner::KeepAlive | Manner::Promising if every(20) => &[Message::KeepAlive],
            Manner::Trickling if every(15) => &[Message::Interested, A_BLOCK],
            Manner::Miserly if every(30) => &[A_BLOCK],
            Manner::Dumb
            | Manner::Silent
            | Manner::KeepAlive
            | Manner::Promising
            | Manner::Trickling
            | Manner::Miserly
            | Manner::Returning
            | Manner::Giving => return,
        };
        for conn in self.conns.keys() {
            let mut out = BytesMut::new();
            messages.iter().for_each(|message| message.encode(&mut out));
            stage.send(*conn, out);
        }
    }

    /// Gives everybody the block that it asked for first of what was not given yet.
    fn give(&mut self, stage: &mut Stage<'_>) {
        for (conn, heard) in &mut self.heard {
            let Some(block) = next_request(heard) else {
                continue;
            };
            let mut out = BytesMut::new();
            encode_piece_header(block, &mut out);
            let data = self.content.slice(block.piece, block.begin, block.len);
            out.extend_from_slice(&data);
            stage.send(*conn, out);
        }
    }
}

/// Takes the next request out of a stream of messages, and what is before it.
fn next_request(heard: &mut BytesMut) -> Option<BlockRequest> {
    while let Some(head) = heard.first_chunk::<4>() {
        let whole = 4 + u32::from_be_bytes(*head) as usize;
        if heard.len() < whole {
            return None;
        }
        let message = heard.split_to(whole);
        if let [_, _, _, _, 6, numbers @ ..] = &message[..] {
            let number = |at: usize| {
                numbers[at..]
                    .first_chunk()
                    .map(|four| u32::from_be_bytes(*four))
            };
            return Some(BlockRequest {
                piece: number(0)?,
                begin: number(4)?,
                len: number(8)?,
            });
        }
    }
    None
}

impl Actor for Member {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        match event {
            ActorEvent::Started => {
                for to in self.targets.clone() {
                    (0..self.times).for_each(|_| self.dial(stage, to));
                }
                stage.wake_in(BEAT, BEAT_TOKEN);
            }
            ActorEvent::Connected { conn } => self.greet(stage, conn),
            ActorEvent::Received { conn, data } => {
                let heard = self.heard.entry(conn).or_default();
                heard.extend_from_slice(&data);
                if heard.starts_with(b"\x13BitTorrent protocol") && heard.len() >= 68 {
                    let _ = heard.split_to(68);
                }
            }
            ActorEvent::Closed { conn, .. } => {
                self.away.extend(self.conns.remove(&conn));
                self.heard.remove(&conn);
                let wait = match self.manner {
                    Manner::Returning => BEAT,
                    _ => RETURN,
                };
                stage.wake_in(wait, RETURN_TOKEN);
            }
            ActorEvent::Timer { token: BEAT_TOKEN } => {
                self.beats += 1;
                self.beat(stage);
                stage.wake_in(BEAT, BEAT_TOKEN);
            }
            ActorEvent::Timer { .. } => {
                for to in std::mem::take(&mut self.away) {
                    self.dial(stage, to);
                }
            }
            _ => {}
        }
    }
}

/// An honest seed and, half a minute later, an honest download, and a crowd of so many hosts that
/// connect so many times to both of them.
fn run(seed: u64, manner: Manner, hosts: u32, times: u32) {
    // Those that give need twenty minutes for all of it.
    let length = match manner {
        Manner::Giving => 6_000_000,
        _ => 1_500_000,
    };
    let content = real(length, 65_536);
    let mut swarm = Swarm::empty(strict(seed), &content);
    let mut config = HostConfig::with_rate(1_000_000);
    config.engine.max_connections_per_torrent = PLACES;
    config.engine.max_incoming_handshakes = PLACES;
    config.engine.max_connections = 2 * PLACES;
    swarm.seed = swarm.world.add_host(config.clone());
    let leecher = swarm.world.add_host(config);
    let targets = [swarm.seed, leecher].map(|host| swarm.world.address(host));
    swarm
        .world
        .seed_torrent(swarm.seed, &content, swarm.add.clone())
        .expect("the seed takes the torrent on");
    for _ in 0..hosts {
        let member = Member {
            content: content.clone(),
            manner,
            targets: targets.to_vec(),
            times,
            conns: BTreeMap::new(),
            heard: BTreeMap::new(),
            away: Vec::new(),
            beats: 0,
        };
        swarm
            .world
            .add_actor(HostConfig::with_rate(100_000), member);
    }
    swarm
        .world
        .run_for(Duration::from_secs(30))
        .expect("nothing goes wrong");
    // The crowd has got hold of the seed's places; it comes back to the download's every 20 s.
    // Those that claim to have everything are of no use to a seed.
    let seeds = matches!(manner, Manner::Promising | Manner::Giving);
    assert!(is_crowded(&swarm.world, &swarm) || seeds);
    swarm
        .world
        .add_torrent(leecher, &content, swarm.add.clone())
        .expect("the leecher takes the torrent on");
    swarm.leechers.push(leecher);
    if let Err(failure) = swarm.complete(LIMIT) {
        panic!("{manner:?}, {hosts} hosts: {failure}");
    }
}

fn is_crowded(world: &World, swarm: &Swarm) -> bool {
    let engine = world.host(swarm.seed).engine();
    engine.is_some_and(|engine| engine.connection_count() >= PLACES)
}

#[test]
fn a_crowd_from_everywhere_keeps_nobody_from_completing() {
    for manner in MANNERS {
        for seed in seeds(2) {
            run(seed, manner, 50, 1);
        }
    }
}

#[test]
fn a_crowd_from_one_network_keeps_nobody_from_completing() {
    for manner in MANNERS {
        for seed in seeds(2) {
            run(seed, manner, 3, 16);
        }
    }
}
