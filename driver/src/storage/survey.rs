//! What is there when a torrent is opened, before anything is changed.

use std::fs::File;
use std::io;
use std::ops::Range;

use anabranch_core::Bitfield;
use anabranch_core::event::{DiskError, LongerFile, PartialPiece};
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::{FileIndex, FileKind, FileSpan, Layout, Metainfo, PieceIndex};
use anabranch_hash::Sha1;

use super::aside::has_other_data;
use super::disk_error;
use super::files::FileStorage;
use super::folder::Walker;
use super::foreign::{Claim, Foreign};
use super::hash::with_scratch;
use super::locate::{Route, Routes};
use super::resume::{Resume, Stamp, parts_name};
use super::scan::is_wanted;
use crate::platform::{self, Access, Stat};

impl FileStorage {
    pub(super) fn survey(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        wanted: &[bool],
    ) -> Result<Survey, DiskError> {
        let mut files = vec![None; metainfo.files().len()];
        for (file, route) in routes.files(metainfo) {
            let index = file as usize;
            files[index] = match look(walker, &route) {
                Ok(stat) => stat,
                // What is not wanted is not in the way either.
                Err(_) if !is_wanted(wanted, index) => None,
                Err(error) => return Err(disk_error(&route.path(&self.dir), &error)),
            };
        }
        let parts = self.resume_folder(false).ok().and_then(|folder| {
            let name = parts_name(metainfo.info_hash());
            let file = folder
                .open_file(&name, Access::Write)
                .or_else(|_| folder.open_file(&name, Access::Read))
                .ok()?;
            let stat = platform::stat(&file).ok()?;
            Some((file, stat))
        });
        Ok(Survey { files, parts })
    }
}

/// What was there before anything was changed.
pub(super) struct Survey {
    /// One entry a file.
    pub(super) files: Vec<Option<Stat>>,
    /// What is kept aside.
    pub(super) parts: Option<(File, Stat)>,
}

impl Survey {
    /// A file that is not wanted, and of which the resume data says that its bytes are kept aside, is in
    /// nobody's way.
    pub(super) fn forget_unused(&mut self, wanted: &[bool], resume: &Resume) {
        for (index, stat) in self.files.iter_mut().enumerate() {
            if !is_wanted(wanted, index) && resume.files.get(index) == Some(&None) {
                *stat = None;
            }
        }
    }

    /// Files with data that may be somebody else's.
    pub(super) fn foreign(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        layout: &Layout,
        resume: Option<&Resume>,
    ) -> Foreign {
        let mut foreign = Foreign::default();
        for (file, path) in routes.files(metainfo) {
            let index = FileIndex::new(file);
            let Some(stat) = self.files[file as usize].filter(|stat| stat.size > 0) else {
                continue;
            };
            let recorded =
                resume.and_then(|resume| Some((resume, (*resume.files.get(file as usize)?)?)));
            let ours = recorded.is_some_and(|(resume, stamp)| {
                // After a crash the time may be later than that of the last checkpoint. Where that
                // vouched for pieces, they will show whose file it is.
                let vouched = || {
                    let mut pieces = layout.pieces_of_file(index).unwrap_or_default();
                    pieces.any(|piece| resume.have.contains(piece))
                };
                stamp == Stamp::from(stat) || stamp.size == stat.size && !vouched()
            });
            if ours {
                continue;
            }
            let range = layout.file_range(index).unwrap_or_default();
            let kept = self.parts.as_ref().map(|(parts, _)| (parts, range.start));
            let has_data = walker
                .parent(&path, false)
                .and_then(|(folder, name)| folder.open_file(name, Access::Read))
                .and_then(|opened| has_other_data(&opened, stat.size, kept));
            // What cannot be read may be anything.
            if has_data.unwrap_or(true) {
                let pieces = layout.pieces_of_file(index).unwrap_or_default();
                let claim = Claim {
                    unproven: pieces.end - pieces.start,
                };
                foreign.insert(file, claim);
            }
        }
        foreign
    }

    pub(super) fn longer(&self, metainfo: &Metainfo, wanted: &[bool]) -> Vec<LongerFile> {
        (0..)
            .zip(metainfo.files().iter().zip(&self.files))
            .filter_map(|(file, (expected, stat))| {
                let found = (*stat)?.size;
                let counts = expected.kind() == FileKind::Data && is_wanted(wanted, file as usize);
                (counts && found > expected.length()).then_some(LongerFile {
                    file: FileIndex::new(file),
                    found,
                })
            })
            .collect()
    }

    /// The pieces of which no file has changed since resume data was made.
    ///
    /// The clock behind a file's time may stand still for some milliseconds, so a write after a
    /// checkpoint can go unnoticed. That does no harm: our own writes only touch pieces that the
    /// checkpoint did not name.
    pub(super) fn unchanged(&self, resume: &Resume, layout: &Layout) -> Bitfield {
        let parts = self.parts.as_ref().map(|(_, stat)| Stamp::from(*stat));
        let parts_agree = parts.is_some() && parts == resume.parts;
        let mut unchanged = Bitfield::full(layout.piece_count());
        for (file, (now, then)) in (0..).zip(self.files.iter().zip(&resume.files)) {
            let agrees = match then {
                Some(_) => now.map(Stamp::from) == *then,
                // A file that was not there then was made by somebody else, or by a run that came
                // to an end before it was filled.
                None => now.is_none() && parts_agree,
            };
            let file = FileIndex::new(file);
            let counts = layout.file_kind(file) == Some(FileKind::Data);
            if counts && !agrees {
                for piece in layout.pieces_of_file(file).unwrap_or_default() {
                    unchanged.remove(piece);
                }
            }
        }
        unchanged
    }

    /// What resume data says of incomplete pieces, as far as there is anything where it should be. A file
    /// that changed since is most likely one that more was written to, as before a crash; if not, that
    /// shows when the piece is complete.
    pub(super) fn partial(&self, resume: &Resume, layout: &Layout) -> Vec<PartialPiece> {
        let is_there = |span: FileSpan| {
            if span.kind != FileKind::Data {
                return true;
            }
            let end = span.offset + (span.range.end - span.range.start) as u64;
            let start = layout.file_range(span.file).unwrap_or_default().start;
            match (self.files.get(span.file.as_usize()), &self.parts) {
                (Some(Some(stat)), _) => end <= stat.size,
                (_, Some((_, parts))) => start + end <= parts.size,
                (_, None) => false,
            }
        };
        let there = resume.partial.iter().map(|map| {
            let size = layout.piece_size(map.piece).unwrap_or_default();
            let mut blocks = Bitfield::new(map.blocks.len());
            for block in map.blocks.iter() {
                let begin = block * BLOCK_LEN;
                let len = BLOCK_LEN.min(size.saturating_sub(begin));
                let spans = layout.spans(map.piece, begin, len);
                if spans.is_some_and(|mut spans| spans.all(is_there)) {
                    blocks.insert(block);
                }
            }
            PartialPiece {
                piece: map.piece,
                blocks,
            }
        });
        there.filter(|map| map.blocks.count() > 0).collect()
    }

    /// The pieces but for those that are `known` that may be there: they lie within the files as they are, and
    /// not in holes only, unless a piece of zeros is what is expected. Fails with a wanted file that we may not
    /// read: its data is there, and must not be taken for missing.
    pub(super) fn doubtful(
        &self,
        walker: &mut Walker,
        metainfo: &Metainfo,
        routes: &Routes,
        layout: &Layout,
        known: &Bitfield,
        wanted: &[bool],
    ) -> Result<Bitfield, (Route, io::Error)> {
        let piece_length = u64::from(layout.piece_length());
        let mut present = Bitfield::full(layout.piece_count());
        for piece in known.iter() {
            present.remove(piece);
        }
        let mut sources = Vec::new();
        for (file, path) in routes.files(metainfo) {
            let range = layout.file_range(FileIndex::new(file)).unwrap_or_default();
            let in_file = self.files[file as usize];
            let end = match (in_file, &self.parts) {
                (Some(stat), _) => range.start.saturating_add(stat.size).min(range.end),
                (None, Some((_, parts))) => parts.size.clamp(range.start, range.end),
                (None, None) => range.start,
            };
            if end < range.end {
                for piece in (end / piece_length)..range.end.div_ceil(piece_length) {
                    present.remove(piece as u32);
                }
            }
            if end > range.start {
                let wanted = is_wanted(wanted, file as usize);
                sources.push((path, in_file.is_some(), wanted, range.start, end));
            }
        }

        let mut data = Bitfield::new(layout.piece_count());
        for (path, in_file, wanted, start, end) in sources {
            let pieces = (start / piece_length) as u32..end.div_ceil(piece_length) as u32;
            if !pieces.clone().any(|piece| present.contains(piece)) {
                continue;
            }
            let opened = match (in_file, &self.parts) {
                (true, _) => {
                    let opened = walker
                        .parent(&path, false)
                        .and_then(|(folder, name)| folder.open_file(name, Access::Read));
                    match opened {
                        Ok(file) => Some((file, start)),
                        Err(error) if wanted && error.kind() == io::ErrorKind::PermissionDenied => {
                            return Err((path, error));
                        }
                        Err(_) => None,
                    }
                }
                (false, Some((parts, _))) => parts.try_clone().ok().map(|file| (file, 0)),
                (false, None) => None,
            };
            match opened {
                Some((file, base)) => mark_data(&file, base, start..end, piece_length, &mut data),
                // Verifying it will say what is wrong.
                None => pieces.for_each(|piece| {
                    data.insert(piece);
                }),
            }
        }

        let mut zeros = Zeros::default();
        let mut doubtful = Bitfield::new(layout.piece_count());
        for piece in present.iter() {
            let index = PieceIndex::new(piece);
            let size = layout.piece_size(index).unwrap_or_default();
            if data.contains(piece) || metainfo.piece_hash(index) == Some(&zeros.digest(size)) {
                doubtful.insert(piece);
            }
        }
        Ok(doubtful)
    }
}

/// Marks the pieces that have data of a stretch of the torrent. The file starts at `base` of it.
fn mark_data(file: &File, base: u64, range: Range<u64>, piece_length: u64, data: &mut Bitfield) {
    let mut at = range.start;
    while let Some(found) = platform::next_data(file, at - base, range.end - base) {
        let first = (base + found.start) / piece_length;
        let end = (base + found.end).div_ceil(piece_length);
        for piece in first..end {
            data.insert(piece as u32);
        }
        // However scattered the data is, there is one step a piece at most.
        at = end.saturating_mul(piece_length);
        if at >= range.end {
            break;
        }
    }
}

/// SHA-1 of zeros, each length hashed once: those of a whole piece and of the last.
#[derive(Default)]
struct Zeros {
    known: Vec<(u32, [u8; 20])>,
}

impl Zeros {
    fn digest(&mut self, len: u32) -> [u8; 20] {
        if let Some((_, digest)) = self.known.iter().find(|(known, _)| *known == len) {
            return *digest;
        }
        let digest = with_scratch(|scratch| {
            scratch.fill(0);
            let mut hash = Sha1::new();
            let mut left = len as usize;
            while left > 0 {
                let step = left.min(scratch.len());
                hash.update(&scratch[..step]);
                left -= step;
            }
            hash.finish()
        });
        self.known.push((len, digest));
        digest
    }
}

/// What is there. A name that the file system does not take is nobody's there.
fn look(walker: &mut Walker, path: &Route) -> io::Result<Option<Stat>> {
    let stat = match walker.parent(path, false) {
        Ok((folder, name)) => folder.stat(name),
        Err(error) => Err(error),
    };
    match stat {
        Ok(Some(stat)) if !stat.regular => Err(platform::not_a_regular_file()),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || platform::is_name_refused(&error) =>
        {
            Ok(None)
        }
        stat => stat,
    }
}
