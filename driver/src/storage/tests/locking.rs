//! One process at a time.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

/// Another process that has the lock of a file, if there is a program for it.
struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Option<Self> {
        let mut child = Command::new("flock")
            .arg("--no-fork")
            .arg(path)
            .args(["sh", "-c", "echo locked; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take()?);
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Some(Self(child))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lock_of(dir: &Path, torrent: &Torrent) -> PathBuf {
    let name = format!("{}.lock", torrent.metainfo.info_hash());
    dir.join(RESUME_FOLDER).join(name)
}

#[test]
fn a_lock_whose_folder_was_removed_is_taken_again_and_the_record_with_it() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    fs::remove_dir_all(dir.path().join(RESUME_FOLDER)).unwrap();
    // Also where the record would say the same as before.
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    assert!(lock_of(dir.path(), &torrent).exists());
    let second = storage(&dir);
    assert_eq!(kind(second.open(&torrent.open_all())), DiskErrorKind::InUse);
    drop(first);
    assert!(opened(&dir, &torrent).1.trusted.is_full());
}

#[test]
fn who_lost_its_lock_to_another_neither_writes_nor_records() {
    for moved in [false, true] {
        let (dir, torrent) = (temp(), multi());
        let (first, _) = opened(&dir, &torrent);
        let folder = dir.path().join(RESUME_FOLDER);
        match moved {
            true => fs::rename(&folder, dir.path().join("elsewhere")).unwrap(),
            false => fs::remove_dir_all(&folder).unwrap(),
        }
        let (second, _) = opened(&dir, &torrent);
        if !moved {
            let written = first.write(PieceIndex::new(0), 0, &[torrent.piece(0)]);
            assert_eq!(kind(written), DiskErrorKind::InUse);
        }
        let recorded = first.checkpoint(&have(&torrent, []), 0, 0);
        assert_eq!(kind(recorded), DiskErrorKind::InUse);
        assert_eq!(kind(first.probe(0)), DiskErrorKind::InUse);
        // Its end takes nothing away from the one who has the lock.
        first.close().unwrap();
        assert!(lock_of(dir.path(), &torrent).exists());
        torrent.store_all(&second);
        second.close().unwrap();
        first.probe(0).unwrap();
    }
}

#[test]
fn who_can_only_read_is_told_of_a_writer_and_keeps_nobody_out() {
    let Some(disk) = TinyDisk::mount() else {
        return;
    };
    let torrent = Torrent::new(PIECE, &[("a", 9_000)]);
    let (storage, _) = opened(&disk.0, &torrent);
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    drop(storage);
    let lock = lock_of(disk.0.path(), &torrent);
    fs::write(&lock, "12\nanother\nelsewhere\n").unwrap();
    disk.remount("ro");
    let reader = |number| {
        let options = FileOptions {
            read_only: true,
            ..FileOptions::default()
        };
        let storage = FileStorage::new(disk.0.path().to_owned(), options);
        let opened = storage.open(&torrent.open_all());
        (number, storage, opened)
    };
    let readers = [1, 2].map(reader);
    for (number, _, opened) in &readers {
        assert!(opened.is_ok(), "{number}");
    }
    // They hold nothing while they run.
    let Some(holder) = Holder::of(&lock) else {
        println!("left out: there is no program that takes a lock");
        return;
    };
    let error = reader(3).2.unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::InUse);
    assert!(
        error.message.contains("process 12 (another) on elsewhere"),
        "{error}"
    );
    drop(holder);
    assert!(reader(4).2.is_ok());
}

#[test]
fn a_process_that_is_about_to_end_is_waited_for_and_one_that_is_not_is_named() {
    let (dir, torrent) = (temp(), multi());
    let lock = lock_of(dir.path(), &torrent);
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "1\ninit\nelsewhere\n").unwrap();
    let Some(holder) = Holder::of(&lock) else {
        println!("left out: there is no program that takes a lock");
        return;
    };
    let storage = storage(&dir);
    let error = storage.open(&torrent.open_all()).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::InUse);
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            // The last tries of a holder that has just been killed may be used up by a slow machine.
            (0..20).any(|_| storage.open(&torrent.open_all()).is_ok())
        });
        drop(holder);
        assert!(opening.join().unwrap());
    });
}
