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
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anabranch_core::metainfo::{InfoHash, Magnet, Metainfo, limits, torrent_file};

use crate::args::{Command, Origin, Source};
use crate::exit::{Exit, Failure};
use crate::losses::Losses;
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

/// Reads torrent files and links, no torrent twice. What cannot be read is lost, and keeps nothing else
/// from being read.
fn read_origins(
    origins: &[Origin],
    losses: &mut Losses,
    output: &mut Output,
) -> Result<Vec<Known>, Failure> {
    let read = origins.iter().map(|origin| match origin {
        Origin::File(source) => {
            let name = source.0.display().to_string();
            let known = read_torrent(source)
                .map(|(bytes, metainfo)| Known::Torrent(bytes, Box::new(metainfo)));
            (name, known)
        }
        Origin::Magnet(magnet) => (magnet.to_string(), Ok(Known::Link(magnet.clone()))),
    });
    let mut seen = BTreeMap::new();
    let mut torrents = Vec::with_capacity(origins.len());
    for (name, known) in read {
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
    losses: &mut Losses,
    output: &mut Output,
) -> Result<Vec<(Vec<u8>, Metainfo)>, Failure> {
    let origins: Vec<Origin> = sources.iter().cloned().map(Origin::File).collect();
    let known = read_origins(&origins, losses, output)?.into_iter();
    let torrents = known.filter_map(|known| match known {
        Known::Torrent(bytes, metainfo) => Some((bytes, *metainfo)),
        Known::Link(_) => None,
    });
    Ok(torrents.collect())
}

/// Saves a torrent file that was fetched from peers under its name, and says where. One that is there
/// already is left alone.
pub(crate) fn save_torrent(metainfo: &Metainfo, dir: &Path) -> Result<PathBuf, Failure> {
    let bytes = torrent_file(
        metainfo.info_bytes(),
        metainfo.trackers(),
        metainfo.web_seeds(),
    );
    // The name is safe as that of a file, and shortened so that there is room behind it.
    let path = dir.join(format!("{}.torrent", metainfo.name()));
    let created = File::options().write(true).create_new(true).open(&path);
    match created.and_then(|mut file| file.write_all(&bytes)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        result => result.map_err(|error| Failure::io("save", &path, &error))?,
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
    Ok((bytes, metainfo))
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
