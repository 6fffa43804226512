//! Recording in one place, for those who may wait for what they write to.

use std::io::Write;

use anabranch_core::{Actions, Engine, Event, Instant, Wake};

use crate::chunk::{CHUNK_LEN, ChunkWriter};
use crate::encode::{Encoder, Start, Totals};
use crate::error::RecordError;

/// Stands between an engine and whoever drives it, and writes down what passes.
///
/// Writes when [`CHUNK_LEN`] bytes of records have gathered, and when told to [flush](Self::flush). A
/// loop that must not wait for a disk uses an [`Encoder`], and a [`ChunkWriter`] on another thread.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    encoder: Encoder,
    /// Until it is finished.
    chunks: Option<ChunkWriter<W>>,
    error: Option<RecordError>,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording of an engine that was [just made](Start::engine) so.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn new(out: W, start: &Start) -> Result<Self, RecordError> {
        Ok(Self {
            encoder: Encoder::new(start),
            chunks: Some(ChunkWriter::new(out, start)?),
            error: None,
        })
    }

    /// Hands an event to the engine, and records it and what comes of it.
    ///
    /// A failure to record is none of the engine's: the recording ends there, and [`Self::flush`] and
    /// [`Self::finish`] tell why.
    pub fn handle(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        event: Event,
        actions: &mut Actions,
    ) -> Wake {
        if self.error.is_some() {
            return engine.handle(now, event, actions);
        }
        let (wake, recorded) = self.encoder.handle(engine, now, event, actions);
        let written = recorded.and_then(|()| match self.encoder.pending() {
            CHUNK_LEN.. => self.write(),
            _ => Ok(()),
        });
        self.error = written.err();
        wake
    }

    /// Writes what has gathered.
    ///
    /// # Errors
    ///
    /// Why the recording ended, once after it has.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.write(),
        }
    }

    /// Ends the recording in good order. Dropped without it, the recording holds everything all the
    /// same, and says of itself that it was cut off.
    ///
    /// # Errors
    ///
    /// Those of writing, and why the recording ended before.
    pub fn finish(mut self) -> Result<W, RecordError> {
        self.flush()?;
        let totals = self.encoder.totals();
        // Nobody but this function takes it away, and it has `self` for itself.
        let mut chunks = self.chunks.take().expect("not finished before");
        chunks.finish(&totals)?;
        Ok(chunks.into_inner())
    }

    /// What has been recorded.
    pub fn totals(&self) -> Totals {
        self.encoder.totals()
    }

    /// Bytes of payload that went by, and were left out.
    pub fn payload(&self) -> u64 {
        self.encoder.payload()
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.chunks.as_ref().map_or(0, ChunkWriter::written)
    }

    fn write(&mut self) -> Result<(), RecordError> {
        match &mut self.chunks {
            Some(chunks) => chunks.write(&self.encoder.take()),
            None => Ok(()),
        }
    }
}

impl<W: Write> Drop for Recorder<W> {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure. After a panic of the engine this writes the event
        // that brought it about.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use anabranch_core::UnixTime;

    use super::*;
    use crate::{Ending, Recording, Replayer, testing};

    #[test]
    fn a_recorder_that_is_dropped_has_written_everything() {
        let mut file = Vec::new();
        let mut engine = testing::start().engine();
        let mut recorder = Recorder::new(&mut file, &testing::start()).unwrap();
        for at in 0..7 {
            let event = Event::Wall(UnixTime(at));
            let now = Instant::from_millis(at);
            let _ = recorder.handle(&mut engine, now, event, &mut Actions::new());
        }
        drop(recorder);
        let mut replayer = Replayer::new(Recording::open(&file[..]).unwrap());
        assert_eq!(replayer.run().unwrap(), Ending::Cut);
        assert_eq!(replayer.totals().events, 7);
    }
}
