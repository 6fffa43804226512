//! Where physics gives the answer, the simulator must agree.

use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::command::AddTorrent;
use anabranch_sim::{Content, HostConfig, HostId, World, seeds};

const HOUR: Duration = Duration::from_secs(3_600);

/// A tracker, and a torrent that names it.
fn with_tracker(world: &mut World) -> AddTorrent {
    let tracker = world.add_tracker(Duration::from_secs(300));
    AddTorrent {
        trackers: Some(vec![vec![world.http_url(tracker)]]),
        ..AddTorrent::default()
    }
}

/// One seed and some leechers, all with these rates. How long the last one took.
fn swarm(seed: u64, content: &Content, leechers: u32, up: u64, down: u64) -> Duration {
    let mut world = World::new(seed);
    let add = with_tracker(&mut world);
    let first = world.add_host(HostConfig::with_rates(up, down));
    world
        .seed_torrent(first, content, add.clone())
        .expect("a sound torrent");
    let others: Vec<HostId> = (0..leechers)
        .map(|_| world.add_host(HostConfig::with_rates(up, down)))
        .collect();
    for host in others {
        world
            .add_torrent(host, content, add.clone())
            .expect("a sound torrent");
    }
    world
        .run_until_complete(HOUR)
        .expect("a run without failure");
    world.now().since(Instant::ZERO)
}

#[test]
fn one_to_one_takes_size_over_bandwidth() {
    let content = Content::synthetic(1, 16 << 20, 256 << 10);
    for seed in seeds(3) {
        for rate in [500_000, 4_000_000] {
            let took = swarm(seed, &content, 1, rate, 10 * rate).as_secs_f64();
            let ideal = (16 << 20) as f64 / rate as f64;
            assert!(took >= ideal, "{took} s is faster than {rate} B/s allow");
            assert!(took <= ideal * 1.05 + 1.0, "{took} s instead of {ideal} s");
        }
    }
}

#[test]
fn the_slower_side_decides() {
    let content = Content::synthetic(1, 8 << 20, 256 << 10);
    for seed in seeds(3) {
        let took = swarm(seed, &content, 1, 10_000_000, 1_000_000).as_secs_f64();
        let ideal = (8 << 20) as f64 / 1_000_000_f64;
        assert!(
            took >= ideal && took <= ideal * 1.1 + 1.0,
            "{took} s instead of {ideal} s"
        );
    }
}
