//! One engine against peers that are scripts of bytes.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one kind of action among all"
)]

mod rig;

use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::action::DiskJob;
use anabranch_core::event::{CloseReason, DiskDone, OpResult};
use anabranch_core::id::{ConnId, Ticket};
use anabranch_core::limits::{CHOKE_INTERVAL, HAVE_DELAY};
use anabranch_core::wire::{
    BlockRequest, Handshake, Message, PeerId, Reserved, encode_piece_header,
};
use anabranch_core::{Action, Bitfield, Event, Notice};
use bytes::{Bytes, BytesMut};
use rig::{PIECE, PIECES, Rig};

/// So many pieces of that size a seed suggests to a peer before it asks for them.
const AHEAD: usize = 8;

/// After so long a peer is late that has delivered nothing yet.
const LATE: Duration = Duration::from_millis(2_100);

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const REQUEST: u8 = 6;
const CANCEL: u8 = 8;
const SUGGEST: u8 = 13;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;

fn request(piece: u32, begin: u32, len: u32) -> Message {
    Message::Request(BlockRequest { piece, begin, len })
}

#[test]
fn a_map_that_comes_again_replaces_the_first() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::HaveNone);
    assert!(!rig.sent(peer).contains(&INTERESTED));
    rig.say(peer, &Message::Bitfield(Bitfield::full(PIECES).to_wire()));
    assert!(rig.sent(peer).contains(&INTERESTED));
    rig.say(peer, &Message::HaveNone);
    rig.pass(CHOKE_INTERVAL);
    assert!(rig.sent(peer).contains(&NOT_INTERESTED));
    assert!(!rig.is_closed(peer));
}

#[test]
fn who_chokes_us_hears_at_the_next_round_that_nothing_is_wanted_of_it() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::HaveAll);
    assert_eq!(rig.sent(peer).last(), Some(&INTERESTED));
    rig.say(peer, &Message::HaveNone);
    assert_eq!(rig.sent(peer), []);
    // It never knew better.
    rig.say(peer, &Message::HaveAll);
    assert_eq!(rig.sent(peer), []);
    rig.say(peer, &Message::HaveNone);
    rig.pass(CHOKE_INTERVAL);
    assert_eq!(rig.sent(peer), [NOT_INTERESTED]);
}

#[test]
fn who_serves_us_hears_at_once_that_nothing_is_wanted_of_it() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::HaveAll);
    rig.say(peer, &Message::HaveNone);
    rig.sent(peer);
    rig.say(peer, &Message::Unchoke);
    assert_eq!(rig.sent(peer), [NOT_INTERESTED]);
    rig.say(peer, &Message::HaveAll);
    assert!(rig.sent(peer).contains(&INTERESTED));
    rig.say(peer, &Message::HaveNone);
    assert!(rig.sent(peer).contains(&NOT_INTERESTED));
}

#[test]
fn a_slot_that_is_of_no_use_goes_to_another_at_once() {
    let mut rig = Rig::new(true);
    let peers: Vec<ConnId> = (2..=10).map(|octet| rig.peer(octet, true)).collect();
    for peer in &peers {
        rig.say(*peer, &Message::HaveNone);
        rig.say(*peer, &Message::Interested);
    }
    let unchoked = |rig: &mut Rig, peer| rig.sent(peer).contains(&UNCHOKE);
    let served = peers.iter().filter(|peer| unchoked(&mut rig, **peer));
    assert_eq!(served.count(), 8, "the default");
    // The last one waits, until one that was unchoked wants nothing.
    rig.say(peers[3], &Message::NotInterested);
    assert!(rig.sent(peers[3]).contains(&CHOKE));
    assert!(unchoked(&mut rig, peers[8]));
}

#[test]
fn broken_rules_end_the_connection() {
    let broken = [
        Message::Bitfield(Bytes::from_static(&[0, 0])),
        Message::Have(PIECES),
        Message::HaveAll,
        Message::Suggest(0),
        request(PIECES, 0, PIECE),
        request(0, 1, PIECE),
        request(0, 0, 0),
        request(0, u32::MAX, u32::MAX),
    ];
    for message in broken {
        let mut rig = Rig::new(true);
        let peer = rig.peer(2, false);
        rig.say(peer, &message);
        assert!(rig.is_closed(peer), "{message:?}");
    }
}

#[test]
fn a_length_prefix_over_the_limit_ends_the_connection_at_once() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, false);
    let data = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 7]);
    rig.feed(Event::Received { conn: peer, data });
    assert!(rig.is_closed(peer));
}

#[test]
fn requests_while_choked_are_rejected_with_the_fast_extension_and_ignored_without() {
    let mut rig = Rig::new(true);
    for (octet, fast) in [(2, true), (3, false)] {
        let peer = rig.peer(octet, fast);
        rig.sent(peer);
        // Not one of the few pieces that a choked peer may have: those are ten of twenty.
        for piece in 0..PIECES {
            rig.say(peer, &request(piece, 0, PIECE));
        }
        let rejected = rig.sent(peer).iter().filter(|id| **id == REJECT).count();
        assert_eq!(rejected, if fast { 10 } else { 0 });
        let reads = rig.take(|action| match action {
            Action::Disk {
                job: DiskJob::Read { .. },
                ..
            } => Some(()),
            _ => None,
        });
        assert_eq!(reads.is_empty(), !fast);
        assert!(!rig.is_closed(peer));
    }
}

#[test]
fn who_has_something_to_trade_is_not_served_while_choked() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, true);
    let mut ten = Bitfield::new(PIECES);
    (0..10).for_each(|piece| _ = ten.insert(piece));
    rig.say(peer, &Message::Bitfield(ten.to_wire()));
    rig.sent(peer);
    for piece in 0..PIECES {
        rig.say(peer, &request(piece, 0, PIECE));
    }
    let rejected = rig.sent(peer).iter().filter(|id| **id == REJECT).count();
    assert_eq!(rejected, PIECES as usize);
}

#[test]
fn neighbours_are_not_granted_the_same_pieces_at_a_time() {
    let mut rig = Rig::new(true);
    let first = rig.peer(2, true);
    let granted = rig.pieces(first, ALLOWED_FAST);
    assert_eq!(granted.len(), 10);
    let second = rig.peer(3, true);
    assert_eq!(rig.pieces(second, ALLOWED_FAST), []);
    // The first has them, and can pass them on.
    for piece in &granted {
        rig.say(first, &Message::Have(*piece));
    }
    let third = rig.peer(4, true);
    assert_eq!(rig.pieces(third, ALLOWED_FAST), granted);
}

#[test]
fn a_seed_suggests_to_each_what_nobody_else_is_fetching() {
    let mut rig = Rig::new(true);
    let peers = [2, 3].map(|octet| {
        let peer = rig.peer(octet, true);
        rig.say(peer, &Message::HaveNone);
        peer
    });
    rig.say(peers[0], &Message::Have(7));
    let mut suggested = Vec::new();
    for peer in peers {
        assert_eq!(rig.pieces(peer, SUGGEST), []);
        rig.say(peer, &Message::Interested);
        let ahead = rig.pieces(peer, SUGGEST);
        // A request or two hold several pieces as small as these.
        assert_eq!(ahead.len(), AHEAD);
        suggested.extend(ahead.into_iter().map(|piece| (peer, piece)));
    }
    // Who takes what it was offered is offered the next, until everything has gone out.
    for round in 0.. {
        let Some((peer, piece)) = suggested.get(round).copied() else {
            break;
        };
        rig.say(peer, &request(piece, 0, PIECE));
        let next = rig.pieces(peer, SUGGEST);
        assert!(next.len() <= 1);
        suggested.extend(next.into_iter().map(|piece| (peer, piece)));
    }
    let mut suggested: Vec<u32> = suggested.into_iter().map(|(_, piece)| piece).collect();
    suggested.sort_unstable();
    assert!(
        suggested
            .into_iter()
            .eq((0..PIECES).filter(|piece| *piece != 7))
    );
}

#[test]
fn what_was_offered_to_who_is_gone_is_offered_to_another() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::Interested);
    let offered = rig.pieces(peer, SUGGEST);
    rig.feed(Event::Closed {
        conn: peer,
        reason: CloseReason::Reset,
    });
    let other = rig.peer(3, true);
    rig.say(other, &Message::Interested);
    let mut again = rig.pieces(other, SUGGEST);
    for round in 0.. {
        let Some(piece) = again.get(round).copied() else {
            break;
        };
        rig.say(other, &request(piece, 0, PIECE));
        again.extend(rig.pieces(other, SUGGEST));
    }
    assert_eq!(offered.len(), AHEAD);
    assert!(offered.iter().all(|piece| again.contains(piece)));
}

#[test]
fn a_suggestion_is_followed_unless_the_piece_is_more_common() {
    for common in [false, true] {
        let mut rig = Rig::new(false);
        if common {
            let other = rig.peer(3, true);
            rig.say(other, &Message::Have(5));
        }
        let seed = rig.peer(2, true);
        rig.say(seed, &Message::HaveAll);
        rig.sent(seed);
        rig.say(seed, &Message::Suggest(5));
        rig.say(seed, &Message::Unchoke);
        assert_eq!(rig.pieces(seed, REQUEST)[0] == 5, !common);
    }
}

#[test]
fn what_has_come_is_told_at_once_to_who_waits_for_it_and_together_to_others() {
    let mut rig = Rig::new(false);
    let seed = rig.peer(2, true);
    rig.say(seed, &Message::HaveAll);
    rig.say(seed, &Message::Unchoke);
    let idle = rig.peer(3, true);
    let busy = rig.peer(4, true);
    // With a handful of peers there would be nothing to save.
    for octet in 20..40 {
        rig.peer(octet, true);
    }
    for peer in [idle, busy] {
        rig.say(peer, &Message::HaveNone);
    }
    let asked = rig.pieces(seed, REQUEST);
    assert!(asked.len() >= 3);
    rig.deliver(seed, asked[0]);
    assert_eq!(rig.pieces(idle, HAVE), asked[..1]);
    assert_eq!(rig.pieces(busy, HAVE), asked[..1]);
    // From now on the one has asked for what there is, and the other has no interest in it.
    rig.say(busy, &Message::Interested);
    rig.say(busy, &request(asked[0], 0, PIECE));
    for piece in &asked[1..3] {
        rig.deliver(seed, *piece);
    }
    assert_eq!(rig.pieces(idle, HAVE), asked[1..3]);
    assert_eq!(rig.pieces(busy, HAVE), []);
    rig.pass(HAVE_DELAY);
    assert_eq!(rig.pieces(busy, HAVE), asked[1..3]);
    // Nobody is told twice, and a seed nothing.
    rig.pass(HAVE_DELAY);
    for peer in [seed, idle, busy] {
        assert_eq!(rig.pieces(peer, HAVE), []);
    }
}

#[test]
fn a_block_is_asked_for_twice_only_when_nothing_else_can_be_had() {
    for others_have_more in [true, false] {
        let mut rig = Rig::new(false);
        let mut first = Bitfield::new(PIECES);
        first.insert(0);
        let choking = rig.peer(2, true);
        rig.say(
            choking,
            &if others_have_more {
                Message::HaveAll
            } else {
                Message::HaveNone
            },
        );
        let [asked, other] = [3, 4].map(|octet| {
            let peer = rig.peer(octet, true);
            rig.say(peer, &Message::Bitfield(first.to_wire()));
            rig.say(peer, &Message::Unchoke);
            peer
        });
        assert!(rig.sent(asked).contains(&REQUEST));
        // As long as the first may still deliver it in time, nobody else is asked.
        rig.pass(LATE / 2);
        assert!(!rig.sent(other).contains(&REQUEST));
        rig.pass(LATE);
        assert_eq!(rig.sent(other).contains(&REQUEST), !others_have_more);
        // It is not taken back: it may be on its way.
        assert!(!rig.sent(asked).contains(&CANCEL));
    }
}

#[test]
fn what_a_peer_is_late_with_is_taken_over_from_the_end() {
    let mut rig = Rig::new(false);
    let mut few = Bitfield::new(PIECES);
    (0..4).for_each(|piece| {
        few.insert(piece);
    });
    let [silent, other] = [2, 3].map(|octet| {
        let peer = rig.peer(octet, true);
        rig.say(peer, &Message::Bitfield(few.to_wire()));
        rig.say(peer, &Message::Unchoke);
        peer
    });
    let asked = rig.pieces(silent, REQUEST);
    assert_eq!(asked.len(), 4);
    assert_eq!(rig.pieces(other, REQUEST), []);
    rig.pass(LATE);
    // One block shows what the other can do.
    let first = rig.pieces(other, REQUEST);
    assert_eq!(first, asked[3..]);
    rig.deliver(other, first[0]);
    assert_eq!(rig.pieces(other, REQUEST), [asked[2], asked[1]]);
    rig.deliver(other, asked[2]);
    assert_eq!(rig.pieces(other, REQUEST), asked[..1]);
    // What the silent one was asked first is left with it as well, until it has come.
    assert_eq!(rig.pieces(silent, CANCEL), [asked[3], asked[2], asked[1]]);
    rig.deliver(silent, asked[0]);
    assert_eq!(rig.pieces(other, CANCEL), asked[..1]);
    rig.deliver(other, asked[1]);
    assert_eq!(rig.engine.stats().wasted, 0);
}

#[test]
fn little_is_asked_for_ahead_when_little_is_left() {
    let mut rig = Rig::new(false);
    let seed = rig.peer(2, true);
    rig.say(seed, &Message::HaveAll);
    rig.say(seed, &Message::Unchoke);
    let mut waiting = std::collections::VecDeque::from(rig.pieces(seed, REQUEST));
    assert_eq!(waiting.len(), 8);
    let mut missing = PIECES as usize;
    while let Some(piece) = waiting.pop_front() {
        rig.pass(Duration::from_millis(400));
        rig.deliver(seed, piece);
        waiting.extend(rig.pieces(seed, REQUEST));
        missing -= 1;
        // Twelve come in five seconds, so that the rate is known, and depth alone would ask for all.
        if missing <= 8 {
            assert!(
                waiting.len() <= (missing / 2).max(2) && waiting.len() >= missing.min(2),
                "{} are asked for of {missing}",
                waiting.len()
            );
        }
    }
    assert_eq!(missing, 0);
}

#[test]
fn who_would_hold_up_the_others_is_not_asked_for_the_last_blocks() {
    let mut rig = Rig::new(false);
    let [quick, slow] = [2, 3].map(|octet| rig.peer(octet, true));
    let mut waiting = Vec::new();
    for peer in [quick, slow] {
        rig.say(peer, &Message::HaveAll);
        rig.say(peer, &Message::Unchoke);
        waiting.push(std::collections::VecDeque::from(rig.pieces(peer, REQUEST)));
    }
    let (mut missing, mut last_of_slow) = (PIECES as usize, PIECES as usize);
    // The one delivers ten blocks in the time in which the other delivers one.
    for tenth in 1..200 {
        let peers = if tenth % 10 == 0 { 2 } else { 1 };
        rig.pass(Duration::from_millis(300));
        for (peer, waiting) in [quick, slow].into_iter().zip(&mut waiting).take(peers) {
            if let Some(piece) = waiting.pop_front() {
                rig.deliver(peer, piece);
                missing -= 1;
            }
        }
        for (peer, waiting) in [quick, slow].into_iter().zip(&mut waiting) {
            for (id, payload) in rig.messages(peer) {
                let Some(piece) = payload.first_chunk().copied().map(u32::from_be_bytes) else {
                    continue;
                };
                match id {
                    REQUEST => {
                        waiting.push_back(piece);
                        if peer == slow {
                            last_of_slow = missing;
                        }
                    }
                    CANCEL => waiting.retain(|other| *other != piece),
                    _ => {}
                }
            }
        }
        if missing == 0 {
            // Ten would take the slow one as long as all of the twenty take the quick one.
            assert!(tenth <= 24, "it took {tenth} times a block");
            assert!(last_of_slow > 8, "asked with {last_of_slow} left");
            assert_eq!(rig.engine.stats().wasted, 0);
            return;
        }
    }
    panic!("{missing} are missing");
}

#[test]
fn a_flood_of_requests_is_banned() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, true);
    rig.say(peer, &Message::Interested);
    assert!(rig.sent(peer).contains(&UNCHOKE));
    for round in 0..10_000_u32 {
        rig.say(peer, &request(round % PIECES, (round / PIECES) % 1000, 1));
        if rig.is_closed(peer) {
            let banned = |action: &Action| match action {
                Action::Notify(Notice::PeerBanned { address, .. }) => Some(address.ip()),
                _ => None,
            };
            assert_eq!(rig.take(banned).len(), 1);
            let ticket = Ticket(99);
            rig.feed(Event::Incoming {
                ticket,
                from: SocketAddr::new([10, 0, 0, 2].into(), 9),
            });
            assert!(matches!(rig.actions.last(), Some(Action::Refuse { .. })));
            return;
        }
    }
    panic!("ten thousand requests without an end");
}

#[test]
fn a_choke_without_the_fast_extension_voids_all_requests() {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, false);
    rig.say(peer, &Message::Bitfield(Bitfield::full(PIECES).to_wire()));
    rig.say(peer, &Message::Unchoke);
    let asked = rig.sent(peer).iter().filter(|id| **id == REQUEST).count();
    assert!(asked >= 4);
    rig.say(peer, &Message::Choke);
    rig.say(peer, &Message::Unchoke);
    let again = rig.sent(peer).iter().filter(|id| **id == REQUEST).count();
    assert_eq!(again, asked);
}

#[test]
fn who_says_nothing_after_dialling_loses_its_place() {
    let mut rig = Rig::new(true);
    let from = SocketAddr::new([10, 0, 0, 9].into(), 5000);
    rig.feed(Event::Incoming {
        ticket: Ticket(50),
        from,
    });
    let conn = rig.take(|action| match action {
        Action::Accept { conn, .. } => Some(*conn),
        _ => None,
    })[0];
    rig.pass(Duration::from_secs(9));
    assert!(!rig.is_closed(conn));
    rig.pass(Duration::from_secs(2));
    assert!(rig.is_closed(conn));
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let mut rig = Rig::new(true);
    rig.feed(Event::Incoming {
        ticket: Ticket(7),
        from: SocketAddr::new([10, 0, 0, 8].into(), 1),
    });
    let conn = rig.take(|action| match action {
        Action::Accept { conn, .. } => Some(*conn),
        _ => None,
    })[0];
    let handshake = Handshake {
        reserved: Reserved::default(),
        info_hash: *rig.metainfo.info_hash().as_bytes(),
        peer_id: rig.engine.peer_id(),
    };
    rig.feed(Event::Received {
        conn,
        data: Bytes::copy_from_slice(&handshake.encode()),
    });
    assert!(rig.is_closed(conn));
}

#[test]
fn another_torrent_and_another_protocol_are_turned_away() {
    let mut rig = Rig::new(true);
    let mut wrong = Handshake {
        reserved: Reserved::default(),
        info_hash: [9; 20],
        peer_id: PeerId([3; 20]),
    }
    .encode()
    .to_vec();
    for bytes in [
        wrong.clone(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        wrong.drain(..30).collect(),
    ] {
        let whole = bytes.len() > 40 || bytes.starts_with(b"GET");
        rig.tickets += 1;
        let ticket = Ticket(rig.tickets);
        rig.feed(Event::Incoming {
            ticket,
            from: SocketAddr::new([10, 0, 0, 4].into(), 1),
        });
        let conn = rig.take(|action| match action {
            Action::Accept { conn, .. } => Some(*conn),
            _ => None,
        })[0];
        rig.feed(Event::Received {
            conn,
            data: bytes.into(),
        });
        assert_eq!(rig.is_closed(conn), whole);
    }
}

#[test]
fn stale_ids_and_duplicate_completions_are_counted_and_change_nothing() {
    let mut rig = Rig::new(true);
    let peer = rig.peer(2, false);
    rig.feed(Event::Closed {
        conn: peer,
        reason: CloseReason::Reset,
    });
    rig.feed(Event::Closed {
        conn: peer,
        reason: CloseReason::Reset,
    });
    rig.feed(Event::Received {
        conn: peer,
        data: Bytes::from_static(b"late"),
    });
    rig.feed(Event::Sent { conn: peer, len: 1 });
    assert_eq!(rig.engine.stats().stale_conns, 3);
    assert_eq!(rig.engine.connection_count(), 0);
}

#[test]
fn garbage_after_the_handshake_never_panics() {
    quickcheck::quickcheck(garbage as fn(Vec<Vec<u8>>, bool) -> bool);
}

fn garbage(chunks: Vec<Vec<u8>>, fast: bool) -> bool {
    let mut rig = Rig::new(false);
    let peer = rig.peer(2, fast);
    for chunk in chunks {
        rig.feed(Event::Received {
            conn: peer,
            data: chunk.into(),
        });
        rig.pass(Duration::from_secs(1));
    }
    true
}

#[test]
fn any_sequence_of_messages_keeps_the_invariants() {
    quickcheck::quickcheck(sequence as fn(Vec<(u8, u8, u8)>, bool, bool) -> bool);
}

fn sequence(steps: Vec<(u8, u8, u8)>, fast: bool, seed: bool) -> bool {
    let mut rig = Rig::new(seed);
    let peers = [rig.peer(2, fast), rig.peer(3, !fast)];
    for (what, piece, wait) in steps {
        let peer = peers[usize::from(what) % 2];
        let piece = u32::from(piece) % (PIECES + 1);
        let block = BlockRequest {
            piece,
            begin: 0,
            len: PIECE,
        };
        match what / 2 % 15 {
            0 => rig.say(peer, &Message::Choke),
            1 => rig.say(peer, &Message::Unchoke),
            2 => rig.say(peer, &Message::Interested),
            3 => rig.say(peer, &Message::NotInterested),
            4 | 5 => rig.say(peer, &Message::Have(piece)),
            6 => rig.say(peer, &Message::Bitfield(Bitfield::full(PIECES).to_wire())),
            7 => rig.say(peer, &Message::Request(block)),
            8 => rig.say(peer, &Message::Cancel(block)),
            9 => rig.say(peer, &Message::Reject(block)),
            10 => rig.say(peer, &Message::AllowedFast(piece)),
            11 => rig.say(peer, &Message::Suggest(piece)),
            12 | 13 => {
                let mut data = BytesMut::new();
                encode_piece_header(block, &mut data);
                data.resize(13 + PIECE as usize, what);
                rig.feed(Event::Received {
                    conn: peer,
                    data: data.freeze(),
                });
            }
            _ => {
                rig.pass(Duration::from_secs(u64::from(wait)));
            }
        }
        let stores = rig.take(|action| match action {
            Action::Disk {
                op,
                job: DiskJob::Store { .. },
                ..
            } => Some(*op),
            _ => None,
        });
        for op in stores {
            let done = if what % 3 == 0 {
                DiskDone::Mismatched {
                    blocks: vec![[what; 20]],
                }
            } else {
                DiskDone::Stored {
                    blocks: Some(vec![[7; 20]]),
                }
            };
            rig.feed(Event::Done {
                op,
                result: OpResult::Disk(Ok(done)),
            });
        }
    }
    true
}

#[test]
fn one_address_leaves_places_for_others() {
    let mut rig = Rig::new(true);
    let shake = |rig: &mut Rig, conn: ConnId, info_hash: [u8; 20], id: u8| {
        let handshake = Handshake {
            reserved: Reserved::default(),
            info_hash,
            peer_id: PeerId([id; 20]),
        };
        let data = Bytes::copy_from_slice(&handshake.encode());
        rig.feed(Event::Received { conn, data });
        rig.take(|action| match action {
            Action::Close { conn } => Some(*conn),
            _ => None,
        })
        .contains(&conn)
    };
    let crowd = SocketAddr::new([10, 0, 0, 1].into(), 5000);
    let info_hash = *rig.metainfo.info_hash().as_bytes();
    let limit = rig.engine.config().max_connections_per_address as u8;

    // As many as may be in the middle of their handshake at a time, and no more.
    let conns: Vec<ConnId> = (0..limit)
        .map(|_| rig.knock(crowd).expect("a place"))
        .collect();
    assert_eq!(rig.knock(crowd), None);
    for (id, conn) in (1..).zip(conns) {
        assert!(!shake(&mut rig, conn, info_hash, id));
    }
    // The torrent has as many peers as it takes of one address, which shows when it is named.
    let conn = rig.knock(crowd).expect("a place for another torrent");
    assert!(shake(&mut rig, conn, info_hash, 100));
    // Others find a place.
    rig.peer(2, false);
}
