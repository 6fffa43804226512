//! What trackers send that is not as HTTP has it, byte for byte, and what comes of it: the same on every
//! runtime.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anabranch_driver::engine::event::ContactError;
use anabranch_tests::subject::Subject;

use crate::http::{Authority, LIMIT, Secure, fetch_on, gzip, listen, request};

/// What most cases are about.
const BODY: &[u8] = b"d8:intervali60ee";

/// What is to come of a reply.
enum Expected {
    /// The status, and this body.
    Body(&'static [u8]),
    /// The same, where the server does not hang up, so that whoever waits for that waits in vain.
    BodyAtOnce(&'static [u8]),
    /// A typed error with these words in it.
    Failure(&'static str),
    TooLarge,
}
use Expected::{Body, BodyAtOnce, Failure, TooLarge};

/// A reply, byte for byte, by what is odd about it.
type Case = (&'static str, Vec<u8>, Expected);

/// A head and a body in one.
fn raw(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), body].concat()
}

/// A good head for a body that is packed, with a content coding or without.
fn packed(coding: &str, body: &[u8]) -> Vec<u8> {
    let coding = match coding {
        "" => String::new(),
        coding => format!("Content-Encoding: {coding}\r\n"),
    };
    let len = body.len();
    raw(
        &format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n{coding}\r\n"),
        body,
    )
}

/// Fetches every case, and names all that came out otherwise.
fn check<S: Subject>(cases: Vec<Case>) {
    let replies: Arc<Vec<(Vec<u8>, bool)>> = Arc::new(
        cases
            .iter()
            .map(|(_, reply, expected)| (reply.clone(), matches!(expected, BodyAtOnce(_))))
            .collect(),
    );
    let port = listen(move |mut stream| {
        let Ok(Some((path, _))) = request(&mut stream) else {
            return;
        };
        let at: usize = path.trim_start_matches('/').parse().expect("a number");
        let (reply, stays) = &replies[at];
        // What a client does to its connection is the client's business.
        let _ = stream.write_all(reply);
        if *stays {
            let _ = stream.read(&mut [0]);
        }
    });
    let mut wrong = Vec::new();
    for (at, (name, _, expected)) in cases.iter().enumerate() {
        let outcome = fetch_on::<S>(
            S::Runtime::default(),
            format!("http://127.0.0.1:{port}/{at}"),
        );
        let right = match (expected, &outcome) {
            (Body(body) | BodyAtOnce(body), Ok(reply)) => reply.body == *body,
            (Failure(words), Err(ContactError::Failed(text))) => text.contains(words),
            (TooLarge, Err(error)) => *error == ContactError::TooLarge { limit: LIMIT },
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(crate) fn a_head_is_taken_however_it_is_written<S: Subject>() {
    let many: String = (0..150).map(|n| format!("X-{n}: {n}\r\n")).collect();
    check::<S>(vec![
        (
            "lines that end in LF alone",
            raw("HTTP/1.1 200 OK\nContent-Length: 16\n\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "a space before the colon",
            raw("HTTP/1.1 200 OK\r\nContent-Length : 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "a folded header",
            raw(
                "HTTP/1.1 200 OK\r\nX-Long: one\r\n  two\r\n\tthree\r\nContent-Length:\r\n 16\r\n\r\n",
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "150 headers",
            raw(
                &format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 16\r\n\r\n"),
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "a line that is no header",
            raw(
                "HTTP/1.1 200 OK\r\nwhat is this\r\n: nothing\r\nContent-Length: 16\r\n\r\n",
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "a header that is not text",
            raw(
                "HTTP/1.1 200 OK\r\nX-Name: \u{e9}\u{1}\r\nContent-Length: 16\r\n\r\n",
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "no reason",
            raw("HTTP/1.1 200\r\nContent-Length: 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "spaces around the status",
            raw("HTTP/1.1  200  OK\r\nContent-Length: 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "a status that nobody knows",
            raw("HTTP/1.1 299 Well\r\nContent-Length: 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "an empty line in front",
            raw("\r\nHTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "an interim reply in front",
            raw(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n",
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "a head that is cut",
            raw("HTTP/1.1 200 OK\r\nContent-Le", b""),
            Failure("closed"),
        ),
        ("nothing", Vec::new(), Failure("closed")),
        (
            "no HTTP",
            raw("SSH-2.0-OpenSSH_9.2\r\n\r\n", b""),
            Failure("not HTTP"),
        ),
    ]);
}

pub(crate) fn a_body_is_taken_however_its_length_is_told<S: Subject>() {
    check::<S>(vec![
        (
            "a length that is too long on a connection that stays open",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "no length",
            raw("HTTP/1.0 200 OK\r\n\r\n", BODY),
            Body(BODY),
        ),
        (
            "a length that is too long",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", BODY),
            Body(BODY),
        ),
        (
            "a length, and nothing",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b""),
            Failure("closed"),
        ),
        (
            "a length that is too short",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "a length that is no number",
            raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", BODY),
            Body(BODY),
        ),
        (
            "a length that is told twice",
            raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 16\r\nContent-Length: 16\r\n\r\n",
                BODY,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "a length that is told twice in one",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 16, 16\r\n\r\n", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "chunks",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"a;name=\"value\"\r\nd8:interva\r\n006 \r\nli60ee\r\n0\r\nTrailer: 1\r\n\r\n",
            ),
            BodyAtOnce(BODY),
        ),
        (
            "chunks without the last",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"10\r\nd8:intervali60ee\r\n",
            ),
            Body(BODY),
        ),
        (
            "chunks whose lines end in LF alone",
            raw(
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n",
                b"10\nd8:intervali60ee\n0\n\n",
            ),
            BodyAtOnce(BODY),
        ),
        (
            "chunks with HTTP/1.0",
            raw(
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"10\r\nd8:intervali60ee\r\n0\r\n\r\n",
            ),
            BodyAtOnce(BODY),
        ),
        (
            "chunks and a length",
            raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"10\r\nd8:intervali60ee\r\n0\r\n\r\n",
            ),
            BodyAtOnce(BODY),
        ),
        (
            "chunks that are none",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                BODY,
            ),
            Body(BODY),
        ),
        (
            "chunks that end in the middle of nowhere",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1\r\nd\r\nwhat\r\n",
            ),
            Failure("chunk"),
        ),
        (
            "a chunk that is never filled",
            raw(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"ffffffffffffffff\r\nd",
            ),
            Body(b"d"),
        ),
        (
            "a status without a body",
            raw("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
            BodyAtOnce(b""),
        ),
    ]);
}

/// Brotli that was never compressed: a window of 16 bits, one stored block, and an empty last one.
fn brotli(data: &[u8]) -> Vec<u8> {
    let head = ((data.len() - 1) << 4) | (1 << 20);
    let mut out = head.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(data);
    out.push(3);
    out
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn a_body_tells_by_itself_how_it_is_packed<S: Subject>() {
    let whole = gzip(BODY);
    let mut damaged = whole.clone();
    let middle = damaged.len() - 6;
    damaged[middle] ^= 1;
    check::<S>(vec![
        ("gzip", packed("gzip", &whole), BodyAtOnce(BODY)),
        (
            "gzip that is not announced",
            packed("", &whole),
            BodyAtOnce(BODY),
        ),
        (
            "x-gzip in capitals",
            packed("X-GZIP", &whole),
            BodyAtOnce(BODY),
        ),
        (
            "gzip that is announced as deflate",
            packed("deflate", &whole),
            BodyAtOnce(BODY),
        ),
        (
            "announced as gzip and plain",
            packed("gzip", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "announced as brotli and plain",
            packed("br", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "announced as deflate and plain",
            packed("deflate", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "a coding that nobody knows",
            packed("identity, UTF-8", BODY),
            BodyAtOnce(BODY),
        ),
        (
            "gzip without its trailer",
            packed("gzip", &whole[..whole.len() - 8]),
            BodyAtOnce(BODY),
        ),
        (
            "gzip with half of its trailer",
            packed("gzip", &whole[..whole.len() - 4]),
            BodyAtOnce(BODY),
        ),
        (
            "gzip with a line end behind it",
            packed("gzip", &[&whole[..], b"\r\n"].concat()),
            BodyAtOnce(BODY),
        ),
        (
            "gzip of several members",
            packed("gzip", &[gzip(b"d8:inter"), gzip(b"vali60ee")].concat()),
            BodyAtOnce(BODY),
        ),
        (
            "gzip in gzip",
            packed("gzip", &gzip(&whole)),
            BodyAtOnce(BODY),
        ),
        (
            "gzip with another checksum",
            packed("gzip", &damaged),
            Failure("gzip"),
        ),
        ("zlib", packed("deflate", &zlib(BODY)), BodyAtOnce(BODY)),
        (
            "raw deflate",
            packed("deflate", &deflate(BODY)),
            BodyAtOnce(BODY),
        ),
        ("brotli", packed("br", &brotli(BODY)), BodyAtOnce(BODY)),
        (
            "gzip whose length is that of the body",
            raw(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 16\r\n\r\n",
                &whole,
            ),
            BodyAtOnce(BODY),
        ),
        (
            "gzip that unpacks to more than the limit",
            packed("gzip", &gzip(&vec![0; LIMIT as usize + 1])),
            TooLarge,
        ),
        (
            "deflate that unpacks to more than the limit",
            packed("deflate", &zlib(&vec![0; LIMIT as usize + 1])),
            TooLarge,
        ),
        (
            "gzip in gzip that unpacks to more than the limit",
            packed("gzip", &gzip(&gzip(&vec![0; 64 << 20]))),
            TooLarge,
        ),
    ]);
}

/// Replies that go on for ever, each by its beginning and what comes again and again.
const FLOODS: [(&str, &str, &str); 8] = [
    ("interim replies", "", "HTTP/1.1 100 Continue\r\n\r\n"),
    (
        "interim replies with headers",
        "",
        "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n",
    ),
    ("empty lines", "", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"),
    ("headers", "HTTP/1.1 200 OK\r\n", "X-More: and more\r\n"),
    ("one header", "HTTP/1.1 200 OK\r\nX-Long: ", "xxxxxxxx"),
    (
        "folded lines",
        "HTTP/1.1 200 OK\r\nX-Long: x\r\n",
        " and more\r\n",
    ),
    (
        "one line about a chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        "xxxxxxxx",
    ),
    (
        "lines about chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0000000001;name=value;name=value;name=value;name=value;name=value\r\n1\r\n",
    ),
];

/// What a flood may come to: far below what loopback carries within a second, and above what both ends
/// of a connection keep in the kernel.
const FLOODED: usize = 32 << 20;

pub(crate) fn what_is_not_body_is_bounded_as_well<S: Subject>() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let port = listen(move |mut stream| {
        let Ok(Some((path, _))) = request(&mut stream) else {
            return;
        };
        let at: usize = path.trim_start_matches('/').parse().expect("a number");
        let (_, head, again) = FLOODS[at];
        let again = again.repeat(1 + 4096 / again.len());
        let mut next = stream.write_all(head.as_bytes());
        while next.is_ok() {
            next = stream.write_all(again.as_bytes());
            count.fetch_add(again.len(), Ordering::Relaxed);
        }
    });
    let mut wrong = Vec::new();
    for (at, (name, ..)) in FLOODS.iter().enumerate() {
        sent.store(0, Ordering::Relaxed);
        let outcome = fetch_on::<S>(
            S::Runtime::default(),
            format!("http://127.0.0.1:{port}/{at}"),
        );
        let sent = sent.load(Ordering::Relaxed);
        let refused = matches!(
            outcome,
            Err(ContactError::Failed(_) | ContactError::TooLarge { .. })
        );
        if !refused || sent > FLOODED {
            wrong.push(format!("{name}: {outcome:?} after {sent} bytes"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Answers the first request on a connection with a redirect, and never a second one.
fn redirect_once(mut stream: TcpStream) {
    let Ok(Some((path, _))) = request(&mut stream) else {
        return;
    };
    let reply = match path.as_str() {
        "/kept" => raw(
            "HTTP/1.1 302 Found\r\nLocation: /there\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            b"",
        ),
        "/broken-body" => raw(
            "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 50\r\n\r\n",
            b"<html>",
        ),
        "/endless-body" => raw(
            "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n",
            &vec![b' '; LIMIT as usize + 1],
        ),
        "/folded" => raw("HTTP/1.1 302 Found\r\nLocation :\r\n  /there\r\n\r\n", b""),
        "/not-ascii" => raw(
            "HTTP/1.1 302 Found\r\nLocation: /there?n=\u{e9}\r\n\r\n",
            b"",
        ),
        _ => raw("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", BODY),
    };
    let _ = stream.write_all(&reply);
    if path == "/kept" {
        // The server has promised to keep the connection, and hangs up on the next request.
        let _ = stream.read(&mut [0]);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

pub(crate) fn a_redirect_leads_on_whatever_becomes_of_the_connection<S: Subject>() {
    let port = listen(redirect_once);
    let mut wrong = Vec::new();
    for path in ["kept", "broken-body", "endless-body", "folded", "not-ascii"] {
        let outcome = fetch_on::<S>(
            S::Runtime::default(),
            format!("http://127.0.0.1:{port}/{path}"),
        );
        if !matches!(&outcome, Ok(reply) if reply.body == BODY) {
            wrong.push(format!("{path}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Hangs up without TLS's word for it.
fn hang_up_at_once(mut stream: Secure) {
    let Ok(Some((path, _))) = request(&mut stream) else {
        return;
    };
    let head = match path.as_str() {
        "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n",
        "/too-long" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        _ => "HTTP/1.0 200 OK\r\n\r\n",
    };
    let _ = stream.write_all(&raw(head, BODY));
    let _ = stream.flush();
    let _ = stream.sock.shutdown(Shutdown::Both);
}

pub(crate) fn https_may_end_without_notice<S: Subject>() {
    let authority = Authority::new("abrupt");
    let port = authority.serve_with("localhost", hang_up_at_once);
    let mut wrong = Vec::new();
    for path in ["length", "too-long", "none"] {
        let runtime = S::with_authorities(&authority.file);
        let outcome = fetch_on::<S>(runtime, format!("https://localhost:{port}/{path}"));
        if !matches!(&outcome, Ok(reply) if reply.body == BODY) {
            wrong.push(format!("{path}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
