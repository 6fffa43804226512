//! A disk that is full in the middle: the error names the file, the process lives, and goes on when
//! there is room again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anabranch_tests::clients::{Anabranch, left_out};
use anabranch_tests::data::{assert_same, write_file};
use anabranch_tests::scripted::{Gate, content, honest_seed};
use anabranch_tests::{Scratch, Torrent, address};

const MIB: usize = 1 << 20;

/// A small file system of its own; only root can mount one.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(&path);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a process that is being killed may still have a file open on it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}

#[test]
fn a_full_disk_stops_the_torrent_until_there_is_room() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(scratch.folder("disk"), "24m") else {
        return left_out("no permission to mount a small file system");
    };
    let ballast = disk.path().join("ballast");
    write_file(&ballast, 16 * MIB, 91);
    let data = scratch.folder("seed").join("too large.bin");
    write_file(&data, 12 * MIB, 92);
    let torrent = Torrent::make(&data, &scratch.join("file.torrent"), 256 * 1024, &[]);
    let seed = honest_seed(address::HONEST, &torrent, content(&data), Gate::opened());
    let peer = seed.address().to_string();
    let folder = scratch.folder("disk/downloads");
    let mut download =
        Anabranch::download(&scratch, &torrent, &folder, &["--peer", &peer, "--seed"]);

    let event = download.wait_event("storage_failed");
    let text = event.to_string();
    assert!(
        text.contains("too large.bin"),
        "the error does not name the file: {text}"
    );
    let cause = text.to_lowercase();
    let full = ["no space", "disk full", "disk is full", "storage full"];
    assert!(
        full.iter().any(|words| cause.contains(words)),
        "nor the cause: {text}"
    );
    assert!(
        download.events("completed").is_empty(),
        "complete with half of the bytes"
    );
    download.assert_sound(128 * MIB as u64);

    fs::remove_file(&ballast).unwrap();
    download.wait_complete();
    assert_same(&data, &folder.join("too large.bin"));
    download.interrupt();
}
