//! The end of a download: next to nothing comes twice, and nobody holds up the rest.

use std::ops::ControlFlow;
use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::command::AddTorrent;
use anabranch_sim::scenario::{End, Report, Scenario};
use anabranch_sim::{Content, HostConfig, HostId, Manner, ScriptedSeed, World, seeds};

fn report(scenario: Scenario) -> Report {
    let mut run = scenario.start().expect("a sensible scenario");
    match run.advance(|_| ControlFlow::Continue(())) {
        Ok(end) => assert_eq!(end, End::Complete),
        Err(failure) => panic!("{failure}"),
    }
    run.report()
}

#[test]
fn where_our_link_is_the_bottleneck_hardly_anything_comes_twice() {
    for seed in seeds(3) {
        for (peers, seeders) in [(1, 10), (3, 12)] {
            let scenario = Scenario::new(seed).peers(peers).seeders(seeders);
            let report = report(scenario.size(16 << 20));
            let wasted = report.wasted_ppm().expect("there was payload");
            assert!(wasted < 10_000, "{wasted} ppm with {peers} peers");
            let efficiency = report.efficiency_permille.expect("all are complete");
            assert!(efficiency >= 700, "{efficiency} with {peers} peers");
        }
    }
}

/// Seeders with these uplinks, and one who wants `content`: how long it takes, and what is wasted.
fn fetch(
    seed: u64,
    content: &Content,
    uplinks: &[u64],
    more: impl FnOnce(&mut World) -> Vec<HostId>,
) -> (Duration, u64) {
    let mut world = World::new(seed);
    let mut from = more(&mut world);
    for uplink in uplinks {
        let host = world.add_host(HostConfig::with_rate(*uplink));
        let add = AddTorrent::default();
        world.seed_torrent(host, content, add).expect("it seeds");
        from.push(host);
    }
    let one = world.add_host(HostConfig::with_rate(10_000_000));
    let add = AddTorrent {
        peers: from.iter().map(|host| world.address(*host)).collect(),
        ..AddTorrent::default()
    };
    world.add_torrent(one, content, add).expect("it downloads");
    if let Err(failure) = world.run_until_complete(Duration::from_secs(3_600)) {
        panic!("{failure}");
    }
    let took = world.now().since(Instant::ZERO);
    (took, world.host(one).traffic().wasted)
}

#[test]
fn a_slow_seeder_does_not_hold_up_the_last_blocks() {
    let content = Content::synthetic(1, 8 << 20, 256 << 10);
    for seed in seeds(3) {
        let (took, wasted) = fetch(seed, &content, &[1_000_000, 15_000], |_| Vec::new());
        // A block takes the slow one more than a second.
        let ideal = Duration::from_secs_f64((8 << 20) as f64 / 1_015_000.0);
        assert!(took < ideal + Duration::from_secs(2), "{took:?}");
        assert!(wasted <= 64 << 10, "{wasted} bytes");
    }
}

#[test]
fn who_promises_and_sends_nothing_costs_seconds_and_nothing_twice() {
    let content = Content::synthetic(1, 8 << 20, 256 << 10);
    for seed in seeds(3) {
        let (took, wasted) = fetch(seed, &content, &[1_000_000], |world| {
            let stingy = |_| {
                let actor = ScriptedSeed::new(&content, Manner::Stingy);
                world.add_actor(HostConfig::with_rate(1_000_000), actor)
            };
            (0..3).map(stingy).collect()
        });
        let ideal = Duration::from_secs_f64((8 << 20) as f64 / 1_000_000.0);
        assert!(took < ideal + Duration::from_secs(3), "{took:?}");
        assert_eq!(wasted, 0);
    }
}
