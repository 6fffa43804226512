//! BEP 3, 7, 15, 23, 48: a small tracker, for demonstrations, tests and simulations.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::rng::{Rng, Seed};
use crate::time::Instant;
use crate::wire::tracker::{
    AnnounceEvent, AnnounceReply, Failure, MAX_SCRAPED, ScrapeReply, ScrapeStats, TrackerPeer,
};
use crate::wire::tracker_http_server::{
    PeerFormat, encode_announce, encode_failure, encode_scrape, parse_announce, parse_scrape,
};
use crate::wire::tracker_udp::{Family, Request, Response};
use crate::wire::{PeerId, WireError};

/// Torrents that are kept; further ones are refused until others have expired.
const MAX_SWARMS: usize = 1_000;

/// Peers that are kept, over all torrents: 100,000 × some 150 bytes.
const MAX_PEERS: usize = 100_000;

/// The longest query that is read, in bytes.
const MAX_QUERY_LEN: usize = 8_192;

/// Peers in one reply at most, and where none are asked for expressly.
const MAX_WANTED: usize = 200;
const DEFAULT_WANTED: usize = 50;

/// IPv6 peers in one datagram at most: with 18 bytes each it stays below the usual 1,500 bytes of a packet.
const MAX_WANTED_UDP_V6: usize = 75;

/// A connection id is valid in the window of its making and in the next (BEP 15: a client uses it for one minute, the
/// tracker accepts it for two).
const CONNECTION_WINDOW: Duration = Duration::from_secs(60);

/// A tracker without sockets: queries and datagrams in, replies out.
///
/// Everything that it chooses follows from its seed. It keeps peers of at most 1,000 torrents, 100,000 in all, and
/// forgets those that are silent for twice the interval. It believes the address that a query comes from, never one
/// that is in it.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use std::time::Duration;
///
/// use anabranch_core::tracker::TrackerServer;
/// use anabranch_core::{Instant, Seed};
///
/// let mut tracker = TrackerServer::new(Seed([7; 32]), Duration::from_secs(1_800));
/// let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-AB0100-bbbbbbbbbbbb&port=6881&left=0";
/// let reply = tracker.announce_http(Instant::ZERO, from, query);
/// assert_eq!(&reply[..], b"d8:completei1e10:downloadedi0e10:incompletei0e8:intervali1800e12:min intervali60e5:peers0:e");
/// ```
#[derive(Debug)]
pub struct TrackerServer {
    swarms: BTreeMap<[u8; 20], Swarm>,
    /// Peers in all swarms.
    peers: usize,
    interval: Duration,
    secret: [u8; 20],
    rng: Rng,
    swept: Instant,
}

#[derive(Debug, Default)]
struct Swarm {
    peers: BTreeMap<SocketAddr, Peer>,
    downloaded: u32,
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    complete: bool,
    seen: Instant,
}

/// An announce, over either protocol.
struct Visit {
    info_hash: [u8; 20],
    peer_id: PeerId,
    addr: SocketAddr,
    left: u64,
    event: Option<AnnounceEvent>,
    wanted: usize,
}

struct Picked {
    stats: ScrapeStats,
    peers: Vec<TrackerPeer>,
}

impl TrackerServer {
    /// A tracker that asks its clients to come back after `interval`, which is taken as whole seconds, at least 1.
    #[must_use]
    pub fn new(seed: Seed, interval: Duration) -> Self {
        let mut rng = Rng::new(seed);
        let mut secret = [0; 20];
        rng.fill(&mut secret);
        Self {
            swarms: BTreeMap::new(),
            peers: 0,
            interval: Duration::from_secs(interval.as_secs().max(1)),
            secret,
            rng,
            swept: Instant::ZERO,
        }
    }

    /// Answers an announce over HTTP: `query` is what stands behind the question mark, the answer is the body of a
    /// reply with status 200. What is not an announce is answered with a failure.
    pub fn announce_http(&mut self, now: Instant, from: IpAddr, query: &str) -> Bytes {
        let body = match self.try_announce_http(now, from, query) {
            Ok(body) => body,
            Err(reason) => encode_failure(&Failure {
                reason,
                ..Failure::default()
            }),
        };
        body.into()
    }

    /// Answers a scrape over HTTP, likewise. A query without info-hash asks for all torrents; the first 1,000 are
    /// told.
    pub fn scrape_http(&mut self, now: Instant, query: &str) -> Bytes {
        self.sweep(now);
        let wanted = if query.len() > MAX_QUERY_LEN {
            Err(WireError::Invalid { key: "query" })
        } else {
            parse_scrape(query)
        };
        let body = match wanted {
            Ok(wanted) => {
                let all = self.swarms.keys().filter(|_| wanted.is_empty());
                let files = wanted
                    .iter()
                    .chain(all)
                    .take(MAX_SCRAPED)
                    .map(|info_hash| (*info_hash, self.stats(info_hash)))
                    .collect();
                encode_scrape(&ScrapeReply { files })
            }
            Err(error) => encode_failure(&Failure {
                reason: error.to_string(),
                ..Failure::default()
            }),
        };
        body.into()
    }

    /// Answers a datagram (BEP 15), if it deserves an answer. Before a sender has proved its address with a connection
    /// id, it is answered with no more bytes than it sent, so nobody can have others flooded.
    pub fn udp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<Bytes> {
        let request = Request::decode(datagram).ok()?;
        let transaction = request.transaction();
        let response = match request {
            Request::Connect { .. } => Response::Connect {
                transaction,
                connection: self.connection_id(from, window(now)),
            },
            Request::Announce { connection, .. } | Request::Scrape { connection, .. }
                if !self.is_connected(now, from, connection) =>
            {
                // Shorter than any request that it answers.
                Response::Error {
                    transaction,
                    message: "connect first".to_string(),
                }
            }
            Request::Announce { announce, .. } => {
                let ip = from.ip().to_canonical();
                let limit = if ip.is_ipv4() {
                    MAX_WANTED
                } else {
                    MAX_WANTED_UDP_V6
                };
                let visit = Visit {
                    info_hash: announce.info_hash,
                    peer_id: announce.peer_id,
                    addr: SocketAddr::new(ip, announce.port),
                    left: announce.left,
                    event: announce.event,
                    wanted: wanted(announce.num_want).min(limit),
                };
                match self.visit(now, &visit, |peer| peer.is_ipv4() == ip.is_ipv4()) {
                    Ok(picked) => Response::Announce {
                        transaction,
                        interval: self.interval_secs(),
                        leechers: picked.stats.incomplete,
                        seeders: picked.stats.complete,
                        peers: picked.peers.iter().map(|peer| peer.addr).collect(),
                    },
                    Err(message) => Response::Error {
                        transaction,
                        message: message.to_string(),
                    },
                }
            }
            Request::Scrape { info_hashes, .. } => {
                self.sweep(now);
                Response::Scrape {
                    transaction,
                    torrents: info_hashes.iter().map(|hash| self.stats(hash)).collect(),
                }
            }
        };
        let mut out = Vec::new();
        response.encode(Family::of(from), &mut out);
        Some(out.into())
    }

    /// What is known of a torrent: seeds, others, and downloads completed.
    fn stats(&self, info_hash: &[u8; 20]) -> ScrapeStats {
        self.swarms
            .get(info_hash)
            .map_or_else(ScrapeStats::default, Swarm::stats)
    }

    fn try_announce_http(
        &mut self,
        now: Instant,
        from: IpAddr,
        query: &str,
    ) -> Result<Vec<u8>, alloc::string::String> {
        if query.len() > MAX_QUERY_LEN {
            return Err("the query is too long".to_string());
        }
        let query = parse_announce(query).map_err(|error| error.to_string())?;
        let visit = Visit {
            info_hash: query.info_hash,
            peer_id: query.peer_id,
            addr: SocketAddr::new(from.to_canonical(), query.port),
            left: query.left,
            event: query.event,
            wanted: wanted(query.num_want),
        };
        let picked = self.visit(now, &visit, |_| true)?;
        let reply = AnnounceReply {
            interval: Some(self.interval_secs()),
            min_interval: Some(self.interval_secs().min(60)),
            complete: Some(picked.stats.complete),
            incomplete: Some(picked.stats.incomplete),
            downloaded: Some(picked.stats.downloaded),
            peers: picked.peers,
            ..AnnounceReply::default()
        };
        Ok(encode_announce(&reply, PeerFormat::wanted_by(&query)))
    }

    /// Takes note of a peer, and picks others for it.
    fn visit(
        &mut self,
        now: Instant,
        visit: &Visit,
        suits: impl Fn(SocketAddr) -> bool,
    ) -> Result<Picked, &'static str> {
        self.sweep(now);
        if visit.event == Some(AnnounceEvent::Stopped) {
            if let Some(swarm) = self.swarms.get_mut(&visit.info_hash)
                && swarm.peers.remove(&visit.addr).is_some()
            {
                self.peers -= 1;
            }
            return Ok(Picked {
                stats: self.stats(&visit.info_hash),
                peers: Vec::new(),
            });
        }
        if !self.swarms.contains_key(&visit.info_hash) && self.swarms.len() >= MAX_SWARMS {
            return Err("too many torrents");
        }
        let swarm = self.swarms.entry(visit.info_hash).or_default();
        let complete = visit.left == 0;
        let known = swarm.peers.get(&visit.addr);
        if known.is_none() && self.peers >= MAX_PEERS {
            return Err("too many peers");
        }
        // A repeated announce must not count twice.
        if visit.event == Some(AnnounceEvent::Completed) && known.is_none_or(|peer| !peer.complete)
        {
            swarm.downloaded = swarm.downloaded.saturating_add(1);
        }
        let peer = Peer {
            id: visit.peer_id,
            complete,
            seen: now,
        };
        if swarm.peers.insert(visit.addr, peer).is_none() {
            self.peers += 1;
        }
        // A random place to begin at, then everybody in turn: nobody is left out for long.
        let count = u32::try_from(swarm.peers.len()).unwrap_or(u32::MAX);
        let begin = self.rng.below(count) as usize;
        let peers = swarm
            .peers
            .iter()
            .skip(begin)
            .chain(swarm.peers.iter().take(begin))
            .filter(|(addr, peer)| {
                // Seeds are of no use to each other, and who has no port cannot be dialled.
                **addr != visit.addr
                    && addr.port() != 0
                    && suits(**addr)
                    && !(complete && peer.complete)
            })
            .take(visit.wanted)
            .map(|(addr, peer)| TrackerPeer {
                addr: *addr,
                peer_id: Some(peer.id),
            })
            .collect();
        Ok(Picked {
            stats: swarm.stats(),
            peers,
        })
    }

    /// Forgets who was silent for too long, once in an interval at most.
    fn sweep(&mut self, now: Instant) {
        if now.since(self.swept) < self.interval {
            return;
        }
        self.swept = now;
        let life = self.interval * 2;
        self.swarms.retain(|_, swarm| {
            swarm.peers.retain(|_, peer| now.since(peer.seen) < life);
            !swarm.peers.is_empty()
        });
        self.peers = self.swarms.values().map(|swarm| swarm.peers.len()).sum();
    }

    fn interval_secs(&self) -> u32 {
        u32::try_from(self.interval.as_secs()).unwrap_or(u32::MAX)
    }

    fn is_connected(&self, now: Instant, from: SocketAddr, connection: u64) -> bool {
        let window = window(now);
        connection == self.connection_id(from, window)
            || window
                .checked_sub(1)
                .is_some_and(|before| connection == self.connection_id(from, before))
    }

    /// Nothing is kept for a connection: its id is the sender's address and the time, under a secret.
    fn connection_id(&self, from: SocketAddr, window: u64) -> u64 {
        let mut digest = Sha1::new();
        digest.update(self.secret);
        match from.ip().to_canonical() {
            IpAddr::V4(ip) => digest.update(ip.octets()),
            IpAddr::V6(ip) => digest.update(ip.octets()),
        }
        digest.update(from.port().to_be_bytes());
        digest.update(window.to_be_bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 20]>::from(digest.finalize());
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl Swarm {
    fn stats(&self) -> ScrapeStats {
        let count = |complete| {
            let peers = self.peers.values().filter(|peer| peer.complete == complete);
            u32::try_from(peers.count()).unwrap_or(u32::MAX)
        };
        ScrapeStats {
            complete: count(true),
            incomplete: count(false),
            downloaded: self.downloaded,
            downloaders: None,
        }
    }
}

fn wanted(num_want: Option<u32>) -> usize {
    num_want
        .map_or(DEFAULT_WANTED, |wanted| wanted as usize)
        .min(MAX_WANTED)
}

fn window(now: Instant) -> u64 {
    now.since(Instant::ZERO).as_secs() / CONNECTION_WINDOW.as_secs()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use quickcheck::quickcheck;

    use super::*;
    use crate::wire::tracker::{AnnounceQuery, Answer};
    use crate::wire::tracker_http::{decode_announce, decode_scrape};
    use crate::wire::tracker_udp::Announce;

    const HASH: [u8; 20] = [7; 20];

    fn server() -> TrackerServer {
        TrackerServer::new(Seed([1; 32]), Duration::from_secs(600))
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn query(port: u16, left: u64, event: Option<AnnounceEvent>) -> String {
        let query = AnnounceQuery {
            info_hash: HASH,
            peer_id: PeerId([8; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            compact: true,
            no_peer_id: true,
            num_want: None,
            key: None,
            tracker_id: None,
            ip: Some(IpAddr::from([192, 0, 2, 99])),
        };
        String::from(query.url("").trim_start_matches('?'))
    }

    fn http(server: &mut TrackerServer, now: Instant, from: &str, query: &str) -> AnnounceReply {
        let body = server.announce_http(now, from.parse().unwrap(), query);
        match decode_announce(&body).unwrap() {
            Answer::Reply(reply) => reply,
            Answer::Failure(failure) => panic!("{failure:?}"),
        }
    }

    fn failure(body: &[u8]) -> String {
        match decode_announce(body).unwrap() {
            Answer::Failure(failure) => failure.reason,
            Answer::Reply(reply) => panic!("{reply:?}"),
        }
    }

    fn datagram(request: &Request) -> Vec<u8> {
        let mut out = Vec::new();
        request.encode(&mut out);
        out
    }

    fn announce(connection: u64, port: u16) -> Vec<u8> {
        datagram(&Request::Announce {
            connection,
            transaction: 5,
            announce: Announce {
                info_hash: HASH,
                peer_id: PeerId([8; 20]),
                downloaded: 0,
                left: 1,
                uploaded: 0,
                event: Some(AnnounceEvent::Started),
                ip: Some([192, 0, 2, 99].into()),
                key: 0,
                num_want: Some(u32::MAX >> 1),
                port,
                url_data: Vec::new(),
            },
        })
    }

    fn connect(server: &mut TrackerServer, now: Instant, from: SocketAddr) -> u64 {
        let request = datagram(&Request::Connect { transaction: 3 });
        let answer = server.udp(now, from, &request).unwrap();
        match Response::decode(&answer, Family::of(from)) {
            Ok(Response::Connect {
                transaction: 3,
                connection,
            }) => connection,
            other => panic!("{other:?}"),
        }
    }

    fn udp(server: &mut TrackerServer, now: Instant, from: SocketAddr, data: &[u8]) -> Response {
        let answer = server.udp(now, from, data).unwrap();
        Response::decode(&answer, Family::of(from)).unwrap()
    }

    #[test]
    fn the_address_of_the_connection_counts_and_no_other() {
        let mut server = server();
        http(&mut server, at(0), "192.0.2.1", &query(1, 1, None));
        let reply = http(&mut server, at(0), "192.0.2.2", &query(2, 1, None));
        let peers: Vec<SocketAddr> = reply.peers.iter().map(|peer| peer.addr).collect();
        assert_eq!(peers, ["192.0.2.1:1".parse().unwrap()]);
    }

    #[test]
    fn both_families_are_named_over_http() {
        let mut server = server();
        http(&mut server, at(0), "192.0.2.1", &query(1, 1, None));
        http(&mut server, at(0), "2001:db8::1", &query(2, 1, None));
        let reply = http(&mut server, at(0), "::ffff:192.0.2.3", &query(3, 1, None));
        assert_eq!(reply.peers.len(), 2);
        let reply = http(&mut server, at(0), "192.0.2.3", &query(3, 1, None));
        assert_eq!(
            reply.incomplete,
            Some(3),
            "a mapped address is the same peer"
        );
    }

    #[test]
    fn only_the_own_family_is_named_over_udp() {
        let mut server = server();
        let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        for from in [v4, v6] {
            for port in [10, 11] {
                let connection = connect(&mut server, at(0), from);
                udp(&mut server, at(0), from, &announce(connection, port));
            }
        }
        for from in [v4, v6] {
            let connection = connect(&mut server, at(0), from);
            let data = announce(connection, 11);
            let Response::Announce {
                peers, leechers, ..
            } = udp(&mut server, at(0), from, &data)
            else {
                panic!("no announce");
            };
            assert_eq!(peers, [SocketAddr::new(from.ip(), 10)]);
            assert_eq!(leechers, 4);
        }
    }

    #[test]
    fn seeds_are_not_sent_to_seeds() {
        let mut server = server();
        http(&mut server, at(0), "192.0.2.1", &query(1, 0, None));
        let reply = http(&mut server, at(0), "192.0.2.2", &query(2, 0, None));
        assert!(reply.peers.is_empty());
        let reply = http(&mut server, at(0), "192.0.2.3", &query(3, 9, None));
        assert_eq!(reply.peers.len(), 2);
    }

    #[test]
    fn who_stops_is_gone_and_who_completes_is_counted_once() {
        let mut server = server();
        let completed = query(1, 0, Some(AnnounceEvent::Completed));
        http(&mut server, at(0), "192.0.2.1", &query(1, 9, None));
        for _ in 0..3 {
            let reply = http(&mut server, at(0), "192.0.2.1", &completed);
            assert_eq!((reply.complete, reply.downloaded), (Some(1), Some(1)));
        }
        let stopped = query(1, 0, Some(AnnounceEvent::Stopped));
        let reply = http(&mut server, at(0), "192.0.2.1", &stopped);
        assert_eq!((reply.complete, reply.incomplete), (Some(0), Some(0)));
        assert_eq!(server.peers, 0);
        http(&mut server, at(0), "192.0.2.1", &stopped);
        assert_eq!(server.peers, 0);
    }

    #[test]
    fn who_is_silent_is_forgotten() {
        let mut server = server();
        http(&mut server, at(0), "192.0.2.1", &query(1, 9, None));
        let reply = http(&mut server, at(1_199), "192.0.2.2", &query(2, 9, None));
        assert_eq!(reply.incomplete, Some(2));
        let reply = http(&mut server, at(1_800), "192.0.2.2", &query(2, 9, None));
        assert_eq!(reply.incomplete, Some(1));
        let _ = server.scrape_http(at(100_000), "");
        assert!(server.swarms.is_empty());
        assert_eq!(server.peers, 0);
    }

    #[test]
    fn no_more_peers_are_named_than_wanted() {
        let mut server = server();
        for port in 1..=300 {
            http(&mut server, at(0), "192.0.2.1", &query(port, 9, None));
        }
        let asked = |server: &mut TrackerServer, wanted: &str| {
            let query = format!("{}&numwant={wanted}", query(1, 9, None));
            http(server, at(0), "192.0.2.1", &query).peers.len()
        };
        assert_eq!(asked(&mut server, ""), DEFAULT_WANTED);
        assert_eq!(asked(&mut server, "0"), 0);
        assert_eq!(asked(&mut server, "7"), 7);
        assert_eq!(asked(&mut server, "100000"), MAX_WANTED);
    }

    #[test]
    fn every_peer_is_named_some_time() {
        let mut server = server();
        for port in 1..=20 {
            http(&mut server, at(0), "192.0.2.1", &query(port, 9, None));
        }
        let mut named = [false; 21];
        for _ in 0..200 {
            let one = format!("{}&numwant=1", query(20, 9, None));
            let reply = http(&mut server, at(0), "192.0.2.1", &one);
            named[usize::from(reply.peers[0].addr.port())] = true;
        }
        assert!(named[1..20].iter().all(|named| *named));
        assert!(!named[20], "itself");
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let [first, second] = [(), ()].map(|()| {
            let mut server = server();
            for port in 1..=100 {
                http(&mut server, at(0), "192.0.2.1", &query(port, 9, None));
            }
            server.announce_http(at(0), [192, 0, 2, 1].into(), &query(1, 9, None))
        });
        assert_eq!(first, second);
    }

    #[test]
    fn the_tables_are_bounded() {
        let mut server = server();
        for number in 0..=MAX_SWARMS {
            let hash = format!("{number:020}");
            let query = format!("info_hash={hash}&peer_id={hash}&port=1&left=1");
            let body = server.announce_http(at(0), [192, 0, 2, 1].into(), &query);
            if number == MAX_SWARMS {
                assert_eq!(failure(&body), "too many torrents");
            }
        }
        assert_eq!(server.swarms.len(), MAX_SWARMS);
        server.peers = MAX_PEERS;
        let query = format!("info_hash={0:020}&peer_id={0:020}&port=2&left=1", 0);
        let body = server.announce_http(at(0), [192, 0, 2, 1].into(), &query);
        assert_eq!(failure(&body), "too many peers");
    }

    #[test]
    fn a_scrape_tells_of_those_asked_for_or_of_all() {
        let mut server = server();
        http(&mut server, at(0), "192.0.2.1", &query(1, 0, None));
        let one = "info_hash=%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07%07";
        for query in [one, ""] {
            let body = server.scrape_http(at(0), query);
            let Ok(Answer::Reply(reply)) = decode_scrape(&body) else {
                panic!("{body:?}");
            };
            assert_eq!(reply.files.len(), 1);
            assert_eq!(reply.files[&HASH].complete, 1);
        }
        let body = server.scrape_http(at(0), "info_hash=short");
        assert!(matches!(decode_scrape(&body), Ok(Answer::Failure(_))));
    }

    #[test]
    fn what_is_no_announce_is_refused() {
        let mut server = server();
        let long = "x".repeat(MAX_QUERY_LEN + 1);
        for query in ["", "info_hash=1", long.as_str()] {
            failure(&server.announce_http(at(0), [192, 0, 2, 1].into(), query));
        }
        assert!(server.swarms.is_empty());
    }

    #[test]
    fn a_connection_id_holds_for_a_minute_and_for_two_at_most() {
        let from: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let mut server = server();
        for made in [0, 59, 60, 100] {
            let connection = connect(&mut server, at(made), from);
            let mut accepted = |seconds| {
                let response = udp(
                    &mut server,
                    at(made + seconds),
                    from,
                    &announce(connection, 1),
                );
                matches!(response, Response::Announce { .. })
            };
            assert!(accepted(60), "{made}");
            assert!(!accepted(120), "{made}");
        }
    }

    #[test]
    fn a_connection_id_is_of_use_to_one_address_only() {
        let mut server = server();
        let from: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let connection = connect(&mut server, at(0), from);
        for other in ["192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1"] {
            let response = udp(
                &mut server,
                at(0),
                other.parse().unwrap(),
                &announce(connection, 1),
            );
            assert!(matches!(response, Response::Error { transaction: 5, .. }));
        }
        assert!(server.swarms.is_empty());
    }

    #[test]
    fn a_reply_over_ipv6_fits_a_packet() {
        let mut server = server();
        let from: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        let connection = connect(&mut server, at(0), from);
        let longest = (1..=300)
            .filter_map(|port| server.udp(at(0), from, &announce(connection, port)))
            .map(|answer| answer.len())
            .max();
        assert_eq!(longest, Some(20 + 18 * MAX_WANTED_UDP_V6));
    }

    quickcheck! {
        fn strangers_get_no_more_than_they_sent(head: Option<u8>, data: Vec<u8>, cut: u8) -> bool {
            let mut server = server();
            let from = "192.0.2.1:1".parse().unwrap();
            // Random bytes are rarely a request, so some begin like one.
            let mut datagram = match head.map(|head| head % 3) {
                None => Vec::new(),
                Some(0) => datagram(&Request::Connect { transaction: 1 }),
                Some(1) => announce(0, 1),
                Some(_) => datagram(&Request::Scrape {
                    connection: 0,
                    transaction: 1,
                    info_hashes: [HASH].into(),
                }),
            };
            datagram.extend(data);
            datagram.truncate(usize::from(cut));
            let answer = server.udp(at(0), from, &datagram);
            answer.is_none_or(|answer| answer.len() <= datagram.len()) && server.swarms.is_empty()
        }

        fn any_query_is_answered(query: String, now: u64) -> bool {
            let mut server = server();
            let now = Instant::from_nanos(now);
            let reply = server.announce_http(now, [192, 0, 2, 1].into(), &query);
            !reply.is_empty() && !server.scrape_http(now, &query).is_empty()
        }
    }
}
