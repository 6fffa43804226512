//! What comes in: packets in any order, bytes in the right one.
//!
//! Packets have numbers but no offsets, so that one behind a gap has no place in a buffer yet. What follows it without
//! another gap has: behind it. Such a stretch is a run. Payload is copied once, to the end of the run that it belongs to
//! or of what the reader gets next; when the gap is filled, the run is handed over as it is.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::limits::{FIRST_WINDOW, MAX_CHUNK, MAX_RUNS, MIN_CHUNK, MIN_WINDOW};

/// What a run's buffer is at most: it may be pinned by a single packet in it. [`MAX_RUNS`] × 16 KiB, 32 MiB, of which a
/// sender has to send every byte.
const RUN_CHUNK: usize = 16 * 1024;

/// How far ahead a packet may be: as far as a sender may have packets under way.
const MAX_AHEAD: u64 = super::limits::MAX_PACKETS;

#[derive(Debug, Default)]
struct Run {
    start: u64,
    end: u64,
    parts: Vec<Bytes>,
}

/// A buffer that is filled, and cut off where something else begins.
#[derive(Debug)]
struct Arena {
    bytes: BytesMut,
    len: usize,
    most: usize,
}

impl Arena {
    fn new(most: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            len: MIN_CHUNK,
            most,
        }
    }

    fn fits(&self, len: usize) -> bool {
        self.bytes.capacity() - self.bytes.len() >= len
    }

    fn write(&mut self, payload: &[u8]) {
        if !self.fits(payload.len()) {
            self.bytes.reserve(self.len.max(payload.len()));
            self.len = (self.len * 2).min(self.most);
        }
        self.bytes.extend_from_slice(payload);
    }

    fn cut(&mut self) -> Option<Bytes> {
        (!self.bytes.is_empty()).then(|| self.bytes.split().freeze())
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was the next one, and no gap is left.
    InOrder,
    /// It is behind a gap, or filled one.
    OutOfOrder,
    /// It has been here before.
    Duplicate,
    /// There is no room for it.
    NoRoom,
}

#[derive(Debug)]
pub(super) struct Receiver {
    /// The number of the packet that is waited for.
    next: u64,
    runs: VecDeque<Run>,
    /// Bytes in `runs`.
    held: u64,
    run_arena: Arena,
    /// The run that the end of the arena belongs to.
    open: Option<u64>,
    ready: VecDeque<Bytes>,
    /// Bytes in `ready` and behind it in the arena.
    waiting: u64,
    arena: Arena,
    /// The number of the last packet, if it is known.
    eof: Option<u64>,
    /// Bytes that the reader has taken.
    taken: u64,
    most: u32,
}

impl Receiver {
    pub(super) fn new(next: u64, most: u32) -> Self {
        Self {
            next,
            runs: VecDeque::new(),
            held: 0,
            run_arena: Arena::new(RUN_CHUNK),
            open: None,
            ready: VecDeque::new(),
            waiting: 0,
            arena: Arena::new(MAX_CHUNK),
            eof: None,
            taken: 0,
            most: most.max(MIN_WINDOW),
        }
    }

    /// Takes a packet. `room` is what may be kept beside what is.
    pub(super) fn insert(&mut self, seq: u64, payload: &[u8], fin: bool, room: u64) -> Arrival {
        if seq < self.next {
            return Arrival::Duplicate;
        }
        if seq - self.next > MAX_AHEAD || self.eof.is_some_and(|eof| seq > eof) {
            return Arrival::NoRoom;
        }
        let at = self.runs.partition_point(|run| run.start <= seq);
        let before = at.checked_sub(1);
        let run_end = before
            .and_then(|at| self.runs.get(at))
            .map_or(0, |run| run.end);
        if run_end > seq {
            return Arrival::Duplicate;
        }
        if payload.len() as u64 > u64::from(self.window(room)) {
            return Arrival::NoRoom;
        }
        // Nothing follows a FIN, so one with something behind it is made up.
        if fin && self.eof.is_none() && self.runs.back().is_none_or(|run| run.end <= seq + 1) {
            self.eof = Some(seq);
        }
        let len = payload.len() as u64;
        if seq == self.next {
            if !self.arena.fits(payload.len()) {
                self.ready.extend(self.arena.cut());
            }
            self.arena.write(payload);
            self.waiting += len;
            self.next += 1;
            if self.runs.is_empty() {
                return Arrival::InOrder;
            }
            self.join();
            return Arrival::OutOfOrder;
        }
        let start = if run_end == seq
            && let Some(run) = before.and_then(|at| self.runs.get_mut(at))
        {
            run.end += 1;
            run.start
        } else {
            if self.runs.len() >= MAX_RUNS {
                return Arrival::NoRoom;
            }
            self.runs.insert(
                at,
                Run {
                    start: seq,
                    end: seq + 1,
                    parts: Vec::new(),
                },
            );
            seq
        };
        if self.open != Some(start) || !self.run_arena.fits(payload.len()) {
            self.close();
            self.open = Some(start);
        }
        self.run_arena.write(payload);
        self.held += len;
        Arrival::OutOfOrder
    }

    /// Gives the end of the arena to the run that it belongs to.
    fn close(&mut self) {
        let (Some(start), Some(part)) = (self.open.take(), self.run_arena.cut()) else {
            return;
        };
        if let Ok(at) = self.runs.binary_search_by_key(&start, |run| run.start)
            && let Some(run) = self.runs.get_mut(at)
        {
            run.parts.push(part);
        }
    }

    /// Runs that follow what has arrived are no longer behind a gap.
    fn join(&mut self) {
        while let Some(run) = self.runs.front()
            && run.start == self.next
        {
            if self.open == Some(run.start) {
                self.close();
            }
            let Some(run) = self.runs.pop_front() else {
                break;
            };
            self.next = run.end;
            self.ready.extend(self.arena.cut());
            for part in run.parts {
                self.held -= part.len() as u64;
                self.waiting += part.len() as u64;
                self.ready.push_back(part);
            }
        }
    }

    /// Hands over the next bytes, `most` at most.
    pub(super) fn take(&mut self, most: u64) -> Option<Bytes> {
        if most == 0 {
            return None;
        }
        if self.ready.is_empty() {
            self.ready.extend(self.arena.cut());
        }
        let first = self.ready.front_mut()?;
        let bytes = if first.len() as u64 > most {
            first.split_to(most as usize)
        } else {
            self.ready.pop_front()?
        };
        self.waiting -= bytes.len() as u64;
        self.taken += bytes.len() as u64;
        Some(bytes)
    }

    /// Writes which packets behind the gap have arrived, and returns how many bytes that takes: a multiple of four.
    pub(super) fn mask(&self, mask: &mut [u8]) -> usize {
        let bits = mask.len() as u64 * 8;
        let mut end = 0;
        for run in &self.runs {
            // Bit 0 is the packet behind the one that is waited for.
            let (mut bit, last) = (
                run.start - self.next - 1,
                (run.end - self.next - 1).min(bits),
            );
            if bit >= bits {
                break;
            }
            end = last;
            while bit < last {
                let Some(byte) = mask.get_mut((bit / 8) as usize) else {
                    break;
                };
                if bit.is_multiple_of(8) && last - bit >= 8 {
                    *byte = 0xff;
                    bit += 8;
                } else {
                    *byte |= 1 << (bit % 8);
                    bit += 1;
                }
            }
        }
        (end.div_ceil(32) * 4) as usize
    }

    /// What the other end may send beside what is here.
    pub(super) fn window(&self, room: u64) -> u32 {
        let limit = u64::from(FIRST_WINDOW) + self.taken;
        let limit = limit.min(u64::from(self.most));
        let least = u64::from(MIN_WINDOW).saturating_sub(self.kept());
        let window = limit.saturating_sub(self.kept()).min(room.max(least));
        window as u32
    }

    /// Gives back what an idle buffer holds.
    pub(super) fn shrink(&mut self) {
        if self.kept() == 0 {
            self.arena = Arena::new(MAX_CHUNK);
            self.run_arena = Arena::new(RUN_CHUNK);
            self.ready = VecDeque::new();
            self.runs = VecDeque::new();
        }
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that are kept.
    pub(super) const fn kept(&self) -> u64 {
        self.held + self.waiting
    }

    pub(super) const fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn has_gap(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether everything has arrived, FIN included.
    pub(super) fn is_finished(&self) -> bool {
        self.eof.is_some_and(|eof| eof < self.next)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::quickcheck;

    use super::*;

    const ROOM: u64 = 1 << 30;

    fn receiver() -> Receiver {
        Receiver::new(100, 1 << 20)
    }

    fn all(receiver: &mut Receiver) -> Vec<u8> {
        core::iter::from_fn(|| receiver.take(u64::MAX))
            .flatten()
            .collect()
    }

    quickcheck! {
        fn any_order_gives_the_bytes_in_theirs(order: Vec<u8>, lens: Vec<u8>) -> bool {
            let mut receiver = receiver();
            // 64 packets of some lengths, sent in any order and often twice, then once more in theirs.
            let payload = |at: usize| {
                let len = lens.get(at % lens.len().max(1)).copied().unwrap_or(9);
                vec![at as u8; usize::from(len)]
            };
            let mut got = Vec::new();
            for at in order.iter().map(|at| usize::from(at % 64)).chain(0..64) {
                receiver.insert(100 + at as u64, &payload(at), at == 63, ROOM);
                if at % 5 == 0 {
                    got.extend(all(&mut receiver));
                }
            }
            got.extend(all(&mut receiver));
            let expected: Vec<u8> = (0..64).flat_map(payload).collect();
            got == expected && receiver.kept() == 0 && receiver.is_finished() && !receiver.has_gap()
        }

        fn masks_say_what_has_arrived(seqs: Vec<u16>) -> bool {
            let mut receiver = receiver();
            let seqs: Vec<u64> = seqs.into_iter().map(|seq| 102 + u64::from(seq % 3_000)).collect();
            for seq in &seqs {
                receiver.insert(*seq, b"x", false, ROOM);
            }
            let mut mask = [0; 252];
            let len = receiver.mask(&mut mask);
            (0..2_016_u64).all(|bit| {
                let set = mask[(bit / 8) as usize] & 1 << (bit % 8) != 0;
                set == seqs.contains(&(101 + bit)) && (!set || bit < len as u64 * 8)
            }) && len.is_multiple_of(4)
        }
    }

    #[test]
    fn what_arrives_in_order_is_one_slice() {
        let mut receiver = receiver();
        for seq in 0..200 {
            receiver.insert(100 + seq, &[seq as u8; 1_400], false, ROOM);
            all(&mut receiver);
        }
        for seq in 200..212 {
            receiver.insert(100 + seq, &[seq as u8; 1_400], false, ROOM);
        }
        let mut slices = 0;
        while receiver.take(u64::MAX).is_some() {
            slices += 1;
        }
        assert!(slices <= 2, "{slices}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut receiver = receiver();
        let mut kept = 0;
        for seq in 0..20_000 {
            receiver.insert(102 + seq, &[1; 1_000], false, ROOM);
            kept = kept.max(receiver.kept());
        }
        assert!(kept <= 1 << 20, "{kept}");
        // And so is the number of runs.
        let mut receiver = Receiver::new(100, 64 << 20);
        for seq in 0..16_000 {
            receiver.insert(102 + 2 * seq, b"x", false, ROOM);
        }
        assert_eq!(receiver.runs.len(), MAX_RUNS);
        assert_eq!(
            receiver.insert(100 + 32_001, b"x", false, ROOM),
            Arrival::NoRoom
        );
    }

    #[test]
    fn the_window_closes_with_what_is_unread_and_grows_with_what_is_read() {
        let mut receiver = Receiver::new(100, 4 << 20);
        assert_eq!(receiver.window(ROOM), 1 << 20);
        let mut seq = 100;
        while receiver.insert(seq, &[0; 1_000], false, ROOM) == Arrival::InOrder {
            seq += 1;
        }
        assert!(receiver.window(ROOM) < 1_000);
        all(&mut receiver);
        assert!(receiver.window(ROOM) > 2_000_000);
        // What others keep is not there for it, but for the least that everybody has.
        assert_eq!(receiver.window(0), MIN_WINDOW);
    }

    #[test]
    fn nothing_follows_a_fin_and_a_second_one_moves_nothing() {
        let mut receiver = receiver();
        assert_eq!(receiver.insert(102, b"", true, ROOM), Arrival::OutOfOrder);
        assert_eq!(receiver.insert(103, b"late", false, ROOM), Arrival::NoRoom);
        assert_eq!(receiver.insert(101, b"b", true, ROOM), Arrival::OutOfOrder);
        assert!(!receiver.is_finished());
        assert_eq!(receiver.insert(100, b"a", false, ROOM), Arrival::OutOfOrder);
        assert!(receiver.is_finished());
        assert_eq!(all(&mut receiver), b"ab");
    }

    #[test]
    fn a_fin_may_have_payload_but_nothing_behind_it() {
        let mut receiver = receiver();
        receiver.insert(102, b"c", false, ROOM);
        receiver.insert(101, b"b", true, ROOM);
        receiver.insert(100, b"a", false, ROOM);
        assert!(!receiver.is_finished());
        receiver.insert(103, b"d", true, ROOM);
        assert!(receiver.is_finished());
        assert_eq!(all(&mut receiver), b"abcd");
    }
}
