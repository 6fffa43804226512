//! Torrent files from the web.

use std::time::Duration;

use anabranch_core::action::{HttpRequest, LocalPaths};
use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::limits::MAX_REDIRECTS;
use anabranch_core::metainfo::limits::MAX_TORRENT_LEN;
use async_channel::{Receiver, Sender};
use bytes::Bytes;
use thiserror::Error;

/// How long it may take to fetch a torrent file.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Torrent files that a client fetches at a time, each of which takes at most 32 MiB of memory; further
/// ones wait.
pub const MAX_FETCHES: usize = 8;

/// A torrent file could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server was not reached, or did not answer as it should.
    #[error(transparent)]
    Contact(#[from] ContactError),
    /// The server does not give the file out.
    #[error("the server answers with status {0}{hint}", hint = meaning(*.0))]
    Status(u16),
}

/// What a status code is for, as far as users meet it.
fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 => ": it wants to know who asks",
        404 | 410 => ": there is no such file",
        429 => ": it was asked too often",
        500..=599 => ": it is in trouble itself",
        _ => "",
    }
}

/// Whether this is a URL of the web.
pub(crate) fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The request for a torrent file.
pub(crate) fn request(url: &str) -> HttpRequest {
    HttpRequest {
        url: url.trim().to_owned(),
        body_limit: MAX_TORRENT_LEN as u32,
        redirects: MAX_REDIRECTS,
        timeout_ms: FETCH_TIMEOUT.as_millis() as u32,
        local_paths: LocalPaths::Any,
    }
}

/// The torrent file in an answer.
pub(crate) fn file(answer: Result<HttpReply, ContactError>) -> Result<Bytes, FetchError> {
    let reply = answer?;
    match reply.status {
        200 => Ok(reply.body),
        status => Err(FetchError::Status(status)),
    }
}

/// Room for fetches at a time.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    taken: Sender<()>,
    free: Receiver<()>,
}

/// A place in the [`Room`], until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Receiver<()>);

impl Default for Room {
    fn default() -> Self {
        let (taken, free) = async_channel::bounded(MAX_FETCHES);
        Self { taken, free }
    }
}

impl Room {
    /// Waits for a place.
    pub(crate) async fn place(&self) -> Place {
        // It is not closed while this end of it lives.
        let _ = self.taken.send(()).await;
        Place(self.free.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn only_a_whole_file_is_one() {
        let reply = |status| {
            let body = Bytes::from_static(b"de");
            file(Ok(HttpReply {
                status,
                body,
                retry_after: None,
            }))
        };
        assert_eq!(reply(200), Ok(Bytes::from_static(b"de")));
        for status in [201, 204, 206, 304, 404, 500] {
            assert_eq!(reply(status), Err(FetchError::Status(status)));
        }
        let error = file(Err(ContactError::TooLarge { limit: 1 })).unwrap_err();
        assert_eq!(error.to_string(), "the reply is larger than 1 bytes");
        assert_eq!(
            FetchError::Status(404).to_string(),
            "the server answers with status 404: there is no such file"
        );
    }

    #[test]
    fn urls_of_the_web_are_known_by_their_scheme() {
        for url in ["http://a/x.torrent", "HTTPS://a"] {
            assert!(is_url(url), "{url}");
        }
        for text in [
            "",
            "http:",
            "http:/a",
            "ftp://a/",
            "httpx://a",
            "é://",
            "a/http://",
        ] {
            assert!(!is_url(text), "{text}");
        }
    }

    #[test]
    fn there_is_room_for_so_many() {
        let room = Room::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut take = || match pin!(room.place()).poll(&mut cx) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        };
        let mut places: Vec<Place> = (0..MAX_FETCHES).map_while(|_| take()).collect();
        assert_eq!(places.len(), MAX_FETCHES);
        assert!(take().is_none());
        places.pop();
        assert!(take().is_some());
    }
}
