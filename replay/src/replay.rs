//! Feeding a recording to a fresh engine.

use std::io::Read;

use anabranch_core::{Action, Actions, Engine, Event, Instant, Wake};
use thiserror::Error;

use crate::encode::{Totals, closed};
use crate::error::ReadError;
use crate::outcome::{ActionSummary, Outcomes};
use crate::read::{Ending, Outcome, Recording};

/// Replays a recording, an event at a time.
///
/// Between two steps the engine can be looked at like any other: a debugger or a test stops at the
/// event that it wants to see.
#[derive(Debug)]
pub struct Replayer<R> {
    recording: Recording<R>,
    engine: Engine,
    actions: Actions,
    outcomes: Outcomes,
    events: u64,
    done: u64,
    now: Instant,
    wake: Wake,
}

/// An event that was replayed, and did what it had done.
#[derive(Debug)]
pub struct Step<'a> {
    /// Which event, counted from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What the engine was told. Payload is zeros.
    pub event: Event,
    /// What it did. Payload is zeros.
    pub actions: &'a [Action],
    /// When it wants to be called again.
    pub wake: Wake,
    /// Whether it was compared with what had been recorded. Only the last event of a run that ended in
    /// the middle of a call is not.
    pub compared: bool,
}

/// A replay cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The engine does something else than what was recorded.
    #[error("event {} at {} comes to something else than what was recorded", .0.number, .0.at)]
    Diverged(Box<Divergence>),
}

/// The first event that came to something else.
#[derive(Debug)]
#[non_exhaustive]
pub struct Divergence {
    /// Which event, counted from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What the engine was told.
    pub event: Event,
    /// What it had done, in brief.
    pub recorded: Outcome,
    /// What it does now, in full.
    pub actions: Vec<Action>,
    /// When it now wants to be called again. If all actions look as they did, the difference is here
    /// or inside of them.
    pub wake: Wake,
}

impl Divergence {
    /// What it does now, in brief.
    #[must_use]
    pub fn replayed(&self) -> Vec<ActionSummary> {
        self.actions.iter().map(ActionSummary::of).collect()
    }
}

impl<R: Read> Replayer<R> {
    /// Makes an engine as the recording says.
    pub fn new(recording: Recording<R>) -> Self {
        let start = recording.start();
        Self {
            engine: start.engine(),
            now: start.now,
            recording,
            actions: Actions::new(),
            outcomes: Outcomes::default(),
            events: 0,
            done: 0,
            wake: Wake::Idle,
        }
    }

    /// Replays the next event; none at the end. After a divergence or an error there is nothing to be
    /// learned from further steps.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub fn step(&mut self) -> Result<Option<Step<'_>>, ReplayError> {
        self.actions.drain().for_each(drop);
        let Some(record) = self.recording.next_record()? else {
            return self.compare_end().map(|()| None);
        };
        let closed = closed(&record.event);
        let event = record.event.clone();
        self.wake = self.engine.handle(record.at, event, &mut self.actions);
        self.now = self.now.max(record.at);
        let actions = self.actions.as_slice();
        self.outcomes.add(actions, self.wake);
        if let Some(conn) = closed {
            self.outcomes.close(conn);
        }
        self.events += 1;
        self.done += actions.len() as u64;
        let compared = record.outcome.is_some();
        if let Some(recorded) = record.outcome
            && recorded.hash != self.outcomes.hash() as u32
        {
            return Err(ReplayError::Diverged(Box::new(Divergence {
                number: record.number,
                at: record.at,
                event: record.event,
                recorded,
                actions: actions.to_vec(),
                wake: self.wake,
            })));
        }
        Ok(Some(Step {
            number: record.number,
            at: record.at,
            event: record.event,
            actions,
            wake: self.wake,
            compared,
        }))
    }

    /// Replays up to the event of this number, and that one too; less if the recording ends before it.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub fn run_to(&mut self, number: u64) -> Result<(), ReplayError> {
        while self.events < number && self.step()?.is_some() {}
        Ok(())
    }

    /// Replays all that is left.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub fn run(&mut self) -> Result<Ending, ReplayError> {
        loop {
            if self.step()?.is_none()
                && let Some(ending) = self.ending()
            {
                return Ok(ending);
            }
        }
    }

    /// The engine, as it is after the last step.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time of the last step.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// When the engine wanted to be called after the last step.
    pub fn wake(&self) -> Wake {
        self.wake
    }

    /// What was replayed.
    pub fn totals(&self) -> Totals {
        Totals {
            events: self.events,
            actions: self.done,
            hash: self.outcomes.hash(),
        }
    }

    /// How the recording ends, once all of it has been replayed.
    pub fn ending(&self) -> Option<Ending> {
        self.recording.ending()
    }

    /// What is replayed.
    pub fn recording(&self) -> &Recording<R> {
        &self.recording
    }

    /// The whole hash stands at the end alone.
    fn compare_end(&self) -> Result<(), ReplayError> {
        let Some(Ending::Complete(recorded)) = self.ending() else {
            return Ok(());
        };
        if recorded == self.totals() {
            return Ok(());
        }
        let recorded = Outcome {
            hash: recorded.hash as u32,
            count: recorded.actions,
            actions: Vec::new(),
        };
        Err(ReplayError::Diverged(Box::new(Divergence {
            number: self.events,
            at: self.now,
            event: Event::Tick,
            recorded,
            actions: Vec::new(),
            wake: self.wake,
        })))
    }
}

#[cfg(test)]
mod tests {
    use anabranch_core::Command;
    use anabranch_core::id::RequestId;

    use super::*;
    use crate::chunk::ChunkWriter;
    use crate::encode::Encoder;
    use crate::outcome::ActionKind;
    use crate::testing;

    fn command(request: u64) -> Event {
        Event::Command {
            request: RequestId(request),
            command: Box::new(Command::Pause {
                torrent: crate::number::take_id(&mut [1, 1].as_slice()).unwrap(),
            }),
        }
    }

    /// Ten commands, the fifth of which is another in the file than the engine was told; and whether the
    /// run ends in the middle of the last.
    fn recording(fifth: u64, ends_within: bool) -> Vec<u8> {
        let start = testing::start();
        let mut engine = start.engine();
        let mut encoder = Encoder::new(&start);
        let mut writer = ChunkWriter::new(Vec::new(), &start).unwrap();
        for number in 1..=10 {
            let now = Instant::from_millis(number * 10);
            let told = if number == 5 { fifth } else { number };
            encoder.event(now, &command(told)).unwrap();
            if number < 10 || !ends_within {
                let mut actions = Actions::new();
                let wake = engine.handle(now, command(number), &mut actions);
                encoder.outcome(actions.as_slice(), wake, None);
            }
        }
        writer.write(&encoder.take()).unwrap();
        if !ends_within {
            writer.finish(&encoder.totals()).unwrap();
        }
        writer.into_inner()
    }

    #[test]
    fn the_event_that_was_altered_is_the_one_that_is_named() {
        let file = recording(5, false);
        let ending = Replayer::new(Recording::open(&file[..]).unwrap()).run();
        assert!(matches!(ending, Ok(Ending::Complete(_))));
        let file = recording(99, false);
        let mut replayer = Replayer::new(Recording::open(&file[..]).unwrap());
        let Err(ReplayError::Diverged(divergence)) = replayer.run() else {
            panic!("no divergence");
        };
        let found = (divergence.number, divergence.at);
        assert_eq!(found, (5, Instant::from_millis(50)));
        let reply = |request| ActionSummary {
            kind: ActionKind::Reply,
            subject: request,
            amount: 1,
        };
        assert_eq!(divergence.recorded.actions, [reply(5)]);
        assert_eq!(divergence.replayed(), [reply(99)]);
    }

    #[test]
    fn a_run_that_ended_within_a_call_is_replayed_with_that_call() {
        let file = recording(5, true);
        let mut replayer = Replayer::new(Recording::open(&file[..]).unwrap());
        let mut compared = Vec::new();
        while let Some(step) = replayer.step().unwrap() {
            compared.push(step.compared);
        }
        assert_eq!(compared, [[true; 9].as_slice(), &[false]].concat());
        assert_eq!(replayer.ending(), Some(Ending::Cut));
        assert_eq!(replayer.engine().stats().events, 10);
    }
}
