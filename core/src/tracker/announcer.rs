//! BEP 3, 12, 31, 48: which tracker of a torrent is asked, when, and with which event.
//!
//! An [`Announcer`] makes rounds. A round asks one tracker after the other, in the order of BEP 12: tiers as the torrent
//! has them, shuffled inside once, the one that answered moved to the front of its tier. One that has not answered
//! within [`limits::TRACKER_PATIENCE`] is left waiting while the next one is asked; its answer counts whenever it
//! comes. The first answer with peers ends the round, or the first one at all when no peers are sought. Which trackers
//! are asked regularly from then on, each after its own interval, and in which order: see `rounds`.
//!
//! Of a private torrent (BEP 27) one tracker is used at a time: the next one is asked when the one before has failed,
//! or has been given up for its silence, and whoever answers is stayed with, peers or not.

mod ask;
mod farewell;
mod reply;
mod rounds;
mod tracker;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use self::reply::{Heard, Refusal, read_announce, read_scrape, usable_peer, usable_peers};
use self::rounds::{Early, Round};
use self::tracker::{Haste, Tracker, TrackerId};
use super::Means;
use super::udp::{UdpFault, UdpId, UdpOutcome, UdpReply};
use super::url;
use crate::action::Action;
use crate::ctx::{Ctx, Op, Timer};
use crate::event::{ContactError, OpResult};
use crate::id::{OpId, TorrentId};
use crate::limits;
use crate::metainfo::InfoHash;
use crate::notice::Notice;
use crate::rng::Rng;
use crate::status::TrackerStatus;
use crate::time::Instant;
use crate::wire::PeerId;
use crate::wire::tracker::{AnnounceEvent, AnnounceReply, PeerName, TrackerPeer};

/// What a torrent tells its trackers, and what else an announce depends on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The torrent.
    pub(crate) torrent: TorrentId,
    /// Its info-hash.
    pub(crate) info_hash: InfoHash,
    /// Our peer-id for it.
    pub(crate) peer_id: PeerId,
    /// The port that peers can dial; 0 if there is none.
    pub(crate) port: u16,
    /// Payload bytes since `started`.
    pub(crate) uploaded: u64,
    /// Payload bytes since `started`.
    pub(crate) downloaded: u64,
    /// Bytes that are missing of the whole torrent; 0 makes a seed.
    pub(crate) left: u64,
    /// Whether more peers are of use. None are asked for otherwise.
    pub(crate) want_peers: bool,
    /// Whether one tracker is to be used at a time (BEP 27).
    pub(crate) private: bool,
}

impl Facts {
    /// Whether an answer that names nobody is not enough. Who has everything is looked for by others.
    fn seeks_peers(&self) -> bool {
        self.want_peers && self.left > 0 && !self.private
    }
}

/// A torrent's trackers.
///
/// Calls that return addresses return peers to try: usable ones, none of them ourselves, at most
/// [`limits::MAX_TRACKER_PEERS`].
#[derive(Debug)]
pub(crate) struct Announcer {
    /// In the order in which they are asked.
    trackers: Vec<Tracker>,
    /// Tells trackers that it is us under whatever address.
    key: u32,
    running: bool,
    /// Counts rounds, so that each asks a tracker once.
    rounds: u32,
    /// The round under way, as long as there is somebody to ask.
    round: Option<Round>,
    /// When a round between the regular ones begins.
    early: Option<Early>,
    /// The tracker in use that is told of what happens, and asked first between the regular rounds. There is one as long
    /// as any is in use.
    current: Option<TrackerId>,
    completion: Completion,
    flights: Vec<Flight>,
    /// Lookups of peers' names that are under way.
    lookups: usize,
    /// It waits for its turn to ask.
    waits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completion {
    /// Has not happened.
    Open,
    /// Has happened, and no tracker has acknowledged it.
    Owed,
    /// Has been acknowledged, or must not be told because the torrent was complete when it started.
    Settled,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    handle: Handle,
    tracker: TrackerId,
    purpose: Purpose,
    asked: Instant,
    /// When it is given up here, whatever the driver or the UDP client do.
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handle {
    Http(OpId),
    Udp(UdpId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Announce(Option<AnnounceEvent>),
    Scrape,
}

const STARTED: Purpose = Purpose::Announce(Some(AnnounceEvent::Started));
const COMPLETED: Purpose = Purpose::Announce(Some(AnnounceEvent::Completed));
const GOODBYE: Purpose = Purpose::Announce(Some(AnnounceEvent::Stopped));

impl Announcer {
    /// The trackers of a torrent, at most [`limits::MAX_TRACKERS`]. White space around URLs goes, and so do empty and
    /// repeated ones. URLs that cannot be used stay, to be shown, and are never asked.
    pub(crate) fn new(tiers: &[Vec<String>], allow_local: bool, rng: &mut Rng) -> Self {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut tier = 0;
        for urls in tiers {
            let first = trackers.len();
            for text in urls.iter().map(|text| text.trim()) {
                if trackers.len() >= limits::MAX_TRACKERS {
                    break;
                }
                let tracker = Tracker::new(TrackerId(trackers.len()), tier, text, allow_local);
                if !text.is_empty() && trackers.iter().all(|had| had.url != tracker.url) {
                    trackers.push(tracker);
                }
            }
            if let Some(added @ [_, ..]) = trackers.get_mut(first..) {
                rng.shuffle(added);
                tier += 1;
            }
        }
        Self {
            trackers,
            key: rng.u32(),
            running: false,
            rounds: 0,
            round: None,
            early: None,
            current: None,
            completion: Completion::Open,
            flights: Vec::new(),
            lookups: 0,
            waits: false,
        }
    }

    /// The torrent begins to transfer, for the first time or again. Each tracker is told `started` until it has
    /// acknowledged it. A torrent that is complete now never tells that it was completed.
    pub(crate) fn start(&mut self, means: &mut Means<'_>, facts: &Facts) {
        if self.running {
            return;
        }
        self.running = true;
        self.waits = false;
        self.round = None;
        self.early = None;
        self.current = None;
        if facts.left == 0 {
            self.completion = Completion::Settled;
        }
        for tracker in &mut self.trackers {
            begin(&mut means.ctx, facts, tracker);
        }
        self.proceed(means, facts);
    }

    /// More trackers, each a tier of its own after all others; those that are known are passed over. When no tracker has
    /// answered they are asked at once, otherwise when those before them fail.
    pub(crate) fn add(&mut self, means: &mut Means<'_>, facts: &Facts, urls: &[String]) {
        for text in urls.iter().map(|text| text.trim()) {
            if self.trackers.len() >= limits::MAX_TRACKERS {
                break;
            }
            let tiers = self.trackers.iter().map(|tracker| tracker.tier + 1);
            let tier = tiers.max().unwrap_or(0);
            let id = TrackerId(self.trackers.len());
            let allow_local = means.ctx.config.allow_local_trackers;
            let mut tracker = Tracker::new(id, tier, text, allow_local);
            if text.is_empty() || self.trackers.iter().any(|had| had.url == tracker.url) {
                continue;
            }
            if self.running {
                begin(&mut means.ctx, facts, &mut tracker);
            }
            self.trackers.push(tracker);
        }
        if self.running {
            self.proceed(means, facts);
        }
    }

    /// The last missing byte has come: the next [`Announcer::on_timer`] tells, without waiting for an interval; the
    /// caller sets [`Timer::Tracker`] to now. Told once in the life of a torrent (repeated until it is acknowledged),
    /// and not at all if it was complete when it started.
    pub(crate) fn complete(&mut self) {
        if self.running && self.completion == Completion::Open {
            self.completion = Completion::Owed;
        }
    }

    /// Ends everything at once: nothing is under way any more, and nothing follows. Requests to UDP trackers are
    /// dropped by [`UdpTrackers::forget`], which the caller calls as well, and the timer is the caller's.
    pub(crate) fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        self.running = false;
        for flight in core::mem::take(&mut self.flights) {
            if let Handle::Http(op) = flight.handle {
                ctx.push(Action::Cancel { op });
            }
        }
    }

    /// The torrent wants more peers: those in use are asked again as soon as they allow, and those that are not in use as
    /// well, unless no peers are wanted any more by then. A tracker that names no minimum interval allows nothing before
    /// its interval is over.
    pub(crate) fn want_peers(&mut self, means: &mut Means<'_>, facts: &Facts) {
        self.ask_early(means.ctx.now, facts, Haste::Peers);
        self.proceed(means, facts);
    }

    /// The user wants the trackers asked: those in use as soon as they allow; when all have failed, all of them at
    /// once, without waiting out their backoff, except those that said themselves when to ask again. A tracker that
    /// names no minimum interval is left in peace for a minute.
    pub(crate) fn reannounce(&mut self, means: &mut Means<'_>, facts: &Facts) {
        if self.running && self.current.is_none() {
            for tracker in &mut self.trackers {
                tracker.forget_backoff(means.ctx.now);
            }
        }
        self.ask_early(means.ctx.now, facts, Haste::User);
        self.proceed(means, facts);
    }

    /// Asks for the counts of the tracker that answered last, or else the first one, at most once a minute; done by
    /// itself when an answer has none. They show in [`Announcer::statuses`]; a failure shows nowhere, as scraping is
    /// optional (BEP 48).
    pub(crate) fn scrape(&mut self, means: &mut Means<'_>, facts: &Facts) {
        let under_way = self.flights.iter().any(|f| f.purpose == Purpose::Scrape);
        let first_usable = || self.trackers.iter().position(Tracker::is_usable);
        let index = self.current_index().or_else(first_usable);
        if let Some(index) = index
            && !under_way
            && self.trackers[index].scrape_ready <= means.ctx.now
        {
            self.trackers[index].scrape_ready = means.ctx.now + tracker::FLOOR;
            let _ = self.launch(means, facts, index, Purpose::Scrape);
            self.arm(&mut means.ctx, facts);
        }
    }

    /// Its turn to ask has come.
    pub(crate) fn on_admitted(&mut self, means: &mut Means<'_>, facts: &Facts) {
        self.waits = false;
        self.proceed(means, facts);
    }

    /// [`Timer::Tracker`] fired.
    pub(crate) fn on_timer(&mut self, means: &mut Means<'_>, facts: &Facts) {
        let expired: Vec<Flight> = self
            .flights
            .extract_if(.., |flight| flight.deadline <= means.ctx.now)
            .collect();
        for flight in expired {
            give_up(means, flight.handle);
            let timed_out = Refusal::new(ContactError::TimedOut);
            self.landed(&mut means.ctx, facts, &flight, Err(timed_out));
        }
        self.proceed(means, facts);
    }

    /// An HTTP exchange ended; its `op` is out of the table already. Those that were given up are not known here.
    pub(crate) fn on_http_done(
        &mut self,
        means: &mut Means<'_>,
        facts: &Facts,
        op: OpId,
        result: OpResult,
    ) -> Vec<SocketAddr> {
        let Some(flight) = self.take_flight(Handle::Http(op)) else {
            return Vec::new();
        };
        let heard = match result {
            OpResult::Http(Ok(reply)) => match flight.purpose {
                Purpose::Announce(_) => read_announce(&reply),
                Purpose::Scrape => read_scrape(&reply, &facts.info_hash),
            },
            OpResult::Http(Err(error)) => Err(Refusal::new(error)),
            OpResult::Disk(_) | OpResult::Resolved(_) | OpResult::Cancelled => {
                Err(Refusal::new("given up"))
            }
        };
        let peers = self.landed(&mut means.ctx, facts, &flight, heard);
        self.follow_up(means, facts, &flight);
        let current = self.current_index();
        if flight.purpose != Purpose::Scrape
            && self.running
            && current.is_some_and(|index| self.trackers[index].uncounted)
        {
            self.scrape(means, facts);
        }
        self.proceed(means, facts);
        peers
    }

    /// The lookup of a peer's name ended.
    pub(crate) fn on_peer_resolved(
        &mut self,
        listen: Option<SocketAddr>,
        port: u16,
        result: OpResult,
    ) -> Vec<SocketAddr> {
        self.lookups = self.lookups.saturating_sub(1);
        let OpResult::Resolved(Ok(found)) = result else {
            return Vec::new();
        };
        found
            .into_iter()
            .take(limits::MAX_PEER_NAME_ADDRESSES)
            .map(|ip| SocketAddr::new(ip, port))
            .filter_map(|addr| usable_peer(addr, listen, None))
            .collect()
    }

    /// Looks up the peers that are known by a name; says how many.
    fn look_up(&mut self, ctx: &mut Ctx<'_>, facts: &Facts, names: Vec<PeerName>) -> usize {
        let room = limits::MAX_PEER_LOOKUPS.saturating_sub(self.lookups);
        let count = names.len().min(room);
        self.lookups += count;
        for PeerName { host, port } in names.into_iter().take(room) {
            let op = ctx.ops.insert(Op::TrackerPeerResolve(facts.torrent, port));
            let torrent = Some(facts.torrent);
            ctx.push(Action::Resolve { op, host, torrent });
        }
        count
    }

    /// A request to a UDP tracker ended.
    pub(crate) fn on_udp_done(
        &mut self,
        means: &mut Means<'_>,
        facts: &Facts,
        outcome: UdpOutcome,
    ) -> Vec<SocketAddr> {
        let Some(flight) = self.take_flight(Handle::Udp(outcome.id)) else {
            return Vec::new();
        };
        let heard = match outcome.result {
            Ok(UdpReply::Announced {
                interval,
                leechers,
                seeders,
                peers,
            }) => Ok(Heard::Announced(AnnounceReply {
                interval: Some(interval),
                complete: Some(seeders),
                incomplete: Some(leechers),
                peers: peers.into_iter().map(without_id).collect(),
                ..AnnounceReply::default()
            })),
            Ok(UdpReply::Scraped(stats)) => Ok(Heard::Scraped(stats)),
            Err(fault) => Err(Refusal::new(fault)),
        };
        let peers = self.landed(&mut means.ctx, facts, &flight, heard);
        self.follow_up(means, facts, &flight);
        self.proceed(means, facts);
        peers
    }

    /// What there is to say of each tracker, in the order in which they are asked.
    pub(crate) fn statuses(&self, now: Instant) -> Vec<TrackerStatus> {
        self.trackers
            .iter()
            .map(|tracker| {
                let next = self.next_announce(tracker, now);
                let asked = self.flights.iter().any(|f| f.tracker == tracker.id);
                tracker.status(next.map(|at| at.since(now).as_secs()), asked)
            })
            .collect()
    }

    /// Whether it has been told to start, and not to stop.
    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// Whether nothing is under way: the end need not wait.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// An error, when no tracker works: what holds a torrent without peers back.
    pub(crate) fn last_error(&self) -> Option<&str> {
        if self.current.is_some() {
            return None;
        }
        self.trackers
            .iter()
            .find_map(|tracker| tracker.message.as_deref().filter(|_| !tracker.working))
    }

    /// When a tracker is asked next, if that is known.
    fn next_announce(&self, tracker: &Tracker, now: Instant) -> Option<Instant> {
        if !self.running || !tracker.is_usable() {
            return None;
        }
        if self.is_asked(tracker) {
            return Some(now);
        }
        let early = self
            .early
            .filter(|_| self.current == Some(tracker.id))
            .map_or(Instant::FAR, |early| early.at);
        let known = tracker.in_use || tracker.failures > 0;
        let at = tracker.at(Haste::None).min(early);
        (known && at < Instant::FAR).then_some(at)
    }

    /// Sends the next announce, if one is due and none is under way, and sets the timer.
    fn proceed(&mut self, means: &mut Means<'_>, facts: &Facts) {
        if self.running {
            self.go_round(means, facts);
        }
        self.arm(&mut means.ctx, facts);
    }

    /// A request ended.
    fn landed(
        &mut self,
        ctx: &mut Ctx<'_>,
        facts: &Facts,
        flight: &Flight,
        heard: Result<Heard, Refusal>,
    ) -> Vec<SocketAddr> {
        let Some(index) = self.index(flight.tracker) else {
            return Vec::new();
        };
        match (flight.purpose, heard) {
            (Purpose::Announce(Some(AnnounceEvent::Stopped)), _) => Vec::new(),
            (Purpose::Announce(event), Ok(Heard::Announced(reply))) => {
                self.answered(ctx, facts, index, event, reply)
            }
            (Purpose::Announce(_), Ok(Heard::Scraped(_))) => {
                self.failed(ctx, facts, index, Refusal::new(UdpFault::Malformed));
                Vec::new()
            }
            (Purpose::Announce(_), Err(refusal)) => {
                self.failed(ctx, facts, index, refusal);
                Vec::new()
            }
            (Purpose::Scrape, Ok(Heard::Scraped(stats))) => {
                let tracker = &mut self.trackers[index];
                tracker.seeds = Some(stats.complete);
                tracker.leechers = Some(stats.incomplete);
                Vec::new()
            }
            (Purpose::Scrape, Ok(Heard::Announced(_)) | Err(_)) => Vec::new(),
        }
    }

    /// A tracker answered an announce: it leads its tier. The round is over if it is of use.
    fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        facts: &Facts,
        index: usize,
        event: Option<AnnounceEvent>,
        mut reply: AnnounceReply,
    ) -> Vec<SocketAddr> {
        if event == Some(AnnounceEvent::Completed) {
            self.completion = Completion::Settled;
        }
        let peers = usable_peers(&reply, ctx.identity.listen);
        let named = self.look_up(ctx, facts, core::mem::take(&mut reply.names));
        let tracker = &mut self.trackers[index];
        tracker.answered(ctx.now, &reply, peers.len() + named);
        ctx.notify(Notice::TrackerReplied {
            torrent: facts.torrent,
            url: url::shown(&tracker.url),
            peers: tracker.peers,
            warning: reply.warning,
        });
        let tier = tracker.tier;
        let front = self.trackers.iter().position(|t| t.tier == tier);
        let index = match front.filter(|front| *front < index) {
            Some(front) => {
                self.trackers[front..=index].rotate_right(1);
                front
            }
            None => index,
        };
        self.take_into_use(facts, index);
        peers
    }

    /// A tracker did not answer, or refused: the round goes on without it.
    fn failed(&mut self, ctx: &mut Ctx<'_>, facts: &Facts, index: usize, refusal: Refusal) {
        // Nobody who has gone needs to know.
        if !self.running {
            return;
        }
        let tracker = &mut self.trackers[index];
        tracker.failed(ctx.now, ctx.rng, refusal.retry, &refusal.text);
        let wait = tracker.at(Haste::None).since(ctx.now).as_secs();
        let retry_in = (!tracker.is_done_with()).then(|| u32::try_from(wait).unwrap_or(u32::MAX));
        ctx.notify(Notice::TrackerFailed {
            torrent: facts.torrent,
            url: url::shown(&tracker.url),
            error: refusal.text,
            retry_in,
        });
        self.put_out_of_use(index);
    }

    fn arm(&mut self, ctx: &mut Ctx<'_>, facts: &Facts) {
        let round = self.next_step(ctx.now, facts);
        let deadlines = self.flights.iter().map(|flight| flight.deadline);
        let at = deadlines.chain(round).min().unwrap_or(Instant::FAR);
        let timer = Timer::Tracker(facts.torrent);
        if at < Instant::FAR {
            ctx.timers.set(timer, at);
        } else {
            ctx.timers.cancel(timer);
        }
    }

    fn take_flight(&mut self, handle: Handle) -> Option<Flight> {
        let index = self.flights.iter().position(|f| f.handle == handle)?;
        Some(self.flights.remove(index))
    }

    fn current_index(&self) -> Option<usize> {
        self.current.and_then(|id| self.index(id))
    }

    fn index(&self, id: TrackerId) -> Option<usize> {
        self.trackers.iter().position(|tracker| tracker.id == id)
    }
}

/// A tracker of a torrent that runs can be asked from now on; says so if it never can.
fn begin(ctx: &mut Ctx<'_>, facts: &Facts, tracker: &mut Tracker) {
    tracker.begin(ctx.now);
    if let Err(fault) = tracker.endpoint {
        ctx.notify(Notice::TrackerFailed {
            torrent: facts.torrent,
            url: url::shown(&tracker.url),
            error: fault.to_string(),
            retry_in: None,
        });
    }
}

fn give_up(means: &mut Means<'_>, handle: Handle) {
    match handle {
        Handle::Http(op) => means.ctx.push(Action::Cancel { op }),
        Handle::Udp(id) => means.udp.cancel(&mut means.ctx, id),
    }
}

fn without_id(addr: SocketAddr) -> TrackerPeer {
    TrackerPeer {
        addr,
        peer_id: None,
    }
}

#[cfg(test)]
mod tests;
