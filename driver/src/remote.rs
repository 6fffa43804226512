//! The way into a running loop: a bounded channel of messages.

use std::fmt;
use std::sync::Arc;

use anabranch_core::action::HttpRequest;
use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::error::CommandError;
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::{Command, Instant};
use async_channel::Sender;

use crate::error::Error;
use crate::fetch::Place;
use crate::notices::{About, Notices, Readers};
use crate::storage::Storage;

/// Messages that may wait for the loop; a sender waits beyond it.
pub const MESSAGE_QUEUE: usize = 256;

pub(crate) type ReplyTo = Sender<Result<Reply, CommandError>>;

/// A look at the machine from within the loop.
pub(crate) type Query<M> = Box<dyn FnOnce(&M, Instant) + Send>;

/// What a handle can ask of the loop.
pub(crate) enum Message<M> {
    /// A command.
    Command { command: Command, reply: ReplyTo },
    /// A torrent together with its storage.
    Add {
        add: Box<AddTorrent>,
        storage: Arc<dyn Storage>,
        reply: ReplyTo,
    },
    /// A torrent file from the web.
    Fetch(Fetch),
    /// A look at the machine.
    Query(Query<M>),
    /// End in good order.
    Shutdown { reply: ReplyTo },
}

/// A request for a torrent file.
pub(crate) struct Fetch {
    pub(crate) request: HttpRequest,
    pub(crate) reply: Sender<Result<HttpReply, ContactError>>,
    /// It is one of so many at a time.
    pub(crate) place: Place,
}

impl<M> fmt::Debug for Message<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command { .. } => "Command",
            Self::Add { .. } => "Add",
            Self::Fetch(_) => "Fetch",
            Self::Query(_) => "Query",
            Self::Shutdown { .. } => "Shutdown",
        })
    }
}

/// Talks to a running [`Loop`](crate::run::Loop). When the last one is gone, the loop ends its machine
/// in good order and then itself.
///
/// Its futures can be dropped at any time. What had been sent by then is carried out nevertheless.
pub struct Remote<M> {
    messages: Sender<Message<M>>,
    readers: Readers,
}

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Self {
        Self {
            messages: self.messages.clone(),
            readers: self.readers.clone(),
        }
    }
}

impl<M> fmt::Debug for Remote<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl<M> Remote<M> {
    pub(crate) fn new(messages: Sender<Message<M>>, readers: Readers) -> Self {
        Self { messages, readers }
    }

    /// Gives a command, and waits for its answer.
    ///
    /// # Errors
    ///
    /// The machine's own, and [`Error::Stopped`].
    pub async fn command(&self, command: Command) -> Result<Reply, Error> {
        self.ask(|reply| Message::Command { command, reply }).await
    }

    /// Takes on a torrent whose data lives in `storage`; the key in `add` is filled in.
    ///
    /// # Errors
    ///
    /// The machine's own, and [`Error::Stopped`].
    pub async fn add(&self, add: AddTorrent, storage: Arc<dyn Storage>) -> Result<Reply, Error> {
        let add = Box::new(add);
        self.ask(|reply| Message::Add {
            add,
            storage,
            reply,
        })
        .await
    }

    /// Looks at the machine from within the loop, so the look should be short.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&M, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = async_channel::bounded(1);
        let message = Message::Query(Box::new(move |machine, now| {
            // Whoever asked may have left.
            let _ = reply.try_send(look(machine, now));
        }));
        self.messages
            .send(message)
            .await
            .map_err(|_| Error::Stopped)?;
        answer.recv().await.map_err(|_| Error::Stopped)
    }

    /// Ends the machine in good order, and the loop with it.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if it has ended already; [`Error::Unfinished`] if it took too long.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let (reply, answer) = async_channel::bounded(1);
        self.messages
            .send(Message::Shutdown { reply })
            .await
            .map_err(|_| Error::Stopped)?;
        match answer.recv().await {
            Ok(result) => Ok(result.map(|_| ())?),
            Err(_) => Err(Error::Unfinished),
        }
    }

    /// All notices from now on.
    pub fn notices(&self) -> Notices {
        self.readers.subscribe(About::Everything)
    }

    pub(crate) fn subscribe(&self, about: About) -> Notices {
        self.readers.subscribe(about)
    }

    /// Makes a request when it has a place among those that are made at a time.
    pub(crate) async fn fetch(
        &self,
        request: HttpRequest,
        place: Place,
    ) -> Result<Result<HttpReply, ContactError>, Error> {
        let (reply, answer) = async_channel::bounded(1);
        let fetch = Fetch {
            request,
            reply,
            place,
        };
        self.messages
            .send(Message::Fetch(fetch))
            .await
            .map_err(|_| Error::Stopped)?;
        answer.recv().await.map_err(|_| Error::Stopped)
    }

    async fn ask(&self, message: impl FnOnce(ReplyTo) -> Message<M>) -> Result<Reply, Error> {
        let (reply, answer) = async_channel::bounded(1);
        self.messages
            .send(message(reply))
            .await
            .map_err(|_| Error::Stopped)?;
        let result = answer.recv().await.map_err(|_| Error::Stopped)?;
        Ok(result?)
    }
}
