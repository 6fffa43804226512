//! The command line.

mod dht;
mod network;
mod parse;
mod path;
#[cfg(feature = "simulate")]
mod simulate;
mod source;

use std::path::PathBuf;
use std::time::Duration;

use anabranch_driver::storage::FileName;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use self::network::{parse_trackers, parse_web_seeds};
use self::path::{file_name, path};
use self::source::{origin, source};
use crate::exit;
use crate::runtime::Choice;
use crate::select::FileList;
use crate::units::{parse_duration, parse_piece_length, parse_ratio, parse_size};

pub(crate) use self::dht::{
    Dht, DhtCommand, DhtCommon, DhtGet, DhtGetPeers, DhtNode, DhtPing, DhtPut, ItemId, parse_key,
};
pub(crate) use self::network::{Contacts, DhtNetwork, Listening, Network, PeerAddress, Urls};
#[cfg(feature = "simulate")]
pub(crate) use self::simulate::Simulate;
pub(crate) use self::source::{Origin, Source, link_in_file};

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
    /// Torrent files, their http:// or https:// URLs, magnet links, and info-hashes; `-` is a torrent file or a
    /// link on standard input, and a file may hold a link as well. Quote a link: shells take its `&` for
    /// something else.
    #[arg(required = true, value_name = "SOURCE", value_parser = origin(), value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<Origin>,

    /// The folder to download to; created if it is not there.
    #[arg(long, short = 'd', value_name = "DIR", default_value = ".", value_parser = path(), value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// The name of its file or folder on the disk, in place of the torrent's own. Needs a single SOURCE, and
    /// has to be given whenever the torrent is.
    #[arg(long, value_name = "NAME", value_parser = file_name())]
    pub(crate) out: Option<FileName>,

    #[command(flatten)]
    pub(crate) network: Network,

    /// Which files: numbers as `anabranch show` prints them, ranges, names and patterns, such as
    /// `1,3-5,*.txt`; with ! before it, what is not wanted, such as `!*sample*`. May be given several
    /// times; a comma in a name is `\,` unless the name is all of LIST. A file that is called `1` is meant before
    /// the first one, whose number is then `+1`. Needs a single SOURCE.
    #[arg(long, short = 'f', value_name = "LIST", value_parser = OsStringValueParser::new().try_map(FileList::read))]
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
    #[arg(long, value_name = "NAME", value_parser = file_name())]
    pub(crate) out: Option<FileName>,

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
    #[arg(long, short = 'c', value_name = "S", allow_hyphen_values = true)]
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
    /// The torrent file, its http:// or https:// URL, magnet link or info-hash; `-` is a torrent file or a
    /// link on standard input, and a file may hold a link as well.
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
    #[arg(long, value_name = "NAME", value_parser = file_name())]
    pub(crate) out: Option<FileName>,

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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use anabranch_driver::engine::Transports;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::dht::parse_item_id;
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
    fn what_is_recorded_goes_by_tcp_unless_it_is_said_otherwise() {
        for (words, expected) in [
            ("", Transports::Both),
            ("--transport utp", Transports::Utp),
            ("--record run.rec", Transports::Tcp),
            ("--record run.rec --transport both", Transports::Both),
        ] {
            let Ok(Command::Download(download)) =
                parse(&format!("anabranch download a.torrent {words}"))
            else {
                panic!("not a download: {words}");
            };
            assert_eq!(download.network.contacts.transports(), expected, "{words}");
        }
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
            (
                "anabranch download a --files +0",
                ErrorKind::ValueValidation,
            ),
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

    #[test]
    fn a_tilde_that_the_shell_left_there_is_no_folder() {
        for line in [
            "download a.torrent --dir=~/x",
            "seed a.torrent --dir ~",
            "create ~me/x",
            "create x -o ~/x.torrent",
            "dht stats --dht-state ~/x",
            "verify a.torrent -d ~/x",
            "show ~/x.torrent",
            "magnet ~/x.torrent",
            "download a.torrent ~/x.torrent",
        ] {
            let refused = parse(&format!("anabranch {line}")).unwrap_err();
            assert_eq!(refused, ErrorKind::ValueValidation, "{line}");
        }
        assert!(parse("anabranch download a.torrent --dir ./~/x").is_ok());
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
