//! Swarms of magnet links (BEP 9) and of peers that tell each other of others (BEP 11), through loss, crashes
//! and lies.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use anabranch_core::command::{AddTorrent, RateLimits};
use anabranch_core::wire::{
    Decoder, ExtendedHandshake, Frame, Handshake, Limits, Message, MetadataMessage, PeerId,
    Reserved,
};
use anabranch_core::{Notice, TorrentState};
use anabranch_sim::{
    Actor, ActorEvent, Content, Fault, HostConfig, HostId, Stage, World, WorldConfig, seeds,
};
use bytes::{Bytes, BytesMut};
use common::{HOUR, MINUTE, Swarm};

/// Metadata of three blocks.
fn content() -> Content {
    Content::synthetic(11, 32 << 20, 16 << 10)
}

fn config(seed: u64) -> WorldConfig {
    let mut config = WorldConfig::new(seed);
    config.checks.invariants_every = 500;
    config
}

/// What somebody adds who knows nothing but the link.
fn link(content: &Content, add: &AddTorrent) -> AddTorrent {
    AddTorrent {
        magnet: Some(format!("magnet:?xt=urn:btih:{}", content.info_hash())),
        ..add.clone()
    }
}

fn metadata_received(world: &World, host: HostId) -> bool {
    let mut notices = world.host(host).notices().iter();
    notices.any(|(_, notice)| matches!(notice, Notice::MetadataReceived { .. }))
}

#[test]
fn a_magnet_swarm_completes_through_loss_and_crashes() {
    for seed in seeds(3) {
        let mut config = config(seed);
        config.loss_ppm = 10_000;
        let content = content();
        let mut swarm = Swarm::empty(config, &content);
        swarm.fill(0, |_| {});
        for _ in 0..6 {
            let host = swarm.world.add_host(HostConfig::with_rate(1_000_000));
            let add = link(&content, &swarm.add);
            swarm
                .world
                .add_torrent(host, &content, add)
                .expect("a link is taken on");
            swarm.leechers.push(host);
        }
        // One loses power before the metadata can be there, one in the middle of the data.
        let [early, late] = [swarm.leechers[1], swarm.leechers[2]];
        for (after, host) in [(Duration::from_millis(300), early), (MINUTE / 3, late)] {
            swarm.world.schedule(after, Fault::Crash(host));
            swarm
                .world
                .schedule(after + Duration::from_secs(20), Fault::Restart(host));
        }
        swarm
            .complete_again(HOUR)
            .unwrap_or_else(|failure| panic!("{failure}"));
        for host in &swarm.leechers {
            assert!(metadata_received(&swarm.world, *host), "{host}");
        }
    }
}

/// Has the metadata, it says, and gives out something else. Dials nobody.
#[derive(Debug)]
struct Liar {
    content: Content,
    conns: BTreeMap<u64, Talk>,
}

#[derive(Debug)]
struct Talk {
    /// Bytes of the handshake that are still to come.
    greeting: usize,
    decoder: Decoder,
    /// Under which id the other side wants metadata messages.
    theirs: Option<u8>,
}

impl Liar {
    const OURS: u8 = 5;

    fn new(content: &Content) -> Self {
        Self {
            content: content.clone(),
            conns: BTreeMap::new(),
        }
    }

    fn info_len(&self) -> u32 {
        self.content.metainfo().info_bytes().len() as u32
    }

    fn greeting(&self) -> Bytes {
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true).with_extended(true),
            info_hash: *self.content.info_hash().as_bytes(),
            peer_id: PeerId([0x66; 20]),
        };
        let mut data = BytesMut::from(&handshake.encode()[..]);
        Message::HaveAll.encode(&mut data);
        let hello = ExtendedHandshake {
            extensions: [("ut_metadata".to_owned(), Self::OURS)].into(),
            metadata_size: Some(self.info_len()),
            ..ExtendedHandshake::default()
        };
        let payload = hello.encode().into();
        Message::Extended { id: 0, payload }.encode(&mut data);
        data.freeze()
    }

    fn lie(&self, piece: u32, id: u8) -> Bytes {
        let total = self.info_len();
        let len = (total - piece * 16_384).min(16_384);
        let message = MetadataMessage::Data {
            piece,
            total_size: Some(total),
            data: vec![0x21; len as usize].into(),
        };
        let mut data = BytesMut::new();
        let payload = message.encode();
        Message::Extended { id, payload }.encode(&mut data);
        data.freeze()
    }
}

impl Actor for Liar {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        if let ActorEvent::Incoming { conn, .. } = event {
            stage.send(conn, self.greeting());
            let talk = Talk {
                greeting: 68,
                decoder: Decoder::new(Limits::default()),
                theirs: None,
            };
            self.conns.insert(conn, talk);
        } else if let ActorEvent::Closed { conn, .. } = event {
            self.conns.remove(&conn);
        } else if let ActorEvent::Received { conn, mut data } = event {
            let Some(talk) = self.conns.get_mut(&conn) else {
                return;
            };
            let greeting = talk.greeting.min(data.len());
            talk.greeting -= greeting;
            let _ = data.split_to(greeting);
            let mut asked = Vec::new();
            while let Ok(Some(frame)) = talk.decoder.decode(&mut data) {
                let Frame::Message(Message::Extended { id, payload }) = frame else {
                    continue;
                };
                if id == 0 {
                    let hello = ExtendedHandshake::decode(&payload).expect("well-formed");
                    talk.theirs = hello.extensions.get("ut_metadata").copied();
                } else if id == Self::OURS
                    && let Ok(Some(MetadataMessage::Request { piece })) =
                        MetadataMessage::decode(&payload)
                {
                    asked.extend(talk.theirs.map(|theirs| (piece, theirs)));
                }
            }
            for (piece, id) in asked {
                let lie = self.lie(piece, id);
                stage.send(conn, lie);
            }
        }
    }
}

#[test]
fn those_who_lie_about_metadata_do_not_keep_it_from_us() {
    for seed in seeds(3) {
        let content = content();
        let mut swarm = Swarm::empty(config(seed), &content);
        let liars: Vec<HostId> = (0..4)
            .map(|_| {
                let host = HostConfig::with_rate(1_000_000);
                swarm.world.add_actor(host, Liar::new(&content))
            })
            .collect();
        swarm.fill(0, |_| {});
        for _ in 0..3 {
            let host = swarm.world.add_host(HostConfig::with_rate(1_000_000));
            // The liars are known from the start, the seed only through the tracker.
            let add = AddTorrent {
                peers: liars
                    .iter()
                    .map(|liar| swarm.world.address(*liar))
                    .collect(),
                ..link(&content, &swarm.add)
            };
            swarm
                .world
                .add_torrent(host, &content, add)
                .expect("a link is taken on");
            swarm.leechers.push(host);
        }
        swarm
            .complete(HOUR)
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// How many peers the one who has the fewest has after five minutes, of six that know nobody but a seed.
fn fewest_peers(seed: u64, pex: bool) -> u32 {
    let content = Content::synthetic(12, 64 << 20, 64 << 10);
    let mut world = World::with_config(config(seed));
    let mut host = HostConfig::with_rate(1_000_000);
    host.engine.pex = pex;
    let hub = world.add_host(host.clone());
    // Nobody is to be complete by then: seeds part.
    let slow = AddTorrent {
        limits: RateLimits {
            download: None,
            upload: Some(20_000),
        },
        ..AddTorrent::default()
    };
    world
        .seed_torrent(hub, &content, slow)
        .expect("the seed takes the torrent on");
    let hosts: Vec<HostId> = (0..6)
        .map(|_| {
            let leecher = world.add_host(host.clone());
            let add = AddTorrent {
                peers: vec![world.address(hub)],
                ..AddTorrent::default()
            };
            world
                .add_torrent(leecher, &content, add)
                .expect("a leecher takes the torrent on");
            leecher
        })
        .collect();
    world
        .run_for(5 * MINUTE)
        .unwrap_or_else(|failure| panic!("{failure}"));
    let now = world.now();
    let peers = |host: &HostId| {
        let engine = world.host(*host).engine().expect("it is there");
        let id = engine.torrents().next().expect("its torrent");
        let status = engine.torrent(id).expect("its torrent").status(now);
        assert_eq!(status.state, TorrentState::Downloading);
        status.peers
    };
    hosts.iter().map(peers).min().expect("six of them")
}

#[test]
fn who_knows_one_peer_hears_of_the_others() {
    for seed in seeds(2) {
        assert_eq!(fewest_peers(seed, false), 1);
        assert_eq!(fewest_peers(seed, true), 6);
    }
}
