//! BEP 11: what one peer and we have told each other of others.

use core::time::Duration;

use crate::error::{Blame, Misbehaviour};
use crate::time::Instant;

/// Peers added, and peers dropped, in one message (BEP 11).
pub(crate) const MAX_TOLD: usize = 50;

/// How long after it named the extension a peer is told first: by then there is something to tell.
const FIRST: Duration = Duration::from_secs(10);

/// Peers added that are believed of a first message, which may have more than later ones.
const MAX_FIRST: usize = 100;

/// Messages that a peer may send in a burst; one more is allowed each [`ALLOWANCE`].
const BURST: u32 = 3;

/// A little less than a minute, as clocks and networks waver.
const ALLOWANCE: Duration = Duration::from_secs(45);

/// Messages that come too soon, after which the connection ends.
const MAX_HASTY: u32 = 6;

/// What one peer and we have told each other.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// How much of our comings and goings it has been told.
    pub(crate) told: Told,
    /// When it may be told again; none while it wants to hear nothing.
    pub(crate) due: Option<Instant>,
    heard: bool,
    allowance: u32,
    allowed_at: Instant,
    hasty: u32,
}

impl Exchange {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            told: Told::default(),
            due: None,
            heard: false,
            allowance: BURST,
            allowed_at: now,
            hasty: 0,
        }
    }

    /// The peer wants to be told, or not any more.
    pub(crate) fn set_wanted(&mut self, wanted: bool, now: Instant) {
        match (wanted, self.due) {
            (true, None) => self.due = Some(now + FIRST),
            (false, Some(_)) => {
                self.due = None;
                self.told = Told::default();
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// A message came: how many addresses of it may be believed.
    pub(crate) fn hear(&mut self, now: Instant) -> Result<usize, Blame> {
        while self.allowance < BURST && self.allowed_at + ALLOWANCE <= now {
            self.allowance += 1;
            self.allowed_at = self.allowed_at + ALLOWANCE;
        }
        if self.allowance == BURST {
            self.allowed_at = now;
        }
        if self.allowance == 0 {
            self.hasty += 1;
            if self.hasty > MAX_HASTY {
                return Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
            }
            return Ok(0);
        }
        self.allowance -= 1;
        let first = !core::mem::replace(&mut self.heard, true);
        Ok(if first { MAX_FIRST } else { MAX_TOLD })
    }
}

/// How much of our comings and goings somebody has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// All that came until then are known there.
    pub(crate) came: u64,
    /// All that left until then are forgotten there.
    pub(crate) left: u64,
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const NOW: Instant = Instant::from_millis(7_000);

    #[test]
    fn hasty_peers_are_not_heard_and_then_cut_off() {
        let mut exchange = Exchange::new(NOW);
        let heard: Vec<usize> = (0..4).map(|_| exchange.hear(NOW).unwrap()).collect();
        assert_eq!(heard, [100, 50, 50, 0]);
        let mut now = NOW;
        for _ in 0..100 {
            now = now + Duration::from_secs(60);
            assert_eq!(exchange.hear(now), Ok(50));
        }
        let mut exchange = Exchange::new(NOW);
        let outcomes: Vec<_> = (0..20).map(|_| exchange.hear(NOW)).collect();
        let flood = Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
        assert_eq!(
            outcomes.iter().position(|outcome| *outcome == flood),
            Some(9)
        );
    }
}
