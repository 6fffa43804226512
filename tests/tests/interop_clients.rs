//! Each of the other clients, in both directions, and all of them in one swarm.

use std::fs;
use std::path::{Path, PathBuf};

use anabranch_tests::clients::{
    self, Anabranch, Aria2, Client, Libtorrent, Opentracker, Transmission, mktorrent,
    transmission_create,
};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, files, write_tree};
use anabranch_tests::{Scratch, Torrent};

/// What a swarm needs: the tree to share at `seed/tree`, a torrent of it, a tracker.
struct Swarm {
    tracker: Opentracker,
    torrent: Torrent,
    scratch: Scratch,
}

/// Who makes the torrent file.
#[derive(Clone, Copy)]
enum Maker {
    Anabranch,
    Mktorrent,
    TransmissionCreate,
}

/// How peers reach the tracker.
#[derive(Clone, Copy)]
enum Announce {
    Http,
    Udp,
}

impl Swarm {
    fn start(seed: u64, maker: Maker, announce: Announce) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, seed);
        if matches!(maker, Maker::TransmissionCreate) {
            leave_out_what_transmission_skips(&data);
        }
        let tracker = Opentracker::reserve();
        let url = match announce {
            Announce::Http => tracker.http(),
            Announce::Udp => tracker.udp(),
        };
        let to = scratch.join("tree.torrent");
        let torrent = match maker {
            Maker::Anabranch => Anabranch::create(&scratch, &data, &to, &["--tracker", &url]),
            Maker::Mktorrent => mktorrent(&data, &to, 17, &url, false),
            Maker::TransmissionCreate => transmission_create(&data, &to, &url),
        };
        let tracker = tracker.start(&scratch, &[&torrent]);
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

    /// Our download, which finds its peers at the tracker, to its end.
    fn download_with_anabranch(&self) {
        let folder = self.scratch.folder("anabranch");
        Anabranch::download(&self.scratch, &self.torrent, &folder, &[]).finish();
        assert_same(&self.data(), &folder.join("tree"));
    }

    fn seed_with_anabranch(&self) -> Anabranch {
        let seed = Anabranch::seed(&self.scratch, &self.torrent, &self.seeds(), &[]);
        let _ = seed.address();
        self.tracker.wait_for_seeds(&self.torrent, 1);
        seed
    }

    fn seed_with_transmission(&self) -> Transmission {
        let seed = Transmission::start(&self.scratch, &self.seeds());
        seed.seed(&self.torrent);
        self.tracker.wait_for_seeds(&self.torrent, 1);
        seed
    }

    fn seed_with_aria2(&self) -> Aria2 {
        let seed = Aria2::seed(&self.scratch, &self.torrent, &self.seeds());
        self.tracker.wait_for_seeds(&self.torrent, 1);
        seed
    }

    fn seed_with_libtorrent(&self) -> Libtorrent {
        let seed = Libtorrent::seed(&self.torrent, &self.seeds());
        self.tracker.wait_for_seeds(&self.torrent, 1);
        seed
    }
}

/// transmission-create takes neither hidden nor empty files into a torrent.
fn leave_out_what_transmission_skips(folder: &Path) {
    for (path, length) in files(folder) {
        if length == 0 || path.starts_with(".hidden") {
            fs::remove_file(folder.join(path)).expect("a file of the tree");
        }
    }
}

use Client::{
    Aria2 as A, Libtorrent as L, Mktorrent as M, Opentracker as O, Transmission as T,
    TransmissionTools as C,
};

#[test]
fn downloads_from_transmission_over_http() {
    if clients::available(&[C, O, T]) {
        let swarm = Swarm::start(11, Maker::TransmissionCreate, Announce::Http);
        let _seed = swarm.seed_with_transmission();
        swarm.download_with_anabranch();
    }
}

#[test]
fn downloads_from_transmission_over_udp() {
    if clients::available(&[O, T]) {
        let swarm = Swarm::start(12, Maker::Anabranch, Announce::Udp);
        let _seed = swarm.seed_with_transmission();
        swarm.download_with_anabranch();
    }
}

#[test]
fn downloads_from_aria2() {
    if clients::available(&[A, M, O]) {
        let swarm = Swarm::start(13, Maker::Mktorrent, Announce::Http);
        let _seed = swarm.seed_with_aria2();
        swarm.download_with_anabranch();
    }
}

#[test]
fn downloads_from_libtorrent_over_http() {
    if clients::available(&[L, M, O]) {
        let swarm = Swarm::start(14, Maker::Mktorrent, Announce::Http);
        let _seed = swarm.seed_with_libtorrent();
        swarm.download_with_anabranch();
    }
}

#[test]
fn downloads_from_libtorrent_over_udp() {
    if clients::available(&[L, O]) {
        let swarm = Swarm::start(15, Maker::Anabranch, Announce::Udp);
        let _seed = swarm.seed_with_libtorrent();
        swarm.download_with_anabranch();
    }
}

#[test]
fn downloads_from_a_peer_given_by_hand() {
    if clients::available(&[L]) {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, 16);
        let torrent = Anabranch::create(&scratch, &data, &scratch.join("tree.torrent"), &[]);
        let seed = Libtorrent::seed(&torrent, &scratch.join("seed"));
        let peer = seed.address().to_string();
        let folder = scratch.folder("anabranch");
        Anabranch::download(&scratch, &torrent, &folder, &["--peer", &peer]).finish();
        assert_same(&data, &folder.join("tree"));
    }
}

#[test]
fn transmission_downloads_from_us() {
    if clients::available(&[O, T]) {
        let swarm = Swarm::start(21, Maker::Anabranch, Announce::Http);
        let folder = swarm.scratch.folder("leech");
        let leech = Transmission::start(&swarm.scratch, &folder);
        leech.download(&swarm.torrent);
        // It dials nobody on loopback, so it has to be known when the seed comes.
        swarm.tracker.wait_for_peers(&swarm.torrent, 1);
        let seed = swarm.seed_with_anabranch();
        leech.wait_complete(&swarm.torrent);
        assert_same_but_for_empty(&swarm.data(), &folder.join("tree"));
        seed.interrupt();
    }
}

#[test]
fn aria2_downloads_from_us() {
    if clients::available(&[A, O]) {
        let swarm = Swarm::start(22, Maker::Anabranch, Announce::Http);
        let seed = swarm.seed_with_anabranch();
        let folder = swarm.scratch.folder("leech");
        Aria2::download(&swarm.scratch, &swarm.torrent, &folder).wait_complete();
        assert_same(&swarm.data(), &folder.join("tree"));
        seed.interrupt();
    }
}

#[test]
fn libtorrent_downloads_from_us() {
    if clients::available(&[L, M, O]) {
        let swarm = Swarm::start(23, Maker::Mktorrent, Announce::Udp);
        let seed = swarm.seed_with_anabranch();
        let folder = swarm.scratch.folder("leech");
        Libtorrent::download(&swarm.torrent, &folder, &[]).wait_complete();
        assert_same(&swarm.data(), &folder.join("tree"));
        seed.interrupt();
    }
}

#[test]
fn a_seed_that_is_interrupted_leaves_the_tracker() {
    if clients::available(&[O]) {
        for (seed, announce) in [(31, Announce::Http), (32, Announce::Udp)] {
            let swarm = Swarm::start(seed, Maker::Anabranch, announce);
            swarm.seed_with_anabranch().interrupt();
            assert_eq!(swarm.tracker.peers(&swarm.torrent), (0, 0));
        }
    }
}

/// Who starts with the data; the other three download.
#[derive(Clone, Copy, PartialEq)]
enum Seed {
    Anabranch,
    Aria2,
    Libtorrent,
    Transmission,
}

fn mixed_swarm(number: u64, seed: Seed) {
    if !clients::available(&[A, L, O, T]) {
        return;
    }
    let swarm = Swarm::start(number, Maker::Anabranch, Announce::Http);
    let (scratch, torrent) = (&swarm.scratch, &swarm.torrent);
    let folder = |name: &str, own: Seed| {
        if seed == own {
            swarm.seeds()
        } else {
            scratch.folder(name)
        }
    };

    // Transmission dials nobody, so it is known first; each of the others dials those before it.
    let transmission_folder = folder("transmission", Seed::Transmission);
    let transmission = Transmission::start(scratch, &transmission_folder);
    if seed == Seed::Transmission {
        transmission.seed(torrent);
    } else {
        transmission.download(torrent);
    }
    swarm.tracker.wait_for_peers(torrent, 1);

    let aria2_folder = folder("aria2-data", Seed::Aria2);
    let aria2 = if seed == Seed::Aria2 {
        Aria2::seed(scratch, torrent, &aria2_folder)
    } else {
        Aria2::download(scratch, torrent, &aria2_folder)
    };
    swarm.tracker.wait_for_peers(torrent, 2);

    let libtorrent_folder = folder("libtorrent", Seed::Libtorrent);
    let libtorrent = if seed == Seed::Libtorrent {
        Libtorrent::seed(torrent, &libtorrent_folder)
    } else {
        Libtorrent::download(torrent, &libtorrent_folder, &[])
    };
    swarm.tracker.wait_for_peers(torrent, 3);

    let anabranch_folder = folder("anabranch", Seed::Anabranch);
    let anabranch = if seed == Seed::Anabranch {
        Anabranch::seed(scratch, torrent, &anabranch_folder, &[])
    } else {
        let anabranch = Anabranch::download(scratch, torrent, &anabranch_folder, &["--seed"]);
        anabranch.wait_complete();
        anabranch
    };
    transmission.wait_complete(torrent);
    aria2.wait_complete();
    libtorrent.wait_complete();
    let data = swarm.data();
    assert_same_but_for_empty(&data, &transmission_folder.join("tree"));
    for folder in [aria2_folder, libtorrent_folder, anabranch_folder] {
        assert_same(&data, &folder.join("tree"));
    }
    anabranch.interrupt();
}

#[test]
fn a_mixed_swarm_that_we_seed_ends_with_identical_files() {
    mixed_swarm(41, Seed::Anabranch);
}

#[test]
fn a_mixed_swarm_that_transmission_seeds_ends_with_identical_files() {
    mixed_swarm(42, Seed::Transmission);
}

#[test]
fn a_mixed_swarm_that_aria2_seeds_ends_with_identical_files() {
    mixed_swarm(43, Seed::Aria2);
}

#[test]
fn a_mixed_swarm_that_libtorrent_seeds_ends_with_identical_files() {
    mixed_swarm(44, Seed::Libtorrent);
}
