//! A swarm with faults, its report, its metrics as CSV and its picture.
//!
//! `cargo run --release -p anabranch-sim --example swarm -- [PEERS] [MIB] [PRESET] [SEED]` writes
//! `swarm.csv` and `swarm.svg` to the current folder.

use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::time::Instant;

use anabranch_sim::scenario::{Faults, Scenario};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let peers = words.next().map_or(Ok(20), |word| word.parse())?;
    let mib: u64 = words.next().map_or(Ok(16), |word| word.parse())?;
    let preset = words.next().unwrap_or_else(|| String::from("crashes"));
    let seed = words.next().map_or(Ok(1), |word| word.parse())?;

    let faults = Faults::preset(&preset).ok_or("there is no such preset")?;
    let mut run = Scenario::new(seed)
        .peers(peers)
        .size(mib << 20)
        .faults(faults)
        .start()?;
    let begun = Instant::now();
    let end = run.advance(|_| ControlFlow::Continue(()))?;
    let wall = begun.elapsed();

    let report = run.report();
    println!("{end:?} after {wall:?}: {report:#?}");
    println!("{} happenings a second", report.happened_per_second(wall));
    run.metrics()
        .write_csv(BufWriter::new(File::create("swarm.csv")?))?;
    fs::write("swarm.svg", run.plot())?;
    Ok(())
}
