//! Peers played by threads of the test: honest ones, and the frame for hostile ones.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use sha1::{Digest, Sha1};

use crate::wait::{self, LIMIT};
use crate::wire::{self, BLOCK, Wire, id};
use crate::{Torrent, data};

/// How many requests the honest leech keeps outstanding.
const PIPELINE: usize = 32;

/// Closed until somebody opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// A gate that is open from the start.
    #[must_use]
    pub fn opened() -> Self {
        let gate = Self::default();
        gate.open();
        gate
    }

    /// Opens it, for good.
    pub fn open(&self) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.1.notify_all();
    }

    /// Waits until it is open.
    ///
    /// # Panics
    ///
    /// When nobody opened it within [`LIMIT`]; `what` says what that would have meant.
    pub fn wait(&self, what: &str) {
        let start = Instant::now();
        let mut open = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
            let waited = self.state.1.wait_timeout(open, wait::INTERVAL);
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listening peer; each connection to it is played in a thread. It stops when dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Listener {
    /// Listens at `ip`. `play` returns when it is done with a connection, for whatever reason.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn start(ip: &str, play: impl Fn(Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a listener of the test");
        let address = listener.local_addr().expect("its address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let play = Arc::new(play);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(wire) = stream.and_then(Wire::over) else {
                    continue;
                };
                let play = Arc::clone(&play);
                // The other side ends connections as it likes, so an error here is no failure.
                thread::spawn(move || drop(play(wire)));
            }
        });
        Self { address, stop }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; if it cannot be reached, it is gone.
        let _ = TcpStream::connect(self.address);
    }
}

/// The bytes of a torrent's files, end to end.
///
/// # Panics
///
/// When they cannot be read.
#[must_use]
pub fn content(root: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in data::files(root).keys() {
        bytes.extend(std::fs::read(data::place(root, file)).expect("a file of test data"));
    }
    bytes
}

/// A peer that has everything, and unchokes whoever is interested once the gate is open.
#[must_use]
pub fn honest_seed(
    ip: &str,
    torrent: &Torrent,
    content: impl AsRef<[u8]> + Send + Sync + 'static,
    gate: Gate,
) -> Listener {
    seed_with(ip, torrent, content, gate, |_, _, _| {})
}

/// The same, but for `tamper`, which gets index, offset and bytes of each block that leaves.
#[must_use]
pub fn seed_with(
    ip: &str,
    torrent: &Torrent,
    content: impl AsRef<[u8]> + Send + Sync + 'static,
    gate: Gate,
    tamper: impl Fn(u32, u32, &mut Vec<u8>) + Send + Sync + 'static,
) -> Listener {
    let (hash, count, piece_length) = (torrent.info_hash, torrent.count(), torrent.piece_length);
    Listener::start(ip, move |mut wire| {
        wire.read_handshake()?;
        wire.send_handshake(hash)?;
        wire.send(id::BITFIELD, &wire::full_bitfield(count))?;
        loop {
            let message = wire.read()?;
            if message.id == id::INTERESTED {
                gate.wait("the honest peer to be let loose");
                wire.send(id::UNCHOKE, &[])?;
            }
            let Some((index, begin, length)) = message.request() else {
                continue;
            };
            let start = u64::from(index) * piece_length + u64::from(begin);
            let start = usize::try_from(start).map_err(io::Error::other)?;
            let range = start..start.saturating_add(length as usize);
            let data = content
                .as_ref()
                .get(range)
                .ok_or_else(|| io::Error::other("past the end"))?;
            let mut data = data.to_vec();
            tamper(index, begin, &mut data);
            wire.send(id::PIECE, &wire::block(index, begin, &data))?;
        }
    })
}

/// Fetches a whole torrent from one peer, checks each piece, and returns the bytes.
///
/// # Errors
///
/// Those of the connection: who is refused may try again.
///
/// # Panics
///
/// When a piece has the wrong hash.
pub fn honest_leech(from: &str, to: SocketAddr, torrent: &Torrent) -> io::Result<Vec<u8>> {
    let mut wire = Wire::connect(from, to)?;
    wire.send_handshake(torrent.info_hash)?;
    wire.read_handshake()?;
    leech_over(&mut wire, torrent)
}

/// The same over a connection that has its handshakes behind it.
///
/// # Errors
///
/// Those of the connection.
///
/// # Panics
///
/// When a piece has the wrong hash.
pub fn leech_over(wire: &mut Wire, torrent: &Torrent) -> io::Result<Vec<u8>> {
    wire.send(id::INTERESTED, &[])?;
    while wire.read()?.id != id::UNCHOKE {}
    let mut wanted = Vec::new();
    for index in 0..torrent.count() {
        let size = torrent.piece_size(index);
        let blocks = (0..size)
            .step_by(16 * 1024)
            .map(|begin| (begin, BLOCK.min(size - begin)));
        wanted.extend(blocks.map(|(begin, length)| {
            // Both are below the length of a piece, which is below 4 GiB in these torrents.
            let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
            (index, narrow(begin), narrow(length))
        }));
    }
    let mut bytes = vec![0; usize::try_from(torrent.length).map_err(io::Error::other)?];
    let mut requested = 0;
    let mut received = 0;
    while received < wanted.len() {
        while requested < wanted.len() && requested - received < PIPELINE {
            let (index, begin, length) = wanted[requested];
            wire.send(id::REQUEST, &wire::range(index, begin, length))?;
            requested += 1;
        }
        let message = wire.read()?;
        if message.id == id::CHOKE {
            return Err(io::Error::other("choked"));
        }
        if message.id != id::PIECE {
            continue;
        }
        let [i0, i1, i2, i3, b0, b1, b2, b3, ref data @ ..] = message.payload[..] else {
            return Err(io::Error::other("a short piece message"));
        };
        let index = u64::from(u32::from_be_bytes([i0, i1, i2, i3]));
        let begin = u64::from(u32::from_be_bytes([b0, b1, b2, b3]));
        let start = usize::try_from(index * torrent.piece_length + begin);
        let start = start.map_err(io::Error::other)?;
        let place = bytes.get_mut(start..start.saturating_add(data.len()));
        place
            .ok_or_else(|| io::Error::other("a block past the end"))?
            .copy_from_slice(data);
        received += 1;
    }
    let mut rest = bytes.as_slice();
    for (index, hash) in torrent.pieces.iter().enumerate() {
        let size = rest
            .len()
            .min(usize::try_from(torrent.piece_length).unwrap_or(usize::MAX));
        let (piece, after) = rest.split_at(size);
        assert_eq!(
            Sha1::digest(piece).as_slice(),
            hash,
            "piece {index} is wrong"
        );
        rest = after;
    }
    Ok(bytes)
}
