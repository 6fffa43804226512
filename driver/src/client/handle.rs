//! The handle to a client.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anabranch_core::command::{AddTorrent, RateLimits, Reply};
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::{InfoHash, Magnet};
use anabranch_core::status::{TorrentStatus, Traffic};
use anabranch_core::{Command, Stats};
use bytes::Bytes;

use super::add::AddOptions;
use super::source::{Source, elsewhere, fetched, read};
use crate::error::Error;
use crate::fetch::{self, Room};
use crate::identity::Identity;
use crate::machine::EngineMachine;
use crate::notices::Notices;
use crate::record::Recording;
use crate::remote::Remote;
use crate::storage::{FileOptions, FileStorage, KeepWarning, OpenFiles, Storage};
use crate::torrent::Torrent;

/// A running client.
///
/// Cheap to clone, usable from any thread and any executor. When the last handle to a client or to one
/// of its torrents is gone, the client ends by itself in the background as [`Client::shutdown`] does;
/// a program that ends right after should wait for `shutdown` instead.
///
/// Every future can be dropped at any time; a request that was sent is carried out nevertheless.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) remote: Remote<EngineMachine>,
    pub(super) shared: Arc<Shared>,
}

/// What all handles to a client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) warnings: Vec<String>,
    pub(super) download_dir: Option<PathBuf>,
    pub(super) resume_dir: Option<PathBuf>,
    pub(super) spare_resume_dir: Option<PathBuf>,
    pub(super) keep_warning: KeepWarning,
    pub(super) recording: Option<Recording>,
    /// Shared, so that the limit on open files holds for all torrents together.
    pub(super) open_files: OpenFiles,
    pub(super) fetches: Room,
}

impl Client {
    /// The addresses that it listens on.
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }

    /// What it has to do without, in words: a network that the local discovery cannot be had on, a
    /// file of the DHT that cannot be used. None of it keeps torrents from being downloaded.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// A word for the user when the resume data of a torrent could not be kept where it belongs: where it is
    /// instead, or that there is none. One for all torrents, and only once.
    pub fn keep_warning(&self) -> Option<String> {
        self.shared.keep_warning.take()
    }

    /// Takes a torrent on, whose data lives in files. Of a magnet link, the torrent is fetched from peers
    /// first, unless that was done in an earlier run: see [`Torrent::wait_metainfo`].
    ///
    /// # Errors
    ///
    /// [`Error::ReadTorrent`], [`Error::FetchTorrent`], [`Error::NoFolder`], [`Error::Stopped`], and the
    /// engine's own:
    /// [`CommandError::BadMetainfo`](anabranch_core::error::CommandError::BadMetainfo),
    /// [`CommandError::BadMagnet`](anabranch_core::error::CommandError::BadMagnet),
    /// [`CommandError::Duplicate`](anabranch_core::error::CommandError::Duplicate), which names the torrent that is
    /// there: [`Torrent::add_trackers`] and [`Torrent::add_peer`] give it what a second link names.
    pub async fn add(
        &self,
        source: impl Into<Source>,
        options: AddOptions,
    ) -> Result<Torrent, Error> {
        let dir = options.dir.clone().or(self.shared.download_dir.clone());
        let storage = FileStorage::new(
            dir.ok_or(Error::NoFolder)?,
            FileOptions {
                resume_dir: self.shared.resume_dir.clone(),
                spare_resume_dir: self.shared.spare_resume_dir.clone(),
                warning: self.shared.keep_warning.clone(),
                preallocation: options.preallocation,
                read_only: options.read_only,
                open_files: self.shared.open_files.clone(),
                links: options.links,
                name: options.file_name.clone(),
            },
        );
        self.add_with(source, options, Arc::new(storage)).await
    }

    /// Takes a torrent on, whose data lives wherever `storage` puts it.
    ///
    /// # Errors
    ///
    /// Those of [`Client::add`] but for [`Error::NoFolder`].
    pub async fn add_with(
        &self,
        source: impl Into<Source>,
        options: AddOptions,
        storage: Arc<dyn Storage>,
    ) -> Result<Torrent, Error> {
        let (metainfo, magnet) = self.load(source.into(), &storage).await?;
        let add = AddTorrent {
            metainfo,
            magnet,
            paused: options.paused,
            metadata_only: options.metadata_only,
            priorities: options.priorities,
            sequential: options.sequential,
            recheck: options.recheck,
            overwrite: options.overwrite,
            name: match options.file_name {
                Some(name) => Some(name.to_text()),
                None => options.name,
            },
            limits: options.limits,
            goal: options.goal,
            peers: options.peers,
            trackers: options.trackers,
            ..AddTorrent::default()
        };
        match self.remote.add(add, storage).await? {
            Reply::Added { torrent } => {
                let added = self.remote.query(move |machine, _| {
                    let view = machine.engine().torrent(torrent)?;
                    Some(machine.identity(view))
                });
                // Somebody else may have been faster.
                let identity = added.await?.ok_or(Error::Removed)?;
                Ok(self.handle(identity))
            }
            Reply::Done | Reply::Dht(_) => Err(Error::Unexpected),
        }
    }

    /// Fetches a torrent file from the web, as the client's policy allows: over `http` or `https`, within
    /// [`FETCH_TIMEOUT`](crate::FETCH_TIMEOUT), following redirects, but from no public address to one that
    /// is not. Whether it is a torrent is not looked at. At most [`MAX_FETCHES`](crate::MAX_FETCHES) are
    /// fetched at a time; others wait.
    ///
    /// # Errors
    ///
    /// [`Error::FetchTorrent`], [`Error::Stopped`].
    pub async fn fetch_torrent(&self, url: &str) -> Result<Bytes, Error> {
        let place = self.shared.fetches.place().await;
        let answer = self.remote.fetch(fetch::request(url), place).await?;
        fetched(url, answer)
    }

    /// The bytes of the .torrent file, and the magnet link.
    async fn load(
        &self,
        source: Source,
        storage: &Arc<dyn Storage>,
    ) -> Result<(Bytes, Option<String>), Error> {
        match source {
            Source::Bytes(bytes) => Ok((bytes, None)),
            Source::Url(url) => Ok((self.fetch_torrent(&url).await?, None)),
            Source::Path(path) => {
                let file = path.clone();
                let result = elsewhere(move || read(&file)).await;
                match result {
                    Ok(Some(Ok(bytes))) => Ok((bytes, None)),
                    Ok(None) => Err(Error::Stopped),
                    Ok(Some(Err(source))) | Err(source) => Err(Error::ReadTorrent { path, source }),
                }
            }
            Source::Magnet(link) => {
                // What is wrong with the link, the engine tells.
                let Ok(magnet) = link.parse::<Magnet>() else {
                    return Ok((Bytes::new(), Some(link)));
                };
                let storage = Arc::clone(storage);
                let saved = elsewhere(move || storage.saved_metainfo(magnet.info_hash)).await;
                let saved = saved.ok().flatten().flatten();
                Ok((saved.unwrap_or_default(), Some(link)))
            }
        }
    }

    /// All torrents, as they are at one moment.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn torrents(&self) -> Result<Vec<Torrent>, Error> {
        let identities: Vec<Arc<Identity>> = self
            .remote
            .query(|machine, _| {
                let engine = machine.engine();
                let views = engine.torrents().filter_map(|id| engine.torrent(id));
                views.map(|view| machine.identity(view)).collect()
            })
            .await?;
        let torrents = identities.into_iter();
        Ok(torrents.map(|identity| self.handle(identity)).collect())
    }

    /// The torrent of this info-hash, if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn find(&self, info_hash: InfoHash) -> Result<Option<Torrent>, Error> {
        let found = self.remote.query(move |machine, _| {
            let engine = machine.engine();
            let view = engine.torrent(engine.find(&info_hash)?)?;
            Some(machine.identity(view))
        });
        Ok(found.await?.map(|identity| self.handle(identity)))
    }

    fn handle(&self, identity: Arc<Identity>) -> Torrent {
        Torrent::new(self.remote.clone(), identity)
    }

    /// What these torrents do, all at one moment, by asking once; those that are gone are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn statuses(
        &self,
        torrents: impl IntoIterator<Item = TorrentId>,
    ) -> Result<Vec<TorrentStatus>, Error> {
        let torrents: Vec<TorrentId> = torrents.into_iter().collect();
        self.remote
            .query(move |machine, now| {
                let views = torrents
                    .iter()
                    .filter_map(|id| machine.engine().torrent(*id));
                views.map(|view| view.status(now)).collect()
            })
            .await
    }

    /// What all torrents transfer together: rates that are measured, where those of the torrents do not add up.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        self.remote
            .query(|machine, now| machine.engine().traffic(now))
            .await
    }

    /// The trackers whose answers are waited for, by their URLs, each once: what [`shutdown`](Self::shutdown) may wait for.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn trackers_asked(&self) -> Result<Vec<String>, Error> {
        let mut urls: Vec<String> = self
            .remote
            .query(|machine, now| {
                let engine = machine.engine();
                let views = engine.torrents().filter_map(|id| engine.torrent(id));
                let trackers = views.flat_map(|view| view.trackers(now));
                let asked = trackers.filter(|tracker| tracker.asked);
                asked.map(|tracker| tracker.url).collect()
            })
            .await?;
        urls.sort_unstable();
        urls.dedup();
        Ok(urls)
    }

    /// All notices from now on.
    pub fn notices(&self) -> Notices {
        self.remote.notices()
    }

    /// Limits the rates of all torrents together.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn set_limits(&self, limits: RateLimits) -> Result<(), Error> {
        let command = Command::SetLimits {
            torrent: None,
            limits,
        };
        self.remote.command(command).await.map(|_| ())
    }

    /// Has nothing to do with an address any more, whatever the port: connections with it end, in all torrents, and
    /// there are no new ones until [`Client::unban`] or the client's end.
    ///
    /// # Errors
    ///
    /// [`CommandError::TooManyBans`](anabranch_core::error::CommandError::TooManyBans), [`Error::Stopped`].
    pub async fn ban(&self, address: IpAddr) -> Result<(), Error> {
        let command = Command::Ban { address };
        self.remote.command(command).await.map(|_| ())
    }

    /// Forgets that an address was banned, by [`Client::ban`] or for what it did.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn unban(&self, address: IpAddr) -> Result<(), Error> {
        let command = Command::Unban { address };
        self.remote.command(command).await.map(|_| ())
    }

    /// How the recording fares, if the client is recorded.
    pub fn recording(&self) -> Option<&Recording> {
        self.shared.recording.as_ref()
    }

    /// The engine's counters.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.remote
            .query(|machine, _| machine.engine().stats().clone())
            .await
    }

    /// Ends the client: saves resume data, says goodbye to trackers, closes files and sockets. Takes
    /// as long as that does, and at most [`SHUTDOWN_LIMIT`](crate::run::SHUTDOWN_LIMIT).
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] when it has ended already, [`Error::Unfinished`] when it took too long.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.remote.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shareable<T: Clone + Send + Sync + 'static>() {}

    #[test]
    fn handles_go_everywhere() {
        shareable::<Client>();
        shareable::<Torrent>();
    }
}
