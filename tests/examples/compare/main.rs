//! Compares the command with other clients on this machine; `docs/benchmark.md` says what and how.
//!
//! ```sh
//! cargo run --release -p anabranch-tests --example compare -- --help
//! ```

mod contestant;
mod create;
mod idle;
mod magnet;
mod options;
mod recheck;
mod side;
mod stage;
mod table;
mod tracker;
mod transfer;

use std::process::ExitCode;
use std::{env, fs};

use contestant::Contestant;
use idle::Crowd;
use options::{Measurement, Options};
use stage::Stage;
use table::{Row, Subject, Timed};
use transfer::Group;

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
    let mut stages = vec![Stage::set(options)?];
    stages.extend(Stage::set_on_disk(options, &stages[0])?);
    print_conditions(options, &stages, &contestants);
    for measurement in options.measurements() {
        measure(options, &stages, &contestants, measurement);
    }
    Ok(())
}

fn measure(
    options: &Options,
    stages: &[Stage],
    contestants: &[Contestant],
    measurement: Measurement,
) {
    let takes_part = |one: &&Contestant| one.takes_part(measurement);
    let contestants: Vec<Contestant> = contestants.iter().filter(takes_part).copied().collect();
    let Some(first) = stages.first() else {
        return;
    };
    let size = first.size();
    let many = options.peers;
    let in_all = size.saturating_mul(many as u64);
    let (seeder, leecher) = (options.seeder.name(), options.leecher.name());
    let transfers = |seeders: Option<usize>, leechers: Option<usize>| {
        // Whichever side has no number is the contestant's.
        let side = |count: Option<usize>, usual, one| {
            count.map_or(Group::one(one), |count| Group {
                contestant: usual,
                count,
            })
        };
        rounds(
            options,
            stages,
            &contestants,
            measurement,
            |stage, one, last| {
                let seeders = side(seeders, options.seeder, one);
                let leechers = side(leechers, options.leecher, one);
                transfer::run(stage, seeders, leechers, last)
            },
        )
    };
    match measurement {
        Measurement::Download => {
            let title = format!("Download from one seeder ({seeder})");
            table::print(&title, &transfers(Some(1), None), size, Subject::Leecher);
        }
        Measurement::Runtimes => {
            let title = format!("Download from one seeder ({seeder}) on each runtime");
            table::print(&title, &transfers(Some(1), None), size, Subject::Leecher);
        }
        Measurement::DownloadMany => {
            let title = format!("Download from {many} seeders ({seeder})");
            table::print(&title, &transfers(Some(many), None), size, Subject::Leecher);
        }
        Measurement::Seed => {
            let title = format!("Seeding to one leecher ({leecher})");
            table::print(&title, &transfers(None, Some(1)), size, Subject::Seeder);
        }
        Measurement::SeedMany => {
            let title = format!("Seeding to {many} leechers ({leecher})");
            table::print(
                &title,
                &transfers(None, Some(many)),
                in_all,
                Subject::Seeder,
            );
        }
        Measurement::Magnet | Measurement::MagnetDht => {
            // What the disk takes of it is little.
            let stages = std::slice::from_ref(first);
            let arrive = |stage: &Stage, one, _| match measurement == Measurement::MagnetDht {
                true => magnet::run_in_dht(stage, one),
                false => magnet::run(stage, options.seeder, one),
            };
            let rows = rounds(options, stages, &contestants, measurement, arrive);
            let title = match measurement == Measurement::MagnetDht {
                true => "From a magnet link to the first piece, by the DHT alone".to_owned(),
                false => format!("From a magnet link to the first piece ({seeder})"),
            };
            table::print_arrivals(&title, &rows);
        }
        Measurement::Recheck => {
            let rows = rounds(
                options,
                stages,
                &contestants,
                measurement,
                |stage, one, _| recheck::run(stage, one),
            );
            table::print("Recheck", &rows, size, Subject::Reader);
        }
        Measurement::Create => {
            let rows = rounds(
                options,
                stages,
                &contestants,
                measurement,
                |stage, one, _| create::run(stage, one),
            );
            table::print("Creating a torrent", &rows, size, Subject::Reader);
        }
        Measurement::Idle => {
            let crowd = Crowd::make(first, options.torrents);
            // What is idle reads and writes nothing.
            let stages = std::slice::from_ref(first);
            let rows = rounds(
                options,
                stages,
                &contestants,
                measurement,
                |stage, one, _| idle::run(stage, &crowd, one, options.idle_time),
            );
            let (count, time) = (options.torrents, options.idle_time.as_secs());
            table::print_idle(
                &format!("{count} idle torrents, watched for {time} s"),
                &rows,
            );
        }
        Measurement::Sha1 => print_sha1(size, options.runs),
    }
}

fn print_sha1(size: u64, runs: usize) {
    let speeds = recheck::raw_sha1(size, runs);
    println!("\nSHA-1 in memory (the sha1 crate)");
    println!("  one core   {:>7.0} MiB/s", speeds.one_core);
    println!(
        "  {} core{}    {:>7.0} MiB/s",
        speeds.cores,
        if speeds.cores == 1 { " " } else { "s" },
        speeds.all_cores
    );
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

/// Lets each take its turn, then each again in the opposite order, and so on, so that what disturbs the machine
/// disturbs all, and nobody always comes after the same one. The closure is told which round is the last.
fn rounds<S: Timed>(
    options: &Options,
    stages: &[Stage],
    contestants: &[Contestant],
    measurement: Measurement,
    mut measure: impl FnMut(&Stage, Contestant, bool) -> Result<S, String>,
) -> Vec<Row<S>> {
    let mut rows: Vec<Row<S>> = contestants
        .iter()
        .map(|contestant| Row::new(contestant.name(), stages.len()))
        .collect();
    for round in 1..=options.runs {
        for (place, stage) in stages.iter().enumerate() {
            for number in turns(contestants.len(), round) {
                let (contestant, row) = (&contestants[number], &mut rows[number]);
                if row.is_out(place) {
                    continue;
                }
                eprint!(
                    "{} on {} {round}/{}: {} ... ",
                    measurement.name(),
                    stage.file_system(),
                    options.runs,
                    contestant.name()
                );
                match measure(stage, *contestant, round == options.runs) {
                    Ok(sample) => {
                        eprintln!("{:.2} s", sample.wall().as_secs_f64());
                        row.add(place, sample);
                    }
                    Err(why) => {
                        eprintln!("{why}");
                        row.leave_out(place, why);
                    }
                }
            }
        }
    }
    rows
}

/// In which order so many take their turns in a round.
fn turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| match round.is_multiple_of(2) {
        true => count - 1 - turn,
        false => turn,
    })
}

fn print_conditions(options: &Options, stages: &[Stage], contestants: &[Contestant]) {
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
    let Some(stage) = stages.first() else {
        return;
    };
    let places: Vec<String> = stages.iter().map(Stage::file_system).collect();
    println!(
        "{} MiB in pieces of {} KiB on {}, median of {} runs",
        stage.size() >> 20,
        stage::PIECE_LENGTH >> 10,
        places.join(" and on "),
        options.runs
    );
    for contestant in contestants {
        println!("{}: {}", contestant.name(), contestant.version(stage));
    }
}
