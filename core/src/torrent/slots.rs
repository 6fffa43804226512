//! Slots: who is unchoked, from the first offer until somebody else is tried (BEP 3).
//!
//! Whom to choose is decided by [`choker`](crate::torrent::choker); here is what it must know of
//! the peers, and that nobody keeps a slot that it makes no use of while others wait for one.

use alloc::vec::Vec;
use core::time::Duration;

use crate::ctx::Timer;
use crate::id::ConnId;
use crate::notice::TorrentState;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::choker::{PeerFacts, TorrentFacts};
use crate::torrent::transfer::Transfer;
use crate::wire::Message;

/// How long a slot may be of no use to who has it while others wait: several round trips, also slow
/// ones.
const UNUSED: Duration = Duration::from_secs(5);

/// The same of who has made use of it: what we have that it lacks may be under way to it from others.
const PAUSE: Duration = Duration::from_secs(15);

/// How long who asked may take nothing of what it is given, while others wait: lost packets are
/// sent again by then.
const UNTAKEN: Duration = Duration::from_secs(10);

/// How often it is looked at most whether slots are of use.
const REVIEW: Duration = Duration::from_secs(1);

impl Transfer<'_> {
    /// A peer became interested: if a slot is free, it need not wait for the next round.
    pub(super) fn offer_slot(&mut self, ctx: &mut Shared, conn: ConnId) {
        if !self.course.is_running() {
            return;
        }
        if self.swarm.choker.admit(conn, self.swarm.unchoked as usize) {
            self.unchoke(ctx, conn);
        } else {
            // One of those that have a slot may have had it to no purpose for long.
            ctx.timers
                .set_no_later(Timer::Slots(self.id), ctx.now + REVIEW);
        }
    }

    /// Passes on slots that are of no use to who has them, to others that wait for one.
    pub(crate) fn review_slots(&mut self, ctx: &mut Shared) {
        if !self.course.is_running() {
            return;
        }
        let now = ctx.now;
        let seeding = self.course.state() == TorrentState::Seeding;
        let (mut idle, mut waiting) = (Vec::new(), Vec::new());
        let mut next = None;
        for peer in self.swarm.peers.values() {
            if peer.am_choking {
                if peer.peer_interested {
                    waiting.push(facts_of(peer, now));
                }
                continue;
            }
            let ends = slot_ends(peer, seeding, now);
            if ends <= now {
                idle.push((ends, peer.conn));
            } else {
                next = Some(next.map_or(ends, |next: Instant| next.min(ends)));
            }
        }
        if waiting.is_empty() {
            // Who comes to want one is the occasion.
            return;
        }
        idle.sort_unstable();
        for (_, conn) in idle {
            let chosen = self.swarm.choker.pass_on(conn, &waiting, &mut ctx.rng);
            let Some(chosen) = chosen else {
                break;
            };
            waiting.retain(|peer| peer.conn != chosen);
            if let Some(peer) = self.swarm.peers.get_mut(&conn) {
                peer.lapsed = true;
            }
            self.choke(ctx, conn);
            self.unchoke(ctx, chosen);
        }
        if let Some(next) = next.filter(|_| !waiting.is_empty()) {
            let at = next.max(now + REVIEW);
            ctx.timers.set_no_later(Timer::Slots(self.id), at);
        }
    }

    /// A peer wants nothing. If it was unchoked for nothing, another one is tried out in its place;
    /// who has made use of its slot keeps it until the next round, since it may soon want something
    /// again.
    pub(super) fn pass_slot_on(&mut self, ctx: &mut Shared, conn: ConnId) {
        let unused = |peer: &Peer| !peer.am_choking && peer.uploaded == peer.uploaded_before;
        if !self.course.is_running() || !self.swarm.peers.get(&conn).is_some_and(unused) {
            return;
        }
        let facts = self
            .swarm
            .peers
            .values()
            .filter(|peer| peer.peer_interested && peer.am_choking);
        let facts: Vec<PeerFacts> = facts.map(|peer| facts_of(peer, ctx.now)).collect();
        if let Some(next) = self.swarm.choker.pass_on(conn, &facts, &mut ctx.rng) {
            self.choke(ctx, conn);
            self.unchoke(ctx, next);
        }
    }

    /// Chooses anew whom to unchoke.
    pub(super) fn choose_peers(&mut self, ctx: &mut Shared) {
        let now = ctx.now;
        let peers: Vec<PeerFacts> = self
            .swarm
            .peers
            .values()
            .map(|peer| facts_of(peer, now))
            .collect();
        let facts = TorrentFacts {
            seeding: self.course.state() == TorrentState::Seeding,
            seed_choke: ctx.config.seed_choke,
            base_slots: ctx.config.unchoke_slots,
            upload_rate: self.flow.up.per_second(now),
        };
        let verdict = self.swarm.choker.decide(now, &facts, &peers, &mut ctx.rng);
        for conn in verdict.choke {
            self.choke(ctx, conn);
        }
        for conn in verdict.unchoke {
            self.unchoke(ctx, conn);
        }
        ctx.timers.set_no_later(Timer::Slots(self.id), now + UNUSED);
        for peer in self.swarm.peers.values_mut() {
            if peer.am_interested && peer.interesting == 0 {
                peer.am_interested = false;
                peer.send(&mut ctx.out(), &Message::NotInterested);
            }
        }
    }

    /// A slot is of no use any more: it need not wait for the next round.
    pub(super) fn free_slot(&self, ctx: &mut Shared) {
        if self.course.is_running() {
            ctx.timers
                .set_no_later(Timer::Choke(self.id), ctx.now + Duration::from_secs(1));
        }
    }

    fn choke(&mut self, ctx: &mut Shared, conn: ConnId) {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if peer.am_choking {
            return;
        }
        peer.am_choking = true;
        self.swarm.unchoked -= 1;
        peer.send(&mut ctx.out(), &Message::Choke);
        let offered = core::mem::take(&mut peer.offered);
        if let Some(handout) = &mut self.swarm.handout {
            offered
                .into_iter()
                .for_each(|piece| handout.take_back(piece));
        }
        let starting = peer.is_starting(self.content.layout.piece_length());
        let allowed = core::mem::take(&mut peer.allowed_to_it);
        let dropped = peer
            .uploads
            .retain(|block| starting && allowed.contains(&block.piece));
        peer.allowed_to_it = allowed;
        if peer.fast {
            for block in dropped {
                peer.send(&mut ctx.out(), &Message::Reject(block));
            }
        }
    }

    fn unchoke(&mut self, ctx: &mut Shared, conn: ConnId) {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if !peer.am_choking {
            return;
        }
        peer.am_choking = false;
        self.swarm.unchoked += 1;
        peer.last_unchoked = Some(ctx.now);
        peer.last_asked = ctx.now;
        peer.lapsed = false;
        peer.uploaded_before = peer.uploaded;
        peer.send(&mut ctx.out(), &Message::Unchoke);
        ctx.timers
            .set_no_later(Timer::Slots(self.id), ctx.now + UNUSED);
        self.offer_piece(ctx, conn);
    }
}

/// When the slot that a peer has is of no use to it any more, as things are.
fn slot_ends(peer: &Peer, seeding: bool, now: Instant) -> Instant {
    if !seeding && is_giving(peer, now) {
        // It has earned it.
        return now + UNUSED;
    }
    let untaken = (peer.owed > 0).then(|| peer.last_left + UNTAKEN);
    let unused = (peer.uploads.len() == 0).then(|| {
        let used = peer.uploaded > peer.uploaded_before;
        peer.last_asked + if used { PAUSE } else { UNUSED }
    });
    // If neither holds, it waits for us.
    let ends = untaken.into_iter().chain(unused).min();
    ends.unwrap_or(now + UNUSED)
}

fn is_giving(peer: &Peer, now: Instant) -> bool {
    !peer.snubbed && peer.down.per_second(now) > 0
}

fn facts_of(peer: &Peer, now: Instant) -> PeerFacts {
    PeerFacts {
        conn: peer.conn,
        interested: peer.peer_interested,
        snubbed: peer.snubbed,
        rate_to_us: peer.down.per_second(now),
        rate_from_us: peer.up.per_second(now),
        unchoked_since: peer.last_unchoked.filter(|_| !peer.am_choking),
        last_unchoked: peer.last_unchoked,
        sent_since_unchoked: peer.uploaded - peer.uploaded_before,
        connected_at: peer.connected_at,
        lapsed: peer.lapsed,
        known_idle: peer.known_idle,
    }
}
