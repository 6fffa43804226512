//! The core's examples: programs that embed it without the driver.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::utf8;
use crate::Torrent;
use crate::process::Process;

/// An example of `core/examples` that downloads a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// Threads and blocking sockets.
    Threads,
    /// A readiness loop.
    Mio,
}

/// A running example.
#[derive(Debug)]
pub struct Embedded {
    process: Process,
}

impl Embedded {
    /// Waits until it ends, and asserts that it ended well.
    ///
    /// # Panics
    ///
    /// When it fails, or takes too long.
    pub fn finish(self) {
        let exit = self.process.wait_exit();
        let said = format!("{}\n{}", exit.stdout, exit.stderr);
        assert!(exit.status.success(), "{}\n{said}", exit.status);
    }
}

impl Example {
    const fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Mio => "mio",
        }
    }

    /// Starts to download a torrent into a folder.
    #[must_use]
    pub fn download(self, torrent: &Torrent, folder: &Path, peers: &[SocketAddr]) -> Embedded {
        let process = Process::spawn(
            self.name(),
            Command::new(self.executable())
                .args([utf8(&torrent.path), utf8(folder)])
                .args(peers.iter().map(SocketAddr::to_string)),
        );
        Embedded { process }
    }

    fn executable(self) -> &'static Path {
        static BUILT: OnceLock<Vec<(String, PathBuf)>> = OnceLock::new();
        let built = BUILT.get_or_init(build);
        let found = built.iter().find(|(name, _)| name == self.name());
        &found.expect("cargo names the example it built").1
    }
}

/// The examples' names and executables.
fn build() -> Vec<(String, PathBuf)> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "anabranch-core", "--examples"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace);
    let messages = super::run(&mut command);
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    };
    messages.lines().filter_map(executable).collect()
}
