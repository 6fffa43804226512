use quickcheck::quickcheck;
use std::format;

use super::*;
use crate::address::crc32c;

const NOW: Instant = Instant::from_millis(1_000);

fn candidates() -> Candidates {
    Candidates::new(4, 7)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nth(number: usize) -> SocketAddr {
    address(&format!("10.{}.{}.1:6881", number / 256, number % 256))
}

fn any(_: SocketAddr) -> bool {
    true
}

fn after(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

#[test]
fn priorities_are_those_of_the_specification() {
    let priority = |own: &str, peer: &str| canonical_priority(address(own), address(peer));
    assert_eq!(priority("123.213.32.10:1", "98.76.54.32:2"), 0xec2d_7224);
    assert_eq!(priority("98.76.54.32:2", "123.213.32.10:1"), 0xec2d_7224);
    assert_eq!(priority("123.213.32.10:1", "123.213.32.234:2"), 0x9956_8189);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn more_of_an_address_counts_the_nearer_it_is() {
    let differ = |a: &str, b: &str, own: &str| {
        let priority = |peer: &str| canonical_priority(address(own), address(peer));
        priority(a) != priority(b)
    };
    // 0x55 hides the second lowest bit.
    assert!(!differ("1.2.3.4:1", "1.2.1.4:1", "9.9.9.9:1"));
    assert!(differ("1.2.3.4:1", "1.2.1.4:1", "1.2.9.9:1"));
    assert!(!differ("1.2.3.4:1", "1.2.3.6:1", "1.2.9.9:1"));
    assert!(differ("1.2.3.4:1", "1.2.3.6:1", "1.2.3.9:1"));
    assert!(differ("1.2.3.4:1", "1.2.3.4:2", "1.2.3.4:9"));
    assert!(!differ(
        "[2001:db8:1:200::]:1",
        "[2001:db8:1::]:1",
        "[2001:db8:2::]:1"
    ));
    assert!(differ(
        "[2001:db8:1:200::]:1",
        "[2001:db8:1::]:1",
        "[2001:db8:1:f00::]:1"
    ));
}

#[test]
fn nobody_is_dialled_where_nobody_can_be() {
    let mut candidates = candidates();
    for nowhere in [
        "10.0.0.1:0",
        "0.0.0.0:1",
        "0.1.2.3:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
        "[::]:1",
        "[ff02::1]:1",
        "[::ffff:0.0.0.0]:1",
        "[::ffff:224.0.0.1]:1",
    ] {
        assert!(
            !candidates.add(address(nowhere), PeerSource::User, NOW),
            "{nowhere}"
        );
    }
    for somewhere in ["127.0.0.1:1", "[::1]:1", "192.168.0.1:65535", "[fe80::1]:1"] {
        assert!(
            candidates.add(address(somewhere), PeerSource::Tracker, NOW),
            "{somewhere}"
        );
    }
    candidates.check();
}

#[test]
fn an_address_has_one_form() {
    let mut candidates = candidates();
    assert!(candidates.add(address("[::ffff:10.0.0.1]:5"), PeerSource::Tracker, NOW));
    assert!(candidates.add(address("10.0.0.1:5"), PeerSource::Pex, NOW));
    assert_eq!(candidates.len(), 1);
    assert_eq!(
        candidates.pick(NOW, false, any),
        Some(address("10.0.0.1:5"))
    );
    candidates.remove_ip(address("[::ffff:10.0.0.1]:5").ip());
    assert_eq!(candidates.connecting(), 0);
}

#[test]
fn the_users_own_come_first_then_who_was_of_use_then_the_sources_in_turn() {
    let mut candidates = candidates();
    for number in 10..20 {
        candidates.add(nth(number), PeerSource::Pex, NOW);
    }
    candidates.add(nth(2), PeerSource::Tracker, NOW);
    candidates.add(nth(3), PeerSource::Pex, NOW);
    candidates.add(nth(3), PeerSource::Tracker, NOW);
    candidates.add(nth(4), PeerSource::User, NOW);
    candidates.add(nth(6), PeerSource::Dht, NOW);
    candidates.on_closed(nth(5), true, Instant::ZERO);
    assert_eq!(candidates.source(nth(3)), Some(PeerSource::Tracker));
    let now = after(60);
    let order: Vec<_> = core::iter::from_fn(|| candidates.pick(now, false, any)).collect();
    assert_eq!(order[..2], [nth(4), nth(5)]);
    let source = |address: &SocketAddr| candidates.source(*address).unwrap();
    let mut next: Vec<PeerSource> = order[2..5].iter().map(source).collect();
    next.sort_unstable();
    assert_eq!(
        next,
        [PeerSource::Tracker, PeerSource::Dht, PeerSource::Pex]
    );
    assert_eq!((candidates.connecting(), candidates.len()), (15, 0));
    assert_eq!(candidates.next_at(now), None);
    candidates.check();
}

#[test]
fn seeds_are_not_dialled_by_who_has_everything() {
    let mut candidates = candidates();
    let peer = ConnId::new(1, 1);
    candidates.introduce(nth(1), peer, true, NOW);
    candidates.introduce(nth(2), peer, false, NOW);
    assert_eq!(candidates.pick(NOW, true, any), Some(nth(2)));
    assert_eq!(candidates.pick(NOW, true, any), None);
    assert_eq!(candidates.pick(after(3600), false, any), Some(nth(1)));
}

#[test]
fn the_word_of_one_peer_is_worth_a_hundred_addresses() {
    let mut candidates = candidates();
    let (liar, other) = (ConnId::new(1, 1), ConnId::new(2, 1));
    for number in 0..1_000 {
        candidates.introduce(nth(number), liar, false, NOW);
    }
    assert_eq!(candidates.len(), MAX_INTRODUCED as usize);
    assert!(!candidates.introduce(nth(5_000), liar, false, NOW));
    assert!(candidates.introduce(nth(5_000), other, false, NOW));
    // What another source confirms is not one peer's word any more.
    assert!(candidates.add(nth(0), PeerSource::Tracker, NOW));
    assert!(candidates.introduce(nth(5_001), liar, false, NOW));
    candidates.check();
    candidates.forget_hearsay();
    assert_eq!(candidates.len(), 1);
    assert_eq!(candidates.source(nth(0)), Some(PeerSource::Tracker));
    candidates.check();
}

#[test]
fn among_equals_the_higher_priority_comes_first_and_follows_our_address() {
    let mut candidates = candidates();
    for number in 0..50 {
        candidates.add(nth(number), PeerSource::Tracker, NOW);
    }
    let own = address("123.213.32.10:6881");
    candidates.set_own(own);
    candidates.check();
    let order: Vec<_> = core::iter::from_fn(|| candidates.pick(NOW, false, any)).collect();
    assert_eq!(order.len(), 50);
    assert!(order.is_sorted_by_key(|peer| Reverse(canonical_priority(own, *peer))));
}

#[test]
fn failures_double_the_wait_until_the_address_is_forgotten() {
    let mut candidates = candidates();
    candidates.add(nth(1), PeerSource::Tracker, NOW);
    candidates.add(nth(2), PeerSource::User, NOW);
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..10 {
        while let Some(picked) = candidates.pick(now, false, any) {
            candidates.on_failed(picked, now);
        }
        candidates.check();
        let next = candidates.next_at(now).unwrap();
        waits.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(waits[..8], [15, 30, 60, 120, 240, 480, 960, 1920]);
    assert_eq!(waits[8..], [3600, 3600]);
    assert_eq!(candidates.len(), 1);
    candidates.add(nth(2), PeerSource::User, now);
    assert_eq!(candidates.next_at(now), Some(now));
}

#[test]
fn a_useful_peer_is_sought_again_soon_and_a_useless_one_later() {
    let mut candidates = candidates();
    candidates.add(nth(1), PeerSource::Tracker, NOW);
    assert_eq!(candidates.pick(NOW, false, any), Some(nth(1)));
    candidates.on_connected(nth(1), Transport::Tcp);
    assert_eq!((candidates.connecting(), candidates.len()), (0, 0));
    // To fail is no news about one that is connected.
    candidates.on_failed(nth(1), NOW);
    assert_eq!(candidates.next_at(NOW), None);
    candidates.on_closed(nth(1), true, NOW);
    assert_eq!(candidates.next_at(NOW), Some(after(15)));
    candidates.on_closed(nth(1), false, NOW);
    assert_eq!(candidates.next_at(NOW), Some(after(60)));
    candidates.on_closed(nth(2), false, NOW);
    assert_eq!(candidates.len(), 1);
}

#[test]
fn a_peer_that_we_stopped_on_is_sought_again_at_once() {
    let mut candidates = candidates();
    candidates.add(nth(1), PeerSource::Tracker, NOW);
    candidates.pick(NOW, false, any);
    for useful in [false, true] {
        candidates.on_connected(nth(1), Transport::Tcp);
        candidates.on_stopped(nth(1), useful, NOW);
        assert_eq!(candidates.pick(NOW, false, any), Some(nth(1)));
    }
    candidates.on_stopped(nth(2), false, NOW);
    assert_eq!(candidates.len(), 0, "a stranger that was of no use");
    candidates.on_stopped(nth(2), true, NOW);
    assert_eq!(candidates.pick(NOW, false, any), Some(nth(2)));
}

#[test]
fn an_address_that_a_tracker_names_again_need_not_wait_for_long() {
    let mut candidates = candidates();
    let mut now = NOW;
    candidates.add(nth(1), PeerSource::User, now);
    for _ in 0..8 {
        while candidates.pick(now, false, any).is_none() {
            now = now + RETRY;
        }
        candidates.on_failed(nth(1), now);
    }
    candidates.add(nth(1), PeerSource::Pex, now);
    assert_eq!(candidates.pick(now + RETRY_USELESS, false, any), None);
    candidates.add(nth(1), PeerSource::Tracker, now);
    assert_eq!(candidates.pick(now, false, any), None);
    let soon = now + RETRY_USELESS;
    assert_eq!(candidates.pick(soon, false, any), Some(nth(1)));
}

#[test]
fn attempts_that_were_given_up_are_no_failures() {
    let mut candidates = candidates();
    candidates.add(nth(1), PeerSource::Tracker, NOW);
    candidates.pick(NOW, false, any);
    candidates.forget_attempts(NOW);
    candidates.on_failed(nth(1), NOW);
    assert_eq!(candidates.connecting(), 0);
    assert_eq!(candidates.pick(NOW, false, any), Some(nth(1)));
}

#[test]
fn what_is_not_acceptable_is_forgotten() {
    let mut candidates = candidates();
    candidates.add(nth(1), PeerSource::User, NOW);
    candidates.add(nth(2), PeerSource::Tracker, NOW);
    let picked = candidates.pick(NOW, false, |address| address != nth(1));
    assert_eq!((picked, candidates.len()), (Some(nth(2)), 0));
}

#[test]
fn nobody_can_make_us_knock_at_every_port_of_an_address() {
    let mut candidates = candidates();
    let port = |port: u16| address(&format!("[2001:db8::1]:{port}"));
    for number in 1..100 {
        candidates.add(port(number), PeerSource::Tracker, NOW);
    }
    assert_eq!(candidates.len(), 4);
    assert!(candidates.add(port(100), PeerSource::User, NOW));
    candidates.remove_ip(port(1).ip());
    assert_eq!(candidates.len(), 0);
}

#[test]
fn no_source_pushes_out_the_others() {
    let mut candidates = candidates();
    let mut next = 0;
    let mut add = |candidates: &mut Candidates, source| {
        next += 1;
        candidates.add(nth(next), source, NOW)
    };
    for _ in 0..MAX_CANDIDATES {
        add(&mut candidates, PeerSource::Pex);
    }
    assert_eq!(candidates.len(), MAX_HEARSAY);
    for _ in 0..2 * MAX_CANDIDATES {
        add(&mut candidates, PeerSource::Tracker);
    }
    assert_eq!(candidates.len(), MAX_CANDIDATES);
    for _ in 0..2 * MAX_CANDIDATES {
        add(&mut candidates, PeerSource::Dht);
        add(&mut candidates, PeerSource::Pex);
    }
    let share = |source: PeerSource| candidates.shares[source as usize].idle.len();
    let shares = [PeerSource::Tracker, PeerSource::Dht, PeerSource::Pex].map(share);
    assert_eq!(shares.iter().sum::<usize>(), MAX_CANDIDATES);
    assert!(
        shares.iter().all(|share| *share >= MAX_CANDIDATES / 3),
        "{shares:?}"
    );
    candidates.check();
    assert!(candidates.add(address("192.0.2.1:1"), PeerSource::User, NOW));
    assert_eq!(
        candidates.pick(NOW, false, any),
        Some(address("192.0.2.1:1"))
    );
    candidates.check();
}

quickcheck! {
    fn all_lists_agree_after_anything(steps: Vec<(u8, u8, u16)>) -> bool {
        let mut candidates = candidates();
        let mut now = NOW;
        for (step, number, wait) in steps {
            let who = nth(usize::from(number % 16));
            match step % 10 {
                0 => { candidates.add(who, PeerSource::Tracker, now); }
                1 => {
                    let by = ConnId::new(u32::from(wait % 3), 1);
                    candidates.introduce(who, by, wait % 5 == 0, now);
                }
                2 => { candidates.add(who, PeerSource::User, now); }
                3 | 4 => {
                    let due = candidates.next_at(now);
                    let picked = candidates.pick(now, false, any);
                    assert_eq!(picked.is_some(), due == Some(now));
                }
                5 => candidates.on_connected(who, Transport::Utp),
                6 => candidates.on_failed(who, now),
                7 => candidates.on_closed(who, number > 99, now),
                8 => candidates.forget_attempts(now),
                _ => candidates.remove(who),
            }
            now = now + Duration::from_secs(u64::from(wait / 256));
            candidates.check();
        }
        true
    }
}
