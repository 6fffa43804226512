//! Peers by uTP, by TCP, and by whichever is there.

mod world;

use std::time::Duration;

use anabranch_core::command::AddTorrent;
use anabranch_core::id::TorrentId;
use anabranch_core::{Command, Config, Instant, Transport, Transports};
use world::{Content, World, config};

const MINUTE: Duration = Duration::from_secs(60);

fn over(transports: Transports) -> Config {
    config(|config| config.transports = transports)
}

/// A download from one seed.
struct Pair {
    world: World,
    content: Content,
    seed: usize,
    leecher: usize,
    torrent: TorrentId,
}

impl Pair {
    fn new(
        len: usize,
        seed: Transports,
        leecher: Transports,
        change: impl FnOnce(&mut World),
    ) -> Self {
        let content = Content::new(len, 65_536);
        let mut world = World::new();
        change(&mut world);
        let seed = world.seed(over(seed), &content);
        let leecher = world.host(over(leecher));
        let add = AddTorrent {
            peers: vec![world.hosts[seed].address],
            ..AddTorrent::default()
        };
        let torrent = world.add(leecher, &content, add);
        Self {
            world,
            content,
            seed,
            leecher,
            torrent,
        }
    }

    /// Runs until something has come. How long that took, and by what.
    fn begin(&mut self) -> (Duration, Option<Transport>) {
        let start = self.world.now;
        let leecher = self.leecher;
        self.world.run_until(MINUTE, |world| {
            world.hosts[leecher].engine.stats().payload_received > 0
        });
        (self.world.now.since(start), self.transport())
    }

    fn complete(&mut self, limit: Duration) {
        let (leecher, content) = (self.leecher, &self.content);
        self.world
            .run_until(limit, |world| world.has_all(leecher, content));
    }

    fn transport(&self) -> Option<Transport> {
        let engine = &self.world.hosts[self.leecher].engine;
        let now: Instant = self.world.now;
        let torrent = engine.torrent(self.torrent)?;
        torrent.peers(now).first().map(|peer| peer.transport)
    }
}

#[test]
fn a_torrent_is_downloaded_over_packets_alone() {
    let mut pair = Pair::new(3_000_000, Transports::Utp, Transports::Utp, |world| {
        world.carries_streams = false;
    });
    assert_eq!(pair.begin().1, Some(Transport::Utp));
    pair.complete(MINUTE);
    assert_eq!(pair.world.dialled, 0);
    let stats = pair.world.hosts[pair.leecher].engine.stats();
    assert_eq!(stats.payload_received, 3_000_000);
    assert_eq!((stats.wasted, stats.pieces_failed), (0, 0));
    let stats = pair.world.hosts[pair.seed].engine.stats();
    assert_eq!(stats.payload_sent, 3_000_000);
}

#[test]
fn packets_that_are_lost_cost_nothing_but_time() {
    for lost in [50, 10] {
        let mut pair = Pair::new(1_000_000, Transports::Utp, Transports::Utp, |world| {
            world.lost = Some(lost);
        });
        pair.complete(3 * MINUTE);
        let stats = pair.world.hosts[pair.leecher].engine.stats();
        assert_eq!((stats.payload_received, stats.wasted), (1_000_000, 0));
    }
}

#[test]
fn a_peer_that_has_one_transport_is_reached_by_it_soon() {
    for (only, transport) in [
        (Transports::Tcp, Transport::Tcp),
        (Transports::Utp, Transport::Utp),
    ] {
        for (ours, theirs) in [(Transports::Both, only), (only, Transports::Both)] {
            let mut pair = Pair::new(1_000_000, theirs, ours, |_| {});
            let (took, by) = pair.begin();
            assert!(took < Duration::from_secs(1), "{ours:?} {theirs:?}");
            assert_eq!(by, Some(transport), "{ours:?} {theirs:?}");
            pair.complete(MINUTE);
        }
    }
}

#[test]
fn where_packets_do_not_get_through_streams_do() {
    let mut pair = Pair::new(1_000_000, Transports::Both, Transports::Both, |world| {
        world.carries_packets = false;
    });
    assert_eq!(pair.begin().1, Some(Transport::Tcp));
    pair.complete(MINUTE);
    assert_eq!(pair.world.dialled, 1);
}

#[test]
fn where_streams_do_not_get_through_packets_do() {
    let mut pair = Pair::new(1_000_000, Transports::Both, Transports::Both, |world| {
        world.carries_streams = false;
    });
    assert_eq!(pair.begin().1, Some(Transport::Utp));
    pair.complete(MINUTE);
}

#[test]
fn a_peer_is_connected_once_whichever_is_faster() {
    let mut pair = Pair::new(8_000_000, Transports::Both, Transports::Both, |world| {
        // Longer than one transport is waited for alone.
        world.latency = Duration::from_millis(400);
    });
    pair.begin();
    pair.world.run_for(Duration::from_secs(2));
    for host in [pair.seed, pair.leecher] {
        let engine = &pair.world.hosts[host].engine;
        assert_eq!(engine.connection_count(), 1);
    }
    pair.complete(5 * MINUTE);
}

#[test]
fn transports_are_changed_while_the_engine_runs() {
    let mut pair = Pair::new(1_000_000, Transports::Utp, Transports::Tcp, |_| {});
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(pair.transport(), None);
    let (leecher, torrent) = (pair.leecher, pair.torrent);
    let both = Command::SetTransports(Transports::Both);
    pair.world.command(leecher, both).expect("done");
    let peers = vec![pair.world.hosts[pair.seed].address];
    pair.world
        .command(leecher, Command::AddPeers { torrent, peers })
        .expect("done");
    assert_eq!(pair.begin().1, Some(Transport::Utp));
    pair.complete(MINUTE);
}

#[test]
fn a_shutdown_says_goodbye_over_packets_too() {
    let mut pair = Pair::new(8_000_000, Transports::Utp, Transports::Utp, |_| {});
    let (seed, leecher) = (pair.seed, pair.leecher);
    pair.begin();
    pair.world.request(leecher, Command::Shutdown);
    let is_down = |world: &World| world.hosts[leecher].engine.is_down();
    pair.world.run_until(MINUTE, is_down);
    let is_alone = |world: &World| world.hosts[seed].engine.connection_count() == 0;
    pair.world.run_until(MINUTE, is_alone);
}
