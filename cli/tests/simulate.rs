//! `anabranch simulate`, as a user calls it.
#![cfg(feature = "simulate")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A swarm that is over soon.
const SMALL: [&str; 9] = [
    "simulate",
    "--peers",
    "5",
    "--size",
    "512KiB",
    "--piece-length",
    "16KiB",
    "--up",
    "500k",
];

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anabranch"));
        command
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    fn ends(&self, code: i32, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            err(&output)
        );
        output
    }

    /// A small swarm with further options.
    fn small(&self, code: i32, more: &[&str]) -> Output {
        self.ends(code, &[&SMALL[..], more].concat())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one object that was printed, without what the machine decides.
fn object(output: &Output) -> Value {
    let text = out(output);
    assert_eq!(text.lines().count(), 1, "{text}");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let fields = value.as_object_mut().unwrap();
    assert!(fields.remove("wall_ms").unwrap().is_u64());
    assert!(fields.remove("events_per_second").unwrap().is_u64());
    value
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let work = Work::new();
    let options = ["--json", "--loss", "1%", "--churn", "20%", "--seed"];
    let run = |seed| object(&work.small(0, &[&options[..], &[seed]].concat()));
    let (one, same, other) = (run("c0ffee"), run("0xC0FFEE"), run("c0ffef"));
    assert_eq!(one, same);
    assert_ne!(one["trace_hash"], other["trace_hash"]);

    assert_eq!(one["event"], "simulated");
    assert_eq!(one["seed"], "c0ffee");
    assert_eq!(one["ended"], "complete");
    assert_eq!(one["complete"], 5);
    assert_eq!(one["unfinished"], 0);
    assert_eq!(one["size"], 512 << 10);
    assert_eq!(one["pieces"], 32);
    assert_eq!(one["loss_ppm"], 10_000);
    let time = |field: &str| one["completion_ms"][field].as_u64().unwrap();
    assert!(time("min") <= time("median") && time("median") <= time("max"));
    assert_eq!(one["virtual_ms"], time("max"));
    assert!(one["possible_ms"].as_u64().unwrap() <= time("max"));
    assert!((1..=1000).contains(&one["efficiency_permille"].as_u64().unwrap()));
    assert!(one["payload"].as_u64().unwrap() >= (5 * 512) << 10);
}

#[test]
fn people_are_told_what_came_of_it() {
    let work = Work::new();
    let told = out(&work.small(0, &["--seed", "2a"]));
    for start in [
        "5 peers, 1 seeder, 512.0 KiB in 32 pieces of 16 KiB, seed 2a\n",
        "\ncompletion    ",
        "\npossible      ",
        "\nshare ratio   ",
        "\noverhead      ",
        "\nwasted        ",
        "\ntime          ",
        "\nevents        ",
        "\ntrace hash    ",
    ] {
        assert!(told.contains(start), "{start:?} in {told}");
    }
    assert!(!told.contains("UNFINISHED"), "{told}");
}

#[test]
fn who_is_complete_on_a_disk_that_lies_is_told() {
    let work = Work::new();
    let faults =
        "[[fault]]\nwhat = \"corrupt-writes\"\nwho = \"host 1\"\nshare = \"100%\"\nat = \"0s\"";
    fs::write(work.path().join("liar.toml"), faults).unwrap();
    let told = out(&work.small(3, &["--faults", "liar.toml"]));
    assert!(told.contains("\nCORRUPT       1 of 5, "), "{told}");
}

#[test]
fn files_hold_what_they_should() {
    let work = Work::new();
    let files = ["--csv", "m.csv", "--plot", "p.svg", "--log", "e.log"];
    work.small(0, &[&files[..], &["--faults", "crashes"]].concat());

    let table = work.read("m.csv");
    let columns = table.lines().next().unwrap().split(',').count();
    assert!(table.starts_with("time_s,host,role,"));
    assert!(table.lines().count() > 100);
    assert!(table.lines().all(|line| line.split(',').count() == columns));

    let picture = work.read("p.svg");
    let document = roxmltree::Document::parse(&picture).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    assert!(picture.contains("5 peers, 1 seeder, 512 KiB"));

    let log = work.read("e.log");
    assert!(log.lines().any(|line| line.contains("Crash(HostId(")));
    assert!(log.lines().any(|line| line.contains("> notify")));
    assert!(log.ends_with('\n'));

    // By its name, the log is a table.
    work.small(0, &["--log", "e.csv"]);
    let log = work.read("e.csv");
    assert!(log.starts_with("time_s,host,direction,event,detail\n"));
    assert!(log.lines().any(|line| line.contains(",in,received,")));
    assert!(log.lines().any(|line| line.contains(",out,send,")));

    // Of one host, it is about no other.
    work.small(0, &["--log", "one.csv", "--log-host", "2"]);
    let log = work.read("one.csv");
    assert!(log.lines().any(|line| line.contains(",2,in,received,")));
    let host = |line: &str| line.split(',').nth(1).map(str::to_owned);
    assert!(
        log.lines()
            .skip(1)
            .all(|line| host(line).as_deref() == Some("2"))
    );
}

#[test]
fn faults_come_from_presets_and_from_files() {
    let work = Work::new();
    let list = out(&work.ends(0, &["simulate", "--faults", "list"]));
    for name in ["none", "flaky-network", "hostile-peers", "tracker-outage"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
    }

    let file = "[[fault]]\nwhat = \"leave\"\nwho = \"host 2\"\nat = \"10%\"\n";
    fs::write(work.path().join("my faults.toml"), file).unwrap();
    let output = work.small(3, &["--faults", "my faults.toml", "--json"]);
    let object = object(&output);
    assert_eq!(object["ended"], "deserted");
    assert_eq!(object["unfinished"], 1);
    assert_eq!(object["efficiency_permille"], Value::Null);

    fs::write(
        work.path().join("bad.toml"),
        "[[fault]]\nwhat = \"storm\"\n",
    )
    .unwrap();
    let told = err(&work.small(2, &["--faults", "bad.toml"]));
    assert!(
        told.contains("bad.toml: ") && told.contains("storm"),
        "{told}"
    );
    fs::write(work.path().join("typo.toml"), "[[fault]]\nwhat = = 3\n").unwrap();
    let told = err(&work.small(2, &["--faults", "typo.toml"]));
    assert!(
        told.contains("typo.toml: TOML parse error at line 2"),
        "{told}"
    );
    assert!(
        told.contains("\n2 | what = = 3\n"),
        "the line is shown: {told}"
    );

    let told = err(&work.small(1, &["--faults", "earthquake"]));
    assert!(told.contains("one of none, flaky-network"), "{told}");
}

#[test]
fn a_check_that_does_not_hold_names_the_command_that_repeats_the_run() {
    let work = Work::new();
    let file = "[[fault]]\nwhat = \"loss\"\nshare = \"100%\"\nat = \"10%\"\n";
    fs::write(work.path().join("dead line.toml"), file).unwrap();
    let output = work.small(1, &["--faults", "dead line.toml", "--seed", "ab"]);
    let told = err(&output);
    assert!(
        told.contains("a check did not hold: seed 0xab, at "),
        "{told}"
    );
    assert!(
        out(&output).contains("a check did not hold"),
        "what has been so far"
    );
    let (_, command) = told.split_once("repeat it with: ").unwrap();
    let command = command.lines().next().unwrap();
    assert!(
        command.starts_with("anabranch simulate --seed 0xab "),
        "{command}"
    );

    // As a shell takes it, it comes to the same end.
    let rest = command.strip_prefix("anabranch ").unwrap();
    let again = Command::new("sh")
        .args([
            "-c",
            &format!("\"$0\" {rest}"),
            env!("CARGO_BIN_EXE_anabranch"),
        ])
        .current_dir(work.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    let last = |text: &str| {
        text.lines()
            .rev()
            .take(2)
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(last(&err(&again)), last(&told));

    // Programs are told, too.
    let output = work.small(1, &["--faults", "dead line.toml", "--json"]);
    let error: Value = serde_json::from_str(out(&output).trim_end()).unwrap();
    assert_eq!(error["event"], "error");
    assert!(
        error
            .to_string()
            .contains("repeat it with: anabranch simulate"),
        "{error}"
    );
}

#[test]
fn time_that_is_up_leaves_some_unfinished() {
    let work = Work::new();
    let output = work.small(3, &["--until", "700ms"]);
    let told = out(&output);
    assert!(
        told.contains("UNFINISHED    5 of 5 peers, the time was up\n"),
        "{told}"
    );
    assert!(
        told.contains("completion    nobody was complete\n"),
        "{told}"
    );
}

#[test]
fn nonsense_is_told_what_it_is() {
    let work = Work::new();
    for (options, what) in [
        (&["--peers", "0"][..], "a swarm without peers"),
        (&["--peers", "1000000"], "1000001 hosts are too many"),
        (&["--seeders", "0"], "without a seeder"),
        (&["--size", "0"], "no bytes"),
        (&["--loss", "101%"], "not a percentage"),
        (&["--loss", "60%"], "too much, the most is 50 %"),
        (&["--churn", "7"], "not a percentage"),
        (
            &["--piece-length", "1KiB"],
            "a piece length is a power of two from 16KiB",
        ),
        (
            &["--size", "1TiB", "--piece-length", "16KiB"],
            "pieces are too many",
        ),
        (&["--latency", "1m"], "too much"),
        (&["--seed", "xyz"], "not a hexadecimal number"),
        (&["--until", "0s"], "no time"),
        (&["--up", "5"], "the smallest limit"),
        (&["--log-host", "1"], "--log"),
        (
            &["--size", "16KiB", "--log", "x", "--log-host", "101"],
            "there is no host 101: there are 101",
        ),
        (
            &["--csv", "same", "--plot", "same"],
            "--csv and --plot name the same file",
        ),
        (&["--plot", "swarm.png"], "--plot draws SVG"),
    ] {
        let output = work.ends(2, &[&["simulate"], options].concat());
        assert!(err(&output).contains(what), "{options:?}: {}", err(&output));
    }
    assert!(!work.path().join("swarm.png").exists());
    let output = work.small(1, &["--plot", "no/such/folder/p.svg"]);
    assert!(err(&output).contains("cannot write no/such/folder/p.svg"));
}

/// Ctrl-C ends a run that would take hours, and what has been so far is told.
#[cfg(unix)]
#[test]
fn a_file_that_no_earlier_run_wrote_is_not_written_over() {
    let work = Work::new();
    for (option, name) in [
        ("--csv", "notes.txt"),
        ("--plot", "notes.svg"),
        ("--log", "notes.txt"),
    ] {
        let path = work.path().join(name);
        fs::write(&path, "years of notes").unwrap();
        let output = work.small(1, &[option, name]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains(name) && told.contains("another name"),
            "{told}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "years of notes");
    }
    let files = ["--csv", "m.csv", "--plot", "p.svg", "--log", "e.log"];
    for _ in 0..2 {
        work.small(0, &files);
    }
}

#[test]
fn an_interrupted_run_tells_what_has_been_so_far() {
    use std::io::{BufRead, BufReader, Read};

    use rustix::process::{Pid, Signal, kill_process};

    let work = Work::new();
    // The log goes through a pipe that tells when the run is under way.
    let mut child = work
        .command(&[
            "simulate",
            "--size",
            "4GiB",
            "--json",
            "--plot",
            "p.svg",
            "--log",
            "/dev/stderr",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("command"), "{line}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let drain = std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    let output = child.wait_with_output().unwrap();
    drain.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let object = object(&output);
    assert_eq!(object["ended"], "interrupted");
    assert_eq!(object["unfinished"], 100);
    roxmltree::Document::parse(&work.read("p.svg")).unwrap();
}
