//! How rate, processor time and memory of the command grow with the number of peers, pieces, torrents
//! and connections; `docs/benchmark.md` says what and how.
//!
//! ```sh
//! cargo run --release -p anabranch-tests --example scaling -- --help
//! ```

mod chart;
mod curves;
mod hold;
mod options;
mod point;

use std::process::ExitCode;
use std::{env, fs};

use curves::Stage;
use options::{Mode, Options};
use point::{CSV_HEAD, Curve, Point};

fn main() -> ExitCode {
    let result = match options::parse(env::args().skip(1)) {
        Ok(Mode::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Mode::Hold(hold)) => hold::run(&hold),
        Ok(Mode::Measure(options)) => run(&options),
        Err(message) => {
            eprintln!("scaling: {message}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("scaling: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let stage = Stage::set(options)?;
    let mut points = Vec::new();
    println!("{CSV_HEAD}");
    for curve in Curve::ALL.into_iter().filter(|one| options.wants(*one)) {
        for x in curve.range().iter().filter(|x| **x <= options.most) {
            eprintln!("{x} {} ...", curve.name());
            match point(&stage, options, curve, *x) {
                Ok(point) => {
                    println!("{}", point.csv());
                    points.push(point);
                }
                // Those before it are worth having.
                Err(why) => {
                    eprintln!("{x} {}: {why}", curve.name());
                    break;
                }
            }
        }
    }
    let Some(folder) = &options.out else {
        return Ok(());
    };
    let lines = points.iter().map(|point| point.csv() + "\n");
    let csv = format!("{CSV_HEAD}\n{}", lines.collect::<String>());
    let save = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    save("scaling.csv", &csv)?;
    save("scaling.svg", &chart::draw(&points))
}

/// The medians of some runs.
fn point(stage: &Stage, options: &Options, curve: Curve, x: usize) -> Result<Point, String> {
    let samples: Result<Vec<Point>, String> = (0..options.runs)
        .map(|_| match curve {
            Curve::Peers => curves::peers(stage, x),
            Curve::Pieces => curves::pieces(stage, x),
            Curve::Torrents => curves::torrents(stage, options, x),
            Curve::Connections => curves::connections(stage, options, x),
        })
        .collect();
    Ok(Point::median(curve, x, &samples?))
}
