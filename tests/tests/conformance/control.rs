//! What users have clients do.

use anabranch_driver::Error;
use anabranch_driver::engine::command::SeedGoal;
use anabranch_driver::engine::status::Hindrance;
use anabranch_driver::engine::{Notice, TorrentState};

use crate::disk::checked;
use crate::ground::{AnyClient, AnyPeer, AnyTorrent, Ground, Setup};
use crate::stage::{Ear, Stage, client, is_piece};

pub(crate) async fn a_paused_torrent_stops_and_goes_on<G: Ground>() {
    let stage = Stage::file(40 * 65_536);
    let (seed, rest) = stage.halting_seed::<G>(50);
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.take(&stage, options).await.expect("added");
    heard.times(5, is_piece).await;
    torrent.pause().await.expect("there");
    let status = torrent.status().await.expect("there");
    assert_eq!(status.state, TorrentState::Paused);
    assert_eq!(status.hindrance, Some(Hindrance::Paused));
    assert!(torrent.peers().await.expect("there").is_empty());
    rest.open();
    torrent.resume().await.expect("there");
    torrent.wait_complete().await.expect("downloaded");
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_copied(&stage, "copy");
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

pub(crate) async fn a_seed_that_reached_its_goal_pauses<G: Ground>() {
    let stage = Stage::file(1_000_000);
    let seeder = client::<G>();
    let mut seen = Ear::new(seeder.hear());
    let options = stage.below("origin").goal(SeedGoal {
        ratio_permille: Some(1_000),
        time: None,
    });
    let seeding = seeder.take(&stage, options).await.expect("added");
    let leecher = client::<G>();
    let options = stage.fetched("copy", &seeder.addresses());
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    seen.until(|notice| matches!(notice, Notice::GoalReached { .. }).then_some(()))
        .await;
    let status = seeding.status().await.expect("there");
    assert_eq!(status.session_uploaded, stage.torrent.length);
    seeder.end().await.expect("a good end");
    seen.until_the_end().await;
    let story = seen.story();
    assert!(story.contains(&"goal".to_owned()) && story.contains(&"paused".to_owned()));
    G::assert_copied(&stage, "copy");
}

pub(crate) async fn a_busy_client_shuts_down_in_good_order<G: Ground>() {
    let stage = Stage::file(64 * 65_536);
    let (seed, _rest) = stage.halting_seed::<G>(100);
    let other = Stage::file(3_000_000);
    let another = Stage::file(4_000_000);
    let busy = G::start(Setup {
        lasting_port: true,
        ..Setup::default()
    });
    let address = busy.addresses()[0];
    let mut heard = Ear::new(busy.hear());
    // One that downloads, one that seeds to somebody, one that has just come.
    let options = stage.fetched("copy", &[seed.address()]);
    let downloading = busy.take(&stage, options).await.expect("added");
    other.seed(&busy).await;
    let leecher = client::<G>();
    let options = other.fetched("copy", &busy.addresses());
    let served = leecher.take(&other, options).await.expect("added");
    heard.times(10, is_piece).await;
    let last = busy.take(&another, another.below("origin")).await;
    last.expect("added");
    busy.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_free(address);
    assert!(matches!(downloading.status().await, Err(Error::Stopped)));
    assert!(matches!(busy.end().await, Err(Error::Stopped)));

    // What was told is there, and whoever downloaded finds the rest elsewhere.
    let told = heard.count(|notice| is_piece(notice) && notice.torrent() == downloading.id());
    let again = client::<G>();
    let mut heard = Ear::new(again.hear());
    let options = stage.below("copy");
    again.take(&stage, options).await.expect("added");
    let (have, _) = heard.until(checked).await;
    assert!(have as usize >= told, "{have} of {told}");
    let seeder = other.seeder::<G>().await;
    let address = seeder.addresses()[0];
    served.add_peer(address).await.expect("there");
    served.wait_complete().await.expect("downloaded");
    G::assert_copied(&other, "copy");
}
