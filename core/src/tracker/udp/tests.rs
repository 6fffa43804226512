use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use quickcheck::quickcheck;

use super::*;
use crate::datagram::Outbound;
use crate::id::TorrentId;
use crate::tracker::testing::{World, torrent};
use crate::wire::PeerId;

const V4: &str = "192.0.2.9:6969";
const V6: &str = "[2001:db8::9]:6969";

/// The client, and what it has asked for.
struct Rig {
    world: World,
    udp: UdpTrackers,
    datagrams: Vec<(u64, SocketAddr, Query)>,
    lookups: Vec<OpId>,
    outcomes: Vec<UdpOutcome>,
    begin: Instant,
}

impl Rig {
    fn new() -> Self {
        let world = World::new(5);
        Self {
            begin: world.now,
            world,
            udp: UdpTrackers::default(),
            datagrams: Vec::new(),
            lookups: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn try_ask(&mut self, host: &str, who: TorrentId, patience: u32) -> Result<UdpId, UdpFault> {
        let tracker = UdpEndpoint {
            host: host.to_string(),
            port: 6969,
            url_data: String::new(),
        };
        let id = self
            .udp
            .request(&mut self.world.ctx(), who, &tracker, announce(), patience);
        self.collect();
        id
    }

    fn ask(&mut self, host: &str) -> UdpId {
        self.try_ask(host, torrent(0), 8).unwrap()
    }

    fn scrape(&mut self, host: &str) -> UdpId {
        let tracker = UdpEndpoint {
            host: host.to_string(),
            port: 6969,
            url_data: String::new(),
        };
        let query = UdpQuery::Scrape([7; 20]);
        let id = self
            .udp
            .request(&mut self.world.ctx(), torrent(0), &tracker, query, 8);
        self.collect();
        id.unwrap()
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.world.now + Duration::from_secs(seconds);
        for _ in 0..100_000 {
            let Some((at, _)) = self.world.timers.next().filter(|(at, _)| *at <= end) else {
                self.world.now = end;
                return;
            };
            self.world.now = self.world.now.max(at);
            assert_eq!(
                self.world.timers.pop_due(self.world.now),
                Some(Timer::UdpTracker)
            );
            let outcomes = self.udp.on_timer(&mut self.world.ctx());
            self.outcomes.extend(outcomes);
            self.collect();
        }
        panic!("time stands still at {}", self.world.now);
    }

    fn resolve(&mut self, ips: &[&str]) {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.resolved(Ok(ips));
    }

    fn resolved(&mut self, result: Result<Vec<IpAddr>, ContactError>) {
        let op = self.lookups.remove(0);
        assert_eq!(self.world.ops.remove(op), Some(Op::TrackerResolve));
        let outcomes = self.udp.on_resolved(&mut self.world.ctx(), op, result);
        self.outcomes.extend(outcomes);
        self.collect();
    }

    fn raw(&mut self, from: &str, data: &[u8]) -> bool {
        let from = from.parse().unwrap();
        let outcomes = self.udp.on_datagram(&mut self.world.ctx(), from, data);
        let ours = outcomes.is_some();
        self.outcomes.extend(outcomes.unwrap_or_default());
        self.collect();
        ours
    }

    fn undelivered(&mut self, to: &str, reason: Undelivered) {
        let to = to.parse().unwrap();
        let outcomes = self.udp.on_undelivered(&mut self.world.ctx(), to, reason);
        self.outcomes.extend(outcomes);
        self.collect();
    }

    fn answer(&mut self, from: &str, response: &Response) {
        let mut data = Vec::new();
        response.encode(Family::of(from.parse().unwrap()), &mut data);
        assert!(self.raw(from, &data));
    }

    /// The last packet.
    fn last(&self) -> &Query {
        &self.datagrams.last().unwrap().2
    }

    /// Answers the last packet, which must be a connect request.
    fn connect(&mut self, from: &str, connection: u64) {
        assert!(matches!(self.last(), Query::Connect { .. }));
        let transaction = self.last().transaction();
        self.answer(
            from,
            &Response::Connect {
                transaction,
                connection,
            },
        );
    }

    /// When packets were sent, in seconds.
    fn times(&self) -> Vec<u64> {
        self.datagrams.iter().map(|(at, _, _)| *at).collect()
    }

    fn strays(&self) -> u64 {
        self.world.stats.stray_datagrams
    }

    fn collect(&mut self) {
        for action in self.world.drain() {
            match action {
                Action::Datagram(Outbound { to, data, .. }) => self.datagrams.push((
                    self.world.now.since(self.begin).as_secs(),
                    to,
                    Query::decode(&data).unwrap(),
                )),
                Action::Resolve { op, host, .. } => {
                    assert_eq!(host, "t.example");
                    self.lookups.push(op);
                }
                other => panic!("{other:?}"),
            }
        }
        // Each number under way belongs to somebody, and each host counts right.
        let sent = |id| {
            let requests = self.udp.requests.values();
            requests
                .filter(|r| r.host == id && r.transaction.is_some())
                .count()
        };
        for (id, host) in &self.udp.hosts {
            assert_eq!(host.sent, sent(*id));
            assert!(host.sent <= limits::UDP_TRACKER_WINDOW);
        }
        let connecting = self.udp.hosts.values();
        let expected = connecting.filter(|host| host.connecting.is_some()).count()
            + self.udp.hosts.values().map(|host| host.sent).sum::<usize>();
        assert_eq!(self.udp.transactions.len(), expected);
        let deadline = self.world.timers.deadline(Timer::UdpTracker);
        match self.udp.timers.next() {
            Some((at, _)) => assert!(deadline.is_some_and(|deadline| deadline <= at)),
            None => assert_eq!(deadline, None),
        }
    }
}

fn announce() -> UdpQuery {
    UdpQuery::Announce(Announce {
        info_hash: [7; 20],
        peer_id: PeerId([8; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: None,
        ip: None,
        key: 0,
        num_want: None,
        port: 1,
        url_data: Vec::new(),
    })
}

fn announced(transaction: u32) -> Response {
    Response::Announce {
        transaction,
        interval: 900,
        leechers: 1,
        seeders: 2,
        peers: vec!["192.0.2.50:5".parse().unwrap()],
    }
}

#[test]
fn a_request_looks_up_connects_and_asks() {
    let mut rig = Rig::new();
    let id = rig.ask("t.example");
    assert!(rig.datagrams.is_empty());
    rig.resolve(&["192.0.2.9"]);
    rig.connect(V4, 77);
    let Query::Announce {
        connection: 77,
        transaction,
        ..
    } = *rig.last()
    else {
        panic!("{:?}", rig.last());
    };
    rig.answer(V4, &announced(transaction));
    let expected = UdpOutcome {
        torrent: torrent(0),
        id,
        result: Ok(UdpReply::Announced {
            interval: 900,
            leechers: 1,
            seeders: 2,
            peers: vec!["192.0.2.50:5".parse().unwrap()],
        }),
    };
    assert_eq!(rig.outcomes, [expected]);
    assert_eq!(rig.times(), [0, 0]);
    assert_eq!(rig.udp.len(), 0);
    assert!(rig.udp.timers.next().is_none());
}

#[test]
fn a_scrape_is_answered() {
    let mut rig = Rig::new();
    rig.scrape("192.0.2.9");
    rig.connect(V4, 1);
    let stats = ScrapeStats {
        complete: 1,
        incomplete: 2,
        downloaded: 3,
        downloaders: None,
    };
    let transaction = rig.last().transaction();
    rig.answer(
        V4,
        &Response::Scrape {
            transaction,
            torrents: vec![stats],
        },
    );
    assert_eq!(rig.outcomes[0].result, Ok(UdpReply::Scraped(stats)));
}

#[test]
fn retransmissions_double_from_fifteen_seconds() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.pass(7_664);
    assert_eq!(
        rig.times(),
        [0, 15, 45, 105, 225, 465, 945, 1_905, 3_825],
        "15 s, 30 s .. 3,840 s"
    );
    assert!(rig.outcomes.is_empty());
    rig.pass(1);
    assert_eq!(rig.outcomes[0].result, Err(UdpFault::TimedOut));
    rig.pass(100_000);
    assert_eq!(rig.datagrams.len(), 9);
}

#[test]
fn patience_ends_a_request_early() {
    let mut rig = Rig::new();
    rig.try_ask("192.0.2.9", torrent(0), 2).unwrap();
    rig.pass(104);
    assert!(rig.outcomes.is_empty());
    rig.pass(1);
    assert_eq!(rig.outcomes[0].result, Err(UdpFault::TimedOut));
    assert_eq!(rig.times(), [0, 15, 45]);
}

#[test]
fn an_announce_is_sent_again_and_connects_anew_when_the_id_has_expired() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.pass(1);
    rig.connect(V4, 1);
    let first = rig.last().transaction();
    rig.pass(45);
    assert_eq!(rig.times(), [0, 1, 16, 46]);
    assert_eq!(rig.last().transaction(), first);
    rig.pass(60);
    assert_eq!(rig.times(), [0, 1, 16, 46, 106]);
    assert!(matches!(rig.last(), Query::Connect { .. }));
    // What was unanswered counts on: the next wait is one of 15·2³ s.
    rig.pass(119);
    assert_eq!(rig.datagrams.len(), 5);
    rig.pass(1);
    assert_eq!(rig.times()[5], 226);
    rig.connect(V4, 2);
    assert!(matches!(rig.last(), Query::Announce { connection: 2, .. }));
    // The number of the time before is of no use any more.
    rig.answer(V4, &announced(first));
    assert!(rig.outcomes.is_empty());
}

#[test]
fn a_connection_id_is_used_for_a_minute_and_by_everybody() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.ask("192.0.2.9");
    assert_eq!(rig.datagrams.len(), 1);
    rig.connect(V4, 1);
    assert_eq!(rig.datagrams.len(), 3);
    for index in [1, 2] {
        let transaction = rig.datagrams[index].2.transaction();
        rig.answer(V4, &announced(transaction));
    }
    assert_eq!(rig.outcomes.len(), 2);
    rig.pass(59);
    rig.ask("192.0.2.9");
    assert!(matches!(rig.last(), Query::Announce { connection: 1, .. }));
    rig.pass(1);
    rig.ask("192.0.2.9");
    assert!(matches!(rig.last(), Query::Connect { .. }));
}

#[test]
fn a_spoofed_answer_is_ignored() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    let connect = rig.last().transaction();
    let response = |transaction| Response::Connect {
        transaction,
        connection: 666,
    };
    // Another address, another port, another number, and an answer to another question.
    rig.answer("192.0.2.10:6969", &response(connect));
    rig.answer("192.0.2.9:6970", &response(connect));
    rig.answer(V6, &response(connect));
    rig.answer(V4, &response(connect ^ 1));
    rig.answer(V4, &announced(connect));
    assert_eq!((rig.strays(), rig.datagrams.len()), (5, 1));

    rig.connect(V4, 1);
    let transaction = rig.last().transaction();
    rig.answer("192.0.2.10:6969", &announced(transaction));
    rig.answer(V4, &announced(transaction ^ 1));
    rig.answer(V4, &response(transaction));
    rig.answer(
        V4,
        &Response::Scrape {
            transaction,
            torrents: Vec::new(),
        },
    );
    assert_eq!(rig.strays(), 9);
    assert!(rig.outcomes.is_empty());
    rig.answer(V4, &announced(transaction));
    assert_eq!(rig.outcomes.len(), 1);
    // The same again is a stray one.
    rig.answer(V4, &announced(transaction));
    assert_eq!((rig.strays(), rig.outcomes.len()), (10, 1));
}

#[test]
fn packets_of_other_protocols_are_left_alone() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    for data in [
        &b""[..],
        b"d1:ad2:id20:",
        b"\x41\x02aaaaaaaaaaaaaaaaaa",
        &[0; 7],
    ] {
        assert!(!rig.raw(V4, data));
    }
    assert_eq!(rig.strays(), 0);
}

#[test]
fn an_answer_from_a_mapped_address_counts() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.connect("[::ffff:192.0.2.9]:6969", 1);
    assert!(matches!(rig.last(), Query::Announce { .. }));
}

#[test]
fn a_refusal_is_passed_on() {
    let mut rig = Rig::new();
    let refusal = |transaction| Response::Error {
        transaction,
        message: "no".to_string(),
    };
    rig.ask("192.0.2.9");
    rig.ask("192.0.2.9");
    let transaction = rig.last().transaction();
    rig.answer(V4, &refusal(transaction));
    assert_eq!(rig.outcomes.len(), 2, "all that waited for the connection");
    assert_eq!(rig.outcomes[0].result, Err(UdpFault::Refused("no".into())));

    rig.ask("192.0.2.9");
    rig.connect(V4, 1);
    let transaction = rig.last().transaction();
    rig.answer(V4, &refusal(transaction));
    assert_eq!(rig.outcomes[2].result, Err(UdpFault::Refused("no".into())));
    assert_eq!(rig.udp.len(), 0);
}

#[test]
fn a_connection_id_that_the_tracker_has_forgotten_is_asked_for_anew_once() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.connect(V4, 1);
    let transaction = rig.last().transaction();
    rig.answer(V4, &announced(transaction));
    rig.pass(10);
    rig.ask("192.0.2.9");
    for connection in [1, 2] {
        assert!(matches!(rig.last(), Query::Announce { connection: c, .. } if *c == connection));
        assert_eq!(rig.outcomes.len(), 1);
        let transaction = rig.last().transaction();
        rig.answer(
            V4,
            &Response::Error {
                transaction,
                message: "connection id mismatch".to_string(),
            },
        );
        if connection == 1 {
            rig.connect(V4, 2);
        }
    }
    assert!(matches!(rig.outcomes[1].result, Err(UdpFault::Refused(_))));
}

#[test]
fn an_answer_that_is_cut_off_is_a_failure() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.connect(V4, 1);
    let mut data = vec![0, 0, 0, 1];
    data.extend(rig.last().transaction().to_be_bytes());
    assert!(rig.raw(V4, &data));
    assert_eq!(rig.outcomes[0].result, Err(UdpFault::Malformed));
}

#[test]
fn the_other_family_is_tried_when_the_first_does_not_answer() {
    let mut rig = Rig::new();
    rig.ask("t.example");
    rig.resolve(&["2001:db8::9", "2001:db8::a", "192.0.2.9"]);
    rig.pass(104);
    let to: Vec<(u64, bool)> = rig
        .datagrams
        .iter()
        .map(|(at, to, _)| (*at, to.is_ipv6()))
        .collect();
    assert_eq!(
        to,
        [(0, true), (15, false), (30, true), (60, false), (90, true)]
    );
    rig.connect(V4, 3);
    let (_, to, _) = rig.datagrams.last().unwrap();
    assert_eq!(*to, V4.parse().unwrap());
    // From now on it is the one to ask.
    let transaction = rig.last().transaction();
    rig.answer(V4, &announced(transaction));
    rig.pass(100);
    rig.ask("t.example");
    assert_eq!(rig.datagrams.last().unwrap().1, V4.parse().unwrap());
}

#[test]
fn an_address_out_of_reach_is_left_for_the_other_at_once() {
    let mut rig = Rig::new();
    rig.ask("t.example");
    rig.resolve(&["2001:db8::9", "192.0.2.9"]);
    rig.undelivered(V6, Undelivered::Unreachable);
    assert_eq!(rig.datagrams.last().unwrap().1, V4.parse().unwrap());
    assert_eq!(rig.times(), [0, 0]);
    // The first one again is no news.
    rig.undelivered(V6, Undelivered::Unreachable);
    assert_eq!(rig.datagrams.len(), 2);
    // After the silence of the second one the first is tried once more, which costs nothing.
    rig.pass(15);
    assert_eq!(rig.datagrams.last().unwrap().1, V6.parse().unwrap());
    rig.undelivered(V6, Undelivered::Unreachable);
    assert_eq!(rig.datagrams.last().unwrap().1, V4.parse().unwrap());
    assert!(rig.outcomes.is_empty());
    rig.undelivered("[::ffff:192.0.2.9]:6969", Undelivered::Refused);
    let fault = UdpFault::Undelivered(Undelivered::Refused);
    assert_eq!(rig.outcomes[0].result, Err(fault));
    assert_eq!(rig.udp.len(), 0);
    rig.pass(1_000);
    assert_eq!(rig.datagrams.len(), 4);
}

#[test]
fn a_tracker_that_vanishes_fails_what_it_was_sent() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.connect(V4, 1);
    rig.ask("192.0.2.9");
    rig.undelivered("192.0.2.9:6970", Undelivered::Refused);
    assert!(rig.outcomes.is_empty());
    rig.undelivered(V4, Undelivered::Refused);
    assert_eq!(rig.outcomes.len(), 2);
    // Its connection id is of no use any more.
    rig.ask("192.0.2.9");
    assert!(matches!(rig.last(), Query::Connect { .. }));
}

#[test]
fn peers_over_ipv6_are_read() {
    let mut rig = Rig::new();
    rig.ask("2001:db8::9");
    rig.connect(V6, 1);
    let peer: SocketAddr = "[2001:db8::50]:5".parse().unwrap();
    let transaction = rig.last().transaction();
    rig.answer(
        V6,
        &Response::Announce {
            transaction,
            interval: 1,
            leechers: 0,
            seeders: 0,
            peers: vec![peer],
        },
    );
    let Ok(UdpReply::Announced { peers, .. }) = &rig.outcomes[0].result else {
        panic!("{:?}", rig.outcomes);
    };
    assert_eq!(*peers, [peer]);
}

#[test]
fn a_lookup_is_shared_and_kept_for_some_minutes() {
    let mut rig = Rig::new();
    rig.ask("t.example");
    rig.ask("t.example");
    assert_eq!(rig.lookups.len(), 1);
    rig.resolve(&["192.0.2.9"]);
    rig.connect(V4, 1);
    rig.udp.forget(&mut rig.world.ctx(), torrent(0));
    rig.collect();
    rig.pass(599);
    rig.ask("t.example");
    assert!(rig.lookups.is_empty());
    rig.udp.forget(&mut rig.world.ctx(), torrent(0));
    rig.collect();
    rig.pass(1);
    rig.ask("t.example");
    assert_eq!(rig.lookups.len(), 1);
    // A resolver that fails now does not make the known address wrong.
    rig.resolved(Err(ContactError::TimedOut));
    rig.connect(V4, 2);
    assert!(matches!(rig.last(), Query::Announce { connection: 2, .. }));
}

#[test]
fn a_failed_lookup_fails_those_that_wait_and_stands_for_a_while() {
    let mut rig = Rig::new();
    rig.ask("t.example");
    rig.ask("t.example");
    rig.resolved(Err(ContactError::NoSuchHost));
    let fault = UdpFault::Lookup(ContactError::NoSuchHost);
    assert_eq!(rig.outcomes.len(), 2);
    assert!(rig.outcomes.iter().all(|o| o.result == Err(fault.clone())));
    assert_eq!(rig.try_ask("t.example", torrent(0), 8), Err(fault));
    rig.pass(30);
    rig.ask("t.example");
    rig.resolve(&["0.0.0.0", "224.0.0.1", "255.255.255.255"]);
    assert_eq!(rig.outcomes[2].result, Err(UdpFault::NoAddress));
    assert_eq!(
        rig.try_ask("0.0.0.0", torrent(0), 8),
        Err(UdpFault::NoAddress)
    );
    assert_eq!(rig.udp.len(), 0);
}

#[test]
fn a_new_request_does_not_wait_out_a_long_pause() {
    let mut rig = Rig::new();
    rig.ask("192.0.2.9");
    rig.pass(115);
    assert_eq!(rig.times(), [0, 15, 45, 105]);
    rig.ask("192.0.2.9");
    assert_eq!(rig.datagrams.len(), 4, "a packet is ten seconds old");
    rig.pass(10);
    rig.ask("192.0.2.9");
    assert_eq!(rig.times(), [0, 15, 45, 105, 125]);
}

#[test]
fn a_tracker_gets_a_window_of_requests_at_a_time() {
    let mut rig = Rig::new();
    let count = limits::UDP_TRACKER_WINDOW * 3;
    for _ in 0..count {
        rig.ask("192.0.2.9");
    }
    rig.connect(V4, 1);
    assert_eq!(rig.datagrams.len(), 1 + limits::UDP_TRACKER_WINDOW);
    for index in 1..=count {
        let transaction = rig.datagrams[index].2.transaction();
        rig.answer(V4, &announced(transaction));
    }
    assert_eq!(rig.outcomes.len(), count);
}

#[test]
fn requests_and_hosts_are_bounded() {
    let mut rig = Rig::new();
    for number in 0..limits::MAX_UDP_TRACKERS {
        rig.ask(&format!("192.0.{}.{}", number / 250, number % 250 + 1));
    }
    assert_eq!(
        rig.try_ask("198.51.100.1", torrent(0), 8),
        Err(UdpFault::Busy)
    );
    // A host that nobody waits for makes room.
    rig.udp.cancel(&mut rig.world.ctx(), UdpId(2));
    rig.collect();
    rig.ask("198.51.100.1");
    assert_eq!(rig.udp.hosts.len(), limits::MAX_UDP_TRACKERS);

    let mut udp = UdpTrackers::default();
    let mut world = World::new(1);
    let tracker = UdpEndpoint {
        host: "192.0.2.9".to_string(),
        port: 1,
        url_data: String::new(),
    };
    for _ in 0..limits::MAX_UDP_TRACKER_REQUESTS {
        let ctx = &mut world.ctx();
        assert!(
            udp.request(ctx, torrent(0), &tracker, announce(), 8)
                .is_ok()
        );
    }
    let one_more = udp.request(&mut world.ctx(), torrent(0), &tracker, announce(), 8);
    assert_eq!(one_more, Err(UdpFault::Busy));
}

#[test]
fn forgetting_a_torrent_ends_its_requests_and_no_others() {
    let mut rig = Rig::new();
    rig.try_ask("192.0.2.9", torrent(1), 8).unwrap();
    let other = rig.ask("192.0.2.9");
    rig.udp.forget(&mut rig.world.ctx(), torrent(1));
    rig.collect();
    assert_eq!(rig.udp.len(), 1);
    rig.connect(V4, 1);
    let transaction = rig.last().transaction();
    rig.answer(V4, &announced(transaction));
    assert_eq!(rig.outcomes.len(), 1);
    assert_eq!(rig.outcomes[0].id, other);
}

#[test]
fn a_connect_that_nobody_waits_for_is_not_repeated() {
    let mut rig = Rig::new();
    let id = rig.ask("192.0.2.9");
    rig.udp.cancel(&mut rig.world.ctx(), id);
    rig.collect();
    rig.pass(10_000);
    assert_eq!(rig.times(), [0]);
    assert_eq!(rig.world.timers.next(), None);
}

#[test]
fn one_call_deals_with_a_bounded_number_of_deadlines() {
    let mut rig = Rig::new();
    let count = limits::TIMERS_PER_CALL as usize + 10;
    for _ in 0..count {
        rig.try_ask("192.0.2.9", torrent(0), 0).unwrap();
    }
    rig.world.pass(15);
    let _ = rig.world.timers.pop_due(rig.world.now);
    let first = rig.udp.on_timer(&mut rig.world.ctx()).len();
    assert!(first <= limits::TIMERS_PER_CALL as usize);
    let now = rig.world.now;
    let rest = rig.world.timers.deadline(Timer::UdpTracker);
    assert!(rest.is_some_and(|at| at <= now));
    rig.pass(0);
    assert_eq!(first + rig.outcomes.len(), count);
}

quickcheck! {
    fn any_packets_at_any_time_are_survived(steps: Vec<(u8, u8, Vec<u8>)>) -> bool {
        let mut rig = Rig::new();
        let mut asked = 0;
        for (what, number, mut data) in steps {
            let from = if number % 4 == 0 { V6 } else { V4 };
            match what % 8 {
                // A name whose lookup has just failed is refused at once, without an outcome.
                0 => asked += usize::from(rig.try_ask("t.example", torrent(0), 8).is_ok()),
                1 => asked += usize::from(rig.try_ask("192.0.2.9", torrent(0), 8).is_ok()),
                2 if !rig.lookups.is_empty() => {
                    rig.resolve(&["192.0.2.9", "2001:db8::9"]);
                }
                3 if !rig.lookups.is_empty() => rig.resolved(Err(ContactError::Denied)),
                4 => rig.pass(u64::from(number) * 4),
                5 if number % 3 == 0 => rig.undelivered(from, Undelivered::Refused),
                5 => {
                    rig.raw(from, &data);
                }
                _ => {
                    // The right number, and then anything.
                    let Some((_, _, query)) = rig.datagrams.last() else {
                        continue;
                    };
                    let mut packet = vec![0, 0, 0, number % 5];
                    packet.extend(query.transaction().to_be_bytes());
                    packet.append(&mut data);
                    rig.raw(from, &packet);
                }
            }
        }
        rig.pass(10_000);
        while !rig.lookups.is_empty() {
            rig.resolved(Err(ContactError::TimedOut));
        }
        rig.outcomes.len() == asked && rig.udp.len() == 0
    }
}
