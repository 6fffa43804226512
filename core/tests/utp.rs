//! uTP over links in virtual time: how much of them it fills, what it leaves to others, and what it survives. Every run
//! compares every byte that arrives.

#[path = "link/mod.rs"]
#[allow(dead_code, reason = "the table of an example uses the rest")]
mod link;
#[path = "link/table.rs"]
#[allow(dead_code, reason = "an example writes the whole of it")]
mod table;

use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::transport::utp::congestion::MakeCongestion;
use anabranch_core::transport::utp::limits::{LINGER, MAX_PER_ADDRESS, MIN_WINDOW};
use anabranch_core::transport::utp::{CloseReason, Config, Event, Icmp, Stats};
use anabranch_core::wire::utp::{Extension, Header, Kind, Packet};
use bytes::Bytes;

use crate::link::{Chance, Link, Tcp, World};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world with one flow that has no end.
fn one(link: Link) -> World {
    let mut world = World::new(link, 1);
    world.flow(Config::default(), Duration::ZERO, None);
    world
}

/// `docs/utp-table.md` is what an example writes; the rows that take no time are compared here.
#[test]
fn the_kept_table_is_true() {
    let kept = include_str!("../../docs/utp-table.md");
    for row in table::quick() {
        assert!(
            kept.contains(&row),
            "the row is not kept any more:\n{row}\n{}",
            table::ANEW
        );
    }
}

#[test]
fn one_flow_fills_a_link_and_keeps_its_queue_short() {
    for (mbit, round_trip) in [
        (1, 10),
        (1, 100),
        (10, 10),
        (10, 50),
        (10, 100),
        (10, 300),
        (40, 30),
    ] {
        let mut world = one(Link::new(mbit, round_trip, 200));
        world.run(seconds(10));
        world.mark();
        world.run(seconds(20));
        let used = world.used(seconds(20));
        let (queued, longest) = world.queued();
        assert!(used >= 900, "{mbit} Mbit/s, {round_trip} ms: {used}");
        assert!(
            queued <= Duration::from_millis(65),
            "{mbit}, {round_trip}: {queued:?}"
        );
        assert!(
            longest <= Duration::from_millis(125),
            "{mbit}, {round_trip}: {longest:?}"
        );
    }
}

#[test]
fn packets_lost_by_chance_cost_little() {
    for (loss, least) in [(1_000, 900), (5_000, 890), (10_000, 880), (30_000, 800)] {
        let mut world = one(Link::new(10, 50, 200).lossy(loss));
        world.run(seconds(10));
        world.mark();
        world.run(seconds(20));
        let used = world.used(seconds(20));
        assert!(used >= least, "{loss} ppm: {used}");
        let sender = world.sender(0).expect("it goes on");
        assert_eq!(sender.timeouts, 0, "{loss} ppm");
        // Nothing is sent again but what was lost.
        let lost = world.datagrams * u64::from(loss) / 1_000_000;
        assert!(
            sender.resent <= lost + lost / 4 + 10,
            "{loss} ppm: {} of {lost}",
            sender.resent
        );
    }
}

#[test]
fn a_buffer_of_a_second_is_not_filled() {
    let mut world = one(Link::new(10, 30, 1_000));
    world.run(seconds(5));
    let (_, longest) = world.queued();
    assert!(longest <= Duration::from_millis(250), "{longest:?}");
    world.mark();
    world.run(seconds(20));
    let (queued, longest) = world.queued();
    assert!(queued <= Duration::from_millis(62), "{queued:?}");
    assert!(longest <= Duration::from_millis(80), "{longest:?}");
}

#[test]
fn flows_share_fairly_also_with_those_who_come_late() {
    for (count, mbit, late) in [(2, 10, 0), (2, 10, 15), (10, 40, 0), (10, 40, 15)] {
        let mut world = World::new(Link::new(mbit, 50, 300), 1);
        for flow in 0..count {
            let starts = if flow == count - 1 {
                seconds(late)
            } else {
                Duration::from_millis(flow * 37)
            };
            world.flow(Config::default(), starts, None);
        }
        world.run(seconds(60 + late));
        world.mark();
        world.run(seconds(30));
        let flows: Vec<usize> = (0..count as usize).collect();
        let fairness = world.fairness(&flows);
        assert!(fairness >= 900, "{count} flows, {late} s: {fairness}");
        assert!(world.used(seconds(30)) >= 900);
    }
}

#[test]
fn beside_tcp_it_takes_little() {
    let kinds: [(&str, MakeCongestion); 2] = [("Reno", Tcp::reno), ("CUBIC", Tcp::cubic)];
    for (name, congestion) in kinds {
        for (round_trip, buffer) in [(20, 100), (50, 100), (50, 200), (50, 1_000)] {
            for is_first in [true, false] {
                let mut world = World::new(Link::new(10, round_trip, buffer), 1);
                let (tcp, utp) = if is_first { (0, 10) } else { (10, 0) };
                let config = Config {
                    congestion,
                    ..Config::default()
                };
                world.flow(config, seconds(tcp), None);
                world.flow(Config::default(), seconds(utp), None);
                world.run(seconds(20));
                world.mark();
                world.run(seconds(40));
                let share = world.moved(1) * 1_000 / (world.moved(0) + world.moved(1));
                assert!(
                    share <= 150,
                    "{name}, {round_trip} ms, {buffer} ms, first {is_first}: {share}"
                );
                assert!(world.used(seconds(40)) >= 900, "{name}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let link = Link {
            jitter: Duration::from_millis(3),
            ..Link::new(5, 40, 100).lossy(10_000)
        };
        let mut world = World::new(link, seed);
        world.flow(Config::default(), Duration::ZERO, None);
        world.flow(Config::default(), seconds(1), None);
        world.run(seconds(5));
        (world.trace, world.datagrams)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn reordering_doubles_and_jitter_are_lived_with() {
    let links = [
        Link {
            overtaken: 50_000,
            late: Duration::from_millis(20),
            ..Link::new(10, 50, 200)
        },
        Link {
            doubled: 100_000,
            ..Link::new(10, 50, 200)
        },
        Link {
            jitter: Duration::from_millis(10),
            ..Link::new(10, 50, 200)
        },
    ];
    for (at, link) in links.into_iter().enumerate() {
        let mut world = one(link);
        world.run(seconds(10));
        world.mark();
        world.run(seconds(10));
        let used = world.used(seconds(10));
        assert!(used >= 780, "{at}: {used}");
        // What was only overtaken is seldom sent again.
        let resent = world.sender(0).expect("it goes on").resent;
        assert!(
            resent * 20 < world.datagrams,
            "{at}: {resent} of {}",
            world.datagrams
        );
    }
}

#[test]
fn streams_of_any_length_arrive_and_both_ends_close() {
    for (seed, size) in [1, 1_000, 16_384, 100_000, 1_234_567]
        .into_iter()
        .enumerate()
    {
        let link = Link {
            doubled: 20_000,
            overtaken: 20_000,
            late: Duration::from_millis(15),
            ..Link::new(10, 30, 100).lossy(50_000)
        };
        let mut world = World::new(link, seed as u64 + 1);
        world.flow(Config::default(), Duration::ZERO, Some(size));
        assert!(
            world.finish(seconds(120)),
            "{size}: {:?}",
            world.flows[0].ended
        );
        let flow = &world.flows[0];
        assert_eq!(flow.received, size);
        assert_eq!(flow.ended, [Some(CloseReason::Finished); 2]);
        assert!(
            world
                .hosts
                .iter()
                .all(|host| host.utp.is_empty() && host.utp.memory() == (0, 0))
        );
    }
}

#[test]
fn both_ends_may_close_at_once() {
    for seed in 1..20 {
        let mut world = World::new(
            Link::new(10, 60, 100).lossy(if seed > 5 { 100_000 } else { 0 }),
            seed,
        );
        world.flow(Config::default(), Duration::ZERO, Some(50_000));
        for _ in 0..20_000 {
            if world.flows[0].peer.is_some() {
                break;
            }
            world.run(Duration::from_millis(1));
        }
        world.close_peer(0);
        assert!(
            world.finish(seconds(120)),
            "{seed}: {:?}",
            world.flows[0].ended
        );
        assert_eq!(
            world.flows[0].ended,
            [Some(CloseReason::Finished); 2],
            "{seed}"
        );
    }
}

#[test]
fn a_path_that_carries_less_is_found_out_and_survived() {
    // From the beginning, and all at once; below what every path should carry, too.
    for (first, then) in [
        (1_500, 1_500),
        (1_492, 1_492),
        (1_400, 1_400),
        (600, 600),
        (1_500, 1_300),
        (1_500, 700),
    ] {
        let link = Link {
            mtu: first,
            ..Link::new(10, 30, 100)
        };
        let mut world = one(link);
        world.run(seconds(5));
        let len = usize::from(world.sender(0).expect("it goes on").packet_len) + 28;
        assert!(len <= first && first - len < 64, "{first}: {len}");
        world.link.mtu = then;
        world.run(seconds(15));
        let len = usize::from(world.sender(0).expect("it goes on").packet_len) + 28;
        assert!(len <= then && then - len < 64, "{first}, {then}: {len}");
        world.mark();
        world.run(seconds(10));
        let used = world.used(seconds(10));
        assert!(used >= 800, "{first}, {then}: {used}");
    }
}

#[test]
fn a_path_that_becomes_longer_or_shorter_is_filled_again() {
    for (first, then) in [(120, 20), (20, 70)] {
        let mut world = one(Link::new(5, first, 200));
        world.run(seconds(10));
        world.link.round_trip = Duration::from_millis(then);
        // The least delay of the minutes before counts for as long.
        world.run(seconds(320));
        world.mark();
        world.run(seconds(10));
        let used = world.used(seconds(10));
        assert!(used >= 900, "{first}, {then}: {used}");
    }
}

#[test]
fn a_path_that_dies_ends_the_connection_and_one_that_comes_back_does_not() {
    let mut world = one(Link::new(5, 50, 100));
    world.run(seconds(5));
    world.link.loss = 1_000_000;
    world.run(seconds(8));
    world.link.loss = 0;
    world.run(seconds(20));
    assert_eq!(world.flows[0].ended, [None, None]);
    world.mark();
    world.run(seconds(10));
    assert!(world.used(seconds(10)) > 850, "{}", world.used(seconds(10)));
    world.link.loss = 1_000_000;
    world.run(seconds(300));
    assert_eq!(world.flows[0].ended[0], Some(CloseReason::TimedOut));
}

#[test]
fn a_reader_that_takes_nothing_stops_the_sender_and_nothing_grows() {
    let mut world = one(Link::new(10, 30, 100));
    world.flows[0].credit = Some(100_000);
    world.run(seconds(3_600));
    assert_eq!(world.flows[0].received, 100_000);
    assert_eq!(world.flows[0].ended, [None, None]);
    let (received, _) = world.hosts[1].utp.memory();
    assert!(received <= (1 << 20) + 100_000, "{received}");
    let before = world.datagrams;
    world.run(seconds(3_600));
    assert!(
        world.datagrams - before < 1_000,
        "{}",
        world.datagrams - before
    );
    // And then it goes on at once.
    world.give(0, 50_000_000);
    world.mark();
    world.run(seconds(10));
    assert!(world.moved(0) > 7_000_000, "{}", world.moved(0));
}

#[test]
fn the_memory_of_all_connections_is_bounded() {
    let config = Config {
        receive_memory: 500_000,
        ..Config::default()
    };
    let mut world = World::new(Link::new(50, 20, 100), 1);
    let to = world.host(config);
    for _ in 0..6 {
        let from = world.host(Config::default());
        let flow = world.flow_between(from, to, Duration::ZERO, None);
        world.flows[flow].credit = Some(0);
    }
    world.run(seconds(20));
    let (received, _) = world.hosts[to].utp.memory();
    assert!(received >= 400_000, "{received}");
    assert!(
        received <= 500_000 + 6 * u64::from(MIN_WINDOW),
        "{received}"
    );
}

#[test]
fn any_damage_to_packets_ends_a_connection_at_worst() {
    for (seed, mutated) in (1..30)
        .map(|seed| (seed, 1_000_000))
        .chain((30..50).map(|seed| (seed, 30_000)))
    {
        let link = Link {
            mutated,
            ..Link::new(5, 20, 100)
        };
        let mut world = World::new(link, seed);
        world.may_break = true;
        world.flow(Config::default(), Duration::ZERO, Some(300_000));
        world.run(seconds(20));
        for host in &world.hosts {
            let (received, sent) = host.utp.memory();
            assert!(
                received <= 2 << 20 && sent <= 2 << 20,
                "{seed}: {received}, {sent}"
            );
            assert!(host.utp.len() <= MAX_PER_ADDRESS);
        }
    }
}

/// A header as a stranger makes it.
fn header(kind: Kind, connection: u16, seq: u16, ack: u16) -> Header {
    Header {
        kind,
        connection,
        timestamp: 1,
        delay: 1,
        window: 1_000_000,
        seq,
        ack,
    }
}

fn encode(header: Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&[], &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_flood_of_syns_costs_nothing_and_honest_ones_get_through() {
    let mut world = World::new(Link::new(10, 30, 100), 1);
    let flow = world.flow(Config::default(), seconds(1), Some(500_000));
    let to = world.flows[flow].to;
    let mut chance = Chance::new(3);
    for packet in 0..40_000_u64 {
        let at = world.now + Duration::from_micros(packet * 100);
        let from = (
            [172, 16, chance.next() as u8, chance.next() as u8],
            chance.next() as u16 | 1,
        )
            .into();
        let syn = header(Kind::Syn, chance.next() as u16, chance.next() as u16, 0);
        world.hostile.push_back((at, to, from, encode(syn, &[])));
    }
    assert!(world.finish(seconds(60)), "{:?}", world.flows[flow].ended);
    assert_eq!(world.flows[flow].received, 500_000);
    world.run(seconds(5));
    assert!(world.hosts[to].utp.is_empty());
    assert!(world.hosts[to].utp.stats().syns >= 40_000);
}

#[test]
fn strangers_in_a_connection_change_nothing() {
    let mut world = World::new(Link::new(10, 30, 100), 1);
    let flow = world.flow(Config::default(), Duration::ZERO, Some(2_000_000));
    let (from, to) = (world.flows[flow].from, world.flows[flow].to);
    let (from_addr, to_addr) = (world.hosts[from].addr, world.hosts[to].addr);
    let mut chance = Chance::new(4);
    // Whoever guesses addresses and ports, but not the ids: a hundred times as many would have to be sent.
    for packet in 0..20_000_u64 {
        let at = world.now + Duration::from_micros(packet * 100);
        let kinds = [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
        let kind = kinds[chance.below(5) as usize];
        let (seq, ack) = (chance.next() as u16, chance.next() as u16);
        let bytes = encode(header(kind, chance.below(2) as u16, seq, ack), &[0; 100]);
        let (host, addr) = if packet % 2 == 0 {
            (to, from_addr)
        } else {
            (from, to_addr)
        };
        world.hostile.push_back((at, host, addr, bytes));
    }
    assert!(world.finish(seconds(60)), "{:?}", world.flows[flow].ended);
    assert_eq!(world.flows[flow].received, 2_000_000);
    assert_eq!(world.flows[flow].ended, [Some(CloseReason::Finished); 2]);
}

#[test]
fn who_knows_the_id_but_no_numbers_can_neither_acknowledge_nor_end_it() {
    let mut world = World::new(Link::new(5, 30, 100), 1);
    world.flow(Config::default(), Duration::ZERO, Some(1_000_000));
    let (to, from_addr) = (world.flows[0].to, world.hosts[world.flows[0].from].addr);
    world.run(Duration::from_millis(200));
    let packet = world.last_datagram(1).expect("data has come");
    let real = Packet::decode(&packet).expect("it is ours").header;
    // Acknowledgements of what was never sent, packets far ahead, resets out of nowhere.
    for step in 1..60_u16 {
        let far = step * 500;
        for (kind, seq, ack) in [
            (Kind::State, real.seq, real.ack.wrapping_add(far)),
            (Kind::Reset, real.seq, real.ack.wrapping_add(2 + far)),
            (
                Kind::Data,
                real.seq.wrapping_add(far).wrapping_add(8_000),
                real.ack.wrapping_sub(300),
            ),
        ] {
            let bytes = encode(header(kind, real.connection, seq, ack), &[0; 10]);
            world.hostile.push_back((world.now, to, from_addr, bytes));
        }
    }
    assert!(world.finish(seconds(60)), "{:?}", world.flows[0].ended);
    assert_eq!(world.flows[0].received, 1_000_000);
    assert_eq!(world.flows[0].ended, [Some(CloseReason::Finished); 2]);
}

/// One end that is ours, and packets by hand.
struct Scripted {
    utp: anabranch_core::transport::utp::Utp,
    now: Instant,
    events: Vec<Event>,
}

const PEER: &str = "198.51.100.7:6881";

impl Scripted {
    fn new(config: Config) -> Self {
        let utp = anabranch_core::transport::utp::Utp::new(config, anabranch_core::Seed([9; 32]));
        Self {
            utp,
            now: Instant::from_millis(1_000),
            events: Vec::new(),
        }
    }

    fn peer() -> std::net::SocketAddr {
        PEER.parse().expect("it is an address")
    }

    /// Feeds a packet, and returns those that answer it.
    fn feed(&mut self, header: Header, payload: &[u8]) -> Vec<Header> {
        let bytes = encode(header, payload);
        self.utp
            .datagram(self.now, Self::peer(), &bytes, self.now, &mut self.events);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Header> {
        self.utp.settle(self.now, &mut self.events);
        let (mut out, mut headers) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.utp.transmit(self.now, &mut out, &mut self.events) {
            headers.extend(
                out.chunks(transmit.segment)
                    .map(|packet| Packet::decode(packet).expect("it is ours").header),
            );
        }
        headers
    }

    fn wait(&mut self, time: Duration) -> Vec<Header> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.utp.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            all.extend(self.drain());
        }
        self.now = end;
        all
    }

    /// The other end connects; returns our answer.
    fn greet(&mut self, id: u16, seq: u16) -> Header {
        let answers = self.feed(header(Kind::Syn, id, seq, 0), &[]);
        assert_eq!(answers.len(), 1);
        answers[0]
    }
}

#[test]
fn a_syn_that_comes_twice_makes_one_connection() {
    let mut end = Scripted::new(Config::default());
    let first = end.greet(100, 1);
    assert_eq!(
        (first.kind, first.connection, first.ack),
        (Kind::State, 100, 1)
    );
    assert_eq!(end.greet(100, 1).seq, first.seq);
    assert!(end.utp.is_empty());
    end.feed(
        header(Kind::Data, 101, 2, first.seq.wrapping_sub(1)),
        b"hello",
    );
    assert_eq!(end.utp.len(), 1);
    let again = end.greet(100, 1);
    assert_eq!((again.kind, again.ack), (Kind::State, 2));
    assert_eq!(end.utp.len(), 1);
}

#[test]
fn who_counts_the_answer_to_a_syn_as_a_packet_is_understood() {
    // BEP 29's diagram can be read so that the answer takes a number.
    let mut end = Scripted::new(Config::default());
    let first = end.greet(100, 1);
    end.feed(header(Kind::Data, 101, 2, first.seq), b"hello");
    let Some(Event::Incoming { id, .. }) = end.events.first().cloned() else {
        panic!("it is in")
    };
    end.utp
        .send(id, Bytes::from_static(b"world"))
        .expect("it has room");
    let sent = end.drain();
    assert!(
        sent.iter()
            .any(|header| header.kind == Kind::Data && header.seq == first.seq.wrapping_add(1))
    );
}

#[test]
fn a_syn_alone_proves_nothing_and_neither_does_a_guess() {
    let mut end = Scripted::new(Config::default());
    let first = end.greet(100, 1);
    for guess in 1..1_000 {
        end.feed(
            header(Kind::Data, 101, 2, first.seq.wrapping_add(guess)),
            b"hello",
        );
    }
    assert!(end.utp.is_empty());
    // After a while, even the right one is worth nothing.
    end.wait(seconds(60));
    end.feed(
        header(Kind::Data, 101, 2, first.seq.wrapping_sub(1)),
        b"hello",
    );
    assert!(end.utp.is_empty());
}

#[test]
fn first_packets_that_overtake_one_another_are_sorted() {
    let mut end = Scripted::new(Config::default());
    let ack = end.greet(100, 1).seq.wrapping_sub(1);
    end.feed(header(Kind::Data, 101, 3, ack), b"world");
    let Some(Event::Incoming { id, .. }) = end.events.first().cloned() else {
        panic!("it is in")
    };
    end.utp.credit(id, 100);
    end.feed(header(Kind::Data, 101, 2, ack), b"hello ");
    let read: Vec<u8> = end
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Readable { bytes, .. } => Some(bytes.to_vec()),
            Event::Incoming { .. }
            | Event::Connected { .. }
            | Event::Sent { .. }
            | Event::Finished { .. }
            | Event::Closed { .. } => None,
        })
        .flatten()
        .collect();
    assert_eq!(read, b"hello world");
}

#[test]
fn one_address_has_so_many_connections_and_no_more() {
    let mut end = Scripted::new(Config::default());
    for id in 0..40 {
        let first = end.greet(id * 10, 1);
        end.feed(
            header(Kind::Data, id * 10 + 1, 2, first.seq.wrapping_sub(1)),
            b"x",
        );
    }
    assert_eq!(end.utp.len(), MAX_PER_ADDRESS);
    assert!(end.utp.connect(end.now, Scripted::peer()).is_err());
}

#[test]
fn a_connection_that_is_refused_or_unreachable_ends_at_once() {
    for is_icmp in [true, false] {
        let mut end = Scripted::new(Config::default());
        let id = end
            .utp
            .connect(end.now, Scripted::peer())
            .expect("there is room");
        let syn = end.drain()[0];
        if is_icmp {
            end.utp.icmp(Scripted::peer(), Icmp::Unreachable);
        } else {
            // One with another number is not believed.
            end.feed(
                header(Kind::Reset, syn.connection, 0, syn.seq.wrapping_add(1)),
                &[],
            );
            assert_eq!(end.events, []);
            end.feed(header(Kind::Reset, syn.connection, 0, syn.seq), &[]);
        }
        end.drain();
        let reason = if is_icmp {
            CloseReason::Unreachable
        } else {
            CloseReason::Refused
        };
        assert_eq!(end.events, [Event::Closed { id, reason }]);
    }
}

#[test]
fn nobody_there_is_a_time_out_after_four_syns() {
    let mut end = Scripted::new(Config::default());
    let id = end
        .utp
        .connect(end.now, Scripted::peer())
        .expect("there is room");
    let sent = end.wait(seconds(60));
    assert_eq!(
        sent.iter()
            .filter(|header| header.kind == Kind::Syn)
            .count(),
        4
    );
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::TimedOut
        }]
    );
    assert_eq!(end.utp.deadline(), None);
}

#[test]
fn unknown_connections_are_reset_but_not_for_ever() {
    let mut end = Scripted::new(Config::default());
    let answers = end.feed(header(Kind::Data, 7, 55, 3), b"x");
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].kind, answers[0].connection, answers[0].ack),
        (Kind::Reset, 7, 55)
    );
    // A reset is answered by nothing, or two ends would never stop.
    assert!(end.feed(header(Kind::Reset, 7, 55, 3), &[]).is_empty());
    let resets: usize = (0..10_000)
        .map(|id| end.feed(header(Kind::Data, id, 1, 1), b"x").len())
        .sum();
    assert!(resets < 1_000, "{resets}");
    let Stats {
        strays, unanswered, ..
    } = end.utp.stats();
    // One in some ten thousand guesses is right by chance.
    assert!(strays > 9_990, "{strays}");
    assert!(unanswered > 9_000);
}

/// Our end after both have said something, with our packet `seq` as the next, and the other end's next one.
fn open(end: &mut Scripted) -> (anabranch_core::transport::utp::UtpId, u16) {
    let ack = end.greet(100, 1).seq.wrapping_sub(1);
    end.feed(header(Kind::Data, 101, 2, ack), b"hello");
    let Some(Event::Incoming { id, .. }) = end.events.first().cloned() else {
        panic!("it is in")
    };
    end.utp.credit(id, 1_000);
    end.drain();
    end.events.clear();
    (id, ack)
}

#[test]
fn a_reset_after_the_end_is_the_end() {
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    end.utp.close(end.now, id);
    let fin = end.drain();
    assert!(fin.iter().any(|header| header.kind == Kind::Fin));
    // By its own id, as a stranger knows it.
    end.feed(header(Kind::Reset, 100, 3, ack.wrapping_add(1)), &[]);
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::Finished
        }]
    );
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    end.feed(header(Kind::Reset, 101, 3, ack), &[]);
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::Reset
        }]
    );
}

#[test]
fn an_end_that_is_never_acknowledged_is_one_all_the_same() {
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    end.utp.close(end.now, id);
    end.drain();
    // The other end says its own end but does not acknowledge ours, as some libtorrent did.
    end.feed(header(Kind::Fin, 101, 3, ack), &[]);
    let sent = end.wait(LINGER + seconds(10));
    assert!(
        sent.iter()
            .filter(|header| header.kind == Kind::Fin)
            .count()
            <= 6
    );
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::Finished
        }]
    );
}

#[test]
fn an_end_that_comes_again_is_acknowledged_after_the_end() {
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    end.utp.close(end.now, id);
    end.drain();
    let answers = end.feed(header(Kind::Fin, 101, 3, ack.wrapping_add(1)), &[]);
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::Finished
        }]
    );
    assert_eq!((answers[0].kind, answers[0].ack), (Kind::State, 3));
    let answers = end.feed(header(Kind::Fin, 101, 3, ack.wrapping_add(1)), &[]);
    assert_eq!((answers[0].kind, answers[0].ack), (Kind::State, 3));
}

#[test]
fn an_end_before_what_it_ends_waits_for_it_and_unread_ones_are_acknowledged() {
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    end.feed(header(Kind::Fin, 101, 4, ack), &[]);
    assert_eq!(end.events, []);
    let answers = end.feed(header(Kind::Data, 101, 3, ack), &[b'x'; 1_400]);
    assert_eq!(answers[0].ack, 4);
    assert!(!end.events.contains(&Event::Finished { id }));
    end.utp.credit(id, 10_000);
    end.drain();
    assert_eq!(end.events.last(), Some(&Event::Finished { id }));
}

#[test]
fn an_idle_connection_says_that_it_is_there() {
    let mut end = Scripted::new(Config::default());
    open(&mut end);
    let sent = end.wait(seconds(600));
    assert!((18..=22).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|header| header.kind == Kind::State));
}

#[test]
fn acknowledgements_are_one_for_a_batch_and_soon_for_a_single_packet() {
    let mut end = Scripted::new(Config::default());
    let (_, ack) = open(&mut end);
    for seq in 3..60 {
        let bytes = encode(header(Kind::Data, 101, seq, ack), &[0; 10]);
        end.utp
            .datagram(end.now, Scripted::peer(), &bytes, end.now, &mut end.events);
    }
    let answers = end.drain();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].ack, 59);
    assert!(
        end.feed(header(Kind::Data, 101, 60, ack), &[0; 10])
            .is_empty()
    );
    let later = end.wait(Duration::from_millis(30));
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].ack, 60);
}

#[test]
fn extensions_of_others_are_passed_over() {
    let mut end = Scripted::new(Config::default());
    let (id, ack) = open(&mut end);
    let mut bytes = Vec::new();
    header(Kind::Data, 101, 3, ack).encode(
        &[
            Extension::Padding(200),
            Extension::Bits([0; 8]),
            Extension::CloseReason(5),
        ],
        &mut bytes,
    );
    bytes.extend_from_slice(b"abc");
    end.utp
        .datagram(end.now, Scripted::peer(), &bytes, end.now, &mut end.events);
    end.drain();
    assert_eq!(
        end.events,
        [Event::Readable {
            id,
            bytes: Bytes::from_static(b"abc")
        }]
    );
}

#[test]
fn ids_that_have_ended_are_refused_and_nobody_waits_for_them() {
    let mut end = Scripted::new(Config::default());
    let (id, _) = open(&mut end);
    end.utp.abort(end.now, id);
    let sent = end.drain();
    assert_eq!(sent[0].kind, Kind::Reset);
    assert_eq!(
        end.events,
        [Event::Closed {
            id,
            reason: CloseReason::Aborted
        }]
    );
    assert!(end.utp.send(id, Bytes::from_static(b"x")).is_err());
    end.utp.credit(id, 5);
    end.utp.close(end.now, id);
    assert!(end.drain().is_empty());
    assert_eq!(end.utp.deadline(), None);
}
