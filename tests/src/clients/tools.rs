//! Programs that make and show torrent files.

use std::path::Path;
use std::process::Command;

use super::{run, utf8};
use crate::Torrent;

/// mktorrent, with pieces of 2^`power` bytes.
#[must_use]
pub fn mktorrent(content: &Path, to: &Path, power: u32, tracker: &str, private: bool) -> Torrent {
    let mut command = Command::new("mktorrent");
    command.args([
        "-l",
        &power.to_string(),
        "-a",
        tracker,
        "-o",
        utf8(to),
        utf8(content),
    ]);
    if private {
        command.arg("-p");
    }
    run(&mut command);
    Torrent::read(to)
}

/// transmission-create; it chooses the length of pieces.
#[must_use]
pub fn transmission_create(content: &Path, to: &Path, tracker: &str) -> Torrent {
    run(Command::new("transmission-create").args(["-t", tracker, "-o", utf8(to), utf8(content)]));
    Torrent::read(to)
}

/// The info-hash that transmission-show prints.
///
/// # Panics
///
/// When it prints none.
#[must_use]
pub fn transmission_info_hash(torrent: &Path) -> String {
    value_of("Hash", &run(Command::new("transmission-show").arg(torrent)))
}

/// The info-hash that aria2 prints.
///
/// # Panics
///
/// When it prints none.
#[must_use]
pub fn aria2_info_hash(torrent: &Path) -> String {
    value_of(
        "Info Hash",
        &run(Command::new("aria2c").args(["--no-conf", "-S", utf8(torrent)])),
    )
}

fn value_of(key: &str, text: &str) -> String {
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| panic!("no {key} in {text}"))
}
