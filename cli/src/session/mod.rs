//! A client at work, and what is told about it until it ends.

mod advice;
mod closing;
mod nodes;
mod notices;
mod pace;
mod patience;
mod standing;
mod start;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anabranch_core::command::{Priority, SeedGoal};
use anabranch_core::error::CommandError;
use anabranch_core::event::DiskError;
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::{Magnet, Metainfo};
use anabranch_core::status::TorrentStatus;
use anabranch_core::{Notice, TorrentState};
use anabranch_driver::storage::{MemoryStorage, free_space};
use anabranch_driver::{AddOptions, Client, Error, Notices, Source, Torrent};
use bytes::Bytes;
use smol::Timer;
use smol::channel::Receiver;
use smol::future::or;
use smol::stream::StreamExt;

use crate::args::PeerAddress;
use crate::exit::{Exit, Failure};
use crate::interrupt::Resizes;
use crate::losses::Losses;
use crate::output::{self, Event, Output, text::reason};
use crate::select::Choice;
use crate::units;

pub(crate) use self::nodes::{Checks, REFUSED};
use self::pace::Pace;
use self::patience::Patience;
use self::standing::added;
pub(crate) use self::start::start;

/// How many of several reasons are told.
const NAMED_REASONS: usize = 3;

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
    /// When a magnet link's torrent is there; none of its data is wanted, and nothing is stored.
    Metadata,
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
    /// Which files of a link's torrent are wanted, once it is there.
    pub(crate) choice: Option<Choice>,
    /// Folder, files and the like.
    pub(crate) options: AddOptions,
    pub(crate) peers: &'a [PeerAddress],
    /// Trackers to ask beside its own.
    pub(crate) trackers: &'a [String],
    pub(crate) aim: Aim,
}

/// What there is to begin with.
#[derive(Debug)]
pub(crate) enum Work {
    /// A torrent file, and what it says.
    Torrent(Bytes, Box<Metainfo>),
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
    /// Whether it was told that there is too little room.
    told_of_space: bool,
    /// Whether something was transferred of late, of several torrents together.
    moving: bool,
    /// Whether the local network is asked for peers.
    local: bool,
    patience: Option<Patience>,
    /// The nodes of the DHT that the user named.
    nodes: Checks,
    losses: Losses,
}

#[derive(Debug)]
struct Entry {
    torrent: Torrent,
    label: output::Torrent,
    /// None while a magnet link's is being fetched.
    metainfo: Option<Arc<Metainfo>>,
    aim: Aim,
    dir: PathBuf,
    /// What is yet to be told of a magnet link's torrent when it is there.
    awaited: Option<Awaited>,
    /// Whether it was told who is asked for peers.
    sought: bool,
    /// How many peers the user named.
    named: u32,
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
    /// Bytes of the files that are wanted, once it is known which ones there are: less than those of the pieces that
    /// they lie in.
    wanted: Option<u64>,
    /// Why its files can't be used. A disk that fails later is waited for; one that was never usable
    /// is the user's to mend before anything is worth waiting for.
    refused: Option<DiskError>,
    status: Option<TorrentStatus>,
    /// How fast it is, as it was looked at.
    pace: Pace,
    /// Bytes of what is wanted that were there when the run began, once that is known.
    begun: Option<u64>,
    /// What became of the peers that were named, and what the DHT said.
    told: BTreeMap<String, String>,
    /// Whether nothing about it changes without a notice: it is not looked at until one comes.
    resting: bool,
}

/// A magnet link's torrent.
#[derive(Clone, Debug)]
struct Awaited {
    /// Whether it is saved to a file.
    save: bool,
    /// Which files are wanted. The torrent pauses for it when it is there, before it touches one.
    choice: Option<Choice>,
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
            told_of_space: false,
            moving: false,
            local: false,
            patience: None,
            nodes: Checks::default(),
            losses,
        })
    }

    /// Tells that the local network is asked for peers, too.
    pub(crate) fn seek_locally(&mut self, local: bool) {
        self.local = local;
    }

    /// Tells of those of these nodes of the DHT that are not there.
    pub(crate) fn check_nodes(&mut self, nodes: &[PeerAddress]) {
        self.nodes = Checks::new(&self.client, nodes);
    }

    /// Takes a torrent on. One that cannot be is lost.
    pub(crate) async fn add(&mut self, task: Task<'_>) -> Result<(), Failure> {
        let label = task.work.label();
        let dir = task.options.dir.clone().unwrap_or_default();
        let wanted = match &task.work {
            Work::Torrent(_, metainfo) => {
                let wants = |index: usize| {
                    let priority = task.options.priorities.get(index);
                    priority.is_none_or(|priority| *priority != Priority::Skip)
                };
                let (added, wanted) = added(&label, metainfo, &dir, wants);
                self.output.tell(&added)?;
                Some(wanted)
            }
            Work::Link(_) => {
                self.output.tell(&Event::Fetching {
                    torrent: label.clone(),
                    dir: match task.aim {
                        Aim::Metadata => None,
                        Aim::Complete | Aim::Goal(_) | Aim::Seed | Aim::SeedOnly => {
                            Some(dir.display().to_string())
                        }
                    },
                })?;
                None
            }
        };
        let awaited = match &task.work {
            Work::Torrent(..) => None,
            Work::Link(_) => Some(Awaited {
                save: task.save_torrent,
                choice: task.choice,
            }),
        };
        let mut options = task.options;
        options.metadata_only = awaited.as_ref().is_some_and(|a| a.choice.is_some());
        options.peers = task.peers.iter().filter_map(PeerAddress::socket).collect();
        options.goal = match task.aim {
            Aim::Goal(goal) => goal,
            Aim::Complete | Aim::Seed | Aim::SeedOnly | Aim::Metadata => SeedGoal::default(),
        };
        options.metadata_only |= task.aim == Aim::Metadata;
        let named = match &task.work {
            Work::Torrent(..) => task.peers.len(),
            Work::Link(magnet) => task.peers.len() + magnet.peers.len(),
        };
        let (source, metainfo) = match task.work {
            Work::Torrent(bytes, metainfo) => (Source::from(bytes), Some(Arc::from(metainfo))),
            Work::Link(magnet) => (Source::from(&*magnet), None),
        };
        let added = match task.aim {
            Aim::Metadata => {
                let storage = Arc::new(MemoryStorage::new());
                self.client.add_with(source, options, storage).await
            }
            Aim::Complete | Aim::Goal(_) | Aim::Seed | Aim::SeedOnly => {
                self.client.add(source, options).await
            }
        };
        let torrent = match added {
            Ok(torrent) => torrent,
            Err(error @ Error::Stopped) => return Err(gone(error)),
            Err(error) => {
                let failure = Failure::new(format!("{}: {}", label.name, reason(&error)));
                return self.losses.add(label.name, failure, self.output);
            }
        };
        if !task.trackers.is_empty() {
            torrent.add_trackers(task.trackers).await.map_err(|error| {
                if !matches!(error, Error::Command(CommandError::Private)) {
                    return gone(error);
                }
                let why = "it is private: only its own trackers may be asked";
                Failure::usage(format!("{}: {why}", label.name)).advise("leave --tracker out")
            })?;
        }
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
            metainfo,
            aim: task.aim,
            dir,
            awaited,
            sought: false,
            named: u32::try_from(named).unwrap_or(u32::MAX),
            moving: false,
            complete: false,
            done: false,
            lost: false,
            opened: false,
            wanted,
            refused: None,
            status: None,
            pace: Pace::default(),
            begun: None,
            told: BTreeMap::new(),
            resting: false,
        };
        let id = entry.torrent.id();
        self.entries.insert(id, entry);
        // It may have been fetched in an earlier run.
        self.on_metadata(id).await
    }

    /// Tells what happens until every aim is reached, or `signals` has something.
    pub(crate) async fn run(&mut self, signals: &Receiver<Exit>) -> Result<End, Failure> {
        let mut ticks = Timer::interval(self.output.interval());
        let mut resizes = Resizes::of(self.output);
        // While all are at rest there is nothing to look at before the next notice.
        let mut at_rest = false;
        while !self.is_through() {
            let patience_ends = self.patience_ends();
            let turn = {
                let notices = &mut self.notices;
                let nodes = &mut self.nodes;
                let notice = async { Turn::Notice(notices.next().await) };
                let tick = async {
                    if at_rest {
                        std::future::pending::<()>().await;
                    }
                    let impatient = async {
                        match patience_ends {
                            Some(end) => Timer::at(end).await,
                            None => std::future::pending().await,
                        };
                    };
                    let regular = async {
                        ticks.next().await;
                    };
                    or(regular, impatient).await;
                    Turn::Tick
                };
                let signal = async {
                    match signals.recv().await {
                        Ok(exit) => Turn::Signal(exit),
                        // Nobody is left to send one.
                        Err(_) => std::future::pending().await,
                    }
                };
                let resize = async {
                    resizes.next().await;
                    Turn::Resized
                };
                let node = async { Turn::Node(nodes.next().await) };
                or(or(signal, resize), or(or(tick, node), notice)).await
            };
            match turn {
                Turn::Signal(exit) => {
                    self.output.tell(&Event::Stopping)?;
                    return Ok(End::Asked(exit));
                }
                Turn::Resized => self.output.refresh(),
                Turn::Node(failed) => self.output.tell(&failed)?,
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

    /// What the torrent that was taken on first is, if that is known.
    pub(crate) async fn metainfo(&self) -> Result<Option<Arc<Metainfo>>, Failure> {
        match self.entries.values().next() {
            Some(entry) => entry.torrent.metainfo().await.map_err(gone),
            None => Ok(None),
        }
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
                let (down, up) = (status.session_downloaded, status.session_uploaded);
                entry.pace.note(Instant::now(), down, up);
                entry.resting = is_resting(&status);
                entry.status = Some(status);
            }
        }
        Ok(ids)
    }

    /// Tells, once, if what is yet to come has no room where it goes.
    fn warn_of_space(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(dir) = self.entries.get(&id).map(|entry| entry.dir.clone()) else {
            return Ok(());
        };
        let here = self.entries.values().filter(|entry| entry.dir == dir);
        let statuses = here.filter_map(|entry| entry.status.as_ref());
        let needed = statuses.fold(0_u64, |sum, status| {
            sum.saturating_add(status.wanted.saturating_sub(status.have))
        });
        match free_space(&dir) {
            Ok(free) if free < needed && !self.told_of_space => {
                self.told_of_space = true;
                let (needed, free) = (units::size(needed), units::size(free));
                let dir = dir.display();
                let message = format!("{needed} are to come, and {dir} has room for {free}");
                self.output.tell(&Event::Warning { message })
            }
            // The disk tells when it is full.
            Ok(_) | Err(_) => Ok(()),
        }
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
                let message = format!("the recording {path} ends here: {}", reason(&failure));
                self.output.tell(&Event::Warning { message })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether nothing changes without a notice, so that a program with nothing to do sleeps. A recording
    /// that ends does so without one.
    fn is_at_rest(&self) -> bool {
        let resting = |entry: &Entry| entry.resting;
        self.client.recording().is_none() && !self.moving && self.entries.values().all(resting)
    }

    async fn on_tick(&mut self) -> Result<(), Failure> {
        self.tell_of_recording()?;
        // Those at rest are left alone, thousands of them as a rule, unless a notice may have been lost.
        let lost = self.notices.missed() > 0;
        let ids = self.look(|entry| lost || !entry.resting).await?;
        for id in &ids {
            self.on_metadata(*id).await?;
            self.tell_progress(*id).await?;
        }
        if self.entries.len() > 1 {
            let total = self.total().await?;
            self.moving = total.download_rate > 0 || total.upload_rate > 0;
            self.output.tell(&Event::Total(total))?;
        }
        self.output.refresh();
        self.lose_patience().await?;
        // Notices come first, but a reader that does not keep up misses some: the state tells, too.
        for id in ids {
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

    /// Tells where a torrent stood when it was looked at. That it seeds is told after its completion.
    async fn tell_progress(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get(&id) else {
            return Ok(());
        };
        match &entry.status {
            Some(status) if status.state == TorrentState::Seeding && !entry.complete => {
                self.on_complete(id).await
            }
            Some(status) => self.output.tell(&entry.progress(status)),
            None => Ok(()),
        }
    }
}

enum Turn {
    /// A node of the DHT that was named is not there.
    Node(Event),
    Notice(Option<Notice>),
    Tick,
    Signal(Exit),
    Resized,
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

/// The client ended without having been asked to.
fn gone(error: Error) -> Failure {
    Failure::new(format!("the client ended unexpectedly: {}", reason(&error)))
        .advise("the same command goes on where it stopped")
}
