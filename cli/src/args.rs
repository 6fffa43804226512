//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anabranch_core::dht::NodeId;
use anabranch_core::metainfo::magnet::{Surplus, is_magnet};
use anabranch_core::metainfo::{InfoHash, Magnet as Link, ParseMagnetError, SafePath};
use anabranch_driver::storage::system_names;
use clap::builder::{OsStringValueParser, PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::exit;
use crate::runtime::Choice;
use crate::select::FileList;
#[cfg(feature = "simulate")]
use crate::units::parse_percent;
use crate::units::{parse_duration, parse_piece_length, parse_rate, parse_ratio, parse_size};

/// What nothing may be called that is downloaded: the folder of the resume data.
const RESUME_FOLDER: &str = ".anabranch";

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
    /// Torrent files, their http:// or https:// URLs, magnet links, and info-hashes; `-` is a torrent file
    /// on standard input. Quote a link: shells take its `&` for something else.
    #[arg(required = true, value_name = "SOURCE", value_parser = origin(), value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<Origin>,

    /// The folder to download to; created if it is not there.
    #[arg(long, short = 'd', value_name = "DIR", default_value = ".", value_parser = path(), value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// The name of its file or folder on the disk, in place of the torrent's own. Needs a single SOURCE, and
    /// has to be given whenever the torrent is.
    #[arg(long, value_name = "NAME", value_parser = in_utf8(parse_name))]
    pub(crate) out: Option<String>,

    #[command(flatten)]
    pub(crate) network: Network,

    /// Which files: numbers as `anabranch show` prints them, ranges, names and patterns, such as
    /// `1,3-5,*.txt`; with ! before it, what is not wanted, such as `!*sample*`. May be given several
    /// times; a comma in a name is `\,` unless the name is all of LIST. Needs a single SOURCE.
    #[arg(long, short = 'f', value_name = "LIST", value_parser = in_utf8(FileList::from_str))]
    pub(crate) files: Vec<FileList>,

    /// Take capital and small letters for the same in --files.
    #[arg(long, requires = "files")]
    pub(crate) ignore_case: bool,

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

    /// Give up, with exit code 5, when something is missing and nothing has come for so long, such as 30s or 10m.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Reserve the whole space on the disk before downloading.
    #[arg(long)]
    pub(crate) preallocate: bool,

    /// Verify what is there anew, instead of trusting what an earlier run recorded.
    #[arg(long)]
    pub(crate) recheck: bool,

    /// Write over files that are there and have nothing of the torrent in them. Without this they are
    /// named, and nothing is downloaded.
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Read and write through symbolic links in the folder, wherever they lead.
    #[arg(long)]
    pub(crate) follow_links: bool,

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
    /// Torrent files, or their http:// or https:// URLs; `-` is standard input.
    #[arg(required = true, value_name = "TORRENT", value_parser = source(), value_hint = ValueHint::FilePath)]
    pub(crate) torrents: Vec<Source>,

    /// The folder that holds the data: the one that contains the torrent's file or folder.
    #[arg(long, short = 'd', value_name = "DIR", default_value = ".", value_parser = path(), value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// The name of its file or folder on the disk, in place of the torrent's own. Needs a single TORRENT, and
    /// has to be given whenever the torrent is.
    #[arg(long, value_name = "NAME", value_parser = in_utf8(parse_name))]
    pub(crate) out: Option<String>,

    #[command(flatten)]
    pub(crate) network: Network,

    /// Verify everything anew, instead of trusting what an earlier run recorded.
    #[arg(long)]
    pub(crate) recheck: bool,

    /// Read through symbolic links that lead out of the folder as well. Those that lead to a file inside of
    /// it are followed anyway.
    #[arg(long)]
    pub(crate) follow_links: bool,

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

    /// A tracker's URL (http, https or udp) to ask beside those that the torrents name; may be given
    /// several times. Not for private torrents.
    #[arg(long = "tracker", short = 't', value_name = "URL", value_parser = parse_trackers)]
    pub(crate) trackers: Vec<Urls>,

    #[command(flatten)]
    pub(crate) listening: Listening,

    /// Connect to at most N peers for each torrent. Default: 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_peers: Option<u32>,

    /// Do not tell peers of each other, nor ask them. Private torrents never do.
    #[arg(long)]
    pub(crate) no_pex: bool,

    /// Do not look for peers in the local network. Private torrents never do.
    #[arg(long)]
    pub(crate) no_lsd: bool,

    /// Ask HTTP trackers on this machine whatever the path in their URL. Without this, only paths that end in `announce`
    /// or the like are asked here, so that no torrent can use other services of this machine.
    #[arg(long)]
    pub(crate) allow_local_trackers: bool,

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
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
}

impl Contacts {
    /// The trackers to ask beside those that the torrents name.
    pub(crate) fn trackers(&self) -> Vec<String> {
        let urls = self.trackers.iter().flat_map(|urls| urls.0.iter());
        urls.cloned().collect()
    }
}

/// Where others can reach us.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Listening {
    /// An address of this machine to listen on, such as `0.0.0.0:6881`, `[::]:6881` or `127.0.0.1:0`; port 0 is
    /// any free one. May be given several times; the port of the first is the one that others are told.
    #[arg(long, short = 'l', value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub(crate) listen: Vec<SocketAddr>,

    /// The port to listen on, on all addresses of both families; 0 is any free one. Default for
    /// torrents: 6881, or another port if that one is taken.
    #[arg(long, value_name = "N", conflicts_with = "listen")]
    pub(crate) port: Option<u16>,
}

impl Listening {
    /// Whether only this machine can reach us.
    pub(crate) fn is_inside(&self) -> bool {
        !self.listen.is_empty() && self.listen.iter().all(|address| address.ip().is_loopback())
    }
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
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
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
    /// Ask a node whether it is there. Exit code 1 means that no answer came, and 5 that none came within --timeout.
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

    #[command(flatten)]
    pub(crate) listening: Listening,

    /// What the engine runs on.
    #[arg(long, value_name = "NAME", value_enum, default_value_t)]
    pub(crate) runtime: Choice,

    /// Write JSON to standard output instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How long a DHT command waits.
#[derive(Debug, Args)]
pub(crate) struct DhtPatience {
    /// Give up, with exit code 5, when there is no answer after so long, such as 10s.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct DhtGetPeers {
    /// The torrent: its info-hash in hexadecimal, or its magnet link.
    #[arg(value_name = "INFOHASH|MAGNET", value_parser = parse_torrent_id)]
    pub(crate) torrent: InfoHash,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPing {
    /// The node.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) node: PeerAddress,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
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

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
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

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
}

#[derive(Debug, Args)]
pub(crate) struct DhtPut {
    /// What to store, at most 996 bytes.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,

    /// Store it under a key, so that it can be changed later: a file with 64 hexadecimal digits, which are
    /// its secret.
    #[arg(long, value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// What tells the items of a key apart.
    #[arg(long, value_name = "S", default_value = "", requires = "key")]
    pub(crate) salt: String,

    #[command(flatten)]
    pub(crate) common: DhtCommon,

    #[command(flatten)]
    pub(crate) patience: DhtPatience,
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
    #[arg(value_name = "PATH", value_parser = path(), value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    /// Where to write the torrent; `-` is standard output. Default: the name of PATH with .torrent, in
    /// the current folder.
    #[arg(long, short = 'o', value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    /// A tracker's URL (http, https or udp); may be given several times, in order of preference. Several
    /// with commas between them are equals: one of them is asked.
    #[arg(long = "tracker", short = 't', value_name = "URL", value_parser = parse_trackers)]
    pub(crate) trackers: Vec<Urls>,

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
    #[arg(long = "web-seed", short = 'w', value_name = "URL", value_parser = parse_web_seeds)]
    pub(crate) web_seeds: Vec<Urls>,

    /// Leave the date of creation out, so that the same input gives the same file. Without it, the date
    /// is the environment's SOURCE_DATE_EPOCH, in seconds since 1970, if it is set, and else now.
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
    /// The torrent file, its http:// or https:// URL, magnet link or info-hash; `-` is a torrent file on
    /// standard input.
    #[arg(value_name = "SOURCE", value_parser = origin(), value_hint = ValueHint::FilePath)]
    pub(crate) source: Origin,

    #[command(flatten)]
    pub(crate) contacts: Contacts,

    /// Give up, with exit code 5, when nothing of a magnet link's torrent has come for so long, such as 30s.
    #[arg(long, value_name = "T", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

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
    /// The torrent file, or its http:// or https:// URL; `-` is standard input.
    #[arg(value_name = "TORRENT", value_parser = source(), value_hint = ValueHint::FilePath)]
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
    /// The torrent file, or its http:// or https:// URL; `-` is standard input.
    #[arg(value_name = "TORRENT", value_parser = source(), value_hint = ValueHint::FilePath)]
    pub(crate) torrent: Source,

    /// The folder that holds the data: the one that contains the torrent's file or folder.
    #[arg(long, short = 'd', value_name = "DIR", default_value = ".", value_parser = path(), value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// The name of its file or folder on the disk, in place of the torrent's own. It has to be given whenever the torrent is.
    #[arg(long, value_name = "NAME", value_parser = in_utf8(parse_name))]
    pub(crate) out: Option<String>,

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
    #[arg(value_name = "FILE", value_parser = path(), value_hint = ValueHint::FilePath)]
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
    #[arg(long, short = 'd', value_name = "DIR", value_parser = path(), value_hint = ValueHint::DirPath)]
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

/// Where a torrent file is, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Path(PathBuf),
    /// On the web.
    Url(String),
    /// On standard input.
    Stdin,
}

impl Source {
    /// What is typed is a path, unless it is something else. Paths are bytes where the system has them so.
    fn read(text: OsString) -> Result<Self, String> {
        let Some(known) = text.to_str() else {
            return Ok(Self::Path(text.into()));
        };
        if is_magnet(known) && !Path::new(known).exists() {
            return Err(
                "this needs the .torrent file; `anabranch show --save-torrent` fetches that of a magnet \
                 link"
                    .to_owned(),
            );
        }
        let is = |scheme: &str| {
            let start = known.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if is("http://") || is("https://") {
            return Ok(Self::Url(known.to_owned()));
        }
        match known {
            "" => Err("give the path of a .torrent file".to_owned()),
            "-" => Ok(Self::Stdin),
            _ if is_cut_hash(known) && !Path::new(known).exists() => {
                let digits = known.len();
                Err(format!(
                    "an info-hash has 40 hexadecimal digits, and this has {digits}; nor is it a file"
                ))
            }
            _ => Ok(Self::Path(text.into())),
        }
    }
}

/// Whether it looks like an info-hash with some digits too few or too many.
fn is_cut_hash(text: &str) -> bool {
    matches!(text.len(), 36..=39 | 41..=44) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Where a torrent comes from, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(Source),
    /// A magnet link, or what is as good as one, and what of it was left out.
    Magnet(Box<Link>, Surplus),
}

impl Origin {
    fn read(text: OsString) -> Result<Self, String> {
        let Some(known) = text.to_str() else {
            return Source::read(text).map(Self::File);
        };
        // A file of such a name was given by who has it.
        if Path::new(known).exists() {
            return Source::read(text).map(Self::File);
        }
        match Link::parse_counted(known) {
            Ok((link, surplus)) => Ok(Self::Magnet(Box::new(link), surplus)),
            Err(ParseMagnetError::NotMagnet) => match parse_info_hash(known) {
                Some(info_hash) => Ok(Self::Magnet(
                    Box::new(Link::new(info_hash)),
                    Surplus::default(),
                )),
                None => Source::read(text).map(Self::File),
            },
            Err(error @ (ParseMagnetError::Version2 | ParseMagnetError::Several)) => {
                Err(error.to_string())
            }
            Err(error) => Err(format!("{error}; quote the whole link")),
        }
    }
}

fn source() -> impl TypedValueParser<Value = Source> {
    OsStringValueParser::new().try_map(Source::read)
}

fn origin() -> impl TypedValueParser<Value = Origin> {
    OsStringValueParser::new().try_map(Origin::read)
}

/// URLs, as typed with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Urls(pub(crate) Vec<String>);

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

/// Reads the name of a file or folder: one that can be created as it is.
fn parse_name(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case(RESUME_FOLDER) {
        return Err("resume data has this name; choose another".to_owned());
    }
    let safe = SafePath::with_names([text.as_bytes()], system_names());
    if safe.as_str() == text {
        return Ok(text.to_owned());
    }
    Err(match text.contains('/') {
        true => "a name, not a path: --dir says where".to_owned(),
        false => format!("no name for a file; {safe} is one"),
    })
}

/// Reads where to listen: `ADDR:PORT`, or a port alone for all IPv4 addresses.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    const EXAMPLES: &str = "write for example 0.0.0.0:6881, [::]:6881 or 127.0.0.1:0";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let ip: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    let zoned = host.starts_with('[') && host.contains('%');
    Err(if zoned {
        "the zone of an IPv6 address is given by its number, as in [fe80::1%2]:6881; `ip link` shows the \
         numbers"
            .to_owned()
    } else if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        format!("the port is missing; {EXAMPLES}")
    } else if ip.is_ok() {
        format!("not a port, or an IPv6 address without its brackets; {EXAMPLES}")
    } else if port.parse::<u16>().is_ok() {
        format!("names are not looked up here: give an address of this machine; {EXAMPLES}")
    } else {
        format!("not an ADDR:PORT; {EXAMPLES}")
    })
}

/// Reads a path. Shells know what `~` means and do not always say so: `--dir=~/x` and quotes leave it as it is.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let first = path.components().next();
        let tilde = first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~"));
        // A file that is called so is meant by its name.
        if !tilde || path.exists() {
            return Ok(path);
        }
        Err(format!(
            "your shell has not replaced the `~`: write \"$HOME\" in its place, or {} if it is meant",
            Path::new(".").join(&path).display()
        ))
    })
}

/// Reads what must be in UTF-8 with `read`. Whatever is not is refused by the name of its argument, which the library
/// does not tell by itself.
fn in_utf8<T: Clone + Send + Sync + 'static>(
    read: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(move |text| match text.to_str() {
        Some(text) => read(text),
        None => Err("it has to be in UTF-8".to_owned()),
    })
}

/// Reads an info-hash or a magnet link.
fn parse_torrent_id(text: &str) -> Result<InfoHash, String> {
    match text.parse::<Link>() {
        Ok(link) => Ok(link.info_hash),
        Err(ParseMagnetError::NotMagnet) => parse_info_hash(text).ok_or_else(|| {
            "neither 40 hexadecimal digits nor a magnet link; `anabranch magnet TORRENT` prints that of \
             a torrent file"
                .to_owned()
        }),
        Err(error) => Err(format!("{error}; quote the whole link")),
    }
}

/// Reads an info-hash alone, in the two ways in which magnet links have it.
fn parse_info_hash(text: &str) -> Option<InfoHash> {
    let text = text.trim();
    let plain = matches!(text.len(), 32 | 40) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let link = plain.then(|| format!("magnet:?xt=urn:btih:{text}"))?;
    Some(link.parse::<Link>().ok()?.info_hash)
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

fn parse_trackers(text: &str) -> Result<Urls, String> {
    parse_urls(text, &["http", "https", "udp"])
}

fn parse_web_seeds(text: &str) -> Result<Urls, String> {
    parse_urls(text, &["http", "https", "ftp"])
}

/// Reads URLs of these schemes. A comma is between two of them if another one follows, of whatever scheme, or
/// nothing; else it is in one.
fn parse_urls(text: &str, schemes: &[&str]) -> Result<Urls, String> {
    let begins = |text: &str| {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        !scheme.is_empty() && scheme.chars().all(of_scheme)
    };
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            Some(last) if !begins(part.trim_start()) => {
                last.push(',');
                last.push_str(part);
            }
            None if part.trim().is_empty() => {}
            Some(_) | None => urls.push(part.trim_start().to_owned()),
        }
    }
    if urls.is_empty() {
        // The refusal says what a URL is.
        urls.push(String::new());
    }
    let urls = urls.iter().map(|url| {
        let of_list = |c: char| c == ',' || c.is_whitespace();
        parse_url(url.trim_end_matches(of_list), schemes)
    });
    let urls: Result<Vec<String>, String> = urls.collect();
    urls.map(Urls)
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
             --listen [::1]:0 --tracker udp://t.example:1 --max-peers 7 --sequential --ratio 1.5 \
             --seed-time 10m --limit-down 2MiB --limit-up 500k --json --preallocate",
        ) else {
            panic!("not a download");
        };
        assert_eq!(download.sources.len(), 2);
        assert_eq!(download.ratio, Some(1500));
        assert_eq!(download.network.contacts.max_peers, Some(7));
        assert_eq!(download.network.contacts.trackers.len(), 1);
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
        let line = format!(
            "anabranch download a.torrent {link} --no-pex --no-lsd --allow-local-trackers --save-torrent"
        );
        let Ok(Command::Download(download)) = parse(&line) else {
            panic!("not a download");
        };
        assert!(matches!(download.sources[0], Origin::File(_)));
        assert!(matches!(download.sources[1], Origin::Magnet(..)));
        assert!(download.network.contacts.no_pex && download.network.contacts.no_lsd);
        assert!(download.network.contacts.allow_local_trackers);
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
                "anabranch download a --ignore-case",
                ErrorKind::MissingRequiredArgument,
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
            ("anabranch seed", ErrorKind::MissingRequiredArgument),
            ("anabranch seed a --max-peers 0", ErrorKind::ValueValidation),
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
        assert!(parse_listen("70000").is_err());
    }

    #[test]
    fn what_is_not_listened_on_is_told_with_what_to_write() {
        for (text, word) in [
            ("localhost:6881", "names"),
            ("localhost", "ADDR:PORT"),
            ("[fe80::1%eth0]:6881", "number"),
            ("127.0.0.1", "port is missing"),
            ("::1", "port is missing"),
            ("[::1]", "port is missing"),
            ("127.0.0.1:70000", "not a port"),
        ] {
            let error = parse_listen(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(parse_listen("[fe80::1%2]:6881").is_ok());
    }

    #[test]
    fn several_addresses_or_one_port_are_listened_on() {
        let listening = |line: &str| match parse(&format!("anabranch seed a.torrent {line}")) {
            Ok(Command::Seed(seed)) => Ok(seed.network.contacts.listening),
            Ok(_) => unreachable!("it is `seed`"),
            Err(kind) => Err(kind),
        };
        let two = listening("-l 127.0.0.1:1 --listen [::1]:1").unwrap();
        assert_eq!((two.listen.len(), two.is_inside()), (2, true));
        assert!(
            !listening("-l 127.0.0.1:1 -l 0.0.0.0:1")
                .unwrap()
                .is_inside()
        );
        let port = listening("--port 0").unwrap();
        assert_eq!((port.port, port.is_inside()), (Some(0), false));
        let both = listening("--port 1 --listen 127.0.0.1:1").unwrap_err();
        assert_eq!(both, ErrorKind::ArgumentConflict);
    }

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_not_in_utf8_is_refused_by_its_name() {
        use std::os::unix::ffi::OsStringExt;
        for option in ["--out", "--files"] {
            let mut line: Vec<OsString> = ["anabranch", "download", "a.torrent", option]
                .map(OsString::from)
                .into();
            line.push(OsString::from_vec(b"a\xff".to_vec()));
            let refused = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ValueValidation);
            let told = refused.to_string();
            assert!(told.contains(option) && told.contains("UTF-8"), "{told}");
        }
    }

    #[test]
    fn a_hash_with_a_digit_too_few_is_no_path() {
        for digits in [39, 41] {
            let refused = Origin::read("a".repeat(digits).into()).unwrap_err();
            assert!(refused.contains("40 hexadecimal digits"), "{refused}");
        }
        let short = Origin::read("abc".into());
        assert_eq!(short, Ok(Origin::File(Source::Path("abc".into()))));
    }

    #[test]
    fn a_name_is_one_that_can_be_created() {
        assert_eq!(parse_name("R.E.M. (live)"), Ok("R.E.M. (live)".into()));
        for text in ["", ".", "..", "a/b", "/a", "new\nline", ".Anabranch"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tilde_that_the_shell_left_there_is_no_folder() {
        for line in [
            "download a.torrent --dir=~/x",
            "seed a.torrent --dir ~",
            "create ~me/x",
            "create x -o ~/x.torrent",
            "dht stats --dht-state ~/x",
            "verify a.torrent -d ~/x",
        ] {
            let refused = parse(&format!("anabranch {line}")).unwrap_err();
            assert_eq!(refused, ErrorKind::ValueValidation, "{line}");
        }
        assert!(parse("anabranch download a.torrent --dir ./~/x").is_ok());
    }

    #[test]
    fn urls_need_a_known_scheme_and_a_host() {
        for text in [
            "http://t/announce",
            "udp://t:1",
            "HTTPS://t",
            "http://t/a?b=1,2",
        ] {
            assert_eq!(parse_trackers(text), Ok(Urls(vec![text.to_owned()])));
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
            assert!(parse_trackers(text).is_err(), "{text}");
        }
        assert!(parse_web_seeds("ftp://t/").is_ok());
    }

    #[test]
    fn urls_with_commas_between_them_are_several() {
        let several = "http://a/x,y, udp://b:1,HTTPS://c";
        assert_eq!(
            parse_trackers(several),
            Ok(Urls(
                ["http://a/x,y", "udp://b:1", "HTTPS://c"]
                    .map(str::to_owned)
                    .into()
            ))
        );
        for text in ["http://a,udp://", "http://a, b", ",", "b,http://a"] {
            assert!(parse_trackers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_of_another_scheme_in_a_list_is_refused() {
        for text in [
            "http://a/x,wss://b:1",
            "wss://b:1,http://a/x",
            "udp://a:1, ws+x://b",
        ] {
            assert!(parse_trackers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn empty_parts_of_a_list_of_urls_are_left_out() {
        let two = Ok(Urls(["http://a/x", "udp://b:1"].map(str::to_owned).into()));
        for text in [
            "http://a/x,,udp://b:1",
            ",http://a/x, ,udp://b:1, ,",
            "http://a/x,udp://b:1,",
        ] {
            assert_eq!(parse_trackers(text), two, "{text}");
        }
        let inside = "http://a/x?b=1,,2";
        assert_eq!(parse_trackers(inside), Ok(Urls(vec![inside.to_owned()])));
    }

    #[test]
    fn sources_are_told_apart_by_what_they_look_like() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let link = Link::new(hash.parse().unwrap());
        let magnet = || Ok(Origin::Magnet(Box::new(link.clone()), Surplus::default()));
        let base32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
        for text in [
            hash.to_owned(),
            format!(" {hash} "),
            base32.to_owned(),
            base32.to_lowercase(),
            format!("<magnet:?xt=urn:btih:{hash}>"),
            format!("'MAGNET:/?XT=urn:btih:{base32}#x'"),
            format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{hash}"),
            format!("%22magnet:?xt=urn:btih:{hash}%22"),
            format!("[a name](magnet:?xt=urn:btih:{hash})"),
            format!("<a href=\"magnet:?xt=urn:btih:{hash}\">a name</a>"),
            format!("Magnet: magnet:?xt=urn:btih:{hash}"),
        ] {
            assert_eq!(Origin::read(text.clone().into()), magnet(), "{text}");
            assert_eq!(parse_torrent_id(&text), Ok(link.info_hash), "{text}");
        }
        let file = |text: &str| Origin::read(text.into());
        let url = "HTTPS://example.org/a.torrent?x=1&y=2";
        assert_eq!(file(url), Ok(Origin::File(Source::Url(url.into()))));
        assert_eq!(file("-"), Ok(Origin::File(Source::Stdin)));
        for path in ["a", "./-", "http:", "ftp://a/b", "xmagnet:?xt=1"] {
            assert_eq!(file(path), Ok(Origin::File(Source::Path(path.into()))));
        }
        let several = file(&format!(
            "magnet:?xt=urn:btih:{hash} magnet:?xt=urn:btih:{}",
            "0".repeat(40)
        ));
        assert!(several.unwrap_err().contains("one at a time"));
        let version2 = file("magnet:?xt=urn:btmh:1220aa").unwrap_err();
        assert!(version2.contains("version 2"), "{version2}");
        assert!(file("").is_err());
        // All that a link could do, and a file is needed.
        assert!(Source::read(format!("'magnet:?xt=urn:btih:{hash}'").into()).is_err());
        assert!(Source::read(hash.into()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_there_is_no_link_whatever_it_is_called() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let folder = tempfile::tempdir().unwrap();
        for name in [
            format!("x magnet:?xt=urn:btih:{hash}"),
            format!("\"magnet:?xt=urn:btih:{hash}\""),
        ] {
            // With a space in front of it, it is no part of a path.
            let path = folder.path().join("a b").join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = path.to_str().unwrap().to_owned();
            std::fs::write(&path, "").unwrap();
            let there = || Source::Path(path.clone());
            assert_eq!(Origin::read(text.clone().into()), Ok(Origin::File(there())));
            assert_eq!(Source::read(text.into()), Ok(there()));
        }
    }

    #[cfg(unix)]
    #[test]
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a few of the commands take paths"
    )]
    fn a_path_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt as _;
        let path = || OsString::from_vec(b"caf\xe9.torrent".to_vec());
        for command in [
            "download",
            "show",
            "magnet",
            "seed -d d",
            "verify -d d",
            "create",
        ] {
            let mut line: Vec<OsString> = vec!["anabranch".into()];
            line.extend(command.split(' ').map(OsString::from));
            line.push(path());
            let cli = Cli::try_parse_from(line).unwrap();
            let source = match (command, cli.command) {
                (_, Command::Download(download)) => download.sources[0].clone(),
                (_, Command::Show(show)) => show.source,
                (_, Command::Magnet(magnet)) => Origin::File(magnet.torrent),
                (_, Command::Seed(seed)) => Origin::File(seed.torrents[0].clone()),
                (_, Command::Verify(verify)) => Origin::File(verify.torrent),
                (_, Command::Create(create)) => Origin::File(Source::Path(create.path)),
                (command, _) => panic!("{command} is another command"),
            };
            assert_eq!(source, Origin::File(Source::Path(path().into())));
        }
    }
}
