//! Whose the files are that were there before.
//!
//! A file that was there with data in it is **foreign** until something shows that it is this torrent's. It is
//! not written to, cut or deleted before, and no other file is made or changed while one that would have to be
//! written to is foreign. What shows it:
//!
//! - resume data that knows its length and time, or its length alone if it vouched for no piece in it;
//! - a right piece, if what the piece has of this file is not zeros only: many files have zeros in them, and what
//!   lies behind those may be anybody's. For the same reason a file of zeros only, such as one for which another client
//!   took the space, is nobody's loss.
//!
//! Each file is judged by itself. Neither its name nor its length speaks for it, nor do other files of the torrent
//! beside it: a folder is shared, files of some formats all have one length, and what was changed in place keeps its
//! own. So a small file of which no piece is right is refused as well, even where it lies wholly within one piece that
//! a damaged byte of its neighbour spoils: the user, who is asked, can say that it may be written over, and what was
//! written over cannot be had back.
//!
//! A file of which all pieces are right needs no proof to be used: nothing will be written to it. So it is with
//! one that should have no bytes and has some: nothing is missing, and what is there is left alone.

use std::collections::BTreeMap;

use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::metainfo::{FileKind, FileSpan, PieceIndex};

use super::cache::Slot;
use super::files::FileStorage;
use super::session::{Places, Session, Target};
use crate::sync::{read, write};

/// Files that may be somebody else's.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    claims: BTreeMap<u32, Claim>,
}

/// What is known of a file that may be somebody else's.
#[derive(Debug)]
pub(super) struct Claim {
    /// Pieces of it that are not known to be right.
    pub(super) unproven: u32,
}

impl Foreign {
    pub(super) fn insert(&mut self, file: u32, claim: Claim) {
        self.claims.insert(file, claim);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    pub(super) fn contains(&self, file: u32) -> bool {
        self.claims.contains_key(&file)
    }

    /// Whether a file must not be used: something of it would have to be written.
    pub(super) fn refuses(&self, file: u32) -> bool {
        self.claims
            .get(&file)
            .is_some_and(|claim| claim.unproven > 0)
    }

    /// The files that have any pieces.
    pub(super) fn with_pieces(&self) -> impl Iterator<Item = u32> + '_ {
        (self.claims.iter())
            .filter(|(_, claim)| claim.unproven > 0)
            .map(|(file, _)| *file)
    }

    /// A right piece has bytes of this file that are not zeros.
    fn show(&mut self, file: u32) {
        self.claims.remove(&file);
    }

    /// A right piece has bytes of this file. Says whether it is foreign all the same.
    fn agree(&mut self, file: u32) -> bool {
        match self.claims.get_mut(&file) {
            Some(claim) => {
                claim.unproven = claim.unproven.saturating_sub(1);
                true
            }
            None => false,
        }
    }
}

impl FileStorage {
    /// A piece is right, and has bytes other than zeros of these files. Says whether it counts: not if a part of
    /// it lies in a foreign file that is not wanted, of which nothing is used.
    pub(super) fn own(
        &self,
        session: &Session,
        places: &Places,
        piece: PieceIndex,
        shown: &[u32],
    ) -> bool {
        if read(&self.foreign).is_empty() {
            return true;
        }
        let spans = session
            .layout
            .piece_size(piece)
            .and_then(|size| session.layout.spans(piece, 0, size));
        let mut foreign = write(&self.foreign);
        for file in shown {
            foreign.show(*file);
        }
        let mut counts = true;
        for span in spans.into_iter().flatten() {
            let place = places.files.get(span.file.as_usize());
            let is_wanted = place.is_some_and(|place| place.wanted);
            if span.kind == FileKind::Data && foreign.agree(span.file.get()) {
                counts &= is_wanted;
            }
        }
        counts
    }

    pub(super) fn is_foreign(&self, file: u32) -> bool {
        read(&self.foreign).contains(file)
    }

    /// A file is somebody else's.
    pub(super) fn not_ours(&self, session: &Session, file: u32) -> DiskError {
        let path = self.slot_path(&session.metainfo, Slot::File(file));
        DiskError {
            kind: DiskErrorKind::Foreign,
            file: path.display().to_string(),
            message: "nothing in it is of this torrent".to_owned(),
        }
    }

    /// Where a span is kept: as [`Session::target`], but aside for what is a foreign file's that is not wanted,
    /// and nowhere to be written to for one that is.
    pub(super) fn place_of(
        &self,
        session: &Session,
        places: &Places,
        span: &FileSpan,
        to_write: bool,
    ) -> Result<Option<Target>, DiskError> {
        let file = span.file.get();
        if !self.is_foreign(file) {
            return Ok(session.target(places, span));
        }
        match places.files.get(file as usize) {
            Some(place) if place.wanted && to_write => Err(self.not_ours(session, file)),
            Some(place) if place.wanted => Ok(session.target(places, span)),
            Some(_) | None => Ok(session.aside(span)),
        }
    }
}
