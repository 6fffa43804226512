//! Sockets that belong to no peer: those that listen, and those for packets.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use anabranch_core::Event;
use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::event::Undelivered;
use anabranch_core::id::SocketId;
use bytes::Bytes;

use crate::limits::{ACCEPTS_PER_TURN, DATAGRAM_QUEUE, DATAGRAMS_PER_TURN};
use crate::ready::{Queue, Ready, Signal, Source};
use crate::runtime::{Listener, Udp};
use crate::undelivered::{self, Reports};

/// The largest payload of a UDP packet.
const MAX_DATAGRAM: usize = 65_535;

/// What became of a socket's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its waker is armed, or it waits for its next turn.
    Going,
    /// It fails, and must be left alone for a while.
    Failing,
}

/// A socket that listens.
pub(crate) struct Listening<L> {
    socket: L,
    signal: Signal,
}

impl<L: Listener> Listening<L> {
    pub(crate) fn new(ready: &Arc<Ready>, index: usize, socket: L) -> Self {
        Self {
            socket,
            signal: Signal::new(ready, Source::Listener(index)),
        }
    }

    pub(crate) fn requeue(&self, queue: &mut Queue) {
        self.signal.requeue(queue);
    }

    /// Accepts what waits, within bounds.
    pub(crate) fn accept(
        &mut self,
        queue: &mut Queue,
        mut keep: impl FnMut(L::Stream, SocketAddr),
    ) -> Turn {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.socket.poll_accept(&mut self.signal.context()) {
                Poll::Ready(Ok((stream, from))) => keep(stream, from),
                // The connection failed while it waited, not the socket.
                Poll::Ready(Err(error)) if is_transient(&error) => {}
                Poll::Ready(Err(_)) => return Turn::Failing,
                Poll::Pending => return Turn::Going,
            }
        }
        self.signal.requeue(queue);
        Turn::Going
    }
}

/// A packet that the socket did not take yet.
struct Waiting {
    to: SocketAddr,
    data: Bytes,
    is_counted: bool,
}

/// A socket for packets.
pub(crate) struct Packets<U> {
    socket: U,
    local: SocketAddr,
    id: SocketId,
    /// Whether it hears a multicast group, and speaks to nobody.
    group: bool,
    receive: Signal,
    transmit: Signal,
    reports: Reports,
    /// Packets that the socket did not take at once, oldest first.
    out: VecDeque<Waiting>,
    /// Bytes of counted packets that have left since that was told.
    flushed: u64,
    buffer: Box<[u8]>,
}

impl<U: Udp> Packets<U> {
    pub(crate) fn new(
        ready: &Arc<Ready>,
        index: usize,
        socket: U,
        local: SocketAddr,
        reports: Reports,
    ) -> Self {
        Self {
            socket,
            local,
            id: SocketId(index as u64),
            reports,
            group: false,
            receive: Signal::new(ready, Source::Receive(index)),
            transmit: Signal::new(ready, Source::Transmit(index)),
            out: VecDeque::new(),
            flushed: 0,
            buffer: vec![0; MAX_DATAGRAM].into_boxed_slice(),
        }
    }

    /// A socket that hears what is said to a multicast group.
    pub(crate) fn for_group(
        ready: &Arc<Ready>,
        index: usize,
        socket: U,
        group: SocketAddr,
    ) -> Self {
        Self {
            group: true,
            ..Self::new(ready, index, socket, group, Reports::none())
        }
    }

    pub(crate) fn requeue(&self, queue: &mut Queue) {
        self.receive.requeue(queue);
    }

    /// Whether packets to this address can leave here.
    pub(crate) fn reaches(&self, to: SocketAddr) -> bool {
        !self.group && self.local.is_ipv4() == to.is_ipv4()
    }

    /// Sends packets, or queues them while the socket is full. Those that nobody counts may get lost, so
    /// the queue is short for them, and only what is known of the destination is told; of the others
    /// there are no more than the engine keeps count of.
    pub(crate) fn send(&mut self, outbound: &Outbound, events: &mut VecDeque<Event>) {
        let is_counted = outbound.is_counted;
        if !is_counted && self.out.len() >= DATAGRAM_QUEUE {
            return;
        }
        let is_idle = self.out.is_empty();
        let to = outbound.to;
        let packets = outbound.packets();
        self.out.extend(packets.map(|data| Waiting {
            to,
            data,
            is_counted,
        }));
        if is_idle {
            self.transmit(events);
        }
    }

    /// The socket may take packets again.
    pub(crate) fn transmit(&mut self, events: &mut VecDeque<Event>) {
        self.transmit_all(events);
        let len = std::mem::take(&mut self.flushed);
        if len > 0 {
            events.push_back(Event::Flushed { len });
        }
    }

    fn transmit_all(&mut self, events: &mut VecDeque<Event>) {
        while let Some(Waiting {
            to,
            data,
            is_counted,
        }) = self.out.front()
        {
            let cx = &mut self.transmit.context();
            let mut result = self.socket.poll_send_to(cx, data, *to);
            if let Poll::Ready(Err(_)) = result {
                // It may be the report on an earlier packet, in whose place this one was not sent.
                self.reports.take(events);
                result = self.socket.poll_send_to(cx, data, *to);
            }
            match result {
                Poll::Pending => return,
                Poll::Ready(Ok(_)) => {}
                // What nobody listens for is never known so soon: that is one more report.
                Poll::Ready(Err(error)) => {
                    if undelivered::reason(&error) == Some(Undelivered::Unreachable) {
                        let (to, reason) = (*to, Undelivered::Unreachable);
                        events.push_back(Event::Undelivered { to, reason });
                    }
                }
            }
            if *is_counted {
                self.flushed += data.len() as u64;
            }
            self.out.pop_front();
        }
    }

    /// Receives what waits, within bounds.
    pub(crate) fn receive(&mut self, queue: &mut Queue, events: &mut VecDeque<Event>) -> Turn {
        while self
            .socket
            .poll_error(&mut self.receive.context())
            .is_ready()
        {
            self.reports.take(events);
        }
        let mut failures = 0;
        for _ in 0..DATAGRAMS_PER_TURN {
            let result = self
                .socket
                .poll_recv_from(&mut self.receive.context(), &mut self.buffer);
            match result {
                Poll::Ready(Ok((len, from))) => {
                    let data = Bytes::copy_from_slice(&self.buffer[..len.min(MAX_DATAGRAM)]);
                    events.push_back(match self.group {
                        true => Event::Multicast { from, data },
                        false => Event::Datagram(Inbound::new(from, data).by(self.id)),
                    });
                }
                // Some systems report here that an earlier packet did not arrive.
                Poll::Ready(Err(_)) => {
                    failures += 1;
                    self.reports.take(events);
                }
                Poll::Pending => return Turn::Going,
            }
        }
        if failures == DATAGRAMS_PER_TURN {
            return Turn::Failing;
        }
        self.receive.requeue(queue);
        Turn::Going
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    /// A listener with a queue of outcomes; pending after them.
    struct Scripted(VecDeque<io::Result<u32>>);

    impl Listener for Scripted {
        type Stream = u32;

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(u32, SocketAddr)>> {
            match self.0.pop_front() {
                Some(outcome) => Poll::Ready(outcome.map(|n| (n, ([127, 0, 0, 1], 1).into()))),
                None => Poll::Pending,
            }
        }
    }

    fn accept(outcomes: impl IntoIterator<Item = io::Result<u32>>) -> (Vec<u32>, Turn, usize) {
        let ready = Arc::default();
        let mut queue = VecDeque::new();
        let script = Scripted(outcomes.into_iter().collect());
        let mut listening = Listening::new(&ready, 0, script);
        let mut accepted = Vec::new();
        let turn = listening.accept(&mut queue, |n, _| accepted.push(n));
        (accepted, turn, queue.len())
    }

    #[test]
    fn a_connection_that_failed_in_the_queue_does_not_hold_up_the_others() {
        let aborted = Err(io::ErrorKind::ConnectionAborted.into());
        assert_eq!(
            accept([Ok(1), aborted, Ok(2)]),
            (vec![1, 2], Turn::Going, 0)
        );
    }

    #[cfg(unix)]
    #[test]
    fn want_of_descriptors_pauses_accepting() {
        let full = Err(rustix::io::Errno::MFILE.into());
        assert_eq!(accept([Ok(1), full, Ok(2)]), (vec![1], Turn::Failing, 0));
    }

    #[test]
    fn a_flood_of_connections_is_taken_in_portions() {
        let (accepted, turn, queued) = accept((0..100).map(Ok));
        assert_eq!(accepted.len(), ACCEPTS_PER_TURN);
        assert_eq!((turn, queued), (Turn::Going, 1));
    }
}
