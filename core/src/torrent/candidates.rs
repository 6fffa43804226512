//! Whom to dial: addresses that are known and not connected (BEP 40), and those that never are again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::limits::{MAX_BANNED, MAX_CANDIDATES};
use crate::time::Instant;

/// How long an address rests after a first failure; each further one doubles it.
const BACKOFF: Duration = Duration::from_secs(15);

/// How long an address rests at most.
const MAX_BACKOFF: Duration = Duration::from_secs(3_600);

/// How long an address rests after a connection that was of use.
const REST: Duration = Duration::from_secs(20);

/// Failures after which an address is forgotten, unless the user named it.
const MAX_FAILURES: u8 = 8;

/// Where an address came from; several may name the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source(u8);

impl Source {
    /// The user.
    pub(crate) const USER: Self = Self(1);
    /// A tracker.
    pub(crate) const TRACKER: Self = Self(2);

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// May be dialled from this time on.
    Waiting(Instant),
    /// Being dialled, or shaking hands.
    Connecting,
    Connected,
}

#[derive(Clone, Debug)]
struct Candidate {
    source: Source,
    phase: Phase,
    failures: u8,
    /// Whether a connection to it was ever of use.
    proven: bool,
    /// BEP 40: lower is worse.
    priority: u32,
}

/// What decides who is dialled first among those that are due.
type Rank = (Reverse<bool>, u8, Reverse<bool>, Reverse<u32>, SocketAddr);

/// The addresses of one torrent's peers.
#[derive(Debug)]
pub(crate) struct Candidates {
    all: BTreeMap<SocketAddr, Candidate>,
    /// Those that wait, by when they are due.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// Those that are due, the best first.
    due: BTreeSet<Rank>,
    connecting: u32,
    /// Our own address as others see it, as far as it is known.
    own: IpAddr,
}

impl Default for Candidates {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            connecting: 0,
            own: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        }
    }
}

impl Candidates {
    /// Takes an address in, unless it is none that a peer can have. When there are too many, the
    /// worst one makes room, which may be this one.
    pub(crate) fn add(&mut self, address: SocketAddr, source: Source, now: Instant) {
        let address = canonical(address);
        if !is_dialable(address) {
            return;
        }
        if let Some(known) = self.all.get(&address) {
            let was = known.source;
            let merged = was.with(source);
            // Whom the user names again is to be tried again.
            let again = source == Source::USER && known.phase != Phase::Connecting;
            if merged != was || again {
                self.change(address, |candidate| {
                    candidate.source = merged;
                    if again && candidate.phase != Phase::Connected {
                        candidate.failures = 0;
                        candidate.phase = Phase::Waiting(now);
                    }
                });
            }
            return;
        }
        if self.all.len() >= MAX_CANDIDATES && !self.make_room(source) {
            return;
        }
        let priority = canonical_priority(SocketAddr::new(self.own, 0), address);
        let candidate = Candidate {
            source,
            phase: Phase::Waiting(now),
            failures: 0,
            proven: false,
            priority,
        };
        self.enqueue(address, &candidate);
        self.all.insert(address, candidate);
    }

    /// Takes the best address that is due and that `allowed` lets pass; it counts as being dialled.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        allowed: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        self.ripen(now);
        while let Some(rank) = self.due.first().copied() {
            let address = rank.4;
            if !allowed(address) {
                self.remove(address);
                continue;
            }
            self.change(address, |candidate| candidate.phase = Phase::Connecting);
            return Some(address);
        }
        None
    }

    /// When the next address is due; none when nobody waits.
    pub(crate) fn next_at(&mut self, now: Instant) -> Option<Instant> {
        self.ripen(now);
        if !self.due.is_empty() {
            return Some(now);
        }
        self.waiting.first().map(|(at, _)| *at)
    }

    /// A dialled address completed its handshake.
    pub(crate) fn on_connected(&mut self, address: SocketAddr) {
        self.change(canonical(address), |candidate| {
            candidate.phase = Phase::Connected;
            candidate.failures = 0;
        });
    }

    /// Dialling an address, or its handshake, came to nothing.
    pub(crate) fn on_failed(&mut self, address: SocketAddr, now: Instant) {
        let address = canonical(address);
        let Some(candidate) = self.all.get(&address) else {
            return;
        };
        let failures = candidate.failures.saturating_add(1);
        if failures >= MAX_FAILURES && !candidate.source.contains(Source::USER) {
            self.remove(address);
            return;
        }
        let rest = (BACKOFF * (1 << failures.min(10).saturating_sub(1))).min(MAX_BACKOFF);
        self.change(address, |candidate| {
            candidate.failures = failures;
            candidate.phase = Phase::Waiting(now + rest);
        });
    }

    /// A connection with an address ended; `useful` says whether data had flowed.
    pub(crate) fn on_closed(&mut self, address: SocketAddr, useful: bool, now: Instant) {
        if !useful {
            self.on_failed(address, now);
            return;
        }
        self.change(canonical(address), |candidate| {
            candidate.proven = true;
            candidate.failures = 0;
            candidate.phase = Phase::Waiting(now + REST);
        });
    }

    /// The attempts under way were given up by us: nobody is to blame.
    pub(crate) fn forget_attempts(&mut self, now: Instant) {
        let addresses: alloc::vec::Vec<SocketAddr> = self
            .all
            .iter()
            .filter(|(_, candidate)| !matches!(candidate.phase, Phase::Waiting(_)))
            .map(|(address, _)| *address)
            .collect();
        for address in addresses {
            self.change(address, |candidate| {
                candidate.phase = Phase::Waiting(now);
                candidate.failures = 0;
            });
        }
    }

    pub(crate) fn remove(&mut self, address: SocketAddr) {
        let address = canonical(address);
        if let Some(candidate) = self.all.remove(&address) {
            self.dequeue(address, &candidate);
        }
    }

    /// Removes every port of an address.
    pub(crate) fn remove_ip(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        let range = SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX);
        let ports: alloc::vec::Vec<SocketAddr> =
            self.all.range(range).map(|(address, _)| *address).collect();
        for address in ports {
            self.remove(address);
        }
    }

    /// How many are known and not connected.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.due.len()
    }

    /// How many are being dialled.
    pub(crate) fn connecting(&self) -> u32 {
        self.connecting
    }

    /// Checks what must hold.
    pub(crate) fn check(&self) {
        let count = |test: fn(&Phase) -> bool| {
            self.all
                .values()
                .filter(|candidate| test(&candidate.phase))
                .count()
        };
        assert_eq!(
            count(|phase| matches!(phase, Phase::Waiting(_))),
            self.len(),
            "those that wait"
        );
        let connecting = count(|phase| *phase == Phase::Connecting);
        assert_eq!(
            connecting, self.connecting as usize,
            "those that are dialled"
        );
        assert!(self.all.len() <= MAX_CANDIDATES, "candidates are bounded");
    }

    /// Moves those whose time has come to the others that are due.
    fn ripen(&mut self, now: Instant) {
        while let Some((at, address)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            if let Some(candidate) = self.all.get_mut(&address) {
                // Where it stands is told by its time: the origin means that it is due.
                candidate.phase = Phase::Waiting(Instant::ZERO);
                self.due.insert(rank(address, candidate));
            }
        }
    }

    /// Changes a candidate and where it stands.
    fn change(&mut self, address: SocketAddr, change: impl FnOnce(&mut Candidate)) {
        let Some(mut candidate) = self.all.remove(&address) else {
            return;
        };
        self.dequeue(address, &candidate);
        change(&mut candidate);
        self.enqueue(address, &candidate);
        self.all.insert(address, candidate);
    }

    fn enqueue(&mut self, address: SocketAddr, candidate: &Candidate) {
        match candidate.phase {
            Phase::Waiting(at) if at == Instant::ZERO => {
                self.due.insert(rank(address, candidate));
            }
            Phase::Waiting(at) => {
                self.waiting.insert((at, address));
            }
            Phase::Connecting => self.connecting += 1,
            Phase::Connected => {}
        }
    }

    fn dequeue(&mut self, address: SocketAddr, candidate: &Candidate) {
        match candidate.phase {
            Phase::Waiting(at) => {
                self.due.remove(&rank(address, candidate));
                self.waiting.remove(&(at, address));
            }
            Phase::Connecting => self.connecting -= 1,
            Phase::Connected => {}
        }
    }

    /// Drops the worst candidate that waits, if it is worse than a fresh one from `source`.
    fn make_room(&mut self, source: Source) -> bool {
        let worst = self
            .waiting
            .iter()
            .map(|(_, address)| *address)
            .chain(self.due.last().map(|rank| rank.4))
            .filter(|address| {
                self.all.get(address).is_some_and(|candidate| {
                    !candidate.source.contains(Source::USER)
                        && (candidate.failures > 0 || source == Source::USER)
                })
            })
            .max_by_key(|address| self.all.get(address).map(|candidate| candidate.failures));
        match worst {
            Some(address) => {
                self.remove(address);
                true
            }
            None => false,
        }
    }
}

fn rank(address: SocketAddr, candidate: &Candidate) -> Rank {
    (
        Reverse(candidate.source.contains(Source::USER)),
        candidate.failures,
        Reverse(candidate.proven),
        Reverse(candidate.priority),
        address,
    )
}

/// IPv4 written as IPv6 is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether somebody can listen there.
fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// BEP 40: a number that both ends compute alike, by which everybody prefers other peers, so that a
/// swarm is connected evenly and nobody can choose whom others prefer.
pub(crate) fn canonical_priority(ours: SocketAddr, theirs: SocketAddr) -> u32 {
    match (ours.ip().to_canonical(), theirs.ip().to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let (a, b) = (a.octets(), b.octets());
            if a == b {
                return same_host(ours, theirs);
            }
            let keep = if a[..3] == b[..3] {
                4
            } else if a[..2] == b[..2] {
                3
            } else {
                2
            };
            ordered(mask(a, keep), mask(b, keep))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let (a, b) = (a.octets(), b.octets());
            if a == b {
                return same_host(ours, theirs);
            }
            let keep = if a[..7] == b[..7] {
                16
            } else if a[..6] == b[..6] {
                7
            } else {
                6
            };
            ordered(mask(a, keep), mask(b, keep))
        }
        // Of another family than the address of ours that is known: any even spread will do.
        (_, IpAddr::V4(b)) => crc32c(&[&b.octets()]),
        (_, IpAddr::V6(b)) => crc32c(&[&b.octets()]),
    }
}

fn same_host(ours: SocketAddr, theirs: SocketAddr) -> u32 {
    ordered(ours.port().to_be_bytes(), theirs.port().to_be_bytes())
}

/// Keeps the first `keep` bytes, and every other bit of the rest.
fn mask<const N: usize>(mut octets: [u8; N], keep: usize) -> [u8; N] {
    for octet in octets.iter_mut().skip(keep) {
        *octet &= 0x55;
    }
    octets
}

fn ordered<const N: usize>(a: [u8; N], b: [u8; N]) -> u32 {
    crc32c(&[a.min(b).as_slice(), a.max(b).as_slice()])
}

/// The Castagnoli checksum; a few bytes for each address, so a table would cost more than it saves.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ 0x82f6_3b78
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

/// Addresses that are not talked to any more. The oldest are forgotten when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Banned {
    set: BTreeSet<IpAddr>,
    order: VecDeque<IpAddr>,
}

impl Banned {
    /// Adds an address. Says whether it was new.
    pub(crate) fn insert(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if !self.set.insert(ip) {
            return false;
        }
        self.order.push_back(ip);
        if self.order.len() > MAX_BANNED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        self.set.contains(&ip.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::string::String;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn priorities_are_those_of_the_specification() {
        let ours = address("123.213.32.10:0");
        assert_eq!(
            canonical_priority(ours, address("98.76.54.32:0")),
            0xec2d7224
        );
        assert_eq!(
            canonical_priority(ours, address("123.213.32.234:0")),
            0x99568189
        );
        assert_eq!(
            canonical_priority(address("98.76.54.32:0"), ours),
            0xec2d7224
        );
    }

    #[test]
    fn whom_the_user_names_comes_first() {
        let mut candidates = Candidates::default();
        for port in 1..20 {
            candidates.add(
                SocketAddr::new([10, 0, 0, 1].into(), port),
                Source::TRACKER,
                at(0),
            );
        }
        candidates.add(address("10.9.9.9:5"), Source::USER, at(0));
        assert_eq!(
            candidates.pick(at(0), |_| true),
            Some(address("10.9.9.9:5"))
        );
        assert_eq!((candidates.len(), candidates.connecting()), (19, 1));
        candidates.check();
    }

    #[test]
    fn a_failure_doubles_the_rest_and_the_last_one_ends_it() {
        let mut candidates = Candidates::default();
        let peer = address("10.0.0.1:6881");
        candidates.add(peer, Source::TRACKER, at(0));
        let mut now = 0;
        let mut rests: Vec<u64> = Vec::new();
        while let Some(due) = candidates.next_at(at(now)) {
            rests.push(due.since(at(now)).as_secs());
            now += due.since(at(now)).as_secs();
            assert_eq!(candidates.pick(at(now), |_| true), Some(peer));
            assert_eq!(candidates.pick(at(now), |_| true), None);
            candidates.on_failed(peer, at(now));
            candidates.check();
        }
        assert_eq!(rests, [0, 15, 30, 60, 120, 240, 480, 960]);
    }

    #[test]
    fn useless_addresses_are_not_taken_in() {
        let mut candidates = Candidates::default();
        for text in [
            "1.2.3.4:0",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[ff02::1]:9",
        ] {
            candidates.add(address(text), Source::TRACKER, at(0));
        }
        candidates.add(address("[::ffff:1.2.3.4]:7"), Source::TRACKER, at(0));
        assert_eq!(candidates.pick(at(0), |_| true), Some(address("1.2.3.4:7")));
        assert_eq!(candidates.pick(at(0), |_| true), None);
    }

    #[test]
    fn a_banned_address_is_never_picked() {
        let mut banned = Banned::default();
        assert!(banned.insert(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
        assert!(!banned.insert("::ffff:10.0.0.1".parse().unwrap()));
        let mut candidates = Candidates::default();
        candidates.add(address("10.0.0.1:1"), Source::USER, at(0));
        assert_eq!(
            candidates.pick(at(0), |peer| !banned.contains(peer.ip())),
            None
        );
        assert_eq!(candidates.len(), 0);
    }

    #[test]
    fn bans_are_bounded() {
        let mut banned = Banned::default();
        for number in 0..=MAX_BANNED as u32 {
            banned.insert(IpAddr::V4(Ipv4Addr::from_bits(number)));
        }
        assert!(!banned.contains(IpAddr::V4(Ipv4Addr::from_bits(0))));
        assert!(banned.contains(IpAddr::V4(Ipv4Addr::from_bits(MAX_BANNED as u32))));
    }

    quickcheck! {
        fn whatever_happens_the_tables_agree(steps: Vec<(u8, u8, u16)>) -> bool {
            let mut candidates = Candidates::default();
            let mut now = 0;
            for (what, who, wait) in steps {
                now += u64::from(wait % 50);
                let peer = SocketAddr::new([10, 0, 0, who % 8].into(), 1 + u16::from(who / 64));
                match what % 8 {
                    0 => candidates.add(peer, Source::TRACKER, at(now)),
                    1 => candidates.add(peer, Source::USER, at(now)),
                    2 => drop(candidates.pick(at(now), |_| true)),
                    3 => candidates.on_connected(peer),
                    4 => candidates.on_failed(peer, at(now)),
                    5 => candidates.on_closed(peer, who % 2 == 0, at(now)),
                    6 => candidates.remove_ip(peer.ip()),
                    _ => candidates.forget_attempts(at(now)),
                }
                candidates.check();
            }
            true
        }
    }

    #[test]
    fn a_full_list_forgets_those_that_failed_first() {
        let mut candidates = Candidates::default();
        let peer = |number: usize| {
            SocketAddr::new(
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number as u32)),
                1,
            )
        };
        for number in 0..MAX_CANDIDATES {
            candidates.add(peer(number), Source::TRACKER, at(0));
        }
        candidates.add(peer(MAX_CANDIDATES), Source::TRACKER, at(0));
        assert_eq!(candidates.len(), MAX_CANDIDATES);
        let failed = candidates.pick(at(0), |_| true).unwrap();
        candidates.on_failed(failed, at(0));
        candidates.add(peer(MAX_CANDIDATES), Source::TRACKER, at(0));
        candidates.check();
        assert!(
            !candidates.all.contains_key(&failed),
            "{}",
            String::from("the failed one is gone")
        );
        assert!(candidates.all.contains_key(&peer(MAX_CANDIDATES)));
    }
}
