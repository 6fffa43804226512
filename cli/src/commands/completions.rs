//! `anabranch completions`: completions for shells.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::exit::{Exit, Failure};
use crate::output::print;

pub(crate) fn run(args: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anabranch", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
