//! Trackers over HTTP and UDP, names, and what is wrong with them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anabranch_core::action::HttpRequest;
use anabranch_core::event::{ContactError, HttpReply, OpResult};
use anabranch_core::id::OpId;
use anabranch_core::tracker::TrackerServer;
use anabranch_core::{Event, Seed};
use bytes::Bytes;
use url::Url;

use crate::event::{Happening, Visit};
use crate::host::Packet;
use crate::world::{TRACKER_BIT, TrackerId, World};

/// The port on which trackers listen, for HTTP and for UDP.
pub(crate) const TRACKER_PORT: u16 = 6_969;

/// How a tracker behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerMode {
    /// As it should.
    #[default]
    Working,
    /// Nothing listens there.
    Refusing,
    /// It is silent.
    Silent,
    /// It takes so long for an answer.
    Slow(Duration),
    /// It answers with this instead of what it should, and status 200.
    Lying(Bytes),
    /// It answers over HTTP with this status and nothing else.
    Status(u16),
}

#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) server: TrackerServer,
    pub(crate) address: SocketAddr,
    pub(crate) mode: TrackerMode,
    pub(crate) asked: u64,
}

impl Tracker {
    pub(crate) fn new(index: u32, seed: Seed, interval: Duration) -> Self {
        let [_, high, middle, low] = (index + 1).to_be_bytes();
        Self {
            server: TrackerServer::new(seed, interval),
            address: SocketAddr::new(IpAddr::from([9, high, middle, low]), TRACKER_PORT),
            mode: TrackerMode::Working,
            asked: 0,
        }
    }
}

impl World {
    /// Adds a tracker, which asks its clients to come back after `interval`.
    pub fn add_tracker(&mut self, interval: Duration) -> TrackerId {
        let index = self.trackers.len() as u32;
        let seed = self.chance.seed();
        self.trackers.push(Tracker::new(index, seed, interval));
        TrackerId(index)
    }

    /// The URL under which a tracker is found over HTTP.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn http_url(&self, tracker: TrackerId) -> String {
        format!("http://{}/announce", self.tracker(tracker).address)
    }

    /// The URL under which a tracker is found over UDP.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn udp_url(&self, tracker: TrackerId) -> String {
        format!("udp://{}", self.tracker(tracker).address)
    }

    /// A tracker's address.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn tracker_address(&self, tracker: TrackerId) -> SocketAddr {
        self.tracker(tracker).address
    }

    /// How many requests have reached a tracker.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn tracker_requests(&self, tracker: TrackerId) -> u64 {
        self.tracker(tracker).asked
    }

    /// Gives a name to addresses; with none, the name is known not to exist.
    pub fn set_name(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.names.insert(name.to_ascii_lowercase(), addresses);
    }

    fn tracker(&self, tracker: TrackerId) -> &Tracker {
        match self.trackers.get(tracker.0 as usize) {
            Some(found) => found,
            None => panic!("there is no {tracker}"),
        }
    }

    /// A name lookup of a host's.
    pub(crate) fn look_up(&mut self, host: u32, op: OpId, name: &str) {
        let result = self.resolve(name);
        let at = match name.parse::<IpAddr>() {
            Ok(_) => self.now,
            Err(_) => self.now + self.config.dns_latency,
        };
        self.finish_contact(host, op, OpResult::Resolved(result), at);
    }

    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ContactError> {
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        match self.names.get(&name.to_ascii_lowercase()) {
            Some(addresses) if !addresses.is_empty() => Ok(addresses.clone()),
            Some(_) | None => Err(ContactError::NoSuchHost),
        }
    }

    /// An HTTP exchange of a host's: connect, ask, be answered.
    pub(crate) fn exchange(&mut self, host: u32, op: OpId, request: &HttpRequest) {
        let deadline = self.now + Duration::from_millis(u64::from(request.timeout_ms));
        let fail = |error| OpResult::Http(Err(error));
        // Whatever happens, the exchange ends; what comes later finds it gone.
        self.finish_contact(host, op, fail(ContactError::TimedOut), deadline);
        let Ok(url) = Url::parse(&request.url) else {
            let error = ContactError::Failed(String::from("not a URL"));
            return self.finish_contact(host, op, fail(error), self.now);
        };
        let name = url.host_str().unwrap_or_default();
        let address = match self.resolve(name) {
            Ok(addresses) => addresses.first().copied(),
            Err(error) => {
                let at = self.now + self.config.dns_latency;
                return self.finish_contact(host, op, fail(error), at);
            }
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let looked_up = if url.domain().is_some() {
            self.config.dns_latency
        } else {
            Duration::ZERO
        };
        let found = address.and_then(|ip| self.tracker_at(SocketAddr::new(ip, port)));
        let Some(tracker) = found else {
            // An address that nobody has: silence.
            return;
        };
        let life = self.life(host);
        let latency = self.latency(host, tracker | TRACKER_BIT);
        let visit = Visit {
            host,
            life,
            op,
            tracker,
            path: url.path().to_owned(),
            query: url.query().unwrap_or_default().to_owned(),
            body_limit: request.body_limit,
        };
        // There, back, and there with the request.
        let at = self.now + looked_up + latency * 3;
        self.queue.push(at, Happening::Visit(Box::new(visit)));
    }

    /// A request has come to a tracker.
    pub(crate) fn on_visit(&mut self, visit: Visit) {
        let now = self.now;
        let from = match self.hosts.get(visit.host as usize) {
            Some(host) if host.life == visit.life => host.address.ip(),
            _ => return,
        };
        if !self.path_is_open(visit.host, visit.tracker | TRACKER_BIT) {
            return;
        }
        let latency = self.latency(visit.host, visit.tracker | TRACKER_BIT);
        let Some(tracker) = self.trackers.get_mut(visit.tracker as usize) else {
            return;
        };
        tracker.asked += 1;
        let mut status = 200;
        let mut delay = Duration::ZERO;
        let mut lie = None;
        match &tracker.mode {
            TrackerMode::Working => {}
            TrackerMode::Silent => return,
            TrackerMode::Refusing => {
                let error = ContactError::Unreachable(String::from("connection refused"));
                let result = OpResult::Http(Err(error));
                return self.finish_contact(visit.host, visit.op, result, now + latency);
            }
            TrackerMode::Slow(time) => delay = *time,
            TrackerMode::Lying(body) => lie = Some(body.clone()),
            TrackerMode::Status(code) => {
                status = *code;
                lie = Some(Bytes::new());
            }
        }
        let body = match lie {
            Some(lie) => lie,
            None if visit.path.ends_with("/announce") => {
                tracker.server.announce_http(now, from, &visit.query)
            }
            None if visit.path.ends_with("/scrape") => {
                tracker.server.scrape_http(now, &visit.query)
            }
            None => {
                status = 404;
                Bytes::new()
            }
        };
        let result = if body.len() > visit.body_limit as usize {
            Err(ContactError::TooLarge {
                limit: visit.body_limit,
            })
        } else {
            Ok(HttpReply { status, body })
        };
        let at = now + delay + latency;
        self.finish_contact(visit.host, visit.op, OpResult::Http(result), at);
    }

    /// A packet has come to a tracker.
    pub(crate) fn packet_to_tracker(&mut self, index: u32, packet: &Packet) {
        let now = self.now;
        let Some(tracker) = self.trackers.get_mut(index as usize) else {
            return;
        };
        tracker.asked += 1;
        let mut delay = Duration::ZERO;
        let answer = match &tracker.mode {
            TrackerMode::Working | TrackerMode::Status(_) => {
                tracker.server.udp(now, packet.from, &packet.data)
            }
            TrackerMode::Slow(time) => {
                delay = *time;
                tracker.server.udp(now, packet.from, &packet.data)
            }
            TrackerMode::Lying(body) => Some(body.clone()),
            TrackerMode::Refusing | TrackerMode::Silent => None,
        };
        let from = tracker.address;
        if let Some(data) = answer {
            let packet = Packet {
                from,
                to: packet.from,
                data,
            };
            self.carry_packet(index | TRACKER_BIT, packet, now + delay);
        }
    }

    pub(crate) fn tracker_at(&self, address: SocketAddr) -> Option<u32> {
        let IpAddr::V4(ip) = address.ip() else {
            return None;
        };
        let [nine, high, middle, low] = ip.octets();
        let index = u32::from_be_bytes([0, high, middle, low]).checked_sub(1)?;
        let known = nine == 9 && (index as usize) < self.trackers.len();
        (known && address.port() == TRACKER_PORT).then_some(index)
    }

    /// Ends a look-up or an exchange, unless it has ended before.
    fn finish_contact(
        &mut self,
        host: u32,
        op: OpId,
        result: OpResult,
        at: anabranch_core::Instant,
    ) {
        let life = self.life(host);
        let event = Event::Done { op, result };
        self.queue.push(
            at,
            Happening::Contact {
                host,
                life,
                op,
                event: Box::new(event),
            },
        );
    }
}
