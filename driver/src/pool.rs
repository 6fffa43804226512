//! Worker threads for everything that blocks on a disk or takes a core for long.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use anabranch_core::action::DiskJob;
use anabranch_core::event::{DiskError, DiskErrorKind, OpResult};
use anabranch_core::id::OpId;

use crate::buffers::BufferPool;
use crate::storage::{Storage, go_together, perform, perform_two};
use crate::sync::lock;

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
/// - a storage has one `Checkpoint` at a time.
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

struct Queues {
    /// How many threads rechecks and slow jobs may have together; there is one more.
    threads: usize,
    started: usize,
    asleep: usize,
    closing: bool,
    /// By kind, those that may run, and how many threads have some of it.
    ready: [VecDeque<Job>; Kind::ALL.len()],
    running: [usize; Kind::ALL.len()],
    /// By storage, where it has any jobs.
    lanes: BTreeMap<LaneKey, Lane>,
}

struct Job {
    op: OpId,
    storage: Arc<dyn Storage>,
    job: DiskJob,
}

/// The address of a storage. While a lane has jobs they keep the storage alive, so that no other has
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LaneKey(usize);

/// The jobs of one storage.
#[derive(Default)]
struct Lane {
    /// Jobs that are ready or running, and checkpoints that wait for each other.
    active: usize,
    /// A job that runs alone is ready or running.
    alone: bool,
    /// A checkpoint is ready or running.
    checkpoint: bool,
    /// Checkpoints that wait for it.
    checkpoints: VecDeque<Job>,
    /// A job that runs alone, and those behind it.
    parked: VecDeque<Job>,
}

/// Which jobs compete for threads, in the order in which they are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Urgent,
    Slow,
    Bulk,
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
                queues: Mutex::new(Queues {
                    threads: threads.get(),
                    started: 0,
                    asleep: 0,
                    closing: false,
                    ready: Default::default(),
                    running: Default::default(),
                    lanes: BTreeMap::new(),
                }),
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
            let ready = std::mem::take(&mut queues.ready);
            (ready, std::mem::take(&mut queues.lanes))
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
            .field("waiting", &queues.ready.each_ref().map(VecDeque::len))
            .field("running", &queues.running)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sees to it that somebody does what is ready. When nobody can, the jobs come back.
    fn staff(self: &Arc<Self>, queues: &mut Queues) -> Option<(std::io::Error, Vec<Job>)> {
        let ready: usize = queues.ready.iter().map(VecDeque::len).sum();
        if ready == 0 {
            return None;
        }
        if queues.asleep > 0 {
            self.work.notify_one();
        }
        if ready <= queues.asleep || queues.started > queues.threads {
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
            let Some((kind, job)) = queues.choose() else {
                queues.asleep += 1;
                queues = self
                    .work
                    .wait(queues)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                queues.asleep -= 1;
                continue;
            };
            let partner = queues.partner(kind, &job);
            // A wake-up may have been for more than one job.
            let _ = self.staff(&mut queues);
            drop(queues);

            let Job { op, storage, job } = job;
            let (alone, checkpoint) = (runs_alone(&job), is_checkpoint(&job));
            match partner {
                Some(partner) => {
                    let jobs = [job, partner.job];
                    let work = AssertUnwindSafe(|| perform_two(&*storage, jobs, &self.buffers));
                    let [one, two] = catch_unwind(work).unwrap_or_else(|panic| {
                        let error = panicked(&*panic);
                        [Err(error.clone()), Err(error)]
                    });
                    self.complete(op, OpResult::Disk(one));
                    self.complete(partner.op, OpResult::Disk(two));
                    queues = lock(&self.queues);
                    queues.finish(lane_key(&storage), false, false);
                }
                None => {
                    let work = AssertUnwindSafe(|| perform(&*storage, job, &self.buffers));
                    let result = catch_unwind(work).unwrap_or_else(|panic| Err(panicked(&*panic)));
                    self.complete(op, OpResult::Disk(result));
                    queues = lock(&self.queues);
                }
            }
            queues.running[kind as usize] -= 1;
            queues.finish(lane_key(&storage), alone, checkpoint);
            // It may have been the last one to hold the storage.
            drop(queues);
            drop(storage);
            queues = lock(&self.queues);
        }
        queues.started -= 1;
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

impl Queues {
    fn submit(&mut self, job: Job) {
        let lane = self.lanes.entry(lane_key(&job.storage)).or_default();
        if lane.alone || !lane.parked.is_empty() || (runs_alone(&job.job) && lane.active > 0) {
            lane.parked.push_back(job);
            return;
        }
        self.begin(job);
    }

    /// Makes a job ready, or lets it wait for another checkpoint.
    fn begin(&mut self, job: Job) {
        let lane = self.lanes.entry(lane_key(&job.storage)).or_default();
        lane.active += 1;
        lane.alone = runs_alone(&job.job);
        if is_checkpoint(&job.job) {
            if lane.checkpoint {
                lane.checkpoints.push_back(job);
                return;
            }
            lane.checkpoint = true;
        }
        self.ready[kind(&job.job) as usize].push_back(job);
    }

    /// A job has ended: others of the same storage may become ready.
    fn finish(&mut self, key: LaneKey, alone: bool, checkpoint: bool) {
        // Lanes are dropped only with the pool.
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.active -= 1;
        lane.alone &= !alone;
        if checkpoint {
            match lane.checkpoints.pop_front() {
                Some(next) => self.ready[Kind::Slow as usize].push_back(next),
                None => lane.checkpoint = false,
            }
        }
        while let Some(lane) = self.lanes.get_mut(&key) {
            if lane.active == 0 && lane.parked.is_empty() {
                self.lanes.remove(&key);
                break;
            }
            let free = |job: &mut Job| !runs_alone(&job.job) || lane.active == 0;
            if lane.alone {
                break;
            }
            let Some(next) = lane.parked.pop_front_if(free) else {
                break;
            };
            self.begin(next);
        }
    }

    /// What to do next.
    fn choose(&mut self) -> Option<(Kind, Job)> {
        for kind in Kind::ALL {
            let [_, slow, bulk] = self.running;
            let shared = slow + bulk < self.threads;
            let may = match kind {
                Kind::Urgent => true,
                Kind::Slow => shared && slow < (self.threads / 2).max(1),
                Kind::Bulk => shared,
            };
            if may && let Some(job) = self.ready[kind as usize].pop_front() {
                self.running[kind as usize] += 1;
                return Some((kind, job));
            }
        }
        None
    }

    /// The next job, if a thread that does `job` had better do both at once.
    fn partner(&mut self, kind: Kind, job: &Job) -> Option<Job> {
        self.ready[kind as usize].pop_front_if(|next| {
            Arc::ptr_eq(&next.storage, &job.storage) && go_together(&job.job, &next.job)
        })
    }

    /// Takes a job back that has not begun.
    fn take(&mut self, op: OpId) -> Option<Job> {
        let wanted = |job: &Job| job.op == op && is_harmless(&job.job);
        for queue in &mut self.ready {
            if let Some(at) = queue.iter().position(wanted) {
                let job = queue.remove(at)?;
                self.finish(lane_key(&job.storage), false, false);
                return Some(job);
            }
        }
        for lane in self.lanes.values_mut() {
            if let Some(at) = lane.parked.iter().position(wanted) {
                return lane.parked.remove(at);
            }
        }
        None
    }

    /// Takes all jobs out, which nobody will do.
    fn give_up(&mut self) -> Vec<Job> {
        let mut jobs: Vec<_> = self.ready.iter_mut().flat_map(|q| q.drain(..)).collect();
        for lane in std::mem::take(&mut self.lanes).into_values() {
            jobs.extend(lane.checkpoints);
            jobs.extend(lane.parked);
        }
        jobs
    }
}

impl Kind {
    const ALL: [Self; 3] = [Self::Urgent, Self::Slow, Self::Bulk];
}

fn kind(job: &DiskJob) -> Kind {
    match job {
        DiskJob::Store { .. } | DiskJob::Write { .. } | DiskJob::Read { .. } | DiskJob::Close => {
            Kind::Urgent
        }
        DiskJob::Open(_)
        | DiskJob::Select { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. }
        | DiskJob::Remove { .. } => Kind::Slow,
        DiskJob::Verify { .. } => Kind::Bulk,
    }
}

fn runs_alone(job: &DiskJob) -> bool {
    match job {
        DiskJob::Open(_) | DiskJob::Select { .. } | DiskJob::Close | DiskJob::Remove { .. } => true,
        DiskJob::Verify { .. }
        | DiskJob::Store { .. }
        | DiskJob::Write { .. }
        | DiskJob::Read { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. } => false,
    }
}

fn is_checkpoint(job: &DiskJob) -> bool {
    matches!(job, DiskJob::Checkpoint { .. })
}

/// Whether nothing is lost if it is not done.
fn is_harmless(job: &DiskJob) -> bool {
    matches!(job, DiskJob::Verify { .. } | DiskJob::Read { .. })
}

fn lane_key(storage: &Arc<dyn Storage>) -> LaneKey {
    LaneKey(Arc::as_ptr(storage).addr())
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
