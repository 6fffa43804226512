//! Data between peers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anabranch_driver::AddOptions;
use anabranch_driver::engine::command::{Priority, RateLimits};
use anabranch_driver::engine::metainfo::FileIndex;
use anabranch_driver::engine::{Config, Notice, TorrentState, Transport, Transports};
use anabranch_tests::scripted::Gate;

use crate::ground::{AnyClient, AnyPeer, AnyTorrent, Ground, Script, Setup};
use crate::stage::{Ear, Stage, client, is_piece};

pub(crate) async fn a_torrent_travels_from_one_client_to_another<G: Ground>() {
    let stage = Stage::folder(&[
        ("a/empty", 0),
        ("a/one byte", 1),
        ("b/odd", 1_234_567),
        ("c", 3 * 65_536),
        ("d", 65_537),
    ]);
    let seeder = client::<G>();
    let mut seen = Ear::new(seeder.hear());
    let seeding = stage.seed(&seeder).await;
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &seeder.addresses());
    let torrent = leecher.take(&stage, options).await.expect("added");
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
    leecher.end().await.expect("a good end");
    seeder.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
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

pub(crate) async fn many_peers_share_what_one_has<G: Ground>() {
    const LEECHERS: usize = 6;
    let stage = Stage::file(4 << 20);
    // Slow enough that the others have something for each other before they have it all from the seed.
    let seeder = client::<G>();
    let limits = RateLimits {
        download: None,
        upload: Some(4 << 20),
    };
    seeder.limit(limits).await.expect("running");
    let seeding = stage.seed(&seeder).await;
    let clients: Vec<G::Client> = (0..LEECHERS).map(|_| client::<G>()).collect();
    let everybody: Vec<SocketAddr> = clients
        .iter()
        .chain([&seeder])
        .flat_map(|client| client.addresses())
        .collect();
    let mut torrents = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let options = stage.fetched(&format!("copy{number}"), &everybody);
        torrents.push(client.take(&stage, options).await.expect("added"));
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
        client.end().await.expect("a good end");
        G::assert_copied(&stage, &format!("copy{number}"));
    }
}

pub(crate) async fn only_selected_files_are_downloaded<G: Ground>() {
    // The borders of files are within pieces, so that a piece of two files is needed for one of them.
    let stage = Stage::folder(&[("a", 100_000), ("b", 500_000), ("c", 100_000)]);
    let seeder = stage.seeder::<G>().await;
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage
        .fetched("copy", &seeder.addresses())
        .priorities([Priority::High, Priority::Skip]);
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    G::assert_file(&stage, "copy", "a");
    G::assert_file(&stage, "copy", "c");
    G::assert_no_file(&stage, "copy", "b");
    let status = torrent.status().await.expect("there");
    assert!(status.have == status.wanted && status.have < status.total);
    let some = heard.count(is_piece);
    let change = vec![(FileIndex::new(1), Priority::Normal)];
    torrent.set_priorities(change).await.expect("there");
    heard
        .times(2, |notice| matches!(notice, Notice::Completed { .. }))
        .await;
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_copied(&stage, "copy");
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

pub(crate) async fn a_sequential_download_asks_in_order<G: Ground>() {
    let stage = Stage::file(40 * 65_536);
    let script = Script::default();
    let seed = G::scripted(&stage, script.clone());
    let leecher = client::<G>();
    let options = stage.fetched("copy", &[seed.address()]).sequential(true);
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    let asked = script.asked.lock().expect("no panic").clone();
    assert_eq!(asked.len(), 160, "every block once");
    assert!(asked.is_sorted(), "{asked:?}");
    leecher.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
}

/// The limit counts what goes over the wire, so the payload is always within it. A tenth of a second's
/// worth may come at once. On the other side, half of what is allowed is the least that counts as using
/// it, on a machine that has other things to do.
pub(crate) async fn rate_limits_are_obeyed<G: Ground>() {
    const RATE: u64 = 1 << 20;
    let stage = Stage::file(3 << 20);
    let seeder = stage.seeder::<G>().await;
    let slow = RateLimits {
        download: Some(RATE),
        upload: None,
    };
    let download_of_torrent = stage.fetched("one", &seeder.addresses()).limits(slow);
    let leecher = client::<G>();
    assert_paced::<G>(&leecher, &stage, download_of_torrent, RATE).await;
    leecher.end().await.expect("a good end");
    let leecher = client::<G>();
    leecher.limit(slow).await.expect("running");
    let options = stage.fetched("two", &seeder.addresses());
    assert_paced::<G>(&leecher, &stage, options, RATE).await;
    leecher.end().await.expect("a good end");
    let upload = RateLimits {
        download: None,
        upload: Some(RATE),
    };
    seeder.limit(upload).await.expect("running");
    let leecher = client::<G>();
    let options = stage.fetched("three", &seeder.addresses());
    assert_paced::<G>(&leecher, &stage, options, RATE).await;
    leecher.end().await.expect("a good end");
    for copy in ["one", "two", "three"] {
        G::assert_copied(&stage, copy);
    }
}

async fn assert_paced<G: Ground>(
    client: &G::Client,
    stage: &Stage,
    options: AddOptions,
    rate: u64,
) {
    // From before the first byte, so that the measured time is never too short.
    let began = G::now();
    let torrent = client.take(stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    let millis = u64::try_from((G::now() - began).as_millis()).expect("not so long");
    let payload = stage.torrent.length;
    let most = rate * (millis + 1) / 1000 + rate / 10;
    let least = rate * millis / 2000;
    assert!(
        (least..=most).contains(&payload),
        "{payload} bytes in {millis} ms at {rate} a second"
    );
}

pub(crate) async fn no_more_peers_are_unchoked_than_there_are_slots<G: Ground>() {
    // Nobody earns a slot here, so all are there to try somebody out, and none is added.
    const SLOTS: usize = 2;
    const LEECHERS: usize = 4;
    let stage = Stage::file(1 << 20);
    let mut config = Config::default();
    config.unchoke_slots = SLOTS as u32;
    let seeder = G::start(Setup {
        config,
        ..Setup::default()
    });
    let mut seen = Ear::new(seeder.hear());
    let seeding = stage.seed(&seeder).await;
    let (tell, unchoked) = async_channel::unbounded();
    let to = seeder.addresses()[0];
    let leave: Vec<Gate> = (0..LEECHERS).map(|_| Gate::default()).collect();
    for (number, leave) in leave.iter().cloned().enumerate() {
        G::leech(&stage, number, to, tell.clone(), leave);
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
    seeder.end().await.expect("a good end");
}

async fn unchoked_peers(torrent: &impl AnyTorrent) -> usize {
    let peers = torrent.peers().await.expect("there");
    peers.iter().filter(|peer| !peer.am_choking).count()
}

pub(crate) async fn the_last_blocks_are_asked_of_everybody<G: Ground>() {
    let stage = Stage::file(8 * 65_536);
    // It takes requests and never answers one.
    let (tell, cancels) = async_channel::unbounded();
    let asked = Gate::default();
    let staller = G::staller(&stage, asked.clone(), tell);
    let script = Script {
        unchoke: asked,
        ..Script::default()
    };
    let honest = G::scripted(&stage, script);
    let leecher = client::<G>();
    let options = stage.fetched("copy", &[staller.address(), honest.address()]);
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    cancels.recv().await.expect("what came from the other");
    leecher.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
}

pub(crate) async fn a_peer_that_sends_corrupt_data_is_banned<G: Ground>() {
    let stage = Stage::file(20 * 65_536);
    let script = Script {
        corrupt: true,
        ..Script::default()
    };
    let hostile = G::scripted(&stage, script);
    let honest = G::scripted(&stage, Script::default());
    let leecher = client::<G>();
    let mut heard = Ear::new(leecher.hear());
    let options = stage.fetched("copy", &[hostile.address()]);
    let torrent = leecher.take(&stage, options).await.expect("added");
    let banned = heard
        .until(|notice| match notice {
            Notice::PeerBanned { address, .. } => Some(*address),
            _ => None,
        })
        .await;
    assert_eq!(banned.ip(), hostile.address().ip());
    assert_eq!(heard.count(is_piece), 0);
    torrent.add_peer(honest.address()).await.expect("there");
    torrent.wait_complete().await.expect("downloaded");
    let peers = torrent.peers().await.expect("there");
    assert!(peers.iter().all(|peer| peer.address != hostile.address()));
    leecher.end().await.expect("a good end");
    heard.until_the_end().await;
    G::assert_copied(&stage, "copy");
    assert_eq!(
        heard.story(),
        [
            "added",
            "checked 0/20",
            "downloading",
            "banned: sent corrupt data",
            "seeding",
            "completed",
            "removing",
            "removed"
        ]
    );
}

pub(crate) async fn fifty_torrents_complete_at_once<G: Ground>() {
    const TORRENTS: usize = 50;
    let stages: Vec<Stage> = (0..TORRENTS)
        .map(|number| Stage::file(100_000 + number))
        .collect();
    let seeder = client::<G>();
    for stage in &stages {
        stage.seed(&seeder).await;
    }
    let leecher = client::<G>();
    let mut torrents = Vec::new();
    for stage in &stages {
        let options = stage.fetched("copy", &seeder.addresses());
        torrents.push(leecher.take(stage, options).await.expect("added"));
    }
    for torrent in &torrents {
        torrent.wait_complete().await.expect("downloaded");
    }
    assert_eq!(leecher.count().await.expect("running"), TORRENTS);
    leecher.end().await.expect("a good end");
    seeder.end().await.expect("a good end");
    for stage in &stages {
        G::assert_copied(stage, "copy");
    }
}

pub(crate) async fn a_torrent_travels_over_ipv6<G: Ground>() {
    if !G::has_ipv6() {
        return;
    }
    let setup = Setup {
        ipv6: true,
        ..Setup::default()
    };
    let stage = Stage::file(1_000_000);
    let seeder = G::start(setup.clone());
    stage.seed(&seeder).await;
    assert!(seeder.addresses()[0].is_ipv6());
    let leecher = G::start(setup);
    let options = stage.fetched("copy", &seeder.addresses());
    let torrent = leecher.take(&stage, options).await.expect("added");
    torrent.wait_complete().await.expect("downloaded");
    leecher.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
}

fn over<G: Ground>(transports: Transports) -> G::Client {
    let mut config = Config::default();
    config.transports = transports;
    G::start(Setup {
        config,
        ..Setup::default()
    })
}

pub(crate) async fn a_torrent_travels_over_packets<G: Ground>() {
    let stage = Stage::file(2_000_000);
    let seeder = over::<G>(Transports::Utp);
    stage.seed(&seeder).await;
    let leecher = over::<G>(Transports::Utp);
    let mut heard = Ear::new(leecher.hear());
    // Slow enough to be looked at.
    let limits = RateLimits {
        download: Some(2 << 20),
        upload: None,
    };
    leecher.limit(limits).await.expect("running");
    let options = stage.fetched("copy", &seeder.addresses());
    let torrent = leecher.take(&stage, options).await.expect("added");
    heard.times(1, is_piece).await;
    let peers = torrent.peers().await.expect("there");
    let transports: Vec<Transport> = peers.iter().map(|peer| peer.transport).collect();
    assert_eq!(transports, [Transport::Utp]);
    torrent.wait_complete().await.expect("downloaded");
    let status = torrent.status().await.expect("there");
    assert_eq!((status.session_downloaded, status.wasted), (2_000_000, 0));
    leecher.end().await.expect("a good end");
    seeder.end().await.expect("a good end");
    G::assert_copied(&stage, "copy");
}

pub(crate) async fn who_has_one_transport_is_reached_by_it<G: Ground>() {
    for only in [Transports::Tcp, Transports::Utp] {
        let stage = Stage::file(500_000);
        let seeder = over::<G>(only);
        stage.seed(&seeder).await;
        let leecher = over::<G>(Transports::Both);
        let options = stage.fetched("copy", &seeder.addresses());
        let torrent = leecher.take(&stage, options).await.expect("added");
        torrent.wait_complete().await.expect("downloaded");
        leecher.end().await.expect("a good end");
        seeder.end().await.expect("a good end");
        G::assert_copied(&stage, "copy");
    }
}
