//! One download of everything, from one client to another.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::process::Process;
use anabranch_tests::wait;

use crate::contestant::{Contestant, Leecher, Seeder};
use crate::stage::Stage;

/// Whoever is slower than this, in bytes a second, has failed.
const SLOWEST: u64 = 4 << 20;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From the start of the process to the completion that it reported.
    pub(crate) wall: Duration,
    /// The part of it before the first of the data was written.
    pub(crate) start: Option<Start>,
    pub(crate) leecher: Load,
    pub(crate) seeder: Load,
}

/// What a leecher took before it wrote anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// What one process took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) cpu: Duration,
    /// The most memory it had resident, in bytes.
    pub(crate) peak: u64,
    /// The most of it that was no mapped file.
    pub(crate) anonymous: u64,
}

impl Load {
    /// Notes what a process has taken so far beyond the processor time of `before`.
    pub(crate) fn update(&mut self, process: &Process, before: Duration) {
        let usage = process.usage();
        self.cpu = usage.cpu.saturating_sub(before);
        if let Some(memory) = usage.memory {
            self.peak = self.peak.max(memory.peak);
            self.anonymous = self.anonymous.max(memory.anonymous);
        }
    }
}

/// Lets `leecher` download from `seeder`, and compares the data if told to.
pub(crate) fn run(
    stage: &Stage,
    seeder: Contestant,
    leecher: Contestant,
    compare: bool,
) -> Result<Sample, String> {
    let room = stage.room();
    let folder = room.folder("download");
    let dialled = leecher.waits_to_be_dialled();
    if dialled && seeder.waits_to_be_dialled() {
        return Err("left out: neither side dials a loopback address".into());
    }
    // One that is told of the leecher while it runs is ready before the leecher starts.
    let early = !dialled || seeder == Contestant::Libtorrent;
    let early = early.then(|| Seeder::start(stage, &room, seeder, None));
    let before = early
        .as_ref()
        .map_or(Duration::ZERO, |seeder| seeder.process().usage().cpu);

    let begin = Instant::now();
    let peer = early.as_ref().map(Seeder::address);
    let leecher = Leecher::start(stage, &room, leecher, &folder, peer);
    let seeder = match (leecher.address(), early) {
        (Some(peer), Some(Seeder::Libtorrent(mut seed))) => {
            seed.connect(peer);
            Seeder::Libtorrent(seed)
        }
        (_, Some(seeder)) => seeder,
        (peer, None) => Seeder::start(stage, &room, seeder, peer),
    };
    let mut sample = watch(stage, &leecher, &seeder, &folder, begin, before)?;

    if leecher.ends_by_itself() {
        wait::until("the end of a complete download", || {
            leecher.process().usage().memory.is_none().then_some(())
        });
        sample.leecher.update(leecher.process(), Duration::ZERO);
    }
    leecher.finish()?;
    if compare {
        stage.assert_same(&folder);
    }
    Ok(sample)
}

/// Follows both processes until the leecher is complete.
fn watch(
    stage: &Stage,
    leecher: &Leecher,
    seeder: &Seeder,
    folder: &Path,
    begin: Instant,
    before: Duration,
) -> Result<Sample, String> {
    let limit = wait::LIMIT + Duration::from_secs(stage.size() / SLOWEST);
    let mut start = None;
    let (mut leech, mut seed) = (Load::default(), Load::default());
    loop {
        leech.update(leecher.process(), Duration::ZERO);
        seed.update(seeder.process(), before);
        let complete = leecher.is_complete(stage);
        let wall = begin.elapsed();
        if start.is_none() && Stage::has_begun(folder) {
            let cpu = leech.cpu;
            start = Some(Start { wall, cpu });
        }
        if complete {
            return Ok(Sample {
                wall,
                start,
                leecher: leech,
                seeder: seed,
            });
        }
        if leecher.process().usage().memory.is_none() && !leecher.is_complete(stage) {
            return Err("failed: it ended before it was complete".into());
        }
        if wall > limit {
            return Err(format!("failed: not complete after {} s", wall.as_secs()));
        }
        thread::sleep(leecher.interval());
    }
}
