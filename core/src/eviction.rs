//! Who gives up its place when all places are taken and somebody new comes.
//!
//! Anybody can connect and stay: saying nothing, saying `interested` now and then, asking for a
//! block a minute, asking and never reading. So places are held by use, and no crowd can hold all
//! of them. The same rule decides for the places of one torrent and for those of the engine:
//!
//! - A peer is worth what passes between it and us, in bytes that [fade](crate::fading) with time:
//!   see [`Worth`]. Those of least worth go first; of those who wait, who had a slot and took next
//!   to nothing goes before who never had one, then who moved the fewest bytes, then who has been
//!   idle longest. A block a minute is worth next to nothing.
//! - Some never go: those that the user named; newcomers for [`GRACE`], so that they can show what
//!   they are worth (for [`HASTE`] only, while more than half of the places are newcomers'); of
//!   those that have given or taken much the best [`USEFUL_SHARE`] and, beside them, the
//!   [`OLD_SHARE`] that came first.
//! - Who held a place a while ago and was of no use, or comes from a network of such, is no
//!   newcomer: see [`idlers`](crate::idlers). It has no time to show what it is worth, takes no
//!   place but of who is of no use, and while it waits gives its own to anybody else at once.
//! - A network, an IPv4 /24 or an IPv6 /48, has a claim to [`NETWORK_SHARE`] of the places. What it
//!   holds beyond that goes before what others hold, and a newcomer from it takes the place of one
//!   of its own. It may hold more while nobody else wants in.
//! - Who is of no use goes at once. The others are replaced slowly, in [`TURNOVER`] all of them,
//!   and those that move much four times as slowly: a crowd of newcomers does not flush out a
//!   swarm, and swarms larger than our places do not churn. What a network does among its own is
//!   counted apart, and leaves the others their turns.
//! - Peers are looked through once in a [`LOOK_INTERVAL`], and of what is found the first
//!   [`MAX_VICTIMS`] are kept: a flood of newcomers costs no more, and replaces no more.
//!
//! Connections that are no peers yet have places of their own: see [`strangers`](crate::strangers).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::id::ConnId;
use crate::time::Instant;

/// How long a newcomer keeps its place whatever it does: enough to be unchoked in its turn and to
/// ask.
const GRACE: Duration = Duration::from_secs(30);

/// The same while newcomers hold more than half of the places: enough for some round trips.
const HASTE: Duration = Duration::from_secs(5);

/// The best of those that gave or took something keep one place in so many.
const USEFUL_SHARE: usize = 4;

/// Those of them that came first keep one in so many.
const OLD_SHARE: usize = 8;

/// With less than one in so many places held by who moves much, places are held to no purpose.
const IDLE_SHARE: u32 = 16;

/// A network has a claim to one place in so many, and to one at least.
const NETWORK_SHARE: u32 = 8;

/// The shortest time in which all places can change hands but those of peers that are of no use.
const TURNOVER: Duration = Duration::from_secs(120);

/// How many turns of the others an active peer counts for.
const ACTIVE_TURNS: u32 = 4;

/// How often peers are looked through at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Places that change hands in a [`LOOK_INTERVAL`] at most: 64 × some 50 bytes.
const MAX_VICTIMS: usize = 64;

/// A network as far as it can be told from an address: one party may have all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80)).into(),
        })
    }
}

/// How many are there from each network.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Census(BTreeMap<Network, u32>);

impl Census {
    pub(crate) fn add(&mut self, address: IpAddr) {
        *self.0.entry(Network::of(address)).or_default() += 1;
    }

    pub(crate) fn remove(&mut self, address: IpAddr) {
        let network = Network::of(address);
        if let Some(count) = self.0.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&network);
            }
        }
    }

    pub(crate) fn count(&self, network: Network) -> u32 {
        self.0.get(&network).copied().unwrap_or(0)
    }
}

/// What a peer is worth, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Next to nothing has passed, and nothing will as things are: neither wants what the other
    /// has, or it had its chance and made no use of it. Or it does not take what it asked for.
    Useless,
    /// Next to nothing has passed; one wants something of the other.
    Waiting,
    /// Much has passed of late.
    Active,
}

/// What is to be known of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) conn: ConnId,
    pub(crate) network: Network,
    /// The user named it.
    pub(crate) wished: bool,
    pub(crate) worth: Worth,
    pub(crate) connected_at: Instant,
    /// Since when no payload has passed.
    pub(crate) idle_since: Instant,
    /// Bytes of payload that passed, both ways, as they have faded.
    pub(crate) moved: u64,
    /// It wants something, and never had a slot.
    pub(crate) untried: bool,
    /// It, or its network, held a place a while ago and was of no use.
    pub(crate) known_idle: bool,
}

/// Somebody who wants a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) network: Network,
    /// Places that its network holds.
    pub(crate) held: u32,
    /// It, or its network, held a place a while ago and was of no use.
    pub(crate) known_idle: bool,
}

/// Who may have to go, and when.
#[derive(Debug, Default)]
pub(crate) struct Evictor {
    looked_at: Option<Instant>,
    /// As of then, the first to go first.
    victims: Vec<Victim>,
    /// How many had moved much, as of then.
    active: u32,
    /// When one that is not useless may be replaced.
    next_turn: Instant,
    /// When one may be replaced by a newcomer from a network that has its share.
    next_own_turn: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Victim {
    conn: ConnId,
    network: Network,
    worth: Worth,
    known_idle: bool,
}

impl Evictor {
    /// Looks through the peers, unless that was done a moment ago. `peers` is asked for them only
    /// then.
    pub(crate) fn look(&mut self, now: Instant, places: u32, peers: impl FnOnce() -> Vec<Facts>) {
        let fresh = |at| now.since(at) < LOOK_INTERVAL;
        if !self.looked_at.is_some_and(fresh) {
            self.looked_at = Some(now);
            let peers = peers();
            let active = peers.iter().filter(|peer| peer.worth == Worth::Active);
            self.active = active.count() as u32;
            self.victims = victims(now, places, peers);
        }
    }

    /// Whom a newcomer replaces, if anybody, of `places` that are all taken. `worth` says what a
    /// peer is worth by now, and nothing if it is gone. To be called after [`look`](Self::look).
    pub(crate) fn choose(
        &mut self,
        now: Instant,
        places: u32,
        newcomer: Newcomer,
        worth: impl Fn(ConnId) -> Option<Worth>,
    ) -> Option<ConnId> {
        let own = newcomer.held >= network_share(places);
        let fits = |victim: &Victim| {
            let worse = !newcomer.known_idle || victim.worth == Worth::Useless;
            worse && (!own || victim.network == newcomer.network)
        };
        self.take(now, places, own, fits, worth)
    }

    /// The same, in favour of somebody whom we want to dial: of those that are of no use only; and,
    /// if that is for the sake of who `starves`, of those who wait, as long as few move much.
    pub(crate) fn choose_to_dial(
        &mut self,
        now: Instant,
        places: u32,
        starves: bool,
        worth: impl Fn(ConnId) -> Option<Worth>,
    ) -> Option<ConnId> {
        let most = match starves && self.is_idle(places) {
            true => Worth::Waiting,
            false => Worth::Useless,
        };
        let fits = |victim: &Victim| victim.worth <= most;
        self.take(now, places, false, fits, worth)
    }

    /// Whether next to nobody moved much, at the last look: less than one of so many places is put
    /// to use.
    pub(crate) fn is_idle(&self, places: u32) -> bool {
        self.active < places.div_ceil(IDLE_SHARE)
    }

    /// How many were of no use at the last look, as far as they are remembered.
    pub(crate) fn useless(&self) -> u32 {
        let useless = |victim: &&Victim| victim.worth == Worth::Useless;
        self.victims.iter().filter(useless).count() as u32
    }

    /// How many may have to go as of the last look, as far as they are remembered.
    pub(crate) fn victims(&self) -> u32 {
        self.victims.len() as u32
    }

    fn take(
        &mut self,
        now: Instant,
        places: u32,
        own: bool,
        fits: impl Fn(&Victim) -> bool,
        worth: impl Fn(ConnId) -> Option<Worth>,
    ) -> Option<ConnId> {
        // Who has shown to be worth more since then stays.
        self.victims
            .retain(|victim| worth(victim.conn).is_some_and(|worth| worth <= victim.worth));
        let position = self.victims.iter().position(fits)?;
        let victim = self.victims[position];
        let turns = match victim.worth {
            Worth::Useless => 0,
            // Or those that come back and back would use up the turns.
            Worth::Waiting if victim.known_idle => 0,
            Worth::Waiting => 1,
            Worth::Active => ACTIVE_TURNS,
        };
        let next_turn = if own {
            &mut self.next_own_turn
        } else {
            &mut self.next_turn
        };
        if turns > 0 {
            if now < *next_turn {
                return None;
            }
            *next_turn = now + TURNOVER / places.max(1) * turns;
        }
        self.victims.remove(position);
        Some(victim.conn)
    }
}

fn network_share(places: u32) -> u32 {
    (places / NETWORK_SHARE).max(1)
}

/// Who may have to go, the first to go first.
fn victims(now: Instant, places: u32, mut peers: Vec<Facts>) -> Vec<Victim> {
    // The best first.
    peers.sort_unstable_by_key(|peer| {
        let by_use = (Reverse(peer.worth), Reverse(peer.moved));
        (
            by_use,
            Reverse(peer.idle_since),
            peer.connected_at,
            peer.conn,
        )
    });
    let is_proven = |peer: &Facts| peer.worth == Worth::Active;
    let age = |peer: &Facts| now.since(peer.connected_at);
    let is_new = |peer: &Facts| !peer.known_idle && age(peer) < GRACE;
    let newcomers = peers
        .iter()
        .filter(|peer| !is_proven(peer) && is_new(peer))
        .count();
    let crowded = newcomers > places as usize / 2;
    let keeps_for = |peer: &Facts| match peer.known_idle {
        true => Duration::ZERO,
        false if crowded && !is_proven(peer) => HASTE,
        false => GRACE,
    };
    let useful = places as usize / USEFUL_SHARE;
    let mut old: Vec<(Instant, ConnId)> = peers
        .iter()
        .skip(useful)
        .filter(|peer| is_proven(peer))
        .map(|peer| (peer.connected_at, peer.conn))
        .collect();
    old.sort_unstable();
    old.truncate(places as usize / OLD_SHARE);
    old.sort_unstable_by_key(|(_, conn)| *conn);
    let is_old = |peer: &Facts| {
        old.binary_search_by_key(&peer.conn, |(_, conn)| *conn)
            .is_ok()
    };

    let mut held: BTreeMap<Network, u32> = BTreeMap::new();
    let mut victims = Vec::new();
    for (place, peer) in peers.iter().enumerate() {
        let held = held.entry(peer.network).or_default();
        *held += 1;
        let surplus = *held > network_share(places);
        let is_safe = peer.wished
            || age(peer) < keeps_for(peer)
            || (is_proven(peer) && place < useful)
            || is_old(peer);
        if !is_safe {
            victims.push((surplus, *peer));
        }
    }
    victims.sort_unstable_by_key(|(surplus, peer)| {
        let useful = peer.worth > Worth::Useless;
        let standing = (useful, !surplus, peer.worth, !peer.known_idle);
        let moved = match peer.worth {
            Worth::Useless => 0,
            Worth::Waiting | Worth::Active => peer.moved,
        };
        let order = (standing, peer.untried, moved);
        (order, peer.idle_since, peer.connected_at, peer.conn)
    });
    victims.truncate(MAX_VICTIMS);
    victims
        .into_iter()
        .map(|(_, peer)| Victim {
            conn: peer.conn,
            network: peer.network,
            worth: peer.worth,
            known_idle: peer.known_idle,
        })
        .collect()
}

#[cfg(test)]
mod tests;
