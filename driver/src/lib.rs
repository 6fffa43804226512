//! The runtime-neutral half of a BitTorrent client on [`anabranch_core`].
//!
//! The core does no I/O: this crate does it, behind a small [`Runtime`] trait that an adapter
//! implements. `anabranch-smol` is one; a program uses an adapter and rarely this crate itself.
//!
//! - [`run`]: the loop that owns the engine, turns its actions into I/O and feeds it what comes back;
//! - [`runtime`]: what an adapter supplies, and the rules for it;
//! - [`http`]: one exchange with a tracker or a web seed, over an adapter's connections;
//! - [`Client`] and [`Torrent`]: handles for any executor;
//! - [`storage`]: where a torrent's data lives;
//! - [`Policy`]: the embedder's word on whom this machine talks to.
//!
//! # Looking into a running client
//!
//! The driver speaks [`tracing`](https://docs.rs/tracing): a program that installs a subscriber hears it, and while none
//! is there it costs a look at one number for each event. Targets begin with `anabranch_driver`.
//!
//! | level | what |
//! |---|---|
//! | `warn` | faults of this machine, and what stops a torrent: a disk that fails, no more connections to be had, metadata of no use, what could not be saved |
//! | `info` | a client's start and end; torrents added, checked, complete, removed; trackers that fail; peers that are banned |
//! | `debug` | connections and how they end, with the reason; peers; trackers' answers, lookups, exchanges; files opened and saved; what the policy denies |
//! | `trace` | each message of each peer by its name, each packet, each piece read and written |
//!
//! There are spans for a `torrent` (with its id and info-hash), a `peer` (with its connection and address; within its
//! torrent's if it was dialled) and an `operation` on a disk or the network, within its torrent's. Of URLs only scheme, host and
//! port are told, since their paths hold the keys of private trackers. Lines hold what peers and trackers said, with
//! control characters escaped by most subscribers. Building with tracing's own `release_max_level_*` features takes levels
//! out of a program altogether.
//!
//! `cargo run -p anabranch-smol --example tracing -- FILE.torrent` shows it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod buffers;
mod client;
mod clock;
mod conns;
mod dht;
mod error;
mod fetch;
pub mod http;
mod identity;
mod io;
mod limits;
mod lsd;
mod machine;
pub mod net;
mod notices;
mod options;
mod packets;
mod platform;
mod policy;
pub mod pool;
mod ready;
mod record;
mod remote;
pub mod run;
pub mod runtime;
mod sockets;
pub mod storage;
mod sync;
mod tasks;
mod torrent;
mod trace;
mod undelivered;
mod whole_file;

pub use crate::client::{AddOptions, Client, ClientBuilder, Source};
pub use crate::clock::Clock;
pub use crate::dht::{DHT_ROUTERS, DHT_SAVE_INTERVAL, DhtOptions};
pub use crate::error::{Error, StartError};
pub use crate::fetch::{FETCH_TIMEOUT, FetchError, MAX_FETCHES};
pub use crate::machine::{EngineMachine, Machine};
pub use crate::notices::{NOTICE_QUEUE, Notices};
pub use crate::options::LoopOptions;
pub use crate::policy::{AllowAll, ByAddress, Policy, Purpose};
pub use crate::record::{FLUSH_INTERVAL, Recording};
pub use crate::remote::{MESSAGE_QUEUE, Remote};
pub use crate::run::Loop;
pub use crate::runtime::Runtime;
pub use crate::storage::Storage;
pub use crate::torrent::Torrent;
pub use crate::whole_file::{check_replaceable, replace_file};
pub use anabranch_core as engine;
