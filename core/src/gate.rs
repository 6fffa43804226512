//! Who may begin something of which only so much may be under way at a time, first come, first served.

use alloc::collections::{BTreeSet, VecDeque};

use crate::id::TorrentId;

/// What only so much may be under way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Storages that are being opened.
    Open,
    /// Pieces that are being verified.
    Verify,
    /// Exchanges with trackers by HTTP.
    Http,
    /// Requests to UDP trackers. Their client has the table, and says when there is room.
    Udp,
    /// Lookups of torrents in the DHT. The node has the table, and says when there is room.
    LookUp,
}

/// The lanes in their order.
const LANES: usize = 5;

/// The gate for all torrents: a queue a lane, in which each torrent waits once.
#[derive(Debug)]
pub(crate) struct Gate {
    lanes: [Queue; LANES],
    /// Who has been called, and has not come yet. Each holds its place.
    called: BTreeSet<(Lane, TorrentId)>,
}

#[derive(Debug)]
struct Queue {
    most: u32,
    inside: u32,
    waiting: VecDeque<TorrentId>,
    members: BTreeSet<TorrentId>,
}

impl Queue {
    fn new(most: u32) -> Self {
        Self {
            most,
            inside: 0,
            waiting: VecDeque::new(),
            members: BTreeSet::new(),
        }
    }
}

impl Gate {
    /// So many may be inside at a time. Lanes whose table is elsewhere have no number.
    pub(crate) fn new(opening: u32, verifying: u32, http: u32) -> Self {
        let lanes = [opening, verifying, http, u32::MAX, u32::MAX];
        Self {
            lanes: lanes.map(Queue::new),
            called: BTreeSet::new(),
        }
    }

    /// Whether a torrent may begin now. If not, it waits, and is called.
    pub(crate) fn enter(&mut self, lane: Lane, torrent: TorrentId) -> bool {
        if self.called.remove(&(lane, torrent)) {
            return true;
        }
        let queue = &mut self.lanes[lane as usize];
        if queue.inside < queue.most && queue.waiting.is_empty() {
            queue.inside += 1;
            return true;
        }
        self.wait(lane, torrent);
        false
    }

    /// Lets somebody in who cannot wait.
    pub(crate) fn rush(&mut self, lane: Lane) {
        self.lanes[lane as usize].inside += 1;
    }

    /// Puts a torrent in line, unless it is there.
    pub(crate) fn wait(&mut self, lane: Lane, torrent: TorrentId) {
        let queue = &mut self.lanes[lane as usize];
        if queue.members.insert(torrent) {
            queue.waiting.push_back(torrent);
        }
    }

    /// Something has ended. Says who is called in its place.
    pub(crate) fn leave(&mut self, lane: Lane) -> Option<TorrentId> {
        let queue = &mut self.lanes[lane as usize];
        queue.inside = queue.inside.saturating_sub(1);
        if queue.inside >= queue.most {
            return None;
        }
        let next = self.next(lane)?;
        self.lanes[lane as usize].inside += 1;
        self.called.insert((lane, next));
        Some(next)
    }

    /// Who was called did not come, or did: says whether its place is free.
    pub(crate) fn is_unused(&mut self, lane: Lane, torrent: TorrentId) -> bool {
        self.called.remove(&(lane, torrent))
    }

    /// Takes out who has waited the longest.
    pub(crate) fn next(&mut self, lane: Lane) -> Option<TorrentId> {
        let queue = &mut self.lanes[lane as usize];
        let next = queue.waiting.pop_front()?;
        queue.members.remove(&next);
        Some(next)
    }

    /// How many wait.
    pub(crate) fn waiting(&self, lane: Lane) -> usize {
        self.lanes[lane as usize].waiting.len()
    }

    /// A torrent does not want it any more.
    pub(crate) fn forget(&mut self, lane: Lane, torrent: TorrentId) {
        let queue = &mut self.lanes[lane as usize];
        if queue.members.remove(&torrent) {
            queue.waiting.retain(|waiting| *waiting != torrent);
        }
    }

    /// Checks what must hold, when so many are under way.
    pub(crate) fn check(&self, lane: Lane, under_way: u32) {
        let queue = &self.lanes[lane as usize];
        let called = self.called.iter().filter(|(called, _)| *called == lane);
        assert_eq!(
            queue.inside,
            under_way + called.count() as u32,
            "who is inside is counted: {lane:?}"
        );
        assert_eq!(queue.waiting.len(), queue.members.len(), "each waits once");
        assert!(
            queue.waiting.is_empty() || queue.inside >= queue.most,
            "nobody waits in vain: {lane:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn torrents(count: u32) -> Vec<TorrentId> {
        (0..count).map(|slot| TorrentId::new(slot, 1)).collect()
    }

    #[test]
    fn who_came_first_is_called_first_and_keeps_the_place() {
        let mut gate = Gate::new(2, 1, 1);
        let who = torrents(5);
        let enter = |gate: &mut Gate, number: usize| gate.enter(Lane::Open, who[number]);
        assert!(enter(&mut gate, 0) && enter(&mut gate, 1));
        assert!(!enter(&mut gate, 2) && !enter(&mut gate, 3) && !enter(&mut gate, 2));
        assert_eq!(gate.leave(Lane::Open), Some(who[2]));
        assert!(!enter(&mut gate, 4), "the place is taken");
        assert!(enter(&mut gate, 2));
        gate.check(Lane::Open, 2);
        gate.forget(Lane::Open, who[3]);
        assert_eq!(gate.leave(Lane::Open), Some(who[4]));
        assert!(gate.is_unused(Lane::Open, who[4]), "it did not come");
        assert_eq!(gate.leave(Lane::Open), None);
        gate.check(Lane::Open, 1);
    }

    #[test]
    fn who_cannot_wait_takes_the_place_of_those_who_can() {
        let mut gate = Gate::new(1, 1, 1);
        let who = torrents(2);
        gate.rush(Lane::Http);
        gate.rush(Lane::Http);
        assert!(!gate.enter(Lane::Http, who[0]));
        assert_eq!(gate.leave(Lane::Http), None);
        assert_eq!(gate.leave(Lane::Http), Some(who[0]));
    }
}
