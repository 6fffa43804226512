//! Crowds that connect to everybody and take all places: an honest download from an honest seed ends all the same.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "members care for few events of all"
)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::wire::{BlockRequest, Handshake, Message, PeerId, Reserved};
use anabranch_sim::{Actor, ActorEvent, Content, HostConfig, Stage, World, seeds};
use bytes::BytesMut;
use common::{HOUR, Swarm, real, strict};

/// Places of each torrent: fewer than the crowd has members.
const PLACES: u32 = 20;

/// How often a member does what it does.
const BEAT: Duration = Duration::from_secs(2);

/// How long a member that lost its connection waits before it comes back.
const RETURN: Duration = Duration::from_secs(20);

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
}

const MANNERS: [Manner; 6] = [
    Manner::Dumb,
    Manner::Silent,
    Manner::KeepAlive,
    Manner::Flapping,
    Manner::Promising,
    Manner::Trickling,
];

/// A host that connects to its targets, so many times to each.
#[derive(Debug)]
struct Member {
    content: Content,
    manner: Manner,
    targets: Vec<SocketAddr>,
    times: u32,
    conns: BTreeMap<u64, SocketAddr>,
    away: Vec<SocketAddr>,
    beats: u32,
}

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
            Manner::Silent | Manner::KeepAlive | Manner::Flapping | Manner::Trickling => {
                Message::HaveNone.encode(&mut out);
            }
        }
        stage.send(conn, out);
    }

    fn beat(&self, stage: &mut Stage<'_>) {
        let every = |beats: u32| self.beats.is_multiple_of(beats);
        let messages: &[Message] = match self.manner {
            Manner::Flapping if every(2) => &[Message::Interested],
            Manner::Flapping => &[Message::NotInterested],
            Manner::KeepAlive | Manner::Promising if every(20) => &[Message::KeepAlive],
            Manner::Trickling if every(15) => &[
                Message::Interested,
                Message::Request(BlockRequest {
                    piece: 0,
                    begin: 0,
                    len: 1 << 14,
                }),
            ],
            Manner::Dumb
            | Manner::Silent
            | Manner::KeepAlive
            | Manner::Promising
            | Manner::Trickling => return,
        };
        for conn in self.conns.keys() {
            let mut out = BytesMut::new();
            messages.iter().for_each(|message| message.encode(&mut out));
            stage.send(*conn, out);
        }
    }
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
            ActorEvent::Closed { conn, .. } => {
                self.away.extend(self.conns.remove(&conn));
                stage.wake_in(RETURN, RETURN_TOKEN);
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

/// An honest seed and, half a minute later, an honest download, and a crowd of so many hosts that connect so many times to
/// both of them.
fn run(seed: u64, manner: Manner, hosts: u32, times: u32) {
    let content = real(1_500_000, 65_536);
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
    assert!(is_crowded(&swarm.world, &swarm) || manner == Manner::Promising);
    swarm
        .world
        .add_torrent(leecher, &content, swarm.add.clone())
        .expect("the leecher takes the torrent on");
    swarm.leechers.push(leecher);
    if let Err(failure) = swarm.complete(HOUR) {
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
