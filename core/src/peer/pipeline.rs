//! The requests that we keep outstanding with a peer, and how many those should be.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::limits;
use crate::time::Instant;
use crate::wire::BlockRequest;

/// How much of what a peer delivers in this time is asked for ahead, beside one round trip.
const AHEAD: Duration = Duration::from_secs(3);

/// A peer's pace is taken from what it delivers without a pause for so long; from then on the meter of
/// its rate knows better.
const SPURT: Duration = Duration::from_secs(10);

/// What a request may take beside twice what it should: peers pause for shorter than this.
const GRACE: Duration = Duration::from_millis(500);

/// What a request may take of a peer that has not shown yet how long it takes.
const UNTRIED: Duration = Duration::from_secs(2);

/// Requests that were withdrawn and whose blocks may still be on their way.
const MAX_WITHDRAWN: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    block: BlockRequest,
    at: Instant,
    /// From then on it is late, by what the peer had shown when it was asked.
    late_at: Instant,
    /// Whether it waits behind no other.
    alone: bool,
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
    /// The shortest time from a request that waited behind no other to its block: a round trip and the
    /// time that a block takes.
    answer: Option<Duration>,
    last_arrival: Instant,
    /// Since when something has been waited for without a pause, and the bytes that came since.
    busy_since: Instant,
    delivered: u64,
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
            answer: None,
            last_arrival: now,
            busy_since: now,
            delivered: 0,
        }
    }

    /// Asks for a block of a peer with this [pace](Self::pace), or of one that has shown none.
    pub(crate) fn push(&mut self, block: BlockRequest, pace: Option<u64>, now: Instant) {
        let alone = self.outstanding.is_empty();
        if alone {
            self.last_arrival = now;
            self.busy_since = now;
            self.delivered = 0;
        }
        let patience = match pace {
            Some(pace) => 2 * self.time_for(self.len() + 1, pace) + GRACE,
            None => UNTRIED,
        };
        self.outstanding.push_back(Outstanding {
            block,
            at: now,
            late_at: now + patience,
            alone,
        });
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
            if out.alone {
                self.answer = Some(self.answer.map_or(took, |shortest| shortest.min(took)));
            }
        }
        self.last_arrival = now;
        self.delivered += u64::from(block.len);
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

    /// Bytes a second that the peer can be expected to deliver, if its meter shows `rate`; none if it
    /// has delivered nothing of late.
    ///
    /// The meter looks back 10 s and counts a peer's pauses in, such as those in which nothing was asked
    /// of it.
    pub(crate) fn pace(&self, rate: u64, now: Instant) -> Option<u64> {
        let busy = now.since(self.busy_since);
        let spurt = if self.outstanding.is_empty() || busy > SPURT {
            0
        } else {
            let nanos = busy.as_nanos().max(1);
            let pace = u128::from(self.delivered) * 1_000_000_000 / nanos;
            u64::try_from(pace).unwrap_or(u64::MAX)
        };
        Some(rate.max(spurt)).filter(|pace| *pace > 0)
    }

    /// How long so many blocks take, counting those that are waited for, at this pace.
    pub(crate) fn time_for(&self, blocks: u32, pace: u64) -> Duration {
        let bytes = u64::from(blocks) * u64::from(limits::BLOCK_LEN);
        let time = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / pace.max(1));
        if self.outstanding.is_empty() {
            time + self.answer()
        } else {
            time.max(self.answer())
        }
    }

    /// The least time from a request to its block; nothing as long as that is not known.
    pub(crate) fn answer(&self) -> Duration {
        self.answer.unwrap_or_default()
    }

    /// From when on the peer is late with what it was asked first.
    pub(crate) fn late_at(&self) -> Option<Instant> {
        self.outstanding.front().map(|out| out.late_at)
    }

    /// How long the peer has been asked for what it was asked first.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        let first = self.outstanding.front();
        first.map_or(Duration::ZERO, |out| now.since(out.at))
    }

    /// The blocks waited for, oldest first.
    pub(crate) fn blocks(&self) -> impl DoubleEndedIterator<Item = BlockRequest> + '_ {
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
        pipeline.push(block(0), None, Instant::ZERO);
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
        pipeline.push(block(0), None, Instant::ZERO);
        assert_eq!(pipeline.room(1, false), 0);
    }

    #[test]
    fn a_withdrawn_block_that_still_comes_is_no_fault() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        pipeline.push(block(1), None, Instant::ZERO);
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
        pipeline.push(block(0), None, Instant::from_millis(500));
        let after = |seconds: u64| Instant::from_millis(500 + seconds * 1_000);
        assert_eq!(pipeline.deadline(1 << 30), Some(after(20)));
        assert_eq!(pipeline.deadline(0), Some(after(60)));
        assert_eq!(pipeline.deadline(2_048), Some(after(32)));
    }

    #[test]
    fn a_peer_is_late_by_what_it_had_shown() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        assert_eq!(pipeline.late_at(), None);
        pipeline.push(block(0), None, Instant::ZERO);
        assert_eq!(pipeline.late_at(), Some(Instant::ZERO + UNTRIED));
        let now = Instant::from_millis(250);
        pipeline.arrived(block(0), now);
        assert_eq!(pipeline.answer(), Duration::from_millis(250));
        // 16 blocks a second: the second of two takes 125 ms beside the answer.
        let pace = 16 * u64::from(limits::BLOCK_LEN);
        pipeline.push(block(1), Some(pace), now);
        pipeline.push(block(2), Some(pace), now);
        let expected = Duration::from_micros(312_500);
        assert_eq!(pipeline.late_at(), Some(now + 2 * expected + GRACE));
        // Behind others, a round trip costs nothing.
        assert_eq!(pipeline.time_for(16, pace), Duration::from_secs(1));
        // The first is the one that counts.
        pipeline.withdraw(block(1));
        assert_eq!(
            pipeline.late_at(),
            Some(now + 2 * Duration::from_millis(250) + GRACE)
        );
    }

    #[test]
    fn the_pace_is_that_of_the_meter_or_of_what_has_come_without_a_pause() {
        let mut pipeline = Pipeline::new(Instant::ZERO);
        let at = Instant::from_millis;
        assert_eq!(pipeline.pace(0, at(0)), None);
        pipeline.push(block(0), None, at(1_000));
        pipeline.push(block(1), None, at(1_000));
        assert_eq!(pipeline.pace(0, at(1_100)), None);
        pipeline.arrived(block(0), at(1_100));
        assert_eq!(pipeline.pace(20_000, at(1_100)), Some(163_840));
        assert_eq!(pipeline.pace(200_000, at(1_100)), Some(200_000));
        assert_eq!(pipeline.pace(20_000, at(11_100)), Some(20_000));
        pipeline.arrived(block(1), at(1_200));
        assert_eq!(pipeline.pace(20_000, at(1_200)), Some(20_000));
        pipeline.push(block(2), None, at(2_000));
        assert_eq!(pipeline.pace(20_000, at(2_001)), Some(20_000));
    }
}
