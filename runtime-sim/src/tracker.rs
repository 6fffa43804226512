//! Trackers over HTTP and UDP, and what is wrong with them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anabranch_core::Seed;
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::tracker::TrackerServer;
use bytes::Bytes;

use crate::host::Packet;
use crate::http::Visit;
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
    pub(crate) address6: SocketAddr,
    pub(crate) mode: TrackerMode,
    pub(crate) asked: u64,
}

impl Tracker {
    pub(crate) fn new(index: u32, seed: Seed, interval: Duration) -> Self {
        let [_, high, middle, low] = (index + 1).to_be_bytes();
        let last = [[0, high], [middle, low]].map(u16::from_be_bytes);
        let v6 = IpAddr::from([0x2a09, 0, 0, 0, 0, 0, last[0], last[1]]);
        Self {
            server: TrackerServer::new(seed, interval),
            address: SocketAddr::new(IpAddr::from([9, high, middle, low]), TRACKER_PORT),
            address6: SocketAddr::new(v6, TRACKER_PORT),
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

    /// The URLs under which a tracker is found over HTTP and over UDP at its address of IPv6.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn urls6(&self, tracker: TrackerId) -> [String; 2] {
        let address = self.tracker(tracker).address6;
        [
            format!("http://{address}/announce"),
            format!("udp://{address}"),
        ]
    }

    /// A tracker's address of IPv6.
    ///
    /// # Panics
    ///
    /// When the tracker is of another world.
    pub fn tracker_address6(&self, tracker: TrackerId) -> SocketAddr {
        self.tracker(tracker).address6
    }

    /// A tracker's address of IPv4.
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

    fn tracker(&self, tracker: TrackerId) -> &Tracker {
        match self.trackers.get(tracker.0 as usize) {
            Some(found) => found,
            None => panic!("there is no {tracker}"),
        }
    }

    /// A request has come to a tracker.
    pub(crate) fn visit_tracker(&mut self, visit: Visit) {
        let now = self.now;
        let host = self.hosts.get(visit.host as usize);
        let Some(from) = host.and_then(|host| host.address_towards(visit.to)) else {
            return;
        };
        let from = from.ip();
        let latency = self.latency(visit.host, visit.server);
        let Some(tracker) = self
            .trackers
            .get_mut((visit.server & !TRACKER_BIT) as usize)
        else {
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
                return self.finish_exchange(visit.host, visit.asker, Err(error), now + latency);
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
            Ok(HttpReply {
                status,
                body,
                retry_after: None,
            })
        };
        let at = now + delay + latency;
        self.finish_exchange(visit.host, visit.asker, result, at);
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
            TrackerMode::Refusing => return self.send_back(index | TRACKER_BIT, packet),
            TrackerMode::Silent => None,
        };
        let from = packet.to;
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
        let number = |high, middle, low| u32::from_be_bytes([0, high, middle, low]).checked_sub(1);
        let index = match address.ip() {
            IpAddr::V4(ip) => match ip.octets() {
                [9, high, middle, low] => number(high, middle, low),
                _ => None,
            },
            IpAddr::V6(ip) => match ip.octets() {
                [0x2a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, middle, low] => {
                    number(high, middle, low)
                }
                _ => None,
            },
        }?;
        let known = (index as usize) < self.trackers.len();
        (known && address.port() == TRACKER_PORT).then_some(index)
    }
}
