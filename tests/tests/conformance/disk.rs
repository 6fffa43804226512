//! What stays on the disk, and what happens when it fails.

use anabranch_driver::engine::event::DiskErrorKind;
use anabranch_driver::engine::status::Hindrance;
use anabranch_driver::engine::{Notice, TorrentState};

use crate::ground::{AnyClient, AnyDisk, AnyPeer, AnyTorrent, Ground};
use crate::stage::{Ear, PIECE, Stage, client, is_piece};

pub(crate) async fn a_kill_loses_nothing_that_was_saved<G: Ground>() {
    const BLOCKS: u32 = 100;
    let stage = Stage::file(64 * 65_536);
    let (seed, rest) = stage.halting_seed::<G>(BLOCKS);
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.take_on_disk(&stage, options).await;
    let (torrent, disk) = torrent.expect("added");
    heard.times(10, is_piece).await;
    torrent.checkpoint().await.expect("durable");
    // All that is whole is in there, and maybe what came in the meantime.
    let saved = heard.count(is_piece);
    heard.times(saved + 1, is_piece).await;
    disk.kill();
    drop((torrent, leecher));
    heard.until_the_end().await;
    rest.open();

    let again = client::<G>();
    let mut heard = Ear::new(again.hear());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = again.take_on_disk(&stage, options).await;
    let (torrent, disk) = torrent.expect("added");
    let (have, pieces) = heard.until(checked).await;
    assert_eq!(pieces, 64);
    assert!(have as usize > saved, "{have} of {saved} and more");
    let verified = disk.verified();
    assert!(verified as usize <= 64 - saved, "what was saved is trusted");
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!(
        status.session_downloaded - status.wasted,
        u64::from(64 - have) * PIECE
    );
    again.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
}

pub(crate) async fn a_recheck_finds_what_was_spoiled<G: Ground>() {
    let stage = Stage::file(20 * 65_536);
    let seeder = stage.seeder::<G>().await;
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &seeder.addresses());
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    G::spoil(&stage, "copy", 7 * 65_536);
    torrent.recheck().await.expect("there");
    heard
        .times(2, |notice| matches!(notice, Notice::Completed { .. }))
        .await;
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_copied(&stage, "copy");
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/20",
            "downloading",
            "seeding",
            "completed",
            "checking",
            "checked 19/20",
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
    assert_eq!(heard.count(is_piece), 21);
}

pub(crate) async fn a_full_disk_is_told_and_waited_for<G: Ground>() {
    let stage = Stage::file(40 * 65_536);
    let (seed, rest) = stage.halting_seed::<G>(50);
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.take_on_disk(&stage, options).await;
    let (torrent, disk) = torrent.expect("added");
    heard.times(5, is_piece).await;
    disk.fill(true);
    rest.open();
    let error = heard
        .until(|notice| match notice {
            Notice::StorageFailed { error, .. } => Some(error.clone()),
            _ => None,
        })
        .await;
    assert_eq!(error.kind, DiskErrorKind::NoSpace);
    heard
        .until(|notice| {
            let failed = TorrentState::Failed;
            matches!(notice, Notice::State { state, .. } if *state == failed).then_some(())
        })
        .await;
    let status = torrent.status().await.expect("there");
    assert_eq!(status.hindrance, Some(Hindrance::Disk(error)));
    let kept = status.pieces_have;
    assert!(kept >= 5);
    disk.fill(false);
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!(status.pieces_have, 40);
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_copied(&stage, "copy");
    assert_eq!(heard.count(is_piece), 40, "no piece was needed twice");
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/40",
            "downloading",
            "storage: no space left",
            "failed",
            "storage recovered",
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

pub(crate) async fn removing_deletes_what_was_downloaded_and_nothing_else<G: Ground>() {
    let stage = Stage::folder(&[("a/b", 100_000), ("c", 200_000)]);
    let seeder = stage.seeder::<G>().await;
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let add = async || {
        let options = stage.fetched("copy", &seeder.addresses());
        let torrent = leecher.take(&stage, options).await.expect("added");
        torrent.wait_complete().await.expect("downloaded");
        torrent
    };
    let torrent = add().await;
    torrent.remove(false).await.expect("removed");
    G::assert_copied(&stage, "copy");
    let torrent = add().await;
    G::add_file(&stage, "copy", "a/mine");
    torrent.remove(true).await.expect("removed");
    G::assert_gone(&stage, "copy", "a/mine");
    assert_eq!(leecher.count().await.expect("running"), 0);
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/5",
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed",
            "added",
            "checked 5/5",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

/// Pieces found, of how many.
pub(crate) fn checked(notice: &Notice) -> Option<(u32, u32)> {
    match notice {
        Notice::Checked { have, pieces, .. } => Some((*have, *pieces)),
        _ => None,
    }
}
