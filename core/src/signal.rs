//! What one part of an engine has to tell another within the same call.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use crate::gate::Lane;
use crate::id::TorrentId;

/// What peers say wait here at most. What does not fit is forgotten: there will be more.
const MAX_HEARSAY: usize = 64;

/// One thing to be told. Whoever says it does not know who hears it: the engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A torrent takes part from now on: its trackers are told.
    Started(TorrentId),
    /// A torrent has everything: its trackers are told.
    Completed(TorrentId),
    /// A torrent lacks peers, and has nobody to dial: trackers and the DHT are asked before it is time.
    Lonely(TorrentId),
    /// Whether a torrent is to be looked up in the DHT has changed.
    LookUp(TorrentId),
    /// A torrent's turn has come for what it waited for.
    Admitted(Lane, TorrentId),
    /// A torrent has got all that was wanted of it, or that is to be had.
    Done(TorrentId),
    /// A torrent's seeding goal may have been reached.
    Goal(TorrentId),
    /// A torrent has somebody to dial.
    Seek(TorrentId),
    /// A connection ended: who waits for its place may be dialled.
    Place,
    /// A rate limit has changed: who waits for it may go on.
    Unthrottled,
    /// A node of the DHT may be at an address.
    Node(SocketAddr),
    /// A peer that we dialled says what our address is.
    OwnAddress {
        /// Who says so.
        peer: SocketAddr,
        /// Our address.
        own: IpAddr,
    },
}

/// What has been said and not been heard yet. It is empty again before a call of the engine returns, or the engine asks
/// to be called at once.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    queue: VecDeque<Signal>,
}

impl Signals {
    /// Says something. To say it twice before it is heard is to say it once.
    pub(crate) fn push(&mut self, signal: Signal) {
        let is_hearsay = matches!(signal, Signal::Node(_) | Signal::OwnAddress { .. });
        let room = !is_hearsay || self.queue.len() < MAX_HEARSAY;
        if room && !self.queue.contains(&signal) {
            self.queue.push_back(signal);
        }
    }

    /// What was said first.
    pub(crate) fn pop(&mut self) -> Option<Signal> {
        self.queue.pop_front()
    }

    /// What is heard next.
    pub(crate) fn first(&self) -> Option<Signal> {
        self.queue.front().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_heard_once_and_in_order() {
        let mut signals = Signals::default();
        let [one, other] = [1, 2].map(|slot| TorrentId::new(slot, 1));
        for id in [one, other, one] {
            signals.push(Signal::Seek(id));
        }
        signals.push(Signal::Started(one));
        let heard: std::vec::Vec<Signal> = core::iter::from_fn(|| signals.pop()).collect();
        assert_eq!(
            heard,
            [Signal::Seek(one), Signal::Seek(other), Signal::Started(one)]
        );
    }

    #[test]
    fn hearsay_takes_little_room_and_no_room_of_others() {
        let mut signals = Signals::default();
        for port in 1..=1_000 {
            signals.push(Signal::Node(SocketAddr::from(([192, 0, 2, 1], port))));
        }
        signals.push(Signal::Place);
        let heard = core::iter::from_fn(|| signals.pop());
        assert_eq!(heard.count(), MAX_HEARSAY + 1);
    }
}
