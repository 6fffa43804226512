//! `anabranch download`: fetches torrents.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anabranch_core::Config;
use anabranch_core::command::{Priority, RateLimits, SeedGoal};
use anabranch_core::metainfo::{FileIndex, FileKind, Metainfo};
use anabranch_driver::storage::{FileName, Links, Preallocation, system_names};
use anabranch_driver::{AddOptions, DhtOptions};
use smol::future::block_on;

use super::{Known, left_out, read_origins, without_web_seeds};
use crate::args::{Contacts, Download, Network};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::losses::Losses;
use crate::output::{Event, Output};
use crate::select::{Case, Choice};
use crate::session::{self, Aim, Closed, End, Session, Task, Work};

pub(crate) fn run(args: &Download) -> Result<Exit, Failure> {
    let mut output = Output::new(args.json);
    let result = download(args, &mut output);
    output.clear();
    result
}

fn download(args: &Download, output: &mut Output) -> Result<Exit, Failure> {
    if !args.files.is_empty() && args.sources.len() > 1 {
        return Err(Failure::usage("--files needs a single SOURCE")
            .advise("run the command once for each torrent"));
    }
    if args.out.is_some() && args.sources.len() > 1 {
        return Err(Failure::usage("--out needs a single SOURCE")
            .advise("run the command once for each torrent"));
    }
    // Whatever is wrong with the input is told before anything is begun.
    let mut losses = Losses::new(args.sources.len());
    let mut plans = Vec::new();
    let choice = choice(args);
    let on = args.network.contacts.runtime;
    for known in read_origins(&args.sources, on, &mut losses, output)? {
        let (work, priorities, warnings) = match known {
            Known::Torrent(bytes, metainfo) => {
                let metainfo = Box::new(named(*metainfo, args.out.as_ref()));
                let priorities = match &choice {
                    Some(choice) => choice.priorities(&metainfo)?,
                    None => Vec::new(),
                };
                let web_seeds = metainfo.web_seeds().len() + metainfo.http_seeds().len();
                let warning = without_web_seeds(metainfo.name(), web_seeds);
                (Work::Torrent(bytes, metainfo), priorities, [warning, None])
            }
            Known::Link(mut magnet, surplus) => {
                // What the user says counts more than the link.
                if choice.is_some() {
                    magnet.select = None;
                }
                let hash = magnet.info_hash.to_string();
                let name = magnet.name.as_deref().unwrap_or(&hash);
                let warnings = [
                    left_out(&magnet, surplus),
                    without_web_seeds(name, magnet.web_seeds.len()),
                ];
                (Work::Link(magnet), Vec::new(), warnings)
            }
        };
        for message in warnings.into_iter().flatten() {
            output.tell(&Event::Warning { message })?;
        }
        plans.push((work, priorities));
    }
    refuse_collisions(plans.iter().filter_map(|(work, wanted)| match work {
        Work::Torrent(_, metainfo) => Some((&**metainfo, wanted.as_slice())),
        // What is in it will be known later.
        Work::Link(_) => None,
    }))?;
    if plans.is_empty() {
        return losses.verdict().map(|()| Exit::Done);
    }
    fs::create_dir_all(&args.dir).map_err(|error| Failure::io("create", &args.dir, &error))?;
    let dir = absolute(&args.dir)?;

    let private = |(work, _): &(Work, _)| match work {
        Work::Torrent(_, metainfo) => metainfo.is_private(),
        // What is in it will be known later.
        Work::Link(_) => false,
    };
    let private = plans.iter().all(private);
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
        session.seek_locally(!args.network.contacts.no_lsd);
        session.give_up_after(args.timeout);
        let mut options = AddOptions::new()
            .dir(&dir)
            .sequential(args.sequential)
            .preallocation(match args.preallocate {
                true => Preallocation::Full,
                false => Preallocation::Sparse,
            })
            .recheck(args.recheck)
            .overwrite(args.overwrite)
            .links(match args.follow_links {
                true => Links::Follow,
                false => Links::Refuse,
            });
        options.file_name.clone_from(&args.out);
        let result = async {
            for (work, priorities) in plans {
                session
                    .add(Task {
                        work,
                        save_torrent: args.save_torrent,
                        choice: choice.clone(),
                        options: options.clone().priorities(priorities),
                        peers: &args.network.contacts.peers,
                        trackers: &args.network.contacts.trackers(),
                        aim: aim(args),
                    })
                    .await?;
            }
            session.run(&signals).await
        }
        .await;
        // Whatever went wrong, what is there is saved.
        let closed = session.close().await;
        match (result?, closed?) {
            (
                End::Asked(exit),
                Closed {
                    complete: false, ..
                },
            ) => {
                output.advise("to go on from there, give the same command again");
                Ok(exit)
            }
            (End::Done | End::Asked(_), Closed { losses, .. }) => {
                losses.verdict().map(|()| Exit::Done)
            }
        }
    })
}

/// The engine's configuration for what the command line says.
pub(super) fn config(network: &Network) -> Config {
    let mut config = contacts_config(&network.contacts);
    config.limits = RateLimits {
        download: network.limit_down,
        upload: network.limit_up,
    };
    config
}

/// The same, as far as it is about finding peers.
pub(super) fn contacts_config(contacts: &Contacts) -> Config {
    let mut config = Config::default();
    config.transports = contacts.transports();
    config.pex = !contacts.no_pex;
    config.local_discovery = !contacts.no_lsd;
    if let Some(most) = contacts.max_peers {
        config.max_connections_per_torrent = most;
        config.max_connections = config.max_connections.max(most);
    }
    config.allow_local_trackers = contacts.allow_local_trackers;
    config
}

/// How the DHT is taken part in; not at all if nothing but private torrents would come of it.
pub(super) fn dht_options(contacts: &Contacts, private: bool) -> Option<DhtOptions> {
    let wanted = !contacts.no_dht && !private;
    wanted.then(|| super::dht::options(&contacts.dht, contacts.listening.is_inside()))
}

/// A folder's path that stays right whatever becomes of the current one.
pub(super) fn absolute(dir: &PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(dir).map_err(|error| Failure::io("find", dir, &error))
}

fn aim(args: &Download) -> Aim {
    if args.seed {
        return Aim::Seed;
    }
    match (args.ratio, args.seed_time) {
        (None, None) => Aim::Complete,
        (ratio_permille, time) => Aim::Goal(SeedGoal {
            ratio_permille,
            time,
        }),
    }
}

/// A torrent under the name that `--out` gives it.
pub(super) fn named(metainfo: Metainfo, out: Option<&FileName>) -> Metainfo {
    match out {
        Some(name) => metainfo.with_name(&name.to_text(), system_names()),
        None => metainfo,
    }
}

/// What `--files` says; none: everything.
fn choice(args: &Download) -> Option<Choice> {
    let case = match args.ignore_case {
        true => Case::Ignored,
        false => Case::Sensitive,
    };
    Choice::new(args.files.clone(), case)
}

/// Two torrents that write to one file would undo each other's work for ever.
fn refuse_collisions<'a>(
    plans: impl Iterator<Item = (&'a Metainfo, &'a [Priority])>,
) -> Result<(), Failure> {
    let mut owners = BTreeMap::new();
    for (metainfo, priorities) in plans {
        for (number, file) in (0_u32..).zip(metainfo.files()) {
            let skipped = priorities.get(number as usize) == Some(&Priority::Skip);
            if skipped || file.kind() != FileKind::Data {
                continue;
            }
            let Some(path) = metainfo.download_path(FileIndex::new(number)) else {
                continue;
            };
            if let Some(other) = owners.insert(path.to_string(), metainfo.info_hash())
                && other != metainfo.info_hash()
            {
                return Err(
                    Failure::usage(format!("two of the torrents have the file {path}"))
                        .advise("download them one by one, to different folders (--dir)"),
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anabranch_core::metainfo::{Creator, SourceFile};

    use super::*;

    fn folder(name: &str, files: &[&str]) -> Metainfo {
        let files = files.iter().map(|path| SourceFile {
            path: path.split('/').map(Into::into).collect(),
            length: 0,
        });
        Creator::multi_file(name, files)
            .finish(&[])
            .unwrap()
            .metainfo
    }

    fn collide(torrents: &[(&Metainfo, &[Priority])]) -> bool {
        refuse_collisions(torrents.iter().copied()).is_err()
    }

    #[test]
    fn torrents_that_would_write_to_one_file_are_refused() {
        let one = folder("t", &["a", "b"]);
        let two = folder("t", &["b", "c"]);
        let other = folder("u", &["a", "b"]);
        assert!(collide(&[(&one, &[]), (&two, &[])]));
        assert!(!collide(&[(&one, &[]), (&other, &[])]));
        assert!(!collide(&[
            (&one, &[Priority::Normal, Priority::Skip]),
            (&two, &[])
        ]));
    }
}
