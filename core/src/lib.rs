//! A BitTorrent engine that does no I/O: bytes and events go in, actions come out.
//!
//! [`Engine`] is a whole client as a state machine: it speaks to peers and trackers, chooses what
//! to ask of whom, verifies and shares, paces itself and says what holds it back. It opens no
//! socket and no file, looks at no clock, starts no thread and draws no randomness of its own; this
//! crate is `no_std`, so it could not. Whoever embeds it does these things, in whatever loop is
//! there already: an asynchronous runtime, threads, readiness or completion, a simulator, a game.
//!
//! Those who want a client and have no loop of their own are better served by `anabranch-smol`,
//! which adds the sockets, or by `anabranch-driver`, which has the files and the loop for runtimes
//! to come.
//!
//! # The contract
//!
//! 1. **Make an engine** with [`Engine::new`]: from a [`Config`], 32 secret random bytes
//!    ([`Seed`]), the time on a clock that never goes back ([`Instant`], with any origin) and the
//!    time of day ([`UnixTime`]).
//! 2. **Tell it one event at a time** with [`Engine::handle`], and at what time. [`Event`] is all
//!    that can happen: commands of the user, connections, bytes, datagrams, completions. A call
//!    does a bounded amount of work, cannot fail, and never panics, whatever peers or the embedder
//!    say.
//! 3. **Carry out what it appends** to [`Actions`], those of one connection in their order. An
//!    [`Action`] is plain data and may be carried out at once, later, or elsewhere. Two events in a
//!    row may be told before anything is carried out.
//! 4. **Never call the engine while carrying out its actions.** What an action brings at once is an
//!    event for the next call.
//! 5. **Wait**, for the next event or until the [`Wake`] that the last call returned, whichever is
//!    first. When the time has come and nothing else has, tell it [`Event::Tick`]. A tick too many,
//!    or too early, is harmless; a deadline that is missed is a peer that is kept waiting. Every
//!    call returns the deadline that counts from now on.
//! 6. **Answer exactly once.** Each [`Connect`](Action::Connect) and [`Accept`](Action::Accept)
//!    ends in one [`Closed`](Event::Closed), each action with an [`OpId`](id::OpId) in one
//!    [`Done`](Event::Done), each [`Incoming`](Event::Incoming) is answered by one `Accept` or
//!    `Refuse`, each [`Command`](Event::Command) by one [`Reply`](Action::Reply). What comes late
//!    or twice is counted ([`Stats`]) and otherwise ignored: ids are never mistaken for one
//!    another.
//! 7. **Keep to the credit.** A connection may be read only as far as [`Read`](Action::Read)
//!    allows, and [`Sent`](Event::Sent) tells what has left of what was to be [sent](Action::Send).
//!    So memory stays bounded, and what is in transit bounded by [`limits`]. Neither direction ever
//!    waits for the other.
//! 8. **Say no where that is the policy.** Nobody is contacted but by an action. An embedder that
//!    must not make a contact answers [`Denied`](event::CloseReason::Denied), and the engine takes
//!    that as it takes any failure.
//! 9. **End it** with [`Command::Shutdown`]: the reply comes when trackers know, files are saved and
//!    [`Engine::is_down`] is true. Dropping an engine at any other time loses what was not yet
//!    [checkpointed](action::DiskJob::Checkpoint), and nothing else.
//!
//! Configuration, seed, and the events with their times fix everything that an engine does, bit for
//! bit: a recording of them repeats the run anywhere.
//!
//! # What an action is owed
//!
//! | action | what completes it |
//! |---|---|
//! | [`Connect`](Action::Connect) | [`Connected`](Event::Connected) if it succeeds; in the end one [`Closed`](Event::Closed), whether it did or not |
//! | [`Accept`](Action::Accept) | in the end one [`Closed`](Event::Closed) |
//! | [`Refuse`](Action::Refuse) | nothing |
//! | [`Send`](Action::Send) | one or more [`Sent`](Event::Sent) that add up to its length, unless [`Closed`](Event::Closed) comes first |
//! | [`Read`](Action::Read) | [`Received`](Event::Received), as bytes come, that add up to no more than the credit |
//! | [`Close`](Action::Close) | one [`Closed`](Event::Closed), the one that the connection is owed anyway |
//! | [`Datagram`](Action::Datagram) | nothing; a reply is a [`Datagram`](Event::Datagram) like any other, and [`Undelivered`](Event::Undelivered) is said where it is known; those that [are counted](datagram::Outbound::is_counted), their length in [`Flushed`](Event::Flushed) when the socket has them |
//! | [`Disk`](Action::Disk) | one [`Done`](Event::Done) with [`OpResult::Disk`](event::OpResult::Disk); [`DiskJob`](action::DiskJob) names the [`DiskDone`](event::DiskDone) of each job |
//! | [`Resolve`](Action::Resolve) | one [`Done`](Event::Done) with [`OpResult::Resolved`](event::OpResult::Resolved) |
//! | [`Http`](Action::Http) | one [`Done`](Event::Done) with [`OpResult::Http`](event::OpResult::Http) |
//! | [`Cancel`](Action::Cancel) | the one [`Done`](Event::Done) that the operation is owed anyway, soon, and [`Cancelled`](event::OpResult::Cancelled) will do |
//! | [`Reply`](Action::Reply), [`Notify`](Action::Notify) | nothing |
//!
//! # A whole embedder
//!
//! Two engines in one function, with a network of two hosts, disks in memory, and a clock that jumps
//! from one deadline to the next, so that minutes pass in no time. This is `examples/in_memory.rs`;
//! beside it, `threads.rs` downloads from real peers with nothing but the standard library, and
//! `mio.rs` in a readiness loop of a single thread.
//!
//! ```
#![doc = include_str!("../examples/in_memory.rs")]
//! ```
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | [`event`], [`action`], [`command`], [`datagram`] | the vocabulary between an engine and its embedder |
//! | [`notice`], [`status`], [`error`] | what users are told, what they can look at, what can go wrong |
//! | [`id`], [`limits`] | names of things; every bound that is not [`Config`], with its worst-case memory |
//! | [`metainfo`] | .torrent files: reading, writing, and where their pieces lie in their files |
//! | [`wire`], [`bencode`] | codecs, of use by themselves |
//! | [`dht`] | the distributed hash table: what to ask of it, items, what to keep |
//! | [`tracker`] | a small tracker, for tests and demonstrations |
//! | [`transport`] | what a peer's bytes come by: uTP |
//!
//! There are no features to choose: what compiles is the same for everybody.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// What is decided in floats differs from machine to machine, and a run could not be repeated.
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
mod address;
mod bans;
pub mod bencode;
mod bitfield;
mod budget;
pub mod command;
mod config;
mod connections;
mod ctx;
pub mod datagram;
pub mod dht;
mod engine;
pub mod error;
pub mod event;
mod eviction;
mod fading;
mod gate;
pub mod id;
mod idlers;
pub mod limits;
mod lsd;
pub mod metainfo;
pub mod notice;
mod peer;
mod rate;
mod ratelimit;
mod rng;
mod shared;
mod signal;
mod slab;
mod stats;
pub mod status;
mod strangers;
mod streams;
mod throttle;
mod time;
mod timer;
mod torrent;
pub mod tracker;
pub mod transport;
pub mod wire;

pub use crate::action::{Action, Actions};
pub use crate::bitfield::{Bitfield, BitfieldError};
pub use crate::command::Command;
pub use crate::config::{Config, SeedChoke};
pub use crate::engine::{Engine, Reason, Wake};
pub use crate::event::Event;
pub use crate::notice::{Notice, PeerError, TorrentState};
pub use crate::rng::Seed;
pub use crate::stats::Stats;
pub use crate::time::{Instant, UnixTime};
pub use crate::torrent::TorrentView;
pub use crate::transport::{Transport, Transports};
