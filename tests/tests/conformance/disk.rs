//! What stays on the disk, and what happens when it fails.

use std::sync::atomic::Ordering;

use anabranch_driver::core::event::DiskErrorKind;
use anabranch_driver::core::status::Hindrance;
use anabranch_driver::core::{Notice, TorrentState};
use anabranch_tests::data;
use anabranch_tests::subject::Subject;

use crate::stage::{Ear, PIECE, Stage, client, is_piece, spoil};

pub(crate) async fn a_kill_loses_nothing_that_was_saved<S: Subject>() {
    const BLOCKS: u32 = 100;
    let stage = Stage::file(64 * 65_536);
    let (seed, rest) = stage.halting_seed(BLOCKS);
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let (disk, faults) = stage.disk("copy");
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.add_with(stage.source(), options, disk).await;
    let torrent = torrent.expect("added");
    heard.times(10, is_piece).await;
    torrent.checkpoint().await.expect("durable");
    // All that is whole is in there, and maybe what came in the meantime.
    let saved = heard.count(is_piece);
    heard.times(saved + 1, is_piece).await;
    faults.dead.store(true, Ordering::SeqCst);
    drop((torrent, leecher));
    heard.until_the_end().await;
    rest.open();

    let again = client::<S>();
    let mut heard = Ear::new(again.notices());
    let (disk, faults) = stage.disk("copy");
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = again.add_with(stage.source(), options, disk).await;
    let torrent = torrent.expect("added");
    let (have, pieces) = heard.until(checked).await;
    assert_eq!(pieces, 64);
    assert!(have as usize > saved, "{have} of {saved} and more");
    let verified = faults.verified.load(Ordering::SeqCst);
    assert!(verified as usize <= 64 - saved, "what was saved is trusted");
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!(
        status.session_downloaded - status.wasted,
        u64::from(64 - have) * PIECE
    );
    again.shutdown().await.expect("a good end");
    stage.assert_copied("copy");
}

pub(crate) async fn a_recheck_finds_what_was_spoiled<S: Subject>() {
    let stage = Stage::file(20 * 65_536);
    let seeder = stage.seeder::<S>().await;
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", seeder.listen_addrs());
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    spoil(&stage.copy("copy"), 7 * 65_536);
    torrent.recheck().await.expect("there");
    heard
        .times(2, |notice| matches!(notice, Notice::Completed { .. }))
        .await;
    leecher.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    stage.assert_copied("copy");
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

pub(crate) async fn a_full_disk_is_told_and_waited_for<S: Subject>() {
    let stage = Stage::file(40 * 65_536);
    let (seed, rest) = stage.halting_seed(50);
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let (disk, faults) = stage.disk("copy");
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.add_with(stage.source(), options, disk).await;
    let torrent = torrent.expect("added");
    heard.times(5, is_piece).await;
    faults.full.store(true, Ordering::SeqCst);
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
    faults.full.store(false, Ordering::SeqCst);
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!(status.pieces_have, 40);
    leecher.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    stage.assert_copied("copy");
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

pub(crate) async fn removing_deletes_what_was_downloaded_and_nothing_else<S: Subject>() {
    let stage = Stage::folder(&[("a/b", 100_000), ("c", 200_000)]);
    let seeder = stage.seeder::<S>().await;
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let add = async || {
        let options = stage.fetched("copy", seeder.listen_addrs());
        let torrent = leecher.add(stage.source(), options).await.expect("added");
        torrent.wait_complete().await.expect("downloaded");
        torrent
    };
    let torrent = add().await;
    torrent.remove(false).await.expect("removed");
    stage.assert_copied("copy");
    let torrent = add().await;
    data::write_file(&stage.copy("copy").join("a/mine"), 10, 9);
    torrent.remove(true).await.expect("removed");
    let left = data::files(&stage.scratch.join("copy"));
    let left: Vec<_> = left.keys().map(|path| path.to_str()).collect();
    assert_eq!(left, [Some("folder/a/mine")]);
    assert!(leecher.torrents().await.expect("running").is_empty());
    leecher.shutdown().await.expect("a good end");
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
