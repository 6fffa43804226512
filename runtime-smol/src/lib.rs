//! A BitTorrent client on [smol](https://docs.rs/smol).
//!
//! ```no_run
#![doc = include_str!("../examples/download.rs")]
//! ```
//!
//! The client runs on a thread of its own, named `anabranch`, which waits for its sockets and timers
//! and does nothing else, so that no event passes from thread to thread on its way. [`Client`],
//! [`Torrent`] and [`Notices`] are plain futures and streams: they work on smol's executor as on any
//! other.
//!
//! To look into a running client, install a `tracing` subscriber: see
//! [`anabranch_driver`](anabranch_driver#looking-into-a-running-client), which says what is told at which level.
//!
//! What is not tied to smol comes from [`anabranch_driver`], and the protocol from
//! [`anabranch_driver::engine`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod http;
mod net;
mod runtime;

pub use anabranch_driver::{
    AddOptions, AllowAll, ByAddress, Client, DhtOptions, Error, Notices, Policy, Purpose,
    Recording, Source, StartError, Torrent, engine, storage,
    storage::{Preallocation, Storage},
};

pub use crate::net::{SmolListener, SmolStream, SmolUdp};
pub use crate::runtime::{Smol, SmolTimer};

/// Sets a client on smol up; [`ClientBuilder::new`](anabranch_driver::ClientBuilder::new) and
/// [`ClientBuilder::start`](anabranch_driver::ClientBuilder::start) are its ends.
pub type ClientBuilder = anabranch_driver::ClientBuilder<Smol>;
