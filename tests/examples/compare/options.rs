//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contestant::Contestant;

pub(crate) const HELP: &str = "\
Compares anabranch with other clients on this machine. docs/benchmark.md explains the figures.

Usage: compare [OPTIONS]

  --size SIZE      Bytes to transfer, such as 64MiB or 4GiB [default: 1GiB]
  --runs N         How often each one has its turn [default: 3]
  --peers N        Seeders of download-many, and leechers of seed-many [default: 8]
  --torrents N     How many idle ones [default: 1000]
  --idle-time S    Seconds to watch them [default: 60]
  --dir DIR        Where the data is put, for a moment, twice over, and more often for seed-many
                   [default: /dev/shm if it has the room, otherwise the folder for temporary files]
  --disk DIR       Where it is put to measure the same on a disk; none to leave that out
                   [default: the target folder or that for temporary files; none with --dir]
  --only NAME      Only this client (anabranch, baseline, smol, tokio, aria2, libtorrent, rqbit,
                   transmission, mktorrent) or only this measurement (download, download-many, seed,
                   seed-many, magnet, magnet-dht, recheck, idle, create, runtimes, sha1); may be given
                   several times
  --seeder NAME    Who seeds to those that download [default: libtorrent]
  --leecher NAME   Who downloads from those that seed [default: libtorrent]
  --bin PATH       The anabranch to measure [default: $ANABRANCH_BIN, or a build as it is shipped]
  --baseline PATH  Another anabranch, to measure beside it
  -h, --help       This text
";

/// The largest size that is not a mistake: a pebibyte.
const MOST: u64 = 1 << 50;

/// The most torrents, and the most seconds, that are no mistake.
const MOST_TORRENTS: usize = 10_000;
const MOST_SECONDS: usize = 24 * 60 * 60;

/// The most clients on one side: they have addresses in one block of 256.
const MOST_PEERS: usize = 100;

/// Where there is a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// Wherever there is one.
    Any,
    None,
    Folder(PathBuf),
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) size: u64,
    pub(crate) runs: usize,
    /// Clients on a side that has many.
    pub(crate) peers: usize,
    /// Idle torrents.
    pub(crate) torrents: usize,
    pub(crate) idle_time: Duration,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) disk: Disk,
    pub(crate) seeder: Contestant,
    pub(crate) leecher: Contestant,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) baseline: Option<PathBuf>,
    only_contestants: Vec<Contestant>,
    only_measurements: Vec<Measurement>,
}

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    Download,
    DownloadMany,
    Seed,
    SeedMany,
    Magnet,
    MagnetDht,
    Recheck,
    Idle,
    Create,
    Runtimes,
    Sha1,
}

impl Measurement {
    const ALL: [Self; 11] = [
        Self::Download,
        Self::DownloadMany,
        Self::Seed,
        Self::SeedMany,
        Self::Magnet,
        Self::MagnetDht,
        Self::Recheck,
        Self::Idle,
        Self::Create,
        Self::Runtimes,
        Self::Sha1,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::DownloadMany => "download-many",
            Self::Seed => "seed",
            Self::SeedMany => "seed-many",
            Self::Magnet => "magnet",
            Self::MagnetDht => "magnet-dht",
            Self::Recheck => "recheck",
            Self::Idle => "idle",
            Self::Create => "create",
            Self::Runtimes => "runtimes",
            Self::Sha1 => "sha1",
        }
    }
}

impl Options {
    /// None when help is asked for.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            size: 1 << 30,
            runs: 3,
            peers: 8,
            torrents: 1000,
            idle_time: Duration::from_secs(60),
            dir: None,
            disk: Disk::Any,
            seeder: Contestant::Libtorrent,
            leecher: Contestant::Libtorrent,
            bin: None,
            baseline: None,
            only_contestants: Vec::new(),
            only_measurements: Vec::new(),
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let (key, attached) = match arg.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let mut value = || {
                let value = attached.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{key} needs a value"))
            };
            match key {
                "-h" | "--help" => return Ok(None),
                "--size" => options.size = size(&value()?)?,
                "--runs" => options.runs = count(&value()?, usize::MAX)?,
                "--peers" => options.peers = count(&value()?, MOST_PEERS)?,
                "--torrents" => options.torrents = count(&value()?, MOST_TORRENTS)?,
                "--idle-time" => {
                    let seconds = count(&value()?, MOST_SECONDS)?;
                    options.idle_time = Duration::from_secs(seconds as u64);
                }
                "--dir" => options.dir = Some(value()?.into()),
                "--disk" => {
                    options.disk = match value()?.as_str() {
                        "none" => Disk::None,
                        folder => Disk::Folder(folder.into()),
                    }
                }
                "--seeder" => options.seeder = contestant(&value()?)?,
                "--leecher" => options.leecher = contestant(&value()?)?,
                "--bin" => options.bin = Some(value()?.into()),
                "--baseline" => options.baseline = Some(value()?.into()),
                "--only" => options.add_only(&value()?)?,
                _ => return Err(format!("unknown option: {key}")),
            }
        }
        let chosen = [options.seeder, options.leecher];
        if let Some(idler) = chosen.iter().find(|one| !one.transfers()) {
            return Err(format!("{} transfers nothing", idler.name()));
        }
        let chosen = chosen.iter().chain(&options.only_contestants);
        if options.baseline.is_none() && chosen.into_iter().any(|one| *one == Contestant::Baseline)
        {
            return Err("give --baseline PATH to measure a baseline".into());
        }
        Ok(Some(options))
    }

    /// All that were asked for, ours first.
    pub(crate) fn contestants(&self) -> Vec<Contestant> {
        let all = Contestant::ALL.into_iter();
        all.filter(|one| *one != Contestant::Baseline || self.baseline.is_some())
            .filter(|one| self.only_contestants.is_empty() || self.only_contestants.contains(one))
            .collect()
    }

    pub(crate) fn measurements(&self) -> impl Iterator<Item = Measurement> {
        let all = Measurement::ALL.into_iter();
        let only = &self.only_measurements;
        all.filter(move |one| only.is_empty() || only.contains(one))
    }

    fn add_only(&mut self, name: &str) -> Result<(), String> {
        let mut measurements = Measurement::ALL.into_iter();
        if let Some(measurement) = measurements.find(|one| one.name() == name) {
            self.only_measurements.push(measurement);
        } else {
            self.only_contestants.push(contestant(name)?);
        }
        Ok(())
    }
}

fn contestant(name: &str) -> Result<Contestant, String> {
    let mut all = Contestant::ALL.into_iter();
    all.find(|one| one.name() == name)
        .ok_or_else(|| format!("no client or measurement is called {name}"))
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    let count = text.parse().ok();
    let count = count.filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("no number that makes sense here: {text}"))
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let shift = match unit {
        "" | "B" => 0,
        "Ki" | "KiB" => 10,
        "Mi" | "MiB" => 20,
        "Gi" | "GiB" => 30,
        _ => return Err(format!("no size: {text}")),
    };
    let size = number.parse::<u64>().ok();
    let size = size.and_then(|number| number.checked_mul(1 << shift));
    size.filter(|size| (1..=MOST).contains(size))
        .ok_or_else(|| format!("no size: {text}"))
}
