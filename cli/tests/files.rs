//! The commands that work on files alone, as a user calls them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn anabranch(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command with something on its standard input.
    fn fed(&self, input: &[u8], args: &[&str]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What is refused before its end is not read.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.anabranch(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must end with this exit code.
    fn ends(&self, code: i32, args: &[&str]) -> Output {
        let output = self.anabranch(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            err(&output)
        );
        output
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A folder of some files, the torrent of which has more than one piece.
    fn album(&self) {
        self.write("album/one.bin", vec![1; 40_000]);
        self.write("album/sub/two.bin", vec![2; 70_000]);
        self.write("album/sub/empty", "");
        self.write("album/.hidden", "hidden");
    }
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_torrent_is_made_shown_and_verified() {
    let work = Work::new();
    work.album();
    let told = work.ok(&[
        "create",
        "album",
        "--piece-length",
        "16KiB",
        "--tracker",
        "http://t.example/announce",
        "--tracker",
        "udp://u.example:1",
        "--private",
        "--comment",
        "hello",
        "--web-seed",
        "http://w.example/",
    ]);
    assert!(told.starts_with("album.torrent: "), "{told}");
    assert_eq!(names(work.path()), ["album", "album.torrent"]);

    let shown: Value =
        serde_json::from_str(&work.ok(&["show", "album.torrent", "--json"])).unwrap();
    assert_eq!(shown["name"], "album");
    assert_eq!(shown["size"], 110_006);
    assert_eq!(shown["pieces"], 7);
    assert_eq!(shown["piece_length"], 16_384);
    assert_eq!(shown["private"], true);
    assert_eq!(shown["comment"], "hello");
    assert_eq!(shown["web_seeds"][0], "http://w.example/");
    assert_eq!(shown["trackers"][0][0], "http://t.example/announce");
    assert_eq!(shown["trackers"][1][0], "udp://u.example:1");
    let files: Vec<_> = shown["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["path"])
        .collect();
    assert_eq!(
        files,
        [
            "album/.hidden",
            "album/one.bin",
            "album/sub/empty",
            "album/sub/two.bin"
        ]
    );
    let text = work.ok(&["show", "album.torrent"]);
    assert!(
        text.contains(shown["info_hash"].as_str().unwrap()),
        "{text}"
    );

    let verified = work.ok(&["verify", "album.torrent", "--dir", "."]);
    assert!(verified.contains("complete"), "{verified}");
}

#[cfg(unix)]
#[test]
fn a_torrent_is_written_to_regular_files_alone_and_modes_are_kept() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let work = Work::new();
    work.write("data", "content");
    let at = |name: &str| work.path().join(name);
    let made = Command::new("mkfifo").arg(at("fifo")).status();
    assert!(made.unwrap().success());
    symlink("nowhere", at("dangling")).unwrap();
    symlink("fifo", at("to-fifo")).unwrap();
    for target in ["fifo", "dangling", "to-fifo", "/dev/null", "."] {
        for force in [&[][..], &["--force"]] {
            let args = [&["create", "data", "-o", target], force].concat();
            let told = err(&work.ends(1, &args));
            assert!(told.contains("--output"), "{target}: {told}");
        }
    }
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
    assert!(at("dangling").is_symlink() && at("to-fifo").is_symlink());
    assert!(!fs::metadata("/dev/null").unwrap().is_file());

    work.write("old", "something else");
    fs::set_permissions(at("old"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("old", at("link")).unwrap();
    work.ends(1, &["create", "data", "-o", "link"]);
    work.ok(&["create", "data", "-o", "link", "--force"]);
    assert!(at("link").is_symlink());
    assert_eq!(
        fs::metadata(at("old")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    work.ok(&["verify", "old", "--dir", "."]);
}

#[test]
fn a_torrent_is_never_part_of_its_own_data() {
    let work = Work::new();
    work.write("a", "content");
    let hash = |output: &Output| last_json(output)["info_hash"].clone();
    let args = ["create", ".", "-o", "x.torrent", "--force", "--json"];
    let first = work.ends(0, &args);
    let second = work.ends(0, &args);
    assert_eq!(hash(&first), hash(&second));
    assert_eq!(last_json(&second)["files"], 1);
    let told = err(&work.ends(2, &["create", "a", "-o", "a", "--force"]));
    assert!(told.contains("would be overwritten"), "{told}");
    assert_eq!(
        fs::read_to_string(work.path().join("a")).unwrap(),
        "content"
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let work = Work::new();
    work.album();
    work.ok(&["create", "album", "--piece-length", "16KiB"]);
    work.write("album/one.bin", vec![9; 40_000]);
    fs::remove_file(work.path().join("album/sub/empty")).unwrap();

    let output = work.ends(3, &["verify", "album.torrent", "--dir", "."]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("damaged     album/one.bin: 3 of 3 pieces"),
        "{text}"
    );
    assert!(text.contains("missing     album/sub/empty\n"), "{text}");
    assert!(text.contains("4 of 7 pieces match (57%)"), "{text}");

    let verdict = last_json(&work.ends(3, &["verify", "album.torrent", "--dir", ".", "--json"]));
    assert_eq!(verdict["event"], "verified");
    assert_eq!(verdict["complete"], false);
    assert_eq!(verdict["pieces_good"], 4);
    let faults: Vec<_> = verdict["bad_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            (
                file["path"].as_str().unwrap(),
                file["fault"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        faults,
        [
            // Shares the first piece with the one that is damaged.
            ("album/.hidden", "damaged"),
            ("album/one.bin", "damaged"),
            ("album/sub/empty", "missing"),
            ("album/sub/two.bin", "damaged"),
        ]
    );
}

#[test]
fn missing_and_longer_files_are_told_apart() {
    let work = Work::new();
    work.album();
    work.ok(&["create", "album", "--piece-length", "16KiB"]);
    fs::remove_file(work.path().join("album/one.bin")).unwrap();
    work.write("album/.hidden", "hidden, and longer");
    let verdict = last_json(&work.ends(3, &["verify", "album.torrent", "--dir", ".", "--json"]));
    let faults: Vec<_> = verdict["bad_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["fault"].as_str().unwrap())
        .collect();
    assert_eq!(faults, ["wrong_length", "missing", "unverified"]);
    assert_eq!(verdict["bad_files"][0]["found"], 18);
}

#[test]
fn the_same_input_gives_the_same_torrent() {
    let work = Work::new();
    work.album();
    work.ok(&["create", "album", "-o", "1.torrent", "--no-date"]);
    work.ok(&["create", "album/", "-o", "2.torrent", "--no-date"]);
    let read = |name| fs::read(work.path().join(name)).unwrap();
    assert_eq!(read("1.torrent"), read("2.torrent"));
    assert!(read("1.torrent").starts_with(b"d10:created by"));
}

#[test]
fn a_torrent_is_not_overwritten_unless_told_so() {
    let work = Work::new();
    work.write("file", "content");
    work.write("file.torrent", "precious");
    let output = work.ends(1, &["create", "file"]);
    assert!(err(&output).contains("--force"), "{}", err(&output));
    assert_eq!(
        fs::read(work.path().join("file.torrent")).unwrap(),
        b"precious"
    );
    work.ok(&["create", "file", "--force"]);
    assert!(work.ok(&["show", "file.torrent"]).contains("7 B"));
    assert_eq!(names(work.path()), ["file", "file.torrent"]);
}

#[test]
fn a_torrent_that_lies_in_its_own_folder_is_no_part_of_itself() {
    let work = Work::new();
    work.album();
    let create = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["create", "."])
            .args(args)
            .current_dir(work.path().join("album"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let shown = work.ok(&["show", "album/album.torrent", "--json"]);
        serde_json::from_str::<Value>(&shown).unwrap()
    };
    let first = create(&[]);
    assert_eq!(first["files"].as_array().unwrap().len(), 4);
    for args in [
        &["--force"][..],
        &["--force", "-o", "album.torrent"],
        &["--force", "-o", "../album/sub/../album.torrent"],
    ] {
        assert_eq!(create(args)["info_hash"], first["info_hash"], "{args:?}");
    }
    let args = ["create", "album/one.bin", "--force", "-o", "album/one.bin"];
    let output = work.ends(2, &args);
    assert!(err(&output).contains("overwritten"), "{}", err(&output));
    let one = fs::read(work.path().join("album/one.bin")).unwrap();
    assert_eq!(one, vec![1; 40_000]);
}

#[test]
fn standard_input_and_output_stand_for_torrent_files() {
    let work = Work::new();
    work.album();
    let made = work.ends(0, &["create", "album", "-o", "-", "--no-date"]);
    assert!(made.stdout.starts_with(b"d10:created by"));
    assert!(err(&made).contains("standard output: "), "{}", err(&made));
    assert_eq!(names(work.path()), ["album"]);
    work.write("album.torrent", &made.stdout);
    let expected = work.ok(&["show", "album.torrent"]);
    let shown = work.fed(&made.stdout, &["show", "-"]);
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), expected);
    let verified = work.fed(&made.stdout, &["verify", "-", "--dir", "."]);
    assert_eq!(verified.status.code(), Some(0), "{}", err(&verified));
    let link = work.fed(&made.stdout, &["magnet", "-"]);
    assert!(link.stdout.starts_with(b"magnet:?xt="));

    let nothing = work.fed(b"", &["show", "-"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(err(&nothing).contains("empty"), "{}", err(&nothing));
    let much = work.fed(&vec![b'd'; 33 << 20], &["show", "-"]);
    assert_eq!(much.status.code(), Some(1));
    assert!(err(&much).contains("more than 32 MiB"), "{}", err(&much));
    let output = work.ends(2, &["create", "album", "-o", "-", "--json"]);
    let message = last_json(&output)["message"].to_string();
    assert!(message.contains("--json"), "{message}");
}

#[test]
fn the_date_of_a_torrent_can_be_given_by_the_environment() {
    let work = Work::new();
    work.album();
    let create = |epoch: &str, args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(["create", "album", "--force"])
            .args(args)
            .env("SOURCE_DATE_EPOCH", epoch)
            .current_dir(work.path())
            .output()
            .unwrap()
    };
    let made = || fs::read(work.path().join("album.torrent")).unwrap();
    assert!(create("1700000000", &[]).status.success());
    let text = b"13:creation datei1700000000e";
    assert!(made().windows(text.len()).any(|part| part == text));
    assert!(create("1700000000", &["--no-date"]).status.success());
    assert!(!made().windows(text.len()).any(|part| part == text));
    let output = create("today", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("SOURCE_DATE_EPOCH"),
        "{}",
        err(&output)
    );
}

#[test]
fn trackers_with_a_comma_between_them_are_one_tier() {
    let work = Work::new();
    work.album();
    let args = [
        "create",
        "album",
        "-t",
        "http://a/x,y,udp://b:1",
        "-t",
        "http://c/",
    ];
    work.ok(&args);
    let shown: Value =
        serde_json::from_str(&work.ok(&["show", "album.torrent", "--json"])).unwrap();
    assert_eq!(
        shown["trackers"],
        serde_json::json!([["http://a/x,y", "udp://b:1"], ["http://c/"]])
    );
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_a_path() {
    use std::os::unix::ffi::OsStrExt as _;
    let work = Work::new();
    let name = OsStr::from_bytes(b"caf\xe9");
    fs::write(work.path().join(name), "content").unwrap();
    let run = |args: &[&OsStr]| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
            .args(args)
            .current_dir(work.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", err(&output));
        output.stdout
    };
    run(&["create".as_ref(), name]);
    let torrent = OsStr::from_bytes(b"caf\xe9.torrent");
    let shown = run(&["show".as_ref(), torrent]);
    assert!(String::from_utf8(shown).unwrap().contains("7 bytes"));
    assert!(run(&["magnet".as_ref(), torrent]).starts_with(b"magnet:?"));
}

/// Serves files under fixed names on loopback, and says where.
fn serve(torrent: Vec<u8>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            let mut line = String::new();
            reader.read_line(&mut request).unwrap_or(0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let path = request.split(' ').nth(1).unwrap_or("");
            let html = b"\n<!DOCTYPE html><p>Log in first".to_vec();
            let (status, location, body) = match path {
                "/a.torrent?key=1" => ("200 OK", "", torrent.clone()),
                "/moved" => ("302 Found", "Location: /a.torrent?key=1\r\n", Vec::new()),
                "/circle" => ("302 Found", "Location: /circle\r\n", Vec::new()),
                "/page" => ("200 OK", "", html),
                "/large" => ("200 OK", "", vec![b'd'; 33 << 20]),
                _ => ("404 Not Found", "", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\n{location}Connection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = reader.into_inner();
            // Who has seen enough closes.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_torrent_is_fetched_from_the_web_on_every_runtime() {
    let work = Work::new();
    work.album();
    work.ok(&["create", "album"]);
    let web = serve(fs::read(work.path().join("album.torrent")).unwrap());
    let expected = work.ok(&["show", "album.torrent"]);
    for runtime in ["smol", "tokio"] {
        let show =
            |path: &str| work.anabranch(&["show", &format!("{web}{path}"), "--runtime", runtime]);
        for path in ["/a.torrent?key=1", "/moved"] {
            let output = show(path);
            assert_eq!(output.status.code(), Some(0), "{}", err(&output));
            assert!(err(&output).starts_with("fetching http://"));
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        }
        for (path, says) in [
            ("/missing", "status 404: there is no such file"),
            ("/circle", "more than 5 redirects"),
            ("/page", "it is a web page"),
            ("/large", "larger than 33554432 bytes"),
        ] {
            let output = show(path);
            assert_eq!(output.status.code(), Some(1), "{path} on {runtime}");
            assert!(err(&output).contains(says), "{path}: {}", err(&output));
            assert!(err(&output).contains("hint: "), "{}", err(&output));
        }
    }
    let output = work.ends(0, &["verify", &format!("{web}/moved"), "--dir", "."]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("complete")
    );
    let output = work.ends(1, &["show", "http://127.0.0.1:1/a.torrent"]);
    assert!(err(&output).contains("cannot fetch http://127.0.0.1:1/"));
}

#[test]
fn what_is_odd_about_a_torrent_is_shown() {
    let work = Work::new();
    work.write(
        "odd.torrent",
        b"d4:infod5:filesld4:attri1e6:lengthi1e4:pathl1:aeed4:attr1:l6:lengthi5e4:pathl1:beee\
          4:name1:t12:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAA7:private1:1ee</html>\r\n",
    );
    let text = work.ok(&["show", "odd.torrent"]);
    for line in [
        "private       yes",
        "warning       9 bytes follow the end of the torrent; they are ignored",
        "warning       the field \"attr\" of file number 1 is not a string; it is ignored",
        "warning       a symlink has a length, which is ignored: file number 2",
        "warning       the field \"private\" is neither 0 nor 1; it counts as set",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    let shown: Value = serde_json::from_str(&work.ok(&["show", "odd.torrent", "--json"])).unwrap();
    assert_eq!(shown["warnings"].as_array().unwrap().len(), 4);
}

#[test]
fn progress_and_results_are_json_when_asked_for() {
    let work = Work::new();
    work.write("file", "content");
    let output = work.ends(0, &["create", "file", "--json"]);
    let created = last_json(&output);
    assert_eq!(created["event"], "created");
    assert_eq!(created["path"], "file.torrent");
    assert_eq!(created["info_hash"].as_str().unwrap().len(), 40);
    let failed = last_json(&work.ends(1, &["create", "file", "--json"]));
    assert_eq!(failed["event"], "error");
    assert_eq!(failed["code"], 1);
    assert!(failed["advice"].as_str().unwrap().contains("--force"));
}

#[cfg(unix)]
#[test]
fn folders_in_circles_and_empty_ones_are_refused() {
    let work = Work::new();
    work.write("loop/file", "x");
    std::os::unix::fs::symlink(".", work.path().join("loop/again")).unwrap();
    let output = work.ends(1, &["create", "loop"]);
    assert!(err(&output).contains("leads back"), "{}", err(&output));
    fs::create_dir(work.path().join("empty")).unwrap();
    let output = work.ends(1, &["create", "empty"]);
    assert!(err(&output).contains("no file"), "{}", err(&output));
    assert_eq!(names(work.path()), ["empty", "loop"]);
}

#[test]
fn what_is_no_torrent_is_refused_and_named() {
    let work = Work::new();
    work.write("noise", [0xff; 1000]);
    work.write("bomb", "l".repeat(1 << 20));
    work.write(
        "negative",
        "d4:infod6:lengthi-5e4:name1:x12:piece lengthi16384e6:pieces0:ee",
    );
    work.write("empty", "");
    work.write("page", "\r\n<html>");
    work.write("link", format!("magnet:?xt=urn:btih:{}\n", "0".repeat(40)));
    work.write("odd-link", "magnet:?xt=urn:btih:0\n");
    work.write("film", "");
    let film = fs::File::options()
        .write(true)
        .open(work.path().join("film"));
    film.unwrap().set_len(200 << 20).unwrap();
    work.write("v2", "d4:infod4:name1:x12:meta versioni2eee");
    work.write(
        "entry",
        "d4:infod5:filesld6:length1:14:pathl1:aeee4:name1:x12:piece lengthi16384e6:pieces0:ee",
    );
    for (name, says) in [
        ("page", "web page"),
        ("odd-link", "cannot be used: "),
        (
            "film",
            "it has 200.0 MiB, and torrent files have 32 MiB at most",
        ),
        ("v2", "version 2 alone"),
        ("entry", "the field \"length\" is not an integer"),
    ] {
        let output = work.ends(1, &["show", name]);
        assert!(err(&output).contains(says), "{}", err(&output));
        assert!(!err(&output).contains("invalid"), "{}", err(&output));
    }
    let output = work.ends(1, &["verify", "link"]);
    assert!(
        err(&output).contains("holds a magnet link"),
        "{}",
        err(&output)
    );
    for name in ["noise", "bomb", "negative", "empty", "absent", "film"] {
        for args in [&["show", name][..], &["verify", name, "--dir", "."]] {
            let output = work.ends(1, args);
            assert!(err(&output).starts_with("error: "), "{}", err(&output));
            assert!(err(&output).contains(name), "{}", err(&output));
            assert!(err(&output).contains("hint: "), "{}", err(&output));
        }
    }
}

/// What is put into files: its name, its bytes, and what is said of it.
fn unusable() -> Vec<(&'static str, Vec<u8>, String)> {
    const AGAIN: &str =
        "get it again from where it came from; this one is damaged, or was made wrong";
    const NONE: &str = "give the .torrent file, and not what it was made of";
    const VERSION_2: &str = "take one of version 1, or a hybrid, from where it came from";
    let good = "d8:announce3:abc4:infod6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAAee";
    let info = |inside: &str| format!("d4:infod{inside}ee");
    let rest = "12:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAA";
    let fields = "4:name1:x12:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAA";
    let entry = |entry: &str| info(&format!("5:filesl{entry}e{fields}"));
    let none = |hint: &str| format!("NAME is no torrent file\n  hint: {hint}");
    let damaged = |place: &str| format!("NAME is damaged: {place}\n  hint: {AGAIN}");
    let odd = |why: &str| format!("NAME is not a usable torrent: {why}\n  hint: {AGAIN}");
    let text = |name, text: &str, says| (name, text.as_bytes().to_vec(), says);
    let bytes = |name, bytes: &[u8], says| (name, bytes.to_vec(), says);
    vec![
        text("empty", "", none("it is empty; fetch it again")),
        text("blank", " \n", none("it is empty; fetch it again")),
        text("words", "hello", none(NONE)),
        text("list", "le", none(NONE)),
        text("integer", "i5e", none(NONE)),
        text("string", "5:hello", none(NONE)),
        text("bomb", &"l".repeat(100_000), none(NONE)),
        text(
            "page",
            "\r\n<html>",
            none(
                "it is a web page, which may say why; look at the address in a browser, and save the .torrent file there",
            ),
        ),
        bytes(
            "gzip",
            b"\x1f\x8b\x08",
            none("it is packed with gzip; unpack it first (gunzip)"),
        ),
        bytes(
            "zip",
            b"PK\x03\x04",
            none("it is a zip archive; unpack it first (unzip)"),
        ),
        bytes(
            "xz",
            b"\xfd7zXZ\0",
            none("it is packed with xz; unpack it first (unxz)"),
        ),
        bytes(
            "zstd",
            b"\x28\xb5\x2f\xfd",
            none("it is packed with zstd; unpack it first (unzstd)"),
        ),
        bytes(
            "bzip2",
            b"BZh9",
            none("it is packed with bzip2; unpack it first (bunzip2)"),
        ),
        text(
            "cut-1",
            &good[..1],
            damaged("the bencoded data ends too early, at byte 1"),
        ),
        text(
            "cut-5",
            &good[..5],
            damaged("the string at byte 1 claims 8 bytes, more than there are"),
        ),
        text(
            "cut-11",
            &good[..11],
            damaged("the bencoded data ends too early, at byte 11"),
        ),
        text(
            "cut-33",
            &good[..33],
            damaged("the bencoded data ends too early, at byte 33"),
        ),
        text(
            "cut-end",
            &good[..good.len() - 1],
            damaged("the bencoded data ends too early, at byte 97"),
        ),
        text(
            "deep",
            &"d1:a".repeat(10_000),
            damaged("nested too deeply at byte 400"),
        ),
        text(
            "digits",
            "d4:infod6:lengthi5xeee",
            damaged("malformed integer at byte 16"),
        ),
        text(
            "length",
            "d4x:infoi5ee",
            damaged("malformed string length at byte 1"),
        ),
        text(
            "key",
            "di5e4:infoe",
            damaged("the dictionary key at byte 1 is not a string"),
        ),
        text(
            "half",
            "d4:infoe",
            damaged("the dictionary that ends at byte 7 lacks its last value"),
        ),
        text("none", "de", odd("the field \"info\" is missing")),
        text("info", "d4:infoi5ee", odd("info is not a dictionary")),
        text(
            "nameless",
            &info(&format!("6:lengthi5e{rest}")),
            odd("the field \"name\" is missing"),
        ),
        text(
            "name",
            &info(&format!("6:lengthi5e4:namei5e{rest}")),
            odd("the field \"name\" is not a string"),
        ),
        text(
            "type",
            &info(&format!("6:length1:5{fields}")),
            odd("the field \"length\" is not an integer of 64 bits"),
        ),
        text(
            "negative",
            &info(&format!("6:lengthi-5e{fields}")),
            odd("the length of file 1, -5, is out of range"),
        ),
        text(
            "pieces",
            &info(&format!("6:lengthi50000e{fields}")),
            odd("hashes of 1 pieces, but the data has 4"),
        ),
        text("no-files", &entry(""), odd("the torrent has no files")),
        text(
            "no-path",
            &entry("d6:lengthi1ee"),
            odd("file 1 has no path"),
        ),
        text(
            "entry",
            &entry("d6:length1:14:pathl1:aee"),
            odd(
                "the entry of file 1 is malformed: the field \"length\" is not an integer of 64 bits",
            ),
        ),
        text(
            "v2",
            "d4:infod4:name1:x12:meta versioni2eee",
            format!(
                "NAME cannot be used: it is a torrent of version 2 alone, which is not supported yet\n  hint: {VERSION_2}"
            ),
        ),
    ]
}

#[test]
fn every_file_that_is_no_torrent_is_told_in_the_same_words_by_all_commands() {
    let work = Work::new();
    for (name, bytes, says) in unusable() {
        let file = format!("{name}.torrent");
        work.write(&file, bytes);
        let expected = format!("error: {}\n", says.replace("NAME", &file));
        for command in ["show", "magnet", "verify", "seed", "download"] {
            let output = work.ends(1, &[command, &file]);
            assert_eq!(err(&output), expected, "{command}");
            assert!(output.stdout.is_empty(), "{command}");
        }
    }
    fs::create_dir(work.path().join("folder")).unwrap();
    let big = fs::File::create(work.path().join("big")).unwrap();
    big.set_len(200 << 20).unwrap();
    let of_links = "take one of version 1, or a hybrid, from where it came from";
    work.write("odd-link", "magnet:?xt=urn:btih:0\n");
    work.write("v2-link", "magnet:?xt=urn:btmh:1220aa\n");
    work.write("link", format!("magnet:?xt=urn:btih:{}\n", "0".repeat(40)));
    for (args, says) in [
        (&["show", "absent"][..], "cannot read absent: No such file or directory\n  hint: check the path for a typing mistake".to_owned()),
        (&["show", "big/x"], "cannot read big/x: Not a directory\n  hint: a part of the path is a file, and no folder; choose another".to_owned()),
        (&["seed", "folder"], "folder is a folder, and no torrent file\n  hint: give the .torrent file; `anabranch create` makes one of a folder".to_owned()),
        (&["verify", "big"], "big is no torrent file: it has 200.0 MiB, and torrent files have 32 MiB at most\n  hint: give the .torrent file, and not what it was made of".to_owned()),
        (&["show", "odd-link"], "the magnet link in odd-link cannot be used: its info-hash is neither 40 hexadecimal digits nor 32 of base 32\n  hint: copy the link again, all of it".to_owned()),
        (&["download", "v2-link"], format!("the magnet link in v2-link cannot be used: it names a torrent of version 2 alone (xt=urn:btmh:), which is not supported yet\n  hint: {of_links}")),
        (&["verify", "link"], "link is no torrent file\n  hint: it holds a magnet link; `anabranch show --save-torrent` fetches the .torrent file of that".to_owned()),
        (&["create", "absent"], "cannot read absent: No such file or directory\n  hint: check the path for a typing mistake".to_owned()),
        (&["create", "folder"], "there is no file in folder\n  hint: put in what the torrent is to have, or give another folder".to_owned()),
        (&["create", "big", "-o", "folder"], "folder is a folder\n  hint: name a file with --output".to_owned()),
        (&["create", "link", "-o", "no/x"], "cannot write no/x: No such file or directory\n  hint: make its folder first, or choose another with --output".to_owned()),
        (&["replay", "absent"], "cannot read absent: No such file or directory\n  hint: check the path for a typing mistake".to_owned()),
        (&["replay", "folder"], "cannot read folder: Is a directory\n  hint: give the recording that is in it".to_owned()),
        (&["replay", "link"], "link: not a recording of Anabranch\n  hint: recordings are made by `anabranch download --record FILE` and `seed --record FILE`".to_owned()),
    ] {
        let output = work.ends(1, args);
        assert_eq!(err(&output), format!("error: {says}\n"), "{args:?}");
    }
}

#[test]
fn a_link_on_standard_input_or_in_a_file_is_a_link() {
    let work = Work::new();
    let link = format!(" magnet:?xt=urn:btih:{}\r\n", "0".repeat(40));
    work.write("link", &link);
    let wait = [
        "--timeout",
        "10ms",
        "--no-dht",
        "--no-lsd",
        "--listen",
        "127.0.0.1:0",
    ];
    for text in [link, "0".repeat(40)] {
        for source in ["-", "link"] {
            let args = [&["download", source][..], &wait].concat();
            let output = work.fed(text.as_bytes(), &args);
            assert_eq!(output.status.code(), Some(5), "{}", err(&output));
        }
    }
    let output = work.fed(b"", &["download", "-"]);
    assert_eq!(
        err(&output),
        "error: standard input is no torrent file\n  hint: it is empty; redirect a torrent file or a link to it, \
         or leave the `-` out\n"
    );
}

#[test]
fn a_file_whose_name_begins_with_a_dash_can_be_given() {
    let work = Work::new();
    work.write("x", "content");
    work.ok(&["create", "x", "-o", "./-x.torrent"]);
    for source in [&["--", "-x.torrent"][..], &["./-x.torrent"]] {
        assert!(work.ok(&[&["show"], source].concat()).contains("7 bytes"));
    }
    let output = work.ends(2, &["show", "-x.torrent"]);
    let said = err(&output);
    assert!(said.contains("unexpected argument '-x.torrent'"), "{said}");
    assert!(said.contains("write './-x.torrent'"), "{said}");
}

#[test]
fn hostile_names_neither_leave_the_folder_nor_reach_the_terminal() {
    let work = Work::new();
    work.write(
        "evil.torrent",
        b"d4:infod5:filesld6:lengthi1e4:pathl2:..2:..6:passwdeed6:lengthi1e4:pathl4:\x1b[2Jeee\
          4:name9:\x1b]0;evil\x0712:piece lengthi16384e6:pieces20:AAAAAAAAAAAAAAAAAAAAee",
    );
    for args in [
        &["show", "evil.torrent"][..],
        &["show", "evil.torrent", "--json"],
    ] {
        let text = work.ok(args);
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(!text.contains(".."), "{text}");
    }
    let output = work.ends(3, &["verify", "evil.torrent", "--dir", "."]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("missing") && !text.contains('\x1b'),
        "{text:?}"
    );
}

#[test]
fn wrong_command_lines_end_with_code_2_and_say_why() {
    let work = Work::new();
    for (args, says) in [
        (&["fly"][..], "fly"),
        (&["download"], "SOURCE"),
        (&["download", "magnet:?xt=urn:btih:0"], "magnet"),
        (&["download", "magnet:?xt=urn:btmh:1220ab"], "version 2"),
        (&["download", "-", "-"], "only once"),
        (&["show", "a", "--listen", "x"], "ADDR:PORT"),
        (&["create", ".", "--piece-length", "18"], "256KiB"),
        (&["create", ".", "--tracker", "example.org"], "http://"),
        (&["seed", "a.torrent", "--dir=~/x"], "$HOME"),
        (&["download", "a", "--limit-down", "fast"], "2MiB"),
    ] {
        let output = work.ends(2, args);
        assert!(err(&output).contains(says), "{args:?}: {}", err(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let work = Work::new();
    let man = work.ok(&["man"]);
    assert!(man.contains(".TH"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = work.ok(&["completions", shell]);
        for command in [
            "download",
            "seed",
            "create",
            "show",
            "verify",
            "demo",
            "completions",
            "man",
        ] {
            assert!(script.contains(command), "{shell} {command}");
            assert!(man.contains(&format!("anabranch {command}")), "{command}");
        }
    }
    for option in ["limit\\-down", "seed\\-time", "preallocate", "web\\-seed"] {
        assert!(man.contains(option), "{option}");
    }
    assert!(man.contains("143"), "exit codes");
    assert_eq!(
        work.ok(&["--version"]),
        format!("anabranch {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(work.ok(&["--help"]).contains("Exit codes:"));
}

#[cfg(unix)]
#[test]
fn a_reader_that_went_away_gets_no_complaint() {
    let work = Work::new();
    work.write("file", "content");
    work.ok(&["create", "file"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
        .args(["show", "file.torrent"])
        .current_dir(work.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(err(&output), "");
}

/// What may not be read is said to be so, by whoever looks at it.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_not_said_to_be_wrong() {
    use std::os::unix::fs::PermissionsExt;

    let work = Work::new();
    work.album();
    work.ok(&["create", "album"]);
    let path = work.path().join("album/one.bin");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // The superuser may read everything.
        return;
    }
    let told = err(&work.ends(1, &["seed", "album.torrent", "--dir", "."]));
    assert!(
        told.contains("cannot read ./album/one.bin") || told.contains("one.bin: "),
        "{told}"
    );
    assert!(!told.contains("does not match"), "{told}");
    let output = work.ends(3, &["verify", "album.torrent", "--dir", "."]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("unreadable  album/one.bin: "), "{told}");
}
