//! The data, the torrent of it, and the folders.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch_tests::clients::Anabranch;
use anabranch_tests::{Scratch, Torrent, bencode, data, scratch, torrent};

use crate::contestant::Contestant;
use crate::options::Options;
use crate::tracker::Tracker;

pub(crate) const PIECE_LENGTH: u64 = 256 << 10;

const FILE: &str = "payload.bin";

/// The data are the same in every run of the program.
const SEED: u64 = 1;

/// What is left free for what the clients write beside the data.
const SPARE: u64 = 64 << 20;

/// Everything that all measurements share.
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
    pub(crate) fn set(options: &Options) -> Result<Self, String> {
        let anabranch = match &options.bin {
            Some(path) => path.clone(),
            None => {
                eprintln!("looking for a release build of anabranch, or making it ...");
                Anabranch::binary().to_owned()
            }
        };
        for build in [Some(&anabranch), options.baseline.as_ref()] {
            if let Some(build) = build.filter(|build| !build.is_file()) {
                return Err(format!("{} is no program", build.display()));
            }
        }
        let needed = options.size.saturating_mul(2).saturating_add(SPARE);
        let folder = match &options.dir {
            Some(folder) => folder.clone(),
            None => Some(PathBuf::from("/dev/shm"))
                .filter(|memory| scratch::free(memory) >= needed)
                .unwrap_or_else(std::env::temp_dir),
        };
        if scratch::free(&folder) < needed {
            return Err(format!(
                "{} has no room for {} MiB; give another --dir, or a smaller --size",
                folder.display(),
                needed >> 20
            ));
        }
        let tracker = Tracker::start().map_err(|error| format!("the tracker: {error}"))?;

        eprintln!("making the data and the torrent ...");
        let scratch = Scratch::within(&folder);
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
        let output = Command::new("df")
            .arg("--output=fstype")
            .arg(self.scratch.path())
            .output();
        let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
        let text = String::from_utf8_lossy(&text);
        text.lines().nth(1).unwrap_or("unknown").trim().to_owned()
    }
}
