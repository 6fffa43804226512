//! HTTP: reqwest, over rustls.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anabranch_driver::core::event::ContactError;
use anabranch_driver::runtime::{HttpAnswer, HttpBody, HttpHop, USER_AGENT};
use reqwest::{Client, Url, header, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::sync::OnceCell;

/// Destinations whose connections are kept for the next exchange. Each costs some kilobytes, and up to
/// [`IDLE`] connections for as long as reqwest keeps them, which is a minute and a half.
const DESTINATIONS: usize = 16;

/// Connections to one destination that are kept for the next exchange.
const IDLE: usize = 4;

/// What makes HTTP exchanges. TLS is set up when it is first used, since that reads files.
#[derive(Debug, Default)]
pub(crate) struct Http {
    authorities: Option<PathBuf>,
    tls: OnceCell<ClientConfig>,
    /// reqwest has no say about the address of a single request, so each destination has a client of
    /// its own. The one that was used last comes last.
    clients: Mutex<VecDeque<(Destination, Client)>>,
}

/// What a connection can be used again for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    https: bool,
    host: String,
    to: SocketAddr,
    from: Option<IpAddr>,
}

impl Http {
    pub(crate) fn with_authorities(file: PathBuf) -> Self {
        Self {
            authorities: Some(file),
            ..Self::default()
        }
    }

    pub(crate) async fn get(&self, hop: HttpHop) -> Result<HttpAnswer, ContactError> {
        let url = Url::parse(&hop.url).map_err(|error| ContactError::Failed(error.to_string()))?;
        let client = self.client(&url, &hop).await?;
        let mut response = client.get(url).send().await.map_err(contact_error)?;
        // Of several the last counts. A location that is not text leads nowhere.
        let last = |name| {
            let values = response.headers().get_all(name);
            let last = values.iter().next_back();
            last.and_then(|value| value.to_str().ok().map(str::to_owned))
        };
        let location = last(header::LOCATION);
        let retry_after = last(header::RETRY_AFTER);
        let mut body = HttpBody::new(hop.body_limit);
        while let Some(chunk) = response.chunk().await.map_err(contact_error)? {
            body.push(&chunk)?;
        }
        Ok(HttpAnswer {
            status: response.status().as_u16(),
            location,
            body: body.finish(),
            retry_after,
        })
    }

    async fn client(&self, url: &Url, hop: &HttpHop) -> Result<Client, ContactError> {
        let destination = Destination {
            https: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            to: hop.to,
            from: hop.from,
        };
        if let Some(client) = self.kept(&destination) {
            return Ok(client);
        }
        let tls = if destination.https {
            self.tls().await?
        } else {
            plain()?
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .resolve(&destination.host, destination.to)
            .local_address(destination.from)
            .redirect(redirect::Policy::none())
            // The contact was judged by its address; a proxy would be another contact.
            .no_proxy()
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .pool_max_idle_per_host(IDLE)
            .build()
            .map_err(contact_error)?;
        self.keep(destination, &client);
        Ok(client)
    }

    fn kept(&self, destination: &Destination) -> Option<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let at = clients.iter().position(|(kept, _)| kept == destination)?;
        let entry = clients.remove(at)?;
        let client = entry.1.clone();
        clients.push_back(entry);
        Some(client)
    }

    fn keep(&self, destination: Destination, client: &Client) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= DESTINATIONS {
            clients.pop_front();
        }
        clients.push_back((destination, client.clone()));
    }

    async fn tls(&self) -> Result<ClientConfig, ContactError> {
        let load = || async {
            let authorities = self.authorities.clone();
            tokio::task::spawn_blocking(move || trusting(authorities.as_deref()))
                .await
                .map_err(|error| ContactError::Failed(error.to_string()))?
        };
        self.tls.get_or_try_init(load).await.cloned()
    }
}

/// rustls with the authorities in a file, or those of the system.
fn trusting(authorities: Option<&Path>) -> Result<ClientConfig, ContactError> {
    let Some(file) = authorities else {
        let config = versions()?
            .with_platform_verifier()
            .map_err(|error| ContactError::Tls(error.to_string()))?;
        return Ok(config.with_no_client_auth());
    };
    let failed = |error: &dyn Error| ContactError::Tls(format!("{}: {error}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// rustls that trusts nobody, for exchanges without TLS: they need no authority to be there.
fn plain() -> Result<ClientConfig, ContactError> {
    Ok(versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn versions() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ContactError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ContactError::Tls(error.to_string()))
}

fn contact_error(error: reqwest::Error) -> ContactError {
    // Outermost first; the last says most.
    let mut words = error.to_string();
    let mut tls = false;
    let mut next = error.source();
    while let Some(cause) = next {
        words = cause.to_string();
        // An error within an `io::Error` is not among its sources itself, only what is behind it.
        let io = cause.downcast_ref::<io::Error>();
        let inner = io.and_then(io::Error::get_ref);
        tls |=
            cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>());
        // Dialling never ends like this, so it was the handshake that the other side did not like.
        tls |= error.is_connect() && io.is_some_and(|io| is_hang_up(io.kind()));
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    if tls {
        ContactError::Tls(words)
    } else if error.is_timeout() {
        ContactError::TimedOut
    } else if error.is_connect() {
        ContactError::Unreachable(words)
    } else {
        ContactError::Failed(words)
    }
}

fn is_hang_up(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
