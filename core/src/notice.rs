//! What users are told.

use alloc::string::{String, ToString};
use core::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::Blame;
use crate::event::{CloseReason, ContactError, DiskError};
use crate::id::TorrentId;
use crate::metainfo::{FileIndex, InfoHash, PieceIndex};

/// Something that a user of the engine may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Notice {
    /// A torrent was taken on.
    Added {
        /// The torrent.
        torrent: TorrentId,
        /// Its info-hash.
        info_hash: InfoHash,
    },
    /// A torrent and its storage are released.
    Removed {
        /// The torrent.
        torrent: TorrentId,
    },
    /// A torrent's state changed.
    State {
        /// The torrent.
        torrent: TorrentId,
        /// The new state.
        state: TorrentState,
    },
    /// The metadata of a magnet link is there and verified: from now on the torrent is like any other.
    MetadataReceived {
        /// The torrent.
        torrent: TorrentId,
        /// The bytes of a .torrent file, with the trackers and web seeds of the link.
        metainfo: Bytes,
    },
    /// The metadata is there and is the one that the magnet link means, but no torrent can be made of it; or
    /// the link selects files (BEP 53) that it does not have. The torrent is paused for good.
    MetadataUnusable {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: String,
    },
    /// What was on the disk has been looked at.
    Checked {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces found complete.
        have: u32,
        /// Pieces in all.
        pieces: u32,
    },
    /// A piece has been verified and written.
    Piece {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A downloaded piece did not match its digest; it is fetched again.
    PieceFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A wanted file is complete and verified.
    FileCompleted {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
    },
    /// A wanted file whose pieces are all verified is longer on the disk than the torrent says.
    FileLonger {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// How many bytes it had.
        found: u64,
        /// How many the torrent says.
        expected: u64,
        /// Whether it was cut to that; else it was left as it is.
        cut: bool,
    },
    /// All that is wanted is complete, verified and written.
    Completed {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The goal of seeding was reached; the torrent is paused.
    GoalReached {
        /// The torrent.
        torrent: TorrentId,
    },
    /// A peer completed the handshake.
    PeerConnected {
        /// The torrent.
        torrent: TorrentId,
        /// The peer.
        address: SocketAddr,
        /// Whether it dialled us.
        incoming: bool,
    },
    /// A peer that had completed the handshake is gone.
    PeerDisconnected {
        /// The torrent.
        torrent: TorrentId,
        /// The peer.
        address: SocketAddr,
        /// Why.
        reason: DisconnectReason,
    },
    /// An address is not talked to any more.
    PeerBanned {
        /// The torrent for which it was caught.
        torrent: TorrentId,
        /// The peer.
        address: SocketAddr,
        /// What it did.
        blame: Blame,
    },
    /// A tracker answered an announce.
    TrackerReplied {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker's URL, without its query string.
        url: String,
        /// How many peers it named.
        peers: u32,
        /// What it wants the user to know.
        warning: Option<String>,
    },
    /// A tracker could not be reached, or refused.
    TrackerFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker's URL, without its query string.
        url: String,
        /// What happened.
        error: String,
        /// Seconds until it is asked again; never, where there are none, for the reason that `error` gives.
        retry_in: Option<u32>,
    },
    /// A lookup of a torrent in the DHT is over.
    DhtReplied {
        /// The torrent.
        torrent: TorrentId,
        /// How many peers it named.
        peers: u32,
        /// How many nodes took our announce.
        nodes: u32,
    },
    /// The disk failed; the torrent waits until it works again.
    StorageFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Which file, and why.
        error: DiskError,
    },
    /// The disk works again.
    StorageRecovered {
        /// The torrent.
        torrent: TorrentId,
    },
    /// A peer that the user named, or a magnet link did, is not to be had. Of peers from other sources nobody is told:
    /// many of them are gone. It is tried again later, unless its name is not known.
    PeerFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Host and port, as they were named; of a host name that has been looked up, the address.
        peer: String,
        /// Why.
        error: PeerError,
    },
}

impl Notice {
    /// The torrent that it is about.
    #[must_use]
    pub fn torrent(&self) -> TorrentId {
        match self {
            Self::Added { torrent, .. }
            | Self::Removed { torrent }
            | Self::State { torrent, .. }
            | Self::MetadataReceived { torrent, .. }
            | Self::MetadataUnusable { torrent, .. }
            | Self::Checked { torrent, .. }
            | Self::Piece { torrent, .. }
            | Self::PieceFailed { torrent, .. }
            | Self::FileCompleted { torrent, .. }
            | Self::FileLonger { torrent, .. }
            | Self::Completed { torrent }
            | Self::GoalReached { torrent }
            | Self::PeerConnected { torrent, .. }
            | Self::PeerDisconnected { torrent, .. }
            | Self::PeerBanned { torrent, .. }
            | Self::TrackerReplied { torrent, .. }
            | Self::TrackerFailed { torrent, .. }
            | Self::DhtReplied { torrent, .. }
            | Self::StorageFailed { torrent, .. }
            | Self::StorageRecovered { torrent }
            | Self::PeerFailed { torrent, .. } => *torrent,
        }
    }
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TorrentState {
    /// Only its info-hash is known: peers are asked for the rest.
    FetchingMetadata,
    /// Its storage is being opened, or looked through.
    Checking,
    /// Something wanted is missing.
    Downloading,
    /// All that is wanted is there, and others may have it.
    Seeding,
    /// The user, or a goal, stopped it.
    Paused,
    /// The disk failed; it goes on by itself when the cause is gone, unless that is a file of
    /// [somebody else's](crate::event::DiskErrorKind::Foreign).
    Failed,
    /// It is on its way out.
    Removing,
}

/// Why there is no connection with a peer that was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Its name could not be looked up.
    #[error(transparent)]
    Name(ContactError),
    /// The connection ended before the handshake.
    #[error("{}", before_handshake(.0))]
    Closed(CloseReason),
    /// Nothing came in time: no connection, or no handshake.
    #[error("no answer")]
    Silent,
    /// Whoever answered speaks another protocol, or of another torrent.
    #[error("whoever answers there does not have this torrent")]
    Stranger,
    /// It is not wanted: it is we ourselves, or it is banned, or there is no room.
    #[error(transparent)]
    Unwanted(DisconnectReason),
}

fn before_handshake(reason: &CloseReason) -> String {
    match reason {
        // What a client does that does not have the torrent.
        CloseReason::Remote => {
            "closed by the peer before its handshake; it may not have this torrent".into()
        }
        CloseReason::Local
        | CloseReason::Refused
        | CloseReason::Reset
        | CloseReason::TimedOut
        | CloseReason::Unreachable
        | CloseReason::Denied
        | CloseReason::Exhausted
        | CloseReason::Failed => reason.to_string(),
    }
}

/// Why a peer is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The connection ended.
    #[error(transparent)]
    Closed(CloseReason),
    /// It broke a rule.
    #[error(transparent)]
    Blamed(Blame),
    /// It was silent for too long.
    #[error("silent for too long")]
    TimedOut,
    /// Neither side wants anything of the other.
    #[error("of no use to each other")]
    Useless,
    /// It is connected twice.
    #[error("connected twice")]
    Duplicate,
    /// Its place was needed.
    #[error("place needed")]
    Replaced,
    /// The torrent was paused, failed or removed.
    #[error("the torrent stopped")]
    Stopped,
    /// The user banned its address.
    #[error("banned by the user")]
    Banned,
}
