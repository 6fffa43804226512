//! Small swarms that the tests have in common.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses the part that it needs"
)]

use std::time::Duration;

use anabranch_core::TorrentState;
use anabranch_core::command::AddTorrent;
use anabranch_sim::{Content, Failure, HostConfig, HostId, TrackerId, World, WorldConfig};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A tracker, one seed, and some that want what it has.
pub(crate) struct Swarm {
    pub(crate) world: World,
    pub(crate) content: Content,
    pub(crate) tracker: TrackerId,
    pub(crate) add: AddTorrent,
    pub(crate) seed: HostId,
    pub(crate) leechers: Vec<HostId>,
}

impl Swarm {
    /// Everybody with links of 1 MB/s, and with what `tune` changes.
    pub(crate) fn new(
        config: WorldConfig,
        content: &Content,
        leechers: u32,
        tune: impl Fn(&mut HostConfig),
    ) -> Self {
        let mut swarm = Self::empty(config, content);
        swarm.fill(leechers, tune);
        swarm
    }

    /// A tracker, and nobody yet.
    pub(crate) fn empty(config: WorldConfig, content: &Content) -> Self {
        let mut world = World::with_config(config);
        let tracker = world.add_tracker(Duration::from_secs(120));
        let add = AddTorrent {
            trackers: Some(vec![vec![world.udp_url(tracker), world.http_url(tracker)]]),
            ..AddTorrent::default()
        };
        Self {
            world,
            content: content.clone(),
            tracker,
            add,
            seed: HostId::new(0),
            leechers: Vec::new(),
        }
    }

    /// Lets the seed and the leechers in.
    pub(crate) fn fill(&mut self, leechers: u32, tune: impl Fn(&mut HostConfig)) {
        let mut config = HostConfig::with_rate(1_000_000);
        tune(&mut config);
        self.seed = self.world.add_host(config.clone());
        self.world
            .seed_torrent(self.seed, &self.content, self.add.clone())
            .expect("the seed takes the torrent on");
        for _ in 0..leechers {
            let host = self.world.add_host(config.clone());
            self.world
                .add_torrent(host, &self.content, self.add.clone())
                .expect("a leecher takes the torrent on");
            self.leechers.push(host);
        }
    }

    /// Runs until everybody is there and has everything, what a crash took after it was complete among
    /// it, and looks at the disks.
    pub(crate) fn complete_again(&mut self, limit: Duration) -> Result<(), Failure> {
        let everybody = [&[self.seed], &self.leechers[..]].concat();
        self.world.run_until(limit, |world| {
            everybody.iter().all(|host| {
                let engine = world.host(*host).engine();
                engine.is_some_and(|engine| {
                    let mut torrents = engine.torrents().filter_map(|id| engine.torrent(id));
                    torrents.all(|torrent| torrent.state() == TorrentState::Seeding)
                })
            })
        })?;
        self.complete(limit)
    }

    /// Runs until everybody has had everything once, and looks at the disks.
    pub(crate) fn complete(&mut self, limit: Duration) -> Result<(), Failure> {
        self.world.run_until_complete(limit)?;
        for host in &self.leechers {
            let pieces = self.world.host(*host).pieces_on_disk(&self.content);
            assert!(
                pieces.is_some_and(anabranch_core::Bitfield::is_full),
                "{host} has all of it, and right"
            );
        }
        Ok(())
    }
}

/// Real bytes, so that real digests are compared.
pub(crate) fn real(len: usize, piece_length: u32) -> Content {
    let data: Vec<u8> = (0..len as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    Content::real("content.bin", data, piece_length)
}

/// Every event is followed by a look at the engine's invariants.
pub(crate) fn strict(seed: u64) -> WorldConfig {
    let mut config = WorldConfig::new(seed);
    config.checks.invariants_every = 1;
    config
}
