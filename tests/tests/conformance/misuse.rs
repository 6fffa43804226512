//! Bad use gets a clear error, and never a hang. All of this is about handles, files and sockets, which
//! the simulator has none of.

use std::fs;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anabranch_driver::engine::Notice;
use anabranch_driver::engine::command::{Priority, RateLimits, SeedGoal};
use anabranch_driver::engine::error::CommandError;
use anabranch_driver::engine::event::{DiskError, DiskErrorKind};
use anabranch_driver::engine::metainfo::FileIndex;
use anabranch_driver::{AddOptions, Error, StartError};
use anabranch_tests::net::free_port;
use anabranch_tests::subject::Subject;

use crate::disk::checked;
use crate::ground::{AnyDisk, Ground};
use crate::real::{builder, disk};
use crate::stage::{Ear, Stage, client, is_piece};

pub(crate) async fn a_torrent_is_taken_on_once<S: Subject>() {
    let stage = Stage::file(100_000);
    let client = client::<S>();
    let torrent = client.add(stage.source(), stage.below("one")).await;
    let torrent = torrent.expect("added");
    let again = client.add(stage.source(), stage.below("two")).await;
    match again {
        Err(Error::Command(CommandError::Duplicate {
            info_hash,
            torrent: there,
        })) => {
            assert_eq!(info_hash, torrent.info_hash());
            assert_eq!(there, torrent.id());
        }
        other => panic!("{other:?}"),
    }
    assert!(!stage.scratch.join("two").exists(), "nothing was begun");
    let all = client.torrents().await.expect("running");
    let ids: Vec<_> = all.iter().map(|torrent| torrent.id()).collect();
    assert_eq!(ids, [torrent.id()]);
    let found = client.find(torrent.info_hash()).await.expect("running");
    assert_eq!(found.map(|found| found.id()), Some(torrent.id()));
    torrent.remove(false).await.expect("removed");
    let gone = client.find(torrent.info_hash()).await.expect("running");
    assert!(gone.is_none(), "{gone:?}");
    let again = client.add(stage.source(), stage.below("two")).await;
    again.expect("a place for it again");
    client.shutdown().await.expect("a good end");
}

pub(crate) async fn a_handle_takes_the_name_that_the_metadata_brings<S: Subject>() {
    let stage = Stage::file(100_000);
    let seeder = stage.seeder::<S>().await;
    let client = client::<S>();
    let whole = seeder.torrents().await.expect("running").remove(0);
    let link = format!("magnet:?xt=urn:btih:{}", whole.info_hash());
    let options = stage.fetched("copy", seeder.listen_addrs()).paused(true);
    let torrent = client.add(&*link, options).await.expect("added");
    let other = client.find(torrent.info_hash()).await;
    let other = other.expect("running").expect("it is there");
    assert_eq!(torrent.name(), whole.info_hash().to_string());
    torrent.resume().await.expect("running");
    torrent.wait_metainfo().await.expect("fetched");
    for handle in [torrent, other] {
        assert_eq!(handle.name(), whole.name());
    }
    client.shutdown().await.expect("a good end");
    seeder.shutdown().await.expect("a good end");
}

pub(crate) async fn handles_outlive_what_they_are_handles_to<S: Subject>() {
    let stage = Stage::file(100_000);
    let client = client::<S>();
    let torrent = client.add(stage.source(), stage.below("copy")).await;
    let torrent = torrent.expect("added");
    let mut notices = torrent.notices();
    let mut waiting = Box::pin(torrent.wait_complete());
    std::future::poll_fn(|cx| {
        assert!(waiting.as_mut().poll(cx).is_pending(), "nobody has it");
        Poll::Ready(())
    })
    .await;
    torrent.remove(true).await.expect("removed");
    assert!(matches!(
        waiting.await,
        Err(Error::Removed | Error::Command(CommandError::NoSuchTorrent(_)))
    ));
    let gone = |what: &str, result: Result<(), Error>| {
        let named = matches!(
            &result,
            Err(Error::Command(CommandError::NoSuchTorrent(id))) if *id == torrent.id()
        );
        assert!(named, "{what}: {result:?}");
    };
    gone("status", torrent.status().await.map(drop));
    gone("peers", torrent.peers().await.map(drop));
    gone("files", torrent.files().await.map(drop));
    gone("trackers", torrent.trackers().await.map(drop));
    gone("pause", torrent.pause().await);
    gone("resume", torrent.resume().await);
    gone("recheck", torrent.recheck().await);
    gone("checkpoint", torrent.checkpoint().await);
    gone("remove", torrent.remove(false).await);
    let files = vec![(FileIndex::new(0), Priority::Low)];
    gone("set_priorities", torrent.set_priorities(files).await);
    gone("set_sequential", torrent.set_sequential(true).await);
    gone(
        "set_limits",
        torrent.set_limits(RateLimits::default()).await,
    );
    gone("set_goal", torrent.set_goal(SeedGoal::default()).await);
    let peer = client.listen_addrs()[0];
    gone("add_peer", torrent.add_peer(peer).await);
    gone("add_peer_host", torrent.add_peer_host("localhost", 1).await);
    gone("reannounce", torrent.reannounce().await);
    gone("wait_complete", torrent.wait_complete().await);
    client.shutdown().await.expect("a good end");
    assert!(matches!(torrent.status().await, Err(Error::Stopped)));
    assert!(matches!(torrent.pause().await, Err(Error::Stopped)));
    assert!(matches!(torrent.wait_complete().await, Err(Error::Stopped)));
    assert!(matches!(client.stats().await, Err(Error::Stopped)));
    assert!(matches!(client.torrents().await, Err(Error::Stopped)));
    let add = client.add(stage.source(), stage.below("copy")).await;
    assert!(matches!(add, Err(Error::Stopped)));
    assert!(matches!(client.shutdown().await, Err(Error::Stopped)));
    while notices.next().await.is_some() {}
    assert!(client.notices().next().await.is_none());
}

pub(crate) async fn a_folder_that_cannot_be_written_is_named<S: Subject>() {
    let stage = Stage::file(100_000);
    let seeder = stage.seeder::<S>().await;
    // A file is in the way, which stops everybody; a mode stops everybody but root.
    let way = stage.scratch.join("way");
    fs::write(&way, "a file").expect("writable");
    let closed = stage.scratch.folder("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("ours");
    type Obstacle = fn(&Path) -> io::Result<()>;
    let mut cases: Vec<(&str, Obstacle)> = vec![("way", |file| {
        fs::remove_file(file)?;
        fs::create_dir(file)
    })];
    if fs::create_dir(closed.join("probe")).is_err() {
        cases.push(("closed", |folder| {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        }));
    }
    for (folder, mend) in cases {
        let leecher = client::<S>();
        let mut heard = Ear::new(leecher.notices());
        let options = stage.fetched(folder, seeder.listen_addrs());
        let torrent = leecher.add(stage.source(), options).await.expect("added");
        let error = heard.until(storage_error).await;
        let place = stage.scratch.join(folder);
        assert!(
            error.file.starts_with(&*place.to_string_lossy()),
            "{error:?}"
        );
        assert!(
            matches!(
                error.kind,
                DiskErrorKind::Permission | DiskErrorKind::UnsafePath
            ),
            "{error:?}"
        );
        // It goes on when the user has put it right.
        mend(&place).expect("ours");
        torrent.wait_complete().await.expect("downloaded");
        leecher.shutdown().await.expect("a good end");
        S::assert_copied(&stage, folder);
    }
}

pub(crate) async fn a_file_of_somebody_elses_is_refused_until_the_user_says_otherwise<
    S: Subject,
>() {
    let stage = Stage::file(300_000);
    let seeder = stage.seeder::<S>().await;
    let way = stage.copy("copy");
    fs::create_dir_all(way.parent().expect("a folder")).expect("writable");
    let theirs = vec![7; 300_000];
    fs::write(&way, &theirs).expect("writable");
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", seeder.listen_addrs());
    let torrent = leecher.add(stage.source(), options.clone()).await;
    let torrent = torrent.expect("added");
    let error = heard.until(storage_error).await;
    assert_eq!(error.kind, DiskErrorKind::Foreign);
    assert_eq!(error.file, way.display().to_string());
    // Not even when it is removed with its data.
    torrent.remove(true).await.expect("removed");
    assert_eq!(fs::read(&way).expect("there"), theirs);
    let options = options.overwrite(true);
    let torrent = leecher.add(stage.source(), options).await;
    torrent
        .expect("added")
        .wait_complete()
        .await
        .expect("downloaded");
    leecher.shutdown().await.expect("a good end");
    S::assert_copied(&stage, "copy");
}

fn storage_error(notice: &Notice) -> Option<DiskError> {
    match notice {
        Notice::StorageFailed { error, .. } => Some(error.clone()),
        _ => None,
    }
}

pub(crate) async fn a_port_that_is_taken_is_named<S: Subject>() {
    // Not one of those that the system gives to others the moment that it is free.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let first = builder::<S>().listen([address]).start();
    let first = first.expect("a client");
    assert_eq!(first.listen_addrs(), [address]);
    let error = builder::<S>().listen([address]).start();
    let error = error.expect_err("the port is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let source = std::error::Error::source(&error).expect("a source");
    assert!(source.is::<io::Error>());
    match error {
        StartError::Listen { address: named, .. } => assert_eq!(named, address),
        other => panic!("{other:?}"),
    }
    first.shutdown().await.expect("a good end");
    let third = builder::<S>().listen([address]).start();
    let third = third.expect("the port is free");
    third.shutdown().await.expect("a good end");
}

pub(crate) async fn what_is_no_torrent_is_refused<S: Subject>() {
    let stage = Stage::file(100);
    let client = client::<S>();
    let nothing = client.add("/no/such.torrent", stage.below("copy")).await;
    let error = nothing.expect_err("no such file");
    assert!(matches!(error, Error::ReadTorrent { .. }));
    assert!(error.to_string().contains("/no/such.torrent"), "{error}");
    let rubbish = client.add(b"rubbish".to_vec(), stage.below("copy")).await;
    assert!(matches!(
        rubbish,
        Err(Error::Command(CommandError::BadMetainfo(_)))
    ));
    let nowhere = client.add(stage.source(), AddOptions::default()).await;
    assert!(matches!(nowhere, Err(Error::NoFolder)));
    let torrent = client.add(stage.source(), stage.below("copy")).await;
    let torrent = torrent.expect("added");
    let file = FileIndex::new(1);
    let missing = torrent.set_priorities(vec![(file, Priority::High)]).await;
    assert!(matches!(
        missing,
        Err(Error::Command(CommandError::NoSuchFile(named))) if named == file
    ));
    client.shutdown().await.expect("a good end");
}

pub(crate) async fn a_client_that_is_dropped_saves_what_it_has<S: Subject>() {
    let stage = Stage::file(64 * 65_536);
    let (seed, _rest) = stage.halting_seed::<S>(100);
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", &[seed.address()]);
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    heard.times(10, is_piece).await;
    drop(leecher);
    // A handle to a torrent keeps its client.
    torrent.status().await.expect("running");
    heard.times(15, is_piece).await;
    drop(torrent);
    heard.until_the_end().await;
    let told = heard.count(is_piece) as u32;
    let again = client::<S>();
    let mut heard = Ear::new(again.notices());
    let (disk, faults) = disk(stage.scratch.join("copy"));
    let options = stage.fetched("copy", stage.seeder::<S>().await.listen_addrs());
    let torrent = again.add_with(stage.source(), options, disk).await;
    let torrent = torrent.expect("added");
    let (have, pieces) = heard.until(checked).await;
    assert!(have >= told, "{have} of {told}");
    let verified = faults.verified();
    assert!(verified <= pieces - told, "what was saved is trusted");
    torrent.remove(false).await.expect("removed");
    // What is there is right.
    let options = stage.below("copy").recheck(true);
    again.add(stage.source(), options).await.expect("added");
    let (found, _) = heard.until(checked).await;
    assert!(found >= have, "{found} of {have}");
    again.shutdown().await.expect("a good end");
}

pub(crate) async fn calls_that_are_given_up_do_no_harm<S: Subject>() {
    let stage = Stage::file(1_000_000);
    let seeder = stage.seeder::<S>().await;
    let leecher = client::<S>();
    let mut notices = leecher.notices();
    let options = stage.fetched("copy", seeder.listen_addrs()).paused(true);
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
    S::assert_copied(&stage, "copy");
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
