//! A client: an engine on a runtime, and the handles to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anabranch_core::command::{AddTorrent, Priority, RateLimits, Reply, SeedGoal};
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::id::{RequestId, TorrentId};
use anabranch_core::metainfo::limits::MAX_TORRENT_LEN;
use anabranch_core::metainfo::magnet::is_magnet;
use anabranch_core::metainfo::{Magnet, Names};
use anabranch_core::status::{TorrentStatus, Traffic};
use anabranch_core::{Command, Config, Event, Seed, Stats};
use anabranch_replay::Start;
use bytes::Bytes;

use crate::dht::DhtOptions;
use crate::error::{Error, StartError};
use crate::fetch::{self, Room};
use crate::http;
use crate::io::Options;
use crate::net::{self, Bound};
use crate::notices::Notices;
use crate::policy::Policy;
use crate::record::{Recording, Tape};
use crate::remote::Remote;
use crate::run::{Clock, EngineMachine, Loop};
use crate::runtime::Runtime;
use crate::storage::{
    FileOptions, FileStorage, KeepWarning, Links, OpenFiles, Preallocation, Storage, system_names,
};
use crate::torrent::Torrent;

/// Sets a client up.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct ClientBuilder<R> {
    runtime: R,
    config: Config,
    names: Names,
    listen: Listen,
    options: Options,
    download_dir: Option<PathBuf>,
    resume_dir: Option<PathBuf>,
    spare_resume_dir: Option<PathBuf>,
    record: Option<PathBuf>,
    dht: Option<DhtOptions>,
}

#[derive(Clone, Debug)]
enum Listen {
    /// Every address of the machine, on this port; 0 for one that the system chooses.
    Everywhere(u16),
    At(Vec<SocketAddr>),
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
            options: Options::default(),
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

/// A running client.
///
/// Cheap to clone, usable from any thread and any executor. When the last handle to a client or to one
/// of its torrents is gone, the client ends by itself in the background as [`Client::shutdown`] does;
/// a program that ends right after should wait for `shutdown` instead.
///
/// Every future can be dropped at any time; a request that was sent is carried out nevertheless.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) remote: Remote<EngineMachine>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    addresses: Vec<SocketAddr>,
    warnings: Vec<String>,
    download_dir: Option<PathBuf>,
    resume_dir: Option<PathBuf>,
    spare_resume_dir: Option<PathBuf>,
    keep_warning: KeepWarning,
    recording: Option<Recording>,
    /// Shared, so that the limit on open files holds for all torrents together.
    open_files: OpenFiles,
    fetches: Room,
}

impl Client {
    /// The addresses that it listens on.
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }

    /// What it has to do without, in words: a network that the local discovery cannot be had on, a
    /// file of the DHT that cannot be used. None of it keeps torrents from being downloaded.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// A word for the user when the resume data of a torrent could not be kept where it belongs: where it is
    /// instead, or that there is none. One for all torrents, and only once.
    pub fn keep_warning(&self) -> Option<String> {
        self.shared.keep_warning.take()
    }

    /// Takes a torrent on, whose data lives in files. Of a magnet link, the torrent is fetched from peers
    /// first, unless that was done in an earlier run: see [`Torrent::wait_metainfo`].
    ///
    /// # Errors
    ///
    /// [`Error::ReadTorrent`], [`Error::FetchTorrent`], [`Error::NoFolder`], [`Error::Stopped`], and the
    /// engine's own:
    /// [`CommandError::BadMetainfo`](anabranch_core::error::CommandError::BadMetainfo),
    /// [`CommandError::BadMagnet`](anabranch_core::error::CommandError::BadMagnet),
    /// [`CommandError::Duplicate`](anabranch_core::error::CommandError::Duplicate), which names the torrent that is
    /// there: [`Torrent::add_trackers`] and [`Torrent::add_peer`] give it what a second link names.
    pub async fn add(
        &self,
        source: impl Into<Source>,
        options: AddOptions,
    ) -> Result<Torrent, Error> {
        let dir = options.dir.clone().or(self.shared.download_dir.clone());
        let storage = FileStorage::new(
            dir.ok_or(Error::NoFolder)?,
            FileOptions {
                resume_dir: self.shared.resume_dir.clone(),
                spare_resume_dir: self.shared.spare_resume_dir.clone(),
                warning: self.shared.keep_warning.clone(),
                preallocation: options.preallocation,
                read_only: options.read_only,
                open_files: self.shared.open_files.clone(),
                links: options.links,
            },
        );
        self.add_with(source, options, Arc::new(storage)).await
    }

    /// Takes a torrent on, whose data lives wherever `storage` puts it.
    ///
    /// # Errors
    ///
    /// Those of [`Client::add`] but for [`Error::NoFolder`].
    pub async fn add_with(
        &self,
        source: impl Into<Source>,
        options: AddOptions,
        storage: Arc<dyn Storage>,
    ) -> Result<Torrent, Error> {
        let (metainfo, magnet) = self.load(source.into(), &storage).await?;
        let add = AddTorrent {
            metainfo,
            magnet,
            paused: options.paused,
            metadata_only: options.metadata_only,
            priorities: options.priorities,
            sequential: options.sequential,
            recheck: options.recheck,
            overwrite: options.overwrite,
            name: options.name,
            limits: options.limits,
            goal: options.goal,
            peers: options.peers,
            trackers: options.trackers,
            ..AddTorrent::default()
        };
        match self.remote.add(add, storage).await? {
            Reply::Added { torrent } => Torrent::find(&self.remote, torrent).await,
            // The answer of other commands.
            Reply::Done | Reply::Dht(_) => Err(Error::Removed),
        }
    }

    /// Fetches a torrent file from the web, as the client's policy allows: over `http` or `https`, within
    /// [`FETCH_TIMEOUT`](crate::FETCH_TIMEOUT), following redirects, but from no public address to one that
    /// is not. Whether it is a torrent is not looked at. At most [`MAX_FETCHES`](crate::MAX_FETCHES) are
    /// fetched at a time; others wait.
    ///
    /// # Errors
    ///
    /// [`Error::FetchTorrent`], [`Error::Stopped`].
    pub async fn fetch_torrent(&self, url: &str) -> Result<Bytes, Error> {
        let place = self.shared.fetches.place().await;
        let answer = self.remote.fetch(fetch::request(url), place).await?;
        fetched(url, answer)
    }

    /// The bytes of the .torrent file, and the magnet link.
    async fn load(
        &self,
        source: Source,
        storage: &Arc<dyn Storage>,
    ) -> Result<(Bytes, Option<String>), Error> {
        match source {
            Source::Bytes(bytes) => Ok((bytes, None)),
            Source::Url(url) => Ok((self.fetch_torrent(&url).await?, None)),
            Source::Path(path) => {
                let file = path.clone();
                let result = elsewhere(move || read(&file)).await;
                match result {
                    Ok(Some(Ok(bytes))) => Ok((bytes, None)),
                    Ok(None) => Err(Error::Stopped),
                    Ok(Some(Err(source))) | Err(source) => Err(Error::ReadTorrent { path, source }),
                }
            }
            Source::Magnet(link) => {
                // What is wrong with the link, the engine tells.
                let Ok(magnet) = link.parse::<Magnet>() else {
                    return Ok((Bytes::new(), Some(link)));
                };
                let storage = Arc::clone(storage);
                let saved = elsewhere(move || storage.saved_metainfo(magnet.info_hash)).await;
                let saved = saved.ok().flatten().flatten();
                Ok((saved.unwrap_or_default(), Some(link)))
            }
        }
    }

    /// All torrents.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn torrents(&self) -> Result<Vec<Torrent>, Error> {
        let ids: Vec<TorrentId> = self
            .remote
            .query(|machine, _| machine.engine().torrents().collect())
            .await?;
        let mut torrents = Vec::with_capacity(ids.len());
        for id in ids {
            match Torrent::find(&self.remote, id).await {
                Ok(torrent) => torrents.push(torrent),
                // Removed in the meantime.
                Err(Error::Command(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(torrents)
    }

    /// What these torrents do, all at one moment, by asking once; those that are gone are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn statuses(
        &self,
        torrents: impl IntoIterator<Item = TorrentId>,
    ) -> Result<Vec<TorrentStatus>, Error> {
        let torrents: Vec<TorrentId> = torrents.into_iter().collect();
        self.remote
            .query(move |machine, now| {
                let views = torrents
                    .iter()
                    .filter_map(|id| machine.engine().torrent(*id));
                views.map(|view| view.status(now)).collect()
            })
            .await
    }

    /// What all torrents transfer together: rates that are measured, where those of the torrents do not add up.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        self.remote
            .query(|machine, now| machine.engine().traffic(now))
            .await
    }

    /// The trackers whose answers are waited for, by their URLs, each once: what [`shutdown`](Self::shutdown) may wait for.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn trackers_asked(&self) -> Result<Vec<String>, Error> {
        let mut urls: Vec<String> = self
            .remote
            .query(|machine, now| {
                let engine = machine.engine();
                let views = engine.torrents().filter_map(|id| engine.torrent(id));
                let trackers = views.flat_map(|view| view.trackers(now));
                let asked = trackers.filter(|tracker| tracker.asked);
                asked.map(|tracker| tracker.url).collect()
            })
            .await?;
        urls.sort_unstable();
        urls.dedup();
        Ok(urls)
    }

    /// All notices from now on.
    pub fn notices(&self) -> Notices {
        self.remote.notices()
    }

    /// Limits the rates of all torrents together.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn set_limits(&self, limits: RateLimits) -> Result<(), Error> {
        let command = Command::SetLimits {
            torrent: None,
            limits,
        };
        self.remote.command(command).await.map(|_| ())
    }

    /// Has nothing to do with an address any more, whatever the port: connections with it end, in all torrents, and
    /// there are no new ones until [`Client::unban`] or the client's end.
    ///
    /// # Errors
    ///
    /// [`CommandError::TooManyBans`](anabranch_core::error::CommandError::TooManyBans), [`Error::Stopped`].
    pub async fn ban(&self, address: IpAddr) -> Result<(), Error> {
        let command = Command::Ban { address };
        self.remote.command(command).await.map(|_| ())
    }

    /// Forgets that an address was banned, by [`Client::ban`] or for what it did.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn unban(&self, address: IpAddr) -> Result<(), Error> {
        let command = Command::Unban { address };
        self.remote.command(command).await.map(|_| ())
    }

    /// How the recording fares, if the client is recorded.
    pub fn recording(&self) -> Option<&Recording> {
        self.shared.recording.as_ref()
    }

    /// The engine's counters.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.remote
            .query(|machine, _| machine.engine().stats().clone())
            .await
    }

    /// Ends the client: saves resume data, says goodbye to trackers, closes files and sockets. Takes
    /// as long as that does, and at most [`SHUTDOWN_LIMIT`](crate::run::SHUTDOWN_LIMIT).
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] when it has ended already, [`Error::Unfinished`] when it took too long.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.remote.shutdown().await
    }
}

/// Where a torrent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Its contents.
    Bytes(Bytes),
    /// None: a magnet link stands for it.
    Magnet(String),
    /// A file on the web: see [`Client::fetch_torrent`].
    Url(String),
}

fn fetched(url: &str, answer: Result<HttpReply, ContactError>) -> Result<Bytes, Error> {
    fetch::file(answer).map_err(|source| Error::FetchTorrent {
        url: url.to_owned(),
        source,
    })
}

/// Does what may take its time on a thread of its own: executors do not like to wait. None if the thread
/// came to no end.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (done, result) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("anabranch-open".into())
        .spawn(move || {
            let _ = done.try_send(work());
        })?;
    Ok(result.recv().await.ok())
}

fn read(path: &Path) -> std::io::Result<Bytes> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_TORRENT_LEN as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TORRENT_LEN {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!(
                "more than {} MiB, which no torrent file has",
                MAX_TORRENT_LEN >> 20
            ),
        ));
    }
    Ok(bytes.into())
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

/// A magnet link, a URL of the web, or else a path.
impl From<&str> for Source {
    fn from(text: &str) -> Self {
        if is_magnet(text) {
            Self::Magnet(text.into())
        } else if fetch::is_url(text) {
            Self::Url(text.into())
        } else {
            Self::Path(text.into())
        }
    }
}

impl From<&Magnet> for Source {
    fn from(magnet: &Magnet) -> Self {
        Self::Magnet(magnet.to_string())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// How a torrent is taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// Where its files go; the client's own folder if none is named.
    pub dir: Option<PathBuf>,
    /// Whether the space for its files is taken ahead.
    pub preallocation: Preallocation,
    /// Whether it starts paused.
    pub paused: bool,
    /// Whether a magnet link's torrent pauses once its metadata is there, before it touches a file; from the
    /// beginning, if it was fetched in an earlier run. [`Torrent::resume`] goes on, with the priorities that
    /// were set meanwhile.
    pub metadata_only: bool,
    /// Priorities by file; files past the end of the list have [`Priority::Normal`]. An empty list leaves
    /// the choice to the magnet link, if there is one.
    pub priorities: Vec<Priority>,
    /// Whether pieces are downloaded in order.
    pub sequential: bool,
    /// Whether resume data is ignored, and everything on the disk verified.
    pub recheck: bool,
    /// Whether files that are there may be written over although nothing in them is this torrent's. Without
    /// it such a torrent fails with [`DiskErrorKind::Foreign`](anabranch_core::event::DiskErrorKind::Foreign),
    /// and what it would have written over is left as it is.
    pub overwrite: bool,
    /// The name of its one file, or of the folder of its files, in place of that which stands in the torrent. Made
    /// safe like that. To go on in a later run, give it again.
    pub name: Option<String>,
    /// Whether its files are only read, for what is complete and is to stay as it is: none is created,
    /// made longer or cut. What turns out to be missing cannot be downloaded.
    pub read_only: bool,
    /// What is done about symbolic links below its folder.
    pub links: Links,
    /// Its own rate limits.
    pub limits: RateLimits,
    /// When seeding ends.
    pub goal: SeedGoal,
    /// Peers that are known.
    pub peers: Vec<SocketAddr>,
    /// Tracker tiers in place of those that the torrent names, if any.
    pub trackers: Option<Vec<Vec<String>>>,
}

/// Binds what is to be listened on, or else sockets for packets alone.
fn bind(listen: &Listen, from: Option<IpAddr>) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let fail = |address| move |source| StartError::Listen { address, source };
    match listen {
        Listen::At(addresses) if addresses.is_empty() => bind_packets(from),
        Listen::At(addresses) => {
            let mut bound = Vec::with_capacity(addresses.len());
            for address in addresses {
                // Peers are told one port: where any will do, it is that of the first.
                let first = bound
                    .first()
                    .map(|(first, _): &(SocketAddr, _)| first.port());
                let wish = first.filter(|_| address.port() == 0);
                let wished = wish.map(|port| net::bind(SocketAddr::new(address.ip(), port)));
                let pair = match wished {
                    Some(Ok(pair)) => pair,
                    Some(Err(_)) | None => net::bind(*address).map_err(fail(*address))?,
                };
                bound.push(pair);
            }
            Ok(bound)
        }
        Listen::Everywhere(port) => bind_everywhere(*port),
    }
}

fn bind_everywhere(port: u16) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let mut tried = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    net::draw(port, || bind_families(port, &mut tried)).map_err(|source| StartError::Listen {
        address: tried,
        source,
    })
}

/// Binds one port in the families that there are; `tried` is the last one that was tried.
fn bind_families(port: u16, tried: &mut SocketAddr) -> io::Result<Vec<(SocketAddr, Bound)>> {
    let mut port = port;
    let mut sockets = Vec::new();
    *tried = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    match net::bind(*tried) {
        Ok((address, bound)) => {
            port = address.port();
            sockets.push((address, bound));
        }
        Err(error) if net::is_family_missing(&error) => {}
        Err(source) => return Err(source),
    }
    *tried = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match net::bind(*tried) {
        Ok(pair) => sockets.push(pair),
        Err(error) if net::is_family_missing(&error) && !sockets.is_empty() => {}
        Err(source) => return Err(source),
    }
    Ok(sockets)
}

/// Sockets for packets that nobody dials: trackers are asked over UDP also by who does not listen.
fn bind_packets(from: Option<IpAddr>) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let everywhere = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let addresses = match from {
        Some(from) => vec![from],
        None => everywhere.to_vec(),
    };
    let mut sockets = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(address, 0);
        match net::bind_udp(address) {
            Ok(udp) => sockets.push((address, Bound { tcp: None, udp })),
            Err(error) if net::is_family_missing(&error) && from.is_none() => {}
            Err(source) => return Err(StartError::Listen { address, source }),
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shareable<T: Clone + Send + Sync + 'static>() {}

    #[test]
    fn handles_go_everywhere() {
        shareable::<Client>();
        shareable::<Torrent>();
    }

    #[test]
    fn both_families_listen_on_one_port_that_the_system_chose() {
        let sockets = bind(&Listen::Everywhere(0), None).expect("a free port");
        let ports: Vec<u16> = sockets.iter().map(|(address, _)| address.port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn several_addresses_share_the_port_that_the_system_chose_for_the_first() {
        let any = |last| SocketAddr::from(([127, 0, 0, last], 0));
        let sockets = bind(&Listen::At(vec![any(1), any(2), any(3)]), None).expect("free ports");
        let ports: Vec<u16> = sockets.iter().map(|(address, _)| address.port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        // One that is taken there is no reason to fail.
        let sockets = bind(&Listen::At(vec![any(1), any(1)]), None).expect("free ports");
        assert_ne!(sockets[0].0.port(), sockets[1].0.port());
    }

    #[test]
    fn text_is_a_link_a_url_or_a_path() {
        let hash = "0".repeat(40);
        for link in [
            format!("magnet:?xt=urn:btih:{hash}"),
            format!(" <MAGNET:/?xt=urn:btih:{hash}>"),
            format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{hash}"),
        ] {
            assert_eq!(Source::from(&*link), Source::Magnet(link.clone()));
        }
        let url = "Http://a/b.torrent";
        assert_eq!(Source::from(url), Source::Url(url.into()));
        for path in ["a.torrent", "./magnet:x", "", "http:x"] {
            assert_eq!(Source::from(path), Source::Path(path.into()));
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let (taken, _held) =
            net::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let error = bind(&Listen::At(vec![taken]), None).expect_err("taken");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
