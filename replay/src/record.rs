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
pub struct Recorder<W> {
    encoder: Encoder,
    chunks: ChunkWriter<W>,
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
            chunks: ChunkWriter::new(out, start)?,
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
            CHUNK_LEN.. => self.chunks.write(&self.encoder.take()),
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
            None => self.chunks.write(&self.encoder.take()),
        }
    }

    /// Ends the recording in good order. Dropped without it, the recording is good up to what was last
    /// written.
    ///
    /// # Errors
    ///
    /// Those of writing, and why the recording ended before.
    pub fn finish(mut self) -> Result<W, RecordError> {
        self.flush()?;
        let totals = self.encoder.totals();
        self.chunks.finish(&totals)?;
        Ok(self.chunks.into_inner())
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
        self.chunks.written()
    }
}
