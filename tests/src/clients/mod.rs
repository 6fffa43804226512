//! The programs under test and those they are tested against, each behind a small wrapper.

mod anabranch;
mod aria2;
mod example;
mod libtorrent;
mod opentracker;
mod rqbit;
mod tools;
mod transmission;

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

pub use anabranch::{ALONE, Anabranch, Outcome, anabranch_idle};
pub use aria2::{Aria2, aria2_idle};
pub use example::{Embedded, Example};
pub use libtorrent::{
    Libtorrent, LibtorrentDht, LibtorrentNode, libtorrent_create, libtorrent_idle,
};
pub use opentracker::{Opentracker, Reserved};
pub use rqbit::Rqbit;
pub use tools::{aria2_info_hash, mktorrent, transmission_create, transmission_info_hash};
pub use transmission::Transmission;

/// A program that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// transmission-daemon.
    Transmission,
    /// transmission-create and transmission-show.
    TransmissionTools,
    /// aria2c.
    Aria2,
    /// libtorrent's Python binding.
    Libtorrent,
    /// opentracker.
    Opentracker,
    /// mktorrent.
    Mktorrent,
    /// rqbit, which the benchmark alone uses.
    Rqbit,
}

impl Client {
    const ALL: [Self; 7] = [
        Self::Transmission,
        Self::TransmissionTools,
        Self::Aria2,
        Self::Libtorrent,
        Self::Opentracker,
        Self::Mktorrent,
        Self::Rqbit,
    ];

    /// The Debian package it comes in, if any, and else where it is found.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Transmission => "transmission-daemon",
            Self::TransmissionTools => "transmission-cli",
            Self::Aria2 => "aria2",
            Self::Libtorrent => "python3-libtorrent",
            Self::Opentracker => "opentracker",
            Self::Mktorrent => "mktorrent",
            Self::Rqbit => "rqbit (https://github.com/ikatson/rqbit)",
        }
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Transmission => on_path("transmission-daemon"),
            Self::TransmissionTools => {
                on_path("transmission-create") && on_path("transmission-show")
            }
            Self::Aria2 => on_path("aria2c"),
            Self::Libtorrent => libtorrent::is_installed(),
            Self::Opentracker => on_path("opentracker"),
            Self::Mktorrent => on_path("mktorrent"),
            Self::Rqbit => on_path("rqbit"),
        }
    }
}

/// Which of the programs are here.
#[derive(Clone, Debug)]
pub struct Clients {
    missing: Vec<Client>,
}

impl Clients {
    /// Looks for them, once per process.
    #[must_use]
    pub fn find() -> &'static Self {
        static FOUND: OnceLock<Clients> = OnceLock::new();
        FOUND.get_or_init(|| Self {
            missing: Client::ALL
                .into_iter()
                .filter(|client| !client.is_installed())
                .collect(),
        })
    }

    /// Those that are not installed.
    #[must_use]
    pub fn missing(&self) -> &[Client] {
        &self.missing
    }
}

/// Whether a test that needs these can run. If not, says so on the terminal, past the capture of
/// the test runner: a test that was left out must not look like one that passed.
///
/// # Panics
///
/// When one is missing and `CI` is `true`.
#[must_use]
pub fn available(needed: &[Client]) -> bool {
    let missing = Clients::find()
        .missing()
        .iter()
        .filter(|client| needed.contains(client));
    let packages: Vec<&str> = missing.map(|client| client.package()).collect();
    if packages.is_empty() {
        return true;
    }
    let packages = packages.join(", ");
    assert_ne!(
        env::var("CI").as_deref(),
        Ok("true"),
        "not installed: {packages}"
    );
    left_out(&format!("not installed: {packages}"));
    false
}

/// Says on the terminal that the running test is left out, and why.
pub fn left_out(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // A terminal that is gone is no reason for the test to fail.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {test}: {why}");
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
///
/// When it cannot be started or fails.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{complaint}",
        output.status
    );
    text
}

fn port_of(ip: &str) -> std::net::SocketAddr {
    let ip = ip.parse().expect("an address of the suite");
    std::net::SocketAddr::new(ip, crate::net::free_port())
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
