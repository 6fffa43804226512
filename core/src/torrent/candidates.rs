//! Whom to dial: addresses known and not connected, in order of canonical priority (BEP 40), and
//! addresses that are not talked to any more.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;

use crate::address::{canonical, canonical_priority, is_dialable, ports_of};
use crate::id::ConnId;
use crate::limits::MAX_CANDIDATES;
use crate::status::PeerSource;
use crate::time::Instant;
use crate::transport::Transport;

/// How long after a first failure an address is dialled again, and after a connection that was of
/// use. Doubles with each failure.
const RETRY: Duration = Duration::from_secs(15);

/// The same after a first connection that was of no use.
const RETRY_USELESS: Duration = Duration::from_secs(60);

/// The longest time between two attempts.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// After so many failures in a row an address is forgotten, unless the user named it. If there is
/// life in it, it will be heard of again.
const MAX_FAILURES: u8 = 6;

/// How many addresses may be known from one source that anybody can make addresses up for.
const MAX_HEARSAY: usize = MAX_CANDIDATES / 2;

/// How many addresses may be known from one peer's word alone.
const MAX_INTRODUCED: u32 = 100;

/// Where an address is known from; several at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sources(u8);

impl Sources {
    const fn of(source: PeerSource) -> Self {
        Self(1 << source as u8)
    }

    const fn contains(self, source: PeerSource) -> bool {
        self.0 & Self::of(source).0 != 0
    }

    const fn with(self, source: PeerSource) -> Self {
        Self(self.0 | Self::of(source).0)
    }

    /// The one that says most for the address: its share is what the address counts to.
    fn best(self) -> PeerSource {
        let mut all = PeerSource::ALL.into_iter();
        all.find(|source| self.contains(*source))
            // None is ever empty.
            .unwrap_or(PeerSource::Pex)
    }
}

/// The addresses at which peers of one torrent may be.
///
/// Sources are treated alike, however much each has to say: when there are too many addresses, the
/// source with most of them loses its worst, and the sources are dialled from in turn. Within a source
/// the best comes first, and before all others come those that the user named or that were of use.
#[derive(Debug)]
pub(crate) struct Candidates {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Those not connected, by the source that they count to.
    shares: [Share; PeerSource::ALL.len()],
    /// The share that was dialled from last.
    turn: usize,
    /// How many are not connected.
    idle: usize,
    /// Those of them that must wait, and until when.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// Those of them that are known from one peer's word alone, by peer.
    introduced: BTreeMap<ConnId, u32>,
    connecting: u32,
    /// Whether the embedder's policy refused the last one that was dialled.
    denied: bool,
    /// How many ports of one address are known at most, but for those that the user names: nobody's
    /// list makes us knock at all doors of a house.
    per_address: usize,
    own_v4: SocketAddrV4,
    own_v6: SocketAddrV6,
}

/// Addresses that count to one source.
#[derive(Debug, Default)]
struct Share {
    /// All of them, the best first.
    idle: BTreeSet<Rank>,
    /// Those of them that may be dialled.
    ready: BTreeSet<Rank>,
}

#[derive(Debug)]
struct Entry {
    sources: Sources,
    /// The peer that told of it, if nobody else did.
    introducer: Option<ConnId>,
    /// Whether it is said to want nothing.
    is_seed: bool,
    /// By what it was reached, or is said to be.
    transport: Option<Transport>,
    /// Attempts and connections in a row that were of no use.
    failures: u8,
    /// The last connection was of use.
    proven: bool,
    priority: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Waiting(Instant),
    Connecting,
    Connected,
}

/// Orders candidates: those of whom more is to be hoped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    standing: Standing,
    failures: u8,
    priority: Reverse<u32>,
    address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The user named it.
    Wished,
    /// It was of use before.
    Proven,
    Known,
}

impl Candidates {
    /// None yet. At most `per_address` ports of one address are taken in. `salt` is a random number
    /// that stands in for our own address until that is known, so that not everybody who does not know
    /// theirs dials the same peers first.
    pub(crate) fn new(per_address: u32, salt: u32) -> Self {
        let mut octets = [0; 16];
        for part in octets.chunks_exact_mut(4) {
            part.copy_from_slice(&salt.to_be_bytes());
        }
        Self {
            entries: BTreeMap::new(),
            shares: Default::default(),
            turn: 0,
            idle: 0,
            waiting: BTreeSet::new(),
            introduced: BTreeMap::new(),
            connecting: 0,
            denied: false,
            per_address: per_address as usize,
            own_v4: SocketAddrV4::new(Ipv4Addr::from(salt), 0),
            own_v6: SocketAddrV6::new(Ipv6Addr::from(octets), 0, 0, 0),
        }
    }

    /// Our own address, as others see it: priorities depend on it.
    pub(crate) fn set_own(&mut self, own: SocketAddr) {
        match canonical(own) {
            SocketAddr::V4(own) if own != self.own_v4 => self.own_v4 = own,
            SocketAddr::V6(own) if own != self.own_v6 => self.own_v6 = own,
            SocketAddr::V4(_) | SocketAddr::V6(_) => return,
        }
        let all: Vec<SocketAddr> = self.entries.keys().copied().collect();
        for address in all {
            let priority = self.priority(address);
            self.change(address, |entry| entry.priority = priority);
        }
    }

    /// Learns of an address. Says whether it is kept: not if nobody can be there, or if all that are
    /// known are better.
    pub(crate) fn add(&mut self, address: SocketAddr, source: PeerSource, now: Instant) -> bool {
        self.learn(address, source, None, false, now)
    }

    /// Learns of an address from a peer (BEP 11), which also says whether it is a seed's. The word of
    /// one peer counts for no more than [`MAX_INTRODUCED`] addresses.
    pub(crate) fn introduce(
        &mut self,
        address: SocketAddr,
        by: ConnId,
        is_seed: bool,
        now: Instant,
    ) -> bool {
        self.learn(address, PeerSource::Pex, Some(by), is_seed, now)
    }

    fn learn(
        &mut self,
        address: SocketAddr,
        source: PeerSource,
        introducer: Option<ConnId>,
        is_seed: bool,
        now: Instant,
    ) -> bool {
        let address = canonical(address);
        if !is_dialable(address) {
            return false;
        }
        if self.entries.contains_key(&address) {
            self.change(address, |entry| {
                entry.sources = entry.sources.with(source);
                entry.is_seed |= is_seed;
                if entry.introducer != introducer {
                    entry.introducer = None;
                }
                // The user need not wait.
                if source == PeerSource::User && entry.is_idle() {
                    entry.failures = 0;
                    entry.state = State::Waiting(now);
                }
                // A tracker has heard of it later than our last attempt, maybe.
                if let State::Waiting(until) = entry.state
                    && source == PeerSource::Tracker
                {
                    entry.state = State::Waiting(until.min(now + RETRY_USELESS));
                }
            });
            return true;
        }
        let ports = self.entries.range(ports_of(address.ip())).count();
        if ports >= self.per_address && source != PeerSource::User {
            return false;
        }
        let told = introducer.and_then(|peer| self.introduced.get(&peer));
        if told.is_some_and(|told| *told >= MAX_INTRODUCED) {
            return false;
        }
        let entry = Entry {
            sources: Sources::of(source),
            introducer,
            is_seed,
            transport: None,
            failures: 0,
            proven: false,
            priority: self.priority(address),
            state: State::Waiting(now),
        };
        if !self.make_room(entry.rank(address), source) {
            return false;
        }
        self.list(address, &entry);
        self.entries.insert(address, entry);
        true
    }

    /// Forgets an address that is worth less than a new one, if there are too many. Says whether there
    /// is room then.
    fn make_room(&mut self, rank: Rank, source: PeerSource) -> bool {
        let own = self.shares[source as usize].idle.len();
        let crowded = source.is_hearsay() && own >= MAX_HEARSAY;
        if self.idle < MAX_CANDIDATES && !crowded {
            return true;
        }
        let largest = self.largest();
        let loses = if !crowded && self.shares[largest].idle.len() > own {
            self.shares[largest].idle.last()
        } else {
            let own = self.shares[source as usize].idle.last();
            own.filter(|worst| rank < **worst)
        };
        let Some(worst) = loses.copied() else {
            return false;
        };
        self.remove(worst.address);
        true
    }

    /// The share with most addresses; of equals the one whose source says less for them.
    fn largest(&self) -> usize {
        let shares = self.shares.iter().enumerate();
        let sizes = shares.map(|(index, share)| (share.idle.len(), index));
        sizes.max().map_or(0, |(_, index)| index)
    }

    /// The best address that may be dialled now; it counts as being dialled from now on, until
    /// `on_connected`, `on_failed` or `on_closed`. Addresses that are not acceptable are forgotten, and
    /// seeds are left alone if told so.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        spare_seeds: bool,
        acceptable: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        while let Some((due, address)) = self.waiting.first().copied() {
            if due > now {
                break;
            }
            self.change(address, |entry| entry.state = State::Ready);
        }
        while let Some(address) = self.next_ready() {
            let is_seed = self.entries.get(&address).is_some_and(|e| e.is_seed);
            if !acceptable(address) {
                self.remove(address);
            } else if spare_seeds && is_seed {
                self.change(address, |entry| {
                    entry.state = State::Waiting(now + MAX_RETRY);
                });
            } else {
                self.change(address, |entry| entry.state = State::Connecting);
                return Some(address);
            }
        }
        None
    }

    /// Who is next: the user's own and those that were of use, then the sources in turn.
    fn next_ready(&mut self) -> Option<SocketAddr> {
        let firsts = self.shares.iter().filter_map(|share| share.ready.first());
        let favourites = firsts.filter(|rank| rank.standing < Standing::Known);
        if let Some(rank) = favourites.min() {
            return Some(rank.address);
        }
        let count = self.shares.len();
        for step in 1..=count {
            let index = (self.turn + step) % count;
            if let Some(rank) = self.shares[index].ready.first() {
                self.turn = index;
                return Some(rank.address);
            }
        }
        None
    }

    /// When an address may be dialled; `now` if there is one already.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.shares.iter().any(|share| !share.ready.is_empty()) {
            return Some(now);
        }
        self.waiting.first().map(|(due, _)| (*due).max(now))
    }

    /// Where an address is known from; the best source if there are several.
    pub(crate) fn source(&self, address: SocketAddr) -> Option<PeerSource> {
        let entry = self.entries.get(&canonical(address))?;
        Some(entry.sources.best())
    }

    /// From now on this torrent is private (BEP 27): forgets what is known from other sources than
    /// trackers and the user.
    pub(crate) fn forget_hearsay(&mut self) {
        let entries = self.entries.iter();
        let hearsay: Vec<SocketAddr> = entries
            .filter(|(_, entry)| entry.sources.best().is_hearsay())
            .map(|(address, _)| *address)
            .collect();
        for address in hearsay {
            self.remove(address);
        }
    }

    /// There is a peer at the address, and we are connected.
    pub(crate) fn on_connected(&mut self, address: SocketAddr, transport: Transport) {
        self.denied = false;
        self.change(canonical(address), |entry| {
            entry.state = State::Connected;
            entry.transport = Some(transport);
        });
    }

    /// An address is said to be reached by a transport. What was tried counts for more.
    pub(crate) fn suggest(&mut self, address: SocketAddr, transport: Transport) {
        if let Some(entry) = self.entries.get_mut(&canonical(address)) {
            entry.transport.get_or_insert(transport);
        }
    }

    /// By what an address was reached, or is said to be.
    pub(crate) fn transport(&self, address: SocketAddr) -> Option<Transport> {
        self.entries.get(&canonical(address))?.transport
    }

    /// It was the embedder's policy that the last one failed by.
    pub(crate) fn on_denied(&mut self) {
        self.denied = true;
    }

    /// Whether it is the embedder's policy that keeps peers away.
    pub(crate) fn is_denied(&self) -> bool {
        self.denied
    }

    /// An address that was picked could not be connected to, or no peer answered there.
    pub(crate) fn on_failed(&mut self, address: SocketAddr, now: Instant) {
        let address = canonical(address);
        self.denied = false;
        if self.state(address) == Some(State::Connecting) {
            self.fail(address, now, RETRY);
        }
    }

    /// A connection with a peer that listens at the address ended, whoever dialled. One that was
    /// useful is sought again soon.
    pub(crate) fn on_closed(&mut self, address: SocketAddr, useful: bool, now: Instant) {
        let address = canonical(address);
        if !useful {
            self.fail(address, now, RETRY_USELESS);
            return;
        }
        if !self.entries.contains_key(&address) {
            self.add(address, PeerSource::Incoming, now);
        }
        self.change(address, |entry| {
            entry.failures = 0;
            entry.proven = true;
            entry.state = State::Waiting(now + RETRY);
        });
    }

    /// As [`on_closed`](Self::on_closed), but it was we who stopped: nothing is held against the peer, and
    /// it is sought again as soon as we go on.
    pub(crate) fn on_stopped(&mut self, address: SocketAddr, useful: bool, now: Instant) {
        let address = canonical(address);
        if useful {
            self.on_closed(address, true, now);
        }
        self.change(address, |entry| entry.state = State::Waiting(now));
    }

    /// Whatever is dialled or connected is given up, through no fault of its own.
    pub(crate) fn forget_attempts(&mut self, now: Instant) {
        let busy = self.entries.iter();
        let busy: Vec<SocketAddr> = busy
            .filter(|(_, entry)| !entry.is_idle())
            .map(|(address, _)| *address)
            .collect();
        for address in busy {
            self.change(address, |entry| entry.state = State::Waiting(now));
        }
    }

    /// Forgets an address, until it is heard of again.
    pub(crate) fn remove(&mut self, address: SocketAddr) {
        let address = canonical(address);
        if let Some(entry) = self.entries.remove(&address) {
            self.unlist(address, &entry);
        }
    }

    /// Forgets all ports of an address.
    pub(crate) fn remove_ip(&mut self, ip: IpAddr) {
        let ports = self.entries.range(ports_of(ip.to_canonical()));
        let ports: Vec<SocketAddr> = ports.map(|(address, _)| *address).collect();
        for address in ports {
            self.remove(address);
        }
    }

    /// How many addresses are known and neither connected nor being dialled.
    pub(crate) fn len(&self) -> usize {
        self.idle
    }

    /// How many are being dialled.
    pub(crate) fn connecting(&self) -> u32 {
        self.connecting
    }

    fn fail(&mut self, address: SocketAddr, now: Instant, base: Duration) {
        let mut forget = false;
        self.change(address, |entry| {
            let doublings = u32::from(entry.failures);
            entry.failures = entry.failures.saturating_add(1);
            entry.transport = None;
            let wait = base.saturating_mul(1 << doublings.min(16)).min(MAX_RETRY);
            entry.state = State::Waiting(now + wait);
            forget = entry.failures >= MAX_FAILURES && !entry.sources.contains(PeerSource::User);
        });
        if forget {
            self.remove(address);
        }
    }

    fn state(&self, address: SocketAddr) -> Option<State> {
        self.entries.get(&address).map(|entry| entry.state)
    }

    /// Changes an entry and its places in the lists.
    fn change(&mut self, address: SocketAddr, how: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.entries.remove(&address) {
            self.unlist(address, &entry);
            how(&mut entry);
            self.list(address, &entry);
            self.entries.insert(address, entry);
            // Peers that left together may be more than fit.
            if self.idle > MAX_CANDIDATES
                && let Some(worst) = self.shares[self.largest()].idle.last().copied()
            {
                self.remove(worst.address);
            }
        }
    }

    fn list(&mut self, address: SocketAddr, entry: &Entry) {
        let rank = entry.rank(address);
        let share = &mut self.shares[entry.sources.best() as usize];
        match entry.state {
            State::Ready => {
                share.ready.insert(rank);
            }
            State::Waiting(until) => {
                self.waiting.insert((until, address));
            }
            State::Connecting => self.connecting += 1,
            State::Connected => {}
        }
        if entry.is_idle() {
            share.idle.insert(rank);
            self.idle += 1;
            if let Some(peer) = entry.introducer {
                *self.introduced.entry(peer).or_default() += 1;
            }
        }
    }

    fn unlist(&mut self, address: SocketAddr, entry: &Entry) {
        let rank = entry.rank(address);
        let share = &mut self.shares[entry.sources.best() as usize];
        match entry.state {
            State::Ready => {
                share.ready.remove(&rank);
            }
            State::Waiting(until) => {
                self.waiting.remove(&(until, address));
            }
            State::Connecting => self.connecting -= 1,
            State::Connected => {}
        }
        if entry.is_idle() {
            share.idle.remove(&rank);
            self.idle -= 1;
            if let Some(peer) = entry.introducer
                && let Some(count) = self.introduced.get_mut(&peer)
            {
                *count -= 1;
                if *count == 0 {
                    self.introduced.remove(&peer);
                }
            }
        }
    }

    fn priority(&self, address: SocketAddr) -> u32 {
        match address {
            SocketAddr::V4(_) => canonical_priority(SocketAddr::V4(self.own_v4), address),
            SocketAddr::V6(_) => canonical_priority(SocketAddr::V6(self.own_v6), address),
        }
    }

    /// Panics unless all parts agree.
    pub(crate) fn check(&self) {
        let count = |test: fn(&Entry) -> bool| {
            let entries = self.entries.values();
            entries.filter(|entry| test(entry)).count()
        };
        let sum = |size: fn(&Share) -> usize| self.shares.iter().map(size).sum::<usize>();
        let ready = sum(|share| share.ready.len());
        assert_eq!(self.idle, count(Entry::is_idle));
        assert_eq!(self.idle, sum(|share| share.idle.len()));
        assert_eq!(ready, count(|entry| entry.state == State::Ready));
        assert_eq!(self.idle, ready + self.waiting.len());
        let connecting = count(|entry| entry.state == State::Connecting);
        assert_eq!(self.connecting as usize, connecting);
        for (address, entry) in &self.entries {
            let rank = entry.rank(*address);
            let share = &self.shares[entry.sources.best() as usize];
            assert_eq!(share.idle.contains(&rank), entry.is_idle());
            match entry.state {
                State::Ready => assert!(share.ready.contains(&rank)),
                State::Waiting(until) => assert!(self.waiting.contains(&(until, *address))),
                State::Connecting | State::Connected => {}
            }
        }
        let introduced: u32 = self.introduced.values().sum();
        let alone = count(|entry| entry.is_idle() && entry.introducer.is_some());
        assert_eq!(introduced as usize, alone);
        assert!(
            self.introduced
                .values()
                .all(|count| *count <= 2 * MAX_INTRODUCED)
        );
        assert!(self.idle <= MAX_CANDIDATES);
    }
}

impl Entry {
    fn is_idle(&self) -> bool {
        match self.state {
            State::Ready | State::Waiting(_) => true,
            State::Connecting | State::Connected => false,
        }
    }

    fn rank(&self, address: SocketAddr) -> Rank {
        let standing = if self.sources.contains(PeerSource::User) {
            Standing::Wished
        } else if self.proven {
            Standing::Proven
        } else {
            Standing::Known
        };
        Rank {
            standing,
            failures: self.failures,
            priority: Reverse(self.priority),
            address,
        }
    }
}

#[cfg(test)]
mod tests;
