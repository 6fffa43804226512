//! `anabranch replay`: feeds a recorded run to a fresh engine, and compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, BufWriter, Stdout, Write, stdout};
use std::path::Path;
use std::time::Duration;

use anabranch_core::id::TorrentId;
use anabranch_core::status::TorrentStatus;
use anabranch_core::{Action, Notice, TorrentState};
use anabranch_replay::{
    Divergence, Ending, Narrator, ReadError, Recording, ReplayError, Replayer, Step,
};
use serde::Serialize;

use crate::args::Replay;
use crate::exit::{Exit, Failure};
use crate::output::{event, json, lines::plural, print, text::printable, text::reason};
use crate::units;

/// Actions that are shown of each side of a divergence.
const SHOWN: usize = 100;

type Run = Replayer<BufReader<File>>;

pub(crate) fn run(args: &Replay) -> Result<Exit, Failure> {
    let path = args.file.as_path();
    let file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
    let recording =
        Recording::open(BufReader::new(file)).map_err(|error| unreadable(path, &error, 0))?;
    let mut replayer = Replayer::new(recording);
    let mut teller = args.trace.then(|| Trace::new(args.json));
    let mut torrents = Torrents::default();
    let began = std::time::Instant::now();
    let result = loop {
        let (now, step) = match replayer.step() {
            Ok(Some(step)) => (step.at, step),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if let Some(teller) = &mut teller {
            teller.tell(&step)?;
        }
        let changed = changed(step.actions);
        for torrent in changed {
            if let Some(view) = replayer.engine().torrent(torrent) {
                torrents.note(view.status(now));
            }
        }
    };
    if let Some(teller) = &mut teller {
        teller.flush()?;
    }
    let elapsed = began.elapsed();
    torrents.look(&replayer);
    match result {
        Ok(()) => {
            let summary = Summary::new(path, &replayer, &torrents, elapsed);
            if args.json {
                json::tell(&summary)?;
            } else {
                print(&summary.text())?;
            }
            Ok(Exit::Done)
        }
        Err(ReplayError::Diverged(divergence)) => {
            let mut narrator = teller.map(|teller| teller.narrator).unwrap_or_default();
            let report = Report::new(path, &divergence, &mut narrator);
            if args.json {
                json::tell(&report)?;
            } else {
                print(&report.text())?;
            }
            Err(diverged(path, &divergence, replayer.recording().program()))
        }
        Err(ReplayError::Read(error)) => Err(unreadable(path, &error, replayer.totals().events)),
        Err(error) => {
            let why = reason(&error);
            Err(Failure::new(format!("{}: {why}", path.display())))
        }
    }
}

/// The torrents that changed so that where they stand is worth remembering: they may be gone at the
/// end.
fn changed(actions: &[Action]) -> Vec<TorrentId> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Notify(
                notice @ (Notice::Added { .. }
                | Notice::State { .. }
                | Notice::Checked { .. }
                | Notice::Completed { .. }),
            ) => Some(notice.torrent()),
            Action::Notify(_)
            | Action::Connect { .. }
            | Action::Accept { .. }
            | Action::Refuse { .. }
            | Action::Send { .. }
            | Action::Read { .. }
            | Action::Close { .. }
            | Action::Datagram(_)
            | Action::Disk { .. }
            | Action::Resolve { .. }
            | Action::Http { .. }
            | Action::Cancel { .. }
            | Action::Reply { .. } => None,
        })
        .collect()
}

/// Where each torrent stood when it was last looked at.
#[derive(Default)]
struct Torrents(BTreeMap<TorrentId, TorrentStatus>);

impl Torrents {
    /// That a torrent is on its way out says nothing of it: what it had been doing does.
    fn note(&mut self, mut status: TorrentStatus) {
        if status.state == TorrentState::Removing
            && let Some(before) = self.0.get(&status.torrent)
        {
            status.state = before.state;
        }
        self.0.insert(status.torrent, status);
    }

    fn look(&mut self, replayer: &Run) {
        let engine = replayer.engine();
        for id in engine.torrents() {
            if let Some(view) = engine.torrent(id) {
                self.note(view.status(replayer.now()));
            }
        }
    }
}

/// Tells every step, as it comes.
struct Trace {
    narrator: Narrator,
    json: bool,
    out: BufWriter<Stdout>,
}

/// The object that `replay --trace --json` writes for every event.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "step")]
struct Told {
    /// Which event, from 1.
    number: u64,
    /// When, in nanoseconds on the run's clock.
    at_ns: u64,
    /// What the engine was told.
    what: String,
    /// What it did.
    actions: Vec<String>,
}

impl Trace {
    fn new(json: bool) -> Self {
        Self {
            narrator: Narrator::new(),
            json,
            out: BufWriter::with_capacity(1 << 16, stdout()),
        }
    }

    fn tell(&mut self, step: &Step<'_>) -> Result<(), Failure> {
        let told = Told {
            number: step.number,
            at_ns: step.at.as_nanos(),
            what: self.narrator.event(&step.event),
            actions: step
                .actions
                .iter()
                .map(|action| self.narrator.action(action))
                .collect(),
        };
        if self.json {
            // Into the order of everything else that goes to standard output.
            return json::tell(&told);
        }
        let mut text = format!(
            "{:>17} {:>7}  {}\n",
            step.at.to_string(),
            step.number,
            printable(&told.what)
        );
        for action in &told.actions {
            text.push_str(&format!("{:27}> {}\n", "", printable(action)));
        }
        self.out
            .write_all(text.as_bytes())
            .map_err(|error| Failure::stdout(&error))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::stdout(&error))
    }
}

/// The object that `replay --json` writes at the end. As stable as [`Event`](crate::output::Event).
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "replayed")]
struct Summary {
    /// The recording.
    file: String,
    /// The program that made it.
    program: String,
    /// The time of day at which the run began, in seconds since 1970.
    began: u64,
    /// Whether it is recorded to its end: `complete`, or `cut` where it was killed or goes on still.
    ending: &'static str,
    /// Milliseconds from the run's first event to its last.
    duration_ms: u64,
    /// How many events.
    events: u64,
    /// How many actions.
    actions: u64,
    /// The hash of all actions, in hexadecimal.
    hash: String,
    /// Where the torrents stood at the end, or before they were removed.
    torrents: Vec<TorrentSummary>,
    /// Payload bytes received that were asked for.
    payload_received: u64,
    /// Payload bytes handed out to be sent.
    payload_sent: u64,
    /// Milliseconds that the replay took.
    elapsed_ms: u64,
    /// How many events a second that makes.
    events_per_second: u64,
}

/// A torrent of a run.
#[derive(Debug, Serialize)]
struct TorrentSummary {
    /// The info-hash, in hexadecimal.
    info_hash: String,
    /// The name, made safe as that of a file.
    name: String,
    /// `checking`, `downloading`, `seeding`, `paused`, `failed` or `removing`.
    state: &'static str,
    /// Pieces in all.
    pieces: u32,
    /// Pieces that were there and verified.
    pieces_have: u32,
    /// Bytes downloaded in this run.
    downloaded: u64,
    /// Bytes uploaded in this run.
    uploaded: u64,
}

impl Summary {
    fn new(path: &Path, replayer: &Run, torrents: &Torrents, elapsed: Duration) -> Self {
        let start = replayer.recording().start();
        let totals = replayer.totals();
        let stats = replayer.engine().stats();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let torrents = torrents.0.values().map(|status| TorrentSummary {
            info_hash: status.info_hash.to_string(),
            name: status.name.clone(),
            state: event::state(status.state),
            pieces: status.pieces,
            pieces_have: status.pieces_have,
            downloaded: status.session_downloaded,
            uploaded: status.session_uploaded,
        });
        Self {
            file: path.display().to_string(),
            program: replayer.recording().program().to_owned(),
            began: start.wall.0,
            ending: match replayer.ending() {
                Some(Ending::Complete(_)) => "complete",
                Some(Ending::Cut) | None => "cut",
            },
            duration_ms: millis(replayer.now().since(start.now)),
            events: totals.events,
            actions: totals.actions,
            hash: format!("{:016x}", totals.hash),
            torrents: torrents.collect(),
            payload_received: stats.payload_received,
            payload_sent: stats.payload_sent,
            elapsed_ms: millis(elapsed),
            events_per_second: units::average(totals.events, elapsed),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // A string takes everything.
            let _ = writeln!(text, "{name:<12}  {}", printable(&value));
        };
        let ending = match self.ending {
            "complete" => "recorded to its end",
            _ => "cut off: killed, or not over yet",
        };
        line("recording", format!("{}, by {}", self.file, self.program));
        line(
            "run",
            format!(
                "{}, {ending}",
                units::elapsed(Duration::from_millis(self.duration_ms))
            ),
        );
        for torrent in &self.torrents {
            line(
                "torrent",
                format!(
                    "{}: {}, {} of {}, {} down, {} up",
                    torrent.name,
                    torrent.state,
                    torrent.pieces_have,
                    plural(torrent.pieces.into(), "piece", "pieces"),
                    units::size(torrent.downloaded),
                    units::size(torrent.uploaded),
                ),
            );
        }
        line(
            "payload",
            format!(
                "{} received, {} sent",
                units::size(self.payload_received),
                units::size(self.payload_sent)
            ),
        );
        line(
            "replayed",
            format!(
                "{} and {}, all as recorded (hash {})",
                plural(self.events, "event", "events"),
                plural(self.actions, "action", "actions"),
                self.hash
            ),
        );
        line(
            "took",
            format!(
                "{}, {} events a second",
                units::elapsed(Duration::from_millis(self.elapsed_ms)),
                self.events_per_second
            ),
        );
        text
    }
}

/// The object that `replay --json` writes where the engine does something else.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "diverged")]
struct Report {
    /// The recording.
    file: String,
    /// Which event, from 1.
    number: u64,
    /// When, in nanoseconds on the run's clock.
    at_ns: u64,
    /// What the engine was told.
    what: String,
    /// What it had done then: how many actions, and the first of them in brief.
    recorded_actions: u64,
    /// In brief.
    recorded: Vec<String>,
    /// What it does now: how many actions, and the first of them.
    replayed_actions: u64,
    /// In full.
    replayed: Vec<String>,
    /// When it now wants to be called again.
    wake: String,
}

impl Report {
    fn new(path: &Path, divergence: &Divergence, narrator: &mut Narrator) -> Self {
        let recorded = &divergence.recorded;
        Self {
            file: path.display().to_string(),
            number: divergence.number,
            at_ns: divergence.at.as_nanos(),
            what: narrator.event(&divergence.event),
            recorded_actions: recorded.count,
            recorded: recorded
                .actions
                .iter()
                .take(SHOWN)
                .map(ToString::to_string)
                .collect(),
            replayed_actions: divergence.actions.len() as u64,
            replayed: divergence
                .actions
                .iter()
                .take(SHOWN)
                .map(|action| narrator.action(action))
                .collect(),
            wake: format!("{:?}", divergence.wake),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "event {} at {}: {}\n",
            self.number,
            anabranch_core::Instant::from_nanos(self.at_ns),
            printable(&self.what)
        );
        let mut side = |name: &str, count: u64, actions: &[String]| {
            text.push_str(&format!(
                "  {name}: {}\n",
                plural(count, "action", "actions")
            ));
            for action in actions {
                text.push_str(&format!("    > {}\n", printable(action)));
            }
        };
        side("recorded", self.recorded_actions, &self.recorded);
        side("now", self.replayed_actions, &self.replayed);
        text.push_str(&format!("  and now it wants to be called: {}\n", self.wake));
        text
    }
}

fn diverged(path: &Path, divergence: &Divergence, program: &str) -> Failure {
    Failure::diverged(format!(
        "{}: at event {} the engine does something else than what was recorded",
        path.display(),
        divergence.number
    ))
    .advise(format!(
        "the recording was made by {program}; --trace tells what led there"
    ))
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "there is advice for some errors, and none for those to come"
)]
fn unreadable(path: &Path, error: &ReadError, events: u64) -> Failure {
    let mut message = match error {
        ReadError::Io(error) => format!("cannot read {}: {}", path.display(), reason(error)),
        _ => format!("{}: {}", path.display(), reason(&error)),
    };
    if events > 0 {
        message.push_str(&format!(
            "; {} before that came to what was recorded",
            plural(events, "event", "events")
        ));
    }
    let failure = Failure::new(message);
    match error {
        ReadError::Io(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
            failure.advise("give the recording that is in it")
        }
        ReadError::Foreign => failure.advise(
            "recordings are made by `anabranch download --record FILE` and `seed --record FILE`",
        ),
        ReadError::Older { .. } | ReadError::Newer { .. } | ReadError::Unknown { .. } => {
            failure.advise("replay it with the version that recorded it")
        }
        ReadError::Damaged { .. } => failure.advise("copy it anew from where it was made"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use anabranch_core::{Actions, Config, Event, Instant, Seed, UnixTime};
    use anabranch_replay::{Recorder, Start};

    use super::*;

    fn recorded() -> Vec<u8> {
        let start = Start {
            config: Config::default(),
            seed: Seed([0; 32]),
            now: Instant::ZERO,
            wall: UnixTime(0),
        };
        let mut engine = start.engine();
        let mut recorder = Recorder::new(Vec::new(), &start).unwrap();
        for second in 0..5 {
            let now = Instant::from_millis(second * 1000);
            let _ = recorder.handle(&mut engine, now, Event::Tick, &mut Actions::new());
        }
        recorder.finish().unwrap()
    }

    /// A file, and the folder that it is in.
    fn written(file: &[u8]) -> (Replay, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        std::fs::write(&path, file).unwrap();
        let args = Replay {
            file: path,
            trace: false,
            json: false,
        };
        (args, dir)
    }

    #[test]
    fn what_is_no_recording_is_refused_with_advice() {
        let mut newer = recorded();
        newer[8] = 200;
        let mut damaged = recorded();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        for (file, word) in [
            (b"d4:infoe".to_vec(), "not a recording"),
            (newer, "format 200"),
            (damaged, "damaged"),
        ] {
            let (args, _dir) = written(&file);
            let failure = run(&args).unwrap_err();
            assert_eq!(failure.exit(), Exit::Failure);
            assert!(failure.message().contains(word), "{failure}");
            assert!(failure.advice().is_some(), "{failure}");
        }
    }

    #[test]
    fn a_whole_recording_and_one_that_is_cut_off_are_replayed() {
        let file = recorded();
        for len in [file.len(), file.len() - 3] {
            let (args, _dir) = written(&file[..len]);
            assert_eq!(run(&args).unwrap(), Exit::Done);
        }
    }
}
