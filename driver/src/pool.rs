//! Stand-in until the storage branch lands.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};

use anabranch_core::action::DiskJob;
use anabranch_core::event::{DiskDone, DiskError};
use anabranch_core::id::OpId;

use crate::storage::Storage;

type Job = (OpId, Arc<dyn Storage>, DiskJob);
type Done = (OpId, Result<DiskDone, DiskError>);

#[derive(Default)]
struct Shared {
    done: VecDeque<Done>,
    waker: Option<Waker>,
}

pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Mutex<Shared>>,
}

impl Pool {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for (op, storage, job) in queue {
                let result = storage.run(job);
                let mut shared = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                shared.done.push_back((op, result));
                if let Some(waker) = shared.waker.take() {
                    waker.wake();
                }
            }
        });
        Self { jobs, shared }
    }

    pub(crate) fn submit(&self, op: OpId, storage: Arc<dyn Storage>, job: DiskJob) {
        let _ = self.jobs.send((op, storage, job));
    }

    pub(crate) fn poll_done(&self, cx: &mut Context<'_>) -> Poll<Done> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.done.pop_front() {
            Some(done) => Poll::Ready(done),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
