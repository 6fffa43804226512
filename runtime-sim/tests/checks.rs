//! Every check that is always on fires when an engine does what it must not do, and says how to repeat
//! the run.

mod common;

use std::time::Duration;

use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::PieceIndex;
use anabranch_core::{Action, Engine, Instant, Notice, Reason, Wake};
use anabranch_sim::{FailureKind, World, WorldConfig};
use bytes::Bytes;
use common::{HOUR, MINUTE, Swarm, real, strict};

/// Runs a download whose leecher's engine is changed by `tamper`, until it fails; looks at what the
/// failure says of where, when and how.
fn broken(
    tamper: impl FnMut(Instant, &Engine, &mut Wake, &mut Vec<Action>) + Send + 'static,
) -> FailureKind {
    let (kind, _) = broken_in(strict(0xbad), tamper);
    kind
}

fn broken_in(
    config: WorldConfig,
    tamper: impl FnMut(Instant, &Engine, &mut Wake, &mut Vec<Action>) + Send + 'static,
) -> (FailureKind, World) {
    let content = real(3_000_000, 65_536);
    let mut swarm = Swarm::new(config, &content, 1, |_| {});
    let begun = swarm.world.run_for(Duration::from_secs(1));
    begun.expect("an engine that is as it should be");
    let leecher = swarm.leechers[0];
    swarm.world.tamper(leecher, tamper);
    let failure = swarm.complete(3 * HOUR).expect_err("a check fires");
    assert_eq!((failure.seed, failure.host), (0xbad, Some(leecher)));
    assert!(failure.at >= Instant::ZERO + Duration::from_secs(1));
    let text = failure.to_string();
    assert!(text.starts_with("seed 0xbad, at "), "{text}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    assert_eq!(
        failure.repeat,
        format!("ANABRANCH_SEED=0xbad cargo test -p anabranch-sim -- --exact {test}")
    );
    assert!(text.ends_with(&failure.repeat), "{text}");
    assert_eq!(swarm.world.step(), Err(failure.clone()), "it stays failed");
    (failure.kind, swarm.world)
}

/// The torrent that an engine has.
fn torrent(engine: &Engine) -> TorrentId {
    engine.torrents().next().expect("it was added")
}

#[test]
fn a_wake_in_the_past_ends_the_run() {
    let kind = broken(|now, _, wake, _| {
        *wake = Wake::At(now, Reason::Connection);
    });
    assert!(matches!(kind, FailureKind::WakeInThePast(_)), "{kind}");
}

#[test]
fn wakes_at_the_same_instant_without_end_end_the_run() {
    let kind = broken(|_, _, wake, _| *wake = Wake::Now(Reason::Connection));
    assert!(matches!(kind, FailureKind::Spinning(..)), "{kind}");
}

#[test]
fn wakes_one_after_the_other_without_progress_end_the_run() {
    let kind = broken(|now, _, wake, actions| {
        actions.clear();
        *wake = Wake::At(now + Duration::from_micros(1), Reason::Connection);
    });
    assert!(matches!(kind, FailureKind::Spinning(..)), "{kind}");
}

#[test]
fn a_sleep_without_end_while_something_is_missing_ends_the_run() {
    let kind = broken(|_, _, wake, _| *wake = Wake::Idle);
    assert!(matches!(kind, FailureKind::Asleep(_)), "{kind}");
}

#[test]
fn an_idle_engine_with_a_seed_within_reach_ends_the_run() {
    let kind = broken(|_, _, _, actions| {
        actions.retain(|action| !matches!(action, Action::Send { .. }));
    });
    assert!(matches!(kind, FailureKind::Stalled(_)), "{kind}");
}

#[test]
fn a_queue_of_bytes_to_send_over_its_limit_ends_the_run() {
    let kind = broken(|_, _, _, actions| {
        for action in actions {
            if let Action::Send { data, .. } = action {
                *data = Bytes::from(vec![0; 8 << 20]);
            }
        }
    });
    assert!(matches!(kind, FailureKind::OverBound(_)), "{kind}");
}

#[test]
fn more_credit_to_read_than_there_may_be_ends_the_run() {
    let kind = broken(|_, _, _, actions| {
        for action in actions {
            if let Action::Read { credit, .. } = action {
                *credit = 100 << 20;
            }
        }
    });
    assert!(matches!(kind, FailureKind::OverBound(_)), "{kind}");
}

#[test]
fn payload_in_memory_over_its_bound_ends_the_run() {
    let kind = broken(|_, _, _, actions| {
        for action in actions {
            if let Action::Disk {
                job: DiskJob::Store { data, .. },
                ..
            } = action
            {
                // The same memory counts as often as it is handed out.
                let much = Bytes::from(vec![0; 1 << 20]);
                data.extend((0..200).map(|_| Segment::Memory(much.clone())));
            }
        }
    });
    assert!(matches!(kind, FailureKind::OverMemory { .. }), "{kind}");
}

#[test]
fn a_piece_that_is_reported_and_not_there_ends_the_run() {
    let kind = broken(|_, engine, _, actions| {
        let torrent = torrent(engine);
        let piece = PieceIndex::new(45);
        actions.push(Action::Notify(Notice::Piece { torrent, piece }));
    });
    assert!(matches!(kind, FailureKind::NotOnDisk(_)), "{kind}");
}

#[test]
fn a_completion_that_is_told_too_early_ends_the_run() {
    let content = real(3_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    let leecher = swarm.leechers[0];
    swarm.world.tamper(leecher, |_, engine, _, actions| {
        if let Some(torrent) = engine.torrents().next() {
            actions.push(Action::Notify(Notice::Completed { torrent }));
        }
    });
    let failure = swarm.world.run_until_complete(HOUR).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::NotOnDisk(_)),
        "{failure}"
    );
}

#[test]
fn two_completions_for_one_disk_job_end_the_run() {
    let kind =
        broken(|_, _, _, actions| twice(actions, |action| matches!(action, Action::Disk { .. })));
    assert!(matches!(kind, FailureKind::Contract(_)), "{kind}");
}

#[test]
fn two_answers_to_one_command_end_the_run() {
    let content = real(300_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    let leecher = swarm.leechers[0];
    swarm.world.tamper(leecher, |_, _, _, actions| {
        twice(actions, |action| matches!(action, Action::Reply { .. }));
    });
    swarm.world.leave(leecher);
    let failure = swarm.world.run_for(MINUTE).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::Contract(_)),
        "{failure}"
    );
}

#[test]
fn two_completions_for_one_exchange_end_the_run() {
    let content = real(300_000, 65_536);
    let mut world = World::with_config(strict(1));
    let tracker = world.add_tracker(MINUTE);
    let host = world.add_host(anabranch_sim::HostConfig::default());
    world.tamper(host, |_, _, _, actions| {
        twice(actions, |action| matches!(action, Action::Http { .. }));
    });
    let add = anabranch_core::command::AddTorrent {
        trackers: Some(vec![vec![world.http_url(tracker)]]),
        ..Default::default()
    };
    world.add_torrent(host, &content, add).unwrap();
    let failure = world.run_for(MINUTE).unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::Contract(_)),
        "{failure}"
    );
}

/// Repeats the actions of a kind.
fn twice(actions: &mut Vec<Action>, which: impl Fn(&Action) -> bool) {
    let again: Vec<Action> = actions
        .iter()
        .filter(|action| which(action))
        .cloned()
        .collect();
    actions.extend(again);
}

#[test]
fn an_action_for_a_connection_that_never_was_ends_the_run() {
    // What was sent is lost, so that it dials anew, and of that nobody hears.
    let kind = broken(|_, _, _, actions| {
        actions.retain(|action| !matches!(action, Action::Connect { .. } | Action::Send { .. }));
    });
    assert!(matches!(kind, FailureKind::Contract(_)), "{kind}");
}

#[test]
fn a_panic_of_an_engine_ends_the_run() {
    let content = real(300_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
    let leecher = swarm.leechers[0];
    swarm
        .world
        .tamper(leecher, |_, _, _, _| panic!("an invariant"));
    let failure = swarm.world.run_for(HOUR).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Panic("an invariant".into()));
}

#[test]
fn a_tamperer_that_does_nothing_changes_nothing() {
    let content = real(300_000, 65_536);
    let run = |tampered: bool| {
        let mut swarm = Swarm::new(strict(1), &content, 1, |_| {});
        if tampered {
            let leecher = swarm.leechers[0];
            swarm.world.tamper(leecher, |_, _, _, _| {});
        }
        swarm.complete(HOUR).unwrap();
        swarm.world.trace_hash()
    };
    assert_eq!(run(false), run(true));
}
