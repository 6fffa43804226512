//! Runs of the command with real Transmission peers, on each runtime, recorded and replayed.

use std::fs;
use std::path::{Path, PathBuf};

use anabranch_tests::clients::{self, Anabranch, Client, Opentracker, Transmission};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, write_tree};
use anabranch_tests::{Scratch, Torrent};
use serde_json::Value;

use Client::{Opentracker as O, Transmission as T};

/// What `replay --json` says at its end.
fn replay(scratch: &Scratch, file: &Path) -> Value {
    let path = file.to_str().expect("a path in UTF-8");
    let outcome = Anabranch::run(scratch, ["replay", path, "--json"]);
    outcome.assert_success();
    let last = outcome.stdout.lines().last().expect("a line");
    let said: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(said["event"], "replayed", "{said}");
    said
}

fn number(of: &Value) -> u64 {
    of.as_u64().unwrap_or_else(|| panic!("a number: {of}"))
}

fn tree(scratch: &Scratch, seed: u64, tracker: &str) -> (PathBuf, Torrent) {
    let data = scratch.folder("seed").join("tree");
    write_tree(&data, seed);
    let to = scratch.join("tree.torrent");
    let torrent = Anabranch::create(scratch, &data, &to, &["--tracker", tracker]);
    (data, torrent)
}

fn a_download_is_replayed(seed: u64, runtime: &str) {
    if !clients::available(&[O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let tracker = Opentracker::reserve();
    let (data, torrent) = tree(&scratch, seed, &tracker.http());
    let tracker = tracker.start(&scratch, &[&torrent]);
    let transmission = Transmission::start(&scratch, &scratch.join("seed"));
    transmission.seed(&torrent);
    tracker.wait_for_seeds(&torrent, 1);

    let file = scratch.join("run.rec");
    let folder = scratch.folder("anabranch");
    let record = ["--runtime", runtime, "--record", path(&file)];
    let run = Anabranch::download(&scratch, &torrent, &folder, &record);
    run.finish();
    assert_same(&data, &folder.join("tree"));

    let said = replay(&scratch, &file);
    assert_eq!(said["ending"], "complete", "{said}");
    let of_torrent = &said["torrents"][0];
    assert_eq!(of_torrent["info_hash"], torrent.hex());
    assert_eq!(of_torrent["pieces"], of_torrent["pieces_have"]);
    let payload = number(&said["payload_received"]);
    assert!(payload >= torrent_size(&scratch, &torrent), "{said}");
    let size = fs::metadata(&file).expect("the recording").len();
    assert!(size < payload / 20, "{size} bytes for {payload} of payload");

    // What happened, in words.
    let outcome = Anabranch::run(&scratch, ["replay", path(&file), "--trace"]);
    outcome.assert_success();
    for words in ["handshake of Transmission", "block of piece", "reply to"] {
        assert!(
            outcome.stdout.contains(words),
            "{words} in\n{}",
            outcome.stdout
        );
    }
}

fn torrent_size(scratch: &Scratch, torrent: &Torrent) -> u64 {
    number(&Anabranch::show(scratch, &torrent.path)["size"])
}

fn path(of: &Path) -> &str {
    of.to_str().expect("a path in UTF-8")
}

#[test]
fn a_download_on_smol_is_replayed() {
    a_download_is_replayed(71, "smol");
}

#[test]
fn a_download_on_tokio_is_replayed() {
    a_download_is_replayed(72, "tokio");
}

#[test]
fn a_seed_is_replayed() {
    if !clients::available(&[O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let tracker = Opentracker::reserve();
    let (data, torrent) = tree(&scratch, 73, &tracker.udp());
    let tracker = tracker.start(&scratch, &[&torrent]);
    let folder = scratch.folder("leech");
    let leech = Transmission::start(&scratch, &folder);
    leech.download(&torrent);
    // It dials nobody on loopback, so it has to be known when the seed comes.
    tracker.wait_for_peers(&torrent, 1);
    let file = scratch.join("run.rec");
    let record = ["--record", path(&file)];
    let seed = Anabranch::seed(&scratch, &torrent, &scratch.join("seed"), &record);
    leech.wait_complete(&torrent);
    assert_same_but_for_empty(&data, &folder.join("tree"));
    seed.interrupt();

    let said = replay(&scratch, &file);
    assert_eq!(said["ending"], "complete", "{said}");
    let sent = number(&said["payload_sent"]);
    assert!(sent >= torrent_size(&scratch, &torrent), "{said}");
    let size = fs::metadata(&file).expect("the recording").len();
    assert!(size < sent / 20, "{size} bytes for {sent} of payload");
}

#[test]
fn what_was_recorded_before_a_kill_is_replayed() {
    if !clients::available(&[O, T]) {
        return;
    }
    let scratch = Scratch::new();
    let tracker = Opentracker::reserve();
    let (_, torrent) = tree(&scratch, 74, &tracker.http());
    let tracker = tracker.start(&scratch, &[&torrent]);
    let transmission = Transmission::start(&scratch, &scratch.join("seed"));
    transmission.seed(&torrent);
    tracker.wait_for_seeds(&torrent, 1);
    let file = scratch.join("run.rec");
    let folder = scratch.folder("anabranch");
    // Slow enough not to be over by then.
    let extra = ["--limit-down", "512KiB", "--record", path(&file)];
    let run = Anabranch::download(&scratch, &torrent, &folder, &extra);
    // Progress comes once a second: what it tells of was recorded half a second later at most, and a
    // second line tells that this has passed.
    run.wait_downloaded(1);
    run.wait_downloaded(600 << 10);
    run.kill();
    let said = replay(&scratch, &file);
    assert_eq!(said["ending"], "cut", "{said}");
    assert!(number(&said["payload_received"]) > 0, "{said}");
    assert_eq!(said["torrents"][0]["state"], "downloading");
}

#[test]
fn a_recording_of_another_run_is_not_overwritten() {
    let scratch = Scratch::new();
    let (_, torrent) = tree(&scratch, 75, "http://127.0.0.1:9/announce");
    let file = scratch.join("precious");
    fs::write(&file, "data").expect("a file");
    let outcome = Anabranch::run(
        &scratch,
        ["download", path(&torrent.path), "--record", path(&file)],
    );
    outcome.assert_refused();
    assert!(outcome.stderr.contains("precious"), "{}", outcome.stderr);
    assert_eq!(fs::read(&file).expect("the file"), b"data");
}
