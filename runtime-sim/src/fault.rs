//! What can go wrong, as data, so that plans of it can be drawn, kept and shrunk.

use std::time::Duration;

use crate::config::{DiskConfig, Link};
use crate::disk::JobKind;
use crate::host::NetKind;
use crate::http::DnsMode;
use crate::tracker::TrackerMode;
use crate::web::{WebId, WebMode};
use crate::world::{HostId, TrackerId};

/// Something that happens to the world. See [`World::schedule`](crate::World::schedule).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A host loses power: its engine is gone, its connections are silent, its disk keeps what was
    /// synced.
    Crash(HostId),
    /// A host that is off comes up with what is on its disk, and takes its torrents on again.
    Restart(HostId),
    /// A host shuts down in good order.
    Leave(HostId),
    /// These hosts and all others do not reach each other.
    Partition(Vec<HostId>),
    /// Everybody reaches everybody again, as far as NAT allows.
    Heal,
    /// All connections of a host are reset.
    ResetConnections(HostId),
    /// Whatever is sent on the present connections of a host, in either direction, vanishes.
    BlackHole(HostId),
    /// A host's link changes.
    Link(HostId, Link),
    /// A host's disk becomes slower, faster, smaller or larger.
    Disk(HostId, DiskConfig),
    /// Loss of packets changes, in a million.
    Loss(u32),
    /// The next such operation but so many that a host's engine asks of the network fails.
    NetError(HostId, NetKind, u64),
    /// Names are looked up otherwise.
    Dns(DnsMode),
    /// A web server behaves otherwise.
    Web(WebId, WebMode),
    /// A host's disk is full, or has room again.
    DiskFull(HostId, bool),
    /// The next such job of a host's disk but so many fails with an input/output error.
    DiskError(HostId, JobKind, u64),
    /// A piece on a host's disk changes by itself, if it is there. The torrent is told by its number
    /// in the order in which the host was given them.
    Rot {
        /// The host.
        host: HostId,
        /// Which of its torrents.
        torrent: usize,
        /// The piece.
        piece: u32,
        /// Where in the piece.
        offset: u32,
    },
    /// Of a million pieces, a host's disk writes so many wrong without saying so.
    CorruptWrites(HostId, u32),
    /// Of a million reads for peers, a host's disk gives so many wrong.
    CorruptReads(HostId, u32),
    /// A tracker behaves otherwise.
    Tracker(TrackerId, TrackerMode),
}

/// Faults, and when they strike, counted from the start of the plan.
pub type FaultPlan = Vec<(Duration, Fault)>;
