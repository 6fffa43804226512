//! The data, the torrent of it, and the folders.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch_tests::clients::Anabranch;
use anabranch_tests::{Scratch, Torrent, bencode, data, scratch, torrent};

use rustix::fs::{Advice, fadvise};

use crate::contestant::Contestant;
use crate::options::{Disk, Options};
use crate::tracker::Tracker;

pub(crate) const PIECE_LENGTH: u64 = 256 << 10;

pub(crate) const FILE: &str = "payload.bin";

/// The data are the same in every run of the program.
const SEED: u64 = 1;

/// What is left free for what the clients write beside the data.
const SPARE: u64 = 64 << 20;

/// Everything that all measurements in one place share.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The torrent, which names no tracker.
    pub(crate) torrent: Torrent,
    /// The same torrent with the tracker in it.
    pub(crate) tracked: Torrent,
    pub(crate) tracker: Tracker,
    scratch: Scratch,
    anabranch: PathBuf,
    baseline: Option<PathBuf>,
}

impl Stage {
    /// In the place for all measurements: in memory, if there is room and nothing else was asked for.
    pub(crate) fn set(options: &Options) -> Result<Self, String> {
        let needed = needed(options);
        let folder = match &options.dir {
            Some(folder) => folder.clone(),
            None => Some(PathBuf::from("/dev/shm"))
                .filter(|memory| scratch::free(memory) >= needed)
                .unwrap_or_else(std::env::temp_dir),
        };
        Self::within(&folder, options)
    }

    /// In the place for the second column: on a disk. None if there is none, or none is wanted.
    pub(crate) fn set_on_disk(options: &Options, first: &Self) -> Result<Option<Self>, String> {
        let folder = match &options.disk {
            Disk::Folder(folder) => return Self::within(folder, options).map(Some),
            Disk::None => return Ok(None),
            // Who says where to measure means there and nowhere else.
            Disk::Any if options.dir.is_some() => return Ok(None),
            Disk::Any => {
                let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
                let mut folders = [target, std::env::temp_dir()].into_iter();
                folders.find(|folder| {
                    let kind = file_system(folder);
                    scratch::free(folder) >= needed(options)
                        && kind != "tmpfs"
                        && kind != first.file_system()
                })
            }
        };
        let stage = folder.map(|folder| Self::within(&folder, options));
        stage.transpose()
    }

    fn within(folder: &Path, options: &Options) -> Result<Self, String> {
        let anabranch = match &options.bin {
            Some(path) => path.clone(),
            None => {
                eprintln!("looking for a build of anabranch as it is shipped, or making it ...");
                Anabranch::shipped()
            }
        };
        for build in [Some(&anabranch), options.baseline.as_ref()] {
            if let Some(build) = build.filter(|build| !build.is_file()) {
                return Err(format!("{} is no program", build.display()));
            }
        }
        let needed = needed(options);
        if scratch::free(folder) < needed {
            return Err(format!(
                "{} has no room for {} MiB; give another folder, or a smaller --size",
                folder.display(),
                needed >> 20
            ));
        }
        let tracker = Tracker::start().map_err(|error| format!("the tracker: {error}"))?;

        eprintln!(
            "making the data and the torrent in {} ...",
            folder.display()
        );
        let scratch = Scratch::within(folder);
        let content = scratch.folder("seed").join(FILE);
        let size = usize::try_from(options.size).map_err(|error| error.to_string())?;
        data::write_file(&content, size, SEED);
        let torrent = Torrent::make(&content, &scratch.join("bare.torrent"), PIECE_LENGTH, &[]);
        let path = scratch.join("tracked.torrent");
        torrent::write(&bencode::decode(&torrent.info), &path, &[tracker.url()]);
        Ok(Self {
            tracked: Torrent::read(&path),
            torrent,
            tracker,
            scratch,
            anabranch,
            baseline: options.baseline.clone(),
        })
    }

    /// Bytes to transfer.
    pub(crate) const fn size(&self) -> u64 {
        self.torrent.length
    }

    /// The folder that holds the data.
    pub(crate) fn seeds(&self) -> PathBuf {
        self.scratch.join("seed")
    }

    /// The file of data.
    pub(crate) fn content(&self) -> PathBuf {
        self.seeds().join(FILE)
    }

    /// Makes the system forget what it has of the data in memory, so that a disk is read again. In a file
    /// system that is memory this does nothing.
    pub(crate) fn cool(&self) -> Result<(), String> {
        let forget = || {
            let file = File::open(self.content())?;
            // What was not written yet cannot be forgotten.
            file.sync_data()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
            Ok(())
        };
        forget().map_err(|error: std::io::Error| format!("cannot empty the page cache: {error}"))
    }

    /// A folder for one run, gone with all in it when dropped.
    pub(crate) fn room(&self) -> Scratch {
        Scratch::within(self.scratch.path())
    }

    /// The program that one of ours is.
    pub(crate) fn build(&self, contestant: Contestant) -> &Path {
        let baseline = self.baseline.as_ref();
        baseline
            .filter(|_| contestant == Contestant::Baseline)
            .unwrap_or(&self.anabranch)
    }

    /// Whether any of the data is in a folder yet.
    pub(crate) fn has_begun(folder: &Path) -> bool {
        fs::metadata(folder.join(FILE)).is_ok_and(|file| file.blocks() > 0)
    }

    /// Compares what was downloaded to a folder; different data end the program.
    pub(crate) fn assert_same(&self, folder: &Path) {
        data::assert_same(&self.seeds().join(FILE), &folder.join(FILE));
    }

    /// The kind of file system that the data are on.
    pub(crate) fn file_system(&self) -> String {
        file_system(self.scratch.path())
    }
}

/// Bytes that the data and one download of them take.
const fn needed(options: &Options) -> u64 {
    options.size.saturating_mul(2).saturating_add(SPARE)
}

fn file_system(path: &Path) -> String {
    let output = Command::new("df").arg("--output=fstype").arg(path).output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&text);
    text.lines().nth(1).unwrap_or("unknown").trim().to_owned()
}
