//! The longest packet that the path carries, found by trying.
//!
//! A uTP packet can't be cut anew once it has its number: whoever lost one that was too long would have to send it as it
//! was, for ever. So a probe is a packet of the length that is known to pass, made longer by an extension that says
//! nothing; if it is lost, its payload comes again without. Lengths are those of UDP's payload.

use super::limits::{MTU_AGAIN, MTU_STEP, MTU_TRIES};
use crate::time::Instant;

/// Time-outs in a row after which the path is taken for a black hole that swallows packets of that length.
const BLACK_HOLE: u8 = 2;

#[derive(Debug)]
pub(super) struct Mtu {
    /// What every path of the kind carries.
    floor: u16,
    /// What is sent.
    current: u16,
    /// The longest that may pass.
    ceiling: u16,
    most: u16,
    /// The length of the probe that is under way.
    probe: Option<u16>,
    tries: u8,
    again: Instant,
    timeouts: u8,
}

impl Mtu {
    pub(super) fn new(floor: u16, first: u16, most: u16) -> Self {
        let most = most.max(floor);
        Self {
            floor,
            current: first.clamp(floor, most),
            ceiling: most,
            most,
            probe: None,
            tries: 0,
            again: Instant::FAR,
            timeouts: 0,
        }
    }

    pub(super) const fn current(&self) -> u16 {
        self.current
    }

    /// The length that is to be tried now, if any.
    pub(super) fn wants(&mut self, now: Instant) -> Option<u16> {
        if self.probe.is_some() {
            return None;
        }
        if now >= self.again {
            self.again = Instant::FAR;
            self.ceiling = self.most;
        }
        let gap = self.ceiling.saturating_sub(self.current);
        if gap < MTU_STEP {
            if self.ceiling < self.most && self.again == Instant::FAR {
                self.again = now + MTU_AGAIN;
            }
            return None;
        }
        // Most paths carry all that the first hop does, so that is tried first.
        Some(if self.ceiling == self.most {
            self.ceiling
        } else {
            self.current + gap / 2
        })
    }

    pub(super) const fn sent(&mut self, len: u16) {
        self.probe = Some(len);
    }

    /// A probe has arrived: packets may be of its length from now on.
    pub(super) fn arrived(&mut self, len: u16) {
        self.probe = None;
        self.tries = 0;
        if len <= self.ceiling {
            self.current = self.current.max(len);
        }
    }

    /// A probe was lost, which says nothing about congestion.
    pub(super) fn lost(&mut self, len: u16) {
        self.probe = None;
        self.tries += 1;
        if self.tries >= MTU_TRIES {
            self.tries = 0;
            self.ceiling = self.ceiling.min(len - 1).max(self.current);
        }
    }

    /// Nothing arrives any more, with packets of a length up to `len` under way. Whether the path is a black hole, and
    /// packets are shorter from now on.
    pub(super) fn timed_out(&mut self, len: u16) -> bool {
        if len <= self.floor {
            return false;
        }
        self.timeouts += 1;
        if self.timeouts < BLACK_HOLE || self.current == self.floor {
            return false;
        }
        self.shrink(self.floor, len.min(self.current) - 1);
        true
    }

    /// Something has arrived.
    pub(super) const fn heard(&mut self) {
        self.timeouts = 0;
    }

    /// A router says what the next hop carries. Anybody may say so: less than the floor is not believed, and what is
    /// believed is tried again later.
    pub(super) fn told(&mut self, len: u16) -> bool {
        if len >= self.current.max(self.probe.unwrap_or(0)) || len < self.floor {
            return false;
        }
        let current = self.current.min(len);
        self.shrink(current, len);
        true
    }

    fn shrink(&mut self, current: u16, ceiling: u16) {
        self.current = current;
        self.ceiling = ceiling.max(current);
        self.probe = None;
        self.tries = 0;
        self.timeouts = 0;
        self.again = Instant::FAR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries `path` bytes, and returns what is found, with the number of probes.
    fn search(mtu: &mut Mtu, path: u16) -> (u16, u32) {
        let mut probes = 0;
        while let Some(len) = mtu.wants(Instant::ZERO) {
            probes += 1;
            mtu.sent(len);
            assert_eq!(mtu.wants(Instant::ZERO), None);
            if len <= path {
                mtu.arrived(len);
            } else {
                mtu.lost(len);
            }
        }
        (mtu.current(), probes)
    }

    #[test]
    fn what_most_paths_carry_is_found_at_once_and_any_other_soon() {
        assert_eq!(search(&mut Mtu::new(548, 1_252, 1_472), 1_472), (1_472, 1));
        for path in 1_252..1_472 {
            let mut mtu = Mtu::new(548, 1_252, 1_472);
            let (found, probes) = search(&mut mtu, path);
            assert!(
                found <= path && path - found < MTU_STEP * 2,
                "{path}: {found}"
            );
            assert!(probes < 20, "{path}: {probes}");
        }
    }

    #[test]
    fn a_black_hole_is_left_and_the_rest_found_again() {
        let mut mtu = Mtu::new(548, 1_252, 1_472);
        search(&mut mtu, 1_472);
        assert!(!mtu.timed_out(1_472));
        mtu.heard();
        assert!(!mtu.timed_out(1_472));
        assert!(mtu.timed_out(1_472));
        assert_eq!(mtu.current(), 548);
        let (found, _) = search(&mut mtu, 1_300);
        assert!((1_270..=1_300).contains(&found), "{found}");
        // The path is whole again.
        let later = Instant::ZERO + MTU_AGAIN;
        assert_eq!(mtu.wants(later), Some(1_472));
    }

    #[test]
    fn a_router_is_believed_within_bounds() {
        let mut mtu = Mtu::new(548, 1_252, 1_472);
        search(&mut mtu, 1_472);
        assert!(!mtu.told(68));
        assert!(!mtu.told(9_000));
        assert_eq!(mtu.current(), 1_472);
        assert!(mtu.told(1_400));
        assert_eq!(mtu.current(), 1_400);
    }

    #[test]
    fn short_packets_that_time_out_are_no_black_hole() {
        let mut mtu = Mtu::new(548, 1_252, 1_472);
        for _ in 0..10 {
            assert!(!mtu.timed_out(100));
        }
        assert_eq!(mtu.current(), 1_252);
    }
}
