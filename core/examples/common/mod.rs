//! What the two clients with sockets share, so that their own files show nothing but their loops.

pub(crate) mod files;
pub(crate) mod http;

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use anabranch_core::command::AddTorrent;
use anabranch_core::event::{CloseReason, ContactError, OpResult};
use anabranch_core::id::{RequestId, Ticket};
use anabranch_core::{Command, Event, Notice, Seed, UnixTime};

/// The command line: `FILE.torrent DIR [PEER...]`, peers as address and port.
pub(crate) struct Args {
    pub(crate) folder: PathBuf,
    pub(crate) add: AddTorrent,
}

impl Args {
    pub(crate) fn parse() -> Result<Self, Box<dyn Error>> {
        let mut args = env::args_os().skip(1);
        let (Some(torrent), Some(folder)) = (args.next(), args.next()) else {
            return Err("usage: FILE.torrent DIR [PEER...]".into());
        };
        let peers = args.map(|peer| {
            let peer = peer.to_string_lossy();
            let address = peer.parse::<SocketAddr>();
            address.map_err(|error| format!("peer {peer}: {error}"))
        });
        let torrent = fs::read(&torrent).map_err(|error| format!("{torrent:?}: {error}"))?;
        Ok(Self {
            folder: folder.into(),
            add: AddTorrent {
                metainfo: torrent.into(),
                peers: peers.collect::<Result<_, _>>()?,
                ..AddTorrent::default()
            },
        })
    }
}

/// A command as the event that carries it. Its answer is needed only if it is an error, so no two
/// need to be told apart.
pub(crate) fn command(command: Command) -> Event {
    Event::Command {
        request: RequestId(0),
        command: Box::new(command),
    }
}

/// 32 bytes that nobody can guess: the keys of the standard library's hash maps come from the
/// operating system, and what is hashed under such a key cannot be told without it.
pub(crate) fn seed() -> Seed {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    Seed(seed)
}

/// The wall clock, which the engine needs as data only.
pub(crate) fn wall() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// Looks a name up, which blocks.
pub(crate) fn resolve(host: &str) -> OpResult {
    let found = (host, 0).to_socket_addrs();
    let found = found.map(|found| found.map(|address| address.ip()).collect());
    OpResult::Resolved(found.map_err(|_| ContactError::NoSuchHost))
}

/// Connections that came in, until the engine has accepted or refused them.
pub(crate) struct Callers<S> {
    streams: BTreeMap<Ticket, S>,
    count: u64,
}

impl<S> Callers<S> {
    pub(crate) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            count: 0,
        }
    }

    /// Keeps one, under a ticket of its own.
    pub(crate) fn admit(&mut self, stream: S, from: SocketAddr) -> Event {
        self.count += 1;
        let ticket = Ticket(self.count);
        self.streams.insert(ticket, stream);
        Event::Incoming { ticket, from }
    }

    /// Hands one out. The engine answers to each ticket once.
    pub(crate) fn take(&mut self, ticket: Ticket) -> io::Result<S> {
        let stream = self.streams.remove(&ticket);
        stream.ok_or_else(|| io::Error::other("a ticket that nobody has"))
    }
}

/// Tells the user. Whether this was the notice that all is there.
pub(crate) fn is_complete(notice: &Notice) -> bool {
    println!("{notice:?}");
    matches!(notice, Notice::Completed { .. })
}

/// Why a connection ended, in the engine's words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has more kinds of errors than the engine tells apart"
)]
pub(crate) fn close_reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseReason::Reset,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            CloseReason::Unreachable
        }
        _ => CloseReason::Failed,
    }
}
