//! Finding each other without a tracker, between us and the other clients, each on a host of its own: by a DHT whose nodes
//! are strict with the addresses of others, Transmission's among them, and by local discovery.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use anabranch_driver::engine::wire::lsd::{GROUP_V4, GROUP_V6};
use anabranch_tests::clients::{self, Anabranch, Client, Libtorrent, LibtorrentDht, Transmission};
use anabranch_tests::data::{assert_same, assert_same_but_for_empty, write_tree};
use anabranch_tests::wait::LIMIT;
use anabranch_tests::{Host, Network, Scratch, Torrent, namespaces};
use serde_json::Value;

use Client::{Libtorrent as L, Transmission as T};

/// Transmission announces nothing before it knows nine nodes.
const NODES: usize = 14;

/// So many nodes are more than one bucket holds. A table need not have room for all.
const TOGETHER: u64 = 9;

/// How often libtorrent says the same in the local network.
const LIBTORRENT_REPEATS: usize = 3;

const RUNTIMES: [&str; 2] = ["smol", "tokio"];

/// What leaves nothing but the DHT to find peers by.
const DHT_ALONE: [&str; 2] = ["--no-pex", "--no-lsd"];

/// What leaves nothing but local discovery.
const LSD_ALONE: [&str; 2] = ["--no-pex", "--no-dht"];

/// A tree to share, a torrent of it without trackers, and hosts.
struct Swarm {
    torrent: Torrent,
    scratch: Scratch,
    network: Network,
}

impl Swarm {
    fn new(seed: u64, hosts: usize) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("tree");
        write_tree(&data, seed);
        let to = scratch.join("tree.torrent");
        let torrent = Anabranch::create(&scratch, &data, &to, &["--piece-length", "16KiB"]);
        Self {
            torrent,
            scratch,
            network: Network::new(hosts),
        }
    }

    fn seeds(&self) -> PathBuf {
        self.scratch.join("seed")
    }

    fn data(&self) -> PathBuf {
        self.seeds().join("tree")
    }

    fn file(&self) -> &str {
        self.torrent.path.to_str().expect("a path in UTF-8")
    }

    fn link(&self) -> String {
        let link = Anabranch::magnet(&self.scratch, &self.torrent, &[]);
        for source in ["&tr=", "&x.pe=", "&ws="] {
            assert!(!link.contains(source), "{link}");
        }
        link
    }
}

/// A DHT on the last hosts of a swarm: of libtorrent nodes, and one of ours.
struct Dht {
    ours: Anabranch,
    host: Host,
    nodes: Vec<SocketAddr>,
    libtorrent: LibtorrentDht,
}

impl Dht {
    /// How many hosts it takes.
    const HOSTS: usize = NODES + 1;

    fn start(swarm: &Swarm) -> Self {
        let hosts = swarm.network.hosts();
        let hosts = &hosts[hosts.len() - Self::HOSTS..];
        let (host, theirs) = hosts.split_last().expect("a host of ours");
        let libtorrent = LibtorrentDht::start_on(theirs);
        let (listen, node) = (host.address().to_string(), hosts[0].address().to_string());
        let at = ["--listen", &listen, "--dht-node", &node];
        let ours = Anabranch::dht_node_on(host, &swarm.scratch, &at);
        // Whoever announces while nodes do not know each other yet announces to few, and again in fifteen minutes.
        ours.wait_line("a DHT that has come together", |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["ipv4"]["good"].as_u64()? >= TOGETHER).then_some(())
        });
        Self {
            ours,
            host: host.clone(),
            nodes: hosts.iter().rev().map(Host::address).collect(),
            libtorrent,
        }
    }

    /// Asserts that ours is asked by others, and is known by the address that it has.
    fn assert_ours_takes_part(&self) {
        self.ours.wait_line("a node that others ask", |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            let asked = said["served"].as_u64()? > 0;
            (asked && said["ipv4"]["external"] == self.host.ip().to_string()).then_some(())
        });
    }
}

/// What ours needs to take part from a host.
fn within<'a>(listen: &'a str, node: &'a str, runtime: &'a str) -> [&'a str; 8] {
    let [no_pex, no_lsd] = DHT_ALONE;
    [
        "--listen",
        listen,
        "--dht-node",
        node,
        "--runtime",
        runtime,
        no_pex,
        no_lsd,
    ]
}

#[test]
fn fetches_from_transmission_that_only_the_dht_knows() {
    if !clients::available(&[L, T]) || !namespaces::available() {
        return;
    }
    let swarm = Swarm::new(501, 2 + Dht::HOSTS);
    let [transmission, host, ..] = swarm.network.hosts() else {
        panic!("two hosts");
    };
    let mut dht = Dht::start(&swarm);
    let daemon =
        Transmission::start_in_dht(transmission, &swarm.scratch, &swarm.seeds(), &dht.nodes);
    daemon.seed(&swarm.torrent);
    dht.libtorrent.wait_for_a_peer(&swarm.torrent);
    let (listen, node) = (host.address().to_string(), dht.nodes[2].to_string());
    for runtime in RUNTIMES {
        let folder = swarm.scratch.folder(runtime);
        let extra = within(&listen, &node, runtime);
        let download = Anabranch::download_on(host, &swarm.scratch, &swarm.link(), &folder, &extra);
        download.finish();
        assert_same(&swarm.data(), &folder.join("tree"));
    }
    dht.assert_ours_takes_part();
}

/// Its nodes take addresses seriously here, which they cannot on loopback.
#[test]
fn fetches_from_libtorrent_that_only_a_strict_dht_knows() {
    if !clients::available(&[L]) || !namespaces::available() {
        return;
    }
    let swarm = Swarm::new(503, 2 + Dht::HOSTS);
    let [libtorrent, host, ..] = swarm.network.hosts() else {
        panic!("two hosts");
    };
    let mut dht = Dht::start(&swarm);
    let node = ["--dht-node", &dht.nodes[2].to_string()];
    let _seed = Libtorrent::seed_on(
        libtorrent,
        libtorrent.address(),
        &swarm.torrent,
        &swarm.seeds(),
        &node,
    );
    dht.libtorrent.wait_for_a_peer(&swarm.torrent);
    let (listen, node) = (host.address().to_string(), dht.nodes[3].to_string());
    let extra = within(&listen, &node, "smol");
    let folder = swarm.scratch.folder("anabranch");
    Anabranch::download_on(host, &swarm.scratch, &swarm.link(), &folder, &extra).finish();
    assert_same(&swarm.data(), &folder.join("tree"));
    dht.assert_ours_takes_part();
}

fn others_fetch_from_us_in_a_dht(runtime: &str, seed: u64) {
    if !clients::available(&[L, T]) || !namespaces::available() {
        return;
    }
    let swarm = Swarm::new(seed, 3 + Dht::HOSTS);
    let [transmission, libtorrent, host, ..] = swarm.network.hosts() else {
        panic!("three hosts");
    };
    let mut dht = Dht::start(&swarm);
    let (listen, node) = (host.address().to_string(), dht.nodes[2].to_string());
    let extra = within(&listen, &node, runtime);
    let seeds = swarm.seeds();
    let _seed = Anabranch::seed_on(host, &swarm.scratch, &swarm.torrent, &seeds, &extra);
    dht.libtorrent.wait_for_a_peer(&swarm.torrent);
    let link = swarm.link();

    let folder = swarm.scratch.folder("libtorrent");
    let (listen, node) = (libtorrent.address(), dht.nodes[3].to_string());
    let extra = ["--no-pex", "--dht-node", &node];
    let download = Libtorrent::download_on(libtorrent, listen, &link, &folder, &extra);
    download.wait_complete();
    assert_same(&swarm.data(), &folder.join("tree"));
    // There is to be nobody else for the next one.
    drop(download);

    let folder = swarm.scratch.folder("transmission");
    let daemon = Transmission::start_in_dht(transmission, &swarm.scratch, &folder, &dht.nodes);
    daemon.download_magnet(&link);
    daemon.wait_complete(&swarm.torrent);
    // It creates no empty files before it ends.
    daemon.stop();
    assert_same_but_for_empty(&swarm.data(), &folder.join("tree"));
    dht.assert_ours_takes_part();
}

#[test]
fn transmission_and_libtorrent_fetch_from_us_on_smol_whom_only_the_dht_knows() {
    others_fetch_from_us_in_a_dht("smol", 504);
}

#[test]
fn transmission_and_libtorrent_fetch_from_us_on_tokio_whom_only_the_dht_knows() {
    others_fetch_from_us_in_a_dht("tokio", 505);
}

/// Hears what is announced in the local network, on a host that has nothing to do with it.
struct Ear {
    socket: UdpSocket,
}

impl Ear {
    fn new(host: &Host, group: SocketAddr) -> Self {
        let socket = host.within(|| {
            let socket = UdpSocket::bind(group).expect("a socket");
            match group.ip() {
                IpAddr::V4(ip) => socket.join_multicast_v4(&ip, &host.ip()),
                IpAddr::V6(ip) => socket.join_multicast_v6(&ip, 0),
            }
            .expect("a group");
            socket
        });
        let limit = socket.set_read_timeout(Some(LIMIT));
        limit.expect("a limit");
        Self { socket }
    }

    /// Waits until somebody at `from` has announced the torrent so many times.
    fn wait_for(&self, torrent: &Torrent, from: IpAddr, count: usize) {
        let mut heard = 0;
        let mut packet = [0; 2_048];
        while heard < count {
            let (len, who) = self.socket.recv_from(&mut packet).expect("an announcement");
            let text = String::from_utf8_lossy(&packet[..len]).to_lowercase();
            heard += usize::from(who.ip() == from && text.contains(&torrent.hex()));
        }
    }
}

/// Two that know nothing of each other. Whoever comes second is heard by the first, who has said what it had to say.
fn meets_libtorrent_locally(v6: bool, runtime: &str, seed: u64) {
    if !clients::available(&[L]) || !namespaces::available() {
        return;
    }
    let at = |host: &Host| {
        if v6 {
            host.address_v6()
        } else {
            host.address()
        }
    };
    let group = if v6 { GROUP_V6 } else { GROUP_V4 };
    let swarm = Swarm::new(seed, 5);
    let [libtorrent, host, other_libtorrent, other_host, listener] = swarm.network.hosts() else {
        panic!("five hosts");
    };
    let ear = Ear::new(listener, group);
    let folder = swarm.scratch.folder("anabranch");
    let listen = at(host).to_string();
    let extra = [&LSD_ALONE[..], &["--listen", &listen, "--runtime", runtime]].concat();
    let download = Anabranch::download_on(host, &swarm.scratch, swarm.file(), &folder, &extra);
    ear.wait_for(&swarm.torrent, at(host).ip(), 1);
    let local = ["--no-pex", "--lsd"];
    let seeds = swarm.seeds();
    let seed = Libtorrent::seed_on(libtorrent, at(libtorrent), &swarm.torrent, &seeds, &local);
    download.finish();
    assert_same(&swarm.data(), &folder.join("tree"));
    drop(seed);

    let folder = swarm.scratch.folder("libtorrent");
    let (listen, file) = (at(other_libtorrent), swarm.file());
    let download = Libtorrent::download_on(other_libtorrent, listen, file, &folder, &local);
    ear.wait_for(&swarm.torrent, listen.ip(), LIBTORRENT_REPEATS);
    let listen = at(other_host).to_string();
    let extra = [&LSD_ALONE[..], &["--listen", &listen, "--runtime", runtime]].concat();
    let _seed = Anabranch::seed_on(other_host, &swarm.scratch, &swarm.torrent, &seeds, &extra);
    download.wait_complete();
    assert_same(&swarm.data(), &folder.join("tree"));
}

#[test]
fn libtorrent_and_we_find_each_other_by_local_discovery_in_ipv4() {
    meets_libtorrent_locally(false, "smol", 511);
}

#[test]
fn libtorrent_and_we_find_each_other_by_local_discovery_in_ipv6() {
    meets_libtorrent_locally(true, "tokio", 512);
}

/// The same with Transmission, which announces a torrent every four minutes, and knows IPv4 alone.
#[test]
fn transmission_and_we_find_each_other_by_local_discovery() {
    if !clients::available(&[T]) || !namespaces::available() {
        return;
    }
    let swarm = Swarm::new(513, 5);
    let [transmission, host, other_transmission, other_host, listener] = swarm.network.hosts()
    else {
        panic!("five hosts");
    };
    let ear = Ear::new(listener, GROUP_V4);
    let folder = swarm.scratch.folder("anabranch");
    let listen = host.address().to_string();
    let extra = [&LSD_ALONE[..], &["--listen", &listen]].concat();
    let download = Anabranch::download_on(host, &swarm.scratch, swarm.file(), &folder, &extra);
    ear.wait_for(&swarm.torrent, host.ip().into(), 1);
    let daemon = Transmission::start_locally(transmission, &swarm.scratch, &swarm.seeds());
    daemon.seed(&swarm.torrent);
    download.finish();
    assert_same(&swarm.data(), &folder.join("tree"));
    drop(daemon);

    let folder = swarm.scratch.folder("transmission");
    let daemon = Transmission::start_locally(other_transmission, &swarm.scratch, &folder);
    daemon.download(&swarm.torrent);
    ear.wait_for(&swarm.torrent, other_transmission.ip().into(), 1);
    let listen = other_host.address().to_string();
    let extra = [&LSD_ALONE[..], &["--listen", &listen]].concat();
    let seeds = swarm.seeds();
    let _seed = Anabranch::seed_on(other_host, &swarm.scratch, &swarm.torrent, &seeds, &extra);
    ear.wait_for(&swarm.torrent, other_host.ip().into(), 1);
    daemon.wait_complete(&swarm.torrent);
    daemon.stop();
    assert_same_but_for_empty(&swarm.data(), &folder.join("tree"));
}
