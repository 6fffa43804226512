//! One torrent: its parts, and what leads from one state to the next.
//!
//! A [`Torrent`] is two halves. [`trade`](self::trade) is all that goes on with peers and the disk; `discovery` is who
//! tells of peers. Neither half reaches the other: what the first has to tell the second is a
//! [`Signal`], and what they do together is in this file.
//!
//! | file | subject |
//! |---|---|
//! | `phase` | what is known of it, and what it is doing |
//! | `trade` | connections, from the handshake to the end, whether the metadata is known or not |
//! | `transfer` | what transfers data once it is: the parts below, lent together |
//! | `content` | part: what it consists of and what of that is there |
//! | `disk` | part: the storage: opening, checking, checkpoints, failures |
//! | `swarm`, `places` | part: the peers; who gets a place, and who gives one up for it |
//! | `flow`, `goal` | part: rates, limits, sums; when it has been seeded enough |
//! | `discovery` | part: its trackers, and when it is looked up in the DHT |
//! | `messages`, `download`, `endgame`, `upload` | which pieces peers have, which blocks are asked of whom, and served to whom |
//! | `extended`, `metadata`, `magnet`, `pex` | extension messages: metadata given and fetched, peers exchanged |
//! | `picker`, `partial`, `blame`, `choker`, `handout`, `roster`, `candidates` | the decisions, without I/O or peers' state |
//! | `view` | what users see |

pub(crate) mod blame;
pub(crate) mod candidates;
pub(crate) mod choker;
mod content;
mod discovery;
mod disk;
mod download;
mod endgame;
mod extended;
mod flow;
mod goal;
pub(crate) mod handout;
mod magnet;
mod messages;
pub(crate) mod metadata;
pub(crate) mod partial;
pub(crate) mod pex;
mod phase;
pub(crate) mod picker;
mod piece;
mod places;
pub(crate) mod roster;
mod slots;
mod swarm;
mod trade;
mod transfer;
mod upload;
mod view;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::action::Action;
use crate::command::{AddTorrent, Priority, RateLimits, Reply, SeedGoal};
use crate::ctx::{DiskOp, Timer};
use crate::error::CommandError;
use crate::event::{CloseReason, DiskDone, DiskError, OpResult};
use crate::eviction::{Facts as PlaceFacts, Worth};
use crate::gate::Lane;
use crate::id::{ConnId, OpId, RequestId, TorrentId};
use crate::metainfo::{FileIndex, InfoHash, Magnet, Metainfo, Node};
use crate::notice::{DisconnectReason, Notice, PeerError};
use crate::peer::Introduction;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::status::PeerSource;
use crate::throttle::Direction;
use crate::time::Instant;
pub(crate) use crate::torrent::magnet::selection;
pub use crate::torrent::view::TorrentView;

use crate::torrent::content::Content;
use crate::torrent::discovery::Discovery;
use crate::torrent::disk::{AfterDisk, PROBE_JITTER, RemoveFiles, Storage};
use crate::torrent::flow::Flow;
use crate::torrent::metadata::Fetch;
use crate::torrent::phase::{Activity, Course, Fetching, Phase};
use crate::torrent::swarm::Swarm;
use crate::torrent::trade::Trade;
use crate::tracker::{Facts, UdpOutcome};
use crate::transport::Transport;

/// What trackers are told to be missing while nobody knows how much it is: enough not to be taken for a
/// seed, and what others tell, too.
const UNKNOWN_LEFT: u64 = 16 * 1024;

/// A torrent and everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Torrent {
    trade: Trade,
    discovery: Discovery,
    /// Requests that wait for this torrent to be gone.
    removal: Vec<RequestId>,
    delete_data: bool,
}

/// What is known of a torrent that is added.
#[derive(Debug)]
pub(crate) enum Known {
    /// All of it.
    Metainfo(Box<Metainfo>),
    /// What a link says, and what it is called until its metadata says so.
    Link { info_hash: InfoHash, name: String },
}

impl Known {
    pub(crate) fn info_hash(&self) -> InfoHash {
        match self {
            Self::Metainfo(metainfo) => metainfo.info_hash(),
            Self::Link { info_hash, .. } => *info_hash,
        }
    }
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
        known: Known,
        magnet: Option<&Magnet>,
        add: &AddTorrent,
        ctx: &mut Shared,
    ) -> Self {
        let info_hash = known.info_hash();
        let metainfo = match &known {
            Known::Metainfo(metainfo) => Some(&**metainfo),
            Known::Link { .. } => None,
        };
        let discovery = Discovery::new(id, metainfo, magnet, add, ctx);
        let swarm = Swarm::new(ctx);
        // A link to what is known already has nothing to fetch.
        let all_there = add.metadata_only && magnet.is_some() && metainfo.is_some();
        let phase = match known {
            Known::Metainfo(metainfo) => {
                let mut priorities = add.priorities.clone();
                if let Some(magnet) = magnet
                    && priorities.is_empty()
                {
                    // A link that selects nothing was refused.
                    priorities = selection(magnet, &metainfo).unwrap_or_default();
                }
                let content = Content::new(*metainfo, priorities, add.sequential, false);
                Phase::Loaded(Box::new(content))
            }
            Known::Link { name, .. } => Phase::Fetching(Box::new(Fetching {
                name,
                given_name: add.name.clone(),
                magnet: magnet.cloned(),
                fetch: Fetch::new(info_hash, ctx.config.max_metadata_size),
                unusable: None,
                metadata_only: add.metadata_only,
                priorities: add.priorities.clone(),
                sequential: add.sequential,
            })),
        };
        Self {
            trade: Trade {
                id,
                info_hash,
                course: Course::new(add.paused || all_there),
                phase,
                storage: Storage::new(add.storage, add.recheck, add.overwrite),
                swarm,
                flow: Flow::new(add.limits, add.goal, ctx.now),
            },
            discovery,
            removal: Vec::new(),
            delete_data: false,
        }
    }

    /// Takes up work: called once, after the torrent has been announced to the user.
    pub(crate) fn begin(&mut self, ctx: &mut Shared, peers: &[SocketAddr]) {
        self.add_candidates(ctx, peers.iter().copied(), PeerSource::User);
        if self.trade.course.is_paused() {
            self.enter(ctx, Activity::Paused);
        } else {
            self.take_up(ctx);
        }
    }

    /// Fetches the metadata, or opens the storage.
    fn take_up(&mut self, ctx: &mut Shared) {
        if self.trade.phase.content().is_some() {
            self.enter(ctx, Activity::Checking { pause: false });
        }
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.open_storage(ctx);
            return;
        }
        // Connections that there are stay.
        self.enter(ctx, Activity::Fetching);
        self.find_peers(ctx);
        self.trade.seek_peers(ctx);
    }

    /// Lets everybody know that it takes part.
    fn find_peers(&mut self, ctx: &mut Shared) {
        let private = self.is_private();
        ctx.signal(Signal::Started(self.id()));
        if !private {
            ctx.lsd.join(self.id(), ctx.now, &mut ctx.timers);
            self.discovery.start_dht(ctx);
        }
    }

    pub(crate) fn id(&self) -> TorrentId {
        self.trade.id
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.trade.info_hash
    }

    /// Whether peers may be connected: while it runs, and from a magnet link until it does.
    pub(crate) fn takes_peers(&self) -> bool {
        self.trade.takes_peers()
    }

    /// Whether only trackers may tell of its peers (BEP 27).
    pub(crate) fn is_private(&self) -> bool {
        self.trade.phase.is_private()
    }

    /// The DHT nodes that it names; none if it is private.
    pub(crate) fn dht_nodes(&self) -> &[Node] {
        match self.trade.phase.content() {
            Some(content) if !content.metainfo.is_private() => content.metainfo.nodes(),
            Some(_) | None => &[],
        }
    }

    pub(crate) fn pause(&mut self, ctx: &mut Shared) {
        if self.trade.course.is_paused() || self.trade.course.activity() == Activity::Removing {
            return;
        }
        self.halt(ctx);
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.checkpoint(ctx);
        }
        self.enter(ctx, Activity::Paused);
    }

    pub(crate) fn resume(&mut self, ctx: &mut Shared) {
        match self.trade.course.activity() {
            Activity::Paused => {
                let fetching = self.trade.phase.fetching();
                if fetching.is_some_and(|fetching| fetching.unusable.is_some()) {
                    return;
                }
                if self.trade.storage.is_open() {
                    self.go(ctx);
                } else {
                    self.take_up(ctx);
                }
            }
            Activity::Failed => self.probe(ctx),
            // A recheck asked for while it was paused ends there otherwise.
            Activity::Checking { .. } => self.enter(ctx, Activity::Checking { pause: false }),
            Activity::Fetching
            | Activity::Downloading { .. }
            | Activity::Seeding { .. }
            | Activity::Removing => {}
        }
    }

    pub(crate) fn recheck(&mut self, ctx: &mut Shared) {
        let removing = self.trade.course.activity() == Activity::Removing;
        if removing || self.trade.phase.content().is_none() {
            return;
        }
        self.halt(ctx);
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.forget_pieces(ctx, false);
            transfer.reopen_storage(ctx, true);
        }
    }

    /// Begins the end. The storage is released, trackers are told; `fate` says when all is done.
    pub(crate) fn remove(
        &mut self,
        ctx: &mut Shared,
        request: Option<RequestId>,
        delete_data: bool,
    ) {
        let id = self.id();
        if self.trade.course.activity() == Activity::Removing {
            if delete_data && !self.delete_data {
                // Too late for that: the data has been promised to stay.
                if let Some(request) = request {
                    let result = Err(CommandError::NoSuchTorrent(id));
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
        self.enter(ctx, Activity::Removing);
        for timer in [
            Timer::Checkpoint(id),
            Timer::Probe(id),
            Timer::Goal(id),
            Timer::Candidates(id),
        ] {
            ctx.timers.cancel(timer);
        }
        ctx.timers
            .set(Timer::Goodbye(id), ctx.now + ctx.config.goodbye_timeout);
        // What had failed before has nothing to do with how the removal goes.
        self.trade.storage.take_error();
        let remove = (!self.removal.is_empty()).then_some(RemoveFiles { data: delete_data });
        match self.trade.transfer() {
            Some(mut transfer) => transfer.release_storage(ctx, remove),
            None => self.trade.storage.release(ctx, id, remove),
        }
    }

    /// Whether everything that the torrent owed is done.
    pub(crate) fn fate(&mut self, ctx: &mut Shared) -> Fate {
        let id = self.id();
        let gone = self.trade.course.activity() == Activity::Removing
            && self.trade.storage.is_released()
            && (self.discovery.announcer.is_idle()
                || ctx.timers.deadline(Timer::Goodbye(id)).is_none());
        if !gone {
            return Fate::Stays;
        }
        for timer in [
            Timer::Goodbye(id),
            Timer::Tracker(id),
            Timer::Choke(id),
            Timer::Slots(id),
            Timer::DhtTorrent(id),
            Timer::Have(id),
        ] {
            ctx.timers.cancel(timer);
        }
        for lane in [
            Lane::Open,
            Lane::Verify,
            Lane::Http,
            Lane::Udp,
            Lane::LookUp,
        ] {
            ctx.gate.forget(lane, id);
        }
        self.discovery.announcer.abandon(&mut ctx.ctx());
        ctx.notify(Notice::Removed { torrent: id });
        let result = match self.trade.storage.take_error() {
            Some(error) => Err(CommandError::Disk(error)),
            None => Ok(Reply::Done),
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
        if let Some(mut transfer) = self.trade.transfer() {
            return transfer.set_priorities(ctx, files);
        }
        let Phase::Fetching(fetching) = &mut self.trade.phase else {
            return Ok(());
        };
        let priorities = &mut fetching.priorities;
        let is_there = |file: &FileIndex| file.as_usize() < priorities.len();
        if let Some((file, _)) = files.iter().find(|(file, _)| !is_there(file)) {
            return Err(CommandError::NoSuchFile(*file));
        }
        for (file, priority) in files {
            if let Some(slot) = priorities.get_mut(file.as_usize()) {
                *slot = *priority;
            }
        }
        Ok(())
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        match &mut self.trade.phase {
            Phase::Fetching(fetching) => fetching.sequential = sequential,
            Phase::Loaded(content) => content.sequential = sequential,
        }
    }

    pub(crate) fn set_limits(&mut self, ctx: &mut Shared, limits: RateLimits) {
        self.trade.flow.set_limits(limits, ctx.now);
        ctx.signal(Signal::Unthrottled);
    }

    pub(crate) fn set_goal(&mut self, ctx: &mut Shared, goal: SeedGoal) {
        self.trade.flow.goal = goal;
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.watch_goal(ctx);
        }
    }

    /// Its goal may have been reached.
    pub(crate) fn on_goal(&mut self, ctx: &mut Shared) {
        let Some(mut transfer) = self.trade.transfer() else {
            return;
        };
        if transfer.is_goal_reached(ctx.now) {
            ctx.notify(Notice::GoalReached { torrent: self.id() });
            self.pause(ctx);
        } else {
            transfer.watch_goal(ctx);
        }
    }

    pub(crate) fn add_candidates(
        &mut self,
        ctx: &mut Shared,
        peers: impl IntoIterator<Item = SocketAddr>,
        source: PeerSource,
    ) {
        let private = self.is_private();
        let candidates = &mut self.trade.swarm.candidates;
        if let Some(own) = ctx.identity.listen
            && !own.ip().is_unspecified()
        {
            candidates.set_own(own);
        }
        // Peers of a private torrent come from its trackers alone (BEP 27), and from the user.
        if source.is_hearsay() && private {
            return;
        }
        for address in peers {
            if ctx.identity.listen == Some(address) || ctx.banned.contains(address.ip()) {
                continue;
            }
            candidates.add(address, source, ctx.now);
        }
        self.trade.seek_peers(ctx);
    }

    /// What trackers are told.
    fn facts(&self, ctx: &Shared) -> Facts {
        Facts {
            torrent: self.id(),
            info_hash: self.info_hash(),
            peer_id: ctx.identity.peer_id,
            port: ctx.identity.port(),
            uploaded: self.trade.flow.session_uploaded,
            downloaded: self.trade.flow.session_downloaded,
            left: match &self.trade.phase {
                Phase::Fetching(_) => UNKNOWN_LEFT,
                Phase::Loaded(content) => content.left(),
            },
            want_peers: self.trade.swarm.wants_peers(ctx, self.trade.standing()),
            private: self.is_private(),
        }
    }

    pub(crate) fn reannounce(&mut self, ctx: &mut Shared) {
        if self.takes_peers() {
            let facts = self.facts(ctx);
            let announcer = &mut self.discovery.announcer;
            announcer.reannounce(&mut ctx.trackers(), &facts);
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
        let announcer = &mut self.discovery.announcer;
        announcer.add(&mut ctx.trackers(), &facts, urls);
        Ok(())
    }

    pub(crate) fn scrape(&mut self, ctx: &mut Shared) {
        let facts = self.facts(ctx);
        let announcer = &mut self.discovery.announcer;
        announcer.scrape(&mut ctx.trackers(), &facts);
    }

    /// It takes part from now on.
    pub(crate) fn on_started(&mut self, ctx: &mut Shared) {
        if self.takes_peers() {
            let facts = self.facts(ctx);
            self.discovery.start_trackers(ctx, &facts);
        }
    }

    /// It has everything.
    pub(crate) fn on_completed(&mut self, ctx: &mut Shared) {
        self.discovery.announcer.complete();
        self.on_tracker_timer(ctx);
    }

    /// There are few peers, and nobody to dial: trackers and the DHT are asked before it is time, as far as they
    /// allow.
    pub(crate) fn on_lonely(&mut self, ctx: &mut Shared) {
        self.on_started(ctx);
        if self.discovery.announcer.is_running() {
            let facts = self.facts(ctx);
            self.discovery.hurry_trackers(ctx, &facts);
        }
        let lacking = matches!(
            self.trade.course.activity(),
            Activity::Downloading { .. } | Activity::Fetching
        );
        if lacking && self.dht_wish().is_some() {
            self.discovery.hurry_dht(ctx);
        }
    }

    /// It has got all that was wanted of it, or that is to be had.
    pub(crate) fn on_done(&mut self, ctx: &mut Shared) {
        if self.trade.is_done() {
            self.pause(ctx);
        }
    }

    /// The trackers' schedule came due.
    pub(crate) fn on_tracker_timer(&mut self, ctx: &mut Shared) {
        let facts = self.facts(ctx);
        let announcer = &mut self.discovery.announcer;
        announcer.on_timer(&mut ctx.trackers(), &facts);
    }

    /// A request to one of its UDP trackers ended.
    pub(crate) fn on_udp_done(&mut self, ctx: &mut Shared, outcome: UdpOutcome) {
        let facts = self.facts(ctx);
        let announcer = &mut self.discovery.announcer;
        let peers = announcer.on_udp_done(&mut ctx.trackers(), &facts, outcome);
        self.add_candidates(ctx, peers, PeerSource::Tracker);
    }

    /// An HTTP exchange with one of its trackers ended.
    pub(crate) fn on_http_done(&mut self, ctx: &mut Shared, op: OpId, result: OpResult) {
        let facts = self.facts(ctx);
        let announcer = &mut self.discovery.announcer;
        let peers = announcer.on_http_done(&mut ctx.trackers(), &facts, op, result);
        self.add_candidates(ctx, peers, PeerSource::Tracker);
    }

    /// The lookup of a peer's name that a tracker told ended.
    pub(crate) fn on_peer_resolved(&mut self, ctx: &mut Shared, port: u16, result: OpResult) {
        let listen = ctx.identity.listen;
        let announcer = &mut self.discovery.announcer;
        let peers = announcer.on_peer_resolved(listen, port, result);
        self.add_candidates(ctx, peers, PeerSource::Tracker);
    }

    /// Whether it is to be looked up in the DHT, and then whether it is complete.
    pub(crate) fn dht_wish(&self) -> Option<bool> {
        let wanted = self.takes_peers() && !self.is_private();
        wanted.then(|| self.trade.phase.is_full())
    }

    /// Its lookup has begun.
    pub(crate) fn dht_begun(&mut self, ctx: &mut Shared) {
        self.discovery.dht_begun(ctx);
    }

    /// Its lookup is over, and so many nodes took the announce.
    pub(crate) fn dht_announced(&mut self, ctx: &mut Shared, nodes: u32) {
        self.discovery.dht_announced(ctx, nodes);
    }

    /// A handshake is complete. Says whether the peer was taken in; if not, its connection is closed.
    pub(crate) fn join(&mut self, ctx: &mut Shared, introduction: Introduction) -> bool {
        self.trade.join(ctx, introduction)
    }

    /// Bytes from a peer.
    pub(crate) fn receive(&mut self, ctx: &mut Shared, conn: ConnId, data: Bytes) {
        self.trade.receive(ctx, conn, data);
    }

    /// Bytes for a peer left, as the driver says. How many count: no more than were to be sent.
    pub(crate) fn sent(&mut self, ctx: &mut Shared, conn: ConnId, len: u64) -> u64 {
        self.trade.sent(ctx, conn, len)
    }

    /// A connection ended by itself.
    pub(crate) fn closed(&mut self, ctx: &mut Shared, conn: ConnId, reason: CloseReason) {
        self.trade.closed(ctx, conn, reason);
    }

    /// Ends a connection with a peer.
    pub(crate) fn disconnect(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        self.trade.disconnect(ctx, conn, reason);
    }

    /// A peer gives up its place to somebody new.
    pub(crate) fn replace(&mut self, ctx: &mut Shared, conn: ConnId) {
        self.trade.replace(ctx, conn);
    }

    /// The periodic look at a peer.
    pub(crate) fn look_after(&mut self, ctx: &mut Shared, conn: ConnId) {
        self.trade.look_after(ctx, conn);
    }

    /// A connection that waited for a limit may try again.
    pub(crate) fn unthrottle(&mut self, ctx: &mut Shared, conn: ConnId, direction: Direction) {
        self.trade.unthrottle(ctx, conn, direction);
    }

    /// The choker's round.
    pub(crate) fn choke_round(&mut self, ctx: &mut Shared) {
        self.trade.choke_round(ctx);
    }

    /// Slots may be held to no purpose.
    pub(crate) fn review_slots(&mut self, ctx: &mut Shared) {
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.review_slots(ctx);
        }
    }

    /// Tells all peers what has come.
    pub(crate) fn tell_all(&mut self, ctx: &mut Shared) {
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.tell_all(ctx);
        }
    }

    /// Tells the peers whose time has come of each other.
    pub(crate) fn exchange_peers(&mut self, ctx: &mut Shared) {
        self.trade.exchange_peers(ctx);
    }

    /// Asks for what is missing of the metadata.
    pub(crate) fn fetch_more(&mut self, ctx: &mut Shared) {
        self.trade.fetch_more(ctx);
    }

    /// The next address to dial, if one is due and wanted.
    pub(crate) fn next_candidate(&mut self, ctx: &mut Shared) -> Option<SocketAddr> {
        self.trade.next_candidate(ctx)
    }

    /// Lets the torrent be dialled for, if it wants more peers.
    pub(crate) fn seek_peers(&self, ctx: &mut Shared) {
        self.trade.seek_peers(ctx);
    }

    /// A connection that was dialled ended by itself before the handshake was complete.
    pub(crate) fn dial_ended(
        &mut self,
        ctx: &mut Shared,
        address: SocketAddr,
        reason: CloseReason,
    ) {
        self.trade.dial_ended(ctx, address, reason);
    }

    /// By what an address was reached, or is said to be.
    pub(crate) fn transport_of(&self, address: SocketAddr) -> Option<Transport> {
        self.trade.swarm.candidates.transport(address)
    }

    /// Dialling, or the handshake after it, came to nothing.
    pub(crate) fn dial_failed(&mut self, ctx: &mut Shared, address: SocketAddr, error: PeerError) {
        self.trade.dial_failed(ctx, address, error);
    }

    /// Whether it gets next to nothing, and wants something.
    pub(crate) fn starves(&self, now: Instant) -> bool {
        self.trade.standing().starves(now)
    }

    /// What the rule for places must know of the peers.
    pub(crate) fn facts_of_peers(&self, now: Instant) -> impl Iterator<Item = PlaceFacts> + '_ {
        let unjudged = self.trade.phase.is_unjudged();
        self.trade.swarm.facts_of_peers(now, unjudged)
    }

    /// What a peer is worth; none if it is not, or no longer, this torrent's.
    pub(crate) fn worth(&self, conn: ConnId, now: Instant) -> Option<Worth> {
        let unjudged = self.trade.phase.is_unjudged();
        self.trade.swarm.worth(conn, now, unjudged)
    }

    /// The user wants resume data to be saved, and to know when that is done.
    pub(crate) fn save(&mut self, ctx: &mut Shared, request: RequestId) {
        match self.trade.transfer() {
            Some(mut transfer) => transfer.save(ctx, request),
            None => self.trade.storage.save_nothing(ctx, request),
        }
    }

    /// The time for resume data has come.
    pub(crate) fn on_checkpoint_timer(&mut self, ctx: &mut Shared) {
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.on_checkpoint_timer(ctx);
        }
    }

    /// Looks whether a disk that failed can be used again.
    pub(crate) fn probe(&mut self, ctx: &mut Shared) {
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.probe(ctx);
        }
    }

    /// A disk job ended.
    pub(crate) fn on_disk(
        &mut self,
        ctx: &mut Shared,
        op: OpId,
        about: DiskOp,
        result: Result<DiskDone, DiskError>,
    ) {
        let after = self.trade.on_disk(ctx, op, about, result);
        self.on_verdict(ctx, after);
    }

    /// Its turn has come for what it waited for.
    pub(crate) fn on_admitted(&mut self, ctx: &mut Shared, lane: Lane) {
        match lane {
            Lane::Open | Lane::Verify => {
                let transfer = self.trade.transfer();
                let after = transfer.map(|mut transfer| transfer.on_admitted(ctx, lane));
                self.on_verdict(ctx, after.unwrap_or(AfterDisk::Nothing));
            }
            Lane::Http | Lane::Udp => {
                let facts = self.facts(ctx);
                let announcer = &mut self.discovery.announcer;
                announcer.on_admitted(&mut ctx.trackers(), &facts);
            }
            Lane::LookUp => {}
        }
    }

    fn on_verdict(&mut self, ctx: &mut Shared, after: AfterDisk) {
        match after {
            AfterDisk::Nothing => {}
            AfterDisk::Checked => {
                if self.trade.course.is_paused() {
                    self.enter(ctx, Activity::Paused);
                } else {
                    self.go(ctx);
                }
                if let Some(mut transfer) = self.trade.transfer() {
                    transfer.trim_complete_files(ctx);
                }
            }
            AfterDisk::Usable => self.go(ctx),
            AfterDisk::Failed(about, error) => self.fail(ctx, about, error),
        }
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.keep_on(ctx);
            transfer.content.account_partials(ctx);
        }
    }

    /// Bytes of incomplete pieces that are in memory.
    pub(crate) fn in_memory(&self) -> u64 {
        self.trade.in_memory()
    }

    /// Connections that wait for a limit, each once a direction.
    pub(crate) fn waiting(&self) -> usize {
        self.trade.waiting()
    }

    /// Checks what must hold between two events; `ops` are its disk jobs under way, in their order.
    pub(crate) fn check(&self, ops: &[(OpId, DiskOp)]) {
        self.trade.check();
        self.trade.check_ops(ops);
    }

    fn enter(&mut self, ctx: &mut Shared, activity: Activity) {
        let id = self.id();
        self.trade.course.enter(ctx, id, activity);
    }

    /// The storage is open and checked: start, or go on.
    fn go(&mut self, ctx: &mut Shared) {
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.go(ctx);
        }
        self.find_peers(ctx);
        if let Some(mut transfer) = self.trade.transfer() {
            transfer.watch_goal(ctx);
        }
        self.trade.seek_peers(ctx);
    }

    /// Stops all that goes on with others; the storage stays open.
    fn halt(&mut self, ctx: &mut Shared) {
        let id = self.id();
        self.trade.disconnect_all(ctx);
        self.trade.swarm.news.clear();
        for timer in [
            Timer::Have(id),
            Timer::Choke(id),
            Timer::Slots(id),
            Timer::Candidates(id),
            Timer::Goal(id),
            Timer::Metadata(id),
            Timer::Pex(id),
        ] {
            ctx.timers.cancel(timer);
        }
        ctx.lsd.leave(id);
        if !self.is_private() {
            self.discovery.review_dht(ctx);
        }
        if self.discovery.announcer.is_running() {
            ctx.gate.forget(Lane::Http, id);
            ctx.gate.forget(Lane::Udp, id);
            let facts = self.facts(ctx);
            let announcer = &mut self.discovery.announcer;
            announcer.stop(&mut ctx.trackers(), &facts);
        }
    }

    /// The disk failed: everything stops, and the disk is looked at again later.
    fn fail(&mut self, ctx: &mut Shared, about: DiskOp, error: DiskError) {
        let id = self.id();
        let activity = self.trade.course.activity();
        if activity == Activity::Removing {
            return;
        }
        let again = activity == Activity::Failed;
        let storage = &mut self.trade.storage;
        let (news, probe_after) = storage.note_failure(ctx.now, about, &error, again);
        if !again {
            self.halt(ctx);
            if let Some(mut transfer) = self.trade.transfer() {
                transfer.bound_held(ctx);
            }
        }
        if news {
            ctx.notify(Notice::StorageFailed { torrent: id, error });
        }
        if self.trade.course.is_paused() {
            self.enter(ctx, Activity::Paused);
            return;
        }
        self.enter(ctx, Activity::Failed);
        match probe_after {
            Some(after) => {
                // Not all torrents of a disk at one moment.
                let most = (after / PROBE_JITTER).as_millis() as u32;
                let sooner = Duration::from_millis(u64::from(ctx.rng.below(most.max(1))));
                let at = ctx.now + after.saturating_sub(sooner);
                ctx.timers.set_no_later(Timer::Probe(id), at);
            }
            None => ctx.timers.cancel(Timer::Probe(id)),
        }
    }
}
