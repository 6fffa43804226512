//! Our command.

use std::env;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::utf8;
use crate::process::{Exit, Process, Stream};
use crate::{Host, Scratch, Torrent, address};

/// The exit code of a Rust program whose main thread panicked.
const EXIT_OF_PANIC: i32 = 101;

/// Limit on the memory that a bounded run may ask the system for, in KiB. Well above what the
/// command needs, well below what hostile input tempts it to.
const DATA_LIMIT_KIB: u32 = 1 << 20;

/// A running `anabranch`.
#[derive(Debug)]
pub struct Anabranch {
    process: Process,
}

/// A run that ended by itself.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Asserts that it ended with an error that says something.
    ///
    /// # Panics
    ///
    /// When it succeeded, or failed in silence.
    pub fn assert_refused(&self) {
        assert_ne!(self.code, 0, "went through: {self:?}");
        assert!(
            !self.stderr.trim().is_empty(),
            "failed without a message: {self:?}"
        );
    }

    /// Asserts that it ended well.
    ///
    /// # Panics
    ///
    /// When it did not.
    pub fn assert_success(&self) {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
    }

    /// The payload this run received, by its last statistics.
    #[must_use]
    pub fn downloaded(&self) -> Option<u64> {
        self.stdout.lines().filter_map(downloaded).max()
    }
}

impl From<Exit> for Outcome {
    fn from(exit: Exit) -> Self {
        let code = exit.status.code();
        let code = code.unwrap_or_else(|| panic!("crashed: {}\n{}", exit.status, exit.stderr));
        assert_ne!(code, EXIT_OF_PANIC, "panicked: {}", exit.stderr);
        Self {
            code,
            stdout: exit.stdout,
            stderr: exit.stderr,
        }
    }
}

impl Anabranch {
    /// Runs the command to its end.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(scratch: &Scratch, args: impl IntoIterator<Item = S>) -> Outcome {
        Self::run_build(Self::binary(), scratch, args)
    }

    /// What [`Anabranch::run`] does, with another build of the command.
    #[must_use]
    pub fn run_build<S: AsRef<OsStr>>(
        binary: &Path,
        scratch: &Scratch,
        args: impl IntoIterator<Item = S>,
    ) -> Outcome {
        Process::spawn(
            "anabranch",
            at_home(Command::new(binary), scratch).args(args),
        )
        .wait_exit()
        .into()
    }

    /// Runs the command to its end with a bound on the memory it may take.
    #[must_use]
    pub fn run_bounded<S: AsRef<OsStr>>(
        scratch: &Scratch,
        args: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let limited = format!("ulimit -d {DATA_LIMIT_KIB} && exec \"$0\" \"$@\"");
        let mut shell = at_home(Command::new("sh"), scratch);
        shell.args(["-c", &limited]).arg(Self::binary()).args(args);
        Process::spawn("anabranch", &mut shell).wait_exit().into()
    }

    /// `anabranch download`, with JSON lines and a listener on a free port.
    #[must_use]
    pub fn download(scratch: &Scratch, torrent: &Torrent, folder: &Path, extra: &[&str]) -> Self {
        Self::start(scratch, "download", torrent, folder, extra)
    }

    /// `anabranch seed`, with JSON lines and a listener on a free port, and up.
    #[must_use]
    pub fn seed(scratch: &Scratch, torrent: &Torrent, folder: &Path, extra: &[&str]) -> Self {
        Self::start(scratch, "seed", torrent, folder, extra)
    }

    /// `anabranch download` of a magnet link, with JSON lines and a listener on a free port.
    #[must_use]
    pub fn download_magnet(scratch: &Scratch, link: &str, folder: &Path, extra: &[&str]) -> Self {
        Self::start_source(Self::binary(), scratch, "download", link, folder, extra)
    }

    /// `anabranch dht node` with JSON lines, which tells how it is many times a second.
    #[must_use]
    pub fn dht_node(scratch: &Scratch, extra: &[&str]) -> Self {
        let extra = [&["--interval", "100ms"], extra].concat();
        Self::dht_node_build(Self::binary(), scratch, &extra)
    }

    /// `anabranch dht node` with JSON lines, of another build of the command.
    #[must_use]
    pub fn dht_node_build(binary: &Path, scratch: &Scratch, extra: &[&str]) -> Self {
        let listen = format!("{}:0", address::ANABRANCH);
        let process = Process::spawn(
            "anabranch",
            at_home(Command::new(binary), scratch)
                .args(["dht", "node", "--json", "--listen", &listen])
                .args(extra),
        );
        Self { process }
    }

    /// Runs the command to its end on a host.
    #[must_use]
    pub fn run_on<S: AsRef<OsStr>>(
        host: &Host,
        scratch: &Scratch,
        args: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let mut command = command_on(host, scratch);
        Process::spawn("anabranch", command.args(args))
            .wait_exit()
            .into()
    }

    /// `anabranch download` of a torrent file or a magnet link on a host, with JSON lines. Where it listens is among
    /// `extra`.
    #[must_use]
    pub fn download_on(
        host: &Host,
        scratch: &Scratch,
        source: &str,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let args = ["download", source, "--dir", utf8(folder)];
        Self::start_on(host, scratch, &[&args, extra].concat())
    }

    /// `anabranch seed` on a host, with JSON lines, and up. Where it listens is among `extra`.
    #[must_use]
    pub fn seed_on(
        host: &Host,
        scratch: &Scratch,
        torrent: &Torrent,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let args = ["seed", utf8(&torrent.path), "--dir", utf8(folder)];
        let seed = Self::start_on(host, scratch, &[&args, extra].concat());
        let _ = seed.address();
        seed.wait_complete();
        seed
    }

    /// `anabranch dht node` on a host, like [`Anabranch::dht_node`]. Where it listens is among `extra`.
    #[must_use]
    pub fn dht_node_on(host: &Host, scratch: &Scratch, extra: &[&str]) -> Self {
        let args = ["dht", "node", "--interval", "100ms"];
        Self::start_on(host, scratch, &[&args, extra].concat())
    }

    fn start_on(host: &Host, scratch: &Scratch, args: &[&str]) -> Self {
        let mut command = command_on(host, scratch);
        let process = Process::spawn("anabranch", command.args(args).arg("--json"));
        Self { process }
    }

    /// `anabranch magnet`.
    #[must_use]
    pub fn magnet(scratch: &Scratch, torrent: &Torrent, extra: &[&str]) -> String {
        let args = ["magnet", utf8(&torrent.path)];
        let outcome = Self::run(scratch, args.iter().chain(extra));
        outcome.assert_success();
        outcome.stdout.trim().to_owned()
    }

    /// `anabranch create`.
    #[must_use]
    pub fn create(scratch: &Scratch, content: &Path, to: &Path, extra: &[&str]) -> Torrent {
        let args = ["create", utf8(content), "-o", utf8(to)];
        Self::run(scratch, args.iter().chain(extra)).assert_success();
        Torrent::read(to)
    }

    /// `anabranch show --json`.
    ///
    /// # Panics
    ///
    /// When it fails or prints no JSON.
    #[must_use]
    pub fn show(scratch: &Scratch, torrent: &Path) -> Value {
        let outcome = Self::run(scratch, ["show", utf8(torrent), "--json"]);
        outcome.assert_success();
        serde_json::from_str(&outcome.stdout).expect("one JSON object from show --json")
    }

    /// `anabranch verify`: whether all is right, by its exit code.
    #[must_use]
    pub fn verify(scratch: &Scratch, torrent: &Torrent, folder: &Path) -> Outcome {
        Self::run(
            scratch,
            ["verify", utf8(&torrent.path), "--dir", utf8(folder)],
        )
    }

    fn start(
        scratch: &Scratch,
        verb: &str,
        torrent: &Torrent,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        Self::start_build(Self::binary(), scratch, verb, torrent, folder, extra)
    }

    /// What [`Anabranch::download`] and [`Anabranch::seed`] do, with another build of the command.
    #[must_use]
    pub fn start_build(
        binary: &Path,
        scratch: &Scratch,
        verb: &str,
        torrent: &Torrent,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        Self::start_source(binary, scratch, verb, utf8(&torrent.path), folder, extra)
    }

    /// What [`Anabranch::download`] and [`Anabranch::seed`] do, with another build of the command, and of a torrent file
    /// or a magnet link.
    #[must_use]
    pub fn start_source(
        binary: &Path,
        scratch: &Scratch,
        verb: &str,
        source: &str,
        folder: &Path,
        extra: &[&str],
    ) -> Self {
        let listen = format!("{}:0", address::ANABRANCH);
        let process = Process::spawn(
            "anabranch",
            at_home(Command::new(binary), scratch)
                .args([verb, source, "--dir", utf8(folder), "--json"])
                .args(["--listen", &listen])
                .args(extra),
        );
        Self { process }
    }

    /// `$ANABRANCH_BIN`, or the release build.
    ///
    /// # Panics
    ///
    /// When it cannot be built.
    #[must_use]
    pub fn binary() -> &'static Path {
        static BINARY: OnceLock<PathBuf> = OnceLock::new();
        BINARY.get_or_init(|| named().unwrap_or_else(|| build("release")))
    }

    /// `$ANABRANCH_BIN`, or the build as it is shipped: what benchmarks measure.
    ///
    /// # Panics
    ///
    /// When it cannot be built.
    #[must_use]
    pub fn shipped() -> PathBuf {
        named().unwrap_or_else(|| build("dist"))
    }

    /// The process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The address of its listener, once that is up.
    ///
    /// # Panics
    ///
    /// When it does not come up, or the event bears no address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let event = self.wait_event("listening");
        let text = event["address"]
            .as_str()
            .expect("an address in the event `listening`");
        text.parse().expect("an address and a port")
    }

    /// The first event of this name.
    ///
    /// # Panics
    ///
    /// When it does not come.
    pub fn wait_event(&self, name: &str) -> Value {
        self.wait_line(&format!("the event `{name}`"), |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said["event"] == name).then_some(said)
        })
    }

    /// The first value that `pick` makes of a line of its standard output.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn wait_line<T>(&self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let out = |stream, line: &str| (stream == Stream::Out).then(|| pick(line)).flatten();
        let mut out = out;
        self.process.wait_line(what, &mut out)
    }

    /// Waits until this run has received so many bytes of payload.
    pub fn wait_downloaded(&self, bytes: u64) {
        self.wait_line(&format!("{bytes} bytes downloaded"), |line| {
            downloaded(line).filter(|count| *count >= bytes)
        });
    }

    /// All events of a name so far.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Value> {
        let lines = self.process.lines(Stream::Out);
        let parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|said| said["event"] == name).collect()
    }

    /// Waits until every byte is there.
    pub fn wait_complete(&self) {
        self.wait_event("completed");
    }

    /// Waits until it ends, and asserts that it ended well.
    #[allow(clippy::must_use_candidate, reason = "most wait for the end alone")]
    pub fn finish(self) -> Outcome {
        let outcome = Outcome::from(self.process.wait_exit());
        outcome.assert_success();
        outcome
    }

    /// Ends it as Ctrl-C does and waits; it must not crash on the way.
    pub fn interrupt(self) {
        self.process.interrupt();
        let _ = Outcome::from(self.process.wait_exit());
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asserts that it runs and never had more than so many bytes of memory resident.
    ///
    /// # Panics
    ///
    /// When it ended or took more.
    pub fn assert_sound(&mut self, most: u64) {
        assert!(self.process.is_running(), "anabranch ended");
        let peak = self.process.peak_memory();
        assert!(peak <= most, "{peak} bytes of memory, more than {most}");
    }
}

/// What keeps a run from hearing of peers that it was not told of.
pub const ALONE: [&str; 2] = ["--no-pex", "--no-lsd"];

/// `anabranch seed` of all these torrents with the data in `folder`, with JSON lines, and [`ALONE`].
#[must_use]
pub fn anabranch_idle(
    binary: &Path,
    scratch: &Scratch,
    torrents: &[Torrent],
    folder: &Path,
) -> Process {
    let listen = format!("{}:0", address::ANABRANCH);
    let mut command = at_home(Command::new(binary), scratch);
    command
        .args(["seed", "--json", "--listen", &listen])
        .args(ALONE)
        .args(["--dir", utf8(folder)])
        .args(torrents.iter().map(|torrent| &torrent.path));
    Process::spawn("anabranch", &mut command)
}

/// The largest integer called `downloaded` at any depth of a JSON line.
fn downloaded(line: &str) -> Option<u64> {
    fn within(value: &Value) -> Option<u64> {
        match value {
            Value::Object(fields) => {
                let own = fields.get("downloaded").and_then(Value::as_u64);
                own.into_iter()
                    .chain(fields.values().filter_map(within))
                    .max()
            }
            Value::Array(values) => values.iter().filter_map(within).max(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }
    within(&serde_json::from_str(line).ok()?)
}

/// The command on a host.
fn command_on(host: &Host, scratch: &Scratch) -> Command {
    at_home(host.command(Anabranch::binary()), scratch)
}

/// A command with a home of the test's own, so that no run sees what another left.
fn at_home(mut command: Command, scratch: &Scratch) -> Command {
    let home = scratch.folder("home");
    for variable in [
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
    ] {
        command.env(variable, home.join(variable));
    }
    command
        .env("HOME", home)
        .env_remove("http_proxy")
        .env_remove("all_proxy");
    command
}

fn named() -> Option<PathBuf> {
    env::var_os("ANABRANCH_BIN").map(PathBuf::from)
}

fn build(profile: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--profile",
            profile,
            "--package",
            "anabranch",
            "--bin",
            "anabranch",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace);
    let messages = super::run(&mut command);
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == "anabranch";
        message["executable"]
            .as_str()
            .filter(|_| ours)
            .map(PathBuf::from)
    });
    executable.expect("cargo names the executable it built")
}
