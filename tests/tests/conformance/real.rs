//! Whole clients on a runtime, with real files and loopback sockets.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_driver::engine::action::OpenStorage;
use anabranch_driver::engine::command::{Priority, RateLimits};
use anabranch_driver::engine::event::{DiskError, DiskErrorKind, Opened, PartialPiece};
use anabranch_driver::engine::id::TorrentId;
use anabranch_driver::engine::metainfo::{FileIndex, InfoHash, PieceIndex};
use anabranch_driver::engine::status::{FileStatus, PeerStatus, TorrentStatus, TrackerStatus};
use anabranch_driver::engine::{Bitfield, Notice};
use anabranch_driver::storage::{FileOptions, FileStorage};
use anabranch_driver::{
    AddOptions, ByAddress, Client, ClientBuilder, Error, Notices, Storage, Torrent,
};
use anabranch_tests::net::free_port;
use anabranch_tests::scripted::{self, Gate, Listener};
use anabranch_tests::subject::Subject;
use anabranch_tests::tracker::Tracker;
use anabranch_tests::wire::{self, Wire, id};
use anabranch_tests::{address, data};
use async_channel::Sender;
use bytes::Bytes;

use crate::ground::{
    AnyClient, AnyDisk, AnyNotices, AnyPeer, AnyTorrent, AnyTracker, Ground, Script, Setup,
};
use crate::stage::Stage;

/// A client that talks to nobody but this machine, and listens there.
pub(crate) fn builder<S: Subject>() -> ClientBuilder<S::Runtime> {
    ClientBuilder::new()
        .listen([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        .policy(ByAddress(|address: IpAddr| address.is_loopback()))
}

impl<S: Subject> Ground for S {
    type Client = On<S>;
    type Torrent = Torrent;
    type Notices = Notices;
    type Disk = Arc<Faults>;
    type Peer = Listener;
    type Tracker = Tracker;

    fn play<T>(scenario: impl Future<Output = T>) -> T {
        S::run(scenario)
    }

    fn start(setup: Setup) -> On<S> {
        let port = if setup.lasting_port { free_port() } else { 0 };
        let address = if setup.ipv6 {
            SocketAddr::from((Ipv6Addr::LOCALHOST, port))
        } else {
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        let builder = builder::<S>().listen([address]).config(setup.config);
        On {
            client: builder.start().expect("a client"),
            subject: std::marker::PhantomData,
        }
    }

    fn has_ipv6() -> bool {
        let there = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        if !there {
            eprintln!("LEFT OUT: this machine has no IPv6");
        }
        there
    }

    fn now() -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }

    fn scripted(stage: &Stage, script: Script) -> Listener {
        let ip = if script.corrupt {
            address::HOSTILE
        } else {
            address::HONEST
        };
        let given = AtomicU32::new(0);
        scripted::seed_with(
            ip,
            &stage.torrent,
            scripted::content(&stage.origin),
            script.unchoke,
            move |piece, begin, block| {
                let mut asked = script.asked.lock().expect("no panic");
                asked.push((piece, begin));
                drop(asked);
                if let Some((blocks, rest)) = &script.halt
                    && given.fetch_add(1, Ordering::Relaxed) >= *blocks
                {
                    rest.wait("the test to go on");
                }
                if script.corrupt {
                    block[0] ^= 1;
                }
            },
        )
    }

    fn staller(stage: &Stage, asked: Gate, cancelled: Sender<()>) -> Listener {
        let (hash, pieces) = (stage.torrent.info_hash, stage.torrent.count());
        Listener::start(address::HOSTILE, move |mut wire| {
            wire.read_handshake()?;
            wire.send_handshake(hash)?;
            wire.send(id::BITFIELD, &wire::full_bitfield(pieces))?;
            let mut waiting = BTreeSet::new();
            loop {
                let message = wire.read()?;
                match message.id {
                    id::INTERESTED => wire.send(id::UNCHOKE, &[])?,
                    id::REQUEST => {
                        waiting.insert(message.payload);
                        asked.open();
                    }
                    id::CANCEL if waiting.remove(&message.payload) => {
                        let _ = cancelled.try_send(());
                    }
                    _ => {}
                }
            }
        })
    }

    fn leech(stage: &Stage, number: usize, to: SocketAddr, told: Sender<usize>, leave: Gate) {
        let hash = stage.torrent.info_hash;
        thread::spawn(move || -> std::io::Result<()> {
            let from = format!("127.0.0.{}", 100 + number);
            let mut wire = Wire::connect(&from, to)?;
            wire.send_handshake(hash)?;
            wire.read_handshake()?;
            wire.send(id::INTERESTED, &[])?;
            while wire.read()?.id != id::UNCHOKE {}
            let _ = told.try_send(number);
            leave.wait("the test to let a leecher go");
            Ok(())
        });
    }

    fn tracker() -> Tracker {
        Tracker::start()
    }

    fn assert_copied(stage: &Stage, dir: &str) {
        data::assert_same(&stage.origin, &stage.copy(dir));
    }

    fn assert_file(stage: &Stage, dir: &str, file: &str) {
        data::assert_same(&stage.origin.join(file), &stage.copy(dir).join(file));
    }

    fn assert_no_file(stage: &Stage, dir: &str, file: &str) {
        let there = stage.copy(dir).join(file).exists();
        assert!(!there, "nobody asked for {file}");
    }

    fn add_file(stage: &Stage, dir: &str, file: &str) {
        data::write_file(&stage.copy(dir).join(file), 10, 9);
    }

    fn assert_gone(stage: &Stage, dir: &str, added: &str) {
        // Not even resume data.
        let left = data::files(&stage.scratch.join(dir));
        let left: Vec<PathBuf> = left.into_keys().collect();
        let name = stage.origin.file_name().expect("a name");
        assert_eq!(left, [PathBuf::from(name).join(added)]);
    }

    fn assert_free(address: SocketAddr) {
        TcpListener::bind(address).expect("the port is free");
    }

    fn spoil(stage: &Stage, dir: &str, at: u64) {
        let file = stage.copy(dir);
        let mut bytes = std::fs::read(&file).expect("readable");
        bytes[at as usize] ^= 0xff;
        std::fs::write(file, bytes).expect("writable");
    }
}

/// A client, and what it runs on.
#[derive(Debug)]
pub(crate) struct On<S> {
    client: Client,
    subject: std::marker::PhantomData<fn() -> S>,
}

impl<S> Clone for On<S> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            subject: std::marker::PhantomData,
        }
    }
}

/// What only clients of a runtime can do.
impl<S> std::ops::Deref for On<S> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl<S: Subject> AnyClient for On<S> {
    type Ground = S;

    fn addresses(&self) -> Vec<SocketAddr> {
        self.listen_addrs().to_vec()
    }

    fn hear(&self) -> Notices {
        self.notices()
    }

    async fn take(&self, stage: &Stage, options: AddOptions) -> Result<Torrent, Error> {
        self.add(stage.source(), options).await
    }

    async fn take_on_disk(
        &self,
        stage: &Stage,
        options: AddOptions,
    ) -> Result<(Torrent, Arc<Faults>), Error> {
        let dir = options.dir.clone().ok_or(Error::NoFolder)?;
        let (disk, faults) = disk(dir);
        let torrent = self.add_with(stage.source(), options, disk).await?;
        Ok((torrent, faults))
    }

    async fn count(&self) -> Result<usize, Error> {
        Ok(self.torrents().await?.len())
    }

    async fn limit(&self, limits: RateLimits) -> Result<(), Error> {
        self.set_limits(limits).await
    }

    async fn end(&self) -> Result<(), Error> {
        self.shutdown().await
    }
}

impl AnyTorrent for Torrent {
    fn id(&self) -> TorrentId {
        self.id()
    }

    fn info_hash(&self) -> InfoHash {
        self.info_hash()
    }

    fn name(&self) -> String {
        self.name().to_owned()
    }

    async fn status(&self) -> Result<TorrentStatus, Error> {
        self.status().await
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, Error> {
        self.peers().await
    }

    async fn files(&self) -> Result<Vec<FileStatus>, Error> {
        self.files().await
    }

    async fn trackers(&self) -> Result<Vec<TrackerStatus>, Error> {
        self.trackers().await
    }

    async fn pause(&self) -> Result<(), Error> {
        self.pause().await
    }

    async fn resume(&self) -> Result<(), Error> {
        self.resume().await
    }

    async fn recheck(&self) -> Result<(), Error> {
        self.recheck().await
    }

    async fn checkpoint(&self) -> Result<(), Error> {
        self.checkpoint().await
    }

    async fn remove(&self, delete_data: bool) -> Result<(), Error> {
        self.remove(delete_data).await
    }

    async fn set_priorities(&self, files: Vec<(FileIndex, Priority)>) -> Result<(), Error> {
        self.set_priorities(files).await
    }

    async fn add_peer(&self, peer: SocketAddr) -> Result<(), Error> {
        self.add_peer(peer).await
    }

    async fn wait_complete(&self) -> Result<(), Error> {
        self.wait_complete().await
    }
}

impl AnyNotices for Notices {
    async fn next(&mut self) -> Option<Notice> {
        self.next().await
    }

    fn missed(&self) -> u64 {
        self.missed()
    }
}

impl AnyPeer for Listener {
    fn address(&self) -> SocketAddr {
        self.address()
    }
}

impl AnyTracker for Tracker {
    fn http(&self) -> String {
        self.http()
    }

    fn udp(&self) -> String {
        self.udp()
    }

    fn dead(&self) -> String {
        self.dead()
    }
}

/// What is wrong with a [`Disk`], and what was done on it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there is no room.
    full: AtomicBool,
    /// Whether the power is gone: nothing reaches the files any more.
    dead: AtomicBool,
    verified: AtomicU32,
}

impl AnyDisk for Arc<Faults> {
    fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn verified(&self) -> u32 {
        self.verified.load(Ordering::SeqCst)
    }
}

/// A storage on real files that can be made to fail.
pub(crate) fn disk(dir: PathBuf) -> (Arc<Disk>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Disk {
        files: FileStorage::new(dir.clone(), FileOptions::default()),
        dir,
        faults: Arc::clone(&faults),
    };
    (Arc::new(disk), faults)
}

/// Files behind faults.
#[derive(Debug)]
pub(crate) struct Disk {
    files: FileStorage,
    dir: PathBuf,
    faults: Arc<Faults>,
}

impl Disk {
    fn error(&self, kind: DiskErrorKind) -> DiskError {
        DiskError {
            kind,
            file: self.dir.display().to_string(),
            message: "as the test wants it".into(),
        }
    }

    fn power(&self) -> Result<(), DiskError> {
        if self.faults.dead.load(Ordering::SeqCst) {
            return Err(self.error(DiskErrorKind::Io));
        }
        Ok(())
    }

    fn room(&self) -> Result<(), DiskError> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(self.error(DiskErrorKind::NoSpace));
        }
        Ok(())
    }
}

// `store` is left to the trait, which hashes and then writes here.
impl Storage for Disk {
    fn open(&self, open: &OpenStorage) -> Result<Opened, DiskError> {
        self.power()?;
        self.files.open(open)
    }

    fn verify(&self, piece: PieceIndex, digest: &[u8; 20]) -> Result<bool, DiskError> {
        self.power()?;
        self.faults.verified.fetch_add(1, Ordering::SeqCst);
        self.files.verify(piece, digest)
    }

    fn write(&self, piece: PieceIndex, begin: u32, data: &[Bytes]) -> Result<(), DiskError> {
        self.power()?;
        self.room()?;
        self.files.write(piece, begin, data)
    }

    fn read(&self, piece: PieceIndex, begin: u32, buf: &mut [u8]) -> Result<(), DiskError> {
        self.power()?;
        self.files.read(piece, begin, buf)
    }

    fn select(&self, wanted: &[bool]) -> Result<(), DiskError> {
        self.power()?;
        self.files.select(wanted)
    }

    fn note_partial(&self, partial: Vec<PartialPiece>) {
        self.files.note_partial(partial);
    }

    fn checkpoint(&self, have: &Bitfield, uploaded: u64, downloaded: u64) -> Result<(), DiskError> {
        self.power()?;
        self.files.checkpoint(have, uploaded, downloaded)
    }

    fn probe(&self, space: u64) -> Result<(), DiskError> {
        self.power()?;
        self.room()?;
        self.files.probe(space)
    }

    fn close(&self) -> Result<(), DiskError> {
        // Lets go of the files even so.
        self.files.close()
    }

    fn remove(&self, data: bool) -> Result<(), DiskError> {
        self.power()?;
        self.files.remove(data)
    }
}
