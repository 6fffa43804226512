//! What the DHT costs whom others ask: queries served, memory taken; `docs/benchmark.md` says what and how.
//!
//! ```sh
//! cargo run --release -p anabranch-tests --example dht
//! ```

mod alone;
mod counting;
mod load;
mod node;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anabranch_tests::Scratch;
use anabranch_tests::clients::{Anabranch, Client, Clients};

const HELP: &str = "\
Measures the DHT: an engine alone, and the command beside libtorrent. docs/benchmark.md explains the figures.

Usage: dht [OPTIONS]

  --queries N   How many of each kind a node is asked [default: 100000]
  --runs N      How often each one has its turn [default: 3]
  --alone       Measure the engine alone
  --bin PATH    The anabranch to measure [default: $ANABRANCH_BIN, or a build as it is shipped]
  -h, --help    This text
";

struct Options {
    queries: usize,
    runs: usize,
    alone: bool,
    bin: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("dht: {message}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("dht: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        queries: 100_000,
        runs: 3,
        alone: false,
        bin: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--queries" => options.queries = count(&value()?)?,
            "--runs" => options.runs = count(&value()?)?,
            "--alone" => options.alone = true,
            "--bin" => options.bin = Some(value()?.into()),
            _ => return Err(format!("unknown option: {arg}")),
        }
    }
    Ok(Some(options))
}

fn count(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=1 << 30).contains(count));
    count.ok_or_else(|| format!("no number that makes sense here: {text}"))
}

fn run(options: &Options) -> Result<(), String> {
    alone::run(options.queries, options.runs);
    if options.alone {
        return Ok(());
    }
    let bin = match &options.bin {
        Some(path) => path.clone(),
        None => Anabranch::shipped(),
    };
    let mut kinds = vec![node::Kind::Anabranch];
    if Clients::find().missing().contains(&Client::Libtorrent) {
        let package = Client::Libtorrent.package();
        eprintln!("left out: libtorrent: install {package}");
    } else {
        kinds.push(node::Kind::Libtorrent);
    }
    let scratch = Scratch::new();
    let mut samples = vec![Vec::new(); kinds.len()];
    for round in 1..=options.runs {
        for (kind, samples) in kinds.iter().zip(&mut samples) {
            eprintln!("{} {round}/{} ...", kind.name(), options.runs);
            samples.push(load::run(*kind, &bin, &scratch, options.queries)?);
        }
    }
    table::print(&kinds, &samples);
    Ok(())
}
