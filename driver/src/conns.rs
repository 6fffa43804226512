//! Connections: credit in, queued bytes out, and the buffers in between.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use anabranch_core::Event;
use anabranch_core::event::CloseReason;
use anabranch_core::id::ConnId;
use bytes::{Buf, Bytes};

use crate::buffers::{BufferPool, PooledBuf};
use crate::limits::WRITE_BURST;
use crate::net;
use crate::ready::{Queue, Ready, Signal, Source};
use crate::runtime::{MAX_SLICES, Stream};

/// The open connections, and one read buffer for all of them.
pub(crate) struct Conns<S> {
    /// By slot of the id.
    slots: Vec<Option<Conn<S>>>,
    /// Those with bytes to be sent at the end of this batch.
    dirty: Vec<ConnId>,
    ready: Arc<Ready>,
    pool: BufferPool,
    buffer_len: usize,
    /// A buffer that was read into and not given away.
    spare: Option<PooledBuf>,
}

struct Conn<S> {
    id: ConnId,
    stream: S,
    /// Bytes that may still be received.
    credit: u64,
    read: Signal,
    /// The last read was pending, so its waker will tell.
    read_armed: bool,
    out: VecDeque<Bytes>,
    write: Signal,
    /// The last write was pending, so its waker will tell.
    write_armed: bool,
    dirty: bool,
}

impl<S: Stream> Conns<S> {
    pub(crate) fn new(ready: Arc<Ready>, pool: BufferPool, buffer_len: usize) -> Self {
        Self {
            slots: Vec::new(),
            dirty: Vec::new(),
            ready,
            pool,
            buffer_len,
            spare: None,
        }
    }

    /// Takes a connection over. It is not read before it has credit.
    pub(crate) fn open(&mut self, id: ConnId, stream: S) {
        if self.slots.len() <= id.slot() {
            self.slots.resize_with(id.slot() + 1, || None);
        }
        let conn = Conn {
            id,
            stream,
            credit: 0,
            read: Signal::new(&self.ready, Source::Read(id)),
            read_armed: false,
            out: VecDeque::new(),
            write: Signal::new(&self.ready, Source::Write(id)),
            write_armed: false,
            dirty: false,
        };
        self.slots[id.slot()] = Some(conn);
    }

    fn get(&mut self, id: ConnId) -> Option<&mut Conn<S>> {
        self.slots
            .get_mut(id.slot())?
            .as_mut()
            .filter(|conn| conn.id == id)
    }

    /// Ends a connection, and says whether there was one.
    pub(crate) fn close(&mut self, id: ConnId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        self.slots[id.slot()] = None;
        true
    }

    /// Allows more to be received.
    pub(crate) fn credit(&mut self, id: ConnId, credit: u32, queue: &mut Queue) {
        if let Some(conn) = self.get(id) {
            conn.credit = conn.credit.saturating_add(u64::from(credit));
            if !conn.read_armed && conn.credit > 0 {
                conn.read.requeue(queue);
            }
        }
    }

    /// Queues bytes until [`Self::flush`].
    pub(crate) fn send(&mut self, id: ConnId, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let Some(conn) = self.get(id) else { return };
        conn.out.push_back(data);
        if !conn.dirty && !conn.write_armed {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Writes what was queued in this batch.
    pub(crate) fn flush(&mut self, queue: &mut Queue, events: &mut VecDeque<Event>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.write(id, queue, events);
        }
        self.dirty = dirty;
    }

    /// The connection may take bytes again.
    pub(crate) fn writable(&mut self, id: ConnId, queue: &mut Queue, events: &mut VecDeque<Event>) {
        if let Some(conn) = self.get(id) {
            conn.write_armed = false;
            self.write(id, queue, events);
        }
    }

    fn write(&mut self, id: ConnId, queue: &mut Queue, events: &mut VecDeque<Event>) {
        let Some(conn) = self.get(id) else { return };
        conn.dirty = false;
        if conn.write_armed {
            return;
        }
        let mut sent = 0;
        let failure = loop {
            if conn.out.is_empty() {
                break None;
            }
            if sent >= WRITE_BURST {
                // The others first.
                conn.write.requeue(queue);
                break None;
            }
            match conn.write_once() {
                Poll::Ready(Ok(len)) => sent += len as u64,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => break Some(net::close_reason(&error)),
                Poll::Pending => {
                    conn.write_armed = true;
                    break None;
                }
            }
        };
        if sent > 0 {
            events.push_back(Event::Sent {
                conn: id,
                len: sent,
            });
        }
        if let Some(reason) = failure {
            self.end(id, reason, events);
        }
    }

    /// The connection may have bytes: reads at most `limit` of them, and says how many there were.
    pub(crate) fn readable(
        &mut self,
        id: ConnId,
        limit: usize,
        queue: &mut Queue,
        events: &mut VecDeque<Event>,
    ) -> usize {
        let Some(conn) = self
            .slots
            .get_mut(id.slot())
            .and_then(Option::as_mut)
            .filter(|conn| conn.id == id)
        else {
            return 0;
        };
        conn.read_armed = false;
        let mut total = 0;
        let failure = loop {
            if conn.credit == 0 {
                break None;
            }
            if total >= limit {
                conn.read.requeue(queue);
                break None;
            }
            let mut buffer = match self.spare.take() {
                Some(buffer) => buffer,
                None => self.pool.take(self.buffer_len),
            };
            let room = usize::try_from(conn.credit)
                .unwrap_or(usize::MAX)
                .min(buffer.as_ref().len());
            let result = conn
                .stream
                .poll_read(&mut conn.read.context(), &mut buffer.as_mut()[..room]);
            match result {
                Poll::Ready(Ok(0)) => {
                    self.spare = Some(buffer);
                    break Some(CloseReason::Remote);
                }
                Poll::Ready(Ok(len)) => {
                    let len = len.min(room);
                    total += len;
                    conn.credit -= len as u64;
                    // Less than a quarter is copied, so that the engine, which keeps slices for as
                    // long as a piece is under way, never holds more than four times what it counts.
                    let data = if len >= buffer.as_ref().len() / 4 {
                        buffer.freeze(len)
                    } else {
                        let data = Bytes::copy_from_slice(&buffer.as_ref()[..len]);
                        self.spare = Some(buffer);
                        data
                    };
                    events.push_back(Event::Received { conn: id, data });
                }
                Poll::Ready(Err(error)) => {
                    self.spare = Some(buffer);
                    if error.kind() != io::ErrorKind::Interrupted {
                        break Some(net::close_reason(&error));
                    }
                }
                Poll::Pending => {
                    self.spare = Some(buffer);
                    conn.read_armed = true;
                    break None;
                }
            }
        };
        if let Some(reason) = failure {
            self.end(id, reason, events);
        }
        total
    }

    fn end(&mut self, id: ConnId, reason: CloseReason, events: &mut VecDeque<Event>) {
        if self.close(id) {
            events.push_back(Event::Closed { conn: id, reason });
        }
    }
}

impl<S: Stream> Conn<S> {
    /// One call to the operating system, and what it took is taken off the queue.
    fn write_once(&mut self) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        let mut offered = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.out) {
            *slice = IoSlice::new(bytes);
            offered += bytes.len();
            count += 1;
        }
        let result = self
            .stream
            .poll_write_vectored(&mut self.write.context(), &slices[..count]);
        if let Poll::Ready(Ok(len)) = result {
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.take_out(len.min(offered));
        }
        result
    }

    fn take_out(&mut self, mut len: usize) {
        while let Some(front) = self.out.front_mut() {
            if len < front.len() {
                front.advance(len);
                return;
            }
            len -= front.len();
            self.out.pop_front();
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event is a failure"
)]
mod tests {
    use std::sync::Mutex;
    use std::task::Context;

    use super::*;

    /// A stream that does as its script says.
    #[derive(Clone, Default)]
    struct Scripted(Arc<Mutex<Script>>);

    #[derive(Default)]
    struct Script {
        /// Lengths of the reads to come; pending after them.
        reads: VecDeque<usize>,
        /// How much each write takes; pending after them.
        writes: VecDeque<usize>,
        written: Vec<u8>,
        /// Slices of each call.
        slices: Vec<usize>,
    }

    impl Stream for Scripted {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut script = self.0.lock().expect("no panic");
            match script.reads.pop_front() {
                Some(len) => {
                    let len = len.min(buf.len());
                    buf[..len].fill(len as u8);
                    Poll::Ready(Ok(len))
                }
                None => Poll::Pending,
            }
        }

        fn poll_write_vectored(
            &mut self,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut script = self.0.lock().expect("no panic");
            assert!(bufs.iter().all(|buf| !buf.is_empty()));
            let Some(mut room) = script.writes.pop_front() else {
                return Poll::Pending;
            };
            script.slices.push(bufs.len());
            let mut taken = 0;
            for buf in bufs {
                let len = buf.len().min(room);
                script.written.extend_from_slice(&buf[..len]);
                room -= len;
                taken += len;
            }
            Poll::Ready(Ok(taken))
        }
    }

    struct Bench {
        conns: Conns<Scripted>,
        queue: Queue,
        events: VecDeque<Event>,
        script: Scripted,
    }

    const BUFFER: usize = 16 << 10;

    fn id() -> ConnId {
        ConnId::new(3_u32, 1)
    }

    impl Bench {
        fn new() -> Self {
            let script = Scripted::default();
            let mut conns = Conns::new(Arc::default(), BufferPool::default(), BUFFER);
            conns.open(id(), script.clone());
            Self {
                conns,
                queue: VecDeque::new(),
                events: VecDeque::new(),
                script,
            }
        }

        fn script(&self) -> std::sync::MutexGuard<'_, Script> {
            self.script.0.lock().expect("no panic")
        }

        fn credit(&mut self, credit: u32) {
            self.conns.credit(id(), credit, &mut self.queue);
        }

        fn read(&mut self) -> usize {
            self.conns
                .readable(id(), 4 * BUFFER, &mut self.queue, &mut self.events)
        }

        fn flush(&mut self) {
            self.conns.flush(&mut self.queue, &mut self.events);
        }

        fn writable(&mut self) {
            self.conns.writable(id(), &mut self.queue, &mut self.events);
        }

        fn sent(&mut self) -> Vec<u64> {
            self.events
                .drain(..)
                .map(|event| match event {
                    Event::Sent { len, .. } => len,
                    other => panic!("{other:?}"),
                })
                .collect()
        }

        fn received(&mut self) -> Vec<usize> {
            self.events
                .drain(..)
                .map(|event| match event {
                    Event::Received { data, .. } => data.len(),
                    other => panic!("{other:?}"),
                })
                .collect()
        }
    }

    #[test]
    fn nothing_is_read_without_credit() {
        let mut bench = Bench::new();
        bench.script().reads.extend([100, 100]);
        assert_eq!(bench.read(), 0);
        bench.credit(150);
        assert_eq!(bench.queue.len(), 1, "credit makes the connection ready");
        assert_eq!(bench.read(), 150);
        assert_eq!(bench.received(), [100, 50]);
    }

    #[test]
    fn credit_does_not_poll_a_connection_whose_waker_is_armed() {
        let mut bench = Bench::new();
        bench.credit(100);
        bench.queue.pop_front().expect("ready").take();
        assert_eq!(bench.read(), 0);
        bench.credit(100);
        assert!(bench.queue.is_empty());
        bench.script().reads.push_back(BUFFER);
        assert_eq!(bench.read(), 200, "the waker tells");
    }

    #[test]
    fn a_small_read_does_not_pin_the_buffer_and_a_large_one_is_not_copied() {
        let mut bench = Bench::new();
        bench.credit(1 << 20);
        bench.script().reads.extend([BUFFER / 4 - 1]);
        bench.read();
        let spare = bench.conns.spare.as_ref().expect("kept").as_ref().as_ptr();
        bench.script().reads.extend([BUFFER / 4]);
        bench.events.clear();
        bench.read();
        match bench.events.pop_front() {
            Some(Event::Received { data, .. }) => assert_eq!(data.as_ptr(), spare),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_connection_reads_no_more_than_its_share_in_a_turn() {
        let mut bench = Bench::new();
        bench.credit(1 << 20);
        bench.queue.pop_front().expect("ready").take();
        bench.script().reads.extend([BUFFER; 6]);
        assert_eq!(bench.read(), 4 * BUFFER);
        assert_eq!(bench.queue.len(), 1, "it comes again");
    }

    #[test]
    fn a_batch_is_one_write_and_one_report() {
        let mut bench = Bench::new();
        bench.script().writes.push_back(usize::MAX);
        for part in [&b"ab"[..], b"", b"cde"] {
            bench.conns.send(id(), Bytes::copy_from_slice(part));
        }
        bench.flush();
        assert_eq!(bench.sent(), [5]);
        assert_eq!(bench.script().slices, [2]);
        assert_eq!(bench.script().written, b"abcde");
    }

    #[test]
    fn what_was_not_taken_is_kept_in_order_wherever_the_cut_falls() {
        let data: Vec<u8> = (0..=255).collect();
        for cut in 0..40 {
            let mut bench = Bench::new();
            for part in data.chunks(10) {
                bench.conns.send(id(), Bytes::copy_from_slice(part));
            }
            let mut writes = vec![7; 1 + cut / 7];
            writes[0] = cut + 1;
            bench.script().writes.extend(writes);
            bench.flush();
            bench.script().writes.push_back(usize::MAX);
            bench.writable();
            assert_eq!(bench.script().written, data, "cut {cut}");
            assert_eq!(bench.sent().iter().sum::<u64>(), 256);
        }
    }

    #[test]
    fn sending_to_a_blocked_connection_waits_for_its_waker() {
        let mut bench = Bench::new();
        bench.conns.send(id(), Bytes::from_static(b"a"));
        bench.flush();
        bench.script().writes.push_back(usize::MAX);
        bench.conns.send(id(), Bytes::from_static(b"b"));
        bench.flush();
        assert!(bench.sent().is_empty());
        bench.writable();
        assert_eq!(bench.sent(), [2]);
    }

    #[test]
    fn more_slices_than_fit_take_several_writes() {
        let mut bench = Bench::new();
        bench.script().writes.extend([usize::MAX; 2]);
        for _ in 0..MAX_SLICES + 1 {
            bench.conns.send(id(), Bytes::from_static(b"x"));
        }
        bench.flush();
        assert_eq!(bench.script().slices, [MAX_SLICES, 1]);
        assert_eq!(bench.sent(), [MAX_SLICES as u64 + 1]);
    }

    #[test]
    fn the_end_is_told_once() {
        let mut bench = Bench::new();
        bench.credit(10);
        bench.script().reads.extend([3, 0]);
        bench.read();
        assert!(matches!(bench.events[0], Event::Received { .. }));
        assert!(matches!(
            bench.events[1],
            Event::Closed {
                reason: CloseReason::Remote,
                ..
            }
        ));
        assert_eq!(bench.events.len(), 2);
        assert!(!bench.conns.close(id()));
        bench.read();
        bench.writable();
        assert_eq!(bench.events.len(), 2);
    }
}
