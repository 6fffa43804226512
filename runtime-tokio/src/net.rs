//! Sockets.
//!
//! tokio keeps a waker for each direction of a socket, and knows that a read that did not fill its
//! buffer, or a write that was not taken whole, need not be repeated to find out that it would block.

use std::fmt;
use std::future::{Future, pending};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anabranch_driver::net;
use anabranch_driver::runtime::{Listener, SockRef, Stream, Udp};
use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A TCP connection.
#[derive(Debug)]
pub struct TokioStream(TcpStream);

impl TokioStream {
    pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let stream = TcpStream::from_std(net::begin_connect(to, from)?)?;
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(Self(stream)),
        }
    }
}

impl Stream for TokioStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

/// A socket that listens.
#[derive(Debug)]
pub struct TokioListener(TcpListener);

impl TokioListener {
    pub(crate) fn new(socket: std::net::TcpListener) -> io::Result<Self> {
        TcpListener::from_std(socket).map(Self)
    }
}

impl Listener for TokioListener {
    type Stream = TokioStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioStream, SocketAddr)>> {
        let (stream, from) = ready!(self.0.poll_accept(cx))?;
        stream.set_nodelay(true)?;
        Poll::Ready(Ok((TokioStream(stream), from)))
    }
}

/// A UDP socket.
pub struct TokioUdp {
    socket: Arc<UdpSocket>,
    /// Waits for an error, which wakes nobody who waits for packets.
    error: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl TokioUdp {
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let error = Box::pin(next_error(Arc::clone(&socket)));
        Ok(Self { socket, error })
    }
}

impl fmt::Debug for TokioUdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

async fn next_error(socket: Arc<UdpSocket>) {
    if socket.ready(Interest::ERROR).await.is_err() {
        // The runtime is at its end.
        pending::<()>().await;
    }
    // Whoever is told asks the socket itself, so the next error counts.
    let _ = socket.try_io(Interest::ERROR, || {
        Err::<(), _>(io::ErrorKind::WouldBlock.into())
    });
}

impl Udp for TokioUdp {
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        receive: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let socket = SockRef::from(&*self.socket);
            match self.socket.try_io(Interest::READABLE, || receive(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
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
            ready!(self.socket.poll_send_ready(cx))?;
            let socket = SockRef::from(&*self.socket);
            match self.socket.try_io(Interest::WRITABLE, || transmit(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.error.as_mut().poll(cx));
        self.error = Box::pin(next_error(Arc::clone(&self.socket)));
        Poll::Ready(())
    }
}
