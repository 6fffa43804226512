//! A handle to one torrent of a client.

use std::net::SocketAddr;
use std::sync::Arc;

use anabranch_core::command::{Priority, RateLimits, SeedGoal};
use anabranch_core::error::CommandError;
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::{FileIndex, InfoHash, Metainfo};
use anabranch_core::status::{FileStatus, Hindrance, PeerStatus, TorrentStatus, TrackerStatus};
use anabranch_core::{Bitfield, Command, Instant, Notice, TorrentState, TorrentView};

use crate::error::Error;
use crate::identity::Identity;
use crate::machine::EngineMachine;
use crate::notices::{About, Notices};
use crate::remote::Remote;

/// A torrent of a running [`Client`](crate::Client).
///
/// Cheap to clone, usable from any thread and any executor, and good for as long as the torrent is
/// there: afterwards every call is answered with an error. A handle keeps its client running.
///
/// Every future can be dropped at any time; a request that was sent is carried out nevertheless. All
/// calls fail with [`Error::Stopped`] when the client has been stopped, and with
/// [`CommandError::NoSuchTorrent`] when the torrent has been removed.
#[derive(Clone, Debug)]
pub struct Torrent {
    remote: Remote<EngineMachine>,
    identity: Arc<Identity>,
}

impl Torrent {
    pub(crate) fn new(remote: Remote<EngineMachine>, identity: Arc<Identity>) -> Self {
        Self { remote, identity }
    }

    /// Its id in this client.
    pub fn id(&self) -> TorrentId {
        self.identity.id
    }

    /// Its info-hash.
    pub fn info_hash(&self) -> InfoHash {
        self.identity.info_hash
    }

    /// Its name. As long as its metadata is being fetched, that of its magnet link, or its info-hash; then that of the
    /// metadata, by the time that [`Notice::MetadataReceived`] is told.
    pub fn name(&self) -> String {
        self.identity.name()
    }

    /// What it does, how far it is, and what holds it back.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn status(&self) -> Result<TorrentStatus, Error> {
        self.look(|view, now| view.status(now)).await
    }

    /// What its .torrent file says; none as long as that is being fetched for a magnet link.
    /// [`Metainfo::torrent_file`] makes a file of it.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn metainfo(&self) -> Result<Option<Arc<Metainfo>>, Error> {
        self.look(|view, _| view.metainfo().cloned()).await
    }

    /// Waits for what its .torrent file says: no time at all unless it was added as a magnet link.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; also [`Error::Removed`], and [`CommandError::BadMetainfo`] when peers have what the
    /// link means and no torrent can be made of it.
    pub async fn wait_metainfo(&self) -> Result<Arc<Metainfo>, Error> {
        // First the ear, then the look, so that nothing falls in between.
        let mut notices = self.remote.subscribe(About::Completion(self.id()));
        loop {
            let seen = self.look(|view, _| (view.metainfo().cloned(), view.hindrance()));
            match seen.await {
                Ok((Some(metainfo), _)) => return Ok(metainfo),
                Ok((None, Some(Hindrance::Unusable(why)))) => {
                    return Err(CommandError::BadMetainfo(why).into());
                }
                Ok((None, _)) => {}
                Err(Error::Command(CommandError::NoSuchTorrent(_))) => return Err(Error::Removed),
                Err(error) => return Err(error),
            }
            if notices.next().await.is_none() {
                return Err(Error::Stopped);
            }
        }
    }

    /// Its pieces: those that are verified and written. A copy, one bit a piece.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn pieces(&self) -> Result<Bitfield, Error> {
        self.look(|view, _| view.have().clone()).await
    }

    /// Its connected peers.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, Error> {
        self.look(|view, now| view.peers(now)).await
    }

    /// Its files, in the order of the torrent.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn files(&self) -> Result<Vec<FileStatus>, Error> {
        self.look(|view, _| view.files()).await
    }

    /// Its trackers, tier by tier.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn trackers(&self) -> Result<Vec<TrackerStatus>, Error> {
        self.look(|view, now| view.trackers(now)).await
    }

    /// Stops transferring, and saves resume data.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn pause(&self) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::Pause { torrent }).await
    }

    /// Goes on: after [`Torrent::pause`], after a goal was reached, or at once after a disk failed.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn resume(&self) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::Resume { torrent }).await
    }

    /// Verifies everything on the disk anew. Returns when that has begun;
    /// [`Notice::Checked`] tells the outcome.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn recheck(&self) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::Recheck { torrent }).await
    }

    /// Saves resume data now. Returns when it is durable.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; also [`CommandError::Disk`].
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::Checkpoint { torrent }).await
    }

    /// Forgets the torrent, its resume data, and its files if told so. Returns when its storage is
    /// released.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; also [`CommandError::Disk`].
    pub async fn remove(&self, delete_data: bool) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::RemoveTorrent {
            torrent,
            delete_data,
        })
        .await
    }

    /// Changes what is wanted; files that are not named stay as they are.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; also [`CommandError::NoSuchFile`].
    pub async fn set_priorities(&self, files: Vec<(FileIndex, Priority)>) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::SetPriorities { torrent, files })
            .await
    }

    /// Downloads pieces in order, or not.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn set_sequential(&self, sequential: bool) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::SetSequential {
            torrent,
            sequential,
        })
        .await
    }

    /// Limits the torrent's rates, within those of the client.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn set_limits(&self, limits: RateLimits) -> Result<(), Error> {
        let torrent = Some(self.id());
        self.command(Command::SetLimits { torrent, limits }).await
    }

    /// Changes when seeding ends.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn set_goal(&self, goal: SeedGoal) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::SetGoal { torrent, goal }).await
    }

    /// Names a peer.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn add_peer(&self, peer: SocketAddr) -> Result<(), Error> {
        let torrent = self.id();
        let peers = vec![peer];
        self.command(Command::AddPeers { torrent, peers }).await
    }

    /// Names a peer by its host name, or by an address in text.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]. A name that cannot be resolved is no error.
    pub async fn add_peer_host(&self, host: impl Into<String>, port: u16) -> Result<(), Error> {
        let torrent = self.id();
        let host = host.into();
        self.command(Command::AddPeerHost {
            torrent,
            host,
            port,
        })
        .await
    }

    /// Names trackers, by their URLs: each a tier of its own after those that the torrent has. They are forgotten with the
    /// torrent.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; [`CommandError::Private`](anabranch_core::error::CommandError::Private).
    pub async fn add_trackers(
        &self,
        urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), Error> {
        let torrent = self.id();
        let urls = urls.into_iter().map(Into::into).collect();
        self.command(Command::AddTrackers { torrent, urls }).await
    }

    /// Asks the trackers again, as soon as they allow.
    ///
    /// # Errors
    ///
    /// See [`Torrent`].
    pub async fn reannounce(&self) -> Result<(), Error> {
        let torrent = self.id();
        self.command(Command::Reannounce { torrent }).await
    }

    /// This torrent's notices from now on.
    pub fn notices(&self) -> Notices {
        self.remote.subscribe(About::Torrent(self.id()))
    }

    /// Waits until all that is wanted is complete, verified and written. Waits through pauses and disk
    /// failures: [`Torrent::status`] and [`Torrent::notices`] tell of them.
    ///
    /// # Errors
    ///
    /// See [`Torrent`]; also [`Error::Removed`].
    pub async fn wait_complete(&self) -> Result<(), Error> {
        // First the ear, then the look, so that nothing falls in between.
        let mut notices = self.remote.subscribe(About::Completion(self.id()));
        if is_complete(&self.status().await?) {
            return Ok(());
        }
        loop {
            match notices.next().await {
                Some(Notice::Completed { .. }) => return Ok(()),
                Some(Notice::Removed { .. }) => return Err(Error::Removed),
                Some(_) => match self.status().await {
                    Ok(status) if is_complete(&status) => return Ok(()),
                    Ok(_) => {}
                    Err(Error::Command(CommandError::NoSuchTorrent(_))) => {
                        return Err(Error::Removed);
                    }
                    Err(error) => return Err(error),
                },
                None => return Err(Error::Stopped),
            }
        }
    }

    async fn command(&self, command: Command) -> Result<(), Error> {
        self.remote.command(command).await.map(|_| ())
    }

    async fn look<T: Send + 'static>(
        &self,
        look_at: impl FnOnce(TorrentView<'_>, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.id();
        let seen = self.remote.query(move |machine, now| {
            let view = machine.engine().torrent(id)?;
            Some(look_at(view, now))
        });
        let seen = seen.await?;
        seen.ok_or(Error::Command(CommandError::NoSuchTorrent(id)))
    }
}

/// Whether nothing wanted is missing, as far as that is known already.
fn is_complete(status: &TorrentStatus) -> bool {
    match status.state {
        TorrentState::Seeding => true,
        TorrentState::Paused => {
            let known = status.metadata.is_none();
            known && status.have == status.wanted && status.pieces_unchecked == 0
        }
        TorrentState::FetchingMetadata
        | TorrentState::Checking
        | TorrentState::Downloading
        | TorrentState::Failed
        | TorrentState::Removing => false,
    }
}
