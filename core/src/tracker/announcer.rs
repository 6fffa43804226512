//! BEP 3, 12, 31, 48: which tracker of a torrent is asked, when, and with which event.
//!
//! An [`Announcer`] makes rounds. A round asks one tracker at a time, in the order of BEP 12: tiers as the torrent has
//! them, shuffled inside once, the one that answered moved to the front of its tier. The first answer ends the round,
//! and the next one comes after the tracker's interval; a tracker that fails is left out until its backoff is over,
//! so a better tier is come back to at the next round after it has recovered. Announces between the regular ones
//! (more peers wanted, the download completed) go to the tracker that answered last.

mod reply;
mod tracker;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use self::reply::{Heard, Refusal, read_announce, read_scrape, usable_peers};
use self::tracker::{Tracker, TrackerId};
use super::udp::{UdpFault, UdpId, UdpOutcome, UdpQuery, UdpReply, UdpTrackers};
use super::url::{self, Endpoint, UdpEndpoint};
use crate::action::{Action, HttpRequest};
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
use crate::wire::tracker::{AnnounceEvent, AnnounceQuery, AnnounceReply, TrackerPeer};
use crate::wire::tracker_http::scrape_url;
use crate::wire::tracker_udp::Announce;

/// What is added to the time that the driver has for an exchange before it is given up here as well.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Doublings of the wait for a UDP tracker while others can be asked instead: 105 s in all.
const PATIENCE: u32 = 2;

/// Doublings of the wait for the only tracker: 465 s in all. BEP 15 goes on to two hours; by then the schedule's own
/// backoff, which begins again with short waits, has found a tracker or a network that came back, and the user knows.
const PATIENCE_ALONE: u32 = 4;

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
    round: u32,
    /// Whether a round is under way.
    walking: bool,
    /// When the next regular round begins.
    regular: Instant,
    /// When an announce between the regular ones is made.
    early: Option<Early>,
    /// The tracker that answered last, unless it has failed since.
    current: Option<TrackerId>,
    completion: Completion,
    flights: Vec<Flight>,
}

#[derive(Clone, Copy, Debug)]
struct Early {
    at: Instant,
    /// The user asked for it: it is made whether peers are wanted or not.
    forced: bool,
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

const COMPLETED: Purpose = Purpose::Announce(Some(AnnounceEvent::Completed));

impl Announcer {
    /// The trackers of a torrent, at most [`limits::MAX_TRACKERS`]. White space around URLs goes, and so do empty and
    /// repeated ones. URLs that cannot be used stay, to be shown, and are never asked.
    pub(crate) fn new(tiers: &[Vec<String>], rng: &mut Rng) -> Self {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut tier = 0;
        for urls in tiers {
            let first = trackers.len();
            for text in urls.iter().map(|text| text.trim()) {
                if trackers.len() >= limits::MAX_TRACKERS {
                    break;
                }
                let tracker = Tracker::new(TrackerId(trackers.len()), tier, text);
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
            round: 0,
            walking: false,
            regular: Instant::FAR,
            early: None,
            current: None,
            completion: Completion::Open,
            flights: Vec::new(),
        }
    }

    /// The torrent begins to transfer, for the first time or again. Each tracker is told `started` until it has
    /// acknowledged it. A torrent that is complete now never tells that it was completed.
    pub(crate) fn start(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        if self.running {
            return;
        }
        self.running = true;
        self.walking = false;
        self.regular = ctx.now;
        self.early = None;
        self.current = None;
        if facts.left == 0 {
            self.completion = Completion::Settled;
        }
        for tracker in &mut self.trackers {
            begin(ctx, facts, tracker);
        }
        self.proceed(ctx, udp, facts);
    }

    /// More trackers, each a tier of its own after all others; those that are known are passed over. When no tracker has
    /// answered they are asked at once, otherwise when those before them fail.
    pub(crate) fn add(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
        facts: &Facts,
        urls: &[String],
    ) {
        for text in urls.iter().map(|text| text.trim()) {
            if self.trackers.len() >= limits::MAX_TRACKERS {
                break;
            }
            let tiers = self.trackers.iter().map(|tracker| tracker.tier + 1);
            let tier = tiers.max().unwrap_or(0);
            let mut tracker = Tracker::new(TrackerId(self.trackers.len()), tier, text);
            if text.is_empty() || self.trackers.iter().any(|had| had.url == tracker.url) {
                continue;
            }
            if self.running {
                begin(ctx, facts, &mut tracker);
            }
            self.trackers.push(tracker);
        }
        if self.running && self.current.is_none() {
            self.regular = self.regular.min(self.first_ready());
            self.proceed(ctx, udp, facts);
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

    /// The torrent pauses or goes. Trackers that acknowledged `started` are told, all at once and for no longer than
    /// [`Config::goodbye_timeout`](crate::Config::goodbye_timeout); what else is under way is given up.
    pub(crate) fn stop(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        if !self.running {
            return;
        }
        self.running = false;
        // That a download was completed is counted by some trackers: it comes before the goodbye, which
        // follows when it is answered.
        let owed = self.current_index().filter(|index| {
            self.completion == Completion::Owed && self.trackers[*index].acknowledged
        });
        let kept = |flight: &mut Flight| owed.is_none() || flight.purpose != COMPLETED;
        let given_up: Vec<Flight> = self.flights.extract_if(.., kept).collect();
        for flight in given_up {
            give_up(ctx, udp, flight.handle);
        }
        for index in 0..self.trackers.len() {
            // Whom we cannot tell at once notices when we do not come back.
            if Some(index) == owed {
                if self.flights.is_empty() {
                    let _ = self.launch(ctx, udp, facts, index, COMPLETED);
                }
            } else {
                self.say_goodbye(ctx, udp, facts, index);
            }
        }
        self.arm(ctx, facts);
    }

    /// Tells a tracker that knows of us that we go.
    fn say_goodbye(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
        facts: &Facts,
        index: usize,
    ) {
        if core::mem::take(&mut self.trackers[index].acknowledged) {
            let purpose = Purpose::Announce(Some(AnnounceEvent::Stopped));
            let _ = self.launch(ctx, udp, facts, index, purpose);
        }
    }

    /// After the end, the goodbye follows what had to come before it.
    fn follow_up(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
        facts: &Facts,
        flight: &Flight,
    ) {
        let index = self
            .trackers
            .iter()
            .position(|tracker| tracker.id == flight.tracker);
        if let Some(index) = index.filter(|_| !self.running && flight.purpose == COMPLETED) {
            self.say_goodbye(ctx, udp, facts, index);
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

    /// The torrent wants more peers: the tracker that answered last is asked again as soon as it allows, unless no
    /// peers are wanted any more by then. A tracker that names no minimum interval is left in peace for a minute, and
    /// for twice as long after each further announce that came early.
    pub(crate) fn want_peers(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        self.ask_early(ctx.now, false);
        self.proceed(ctx, udp, facts);
    }

    /// The user wants the trackers asked: the one that answered last as soon as it allows; when all have failed, all
    /// of them at once, without waiting out their backoff, except those that said themselves when to ask again.
    pub(crate) fn reannounce(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        if self.running && self.current.is_none() {
            for tracker in &mut self.trackers {
                tracker.forget_backoff(ctx.now);
            }
            self.regular = self.regular.min(self.first_ready());
        }
        self.ask_early(ctx.now, true);
        self.proceed(ctx, udp, facts);
    }

    /// Asks for the counts of the tracker that answered last, or else the first one, at most once a minute; done by
    /// itself when an answer has none. They show in [`Announcer::statuses`]; a failure shows nowhere, as scraping is
    /// optional (BEP 48).
    pub(crate) fn scrape(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        let under_way = self.flights.iter().any(|f| f.purpose == Purpose::Scrape);
        let first_usable = || self.trackers.iter().position(Tracker::is_usable);
        let index = self.current_index().or_else(first_usable);
        if let Some(index) = index
            && !under_way
            && self.trackers[index].scrape_ready <= ctx.now
        {
            self.trackers[index].scrape_ready = ctx.now + tracker::FLOOR;
            let _ = self.launch(ctx, udp, facts, index, Purpose::Scrape);
            self.arm(ctx, facts);
        }
    }

    /// [`Timer::Tracker`] fired.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        let expired: Vec<Flight> = self
            .flights
            .extract_if(.., |flight| flight.deadline <= ctx.now)
            .collect();
        for flight in expired {
            give_up(ctx, udp, flight.handle);
            let timed_out = Refusal::new(ContactError::TimedOut);
            self.landed(ctx, facts, &flight, Err(timed_out));
        }
        self.proceed(ctx, udp, facts);
    }

    /// An HTTP exchange ended; its `op` is out of the table already. Those that were given up are not known here.
    pub(crate) fn on_http_done(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
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
        let peers = self.landed(ctx, facts, &flight, heard);
        self.follow_up(ctx, udp, facts, &flight);
        let current = self.current_index();
        if flight.purpose != Purpose::Scrape
            && self.running
            && current.is_some_and(|index| self.trackers[index].uncounted)
        {
            self.scrape(ctx, udp, facts);
        }
        self.proceed(ctx, udp, facts);
        peers
    }

    /// A request to a UDP tracker ended.
    pub(crate) fn on_udp_done(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
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
        let peers = self.landed(ctx, facts, &flight, heard);
        self.follow_up(ctx, udp, facts, &flight);
        self.proceed(ctx, udp, facts);
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
        let under_way = |f: &Flight| f.tracker == tracker.id && f.purpose != Purpose::Scrape;
        if self.flights.iter().any(under_way) {
            return Some(now);
        }
        if self.current == Some(tracker.id) {
            return Some(self.due());
        }
        (tracker.failures > 0 && tracker.ready < Instant::FAR).then_some(tracker.ready)
    }

    fn ask_early(&mut self, now: Instant, forced: bool) {
        if let Some(index) = self.current_index()
            && self.running
            && !self.walking
        {
            let at = self.trackers[index].ready.max(now);
            let forced = forced || self.early.is_some_and(|early| early.forced);
            self.early = Some(Early { at, forced });
        }
    }

    fn due(&self) -> Instant {
        self.early
            .map_or(self.regular, |early| early.at.min(self.regular))
    }

    /// Sends the next announce, if one is due and none is under way, and sets the timer.
    fn proceed(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        if self.running && !self.is_announcing() {
            self.walk(ctx, udp, facts);
        }
        self.arm(ctx, facts);
    }

    /// Whether an announce is under way. A goodbye counts: `started` must not overtake it.
    fn is_announcing(&self) -> bool {
        self.flights.iter().any(|f| f.purpose != Purpose::Scrape)
    }

    fn walk(&mut self, ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, facts: &Facts) {
        if !facts.want_peers && self.early.is_some_and(|early| !early.forced) {
            self.early = None;
        }
        let tell = self.completion == Completion::Owed && self.current.is_some();
        let between = self.regular > ctx.now;
        if !self.walking && (tell || self.due() <= ctx.now) {
            self.walking = true;
            self.round = self.round.wrapping_add(1);
        }
        // Each pass asks a tracker that this round has not asked yet.
        while self.walking {
            let Some(index) = self.candidate(ctx.now, tell || between) else {
                self.walking = false;
                self.early = None;
                self.regular = self.first_ready();
                return;
            };
            let is_current = self.current == Some(self.trackers[index].id);
            let tracker = &mut self.trackers[index];
            tracker.round = self.round;
            tracker.hurried = between && is_current && !tell;
            let event = if !tracker.acknowledged {
                Some(AnnounceEvent::Started)
            } else if self.completion == Completion::Owed {
                Some(AnnounceEvent::Completed)
            } else {
                None
            };
            match self.launch(ctx, udp, facts, index, Purpose::Announce(event)) {
                Ok(()) => return,
                Err(fault) => self.failed(ctx, facts, index, Refusal::new(fault)),
            }
        }
    }

    /// Whom this round asks next. That a download was completed need not wait for a minimum interval.
    fn candidate(&self, now: Instant, prefer_current: bool) -> Option<usize> {
        let fresh = |tracker: &Tracker| tracker.is_usable() && tracker.round != self.round;
        self.current_index()
            .filter(|index| prefer_current && fresh(&self.trackers[*index]))
            .or_else(|| {
                self.trackers
                    .iter()
                    .position(|tracker| fresh(tracker) && tracker.ready <= now)
            })
    }

    fn first_ready(&self) -> Instant {
        self.trackers
            .iter()
            .filter(|tracker| tracker.is_usable())
            .map(|tracker| tracker.ready)
            .min()
            .unwrap_or(Instant::FAR)
    }

    fn launch(
        &mut self,
        ctx: &mut Ctx<'_>,
        udp: &mut UdpTrackers,
        facts: &Facts,
        index: usize,
        purpose: Purpose,
    ) -> Result<(), UdpFault> {
        let goodbye = purpose == Purpose::Announce(Some(AnnounceEvent::Stopped));
        let tracker = &self.trackers[index];
        let (handle, deadline) = match &tracker.endpoint {
            Ok(Endpoint::Http(url)) => {
                let url = match purpose {
                    Purpose::Announce(event) => {
                        Some(self.query(ctx, facts, tracker, event).url(url))
                    }
                    Purpose::Scrape => scrape_url(url, &[*facts.info_hash.as_bytes()]),
                };
                let Some(url) = url else {
                    return Ok(());
                };
                let timeout = if goodbye {
                    ctx.config.goodbye_timeout
                } else {
                    limits::TRACKER_TIMEOUT
                };
                let op = ctx.ops.insert(Op::TrackerHttp(facts.torrent));
                ctx.push(Action::Http {
                    op,
                    request: Box::new(HttpRequest {
                        url,
                        body_limit: limits::TRACKER_REPLY_LEN,
                        redirects: limits::MAX_REDIRECTS,
                        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                    }),
                });
                (Handle::Http(op), ctx.now + timeout + HTTP_GRACE)
            }
            Ok(Endpoint::Udp(endpoint)) => {
                let query = match purpose {
                    Purpose::Announce(event) => {
                        let query = self.query(ctx, facts, tracker, event);
                        UdpQuery::Announce(udp_announce(query, self.key, endpoint))
                    }
                    Purpose::Scrape => UdpQuery::Scrape(*facts.info_hash.as_bytes()),
                };
                let usable = self.trackers.iter().filter(|t| t.is_usable()).count();
                let patience = if usable > 1 { PATIENCE } else { PATIENCE_ALONE };
                let id = udp.request(ctx, facts.torrent, endpoint, query, patience)?;
                (Handle::Udp(id), Instant::FAR)
            }
            Err(_) => return Ok(()),
        };
        self.flights.push(Flight {
            handle,
            tracker: tracker.id,
            purpose,
            deadline: if goodbye {
                ctx.now + ctx.config.goodbye_timeout
            } else {
                deadline
            },
        });
        Ok(())
    }

    fn query(
        &self,
        ctx: &Ctx<'_>,
        facts: &Facts,
        tracker: &Tracker,
        event: Option<AnnounceEvent>,
    ) -> AnnounceQuery {
        let num_want = if facts.want_peers && event != Some(AnnounceEvent::Stopped) {
            ctx.config.tracker_numwant
        } else {
            0
        };
        AnnounceQuery {
            info_hash: *facts.info_hash.as_bytes(),
            peer_id: facts.peer_id,
            port: facts.port,
            uploaded: facts.uploaded,
            downloaded: facts.downloaded,
            left: facts.left,
            event,
            compact: true,
            no_peer_id: true,
            num_want: Some(num_want),
            key: Some(self.key),
            tracker_id: tracker.tracker_id.clone(),
            ip: None,
        }
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

    /// A tracker answered an announce: it leads its tier, and the round is over.
    fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        facts: &Facts,
        index: usize,
        event: Option<AnnounceEvent>,
        reply: AnnounceReply,
    ) -> Vec<SocketAddr> {
        if event == Some(AnnounceEvent::Completed) {
            self.completion = Completion::Settled;
        }
        let peers = usable_peers(&reply, ctx.identity.listen);
        let tracker = &mut self.trackers[index];
        self.regular = tracker.answered(ctx.now, &reply, peers.len());
        self.current = Some(tracker.id);
        self.early = None;
        self.walking = false;
        ctx.notify(Notice::TrackerReplied {
            torrent: facts.torrent,
            url: url::shown(&tracker.url),
            peers: tracker.peers,
            warning: reply.warning,
        });
        let tier = tracker.tier;
        let front = self.trackers.iter().position(|t| t.tier == tier);
        if let Some(front) = front.filter(|front| *front < index) {
            self.trackers[front..=index].rotate_right(1);
        }
        peers
    }

    /// A tracker did not answer, or refused: the round goes on without it.
    fn failed(&mut self, ctx: &mut Ctx<'_>, facts: &Facts, index: usize, refusal: Refusal) {
        let tracker = &mut self.trackers[index];
        if self.current == Some(tracker.id) {
            self.current = None;
        }
        tracker.failed(ctx.now, ctx.rng, refusal.retry, &refusal.text);
        let retry_in = if tracker.ready == Instant::FAR {
            u32::MAX
        } else {
            u32::try_from(tracker.ready.since(ctx.now).as_secs()).unwrap_or(u32::MAX)
        };
        ctx.notify(Notice::TrackerFailed {
            torrent: facts.torrent,
            url: url::shown(&tracker.url),
            error: refusal.text,
            retry_in,
        });
    }

    fn arm(&mut self, ctx: &mut Ctx<'_>, facts: &Facts) {
        let round = (self.running && !self.is_announcing()).then(|| self.due());
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
            retry_in: u32::MAX,
        });
    }
}

fn give_up(ctx: &mut Ctx<'_>, udp: &mut UdpTrackers, handle: Handle) {
    match handle {
        Handle::Http(op) => ctx.push(Action::Cancel { op }),
        Handle::Udp(id) => udp.cancel(ctx, id),
    }
}

fn udp_announce(query: AnnounceQuery, key: u32, endpoint: &UdpEndpoint) -> Announce {
    Announce {
        info_hash: query.info_hash,
        peer_id: query.peer_id,
        downloaded: query.downloaded,
        left: query.left,
        uploaded: query.uploaded,
        event: query.event,
        ip: None,
        key,
        num_want: query.num_want,
        port: query.port,
        url_data: endpoint.url_data.as_bytes().to_vec(),
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
