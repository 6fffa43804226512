//! What the suites have in common. There are three kinds:
//!
//! - `tests/tests/runtime`: what the loop asks of a runtime adapter, on each of them;
//! - `tests/tests/conformance`: whole clients in scenarios, on each runtime ([`subject::Subject`]), and
//!   the same scenarios in the simulator;
//! - `tests/tests/interop_*.rs`: the `anabranch` command against programs that others wrote.
//!
//! # The interop suite
//!
//! Each test makes its own [`Scratch`] folder, takes
//! its own ports and starts its own processes, so tests run in parallel; those that move gigabytes
//! hold [`heavy`] so that they come one at a time. Nothing leaves the loopback interface, or the
//! network namespaces of the test: [`namespaces`].
//!
//! # Addresses
//!
//! Transmission keeps one peer per address and never dials a loopback address that a tracker gave
//! it. So every client has a loopback address of its own ([`address`]), and where Transmission
//! takes part, it starts first and the others dial it. The trackers' next announce is half an hour
//! away, therefore a client that must be dialled has to be known to the tracker before the one that
//! dials starts: [`clients::Opentracker::wait_for_peers`].
//!
//! # What the suite expects of the command
//!
//! * The binary is `$ANABRANCH_BIN`, or else what `cargo build --release -p anabranch` makes.
//! * With `--json`, `download` and `seed` print one JSON object a line on standard output, each
//!   with a string `event`: `listening` (with `address`), `completed`, `peer_banned` (with the
//!   address of the peer), `storage_failed` (with the file and the cause). A line with an integer
//!   `downloaded` (bytes of payload received by this run, at any depth of the object) comes at
//!   least once a second while data moves, and once at the end.
//! * `show --json` prints one object with `info_hash` (lower-case hex), `name`, `piece_length`,
//!   `size` (of all files) and `files` (a list).
//! * An error ends in a non-zero exit code and a message on standard error.
//! * `verify` exits 0 when every byte is right, and not 0 otherwise.
//!
//! # Missing clients
//!
//! A test whose clients are not installed fails when `CI` is set to `true`; otherwise it prints
//! which are missing and passes: [`clients::available`]. So does one that needs network namespaces, which root makes
//! with `iproute2`: [`namespaces::available`].

pub mod bencode;
pub mod clients;
pub mod data;
pub mod memory;
pub mod namespaces;
pub mod net;
pub mod process;
pub mod scratch;
pub mod scripted;
pub mod small_disk;
pub mod subject;
pub mod torrent;
pub mod tracker;
pub mod usage;
pub mod wait;
pub mod wire;

pub use namespaces::{Host, Network};
pub use scratch::Scratch;
pub use small_disk::SmallDisk;
pub use torrent::Torrent;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The loopback address of each participant. Bans and duplicate checks go by address, so no two
/// kinds of peer share one.
pub mod address {
    /// Ours, and the tracker's.
    pub const ANABRANCH: &str = "127.0.0.1";
    /// aria2's.
    pub const ARIA2: &str = "127.0.0.2";
    /// libtorrent's.
    pub const LIBTORRENT: &str = "127.0.0.3";
    /// Transmission's.
    pub const TRANSMISSION: &str = "127.0.0.4";
    /// rqbit's.
    pub const RQBIT: &str = "127.0.0.6";
    /// The scripted peer that behaves.
    pub const HONEST: &str = "127.0.0.5";
    /// The scripted peer that does not.
    pub const HOSTILE: &str = "127.0.0.66";
}

/// Held by tests that move gigabytes: one at a time.
pub fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}
