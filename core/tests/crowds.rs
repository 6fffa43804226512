//! Crowds that want all places: whoever they are, somebody honest gets one.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one kind of action among all"
)]

mod rig;

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anabranch_core::id::ConnId;
use anabranch_core::wire::{BlockRequest, Message, PeerId, PexFlags, PexMessage, Reserved};
use anabranch_core::{Action, Config, Event};
use rig::{PIECE, Rig};

const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const REQUEST: u8 = 6;

const SECOND: Duration = Duration::from_secs(1);

fn config(places: u32) -> Config {
    let mut config = Config::default();
    config.max_connections_per_torrent = places;
    config
}

/// An address in a network of its own.
fn afar(number: u32) -> SocketAddr {
    let [_, high, middle, low] = number.to_be_bytes();
    SocketAddr::new([11 + high, middle, low, 7].into(), 5_000)
}

/// An address in one network with all others of its kind.
fn near(number: u32) -> SocketAddr {
    SocketAddr::new(
        [99, 9, 9, (number % 250) as u8].into(),
        5_000 + (number / 250) as u16,
    )
}

/// A peer with the fast extension, if it gets a place.
fn join(rig: &mut Rig, from: SocketAddr) -> Option<ConnId> {
    let conn = rig.knock(from)?;
    let mut id = [0; 20];
    for (slot, byte) in id.iter_mut().zip(from.to_string().bytes().rev()) {
        *slot = byte;
    }
    rig.shake_hands(conn, Reserved::default().with_fast(true), PeerId(id));
    // Whoever was closed is gone.
    let closed = obey(rig);
    (!closed.contains(&conn)).then_some(conn)
}

/// Closes what the engine closes. Which those were.
fn obey(rig: &mut Rig) -> Vec<ConnId> {
    let closed = rig.take(|action| match action {
        Action::Close { conn } => Some(*conn),
        _ => None,
    });
    for conn in &closed {
        let reason = anabranch_core::event::CloseReason::Local;
        rig.feed(Event::Closed {
            conn: *conn,
            reason,
        });
    }
    closed
}

/// Asks for a block that it is allowed to have, and takes it.
fn fetch(rig: &mut Rig, peer: ConnId) {
    request(rig, peer, 0);
    read(rig);
    rig.feed(Event::Sent {
        conn: peer,
        len: u64::MAX,
    });
}

fn request(rig: &mut Rig, peer: ConnId, piece: u32) {
    let request = BlockRequest {
        piece,
        begin: 0,
        len: PIECE,
    };
    rig.say(peer, &Message::Request(request));
}

/// The disk gives what it is asked for.
fn read(rig: &mut Rig) {
    let reads = rig.take(|action| match action {
        Action::Disk { op, job, .. } => {
            matches!(job, anabranch_core::action::DiskJob::Read { .. }).then_some(*op)
        }
        _ => None,
    });
    for op in reads {
        let data = vec![7; PIECE as usize].into();
        let done = anabranch_core::event::DiskDone::Read { data };
        let result = anabranch_core::event::OpResult::Disk(Ok(done));
        rig.feed(Event::Done { op, result });
    }
}

/// Fills all places with peers that have shaken hands, and lets some time pass.
fn filled(places: u32, address: fn(u32) -> SocketAddr) -> Rig {
    let mut rig = Rig::with(config(places), true);
    for number in 0..places {
        assert!(join(&mut rig, address(number)).is_some(), "{number}");
    }
    rig
}

#[test]
fn a_silent_crowd_from_everywhere_gives_way() {
    let mut rig = filled(100, afar);
    assert!(
        join(&mut rig, afar(1_000)).is_none(),
        "they have a moment's time"
    );
    rig.pass(5 * SECOND);
    let honest = join(&mut rig, afar(1_001)).expect("there is a place");
    rig.say(honest, &Message::Interested);
    assert!(rig.sent(honest).contains(&UNCHOKE));
    fetch(&mut rig, honest);
    // The crowd comes back and back, and it stays.
    for number in 2_000..3_000 {
        join(&mut rig, afar(number));
        rig.pass(SECOND / 10);
        assert!(!obey(&mut rig).contains(&honest), "{number}");
    }
    assert!(rig.engine.stats().replaced > 100);
}

#[test]
fn a_silent_crowd_from_one_network_makes_room_and_takes_none() {
    let mut config = config(40);
    config.max_connections_per_address = 1;
    let mut rig = Rig::with(config, true);
    let honest: Vec<ConnId> = (0..10)
        .filter_map(|number| join(&mut rig, afar(number)))
        .collect();
    for peer in &honest {
        rig.say(*peer, &Message::Interested);
        rig.sent(*peer);
        fetch(&mut rig, *peer);
    }
    let mut crowd = 0;
    let mut lost = 0;
    for number in 0..100 {
        crowd += usize::from(join(&mut rig, near(number)).is_some());
        rig.pass(SECOND);
        lost += obey(&mut rig)
            .iter()
            .filter(|conn| honest.contains(conn))
            .count();
    }
    assert!(crowd > 30, "{crowd}");
    assert_eq!(lost, 0);
    assert!(join(&mut rig, afar(100)).is_some());
}

#[test]
fn what_everybody_wants_is_shared_with_networks_in_mind() {
    // All of one network, and all of them waiting for something: what it holds beyond its share
    // goes.
    let mut rig = Rig::with(config(16), true);
    for number in 0..16 {
        let peer = join(&mut rig, near(number)).expect("there is room");
        rig.say(peer, &Message::Interested);
    }
    rig.pass(60 * SECOND);
    let mut taken = 0;
    for number in 0..60 {
        taken += u32::from(join(&mut rig, afar(number)).is_some());
        rig.pass(8 * SECOND);
        obey(&mut rig);
    }
    assert!(taken >= 14, "{taken}");
}

#[test]
fn strangers_that_say_nothing_do_not_keep_others_from_shaking_hands() {
    for address in [afar, near] {
        let mut config = config(100);
        config.max_incoming_handshakes = 20;
        config.max_connections = 80;
        config.max_connections_per_address = 100;
        let mut rig = Rig::with(config, true);
        for number in 0..500 {
            assert!(rig.knock(address(number)).is_some(), "{number}");
            obey(&mut rig);
        }
        assert!(rig.engine.connection_count() <= 20);
        let honest = rig.knock(afar(1_000)).expect("it is welcome");
        // More of them come before its handshake does.
        for number in 500..519 {
            rig.knock(address(number));
        }
        rig.shake_hands(honest, Reserved::default(), PeerId([9; 20]));
        assert!(!obey(&mut rig).contains(&honest));
        assert!(rig.engine.stats().displaced >= 499);
    }
}

#[test]
fn all_places_of_the_engine_taken_by_a_crowd_are_given_back() {
    let mut config = config(100);
    config.max_connections = 50;
    config.max_incoming_handshakes = 10;
    let mut rig = Rig::with(config, true);
    for number in 0..50 {
        assert!(join(&mut rig, afar(number)).is_some());
    }
    assert!(rig.knock(afar(100)).is_none());
    rig.pass(5 * SECOND);
    let honest = join(&mut rig, afar(101)).expect("there is a place");
    rig.say(honest, &Message::Interested);
    fetch(&mut rig, honest);
    // Strangers that say nothing take few places of peers.
    for number in 200..400 {
        rig.knock(afar(number));
        obey(&mut rig);
        rig.pass(SECOND / 20);
    }
    let gone = rig.engine.stats().replaced;
    assert!(gone <= 1 + 4 + 10, "{gone}");
    assert!(rig.engine.connection_count() <= 50);
}

#[test]
fn a_place_is_free_for_the_next_one_while_the_driver_closes_up_to_a_bound() {
    let mut config = config(1_000);
    config.max_connections = 200;
    let mut rig = Rig::with(config, true);
    for number in 0..200 {
        assert!(join(&mut rig, afar(number)).is_some());
    }
    // The driver closes nothing.
    for second in 0..20 {
        rig.pass(5 * SECOND);
        for number in 0..30 {
            if let Some(conn) = rig.knock(afar(1_000 + second * 30 + number)) {
                let id = PeerId([(second * 30 + number) as u8; 20]);
                rig.shake_hands(conn, Reserved::default(), id);
            }
        }
        let most = 200 + anabranch_core::limits::MAX_CLOSING;
        assert!(rig.engine.connection_count() <= most);
    }
}

#[test]
fn a_download_whose_places_are_held_to_no_purpose_dials_and_gets_on() {
    let mut rig = Rig::with(config(30), false);
    for number in 0..30 {
        let peer = join(&mut rig, afar(number)).expect("there is room");
        rig.say(peer, &Message::HaveNone);
    }
    let torrent = rig.engine.torrents().next().unwrap();
    let command = Box::new(anabranch_core::Command::AddPeers {
        torrent,
        peers: vec![afar(500)],
    });
    rig.feed(Event::Command {
        request: anabranch_core::id::RequestId(7),
        command,
    });
    let mut dialled = None;
    for _ in 0..60 {
        rig.pass(SECOND);
        obey(&mut rig);
        dialled = rig
            .take(|action| match action {
                Action::Connect { conn, .. } => Some(*conn),
                _ => None,
            })
            .pop();
        if dialled.is_some() {
            break;
        }
    }
    let seed = dialled.expect("somebody is dialled");
    rig.feed(Event::Connected { conn: seed });
    rig.shake_hands(seed, Reserved::default().with_fast(true), PeerId([3; 20]));
    rig.say(seed, &Message::HaveAll);
    rig.say(seed, &Message::Unchoke);
    let said = rig.sent(seed);
    assert!(said.contains(&INTERESTED) && said.contains(&REQUEST));
}

#[test]
fn a_download_that_gets_a_block_a_minute_of_everybody_dials_somebody_better() {
    // The crowd needs hours for so many.
    let mut rig = Rig::of(config(30), false, 4_000);
    let mut members: Vec<(ConnId, Vec<u32>)> = Vec::new();
    for number in 0..30 {
        let peer = join(&mut rig, afar(number)).expect("there is room");
        rig.say(peer, &Message::HaveAll);
        rig.say(peer, &Message::Unchoke);
        members.push((peer, Vec::new()));
    }
    let mut dialled = None;
    for second in 0..90 + SERVED_WITHIN {
        for (number, (peer, asked)) in members.iter_mut().enumerate() {
            asked.extend(rig.pieces(*peer, REQUEST));
            if !asked.is_empty() && (second + 2 * number as u32).is_multiple_of(60) {
                rig.deliver(*peer, asked.remove(0));
            }
        }
        if second == 90 {
            let torrent = rig.engine.torrents().next().unwrap();
            let peers = vec![afar(500)];
            let command = Box::new(anabranch_core::Command::AddPeers { torrent, peers });
            let request = anabranch_core::id::RequestId(7);
            rig.feed(Event::Command { request, command });
        }
        rig.pass(SECOND);
        let closed = obey(&mut rig);
        members.retain(|(peer, _)| !closed.contains(peer));
        let connects = rig.take(|action| match action {
            Action::Connect { conn, .. } => Some(*conn),
            _ => None,
        });
        dialled = connects.first().copied();
        if dialled.is_some() {
            break;
        }
    }
    let seed = dialled.expect("somebody is dialled");
    rig.feed(Event::Connected { conn: seed });
    rig.shake_hands(seed, Reserved::default().with_fast(true), PeerId([3; 20]));
    rig.say(seed, &Message::HaveAll);
    rig.say(seed, &Message::Unchoke);
    assert!(rig.sent(seed).contains(&REQUEST));
}

#[test]
fn places_of_no_number_are_given_to_nobody() {
    for zero in [0, 1] {
        let mut none = config(zero);
        none.max_connections = 1 - zero;
        let mut rig = Rig::with(none, true);
        rig.pass(60 * SECOND);
        assert!(join(&mut rig, afar(1)).is_none());
    }
}

/// What members of a crowd do once they have a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Silent,
    KeepAlive,
    Flapping,
    /// Takes a slot, and asks for nothing.
    Interested,
    /// Asks for everything and takes nothing.
    Greedy,
    /// Takes a block now and then.
    Trickling,
    /// Takes a block a minute.
    Miserly,
    /// Takes a block a minute, and never stops taking it.
    Sipping,
}

const MANNERS: [Manner; 8] = [
    Manner::Silent,
    Manner::KeepAlive,
    Manner::Flapping,
    Manner::Interested,
    Manner::Greedy,
    Manner::Trickling,
    Manner::Miserly,
    Manner::Sipping,
];

/// Who comes after those that had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    Never,
    /// Others, five for each try of somebody honest.
    Others,
    /// The same ones, at once.
    Same,
}

/// A crowd, drawn.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    manner: Manner,
    /// How many networks it has.
    networks: u32,
    returns: Return,
    /// Whether these are /48s, and each member has a /64; and not /24s.
    ipv6: bool,
    /// Whether the engine's places are what it fills, and not those of the torrent.
    everywhere: bool,
}

impl Crowd {
    /// The address of one of its members.
    fn address(self, number: u32) -> SocketAddr {
        let network = (number % self.networks) as u16;
        let [high, low] = network.to_be_bytes();
        let port = 1_000 + (number % 50_000) as u16;
        if self.ipv6 {
            let subnet = (number / self.networks) as u16;
            let ip = Ipv6Addr::new(0x2001, 0xdb8, network, subnet, 0, 0, 0, 7);
            return SocketAddr::new(ip.into(), port);
        }
        let host = (number / self.networks % 250) as u8;
        SocketAddr::new([20, high, low, host].into(), port)
    }

    fn act(self, rig: &mut Rig, peer: ConnId, age: u32) {
        let every = |seconds: u32| age.is_multiple_of(seconds);
        match self.manner {
            Manner::Silent => {}
            Manner::KeepAlive if every(20) => rig.say(peer, &Message::KeepAlive),
            Manner::Flapping if every(2) => rig.say(peer, &Message::Interested),
            Manner::Flapping => rig.say(peer, &Message::NotInterested),
            Manner::Interested if every(30) => rig.say(peer, &Message::Interested),
            Manner::Greedy if every(5) => {
                rig.say(peer, &Message::Interested);
                request(rig, peer, age % 20);
                read(rig);
            }
            Manner::Trickling if every(25) => {
                rig.say(peer, &Message::Interested);
                fetch(rig, peer);
            }
            Manner::Miserly if every(60) => {
                rig.say(peer, &Message::Interested);
                fetch(rig, peer);
            }
            Manner::Sipping => {
                if every(60) {
                    rig.say(peer, &Message::Interested);
                    request(rig, peer, 0);
                    read(rig);
                }
                rig.feed(Event::Sent {
                    conn: peer,
                    len: u64::from(PIECE / 50),
                });
            }
            Manner::KeepAlive
            | Manner::Interested
            | Manner::Greedy
            | Manner::Trickling
            | Manner::Miserly => {}
        }
    }
}

/// Fills all of so many places with a crowd, whose members have got what they are after, and lets
/// somebody honest try every ten seconds from `first` on, who asks for what it is allowed once it
/// has a place. How many seconds after that it has been served, if it is within `limit`.
fn served_after(crowd: Crowd, places: u32, first: u32, limit: u32) -> Option<u32> {
    let mut config = config(places);
    if crowd.everywhere {
        config.max_connections = places;
        config.max_connections_per_torrent = 10 * places;
    }
    config.max_connections_per_address = 4;
    let mut rig = Rig::with(config, true);
    let mut members: BTreeMap<ConnId, (u32, u32)> = BTreeMap::new();
    let mut next = 0_u32;
    let mut away: Vec<u32> = Vec::new();
    let mut honest: Option<ConnId> = None;
    for second in 0..first + limit {
        let mut arrivals = match second {
            0 => (0..places).collect(),
            _ => core::mem::take(&mut away),
        };
        // Now and then, in half of all seconds.
        if crowd.returns == Return::Others && second.wrapping_mul(0x9e37_79b9) >> 31 == 0 {
            arrivals.push(places + next);
            next += 1;
        }
        for number in arrivals {
            match join(&mut rig, crowd.address(number)) {
                Some(conn) => drop(members.insert(conn, (number, second))),
                None if crowd.returns == Return::Same => away.push(number),
                None => {}
            }
        }
        if honest.is_none() && second >= first && (second - first).is_multiple_of(10) {
            honest = join(&mut rig, afar(5_000 + second));
            if let Some(honest) = honest {
                rig.say(honest, &Message::HaveNone);
                rig.say(honest, &Message::Interested);
            }
        }
        let there: Vec<(ConnId, u32)> = members
            .iter()
            .map(|(conn, (_, since))| (*conn, second - since))
            .collect();
        for (peer, age) in there {
            crowd.act(&mut rig, peer, age);
        }
        rig.pass(SECOND);
        if let Some(conn) = honest
            && rig.sent(conn).contains(&UNCHOKE)
        {
            fetch(&mut rig, conn);
            return Some(second - first);
        }
        for closed in obey(&mut rig) {
            if let Some((number, _)) = members.remove(&closed)
                && crowd.returns == Return::Same
            {
                away.push(number);
            }
            if honest == Some(closed) {
                honest = None;
            }
        }
        rig.actions.clear();
    }
    None
}

/// Within so many seconds somebody honest has been served, whatever a crowd with all of a hundred
/// places does.
const SERVED_WITHIN: u32 = 120;

/// Those of the crowds that keep somebody honest waiting for longer, and for how long.
fn too_long(ipv6: bool, everywhere: bool) -> Vec<(Crowd, Option<u32>)> {
    let mut late = Vec::new();
    for manner in MANNERS {
        for networks in [1, 1_000] {
            for returns in [Return::Never, Return::Others, Return::Same] {
                let crowd = Crowd {
                    manner,
                    networks,
                    returns,
                    ipv6,
                    everywhere,
                };
                let served = served_after(crowd, 100, 90, 600);
                if served.is_none_or(|seconds| seconds > SERVED_WITHIN) {
                    late.push((crowd, served));
                }
            }
        }
    }
    late
}

#[test]
fn whatever_the_crowd_does_somebody_honest_is_served() {
    let late = too_long(false, false);
    assert!(late.is_empty(), "{late:#?}");
}

#[test]
fn whatever_an_ipv6_crowd_does_that_hops_from_subnet_to_subnet_somebody_honest_is_served() {
    let late = too_long(true, false);
    assert!(late.is_empty(), "{late:#?}");
}

#[test]
fn whatever_a_crowd_does_that_has_all_places_of_the_engine_somebody_honest_is_served() {
    let late = too_long(false, true);
    assert!(late.is_empty(), "{late:#?}");
}

#[test]
fn who_downloads_fast_and_gives_nothing_keeps_its_place_at_a_seed() {
    let mut config = config(16);
    config.unchoke_slots = 16;
    let mut rig = Rig::with(config, true);
    let mut takers: Vec<ConnId> = (0..16)
        .filter_map(|number| join(&mut rig, afar(number)))
        .collect();
    for taker in &takers {
        rig.say(*taker, &Message::Interested);
    }
    // A silent crowd comes and comes, somebody every ten seconds for ten minutes.
    for second in 0..600 {
        for taker in &takers {
            fetch(&mut rig, *taker);
            fetch(&mut rig, *taker);
        }
        if second > 30 && second % 10 == 0 {
            join(&mut rig, afar(1_000 + second));
        }
        rig.pass(SECOND);
        let closed = obey(&mut rig);
        takers.retain(|taker| !closed.contains(taker));
        rig.actions.clear();
    }
    // Newcomers have some places for half a minute each, and take them from each other.
    assert!(takers.len() >= 11, "{}", takers.len());
    assert!(rig.engine.stats().replaced > 20);
}

#[test]
fn a_crowd_that_we_dial_as_others_told_us_of_it_keeps_nobody_out() {
    let mut rig = Rig::with(config(30), false);
    let teller = join(&mut rig, afar(9_999)).expect("there is room");
    let mut dialled = 0_u8;
    let mut crowd: Vec<ConnId> = Vec::new();
    for second in 0..180_u32 {
        if second % 60 == 0 {
            let flags = PexFlags::default();
            let added = (0..50).map(|number| (afar(second * 10 + number), flags));
            let told = PexMessage {
                added: added.collect(),
                dropped: Vec::new(),
            };
            let payload = told.encode().into();
            rig.say(teller, &Message::Extended { id: 1, payload });
        }
        let connects = rig.take(|action| match action {
            Action::Connect { conn, .. } => Some(*conn),
            _ => None,
        });
        for conn in connects {
            dialled += 1;
            rig.feed(Event::Connected { conn });
            let reserved = Reserved::default().with_fast(true);
            rig.shake_hands(conn, reserved, PeerId([dialled; 20]));
            // It claims to have everything, and gives nothing.
            rig.say(conn, &Message::HaveAll);
            rig.say(conn, &Message::Interested);
            crowd.push(conn);
        }
        rig.pass(SECOND);
        let closed = obey(&mut rig);
        crowd.retain(|conn| !closed.contains(conn));
        if crowd.len() >= 29 && second >= 60 {
            break;
        }
    }
    assert!(crowd.len() >= 20, "{} of {dialled}", crowd.len());
    // Somebody honest tries every ten seconds.
    let mut tries = 0..SERVED_WITHIN / 10;
    let seed = tries.find_map(|number| {
        rig.pass(10 * SECOND);
        obey(&mut rig);
        join(&mut rig, afar(20_000 + number))
    });
    let seed = seed.expect("there is a place");
    rig.say(seed, &Message::HaveAll);
    rig.say(seed, &Message::Unchoke);
    assert!(rig.sent(seed).contains(&REQUEST));
}
