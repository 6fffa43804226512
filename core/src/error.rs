//! What can go wrong, by who is to blame.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::TorrentId;
use crate::metainfo::{FileIndex, InfoHash};

/// A command that could not be carried out: the caller's mistake, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The torrent is not, or no longer, in this engine.
    #[error("there is no torrent {0} (any more)")]
    NoSuchTorrent(TorrentId),
    /// A torrent with this info-hash is in this engine already.
    #[error("torrent {info_hash} has been added already")]
    Duplicate {
        /// The info-hash.
        info_hash: InfoHash,
        /// The torrent that is there.
        torrent: TorrentId,
    },
    /// The .torrent file cannot be used, in words. Who wants to match on the cause calls
    /// [`Metainfo::parse`](crate::metainfo::Metainfo::parse) first, whose
    /// [`MetainfoError`](crate::metainfo::MetainfoError) these words are.
    #[error("not a usable torrent: {0}")]
    BadMetainfo(String),
    /// The magnet link cannot be used, in words: those of
    /// [`ParseMagnetError`](crate::metainfo::ParseMagnetError), or that it is of another torrent than the
    /// .torrent file beside it, or selects none of its files.
    #[error("not a usable magnet link: {0}")]
    BadMagnet(String),
    /// The torrent has no such file.
    #[error("the torrent has no file {}", .0.get())]
    NoSuchFile(FileIndex),
    /// A limit of the engine is reached.
    #[error("at most {limit} torrents at a time")]
    TooManyTorrents {
        /// The limit.
        limit: u32,
    },
    /// The engine has no DHT node ([`DhtConfig::enabled`](crate::dht::DhtConfig::enabled)).
    #[error("the DHT is off")]
    DhtOff,
    /// As many DHT lookups as there may be are under way.
    #[error("too many DHT lookups at a time")]
    DhtBusy,
    /// No node of the DHT is known, or the engine does not listen.
    #[error("no DHT nodes known")]
    NoDhtNodes,
    /// A node of the DHT did not answer, or refused to.
    #[error("no answer from the DHT node")]
    NoDhtAnswer,
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The disk failed while the command was carried out.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The torrent is private (BEP 27).
    #[error("the torrent is private")]
    Private,
    /// The user has banned as many addresses as there may be: pardon some.
    #[error("at most {limit} addresses banned by the user at a time")]
    TooManyBans {
        /// The limit, [`MAX_BANNED`](crate::limits::MAX_BANNED).
        limit: u32,
    },
    /// Nobody listens where a node of the DHT was asked.
    #[error("the DHT node refused, nobody listens there (port unreachable)")]
    DhtRefused,
    /// There is no way to a node of the DHT.
    #[error("the DHT node is not reached: network unreachable")]
    DhtUnreachable,
    /// The embedder does not want a node of the DHT to be asked.
    #[error("the DHT node is not asked: forbidden by policy")]
    DhtDenied,
}

/// A fault of a peer's.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
#[non_exhaustive]
pub enum Blame {
    /// It broke the protocol.
    #[error("broke the protocol: {0}")]
    Misbehaved(Misbehaviour),
    /// It wants something else than we do; no fault, but no use.
    #[error("incompatible: {0}")]
    Incompatible(Incompatibility),
    /// It sent data that is wrong.
    #[error("sent corrupt data")]
    Corrupt,
}

/// Ways to break the protocol.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A length prefix over the limit.
    #[error("a message that is too long")]
    MessageTooLong,
    /// A message whose length does not fit its kind.
    #[error("a message of the wrong length")]
    MessageLength,
    /// A piece map of the wrong length.
    #[error("a bad bitfield")]
    BadBitfield,
    /// A piece index past the end.
    #[error("a piece that does not exist")]
    PieceOutOfRange,
    /// A request past the end, of nothing, or too large.
    #[error("a request out of range")]
    RequestOutOfRange,
    /// More requests than we said that we accept.
    #[error("a flood of requests")]
    RequestFlood,
    /// More messages that lead to nothing than anybody needs.
    #[error("a flood of messages")]
    MessageFlood,
    /// Data that nobody asked for, again and again.
    #[error("data that was not asked for")]
    UnrequestedData,
    /// A message of the fast extension without having it.
    #[error("a fast extension message without the extension")]
    FastWithoutExtension,
    /// A piece of the metadata that has another length than its peer said.
    #[error("a malformed extension message")]
    BadExtension,
    /// A handshake that is none.
    #[error("not a BitTorrent handshake")]
    BadHandshake,
}

/// Ways not to fit together.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error,
)]
#[non_exhaustive]
pub enum Incompatibility {
    /// It is about another torrent, or about one that we do not have.
    #[error("another torrent")]
    InfoHash,
    /// It is ourselves.
    #[error("connected to ourselves")]
    SelfConnection,
    /// The handshake did not come in time.
    #[error("no handshake in time")]
    HandshakeTimeout,
}

/// What is done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The connection ends; the address may be tried again later.
    Close,
    /// The connection ends, and the address is not talked to again.
    Ban,
}

impl Blame {
    /// The one place that decides what a fault leads to.
    pub(crate) fn reaction(self) -> Reaction {
        match self {
            Self::Corrupt => Reaction::Ban,
            Self::Incompatible(_) => Reaction::Close,
            Self::Misbehaved(how) => match how {
                Misbehaviour::RequestFlood
                | Misbehaviour::MessageFlood
                | Misbehaviour::UnrequestedData => Reaction::Ban,
                Misbehaviour::MessageTooLong
                | Misbehaviour::MessageLength
                | Misbehaviour::BadBitfield
                | Misbehaviour::PieceOutOfRange
                | Misbehaviour::RequestOutOfRange
                | Misbehaviour::FastWithoutExtension
                | Misbehaviour::BadExtension
                | Misbehaviour::BadHandshake => Reaction::Close,
            },
        }
    }
}

/// A disk job failed. The torrent pauses and says so; the engine probes until the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{kind}: {file}: {message}")]
pub struct DiskError {
    /// What went wrong, as far as it can be told apart.
    pub kind: DiskErrorKind,
    /// The file or folder, as the user knows it.
    pub file: String,
    /// The operating system's words.
    pub message: String,
}

/// The kinds of disk failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum DiskErrorKind {
    /// The disk or the quota is full.
    #[error("no space left")]
    NoSpace,
    /// A file or folder is gone.
    #[error("not found")]
    NotFound,
    /// The user may not do this.
    #[error("permission denied")]
    Permission,
    /// The file system is read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// No more files may be open.
    #[error("too many open files")]
    TooManyFiles,
    /// The path leads outside of the download folder, or through something that is not a folder.
    #[error("unsafe path")]
    UnsafePath,
    /// A file of this name is there and has nothing of this torrent: it belongs to somebody else. The
    /// torrent does not go on by itself; it can be added with
    /// [`overwrite`](crate::command::AddTorrent::overwrite), or to another folder.
    #[error("another file has this name")]
    Foreign,
    /// The device failed, or anything else.
    #[error("input/output error")]
    Io,
    /// A file has become shorter than what was written to it.
    #[error("file too short")]
    Truncated,
    /// Another process works on the same files.
    #[error("in use")]
    InUse,
}
