//! How much may be under way: congestion control, and LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) as the one that is
//! used unless another is given.
//!
//! # What differs from the draft
//!
//! - **Delay is one-way**, as uTP measures it, so that a queue on the way back slows nobody down.
//! - **A loss is judged by the queue.** Where packets wait, a loss is congestion: the window shrinks to what the path
//!   holds without a queue, at most by half, once a round trip; and what is aimed at from then on is half of that queue,
//!   a quarter of the target at least, until a minute has passed. Where nothing waits, a radio link or a bad cable lost
//!   it, and half of what was lost is taken off the window. That is not free of harm in the other direction: a link that
//!   drops what is too much without a queue is met with some percent of loss. More than a tenth lost in a round trip is
//!   congestion in any case.
//! - **Windows grow by their size where there is no queue**, at a quarter of the pace of the start, a sixteenth in a round
//!   trip at least; and near the target by the draft's gain times a quarter of the window's root, in packets. A packet a
//!   round trip would need an hour to fill 1 Gbit/s. The root keeps what makes the draft's flows fair: of two windows, the
//!   smaller one grows more for its size, and both shrink alike.
//! - **Above the target**, windows shrink as in the draft, but by no more than twice what is too much in the queue, so that
//!   long paths do not swing.
//! - **The start** slows down where a queue begins, and ends with the window of a round trip before.
//! - **The periodic slowdown** goes down to a third of what the path holds without a queue, in place of two packets: its own
//!   part of the queue is gone with that as well, and the way back is short. When the next one comes is as in the draft. The
//!   way back ends at the old window, whatever others have taken of it.

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    /// Now.
    pub now: Instant,
    /// Bytes that are acknowledged for the first time.
    pub bytes: u64,
    /// How long packets wait in queues.
    pub queueing: Duration,
    /// The least round trip of some minutes.
    pub least_trip: Duration,
    /// A round trip on average.
    pub trip: Duration,
    /// Whether as much was under way as the window allows: else a larger one is of no use.
    pub limited: bool,
}

/// What is taken for lost.
#[derive(Debug, Clone, Copy)]
pub struct Lost {
    /// Now.
    pub now: Instant,
    /// Bytes that are lost.
    pub bytes: u64,
    /// How long packets wait in queues.
    pub queueing: Duration,
    /// Whether this is the first loss of a round trip. What is lost with it was sent before anybody could know.
    pub first: bool,
}

/// Decides how much of one connection may be under way. It is told the time, and keeps none.
pub trait Congestion: fmt::Debug + Send + Sync {
    /// Something was acknowledged.
    fn acked(&mut self, acked: &Acked);
    /// Something was lost.
    fn lost(&mut self, lost: &Lost);
    /// Nothing was heard for so long that everything must be taken for lost.
    fn timed_out(&mut self, now: Instant);
    /// Packets are of another length now, in bytes.
    fn packet_len(&mut self, len: u32);
    /// Bytes that may be under way.
    fn window(&self) -> u64;
    /// Sixteenths of the window that may leave in the time of a round trip: more than 16, so that pacing does not hold
    /// back what the window allows.
    fn pace(&self) -> u64;
}

/// Makes what decides for a new connection, given the queueing delay to aim at and the length of packets in bytes.
pub type MakeCongestion = fn(target: Duration, packet_len: u32) -> Box<dyn Congestion>;

/// The least window, in packets.
const MIN_PACKETS: u64 = 2;

/// The window that a connection begins with, in packets.
const FIRST_PACKETS: u64 = 10;

/// The largest window, in bytes: more than sequence numbers can name.
const MAX_WINDOW: u64 = 1 << 28;

/// Windows are kept in 256ths of a byte, since an acknowledgement adds less than one.
const POINT: u32 = 8;

/// A slowdown goes down to this part of the window at most.
const SLOWDOWN: u64 = 8;

/// After a slowdown, so many times its duration pass before the next one.
const SLOWDOWN_PAUSE: u32 = 9;

/// A queue below that is none, whatever is lost: so much comes and goes with the bursts of senders.
const NO_QUEUE: Duration = Duration::from_millis(2);

/// What the longest queue of late is remembered for.
const QUEUE_MEMORY: Duration = Duration::from_secs(10);

/// How long it takes to aim at the target again after a queue has overflowed.
const AIM_MEMORY: Duration = Duration::from_secs(64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Up to what a queue or a loss ends.
    Start,
    /// The target's neighbourhood.
    Steady,
    /// A slowdown: nothing of ours is to stand in the queue.
    Low {
        until: Instant,
        since: Instant,
        back_to: u64,
    },
    /// From there, or from a time-out, back to where it was.
    Back { since: Instant, to: u64 },
}

/// What is known of the present round trip.
#[derive(Debug)]
struct Round {
    ends: Instant,
    /// The least queueing delay: what stood in the queue all the time.
    least: Duration,
    acked: u64,
    lost: u64,
    cut: bool,
    /// Half of the window at its beginning, below which it does not go: more may be acknowledged in a round trip than the
    /// window has become.
    half: u64,
}

/// LEDBAT++: see the module's documentation.
#[derive(Debug)]
pub struct Ledbat {
    /// In 256ths of a byte.
    window: u64,
    packet: u64,
    target: Duration,
    /// What is aimed at: less than the target, where a queue overflows before.
    aim: Duration,
    phase: Phase,
    slowdown_at: Option<Instant>,
    round: Round,
    /// What stood in the queue throughout the last round trip.
    standing: Duration,
    /// The longest such queue of late, and when.
    longest: (Duration, Instant),
    trip: Duration,
    least_trip: Duration,
}

impl Ledbat {
    /// A window for packets of a length in bytes, that aims at a queueing delay.
    #[must_use]
    pub fn new(target: Duration, packet_len: u32) -> Self {
        let packet = u64::from(packet_len.max(1));
        let target = target.clamp(Duration::from_millis(1), Duration::from_secs(10));
        Self {
            window: (FIRST_PACKETS * packet) << POINT,
            packet,
            target,
            aim: target,
            phase: Phase::Start,
            slowdown_at: None,
            round: Round {
                ends: Instant::ZERO,
                least: Duration::MAX,
                acked: 0,
                lost: 0,
                cut: false,
                half: 0,
            },
            standing: Duration::ZERO,
            longest: (Duration::ZERO, Instant::ZERO),
            trip: Duration::ZERO,
            least_trip: Duration::ZERO,
        }
    }

    /// For [`Config::congestion`](super::Config::congestion).
    #[must_use]
    pub fn boxed(target: Duration, packet_len: u32) -> Box<dyn Congestion> {
        Box::new(Self::new(target, packet_len))
    }

    /// The draft's gain is one by this.
    fn gain_divisor(&self) -> u64 {
        let least = self.least_trip.as_micros().max(1);
        let divisor = (2 * self.target.as_micros()).div_ceil(least);
        (divisor as u64).clamp(1, 16)
    }

    fn set(&mut self, window: u64) {
        let least = MIN_PACKETS * self.packet;
        self.window = window.clamp(least << POINT, MAX_WINDOW << POINT);
    }

    fn shrink(&mut self, window: u64) {
        self.set(window.max(self.round.half).min(self.window));
    }

    fn roll(&mut self, acked: &Acked) {
        if acked.now >= self.round.ends {
            if self.round.least != Duration::MAX {
                self.standing = self.round.least;
            }
            let more = self.target.as_nanos() * acked.trip.as_nanos() / AIM_MEMORY.as_nanos();
            self.aim = (self.aim + Duration::from_nanos(more as u64)).min(self.target);
            let (longest, at) = self.longest;
            if self.standing >= longest || acked.now.since(at) > QUEUE_MEMORY {
                self.longest = (self.standing, acked.now);
            }
            self.round = Round {
                ends: acked.now + acked.trip,
                least: Duration::MAX,
                acked: 0,
                lost: 0,
                cut: false,
                half: self.window / 2,
            };
        }
        self.round.least = self.round.least.min(acked.queueing);
        self.round.acked += acked.bytes;
    }

    /// Back from a slowdown, or at the end of the start.
    fn settle(&mut self, slowdown_at: Instant) {
        self.phase = Phase::Steady;
        self.slowdown_at = Some(slowdown_at);
    }

    /// The window of a slowdown: a third of what the path holds of it without a queue.
    fn low(&self) -> u64 {
        let trip = (self.trip.as_micros() as u64).max(1);
        let path = self.window / trip * (self.least_trip.as_micros() as u64).min(trip);
        (path / 3).max(self.window / SLOWDOWN)
    }

    fn grow(&mut self, acked: &Acked) {
        let mut by = (acked.bytes << POINT) / self.gain_divisor();
        if self.phase == Phase::Start && acked.queueing > self.target / 8 {
            // A queue begins, so that the end is near.
            by /= 4;
        }
        self.set(self.window + by);
    }

    /// In the neighbourhood of the target.
    fn steer(&mut self, acked: &Acked) {
        let window = (self.window >> POINT).max(1);
        let target = (self.aim.as_micros() as u64).max(1);
        let queueing = (acked.queueing.as_micros() as u64).min(target * 8);
        let bytes = acked.bytes << POINT;
        // What the whole window would gain in a round trip, of which these bytes are a part.
        let root = (window / self.packet).isqrt().max(4);
        let gain = (self.packet * root / 4).max(1);
        let gain = bytes * gain / (self.gain_divisor() * window);
        if queueing <= target {
            if !acked.limited {
                return;
            }
            let half = target / 2;
            let proportional = bytes / self.gain_divisor().clamp(1, 4) / 4
                * half.saturating_sub(queueing)
                / half.max(1);
            self.set(self.window + gain.max(proportional));
        } else {
            // What is too much of the window leaves with a round trip; on a long path that is little of it, and an answer
            // that is louder would swing.
            let excess = queueing - target;
            let trip = (acked.trip.as_micros() as u64).max(1);
            let down = (bytes * excess / target).min(bytes * 2 * excess / trip);
            let down = down.saturating_sub(gain);
            self.shrink(self.window.saturating_sub(down));
        }
    }
}

impl Congestion for Ledbat {
    fn acked(&mut self, acked: &Acked) {
        self.trip = acked.trip;
        self.least_trip = acked.least_trip;
        self.roll(acked);
        let near = acked.queueing > self.aim * 3 / 4;
        match self.phase {
            Phase::Start if near => {
                // What brought this delay left a round trip ago, when the window was smaller.
                let gain = self.gain_divisor();
                self.set(self.window * gain / (gain + 1));
                self.settle(acked.now + acked.trip * 2);
            }
            Phase::Start => {
                if acked.limited {
                    self.grow(acked);
                }
            }
            Phase::Low {
                until,
                since,
                back_to,
            } => {
                if acked.now >= until {
                    self.phase = Phase::Back { since, to: back_to };
                }
            }
            Phase::Back { since, to } => {
                if acked.limited {
                    self.grow(acked);
                }
                // Whoever took our place meanwhile gives it back: else the small ones would lose it with each slowdown.
                if self.window >= to || acked.queueing > self.target * 2 {
                    self.window = self.window.min(to);
                    let took = acked.now.since(since);
                    self.settle(acked.now + took * SLOWDOWN_PAUSE);
                }
            }
            Phase::Steady => {
                if acked.limited && self.slowdown_at.is_some_and(|at| acked.now >= at) {
                    self.slowdown_at = None;
                    self.phase = Phase::Low {
                        until: acked.now + acked.trip * 2,
                        since: acked.now,
                        back_to: self.window,
                    };
                    self.set(self.low());
                } else {
                    self.steer(acked);
                }
            }
        }
    }

    fn lost(&mut self, lost: &Lost) {
        self.round.lost += lost.bytes;
        let queue = self.standing.min(lost.queueing.max(self.round.least));
        let queue = if queue == Duration::MAX {
            lost.queueing
        } else {
            queue
        };
        let (longest, _) = self.longest;
        let congested = queue > NO_QUEUE && queue >= (self.target / 4).min(longest / 2);
        let seen = (self.window >> POINT).max(self.round.acked);
        let much = self.round.lost > seen / 10 + 3 * self.packet;
        if congested && lost.first || much && !self.round.cut {
            self.round.cut = true;
            let trip = self.trip.max(Duration::from_micros(1));
            let path = trip.saturating_sub(lost.queueing).max(trip / 2);
            let window =
                self.window / 1_024 * (path.as_micros() as u64 * 1_024 / trip.as_micros() as u64);
            self.shrink(if much { self.window / 2 } else { window });
            if congested {
                // The buffer is shorter than the target, or seems so since it was never seen empty: half of it is ours.
                self.aim = self.aim.min(lost.queueing / 2).max(self.target / 4);
            }
            if self.phase == Phase::Start {
                self.settle(lost.now + trip * 2);
            } else if let Phase::Back { .. } = self.phase {
                self.settle(lost.now + trip * (SLOWDOWN_PAUSE * 5));
            }
        } else if !congested && self.phase == Phase::Steady {
            self.shrink(self.window.saturating_sub((lost.bytes << POINT) / 2));
        }
    }

    fn timed_out(&mut self, now: Instant) {
        let to = match self.phase {
            Phase::Low { back_to, .. } => back_to,
            // A second time-out in a row does not halve what the first one left.
            Phase::Back { to, .. } => to,
            Phase::Start | Phase::Steady => self.window / 2,
        };
        self.phase = Phase::Back { since: now, to };
        self.slowdown_at = None;
        self.set(0);
    }

    fn packet_len(&mut self, len: u32) {
        self.packet = u64::from(len.max(1));
        self.set(self.window);
    }

    fn window(&self) -> u64 {
        self.window >> POINT
    }

    fn pace(&self) -> u64 {
        20
    }
}
