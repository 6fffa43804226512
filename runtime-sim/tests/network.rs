//! The network as scripted peers see it: what each knob does, and what it does not.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a script waits for one kind of event among all"
)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::command::AddTorrent;
use anabranch_core::event::CloseReason;
use anabranch_sim::{
    Actor, ActorEvent, Family, Fault, HostConfig, HostId, Link, Nat, PPM, Stage, World,
    WorldConfig, seeds,
};
use bytes::Bytes;
use common::{HOUR, MINUTE, Swarm, real, strict};

/// What a probe saw, and when.
type Seen = Arc<Mutex<Vec<(Instant, ActorEvent)>>>;

/// A peer that does as its script says when it is told something, and writes down all that it is told.
struct Probe<F> {
    seen: Seen,
    script: F,
}

impl<F> std::fmt::Debug for Probe<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl<F: FnMut(&mut Stage<'_>, &ActorEvent) + Send> Actor for Probe<F> {
    fn on(&mut self, stage: &mut Stage<'_>, event: ActorEvent) {
        (self.script)(stage, &event);
        self.seen.lock().expect("no panic").push((stage.now, event));
    }
}

fn probe(
    world: &mut World,
    config: HostConfig,
    script: impl FnMut(&mut Stage<'_>, &ActorEvent) + Send + 'static,
) -> (HostId, Seen) {
    let seen = Seen::default();
    let actor = Probe {
        seen: Arc::clone(&seen),
        script,
    };
    (world.add_actor(config, actor), seen)
}

/// Somebody who lets everything happen to him.
fn listener(world: &mut World, config: HostConfig) -> (HostId, Seen) {
    probe(world, config, |_, _| {})
}

/// When datagrams came, and their first byte.
fn datagrams(seen: &Seen) -> Vec<(Instant, u8)> {
    let seen = seen.lock().expect("no panic");
    let packets = seen.iter().filter_map(|(at, event)| match event {
        ActorEvent::Datagram { data, .. } => Some((*at, data[0])),
        _ => None,
    });
    packets.collect()
}

fn bytes_received(seen: &Seen) -> u64 {
    let seen = seen.lock().expect("no panic");
    let parts = seen.iter().map(|(_, event)| match event {
        ActorEvent::Received { data, .. } => data.len() as u64,
        _ => 0,
    });
    parts.sum()
}

fn closed(seen: &Seen) -> Vec<(Instant, CloseReason)> {
    let seen = seen.lock().expect("no panic");
    let ends = seen.iter().filter_map(|(at, event)| match event {
        ActorEvent::Closed { reason, .. } => Some((*at, *reason)),
        _ => None,
    });
    ends.collect()
}

fn seconds(at: Instant) -> f64 {
    at.since(Instant::ZERO).as_secs_f64()
}

/// Sends `count` packets of `len` bytes each at the start, numbered.
fn burst(to: SocketAddr, count: u16, len: usize) -> impl FnMut(&mut Stage<'_>, &ActorEvent) + Send {
    move |stage, event| {
        if let ActorEvent::Started = event {
            for number in 0..count {
                stage.datagram(to, vec![number as u8; len]);
            }
        }
    }
}

/// Dials at the start, and sends so many bytes as soon as that has succeeded.
fn sender(to: SocketAddr, len: usize) -> impl FnMut(&mut Stage<'_>, &ActorEvent) + Send {
    move |stage, event| match event {
        ActorEvent::Started => {
            stage.connect(to);
        }
        ActorEvent::Connected { conn } => stage.send(*conn, vec![7; len]),
        _ => {}
    }
}

fn quiet(seed: u64) -> WorldConfig {
    WorldConfig::new(seed)
}

#[test]
fn every_pair_has_a_latency_of_its_own_and_it_is_the_same_both_ways() {
    for seed in seeds(3) {
        let mut world = World::with_config(quiet(seed));
        let mut slow = HostConfig::default();
        slow.link.latency = Duration::from_millis(300);
        let hosts: Vec<HostId> = (0..6)
            .map(|_| listener(&mut world, HostConfig::default()).0)
            .collect();
        let far = listener(&mut world, slow).0;
        let mut all = Vec::new();
        for one in &hosts {
            for other in hosts.iter().filter(|other| *other > one) {
                let latency = world.latency_between(*one, *other);
                assert_eq!(latency, world.latency_between(*other, *one));
                let bounds = Duration::from_millis(10)..=Duration::from_millis(50);
                assert!(bounds.contains(&latency), "{latency:?}");
                all.push(latency);
            }
            assert!(world.latency_between(*one, far) >= Duration::from_millis(310));
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 15, "no two alike");
    }
}

#[test]
fn a_packet_takes_the_latency_and_with_jitter_up_to_so_much_more() {
    for seed in seeds(3) {
        for jitter in [0, 30] {
            let mut config = quiet(seed);
            config.jitter = Duration::from_millis(jitter);
            let mut world = World::with_config(config);
            let (to, seen) = listener(&mut world, HostConfig::default());
            let address = world.address(to);
            let (from, _) = probe(&mut world, HostConfig::default(), burst(address, 100, 100));
            world.run_for(MINUTE).unwrap();
            let latency = world.latency_between(from, to);
            let came = datagrams(&seen);
            assert_eq!(came.len(), 100, "nothing is lost or doubled");
            let most = latency + Duration::from_millis(jitter);
            for (at, _) in &came {
                let took = at.since(Instant::ZERO);
                assert!((latency..=most).contains(&took), "{took:?}");
            }
            let numbers: Vec<u8> = came.iter().map(|(_, number)| *number).collect();
            // They overtake each other by jitter, and only by that.
            assert_eq!(numbers.is_sorted(), jitter == 0);
        }
    }
}

#[test]
fn so_many_packets_are_lost_and_so_many_come_twice() {
    for seed in seeds(3) {
        let mut config = quiet(seed);
        config.loss_ppm = PPM / 4;
        config.duplicate_ppm = PPM / 10;
        let mut world = World::with_config(config);
        let (to, seen) = listener(&mut world, HostConfig::default());
        let address = world.address(to);
        probe(
            &mut world,
            HostConfig::default(),
            burst(address, 8_000, 100),
        );
        world.run_for(MINUTE).unwrap();
        let came = datagrams(&seen).len();
        // 8,000 × 3/4 × 11/10.
        assert!((6_300..6_900).contains(&came), "{came}");
    }
}

#[test]
fn what_finds_the_queue_of_a_link_full_is_dropped_and_the_first_ones_get_through() {
    for at_the_sender in [true, false] {
        let mut narrow = HostConfig::with_rate(100_000);
        narrow.link.queue = 20_000;
        let wide = HostConfig::default();
        let (sends, receives) = if at_the_sender {
            (narrow, wide)
        } else {
            (wide, narrow)
        };
        let mut world = World::with_config(quiet(1));
        let (to, seen) = listener(&mut world, receives);
        let address = world.address(to);
        probe(&mut world, sends, burst(address, 100, 1_000));
        world.run_for(MINUTE).unwrap();
        let came = datagrams(&seen);
        let numbers: Vec<u8> = came.iter().map(|(_, number)| *number).collect();
        assert!((20..=22).contains(&came.len()), "{}", came.len());
        let first: Vec<u8> = (0..came.len() as u8).collect();
        assert_eq!(numbers, first, "it is the tail that is dropped");
        let spent = seconds(came[came.len() - 1].0) - seconds(came[0].0);
        assert!(
            (0.18..0.22).contains(&spent),
            "{spent} s at the link's rate"
        );
    }
}

#[test]
fn a_connection_takes_a_round_trip_and_bytes_stay_in_order_in_spite_of_jitter_and_loss() {
    for seed in seeds(5) {
        let mut config = quiet(seed);
        config.jitter = Duration::from_millis(40);
        config.loss_ppm = if seed == 0 { 0 } else { 20_000 };
        let mut world = World::with_config(config);
        let (to, seen) = listener(&mut world, HostConfig::default());
        let address = world.address(to);
        let text: Bytes = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        let sent = text.clone();
        let (from, told) = probe(
            &mut world,
            HostConfig::default(),
            move |stage, event| match event {
                ActorEvent::Started => {
                    stage.connect(address);
                }
                ActorEvent::Connected { conn } => {
                    for part in sent.chunks(997) {
                        stage.send(*conn, Bytes::copy_from_slice(part));
                    }
                }
                _ => {}
            },
        );
        world.run_for(10 * MINUTE).unwrap();
        let latency = world.latency_between(from, to);
        let told = told.lock().expect("no panic");
        let connected = told.iter().find_map(|(at, event)| {
            matches!(event, ActorEvent::Connected { .. }).then_some(at.since(Instant::ZERO))
        });
        let connected = connected.unwrap();
        assert!(connected >= 2 * latency, "{connected:?}");
        if seed == 0 {
            assert!(connected <= 2 * (latency + Duration::from_millis(40)));
        }
        let seen = seen.lock().expect("no panic");
        let mut got = Vec::new();
        for (_, event) in seen.iter() {
            if let ActorEvent::Received { data, .. } = event {
                got.extend_from_slice(data);
            }
        }
        assert!(got == text[..], "{} bytes of {}", got.len(), text.len());
    }
}

#[test]
fn a_stream_begins_slowly_and_opens_up_by_round_trips() {
    let mut config = quiet(1);
    config.latency_min = Duration::from_millis(100);
    config.latency_max = Duration::from_millis(100);
    let mut world = World::with_config(config);
    let (to, seen) = listener(&mut world, HostConfig::default());
    let address = world.address(to);
    probe(&mut world, HostConfig::default(), sender(address, 3 << 20));
    world.run_for(MINUTE).unwrap();
    let seen = seen.lock().expect("no panic");
    let mut by_round = std::collections::BTreeMap::<u64, u64>::new();
    for (at, event) in seen.iter() {
        if let ActorEvent::Received { data, .. } = event {
            let round = at.as_nanos() / 200_000_000;
            *by_round.entry(round).or_default() += data.len() as u64;
        }
    }
    let rounds: Vec<u64> = by_round.into_values().collect();
    assert!(rounds[0] <= 15_000, "the first window: {rounds:?}");
    for pair in rounds[..5].windows(2) {
        assert!(
            pair[1] >= pair[0] * 3 / 2 && pair[1] <= pair[0] * 2 + 3_000,
            "twice as much each time: {rounds:?}"
        );
    }
    assert_eq!(rounds.iter().sum::<u64>(), 3 << 20);
}

#[test]
fn streams_share_a_link_fairly_on_either_side() {
    for at_the_sender in [true, false] {
        let mut world = World::with_config(quiet(2));
        let narrow = HostConfig::with_rate(300_000);
        let wide = HostConfig::default();
        let (one_side, other_side) = if at_the_sender {
            (narrow, wide)
        } else {
            (wide, narrow)
        };
        let mut ends = Vec::new();
        if at_the_sender {
            let peers: Vec<_> = (0..3)
                .map(|_| listener(&mut world, other_side.clone()))
                .collect();
            let addresses: Vec<_> = peers.iter().map(|(to, _)| world.address(*to)).collect();
            probe(&mut world, one_side, move |stage, event| match event {
                ActorEvent::Started => {
                    for to in &addresses {
                        stage.connect(*to);
                    }
                }
                ActorEvent::Connected { conn } => stage.send(*conn, vec![0; 10 << 20]),
                _ => {}
            });
            ends.extend(peers.into_iter().map(|(_, seen)| seen));
            world.run_for(Duration::from_secs(20)).unwrap();
            let shares: Vec<u64> = ends.iter().map(bytes_received).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(*least * 10 >= *most * 9, "{shares:?}");
            assert!(shares.iter().sum::<u64>() >= 5_500_000, "{shares:?}");
        } else {
            let (to, seen) = listener(&mut world, other_side);
            let address = world.address(to);
            for _ in 0..3 {
                probe(&mut world, one_side.clone(), sender(address, 10 << 20));
            }
            world.run_for(Duration::from_secs(60)).unwrap();
            let seen = seen.lock().expect("no panic");
            let mut shares = std::collections::BTreeMap::<u64, u64>::new();
            for (_, event) in seen.iter() {
                if let ActorEvent::Received { conn, data } = event {
                    *shares.entry(*conn).or_default() += data.len() as u64;
                }
            }
            let shares: Vec<u64> = shares.into_values().collect();
            assert_eq!(shares.len(), 3);
            // Who shares a queue shares it by who loses what, which is fair in the long run only.
            assert!(
                shares.iter().min().unwrap() * 4 >= *shares.iter().max().unwrap(),
                "{shares:?}"
            );
            let total = shares.iter().sum::<u64>();
            assert!((15_000_000..=18_300_000).contains(&total), "{shares:?}");
        }
    }
}

#[test]
fn who_breaks_a_connection_is_told_nothing_and_the_other_a_reset() {
    let mut world = World::with_config(quiet(1));
    let (to, seen) = listener(&mut world, HostConfig::default());
    let address = world.address(to);
    let (_, told) = probe(
        &mut world,
        HostConfig::default(),
        move |stage, event| match event {
            ActorEvent::Started => {
                stage.connect(address);
            }
            ActorEvent::Connected { conn } => {
                stage.send(*conn, vec![0; 1_000]);
                stage.wake_in(Duration::from_secs(5), *conn);
            }
            ActorEvent::Timer { token } => stage.reset(*token),
            _ => {}
        },
    );
    world.run_for(MINUTE).unwrap();
    assert_eq!(bytes_received(&seen), 1_000);
    let ends = closed(&seen);
    assert!(matches!(ends[..], [(_, CloseReason::Reset)]), "{ends:?}");
    assert!(closed(&told).is_empty());
}

#[test]
fn who_closes_in_good_order_is_heard_to_the_last_byte() {
    let mut world = World::with_config(quiet(1));
    let (to, seen) = listener(&mut world, HostConfig::with_rate(10_000));
    let address = world.address(to);
    probe(
        &mut world,
        HostConfig::default(),
        move |stage, event| match event {
            ActorEvent::Started => {
                stage.connect(address);
            }
            ActorEvent::Connected { conn } => {
                stage.send(*conn, vec![0; 50_000]);
                stage.close(*conn);
            }
            _ => {}
        },
    );
    world.run_for(MINUTE).unwrap();
    assert_eq!(bytes_received(&seen), 50_000);
    let ends = closed(&seen);
    assert!(matches!(ends[..], [(_, CloseReason::Remote)]), "{ends:?}");
}

#[test]
fn where_nobody_listens_is_refused_and_where_nobody_is_times_out() {
    let mut world = World::with_config(quiet(1));
    let (there, _) = listener(&mut world, HostConfig::default());
    let mut hidden = HostConfig::default();
    hidden.nat = Nat::FullCone;
    let (behind, _) = listener(&mut world, hidden);
    let wrong_port = SocketAddr::new(world.address(there).ip(), 1);
    let nobody = SocketAddr::from(([5, 99, 99, 99], 6_881));
    let unreachable = world.address(behind);
    for (to, expected, by) in [
        (wrong_port, CloseReason::Refused, 1),
        (nobody, CloseReason::TimedOut, 120),
        (unreachable, CloseReason::TimedOut, 120),
    ] {
        let began = world.now();
        let (_, told) = probe(&mut world, HostConfig::default(), sender(to, 1));
        world.run_for(3 * MINUTE).unwrap();
        let ends = closed(&told);
        assert_eq!(ends.len(), 1, "{to}");
        assert_eq!(ends[0].1, expected, "{to}");
        assert!(ends[0].0.since(began) <= Duration::from_secs(by), "{to}");
    }
}

/// Half open: one end is gone without a word, and the other finds out by sending.
#[test]
fn a_half_open_connection_times_out_or_is_reset_when_the_other_end_is_back() {
    let content = real(100_000, 65_536);
    for comes_back in [false, true] {
        let mut world = World::with_config(quiet(1));
        // An engine, which can crash and come back.
        let host = world.add_host(HostConfig::default());
        world
            .seed_torrent(host, &content, AddTorrent::default())
            .unwrap();
        let to = world.address(host);
        let hash = content.info_hash();
        let (_, told) = probe(&mut world, HostConfig::default(), move |stage, event| {
            match event {
                ActorEvent::Started => {
                    stage.connect(to);
                }
                ActorEvent::Connected { conn } => {
                    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
                    hello.extend(hash.as_bytes());
                    hello.extend(b"-XX0100-000000000000");
                    stage.send(*conn, hello);
                    stage.wake_in(Duration::from_secs(20), *conn);
                }
                // A keep-alive.
                ActorEvent::Timer { token } => stage.send(*token, vec![0; 4]),
                _ => {}
            }
        });
        world.run_for(Duration::from_secs(10)).unwrap();
        assert!(bytes_received(&told) > 68, "it stands");
        world.crash(host);
        if comes_back {
            world.schedule(Duration::from_secs(5), Fault::Restart(host));
        }
        world.run_for(5 * MINUTE).unwrap();
        let ends = closed(&told);
        assert_eq!(ends.len(), 1);
        let (at, reason) = ends[0];
        if comes_back {
            assert_eq!(reason, CloseReason::Reset);
            assert!(seconds(at) < 22.0);
        } else {
            assert_eq!(reason, CloseReason::TimedOut);
            assert!(seconds(at) > 120.0);
        }
    }
}

#[test]
fn a_black_hole_swallows_what_is_sent_until_the_sender_gives_up() {
    let content = real(4_000_000, 65_536);
    let mut swarm = Swarm::new(strict(1), &content, 1, |host| {
        host.link.up = Some(100_000);
    });
    let leecher = swarm.leechers[0];
    swarm.world.run_for(Duration::from_secs(10)).unwrap();
    let before = swarm
        .world
        .host(leecher)
        .engine()
        .unwrap()
        .stats()
        .payload_received;
    assert!(before > 500_000, "{before}");
    swarm
        .world
        .schedule(Duration::ZERO, Fault::BlackHole(leecher));
    swarm.world.run_for(Duration::from_secs(20)).unwrap();
    let engine = swarm.world.host(leecher).engine().unwrap();
    let came = engine.stats().payload_received - before;
    assert!(came < 150_000, "what was with the last link: {came}");
    assert_eq!(engine.connection_count(), 1, "nobody knows yet");
    swarm.complete(HOUR).unwrap();
}

#[test]
fn packets_get_through_a_nat_as_its_kind_says() {
    // From inside, a packet to one friend. Who gets an answer through to where it came from? That
    // friend; somebody else.
    for (nat, stranger_gets_in, other_ports) in [
        (Nat::None, true, false),
        (Nat::FullCone, true, true),
        (Nat::Restricted, false, true),
        (Nat::Symmetric, false, true),
        (Nat::Firewall, false, false),
    ] {
        let mut world = World::with_config(quiet(1));
        let (friend, friends) = probe(&mut world, HostConfig::default(), |stage, event| {
            if let ActorEvent::Datagram { from, .. } = event {
                stage.datagram(*from, vec![1]);
            }
        });
        let (another, others) = listener(&mut world, HostConfig::default());
        let [friend, another] = [friend, another].map(|host| world.address(host));
        let mut config = HostConfig::default();
        config.nat = nat;
        let (inside, seen) = probe(&mut world, config, move |stage, event| {
            if let ActorEvent::Started = event {
                stage.datagram(friend, vec![0]);
                stage.datagram(another, vec![0]);
            }
        });
        world.run_for(Duration::from_secs(1)).unwrap();
        let came_from = |seen: &Seen| {
            let seen = seen.lock().expect("no panic");
            seen.iter().find_map(|(_, event)| match event {
                ActorEvent::Datagram { from, .. } => Some(*from),
                _ => None,
            })
        };
        let mapped = came_from(&friends).unwrap();
        assert_eq!(mapped != world.address(inside), other_ports, "{nat:?}");
        // Every destination sees a port of its own behind a symmetric one, and the same otherwise.
        let same = came_from(&others).unwrap() == mapped;
        assert_eq!(same, nat != Nat::Symmetric, "{nat:?}");
        assert_eq!(datagrams(&seen).len(), 1, "{nat:?}: the friend's answer");
        probe(&mut world, HostConfig::default(), burst(mapped, 1, 1));
        world.run_for(Duration::from_secs(1)).unwrap();
        let got = datagrams(&seen).len();
        assert_eq!(got == 2, stranger_gets_in, "{nat:?}: a stranger");
        // What a NAT remembers it forgets.
        world.run_for(10 * MINUTE).unwrap();
        let before = datagrams(&seen).len();
        probe(&mut world, HostConfig::default(), burst(mapped, 1, 1));
        world.run_for(Duration::from_secs(1)).unwrap();
        let open = datagrams(&seen).len() > before;
        assert_eq!(open, nat == Nat::None, "{nat:?}: later");
    }
}

#[test]
fn a_partition_stops_packets_and_streams_and_healed_lets_streams_go_on() {
    let mut world = World::with_config(quiet(1));
    let mut narrow = HostConfig::with_rate(100_000);
    narrow.link.queue = 50_000;
    let (to, seen) = listener(&mut world, narrow);
    let address = world.address(to);
    let (from, told) = probe(
        &mut world,
        HostConfig::default(),
        move |stage, event| match event {
            ActorEvent::Started => {
                stage.connect(address);
                stage.wake_in(Duration::from_secs(10), 0);
            }
            ActorEvent::Connected { conn } => stage.send(*conn, vec![0; 1_000_000]),
            ActorEvent::Timer { .. } => stage.datagram(address, vec![9]),
            _ => {}
        },
    );
    world.schedule(Duration::from_secs(3), Fault::Partition(vec![from]));
    world.schedule(Duration::from_secs(60), Fault::Heal);
    world.run_for(Duration::from_secs(59)).unwrap();
    let before = bytes_received(&seen);
    assert!((200_000..450_000).contains(&before), "{before}");
    assert!(datagrams(&seen).is_empty());
    world.run_for(2 * MINUTE).unwrap();
    assert_eq!(bytes_received(&seen), 1_000_000);
    assert!(closed(&seen).is_empty() && closed(&told).is_empty());
}

#[test]
fn hosts_join_leave_crash_and_come_back() {
    let content = real(2_000_000, 65_536);
    for seed in seeds(3) {
        let mut swarm = Swarm::new(strict(seed), &content, 2, |_| {});
        let [leaves, crashes] = swarm.leechers[..] else {
            panic!("two");
        };
        swarm.world.run_for(Duration::from_secs(2)).unwrap();
        swarm.world.leave(leaves);
        swarm.world.crash(crashes);
        let late = swarm.world.add_host(HostConfig::with_rate(1_000_000));
        let add = swarm.add.clone();
        swarm.world.add_torrent(late, &content, add).unwrap();
        swarm
            .world
            .run_until(HOUR, |world| {
                world.host(late).completed_at(&content).is_some()
            })
            .unwrap();
        let up = [leaves, crashes].map(|host| swarm.world.host(host).is_up());
        assert_eq!(up, [false, false]);
        swarm.world.restart(leaves);
        swarm.world.restart(crashes);
        swarm.complete(HOUR).unwrap();
    }
}

#[test]
fn a_link_that_changes_is_as_fast_as_it_has_become() {
    let mut world = World::with_config(quiet(1));
    let (to, seen) = listener(&mut world, HostConfig::default());
    let address = world.address(to);
    let narrow = HostConfig::with_rate(50_000);
    let (from, _) = probe(&mut world, narrow, sender(address, 4_000_000));
    world.run_for(Duration::from_secs(20)).unwrap();
    let slowly = bytes_received(&seen);
    assert!((800_000..=1_000_000).contains(&slowly), "{slowly}");
    let mut link = Link::default();
    link.up = Some(1_000_000);
    world.schedule(Duration::ZERO, Fault::Link(from, link));
    world.run_for(Duration::from_secs(10)).unwrap();
    assert_eq!(bytes_received(&seen), 4_000_000);
}

#[test]
fn families_that_have_nothing_in_common_do_not_reach_each_other() {
    let families = [Family::V4, Family::V6, Family::Both];
    for theirs in families {
        for ours in families {
            let mut world = World::with_config(quiet(1));
            let mut config = HostConfig::default();
            config.family = theirs;
            let (to, seen) = listener(&mut world, config.clone());
            let addresses: Vec<SocketAddr> = world.host(to).addresses().collect();
            let count = if theirs == Family::Both { 2 } else { 1 };
            assert_eq!(addresses.len(), count);
            config.family = ours;
            for address in addresses {
                let before = (bytes_received(&seen), datagrams(&seen).len());
                let (from, told) = probe(&mut world, config.clone(), sender(address, 5));
                probe(&mut world, config.clone(), burst(address, 1, 5));
                world.run_for(MINUTE).unwrap();
                let common = world
                    .host(from)
                    .addresses()
                    .any(|own| own.is_ipv4() == address.is_ipv4());
                let after = (bytes_received(&seen), datagrams(&seen).len());
                let got = (after.0 - before.0, after.1 - before.1);
                assert_eq!(got, if common { (5, 1) } else { (0, 0) });
                let ends = closed(&told);
                if common {
                    assert!(ends.is_empty());
                } else {
                    assert!(matches!(ends[..], [(_, CloseReason::Unreachable)]));
                }
            }
        }
    }
}

#[test]
fn a_swarm_of_ipv6_alone_finds_itself_by_trackers_of_either_protocol() {
    let content = real(600_000, 65_536);
    for seed in seeds(2) {
        for protocol in 0..2 {
            let mut world = World::with_config(strict(seed));
            let tracker = world.add_tracker(MINUTE);
            let add = AddTorrent {
                trackers: Some(vec![vec![world.urls6(tracker)[protocol].clone()]]),
                ..AddTorrent::default()
            };
            let mut config = HostConfig::with_rate(1_000_000);
            config.family = Family::V6;
            let seed = world.add_host(config.clone());
            world.seed_torrent(seed, &content, add.clone()).unwrap();
            for _ in 0..2 {
                let leecher = world.add_host(config.clone());
                assert!(world.address(leecher).is_ipv6());
                world.add_torrent(leecher, &content, add.clone()).unwrap();
            }
            world.run_until_complete(10 * MINUTE).unwrap();
        }
    }
}

/// Who has IPv4 alone and who has IPv6 alone get from each other by way of one that has both.
#[test]
fn a_host_with_both_families_joins_two_swarms() {
    let content = real(600_000, 65_536);
    for seed in seeds(2) {
        let mut world = World::with_config(strict(seed));
        let tracker = world.add_tracker(MINUTE);
        let name = "tracker.test";
        let [v4, v6]: [IpAddr; 2] = [
            world.tracker_address(tracker).ip(),
            world.tracker_address6(tracker).ip(),
        ];
        world.set_name(name, vec![v6, v4]);
        let port = world.tracker_address(tracker).port();
        let urls = ["http", "udp"].map(|scheme| format!("{scheme}://{name}:{port}/announce"));
        // Who has both asks at both addresses, so that both halves hear of it.
        let both = [world.urls6(tracker)[0].clone(), world.http_url(tracker)];
        let add = |tiers: Vec<Vec<String>>| AddTorrent {
            trackers: Some(tiers),
            ..AddTorrent::default()
        };
        let host = |world: &mut World, family| {
            let mut config = HostConfig::with_rate(1_000_000);
            config.family = family;
            world.add_host(config)
        };
        let seed = host(&mut world, Family::V6);
        let tiers = vec![urls.to_vec()];
        world
            .seed_torrent(seed, &content, add(tiers.clone()))
            .unwrap();
        let leecher = host(&mut world, Family::V4);
        world.add_torrent(leecher, &content, add(tiers)).unwrap();
        world.run_for(5 * MINUTE).unwrap();
        assert_eq!(world.incomplete(), 1, "there is no way");
        let between = host(&mut world, Family::Both);
        let tiers = both.map(|url| vec![url]).to_vec();
        world.add_torrent(between, &content, add(tiers)).unwrap();
        world
            .run_until(20 * MINUTE, |world| {
                world.host(leecher).completed_at(&content).is_some()
            })
            .unwrap();
    }
}
