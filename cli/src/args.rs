//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anabranch_core::dht::NodeId;
use anabranch_core::metainfo::{InfoHash, Magnet as Link, ParseMagnetError};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::exit;
use crate::runtime::Choice;
use crate::select::FileList;
#[cfg(feature = "simulate")]
use crate::units::parse_percent;
use crate::units::{parse_duration, parse_piece_length, parse_rate, parse_ratio, parse_size};

const UNITS: &str = "\
Units:
  sizes, rates  k, M, G, T are powers of 1000, and Ki, Mi, Gi, Ti powers of 1024;
                a B may follow, and after a rate /s
  durations     ms, s, m, h, d, alone or together, such as 1h30m";

/// A BitTorrent client: downloads and seeds torrents, and makes, shows and verifies them.
#[derive(Debug, Parser)]
#[command(
    name = "anabranch",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = exit::HELP,
    after_long_help = format!("{UNITS}\n\n{}", exit::HELP),
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Download(Download),
    Seed(Seed),
    Create(Create),
    Show(Show),
    Magnet(Magnet),
    Dht(Dht),
    Verify(Verify),
    Replay(Replay),
    Demo(Demo),
    #[cfg(feature = "simulate")]
    Simulate(Simulate),
    Completions(Completions),
    Man(Man),
}

/// Download torrents.
///
/// Of a magnet link, the torrent is fetched from peers first.
///
/// Ends when everything that was asked for is complete and verified, or, if asked to seed, when the
/// seeding goal is reached. Ctrl-C ends it in good order, a second Ctrl-C at once; the same command
/// again goes on where it stopped. A full disk or another error of the disk makes a torrent wait until
/// the cause is gone.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// Torrent files and magnet links. Quote a link: shells take its `&` for something else.
    #[arg(required = true, value_name = "SOURCE", value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<Origin>,

    /// The folder to download to; created if it is not there.
    #[arg(long, short = 'd', value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) network: Network,

    /// Which files: numbers as `anabranch show` prints them, ranges and patterns, such as
    /// `1,3-5,*.txt`. Needs a single SOURCE; of a magnet link, numbers and ranges only.
    #[arg(long, short = 'f', value_name = "LIST")]
    pub(crate) files: Option<FileList>,

    /// Download in the order of the data, to use it while it arrives.
    #[arg(long)]
    pub(crate) sequential: bool,

    /// Go on seeding until Ctrl-C when the download is complete.
    #[arg(long)]
    pub(crate) seed: bool,

    /// Seed until so many times the size has been uploaded, such as 1.5.
    #[arg(long, value_name = "R", value_parser = parse_ratio, conflicts_with = "seed")]
    pub(crate) ratio: Option<u32>,

    /// Seed for so long after the download, such as 30m or 2h. With --ratio: until one of both is
    /// reached.
    #[arg(long, value_name = "T", value_parser = parse_duration, conflicts_with = "seed")]
    pub(crate) seed_time: Option<Duration>,

    /// Reserve the whole space on the disk before downloading.
    #[arg(long)]
    pub(crate) preallocate: bool,

    /// Verify what is there anew, instead of trusting what an earlier run recorded.
    #[arg(long)]
    pub(crate) recheck: bool,

    /// Save the torrent file of each magnet link to the folder that is downloaded to.
    #[arg(long)]
    pub(crate) save_torrent: bool,

    /// Write one JSON object a line to standard output instead of progress for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Seed torrents whose data is there.
///
/// Checks the data first; if some of it is missing or wrong, says so and ends with exit code 3. Seeds
/// until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Seed {
    /// Torrent files.
    #[arg(required = true, value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) torrents: Vec<Source>,

    /// The folder that holds the data: the one that contains the torrent's file or folder.
    #[arg(long, short = 'd', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) network: Network,

    /// Verify everything anew, instead of trusting what an earlier run recorded.
    #[arg(long)]
    pub(crate) recheck: bool,

    /// Write one JSON object a line to standard output instead of progress for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `download` and `seed` have in common.
#[derive(Debug, Args)]
pub(crate) struct Network {
    #[command(flatten)]
    pub(crate) contacts: Contacts,

    /// Limit the download rate, in bytes a second, such as 2MiB.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) limit_down: Option<u64>,

    /// Limit the upload rate, in bytes a second, such as 500k.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) limit_up: Option<u64>,
}

/// How peers are found, by whatever has to do with them.
#[derive(Debug, Args)]
pub(crate) struct Contacts {
    /// A peer to connect to, beside those that the trackers know; may be given several times.
    #[arg(long = "peer", short = 'p', value_name = "HOST:PORT")]
    pub(crate) peers: Vec<PeerAddress>,

    /// Where to listen for peers; port 0 is any free one. Default: port 6881 on all addresses, or
    /// another port if that one is taken.
    #[arg(long, short = 'l', value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,

    /// Do not tell peers of each other, nor ask them. Private torrents never do.
    #[arg(long)]
    pub(crate) no_pex: bool,

    /// Do not look for peers in the local network. Private torrents never do.
    #[arg(long)]
    pub(crate) no_lsd: bool,

    /// Take no part in the distributed hash table. Private torrents never do.
    #[arg(long, conflicts_with_all = ["dht_nodes", "dht_state"])]
    pub(crate) no_dht: bool,

    #[command(flatten)]
    pub(crate) dht: DhtNetwork,

    /// What the engine runs on.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,

    /// Record the run to a new file, without payload, for `anabranch replay`. It holds the addresses of
    /// peers and what trackers said.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
}

/// How the distributed hash table is joined.
#[derive(Debug, Args)]
pub(crate) struct DhtNetwork {
    /// A node of the distributed hash table to get to know others by; may be given several times. Default:
    /// well-known nodes of the public network, unless --listen has an address of this machine alone.
    #[arg(long = "dht-node", value_name = "HOST:PORT")]
    pub(crate) dht_nodes: Vec<PeerAddress>,

    /// Where to keep the nodes that are known from run to run. Default, in the public network:
    /// $XDG_STATE_HOME/anabranch/dht, or ~/.local/state/anabranch/dht.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) dht_state: Option<PathBuf>,
}

/// Ask the distributed hash table, or be a node of it.
///
/// All but `node` join it for a moment, and answer nobody.
#[derive(Debug, Args)]
pub(crate) struct Dht {
    #[command(subcommand)]
    pub(crate) command: DhtCommand,
}

/// What to do with the DHT.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum DhtCommand {
    /// Find peers of a torrent, and print their addresses.
    GetPeers(DhtGetPeers),
    /// Ask a node whether it is there. Exit code 1 means that no answer came.
    Ping(DhtPing),
    /// Be a node until Ctrl-C, for example one to get to know others by in a private network.
    Node(DhtNode),
    /// Join, and tell how that went: addresses, nodes that are known, packets.
    Stats(DhtStats),
    /// Get an item that somebody stored. Exit code 3 means that nobody has it.
    Get(DhtGet),
    /// Store an item for two hours, and print where: what `get` takes.
    Put(DhtPut),
}

/// What all DHT commands have in common.
#[derive(Debug, Args)]
pub(crate) struct DhtCommon {
    #[command(flatten)]
    pub(crate) network: DhtNetwork,

    /// Where to send from and receive. Default: all addresses, any free port.
    #[arg(long, short = 'l', value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,

    /// What the engine runs on.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,

    /// Write JSON to standard output instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DhtGetPeers {
    /// The torrent: its info-hash in hexadecimal, or its magnet link.
    #[arg(value_name = "INFOHASH|MAGNET", value_parser = parse_torrent_id)]
    pub(crate) torrent: InfoHash,

    #[command(flatten)]
    pub(crate) common: DhtCommon,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPing {
    /// The node.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) node: PeerAddress,

    #[command(flatten)]
    pub(crate) common: DhtCommon,
}

#[derive(Debug, Args)]
pub(crate) struct DhtNode {
    #[command(flatten)]
    pub(crate) common: DhtCommon,

    /// Ask, but answer nobody.
    #[arg(long)]
    pub(crate) read_only: bool,

    /// Know nobody to begin with: for the first node of a private network.
    #[arg(long, conflicts_with = "dht_nodes")]
    pub(crate) alone: bool,

    /// Limit the answers to all others together, in bytes a second, such as 1MiB. Without it, 250k.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(crate) reply_rate: Option<u64>,

    /// How often to tell how it is.
    #[arg(long, value_name = "T", default_value = "10s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DhtStats {
    #[command(flatten)]
    pub(crate) common: DhtCommon,
}

#[derive(Debug, Args)]
pub(crate) struct DhtGet {
    /// Where it is: 40 hexadecimal digits for an item that nobody can change, 64 for the public key of its
    /// owner.
    #[arg(value_name = "TARGET|KEY", value_parser = parse_item_id)]
    pub(crate) item: ItemId,

    /// What tells the items of a key apart.
    #[arg(long, value_name = "S", default_value = "")]
    pub(crate) salt: String,

    #[command(flatten)]
    pub(crate) common: DhtCommon,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPut {
    /// What to store, at most 996 bytes.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,

    /// Store it under a key, so that it can be changed later: a file with 64 hexadecimal digits, which are
    /// its secret.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// What tells the items of a key apart.
    #[arg(long, value_name = "S", default_value = "", requires = "key")]
    pub(crate) salt: String,

    #[command(flatten)]
    pub(crate) common: DhtCommon,
}

/// By what an item is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemId {
    Immutable(NodeId),
    Mutable([u8; 32]),
}

/// Make a torrent of a file or a folder.
///
/// Takes every file of a folder, hidden ones too, in the order of their paths, and follows symbolic
/// links.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The file or folder.
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    /// Where to write the torrent. Default: the name of PATH with .torrent, in the current folder.
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    /// A tracker's URL (http, https or udp); may be given several times, in order of preference.
    #[arg(long = "tracker", short = 't', value_name = "URL", value_parser = parse_tracker)]
    pub(crate) trackers: Vec<String>,

    /// The length of a piece, a power of two such as 1MiB. Default: by the size of the data.
    #[arg(long, value_name = "N", value_parser = parse_piece_length)]
    pub(crate) piece_length: Option<u32>,

    /// Mark it private: peers come from its trackers alone.
    #[arg(long)]
    pub(crate) private: bool,

    /// A comment for those who look at it.
    #[arg(long, short = 'c', value_name = "S")]
    pub(crate) comment: Option<String>,

    /// The URL of a web server that has the data; may be given several times.
    #[arg(long = "web-seed", short = 'w', value_name = "URL", value_parser = parse_web_seed)]
    pub(crate) web_seeds: Vec<String>,

    /// Leave the date of creation out, so that the same input gives the same file.
    #[arg(long)]
    pub(crate) no_date: bool,

    /// Overwrite the torrent if it is there.
    #[arg(long)]
    pub(crate) force: bool,

    /// Write one JSON object a line to standard output instead of progress for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what is in a torrent file, or in the torrent that a magnet link stands for.
///
/// Of a magnet link, the torrent is fetched from peers, for as long as it takes; none of its data is.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The torrent file or magnet link.
    #[arg(value_name = "SOURCE", value_hint = ValueHint::FilePath)]
    pub(crate) source: Origin,

    #[command(flatten)]
    pub(crate) contacts: Contacts,

    /// Save the torrent file of a magnet link to the current folder.
    #[arg(long)]
    pub(crate) save_torrent: bool,

    /// Write one JSON object to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the magnet link of a torrent.
#[derive(Debug, Args)]
pub(crate) struct Magnet {
    /// The torrent file.
    #[arg(value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) torrent: Source,

    /// A peer to name in the link; may be given several times.
    #[arg(long = "peer", short = 'p', value_name = "HOST:PORT")]
    pub(crate) peers: Vec<PeerAddress>,
}

/// Compare data on the disk with a torrent.
///
/// Reads everything, on all cores, and names each file that is missing or wrong. Nothing is changed.
/// Exit code 0 means that all is there and matches, 3 that something does not.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The torrent file.
    #[arg(value_name = "TORRENT", value_hint = ValueHint::FilePath)]
    pub(crate) torrent: Source,

    /// The folder that holds the data: the one that contains the torrent's file or folder.
    #[arg(long, short = 'd', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// Write one JSON object a line to standard output instead of progress for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Replay a run that was recorded with --record.
///
/// Feeds what was recorded to a fresh engine, without network or disk, and compares each of its actions
/// with what was recorded. Exit code 0 means that all of them are the same, 4 that one is not: it then
/// shows the event at which they part. A recording that was cut off is replayed as far as it goes.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The recording.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Tell every event and what came of it, with the time on the run's clock.
    #[arg(long)]
    pub(crate) trace: bool,

    /// Write JSON objects, one a line, to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// See it work: a whole swarm on this machine.
///
/// Makes a file of pseudo-random data and its torrent, runs a tracker, a seeder and a downloader that
/// talk over loopback sockets, compares the result with the original and prints rate and CPU time.
/// Needs twice SIZE of disk space, and nothing from the network.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How much data.
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = parse_size)]
    pub(crate) size: u64,

    /// Where to work: a new folder is made there. Default: the system's folder for temporary files.
    #[arg(long, short = 'd', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,

    /// Leave the files there to be looked at.
    #[arg(long)]
    pub(crate) keep: bool,

    /// What the downloader runs on; the seeder runs on the other.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,
}

/// Run a whole swarm in virtual time, and tell how it went.
///
/// Hosts with the same engine as `download`, on simulated links and disks, share a torrent of made-up
/// data; minutes of it take seconds, and nothing touches network or disk. The same options and seed
/// give the same run, bit for bit, on any machine. What the engines do is checked all the time; if
/// something does not hold, the command that repeats the run is told. Ctrl-C ends it and tells what has
/// been so far. Exit code 3 means that not everybody was complete in time.
#[cfg(feature = "simulate")]
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

    /// How many of the peers leave in each minute, in percent: half in good order, half by losing
    /// power. They come back within a minute.
    #[arg(long, value_name = "P", default_value = "0%", value_parser = parse_percent)]
    pub(crate) churn: u32,

    /// What else goes wrong: the name of a preset, or a file. `--faults list` shows the presets.
    #[arg(long, value_name = "PRESET|FILE", default_value = "none", value_hint = ValueHint::FilePath)]
    pub(crate) faults: PathBuf,

    /// Everything that is left to chance follows from it: a hexadecimal number.
    #[arg(long, value_name = "HEX", default_value = "1", value_parser = parse_seed)]
    pub(crate) seed: u64,

    /// End at this virtual time, whoever is complete by then. Default: ten times the shortest time that
    /// is possible, and two hours at least.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) until: Option<Duration>,

    /// Write how everything developed to a file: hosts and swarm over time, as CSV.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<PathBuf>,

    /// Write everything that happens to a file, an event a line; as CSV if its name ends with .csv.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) log: Option<PathBuf>,

    /// Leave out of the log what happens to other hosts than this one. They are counted from 0: seeders
    /// first, then peers, then the hostile.
    #[arg(long, value_name = "N", requires = "log")]
    pub(crate) log_host: Option<u32>,

    /// Draw how everything developed: completion, availability and throughput over time, as SVG.
    #[arg(long, value_name = "FILE.svg", value_hint = ValueHint::FilePath)]
    pub(crate) plot: Option<PathBuf>,

    /// Write one JSON object to standard output instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write completions for a shell to standard output.
///
/// For bash: `anabranch completions bash > ~/.local/share/bash-completion/completions/anabranch`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write the manual page to standard output.
///
/// To read it: `anabranch man | man -l -`
#[derive(Debug, Args)]
pub(crate) struct Man {}

/// A torrent file's path, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source(pub(crate) PathBuf);

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |scheme: &str| {
            text.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if is("magnet:") {
            return Err(
                "this needs the .torrent file; `anabranch show --save-torrent` fetches that of a magnet \
                 link"
                    .to_owned(),
            );
        }
        if is("http://") || is("https://") {
            return Err(
                "this version reads torrents from files only; fetch it first, for example with \
                 curl -LO, and give the file"
                    .to_owned(),
            );
        }
        if text.is_empty() {
            return Err("give the path of a .torrent file".to_owned());
        }
        Ok(Self(text.into()))
    }
}

/// Where a torrent comes from, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(Source),
    Magnet(Box<Link>),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Link>() {
            Ok(link) => Ok(Self::Magnet(Box::new(link))),
            Err(ParseMagnetError::NotMagnet) if !text.starts_with("magnet:") => {
                text.parse().map(Self::File)
            }
            Err(error) => Err(format!("{error}; quote the whole link")),
        }
    }
}

/// A peer's address as typed: a name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    Socket(SocketAddr),
    Name { host: String, port: u16 },
}

impl PeerAddress {
    /// The address, if no name has to be looked up.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "not a HOST:PORT; write for example 192.0.2.7:6881, [2001:db8::7]:6881 or \
             example.org:6881"
                .to_owned()
        };
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => Self::Socket(address),
            Err(_) => {
                let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
                let named = !host.is_empty()
                    && host.len() <= 253
                    && host
                        .chars()
                        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
                if !named {
                    return Err(wrong());
                }
                Self::Name {
                    host: host.to_owned(),
                    port: port.parse().map_err(|_| wrong())?,
                }
            }
        };
        match address {
            Self::Socket(address) if address.port() == 0 => Err(wrong()),
            Self::Name { port: 0, .. } => Err(wrong()),
            Self::Socket(_) | Self::Name { .. } => Ok(address),
        }
    }
}

/// Reads where to listen: `ADDR:PORT`, or a port alone for all IPv4 addresses.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    text.strip_prefix(':')
        .unwrap_or(text)
        .parse()
        .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(|_| {
            "not an ADDR:PORT; write for example 0.0.0.0:6881, [::]:6881 or 127.0.0.1:0".to_owned()
        })
}

/// Reads an info-hash or a magnet link.
fn parse_torrent_id(text: &str) -> Result<InfoHash, String> {
    match text.parse::<Link>() {
        Ok(link) => Ok(link.info_hash),
        Err(ParseMagnetError::NotMagnet) => text.parse().map_err(|_| {
            "neither 40 hexadecimal digits nor a magnet link; `anabranch magnet TORRENT` prints that of \
             a torrent file"
                .to_owned()
        }),
        Err(error) => Err(format!("{error}; quote the whole link")),
    }
}

fn parse_item_id(text: &str) -> Result<ItemId, String> {
    let mutable = || parse_key(text).map(ItemId::Mutable);
    match text.parse() {
        Ok(target) => Ok(ItemId::Immutable(target)),
        Err(_) => mutable().ok_or_else(|| "neither 40 nor 64 hexadecimal digits".to_owned()),
    }
}

/// Reads 64 hexadecimal digits.
pub(crate) fn parse_key(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() == 64)?;
    let bytes = pairs.chunks_exact(2);
    let bytes: Option<Vec<u8>> = bytes
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
        .collect();
    bytes?.try_into().ok()
}

/// Reads a hexadecimal number, with or without 0x.
#[cfg(feature = "simulate")]
fn parse_seed(text: &str) -> Result<u64, String> {
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

fn parse_tracker(text: &str) -> Result<String, String> {
    parse_url(text, &["http", "https", "udp"])
}

fn parse_web_seed(text: &str) -> Result<String, String> {
    parse_url(text, &["http", "https", "ftp"])
}

/// Accepts a URL of one of these schemes with a host; what is typed is kept as it is.
fn parse_url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let usable = text.split_once("://").is_some_and(|(scheme, rest)| {
        schemes
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
            && !rest.is_empty()
            && !rest.starts_with(['/', ':', '?', '#'])
    }) && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if usable {
        return Ok(text.to_owned());
    }
    Err(format!(
        "not a URL that can be used; it starts with {}, as in {}://example.org:6969/announce",
        schemes.join(":// or ") + "://",
        schemes[0]
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Cli::try_parse_from(line.split(' '))
            .map(|cli| cli.command)
            .map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_is_documented() {
        let cli = Cli::command();
        let commands = cli.get_subcommands();
        for command in commands.flat_map(|c| std::iter::once(c).chain(c.get_subcommands())) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn a_download_with_everything() {
        let Ok(Command::Download(download)) = parse(
            "anabranch download a.torrent b.torrent --dir /d --peer 127.0.0.1:1 --peer host:2 \
             --listen [::1]:0 --sequential --ratio 1.5 --seed-time 10m --limit-down 2MiB \
             --limit-up 500k --json --preallocate",
        ) else {
            panic!("not a download");
        };
        assert_eq!(download.sources.len(), 2);
        assert_eq!(download.ratio, Some(1500));
        assert_eq!(download.seed_time, Some(Duration::from_secs(600)));
        assert_eq!(download.network.limit_down, Some(2 << 20));
        assert_eq!(download.network.limit_up, Some(500_000));
        assert_eq!(
            download.network.contacts.peers,
            [
                PeerAddress::Socket(([127, 0, 0, 1], 1).into()),
                PeerAddress::Name {
                    host: "host".into(),
                    port: 2
                }
            ]
        );
        assert!(download.json && download.preallocate && download.sequential);
    }

    #[test]
    fn magnet_links_are_known_wherever_they_can_be_used() {
        let link = format!("magnet:?xt=urn:btih:{}", "0".repeat(40));
        let line = format!("anabranch download a.torrent {link} --no-pex --no-lsd --save-torrent");
        let Ok(Command::Download(download)) = parse(&line) else {
            panic!("not a download");
        };
        assert!(matches!(download.sources[0], Origin::File(_)));
        assert!(matches!(download.sources[1], Origin::Magnet(_)));
        assert!(download.network.contacts.no_pex && download.network.contacts.no_lsd);
        assert!(parse(&format!("anabranch show {link}")).is_ok());
        for command in ["verify --dir d", "seed --dir d", "magnet"] {
            let line = format!("anabranch {command} {link}");
            assert_eq!(parse(&line).err(), Some(ErrorKind::ValueValidation));
        }
    }

    #[test]
    fn the_dht_is_asked_for_what_has_a_hash() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let link = format!("magnet:?xt=urn:btih:{hash}");
        for torrent in [hash, &link] {
            let Ok(Command::Dht(dht)) = parse(&format!("anabranch dht get-peers {torrent}")) else {
                panic!("not a DHT command");
            };
            let DhtCommand::GetPeers(args) = dht.command else {
                panic!("not get-peers");
            };
            assert_eq!(args.torrent, hash.parse().unwrap());
        }
        assert_eq!(parse_key(&"0f".repeat(32)), Some([15; 32]));
        assert!(matches!(parse_item_id(hash), Ok(ItemId::Immutable(_))));
        assert_eq!(
            parse_item_id(&"fF".repeat(32)),
            Ok(ItemId::Mutable([255; 32]))
        );
        for text in ["", "+1", &"é".repeat(32), &"0".repeat(63)] {
            assert!(parse_item_id(text).is_err(), "{text}");
        }
        for line in [
            "anabranch download a --no-dht --dht-node a:1",
            "anabranch dht node --alone --dht-node a:1",
        ] {
            assert_eq!(parse(line).err(), Some(ErrorKind::ArgumentConflict));
        }
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for (line, kind) in [
            (
                "anabranch",
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ),
            ("anabranch fly", ErrorKind::InvalidSubcommand),
            ("anabranch download", ErrorKind::MissingRequiredArgument),
            (
                "anabranch download magnet:?xt=urn:btih:00",
                ErrorKind::ValueValidation,
            ),
            (
                "anabranch download https://example.org/a.torrent",
                ErrorKind::ValueValidation,
            ),
            (
                "anabranch download a --seed --ratio 1",
                ErrorKind::ArgumentConflict,
            ),
            ("anabranch download a --files 0", ErrorKind::ValueValidation),
            (
                "anabranch download a --limit-down 0",
                ErrorKind::ValueValidation,
            ),
            (
                "anabranch download a --seed-time 10",
                ErrorKind::ValueValidation,
            ),
            ("anabranch seed a", ErrorKind::MissingRequiredArgument),
            (
                "anabranch create a --tracker example.org",
                ErrorKind::ValueValidation,
            ),
            (
                "anabranch create a --piece-length 18",
                ErrorKind::ValueValidation,
            ),
            ("anabranch completions cmd", ErrorKind::InvalidValue),
        ] {
            assert_eq!(parse(line).map(|_| ()), Err(kind), "{line}");
        }
    }

    #[test]
    fn peers_have_a_host_and_a_port() {
        for text in ["1.2.3.4:5", "[::1]:5", "localhost:5", "a-b.example:65535"] {
            assert!(text.parse::<PeerAddress>().is_ok(), "{text}");
        }
        for text in [
            "",
            "1.2.3.4",
            "host:",
            ":5",
            "host:0",
            "1.2.3.4:0",
            "::1:5",
            "a b:5",
            "h:65536",
        ] {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_alone_listens_everywhere() {
        assert_eq!(parse_listen("6881"), Ok(([0, 0, 0, 0], 6881).into()));
        assert_eq!(parse_listen(":0"), Ok(([0, 0, 0, 0], 0).into()));
        assert_eq!(parse_listen("127.0.0.1:1"), Ok(([127, 0, 0, 1], 1).into()));
        assert!(parse_listen("localhost").is_err());
        assert!(parse_listen("70000").is_err());
    }

    #[test]
    fn urls_need_a_known_scheme_and_a_host() {
        for text in ["http://t/announce", "udp://t:1", "HTTPS://t"] {
            assert_eq!(parse_tracker(text), Ok(text.to_owned()));
        }
        for text in [
            "",
            "t",
            "ftp://t",
            "http://",
            "http:///a",
            "http://a b",
            "udp:t",
        ] {
            assert!(parse_tracker(text).is_err(), "{text}");
        }
        assert!(parse_web_seed("ftp://t/").is_ok());
    }
}
