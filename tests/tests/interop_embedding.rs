//! The core without the driver: its examples download from other clients.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anabranch_tests::clients::{self, Client, Example, Libtorrent, Opentracker, Transmission};
use anabranch_tests::data::{assert_same, write_tree};
use anabranch_tests::{Scratch, Torrent};

const PIECE_LENGTH: u64 = 128 * 1024;

/// From a peer that is named on the command line, without a tracker.
fn downloads_from_a_peer(example: Example) {
    if !clients::available(&[Client::Transmission]) {
        return;
    }
    let scratch = Scratch::new();
    let content = scratch.folder("seed").join("tree");
    write_tree(&content, 31);
    let torrent = Torrent::make(&content, &scratch.join("tree.torrent"), PIECE_LENGTH, &[]);
    let seed = Transmission::start(&scratch, &scratch.join("seed"));
    seed.seed(&torrent);

    let folder = scratch.folder("example");
    let peers = [seed.address()];
    example.download(&torrent, &folder, &peers).finish();
    assert_same(&content, &folder.join("tree"));

    // What is there is found again, and only what is wrong is fetched: without a peer that would
    // not end.
    drop(seed);
    example.download(&torrent, &folder, &[]).finish();
    assert_same(&content, &folder.join("tree"));
}

/// From a peer that a tracker names.
fn downloads_through_a_tracker(example: Example, url: impl Fn(&clients::Reserved) -> String) {
    if !clients::available(&[Client::Transmission, Client::Opentracker]) {
        return;
    }
    let scratch = Scratch::new();
    let content = scratch.folder("seed").join("tree");
    write_tree(&content, 32);
    let tracker = Opentracker::reserve();
    let to = scratch.join("tree.torrent");
    let torrent = Torrent::make(&content, &to, PIECE_LENGTH, &[url(&tracker)]);
    let tracker = tracker.start(&scratch, &[&torrent]);
    let seed = Transmission::start(&scratch, &scratch.join("seed"));
    seed.seed(&torrent);
    tracker.wait_for_seeds(&torrent, 1);

    let folder = scratch.folder("example");
    // What is there already and partly wrong is no obstacle.
    let damaged = folder.join("tree");
    fs::create_dir_all(&damaged).expect("a folder");
    write_tree(&damaged, 32);
    let file = File::options()
        .write(true)
        .open(damaged.join("a file with spaces.bin"));
    let file = file.expect("a file of the tree");
    file.write_all_at(&[0xa5; 300_000], 1_000_000)
        .expect("damaged");
    example.download(&torrent, &folder, &[]).finish();
    assert_same(&content, &folder.join("tree"));
}

/// From a peer that dials, because the example was there first.
fn downloads_from_a_caller(example: Example) {
    if !clients::available(&[Client::Libtorrent, Client::Opentracker]) {
        return;
    }
    let scratch = Scratch::new();
    let content = scratch.folder("seed").join("tree");
    write_tree(&content, 34);
    let tracker = Opentracker::reserve();
    let to = scratch.join("tree.torrent");
    let torrent = Torrent::make(&content, &to, PIECE_LENGTH, &[tracker.http()]);
    let tracker = tracker.start(&scratch, &[&torrent]);
    let folder = scratch.folder("example");
    let download = example.download(&torrent, &folder, &[]);
    tracker.wait_for_peers(&torrent, 1);
    let _seed = Libtorrent::seed(&torrent, &scratch.join("seed"));
    download.finish();
    assert_same(&content, &folder.join("tree"));
}

#[test]
fn threads_download_from_a_peer() {
    downloads_from_a_peer(Example::Threads);
}

#[test]
fn mio_downloads_from_a_peer() {
    downloads_from_a_peer(Example::Mio);
}

#[test]
fn threads_download_through_a_tracker_over_http() {
    downloads_through_a_tracker(Example::Threads, clients::Reserved::http);
}

#[test]
fn mio_downloads_through_a_tracker_over_http() {
    downloads_through_a_tracker(Example::Mio, clients::Reserved::http);
}

#[test]
fn threads_download_through_a_tracker_over_udp() {
    downloads_through_a_tracker(Example::Threads, clients::Reserved::udp);
}

#[test]
fn mio_downloads_through_a_tracker_over_udp() {
    downloads_through_a_tracker(Example::Mio, clients::Reserved::udp);
}

#[test]
fn threads_download_from_a_caller() {
    downloads_from_a_caller(Example::Threads);
}

#[test]
fn mio_downloads_from_a_caller() {
    downloads_from_a_caller(Example::Mio);
}
