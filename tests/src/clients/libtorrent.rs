//! libtorrent, through a script on its Python binding.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{port_of, utf8};
use crate::process::{Process, Stream};
use crate::{Torrent, address};

/// The binding is built for the distribution's Python, whichever is first on the path.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_peer.py");
const CREATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_create.py");
const IDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_idle.py");

pub(super) fn is_installed() -> bool {
    let output = Command::new(PYTHON).args([SCRIPT, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// A running session with one torrent.
#[derive(Debug)]
pub struct Libtorrent {
    process: Process,
    address: SocketAddr,
}

impl Libtorrent {
    /// Seeds what is in `folder`, after a check of it.
    #[must_use]
    pub fn seed(torrent: &Torrent, folder: &Path) -> Self {
        let session = Self::start(torrent, folder, &[]);
        session.wait_complete();
        session
    }

    /// Seeds what is in `folder` without a check.
    #[must_use]
    pub fn seed_unchecked(torrent: &Torrent, folder: &Path) -> Self {
        Self::start(torrent, folder, &["--trusted"])
    }

    /// Seeds what is in `folder` at so many bytes a second.
    #[must_use]
    pub fn seed_slowly(torrent: &Torrent, folder: &Path, rate: u64) -> Self {
        let session = Self::start(torrent, folder, &["--limit-up", &rate.to_string()]);
        session.wait_complete();
        session
    }

    /// One of many seeders, at an address of its own, after a check of what is in `folder`.
    #[must_use]
    pub fn seed_at(ip: &str, torrent: &Torrent, folder: &Path) -> Self {
        let session = Self::start_at(ip, utf8(&torrent.path), folder, &["--no-pex"]);
        session.wait_complete();
        session
    }

    /// One of many leechers, at an address of its own, which hears of no other peers.
    #[must_use]
    pub fn download_at(ip: &str, torrent: &Torrent, folder: &Path, peers: &[SocketAddr]) -> Self {
        let peers: Vec<String> = peers.iter().map(|peer| format!("--peer={peer}")).collect();
        let peers = peers.iter().map(String::as_str);
        let extra: Vec<&str> = peers.chain(["--no-pex"]).collect();
        Self::start_at(ip, utf8(&torrent.path), folder, &extra)
    }

    /// Downloads into `folder` and seeds afterwards.
    #[must_use]
    pub fn download(torrent: &Torrent, folder: &Path, peers: &[SocketAddr]) -> Self {
        let peers: Vec<String> = peers.iter().map(|peer| format!("--peer={peer}")).collect();
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        Self::start(torrent, folder, &peers)
    }

    /// Downloads what a magnet link stands for into `folder`, and seeds afterwards.
    #[must_use]
    pub fn download_magnet(link: &str, folder: &Path) -> Self {
        Self::start_with(link, folder, &[])
    }

    /// Seeds what is in `folder` without a check, and looks for peers in the local network.
    #[must_use]
    pub fn seed_locally(torrent: &Torrent, folder: &Path) -> Self {
        Self::start(torrent, folder, &["--trusted", "--lsd"])
    }

    /// Downloads into `folder` from peers that it finds in the local network.
    #[must_use]
    pub fn download_locally(torrent: &Torrent, folder: &Path) -> Self {
        Self::start(torrent, folder, &["--lsd"])
    }

    /// The library's version.
    #[must_use]
    pub fn version() -> String {
        super::run(Command::new(PYTHON).args([SCRIPT, "--version"]))
            .trim()
            .to_owned()
    }

    fn start(torrent: &Torrent, folder: &Path, extra: &[&str]) -> Self {
        Self::start_with(utf8(&torrent.path), folder, extra)
    }

    fn start_with(torrent: &str, folder: &Path, extra: &[&str]) -> Self {
        Self::start_at(address::LIBTORRENT, torrent, folder, extra)
    }

    fn start_at(ip: &str, torrent: &str, folder: &Path, extra: &[&str]) -> Self {
        let listen = port_of(ip).to_string();
        let process = Process::spawn_listening(
            "libtorrent",
            Command::new(PYTHON)
                .args([SCRIPT, torrent, "--dir", utf8(folder), "--listen", &listen])
                .args(extra),
        );
        let address = process.wait_line("its address", |stream, line| {
            let said = event(stream, line, "listening")?;
            said["address"].as_str()?.parse().ok()
        });
        Self { process, address }
    }

    /// Where it accepts peers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Makes it dial a peer.
    pub fn connect(&mut self, peer: SocketAddr) {
        self.process.say(&peer.to_string());
    }

    /// Whether it has every byte, on disk.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let lines = self.process.lines(Stream::Out);
        let mut lines = lines.iter();
        lines.any(|line| event(Stream::Out, line, "completed").is_some())
    }

    /// Waits until it has every byte.
    ///
    /// # Panics
    ///
    /// When that takes too long, or libtorrent gives up.
    pub fn wait_complete(&self) {
        self.process.wait_line("its completion", |stream, line| {
            let failed = event(stream, line, "error");
            assert!(failed.is_none(), "libtorrent: {failed:?}");
            event(stream, line, "completed")
        });
    }
}

/// Makes a torrent; runs to its end.
#[must_use]
pub fn libtorrent_create(content: &Path, to: &Path, piece_length: u64) -> Process {
    Process::spawn(
        "libtorrent",
        Command::new(PYTHON)
            .args([CREATE, utf8(content), utf8(to)])
            .arg(piece_length.to_string()),
    )
}

/// Seeds all torrents of one folder with the data in another; says `ready` when every one is complete.
#[must_use]
pub fn libtorrent_idle(torrents: &Path, folder: &Path) -> Process {
    Process::spawn(
        "libtorrent",
        Command::new(PYTHON)
            .args([IDLE, utf8(torrents), utf8(folder)])
            .arg(port_of(address::LIBTORRENT).to_string()),
    )
}

fn event(stream: Stream, line: &str, name: &str) -> Option<Value> {
    let said: Value = (stream == Stream::Out).then(|| serde_json::from_str(line).ok())??;
    (said["event"] == name).then_some(said)
}
