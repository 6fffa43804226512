//! A client at work, and what is told about it until it ends.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anabranch_core::command::{Priority, SeedGoal};
use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::{FileKind, Magnet, Metainfo};
use anabranch_core::status::TorrentStatus;
use anabranch_core::{Config, Notice, TorrentState};
use anabranch_driver::{
    AddOptions, Client, ClientBuilder, DhtOptions, Error, Notices, Runtime, Source, StartError,
    Torrent,
};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::or;
use smol::stream::StreamExt;

use crate::args::PeerAddress;
use crate::commands::dht::state_folder;
use crate::commands::save_torrent;
use crate::exit::{Exit, Failure};
use crate::losses::Losses;
use crate::output::{self, Event, Metadata, Output, Progress};
use crate::runtime::{Choice, Setup};

/// The port that is listened on unless told otherwise.
const USUAL_PORT: u16 = 6881;

/// When a torrent has done what it was taken on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// When all that is wanted is there.
    Complete,
    /// When it has been seeded enough.
    Goal(SeedGoal),
    /// When all is there it seeds until it is told to end.
    Seed,
    /// The same, but nothing may be missing to begin with.
    SeedOnly,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every torrent has reached its aim.
    Done,
    /// A signal came.
    Asked(Exit),
}

/// What a session leaves behind.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Whether all that is wanted of the torrents that did not fail is there.
    pub(crate) complete: bool,
    /// Those that failed.
    pub(crate) losses: Losses,
}

/// What to do when not all that was to be seeded is there.
pub(crate) const UNFIT_ADVICE: &str = "--dir names the folder that contains the torrent's file or \
                                       folder; `anabranch verify` tells what is wrong, `anabranch \
                                       download --seed` fetches what is missing and then seeds";

/// A torrent to take on.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) work: Work,
    /// Whether the torrent file of a link is saved to its folder.
    pub(crate) save_torrent: bool,
    /// Folder, files and the like.
    pub(crate) options: AddOptions,
    pub(crate) peers: &'a [PeerAddress],
    pub(crate) aim: Aim,
}

/// What there is to begin with.
#[derive(Debug)]
pub(crate) enum Work {
    /// A torrent file, and what it says.
    Torrent(Vec<u8>, Box<Metainfo>),
    /// A magnet link.
    Link(Box<Magnet>),
}

impl Work {
    fn label(&self) -> output::Torrent {
        let (info_hash, name) = match self {
            Self::Torrent(_, metainfo) => (metainfo.info_hash(), Some(metainfo.name())),
            Self::Link(magnet) => (magnet.info_hash, magnet.name.as_deref()),
        };
        let info_hash = info_hash.to_string();
        output::Torrent {
            name: name.unwrap_or(&info_hash).to_owned(),
            info_hash,
        }
    }
}

/// A running client with its torrents.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    client: Client,
    notices: Notices,
    output: &'a mut Output,
    entries: BTreeMap<TorrentId, Entry>,
    /// Whether it was told that the recording ended too early.
    told_of_recording: bool,
    losses: Losses,
}

#[derive(Debug)]
struct Entry {
    torrent: Torrent,
    label: output::Torrent,
    aim: Aim,
    dir: PathBuf,
    /// What is yet to be told of a magnet link's torrent when it is there.
    awaited: Option<Awaited>,
    /// When it was added, or, if later, when what was there had been looked at.
    began: Instant,
    /// Whether a piece was downloaded in this run.
    moving: bool,
    /// Whether all that is wanted is there.
    complete: bool,
    /// Whether the aim is reached.
    done: bool,
    /// Whether it failed for good: it rests, and the others go on.
    lost: bool,
    /// Whether its files were ever looked at.
    opened: bool,
    /// Why its files can't be used. A disk that fails later is waited for; one that was never usable
    /// is the user's to mend before anything is worth waiting for.
    refused: Option<DiskError>,
    status: Option<TorrentStatus>,
    /// Whether nothing about it changes without a notice: it is not looked at until one comes.
    resting: bool,
}

/// A magnet link's torrent.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// Whether it is saved to a file.
    save: bool,
}

/// How a client is set up that talks to the world.
struct Public {
    config: Config,
    /// None: it takes no part in the DHT.
    dht: Option<DhtOptions>,
    listen: Option<SocketAddr>,
    record: Option<PathBuf>,
}

impl Setup for Public {
    fn start<R: Runtime>(self, builder: ClientBuilder<R>) -> Result<Client, StartError> {
        let mut builder = builder.config(self.config);
        if let Some(dht) = self.dht {
            builder = builder.dht(dht);
        }
        if let Some(file) = self.record {
            builder = builder.record(file);
        }
        if let Some(folder) = state_folder() {
            builder = builder.spare_resume_dir(folder.join("resume"));
        }
        match self.listen {
            Some(address) => builder.listen([address]).start(),
            None => match builder.clone().port(USUAL_PORT).start() {
                Err(StartError::Listen { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse =>
                {
                    builder.port(0).start()
                }
                result => result,
            },
        }
    }
}

/// Starts a client on an address, or on the usual port if that is free, and else on another. Records it
/// if a file is named.
pub(crate) fn start(
    on: Choice,
    config: Config,
    dht: Option<DhtOptions>,
    listen: Option<SocketAddr>,
    record: Option<PathBuf>,
) -> Result<Client, Failure> {
    let result = on.start(Public {
        config,
        dht,
        listen,
        record,
    });
    result.map_err(|error| {
        let failure = Failure::new(error.to_string());
        if let StartError::Record { path, source } = &error {
            let failure = Failure::io("record to", path, source);
            return match source.kind() == io::ErrorKind::AlreadyExists {
                true => failure.advise("choose another name, or remove the file"),
                false => failure,
            };
        }
        let StartError::Listen { source, .. } = &error else {
            return failure;
        };
        if source.kind() == io::ErrorKind::AddrInUse {
            failure.advise(
                "another program listens there; choose another port with --listen, or leave the \
                 option out",
            )
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            failure.advise("give --listen an address of this machine, or 0.0.0.0")
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            failure.advise("choose a port from 1024 on with --listen")
        } else {
            failure
        }
    })
}

impl<'a> Session<'a> {
    /// Begins to tell what a client does.
    pub(crate) fn new(
        client: Client,
        losses: Losses,
        output: &'a mut Output,
    ) -> Result<Self, Failure> {
        for address in client.listen_addrs() {
            output.tell(&Event::Listening { address: *address })?;
        }
        for warning in client.warnings() {
            let message = warning.clone();
            output.tell(&Event::Warning { message })?;
        }
        Ok(Self {
            notices: client.notices(),
            client,
            output,
            entries: BTreeMap::new(),
            told_of_recording: false,
            losses,
        })
    }

    /// Takes a torrent on. One that cannot be is lost.
    pub(crate) async fn add(&mut self, task: Task<'_>) -> Result<(), Failure> {
        let label = task.work.label();
        let dir = task.options.dir.clone().unwrap_or_default();
        match &task.work {
            Work::Torrent(_, metainfo) => {
                let wanted = |index: usize| {
                    let priority = task.options.priorities.get(index);
                    priority.is_none_or(|priority| *priority != Priority::Skip)
                };
                let added = added(&label, metainfo, &dir, wanted);
                self.output.tell(&added)?;
            }
            Work::Link(_) => self.output.tell(&Event::Fetching {
                torrent: label.clone(),
                dir: dir.display().to_string(),
            })?,
        }
        let awaited = match &task.work {
            Work::Torrent(..) => None,
            Work::Link(_) => Some(Awaited {
                save: task.save_torrent,
            }),
        };
        let mut options = task.options;
        options.peers = task.peers.iter().filter_map(PeerAddress::socket).collect();
        options.goal = match task.aim {
            Aim::Goal(goal) => goal,
            Aim::Complete | Aim::Seed | Aim::SeedOnly => SeedGoal::default(),
        };
        let source = match task.work {
            Work::Torrent(bytes, _) => Source::from(bytes),
            Work::Link(magnet) => Source::from(&*magnet),
        };
        let torrent = match self.client.add(source, options).await {
            Ok(torrent) => torrent,
            Err(error @ Error::Stopped) => return Err(gone(error)),
            Err(error) => {
                let failure = Failure::new(format!("{}: {error}", label.name));
                return self.losses.add(label.name, failure, self.output);
            }
        };
        for peer in task.peers {
            if let PeerAddress::Name { host, port } = peer {
                torrent
                    .add_peer_host(host.clone(), *port)
                    .await
                    .map_err(gone)?;
            }
        }
        let entry = Entry {
            torrent,
            label,
            aim: task.aim,
            dir,
            awaited,
            began: Instant::now(),
            moving: false,
            complete: false,
            done: false,
            lost: false,
            opened: false,
            refused: None,
            status: None,
            resting: false,
        };
        let id = entry.torrent.id();
        self.entries.insert(id, entry);
        // It may have been fetched in an earlier run.
        self.on_metadata(id).await
    }

    /// Tells of a magnet link's torrent, if it is there and nobody was told.
    async fn on_metadata(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        let Some(awaited) = entry.awaited else {
            return Ok(());
        };
        let Some(metainfo) = entry.torrent.metainfo().await.map_err(gone)? else {
            return Ok(());
        };
        entry.awaited = None;
        metainfo.name().clone_into(&mut entry.label.name);
        let files = entry.torrent.files().await.map_err(gone)?;
        let wanted = |index: usize| {
            let file = files.get(index);
            file.is_none_or(|file| file.priority != Priority::Skip)
        };
        let saved = match awaited.save.then(|| save_torrent(&metainfo, &entry.dir)) {
            Some(Ok(path)) => Some(path.display().to_string()),
            // It is downloaded all the same.
            Some(Err(failure)) => {
                self.losses.add(&entry.label.name, failure, self.output)?;
                None
            }
            None => None,
        };
        let torrent = entry.label.clone();
        self.output.tell(&Event::Fetched { torrent, saved })?;
        let added = added(&entry.label, &metainfo, &entry.dir, wanted);
        self.output.tell(&added)
    }

    /// Tells what happens until every aim is reached, or `signals` has something.
    pub(crate) async fn run(&mut self, signals: &Receiver<Exit>) -> Result<End, Failure> {
        let mut ticks = Timer::interval(self.output.interval());
        // While all are at rest there is nothing to look at before the next notice.
        let mut at_rest = false;
        while !self.is_through() {
            let turn = {
                let notices = &mut self.notices;
                let notice = async { Turn::Notice(notices.next().await) };
                let tick = async {
                    if at_rest {
                        std::future::pending::<()>().await;
                    }
                    ticks.next().await;
                    Turn::Tick
                };
                let signal = async {
                    match signals.recv().await {
                        Ok(exit) => Turn::Signal(exit),
                        // Nobody is left to send one.
                        Err(_) => std::future::pending().await,
                    }
                };
                or(signal, or(tick, notice)).await
            };
            match turn {
                Turn::Signal(exit) => {
                    self.output.tell(&Event::Stopping)?;
                    return Ok(End::Asked(exit));
                }
                Turn::Notice(Some(notice)) => {
                    at_rest = false;
                    self.on_notice(notice).await?;
                }
                Turn::Notice(None) => return Err(gone(Error::Stopped)),
                Turn::Tick => {
                    self.on_tick().await?;
                    at_rest = self.is_at_rest();
                }
            }
            self.tell_of_keeping()?;
        }
        Ok(End::Done)
    }

    /// Whether every torrent has reached its aim, or failed.
    fn is_through(&self) -> bool {
        self.entries
            .values()
            .all(|entry| entry.done || entry.lost || entry.refused.is_some())
    }

    /// A torrent has failed for good: it rests, and the others go on.
    async fn lose(&mut self, id: TorrentId, failure: Failure) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.lost) else {
            return Ok(());
        };
        entry.lost = true;
        self.losses.add(&entry.label.name, failure, self.output)?;
        entry.torrent.pause().await.map_err(gone)
    }

    /// What was to be seeded is not all there, or not any more.
    async fn lose_unfit(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get(&id) else {
            return Ok(());
        };
        let failure = Failure::incomplete(format!(
            "{}: some of the data in {} does not match the torrent",
            entry.label.name,
            entry.dir.display()
        ));
        self.lose(id, failure.advise(UNFIT_ADVICE)).await
    }

    /// Ends the client in good order, and tells where every torrent stands.
    pub(crate) async fn close(mut self) -> Result<Closed, Failure> {
        let looked = self.look(|_| true).await;
        let shut = match self.client.shutdown().await {
            Ok(()) | Err(Error::Stopped) => Ok(()),
            Err(error) => Err(Failure::new(error.to_string()).advise(
                "the disk did not take everything in time; the next run verifies what is there",
            )),
        };
        self.output.clear();
        self.tell_of_recording()?;
        self.tell_of_keeping()?;
        for entry in self.entries.values() {
            let Some(status) = &entry.status else {
                continue;
            };
            self.output.tell(&Event::Stopped {
                torrent: entry.label.clone(),
                complete: entry.complete,
                wanted: status.wanted,
                have: status.have,
                downloaded: status.session_downloaded,
                uploaded: status.session_uploaded,
            })?;
        }
        looked?;
        shut?;
        let mut complete = true;
        for entry in self.entries.into_values() {
            if let Some(error) = entry.refused.filter(|_| !entry.lost) {
                let advice = format!("{}, and start it again", remedy(&error));
                let failure = Failure::new(format!("{}: {error}", entry.label.name));
                let failure = failure.advise(advice);
                self.losses.add(entry.label.name, failure, self.output)?;
            } else {
                complete &= entry.complete || entry.lost;
            }
        }
        Ok(Closed {
            complete,
            losses: self.losses,
        })
    }

    /// Looks at some torrents, and names them.
    async fn look(&mut self, which: impl Fn(&Entry) -> bool) -> Result<Vec<TorrentId>, Failure> {
        let ids: Vec<TorrentId> = self
            .entries
            .iter()
            .filter(|(_, entry)| which(entry))
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let statuses = self.client.statuses(ids.clone()).await.map_err(gone)?;
        for status in statuses {
            if let Some(entry) = self.entries.get_mut(&status.torrent) {
                entry.resting = is_resting(&status);
                entry.status = Some(status);
            }
        }
        Ok(ids)
    }

    /// Resume data that is not kept where it belongs is worth a word.
    fn tell_of_keeping(&mut self) -> Result<(), Failure> {
        match self.client.keep_warning() {
            Some(message) => self.output.tell(&Event::Warning { message }),
            None => Ok(()),
        }
    }

    /// A recording that cannot go on is worth a word, and no more.
    fn tell_of_recording(&mut self) -> Result<(), Failure> {
        let recording = self.client.recording();
        match recording.and_then(|recording| Some((recording.path(), recording.failure()?))) {
            Some((path, failure)) if !self.told_of_recording => {
                self.told_of_recording = true;
                let path = path.display();
                let message = format!("the recording {path} ends here: {failure}");
                self.output.tell(&Event::Warning { message })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether nothing changes without a notice, so that a program with nothing to do sleeps. A recording
    /// that ends does so without one.
    fn is_at_rest(&self) -> bool {
        self.client.recording().is_none() && self.entries.values().all(|entry| entry.resting)
    }

    async fn on_tick(&mut self) -> Result<(), Failure> {
        self.tell_of_recording()?;
        // Those at rest are left alone, thousands of them as a rule, unless a notice may have been lost.
        let lost = self.notices.missed() > 0;
        let ids = self.look(|entry| lost || !entry.resting).await?;
        for entry in ids.iter().filter_map(|id| self.entries.get(id)) {
            if let Some(status) = &entry.status {
                self.output.tell(&entry.progress(status))?;
            }
        }
        // Notices come first, but a reader that does not keep up misses some: the state tells, too.
        for id in ids {
            self.on_metadata(id).await?;
            let state = self
                .entries
                .get(&id)
                .and_then(|entry| entry.status.as_ref());
            if let Some(state) = state.map(|status| status.state) {
                self.on_state(id, state).await?;
            }
        }
        Ok(())
    }

    async fn on_notice(&mut self, notice: Notice) -> Result<(), Failure> {
        let id = notice.torrent();
        // Whatever else is told of it comes later.
        self.on_metadata(id).await?;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        entry.resting = false;
        let torrent = entry.label.clone();
        let event = match notice {
            Notice::Checked { have, pieces, .. } => {
                entry.began = Instant::now();
                entry.opened = true;
                entry.refused = None;
                let unfit = entry.aim == Aim::SeedOnly && have < pieces;
                self.output.tell(&Event::Checked {
                    torrent,
                    have,
                    pieces,
                })?;
                return match unfit {
                    true => self.lose_unfit(id).await,
                    false => Ok(()),
                };
            }
            Notice::Piece { .. } => return self.on_piece(id).await,
            Notice::Completed { .. } => return self.on_complete(id).await,
            Notice::State { state, .. } => return self.on_state(id, state).await,
            Notice::GoalReached { .. } => return self.on_goal(id).await,
            Notice::PieceFailed { piece, .. } => Event::PieceFailed {
                torrent,
                piece: piece.get(),
            },
            Notice::PeerBanned { address, blame, .. } => Event::PeerBanned {
                torrent,
                address,
                reason: blame.to_string(),
            },
            Notice::TrackerReplied {
                url,
                peers,
                warning,
                ..
            } => Event::Tracker {
                torrent,
                url,
                peers: Some(peers),
                warning,
                error: None,
                retry_in: None,
            },
            Notice::TrackerFailed {
                url,
                error,
                retry_in,
                ..
            } => Event::Tracker {
                torrent,
                url,
                peers: None,
                warning: None,
                error: Some(error),
                retry_in: Some(retry_in),
            },
            Notice::StorageFailed { error, .. } => {
                // A folder that cannot be used from the start is a mistake, not a mishap: the run ends.
                let then = if entry.opened {
                    "it goes on by itself"
                } else {
                    "start it again"
                };
                let event = Event::StorageFailed {
                    torrent,
                    advice: format!("{}, and {then}", remedy(&error)),
                    error: error.to_string(),
                };
                if !entry.opened {
                    entry.refused = Some(error);
                }
                event
            }
            Notice::StorageRecovered { .. } => Event::StorageRecovered { torrent },
            Notice::MetadataUnusable { error, .. } => {
                let name = &entry.label.name;
                let failure = Failure::new(format!("{name}: not a usable torrent: {error}"))
                    .advise("the link is right, but what it stands for is not; get another link");
                return self.lose(id, failure).await;
            }
            // Told before, or told by progress.
            Notice::MetadataReceived { .. }
            | Notice::Added { .. }
            | Notice::Removed { .. }
            | Notice::FileCompleted { .. }
            | Notice::PeerConnected { .. }
            | Notice::PeerDisconnected { .. }
            | _ => return Ok(()),
        };
        self.output.tell(&event)
    }

    async fn on_state(&mut self, id: TorrentId, state: TorrentState) -> Result<(), Failure> {
        match state {
            TorrentState::Seeding => self.on_complete(id).await,
            // A goal pauses, and so does a failure.
            TorrentState::Paused => match self.entries.get(&id) {
                Some(entry) if entry.lost => Ok(()),
                Some(entry) if matches!(entry.aim, Aim::Goal(_)) => self.on_goal(id).await,
                Some(_) | None => Ok(()),
            },
            TorrentState::Downloading => {
                let aim = self.entries.get(&id).map(|entry| entry.aim);
                match aim == Some(Aim::SeedOnly) {
                    true => self.lose_unfit(id).await,
                    false => Ok(()),
                }
            }
            TorrentState::FetchingMetadata
            | TorrentState::Checking
            | TorrentState::Failed
            | TorrentState::Removing => Ok(()),
        }
    }

    /// A piece is there. That of the first is worth knowing at once: data comes.
    async fn on_piece(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if std::mem::replace(&mut entry.moving, true) {
            return Ok(());
        }
        let status = entry.torrent.status().await.map_err(gone)?;
        self.output.tell(&entry.progress(&status))
    }

    /// All that is wanted is there; told once.
    async fn on_complete(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.complete {
            return Ok(());
        }
        let elapsed = entry.began.elapsed();
        let status = entry.torrent.status().await.map_err(gone)?;
        self.output.tell(&entry.progress(&status))?;
        entry.complete = true;
        let completed = Event::Completed {
            torrent: entry.label.clone(),
            size: status.wanted,
            downloaded: status.session_downloaded,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        };
        entry.status = Some(status);
        self.output.tell(&completed)?;
        if entry.aim == Aim::Complete {
            entry.done = true;
            // Others may still download: this one is not to upload meanwhile, nobody asked for it.
            entry.torrent.pause().await.map_err(gone)?;
        }
        Ok(())
    }

    async fn on_goal(&mut self, id: TorrentId) -> Result<(), Failure> {
        self.on_complete(id).await?;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.done {
            return Ok(());
        }
        entry.done = true;
        let uploaded = entry.status.as_ref().map_or(0, |status| status.uploaded);
        self.output.tell(&Event::GoalReached {
            torrent: entry.label.clone(),
            uploaded,
        })
    }
}

enum Turn {
    Notice(Option<Notice>),
    Tick,
    Signal(Exit),
}

impl Entry {
    fn progress(&self, status: &TorrentStatus) -> Event {
        Event::Progress(Box::new(Progress {
            torrent: self.label.clone(),
            state: status.state,
            hindrance: status.hindrance.as_ref().map(ToString::to_string),
            metadata: status.metadata.map(|metadata| Metadata {
                received: metadata.received,
                total: metadata.total,
                peers: metadata.peers,
            }),
            wanted: status.wanted,
            have: status.have,
            pieces: status.pieces,
            pieces_have: status.pieces_have,
            pieces_unchecked: status.pieces_unchecked,
            downloaded: status.session_downloaded,
            uploaded: status.session_uploaded,
            wasted: status.wasted,
            download_rate: status.download_rate,
            upload_rate: status.upload_rate,
            eta: status.eta,
            peers: status.peers,
            seeds: status.seeds,
        }))
    }
}

/// Tells that a torrent was taken on.
fn added(
    label: &output::Torrent,
    metainfo: &Metainfo,
    dir: &Path,
    wanted: impl Fn(usize) -> bool,
) -> Event {
    let files = metainfo.files().iter().enumerate();
    let files: Vec<u64> = files
        .filter(|(index, file)| file.kind() == FileKind::Data && wanted(*index))
        .map(|(_, file)| file.length())
        .collect();
    Event::Added {
        torrent: label.clone(),
        dir: dir.display().to_string(),
        size: size(metainfo),
        wanted: files
            .iter()
            .fold(0, |sum, length| length.saturating_add(sum)),
        files: u32::try_from(files.len()).unwrap_or(u32::MAX),
        pieces: metainfo.piece_count(),
    }
}

/// Whether all there is to tell of a torrent stays as it is until a notice comes.
fn is_resting(status: &TorrentStatus) -> bool {
    match status.state {
        TorrentState::Seeding | TorrentState::Paused => {
            status.peers == 0 && status.download_rate == 0 && status.upload_rate == 0
        }
        TorrentState::FetchingMetadata
        | TorrentState::Checking
        | TorrentState::Downloading
        | TorrentState::Failed
        | TorrentState::Removing => false,
    }
}

/// Bytes of all files, padding not counted.
pub(crate) fn size(metainfo: &Metainfo) -> u64 {
    metainfo
        .files()
        .iter()
        .filter(|file| file.kind() != FileKind::Pad)
        .fold(0, |sum, file| file.length().saturating_add(sum))
}

/// The client ended without having been asked to.
fn gone(error: Error) -> Failure {
    Failure::new(format!("the client ended unexpectedly: {error}"))
        .advise("the same command goes on where it stopped")
}

/// What helps against a failure of the disk.
fn remedy(error: &DiskError) -> &'static str {
    match error.kind {
        DiskErrorKind::NoSpace => "make room on the disk",
        DiskErrorKind::NotFound => "put the folder back",
        DiskErrorKind::Permission => "make it writable for your user",
        DiskErrorKind::ReadOnly => "mount the disk for writing",
        DiskErrorKind::TooManyFiles => "close other programs or raise the limit (ulimit -n)",
        DiskErrorKind::UnsafePath => "remove the symbolic link or the file that is in the way",
        DiskErrorKind::InUse => "end the other one, or use another folder",
        DiskErrorKind::Io | _ => "check the disk and its cable",
    }
}
