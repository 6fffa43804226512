//! Many torrents that nobody asks for: how long until all are ready, and what they cost then.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::clients::{Rqbit, Transmission, anabranch_idle, aria2_idle, libtorrent_idle};
use anabranch_tests::process::{Process, Stream};
use anabranch_tests::usage::running_time;
use anabranch_tests::{Scratch, Torrent, data};

use crate::contestant::{Contestant, TRANSMISSION_CACHE};
use crate::stage::Stage;

/// A file each, of so many bytes.
const LENGTH: usize = 64 << 10;

const PIECE_LENGTH: u64 = 16 << 10;

/// How long they may take to get ready.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// How often a client is asked that does not tell: asking for all of them costs it processor time.
const INTERVAL: Duration = Duration::from_millis(500);

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idleness {
    /// From the start of the process until every torrent was checked and complete.
    pub(crate) ready: Duration,
    /// The processor time that took.
    pub(crate) start_cpu: Duration,
    /// Bytes resident at the end, and the most there ever were.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Processor time as a part of the time that was watched.
    pub(crate) share: f64,
}

/// Many torrents with their data.
#[derive(Debug)]
pub(crate) struct Crowd {
    scratch: Scratch,
    torrents: Vec<Torrent>,
}

impl Crowd {
    /// Makes them.
    pub(crate) fn make(stage: &Stage, count: usize) -> Self {
        eprintln!("making {count} torrents ...");
        let scratch = stage.room();
        let folder = scratch.folder("torrents");
        let torrents = (0..count).map(|number| {
            let content = scratch.join(&format!("data/idle-{number:05}.bin"));
            data::write_file(&content, LENGTH, number as u64);
            let torrent = folder.join(format!("{number:05}.torrent"));
            Torrent::make(&content, &torrent, PIECE_LENGTH, &[])
        });
        let torrents = torrents.collect();
        Self { scratch, torrents }
    }

    fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// Puts away what a client left beside the data, so that the next one starts as it did.
    fn tidy(&self) -> Result<(), String> {
        let entries = fs::read_dir(self.data()).map_err(|error| error.to_string())?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            let result = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else if path.extension().is_none_or(|extension| extension != "bin") {
                fs::remove_file(&path)
            } else {
                continue;
            };
            result.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// Lets one client have all of them, and watches it for so long when it is ready.
pub(crate) fn run(
    stage: &Stage,
    crowd: &Crowd,
    contestant: Contestant,
    watch: Duration,
) -> Result<Idleness, String> {
    crowd.tidy()?;
    let room = stage.room();
    let folder = crowd.data();
    let count = crowd.torrents.len();
    let begin = Instant::now();
    match contestant {
        Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
            let build = stage.build(contestant);
            let process = anabranch_idle(build, &room, &crowd.torrents, &folder);
            let mut complete = 0;
            process.wait_line_within(LIMIT, "every torrent", |_, line| {
                complete += usize::from(line.contains("\"completed\""));
                (complete == count).then_some(())
            })?;
            observe(&process, begin, watch)
        }
        Contestant::Aria2 => {
            let aria2 = aria2_idle(&room, &crowd.torrents, &folder);
            wait_for(count, || aria2.seeding())?;
            observe(aria2.process(), begin, watch)
        }
        Contestant::Libtorrent => {
            let process = libtorrent_idle(&crowd.scratch.join("torrents"), &folder);
            process.wait_line_within(LIMIT, "every torrent", |stream, line| {
                (stream == Stream::Out && line.contains("\"ready\"")).then_some(())
            })?;
            observe(&process, begin, watch)
        }
        Contestant::Rqbit => {
            let daemon = Rqbit::serve(&room, &folder);
            for torrent in &crowd.torrents {
                daemon.add(torrent, &folder);
            }
            wait_for(count, || daemon.seeding())?;
            observe(daemon.process(), begin, watch)
        }
        Contestant::Transmission => {
            let daemon = Transmission::start_with_cache(&room, &folder, TRANSMISSION_CACHE);
            for torrent in &crowd.torrents {
                daemon.download(torrent);
            }
            wait_for(count, || daemon.seeding())?;
            observe(daemon.process(), begin, watch)
        }
        Contestant::Mktorrent => Err("left out: it seeds nothing".into()),
    }
}

fn wait_for(count: usize, ready: impl Fn() -> usize) -> Result<(), String> {
    let begin = Instant::now();
    while ready() < count {
        if begin.elapsed() > LIMIT {
            let limit = LIMIT.as_secs();
            return Err(format!("failed: {} ready after {limit} s", ready()));
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

/// Watches a client that got ready just now.
fn observe(process: &Process, begin: Instant, watch: Duration) -> Result<Idleness, String> {
    let ready = begin.elapsed();
    let start_cpu = process.usage().cpu;
    let time = || running_time(process.id()).unwrap_or_else(|| process.usage().cpu);
    let (from, before) = (Instant::now(), time());
    thread::sleep(watch);
    let used = time().saturating_sub(before);
    let memory = process.usage().memory;
    let memory = memory.ok_or("failed: it ended while it was idle")?;
    Ok(Idleness {
        ready,
        start_cpu,
        resident: memory.resident,
        peak: memory.peak,
        share: used.as_secs_f64() / from.elapsed().as_secs_f64(),
    })
}
