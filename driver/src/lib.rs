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
