//! The peer wire (BEP 3) as bytes, for peers that may do anything.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::wait::LIMIT;

/// Bytes of a block as everybody asks for them.
pub const BLOCK: u64 = 16 * 1024;

/// Numbers of messages.
pub mod id {
    #![allow(missing_docs, reason = "BEP 3 and BEP 6 say what they are")]
    pub const CHOKE: u8 = 0;
    pub const UNCHOKE: u8 = 1;
    pub const INTERESTED: u8 = 2;
    pub const HAVE: u8 = 4;
    pub const BITFIELD: u8 = 5;
    pub const REQUEST: u8 = 6;
    pub const PIECE: u8 = 7;
    pub const CANCEL: u8 = 8;
    pub const EXTENDED: u8 = 20;
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub id: u8,
    /// What follows.
    pub payload: Vec<u8>,
}

impl Message {
    /// Index, offset and length of a request.
    #[must_use]
    pub fn request(&self) -> Option<(u32, u32, u32)> {
        let number = |at: usize| {
            let bytes = self.payload.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(bytes))
        };
        (self.id == id::REQUEST).then_some(())?;
        Some((number(0)?, number(4)?, number(8)?))
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Dials `to` from the address `from`.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn connect(from: &str, to: SocketAddr) -> io::Result<Self> {
        let from: IpAddr = from.parse().map_err(io::Error::other)?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&to.into(), LIMIT)?;
        Self::over(socket.into())
    }

    /// A connection that was accepted.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream })
    }

    /// How long a write may be stuck before it is an error.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn limit_writes(&self, limit: std::time::Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(limit))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a handshake.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn send_handshake(&mut self, info_hash: [u8; 20]) -> io::Result<()> {
        self.send_raw(&handshake(info_hash))
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        self.send_raw(&message(id, payload))
    }

    /// Reads a handshake and returns its info-hash.
    ///
    /// # Errors
    ///
    /// Those of the socket, and bytes that are no handshake.
    pub fn read_handshake(&mut self) -> io::Result<[u8; 20]> {
        let bytes = self.read_handshake_bytes()?;
        if !bytes.starts_with(b"\x13BitTorrent protocol") {
            return Err(io::Error::other("no handshake"));
        }
        let mut hash = [0; 20];
        hash.copy_from_slice(&bytes[28..48]);
        Ok(hash)
    }

    /// Reads a handshake as it came.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn read_handshake_bytes(&mut self) -> io::Result<[u8; 68]> {
        let mut bytes = [0; 68];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the next message, past keep-alives.
    ///
    /// # Errors
    ///
    /// Those of the socket (`UnexpectedEof` when it was closed), and a message over a mebibyte.
    pub fn read(&mut self) -> io::Result<Message> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length);
            if length == 0 {
                continue;
            }
            if length > 1 << 20 {
                return Err(io::Error::other("a message of absurd length"));
            }
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload)?;
            let id = payload.remove(0);
            return Ok(Message { id, payload });
        }
    }

    /// Reads, whatever comes, until the other side closes. Bytes that come after a close of ours
    /// make it a reset, which counts as well.
    ///
    /// # Panics
    ///
    /// When it stays open.
    pub fn assert_closed(mut self, why: &str) {
        let mut sink = [0; 1 << 16];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let waited = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                    assert!(
                        !waited.contains(&error.kind()),
                        "still connected after {why}"
                    );
                    return;
                }
            }
        }
    }
}

/// The bytes of a handshake without extensions, from a peer-id that nobody else has.
#[must_use]
pub fn handshake(info_hash: [u8; 20]) -> Vec<u8> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(info_hash);
    bytes.extend(format!("-XX0100-{number:012}").bytes());
    bytes
}

/// The bytes of a message.
///
/// # Panics
///
/// When the payload does not fit.
#[must_use]
pub fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).expect("a message below 4 GiB");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(payload);
    bytes
}

/// The payload of a request or a cancel.
#[must_use]
pub fn range(index: u32, begin: u32, length: u32) -> Vec<u8> {
    [index, begin, length]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// The payload of a piece message.
#[must_use]
pub fn block(index: u32, begin: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [index.to_be_bytes(), begin.to_be_bytes()].concat();
    bytes.extend(data);
    bytes
}

/// The payload of the bitfield of a peer that has everything.
#[must_use]
pub fn full_bitfield(pieces: u32) -> Vec<u8> {
    let mut bits = vec![0xff; pieces.div_ceil(8) as usize];
    if let (Some(last), spare @ 1..) = (bits.last_mut(), bits_spare(pieces)) {
        *last <<= spare;
    }
    bits
}

/// How many bits of the last byte of a bitfield stand for no piece.
#[must_use]
pub const fn bits_spare(pieces: u32) -> u32 {
    pieces.next_multiple_of(8) - pieces
}
