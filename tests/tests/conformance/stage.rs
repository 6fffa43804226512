//! What the scenarios have in common: torrents, clients, and an ear for what clients tell.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anabranch_driver::core::action::OpenStorage;
use anabranch_driver::core::event::{DiskError, DiskErrorKind, Opened};
use anabranch_driver::core::metainfo::PieceIndex;
use anabranch_driver::core::{Bitfield, Notice};
use anabranch_driver::storage::{FileOptions, FileStorage};
use anabranch_driver::{
    AddOptions, Client, ClientBuilder, Contact, Notices, Source, Storage, Torrent,
};
use anabranch_tests::scripted::{self, Gate, Listener};
use anabranch_tests::subject::Subject;
use anabranch_tests::{Scratch, address, data};
use bytes::Bytes;

/// Bytes in a piece of the torrents here: four blocks.
pub(crate) const PIECE: u64 = 64 << 10;

/// A client that talks to nobody but this machine, and listens there.
pub(crate) fn builder<S: Subject>() -> ClientBuilder<S::Runtime> {
    ClientBuilder::new()
        .listen([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        .policy(|contact: &Contact<'_>| match contact {
            Contact::Connect(to) | Contact::Accept(to) | Contact::Datagram(to) => {
                to.ip().is_loopback()
            }
            Contact::Http { address, .. } => address.ip().is_loopback(),
            _ => false,
        })
}

pub(crate) fn client<S: Subject>() -> Client {
    builder::<S>().start().expect("a client")
}

/// A torrent, with its files, and room for copies of them.
pub(crate) struct Stage {
    pub(crate) scratch: Scratch,
    pub(crate) torrent: anabranch_tests::Torrent,
    /// The file or folder that the torrent is of.
    pub(crate) origin: PathBuf,
}

impl Stage {
    /// A torrent of one file.
    pub(crate) fn file(len: usize) -> Self {
        let scratch = Scratch::new();
        let origin = scratch.join("origin/file.bin");
        data::write_file(&origin, len, 1);
        Self::of(scratch, origin)
    }

    /// A torrent of several files in a folder. Their order is that of their names.
    pub(crate) fn folder(files: &[(&str, usize)]) -> Self {
        let scratch = Scratch::new();
        let origin = scratch.join("origin/folder");
        for (number, (name, len)) in files.iter().enumerate() {
            data::write_file(&origin.join(name), *len, number as u64);
        }
        Self::of(scratch, origin)
    }

    fn of(scratch: Scratch, origin: PathBuf) -> Self {
        let file = scratch.join("it.torrent");
        let torrent = anabranch_tests::Torrent::make(&origin, &file, PIECE, &[]);
        Self {
            scratch,
            torrent,
            origin,
        }
    }

    pub(crate) fn source(&self) -> Source {
        Source::Path(self.torrent.path.clone())
    }

    /// Where the torrent's file or folder is, below a folder of this name.
    pub(crate) fn copy(&self, dir: &str) -> PathBuf {
        let name = self.origin.file_name().expect("a name");
        self.scratch.join(dir).join(name)
    }

    pub(crate) fn below(&self, dir: &str) -> AddOptions {
        AddOptions {
            dir: Some(self.scratch.join(dir)),
            ..AddOptions::default()
        }
    }

    /// The same, with somebody to get it from.
    pub(crate) fn fetched(&self, dir: &str, peers: &[SocketAddr]) -> AddOptions {
        AddOptions {
            peers: peers.to_vec(),
            ..self.below(dir)
        }
    }

    /// A client that has the torrent whole.
    pub(crate) async fn seeder<S: Subject>(&self) -> Client {
        let client = client::<S>();
        self.seed(&client).await;
        client
    }

    /// Has a client seed the origin.
    pub(crate) async fn seed(&self, client: &Client) -> Torrent {
        let torrent = client.add(self.source(), self.below("origin")).await;
        let torrent = torrent.expect("added");
        torrent.wait_complete().await.expect("it is all there");
        torrent
    }

    pub(crate) fn assert_copied(&self, dir: &str) {
        data::assert_same(&self.origin, &self.copy(dir));
    }

    /// A scripted peer that gives `blocks` blocks away, and the others when the gate is opened.
    pub(crate) fn halting_seed(&self, blocks: u32) -> (Listener, Gate) {
        let gate = Gate::default();
        let rest = gate.clone();
        let given = AtomicU32::new(0);
        let listener = scripted::seed_with(
            address::HONEST,
            &self.torrent,
            scripted::content(&self.origin),
            Gate::opened(),
            move |_, _, _| {
                if given.fetch_add(1, Ordering::Relaxed) >= blocks {
                    rest.wait("the test to go on");
                }
            },
        );
        (listener, gate)
    }

    /// A storage on real files that can be made to fail.
    pub(crate) fn disk(&self, dir: &str) -> (Arc<Disk>, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        let disk = Disk {
            files: FileStorage::new(self.scratch.join(dir), FileOptions::default()),
            dir: self.scratch.join(dir),
            faults: Arc::clone(&faults),
        };
        (Arc::new(disk), faults)
    }
}

/// What a client tells, from before anything happened.
pub(crate) struct Ear {
    notices: Notices,
    pub(crate) heard: Vec<Notice>,
}

impl Ear {
    pub(crate) fn new(notices: Notices) -> Self {
        Self {
            notices,
            heard: Vec::new(),
        }
    }

    /// Listens until something is told.
    pub(crate) async fn until<T>(&mut self, pick: impl Fn(&Notice) -> Option<T>) -> T {
        while let Some(notice) = self.next().await {
            if let Some(found) = pick(&notice) {
                return found;
            }
        }
        panic!("the client ended; heard {:#?}", self.heard);
    }

    /// Listens until something has been told so many times in all.
    pub(crate) async fn times(&mut self, count: usize, pick: impl Fn(&Notice) -> bool) {
        while self.heard.iter().filter(|notice| pick(notice)).count() < count {
            self.until(|_| Some(())).await;
        }
    }

    /// Listens until the client has ended.
    pub(crate) async fn until_the_end(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn next(&mut self) -> Option<Notice> {
        let notice = self.notices.next().await;
        assert_eq!(self.notices.missed(), 0, "notices were lost");
        self.heard.extend(notice.clone());
        notice
    }

    pub(crate) fn count(&self, pick: impl Fn(&Notice) -> bool) -> usize {
        self.heard.iter().filter(|notice| pick(notice)).count()
    }

    /// What was told so far, as far as it hangs on the scenario alone and not on timing: for every
    /// runtime the same, word by word.
    pub(crate) fn story(&self) -> Vec<String> {
        self.heard.iter().filter_map(tell).collect()
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not named here hangs on timing"
)]
fn tell(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Added { .. } => "added".into(),
        Notice::Removed { .. } => "removed".into(),
        Notice::State { state, .. } => format!("{state:?}").to_lowercase(),
        Notice::Checked { have, pieces, .. } => format!("checked {have}/{pieces}"),
        Notice::Completed { .. } => "completed".into(),
        Notice::GoalReached { .. } => "goal".into(),
        Notice::PeerBanned { address, blame, .. } => format!("banned {}: {blame}", address.ip()),
        Notice::StorageFailed { error, .. } => format!("storage: {}", error.kind),
        Notice::StorageRecovered { .. } => "storage recovered".into(),
        _ => return None,
    })
}

pub(crate) fn is_piece(notice: &Notice) -> bool {
    matches!(notice, Notice::Piece { .. })
}

/// What is wrong with a [`Disk`], and what was done on it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there is no room.
    pub(crate) full: AtomicBool,
    /// Whether the power is gone: nothing reaches the files any more.
    pub(crate) dead: AtomicBool,
    /// How many pieces were read back to see whether they are right.
    pub(crate) verified: AtomicU32,
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

/// Overwrites one byte of a file with another.
pub(crate) fn spoil(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("readable");
    bytes[at] ^= 0xff;
    std::fs::write(file, bytes).expect("writable");
}
