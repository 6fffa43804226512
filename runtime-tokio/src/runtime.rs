//! The adapter.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anabranch_driver::engine::event::ContactError;
use anabranch_driver::http::{self, Tls};
use anabranch_driver::net;
use anabranch_driver::runtime::{self, HttpAnswer, HttpHop, Runtime};
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::net::{TokioListener, TokioStream, TokioUdp};

/// tokio as a [`Runtime`]: its sockets, timers and resolver, and the driver's HTTP over them.
///
/// A client runs in the runtime that it is started in. Outside of any, the start fails with
/// [`StartError::Runtime`](crate::StartError::Runtime);
/// [`Handle::enter`](tokio::runtime::Handle::enter) is the way in from code that is not asynchronous.
///
/// # Panics
///
/// Starting a client panics, as all of tokio does, in a runtime that was built without sockets or
/// timers: call `enable_all` on its builder.
#[derive(Clone, Debug, Default)]
pub struct Tokio {
    tls: Tls,
}

#[cfg(feature = "tls")]
impl Tokio {
    /// Trusts the certificate authorities in a file, in PEM format, instead of the system's. The
    /// environment variable `SSL_CERT_FILE` does the same for [`Tokio::default`].
    pub fn with_authorities(file: impl Into<std::path::PathBuf>) -> Self {
        Self {
            tls: Tls::with_authorities(file),
        }
    }
}

/// The runtime that this is called in.
fn here() -> io::Result<Handle> {
    Handle::try_current().map_err(io::Error::other)
}

impl Runtime for Tokio {
    type Stream = TokioStream;
    type Listener = TokioListener;
    type Udp = TokioUdp;
    type Timer = TokioTimer;

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> impl Future<Output = io::Result<TokioStream>> + Send + use<> {
        TokioStream::connect(to, from)
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<TokioListener> {
        here()?;
        TokioListener::new(listener)
    }

    fn udp(&self, socket: std::net::UdpSocket) -> io::Result<TokioUdp> {
        here()?;
        TokioUdp::new(socket)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer(None)
    }

    fn resolve(
        &self,
        host: String,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ContactError>> + Send + use<> {
        async move {
            match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => Ok(found.map(|address| address.ip()).collect()),
                Err(error) => Err(net::lookup_error(&error)),
            }
        }
    }

    fn http(
        &self,
        hop: HttpHop,
    ) -> impl Future<Output = Result<HttpAnswer, ContactError>> + Send + use<> {
        let tls = self.tls.clone();
        async move {
            let dial = TokioStream::connect(hop.to, hop.from);
            http::get(dial, TokioTimer(None), &tls, &hop).await
        }
    }

    /// Runs the future as a task of the runtime that this is called in.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let here = here()?;
        // A runtime without timers shows now, to whoever built it, and not later, in the task.
        drop(tokio::time::sleep(Duration::ZERO));
        // The loop bounds its turns and yields by itself. tokio's budget, which is far below a turn,
        // would only make its sockets pretend not to be ready.
        here.spawn(tokio::task::unconstrained(future));
        Ok(())
    }
}

/// A timer.
#[derive(Debug)]
pub struct TokioTimer(Option<Pin<Box<Sleep>>>);

impl runtime::Timer for TokioTimer {
    fn set(&mut self, at: Instant) {
        let at = at.into();
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
