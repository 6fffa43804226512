//! A BitTorrent engine that does no I/O.
//!
//! ```
#![doc = include_str!("../examples/in_memory.rs")]
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
pub mod bencode;
mod bitfield;
pub mod command;
mod config;
mod connections;
mod ctx;
mod engine;
pub mod error;
pub mod event;
pub mod id;
pub mod limits;
pub mod metainfo;
pub mod notice;
mod peer;
mod rate;
mod ratelimit;
mod rng;
mod slab;
mod stats;
pub mod status;
mod throttle;
mod time;
mod timer;
mod torrent;
pub mod tracker;
pub mod wire;

pub use crate::action::{Action, Actions};
pub use crate::bitfield::{Bitfield, BitfieldError};
pub use crate::command::Command;
pub use crate::config::{Config, SeedChoke};
pub use crate::engine::{Engine, Reason, Wake};
pub use crate::event::Event;
pub use crate::notice::{Notice, TorrentState};
pub use crate::rng::Seed;
pub use crate::stats::Stats;
pub use crate::time::{Instant, UnixTime};
pub use crate::torrent::TorrentView;
