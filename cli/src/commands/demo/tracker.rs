//! The demo's tracker: the core's own, behind an HTTP server that is as small as it can be.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anabranch_core::tracker::TrackerServer;
use anabranch_core::{Instant as CoreInstant, Seed};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Task, Timer};

use crate::exit::Failure;
use crate::output::text::reason;

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// How long an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often clients are asked to come back.
const INTERVAL: Duration = Duration::from_secs(60);

/// A tracker that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Tracker {
    address: SocketAddr,
    _serving: Task<()>,
}

/// Starts a tracker.
pub(super) async fn start(address: SocketAddr) -> Result<Tracker, Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot start a tracker: {}", reason(&error)));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(State {
        server: Mutex::new(TrackerServer::new(seed(), INTERVAL)),
        began: Instant::now(),
    });
    Ok(Tracker {
        address,
        _serving: smol::spawn(serve(listener, state)),
    })
}

impl Tracker {
    pub(super) fn announce_url(&self) -> String {
        format!("http://{}/announce", self.address)
    }
}

struct State {
    server: Mutex<TrackerServer>,
    began: Instant,
}

impl State {
    /// The reply to a request.
    fn reply(&self, from: IpAddr, head: &[u8]) -> Vec<u8> {
        let nanos = self.began.elapsed().as_nanos();
        let now = CoreInstant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        match target(head) {
            Some(("/announce", query)) => http("200 OK", &server.announce_http(now, from, query)),
            Some(("/scrape", query)) => http("200 OK", &server.scrape_http(now, query)),
            Some(_) => http("404 Not Found", b"announce or scrape"),
            None => http("400 Bad Request", b"only GET"),
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let state = Arc::clone(&state);
                let exchange = async move {
                    // A client that breaks off gets no answer, and misses none.
                    let _ = exchange(stream, from.ip(), &state).await;
                };
                let timeout = async {
                    Timer::after(TIMEOUT).await;
                };
                smol::spawn(smol::future::or(exchange, timeout)).detach();
            }
            // Out of descriptors, most likely: it may pass.
            Err(_) => {
                Timer::after(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn exchange(mut stream: TcpStream, from: IpAddr, state: &State) -> io::Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let len = stream.read(&mut buffer).await?;
        if len == 0 || head.len() + len > MAX_HEAD {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..len]);
    }
    stream.write_all(&state.reply(from, &head)).await?;
    stream.close().await
}

/// Path and query of a GET request.
fn target(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (target, version) = line.strip_prefix("GET ")?.split_once(' ')?;
    version.starts_with("HTTP/1.").then_some(())?;
    Some(target.split_once('?').unwrap_or((target, "")))
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    reply.extend_from_slice(body);
    reply
}

/// Entropy, such as the standard library has it.
fn seed() -> Seed {
    let mut seed = [0; 32];
    for word in seed.chunks_exact_mut(8) {
        word.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    }
    Seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(tracker: &Tracker, request: &str) -> String {
        let mut stream = TcpStream::connect(tracker.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }

    #[test]
    fn peers_find_each_other() {
        smol::block_on(async {
            let tracker = start(super::super::HERE).await.unwrap();
            let announce = |id: &str, port: u16| {
                format!(
                    "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-AB0100-{id}&port={port}\
                     &uploaded=0&downloaded=0&left=1&compact=1 HTTP/1.1\r\nHost: x\r\n\r\n"
                )
            };
            let first = ask(&tracker, &announce("bbbbbbbbbbbb", 256)).await;
            assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
            assert!(first.contains("5:peers0:"), "{first}");
            let second = ask(&tracker, &announce("cccccccccccc", 257)).await;
            assert!(
                second.contains("5:peers6:\u{7f}\0\0\u{1}\u{1}\0"),
                "{second:?}"
            );
        });
    }

    #[test]
    fn other_requests_are_refused() {
        smol::block_on(async {
            let tracker = start(super::super::HERE).await.unwrap();
            for (request, status) in [
                ("GET / HTTP/1.1\r\n\r\n", "404"),
                ("POST /announce HTTP/1.1\r\n\r\n", "400"),
                ("nonsense\r\n\r\n", "400"),
            ] {
                let reply = ask(&tracker, request).await;
                assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
            }
        });
    }

    #[test]
    fn a_request_without_end_is_not_answered() {
        smol::block_on(async {
            let tracker = start(super::super::HERE).await.unwrap();
            let mut stream = TcpStream::connect(tracker.address).await.unwrap();
            // The tracker may hang up while this is still being written.
            let _ = stream.write_all(&[b'x'; MAX_HEAD + 1]).await;
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply).await;
            assert_eq!(reply, b"");
        });
    }
}
