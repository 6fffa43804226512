//! The storage of a torrent: opening, checking, checkpoints, failures and the way back.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use sha1::{Digest, Sha1};

use crate::action::{Action, DiskJob, OpenStorage};
use crate::bitfield::Bitfield;
use crate::command::{Priority, Reply};
use crate::ctx::{DiskOp, Timer};
use crate::error::CommandError;
use crate::event::{DiskDone, DiskError, DiskErrorKind, ForeignFile, Opened, PartialPiece};
use crate::gate::Lane;
use crate::id::{OpId, RequestId, StorageKey, TorrentId};
use crate::metainfo::{FileIndex, FileKind, PieceIndex};
use crate::notice::{Notice, TorrentState};
use crate::shared::Shared;
use crate::time::Instant;
use crate::torrent::phase::Activity;
use crate::torrent::transfer::Transfer;

/// How soon a disk that failed is looked at again, at first and at most.
const PROBE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// By which part of the wait, at most, a disk is looked at earlier.
pub(super) const PROBE_JITTER: u32 = 4;

/// A disk that fails again before it went well for so long was not mended: the next look is later still.
const STEADY: Duration = Duration::from_secs(300);

/// From this length on, what came of an incomplete piece is written and recorded with each checkpoint.
const LARGE_PIECE: u32 = 4 << 20;

/// How long that may take before the record is made without what is still on its way.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// What must fit before a full disk counts as usable again, in pieces.
const PROBE_PIECES: u64 = 4;

/// How often resume data is saved when only the count of uploaded bytes has changed.
const UPLOAD_CHECKPOINT: Duration = Duration::from_secs(300);

/// Where a torrent's storage stands.
#[derive(Debug)]
pub(super) struct Storage {
    key: StorageKey,
    stage: Stage,
    /// Whether resume data is ignored at the next opening.
    recheck: bool,
    /// Whether files of somebody else's may be written over.
    overwrite: bool,
    /// Whether the metadata came from peers, and is nowhere else.
    fetched: bool,
    /// Whether something was stored that no checkpoint vouches for.
    dirty: bool,
    /// Whether something was uploaded that no checkpoint tells of.
    untold: bool,
    checkpointing: bool,
    /// Whether blocks of incomplete pieces were written for the record that is due.
    flushed: bool,
    /// Commands that wait for the checkpoint under way, and for the one after it. As many as the user
    /// keeps unanswered.
    saving: Vec<RequestId>,
    to_save: Vec<RequestId>,
    /// `Select` jobs under way.
    pub(super) selecting: u32,
    error: Option<DiskError>,
    /// When it last seemed to be well again.
    recovered: Option<Instant>,
    probe_after: Duration,
    probing: bool,
    /// Pieces to be verified, and how far that is.
    doubtful: Bitfield,
    next_doubtful: u32,
    verifying: u32,
    unchecked: u32,
    /// Files that are somebody else's unless a piece in them turns out to be right.
    foreign: Vec<ForeignFile>,
    /// Whether the storage is asked to go on, now that it is known what of such files is right.
    judging: bool,
    /// Wanted files that are longer than they should be, and how long, until they are complete.
    longer: BTreeMap<FileIndex, u64>,
    /// What resume data says of incomplete pieces, until all is verified.
    partial: Vec<PartialPiece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Closed,
    /// To be opened when its turn has come.
    Waiting,
    Opening,
    Checking,
    Open,
    /// Still open for what is on its way to it, and then to be recorded and closed for good.
    Keeping {
        /// Whether the last record is being made.
        recording: bool,
    },
    /// Being closed; to be opened again after that, or for good.
    Closing {
        reopen: bool,
    },
    Released,
}

/// What a driver did that answers another question than was asked.
fn misanswered(file: String, about: DiskOp, done: &DiskDone) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        file,
        message: alloc::format!("{about:?} was answered with {done:?}"),
    }
}

/// The SHA-1 of so many zeros.
fn digest_of_zeros(len: u32) -> [u8; 20] {
    const CHUNK: u32 = 4096;
    let mut sha1 = Sha1::new();
    let mut left = len;
    while left > 0 {
        let step = left.min(CHUNK);
        sha1.update(&[0; CHUNK as usize][..step as usize]);
        left -= step;
    }
    sha1.finalize().into()
}

impl Storage {
    pub(super) fn new(key: StorageKey, recheck: bool, overwrite: bool) -> Self {
        Self {
            key,
            stage: Stage::Closed,
            recheck,
            overwrite,
            fetched: false,
            dirty: false,
            untold: false,
            checkpointing: false,
            flushed: false,
            saving: Vec::new(),
            to_save: Vec::new(),
            selecting: 0,
            error: None,
            recovered: None,
            probe_after: PROBE.0,
            probing: false,
            doubtful: Bitfield::default(),
            next_doubtful: 0,
            verifying: 0,
            unchecked: 0,
            foreign: Vec::new(),
            judging: false,
            longer: BTreeMap::new(),
            partial: Vec::new(),
        }
    }

    /// The metadata came from peers, and should be kept.
    pub(super) fn note_fetched(&mut self) {
        self.fetched = true;
    }

    /// Whether it can be used.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether files are being moved about, so that nothing should be written.
    pub(super) fn is_busy_opening(&self) -> bool {
        self.stage != Stage::Open || self.selecting > 0
    }

    /// Whether it was given up for good.
    pub(super) fn is_released(&self) -> bool {
        self.stage == Stage::Released
    }

    pub(super) fn unchecked(&self) -> u32 {
        self.unchecked
    }

    pub(super) fn error(&self) -> Option<&DiskError> {
        self.error.as_ref()
    }

    pub(super) fn take_error(&mut self) -> Option<DiskError> {
        self.error.take()
    }

    /// Gives it up for good, with its files if told so.
    pub(super) fn release(
        &mut self,
        ctx: &mut Shared,
        torrent: TorrentId,
        remove: Option<RemoveFiles>,
    ) {
        self.stage = Stage::Closing { reopen: false };
        match remove {
            Some(RemoveFiles { data }) => {
                ctx.disk(torrent, DiskOp::Remove, DiskJob::Remove { data })
            }
            None => ctx.disk(torrent, DiskOp::Close, DiskJob::Close),
        };
    }

    /// It was closed. Says whether it is to be opened again at once.
    fn on_closed(&mut self, ctx: &mut Shared, checking: bool) -> bool {
        match self.stage {
            Stage::Closing { reopen: true } => {
                self.stage = Stage::Closed;
                self.verifying = 0;
                if !checking {
                    self.answer_all_saved(ctx);
                }
                return checking;
            }
            Stage::Closing { reopen: false } => {
                self.stage = Stage::Released;
                self.answer_all_saved(ctx);
            }
            Stage::Closed
            | Stage::Waiting
            | Stage::Opening
            | Stage::Checking
            | Stage::Open
            | Stage::Keeping { .. }
            | Stage::Released => {}
        }
        false
    }

    /// A job of a torrent ended of which nothing is known but a link: there is nothing to do but to close.
    pub(super) fn on_bare_disk(
        &mut self,
        ctx: &mut Shared,
        about: DiskOp,
        result: Result<DiskDone, DiskError>,
    ) {
        self.error = match result {
            Ok(DiskDone::Closed) => self.error.take(),
            Ok(done) => Some(misanswered(String::new(), about, &done)),
            Err(error) => Some(error),
        };
        self.on_closed(ctx, false);
    }

    /// The user wants resume data to be saved of a torrent that has none yet.
    pub(super) fn save_nothing(&mut self, ctx: &mut Shared, request: RequestId) {
        self.to_save.push(request);
        match self.stage {
            // Who waits is answered when it is closed.
            Stage::Closing { .. } | Stage::Keeping { .. } => {}
            Stage::Closed
            | Stage::Waiting
            | Stage::Opening
            | Stage::Checking
            | Stage::Open
            | Stage::Released => {
                self.answer_all_saved(ctx);
            }
        }
    }

    /// The disk failed. Says whether that is news, and when to look at it again.
    pub(super) fn note_failure(
        &mut self,
        now: Instant,
        about: DiskOp,
        error: &DiskError,
        again: bool,
    ) -> (bool, Option<Duration>) {
        // Many jobs fail at once, and for one reason: only looking again in vain makes the next look
        // later, and failing again soon after it seemed to be well.
        let relapse = !again && self.recovered.is_some_and(|at| now.since(at) < STEADY);
        if matches!(about, DiskOp::Probe | DiskOp::Open) || relapse {
            self.probe_after = (self.probe_after * 2).min(PROBE.1);
        } else if !again {
            self.probe_after = PROBE.0;
        }
        let news = self.error.as_ref() != Some(error);
        self.error = Some(error.clone());
        let mends_itself = error.kind != DiskErrorKind::Foreign;
        (news, mends_itself.then_some(self.probe_after))
    }

    /// Answers everybody who waits for a checkpoint when there will be none, or none any more.
    pub(super) fn answer_all_saved(&mut self, ctx: &mut Shared) {
        self.saving.append(&mut self.to_save);
        let error = self.error.clone();
        self.answer_saved(ctx, error);
    }

    /// Answers those who waited for the checkpoint that has ended.
    pub(super) fn answer_saved(&mut self, ctx: &mut Shared, error: Option<DiskError>) {
        for request in self.saving.drain(..) {
            let result = match error.clone() {
                Some(error) => Err(CommandError::Disk(error)),
                None => Ok(Reply::Done),
            };
            ctx.push(Action::Reply { request, result });
        }
    }
}

/// What is removed with a torrent.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemoveFiles {
    /// Its data, beside what is known of it.
    pub(super) data: bool,
}

/// What a torrent must do after its disk has done something.
#[derive(Debug)]
#[must_use]
pub(super) enum AfterDisk {
    /// Nothing.
    Nothing,
    /// All is checked: it starts, or goes on.
    Checked,
    /// What had failed is well again: it goes on.
    Usable,
    /// Everything stops, and the disk is looked at again later.
    Failed(DiskOp, DiskError),
}

impl Transfer<'_> {
    pub(super) fn open_storage(&mut self, ctx: &mut Shared) {
        self.storage.stage = Stage::Waiting;
        self.check_again(ctx);
        if ctx.gate.enter(Lane::Open, self.id) {
            self.begin_opening(ctx);
        }
    }

    /// Its turn has come to open its storage, or to verify a piece.
    pub(super) fn on_admitted(&mut self, ctx: &mut Shared, lane: Lane) -> AfterDisk {
        match (lane, self.storage.stage) {
            (Lane::Open, Stage::Waiting) if self.course.activity() == Activity::Paused => {
                self.storage.stage = Stage::Closed;
                self.storage.answer_all_saved(ctx);
                AfterDisk::Nothing
            }
            (Lane::Open, Stage::Waiting) if ctx.gate.enter(Lane::Open, self.id) => {
                self.begin_opening(ctx);
                AfterDisk::Nothing
            }
            (Lane::Verify, Stage::Checking) => self.verify_more(ctx),
            (Lane::Open | Lane::Verify | Lane::Http | Lane::Udp | Lane::LookUp, _) => {
                AfterDisk::Nothing
            }
        }
    }

    fn begin_opening(&mut self, ctx: &mut Shared) {
        self.storage.stage = Stage::Opening;
        let open = OpenStorage {
            key: self.storage.key,
            metainfo: self.content.metainfo.clone(),
            wanted: self.content.wanted_files(),
            recheck: core::mem::take(&mut self.storage.recheck),
            overwrite: self.storage.overwrite,
            fetched: self.storage.fetched,
        };
        ctx.disk(
            self.id,
            DiskOp::Open,
            DiskJob::Open(alloc::boxed::Box::new(open)),
        );
    }

    /// Closes the storage and opens it anew.
    pub(super) fn reopen_storage(&mut self, ctx: &mut Shared, recheck: bool) {
        self.storage.recheck |= recheck;
        self.check_again(ctx);
        match self.storage.stage {
            Stage::Closed => self.open_storage(ctx),
            // It is opened when its turn has come.
            Stage::Waiting => {}
            Stage::Closing { .. } => self.storage.stage = Stage::Closing { reopen: true },
            Stage::Opening | Stage::Checking | Stage::Open => {
                self.storage.stage = Stage::Closing { reopen: true };
                ctx.disk(self.id, DiskOp::Close, DiskJob::Close);
            }
            Stage::Keeping { .. } | Stage::Released => {}
        }
    }

    /// The storage is looked at, and after that the torrent pauses if it was paused.
    fn check_again(&mut self, ctx: &mut Shared) {
        let pause = self.course.is_paused();
        self.course
            .enter(ctx, self.id, Activity::Checking { pause });
    }

    /// Closes the storage for good. Unless the torrent is removed, what came of incomplete pieces is written
    /// first, and recorded with the rest, so that the next run goes on with it.
    pub(super) fn release_storage(&mut self, ctx: &mut Shared, remove: Option<RemoveFiles>) {
        if let Some(remove) = remove {
            self.drop_all_partials(ctx);
            self.storage.release(ctx, self.id, Some(remove));
        } else if self.storage.stage == Stage::Open {
            self.storage.stage = Stage::Keeping { recording: false };
            self.flush_partials(ctx);
            self.keep_on(ctx);
        } else {
            self.close_for_good(ctx);
        }
    }

    fn close_for_good(&mut self, ctx: &mut Shared) {
        self.drop_all_partials(ctx);
        self.storage.release(ctx, self.id, None);
    }

    /// Something ended that closing for good may have waited for.
    pub(super) fn keep_on(&mut self, ctx: &mut Shared) {
        let Stage::Keeping { recording } = self.storage.stage else {
            return;
        };
        let waits = self.content.partials.is_writing()
            || !self.content.storing.is_empty()
            || self.storage.selecting > 0
            || self.storage.checkpointing;
        if waits {
            return;
        }
        if !recording && (self.storage.dirty || self.storage.untold) {
            self.storage.stage = Stage::Keeping { recording: true };
            self.record(ctx);
        } else {
            self.close_for_good(ctx);
        }
    }

    /// A disk job ended.
    pub(super) fn on_disk(
        &mut self,
        ctx: &mut Shared,
        op: OpId,
        about: DiskOp,
        result: Result<DiskDone, DiskError>,
    ) -> AfterDisk {
        match (about, result) {
            (DiskOp::Open, Ok(DiskDone::Opened(opened))) => {
                return self.on_opened(ctx, *opened);
            }
            (DiskOp::Verify { piece }, Ok(DiskDone::Verified { matches })) => {
                return self.on_verified(ctx, piece, matches);
            }
            (DiskOp::Store { piece, .. }, Ok(DiskDone::Stored { blocks })) => {
                self.on_stored(ctx, piece, blocks.as_deref());
            }
            (DiskOp::Store { piece, .. }, Ok(DiskDone::Mismatched { blocks })) => {
                self.on_mismatched(ctx, piece, blocks);
            }
            (DiskOp::Write { piece, begin, len }, Ok(DiskDone::Written)) => {
                self.on_written(ctx, piece, begin, len, true);
            }
            (DiskOp::Read { conn, begin, len }, Ok(DiskDone::Read { data })) => {
                self.on_read(ctx, op, conn, begin, len, Some(data));
            }
            (DiskOp::Select, Ok(DiskDone::Selected)) => return self.on_selected(ctx),
            (DiskOp::Trim { file, found }, Ok(DiskDone::Trimmed { cut })) => {
                self.on_trimmed(ctx, file, found, cut);
            }
            (DiskOp::Checkpoint, Ok(DiskDone::Checkpointed)) => self.on_checkpointed(ctx),
            (DiskOp::Probe, Ok(DiskDone::Usable)) => return self.on_usable(ctx),
            (DiskOp::Close | DiskOp::Remove, Ok(DiskDone::Closed)) => self.on_closed(ctx),
            (about, Err(error)) => return self.on_failed_job(ctx, op, about, error),
            (about, Ok(done)) => {
                let error = misanswered(self.content.name(), about, &done);
                return self.on_failed_job(ctx, op, about, error);
            }
        }
        AfterDisk::Nothing
    }

    /// The time for resume data has come.
    pub(super) fn on_checkpoint_timer(&mut self, ctx: &mut Shared) {
        // A disk that failed would only fail again; the recovery sets the timer anew.
        if self.course.state() == TorrentState::Failed {
            return;
        }
        // Smaller pieces are soon complete, and are not worth to be read back for it.
        let is_large = self.content.layout.piece_length() >= LARGE_PIECE;
        if is_large && self.storage.is_open() && !self.storage.flushed {
            self.storage.flushed = self.flush_partials(ctx);
            if self.storage.flushed {
                // What is written by then is recorded.
                ctx.timers
                    .set(Timer::Checkpoint(self.id), ctx.now + FLUSH_TIME);
                return;
            }
        }
        self.storage.flushed = false;
        self.checkpoint(ctx);
    }

    /// A block of a piece came that is not complete: a large one is recorded before it is.
    pub(super) fn keep_large(&mut self, ctx: &mut Shared) {
        if self.content.layout.piece_length() >= LARGE_PIECE && !self.storage.dirty {
            self.checkpoint_later(ctx);
        }
    }

    /// Saves resume data.
    pub(super) fn checkpoint(&mut self, ctx: &mut Shared) {
        if self.storage.stage != Stage::Open {
            return;
        }
        if self.storage.checkpointing {
            // What came since then needs another one.
            self.checkpoint_later(ctx);
            return;
        }
        self.record(ctx);
    }

    fn record(&mut self, ctx: &mut Shared) {
        self.storage.dirty = false;
        self.storage.untold = false;
        self.storage.checkpointing = true;
        self.storage.saving.append(&mut self.storage.to_save);
        ctx.timers.cancel(Timer::Checkpoint(self.id));
        let job = DiskJob::Checkpoint {
            have: self.content.have().clone(),
            partial: self.content.partials.stored(),
            uploaded: self.flow.uploaded(),
            downloaded: self.flow.downloaded(),
        };
        ctx.disk(self.id, DiskOp::Checkpoint, job);
    }

    /// The user wants resume data to be saved, and to know when that is done.
    pub(super) fn save(&mut self, ctx: &mut Shared, request: RequestId) {
        self.storage.to_save.push(request);
        match self.storage.stage {
            Stage::Open if self.storage.checkpointing => {}
            Stage::Open => self.checkpoint(ctx),
            // What will be known then is saved then.
            Stage::Waiting
            | Stage::Opening
            | Stage::Checking
            | Stage::Keeping { .. }
            | Stage::Closing { .. } => {}
            // Nothing was stored since it was closed.
            Stage::Closed | Stage::Released => self.storage.answer_all_saved(ctx),
        }
    }

    /// Something was stored: sees to it that it gets into resume data.
    pub(super) fn checkpoint_later(&mut self, ctx: &mut Shared) {
        self.storage.dirty = true;
        if self.course.state() == TorrentState::Removing {
            // The last record is made when all has come to an end.
            return;
        }
        let at = ctx.now + ctx.config.checkpoint_interval;
        ctx.timers.set_no_later(Timer::Checkpoint(self.id), at);
    }

    /// Something was uploaded, which counts for the goal of the next run as well. Saved now and then, and at the end.
    pub(super) fn uploaded_since_checkpoint(&mut self, ctx: &mut Shared) {
        self.storage.untold = true;
        ctx.timers
            .set_no_later(Timer::Checkpoint(self.id), ctx.now + UPLOAD_CHECKPOINT);
    }

    /// Looks whether a disk that failed can be used again.
    pub(super) fn probe(&mut self, ctx: &mut Shared) {
        if self.course.state() != TorrentState::Failed || self.storage.probing {
            return;
        }
        self.storage.probing = true;
        let piece = u64::from(self.content.layout.piece_length());
        let missing = self.content.wanted_bytes() - self.content.wanted_have_bytes();
        let job = DiskJob::Probe {
            space: missing.min(PROBE_PIECES * piece),
        };
        ctx.disk(self.id, DiskOp::Probe, job);
    }

    fn on_opened(&mut self, ctx: &mut Shared, opened: Opened) -> AfterDisk {
        if self.storage.stage != Stage::Opening {
            return AfterDisk::Nothing;
        }
        self.note_recovery(ctx);
        let pieces = self.content.layout.piece_count();
        self.flow.earlier_uploaded = self.flow.earlier_uploaded.max(opened.uploaded);
        self.flow.earlier_downloaded = self.flow.earlier_downloaded.max(opened.downloaded);
        for piece in opened.trusted.iter().filter(|piece| *piece < pieces) {
            self.content.picker.set_have(piece);
        }
        let doubtful = opened.doubtful.resized(pieces);
        self.storage.unchecked = doubtful.count();
        self.storage.doubtful = doubtful;
        self.storage.partial = opened.partial;
        self.storage.next_doubtful = 0;
        self.storage.foreign = opened.foreign;
        self.storage.longer = (opened.longer.iter())
            .map(|longer| (longer.file, longer.found))
            .collect();
        self.storage.stage = Stage::Checking;
        self.check_again(ctx);
        self.verify_more(ctx)
    }

    fn verify_more(&mut self, ctx: &mut Shared) -> AfterDisk {
        if self.storage.stage != Stage::Checking {
            return AfterDisk::Nothing;
        }
        let doubtful = &self.storage.doubtful;
        let pieces = doubtful.len();
        let mut next = self.storage.next_doubtful;
        while next < pieces {
            let digest = self.content.metainfo.piece_hash(PieceIndex::new(next));
            let Some(digest) = digest.filter(|_| doubtful.contains(next)).copied() else {
                next += 1;
                continue;
            };
            if !ctx.gate.enter(Lane::Verify, self.id) {
                break;
            }
            self.storage.verifying += 1;
            let job = DiskJob::Verify {
                piece: PieceIndex::new(next),
                digest,
            };
            ctx.disk(self.id, DiskOp::Verify { piece: next }, job);
            next += 1;
        }
        self.storage.next_doubtful = next;
        if self.storage.verifying == 0 && next >= pieces {
            self.on_checked(ctx)
        } else {
            AfterDisk::Nothing
        }
    }

    fn on_verified(&mut self, ctx: &mut Shared, piece: u32, matches: bool) -> AfterDisk {
        self.storage.verifying = self.storage.verifying.saturating_sub(1);
        if self.storage.stage != Stage::Checking {
            return AfterDisk::Nothing;
        }
        self.storage.unchecked = self.storage.unchecked.saturating_sub(1);
        if matches {
            self.storage.dirty = true;
            self.content.picker.set_have(piece);
        }
        self.verify_more(ctx)
    }

    fn on_checked(&mut self, ctx: &mut Shared) -> AfterDisk {
        self.storage.doubtful = Bitfield::default();
        self.storage.unchecked = 0;
        self.content.count_missing();
        let unsure = !self.storage.foreign.is_empty();
        if let Some(foreign) = self.find_foreign() {
            return self.refuse_foreign(ctx, foreign);
        }
        if unsure {
            // The storage sees what lies where in a piece. It has the last word, and makes what is missing
            // only then: a refusal must leave everything as it was.
            self.storage.judging = true;
            self.storage.selecting += 1;
            let wanted = self.content.wanted_files();
            ctx.disk(self.id, DiskOp::Select, DiskJob::Select { wanted });
            return AfterDisk::Nothing;
        }
        self.begin_with_files(ctx)
    }

    /// What is on the disk is known, and the files may be used.
    fn begin_with_files(&mut self, ctx: &mut Shared) -> AfterDisk {
        self.storage.stage = Stage::Open;
        let partial = core::mem::take(&mut self.storage.partial);
        self.restore_partials(ctx, partial);
        let (have, pieces) = (
            self.content.have().count(),
            self.content.layout.piece_count(),
        );
        ctx.notify(Notice::Checked {
            torrent: self.id,
            have,
            pieces,
        });
        if self.storage.dirty || !self.storage.to_save.is_empty() {
            self.checkpoint(ctx);
        }
        AfterDisk::Checked
    }

    /// The first file that was there before the torrent and that nothing shows to be the torrent's: whoever made
    /// it made it for something else, and what is written over cannot be had back.
    ///
    /// - A right piece that lies in it, if only in part, shows whose it is, but not one of zeros only: many files
    ///   have zeros in them.
    /// - A file that fits into a piece has little to show for itself. It is taken for the torrent's if that was
    ///   shown of another file in the same folder.
    /// - A file of which all pieces are right needs no proof: nothing will be written to it.
    ///
    /// The storage knows more, and may refuse what is left.
    fn find_foreign(&mut self) -> Option<ForeignFile> {
        let foreign = core::mem::take(&mut self.storage.foreign);
        // There are two lengths of pieces at most.
        let mut zeros = BTreeMap::new();
        let content = &*self.content;
        let mut shows = |piece| {
            let size = content.piece_size(piece);
            content.have().contains(piece)
                && content.metainfo.piece_hash(PieceIndex::new(piece))
                    != Some(zeros.entry(size).or_insert_with(|| digest_of_zeros(size)))
        };
        let mut shown = BTreeSet::new();
        let mut unshown = Vec::new();
        for foreign in foreign {
            let pieces = content.layout.pieces_of_file(foreign.file);
            let mut pieces = pieces.unwrap_or_default();
            let is_whole = pieces.clone().all(|piece| content.have().contains(piece));
            if pieces.any(&mut shows) {
                shown.extend(content.folder_of(foreign.file));
            } else if !is_whole {
                unshown.push(foreign);
            }
        }
        unshown.into_iter().find(|foreign| {
            let range = content.layout.file_range(foreign.file).unwrap_or_default();
            let is_small = range.end - range.start <= u64::from(content.layout.piece_length());
            let folder = content.folder_of(foreign.file);
            !(is_small && folder.is_some_and(|folder| shown.contains(&folder)))
        })
    }

    /// Stops before anything is written over. The storage is closed, so that whatever comes next looks at
    /// the files anew.
    fn refuse_foreign(&mut self, ctx: &mut Shared, foreign: ForeignFile) -> AfterDisk {
        let error = DiskError {
            kind: DiskErrorKind::Foreign,
            file: foreign.path,
            message: "nothing in it is of this torrent".into(),
        };
        self.give_up_opening(ctx, error)
    }

    /// What was opened cannot be used as it is: it is closed, and opened anew when that makes sense.
    fn give_up_opening(&mut self, ctx: &mut Shared, error: DiskError) -> AfterDisk {
        self.storage.stage = Stage::Closing { reopen: true };
        self.storage.saving.append(&mut self.storage.to_save);
        self.storage.answer_saved(ctx, Some(error.clone()));
        ctx.disk(self.id, DiskOp::Close, DiskJob::Close);
        AfterDisk::Failed(DiskOp::Open, error)
    }

    /// Has files cut that are longer than they should be, once all their pieces are verified.
    pub(super) fn trim_complete_files(&mut self, ctx: &mut Shared) {
        if self.storage.stage != Stage::Open {
            return;
        }
        let complete: Vec<(FileIndex, u64)> = (self.storage.longer.iter())
            .map(|(file, found)| (*file, *found))
            .filter(|(file, _)| {
                let index = file.as_usize();
                let wanted = self
                    .content
                    .priorities
                    .get(index)
                    .is_some_and(|p| *p != Priority::Skip);
                wanted
                    && self.content.file_missing.get(index) == Some(&0)
                    && self.content.layout.file_kind(*file) == Some(FileKind::Data)
            })
            .collect();
        for (file, found) in complete {
            self.storage.longer.remove(&file);
            ctx.disk(
                self.id,
                DiskOp::Trim { file, found },
                DiskJob::Trim { file },
            );
        }
    }

    fn on_trimmed(&mut self, ctx: &mut Shared, file: FileIndex, found: u64, cut: bool) {
        let range = self.content.layout.file_range(file).unwrap_or_default();
        ctx.notify(Notice::FileLonger {
            torrent: self.id,
            file,
            found,
            expected: range.end - range.start,
            cut,
        });
        if cut {
            // What it looks like now is what the next run must find.
            self.checkpoint_later(ctx);
        }
    }

    fn on_selected(&mut self, ctx: &mut Shared) -> AfterDisk {
        self.storage.selecting = self.storage.selecting.saturating_sub(1);
        if core::mem::take(&mut self.storage.judging) {
            if self.storage.stage == Stage::Checking {
                return self.begin_with_files(ctx);
            }
        } else if self.storage.selecting == 0 {
            self.checkpoint_later(ctx);
            self.trim_complete_files(ctx);
            self.request_blocks_of_all(ctx);
        }
        AfterDisk::Nothing
    }

    fn on_checkpointed(&mut self, ctx: &mut Shared) {
        self.storage.checkpointing = false;
        self.storage.answer_saved(ctx, None);
        if !self.storage.to_save.is_empty() {
            self.checkpoint(ctx);
        } else if self.storage.dirty {
            self.checkpoint_later(ctx);
        }
    }

    fn on_usable(&mut self, ctx: &mut Shared) -> AfterDisk {
        self.storage.probing = false;
        if self.course.state() != TorrentState::Failed {
            return AfterDisk::Nothing;
        }
        ctx.timers.cancel(Timer::Probe(self.id));
        let error = self.storage.error.as_ref();
        let full = error.is_some_and(|error| error.kind == DiskErrorKind::NoSpace);
        if full && self.storage.stage == Stage::Open {
            // What is there is as good as before.
            self.note_recovery(ctx);
            AfterDisk::Usable
        } else {
            self.forget_pieces(ctx, true);
            self.reopen_storage(ctx, false);
            AfterDisk::Nothing
        }
    }

    /// The disk works: tells so, if it had failed.
    fn note_recovery(&mut self, ctx: &mut Shared) {
        if self.storage.error.take().is_some() {
            self.storage.recovered = Some(ctx.now);
            ctx.notify(Notice::StorageRecovered { torrent: self.id });
        }
        if self.storage.dirty {
            self.checkpoint_later(ctx);
        }
    }

    fn on_closed(&mut self, ctx: &mut Shared) {
        let checking = self.course.state() == TorrentState::Checking;
        if self.storage.on_closed(ctx, checking) {
            self.open_storage(ctx);
        }
    }

    fn on_failed_job(
        &mut self,
        ctx: &mut Shared,
        op: OpId,
        about: DiskOp,
        error: DiskError,
    ) -> AfterDisk {
        match about {
            DiskOp::Open => {
                if self.storage.stage == Stage::Opening {
                    self.storage.stage = Stage::Closed;
                    self.storage.saving.append(&mut self.storage.to_save);
                    self.storage.answer_saved(ctx, Some(error.clone()));
                }
            }
            DiskOp::Verify { piece } => {
                // What can't be read is not there; that the disk fails will show when it is written.
                return self.on_verified(ctx, piece, false);
            }
            DiskOp::Store { piece, .. } => self.on_store_failed(ctx, piece, &error),
            DiskOp::Write { piece, begin, len } => self.on_written(ctx, piece, begin, len, false),
            DiskOp::Read { conn, begin, len } => {
                self.on_read(ctx, op, conn, begin, len, None);
            }
            DiskOp::Select => {
                self.storage.selecting = self.storage.selecting.saturating_sub(1);
                let judging = core::mem::take(&mut self.storage.judging);
                if judging && self.storage.stage == Stage::Checking {
                    return self.give_up_opening(ctx, error);
                }
            }
            DiskOp::Trim { file, found } => {
                // What is too much does no harm, so it is told and left.
                self.on_trimmed(ctx, file, found, false);
                return AfterDisk::Nothing;
            }
            DiskOp::Checkpoint => {
                self.storage.checkpointing = false;
                self.storage.dirty = true;
                self.storage.saving.append(&mut self.storage.to_save);
                self.storage.answer_saved(ctx, Some(error.clone()));
            }
            DiskOp::Probe => self.storage.probing = false,
            DiskOp::Close | DiskOp::Remove => {
                // There is nothing left to be done about it but to tell.
                self.storage.error = Some(error);
                self.on_closed(ctx);
                return AfterDisk::Nothing;
            }
        }
        AfterDisk::Failed(about, error)
    }
}
