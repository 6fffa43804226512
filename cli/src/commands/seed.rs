//! `anabranch seed`: offers what is there.

use std::fs;
use std::path::Path;

use anabranch_core::metainfo::{FileIndex, FileKind, Metainfo};
use anabranch_driver::AddOptions;
use smol::future::block_on;

use super::download::{absolute, config, dht_options};
use super::read_torrents;
use crate::args::Seed;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::losses::Losses;
use crate::output::Output;
use crate::session::{self, Aim, End, Session, Task, UNFIT_ADVICE, Work};

pub(crate) fn run(args: &Seed) -> Result<Exit, Failure> {
    let mut output = Output::new(args.json);
    let result = seed(args, &mut output);
    output.clear();
    result
}

fn seed(args: &Seed, output: &mut Output) -> Result<Exit, Failure> {
    let mut losses = Losses::new(args.torrents.len());
    let dir = absolute(&args.dir)?;
    // What is not there at all is found out at once, before anything is created or offered.
    let mut torrents = Vec::new();
    for (bytes, metainfo) in read_torrents(&args.torrents, &mut losses, output)? {
        match refuse_missing(&metainfo, &dir) {
            Ok(()) => torrents.push((bytes, metainfo)),
            Err(failure) => losses.add(metainfo.name(), failure, output)?,
        }
    }
    if torrents.is_empty() {
        return losses.verdict().map(|()| Exit::Done);
    }
    let private = torrents.iter().all(|(_, metainfo)| metainfo.is_private());
    let signals = interrupt::listen()?;
    let client = session::start(
        args.network.contacts.runtime,
        config(&args.network),
        dht_options(&args.network.contacts, private),
        args.network.contacts.listen,
        args.network.contacts.record.clone(),
    )?;
    // Not `smol::block_on`, which takes part in waiting for sockets: events would then have to be handed
    // over to the thread of the client, which waits for them, too.
    block_on(async {
        let mut session = Session::new(client, losses, output)?;
        let result = async {
            for (bytes, metainfo) in torrents {
                session
                    .add(Task {
                        work: Work::Torrent(bytes, Box::new(metainfo)),
                        save_torrent: false,
                        options: AddOptions {
                            dir: Some(dir.clone()),
                            recheck: args.recheck,
                            read_only: true,
                            ..AddOptions::default()
                        },
                        peers: &args.network.contacts.peers,
                        aim: Aim::SeedOnly,
                    })
                    .await?;
            }
            session.run(&signals).await
        }
        .await;
        let closed = session.close().await;
        match result? {
            // To end seeding is no failure.
            End::Done | End::Asked(_) => closed?.losses.verdict().map(|()| Exit::Done),
        }
    })
}

fn refuse_missing(metainfo: &Metainfo, dir: &Path) -> Result<(), Failure> {
    for (index, file) in (0..).map(FileIndex::new).zip(metainfo.files()) {
        let Some(path) = metainfo.download_path(index) else {
            continue;
        };
        if file.kind() != FileKind::Data {
            continue;
        }
        let found = fs::metadata(dir.join(path.as_str())).ok();
        let length = found.filter(fs::Metadata::is_file).map(|found| found.len());
        let why = match length {
            Some(length) if length >= file.length() => continue,
            Some(length) => format!("{path} has {length} of {} bytes", file.length()),
            None => format!("{path} is not there"),
        };
        let name = metainfo.name();
        return Err(Failure::incomplete(format!(
            "{name} is not complete in {}: {why}",
            dir.display()
        ))
        .advise(UNFIT_ADVICE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anabranch_core::metainfo::Creator;

    use super::*;

    #[test]
    fn what_is_missing_or_short_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let torrent = Creator::single_file("file", 3)
            .finish(&[0; 20])
            .unwrap()
            .metainfo;
        let failure = refuse_missing(&torrent, dir.path()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert!(failure.message().contains("not there"), "{failure}");
        fs::write(dir.path().join("file"), "12").unwrap();
        let failure = refuse_missing(&torrent, dir.path()).unwrap_err();
        assert!(failure.message().contains("2 of 3 bytes"), "{failure}");
        fs::write(dir.path().join("file"), "123").unwrap();
        assert!(refuse_missing(&torrent, dir.path()).is_ok());
    }
}
