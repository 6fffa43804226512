//! The `anabranch` command: a BitTorrent client for the command line.

mod args;
mod commands;
mod content;
mod exit;
mod hashing;
mod interrupt;
mod losses;
mod output;
mod runtime;
mod select;
mod session;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(args::Cli::read().command).into()
}
