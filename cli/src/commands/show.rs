//! `anabranch show`: what is in a torrent file, or in the torrent of a magnet link.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use anabranch_core::metainfo::{FileIndex, FileKind, Magnet, Metainfo};
use anabranch_driver::AddOptions;
use serde::Serialize;
use smol::future::block_on;

use super::download::{contacts_config, dht_options};
use super::{Known, left_out, read_known, save_torrent};
use crate::args::{Origin, Show};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::losses::Losses;
use crate::output::{Output, eprint_line, json, lines::plural, print, text::printable};
use crate::session::{self, Aim, End, Session, Task, Work};
use crate::units;

pub(crate) fn run(args: &Show) -> Result<Exit, Failure> {
    let known = match &args.source {
        Origin::File(source) => read_known(source, args.contacts.runtime)?,
        Origin::Magnet(magnet, surplus) => Known::Link(magnet.clone(), *surplus),
    };
    let metainfo = match known {
        Known::Torrent(_, metainfo) => Arc::from(metainfo),
        Known::Link(magnet, surplus) => {
            if let Some(warning) = left_out(&magnet, surplus) {
                eprint_line(&format!("warning: {}", printable(&warning)));
            }
            let metainfo = match fetch(&magnet, args)? {
                Ok(metainfo) => metainfo,
                Err(asked) => return Ok(asked),
            };
            if args.save_torrent {
                let path = save_torrent(&metainfo, Path::new("."))?;
                eprint_line(&format!("saved as {}", path.display()));
            }
            metainfo
        }
    };
    let summary = Summary::new(&metainfo);
    if args.json {
        json::tell(&summary)?;
    } else {
        print(&summary.text())?;
    }
    Ok(Exit::Done)
}

/// Fetches a torrent from peers; or says how the command ends if it is asked to before. What is told
/// meanwhile goes to standard error, since standard output has the torrent.
fn fetch(magnet: &Magnet, args: &Show) -> Result<Result<Arc<Metainfo>, Exit>, Failure> {
    let signals = interrupt::listen()?;
    let contacts = &args.contacts;
    let client = session::start(
        contacts.runtime,
        contacts_config(contacts),
        dht_options(contacts, false),
        &contacts.listening,
        contacts.record.clone(),
    )?;
    let mut output = Output::new(false);
    // Not `smol::block_on`, which takes part in waiting for sockets.
    let result = block_on(async {
        let mut session = Session::new(client, Losses::new(1), &mut output)?;
        session.check_nodes(&contacts.dht.dht_nodes);
        session.seek_locally(!contacts.no_lsd);
        session.give_up_after(args.timeout);
        // All of it is shown, whatever the link selects.
        let mut magnet = magnet.clone();
        magnet.select = None;
        let task = Task {
            work: Work::Link(Box::new(magnet)),
            choice: None,
            save_torrent: false,
            options: AddOptions::default(),
            peers: &contacts.peers,
            trackers: &contacts.trackers(),
            aim: Aim::Metadata,
        };
        let fetched = async {
            session.add(task).await?;
            let end = session.run(&signals).await?;
            Ok((end, session.metainfo().await?))
        };
        let fetched = fetched.await;
        // Trackers are told; there is nothing else to be lost.
        let closed = session.close().await;
        match fetched? {
            (End::Asked(exit), None) => Ok(Err(exit)),
            (End::Done | End::Asked(_), Some(metainfo)) => Ok(Ok(metainfo)),
            // What ended it otherwise was told.
            (End::Done, None) => closed?.losses.verdict().map(|()| Err(Exit::Failure)),
        }
    });
    output.clear();
    result
}

/// The object that `show --json` writes. As stable as [`Event`](crate::output::Event).
#[derive(Debug, Serialize)]
struct Summary {
    /// The name, made safe as that of a file or folder.
    name: String,
    /// The info-hash (v1), in hexadecimal.
    info_hash: String,
    /// Bytes of all files; padding is not counted.
    size: u64,
    /// How many pieces.
    pieces: u32,
    /// Bytes of a piece.
    piece_length: u32,
    /// Whether peers come from the trackers alone.
    private: bool,
    /// What sets it apart from the same data elsewhere.
    source: Option<String>,
    /// The trackers' URLs, in tiers.
    trackers: Vec<Vec<String>>,
    /// URLs of web seeds.
    web_seeds: Vec<String>,
    /// What its maker says about it.
    comment: Option<String>,
    /// The program that made it.
    created_by: Option<String>,
    /// When it was made, in seconds since 1970 (UTC).
    creation_date: Option<u64>,
    /// What is odd about the torrent file, in words.
    warnings: Vec<String>,
    /// The files, without padding.
    files: Vec<FileSummary>,
}

#[derive(Debug, Serialize)]
struct FileSummary {
    /// Its number, from 1, as `download --files` takes it.
    number: u32,
    /// Where it will be below the download folder.
    path: String,
    /// Bytes.
    length: u64,
    /// `data` or `symlink`; symlinks are not created.
    kind: FileKind,
}

impl Summary {
    fn new(metainfo: &Metainfo) -> Self {
        let files: Vec<FileSummary> = (0..)
            .map(FileIndex::new)
            .zip(metainfo.files())
            .filter(|(_, file)| file.kind() != FileKind::Pad)
            .map(|(index, file)| FileSummary {
                number: index.get().saturating_add(1),
                path: metainfo
                    .download_path(index)
                    .map_or_else(String::new, |path| path.to_string()),
                length: file.length(),
                kind: file.kind(),
            })
            .collect();
        Self {
            name: metainfo.name().to_owned(),
            info_hash: metainfo.info_hash().to_string(),
            size: files
                .iter()
                .fold(0, |sum, file| file.length.saturating_add(sum)),
            pieces: metainfo.piece_count(),
            piece_length: metainfo.piece_length(),
            private: metainfo.is_private(),
            source: metainfo.source().map(str::to_owned),
            trackers: metainfo.trackers().to_vec(),
            web_seeds: [metainfo.web_seeds(), metainfo.http_seeds()].concat(),
            comment: metainfo.comment().map(str::to_owned),
            created_by: metainfo.created_by().map(str::to_owned),
            creation_date: metainfo.creation_date(),
            warnings: metainfo
                .oddities()
                .iter()
                .map(ToString::to_string)
                .collect(),
            files,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            // A comment may have lines of its own; none of them passes for another field.
            for (index, line) in value.lines().enumerate() {
                let name = if index == 0 { name } else { "" };
                // Writing to a string does not fail.
                let _ = writeln!(text, "{name:<13} {}", printable(line));
            }
        };
        field("name", &self.name);
        field("info-hash", &self.info_hash);
        field(
            "size",
            &format!("{} ({} bytes)", units::size(self.size), self.size),
        );
        field(
            "pieces",
            &format!(
                "{} of {}",
                self.pieces,
                units::exact_size(self.piece_length.into())
            ),
        );
        if self.private {
            field("private", "yes");
        }
        if let Some(source) = &self.source {
            field("source", source);
        }
        for (tier, urls) in self.trackers.iter().enumerate() {
            for url in urls {
                field(&format!("tracker {}", tier + 1), url);
            }
        }
        for url in &self.web_seeds {
            field("web seed", url);
        }
        if let Some(comment) = &self.comment {
            field("comment", comment);
        }
        if let Some(created_by) = &self.created_by {
            field("created by", created_by);
        }
        if let Some(seconds) = self.creation_date {
            field("created", &date(seconds));
        }
        for warning in &self.warnings {
            field("warning", warning);
        }
        field("files", &plural(self.files.len() as u64, "file", "files"));
        let width = self
            .files
            .last()
            .map_or(1, |file| file.number.to_string().len());
        for file in &self.files {
            let note = match file.kind {
                FileKind::Symlink => "  (symbolic link, not created)",
                FileKind::Data | FileKind::Pad => "",
            };
            let _ = writeln!(
                text,
                "  {:>width$}  {:>10}  {}{note}",
                file.number,
                units::size(file.length),
                printable(&file.path)
            );
        }
        text
    }
}

/// A date and time in UTC, by the calendar in use since 1582 (days to civil dates in eras of 400
/// years).
fn date(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    /// Days in 400 years.
    const ERA: u64 = 146_097;
    /// Days from the first of March of the year 0 to the first of January 1970.
    const TO_1970: u64 = 719_468;
    let days = seconds / DAY + TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on, of which five have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..10 => (month + 3, 0),
        10.. => (month - 9, 1),
    };
    let year = era * 400 + year + later;
    let time = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

#[cfg(test)]
mod tests {
    use anabranch_core::metainfo::{Creator, SourceFile};

    use super::*;

    fn summary(creator: &Creator) -> Summary {
        let hashes = vec![0; usize::try_from(creator.piece_count()).unwrap() * 20];
        Summary::new(&creator.finish(&hashes).unwrap().metainfo)
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
        assert!(date(u64::MAX).ends_with(" UTC"));
    }

    #[test]
    fn hostile_text_is_shown_without_being_obeyed() {
        let creator = Creator::multi_file(
            "evil\u{1b}[2J",
            [SourceFile {
                path: vec![
                    b"\x1b]0;title\x07".to_vec(),
                    b"photo\xe2\x80\xaegpj.exe".to_vec(),
                ],
                length: 0,
            }],
        )
        .with_tracker_tier(["http://t/\u{9b}1mannounce"])
        .with_comment("first\nname          another\u{202e}");
        let text = summary(&creator).text();
        assert!(
            text.chars()
                .all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'),
            "{text:?}"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("name "))
                .count(),
            1
        );
    }

    #[test]
    fn files_are_numbered_from_one() {
        let files = ["b", "a"].map(|name| SourceFile {
            path: vec![name.into()],
            length: 1536,
        });
        let text = summary(&Creator::multi_file("t", files)).text();
        assert!(
            text.contains("  1     1.5 KiB  t/a\n  2     1.5 KiB  t/b\n"),
            "{text}"
        );
        assert!(
            text.contains("size          3.0 KiB (3072 bytes)\n"),
            "{text}"
        );
    }
}
