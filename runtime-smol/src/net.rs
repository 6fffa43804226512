//! Sockets.
//!
//! async-io tells of readiness once and level-triggered: a direction that was asked about and is ready
//! at that moment is reported. So a read that did not fill its buffer, or a write that was not taken
//! whole, need not be repeated to find out that it would block: the next call waits first. That saves
//! a system call for each.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::task::{Context, Poll, ready};

use anabranch_driver::net;
use anabranch_driver::runtime::{Listener, SockRef, Stream, Udp};
use async_io::Async;

/// A TCP connection.
#[derive(Debug)]
pub struct SmolStream {
    io: Async<TcpStream>,
    /// The next read waits first.
    drained: bool,
    /// The next write waits first.
    full: bool,
}

impl SmolStream {
    fn new(io: Async<TcpStream>) -> Self {
        Self {
            io,
            drained: false,
            full: false,
        }
    }

    pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let io = Async::new_nonblocking(net::begin_connect(to, from)?)?;
        io.writable().await?;
        match io.get_ref().take_error()? {
            Some(error) => Err(error),
            None => Ok(Self::new(io)),
        }
    }
}

impl Stream for SmolStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.drained {
                ready!(self.io.poll_readable(cx))?;
                self.drained = false;
            }
            match self.io.get_ref().read(buf) {
                Ok(len) => {
                    self.drained = len < buf.len();
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered: usize = bufs.iter().map(|buf| buf.len()).sum();
        loop {
            if self.full {
                ready!(self.io.poll_writable(cx))?;
                self.full = false;
            }
            match self.io.get_ref().write_vectored(bufs) {
                Ok(len) => {
                    self.full = len < offered;
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct SmolListener(Async<TcpListener>);

impl SmolListener {
    pub(crate) fn new(io: Async<TcpListener>) -> Self {
        Self(io)
    }
}

impl Listener for SmolListener {
    type Stream = SmolStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SmolStream, SocketAddr)>> {
        loop {
            match self.0.get_ref().accept() {
                Ok((stream, from)) => {
                    net::prepare_accepted(&stream)?;
                    let stream = SmolStream::new(Async::new_nonblocking(stream)?);
                    return Poll::Ready(Ok((stream, from)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_readable(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct SmolUdp(Async<UdpSocket>);

impl SmolUdp {
    pub(crate) fn new(io: Async<UdpSocket>) -> Self {
        Self(io)
    }
}

impl Udp for SmolUdp {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match receive(SockRef::from(self.0.get_ref())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_readable(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match transmit(SockRef::from(self.0.get_ref())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_writable(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }
}
