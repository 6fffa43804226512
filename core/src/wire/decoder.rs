//! BEP 3: framing of the peer wire. Bytes cut anywhere go in, whole messages come out.

use core::mem;

use bytes::{Buf, Bytes, BytesMut};

use super::{BlockData, BlockRequest, Message, WireError, block::BlockBuilder, message::id};
use crate::limits::{MAX_EXTENDED_LEN, MAX_REQUEST_LEN};

/// The longest part of a message that is read before it is known what to do with the rest: prefix,
/// id and three integers.
const MAX_HEAD: usize = 17;

/// Bounds on what a peer may send. Sizes are of the payload, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest block in a `piece` message. Default 128 KiB. While a block arrives, no more is
    /// held than the buffers it was read into, or twice what has arrived where it was dribbled.
    pub max_block: u32,
    /// The longest bitfield. Default 256 KiB, two million pieces; a torrent that is known allows
    /// just its own.
    pub max_bitfield: u32,
    /// The longest payload of an extended message, and of a message of an unknown id. Default 1
    /// MiB. Unknown messages are skipped without being held.
    pub max_extended: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_block: MAX_REQUEST_LEN,
            max_bitfield: 256 << 10,
            max_extended: MAX_EXTENDED_LEN,
        }
    }
}

/// What the decoder hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Any message but a block.
    Message(Message),
    /// A block: a `piece` message.
    Block(Block),
    /// A message of an id that is not known here, already skipped. To be ignored.
    Unknown {
        /// The message's id.
        id: u8,
        /// Length of its payload, in bytes.
        len: u32,
    },
}

/// A block as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The piece's index.
    pub piece: u32,
    /// Offset of the block in its piece, in bytes.
    pub begin: u32,
    /// The payload, at most [`Limits::max_block`]. May be empty.
    pub data: BlockData,
}

/// A block of which the header has been read, and not yet all of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockProgress {
    /// Which block it will be.
    pub block: BlockRequest,
    /// Bytes of the payload so far, less than `block.len`.
    pub received: u32,
}

/// Cuts the stream of one connection, behind the handshake, into [`Frame`]s.
///
/// Payloads are handed out as slices of the buffers that were given, without a copy; only a short
/// message's head, and a bitfield or extended message that crosses reads, are copied. A handed-out
/// slice keeps its whole buffer alive.
///
/// ```
/// use anabranch_core::wire::{Decoder, Frame, Limits, Message};
/// use bytes::Bytes;
///
/// let mut decoder = Decoder::new(Limits::default());
/// let mut input = Bytes::from_static(&[0, 0, 0, 1, 1, 0, 0, 0, 5, 4, 0, 0]);
/// assert_eq!(decoder.decode(&mut input), Ok(Some(Frame::Message(Message::Unchoke))));
/// assert_eq!(decoder.decode(&mut input), Ok(None));
/// let mut input = Bytes::from_static(&[0, 7]);
/// assert_eq!(decoder.decode(&mut input), Ok(Some(Frame::Message(Message::Have(7)))));
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between messages, or in the first bytes of one.
    Head(Head),
    Block(BlockProgress, BlockBuilder),
    /// A payload that is needed whole; `collected` stays empty where one read has it all.
    Payload {
        kind: Payload,
        len: usize,
        collected: BytesMut,
    },
    Skip {
        id: u8,
        len: u32,
        left: u32,
    },
    Failed(WireError),
}

#[derive(Debug, Clone, Copy)]
enum Payload {
    Bitfield,
    Extended(u8),
}

impl Decoder {
    /// A decoder at the start of the first message.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head(Head::default()),
        }
    }

    /// Changes the longest bitfield that may come: a torrent has become known. One that has begun to
    /// come is not looked at again.
    pub fn set_max_bitfield(&mut self, max: u32) {
        self.limits.max_bitfield = max;
    }

    /// Takes the next frame off `input`. `None` says that all of `input` was taken and more is
    /// needed.
    ///
    /// # Errors
    ///
    /// The stream is not one of well-formed messages within the limits. There is no way to go on:
    /// every further call gives the same error.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Frame>, WireError> {
        let result = self.advance(input);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Changes the limits: a torrent's metadata may become known only later. A payload that is
    /// arriving already is not judged again.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The block that is arriving at the moment, if one is.
    #[must_use]
    pub fn block_in_progress(&self) -> Option<BlockProgress> {
        match &self.state {
            State::Block(progress, _) => Some(*progress),
            State::Head(_) | State::Payload { .. } | State::Skip { .. } | State::Failed(_) => None,
        }
    }

    fn advance(&mut self, input: &mut Bytes) -> Result<Option<Frame>, WireError> {
        loop {
            let frame = match &mut self.state {
                State::Head(head) => match head.read(input, &self.limits)? {
                    None => return Ok(None),
                    Some(Start::Whole(message)) => Frame::Message(message),
                    Some(Start::Rest(state)) => {
                        self.state = state;
                        continue;
                    }
                },
                State::Block(progress, builder) => {
                    let chunk = take(input, progress.block.len - progress.received);
                    if !chunk.is_empty() {
                        // At most what was missing, so both the cast and the sum fit.
                        progress.received += chunk.len() as u32;
                        builder.push(chunk);
                    }
                    if progress.received < progress.block.len {
                        return Ok(None);
                    }
                    Frame::Block(Block {
                        piece: progress.block.piece,
                        begin: progress.block.begin,
                        data: mem::replace(builder, BlockBuilder::new()).finish(),
                    })
                }
                State::Payload {
                    kind,
                    len,
                    collected,
                } => {
                    let payload = if collected.is_empty() && input.len() >= *len {
                        input.split_to(*len)
                    } else {
                        let missing = *len - collected.len();
                        collected.extend_from_slice(&input.split_to(missing.min(input.len())));
                        if collected.len() < *len {
                            return Ok(None);
                        }
                        mem::take(collected).freeze()
                    };
                    Frame::Message(match *kind {
                        Payload::Bitfield => Message::Bitfield(payload),
                        Payload::Extended(id) => Message::Extended { id, payload },
                    })
                }
                State::Skip { id, len, left } => {
                    // At most what is left, so the cast fits.
                    *left -= take(input, *left).len() as u32;
                    if *left > 0 {
                        return Ok(None);
                    }
                    Frame::Unknown { id: *id, len: *len }
                }
                State::Failed(error) => return Err(*error),
            };
            self.state = State::Head(Head::default());
            return Ok(Some(frame));
        }
    }
}

/// Takes at most `max` bytes.
fn take(input: &mut Bytes, max: u32) -> Bytes {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    input.split_to(max.min(input.len()))
}

/// The first bytes of a message: its prefix, id and fixed fields, gathered however they come.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; MAX_HEAD],
    have: usize,
}

enum Start {
    Whole(Message),
    /// There is a payload; this is how to go on.
    Rest(State),
}

/// How long the parts of a message are: `fixed` bytes of fields behind the id, then at most
/// `max_payload`.
struct Layout {
    fixed: u32,
    max_payload: u32,
}

impl Layout {
    fn of(id: u8, limits: &Limits) -> Self {
        let (fixed, max_payload) = match id {
            id::HAVE | id::SUGGEST | id::ALLOWED_FAST => (4, 0),
            id::REQUEST | id::CANCEL | id::REJECT => (12, 0),
            id::PORT => (2, 0),
            id::PIECE => (8, limits.max_block),
            id::BITFIELD => (0, limits.max_bitfield),
            id::EXTENDED => (1, limits.max_extended),
            id::CHOKE
            | id::UNCHOKE
            | id::INTERESTED
            | id::NOT_INTERESTED
            | id::HAVE_ALL
            | id::HAVE_NONE => (0, 0),
            _ => (0, limits.max_extended),
        };
        Self { fixed, max_payload }
    }

    /// The length of the payload in a message of `len` bytes, id included.
    fn payload(&self, id: u8, len: u32) -> Result<u32, WireError> {
        let min = self.fixed + 1;
        let variable = matches!(id, id::PIECE | id::BITFIELD | id::EXTENDED) || !is_known(id);
        if !variable && len != min {
            let expected = min;
            return Err(WireError::WrongLength { id, len, expected });
        }
        let max = min.saturating_add(self.max_payload);
        if len > max {
            let id = Some(id);
            return Err(WireError::TooLong { id, len, max });
        }
        len.checked_sub(min)
            .ok_or(WireError::TooShort { id, len, min })
    }
}

fn is_known(id: u8) -> bool {
    matches!(id, id::CHOKE..=id::PORT | id::SUGGEST..=id::ALLOWED_FAST | id::EXTENDED)
}

impl Head {
    fn read(&mut self, input: &mut Bytes, limits: &Limits) -> Result<Option<Start>, WireError> {
        if !self.fill(4, input) {
            return Ok(None);
        }
        let len = self.integer(0);
        if len == 0 {
            return Ok(Some(Start::Whole(Message::KeepAlive)));
        }
        let max = (limits.max_block.saturating_add(9))
            .max(limits.max_bitfield.saturating_add(1))
            .max(limits.max_extended.saturating_add(2))
            // A request has to pass however low the limits are.
            .max(13);
        if len > max {
            return Err(WireError::TooLong { id: None, len, max });
        }
        if !self.fill(5, input) {
            return Ok(None);
        }
        let id = self.bytes[4];
        let layout = Layout::of(id, limits);
        let payload = layout.payload(id, len)?;
        if !self.fill(5 + layout.fixed as usize, input) {
            return Ok(None);
        }
        Ok(Some(match id {
            id::CHOKE => Start::Whole(Message::Choke),
            id::UNCHOKE => Start::Whole(Message::Unchoke),
            id::INTERESTED => Start::Whole(Message::Interested),
            id::NOT_INTERESTED => Start::Whole(Message::NotInterested),
            id::HAVE => Start::Whole(Message::Have(self.integer(5))),
            id::BITFIELD => Start::collect(Payload::Bitfield, payload),
            id::REQUEST => Start::Whole(Message::Request(self.block(self.integer(13)))),
            id::PIECE => Start::Rest(State::Block(
                BlockProgress {
                    block: self.block(payload),
                    received: 0,
                },
                BlockBuilder::new(),
            )),
            id::CANCEL => Start::Whole(Message::Cancel(self.block(self.integer(13)))),
            id::PORT => Start::Whole(Message::Port(u16::from_be_bytes([
                self.bytes[5],
                self.bytes[6],
            ]))),
            id::SUGGEST => Start::Whole(Message::Suggest(self.integer(5))),
            id::HAVE_ALL => Start::Whole(Message::HaveAll),
            id::HAVE_NONE => Start::Whole(Message::HaveNone),
            id::REJECT => Start::Whole(Message::Reject(self.block(self.integer(13)))),
            id::ALLOWED_FAST => Start::Whole(Message::AllowedFast(self.integer(5))),
            id::EXTENDED => Start::collect(Payload::Extended(self.bytes[5]), payload),
            _ => Start::Rest(State::Skip {
                id,
                len: payload,
                left: payload,
            }),
        }))
    }

    /// Gathers until `want` bytes (at most [`MAX_HEAD`]) are there.
    fn fill(&mut self, want: usize, input: &mut Bytes) -> bool {
        let missing = want.saturating_sub(self.have).min(input.len());
        self.bytes[self.have..self.have + missing].copy_from_slice(&input[..missing]);
        input.advance(missing);
        self.have += missing;
        self.have >= want
    }

    fn integer(&self, at: usize) -> u32 {
        let b = &self.bytes;
        u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
    }

    fn block(&self, len: u32) -> BlockRequest {
        BlockRequest {
            piece: self.integer(5),
            begin: self.integer(9),
            len,
        }
    }
}

impl Start {
    fn collect(kind: Payload, len: u32) -> Self {
        Self::Rest(State::Payload {
            kind,
            len: usize::try_from(len).unwrap_or(usize::MAX),
            collected: BytesMut::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::{super::encode_piece_header, *};

    const LIMITS: Limits = Limits {
        max_block: 64,
        max_bitfield: 32,
        max_extended: 48,
    };

    /// A frame that is within [`LIMITS`].
    #[derive(Debug, Clone)]
    struct Drawn(Frame);

    impl Arbitrary for Drawn {
        fn arbitrary(g: &mut Gen) -> Self {
            let block = BlockRequest {
                piece: u32::arbitrary(g),
                begin: u32::arbitrary(g),
                len: u32::arbitrary(g),
            };
            fn bytes(g: &mut Gen, max: usize) -> Bytes {
                let len = usize::arbitrary(g) % (max + 1);
                (0..len).map(|_| u8::arbitrary(g)).collect()
            }
            let message = match u8::arbitrary(g) % 18 {
                0 => Message::KeepAlive,
                1 => Message::Choke,
                2 => Message::Unchoke,
                3 => Message::Interested,
                4 => Message::NotInterested,
                5 => Message::Have(block.piece),
                6 => Message::Bitfield(bytes(g, 32)),
                7 => Message::Request(block),
                8 => Message::Cancel(block),
                9 => Message::Port(u16::arbitrary(g)),
                10 => Message::Suggest(block.piece),
                11 => Message::HaveAll,
                12 => Message::HaveNone,
                13 => Message::Reject(block),
                14 => Message::AllowedFast(block.piece),
                15 => Message::Extended {
                    id: u8::arbitrary(g),
                    payload: bytes(g, 48),
                },
                16 => {
                    return Self(Frame::Unknown {
                        id: 21 + u8::arbitrary(g) % 200,
                        len: u32::arbitrary(g) % 49,
                    });
                }
                _ => {
                    return Self(Frame::Block(Block {
                        piece: block.piece,
                        begin: block.begin,
                        data: bytes(g, 64).into(),
                    }));
                }
            };
            Self(Frame::Message(message))
        }
    }

    fn encode(frame: &Frame, out: &mut BytesMut) {
        match frame {
            Frame::Message(message) => message.encode(out),
            Frame::Block(block) => {
                let request = BlockRequest {
                    piece: block.piece,
                    begin: block.begin,
                    len: block.data.len() as u32,
                };
                encode_piece_header(request, out);
                out.extend_from_slice(&block.data.to_bytes());
            }
            Frame::Unknown { id, len } => {
                out.extend_from_slice(&(len + 1).to_be_bytes());
                out.extend_from_slice(&[*id]);
                out.resize(out.len() + *len as usize, 0xaa);
            }
        }
    }

    /// Decodes `stream`, handed over in parts of the given lengths (over and over).
    fn decode(stream: &Bytes, cuts: &[u8]) -> Result<Vec<Frame>, WireError> {
        let mut decoder = Decoder::new(LIMITS);
        let mut frames = Vec::new();
        let mut rest = stream.clone();
        let mut cuts = cuts.iter().copied().cycle();
        while !rest.is_empty() {
            let cut = usize::from(cuts.next().unwrap_or(u8::MAX)).max(1);
            let mut part = rest.split_to(cut.min(rest.len()));
            while let Some(frame) = decoder.decode(&mut part)? {
                frames.push(frame);
            }
            assert!(part.is_empty());
        }
        Ok(frames)
    }

    fn first_error(bytes: &[u8], limits: Limits) -> Option<WireError> {
        let mut decoder = Decoder::new(limits);
        let mut input = Bytes::copy_from_slice(bytes);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    quickcheck! {
        fn any_split_gives_the_same_frames(drawn: Vec<Drawn>, cuts: Vec<u8>) -> bool {
            let frames: Vec<Frame> = drawn.into_iter().map(|Drawn(frame)| frame).collect();
            let mut stream = BytesMut::new();
            frames.iter().for_each(|frame| encode(frame, &mut stream));
            let stream = stream.freeze();
            [&cuts[..], &[1], &[u8::MAX]]
                .iter()
                .all(|cuts| decode(&stream, cuts).as_ref() == Ok(&frames))
        }

        fn garbage_gives_the_same_answer_in_any_split(bytes: Vec<u8>, cuts: Vec<u8>) -> bool {
            // Small first bytes, so that not every prefix is too long.
            let mut stream = vec![0, 0, 0];
            stream.extend(bytes);
            let stream = Bytes::from(stream);
            decode(&stream, &cuts) == decode(&stream, &[1])
        }
    }

    #[test]
    fn a_block_in_one_read_is_a_slice_of_it() {
        let mut stream = BytesMut::new();
        let block = BlockRequest {
            piece: 5,
            begin: 16,
            len: 64,
        };
        encode_piece_header(block, &mut stream);
        stream.extend_from_slice(&[9; 64]);
        let mut input = stream.freeze();
        let payload = input.slice(13..);
        let Ok(Some(Frame::Block(block))) = Decoder::new(LIMITS).decode(&mut input) else {
            panic!("no block");
        };
        let [chunk] = block.data.chunks() else {
            panic!("{:?}", block.data);
        };
        assert_eq!((chunk.as_ptr(), chunk.len()), (payload.as_ptr(), 64));
    }

    #[test]
    fn a_block_over_two_reads_is_two_slices_and_its_progress_is_seen() {
        let mut stream = BytesMut::new();
        let block = BlockRequest {
            piece: 5,
            begin: 16,
            len: 64,
        };
        encode_piece_header(block, &mut stream);
        stream.extend_from_slice(&[9; 64]);
        let mut tail = stream.freeze();
        let mut head = tail.split_to(33);
        let mut decoder = Decoder::new(LIMITS);
        assert_eq!(decoder.block_in_progress(), None);
        assert_eq!(decoder.decode(&mut head), Ok(None));
        let received = 20;
        assert_eq!(
            decoder.block_in_progress(),
            Some(BlockProgress { block, received })
        );
        let Ok(Some(Frame::Block(block))) = decoder.decode(&mut tail) else {
            panic!("no block");
        };
        let lengths: Vec<usize> = block.data.chunks().iter().map(Bytes::len).collect();
        assert_eq!(lengths, [20, 44]);
        assert_eq!(decoder.block_in_progress(), None);
    }

    #[test]
    fn limits_hold_to_the_byte_and_are_judged_before_the_body() {
        for (id, max) in [
            (id::PIECE, 9 + 64),
            (id::BITFIELD, 1 + 32),
            (id::EXTENDED, 2 + 48),
            (99, 1 + 48),
        ] {
            let head = |len: u32| {
                let [a, b, c, d] = len.to_be_bytes();
                [a, b, c, d, id]
            };
            assert_eq!(first_error(&head(max), LIMITS), None, "{id}");
            let len = max + 1;
            // Past the longest message of all, the id is not waited for.
            let expected = if len > 9 + 64 {
                WireError::TooLong { id: None, len, max }
            } else {
                WireError::TooLong {
                    id: Some(id),
                    len,
                    max,
                }
            };
            assert_eq!(first_error(&head(len), LIMITS), Some(expected), "{id}");
        }
    }

    #[test]
    fn the_default_limit_is_a_block_of_128_kib_and_an_extended_message_of_1_mib() {
        let at = |len: u32, id: u8| {
            let mut bytes = Vec::from(len.to_be_bytes());
            bytes.push(id);
            first_error(&bytes, Limits::default())
        };
        assert_eq!(at((128 << 10) + 9, id::PIECE), None);
        assert!(at((128 << 10) + 10, id::PIECE).is_some());
        assert_eq!(at((1 << 20) + 2, id::EXTENDED), None);
        assert!(at((1 << 20) + 3, id::EXTENDED).is_some());
    }

    #[test]
    fn messages_of_fixed_form_have_exactly_their_length() {
        for id in 0..=u8::MAX {
            let expected = match id {
                0..=3 | 14 | 15 => 1,
                4 | 13 | 17 => 5,
                6 | 8 | 16 => 13,
                9 => 3,
                _ => continue,
            };
            for len in 1..=20_u32 {
                let mut bytes = Vec::from(len.to_be_bytes());
                bytes.push(id);
                let error =
                    (len != expected).then_some(WireError::WrongLength { id, len, expected });
                assert_eq!(first_error(&bytes, LIMITS), error);
            }
        }
    }

    #[test]
    fn messages_with_a_payload_have_at_least_their_fixed_part() {
        for (id, min) in [(id::PIECE, 9), (id::EXTENDED, 2)] {
            let bytes = [0, 0, 0, min as u8 - 1, id];
            let len = min - 1;
            let error = WireError::TooShort { id, len, min };
            assert_eq!(first_error(&bytes, LIMITS), Some(error));
        }
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = Decoder::new(LIMITS);
        let error = decoder.decode(&mut Bytes::from_static(&[0xff; 4]));
        assert!(error.is_err());
        let mut fine = Bytes::from_static(&[0, 0, 0, 0]);
        assert_eq!(decoder.decode(&mut fine), error);
        assert_eq!(fine.len(), 4);
    }

    #[test]
    fn a_promise_costs_no_memory() {
        let mut decoder = Decoder::new(Limits::default());
        let mut input = Bytes::from_static(&[0, 0x10, 0, 2, id::EXTENDED, 0, b'd']);
        assert_eq!(decoder.decode(&mut input), Ok(None));
        let State::Payload { collected, .. } = &decoder.state else {
            panic!("{:?}", decoder.state);
        };
        assert!(collected.capacity() < 1024, "{}", collected.capacity());
    }

    #[test]
    fn frames_stay_small() {
        assert!(size_of::<Frame>() <= 88, "{}", size_of::<Frame>());
        assert!(size_of::<Decoder>() <= 128, "{}", size_of::<Decoder>());
    }
}
