//! A BitTorrent client on [tokio](https://docs.rs/tokio).
//!
//! ```no_run
#![doc = include_str!("../examples/download.rs")]
//! ```
//!
//! A client is one task of the runtime that [`ClientBuilder::start`](anabranch_driver::ClientBuilder::start)
//! is called in, whether that has one thread or many; any number of clients fit into one runtime. Disks
//! and hashes have threads of their own, and nothing here blocks the runtime's. [`Client`], [`Torrent`]
//! and [`Notices`] are plain futures and streams: they can be awaited on this runtime as on any other
//! executor.
//!
//! When the runtime is shut down, its clients end with it, at once: what was written stays, resume data
//! is what was saved last, and handles answer [`Error::Stopped`]. So wait for [`Client::shutdown`] before.
//!
//! To look into a running client, install a `tracing` subscriber: see
//! [`anabranch_driver`](anabranch_driver#looking-into-a-running-client), which says what is told at which level.
//!
//! What is not tied to tokio comes from [`anabranch_driver`], and the protocol from
//! [`anabranch_driver::engine`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod net;
mod runtime;

pub use anabranch_driver::{
    AddOptions, AllowAll, ByAddress, Client, DhtOptions, Error, Notices, Policy, Purpose,
    Recording, Source, StartError, Torrent, engine, storage,
    storage::{Preallocation, Storage},
};

pub use crate::net::{TokioListener, TokioStream, TokioUdp};
pub use crate::runtime::{Tokio, TokioTimer};

/// Sets a client on tokio up; [`ClientBuilder::new`](anabranch_driver::ClientBuilder::new) and
/// [`ClientBuilder::start`](anabranch_driver::ClientBuilder::start), which has to be called within a
/// runtime, are its ends.
pub type ClientBuilder = anabranch_driver::ClientBuilder<Tokio>;
