//! HTTP as trackers and web seeds speak it.
//!
//! `exchange` follows redirects, keeps the time limit and decides where they may lead, and undoes
//! content codings. Beneath it is an adapter's single exchange, for which there is [`get`]: it reads what
//! real servers send over the adapter's own connections. No library does that for two runtimes alike:
//! what one takes another refuses, and some let a server talk on for ever.
//!
//! | subject | what it is |
//! |---|---|
//! | `get` | one request and its reply over one connection |
//! | `head` | the reply's head |
//! | `body` | where its body ends |
//! | `ending` | where a bencoded one ends by itself |
//! | `coding` | how its body is packed |
//! | `retry_after` | how long a server wants to be left in peace |
//! | `tls` | whom HTTPS trusts, and its bytes |

mod body;
mod coding;
mod ending;
mod get;
mod head;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod retry_after;
#[cfg(feature = "tls")]
mod tls;

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anabranch_core::action::{HttpRequest, LocalPaths};
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::id::TorrentId;
#[cfg(not(feature = "tls"))]
use no_tls as tls;
use url::{Host, Url};

pub use self::get::get;
use self::retry_after::retry_after;
pub use self::tls::Tls;
use crate::net;
use crate::policy::{Contact, ContactKind, Policy};
use crate::runtime::{HttpContent, HttpHop, Runtime, Timer};

/// Addresses of one host that are tried, each for its share of the time that is left.
const MAX_ADDRESSES: usize = 4;

/// Bytes of a path that an error names.
const MAX_SHOWN_PATH: usize = 80;

/// Makes a request, and follows redirects: within the limits, to `http` and `https` only, and never
/// from a public address to one that is not. This machine's own services are asked at no hop for more
/// than [`HttpRequest::local_paths`] says.
///
/// Every hop's name is looked up here, and the adapter connects to the address that was looked at,
/// so that a name that resolves differently a moment later leads nowhere else.
pub(crate) async fn exchange<R: Runtime>(
    runtime: R,
    policy: Arc<dyn Policy>,
    from: Option<IpAddr>,
    torrent: Option<TorrentId>,
    request: HttpRequest,
    content: HttpContent,
) -> Result<HttpReply, ContactError> {
    let deadline = Instant::now() + Duration::from_millis(u64::from(request.timeout_ms));
    let mut exchange = Exchange {
        runtime,
        policy,
        from,
        torrent,
        body_limit: request.body_limit,
        content,
        local_paths: request.local_paths,
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
    torrent: Option<TorrentId>,
    body_limit: u32,
    content: HttpContent,
    local_paths: LocalPaths,
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
            hop.content = self.content;
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
        Ok(match answer.location {
            Some(location) if is_redirect(answer.status) => Hop::Redirect(location),
            _ => Hop::Reply(HttpReply {
                status: answer.status,
                body: coding::unpack(answer.body, answer.coding.as_deref(), self.body_limit)?,
                retry_after: answer.retry_after.as_deref().and_then(retry_after),
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
                let contact = Contact::new(ContactKind::Resolve(name), self.torrent);
                if !self.policy.allows(&contact) {
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
        let (open, local): (Vec<_>, Vec<_>) = followed
            .into_iter()
            .partition(|to| self.local_paths.allows(to.ip(), url.path()));
        if let (true, Some(to)) = (open.is_empty(), local.first()) {
            return Err(ContactError::Failed(format!(
                "{} is this machine, and {} is no path of a tracker \
                 (--allow-local-trackers permits it)",
                to.ip(),
                shown(url.path())
            )));
        }
        let allowed: Vec<SocketAddr> = open
            .into_iter()
            .filter(|to| {
                let kind = ContactKind::Http {
                    url: url.as_str(),
                    address: *to,
                };
                self.policy.allows(&Contact::new(kind, self.torrent))
            })
            .take(MAX_ADDRESSES)
            .collect();
        if allowed.is_empty() {
            return Err(ContactError::Denied);
        }
        Ok(allowed)
    }
}

/// As much of a path as an error names. It is ASCII, without anything that drives a terminal.
fn shown(path: &str) -> &str {
    path.get(..MAX_SHOWN_PATH).unwrap_or(path)
}

/// Whether a reply of this status, with a location, is no answer but leads to one.
fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn parse(text: &str) -> Result<Url, ContactError> {
    let url =
        Url::parse(text).map_err(|error| ContactError::Failed(format!("bad URL: {error}")))?;
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
    until(&mut runtime.timer(), at, future).await
}

/// A future's outcome, or nothing if it takes too long by this timer.
async fn until<F: Future>(timer: &mut impl Timer, at: Instant, future: F) -> Option<F::Output> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{self, IoSlice};
    use std::sync::Mutex;
    use std::task::{Context, Waker};

    use super::*;
    use crate::policy::AllowAll;
    use crate::policy::testing::Rule;
    use crate::runtime::{HttpAnswer, Listener, SockRef, Stream, Udp};

    /// A web of names and pages.
    #[derive(Clone, Default)]
    struct Web(Arc<Mutex<Pages>>);

    #[derive(Default)]
    struct Pages {
        names: BTreeMap<&'static str, Vec<IpAddr>>,
        /// By URL: where it redirects to, or nothing.
        pages: BTreeMap<&'static str, Option<&'static str>>,
        /// Addresses that do not answer.
        dead: Vec<IpAddr>,
        visited: Vec<SocketAddr>,
    }

    #[derive(Debug)]
    pub(super) enum Never {}

    impl Stream for Never {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            match *self {}
        }

        fn poll_write_vectored(
            &mut self,
            _: &mut Context<'_>,
            _: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            match *self {}
        }
    }

    impl Listener for Never {
        type Stream = Self;

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Self, SocketAddr)>> {
            match *self {}
        }
    }

    impl Udp for Never {
        fn poll_receive(
            &mut self,
            _: &mut Context<'_>,
            _: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            match *self {}
        }

        fn poll_transmit(
            &mut self,
            _: &mut Context<'_>,
            _: &mut dyn FnMut(SockRef<'_>) -> io::Result<usize>,
        ) -> Poll<io::Result<usize>> {
            match *self {}
        }
    }

    pub(super) struct NoTimer;

    impl Timer for NoTimer {
        fn set(&mut self, _: Instant) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Runtime for Web {
        type Stream = Never;
        type Listener = Never;
        type Udp = Never;
        type Timer = NoTimer;

        fn connect(
            &self,
            _: SocketAddr,
            _: Option<IpAddr>,
        ) -> impl Future<Output = io::Result<Never>> + Send + use<> {
            std::future::ready(Err(io::ErrorKind::Unsupported.into()))
        }

        fn listener(&self, _: std::net::TcpListener) -> io::Result<Never> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn udp(&self, _: std::net::UdpSocket) -> io::Result<Never> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn timer(&self) -> NoTimer {
            NoTimer
        }

        fn resolve(
            &self,
            host: String,
        ) -> impl Future<Output = Result<Vec<IpAddr>, ContactError>> + Send + use<> {
            let pages = self.0.lock().expect("no panic");
            let found = pages.names.get(host.as_str()).cloned();
            async move { found.ok_or(ContactError::NoSuchHost) }
        }

        fn http(
            &self,
            hop: HttpHop,
        ) -> impl Future<Output = Result<HttpAnswer, ContactError>> + Send + use<> {
            let mut pages = self.0.lock().expect("no panic");
            pages.visited.push(hop.to);
            let result = if pages.dead.contains(&hop.to.ip()) {
                Err(ContactError::Unreachable("dead".into()))
            } else {
                Ok(match pages.pages.get(hop.url.as_str()) {
                    Some(Some(location)) => HttpAnswer {
                        status: 302,
                        location: Some((*location).into()),
                        ..HttpAnswer::default()
                    },
                    Some(None) => HttpAnswer {
                        status: 200,
                        body: hop.url.into(),
                        ..HttpAnswer::default()
                    },
                    None => HttpAnswer {
                        status: 404,
                        ..HttpAnswer::default()
                    },
                })
            };
            async move { result }
        }

        fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    impl Web {
        fn name(self, name: &'static str, addresses: &[&str]) -> Self {
            let addresses = addresses
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect();
            self.0
                .lock()
                .expect("no panic")
                .names
                .insert(name, addresses);
            self
        }

        fn page(self, url: &'static str, to: Option<&'static str>) -> Self {
            self.0.lock().expect("no panic").pages.insert(url, to);
            self
        }

        fn dead(self, address: &str) -> Self {
            let address = address.parse().expect("an address");
            self.0.lock().expect("no panic").dead.push(address);
            self
        }

        fn visited(&self) -> Vec<String> {
            let pages = self.0.lock().expect("no panic");
            pages.visited.iter().map(ToString::to_string).collect()
        }

        fn try_with(
            &self,
            url: &str,
            policy: impl Policy,
            from: Option<IpAddr>,
        ) -> Result<HttpReply, ContactError> {
            self.make(url, LocalPaths::Any, policy, from)
        }

        fn make(
            &self,
            url: &str,
            local_paths: LocalPaths,
            policy: impl Policy,
            from: Option<IpAddr>,
        ) -> Result<HttpReply, ContactError> {
            let request = HttpRequest {
                url: url.into(),
                body_limit: 1000,
                redirects: 3,
                timeout_ms: 60_000,
                local_paths,
            };
            let mut exchange = pin!(exchange(
                self.clone(),
                Arc::new(policy),
                from,
                None,
                request,
                HttpContent::TrackerReply,
            ));
            let mut cx = Context::from_waker(Waker::noop());
            match exchange.as_mut().poll(&mut cx) {
                Poll::Ready(result) => result,
                Poll::Pending => panic!("everything here is ready at once"),
            }
        }

        fn visit(&self, url: &str) -> Result<HttpReply, ContactError> {
            self.try_with(url, AllowAll, None)
        }

        /// As a torrent's tracker.
        fn announce(&self, url: &str) -> Result<HttpReply, ContactError> {
            self.make(url, LocalPaths::Trackers, AllowAll, None)
        }
    }

    const PUBLIC: &str = "1.1.1.1";

    #[test]
    fn redirects_are_followed_up_to_the_limit() {
        let web = Web::default()
            .name("a", &[PUBLIC])
            .page("http://a/1", Some("/2"))
            .page("http://a/2", Some("http://a/3"))
            .page("http://a/3", Some("//a/4"))
            .page("http://a/4", None)
            .page("http://a/0", Some("/1"));
        let reply = web.visit("http://a/1").expect("three redirects");
        assert_eq!((reply.status, &reply.body[..]), (200, &b"http://a/4"[..]));
        let error = web.visit("http://a/0").expect_err("four redirects");
        assert!(matches!(error, ContactError::Redirect(_)), "{error}");
    }

    #[test]
    fn a_public_server_leads_to_no_private_address() {
        for private in ["127.0.0.1", "10.0.0.1", "::1", "::ffff:192.168.0.1"] {
            let web = Web::default()
                .name("public", &[PUBLIC])
                .name("inside", &[private])
                .page("http://public/", Some("http://inside/"))
                .page("http://inside/", None);
            let error = web.visit("http://public/").expect_err(private);
            assert!(matches!(error, ContactError::Redirect(_)), "{error}");
            assert_eq!(web.visited(), ["1.1.1.1:80"]);
            web.visit("http://inside/").expect("asked for by the user");
        }
    }

    /// Addresses of this machine, in all their spellings, and what speaks for it.
    const THIS_MACHINE: [&str; 8] = [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "169.254.169.254",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
    ];

    #[test]
    fn a_name_that_leads_to_this_machine_is_asked_for_paths_of_trackers_alone() {
        for address in THIS_MACHINE {
            let web = Web::default()
                .name("t.example", &[address])
                .page("http://t.example/admin/reboot?info_hash=x", None)
                .page("http://t.example/key/announce?info_hash=x", None)
                .page("http://t.example/scrape.php?info_hash=x", None);
            let error = web
                .announce("http://t.example/admin/reboot?info_hash=x")
                .expect_err(address);
            assert!(
                error.to_string().contains("--allow-local-trackers"),
                "{error}"
            );
            assert!(web.visited().is_empty(), "{address}");
            for path in ["key/announce", "scrape.php"] {
                let url = format!("http://t.example/{path}?info_hash=x");
                assert_eq!(web.announce(&url).expect(address).status, 200);
            }
            web.visit("http://t.example/admin/reboot?info_hash=x")
                .expect("permitted by the user");
        }
    }

    #[test]
    fn a_redirect_to_this_machine_leads_to_paths_of_trackers_alone() {
        // From an address that is not public: a public one leads here by no path.
        let web = Web::default()
            .name("box", &["192.168.0.1"])
            .page("http://box/1/announce", Some("http://127.0.0.1/admin"))
            .page("http://box/2/announce", Some("http://127.0.0.1/announce"))
            .page("http://127.0.0.1/announce", None)
            .page("http://127.0.0.1/admin", None)
            .page("http://127.0.0.1/3/announce", Some("/admin"));
        for url in ["http://box/1/announce", "http://127.0.0.1/3/announce"] {
            let error = web.announce(url).expect_err(url);
            assert!(
                error.to_string().contains("--allow-local-trackers"),
                "{error}"
            );
        }
        assert_eq!(web.visited(), ["192.168.0.1:80", "127.0.0.1:80"]);
        let reply = web.announce("http://box/2/announce").expect("a tracker");
        assert_eq!(reply.body, "http://127.0.0.1/announce");
        web.visit("http://box/1/announce").expect("permitted");
    }

    #[test]
    fn of_a_names_addresses_those_of_this_machine_are_left_out() {
        let web = Web::default()
            .name("t.example", &["127.0.0.1", PUBLIC])
            .page("http://t.example/a", None);
        web.announce("http://t.example/a").expect("the other one");
        assert_eq!(web.visited(), ["1.1.1.1:80"]);
    }

    #[test]
    fn a_detour_over_a_private_address_does_not_wash_a_public_one() {
        let web = Web::default()
            .name("public", &[PUBLIC])
            .name("public2", &["8.8.8.8"])
            .name("inside", &["127.0.0.1"])
            .page("http://public/", Some("http://public2/"))
            .page("http://public2/", Some("http://inside/"))
            .page("http://inside/", None);
        assert!(web.visit("http://public/").is_err());
    }

    #[test]
    fn only_the_web_is_followed() {
        let web = Web::default()
            .name("a", &[PUBLIC])
            .page("http://a/1", Some("file:///etc/passwd"))
            .page("http://a/2", Some("ftp://a/"));
        for url in ["http://a/1", "http://a/2"] {
            let error = web.visit(url).expect_err(url);
            assert!(matches!(error, ContactError::Redirect(_)), "{error}");
        }
        for url in ["file:///etc/passwd", "gopher://a/", "no URL"] {
            assert!(matches!(web.visit(url), Err(ContactError::Failed(_))));
        }
    }

    #[test]
    fn the_next_address_is_tried_when_one_is_dead() {
        let web = Web::default()
            .name("a", &["2606:4700::1", PUBLIC])
            .page("https://a/", None)
            .dead("2606:4700::1");
        web.visit("https://a/").expect("the second address");
        assert_eq!(web.visited(), ["[2606:4700::1]:443", "1.1.1.1:443"]);
    }

    #[test]
    fn a_policy_sees_names_addresses_and_every_hop() {
        let web = Web::default()
            .name("a", &[PUBLIC, "8.8.8.8"])
            .name("b", &["8.8.4.4"])
            .page("http://a/", Some("http://b/"))
            .page("http://b/", None);
        let no_b = Rule(|contact: ContactKind<'_>| contact != ContactKind::Resolve("b"));
        assert_eq!(
            web.try_with("http://a/", no_b, None),
            Err(ContactError::Denied)
        );
        let not_first = Rule(|contact: ContactKind<'_>| match contact {
            ContactKind::Http { address, .. } => address.ip().to_string() != PUBLIC,
            ContactKind::Connect(_)
            | ContactKind::Accept(_)
            | ContactKind::Datagram(_)
            | ContactKind::Stream(_)
            | ContactKind::Resolve(_) => true,
        });
        web.try_with("http://a/", not_first, None)
            .expect("over the other address");
        assert_eq!(web.visited(), ["1.1.1.1:80", "8.8.8.8:80", "8.8.4.4:80"]);
    }

    #[test]
    fn a_bound_address_limits_the_family() {
        let web = Web::default()
            .name("a", &["2606:4700::1"])
            .page("http://a/", None);
        let from = Some("192.0.2.1".parse().expect("an address"));
        let result = web.try_with("http://a/", AllowAll, from);
        assert!(matches!(result, Err(ContactError::Unreachable(_))));
        assert!(web.visited().is_empty());
    }
}
