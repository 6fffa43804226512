//! uTP (BEP 29) with clients that speak it, in both directions, with TCP switched off at our end at least.

use anabranch_tests::clients::{self, Anabranch, Client, Libtorrent, Transmission};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, write_tree};
use anabranch_tests::{Scratch, Torrent, address, wait};

use Client::{Libtorrent as L, Transmission as T};

const RUNTIMES: [&str; 2] = ["smol", "tokio"];

/// A tree at `seed/tree`, and a torrent of it without a tracker.
struct Shared {
    scratch: Scratch,
    torrent: Torrent,
}

impl Shared {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, seed);
        let to = scratch.join("tree.torrent");
        let torrent = Anabranch::create(&scratch, &data, &to, &[]);
        Self { scratch, torrent }
    }

    fn assert_downloaded(&self, folder: &str) {
        let got = self.scratch.join(folder).join("tree");
        assert_same(&self.scratch.join("seed").join("tree"), &got);
    }
}

/// What has a run speak uTP alone, on one runtime.
fn by_utp<'a>(runtime: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = ["--transport", "utp", "--no-lsd", "--runtime", runtime];
    [&base, more].concat()
}

#[test]
fn downloads_from_libtorrent_by_utp() {
    if !clients::available(&[L]) {
        return;
    }
    let shared = Shared::new(401);
    for ip in [address::LIBTORRENT, "::1"] {
        let seed = Libtorrent::seed_by_utp(ip, &shared.torrent, &shared.scratch.join("seed"));
        for runtime in RUNTIMES {
            let name = format!("{runtime}-{}", ip.len());
            let folder = shared.scratch.folder(&name);
            let peer = seed.address().to_string();
            // Of each family one has to be listened on that can get there.
            let args = by_utp(runtime, &["--listen", "[::1]:0", "--peer", &peer]);
            Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args).finish();
            shared.assert_downloaded(&name);
        }
    }
}

#[test]
fn uploads_to_libtorrent_by_utp() {
    if !clients::available(&[L]) {
        return;
    }
    let shared = Shared::new(402);
    for runtime in RUNTIMES {
        let args = by_utp(runtime, &[]);
        let data = shared.scratch.join("seed");
        let seed = Anabranch::seed(&shared.scratch, &shared.torrent, &data, &args);
        let folder = shared.scratch.folder(runtime);
        let to = seed.address();
        let leech = Libtorrent::download_by_utp(address::LIBTORRENT, &shared.torrent, &folder, to);
        leech.wait_complete();
        shared.assert_downloaded(runtime);
        seed.interrupt();
    }
}

#[test]
fn downloads_from_transmission_by_utp() {
    if !clients::available(&[T]) {
        return;
    }
    let shared = Shared::new(403);
    let seed = Transmission::start_with_utp(&shared.scratch, &shared.scratch.join("seed"));
    seed.seed(&shared.torrent);
    let peer = seed.address().to_string();
    for runtime in RUNTIMES {
        let folder = shared.scratch.folder(runtime);
        let args = by_utp(runtime, &["--peer", &peer]);
        Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args).finish();
        shared.assert_downloaded(runtime);
    }
}

#[test]
fn uploads_to_transmission_by_utp() {
    if !clients::available(&[T]) {
        return;
    }
    let shared = Shared::new(404);
    let folder = shared.scratch.folder("transmission");
    let leech = Transmission::start_with_utp(&shared.scratch, &folder);
    leech.download(&shared.torrent);
    let peer = leech.address().to_string();
    let args = by_utp("smol", &["--peer", &peer]);
    let data = shared.scratch.join("seed");
    let seed = Anabranch::seed(&shared.scratch, &shared.torrent, &data, &args);
    leech.wait_complete(&shared.torrent);
    leech.stop();
    let (ours, theirs) = (data.join("tree"), folder.join("tree"));
    assert_same_but_for_empty(&ours, &theirs);
    seed.interrupt();
}

#[test]
fn a_peer_that_has_tcp_alone_is_reached_all_the_same() {
    if !clients::available(&[L]) {
        return;
    }
    let shared = Shared::new(405);
    let seed = Libtorrent::seed_unchecked(&shared.torrent, &shared.scratch.join("seed"));
    let folder = shared.scratch.folder("both");
    let peer = seed.address().to_string();
    let args = ["--transport", "both", "--no-lsd", "--peer", &peer];
    Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args).finish();
    shared.assert_downloaded("both");
}

#[test]
fn a_peer_that_has_utp_alone_is_reached_all_the_same() {
    if !clients::available(&[L]) {
        return;
    }
    let shared = Shared::new(406);
    let data = shared.scratch.join("seed");
    let seed = Libtorrent::seed_by_utp(address::LIBTORRENT, &shared.torrent, &data);
    let folder = shared.scratch.folder("both");
    let peer = seed.address().to_string();
    let args = ["--transport", "both", "--no-lsd", "--peer", &peer];
    Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args).finish();
    shared.assert_downloaded("both");
}

#[test]
fn a_seed_that_is_killed_is_missed_and_found_again_by_utp() {
    let shared = Shared::new(407);
    let data = shared.scratch.join("seed");
    let slow = by_utp("smol", &["--limit-up", "400KiB"]);
    let seed = Anabranch::seed(&shared.scratch, &shared.torrent, &data, &slow);
    let first = seed.address().to_string();
    let second = Anabranch::seed(
        &shared.scratch,
        &shared.torrent,
        &data,
        &by_utp("tokio", &[]),
    );
    let folder = shared.scratch.folder("leech");
    let args = by_utp("tokio", &["--peer", &first]);
    let leech = Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args);
    wait::until("something to come", || {
        let some = std::fs::read_dir(folder.join("tree")).ok()?;
        (some.count() > 0).then_some(())
    });
    seed.kill();
    // Nobody says goodbye for it: the port that is closed does.
    leech.interrupt();
    let peer = second.address().to_string();
    let args = by_utp("smol", &["--peer", &first, "--peer", &peer]);
    Anabranch::download(&shared.scratch, &shared.torrent, &folder, &args).finish();
    shared.assert_downloaded("leech");
    second.interrupt();
}
