//! `anabranch simulate`: a whole swarm in virtual time.

mod files;
mod report;

use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anabranch_sim::scenario::{End, Faults, PRESETS, Progress, Run, Scenario, ScenarioError};
use anabranch_sim::{Failure as Broken, HostId, World};
use smol::channel::Receiver;

use self::files::{Files, LogFile};
use self::report::Told;
use crate::args::Simulate;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Output, eprint_line, json, print, text::printable};
use crate::units;

/// How often the bar moves.
const PACE: Duration = Duration::from_millis(100);

/// What a file of faults may have of bytes; the library says so, too, once it is read.
const MAX_FAULTS: u64 = 2 << 20;

pub(crate) fn run(args: &Simulate) -> Result<Exit, Failure> {
    if args.faults == Path::new("list") {
        return list();
    }
    let mut output = Output::new(args.json);
    let result = interrupt::listen().and_then(|signals| simulate(args, &signals, &mut output));
    output.clear();
    result
}

/// Shows the presets.
fn list() -> Result<Exit, Failure> {
    let mut text = String::new();
    for (name, _) in PRESETS {
        let about =
            Faults::preset(name).map_or_else(String::new, |faults| faults.about().to_owned());
        text += &format!("{name:<15} {about}\n");
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn simulate(
    args: &Simulate,
    signals: &Receiver<Exit>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let scenario = scenario(args)?;
    // A file that cannot be written is told before the run.
    let files = Files::create(args)?;
    let (log, written) = LogFile::create(args.log.as_deref())?;
    let prepare = |world: &mut World| {
        world.set_repeat_command(repeat_command(args));
        if let Some(log) = log {
            match (args.log_host.map(HostId::new), log.is_csv()) {
                (None, false) => world.log_to(log),
                (None, true) => world.log_csv_to(log),
                (Some(host), false) => world.log_host_to(host, log),
                (Some(host), true) => world.log_host_csv_to(host, log),
            }
        }
    };
    let mut run = scenario
        .start_with(prepare)
        .map_err(|error| nonsense(&error))?;
    let hosts = run.world().hosts().count();
    if let Some(host) = args.log_host.filter(|host| *host as usize >= hosts) {
        return Err(
            Failure::usage(format!("there is no host {host}: there are {hosts}"))
                .advise("they are counted from 0, seeders first"),
        );
    }

    let began = Instant::now();
    let mut asked = None;
    let outcome = advance(&mut run, signals, output, &mut asked);
    let wall = began.elapsed();
    output.clear();
    files.write(&run)?;
    let told = Told::new(args, &run, asked.is_some(), wall);
    if let Err(broken) = outcome {
        if !args.json {
            print(&told.text())?;
        }
        return Err(failed_check(&broken, args.json));
    }
    // The log is whole when nobody writes to it any more.
    let end = run.end();
    drop(run);
    written.check()?;
    match args.json {
        true => json::tell(&told)?,
        false => print(&told.text())?,
    }
    Ok(match (asked, end) {
        (Some(exit), _) => exit,
        (None, Some(End::Complete)) if told.corrupt == 0 => Exit::Done,
        (None, _) => Exit::Incomplete,
    })
}

/// Runs until the end or until somebody asks for it, which is then in `asked`.
fn advance(
    run: &mut Run,
    signals: &Receiver<Exit>,
    output: &mut Output,
    asked: &mut Option<Exit>,
) -> Result<End, Broken> {
    let began = Instant::now();
    let mut drawn = began;
    run.advance(|progress| {
        if let Ok(exit) = signals.try_recv() {
            *asked = Some(exit);
            return ControlFlow::Break(());
        }
        if drawn.elapsed() >= PACE {
            drawn = Instant::now();
            output.gauge(
                progress.have,
                progress.wanted,
                &texts(progress, began.elapsed()),
            );
        }
        ControlFlow::Continue(())
    })
}

/// How far it is, the most important first.
fn texts(progress: &Progress, wall: Duration) -> [String; 4] {
    let events = units::average(progress.happened, wall);
    [
        format!("{}%", units::percent(progress.have, progress.wanted)),
        format!("{} of virtual time", units::elapsed(progress.now)),
        format!("{} of {} complete", progress.complete, progress.peers),
        format!("{} events/s", report::grouped(events)),
    ]
}

/// What the options ask for.
fn scenario(args: &Simulate) -> Result<Scenario, Failure> {
    let mut scenario = Scenario::new(args.seed)
        .peers(args.peers)
        .seeders(args.seeders)
        .size(args.size)
        .rates(args.up, args.down)
        .latency(args.latency)
        .loss(args.loss)
        .transports(args.transport.into())
        .churn(args.churn)
        .faults(faults(&args.faults)?);
    if let Some(length) = args.piece_length {
        scenario = scenario.piece_length(length);
    }
    if let Some(until) = args.until {
        scenario = scenario.until(until);
    }
    Ok(scenario)
}

/// A preset, or what is in a file.
fn faults(name: &Path) -> Result<Faults, Failure> {
    if let Some(faults) = name.to_str().and_then(Faults::preset) {
        return Ok(faults);
    }
    let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    let mut text = String::new();
    fs::File::open(name)
        .and_then(|file| file.take(MAX_FAULTS).read_to_string(&mut text))
        .map_err(|error| {
            Failure::io("read", name, &error).advise(format!(
                "--faults takes a file, or one of {}",
                names.join(", ")
            ))
        })?;
    Faults::parse(&text).map_err(|error| {
        let error = error.to_string();
        let (what, place) = error.split_once('\n').unwrap_or((&error, ""));
        Failure::usage(format!("{}: {what}", name.display()))
            .detail(place)
            .advise("docs/simulation.md tells what such a file may have")
    })
}

fn nonsense(error: &ScenarioError) -> Failure {
    Failure::usage(error.to_string())
}

/// A check that did not hold: where, when, and how to see it again.
fn failed_check(broken: &Broken, json: bool) -> Failure {
    let host = broken
        .host
        .map_or_else(String::new, |host| format!(", {host}"));
    let kind = broken.kind.to_string();
    let place = format!("seed {:#x}, at {}{host}", broken.seed, broken.at);
    let what = if json {
        kind
    } else {
        // What engines say of themselves is long; the message is what is needed first.
        let mut lines = kind.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        lines.for_each(|line| eprint_line(&printable(line)));
        first
    };
    Failure::new(format!("a check did not hold: {place}: {what}"))
        .advise(format!("repeat it with: {}", broken.repeat))
}

/// The command line that makes the same run, whatever the defaults are.
fn repeat_command(args: &Simulate) -> String {
    let percent = |ppm: u32| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
    let mut words = vec![
        "anabranch simulate".to_owned(),
        format!("--seed {:#x}", args.seed),
        format!("--peers {}", args.peers),
        format!("--seeders {}", args.seeders),
        format!("--size {}", args.size),
        format!("--up {}", args.up),
        format!("--down {}", args.down),
        format!("--latency {}ms", args.latency.as_millis()),
        format!("--loss {}", percent(args.loss)),
        format!("--transport {}", args.transport),
        format!("--churn {}", percent(args.churn)),
        format!("--faults {}", quoted(&args.faults)),
    ];
    words.extend(
        args.piece_length
            .map(|length| format!("--piece-length {length}")),
    );
    words.extend(
        args.until
            .map(|until| format!("--until {}ms", until.as_millis())),
    );
    words.join(" ")
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Simulate {
        let command = Cli::try_parse_from(words).unwrap().command;
        let Command::Simulate(args) = command else {
            panic!("{command:?}");
        };
        args
    }

    #[test]
    fn the_command_that_repeats_a_run_asks_for_the_same() {
        let all = "anabranch simulate --peers 7 --seeders 2 --size 3MiB --piece-length 32KiB --up 200k \
                   --down 2MB --latency 15ms --loss 0.25% --churn 12.5% --faults crashes --seed feed \
                   --until 1h30m";
        for line in ["anabranch simulate", all] {
            let asked = parse(line.split_whitespace());
            let command = repeat_command(&asked);
            let again = parse(command.split(' '));
            let make = |args: &Simulate| format!("{:?}", scenario(args).unwrap());
            assert_eq!(make(&asked), make(&again), "{command}");
            assert_eq!(repeat_command(&again), command);
        }
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(quoted(Path::new("a/b-1.toml")), "a/b-1.toml");
        assert_eq!(quoted(Path::new("my faults.toml")), "'my faults.toml'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let asked = scenario(&parse(["anabranch", "simulate"])).unwrap();
        let plain = Scenario::new(1).faults(Faults::preset("none").unwrap());
        assert_eq!(format!("{asked:?}"), format!("{plain:?}"));
    }
}
