use std::collections::BTreeSet;
use std::fs::{self, FileTimes, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anabranch_core::event::LongerFile;
use anabranch_core::metainfo::{FileIndex, FileKind};
use anabranch_hash::Sha1;
use quickcheck::{TestResult, quickcheck};
use tempfile::TempDir;

use super::files::RESUME_FOLDER;
use super::testing::Torrent;
use super::*;

const PIECE: u32 = 32 << 10;

mod locking;
mod names;
mod ownership;

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn storage(dir: &TempDir) -> FileStorage {
    FileStorage::new(dir.path().to_owned(), FileOptions::default())
}

fn opened(dir: &TempDir, torrent: &Torrent) -> (FileStorage, Opened) {
    let storage = storage(dir);
    let opened = storage.open(&torrent.open_all()).unwrap();
    (storage, opened)
}

fn bits(map: &Bitfield) -> Vec<u32> {
    map.iter().collect()
}

fn have(torrent: &Torrent, pieces: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut have = Bitfield::new(torrent.metainfo.piece_count());
    for piece in pieces {
        have.insert(piece);
    }
    have
}

fn full(torrent: &Torrent) -> Bitfield {
    Bitfield::full(torrent.metainfo.piece_count())
}

/// All files below a folder, but not the resume data.
fn tree(dir: &Path) -> Vec<String> {
    fn visit(dir: &Path, base: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                if !path.ends_with(".anabranch") {
                    visit(&path, base, found);
                }
            } else {
                found.push(path.strip_prefix(base).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    visit(dir, dir, &mut found);
    found.sort();
    found
}

fn aside(dir: &TempDir, torrent: &Torrent) -> PathBuf {
    let name = format!("{}.parts", torrent.metainfo.info_hash());
    dir.path().join(".anabranch").join(name)
}

fn kind<T: std::fmt::Debug>(result: Result<T, DiskError>) -> DiskErrorKind {
    result.unwrap_err().kind
}

/// Changes a byte, and sees to it that the time of the change is another one.
fn tamper(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(5));
    file.set_times(times).unwrap();
}

fn check_files(dir: &TempDir, torrent: &Torrent) {
    let mut start = 0;
    for (index, file) in (0..).zip(torrent.metainfo.files()) {
        let end = start + file.length() as usize;
        let path = torrent
            .metainfo
            .download_path(FileIndex::new(index))
            .unwrap();
        let path = dir.path().join(path.as_str());
        match file.kind() {
            FileKind::Data => assert_eq!(fs::read(path).unwrap(), torrent.data[start..end]),
            FileKind::Pad | FileKind::Symlink => assert!(!path.exists()),
        }
        start = end;
    }
}

fn multi() -> Torrent {
    Torrent::new(
        PIECE,
        &[
            ("a", 50_000),
            ("empty", 0),
            ("sub/deep/b", 10_000),
            (".pad/1", 5_536),
            ("sub/c", 70_001),
        ],
    )
}

#[test]
fn what_was_begun_and_not_recorded_is_not_somebody_elses() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    let block = torrent.piece(0).slice(..1 << 14);
    storage.write(PieceIndex::new(0), 0, &[block]).unwrap();
    drop(storage);
    let (_, found) = opened(&dir, &torrent);
    assert_eq!(found.foreign, []);
}

#[test]
fn a_torrent_is_written_to_its_files_and_read_back() {
    let (dir, torrent) = (temp(), multi());
    let (storage, opened) = opened(&dir, &torrent);
    assert_eq!((opened.trusted.count(), opened.doubtful.count()), (0, 0));
    let lengths: Vec<u64> = ["a", "empty", "sub/deep/b", "sub/c"]
        .iter()
        .map(|name| fs::metadata(dir.path().join("t").join(name)).unwrap().len())
        .collect();
    assert_eq!(lengths, [50_000, 0, 10_000, 70_001]);
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
    for piece in 0..torrent.metainfo.piece_count() {
        assert!(torrent.matches(&storage, piece));
        let expected = torrent.piece(piece);
        let mut buf = vec![1; expected.len() - 7];
        storage.read(PieceIndex::new(piece), 7, &mut buf).unwrap();
        assert_eq!(buf, expected[7..]);
    }
    assert_eq!(tree(dir.path()).len(), 4);
}

#[test]
fn a_single_file_lies_in_the_download_folder_itself() {
    let dir = temp();
    let data = Bytes::from(vec![7; 40_000]);
    let hashes: Vec<u8> = data.chunks(PIECE as usize).flat_map(Sha1::digest).collect();
    let creator =
        anabranch_core::metainfo::Creator::single_file("file.bin", 40_000).with_piece_length(PIECE);
    let metainfo = creator.finish(&hashes).unwrap().metainfo.into();
    let torrent = Torrent { metainfo, data };
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    assert_eq!(fs::read(dir.path().join("file.bin")).unwrap(), torrent.data);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    storage.remove(true).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_piece_that_does_not_match_is_not_written_and_its_blocks_are_told_apart() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    let mut wrong = torrent.piece(0).to_vec();
    wrong[20_000] ^= 1;
    let blocks: Vec<[u8; 20]> = wrong.chunks(16 << 10).map(Sha1::digest).collect();
    let digest = torrent.digest(0);
    let data = [Segment::Memory(wrong.into())];
    for ask in [false, true] {
        let stored = store(&storage, PieceIndex::new(0), &digest, &data, ask).unwrap();
        let blocks = blocks.clone();
        assert_eq!(stored, Verdict::Mismatched { blocks });
    }
    assert!(!torrent.matches(&storage, 0));
    assert_eq!(fs::metadata(dir.path().join("t/a")).unwrap().blocks(), 0);
    let right = [Segment::Memory(torrent.piece(0))];
    let stored = store(&storage, PieceIndex::new(0), &digest, &right, true).unwrap();
    let Verdict::Matched {
        blocks: Some(found),
    } = stored
    else {
        panic!("{stored:?}");
    };
    assert_eq!((found[0], found[1] == blocks[1]), (blocks[0], false));
}

#[test]
fn requests_beyond_the_torrent_are_errors() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    let last = PieceIndex::new(torrent.metainfo.piece_count());
    assert_eq!(kind(storage.verify(last, &[0; 20])), DiskErrorKind::Io);
    assert_eq!(kind(storage.read(last, 0, &mut [0])), DiskErrorKind::Io);
    let first = PieceIndex::new(0);
    assert_eq!(
        kind(storage.read(first, PIECE, &mut [0])),
        DiskErrorKind::Io
    );
    assert_eq!(
        kind(storage.read(first, u32::MAX, &mut [0])),
        DiskErrorKind::Io
    );
    let data = [
        Bytes::from(vec![0; PIECE as usize]),
        Bytes::from_static(b"x"),
    ];
    assert_eq!(kind(storage.write(first, 0, &data)), DiskErrorKind::Io);
    let job = DiskJob::Read {
        piece: first,
        begin: 0,
        len: READ_LEN + 1,
    };
    let result = perform(&storage, job, &BufferPool::default());
    assert_eq!(kind(result), DiskErrorKind::Io);
}

#[test]
fn nothing_works_before_open_or_after_close() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    let piece = PieceIndex::new(0);
    assert!(storage.verify(piece, &[0; 20]).is_err());
    storage.open(&torrent.open_all()).unwrap();
    torrent.store(&storage, 0);
    storage.close().unwrap();
    assert!(storage.read(piece, 0, &mut [0]).is_err());
    assert!(storage.options.open_files.is_empty());
}

#[test]
fn only_wanted_files_are_created_and_the_rest_is_kept_aside() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    let wanted = [false, false, true, false, false];
    storage.open(&torrent.open(&wanted)).unwrap();
    assert_eq!(tree(dir.path()), ["t/sub/deep/b"]);
    assert!(!aside(&dir, &torrent).exists());
    torrent.store(&storage, 1);
    assert_eq!(tree(dir.path()), ["t/sub/deep/b"]);
    assert!(torrent.matches(&storage, 1));
    let mut buf = vec![0; PIECE as usize];
    storage.read(PieceIndex::new(1), 0, &mut buf).unwrap();
    assert_eq!(buf, torrent.piece(1));
    assert!(aside(&dir, &torrent).exists());
}

#[test]
fn what_was_kept_aside_moves_into_a_file_that_becomes_wanted() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    let mut wanted = [false, false, true, false, false];
    storage.open(&torrent.open(&wanted)).unwrap();
    torrent.store(&storage, 1);
    storage.checkpoint(&have(&torrent, [1]), 0, 0).unwrap();
    wanted[0] = true;
    storage.select(&wanted).unwrap();
    assert_eq!(tree(dir.path()), ["t/a", "t/sub/deep/b"]);
    let a = fs::read(dir.path().join("t/a")).unwrap();
    assert_eq!(a[PIECE as usize..], torrent.data[PIECE as usize..50_000]);
    assert!(a[..PIECE as usize].iter().all(|byte| *byte == 0));
    assert!(torrent.matches(&storage, 1));

    storage.select(&[true; 5]).unwrap();
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    check_files(&dir, &torrent);
    assert!(!aside(&dir, &torrent).exists());
    storage.close().unwrap();
    assert!(
        self::storage(&dir)
            .open(&torrent.open_all())
            .unwrap()
            .trusted
            .is_full()
    );
}

#[test]
fn selecting_between_runs_keeps_trust_and_moves_data() {
    let (dir, torrent) = (temp(), multi());
    let first = storage(&dir);
    first
        .open(&torrent.open(&[false, false, true, false, false]))
        .unwrap();
    torrent.store(&first, 1);
    first.checkpoint(&have(&torrent, [1]), 0, 0).unwrap();
    drop(first);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(bits(&found.trusted), [1]);
    assert!(torrent.matches(&second, 1));
    second.checkpoint(&found.trusted, 0, 0).unwrap();
    assert!(!aside(&dir, &torrent).exists());
    drop(second);
    // The file is there now, and stays in use where it is no longer wanted.
    let third = storage(&dir);
    let found = third.open(&torrent.open(&[false; 5])).unwrap();
    assert_eq!(bits(&found.trusted), [1]);
    assert!(torrent.matches(&third, 1));
}

#[test]
fn a_move_that_was_interrupted_loses_nothing() {
    let (dir, torrent) = (temp(), multi());
    let first = storage(&dir);
    first
        .open(&torrent.open(&[false, false, true, false, false]))
        .unwrap();
    torrent.store(&first, 1);
    first.checkpoint(&have(&torrent, [1]), 0, 0).unwrap();
    drop(first);
    // The file was created, and then the process died.
    let file = fs::File::create_new(dir.path().join("t/a")).unwrap();
    file.set_len(50_000).unwrap();
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![], vec![1])
    );
    assert!(torrent.matches(&second, 1));
}

#[test]
fn a_file_that_appears_where_one_becomes_wanted_is_foreign() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    storage
        .open(&torrent.open(&[false, true, true, false, false]))
        .unwrap();
    torrent.store(&storage, 1);
    storage.checkpoint(&have(&torrent, [1]), 0, 0).unwrap();
    fs::write(dir.path().join("t/a"), vec![9; 50_000]).unwrap();
    assert!(storage.select(&[true; 5]).is_err());
    let found = storage.open(&torrent.open_all()).unwrap();
    assert_eq!((bits(&found.trusted), foreign(&found)), (vec![], vec![0]));
    assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), vec![9; 50_000]);
    // What was kept aside is still there for when the file is moved away.
    fs::remove_file(dir.path().join("t/a")).unwrap();
    let found = storage.open(&torrent.open_all()).unwrap();
    assert_eq!(foreign(&found), [0; 0]);
    assert!(torrent.matches(&storage, 1));
}

#[test]
fn the_recorded_selection_is_known_before_opening() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    assert_eq!(storage.recorded_selection(&torrent.metainfo), None);
    let wanted = [true, false, true, false, false];
    storage.open(&torrent.open(&wanted)).unwrap();
    storage.checkpoint(&have(&torrent, []), 0, 0).unwrap();
    let recorded = storage.recorded_selection(&torrent.metainfo).unwrap();
    assert_eq!(recorded, wanted);
}

#[test]
fn what_a_checkpoint_recorded_is_trusted() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store(&first, 0);
    torrent.store(&first, 3);
    first.checkpoint(&have(&torrent, [0, 3]), 11, 22).unwrap();
    drop(first);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![0, 3], vec![])
    );
    assert_eq!((found.uploaded, found.downloaded), (11, 22));
    // Opening changes nothing, so that it can be trusted again without another checkpoint.
    drop(second);
    assert_eq!(bits(&opened(&dir, &torrent).1.trusted), [0, 3]);
}

#[test]
fn what_was_stored_after_the_checkpoint_is_doubtful_and_nothing_is_lost() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store(&first, 0);
    torrent.store(&first, 3);
    first.checkpoint(&have(&torrent, [0, 3]), 0, 0).unwrap();
    // The clock may not have moved since, so this is made sure of.
    torrent.store(&first, 2);
    let c = dir.path().join("t/sub/c");
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(9));
    OpenOptions::new()
        .write(true)
        .open(&c)
        .unwrap()
        .set_times(times)
        .unwrap();
    drop(first);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![0], vec![2, 3])
    );
    assert!(torrent.matches(&second, 2) && torrent.matches(&second, 3));
}

#[test]
fn a_write_in_the_same_tick_as_the_checkpoint_is_not_trusted() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store(&first, 3);
    first.checkpoint(&have(&torrent, [3]), 0, 0).unwrap();
    let c = dir.path().join("t/sub/c");
    let stamp = fs::metadata(&c).unwrap().modified().unwrap();
    let junk = Bytes::from(vec![1; PIECE as usize]);
    first.write(PieceIndex::new(2), 0, &[junk]).unwrap();
    let times = FileTimes::new().set_modified(stamp);
    OpenOptions::new()
        .write(true)
        .open(&c)
        .unwrap()
        .set_times(times)
        .unwrap();
    drop(first);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![3], vec![2])
    );
    assert!(torrent.matches(&second, 3) && !torrent.matches(&second, 2));
}

#[test]
fn trust_is_lost_file_by_file() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 100_000), ("c", 100_000)]);
    let all: Vec<u32> = (0..10).collect();
    let untouched: [Vec<u32>; 3] = [
        vec![4, 5, 6, 7, 8, 9],
        vec![0, 1, 2, 7, 8, 9],
        vec![0, 1, 2, 3, 4, 5],
    ];
    for (file, trusted) in ["a", "b", "c"].iter().zip(untouched) {
        type Change = fn(&Path);
        let changes: [(&str, Change); 4] = [
            ("a byte", |path| tamper(path, 50_000)),
            ("the time", |path| {
                let times = FileTimes::new().set_modified(UNIX_EPOCH);
                OpenOptions::new()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
            }),
            ("longer", |path| {
                OpenOptions::new()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(100_001)
                    .unwrap();
            }),
            ("gone", |path| fs::remove_file(path).unwrap()),
        ];
        for (what, change) in changes {
            let dir = temp();
            let (first, _) = opened(&dir, &torrent);
            torrent.store_all(&first);
            first.checkpoint(&full(&torrent), 0, 0).unwrap();
            drop(first);
            change(&dir.path().join("t").join(file));
            let (second, found) = opened(&dir, &torrent);
            assert_eq!(bits(&found.trusted), trusted, "{file} {what}");
            let lost: Vec<u32> = all
                .iter()
                .copied()
                .filter(|p| !trusted.contains(p))
                .collect();
            let doubtful = if what == "gone" { vec![] } else { lost.clone() };
            assert_eq!(bits(&found.doubtful), doubtful, "{file} {what}");
            let right = lost
                .iter()
                .filter(|piece| torrent.matches(&second, **piece));
            let bad = match what {
                "gone" => lost.len(),
                "a byte" => 1,
                _ => 0,
            };
            assert_eq!(right.count(), lost.len() - bad, "{file} {what}");
        }
    }
}

#[test]
fn a_shorter_file_is_doubtful_as_far_as_it_goes_and_grows() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000)]);
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/a"), &torrent.data[..70_000]).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(bits(&found.doubtful), [0, 1]);
    assert!(torrent.matches(&storage, 1) && !torrent.matches(&storage, 2));
    // It was not known to be ours when it was opened.
    assert_eq!(fs::metadata(dir.path().join("t/a")).unwrap().len(), 70_000);
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn a_longer_file_is_named_and_cut_when_told_so() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 10)]);
    let dir = temp();
    let path = dir.path().join("t/a");
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(&path, [&torrent.data[..100_000], b"a tail"].concat()).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert!(torrent.matches(&storage, 0));
    let file = FileIndex::new(0);
    let expected = LongerFile {
        file,
        found: 100_006,
    };
    assert_eq!(found.longer, [expected]);
    storage.select(&[true; 2]).unwrap();
    // Its last bytes are no reason to cut it: a piece before them may be somebody else's.
    torrent.store(&storage, 3);
    assert_eq!(fs::metadata(&path).unwrap().len(), 100_006);
    assert_eq!(storage.trim(file), Ok(true));
    check_files(&dir, &torrent);
    // What it looks like now is what is trusted.
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    drop(storage);
    assert!(opened(&dir, &torrent).1.trusted.is_full());
}

#[test]
fn a_storage_that_only_reads_changes_nothing() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 50_000), ("c", 5)]);
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    let longer = [&torrent.data[..100_000], b"a tail"].concat();
    fs::write(dir.path().join("t/a"), &longer).unwrap();
    fs::write(dir.path().join("t/b"), b"short").unwrap();
    let options = FileOptions {
        read_only: true,
        ..FileOptions::default()
    };
    let storage = FileStorage::new(dir.path().to_owned(), options);
    let found = storage.open(&torrent.open_all()).unwrap();
    assert_eq!(found.longer.len(), 1);
    assert!(torrent.matches(&storage, 0));
    assert_eq!(storage.trim(FileIndex::new(0)), Ok(false));
    let data = [torrent.piece(0)];
    let written = storage.write(PieceIndex::new(0), 0, &data);
    assert_eq!(kind(written), DiskErrorKind::ReadOnly);
    assert_eq!(tree(dir.path()), ["t/a", "t/b"]);
    assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), longer);
    assert_eq!(fs::read(dir.path().join("t/b")).unwrap(), b"short");
}

/// The files that may be somebody else's.
fn foreign(opened: &Opened) -> Vec<u32> {
    opened.foreign.iter().map(|f| f.file.get()).collect()
}

#[test]
fn a_file_with_data_that_nothing_shows_to_be_ours_is_foreign_and_left_alone() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 50_000)]);
    let dir = temp();
    let path = dir.path().join("t/a");
    fs::create_dir(dir.path().join("t")).unwrap();
    // Shorter than ours, so that it would be made longer; and as long, so that only data tells.
    for len in [70_000, 100_000] {
        fs::write(&path, vec![3; len]).unwrap();
        let (storage, found) = opened(&dir, &torrent);
        assert_eq!(foreign(&found), [0]);
        assert_eq!(found.foreign[0].path, path.display().to_string());
        assert!(!torrent.matches(&storage, 0));
        let written = storage.write(PieceIndex::new(0), 0, &[torrent.piece(0)]);
        assert_eq!(kind(written), DiskErrorKind::Foreign);
        storage.checkpoint(&have(&torrent, []), 0, 0).unwrap();
        drop(storage);
        assert_eq!(fs::read(&path).unwrap(), vec![3; len]);
        // To have been looked at makes nothing ours.
        assert_eq!(foreign(&opened(&dir, &torrent).1), [0]);
    }
    let mut open = torrent.open_all();
    open.overwrite = true;
    let storage = storage(&dir);
    assert_eq!(foreign(&storage.open(&open).unwrap()), [0; 0]);
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn a_piece_that_is_right_makes_a_file_ours() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 50)]);
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    let mut data = torrent.data.to_vec();
    data[..90_000].fill(9);
    fs::write(dir.path().join("t/a"), &data[..100_000]).unwrap();
    fs::write(dir.path().join("t/b"), &data[100_000..]).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0, 1]);
    assert!(!torrent.matches(&storage, 0));
    assert!(
        storage
            .write(PieceIndex::new(0), 0, &[torrent.piece(0)])
            .is_err()
    );
    // Both files lie in it.
    assert!(torrent.matches(&storage, 3));
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn a_right_piece_of_zeros_makes_no_file_ours() {
    let len = 4 * PIECE as usize;
    let mut data = vec![0; len];
    data[..PIECE as usize].fill(1);
    let torrent = Torrent::with_data("t", PIECE, &[("a", len as u64)], data.into());
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    let mut theirs = vec![0; len];
    theirs[..9_000].fill(7);
    fs::write(dir.path().join("t/a"), &theirs).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0]);
    assert!((1..4).all(|piece| torrent.matches(&storage, piece)));
    let written = storage.write(PieceIndex::new(0), 0, &[torrent.piece(0)]);
    assert_eq!(kind(written), DiskErrorKind::Foreign);
    assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), theirs);
}

#[test]
fn what_is_empty_or_zeros_is_nobodys_loss() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 50_000), ("c", 20_000)]);
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    fs::write(dir.path().join("t/a"), vec![0; 70_000]).unwrap();
    fs::File::create(dir.path().join("t/b"))
        .unwrap()
        .set_len(9_000)
        .unwrap();
    fs::write(dir.path().join("t/c"), b"").unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0; 0]);
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn a_file_is_ours_by_what_was_recorded_unless_it_was_replaced() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("b", 100_000)]);
    let dir = temp();
    let (first, _) = opened(&dir, &torrent);
    torrent.store(&first, 0);
    first.checkpoint(&have(&torrent, [0]), 0, 0).unwrap();
    // A part of a piece, and then the process dies.
    first
        .write(PieceIndex::new(5), 0, &[torrent.piece(5).slice(..9_000)])
        .unwrap();
    drop(first);
    tamper(&dir.path().join("t/b"), 99_999);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0; 0]);
    torrent.store_all(&second);
    second.checkpoint(&full(&torrent), 0, 0).unwrap();
    drop(second);
    // The file that was vouched for is another one now.
    let path = dir.path().join("t/b");
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![4; 100_000]).unwrap();
    assert_eq!(foreign(&opened(&dir, &torrent).1), [1]);
    let mut open = torrent.open_all();
    open.recheck = true;
    assert_eq!(foreign(&storage(&dir).open(&open).unwrap()), [1]);
}

#[test]
fn what_pieces_have_of_a_foreign_file_that_is_not_wanted_is_kept_aside() {
    let torrent = Torrent::new(PIECE, &[("a", 50_000), ("b", 50_000)]);
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    let theirs = vec![6; 50_000];
    fs::write(dir.path().join("t/b"), &theirs).unwrap();
    let first = storage(&dir);
    let found = first.open(&torrent.open(&[true, false])).unwrap();
    assert_eq!(foreign(&found), [0; 0]);
    assert!(!torrent.matches(&first, 1));
    torrent.store(&first, 0);
    torrent.store(&first, 1);
    let mut buf = vec![0; PIECE as usize];
    first.read(PieceIndex::new(1), 0, &mut buf).unwrap();
    assert_eq!(buf, torrent.piece(1));
    assert_eq!(kind(first.select(&[true, true])), DiskErrorKind::Foreign);
    first.checkpoint(&have(&torrent, [0, 1]), 0, 0).unwrap();
    drop(first);
    let second = storage(&dir);
    let found = second.open(&torrent.open(&[true, false])).unwrap();
    assert_eq!(bits(&found.trusted), [0, 1]);
    second.remove(true).unwrap();
    assert_eq!(tree(dir.path()), ["t/b"]);
    assert_eq!(fs::read(dir.path().join("t/b")).unwrap(), theirs);
}

#[test]
fn holes_are_not_checked_unless_zeros_are_expected() {
    let mut data = vec![0; 4 * PIECE as usize];
    data[..PIECE as usize].fill(1);
    data[3 * PIECE as usize..].fill(2);
    let torrent = Torrent::with_data("t", PIECE, &[("a", 4 * u64::from(PIECE))], data.into());
    let dir = temp();
    fs::create_dir(dir.path().join("t")).unwrap();
    let file = fs::File::create_new(dir.path().join("t/a")).unwrap();
    file.set_len(4 * u64::from(PIECE)).unwrap();
    file.write_all_at(&[1], 10).unwrap();
    let knows_holes = file.metadata().unwrap().blocks() * 512 < u64::from(PIECE);
    let (storage, found) = opened(&dir, &torrent);
    let expected: &[u32] = if knows_holes {
        &[0, 1, 2]
    } else {
        &[0, 1, 2, 3]
    };
    assert_eq!(bits(&found.doubtful), expected);
    assert!(torrent.matches(&storage, 1) && !torrent.matches(&storage, 3));
}

#[test]
fn a_recheck_doubts_everything_that_is_there_and_keeps_the_totals() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    torrent.store(&storage, 0);
    storage.checkpoint(&have(&torrent, [0]), 5, 6).unwrap();
    let mut open = torrent.open_all();
    open.recheck = true;
    let found = storage.open(&open).unwrap();
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![], vec![0])
    );
    assert_eq!((found.uploaded, found.downloaded), (5, 6));
}

#[test]
fn resume_data_of_another_torrent_is_not_trusted() {
    let dir = temp();
    let torrent = Torrent::new(PIECE, &[("a", 100_000)]);
    let other = Torrent::with_data("t", PIECE, &[("a", 100_000)], vec![8; 100_000].into());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    let name = |torrent: &Torrent| {
        let name = format!(".anabranch/{}.resume", torrent.metainfo.info_hash());
        dir.path().join(name)
    };
    fs::copy(name(&torrent), name(&other)).unwrap();
    let (second, found) = opened(&dir, &other);
    assert_eq!(found.trusted.count(), 0);
    assert!(found.doubtful.is_full() && !other.matches(&second, 0));
}

#[test]
fn a_checkpoint_that_would_say_the_same_writes_nothing() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    torrent.store(&storage, 0);
    storage.checkpoint(&have(&torrent, [0]), 0, 0).unwrap();
    let name = format!(".anabranch/{}.resume", torrent.metainfo.info_hash());
    let path = dir.path().join(name);
    fs::remove_file(&path).unwrap();
    storage.checkpoint(&have(&torrent, [0]), 0, 0).unwrap();
    assert!(!path.exists());
    storage.checkpoint(&have(&torrent, [0]), 1, 0).unwrap();
    assert!(path.exists());
}

#[test]
fn symlinks_do_not_lead_out_of_the_folder() {
    let torrent = multi();
    for link in ["t", "t/sub", "t/sub/deep", "t/a"] {
        let (dir, outside) = (temp(), temp());
        let victim = outside.path().join("victim");
        fs::write(&victim, b"keep").unwrap();
        fs::create_dir_all(outside.path().join("deep")).unwrap();
        let path = dir.path().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let target = if link == "t/a" {
            victim.as_path()
        } else {
            outside.path()
        };
        symlink(target, &path).unwrap();
        let error = storage(&dir).open(&torrent.open_all()).unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::UnsafePath, "{link}");
        assert!(error.file.starts_with(dir.path().to_str().unwrap()));
        assert_eq!(tree(outside.path()), ["victim"]);
        assert_eq!(fs::read(&victim).unwrap(), b"keep");
    }
}

#[test]
fn a_symlink_that_takes_the_place_of_a_folder_later_is_not_followed() {
    let (dir, outside, torrent) = (temp(), temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    fs::rename(dir.path().join("t/sub"), outside.path().join("sub")).unwrap();
    symlink(outside.path().join("sub"), dir.path().join("t/sub")).unwrap();
    let written = storage.write(PieceIndex::new(2), 0, &[Bytes::from_static(b"x")]);
    assert_eq!(kind(written), DiskErrorKind::UnsafePath);
    storage.remove(true).unwrap_err();
    assert_eq!(tree(outside.path()), ["sub/c", "sub/deep/b"]);
}

#[test]
fn a_folder_that_is_reached_over_a_symlink_of_the_users_is_fine() {
    let (place, torrent) = (temp(), multi());
    fs::create_dir(place.path().join("real")).unwrap();
    let link = place.path().join("link");
    symlink(place.path().join("real"), &link).unwrap();
    let storage = FileStorage::new(link, FileOptions::default());
    storage.open(&torrent.open_all()).unwrap();
    torrent.store_all(&storage);
    assert_eq!(tree(&place.path().join("real")).len(), 4);
}

#[test]
fn a_torrent_cannot_write_to_the_resume_data() {
    let data = Bytes::from_static(b"forged");
    for name in [".anabranch", ".Anabranch"] {
        let torrent = Torrent::with_data(name, PIECE, &[("x.resume", 6)], data.clone());
        let dir = temp();
        let found = storage(&dir).open(&torrent.open_all());
        assert_eq!(kind(found), DiskErrorKind::UnsafePath);
        assert!(tree(dir.path()).is_empty());
    }
    let torrent = Torrent::with_data("t", PIECE, &[("sub/x.resume", 6)], data);
    let dir = temp();
    let options = FileOptions {
        resume_dir: Some(dir.path().join("t/sub")),
        ..FileOptions::default()
    };
    let storage = FileStorage::new(dir.path().to_owned(), options);
    let found = storage.open(&torrent.open_all());
    assert_eq!(kind(found), DiskErrorKind::UnsafePath);
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn what_is_not_a_regular_file_is_refused_where_it_is_wanted() {
    let (dir, torrent) = (temp(), multi());
    fs::create_dir_all(dir.path().join("t/a")).unwrap();
    let found = storage(&dir).open(&torrent.open_all());
    assert_eq!(kind(found), DiskErrorKind::UnsafePath);
    let found = storage(&dir).open(&torrent.open(&[false, true, true, true, true]));
    assert!(found.is_ok());
}

#[test]
fn a_deleted_file_is_noticed_by_name() {
    let (dir, torrent) = (temp(), multi());
    let path = dir.path().join("t/sub/c");
    for cached in [false, true] {
        let (storage, _) = opened(&dir, &torrent);
        torrent.store(&storage, 3);
        if !cached {
            storage
                .options
                .open_files
                .close_storage(storage.key(cache::Slot::Parts).storage);
        }
        fs::remove_file(&path).unwrap();
        let data = [Segment::Memory(torrent.piece(2))];
        let stored = store(
            &storage,
            PieceIndex::new(2),
            &torrent.digest(2),
            &data,
            false,
        );
        let error = stored.unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::NotFound);
        assert_eq!(error.file, path.display().to_string());
        let read = storage.read(PieceIndex::new(3), 0, &mut [0]);
        assert_eq!(kind(read), DiskErrorKind::NotFound);
        assert!(!torrent.matches(&storage, 3));
        let recorded = storage.checkpoint(&have(&torrent, [3]), 0, 0);
        assert_eq!(kind(recorded), DiskErrorKind::NotFound);
        assert!(!path.exists());
        // A file alone is fetched again when the storage is opened again.
        storage.probe(1).unwrap();
        storage.open(&torrent.open_all()).unwrap();
        assert!(path.exists());
    }
}

#[test]
fn a_replaced_file_is_not_taken_for_ours() {
    let (dir, torrent) = (temp(), multi());
    let path = dir.path().join("t/sub/c");
    let (storage, _) = opened(&dir, &torrent);
    torrent.store(&storage, 3);
    // With a second name the file is not gone, but it is not where it was either.
    fs::rename(&path, dir.path().join("moved")).unwrap();
    fs::write(&path, vec![1; 70_001]).unwrap();
    let recorded = storage.checkpoint(&have(&torrent, [3]), 0, 0);
    assert_eq!(kind(recorded), DiskErrorKind::NotFound);
    let found = storage.open(&torrent.open_all()).unwrap();
    assert_eq!(found.trusted.count(), 0);
    assert!(!torrent.matches(&storage, 3));
}

#[test]
fn a_removed_folder_stops_us_until_it_is_back() {
    for folder in ["", "t"] {
        let (dir, torrent) = (temp(), multi());
        let path = dir.path().join(folder);
        let (storage, _) = opened(&dir, &torrent);
        torrent.store(&storage, 0);
        fs::remove_dir_all(&path).unwrap();
        let written = storage.write(PieceIndex::new(1), 0, &[Bytes::from_static(b"x")]);
        assert_eq!(kind(written), DiskErrorKind::NotFound);
        assert_eq!(kind(storage.probe(0)), DiskErrorKind::NotFound);
        let error = storage.open(&torrent.open_all()).unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::NotFound);
        let named = PathBuf::from(&error.file);
        assert!(named == path || named == dir.path(), "{named:?}");
        assert!(!path.exists());
        fs::create_dir_all(dir.path().join("t")).unwrap();
        storage.probe(0).unwrap();
        storage.open(&torrent.open_all()).unwrap();
        torrent.store_all(&storage);
        check_files(&dir, &torrent);
    }
}

#[test]
fn a_folder_that_an_earlier_run_had_is_not_made_again() {
    let (place, resume, torrent) = (temp(), temp(), multi());
    let new = || {
        let options = FileOptions {
            resume_dir: Some(resume.path().to_owned()),
            ..FileOptions::default()
        };
        FileStorage::new(place.path().join("disk"), options)
    };
    let first = new();
    first.open(&torrent.open_all()).unwrap();
    torrent.store_all(&first);
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    first.close().unwrap();
    fs::rename(place.path().join("disk"), place.path().join("elsewhere")).unwrap();
    let second = new();
    assert_eq!(
        kind(second.open(&torrent.open_all())),
        DiskErrorKind::NotFound
    );
    assert!(!place.path().join("disk").exists());
    fs::rename(place.path().join("elsewhere"), place.path().join("disk")).unwrap();
    assert!(second.open(&torrent.open_all()).unwrap().trusted.is_full());
}

#[test]
fn a_truncated_file_does_not_match_and_cannot_be_read() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    let path = dir.path().join("t/sub/c");
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(40_000)
        .unwrap();
    assert!(!torrent.matches(&storage, 3));
    let error = storage
        .read(PieceIndex::new(3), 0, &mut [0; 30_000])
        .unwrap_err();
    assert_eq!(
        (error.kind, error.file),
        (DiskErrorKind::Truncated, path.display().to_string())
    );
}

#[test]
fn a_file_that_may_not_be_read_is_not_taken_for_missing() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.close().unwrap();
    let path = dir.path().join("t/sub/c");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // The superuser may read everything.
        return;
    }
    let error = storage(&dir).open(&torrent.open_all()).unwrap_err();
    assert_eq!(
        (error.kind, error.file),
        (DiskErrorKind::Permission, path.display().to_string())
    );
}

#[test]
fn segments_that_were_written_before_are_read_back() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    let piece = torrent.piece(1);
    let index = PieceIndex::new(1);
    storage
        .write(
            index,
            100,
            &[piece.slice(100..9000), piece.slice(9000..20_000)],
        )
        .unwrap();
    let data = [
        Segment::Memory(piece.slice(..100)),
        Segment::Stored { len: 8000 },
        Segment::Stored { len: 11_900 },
        Segment::Memory(piece.slice(20_000..20_001)),
        Segment::Memory(piece.slice(20_001..)),
    ];
    let digest = torrent.digest(1);
    let stored = store(&storage, index, &digest, &data, false);
    assert_eq!(stored, Ok(Verdict::Matched { blocks: None }));
    assert!(torrent.matches(&storage, 1));
    let lies = [
        Segment::Stored { len: u32::MAX },
        Segment::Stored { len: u32::MAX },
    ];
    assert!(store(&storage, index, &digest, &lies, false).is_err());
}

#[test]
fn removing_deletes_what_is_ours_and_nothing_else() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    fs::write(dir.path().join("t/sub/mine"), b"x").unwrap();
    storage.remove(false).unwrap();
    assert!(!dir.path().join(".anabranch").exists());
    check_files(&dir, &torrent);
    storage.open(&torrent.open_all()).unwrap();
    // What is not known to be ours stays.
    storage.remove(true).unwrap();
    let stays = ["t/a", "t/sub/c", "t/sub/deep/b", "t/sub/mine"];
    assert_eq!(tree(dir.path()), stays);
    storage.open(&torrent.open_all()).unwrap();
    for piece in 0..torrent.metainfo.piece_count() {
        assert!(torrent.matches(&storage, piece));
    }
    storage.remove(true).unwrap();
    assert_eq!(tree(dir.path()), ["t/sub/mine"]);
    assert!(!dir.path().join("t/sub/deep").exists());
    storage.remove(true).unwrap();
}

#[test]
fn removing_goes_on_without_the_folder() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    fs::remove_dir_all(dir.path()).unwrap();
    storage.remove(true).unwrap();
}

#[test]
fn full_preallocation_takes_the_space_at_once() {
    let (dir, torrent) = (temp(), multi());
    let options = FileOptions {
        preallocation: Preallocation::Full,
        ..FileOptions::default()
    };
    let storage = FileStorage::new(dir.path().to_owned(), options);
    storage.open(&torrent.open_all()).unwrap();
    let metadata = fs::metadata(dir.path().join("t/sub/c")).unwrap();
    assert_eq!(metadata.len(), 70_001);
    assert!(metadata.blocks() * 512 >= 70_001);
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn few_open_files_are_enough_for_many() {
    let names: Vec<String> = (0..100).map(|n| format!("{}/{n}", n % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 999)).collect();
    let torrent = Torrent::new(PIECE, &files);
    let (dir, open_files) = (temp(), OpenFiles::new(3));
    let options = FileOptions {
        open_files: open_files.clone(),
        ..FileOptions::default()
    };
    let storage = FileStorage::new(dir.path().to_owned(), options);
    storage.open(&torrent.open_all()).unwrap();
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    assert!(open_files.len() <= 3);
    check_files(&dir, &torrent);
    drop(storage);
    assert!(
        self::storage(&dir)
            .open(&torrent.open_all())
            .unwrap()
            .trusted
            .is_full()
    );
}

#[test]
fn a_read_only_folder_can_be_seeded_from() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    drop(first);
    let mode = |mode| fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o555);
    let (second, found) = opened(&dir, &torrent);
    assert!(found.doubtful.is_full());
    assert!((0..5).all(|piece| torrent.matches(&second, piece)));
    mode(0o755);
}

fn with_spare(dir: &Path, spare: &TempDir) -> FileStorage {
    let options = FileOptions {
        read_only: true,
        spare_resume_dir: Some(spare.path().to_owned()),
        ..FileOptions::default()
    };
    FileStorage::new(dir.to_owned(), options)
}

/// Looks at every piece, as the engine does before anything else; says how many are right.
fn check_all(torrent: &Torrent, storage: &FileStorage) -> usize {
    let pieces = 0..torrent.metainfo.piece_count();
    pieces
        .filter(|piece| torrent.matches(storage, *piece))
        .count()
}

#[test]
fn what_the_datas_folder_does_not_take_goes_to_the_spare_one_with_one_word() {
    let Some(disk) = TinyDisk::mount() else {
        return;
    };
    let (spare, torrent) = (temp(), multi());
    let (first, _) = opened(&disk.0, &torrent);
    torrent.store_all(&first);
    first.close().unwrap();
    fs::remove_dir_all(disk.0.path().join(".anabranch")).ok();
    disk.remount("ro");

    // Nowhere to keep it: it is verified again, and that is all.
    let bare = FileStorage::new(disk.0.path().to_owned(), FileOptions::default());
    bare.open(&torrent.open_all()).unwrap();
    bare.checkpoint(&full(&torrent), 0, 0).unwrap();
    let word = bare.options.warning.take().unwrap();
    assert!(word.contains("verifies everything again"), "{word}");

    let storage = with_spare(disk.0.path(), &spare);
    let found = storage.open(&torrent.open_all()).unwrap();
    assert!(found.doubtful.is_full());
    assert_eq!(check_all(&torrent, &storage), 5);
    storage.checkpoint(&full(&torrent), 7, 0).unwrap();
    storage.checkpoint(&full(&torrent), 8, 0).unwrap();
    let word = storage.options.warning.take().unwrap();
    assert!(word.contains(spare.path().to_str().unwrap()), "{word}");
    assert_eq!(storage.options.warning.take(), None);
    storage.probe(0).unwrap();
    drop(storage);
    let again = with_spare(disk.0.path(), &spare);
    let found = again.open(&torrent.open_all()).unwrap();
    assert!(found.trusted.is_full());
    assert_eq!(found.uploaded, 8);
    drop(again);

    // Once its own folder takes it, the spare one has nothing to say any more.
    disk.remount("rw");
    let third = with_spare(disk.0.path(), &spare);
    assert!(third.open(&torrent.open_all()).unwrap().trusted.is_full());
    third.checkpoint(&full(&torrent), 9, 0).unwrap();
    drop(third);
    assert_eq!(tree(spare.path()), [""; 0]);
    let last = with_spare(disk.0.path(), &spare);
    assert_eq!(last.open(&torrent.open_all()).unwrap().uploaded, 9);
}

#[test]
fn a_record_of_what_was_written_is_needed() {
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    torrent.store(&storage, 0);
    fs::remove_dir_all(dir.path().join(".anabranch")).unwrap();
    fs::write(dir.path().join(".anabranch"), b"in the way").unwrap();
    let recorded = storage.checkpoint(&have(&torrent, [0]), 0, 0);
    assert_eq!(kind(recorded), DiskErrorKind::UnsafePath);
    assert_eq!(kind(storage.probe(0)), DiskErrorKind::UnsafePath);
    fs::remove_file(dir.path().join(".anabranch")).unwrap();
    storage.probe(0).unwrap();
    storage.checkpoint(&have(&torrent, [0]), 0, 0).unwrap();
}

#[test]
fn the_newer_of_two_records_counts() {
    let (dir, spare, torrent) = (temp(), temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.checkpoint(&have(&torrent, [0, 1]), 5, 0).unwrap();
    drop(first);
    // Its folder cannot be used for a while, and then is there again.
    let record = dir.path().join(".anabranch");
    fs::rename(&record, dir.path().join("aside")).unwrap();
    fs::write(&record, b"in the way").unwrap();
    let storage = with_spare(dir.path(), &spare);
    storage.open(&torrent.open_all()).unwrap();
    assert_eq!(check_all(&torrent, &storage), 5);
    storage.checkpoint(&full(&torrent), 3, 0).unwrap();
    drop(storage);
    fs::remove_file(&record).unwrap();
    fs::rename(dir.path().join("aside"), &record).unwrap();
    let found = with_spare(dir.path(), &spare)
        .open(&torrent.open_all())
        .unwrap();
    assert!(found.trusted.is_full());
    assert_eq!(found.uploaded, 5, "no total goes back");
}

#[test]
fn reading_only_makes_and_changes_nothing() {
    let (dir, spare, torrent) = (temp(), temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    first.close().unwrap();
    fs::remove_file(dir.path().join("t/a")).unwrap();
    let storage = with_spare(dir.path(), &spare);
    let found = storage.open(&torrent.open_all()).unwrap();
    assert!(!found.trusted.contains(0) && found.trusted.contains(3));
    storage.select(&[true; 5]).unwrap();
    let written = storage.write(PieceIndex::new(3), 0, &[Bytes::from_static(b"x")]);
    assert_eq!(kind(written), DiskErrorKind::ReadOnly);
    assert!(!dir.path().join("t/a").exists());
    assert!(torrent.matches(&storage, 3));
}

#[test]
fn a_probe_tries_the_file_that_could_not_be_written() {
    let Some(disk) = TinyDisk::mount() else {
        return;
    };
    let (dir, torrent) = (temp(), multi());
    let (storage, _) = opened(&dir, &torrent);
    // One file of the folder is on a medium that takes nothing.
    let path = dir.path().join("t/sub/c");
    fs::copy(&path, disk.0.path().join("c")).unwrap();
    disk.remount("ro");
    let mounted = std::process::Command::new("mount")
        .arg("--bind")
        .arg(disk.0.path().join("c"))
        .arg(&path)
        .status();
    assert!(mounted.unwrap().success());
    let storage = {
        drop(storage);
        opened(&dir, &torrent).0
    };
    torrent.store(&storage, 0);
    let data = [Segment::Memory(torrent.piece(3))];
    let stored = store(
        &storage,
        PieceIndex::new(3),
        &torrent.digest(3),
        &data,
        false,
    );
    let error = stored.unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::ReadOnly);
    for _ in 0..2 {
        let error = storage.probe(1).unwrap_err();
        assert_eq!(error.kind, DiskErrorKind::ReadOnly);
        assert_eq!(error.file, path.display().to_string());
        // Looking again does not make it better.
        storage.open(&torrent.open_all()).unwrap();
        let stored = store(
            &storage,
            PieceIndex::new(3),
            &torrent.digest(3),
            &data,
            false,
        );
        stored.unwrap_err();
    }
    let unmounted = std::process::Command::new("umount").arg(&path).status();
    assert!(unmounted.unwrap().success());
    storage.probe(1).unwrap();
    storage.open(&torrent.open_all()).unwrap();
    torrent.store(&storage, 3);
}

#[test]
fn a_probe_after_reading_failed_asks_for_no_right_to_write() {
    let Some(disk) = TinyDisk::mount() else {
        return;
    };
    let (spare, torrent) = (temp(), multi());
    let (first, _) = opened(&disk.0, &torrent);
    torrent.store_all(&first);
    drop(first);
    let file = OpenOptions::new()
        .write(true)
        .open(disk.0.path().join("t/sub/c"));
    file.unwrap().set_len(40_000).unwrap();
    disk.remount("ro");
    let storage = with_spare(disk.0.path(), &spare);
    storage.open(&torrent.open_all()).unwrap();
    assert!(check_all(&torrent, &storage) > 0);
    let read = storage.read(PieceIndex::new(3), 0, &mut [0; 30_000]);
    assert_eq!(kind(read), DiskErrorKind::Truncated);
    storage.probe(1).unwrap();
    storage.open(&torrent.open_all()).unwrap();
    assert!(check_all(&torrent, &storage) > 0);
    storage.read(PieceIndex::new(0), 0, &mut [0]).unwrap();
}

/// The blocks of a piece that a map has.
fn partial(torrent: &Torrent, piece: u32, blocks: &[u32]) -> PartialPiece {
    let size = torrent.piece(piece).len() as u32;
    let mut map = Bitfield::new(size.div_ceil(16 << 10));
    for block in blocks {
        map.insert(*block);
    }
    PartialPiece {
        piece: PieceIndex::new(piece),
        blocks: map,
    }
}

#[test]
fn blocks_of_incomplete_pieces_are_found_again_and_make_the_piece() {
    let torrent = Torrent::new(64 << 10, &[("a", 50_000), ("b", 100_000), ("c", 30_000)]);
    // In files, and aside where they are not wanted.
    for wanted in [[true; 3], [true, false, true], [false; 3]] {
        let dir = temp();
        let first = storage(&dir);
        first.open(&torrent.open(&wanted)).unwrap();
        let piece = torrent.piece(1);
        let block = 16 << 10;
        let written = [
            piece.slice(block..2 * block),
            piece.slice(2 * block..3 * block),
        ];
        first
            .write(PieceIndex::new(1), block as u32, &written)
            .unwrap();
        let map = partial(&torrent, 1, &[1, 2]);
        first.note_partial(vec![map.clone()]);
        first.checkpoint(&have(&torrent, []), 0, 0).unwrap();
        first.close().unwrap();

        let second = storage(&dir);
        let found = second.open(&torrent.open(&wanted)).unwrap();
        assert_eq!(found.partial, [map]);
        assert!(!found.doubtful.contains(1), "it cannot be complete");
        let data = [
            Segment::Memory(piece.slice(..block)),
            Segment::Stored {
                len: 2 * block as u32,
            },
            Segment::Memory(piece.slice(3 * block..)),
        ];
        let stored = store(
            &second,
            PieceIndex::new(1),
            &torrent.digest(1),
            &data,
            false,
        );
        assert_eq!(stored, Ok(Verdict::Matched { blocks: None }));
        assert!(torrent.matches(&second, 1));
        second.close().unwrap();
        let recheck = OpenStorage {
            recheck: true,
            ..torrent.open(&wanted)
        };
        let found = storage(&dir).open(&recheck).unwrap();
        assert_eq!(found.partial, []);
    }
}

#[test]
fn blocks_are_found_after_a_crash_that_came_later_but_not_in_files_that_are_gone_or_short() {
    let torrent = Torrent::new(64 << 10, &[("a", 50_000), ("b", 100_000)]);
    let dir = temp();
    let (first, _) = opened(&dir, &torrent);
    let piece = torrent.piece(1);
    first
        .write(PieceIndex::new(1), 0, &[piece.slice(..16 << 10)])
        .unwrap();
    let map = partial(&torrent, 1, &[0]);
    first.note_partial(vec![map.clone()]);
    first.checkpoint(&have(&torrent, []), 0, 0).unwrap();
    first
        .write(
            PieceIndex::new(1),
            16 << 10,
            &[piece.slice(16 << 10..32 << 10)],
        )
        .unwrap();
    let b = dir.path().join("t/b");
    tamper(&b, 99_999);
    drop(first);
    let found = |what: &str| {
        let (storage, found) = opened(&dir, &torrent);
        storage.close().unwrap();
        println!("{what}: {:?}", found.partial);
        found
    };
    let changed = found("changed");
    assert_eq!(changed.partial, [map]);
    assert!(changed.doubtful.contains(1), "it may have become complete");
    let file = OpenOptions::new().write(true).open(&b).unwrap();
    file.set_len(20_000).unwrap();
    assert_eq!(found("short").partial, []);
    fs::remove_file(&b).unwrap();
    assert_eq!(found("gone").partial, []);
}

#[test]
fn a_checkpoint_of_many_small_files_vouches_for_all() {
    let names: Vec<String> = (0..300).map(|n| format!("d{}/{n}", n % 7)).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 50)).collect();
    let torrent = Torrent::new(PIECE, &files);
    let dir = temp();
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    // One that is gone meanwhile is still noticed.
    torrent.store_all(&storage);
    fs::remove_file(dir.path().join("t/d3/3")).unwrap();
    let recorded = storage.checkpoint(&full(&torrent), 1, 0);
    let error = recorded.unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::NotFound);
    assert!(error.file.ends_with("t/d3/3"), "{error}");
    drop(storage);

    let dir = temp();
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    drop(storage);
    assert!(opened(&dir, &torrent).1.trusted.is_full());
}

#[test]
fn two_storages_do_not_work_on_one_torrent_at_a_time() {
    let (dir, torrent) = (temp(), multi());
    let (first, _) = opened(&dir, &torrent);
    let second = storage(&dir);
    let error = second.open(&torrent.open_all()).unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::InUse);
    assert!(error.message.contains(&std::process::id().to_string()));
    assert_eq!(kind(second.probe(0)), DiskErrorKind::InUse);
    // Another torrent in the same folder is another matter.
    let other = Torrent::new(PIECE, &[("x", 9)]);
    let third = storage(&dir);
    third.open(&other.open_all()).unwrap();
    // Looking again keeps the lock, and the end gives it back.
    first.open(&torrent.open_all()).unwrap();
    assert_eq!(kind(second.probe(0)), DiskErrorKind::InUse);
    first.close().unwrap();
    second.probe(0).unwrap();
    second.open(&torrent.open_all()).unwrap();
}

/// A file system of 1 MiB, if this process may make one.
struct TinyDisk(TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let dir = temp();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        println!("left out: a file system of its own cannot be mounted here");
        None
    }

    /// Lets nobody write to it (`ro`), or lets them again (`rw`).
    fn remount(&self, how: &str) {
        let status = std::process::Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(self.0.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let Some(disk) = TinyDisk::mount() else {
        return;
    };
    let torrent = Torrent::new(PIECE, &[("a", 600_000), ("b", 600_000)]);
    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![1; 500_000]).unwrap();
    let (storage, _) = opened(&disk.0, &torrent);
    let failed = (0..torrent.metainfo.piece_count()).find_map(|piece| {
        let data = [Segment::Memory(torrent.piece(piece))];
        let stored = store(
            &storage,
            PieceIndex::new(piece),
            &torrent.digest(piece),
            &data,
            false,
        );
        stored.err().map(|error| (piece, error))
    });
    let (failed, error) = failed.unwrap();
    assert_eq!(error.kind, DiskErrorKind::NoSpace);
    assert!(error.file.ends_with("t/a"));
    assert_eq!(kind(storage.probe(100_000)), DiskErrorKind::NoSpace);
    fs::write(&filler, b"").unwrap();
    storage.probe(100_000).unwrap();
    let found = storage.open(&torrent.open_all()).unwrap();
    assert!((0..failed).all(|piece| found.doubtful.contains(piece)));
    assert!((0..failed).all(|piece| torrent.matches(&storage, piece)));
    torrent.store(&storage, failed);
    storage
        .checkpoint(&have(&torrent, 0..=failed), 0, 0)
        .unwrap();
}

#[test]
fn a_full_disk_does_not_lose_the_resume_data() {
    let (Some(disk), dir) = (TinyDisk::mount(), temp()) else {
        return;
    };
    let torrent = multi();
    let options = FileOptions {
        resume_dir: Some(disk.0.path().to_owned()),
        ..FileOptions::default()
    };
    let storage = FileStorage::new(dir.path().to_owned(), options);
    storage.open(&torrent.open_all()).unwrap();
    torrent.store(&storage, 0);
    storage.checkpoint(&have(&torrent, [0]), 0, 0).unwrap();
    fs::write(disk.0.path().join("filler"), vec![1; 2 << 20]).unwrap_err();
    torrent.store(&storage, 3);
    let recorded = storage.checkpoint(&have(&torrent, [0, 3]), 0, 0);
    assert_eq!(kind(recorded), DiskErrorKind::NoSpace);
    assert_eq!(kind(storage.probe(0)), DiskErrorKind::NoSpace);
    let found = storage.open(&torrent.open_all()).unwrap();
    assert!(found.trusted.contains(0) && !found.trusted.contains(3));
    assert!(found.doubtful.contains(3));
}

#[test]
fn memory_works_like_files() {
    let torrent = multi();
    let storage = MemoryStorage::new();
    assert!(storage.verify(PieceIndex::new(0), &[0; 20]).is_err());
    storage.open(&torrent.open_all()).unwrap();
    assert!(!torrent.matches(&storage, 0));
    assert_eq!(
        kind(storage.read(PieceIndex::new(0), 0, &mut [0])),
        DiskErrorKind::NotFound
    );
    torrent.store_all(&storage);
    assert!((0..5).all(|piece| torrent.matches(&storage, piece)));
    let mut buf = [0; 50];
    storage.read(PieceIndex::new(1), 9, &mut buf).unwrap();
    assert_eq!(buf, torrent.piece(1)[9..59]);
    storage.checkpoint(&have(&torrent, [0, 2]), 3, 4).unwrap();
    storage.close().unwrap();
    let found = storage.open(&torrent.open_all()).unwrap();
    assert_eq!(
        (bits(&found.trusted), bits(&found.doubtful)),
        (vec![0, 2], vec![1, 3, 4])
    );
    assert!(storage.read(PieceIndex::new(9), 0, &mut [0]).is_err());
    assert!(
        storage
            .write(PieceIndex::new(4), 1 << 14, &[vec![0; 1 << 15].into()])
            .is_err()
    );
}

/// A small torrent drawn at random: zero to eight files, some of them pads, some empty.
fn draw(piece_length: u16, files: &[(u16, bool)]) -> Option<Torrent> {
    let names: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(index, (_, pad))| format!("{}/{index}", if *pad { ".pad" } else { "d" }))
        .collect();
    let files: Vec<_> = names
        .iter()
        .zip(files)
        .take(8)
        .map(|(name, (len, _))| (name.as_str(), u64::from(len % 3000)))
        .collect();
    (!files.is_empty()).then(|| Torrent::new(u32::from(piece_length % 2000) + 1, &files))
}

/// Cuts a piece into segments, every other of which is on the disk already.
fn cut(storage: &FileStorage, piece: u32, data: &Bytes, cuts: &[u16]) -> Vec<Segment> {
    let mut points: BTreeSet<usize> = cuts
        .iter()
        .map(|cut| usize::from(*cut) % data.len())
        .collect();
    points.insert(0);
    points.insert(data.len());
    let points: Vec<_> = points.into_iter().collect();
    let segment = |(number, ends): (usize, &[usize])| {
        let bytes = data.slice(ends[0]..ends[1]);
        if number % 2 == 0 {
            return Segment::Memory(bytes);
        }
        let len = bytes.len() as u32;
        storage
            .write(PieceIndex::new(piece), ends[0] as u32, &[bytes])
            .unwrap();
        Segment::Stored { len }
    };
    points.windows(2).enumerate().map(segment).collect()
}

quickcheck! {
    fn files_are_the_concatenation_whatever_the_layout(
        piece_length: u16,
        files: Vec<(u16, bool)>,
        cuts: Vec<u16>,
        order: u8
    ) -> TestResult {
        let Some(torrent) = draw(piece_length, &files) else {
            return TestResult::discard();
        };
        let dir = temp();
        let (storage, _) = opened(&dir, &torrent);
        let count = torrent.metainfo.piece_count();
        for piece in (0..count).map(|piece| (piece + u32::from(order)) % count) {
            let data = cut(&storage, piece, &torrent.piece(piece), &cuts);
            let stored = store(&storage, PieceIndex::new(piece), &torrent.digest(piece), &data, false);
            assert_eq!(stored, Ok(Verdict::Matched { blocks: None }));
        }
        for piece in 0..count {
            assert!(torrent.matches(&storage, piece));
            let expected = torrent.piece(piece);
            let begin = usize::from(order) % expected.len();
            let mut buf = vec![1; expected.len() - begin];
            storage.read(PieceIndex::new(piece), begin as u32, &mut buf).unwrap();
            assert_eq!(buf, expected[begin..]);
        }
        check_files(&dir, &torrent);
        storage.checkpoint(&full(&torrent), 0, 0).unwrap();
        drop(storage);
        let (_, found) = opened(&dir, &torrent);
        assert!(found.trusted.is_full());
        TestResult::passed()
    }

    fn whatever_is_selected_files_appear_only_when_wanted_and_no_data_is_lost(
        piece_length: u16,
        files: Vec<(u16, bool)>,
        selections: Vec<u8>,
        reopen: bool
    ) -> TestResult {
        let Some(torrent) = draw(piece_length, &files) else {
            return TestResult::discard();
        };
        let dir = temp();
        let mut storage = storage(&dir);
        storage.open(&torrent.open(&[])).unwrap();
        let count = torrent.metainfo.piece_count();
        let mut ever = BTreeSet::new();
        let mut stored = Vec::new();
        for (step, selection) in (0..).zip(selections.iter().copied().take(5).chain([0xff])) {
            let wanted: Vec<bool> = (0..8).map(|file| selection >> file & 1 == 1).collect();
            let names = torrent.metainfo.files().iter().enumerate();
            ever.extend(
                names
                    .filter(|(index, file)| wanted[*index] && file.kind() == FileKind::Data)
                    .map(|(index, _)| format!("t/d/{index}")),
            );
            if reopen {
                storage.checkpoint(&have(&torrent, stored.iter().copied()), 0, 0).unwrap();
                storage = self::storage(&dir);
                let found = storage.open(&torrent.open(&wanted)).unwrap();
                assert_eq!(found.trusted.count() as usize, stored.len());
            } else {
                storage.select(&wanted).unwrap();
            }
            if step < count {
                torrent.store(&storage, step);
                stored.push(step);
            }
            assert!(stored.iter().all(|piece| torrent.matches(&storage, *piece)));
            assert_eq!(tree(dir.path()), Vec::from_iter(ever.iter().cloned()));
        }
        torrent.store_all(&storage);
        storage.checkpoint(&full(&torrent), 0, 0).unwrap();
        check_files(&dir, &torrent);
        assert!(!aside(&dir, &torrent).exists());
        TestResult::passed()
    }
}
