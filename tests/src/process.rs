//! Child processes that end with the test and keep what they said.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::usage::Usage;
use crate::wait::{self, INTERVAL, LIMIT};

/// How many of its last lines are shown when a test fails.
const SHOWN: usize = 60;

/// A running program. Dropping it kills it; if the test is failing, its output is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a program ended and what it had said.
#[derive(Debug)]
pub struct Exit {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    said: Vec<(Stream, String)>,
    closed: usize,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts `command`; `name` is for messages.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        Self::launch(name, command, Stdio::null())
    }

    /// Starts `command`, which listens to what [`Process::say`] tells it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_listening(name: &str, command: &mut Command) -> Self {
        Self::launch(name, command, Stdio::piped())
    }

    fn launch(name: &str, command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}: {command:?}"));
        let log = Arc::new(Log::default());
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            readers.push(follow(out, Stream::Out, Arc::clone(&log)));
        }
        if let Some(err) = child.stderr.take() {
            readers.push(follow(err, Stream::Err, Arc::clone(&log)));
        }
        Self {
            name: name.into(),
            child,
            log,
            readers,
        }
    }

    /// The first value that `pick` makes of a line, of those already printed or to come.
    ///
    /// # Panics
    ///
    /// When the program ends, or [`LIMIT`] passes, without such a line.
    pub fn wait_line<T>(&self, what: &str, pick: impl FnMut(Stream, &str) -> Option<T>) -> T {
        self.wait_line_within(LIMIT, what, pick)
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same with another limit.
    ///
    /// # Errors
    ///
    /// A sentence that says so, when the program ends or the limit passes without such a line.
    pub fn wait_line_within<T>(
        &self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(Stream, &str) -> Option<T>,
    ) -> Result<T, String> {
        let start = Instant::now();
        let mut seen = 0;
        let mut lines = self.log.lock();
        loop {
            while let Some((stream, line)) = lines.said.get(seen) {
                if let Some(value) = pick(*stream, line) {
                    return Ok(value);
                }
                seen += 1;
            }
            let name = &self.name;
            if lines.closed >= self.readers.len() {
                return Err(format!("{name} ended without {what}"));
            }
            if start.elapsed() >= limit {
                return Err(format!("waited {limit:?} for {what} from {name}"));
            }
            lines = self
                .log
                .changed
                .wait_timeout(lines, INTERVAL)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    ///
    /// When it has none, or has ended.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut();
        let input = input.unwrap_or_else(|| panic!("{} does not listen", self.name));
        writeln!(input, "{line}").expect("a program that listens");
    }

    /// What it has printed so far on one of its streams.
    #[must_use]
    pub fn lines(&self, stream: Stream) -> Vec<String> {
        let lines = self.log.lock();
        let of_stream = lines.said.iter().filter(|(from, _)| *from == stream);
        of_stream.map(|(_, line)| line.clone()).collect()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    ///
    /// When it is still running after [`LIMIT`].
    #[must_use]
    pub fn wait_exit(mut self) -> Exit {
        let what = format!("{} to end", self.name);
        let status = wait::until(&what, || {
            self.child.try_wait().expect("waiting for a child")
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader of output");
        }
        let text = |stream| self.lines(stream).join("\n");
        Exit {
            status,
            stdout: text(Stream::Out),
            stderr: text(Stream::Err),
        }
    }

    /// Whether it is still running.
    ///
    /// # Panics
    ///
    /// When the system does not say.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the state of a child")
            .is_none()
    }

    /// Ends it the hard way (SIGKILL) and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("killing a child");
        self.child.wait().expect("waiting for a killed child");
    }

    /// Asks it to end as Ctrl-C does (SIGINT).
    ///
    /// # Panics
    ///
    /// When the signal cannot be sent.
    pub fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .expect("kill(1)");
        assert!(sent.success(), "no signal to {}", self.name);
    }

    /// The most memory it has had resident, in bytes.
    ///
    /// # Panics
    ///
    /// When it is no longer running.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let memory = self.usage().memory;
        memory
            .unwrap_or_else(|| panic!("{} is no longer running", self.name))
            .peak
    }

    /// The number that the system knows it by.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time and memory it takes, while it runs and after it has ended by itself.
    ///
    /// # Panics
    ///
    /// When it was waited for already.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::of(self.child.id()).unwrap_or_else(|| panic!("{} is no longer there", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.log.lock();
            let skipped = lines.said.len().saturating_sub(SHOWN);
            let mut text = format!("--- {} ({skipped} earlier lines)\n", self.name);
            for (_, line) in lines.said.iter().skip(skipped) {
                let _ = writeln!(text, "{line}");
            }
            eprintln!("{text}");
        }
    }
}

fn follow(from: impl Read + Send + 'static, stream: Stream, log: Arc<Log>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            log.lock().said.push((stream, text));
            log.changed.notify_all();
        }
        log.lock().closed += 1;
        log.changed.notify_all();
    })
}
