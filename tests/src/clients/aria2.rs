//! aria2, through its RPC. It takes no peer by hand, so it always needs a tracker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{port_of, utf8};
use crate::process::Process;
use crate::{Scratch, Torrent, address, net, wait};

/// A running aria2 with one torrent.
#[derive(Debug)]
pub struct Aria2 {
    _process: Process,
    rpc: SocketAddr,
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

    fn start(scratch: &Scratch, torrent: &Torrent, folder: &Path, extra: &[&str]) -> Self {
        let (rpc, peer) = (port_of(address::ANABRANCH), port_of(address::ARIA2));
        let home = scratch.folder("aria2");
        let process = Process::spawn(
            "aria2c",
            Command::new("aria2c")
                .args(["--no-conf", "--enable-rpc", "--summary-interval=0"])
                .args([
                    "--enable-dht=false",
                    "--enable-dht6=false",
                    "--bt-enable-lpd=false",
                ])
                .args(["--enable-peer-exchange=false", "--follow-torrent=false"])
                .args([
                    "--file-allocation=none",
                    "--disk-cache=0",
                    "--seed-ratio=0.0",
                    "--disable-ipv6=true",
                ])
                .args(["--console-log-level=notice", "--show-console-readout=false"])
                .arg(format!("--rpc-listen-port={}", rpc.port()))
                .arg(format!("--interface={}", peer.ip()))
                .arg(format!("--listen-port={}", peer.port()))
                // UDP trackers are asked from the port of the DHT, which itself stays off.
                .arg(format!("--dht-listen-port={}", peer.port()))
                .arg(format!("--dir={}", utf8(folder)))
                .args(extra)
                .arg(format!("--torrent-file={}", utf8(&torrent.path)))
                .env("HOME", home),
        );
        Self {
            _process: process,
            rpc,
        }
    }

    /// Waits until it has every byte.
    ///
    /// # Panics
    ///
    /// When that takes too long, or aria2 gives up.
    pub fn wait_complete(&self) {
        let request = json!({
            "jsonrpc": "2.0", "id": "1", "method": "aria2.tellActive", "params": [["seeder"]],
        });
        let body = request.to_string();
        wait::until("aria2 to complete", || {
            let reply = net::http(self.rpc, "POST", "/jsonrpc", &[], body.as_bytes()).ok()?;
            let reply: Value = serde_json::from_slice(&reply.body).ok()?;
            (reply["result"][0]["seeder"] == json!("true")).then_some(())
        });
    }
}
