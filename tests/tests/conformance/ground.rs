//! What scenarios are played on: clients, and all that is around them.
//!
//! [`Ground`] is as much of the world as the scenarios need. [`real`](crate::real) makes one of every
//! runtime, with whole clients, files and sockets; [`simulated`](crate::simulated) makes one of the
//! simulator, where each client is a host with the engine alone, and time is virtual.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_driver::engine::command::{Priority, RateLimits};
use anabranch_driver::engine::id::TorrentId;
use anabranch_driver::engine::metainfo::{FileIndex, InfoHash};
use anabranch_driver::engine::status::{FileStatus, PeerStatus, TorrentStatus, TrackerStatus};
use anabranch_driver::engine::{Config, Notice};
use anabranch_driver::{AddOptions, Error};
use anabranch_tests::scripted::Gate;
use async_channel::Sender;

use crate::stage::Stage;

/// Where scenarios are played.
pub(crate) trait Ground: 'static {
    type Client: AnyClient<Ground = Self>;
    type Torrent: AnyTorrent;
    type Notices: AnyNotices;
    /// What can be done to a client's disk.
    type Disk: AnyDisk;
    /// Somebody who is there until this is dropped.
    type Peer: AnyPeer;
    type Tracker: AnyTracker;

    /// Runs a scenario to its end.
    fn play<T>(scenario: impl Future<Output = T>) -> T;

    /// A client that has just been started.
    fn start(setup: Setup) -> Self::Client;

    /// Whether clients can have addresses of IPv6.
    fn has_ipv6() -> bool;

    /// The time since some moment before the scenario.
    fn now() -> Duration;

    /// A scripted peer that has everything.
    fn scripted(stage: &Stage, script: Script) -> Self::Peer;

    /// A scripted peer that promises everything, opens `asked` at the first request, answers none, and
    /// tells of every request that is cancelled.
    fn staller(stage: &Stage, asked: Gate, cancelled: Sender<()>) -> Self::Peer;

    /// A scripted peer that has nothing, dials `to`, is interested, tells its number when it is
    /// unchoked, and leaves when the gate is opened. The number gives it an address of its own.
    fn leech(stage: &Stage, number: usize, to: SocketAddr, told: Sender<usize>, leave: Gate);

    /// A tracker.
    fn tracker() -> Self::Tracker;

    /// Looks whether all of a torrent is below a folder, byte for byte.
    fn assert_copied(stage: &Stage, dir: &str);

    /// The same of one file.
    fn assert_file(stage: &Stage, dir: &str, file: &str);

    /// Looks whether a file of a torrent has not been begun.
    fn assert_no_file(stage: &Stage, dir: &str, file: &str);

    /// Puts a file of the user's among those of a torrent, if there are others' files here.
    fn add_file(stage: &Stage, dir: &str, file: &str);

    /// Looks whether nothing of a torrent is left, and what was added is.
    fn assert_gone(stage: &Stage, dir: &str, added: &str);

    /// Looks whether an address can be listened on.
    fn assert_free(address: SocketAddr);

    /// Changes a byte of a torrent of one file.
    fn spoil(stage: &Stage, dir: &str, at: u64);
}

/// How a client is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// It listens at an address of IPv6.
    pub(crate) ipv6: bool,
    /// It listens on a port that nobody is given by chance when it is free again.
    pub(crate) lasting_port: bool,
}

/// What a scripted peer does that has everything.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Nobody is unchoked before it is open.
    pub(crate) unchoke: Gate,
    /// After so many blocks it waits.
    pub(crate) halt: Option<(u32, Gate)>,
    /// Every block is wrong.
    pub(crate) corrupt: bool,
    /// The piece and the place in it of every block that was asked for, in order.
    pub(crate) asked: Arc<Mutex<Vec<(u32, u32)>>>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            unchoke: Gate::opened(),
            halt: None,
            corrupt: false,
            asked: Arc::default(),
        }
    }
}

/// A client, as far as scenarios use it; documented at [`anabranch_driver::Client`].
pub(crate) trait AnyClient: Clone + 'static {
    type Ground: Ground;

    fn addresses(&self) -> Vec<SocketAddr>;

    fn hear(&self) -> <Self::Ground as Ground>::Notices;

    async fn take(
        &self,
        stage: &Stage,
        options: AddOptions,
    ) -> Result<<Self::Ground as Ground>::Torrent, Error>;

    /// The same on a disk that can be made to fail.
    async fn take_on_disk(
        &self,
        stage: &Stage,
        options: AddOptions,
    ) -> Result<
        (
            <Self::Ground as Ground>::Torrent,
            <Self::Ground as Ground>::Disk,
        ),
        Error,
    >;

    async fn count(&self) -> Result<usize, Error>;

    async fn limit(&self, limits: RateLimits) -> Result<(), Error>;

    async fn end(&self) -> Result<(), Error>;
}

/// A torrent, as far as scenarios use it; documented at [`anabranch_driver::Torrent`].
pub(crate) trait AnyTorrent: Clone + 'static {
    fn id(&self) -> TorrentId;
    fn info_hash(&self) -> InfoHash;
    fn name(&self) -> String;
    async fn status(&self) -> Result<TorrentStatus, Error>;
    async fn peers(&self) -> Result<Vec<PeerStatus>, Error>;
    async fn files(&self) -> Result<Vec<FileStatus>, Error>;
    async fn trackers(&self) -> Result<Vec<TrackerStatus>, Error>;
    async fn pause(&self) -> Result<(), Error>;
    async fn resume(&self) -> Result<(), Error>;
    async fn recheck(&self) -> Result<(), Error>;
    async fn checkpoint(&self) -> Result<(), Error>;
    async fn remove(&self, delete_data: bool) -> Result<(), Error>;
    async fn set_priorities(&self, files: Vec<(FileIndex, Priority)>) -> Result<(), Error>;
    async fn add_peer(&self, peer: SocketAddr) -> Result<(), Error>;
    async fn wait_complete(&self) -> Result<(), Error>;
}

/// What a client tells.
pub(crate) trait AnyNotices {
    /// The next notice; none when the client has ended.
    async fn next(&mut self) -> Option<Notice>;

    /// How many were lost.
    fn missed(&self) -> u64;
}

/// A disk that can be made to fail.
pub(crate) trait AnyDisk {
    /// Fills it, or makes room again.
    fn fill(&self, full: bool);

    /// The client is killed: from now on nothing reaches the disk.
    fn kill(&self);

    /// How many pieces were read back to see whether they are right.
    fn verified(&self) -> u32;
}

/// A peer that is no client.
pub(crate) trait AnyPeer {
    fn address(&self) -> SocketAddr;
}

/// A tracker over HTTP and over UDP.
pub(crate) trait AnyTracker {
    fn http(&self) -> String;
    fn udp(&self) -> String;
    /// A URL at which nobody is.
    fn dead(&self) -> String;
}
