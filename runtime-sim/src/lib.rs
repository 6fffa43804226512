//! Whole BitTorrent swarms in virtual time.
//!
//! A [`World`] holds hosts, each with an [`Engine`](anabranch_core::Engine) of `anabranch-core`, a disk
//! and a link; trackers; and scripted peers that say whatever they like. One seed decides everything
//! that is left to chance, so a run can be repeated bit for bit on any machine, hours of it in seconds.
//!
//! ```
//! use std::time::Duration;
//!
//! use anabranch_core::command::AddTorrent;
//! use anabranch_sim::{Content, HostConfig, World};
//!
//! // 64 MiB that cost neither memory nor hashing.
//! let content = Content::synthetic(1, 64 << 20, 256 << 10);
//!
//! let mut world = World::new(7);
//! let tracker = world.add_tracker(Duration::from_secs(600));
//! let add = AddTorrent {
//!     trackers: Some(vec![vec![world.udp_url(tracker)]]),
//!     ..AddTorrent::default()
//! };
//!
//! // One seed and three others, each with 2 MB/s in both directions.
//! let seed = world.add_host(HostConfig::with_rate(2_000_000));
//! world.seed_torrent(seed, &content, add.clone())?;
//! for _ in 0..3 {
//!     let leecher = world.add_host(HostConfig::with_rate(2_000_000));
//!     world.add_torrent(leecher, &content, add.clone())?;
//! }
//!
//! world.run_until_complete(Duration::from_secs(600))?;
//! let took = world.now().since(anabranch_core::Instant::ZERO);
//! assert!(took < Duration::from_secs(60), "a single copy alone takes 34 s: {took:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The usual swarm needs less: a [`scenario`] is described in a few words, and comes with a report,
//! metrics over time and a picture.
//!
//! # What is simulated
//!
//! * **Links.** [`Link`]: bandwidth each way, shared fairly among a host's connections; latency for each
//!   pair of hosts; jitter; finite queues that drop what does not fit.
//! * **TCP.** Ordered streams with a handshake, slow start, congestion avoidance, receive windows and
//!   send buffers; loss, resets, and connections that fall silent. Acknowledgements and headers take no
//!   bandwidth.
//! * **UDP.** Loss, reordering by jitter, duplication, [`Nat`] kinds.
//! * **Disks.** [`DiskConfig`] and [`DiskFaults`]: time for moving and hashing, full disks, the n-th
//!   operation failing, silent corruption, and crashes that take what was not synced.
//! * **Addresses** of IPv4, of IPv6, or both: [`Family`].
//! * **Trackers** over HTTP and UDP from the core's own
//!   [`TrackerServer`](anabranch_core::tracker::TrackerServer), with outages, slow answers and lies.
//! * **Web servers** that answer for ranges of a file, and all that can be wrong with them
//!   ([`WebMode`]); **names**, and look-ups that fail, take long or end in nothing ([`DnsMode`]).
//! * **Faults.** A [`FaultPlan`] is data: draw one, keep one, shrink one. Any operation of the network
//!   ([`NetKind`]) or of a disk ([`JobKind`]) can be made to fail.
//! * **Peers with a script.** [`Actor`]: raw bytes in, raw bytes out.
//!
//! # What is always checked
//!
//! Every engine is held to its contract while the world runs: deadlines in the future, no wake after
//! wake that does nothing, no sleep with work left, gauges within their bounds, pieces reported only
//! when they are right on the disk, one completion for each operation, torrents that get on while a
//! seed is within reach, and its own invariants. The first thing that does not hold ends the run with a
//! [`Failure`]: the seed, the virtual time, and the command that repeats it.
//! [`World::tamper`] breaks an engine on purpose, to see a check fire.
//!
//! # Repeating
//!
//! Take the seeds of a test from [`seeds`]; with `ANABRANCH_SEED=0x2a` in the environment it runs with
//! that one only.
#![forbid(unsafe_code)]

mod actor;
mod bounds;
mod chance;
mod config;
mod conn;
mod content;
mod disk;
mod event;
mod failure;
mod fault;
mod host;
mod http;
mod life;
mod log;
mod packet;
mod perform;
mod queue;
mod record;
pub mod scenario;
mod stream;
mod trace;
mod tracker;
mod watch;
mod web;
mod world;

pub use crate::actor::{Actor, ActorEvent, Babbler, Manner, Mute, ScriptedSeed, Stage};
pub use crate::chance::{Chance, PPM};
pub use crate::config::{Checks, Chop, DiskConfig, Family, HostConfig, Link, Nat, WorldConfig};
pub use crate::content::{Content, ContentError};
pub use crate::disk::{DiskFaults, JobKind};
pub use crate::failure::{Failure, FailureKind, SEED_VARIABLE, seeds};
pub use crate::fault::{Fault, FaultPlan};
pub use crate::host::{Host, NetKind, Traffic};
pub use crate::http::{DnsMode, FetchId, HttpGet};
pub use crate::tracker::TrackerMode;
pub use crate::web::{WebId, WebMode};
pub use crate::world::{HostId, TrackerId, World};
