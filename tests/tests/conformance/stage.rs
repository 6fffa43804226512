//! What the scenarios have in common: torrents, clients, and an ear for what clients tell.

use std::net::SocketAddr;
use std::path::PathBuf;

use anabranch_driver::engine::Notice;
use anabranch_driver::{AddOptions, Source};
use anabranch_tests::scripted::Gate;
use anabranch_tests::{Scratch, data};

use crate::ground::{AnyClient, AnyNotices, AnyTorrent, Ground, Script, Setup};

/// Bytes in a piece of the torrents here: four blocks.
pub(crate) const PIECE: u64 = 64 << 10;

/// A client that has just been started.
pub(crate) fn client<G: Ground>() -> G::Client {
    G::start(Setup::default())
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
        AddOptions::new().dir(self.scratch.join(dir))
    }

    /// The same, with somebody to get it from.
    pub(crate) fn fetched(&self, dir: &str, peers: &[SocketAddr]) -> AddOptions {
        self.below(dir).peers(peers.iter().copied())
    }

    /// A client that has the torrent whole.
    pub(crate) async fn seeder<G: Ground>(&self) -> G::Client {
        let client = client::<G>();
        self.seed(&client).await;
        client
    }

    /// Has a client seed the origin.
    pub(crate) async fn seed<C: AnyClient>(&self, client: &C) -> <C::Ground as Ground>::Torrent {
        let torrent = client.take(self, self.below("origin")).await;
        let torrent = torrent.expect("added");
        torrent.wait_complete().await.expect("it is all there");
        torrent
    }

    /// A scripted peer that gives `blocks` blocks away, and the others when the gate is opened.
    pub(crate) fn halting_seed<G: Ground>(&self, blocks: u32) -> (G::Peer, Gate) {
        let gate = Gate::default();
        let script = Script {
            halt: Some((blocks, gate.clone())),
            ..Script::default()
        };
        (G::scripted(self, script), gate)
    }
}

/// What a client tells, from before anything happened.
pub(crate) struct Ear<N> {
    notices: N,
    pub(crate) heard: Vec<Notice>,
}

impl<N: AnyNotices> Ear<N> {
    pub(crate) fn new(notices: N) -> Self {
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
        Notice::PeerBanned { blame, .. } => format!("banned: {blame}"),
        Notice::StorageFailed { error, .. } => format!("storage: {}", error.kind),
        Notice::StorageRecovered { .. } => "storage recovered".into(),
        _ => return None,
    })
}

pub(crate) fn is_piece(notice: &Notice) -> bool {
    matches!(notice, Notice::Piece { .. })
}
