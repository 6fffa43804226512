//! What a handle can answer beside success.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use anabranch_core::error::CommandError;
use thiserror::Error;

use crate::fetch::FetchError;

/// A client could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on: another program has the port, or the machine does not have
    /// the address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        source: io::Error,
    },
    /// The file to record to cannot be made: it is there already, or the folder is not.
    #[error("cannot record to {}: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system: {0}")]
    Entropy(getrandom::Error),
    /// The runtime could not take over a socket, or start the loop.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

/// A request to a client or a torrent failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused it.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The .torrent file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadTorrent {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The .torrent file could not be fetched.
    #[error("cannot fetch {url}: {source}")]
    FetchTorrent {
        /// Where it should be.
        url: String,
        /// Why not.
        source: FetchError,
    },
    /// The torrent needs a folder to download to, and neither the client nor the request named one.
    #[error("no download folder was given")]
    NoFolder,
    /// The torrent was removed while this was waited for.
    #[error("the torrent has been removed")]
    Removed,
    /// The engine gave the answer of another command: a mistake of this library.
    #[error("the engine gave the answer of another command")]
    Unexpected,
    /// The client has been stopped.
    #[error("the client has been stopped")]
    Stopped,
    /// The client was ended before everything was saved: it took too long.
    #[error("the client was stopped before all its data was saved")]
    Unfinished,
}
