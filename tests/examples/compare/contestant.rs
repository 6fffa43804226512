//! The clients, as seeders and as leechers, each with its own defaults wherever speed depends on
//! them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anabranch_tests::Scratch;
use anabranch_tests::clients::{Anabranch, Aria2, Client, Clients, Libtorrent, Transmission};
use anabranch_tests::process::{Process, Stream};

use crate::stage::Stage;

/// What `cache-size-mb` is in a Transmission that nobody configured.
pub(crate) const TRANSMISSION_CACHE: u32 = 4;

/// A client to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Anabranch,
    Baseline,
    Aria2,
    Libtorrent,
    Transmission,
}

impl Contestant {
    /// Ours first: ratios are to the first.
    pub(crate) const ALL: [Self; 5] = [
        Self::Anabranch,
        Self::Baseline,
        Self::Aria2,
        Self::Libtorrent,
        Self::Transmission,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anabranch => "anabranch",
            Self::Baseline => "baseline",
            Self::Aria2 => "aria2",
            Self::Libtorrent => "libtorrent",
            Self::Transmission => "transmission",
        }
    }

    pub(crate) fn missing_package(self) -> Option<&'static str> {
        let client = match self {
            Self::Anabranch | Self::Baseline => return None,
            Self::Aria2 => Client::Aria2,
            Self::Libtorrent => Client::Libtorrent,
            Self::Transmission => Client::Transmission,
        };
        let missing = Clients::find().missing().contains(&client);
        missing.then(|| client.package())
    }

    pub(crate) fn version(self, stage: &Stage) -> String {
        let mut command = match self {
            Self::Anabranch | Self::Baseline => Command::new(stage.build(self)),
            Self::Aria2 => Command::new("aria2c"),
            Self::Libtorrent => return Libtorrent::version(),
            Self::Transmission => Command::new("transmission-daemon"),
        };
        let Ok(output) = command.arg("--version").output() else {
            return "of an unknown version".into();
        };
        // Transmission's goes to standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Whether others have to connect to it: it neither takes a peer by hand nor dials one on
    /// loopback.
    pub(crate) const fn waits_to_be_dialled(self) -> bool {
        matches!(self, Self::Transmission)
    }
}

/// A client that has everything.
#[derive(Debug)]
pub(crate) enum Seeder {
    Anabranch(Anabranch),
    Aria2(Aria2),
    Libtorrent(Libtorrent),
    Transmission(Transmission),
}

impl Seeder {
    /// Starts it and waits until it has checked its data and is ready. It dials `peer`.
    pub(crate) fn start(
        stage: &Stage,
        scratch: &Scratch,
        contestant: Contestant,
        peer: Option<SocketAddr>,
    ) -> Self {
        let (torrent, folder) = (&stage.torrent, stage.seeds());
        match contestant {
            Contestant::Anabranch | Contestant::Baseline => {
                let peer = peer.map(|peer| format!("--peer={peer}"));
                let peer: Vec<&str> = peer.iter().map(String::as_str).collect();
                let build = stage.build(contestant);
                let seed = Anabranch::start_build(build, scratch, "seed", torrent, &folder, &peer);
                seed.wait_complete();
                Self::Anabranch(seed)
            }
            Contestant::Aria2 => {
                stage.tracker.introduce(peer);
                Self::Aria2(Aria2::seed(scratch, &stage.tracked, &folder))
            }
            Contestant::Libtorrent => {
                let mut seed = Libtorrent::seed(torrent, &folder);
                if let Some(peer) = peer {
                    seed.connect(peer);
                }
                Self::Libtorrent(seed)
            }
            Contestant::Transmission => {
                let seed = Transmission::start_with_cache(scratch, &folder, TRANSMISSION_CACHE);
                seed.seed(torrent);
                Self::Transmission(seed)
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Anabranch(seed) => seed.address(),
            Self::Aria2(seed) => seed.address(),
            Self::Libtorrent(seed) => seed.address(),
            Self::Transmission(seed) => seed.address(),
        }
    }

    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(seed) => seed.process(),
            Self::Aria2(seed) => seed.process(),
            Self::Libtorrent(seed) => seed.process(),
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
    Transmission(Transmission),
}

impl Leecher {
    /// Starts to download from `peer`; one that has to be dialled ignores it.
    pub(crate) fn start(
        stage: &Stage,
        scratch: &Scratch,
        contestant: Contestant,
        folder: &Path,
        peer: Option<SocketAddr>,
    ) -> Self {
        let torrent = &stage.torrent;
        match contestant {
            Contestant::Anabranch | Contestant::Baseline => {
                let peer = peer.map(|peer| format!("--peer={peer}"));
                let peer: Vec<&str> = peer.iter().map(String::as_str).collect();
                let build = stage.build(contestant);
                let leech =
                    Anabranch::start_build(build, scratch, "download", torrent, folder, &peer);
                Self::Anabranch(leech)
            }
            Contestant::Aria2 => {
                stage.tracker.introduce(peer);
                let end = ["--seed-time=0"];
                Self::Aria2(Aria2::run(scratch, &stage.tracked, folder, &end))
            }
            Contestant::Libtorrent => {
                Self::Libtorrent(Libtorrent::download(torrent, folder, peer.as_slice()))
            }
            Contestant::Transmission => {
                let leech = Transmission::start_with_cache(scratch, folder, TRANSMISSION_CACHE);
                leech.download(torrent);
                Self::Transmission(leech)
            }
        }
    }

    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(leech) => leech.process(),
            Self::Aria2(leech) => leech,
            Self::Libtorrent(leech) => leech.process(),
            Self::Transmission(leech) => leech.process(),
        }
    }

    /// Where one that waits to be dialled can be.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) | Self::Libtorrent(_) => None,
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
            Self::Transmission(leech) => leech.is_complete(&stage.torrent),
        }
    }

    /// How often to look at it. Asking costs it processor time where it is a request.
    pub(crate) const fn interval(&self) -> Duration {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) | Self::Libtorrent(_) => Duration::from_millis(5),
            Self::Transmission(_) => Duration::from_millis(50),
        }
    }

    /// Whether it ends when it is complete.
    pub(crate) const fn ends_by_itself(&self) -> bool {
        match self {
            Self::Anabranch(_) | Self::Aria2(_) => true,
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
            // Its cache may hold the last blocks.
            Self::Transmission(leech) => leech.stop(),
        }
        Ok(())
    }
}
