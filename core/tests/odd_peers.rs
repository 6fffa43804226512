//! Peers that say odd things and mean no harm, and drivers that tell odd numbers: they are heard on.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one kind of action among all"
)]

mod rig;

use std::time::Duration;

use anabranch_core::event::Event;
use anabranch_core::id::ConnId;
use anabranch_core::wire::{BlockRequest, Message, PeerId, Reserved};
use anabranch_core::{Action, Bitfield, Instant};
use bytes::Bytes;
use rig::{PIECE, PIECES, Rig};

const INTERESTED: u8 = 2;
const REQUEST: u8 = 6;

/// Messages that lead to nothing, after which a peer is banned; some of them are said on the way.
const FLOOD: usize = 2_100;

/// A peer that has the fast extension and the extension protocol.
fn modern(rig: &mut Rig) -> ConnId {
    let from = std::net::SocketAddr::from(([10, 0, 0, 2], 5_000));
    let conn = rig.knock(from).expect("it is welcome");
    let reserved = Reserved::default().with_fast(true).with_extended(true);
    rig.shake_hands(conn, reserved, PeerId([2; 20]));
    conn
}

fn extended(id: u8, payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message::Extended { id, payload }
}

/// Whether the peer is asked for blocks once it unchokes us.
fn is_downloaded_from(rig: &mut Rig, peer: ConnId) -> bool {
    rig.say(peer, &Message::Unchoke);
    !rig.is_closed(peer) && rig.sent(peer).contains(&REQUEST)
}

#[test]
fn a_map_with_spare_bits_set_is_a_map() {
    let spare = u32::from(20_u8).div_ceil(8) * 8 - PIECES;
    assert!(spare > 0, "there are spare bits");
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, false);
    rig.say(peer, &Message::Bitfield(Bytes::from_static(&[0xff; 3])));
    assert!(rig.sent(peer).contains(&INTERESTED));
    assert!(is_downloaded_from(&mut rig, peer));
}

#[test]
fn spare_bits_alone_are_no_pieces() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, false);
    rig.say(peer, &Message::Bitfield(Bytes::from_static(&[0, 0, 0x0f])));
    assert!(!rig.is_closed(peer));
    assert!(!rig.sent(peer).contains(&INTERESTED));
}

#[test]
fn an_extension_message_that_cannot_be_read_is_passed_over() {
    let deep = [&b"d1:m"[..], &[b'l'; 5_000]].concat();
    let payloads: [&[u8]; 10] = [
        b"",
        b"le",
        b"i1e",
        b"4:spam",
        b"\xff\xfe",
        b"d1:md11:ut_metadatai3e",
        b"d1:v999999999:x",
        b"d1:pi1e1:pi2ee",
        b"d1:ai18446744073709551616.5ee",
        &deep,
    ];
    // The handshake, peer exchange, metadata, and one that we did not name.
    for id in [0, 1, 2, 77] {
        for payload in payloads {
            let mut rig = Rig::new(false);
            let peer = modern(&mut rig);
            rig.say(peer, &extended(id, payload));
            rig.say(peer, &Message::HaveAll);
            assert!(is_downloaded_from(&mut rig, peer), "{id}: {payload:?}");
        }
    }
}

#[test]
fn what_was_said_before_an_unreadable_extended_handshake_still_holds() {
    let mut rig = Rig::new(false);
    let peer = modern(&mut rig);
    rig.say(peer, &extended(0, b"d4:reqqi3ee"));
    rig.say(peer, &extended(0, b"d4:reqqi1e4:reqqi1ee"));
    rig.say(peer, &Message::HaveAll);
    rig.say(peer, &Message::Unchoke);
    let asked = rig.sent(peer).into_iter().filter(|id| *id == REQUEST);
    assert_eq!(asked.count(), 3);
}

#[test]
fn a_flood_of_unreadable_extension_messages_is_a_flood() {
    for id in [0, 1, 2] {
        let mut rig = Rig::new(false);
        let peer = modern(&mut rig);
        for _ in 0..FLOOD {
            rig.say(peer, &extended(id, b"le"));
        }
        assert!(rig.is_closed(peer), "{id}");
    }
}

#[test]
fn advice_about_pieces_that_do_not_exist_is_passed_over() {
    for piece in [PIECES, PIECES + 1, u32::MAX] {
        for advice in [Message::Suggest(piece), Message::AllowedFast(piece)] {
            let mut rig = Rig::new(false);
            let peer = modern(&mut rig);
            rig.say(peer, &Message::HaveAll);
            rig.say(peer, &advice);
            assert!(is_downloaded_from(&mut rig, peer), "{advice:?}");
        }
    }
}

#[test]
fn advice_about_pieces_that_do_not_exist_without_end_is_a_flood() {
    let mut rig = Rig::new(false);
    let peer = modern(&mut rig);
    for _ in 0..FLOOD {
        rig.say(peer, &Message::Suggest(PIECES));
    }
    assert!(rig.is_closed(peer));
}

#[test]
fn who_claims_a_piece_that_does_not_exist_goes() {
    let mut rig = Rig::new(false);
    let peer = modern(&mut rig);
    rig.say(peer, &Message::Have(PIECES));
    assert!(rig.is_closed(peer));
}

#[test]
fn bytes_that_left_count_once_and_no_more_than_were_to_be_sent() {
    let mut rig = Rig::new(true);
    let stranger = rig.knock("10.0.0.9:5000".parse().unwrap()).unwrap();
    let peer = rig.peer(2, true);
    let to_be_sent: usize = rig
        .take(|action| match action {
            Action::Send { conn, data } if *conn == peer => Some(data.len()),
            _ => None,
        })
        .iter()
        .sum();
    for conn in [stranger, peer] {
        for _ in 0..2 {
            rig.feed(Event::Sent {
                conn,
                len: u64::MAX,
            });
        }
    }
    let stats = rig.engine.stats();
    assert_eq!(stats.sent, to_be_sent as u64);
    assert_eq!(stats.oversent, u64::MAX);
}

#[test]
fn bytes_of_a_closed_connection_count_as_far_as_they_had_been_handed_over() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, false);
    let before = rig.engine.stats().sent;
    rig.say(peer, &Message::Have(PIECES));
    assert!(rig.is_closed(peer));
    rig.feed(Event::Sent {
        conn: peer,
        len: 70,
    });
    rig.feed(Event::Sent {
        conn: peer,
        len: u64::MAX,
    });
    let stats = rig.engine.stats();
    // The handshake and the piece map.
    assert_eq!(stats.sent - before, 68 + 8);
}

#[test]
fn more_than_was_allowed_to_come_is_counted_and_taken() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, false);
    assert_eq!(rig.engine.stats().uncredited, 0);
    // Keep-alives, beyond all credit.
    let data = Bytes::from(vec![0; 2 << 20]);
    rig.feed(Event::Received { conn: peer, data });
    assert!(rig.engine.stats().uncredited > 0);
}

#[test]
fn a_peer_that_takes_nothing_of_what_waits_for_it_is_gone_in_time() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::HaveNone);
    rig.say(peer, &Message::Interested);
    let block = BlockRequest {
        piece: 0,
        begin: 0,
        len: PIECE,
    };
    rig.say(peer, &Message::Request(block));
    // It goes on talking.
    let mut waited = Duration::ZERO;
    while !rig.is_closed(peer) {
        assert!(waited < Duration::from_secs(300), "it holds its place");
        rig.pass(Duration::from_secs(10));
        rig.say(peer, &Message::KeepAlive);
        waited += Duration::from_secs(10);
    }
    assert!(waited >= Duration::from_secs(130));
}

#[test]
fn the_end_of_time_is_survived() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::Bitfield(Bitfield::full(PIECES).to_wire()));
    rig.now = Instant::FAR;
    rig.feed(Event::Tick);
    let late = rig.peer(3, true);
    rig.say(late, &Message::HaveAll);
    rig.actions.clear();
    // Nothing is due any more, over and over.
    for _ in 0..50 {
        rig.feed(Event::Tick);
        assert!(rig.actions.is_empty(), "{:?}", rig.actions);
    }
    assert!(rig.engine.stats().clock_ran_out >= 50);
}
