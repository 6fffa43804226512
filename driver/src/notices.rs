//! Notices on their way to whoever wants them.

use std::collections::{BTreeMap, VecDeque};
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
    readers: Readers,
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.readers.leave(&self.queue);
    }
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
    /// The torrent whose notices they are; none for those of all.
    fn torrent(self) -> Option<TorrentId> {
        match self {
            Self::Everything => None,
            Self::Torrent(torrent) | Self::Completion(torrent) => Some(torrent),
        }
    }

    /// Whether a notice of its torrent is one of them.
    fn covers(self, notice: &Notice) -> bool {
        match self {
            Self::Everything | Self::Torrent(_) => true,
            Self::Completion(_) => matches!(
                notice,
                Notice::Completed { .. }
                    | Notice::MetadataReceived { .. }
                    | Notice::MetadataUnusable { .. }
                    | Notice::Removed { .. }
                    | Notice::State { .. }
                    | Notice::Checked { .. }
            ),
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a notice, if there is room, and gives out whom to wake.
    fn push(&self, notice: &Notice) -> Option<Waker> {
        let mut state = self.state();
        if state.waiting.len() >= NOTICE_QUEUE {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        state.waiting.push_back(notice.clone());
        state.reader.take()
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
    /// Who wants those of all torrents.
    everything: Vec<Arc<Queue>>,
    /// Who wants those of one, so that a notice visits nobody who waits for another torrent.
    torrents: BTreeMap<TorrentId, Vec<Arc<Queue>>>,
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
            let readers = match about.torrent() {
                None => &mut list.everything,
                Some(torrent) => list.torrents.entry(torrent).or_default(),
            };
            readers.push(Arc::clone(&queue));
        }
        drop(list);
        Notices {
            queue,
            readers: self.clone(),
        }
    }

    /// Forgets a stream.
    fn leave(&self, queue: &Arc<Queue>) {
        let mut list = self.list();
        let others = |other: &Arc<Queue>| !Arc::ptr_eq(other, queue);
        match queue.about.torrent() {
            None => list.everything.retain(others),
            Some(torrent) => {
                if let Some(readers) = list.torrents.get_mut(&torrent) {
                    readers.retain(others);
                    if readers.is_empty() {
                        list.torrents.remove(&torrent);
                    }
                }
            }
        }
    }

    /// Hands a notice to everybody who wants it, and says how many were looked at for that.
    pub(crate) fn publish(&self, notice: &Notice) -> usize {
        let list = self.list();
        let of_torrent = list.torrents.get(&notice.torrent());
        let readers = list
            .everything
            .iter()
            .chain(of_torrent.into_iter().flatten());
        let mut looked_at = 0;
        let mut wakers = Vec::new();
        for queue in readers {
            looked_at += 1;
            if queue.about.covers(notice) {
                wakers.extend(queue.push(notice));
            }
        }
        // Waking may drop a stream, which takes itself off the list.
        drop(list);
        wakers.into_iter().for_each(Waker::wake);
        looked_at
    }

    /// Ends all streams, also those that are made later.
    pub(crate) fn end(&self) {
        let mut list = self.list();
        list.ended = true;
        let everything = std::mem::take(&mut list.everything);
        let torrents = std::mem::take(&mut list.torrents);
        drop(list);
        for queue in everything.iter().chain(torrents.values().flatten()) {
            queue.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(slot: u32) -> TorrentId {
        TorrentId::new(slot, 1)
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
    fn a_notice_visits_nobody_who_waits_for_another_torrent() {
        let readers = Readers::default();
        let waiting: Vec<Notices> = (0..1_000)
            .map(|slot| readers.subscribe(About::Completion(torrent(slot))))
            .collect();
        let _all = readers.subscribe(About::Everything);
        let notice = Notice::Completed {
            torrent: torrent(7),
        };
        assert_eq!(readers.publish(&notice), 2);
        let told = waiting.into_iter().map(|mut one| poll(&mut one).is_ready());
        assert_eq!(told.filter(|told| *told).count(), 1);
    }

    #[test]
    fn a_stream_may_be_dropped_by_what_it_wakes() {
        struct Holder(Mutex<Option<Notices>>);
        impl std::task::Wake for Holder {
            fn wake(self: Arc<Self>) {
                drop(self.0.lock().expect("no panic").take());
            }
        }
        let readers = Readers::default();
        let holder = Arc::new(Holder(Mutex::new(None)));
        let mut notices = readers.subscribe(About::Torrent(torrent(1)));
        let waker = Waker::from(Arc::clone(&holder));
        assert!(
            notices
                .poll_notice(&mut Context::from_waker(&waker))
                .is_pending()
        );
        *holder.0.lock().expect("no panic") = Some(notices);
        readers.publish(&Notice::Completed {
            torrent: torrent(1),
        });
        assert!(readers.list().torrents.is_empty());
    }

    #[test]
    fn streams_end_with_the_client_and_readers_that_left_are_forgotten() {
        let readers = Readers::default();
        drop(readers.subscribe(About::Everything));
        let mut stays = readers.subscribe(About::Everything);
        readers.publish(&Notice::Completed {
            torrent: torrent(0),
        });
        drop(readers.subscribe(About::Completion(torrent(0))));
        assert_eq!(readers.list().everything.len(), 1);
        assert!(readers.list().torrents.is_empty());
        readers.end();
        assert!(poll(&mut stays).is_ready());
        assert_eq!(poll(&mut stays), Poll::Ready(None));
        assert_eq!(
            poll(&mut readers.subscribe(About::Everything)),
            Poll::Ready(None)
        );
    }
}
