//! Downloads that are killed, interrupted or tampered with, and go on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anabranch_tests::clients::{self, Anabranch, Client, Libtorrent};
use anabranch_tests::data::{assert_same, write_tree};
use anabranch_tests::{Scratch, Torrent};

const PIECE: u64 = 128 * 1024;

struct Setup {
    seed: Libtorrent,
    torrent: Torrent,
    data: PathBuf,
    folder: PathBuf,
    scratch: Scratch,
}

impl Setup {
    fn new(number: u64) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, number);
        let torrent = Torrent::make(&data, &scratch.join("tree.torrent"), PIECE, &[]);
        let seed = Libtorrent::seed(&torrent, &scratch.join("seed"));
        let folder = scratch.folder("leech");
        Self {
            seed,
            torrent,
            data,
            folder,
            scratch,
        }
    }

    fn download(&self, extra: &[&str]) -> Anabranch {
        download(
            &self.scratch,
            &self.torrent,
            &self.folder,
            self.seed.address(),
            extra,
        )
    }

    fn assert_same(&self) {
        assert_same(&self.data, &self.folder.join("tree"));
    }
}

fn download(
    scratch: &Scratch,
    torrent: &Torrent,
    folder: &Path,
    peer: SocketAddr,
    extra: &[&str],
) -> Anabranch {
    let peer = peer.to_string();
    let args = [&["--peer", peer.as_str()], extra].concat();
    Anabranch::download(scratch, torrent, folder, &args)
}

#[test]
fn after_kill_9_the_same_command_goes_on() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(61);
    let total = setup.torrent.length;
    // Slow enough that there is a middle to be killed in.
    let first = setup.download(&["--limit-down", "2MiB"]);
    first.wait_downloaded(total / 2);
    first.kill();
    let second = setup.download(&[]).finish();
    let again = second.downloaded().expect("statistics at the end of a run");
    assert!(again > 0, "the first run was complete, which shows nothing");
    assert!(
        again < total,
        "{again} of {total} bytes fetched after half was there"
    );
    setup.assert_same();
}

#[test]
fn killed_again_and_again_it_gets_there() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(62);
    for _ in 0..4 {
        let run = setup.download(&["--limit-down", "512KiB"]);
        run.wait_downloaded(setup.torrent.length / 8);
        run.kill();
    }
    setup.download(&[]).finish();
    setup.assert_same();
    Anabranch::verify(&setup.scratch, &setup.torrent, &setup.folder).assert_success();
}

#[test]
fn after_ctrl_c_a_second_run_fetches_only_what_is_missing() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(63);
    let total = setup.torrent.length;
    let first = setup.download(&["--limit-down", "2MiB"]);
    first.wait_downloaded(total / 2);
    first.interrupt();
    let again = setup
        .download(&[])
        .finish()
        .downloaded()
        .expect("statistics at the end");
    // What was verified stays; what may be lost are the pieces under way.
    assert!(
        again <= total * 3 / 4,
        "{again} of {total} bytes fetched after half was there"
    );
    setup.assert_same();
}

#[test]
fn a_complete_download_is_not_fetched_again() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(64);
    setup.download(&[]).finish();
    let again = setup.download(&[]).finish();
    assert_eq!(again.downloaded().unwrap_or(0), 0);
    setup.assert_same();
}

#[test]
fn files_that_changed_since_are_put_right() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(65);
    setup.download(&[]).finish();
    // One with another content, one cut off, one gone.
    let changed = setup.folder.join("tree/a file with spaces.bin");
    let mut bytes = fs::read(&changed).unwrap();
    bytes[1_234_567] ^= 0xff;
    fs::write(&changed, bytes).unwrap();
    let cut = setup.folder.join("tree/edge.bin");
    fs::File::options()
        .write(true)
        .open(cut)
        .unwrap()
        // Of less than a piece nobody could tell whose it is.
        .set_len(500_000)
        .unwrap();
    fs::remove_file(setup.folder.join("tree/.hidden")).unwrap();
    let again = setup
        .download(&[])
        .finish()
        .downloaded()
        .expect("statistics at the end");
    assert!(
        again > 0 && again < setup.torrent.length,
        "{again} bytes fetched"
    );
    setup.assert_same();
}

#[test]
fn data_without_resume_data_are_found() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let setup = Setup::new(66);
    let half = fs::read(setup.data.join("a file with spaces.bin")).unwrap();
    fs::create_dir_all(setup.folder.join("tree")).unwrap();
    fs::write(setup.folder.join("tree/a file with spaces.bin"), &half).unwrap();
    let fetched = setup
        .download(&[])
        .finish()
        .downloaded()
        .expect("statistics at the end");
    let most = setup.torrent.length - half.len() as u64 + 4 * PIECE;
    assert!(
        fetched <= most,
        "{fetched} bytes fetched, {} were there",
        half.len()
    );
    setup.assert_same();
}
