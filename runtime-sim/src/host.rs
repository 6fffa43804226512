//! A host: an engine or an actor, with a disk and a way to the network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::error::CommandError;
use anabranch_core::id::{ConnId, OpId, RequestId, StorageKey, Ticket, TorrentId};
use anabranch_core::{Action, Bitfield, Engine, Instant, Notice, Seed, Stats, Wake};
use bytes::Bytes;

use crate::actor::Actor;
use crate::config::{HostConfig, Nat};
use crate::conn::{ConnRef, Side};
use crate::content::Content;
use crate::disk::{Disk, DiskFaults, JobKind};
use crate::record::Tape;

/// The port that every host listens on.
pub(crate) const PORT: u16 = 6_881;

/// How long a NAT remembers where packets went.
const NAT_MEMORY: Duration = Duration::from_secs(300);

/// A host of a [`World`](crate::World).
#[derive(Debug)]
pub struct Host {
    pub(crate) config: HostConfig,
    /// Of IPv6 if it has no other.
    pub(crate) address: SocketAddr,
    /// Beside one of IPv4.
    pub(crate) address6: Option<SocketAddr>,
    pub(crate) node: Node,
    /// Grows with every start, so that what was meant for an earlier one is known.
    pub(crate) life: u32,
    pub(crate) seed: Seed,
    pub(crate) disk: Disk,
    /// Hosts of different groups do not reach each other.
    pub(crate) group: u32,
    pub(crate) uplink: Uplink,
    pub(crate) downlink_free_at: Instant,
    pub(crate) nat: NatTable,
    pub(crate) next_port: u16,
    /// What it works on, by storage key.
    pub(crate) torrents: Vec<Added>,
    pub(crate) notices: Vec<(Instant, Notice)>,
    /// What its engines moved that are no more.
    pub(crate) past: Traffic,
    pub(crate) progress: u64,
    pub(crate) progress_at: Instant,
    pub(crate) contacts: Contacts,
    pub(crate) tamper: Option<Tamper>,
}

/// What a host has moved to and from other peers since it was made, through all crashes and restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes sent, payload and protocol.
    pub sent: u64,
    /// Bytes received, payload and protocol.
    pub received: u64,
    /// Payload bytes handed out to be sent.
    pub payload_sent: u64,
    /// Payload bytes received that were asked for.
    pub payload_received: u64,
    /// Payload bytes received that were of no use: not asked for, come twice, or of a piece that failed.
    pub wasted: u64,
}

impl Traffic {
    /// This and that together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            received: self.received + other.received,
            payload_sent: self.payload_sent + other.payload_sent,
            payload_received: self.payload_received + other.payload_received,
            wasted: self.wasted + other.wasted,
        }
    }
}

impl From<&Stats> for Traffic {
    fn from(stats: &Stats) -> Self {
        Self {
            sent: stats.sent,
            received: stats.received,
            payload_sent: stats.payload_sent,
            payload_received: stats.payload_received,
            wasted: stats.wasted,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) content: Content,
    pub(crate) add: AddTorrent,
    pub(crate) completed: Option<Instant>,
}

#[derive(Debug)]
pub(crate) enum Node {
    /// Not there: it left, crashed, or has not come yet.
    Off,
    Engine(Box<Running>),
    Actor(Acting),
}

/// An engine at work.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) tape: Option<Tape>,
    pub(crate) wake: Wake,
    /// When the wake that counts is in the queue.
    pub(crate) queued: Option<Instant>,
    /// By the slot of the connection's id.
    conns: Vec<Option<Attached>>,
    keys: Vec<Option<(TorrentId, StorageKey)>>,
    pub(crate) tickets: Vec<(Ticket, ConnRef)>,
    pub(crate) replies: BTreeMap<RequestId, Result<Reply, CommandError>>,
    pub(crate) next_request: u64,
    pub(crate) next_ticket: u64,
    /// Name look-ups and HTTP exchanges under way.
    pub(crate) contacts: BTreeSet<OpId>,
    /// Disk jobs under way, and the payload that each holds.
    pub(crate) jobs: BTreeMap<OpId, u64>,
    pub(crate) job_bytes: u64,
    pub(crate) events: u64,
    /// Ticks at the same time, and ticks in a row that did nothing since a time.
    pub(crate) ticks_now: (Instant, u32),
    pub(crate) idle_ticks: (Instant, u32),
    /// The request whose answer ends the host.
    pub(crate) leaving: Option<RequestId>,
}

/// A connection of an engine's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached {
    pub(crate) conn: ConnId,
    pub(crate) at: ConnRef,
    pub(crate) side: Side,
}

/// A scripted peer at work.
#[derive(Debug)]
pub(crate) struct Acting {
    /// None while it is being asked.
    pub(crate) actor: Option<Box<dyn Actor>>,
    pub(crate) conns: BTreeMap<u64, (ConnRef, Side)>,
    pub(crate) next: u64,
}

/// What a host's link to the network has to do.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    pub(crate) free_at: Instant,
    /// Who has something to send, each once, in turn.
    pub(crate) active: VecDeque<Flow>,
    pub(crate) packets: VecDeque<Packet>,
    pub(crate) packet_bytes: u64,
    pub(crate) packets_queued: bool,
    pub(crate) scheduled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Stream(ConnRef, Side),
    Packets,
}

/// A UDP packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) data: Bytes,
}

/// The kinds of network operations, to count them and let them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetKind {
    /// Dialling a peer: there is no way there.
    Connect,
    /// Sending on a connection: it breaks, for both ends.
    Send,
    /// Sending a UDP packet: it is lost.
    Datagram,
    /// An HTTP exchange: it fails.
    Http,
    /// Looking a name up: it fails.
    Resolve,
}

impl NetKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Connect,
        Self::Send,
        Self::Datagram,
        Self::Http,
        Self::Resolve,
    ];
}

/// What a host's engines asked of the network, and what of it fails.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    /// By kind, in the order of [`NetKind::ALL`].
    counts: [u64; NetKind::ALL.len()],
    fail: BTreeSet<(NetKind, u64)>,
}

impl Contacts {
    /// Lets the next operation but so many fail.
    pub(crate) fn fail_after(&mut self, kind: NetKind, after: u64) {
        self.fail.insert((kind, self.count(kind) + after + 1));
    }

    /// Counts an operation. Says whether it fails.
    pub(crate) fn fails(&mut self, kind: NetKind) -> bool {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
        !self.fail.is_empty() && self.fail.remove(&(kind, self.count(kind)))
    }

    fn count(&self, kind: NetKind) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }
}

/// Changes what an engine says.
pub(crate) struct Tamper(pub(crate) Box<TamperFn>);

pub(crate) type TamperFn = dyn FnMut(Instant, &Engine, &mut Wake, &mut Vec<Action>) + Send;

impl fmt::Debug for Tamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tamper(..)")
    }
}

/// What a NAT remembers.
#[derive(Debug, Default)]
pub(crate) struct NatTable {
    /// By destination: the port that it sees, and when it was last written to.
    sent: BTreeMap<SocketAddr, (u16, Instant)>,
    last_sent: Option<Instant>,
}

impl Host {
    /// Its address; that of its NAT, if it is behind one. That of IPv4, if it has two.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All its addresses: one, or one of IPv4 and one of IPv6.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        std::iter::once(self.address).chain(self.address6)
    }

    /// How many operations of a kind its engines asked of the network so far.
    pub fn net_operations(&self, kind: NetKind) -> u64 {
        self.contacts.count(kind)
    }

    /// Which of its addresses others see when it talks to this one; none if it has none of that family.
    pub(crate) fn address_towards(&self, to: IpAddr) -> Option<SocketAddr> {
        self.addresses()
            .find(|address| address.is_ipv4() == to.is_ipv4())
    }

    /// Its engine; none while it is off, or if it is an actor.
    pub fn engine(&self) -> Option<&Engine> {
        match &self.node {
            Node::Engine(running) => Some(&running.engine),
            Node::Off | Node::Actor(_) => None,
        }
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        !matches!(self.node, Node::Off)
    }

    /// What its engines said, and when.
    pub fn notices(&self) -> &[(Instant, Notice)] {
        &self.notices
    }

    /// What it has moved so far.
    pub fn traffic(&self) -> Traffic {
        let present = self.engine().map(|engine| Traffic::from(engine.stats()));
        self.past.plus(present.unwrap_or_default())
    }

    /// Connections that its engine holds, those being set up included.
    pub fn connections(&self) -> u32 {
        self.engine().map_or(0, Engine::connection_count)
    }

    /// The answer to a command, if it has come.
    pub fn reply(&self, request: RequestId) -> Option<&Result<Reply, CommandError>> {
        match &self.node {
            Node::Engine(running) => running.replies.get(&request),
            Node::Off | Node::Actor(_) => None,
        }
    }

    /// When it first had all that it wanted of a torrent.
    pub fn completed_at(&self, content: &Content) -> Option<Instant> {
        self.added(content).and_then(|(_, added)| added.completed)
    }

    /// The pieces of a torrent that are on its disk and right.
    pub fn pieces_on_disk(&self, content: &Content) -> Option<&Bitfield> {
        let (key, _) = self.added(content)?;
        self.disk.right(key)
    }

    /// How many pieces of a torrent its disk has written wrong, as
    /// [`DiskFaults::corrupt_writes_ppm`] says, and not written anew.
    pub fn miswritten(&self, content: &Content) -> usize {
        self.added(content)
            .map_or(0, |(key, _)| self.disk.miswritten(key))
    }

    /// What is wrong with its disk.
    pub fn disk_faults(&mut self) -> &mut DiskFaults {
        &mut self.disk.faults
    }

    /// How many jobs of a kind its disk was given so far.
    pub fn disk_jobs(&self, kind: JobKind) -> u64 {
        self.disk.count(kind)
    }

    /// Where it keeps a torrent.
    pub(crate) fn added(&self, content: &Content) -> Option<(StorageKey, &Added)> {
        let hash = content.info_hash();
        let index = self
            .torrents
            .iter()
            .position(|added| added.content.info_hash() == hash)?;
        Some((StorageKey(index as u64), self.torrents.get(index)?))
    }

    pub(crate) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.node {
            Node::Engine(running) => Some(running),
            Node::Off | Node::Actor(_) => None,
        }
    }

    /// Whether others can dial it.
    pub(crate) fn is_dialable(&self) -> bool {
        self.config.nat == Nat::None
    }

    /// A port of the system's choice.
    pub(crate) fn ephemeral_port(&mut self) -> u16 {
        self.next_port = if self.next_port >= 60_999 {
            32_768
        } else {
            self.next_port + 1
        };
        self.next_port
    }

    /// Where a packet to `to` comes from, as seen there; none if there is no way.
    pub(crate) fn packet_source(&mut self, now: Instant, to: SocketAddr) -> Option<SocketAddr> {
        let address = self.address_towards(to.ip())?;
        let port = match self.config.nat {
            Nat::None | Nat::Firewall => PORT,
            Nat::FullCone | Nat::Restricted => PORT + 1,
            Nat::Symmetric => match self.nat.sent.get(&to) {
                Some((port, at)) if now.since(*at) < NAT_MEMORY => *port,
                _ => self.ephemeral_port(),
            },
        };
        if self.config.nat != Nat::None {
            self.nat.last_sent = Some(now);
            self.nat
                .sent
                .retain(|_, (_, at)| now.since(*at) < NAT_MEMORY);
            self.nat.sent.insert(to, (port, now));
        }
        Some(SocketAddr::new(address.ip(), port))
    }

    /// Whether a packet gets through to it.
    pub(crate) fn lets_in(&self, now: Instant, packet: &Packet) -> bool {
        let fresh = |at: Instant| now.since(at) < NAT_MEMORY;
        let known = |from: IpAddr, same_port: bool| {
            self.nat.sent.iter().any(|(to, (port, at))| {
                to.ip() == from
                    && *port == packet.to.port()
                    && (!same_port || to.port() == packet.from.port())
                    && fresh(*at)
            })
        };
        match self.config.nat {
            Nat::None => packet.to.port() == PORT,
            Nat::FullCone => packet.to.port() == PORT + 1 && self.nat.last_sent.is_some_and(fresh),
            Nat::Restricted => known(packet.from.ip(), false),
            Nat::Symmetric | Nat::Firewall => known(packet.from.ip(), true),
        }
    }
}

impl Running {
    pub(crate) fn new(engine: Engine, tape: Option<Tape>) -> Self {
        Self {
            engine,
            tape,
            wake: Wake::Idle,
            queued: None,
            conns: Vec::new(),
            keys: Vec::new(),
            tickets: Vec::new(),
            replies: BTreeMap::new(),
            next_request: 0,
            next_ticket: 0,
            contacts: BTreeSet::new(),
            jobs: BTreeMap::new(),
            job_bytes: 0,
            events: 0,
            ticks_now: (Instant::ZERO, 0),
            idle_ticks: (Instant::ZERO, 0),
            leaving: None,
        }
    }

    /// A disk job begins. False if one of this name is under way.
    pub(crate) fn begin_job(&mut self, op: OpId, bytes: u64) -> bool {
        self.job_bytes += bytes;
        self.jobs.insert(op, bytes).is_none()
    }

    /// A disk job ends. False if none of this name is under way.
    pub(crate) fn end_job(&mut self, op: OpId) -> bool {
        let ended = self.jobs.remove(&op);
        self.job_bytes -= ended.unwrap_or(0);
        ended.is_some()
    }

    pub(crate) fn attach(&mut self, attached: Attached) {
        put(&mut self.conns, attached.conn.slot(), attached);
    }

    pub(crate) fn detach(&mut self, conn: ConnId) -> Option<Attached> {
        let slot = self.conns.get_mut(conn.slot())?;
        slot.take_if(|attached| attached.conn == conn)
    }

    pub(crate) fn attached(&self, conn: ConnId) -> Option<Attached> {
        let found = self.conns.get(conn.slot()).copied().flatten();
        found.filter(|attached| attached.conn == conn)
    }

    pub(crate) fn all_attached(&self) -> impl Iterator<Item = Attached> + '_ {
        self.conns.iter().copied().flatten()
    }

    pub(crate) fn bind(&mut self, torrent: TorrentId, key: StorageKey) {
        put(&mut self.keys, torrent.slot(), (torrent, key));
    }

    pub(crate) fn key(&self, torrent: TorrentId) -> Option<StorageKey> {
        let found = self.keys.get(torrent.slot()).copied().flatten();
        found.and_then(|(bound, key)| (bound == torrent).then_some(key))
    }
}

fn put<T>(table: &mut Vec<Option<T>>, slot: usize, item: T) {
    if table.len() <= slot {
        table.resize_with(slot + 1, || None);
    }
    if let Some(place) = table.get_mut(slot) {
        *place = Some(item);
    }
}
