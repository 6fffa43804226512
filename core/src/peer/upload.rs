//! A peer's requests to us.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::limits;
use crate::wire::BlockRequest;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It waits its turn.
    Queued,
    /// It waits already.
    Repeated,
    /// More wait than we said that we take.
    Full,
}

/// Several neighbouring requests that one read serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) piece: u32,
    pub(crate) begin: u32,
    pub(crate) len: u32,
    /// The requests, in order of their offsets.
    pub(crate) blocks: Vec<BlockRequest>,
}

/// What a peer has asked of us and not been given.
#[derive(Debug, Default)]
pub(crate) struct UploadQueue {
    waiting: VecDeque<BlockRequest>,
    /// Being read from the disk. Withdrawn ones are taken out, and then not sent.
    reading: Vec<BlockRequest>,
}

impl UploadQueue {
    pub(crate) fn admit(&mut self, block: BlockRequest, limit: u32) -> Admission {
        if self.waiting.len() + self.reading.len() >= limit as usize {
            return Admission::Full;
        }
        // Only the newest few are looked at: a repetition costs the one who repeats, not us.
        let newest = self
            .waiting
            .iter()
            .rev()
            .take(16)
            .any(|waiting| *waiting == block);
        if newest {
            return Admission::Repeated;
        }
        self.waiting.push_back(block);
        Admission::Queued
    }

    /// The peer does not want a block any more. Says whether it had asked for it.
    pub(crate) fn cancel(&mut self, block: BlockRequest) -> bool {
        if let Some(position) = self.waiting.iter().position(|waiting| *waiting == block) {
            self.waiting.remove(position);
            return true;
        }
        match self.reading.iter().position(|reading| *reading == block) {
            Some(position) => {
                self.reading.swap_remove(position);
                true
            }
            None => false,
        }
    }

    /// The next requests to be read together: neighbours in one piece, at most `budget` bytes but at
    /// least one. They are listed in one of the empty lists in `spare`, if there is one.
    pub(crate) fn next_run(
        &mut self,
        budget: u32,
        spare: &mut Vec<Vec<BlockRequest>>,
    ) -> Option<Run> {
        let first = self.waiting.pop_front()?;
        let mut run = Run {
            piece: first.piece,
            begin: first.begin,
            len: first.len,
            blocks: spare.pop().unwrap_or_default(),
        };
        run.blocks.push(first);
        let budget = budget.min(limits::READ_LEN);
        while let Some(next) = self.waiting.front()
            && next.piece == run.piece
            && u64::from(next.begin) == u64::from(run.begin) + u64::from(run.len)
            && run.len.saturating_add(next.len) <= budget
        {
            run.len += next.len;
            run.blocks.extend(self.waiting.pop_front());
        }
        self.reading.extend_from_slice(&run.blocks);
        Some(run)
    }

    /// A read ended: says whether the block is still wanted, and forgets it.
    pub(crate) fn finish(&mut self, block: BlockRequest) -> bool {
        match self.reading.iter().position(|reading| *reading == block) {
            Some(position) => {
                self.reading.swap_remove(position);
                true
            }
            None => false,
        }
    }

    /// Takes out all requests for which `keep` does not hold, those being read as well.
    pub(crate) fn retain(&mut self, keep: impl Fn(&BlockRequest) -> bool) -> Vec<BlockRequest> {
        let mut dropped = Vec::new();
        let mut sort = |block: &BlockRequest| {
            let kept = keep(block);
            if !kept {
                dropped.push(*block);
            }
            kept
        };
        self.reading.retain(&mut sort);
        self.waiting.retain(&mut sort);
        dropped
    }

    pub(crate) fn front(&self) -> Option<&BlockRequest> {
        self.waiting.front()
    }

    pub(crate) fn len(&self) -> u32 {
        (self.waiting.len() + self.reading.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(piece: u32, begin: u32) -> BlockRequest {
        BlockRequest {
            piece,
            begin: begin * limits::BLOCK_LEN,
            len: limits::BLOCK_LEN,
        }
    }

    #[test]
    fn neighbouring_requests_share_a_read() {
        let mut queue = UploadQueue::default();
        for request in [
            block(0, 0),
            block(0, 1),
            block(0, 2),
            block(1, 3),
            block(1, 5),
        ] {
            assert_eq!(queue.admit(request, 10), Admission::Queued);
        }
        let run = queue.next_run(u32::MAX, &mut Vec::new()).unwrap();
        assert_eq!(
            (run.piece, run.begin, run.len),
            (0, 0, 3 * limits::BLOCK_LEN)
        );
        assert_eq!(
            queue.next_run(u32::MAX, &mut Vec::new()).unwrap().blocks,
            [block(1, 3)]
        );
        assert_eq!(
            queue.next_run(u32::MAX, &mut Vec::new()).unwrap().blocks,
            [block(1, 5)]
        );
        assert_eq!(queue.next_run(u32::MAX, &mut Vec::new()), None);
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn the_budget_bounds_a_read_but_never_starves_it() {
        let mut queue = UploadQueue::default();
        for index in 0..40 {
            queue.admit(block(0, index), 100);
        }
        assert_eq!(queue.next_run(1, &mut Vec::new()).unwrap().blocks.len(), 1);
        assert_eq!(
            queue.next_run(u32::MAX, &mut Vec::new()).unwrap().len,
            limits::READ_LEN
        );
    }

    #[test]
    fn what_is_cancelled_while_it_is_read_is_not_sent() {
        let mut queue = UploadQueue::default();
        queue.admit(block(0, 0), 10);
        queue.admit(block(0, 1), 10);
        let run = queue.next_run(u32::MAX, &mut Vec::new()).unwrap();
        assert!(queue.cancel(block(0, 1)));
        assert!(!queue.cancel(block(0, 1)));
        let wanted: Vec<bool> = run
            .blocks
            .iter()
            .map(|block| queue.finish(*block))
            .collect();
        assert_eq!(wanted, [true, false]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = UploadQueue::default();
        assert_eq!(queue.admit(block(0, 0), 1), Admission::Queued);
        assert_eq!(queue.admit(block(0, 1), 1), Admission::Full);
        assert_eq!(queue.admit(block(0, 0), 2), Admission::Repeated);
    }
}
