use quickcheck::{Arbitrary, Gen, quickcheck};
use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;

const NOW: Instant = Instant::from_millis(10_000_000);

/// A peer that came an hour ago, and of which nothing is known.
fn peer(number: u32) -> Facts {
    let [_, high, middle, low] = number.to_be_bytes();
    let long_ago = NOW - Duration::from_secs(3_600);
    Facts {
        conn: ConnId::new(number, 1),
        network: Network::of(IpAddr::from([10 + high, middle, low, 1])),
        wished: false,
        worth: Worth::Useless,
        connected_at: long_ago,
        idle_since: long_ago,
        moved: 0,
        untried: false,
        known_idle: false,
    }
}

fn crowd(count: u32, change: impl Fn(&mut Facts)) -> Vec<Facts> {
    let mut peers: Vec<Facts> = (0..count).map(peer).collect();
    peers.iter_mut().for_each(change);
    peers
}

/// Whom newcomers from networks of their own replace at one time, as long as there is somebody.
fn replaced(peers: &[Facts]) -> Vec<u32> {
    let mut evictor = Evictor::default();
    let places = peers.len() as u32;
    let mut gone = Vec::new();
    while let Some(conn) = next(&mut evictor, NOW, places, peers, &stranger(0), &gone) {
        gone.push(conn);
    }
    gone.iter().map(|conn| conn.slot() as u32).collect()
}

fn stranger(held: u32) -> Newcomer {
    let network = Network::of(IpAddr::from([200, 1, 1, 1]));
    Newcomer {
        network,
        held,
        known_idle: false,
    }
}

fn next(
    evictor: &mut Evictor,
    now: Instant,
    places: u32,
    peers: &[Facts],
    newcomer: &Newcomer,
    gone: &[ConnId],
) -> Option<ConnId> {
    evictor.look(now, places, || peers.to_vec());
    evictor.choose(now, places, *newcomer, |conn| {
        let peer = peers.iter().find(|peer| peer.conn == conn)?;
        (!gone.contains(&conn)).then_some(peer.worth)
    })
}

#[test]
fn a_network_is_a_24_or_a_48() {
    let of = |address: &str| Network::of(address.parse().unwrap());
    assert_eq!(of("10.1.2.3"), of("10.1.2.200"));
    assert_eq!(of("10.1.2.3"), of("::ffff:10.1.2.4"));
    assert_ne!(of("10.1.2.3"), of("10.1.3.3"));
    assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::"));
    assert_ne!(of("2001:db8:1::"), of("2001:db8:2::"));
}

#[test]
fn who_never_asked_or_sent_anything_goes_at_once_and_the_longest_idle_first() {
    let mut peers = crowd(10, |_| {});
    peers[4].idle_since = NOW - Duration::from_secs(7_200);
    peers[7].worth = Worth::Waiting;
    let replaced = replaced(&peers);
    assert_eq!(replaced[0], 4);
    // All of no use, and then one that waits: the next one has its turn later.
    assert_eq!((replaced.len(), replaced[9]), (10, 7));
}

#[test]
fn of_active_peers_the_one_that_moved_least_goes_and_it_takes_its_time() {
    let mut peers = crowd(16, |peer| {
        peer.worth = Worth::Active;
        peer.moved = 1_000;
    });
    for (slot, moved) in [(3, 10), (5, 20)] {
        peers[slot].moved = moved;
        peers[slot].connected_at = NOW - Duration::from_secs(600);
    }
    assert_eq!(replaced(&peers), [3]);
    let mut evictor = Evictor::default();
    assert!(next(&mut evictor, NOW, 16, &peers, &stranger(0), &[]).is_some());
    let turn = TURNOVER / 16 * ACTIVE_TURNS;
    let soon = NOW + turn - Duration::from_millis(1);
    assert_eq!(
        next(
            &mut evictor,
            soon,
            16,
            &peers,
            &stranger(0),
            &[ConnId::new(3, 1)]
        ),
        None
    );
    let then = next(
        &mut evictor,
        NOW + turn,
        16,
        &peers,
        &stranger(0),
        &[ConnId::new(3, 1)],
    );
    assert_eq!(then, Some(ConnId::new(5, 1)));
}

#[test]
fn the_most_useful_and_the_oldest_useful_ones_never_go() {
    let mut peers = crowd(32, |peer| {
        peer.worth = Worth::Active;
        peer.moved = 1 + u64::from(peer.conn.slot() as u32);
    });
    // The fastest eighth are safe as they are; the slowest as they came first.
    for (slot, peer) in peers.iter_mut().enumerate().take(4) {
        peer.connected_at = NOW - Duration::from_secs(9_000 - slot as u64);
    }
    let victims: Vec<usize> = victims(NOW, 32, peers.clone())
        .iter()
        .map(|victim| victim.conn.slot())
        .collect();
    let expected: Vec<usize> = (4..24).collect();
    assert_eq!(victims, expected);
}

#[test]
fn a_newcomer_has_time_to_show_what_it_is_worth_and_less_where_all_are_newcomers() {
    let young = |age: Duration| move |peer: &mut Facts| peer.connected_at = NOW - age;
    let few = |age| {
        let mut peers = crowd(10, |peer| peer.wished = true);
        peers[2].wished = false;
        young(age)(&mut peers[2]);
        replaced(&peers)
    };
    assert!(few(GRACE - Duration::from_millis(1)).is_empty());
    assert_eq!(few(GRACE), [2]);
    let all = |age| replaced(&crowd(10, young(age))).len();
    assert_eq!(all(HASTE - Duration::from_millis(1)), 0);
    assert_eq!(all(HASTE), 10);
}

#[test]
fn who_moves_next_to_nothing_goes_before_those_that_never_had_a_slot_and_as_fast() {
    let mut peers = crowd(16, |peer| {
        peer.worth = Worth::Waiting;
        peer.untried = true;
        peer.moved = 0;
    });
    for (slot, moved) in [(3, 20_000), (5, 10_000)] {
        peers[slot].untried = false;
        peers[slot].moved = moved;
        // It came first, and is idle no longer than others.
        peers[slot].connected_at = NOW - Duration::from_secs(7_200);
    }
    let (mut evictor, mut gone) = (Evictor::default(), Vec::new());
    for turn in 0..3 {
        let now = NOW + TURNOVER / 16 * turn;
        gone.extend(next(&mut evictor, now, 16, &peers, &stranger(0), &gone));
    }
    let slots: Vec<usize> = gone.iter().map(|conn| conn.slot()).collect();
    assert_eq!(slots, [5, 3, 0]);
}

#[test]
fn who_was_of_no_use_a_while_ago_is_no_newcomer_and_takes_no_place_of_the_unknown() {
    let known = Newcomer {
        known_idle: true,
        ..stranger(0)
    };
    let mut peers = crowd(10, |peer| {
        peer.worth = Worth::Waiting;
        peer.connected_at = NOW;
    });
    assert!(replaced(&peers).is_empty(), "all have a newcomer's time");
    peers[4].known_idle = true;
    assert_eq!(replaced(&peers), [4]);
    // It takes no place of who waits, and uses up no turn.
    let mut evictor = Evictor::default();
    assert_eq!(next(&mut evictor, NOW, 10, &peers, &known, &[]), None);
    let gone = next(&mut evictor, NOW, 10, &peers, &stranger(0), &[]);
    assert_eq!(gone, Some(ConnId::new(4, 1)));
    let choose = |peers: &[Facts]| next(&mut Evictor::default(), NOW, 10, peers, &known, &[]);
    assert!(choose(&crowd(10, |_| {})).is_some(), "they are of no use");
}

#[test]
fn only_for_who_starves_somebody_that_waits_makes_room_for_whom_we_dial() {
    let mut peers = crowd(32, |peer| peer.worth = Worth::Waiting);
    let dial = |peers: &[Facts], starves| {
        let mut evictor = Evictor::default();
        evictor.look(NOW, 32, || peers.to_vec());
        let worth = |conn: ConnId| Some(peers[conn.slot()].worth);
        evictor.choose_to_dial(NOW, 32, starves, worth).is_some()
    };
    assert!(dial(&peers, true) && !dial(&peers, false));
    for peer in &mut peers[..2] {
        peer.worth = Worth::Active;
    }
    assert!(!dial(&peers, true), "some are of use");
}

#[test]
fn what_the_user_named_stays() {
    assert!(replaced(&crowd(10, |peer| peer.wished = true)).is_empty());
}

#[test]
fn what_a_network_holds_beyond_its_share_goes_first_and_to_its_own() {
    let same = Network::of(IpAddr::from([99, 9, 9, 9]));
    // Of 32 places a network has a claim to 4.
    let mut peers = crowd(32, |peer| peer.worth = Worth::Waiting);
    for peer in &mut peers[10..20] {
        peer.network = same;
        // It looks better than the others.
        peer.idle_since = NOW;
    }
    let victims = victims(NOW, 32, peers.clone());
    let first = victims.iter().take_while(|victim| victim.network == same);
    assert_eq!(first.count(), 6);
    let own = Newcomer {
        network: same,
        held: 10,
        known_idle: false,
    };
    let mut evictor = Evictor::default();
    let gone = next(&mut evictor, NOW, 32, &peers, &own, &[]).unwrap();
    assert!((10..20).contains(&gone.slot()));
    // One that holds its share replaces none but its own, and there is none.
    assert_eq!(
        next(&mut Evictor::default(), NOW, 32, &peers, &stranger(4), &[]),
        None
    );
}

#[test]
fn who_becomes_useful_after_the_look_stays() {
    let peers = crowd(2, |_| {});
    let mut evictor = Evictor::default();
    evictor.look(NOW, 2, || peers.clone());
    let worth = |conn: ConnId| {
        let useful = conn.slot() == 0;
        Some(if useful {
            Worth::Active
        } else {
            Worth::Useless
        })
    };
    let gone = evictor.choose(NOW, 2, stranger(0), worth);
    assert_eq!(gone, Some(ConnId::new(1, 1)));
    assert_eq!(evictor.choose(NOW, 2, stranger(0), worth), None);
}

#[test]
fn peers_are_looked_through_once_a_second_and_so_many_are_replaced_in_it() {
    let peers = crowd(1_000, |_| {});
    let mut evictor = Evictor::default();
    let mut looks = 0;
    let mut gone = Vec::new();
    for millis in 0..2_000 {
        let now = NOW + Duration::from_millis(millis);
        evictor.look(now, 1_000, || {
            looks += 1;
            let there = peers.iter().filter(|peer| !gone.contains(&peer.conn));
            there.copied().collect()
        });
        let worth = |conn| (!gone.contains(&conn)).then_some(Worth::Useless);
        if let Some(conn) = evictor.choose(now, 1_000, stranger(0), worth) {
            gone.push(conn);
        }
    }
    assert_eq!((looks, gone.len()), (2, 2 * MAX_VICTIMS));
}

impl Arbitrary for Worth {
    fn arbitrary(g: &mut Gen) -> Self {
        let all = [Self::Useless, Self::Waiting, Self::Active];
        *g.choose(&all).unwrap_or(&Self::Useless)
    }
}

/// What is drawn of a peer: its network, worth, age in seconds, idleness and what it moved, and
/// whether it is wished for.
type Drawn = (u8, Worth, u8, u8, u16, bool);

fn drawn(peers: &[Drawn]) -> Vec<Facts> {
    let facts = peers.iter().enumerate().map(|(slot, drawn)| {
        let (network, worth, age, idle, moved, wished) = *drawn;
        let age = u64::from(age) * 2;
        Facts {
            conn: ConnId::new(slot as u32, 1),
            network: Network::of(IpAddr::from([10, 0, network % 8, 1])),
            wished: wished && network % 4 == 0,
            worth,
            connected_at: NOW - Duration::from_secs(age),
            idle_since: NOW - Duration::from_secs(age.min(idle.into())),
            moved: moved.into(),
            untried: moved == 0 && network % 2 == 0,
            known_idle: network == 7,
        }
    });
    facts.collect()
}

quickcheck! {
    fn the_useful_are_never_flushed_out(peers: Vec<Drawn>) -> bool {
        let peers = drawn(&peers);
        let places = peers.len() as u32;
        let gone: BTreeSet<u32> = replaced(&peers).into_iter().collect();
        let find = |slot: &u32| peers[*slot as usize];
        // At one time, one that is not useless at most, but for those that come back and wait; never
        // a wished one or a newcomer.
        let useful = gone.iter().map(find).filter(|peer| {
            peer.worth == Worth::Active || (peer.worth == Worth::Waiting && !peer.known_idle)
        });
        let useful = useful.count();
        let safe = gone.iter().map(find).all(|peer| {
            !peer.wished && (peer.known_idle || NOW.since(peer.connected_at) >= HASTE)
        });
        let proven = peers.iter().filter(|peer| peer.worth >= Worth::Active).count();
        let lost = gone.iter().filter(|slot| find(slot).worth >= Worth::Active).count();
        useful <= 1 && safe && proven - lost >= proven.min(places as usize / USEFUL_SHARE)
    }

    fn nobody_goes_for_whom_a_useless_one_could(peers: Vec<Drawn>) -> bool {
        let peers = drawn(&peers);
        let order = victims(NOW, peers.len() as u32, peers);
        order.is_sorted_by_key(|victim| victim.worth > Worth::Useless) && order.len() <= MAX_VICTIMS
    }

    fn the_order_of_the_table_decides_nothing(peers: Vec<Drawn>, turn: usize) -> bool {
        let peers = drawn(&peers);
        let mut turned = peers.clone();
        turned.rotate_left(turn % peers.len().max(1));
        let places = peers.len() as u32;
        victims(NOW, places, peers) == victims(NOW, places, turned)
    }

    fn in_any_time_no_more_than_its_share_of_useful_places_changes_hands(steps: Vec<u16>) -> bool {
        let places = 40;
        let peers = crowd(1_000, |peer| peer.worth = Worth::Waiting);
        let mut evictor = Evictor::default();
        let (mut now, mut gone) = (NOW, Vec::new());
        for step in steps {
            now = now + Duration::from_millis(u64::from(step) / 16);
            if let Some(conn) = next(&mut evictor, now, places, &peers, &stranger(0), &gone) {
                gone.push(conn);
            }
        }
        let passed = now.since(NOW).as_millis();
        gone.len() as u128 <= 1 + passed * u128::from(places) / TURNOVER.as_millis()
    }
}
