//! Recording a client's engine to a file, beside the loop.
//!
//! The loop encodes, which takes no longer than the engine's own work; a thread of its own packs and
//! writes. What waits between them is bounded. Whatever goes wrong ends the recording, and nothing else.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Time};

use anabranch_core::{Actions, Engine, Event, Instant, Wake};
use anabranch_replay::{CHUNK_LEN, ChunkWriter, Encoder, RecordError, Start, Totals};

use tracing::warn;

use crate::error::StartError;

/// After how long what was recorded is on its way to the file, however little it is: so much is lost
/// at most when the program is killed.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of records that may wait for a slow disk. They are the records of several gigabytes of payload.
const MAX_PENDING: usize = 16 << 20;
/// How long the end of the loop may wait for the last records to be written.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How a client's recording fares.
///
/// From [`Client::recording`](crate::Client::recording).
#[derive(Clone, Debug)]
pub struct Recording {
    path: Arc<PathBuf>,
    shared: Arc<Shared>,
}

impl Recording {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.shared.lock().written
    }

    /// Why it ended before the client did, if it has: a full disk, for example. What had been written
    /// by then is good.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Whether everything is recorded and the file is closed.
    pub fn is_complete(&self) -> bool {
        let state = self.shared.lock();
        state.is_over && state.failure.is_none()
    }
}

/// The loop's end of a recording.
#[derive(Debug)]
pub(crate) struct Tape {
    encoder: Encoder,
    shared: Arc<Shared>,
    /// Whether the recording has ended; the engine has not.
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole records that wait to be written.
    records: Vec<u8>,
    end: Option<End>,
    /// Whether the writer is gone.
    is_over: bool,
    failure: Option<String>,
    written: u64,
}

/// How the loop left.
#[derive(Clone, Copy, Debug)]
enum End {
    /// In good order.
    Complete(Totals),
    /// In the middle of a call.
    Cut,
}

impl Tape {
    /// Makes the file, which must not be there yet, and starts the writer.
    pub(crate) fn start(path: &Path, start: &Start) -> Result<(Self, Recording), StartError> {
        let failed = |source| StartError::Record {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(failed)?;
        let writer = ChunkWriter::new(file, start).map_err(|error| failed(io_error(error)))?;
        let shared = Arc::new(Shared::default());
        shared.lock().written = writer.written();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("anabranch-record".into())
            .spawn(move || writing(&theirs, writer))
            .map_err(failed)?;
        let tape = Self {
            encoder: Encoder::new(start),
            shared: Arc::clone(&shared),
            is_over: false,
        };
        let path = Arc::new(path.to_owned());
        Ok((tape, Recording { path, shared }))
    }

    /// Hands an event to the engine, and records it while that is possible.
    pub(crate) fn handle(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        event: Event,
        actions: &mut Actions,
    ) -> Wake {
        if self.is_over {
            return engine.handle(now, event, actions);
        }
        let (wake, recorded) = self.encoder.handle(engine, now, event, actions);
        let mut state = self.shared.lock();
        let before = state.records.len();
        let problem = match recorded {
            Err(error) => Some(error),
            Ok(()) if before > MAX_PENDING => Some(RecordError::TooSlow),
            Ok(()) => None,
        };
        if let Some(error) = problem {
            warn!(%error, "the recording ends here");
            state.failure.get_or_insert(error.to_string());
            state.end = Some(End::Cut);
        } else {
            self.encoder.take_into(&mut state.records);
        }
        self.is_over = state.is_over || state.end.is_some();
        // The writer waits for the first record, and for a chunk.
        let wakes = before == 0 || before < CHUNK_LEN && state.records.len() >= CHUNK_LEN;
        drop(state);
        if wakes || self.is_over {
            self.shared.changed.notify_all();
        }
        wake
    }
}

impl Drop for Tape {
    /// Waits a moment, so that whoever waited for the client finds the recording complete.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.end.is_none() {
            // After a panic of the engine this is the event that brought it about.
            self.encoder.take_into(&mut state.records);
            state.end = Some(if std::thread::panicking() {
                End::Cut
            } else {
                End::Complete(self.encoder.totals())
            });
        }
        self.shared.changed.notify_all();
        let limit = Time::now() + END_LIMIT;
        while !state.is_over {
            let left = limit.saturating_duration_since(Time::now());
            if left.is_zero() {
                return;
            }
            state = self.shared.wait(state, Some(left));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it leaves it in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match limit {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let waited = self.changed.wait_timeout(state, limit);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// What the writer does until the loop is gone.
    fn write(&self, mut writer: ChunkWriter<impl Write>) -> Result<(), RecordError> {
        let mut records = Vec::new();
        loop {
            let mut state = self.lock();
            while state.records.is_empty() && state.end.is_none() {
                state = self.wait(state, None);
            }
            let limit = Time::now() + FLUSH_INTERVAL;
            while state.records.len() < CHUNK_LEN && state.end.is_none() {
                let left = limit.saturating_duration_since(Time::now());
                if left.is_zero() {
                    break;
                }
                state = self.wait(state, Some(left));
            }
            std::mem::swap(&mut state.records, &mut records);
            let end = state.end;
            drop(state);
            writer.write(&records)?;
            records.clear();
            records.shrink_to(2 * CHUNK_LEN);
            let mut state = self.lock();
            state.written = writer.written();
            match end {
                // The end was seen together with the last records.
                Some(End::Complete(totals)) => {
                    drop(state);
                    writer.finish(&totals)?;
                    self.lock().written = writer.written();
                    return Ok(());
                }
                Some(End::Cut) => return Ok(()),
                None => {}
            }
        }
    }
}

/// The thread that writes.
fn writing(shared: &Shared, writer: ChunkWriter<impl Write>) {
    // Also when it panics: whoever waits must not wait for ever.
    let _over = Over(shared);
    if let Err(error) = shared.write(writer) {
        warn!(%error, "the recording ends here");
        shared.lock().failure.get_or_insert(error.to_string());
    }
}

/// Says that the writer is gone.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        if std::thread::panicking() {
            state
                .failure
                .get_or_insert_with(|| "the writer stopped".to_owned());
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

fn io_error(error: RecordError) -> io::Error {
    if let RecordError::Io(error) = error {
        return error;
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use anabranch_core::{Config, Seed, UnixTime};
    use anabranch_replay::{Ending, Replayer};

    use super::*;

    /// A disk with little room.
    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(data.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> Start {
        Start {
            config: Config::default(),
            seed: Seed([1; 32]),
            now: Instant::ZERO,
            wall: UnixTime(7),
        }
    }

    fn tick(tape: &mut Tape, engine: &mut Engine, count: u64) {
        for at in 0..count {
            let now = Instant::from_millis(at);
            let _ = tape.handle(engine, now, Event::Tick, &mut Actions::new());
        }
    }

    fn replay(path: &Path) -> (u64, Ending) {
        let file = io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut replayer = Replayer::new(anabranch_replay::Recording::open(file).unwrap());
        let ending = replayer.run().unwrap();
        (replayer.totals().events, ending)
    }

    #[test]
    fn the_recording_is_complete_when_the_loop_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let (mut tape, recording) = Tape::start(&path, &start()).unwrap();
        tick(&mut tape, &mut start().engine(), 100_000);
        assert!(!recording.is_complete());
        drop(tape);
        assert!(recording.is_complete());
        assert_eq!(recording.written(), path.metadata().unwrap().len());
        let (events, ending) = replay(&path);
        assert_eq!(events, 100_000);
        assert!(matches!(ending, Ending::Complete(_)));
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        let error = Tape::start(&path, &start()).expect_err("a file is there");
        assert!(error.to_string().contains("precious"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }

    /// A recording whose writer is started by the test.
    fn tape() -> (Tape, Arc<Shared>) {
        let shared = Arc::new(Shared::default());
        let tape = Tape {
            encoder: Encoder::new(&start()),
            shared: Arc::clone(&shared),
            is_over: false,
        };
        (tape, shared)
    }

    fn datagram(tape: &mut Tape, engine: &mut Engine, data: &[u8]) {
        let event = Event::datagram(
            ([127, 0, 0, 1], 1).into(),
            bytes::Bytes::copy_from_slice(data),
        );
        let _ = tape.handle(engine, Instant::ZERO, event, &mut Actions::new());
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_not_the_engine() {
        let (mut tape, shared) = tape();
        let mut engine = start().engine();
        // What can't be packed.
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(50_000)
        .collect();
        for _ in 0..4 {
            datagram(&mut tape, &mut engine, &noise);
        }
        let writer = ChunkWriter::new(Small(20_000), &start()).unwrap();
        writing(&shared, writer);
        assert!(shared.lock().is_over);
        for _ in 0..4 {
            datagram(&mut tape, &mut engine, &noise);
        }
        assert!(tape.is_over);
        assert_eq!(engine.stats().events, 8);
        let failure = shared.lock().failure.clone().unwrap_or_default();
        assert!(failure.contains("cannot write"), "{failure}");
    }

    #[test]
    fn a_disk_that_does_not_keep_up_ends_the_recording_and_not_the_engine() {
        // The writer does not come.
        let (mut tape, shared) = tape();
        let mut engine = start().engine();
        for _ in 0..20 {
            datagram(&mut tape, &mut engine, &[0; 1 << 20]);
        }
        assert!(tape.is_over);
        assert_eq!(engine.stats().events, 20);
        let state = shared.lock();
        assert!(state.records.len() <= MAX_PENDING + (2 << 20));
        let failure = state.failure.clone().unwrap_or_default();
        assert!(failure.contains("keep up"), "{failure}");
        drop(state);
        drop(Over(&shared));
    }
}
