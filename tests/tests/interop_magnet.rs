//! Magnet links, peer exchange and local discovery, between us and the other clients.

use std::fs;
use std::path::PathBuf;

use anabranch_tests::clients::{
    self, Anabranch, Aria2, Client, Libtorrent, Opentracker, Transmission,
};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, write_tree};
use anabranch_tests::{Scratch, Torrent};

use Client::{Aria2 as A, Libtorrent as L, Opentracker as O, Transmission as T};

/// A tree to share, a torrent of it, and a tracker if there is one.
struct Swarm {
    tracker: Option<Opentracker>,
    torrent: Torrent,
    scratch: Scratch,
}

impl Swarm {
    fn with_tracker(seed: u64) -> Self {
        Self::new(seed, true)
    }

    fn without_tracker(seed: u64) -> Self {
        Self::new(seed, false)
    }

    fn new(seed: u64, tracked: bool) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, seed);
        // Many small pieces make metadata of more than one block.
        fs::write(data.join("large"), vec![7; 8 << 20]).expect("a file of the tree");
        let tracker = tracked.then(Opentracker::reserve);
        let url = tracker.as_ref().map(|tracker| tracker.http());
        let to = scratch.join("tree.torrent");
        let extra: Vec<&str> = url.iter().flat_map(|url| ["--tracker", url]).collect();
        let extra = [&extra[..], &["--piece-length", "16KiB"]].concat();
        let torrent = Anabranch::create(&scratch, &data, &to, &extra);
        assert!(torrent.info.len() > 16 * 1024, "{}", torrent.info.len());
        let tracker = tracker.map(|tracker| tracker.start(&scratch, &[&torrent]));
        Self {
            tracker,
            torrent,
            scratch,
        }
    }

    fn seeds(&self) -> PathBuf {
        self.scratch.join("seed")
    }

    fn data(&self) -> PathBuf {
        self.seeds().join("tree")
    }

    fn link(&self, extra: &[&str]) -> String {
        Anabranch::magnet(&self.scratch, &self.torrent, extra)
    }

    fn wait_for_seeds(&self, count: i64) {
        let tracker = self.tracker.as_ref().expect("a swarm with a tracker");
        tracker.wait_for_seeds(&self.torrent, count);
    }

    fn seed_with_anabranch(&self, extra: &[&str]) -> Anabranch {
        let seed = Anabranch::seed(&self.scratch, &self.torrent, &self.seeds(), extra);
        let _ = seed.address();
        seed.wait_complete();
        seed
    }

    /// Our download of the link, to its end.
    fn download_with_anabranch(&self, link: &str, extra: &[&str]) {
        let folder = self.scratch.folder("anabranch");
        Anabranch::download_magnet(&self.scratch, link, &folder, extra).finish();
        assert_same(&self.data(), &folder.join("tree"));
    }
}

const RUNTIMES: [&str; 2] = ["smol", "tokio"];

#[test]
fn fetches_metadata_and_data_from_transmission() {
    if clients::available(&[O, T]) {
        let swarm = Swarm::with_tracker(301);
        let seed = Transmission::start(&swarm.scratch, &swarm.seeds());
        seed.seed(&swarm.torrent);
        swarm.wait_for_seeds(1);
        swarm.download_with_anabranch(&swarm.link(&[]), &[]);
    }
}

#[test]
fn fetches_metadata_and_data_from_libtorrent_that_the_link_names() {
    if clients::available(&[L]) {
        for runtime in RUNTIMES {
            let swarm = Swarm::without_tracker(302);
            let seed = Libtorrent::seed(&swarm.torrent, &swarm.seeds());
            let link = swarm.link(&["--peer", &seed.address().to_string()]);
            swarm.download_with_anabranch(&link, &["--runtime", runtime, "--no-lsd"]);
        }
    }
}

#[test]
fn libtorrent_fetches_from_us() {
    if clients::available(&[L, O]) {
        let swarm = Swarm::with_tracker(303);
        let _seed = swarm.seed_with_anabranch(&[]);
        swarm.wait_for_seeds(1);
        let folder = swarm.scratch.folder("libtorrent");
        let download = Libtorrent::download_magnet(&swarm.link(&[]), &folder);
        download.wait_complete();
        assert_same(&swarm.data(), &folder.join("tree"));
    }
}

#[test]
fn transmission_fetches_from_us() {
    if clients::available(&[T]) {
        let swarm = Swarm::without_tracker(304);
        let folder = swarm.scratch.folder("transmission");
        let download = Transmission::start(&swarm.scratch, &folder);
        download.download_magnet(&swarm.link(&[]));
        let peer = download.address().to_string();
        let _seed = swarm.seed_with_anabranch(&["--peer", &peer]);
        download.wait_complete(&swarm.torrent);
        // It creates no empty files before it ends.
        download.stop();
        assert_same_but_for_empty(&swarm.data(), &folder.join("tree"));
    }
}

#[test]
fn aria2_fetches_from_us() {
    if clients::available(&[A, O]) {
        let swarm = Swarm::with_tracker(305);
        let _seed = swarm.seed_with_anabranch(&[]);
        swarm.wait_for_seeds(1);
        let folder = swarm.scratch.folder("aria2-files");
        let download = Aria2::download_magnet(&swarm.scratch, &swarm.link(&[]), &folder);
        let exit = download.wait_exit();
        assert!(exit.status.success(), "{}", exit.stdout);
        assert_same(&swarm.data(), &folder.join("tree"));
    }
}

#[test]
fn what_was_fetched_is_saved_and_need_not_be_fetched_again() {
    let swarm = Swarm::without_tracker(306);
    let seed = swarm.seed_with_anabranch(&["--no-lsd"]);
    let link = swarm.link(&["--peer", &seed.address().to_string()]);
    let folder = swarm.scratch.folder("anabranch");
    let extra = ["--save-torrent", "--files", "1", "--no-lsd"];
    let first = Anabranch::download_magnet(&swarm.scratch, &link, &folder, &extra);
    first.wait_event("fetched");
    first.finish();
    let saved = Torrent::read(&folder.join("tree.torrent"));
    assert_eq!(saved.info_hash, swarm.torrent.info_hash);
    seed.interrupt();
    // Nobody is there to fetch it from.
    let link = swarm.link(&[]);
    let again = Anabranch::download_magnet(&swarm.scratch, &link, &folder, &extra);
    again.wait_event("fetched");
    again.finish();
}

#[test]
fn show_fetches_the_torrent_and_nothing_else() {
    if clients::available(&[L]) {
        let swarm = Swarm::without_tracker(307);
        let seed = Libtorrent::seed(&swarm.torrent, &swarm.seeds());
        let link = swarm.link(&["--peer", &seed.address().to_string()]);
        let listen = ["--listen", "127.0.0.1:0", "--no-lsd", "--json"];
        let args = ["show", link.as_str()];
        let shown = Anabranch::run(&swarm.scratch, args.iter().chain(&listen));
        shown.assert_success();
        assert!(
            shown.stdout.contains(&swarm.torrent.hex()),
            "{}",
            shown.stdout
        );
    }
}

/// Somebody in the middle knows both ends, which have everything and nothing, and the ends know the middle
/// alone.
#[test]
fn libtorrent_tells_us_of_peers() {
    if clients::available(&[L]) {
        let swarm = Swarm::without_tracker(308);
        // Too slow to complete anybody: two seeds would part, and nobody would know of them.
        let seed = swarm.seed_with_anabranch(&["--no-lsd", "--limit-up", "20KiB"]);
        let folder = swarm.scratch.folder("middle");
        let middle = Libtorrent::download(&swarm.torrent, &folder, &[seed.address()]);
        let peer = middle.address().to_string();
        let folder = swarm.scratch.folder("anabranch");
        let peers = ["--peer", &peer, "--no-lsd"];
        let download = Anabranch::download(&swarm.scratch, &swarm.torrent, &folder, &peers);
        download.wait_line("a second peer", two_peers);
    }
}

#[test]
fn we_tell_libtorrent_of_peers() {
    if clients::available(&[L]) {
        let swarm = Swarm::without_tracker(309);
        let seed = Libtorrent::seed(&swarm.torrent, &swarm.seeds());
        let peer = seed.address().to_string();
        let folder = swarm.scratch.folder("anabranch");
        let slow = ["--peer", &peer, "--no-lsd", "--limit-down", "20KiB"];
        let middle = Anabranch::download(&swarm.scratch, &swarm.torrent, &folder, &slow);
        let folder = swarm.scratch.folder("libtorrent");
        let download = Libtorrent::download(&swarm.torrent, &folder, &[middle.address()]);
        // Most of it is nowhere but at the seed.
        download.wait_complete();
        assert_same(&swarm.data(), &folder.join("tree"));
    }
}

fn two_peers(line: &str) -> Option<()> {
    let said: serde_json::Value = serde_json::from_str(line).ok()?;
    (said["event"] == "progress" && said["peers"].as_u64()? >= 2).then_some(())
}

#[test]
fn we_find_libtorrent_in_the_local_network_and_it_finds_us() {
    if clients::available(&[L]) {
        let swarm = Swarm::without_tracker(310);
        let folder = swarm.scratch.folder("anabranch");
        // Who comes second is heard by the first, and the other way round five minutes later.
        let download = Anabranch::download(&swarm.scratch, &swarm.torrent, &folder, &[]);
        let _ = download.address();
        let _seed = Libtorrent::seed_locally(&swarm.torrent, &swarm.seeds());
        download.finish();
        assert_same(&swarm.data(), &folder.join("tree"));
        let folder = swarm.scratch.folder("libtorrent");
        let download = Libtorrent::download_locally(&swarm.torrent, &folder);
        let _seed = swarm.seed_with_anabranch(&[]);
        download.wait_complete();
        assert_same(&swarm.data(), &folder.join("tree"));
    }
}
