//! The requests that we keep outstanding with a peer, and how many those should be.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::limits;
use crate::time::Instant;
use crate::wire::BlockRequest;

/// How much of what a peer delivers in this time is asked for ahead, beside one round trip.
const AHEAD: Duration = Duration::from_secs(3);

/// Requests that were withdrawn and whose blocks may still be on their way.
const MAX_WITHDRAWN: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    block: BlockRequest,
    at: Instant,
}

/// What came of a block that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was waited for.
    Expected,
    /// It had been asked for, and withdrawn.
    Withdrawn,
    /// Nobody asked for it.
    Unrequested,
}

/// Our requests to one peer.
///
/// The depth starts small and grows by one for each block that arrives for as long as the peer's rate
/// grows with it; from then on it is what the peer delivers in a round trip and three seconds.
#[derive(Debug)]
pub(crate) struct Pipeline {
    outstanding: VecDeque<Outstanding>,
    withdrawn: VecDeque<BlockRequest>,
    depth: u32,
    growing: bool,
    rate_before: u64,
    /// The shortest time from request to block, aged: near the round trip when little waits.
    round_trip: Option<Duration>,
    last_arrival: Instant,
}

impl Pipeline {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            outstanding: VecDeque::new(),
            withdrawn: VecDeque::new(),
            depth: 2 * limits::MIN_OUTSTANDING,
            growing: true,
            rate_before: 0,
            round_trip: None,
            last_arrival: now,
        }
    }

    pub(crate) fn push(&mut self, block: BlockRequest, now: Instant) {
        if self.outstanding.is_empty() {
            self.last_arrival = now;
        }
        self.outstanding.push_back(Outstanding { block, at: now });
    }

    /// A block arrived.
    pub(crate) fn arrived(&mut self, block: BlockRequest, now: Instant) -> Arrival {
        let Some(position) = self.outstanding.iter().position(|out| out.block == block) else {
            let position = self
                .withdrawn
                .iter()
                .position(|withdrawn| *withdrawn == block);
            return match position {
                Some(position) => {
                    self.withdrawn.remove(position);
                    Arrival::Withdrawn
                }
                None => Arrival::Unrequested,
            };
        };
        if let Some(out) = self.outstanding.remove(position) {
            let took = now.since(out.at);
            // An old minimum fades by a 64th a block, so that a route that got longer is noticed.
            self.round_trip = Some(match self.round_trip {
                Some(shortest) => took.min(shortest + shortest / 64 + Duration::from_micros(1)),
                None => took,
            });
        }
        self.last_arrival = now;
        if self.growing {
            self.depth = self.depth.saturating_add(1).min(limits::MAX_OUTSTANDING);
        }
        Arrival::Expected
    }

    /// Takes a request back. Says whether it was outstanding. Its block may still come.
    pub(crate) fn withdraw(&mut self, block: BlockRequest) -> bool {
        let Some(position) = self.outstanding.iter().position(|out| out.block == block) else {
            return false;
        };
        self.outstanding.remove(position);
        self.remember_withdrawn(block);
        true
    }

    /// The peer will not serve a request. Says whether there was one, withdrawn or not.
    pub(crate) fn rejected(&mut self, block: BlockRequest) -> bool {
        if let Some(position) = self.outstanding.iter().position(|out| out.block == block) {
            self.outstanding.remove(position);
            return true;
        }
        if let Some(position) = self
            .withdrawn
            .iter()
            .position(|withdrawn| *withdrawn == block)
        {
            self.withdrawn.remove(position);
            return true;
        }
        false
    }

    /// Takes all requests back.
    pub(crate) fn withdraw_all(&mut self) -> impl Iterator<Item = BlockRequest> + use<> {
        let outstanding = core::mem::take(&mut self.outstanding);
        for out in &outstanding {
            self.remember_withdrawn(out.block);
        }
        outstanding.into_iter().map(|out| out.block)
    }

    /// Looks at the rate, about once a second, and settles the depth by it.
    pub(crate) fn adapt(&mut self, rate: u64) {
        if self.growing {
            // Growing ends when a second of it brought less than a tenth more.
            if rate > 0 && rate < self.rate_before + self.rate_before / 10 {
                self.growing = false;
            }
            self.rate_before = rate;
        }
        if !self.growing {
            let ahead = AHEAD + self.round_trip.unwrap_or_default().min(AHEAD);
            let bytes = u128::from(rate) * ahead.as_millis() / 1_000;
            let blocks = bytes / u128::from(limits::BLOCK_LEN);
            self.depth = u32::try_from(blocks)
                .unwrap_or(u32::MAX)
                .clamp(limits::MIN_OUTSTANDING, limits::MAX_OUTSTANDING);
        }
    }

    /// How many requests may be made now, for a peer that allows `allowed` in all.
    pub(crate) fn room(&self, allowed: u32, snubbed: bool) -> u32 {
        let depth = if snubbed { 1 } else { self.depth };
        depth
            .min(allowed)
            .saturating_sub(self.outstanding.len() as u32)
    }

    /// The depth aimed at.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn len(&self) -> u32 {
        self.outstanding.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// When the peer counts as not delivering, if no block comes before.
    pub(crate) fn deadline(&self, rate: u64) -> Option<Instant> {
        let first = self.outstanding.front()?;
        let (least, most) = (
            *limits::REQUEST_TIMEOUT.start(),
            *limits::REQUEST_TIMEOUT.end(),
        );
        // Four times as long as a block takes at the peer's rate.
        let block = u64::from(limits::BLOCK_LEN) * 4_000 / rate.max(1);
        let patience = Duration::from_millis(block).clamp(least, most);
        Some(first.at.max(self.last_arrival) + patience)
    }

    /// The blocks waited for, oldest first.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BlockRequest> + '_ {
        self.outstanding.iter().map(|out| out.block)
    }

    fn remember_withdrawn(&mut self, block: BlockRequest) {
        if self.withdrawn.len() == MAX_WITHDRAWN {
            self.withdrawn.pop_front();
        }
        self.withdrawn.push_back(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(index: u32) -> BlockRequest {
        BlockRequest {
            piece: 0,
            begin: index * limits::BLOCK_LEN,
            len: limits::BLOCK_LEN,
        }
    }

    #[test]
    fn the_depth_follows_the_rate_once_it_stops_growing() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        let start = pipeline.depth();
        pipeline.push(block(0), Instant::ZERO);
        assert_eq!(
            pipeline.arrived(block(0), Instant::from_millis(100)),
            Arrival::Expected
        );
        assert_eq!(pipeline.depth(), start + 1);
        pipeline.adapt(1 << 20);
        pipeline.adapt(1 << 20);
        // 1 MiB/s for 3.1 s is some 198 blocks.
        assert!(
            (190..=200).contains(&pipeline.depth()),
            "{}",
            pipeline.depth()
        );
        pipeline.adapt(0);
        assert_eq!(pipeline.depth(), limits::MIN_OUTSTANDING);
        pipeline.adapt(u64::MAX / 2);
        assert_eq!(pipeline.depth(), limits::MAX_OUTSTANDING);
    }

    #[test]
    fn the_peers_own_limit_and_a_snub_bound_the_requests() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        assert_eq!(pipeline.room(3, false), 3);
        assert_eq!(pipeline.room(250, true), 1);
        pipeline.push(block(0), Instant::ZERO);
        assert_eq!(pipeline.room(1, false), 0);
    }

    #[test]
    fn a_withdrawn_block_that_still_comes_is_no_fault() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        pipeline.push(block(1), Instant::ZERO);
        assert!(pipeline.withdraw(block(1)));
        assert!(!pipeline.withdraw(block(1)));
        assert_eq!(
            pipeline.arrived(block(1), Instant::ZERO),
            Arrival::Withdrawn
        );
        assert_eq!(
            pipeline.arrived(block(1), Instant::ZERO),
            Arrival::Unrequested
        );
    }

    #[test]
    fn a_peer_has_longer_the_slower_it_is_within_bounds() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        assert_eq!(pipeline.deadline(0), None);
        pipeline.push(block(0), Instant::from_millis(500));
        let after = |seconds: u64| Instant::from_millis(500 + seconds * 1_000);
        assert_eq!(pipeline.deadline(1 << 30), Some(after(20)));
        assert_eq!(pipeline.deadline(0), Some(after(60)));
        assert_eq!(pipeline.deadline(2_048), Some(after(32)));
    }
}
