//! Hosts of a test's own: network namespaces of Linux, joined by a bridge. What loopback cannot show happens here:
//! clients that take others by their addresses for strangers far away, and packets to multicast groups.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::{env, thread};

use crate::clients::{left_out, on_path};

/// Where `ip netns` keeps the namespaces that have names.
const NAMED: &str = "/run/netns";

/// What the names of ours begin with; the number of the process follows, and that of the namespace.
const PREFIX: &str = "anabranch-";

/// Where clients listen: every host has all its ports to itself.
const PORT: u16 = 6881;

/// Hosts that a network has at most, so that their numbers fit into addresses.
const MAX_HOSTS: usize = 200;

/// Whether a test that needs namespaces can run. If not, says so on the terminal.
///
/// # Panics
///
/// When it cannot, and `CI` is `true`.
#[must_use]
pub fn available() -> bool {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let obstacle = OBSTACLE.get_or_init(|| {
        if !on_path("ip") {
            return Some("not installed: iproute2".to_owned());
        }
        let tried = Namespace::new().err();
        tried.map(|error| format!("no permission to make network namespaces: {error}"))
    });
    let Some(why) = obstacle else {
        return true;
    };
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "{why}");
    left_out(why);
    false
}

/// Hosts on one wire, which leads nowhere else. When it is dropped they are gone.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    // Removed with the network.
    _namespaces: Vec<Namespace>,
}

/// One host of a [`Network`].
///
/// Its addresses are of ranges that are in public use: clients treat private ones in ways of their own, and libtorrent's
/// DHT ignores those that nobody is known to use. No two hosts share a network of 2^16 IPv4 addresses: some take those who share
/// one of 2^8 for one party.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    number: u8,
}

impl Network {
    /// So many hosts, which can reach each other by IPv4 and IPv6 at once.
    ///
    /// # Panics
    ///
    /// When the system refuses: see [`available`].
    #[must_use]
    pub fn new(count: usize) -> Self {
        assert!((1..=MAX_HOSTS).contains(&count), "{count} hosts");
        let switch = Namespace::named();
        // A switch that learns nothing of multicast groups sends to all, and one that knows no loops begins at once.
        switch.set_up("link add name switch type bridge forward_delay 0 mcast_snooping 0\nlink set dev switch up\n");
        let mut namespaces = vec![switch];
        let mut hosts = Vec::new();
        for number in 1..=count {
            let namespace = Namespace::named();
            let host = Host {
                name: namespace.name.clone(),
                number: u8::try_from(number).expect("few hosts"),
            };
            let (name, v4, v6, mac) = (&host.name, host.ip(), host.ip_v6(), host.mac());
            namespaces[0].set_up(&format!(
                "link add name port{number} type veth peer name eth0 address {mac} netns {name}\n\
                 link set dev port{number} master switch up\n"
            ));
            namespace.set_up(&format!(
                "link set dev lo up\n\
                 link set dev eth0 up\n\
                 address add {v4}/8 dev eth0\n\
                 address add {v6}/64 dev eth0 nodad\n\
                 route add default dev eth0\n"
            ));
            namespaces.push(namespace);
            hosts.push(host);
        }
        // Who finds out by itself takes a place in a table of the system's that all namespaces share, and that is full
        // with some tens of hosts that all know each other.
        for (host, namespace) in hosts.iter().zip(&namespaces[1..]) {
            let others = hosts.iter().filter(|other| other.number != host.number);
            let lines = others.map(|other| {
                let (ip, mac) = (other.ip(), other.mac());
                format!("neigh add {ip} lladdr {mac} dev eth0 nud permanent\n")
            });
            namespace.set_up(&lines.collect::<String>());
        }
        Self {
            hosts,
            _namespaces: namespaces,
        }
    }

    /// The hosts, in the order of their numbers.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Host {
    /// Its IPv4 address.
    #[must_use]
    pub const fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(81, self.number, 0, 1)
    }

    /// Its IPv6 address.
    #[must_use]
    pub const fn ip_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2a0b, 0, 0, 0, 0, 0, 0, self.number as u16)
    }

    /// Where its client listens in IPv4.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (self.ip(), PORT).into()
    }

    /// Where its client listens in IPv6.
    #[must_use]
    pub fn address_v6(&self) -> SocketAddr {
        (self.ip_v6(), PORT).into()
    }

    /// Its address on the wire, of those that are administered locally.
    fn mac(&self) -> String {
        format!("02:00:00:00:00:{:02x}", self.number)
    }

    /// The name of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.name
    }

    /// A program that runs on this host.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Does something on this host. Sockets that are made there stay there.
    ///
    /// # Panics
    ///
    /// When the host cannot be entered, or `work` panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A thread of its own, which never comes back.
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                enter(&path(&self.name)).expect("a network namespace");
                work()
            });
            there.join().expect("what is done on a host")
        })
    }
}

/// A namespace that has a name, until it is dropped.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Namespace {
    fn named() -> Self {
        Self::new().expect("a network namespace")
    }

    fn new() -> io::Result<Self> {
        static LEFTOVERS: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Two that are the first of all get into each other's way.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        LEFTOVERS.call_once(remove_leftovers);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", id());
        let made = Command::new("ip").args(["netns", "add", &name]).output()?;
        match made.status.success() {
            true => Ok(Self { name }),
            false => Err(io::Error::other(String::from_utf8_lossy(&made.stderr))),
        }
    }

    /// Carries out commands of `ip`, one a line.
    fn set_up(&self, commands: &str) {
        let mut ip = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip(8)");
        let mut input = ip.stdin.take().expect("the input of a child");
        input.write_all(commands.as_bytes()).expect("commands");
        drop(input);
        let output = ip.wait_with_output().expect("the end of ip(8)");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip: {why}\n{commands}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes what processes that are gone did not: those that were killed.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(NAMED) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(PREFIX);
        let owner = rest.and_then(|rest| rest.split_once('-')).map(|(id, _)| id);
        let owner: Option<u32> = owner.and_then(|id| id.parse().ok());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMED).join(name)
}

#[cfg(target_os = "linux")]
fn enter(namespace: &Path) -> io::Result<()> {
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let file = fs::File::open(namespace)?;
    let kind = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(file.as_fd(), kind)?)
}

#[cfg(not(target_os = "linux"))]
fn enter(_namespace: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn hosts_reach_each_other_and_nobody_else() {
        if !available() {
            return;
        }
        let network = Network::new(2);
        let [one, two] = network.hosts() else {
            panic!("two hosts");
        };
        for at in [two.address(), two.address_v6()] {
            let listener = two.within(|| TcpListener::bind(at)).unwrap();
            one.within(|| TcpStream::connect(at)).unwrap();
            let (_, from) = listener.accept().unwrap();
            let expected = if at.is_ipv4() {
                one.address()
            } else {
                one.address_v6()
            };
            assert_eq!(from.ip(), expected.ip());
        }
        UdpSocket::bind(one.address()).expect_err("an address of this machine");
    }

    #[test]
    fn a_network_that_is_dropped_is_gone() {
        if !available() {
            return;
        }
        let network = Network::new(1);
        let left = path(&network.hosts()[0].name);
        assert!(left.exists());
        drop(network);
        assert!(!left.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        if !available() {
            return;
        }
        // No process has a number as high as this.
        let name = format!("{PREFIX}{}-0", u32::MAX);
        let made = Command::new("ip").args(["netns", "add", &name]).status();
        assert!(made.unwrap().success());
        let kept = Namespace::named();
        remove_leftovers();
        assert!(!path(&name).exists() && path(&kept.name).exists());
    }
}
