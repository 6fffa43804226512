//! `anabranch verify`: compares what is on the disk with a torrent.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use anabranch_core::metainfo::{FileIndex, Layout, Metainfo};
use anabranch_driver::storage::{FileName, Links, find_files};
use serde::Serialize;

use super::download::named;
use super::{read_torrent, torrent};
use crate::args::Verify;
use crate::exit::{Exit, Failure};
use crate::hashing::{Part, hash_pieces};
use crate::output::{Output, Torrent, json, lines::plural, print, text::printable, text::reason};
use crate::runtime::Choice;
use crate::units;

pub(crate) fn run(args: &Verify) -> Result<Exit, Failure> {
    let mut output = Output::new(args.json);
    let result = verify(args, &mut output);
    output.clear();
    result
}

fn verify(args: &Verify, output: &mut Output) -> Result<Exit, Failure> {
    let (_, metainfo) = read_torrent(&args.torrent, Choice::default())?;
    let metainfo = named(metainfo, args.out.as_ref());
    let dir = fs::metadata(&args.dir).map_err(|error| Failure::io("read", &args.dir, &error))?;
    if !dir.is_dir() {
        return Err(
            Failure::usage(format!("{} is not a folder", args.dir.display()))
                .advise("--dir names the folder that contains the torrent's file or folder"),
        );
    }
    let parts = parts(&metainfo, &args.dir, args.out.as_ref());
    let pieces = check(&metainfo, &parts, output)?;
    let verdict = Verdict::new(&metainfo, &parts, &pieces);
    if args.json {
        json::tell(&verdict)?;
    } else {
        output.clear();
        print(&verdict.text())?;
    }
    Ok(match verdict.complete {
        true => Exit::Done,
        false => Exit::Incomplete,
    })
}

/// Where each file is, or should be. To be compared it is only read, so links may lead anywhere.
fn parts(metainfo: &Metainfo, dir: &Path, out: Option<&FileName>) -> Vec<Part> {
    find_files(dir, metainfo, out, Links::Follow)
        .into_iter()
        .zip(metainfo.files())
        .map(|(path, file)| Part {
            path,
            length: file.length(),
        })
        .collect()
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Good,
    Wrong,
    /// A file that it is part of could not be read: this one.
    Unread(usize),
}

fn check(metainfo: &Metainfo, parts: &[Part], output: &mut Output) -> Result<Vec<Piece>, Failure> {
    let hashes = metainfo.piece_hashes();
    let mut pieces = vec![Piece::Wrong; hashes.len()];
    hash_pieces(parts, metainfo.piece_length(), output, |index, result| {
        let index = index as usize;
        pieces[index] = match result {
            Ok(hash) if hash == hashes[index] => Piece::Good,
            Ok(_) => Piece::Wrong,
            Err(error) => Piece::Unread(error.part),
        };
        ControlFlow::Continue(())
    })?;
    Ok(pieces)
}

/// The last line that `verify --json` writes. As stable as [`Event`](crate::output::Event).
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "verified")]
struct Verdict {
    #[serde(flatten)]
    torrent: Torrent,
    /// Whether everything is there and matches. Files that are longer than they should be are complete.
    complete: bool,
    /// Pieces in all.
    pieces: u32,
    /// Pieces that match.
    pieces_good: u32,
    /// Bytes of all files.
    size: u64,
    /// The files that are not as they should be.
    bad_files: Vec<BadFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BadFile {
    /// Its number, from 1.
    number: u32,
    /// Where it should be below the download folder.
    path: String,
    #[serde(flatten)]
    fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
enum Fault {
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable {
        /// Why.
        error: String,
    },
    /// All of it matches, and it goes on after its end. Nothing is missing.
    Longer {
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// It has another length.
    WrongLength {
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
        /// Pieces of it that do not match.
        bad_pieces: u32,
    },
    /// Some of it does not match.
    Damaged {
        /// Pieces of it that do not match.
        bad_pieces: u32,
        /// Pieces that it is part of.
        pieces: u32,
    },
    /// What there is of it may be right, but it shares pieces with files that are not there, which
    /// therefore cannot be compared.
    Unverified {
        /// Those pieces.
        bad_pieces: u32,
    },
}

impl BadFile {
    /// Whether nothing of it is missing.
    fn is_whole(&self) -> bool {
        matches!(self.fault, Fault::Longer { .. })
    }
}

impl Verdict {
    fn new(metainfo: &Metainfo, parts: &[Part], pieces: &[Piece]) -> Self {
        let layout = Layout::new(metainfo);
        let mut bad_files = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let Ok(index) = u32::try_from(number).map(FileIndex::new) else {
                break;
            };
            let range = layout.pieces_of_file(index).unwrap_or(0..0);
            let own = &pieces[range.start as usize..range.end as usize];
            if let Some(path) = &part.path
                && let Some(fault) = fault(path, part.length, number, own)
            {
                bad_files.push(BadFile {
                    number: index.get().saturating_add(1),
                    path: metainfo
                        .download_path(index)
                        .map_or_else(String::new, |path| path.to_string()),
                    fault,
                });
            }
        }
        let good = count(pieces, |piece| piece == Piece::Good);
        Self {
            torrent: torrent(metainfo),
            complete: bad_files.iter().all(BadFile::is_whole) && good as usize == pieces.len(),
            pieces: metainfo.piece_count(),
            pieces_good: good,
            size: metainfo.total_length(),
            bad_files,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.bad_files {
            let path = printable(&file.path);
            text += &match &file.fault {
                Fault::Missing => format!("missing     {path}\n"),
                Fault::Unreadable { error } => {
                    format!("unreadable  {path}: {}\n", printable(error))
                }
                Fault::Longer { found, expected } => format!(
                    "longer      {path}: {} after its end\n",
                    plural(found - expected, "byte", "bytes")
                ),
                Fault::WrongLength {
                    found, expected, ..
                } => format!("length      {path}: {found} bytes instead of {expected}\n"),
                Fault::Damaged { bad_pieces, pieces } => format!(
                    "damaged     {path}: {bad_pieces} of {} do not match\n",
                    plural((*pieces).into(), "piece", "pieces")
                ),
                Fault::Unverified { bad_pieces } => format!(
                    "unverified  {path}: shares {} with files that are not as they should be\n",
                    plural((*bad_pieces).into(), "piece", "pieces")
                ),
            };
        }
        let name = printable(&self.torrent.name);
        text += &if self.complete {
            let pieces = plural(self.pieces.into(), "piece", "pieces");
            let size = units::size(self.size);
            format!("{name}: complete, {size} in {pieces} match\n")
        } else {
            format!(
                "{name}: {} of {} match ({}%), {} not as it should be\n",
                self.pieces_good,
                plural(self.pieces.into(), "piece", "pieces"),
                units::percent(self.pieces_good.into(), self.pieces.into()),
                match self.bad_files.len() {
                    1 => "1 file is".to_owned(),
                    count => format!("{count} files are"),
                }
            )
        };
        text
    }
}

/// What is wrong with a file, of which these are the pieces.
fn fault(path: &Path, length: u64, number: usize, pieces: &[Piece]) -> Option<Fault> {
    let bad_pieces = count(pieces, |piece| piece != Piece::Good);
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => {
            return Some(Fault::Unreadable {
                error: "not a regular file".to_owned(),
            });
        }
        Err(error) if is_absent(&error) => return Some(Fault::Missing),
        Err(error) => {
            return Some(Fault::Unreadable {
                error: reason(&error),
            });
        }
    };
    if found > length && bad_pieces == 0 {
        return Some(Fault::Longer {
            found,
            expected: length,
        });
    }
    if found != length {
        return Some(Fault::WrongLength {
            found,
            expected: length,
            bad_pieces,
        });
    }
    if pieces.contains(&Piece::Unread(number)) {
        let error = match fs::File::open(path) {
            Err(error) => reason(&error),
            Ok(_) => "reading failed".to_owned(),
        };
        return Some(Fault::Unreadable { error });
    }
    if pieces.contains(&Piece::Wrong) {
        return Some(Fault::Damaged {
            bad_pieces,
            pieces: u32::try_from(pieces.len()).unwrap_or(u32::MAX),
        });
    }
    (bad_pieces > 0).then_some(Fault::Unverified { bad_pieces })
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn count(pieces: &[Piece], which: impl Fn(Piece) -> bool) -> u32 {
    let count = pieces.iter().filter(|&&piece| which(piece)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}
