//! Whole engines against each other, in virtual time.

mod world;

use std::time::Duration;

use anabranch_core::command::{AddTorrent, Priority, RateLimits, Reply, SeedGoal};
use anabranch_core::error::CommandError;
use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::notice::DisconnectReason;
use anabranch_core::{Command, Config, Notice, TorrentState, limits};
use world::{Content, World, config};

const MINUTE: Duration = Duration::from_secs(60);

fn add_with_peers(world: &World, peers: &[usize]) -> AddTorrent {
    let peers = peers
        .iter()
        .map(|peer| world.hosts[*peer].address)
        .collect();
    AddTorrent {
        peers,
        ..AddTorrent::default()
    }
}

#[test]
fn a_leecher_downloads_everything_from_a_seed() {
    let content = Content::new(3_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
    let stats = world.hosts[leecher].engine.stats();
    assert_eq!(stats.payload_received, 3_000_000);
    assert_eq!((stats.wasted, stats.pieces_failed), (0, 0));
    assert_eq!(world.hosts[seed].engine.stats().payload_sent, 3_000_000);
    let completed = |notice: &&Notice| matches!(notice, Notice::Completed { .. });
    assert_eq!(
        world.hosts[leecher]
            .notices
            .iter()
            .filter(completed)
            .count(),
        1
    );
}

#[test]
fn leechers_trade_among_each_other() {
    let content = Content::new(4_000_000, 32_768);
    let mut world = World::new();
    // The seed is slow: without trade, four copies would take four times as long as one.
    let limits = RateLimits {
        download: None,
        upload: Some(400_000),
    };
    let seed = world.seed(config(|config| config.limits = limits), &content);
    let leechers: Vec<usize> = (0..4).map(|_| world.host(Config::default())).collect();
    for leecher in &leechers {
        let mut peers = leechers.clone();
        peers.retain(|peer| peer != leecher);
        peers.push(seed);
        let add = add_with_peers(&world, &peers);
        world.add(*leecher, &content, add);
    }
    let start = world.now;
    world.run_until(2 * MINUTE, |world| {
        leechers.iter().all(|host| world.has_all(*host, &content))
    });
    let took = world.now.since(start).as_secs();
    assert!(took < 25, "four copies of ten seconds' worth took {took} s");
    let sent = world.hosts[seed].engine.stats().payload_sent;
    assert!(sent < 8_000_000, "the seed sent {sent} bytes");
}

#[test]
fn one_byte_at_a_time_gives_the_same_files() {
    let content = Content::new(70_000, 32_768);
    let mut world = World::new();
    world.chunk = 1;
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
}

#[test]
fn a_peer_that_lies_is_found_and_banned_and_the_honest_one_is_not() {
    let content = Content::new(2_000_000, 131_072);
    let mut world = World::new();
    let honest = world.seed(Config::default(), &content);
    let liar = world.seed(Config::default(), &content);
    world.hosts[liar].faults.corrupt = (0..16).collect();
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[honest, liar]);
    world.add(leecher, &content, add);
    world.run_until(5 * MINUTE, |world| world.has_all(leecher, &content));
    let banned: Vec<_> = world.hosts[leecher]
        .notices
        .iter()
        .filter_map(|notice| {
            let Notice::PeerBanned { address, .. } = notice else {
                return None;
            };
            Some(address.ip())
        })
        .collect();
    assert_eq!(banned, [world.hosts[liar].address.ip()]);
    assert!(world.hosts[leecher].engine.stats().pieces_failed > 0);
}

#[test]
fn a_download_rate_limit_is_obeyed() {
    let content = Content::new(1_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let limits = RateLimits {
        download: Some(100_000),
        upload: None,
    };
    let add = AddTorrent {
        limits,
        ..add_with_peers(&world, &[seed])
    };
    world.add(leecher, &content, add);
    let start = world.now;
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
    let took = world.now.since(start).as_millis();
    assert!(
        (9_800..=11_500).contains(&took),
        "ten seconds' worth took {took} ms"
    );
}

#[test]
fn an_upload_rate_limit_is_obeyed() {
    let content = Content::new(1_000_000, 65_536);
    let mut world = World::new();
    let limits = RateLimits {
        download: None,
        upload: Some(100_000),
    };
    let seed = world.seed(config(|config| config.limits = limits), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    let start = world.now;
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
    let took = world.now.since(start).as_millis();
    assert!(
        (9_800..=11_500).contains(&took),
        "ten seconds' worth took {took} ms"
    );
}

#[test]
fn pieces_larger_than_memory_are_written_early_and_read_back() {
    let content = Content::new(6 << 20, 4 << 20);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let config = config(|config| config.write_budget = 1 << 20);
    let leecher = world.host(config);
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    let most = std::cell::Cell::new(0);
    world.run_until(MINUTE, |world| {
        let stats = world.hosts[leecher].engine.stats();
        most.set(most.get().max(stats.partial_backlog + stats.write_backlog));
        world.has_all(leecher, &content)
    });
    assert!(most.get() <= 3 << 20, "{} bytes were held", most.get());
}

#[test]
fn a_full_disk_stops_the_torrent_and_it_goes_on_by_itself() {
    let content = Content::new(1_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let full = DiskError {
        kind: DiskErrorKind::NoSpace,
        file: "content.bin".into(),
        message: "no space left on device".into(),
    };
    world.hosts[leecher].faults.store = Some(full.clone());
    let add = add_with_peers(&world, &[seed]);
    let torrent = world.add(leecher, &content, add);
    world.run_for(MINUTE);
    let view = world.hosts[leecher].engine.torrent(torrent).unwrap();
    assert_eq!(view.state(), TorrentState::Failed);
    let told =
        |notice: &&Notice| matches!(notice, Notice::StorageFailed { error, .. } if *error == full);
    assert_eq!(world.hosts[leecher].notices.iter().filter(told).count(), 1);
    world.hosts[leecher].faults.store = None;
    world.run_until(3 * MINUTE, |world| world.has_all(leecher, &content));
    let recovered = |notice: &Notice| matches!(notice, Notice::StorageRecovered { .. });
    assert!(world.hosts[leecher].notices.iter().any(recovered));
}

#[test]
fn many_failures_at_once_do_not_put_off_the_recovery() {
    let content = Content::new(8_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    let torrent = world.add(leecher, &content, add);
    world.run_until(MINUTE, |world| {
        world.hosts[leecher].engine.stats().pieces_verified > 20
    });
    world.hosts[leecher].faults.store = Some(DiskError {
        kind: DiskErrorKind::NotFound,
        file: "content.bin".into(),
        message: "gone".into(),
    });
    world.run_for(Duration::from_secs(5));
    let view = world.hosts[leecher].engine.torrent(torrent).unwrap();
    assert_eq!(view.state(), TorrentState::Failed);
    let told = |notice: &&Notice| matches!(notice, Notice::StorageFailed { .. });
    assert_eq!(world.hosts[leecher].notices.iter().filter(told).count(), 1);
    world.hosts[leecher].faults.store = None;
    // Looked at after 2, 6 and 14 s at most.
    world.run_until(Duration::from_secs(9), |world| {
        world.has_all(leecher, &content)
    });
}

/// How often the torrent of a host told that its disk failed.
fn failures(world: &World, host: usize) -> usize {
    let told = |notice: &&Notice| matches!(notice, Notice::StorageFailed { .. });
    world.hosts[host].notices.iter().filter(told).count()
}

#[test]
fn what_a_disk_does_not_take_waits_in_memory_and_the_waits_grow() {
    for kind in [DiskErrorKind::Permission, DiskErrorKind::NoSpace] {
        let content = Content::new(1_000_000, 65_536);
        let mut world = World::new();
        let seed = world.seed(Config::default(), &content);
        let leecher = world.host(Config::default());
        // A probe that sees nothing wrong is what makes it hard.
        world.hosts[leecher].faults.blind = true;
        world.hosts[leecher].faults.store = Some(DiskError {
            kind,
            file: "content.bin".into(),
            message: "no".into(),
        });
        let add = add_with_peers(&world, &[seed]);
        world.add(leecher, &content, add);
        world.run_for(10 * MINUTE);
        // 2 s, and twice as long each time up to a minute.
        let failed = failures(&world, leecher);
        assert!((6..=20).contains(&failed), "{failed}");
        let most = content.data.len() as u64 + 200_000;
        let received = world.hosts[leecher].engine.stats().payload_received;
        assert!(received <= most, "{received}");
        world.hosts[leecher].faults.store = None;
        world.run_until(2 * MINUTE, |world| world.has_all(leecher, &content));
        let stats = world.hosts[leecher].engine.stats();
        assert!(stats.payload_received <= most, "{}", stats.payload_received);
        assert_eq!((stats.partial_backlog, stats.write_backlog), (0, 0));
    }
}

#[test]
fn a_failed_torrent_leaves_memory_to_others() {
    let content = Content::new(4_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let budget = 1 << 20;
    let leecher = world.host(config(|config| config.write_budget = budget));
    world.hosts[leecher].faults.store = Some(DiskError {
        kind: DiskErrorKind::NoSpace,
        file: "content.bin".into(),
        message: "full".into(),
    });
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    world.run_for(MINUTE);
    let stats = world.hosts[leecher].engine.stats();
    assert!(stats.partial_backlog <= u64::from(budget) / 4);
    assert_eq!(stats.write_backlog, 0);
}

/// A run of a torrent of one large piece that ends in the middle, and the host of the next one.
fn interrupted(world: &mut World, content: &Content, seed: usize) -> (usize, usize) {
    let first = world.host(Config::default());
    let limits = RateLimits {
        download: Some(200_000),
        upload: None,
    };
    let add = AddTorrent {
        limits,
        ..add_with_peers(world, &[seed])
    };
    world.add(first, content, add);
    world.run_for(Duration::from_secs(10));
    let shutdown = world.request(first, Command::Shutdown);
    world.run_until(MINUTE, |world| {
        world.hosts[first].replies.contains_key(&shutdown)
    });
    assert!(world.hosts[first].engine.is_down());
    let second = world.host(Config::default());
    world.hosts[second].disk = world.hosts[first].disk.clone();
    world.hosts[second].resume = world.hosts[first].resume.clone();
    world.hosts[second].partial = world.hosts[first].partial.clone();
    (first, second)
}

#[test]
fn blocks_of_an_incomplete_piece_are_not_fetched_again() {
    for piece_length in [16 << 20, 1 << 20] {
        let content = Content::new(4 << 20, piece_length);
        let mut world = World::new();
        let seed = world.seed(Config::default(), &content);
        let (first, second) = interrupted(&mut world, &content, seed);
        let kept: u32 = world.hosts[first]
            .partial
            .iter()
            .map(|map| map.blocks.count())
            .sum();
        assert!(kept > 10, "{kept}");
        let add = add_with_peers(&world, &[seed]);
        world.add(second, &content, add);
        world.run_until(MINUTE, |world| world.has_all(second, &content));
        let received = |host: usize| world.hosts[host].engine.stats().payload_received;
        let (before, after) = (received(first), received(second));
        assert!(before > 1_000_000);
        assert_eq!(before + after, content.data.len() as u64);
        assert_eq!(world.hosts[second].engine.stats().wasted, 0);
    }
}

#[test]
fn blocks_of_a_large_piece_are_recorded_before_it_is_complete() {
    let content = Content::new(16 << 20, 16 << 20);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let first = world.host(Config::default());
    let limits = RateLimits {
        download: Some(100_000),
        upload: None,
    };
    let add = AddTorrent {
        limits,
        ..add_with_peers(&world, &[seed])
    };
    world.add(first, &content, add);
    // Nothing ends it in good order.
    world.run_for(2 * MINUTE);
    let kept: u32 = world.hosts[first]
        .partial
        .iter()
        .map(|map| map.blocks.count())
        .sum();
    let received = world.hosts[first].engine.stats().payload_received;
    let kept = u64::from(kept) * 16_384;
    assert!(kept + 40 * 100_000 > received, "{kept} of {received}");
}

#[test]
fn a_kept_block_that_is_wrong_is_fetched_again_and_nobody_is_to_blame() {
    let content = Content::new(4 << 20, 4 << 20);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let (first, second) = interrupted(&mut world, &content, seed);
    let block = world.hosts[first].partial[0].blocks.iter().next().unwrap();
    world.hosts[second].disk.get_mut(&0).unwrap()[block as usize * 16_384] ^= 1;
    let add = add_with_peers(&world, &[seed]);
    world.add(second, &content, add);
    world.run_until(MINUTE, |world| world.has_all(second, &content));
    let stats = world.hosts[second].engine.stats();
    assert_eq!(stats.pieces_failed, 1);
    let banned = |notice: &Notice| matches!(notice, Notice::PeerBanned { .. });
    assert!(!world.hosts[second].notices.iter().any(banned));
}

#[test]
fn a_recheck_takes_no_blocks_for_granted() {
    let content = Content::new(4 << 20, 4 << 20);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let (_, second) = interrupted(&mut world, &content, seed);
    let add = AddTorrent {
        recheck: true,
        ..add_with_peers(&world, &[seed])
    };
    world.add(second, &content, add);
    world.run_until(MINUTE, |world| world.has_all(second, &content));
    let received = world.hosts[second].engine.stats().payload_received;
    assert_eq!(received, content.data.len() as u64);
}

#[test]
fn what_was_checkpointed_is_not_fetched_again() {
    let content = Content::new(2_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let first = world.host(Config::default());
    let limits = RateLimits {
        download: Some(200_000),
        upload: None,
    };
    let add = AddTorrent {
        limits,
        ..add_with_peers(&world, &[seed])
    };
    let torrent = world.add(first, &content, add);
    world.run_for(Duration::from_secs(5));
    let shutdown = world.request(first, Command::Shutdown);
    world.run_until(MINUTE, |world| {
        world.hosts[first].replies.contains_key(&shutdown)
    });
    assert!(world.hosts[first].engine.is_down());
    assert!(world.hosts[first].engine.torrent(torrent).is_none());
    let resume = world.hosts[first].resume.clone().unwrap();
    assert!(resume.count() >= 10 && !resume.is_full());

    let second = world.host(Config::default());
    world.hosts[second].disk = world.hosts[first].disk.clone();
    world.hosts[second].resume = Some(resume.clone());
    let add = add_with_peers(&world, &[seed]);
    world.add(second, &content, add);
    world.run_until(MINUTE, |world| world.has_all(second, &content));
    let kept = u64::from(resume.count()) * 65_536;
    assert!(world.hosts[second].engine.stats().payload_received <= 2_000_000 - kept);
}

#[test]
fn a_removed_torrent_is_gone_and_its_id_means_nothing() {
    let content = Content::new(500_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    let torrent = world.add(leecher, &content, add.clone());
    world.run_for(Duration::from_millis(40));
    let request = world.request(
        leecher,
        Command::RemoveTorrent {
            torrent,
            delete_data: true,
        },
    );
    world.run_until(MINUTE, |world| {
        world.hosts[leecher].replies.contains_key(&request)
    });
    assert!(world.hosts[leecher].engine.torrent(torrent).is_none());
    assert!(world.command(leecher, Command::Pause { torrent }).is_err());
    let again = world.add(leecher, &content, add);
    assert_ne!(again, torrent);
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
}

#[test]
fn a_paused_torrent_has_no_peers_and_goes_on_when_resumed() {
    let content = Content::new(2_000_000, 65_536);
    let mut world = World::new();
    let limits = RateLimits {
        download: None,
        upload: Some(400_000),
    };
    let seed = world.seed(config(|config| config.limits = limits), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    let torrent = world.add(leecher, &content, add);
    world.run_for(Duration::from_secs(2));
    world.command(leecher, Command::Pause { torrent }).unwrap();
    world.run_for(MINUTE);
    let status = world.hosts[leecher]
        .engine
        .torrent(torrent)
        .unwrap()
        .status(world.now);
    assert_eq!((status.state, status.peers), (TorrentState::Paused, 0));
    assert!(status.have < 1_500_000);
    world.command(leecher, Command::Resume { torrent }).unwrap();
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
}

#[test]
fn a_paused_torrent_that_is_rechecked_stays_paused() {
    let content = Content::new(2_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let torrent = world.hosts[seed].engine.torrents().next().unwrap();
    let state = |world: &World| {
        let view = world.hosts[seed].engine.torrent(torrent).unwrap();
        view.status(world.now).state
    };
    world.run_for(MINUTE);
    world.command(seed, Command::Pause { torrent }).unwrap();
    world.command(seed, Command::Recheck { torrent }).unwrap();
    assert_eq!(state(&world), TorrentState::Checking);
    world.run_until(MINUTE, |world| state(world) == TorrentState::Paused);
    let checks = |world: &World| {
        let notices = world.hosts[seed].notices.iter();
        notices
            .filter(|notice| matches!(notice, Notice::Checked { .. }))
            .count()
    };
    assert_eq!(checks(&world), 2);

    // Whoever resumes it while it is checked means what comes after that.
    world.command(seed, Command::Recheck { torrent }).unwrap();
    world.command(seed, Command::Resume { torrent }).unwrap();
    world.run_until(MINUTE, |world| state(world) == TorrentState::Seeding);
    assert_eq!(checks(&world), 3);
}

#[test]
fn everybody_who_removes_a_torrent_is_answered_when_it_is_gone() {
    let content = Content::new(500_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let torrent = world.hosts[seed].engine.torrents().next().unwrap();
    world.run_for(MINUTE);
    let remove = Command::RemoveTorrent {
        torrent,
        delete_data: false,
    };
    let requests = [
        world.request(seed, remove.clone()),
        world.request(seed, remove),
    ];
    let answers = |world: &World| {
        let replies = &world.hosts[seed].replies;
        requests.map(|request| replies.get(&request).cloned())
    };
    assert_eq!(answers(&world), [None, None]);
    world.run_until(MINUTE, |world| answers(world)[0].is_some());
    assert_eq!(
        answers(&world),
        [Some(Ok(Reply::Done)), Some(Ok(Reply::Done))]
    );
    assert!(world.hosts[seed].engine.torrent(torrent).is_none());
}

#[test]
fn seeding_ends_when_its_goal_is_reached() {
    let content = Content::new(500_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let id = world.hosts[seed].engine.torrents().next().unwrap();
    let goal = SeedGoal {
        ratio_permille: Some(1_000),
        time: None,
    };
    world
        .command(seed, Command::SetGoal { torrent: id, goal })
        .unwrap();
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    world.run_until(MINUTE, |world| {
        world.hosts[seed]
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::GoalReached { .. }))
    });
    // The last of it is on its way.
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
    assert_eq!(
        world.hosts[seed].engine.torrent(id).unwrap().state(),
        TorrentState::Paused
    );
}

#[test]
fn a_ratio_is_passed_by_less_than_a_block_however_fast_the_link() {
    let content = Content::new(4_000_000, 65_536);
    for ratio in [1_u32, 250, 500, 1_500] {
        let mut world = World::new();
        let seed = world.seed(Config::default(), &content);
        let id = world.hosts[seed].engine.torrents().next().unwrap();
        let goal = SeedGoal {
            ratio_permille: Some(ratio),
            time: None,
        };
        world
            .command(seed, Command::SetGoal { torrent: id, goal })
            .unwrap();
        let leechers: Vec<usize> = (0..3).map(|_| world.host(Config::default())).collect();
        for leecher in &leechers {
            let add = add_with_peers(&world, &[seed]);
            world.add(*leecher, &content, add);
        }
        world.run_until(MINUTE, |world| {
            let view = world.hosts[seed].engine.torrent(id).unwrap();
            view.state() == TorrentState::Paused
        });
        let now = world.now;
        let view = world.hosts[seed].engine.torrent(id).unwrap();
        let uploaded = view.status(now).uploaded;
        let target = 4_000 * u64::from(ratio);
        assert!(
            (target..target + 16_384).contains(&uploaded),
            "{ratio} ‰: {uploaded} for {target}"
        );
        // What was counted arrives, too.
        world.run_until(MINUTE, |world| {
            let received = |leecher: &usize| world.hosts[*leecher].engine.stats().payload_received;
            leechers.iter().map(received).sum::<u64>() == uploaded
        });
        let goals = world.hosts[seed].notices.iter();
        let goals = goals.filter(|notice| matches!(notice, Notice::GoalReached { .. }));
        assert_eq!(goals.count(), 1);
    }
}

#[test]
fn a_peer_that_the_user_bans_is_let_go_and_not_met_again_until_it_is_pardoned() {
    let content = Content::new(2_000_000, 65_536);
    let mut world = World::new();
    let limits = RateLimits {
        download: None,
        upload: Some(100_000),
    };
    let seed = world.seed(config(|config| config.limits = limits), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    let id = world.add(leecher, &content, add);
    let peers = move |world: &World| {
        let view = world.hosts[leecher].engine.torrent(id).unwrap();
        view.peers(world.now).len()
    };
    world.run_until(MINUTE, |world| peers(world) == 1);

    let address = world.hosts[seed].address.ip();
    world.command(leecher, Command::Ban { address }).unwrap();
    assert_eq!(peers(&world), 0);
    let reason = DisconnectReason::Banned;
    let told = |notice: &Notice| matches!(notice, Notice::PeerDisconnected { reason: why, .. } if *why == reason);
    assert!(world.hosts[leecher].notices.iter().any(told));
    // Neither does it dial, nor is it let in.
    let from_there = world.hosts[leecher].address;
    let torrent = world.hosts[seed].engine.torrents().next().unwrap();
    let peers_there = vec![from_there];
    let command = Command::AddPeers {
        torrent,
        peers: peers_there,
    };
    world.command(seed, command).unwrap();
    world.run_for(5 * MINUTE);
    assert_eq!(peers(&world), 0);

    world.command(leecher, Command::Unban { address }).unwrap();
    let command = Command::AddPeers {
        torrent: id,
        peers: vec![world.hosts[seed].address],
    };
    world.command(leecher, command).unwrap();
    world.run_until(5 * MINUTE, |world| world.has_all(leecher, &content));
}

#[test]
fn the_users_bans_are_bounded_and_not_pushed_out_by_others() {
    let mut world = World::new();
    let host = world.host(Config::default());
    let nth = |number: u32| std::net::IpAddr::from(number.to_be_bytes());
    let most = u32::try_from(limits::MAX_BANNED).unwrap();
    for number in 0..most {
        let address = nth(number);
        world.command(host, Command::Ban { address }).unwrap();
    }
    let address = nth(most);
    let error = CommandError::TooManyBans { limit: most };
    assert_eq!(world.command(host, Command::Ban { address }), Err(error));
    let address = nth(7);
    world.command(host, Command::Ban { address }).unwrap();
    world.command(host, Command::Unban { address }).unwrap();
    let address = nth(most);
    world.command(host, Command::Ban { address }).unwrap();
}

#[test]
fn nothing_is_fetched_of_what_is_not_wanted() {
    let content = Content::new(500_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = AddTorrent {
        priorities: vec![Priority::Skip],
        ..add_with_peers(&world, &[seed])
    };
    let torrent = world.add(leecher, &content, add);
    world.run_for(MINUTE);
    assert_eq!(world.hosts[leecher].engine.stats().payload_received, 0);
    let files = vec![(
        anabranch_core::metainfo::FileIndex::new(0),
        Priority::Normal,
    )];
    world
        .command(leecher, Command::SetPriorities { torrent, files })
        .unwrap();
    world.run_until(5 * MINUTE, |world| world.has_all(leecher, &content));
}

#[test]
fn an_idle_engine_sleeps() {
    let content = Content::new(100_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    world.run_for(MINUTE);
    let before = world.hosts[seed].engine.stats().events;
    world.run_for(10 * MINUTE);
    let events = world.hosts[seed].engine.stats().events - before;
    assert!(events <= 2, "{events} events in ten idle minutes");
}

#[test]
fn a_checkpoint_is_answered_when_it_is_durable() {
    let content = Content::new(1_000_000, 65_536);
    let mut world = World::new();
    let seed = world.seed(Config::default(), &content);
    let leecher = world.host(Config::default());
    let add = add_with_peers(&world, &[seed]);
    let torrent = world.add(leecher, &content, add);
    world.run_until(MINUTE, |world| world.has_all(leecher, &content));
    world.hosts[leecher].resume = None;
    let first = world.request(leecher, Command::Checkpoint { torrent });
    let second = world.request(leecher, Command::Checkpoint { torrent });
    let answer = |world: &World, request| world.hosts[leecher].replies.get(&request).cloned();
    assert_eq!(
        (answer(&world, first), answer(&world, second)),
        (None, None)
    );
    assert!(world.hosts[leecher].resume.is_none());
    world.run_until(MINUTE, |world| answer(world, second).is_some());
    assert_eq!(answer(&world, first), Some(Ok(Reply::Done)));
    assert_eq!(answer(&world, second), Some(Ok(Reply::Done)));
    let resume = world.hosts[leecher].resume.as_ref();
    assert!(resume.is_some_and(|have| have.is_full()));

    let error = DiskError {
        kind: DiskErrorKind::Io,
        file: "resume data".into(),
        message: "no luck".into(),
    };
    world.hosts[leecher].faults.checkpoint = Some(error.clone());
    let third = world.request(leecher, Command::Checkpoint { torrent });
    world.run_until(MINUTE, |world| answer(world, third).is_some());
    assert_eq!(answer(&world, third), Some(Err(CommandError::Disk(error))));
}

#[test]
fn a_checkpoint_that_was_asked_for_is_answered_whatever_comes_between() {
    let content = Content::new(1_000_000, 65_536);
    for between in 0..4 {
        let mut world = World::new();
        let host = world.seed(Config::default(), &content);
        let torrent = world.hosts[host].engine.torrents().next().unwrap();
        // While the storage is being opened and checked.
        let early = world.request(host, Command::Checkpoint { torrent });
        if between < 3 {
            world.run_until(MINUTE, |world| world.has_all(host, &content));
        }
        let late = world.request(host, Command::Checkpoint { torrent });
        let other = match between {
            0 => Command::Recheck { torrent },
            1 => Command::Pause { torrent },
            2 => Command::Shutdown,
            _ => Command::RemoveTorrent {
                torrent,
                delete_data: false,
            },
        };
        world.request(host, other);
        let last = world.request(host, Command::Checkpoint { torrent });
        world.run_for(MINUTE);
        for request in [early, late, last] {
            let answer = world.hosts[host].replies.get(&request);
            assert!(answer.is_some(), "{between}: {request:?} is not answered");
        }
    }
}

#[test]
fn a_configuration_of_nothing_but_zeros_downloads_all_the_same() {
    let content = Content::new(1_000_000, 65_536);
    let mut world = World::new();
    let stingy = config(|config| {
        config.write_budget = 0;
        config.read_budget = 0;
        config.check_depth = 0;
        config.default_peer_reqq = 0;
        config.keep_alive = Duration::ZERO;
        config.checkpoint_interval = Duration::ZERO;
        config.tracker_numwant = 0;
        config.unchoke_slots = 0;
    });
    let seed = world.seed(stingy.clone(), &content);
    let leecher = world.host(stingy);
    let add = add_with_peers(&world, &[seed]);
    world.add(leecher, &content, add);
    world.run_until(10 * MINUTE, |world| world.has_all(leecher, &content));
}
