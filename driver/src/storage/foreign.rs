//! Whose the files are that were there before.

use anabranch_core::event::{DiskError, DiskErrorKind};
use anabranch_core::metainfo::{FileSpan, PieceIndex};
use anabranch_hash::Sha1;

use super::cache::Slot;
use super::files::FileStorage;
use super::session::{Places, Session, Target};
use crate::sync::{read, write};

impl FileStorage {
    /// A piece is right: the files that it lies in are this torrent's, unless it is zeros only, which many
    /// files have in them.
    pub(super) fn own(&self, session: &Session, piece: PieceIndex, digest: &[u8; 20]) {
        if read(&self.foreign).is_empty() {
            return;
        }
        let full = session.layout.piece_length();
        let size = session.layout.piece_size(piece).unwrap_or_default();
        let zeros_of = |size: u32| Sha1::digest(&vec![0; size as usize]);
        let is_zeros = match size == full {
            true => session.zeros.get_or_init(|| zeros_of(full)) == digest,
            false => zeros_of(size) == *digest,
        };
        if is_zeros {
            return;
        }
        let spans = session
            .layout
            .piece_size(piece)
            .and_then(|size| session.layout.spans(piece, 0, size));
        let mut foreign = write(&self.foreign);
        for span in spans.into_iter().flatten() {
            foreign.remove(&span.file.get());
        }
    }

    pub(super) fn is_foreign(&self, file: u32) -> bool {
        read(&self.foreign).contains(&file)
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

    /// Where a span is kept: as [`Session::target`], but aside for what is a foreign file's.
    pub(super) fn place_of(
        &self,
        session: &Session,
        places: &Places,
        span: &FileSpan,
    ) -> Result<Option<Target>, DiskError> {
        let file = span.file.get();
        if !self.is_foreign(file) {
            return Ok(session.target(places, span));
        }
        match places.files.get(file as usize) {
            Some(place) if place.wanted => Err(self.not_ours(session, file)),
            Some(_) | None => Ok(session.aside(span)),
        }
    }
}
