use alloc::string::ToString;
use alloc::{boxed::Box, collections::BTreeMap, format, vec};

use bt_bencode::Value;
use quickcheck::quickcheck;

use super::*;
use crate::bencode;
use crate::metainfo::{
    Creator, EntryFault, Layout, MetainfoError, SourceFile, fields::INTEGER, limits,
};

type Dict = BTreeMap<Vec<u8>, Vec<u8>>;

/// A dictionary of values that are bencoded already.
fn dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![b'd'];
    for (key, value) in entries {
        bytes.extend(string(key.as_bytes()));
        bytes.extend_from_slice(value);
    }
    bytes.push(b'e');
    bytes
}

fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = vec![b'l'];
    for item in items {
        bytes.extend_from_slice(item.as_ref());
    }
    bytes.push(b'e');
    bytes
}

fn string(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [format!("{}:", content.len()).as_bytes(), content].concat()
}

fn path(components: &[&str]) -> Vec<u8> {
    list(components.iter().map(string))
}

fn file(length: &str, components: &[&str]) -> Vec<u8> {
    dict(&[
        ("length", format!("i{length}e").as_bytes()),
        ("path", &path(components)),
    ])
}

/// An info dictionary with some entries changed, added, or taken away by an empty value. The
/// untouched one is a file `x` of one piece of 10 bytes.
fn info_with(changes: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries: Dict = [
        ("length", b"i10e".to_vec()),
        ("name", string("x")),
        ("piece length", b"i16384e".to_vec()),
        ("pieces", string([7; 20])),
    ]
    .map(|(key, value)| (key.into(), value))
    .into();
    for (key, value) in changes {
        entries.insert((*key).into(), value.to_vec());
    }
    let mut bytes = vec![b'd'];
    for (key, value) in entries.iter().filter(|(_, value)| !value.is_empty()) {
        bytes.extend(string(key));
        bytes.extend_from_slice(value);
    }
    bytes.push(b'e');
    bytes
}

fn parse(bytes: impl Into<Vec<u8>>) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(Bytes::from(bytes.into()))
}

fn parse_with(changes: &[(&str, &[u8])]) -> Result<Metainfo, MetainfoError> {
    parse(dict(&[("info", &info_with(changes))]))
}

/// A torrent in a folder `t`, whose data has one piece.
fn parse_files(files: &[Vec<u8>]) -> Result<Metainfo, MetainfoError> {
    parse_with(&[("name", b"1:t"), ("length", b""), ("files", &list(files))])
}

fn parse_beside(entries: &[(&str, &[u8])]) -> Metainfo {
    let info = info_with(&[]);
    parse(dict(&[&[("info", &info[..])], entries].concat())).unwrap()
}

fn paths(metainfo: &Metainfo) -> Vec<String> {
    (0..metainfo.files().len() as u32)
        .map(|file| metainfo.download_path(FileIndex::new(file)).unwrap().into())
        .collect()
}

#[test]
fn a_single_file_is_read_whole() {
    let info = info_with(&[("private", b"i1e"), ("source", b"3:SRC"), ("attr", b"2:xh")]);
    let torrent = Bytes::from(dict(&[
        ("comment", &string("first\nsecond\x1b[2J")),
        ("created by", &string("maker/1")),
        ("creation date", b"i1700000000e"),
        ("info", &info),
        ("unknown", b"d1:ali1eee"),
    ]));
    let metainfo = Metainfo::parse(torrent.clone()).unwrap();
    assert_eq!(metainfo.info_hash(), InfoHash::of_info(&info));
    assert_eq!(metainfo.info_bytes(), &info);
    assert_eq!(metainfo.name(), "x");
    assert!(!metainfo.is_multi_file());
    assert_eq!(metainfo.piece_length(), 16384);
    assert_eq!(metainfo.piece_count(), 1);
    assert_eq!(metainfo.piece_size(PieceIndex::new(0)), Some(10));
    assert_eq!(metainfo.piece_size(PieceIndex::new(1)), None);
    assert_eq!(metainfo.piece_hash(PieceIndex::new(0)), Some(&[7; 20]));
    assert_eq!(metainfo.piece_hash(PieceIndex::new(1)), None);
    assert_eq!(metainfo.total_length(), 10);
    assert!(metainfo.is_private());
    assert_eq!(metainfo.source(), Some("SRC"));
    assert_eq!(metainfo.comment(), Some("first\nsecond\u{fffd}[2J"));
    assert_eq!(metainfo.created_by(), Some("maker/1"));
    assert_eq!(metainfo.creation_date(), Some(1_700_000_000));
    let [file] = metainfo.files() else {
        panic!("one file expected");
    };
    assert!(file.is_executable() && file.is_hidden());
    assert_eq!(file.kind(), FileKind::Data);
    assert_eq!(paths(&metainfo), ["x"]);
    assert_eq!(
        metainfo.original_path(FileIndex::new(0)),
        Some(vec![&b"x"[..]])
    );
    assert_eq!(metainfo.original_path(FileIndex::new(1)), None);
    // The hashes are not copied.
    assert!(
        torrent
            .as_ptr_range()
            .contains(&metainfo.piece_hashes().as_ptr().cast())
    );
}

#[test]
fn files_of_a_folder_follow_each_other() {
    let metainfo = parse_files(&[
        file("0", &["empty"]),
        file("4", &["a", "b"]),
        file("0", &["a", "nothing"]),
        file("6", &["c"]),
    ])
    .unwrap();
    assert!(metainfo.is_multi_file());
    assert_eq!(paths(&metainfo), ["t/empty", "t/a/b", "t/a/nothing", "t/c"]);
    let extents: Vec<_> = metainfo
        .files()
        .iter()
        .map(|file| (file.offset(), file.length()))
        .collect();
    assert_eq!(extents, [(0, 0), (0, 4), (4, 0), (4, 6)]);
    assert_eq!(
        metainfo.original_path(FileIndex::new(1)),
        Some(vec![&b"a"[..], b"b"])
    );
}

#[test]
fn the_info_hash_is_over_the_bytes_as_they_stand() {
    // Keys out of order and padded numbers: re-encoding would make another dictionary.
    let info = [
        b"d6:pieces20:".as_slice(),
        &[9; 20],
        b"4:name1:x12:piece lengthi0016384e6:lengthi10ee",
    ]
    .concat();
    let torrent = [b"d4:info".as_slice(), &info, b"8:announce7:http://e"].concat();
    let metainfo = parse(torrent).unwrap();
    assert_eq!(metainfo.info_hash(), InfoHash::of_info(&info));
    assert_eq!(metainfo.piece_length(), 16384);
}

#[test]
fn an_info_dictionary_alone_is_a_torrent_without_trackers() {
    let info = info_with(&[]);
    let metainfo = Metainfo::from_info(info.clone().into()).unwrap();
    assert_eq!(metainfo.info_hash(), InfoHash::of_info(&info));
    assert!(metainfo.trackers().is_empty());
    assert_eq!(
        Metainfo::from_info(Bytes::from_static(b"le")),
        Err(MetainfoError::NotADictionary { what: "info" })
    );
}

#[test]
fn what_is_not_a_torrent_is_refused() {
    let bomb = [
        b"d1:a".as_slice(),
        &[b'l'; 1_000_000],
        &[b'e'; 1_000_000],
        b"e",
    ]
    .concat();
    for (torrent, error) in [
        (b"".to_vec(), bencode::Error::UnexpectedEnd { offset: 0 }),
        (
            b"<html>".to_vec(),
            bencode::Error::UnexpectedByte {
                offset: 0,
                byte: b'<',
            },
        ),
        (bomb, bencode::Error::TooDeep { offset: 103 }),
        (
            b"d4:info9999999999999:x".to_vec(),
            bencode::Error::StringTooLong {
                offset: 7,
                length: 9_999_999_999_999,
            },
        ),
        (
            [b"l".as_slice(), &b"0:".repeat(6_000_000), b"e"].concat(),
            bencode::Error::TooManyTokens { offset: 11_999_999 },
        ),
    ] {
        assert_eq!(parse(torrent), Err(MetainfoError::Bencode(error)));
    }
    assert_eq!(
        parse(b"le"),
        Err(MetainfoError::NotADictionary {
            what: "the torrent"
        })
    );
    assert_eq!(
        parse(b"d4:infolee"),
        Err(MetainfoError::NotADictionary { what: "info" })
    );
    assert_eq!(
        parse(b"de"),
        Err(MetainfoError::MissingField { field: "info" })
    );
    let len = limits::MAX_TORRENT_LEN + 1;
    assert_eq!(parse(vec![b'd'; len]), Err(MetainfoError::TooLarge { len }));
}

#[test]
fn a_field_that_repeats_is_refused() {
    let info = info_with(&[]);
    assert_eq!(
        parse(dict(&[("info", &info), ("info", &info)])),
        Err(MetainfoError::DuplicateField {
            field: "info".into()
        })
    );
    let doubled = [&info[..info.len() - 1], b"4:name1:ye"].concat();
    assert_eq!(
        parse(dict(&[("info", &doubled)])),
        Err(MetainfoError::DuplicateField {
            field: "name".into()
        })
    );
    let file = dict(&[("length", b"i1e"), ("length", b"i10e"), ("path", b"l1:ae")]);
    let error = parse_files(&[file]).unwrap_err();
    assert!(matches!(
        error,
        MetainfoError::MalformedFile {
            file: 0,
            fault: EntryFault::Repeated { field: "length" }
        }
    ));
    assert_eq!(
        error.to_string(),
        "the entry of file 1 is malformed: the field \"length\" is there more than once"
    );
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let piece_length = |length| MetainfoError::PieceLength { length };
    let file_length = |length| MetainfoError::FileLength { file: 0, length };
    for (field, value, error) in [
        ("piece length", "0", piece_length(0)),
        ("piece length", "-16384", piece_length(-16384)),
        ("piece length", "536870913", piece_length(536_870_913)),
        (
            "piece length",
            "18446744073709551615",
            piece_length(u64::MAX.into()),
        ),
        ("length", "-1", file_length(-1)),
        ("length", "9223372036854775808", file_length(1 << 63)),
        (
            "length",
            "0",
            MetainfoError::PieceCount {
                expected: 0,
                found: 1,
            },
        ),
        (
            "length",
            "16385",
            MetainfoError::PieceCount {
                expected: 2,
                found: 1,
            },
        ),
        (
            "length",
            "9223372036854775807",
            MetainfoError::PieceCount {
                expected: 1 << 49,
                found: 1,
            },
        ),
    ] {
        let value = format!("i{value}e");
        assert_eq!(parse_with(&[(field, value.as_bytes())]), Err(error));
    }
    assert_eq!(
        parse_files(&[
            file("9223372036854775807", &["a"]),
            file("0", &["b"]),
            file("1", &["c"]),
        ]),
        Err(MetainfoError::TotalLength { file: 2 })
    );
}

#[test]
fn piece_hashes_have_to_fit() {
    assert_eq!(
        parse_with(&[("pieces", &string([0; 19]))]),
        Err(MetainfoError::PieceHashes { len: 19 })
    );
    let count = limits::MAX_PIECES as usize + 1;
    assert_eq!(
        parse_with(&[("pieces", &string(vec![0; count * 20]))]),
        Err(MetainfoError::TooManyPieces { count })
    );
}

#[test]
fn piece_lengths_need_not_be_powers_of_two() {
    let metainfo = parse_with(&[("piece length", b"i7e"), ("pieces", &string([0; 40]))]).unwrap();
    assert_eq!(metainfo.piece_size(PieceIndex::new(0)), Some(7));
    assert_eq!(metainfo.piece_size(PieceIndex::new(1)), Some(3));
}

#[test]
fn pieces_may_be_as_long_as_512_mib() {
    let metainfo = parse_with(&[("piece length", b"i536870912e")]).unwrap();
    assert_eq!(metainfo.piece_length(), 512 << 20);
    let metainfo = parse_with(&[
        ("piece length", b"i536870912e"),
        ("length", b"i536870913e"),
        ("pieces", &string([0; 40])),
    ])
    .unwrap();
    assert_eq!(metainfo.piece_size(PieceIndex::new(0)), Some(512 << 20));
    assert_eq!(metainfo.piece_size(PieceIndex::new(1)), Some(1));
}

#[test]
fn data_without_a_byte_is_a_torrent_without_pieces() {
    let metainfo = parse_with(&[("length", b"i0e"), ("pieces", b"0:")]).unwrap();
    assert_eq!(metainfo.piece_count(), 0);
    assert_eq!(metainfo.piece_size(PieceIndex::new(0)), None);
    assert_eq!(Layout::new(&metainfo).piece_count(), 0);
}

#[test]
fn missing_and_mistyped_fields_are_named() {
    for field in ["name", "piece length", "pieces", "length"] {
        assert_eq!(
            parse_with(&[(field, b"")]),
            Err(MetainfoError::MissingField { field })
        );
    }
    for (field, value, expected) in [
        ("name", &b"i1e"[..], "a string"),
        ("pieces", b"le", "a string"),
        ("pieces", b"i20e", "a string"),
        ("length", b"2:10", INTEGER),
        ("piece length", b"de", INTEGER),
        ("files", b"de", "a list"),
    ] {
        assert_eq!(
            parse_with(&[(field, value)]),
            Err(MetainfoError::WrongType { field, expected }),
            "{field}"
        );
    }
}

#[test]
fn entries_of_the_file_list_are_checked_one_by_one() {
    let good = || file("10", &["good"]);
    let malformed = |fault| MetainfoError::MalformedFile { file: 1, fault };
    let wrong_type = |field, expected| malformed(EntryFault::WrongType { field, expected });
    for (bad, error) in [
        (
            dict(&[("path", b"l1:ae")]),
            malformed(EntryFault::Missing { field: "length" }),
        ),
        (
            dict(&[("length", b"i0e")]),
            MetainfoError::NoPath { file: 1 },
        ),
        (file("0", &[]), MetainfoError::NoPath { file: 1 }),
        (
            file("-5", &["a"]),
            MetainfoError::FileLength {
                file: 1,
                length: -5,
            },
        ),
        (
            file("0", &["a"; 101]),
            MetainfoError::PathTooDeep {
                file: 1,
                depth: 101,
            },
        ),
        (
            file("0", &["y".repeat(240).as_str(); 20]),
            MetainfoError::PathTooLong {
                file: 1,
                len: 2 + 241 * 20 - 1,
            },
        ),
        (b"i1e".to_vec(), malformed(EntryFault::NotADictionary)),
        (
            b"li0el1:aee".to_vec(),
            malformed(EntryFault::NotADictionary),
        ),
        (
            dict(&[("length", b"i0e"), ("path", b"1:a")]),
            wrong_type("path", "a list of strings"),
        ),
        (
            dict(&[("length", b"i0e"), ("path", b"li1ee")]),
            wrong_type("path", "a list of strings"),
        ),
        (
            dict(&[("length", b"1:0"), ("path", b"l1:ae")]),
            wrong_type("length", INTEGER),
        ),
    ] {
        assert_eq!(parse_files(&[good(), bad]), Err(error));
    }
    assert_eq!(parse_files(&[]), Err(MetainfoError::NoFiles));
    assert_eq!(
        parse_with(&[(
            "files",
            &list(vec![file("0", &["a"]); limits::MAX_FILES + 1])
        )]),
        Err(MetainfoError::TooManyFiles)
    );
}

#[test]
fn hostile_paths_stay_below_the_folder() {
    let metainfo = parse_files(&[
        file("1", &["..", "..", "etc", "passwd"]),
        file("1", &["/etc/passwd"]),
        file("1", &["C:\\boot.ini"]),
        file("1", &["a\0b"]),
        file("1", &["readme\u{202e}txt.exe"]),
        file("1", &["NUL"]),
        file("1", &["README", "inner"]),
        file("1", &["readme"]),
        file("1", &["Readme", "INNER"]),
        file("1", &["..."]),
    ])
    .unwrap();
    assert_eq!(
        paths(&metainfo),
        [
            "t/etc/passwd",
            "t/_etc_passwd",
            "t/C__boot.ini",
            "t/a_b",
            "t/readmetxt.exe",
            "t/_NUL",
            "t/README/inner",
            "t/readme.1",
            "t/Readme/INNER.1",
            "t/_",
        ]
    );
    // What web seeds are asked for is not changed.
    assert_eq!(
        metainfo.original_path(FileIndex::new(0)),
        Some(vec![&b".."[..], b"..", b"etc", b"passwd"])
    );
}

#[test]
fn a_name_of_which_nothing_is_left_becomes_the_info_hash() {
    for name in ["", ".", "..", "... .", "\u{200b}"] {
        let metainfo = parse_with(&[("name", &string(name))]).unwrap();
        assert_eq!(metainfo.name(), metainfo.info_hash().to_string());
        assert_eq!(metainfo.original_name(), name.as_bytes());
    }
    let metainfo = parse_with(&[("name", &string("../../x"))]).unwrap();
    assert_eq!(metainfo.name(), ".._.._x");
}

#[test]
fn a_utf8_name_of_which_nothing_is_left_gives_way_to_the_other() {
    for utf8 in [&b"0:"[..], b"2:..", b"3: . ", b"2:\xc3(", b"i1e", b"le"] {
        let metainfo = parse_with(&[("name.utf-8", utf8)]).unwrap();
        assert_eq!(metainfo.name(), "x", "{}", utf8.escape_ascii());
        assert_eq!(metainfo.oddities().len(), 1);
    }
    let metainfo = parse_with(&[("name.utf-8", b"0:"), ("name", b"1:.")]).unwrap();
    assert_eq!(metainfo.name(), metainfo.info_hash().to_string());
    assert_eq!(
        parse_with(&[("name.utf-8", b"0:"), ("name", b"")]),
        Err(MetainfoError::MissingField { field: "name" })
    );
    let file = |utf8: &[u8]| {
        dict(&[
            ("length", b"i10e"),
            ("path", b"l1:a1:be"),
            ("path.utf-8", utf8),
        ])
    };
    for utf8 in [&b"1:c"[..], b"le", b"l0:e", b"l1:c2:..e", b"li1ee", b"de"] {
        let metainfo = parse_files(&[file(utf8)]).unwrap();
        assert_eq!(paths(&metainfo), ["t/a/b"], "{}", utf8.escape_ascii());
        assert_eq!(
            metainfo.original_path(FileIndex::new(0)),
            Some(vec![&b"a"[..], b"b"])
        );
    }
}

fn odd(metainfo: &Metainfo) -> Vec<String> {
    metainfo
        .oddities()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn what_follows_the_torrent_is_ignored_and_told() {
    let torrent = dict(&[("announce", b"8:http://a"), ("info", &info_with(&[]))]);
    let plain = parse(torrent.clone()).unwrap();
    assert!(plain.oddities().is_empty());
    for tail in [
        &b"\n"[..],
        b"\r\n",
        b"\0",
        b"</body></html>",
        // What looks like more of the torrent is none.
        b"8:announce8:http://be",
    ] {
        let metainfo = parse([&torrent, tail].concat()).unwrap();
        let len = tail.len();
        assert_eq!(metainfo.oddities(), [Oddity::TrailingData { len }]);
        assert_eq!(metainfo.info_hash(), plain.info_hash());
        assert_eq!(metainfo.trackers(), [["http://a"]]);
    }
    // Of an info dictionary alone, all of it is hashed.
    let info = [&info_with(&[])[..], b"\n"].concat();
    let offset = info.len() - 1;
    let error = bencode::Error::TrailingData { offset };
    assert_eq!(
        Metainfo::from_info(info.into()),
        Err(MetainfoError::Bencode(error))
    );
}

#[test]
fn anything_but_0_makes_a_torrent_private() {
    for (value, private, oddities) in [
        (&b""[..], false, 0),
        (b"i0e", false, 0),
        (b"i00e", false, 0),
        (b"i1e", true, 0),
        (b"i2e", true, 1),
        (b"i-1e", true, 1),
        (b"0:", true, 1),
        (b"1:0", true, 1),
        (b"1:1", true, 1),
        (b"le", true, 1),
        (b"li0ee", true, 1),
        (b"de", true, 1),
        // Twice, and once set.
        (b"i0e7:privatei1e", true, 1),
        (b"i1e7:privatei0e", true, 1),
    ] {
        let metainfo = parse_with(&[("private", value)]).unwrap();
        assert_eq!(metainfo.is_private(), private, "{}", value.escape_ascii());
        assert_eq!(metainfo.oddities().len(), oddities);
    }
}

#[test]
fn fields_that_are_not_needed_count_as_absent_when_they_are_malformed() {
    for field in ["attr", "source", "meta version", "name.utf-8", "publisher"] {
        for value in [&b"de"[..], b"le", b"ldee"] {
            let metainfo = parse_with(&[(field, value)]).unwrap();
            assert_eq!(metainfo.name(), "x");
            assert_eq!(metainfo.source(), None);
            assert_eq!(
                metainfo.oddities().len(),
                usize::from(field != "publisher"),
                "{field}"
            );
        }
    }
    // One of several files.
    let attr = dict(&[("attr", b"i0e"), ("length", b"i4e"), ("path", b"l1:ae")]);
    let twice = dict(&[
        ("attr", b"1:x"),
        ("attr", b"1:p"),
        ("length", b"i1e"),
        ("path", b"l1:be"),
    ]);
    let metainfo = parse_files(&[attr.clone(), twice, file("1", &["c"]), attr]).unwrap();
    assert!(metainfo.files()[1].is_executable());
    assert!(
        metainfo
            .files()
            .iter()
            .all(|file| file.kind() == FileKind::Data)
    );
    assert_eq!(
        odd(&metainfo),
        [
            "the field \"attr\" of file number 1 and 1 more is not a string; it is ignored",
            "the field \"attr\" of file number 2 is there more than once; the first one counts",
        ]
    );
    // A length beside a list of files is not looked at.
    let files = list([file("10", &["a"])]);
    for length in [&b"3:abc"[..], b"i-1e", b"de"] {
        assert!(parse_with(&[("files", &files), ("length", length)]).is_ok());
    }
}

#[test]
fn fields_beside_the_info_count_as_absent_when_they_are_malformed() {
    const FIELDS: [&str; 9] = [
        "announce",
        "announce-list",
        "comment",
        "comment.utf-8",
        "created by",
        "creation date",
        "httpseeds",
        "nodes",
        "url-list",
    ];
    for field in FIELDS {
        let metainfo = parse_beside(&[(field, b"de")]);
        assert_eq!(odd(&metainfo).len(), 1, "{field}");
        assert!(metainfo.trackers().is_empty() && metainfo.web_seeds().is_empty());
    }
    let metainfo = parse_beside(&[
        ("comment", b"1:a"),
        ("comment", b"1:b"),
        ("url-list", b"0:"),
    ]);
    assert_eq!(metainfo.comment(), Some("a"));
    assert_eq!(
        odd(&metainfo),
        ["the field \"comment\" is there more than once; the first one counts"]
    );
}

#[test]
fn what_is_never_created_needs_no_path() {
    let pad = |path: &[(&str, &[u8])]| {
        dict(&[&[("attr", &b"1:p"[..]), ("length", b"i5e")], path].concat())
    };
    for path in [
        &[][..],
        &[("path", &b"le"[..])],
        &[("path", b"i1e")],
        &[("path", b"4:text")],
        &[("path.utf-8", b"2:\xc3(")],
    ] {
        let metainfo = parse_files(&[pad(path), file("5", &["a"])]).unwrap();
        assert_eq!(metainfo.files()[0].kind(), FileKind::Pad);
        assert_eq!(paths(&metainfo), ["t/.pad/5", "t/a"]);
        assert_eq!(metainfo.original_path(FileIndex::new(0)), Some(vec![]));
        let told = odd(&metainfo);
        assert_eq!(
            told.last().unwrap(),
            "a path is missing where none is needed: file number 1"
        );
    }
    let symlink = dict(&[("attr", b"1:l"), ("length", b"i0e")]);
    let metainfo = parse_files(&[symlink, file("10", &["a"])]).unwrap();
    assert_eq!(metainfo.files()[0].kind(), FileKind::Symlink);
}

#[test]
fn a_symlink_has_no_data_whatever_length_it_has() {
    for length in [
        &b"i3e"[..],
        b"i-1e",
        b"i9223372036854775808e",
        b"1:0",
        b"de",
    ] {
        let symlink = dict(&[("attr", b"1:l"), ("length", length), ("path", b"l1:ae")]);
        let metainfo = parse_files(&[file("4", &["b"]), symlink, file("6", &["c"])]).unwrap();
        let extents: Vec<_> = metainfo
            .files()
            .iter()
            .map(|file| (file.offset(), file.length()))
            .collect();
        assert_eq!(extents, [(0, 4), (4, 0), (4, 6)]);
        assert_eq!(
            odd(&metainfo),
            ["a symlink has a length, which is ignored: file number 2"]
        );
    }
}

#[test]
fn utf8_names_are_preferred_where_they_are_valid() {
    let both = |utf8: &[u8]| {
        dict(&[
            ("length", b"i5e"),
            ("path", b"l4:caf\xe9e"),
            ("path.utf-8", &list([string(utf8)])),
        ])
    };
    let metainfo = parse_files(&[both("café".as_bytes()), both(b"\xff")]).unwrap();
    assert_eq!(paths(&metainfo), ["t/café", "t/caf\u{fffd}"]);
    assert_eq!(
        metainfo.original_path(FileIndex::new(1)),
        Some(vec![&b"caf\xe9"[..]])
    );
    let metainfo = parse_with(&[("name", b"1:\xe9"), ("name.utf-8", "2:é".as_bytes())]).unwrap();
    assert_eq!(metainfo.name(), "é");
}

#[test]
fn pad_files_and_symlinks_are_marked_and_in_nobodys_way() {
    let entry = |attr: &str, name: &str, length: &str| {
        dict(&[
            ("attr", &string(attr)),
            ("length", format!("i{length}e").as_bytes()),
            ("path", &path(&[name])),
            ("symlink path", &path(&["..", "outside"])),
        ])
    };
    let without_length = dict(&[("attr", b"1:l"), ("path", b"l1:ae")]);
    let metainfo = parse_files(&[
        entry("l", "a", "0"),
        entry("p", "a", "4"),
        file("5", &["a"]),
        entry("px", "a", "1"),
        without_length,
    ])
    .unwrap();
    let files: Vec<_> = metainfo
        .files()
        .iter()
        .map(|file| (file.kind(), file.path().as_str(), file.length()))
        .collect();
    assert_eq!(
        files,
        [
            (FileKind::Symlink, "a", 0),
            (FileKind::Pad, "a", 4),
            (FileKind::Data, "a", 5),
            (FileKind::Pad, "a", 1),
            (FileKind::Symlink, "a", 0),
        ]
    );
    let kinds: Vec<_> = Layout::new(&metainfo)
        .spans(PieceIndex::new(0), 0, 10)
        .unwrap()
        .map(|span| (span.kind, span.range))
        .collect();
    assert_eq!(
        kinds,
        [
            (FileKind::Pad, 0..4),
            (FileKind::Data, 4..9),
            (FileKind::Pad, 9..10)
        ]
    );
}

#[test]
fn torrents_of_version_2_alone_are_told_from_broken_ones() {
    let v2 = [("pieces", &b""[..]), ("meta version", b"i2e")];
    assert_eq!(
        parse_with(&v2),
        Err(MetainfoError::UnsupportedVersion { version: 2 })
    );
    let hybrid = parse_with(&[("meta version", b"i2e"), ("file tree", b"de")]).unwrap();
    assert_eq!(hybrid.piece_count(), 1);
}

#[test]
fn tiers_are_cleaned() {
    let tiers = list([
        list([
            string(" http://a/announce \n"),
            string(""),
            string("udp://b:1"),
        ]),
        list::<&[u8]>([]),
        list([string("http://a/announce"), b"i5e".to_vec()]),
        list([
            string("http://c/\0"),
            string(b"http://\xff"),
            string("wss://d"),
        ]),
        string("http://flat/announce"),
        b"i1e".to_vec(),
    ]);
    let metainfo = parse_beside(&[("announce", b"7:ignored"), ("announce-list", &tiers)]);
    let expected: [&[&str]; 3] = [
        &["http://a/announce", "udp://b:1"],
        &["wss://d"],
        &["http://flat/announce"],
    ];
    assert_eq!(metainfo.trackers(), expected);
}

#[test]
fn the_one_tracker_counts_where_the_list_has_none() {
    for announce_list in [&b"le"[..], b"llelee", b"ll0:ee", b"i5e", b"4:text"] {
        let metainfo = parse_beside(&[
            ("announce", b"9: http://a"),
            ("announce-list", announce_list),
        ]);
        assert_eq!(metainfo.trackers(), [["http://a"]]);
    }
    assert!(parse_beside(&[("announce", b"i1e")]).trackers().is_empty());
    assert!(parse_beside(&[]).trackers().is_empty());
}

#[test]
fn lists_beside_the_info_are_bounded() {
    let urls: Vec<_> = (0..2000).map(|i| string(format!("http://a/{i}"))).collect();
    let metainfo = parse_beside(&[
        ("announce-list", &list(urls.iter().map(|url| list([url])))),
        ("httpseeds", &list(&urls)),
        (
            "nodes",
            &list((1..2000).map(|port| format!("l1:hi{port}ee"))),
        ),
        ("url-list", &list(&urls)),
        ("comment", &string("x".repeat(100_000))),
    ]);
    assert_eq!(metainfo.trackers().len(), limits::MAX_TRACKERS);
    assert_eq!(metainfo.web_seeds().len(), limits::MAX_WEB_SEEDS);
    assert_eq!(metainfo.http_seeds().len(), limits::MAX_WEB_SEEDS);
    assert_eq!(metainfo.nodes().len(), limits::MAX_NODES);
    assert_eq!(metainfo.comment().unwrap().len(), limits::MAX_TEXT_LEN);
    let long = string("x".repeat(limits::MAX_URL_LEN + 1));
    assert!(parse_beside(&[("url-list", &long)]).web_seeds().is_empty());
}

#[test]
fn web_seeds_are_one_or_many_or_none() {
    for (value, expected) in [
        (&b"8:http://a"[..], &["http://a"][..]),
        (
            b"l8:http://a0:8:http://b8:http://ae",
            &["http://a", "http://b"],
        ),
        (b"0:", &[]),
        (b"le", &[]),
        (b"i1e", &[]),
        (b"de", &[]),
    ] {
        let metainfo = parse_beside(&[("url-list", value), ("httpseeds", value)]);
        assert_eq!(metainfo.web_seeds(), expected);
        assert_eq!(metainfo.http_seeds(), expected);
    }
}

#[test]
fn nodes_that_cannot_be_reached_are_dropped() {
    let metainfo = parse_beside(&[(
        "nodes",
        b"l l4:hosti6881ee l4:hosti0ee l4:hosti65536ee l4:hosti-1ee l0:i1ee li1ei1ee l4:hoste i1ee"
            .split(|&byte| byte == b' ')
            .collect::<Vec<_>>()
            .concat()
            .as_slice(),
    )]);
    let host = "host".into();
    assert_eq!(metainfo.nodes(), [Node { host, port: 6881 }]);
}

#[test]
fn unusable_texts_and_dates_are_left_out() {
    let metainfo = parse_beside(&[
        ("comment", b"3:\xff\xff\xff"),
        ("comment.utf-8", "2:é".as_bytes()),
        ("created by", b"i1e"),
        ("creation date", b"i-1e"),
    ]);
    assert_eq!(metainfo.comment(), Some("é"));
    assert_eq!(metainfo.created_by(), None);
    assert_eq!(metainfo.creation_date(), None);
}

#[test]
fn errors_say_what_and_where() {
    let error = parse_with(&[("length", b"i16385e")]).unwrap_err();
    assert_eq!(error.to_string(), "hashes of 1 pieces, but the data has 2");
    let error = parse_files(&[file("-5", &["a"])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the length of file 1, -5, is out of range"
    );
}

#[test]
fn a_torrent_can_move_between_threads() {
    fn is_send<T: Send + Sync + 'static>() {}
    is_send::<Metainfo>();
    is_send::<MetainfoError>();
    is_send::<Layout>();
    is_send::<Box<dyn core::error::Error + Send + Sync>>();
}

fn sample() -> Vec<u8> {
    let files = ["a/b", "a/c", "d"].map(|path| SourceFile {
        path: path.split('/').map(Into::into).collect(),
        length: 30_000,
    });
    let creator = Creator::multi_file("sample", files)
        .with_piece_length(16384)
        .with_tracker_tier(["http://a/announce", "udp://b:1"])
        .with_web_seed("http://w/")
        .with_creation_date(1);
    creator.finish(&[5; 120]).unwrap().torrent.to_vec()
}

/// Numbers past 64 bits, to either side.
const WIDE: [&str; 4] = [
    "i18446744073709551616e",
    "i-9223372036854775808e",
    "i99999999999999999999999999999999999999999999999999999999999999999999999999999e",
    "i-00000000000000000000000000000000099999999999999999999e",
];

#[test]
fn a_number_of_any_size_costs_nothing_where_none_is_needed() {
    let plain = InfoHash::of_info(&info_with(&[]));
    for wide in WIDE {
        for field in [
            "creation date",
            "announce",
            "nodes",
            "url-list",
            "comment",
            "x",
        ] {
            let metainfo = parse_beside(&[(field, wide.as_bytes())]);
            assert_eq!(metainfo.info_hash(), plain, "{field} {wide}");
            assert_eq!(metainfo.creation_date(), None);
        }
        for field in [
            "source",
            "meta version",
            "attr",
            "md5sum",
            "name.utf-8",
            "x",
        ] {
            let nested = dict(&[("a", &list([wide, "1:x"]))]);
            for value in [wide.as_bytes(), &nested] {
                let info = info_with(&[(field, value)]);
                let metainfo = parse(dict(&[("info", &info)])).unwrap();
                assert_eq!(
                    metainfo.info_hash(),
                    InfoHash::of_info(&info),
                    "{field} {wide}"
                );
                assert_eq!(metainfo.info_bytes(), &info);
                assert_eq!(metainfo.name(), "x");
                assert_eq!(Metainfo::from_info(info.into()).unwrap().source(), None);
            }
        }
        let metainfo = parse_with(&[("private", wide.as_bytes())]).unwrap();
        assert!(metainfo.is_private());
    }
}

#[test]
fn a_number_past_64_bits_that_is_needed_is_named() {
    for wide in WIDE {
        for field in ["length", "piece length"] {
            let error = parse_with(&[(field, wide.as_bytes())]).unwrap_err();
            let words = format!("the field {field:?} is not an integer of 64 bits");
            assert_eq!(error.to_string(), words, "{wide}");
        }
        let entry = dict(&[("length", wide.as_bytes()), ("path", &path(&["a"]))]);
        let error = parse_files(&[entry]).unwrap_err().to_string();
        assert!(
            error.contains("\"length\" is not an integer of 64 bits"),
            "{error}"
        );
    }
}

quickcheck! {
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) -> bool {
        parse(bytes.clone()).is_err() && Metainfo::from_info(bytes.into()).is_err()
    }

    fn mutated_torrents_never_panic(mutations: Vec<(u16, u8, u8)>) -> bool {
        let mut torrent = sample();
        for (at, byte, how) in mutations.into_iter().take(8) {
            let at = usize::from(at) % torrent.len();
            match how % 4 {
                0 => torrent[at] = byte,
                1 => torrent[at] = b"0123456789:delix-"[usize::from(byte) % 17],
                2 => torrent.insert(at, byte),
                _ => {
                    torrent.remove(at);
                }
            }
        }
        // What still parses has to be consistent.
        let Ok(metainfo) = parse(torrent) else {
            return true;
        };
        let layout = Layout::new(&metainfo);
        let total: u64 = (0..metainfo.piece_count())
            .map(|piece| u64::from(metainfo.piece_size(PieceIndex::new(piece)).unwrap()))
            .sum();
        total == metainfo.total_length()
            && layout.total_length() == total
            && paths(&metainfo)
                .into_iter()
                .all(|path| SafePath::try_from(path).is_ok())
            && (0..layout.file_count())
                .all(|file| metainfo.original_path(FileIndex::new(file)).is_some())
    }

    fn a_cut_torrent_is_refused(at: usize) -> bool {
        let torrent = sample();
        let at = at % torrent.len();
        parse(&torrent[..at]).is_err()
    }

    fn values_of_any_type_anywhere_never_panic(pick: u8, key: u8) -> bool {
        const KEYS: [&str; 12] = [
            "name", "name.utf-8", "piece length", "pieces", "length", "files", "attr",
            "private", "source", "meta version", "path", "symlink path",
        ];
        const NEEDED: [&str; 5] = ["name", "piece length", "pieces", "length", "files"];
        const VALUES: [&[u8]; 8] = [
            b"i-1e", b"i18446744073709551615e", b"0:", b"le", b"de", b"lldeee", b"ld6:lengthdeee",
            b"d0:0:e",
        ];
        let key = KEYS[usize::from(key) % KEYS.len()];
        let value = VALUES[usize::from(pick) % VALUES.len()];
        let torrent = dict(&[("info", &info_with(&[(key, value)]))]);
        let outcome = parse(torrent.clone());
        match outcome {
            Ok(_) => bt_bencode::from_slice::<Value>(&torrent).is_ok(),
            // A link is another kind of file, which has no data.
            Err(_) => NEEDED.contains(&key) || key == "attr",
        }
    }
}
