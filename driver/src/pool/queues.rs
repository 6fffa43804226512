//! Which job runs next, and which ones wait for others.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use anabranch_core::action::DiskJob;
use anabranch_core::id::OpId;

use super::work::{Write, go_together};
use crate::storage::Storage;

/// How many pieces may wait for a thread that stores others of the same storage before another thread
/// is called. One that finds two has less work with them than with one after the other, and none that
/// is called for one piece only gets in the way of what brings the next.
pub(super) const STORES_A_THREAD: usize = 4;

/// All jobs that have not begun, and the threads that they wait for.
pub(super) struct Queues {
    /// How many threads rechecks and slow jobs may have together; there is one more.
    pub(super) threads: usize,
    pub(super) started: usize,
    pub(super) asleep: usize,
    pub(super) closing: bool,
    /// By kind, those that may run, and how many threads have some of it.
    ready: [VecDeque<Ready>; Kind::ALL.len()],
    running: [usize; Kind::ALL.len()],
    /// By storage, where it has any jobs.
    pub(super) lanes: BTreeMap<LaneKey, Lane>,
    /// How many of those that are ready can wait for a thread that is at it.
    patient: usize,
}

pub(super) struct Job {
    pub(super) op: OpId,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) job: DiskJob,
}

/// What a thread takes on in one turn.
pub(super) enum Task {
    One(Job),
    /// Two jobs of one storage that [go together](go_together).
    Two([Job; 2]),
    /// What is lined up to be written to a storage.
    Writes(Arc<dyn Storage>),
}

/// What a thread chose, to be told at the end.
pub(super) struct Turn {
    kind: Kind,
    /// Where it stores pieces.
    stores: Option<LaneKey>,
}

enum Ready {
    Job(Job),
    Writes(Arc<dyn Storage>),
}

/// The address of a storage. While a lane has jobs they keep the storage alive, so that no other has
/// the same. A lane that has none but whose last turn is not over may pass on to another storage, which
/// changes nothing for either.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey(usize);

/// The jobs of one storage.
#[derive(Default)]
pub(super) struct Lane {
    /// Jobs that are ready or running, those that have something lined up to be written, and
    /// checkpoints that wait for each other.
    active: usize,
    /// A job that runs alone is ready or running.
    alone: bool,
    /// A checkpoint is ready or running.
    checkpoint: bool,
    /// Checkpoints that wait for it.
    checkpoints: VecDeque<Job>,
    /// Pieces that are ready to be stored, and how many threads are at others.
    stores: usize,
    storing: usize,
    /// What is to be written, and whether a thread does that or is to be found for it.
    pub(super) writes: VecDeque<(OpId, Write)>,
    writing: bool,
    /// A job that runs alone, and those behind it.
    parked: VecDeque<Job>,
}

/// Which jobs compete for threads, in the order in which they are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Urgent,
    Slow,
    Bulk,
}

impl Queues {
    pub(super) fn new(threads: NonZeroUsize) -> Self {
        Self {
            threads: threads.get(),
            started: 0,
            asleep: 0,
            closing: false,
            ready: Default::default(),
            running: Default::default(),
            lanes: BTreeMap::new(),
            patient: 0,
        }
    }

    pub(super) fn submit(&mut self, job: Job) {
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
        if is_store(&job.job) {
            self.count_stores(lane_key(&job.storage), |lane| lane.stores += 1);
        }
        self.ready[kind(&job.job) as usize].push_back(Ready::Job(job));
    }

    /// A job has ended: others of the same storage may become ready.
    pub(super) fn finish(&mut self, key: LaneKey, alone: bool, checkpoint: bool) {
        // Lanes are dropped only with the pool.
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.active -= 1;
        lane.alone &= !alone;
        if checkpoint {
            match lane.checkpoints.pop_front() {
                Some(next) => self.ready[Kind::Slow as usize].push_back(Ready::Job(next)),
                None => lane.checkpoint = false,
            }
        }
        while let Some(lane) = self.lanes.get_mut(&key) {
            if lane.is_idle() {
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

    /// What to do next. [`end_turn`](Self::end_turn) is owed for it.
    pub(super) fn choose(&mut self) -> Option<(Turn, Task)> {
        for kind in Kind::ALL {
            let [_, slow, bulk] = self.running;
            let shared = slow + bulk < self.threads;
            let may = match kind {
                Kind::Urgent => true,
                Kind::Slow => shared && slow < (self.threads / 2).max(1),
                Kind::Bulk => shared,
            };
            if may && let Some(ready) = self.ready[kind as usize].pop_front() {
                self.running[kind as usize] += 1;
                let mut stores = None;
                let task = match ready {
                    Ready::Writes(storage) => Task::Writes(storage),
                    Ready::Job(job) => {
                        stores = is_store(&job.job).then(|| lane_key(&job.storage));
                        match self.partner(kind, &job) {
                            Some(partner) => Task::Two([job, partner]),
                            None => Task::One(job),
                        }
                    }
                };
                if let Some(key) = stores {
                    let taken = match task {
                        Task::Two(_) => 2,
                        Task::One(_) | Task::Writes(_) => 1,
                    };
                    self.count_stores(key, |lane| {
                        lane.stores -= taken;
                        lane.storing += 1;
                    });
                }
                return Some((Turn { kind, stores }, task));
            }
        }
        None
    }

    /// A thread is through with what it chose.
    pub(super) fn end_turn(&mut self, turn: Turn) {
        self.running[turn.kind as usize] -= 1;
        let Some(key) = turn.stores else {
            return;
        };
        self.count_stores(key, |lane| lane.storing -= 1);
        if self.lanes.get(&key).is_some_and(Lane::is_idle) {
            self.lanes.remove(&key);
        }
    }

    /// Changes how many pieces wait in a lane, or how many threads are at them.
    fn count_stores(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane)) {
        // Lanes are dropped only with the pool.
        if let Some(lane) = self.lanes.get_mut(&key) {
            self.patient -= lane.patient();
            change(lane);
            self.patient += lane.patient();
        }
    }

    /// The next job, if a thread that does `job` had better do both at once.
    fn partner(&mut self, kind: Kind, job: &Job) -> Option<Job> {
        let goes_along = |next: &mut Ready| match next {
            Ready::Job(next) => {
                Arc::ptr_eq(&next.storage, &job.storage) && go_together(&job.job, &next.job)
            }
            Ready::Writes(_) => false,
        };
        match self.ready[kind as usize].pop_front_if(goes_along)? {
            Ready::Job(next) => Some(next),
            Ready::Writes(_) => None,
        }
    }

    /// A job of a storage has something to write. Says whether nobody writes to that storage, so that
    /// the caller must.
    pub(super) fn line_up(&mut self, key: LaneKey, op: OpId, write: Write) -> bool {
        // Lanes are dropped only with the pool.
        let Some(lane) = self.lanes.get_mut(&key) else {
            return false;
        };
        lane.writes.push_back((op, write));
        !std::mem::replace(&mut lane.writing, true)
    }

    /// What the one who writes to a storage is to write next. With `None` it is relieved.
    pub(super) fn next_write(&mut self, key: LaneKey) -> Option<(OpId, Write)> {
        let lane = self.lanes.get_mut(&key)?;
        let next = lane.writes.pop_front();
        lane.writing = next.is_some();
        next
    }

    /// The one who writes to a storage leaves the rest to whoever is next.
    pub(super) fn write_later(&mut self, storage: &Arc<dyn Storage>) {
        if let Some(lane) = self.lanes.get_mut(&lane_key(storage)) {
            lane.writing = !lane.writes.is_empty();
            if lane.writing {
                self.ready[Kind::Urgent as usize].push_back(Ready::Writes(Arc::clone(storage)));
            }
        }
    }

    /// Takes a job back that has not begun.
    pub(super) fn take(&mut self, op: OpId) -> Option<Job> {
        let wanted = |job: &Job| job.op == op && is_harmless(&job.job);
        for queue in &mut self.ready {
            let found = queue.iter().position(|ready| match ready {
                Ready::Job(job) => wanted(job),
                Ready::Writes(_) => false,
            });
            if let Some(Ready::Job(job)) = found.and_then(|at| queue.remove(at)) {
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
    pub(super) fn give_up(&mut self) -> Vec<Job> {
        let ready = self.ready.iter_mut().flat_map(|queue| queue.drain(..));
        let mut jobs: Vec<_> = ready
            .filter_map(|ready| match ready {
                Ready::Job(job) => Some(job),
                // What is lined up was begun by a thread, and there are none.
                Ready::Writes(_) => None,
            })
            .collect();
        self.patient = 0;
        for lane in std::mem::take(&mut self.lanes).into_values() {
            jobs.extend(lane.checkpoints);
            jobs.extend(lane.parked);
        }
        jobs
    }

    /// Takes out all that has not begun, to be dropped where that holds nobody up.
    pub(super) fn take_all(&mut self) -> impl Sized + use<> {
        self.patient = 0;
        let ready = std::mem::take(&mut self.ready);
        (ready, std::mem::take(&mut self.lanes))
    }

    /// How many jobs are to have a thread of their own, if there is one.
    pub(super) fn calling(&self) -> usize {
        self.waiting().iter().sum::<usize>() - self.patient
    }

    /// How many jobs could run, by kind.
    pub(super) fn waiting(&self) -> [usize; Kind::ALL.len()] {
        self.ready.each_ref().map(VecDeque::len)
    }

    /// How many threads are at it, by kind.
    pub(super) fn running(&self) -> [usize; Kind::ALL.len()] {
        self.running
    }
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.active == 0 && self.parked.is_empty() && self.storing == 0
    }

    /// How many of the pieces that are ready can wait for those that are at others.
    fn patient(&self) -> usize {
        if self.stores <= self.storing * STORES_A_THREAD {
            self.stores
        } else {
            0
        }
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
        | DiskJob::Trim { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. }
        | DiskJob::Remove { .. } => Kind::Slow,
        DiskJob::Verify { .. } => Kind::Bulk,
    }
}

pub(super) fn runs_alone(job: &DiskJob) -> bool {
    match job {
        DiskJob::Open(_)
        | DiskJob::Select { .. }
        | DiskJob::Trim { .. }
        | DiskJob::Close
        | DiskJob::Remove { .. } => true,
        DiskJob::Verify { .. }
        | DiskJob::Store { .. }
        | DiskJob::Write { .. }
        | DiskJob::Read { .. }
        | DiskJob::Checkpoint { .. }
        | DiskJob::Probe { .. } => false,
    }
}

pub(super) fn is_checkpoint(job: &DiskJob) -> bool {
    matches!(job, DiskJob::Checkpoint { .. })
}

fn is_store(job: &DiskJob) -> bool {
    matches!(job, DiskJob::Store { .. })
}

/// Whether nothing is lost if it is not done.
fn is_harmless(job: &DiskJob) -> bool {
    matches!(job, DiskJob::Verify { .. } | DiskJob::Read { .. })
}

pub(super) fn lane_key(storage: &Arc<dyn Storage>) -> LaneKey {
    LaneKey(Arc::as_ptr(storage).addr())
}
