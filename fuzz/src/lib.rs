//! What each fuzz target does with its input, as plain functions: they panic where a decoder breaks
//! a promise.
//!
//! - `cargo fuzz run TARGET` (nightly, with cargo-fuzz) looks for inputs that do, starting from
//!   `corpus/TARGET`.
//! - `cargo run --bin TARGET -- FILE...` repeats single inputs, on any toolchain.
//! - `cargo run --bin TARGET -- --seeds 0 1000` runs inputs that follow from numbers, on any toolchain.
//! - `fuzz/run` does so with fresh numbers, every target for as long as it is told.
//! - `cargo test` replays the whole corpus, every input of it cut short, and some hundred numbers.

mod draw;
mod engine;
mod run;
mod torrent;
mod utp;

use anabranch_core::limits::MAX_TRACKER_PEERS;
use anabranch_core::wire::{
    Decoder, ExtendedHandshake, Frame, Handshake, HandshakeDecoder, Limits, LsdAnnounce,
    MetadataMessage, PexMessage, WireError,
    lsd::{GROUP_V4, GROUP_V6, MAX_COOKIE},
    pex::MAX_READ,
    tracker::Answer,
    tracker_http, tracker_http_server, tracker_udp,
};
use anabranch_core::{Actions, Config, Event, Instant, Seed, UnixTime};
use anabranch_replay::{ChunkWriter, MAX_RECEIVED_LEN, Recording, Replayer, Start};
use bytes::Bytes;

pub use crate::engine::{Outcome, engine, sequence};
pub use crate::run::{Inputs, drawn, run_arguments};
pub use crate::torrent::{bencode, magnet, metainfo, selection};
pub use crate::utp::{utp, utp_packet};

/// A handshake comes out the same one byte at a time and at once, and is written as it was read.
pub fn handshake(data: &[u8]) {
    let decode = |step: usize| -> Result<Option<Handshake>, WireError> {
        let mut decoder = HandshakeDecoder::new();
        for part in data.chunks(step) {
            if let Some(handshake) = decoder.decode(&mut Bytes::copy_from_slice(part))? {
                return Ok(Some(handshake));
            }
        }
        Ok(None)
    };
    let at_once = decode(data.len().max(1));
    assert_eq!(decode(1), at_once);
    if let Ok(Some(handshake)) = at_once {
        assert_eq!(handshake.encode(), data[..68]);
        assert!(!handshake.peer_id.client().chars().any(char::is_control));
    }
}

/// A stream of messages comes out the same whole and split as the first byte says; frames stay
/// within the limits.
pub fn message(data: &[u8]) {
    let Some((&split, stream)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        max_block: 1 << 10,
        max_bitfield: 1 << 8,
        max_extended: 1 << 9,
    };
    let decode = |step: usize| -> (Vec<Frame>, Option<WireError>) {
        let mut decoder = Decoder::new(limits);
        let mut frames = Vec::new();
        for part in stream.chunks(step) {
            let mut part = Bytes::copy_from_slice(part);
            loop {
                match decoder.decode(&mut part) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break assert!(part.is_empty()),
                    Err(error) => return (frames, Some(error)),
                }
            }
            if let Some(progress) = decoder.block_in_progress() {
                assert!(progress.received < progress.block.len);
                assert!(progress.block.len <= limits.max_block);
            }
        }
        (frames, None)
    };
    let whole = decode(stream.len().max(1));
    assert_eq!(decode(usize::from(split).max(1)), whole);
    for frame in whole.0 {
        if let Frame::Block(block) = frame {
            assert!(block.data.len() <= limits.max_block as usize);
        }
    }
}

/// What is understood of an extended handshake survives being written and read again.
pub fn extended(data: &[u8]) {
    if let Ok(handshake) = ExtendedHandshake::decode(data) {
        assert_eq!(
            ExtendedHandshake::decode(&handshake.encode()),
            Ok(handshake)
        );
    }
}

/// What is understood of a tracker's reply survives being written and read again, and stays within
/// the limits. The same bytes as a query never panic the serving side.
pub fn tracker_http(data: &[u8]) {
    use tracker_http_server::{
        PeerFormat, encode_announce, encode_failure, encode_scrape, parse_announce, parse_scrape,
    };
    match tracker_http::decode_announce(data) {
        Ok(Answer::Reply(mut reply)) => {
            assert!(reply.peers.len() <= MAX_TRACKER_PEERS);
            assert!(reply.peers.iter().all(|peer| peer.addr.port() != 0));
            reply.dropped = 0;
            let body = encode_announce(&reply, PeerFormat::Dictionaries { with_ids: true });
            let again = tracker_http::decode_announce(&body);
            assert_eq!(again, Ok(Answer::Reply(reply)));
        }
        Ok(Answer::Failure(failure)) => {
            let again = tracker_http::decode_announce(&encode_failure(&failure));
            assert_eq!(again, Ok(Answer::Failure(failure)));
        }
        Err(_) => {}
    }
    if let Ok(Answer::Reply(reply)) = tracker_http::decode_scrape(data) {
        let again = tracker_http::decode_scrape(&encode_scrape(&reply));
        assert_eq!(again, Ok(Answer::Reply(reply)));
    }
    if let Ok(query) = std::str::from_utf8(data) {
        let _ = parse_scrape(query);
        if let Ok(announce) = parse_announce(query) {
            let url = announce.url("http://tracker.example/announce");
            let (_, query) = url.split_once('?').unwrap_or_default();
            assert_eq!(parse_announce(query), Ok(announce));
        }
    }
}

/// What is understood of a datagram, in either direction, survives being written and read again.
pub fn tracker_udp(data: &[u8]) {
    use tracker_udp::{Family, Request, Response};
    for family in [Family::V4, Family::V6] {
        if let Ok(response) = Response::decode(data, family) {
            let mut datagram = Vec::new();
            response.encode(family, &mut datagram);
            assert_eq!(Response::decode(&datagram, family), Ok(response));
        }
    }
    if let Ok(request) = Request::decode(data) {
        let mut datagram = Vec::new();
        request.encode(&mut datagram);
        assert_eq!(Request::decode(&datagram), Ok(request));
    }
}

/// A recording is read to an end or an error, be the input the whole file or, since no fuzzer finds a
/// checksum, the records in it; and a fresh engine takes all that it is told.
pub fn recording(data: &[u8]) {
    read_recording(data);
    let start = Start {
        config: Config::default(),
        seed: Seed([0; 32]),
        now: Instant::ZERO,
        wall: UnixTime(0),
    };
    let mut writer = ChunkWriter::new(Vec::new(), &start).unwrap();
    writer.write(data).unwrap();
    read_recording(&writer.into_inner());
}

fn read_recording(file: &[u8]) {
    let Ok(mut recording) = Recording::open(file) else {
        return;
    };
    let mut engine = Start::engine(recording.start());
    let mut actions = Actions::new();
    while let Ok(Some(record)) = recording.next_record() {
        if let Event::Received { data, .. } = &record.event {
            assert!(data.len() <= MAX_RECEIVED_LEN);
        }
        let _ = engine.handle(record.at, record.event, &mut actions);
        actions.drain().for_each(drop);
    }
    if let Ok(recording) = Recording::open(file) {
        let _ = Replayer::new(recording).run();
    }
}

/// What is understood of a metadata message survives being written and read again.
pub fn metadata(data: &[u8]) {
    if let Ok(Some(message)) = MetadataMessage::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(
            MetadataMessage::decode(&message.encode()),
            Ok(Some(message))
        );
    }
}

/// What is understood of a peer exchange message is bounded, and survives being written and read again.
pub fn pex(data: &[u8]) {
    if let Ok(message) = PexMessage::decode(data) {
        assert!(message.added.len() <= 2 * MAX_READ && message.dropped.len() <= 2 * MAX_READ);
        assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
    }
}

/// What is understood of a local announcement survives being written and read again, in a packet that
/// no network cuts up.
pub fn lsd(data: &[u8]) {
    if let Ok(announce) = LsdAnnounce::decode(data) {
        for group in [GROUP_V4, GROUP_V6] {
            let packet = announce.encode(group);
            assert!(packet.len() <= 1_400 + MAX_COOKIE);
            assert_eq!(LsdAnnounce::decode(&packet).as_ref(), Ok(&announce));
        }
    }
}

/// What is understood of a DHT message survives being written and read again, within the limits. What
/// passes as an item's value is one that is written in one way only.
pub fn krpc(data: &[u8]) {
    use anabranch_core::dht::Value;
    use anabranch_core::wire::krpc::{Body, MAX_NODES, MAX_VALUES, Message, Method};
    if let Ok(message) = Message::decode(data) {
        let understood = match &message.body {
            Body::Query(query) => !matches!(
                query.method,
                Method::Invalid { .. } | Method::Unknown { .. }
            ),
            Body::Response(response) => {
                let nodes = [&response.nodes, &response.nodes6];
                let mut nodes = nodes.into_iter().flatten();
                assert!(nodes.all(|nodes| nodes.len() <= MAX_NODES));
                assert!(response.values.len() <= MAX_VALUES);
                assert!(response.values.iter().all(|peer| peer.port() != 0));
                true
            }
            Body::Error(_) => true,
        };
        if understood {
            let mut datagram = Vec::new();
            message.encode(&mut datagram);
            assert_eq!(Message::decode(&datagram), Ok(message));
        }
    }
    if let Ok(value) = Value::new(Bytes::copy_from_slice(data)) {
        assert_eq!(&value.as_bytes()[..], data);
    }
}

/// What is understood of a DHT's saved state survives being written and read again, and is no more than was said.
pub fn dht_state(data: &[u8]) {
    use anabranch_core::dht::DhtState;
    if let Ok(state) = DhtState::from_bytes(data) {
        assert!(state.nodes.len() <= data.len() / 26);
        assert_eq!(DhtState::from_bytes(&state.to_bytes()), Ok(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{corpus, input};

    /// Numbers of a target whose inputs are short.
    const SEEDS: u64 = 300;

    /// Replays a corpus, each input also cut short everywhere, long ones only at some places; and runs inputs that
    /// nobody has seen before, the same in each run.
    fn replay(name: &str, inputs: Inputs, target: fn(&[u8])) {
        let corpus = corpus(name).unwrap();
        assert!(!corpus.is_empty(), "no corpus of {name}");
        for input in &corpus {
            let step = input.len() / 256 + 1;
            for end in (0..input.len()).step_by(step) {
                target(&input[..end]);
            }
            target(input);
        }
        for seed in 0..SEEDS {
            target(&input(inputs, &corpus, seed));
        }
    }

    /// Not cut short: each takes long.
    #[test]
    fn engine_corpus() {
        let corpus = corpus("engine").unwrap();
        assert!(!corpus.is_empty());
        corpus.iter().for_each(|input| engine(input));
    }

    #[test]
    fn engine_sequences() {
        let spoken: usize = (0..SEEDS).map(|seed| sequence(&drawn(seed)).spoken).sum();
        assert!(spoken > 10, "{spoken} connections by uTP came to anything");
    }

    #[test]
    fn utp_corpus_and_sequences() {
        replay("utp", Inputs::Drawn, utp);
    }

    /// A number names an input as long as the corpus is the same, and another number another.
    #[test]
    fn inputs_follow_from_numbers() {
        let corpus = corpus("metainfo").unwrap();
        let of = |seed| input(Inputs::Changed, &corpus, seed);
        assert_eq!(of(7), of(7));
        assert!((0..32).any(|seed| of(seed) != of(seed + 1)));
    }

    #[test]
    fn handshake_corpus() {
        replay("handshake", Inputs::Changed, handshake);
    }

    #[test]
    fn message_corpus() {
        replay("message", Inputs::Changed, message);
    }

    #[test]
    fn extended_corpus() {
        replay("extended", Inputs::Changed, extended);
    }

    #[test]
    fn metadata_corpus() {
        replay("metadata", Inputs::Changed, metadata);
    }

    #[test]
    fn pex_corpus() {
        replay("pex", Inputs::Changed, pex);
    }

    #[test]
    fn lsd_corpus() {
        replay("lsd", Inputs::Changed, lsd);
    }

    #[test]
    fn magnet_corpus() {
        replay("magnet", Inputs::Changed, magnet);
    }

    #[test]
    fn selection_corpus() {
        replay("selection", Inputs::Changed, selection);
    }

    #[test]
    fn metainfo_corpus() {
        replay("metainfo", Inputs::Changed, metainfo);
    }

    #[test]
    fn bencode_corpus() {
        replay("bencode", Inputs::Changed, bencode);
    }

    #[test]
    fn tracker_http_corpus() {
        replay("tracker_http", Inputs::Changed, tracker_http);
    }

    #[test]
    fn tracker_udp_corpus() {
        replay("tracker_udp", Inputs::Changed, tracker_udp);
    }

    #[test]
    fn recording_corpus() {
        replay("recording", Inputs::Changed, recording);
    }

    #[test]
    fn krpc_corpus() {
        replay("krpc", Inputs::Changed, krpc);
    }

    #[test]
    fn dht_state_corpus() {
        replay("dht_state", Inputs::Changed, dht_state);
    }

    #[test]
    fn utp_packet_corpus() {
        replay("utp_packet", Inputs::Changed, utp_packet);
    }
}
