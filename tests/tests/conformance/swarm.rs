//! Data between peers.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use anabranch_driver::core::command::{Priority, RateLimits};
use anabranch_driver::core::metainfo::FileIndex;
use anabranch_driver::core::{Config, Notice, TorrentState};
use anabranch_driver::{AddOptions, Client, Torrent};
use anabranch_tests::address;
use anabranch_tests::scripted::{self, Gate, Listener};
use anabranch_tests::subject::Subject;
use anabranch_tests::wire::{self, Wire, id};

use crate::stage::{Ear, Stage, builder, client, is_piece};

pub(crate) async fn a_torrent_travels_from_one_client_to_another<S: Subject>() {
    let stage = Stage::folder(&[
        ("a/empty", 0),
        ("a/one byte", 1),
        ("b/odd", 1_234_567),
        ("c", 3 * 65_536),
        ("d", 65_537),
    ]);
    let seeder = client::<S>();
    let mut seen = Ear::new(seeder.notices());
    let seeding = stage.seed(&seeder).await;
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", seeder.listen_addrs());
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    assert_eq!(torrent.info_hash(), seeding.info_hash());
    assert_eq!(torrent.name(), "folder");
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!(status.state, TorrentState::Seeding);
    assert_eq!(status.have, stage.torrent.length);
    assert_eq!((status.session_downloaded, status.wasted), (status.have, 0));
    let files = torrent.files().await.expect("there");
    assert_eq!(files.len(), 5);
    assert!(files.iter().all(|file| file.have == file.length));
    leecher.shutdown().await.expect("a good end");
    seeder.shutdown().await.expect("a good end");
    stage.assert_copied("copy");
    heard.until_the_end().await;
    seen.until_the_end().await;
    let pieces = stage.torrent.count();
    let all = format!("checked {pieces}/{pieces}");
    assert_eq!(
        seen.story(),
        ["added", &all, "seeding", "completed", "removing", "removed"]
    );
    assert_eq!(
        heard.story(),
        [
            "added",
            &format!("checked 0/{pieces}"),
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
    // Which piece comes first is the seed's luck; that each comes once is not.
    assert_eq!(heard.count(is_piece), pieces as usize);
}

pub(crate) async fn many_peers_share_what_one_has<S: Subject>() {
    const LEECHERS: usize = 6;
    let stage = Stage::file(4 << 20);
    // Slow enough that the others have something for each other before they have it all from the seed.
    let seeder = client::<S>();
    let limits = RateLimits {
        download: None,
        upload: Some(4 << 20),
    };
    seeder.set_limits(limits).await.expect("running");
    let seeding = stage.seed(&seeder).await;
    let clients: Vec<Client> = (0..LEECHERS).map(|_| client::<S>()).collect();
    let everybody: Vec<SocketAddr> = clients
        .iter()
        .chain([&seeder])
        .flat_map(|client| client.listen_addrs().to_vec())
        .collect();
    let mut torrents = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let options = stage.fetched(&format!("copy{number}"), &everybody);
        torrents.push(client.add(stage.source(), options).await.expect("added"));
    }
    for torrent in &torrents {
        torrent.wait_complete().await.expect("downloaded");
    }
    let mut shared = 0;
    for torrent in &torrents {
        shared += torrent.status().await.expect("there").session_uploaded;
    }
    let seeded = seeding.status().await.expect("there").session_uploaded;
    assert!(
        shared > 0 && seeded < LEECHERS as u64 * stage.torrent.length,
        "the seed gave {seeded}, the others {shared}"
    );
    for (number, client) in clients.iter().enumerate() {
        client.shutdown().await.expect("a good end");
        stage.assert_copied(&format!("copy{number}"));
    }
}

pub(crate) async fn only_selected_files_are_downloaded<S: Subject>() {
    // The borders of files are within pieces, so that a piece of two files is needed for one of them.
    let stage = Stage::folder(&[("a", 100_000), ("b", 500_000), ("c", 100_000)]);
    let seeder = stage.seeder::<S>().await;
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = AddOptions {
        priorities: vec![Priority::High, Priority::Skip],
        ..stage.fetched("copy", seeder.listen_addrs())
    };
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    let copy = stage.copy("copy");
    for name in ["a", "c"] {
        anabranch_tests::data::assert_same(&stage.origin.join(name), &copy.join(name));
    }
    assert!(!copy.join("b").exists(), "nobody asked for it");
    let status = torrent.status().await.expect("there");
    assert!(status.have == status.wanted && status.have < status.total);
    let some = heard.count(is_piece);
    let change = vec![(FileIndex::new(1), Priority::Normal)];
    torrent.set_priorities(change).await.expect("there");
    heard
        .times(2, |notice| matches!(notice, Notice::Completed { .. }))
        .await;
    leecher.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    stage.assert_copied("copy");
    assert!(some < heard.count(is_piece));
    assert_eq!(heard.count(is_piece), stage.torrent.count() as usize);
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/11",
            "downloading",
            "seeding",
            "completed",
            "downloading",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

pub(crate) async fn a_sequential_download_asks_in_order<S: Subject>() {
    let stage = Stage::file(40 * 65_536);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let ours = Arc::clone(&asked);
    let seed = scripted::seed_with(
        address::HONEST,
        &stage.torrent,
        scripted::content(&stage.origin),
        Gate::opened(),
        move |piece, begin, _| ours.lock().expect("no panic").push((piece, begin)),
    );
    let leecher = client::<S>();
    let options = AddOptions {
        sequential: true,
        ..stage.fetched("copy", &[seed.address()])
    };
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    let asked = asked.lock().expect("no panic").clone();
    assert_eq!(asked.len(), 160, "every block once");
    assert!(asked.is_sorted(), "{asked:?}");
    leecher.shutdown().await.expect("a good end");
    stage.assert_copied("copy");
}

/// The limit counts what goes over the wire, so the payload is always within it. A tenth of a second's
/// worth may come at once. On the other side, half of what is allowed is the least that counts as using
/// it, on a machine that has other things to do.
pub(crate) async fn rate_limits_are_obeyed<S: Subject>() {
    const RATE: u64 = 1 << 20;
    let stage = Stage::file(3 << 20);
    let seeder = stage.seeder::<S>().await;
    let slow = RateLimits {
        download: Some(RATE),
        upload: None,
    };
    let download_of_torrent = AddOptions {
        limits: slow,
        ..stage.fetched("one", seeder.listen_addrs())
    };
    let leecher = client::<S>();
    assert_paced(&leecher, &stage, download_of_torrent, RATE).await;
    leecher.shutdown().await.expect("a good end");
    let leecher = client::<S>();
    leecher.set_limits(slow).await.expect("running");
    let options = stage.fetched("two", seeder.listen_addrs());
    assert_paced(&leecher, &stage, options, RATE).await;
    leecher.shutdown().await.expect("a good end");
    let upload = RateLimits {
        download: None,
        upload: Some(RATE),
    };
    seeder.set_limits(upload).await.expect("running");
    let leecher = client::<S>();
    let options = stage.fetched("three", seeder.listen_addrs());
    assert_paced(&leecher, &stage, options, RATE).await;
    leecher.shutdown().await.expect("a good end");
    for copy in ["one", "two", "three"] {
        stage.assert_copied(copy);
    }
}

async fn assert_paced(client: &Client, stage: &Stage, options: AddOptions, rate: u64) {
    // From before the first byte, so that the measured time is never too short.
    let began = Instant::now();
    let torrent = client.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    let millis = u64::try_from(began.elapsed().as_millis()).expect("not so long");
    let payload = stage.torrent.length;
    let most = rate * (millis + 1) / 1000 + rate / 10;
    let least = rate * millis / 2000;
    assert!(
        (least..=most).contains(&payload),
        "{payload} bytes in {millis} ms at {rate} a second"
    );
}

pub(crate) async fn no_more_peers_are_unchoked_than_there_are_slots<S: Subject>() {
    // Nobody earns a slot here, so all are there to try somebody out, and none is added.
    const SLOTS: usize = 2;
    const LEECHERS: usize = 4;
    let stage = Stage::file(1 << 20);
    let mut config = Config::default();
    config.unchoke_slots = SLOTS as u32;
    let seeder = builder::<S>().config(config).start().expect("a client");
    let mut seen = Ear::new(seeder.notices());
    let seeding = stage.seed(&seeder).await;
    let (tell, unchoked) = async_channel::unbounded();
    let to = seeder.listen_addrs()[0];
    let leave: Vec<Gate> = (0..LEECHERS).map(|_| Gate::default()).collect();
    for (number, leave) in leave.iter().cloned().enumerate() {
        let (tell, hash) = (tell.clone(), stage.torrent.info_hash);
        thread::spawn(move || -> std::io::Result<()> {
            let from = format!("127.0.0.{}", 100 + number);
            let mut wire = Wire::connect(&from, to)?;
            wire.send_handshake(hash)?;
            wire.read_handshake()?;
            wire.send(id::INTERESTED, &[])?;
            while wire.read()?.id != id::UNCHOKE {}
            let _ = tell.try_send(number);
            leave.wait("the test to let a leecher go");
            Ok(())
        });
    }
    seen.times(LEECHERS, |notice| {
        matches!(notice, Notice::PeerConnected { .. })
    })
    .await;
    let mut lucky = BTreeSet::new();
    while lucky.len() < SLOTS {
        lucky.insert(unchoked.recv().await.expect("a leecher"));
    }
    assert_eq!(unchoked_peers(&seeding).await, SLOTS);
    // Who leaves makes room for one who waits.
    for gone in &lucky {
        leave[*gone].open();
    }
    while lucky.len() < LEECHERS {
        lucky.insert(unchoked.recv().await.expect("a leecher"));
        assert!(unchoked_peers(&seeding).await <= SLOTS);
    }
    leave.iter().for_each(Gate::open);
    seeder.shutdown().await.expect("a good end");
}

async fn unchoked_peers(torrent: &Torrent) -> usize {
    let peers = torrent.peers().await.expect("there");
    peers.iter().filter(|peer| !peer.am_choking).count()
}

pub(crate) async fn the_last_blocks_are_asked_of_everybody<S: Subject>() {
    let stage = Stage::file(8 * 65_536);
    let (hash, pieces) = (stage.torrent.info_hash, stage.torrent.count());
    // It takes requests and never answers one.
    let (tell, cancels) = async_channel::unbounded();
    let asked = Gate::default();
    let open = asked.clone();
    let staller = Listener::start(address::HOSTILE, move |mut wire| {
        wire.read_handshake()?;
        wire.send_handshake(hash)?;
        wire.send(id::BITFIELD, &wire::full_bitfield(pieces))?;
        let mut waiting = BTreeSet::new();
        loop {
            let message = wire.read()?;
            match message.id {
                id::INTERESTED => wire.send(id::UNCHOKE, &[])?,
                id::REQUEST => {
                    waiting.insert(message.payload);
                    open.open();
                }
                id::CANCEL if waiting.remove(&message.payload) => {
                    let _ = tell.try_send(message.payload);
                }
                _ => {}
            }
        }
    });
    let honest = scripted::honest_seed(
        address::HONEST,
        &stage.torrent,
        scripted::content(&stage.origin),
        asked,
    );
    let leecher = client::<S>();
    let options = stage.fetched("copy", &[staller.address(), honest.address()]);
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    cancels.recv().await.expect("what came from the other");
    leecher.shutdown().await.expect("a good end");
    stage.assert_copied("copy");
}

pub(crate) async fn a_peer_that_sends_corrupt_data_is_banned<S: Subject>() {
    let stage = Stage::file(20 * 65_536);
    let content = scripted::content(&stage.origin);
    let hostile = scripted::seed_with(
        address::HOSTILE,
        &stage.torrent,
        content.clone(),
        Gate::opened(),
        |_, _, block| block[0] ^= 1,
    );
    let honest = scripted::honest_seed(address::HONEST, &stage.torrent, content, Gate::opened());
    let leecher = client::<S>();
    let mut heard = Ear::new(leecher.notices());
    let options = stage.fetched("copy", &[hostile.address()]);
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    heard
        .until(|notice| matches!(notice, Notice::PeerBanned { .. }).then_some(()))
        .await;
    assert_eq!(heard.count(is_piece), 0);
    torrent.add_peer(honest.address()).await.expect("there");
    torrent.wait_complete().await.expect("downloaded");
    let peers = torrent.peers().await.expect("there");
    assert!(peers.iter().all(|peer| peer.address != hostile.address()));
    leecher.shutdown().await.expect("a good end");
    heard.until_the_end().await;
    stage.assert_copied("copy");
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/20",
            "downloading",
            "banned 127.0.0.66: sent corrupt data",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

pub(crate) async fn fifty_torrents_complete_at_once<S: Subject>() {
    const TORRENTS: usize = 50;
    let stages: Vec<Stage> = (0..TORRENTS)
        .map(|number| Stage::file(100_000 + number))
        .collect();
    let seeder = client::<S>();
    for stage in &stages {
        stage.seed(&seeder).await;
    }
    let leecher = client::<S>();
    let mut torrents = Vec::new();
    for stage in &stages {
        let options = stage.fetched("copy", seeder.listen_addrs());
        torrents.push(leecher.add(stage.source(), options).await.expect("added"));
    }
    for torrent in &torrents {
        torrent.wait_complete().await.expect("downloaded");
    }
    assert_eq!(leecher.torrents().await.expect("running").len(), TORRENTS);
    leecher.shutdown().await.expect("a good end");
    seeder.shutdown().await.expect("a good end");
    for stage in &stages {
        stage.assert_copied("copy");
    }
}

pub(crate) async fn a_torrent_travels_over_ipv6<S: Subject>() {
    let here = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(here).is_err() {
        eprintln!("LEFT OUT: this machine has no IPv6");
        return;
    }
    let stage = Stage::file(1_000_000);
    let seeder = builder::<S>().listen([here]).start().expect("a client");
    stage.seed(&seeder).await;
    assert!(seeder.listen_addrs()[0].is_ipv6());
    let leecher = builder::<S>().listen([here]).start().expect("a client");
    let options = stage.fetched("copy", seeder.listen_addrs());
    let torrent = leecher.add(stage.source(), options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    leecher.shutdown().await.expect("a good end");
    stage.assert_copied("copy");
}
