//! BEP 3: who is told that we go, and what comes before that.

use alloc::vec::Vec;

use super::{
    Announcer, COMPLETED, Completion, Facts, Flight, GOODBYE, Handle, Purpose, STARTED, give_up,
};
use crate::limits;
use crate::time::Instant;
use crate::tracker::Means;
use crate::tracker::udp::UdpTrackers;

impl Announcer {
    /// The torrent pauses or goes. Trackers that know of us are told, all at once and for no longer than
    /// [`Config::goodbye_timeout`](crate::Config::goodbye_timeout); what else is under way is given up.
    ///
    /// Who has just been told `started` may know of us although its answer has not come: a download that finds
    /// everything there is over before that. Its answer is waited for, as `stopped` must not overtake `started`. Who has
    /// been silent for longer than [`limits::TRACKER_PATIENCE`], or not even been reached, is not waited for.
    pub(crate) fn stop(&mut self, means: &mut Means<'_>, facts: &Facts) {
        if !self.running {
            return;
        }
        self.running = false;
        self.round = None;
        self.early = None;
        // That a download was completed is counted by some trackers: it comes before the goodbye, which
        // follows when it is answered.
        let owed = self.current_index().filter(|index| {
            self.completion == Completion::Owed && self.trackers[*index].acknowledged
        });
        let now = means.ctx.now;
        let given_up: Vec<Flight> = self
            .flights
            .extract_if(.., |flight| match flight.purpose {
                COMPLETED => owed.is_none(),
                STARTED => !may_have_arrived(means.udp, flight, now),
                GOODBYE => false,
                Purpose::Announce(_) | Purpose::Scrape => true,
            })
            .collect();
        for flight in given_up {
            give_up(means, flight.handle);
        }
        for flight in &mut self.flights {
            flight.deadline = flight.deadline.min(now + means.ctx.config.goodbye_timeout);
        }
        for index in 0..self.trackers.len() {
            if self.is_asked(&self.trackers[index]) {
                continue;
            }
            // Whom we cannot tell at once notices when we do not come back.
            if Some(index) == owed {
                let _ = self.launch(means, facts, index, COMPLETED);
            } else {
                self.say_goodbye(means, facts, index);
            }
        }
        self.arm(&mut means.ctx, facts);
    }

    /// Tells a tracker that knows of us that we go.
    fn say_goodbye(&mut self, means: &mut Means<'_>, facts: &Facts, index: usize) {
        if core::mem::take(&mut self.trackers[index].acknowledged) {
            let _ = self.launch(means, facts, index, GOODBYE);
        }
    }

    /// After the end, the goodbye follows what had to come before it.
    pub(super) fn follow_up(&mut self, means: &mut Means<'_>, facts: &Facts, flight: &Flight) {
        if let Some(index) = self.index(flight.tracker)
            && !self.running
            && matches!(flight.purpose, COMPLETED | STARTED)
        {
            self.say_goodbye(means, facts, index);
        }
    }
}

/// Whether the tracker may know of an announce that it has not answered, and is likely to answer it.
fn may_have_arrived(udp: &UdpTrackers, flight: &Flight, now: Instant) -> bool {
    now.since(flight.asked) < limits::TRACKER_PATIENCE
        && match flight.handle {
            Handle::Http(_) => true,
            Handle::Udp(id) => udp.is_sent(id),
        }
}
