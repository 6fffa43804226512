//! What a parent lends its children for the length of a call.

use core::net::SocketAddr;

use crate::action::{Action, Actions};
use crate::config::Config;
use crate::gate::Gate;
use crate::id::{ConnId, OpId, TorrentId};
use crate::metainfo::FileIndex;
use crate::notice::Notice;
use crate::rng::Rng;
use crate::slab::Slab;
use crate::stats::Stats;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::handshake::PeerId;

/// What parts of the engine are lent that know nothing of peers. They append to `actions`, set timers and return
/// verdicts; they keep no queue that somebody must remember to drain.
pub(crate) struct Ctx<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) identity: &'a Identity,
    pub(crate) rng: &'a mut Rng,
    pub(crate) actions: &'a mut Actions,
    pub(crate) timers: &'a mut Timers<Timer>,
    pub(crate) ops: &'a mut Slab<OpId, Op>,
    pub(crate) stats: &'a mut Stats,
    pub(crate) gate: &'a mut Gate,
}

/// Where messages go, and when.
pub(crate) struct Out<'a> {
    pub(crate) now: Instant,
    pub(crate) actions: &'a mut Actions,
}

/// Who we are towards others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) peer_id: PeerId,
    /// Where we listen for peers.
    pub(crate) listen: Option<SocketAddr>,
}

impl Identity {
    /// The port to announce; 0 when nobody can dial us.
    pub(crate) fn port(&self) -> u16 {
        self.listen.map_or(0, |address| address.port())
    }
}

impl Ctx<'_> {
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn notify(&mut self, notice: Notice) {
        self.actions.push(Action::Notify(notice));
    }
}

/// Who waits for a timer. One timer each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connection: dialling or the handshake takes too long, or the periodic look at a peer.
    Conn(ConnId),
    /// A torrent's choker.
    Choke(TorrentId),
    /// Slots of a torrent may be of no use to those who have them.
    Slots(TorrentId),
    /// Peers of a torrent are to be told what has come.
    Have(TorrentId),
    /// More connections may be begun.
    Dial,
    /// A candidate of a torrent may be dialled (again).
    Candidates(TorrentId),
    /// A torrent's tracker schedule.
    Tracker(TorrentId),
    /// The shared UDP tracker client's retransmissions.
    UdpTracker,
    /// A torrent's resume data is due.
    Checkpoint(TorrentId),
    /// A torrent whose disk failed looks again.
    Probe(TorrentId),
    /// A torrent's seeding goal may be reached.
    Goal(TorrentId),
    /// A token bucket has refilled: connections that waited may go on.
    Throttle,
    /// A torrent's metadata: somebody is late with a piece.
    Metadata(TorrentId),
    /// A torrent's peers are told of each other.
    Pex(TorrentId),
    /// The local network is told which torrents there are.
    Lsd,
    /// The DHT node's deadlines.
    Dht,
    /// A torrent is to be looked up in the DHT.
    DhtTorrent(TorrentId),
    /// A torrent on its way out must not wait any longer for its trackers.
    Goodbye(TorrentId),
}

/// Whose operation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A torrent's disk job.
    Disk(TorrentId, DiskOp),
    /// An HTTP announce or scrape of a torrent's trackers.
    TrackerHttp(TorrentId),
    /// A name lookup by the shared UDP tracker client.
    TrackerResolve,
    /// A name lookup by the DHT node.
    DhtResolve,
    /// A name lookup for a peer that the user named.
    PeerResolve(TorrentId, u16),
    /// A name lookup for a peer that a tracker named.
    TrackerPeerResolve(TorrentId, u16),
}

/// What a torrent's disk job is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskOp {
    Open,
    Verify { piece: u32 },
    Store { piece: u32, bytes: u32 },
    Write { piece: u32, begin: u32, len: u32 },
    Read { conn: ConnId, begin: u32, len: u32 },
    Select,
    Trim { file: FileIndex, found: u64 },
    Checkpoint,
    Probe,
    Close,
    Remove,
}
