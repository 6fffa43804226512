//! rqbit, through its HTTP interface and what it logs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{port_of, utf8};
use crate::process::{Process, Stream};
use crate::{Scratch, Torrent, address, net, wait};

/// A running rqbit.
#[derive(Debug)]
pub struct Rqbit {
    process: Process,
    api: SocketAddr,
    peer: SocketAddr,
}

impl Rqbit {
    /// Seeds what is in `folder`, after a check of it.
    #[must_use]
    pub fn seed(scratch: &Scratch, torrent: &Torrent, folder: &Path) -> Self {
        let args = ["--overwrite", utf8(&torrent.path)];
        let rqbit = Self::start(scratch, &download(folder, &args));
        wait::until("rqbit to seed", || (rqbit.seeding() == 1).then_some(()));
        rqbit
    }

    /// Downloads into `folder` from these peers, and ends when that is done.
    #[must_use]
    pub fn download(
        scratch: &Scratch,
        torrent: &Torrent,
        folder: &Path,
        peers: &[SocketAddr],
    ) -> Self {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let peers = format!("--initial-peers={}", peers.join(","));
        let args = ["--exit-on-finish", &peers, utf8(&torrent.path)];
        Self::start(scratch, &download(folder, &args))
    }

    /// Begins to download what a magnet link stands for into `folder`.
    #[must_use]
    pub fn fetch(scratch: &Scratch, link: &str, folder: &Path, extra: &[&str]) -> Self {
        let args = [extra, &[link]].concat();
        Self::start(scratch, &download(folder, &args))
    }

    /// The same from peers that it finds in a DHT by one of its nodes.
    #[must_use]
    pub fn fetch_in_dht(scratch: &Scratch, link: &str, folder: &Path, node: SocketAddr) -> Self {
        let node = format!("--dht-bootstrap-addrs={node}");
        let dht = ["--disable-dht-persistence", &node];
        Self::start_with(scratch, &dht, &download(folder, &[link]))
    }

    /// Checks what is in `folder`, and ends if all is there.
    #[must_use]
    pub fn recheck(scratch: &Scratch, torrent: &Torrent, folder: &Path) -> Process {
        let args = ["--exit-on-finish", "--overwrite", utf8(&torrent.path)];
        Self::start(scratch, &download(folder, &args)).process
    }

    /// Makes a torrent of a file or folder with pieces of a length of its choice, and seeds it.
    #[must_use]
    pub fn share(scratch: &Scratch, content: &Path) -> Self {
        Self::start(scratch, &["share", utf8(content)])
    }

    /// Runs it as a daemon without torrents, and waits until it can be told of some.
    #[must_use]
    pub fn serve(scratch: &Scratch, folder: &Path) -> Self {
        let args = ["server", "start", "--disable-persistence", utf8(folder)];
        let rqbit = Self::start(scratch, &args);
        wait::until("rqbit's HTTP interface", || rqbit.torrents());
        rqbit
    }

    /// Tells a daemon of a torrent whose data is in `folder`.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub fn add(&self, torrent: &Torrent, folder: &Path) {
        let target = format!("/torrents?overwrite=true&output_folder={}", utf8(folder));
        let bytes = std::fs::read(&torrent.path).expect("a torrent file");
        let reply = net::http(self.api, "POST", &target, &[], &bytes).expect("a reply of rqbit");
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.code, 200, "rqbit: {text}");
    }

    /// How many torrents it has all of and offers.
    #[must_use]
    pub fn seeding(&self) -> usize {
        let torrents = self.torrents().unwrap_or_default();
        let is_ready = |torrent: &&Value| {
            let stats = &torrent["stats"];
            stats["finished"] == true && stats["state"] == "live"
        };
        torrents.iter().filter(is_ready).count()
    }

    /// Whether a download is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.has_logged("torrent finished downloading")
    }

    /// Whether it has taken a torrent on.
    #[must_use]
    pub fn has_added(&self) -> bool {
        self.has_logged("added torrent")
    }

    /// Whether it has a verified piece.
    #[must_use]
    pub fn has_piece(&self) -> bool {
        let torrents = self.torrents().unwrap_or_default();
        let mut have = torrents
            .iter()
            .map(|torrent| torrent["stats"]["progress_bytes"].as_u64());
        have.any(|have| have > Some(0))
    }

    /// Where it accepts peers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.peer
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until it ends, and says whether it ended well.
    ///
    /// # Errors
    ///
    /// What it said, when it did not.
    pub fn finish(self) -> Result<(), String> {
        let exit = self.process.wait_exit();
        if exit.status.success() {
            return Ok(());
        }
        Err(format!("failed: {}\n{}", exit.status, exit.stderr))
    }

    /// Its version.
    #[must_use]
    pub fn version() -> String {
        let text = super::run(Command::new("rqbit").arg("--version"));
        text.trim().to_owned()
    }

    fn start(scratch: &Scratch, args: &[&str]) -> Self {
        Self::start_with(scratch, &["--disable-dht"], args)
    }

    fn start_with(scratch: &Scratch, dht: &[&str], args: &[&str]) -> Self {
        let (api, peer) = (port_of(address::RQBIT), port_of(address::RQBIT));
        let process = Process::spawn(
            "rqbit",
            Command::new("rqbit")
                .args(dht)
                .args(["--disable-lsd", "--disable-trackers"])
                .args(["--disable-upnp-port-forward", "--ipv4-only"])
                .arg(format!("--listen-ip={}", peer.ip()))
                .arg(format!("--listen-port={}", peer.port()))
                .arg(format!("--http-api-listen-addr={api}"))
                .args(args)
                .env("HOME", scratch.folder("rqbit")),
        );
        Self { process, api, peer }
    }

    fn torrents(&self) -> Option<Vec<Value>> {
        let reply = net::http(self.api, "GET", "/torrents?with_stats=true", &[], &[]).ok()?;
        let mut reply: Value = serde_json::from_slice(&reply.body).ok()?;
        match reply["torrents"].take() {
            Value::Array(torrents) => Some(torrents),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => None,
        }
    }

    fn has_logged(&self, text: &str) -> bool {
        let said = |stream| {
            let lines = self.process.lines(stream);
            lines.iter().any(|line| line.contains(text))
        };
        said(Stream::Out) || said(Stream::Err)
    }
}

fn download<'a>(folder: &'a Path, args: &[&'a str]) -> Vec<&'a str> {
    [&["download", "--output-folder", utf8(folder)], args].concat()
}
