//! BEP 11: telling peers whom else we are connected to, and hearing it of them.
//!
//! What a peer says is hearsay: it may name anybody. So it is heard once in a while, a part of what it
//! says is kept (`candidates` gives each source and each peer its share), and no address that
//! is nearer than the peer itself: nobody out there knows who is in our network.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use crate::address::may_know;
use crate::ctx::Timer;
use crate::error::Blame;
use crate::id::ConnId;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::trade::Trade;
use crate::transport::Transport;
use crate::wire::{Message, PexFlags, PexMessage};

/// How often a peer is told at most (BEP 11).
const INTERVAL: Duration = Duration::from_secs(60);

/// Peers whose time comes within this are told together.
const ROUND: Duration = Duration::from_secs(5);

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
                if flags.contains(PexFlags::UTP) {
                    self.swarm.candidates.suggest(address, Transport::Utp);
                }
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
        .with(PexFlags::UTP, peer.transport == Transport::Utp)
        .with(PexFlags::REACHABLE, !peer.incoming)
}
