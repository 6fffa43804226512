//! How swarms fare on different networks, as a table that is kept: `docs/simulation-table.md`. Every
//! change of what the engine decides shows in it, and has to be meant.
//!
//! `ANABRANCH_BLESS=1 cargo test -p anabranch-sim --test snapshot` writes it anew.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Duration;
use std::{env, fs, thread};

use anabranch_sim::scenario::{End, Report, Scenario};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation-table.md");

const BLESS: &str = "ANABRANCH_BLESS";

const SIZE: u64 = 2 << 20;
const PIECE_LENGTH: u32 = 32 << 10;
const RATES: (u64, u64) = (100_000, 400_000);

const HEAD: &str = "\
# How swarms fare

One seeder and so many equal peers, all there from the beginning, share 2 MiB in pieces of 32 KiB; everybody sends
100 kB/s and receives 400 kB/s. Latency is from one host to another on average, loss in packets. Completion is that of
the median and of the last peer. Efficiency is the shortest time that is possible (the fluid bound) by that of the last
peer; overhead is what is received beside payload, waste is payload that came twice or was wrong, both to the payload;
share ratios are uploaded by downloaded, and fairness is Jain's index of them.

So small a torrent is over soon after everybody knows whom to trade with, so that efficiency is below that of large ones.
What counts is what a change does to these numbers: they are the same on every machine, and a test compares them.
After a change that is meant, this writes the table anew:

```sh
ANABRANCH_BLESS=1 cargo test -p anabranch-sim --test snapshot
```

| peers | latency, ms | loss, ‰ | median, ms | last, ms | efficiency, ‰ | overhead, ppm | waste, ppm | share ratio, ‰ | fairness, ‰ |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

const SECOND_HEAD: &str = "
## Where the link of who downloads is the bottleneck

Seeders that send 1 MiB/s each, and so many of them that the links of those who download are full; pieces of 128 KiB, no
loss. What is fetched twice here takes the place of what is missing.

| peers | seeders | size, KiB | receives, B/s | latency, ms | median, ms | last, ms | efficiency, ‰ | overhead, ppm | waste, ppm |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// Peers, latency in milliseconds, and loss in thousandths.
type Network = (u32, u64, u32);

/// Peers, seeders, KiB of the torrent, bytes a second that each receives, and latency in milliseconds.
type Bottleneck = (u32, u32, u64, u64, u64);

const BOTTLENECKS: [Bottleneck; 3] = [
    (1, 10, 32 << 10, 4 << 20, 50),
    (5, 20, 64 << 10, 4 << 20, 50),
    // 32 Mbit/s, and 37.7 MiB.
    (1, 10, 38_605, 4_000_000, 10),
];

#[test]
fn the_table_is_what_swarms_do() {
    let mut networks = Vec::new();
    for peers in [5, 20, 50] {
        for latency in [10, 100] {
            for loss in [0, 10] {
                networks.push((peers, latency, loss));
            }
        }
    }
    let first = rows(&networks, |network| row(*network)).concat();
    let second = rows(&BOTTLENECKS, |bottleneck| second_row(*bottleneck)).concat();
    let table = format!("{HEAD}{first}{SECOND_HEAD}{second}");
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    if env::var_os(BLESS).is_some() {
        fs::write(FILE, table).expect("the table can be written");
        return;
    }
    assert!(
        table == kept,
        "swarms do otherwise than {FILE} says:\n\n{}\nif this is meant, write it anew with\n  \
         {BLESS}=1 cargo test -p anabranch-sim --test snapshot\n",
        difference(&kept, &table)
    );
}

/// All rows, in order, whoever is done first.
fn rows<T: Sync>(of: &[T], row: impl Fn(&T) -> String + Sync) -> Vec<String> {
    // The largest are begun first, so that no thread waits for long in the end.
    let waiting = Mutex::new(of.iter().enumerate().collect::<Vec<_>>());
    let rows = Mutex::new(vec![String::new(); of.len()]);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(of.len()) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("nobody panics with it").pop();
                    let Some((index, one)) = next else {
                        return;
                    };
                    let row = row(one);
                    rows.lock().expect("nobody panics with it")[index] = row;
                }
            });
        }
    });
    rows.into_inner().expect("nobody panics with it")
}

fn row((peers, latency, loss): Network) -> String {
    let scenario = Scenario::new(1)
        .peers(peers)
        .size(SIZE)
        .piece_length(PIECE_LENGTH)
        .rates(RATES.0, RATES.1)
        .latency(Duration::from_millis(latency))
        .loss(loss * 1_000);
    let report = run(scenario);
    let completion = report.completion.expect("somebody is complete");
    let ratio = report.share_ratio_permille.expect("they have downloaded");
    let mut row = String::new();
    writeln!(
        row,
        "| {peers} | {latency} | {loss} | {} | {} | {} | {} | {} | {} to {} | {} |",
        completion.median.as_millis(),
        completion.max.as_millis(),
        report.efficiency_permille.expect("everybody is complete"),
        report.overhead_ppm().expect("there was payload"),
        report.wasted_ppm().expect("there was payload"),
        ratio.min,
        ratio.max,
        report.fairness_permille.expect("they have uploaded"),
    )
    .expect("a string takes everything");
    row
}

fn second_row((peers, seeders, kib, down, latency): Bottleneck) -> String {
    let scenario = Scenario::new(1)
        .peers(peers)
        .seeders(seeders)
        .size(kib << 10)
        .rates(1 << 20, down)
        .latency(Duration::from_millis(latency));
    let report = run(scenario);
    let completion = report.completion.expect("somebody is complete");
    format!(
        "| {peers} | {seeders} | {kib} | {down} | {latency} | {} | {} | {} | {} | {} |\n",
        completion.median.as_millis(),
        completion.max.as_millis(),
        report.efficiency_permille.expect("everybody is complete"),
        report.overhead_ppm().expect("there was payload"),
        report.wasted_ppm().expect("there was payload"),
    )
}

fn run(scenario: Scenario) -> Report {
    let mut run = scenario.start().expect("a sensible scenario");
    match run.advance(|_| ControlFlow::Continue(())) {
        Ok(end) => assert_eq!(end, End::Complete),
        Err(failure) => panic!("{failure}"),
    }
    run.report()
}

/// Lines that differ.
fn difference(old: &str, new: &str) -> String {
    let mut out = String::new();
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    for index in 0..old.len().max(new.len()) {
        let (was, is) = (old.get(index), new.get(index));
        if was != is {
            was.inspect(|line| out.push_str(&format!("- {line}\n")));
            is.inspect(|line| out.push_str(&format!("+ {line}\n")));
        }
    }
    out
}
