//! Names, and HTTP exchanges from where they are asked for to the server that answers.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use anabranch_core::action::{HttpRequest, LocalPaths};
use anabranch_core::event::{ContactError, HttpReply, OpResult};
use anabranch_core::id::OpId;
use anabranch_core::{Event, Instant};
use url::Url;

use crate::event::Happening;
use crate::web::WEB_BIT;
use crate::world::{HostId, TRACKER_BIT, World};

/// How names are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsMode {
    /// As it should be.
    #[default]
    Working,
    /// Every look-up fails at once.
    Failing,
    /// Nobody answers.
    Silent,
    /// It takes so much longer.
    Slow(Duration),
}

/// An HTTP `GET` that a test makes in a host's place. See [`World::http_get`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGet {
    /// The whole URL.
    pub url: String,
    /// The bytes that are asked for, from the start of the file on; all without.
    pub range: Option<Range<u64>>,
    /// The largest body, in bytes.
    pub body_limit: u32,
    /// How long it may take.
    pub timeout: Duration,
    /// What may be asked of the host's own machine.
    pub local_paths: LocalPaths,
}

impl HttpGet {
    /// Asks for all of it, at most a gibibyte, within a minute, on any path.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            range: None,
            body_limit: 1 << 30,
            timeout: Duration::from_secs(60),
            local_paths: LocalPaths::Any,
        }
    }

    /// Asks for some bytes only.
    pub fn with_range(self, range: Range<u64>) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    /// Asks services of the host's own machine for these paths alone.
    pub fn with_local_paths(self, local_paths: LocalPaths) -> Self {
        Self {
            local_paths,
            ..self
        }
    }
}

impl From<HttpRequest> for HttpGet {
    fn from(request: HttpRequest) -> Self {
        Self {
            url: request.url,
            range: None,
            body_limit: request.body_limit,
            timeout: Duration::from_millis(u64::from(request.timeout_ms)),
            local_paths: request.local_paths,
        }
    }
}

/// Names an exchange that a test made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(u64);

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Engine(OpId),
    Test(u64),
}

/// A request on its way to a server, and what is needed to answer it.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) host: u32,
    pub(crate) life: u32,
    pub(crate) asker: Asker,
    /// A tracker's or a web server's place.
    pub(crate) server: u32,
    pub(crate) to: IpAddr,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) range: Option<Range<u64>>,
    pub(crate) body_limit: u32,
}

impl World {
    /// Makes an HTTP exchange in a host's place, over its link.
    pub fn http_get(&mut self, host: HostId, get: HttpGet) -> FetchId {
        let fetch = self.fetches.len() as u64;
        self.fetches.push(None);
        self.exchange(host.0, Asker::Test(fetch), get, false);
        FetchId(fetch)
    }

    /// What came of an exchange, once it has ended.
    pub fn fetched(&self, fetch: FetchId) -> Option<&Result<HttpReply, ContactError>> {
        self.fetches.get(fetch.0 as usize)?.as_ref()
    }

    /// Gives a name to addresses; with none, the name is known not to exist.
    pub fn set_name(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.names.insert(name.to_ascii_lowercase(), addresses);
    }

    /// A name look-up of a host's.
    pub(crate) fn look_up(&mut self, host: u32, op: OpId, name: &str, fails: bool) {
        let (result, after) = if fails {
            let error = ContactError::Failed(String::from("as the test wants it"));
            (Err(error), Duration::ZERO)
        } else {
            self.resolve(host, name)
        };
        let at = self.now + after;
        self.finish_contact(host, op, OpResult::Resolved(result), at);
    }

    /// What a host is told of a name, and after which time. As resolvers do, it leaves out addresses of
    /// families that the host does not have.
    fn resolve(&self, host: u32, name: &str) -> (Result<Vec<IpAddr>, ContactError>, Duration) {
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return (Ok(vec![address]), Duration::ZERO);
        }
        let latency = match &self.dns {
            DnsMode::Working => self.config.dns_latency,
            DnsMode::Slow(time) => self.config.dns_latency + *time,
            DnsMode::Failing => {
                let error = ContactError::Failed(String::from("the name server failed"));
                return (Err(error), self.config.dns_latency);
            }
            DnsMode::Silent => return (Err(ContactError::TimedOut), self.config.dns_timeout),
        };
        // Name servers are where the trackers are.
        if latency > self.config.dns_timeout || !self.path_is_open(host, TRACKER_BIT) {
            return (Err(ContactError::TimedOut), self.config.dns_timeout);
        }
        let known = self.names.get(&name.to_ascii_lowercase());
        let usable: Vec<IpAddr> = known
            .into_iter()
            .flatten()
            .copied()
            .filter(|address| self.has_family(host, *address))
            .collect();
        if usable.is_empty() {
            return (Err(ContactError::NoSuchHost), latency);
        }
        (Ok(usable), latency)
    }

    fn has_family(&self, host: u32, address: IpAddr) -> bool {
        let host = self.hosts.get(host as usize);
        host.is_some_and(|host| host.address_towards(address).is_some())
    }

    /// An HTTP exchange of a host's: look up, connect, ask, be answered.
    pub(crate) fn exchange(&mut self, host: u32, asker: Asker, get: HttpGet, fails: bool) {
        // Whatever happens, the exchange ends; what comes later finds it gone.
        let deadline = self.now + get.timeout;
        self.finish_exchange(host, asker, Err(ContactError::TimedOut), deadline);
        if fails {
            let error = ContactError::Failed(String::from("as the test wants it"));
            return self.finish_exchange(host, asker, Err(error), self.now);
        }
        let Ok(url) = Url::parse(&get.url) else {
            let error = ContactError::Failed(String::from("not a URL"));
            return self.finish_exchange(host, asker, Err(error), self.now);
        };
        let (found, after) = self.resolve(host, url.host_str().unwrap_or_default());
        let at = self.now + after;
        let address = match found.and_then(|found| allowed(get.local_paths, &url, &found)) {
            Ok(address) => address,
            Err(error) => return self.finish_exchange(host, asker, Err(error), at),
        };
        if !self.has_family(host, address) {
            let error = ContactError::Unreachable(String::from("network unreachable"));
            return self.finish_exchange(host, asker, Err(error), at);
        }
        let port = url.port_or_known_default().unwrap_or(80);
        let to = SocketAddr::new(address, port);
        let tracker = self.tracker_at(to).map(|index| index | TRACKER_BIT);
        let web = self.web_at(to).map(|index| index | TRACKER_BIT | WEB_BIT);
        let Some(server) = tracker.or(web) else {
            // An address that nobody has: silence.
            return;
        };
        let visit = Visit {
            host,
            life: self.life(host),
            asker,
            server,
            to: address,
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
            range: get.range,
            body_limit: get.body_limit,
        };
        // There, back, and there with the request.
        let arrives = at + self.latency(host, server) * 3;
        self.queue.push(arrives, Happening::Visit(Box::new(visit)));
    }

    /// A request has come to its server.
    pub(crate) fn on_visit(&mut self, visit: Visit) {
        let there = self.life(visit.host) == visit.life;
        if !there || !self.path_is_open(visit.host, visit.server) {
            return;
        }
        if visit.server & WEB_BIT != 0 {
            self.visit_web(visit);
        } else {
            self.visit_tracker(visit);
        }
    }

    /// Ends an exchange, unless it has ended before.
    pub(crate) fn finish_exchange(
        &mut self,
        host: u32,
        asker: Asker,
        result: Result<HttpReply, ContactError>,
        at: Instant,
    ) {
        match asker {
            Asker::Engine(op) => self.finish_contact(host, op, OpResult::Http(result), at),
            Asker::Test(fetch) => {
                let result = Box::new(result);
                self.queue.push(at, Happening::Fetched { fetch, result });
            }
        }
    }

    pub(crate) fn on_fetched(&mut self, fetch: u64, result: Result<HttpReply, ContactError>) {
        if let Some(place) = self.fetches.get_mut(fetch as usize) {
            place.get_or_insert(result);
        }
    }

    /// Ends a look-up or an exchange of an engine's, unless it has ended before.
    fn finish_contact(&mut self, host: u32, op: OpId, result: OpResult, at: Instant) {
        let life = self.life(host);
        let event = Box::new(Event::Done { op, result });
        let contact = Happening::Contact {
            host,
            life,
            op,
            event,
        };
        self.queue.push(at, contact);
    }
}

/// The first of a server's addresses that may be asked for this path: a host's own machine is one that runs
/// more than trackers.
fn allowed(paths: LocalPaths, url: &Url, found: &[IpAddr]) -> Result<IpAddr, ContactError> {
    let mut addresses = found.iter().copied();
    let open = addresses.find(|address| paths.allows(*address, url.path()));
    open.ok_or_else(|| match found.first() {
        Some(address) => ContactError::Failed(format!(
            "{address} is this machine, and {} is no path of a tracker",
            url.path()
        )),
        None => ContactError::NoSuchHost,
    })
}
