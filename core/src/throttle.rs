//! Who waits for a rate limit or for the disk, in which order they go on.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::command::RateLimits;
use crate::id::{ConnId, TorrentId};
use crate::ratelimit::Bucket;
use crate::time::Instant;

/// A bucket is looked at again no sooner: tokens that drip in are handed out together.
const TURN: Duration = Duration::from_millis(20);

/// What a connection is held back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Receiving.
    Down,
    /// Sending.
    Up,
}

/// The limits over all torrents, and the queue of connections that wait for any limit. Each waits at
/// most once a direction, so the queue is no longer than twice the connections.
#[derive(Debug)]
pub(crate) struct Throttle {
    pub(crate) down: Bucket,
    pub(crate) up: Bucket,
    for_rate: VecDeque<Waiting>,
    for_disk: VecDeque<Waiting>,
}

/// A connection that waits, and for what.
pub(crate) type Waiting = (TorrentId, ConnId, Direction);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Tokens of a bucket; a timer is set.
    Rate,
    /// The disk; an operation is under way.
    Disk,
}

impl Throttle {
    pub(crate) fn new(limits: RateLimits, now: Instant) -> Self {
        Self {
            down: Bucket::new(limits.download, now),
            up: Bucket::new(limits.upload, now),
            for_rate: VecDeque::new(),
            for_disk: VecDeque::new(),
        }
    }

    pub(crate) fn wait(&mut self, cause: Cause, who: Waiting) {
        self.queue(cause).push_back(who);
    }

    pub(crate) fn next(&mut self, cause: Cause) -> Option<Waiting> {
        self.queue(cause).pop_front()
    }

    pub(crate) fn len(&mut self, cause: Cause) -> usize {
        self.queue(cause).len()
    }

    /// Takes out a connection that has ended.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.for_rate.retain(|(_, waiting, _)| *waiting != conn);
        self.for_disk.retain(|(_, waiting, _)| *waiting != conn);
    }

    /// All that wait.
    pub(crate) fn total(&self) -> usize {
        self.for_rate.len() + self.for_disk.len()
    }

    /// When tokens of both buckets will be there; soon, but not at once, when they are already.
    pub(crate) fn retry_at(
        now: Instant,
        ours: &mut Bucket,
        torrents: &mut Bucket,
        want: u64,
    ) -> Instant {
        let at = |bucket: &mut Bucket| bucket.next_at(now, want).unwrap_or(now);
        at(ours).max(at(torrents)).max(now + TURN)
    }

    fn queue(&mut self, cause: Cause) -> &mut VecDeque<Waiting> {
        match cause {
            Cause::Rate => &mut self.for_rate,
            Cause::Disk => &mut self.for_disk,
        }
    }
}
