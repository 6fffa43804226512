//! What a command tells, whatever form it is told in.

use std::net::SocketAddr;

use anabranch_core::TorrentState;
use serde::Serialize;

use crate::exit::Failure;

/// One thing that a command tells. With `--json` each is one line: an object whose field `event` is
/// the name of the variant in snake case, such as `{"event":"listening","address":"0.0.0.0:6881"}`.
///
/// This is the schema: fields are not renamed, removed or given another meaning within a major
/// version; events and fields may be added, so readers skip what they do not know. Sizes are in bytes,
/// rates in bytes a second, and what is not known is `null`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Peers can connect. Comes first, once for each address.
    Listening {
        /// Address and port.
        address: SocketAddr,
    },
    /// A magnet link was taken on; `added` follows when its torrent is there.
    Fetching {
        #[serde(flatten)]
        torrent: Torrent,
        /// The folder that its file or folder will lie in; null if nothing is to be stored.
        dir: Option<String>,
    },
    /// Something is missing, and these are asked for peers. Told once.
    Seeking {
        #[serde(flatten)]
        torrent: Torrent,
        /// How many trackers.
        trackers: u32,
        /// Whether the distributed hash table is.
        dht: bool,
        /// Whether the local network is.
        local: bool,
        /// How many peers the user or the magnet link named.
        peers: u32,
    },
    /// A peer that the user or the magnet link named is not to be had.
    PeerFailed {
        #[serde(flatten)]
        torrent: Torrent,
        /// Host and port.
        peer: String,
        /// Why.
        error: String,
    },
    /// A node of the distributed hash table that the user named is not to be had.
    DhtNodeFailed {
        /// Host and port.
        node: String,
        /// Why.
        error: String,
    },
    /// The distributed hash table was asked.
    Dht {
        #[serde(flatten)]
        torrent: Torrent,
        /// How many peers it named.
        peers: u32,
        /// How many nodes took our own announce.
        nodes: u32,
    },
    /// The torrent of a magnet link was fetched from peers, or had been in an earlier run.
    Fetched {
        #[serde(flatten)]
        torrent: Torrent,
        /// The torrent file, if it was to be saved.
        saved: Option<String>,
    },
    /// A torrent was taken on, and what is in it is known.
    Added {
        #[serde(flatten)]
        torrent: Torrent,
        /// The folder that its file or folder lies in.
        dir: String,
        /// Bytes of all files.
        size: u64,
        /// Bytes of the files that are wanted.
        wanted: u64,
        /// How many files are wanted.
        files: u32,
        /// How many pieces there are.
        pieces: u32,
    },
    /// What was on the disk has been looked at.
    Checked {
        #[serde(flatten)]
        torrent: Torrent,
        /// Pieces that are there.
        have: u32,
        /// Pieces in all.
        pieces: u32,
    },
    /// Where a torrent stands: once a second, when its first piece has come, and with `completed`: before it if the
    /// torrent stops then, and after it if it seeds.
    Progress(Box<Progress>),
    /// A file whose pieces all match is longer than the torrent says.
    FileLonger {
        #[serde(flatten)]
        torrent: Torrent,
        /// Its path below the download folder.
        path: String,
        /// Bytes that it had.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
        /// Whether it was cut to that; else it was left as it is.
        cut: bool,
    },
    /// Where all torrents together stand, if there are several: after the `progress` of each, and at the end before
    /// the first `stopped`.
    Total(Total),
    /// All that is wanted is there and verified.
    Completed {
        #[serde(flatten)]
        torrent: Torrent,
        /// Bytes of the files that were wanted.
        size: u64,
        /// Bytes downloaded in this run; 0 when all was there.
        downloaded: u64,
        /// Milliseconds that the download took. Fetching a magnet link's torrent, looking at what was there,
        /// and waiting for a disk that fails are not counted.
        elapsed_ms: u64,
    },
    /// A downloaded piece did not match and is fetched again.
    PieceFailed {
        #[serde(flatten)]
        torrent: Torrent,
        /// Which piece, from 0.
        piece: u32,
    },
    /// A peer is not talked to any more.
    PeerBanned {
        #[serde(flatten)]
        torrent: Torrent,
        /// The peer.
        address: SocketAddr,
        /// What it did.
        reason: String,
    },
    /// A tracker answered, or failed.
    Tracker {
        #[serde(flatten)]
        torrent: Torrent,
        /// Its URL, without the query string.
        url: String,
        /// How many peers it named, if it answered.
        peers: Option<u32>,
        /// What it wants the user to know.
        warning: Option<String>,
        /// What went wrong, if it did not answer.
        error: Option<String>,
        /// Seconds until it is asked again after an error; none, if it is not.
        retry_in: Option<u32>,
    },
    /// The disk failed; the torrent waits until it works again.
    StorageFailed {
        #[serde(flatten)]
        torrent: Torrent,
        /// Which file, and why.
        error: String,
        /// What to do about it.
        advice: String,
    },
    /// The disk works again.
    StorageRecovered {
        #[serde(flatten)]
        torrent: Torrent,
    },
    /// The goal of seeding is reached.
    GoalReached {
        #[serde(flatten)]
        torrent: Torrent,
        /// Bytes uploaded, in this run and before.
        uploaded: u64,
    },
    /// The command was asked to end, and tidies up.
    Stopping,
    /// The end takes more than a moment.
    Waiting {
        /// What is waited for.
        message: String,
    },
    /// A torrent's last event.
    Stopped {
        #[serde(flatten)]
        torrent: Torrent,
        /// Whether all that is wanted is there.
        complete: bool,
        /// Bytes that are wanted.
        wanted: u64,
        /// Bytes of them that are there.
        have: u64,
        /// Bytes that came in this run for pieces which are not complete yet. They are kept for the next.
        unfinished: u64,
        /// Bytes downloaded in this run.
        downloaded: u64,
        /// Bytes uploaded in this run.
        uploaded: u64,
    },
    /// Data is being hashed, by `create` and `verify`; once a second.
    Hashing {
        /// Bytes hashed.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A torrent was made.
    Created {
        #[serde(flatten)]
        torrent: Torrent,
        /// The torrent file.
        path: String,
        /// Bytes of all files.
        size: u64,
        /// How many files.
        files: u32,
        /// How many pieces.
        pieces: u32,
        /// Bytes of a piece.
        piece_length: u32,
    },
    /// Something about the input that is worth knowing, and does not stop the command.
    Warning {
        /// What.
        message: String,
    },
    /// One of several torrents failed, or something that was asked for it: the others go on. The command
    /// ends with an `error` then.
    Failed {
        /// Which, and what happened.
        message: String,
        /// What to do about it.
        advice: Option<String>,
        /// The exit code that a command has with this torrent alone.
        code: u8,
    },
    /// The command failed. The last event.
    Error {
        /// What happened.
        message: String,
        /// What to do about it.
        advice: Option<String>,
        /// The exit code.
        code: u8,
    },
}

/// Which torrent an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Torrent {
    /// The info-hash, in hexadecimal.
    pub(crate) info_hash: String,
    /// The name, made safe as that of a file.
    pub(crate) name: String,
}

/// Where a torrent stands.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Progress {
    #[serde(flatten)]
    pub(crate) torrent: Torrent,
    /// `fetching_metadata`, `checking`, `downloading`, `seeding`, `paused`, `failed` or `removing`.
    #[serde(serialize_with = "state_name")]
    pub(crate) state: TorrentState,
    /// What holds it back, if anything does.
    pub(crate) hindrance: Option<String>,
    /// How far the torrent of a magnet link is, as long as it is fetched.
    pub(crate) metadata: Option<Metadata>,
    /// Bytes that are wanted.
    pub(crate) wanted: u64,
    /// Bytes of them that are there and verified.
    pub(crate) have: u64,
    /// Pieces in all.
    pub(crate) pieces: u32,
    /// Pieces that are there and verified.
    pub(crate) pieces_have: u32,
    /// Pieces still to be looked at while `checking`.
    pub(crate) pieces_unchecked: u32,
    /// Bytes downloaded in this run.
    pub(crate) downloaded: u64,
    /// Bytes uploaded in this run.
    pub(crate) uploaded: u64,
    /// Bytes downloaded in this run that were of no use.
    pub(crate) wasted: u64,
    /// Bytes a second towards us.
    pub(crate) download_rate: u64,
    /// Bytes a second away from us.
    pub(crate) upload_rate: u64,
    /// Seconds until all is there, at the present rate.
    pub(crate) eta: Option<u64>,
    /// Connected peers.
    pub(crate) peers: u32,
    /// Those of them that have everything.
    pub(crate) seeds: u32,
}

/// Where all torrents of a run stand together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    /// How many they are.
    pub(crate) torrents: u32,
    /// Those of them that have all that is wanted.
    pub(crate) complete: u32,
    /// Bytes that are wanted.
    pub(crate) wanted: u64,
    /// Bytes of them that are there and verified.
    pub(crate) have: u64,
    /// Bytes downloaded in this run.
    pub(crate) downloaded: u64,
    /// Bytes uploaded in this run.
    pub(crate) uploaded: u64,
    /// Bytes a second towards us: measured, and not the sum of the torrents' rates, each of which is an average
    /// over a time of its own.
    pub(crate) download_rate: u64,
    /// Bytes a second away from us.
    pub(crate) upload_rate: u64,
    /// Seconds until all is there, at the present rate.
    pub(crate) eta: Option<u64>,
    /// Connections to peers.
    pub(crate) peers: u32,
}

/// How far the torrent of a magnet link is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Metadata {
    /// Bytes that have come.
    pub(crate) received: u32,
    /// Bytes in all, if known.
    pub(crate) total: Option<u32>,
    /// Connected peers that have it.
    pub(crate) peers: u32,
}

impl Event {
    /// A failure that concerns one torrent of several.
    pub(crate) fn from_loss(failure: &Failure) -> Self {
        Self::Failed {
            message: failure.message().to_owned(),
            advice: failure.advice().map(str::to_owned),
            code: failure.exit().code(),
        }
    }
}

impl From<&Failure> for Event {
    fn from(failure: &Failure) -> Self {
        Self::Error {
            message: failure.whole(),
            advice: failure.advice().map(str::to_owned),
            code: failure.exit().code(),
        }
    }
}

pub(crate) fn state(state: TorrentState) -> &'static str {
    match state {
        TorrentState::FetchingMetadata => "fetching_metadata",
        TorrentState::Checking => "checking",
        TorrentState::Downloading => "downloading",
        TorrentState::Seeding => "seeding",
        TorrentState::Paused => "paused",
        TorrentState::Failed => "failed",
        TorrentState::Removing => "removing",
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde wants a function that takes a reference"
)]
fn state_name<S: serde::Serializer>(of: &TorrentState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state(*of))
}
