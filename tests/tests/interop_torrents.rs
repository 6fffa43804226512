//! Torrents at the edges: large pieces, many pieces, files past 4 GiB, and who made them.

use std::fs;

use anabranch_tests::bencode::{self, Value};
use anabranch_tests::clients::{
    self, Anabranch, Client, Libtorrent, aria2_info_hash, mktorrent, transmission_create,
    transmission_info_hash,
};
use anabranch_tests::data::{assert_same, write_file, write_sparse, write_tree};
use anabranch_tests::{Scratch, Torrent, heavy};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn four_gib_in_pieces_of_16_mib() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let _alone = heavy();
    // Past 2^32 by an odd number of bytes: the last piece is short, offsets need more than 32 bits.
    let length = 4 * GIB + 5 * MIB + 12_345;
    let scratch = Scratch::with_room(5 * GIB);
    let data = scratch.folder("seed").join("large.bin");
    let islands = [
        0,
        MIB - 32,
        GIB + 7,
        3 * GIB,
        4 * GIB - 32,
        4 * GIB + 4 * MIB,
        length - 9,
    ];
    write_sparse(&data, length, islands);
    let torrent = Torrent::make(&data, &scratch.join("large.torrent"), 16 * MIB, &[]);
    let seed = Libtorrent::seed_unchecked(&torrent, &scratch.join("seed"));
    let folder = scratch.folder("leech");
    let peer = seed.address().to_string();
    Anabranch::download(&scratch, &torrent, &folder, &["--peer", &peer]).finish();
    drop(seed);
    Anabranch::verify(&scratch, &torrent, &folder).assert_success();
    assert_same(&data, &folder.join("large.bin"));
}

#[test]
fn a_hundred_thousand_pieces_of_16_kib() {
    if !clients::available(&[Client::Libtorrent]) {
        return;
    }
    let _alone = heavy();
    let piece = 16 * 1024;
    let scratch = Scratch::with_room(4 * GIB);
    let data = scratch.folder("seed").join("pieces.bin");
    // Every piece differs, so that none can stand for another.
    write_sparse(
        &data,
        100_000 * piece,
        (0..100_000).map(|index| index * piece),
    );
    let torrent = Torrent::make(&data, &scratch.join("pieces.torrent"), piece, &[]);
    assert_eq!(torrent.count(), 100_000);
    let seed = Libtorrent::seed_unchecked(&torrent, &scratch.join("seed"));
    let folder = scratch.folder("leech");
    let peer = seed.address().to_string();
    Anabranch::download(&scratch, &torrent, &folder, &["--peer", &peer]).finish();
    assert_same(&data, &folder.join("pieces.bin"));
}

/// Our torrent of a file or folder has the info dictionary of mktorrent's, byte for byte.
fn same_as_mktorrent(scratch: &Scratch, name: &str, power: u32, private: bool) {
    let url = "http://tracker.invalid/announce";
    let content = scratch.join(name);
    let theirs = scratch.join(&format!("{name}-theirs-{power}-{private}.torrent"));
    let theirs = mktorrent(&content, &theirs, power, url, private);
    let ours = scratch.join(&format!("{name}-ours-{power}-{private}.torrent"));
    let piece = (1_u64 << power).to_string();
    let mut args = vec!["--tracker", url, "--piece-length", piece.as_str()];
    args.extend(private.then_some("--private"));
    let ours = Anabranch::create(scratch, &content, &ours, &args);
    assert_eq!(ours.piece_length, 1 << power);
    if ours.info != theirs.info {
        let place = ours
            .info
            .iter()
            .zip(&theirs.info)
            .position(|(our, their)| our != their);
        let place = place.unwrap_or_else(|| ours.info.len().min(theirs.info.len()));
        let around = |info: &[u8]| {
            let end = info.len().min(place + 60);
            String::from_utf8_lossy(&info[place.saturating_sub(60)..end]).into_owned()
        };
        let (ours, theirs) = (around(&ours.info), around(&theirs.info));
        panic!("{name} differs at {place}:\nours      {ours}\nmktorrent {theirs}");
    }
    assert_eq!(ours.info_hash, theirs.info_hash);
}

#[test]
fn the_info_dictionary_we_create_is_that_of_mktorrent() {
    if !clients::available(&[Client::Mktorrent]) {
        return;
    }
    let scratch = Scratch::new();
    write_tree(&scratch.join("tree"), 51);
    write_file(&scratch.join("single.bin"), 3_000_001, 52);
    write_file(&scratch.join("exact.bin"), 1 << 20, 53);
    write_file(&scratch.join("one.bin"), 1, 54);
    fs::create_dir_all(scratch.join("flat/b")).unwrap();
    // Orders differ between a folder's name with its separator and a file's that goes on there.
    for name in ["b/x", "b-", "b.txt", "B", "a"] {
        write_file(&scratch.join("flat").join(name), 100, 55);
    }
    for name in ["tree", "flat", "single.bin", "exact.bin", "one.bin"] {
        for power in [15, 18, 20] {
            same_as_mktorrent(&scratch, name, power, false);
        }
        same_as_mktorrent(&scratch, name, 18, true);
    }
}

/// `show --json` against the file as the suite reads it.
fn assert_shown(scratch: &Scratch, torrent: &Torrent) {
    let shown = Anabranch::show(scratch, &torrent.path);
    assert_eq!(
        shown["info_hash"].as_str(),
        Some(torrent.hex().as_str()),
        "{shown}"
    );
    assert_eq!(
        shown["piece_length"].as_u64(),
        Some(torrent.piece_length),
        "{shown}"
    );
    assert_eq!(shown["size"].as_u64(), Some(torrent.length), "{shown}");
    let info = bencode::decode(&torrent.info);
    let name = info.at("name").and_then(Value::bytes).expect("a name");
    assert_eq!(
        shown["name"].as_str().map(str::as_bytes),
        Some(name),
        "{shown}"
    );
    let files = info
        .at("files")
        .and_then(Value::list)
        .map_or(1, <[Value]>::len);
    assert_eq!(
        shown["files"].as_array().map(Vec::len),
        Some(files),
        "{shown}"
    );
}

#[test]
fn all_agree_on_the_info_hash_whoever_made_the_torrent() {
    use Client::{Aria2 as A, Mktorrent as M, TransmissionTools as T};
    if !clients::available(&[A, M, T]) {
        return;
    }
    let scratch = Scratch::new();
    write_tree(&scratch.join("tree"), 56);
    write_file(&scratch.join("single.bin"), 3_000_001, 57);
    let url = "http://tracker.invalid/announce";
    for name in ["tree", "single.bin"] {
        let content = scratch.join(name);
        let to = |maker: &str| scratch.join(&format!("{name}-{maker}.torrent"));
        let torrents = [
            mktorrent(&content, &to("mktorrent"), 18, url, false),
            mktorrent(&content, &to("mktorrent-private"), 18, url, true),
            transmission_create(&content, &to("transmission"), url),
            Anabranch::create(
                &scratch,
                &content,
                &to("anabranch"),
                &["--tracker", url, "--comment", "größer", "--private"],
            ),
            Torrent::make(&content, &to("suite"), 65_536, &[url.into()]),
        ];
        for torrent in &torrents {
            assert_shown(&scratch, torrent);
            assert_eq!(transmission_info_hash(&torrent.path), torrent.hex());
            assert_eq!(aria2_info_hash(&torrent.path), torrent.hex());
            Anabranch::verify(&scratch, torrent, scratch.path()).assert_success();
        }
    }
}

#[test]
fn verify_finds_one_wrong_byte() {
    let scratch = Scratch::new();
    let data = scratch.join("single.bin");
    write_file(&data, 3_000_001, 58);
    let torrent = Torrent::make(&data, &scratch.join("single.torrent"), 65_536, &[]);
    Anabranch::verify(&scratch, &torrent, scratch.path()).assert_success();
    let mut bytes = fs::read(&data).unwrap();
    bytes[2_000_000] ^= 1;
    fs::write(&data, &bytes).unwrap();
    assert_ne!(
        Anabranch::verify(&scratch, &torrent, scratch.path()).code,
        0
    );
    fs::remove_file(&data).unwrap();
    assert_ne!(
        Anabranch::verify(&scratch, &torrent, scratch.path()).code,
        0
    );
}
