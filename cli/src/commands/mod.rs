//! The commands, one module each.

mod completions;
mod create;
mod demo;
mod dht;
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
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anabranch_core::metainfo::{InfoHash, Magnet, Metainfo, limits, torrent_file};
use anabranch_driver::storage::system_names;

use crate::args::{Command, Origin, Source};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Torrent};

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
    Torrent(Vec<u8>, Box<Metainfo>),
    /// Its magnet link.
    Link(Box<Magnet>),
}

impl Known {
    fn info_hash(&self) -> InfoHash {
        match self {
            Self::Torrent(_, metainfo) => metainfo.info_hash(),
            Self::Link(magnet) => magnet.info_hash,
        }
    }
}

/// Reads torrent files and links, no torrent twice.
fn read_origins(origins: &[Origin]) -> Result<Vec<Known>, Failure> {
    let read = origins.iter().map(|origin| match origin {
        Origin::File(source) => {
            let (bytes, metainfo) = read_torrent(source)?;
            let name = source.0.display().to_string();
            Ok((name, Known::Torrent(bytes, Box::new(metainfo))))
        }
        Origin::Magnet(magnet) => Ok((magnet.to_string(), Known::Link(magnet.clone()))),
    });
    let mut seen = BTreeMap::new();
    let mut torrents = Vec::with_capacity(origins.len());
    for read in read {
        let (name, known) = read?;
        if let Some(other) = seen.insert(known.info_hash(), name.clone()) {
            let message = format!("{other} and {name} are the same torrent");
            return Err(Failure::usage(message).advise("give it once"));
        }
        torrents.push(known);
    }
    Ok(torrents)
}

/// Reads torrent files, no torrent twice.
fn read_torrents(sources: &[Source]) -> Result<Vec<(Vec<u8>, Metainfo)>, Failure> {
    let origins: Vec<Origin> = sources.iter().cloned().map(Origin::File).collect();
    let known = read_origins(&origins)?.into_iter();
    let torrents = known.filter_map(|known| match known {
        Known::Torrent(bytes, metainfo) => Some((bytes, *metainfo)),
        Known::Link(_) => None,
    });
    Ok(torrents.collect())
}

/// Saves a torrent file that was fetched from peers under its name, and says where. One that is there
/// already is left alone; where something else has the name, the info-hash is added to it.
pub(crate) fn save_torrent(metainfo: &Metainfo, dir: &Path) -> Result<PathBuf, Failure> {
    let bytes = torrent_file(
        metainfo.info_bytes(),
        metainfo.trackers(),
        metainfo.web_seeds(),
    );
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
                let there = there.and_then(|bytes| Metainfo::parse(bytes.into()).ok());
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

/// Reads a torrent file.
fn read_torrent(source: &Source) -> Result<(Vec<u8>, Metainfo), Failure> {
    let path = source.0.as_path();
    let bytes = read_bounded(path)?;
    let metainfo = Metainfo::parse(bytes.clone().into()).map_err(|error| {
        Failure::new(format!(
            "{} is not a usable torrent: {error}",
            path.display()
        ))
        .advise("check that it is a .torrent file, or fetch it again")
    })?;
    Ok((bytes, metainfo.with_names(system_names())))
}

/// Reads a file, but not much more of it than a torrent may have, whatever it is.
fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path, &error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(limits::MAX_TORRENT_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn torrent(metainfo: &Metainfo) -> Torrent {
    Torrent {
        info_hash: metainfo.info_hash().to_string(),
        name: metainfo.name().to_owned(),
    }
}
