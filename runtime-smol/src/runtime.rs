//! The adapter.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use anabranch_driver::engine::event::ContactError;
use anabranch_driver::http::Tls;
use anabranch_driver::net;
use anabranch_driver::runtime::{self, HttpAnswer, HttpHop, Runtime};
use async_io::Async;

use crate::http::Http;
use crate::net::{SmolListener, SmolStream, SmolUdp};

/// smol as a [`Runtime`]: sockets and timers on [`async_io`], names by [`async_net`], HTTP by `surf`
/// with the driver's exchange beneath it.
#[derive(Clone, Debug)]
pub struct Smol {
    http: Arc<Http>,
}

impl Smol {
    fn with_tls(tls: Tls) -> Self {
        Self {
            http: Arc::new(Http::new(tls)),
        }
    }

    /// Trusts the certificate authorities in a file, in PEM format, instead of the system's. The
    /// environment variable `SSL_CERT_FILE` does the same for [`Smol::default`].
    #[cfg(feature = "tls")]
    pub fn with_authorities(file: impl Into<std::path::PathBuf>) -> Self {
        Self::with_tls(Tls::with_authorities(file))
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::with_tls(Tls::default())
    }
}

impl Runtime for Smol {
    type Stream = SmolStream;
    type Listener = SmolListener;
    type Udp = SmolUdp;
    type Timer = SmolTimer;

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> impl Future<Output = io::Result<SmolStream>> + Send + use<> {
        SmolStream::connect(to, from)
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<SmolListener> {
        Async::new_nonblocking(listener).map(SmolListener::new)
    }

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<SmolUdp> {
        Async::new_nonblocking(socket).map(SmolUdp::new)
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer::never()
    }

    fn resolve(
        &self,
        host: String,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ContactError>> + Send + use<> {
        async move {
            match async_net::resolve((host, 0)).await {
                Ok(found) if found.is_empty() => Err(ContactError::NoSuchHost),
                Ok(found) => Ok(found.into_iter().map(|address| address.ip()).collect()),
                Err(error) => Err(net::lookup_error(&error)),
            }
        }
    }

    fn http(
        &self,
        hop: HttpHop,
    ) -> impl Future<Output = Result<HttpAnswer, ContactError>> + Send + use<> {
        let http = Arc::clone(&self.http);
        async move { http.get(hop).await }
    }

    /// Runs the future on a thread of its own, which also waits for the operating system on its
    /// behalf.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new()
            .name("anabranch".into())
            .spawn(move || async_io::block_on(future))?;
        Ok(())
    }
}

/// A timer.
#[derive(Debug)]
pub struct SmolTimer(async_io::Timer);

impl SmolTimer {
    /// A timer that is not set.
    pub(crate) fn never() -> Self {
        Self(async_io::Timer::never())
    }
}

impl runtime::Timer for SmolTimer {
    fn set(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
