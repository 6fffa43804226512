//! The commands, one module each.

mod completions;
mod create;
mod demo;
pub(crate) mod dht;
mod download;
mod magnet;
mod man;
mod replay;
mod seed;
mod show;
#[cfg(feature = "simulate")]
mod simulate;
mod verify;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anabranch_core::limits::MAX_TRACKERS;
use anabranch_core::metainfo::magnet::{MAX_MAGNET_LEN, Surplus, is_magnet};
use anabranch_core::metainfo::{
    InfoHash, Magnet, Metainfo, MetainfoError, ParseMagnetError, limits,
};
use anabranch_driver::storage::system_names;
use bytes::Bytes;

use crate::args::{Command, Origin, Source, link_in_file};
use crate::exit::{Exit, Failure};
use crate::losses::Losses;
use crate::output::{Output, Torrent, eprint_line, lines::plural, text::printable, text::reason};
use crate::runtime::Choice;
use crate::units;

/// Carries a command out, and tells why if it fails.
pub(crate) fn run(command: Command) -> Exit {
    let (json, result) = match command {
        Command::Download(args) => (args.json, download::run(&args)),
        Command::Seed(args) => (args.json, seed::run(&args)),
        Command::Create(args) => (args.json, create::run(&args)),
        Command::Show(args) => (args.json, show::run(&args)),
        Command::Magnet(args) => (false, magnet::run(&args)),
        Command::Dht(args) => (dht::is_json(&args), dht::run(&args)),
        Command::Verify(args) => (args.json, verify::run(&args)),
        Command::Replay(args) => (args.json, replay::run(&args)),
        Command::Demo(args) => (false, demo::run(&args)),
        #[cfg(feature = "simulate")]
        Command::Simulate(args) => (args.json, simulate::run(&args)),
        Command::Completions(args) => (false, completions::run(&args)),
        Command::Man(_) => (false, man::run()),
    };
    result.unwrap_or_else(|failure| {
        Output::new(json).fail(&failure);
        failure.exit()
    })
}

/// What is known of a torrent before anything is begun.
enum Known {
    /// Its file, and what that says.
    Torrent(Bytes, Box<Metainfo>),
    /// Its magnet link, and what of it was left out.
    Link(Box<Magnet>, Surplus),
}

impl Known {
    fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(_, metainfo) => metainfo.info_hash(),
            Self::Link(magnet, _) => magnet.info_hash,
        }
    }
}

/// Reads torrent files and links, no torrent twice. Those on the web are fetched over a runtime. What cannot
/// be read is lost, and keeps nothing else from being read.
fn read_origins(
    origins: &[Origin],
    on: Choice,
    losses: &mut Losses,
    output: &mut Output,
) -> Result<Vec<Known>, Failure> {
    read_each(origins, |source| read_known(source, on), losses, output)
}

/// As [`read_origins`], of files as `read` reads them.
fn read_each(
    origins: &[Origin],
    read: impl Fn(&Source) -> Result<Known, Failure>,
    losses: &mut Losses,
    output: &mut Output,
) -> Result<Vec<Known>, Failure> {
    let is_stdin = |origin: &&Origin| matches!(origin, Origin::File(Source::Stdin));
    let from_stdin = origins.iter().filter(is_stdin).count();
    if from_stdin > 1 {
        return Err(Failure::usage("standard input (-) can be read only once"));
    }
    if from_stdin > 0 && origins.len() > 1 && std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("`-` is standard input, and that is the terminal here")
                .advise("leave the `-` out if it belongs to a list, or else redirect a file to it"),
        );
    }
    let known = origins.iter().map(|origin| match origin {
        Origin::File(source) => (source.to_string(), read(source)),
        Origin::Magnet(magnet, surplus) => {
            let known = Known::Link(magnet.clone(), *surplus);
            (magnet.to_string(), Ok(known))
        }
    });
    let mut seen = BTreeMap::new();
    let mut torrents = Vec::with_capacity(origins.len());
    for (name, known) in known {
        let known = match known {
            Ok(known) => known,
            Err(failure) => {
                losses.add(name, failure, output)?;
                continue;
            }
        };
        if let Some(other) = seen.insert(known.info_hash(), name.clone()) {
            let message = format!("{other} and {name} are the same torrent");
            return Err(Failure::usage(message).advise("give it once"));
        }
        torrents.push(known);
    }
    Ok(torrents)
}

/// As [`read_origins`], of files alone.
fn read_torrents(
    sources: &[Source],
    on: Choice,
    losses: &mut Losses,
    output: &mut Output,
) -> Result<Vec<(Bytes, Metainfo)>, Failure> {
    let origins: Vec<Origin> = sources.iter().cloned().map(Origin::File).collect();
    let read = |source: &Source| {
        read_torrent(source, on).map(|(bytes, metainfo)| Known::Torrent(bytes, Box::new(metainfo)))
    };
    let known = read_each(&origins, read, losses, output)?.into_iter();
    let torrents = known.filter_map(|known| match known {
        Known::Torrent(bytes, metainfo) => Some((bytes, *metainfo)),
        Known::Link(..) => None,
    });
    Ok(torrents.collect())
}

/// What of a link is not used, in words.
fn left_out(magnet: &Magnet, surplus: Surplus) -> Option<String> {
    let name = magnet
        .name
        .clone()
        .unwrap_or_else(|| magnet.info_hash.to_string());
    let trackers = magnet.trackers.len() + surplus.trackers;
    if trackers > MAX_TRACKERS {
        return Some(format!(
            "{name}: the link names {trackers} trackers; the first {MAX_TRACKERS} are used"
        ));
    }
    (surplus.bytes > 0).then(|| {
        format!(
            "{name}: the link is too long; its last {} bytes are left out",
            surplus.bytes
        )
    })
}

/// That web seeds are not used, in words.
fn without_web_seeds(name: &str, count: usize) -> Option<String> {
    (count > 0).then(|| {
        let seeds = plural(count as u64, "web seed", "web seeds");
        format!("{name}: its {seeds} cannot be used yet; all data comes from peers")
    })
}

/// Saves a torrent file that was fetched from peers under its name, and says where. One that is there
/// already is left alone; where something else has the name, the info-hash is added to it.
pub(crate) fn save_torrent(metainfo: &Metainfo, dir: &Path) -> Result<PathBuf, Failure> {
    let bytes = metainfo.torrent_file();
    // The name is safe as that of a file; there must be room behind it.
    let name = metainfo.name();
    let name = &name[..name.floor_char_boundary(limits::MAX_COMPONENT_LEN)];
    let info_hash = metainfo.info_hash();
    let short = &name[..name.floor_char_boundary(limits::MAX_COMPONENT_LEN / 2)];
    let mut path = dir.join(format!("{name}.torrent"));
    for other in [Some(format!("{short}.{info_hash}.torrent")), None] {
        let created = File::options().write(true).create_new(true).open(&path);
        match (created.and_then(|mut file| file.write_all(&bytes)), other) {
            (Err(error), other) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                // A pipe would be waited for.
                let is_file = std::fs::metadata(&path).is_ok_and(|there| there.is_file());
                let there = is_file.then(|| read_bounded(&path).ok()).flatten();
                let there = there.and_then(|bytes| Metainfo::parse(bytes).ok());
                match (there, other) {
                    (Some(there), _) if there.info_hash() == info_hash => break,
                    (_, Some(other)) => path = dir.join(other),
                    (_, None) => return Err(Failure::io("save", &path, &error)),
                }
            }
            (result, _) => {
                result.map_err(|error| Failure::io("save", &path, &error))?;
                break;
            }
        }
    }
    Ok(path)
}

/// How long may be waited without a word.
const SILENCE: Duration = Duration::from_secs(1);

/// Tells what is waited for if the result is not dropped soon: a pipe, or a folder on the network, may have nothing to
/// give for long.
fn tell_if_slow(text: String) -> Option<mpsc::Sender<()>> {
    let (done, wait) = mpsc::channel::<()>();
    let tell = move || {
        if wait.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
            eprint_line(&printable(&text));
        }
    };
    // Without a thread for it, it is only not told.
    thread::Builder::new().spawn(tell).ok().map(|_| done)
}

/// Reads a torrent file, or a file that holds a link.
fn read_known(source: &Source, on: Choice) -> Result<Known, Failure> {
    let bytes = read_source(source, on)?;
    match link_in_file(&bytes) {
        Ok(Some((magnet, surplus))) => Ok(Known::Link(magnet, surplus)),
        Ok(None) => parse_torrent(source, bytes)
            .map(|(bytes, metainfo)| Known::Torrent(bytes, Box::new(metainfo))),
        Err(error) => {
            let message = format!("the magnet link in {source} cannot be used: {error}");
            Err(
                Failure::new(message).advise(if error == ParseMagnetError::Version2 {
                    VERSION_2
                } else if error == ParseMagnetError::Several {
                    "leave one link in it"
                } else {
                    "copy the link again, all of it"
                }),
            )
        }
    }
}

/// Reads a torrent file, over a runtime if it is on the web.
fn read_torrent(source: &Source, on: Choice) -> Result<(Bytes, Metainfo), Failure> {
    parse_torrent(source, read_source(source, on)?)
}

fn parse_torrent(source: &Source, bytes: Bytes) -> Result<(Bytes, Metainfo), Failure> {
    let metainfo =
        Metainfo::parse(bytes.clone()).map_err(|error| refusal(source, &bytes, &error))?;
    Ok((bytes, metainfo.with_names(system_names())))
}

/// What is in a source, as far as a torrent file may reach.
fn read_source(source: &Source, on: Choice) -> Result<Bytes, Failure> {
    Ok(match source {
        Source::Path(path) => {
            let _told = tell_if_slow(format!("reading {source}"));
            read_bounded(path)?
        }
        Source::Url(url) => {
            eprint_line(&format!("fetching {}", printable(url)));
            on.fetch_torrent(url)?
        }
        Source::Stdin => {
            let _told = tell_if_slow("waiting for a torrent on standard input".to_owned());
            read_stdin()?
        }
    })
}

/// What can be done about a torrent of version 2 alone.
const VERSION_2: &str = "take one of version 1, or a hybrid, from where it came from";

/// Why something cannot be used as a torrent. Where it breaks off is of interest in a file that begins as one; of what
/// is none at all, the parser has nothing to say to anybody.
fn refusal(source: &Source, bytes: &[u8], error: &MetainfoError) -> Failure {
    let is_close = bytes.trim_ascii_start().first() == Some(&b'd');
    if matches!(error, MetainfoError::UnsupportedVersion { .. }) {
        return Failure::new(format!("{source} cannot be used: {error}")).advise(VERSION_2);
    }
    let message = if is_close && !matches!(error, MetainfoError::Bencode(_)) {
        format!("{source} is not a usable torrent: {error}")
    } else if is_close {
        // Its words begin with that this is no torrent.
        let place = error
            .source()
            .map_or_else(String::new, |place| format!(": {place}"));
        format!("{source} is damaged{place}")
    } else {
        format!("{source} is no torrent file")
    };
    let is_empty_stdin = bytes.is_empty() && *source == Source::Stdin;
    Failure::new(message).advise(match is_empty_stdin {
        true => "it is empty; redirect a torrent file or a link to it, or leave the `-` out",
        false => meant(bytes),
    })
}

/// What to do about something that is no torrent, by what it looks like.
fn meant(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    if let Some(advice) = packer(text) {
        return advice;
    }
    match text.first() {
        None => "it is empty; fetch it again",
        Some(b'<') => {
            "it is a web page, which may say why; look at the address in a browser, and save the \
             .torrent file there"
        }
        Some(b'd') => {
            "get it again from where it came from; this one is damaged, or was made wrong"
        }
        Some(_) if is_magnet_file(text) => {
            "it holds a magnet link; `anabranch show --save-torrent` fetches the .torrent file of that"
        }
        Some(_) => "give the .torrent file, and not what it was made of",
    }
}

/// What to do about a packed file.
fn packer(bytes: &[u8]) -> Option<&'static str> {
    let packers: [(&[u8], _); 5] = [
        (
            b"\x1f\x8b",
            "it is packed with gzip; unpack it first (gunzip)",
        ),
        (
            b"PK\x03\x04",
            "it is a zip archive; unpack it first (unzip)",
        ),
        (
            b"\xfd7zXZ\0",
            "it is packed with xz; unpack it first (unxz)",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "it is packed with zstd; unpack it first (unzstd)",
        ),
        (b"BZh", "it is packed with bzip2; unpack it first (bunzip2)"),
    ];
    let found = packers.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, advice)| *advice)
}

fn is_magnet_file(text: &[u8]) -> bool {
    let start = &text[..text.len().min(MAX_MAGNET_LEN)];
    is_magnet(&String::from_utf8_lossy(start))
}

/// Reads a file, but not much more of it than a torrent may have, whatever it is.
fn read_bounded(path: &Path) -> Result<Bytes, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let name = path.display().to_string();
    if metadata.is_dir() {
        return Err(
            Failure::new(format!("{name} is a folder, and no torrent file"))
                .advise("give the .torrent file; `anabranch create` makes one of a folder"),
        );
    }
    if metadata.is_file() && metadata.len() > limits::MAX_TORRENT_LEN as u64 {
        return Err(too_long(&name, Some(metadata.len())));
    }
    read_most(file, &name, |error| Failure::io("read", path, &error))
}

fn read_stdin() -> Result<Bytes, Failure> {
    read_most(std::io::stdin().lock(), "standard input", |error| {
        Failure::new(format!("cannot read standard input: {}", reason(&error)))
    })
}

fn read_most(
    from: impl Read,
    name: &str,
    failed: impl Fn(std::io::Error) -> Failure,
) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    from.take(limits::MAX_TORRENT_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > limits::MAX_TORRENT_LEN {
        return Err(too_long(name, None));
    }
    Ok(bytes.into())
}

fn too_long(name: &str, len: Option<u64>) -> Failure {
    let most = units::exact_size(limits::MAX_TORRENT_LEN as u64);
    let message = match len {
        Some(len) => format!(
            "{name} is no torrent file: it has {}, and torrent files have {most} at most",
            units::size(len)
        ),
        None => format!("{name} is no torrent file: it has more than {most}"),
    };
    Failure::new(message).advise("give the .torrent file, and not what it was made of")
}

fn torrent(metainfo: &Metainfo) -> Torrent {
    Torrent {
        info_hash: metainfo.info_hash().to_string(),
        name: metainfo.name().to_owned(),
    }
}
