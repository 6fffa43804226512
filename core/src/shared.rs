//! What all parts of an engine share, and how it is lent.
//!
//! The engine owns one [`Shared`] next to its table of torrents, so that a torrent can be lent all of it by ordinary
//! borrowing. Parts that know nothing of peers (trackers, the DHT) are lent a [`Ctx`], which is what they need of it.

use crate::action::{Action, Actions, DiskJob};
use crate::bans::Banned;
use crate::budget::Budgets;
use crate::config::Config;
use crate::connections::Connections;
use crate::ctx::{Ctx, DiskOp, Identity, Op, Out, Timer};
use crate::gate::{Gate, Lane};
use crate::id::{OpId, TorrentId};
use crate::idlers::Idlers;
use crate::lsd::Lsd;
use crate::notice::Notice;
use crate::rate::Traffic;
use crate::rng::Rng;
use crate::signal::{Signal, Signals};
use crate::slab::Slab;
use crate::stats::Stats;
use crate::throttle::Throttle;
use crate::time::Instant;
use crate::timer::Timers;
use crate::tracker::{Means, UdpTrackers};

/// The engine's shared parts. Whoever is lent them appends to `actions`, sets timers, which mean
/// time and nothing else, and has what concerns others told to them as a [`Signal`].
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) rng: Rng,
    /// The caller's buffer, for the length of a call.
    pub(crate) actions: Actions,
    pub(crate) timers: Timers<Timer>,
    pub(crate) ops: Slab<OpId, Op>,
    pub(crate) stats: Stats,
    /// What is in memory for the disk, or of it.
    pub(crate) budgets: Budgets,
    /// Payload of all torrents together.
    pub(crate) traffic: Traffic,
    pub(crate) connections: Connections,
    pub(crate) throttle: Throttle,
    /// Who may begin what only so much may be under way of.
    pub(crate) gate: Gate,
    pub(crate) banned: Banned,
    /// Who held a place and was of no use.
    pub(crate) idlers: Idlers,
    pub(crate) udp: UdpTrackers,
    pub(crate) lsd: Lsd,
    /// What parts have to tell each other within this call.
    pub(crate) signals: Signals,
}

impl Shared {
    /// What parts are lent that know nothing of peers.
    pub(crate) fn ctx(&mut self) -> Ctx<'_> {
        self.trackers().ctx
    }

    /// What is lent to who asks trackers.
    pub(crate) fn trackers(&mut self) -> Means<'_> {
        let ctx = Ctx {
            now: self.now,
            config: &self.config,
            identity: &self.identity,
            rng: &mut self.rng,
            actions: &mut self.actions,
            timers: &mut self.timers,
            ops: &mut self.ops,
            stats: &mut self.stats,
            gate: &mut self.gate,
        };
        let udp = &mut self.udp;
        Means { ctx, udp }
    }

    /// Something has ended of which only so much may be under way: whose turn it is is told.
    pub(crate) fn leave(&mut self, lane: Lane) {
        if let Some(torrent) = self.gate.leave(lane) {
            self.signal(Signal::Admitted(lane, torrent));
        }
    }

    /// Where a peer's messages go.
    pub(crate) fn out(&mut self) -> Out<'_> {
        Out {
            now: self.now,
            actions: &mut self.actions,
        }
    }

    /// Tells another part something, in this call.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signals.push(signal);
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.actions.push(Action::Notify(notice));
    }

    /// Starts a disk job, and remembers whose it is.
    pub(crate) fn disk(&mut self, torrent: TorrentId, about: DiskOp, job: DiskJob) -> OpId {
        let op = self.ops.insert(Op::Disk(torrent, about));
        self.budgets.begin(about);
        self.actions.push(Action::Disk { op, torrent, job });
        op
    }
}
