//! Setting a client up.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anabranch_core::id::RequestId;
use anabranch_core::metainfo::Names;
use anabranch_core::{Command, Config, Event, Seed};
use anabranch_replay::Start;
use bytes::Bytes;

use tracing::{info, warn};

use super::handle::{Client, Shared};
use super::listen::{Listen, bind};
use super::source::fetched;
use crate::clock::Clock;
use crate::dht::DhtOptions;
use crate::error::{Error, StartError};
use crate::fetch::{self, Room};
use crate::http;
use crate::machine::EngineMachine;
use crate::options::LoopOptions;
use crate::policy::Policy;
use crate::record::Tape;
use crate::run::Loop;
use crate::runtime::{HttpContent, Runtime};
use crate::storage::{KeepWarning, OpenFiles, system_names};

/// Sets a client up.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct ClientBuilder<R> {
    runtime: R,
    config: Config,
    names: Names,
    listen: Listen,
    options: LoopOptions,
    download_dir: Option<PathBuf>,
    resume_dir: Option<PathBuf>,
    spare_resume_dir: Option<PathBuf>,
    record: Option<PathBuf>,
    dht: Option<DhtOptions>,
}

impl<R: Runtime + Default> Default for ClientBuilder<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime + Default> ClientBuilder<R> {
    /// A client that listens on every address, on a port that the system chooses, and downloads to
    /// where each torrent is told to.
    pub fn new() -> Self {
        Self::on(R::default())
    }
}

impl<R: Runtime> ClientBuilder<R> {
    /// The same on a given runtime.
    pub fn on(runtime: R) -> Self {
        Self {
            runtime,
            config: Config::default(),
            names: system_names(),
            listen: Listen::Everywhere(0),
            options: LoopOptions::default(),
            download_dir: None,
            resume_dir: None,
            spare_resume_dir: None,
            record: None,
            dht: None,
        }
    }

    /// Which names torrents give to their files. Default: those that this [system](system_names) takes. It
    /// takes the place of what the configuration says.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// The engine's configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Listens on every address of the machine, on this port.
    pub fn port(mut self, port: u16) -> Self {
        self.listen = Listen::Everywhere(port);
        self
    }

    /// Listens on these addresses, TCP and UDP, and on no others. Port 0 is one that the system
    /// chooses, the same for all where that can be. The port of the first is announced, so the others had better
    /// have the same: [`Client::warnings`] tells if not. None at all: nobody can dial us.
    pub fn listen(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.listen = Listen::At(addresses.into_iter().collect());
        self
    }

    /// Dials from this local address only. What can be reached from addresses of the other family only
    /// is then out of reach. Name lookups are the system's, and go where it sends them.
    pub fn dial_from(mut self, address: IpAddr) -> Self {
        self.options.from = Some(address);
        self
    }

    /// Who may be talked to.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.options.policy = Arc::new(policy);
        self
    }

    /// Where torrents are downloaded to that are not told otherwise.
    pub fn download_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.download_dir = Some(dir.into());
        self
    }

    /// Where resume data is kept, in one folder for all torrents; by default it is in a folder
    /// `.anabranch` where each torrent is downloaded to.
    pub fn resume_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.resume_dir = Some(dir.into());
        self
    }

    /// Where resume data is kept that its own folder does not take, as that of a torrent on a read-only
    /// medium or in another user's folder. Without, such a torrent is verified anew at every start; to be
    /// seeded it only has to be read. [`Client::keep_warning`] says when that happened.
    pub fn spare_resume_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spare_resume_dir = Some(dir.into());
        self
    }

    /// Records all that the engine is told to a file, which must not be there yet, so that the run can
    /// be replayed: see `anabranch-replay`. Payload is left out. The file is good up to
    /// [`FLUSH_INTERVAL`](crate::FLUSH_INTERVAL) ago whatever happens; [`Client::recording`] says how
    /// it fares. It holds the addresses of peers, what trackers said, and the engine's seed.
    ///
    /// Payload is left out of connections by TCP. Packets are kept whole, so it is not left out of those by uTP, if the
    /// configuration has any.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Takes part in the distributed hash table: torrents, but for private ones, find peers without a tracker. It goes
    /// over the UDP sockets of the addresses that are listened on. This takes the place of what
    /// [`Config::dht`](anabranch_core::Config::dht) says of the same.
    pub fn dht(mut self, options: DhtOptions) -> Self {
        self.dht = Some(options);
        self
    }

    /// Fetches a torrent file from the web, as [`Client::fetch_torrent`] does, for who wants to look at it
    /// before there is a client: through the runtime, as the policy allows.
    ///
    /// # Errors
    ///
    /// [`Error::FetchTorrent`]; [`Error::Stopped`] if the runtime has ended.
    pub async fn fetch_torrent(&self, url: &str) -> Result<Bytes, Error> {
        let exchange = http::exchange(
            self.runtime.clone(),
            Arc::clone(&self.options.policy),
            self.options.from,
            None,
            fetch::request(url),
            HttpContent::TorrentFile,
        );
        let (reply, answer) = async_channel::bounded(1);
        let spawned = self.runtime.spawn(async move {
            // Whoever asked may have left.
            let _ = reply.try_send(exchange.await);
        });
        spawned.map_err(|_| Error::Stopped)?;
        fetched(url, answer.recv().await.map_err(|_| Error::Stopped)?)
    }

    /// Binds the sockets, and starts the loop in the background.
    ///
    /// # Errors
    ///
    /// [`StartError`]; a port that is taken is named in it.
    pub fn start(self) -> Result<Client, StartError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(StartError::Entropy)?;
        let bound = bind(&self.listen, self.options.from)?;
        let clock = Clock::start();
        let local_discovery = self.config.local_discovery;
        let mut config = self.config;
        config.names = self.names;
        let (keeper, warning) = match self.dht {
            Some(options) => options.apply(&mut config),
            None => (None, None),
        };
        let start = Start {
            config,
            seed: Seed(seed),
            now: clock.now(),
            wall: Clock::wall(),
        };
        let mut machine = EngineMachine::new(start.engine()).keep_dht(keeper);
        let mut recording = None;
        if let Some(path) = &self.record {
            let (tape, status) = Tape::start(path, &start)?;
            machine = machine.record(tape);
            recording = Some(status);
        }
        let (mut run, remote) = Loop::new(self.runtime.clone(), machine, clock, self.options);
        let mut addresses = Vec::new();
        for (address, bound) in bound {
            if bound.tcp.is_some() {
                addresses.push(address);
            }
            run.adopt(address, bound)?;
        }
        let mut warnings = Vec::from_iter(warning);
        if let Some(first) = addresses.first()
            && addresses.iter().any(|other| other.port() != first.port())
        {
            let port = first.port();
            warnings.push(format!(
                "peers are told of port {port} alone; give all addresses the same"
            ));
        }
        if local_discovery {
            let errors = run.join_local_discovery(&addresses).into_iter();
            let tell = |error| format!("no local discovery: cannot join its group: {error}");
            warnings.extend(errors.map(tell));
        }
        run.begin_with(Event::Command {
            // Nobody waits for the answer: the loop gives out other numbers.
            request: RequestId(u64::MAX),
            command: Box::new(Command::Listening {
                address: addresses.first().copied(),
            }),
        });
        for warning in &warnings {
            warn!("{warning}");
        }
        info!(?addresses, "a client starts");
        self.runtime.spawn(run.run()).map_err(StartError::Runtime)?;
        Ok(Client {
            remote,
            shared: Arc::new(Shared {
                addresses,
                warnings,
                download_dir: self.download_dir,
                resume_dir: self.resume_dir,
                spare_resume_dir: self.spare_resume_dir,
                keep_warning: KeepWarning::default(),
                recording,
                open_files: OpenFiles::default(),
                fetches: Room::default(),
            }),
        })
    }
}
