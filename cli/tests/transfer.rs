//! Downloads and seeds between processes, over loopback sockets, as a user calls them.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command that runs, and writes JSON lines.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            // All tests share the same data, and none wants the peers of another.
            .arg("--json")
            // A node by itself looks for no peers.
            .args((args.first() != Some(&"dht")).then_some("--no-lsd"))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until an event of this name for which `is` holds.
    fn wait_for(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut seen = String::new();
        for line in &mut self.lines {
            let line = line.unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name && is(&event) {
                return event;
            }
            seen += &(line + "\n");
        }
        let mut error = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut error)
            .unwrap();
        panic!("no {name} in:\n{seen}{error}");
    }

    fn event(&mut self, name: &str) -> Value {
        self.wait_for(name, |_| true)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads all events that are left, and the exit code.
    fn end(mut self) -> (Vec<Value>, i32) {
        let events = (&mut self.lines)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        (events, self.child.wait().unwrap().code().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Swarm {
    dir: tempfile::TempDir,
    seeder: Running,
    peer: String,
}

impl Swarm {
    /// A seeder of a folder with three files: 300,000 bytes, 2,000,000 and none.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("origin/album/sub")).unwrap();
        let noise =
            |len: u32| -> Vec<u8> { (0..len).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect() };
        for (path, content) in [
            ("a", noise(300_000)),
            ("sub/b", noise(2_000_000)),
            ("sub/empty", Vec::new()),
        ] {
            fs::write(dir.path().join("origin/album").join(path), content).unwrap();
        }
        let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["create", "origin/album", "--piece-length", "16KiB"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(created.status.success());
        let mut seeder = Running::start(
            dir.path(),
            &[
                "seed",
                "album.torrent",
                "--dir",
                "origin",
                "--listen",
                "127.0.0.1:0",
            ],
        );
        let address = seeder.event("listening")["address"].clone();
        let peer = address.as_str().unwrap().to_owned();
        seeder.event("completed");
        Self { dir, seeder, peer }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A download from the seeder.
    fn download(&self, options: &[&str]) -> Running {
        let mut args = vec![
            "download",
            "album.torrent",
            "--dir",
            "copy",
            "--listen",
            "127.0.0.1:0",
            "--peer",
            &self.peer,
        ];
        args.extend(options);
        Running::start(self.path(), &args)
    }

    fn is_same(&self, path: &str) -> bool {
        let read = |dir: &str| fs::read(self.path().join(dir).join("album").join(path));
        read("origin").unwrap() == read("copy").unwrap()
    }
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

#[test]
fn a_download_is_complete_verified_and_the_same() {
    let swarm = Swarm::new();
    let mut download = swarm.download(&[]);
    let added = download.event("added");
    assert_eq!(added["wanted"], 2_300_000);
    assert_eq!(added["files"], 3);
    let completed = download.event("completed");
    assert_eq!(completed["downloaded"], 2_300_000);
    let (events, code) = download.end();
    assert_eq!(code, 0);
    assert_eq!(named(&events, "stopped")[0]["complete"], true);
    for path in ["a", "sub/b", "sub/empty"] {
        assert!(swarm.is_same(path), "{path}");
    }

    // Once more, there is nothing to do.
    let mut again = swarm.download(&[]);
    assert_eq!(again.event("completed")["downloaded"], 0);
    assert_eq!(again.end().1, 0);

    swarm.seeder.signal(Signal::INT);
    let (events, code) = swarm.seeder.end();
    assert_eq!(code, 0, "to end seeding is no failure");
    assert_eq!(named(&events, "stopping").len(), 1);
    assert_eq!(named(&events, "stopped")[0]["uploaded"], 2_300_000);
}

#[test]
fn progress_of_a_seeder_at_rest_is_told_again_when_somebody_comes() {
    let mut swarm = Swarm::new();
    // It is told once more after completion, and has nobody to change it from then on.
    swarm
        .seeder
        .wait_for("progress", |progress| progress["peers"] == 0);
    let download = swarm.download(&[]);
    // More than all when the machine is so slow that some is asked for again.
    swarm.seeder.wait_for("progress", |progress| {
        progress["uploaded"].as_u64() >= Some(2_300_000)
    });
    assert_eq!(download.end().1, 0);
}

#[test]
fn the_first_piece_is_told_before_all_are_there() {
    let swarm = Swarm::new();
    let (events, code) = swarm.download(&[]).end();
    assert_eq!(code, 0);
    let completed = events
        .iter()
        .position(|event| event["event"] == "completed")
        .unwrap();
    let some = |progress: &&&Value| progress["pieces_have"].as_u64() > Some(0);
    let told = named(&events[..completed], "progress");
    // One more comes with completion.
    assert!(told.iter().filter(some).count() >= 2, "{told:?}");
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let swarm = Swarm::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut download = swarm.download(&["--limit-down", "200KiB"]);
        let before = download.event("checked")["have"].as_u64().unwrap();
        download.wait_for("progress", |progress| {
            progress["pieces_have"].as_u64().unwrap() > before
        });
        download.signal(signal);
        let (events, ended) = download.end();
        assert_eq!(ended, code);
        let stopped = named(&events, "stopped")[0];
        assert_eq!(stopped["complete"], false);
        assert!(stopped["have"].as_u64().unwrap() > 0);
    }
    let mut download = swarm.download(&[]);
    let have = download.event("checked")["have"].as_u64().unwrap();
    assert!(have >= 2, "{have}");
    let downloaded = download.event("completed")["downloaded"].as_u64().unwrap();
    assert!(
        downloaded <= 2_300_000 - (have - 1) * 16_384,
        "{downloaded}"
    );
    assert_eq!(download.end().1, 0);
    assert!(swarm.is_same("a") && swarm.is_same("sub/b"));
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    // A tracker that takes an announce, and after that has all the time in the world.
    let tracker = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/announce", tracker.local_addr().unwrap());
    thread::spawn(move || {
        let (mut client, _) = tracker.accept().unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        client
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\nConnection: close\r\n\r\n\
                  d8:intervali1800e5:peers0:e",
            )
            .unwrap();
        drop(client);
        let _hung: Vec<_> = tracker.incoming().collect();
    });
    let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["create", "file", "--tracker", &url])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(created.status.success());

    let args = [
        "download",
        "file.torrent",
        "--dir",
        "copy",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut download = Running::start(dir.path(), &args);
    download.wait_for("tracker", |event| event["peers"] == 0);
    download.signal(Signal::INT);
    download.event("stopping");
    download.signal(Signal::INT);
    let (events, code) = download.end();
    assert_eq!(code, 130);
    assert!(events.is_empty(), "it did not wait: {events:?}");
}

#[test]
fn only_the_files_that_were_listed_are_fetched() {
    let swarm = Swarm::new();
    let mut download = swarm.download(&["--files", "album/a"]);
    assert_eq!(download.event("added")["files"], 1);
    assert_eq!(download.end().1, 0);
    assert!(swarm.is_same("a"));
    assert!(!swarm.path().join("copy/album/sub").exists());
}

#[test]
fn a_download_seeds_until_its_goal() {
    let swarm = Swarm::new();
    let mut download = swarm.download(&["--seed-time", "0s", "--sequential", "--preallocate"]);
    download.event("completed");
    download.event("goal_reached");
    assert_eq!(download.end().1, 0);
    assert!(swarm.is_same("a") && swarm.is_same("sub/b"));
}

#[test]
fn a_port_that_is_taken_is_told_if_it_was_asked_for() {
    let swarm = Swarm::new();
    let taken = Running::start(
        swarm.path(),
        &[
            "download",
            "album.torrent",
            "--dir",
            "copy",
            "--listen",
            &swarm.peer,
        ],
    );
    let (events, code) = taken.end();
    assert_eq!(code, 1);
    let error = named(&events, "error")[0];
    assert!(error["message"].as_str().unwrap().contains(&swarm.peer));
    assert!(error["advice"].as_str().unwrap().contains("--listen"));
}

#[test]
fn what_does_not_match_is_neither_seeded_nor_changed() {
    let swarm = Swarm::new();
    let b = swarm.path().join("origin/album/sub/b");
    let mut content = fs::read(&b).unwrap();
    content[1_000_000] ^= 1;
    fs::create_dir_all(swarm.path().join("bad/album/sub")).unwrap();
    for path in ["a", "sub/empty"] {
        let from = swarm.path().join("origin/album").join(path);
        fs::copy(from, swarm.path().join("bad/album").join(path)).unwrap();
    }
    let bad = swarm.path().join("bad/album/sub/b");
    fs::write(&bad, &content).unwrap();
    let args = [
        "seed",
        "album.torrent",
        "--dir",
        "bad",
        "--listen",
        "127.0.0.1:0",
    ];
    let (events, code) = Running::start(swarm.path(), &args).end();
    assert_eq!(code, 3);
    assert_eq!(named(&events, "checked")[0]["have"], 140);
    assert_eq!(named(&events, "error")[0]["code"], 3);
    assert_eq!(fs::read(&bad).unwrap(), content);

    fs::remove_file(&bad).unwrap();
    let (events, code) = Running::start(swarm.path(), &args).end();
    assert_eq!(code, 3);
    assert!(named(&events, "listening").is_empty(), "nothing was begun");
    assert!(!bad.exists());
}

#[test]
fn a_torrent_given_twice_is_refused() {
    let swarm = Swarm::new();
    fs::copy(
        swarm.path().join("album.torrent"),
        swarm.path().join("twin.torrent"),
    )
    .unwrap();
    let twice = ["download", "album.torrent", "twin.torrent", "--dir", "copy"];
    let (events, code) = Running::start(swarm.path(), &twice).end();
    assert_eq!(code, 2);
    assert_eq!(events.len(), 1);
    assert!(!swarm.path().join("copy").exists());
}

#[test]
fn the_demonstration_ends_with_identical_files() {
    let dir = tempfile::tempdir().unwrap();
    let demo = |options: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["demo", "--dir", ".", "--size", "3MiB"])
            .args(options)
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    let output = demo(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\nidentical: 3.0 MiB in "), "{text}");
    assert!(text.contains("\nCPU: "), "{text}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "tidied up");

    assert!(demo(&["--keep"]).status.success());
    let kept = fs::read_dir(dir.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let read = |name: &str| fs::read(kept.join(name)).unwrap();
    assert_eq!(read("seeder/demo.bin"), read("downloader/demo.bin"));
}

#[cfg(all(feature = "runtime-smol", feature = "runtime-tokio"))]
#[test]
fn the_demonstration_seeds_on_the_other_runtime() {
    let dir = tempfile::tempdir().unwrap();
    for (downloader, seeder) in [("smol", "tokio"), ("tokio", "smol")] {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["demo", "--dir", ".", "--size", "3MiB", "--runtime"])
            .arg(downloader)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains(&format!("\nseeder on {seeder}: ")), "{text}");
        assert!(
            text.contains(&format!("\ndownloader on {downloader}\n")),
            "{text}"
        );
        assert!(text.contains("\nidentical: 3.0 MiB in "), "{text}");
    }
}

/// Nobody is told of the seeder but the DHT, which is one node that knows nobody.
#[test]
fn a_magnet_link_is_enough_where_the_dht_knows_a_peer() {
    let swarm = Swarm::new();
    let mut node = Running::start(
        swarm.path(),
        &[
            "dht",
            "node",
            "--alone",
            "--listen",
            "127.0.0.1:0",
            "--interval",
            "100ms",
        ],
    );
    let address = node.event("listening")["address"].clone();
    let address = address.as_str().unwrap();
    let inside = ["--listen", "127.0.0.1:0", "--dht-node", address];
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .args(inside)
            .current_dir(swarm.path())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    // The other seeder has its own folder to itself.
    for path in ["a", "sub/b", "sub/empty"] {
        let to = swarm.path().join("twin/album").join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(swarm.path().join("origin/album").join(path), to).unwrap();
    }
    let mut args = vec!["seed", "album.torrent", "--dir", "twin"];
    args.extend(inside);
    args.extend(["--dht-state", "state/dht"]);
    let mut seeder = Running::start(swarm.path(), &args);
    seeder.event("completed");
    node.wait_for("dht", |status| status["announces"].as_u64() > Some(0));

    let (_, link) = {
        let made = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["magnet", "album.torrent"])
            .current_dir(swarm.path())
            .output()
            .unwrap();
        (made.status, String::from_utf8(made.stdout).unwrap())
    };
    let link = link.trim();
    let (code, peers) = run(&["dht", "get-peers", link]);
    assert_eq!((code, peers.lines().count()), (Some(0), 1), "{peers}");
    let mut args = vec!["download", link, "--dir", "copy"];
    args.extend(inside);
    let (_, code) = Running::start(swarm.path(), &args).end();
    assert_eq!(code, 0);
    let copied = fs::read(swarm.path().join("copy/album/sub/b")).unwrap();
    assert_eq!(copied.len(), 2_000_000);

    let (code, pong) = run(&["dht", "ping", address]);
    assert!(code == Some(0) && pong.starts_with(address), "{pong}");
    let (code, item) = run(&["dht", "put", "some text"]);
    assert_eq!(code, Some(0));
    let (code, text) = run(&["dht", "get", item.trim()]);
    assert_eq!((code, text.as_str()), (Some(0), "some text\n"));
    let (code, _) = run(&["dht", "get", &"0".repeat(40)]);
    assert_eq!(code, Some(3));
    let (code, stats) = run(&["dht", "stats", "--json"]);
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((code, &stats["ipv4"]["ready"]), (Some(0), &true.into()));

    seeder.signal(Signal::INT);
    assert_eq!(seeder.end().1, 0);
    let state = fs::read(swarm.path().join("state/dht")).unwrap();
    assert!(state.starts_with(b"d2:id20:"));
    node.signal(Signal::INT);
    assert_eq!(node.end().1, 0);
}

impl Swarm {
    /// One more torrent, of a single file of a piece and a half, in the same folder.
    fn single(&self, name: &str) {
        let content: Vec<u8> = (0..24_576_u32).map(|i| ((i * 7) >> 3) as u8).collect();
        fs::write(self.path().join("origin").join(name), content).unwrap();
        let source = format!("origin/{name}");
        let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["create", &source, "--piece-length", "16KiB"])
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(created.status.success());
    }

    /// A seeder of these torrents, as JSON lines.
    fn seed(&self, torrents: &[&str]) -> Running {
        let mut args = vec!["seed"];
        args.extend(torrents);
        args.extend(["--dir", "origin", "--listen", "127.0.0.1:0"]);
        Running::start(self.path(), &args)
    }

    /// Downloads the single file from a seeder, and says how that ended.
    fn fetch(&self, name: &str, seeder: &str) -> i32 {
        let torrent = format!("{name}.torrent");
        let args = [
            "download",
            &torrent,
            "--dir",
            "fetched",
            "--listen",
            "127.0.0.1:0",
            "--peer",
            seeder,
        ];
        Running::start(self.path(), &args).end().1
    }
}

fn address(seeder: &mut Running) -> String {
    let listening = seeder.event("listening");
    listening["address"].as_str().unwrap().to_owned()
}

#[test]
fn a_torrent_that_cannot_be_read_or_is_not_there_keeps_no_other_from_being_seeded() {
    let swarm = Swarm::new();
    swarm.single("good");
    swarm.single("gone");
    fs::remove_file(swarm.path().join("origin/gone")).unwrap();
    fs::write(swarm.path().join("bad.torrent"), "<html>").unwrap();
    let mut seeder = swarm.seed(&[
        "bad.torrent",
        "none.torrent",
        "gone.torrent",
        "good.torrent",
    ]);
    for (what, code) in [("bad.torrent", 1), ("none.torrent", 1), ("gone", 3)] {
        let failed = seeder.event("failed");
        assert!(
            failed["message"].as_str().unwrap().contains(what),
            "{failed}"
        );
        assert_eq!(failed["code"], code, "{failed}");
    }
    let peer = address(&mut seeder);
    seeder.event("completed");
    assert_eq!(swarm.fetch("good", &peer), 0);
    seeder.signal(Signal::INT);
    let (events, code) = seeder.end();
    assert_eq!(code, 1, "{events:?}");
    let error = named(&events, "error")[0]["message"].as_str().unwrap();
    assert!(error.starts_with("3 of 4 torrents failed: "), "{error}");
}

#[test]
fn a_torrent_that_cannot_be_read_keeps_no_other_from_being_downloaded() {
    let swarm = Swarm::new();
    fs::write(swarm.path().join("bad.torrent"), "<html>").unwrap();
    let (events, code) = swarm.download(&["bad.torrent"]).end();
    assert_eq!(code, 1);
    assert_eq!(named(&events, "failed").len(), 1);
    assert_eq!(named(&events, "completed").len(), 1);
    assert!(swarm.is_same("a") && swarm.is_same("sub/b"));
}

#[test]
fn a_file_in_the_way_of_one_torrent_keeps_no_other_from_being_downloaded() {
    let swarm = Swarm::new();
    swarm.single("good");
    fs::create_dir_all(swarm.path().join("copy/good")).unwrap();
    let (events, code) = swarm.download(&["good.torrent"]).end();
    assert_eq!(code, 1);
    assert_eq!(named(&events, "completed").len(), 1);
    assert!(swarm.is_same("a") && swarm.is_same("sub/b"));
    let error = named(&events, "error")[0]["message"].as_str().unwrap();
    assert_eq!(error, "1 of 2 torrents failed: good");
}

/// A file that is deleted, and one that is cut, while it is seeded beside another torrent.
#[test]
fn a_file_that_is_deleted_or_cut_ends_the_seeding_of_its_torrent_alone() {
    let swarm = Swarm::new();
    for cut in [false, true] {
        for name in ["good", "hurt"] {
            fs::remove_file(swarm.path().join(format!("{name}.torrent"))).ok();
            swarm.single(name);
        }
        let hurt = swarm.path().join("origin/hurt");
        let mut seeder = swarm.seed(&["hurt.torrent", "good.torrent"]);
        let peer = address(&mut seeder);
        seeder.event("completed");
        seeder.event("completed");
        if cut {
            fs::File::options()
                .write(true)
                .open(&hurt)
                .unwrap()
                .set_len(10_000)
                .unwrap();
        } else {
            fs::remove_file(&hurt).unwrap();
        }
        // It is noticed when somebody asks for it.
        let args = [
            "download",
            "hurt.torrent",
            "--dir",
            "fetched",
            "--listen",
            "127.0.0.1:0",
            "--peer",
            &peer,
        ];
        let asking = Running::start(swarm.path(), &args);
        let failed = seeder.event("failed");
        assert_eq!(failed["code"], 3, "{failed}");
        assert!(failed["message"].as_str().unwrap().starts_with("hurt: "));
        drop(asking);
        assert_eq!(hurt.exists(), cut, "nothing is created");
        assert_eq!(swarm.fetch("good", &peer), 0);
        seeder.signal(Signal::INT);
        let (events, code) = seeder.end();
        assert_eq!(code, 3, "{events:?}");
        fs::remove_dir_all(swarm.path().join("fetched")).unwrap();
    }
}

#[test]
fn a_torrent_that_another_process_works_on_is_refused_and_says_who_does() {
    let mut swarm = Swarm::new();
    let pid = swarm.seeder.child.id().to_string();
    for command in ["seed", "download"] {
        let args = [
            command,
            "album.torrent",
            "--dir",
            "origin",
            "--listen",
            "127.0.0.1:0",
        ];
        let (events, code) = Running::start(swarm.path(), &args).end();
        assert_eq!(code, 1, "{events:?}");
        let error = named(&events, "error")[0]["message"].as_str().unwrap();
        assert!(error.contains("in use: "), "{error}");
        assert!(
            error.contains(&format!("process {pid} (anabranch)")),
            "{error}"
        );
    }
    // A lock goes with the process that holds it, however that ends.
    swarm.seeder.child.kill().unwrap();
    swarm.seeder.child.wait().unwrap();
    let mut again = Running::start(
        swarm.path(),
        &[
            "seed",
            "album.torrent",
            "--dir",
            "origin",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    again.event("completed");
    again.signal(Signal::INT);
    assert_eq!(again.end().1, 0);
    let left: Vec<_> = fs::read_dir(swarm.path().join("origin/.anabranch"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        left.iter().all(|name| name.ends_with(".resume")),
        "{left:?}"
    );
}

#[test]
fn a_download_that_is_interrupted_in_a_large_piece_goes_on_in_it() {
    const SIZE: u64 = 8 << 20;
    let swarm = Swarm::new();
    let content: Vec<u8> = (0..SIZE as u32)
        .map(|i| (i.wrapping_mul(i) >> 9) as u8)
        .collect();
    fs::write(swarm.path().join("origin/large"), &content).unwrap();
    let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["create", "origin/large", "--piece-length", "8MiB"])
        .current_dir(swarm.path())
        .output()
        .unwrap();
    assert!(created.status.success());
    let mut seeder = swarm.seed(&["large.torrent"]);
    let peer = address(&mut seeder);
    seeder.event("completed");
    let download = |options: &[&str]| {
        let mut args = vec![
            "download",
            "large.torrent",
            "--dir",
            "copy",
            "--listen",
            "127.0.0.1:0",
            "--peer",
            &peer,
        ];
        args.extend(options);
        Running::start(swarm.path(), &args)
    };
    let mut first = download(&["--limit-down", "2MiB"]);
    first.wait_for("progress", |progress| {
        progress["downloaded"].as_u64() > Some(2 << 20)
    });
    first.signal(Signal::INT);
    let (events, code) = first.end();
    assert_eq!(code, 130);
    let before = named(&events, "stopped")[0]["downloaded"].as_u64().unwrap();
    let mut second = download(&[]);
    let after = second.event("completed")["downloaded"].as_u64().unwrap();
    assert_eq!(second.end().1, 0);
    assert!(before + after <= SIZE, "{before} and {after}");
    assert!(fs::read(swarm.path().join("copy/large")).unwrap() == content);
}
