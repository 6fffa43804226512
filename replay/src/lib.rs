//! Records what goes into a BitTorrent engine, and replays it bit for bit.
//!
//! An [`Engine`](anabranch_core::Engine) is fixed by its configuration, its seed and its events with
//! their times. A recording holds these, and after each event a hash of what the engine then did. So a
//! run of a real client, with real peers, can be taken home: a fresh engine is fed the same, and either
//! does the same, which proves that nothing else had a say in it, or diverges, and the event at which it
//! does is known.
//!
//! Payload is left out, because the core never looks at it: a recording of a gigabyte that was
//! downloaded takes a few hundred kilobytes. `docs/recording.md` in the repository has the format and
//! what it is good for.
//!
//! - [`Recorder`] puts itself between an engine and whoever drives it, and writes to anything that is
//!   [`Write`](std::io::Write).
//! - [`Encoder`] and [`ChunkWriter`] are its two halves, for those who write on another thread.
//! - [`Recording`] reads, record by record.
//! - [`Replayer`] feeds a fresh engine step by step, and compares.
//! - [`Narrator`] tells a run in words.
//!
//! # Example
//!
//! ```
//! use anabranch_core::{Actions, Config, Event, Instant, Seed, UnixTime};
//! use anabranch_replay::{Ending, Recorder, Recording, Replayer, Start};
//!
//! // An engine that is recorded, here into memory.
//! let start = Start {
//!     config: Config::default(),
//!     seed: Seed([7; 32]),
//!     now: Instant::ZERO,
//!     wall: UnixTime(1_700_000_000),
//! };
//! let mut engine = start.engine();
//! let mut recorder = Recorder::new(Vec::new(), &start)?;
//! let mut actions = Actions::new();
//! for second in 0..10 {
//!     let now = Instant::from_millis(second * 1000);
//!     let _wake = recorder.handle(&mut engine, now, Event::Tick, &mut actions);
//!     for _action in actions.drain() { /* carry it out */ }
//! }
//! let file = recorder.finish()?;
//!
//! // The same again, elsewhere.
//! let mut replayer = Replayer::new(Recording::open(&file[..])?);
//! while let Some(step) = replayer.step()? {
//!     assert!(step.actions.is_empty());
//! }
//! assert!(matches!(replayer.ending(), Some(Ending::Complete(_))));
//! assert_eq!(replayer.engine().stats(), engine.stats());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod chunk;
mod encode;
mod error;
mod narrate;
mod number;
mod outcome;
mod read;
mod record;
mod replay;
mod stream;
#[cfg(test)]
mod testing;

pub use crate::chunk::{CHUNK_LEN, ChunkWriter, MAX_CHUNK_LEN, VERSION};
pub use crate::encode::{Encoder, MAX_RECEIVED_LEN, Start, Totals};
pub use crate::error::{Damage, ReadError, RecordError};
pub use crate::narrate::Narrator;
pub use crate::outcome::{ActionKind, ActionSummary};
pub use crate::read::{Ending, MAX_SUMMARIES, Outcome, Record, Recording};
pub use crate::record::Recorder;
pub use crate::replay::{Divergence, ReplayError, Replayer, Step};
