//! The two sides of a transfer: a client that has everything, and one that has nothing yet.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anabranch_tests::clients::{ALONE, Anabranch, Aria2, Libtorrent, Rqbit, Transmission};
use anabranch_tests::process::{Process, Stream};
use anabranch_tests::{Scratch, address};

use crate::contestant::{Contestant, TRANSMISSION_CACHE};
use crate::stage::{FILE, Stage};

/// Why a client that only makes torrents has no part in a transfer.
const NO_TRANSFER: &str = "left out: it transfers nothing";

/// A client that has everything.
#[derive(Debug)]
pub(crate) enum Seeder {
    Anabranch(Anabranch),
    Aria2(Aria2),
    Libtorrent(Libtorrent),
    Rqbit(Rqbit),
    Transmission(Transmission),
}

impl Seeder {
    /// Starts it and waits until it has checked its data and is ready. It dials `peers`. `number` tells
    /// it from others of its kind.
    pub(crate) fn start(
        stage: &Stage,
        scratch: &Scratch,
        contestant: Contestant,
        number: usize,
        peers: &[SocketAddr],
    ) -> Result<Self, String> {
        let (torrent, folder) = (&stage.torrent, stage.seeds());
        Ok(match contestant {
            Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
                let build = stage.build(contestant);
                let extra = arguments(contestant, peers);
                let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
                // Each works on files of its own, by name: one process at a time has those of a folder.
                let own = scratch.folder(&format!("seed-{number}"));
                let file = own.join(FILE);
                if !file.exists() {
                    std::fs::hard_link(folder.join(FILE), &file)
                        .map_err(|error| format!("{}: {error}", file.display()))?;
                }
                let seed = Anabranch::start_build(build, scratch, "seed", torrent, &own, &extra);
                seed.wait_complete();
                Self::Anabranch(seed)
            }
            Contestant::Aria2 => {
                stage.tracker.introduce(peers);
                Self::Aria2(Aria2::seed(scratch, &stage.tracked, &folder))
            }
            Contestant::Libtorrent => {
                let mut seed = Libtorrent::seed_at(&own_address(number), torrent, &folder);
                for peer in peers {
                    seed.connect(*peer);
                }
                Self::Libtorrent(seed)
            }
            Contestant::Rqbit => {
                // It dials on its own account only while it downloads.
                if !peers.is_empty() {
                    return Err("left out: it dials nobody while it seeds".into());
                }
                Self::Rqbit(Rqbit::seed(scratch, torrent, &folder))
            }
            Contestant::Transmission => {
                let seed = Transmission::start_with_cache(scratch, &folder, TRANSMISSION_CACHE);
                seed.seed(torrent);
                Self::Transmission(seed)
            }
            Contestant::Mktorrent => return Err(NO_TRANSFER.into()),
        })
    }

    /// Makes one that can be told so while it runs dial a peer.
    pub(crate) fn connect(&mut self, peer: SocketAddr) {
        match self {
            Self::Libtorrent(seed) => seed.connect(peer),
            Self::Anabranch(_) | Self::Aria2(_) | Self::Rqbit(_) | Self::Transmission(_) => {}
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Anabranch(seed) => seed.address(),
            Self::Aria2(seed) => seed.address(),
            Self::Libtorrent(seed) => seed.address(),
            Self::Rqbit(seed) => seed.address(),
            Self::Transmission(seed) => seed.address(),
        }
    }

    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(seed) => seed.process(),
            Self::Aria2(seed) => seed.process(),
            Self::Libtorrent(seed) => seed.process(),
            Self::Rqbit(seed) => seed.process(),
            Self::Transmission(seed) => seed.process(),
        }
    }
}

/// A client that has nothing yet.
#[derive(Debug)]
pub(crate) enum Leecher {
    Anabranch(Anabranch),
    Aria2(Process),
    Libtorrent(Libtorrent),
    Rqbit(Rqbit),
    Transmission(Transmission),
}

impl Leecher {
    /// Starts to download from `peers`; one that has to be dialled ignores them. `number` tells it from
    /// others of its kind.
    pub(crate) fn start(
        stage: &Stage,
        scratch: &Scratch,
        contestant: Contestant,
        number: usize,
        folder: &Path,
        peers: &[SocketAddr],
    ) -> Result<Self, String> {
        let torrent = &stage.torrent;
        Ok(match contestant {
            Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
                let build = stage.build(contestant);
                let extra = arguments(contestant, peers);
                let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
                let verb = "download";
                Self::Anabranch(Anabranch::start_build(
                    build, scratch, verb, torrent, folder, &extra,
                ))
            }
            Contestant::Aria2 => {
                stage.tracker.introduce(peers);
                let end = ["--seed-time=0"];
                Self::Aria2(Aria2::run(scratch, &stage.tracked, folder, &end))
            }
            Contestant::Libtorrent => {
                let address = own_address(number);
                Self::Libtorrent(Libtorrent::download_at(&address, torrent, folder, peers))
            }
            Contestant::Rqbit => Self::Rqbit(Rqbit::download(scratch, torrent, folder, peers)),
            Contestant::Transmission => {
                let leech = Transmission::start_with_cache(scratch, folder, TRANSMISSION_CACHE);
                leech.download(torrent);
                Self::Transmission(leech)
            }
            Contestant::Mktorrent => return Err(NO_TRANSFER.into()),
        })
    }

    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(leech) => leech.process(),
            Self::Aria2(leech) => leech,
            Self::Libtorrent(leech) => leech.process(),
            Self::Rqbit(leech) => leech.process(),
            Self::Transmission(leech) => leech.process(),
        }
    }

    /// Where one that waits to be dialled can be.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) | Self::Libtorrent(_) | Self::Rqbit(_) => None,
            Self::Transmission(leech) => Some(leech.address()),
        }
    }

    /// Whether it has said that every byte is there.
    pub(crate) fn is_complete(&self, stage: &Stage) -> bool {
        match self {
            Self::Anabranch(leech) => !leech.events("completed").is_empty(),
            Self::Aria2(leech) => {
                let lines = leech.lines(Stream::Out);
                lines.iter().any(|line| line.contains("Download complete"))
            }
            Self::Libtorrent(leech) => leech.is_complete(),
            Self::Rqbit(leech) => leech.is_complete(),
            Self::Transmission(leech) => leech.is_complete(&stage.torrent),
        }
    }

    /// How often to look at it. Asking costs it processor time where it is a request.
    pub(crate) const fn interval(&self) -> Duration {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) | Self::Libtorrent(_) | Self::Rqbit(_) => {
                Duration::from_millis(5)
            }
            Self::Transmission(_) => Duration::from_millis(50),
        }
    }

    /// Whether it ends when it is complete.
    pub(crate) const fn ends_by_itself(&self) -> bool {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) | Self::Rqbit(_) => true,
            Self::Libtorrent(_) | Self::Transmission(_) => false,
        }
    }

    /// Waits for its end, or brings it about.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self {
            Self::Anabranch(leech) => {
                leech.finish();
            }
            Self::Aria2(leech) => {
                let exit = leech.wait_exit();
                if !exit.status.success() {
                    return Err(format!("failed: {}\n{}", exit.status, exit.stdout));
                }
            }
            Self::Libtorrent(_) => {}
            Self::Rqbit(leech) => leech.finish()?,
            // Its cache may hold the last blocks.
            Self::Transmission(leech) => leech.stop(),
        }
        Ok(())
    }
}

fn arguments(contestant: Contestant, peers: &[SocketAddr]) -> Vec<String> {
    let own = ALONE.iter().chain(contestant.arguments());
    own.map(ToString::to_string)
        .chain(peers.iter().map(|peer| format!("--peer={peer}")))
        .collect()
}

/// Transmission keeps one peer an address, so libtorrent, which can, has one of its own for each.
fn own_address(number: usize) -> String {
    match number {
        0 => address::LIBTORRENT.into(),
        number => format!("127.0.1.{number}"),
    }
}
