//! What comes out: everything that an [`Engine`](crate::Engine) wants done, as data.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::bitfield::Bitfield;
use crate::command::Reply;
use crate::datagram::Outbound;
use crate::error::CommandError;
use crate::event::PartialPiece;
#[cfg(doc)]
use crate::event::{DiskDone, Event};
use crate::id::{ConnId, OpId, RequestId, StorageKey, Ticket, TorrentId};
use crate::metainfo::{FileIndex, Metainfo, PieceIndex};
use crate::notice::Notice;
use crate::tracker::url;

/// One thing to do. The [front page](crate#what-an-action-is-owed) has a table of what completes
/// which.
///
/// Actions that name the same connection are carried out in their order; all others may be carried
/// out in any order, and side by side. An embedder whose events wait in a queue may meet an action
/// for a connection whose `Closed` is still in there: nothing is left to be done for it.
///
/// Exhaustive: a new action must break an embedder at compile time, not at run time.
#[derive(Clone, Debug, Serialize)]
pub enum Action {
    /// Dial a peer over TCP.
    ///
    /// Owed: [`Connected`](Event::Connected) when the connection stands; and in the end one
    /// [`Closed`](Event::Closed), also if it never stood. How long that may take is the engine's
    /// concern: it closes what takes too long.
    Connect {
        /// The connection's id from now on.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
        /// For which torrent.
        torrent: TorrentId,
    },
    /// Keep a connection that came in. It stands: there is no [`Connected`](Event::Connected) for it.
    ///
    /// Owed: in the end one [`Closed`](Event::Closed).
    Accept {
        /// The driver's name for it.
        ticket: Ticket,
        /// The connection's id from now on.
        conn: ConnId,
    },
    /// Drop a connection that came in. Nothing is owed; its ticket is of no more use.
    Refuse {
        /// The driver's name for it.
        ticket: Ticket,
    },
    /// Send bytes, after those of earlier `Send`s for the same connection.
    ///
    /// Owed: [`Sent`](Event::Sent) as they are handed to the operating system, all at once or bit
    /// by bit, until the connection is closed. No more than
    /// [`limits::SEND_WINDOW`](crate::limits::SEND_WINDOW) bytes of payload wait for that at a
    /// time, beside protocol.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: Bytes,
    },
    /// Allow more bytes to be received; credits add up, and a connection starts with none.
    ///
    /// Owed: [`Received`](Event::Received) with what comes, in as many parts as is convenient and
    /// in all no more than the credit, until the connection is closed. At most
    /// [`limits::READ_WINDOW`](crate::limits::READ_WINDOW) is open at a time. Whether or not
    /// anything can be sent must not matter.
    Read {
        /// The connection.
        conn: ConnId,
        /// How many more.
        credit: u32,
    },
    /// End a connection at once: what was not sent need not be. Comes once for a connection, in
    /// whatever state it is.
    ///
    /// Owed: the connection's [`Closed`](Event::Closed), unless it was told already.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Send UDP packets to one address, from the port that the engine was told it
    /// [listens](crate::Command::Listening) on. They may get lost, or not be sent at all. A driver that learns of it says
    /// so with [`Undelivered`](Event::Undelivered).
    ///
    /// Those to a multicast address go out on every network that the driver
    /// [joined](crate::Command::LocalDiscovery) the group on, from any port.
    ///
    /// Owed: for those that [are counted](Outbound::is_counted) their bytes in [`Flushed`](Event::Flushed); nothing for
    /// the others. At most [`limits::DATAGRAM_WINDOW`](crate::limits::DATAGRAM_WINDOW) counted bytes wait for that at a
    /// time, so a driver need not lose any of them.
    Datagram(Outbound),
    /// Work on a torrent's storage.
    ///
    /// Owed: one [`Done`](Event::Done) with [`OpResult::Disk`](crate::event::OpResult::Disk). See
    /// [`DiskJob`] for what may run side by side, and for the answers.
    Disk {
        /// The operation.
        op: OpId,
        /// Whose storage.
        torrent: TorrentId,
        /// What to do.
        job: DiskJob,
    },
    /// Look a host name up.
    ///
    /// Owed: one [`Done`](Event::Done) with [`OpResult::Resolved`](crate::event::OpResult::Resolved).
    Resolve {
        /// The operation.
        op: OpId,
        /// The name, or an address in text.
        host: String,
        /// For which torrent; none for what is for none or for several: the DHT, and a UDP tracker.
        torrent: Option<TorrentId>,
    },
    /// Make an HTTP exchange.
    ///
    /// Owed: one [`Done`](Event::Done) with [`OpResult::Http`](crate::event::OpResult::Http).
    Http {
        /// The operation.
        op: OpId,
        /// The request.
        request: Box<HttpRequest>,
        /// For which torrent; none for what the driver asks on its own.
        torrent: Option<TorrentId>,
    },
    /// The outcome of an operation is of no more interest.
    ///
    /// Owed: nothing new. The operation's own [`Done`](Event::Done) is expected soon, with
    /// [`Cancelled`](crate::event::OpResult::Cancelled) or with what it came to. If it has been
    /// told already, nothing.
    Cancel {
        /// The operation.
        op: OpId,
    },
    /// A command's answer: exactly one for each, some at once and some, as their documentation
    /// says, when it is done. Nothing is owed.
    Reply {
        /// The command's request id.
        request: RequestId,
        /// What came of it.
        result: Result<Reply, CommandError>,
    },
    /// Tell the user, in this order. Nothing is owed, and nothing depends on it.
    Notify(Notice),
}

/// Work on a torrent's storage.
///
/// Jobs of one torrent may run side by side and end in any order, but `Close` and `Remove` wait for
/// all that came before them. Any may fail with a [`DiskError`](crate::event::DiskError): the
/// torrent then stops, and the engine sends a `Probe` now and then until the cause is gone. Pieces
/// and ranges are always within the torrent.
///
/// Hashing is part of the jobs that touch a piece (`Store`, `Verify`) rather than an action of its
/// own: the data is hashed on the worker that has it in its cache, and a piece costs one hand-over.
///
/// | job | its success |
/// |---|---|
/// | `Open` | [`Opened`](DiskDone::Opened) |
/// | `Verify` | [`Verified`](DiskDone::Verified), whether or not it matches |
/// | `Store` | [`Stored`](DiskDone::Stored), or [`Mismatched`](DiskDone::Mismatched) |
/// | `Write` | [`Written`](DiskDone::Written) |
/// | `Read` | [`Read`](DiskDone::Read) |
/// | `Select` | [`Selected`](DiskDone::Selected) |
/// | `Trim` | [`Trimmed`](DiskDone::Trimmed), whether or not it was cut |
/// | `Checkpoint` | [`Checkpointed`](DiskDone::Checkpointed) |
/// | `Probe` | [`Usable`](DiskDone::Usable) |
/// | `Close`, `Remove` | [`Closed`](DiskDone::Closed) |
///
/// # Example
///
/// All of it, in memory: the disks of the [front page](crate)'s engines.
///
/// ```no_run
#[doc = include_str!("../examples/common/memory.rs")]
/// ```
#[derive(Clone, Debug, Serialize)]
pub enum DiskJob {
    /// Make the storage usable: find what is there, and create what must be. The first job, and again
    /// after a failure or for a recheck.
    Open(Box<OpenStorage>),
    /// Read a piece and compare it with its digest.
    Verify {
        /// The piece.
        piece: PieceIndex,
        /// Its SHA-1.
        digest: [u8; 20],
    },
    /// Compare a piece with its digest, and write it if it matches.
    Store {
        /// The piece.
        piece: PieceIndex,
        /// Its SHA-1.
        digest: [u8; 20],
        /// The whole piece, in order.
        data: Vec<Segment>,
        /// Whether a match must be answered with the SHA-1 of each block, too.
        blocks: bool,
    },
    /// Write a part of a piece that is not complete, so that memory is freed. Not vouched for.
    Write {
        /// The piece.
        piece: PieceIndex,
        /// Where in the piece.
        begin: u32,
        /// The bytes, in order.
        data: Vec<Bytes>,
    },
    /// Read a part of a piece that was stored.
    Read {
        /// The piece.
        piece: PieceIndex,
        /// Where in the piece.
        begin: u32,
        /// How many bytes, at most [`limits::READ_LEN`](crate::limits::READ_LEN).
        len: u32,
    },
    /// From now on these files are wanted, and no others: create what is newly wanted, and move what
    /// had been kept aside for it into it.
    Select {
        /// One entry a file.
        wanted: Vec<bool>,
    },
    /// All pieces of a file that is [longer](crate::event::Opened::longer) than the torrent says have been
    /// verified: cut what is too much of it, unless its storage only reads.
    Trim {
        /// The file.
        file: FileIndex,
    },
    /// Make all that was stored durable, then record it as resume data, atomically and in that order.
    Checkpoint {
        /// The pieces to vouch for. All have been answered with `Stored`, `Verified` or `trusted`.
        have: Bitfield,
        /// What was written early of other pieces, to be found by a later `Open`. At most
        /// [`MAX_PARTIAL_PIECES`](crate::limits::MAX_PARTIAL_PIECES) pieces with
        /// [`MAX_PARTIAL_BLOCKS`](crate::limits::MAX_PARTIAL_BLOCKS) blocks, or one larger piece. A storage
        /// that does not record it costs the next run those blocks.
        partial: Vec<PartialPiece>,
        /// Payload bytes uploaded, ever.
        uploaded: u64,
        /// Payload bytes downloaded, ever.
        downloaded: u64,
    },
    /// After a failure: see whether the storage can be used again. If so, and it was not
    /// only full, `Open` follows.
    Probe {
        /// How many bytes should fit.
        space: u64,
    },
    /// Release the storage.
    Close,
    /// Release the storage, and delete its resume data; the files too if told so. Folders go when
    /// they are empty.
    Remove {
        /// Whether the files are deleted.
        data: bool,
    },
}

/// A part of a piece on its way to the digest and the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Segment {
    /// In memory.
    Memory(Bytes),
    /// Written before by a `Write` that has been answered: to be read back for the digest.
    Stored {
        /// How many bytes.
        len: u32,
    },
}

/// What `Open` must know.
#[derive(Clone, Serialize)]
pub struct OpenStorage {
    /// Which storage: the caller's key from `AddTorrent`.
    pub key: StorageKey,
    /// The torrent. In a trace its info-hash stands for it.
    #[serde(serialize_with = "info_hash_only")]
    pub metainfo: Arc<Metainfo>,
    /// Which files are wanted, one entry a file.
    pub wanted: Vec<bool>,
    /// Whether resume data is to be ignored: everything that is there is doubtful.
    pub recheck: bool,
    /// Whether files that are there and [not this torrent's](crate::event::Opened::foreign) may be written
    /// over: none is foreign then.
    pub overwrite: bool,
    /// Whether the torrent's metadata was fetched from peers in this run. A storage that keeps it saves
    /// the next run the fetching.
    pub fetched: bool,
}

impl fmt::Debug for OpenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStorage")
            .field("key", &self.key)
            .field("info_hash", &self.metainfo.info_hash())
            .field("recheck", &self.recheck)
            .finish_non_exhaustive()
    }
}

fn info_hash_only<S: serde::Serializer>(
    metainfo: &Arc<Metainfo>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    metainfo.info_hash().serialize(serializer)
}

/// An HTTP `GET`. The driver follows redirects (never from a public address to a private one), undoes
/// gzip, stops at the limits, and asks for no more than what is said here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    /// The whole URL; `http` or `https`.
    pub url: String,
    /// The largest body, unpacked, in bytes.
    pub body_limit: u32,
    /// How many redirects may be followed.
    pub redirects: u8,
    /// How long the exchange may take, in milliseconds. The engine also cancels it.
    pub timeout_ms: u32,
    /// What may be asked of this machine, at each hop, once its host's name has been looked up.
    pub local_paths: LocalPaths,
}

/// Which paths an HTTP exchange may ask services of this machine for.
///
/// The driver holds every hop against it, with the address that it is about to contact: a name may lead here as well
/// as an address, and so may a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LocalPaths {
    /// Any: the user named the URL, or permits it.
    Any,
    /// Those of trackers, `announce` and `scrape` with what is in front of and behind that.
    #[default]
    Trackers,
}

impl LocalPaths {
    /// Whether this path may be asked for at this address.
    #[must_use]
    pub fn allows(self, address: IpAddr, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Trackers => !url::is_this_machine(address) || url::is_tracker_path(path),
        }
    }
}

/// How much is allocated for small messages at a time; as long as one of them waits to be sent, it stays.
const SCRATCH: usize = 4096;

/// What must be left of that to begin with a message: most are smaller.
const SCRATCH_LEAST: usize = 64;

/// The buffer that actions are appended to. The caller owns it, drains it whenever it likes, and
/// reuses it.
#[derive(Debug, Default)]
pub struct Actions {
    list: Vec<Action>,
    /// Small messages for one connection that are still being put together.
    tail: Option<ConnId>,
    scratch: BytesMut,
}

impl Actions {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes all actions out, in order. The memory is kept for the next ones.
    pub fn drain(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.seal();
        self.list.drain(..)
    }

    /// The actions that wait.
    pub fn as_slice(&mut self) -> &[Action] {
        self.seal();
        &self.list
    }

    /// How many actions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + usize::from(self.tail.is_some())
    }

    /// Whether no action waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.seal();
        self.list.push(action);
    }

    /// Lets `write` append a message to what goes to `conn`. Messages that follow each other share
    /// one `Send`. Says how many bytes were appended.
    pub(crate) fn send_with(&mut self, conn: ConnId, write: impl FnOnce(&mut BytesMut)) -> usize {
        if self.tail != Some(conn) {
            self.seal();
            // The messages of many calls share one allocation, which is used again once they are gone.
            if self.scratch.capacity() < SCRATCH_LEAST {
                self.scratch.reserve(SCRATCH);
            }
            self.tail = Some(conn);
        }
        let before = self.scratch.len();
        write(&mut self.scratch);
        self.scratch.len() - before
    }

    /// Takes out what is to be done to connections that the engine carries itself, from the place `from` on, in order.
    pub(crate) fn divert(
        &mut self,
        from: usize,
        is_ours: impl Fn(ConnId) -> bool,
        orders: &mut Vec<Action>,
    ) {
        self.seal();
        let from = from.min(self.list.len());
        orders.extend(self.list.extract_if(from.., |action| match action {
            Action::Send { conn, .. } | Action::Read { conn, .. } | Action::Close { conn } => {
                is_ours(*conn)
            }
            Action::Connect { .. }
            | Action::Accept { .. }
            | Action::Refuse { .. }
            | Action::Datagram(_)
            | Action::Disk { .. }
            | Action::Resolve { .. }
            | Action::Http { .. }
            | Action::Cancel { .. }
            | Action::Reply { .. }
            | Action::Notify(_) => false,
        }));
    }

    /// Ends the `Send` under way.
    pub(crate) fn seal(&mut self) {
        if let Some(conn) = self.tail.take()
            && !self.scratch.is_empty()
        {
            let data = self.scratch.split().freeze();
            self.list.push(Action::Send { conn, data });
        }
    }
}
