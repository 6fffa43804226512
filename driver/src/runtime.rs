//! What an adapter supplies: sockets, a timer, name lookup, HTTP and a place to run.
//!
//! The loop in [`run`](crate::run) owns every object that is made here and polls it from one task.
//! Four rules hold for everything that is polled:
//!
//! 1. `Poll::Pending` means that the waker of the given context will be woken when it is worth
//!    polling again. The loop polls nothing that it was not woken for, so a lost wake-up hangs a
//!    connection.
//! 2. A spurious wake-up is harmless.
//! 3. Each direction of a socket keeps a waker of its own: the loop reads with one context and writes
//!    with another.
//! 4. Dropping an object ends it at once: a socket is closed, a future is given up.
//!
//! Sockets are made, bound and configured by the driver and reach the adapter as objects of the
//! standard library that are in non-blocking mode already, so that an adapter holds no socket options.
//! Names are looked up and redirects judged by the driver, so an adapter holds no rule about who may be
//! talked to either. It is some 300 lines; `anabranch-smol`, which brings a thread of its own, and
//! `anabranch-tokio`, which runs inside of its user's runtime, are two to start from. The suite
//! `runtime` in this repository's `tests` folder shows whether one is right.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Instant;

use anabranch_core::event::ContactError;
use bytes::Bytes;
/// A socket on loan.
pub use socket2::SockRef;

/// An asynchronous runtime, as far as the loop needs one.
///
/// [`listener`](Self::listener), [`udp`](Self::udp), [`timer`](Self::timer) and
/// [`spawn`](Self::spawn) are called by whoever starts a client; all else is called, and everything is
/// polled, from within the future that `spawn` was given. So a runtime whose sockets need a context
/// finds it there, and may answer a start outside of it with an error.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Stream: Stream;
    /// A listening TCP socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A UDP socket.
    type Udp: Udp;
    /// A timer.
    type Timer: Timer;

    /// Dials. [`net::begin_connect`](crate::net::begin_connect) makes a socket whose connection is
    /// under way, with `from` as its local address if there is one: the adapter waits until it is
    /// writable, and asks it for its error.
    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> impl Future<Output = io::Result<Self::Stream>> + Send + use<Self>;

    /// Takes over a listening socket in non-blocking mode.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for it.
    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Self::Listener>;

    /// Takes over a bound UDP socket in non-blocking mode.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for it.
    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<Self::Udp>;

    /// Makes a timer that is not set. It is set and polled within the loop only.
    fn timer(&self) -> Self::Timer;

    /// Looks a host name up, in order of preference. Called with names only, never with addresses in
    /// text. [`net::lookup_error`](crate::net::lookup_error) tells the errors of the system's resolver
    /// apart.
    fn resolve(
        &self,
        host: String,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ContactError>> + Send + use<Self>;

    /// Makes one HTTP exchange: one request, one reply, no redirect followed, no proxy asked, as
    /// [`USER_AGENT`], with `gzip` accepted and no content coding undone. Redirects, content codings,
    /// the time limit and the policy are the driver's business, which drops the future when it takes
    /// too long.
    ///
    /// [`http::get`](crate::http::get) does all that over a connection of [`connect`](Self::connect),
    /// and takes what servers really send, the same on every runtime. An adapter that brings a client
    /// of its own decides by itself what it takes, gathers the body in an [`HttpBody`], which knows the
    /// limit, and has to bound what is not body as well.
    ///
    /// The errors that the driver tells apart: [`ContactError::Unreachable`], whereupon the host's
    /// next address is tried; [`ContactError::Tls`] for all that a handshake or a certificate fails at;
    /// [`ContactError::TooLarge`]; and [`ContactError::Failed`] for the rest.
    fn http(
        &self,
        hop: HttpHop,
    ) -> impl Future<Output = Result<HttpAnswer, ContactError>> + Send + use<Self>;

    /// Runs a future to its end in the background, from after this call on: on a thread of its own, or
    /// as a task where the runtime has a place for tasks. The future yields after a bounded amount of
    /// work and wakes itself, so an adapter needs no budget for it.
    ///
    /// # Errors
    ///
    /// When there is nowhere to run it. It is dropped then.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> io::Result<()>;
}

/// A TCP connection. Dropping it closes it.
pub trait Stream: Send + 'static {
    /// Reads what is there, at most as much as fits. `Ok(0)` is the end.
    ///
    /// After a read that did not fill the buffer, an adapter may wait for readiness without trying
    /// to read once more, if its readiness is level-triggered.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes as much as is taken, from the start of the first slice on. At most
    /// [`MAX_SLICES`] slices, none of them empty.
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
}

/// A listening TCP socket.
pub trait Listener: Send + 'static {
    /// What it accepts.
    type Stream;

    /// Accepts a connection, with Nagle's algorithm off.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(Self::Stream, SocketAddr)>>;
}

/// A UDP socket.
pub trait Udp: Send + 'static {
    /// Lends the socket to `receive`, which reads packets from it in the way that its system has for many of them. When
    /// that [would block](io::ErrorKind::WouldBlock), there is nothing: it is called again once there is. Its outcome is
    /// this one's.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// The same for writing.
    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Ready, once for each, when the system may have a report on packets that did not arrive, which the driver then
    /// asks for. Called with the context of [`poll_receive`](Self::poll_receive). An adapter whose receiving wakes up
    /// for errors has nothing to add.
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Pending
    }
}

/// A timer that can be set again and again.
pub trait Timer: Send + 'static {
    /// Sets the timer, in place of what it was set to.
    fn set(&mut self, at: Instant);

    /// Ready once the time has come. A timer that is not set is pending for ever. May be ready early:
    /// the loop looks at the clock.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// One HTTP `GET`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpHop {
    /// The URL; `http` or `https`.
    pub url: String,
    /// The only place to connect to, whatever the host name in the URL resolves to by now. The
    /// certificate is checked against the name nevertheless.
    pub to: SocketAddr,
    /// The local address to dial from, if any.
    pub from: Option<IpAddr>,
    /// The largest body, as it comes, in bytes. Reading stops beyond it, with
    /// [`ContactError::TooLarge`]. The driver holds to the same limit when it unpacks it.
    pub body_limit: u32,
    /// What the body is, which tells how long it is waited for.
    pub content: HttpContent,
}

impl HttpHop {
    /// An exchange over any local address.
    pub fn new(url: String, to: SocketAddr, body_limit: u32) -> Self {
        Self {
            url,
            to,
            from: None,
            body_limit,
            content: HttpContent::default(),
        }
    }
}

/// What a body is, as far as that matters for reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpContent {
    /// Anything: nothing but its framing tells where it ends.
    #[default]
    Anything,
    /// What a tracker replies: bencoded, and made in a moment.
    TrackerReply,
    /// A torrent file: bencoded, and perhaps made only when it is asked for, by a server that has to look
    /// things up on its way.
    TorrentFile,
}

impl HttpContent {
    /// Whether it is bencoded, so that it tells by itself where it ends.
    pub fn is_bencoded(self) -> bool {
        match self {
            Self::Anything => false,
            Self::TrackerReply | Self::TorrentFile => true,
        }
    }
}

/// Slices that are written with one call at most.
pub const MAX_SLICES: usize = 128;

/// What trackers and web seeds see as `User-Agent`.
pub const USER_AGENT: &str = concat!("anabranch/", env!("CARGO_PKG_VERSION"));

/// The body of a reply as it comes in.
#[derive(Clone, Debug)]
pub struct HttpBody {
    bytes: Vec<u8>,
    limit: u32,
}

impl HttpBody {
    /// An empty body of at most [`HttpHop::body_limit`] bytes.
    pub fn new(limit: u32) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    /// Takes what has come. No more than the limit is ever kept.
    ///
    /// # Errors
    ///
    /// [`ContactError::TooLarge`]: reading any further is of no use.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), ContactError> {
        let room = self.limit as usize - self.bytes.len();
        if chunk.len() > room {
            return Err(ContactError::TooLarge { limit: self.limit });
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// What has come.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is room for no more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.limit as usize
    }

    /// Takes of what has come as much as the limit leaves room for.
    pub(crate) fn push_what_fits(&mut self, chunk: &[u8]) {
        let room = self.limit as usize - self.bytes.len();
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// Whether nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The whole body.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// The reply to one HTTP `GET`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// The `Content-Encoding` header.
    pub coding: Option<String>,
    /// The body as it came, packed or not.
    pub body: Bytes,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_kept_up_to_its_limit_and_no_further() {
        let mut body = HttpBody::new(5);
        assert_eq!(body.push(b"abc"), Ok(()));
        assert_eq!(body.push(b"def"), Err(ContactError::TooLarge { limit: 5 }));
        assert_eq!(body.push(b"de"), Ok(()));
        assert_eq!(body.finish(), "abcde");
    }
}
