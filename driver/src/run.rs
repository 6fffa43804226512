//! The loop: one task that owns the engine and everything that it reads from and writes to.
//!
//! A turn of the loop does this, in this order:
//!
//! 1. It looks at the clock. If the machine's deadline has come, that is the first event; the timer
//!    only wakes the loop, so that no scheduler can starve it.
//! 2. It polls the sources that were woken, and no others. Each has a waker of its own.
//! 3. It feeds all events that came of it to the machine.
//! 4. It performs the machine's actions in one batch, and then writes once per connection, with as
//!    many slices as there are.
//!
//! Every step is bounded. What is left over when a bound is reached comes next turn, after a yield.
//! Reading waits for credit alone and writing for the peer alone; neither waits for the other.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use anabranch_core::{Event, Instant, Wake};

pub use crate::clock::Clock;
use crate::error::StartError;
use crate::io::Io;
use crate::limits::{
    BYTES_PER_TURN, EVENTS_PER_TURN, MESSAGES_PER_TURN, READ_BURST, SOURCES_PER_TURN,
    TURNS_PER_POLL,
};
pub use crate::machine::{EngineMachine, Machine};
use crate::net::Bound;
use crate::options::LoopOptions;
use crate::ready::{Signal, Source};
use crate::remote::{Message, Query, Remote};
use crate::runtime::{Runtime, Timer};
use crate::trace::Trace;

/// How long the machine may take to end. Long, because a slow disk may have much to write; bounded,
/// because a dead one never ends.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// A machine with its sockets, disks and handles. Made by [`Loop::new`], lives in [`Loop::run`].
pub struct Loop<R: Runtime, M> {
    io: Io<R>,
    clock: Clock,
    messages: std::pin::Pin<Box<async_channel::Receiver<Message<M>>>>,
    messages_signal: Signal,
    queries: Vec<Query<M>>,
    disk_signal: Signal,
    timer: R::Timer,
    timer_signal: Signal,
    /// What the timer is set to, while it is.
    timer_at: Option<Instant>,
    trace: Trace,
    /// When the machine wants to be called.
    wake: Wake,
    /// Dropped last: when it is gone, so are the sockets.
    machine: M,
}

impl<R: Runtime, M> std::fmt::Debug for Loop<R, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loop")
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

impl<R: Runtime, M: Machine> Loop<R, M> {
    /// Makes a loop, and the handle to it. The clock is the one whose time `machine` was made with.
    pub fn new(runtime: R, machine: M, clock: Clock, options: LoopOptions) -> (Self, Remote<M>) {
        let (sender, receiver) = async_channel::bounded(crate::remote::MESSAGE_QUEUE);
        let mut io = Io::new(runtime, options);
        let remote = Remote::new(sender, io.readers.clone());
        let messages_signal = Signal::new(&io.ready, Source::Messages);
        let disk_signal = Signal::new(&io.ready, Source::Disk);
        messages_signal.requeue(&mut io.queue);
        disk_signal.requeue(&mut io.queue);
        io.events.push_back(Event::Wall(Clock::wall()));
        let this = Self {
            machine,
            clock,
            messages: Box::pin(receiver),
            messages_signal,
            queries: Vec::new(),
            disk_signal,
            timer: io.runtime.timer(),
            timer_signal: Signal::new(&io.ready, Source::Timer),
            timer_at: None,
            trace: Trace::default(),
            wake: Wake::Idle,
            io,
        };
        (this, remote)
    }

    /// Listens on an address, and sends packets from it. Port 0 is filled in.
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`], [`StartError::Runtime`].
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, StartError> {
        let (address, bound) =
            crate::net::bind(address).map_err(|source| StartError::Listen { address, source })?;
        self.adopt(address, bound)?;
        Ok(address)
    }

    /// Takes over sockets that are bound.
    pub(crate) fn adopt(&mut self, address: SocketAddr, bound: Bound) -> Result<(), StartError> {
        self.io.adopt(address, bound).map_err(StartError::Runtime)
    }

    /// Takes part in the local discovery (BEP 14) on the networks of these addresses, and tells the
    /// machine. Says what is not possible, and does without it.
    pub(crate) fn join_local_discovery(&mut self, addresses: &[SocketAddr]) -> Vec<std::io::Error> {
        self.io.join_local_discovery(addresses)
    }

    /// Queues an event that comes before all others.
    pub(crate) fn begin_with(&mut self, event: Event) {
        self.io.events.push_back(event);
    }

    /// Runs until the machine has been shut down, or took too long over it. Dropping the future closes
    /// all sockets at once.
    pub async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        let last_words = self.io.last_words();
        // Whoever waited for the end finds ports and files free.
        drop(self);
        last_words();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut more = true;
        for _ in 0..TURNS_PER_POLL {
            more = self.turn();
            if self.io.is_finished() {
                return Poll::Ready(());
            }
            if !more {
                break;
            }
        }
        self.set_timer();
        if more || !self.io.ready.sleep(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// One turn; says whether there is more to do at once.
    fn turn(&mut self) -> bool {
        let now = self.clock.now();
        self.io.look_at_clock(now);
        match self.wake {
            Wake::Now(_) => self.io.events.push_back(Event::Tick),
            Wake::At(at, _) if at <= now => self.io.events.push_back(Event::Tick),
            Wake::At(..) | Wake::Idle => {}
        }
        self.poll_sources(now);
        for event in self.io.events.drain(..) {
            self.trace.event(&event);
            self.wake = self.machine.handle(now, event);
        }
        for action in self.machine.actions() {
            self.trace.action(&action);
            self.io.perform(action);
        }
        self.io.end_batch();
        for query in self.queries.drain(..) {
            query(&self.machine, now);
        }
        matches!(self.wake, Wake::Now(_)) || self.io.has_work()
    }

    /// Polls what was woken, within bounds, and gathers the events.
    fn poll_sources(&mut self, now: Instant) {
        self.io.collect();
        let mut bytes = 0;
        // Those that queue themselves again come next turn.
        for _ in 0..self.io.queue.len().min(SOURCES_PER_TURN) {
            if bytes >= BYTES_PER_TURN || self.io.events.len() >= EVENTS_PER_TURN {
                break;
            }
            let Some(flag) = self.io.queue.pop_front() else {
                break;
            };
            match flag.take() {
                Source::Read(conn) => bytes += self.io.readable(conn, READ_BURST),
                Source::Write(conn) => self.io.writable(conn),
                Source::Task(key) => self.io.poll_task(key),
                Source::Listener(index) => self.io.accept(index, now),
                Source::Receive(index) => self.io.receive(index, now),
                Source::Transmit(index) => self.io.transmit(index),
                Source::Messages => self.take_messages(now),
                Source::Disk => self.io.take_disk(&self.disk_signal),
                Source::Timer => self.timer_at = None,
            }
        }
    }

    fn take_messages(&mut self, now: Instant) {
        use futures_core::Stream as _;
        for _ in 0..MESSAGES_PER_TURN {
            let next = self
                .messages
                .as_mut()
                .poll_next(&mut self.messages_signal.context());
            match next {
                Poll::Ready(Some(Message::Command { command, reply })) => {
                    self.io.command(command, reply);
                }
                Poll::Ready(Some(Message::Add {
                    add,
                    storage,
                    reply,
                })) => self.io.add(*add, storage, reply),
                Poll::Ready(Some(Message::Fetch(fetch))) => self.io.fetch(fetch),
                Poll::Ready(Some(Message::Query(query))) => self.queries.push(query),
                Poll::Ready(Some(Message::Shutdown { reply })) => {
                    self.io.shut_down(now + SHUTDOWN_LIMIT, Some(reply));
                }
                // No handle is left, and none can be made.
                Poll::Ready(None) => {
                    self.io.shut_down(now + SHUTDOWN_LIMIT, None);
                    return;
                }
                Poll::Pending => return,
            }
        }
        self.messages_signal.requeue(&mut self.io.queue);
    }

    /// Sets the timer to the earliest deadline. One that comes too early is left: when it fires, the
    /// clock decides, and setting a timer costs more than a wake-up now and then.
    fn set_timer(&mut self) {
        let machine = match self.wake {
            Wake::At(at, _) => Some(at),
            Wake::Now(_) | Wake::Idle => None,
        };
        let Some(at) = [machine, self.io.deadline()].into_iter().flatten().min() else {
            return;
        };
        if self.timer_at.is_some_and(|set| set <= at) {
            return;
        }
        self.timer.set(self.clock.to_std(at));
        self.timer_at = Some(at);
        if self.timer.poll(&mut self.timer_signal.context()).is_ready() {
            self.timer_signal.waker().wake_by_ref();
        }
    }
}
