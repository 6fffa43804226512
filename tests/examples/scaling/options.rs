//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::point::Curve;

pub(crate) const HELP: &str = "\
Measures how the anabranch command scales, over loopback. docs/benchmark.md explains the figures.

Usage: scaling [OPTIONS]

  --size MIB       Data to transfer, in MiB; pieces have a size of their own [default: 256]
  --runs N         How often each point is measured; the median counts [default: 1]
  --most N         Leave out points beyond this number
  --idle-time S    Seconds to watch what is idle [default: 5]
  --dir DIR        Where the data is put, for a moment [default: /dev/shm]
  --only CURVE     Only this one: peers, pieces, torrents or connections; may be given several times
  --bin PATH       The anabranch to measure [default: $ANABRANCH_BIN, or a build as it is shipped]
  --out DIR        Write scaling.csv and scaling.svg there; the values go to standard output anyway
  -h, --help       This text
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Mode {
    Help,
    Measure(Box<Options>),
    /// Be the process that holds connections.
    Hold(Hold),
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    /// MiB.
    pub(crate) size: usize,
    pub(crate) runs: usize,
    pub(crate) most: usize,
    pub(crate) idle_time: Duration,
    pub(crate) dir: PathBuf,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
    only: Vec<Curve>,
}

/// What to hold.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) torrent: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) connections: u32,
}

impl Options {
    pub(crate) fn wants(&self, curve: Curve) -> bool {
        self.only.is_empty() || self.only.contains(&curve)
    }
}

pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Mode, String> {
    let mut options = Options {
        size: 256,
        runs: 1,
        most: usize::MAX,
        idle_time: Duration::from_secs(5),
        dir: "/dev/shm".into(),
        bin: None,
        out: None,
        only: Vec::new(),
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
            "-h" | "--help" => return Ok(Mode::Help),
            "--size" => options.size = count(&value()?, 1 << 20)?,
            "--runs" => options.runs = count(&value()?, 1_000)?,
            "--most" => options.most = count(&value()?, usize::MAX)?,
            "--idle-time" => {
                options.idle_time = Duration::from_secs(count(&value()?, 86_400)? as u64);
            }
            "--dir" => options.dir = value()?.into(),
            "--bin" => options.bin = Some(value()?.into()),
            "--out" => options.out = Some(value()?.into()),
            "--only" => options.only.push(curve(&value()?)?),
            // What the program starts itself with.
            "--hold" => {
                return Ok(Mode::Hold(Hold {
                    connections: value()?.parse().map_err(|_| "no number to hold")?,
                    listen: value()?.parse().map_err(|_| "no address to hold")?,
                    torrent: value()?.into(),
                    folder: value()?.into(),
                }));
            }
            _ => return Err(format!("unknown option: {key}")),
        }
    }
    Ok(Mode::Measure(Box::new(options)))
}

fn curve(name: &str) -> Result<Curve, String> {
    let mut all = Curve::ALL.into_iter();
    all.find(|one| one.name() == name)
        .ok_or_else(|| format!("no curve is called {name}"))
}

fn count(text: &str, most: usize) -> Result<usize, String> {
    let count = text.parse().ok();
    let count = count.filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("no number that makes sense here: {text}"))
}
