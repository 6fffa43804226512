//! Dials, lookups and HTTP exchanges under way: futures, each with a waker of its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use anabranch_core::event::{ContactError, HttpReply};

use crate::ready::{Queue, Ready, Signal, Source, TaskKey};

/// What a future came to.
#[derive(Debug)]
pub(crate) enum Outcome<S> {
    Dialled(io::Result<S>),
    Resolved(Result<Vec<IpAddr>, ContactError>),
    Http(Result<HttpReply, ContactError>),
    /// Whoever waits for it was told.
    Fetched,
}

type TaskFuture<S> = Pin<Box<dyn Future<Output = Outcome<S>> + Send>>;

/// The futures. How many there are is the engine's decision: half-open connections and operations are
/// bounded there.
pub(crate) struct Tasks<S> {
    tasks: BTreeMap<TaskKey, (Signal, TaskFuture<S>)>,
}

impl<S> Tasks<S> {
    pub(crate) fn new() -> Self {
        Self {
            tasks: BTreeMap::new(),
        }
    }

    /// Starts a future: it is polled when its turn comes.
    pub(crate) fn start(
        &mut self,
        ready: &Arc<Ready>,
        queue: &mut Queue,
        key: TaskKey,
        future: impl Future<Output = Outcome<S>> + Send + 'static,
    ) {
        let signal = Signal::new(ready, Source::Task(key));
        signal.requeue(queue);
        self.tasks.insert(key, (signal, Box::pin(future)));
    }

    /// Polls a future, and takes it out when it has ended.
    pub(crate) fn poll(&mut self, key: TaskKey) -> Option<Outcome<S>> {
        let (signal, future) = self.tasks.get_mut(&key)?;
        match future.as_mut().poll(&mut signal.context()) {
            Poll::Ready(outcome) => {
                self.tasks.remove(&key);
                Some(outcome)
            }
            Poll::Pending => None,
        }
    }

    /// Gives a future up, and says whether there was one.
    pub(crate) fn cancel(&mut self, key: TaskKey) -> bool {
        self.tasks.remove(&key).is_some()
    }
}
