//! Who tells of a torrent's peers: trackers, and the DHT (BEP 5). Private torrents are not looked up there (BEP 27).

use core::time::Duration;

use crate::command::AddTorrent;
use crate::ctx::Timer;
use crate::id::TorrentId;
use crate::limits;
use crate::metainfo::{Magnet, Metainfo};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::time::Instant;
use crate::tracker::{Announcer, Facts};

/// How long after a lookup comes the next one, which announces us anew.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// The same while a download has few peers and nobody to dial, or while fewer nodes took the announce than
/// should have it, as when our node has just begun to know others; doubles with each lookup.
const HUNGRY_INTERVAL: Duration = Duration::from_secs(60);

/// When a torrent was looked up, and how urgent that is.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    last: Option<Instant>,
    /// Lookups in a row that were made before it was time.
    hurried: u32,
    /// Announces in a row that few nodes took.
    few: u32,
}

/// A torrent's trackers, and when it is looked up in the DHT.
#[derive(Debug)]
pub(super) struct Discovery {
    id: TorrentId,
    pub(super) announcer: Announcer,
    dht: Schedule,
}

impl Discovery {
    pub(super) fn new(
        id: TorrentId,
        metainfo: Option<&Metainfo>,
        magnet: Option<&Magnet>,
        add: &AddTorrent,
        ctx: &mut Shared,
    ) -> Self {
        let allow_local = ctx.config.allow_local_trackers;
        let announcer = match &add.trackers {
            Some(tiers) => Announcer::new(tiers, allow_local, &mut ctx.rng),
            None => {
                let tiers = metainfo.map_or(&[][..], |metainfo| metainfo.trackers());
                let mut tiers = tiers.to_vec();
                let urls = magnet.map_or(&[][..], |magnet| &magnet.trackers);
                tiers.extend(urls.iter().map(|url| [url.clone()].into()));
                Announcer::new(&tiers, allow_local, &mut ctx.rng)
            }
        };
        Self {
            id,
            announcer,
            dht: Schedule::default(),
        }
    }

    /// The torrent takes part from now on: its trackers are told, unless they have been.
    pub(super) fn start_trackers(&mut self, ctx: &mut Shared, facts: &Facts) {
        if !self.announcer.is_running() {
            self.announcer.start(&mut ctx.trackers(), facts);
        }
    }

    /// There are few peers, and nobody to dial: trackers are asked before it is time, as far as they allow.
    pub(super) fn hurry_trackers(&mut self, ctx: &mut Shared, facts: &Facts) {
        self.announcer.want_peers(&mut ctx.trackers(), facts);
    }

    /// Its lookup has begun: sets the time of the next one.
    pub(super) fn dht_begun(&mut self, ctx: &mut Shared) {
        self.dht.last = Some(ctx.now);
        ctx.timers
            .set(Timer::DhtTorrent(self.id), ctx.now + INTERVAL);
    }

    /// Its lookup is over, and so many nodes took the announce.
    pub(super) fn dht_announced(&mut self, ctx: &mut Shared, nodes: u32) {
        if nodes as usize >= limits::DHT_BUCKET {
            self.dht.few = 0;
        } else if let Some(last) = self.dht.last {
            let wait = HUNGRY_INTERVAL * (1 << self.dht.few.min(4));
            self.dht.few += 1;
            let due = (last + wait.min(INTERVAL)).max(ctx.now);
            ctx.timers.set_no_later(Timer::DhtTorrent(self.id), due);
        }
    }

    /// It has begun to run, or to look for its metadata.
    pub(super) fn start_dht(&mut self, ctx: &mut Shared) {
        if ctx.config.dht.enabled {
            self.dht = Schedule::default();
            self.review_dht(ctx);
        }
    }

    /// Whether it is to be looked up has changed: what is under way is given up when it shows that it does not run.
    pub(super) fn review_dht(&self, ctx: &mut Shared) {
        if ctx.config.dht.enabled {
            ctx.timers.cancel(Timer::DhtTorrent(self.id));
            ctx.signal(Signal::LookUp(self.id));
        }
    }

    /// Looks it up before it is time.
    pub(super) fn hurry_dht(&mut self, ctx: &mut Shared) {
        let Some(last) = self.dht.last else {
            return;
        };
        let wait = HUNGRY_INTERVAL * (1 << self.dht.hurried.min(4));
        let due = (last + wait.min(INTERVAL)).max(ctx.now);
        let timer = Timer::DhtTorrent(self.id);
        if ctx.timers.deadline(timer).is_some_and(|at| due < at) {
            self.dht.hurried += 1;
            ctx.timers.set(timer, due);
        }
    }
}
