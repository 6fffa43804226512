//! Events as bytes, without payload.

use std::collections::BTreeMap;

use anabranch_core::command::{AddTorrent, Command};
use anabranch_core::event::{DiskDone, OpResult};
use anabranch_core::id::{ConnId, RequestId, Ticket};
use anabranch_core::{Action, Actions, Config, Engine, Event, Instant, Seed, UnixTime, Wake};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::chunk::{CHUNK_LEN, MAX_CHUNK_LEN};
use crate::error::{ReadError, RecordError};
use crate::number;
use crate::outcome::{ActionSummary, Outcomes};
use crate::stream::{Follower, Part};

/// The most bytes that one event may bring of a stream or of a disk. An engine allows a quarter of
/// that at a time.
pub const MAX_RECEIVED_LEN: usize = 4 << 20;

/// What a record begins with.
pub(crate) mod tag {
    pub(crate) const OTHER: u8 = 0;
    pub(crate) const TICK: u8 = 1;
    pub(crate) const WALL: u8 = 2;
    pub(crate) const ADD_TORRENT: u8 = 3;
    pub(crate) const INCOMING: u8 = 4;
    pub(crate) const CONNECTED: u8 = 5;
    pub(crate) const RECEIVED: u8 = 6;
    pub(crate) const SENT: u8 = 7;
    pub(crate) const CLOSED: u8 = 8;
    pub(crate) const DATAGRAM: u8 = 9;
    pub(crate) const DONE: u8 = 10;
    pub(crate) const DONE_READ: u8 = 11;
    pub(crate) const DONE_STORED: u8 = 12;
    pub(crate) const DONE_WRITTEN: u8 = 13;
    pub(crate) const DONE_VERIFIED: u8 = 14;
    pub(crate) const FLUSHED: u8 = 15;
}

/// How an engine is made.
///
/// The seed is a secret of the run: who has it can foretell the engine's transaction ids. A recording
/// holds it, and the addresses, torrents and trackers' answers of the run besides; keep it as private
/// as those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its configuration.
    pub config: Config,
    /// Its seed.
    pub seed: Seed,
    /// The time on its clock when it was made.
    pub now: Instant,
    /// The time of day when it was made.
    pub wall: UnixTime,
}

/// [`Start`] as it is written: by name, so that fields may come and go.
#[derive(Serialize, Deserialize)]
struct Beginning {
    program: String,
    config: Config,
    seed: Seed,
    now: Instant,
    wall: UnixTime,
}

impl Start {
    /// Makes the engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::new(self.config.clone(), self.seed, self.now, self.wall)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, RecordError> {
        rmp_serde::to_vec_named(&Beginning {
            program: concat!("anabranch ", env!("CARGO_PKG_VERSION")).to_owned(),
            config: self.config.clone(),
            seed: self.seed,
            now: self.now,
            wall: self.wall,
        })
        .map_err(|error| RecordError::Unfit(error.to_string()))
    }

    /// The engine's making, and the program that recorded it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, String), ReadError> {
        let beginning: Beginning =
            rmp_serde::from_slice(bytes).map_err(|error| ReadError::Unknown {
                record: 0,
                what: error.to_string(),
                program: "another version".to_owned(),
            })?;
        let start = Self {
            config: beginning.config,
            seed: beginning.seed,
            now: beginning.now,
            wall: beginning.wall,
        };
        Ok((start, beginning.program))
    }
}

/// What a recording comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Actions.
    pub actions: u64,
    /// The hash of all actions.
    pub hash: u64,
}

/// Turns a run into records, in memory. Does no I/O.
///
/// What has gathered is to be [taken](Self::take) now and then and given to a
/// [`ChunkWriter`](crate::ChunkWriter), here or on another thread.
#[derive(Debug)]
pub struct Encoder {
    records: Vec<u8>,
    last: Instant,
    /// What comes from each connection, while it stands.
    received: BTreeMap<ConnId, Follower>,
    outcomes: Outcomes,
    /// Torrents that are in the recording, by their digest.
    torrents: BTreeMap<[u8; 20], u64>,
    events: u64,
    actions: u64,
    payload: u64,
}

impl Encoder {
    /// For an engine that was just made.
    #[must_use]
    pub fn new(start: &Start) -> Self {
        Self {
            records: Vec::new(),
            last: start.now,
            received: BTreeMap::new(),
            outcomes: Outcomes::default(),
            torrents: BTreeMap::new(),
            events: 0,
            actions: 0,
            payload: 0,
        }
    }

    /// Hands an event to the engine, and records both the event and what comes of it.
    ///
    /// The engine gets the event whatever happens. If it panics, the event is the last of what can be
    /// taken.
    ///
    /// # Errors
    ///
    /// [`RecordError`] beside the engine's answer: the recording cannot go on, and nothing more should
    /// be given to it.
    pub fn handle(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        event: Event,
        actions: &mut Actions,
    ) -> (Wake, Result<(), RecordError>) {
        let begun = self.event(now, &event);
        let closed = closed(&event);
        let before = actions.len();
        let wake = engine.handle(now, event, actions);
        if begun.is_ok() {
            let done = actions.as_slice().get(before..).unwrap_or_default();
            self.outcome(done, wake, closed);
        }
        (wake, begun)
    }

    /// The records since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.records)
    }

    /// Moves the records since the last time to the end of `to`.
    pub fn take_into(&mut self, to: &mut Vec<u8>) {
        to.append(&mut self.records);
        // One large torrent must not cost its size for ever.
        self.records.shrink_to(2 * CHUNK_LEN);
    }

    /// How many bytes of records wait to be taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.records.len()
    }

    /// What has been recorded.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            events: self.events,
            actions: self.actions,
            hash: self.outcomes.hash(),
        }
    }

    /// Bytes of payload that went by, and were left out.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    pub(crate) fn event(&mut self, now: Instant, event: &Event) -> Result<(), RecordError> {
        let begin = self.records.len();
        let result = self.put_event(now, event).and_then(|()| {
            let len = self.records.len() - begin;
            // So that what comes of it fits as well.
            if len > MAX_CHUNK_LEN / 2 + MAX_CHUNK_LEN / 4 {
                return Err(RecordError::TooLarge { len: len as u64 });
            }
            Ok(())
        });
        if result.is_err() {
            self.records.truncate(begin);
            return result;
        }
        self.last = now;
        self.events += 1;
        Ok(())
    }

    fn put_event(&mut self, now: Instant, event: &Event) -> Result<(), RecordError> {
        let delta = now.as_nanos().wrapping_sub(self.last.as_nanos()) as i64;
        let head = |out: &mut Vec<u8>, tag| {
            out.push(tag);
            number::put_signed(out, delta);
        };
        let out = &mut self.records;
        match event {
            Event::Tick => head(out, tag::TICK),
            Event::Wall(wall) => {
                head(out, tag::WALL);
                number::put(out, wall.0);
            }
            Event::Command { request, command } => {
                if let Command::AddTorrent(add) = &**command {
                    head(out, tag::ADD_TORRENT);
                    return self.put_torrent(*request, add);
                }
                head(out, tag::OTHER);
                blob(out, event)?;
            }
            Event::Incoming { ticket, from } => {
                let Ticket(ticket) = ticket;
                head(out, tag::INCOMING);
                number::put(out, *ticket);
                blob(out, from)?;
            }
            Event::Connected { conn } => {
                head(out, tag::CONNECTED);
                number::put_id(out, conn.to_bits());
            }
            Event::Received { conn, data } => {
                too_large(data)?;
                head(out, tag::RECEIVED);
                number::put_id(out, conn.to_bits());
                let unknown = &mut Follower::unknown();
                let follower = self.received.get_mut(conn).unwrap_or(unknown);
                self.payload += put_stream(out, follower, data);
            }
            Event::Sent { conn, len } => {
                head(out, tag::SENT);
                number::put_id(out, conn.to_bits());
                number::put(out, *len);
            }
            Event::Closed { conn, reason } => {
                self.received.remove(conn);
                head(out, tag::CLOSED);
                number::put_id(out, conn.to_bits());
                blob(out, reason)?;
            }
            Event::Datagram(inbound) => {
                let data = &inbound.data;
                head(out, tag::DATAGRAM);
                blob(
                    out,
                    &(inbound.from, inbound.segment, inbound.socket, inbound.at),
                )?;
                number::put(out, data.len() as u64);
                out.extend_from_slice(data);
            }
            Event::Flushed { len } => {
                head(out, tag::FLUSHED);
                number::put(out, *len);
            }
            // Rare enough to be written as it is.
            Event::Multicast { .. } | Event::Undelivered { .. } => {
                head(out, tag::OTHER);
                blob(out, event)?;
            }
            Event::Done { op, result } => {
                let begin = |out: &mut Vec<u8>, tag| {
                    head(out, tag);
                    number::put_id(out, op.to_bits());
                };
                if let OpResult::Disk(Ok(done)) = result {
                    if let DiskDone::Read { data } = done {
                        too_large(data)?;
                        self.payload += data.len() as u64;
                        begin(out, tag::DONE_READ);
                        number::put(out, data.len() as u64);
                        return Ok(());
                    }
                    if let DiskDone::Stored { blocks: None } = done {
                        begin(out, tag::DONE_STORED);
                        return Ok(());
                    }
                    if let DiskDone::Written = done {
                        begin(out, tag::DONE_WRITTEN);
                        return Ok(());
                    }
                    if let DiskDone::Verified { matches } = done {
                        begin(out, tag::DONE_VERIFIED);
                        out.push((*matches).into());
                        return Ok(());
                    }
                }
                begin(out, tag::DONE);
                blob(out, result)?;
            }
        }
        Ok(())
    }

    /// A torrent's own bytes are written once, however often it is added.
    fn put_torrent(&mut self, request: RequestId, add: &AddTorrent) -> Result<(), RecordError> {
        let out = &mut self.records;
        number::put(out, request.0);
        let next = self.torrents.len() as u64;
        let digest = Sha1::digest(&add.metainfo).into();
        let index = *self.torrents.entry(digest).or_insert(next);
        number::put(out, index);
        if index == next {
            number::put(out, add.metainfo.len() as u64);
            out.extend_from_slice(&add.metainfo);
        }
        let rest = AddTorrent {
            metainfo: Bytes::new(),
            ..add.clone()
        };
        blob(out, &rest)
    }

    pub(crate) fn outcome(&mut self, actions: &[Action], wake: Wake, closed: Option<ConnId>) {
        number::put(&mut self.records, actions.len() as u64);
        for action in actions.iter().take(crate::MAX_SUMMARIES) {
            ActionSummary::of(action).encode(&mut self.records);
            if let Action::Connect { conn, .. } | Action::Accept { conn, .. } = action {
                self.received.insert(*conn, Follower::new());
            }
        }
        self.outcomes.add(actions, wake);
        if let Some(conn) = closed {
            self.outcomes.close(conn);
        }
        // Half of the hash pins a divergence; what it missed, the next event's would show.
        let short = self.outcomes.hash() as u32;
        self.records.extend(short.to_le_bytes());
        self.actions += actions.len() as u64;
    }
}

fn too_large(data: &Bytes) -> Result<(), RecordError> {
    let len = data.len() as u64;
    if data.len() > MAX_RECEIVED_LEN {
        return Err(RecordError::TooLarge { len });
    }
    Ok(())
}

/// Writes what was received but for the payload: how many bytes are kept and those, how many are not,
/// and so on in turn, until all are accounted for. Says how many are not kept.
fn put_stream(out: &mut Vec<u8>, follower: &mut Follower, data: &[u8]) -> u64 {
    number::put(out, data.len() as u64);
    let mut payload = 0;
    let mut in_payload = true;
    follower.split(data, |part| match part {
        Part::Kept(bytes) => {
            if !in_payload {
                number::put(out, 0);
            }
            in_payload = false;
            number::put(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Part::Payload(len) => {
            if in_payload {
                number::put(out, 0);
            }
            in_payload = true;
            number::put(out, len as u64);
            payload += len as u64;
        }
    });
    payload
}

/// Writes a value by its names, with its length before it.
fn blob(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), RecordError> {
    let bytes = rmp_serde::to_vec_named(value).map_err(|e| RecordError::Unfit(e.to_string()))?;
    number::put(out, bytes.len() as u64);
    out.extend(bytes);
    Ok(())
}

/// The connection that is no more after an event.
pub(crate) fn closed(event: &Event) -> Option<ConnId> {
    match event {
        Event::Closed { conn, .. } => Some(*conn),
        Event::Tick
        | Event::Wall(_)
        | Event::Command { .. }
        | Event::Incoming { .. }
        | Event::Connected { .. }
        | Event::Received { .. }
        | Event::Sent { .. }
        | Event::Datagram(_)
        | Event::Flushed { .. }
        | Event::Multicast { .. }
        | Event::Undelivered { .. }
        | Event::Done { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use anabranch_core::datagram::Inbound;
    use anabranch_core::event::{
        CloseReason, DiskError, DiskErrorKind, HttpReply, Opened, Undelivered,
    };
    use anabranch_core::id::SocketId;
    use anabranch_core::id::TorrentId;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;
    use crate::chunk::ChunkWriter;
    use crate::testing::{self, conn};
    use crate::{Ending, Recording};

    /// An event of any kind, on a connection whose beginning was not seen.
    #[derive(Clone, Debug)]
    struct Any(Event);

    impl Arbitrary for Any {
        fn arbitrary(g: &mut Gen) -> Self {
            let bytes = |g: &mut Gen| Bytes::from(Vec::<u8>::arbitrary(g));
            let address = SocketAddr::new(Arbitrary::arbitrary(g), u16::arbitrary(g));
            let request = RequestId(u64::arbitrary(g));
            let op = number::take_id(&mut [u8::arbitrary(g) & 0x7f, 1].as_slice()).unwrap();
            let id: TorrentId = number::take_id(&mut [3, 4].as_slice()).unwrap();
            let conn = conn(u8::arbitrary(g) & 0x7f);
            let command = |command| Event::Command {
                request,
                command: Box::new(command),
            };
            let disk = |done| Event::Done {
                op,
                result: OpResult::Disk(Ok(done)),
            };
            Self(match u8::arbitrary(g) % 23 {
                0 => Event::Tick,
                1 => Event::Wall(UnixTime(u64::arbitrary(g))),
                2 => command(Command::AddTorrent(AddTorrent {
                    metainfo: Bytes::from(vec![u8::arbitrary(g) % 3; 50]),
                    peers: vec![address; usize::arbitrary(g) % 5],
                    paused: bool::arbitrary(g),
                    trackers: Some(vec![vec![String::arbitrary(g)]]),
                    ..AddTorrent::default()
                })),
                3 => command(Command::Pause { torrent: id }),
                4 => command(Command::AddPeerHost {
                    torrent: id,
                    host: String::arbitrary(g),
                    port: 7,
                }),
                5 => command(Command::Shutdown),
                6 => Event::Incoming {
                    ticket: Ticket(u64::arbitrary(g)),
                    from: address,
                },
                7 => Event::Connected { conn },
                8 | 9 => Event::Received {
                    conn,
                    data: bytes(g),
                },
                10 => Event::Sent {
                    conn,
                    len: u64::arbitrary(g),
                },
                11 => Event::Closed {
                    conn,
                    reason: CloseReason::TimedOut,
                },
                12 => Event::datagram(address, bytes(g)),
                23 => Event::Datagram(
                    Inbound::new(address, bytes(g))
                        .in_segments(u32::arbitrary(g))
                        .by(SocketId(u32::arbitrary(g)))
                        .at(Instant::from_nanos(u64::arbitrary(g))),
                ),
                24 => Event::Flushed {
                    len: u64::arbitrary(g),
                },
                22 => Event::Undelivered {
                    to: address,
                    reason: Undelivered::Refused,
                },
                13 => disk(DiskDone::Read {
                    data: Bytes::from(vec![0; usize::arbitrary(g) % 100_000]),
                }),
                14 => disk(DiskDone::Stored { blocks: None }),
                15 => disk(DiskDone::Stored {
                    blocks: Some(vec![[u8::arbitrary(g); 20]; 3]),
                }),
                16 => disk(DiskDone::Written),
                17 => disk(DiskDone::Verified {
                    matches: bool::arbitrary(g),
                }),
                18 => disk(DiskDone::Opened(Box::new(Opened {
                    uploaded: u64::arbitrary(g),
                    ..Opened::default()
                }))),
                19 => Event::Done {
                    op,
                    result: OpResult::Disk(Err(DiskError {
                        kind: DiskErrorKind::NoSpace,
                        file: String::arbitrary(g),
                        message: String::arbitrary(g),
                    })),
                },
                20 => Event::Done {
                    op,
                    result: OpResult::Http(Ok(HttpReply {
                        status: u16::arbitrary(g),
                        body: bytes(g),
                        retry_after: Option::arbitrary(g),
                    })),
                },
                _ => Event::Done {
                    op,
                    result: OpResult::Resolved(Ok(vec![address.ip()])),
                },
            })
        }
    }

    /// Records events as if an engine had done nothing with them.
    fn record(events: &[(u64, Event)], per_chunk: usize) -> Vec<u8> {
        let start = testing::start();
        let mut encoder = Encoder::new(&start);
        let mut writer = ChunkWriter::new(Vec::new(), &start).unwrap();
        for (index, (at, event)) in events.iter().enumerate() {
            encoder.event(Instant::from_nanos(*at), event).unwrap();
            encoder.outcome(&[], Wake::Idle, None);
            if index % per_chunk == 0 {
                writer.write(&encoder.take()).unwrap();
            }
        }
        writer.write(&encoder.take()).unwrap();
        writer.finish(&encoder.totals()).unwrap();
        writer.into_inner()
    }

    fn read(file: &[u8]) -> Result<(Vec<(u64, String)>, Ending), ReadError> {
        let mut recording = Recording::open(file)?;
        let mut events = Vec::new();
        while let Some(record) = recording.next_record()? {
            assert_eq!(record.number, events.len() as u64 + 1);
            events.push((record.at.as_nanos(), format!("{:?}", record.event)));
        }
        Ok((events, recording.ending().expect("an ending")))
    }

    quickcheck! {
        fn events_of_every_kind_come_back(events: Vec<(u64, Any)>, per_chunk: u8) -> bool {
            let events: Vec<(u64, Event)> = events.into_iter().map(|(at, Any(event))| (at, event)).collect();
            let shown: Vec<(u64, String)> = events.iter().map(|(at, event)| (*at, format!("{event:?}"))).collect();
            let file = record(&events, usize::from(per_chunk) + 1);
            let (read, ending) = read(&file).unwrap();
            read == shown && matches!(ending, Ending::Complete(totals) if totals.events == shown.len() as u64)
        }

        fn a_byte_that_is_changed_is_an_error(events: Vec<(u64, Any)>, at: usize, by: u8) -> bool {
            let events: Vec<(u64, Event)> = events.into_iter().map(|(at, Any(event))| (at, event)).collect();
            let mut file = record(&events, 4);
            let at = at % file.len();
            file[at] ^= by.max(1);
            read(&file).is_err()
        }

        fn records_that_nobody_wrote_are_an_error_at_worst(records: Vec<u8>) -> bool {
            let start = testing::start();
            let mut writer = ChunkWriter::new(Vec::new(), &start).unwrap();
            writer.write(&records).unwrap();
            writer.finish(&Totals::default()).unwrap();
            let file = writer.into_inner();
            read(&file).is_err() || records.is_empty()
        }

        fn a_stream_comes_back_with_zeros_for_payload(messages: Vec<(u8, Vec<u8>)>, cuts: Vec<usize>) -> bool {
            let mut stream = b"\x13BitTorrent protocol".to_vec();
            stream.resize(68, 1);
            let mut blank = stream.clone();
            for (id, body) in messages {
                let id = id % 9;
                let head = [&(body.len() as u32 + 1).to_be_bytes()[..], &[id]].concat();
                stream.extend(&head);
                stream.extend(&body);
                blank.extend(&head);
                let kept = if id == 7 { body.len().min(8) } else { body.len() };
                blank.extend(&body[..kept]);
                blank.resize(stream.len(), 0);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % stream.len()).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut follower = Follower::new();
            let mut records = Vec::new();
            for cut in cuts.windows(2) {
                put_stream(&mut records, &mut follower, &stream[cut[0]..cut[1]]);
            }
            let mut from = &records[..];
            let mut zeros = Bytes::new();
            let mut back = Vec::new();
            while !from.is_empty() {
                back.extend(crate::read::stream(&mut from, &mut zeros).unwrap());
            }
            back == blank
        }
    }

    #[test]
    fn what_is_larger_than_any_engine_allows_is_not_recorded() {
        let mut encoder = Encoder::new(&testing::start());
        let data = Bytes::from(vec![0; MAX_RECEIVED_LEN + 1]);
        let event = Event::Received {
            conn: conn(1),
            data,
        };
        let refused = encoder.event(Instant::ZERO, &event);
        assert!(matches!(refused, Err(RecordError::TooLarge { .. })));
        assert_eq!(encoder.pending(), 0);
    }

    #[test]
    fn a_torrent_is_written_once_however_often_it_is_added() {
        let add = |byte: u8| {
            let add = AddTorrent {
                metainfo: Bytes::from(
                    (0..10_000_u32)
                        .map(|i| (i * i) as u8 ^ byte)
                        .collect::<Vec<u8>>(),
                ),
                ..AddTorrent::default()
            };
            let command = Box::new(Command::AddTorrent(add));
            (
                0,
                Event::Command {
                    request: RequestId(1),
                    command,
                },
            )
        };
        let once = record(&[add(1), add(2)], 100).len();
        let often: Vec<(u64, Event)> = (0..20).map(|i| add(i % 2 + 1)).collect();
        let file = record(&often, 1);
        let each = (file.len() - once) / 18;
        assert!(each < 400, "{each}");
        assert_eq!(read(&file).unwrap().0.len(), 20);
    }
}
