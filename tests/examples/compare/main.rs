//! Compares the command with other clients on this machine; `docs/benchmark.md` says what and how.
//!
//! ```sh
//! cargo run --release -p anabranch-tests --example compare -- --help
//! ```

mod contestant;
mod options;
mod recheck;
mod stage;
mod table;
mod tracker;
mod transfer;

use std::process::ExitCode;
use std::{env, fs};

use contestant::Contestant;
use options::{Measurement, Options};
use stage::Stage;
use table::{Row, Subject};

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("compare: {message}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("compare: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let contestants = installed(options);
    let stage = Stage::set(options)?;
    print_conditions(options, &stage, &contestants);
    for measurement in options.measurements() {
        match measurement {
            Measurement::Download => {
                let rows = transfers(&stage, options, &contestants, measurement);
                let title = format!("Download from one seeder ({})", options.seeder.name());
                table::print(&title, &rows, stage.size(), Subject::Leecher);
            }
            Measurement::Seed => {
                let rows = transfers(&stage, options, &contestants, measurement);
                let title = format!("Seeding to one leecher ({})", options.leecher.name());
                table::print(&title, &rows, stage.size(), Subject::Seeder);
            }
            Measurement::Recheck => {
                let rows = rounds(options, &contestants, measurement, |contestant, _| {
                    recheck::run(&stage, contestant)
                });
                table::print("Recheck", &rows, stage.size(), Subject::Checker);
            }
            Measurement::Sha1 => {
                let speeds = recheck::raw_sha1(stage.size(), options.runs);
                println!("\nSHA-1 in memory (the sha1 crate)");
                println!("  one core   {:>7.0} MiB/s", speeds.one_core);
                println!(
                    "  {} core{}    {:>7.0} MiB/s",
                    speeds.cores,
                    if speeds.cores == 1 { " " } else { "s" },
                    speeds.all_cores
                );
            }
        }
    }
    Ok(())
}

/// Those asked for that are here, with a word about those that are not.
fn installed(options: &Options) -> Vec<Contestant> {
    let mut contestants = options.contestants();
    contestants.retain(|contestant| {
        let missing = contestant.missing_package();
        if let Some(package) = missing {
            eprintln!("left out: {}: install {package}", contestant.name());
        }
        missing.is_none()
    });
    contestants
}

fn transfers(
    stage: &Stage,
    options: &Options,
    contestants: &[Contestant],
    measurement: Measurement,
) -> Vec<Row> {
    rounds(options, contestants, measurement, |contestant, last| {
        let (seeder, leecher) = if measurement == Measurement::Seed {
            (contestant, options.leecher)
        } else {
            (options.seeder, contestant)
        };
        transfer::run(stage, seeder, leecher, last)
    })
}

/// Lets each take its turn, then each again, so that what disturbs the machine disturbs all. The
/// closure is told which round is the last.
fn rounds(
    options: &Options,
    contestants: &[Contestant],
    measurement: Measurement,
    mut measure: impl FnMut(Contestant, bool) -> Result<transfer::Sample, String>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = contestants
        .iter()
        .map(|contestant| Row::new(contestant.name()))
        .collect();
    for round in 1..=options.runs {
        for (contestant, row) in contestants.iter().zip(&mut rows) {
            if row.is_out() {
                continue;
            }
            eprint!(
                "{} {round}/{}: {} ... ",
                measurement.name(),
                options.runs,
                contestant.name()
            );
            match measure(*contestant, round == options.runs) {
                Ok(sample) => {
                    eprintln!("{:.2} s", sample.wall.as_secs_f64());
                    row.add(sample);
                }
                Err(why) => {
                    eprintln!("{why}");
                    row.leave_out(why);
                }
            }
        }
    }
    rows
}

fn print_conditions(options: &Options, stage: &Stage, contestants: &[Contestant]) {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{model}, {cores} cores to use");
    println!("Linux {}", read("/proc/sys/kernel/osrelease").trim());
    println!("load average before: {}", read("/proc/loadavg").trim());
    println!(
        "{} MiB in pieces of {} KiB on {}, median of {} runs",
        stage.size() >> 20,
        stage::PIECE_LENGTH >> 10,
        stage.file_system(),
        options.runs
    );
    for contestant in contestants {
        println!("{}: {}", contestant.name(), contestant.version(stage));
    }
}
