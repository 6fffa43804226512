//! RFC 8446, 5246: TLS, by rustls, as bytes in and bytes out.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use anabranch_core::event::ContactError;
use async_channel::Receiver;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use url::{Host, Url};

use crate::sync::lock;

/// Whom HTTPS trusts, and the sessions that servers may resume. Cloning shares both.
///
/// By default these are the authorities of the operating system, or those that the environment
/// variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name. They are read from disk when they are first
/// needed, on a thread of their own.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    authorities: Option<PathBuf>,
    loading: Arc<Mutex<Option<Arc<Loading>>>>,
}

/// One attempt to read the authorities; many may wait for it.
#[derive(Debug)]
struct Loading {
    /// Closed when the outcome is there.
    over: Receiver<Infallible>,
    outcome: OnceLock<Result<Arc<ClientConfig>, ContactError>>,
}

impl Tls {
    /// Trusts the certificate authorities in a file, in PEM format, instead.
    pub fn with_authorities(file: impl Into<PathBuf>) -> Self {
        Self {
            authorities: Some(file.into()),
            ..Self::default()
        }
    }

    /// A session with a URL's host, of which nothing has been said yet.
    pub(super) async fn session(&self, url: &Url) -> Result<Session, ContactError> {
        let name = match url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
                .map_err(|error| ContactError::Tls(error.to_string()))?,
            Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::V6(address)),
            None => return Err(ContactError::NoSuchHost),
        };
        let config = self.config().await?;
        let mut connection = ClientConnection::new(config, name).map_err(tls_error)?;
        // What is sent is one request.
        connection.set_buffer_limit(None);
        Ok(Session {
            connection,
            plain: Vec::new(),
            is_closed: false,
        })
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, ContactError> {
        let loading = self.loading()?;
        // It is never sent anything: its end is the message.
        let _ = loading.over.recv().await;
        let outcome = loading.outcome.get().cloned();
        let outcome = outcome.unwrap_or_else(|| {
            Err(ContactError::Tls(
                "the certificate authorities could not be read".into(),
            ))
        });
        if outcome.is_err() {
            // The next one tries anew.
            let mut current = lock(&self.loading);
            if current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, &loading))
            {
                *current = None;
            }
        }
        outcome
    }

    fn loading(&self) -> Result<Arc<Loading>, ContactError> {
        let mut current = lock(&self.loading);
        if let Some(loading) = &*current {
            return Ok(Arc::clone(loading));
        }
        let (under_way, over) = async_channel::bounded(1);
        let loading = Arc::new(Loading {
            over,
            outcome: OnceLock::new(),
        });
        let authorities = self.authorities.clone();
        let told = Arc::clone(&loading);
        thread::Builder::new()
            .name("anabranch-tls".into())
            .spawn(move || {
                // There is no other attempt that could have set it.
                let _ = told.outcome.set(trusting(authorities.as_deref()));
                drop::<async_channel::Sender<Infallible>>(under_way);
            })
            .map_err(|error| ContactError::Tls(error.to_string()))?;
        *current = Some(Arc::clone(&loading));
        Ok(loading)
    }
}

/// rustls with the authorities in a file, or those of the system.
fn trusting(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, ContactError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            let failed = |error: &dyn std::error::Error| {
                ContactError::Tls(format!("{}: {error}", file.display()))
            };
            for certificate in
                CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?
            {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            // Systems have some that are not as they should be.
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map(|error| format!(": {error}"));
                return Err(ContactError::Tls(format!(
                    "this system has no certificate authorities{}",
                    why.unwrap_or_default()
                )));
            }
        }
    }
    // Named here, so that a program that uses another one is left alone.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client's side of one connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: ClientConnection,
    /// What has come and was not taken yet: no more than one call of [`feed`](Self::feed) brings,
    /// and the rest of a record before it, which is 16 KiB.
    plain: Vec<u8>,
    /// Whether the other side has said that it is done.
    is_closed: bool,
}

impl Session {
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes bytes of the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ContactError> {
        while !bytes.is_empty() && !self.is_closed {
            self.connection.read_tls(&mut bytes).map_err(io_error)?;
            let state = self.connection.process_new_packets().map_err(tls_error)?;
            let (at, more) = (self.plain.len(), state.plaintext_bytes_to_read());
            self.plain.resize(at + more, 0);
            self.connection
                .reader()
                .read_exact(&mut self.plain[at..])
                .map_err(io_error)?;
            self.is_closed = state.peer_has_closed();
        }
        Ok(())
    }

    /// Moves out what the other side has said. Nothing is the end, and `None` that more must come
    /// first.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> Option<usize> {
        if self.plain.is_empty() && !self.is_closed {
            return None;
        }
        let len = self.plain.len().min(buf.len());
        buf[..len].copy_from_slice(&self.plain[..len]);
        self.plain.drain(..len);
        Some(len)
    }

    /// Takes what is to be said.
    pub(super) fn put(&mut self, plain: &[u8]) -> Result<(), ContactError> {
        self.connection.writer().write_all(plain).map_err(io_error)
    }

    /// The bytes that the connection is to carry now.
    pub(super) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            // A vector takes everything.
            if self.connection.write_tls(&mut bytes).is_err() {
                break;
            }
        }
        bytes
    }
}

fn tls_error(error: rustls::Error) -> ContactError {
    ContactError::Tls(error.to_string())
}

fn io_error(error: io::Error) -> ContactError {
    ContactError::Tls(error.to_string())
}
