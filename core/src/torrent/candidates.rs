//! Whom to dial: addresses known and not connected, in order of canonical priority (BEP 40), and
//! addresses that are not talked to any more.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::limits::{MAX_BANNED, MAX_CANDIDATES};
use crate::time::Instant;

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

/// How many addresses may be known by hearsay alone: peers can make up as many as they like.
const MAX_HEARSAY: usize = MAX_CANDIDATES / 2;

/// Where an address is known from; several at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source(u8);

impl Source {
    pub(crate) const USER: Self = Self(1);
    pub(crate) const TRACKER: Self = Self(1 << 1);
    /// It dialled us, and told where it listens.
    pub(crate) const INCOMING: Self = Self(1 << 2);
    /// Peer exchange (BEP 11).
    pub(crate) const PEX: Self = Self(1 << 3);
    /// The distributed hash table (BEP 5).
    pub(crate) const DHT: Self = Self(1 << 4);

    /// Whether all of `other` is in it.
    const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether anybody could have made it up.
    const fn is_hearsay(self) -> bool {
        self.0 & !(Self::PEX.0 | Self::DHT.0) == 0
    }
}

/// The addresses at which peers of one torrent may be.
#[derive(Debug)]
pub(crate) struct Candidates {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Those not connected, the best first: the last one goes when there are too many.
    idle: BTreeSet<Rank>,
    /// Those of them that may be dialled.
    ready: BTreeSet<Rank>,
    /// Those of them that must wait, and until when.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    hearsay: usize,
    connecting: u32,
    /// How many ports of one address are known at most, but for those that the user names: nobody's
    /// list makes us knock at all doors of a house.
    per_address: usize,
    own_v4: SocketAddrV4,
    own_v6: SocketAddrV6,
}

#[derive(Debug)]
struct Entry {
    sources: Source,
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
    Hearsay,
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
            idle: BTreeSet::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            hearsay: 0,
            connecting: 0,
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
    pub(crate) fn add(&mut self, address: SocketAddr, source: Source, now: Instant) -> bool {
        let address = canonical(address);
        if !is_dialable(address) {
            return false;
        }
        if self.entries.contains_key(&address) {
            self.change(address, |entry| {
                entry.sources = entry.sources.with(source);
                // The user need not wait.
                if source.contains(Source::USER) && entry.is_idle() {
                    entry.failures = 0;
                    entry.state = State::Waiting(now);
                }
                // A tracker has heard of it later than our last attempt, maybe.
                if let State::Waiting(until) = entry.state
                    && source.contains(Source::TRACKER)
                {
                    entry.state = State::Waiting(until.min(now + RETRY_USELESS));
                }
            });
            return true;
        }
        let entry = Entry {
            sources: source,
            failures: 0,
            proven: false,
            priority: self.priority(address),
            state: State::Waiting(now),
        };
        let ports = self.entries.range(ports_of(address.ip())).count();
        if ports >= self.per_address && !source.contains(Source::USER) {
            return false;
        }
        let rank = entry.rank(address);
        let full = self.idle.len() >= MAX_CANDIDATES
            || rank.standing == Standing::Hearsay && self.hearsay >= MAX_HEARSAY;
        if full {
            // What is known by hearsay comes last, so this is the one to go for either reason.
            let Some(worst) = self.idle.last().copied().filter(|worst| rank < *worst) else {
                return false;
            };
            self.remove(worst.address);
        }
        self.list(address, &entry);
        self.entries.insert(address, entry);
        true
    }

    /// The best address that may be dialled now; it counts as being dialled from now on, until
    /// `on_connected`, `on_failed` or `on_closed`. Addresses that are not acceptable are forgotten.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        acceptable: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        while let Some((due, address)) = self.waiting.first().copied() {
            if due > now {
                break;
            }
            self.change(address, |entry| entry.state = State::Ready);
        }
        while let Some(Rank { address, .. }) = self.ready.first().copied() {
            if acceptable(address) {
                self.change(address, |entry| entry.state = State::Connecting);
                return Some(address);
            }
            self.remove(address);
        }
        None
    }

    /// When an address may be dialled; `now` if there is one already.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        if !self.ready.is_empty() {
            return Some(now);
        }
        self.waiting.first().map(|(due, _)| (*due).max(now))
    }

    /// There is a peer at the address, and we are connected.
    pub(crate) fn on_connected(&mut self, address: SocketAddr) {
        self.change(canonical(address), |entry| entry.state = State::Connected);
    }

    /// An address that was picked could not be connected to, or no peer answered there.
    pub(crate) fn on_failed(&mut self, address: SocketAddr, now: Instant) {
        let address = canonical(address);
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
            self.add(address, Source::INCOMING, now);
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
        self.idle.len()
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
            let wait = base.saturating_mul(1 << doublings.min(16)).min(MAX_RETRY);
            entry.state = State::Waiting(now + wait);
            forget = entry.failures >= MAX_FAILURES && !entry.sources.contains(Source::USER);
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
            if self.idle.len() > MAX_CANDIDATES
                && let Some(worst) = self.idle.last().copied()
            {
                self.remove(worst.address);
            }
        }
    }

    fn list(&mut self, address: SocketAddr, entry: &Entry) {
        let rank = entry.rank(address);
        match entry.state {
            State::Ready => {
                self.ready.insert(rank);
            }
            State::Waiting(until) => {
                self.waiting.insert((until, address));
            }
            State::Connecting => self.connecting += 1,
            State::Connected => {}
        }
        if entry.is_idle() {
            self.idle.insert(rank);
            self.hearsay += usize::from(rank.standing == Standing::Hearsay);
        }
    }

    fn unlist(&mut self, address: SocketAddr, entry: &Entry) {
        let rank = entry.rank(address);
        match entry.state {
            State::Ready => {
                self.ready.remove(&rank);
            }
            State::Waiting(until) => {
                self.waiting.remove(&(until, address));
            }
            State::Connecting => self.connecting -= 1,
            State::Connected => {}
        }
        if entry.is_idle() {
            self.idle.remove(&rank);
            self.hearsay -= usize::from(rank.standing == Standing::Hearsay);
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
        assert_eq!(self.idle.len(), count(Entry::is_idle));
        assert_eq!(self.ready.len(), count(|entry| entry.state == State::Ready));
        assert_eq!(self.idle.len(), self.ready.len() + self.waiting.len());
        let connecting = count(|entry| entry.state == State::Connecting);
        assert_eq!(self.connecting as usize, connecting);
        for (address, entry) in &self.entries {
            let rank = entry.rank(*address);
            assert_eq!(self.idle.contains(&rank), entry.is_idle());
            match entry.state {
                State::Ready => assert!(self.ready.contains(&rank)),
                State::Waiting(until) => assert!(self.waiting.contains(&(until, *address))),
                State::Connecting | State::Connected => {}
            }
        }
        let hearsay = self.idle.iter();
        let hearsay = hearsay.filter(|rank| rank.standing == Standing::Hearsay);
        assert_eq!(self.hearsay, hearsay.count());
        assert!(self.idle.len() <= MAX_CANDIDATES);
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
        let standing = if self.sources.contains(Source::USER) {
            Standing::Wished
        } else if self.proven {
            Standing::Proven
        } else if self.sources.is_hearsay() {
            Standing::Hearsay
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

/// One form for each address: IPv4 is never written as IPv6, and what IPv6 adds to an address only
/// stays where it tells links apart.
fn canonical(address: SocketAddr) -> SocketAddr {
    let scope = match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => v6.scope_id(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, address.port())),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, address.port(), 0, scope)),
    }
}

/// Whether a peer can be there at all.
fn is_dialable(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        // Neither "this network" (0/8) nor the reserved block (240/4) with the broadcast address has
        // hosts.
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 240 && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    ip && address.port() != 0
}

/// All addresses with this one's host.
fn ports_of(ip: IpAddr) -> RangeInclusive<SocketAddr> {
    match ip {
        IpAddr::V4(ip) => {
            let port = |port| SocketAddr::V4(SocketAddrV4::new(ip, port));
            port(0)..=port(u16::MAX)
        }
        IpAddr::V6(ip) => {
            let last = SocketAddrV6::new(ip, u16::MAX, u32::MAX, u32::MAX);
            SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, 0))..=SocketAddr::V6(last)
        }
    }
}

/// BEP 40: a number on which both ends of a connection agree, and which nobody can choose.
fn canonical_priority(own: SocketAddr, peer: SocketAddr) -> u32 {
    if own.ip() == peer.ip() {
        let low = own.port().min(peer.port()).to_be_bytes();
        let high = own.port().max(peer.port()).to_be_bytes();
        return crc32c(low.into_iter().chain(high));
    }
    match (own.ip(), peer.ip()) {
        (IpAddr::V4(own), IpAddr::V4(peer)) => masked_priority(own.octets(), peer.octets(), 2),
        (IpAddr::V6(own), IpAddr::V6(peer)) => masked_priority(own.octets(), peer.octets(), 6),
        // Never asked for: each family is compared with our address in it.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    }
}

/// Of two addresses, half of the bits count from where they differ on, but all of the first `whole`
/// bytes.
fn masked_priority<const N: usize>(own: [u8; N], peer: [u8; N], whole: usize) -> u32 {
    let same = own.iter().zip(&peer).take_while(|(a, b)| a == b).count();
    let mask = |mut octets: [u8; N]| {
        for octet in octets.iter_mut().skip(whole.max(same + 1)) {
            *octet &= 0x55;
        }
        octets
    };
    let (own, peer) = (mask(own), mask(peer));
    crc32c(own.min(peer).into_iter().chain(own.max(peer)))
}

/// CRC-32C (Castagnoli), as in RFC 3720.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

/// Addresses that are not talked to any more, the latest [`MAX_BANNED`].
#[derive(Debug, Default)]
pub(crate) struct Banned {
    addresses: BTreeSet<IpAddr>,
    /// The oldest first.
    order: VecDeque<IpAddr>,
}

impl Banned {
    /// Bans an address; the one banned longest is pardoned if there are too many. Says whether it is
    /// news.
    pub(crate) fn insert(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if !self.addresses.insert(ip) {
            return false;
        }
        self.order.push_back(ip);
        if self.order.len() > MAX_BANNED
            && let Some(oldest) = self.order.pop_front()
        {
            self.addresses.remove(&oldest);
        }
        true
    }

    /// Whether the address is banned.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::format;

    use super::*;

    const NOW: Instant = Instant::from_millis(1_000);

    fn candidates() -> Candidates {
        Candidates::new(4, 7)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nth(number: usize) -> SocketAddr {
        address(&format!("10.{}.{}.1:6881", number / 256, number % 256))
    }

    fn any(_: SocketAddr) -> bool {
        true
    }

    fn after(seconds: u64) -> Instant {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn priorities_are_those_of_the_specification() {
        let priority = |own: &str, peer: &str| canonical_priority(address(own), address(peer));
        assert_eq!(priority("123.213.32.10:1", "98.76.54.32:2"), 0xec2d_7224);
        assert_eq!(priority("98.76.54.32:2", "123.213.32.10:1"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10:1", "123.213.32.234:2"), 0x9956_8189);
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    }

    #[test]
    fn more_of_an_address_counts_the_nearer_it_is() {
        let differ = |a: &str, b: &str, own: &str| {
            let priority = |peer: &str| canonical_priority(address(own), address(peer));
            priority(a) != priority(b)
        };
        // 0x55 hides the second lowest bit.
        assert!(!differ("1.2.3.4:1", "1.2.1.4:1", "9.9.9.9:1"));
        assert!(differ("1.2.3.4:1", "1.2.1.4:1", "1.2.9.9:1"));
        assert!(!differ("1.2.3.4:1", "1.2.3.6:1", "1.2.9.9:1"));
        assert!(differ("1.2.3.4:1", "1.2.3.6:1", "1.2.3.9:1"));
        assert!(differ("1.2.3.4:1", "1.2.3.4:2", "1.2.3.4:9"));
        assert!(!differ(
            "[2001:db8:1:200::]:1",
            "[2001:db8:1::]:1",
            "[2001:db8:2::]:1"
        ));
        assert!(differ(
            "[2001:db8:1:200::]:1",
            "[2001:db8:1::]:1",
            "[2001:db8:1:f00::]:1"
        ));
    }

    #[test]
    fn nobody_is_dialled_where_nobody_can_be() {
        let mut candidates = candidates();
        for nowhere in [
            "10.0.0.1:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[ff02::1]:1",
            "[::ffff:0.0.0.0]:1",
            "[::ffff:224.0.0.1]:1",
        ] {
            assert!(
                !candidates.add(address(nowhere), Source::USER, NOW),
                "{nowhere}"
            );
        }
        for somewhere in ["127.0.0.1:1", "[::1]:1", "192.168.0.1:65535", "[fe80::1]:1"] {
            assert!(
                candidates.add(address(somewhere), Source::TRACKER, NOW),
                "{somewhere}"
            );
        }
        candidates.check();
    }

    #[test]
    fn an_address_has_one_form() {
        let mut candidates = candidates();
        assert!(candidates.add(address("[::ffff:10.0.0.1]:5"), Source::TRACKER, NOW));
        assert!(candidates.add(address("10.0.0.1:5"), Source::PEX, NOW));
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates.pick(NOW, any), Some(address("10.0.0.1:5")));
        candidates.remove_ip(address("[::ffff:10.0.0.1]:5").ip());
        assert_eq!(candidates.connecting(), 0);
    }

    #[test]
    fn the_users_own_come_first_and_hearsay_last() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::PEX, NOW);
        candidates.add(nth(2), Source::TRACKER, NOW);
        candidates.add(nth(3), Source::PEX, NOW);
        candidates.add(nth(3), Source::TRACKER, NOW);
        candidates.add(nth(4), Source::USER, NOW);
        candidates.on_closed(nth(5), true, Instant::ZERO);
        let now = after(60);
        let order: Vec<_> = core::iter::from_fn(|| candidates.pick(now, any)).collect();
        assert_eq!(order[..2], [nth(4), nth(5)]);
        assert_eq!(order[4..], [nth(1)]);
        assert_eq!((candidates.connecting(), candidates.len()), (5, 0));
        assert_eq!(candidates.next_at(now), None);
        candidates.check();
    }

    #[test]
    fn among_equals_the_higher_priority_comes_first_and_follows_our_address() {
        let mut candidates = candidates();
        for number in 0..50 {
            candidates.add(nth(number), Source::TRACKER, NOW);
        }
        let own = address("123.213.32.10:6881");
        candidates.set_own(own);
        candidates.check();
        let order: Vec<_> = core::iter::from_fn(|| candidates.pick(NOW, any)).collect();
        assert_eq!(order.len(), 50);
        assert!(order.is_sorted_by_key(|peer| Reverse(canonical_priority(own, *peer))));
    }

    #[test]
    fn failures_double_the_wait_until_the_address_is_forgotten() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::TRACKER, NOW);
        candidates.add(nth(2), Source::USER, NOW);
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..10 {
            while let Some(picked) = candidates.pick(now, any) {
                candidates.on_failed(picked, now);
            }
            candidates.check();
            let next = candidates.next_at(now).unwrap();
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits[..8], [15, 30, 60, 120, 240, 480, 960, 1920]);
        assert_eq!(waits[8..], [3600, 3600]);
        assert_eq!(candidates.len(), 1);
        candidates.add(nth(2), Source::USER, now);
        assert_eq!(candidates.next_at(now), Some(now));
    }

    #[test]
    fn a_useful_peer_is_sought_again_soon_and_a_useless_one_later() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::TRACKER, NOW);
        assert_eq!(candidates.pick(NOW, any), Some(nth(1)));
        candidates.on_connected(nth(1));
        assert_eq!((candidates.connecting(), candidates.len()), (0, 0));
        // To fail is no news about one that is connected.
        candidates.on_failed(nth(1), NOW);
        assert_eq!(candidates.next_at(NOW), None);
        candidates.on_closed(nth(1), true, NOW);
        assert_eq!(candidates.next_at(NOW), Some(after(15)));
        candidates.on_closed(nth(1), false, NOW);
        assert_eq!(candidates.next_at(NOW), Some(after(60)));
        candidates.on_closed(nth(2), false, NOW);
        assert_eq!(candidates.len(), 1);
    }

    #[test]
    fn a_peer_that_we_stopped_on_is_sought_again_at_once() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::TRACKER, NOW);
        candidates.pick(NOW, any);
        for useful in [false, true] {
            candidates.on_connected(nth(1));
            candidates.on_stopped(nth(1), useful, NOW);
            assert_eq!(candidates.pick(NOW, any), Some(nth(1)));
        }
        candidates.on_stopped(nth(2), false, NOW);
        assert_eq!(candidates.len(), 0, "a stranger that was of no use");
        candidates.on_stopped(nth(2), true, NOW);
        assert_eq!(candidates.pick(NOW, any), Some(nth(2)));
    }

    #[test]
    fn an_address_that_a_tracker_names_again_need_not_wait_for_long() {
        let mut candidates = candidates();
        let mut now = NOW;
        candidates.add(nth(1), Source::USER, now);
        for _ in 0..8 {
            while candidates.pick(now, |_| true).is_none() {
                now = now + RETRY;
            }
            candidates.on_failed(nth(1), now);
        }
        candidates.add(nth(1), Source::PEX, now);
        assert_eq!(candidates.pick(now + RETRY_USELESS, |_| true), None);
        candidates.add(nth(1), Source::TRACKER, now);
        assert_eq!(candidates.pick(now, |_| true), None);
        let soon = now + RETRY_USELESS;
        assert_eq!(candidates.pick(soon, |_| true), Some(nth(1)));
    }

    #[test]
    fn attempts_that_were_given_up_are_no_failures() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::TRACKER, NOW);
        candidates.pick(NOW, any);
        candidates.forget_attempts(NOW);
        candidates.on_failed(nth(1), NOW);
        assert_eq!(candidates.connecting(), 0);
        assert_eq!(candidates.pick(NOW, any), Some(nth(1)));
    }

    #[test]
    fn what_is_not_acceptable_is_forgotten() {
        let mut candidates = candidates();
        candidates.add(nth(1), Source::USER, NOW);
        candidates.add(nth(2), Source::TRACKER, NOW);
        let picked = candidates.pick(NOW, |address| address != nth(1));
        assert_eq!((picked, candidates.len()), (Some(nth(2)), 0));
    }

    #[test]
    fn nobody_can_make_us_knock_at_every_port_of_an_address() {
        let mut candidates = candidates();
        let port = |port: u16| address(&format!("[2001:db8::1]:{port}"));
        for number in 1..100 {
            candidates.add(port(number), Source::TRACKER, NOW);
        }
        assert_eq!(candidates.len(), 4);
        assert!(candidates.add(port(100), Source::USER, NOW));
        candidates.remove_ip(port(1).ip());
        assert_eq!(candidates.len(), 0);
    }

    #[test]
    fn hearsay_does_not_push_out_what_is_known() {
        let mut candidates = candidates();
        for number in 0..MAX_CANDIDATES {
            candidates.add(nth(number), Source::PEX, NOW);
        }
        assert_eq!(candidates.len(), MAX_HEARSAY);
        for number in 0..MAX_CANDIDATES {
            assert!(candidates.add(nth(2 * MAX_CANDIDATES + number), Source::TRACKER, NOW));
        }
        assert_eq!((candidates.len(), candidates.hearsay), (MAX_CANDIDATES, 0));
        assert!(!candidates.add(nth(1), Source::DHT, NOW));
        assert!(candidates.add(nth(1), Source::USER, NOW));
        assert_eq!(candidates.pick(NOW, any), Some(nth(1)));
        candidates.check();
    }

    #[test]
    fn the_oldest_ban_is_lifted_when_there_are_too_many() {
        let mut banned = Banned::default();
        for number in 0..=MAX_BANNED {
            assert!(banned.insert(nth(number).ip()));
        }
        assert!(!banned.insert(address("[::ffff:10.0.1.1]:1").ip()));
        assert_eq!(banned.order.len(), MAX_BANNED);
        assert!(!banned.contains(nth(0).ip()) && banned.contains(nth(1).ip()));
    }

    quickcheck! {
        fn all_lists_agree_after_anything(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut candidates = candidates();
            let mut now = NOW;
            for (step, number, wait) in steps {
                let who = nth(usize::from(number % 16));
                match step % 10 {
                    0 => { candidates.add(who, Source::TRACKER, now); }
                    1 => { candidates.add(who, Source::PEX, now); }
                    2 => { candidates.add(who, Source::USER, now); }
                    3 | 4 => {
                        let due = candidates.next_at(now);
                        let picked = candidates.pick(now, any);
                        assert_eq!(picked.is_some(), due == Some(now));
                    }
                    5 => candidates.on_connected(who),
                    6 => candidates.on_failed(who, now),
                    7 => candidates.on_closed(who, number > 99, now),
                    8 => candidates.forget_attempts(now),
                    _ => candidates.remove(who),
                }
                now = now + Duration::from_secs(u64::from(wait / 256));
                candidates.check();
            }
            true
        }
    }
}
