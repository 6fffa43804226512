//! The arguments of `anabranch simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::network::Transport;
use super::path::path;
use crate::units::{parse_duration, parse_percent, parse_piece_length, parse_rate, parse_size};

/// Run a whole swarm in virtual time, and tell how it went.
///
/// Hosts with the same engine as `download`, on simulated links and disks, share a torrent of made-up
/// data; minutes of it take seconds, and nothing touches network or disk. The same options and seed
/// give the same run, bit for bit, on any machine. What the engines do is checked all the time; if
/// something does not hold, the command that repeats the run is told. Ctrl-C ends it and tells what has
/// been so far. Exit code 3 means that not everybody was complete in time.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// How many peers want the torrent.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) peers: u32,

    /// How many hosts have it from the beginning.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seeders: u32,

    /// How much data the torrent has.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    pub(crate) size: u64,

    /// The length of a piece, a power of two such as 64KiB. Default: by the size of the data as with
    /// `create`, and 128KiB at least.
    #[arg(long, value_name = "N", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u32>,

    /// What each host can send, in bytes a second.
    #[arg(long, value_name = "RATE", default_value = "1MiB", value_parser = parse_rate)]
    pub(crate) up: u64,

    /// What each host can receive, in bytes a second.
    #[arg(long, value_name = "RATE", default_value = "4MiB", value_parser = parse_rate)]
    pub(crate) down: u64,

    /// How long a packet takes from one host to another; each pair has a time of its own, between half
    /// of this and one and a half times this.
    #[arg(long, value_name = "T", default_value = "50ms", value_parser = parse_duration)]
    pub(crate) latency: Duration,

    /// How many packets are lost, in percent: 50% at most.
    #[arg(long, value_name = "P", default_value = "0%", value_parser = parse_percent)]
    pub(crate) loss: u32,

    /// By what peers reach each other.
    #[arg(long, value_name = "NAME", value_enum, default_value = "tcp")]
    pub(crate) transport: Transport,

    /// How many of the peers leave in each minute, in percent: half in good order, half by losing
    /// power. They come back within a minute.
    #[arg(long, value_name = "P", default_value = "0%", value_parser = parse_percent)]
    pub(crate) churn: u32,

    /// What else goes wrong: the name of a preset, or a file. `--faults list` shows the presets.
    #[arg(long, value_name = "PRESET|FILE", default_value = "none", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) faults: PathBuf,

    /// Everything that is left to chance follows from it: a hexadecimal number.
    #[arg(long, value_name = "HEX", default_value = "1", value_parser = parse_seed)]
    pub(crate) seed: u64,

    /// End at this virtual time, whoever is complete by then. Default: ten times the shortest time that
    /// is possible, and two hours at least.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) until: Option<Duration>,

    /// Write how everything developed to a file: hosts and swarm over time, as CSV.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<PathBuf>,

    /// Write everything that happens to a file, an event a line; as CSV if its name ends with .csv.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) log: Option<PathBuf>,

    /// Leave out of the log what happens to other hosts than this one. They are counted from 0: seeders
    /// first, then peers, then the hostile.
    #[arg(long, value_name = "N", requires = "log")]
    pub(crate) log_host: Option<u32>,

    /// Draw how everything developed: completion, availability and throughput over time, as SVG.
    #[arg(long, value_name = "FILE.svg", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) plot: Option<PathBuf>,

    /// Write one JSON object to standard output instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads a hexadecimal number, with or without 0x.
pub(super) fn parse_seed(text: &str) -> Result<u64, String> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    // The standard library would take a sign.
    match u64::from_str_radix(digits, 16) {
        Ok(seed) if !digits.starts_with('+') => Ok(seed),
        Ok(_) | Err(_) => {
            Err("not a hexadecimal number of 16 digits at most, such as 2a or 0x2a".to_owned())
        }
    }
}
