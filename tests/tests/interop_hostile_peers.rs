//! Peers that lie, flood or keep silent, against a running seed and a running download. Each time
//! the process lives, its memory stays bounded, and an honest peer is served.

use std::io;
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anabranch_tests::clients::Anabranch;
use anabranch_tests::data::{assert_same, write_file};
use anabranch_tests::scripted::{
    Gate, Listener, content, honest_leech, honest_seed, leech_over, seed_with,
};
use anabranch_tests::wire::{self, Wire, bits_spare, block, full_bitfield, id, range};
use anabranch_tests::{Scratch, Torrent, address, wait};

const BLOCK: u32 = 16 * 1024;

/// The most memory that any of this may cost. A download at full speed stays below 64 MiB; the
/// floods here try for gigabytes.
const MOST_MEMORY: u64 = 128 << 20;

/// Enough messages to fill every socket buffer many times over.
const FLOOD: usize = 200_000;

struct Setup {
    torrent: Torrent,
    data: PathBuf,
    content: Vec<u8>,
    scratch: Scratch,
}

impl Setup {
    /// 61 pieces, so that the bitfield has spare bits and the last piece is short.
    fn new() -> Self {
        Self::with(3_950_001, 64 * 1024)
    }

    fn with(length: usize, piece_length: u64) -> Self {
        let scratch = Scratch::new();
        let data = scratch.folder("seed").join("file.bin");
        write_file(&data, length, 71);
        let torrent = Torrent::make(&data, &scratch.join("file.torrent"), piece_length, &[]);
        let content = content(&data);
        Self {
            torrent,
            data,
            content,
            scratch,
        }
    }
}

/// What a hostile peer does over a connection to our seed.
type OnSeed = fn(Wire, &Setup) -> io::Result<()>;

/// Lets a hostile peer loose on our seed, and then an honest one.
fn against_seed(attack: OnSeed) {
    let setup = Setup::new();
    let (mut seed, to) = start_seed(&setup);
    let wire = Wire::connect(address::HOSTILE, to).expect("the first connection is accepted");
    attack(wire, &setup).expect("the seed lets it come as far as its attack");
    assert_serves(&setup, to);
    seed.assert_sound(MOST_MEMORY);
    seed.interrupt();
}

/// A seed that has looked at its data and answers handshakes.
fn start_seed(setup: &Setup) -> (Anabranch, SocketAddr) {
    let folder = setup.scratch.join("seed");
    let seed = Anabranch::seed(&setup.scratch, &setup.torrent, &folder, &[]);
    let to = seed.address();
    wait::until("the seed to answer", || {
        let mut wire = Wire::connect(address::HONEST, to).ok()?;
        greet(&mut wire, setup).ok()
    });
    (seed, to)
}

fn assert_serves(setup: &Setup, seed: SocketAddr) {
    let got = wait::until("the honest peer to be served", || {
        honest_leech(address::HONEST, seed, &setup.torrent).ok()
    });
    assert!(got == setup.content, "the honest peer got something else");
}

/// Handshakes done, as a peer that has nothing.
fn greet(wire: &mut Wire, setup: &Setup) -> io::Result<()> {
    wire.send_handshake(setup.torrent.info_hash)?;
    wire.read_handshake()?;
    Ok(())
}

/// Handshakes done and unchoked.
fn get_unchoked(wire: &mut Wire, setup: &Setup) -> io::Result<()> {
    greet(wire, setup)?;
    wire.send(id::INTERESTED, &[])?;
    while wire.read()?.id != id::UNCHOKE {}
    Ok(())
}

/// Sends message after message and never reads, until the other side takes no more: that it hangs
/// up or stops reading is its good right.
fn flood(wire: &mut Wire, messages: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
    wire.limit_writes(Duration::from_secs(2))?;
    let _ = messages
        .into_iter()
        .try_for_each(|message| wire.send_raw(&message));
    Ok(())
}

/// As many peers as a torrent has places, but for some that whoever asked before may still hold,
/// each in a network of its own, that shake hands and say no more.
fn silent_crowd(setup: &Setup, to: SocketAddr) -> Vec<Wire> {
    let crowd: Vec<Wire> = (0..120)
        .filter_map(|number| {
            let mut wire = Wire::connect(&format!("127.2.{number}.9"), to).ok()?;
            greet(&mut wire, setup).ok()?;
            Some(wire)
        })
        .collect();
    assert!(crowd.len() >= 95, "only {} got a place", crowd.len());
    crowd
}

/// Serves whoever is on the other side, until the connection ends.
fn seed_over(wire: &mut Wire, setup: &Setup) -> io::Result<()> {
    greet(wire, setup)?;
    wire.send(id::BITFIELD, &full_bitfield(setup.torrent.count()))?;
    wire.send(id::UNCHOKE, &[])?;
    loop {
        if let Some((index, begin, length)) = wire.read()?.request() {
            let start = u64::from(index) * setup.torrent.piece_length + u64::from(begin);
            let start = usize::try_from(start).map_err(io::Error::other)?;
            let data = &setup.content[start..start + length as usize];
            wire.send(id::PIECE, &block(index, begin, data))?;
        }
    }
}

mod seeding {
    use super::*;

    #[test]
    fn a_length_of_four_gigabytes_ends_the_connection() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            wire.send_raw(&[0xff, 0xff, 0xff, 0xff, id::PIECE, 0, 0, 0, 0])?;
            wire.assert_closed("a length of 4 GiB");
            Ok(())
        });
    }

    #[test]
    fn a_length_of_64_megabytes_ends_the_connection() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            let mut bytes = (64_u32 << 20).to_be_bytes().to_vec();
            bytes.push(id::BITFIELD);
            wire.send_raw(&bytes)?;
            // What was promised does come, if anybody takes it.
            let part = vec![0; 1 << 20];
            flood(&mut wire, iter::repeat_n(part, 64))?;
            wire.assert_closed("a length of 64 MiB");
            Ok(())
        });
    }

    #[test]
    fn another_info_hash_ends_the_connection() {
        against_seed(|mut wire, _| {
            wire.send_handshake([0x5a; 20])?;
            wire.assert_closed("another info-hash");
            Ok(())
        });
    }

    #[test]
    fn another_protocol_ends_the_connection() {
        against_seed(|mut wire, _| {
            wire.send_raw(
                b"GET /announce HTTP/1.1\r\nHost: localhost\r\nAccept: everything\r\n\r\n",
            )?;
            wire.assert_closed("a request of HTTP");
            Ok(())
        });
    }

    #[test]
    fn spare_bits_are_ignored() {
        against_seed(|mut wire, setup| {
            assert!(
                bits_spare(setup.torrent.count()) > 0,
                "no spare bits to set"
            );
            greet(&mut wire, setup)?;
            let mut map = full_bitfield(setup.torrent.count());
            // All but the first piece, or it would be a seed, of which a seed has no use.
            map[0] = 0x7f;
            if let Some(last) = map.last_mut() {
                *last = 0xff;
            }
            wire.send(id::BITFIELD, &map)?;
            assert!(leech_over(&mut wire, &setup.torrent)? == setup.content);
            Ok(())
        });
    }

    #[test]
    fn extended_handshakes_that_cannot_be_read_are_ignored() {
        against_seed(|mut wire, setup| {
            let mut hello = wire::handshake(setup.torrent.info_hash);
            hello[25] |= 0x10;
            wire.send_raw(&hello)?;
            wire.read_handshake()?;
            let deep = [&b"\0d1:m"[..], &[b'l'; 10_000]].concat();
            for payload in [
                &b"\0"[..],
                b"\0le",
                b"\0d1:pi1e1:pi2ee",
                b"\0d1:v9:x",
                &deep,
            ] {
                wire.send(id::EXTENDED, payload)?;
            }
            assert!(leech_over(&mut wire, &setup.torrent)? == setup.content);
            Ok(())
        });
    }

    #[test]
    fn a_hundred_silent_peers_from_everywhere_give_way() {
        let setup = Setup::new();
        let (mut seed, to) = start_seed(&setup);
        let crowd = silent_crowd(&setup, to);
        assert_serves(&setup, to);
        // They are still there, all but a few.
        drop(crowd);
        seed.assert_sound(MOST_MEMORY);
        seed.interrupt();
    }

    #[test]
    fn a_hundred_peers_that_take_slots_and_ask_for_nothing_pass_them_on() {
        let setup = Setup::new();
        let (mut seed, to) = start_seed(&setup);
        let mut crowd = silent_crowd(&setup, to);
        for wire in &mut crowd {
            // Whoever had to go already has nothing to say.
            let _ = wire.send(id::INTERESTED, &[]);
        }
        assert_serves(&setup, to);
        drop(crowd);
        seed.assert_sound(MOST_MEMORY);
        seed.interrupt();
    }

    #[test]
    fn a_bitfield_of_another_length_ends_the_connection() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            let bytes = full_bitfield(setup.torrent.count()).len();
            wire.send(id::BITFIELD, &vec![0; bytes + 1])?;
            wire.assert_closed("a long bitfield");
            Ok(())
        });
    }

    #[test]
    fn requests_past_the_end_get_nothing() {
        let setup = Setup::new();
        let (mut seed, to) = start_seed(&setup);
        let last = setup.torrent.count() - 1;
        let short = u32::try_from(setup.torrent.piece_size(last)).unwrap();
        let piece = u32::try_from(setup.torrent.piece_length).unwrap();
        let wrong = [
            (last + 1, 0, BLOCK),
            (0, piece, BLOCK),
            (0, piece - 1, BLOCK),
            (last, short - 1, BLOCK),
            (0, 0, 0),
            (0, 0, u32::MAX),
            (u32::MAX, u32::MAX, u32::MAX),
            (0, u32::MAX - BLOCK + 1, BLOCK),
        ];
        for (number, (index, begin, length)) in wrong.into_iter().enumerate() {
            // An address for each, since one may be banned for what it did.
            let from = format!("127.0.66.{}", number + 1);
            let mut wire = Wire::connect(&from, to).unwrap();
            get_unchoked(&mut wire, &setup).unwrap();
            wire.send(id::REQUEST, &range(index, begin, length))
                .unwrap();
            // One that is right behind it, so that there is an end to wait for.
            let _ = wire.send(id::REQUEST, &range(1, 0, BLOCK));
            while let Ok(message) = wire.read() {
                if message.id == id::PIECE {
                    assert_eq!(message.payload[..8], range(1, 0, 0)[..8], "{index} {begin}");
                    break;
                }
            }
        }
        assert_serves(&setup, to);
        seed.assert_sound(MOST_MEMORY);
        seed.interrupt();
    }

    #[test]
    fn a_flood_of_requests_that_nobody_reads_is_bounded() {
        against_seed(|mut wire, setup| {
            get_unchoked(&mut wire, setup)?;
            let request = wire::message(id::REQUEST, &range(0, 0, BLOCK));
            flood(&mut wire, iter::repeat_n(request, FLOOD))
        });
    }

    #[test]
    fn a_flood_of_requests_while_choked_is_bounded() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            let request = wire::message(id::REQUEST, &range(0, 0, BLOCK));
            flood(&mut wire, iter::repeat_n(request, FLOOD))
        });
    }

    #[test]
    fn a_flood_of_small_messages_is_bounded() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            let keep_alive = vec![0; 4];
            let small = [
                keep_alive,
                wire::message(id::INTERESTED, &[]),
                wire::message(3, &[]),
                wire::message(id::HAVE, &0_u32.to_be_bytes()),
                wire::message(id::CANCEL, &range(0, 0, BLOCK)),
                wire::message(99, b"what is this"),
            ];
            flood(&mut wire, small.into_iter().cycle().take(FLOOD))
        });
    }

    #[test]
    fn blocks_that_nobody_asked_for_are_bounded() {
        against_seed(|mut wire, setup| {
            greet(&mut wire, setup)?;
            let piece = wire::message(id::PIECE, &block(0, 0, &vec![7; BLOCK as usize]));
            flood(&mut wire, iter::repeat_n(piece, 20_000))
        });
    }

    #[test]
    fn extension_messages_of_garbage_are_survived() {
        against_seed(|mut wire, setup| {
            let mut hello = wire::handshake(setup.torrent.info_hash);
            hello[25] |= 0x10;
            wire.send_raw(&hello)?;
            wire.read_handshake()?;
            let mut nested = vec![0];
            nested.extend(iter::repeat_n(b'l', 100_000));
            let payloads: [&[u8]; 6] = [
                b"",
                b"\0d1:md11:ut_metadata",
                b"\0d1:md11:ut_metadatai-1ee4:reqqi-99999999999999999999ee",
                b"\0d13:metadata_sizei9223372036854775807e4:reqqi0ee",
                b"\0d1:v999999999:x",
                &nested,
            ];
            let messages = payloads.map(|payload| wire::message(id::EXTENDED, payload));
            flood(&mut wire, messages.into_iter().cycle().take(600))
        });
    }

    #[test]
    fn silence_is_not_waited_for_forever() {
        against_seed(|wire, _| {
            wire.assert_closed("silence");
            Ok(())
        });
    }

    #[test]
    fn half_a_handshake_is_not_waited_for_forever() {
        against_seed(|mut wire, setup| {
            wire.send_raw(&wire::handshake(setup.torrent.info_hash)[..40])?;
            wire.assert_closed("half a handshake");
            Ok(())
        });
    }

    #[test]
    fn a_crowd_that_says_nothing_does_not_keep_others_out() {
        let setup = Setup::new();
        let (mut seed, to) = start_seed(&setup);
        let crowd: Vec<Wire> = (0..600)
            .filter_map(|number| Wire::connect(&format!("127.0.67.{}", number % 200 + 1), to).ok())
            .collect();
        assert!(!crowd.is_empty(), "nobody got through");
        assert_serves(&setup, to);
        seed.assert_sound(MOST_MEMORY);
        seed.interrupt();
    }

    #[test]
    fn a_handshake_that_comes_byte_by_byte_is_taken() {
        let setup = Setup::new();
        let (seed, to) = start_seed(&setup);
        let mut wire = Wire::connect(address::HONEST, to).unwrap();
        for byte in wire::handshake(setup.torrent.info_hash) {
            wire.send_raw(&[byte]).unwrap();
        }
        wire.read_handshake().unwrap();
        assert!(leech_over(&mut wire, &setup.torrent).unwrap() == setup.content);
        seed.interrupt();
    }
}

/// A download that dials a hostile and an honest peer, until it is complete.
fn against_download(setup: &Setup, hostile: &Listener, honest: &Listener) -> Anabranch {
    let download = start_download(setup, hostile, honest);
    finish_download(setup, download)
}

fn start_download(setup: &Setup, hostile: &Listener, honest: &Listener) -> Anabranch {
    let [hostile, honest] = [hostile, honest].map(|peer| peer.address().to_string());
    let folder = setup.scratch.folder("leech");
    // It goes on to seed so that its memory can be looked at when all is over.
    let args = ["--peer", &hostile, "--peer", &honest, "--seed"];
    Anabranch::download(&setup.scratch, &setup.torrent, &folder, &args)
}

fn finish_download(setup: &Setup, mut download: Anabranch) -> Anabranch {
    download.wait_complete();
    assert_same(&setup.data, &setup.scratch.join("leech/file.bin"));
    download.assert_sound(MOST_MEMORY);
    let banned = download.events("peer_banned");
    let innocent = banned
        .iter()
        .find(|event| event.to_string().contains(address::HONEST));
    assert!(
        innocent.is_none(),
        "the honest peer was banned: {innocent:?}"
    );
    download
}

/// What a hostile peer does over a connection that our download made to it.
type OnDownload = fn(&mut Wire, &Torrent) -> io::Result<()>;

/// The honest peer holds back until the hostile one has done what it does.
fn hostile_listener(attack: OnDownload) {
    let setup = Setup::new();
    let done = Gate::default();
    let honest = honest_seed(
        address::HONEST,
        &setup.torrent,
        setup.content.clone(),
        done.clone(),
    );
    let torrent = setup.torrent.clone();
    let first = Arc::new(OnceLock::new());
    let outcome = Arc::clone(&first);
    let hostile = Listener::start(address::HOSTILE, move |mut wire| {
        let result = attack(&mut wire, &torrent);
        let _ = outcome.set(result.map_err(|error| error.to_string()));
        done.open();
        // The connection stays for as long as the other side wants it.
        while wire.read().is_ok() {}
        Ok(())
    });
    let download = against_download(&setup, &hostile, &honest);
    let outcome = first.get().expect("the hostile peer was dialled");
    assert_eq!(
        outcome,
        &Ok(()),
        "the download did not let it come as far as its attack"
    );
    download.interrupt();
}

/// Handshakes done, in possession of everything, and unchoking.
fn lure(wire: &mut Wire, torrent: &Torrent) -> io::Result<()> {
    answer(wire, torrent)?;
    wire.send(id::BITFIELD, &full_bitfield(torrent.count()))?;
    wire.send(id::UNCHOKE, &[])
}

fn answer(wire: &mut Wire, torrent: &Torrent) -> io::Result<()> {
    wire.read_handshake()?;
    wire.send_handshake(torrent.info_hash)
}

/// Reads until it is asked for a block, and says for which.
fn await_request(wire: &mut Wire) -> io::Result<(u32, u32, u32)> {
    loop {
        if let Some(request) = wire.read()?.request() {
            return Ok(request);
        }
    }
}

mod downloading {
    use super::*;

    #[test]
    fn a_peer_that_sends_corrupt_blocks_is_banned() {
        let setup = Setup::new();
        let banned = Gate::default();
        let honest = honest_seed(
            address::HONEST,
            &setup.torrent,
            setup.content.clone(),
            banned.clone(),
        );
        let open = Gate::opened();
        let hostile = seed_with(
            address::HOSTILE,
            &setup.torrent,
            setup.content.clone(),
            open,
            |_, _, data| {
                data[0] ^= 1;
            },
        );
        let download = start_download(&setup, &hostile, &honest);
        // All blocks of a piece came from one peer, so there is no doubt about who it was.
        let event = download.wait_event("peer_banned");
        assert!(event.to_string().contains(address::HOSTILE), "{event}");
        banned.open();
        finish_download(&setup, download).interrupt();
    }

    #[test]
    fn the_guilty_one_of_several_contributors_is_banned() {
        /// So many wrong blocks, then no more.
        const WRONG: usize = 8;
        // One piece alone, so that both peers have a part in it.
        let setup = Setup::with(1 << 20, 1 << 20);
        let done = Gate::default();
        let honest = honest_seed(
            address::HONEST,
            &setup.torrent,
            setup.content.clone(),
            done.clone(),
        );
        let torrent = setup.torrent.clone();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let hostile = Listener::start(address::HOSTILE, move |mut wire| {
            lure(&mut wire, &torrent)?;
            while count.fetch_add(1, Ordering::Relaxed) < WRONG {
                let (index, begin, length) = await_request(&mut wire)?;
                let wrong = vec![0xbd; length as usize];
                wire.send(id::PIECE, &block(index, begin, &wrong))?;
            }
            wire.send(id::CHOKE, &[])?;
            done.open();
            loop {
                wire.read()?;
            }
        });
        let download = against_download(&setup, &hostile, &honest);
        let event = download.wait_event("peer_banned");
        assert!(event.to_string().contains(address::HOSTILE), "{event}");
        assert!(
            sent.load(Ordering::Relaxed) >= WRONG,
            "it was not asked for enough"
        );
        download.interrupt();
    }

    #[test]
    fn a_length_of_four_gigabytes_is_survived() {
        hostile_listener(|wire, torrent| {
            answer(wire, torrent)?;
            wire.send_raw(&[0xff, 0xff, 0xff, 0xff, id::PIECE])?;
            flood(wire, iter::repeat_n(vec![0; 1 << 20], 256))
        });
    }

    #[test]
    fn another_info_hash_is_survived() {
        hostile_listener(|wire, _| {
            wire.read_handshake()?;
            wire.send_handshake([0x5a; 20])
        });
    }

    #[test]
    fn an_echo_of_our_own_handshake_is_survived() {
        hostile_listener(|wire, _| {
            let bytes = wire.read_handshake_bytes()?;
            wire.send_raw(&bytes)
        });
    }

    #[test]
    fn spare_bits_are_survived() {
        hostile_listener(|wire, torrent| {
            answer(wire, torrent)?;
            let bytes = full_bitfield(torrent.count()).len();
            wire.send(id::BITFIELD, &vec![0xff; bytes])
        });
    }

    #[test]
    fn a_bitfield_that_is_too_short_is_survived() {
        hostile_listener(|wire, torrent| {
            answer(wire, torrent)?;
            wire.send(id::BITFIELD, &[0xff])
        });
    }

    #[test]
    fn pieces_out_of_range_are_survived() {
        hostile_listener(|wire, torrent| {
            answer(wire, torrent)?;
            let numbers = [torrent.count(), u32::MAX, 0x8000_0000];
            let haves = numbers.map(|index| wire::message(id::HAVE, &index.to_be_bytes()));
            flood(wire, haves.into_iter().cycle().take(FLOOD))
        });
    }

    #[test]
    fn blocks_that_nobody_asked_for_are_bounded() {
        hostile_listener(|wire, torrent| {
            lure(wire, torrent)?;
            let data = vec![7; BLOCK as usize];
            let pieces = (0..20_000).map(|number| {
                wire::message(
                    id::PIECE,
                    &block(number % 61, number / 61 % 4 * BLOCK, &data),
                )
            });
            flood(wire, pieces)
        });
    }

    #[test]
    fn blocks_of_another_size_are_survived() {
        hostile_listener(|wire, torrent| {
            lure(wire, torrent)?;
            let (index, begin, _) = await_request(wire)?;
            let sizes = [0, 1, BLOCK - 1, BLOCK + 1, 128 * 1024];
            let blocks = sizes.map(|size| block(index, begin, &vec![1; size as usize]));
            flood(
                wire,
                blocks.map(|payload| wire::message(id::PIECE, &payload)),
            )
        });
    }

    #[test]
    fn a_peer_that_never_answers_requests_does_not_hold_up_the_rest() {
        hostile_listener(|wire, torrent| {
            lure(wire, torrent)?;
            await_request(wire).map(drop)
        });
    }

    #[test]
    fn a_peer_that_says_nothing_at_all_does_not_hold_up_the_rest() {
        hostile_listener(|_, _| Ok(()));
    }

    #[test]
    fn a_peer_that_says_half_a_handshake_does_not_hold_up_the_rest() {
        hostile_listener(|wire, torrent| wire.send_raw(&wire::handshake(torrent.info_hash)[..20]));
    }

    #[test]
    fn a_hundred_silent_peers_from_everywhere_do_not_starve_it() {
        let setup = Setup::new();
        let folder = setup.scratch.folder("leech");
        let download = Anabranch::download(&setup.scratch, &setup.torrent, &folder, &["--seed"]);
        let to = download.address();
        wait::until("the download to answer", || {
            let mut wire = Wire::connect(address::HONEST, to).ok()?;
            greet(&mut wire, &setup).ok()
        });
        let crowd = silent_crowd(&setup, to);
        // Somebody who has everything is let in, and stays until all of it is there.
        wait::until("the download to be served", || {
            let mut wire = Wire::connect(address::HONEST, to).ok()?;
            let _ = seed_over(&mut wire, &setup);
            (!download.events("completed").is_empty()).then_some(())
        });
        drop(crowd);
        finish_download(&setup, download).interrupt();
    }

    #[test]
    fn a_flood_of_requests_is_bounded() {
        hostile_listener(|wire, torrent| {
            lure(wire, torrent)?;
            let request = wire::message(id::REQUEST, &range(0, 0, BLOCK));
            flood(wire, iter::repeat_n(request, FLOOD))
        });
    }

    #[test]
    fn choking_and_unchoking_without_end_is_survived() {
        hostile_listener(|wire, torrent| {
            lure(wire, torrent)?;
            let flap = [
                wire::message(id::CHOKE, &[]),
                wire::message(id::UNCHOKE, &[]),
            ];
            flood(wire, flap.into_iter().cycle().take(FLOOD))
        });
    }
}
