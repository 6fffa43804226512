//! When a torrent has been seeded enough.
//!
//! A ratio is judged as bytes leave, not by the clock: nothing is read for a peer that would go past it, so
//! that it is passed by less than a block, and the torrent pauses once all that was read has left.

use core::time::Duration;

use crate::ctx::Timer;
use crate::notice::TorrentState;
use crate::shared::Shared;
use crate::signal::Signal;
use crate::time::Instant;
use crate::torrent::transfer::Transfer;

/// How long a torrent that has reached its ratio waits for peers to take what was read for them.
const DRAIN: Duration = Duration::from_secs(10);

impl Transfer<'_> {
    /// Sets the timer for the end of seeding, as far as that is known by now.
    pub(super) fn watch_goal(&mut self, ctx: &mut Shared) {
        let due = match self.course.seeding_since() {
            Some(since) => {
                let by_time = self.flow.goal.time.map(|time| since + time);
                [by_time, self.ratio_due(ctx.now)]
                    .into_iter()
                    .flatten()
                    .min()
            }
            None => None,
        };
        match due {
            Some(due) if due <= ctx.now => {
                ctx.timers.cancel(Timer::Goal(self.id));
                ctx.signal(Signal::Goal(self.id));
            }
            Some(due) => ctx.timers.set(Timer::Goal(self.id), due),
            None => ctx.timers.cancel(Timer::Goal(self.id)),
        }
    }

    /// Bytes for a peer left, or will not any more.
    pub(super) fn watch_ratio(&mut self, ctx: &mut Shared) {
        if self.flow.goal.ratio_permille.is_some() && self.upload_left() == Some(0) {
            self.watch_goal(ctx);
        }
    }

    /// What was read came to nothing: others may have it of the ratio.
    pub(super) fn share_what_is_left(&mut self, ctx: &mut Shared) {
        if self.upload_left().is_some_and(|left| left > 0) {
            for conn in self.swarm.conns() {
                self.serve(ctx, conn);
            }
        }
    }

    /// How many bytes may still be read for peers until the ratio is reached; none when nothing ends it.
    pub(super) fn upload_left(&self) -> Option<u64> {
        if self.course.state() != TorrentState::Seeding {
            return None;
        }
        let target = self.ratio_target()?;
        let blocks = self.content.reads.values().flatten();
        let reading: u64 = blocks.map(|block| u64::from(block.len)).sum();
        let uploaded = self.flow.uploaded();
        Some(target.saturating_sub(uploaded.saturating_add(reading)))
    }

    /// How many bytes are to be uploaded, in this run and before.
    fn ratio_target(&self) -> Option<u64> {
        let ratio = u128::from(self.flow.goal.ratio_permille?);
        let target = (u128::from(self.content.wanted_bytes()) * ratio).div_ceil(1_000);
        Some(u64::try_from(target).unwrap_or(u64::MAX))
    }

    pub(super) fn is_goal_reached(&self, now: Instant) -> bool {
        let Some(since) = self.course.seeding_since() else {
            return false;
        };
        let by_time = self
            .flow
            .goal
            .time
            .is_some_and(|time| now.since(since) >= time);
        let by_ratio = self.ratio_due(now).is_some_and(|due| due <= now);
        by_time || by_ratio
    }

    /// When the ratio counts as reached: at once when all that was read has left, and soon when not.
    fn ratio_due(&self, now: Instant) -> Option<Instant> {
        if self.flow.uploaded() < self.ratio_target()? {
            return None;
        }
        let waiting = self.swarm.peers.values().filter(|peer| peer.unsent > 0);
        // Who has taken nothing for so long is not waited for.
        let drained = waiting.map(|peer| peer.last_sent + DRAIN).max();
        Some(drained.unwrap_or(now))
    }
}
