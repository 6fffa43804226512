//! What has passed, how fast it may pass, and how much of it is enough.

use crate::command::{RateLimits, SeedGoal};
use crate::rate::Rate;
use crate::ratelimit::Bucket;
use crate::shared::Shared;
use crate::time::Instant;

/// A torrent's payload, in sums, rates, limits and goals.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) down_limit: Bucket,
    pub(super) up_limit: Bucket,
    pub(super) down: Rate,
    pub(super) up: Rate,
    pub(super) session_downloaded: u64,
    pub(super) session_uploaded: u64,
    pub(super) earlier_downloaded: u64,
    pub(super) earlier_uploaded: u64,
    pub(super) wasted: u64,
    pub(super) goal: SeedGoal,
}

impl Flow {
    pub(super) fn new(limits: RateLimits, goal: SeedGoal, now: Instant) -> Self {
        Self {
            down_limit: Bucket::new(limits.download, now),
            up_limit: Bucket::new(limits.upload, now),
            down: Rate::default(),
            up: Rate::default(),
            session_downloaded: 0,
            session_uploaded: 0,
            earlier_downloaded: 0,
            earlier_uploaded: 0,
            wasted: 0,
            goal,
        }
    }

    pub(super) fn set_limits(&mut self, limits: RateLimits, now: Instant) {
        self.down_limit.set_rate(limits.download, now);
        self.up_limit.set_rate(limits.upload, now);
    }

    /// Payload came that was of no use.
    pub(super) fn waste(&mut self, ctx: &mut Shared, bytes: u64) {
        self.wasted += bytes;
        ctx.stats.wasted += bytes;
    }

    /// Payload received in this run and before.
    pub(super) fn downloaded(&self) -> u64 {
        self.earlier_downloaded
            .saturating_add(self.session_downloaded)
    }

    /// Payload sent in this run and before.
    pub(super) fn uploaded(&self) -> u64 {
        self.earlier_uploaded.saturating_add(self.session_uploaded)
    }
}
