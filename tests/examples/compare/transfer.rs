//! One download of everything, from one client or several to another or several.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::process::Process;
use anabranch_tests::{memory, scratch, wait};

use crate::contestant::Contestant;
use crate::side::{Leecher, Seeder};
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

/// What one process took, or several together.
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

/// So many of one kind on one side of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) contestant: Contestant,
    pub(crate) count: usize,
}

impl Group {
    pub(crate) const fn one(contestant: Contestant) -> Self {
        Self {
            contestant,
            count: 1,
        }
    }
}

/// Lets all `leechers` download from all `seeders`, and compares the data if told to.
pub(crate) fn run(
    stage: &Stage,
    seeders: Group,
    leechers: Group,
    compare: bool,
) -> Result<Sample, String> {
    let room = stage.room();
    let needed = stage.size().saturating_mul(leechers.count as u64);
    if scratch::free(room.path()) < needed {
        let needed = needed >> 20;
        return Err(format!("left out: no room for {needed} MiB of downloads"));
    }
    let dialled = leechers.contestant.waits_to_be_dialled();
    if dialled && seeders.contestant.waits_to_be_dialled() {
        return Err("left out: neither side dials a loopback address".into());
    }
    // Those that are told of the leecher while they run are ready before the leecher starts.
    let early = !dialled || seeders.contestant == Contestant::Libtorrent;
    let seed = |number, peers: &[_]| Seeder::start(stage, &room, seeders.contestant, number, peers);
    let mut seeding = Vec::new();
    for number in (0..seeders.count).filter(|_| early) {
        seeding.push(seed(number, &[])?);
    }
    let before: Vec<Duration> = seeding
        .iter()
        .map(|seeder| seeder.process().usage().cpu)
        .collect();

    let _warm = memory::warm(needed);
    let begin = Instant::now();
    let addresses: Vec<_> = seeding.iter().map(Seeder::address).collect();
    let mut leeching = Vec::new();
    for number in 0..leechers.count {
        let folder = room.folder(&format!("download-{number}"));
        let client = leechers.contestant;
        // Seeders of the same kind have the first addresses.
        let first = usize::from(client == seeders.contestant) * seeders.count;
        let own = first + number;
        let leecher = Leecher::start(stage, &room, client, own, &folder, &addresses)?;
        leeching.push(Leeching::new(leecher, folder));
    }
    let dialled: Vec<_> = leeching
        .iter()
        .filter_map(|leeching| leeching.leecher.address())
        .collect();
    for seeder in &mut seeding {
        for peer in &dialled {
            seeder.connect(*peer);
        }
    }
    for number in (0..seeders.count).filter(|_| !early) {
        seeding.push(seed(number, &dialled)?);
    }
    let mut seeding: Vec<Seeding> = seeding
        .into_iter()
        .enumerate()
        .map(|(number, seeder)| Seeding {
            seeder,
            before: before.get(number).copied().unwrap_or_default(),
            load: Load::default(),
        })
        .collect();
    let (wall, start) = watch(stage, &mut leeching, &mut seeding, begin)?;

    for leeching in &mut leeching {
        if leeching.leecher.ends_by_itself() {
            let process = leeching.leecher.process();
            wait::until("the end of a complete download", || {
                process.usage().memory.is_none().then_some(())
            });
            leeching.load.update(process, Duration::ZERO);
        }
    }
    let sample = Sample {
        wall,
        start,
        leecher: together(leeching.iter().map(|one| one.load)),
        seeder: together(seeding.iter().map(|one| one.load)),
    };
    for leeching in leeching {
        leeching.leecher.finish()?;
        if compare {
            stage.assert_same(&leeching.folder);
        }
    }
    Ok(sample)
}

struct Leeching {
    leecher: Leecher,
    folder: PathBuf,
    load: Load,
    complete: bool,
}

impl Leeching {
    fn new(leecher: Leecher, folder: PathBuf) -> Self {
        Self {
            leecher,
            folder,
            load: Load::default(),
            complete: false,
        }
    }
}

struct Seeding {
    seeder: Seeder,
    /// The processor time it had taken before the transfer.
    before: Duration,
    load: Load,
}

/// Follows all processes until every leecher is complete.
fn watch(
    stage: &Stage,
    leeching: &mut [Leeching],
    seeding: &mut [Seeding],
    begin: Instant,
) -> Result<(Duration, Option<Start>), String> {
    let amount = stage.size().saturating_mul(leeching.len() as u64);
    let limit = wait::LIMIT + Duration::from_secs(amount / SLOWEST);
    // To look at many takes as much longer, and is not to disturb them.
    let many = u32::try_from(leeching.len().max(seeding.len())).unwrap_or(u32::MAX);
    let mut start = None;
    loop {
        for one in &mut *seeding {
            one.load.update(one.seeder.process(), one.before);
        }
        for one in &mut *leeching {
            one.load.update(one.leecher.process(), Duration::ZERO);
            one.complete = one.complete || one.leecher.is_complete(stage);
        }
        let wall = begin.elapsed();
        if start.is_none() && leeching.iter().any(|one| Stage::has_begun(&one.folder)) {
            let cpu = leeching.iter().map(|one| one.load.cpu).sum();
            start = Some(Start { wall, cpu });
        }
        if leeching.iter().all(|one| one.complete) {
            return Ok((wall, start));
        }
        for one in leeching.iter().filter(|one| !one.complete) {
            if one.leecher.process().usage().memory.is_none() && !last_words(one, stage) {
                return Err("failed: it ended before it was complete".into());
            }
        }
        if wall > limit {
            return Err(format!("failed: not complete after {} s", wall.as_secs()));
        }
        let interval = leeching.iter().map(|one| one.leecher.interval()).max();
        thread::sleep(interval.unwrap_or_default() * many);
    }
}

/// Whether one that has ended said that it was complete: what it said last may still be on its way.
fn last_words(one: &Leeching, stage: &Stage) -> bool {
    (0..100).any(|_| {
        let complete = one.leecher.is_complete(stage);
        if !complete {
            thread::sleep(Duration::from_millis(10));
        }
        complete
    })
}

/// The processor time of all, and the most memory that one of them had.
fn together(loads: impl Iterator<Item = Load>) -> Load {
    loads.fold(Load::default(), |all, one| Load {
        cpu: all.cpu + one.cpu,
        peak: all.peak.max(one.peak),
        anonymous: all.anonymous.max(one.anonymous),
    })
}
