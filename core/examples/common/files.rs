//! A torrent in plain files, with blocking calls: what each [`DiskJob`] asks for, and no more.
//!
//! `anabranch-driver` has the storage for everyday use: it hashes on several threads, remembers what
//! it has verified, keeps files open, and follows no symbolic link out of the folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anabranch_core::Bitfield;
use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::event::{DiskDone, DiskError, DiskErrorKind, ForeignFile, Opened};
use anabranch_core::limits::BLOCK_LEN;
use anabranch_core::metainfo::{FileIndex, FileKind, FileSpan, Layout, Metainfo, PieceIndex};
use sha1::{Digest, Sha1};

/// The files of one torrent, below a folder.
pub(crate) struct Files {
    folder: PathBuf,
    torrent: Option<(Arc<Metainfo>, Layout)>,
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            torrent: None,
        }
    }

    /// Carries a job out. Whatever it comes to is the result of the operation.
    pub(crate) fn perform(&mut self, job: DiskJob) -> Result<DiskDone, DiskError> {
        Ok(match job {
            DiskJob::Open(open) => {
                self.torrent = Some((open.metainfo.clone(), Layout::new(&open.metainfo)));
                let pieces = open.metainfo.piece_count();
                let found = self.create()?;
                let doubtful = !found.is_empty();
                DiskDone::Opened(Box::new(Opened {
                    // No resume data: what is there already is verified in every run anew.
                    trusted: Bitfield::new(pieces),
                    doubtful: if doubtful {
                        Bitfield::full(pieces)
                    } else {
                        Bitfield::new(pieces)
                    },
                    // Nor is it known whose they are: the engine refuses what nothing matches in.
                    foreign: if open.overwrite { Vec::new() } else { found },
                    ..Opened::default()
                }))
            }
            DiskJob::Verify { piece, digest } => {
                let size = self.layout()?.1.piece_size(piece).unwrap_or(0);
                let matches = match self.read(piece, 0, size) {
                    Ok(data) => Sha1::digest(&data)[..] == digest,
                    // A file that is not there, or too short, is no failure of the disk.
                    Err(error) if error.kind == DiskErrorKind::NotFound => false,
                    Err(error) => return Err(error),
                };
                DiskDone::Verified { matches }
            }
            DiskJob::Store {
                piece,
                digest,
                data,
                blocks,
            } => {
                let mut whole = Vec::new();
                for segment in data {
                    match segment {
                        Segment::Memory(bytes) => whole.extend_from_slice(&bytes),
                        Segment::Stored { len } => {
                            whole.extend(self.read(piece, whole.len() as u32, len)?);
                        }
                    }
                }
                let digests = || {
                    let blocks = whole.chunks(BLOCK_LEN as usize);
                    blocks.map(|block| Sha1::digest(block).into()).collect()
                };
                if Sha1::digest(&whole)[..] != digest {
                    return Ok(DiskDone::Mismatched { blocks: digests() });
                }
                self.write(piece, 0, &whole)?;
                DiskDone::Stored {
                    blocks: blocks.then(digests),
                }
            }
            DiskJob::Write { piece, begin, data } => {
                self.write(piece, begin, &data.concat())?;
                DiskDone::Written
            }
            DiskJob::Read { piece, begin, len } => DiskDone::Read {
                data: self.read(piece, begin, len)?.into(),
            },
            // Every file was created when the storage was opened, wanted or not.
            DiskJob::Select { .. } => DiskDone::Selected,
            DiskJob::Trim { .. } => DiskDone::Trimmed { cut: false },
            DiskJob::Checkpoint { .. } => {
                self.each_file(|_, path| File::open(path)?.sync_all())?;
                DiskDone::Checkpointed
            }
            // What was wrong shows when the engine goes on and opens the storage again.
            DiskJob::Probe { .. } => DiskDone::Usable,
            DiskJob::Close => DiskDone::Closed,
            DiskJob::Remove { data } => {
                if data {
                    self.each_file(|_, path| fs::remove_file(path))?;
                }
                DiskDone::Closed
            }
        })
    }

    /// Creates the files that are missing, and names those that were there with something in them.
    fn create(&self) -> Result<Vec<ForeignFile>, DiskError> {
        let mut found = Vec::new();
        self.each_file(|file, path| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = File::options();
            let opened = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            if opened.metadata()?.len() > 0 {
                let path = path.display().to_string();
                found.push(ForeignFile { file, path });
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Result<Vec<u8>, DiskError> {
        let mut data = vec![0; len as usize];
        self.each_span(piece, begin, len, |path, span| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(span.offset))?;
            file.read_exact(&mut data[span.range.start as usize..span.range.end as usize])
        })?;
        Ok(data)
    }

    fn write(&self, piece: PieceIndex, begin: u32, data: &[u8]) -> Result<(), DiskError> {
        self.each_span(piece, begin, data.len() as u32, |path, span| {
            let mut file = File::options().write(true).open(path)?;
            file.seek(SeekFrom::Start(span.offset))?;
            file.write_all(&data[span.range.start as usize..span.range.end as usize])
        })
    }

    /// A part of a piece may lie in several files: the layout tells which bytes of which.
    fn each_span(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u32,
        mut work: impl FnMut(&Path, FileSpan) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let (metainfo, layout) = self.layout()?;
        let spans = layout.spans(piece, begin, len);
        let spans = spans.ok_or_else(|| unusable("a part of no piece"))?;
        // Pad files are zeros that nobody keeps.
        for span in spans.filter(|span| span.kind == FileKind::Data) {
            let path = self.path(metainfo, span.file);
            work(&path, span).map_err(|error| disk_error(&path, &error))?;
        }
        Ok(())
    }

    fn each_file(
        &self,
        mut work: impl FnMut(FileIndex, &Path) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let (metainfo, layout) = self.layout()?;
        let files = (0..layout.file_count()).map(FileIndex::new);
        for file in files.filter(|file| layout.file_kind(*file) == Some(FileKind::Data)) {
            let path = self.path(metainfo, file);
            work(file, &path).map_err(|error| disk_error(&path, &error))?;
        }
        Ok(())
    }

    /// Whatever a torrent calls its files, the components of this path are safe to be created.
    fn path(&self, metainfo: &Metainfo, file: FileIndex) -> PathBuf {
        let safe = metainfo.download_path(file);
        let components = safe.iter().flat_map(|path| path.components());
        self.folder.join(components.collect::<PathBuf>())
    }

    fn layout(&self) -> Result<(&Metainfo, &Layout), DiskError> {
        let torrent = self.torrent.as_ref();
        let torrent = torrent.ok_or_else(|| unusable("the storage is not open"))?;
        Ok((&torrent.0, &torrent.1))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system has more kinds of errors than the engine tells apart"
)]
fn disk_error(path: &Path, error: &io::Error) -> DiskError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::NoSpace,
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => DiskErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => DiskErrorKind::Permission,
        io::ErrorKind::ReadOnlyFilesystem => DiskErrorKind::ReadOnly,
        _ => DiskErrorKind::Io,
    };
    DiskError {
        kind,
        file: path.display().to_string(),
        message: error.to_string(),
    }
}

fn unusable(message: &str) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        file: String::new(),
        message: message.to_owned(),
    }
}
