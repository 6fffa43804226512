//! A tracker on loopback, over HTTP and over UDP: the engine's own serving side behind plain sockets.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_driver::engine::tracker::TrackerServer;
use anabranch_driver::engine::{self, Seed};

/// After how long its clients come back: not within a test.
const INTERVAL: Duration = Duration::from_secs(1_800);

/// The longest request that is read, in bytes.
const MAX_REQUEST: u64 = 16 << 10;

/// A tracker that knows one swarm over both protocols. It stops when dropped.
#[derive(Debug)]
pub struct Tracker {
    http: SocketAddr,
    udp: SocketAddr,
    stop: Arc<AtomicBool>,
}

struct State {
    server: Mutex<TrackerServer>,
    began: Instant,
}

impl State {
    fn ask<T>(&self, ask: impl FnOnce(&mut TrackerServer, engine::Instant) -> T) -> T {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut server, engine::Instant::from_nanos(nanos))
    }
}

impl Tracker {
    /// Starts it on free ports.
    ///
    /// # Panics
    ///
    /// When there are none.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(State {
            server: Mutex::new(TrackerServer::new(Seed([7; 32]), INTERVAL)),
            began: Instant::now(),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let http = listener.local_addr().expect("its address");
        let udp = socket.local_addr().expect("its address");
        let (ours, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&ours);
                // A client may hang up at any time.
                thread::spawn(move || drop(answer(&state, stream)));
            }
        });
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok((len, from)) = socket.recv_from(&mut packet) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let reply = state.ask(|server, now| server.udp(now, from, &packet[..len]));
                if let Some(reply) = reply {
                    // Packets may get lost.
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Self { http, udp, stop }
    }

    /// Its URL over HTTP.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}/announce", self.http)
    }

    /// Its URL over UDP.
    #[must_use]
    pub fn udp(&self) -> String {
        format!("udp://{}/announce", self.udp)
    }

    /// A URL at which nobody is: the port is taken, but at another address.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("http://127.0.0.99:{}/announce", self.http.port())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the threads; where that fails, they are gone.
        let _ = TcpStream::connect(self.http);
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[], self.udp);
        }
    }
}

fn answer(state: &State, mut stream: TcpStream) -> io::Result<()> {
    let from = stream.peer_addr()?.ip();
    let mut head = BufReader::new((&mut stream).take(MAX_REQUEST));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = match path {
        "/announce" => (
            "200 OK",
            state.ask(|server, now| server.announce_http(now, from, query)),
        ),
        "/scrape" => (
            "200 OK",
            state.ask(|server, now| server.scrape_http(now, query)),
        ),
        _ => ("404 Not Found", Default::default()),
    };
    let len = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
