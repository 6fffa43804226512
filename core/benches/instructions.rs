//! Instructions that the engine's hot paths take, counted by callgrind and compared with the counts in
//! `instructions.txt` beside this file.
//!
//! `cargo bench -p anabranch-core --bench instructions` prints both, `-- --save` replaces those in the
//! file. The counts are those of one processor and one compiler: what matters is how they change. It
//! needs `valgrind`.

mod workload;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::workload::{Decode, Download, Have, Idle, Pick, Upload, Workload};

/// What is measured: a name, what a unit is, and how many units are measured after as many as let the
/// work find its pace.
const MEASURED: [(&str, &str, u32); 6] = [
    ("decode", "a block and a have, cut out of what came", 5_000),
    (
        "download",
        "a block, from its arrival to the disk's answer",
        5_000,
    ),
    (
        "upload",
        "a block, from its request to its last byte",
        5_000,
    ),
    ("have", "a piece that a peer has now", 5_000),
    (
        "pick",
        "a block to ask for, of 100,000 pieces and 50 peers",
        1_000,
    ),
    ("idle", "a second of 1,000 torrents at rest", 3_600),
];

/// The argument by which this program calls itself below callgrind.
const RUN: &str = "--run";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [run, name, units] = &args[..]
        && run == RUN
    {
        return work(name, units);
    }
    let save = args.iter().any(|arg| arg == "--save");
    match measure(save) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The program below callgrind.
fn work(name: &str, units: &str) -> ExitCode {
    let mut workload: Box<dyn Workload> = match name {
        "decode" => Box::new(Decode::new()),
        "download" => Box::new(Download::new()),
        "upload" => Box::new(Upload::new()),
        "have" => Box::new(Have::new()),
        "pick" => Box::new(Pick::new()),
        "idle" => Box::new(Idle::new()),
        _ => return ExitCode::FAILURE,
    };
    let Ok(units) = units.parse() else {
        return ExitCode::FAILURE;
    };
    workload.run(units);
    ExitCode::SUCCESS
}

fn measure(save: bool) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let kept = |name: &str| {
        let mut lines = kept.lines().map(str::split_whitespace);
        lines.find_map(|mut words| {
            (words.next() == Some(name)).then(|| words.next()?.parse().ok())
        })?
    };
    let mut file = String::new();
    println!("{:<10}{:>12}{:>12}{:>9}", "", "instructions", "kept", "");
    for (name, unit, units) in MEASURED {
        // What setting up takes is in both.
        let (once, twice) = (count(name, units)?, count(name, 2 * units)?);
        let each = twice.saturating_sub(once) / u64::from(units);
        let change = match kept(name) {
            Some(before) => {
                let before: u64 = before;
                let percent = (each as f64 - before as f64) * 100.0 / before.max(1) as f64;
                format!("{before:>12}{percent:>+8.1}%")
            }
            None => format!("{:>12}{:>9}", "-", ""),
        };
        println!("{name:<10}{each:>12}{change}  {unit}");
        let _ = writeln!(file, "{name:<10}{each:>10}  {unit}");
    }
    if save {
        std::fs::write(&path, file).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Instructions within measured calls.
fn count(name: &str, units: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*workload*measured*",
        ])
        .arg(program)
        .args([RUN, name, &units.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        Some(_) | None => Err(format!("{name} failed below valgrind:\n{text}")),
    }
}
