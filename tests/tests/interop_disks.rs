//! Disks that do not take what is to be written: the error names the file and the cause. One that fills
//! up in the middle is waited for; one that cannot be used from the start ends the run.

use std::fs;

use anabranch_tests::clients::{Anabranch, left_out};
use anabranch_tests::data::{assert_same, write_file};
use anabranch_tests::scripted::{Gate, content, honest_seed};
use anabranch_tests::{Scratch, SmallDisk, Torrent, address};

const MIB: usize = 1 << 20;

#[test]
fn a_full_disk_stops_the_torrent_until_there_is_room() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(scratch.folder("disk"), "size=24m") else {
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

#[test]
fn a_read_only_disk_is_named_and_the_run_ends() {
    let scratch = Scratch::new();
    let Some(disk) = SmallDisk::mount(scratch.folder("disk"), "size=4m") else {
        return left_out("no permission to mount a small file system");
    };
    let folder = scratch.folder("disk/downloads");
    disk.remount("ro");
    let data = scratch.folder("seed").join("unwelcome.bin");
    write_file(&data, MIB, 93);
    let torrent = Torrent::make(&data, &scratch.join("file.torrent"), 64 * 1024, &[]);
    let (torrent, folder) = (torrent.path.to_string_lossy(), folder.to_string_lossy());
    let args = [
        "download",
        &torrent,
        "--dir",
        &folder,
        "--listen",
        "127.0.0.1:0",
    ];
    let outcome = Anabranch::run(&scratch, args);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    for words in [
        "unwelcome.bin",
        "read-only",
        "mount the disk for writing, and start it again",
    ] {
        let said = outcome.stderr.to_lowercase();
        assert!(said.contains(words), "nothing of {words:?} in {said}");
    }
}
