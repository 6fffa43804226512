//! Checking data that are there, and what SHA-1 itself takes.

use std::num::NonZero;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::clients::{Aria2, Libtorrent, Rqbit, Transmission};
use anabranch_tests::data::Random;
use anabranch_tests::process::Process;
use anabranch_tests::{memory, wait};
use sha1::{Digest, Sha1};

use crate::contestant::{Contestant, TRANSMISSION_CACHE};
use crate::stage::{PIECE_LENGTH, Stage};
use crate::table;
use crate::transfer::{Load, Sample};

const INTERVAL: Duration = Duration::from_millis(5);

/// More than the caches of most processors hold.
const BUFFER: usize = 64 << 20;

/// Lets one client check all data. A client with a command for it is measured from the start of
/// the process to its end; the others are up before.
pub(crate) fn run(stage: &Stage, contestant: Contestant) -> Result<Sample, String> {
    let room = stage.room();
    let (torrent, folder) = (&stage.torrent, stage.seeds());
    stage.cool()?;
    let _warm = memory::warm(stage.size());
    let begin = Instant::now();
    match contestant {
        Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
            let mut command = Command::new(stage.build(contestant));
            command
                .arg("verify")
                .arg(&torrent.path)
                .arg("--dir")
                .arg(folder)
                .env("HOME", room.path());
            to_the_end(begin, Process::spawn(contestant.name(), &mut command))
        }
        Contestant::Aria2 => {
            stage.tracker.introduce(&[]);
            let only = ["--check-integrity=true", "--hash-check-only=true"];
            to_the_end(begin, Aria2::run(&room, torrent, &folder, &only))
        }
        Contestant::Libtorrent => {
            let session = Libtorrent::download(torrent, &folder, &[]);
            // It listens before it is given the torrent, and checks what it is given.
            let (begin, before) = (Instant::now(), session.process().usage().cpu);
            Ok(until(session.process(), begin, before, || {
                session.is_complete()
            }))
        }
        Contestant::Rqbit => to_the_end(begin, Rqbit::recheck(&room, torrent, &folder)),
        Contestant::Mktorrent => Err("left out: it checks nothing".into()),
        Contestant::Transmission => {
            let daemon = Transmission::start_with_cache(&room, &folder, TRANSMISSION_CACHE);
            // It checks what it is given, and once more when told to.
            daemon.add_paused(torrent);
            daemon.wait_complete(torrent);
            stage.cool()?;
            let _warm = memory::warm(stage.size());
            let (begin, before) = (Instant::now(), daemon.process().usage().cpu);
            daemon.verify(torrent);
            Ok(until(daemon.process(), begin, before, || {
                daemon.is_complete(torrent)
            }))
        }
    }
}

pub(crate) fn to_the_end(begin: Instant, process: Process) -> Result<Sample, String> {
    let sample = until(&process, begin, Duration::ZERO, || {
        process.usage().memory.is_none()
    });
    let exit = process.wait_exit();
    if exit.status.success() {
        Ok(sample)
    } else {
        Err(format!(
            "failed: {}: {}",
            exit.status,
            exit.stderr.lines().next().unwrap_or_default()
        ))
    }
}

pub(crate) fn until(
    process: &Process,
    begin: Instant,
    before: Duration,
    mut is_done: impl FnMut() -> bool,
) -> Sample {
    let mut load = Load::default();
    let wall = wait::until_every(INTERVAL, "a check", || {
        load.update(process, before);
        is_done().then(|| begin.elapsed())
    });
    load.update(process, before);
    Sample {
        wall,
        start: None,
        leecher: load,
        seeder: Load::default(),
    }
}

/// MiB a second.
#[derive(Debug)]
pub(crate) struct Speeds {
    pub(crate) cores: usize,
    pub(crate) one_core: f64,
    pub(crate) all_cores: f64,
}

/// Hashes so many bytes of memory in pieces, on one core and on all.
pub(crate) fn raw_sha1(size: u64, runs: usize) -> Speeds {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let piece = usize::try_from(PIECE_LENGTH).unwrap_or(BUFFER);
    let data = Random::new(1).bytes(BUFFER);
    let speed = |cores: usize| {
        let rounds = (0..runs).map(|_| {
            let begin = Instant::now();
            thread::scope(|scope| {
                for _ in 0..cores {
                    scope.spawn(|| {
                        let pieces = size / PIECE_LENGTH / cores as u64;
                        for (_, piece) in (0..pieces).zip(data.chunks(piece).cycle()) {
                            std::hint::black_box(Sha1::digest(piece));
                        }
                    });
                }
            });
            let hashed = size / PIECE_LENGTH / cores as u64 * cores as u64 * PIECE_LENGTH;
            table::mebibytes(hashed) / begin.elapsed().as_secs_f64()
        });
        table::median(rounds).unwrap_or_default()
    };
    Speeds {
        cores,
        one_core: speed(1),
        all_cores: speed(cores),
    }
}
