//! A tracker that knows a few peers, for clients that take none by hand.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// No announce is longer than this.
const LONGEST_REQUEST: u64 = 16 << 10;

/// Answers for as long as the program runs.
#[derive(Debug)]
pub(crate) struct Tracker {
    address: SocketAddr,
    peers: Arc<Mutex<Vec<SocketAddrV4>>>,
}

impl Tracker {
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let peers = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&peers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let peers: Vec<SocketAddrV4> =
                    known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A client that went away needs no answer.
                let _ = answer(&stream, &peers);
            }
        });
        Ok(Self { address, peers })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Whom those who announce from now on hear of.
    pub(crate) fn introduce(&self, peers: &[SocketAddr]) {
        let peers = peers.iter().filter_map(|peer| match peer {
            SocketAddr::V4(peer) => Some(*peer),
            SocketAddr::V6(_) => None,
        });
        *self.peers.lock().unwrap_or_else(PoisonError::into_inner) = peers.collect();
    }
}

fn answer(mut stream: &TcpStream, peers: &[SocketAddrV4]) -> io::Result<()> {
    let mut request = BufReader::new(stream.take(LONGEST_REQUEST));
    let mut line = String::new();
    while request.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    let mut compact = Vec::new();
    for peer in peers {
        compact.extend(peer.ip().octets());
        compact.extend(peer.port().to_be_bytes());
    }
    let mut body = format!("d8:intervali1800e5:peers{}:", compact.len()).into_bytes();
    body.extend(compact);
    body.push(b'e');
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.into_bytes(), body].concat())
}
