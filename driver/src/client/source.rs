//! Where a torrent comes from.

use std::path::{Path, PathBuf};

use anabranch_core::event::{ContactError, HttpReply};
use anabranch_core::metainfo::Magnet;
use anabranch_core::metainfo::limits::MAX_TORRENT_LEN;
use anabranch_core::metainfo::magnet::is_magnet;
use bytes::Bytes;

use crate::error::Error;
use crate::fetch;

/// Where a torrent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Its contents.
    Bytes(Bytes),
    /// None: a magnet link stands for it.
    Magnet(String),
    /// A file on the web: see [`Client::fetch_torrent`](super::Client::fetch_torrent).
    Url(String),
}

/// The torrent file in an answer, and whose it is in an error.
pub(super) fn fetched(url: &str, answer: Result<HttpReply, ContactError>) -> Result<Bytes, Error> {
    fetch::file(answer).map_err(|source| Error::FetchTorrent {
        url: url.to_owned(),
        source,
    })
}

/// Does what may take its time on a thread of its own: executors do not like to wait. None if the thread
/// came to no end.
pub(super) async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (done, result) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("anabranch-open".into())
        .spawn(move || {
            let _ = done.try_send(work());
        })?;
    Ok(result.recv().await.ok())
}

pub(super) fn read(path: &Path) -> std::io::Result<Bytes> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_TORRENT_LEN as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TORRENT_LEN {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!(
                "more than {} MiB, which no torrent file has",
                MAX_TORRENT_LEN >> 20
            ),
        ));
    }
    Ok(bytes.into())
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

/// A magnet link, a URL of the web, or else a path. A file that is there is a path, whatever it is called.
impl From<&str> for Source {
    fn from(text: &str) -> Self {
        if is_magnet(text) && !Path::new(text).exists() {
            Self::Magnet(text.into())
        } else if fetch::is_url(text) {
            Self::Url(text.into())
        } else {
            Self::Path(text.into())
        }
    }
}

impl From<&Magnet> for Source {
    fn from(magnet: &Magnet) -> Self {
        Self::Magnet(magnet.to_string())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_link_a_url_or_a_path() {
        let hash = "0".repeat(40);
        for link in [
            format!("magnet:?xt=urn:btih:{hash}"),
            format!(" <MAGNET:/?xt=urn:btih:{hash}>"),
            format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{hash}"),
            format!("<a href=\"magnet:?xt=urn:btih:{hash}\">a name</a>"),
        ] {
            assert_eq!(Source::from(&*link), Source::Magnet(link.clone()));
        }
        let url = "Http://a/b.torrent";
        assert_eq!(Source::from(url), Source::Url(url.into()));
        for path in ["a.torrent", "./magnet:x", "", "http:x"] {
            assert_eq!(Source::from(path), Source::Path(path.into()));
        }
    }
}
