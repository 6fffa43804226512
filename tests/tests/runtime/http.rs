//! An adapter's HTTP, as trackers and web seeds speak it: a server on loopback, with and without TLS.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anabranch_driver::engine::action::{HttpRequest, LocalPaths};
use anabranch_driver::engine::error::CommandError;
use anabranch_driver::engine::event::{ContactError, HttpReply, OpResult};
use anabranch_driver::engine::{Action, Event};
use anabranch_driver::{
    AddOptions, ClientBuilder, Error, FetchError, LoopOptions, MAX_FETCHES, Policy, Purpose,
};
use anabranch_tests::subject::Subject;
use bytes::Bytes;

use crate::support::{op, record, wait};

pub(crate) const LIMIT: u32 = 100_000;

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let mut reply =
        format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n{headers}\r\n").into_bytes();
    reply.extend_from_slice(body);
    reply
}

/// Reads one request: its path, and its header lines. `None` at the end.
pub(crate) fn request(stream: &mut impl Read) -> io::Result<Option<(String, String)>> {
    let mut head = BufReader::new(stream);
    let mut request = String::new();
    if head.read_line(&mut request)? == 0 {
        return Ok(None);
    }
    let mut headers = String::new();
    while head.read_line(&mut headers)? > 2 {}
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some((path, headers)))
}

/// Answers one request, and says whether the connection goes on.
fn serve_one(stream: &mut (impl Read + Write)) -> io::Result<bool> {
    let Some((path, headers)) = request(stream)? else {
        return Ok(false);
    };
    let answer = match path.as_str() {
        "/plain" => reply("200 OK", "", b"d8:intervali60ee"),
        "/gzip" => reply("200 OK", "content-encoding: gzip\r\n", &gzip(b"unpacked")),
        // A thousandth of what it unpacks to.
        "/bomb" => reply(
            "200 OK",
            "content-encoding: gzip\r\n",
            &gzip(&vec![0; 64 << 20]),
        ),
        "/exact" => reply("200 OK", "", &vec![1; LIMIT as usize]),
        "/more" => reply("200 OK", "", &vec![1; LIMIT as usize + 1]),
        "/missing" => reply("404 Not Found", "", b"no such torrent"),
        "/busy" => reply("503 Busy", "Retry-After: 120\r\n", b""),
        "/once" => reply("302 Found", "location: plain\r\n", b""),
        "/circle" => reply("301 Moved", "location: /circle\r\n", b""),
        "/file" => reply("302 Found", "location: file:///etc/passwd\r\n", b""),
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec(),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        }
        "/nonsense" => b"\0\x01\x02 what?\r\n\r\n".to_vec(),
        path if path.starts_with("/echo") => {
            reply("200 OK", "", format!("{path}\n{headers}").as_bytes())
        }
        _ => reply("500 Oops", "", b""),
    };
    stream.write_all(&answer)?;
    stream.flush()?;
    Ok(path != "/cut" && path != "/nonsense")
}

fn serve(mut stream: impl Read + Write) {
    // What a client does to its connection is the client's business.
    while let Ok(true) = serve_one(&mut stream) {}
}

/// The port of a server that has a thread for each connection. It lives as long as the test.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

pub(crate) fn plain() -> u16 {
    listen(serve)
}

/// A server's end of a connection with TLS.
pub(crate) type Secure = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

/// A certificate authority of our own, in a file that is gone with the value.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) file: PathBuf,
    /// One for each value: the same test runs on every runtime at the same time.
    _folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("signed").pem();
        let folder = tempfile::tempdir().expect("a writable folder");
        let file = folder.path().join(format!("{name}.pem"));
        std::fs::write(&file, pem).expect("a writable folder");
        Self {
            issuer: rcgen::Issuer::new(params, key),
            file,
            _folder: folder,
        }
    }

    /// The port of a server whose certificate is good for `name`.
    fn serve(&self, name: &str) -> u16 {
        self.serve_with(name, serve)
    }

    /// The same with another way to serve a connection, TLS on it being begun by the first read.
    pub(crate) fn serve_with(&self, name: &str, serve: fn(Secure)) -> u16 {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(vec![name.into()])
            .expect("a name")
            .signed_by(&key, &self.issuer)
            .expect("signed");
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a certificate");
        let config = Arc::new(config);
        listen(move |stream| {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).expect("a session");
            serve(rustls::StreamOwned::new(tls, stream));
        })
    }
}

/// Fetches through a loop, as an engine would.
pub(crate) fn fetch_on<S: Subject>(
    runtime: S::Runtime,
    url: String,
) -> Result<HttpReply, ContactError> {
    let request = HttpRequest {
        url,
        body_limit: LIMIT,
        redirects: 3,
        timeout_ms: 50_000,
        local_paths: LocalPaths::Any,
    };
    let first = vec![Action::Http {
        op: op(0),
        request: Box::new(request),
        torrent: None,
    }];
    let (running, events) = record::<S>(runtime, LoopOptions::default(), first);
    loop {
        if let Event::Done {
            result: OpResult::Http(result),
            ..
        } = wait(&events)
        {
            running.stop();
            return result;
        }
    }
}

fn fetch<S: Subject>(port: u16, path: &str) -> Result<HttpReply, ContactError> {
    fetch_on::<S>(
        S::Runtime::default(),
        format!("http://127.0.0.1:{port}{path}"),
    )
}

pub(crate) fn replies_come_with_status_and_body<S: Subject>() {
    let port = plain();
    let reply = fetch::<S>(port, "/plain").expect("a reply");
    assert_eq!(
        (reply.status, &reply.body[..]),
        (200, &b"d8:intervali60ee"[..])
    );
    let reply = fetch::<S>(port, "/missing").expect("a reply");
    assert_eq!(
        (reply.status, &reply.body[..]),
        (404, &b"no such torrent"[..])
    );
    assert_eq!(reply.retry_after, None);
    let reply = fetch::<S>(port, "/busy").expect("a reply");
    assert_eq!((reply.status, reply.retry_after), (503, Some(120)));
}

pub(crate) fn the_query_reaches_the_server_as_it_was_written<S: Subject>() {
    let query = "/echo?info_hash=%00%ff%2F~-_.&peer_id=-AB0100-%7e&compact=1";
    let reply = fetch::<S>(plain(), query).expect("a reply");
    let body = String::from_utf8(reply.body.to_vec()).expect("text");
    let (path, headers) = body.split_once('\n').expect("two parts");
    assert_eq!(path, query);
    let headers = headers.to_lowercase();
    assert!(headers.contains("user-agent: anabranch/"), "{headers}");
    assert!(headers.contains("gzip"), "{headers}");
}

pub(crate) fn gzip_is_undone_and_a_bomb_is_not_unpacked<S: Subject>() {
    let port = plain();
    assert_eq!(fetch::<S>(port, "/gzip").expect("a reply").body, "unpacked");
    let limit = LIMIT;
    assert_eq!(
        fetch::<S>(port, "/bomb"),
        Err(ContactError::TooLarge { limit })
    );
}

pub(crate) fn a_body_may_be_as_long_as_the_limit_and_no_longer<S: Subject>() {
    let port = plain();
    let reply = fetch::<S>(port, "/exact").expect("a reply");
    assert_eq!(reply.body.len(), LIMIT as usize);
    let too_large = Err(ContactError::TooLarge { limit: LIMIT });
    assert_eq!(fetch::<S>(port, "/more"), too_large);
    assert_eq!(fetch::<S>(port, "/endless"), too_large);
}

pub(crate) fn redirects_are_followed_within_the_web_and_not_in_circles<S: Subject>() {
    let port = plain();
    let reply = fetch::<S>(port, "/once").expect("a reply");
    assert_eq!(reply.body, "d8:intervali60ee");
    for path in ["/circle", "/file"] {
        let error = fetch::<S>(port, path).expect_err(path);
        assert!(matches!(error, ContactError::Redirect(_)), "{error}");
    }
}

pub(crate) fn what_is_not_http_is_an_error<S: Subject>() {
    let port = plain();
    for path in ["/cut", "/nonsense"] {
        let error = fetch::<S>(port, path).expect_err(path);
        assert!(matches!(error, ContactError::Failed(_)), "{error:?}");
    }
    // A port that was free a moment ago, at an address where nobody else listens either.
    let refused = fetch_on::<S>(
        S::Runtime::default(),
        format!("http://127.0.0.9:{port}/plain"),
    );
    let error = refused.expect_err("nobody there");
    assert!(matches!(error, ContactError::Unreachable(_)), "{error:?}");
    let error = fetch_on::<S>(S::Runtime::default(), "http://nowhere.invalid/".into())
        .expect_err("no name");
    assert!(
        matches!(error, ContactError::NoSuchHost | ContactError::Failed(_)),
        "{error:?}"
    );
}

/// The web, but for one page.
#[derive(Clone)]
struct Forbids(String);

impl Policy for Forbids {
    fn http(&self, url: &str, _: SocketAddr, _: &Purpose) -> bool {
        url != self.0
    }
}

pub(crate) fn a_client_fetches_torrent_files_as_its_policy_allows<S: Subject>() {
    let port = plain();
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let forbidden = url("/echo");
    let policy = Forbids(forbidden);
    let builder = ClientBuilder::on(S::Runtime::default())
        .listen([(Ipv4Addr::LOCALHOST, 0).into()])
        .policy(policy);
    let before = |path: &str| smol::block_on(builder.fetch_torrent(&url(path)));
    assert_eq!(before("/once").expect("a file"), "d8:intervali60ee");
    let why = |result: Result<Bytes, Error>| {
        let Err(Error::FetchTorrent { source, .. }) = result else {
            panic!("{result:?}");
        };
        source
    };
    assert_eq!(why(before("/missing")), FetchError::Status(404));

    let client = builder.clone().start().expect("a client");
    let fetch = |path: &str| smol::block_on(client.fetch_torrent(&url(path)));
    // More than there is room for at a time: each leaves its place to another.
    for _ in 0..=MAX_FETCHES {
        assert_eq!(fetch("/once").expect("a file"), "d8:intervali60ee");
    }
    assert_eq!(why(fetch("/missing")), FetchError::Status(404));
    for result in [fetch("/echo"), before("/echo")] {
        assert_eq!(why(result), FetchError::Contact(ContactError::Denied));
    }
    let options = AddOptions::new().dir(std::env::temp_dir());
    let added = smol::block_on(client.add(&*url("/plain"), options));
    let Err(Error::Command(CommandError::BadMetainfo(why))) = added else {
        panic!("{added:?}");
    };
    assert!(why.contains("info"), "{why}");
    smol::block_on(client.shutdown()).expect("in good order");
    assert!(matches!(fetch("/plain"), Err(Error::Stopped)));
}

pub(crate) fn https_works_with_an_authority_that_is_trusted<S: Subject>() {
    let authority = Authority::new("trusted");
    let port = authority.serve("localhost");
    let runtime = S::with_authorities(&authority.file);
    let reply = fetch_on::<S>(runtime, format!("https://localhost:{port}/gzip")).expect("a reply");
    assert_eq!(reply.body, "unpacked");
}

pub(crate) fn https_fails_with_a_certificate_that_is_not_good<S: Subject>() {
    let authority = Authority::new("ours");
    let other = Authority::new("theirs");
    let ours = || S::with_authorities(&authority.file);
    let strangers = other.serve("localhost");
    let misnamed = authority.serve("elsewhere.example");
    for (what, runtime, port) in [
        ("another authority", ours(), strangers),
        ("another name", ours(), misnamed),
        ("the system's authorities", S::Runtime::default(), strangers),
        ("no TLS at all", ours(), plain()),
    ] {
        let error =
            fetch_on::<S>(runtime, format!("https://localhost:{port}/plain")).expect_err(what);
        assert!(matches!(error, ContactError::Tls(_)), "{what}: {error:?}");
    }
}

pub(crate) fn authorities_that_cannot_be_read_are_tried_anew<S: Subject>() {
    let authority = Authority::new("late");
    let port = authority.serve("localhost");
    let pem = std::fs::read(&authority.file).expect("just written");
    std::fs::remove_file(&authority.file).expect("just written");
    let runtime = S::with_authorities(&authority.file);
    let fetch = || fetch_on::<S>(runtime.clone(), format!("https://localhost:{port}/plain"));
    let error = fetch().expect_err("no authorities");
    let file = authority.file.display().to_string();
    assert!(
        matches!(&error, ContactError::Tls(words) if words.contains(&file)),
        "{error:?}"
    );
    std::fs::write(&authority.file, pem).expect("a writable folder");
    assert_eq!(fetch().expect("a reply").body, "d8:intervali60ee");
}
