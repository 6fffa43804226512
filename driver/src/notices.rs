//! Notices on their way to whoever wants them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use anabranch_core::Notice;
use anabranch_core::id::TorrentId;
use futures_core::Stream;

/// Notices that wait for one reader; more are dropped, and counted.
pub const NOTICE_QUEUE: usize = 1024;

/// A stream of notices, each as it happens, from the moment the stream was made.
///
/// A reader that does not keep up loses the newest, and [`Notices::missed`] counts them: look at the
/// status then. The stream ends when the client does.
#[derive(Debug)]
pub struct Notices {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    about: About,
    state: Mutex<State>,
    missed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Notice>,
    reader: Option<Waker>,
    ended: bool,
}

/// Which notices a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// All.
    Everything,
    /// Those of one torrent.
    Torrent(TorrentId),
    /// Those that a torrent's completion hangs on.
    Completion(TorrentId),
}

impl About {
    fn covers(self, notice: &Notice) -> bool {
        match self {
            Self::Everything => true,
            Self::Torrent(torrent) => notice.torrent() == torrent,
            Self::Completion(torrent) => {
                notice.torrent() == torrent
                    && matches!(
                        notice,
                        Notice::Completed { .. }
                            | Notice::MetadataReceived { .. }
                            | Notice::MetadataUnusable { .. }
                            | Notice::Removed { .. }
                            | Notice::State { .. }
                            | Notice::Checked { .. }
                    )
            }
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Notices {
    /// The next notice; none when the client has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        std::future::poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// How many notices were dropped since this was last asked.
    pub fn missed(&self) -> u64 {
        self.queue.missed.swap(0, Ordering::Relaxed)
    }

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let mut state = self.queue.state();
        if let Some(notice) = state.waiting.pop_front() {
            return Poll::Ready(Some(notice));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Stream for Notices {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.get_mut().poll_notice(cx)
    }
}

/// All readers. The loop and the handles share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<Mutex<ReaderList>>);

#[derive(Debug, Default)]
struct ReaderList {
    queues: Vec<Arc<Queue>>,
    ended: bool,
}

impl Readers {
    fn list(&self) -> MutexGuard<'_, ReaderList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream.
    pub(crate) fn subscribe(&self, about: About) -> Notices {
        let mut list = self.list();
        let queue = Arc::new(Queue {
            about,
            state: Mutex::new(State {
                ended: list.ended,
                ..State::default()
            }),
            missed: AtomicU64::new(0),
        });
        if !list.ended {
            list.queues.push(Arc::clone(&queue));
        }
        Notices { queue }
    }

    /// Hands a notice to everybody who wants it. Whoever dropped the stream is forgotten.
    pub(crate) fn publish(&self, notice: &Notice) {
        self.list().queues.retain(|queue| {
            if Arc::strong_count(queue) == 1 {
                return false;
            }
            if !queue.about.covers(notice) {
                return true;
            }
            let mut state = queue.state();
            if state.waiting.len() >= NOTICE_QUEUE {
                queue.missed.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            state.waiting.push_back(notice.clone());
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
            true
        });
    }

    /// Ends all streams, also those that are made later.
    pub(crate) fn end(&self) {
        let mut list = self.list();
        list.ended = true;
        for queue in list.queues.drain(..) {
            queue.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(slot: u32) -> TorrentId {
        use serde::Deserialize as _;
        use serde::de::value::{Error, MapDeserializer};
        let fields = [("slot", slot), ("generation", 1)];
        TorrentId::deserialize(MapDeserializer::<_, Error>::new(fields.into_iter()))
            .expect("the fields of an id")
    }

    fn poll(notices: &mut Notices) -> Poll<Option<Notice>> {
        notices.poll_notice(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_reader_that_does_not_keep_up_loses_the_newest_and_is_told() {
        let readers = Readers::default();
        let mut slow = readers.subscribe(About::Everything);
        for slot in 0..NOTICE_QUEUE as u32 + 3 {
            readers.publish(&Notice::Removed {
                torrent: torrent(slot),
            });
        }
        assert_eq!(slow.missed(), 3);
        assert_eq!(slow.missed(), 0);
        for slot in 0..NOTICE_QUEUE as u32 {
            let expected = Notice::Removed {
                torrent: torrent(slot),
            };
            assert_eq!(poll(&mut slow), Poll::Ready(Some(expected)));
        }
        assert_eq!(poll(&mut slow), Poll::Pending);
    }

    #[test]
    fn a_reader_of_one_torrent_hears_of_no_other() {
        let readers = Readers::default();
        let mut one = readers.subscribe(About::Torrent(torrent(1)));
        for slot in [0, 1, 2] {
            readers.publish(&Notice::Completed {
                torrent: torrent(slot),
            });
        }
        let expected = Notice::Completed {
            torrent: torrent(1),
        };
        assert_eq!(poll(&mut one), Poll::Ready(Some(expected)));
        assert_eq!(poll(&mut one), Poll::Pending);
    }

    #[test]
    fn streams_end_with_the_client_and_readers_that_left_are_forgotten() {
        let readers = Readers::default();
        drop(readers.subscribe(About::Everything));
        let mut stays = readers.subscribe(About::Everything);
        readers.publish(&Notice::Completed {
            torrent: torrent(0),
        });
        assert_eq!(readers.list().queues.len(), 1);
        readers.end();
        assert!(poll(&mut stays).is_ready());
        assert_eq!(poll(&mut stays), Poll::Ready(None));
        assert_eq!(
            poll(&mut readers.subscribe(About::Everything)),
            Poll::Ready(None)
        );
    }
}
