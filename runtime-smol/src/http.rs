//! HTTP: surf, over this runtime's own connections.
//!
//! surf leaves the wire to a back end. Here that is the driver's, which takes from servers what the one
//! for tokio takes, and bounds what they send.

use std::net::{IpAddr, SocketAddr};

use anabranch_driver::engine::event::ContactError;
use anabranch_driver::http::{self, Tls};
use anabranch_driver::runtime::{HttpAnswer, HttpHop};
use http_client::http_types::{self, StatusCode};
use http_client::{HttpClient, Request, Response};
use surf::http::{Method, Url};

use crate::net::SmolStream;
use crate::runtime::SmolTimer;

/// A surf client.
#[derive(Debug)]
pub(crate) struct Http(surf::Client);

impl Http {
    pub(crate) fn new(tls: Tls) -> Self {
        Self(surf::Client::with_http_client(Wire { tls }))
    }

    pub(crate) async fn get(&self, hop: HttpHop) -> Result<HttpAnswer, ContactError> {
        let url = Url::parse(&hop.url).map_err(|error| ContactError::Failed(error.to_string()))?;
        let mut request = Request::new(Method::Get, url);
        request.ext_mut().insert(Route {
            to: hop.to,
            from: hop.from,
            body_limit: hop.body_limit,
        });
        let failed = |error: surf::Error| match error.downcast::<ContactError>() {
            Ok(error) => error,
            Err(error) => ContactError::Failed(error.to_string()),
        };
        let mut response = self.0.send(request).await.map_err(failed)?;
        let status = match response.ext::<Status>() {
            Some(Status(status)) => *status,
            None => response.status().into(),
        };
        let text = |name| {
            response
                .header(name)
                .map(|values| values.last().as_str().to_owned())
        };
        let (location, coding) = (text("location"), text("content-encoding"));
        let retry_after = text("retry-after");
        let body = response.body_bytes().await.map_err(failed)?;
        Ok(HttpAnswer {
            status,
            location,
            retry_after,
            coding,
            body: body.into(),
        })
    }
}

/// Where a request goes and what it may bring, on its way through surf.
#[derive(Clone, Copy, Debug)]
struct Route {
    to: SocketAddr,
    from: Option<IpAddr>,
    body_limit: u32,
}

/// A reply's status on its way through surf, which has no words for those that nobody has registered.
#[derive(Clone, Copy, Debug)]
struct Status(u16);

/// The driver's exchange as a back end of surf.
#[derive(Debug)]
struct Wire {
    tls: Tls,
}

#[http_client::async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: Request) -> Result<Response, http_types::Error> {
        let Some(route) = request.ext().get::<Route>().copied() else {
            return Err(failed(ContactError::Denied));
        };
        let mut hop = HttpHop::new(request.url().to_string(), route.to, route.body_limit);
        hop.from = route.from;
        let dial = SmolStream::connect(route.to, route.from);
        let timer = SmolTimer::never();
        let answer = http::get(dial, timer, &self.tls, &hop)
            .await
            .map_err(failed)?;
        let mut response =
            Response::new(StatusCode::try_from(answer.status).unwrap_or(StatusCode::Ok));
        response.ext_mut().insert(Status(answer.status));
        for (name, value) in [
            ("location", answer.location),
            ("retry-after", answer.retry_after),
            ("content-encoding", answer.coding),
        ] {
            // surf's own has no answer to others but a panic.
            if let Some(value) = value.filter(|value| value.is_ascii()) {
                response.insert_header(name, value);
            }
        }
        response.set_body(&answer.body[..]);
        Ok(response)
    }
}

fn failed(error: ContactError) -> http_types::Error {
    http_types::Error::new(StatusCode::BadGateway, error)
}
