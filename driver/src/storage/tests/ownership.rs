//! Whose files are, and what is made when.

use super::*;

/// As the engine does it: verifies what is doubtful, and then has the files made.
fn check(torrent: &Torrent, storage: &FileStorage, opened: &Opened) -> Result<(), DiskError> {
    for piece in opened.doubtful.iter() {
        torrent.matches(storage, piece);
    }
    storage.select(&vec![true; torrent.metainfo.files().len()])
}

/// The torrent's files, as they should be.
fn lay_out(dir: &TempDir, torrent: &Torrent) {
    let mut at = 0;
    for (file, expected) in (0..).zip(torrent.metainfo.files()) {
        let end = at + expected.length() as usize;
        if expected.kind() == FileKind::Data {
            let path = torrent.metainfo.download_path(FileIndex::new(file));
            let path = dir.path().join(path.unwrap().as_str());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &torrent.data[at..end]).unwrap();
        }
        at = end;
    }
}

#[test]
fn no_file_is_ours_because_its_neighbours_are() {
    let piece = u64::from(PIECE);
    // The last says whether all others have pieces of their own that are right.
    for (files, is_alone) in [
        (&[("a", 100_000), ("theirs", 50), ("b", 100_000)][..], true),
        (
            &[("a", 5_000), ("theirs", 3 * piece), ("b", 100_000)],
            false,
        ),
        (&[("a", 2 * piece), ("theirs", piece), ("b", 100_000)], true),
        (
            &[("a", 100_000), ("sub/theirs", 50), ("sub/c", 100_000)],
            true,
        ),
        (
            &[
                ("a", 100_000),
                ("theirs", 50),
                ("small", 60),
                ("b", 100_000),
            ],
            false,
        ),
    ] {
        let torrent = Torrent::new(PIECE, files);
        let dir = temp();
        lay_out(&dir, &torrent);
        let path = dir.path().join("t").join(files[1].0);
        let theirs = vec![5; files[1].1 as usize];
        fs::write(&path, &theirs).unwrap();
        let before = tree(dir.path());
        let (storage, found) = opened(&dir, &torrent);
        let checked = check(&torrent, &storage, &found);
        assert_eq!(kind(checked), DiskErrorKind::Foreign, "{files:?}");
        for piece in 0..torrent.metainfo.piece_count() {
            let piece = PieceIndex::new(piece);
            let data = torrent.piece(piece.get());
            // What a piece has of others may be written, and only that.
            let _ = storage.write(piece, 0, &[data]);
        }
        storage.close().unwrap();
        assert_eq!(fs::read(&path).unwrap(), theirs);
        assert_eq!(tree(dir.path()), before);
        // Space that another client took is nobody's loss.
        fs::write(&path, vec![0; theirs.len()]).unwrap();
        let found = storage.open(&torrent.open_all()).unwrap();
        assert_eq!(
            check(&torrent, &storage, &found).is_ok(),
            is_alone,
            "{files:?}"
        );
        // Whoever says so has all of it written over.
        fs::write(&path, &theirs).unwrap();
        let mut open = torrent.open_all();
        open.overwrite = true;
        storage.open(&open).unwrap();
        torrent.store_all(&storage);
        check_files(&dir, &torrent);
    }
}

#[test]
fn where_there_is_a_record_the_folder_shows_nothing() {
    let torrent = Torrent::new(PIECE, &[("a", 100_000), ("small", 50)]);
    let dir = temp();
    let (first, _) = opened(&dir, &torrent);
    torrent.store_all(&first);
    first.checkpoint(&full(&torrent), 0, 0).unwrap();
    drop(first);
    // Whoever wrote this wrote it over what the record vouched for.
    fs::write(dir.path().join("t/small"), vec![5; 50]).unwrap();
    let (second, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [1]);
    let checked = check(&torrent, &second, &found);
    assert_eq!(kind(checked), DiskErrorKind::Foreign);
}

#[test]
fn zeros_in_a_shared_piece_show_nothing_of_their_file() {
    let len = 3 * PIECE as usize;
    let mut data = vec![1; len];
    data[50_000..2 * PIECE as usize].fill(0);
    let torrent = Torrent::with_data(
        "t",
        PIECE,
        &[("a", 50_000), ("b", len as u64 - 50_000)],
        data.into(),
    );
    let dir = temp();
    lay_out(&dir, &torrent);
    let path = dir.path().join("t/b");
    let mut theirs = fs::read(&path).unwrap();
    let at = 2 * PIECE as usize - 50_000;
    theirs[at..].fill(9);
    fs::write(&path, &theirs).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0, 1]);
    assert!(torrent.matches(&storage, 0) && torrent.matches(&storage, 1));
    assert_eq!(kind(storage.select(&[true; 2])), DiskErrorKind::Foreign);
    assert!(
        storage
            .write(PieceIndex::new(2), 0, &[torrent.piece(2)])
            .is_err()
    );
    assert_eq!(fs::read(&path).unwrap(), theirs);
}

#[test]
fn a_file_that_is_right_is_used_and_never_cut_or_deleted_unless_it_was_shown_to_be_ours() {
    let mut data = vec![1; 2 * PIECE as usize];
    data[PIECE as usize..].fill(0);
    let (a, b) = (u64::from(PIECE), u64::from(PIECE));
    let torrent = Torrent::with_data("t", PIECE, &[("a", a), ("b", b), ("empty", 0)], data.into());
    let dir = temp();
    lay_out(&dir, &torrent);
    let zeros_and_more = [vec![0; PIECE as usize], b"theirs".to_vec()].concat();
    fs::write(dir.path().join("t/b"), &zeros_and_more).unwrap();
    fs::write(dir.path().join("t/empty"), b"theirs").unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0, 1]);
    let longer: Vec<_> = found
        .longer
        .iter()
        .map(|longer| longer.file.get())
        .collect();
    assert_eq!(longer, [1, 2]);
    check(&torrent, &storage, &found).unwrap();
    for file in [1, 2] {
        assert_eq!(storage.trim(FileIndex::new(file)), Ok(false));
    }
    let mut buf = [1; 9];
    storage.read(PieceIndex::new(1), 0, &mut buf).unwrap();
    assert_eq!(buf, [0; 9]);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    storage.remove(true).unwrap();
    assert_eq!(tree(dir.path()), ["t/b", "t/empty"]);
    assert_eq!(fs::read(dir.path().join("t/b")).unwrap(), zeros_and_more);
    // Whoever says that it may be written over has it cut.
    lay_out(&dir, &torrent);
    fs::write(dir.path().join("t/empty"), b"theirs").unwrap();
    let mut open = torrent.open_all();
    open.overwrite = true;
    let storage = super::storage(&dir);
    storage.open(&open).unwrap();
    assert_eq!(storage.trim(FileIndex::new(2)), Ok(true));
    check_files(&dir, &torrent);
}

#[test]
fn a_refusal_leaves_everything_as_it_was() {
    let torrent = Torrent::new(
        PIECE,
        &[
            ("a", 100_000),
            ("deep/b", 100_000),
            ("short", 100_000),
            ("z", 100_000),
        ],
    );
    let dir = temp();
    lay_out(&dir, &torrent);
    fs::remove_dir_all(dir.path().join("t/deep")).unwrap();
    fs::write(dir.path().join("t/short"), &torrent.data[200_000..280_000]).unwrap();
    fs::write(dir.path().join("t/z"), vec![8; 100_000]).unwrap();
    let (storage, found) = opened(&dir, &torrent);
    assert_eq!(foreign(&found), [0, 2, 3]);
    let checked = check(&torrent, &storage, &found);
    assert_eq!(kind(checked), DiskErrorKind::Foreign);
    storage.close().unwrap();
    assert_eq!(tree(dir.path()), ["t/a", "t/short", "t/z"]);
    assert_eq!(
        fs::metadata(dir.path().join("t/short")).unwrap().len(),
        80_000
    );
    assert!(!dir.path().join(RESUME_FOLDER).exists());
    // Without the stranger's all is made at last.
    fs::remove_file(dir.path().join("t/z")).unwrap();
    let found = storage.open(&torrent.open_all()).unwrap();
    check(&torrent, &storage, &found).unwrap();
    assert_eq!(tree(dir.path()).len(), 4);
    assert_eq!(
        fs::metadata(dir.path().join("t/short")).unwrap().len(),
        100_000
    );
    torrent.store_all(&storage);
    check_files(&dir, &torrent);
}

#[test]
fn a_file_in_the_way_of_one_that_becomes_wanted_keeps_all_from_being_made() {
    let (dir, torrent) = (temp(), multi());
    let storage = storage(&dir);
    storage.open(&torrent.open(&[false; 5])).unwrap();
    fs::create_dir_all(dir.path().join("t/sub")).unwrap();
    fs::write(dir.path().join("t/sub/c"), b"theirs").unwrap();
    assert!(storage.select(&[true; 5]).is_err());
    assert_eq!(tree(dir.path()), ["t/sub/c"]);
}

#[test]
fn files_that_become_wanted_are_ours_after_a_crash_before_the_next_checkpoint() {
    let (dir, torrent) = (temp(), multi());
    let first = storage(&dir);
    let wanted = [false, false, true, false, false];
    first.open(&torrent.open(&wanted)).unwrap();
    torrent.store(&first, 1);
    first.checkpoint(&have(&torrent, [1]), 7, 8).unwrap();
    first.select(&[true; 5]).unwrap();
    // A block of a piece that is not complete: nothing in the file is right yet.
    let block = torrent.piece(3).slice(..9_000);
    first.write(PieceIndex::new(3), 0, &[block]).unwrap();
    drop(first);
    let (second, found) = opened(&dir, &torrent);
    assert_eq!((foreign(&found), found.uploaded), (vec![], 7));
    check(&torrent, &second, &found).unwrap();
    assert!(torrent.matches(&second, 1));
    torrent.store_all(&second);
    check_files(&dir, &torrent);
}

#[test]
fn a_right_piece_that_is_zeros_in_a_strangers_unwanted_file_does_not_count() {
    let mut data = vec![1; 2 * PIECE as usize];
    data[PIECE as usize / 2..].fill(0);
    let half = u64::from(PIECE / 2);
    let torrent = Torrent::with_data("t", PIECE, &[("a", half), ("b", 3 * half)], data.into());
    let dir = temp();
    lay_out(&dir, &torrent);
    let theirs = [vec![0; PIECE as usize], vec![3; half as usize]].concat();
    fs::write(dir.path().join("t/b"), &theirs).unwrap();
    let storage = storage(&dir);
    storage.open(&torrent.open(&[true, false])).unwrap();
    // What is not read from there later must not be counted on now.
    assert!(!torrent.matches(&storage, 0));
    torrent.store(&storage, 0);
    let mut buf = vec![9; PIECE as usize];
    storage.read(PieceIndex::new(0), 0, &mut buf).unwrap();
    assert_eq!(buf, torrent.piece(0));
    assert_eq!(fs::read(dir.path().join("t/b")).unwrap(), theirs);
}

#[test]
fn what_others_put_under_our_names_stays_when_a_torrent_is_removed() {
    let (dir, torrent) = (temp(), multi());
    let record = dir.path().join(RESUME_FOLDER);
    fs::create_dir(&record).unwrap();
    let hash = torrent.metainfo.info_hash();
    let names = ["torrent", "torrent.new", "resume.new"].map(|end| format!("{hash}.{end}"));
    let foreign = b"d8:announce3:xyz7:comment2:hie";
    for name in &names {
        fs::write(record.join(name), foreign).unwrap();
    }
    let (storage, _) = opened(&dir, &torrent);
    torrent.store_all(&storage);
    storage.checkpoint(&full(&torrent), 0, 0).unwrap();
    storage.remove(true).unwrap();
    // What was in the way of a record has another name now, as what is in the way always has.
    let mut left: Vec<String> = (fs::read_dir(&record).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let expected = [names[2].clone() + ".1", names[0].clone(), names[1].clone()];
    assert_eq!(left, expected);
    for name in left {
        assert_eq!(fs::read(record.join(name)).unwrap(), foreign);
    }
}
