//! aria2, through its RPC. It takes no peer by hand, so it always needs a tracker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{port_of, utf8};
use crate::process::{Process, Stream};
use crate::{Scratch, Torrent, address, net, wait};

/// A running aria2 with one torrent.
#[derive(Debug)]
pub struct Aria2 {
    process: Process,
    rpc: SocketAddr,
    peer: SocketAddr,
}

impl Aria2 {
    /// Seeds what is in `folder`.
    #[must_use]
    pub fn seed(scratch: &Scratch, torrent: &Torrent, folder: &Path) -> Self {
        let aria2 = Self::start(scratch, torrent, folder, &["--check-integrity=true"]);
        aria2.wait_complete();
        aria2
    }

    /// Downloads into `folder`, and seeds afterwards.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn download(scratch: &Scratch, torrent: &Torrent, folder: &Path) -> Self {
        Self::start(scratch, torrent, folder, &[])
    }

    /// Downloads what a magnet link stands for into `folder`, to the end.
    #[must_use]
    pub fn download_magnet(scratch: &Scratch, link: &str, folder: &Path) -> Process {
        let mut command = bare_command(scratch, folder, port_of(address::ARIA2));
        // It ends when it is complete instead of seeding.
        Process::spawn("aria2c", command.args(["--seed-time=0", link]))
    }

    /// Begins to download what a magnet link stands for into `folder`. The disk cache is aria2's default.
    #[must_use]
    pub fn fetch(scratch: &Scratch, link: &str, folder: &Path, extra: &[&str]) -> Self {
        let (rpc, peer) = (port_of(address::ANABRANCH), port_of(address::ARIA2));
        let process = Process::spawn(
            "aria2c",
            bare_command(scratch, folder, peer)
                .arg("--enable-rpc")
                .arg(format!("--rpc-listen-port={}", rpc.port()))
                .arg(format!(
                    "--dht-file-path={}",
                    utf8(&scratch.join("aria2/dht"))
                ))
                .args(extra)
                .arg(link),
        );
        Self { process, rpc, peer }
    }

    /// Whether it has the torrent that a magnet link stands for.
    #[must_use]
    pub fn has_fetched(&self) -> bool {
        let lines = self.process.lines(Stream::Out);
        let mut lines = lines.iter();
        lines.any(|line| line.contains("complete") && line.contains("[METADATA]"))
    }

    /// Whether it has a verified piece of what a magnet link stands for.
    #[must_use]
    pub fn has_piece(&self) -> bool {
        let active = self.active().unwrap_or_default();
        let downloads = active.as_array().map_or(&[][..], Vec::as_slice);
        // The torrent itself is a download, too, which the other follows.
        let mut data = downloads.iter().filter(|one| one["following"].is_string());
        data.any(|one| {
            let bits = one["bitfield"].as_str().unwrap_or_default();
            bits.bytes().any(|digit| digit != b'0')
        })
    }

    /// Runs it without its RPC to the end that `extra` sets. The disk cache is aria2's default.
    #[must_use]
    pub fn run(scratch: &Scratch, torrent: &Torrent, folder: &Path, extra: &[&str]) -> Process {
        let peer = port_of(address::ARIA2);
        let mut command = command(scratch, torrent, folder, peer);
        Process::spawn("aria2c", command.args(extra))
    }

    fn start(scratch: &Scratch, torrent: &Torrent, folder: &Path, extra: &[&str]) -> Self {
        let (rpc, peer) = (port_of(address::ANABRANCH), port_of(address::ARIA2));
        let process = Process::spawn(
            "aria2c",
            command(scratch, torrent, folder, peer)
                .args(["--enable-rpc", "--disk-cache=0"])
                .arg(format!("--rpc-listen-port={}", rpc.port()))
                .args(extra),
        );
        Self { process, rpc, peer }
    }

    /// How many torrents it has all of and offers.
    #[must_use]
    pub fn seeding(&self) -> usize {
        let active = self.active().unwrap_or_default();
        let seeds = active.as_array().map_or(&[][..], Vec::as_slice);
        let is_seed = |torrent: &&Value| torrent["seeder"] == json!("true");
        seeds.iter().filter(is_seed).count()
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

    /// Waits until it has every byte.
    ///
    /// # Panics
    ///
    /// When that takes too long, or aria2 gives up.
    pub fn wait_complete(&self) {
        wait::until("aria2 to complete", || {
            (self.active()?[0]["seeder"] == json!("true")).then_some(())
        });
    }

    /// What it tells of each download that it is at.
    fn active(&self) -> Option<Value> {
        let fields = ["seeder", "following", "bitfield"];
        let request = json!({
            "jsonrpc": "2.0", "id": "1", "method": "aria2.tellActive", "params": [fields],
        });
        let body = request.to_string();
        let reply = net::http(self.rpc, "POST", "/jsonrpc", &[], body.as_bytes()).ok()?;
        let mut reply: Value = serde_json::from_slice(&reply.body).ok()?;
        Some(reply["result"].take())
    }
}

/// An aria2 that seeds all of these torrents with the data in `folder`, after a check of it.
#[must_use]
pub fn aria2_idle(scratch: &Scratch, torrents: &[Torrent], folder: &Path) -> Aria2 {
    let (rpc, peer) = (port_of(address::ANABRANCH), port_of(address::ARIA2));
    let process = Process::spawn(
        "aria2c",
        bare_command(scratch, folder, peer)
            .args(["--enable-rpc", "--check-integrity=true", "--seed-ratio=0.0"])
            .arg(format!("--rpc-listen-port={}", rpc.port()))
            .arg(format!("--max-concurrent-downloads={}", torrents.len()))
            .args(torrents.iter().map(|torrent| &torrent.path)),
    );
    Aria2 { process, rpc, peer }
}

fn command(scratch: &Scratch, torrent: &Torrent, folder: &Path, peer: SocketAddr) -> Command {
    let mut command = bare_command(scratch, folder, peer);
    command
        .arg("--seed-ratio=0.0")
        .arg(format!("--torrent-file={}", utf8(&torrent.path)));
    command
}

fn bare_command(scratch: &Scratch, folder: &Path, peer: SocketAddr) -> Command {
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--summary-interval=0"])
        .args([
            "--enable-dht=false",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
        ])
        .args(["--enable-peer-exchange=false", "--follow-torrent=false"])
        .args(["--file-allocation=none", "--disable-ipv6=true"])
        .args(["--console-log-level=notice", "--show-console-readout=false"])
        .arg(format!("--interface={}", peer.ip()))
        .arg(format!("--listen-port={}", peer.port()))
        // UDP trackers are asked from the port of the DHT, which itself stays off.
        .arg(format!("--dht-listen-port={}", peer.port()))
        .arg(format!("--dir={}", utf8(folder)))
        .env("HOME", scratch.folder("aria2"));
    command
}
