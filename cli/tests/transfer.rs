//! Downloads and seeds between processes, over loopback sockets, as a user calls them.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
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
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_anabranch")), dir, args)
    }

    /// The same, as the last arguments of another command.
    fn start_by(mut command: Command, dir: &Path, args: &[&str]) -> Self {
        let mut child = command
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
fn completion_is_told_before_any_seeding_and_no_seeding_unless_asked_for() {
    let swarm = Swarm::new();
    let seeding = |event: &Value| event["event"] == "progress" && event["state"] == "seeding";
    let (events, code) = swarm.download(&[]).end();
    assert_eq!(code, 0);
    assert!(!events.iter().any(seeding), "{events:?}");
    fs::remove_dir_all(swarm.path().join("copy")).unwrap();

    let (events, code) = swarm.download(&["--seed-time", "0s"]).end();
    assert_eq!(code, 0);
    let completed = events
        .iter()
        .position(|event| event["event"] == "completed")
        .unwrap();
    assert!(!events[..completed].iter().any(seeding), "{events:?}");
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

/// A folder with a file, the torrent of which names a tracker that takes an announce, and after that has all the
/// time in the world; and the tracker's URL.
fn with_silent_tracker() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
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
    (dir, url)
}

/// Downloads that file.
const SILENT: [&str; 6] = [
    "download",
    "file.torrent",
    "--dir",
    "copy",
    "--listen",
    "127.0.0.1:0",
];

/// A download of that file, when it has heard of its tracker.
fn download_from_silent_tracker(dir: &Path) -> Running {
    heard_by_silent_tracker(Running::start(dir, &SILENT))
}

fn heard_by_silent_tracker(mut download: Running) -> Running {
    download.wait_for("tracker", |event| event["peers"] == 0);
    download
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let (dir, _) = with_silent_tracker();
    let mut download = download_from_silent_tracker(dir.path());
    download.signal(Signal::INT);
    download.event("stopping");
    download.signal(Signal::INT);
    let (events, code) = download.end();
    assert_eq!(code, 130);
    let waited = named(&events, "stopped");
    assert!(waited.is_empty(), "it did not wait: {events:?}");
}

#[test]
fn what_an_interrupted_command_waits_for_is_told() {
    let (dir, url) = with_silent_tracker();
    let mut download = download_from_silent_tracker(dir.path());
    download.signal(Signal::INT);
    download.event("stopping");
    let waiting = download.event("waiting");
    let message = waiting["message"].as_str().unwrap();
    assert!(
        message.contains(&url) && message.contains("3s"),
        "{message}"
    );
    let (events, code) = download.end();
    assert_eq!(code, 130);
    assert_eq!(named(&events, "stopped").len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_goes_away_ends_a_download_in_good_order() {
    let (dir, _) = with_silent_tracker();
    // Whoever runs the tests may ignore it, and so would the command.
    let mut attached = Command::new("env");
    attached.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_anabranch")]);
    let mut download = heard_by_silent_tracker(Running::start_by(attached, dir.path(), &SILENT));
    download.signal(Signal::HUP);
    download.event("stopping");
    let (events, code) = download.end();
    assert_eq!(code, 129);
    assert_eq!(named(&events, "stopped").len(), 1);
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let (dir, _) = with_silent_tracker();
    // What nohup does before it becomes the command.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "nohup"])
        .arg(env!("CARGO_BIN_EXE_anabranch"))
        .args(SILENT)
        .args(["--json", "--no-lsd"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut download = Running { child, lines };
    download.wait_for("tracker", |event| event["peers"] == 0);
    download.signal(Signal::HUP);
    // Were it the second signal, there would be no good order.
    download.signal(Signal::INT);
    let (events, code) = download.end();
    assert_eq!(code, 130);
    assert_eq!(named(&events, "stopped").len(), 1, "{events:?}");
}

#[test]
fn a_download_that_nothing_comes_for_is_given_up_in_time() {
    let swarm = Swarm::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let args = [
        "download",
        "album.torrent",
        "--dir",
        "copy",
        "--listen",
        "127.0.0.1:0",
        "--no-dht",
        "--peer",
        &nowhere,
        "--timeout",
        "1500ms",
    ];
    let (events, code) = Running::start(swarm.path(), &args).end();
    assert_eq!(code, 5, "{events:?}");
    let seeking = named(&events, "seeking")[0];
    assert_eq!(seeking["trackers"], 0);
    assert_eq!(seeking["dht"], false);
    assert_eq!(seeking["peers"], 1);
    let failed = named(&events, "peer_failed")[0];
    assert_eq!(failed["peer"], nowhere);
    assert_eq!(failed["error"], "connection refused");
    let error = named(&events, "error")[0];
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("nothing has come for 1.50s: album: "),
        "{message}"
    );
    assert_eq!(error["code"], 5);

    // What is complete waits for nothing.
    let mut download = swarm.download(&["--seed", "--timeout", "0s"]);
    download.event("completed");
    download.wait_for("progress", |progress| progress["state"] == "seeding");
    download.signal(Signal::INT);
    assert_eq!(download.end().1, 0);
}

#[test]
fn what_was_tried_is_told_when_nothing_comes() {
    let swarm = Swarm::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let tracker = format!("http://{}/announce", nobody.local_addr().unwrap());
    drop(nobody);
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let unknown = "no.such.host.invalid:7";
    let args = [
        "download",
        "album.torrent",
        "--dir",
        "copy",
        "--listen",
        "127.0.0.1:0",
        "--tracker",
        &format!("{tracker}?key=secret"),
        "--dht-node",
        unknown,
        "--dht-node",
        &silent,
        "--timeout",
        "4s",
    ];
    let (events, code) = Running::start(swarm.path(), &args).end();
    assert_eq!(code, 5, "{events:?}");
    let failed = named(&events, "dht_node_failed");
    let why = |node: &str| {
        let told = failed.iter().find(|told| told["node"] == node);
        told.and_then(|told| told["error"].as_str())
            .unwrap_or_default()
    };
    assert!(
        why(unknown).starts_with("the name cannot be found"),
        "{events:?}"
    );
    assert_eq!(why(&silent), "no answer in 2s", "{events:?}");
    let error = named(&events, "error")[0]["message"].as_str().unwrap();
    for said in [
        &format!("tracker {tracker}: cannot connect: connection refused\n"),
        "peers: none known\n",
        "DHT: no node known, 0 of ",
    ] {
        assert!(error.contains(said), "{said} in {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn who_waits_for_a_torrent_or_the_dht_is_told_for_what() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty());
        assert_eq!(output.status.code(), Some(5), "{told}");
        told
    };
    let hash = "00".repeat(20);
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=thing");
    let told = run(&[
        "show",
        &link,
        "--no-lsd",
        "--peer",
        "no.such.host.invalid:5",
        // The system may take its time to find out that there is no such host.
        "--timeout",
        "5s",
    ]);
    for text in [
        "thing: fetching the torrent from peers\n",
        "thing: asking the DHT and 1 peer that was named\n",
        "thing: peer no.such.host.invalid:5: ",
        "error: nothing has come for 5s: thing: no peers known, and no node of the DHT\n",
    ] {
        assert!(told.contains(text), "{text} in {told}");
    }
    let told = run(&["dht", "get-peers", &hash, "--timeout", "1s"]);
    // What is waited for has to fit in a narrow terminal.
    let asking = "asking the DHT: no node known, 0 of 0 queries answered";
    assert!(told.starts_with(asking), "{told}");
    assert!(told.contains("no answer in 1s"), "{told}");
}

/// Linux says whom a refused packet was for; other systems do not.
#[cfg(target_os = "linux")]
#[test]
fn a_node_of_the_dht_that_refuses_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody else gets the port while it is held for TCP alone.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = held.local_addr().unwrap().to_string();
    let hash = "0".repeat(40);
    let ping = ["dht", "ping", &node].map(OsStr::new);
    let told = ends_with(dir.path(), 1, &ping);
    let refused = format!("DHT node {node}: refused, nobody listens there (port unreachable)\n");
    assert!(told.contains(&refused), "{told}");
    for asked in ["get-peers", "get"] {
        let args = ["dht", asked, &hash, "--dht-node", &node, "--timeout", "1m"].map(OsStr::new);
        let told = ends_with(dir.path(), 1, &args);
        assert!(
            told.contains("error: no answer from the DHT node\n  hint: "),
            "{told}"
        );
    }
}

#[test]
fn several_torrents_are_told_of_together_as_well() {
    let swarm = Swarm::new();
    fs::write(swarm.path().join("other"), "something else").unwrap();
    let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["create", "other"])
        .current_dir(swarm.path())
        .output()
        .unwrap();
    assert!(created.status.success());
    let mut download = swarm.download(&["other.torrent", "--limit-down", "500KiB"]);
    let total = download.wait_for("total", |total| total["download_rate"] != 0);
    assert_eq!(total["torrents"], 2);
    assert_eq!(total["wanted"], 2_300_014);
    let total = download.wait_for("total", |total| total["complete"] == 1);
    assert_eq!(total["have"], 2_300_000);
    download.signal(Signal::INT);
    assert_eq!(download.end().1, 130);
}

#[test]
fn the_last_total_of_several_torrents_is_up_to_date() {
    let swarm = Swarm::new();
    fs::create_dir(swarm.path().join("copy")).unwrap();
    for name in ["other", "copy/other"] {
        fs::write(swarm.path().join(name), "something else").unwrap();
    }
    let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["create", "other"])
        .current_dir(swarm.path())
        .output()
        .unwrap();
    assert!(created.status.success());
    let (events, code) = swarm.download(&["other.torrent"]).end();
    assert_eq!(code, 0, "{events:?}");
    let last = |name: &str| {
        events
            .iter()
            .rposition(|event| event["event"] == name)
            .unwrap()
    };
    let total = &events[last("total")];
    assert_eq!(
        (&total["complete"], &total["have"]),
        (&2.into(), &2_300_014.into())
    );
    let stopped = events.iter().position(|event| event["event"] == "stopped");
    assert_eq!(Some(last("total") + 1), stopped, "{events:?}");
}

#[test]
fn completion_tells_the_size_of_the_files_that_are_wanted() {
    let swarm = Swarm::new();
    let mut download = swarm.download(&["--files", "album/a"]);
    let wanted = download.event("added")["wanted"].clone();
    assert_eq!(wanted, 300_000);
    assert_eq!(download.event("completed")["size"], wanted);
    assert_eq!(download.end().1, 0);
    // A link's files are known later.
    fs::remove_dir_all(swarm.path().join("copy")).unwrap();
    let mut download = swarm.fetch(&swarm.link(), &["--files", "album/a"]);
    assert_eq!(download.event("completed")["size"], wanted);
    assert_eq!(download.end().1, 0);
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

impl Swarm {
    /// The magnet link of what is seeded, which names the seeder.
    fn link(&self) -> String {
        let made = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["magnet", "album.torrent", "--peer", &self.peer])
            .current_dir(self.path())
            .output()
            .unwrap();
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// A download of a link, by its peers alone.
    fn fetch(&self, link: &str, options: &[&str]) -> Running {
        let mut args = vec!["download", link, "--dir", "copy", "--no-dht"];
        args.extend(["--listen", "127.0.0.1:0"]);
        args.extend(options);
        Running::start(self.path(), &args)
    }
}

#[test]
fn patterns_choose_files_of_a_magnet_link_when_its_names_come() {
    for (options, files) in [
        (&["--files", "A", "--ignore-case"][..], 1),
        (&["--files", "!b,!2-"], 1),
        (&["--files", "album/a", "--seed-time", "0s"], 1),
        (&["--files", "1", "--runtime", "tokio"], 1),
        (&["--files", "a", "--files", "sub/empty"], 2),
    ] {
        // In quotes, as it may have been copied.
        let swarm = Swarm::new();
        let link = format!("<{}>", swarm.link());
        for run in ["fetched", "known from the run before"] {
            let mut download = swarm.fetch(&link, options);
            assert_eq!(download.event("added")["files"], files, "{options:?} {run}");
            let (events, code) = download.end();
            assert_eq!(code, 0, "{options:?} {run}: {events:?}");
            assert_eq!(named(&events, "completed").len(), 1);
            // Not in whole pieces.
            assert_eq!(named(&events, "completed")[0]["size"], 300_000);
            assert!(swarm.is_same("a"));
            assert!(!swarm.path().join("copy/album/sub/b").exists());
        }
    }
}

#[test]
fn a_choice_of_nothing_is_an_error_when_the_names_are_there() {
    let swarm = Swarm::new();
    for (so, options, code, says) in [
        ("", &["--files", "99"][..], 2, "the numbers 1 to 3"),
        (
            "",
            &["--files", "*.mkv"],
            2,
            "no file of the torrent matches '*.mkv'",
        ),
        ("&so=99", &[], 1, "none of the torrent's 3 files"),
    ] {
        let (events, ended) = swarm.fetch(&(swarm.link() + so), options).end();
        assert_eq!(ended, code, "{events:?}");
        let error = named(&events, "error")[0];
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(!swarm.path().join("copy/album").exists());
    }
    // What the user chooses counts more than the link.
    let link = swarm.link() + "&so=99";
    let (events, code) = swarm.fetch(&link, &["--files", "a"]).end();
    assert_eq!(code, 0, "{events:?}");
    assert!(swarm.is_same("a"));
}

#[test]
fn what_of_a_source_is_not_used_is_told() {
    let swarm = Swarm::new();
    let mut link = swarm.link() + "&ws=http://w.example/";
    for number in 0..2_000 {
        link += &format!("&tr=udp://127.0.0.1:1/{number}");
    }
    let mut download = swarm.fetch(&link, &["--files", "a"]);
    let trackers = download.event("warning");
    let message = trackers["message"].as_str().unwrap();
    assert_eq!(
        message,
        "album: the link names 2000 trackers; the first 100 are used"
    );
    let seeds = download.event("warning");
    let message = seeds["message"].as_str().unwrap();
    assert!(
        message.contains("its 1 web seed cannot be used"),
        "{message}"
    );
    download.event("completed");
    download.signal(Signal::INT);
}

#[test]
fn a_bare_info_hash_is_as_good_as_a_link() {
    let swarm = Swarm::new();
    let link = swarm.link();
    let hash = &link["magnet:?xt=urn:btih:".len()..][..40];
    let mut download = swarm.fetch(hash, &["--peer", &swarm.peer]);
    assert_eq!(download.event("fetched")["name"], "album");
    assert_eq!(download.end().1, 0);
    assert!(swarm.is_same("a") && swarm.is_same("sub/b"));
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

/// A torrent of one file with these bytes, made beside it.
fn torrent_of(dir: &Path, content: &[u8]) {
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("a.bin"), content).unwrap();
    let created = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["create", "a.bin", "--piece-length", "16KiB"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(created.status.success());
}

#[test]
fn the_file_of_another_torrent_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    for (name, byte) in [("one", 1), ("two", 2)] {
        torrent_of(&dir.path().join(name), &[byte; 50_000]);
    }
    let download = |torrent: &str, options: &[&str]| {
        let args = [
            "download",
            torrent,
            "--dir",
            "one",
            "--listen",
            "127.0.0.1:0",
        ];
        Running::start(dir.path(), &[&args[..], options].concat())
    };
    assert_eq!(download("one/a.bin.torrent", &[]).end().1, 0);
    for options in [&[][..], &["--recheck"], &["--preallocate"]] {
        let (events, code) = download("two/a.bin.torrent", options).end();
        assert_eq!(code, 1, "{events:?}");
        let error = named(&events, "error")[0];
        let file = dir.path().join("one/a.bin");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&*file.to_string_lossy()), "{message}");
        let advice = error["advice"].as_str().unwrap();
        assert!(
            advice.contains("--overwrite") && advice.contains("--dir"),
            "{advice}"
        );
        assert_eq!(fs::read(&file).unwrap(), [1; 50_000]);
    }
    // The first one is as complete as it was, and the second can be had by who means it.
    assert_eq!(download("one/a.bin.torrent", &[]).end().1, 0);
    let mut seeder = Running::start(
        dir.path(),
        &[
            "seed",
            "two/a.bin.torrent",
            "--dir",
            "two",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    let address = seeder.event("listening")["address"].clone();
    let peer = address.as_str().unwrap();
    let (_, code) = download("two/a.bin.torrent", &["--overwrite", "--peer", peer]).end();
    assert_eq!(code, 0);
    assert_eq!(fs::read(dir.path().join("one/a.bin")).unwrap(), [2; 50_000]);
}

#[test]
fn a_file_that_is_longer_is_named_by_all_and_cut_by_download() {
    let dir = tempfile::tempdir().unwrap();
    let content = [3; 50_000];
    torrent_of(&dir.path().join("x"), &content);
    let file = dir.path().join("x/a.bin");
    for tail in [10, 100_000] {
        let longer = [&content[..], &vec![7; tail]].concat();
        fs::write(&file, &longer).unwrap();
        let found = content.len() + tail;
        let run = |command: &str| {
            let args = [command, "x/a.bin.torrent", "--dir", "x"];
            let network = ["--listen", "127.0.0.1:0"];
            Running::start(dir.path(), &[&args[..], &network].concat())
        };
        let mut seeder = run("seed");
        let told = seeder.event("file_longer");
        assert_eq!(
            (&told["found"], &told["cut"]),
            (&found.into(), &false.into())
        );
        seeder.signal(Signal::INT);
        assert_eq!(seeder.end().1, 0);
        let verified = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["verify", "x/a.bin.torrent", "--dir", "x", "--json"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(verified.status.code(), Some(0));
        let text = String::from_utf8(verified.stdout).unwrap();
        let verdict: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(verdict["complete"], true);
        assert_eq!(verdict["bad_files"][0]["fault"], "longer");
        assert_eq!(fs::read(&file).unwrap(), longer);
        let (events, code) = run("download").end();
        assert_eq!(code, 0);
        let told = named(&events, "file_longer")[0];
        assert_eq!(
            (&told["expected"], &told["cut"]),
            (&50_000.into(), &true.into())
        );
        assert_eq!(fs::read(&file).unwrap(), content);
        // Once it is cut there is nothing to tell.
        assert!(named(&run("download").end().0, "file_longer").is_empty());
    }
}

#[test]
fn a_file_that_should_be_empty_and_is_not_is_named_by_all_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("album");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("one.bin"), [3; 50_000]).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    let anabranch = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap()
    };
    assert!(anabranch(&["create", "album"]).status.success());
    fs::write(folder.join("empty"), "theirs").unwrap();
    let run = |args: &[&str]| {
        let network = ["album.torrent", "--dir", ".", "--listen", "127.0.0.1:0"];
        Running::start(dir.path(), &[args, &network].concat())
    };
    let verified = anabranch(&["verify", "album.torrent", "--dir", "."]);
    assert_eq!(verified.status.code(), Some(0));
    let text = String::from_utf8(verified.stdout).unwrap();
    assert!(text.contains("longer      album/empty: 6 bytes"), "{text}");
    let mut seeder = run(&["seed"]);
    let told = seeder.event("file_longer");
    assert_eq!((&told["found"], &told["cut"]), (&6.into(), &false.into()));
    seeder.signal(Signal::INT);
    assert_eq!(seeder.end().1, 0);
    let (events, code) = run(&["download"]).end();
    assert_eq!(code, 0);
    assert_eq!(named(&events, "file_longer")[0]["cut"], false);
    assert_eq!(fs::read_to_string(folder.join("empty")).unwrap(), "theirs");
    let (events, code) = run(&["download", "--overwrite"]).end();
    assert_eq!(code, 0);
    assert_eq!(named(&events, "file_longer")[0]["cut"], true);
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
}

#[test]
fn data_behind_links_is_seeded_as_far_as_was_said() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    torrent_of(&dir.path().join("x"), &[3; 50_000]);
    let seed = |options: &[&str]| {
        let args = [
            "seed",
            "x/a.bin.torrent",
            "--dir",
            "x",
            "--listen",
            "127.0.0.1:0",
        ];
        Running::start(dir.path(), &[&args[..], options].concat())
    };
    let seeds = |options: &[&str]| {
        let mut seeder = seed(options);
        seeder.event("completed");
        seeder.signal(Signal::INT);
        assert_eq!(seeder.end().1, 0);
    };
    // Where the data is, is inside of what was named.
    fs::create_dir(dir.path().join("x/volume")).unwrap();
    fs::rename(dir.path().join("x/a.bin"), dir.path().join("x/volume/data")).unwrap();
    symlink("volume/data", dir.path().join("x/a.bin")).unwrap();
    seeds(&[]);
    // And outside of it.
    fs::remove_file(dir.path().join("x/a.bin")).unwrap();
    fs::rename(dir.path().join("x/volume/data"), dir.path().join("data")).unwrap();
    symlink("../data", dir.path().join("x/a.bin")).unwrap();
    let (events, code) = seed(&[]).end();
    assert_eq!(code, 1, "{events:?}");
    let advice = named(&events, "error")[0]["advice"].as_str().unwrap();
    assert!(advice.contains("--follow-links"), "{advice}");
    seeds(&["--follow-links"]);
}

#[test]
fn names_that_only_windows_cannot_have_are_seeded_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("R.E.M.");
    fs::create_dir(&folder).unwrap();
    let long = "x".repeat(255);
    for name in [
        "aux.c",
        "E: The Movie.mkv",
        "trailing ",
        "back\\slash",
        "می\u{200c}خواهم",
        &long,
    ] {
        fs::write(folder.join(name), name.repeat(100)).unwrap();
    }
    fs::write(folder.join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let created = run(&["create", "R.E.M.", "--json"]);
    assert!(
        created.contains("R.E.M\\\"") && created.contains("warning"),
        "{created}"
    );
    assert!(run(&["show", "R.E.M..torrent"]).contains("aux.c"));
    run(&["verify", "R.E.M..torrent", "--dir", "."]);
    let args = [
        "seed",
        "R.E.M..torrent",
        "--dir",
        ".",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut seeder = Running::start(dir.path(), &args);
    let address = seeder.event("listening")["address"].clone();
    seeder.event("completed");
    let peer = address.as_str().unwrap();
    let args = [
        "download",
        "R.E.M..torrent",
        "--dir",
        "copy",
        "--listen",
        "127.0.0.1:0",
        "--peer",
        peer,
    ];
    assert_eq!(Running::start(dir.path(), &args).end().1, 0);
    let copied = dir.path().join("copy/R.E.M./E: The Movie.mkv");
    assert_eq!(
        fs::read(copied).unwrap(),
        "E: The Movie.mkv".repeat(100).into_bytes()
    );
}

/// As a person calls it, with whatever bytes.
fn ends_with(dir: &Path, code: i32, args: &[&OsStr]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    said
}

#[test]
fn a_name_on_the_disk_may_have_any_bytes() {
    let swarm = Swarm::new();
    for name in [&b"caf\xe9"[..], b"new\nline", b"..."] {
        let name = OsStr::from_bytes(name);
        let os = |text: &'static str| OsStr::new(text);
        let out = [os("--dir"), os("got"), os("--out"), name];
        let options = [
            os("--peer"),
            OsStr::new(&swarm.peer),
            os("--no-lsd"),
            os("--no-dht"),
            os("--listen"),
            os("127.0.0.1:0"),
        ];
        let download = |more: &[&OsStr]| {
            let args = [os("download"), os("album.torrent")];
            ends_with(swarm.path(), 0, &[&args, &out[..], &options, more].concat());
        };
        download(&[os("--files"), os("a")]);
        // What is recorded of it is found under the same name.
        download(&[]);
        let got = swarm.path().join("got");
        for file in ["a", "sub/b", "sub/empty"] {
            assert_eq!(
                fs::read(got.join(name).join(file)).unwrap(),
                fs::read(swarm.path().join("origin/album").join(file)).unwrap()
            );
        }
        assert_eq!(
            names(&got),
            BTreeSet::from([os(".anabranch").into(), name.into()])
        );
        let verify = [os("verify"), os("album.torrent")];
        ends_with(swarm.path(), 0, &[&verify, &out[..]].concat());
        let mut seed = Command::new(env!("CARGO_BIN_EXE_anabranch"));
        seed.args([os("seed"), os("album.torrent")]).args(out);
        let mut seeder = Running::start_by(seed, swarm.path(), &["--listen", "127.0.0.1:0"]);
        seeder.event("completed");
        drop(seeder);
        fs::remove_dir_all(got).unwrap();
    }
    let long = "x".repeat(256);
    for (name, why) in [
        ("", "a name has at least one character"),
        (
            "..",
            "it names a folder that is there already; choose another name",
        ),
        ("a/b", "a name, not a path: --dir says where"),
        (".anabranch", "resume data has this name; choose another"),
        (&long, "it has 256 bytes, and names have 255 at most"),
    ] {
        let args = ["verify", "album.torrent", "--out", name].map(OsStr::new);
        let said = ends_with(swarm.path(), 2, &args);
        assert!(said.contains(why), "{said}");
    }
}

fn names(dir: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
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
    fn download_single(&self, name: &str, seeder: &str) -> i32 {
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
    assert_eq!(swarm.download_single("good", &peer), 0);
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
        assert_eq!(swarm.download_single("good", &peer), 0);
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
