//! File systems that do not take every name, or do not tell case apart.

use std::process::{Command, Stdio};

use super::*;

/// A real file system of such a kind, by way of FUSE.
struct OddDisk {
    dir: TempDir,
    device: String,
}

impl OddDisk {
    /// Runs the command that makes it, and the one that mounts it, with the device's path for `DEV` and the
    /// folder's for `DIR`.
    fn mount(make: &str, mount: &str) -> Option<Self> {
        let (dir, image) = (temp(), temp());
        let path = image.path().join("image");
        fs::File::create(&path).unwrap().set_len(32 << 20).unwrap();
        let losetup = Command::new("losetup")
            .args(["--show", "-f"])
            .arg(&path)
            .output();
        let device = losetup.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
        let Some(device) = device.ok().filter(|device| !device.is_empty()) else {
            println!("left out: there is no device for an image");
            return None;
        };
        let run = |command: &str| {
            let words = command.split(' ').map(|word| match word {
                "DEV" => device.as_ref(),
                "DIR" => dir.path().as_os_str(),
                word => word.as_ref(),
            });
            let words: Vec<_> = words.collect();
            let mut command = Command::new(words[0]);
            let command = command.args(&words[1..]);
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if run(make) && run(mount) {
            return Some(Self { dir, device });
        }
        let _ = Command::new("losetup").args(["-d", &device]).status();
        println!("left out: {mount} does not work here");
        None
    }
}

impl Drop for OddDisk {
    fn drop(&mut self) {
        let dir = self.dir.path();
        let _ = Command::new("umount").arg(dir).status();
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

fn odd_disks() -> Vec<(&'static str, OddDisk)> {
    let kinds = [
        ("exfat", "mkfs.exfat DEV", "mount.exfat-fuse DEV DIR"),
        (
            "ntfs",
            "mkfs.ntfs -q -F DEV",
            "lowntfs-3g -o windows_names,ignore_case DEV DIR",
        ),
    ];
    let mount = |(name, make, mount)| Some((name, OddDisk::mount(make, mount)?));
    kinds.into_iter().filter_map(mount).collect()
}

fn named(files: &[&str]) -> Torrent {
    let files: Vec<(&str, u64)> = files.iter().map(|name| (*name, 20_000)).collect();
    Torrent::new(PIECE, &files).unix()
}

/// A file system in a process of its own may hear a moment later that a file was closed, and keeps it until then.
fn remove_records(dir: &TempDir) {
    let began = Instant::now();
    while let Err(error) = fs::remove_dir_all(dir.path().join(RESUME_FOLDER)) {
        let is_late = error.kind() == io::ErrorKind::DirectoryNotEmpty;
        let is_patient = began.elapsed() < Duration::from_secs(60);
        assert!(is_late && is_patient, "{error}");
        std::thread::yield_now();
    }
}

/// Downloads it, half of it in one run, and finds it complete in a third.
fn goes_through(dir: &TempDir, torrent: &Torrent, about: &str) {
    let pieces = torrent.metainfo.piece_count();
    let (first, _) = opened(dir, torrent);
    (0..pieces / 2).for_each(|piece| torrent.store(&first, piece));
    first
        .checkpoint(&have(torrent, 0..pieces / 2), 0, 0)
        .unwrap();
    drop(first);
    let (second, found) = opened(dir, torrent);
    assert_eq!(foreign(&found), [0; 0], "{about}");
    assert_eq!(found.trusted.count(), pieces / 2, "{about}");
    (pieces / 2..pieces).for_each(|piece| torrent.store(&second, piece));
    second.checkpoint(&full(torrent), 0, 0).unwrap();
    drop(second);
    let (third, found) = opened(dir, torrent);
    assert!(found.trusted.is_full(), "{about}");
    assert!(
        (0..pieces).all(|piece| torrent.matches(&third, piece)),
        "{about}"
    );
    assert_eq!(found.longer, [], "{about}");
    drop(third);
    // Without the record as well.
    remove_records(dir);
    let (fourth, found) = opened(dir, torrent);
    assert!(found.doubtful.is_full(), "{about}");
    assert!(
        (0..pieces).all(|piece| torrent.matches(&fourth, piece)),
        "{about}"
    );
    fourth
        .select(&vec![true; torrent.metainfo.files().len()])
        .unwrap();
    fourth.remove(true).unwrap();
    assert_eq!(tree(dir.path()), [""; 0], "{about}");
}

const SETS: [&[&str]; 8] = [
    &["plain", "E: The Movie.mkv", "what?"],
    &["sub/a:b", "sub/plain"],
    // The second has the name that the first gets.
    &["a:b", "a_b"],
    &["a_b", "a:b"],
    &["Readme", "README", "readme"],
    &["Sub/a", "sub/A", "SUB/b"],
    &["end.", "space ", "aux.c", "con", "back\\slash"],
    &["tab\there", "q\"uote", "star*", "<less>", "pipe|"],
];

#[test]
fn names_that_a_file_system_does_not_take_become_those_that_all_take() {
    for (about, disk) in odd_disks() {
        for set in SETS {
            goes_through(&disk.dir, &named(set), &format!("{set:?} on {about}"));
        }
    }
}

#[test]
fn odd_names_stay_as_they_are_where_they_are_taken() {
    let dir = temp();
    for set in SETS {
        goes_through(&dir, &named(set), &format!("{set:?}"));
    }
}

#[test]
fn what_becomes_wanted_later_finds_a_name_as_well() {
    for (about, disk) in odd_disks() {
        let torrent = named(&["Readme", "README", "a:b", "c"]);
        let storage = storage(&disk.dir);
        storage
            .open(&torrent.open(&[true, false, false, false]))
            .unwrap();
        storage.select(&[true, true, false, true]).unwrap();
        storage.select(&[true; 4]).unwrap();
        torrent.store_all(&storage);
        storage.checkpoint(&full(&torrent), 0, 0).unwrap();
        let pieces = 0..torrent.metainfo.piece_count();
        assert!(
            pieces
                .into_iter()
                .all(|piece| torrent.matches(&storage, piece)),
            "{about}"
        );
        assert_eq!(tree(disk.dir.path()).len(), 4, "{about}");
        drop(storage);
        assert!(opened(&disk.dir, &torrent).1.trusted.is_full(), "{about}");
    }
}
