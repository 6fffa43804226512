//! BEP 11: telling peers whom else we are connected to, and hearing it of them.
//!
//! What a peer says is hearsay: it may name anybody. So it is heard once in a while, a part of what it
//! says is kept (`candidates` gives each source and each peer its share), and no address that
//! is nearer than the peer itself: nobody out there knows who is in our network.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::ctx::Timer;
use crate::error::{Blame, Misbehaviour};
use crate::id::ConnId;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::roster::{MAX_TOLD, Place};
use crate::torrent::trade::Trade;
use crate::wire::{Message, PexFlags, PexMessage};

/// How long after it named the extension a peer is told first: by then there is something to tell.
const FIRST: Duration = Duration::from_secs(10);

/// How often a peer is told at most (BEP 11).
const INTERVAL: Duration = Duration::from_secs(60);

/// Peers whose time comes within this are told together.
const ROUND: Duration = Duration::from_secs(5);

/// Peers added that are believed of a first message, which may have more than later ones.
const MAX_FIRST: usize = 100;

/// Messages that a peer may send in a burst; one more is allowed each [`ALLOWANCE`].
const BURST: u32 = 3;

/// A little less than [`INTERVAL`], as clocks and networks waver.
const ALLOWANCE: Duration = Duration::from_secs(45);

/// Messages that come too soon, after which the connection ends.
const MAX_HASTY: u32 = 6;

/// What one peer and we have told each other.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// How much of our comings and goings it has been told.
    told: Place,
    /// When it may be told again; none while it wants to hear nothing.
    due: Option<Instant>,
    heard: bool,
    allowance: u32,
    allowed_at: Instant,
    hasty: u32,
}

impl Exchange {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            told: Place::default(),
            due: None,
            heard: false,
            allowance: BURST,
            allowed_at: now,
            hasty: 0,
        }
    }

    /// The peer wants to be told, or not any more.
    fn set_wanted(&mut self, wanted: bool, now: Instant) {
        match (wanted, self.due) {
            (true, None) => self.due = Some(now + FIRST),
            (false, Some(_)) => {
                self.due = None;
                self.told = Place::default();
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// A message came: how many addresses of it may be believed.
    fn hear(&mut self, now: Instant) -> Result<usize, Blame> {
        while self.allowance < BURST && self.allowed_at + ALLOWANCE <= now {
            self.allowance += 1;
            self.allowed_at = self.allowed_at + ALLOWANCE;
        }
        if self.allowance == BURST {
            self.allowed_at = now;
        }
        if self.allowance == 0 {
            self.hasty += 1;
            if self.hasty > MAX_HASTY {
                return Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
            }
            return Ok(0);
        }
        self.allowance -= 1;
        let first = !core::mem::replace(&mut self.heard, true);
        Ok(if first { MAX_FIRST } else { MAX_TOLD })
    }
}

impl Trade {
    /// Whether peers are exchanged: not with a private torrent (BEP 27). One whose metadata is not
    /// there yet may turn out to be private, but could not be fetched otherwise.
    pub(super) fn exchanges_peers(&self, ctx: &Shared) -> bool {
        ctx.config.pex && !self.phase.is_private()
    }

    /// A peer said whether it wants to be told.
    pub(super) fn update_exchange(&mut self, ctx: &mut Shared, conn: ConnId) {
        let allowed = self.exchanges_peers(ctx);
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        let wanted = allowed && peer.extensions.pex != 0;
        peer.exchange.set_wanted(wanted, ctx.now);
        if let Some(due) = peer.exchange.due {
            ctx.timers.set_no_later(Timer::Pex(self.id), due + ROUND);
        }
    }

    /// Tells the peers whose time has come.
    pub(crate) fn exchange_peers(&mut self, ctx: &mut Shared) {
        if !self.exchanges_peers(ctx) {
            return;
        }
        let now = ctx.now;
        let connected: BTreeMap<SocketAddr, PexFlags> = self
            .swarm
            .peers
            .values()
            .filter_map(|peer| Some((peer.dial_address?, flags(peer))))
            .collect();
        self.swarm.roster.update(connected);
        let mut next: Option<Instant> = None;
        for peer in self.swarm.peers.values_mut() {
            let Some(due) = peer.exchange.due else {
                continue;
            };
            let mut due_next = due;
            if due <= now {
                due_next = now + INTERVAL;
                peer.exchange.due = Some(due_next);
                let (ip, itself) = (peer.address.ip(), peer.dial_address);
                let is_of_interest =
                    |other: &SocketAddr| itself != Some(*other) && may_know(ip, other.ip());
                let news = self
                    .swarm
                    .roster
                    .news(&mut peer.exchange.told, is_of_interest);
                if let Some(message) = news {
                    let message = Message::Extended {
                        id: peer.extensions.pex,
                        payload: message.encode().into(),
                    };
                    peer.send(&mut ctx.out(), &message);
                }
            }
            next = Some(next.map_or(due_next, |next| next.min(due_next)));
        }
        if let Some(next) = next {
            ctx.timers.set(Timer::Pex(self.id), next + ROUND);
        }
    }

    /// A peer tells whom it is connected to.
    pub(super) fn on_pex(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        payload: &[u8],
    ) -> Result<(), Blame> {
        let allowed = self.exchanges_peers(ctx);
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let message = PexMessage::decode(payload).ok().filter(|_| allowed);
        let Some(message) = message else {
            return peer.count_chatter();
        };
        let believed = peer.exchange.hear(ctx.now)?;
        let sender = peer.address.ip();
        let heard = peer.count_chatter();
        for (address, flags) in message.added.into_iter().take(believed) {
            let known = ctx.identity.listen == Some(address) || ctx.banned.contains(address.ip());
            if !known && may_know(sender, address.ip()) {
                let is_seed = flags.contains(PexFlags::SEED);
                self.swarm
                    .candidates
                    .introduce(address, conn, is_seed, ctx.now);
            }
        }
        self.seek_peers(ctx);
        heard
    }
}

fn flags(peer: &Peer) -> PexFlags {
    PexFlags::default()
        .with(PexFlags::ENCRYPTION, peer.encryption)
        .with(PexFlags::SEED, peer.is_seed() || peer.upload_only)
        .with(PexFlags::HOLEPUNCH, peer.extensions.holepunch != 0)
        .with(PexFlags::REACHABLE, !peer.incoming)
}

/// How far an address reaches: only this machine, this link, this network, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Machine,
    Link,
    Network,
    World,
}

fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            if ip.is_loopback() {
                Reach::Machine
            } else if ip.is_link_local() {
                Reach::Link
            } else if ip.is_private() || (first == 100 && second & 0xc0 == 64) {
                Reach::Network
            } else {
                Reach::World
            }
        }
        IpAddr::V6(ip) => {
            if ip.is_loopback() {
                Reach::Machine
            } else if ip.is_unicast_link_local() {
                Reach::Link
            } else if ip.is_unique_local() {
                Reach::Network
            } else {
                Reach::World
            }
        }
    }
}

/// Whether a peer can know an address, and can do anything with it: one that reaches no less far than its
/// own.
fn may_know(peer: IpAddr, address: IpAddr) -> bool {
    // An address of a link says nothing without the link's name.
    let named = reach(address) != Reach::Link || address.is_ipv4();
    named && reach(address) >= reach(peer)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const NOW: Instant = Instant::from_millis(7_000);

    #[test]
    fn hasty_peers_are_not_heard_and_then_cut_off() {
        let mut exchange = Exchange::new(NOW);
        let heard: Vec<usize> = (0..4).map(|_| exchange.hear(NOW).unwrap()).collect();
        assert_eq!(heard, [100, 50, 50, 0]);
        let mut now = NOW;
        for _ in 0..100 {
            now = now + INTERVAL;
            assert_eq!(exchange.hear(now), Ok(50));
        }
        let mut exchange = Exchange::new(NOW);
        let outcomes: Vec<_> = (0..20).map(|_| exchange.hear(NOW)).collect();
        let flood = Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
        assert_eq!(
            outcomes.iter().position(|outcome| *outcome == flood),
            Some(9)
        );
    }

    #[test]
    fn nobody_tells_of_what_is_nearer_to_us_than_they_are() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, address, may) in [
            ("8.8.8.8", "9.9.9.9", true),
            ("8.8.8.8", "2001:4860::1", true),
            ("8.8.8.8", "192.168.1.1", false),
            ("8.8.8.8", "127.0.0.1", false),
            ("8.8.8.8", "::ffff:10.0.0.1", false),
            ("8.8.8.8", "fd00::1", false),
            ("192.168.1.2", "192.168.1.1", true),
            ("192.168.1.2", "100.64.0.1", true),
            ("192.168.1.2", "127.0.0.1", false),
            ("192.168.1.2", "169.254.0.1", false),
            ("fe80::1", "fe80::2", false),
            ("127.0.0.1", "127.0.0.9", true),
            ("127.0.0.1", "8.8.8.8", true),
        ] {
            assert_eq!(may_know(ip(peer), ip(address)), may, "{peer} {address}");
        }
    }
}
