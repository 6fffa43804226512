//! The end of a download: who is asked for how much of the rest, and when a block is asked of a second
//! peer.
//!
//! What has been asked for comes, more often than not, even if it is taken back: it is in the sender's
//! buffers already. A block that is asked of two peers is fetched twice, and where our own link is the
//! bottleneck the second copy takes the place of a block that is missing. So the end is not a matter of
//! asking everybody for everything, but of nobody having too much to do:
//!
//! 1. Peers are asked for less and less ahead ([`Transfer::share_of_rest`]): for half of the time that the
//!    rest takes, at the pace of each. Who turns out faster than was thought finds something left to do.
//! 2. The very last blocks go to those who will have delivered them soonest. A peer that would hold up
//!    the others is left out.
//! 3. A block is asked of a second peer when the first is late, by what it had shown when it was asked
//!    ([`Pipeline::late_at`](crate::peer::pipeline::Pipeline::late_at)), and only within the second one's
//!    share, so that all copies under way are no more than the link carries in that time.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::ConnId;
use crate::limits;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::transfer::Transfer;
use crate::wire::BlockRequest;

/// What is left is shared out with care once it takes no longer than this: twice what the deepest
/// pipeline holds.
const END: Duration = Duration::from_secs(12);

/// A peer is asked for so many blocks whatever its share: one is on its way and one is next.
const LEAST: u32 = 2;

impl Transfer<'_> {
    /// How many requests a peer may have outstanding, now that little is left; none while there is enough
    /// for everybody.
    pub(super) fn share_of_rest(&mut self, now: Instant, conn: ConnId) -> Option<u32> {
        let share = self.left(now).map(|left| self.share(now, conn, left));
        if let Some(peer) = self.swarm.peers.get_mut(&conn) {
            peer.waits_for_rest = share == Some(0);
        }
        share
    }

    /// Bytes a second that a peer can be expected to deliver: by what it has shown, or as much as the
    /// others do on average.
    pub(super) fn pace(&self, now: Instant, conn: ConnId) -> Option<u64> {
        let peer = self.swarm.peers.get(&conn)?;
        peer.pipeline.pace(peer.down.per_second(now), now)
    }

    /// A block that another peer is late with, for a peer that has nothing else to do. It counts as asked
    /// for.
    pub(super) fn take_over(&mut self, ctx: &mut Shared, conn: ConnId) -> Option<BlockRequest> {
        if !self.content.is_all_asked() {
            return None;
        }
        let now = ctx.now;
        let peer = self.swarm.peers.get(&conn)?;
        if peer.is_late(now) {
            return None;
        }
        let takes = match self.pace(now, conn) {
            Some(pace) => peer.pipeline.time_for(peer.pipeline.len() + 1, pace),
            // One block shows what it can do.
            None if peer.pipeline.is_empty() => Duration::ZERO,
            None => return None,
        };
        let mut late: Vec<(Duration, ConnId)> = self
            .swarm
            .peers
            .values()
            .filter(|other| other.conn != conn && other.is_late(now))
            .map(|other| (other.pipeline.waited(now), other.conn))
            .filter(|(waited, _)| *waited > takes)
            .collect();
        late.sort_unstable();
        while let Some((_, from)) = late.pop() {
            let Some(other) = self.swarm.peers.get(&from) else {
                continue;
            };
            let first = other.pipeline.blocks().next();
            // Answers come in order: what was asked last is least likely to be on its way.
            let copy = other.pipeline.blocks().rev().find_map(|block| {
                let peer = self.swarm.peers.get(&conn)?;
                if !peer.have.contains(block.piece) {
                    return None;
                }
                self.content
                    .partials
                    .request_copy(conn, block.piece, block.begin)
            });
            let Some(block) = copy else {
                continue;
            };
            // What the late one sends next is probably on its way, and it is given the chance. The rest
            // it need not send any more.
            if first != Some(block) {
                self.content
                    .partials
                    .release(from, block.piece, block.begin);
                self.cancel_elsewhere(ctx, from, block);
            }
            return Some(block);
        }
        None
    }

    /// Lets others take over what a peer is late with.
    pub(super) fn offer_late(&mut self, ctx: &mut Shared, conn: ConnId) {
        let is_late = self
            .swarm
            .peers
            .get(&conn)
            .is_some_and(|peer| peer.is_late(ctx.now));
        if is_late && self.content.is_all_asked() {
            self.request_blocks_of_all_but(ctx, conn);
        }
    }

    /// How long what is missing takes at the rate there is; none as long as that is not known, or long.
    fn left(&self, now: Instant) -> Option<Duration> {
        let pieces = u128::from(self.content.picker.open_pieces())
            * u128::from(self.content.layout.piece_length());
        let blocks = self.content.partials.missing() as u128 * u128::from(limits::BLOCK_LEN);
        let rate = u128::from(self.flow.down.per_second(now));
        let nanos = ((pieces + blocks) * 1_000_000_000).checked_div(rate)?;
        let left = Duration::from_nanos(u64::try_from(nanos).ok()?);
        (left < END).then_some(left)
    }

    fn share(&self, now: Instant, conn: ConnId, left: Duration) -> u32 {
        let Some(peer) = self.swarm.peers.get(&conn) else {
            return 0;
        };
        let Some(pace) = self.pace(now, conn).or_else(|| self.usual_pace(now)) else {
            return LEAST;
        };
        // No less than keeps the peer busy from an answer to the next.
        let ahead = (left / 2).max(peer.pipeline.answer() * 3 / 2);
        let blocks =
            u128::from(pace) * ahead.as_nanos() / (1_000_000_000 * u128::from(limits::BLOCK_LEN));
        let share = u32::try_from(blocks).unwrap_or(u32::MAX);
        if share >= LEAST {
            return share;
        }
        // All will be there when the rest has come, and one block more of whoever is quickest with it.
        let Some(quickest) = self.quickest(now, conn) else {
            return LEAST;
        };
        (1..=LEAST)
            .rev()
            .find(|blocks| peer.pipeline.time_for(*blocks, pace) <= left + quickest)
            .unwrap_or(0)
    }

    /// How soon a block would come that was asked of another peer that has all that is missing.
    fn quickest(&self, now: Instant, but: ConnId) -> Option<Duration> {
        let missing = self.content.picker.missing().count();
        self.swarm
            .peers
            .values()
            .filter(|peer| peer.conn != but && peer.is_open() && !peer.snubbed)
            .filter(|peer| peer.interesting == missing && !peer.is_late(now))
            .filter_map(|peer| {
                let pace = peer.pipeline.pace(peer.down.per_second(now), now)?;
                Some(peer.pipeline.time_for(peer.pipeline.len() + 1, pace))
            })
            .min()
    }

    /// What a peer delivers that delivers something, on average.
    fn usual_pace(&self, now: Instant) -> Option<u64> {
        let delivering = self
            .swarm
            .peers
            .values()
            .filter(|peer| peer.down.per_second(now) > 0);
        self.flow
            .down
            .per_second(now)
            .checked_div(delivering.count() as u64)
    }
}

impl Peer {
    /// Whether it has not delivered what it should have by now. As long as we read nothing of it that is
    /// not its fault.
    fn is_late(&self, now: Instant) -> bool {
        !self.credit_waits
            && self
                .pipeline
                .late_at()
                .is_some_and(|late_at| late_at <= now)
    }
}
