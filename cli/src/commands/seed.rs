//! `anabranch seed`: offers what is there.

use std::fs;
use std::io;
use std::path::Path;

use anabranch_core::metainfo::Metainfo;
use anabranch_driver::AddOptions;
use anabranch_driver::storage::{FileName, Links, find_files};
use smol::future::block_on;

use super::download::{absolute, config, dht_options, named};
use super::read_torrents;
use super::verify::is_absent;
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
    if args.out.is_some() && args.torrents.len() > 1 {
        return Err(Failure::usage("--out needs a single TORRENT")
            .advise("run the command once for each torrent"));
    }
    let mut losses = Losses::new(args.torrents.len());
    let dir = absolute(&args.dir)?;
    let links = match args.follow_links {
        true => Links::Follow,
        false => Links::Inside,
    };
    // What is not there at all is found out at once, before anything is created or offered.
    let mut torrents = Vec::new();
    let on = args.network.contacts.runtime;
    for (bytes, metainfo) in read_torrents(&args.torrents, on, &mut losses, output)? {
        let metainfo = named(metainfo, args.out.as_ref());
        match refuse_missing(&metainfo, &dir, args.out.as_ref(), links) {
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
        &args.network.contacts.listening,
        args.network.contacts.record.clone(),
    )?;
    // Not `smol::block_on`, which takes part in waiting for sockets: events would then have to be handed
    // over to the thread of the client, which waits for them, too.
    block_on(async {
        let mut session = Session::new(client, losses, output)?;
        session.check_nodes(&args.network.contacts.dht.dht_nodes);
        let mut options = AddOptions::new()
            .dir(&dir)
            .recheck(args.recheck)
            .read_only(true)
            .links(links);
        options.file_name.clone_from(&args.out);
        let result = async {
            for (bytes, metainfo) in torrents {
                session
                    .add(Task {
                        work: Work::Torrent(bytes, Box::new(metainfo)),
                        save_torrent: false,
                        choice: None,
                        options: options.clone(),
                        peers: &args.network.contacts.peers,
                        trackers: &args.network.contacts.trackers(),
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

fn refuse_missing(
    metainfo: &Metainfo,
    dir: &Path,
    out: Option<&FileName>,
    links: Links,
) -> Result<(), Failure> {
    let places = find_files(dir, metainfo, out, links);
    for (file, place) in metainfo.files().iter().zip(places) {
        let Some(place) = place else {
            continue;
        };
        let path = place.strip_prefix(dir).unwrap_or(&place).display();
        let unreadable = |error: &io::Error| Failure::io("read", &place, error);
        let why = match fs::metadata(&place) {
            Ok(found) if !found.is_file() => format!("{path} is not a regular file"),
            Ok(found) if found.len() < file.length() => {
                format!("{path} has {} of {} bytes", found.len(), file.length())
            }
            // What may not be read is there, and may well be right.
            Ok(_) => match fs::File::open(&place) {
                Ok(_) => continue,
                Err(error) => return Err(unreadable(&error)),
            },
            Err(error) if is_absent(&error) => format!("{path} is not there"),
            Err(error) => return Err(unreadable(&error)),
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
        let failure = refuse_missing(&torrent, dir.path(), None, Links::Inside).unwrap_err();
        assert_eq!(failure.exit(), Exit::Incomplete);
        assert!(failure.message().contains("not there"), "{failure}");
        fs::write(dir.path().join("file"), "12").unwrap();
        let failure = refuse_missing(&torrent, dir.path(), None, Links::Inside).unwrap_err();
        assert!(failure.message().contains("2 of 3 bytes"), "{failure}");
        fs::remove_file(dir.path().join("file")).unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        let failure = refuse_missing(&torrent, dir.path(), None, Links::Inside).unwrap_err();
        assert!(
            failure.message().contains("not a regular file"),
            "{failure}"
        );
        fs::remove_dir(dir.path().join("file")).unwrap();
        fs::write(dir.path().join("file"), "123").unwrap();
        assert!(refuse_missing(&torrent, dir.path(), None, Links::Inside).is_ok());
    }
}
