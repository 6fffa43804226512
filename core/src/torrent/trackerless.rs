//! BEP 5: when a torrent is looked up in the DHT. Private torrents never are (BEP 27).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::ctx::Timer;
use crate::limits;
use crate::metainfo::Node;
use crate::notice::TorrentState;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::time::Instant;
use crate::torrent::Torrent;

/// How long after a lookup comes the next one, which announces us anew.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// The same while a download has few peers and nobody to dial, or while fewer nodes took the announce than
/// should have it, as when our node has just begun to know others; doubles with each lookup.
const HUNGRY_INTERVAL: Duration = Duration::from_secs(60);

/// How long to wait when too many lookups are under way, and how much longer at random.
const BUSY: Duration = Duration::from_secs(3);
const BUSY_SPREAD_MS: u32 = 5_000;

/// When a torrent was looked up, and how urgent that is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Schedule {
    last: Option<Instant>,
    /// Lookups in a row that were early.
    early: u32,
    /// Announces in a row that few nodes took.
    few: u32,
}

impl Torrent {
    /// Whether only trackers may tell of its peers (BEP 27).
    pub(crate) fn is_private(&self) -> bool {
        self.metainfo.is_private()
    }

    /// The DHT nodes that it names; none if it is private.
    pub(crate) fn dht_nodes(&self) -> &[Node] {
        if self.is_private() {
            &[]
        } else {
            self.metainfo.nodes()
        }
    }

    /// Whether it is to be looked up, and then whether it is complete.
    pub(crate) fn dht_wish(&self) -> Option<bool> {
        let wanted = self.takes_peers() && !self.is_private();
        wanted.then(|| self.have().is_full() && !self.early)
    }

    /// Its lookup has begun: sets the time of the next one.
    pub(crate) fn dht_begun(&mut self, ctx: &mut Shared) {
        self.dht.last = Some(ctx.now);
        ctx.timers
            .set(Timer::DhtTorrent(self.id), ctx.now + INTERVAL);
    }

    /// Its lookup is over, and so many nodes took the announce.
    pub(crate) fn dht_announced(&mut self, ctx: &mut Shared, nodes: u32) {
        if nodes as usize >= limits::DHT_BUCKET {
            self.dht.few = 0;
        } else if let Some(last) = self.dht.last {
            let wait = HUNGRY_INTERVAL * (1 << self.dht.few.min(4));
            self.dht.few += 1;
            let due = (last + wait.min(INTERVAL)).max(ctx.now);
            ctx.timers.set_no_later(Timer::DhtTorrent(self.id), due);
        }
    }

    /// There was no room for its lookup.
    pub(crate) fn dht_busy(&mut self, ctx: &mut Shared) {
        let spread = Duration::from_millis(ctx.rng.below(BUSY_SPREAD_MS).into());
        ctx.timers
            .set(Timer::DhtTorrent(self.id), ctx.now + BUSY + spread);
    }

    /// It has begun to run, or to look for its metadata.
    pub(super) fn start_dht(&mut self, ctx: &mut Shared) {
        if ctx.config.dht.enabled && !self.is_private() {
            self.dht = Schedule::default();
            ctx.timers.cancel(Timer::DhtTorrent(self.id));
            ctx.signal(Signal::LookUp(self.id));
        }
    }

    /// It turned out to be private.
    pub(super) fn quit_dht(&mut self, ctx: &mut Shared) {
        if ctx.config.dht.enabled {
            ctx.timers.cancel(Timer::DhtTorrent(self.id));
            ctx.signal(Signal::LookUp(self.id));
        }
    }

    /// It has stopped.
    pub(super) fn stop_dht(&mut self, ctx: &mut Shared) {
        if ctx.config.dht.enabled && !self.is_private() {
            // What is under way is given up when it shows that it does not run.
            ctx.timers.cancel(Timer::DhtTorrent(self.id));
            ctx.signal(Signal::LookUp(self.id));
        }
    }

    /// There are few peers, and nobody to dial: trackers and the DHT are asked before it is time, as far as they
    /// allow.
    pub(crate) fn on_lonely(&mut self, ctx: &mut Shared) {
        self.on_started(ctx);
        if self.announcing {
            let facts = self.facts(ctx);
            self.announcer.want_peers(&mut ctx.trackers(), &facts);
        }
        self.hurry_dht(ctx);
    }

    fn hurry_dht(&mut self, ctx: &mut Shared) {
        let lacking = matches!(
            self.state,
            TorrentState::Downloading | TorrentState::FetchingMetadata
        );
        if self.dht_wish().is_none() || !lacking {
            return;
        }
        let Some(last) = self.dht.last else {
            return;
        };
        let wait = HUNGRY_INTERVAL * (1 << self.dht.early.min(4));
        let due = (last + wait.min(INTERVAL)).max(ctx.now);
        let timer = Timer::DhtTorrent(self.id);
        if ctx.timers.deadline(timer).is_some_and(|at| due < at) {
            self.dht.early += 1;
            ctx.timers.set(timer, due);
        }
    }

    /// A peer says where its DHT node is.
    pub(super) fn on_dht_port(&mut self, ctx: &mut Shared, peer: SocketAddr, port: u16) {
        if ctx.config.dht.enabled && !self.is_private() && port != 0 {
            ctx.signal(Signal::Node(SocketAddr::new(peer.ip(), port)));
        }
    }

    /// A peer that we dialled says what our address is (BEP 10). Whoever dialled us chose to, and may have come for this.
    pub(super) fn on_own_address(&self, ctx: &mut Shared, peer: SocketAddr, own: IpAddr) {
        if ctx.config.dht.enabled && !self.is_private() {
            ctx.signal(Signal::OwnAddress { peer, own });
        }
    }

    /// Where our DHT node is, if peers may know.
    pub(super) fn dht_port(&self, ctx: &Shared) -> Option<u16> {
        let port = ctx.identity.port();
        (ctx.config.dht.enabled && !self.is_private() && port != 0).then_some(port)
    }
}
