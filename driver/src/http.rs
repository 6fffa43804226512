//! HTTP on top of an adapter's single exchange: redirects, time limit, and where they may lead.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anabranch_core::action::HttpRequest;
use anabranch_core::event::{ContactError, HttpReply};
use url::{Host, Url};

use crate::net;
use crate::policy::{Contact, Policy};
use crate::runtime::{HttpHop, Runtime, Timer};

/// Addresses of one host that are tried, each for its share of the time that is left.
const MAX_ADDRESSES: usize = 4;

/// Makes a request, and follows redirects: within the limits, to `http` and `https` only, and never
/// from a public address to one that is not.
///
/// Every hop's name is looked up here, and the adapter connects to the address that was looked at,
/// so that a name that resolves differently a moment later leads nowhere else.
pub(crate) async fn exchange<R: Runtime>(
    runtime: R,
    policy: Arc<dyn Policy>,
    from: Option<IpAddr>,
    request: HttpRequest,
) -> Result<HttpReply, ContactError> {
    let deadline = Instant::now() + Duration::from_millis(u64::from(request.timeout_ms));
    let mut exchange = Exchange {
        runtime,
        policy,
        from,
        body_limit: request.body_limit,
        deadline,
        was_public: false,
    };
    let mut url = parse(&request.url)?;
    for _ in 0..=request.redirects {
        match exchange.hop(&url).await? {
            Hop::Reply(reply) => return Ok(reply),
            Hop::Redirect(location) => {
                url = url
                    .join(&location)
                    .map_err(|error| ContactError::Redirect(format!("{location}: {error}")))?;
                if !is_web(&url) {
                    return Err(ContactError::Redirect(format!(
                        "{} is not a scheme to follow",
                        url.scheme()
                    )));
                }
            }
        }
    }
    Err(ContactError::Redirect(format!(
        "more than {} redirects",
        request.redirects
    )))
}

enum Hop {
    Reply(HttpReply),
    Redirect(String),
}

struct Exchange<R> {
    runtime: R,
    policy: Arc<dyn Policy>,
    from: Option<IpAddr>,
    body_limit: u32,
    deadline: Instant,
    /// Whether a public address had a say in where the next hop leads.
    was_public: bool,
}

impl<R: Runtime> Exchange<R> {
    async fn hop(&mut self, url: &Url) -> Result<Hop, ContactError> {
        let addresses = self.addresses(url).await?;
        let mut outcome = Err(ContactError::NoSuchHost);
        let mut left = addresses.len();
        for to in addresses {
            let now = Instant::now();
            let share = self.deadline.saturating_duration_since(now) / left.max(1) as u32;
            left -= 1;
            let mut hop = HttpHop::new(url.to_string(), to, self.body_limit);
            hop.from = self.from;
            let exchange = self.runtime.http(hop);
            outcome = within(&self.runtime, now + share, exchange)
                .await
                .unwrap_or(Err(ContactError::TimedOut))
                .map(|answer| (to, answer));
            let unreachable = matches!(
                outcome,
                Err(ContactError::Unreachable(_) | ContactError::TimedOut)
            );
            if !unreachable {
                break;
            }
        }
        let (to, answer) = outcome?;
        self.was_public |= net::is_public(to.ip());
        let redirected = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        Ok(match answer.location {
            Some(location) if redirected => Hop::Redirect(location),
            _ => Hop::Reply(HttpReply {
                status: answer.status,
                body: answer.body,
            }),
        })
    }

    /// Where a URL's host is, as far as we may go there.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, ContactError> {
        let port = url
            .port_or_known_default()
            .ok_or_else(|| ContactError::Failed(format!("{url} has no port")))?;
        let found = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => {
                if !self.policy.allows(&Contact::Resolve(name)) {
                    return Err(ContactError::Denied);
                }
                let lookup = self.runtime.resolve(name.to_owned());
                within(&self.runtime, self.deadline, lookup)
                    .await
                    .unwrap_or(Err(ContactError::TimedOut))?
            }
            None => return Err(ContactError::NoSuchHost),
        };
        if found.is_empty() {
            return Err(ContactError::NoSuchHost);
        }
        let found = found
            .into_iter()
            .filter(|ip| self.from.is_none_or(|from| from.is_ipv4() == ip.is_ipv4()))
            .map(|ip| SocketAddr::new(ip, port));
        let (followed, refused): (Vec<_>, Vec<_>) =
            found.partition(|to| !self.was_public || net::is_public(to.ip()));
        if followed.is_empty() {
            return Err(match refused.first() {
                Some(to) => ContactError::Redirect(format!(
                    "a public server may not send us to {}",
                    to.ip()
                )),
                None => ContactError::Unreachable("no address of the bound family".into()),
            });
        }
        let allowed: Vec<SocketAddr> = followed
            .into_iter()
            .filter(|to| {
                self.policy.allows(&Contact::Http {
                    url: url.as_str(),
                    address: *to,
                })
            })
            .take(MAX_ADDRESSES)
            .collect();
        if allowed.is_empty() {
            return Err(ContactError::Denied);
        }
        Ok(allowed)
    }
}

fn parse(text: &str) -> Result<Url, ContactError> {
    let url = Url::parse(text).map_err(|error| ContactError::Failed(format!("bad URL: {error}")))?;
    if !is_web(&url) {
        return Err(ContactError::Failed(format!(
            "{} is not http or https",
            url.scheme()
        )));
    }
    Ok(url)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// A future's outcome, or nothing if it takes too long.
async fn within<R: Runtime, F: Future>(runtime: &R, at: Instant, future: F) -> Option<F::Output> {
    let mut timer = runtime.timer();
    timer.set(at);
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            if Instant::now() >= at {
                return Poll::Ready(None);
            }
            // A timer that is early is polled once more, so that it is armed again.
            while timer.poll(cx).is_ready() {
                if Instant::now() >= at {
                    return Poll::Ready(None);
                }
                timer.set(at);
            }
            Poll::Pending
        }
    })
    .await
}
