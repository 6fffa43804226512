//! Reading a recording.

use std::fmt;
use std::io::Read;

use anabranch_core::command::{AddTorrent, Command};
use anabranch_core::datagram::Inbound;
use anabranch_core::event::{DiskDone, OpResult};
use anabranch_core::id::{OpId, RequestId, Ticket};
use anabranch_core::{Event, Instant, UnixTime};
use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;

use crate::chunk::{ChunkReader, Kind};
use crate::encode::{MAX_RECEIVED_LEN, Start, Totals, tag};
use crate::error::{Damage, ReadError};
use crate::number;
use crate::outcome::ActionSummary;

/// The actions of one event that a recording keeps in brief; further ones count for the hash alone.
pub const MAX_SUMMARIES: usize = 1 << 16;

/// A recording that is read from start to end.
///
/// Takes nothing on trust: a file that is damaged, or made to do damage, is an error. Memory is
/// bounded by [`MAX_CHUNK_LEN`](crate::MAX_CHUNK_LEN), some three times over, and by the torrents that
/// the recording holds.
pub struct Recording<R> {
    chunks: ChunkReader<R>,
    start: Start,
    program: String,
    /// The chunk at hand, and how much of it has been read.
    chunk: Vec<u8>,
    at: usize,
    /// Where the chunk at hand is in the file.
    offset: u64,
    last: Instant,
    events: u64,
    actions: u64,
    torrents: Vec<Bytes>,
    zeros: Bytes,
    ending: Option<Ending>,
    /// The last record has no outcome: none can follow.
    is_last: bool,
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In good order, and this is what all comes to.
    Complete(Totals),
    /// In the middle: the program was killed, the disk was full, or the run goes on still. What is
    /// there is as good as if it were complete.
    Cut,
}

/// An event and what came of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which event, counted from 1.
    pub number: u64,
    /// When the engine was told.
    pub at: Instant,
    /// What it was told; payload is zeros.
    pub event: Event,
    /// What it then did. None for the last record of a run that ended in the middle of a call.
    pub outcome: Option<Outcome>,
}

/// What came of an event, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The lower half of the hash of all actions so far.
    pub hash: u32,
    /// How many actions.
    pub count: u64,
    /// The first [`MAX_SUMMARIES`] of them, in brief.
    pub actions: Vec<ActionSummary>,
}

impl<R> fmt::Debug for Recording<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("program", &self.program)
            .field("events", &self.events)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Recording<R> {
    /// Reads how the engine was made. A reader that reads from a file should be buffered.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn open(from: R) -> Result<Self, ReadError> {
        let mut chunks = ChunkReader::new(from)?;
        let offset = chunks.offset();
        let (start, program) = match chunks.next()? {
            Some((Kind::Start, body)) => Start::decode(&body)?,
            Some((Kind::Records | Kind::End, _)) => {
                let damage = Damage::Order;
                return Err(ReadError::Damaged { offset, damage });
            }
            None => return Err(ReadError::NoStart),
        };
        Ok(Self {
            chunks,
            last: start.now,
            start,
            program,
            chunk: Vec::new(),
            at: 0,
            offset,
            events: 0,
            actions: 0,
            torrents: Vec::new(),
            zeros: Bytes::new(),
            ending: None,
            is_last: false,
        })
    }

    /// How the engine was made.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The program that recorded it, with its version.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// How it ends, once all records have been read.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Records and actions read so far. The hash is not known to a reader, and 0.
    pub fn so_far(&self) -> Totals {
        Totals {
            events: self.events,
            actions: self.actions,
            hash: 0,
        }
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; there is nothing to be read after one.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        while self.at == self.chunk.len() {
            if self.ending.is_some() || !self.next_chunk()? {
                return Ok(None);
            }
        }
        let mut from = &self.chunk[self.at..];
        let record = decode(&mut from, self.last, &mut self.torrents, &mut self.zeros);
        let (at, event) = record.map_err(|what| self.unknown(what))?;
        let outcome = match from {
            [] => {
                self.is_last = true;
                None
            }
            _ => Some(decode_outcome(&mut from).ok_or_else(|| self.unknown("its outcome"))?),
        };
        self.at = self.chunk.len() - from.len();
        self.last = at;
        self.events += 1;
        self.actions += outcome.as_ref().map_or(0, |outcome| outcome.count);
        Ok(Some(Record {
            number: self.events,
            at,
            event,
            outcome,
        }))
    }

    /// Whether there is one more.
    fn next_chunk(&mut self) -> Result<bool, ReadError> {
        self.offset = self.chunks.offset();
        let Some((kind, body)) = self.chunks.next()? else {
            self.ending = Some(Ending::Cut);
            return Ok(false);
        };
        match kind {
            Kind::Records if !self.is_last => {
                self.chunk = body;
                self.at = 0;
                Ok(true)
            }
            Kind::End if !self.is_last => {
                let totals = decode_totals(&body);
                let fits = |totals: &Totals| {
                    (totals.events, totals.actions) == (self.events, self.actions)
                };
                let totals = totals.filter(fits);
                let totals = totals.ok_or_else(|| self.damaged(Damage::Totals))?;
                self.offset = self.chunks.offset();
                if !self.chunks.is_at_end()? {
                    return Err(self.damaged(Damage::Trailing));
                }
                self.ending = Some(Ending::Complete(totals));
                Ok(false)
            }
            Kind::Start | Kind::Records | Kind::End => Err(self.damaged(Damage::Order)),
        }
    }

    fn damaged(&self, damage: Damage) -> ReadError {
        let offset = self.offset;
        ReadError::Damaged { offset, damage }
    }

    fn unknown(&self, what: impl Into<String>) -> ReadError {
        ReadError::Unknown {
            record: self.events + 1,
            what: what.into(),
            program: self.program.clone(),
        }
    }
}

fn decode_totals(mut from: &[u8]) -> Option<Totals> {
    let (events, actions) = (number::take(&mut from)?, number::take(&mut from)?);
    let hash = u64::from_le_bytes(from.try_into().ok()?);
    Some(Totals {
        events,
        actions,
        hash,
    })
}

/// Takes an event off, and its time; an error names what is not understood.
fn decode(
    from: &mut &[u8],
    last: Instant,
    torrents: &mut Vec<Bytes>,
    zeros: &mut Bytes,
) -> Result<(Instant, Event), String> {
    let short = || "an event".to_owned();
    let (&tag, rest) = from.split_first().ok_or_else(short)?;
    *from = rest;
    let delta = number::take_signed(from).ok_or_else(short)?;
    let at = Instant::from_nanos(last.as_nanos().wrapping_add(delta as u64));
    if tag == tag::OTHER {
        return Ok((at, blob(from)?));
    }
    if tag == tag::ADD_TORRENT {
        return Ok((at, torrent(from, torrents)?));
    }
    if tag == tag::DONE {
        let op = number::take_id(from).ok_or_else(short)?;
        let result = blob(from)?;
        return Ok((at, Event::Done { op, result }));
    }
    let event = simple(tag, from, zeros)?.ok_or_else(|| format!("an event of kind {tag}"))?;
    Ok((at, event))
}

/// An event without anything nested; none if it is none of these, or is cut short.
fn simple(tag: u8, from: &mut &[u8], zeros: &mut Bytes) -> Result<Option<Event>, String> {
    let done = |op: OpId, done| Event::Done {
        op,
        result: OpResult::Disk(Ok(done)),
    };
    let mut decode = || {
        Some(match tag {
            tag::TICK => Ok(Event::Tick),
            tag::WALL => Ok(Event::Wall(UnixTime(number::take(from)?))),
            tag::INCOMING => {
                let ticket = Ticket(number::take(from)?);
                blob(from).map(|from| Event::Incoming { ticket, from })
            }
            tag::CONNECTED => Ok(Event::Connected {
                conn: number::take_id(from)?,
            }),
            tag::RECEIVED => Ok(Event::Received {
                conn: number::take_id(from)?,
                data: stream(from, zeros)?,
            }),
            tag::SENT => Ok(Event::Sent {
                conn: number::take_id(from)?,
                len: number::take(from)?,
            }),
            tag::CLOSED => {
                let conn = number::take_id(from)?;
                blob(from).map(|reason| Event::Closed { conn, reason })
            }
            tag::DATAGRAM => match blob(from) {
                Ok((sender, segment, socket, at)) => {
                    let len = number::take(from)?;
                    let data = Bytes::copy_from_slice(number::take_bytes(from, len)?);
                    let mut inbound = Inbound::new(sender, data).in_segments(segment);
                    inbound.socket = socket;
                    inbound.at = at;
                    Ok(Event::Datagram(inbound))
                }
                Err(error) => Err(error),
            },
            tag::FLUSHED => Ok(Event::Flushed {
                len: number::take(from)?,
            }),
            tag::DONE_READ => {
                let op = number::take_id(from)?;
                let data = zeros_of(zeros, number::take(from)?)?;
                Ok(done(op, DiskDone::Read { data }))
            }
            tag::DONE_STORED => {
                let op = number::take_id(from)?;
                Ok(done(op, DiskDone::Stored { blocks: None }))
            }
            tag::DONE_WRITTEN => Ok(done(number::take_id(from)?, DiskDone::Written)),
            tag::DONE_VERIFIED => {
                let op = number::take_id(from)?;
                let matches = match number::take_bytes(from, 1)? {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                };
                Ok(done(op, DiskDone::Verified { matches }))
            }
            _ => return None,
        })
    };
    decode().transpose()
}

fn torrent(from: &mut &[u8], torrents: &mut Vec<Bytes>) -> Result<Event, String> {
    let mut index = || {
        let request = number::take(from)?;
        let index = usize::try_from(number::take(from)?).ok()?;
        if index == torrents.len() {
            let len = number::take(from)?;
            torrents.push(Bytes::copy_from_slice(number::take_bytes(from, len)?));
        }
        Some((request, torrents.get(index)?.clone()))
    };
    let (request, metainfo) = index().ok_or("a torrent")?;
    let rest: AddTorrent = blob(from)?;
    Ok(Event::Command {
        request: RequestId(request),
        command: Box::new(Command::AddTorrent(AddTorrent { metainfo, ..rest })),
    })
}

/// What was received, with zeros for the payload.
pub(crate) fn stream(from: &mut &[u8], zeros: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(number::take(from)?).ok()?;
    if len > MAX_RECEIVED_LEN {
        return None;
    }
    if len == 0 {
        return Some(Bytes::new());
    }
    let first = number::take(from)?;
    if first == 0 {
        // Nothing but payload, mostly: no memory is taken for it.
        let payload = usize::try_from(number::take(from)?).ok()?;
        if payload == len {
            return zeros_of(zeros, payload as u64);
        }
        if payload == 0 || payload > len {
            return None;
        }
        let mut data = BytesMut::zeroed(payload);
        let kept = number::take(from)?;
        return fill(from, &mut data, kept, len).map(|()| data.freeze());
    }
    let mut data = BytesMut::new();
    fill(from, &mut data, first, len).map(|()| data.freeze())
}

/// Reads runs, the first of which is kept and so long, until there are `len` bytes.
fn fill(from: &mut &[u8], data: &mut BytesMut, mut kept: u64, len: usize) -> Option<()> {
    loop {
        data.extend_from_slice(number::take_bytes(from, kept)?);
        if data.len() >= len {
            return (data.len() == len).then_some(());
        }
        let payload = usize::try_from(number::take(from)?).ok()?;
        let end = data.len().checked_add(payload)?;
        if end > len || kept == 0 && payload == 0 {
            return None;
        }
        data.resize(end, 0);
        if end == len {
            return Some(());
        }
        kept = number::take(from)?;
    }
}

/// So many zeros, shared by all that need some.
fn zeros_of(zeros: &mut Bytes, len: u64) -> Option<Bytes> {
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MAX_RECEIVED_LEN)?;
    if zeros.len() < len {
        *zeros = BytesMut::zeroed(len.next_power_of_two()).freeze();
    }
    Some(zeros.slice(..len))
}

fn decode_outcome(from: &mut &[u8]) -> Option<Outcome> {
    let count = number::take(from)?;
    let mut actions = Vec::new();
    for _ in 0..count.min(MAX_SUMMARIES as u64) {
        actions.push(ActionSummary::decode(from)?);
    }
    let hash = u32::from_le_bytes(number::take_bytes(from, 4)?.try_into().ok()?);
    Some(Outcome {
        hash,
        count,
        actions,
    })
}

fn blob<T: DeserializeOwned>(from: &mut &[u8]) -> Result<T, String> {
    let mut take = || {
        let len = number::take(from)?;
        number::take_bytes(from, len)
    };
    let bytes = take().ok_or("an event that is cut short")?;
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}
