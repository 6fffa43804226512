//! Worker threads for everything that blocks on a disk or takes a core for long.

mod queues;
mod work;

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use anabranch_core::action::DiskJob;
use anabranch_core::event::{DiskError, DiskErrorKind, OpResult};
use anabranch_core::id::OpId;

use self::queues::{Job, Queues, Task, is_checkpoint, lane_key, runs_alone};
use self::work::{Step, begin, begin_two};
use crate::buffers::BufferPool;
use crate::storage::Storage;
use crate::sync::lock;

/// How many pieces a thread writes to one storage before it looks what else there is.
const WRITES_IN_A_ROW: usize = 16;

/// How an operation ended, for [`Event::Done`](anabranch_core::Event::Done).
#[derive(Clone, Debug)]
pub struct Completion {
    /// The operation.
    pub op: OpId,
    /// What came of it.
    pub result: OpResult,
}

/// A bounded number of worker threads that carry [`DiskJob`]s out.
///
/// Threads start when they are first needed. Jobs of one storage run side by side, except that
///
/// - `Close` and `Remove` wait for all jobs before them; so do `Open` and `Select`, which move things
///   under the feet of others; and what comes after one of these waits for it;
/// - a storage has one `Checkpoint` at a time, and one thread that writes to it: the others hash pieces
///   meanwhile, and leave what was right to it.
///
/// Three kinds of jobs take turns, so that none keeps the others waiting: those that somebody at the
/// other end of a connection waits for (`Read`, `Store`, `Write`, `Close`), those that wait for a disk for
/// long (`Checkpoint`, `Open`, `Select`, `Probe`, `Remove`; on half of the threads at most), and
/// rechecks (`Verify`; on all threads but one, which there is beyond the number asked for).
///
/// How many jobs wait is up to the one who submits them: the engine bounds what it has outstanding.
///
/// Dropping the pool drops the jobs that have not begun; those under way end on their own.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queues: Mutex<Queues>,
    /// Somebody who sleeps may have work.
    work: Condvar,
    done: Mutex<Done>,
    buffers: BufferPool,
}

#[derive(Default)]
struct Done {
    list: Vec<Completion>,
    waker: Option<Waker>,
}

impl Pool {
    /// A pool that hashes on as many threads as the machine runs at a time.
    #[must_use]
    pub fn new(buffers: BufferPool) -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::with_threads(threads, buffers)
    }

    /// A pool that hashes on so many threads. There may be one more, for what is urgent.
    #[must_use]
    pub fn with_threads(threads: NonZeroUsize, buffers: BufferPool) -> Self {
        Self {
            shared: Arc::new(Shared {
                queues: Mutex::new(Queues::new(threads)),
                work: Condvar::new(),
                done: Mutex::default(),
                buffers,
            }),
        }
    }

    /// Has a job done. It ends in one [`Completion`], whatever happens.
    pub fn submit(&self, op: OpId, storage: Arc<dyn Storage>, job: DiskJob) {
        let failure = {
            let mut queues = lock(&self.shared.queues);
            queues.submit(Job { op, storage, job });
            self.shared.staff(&mut queues)
        };
        if let Some((error, jobs)) = failure {
            for job in jobs {
                let result = Err(DiskError {
                    kind: DiskErrorKind::Io,
                    file: String::new(),
                    message: format!("cannot start a thread: {error}"),
                });
                self.shared.complete(job.op, OpResult::Disk(result));
            }
        }
    }

    /// Takes an operation back if that changes nothing on the disk (`Verify`, `Read`) and it has not
    /// begun; it ends as cancelled then. Otherwise it ends as it would have.
    pub fn cancel(&self, op: OpId) {
        let taken = {
            let mut queues = lock(&self.shared.queues);
            let taken = queues.take(op);
            if taken.is_some() {
                // What waited for it may run now.
                let _ = self.shared.staff(&mut queues);
            }
            taken
        };
        if taken.is_some() {
            self.shared.complete(op, OpResult::Cancelled);
        }
    }

    /// Appends what has ended since the last call, in the order in which it ended. With nothing to
    /// append it is pending, and the waker is woken once for all that end before the next call.
    pub fn poll(&self, context: &mut Context<'_>, into: &mut Vec<Completion>) -> Poll<()> {
        let mut done = lock(&self.shared.done);
        if done.list.is_empty() {
            match &mut done.waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => done.waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        into.append(&mut done.list);
        Poll::Ready(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let dropped = {
            let mut queues = lock(&self.shared.queues);
            queues.closing = true;
            self.shared.work.notify_all();
            queues.take_all()
        };
        // Storages may go with their last jobs, which takes what time it takes.
        drop(dropped);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = lock(&self.shared.queues);
        f.debug_struct("Pool")
            .field("threads", &queues.started)
            .field("waiting", &queues.waiting())
            .field("running", &queues.running())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sees to it that somebody does what is ready. When nobody can, the jobs come back.
    fn staff(self: &Arc<Self>, queues: &mut Queues) -> Option<(std::io::Error, Vec<Job>)> {
        let calling = queues.calling();
        if calling == 0 {
            return None;
        }
        if queues.asleep > 0 {
            self.work.notify_one();
        }
        if calling <= queues.asleep || queues.started > queues.threads {
            return None;
        }
        let shared = Arc::clone(self);
        let started = thread::Builder::new()
            .name(format!("anabranch-disk-{}", queues.started))
            .spawn(move || shared.work());
        match started {
            Ok(_) => queues.started += 1,
            // Fewer threads do it, too.
            Err(_) if queues.started > 0 => {}
            Err(error) => return Some((error, queues.give_up())),
        }
        None
    }

    /// What a thread does.
    fn work(self: &Arc<Self>) {
        let mut queues = lock(&self.queues);
        while !queues.closing {
            let Some((turn, task)) = queues.choose() else {
                queues.asleep += 1;
                queues = self
                    .work
                    .wait(queues)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                queues.asleep -= 1;
                continue;
            };
            // A wake-up may have been for more than one job.
            let _ = self.staff(&mut queues);
            drop(queues);
            match task {
                Task::One(job) => self.perform(job),
                Task::Two(jobs) => self.perform_two(jobs),
                Task::Writes(storage) => self.write_out(&storage),
            }
            queues = lock(&self.queues);
            queues.end_turn(turn);
        }
        queues.started -= 1;
    }

    /// The storage may go with it, for which reason no lock is held then.
    fn perform(&self, job: Job) {
        let Job { op, storage, job } = job;
        let (alone, checkpoint) = (runs_alone(&job), is_checkpoint(&job));
        let work = AssertUnwindSafe(|| begin(&*storage, job, &self.buffers));
        let step = catch_unwind(work).unwrap_or_else(|panic| Step::Done(Err(panicked(&*panic))));
        if self.go_on(&storage, op, step, alone, checkpoint) {
            self.write_out(&storage);
        }
    }

    /// Does two jobs of one storage that go together.
    fn perform_two(&self, jobs: [Job; 2]) {
        let [one, two] = jobs;
        let storage = one.storage;
        let work = AssertUnwindSafe(|| begin_two(&*storage, [one.job, two.job], &self.buffers));
        let [first, second] = catch_unwind(work).unwrap_or_else(|panic| {
            let error = panicked(&*panic);
            [Step::Done(Err(error.clone())), Step::Done(Err(error))]
        });
        let writes = self.go_on(&storage, one.op, first, false, false);
        if self.go_on(&storage, two.op, second, false, false) || writes {
            self.write_out(&storage);
        }
    }

    /// Ends a job, or lines up what it has to write. Says whether the caller must write out.
    fn go_on(
        &self,
        storage: &Arc<dyn Storage>,
        op: OpId,
        step: Step,
        alone: bool,
        checkpoint: bool,
    ) -> bool {
        match step {
            Step::Done(result) => {
                self.complete(op, OpResult::Disk(result));
                lock(&self.queues).finish(lane_key(storage), alone, checkpoint);
                false
            }
            Step::ToWrite(write) => lock(&self.queues).line_up(lane_key(storage), op, write),
        }
    }

    /// Writes what is lined up for a storage, of which nobody else does.
    fn write_out(&self, storage: &Arc<dyn Storage>) {
        let key = lane_key(storage);
        let mut next = lock(&self.queues).next_write(key);
        let mut left = WRITES_IN_A_ROW;
        while let Some((op, write)) = next {
            let work = AssertUnwindSafe(|| write.perform(&**storage));
            let result = catch_unwind(work).unwrap_or_else(|panic| Err(panicked(&*panic)));
            self.complete(op, OpResult::Disk(result));
            left -= 1;
            let mut queues = lock(&self.queues);
            queues.finish(key, false, false);
            if left == 0 {
                queues.write_later(storage);
                return;
            }
            next = queues.next_write(key);
        }
    }

    fn complete(&self, op: OpId, result: OpResult) {
        let waker = {
            let mut done = lock(&self.done);
            done.list.push(Completion { op, result });
            done.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> DiskError {
    let words = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    DiskError {
        kind: DiskErrorKind::Io,
        file: String::new(),
        message: format!("the storage panicked: {}", words.unwrap_or("unknown")),
    }
}

#[cfg(test)]
mod tests;
