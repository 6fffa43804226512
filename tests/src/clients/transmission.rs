//! transmission-daemon, through its RPC.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{port_of, utf8};
use crate::process::Process;
use crate::{Host, Scratch, Torrent, address, net, wait};

const PROGRAM: &str = "transmission-daemon";

/// A running daemon with a configuration of its own.
#[derive(Debug)]
pub struct Transmission {
    process: Process,
    place: Place,
    session: Mutex<String>,
}

/// Where it runs.
#[derive(Debug)]
struct Place {
    host: Option<Host>,
    rpc: SocketAddr,
    peer: SocketAddr,
}

impl Place {
    fn on(host: &Host) -> Self {
        Self {
            host: Some(host.clone()),
            rpc: ([127, 0, 0, 1], 9091).into(),
            peer: host.address(),
        }
    }
}

impl Transmission {
    /// Starts it with `folder` for its downloads. It dials nobody on loopback: others dial it.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start(scratch: &Scratch, folder: &Path) -> Self {
        // Complete means written: the test compares at once.
        Self::start_with_cache(scratch, folder, 0)
    }

    /// The same with a cache of so many megabytes; 4 is Transmission's default.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_with_cache(scratch: &Scratch, folder: &Path, megabytes: u32) -> Self {
        let place = Place {
            host: None,
            rpc: port_of(address::ANABRANCH),
            peer: port_of(address::TRANSMISSION),
        };
        let cache = ("cache-size-mb", json!(megabytes));
        Self::launch(scratch, folder, place, &[], cache)
    }

    /// The same, with uTP beside TCP.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_with_utp(scratch: &Scratch, folder: &Path) -> Self {
        let place = Place {
            host: None,
            rpc: port_of(address::ANABRANCH),
            peer: port_of(address::TRANSMISSION),
        };
        Self::launch(scratch, folder, place, &[], ("utp-enabled", json!(true)))
    }

    /// Starts it on a host, as a node of the DHT that knows these nodes.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_in_dht(
        host: &Host,
        scratch: &Scratch,
        folder: &Path,
        nodes: &[SocketAddr],
    ) -> Self {
        let dht = ("dht-enabled", json!(true));
        Self::launch(scratch, folder, Place::on(host), nodes, dht)
    }

    /// Starts it on a host, where it looks for peers in the local network.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start_locally(host: &Host, scratch: &Scratch, folder: &Path) -> Self {
        let local = ("lpd-enabled", json!(true));
        Self::launch(scratch, folder, Place::on(host), &[], local)
    }

    fn launch(
        scratch: &Scratch,
        folder: &Path,
        place: Place,
        nodes: &[SocketAddr],
        (setting, value): (&str, Value),
    ) -> Self {
        let (rpc, peer) = (place.rpc, place.peer);
        let config = scratch.folder(&format!("transmission-{}-{}", peer.ip(), peer.port()));
        let mut settings = json!({
            "bind-address-ipv4": peer.ip().to_string(),
            "bind-address-ipv6": "::1",
            "cache-size-mb": 0,
            "dht-enabled": false,
            "download-dir": utf8(folder),
            "download-queue-enabled": false,
            "idle-seeding-limit-enabled": false,
            "lpd-enabled": false,
            "peer-port": peer.port(),
            "pex-enabled": false,
            "port-forwarding-enabled": false,
            "ratio-limit-enabled": false,
            "rename-partial-files": false,
            "rpc-bind-address": rpc.ip().to_string(),
            "rpc-port": rpc.port(),
            "rpc-whitelist-enabled": false,
            "seed-queue-enabled": false,
            "utp-enabled": false,
        });
        settings[setting] = value;
        fs::write(config.join("settings.json"), settings.to_string()).expect("settings");
        if !nodes.is_empty() {
            fs::write(config.join("dht.dat"), known(nodes)).expect("a state of the DHT");
        }
        let mut command = match &place.host {
            Some(host) => host.command(Path::new(PROGRAM)),
            None => Command::new(PROGRAM),
        };
        let process = Process::spawn(
            PROGRAM,
            command
                .args(["--foreground", "--log-info", "--config-dir", utf8(&config)])
                .env("HOME", &config),
        );
        let daemon = Self {
            process,
            place,
            session: Mutex::default(),
        };
        wait::until("transmission's RPC", || {
            daemon.try_call("session-get", &json!({}))
        });
        daemon
    }

    /// How many torrents it has all of and offers.
    #[must_use]
    pub fn seeding(&self) -> usize {
        let fields = json!({ "fields": ["leftUntilDone", "percentDone", "status"] });
        let reply = self.call("torrent-get", &fields);
        let torrents = reply["torrents"].as_array();
        let is_seed = |torrent: &&Value| {
            let all = torrent["leftUntilDone"] == json!(0) && torrent["percentDone"] == json!(1);
            all && torrent["status"] == json!(6)
        };
        torrents.map_or(0, |torrents| torrents.iter().filter(is_seed).count())
    }

    /// Where it accepts peers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.place.peer
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it as Ctrl-C does and waits: all it has is on disk then.
    pub fn stop(self) {
        self.process.interrupt();
        let _ = self.process.wait_exit();
    }

    /// Starts downloading.
    pub fn download(&self, torrent: &Torrent) {
        self.call("torrent-add", &json!({ "filename": utf8(&torrent.path) }));
    }

    /// Starts downloading what a magnet link stands for.
    pub fn download_magnet(&self, link: &str) {
        self.call("torrent-add", &json!({ "filename": link }));
    }

    /// Checks the data in its folder and seeds them.
    pub fn seed(&self, torrent: &Torrent) {
        self.add_paused(torrent);
        self.verify(torrent);
        self.wait_complete(torrent);
        self.call("torrent-start", &json!({ "ids": [torrent.hex()] }));
    }

    /// Takes a torrent up without connecting to anybody.
    pub fn add_paused(&self, torrent: &Torrent) {
        let path = utf8(&torrent.path);
        self.call("torrent-add", &json!({ "filename": path, "paused": true }));
    }

    /// Starts to check the data in its folder.
    pub fn verify(&self, torrent: &Torrent) {
        self.call("torrent-verify", &json!({ "ids": [torrent.hex()] }));
    }

    /// Waits until it has every byte.
    ///
    /// # Panics
    ///
    /// When that takes too long, or the daemon reports an error of its own.
    pub fn wait_complete(&self, torrent: &Torrent) {
        wait::until("transmission to complete", || {
            self.is_complete(torrent).then_some(())
        });
    }

    /// Whether it has every byte.
    ///
    /// # Panics
    ///
    /// When the daemon reports an error of its own.
    #[must_use]
    pub fn is_complete(&self, torrent: &Torrent) -> bool {
        let fields = json!({
            "ids": [torrent.hex()],
            "fields": ["leftUntilDone", "percentDone", "error", "errorString", "status"],
        });
        let reply = self.call("torrent-get", &fields);
        let state = &reply["torrents"][0];
        // 1 and 2 are what the tracker said, 3 is trouble of its own.
        assert_ne!(state["error"], json!(3), "transmission: {state}");
        // While it checks, what is left is not known yet.
        let settled = matches!(state["status"].as_u64(), Some(0 | 4 | 5 | 6));
        settled && state["leftUntilDone"] == json!(0) && state["percentDone"] == json!(1)
    }

    /// Whether it has the torrent that a magnet link stands for.
    #[must_use]
    pub fn has_metadata(&self, torrent: &Torrent) -> bool {
        self.number(torrent, "metadataPercentComplete") == Some(1.0)
    }

    /// Whether it has a verified piece.
    #[must_use]
    pub fn has_piece(&self, torrent: &Torrent) -> bool {
        self.number(torrent, "haveValid") > Some(0.0)
    }

    fn number(&self, torrent: &Torrent, field: &str) -> Option<f64> {
        let fields = json!({ "ids": [torrent.hex()], "fields": [field] });
        self.call("torrent-get", &fields)["torrents"][0][field].as_f64()
    }

    fn call(&self, method: &str, arguments: &Value) -> Value {
        self.try_call(method, arguments)
            .unwrap_or_else(|| panic!("transmission: no {method}"))
    }

    fn try_call(&self, method: &str, arguments: &Value) -> Option<Value> {
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        // The first reply of a daemon refuses, and bears the session's name to repeat.
        for _ in 0..2 {
            let session = self.session.lock().ok()?.clone();
            let headers = [("X-Transmission-Session-Id", session.as_str())];
            let target = "/transmission/rpc";
            let post = || net::http(self.place.rpc, "POST", target, &headers, body.as_bytes());
            let reply = match &self.place.host {
                Some(host) => host.within(post),
                None => post(),
            };
            let reply = reply.ok()?;
            if reply.code == 409 {
                reply
                    .header("X-Transmission-Session-Id")?
                    .clone_into(&mut *self.session.lock().ok()?);
                continue;
            }
            let reply: Value = serde_json::from_slice(&reply.body).ok()?;
            return (reply["result"] == json!("success")).then(|| reply["arguments"].clone());
        }
        None
    }
}

/// What it keeps of the DHT from one run to the next.
fn known(nodes: &[SocketAddr]) -> Vec<u8> {
    let compact: Vec<u8> = nodes
        .iter()
        .filter_map(|node| match node {
            SocketAddr::V4(v4) => Some((v4.ip().octets(), v4.port())),
            SocketAddr::V6(_) => None,
        })
        .flat_map(|(ip, port)| ip.into_iter().chain(port.to_be_bytes()))
        .collect();
    [
        format!("d5:nodes{}:", compact.len()).as_bytes(),
        &compact,
        b"e",
    ]
    .concat()
}
