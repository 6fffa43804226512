//! `anabranch man`: the manual page.
//!
//! One page holds all commands, so that one file is all there is to install.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::Cli;
use crate::exit::{Exit, Failure};
use crate::output::print;

pub(crate) fn run() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    render(&mut page).map_err(|error| Failure::stdout(&error))?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    section(page, "COMMANDS")?;
    for subcommand in command.get_subcommands() {
        render_command(page, subcommand)?;
        for part in subcommand.get_subcommands() {
            render_command(page, part)?;
        }
    }
    man.render_extra_section(page)?;
    examples(page)?;
    man.render_version_section(page)
}

/// A command with its description and its options.
fn render_command(page: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    let mut roff = Roff::new();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    roff.control("SS", [usage]);
    let about = command.get_long_about().or_else(|| command.get_about());
    paragraphs(
        &mut roff,
        &about.map(ToString::to_string).unwrap_or_default(),
    );
    for argument in command.get_arguments() {
        if argument.get_id() == "help" {
            continue;
        }
        roff.control("TP", []);
        roff.text([bold(argument_heading(argument))]);
        let help = argument.get_long_help().or_else(|| argument.get_help());
        roff.text([roman(help.map(ToString::to_string).unwrap_or_default())]);
    }
    roff.to_writer(page)
}

/// How an argument is written on the command line.
fn argument_heading(argument: &clap::Arg) -> String {
    let values: Vec<&str> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(|name| name.as_str())
        .collect();
    let takes_value = argument.get_action().takes_values();
    let mut heading = Vec::new();
    if let Some(short) = argument.get_short() {
        heading.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        heading.push(format!("--{long}"));
    }
    let names = heading.join(", ");
    match (names.is_empty(), takes_value) {
        (true, _) => values.join(" "),
        (false, true) => format!("{names} {}", values.join(" ")),
        (false, false) => names,
    }
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        roff.control("PP", []);
        roff.text([roman(paragraph.replace('\n', " "))]);
    }
}

fn section(page: &mut Vec<u8>, title: &str) -> io::Result<()> {
    Roff::new().control("SH", [title]).to_writer(page)
}

fn examples(page: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (what, how) in [
        (
            "Download to a folder, and seed as much as was downloaded:",
            "anabranch download debian.torrent --dir ~/Downloads --ratio 1",
        ),
        (
            "Download what a magnet link stands for, and keep its torrent file:",
            "anabranch download 'magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567' --save-torrent",
        ),
        (
            "Make a torrent of a folder, and seed it:",
            "anabranch create photos --tracker udp://tracker.example.org:6969/announce\nanabranch seed photos.torrent --dir .",
        ),
        (
            "Only the third file and all subtitles, at 2 MiB a second at most:",
            "anabranch download film.torrent --files '3,*.srt' --limit-down 2MiB",
        ),
        (
            "The first node of a private DHT, and a download that knows no other:",
            "anabranch dht node --alone --listen 192.0.2.7:6881\nanabranch download some.torrent --dht-node 192.0.2.7:6881",
        ),
        #[cfg(feature = "simulate")]
        (
            "A simulated swarm of 50 peers that crash and come back, as a picture:",
            "anabranch simulate --peers 50 --faults crashes --plot swarm.svg",
        ),
    ] {
        roff.control("PP", []);
        roff.text([roman(what)]);
        roff.control("PP", []);
        roff.control("EX", []);
        roff.text([roman(how)]);
        roff.control("EE", []);
    }
    roff.to_writer(page)
}
