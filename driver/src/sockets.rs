//! Sockets that listen for peers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use crate::limits::ACCEPTS_PER_TURN;
use crate::ready::{Queue, Ready, Signal, Source, Turn};
use crate::runtime::Listener;

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
    use std::collections::VecDeque;
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
