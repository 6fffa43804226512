//! From a magnet link to the torrent that it stands for, and on to the first piece.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::clients::{
    ALONE, Anabranch, Aria2, Libtorrent, LibtorrentDht, Rqbit, Transmission,
};
use anabranch_tests::process::Process;
use anabranch_tests::{Scratch, wait};
use serde_json::Value;

use crate::contestant::{Contestant, TRANSMISSION_CACHE};
use crate::side::Seeder;
use crate::stage::Stage;
use crate::transfer::Load;

/// How long a client may take.
const LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked at what a client has told.
const INTERVAL: Duration = Duration::from_millis(1);

/// How often a client is asked that does not tell by itself.
const ASKED_INTERVAL: Duration = Duration::from_millis(5);

/// The same for one that answers slowly.
const LONG_INTERVAL: Duration = Duration::from_millis(50);

/// Nodes of a DHT.
const NODES: usize = 8;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// From the start of the process until the torrent was there.
    pub(crate) metadata: Duration,
    /// From the start of the process until a piece was there and verified.
    pub(crate) piece: Duration,
    /// The processor time until then, and the most memory.
    pub(crate) load: Load,
}

/// A client that was given the link, and what it can be watched by.
enum Fetcher {
    Anabranch(Anabranch),
    Aria2(Aria2),
    Libtorrent(Libtorrent),
    Rqbit(Rqbit),
    Transmission(Transmission),
}

/// Lets one client begin with a link, and with the address of the seeder, which is told in the way that the client knows.
pub(crate) fn run(
    stage: &Stage,
    seeder: Contestant,
    contestant: Contestant,
) -> Result<Arrival, String> {
    let dialled = contestant.waits_to_be_dialled();
    if dialled && seeder != Contestant::Libtorrent {
        return Err("left out: it has to be dialled, and only libtorrent does when told to".into());
    }
    let room = stage.room();
    let mut seed = Seeder::start(stage, &room, seeder, 0, &[])?;
    let peer = seed.address();
    let folder = room.folder("download");
    let named = format!("{}&x.pe={peer}", link(stage));

    let begin = Instant::now();
    let fetcher = match contestant {
        Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
            let extra = ["--no-dht"];
            anabranch(stage, &room, contestant, &named, &folder, &extra)
        }
        Contestant::Aria2 => {
            stage.tracker.introduce(&[peer]);
            let tracked = format!("{}&tr={}", link(stage), stage.tracker.url());
            Fetcher::Aria2(Aria2::fetch(&room, &tracked, &folder, &[]))
        }
        Contestant::Libtorrent => {
            Fetcher::Libtorrent(Libtorrent::fetch_at(LIBTORRENT, &named, &folder, &[]))
        }
        Contestant::Rqbit => {
            let peers = format!("--initial-peers={peer}");
            Fetcher::Rqbit(Rqbit::fetch(&room, &link(stage), &folder, &[&peers]))
        }
        Contestant::Transmission => {
            let daemon = Transmission::start_with_cache(&room, &folder, TRANSMISSION_CACHE);
            daemon.download_magnet(&link(stage));
            seed.connect(daemon.address());
            Fetcher::Transmission(daemon)
        }
        Contestant::Mktorrent => return Err(NO_DOWNLOAD.into()),
    };
    fetcher.watch(stage, begin)
}

/// The same with nothing but the address of a node of a DHT, in which the seeder has announced itself.
pub(crate) fn run_in_dht(stage: &Stage, contestant: Contestant) -> Result<Arrival, String> {
    match contestant {
        Contestant::Transmission => {
            return Err("left out: its DHT ignores loopback addresses".into());
        }
        Contestant::Mktorrent => return Err(NO_DOWNLOAD.into()),
        Contestant::Anabranch
        | Contestant::Baseline
        | Contestant::Smol
        | Contestant::Tokio
        | Contestant::Aria2
        | Contestant::Libtorrent
        | Contestant::Rqbit => {}
    }
    let room = stage.room();
    let dht = LibtorrentDht::start(NODES);
    let [first, others @ ..] = dht.nodes() else {
        return Err("failed: no DHT".into());
    };
    let _seed = Libtorrent::seed_in_dht(&stage.torrent, &stage.seeds(), others);
    wait_for_announce(stage, &room, *first);
    let folder = room.folder("download");
    let bare = link(stage);

    let begin = Instant::now();
    let fetcher = match contestant {
        Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
            let extra = [format!("--dht-node={first}")];
            let extra = extra.each_ref().map(String::as_str);
            anabranch(stage, &room, contestant, &bare, &folder, &extra)
        }
        Contestant::Aria2 => {
            let node = format!("--dht-entry-point={first}");
            let extra = ["--enable-dht=true", &node];
            Fetcher::Aria2(Aria2::fetch(&room, &bare, &folder, &extra))
        }
        Contestant::Libtorrent => {
            let node = format!("--dht-node={first}");
            Fetcher::Libtorrent(Libtorrent::fetch_at(LIBTORRENT, &bare, &folder, &[&node]))
        }
        Contestant::Rqbit => Fetcher::Rqbit(Rqbit::fetch_in_dht(&room, &bare, &folder, *first)),
        Contestant::Transmission | Contestant::Mktorrent => return Err(NO_DOWNLOAD.into()),
    };
    fetcher.watch(stage, begin)
}

/// Where libtorrent fetches: the seeder has another address.
const LIBTORRENT: &str = "127.0.1.1";

const NO_DOWNLOAD: &str = "left out: it downloads nothing";

fn link(stage: &Stage) -> String {
    format!("magnet:?xt=urn:btih:{}", stage.torrent.hex())
}

fn anabranch(
    stage: &Stage,
    room: &Scratch,
    contestant: Contestant,
    link: &str,
    folder: &Path,
    extra: &[&str],
) -> Fetcher {
    let extra = [&ALONE[..], contestant.arguments(), extra].concat();
    let build = stage.build(contestant);
    Fetcher::Anabranch(Anabranch::start_source(
        build, room, "download", link, folder, &extra,
    ))
}

/// Waits until the nodes know of the seeder.
fn wait_for_announce(stage: &Stage, room: &Scratch, node: SocketAddr) {
    let node = node.to_string();
    let hash = stage.torrent.hex();
    let build = stage.build(Contestant::Anabranch);
    wait::until("an announce", || {
        let args = ["dht", "get-peers", &hash, "--json", "--dht-node", &node];
        let args = [&args[..], &["--listen", "127.0.0.1:0"]].concat();
        let outcome = Anabranch::run_build(build, room, args);
        let found: Value = serde_json::from_str(&outcome.stdout).ok()?;
        found["peers"].as_array()?.first().map(|_| ())
    });
}

impl Fetcher {
    const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(client) => client.process(),
            Self::Aria2(client) => client.process(),
            Self::Libtorrent(client) => client.process(),
            Self::Rqbit(client) => client.process(),
            Self::Transmission(client) => client.process(),
        }
    }

    fn has_metadata(&self, stage: &Stage) -> bool {
        match self {
            Self::Anabranch(client) => !client.events("fetched").is_empty(),
            Self::Aria2(client) => client.has_fetched(),
            Self::Libtorrent(client) => client.has_said("metadata"),
            Self::Rqbit(client) => client.has_added(),
            Self::Transmission(client) => client.has_metadata(&stage.torrent),
        }
    }

    fn has_piece(&self, stage: &Stage) -> bool {
        match self {
            Self::Anabranch(client) => {
                let told = client.events("progress");
                let mut have = told.iter().map(|said| said["pieces_have"].as_u64());
                have.any(|have| have > Some(0))
            }
            Self::Aria2(client) => client.has_piece(),
            Self::Libtorrent(client) => client.has_said("piece"),
            Self::Rqbit(client) => client.has_piece(),
            Self::Transmission(client) => client.has_piece(&stage.torrent),
        }
    }

    fn watch(&self, stage: &Stage, begin: Instant) -> Result<Arrival, String> {
        let interval = match self {
            Self::Transmission(_) => LONG_INTERVAL,
            Self::Aria2(_) | Self::Rqbit(_) => ASKED_INTERVAL,
            Self::Anabranch(_) | Self::Libtorrent(_) => INTERVAL,
        };
        let mut load = Load::default();
        let mut metadata = None;
        loop {
            if metadata.is_none() && self.has_metadata(stage) {
                metadata = Some(begin.elapsed());
            }
            if let Some(metadata) = metadata
                && self.has_piece(stage)
            {
                let piece = begin.elapsed();
                load.update(self.process(), Duration::ZERO);
                return Ok(Arrival {
                    metadata,
                    piece,
                    load,
                });
            }
            load.update(self.process(), Duration::ZERO);
            if self.process().usage().memory.is_none() {
                return Err("failed: it ended before a piece was there".into());
            }
            if begin.elapsed() > LIMIT {
                let missing = metadata.map_or("the torrent", |_| "a piece");
                let limit = LIMIT.as_secs();
                return Err(format!("failed: {missing} is not there after {limit} s"));
            }
            thread::sleep(interval);
        }
    }
}
