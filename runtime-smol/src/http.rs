//! HTTP: surf, over libcurl.

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;

use anabranch_driver::core::event::ContactError;
use anabranch_driver::runtime::{HttpAnswer, HttpBody, HttpHop, USER_AGENT};
use futures_lite::AsyncReadExt as _;
use futures_lite::io::BufReader;
use http_client::{HttpClient, Request, Response, http_types};
use isahc::config::{Configurable as _, RedirectPolicy};
use isahc::net::Dialer;
use isahc::tls::{TlsConfig, TrustStore};
use surf::http::{Method, StatusCode, Url};

/// Read at a time, in bytes.
const CHUNK: usize = 16 << 10;

/// A surf client, made when it is first used: libcurl keeps a thread.
#[derive(Debug, Default)]
pub(crate) struct Http {
    authorities: Option<PathBuf>,
    client: OnceLock<Result<surf::Client, ContactError>>,
}

impl Http {
    pub(crate) fn with_authorities(file: PathBuf) -> Self {
        Self {
            authorities: Some(file),
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<surf::Client, ContactError> {
        self.client
            .get_or_init(|| {
                let trust = match &self.authorities {
                    Some(file) => TrustStore::from_file(file),
                    None => TrustStore::native(),
                };
                isahc::HttpClient::builder()
                    .tls_config(TlsConfig::builder().trust_store(trust).build())
                    .redirect_policy(RedirectPolicy::None)
                    // The contact was judged by its address; a proxy would be another contact.
                    .proxy(None)
                    .default_header("user-agent", USER_AGENT)
                    .build()
                    .map(|client| surf::Client::with_http_client(Curl(client)))
                    .map_err(|error| ContactError::Failed(words(&error)))
            })
            .clone()
    }

    pub(crate) async fn get(&self, hop: HttpHop) -> Result<HttpAnswer, ContactError> {
        let client = self.client()?;
        let url = Url::parse(&hop.url).map_err(|error| ContactError::Failed(error.to_string()))?;
        let mut request = Request::new(Method::Get, url);
        request.ext_mut().insert(Route {
            to: hop.to,
            from: hop.from,
        });
        let mut response = client.send(request).await.map_err(contact_error)?;
        let location = response
            .header("location")
            .map(|values| values.last().as_str().to_owned());
        let retry_after = response
            .header("retry-after")
            .map(|values| values.last().as_str().to_owned());
        let mut body = HttpBody::new(hop.body_limit);
        let mut chunk = vec![0; CHUNK];
        loop {
            let len = match response.read(&mut chunk).await {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => return Err(contact_error(surf::Error::from(error))),
            };
            body.push(&chunk[..len])?;
        }
        Ok(HttpAnswer {
            status: response.status().into(),
            location,
            body: body.finish(),
            retry_after,
        })
    }
}

/// Where a request goes, on its way through surf.
#[derive(Clone, Copy, Debug)]
struct Route {
    to: SocketAddr,
    from: Option<IpAddr>,
}

/// libcurl as a back end of surf. It undoes content encodings while the body streams.
struct Curl(isahc::HttpClient);

impl fmt::Debug for Curl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Curl")
    }
}

#[http_client::async_trait]
impl HttpClient for Curl {
    async fn send(&self, request: Request) -> Result<Response, http_types::Error> {
        let mut builder = isahc::Request::get(request.url().as_str());
        if let Some(route) = request.ext().get::<Route>() {
            builder = builder.dial(Dialer::ip_socket(route.to));
            if let Some(from) = route.from {
                builder = builder.interface(from);
            }
        }
        let reply = self.0.send_async(builder.body(())?).await?;
        let (head, body) = reply.into_parts();
        let mut response = Response::new(StatusCode::try_from(head.status.as_u16())?);
        for (name, value) in &head.headers {
            // A header that is not text is of no use to anybody here.
            if let Ok(value) = value.to_str() {
                response.append_header(name.as_str(), value);
            }
        }
        response.set_body(http_types::Body::from_reader(BufReader::new(body), None));
        Ok(response)
    }
}

fn contact_error(error: surf::Error) -> ContactError {
    let error = error.into_inner();
    let curl = error.downcast_ref::<isahc::Error>().or_else(|| {
        // While the body streams, errors come wrapped.
        error
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref())
            .and_then(|error| error.downcast_ref())
    });
    match curl {
        Some(curl) => curl_error(curl),
        None => ContactError::Failed(error.to_string()),
    }
}

fn curl_error(error: &isahc::Error) -> ContactError {
    use isahc::error::ErrorKind;
    // A handshake that fails before certificates are exchanged counts as unreachable for isahc.
    let handshake = error
        .source()
        .and_then(|source| source.downcast_ref::<curl::Error>())
        .is_some_and(curl::Error::is_ssl_connect_error);
    if handshake || error.is_tls() {
        return ContactError::Tls(words(error));
    }
    let kind = error.kind();
    if *kind == ErrorKind::Timeout {
        ContactError::TimedOut
    } else if *kind == ErrorKind::NameResolution {
        ContactError::NoSuchHost
    } else if *kind == ErrorKind::ConnectionFailed {
        ContactError::Unreachable(words(error))
    } else {
        ContactError::Failed(words(error))
    }
}

/// An error with what is behind it, as far as that says more.
fn words(error: &isahc::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}
