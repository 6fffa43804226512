//! Making a torrent.

use std::process::Command;
use std::time::{Duration, Instant};

use anabranch_tests::clients::{Client, Clients, Rqbit, libtorrent_create};
use anabranch_tests::process::Process;
use anabranch_tests::{Torrent, memory};

use crate::contestant::Contestant;
use crate::recheck::{to_the_end, until};
use crate::stage::{PIECE_LENGTH, Stage};
use crate::transfer::Sample;

/// mktorrent wants one; nobody asks it.
const TRACKER: &str = "http://127.0.0.1:1/announce";

/// Lets one client make the torrent of the data, from the start of its process to its end.
pub(crate) fn run(stage: &Stage, contestant: Contestant) -> Result<Sample, String> {
    let room = stage.room();
    let content = stage.content();
    let made = room.join("made.torrent");
    stage.cool()?;
    let _warm = memory::warm(stage.size());
    let begin = Instant::now();
    let process = match contestant {
        Contestant::Anabranch | Contestant::Baseline | Contestant::Smol | Contestant::Tokio => {
            let mut command = Command::new(stage.build(contestant));
            command
                .arg("create")
                .arg(&content)
                .arg("--output")
                .arg(&made)
                .arg(format!("--piece-length={PIECE_LENGTH}"))
                .env("HOME", room.path());
            Process::spawn(contestant.name(), &mut command)
        }
        Contestant::Mktorrent => {
            let mut command = Command::new("mktorrent");
            command
                .arg(format!("--piece-length={}", PIECE_LENGTH.ilog2()))
                .arg(format!("--announce={TRACKER}"))
                .arg("--output")
                .arg(&made)
                .arg(&content);
            Process::spawn(contestant.name(), &mut command)
        }
        Contestant::Transmission => {
            let tools = Client::TransmissionTools;
            if Clients::find().missing().contains(&tools) {
                return Err(format!("left out: install {}", tools.package()));
            }
            let mut command = Command::new("transmission-create");
            command
                .args(["--piecesize", &(PIECE_LENGTH >> 10).to_string()])
                .arg("--outfile")
                .arg(&made)
                .arg(&content);
            Process::spawn(contestant.name(), &mut command)
        }
        Contestant::Libtorrent => libtorrent_create(&content, &made, PIECE_LENGTH),
        Contestant::Rqbit => {
            // It goes on to seed what it made, keeps the torrent to itself, and chooses the pieces.
            let rqbit = Rqbit::share(&room, &content);
            let process = rqbit.process();
            return Ok(until(process, begin, Duration::ZERO, || rqbit.has_added()));
        }
        Contestant::Aria2 => return Err("left out: it makes none".into()),
    };
    let sample = to_the_end(begin, process)?;
    if Torrent::read(&made).pieces == stage.torrent.pieces {
        Ok(sample)
    } else {
        Err("failed: its torrent is of other data".into())
    }
}
