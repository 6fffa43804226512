//! BEP 3, 31: one tracker of a torrent, and when it may be asked.

use alloc::string::{String, ToString};
use core::time::Duration;

use bytes::Bytes;

use super::reply::Comeback;
use crate::limits;
use crate::rng::Rng;
use crate::status::TrackerStatus;
use crate::time::Instant;
use crate::tracker::url::{self, Endpoint, UrlFault};
use crate::wire::tracker::AnnounceReply;

/// No tracker is asked regularly more often than this, whatever it says.
pub(super) const FLOOR: Duration = Duration::from_secs(60);

/// How often a tracker is asked that does not say.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1_800);

/// No tracker is forgotten for longer than this, whatever it says.
const CEILING: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait after the first failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);

/// The longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::from_secs(60 * 60);

/// Why a tracker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Haste {
    /// It is time.
    None,
    /// The torrent wants more peers.
    Peers,
    /// The user wants so, whether peers are wanted or not.
    User,
}

/// Which tracker, whatever its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackerId(pub(super) usize);

/// One tracker.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) id: TrackerId,
    pub(super) tier: u32,
    pub(super) url: String,
    pub(super) endpoint: Result<Endpoint, UrlFault>,
    /// The round that asked it last.
    pub(super) round: u32,
    /// It has acknowledged `started`.
    pub(super) acknowledged: bool,
    /// It is asked regularly: it answered last, and no better one has peers.
    pub(super) in_use: bool,
    /// Given back to it in each announce.
    pub(super) tracker_id: Option<Bytes>,
    /// When it is asked regularly: its interval, or a backoff, is over.
    due: Instant,
    /// When it may be asked because peers are wanted: the minimum interval is over that it named, otherwise the interval.
    ready: Instant,
    /// When it may be asked because the user wants so.
    user_ready: Instant,
    pub(super) scrape_ready: Instant,
    /// Its last answer had no counts.
    pub(super) uncounted: bool,
    /// Failures since it answered last.
    pub(super) failures: u32,
    /// It said itself when it may be asked again.
    told_off: bool,
    pub(super) working: bool,
    pub(super) message: Option<String>,
    pub(super) seeds: Option<u32>,
    pub(super) leechers: Option<u32>,
    pub(super) peers: u32,
}

impl Tracker {
    pub(super) fn new(id: TrackerId, tier: u32, text: &str, allow_local: bool) -> Self {
        let endpoint = url::parse(text, allow_local);
        let message = endpoint.as_ref().err().map(ToString::to_string);
        Self {
            id,
            tier,
            // Whole when it can be used; otherwise as much as is worth showing.
            url: match endpoint {
                Ok(_) => String::from(text),
                Err(_) => text.chars().take(limits::MAX_FOREIGN_TEXT).collect(),
            },
            endpoint,
            round: 0,
            acknowledged: false,
            in_use: false,
            tracker_id: None,
            due: Instant::ZERO,
            ready: Instant::ZERO,
            user_ready: Instant::ZERO,
            scrape_ready: Instant::ZERO,
            uncounted: false,
            failures: 0,
            told_off: false,
            working: false,
            message,
            seeds: None,
            leechers: None,
            peers: 0,
        }
    }

    /// Whether it can be asked at all.
    pub(super) fn is_usable(&self) -> bool {
        self.endpoint.is_ok()
    }

    /// When it may be asked.
    pub(super) fn at(&self, haste: Haste) -> Instant {
        match haste {
            Haste::None => self.due,
            Haste::Peers => self.ready,
            Haste::User => self.user_ready,
        }
    }

    /// Whether it said itself that it must not be asked again.
    pub(super) fn is_done_with(&self) -> bool {
        self.due == Instant::FAR
    }

    fn wait_until(&mut self, at: Instant) {
        (self.due, self.ready, self.user_ready) = (at, at, at);
    }

    /// The torrent starts: the tracker is new to us again.
    pub(super) fn begin(&mut self, now: Instant) {
        self.acknowledged = false;
        self.in_use = false;
        self.failures = 0;
        if !self.told_off {
            self.wait_until(now);
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self, now: Instant, reply: &AnnounceReply, peers: usize) {
        let seconds = |number: u32| Duration::from_secs(u64::from(number)).clamp(FLOOR, CEILING);
        let min_interval = reply.min_interval.map(seconds);
        let interval = reply.interval.map_or(DEFAULT_INTERVAL, seconds);
        let interval = interval.max(min_interval.unwrap_or(FLOOR));
        self.due = now + interval;
        self.ready = now + min_interval.unwrap_or(interval);
        self.user_ready = now + min_interval.unwrap_or(FLOOR);
        self.acknowledged = true;
        self.in_use = true;
        self.failures = 0;
        self.told_off = false;
        self.working = true;
        self.message.clone_from(&reply.warning);
        if reply.tracker_id.is_some() {
            self.tracker_id.clone_from(&reply.tracker_id);
        }
        self.uncounted = reply.complete.is_none() && reply.incomplete.is_none();
        self.seeds = reply.complete.or(self.seeds);
        self.leechers = reply.incomplete.or(self.leechers);
        self.peers = u32::try_from(peers).unwrap_or(u32::MAX);
    }

    /// It did not answer, or refused.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        retry: Option<Comeback>,
        text: &str,
    ) {
        self.working = false;
        self.in_use = false;
        self.message = Some(String::from(text));
        self.told_off = retry.is_some();
        let backoff = backoff(self.failures, rng);
        self.wait_until(match retry {
            Some(Comeback::Never) => Instant::FAR,
            // What it asks for shortens nothing: who fails again and again is asked ever less often.
            Some(Comeback::After(wait)) => now + wait.clamp(FLOOR, CEILING).max(backoff),
            None => now + backoff,
        });
        self.failures = self.failures.saturating_add(1);
    }

    /// The user does not want to wait; but what the tracker itself asked for stands.
    pub(super) fn forget_backoff(&mut self, now: Instant) {
        if self.failures > 0 && !self.told_off {
            self.wait_until(self.due.min(now));
        }
    }

    pub(super) fn status(&self, next_announce: Option<u64>, asked: bool) -> TrackerStatus {
        TrackerStatus {
            url: self.url.clone(),
            tier: self.tier,
            working: self.working,
            message: self.message.clone(),
            seeds: self.seeds,
            leechers: self.leechers,
            peers: self.peers,
            next_announce,
            asked,
        }
    }
}

/// Twice as long with each failure, give or take a quarter, so that torrents that failed together do not come back
/// together.
fn backoff(failures: u32, rng: &mut Rng) -> Duration {
    // 5 s << 10 is past an hour.
    let base = (FIRST_BACKOFF * (1 << failures.min(10))).min(MAX_BACKOFF);
    let half = u32::try_from(base.as_millis() / 2).unwrap_or(u32::MAX);
    let jitter = Duration::from_millis(u64::from(rng.below(half)));
    (base * 3 / 4 + jitter).clamp(FIRST_BACKOFF, MAX_BACKOFF)
}
