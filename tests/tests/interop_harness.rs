//! The other clients among themselves: what fails here is the harness, not the engine.

use std::net::SocketAddr;

use anabranch_tests::clients::{self, Aria2, Client, Libtorrent, Opentracker, Transmission};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, write_tree};
use anabranch_tests::process::{Process, Stream};
use anabranch_tests::scripted::{Gate, content, honest_leech, honest_seed};
use anabranch_tests::{Scratch, Torrent, address};

const PIECE: u64 = 128 * 1024;

#[test]
fn harness_clients_talk_to_each_other() {
    use Client::{Aria2 as A, Libtorrent as L, Opentracker as O, Transmission as T};
    if !clients::available(&[A, L, O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let data = scratch.folder("seed").join("tree");
    write_tree(&data, 1);
    let tracker = Opentracker::reserve();
    let torrent = Torrent::make(
        &data,
        &scratch.join("tree.torrent"),
        PIECE,
        &[tracker.http()],
    );
    let tracker = tracker.start(&scratch, &[&torrent]);

    // Transmission dials nobody here, so it is known before the others come.
    let transmission = Transmission::start(&scratch, &scratch.folder("transmission"));
    transmission.download(&torrent);
    tracker.wait_for_peers(&torrent, 1);

    let aria2 = Aria2::download(&scratch, &torrent, &scratch.folder("aria2-data"));
    tracker.wait_for_peers(&torrent, 2);

    let _seed = Libtorrent::seed(&torrent, &scratch.folder("seed"));
    aria2.wait_complete();
    transmission.wait_complete(&torrent);
    assert_same(&data, &scratch.join("aria2-data/tree"));
    assert_same_but_for_empty(&data, &scratch.join("transmission/tree"));
}

#[test]
fn harness_transmission_and_libtorrent_meet_over_udp() {
    use Client::{Libtorrent as L, Opentracker as O, Transmission as T};
    if !clients::available(&[L, O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let data = scratch.folder("seed").join("tree");
    write_tree(&data, 4);
    let tracker = Opentracker::reserve();
    let torrent = Torrent::make(
        &data,
        &scratch.join("tree.torrent"),
        PIECE,
        &[tracker.udp()],
    );
    let tracker = tracker.start(&scratch, &[&torrent]);
    let transmission = Transmission::start(&scratch, &scratch.folder("seed"));
    transmission.seed(&torrent);
    tracker.wait_for_seeds(&torrent, 1);
    let folder = scratch.folder("leech");
    Libtorrent::download(&torrent, &folder, &[]).wait_complete();
    assert_same(&data, &folder.join("tree"));
}

#[test]
fn harness_transmission_and_aria2_seed() {
    use Client::{Aria2 as A, Libtorrent as L, Opentracker as O, Transmission as T};
    if !clients::available(&[A, L, O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let seeds = scratch.folder("seed");
    let data = seeds.join("tree");
    write_tree(&data, 2);
    let tracker = Opentracker::reserve();
    let torrents = ["one", "two"].map(|name| {
        let to = scratch.join(name);
        // Two swarms: the announce address is no part of the info-hash, the length of pieces is.
        let piece = if name == "one" { PIECE } else { 2 * PIECE };
        Torrent::make(&data, &to, piece, &[tracker.http()])
    });
    let tracker = tracker.start(&scratch, &[&torrents[0], &torrents[1]]);

    let transmission = Transmission::start(&scratch, &seeds);
    transmission.seed(&torrents[0]);
    tracker.wait_for_seeds(&torrents[0], 1);
    let _aria2 = Aria2::seed(&scratch, &torrents[1], &seeds);
    tracker.wait_for_seeds(&torrents[1], 1);
    for (number, torrent) in torrents.iter().enumerate() {
        let folder = scratch.folder(&format!("leech-{number}"));
        let leech = Libtorrent::download(torrent, &folder, &[]);
        leech.wait_complete();
        assert_same(&data, &folder.join("tree"));
    }
}

#[test]
fn harness_scripted_peers_talk_to_libtorrent() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let scratch = Scratch::new();
    let data = scratch.folder("seed").join("tree");
    write_tree(&data, 3);
    let torrent = Torrent::make(&data, &scratch.join("tree.torrent"), PIECE, &[]);
    let bytes = content(&data);

    let seed = Libtorrent::seed(&torrent, &scratch.folder("seed"));
    let got = honest_leech(address::HONEST, seed.address(), &torrent).unwrap();
    assert!(got == bytes, "the scripted leech got something else");

    let seed = honest_seed(address::HONEST, &torrent, bytes, Gate::opened());
    let folder = scratch.folder("leech");
    Libtorrent::download(&torrent, &folder, &[seed.address()]).wait_complete();
    assert_same(&data, &folder.join("tree"));
}

#[test]
fn a_process_shows_what_it_said_and_how_it_ended() {
    let mut shell = std::process::Command::new("sh");
    let process = Process::spawn(
        "sh",
        shell.args(["-c", "echo 127.0.0.1:80; echo no >&2; exit 3"]),
    );
    let address = process.wait_line("an address", |stream, line| {
        (stream == Stream::Out).then(|| line.parse::<SocketAddr>().ok())?
    });
    assert_eq!(address.port(), 80);
    let exit = process.wait_exit();
    assert_eq!((exit.status.code(), exit.stderr.as_str()), (Some(3), "no"));
}
