//! The commands, one module each.

mod completions;
mod create;
mod man;
mod show;
mod verify;

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
        Command::Download(_) | Command::Seed(_) | Command::Demo(_) => todo!(),
        Command::Create(args) => (args.json, create::run(&args)),
        Command::Show(args) => (args.json, show::run(&args)),
        Command::Verify(args) => (args.json, verify::run(&args)),
        Command::Completions(args) => (false, completions::run(&args)),
        Command::Man(_) => (false, man::run()),
    };
    result.unwrap_or_else(|failure| {
        Output::new(json).fail(&failure);
        failure.exit()
    })
}

/// Reads a torrent file.
fn read_torrent(source: &Source) -> Result<Metainfo, Failure> {
    let path = source.0.as_path();
    let unusable = |why: String| {
        Failure::new(format!("{} is not a usable torrent: {why}", path.display()))
            .advise("check that it is a .torrent file, or fetch it again")
    };
    let bytes = read_bounded(path)?;
    let metainfo = Metainfo::parse(bytes.into()).map_err(|error| unusable(error.to_string()))?;
    Ok(metainfo)
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
