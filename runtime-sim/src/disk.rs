//! Disks that take time, fill up, fail, lie, and forget what was not synced.

use std::collections::{BTreeMap, BTreeSet};

use anabranch_core::action::{DiskJob, OpenStorage, Segment};
use anabranch_core::event::{
    DiskDone, DiskError, DiskErrorKind, ForeignFile, LongerFile, Opened, PartialPiece,
};
use anabranch_core::id::StorageKey;
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::{FileIndex, PieceIndex};
use anabranch_core::{Bitfield, Instant};
use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::chance::Chance;
use crate::config::{DiskConfig, time_for};
use crate::content::Content;

/// The kinds of disk jobs, to count them and let them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Making the storage usable.
    Open,
    /// Comparing what is there with its digest.
    Verify,
    /// Comparing a piece with its digest, and writing it.
    Store,
    /// Writing a part of an incomplete piece.
    Write,
    /// Reading for a peer.
    Read,
    /// Changing which files are wanted.
    Select,
    /// Cutting a file that is too long.
    Trim,
    /// Syncing, and saving resume data.
    Checkpoint,
    /// Looking whether a disk that failed works again.
    Probe,
    /// Releasing the storage.
    Close,
    /// Releasing and deleting it.
    Remove,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Open,
        Self::Verify,
        Self::Store,
        Self::Write,
        Self::Read,
        Self::Select,
        Self::Trim,
        Self::Checkpoint,
        Self::Probe,
        Self::Close,
        Self::Remove,
    ];

    fn of(job: &DiskJob) -> Self {
        match job {
            DiskJob::Open(_) => Self::Open,
            DiskJob::Verify { .. } => Self::Verify,
            DiskJob::Store { .. } => Self::Store,
            DiskJob::Write { .. } => Self::Write,
            DiskJob::Read { .. } => Self::Read,
            DiskJob::Select { .. } => Self::Select,
            DiskJob::Trim { .. } => Self::Trim,
            DiskJob::Checkpoint { .. } => Self::Checkpoint,
            DiskJob::Probe { .. } => Self::Probe,
            DiskJob::Close => Self::Close,
            DiskJob::Remove { .. } => Self::Remove,
        }
    }
}

/// What is wrong with a disk. It can be changed at any time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DiskFaults {
    /// Nothing more fits.
    pub full: bool,
    /// Operations that fail with an input/output error: the `n`-th of a kind, counted from 1 since the
    /// host was made.
    pub fail: BTreeSet<(JobKind, u64)>,
    /// Files of torrents whose names are taken by files of somebody else's.
    pub foreign: BTreeSet<FileIndex>,
    /// Files that are longer than their torrents say, and their lengths in bytes.
    pub longer: BTreeMap<FileIndex, u64>,
    /// Pieces that are written wrong although the disk says that they were not, in a million.
    pub corrupt_writes_ppm: u32,
    /// Reads for peers that give a wrong byte, in a million: with 1,000,000 a peer that lies.
    pub corrupt_reads_ppm: u32,
}

impl DiskFaults {
    fn foreign(&self, open: &OpenStorage) -> Vec<ForeignFile> {
        let path = |file: FileIndex| Some(open.metainfo.download_path(file)?.to_string());
        let wanted = |file: &FileIndex| open.wanted.get(file.as_usize()) == Some(&true);
        (self.foreign.iter().copied())
            .filter(|file| !open.overwrite && wanted(file))
            .filter_map(|file| {
                Some(ForeignFile {
                    file,
                    path: path(file)?,
                })
            })
            .collect()
    }

    fn longer(&self, open: &OpenStorage) -> Vec<LongerFile> {
        let wanted = |file: &FileIndex| open.wanted.get(file.as_usize()) == Some(&true);
        (self.longer.iter())
            .filter(|(file, _)| wanted(file))
            .map(|(file, found)| LongerFile {
                file: *file,
                found: *found,
            })
            .collect()
    }
}

/// What became of a job.
pub(crate) struct Outcome {
    pub(crate) at: Instant,
    pub(crate) result: Result<DiskDone, DiskError>,
    /// What the engine did that it must not do.
    pub(crate) violation: Option<String>,
}

/// A host's disk. It survives crashes of the host.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) config: DiskConfig,
    pub(crate) faults: DiskFaults,
    free_at: Instant,
    hashing_until: Instant,
    stores: BTreeMap<StorageKey, Store>,
    counts: BTreeMap<JobKind, u64>,
    chance: Chance,
}

/// A torrent's data on a disk. No bytes of right pieces are kept: they follow from the content.
#[derive(Debug)]
pub(crate) struct Store {
    content: Content,
    /// Pieces that are there and right.
    right: Bitfield,
    /// Those of them that a crash does not take.
    synced: Bitfield,
    /// Pieces that are there and wrong, and one offset where they are.
    wrong: BTreeMap<u32, u32>,
    /// Pieces that a fault made wrong behind the engine's back.
    tampered: BTreeSet<u32>,
    /// Those of them that were written wrong, other than those that were right for a time.
    miswritten: BTreeSet<u32>,
    /// Parts of incomplete pieces.
    parts: Parts,
    resume: Option<Resume>,
    /// Resume data on its way, and when it will be there.
    pending: Option<(Instant, Resume, Bitfield)>,
    last_done: Instant,
}

/// Bytes by piece and offset.
type Parts = BTreeMap<u32, BTreeMap<u32, Bytes>>;

#[derive(Clone, Debug)]
struct Resume {
    have: Bitfield,
    /// The parts of incomplete pieces that are on the disk, in that they were synced before.
    parts: Parts,
    uploaded: u64,
    downloaded: u64,
}

impl Disk {
    pub(crate) fn new(config: DiskConfig, chance: Chance) -> Self {
        Self {
            config,
            faults: DiskFaults::default(),
            free_at: Instant::ZERO,
            hashing_until: Instant::ZERO,
            stores: BTreeMap::new(),
            counts: BTreeMap::new(),
            chance,
        }
    }

    /// Puts everything on the disk, synced and vouched for.
    pub(crate) fn fill(&mut self, key: StorageKey, content: &Content) {
        let mut store = Store::new(content.clone());
        let full = Bitfield::full(content.pieces());
        store.right = full.clone();
        store.synced = full.clone();
        store.resume = Some(Resume {
            have: full,
            parts: Parts::new(),
            uploaded: 0,
            downloaded: 0,
        });
        self.stores.insert(key, store);
    }

    /// How many jobs of a kind there were.
    pub(crate) fn count(&self, kind: JobKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.stores.values().map(Store::used).sum()
    }

    /// Whether a piece may be reported: it is there and right, or a fault spoiled it.
    pub(crate) fn vouches_for(&self, key: StorageKey, piece: u32) -> bool {
        self.stores
            .get(&key)
            .is_some_and(|store| store.right.contains(piece) || store.tampered.contains(&piece))
    }

    /// Pieces that are there and right.
    pub(crate) fn right(&self, key: StorageKey) -> Option<&Bitfield> {
        self.stores.get(&key).map(|store| &store.right)
    }

    /// How many pieces were written wrong, and have not been written anew.
    pub(crate) fn miswritten(&self, key: StorageKey) -> usize {
        self.stores
            .get(&key)
            .map_or(0, |store| store.miswritten.len())
    }

    /// Damages a stored piece. Says whether there was anything to damage.
    pub(crate) fn rot(&mut self, key: StorageKey, piece: u32, offset: u32) -> bool {
        let Some(store) = self.stores.get_mut(&key) else {
            return false;
        };
        let there = store.right.remove(piece);
        if there {
            store.synced.remove(piece);
            let size = store.content.piece_size(piece).max(1);
            store.wrong.insert(piece, offset % size);
            store.tampered.insert(piece);
        }
        there
    }

    /// Takes a torrent's data out, to be put into another disk.
    pub(crate) fn take_out(&mut self, key: StorageKey) -> Option<Store> {
        self.stores.remove(&key)
    }

    /// Puts in what was taken out of another disk.
    pub(crate) fn put_in(&mut self, key: StorageKey, store: Store) {
        self.stores.insert(key, store);
    }

    /// Whoever worked on it is gone: what was not done is never done, and of parts of pieces only those are
    /// known that were recorded.
    pub(crate) fn abandon(&mut self, now: Instant) {
        self.free_at = now;
        self.hashing_until = now;
        for store in self.stores.values_mut() {
            store.settle(now);
            store.pending = None;
            store.parts = store.recorded_parts();
            store.last_done = now;
        }
    }

    /// The machine lost power: of what was not synced, some is there, some is gone, some is half there.
    pub(crate) fn crash(&mut self, now: Instant) {
        self.free_at = now;
        self.hashing_until = now;
        for store in self.stores.values_mut() {
            store.settle(now);
            // Resume data is replaced at once or not at all.
            if let Some((_, resume, synced)) = store.pending.take()
                && self.chance.below(2) == 0
            {
                store.apply(resume, &synced);
            }
            let unsynced: Vec<u32> = store
                .right
                .iter()
                .filter(|piece| !store.synced.contains(*piece))
                .collect();
            let recorded = store.recorded_parts();
            let partial = std::mem::replace(&mut store.parts, recorded).into_keys();
            let partial: Vec<u32> = partial
                .filter(|piece| !store.parts.contains_key(piece))
                .collect();
            for piece in unsynced.into_iter().chain(partial) {
                let fate = self.chance.below(3);
                if fate == 0 && store.right.contains(piece) {
                    continue;
                }
                store.right.remove(piece);
                store.wrong.remove(&piece);
                if fate == 1 {
                    store.wrong.insert(piece, 0);
                }
            }
            store.last_done = now;
        }
    }

    /// Does a job. What it does to the disk happens now, its answer comes later.
    pub(crate) fn perform(
        &mut self,
        now: Instant,
        key: StorageKey,
        job: DiskJob,
        content_of: impl Fn(&OpenStorage) -> Option<Content>,
    ) -> Outcome {
        let kind = JobKind::of(&job);
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let fails = self.faults.fail.contains(&(kind, *count));
        let waits = match kind {
            JobKind::Close | JobKind::Remove => true,
            JobKind::Open
            | JobKind::Verify
            | JobKind::Store
            | JobKind::Write
            | JobKind::Read
            | JobKind::Select
            | JobKind::Trim
            | JobKind::Checkpoint
            | JobKind::Probe => false,
        };
        let (moved, hashed) = self.effort(key, &job);
        let begin = now.max(self.free_at);
        self.free_at = begin + time_for(moved, self.config.rate);
        let mut at = self.free_at + self.config.latency + self.chance.up_to(self.config.shuffle);
        if hashed > 0 {
            self.hashing_until =
                now.max(self.hashing_until) + time_for(hashed, self.config.hash_rate);
            at = at.max(self.hashing_until + self.config.latency);
        }
        if let Some(store) = self.stores.get_mut(&key) {
            store.settle(now);
            if waits {
                at = at.max(store.last_done);
            }
        }
        let mut violation = None;
        let result = if fails {
            Err(error(DiskErrorKind::Io, "the device failed"))
        } else {
            self.work(now, at, key, job, content_of, &mut violation)
        };
        if let Some(store) = self.stores.get_mut(&key) {
            store.last_done = store.last_done.max(at);
        }
        Outcome {
            at,
            result,
            violation,
        }
    }

    /// Bytes that a job moves, and bytes that it hashes.
    fn effort(&self, key: StorageKey, job: &DiskJob) -> (u64, u64) {
        let size = |piece: u32| {
            let store = self.stores.get(&key);
            u64::from(store.map_or(0, |store| store.content.piece_size(piece)))
        };
        match job {
            DiskJob::Verify { piece, .. } => (size(piece.get()), size(piece.get())),
            DiskJob::Store { piece, .. } => (size(piece.get()), size(piece.get())),
            DiskJob::Write { data, .. } => (data.iter().map(|data| data.len() as u64).sum(), 0),
            DiskJob::Read { len, .. } => (u64::from(*len), 0),
            DiskJob::Open(_)
            | DiskJob::Select { .. }
            | DiskJob::Trim { .. }
            | DiskJob::Checkpoint { .. }
            | DiskJob::Probe { .. }
            | DiskJob::Close
            | DiskJob::Remove { .. } => (0, 0),
        }
    }

    fn work(
        &mut self,
        now: Instant,
        at: Instant,
        key: StorageKey,
        job: DiskJob,
        content_of: impl Fn(&OpenStorage) -> Option<Content>,
        violation: &mut Option<String>,
    ) -> Result<DiskDone, DiskError> {
        let (used, capacity) = match &job {
            // Only who needs room counts what is taken.
            DiskJob::Store { .. } | DiskJob::Write { .. } | DiskJob::Probe { .. } => {
                (self.used(), self.config.capacity)
            }
            DiskJob::Open(_)
            | DiskJob::Verify { .. }
            | DiskJob::Read { .. }
            | DiskJob::Select { .. }
            | DiskJob::Trim { .. }
            | DiskJob::Checkpoint { .. }
            | DiskJob::Close
            | DiskJob::Remove { .. } => (0, None),
        };
        let full = self.faults.full;
        let fits = |bytes: u64| !full && capacity.is_none_or(|most| used + bytes <= most);
        if let DiskJob::Open(open) = &job
            && !self.stores.contains_key(&key)
        {
            let Some(content) = content_of(open) else {
                return Err(error(DiskErrorKind::NotFound, "unknown content"));
            };
            self.stores.insert(key, Store::new(content));
        }
        let Some(store) = self.stores.get_mut(&key) else {
            *violation = Some(format!("a job for a storage that is not open: {job:?}"));
            return Err(error(DiskErrorKind::NotFound, "not open"));
        };
        match job {
            DiskJob::Open(open) => {
                let mut opened = store.open(open.recheck);
                opened.longer = self.faults.longer(&open);
                opened.foreign = self.faults.foreign(&open);
                Ok(DiskDone::Opened(Box::new(opened)))
            }
            DiskJob::Trim { file } => {
                let cut = self.faults.longer.remove(&file).is_some();
                Ok(DiskDone::Trimmed { cut })
            }
            DiskJob::Verify { piece, digest } => {
                if store.content.digest(piece.get()) != Some(&digest) {
                    *violation = Some(format!("a wrong digest for piece {}", piece.get()));
                }
                Ok(DiskDone::Verified {
                    matches: store.right.contains(piece.get()),
                })
            }
            DiskJob::Store {
                piece,
                digest,
                data,
                blocks,
            } => {
                let piece = piece.get();
                if store.content.digest(piece) != Some(&digest) {
                    *violation = Some(format!("a wrong digest for piece {piece}"));
                }
                let data = match store.gather(piece, data) {
                    Ok(data) => data,
                    Err(missing) => {
                        *violation = Some(missing);
                        return Err(error(DiskErrorKind::NotFound, "not written"));
                    }
                };
                if !store.content.matches(piece, &data) {
                    store.parts.remove(&piece);
                    return Ok(DiskDone::Mismatched {
                        blocks: block_digests(&data),
                    });
                }
                if !fits(u64::from(store.content.piece_size(piece))) {
                    return Err(error(DiskErrorKind::NoSpace, "no space left on device"));
                }
                let blocks = blocks.then(|| block_digests(&data));
                store.parts.remove(&piece);
                store.synced.remove(piece);
                store.tampered.remove(&piece);
                store.wrong.remove(&piece);
                store.miswritten.remove(&piece);
                if self.chance.happens(self.faults.corrupt_writes_ppm) {
                    store.right.remove(piece);
                    store.wrong.insert(piece, 0);
                    store.tampered.insert(piece);
                    store.miswritten.insert(piece);
                } else {
                    store.right.insert(piece);
                }
                Ok(DiskDone::Stored { blocks })
            }
            DiskJob::Write { piece, begin, data } => {
                let bytes: u64 = data.iter().map(|data| data.len() as u64).sum();
                if !fits(bytes) {
                    return Err(error(DiskErrorKind::NoSpace, "no space left on device"));
                }
                let parts = store.parts.entry(piece.get()).or_default();
                let mut begin = begin;
                for data in data {
                    let len = data.len() as u32;
                    parts.insert(begin, data);
                    begin += len;
                }
                Ok(DiskDone::Written)
            }
            DiskJob::Read { piece, begin, len } => {
                let piece = piece.get();
                let right = store.right.contains(piece);
                let wrong = store.wrong.get(&piece).copied();
                if !right && wrong.is_none() {
                    *violation = Some(format!("a read of piece {piece}, which is not stored"));
                    return Err(error(DiskErrorKind::NotFound, "not stored"));
                }
                let data = store.content.slice(piece, begin, len);
                let lie = self.chance.happens(self.faults.corrupt_reads_ppm);
                let spot = wrong
                    .and_then(|offset| offset.checked_sub(begin))
                    .filter(|offset| *offset < len)
                    .or((lie && len > 0).then_some(0));
                let data = match spot {
                    Some(offset) => flipped(&data, offset),
                    None => data,
                };
                Ok(DiskDone::Read { data })
            }
            DiskJob::Select { .. } => Ok(DiskDone::Selected),
            DiskJob::Checkpoint {
                have,
                partial,
                uploaded,
                downloaded,
            } => {
                let stray = have
                    .iter()
                    .find(|piece| !store.right.contains(*piece) && !store.tampered.contains(piece));
                if let Some(piece) = stray {
                    *violation = Some(format!("resume data vouches for piece {piece}"));
                }
                let parts = match store.parts_of(&partial) {
                    Ok(parts) => parts,
                    Err(missing) => {
                        *violation = Some(missing);
                        Parts::new()
                    }
                };
                let resume = Resume {
                    have,
                    parts,
                    uploaded,
                    downloaded,
                };
                // Everything that is there now is synced before the resume data is.
                store.pending = Some((at, resume, store.right.clone()));
                Ok(DiskDone::Checkpointed)
            }
            DiskJob::Probe { space } => {
                if fits(space) {
                    Ok(DiskDone::Usable)
                } else {
                    Err(error(DiskErrorKind::NoSpace, "no space left on device"))
                }
            }
            DiskJob::Close => {
                // What was on its way has been waited for.
                store.settle(at.max(now));
                store.parts = store.recorded_parts();
                Ok(DiskDone::Closed)
            }
            DiskJob::Remove { data } => {
                store.settle(at.max(now));
                store.parts.clear();
                store.resume = None;
                if data {
                    self.stores.remove(&key);
                }
                Ok(DiskDone::Closed)
            }
        }
    }
}

impl Store {
    fn new(content: Content) -> Self {
        let pieces = content.pieces();
        Self {
            content,
            right: Bitfield::new(pieces),
            synced: Bitfield::new(pieces),
            wrong: BTreeMap::new(),
            tampered: BTreeSet::new(),
            miswritten: BTreeSet::new(),
            parts: BTreeMap::new(),
            resume: None,
            pending: None,
            last_done: Instant::ZERO,
        }
    }

    fn used(&self) -> u64 {
        let pieces = u64::from(self.right.count()) + self.wrong.len() as u64;
        let parts = self.parts.values().flat_map(BTreeMap::values);
        pieces * u64::from(self.content.metainfo().piece_length())
            + parts.map(|part| part.len() as u64).sum::<u64>()
    }

    /// Lets resume data that is due take effect.
    fn settle(&mut self, now: Instant) {
        if let Some((_, resume, synced)) = self.pending.take_if(|(at, ..)| *at <= now) {
            self.apply(resume, &synced);
        }
    }

    /// The parts of incomplete pieces that resume data has.
    fn recorded_parts(&self) -> Parts {
        let mut parts = match &self.resume {
            Some(resume) => resume.parts.clone(),
            None => Parts::new(),
        };
        parts.retain(|piece, _| !self.right.contains(*piece) && !self.wrong.contains_key(piece));
        parts
    }

    /// Exactly these blocks of what was written of incomplete pieces.
    fn parts_of(&self, partial: &[PartialPiece]) -> Result<Parts, String> {
        let mut parts = Parts::new();
        for map in partial {
            let piece = map.piece.get();
            let size = self.content.piece_size(piece);
            for block in map.blocks.iter() {
                let begin = block * BLOCK_LEN;
                let len = BLOCK_LEN.min(size.saturating_sub(begin));
                let bytes = self.part(piece, begin, len)?;
                parts.entry(piece).or_default().insert(begin, bytes);
            }
        }
        Ok(parts)
    }

    /// What was written of an incomplete piece.
    fn part(&self, piece: u32, begin: u32, len: u32) -> Result<Bytes, String> {
        let mut whole = Vec::with_capacity(len as usize);
        self.gather_stored(piece, begin, begin + len, |part| whole.extend(part))?;
        Ok(whole.into())
    }

    /// Hands over what was written of an incomplete piece, in order.
    fn gather_stored(
        &self,
        piece: u32,
        mut at: u32,
        end: u32,
        mut take: impl FnMut(Bytes),
    ) -> Result<(), String> {
        while at < end {
            let part = self
                .parts
                .get(&piece)
                .and_then(|parts| parts.range(..=at).next_back())
                .map(|(begin, part)| part.slice((at - begin).min(part.len() as u32) as usize..))
                .filter(|part| !part.is_empty());
            let Some(part) = part else {
                return Err(format!(
                    "piece {piece} is said to be written at {at}, and is not"
                ));
            };
            let part = part.slice(..part.len().min((end - at) as usize));
            at += part.len() as u32;
            take(part);
        }
        Ok(())
    }

    fn apply(&mut self, resume: Resume, synced: &Bitfield) {
        for piece in synced.iter().filter(|piece| self.right.contains(*piece)) {
            self.synced.insert(piece);
        }
        self.resume = Some(resume);
    }

    fn open(&mut self, recheck: bool) -> Opened {
        let mut opened = Opened {
            trusted: Bitfield::new(self.content.pieces()),
            doubtful: Bitfield::new(self.content.pieces()),
            ..Opened::default()
        };
        if let Some(resume) = &self.resume {
            opened.uploaded = resume.uploaded;
            opened.downloaded = resume.downloaded;
            if !recheck {
                opened.trusted = resume.have.clone();
                for (piece, parts) in self.recorded_parts() {
                    let size = self.content.piece_size(piece);
                    let mut blocks = Bitfield::new(size.div_ceil(BLOCK_LEN));
                    for begin in parts.keys() {
                        blocks.insert(begin / BLOCK_LEN);
                    }
                    opened.partial.push(PartialPiece {
                        piece: PieceIndex::new(piece),
                        blocks,
                    });
                }
            }
        }
        for piece in self.right.iter().chain(self.wrong.keys().copied()) {
            if !opened.trusted.contains(piece) {
                opened.doubtful.insert(piece);
            }
        }
        opened
    }

    /// The bytes of a piece, those that were written before among them.
    fn gather(&self, piece: u32, data: Vec<Segment>) -> Result<Vec<Bytes>, String> {
        let mut whole = Vec::with_capacity(data.len());
        let mut at = 0;
        for segment in data {
            match segment {
                Segment::Memory(bytes) => {
                    at += bytes.len() as u32;
                    whole.push(bytes);
                }
                Segment::Stored { len } => {
                    self.gather_stored(piece, at, at + len, |part| whole.push(part))?;
                    at += len;
                }
            }
        }
        Ok(whole)
    }
}

fn flipped(data: &Bytes, offset: u32) -> Bytes {
    let mut data = data.to_vec();
    if let Some(byte) = data.get_mut(offset as usize) {
        *byte ^= 0x55;
    }
    data.into()
}

fn block_digests(parts: &[Bytes]) -> Vec<[u8; 20]> {
    parts
        .concat()
        .chunks(BLOCK_LEN as usize)
        .map(|block| Sha1::digest(block).into())
        .collect()
}

fn error(kind: DiskErrorKind, message: &str) -> DiskError {
    DiskError {
        kind,
        file: String::from("disk"),
        message: String::from(message),
    }
}
