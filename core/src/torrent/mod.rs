//! One torrent: its state, and what leads from one state to the next.
//!
//! | file | subject |
//! |---|---|
//! | `swarm` | peers come, talk, and go |
//! | `places` | who gets a place, and who gives one up for it |
//! | `extended`, `metadata`, `magnet`, `pex` | extension messages: metadata given and fetched, peers exchanged |
//! | `download` | which blocks are asked of whom, and what becomes of them |
//! | `trackerless` | when it is looked up in the DHT |
//! | `upload` | serving requests, and whom to unchoke |
//! | `disk` | the storage: opening, checking, checkpoints, failures |
//! | `goal` | when it has been seeded enough |
//! | `picker`, `partial`, `blame`, `choker`, `handout`, `roster`, `candidates` | the decisions, without I/O or peers' state |
//! | `view` | what users see |

pub(crate) mod blame;
pub(crate) mod candidates;
pub(crate) mod choker;
mod disk;
mod download;
mod endgame;
mod extended;
mod goal;
pub(crate) mod handout;
mod magnet;
pub(crate) mod metadata;
pub(crate) mod partial;
pub(crate) mod pex;
pub(crate) mod picker;
mod piece;
mod places;
pub(crate) mod roster;
mod swarm;
mod trackerless;
mod upload;
mod view;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::action::{Action, DiskJob};
use crate::bitfield::Bitfield;
use crate::command::{AddTorrent, Priority, RateLimits, SeedGoal};
use crate::ctx::Timer;
use crate::error::CommandError;
use crate::eviction::{Census, Evictor};
use crate::id::{ConnId, OpId, RequestId, TorrentId};
use crate::limits;
use crate::metainfo::{FileIndex, FileKind, InfoHash, Layout, Magnet, Metainfo, PieceIndex};
use crate::notice::{Notice, TorrentState};
use crate::peer::Peer;
use crate::rate::Rate;
use crate::ratelimit::Bucket;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::status::PeerSource;
use crate::time::Instant;
pub(crate) use crate::torrent::magnet::selection;

use crate::torrent::blame::Suspects;
use crate::torrent::candidates::Candidates;
use crate::torrent::choker::Choker;
use crate::torrent::disk::Storage;
use crate::torrent::handout::Handout;
use crate::torrent::metadata::Fetch;
use crate::torrent::partial::Partials;
use crate::torrent::picker::Picker;
use crate::torrent::roster::Roster;
use crate::tracker::{Announcer, Facts};
use crate::wire::{BlockData, BlockRequest};

pub use self::view::TorrentView;

/// A torrent and everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) id: TorrentId,
    /// Stands in for what is not known while the metadata is being fetched.
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) layout: Layout,
    state: TorrentState,
    /// What is there of the metadata; none when it is all there.
    fetch: Option<Box<Fetch>>,
    /// Whether what peers have cannot be judged yet: from a magnet link until the storage is open.
    early: bool,
    /// The link that the metadata is fetched for.
    magnet: Option<Box<Magnet>>,
    /// Whether to pause when the metadata is there.
    metadata_only: bool,
    /// Why no torrent can be made of the metadata.
    unusable: Option<String>,
    /// The user, or a goal, wants it stopped.
    paused: bool,
    storage: Storage,

    /// Knows what is verified and written, too.
    picker: Picker,
    partials: Partials<BlockData>,
    /// What of the incomplete pieces' memory is in the engine's sum.
    accounted: u64,
    suspects: Suspects,
    /// Pieces that came, until all peers have been told.
    news: Vec<u32>,
    /// Pieces on their way through the digest to the disk.
    storing: BTreeMap<u32, download::Storing>,
    /// Reads under way, and which requests each serves.
    reads: BTreeMap<OpId, Vec<BlockRequest>>,
    /// Empty lists for those to come.
    spare_runs: Vec<Vec<BlockRequest>>,
    priorities: Vec<Priority>,
    sequential: bool,
    /// Missing pieces of each file.
    file_missing: Vec<u32>,
    /// Whether `Completed` has been told for what is wanted now.
    completed: bool,

    peers: BTreeMap<ConnId, Peer>,
    /// How many of them are not choked.
    unchoked: u32,
    /// How many of them are on which network.
    networks: Census,
    /// Who of them may have to go.
    evictor: Evictor,
    /// Who is told of to whom.
    roster: Roster,
    candidates: Candidates,
    choker: Choker,
    /// What to offer to whom, once the torrent is complete and has somebody to offer it to.
    handout: Option<Handout>,
    announcer: Announcer,
    /// Whether the announcer has been told to start, and not to stop.
    announcing: bool,
    dht: trackerless::Schedule,

    down_limit: Bucket,
    up_limit: Bucket,
    down: Rate,
    up: Rate,
    session_downloaded: u64,
    session_uploaded: u64,
    earlier_downloaded: u64,
    earlier_uploaded: u64,
    wasted: u64,
    goal: SeedGoal,
    seeding_since: Option<Instant>,
    /// Since when it downloads, if it does.
    downloading_since: Option<Instant>,
    /// How long it has downloaded before.
    downloaded_for: Duration,

    /// Requests that wait for this torrent to be gone.
    removal: Vec<RequestId>,
    delete_data: bool,
}

/// What the engine must do after a torrent has handled something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Stays,
    /// Forget it: all that it owed is done.
    Gone,
}

impl Torrent {
    pub(crate) fn new(
        id: TorrentId,
        metainfo: Metainfo,
        magnet: Option<&Magnet>,
        add: &AddTorrent,
        ctx: &mut Shared,
    ) -> Self {
        let layout = Layout::new(&metainfo);
        let pieces = layout.piece_count();
        let fetch = Self::new_fetch(&metainfo, ctx);
        let is_known = fetch.is_none();
        let announcer = match &add.trackers {
            Some(tiers) => Announcer::new(tiers, ctx.config.allow_local_trackers, &mut ctx.rng),
            None => {
                let mut tiers = metainfo.trackers().to_vec();
                let urls = magnet.map_or(&[][..], |magnet| &magnet.trackers);
                tiers.extend(urls.iter().map(|url| Vec::from([url.clone()])));
                Announcer::new(&tiers, ctx.config.allow_local_trackers, &mut ctx.rng)
            }
        };
        let mut priorities: Vec<Priority> = add.priorities.clone();
        if fetch.is_none() {
            if let Some(magnet) = magnet
                && priorities.is_empty()
            {
                // A link that selects nothing was refused.
                priorities = selection(magnet, &metainfo).unwrap_or_default();
            }
            priorities.resize(metainfo.files().len(), Priority::Normal);
        }
        let mut torrent = Self {
            id,
            state: TorrentState::Checking,
            early: fetch.is_some(),
            magnet: fetch
                .is_some()
                .then(|| magnet.cloned().map(Box::new))
                .flatten(),
            fetch,
            metadata_only: add.metadata_only,
            unusable: None,
            paused: add.paused || add.metadata_only && magnet.is_some() && is_known,
            storage: Storage::new(add.storage, add.recheck, add.overwrite),
            picker: Picker::new(pieces),
            partials: Partials::default(),
            accounted: 0,
            suspects: Suspects::default(),
            news: Vec::new(),
            storing: BTreeMap::new(),
            reads: BTreeMap::new(),
            spare_runs: Vec::new(),
            priorities,
            sequential: add.sequential,
            file_missing: Vec::new(),
            completed: false,
            peers: BTreeMap::new(),
            unchoked: 0,
            networks: Census::default(),
            evictor: Evictor::default(),
            roster: Roster::default(),
            candidates: Candidates::new(ctx.config.max_connections_per_address, ctx.rng.u32()),
            choker: Choker::new(ctx.config.unchoke_slots),
            handout: None,
            announcer,
            announcing: false,
            dht: trackerless::Schedule::default(),
            down_limit: Bucket::new(add.limits.download, ctx.now),
            up_limit: Bucket::new(add.limits.upload, ctx.now),
            down: Rate::default(),
            up: Rate::default(),
            session_downloaded: 0,
            session_uploaded: 0,
            earlier_downloaded: 0,
            earlier_uploaded: 0,
            wasted: 0,
            goal: add.goal,
            seeding_since: None,
            downloading_since: None,
            downloaded_for: Duration::ZERO,
            removal: Vec::new(),
            delete_data: false,
            metainfo: Arc::new(metainfo),
            layout,
        };
        torrent.apply_priorities();
        torrent.count_missing();
        torrent
    }

    /// Takes up work: called once, after the torrent has been announced to the user.
    pub(crate) fn begin(&mut self, ctx: &mut Shared, peers: &[SocketAddr]) {
        self.add_candidates(ctx, peers.iter().copied(), PeerSource::User);
        if self.paused {
            self.set_state(ctx, TorrentState::Paused);
        } else {
            self.take_up(ctx);
        }
    }

    /// Fetches the metadata, or opens the storage.
    fn take_up(&mut self, ctx: &mut Shared) {
        if self.fetch.is_some() {
            self.fetch_metadata(ctx);
        } else {
            self.open_storage(ctx);
        }
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    /// Whether peers may be connected: while it runs, and from a magnet link until it does.
    pub(crate) fn takes_peers(&self) -> bool {
        match self.state {
            TorrentState::Downloading | TorrentState::Seeding | TorrentState::FetchingMetadata => {
                true
            }
            TorrentState::Checking => self.early && !self.paused,
            TorrentState::Paused | TorrentState::Failed | TorrentState::Removing => false,
        }
    }

    /// Whether data is transferred.
    pub(crate) fn is_running(&self) -> bool {
        matches!(
            self.state,
            TorrentState::Downloading | TorrentState::Seeding
        )
    }

    pub(crate) fn pause(&mut self, ctx: &mut Shared) {
        if self.paused {
            return;
        }
        self.paused = true;
        if self.state == TorrentState::Removing {
            return;
        }
        self.halt(ctx);
        self.checkpoint(ctx);
        self.set_state(ctx, TorrentState::Paused);
    }

    pub(crate) fn resume(&mut self, ctx: &mut Shared) {
        match self.state {
            TorrentState::Paused if self.unusable.is_some() => {}
            TorrentState::Paused => {
                self.paused = false;
                if self.storage.is_open() {
                    self.go(ctx);
                } else {
                    self.take_up(ctx);
                }
            }
            TorrentState::Failed => self.probe(ctx),
            // A recheck asked for while it was paused ends there otherwise.
            TorrentState::Checking => self.paused = false,
            TorrentState::FetchingMetadata
            | TorrentState::Downloading
            | TorrentState::Seeding
            | TorrentState::Removing => {}
        }
    }

    pub(crate) fn recheck(&mut self, ctx: &mut Shared) {
        if self.state == TorrentState::Removing || self.fetch.is_some() {
            return;
        }
        self.halt(ctx);
        self.forget_pieces(ctx, false);
        self.reopen_storage(ctx, true);
    }

    /// Begins the end. The storage is released, trackers are told; `fate` says when all is done.
    pub(crate) fn remove(
        &mut self,
        ctx: &mut Shared,
        request: Option<RequestId>,
        delete_data: bool,
    ) {
        if self.state == TorrentState::Removing {
            if delete_data && !self.delete_data {
                // Too late for that: the data has been promised to stay.
                if let Some(request) = request {
                    let result = Err(CommandError::NoSuchTorrent(self.id));
                    ctx.push(Action::Reply { request, result });
                }
            } else {
                self.removal.extend(request);
            }
            return;
        }
        self.halt(ctx);
        self.removal.extend(request);
        self.delete_data = delete_data;
        self.set_state(ctx, TorrentState::Removing);
        for timer in [
            Timer::Checkpoint(self.id),
            Timer::Probe(self.id),
            Timer::Goal(self.id),
            Timer::Candidates(self.id),
        ] {
            ctx.timers.cancel(timer);
        }
        ctx.timers.set(
            Timer::Goodbye(self.id),
            ctx.now + ctx.config.goodbye_timeout,
        );
        // What had failed before has nothing to do with how the removal goes.
        self.storage.take_error();
        self.release_storage(ctx);
    }

    /// Whether everything that the torrent owed is done.
    pub(crate) fn fate(&mut self, ctx: &mut Shared) -> Fate {
        let gone = self.state == TorrentState::Removing
            && self.storage.is_released()
            && (self.announcer.is_idle() || ctx.timers.deadline(Timer::Goodbye(self.id)).is_none());
        if !gone {
            return Fate::Stays;
        }
        for timer in [
            Timer::Goodbye(self.id),
            Timer::Tracker(self.id),
            Timer::Choke(self.id),
            Timer::DhtTorrent(self.id),
            Timer::Have(self.id),
        ] {
            ctx.timers.cancel(timer);
        }
        self.announcer.abandon(&mut ctx.ctx());
        ctx.notify(Notice::Removed { torrent: self.id });
        let result = match self.storage.take_error() {
            Some(error) => Err(CommandError::Disk(error)),
            None => Ok(crate::command::Reply::Done),
        };
        for request in self.removal.drain(..) {
            let result = result.clone();
            ctx.push(Action::Reply { request, result });
        }
        Fate::Gone
    }

    pub(crate) fn set_priorities(
        &mut self,
        ctx: &mut Shared,
        files: &[(FileIndex, Priority)],
    ) -> Result<(), CommandError> {
        if let Some((file, _)) = files
            .iter()
            .find(|(file, _)| file.as_usize() >= self.priorities.len())
        {
            return Err(CommandError::NoSuchFile(*file));
        }
        let wanted_before = self.wanted_files();
        for (file, priority) in files {
            if let Some(slot) = self.priorities.get_mut(file.as_usize()) {
                *slot = *priority;
            }
        }
        self.apply_priorities();
        let wanted = self.wanted_files();
        if wanted != wanted_before && self.storage.is_open() {
            ctx.disk(
                self.id,
                crate::ctx::DiskOp::Select,
                DiskJob::Select { wanted },
            );
            self.storage.selecting += 1;
        }
        if self.is_running() {
            self.drop_unwanted_partials(ctx);
            self.reconsider_all_interest(ctx);
            self.update_completion(ctx);
            // A ratio is one of what is wanted.
            self.watch_goal(ctx);
        }
        Ok(())
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    pub(crate) fn set_limits(&mut self, ctx: &mut Shared, limits: RateLimits) {
        self.down_limit.set_rate(limits.download, ctx.now);
        self.up_limit.set_rate(limits.upload, ctx.now);
        ctx.signal(Signal::Unthrottled);
    }

    pub(crate) fn add_candidates(
        &mut self,
        ctx: &mut Shared,
        peers: impl IntoIterator<Item = SocketAddr>,
        source: PeerSource,
    ) {
        if let Some(own) = ctx.identity.listen
            && !own.ip().is_unspecified()
        {
            self.candidates.set_own(own);
        }
        // Peers of a private torrent come from its trackers alone (BEP 27), and from the user.
        if source.is_hearsay() && self.metainfo.is_private() {
            return;
        }
        for address in peers {
            if ctx.identity.listen == Some(address) || ctx.banned.contains(address.ip()) {
                continue;
            }
            self.candidates.add(address, source, ctx.now);
        }
        self.seek_peers(ctx);
    }

    /// What trackers are told.
    pub(crate) fn facts(&self, ctx: &Shared) -> Facts {
        Facts {
            torrent: self.id,
            info_hash: self.info_hash(),
            peer_id: ctx.identity.peer_id,
            port: ctx.identity.port(),
            uploaded: self.session_uploaded,
            downloaded: self.session_downloaded,
            left: match self.fetch {
                Some(_) => magnet::UNKNOWN_LEFT,
                None => self.layout.total_length() - self.bytes_of(self.have()),
            },
            want_peers: self.wants_peers(ctx),
            private: self.is_private(),
        }
    }

    pub(crate) fn announcer(&mut self) -> &mut Announcer {
        &mut self.announcer
    }

    pub(crate) fn reannounce(&mut self, ctx: &mut Shared) {
        if self.takes_peers() {
            let facts = self.facts(ctx);
            self.announcer.reannounce(&mut ctx.trackers(), &facts);
        }
    }

    /// More trackers, after those that it has.
    pub(crate) fn add_trackers(
        &mut self,
        ctx: &mut Shared,
        urls: &[String],
    ) -> Result<(), CommandError> {
        if self.is_private() {
            return Err(CommandError::Private);
        }
        let facts = self.facts(ctx);
        self.announcer.add(&mut ctx.trackers(), &facts, urls);
        Ok(())
    }

    pub(crate) fn scrape(&mut self, ctx: &mut Shared) {
        let facts = self.facts(ctx);
        self.announcer.scrape(&mut ctx.trackers(), &facts);
    }

    /// It takes part from now on.
    pub(crate) fn on_started(&mut self, ctx: &mut Shared) {
        if !self.announcing && self.takes_peers() {
            self.announcing = true;
            let facts = self.facts(ctx);
            self.announcer.start(&mut ctx.trackers(), &facts);
        }
    }

    /// It has everything.
    pub(crate) fn on_completed(&mut self, ctx: &mut Shared) {
        self.announcer.complete();
        self.on_tracker_timer(ctx);
    }

    /// The trackers' schedule came due.
    pub(crate) fn on_tracker_timer(&mut self, ctx: &mut Shared) {
        let facts = self.facts(ctx);
        self.announcer.on_timer(&mut ctx.trackers(), &facts);
    }

    /// Checks what must hold between two events.
    pub(crate) fn check(&self) {
        self.picker.check();
        self.partials.check();
        self.candidates.check();
        if let Some(fetch) = &self.fetch {
            fetch.check();
        }
        assert_eq!(
            self.unchoked as usize,
            self.peers.values().filter(|peer| !peer.am_choking).count(),
            "who is not choked is counted right"
        );
        self.check_places();
        for (conn, peer) in &self.peers {
            assert_eq!(*conn, peer.conn, "a peer is found under its connection");
            assert_eq!(
                peer.interesting,
                self.picker.count_missing(&peer.have),
                "interest is counted right"
            );
            assert!(
                peer.pipeline.len() <= limits::MAX_OUTSTANDING,
                "requests are bounded"
            );
            for block in peer.pipeline.blocks() {
                assert!(
                    self.partials.is_asked(*conn, block.piece, block.begin),
                    "a request that is waited for is known to its piece"
                );
            }
        }
    }

    fn set_state(&mut self, ctx: &mut Shared, state: TorrentState) {
        if self.state != state {
            self.downloaded_for = self.downloaded_for(ctx.now);
            self.downloading_since = (state == TorrentState::Downloading).then_some(ctx.now);
            self.state = state;
            ctx.notify(Notice::State {
                torrent: self.id,
                state,
            });
        }
    }

    /// How long it has been downloading in this run.
    fn downloaded_for(&self, now: Instant) -> Duration {
        let going = self.downloading_since.map(|since| now.since(since));
        self.downloaded_for
            .saturating_add(going.unwrap_or_default())
    }

    /// The storage is open and checked: start, or go on.
    fn go(&mut self, ctx: &mut Shared) {
        if self.paused {
            self.set_state(ctx, TorrentState::Paused);
            return;
        }
        let complete = self.picker.missing().count() == 0;
        self.completed = self.completed && complete;
        let state = if complete {
            TorrentState::Seeding
        } else {
            TorrentState::Downloading
        };
        self.end_early(ctx);
        self.set_state(ctx, state);
        self.store_held(ctx);
        self.greet_early_peers(ctx);
        if !self.metainfo.is_private() {
            ctx.lsd.join(self.id, ctx.now, &mut ctx.timers);
        }
        if complete {
            self.seeding_since.get_or_insert(ctx.now);
            if !self.completed {
                self.completed = true;
                ctx.notify(Notice::Completed { torrent: self.id });
            }
        }
        ctx.signal(Signal::Started(self.id));
        self.start_dht(ctx);
        self.watch_goal(ctx);
        self.seek_peers(ctx);
    }

    /// Stops all that goes on with others; the storage stays open.
    fn halt(&mut self, ctx: &mut Shared) {
        self.disconnect_all(ctx);
        self.news.clear();
        ctx.timers.cancel(Timer::Have(self.id));
        ctx.timers.cancel(Timer::Choke(self.id));
        ctx.timers.cancel(Timer::Candidates(self.id));
        ctx.timers.cancel(Timer::Goal(self.id));
        ctx.timers.cancel(Timer::Metadata(self.id));
        ctx.timers.cancel(Timer::Pex(self.id));
        ctx.lsd.leave(self.id);
        self.stop_dht(ctx);
        self.seeding_since = None;
        if self.announcing {
            self.announcing = false;
            let facts = self.facts(ctx);
            self.announcer.stop(&mut ctx.trackers(), &facts);
        }
    }

    /// Downloading turned into seeding, or back, or neither.
    fn update_completion(&mut self, ctx: &mut Shared) {
        if !self.is_running() {
            return;
        }
        let complete = self.picker.missing().count() == 0;
        if complete && self.state == TorrentState::Downloading {
            self.set_state(ctx, TorrentState::Seeding);
            self.seeding_since = Some(ctx.now);
            self.completed = true;
            ctx.notify(Notice::Completed { torrent: self.id });
            if self.have().is_full() {
                ctx.signal(Signal::Completed(self.id));
            }
            self.checkpoint(ctx);
            self.watch_goal(ctx);
            self.tell_all(ctx);
            self.disconnect_useless(ctx);
            self.refresh_extended_handshakes(ctx);
        } else if !complete && self.state == TorrentState::Seeding {
            self.seeding_since = None;
            self.completed = false;
            self.set_state(ctx, TorrentState::Downloading);
            self.refresh_extended_handshakes(ctx);
            self.seek_peers(ctx);
        }
    }

    /// One entry a file: whether anything of it is wanted. Pad files never are.
    fn wanted_files(&self) -> Vec<bool> {
        self.priorities
            .iter()
            .map(|priority| *priority != Priority::Skip)
            .collect()
    }

    /// Gives each piece the highest priority among the files that it touches.
    fn apply_priorities(&mut self) {
        let pieces = self.layout.piece_count();
        let mut by_piece: Vec<Priority> = Vec::new();
        by_piece.resize(pieces as usize, Priority::Skip);
        for (index, priority) in self.priorities.iter().enumerate() {
            let file = FileIndex::new(index as u32);
            let is_data = self.layout.file_kind(file) == Some(FileKind::Data);
            let Some(range) = self.layout.pieces_of_file(file) else {
                continue;
            };
            if !is_data {
                continue;
            }
            for piece in range {
                if let Some(slot) = by_piece.get_mut(piece as usize) {
                    *slot = (*slot).max(*priority);
                }
            }
        }
        for (piece, priority) in by_piece.into_iter().enumerate() {
            self.picker.set_priority(piece as u32, priority);
        }
    }

    /// Counts anew what each file lacks.
    fn count_missing(&mut self) {
        let files = self.metainfo.files().len() as u32;
        let missing = |file: u32| {
            let pieces = self
                .layout
                .pieces_of_file(FileIndex::new(file))
                .unwrap_or_default();
            pieces.filter(|piece| !self.have().contains(*piece)).count() as u32
        };
        self.file_missing = (0..files).map(missing).collect();
    }

    /// What is verified and written.
    fn have(&self) -> &Bitfield {
        self.picker.have()
    }

    fn is_wanted(&self, piece: u32) -> bool {
        self.picker
            .priority(piece)
            .is_some_and(|priority| priority != Priority::Skip)
    }

    fn piece_size(&self, piece: u32) -> u32 {
        self.layout
            .piece_size(PieceIndex::new(piece))
            .unwrap_or_default()
    }

    /// Bytes of the pieces in a map.
    fn bytes_of(&self, map: &Bitfield) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let full = u64::from(map.count()) * u64::from(self.layout.piece_length());
        if map.contains(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    /// Bytes of the wanted pieces.
    fn wanted_bytes(&self) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let full = u64::from(self.picker.wanted()) * u64::from(self.layout.piece_length());
        if self.is_wanted(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    /// Bytes of the wanted pieces that are there.
    fn wanted_have_bytes(&self) -> u64 {
        let Some(last) = self.layout.piece_count().checked_sub(1) else {
            return 0;
        };
        let count = u64::from(self.picker.wanted() - self.picker.missing().count());
        let full = count * u64::from(self.layout.piece_length());
        if self.is_wanted(last) && self.have().contains(last) {
            full - u64::from(self.layout.piece_length()) + u64::from(self.piece_size(last))
        } else {
            full
        }
    }

    fn name(&self) -> String {
        self.metainfo.name().to_string()
    }
}
