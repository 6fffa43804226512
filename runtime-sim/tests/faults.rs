//! Things that go wrong, one at a time, and how a swarm gets over them.

mod common;

use std::time::Duration;

use anabranch_core::command::AddTorrent;
use anabranch_core::{Notice, TorrentState};
use anabranch_sim::{
    Actor, ActorEvent, Babbler, Content, FailureKind, Fault, HostConfig, HostId, JobKind, Manner,
    Mute, Nat, PPM, ScriptedSeed, Stage, TrackerMode, World, WorldConfig, seeds,
};
use common::{HOUR, MINUTE, Swarm, real, strict};

fn state(world: &World, host: HostId) -> Option<TorrentState> {
    let engine = world.host(host).engine()?;
    let id = engine.torrents().next()?;
    Some(engine.torrent(id)?.state())
}

#[test]
fn a_partition_that_heals_delays_and_nothing_else() {
    let content = real(3_000_000, 65_536);
    for seed in seeds(2) {
        let mut swarm = Swarm::new(WorldConfig::new(seed), &content, 3, |_| {});
        let cut_off = vec![swarm.seed, swarm.leechers[0]];
        let partition = Fault::Partition(cut_off);
        swarm.world.schedule(Duration::from_secs(3), partition);
        swarm.world.schedule(8 * MINUTE, Fault::Heal);
        swarm.complete(HOUR).unwrap();
        let outside = swarm.world.host(swarm.leechers[2]);
        let at = outside.completed_at(&content).unwrap();
        assert!(at.since(anabranch_core::Instant::ZERO) >= 8 * MINUTE);
    }
}

#[test]
fn loss_slows_a_stream_down_and_loses_nothing() {
    let content = real(2_000_000, 65_536);
    for seed in seeds(2) {
        let mut took = Vec::new();
        for loss_ppm in [0, 20_000] {
            let mut config = strict(seed);
            config.loss_ppm = loss_ppm;
            let mut swarm = Swarm::new(config, &content, 1, |host| host.link.up = None);
            swarm.complete(HOUR).unwrap();
            took.push(swarm.world.now());
        }
        assert!(took[1] > took[0], "{took:?}");
    }
}

#[test]
fn a_full_disk_holds_a_torrent_back_until_there_is_room() {
    let content = real(2_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    let leecher = swarm.leechers[0];
    swarm
        .world
        .schedule(Duration::from_secs(1), Fault::DiskFull(leecher, true));
    swarm
        .world
        .schedule(5 * MINUTE, Fault::DiskFull(leecher, false));
    swarm.world.run_for(2 * MINUTE).unwrap();
    assert_eq!(state(&swarm.world, leecher), Some(TorrentState::Failed));
    swarm.complete(HOUR).unwrap();
}

#[test]
fn what_a_crash_takes_is_fetched_again_and_what_was_synced_is_not() {
    let content = Content::synthetic(4, 20 << 20, 256 << 10);
    for seed in seeds(3) {
        let mut swarm = Swarm::new(WorldConfig::new(seed), &content, 1, |host| {
            host.engine.checkpoint_interval = Duration::from_secs(5);
        });
        let leecher = swarm.leechers[0];
        swarm.world.run_for(Duration::from_secs(14)).unwrap();
        let before = swarm
            .world
            .host(leecher)
            .pieces_on_disk(&content)
            .unwrap()
            .count();
        swarm.world.crash(leecher);
        let after = swarm
            .world
            .host(leecher)
            .pieces_on_disk(&content)
            .unwrap()
            .count();
        assert!(
            after <= before && after > 0,
            "{before} pieces, then {after}"
        );
        swarm.world.restart(leecher);
        swarm.complete(HOUR).unwrap();
        let again = swarm
            .world
            .host(leecher)
            .engine()
            .unwrap()
            .stats()
            .payload_received;
        assert!(again <= content.length() - u64::from(after) * (256 << 10) + (1 << 20));
    }
}

#[test]
fn a_peer_whose_disk_lies_is_banned_and_the_download_completes() {
    let content = real(2_000_000, 131_072);
    for seed in seeds(3) {
        let mut swarm = Swarm::new(strict(seed), &content, 1, |_| {});
        let liar = swarm.world.add_host(HostConfig::with_rate(1_000_000));
        swarm.world.host_mut(liar).disk_faults().corrupt_reads_ppm = PPM;
        let add = swarm.add.clone();
        swarm.world.seed_torrent(liar, &content, add).unwrap();
        swarm.complete(HOUR).unwrap();
        let liars = swarm.world.address(liar).ip();
        let leecher = swarm.world.host(swarm.leechers[0]);
        let banned = leecher.notices().iter().filter_map(|(_, notice)| {
            let Notice::PeerBanned { address, .. } = notice else {
                return None;
            };
            Some(address.ip())
        });
        assert!(
            banned.clone().all(|ip| ip == liars),
            "nobody else is banned"
        );
        let failed = leecher.engine().unwrap().stats().pieces_failed;
        assert_eq!(failed > 0, banned.count() > 0);
    }
}

#[test]
fn tracker_trouble_of_every_kind_passes() {
    let content = real(300_000, 65_536);
    let lies: &[&'static [u8]] = &[
        b"",
        b"no bencode",
        b"d8:intervali0e5:peers6:\x05\0\0\x07\x1a\xe1e",
    ];
    let lies = lies.iter().map(|lie| TrackerMode::Lying((*lie).into()));
    let modes = [
        TrackerMode::Refusing,
        TrackerMode::Silent,
        TrackerMode::Status(503),
        TrackerMode::Slow(Duration::from_secs(20)),
    ];
    for mode in modes.into_iter().chain(lies) {
        let mut world = World::with_config(strict(1));
        let tracker = world.add_tracker(Duration::from_secs(60));
        let urls = vec![world.http_url(tracker), world.udp_url(tracker)];
        world.schedule(Duration::ZERO, Fault::Tracker(tracker, mode.clone()));
        let heals = Fault::Tracker(tracker, TrackerMode::Working);
        world.schedule(4 * MINUTE, heals);
        let add = AddTorrent {
            trackers: Some(vec![urls]),
            ..AddTorrent::default()
        };
        let seed = world.add_host(HostConfig::default());
        let leecher = world.add_host(HostConfig::default());
        world.seed_torrent(seed, &content, add.clone()).unwrap();
        world.add_torrent(leecher, &content, add).unwrap();
        if let Err(failure) = world.run_until_complete(3 * HOUR) {
            panic!("{mode:?}: {failure}");
        }
        assert!(world.tracker_requests(tracker) > 0);
    }
}

/// How long a leecher takes until a tracker names somebody, with so many dead trackers before the one that lives.
fn until_a_peer_is_named(dead: usize, mode: &TrackerMode, scheme: &str) -> Duration {
    let content = real(300_000, 65_536);
    let mut world = World::with_config(strict(1));
    let mut tiers = Vec::new();
    let url = |world: &World, tracker| match scheme {
        "udp" => vec![world.udp_url(tracker)],
        _ => vec![world.http_url(tracker)],
    };
    for _ in 0..dead {
        let tracker = world.add_tracker(Duration::from_secs(1_800));
        world.schedule(Duration::ZERO, Fault::Tracker(tracker, mode.clone()));
        tiers.push(url(&world, tracker));
    }
    let tracker = world.add_tracker(Duration::from_secs(1_800));
    tiers.push(url(&world, tracker));
    let add = |tiers| AddTorrent {
        trackers: Some(tiers),
        ..AddTorrent::default()
    };
    let seed = world.add_host(HostConfig::default());
    let only = vec![url(&world, tracker)];
    world
        .seed_torrent(seed, &content, add(only))
        .expect("the seed takes the torrent on");
    world.run_for(MINUTE).expect("nothing goes wrong");
    let leecher = world.add_host(HostConfig::default());
    world
        .add_torrent(leecher, &content, add(tiers))
        .expect("a leecher takes the torrent on");
    let begin = world.now();
    world.run_until_complete(HOUR).expect("it completes");
    let named = |notice: &Notice| matches!(notice, Notice::TrackerReplied { peers: 1.., .. });
    let notices = world.host(leecher).notices();
    let found = notices
        .iter()
        .find(|(_, notice)| named(notice))
        .expect("a tracker names somebody");
    found.0.since(begin)
}

#[test]
fn dead_trackers_cost_seconds() {
    for scheme in ["udp", "http"] {
        for (dead, limit) in [(1, 4), (2, 5), (10, 13)] {
            let took = until_a_peer_is_named(dead, &TrackerMode::Silent, scheme);
            assert!(
                took <= Duration::from_secs(limit),
                "{scheme}, {dead}: {took:?}"
            );
        }
        let took = until_a_peer_is_named(10, &TrackerMode::Refusing, scheme);
        assert!(took <= Duration::from_secs(3), "{scheme}: {took:?}");
        // Those that answer and know nobody are no better.
        let took = until_a_peer_is_named(10, &TrackerMode::Working, scheme);
        assert!(took <= Duration::from_secs(5), "{scheme}: {took:?}");
    }
}

#[test]
fn what_was_uploaded_counts_in_the_next_run() {
    let content = real(2_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    swarm.complete(HOUR).unwrap();
    let seed = swarm.seed;
    swarm.world.schedule(Duration::ZERO, Fault::Leave(seed));
    swarm.world.schedule(MINUTE, Fault::Restart(seed));
    swarm.world.run_for(2 * MINUTE).unwrap();
    let engine = swarm.world.host(seed).engine().unwrap();
    let id = engine.torrents().next().unwrap();
    let status = engine.torrent(id).unwrap().status(swarm.world.now());
    assert!(status.uploaded >= content.length(), "{}", status.uploaded);
}

#[test]
fn names_lead_to_trackers_and_to_peers_once_they_are_known() {
    let content = real(300_000, 65_536);
    let mut world = World::with_config(strict(1));
    let tracker = world.add_tracker(Duration::from_secs(60));
    let address = world.tracker_address(tracker);
    let tiers = ["http", "udp"]
        .map(|scheme| format!("{scheme}://tracker.test:{}/announce", address.port()));
    let add = AddTorrent {
        trackers: Some(vec![tiers.to_vec()]),
        ..AddTorrent::default()
    };
    let seed = world.add_host(HostConfig::default());
    let leecher = world.add_host(HostConfig::default());
    world.seed_torrent(seed, &content, add.clone()).unwrap();
    world.add_torrent(leecher, &content, add).unwrap();
    world.run_for(MINUTE).unwrap();
    assert_eq!(world.incomplete(), 1);
    world.set_name("tracker.test", vec![address.ip()]);
    world.run_until_complete(HOUR).unwrap();
}

#[test]
fn behind_any_nat_a_peer_announces_over_udp_dials_and_is_served() {
    let content = real(300_000, 65_536);
    for nat in [
        Nat::FullCone,
        Nat::Restricted,
        Nat::Symmetric,
        Nat::Firewall,
    ] {
        let mut world = World::with_config(strict(1));
        let tracker = world.add_tracker(Duration::from_secs(60));
        let add = AddTorrent {
            trackers: Some(vec![vec![world.udp_url(tracker)]]),
            ..AddTorrent::default()
        };
        let mut hidden = HostConfig::default();
        hidden.nat = nat;
        let open = world.add_host(HostConfig::default());
        let inside = world.add_host(hidden.clone());
        // The seed cannot be dialled, and dials; the leecher inside can be reached by nobody.
        let source = world.add_host(hidden);
        world.seed_torrent(source, &content, add.clone()).unwrap();
        world.add_torrent(open, &content, add.clone()).unwrap();
        world.add_torrent(inside, &content, add).unwrap();
        if let Err(failure) = world.run_until_complete(HOUR) {
            panic!("{nat:?}: {failure}");
        }
    }
}

#[test]
fn scripted_peers_of_every_manner_hold_nobody_up() {
    let content = real(600_000, 65_536);
    let manners = [
        Manner::Honest,
        Manner::Corrupt,
        Manner::Stingy,
        Manner::Repeating(5),
        Manner::Flooding(200),
        Manner::Breaking,
    ];
    for manner in manners {
        let mut world = World::with_config(strict(1));
        let scripted = ScriptedSeed::new(&content, manner);
        let scripted = world.add_actor(HostConfig::with_rate(500_000), scripted);
        let mute = world.add_actor(HostConfig::default(), Mute);
        let babbler = world.add_actor(HostConfig::default(), Babbler);
        let honest = world.add_host(HostConfig::with_rate(200_000));
        world
            .seed_torrent(honest, &content, AddTorrent::default())
            .unwrap();
        let peers = [scripted, mute, babbler, honest].map(|host| world.address(host));
        let leecher = world.add_host(HostConfig::default());
        let add = AddTorrent {
            peers: peers.to_vec(),
            ..AddTorrent::default()
        };
        world.add_torrent(leecher, &content, add).unwrap();
        if let Err(failure) = world.run_until_complete(HOUR) {
            panic!("{manner:?}: {failure}");
        }
    }
}

#[test]
fn an_honest_scripted_seed_is_seed_enough() {
    let content = real(600_000, 65_536);
    let mut world = World::with_config(strict(1));
    let scripted = ScriptedSeed::new(&content, Manner::Honest);
    let scripted = world.add_actor(HostConfig::with_rate(500_000), scripted);
    let leecher = world.add_host(HostConfig::default());
    let add = AddTorrent {
        peers: vec![world.address(scripted)],
        ..AddTorrent::default()
    };
    world.add_torrent(leecher, &content, add).unwrap();
    world.run_until_complete(MINUTE).unwrap();
}

#[test]
fn who_leaves_in_good_order_is_missed_by_the_tracker_and_can_come_back() {
    let content = real(2_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 2, |_| {});
    let leecher = swarm.leechers[0];
    swarm
        .world
        .schedule(Duration::from_secs(1), Fault::Leave(leecher));
    swarm.world.run_for(MINUTE).unwrap();
    assert!(!swarm.world.host(leecher).is_up());
    swarm.world.restart(leecher);
    swarm.complete(HOUR).unwrap();
}

#[test]
fn rot_is_found_by_those_that_download_it() {
    let content = real(1_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    let spoiled = swarm.world.add_host(HostConfig::with_rate(2_000_000));
    let add = swarm.add.clone();
    swarm.world.seed_torrent(spoiled, &content, add).unwrap();
    for piece in 0..content.pieces() {
        let rot = Fault::Rot {
            host: spoiled,
            torrent: 0,
            piece,
            offset: 5,
        };
        swarm.world.schedule(Duration::ZERO, rot);
    }
    swarm.complete(HOUR).unwrap();
}

#[test]
fn a_torrent_that_could_get_on_and_does_not_ends_the_run() {
    let content = real(300_000, 65_536);
    let mut world = World::new(0x2a);
    world.set_repeat_command("try again");
    let seed = world.add_host(HostConfig::default());
    let leecher = world.add_host(HostConfig::default());
    // Nobody tells them of each other.
    world
        .seed_torrent(seed, &content, AddTorrent::default())
        .unwrap();
    world
        .add_torrent(leecher, &content, AddTorrent::default())
        .unwrap();
    let failure = world.run_until_complete(3 * HOUR).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Stalled(_)), "{failure}");
    assert_eq!((failure.seed, failure.host), (0x2a, Some(leecher)));
    let text = failure.to_string();
    assert!(text.starts_with("seed 0x2a, at 0.0"), "{text}");
    assert!(text.ends_with("repeat with: try again"), "{text}");
    assert_eq!(world.step(), Err(failure), "what has failed stays failed");
}

#[test]
fn what_is_not_done_in_time_ends_the_run_and_says_who_is_missing() {
    let content = real(3_000_000, 65_536);
    let mut swarm = Swarm::new(WorldConfig::new(3), &content, 1, |_| {});
    let failure = swarm.complete(Duration::from_secs(2)).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Late(_)));
    let text = failure.to_string();
    assert!(
        text.contains("host 1") && text.contains("1 hosts are not complete"),
        "{text}"
    );
    let repeat = "ANABRANCH_SEED=0x3 cargo test -p anabranch-sim -- --exact what_is_not_done_in_time_ends_the_run_and_says_who_is_missing";
    assert_eq!(failure.repeat, repeat);
}

#[test]
fn a_world_in_which_nothing_can_happen_says_so() {
    let mut world = World::new(1);
    let failure = world.run_until(HOUR, |_| false).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Quiet(_)), "{failure}");
}

/// Fails on purpose.
#[derive(Debug)]
struct Panicker;

impl Actor for Panicker {
    fn on(&mut self, _: &mut Stage<'_>, event: ActorEvent) {
        panic!("did not expect {event:?}");
    }
}

#[test]
fn a_panic_is_a_failure_with_a_seed_and_a_time() {
    let mut world = World::new(1);
    world.add_actor(HostConfig::default(), Panicker);
    let failure = world.run_for(MINUTE).unwrap_err();
    assert_eq!(
        failure.kind,
        FailureKind::Panic("did not expect Started".into())
    );
}

#[test]
fn who_is_complete_on_a_disk_that_lies_is_not_called_complete() {
    let content = real(300_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 2, |_| {});
    let cheated = swarm.leechers[1];
    swarm
        .world
        .host_mut(cheated)
        .disk_faults()
        .corrupt_writes_ppm = PPM;
    let failure = swarm.world.run_until_complete(HOUR).unwrap_err();
    let kind = FailureKind::Corrupt("5 of 5 pieces were written wrong".into());
    assert_eq!((failure.kind, failure.host), (kind, Some(cheated)));
}

#[test]
fn a_bad_link_is_bad_for_its_host_alone() {
    let content = real(2_000_000, 65_536);
    for (loss_ppm, jitter) in [(50_000, 0), (0, 400)] {
        let mut swarm = Swarm::empty(strict(1), &content);
        swarm.fill(2, |_| {});
        let mut bad = HostConfig::with_rate(1_000_000);
        bad.link.loss_ppm = loss_ppm;
        bad.link.jitter = Duration::from_millis(jitter);
        let add = swarm.add.clone();
        let host = swarm.world.add_host(bad);
        swarm.world.add_torrent(host, &content, add).unwrap();
        swarm.complete(HOUR).unwrap();
        let took = |host| swarm.world.host(host).completed_at(&content).unwrap();
        let others = swarm.leechers.iter().map(|host| took(*host)).max();
        assert!(
            others < Some(took(host)),
            "{others:?}, and {} with {loss_ppm} ppm and {jitter} ms",
            took(host)
        );
    }
}

#[test]
fn losses_on_the_way_add_up() {
    // One in two is lost on either link and one in two between them: one in eight comes through.
    let content = real(20_000, 16_384);
    let mut config = strict(1);
    config.loss_ppm = PPM / 2;
    let mut swarm = Swarm::new(config, &content, 1, |host| host.link.loss_ppm = PPM / 2);
    swarm.complete(HOUR).unwrap();
    let lossy = swarm.world.now();
    let mut swarm = Swarm::new(strict(1), &content, 1, |host| host.link.loss_ppm = PPM);
    let failure = swarm.complete(10 * MINUTE).unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Late(_)), "{failure}");
    assert!(lossy > anabranch_core::Instant::ZERO + Duration::from_secs(1));
}

#[test]
fn jobs_are_counted_by_kind() {
    let content = real(300_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    swarm.complete(HOUR).unwrap();
    let leecher = swarm.world.host(swarm.leechers[0]);
    assert_eq!(leecher.disk_jobs(JobKind::Store), 5);
    assert_eq!(leecher.disk_jobs(JobKind::Open), 1);
    assert!(swarm.world.host(swarm.seed).disk_jobs(JobKind::Read) >= 5);
}

/// A place to write to that can be read afterwards.
#[derive(Clone, Debug, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_or(Ok(0), |mut lines| lines.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_tells_what_happened_a_line_an_event_and_without_payload() {
    let content = real(300_000, 65_536);
    let lines = Lines::default();
    let mut swarm = Swarm::new(WorldConfig::new(1), &content, 1, |_| {});
    swarm.world.log_to(lines.clone());
    swarm.complete(HOUR).unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("> disk op#") && text.contains(" B\n"),
        "{text}"
    );
    assert!(text.lines().any(|line| line.contains("> notify Completed")));
    assert!(text.lines().all(|line| line.len() < 300));
}

#[test]
fn the_log_of_one_host_leaves_the_others_out() {
    let content = real(300_000, 65_536);
    let lines = Lines::default();
    let mut swarm = Swarm::new(WorldConfig::new(1), &content, 2, |_| {});
    let one = swarm.leechers[1];
    swarm.world.log_host_csv_to(one, lines.clone());
    let reset = Fault::ResetConnections(swarm.seed);
    swarm.world.schedule(Duration::from_millis(100), reset);
    swarm.complete(HOUR).unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let hosts = text.lines().skip(1).map(|line| line.split(',').nth(1));
    let hosts: std::collections::BTreeSet<_> = hosts.flatten().collect();
    // The fault is of no host.
    assert_eq!(hosts, ["", &one.index().to_string()].into());
    assert!(text.contains(",out,notify,Completed"), "{text}");
}
