//! What the loop drives.

use std::sync::Arc;

use anabranch_core::{Action, Actions, Command, Engine, Event, Instant, Notice, TorrentView, Wake};

use crate::dht::Keeper;
use crate::identity::{Identities, Identity};
use crate::record::Tape;

/// What the loop drives: an engine, or a wrapper around one that looks at what passes by.
pub trait Machine: Send + 'static {
    /// Takes an event, and says when it wants to be called again. The last answer counts.
    fn handle(&mut self, now: Instant, event: Event) -> Wake;

    /// Takes out what must now be done, in order.
    fn actions(&mut self) -> impl Iterator<Item = Action> + '_;
}

/// An engine and its buffer of actions.
#[derive(Debug)]
pub struct EngineMachine {
    engine: Engine,
    actions: Actions,
    tape: Option<Tape>,
    keeper: Option<Keeper>,
    identities: Identities,
}

impl EngineMachine {
    /// Wraps an engine.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            actions: Actions::new(),
            tape: None,
            keeper: None,
            identities: Identities::default(),
        }
    }

    /// Records what goes by from now on; nothing must have gone by before.
    pub(crate) fn record(mut self, tape: Tape) -> Self {
        self.tape = Some(tape);
        self
    }

    /// Saves the DHT's state now and then, and when the engine is asked to end.
    pub(crate) fn keep_dht(mut self, keeper: Option<Keeper>) -> Self {
        self.keeper = keeper;
        self
    }

    /// What handles to a torrent share.
    pub(crate) fn identity(&self, torrent: TorrentView<'_>) -> Arc<Identity> {
        self.identities.of(torrent)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Machine for EngineMachine {
    fn handle(&mut self, now: Instant, event: Event) -> Wake {
        if let Some(keeper) = &mut self.keeper
            && (keeper.is_due(now) || is_end(&event))
            && let Some(dht) = self.engine.dht()
        {
            keeper.save(&dht.state());
        }
        match &mut self.tape {
            None => self.engine.handle(now, event, &mut self.actions),
            Some(tape) => tape.handle(&mut self.engine, now, event, &mut self.actions),
        }
    }

    fn actions(&mut self) -> impl Iterator<Item = Action> + '_ {
        let (engine, identities) = (&self.engine, &self.identities);
        self.actions.drain().inspect(move |action| {
            if let Action::Notify(notice) = action {
                follow(identities, engine, notice);
            }
        })
    }
}

/// Keeps what handles know of their torrents true.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "notices that say nothing of a torrent's identity"
)]
fn follow(identities: &Identities, engine: &Engine, notice: &Notice) {
    match notice {
        Notice::MetadataReceived { torrent, .. } => {
            if let Some(view) = engine.torrent(*torrent) {
                identities.rename(view);
            }
        }
        Notice::Removed { torrent } => identities.forget(*torrent),
        _ => {}
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Command { command, .. } if matches!(**command, Command::Shutdown))
}
