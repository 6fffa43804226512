//! The commands, one module each.

mod completions;
mod create;
mod demo;
mod download;
mod man;
mod replay;
mod seed;
mod show;
#[cfg(feature = "simulate")]
mod simulate;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anabranch_core::metainfo::{Metainfo, limits};

use crate::args::{Command, Source};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Torrent};

/// Carries a command out, and tells why if it fails.
pub(crate) fn run(command: Command) -> Exit {
    let (json, result) = match command {
        Command::Download(args) => (args.json, download::run(&args)),
        Command::Seed(args) => (args.json, seed::run(&args)),
        Command::Create(args) => (args.json, create::run(&args)),
        Command::Show(args) => (args.json, show::run(&args)),
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

/// Reads torrent files, no torrent twice.
fn read_torrents(sources: &[Source]) -> Result<Vec<(Vec<u8>, Metainfo)>, Failure> {
    let mut seen = BTreeMap::new();
    let mut torrents = Vec::with_capacity(sources.len());
    for source in sources {
        let (bytes, metainfo) = read_torrent(source)?;
        if let Some(other) = seen.insert(metainfo.info_hash(), source) {
            return Err(Failure::usage(format!(
                "{} and {} are the same torrent",
                other.0.display(),
                source.0.display()
            ))
            .advise("give it once"));
        }
        torrents.push((bytes, metainfo));
    }
    Ok(torrents)
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
