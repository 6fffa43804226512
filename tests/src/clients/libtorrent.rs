//! libtorrent, through a script on its Python binding.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{port_of, utf8};
use crate::process::{Process, Stream};
use crate::wait::LIMIT;
use crate::{Host, Torrent, address};

/// The binding is built for the distribution's Python, whichever is first on the path.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_peer.py");
const CREATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_create.py");
const IDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_idle.py");

/// How often nodes are asked for peers. They answer nobody who asks more than five times a second.
const LOOK: Duration = Duration::from_secs(1);

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

    /// Seeds what is in `folder` without a check, by uTP alone.
    #[must_use]
    pub fn seed_by_utp(ip: &str, torrent: &Torrent, folder: &Path) -> Self {
        Self::start_at(ip, utf8(&torrent.path), folder, &["--trusted", "--utp"])
    }

    /// Downloads into `folder` by uTP alone, and seeds afterwards.
    #[must_use]
    pub fn download_by_utp(ip: &str, torrent: &Torrent, folder: &Path, peer: SocketAddr) -> Self {
        let peer = format!("--peer={peer}");
        Self::start_at(ip, utf8(&torrent.path), folder, &["--utp", &peer])
    }

    /// Downloads what a magnet link stands for into `folder`, and seeds afterwards.
    #[must_use]
    pub fn download_magnet(link: &str, folder: &Path) -> Self {
        Self::start_with(link, folder, &[])
    }

    /// Downloads what a magnet link stands for at an address of its own. It says when it has the torrent, and when the
    /// first piece: see [`Libtorrent::has_said`].
    #[must_use]
    pub fn fetch_at(ip: &str, link: &str, folder: &Path, extra: &[&str]) -> Self {
        let extra = [&["--no-pex", "--tell-piece"], extra].concat();
        Self::start_at(ip, link, folder, &extra)
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

    /// Seeds what is in `folder` without a check, and announces it to a DHT by these nodes.
    #[must_use]
    pub fn seed_in_dht(torrent: &Torrent, folder: &Path, nodes: &[SocketAddr]) -> Self {
        let nodes = dht_nodes(nodes);
        let nodes = nodes.iter().map(String::as_str);
        let extra: Vec<&str> = std::iter::once("--trusted").chain(nodes).collect();
        Self::start(torrent, folder, &extra)
    }

    /// Downloads what a magnet link stands for from peers that it finds in a DHT by these nodes.
    #[must_use]
    pub fn download_magnet_in_dht(link: &str, folder: &Path, nodes: &[SocketAddr]) -> Self {
        let nodes = dht_nodes(nodes);
        let extra: Vec<&str> = nodes.iter().map(String::as_str).collect();
        Self::start_with(link, folder, &extra)
    }

    /// Seeds what is in `folder` without a check, on a host and as it is by default, DHT and local discovery aside:
    /// those are for `extra`, which the script takes.
    #[must_use]
    pub fn seed_on(
        host: &Host,
        listen: SocketAddr,
        torrent: &Torrent,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let extra = [&["--trusted"], extra].concat();
        let mut python = host.command(Path::new(PYTHON));
        Self::launch(&mut python, listen, utf8(&torrent.path), folder, &extra)
    }

    /// Downloads a torrent file or what a magnet link stands for, on a host like [`Libtorrent::seed_on`].
    #[must_use]
    pub fn download_on(
        host: &Host,
        listen: SocketAddr,
        source: &str,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let mut python = host.command(Path::new(PYTHON));
        Self::launch(&mut python, listen, source, folder, extra)
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
        Self::launch(
            &mut Command::new(PYTHON),
            port_of(ip),
            torrent,
            folder,
            extra,
        )
    }

    fn launch(
        python: &mut Command,
        listen: SocketAddr,
        torrent: &str,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let listen = listen.to_string();
        let process = Process::spawn_listening(
            "libtorrent",
            python
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
        self.has_said("completed")
    }

    /// Whether it has told of an event: `metadata`, `piece`, `completed`.
    #[must_use]
    pub fn has_said(&self, name: &str) -> bool {
        let lines = self.process.lines(Stream::Out);
        let mut lines = lines.iter();
        lines.any(|line| event(Stream::Out, line, name).is_some())
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

fn dht_nodes(nodes: &[SocketAddr]) -> Vec<String> {
    let nodes = nodes.iter().map(|node| format!("--dht-node={node}"));
    // They are on loopback.
    nodes.chain(["--shared".to_owned()]).collect()
}

/// A DHT of libtorrent nodes.
#[derive(Debug)]
pub struct LibtorrentDht {
    process: Process,
    nodes: Vec<SocketAddr>,
}

impl LibtorrentDht {
    /// Starts so many nodes that know each other.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let any = SocketAddr::new(address::LIBTORRENT.parse().expect("an address"), 0);
        Self::launch(&vec![any.to_string(); count])
    }

    /// Starts a node on each of these hosts. They know each other, and are as strict with addresses as they are by
    /// default.
    #[must_use]
    pub fn start_on(hosts: &[Host]) -> Self {
        let places = hosts.iter().map(|host| {
            let (listen, namespace) = (host.address(), host.namespace());
            format!("{listen}@{namespace}")
        });
        Self::launch(&places.collect::<Vec<String>>())
    }

    fn launch(places: &[String]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_dht.py");
        let mut python = Command::new(PYTHON);
        let python = python.arg(script).args(places);
        let process = Process::spawn_listening("libtorrent's DHT", python);
        let count = places.len();
        let nodes = crate::wait::until("libtorrent's DHT", || {
            let lines = process.lines(Stream::Out);
            let lines = lines.iter();
            let said = lines.filter_map(|line| event(Stream::Out, line, "node"));
            let nodes = said.filter_map(|said| said["address"].as_str()?.parse().ok());
            Some(nodes.collect::<Vec<_>>()).filter(|nodes| nodes.len() == count)
        });
        Self { process, nodes }
    }

    /// Their addresses.
    #[must_use]
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// Makes all of them get to know another node.
    pub fn add(&mut self, node: SocketAddr) {
        self.process.say(&format!("add {node}"));
    }

    /// Stores an immutable item, and says where.
    pub fn put(&mut self, text: &str) -> String {
        self.ask(&format!("put {text}"), "put", "target")
    }

    /// Fetches an immutable item.
    pub fn get(&mut self, target: &str) -> String {
        self.ask(&format!("get {target}"), "item", "value")
    }

    /// Fetches a mutable item.
    pub fn read(&mut self, public: &str) -> String {
        self.ask(&format!("read {public}"), "item", "value")
    }

    /// Signs an item with the key that this seed makes, whose public half is given too, and stores it.
    pub fn sign(&mut self, seed: &str, public: &str, text: &str) {
        let _ = self.ask(&format!("sign {seed} {public} {text}"), "put", "target");
    }

    /// Waits until a node knows a peer of a torrent.
    ///
    /// # Panics
    ///
    /// When none does.
    pub fn wait_for_a_peer(&mut self, torrent: &Torrent) {
        let hash = torrent.hex();
        // Transmission takes a minute and a half, of which it sleeps all but some milliseconds.
        crate::wait::until_within(2 * LIMIT, LOOK, "an announce", || {
            self.process.say(&format!("peers {hash}"));
            let lines = self.process.lines(Stream::Out);
            let mut found = lines
                .iter()
                .filter_map(|line| event(Stream::Out, line, "peers"));
            found
                .any(|said| said["info_hash"] == hash.as_str())
                .then_some(())
        });
    }

    fn ask(&mut self, line: &str, answer: &str, field: &str) -> String {
        let said = |process: &Process| {
            let lines = process.lines(Stream::Out);
            let lines = lines.iter();
            let events = lines.filter_map(|line| event(Stream::Out, line, answer));
            events.collect::<Vec<Value>>()
        };
        let before = said(&self.process).len();
        self.process.say(line);
        let answer = crate::wait::until(line, || said(&self.process).into_iter().nth(before));
        answer[field].as_str().unwrap_or_default().to_owned()
    }
}

/// A DHT node of libtorrent's in a process of its own, which limits nothing.
#[derive(Debug)]
pub struct LibtorrentNode {
    process: Process,
    address: SocketAddr,
}

impl LibtorrentNode {
    /// Starts one that knows nobody.
    #[must_use]
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/libtorrent_node.py");
        let process = Process::spawn_listening(
            "libtorrent's node",
            Command::new(PYTHON).args([script, address::LIBTORRENT]),
        );
        let address = process.wait_line("its address", |stream, line| {
            let said = event(stream, line, "node")?;
            said["address"].as_str()?.parse().ok()
        });
        Self { process, address }
    }

    /// Where it is asked.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Makes it get to know another node.
    pub fn add(&mut self, node: SocketAddr) {
        self.process.say(&format!("add {node}"));
    }

    /// How many nodes are in its table.
    pub fn known(&mut self) -> u64 {
        let said = |process: &Process| {
            let lines = process.lines(Stream::Out);
            let lines = lines.iter();
            let events = lines.filter_map(|line| event(Stream::Out, line, "stats"));
            events.collect::<Vec<Value>>()
        };
        let before = said(&self.process).len();
        self.process.say("stats");
        let answer = crate::wait::until("stats", || said(&self.process).into_iter().nth(before));
        answer["nodes"].as_u64().unwrap_or(0)
    }
}

fn event(stream: Stream, line: &str, name: &str) -> Option<Value> {
    let said: Value = (stream == Stream::Out).then(|| serde_json::from_str(line).ok())??;
    (said["event"] == name).then_some(said)
}
