//! Who is ready: every source of events has a waker of its own, which puts it on one list.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use anabranch_core::id::{ConnId, OpId};

/// The loop's own queue of sources.
pub(crate) type Queue = VecDeque<Arc<Flag>>;

/// What a future is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskKey {
    /// A connection being made.
    Dial(ConnId),
    /// An operation.
    Op(OpId),
    /// A torrent file from the web.
    Fetch(u64),
}

/// What may have become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A connection may have bytes to read.
    Read(ConnId),
    /// A connection may take bytes.
    Write(ConnId),
    /// A future may have come to an end.
    Task(TaskKey),
    /// A listening socket may have a connection.
    Listener(usize),
    /// A UDP socket may have a packet.
    Receive(usize),
    /// A UDP socket may take a packet.
    Transmit(usize),
    /// A handle may have sent a message.
    Messages,
    /// A disk job may have ended.
    Disk,
    /// The timer may have fired. The clock decides; this only makes the loop look at it.
    Timer,
}

/// The list of sources that were woken, and the task that wants to know.
#[derive(Debug, Default)]
pub(crate) struct Ready(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    woken: Vec<Arc<Flag>>,
    /// Set only while the task sleeps, so that waking a source of a running loop costs a push.
    task: Option<Waker>,
}

impl Ready {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and the state is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what was woken to the end of `queue`, in order.
    pub(crate) fn collect(&self, queue: &mut Queue) {
        let mut state = self.state();
        state.task = None;
        queue.extend(state.woken.drain(..));
    }

    /// Goes to sleep unless something was woken in the meantime, and says whether it did.
    pub(crate) fn sleep(&self, task: &Waker) -> bool {
        let mut state = self.state();
        if !state.woken.is_empty() {
            return false;
        }
        state.task = Some(task.clone());
        true
    }

    fn push(&self, flag: Arc<Flag>) {
        let mut state = self.state();
        state.woken.push(flag);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// A source's place on the list: there once, or not at all.
#[derive(Debug)]
pub(crate) struct Flag {
    source: Source,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Flag {
    /// Takes the source off the list. What wakes it from here on puts it there again.
    pub(crate) fn take(&self) -> Source {
        self.queued.store(false, Ordering::Release);
        self.source
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let ready = Arc::clone(&self.ready);
            ready.push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(Arc::clone(self));
        }
    }
}

/// A source's waker.
#[derive(Debug)]
pub(crate) struct Signal {
    flag: Arc<Flag>,
    waker: Waker,
}

impl Signal {
    pub(crate) fn new(ready: &Arc<Ready>, source: Source) -> Self {
        let flag = Arc::new(Flag {
            source,
            queued: AtomicBool::new(false),
            ready: Arc::clone(ready),
        });
        let waker = Waker::from(Arc::clone(&flag));
        Self { flag, waker }
    }

    /// What to poll the source with.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Puts the source on the loop's own queue, unless it waits for its turn already.
    pub(crate) fn requeue(&self, queue: &mut Queue) {
        if !self.flag.queued.swap(true, Ordering::AcqRel) {
            queue.push_back(Arc::clone(&self.flag));
        }
    }
}

/// What became of a socket's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its waker is armed, or it waits for its next turn.
    Going,
    /// It fails, and must be left alone for a while.
    Failing,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(std::sync::atomic::AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_source_woken_often_is_listed_once_and_wakes_the_task_once() {
        let ready = Arc::new(Ready::default());
        let timer = Signal::new(&ready, Source::Timer);
        let disk = Signal::new(&ready, Source::Disk);
        let count = Arc::new(Count(0.into()));
        assert!(ready.sleep(&Waker::from(Arc::clone(&count))));
        timer.waker().wake_by_ref();
        timer.waker().wake_by_ref();
        disk.waker().wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let mut queue = VecDeque::new();
        ready.collect(&mut queue);
        let sources: Vec<Source> = queue.iter().map(|flag| flag.take()).collect();
        assert_eq!(sources, [Source::Timer, Source::Disk]);
    }

    #[test]
    fn a_source_woken_before_the_sleep_keeps_the_task_awake() {
        let ready = Arc::new(Ready::default());
        let signal = Signal::new(&ready, Source::Timer);
        signal.waker().wake_by_ref();
        assert!(!ready.sleep(Waker::noop()));
    }

    #[test]
    fn a_source_taken_from_the_queue_can_be_woken_again() {
        let ready = Arc::new(Ready::default());
        let signal = Signal::new(&ready, Source::Messages);
        let mut queue = VecDeque::new();
        signal.requeue(&mut queue);
        signal.requeue(&mut queue);
        signal.waker().wake_by_ref();
        assert_eq!(queue.len(), 1);
        assert!(ready.sleep(Waker::noop()));
        queue.pop_front().expect("queued").take();
        signal.waker().wake_by_ref();
        ready.collect(&mut queue);
        assert_eq!(queue.len(), 1);
    }
}
