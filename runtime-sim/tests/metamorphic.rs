//! What must not change when something that should not matter does.

mod common;

use std::time::Duration;

use anabranch_core::{Instant, Notice};
use anabranch_sim::{
    Chop, Content, Fault, HostConfig, HostId, JobKind, NetKind, PPM, WorldConfig, seeds,
};
use common::{HOUR, Swarm, real, strict};

/// A world in which everything is left to chance that can be.
fn rough(seed: u64) -> WorldConfig {
    let mut config = WorldConfig::new(seed);
    config.jitter = Duration::from_millis(20);
    config.loss_ppm = 5_000;
    config.duplicate_ppm = 10_000;
    config
}

#[test]
fn the_same_seed_takes_the_same_course_and_another_one_does_not() {
    let content = Content::synthetic(1, 2 << 20, 64 << 10);
    let run = |seed| {
        let mut swarm = Swarm::new(rough(seed), &content, 4, |host| {
            host.chop = Chop::Random(50_000);
            host.disk.shuffle = Duration::from_millis(30);
            host.spurious_ticks_ppm = PPM / 50;
        });
        let unlucky = swarm.leechers[1];
        swarm
            .world
            .schedule(Duration::from_secs(2), Fault::Crash(unlucky));
        swarm
            .world
            .schedule(Duration::from_secs(4), Fault::Restart(unlucky));
        swarm.complete(HOUR).unwrap();
        (
            swarm.world.trace_hash(),
            swarm.world.now(),
            swarm.world.happened(),
        )
    };
    for seed in seeds(3) {
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed).0, run(seed + 1).0);
    }
}

#[test]
fn ticks_that_come_late_or_that_nobody_asked_for_change_nothing_that_matters() {
    let content = real(600_000, 32_768);
    for seed in seeds(4) {
        let mut swarm = Swarm::new(strict(seed), &content, 3, |host| {
            host.spurious_ticks_ppm = PPM / 3;
            host.tick_delay = Duration::from_millis(500);
        });
        swarm.complete(HOUR).unwrap();
    }
}

#[test]
fn bytes_cut_anywhere_give_the_same_files() {
    let content = real(300_000, 32_768);
    for seed in seeds(3) {
        for longest in [1, 17, 5_000, 1 << 20] {
            // Byte by byte takes an event for each.
            let leechers = if longest == 1 { 1 } else { 3 };
            let mut config = strict(seed);
            if longest < 100 {
                config.checks.invariants_every = 500;
            }
            let mut swarm = Swarm::new(config, &content, leechers, |host| {
                host.chop = Chop::Random(longest);
            });
            swarm.complete(HOUR).unwrap();
        }
    }
}

#[test]
fn completions_in_any_order_give_the_same_files() {
    let content = real(1_000_000, 65_536);
    for seed in seeds(4) {
        let mut swarm = Swarm::new(strict(seed), &content, 3, |host| {
            host.disk.shuffle = Duration::from_secs(2);
            // Parts of pieces are written early, and their order matters as well.
            host.engine.write_budget = 256 << 10;
        });
        swarm.complete(HOUR).unwrap();
    }
}

#[test]
fn any_disk_operation_may_fail_once() {
    let content = real(400_000, 65_536);
    for seed in seeds(1) {
        for kind in JobKind::ALL {
            let mut nth = 1;
            loop {
                let mut swarm = Swarm::new(strict(seed), &content, 2, |host| {
                    host.engine.write_budget = 128 << 10;
                    host.engine.checkpoint_interval = Duration::from_secs(1);
                });
                let victims = [swarm.seed, swarm.leechers[0]];
                for victim in victims {
                    let fault = Fault::DiskError(victim, kind, nth - 1);
                    swarm.world.schedule(Duration::ZERO, fault);
                }
                let done = |swarm: &Swarm| {
                    let jobs = victims.map(|host| swarm.world.host(host).disk_jobs(kind));
                    jobs.into_iter().max().unwrap_or(0)
                };
                let before = done(&swarm);
                if let Err(failure) = swarm.complete(HOUR) {
                    panic!("{kind:?} number {nth}: {failure}");
                }
                if done(&swarm) < before + nth {
                    break;
                }
                nth += 1;
            }
        }
    }
}

/// Trackers by name and by number, over both protocols, that in which `kind` occurs first.
fn networked(seed: u64, content: &Content, kind: NetKind) -> Swarm {
    let mut swarm = Swarm::empty(strict(seed), content);
    let port = swarm.world.tracker_address(swarm.tracker).port();
    let ip = swarm.world.tracker_address(swarm.tracker).ip();
    swarm.world.set_name("tracker.test", vec![ip]);
    let mut tiers = vec![
        vec![format!("udp://tracker.test:{port}")],
        vec![swarm.world.http_url(swarm.tracker)],
    ];
    if kind == NetKind::Http {
        tiers.reverse();
    }
    swarm.add.trackers = Some(tiers);
    swarm.fill(2, |_| {});
    swarm
}

#[test]
fn any_network_operation_may_fail_once() {
    let content = real(150_000, 32_768);
    for seed in seeds(2) {
        for kind in NetKind::ALL {
            let mut failed = 0;
            loop {
                let mut swarm = networked(seed, &content, kind);
                let victims = [swarm.seed, swarm.leechers[0]];
                let count = |swarm: &Swarm| {
                    let counts = victims.map(|host| swarm.world.host(host).net_operations(kind));
                    counts.into_iter().max().unwrap_or(0)
                };
                let before = count(&swarm);
                for victim in victims {
                    let fault = Fault::NetError(victim, kind, failed);
                    swarm.world.schedule(Duration::ZERO, fault);
                }
                if let Err(failure) = swarm.complete(HOUR) {
                    panic!("{kind:?} number {}: {failure}", failed + 1);
                }
                if count(&swarm) < before + failed + 1 {
                    break;
                }
                failed += 1;
            }
            // Dialling and looking up happen a few times, sending for every block.
            let least = match kind {
                NetKind::Send => 10,
                NetKind::Connect | NetKind::Datagram | NetKind::Http | NetKind::Resolve => 1,
            };
            assert!(failed >= least, "{kind:?} failed {failed} times");
        }
    }
}

/// Every single step, and each host in turn.
#[test]
fn a_host_may_crash_at_any_step_and_goes_on_from_its_disk() {
    let content = real(60_000, 16_384);
    let tune = |host: &mut HostConfig| {
        host.engine.checkpoint_interval = Duration::from_secs(1);
    };
    for seed in seeds(1) {
        let steps = {
            let mut swarm = Swarm::new(strict(seed), &content, 2, tune);
            swarm.complete(HOUR).unwrap();
            swarm.world.happened()
        };
        assert!(steps > 100, "{steps}");
        for crash_at in 1..=steps {
            // The seed can crash, too: it has everything on its disk.
            for victim in 0..3 {
                let mut swarm = Swarm::new(strict(seed), &content, 2, tune);
                while swarm.world.happened() < crash_at && swarm.world.step().unwrap() {}
                let victim = HostId::new(victim);
                swarm.world.crash(victim);
                swarm
                    .world
                    .schedule(Duration::from_secs(1), Fault::Restart(victim));
                if let Err(failure) = swarm.complete_again(HOUR) {
                    panic!("{victim} crashed at step {crash_at}: {failure}");
                }
            }
        }
    }
}

/// A longer run, whose disk writes parts of pieces and is in no hurry, at some of its steps.
#[test]
fn a_host_with_a_slow_disk_may_crash_and_goes_on_from_it() {
    let content = real(500_000, 65_536);
    let tune = |host: &mut HostConfig| {
        host.engine.checkpoint_interval = Duration::from_secs(1);
        host.engine.write_budget = 64 << 10;
        host.disk.latency = Duration::from_millis(30);
        host.disk.shuffle = Duration::from_millis(300);
    };
    for seed in seeds(2) {
        let steps = {
            let mut swarm = Swarm::new(strict(seed), &content, 2, tune);
            swarm.complete(HOUR).unwrap();
            swarm.world.happened()
        };
        for crash_at in (1 + seed..steps).step_by(31) {
            let mut swarm = Swarm::new(strict(seed), &content, 2, tune);
            while swarm.world.happened() < crash_at && swarm.world.step().unwrap() {}
            let victim = HostId::new((crash_at % 3) as u32);
            swarm.world.crash(victim);
            swarm
                .world
                .schedule(Duration::from_secs(1), Fault::Restart(victim));
            if let Err(failure) = swarm.complete_again(HOUR) {
                panic!("{victim} crashed at step {crash_at}: {failure}");
            }
        }
    }
}

#[test]
fn connections_may_break_at_any_step() {
    let content = real(200_000, 32_768);
    for seed in seeds(1) {
        for at in (1..1_000).step_by(37) {
            for silent in [false, true] {
                let mut swarm = Swarm::new(strict(seed), &content, 2, |_| {});
                while swarm.world.happened() < at && swarm.world.step().unwrap() {}
                let seed_host = swarm.seed;
                let fault = if silent {
                    Fault::BlackHole(seed_host)
                } else {
                    Fault::ResetConnections(seed_host)
                };
                swarm.world.schedule(Duration::ZERO, fault);
                if let Err(failure) = swarm.complete(HOUR) {
                    panic!("broken at step {at}, silently {silent}: {failure}");
                }
            }
        }
    }
}

#[test]
fn completion_is_told_once_and_when_it_is_true() {
    let content = real(500_000, 65_536);
    for seed in seeds(3) {
        let mut swarm = Swarm::new(rough(seed), &content, 2, |_| {});
        swarm.complete(HOUR).unwrap();
        for host in &swarm.leechers {
            let host = swarm.world.host(*host);
            let told = host
                .notices()
                .iter()
                .filter(|(_, notice)| matches!(notice, Notice::Completed { .. }));
            assert_eq!(told.count(), 1);
            assert!(host.completed_at(&content) > Some(Instant::ZERO));
        }
    }
}
