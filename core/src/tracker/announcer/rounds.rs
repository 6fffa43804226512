//! BEP 12, 27: in which order trackers are asked, how many at a time, and which of them regularly.
//!
//! | round | begins when | asks |
//! |---|---|---|
//! | the first ones | no tracker is in use and one may be asked | all that may be asked |
//! | regular | the interval of one in use is over | those in use whose interval is over, and better ones that have recovered |
//! | for peers | peers are wanted, and a tracker allows to be asked for them | all that allow it; of a private torrent those in use |
//! | for the user | the user wants so, and a tracker in use allows it | those in use that allow it |
//! | completed | the download has completed | the current one |
//!
//! *In use* is who has answered, unless it failed since, or a better one has named peers. A round is widened to all that
//! may be asked when those in use fail or name nobody, so that trackers which know nobody do not keep us from those that
//! do. Who is told `started` on the way and not used any more is told `stopped` at the end like all others.

use core::time::Duration;

use super::ask::Unbegun;
use super::reply::Refusal;
use super::tracker::{Haste, Tracker};
use super::{Announcer, Completion, Facts, Flight, Purpose, give_up};
use crate::event::ContactError;
use crate::limits;
use crate::time::Instant;
use crate::tracker::Means;
use crate::wire::tracker::AnnounceEvent;

/// A round between the regular ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Early {
    pub(super) at: Instant,
    haste: Haste,
}

/// A round under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    haste: Haste,
    /// Whether it is between the regular ones: the current tracker is asked first.
    between: bool,
    /// Whether those that are not in use are asked as well.
    wide: bool,
}

impl Announcer {
    pub(super) fn ask_early(&mut self, now: Instant, facts: &Facts, haste: Haste) {
        let users = self.early.is_some_and(|early| early.haste == Haste::User);
        if !self.running || self.round.is_some() || self.current.is_none() || users {
            return;
        }
        let wide = haste == Haste::Peers && !facts.private;
        let at = self.earliest(haste, |tracker| wide || tracker.in_use);
        self.early = (at < Instant::FAR).then(|| Early {
            at: at.max(now),
            haste,
        });
    }

    /// Asks whom it is time to ask.
    pub(super) fn go_round(&mut self, means: &mut Means<'_>, facts: &Facts) {
        // `started` must not overtake a goodbye.
        if self.says_goodbye() || self.waits {
            return;
        }
        let is_for_peers = |early: &Early| early.haste == Haste::Peers;
        if !facts.want_peers && self.early.as_ref().is_some_and(is_for_peers) {
            self.early = None;
        }
        let tell = self.owes_completion();
        if self.round.is_none() {
            self.round = self.begin_round(means.ctx.now, facts, tell);
        }
        // Each pass asks a tracker that this round has not asked yet.
        while let Some(round) = self.round {
            let Some(index) = self.candidate(means.ctx.now, round, tell) else {
                self.round = None;
                return;
            };
            if self.room_at(facts) > means.ctx.now {
                return;
            }
            self.make_room(means, facts);
            let tracker = &mut self.trackers[index];
            tracker.round = self.rounds;
            let event = if !tracker.acknowledged {
                Some(AnnounceEvent::Started)
            } else if self.completion == Completion::Owed {
                Some(AnnounceEvent::Completed)
            } else {
                None
            };
            match self.launch(means, facts, index, Purpose::Announce(event)) {
                Ok(()) => {}
                Err(Unbegun::Waits) => {
                    // It is still to be asked in this round.
                    self.trackers[index].round = self.rounds.wrapping_sub(1);
                    self.waits = true;
                    return;
                }
                Err(Unbegun::Failed(fault)) => {
                    self.failed(&mut means.ctx, facts, index, Refusal::new(fault));
                }
            }
        }
    }

    /// When [`Announcer::go_round`] has something to do, whatever answers come.
    pub(super) fn next_step(&self, now: Instant, facts: &Facts) -> Option<Instant> {
        if !self.running || self.says_goodbye() || self.waits {
            return None;
        }
        Some(match self.round {
            Some(_) => self.room_at(facts).max(now),
            None => {
                let early = self.early.map_or(Instant::FAR, |early| early.at);
                self.regular().min(early)
            }
        })
    }

    /// A tracker that has answered is asked regularly from now on, and those behind it are not if it has named peers. The
    /// round is over when that is all that was sought.
    pub(super) fn take_into_use(&mut self, facts: &Facts, index: usize) {
        let (id, found) = (self.trackers[index].id, self.trackers[index].peers > 0);
        let current = self.current_index().filter(|current| *current != index);
        let replaced = current
            .is_none_or(|current| found && (index < current || self.trackers[current].peers == 0));
        if replaced {
            self.current = Some(id);
        }
        if found || !facts.seeks_peers() {
            for other in self.trackers.iter_mut().skip(index + 1) {
                other.in_use = self.current == Some(other.id);
            }
            self.round = None;
            self.early = None;
        } else if let Some(round) = &mut self.round {
            round.wide = true;
        }
    }

    /// A tracker has failed, and another one takes its place, if there is one.
    pub(super) fn put_out_of_use(&mut self, index: usize) {
        if self.current == Some(self.trackers[index].id) {
            self.current = self.trackers.iter().find(|t| t.in_use).map(|t| t.id);
        }
        if self.current.is_none()
            && let Some(round) = &mut self.round
        {
            round.wide = true;
        }
    }

    /// Whether an announce to this tracker is under way.
    pub(super) fn is_asked(&self, tracker: &Tracker) -> bool {
        let mut announces = self.announces();
        announces.any(|flight| flight.tracker == tracker.id)
    }

    /// Whether the current tracker is to be told that the download has completed.
    fn owes_completion(&self) -> bool {
        let current = self.current_index().map(|index| &self.trackers[index]);
        self.completion == Completion::Owed
            && current.is_some_and(|tracker| !self.is_asked(tracker))
    }

    fn says_goodbye(&self) -> bool {
        let goodbye = Purpose::Announce(Some(AnnounceEvent::Stopped));
        self.flights.iter().any(|flight| flight.purpose == goodbye)
    }

    fn announces(&self) -> impl Iterator<Item = &Flight> {
        let announces = |flight: &&Flight| flight.purpose != Purpose::Scrape;
        self.flights.iter().filter(announces)
    }

    fn begin_round(&mut self, now: Instant, facts: &Facts, tell: bool) -> Option<Round> {
        let early = self.early.filter(|early| early.at <= now);
        let haste = early.map_or(Haste::None, |early| early.haste);
        let between = self.regular() > now;
        if !tell && early.is_none() && between {
            return None;
        }
        if early.is_some() {
            self.early = None;
        }
        self.rounds = self.rounds.wrapping_add(1);
        Some(Round {
            haste,
            between,
            wide: self.current.is_none() || (haste == Haste::Peers && !facts.private),
        })
    }

    /// Whom the round asks next. That a download was completed need not wait for an interval.
    fn candidate(&self, now: Instant, round: Round, tell: bool) -> Option<usize> {
        let fresh = |tracker: &Tracker| {
            tracker.is_usable() && tracker.round != self.rounds && !self.is_asked(tracker)
        };
        let current = self.current_index();
        let first = current.filter(|index| {
            let tracker = &self.trackers[*index];
            let between = round.between && tracker.at(round.haste) <= now;
            fresh(tracker) && (tell || between)
        });
        first.or_else(|| {
            let better = |index| current.is_none_or(|current| index < current);
            self.trackers
                .iter()
                .enumerate()
                .position(|(index, tracker)| {
                    fresh(tracker)
                        && tracker.at(round.haste) <= now
                        && (round.wide || tracker.in_use || better(index))
                })
        })
    }

    /// When the next regular round begins.
    fn regular(&self) -> Instant {
        self.earliest(Haste::None, |tracker| {
            tracker.in_use || self.current.is_none()
        })
    }

    /// When the first of some trackers may be asked, leaving out those that are being asked.
    fn earliest(&self, haste: Haste, among: impl Fn(&Tracker) -> bool) -> Instant {
        self.trackers
            .iter()
            .filter(|tracker| tracker.is_usable() && among(tracker) && !self.is_asked(tracker))
            .map(|tracker| tracker.at(haste))
            .min()
            .unwrap_or(Instant::FAR)
    }

    /// From when on one more tracker may be asked beside those that have not answered yet.
    fn room_at(&self, facts: &Facts) -> Instant {
        let Some(last) = self.announces().map(|flight| flight.asked).max() else {
            return Instant::ZERO;
        };
        let patience = match self.announces().count() {
            1 => limits::TRACKER_PATIENCE,
            _ => limits::TRACKER_STEP,
        };
        match self.most_patient(facts) {
            Some((_, until)) => until,
            None => last + patience,
        }
    }

    /// Gives up whoever has been waited for the longest, if there are as many as may be.
    fn make_room(&mut self, means: &mut Means<'_>, facts: &Facts) {
        if let Some((index, _)) = self.most_patient(facts) {
            let flight = self.flights.remove(index);
            give_up(means, flight.handle);
            let timed_out = Refusal::new(ContactError::TimedOut);
            self.landed(&mut means.ctx, facts, &flight, Err(timed_out));
        }
    }

    /// Who must be given up before another one is asked, and when it may be; nobody as long as there is room.
    fn most_patient(&self, facts: &Facts) -> Option<(usize, Instant)> {
        let most = match facts.private {
            true => 1,
            false => limits::MAX_TRACKERS_ASKED,
        };
        if self.announces().count() < most {
            return None;
        }
        let until = |flight: &Flight| {
            let failures = self
                .index(flight.tracker)
                .map_or(0, |index| self.trackers[index].failures);
            let hold: Duration = limits::TRACKER_HOLD * (1 << failures.min(3));
            flight.asked + hold
        };
        let announces = self.flights.iter().enumerate();
        announces
            .filter(|(_, flight)| flight.purpose != Purpose::Scrape)
            .map(|(index, flight)| (index, until(flight)))
            .min_by_key(|(_, until)| *until)
    }
}
