//! A machine that does as a test says, on a real loop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use anabranch_driver::engine::id::{ConnId, OpId, TorrentId};
use anabranch_driver::engine::{Action, Event, Instant, Wake};
use anabranch_driver::{Clock, Loop, LoopOptions, Machine, Remote, Runtime as _};
use anabranch_tests::net::free_port;
use anabranch_tests::subject::Subject;

/// How long anything may take before it counts as lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A machine made of a closure.
pub(crate) struct Script<F> {
    step: F,
    actions: Vec<Action>,
}

impl<F> Machine for Script<F>
where
    F: FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static,
{
    fn handle(&mut self, now: Instant, event: Event) -> Wake {
        // A script is told of its end like an engine, and has nothing to end.
        if let Event::Command { request, command } = &event
            && matches!(**command, anabranch_driver::engine::Command::Shutdown)
        {
            self.actions.push(Action::Reply {
                request: *request,
                result: Ok(anabranch_driver::engine::command::Reply::Done),
            });
        }
        (self.step)(now, event, &mut self.actions)
    }

    fn actions(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.actions.drain(..)
    }
}

pub(crate) fn conn(slot: u32) -> ConnId {
    ConnId::new(slot, 1)
}

pub(crate) fn torrent() -> TorrentId {
    TorrentId::new(0, 1)
}

pub(crate) fn op(slot: u32) -> OpId {
    OpId::new(slot, 1)
}

/// A loop that runs a script and listens on loopback.
pub(crate) struct Running<F> {
    pub(crate) address: SocketAddr,
    pub(crate) remote: Remote<Script<F>>,
}

pub(crate) fn start<S: Subject, F>(step: F, options: LoopOptions) -> Running<F>
where
    F: FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static,
{
    start_on::<S, F>(S::Runtime::default(), step, options)
}

fn start_on<S: Subject, F>(runtime: S::Runtime, step: F, options: LoopOptions) -> Running<F>
where
    F: FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static,
{
    let script = Script {
        step,
        actions: Vec::new(),
    };
    let (mut run, remote) = Loop::new(runtime.clone(), script, Clock::start(), options);
    let address = run
        // Not one of those that the system gives to others the moment that it is free.
        .listen((Ipv4Addr::LOCALHOST, free_port()).into())
        .expect("a free port");
    runtime.spawn(run.run()).expect("a place to run");
    Running { address, remote }
}

impl<F> Running<F>
where
    F: FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static,
{
    /// Ends the loop, so that nothing comes after what was seen.
    pub(crate) fn stop(&self) {
        smol::block_on(self.remote.shutdown()).expect("a good end");
    }
}

/// A script's step.
pub(crate) trait Step:
    FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static
{
}

impl<F: FnMut(Instant, Event, &mut Vec<Action>) -> Wake + Send + 'static> Step for F {}

/// Runs a script that begins with `first` and hands every event to the test.
pub(crate) fn record<S: Subject>(
    runtime: S::Runtime,
    options: LoopOptions,
    first: Vec<Action>,
) -> (Running<impl Step + use<S>>, Receiver<Event>) {
    let (seen, events) = mpsc::channel();
    let mut first = Some(first);
    let running = start_on::<S, _>(
        runtime,
        move |_, event, actions| {
            if let Some(first) = first.take() {
                actions.extend(first);
            }
            report(&seen, event);
            Wake::Idle
        },
        options,
    );
    (running, events)
}

/// Tells the test, which may have seen enough.
pub(crate) fn report<T>(to: &Sender<T>, what: T) {
    let _ = to.send(what);
}

/// Waits for what a test hangs on.
pub(crate) fn wait<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).expect("in time")
}

/// Waits for the first event that `pick` takes.
pub(crate) fn wait_for<T>(events: &Receiver<Event>, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = pick(wait(events)) {
            return found;
        }
    }
}
