//! Whole runs, recorded and replayed: two engines exchange a torrent in memory.

use std::collections::{BTreeMap, VecDeque};

use anabranch_core::command::AddTorrent;
use anabranch_core::event::{CloseReason, OpResult};
use anabranch_core::id::{ConnId, RequestId, Ticket};
use anabranch_core::metainfo::Creator;
use anabranch_core::{
    Action, Actions, Command, Config, Engine, Event, Instant, Notice, Seed, UnixTime, Wake,
};
use anabranch_replay::{
    ActionKind, ActionSummary, Damage, Divergence, Ending, Narrator, ReadError, Recorder,
    Recording, ReplayError, Replayer, Start,
};
use bytes::{Bytes, BytesMut};
use quickcheck::quickcheck;
use sha1::{Digest, Sha1};

mod memory {
    include!("../../core/examples/common/memory.rs");
}

const PIECE_LENGTH: usize = 64 << 10;

/// One end of a connection.
#[derive(Default)]
struct End {
    peer: Option<ConnId>,
    credit: usize,
    arrived: BytesMut,
}

/// An engine that is recorded, with its disk and its ends of connections.
struct Host {
    engine: Engine,
    recorder: Recorder<Vec<u8>>,
    disk: memory::Disk,
    ends: BTreeMap<ConnId, End>,
    wake: Wake,
}

impl Host {
    fn new(number: u8, data: Vec<u8>) -> Self {
        let start = start(number);
        Self {
            engine: start.engine(),
            recorder: Recorder::new(Vec::new(), &start).expect("memory"),
            disk: memory::Disk {
                data,
                piece_length: PIECE_LENGTH,
            },
            ends: BTreeMap::new(),
            wake: Wake::Idle,
        }
    }
}

fn start(number: u8) -> Start {
    Start {
        config: Config::default(),
        seed: Seed([number; 32]),
        now: Instant::ZERO,
        wall: UnixTime(1_700_000_000),
    }
}

/// Two recordings of a run in which host 1 downloads `len` bytes from host 0, and then both end. What
/// arrives is cut after every `cut` bytes.
fn recordings(len: usize, cut: usize) -> [Vec<u8>; 2] {
    let content: Vec<u8> = (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 15) as u8)
        .collect();
    let digests = content.chunks(PIECE_LENGTH).flat_map(Sha1::digest);
    let torrent = Creator::single_file("content", content.len() as u64)
        .with_piece_length(PIECE_LENGTH as u32)
        .finish(&digests.collect::<Vec<u8>>())
        .expect("a digest for each piece")
        .torrent;
    let mut hosts = [
        Host::new(0, content.clone()),
        Host::new(1, vec![0; content.len()]),
    ];
    let mut now = Instant::ZERO;
    let mut actions = Actions::new();
    let mut inbox = VecDeque::new();
    let mut callers = Vec::new();
    let addresses = ["10.0.0.1:6881", "10.0.0.2:6881"].map(|text| text.parse().expect("valid"));
    let command = |command| Event::Command {
        request: RequestId(1),
        command: Box::new(command),
    };
    for (host, peers) in [(0, vec![]), (1, vec![addresses[0]])] {
        let add = AddTorrent {
            metainfo: torrent.clone(),
            peers,
            ..AddTorrent::default()
        };
        inbox.push_back((host, command(Command::AddTorrent(add))));
    }
    while !hosts.iter().all(|host| host.engine.is_down()) {
        let (host, event) = inbox.pop_front().unwrap_or_else(|| {
            let deadline = |host: usize| Some((hosts[host].wake.deadline(now)?, host));
            let first = [0, 1].into_iter().filter_map(deadline).min();
            let (at, host) = first.expect("somebody has something to do");
            now = at;
            (host, Event::Tick)
        });
        let Host {
            engine, recorder, ..
        } = &mut hosts[host];
        hosts[host].wake = recorder.handle(engine, now, event, &mut actions);
        let other = 1 - host;
        for action in actions.drain() {
            match action {
                Action::Connect { conn, .. } => {
                    hosts[host].ends.insert(conn, End::default());
                    let (ticket, from) = (Ticket(callers.len() as u64), addresses[host]);
                    callers.push(conn);
                    inbox.push_back((other, Event::Incoming { ticket, from }));
                }
                Action::Accept { ticket, conn } => {
                    let caller = callers[ticket.0 as usize];
                    hosts[host].ends.entry(conn).or_default().peer = Some(caller);
                    hosts[other].ends.entry(caller).or_default().peer = Some(conn);
                    inbox.push_back((other, Event::Connected { conn: caller }));
                }
                Action::Send { conn, data } => {
                    let len = data.len() as u64;
                    inbox.push_back((host, Event::Sent { conn, len }));
                    if let Some(peer) = hosts[host].ends.get(&conn).and_then(|end| end.peer)
                        && let Some(end) = hosts[other].ends.get_mut(&peer)
                    {
                        end.arrived.extend_from_slice(&data);
                        deliver(end, cut, |data| {
                            inbox.push_back((other, Event::Received { conn: peer, data }));
                        });
                    }
                }
                Action::Read { conn, credit } => {
                    if let Some(end) = hosts[host].ends.get_mut(&conn) {
                        end.credit += credit as usize;
                        deliver(end, cut, |data| {
                            inbox.push_back((host, Event::Received { conn, data }));
                        });
                    }
                }
                Action::Close { conn } => {
                    if let Some(end) = hosts[host].ends.remove(&conn) {
                        let reason = CloseReason::Local;
                        inbox.push_back((host, Event::Closed { conn, reason }));
                        if let Some(conn) = end.peer
                            && hosts[other].ends.remove(&conn).is_some()
                        {
                            let reason = CloseReason::Remote;
                            inbox.push_back((other, Event::Closed { conn, reason }));
                        }
                    }
                }
                Action::Disk { op, job, .. } => {
                    let result = OpResult::Disk(Ok(hosts[host].disk.perform(job)));
                    inbox.push_back((host, Event::Done { op, result }));
                }
                Action::Notify(Notice::Completed { .. }) if host == 1 => {
                    inbox.extend([0, 1].map(|host| (host, command(Command::Shutdown))));
                }
                Action::Reply { result, .. } => assert!(result.is_ok()),
                Action::Notify(_) => {}
                Action::Refuse { .. }
                | Action::Resolve { .. }
                | Action::Http { .. }
                | Action::Cancel { .. }
                | Action::Datagram(_) => unreachable!("nobody is a stranger here"),
            }
        }
    }
    assert!(hosts[1].disk.data == content);
    hosts.map(|host| {
        assert_eq!(host.recorder.payload(), content.len() as u64);
        host.recorder.finish().expect("memory")
    })
}

fn deliver(end: &mut End, cut: usize, mut each: impl FnMut(Bytes)) {
    let mut open = end.credit.min(end.arrived.len());
    end.credit -= open;
    while open > 0 {
        let len = open.min(cut);
        open -= len;
        each(end.arrived.split_to(len).freeze());
    }
}

fn replay(file: &[u8]) -> Result<(u64, Ending), ReplayError> {
    let mut replayer = Replayer::new(Recording::open(file)?);
    let ending = replayer.run()?;
    replayer.engine().check();
    Ok((replayer.totals().events, ending))
}

fn divergence(result: Result<(u64, Ending), ReplayError>) -> Box<Divergence> {
    match result {
        Err(ReplayError::Diverged(divergence)) => divergence,
        other => panic!("no divergence: {other:?}"),
    }
}

/// A recording of the same events that says of another beginning.
fn forged(file: &[u8], start: &Start) -> Vec<u8> {
    let mut recording = Recording::open(file).expect("a recording");
    let mut engine = recording.start().engine();
    let mut recorder = Recorder::new(Vec::new(), start).expect("memory");
    while let Some(record) = recording.next_record().expect("a record") {
        let mut actions = Actions::new();
        let _ = recorder.handle(&mut engine, record.at, record.event, &mut actions);
    }
    recorder.finish().expect("memory")
}

#[test]
fn both_ends_of_a_download_are_replayed_however_the_stream_is_cut() {
    for cut in [usize::MAX, 1 << 14, 1_000, 17] {
        for file in recordings(300_000, cut) {
            let (events, ending) = replay(&file).expect("the same again");
            assert!(events > 20, "{events}");
            let Ending::Complete(totals) = ending else {
                panic!("not complete");
            };
            assert_eq!(totals.events, events);
        }
    }
}

#[test]
fn payload_costs_next_to_nothing() {
    const LEN: usize = 16 << 20;
    for file in recordings(LEN, 64 << 10) {
        assert!(file.len() < LEN / 400, "{} bytes", file.len());
        replay(&file).expect("the same again");
    }
}

#[test]
fn another_seed_or_configuration_is_noticed_at_the_event_where_it_first_shows() {
    let [_, file] = recordings(200_000, 1 << 14);
    let mut other = start(1);
    other.seed = Seed([9; 32]);
    // The peer-id is the first that hangs on the seed: in the handshake.
    let by_seed = divergence(replay(&forged(&file, &other)));
    let sends = |divergence: &Divergence| {
        let brief = divergence.replayed();
        brief
            .iter()
            .any(|action| action.to_string().starts_with("send"))
    };
    assert!(sends(&by_seed), "{by_seed:?}");
    assert_eq!(by_seed.recorded.actions, by_seed.replayed());
    // Who may have no connections does not dial.
    let mut other = start(1);
    other.config.max_connections = 0;
    let by_config = divergence(replay(&forged(&file, &other)));
    assert!(by_config.number < by_seed.number);
    let dials = |actions: &[ActionSummary]| {
        let is_dial = |action: &ActionSummary| action.kind == ActionKind::Connect;
        actions.iter().any(is_dial)
    };
    assert!(dials(&by_config.recorded.actions) && !dials(&by_config.replayed()));
}

#[test]
fn a_recording_that_is_cut_off_is_replayed_as_far_as_it_goes() {
    let [_, file] = recordings(150_000, 1 << 14);
    let (whole, _) = replay(&file).expect("the same again");
    let mut most = 0;
    for len in 1..file.len() {
        match replay(&file[..len]) {
            Ok((events, Ending::Cut)) => {
                assert!(events >= most && events <= whole);
                most = events;
            }
            Ok((_, Ending::Complete(_))) => panic!("complete at {len} of {}", file.len()),
            Err(ReplayError::Read(ReadError::NoStart)) => assert!(len < 600, "{len}"),
            Err(error) => panic!("{len}: {error}"),
        }
    }
    assert_eq!(most, whole);
}

#[test]
fn what_follows_the_end_is_no_part_of_it() {
    let [mut file, _] = recordings(70_000, 1 << 14);
    file.push(0);
    let error = replay(&file).expect_err("something follows");
    let damage = Damage::Trailing;
    assert!(
        matches!(&error, ReplayError::Read(ReadError::Damaged { damage: found, .. }) if *found == damage),
        "{error}"
    );
}

#[test]
fn the_engine_can_be_looked_at_between_two_steps() {
    let [_, file] = recordings(150_000, 1 << 14);
    let mut replayer = Replayer::new(Recording::open(&file[..]).expect("a recording"));
    let mut verified = Vec::new();
    while replayer.step().expect("the same again").is_some() {
        replayer.engine().check();
        verified.push(replayer.engine().stats().pieces_verified);
    }
    assert!(verified.is_sorted());
    assert_eq!(verified.last(), Some(&3));
    let middle = verified
        .iter()
        .position(|count| *count == 2)
        .expect("each in turn") as u64;
    let mut replayer = Replayer::new(Recording::open(&file[..]).expect("a recording"));
    replayer.run_to(middle).expect("the same again");
    assert_eq!(replayer.engine().stats().pieces_verified, 1);
    assert_eq!(replayer.engine().connection_count(), 1);
}

#[test]
fn a_trace_names_the_messages_and_shows_no_payload() {
    let [_, file] = recordings(150_000, 1 << 14);
    let mut replayer = Replayer::new(Recording::open(&file[..]).expect("a recording"));
    let mut narrator = Narrator::new();
    let mut story = String::new();
    while let Some(step) = replayer.step().expect("the same again") {
        let mut lines = vec![narrator.event(&step.event)];
        lines.extend(step.actions.iter().map(|action| narrator.action(action)));
        for line in lines {
            assert!(!line.contains(['\n', '\r']) && line.len() < 400, "{line}");
            story.push_str(&line);
            story.push('\n');
        }
    }
    for words in [
        "add content (",
        "connect conn#0.1 to 10.0.0.1:6881",
        "handshake of ",
        "request of piece ",
        "block of piece 1",
        "store piece 2",
        "Completed",
        "Shutdown",
    ] {
        assert!(story.contains(words), "{words} in\n{story}");
    }
}

quickcheck! {
    fn a_changed_byte_is_an_error_and_no_danger(at: usize, by: u8) -> bool {
        thread_local! {
            static FILE: Vec<u8> = recordings(100_000, 1 << 14)[1].clone();
        }
        let mut file = FILE.with(Clone::clone);
        let at = at % file.len();
        file[at] ^= by.max(1);
        matches!(replay(&file), Err(ReplayError::Read(_)))
    }
}
