//! What users have clients do.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anabranch_driver::core::command::SeedGoal;
use anabranch_driver::core::status::Hindrance;
use anabranch_driver::core::{Notice, TorrentState};
use anabranch_driver::{AddOptions, Error};
use anabranch_tests::net::free_port;
use anabranch_tests::subject::Subject;

use crate::disk::checked;
use crate::stage::{Ear, Stage, builder, client, is_piece};

pub(crate) async fn a_paused_torrent_stops_and_goes_on<S: Subject>() {
    let stage = Stage::file(40 * 65_536);
    let (seed, rest) = stage.halting_seed(50);
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    heard.times(5, is_piece).await;
    torrent.pause().await.expect("there");
    let status = torrent.status().await.expect("there");
    assert_eq!(status.state, TorrentState::Paused);
    assert_eq!(status.hindrance, Some(Hindrance::Paused));
    assert!(torrent.peers().await.expect("there").is_empty());
    rest.open();
    torrent.resume().await.expect("there");
    torrent.wait_complete().await.expect("downloaded");
    leecher.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    stage.assert_copied("copy");
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/40",
            "downloading",
            "paused",
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

pub(crate) async fn a_seed_that_reached_its_goal_pauses<S: Subject>() {
    let stage = Stage::file(1_000_000);
    let seeder = client::<S>();
    let mut seen = Ear::new(seeder.notices());
    let options = AddOptions {
        goal: SeedGoal {
            ratio_permille: Some(1_000),
            time: None,
        },
        ..stage.below("origin")
    };
    let seeding = seeder.add(stage.source(), options).await.expect("added");
    let leecher = client::<S>();
    let options = stage.fetched("copy", seeder.listen_addrs());
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    seen.until(|notice| matches!(notice, Notice::GoalReached { .. }).then_some(()))
        .await;
    let status = seeding.status().await.expect("there");
    assert_eq!(status.session_uploaded, stage.torrent.length);
    seeder.shutdown().await.expect("a good end");
    seen.until_the_end().await;
    let story = seen.story();
    assert!(story.contains(&"goal".to_owned()) && story.contains(&"paused".to_owned()));
    stage.assert_copied("copy");
}

pub(crate) async fn a_busy_client_shuts_down_in_good_order<S: Subject>() {
    let stage = Stage::file(64 * 65_536);
    let (seed, _rest) = stage.halting_seed(100);
    let other = Stage::file(3_000_000);
    let another = Stage::file(4_000_000);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let busy = builder::<S>().listen([address]).start().expect("a client");
    let mut heard = Ear::new(busy.notices());
    // One that downloads, one that seeds to somebody, one that has just come.
    let options = stage.fetched("copy", &[seed.address()]);
    let downloading = busy.add(stage.source(), options).await.expect("added");
    other.seed(&busy).await;
    let leecher = client::<S>();
    let options = other.fetched("copy", busy.listen_addrs());
    let served = leecher.add(other.source(), options).await.expect("added");
    heard.times(10, is_piece).await;
    let last = busy.add(another.source(), another.below("origin")).await;
    last.expect("added");
    busy.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    TcpListener::bind(address).expect("the port is free");
    assert!(matches!(downloading.status().await, Err(Error::Stopped)));
    assert!(matches!(busy.shutdown().await, Err(Error::Stopped)));

    // What was told is there, and whoever downloaded finds the rest elsewhere.
    let told = heard.count(|notice| is_piece(notice) && notice.torrent() == downloading.id());
    let again = client::<S>();
    let mut heard = Ear::new(again.notices());
    let options = stage.below("copy");
    again.add(stage.source(), options).await.expect("added");
    let (have, _) = heard.until(checked).await;
    assert!(have as usize >= told, "{have} of {told}");
    let seeder = other.seeder::<S>().await;
    let address = seeder.listen_addrs()[0];
    served.add_peer(address).await.expect("there");
    served.wait_complete().await.expect("downloaded");
    other.assert_copied("copy");
}

pub(crate) async fn calls_that_are_given_up_do_no_harm<S: Subject>() {
    let stage = Stage::file(1_000_000);
    let seeder = stage.seeder::<S>().await;
    let leecher = client::<S>();
    let mut notices = leecher.notices();
    let options = AddOptions {
        paused: true,
        ..stage.fetched("copy", seeder.listen_addrs())
    };
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    for _ in 0..1_000 {
        // The messages find the queue full now and then, and their answers nobody.
        give_up(torrent.status()).await;
        give_up(torrent.pause()).await;
        give_up(torrent.wait_complete()).await;
        give_up(leecher.torrents()).await;
        give_up(leecher.stats()).await;
    }
    // Given up, and done nevertheless: it had been sent.
    torrent.pause().await.expect("there");
    give_up(torrent.resume()).await;
    torrent.wait_complete().await.expect("downloaded");
    // A reader that was given up in the middle of waiting misses nothing.
    let mut told = Vec::new();
    leecher.shutdown().await.expect("a good end");
    loop {
        give_up_unless_ready(notices.next(), &mut told);
        match notices.next().await {
            Some(notice) => told.push(notice),
            None => break,
        }
    }
    let done = told
        .iter()
        .filter(|notice| matches!(notice, Notice::Completed { .. }));
    assert_eq!(done.count(), 1);
    assert_eq!(told.iter().filter(|notice| is_piece(notice)).count(), 16);
    stage.assert_copied("copy");
}

/// Polls a future once, and drops it.
async fn give_up(future: impl Future) {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

fn give_up_unless_ready(next: impl Future<Output = Option<Notice>>, told: &mut Vec<Notice>) {
    if let Poll::Ready(notice) = pin!(next).poll(&mut Context::from_waker(Waker::noop())) {
        told.extend(notice);
    }
}
