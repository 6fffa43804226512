//! Torrent files made to write elsewhere, to crash or to use up memory. Each ends in a clear error,
//! or in files with harmless names inside of the download folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anabranch_tests::bencode::Value;
use anabranch_tests::clients::{Anabranch, Outcome};
use anabranch_tests::data::{self, Kind, Random};
use anabranch_tests::scripted::{Gate, honest_seed};
use anabranch_tests::{Scratch, Torrent, address, torrent};

const PIECE: u64 = 16 * 1024;

/// A download folder some levels down, so that what climbs out of it still lands where the test
/// looks.
struct Ground {
    scratch: Scratch,
    folder: PathBuf,
    torrent: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let scratch = Scratch::new();
        let folder = scratch.folder("ground/a/b/downloads");
        fs::create_dir_all(scratch.join("ground/outside")).expect("a folder");
        let torrent = scratch.join("hostile.torrent");
        Self {
            scratch,
            folder,
            torrent,
        }
    }

    /// Everything but the download folder and the command's own state.
    fn outside(&self) -> BTreeMap<PathBuf, Kind> {
        let mut all = data::listing(self.scratch.path());
        all.retain(|path, _| {
            !path.starts_with("ground/a/b/downloads") && !path.starts_with("home")
        });
        all
    }

    fn run(&self, verb: &str, extra: &[&str]) -> Outcome {
        let mut args = vec![verb.to_owned(), self.torrent.display().to_string()];
        if verb != "show" {
            args.extend(["--dir".into(), self.folder.display().to_string()]);
        }
        args.extend(extra.iter().map(|arg| (*arg).to_owned()));
        Anabranch::run_bounded(&self.scratch, args)
    }
}

/// Every command refuses this file, without a crash and with bounded memory.
fn assert_refused(bytes: &[u8]) {
    let ground = Ground::new();
    fs::write(&ground.torrent, bytes).expect("a torrent file");
    let before = ground.outside();
    for verb in ["show", "verify", "download", "seed"] {
        ground.run(verb, &[]).assert_refused();
    }
    assert_eq!(ground.outside(), before, "something was written");
    assert_eq!(
        data::files(&ground.folder),
        BTreeMap::new(),
        "something was written"
    );
}

/// A torrent whose info dictionary this is, refused by all.
fn assert_info_refused(info: &Value) {
    assert_refused(&Value::dict([("info", info.clone())]).encode());
}

fn hashes(pieces: usize) -> Value {
    Value::Bytes(vec![0x11; 20 * pieces])
}

fn single(length: i64, piece_length: i64, pieces: usize) -> Value {
    Value::dict([
        ("length", Value::Int(length)),
        ("name", Value::text("file.bin")),
        ("piece length", Value::Int(piece_length)),
        ("pieces", hashes(pieces)),
    ])
}

fn multi(lengths: &[i64], piece_length: i64, pieces: usize) -> Value {
    let file = |(number, length): (usize, &i64)| {
        let path = Value::List(vec![Value::text(&format!("{number}.bin"))]);
        Value::dict([("length", Value::Int(*length)), ("path", path)])
    };
    Value::dict([
        (
            "files",
            Value::List(lengths.iter().enumerate().map(file).collect()),
        ),
        ("name", Value::text("folder")),
        ("piece length", Value::Int(piece_length)),
        ("pieces", hashes(pieces)),
    ])
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    assert_info_refused(&single(-1, 16_384, 1));
    assert_info_refused(&single(i64::MIN, 16_384, 1));
    assert_info_refused(&single(i64::MAX, 16_384, 1));
    assert_info_refused(&multi(&[16_384, -16_384], 16_384, 1));
    assert_info_refused(&multi(&[i64::MAX, i64::MAX, 2], 16_384, 1));
    assert_info_refused(&multi(&[], 16_384, 0));
}

#[test]
fn pieces_that_cannot_be_are_refused() {
    assert_info_refused(&single(100, 0, 1));
    assert_info_refused(&single(100, -16_384, 1));
    assert_info_refused(&single(100, i64::MAX, 1));
    assert_info_refused(&single(100, 1 << 40, 1));
    assert_info_refused(&single(16_385, 16_384, 1));
    assert_info_refused(&single(16_384, 16_384, 2));
    assert_info_refused(&single(16_384, 16_384, 0));
    let mut ragged = single(16_384, 16_384, 1);
    if let Value::Dict(entries) = &mut ragged {
        entries.insert(b"pieces".to_vec(), Value::Bytes(vec![0; 19]));
    }
    assert_info_refused(&ragged);
}

#[test]
fn fields_that_are_missing_or_of_another_kind_are_refused() {
    assert_refused(&Value::dict([]).encode());
    assert_refused(&Value::dict([("info", Value::Int(1))]).encode());
    for key in ["length", "name", "piece length", "pieces"] {
        let Value::Dict(entries) = single(16_384, 16_384, 1) else {
            unreachable!()
        };
        let mut without = entries.clone();
        without.remove(key.as_bytes());
        if key != "name" {
            assert_info_refused(&Value::Dict(without));
        }
        let mut other = entries;
        other.insert(key.as_bytes().to_vec(), Value::List(vec![Value::Int(1)]));
        assert_info_refused(&Value::Dict(other));
    }
}

#[test]
fn bencode_that_is_none_is_refused() {
    assert_refused(b"");
    assert_refused(b"<html>404</html>");
    assert_refused(b"d4:info");
    assert_refused(b"d4:infod4:name99999999999999999999999:xee");
    assert_refused(b"d4:infod4:name9223372036854775807:xee");
    assert_refused(b"d4:infod6:lengthi99999999999999999999999999eee");
    assert_refused(b"d4:infod6:lengthie4:name1:aee");
    assert_refused(&Random::new(1).bytes(100_000));
}

#[test]
fn bencode_bombs_are_refused() {
    for open in [&b"l"[..], b"d1:a", b"d4:info"] {
        for depth in [200, 10_000, 2_000_000] {
            assert_refused(&open.repeat(depth));
            let mut closed = open.repeat(depth);
            if open == b"l" {
                closed.extend(std::iter::repeat_n(b'e', depth));
                let mut within = b"d1:a".to_vec();
                within.extend(&closed);
                within.push(b'e');
                assert_refused(&within);
            }
        }
    }
    // Wide instead of deep: each token of two bytes would cost a value of many.
    let mut wide = b"d1:al".to_vec();
    wide.extend(b"le".repeat(10_000_000));
    wide.extend(b"ee");
    assert_refused(&wide);
}

/// A torrent of two files at these paths, in a folder of this name, served by an honest peer: it is
/// refused, or every byte lands in the download folder.
fn assert_contained(name: &[u8], paths: [&[&[u8]]; 2]) {
    assert_contained_on(&Ground::new(), name, paths);
}

fn assert_contained_on(ground: &Ground, name: &[u8], paths: [&[&[u8]]; 2]) {
    let contents = [Random::new(81).bytes(20_000), Random::new(82).bytes(30_000)];
    let files = paths.iter().zip(&contents).map(|(path, content)| {
        let parts = path
            .iter()
            .map(|part| Value::Bytes(part.to_vec()))
            .collect();
        Value::dict([("length", length(content)), ("path", Value::List(parts))])
    });
    let content = ("files", Value::List(files.collect()));
    assert_content_contained(ground, name, content, &contents);
}

/// The same for a torrent of one file.
fn assert_single_contained(ground: &Ground, name: &[u8]) {
    let contents = [Random::new(83).bytes(50_000)];
    let content = ("length", length(&contents[0]));
    assert_content_contained(ground, name, content, &contents);
}

fn length(content: &[u8]) -> Value {
    Value::Int(i64::try_from(content.len()).expect("a length"))
}

fn assert_content_contained(
    ground: &Ground,
    name: &[u8],
    content: (&str, Value),
    contents: &[Vec<u8>],
) {
    let all = contents.concat();
    let plain = ground.scratch.join("plain.bin");
    fs::write(&plain, &all).expect("the content in one file");
    let made = Torrent::make(&plain, &ground.scratch.join("plain.torrent"), PIECE, &[]);
    let info = Value::dict([
        content,
        ("name", Value::Bytes(name.to_vec())),
        (
            "piece length",
            Value::Int(i64::try_from(PIECE).expect("a length")),
        ),
        ("pieces", Value::Bytes(made.pieces.concat())),
    ]);
    torrent::write(&info, &ground.torrent, &[]);
    let hostile = Torrent::read(&ground.torrent);
    let honest = honest_seed(address::HONEST, &hostile, all, Gate::opened());

    let before = ground.outside();
    let peer = honest.address().to_string();
    let outcome = ground.run("download", &["--peer", &peer, "--listen", "127.0.0.1:0"]);
    assert_eq!(
        ground.outside(),
        before,
        "written outside of the download folder: {outcome:?}"
    );
    if outcome.code != 0 {
        outcome.assert_refused();
        return;
    }
    let found = read_all(&ground.folder);
    for content in contents {
        assert!(found.contains(content), "a file is missing: {outcome:?}");
    }
    assert_eq!(
        ground.run("verify", &[]).code,
        0,
        "not found again under its harmless name"
    );
}

fn read_all(folder: &Path) -> Vec<Vec<u8>> {
    let read = |path: &PathBuf| fs::read(folder.join(path)).expect("a downloaded file");
    data::files(folder).keys().map(read).collect()
}

#[test]
fn names_that_climb_stay_inside() {
    let harmless: &[&[u8]] = &[b"harmless.bin"];
    assert_contained(
        b"folder",
        [&[b"..", b"..", b"..", b"outside", b"evil"], harmless],
    );
    assert_contained(b"folder", [&[b"a", b"..", b"..", b"..", b"evil"], harmless]);
    assert_contained(b"folder", [&[b"../../../outside/evil"], harmless]);
    assert_contained(b"folder", [&[b"..\\..\\evil"], harmless]);
    assert_contained(b"..", [&[b"evil"], harmless]);
    assert_contained(b"../../outside", [&[b"evil"], harmless]);
    assert_contained(b"../..", [&[b".."], harmless]);
    assert_contained(b".", [&[b".", b"evil"], harmless]);
    for name in [
        &b"../../../outside/evil"[..],
        b"..",
        b".",
        b"",
        b"a/../../evil",
        b"..\\evil",
    ] {
        assert_single_contained(&Ground::new(), name);
    }
}

#[test]
fn absolute_names_stay_inside() {
    let ground = Ground::new();
    let outside = ground.scratch.join("ground/outside/evil");
    let absolute = outside.to_str().unwrap().as_bytes().to_vec();
    let harmless: &[&[u8]] = &[b"harmless.bin"];
    assert_contained_on(&ground, b"folder", [&[&absolute], harmless]);
    let ground = Ground::new();
    let outside = ground.scratch.join("ground/outside");
    let absolute = outside.to_str().unwrap().as_bytes().to_vec();
    assert_contained_on(&ground, &absolute, [&[b"evil"], harmless]);
    assert_single_contained(&ground, &[&absolute[..], b"/evil"].concat());
}

#[test]
fn names_that_are_none_stay_inside() {
    let harmless: &[&[u8]] = &[b"harmless.bin"];
    assert_contained(b"", [&[b"evil"], harmless]);
    assert_contained(b"folder", [&[], harmless]);
    assert_contained(b"folder", [&[b""], harmless]);
    assert_contained(b"folder", [&[b"a", b"", b"b"], harmless]);
    assert_contained(b"folder", [&[b"nul\0byte"], harmless]);
    assert_contained(b"folder", [&[b"\xff\xfe\x80 no utf-8"], harmless]);
    assert_contained(b"folder", [&[b"CON"], &[b"line\nbreak \x1b[31m"]]);
    assert_contained(b"folder", [&[&[b'x'; 5_000]], harmless]);
    assert_contained(b"folder", [&[b"bidi \xe2\x80\xae gpj.exe"], harmless]);
}

#[test]
fn names_that_collide_keep_both_files() {
    assert_contained(b"folder", [&[b"same"], &[b"same"]]);
    assert_contained(b"folder", [&[b"same"], &[b"same", b"below"]]);
    assert_contained(b"folder", [&[b"same", b"below"], &[b"same"]]);
    assert_contained(b"folder", [&[b"Same"], &[b"same"]]);
    assert_contained(b"folder", [&[b"a/b"], &[b"a_b"]]);
}

#[test]
fn links_that_are_there_already_are_not_followed_out() {
    let harmless: &[&[u8]] = &[b"harmless.bin"];
    let ground = Ground::new();
    fs::create_dir(ground.folder.join("folder")).unwrap();
    let outside = ground.scratch.join("ground/outside");
    std::os::unix::fs::symlink(&outside, ground.folder.join("folder/link")).unwrap();
    assert_contained_on(&ground, b"folder", [&[b"link", b"evil"], harmless]);

    let ground = Ground::new();
    let outside = ground.scratch.join("ground/outside");
    std::os::unix::fs::symlink(&outside, ground.folder.join("folder")).unwrap();
    assert_contained_on(&ground, b"folder", [&[b"evil"], harmless]);

    // The last component: a file that is a link to one outside.
    let ground = Ground::new();
    let victim = ground.scratch.join("ground/outside/victim");
    fs::write(&victim, b"precious").unwrap();
    fs::create_dir(ground.folder.join("folder")).unwrap();
    std::os::unix::fs::symlink(&victim, ground.folder.join("folder/evil")).unwrap();
    assert_contained_on(&ground, b"folder", [&[b"evil"], harmless]);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}
