//! The distributed hash table, between us and the other clients: a private network of libtorrent nodes on loopback,
//! and nothing else by which peers could find each other. Transmission is not among them: its DHT ignores all nodes at
//! loopback addresses.

use std::net::SocketAddr;
use std::path::PathBuf;

use anabranch_driver::engine::dht::SecretKey;
use anabranch_tests::clients::{self, Anabranch, Client, Libtorrent, LibtorrentDht, Outcome};
use anabranch_tests::data::{assert_same, write_tree};
use anabranch_tests::{Scratch, Torrent, wait};
use serde_json::Value;

use Client::Libtorrent as L;

const RUNTIMES: [&str; 2] = ["smol", "tokio"];

/// A tree to share, a torrent of it, and a DHT.
struct Swarm {
    dht: LibtorrentDht,
    torrent: Torrent,
    scratch: Scratch,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, seed);
        let to = scratch.join("tree.torrent");
        let torrent = Anabranch::create(&scratch, &data, &to, &["--piece-length", "16KiB"]);
        let dht = LibtorrentDht::start(8);
        Self {
            dht,
            torrent,
            scratch,
        }
    }

    fn seeds(&self) -> PathBuf {
        self.scratch.join("seed")
    }

    fn data(&self) -> PathBuf {
        self.seeds().join("tree")
    }

    fn link(&self) -> String {
        Anabranch::magnet(&self.scratch, &self.torrent, &[])
    }

    /// A node that everybody begins with.
    fn first(&self) -> SocketAddr {
        self.dht.nodes()[0]
    }

    /// `anabranch dht` on a port of its own, within this DHT.
    fn ask(&self, args: &[&str]) -> Outcome {
        let first = self.first().to_string();
        let listen = ["--listen", "127.0.0.1:0", "--dht-node", &first];
        Anabranch::run(&self.scratch, ["dht"].iter().chain(args).chain(&listen))
    }

    fn ask_json(&self, args: &[&str]) -> Value {
        let outcome = self.ask(&[args, &["--json"]].concat());
        outcome.assert_success();
        serde_json::from_str(&outcome.stdout).expect("one JSON object")
    }

    /// Waits until the DHT knows a peer of the torrent.
    fn wait_for_a_peer(&self) {
        wait::until("an announce", || {
            let found = self.ask_json(&["get-peers", &self.torrent.hex()]);
            found["peers"]
                .as_array()
                .filter(|peers| !peers.is_empty())?;
            Some(())
        });
    }

    fn seed_with_anabranch(&self, runtime: &str) -> Anabranch {
        let first = self.first().to_string();
        let extra = ["--runtime", runtime, "--no-lsd", "--dht-node", &first];
        let seed = Anabranch::seed(&self.scratch, &self.torrent, &self.seeds(), &extra);
        let _ = seed.address();
        seed.wait_complete();
        seed
    }
}

#[test]
fn fetches_from_libtorrent_that_only_the_dht_knows() {
    if clients::available(&[L]) {
        for runtime in RUNTIMES {
            let swarm = Swarm::new(401);
            let nodes = &swarm.dht.nodes()[1..3];
            let _seed = Libtorrent::seed_in_dht(&swarm.torrent, &swarm.seeds(), nodes);
            swarm.wait_for_a_peer();
            let first = swarm.first().to_string();
            let extra = ["--runtime", runtime, "--no-lsd", "--dht-node", &first];
            let folder = swarm.scratch.folder("anabranch");
            Anabranch::download_magnet(&swarm.scratch, &swarm.link(), &folder, &extra).finish();
            assert_same(&swarm.data(), &folder.join("tree"));
        }
    }
}

#[test]
fn libtorrent_fetches_from_us_whom_only_the_dht_knows() {
    if clients::available(&[L]) {
        for runtime in RUNTIMES {
            let swarm = Swarm::new(402);
            let _seed = swarm.seed_with_anabranch(runtime);
            swarm.wait_for_a_peer();
            let folder = swarm.scratch.folder("libtorrent");
            let nodes = &swarm.dht.nodes()[1..3];
            let download = Libtorrent::download_magnet_in_dht(&swarm.link(), &folder, nodes);
            download.wait_complete();
            assert_same(&swarm.data(), &folder.join("tree"));
        }
    }
}

/// Two of ours and a libtorrent between them that has only our node to begin with: it is served by us.
#[test]
fn libtorrent_finds_its_way_by_our_node() {
    if clients::available(&[L]) {
        for runtime in RUNTIMES {
            let swarm = Swarm::new(404);
            let node = Anabranch::dht_node(&swarm.scratch, &["--alone", "--runtime", runtime]);
            let nodes = [node.address()];
            let _seed = Libtorrent::seed_in_dht(&swarm.torrent, &swarm.seeds(), &nodes);
            node.wait_line("an announce", |line| {
                let said: Value = serde_json::from_str(line).ok()?;
                (said["announces"].as_u64() > Some(0)).then_some(())
            });
            let folder = swarm.scratch.folder("libtorrent");
            let download = Libtorrent::download_magnet_in_dht(&swarm.link(), &folder, &nodes);
            download.wait_complete();
            assert_same(&swarm.data(), &folder.join("tree"));
        }
    }
}

#[test]
fn libtorrent_answers_a_ping() {
    if clients::available(&[L]) {
        let swarm = Swarm::new(405);
        let pong = swarm.ask_json(&["ping", &swarm.first().to_string()]);
        let version = pong["version"].as_str().unwrap_or_default();
        assert!(version.starts_with("LT"), "{pong}");
        let stats = swarm.ask_json(&["stats"]);
        assert_eq!(stats["ipv4"]["ready"], true, "{stats}");
    }
}

#[test]
fn items_are_read_by_the_other_side() {
    if clients::available(&[L]) {
        let mut swarm = Swarm::new(406);
        let target = swarm.dht.put("from-libtorrent");
        assert_eq!(swarm.ask_json(&["get", &target])["text"], "from-libtorrent");
        let stored = swarm.ask_json(&["put", "from us"]);
        let target = stored["item"].as_str().expect("a target");
        assert_eq!(swarm.dht.get(target), "from us");

        let secret: [u8; 32] = std::array::from_fn(|index| index as u8);
        let hex = |bytes: [u8; 32]| bytes.map(|byte| format!("{byte:02x}")).concat();
        let public = hex(SecretKey::new(&secret).public());
        let key = swarm.scratch.join("key");
        std::fs::write(&key, hex(secret)).expect("a key");
        let key = key.to_str().expect("a path");
        let stored = swarm.ask_json(&["put", "signed here", "--key", key]);
        assert_eq!(stored["item"], public.as_str());
        assert_eq!(swarm.dht.read(&public), "signed here");

        let secret: [u8; 32] = std::array::from_fn(|index| 255 - index as u8);
        let public = hex(SecretKey::new(&secret).public());
        swarm.dht.sign(&hex(secret), &public, "signed there");
        let item = swarm.ask_json(&["get", &public]);
        assert_eq!(item["text"], "signed there", "{item}");
    }
}
