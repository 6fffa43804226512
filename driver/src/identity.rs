//! What handles know of their torrents without asking for it. The machine keeps it true.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use anabranch_core::TorrentView;
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::InfoHash;

use crate::sync::lock;

/// One torrent's: all handles to it share one.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: TorrentId,
    pub(crate) info_hash: InfoHash,
    name: Mutex<String>,
}

impl Identity {
    /// Its name, as of now.
    pub(crate) fn name(&self) -> String {
        lock(&self.name).clone()
    }
}

/// Those that have handles.
#[derive(Debug, Default)]
pub(crate) struct Identities(Mutex<BTreeMap<TorrentId, Weak<Identity>>>);

impl Identities {
    /// That of a torrent that is there.
    pub(crate) fn of(&self, torrent: TorrentView<'_>) -> Arc<Identity> {
        let mut known = lock(&self.0);
        let place = known.entry(torrent.id()).or_default();
        if let Some(identity) = place.upgrade() {
            return identity;
        }
        let identity = Arc::new(Identity {
            id: torrent.id(),
            info_hash: torrent.info_hash(),
            name: Mutex::new(torrent.name()),
        });
        *place = Arc::downgrade(&identity);
        identity
    }

    /// A torrent's name has changed, as it does when its metadata comes.
    pub(crate) fn rename(&self, torrent: TorrentView<'_>) {
        let identity = lock(&self.0).get(&torrent.id()).and_then(Weak::upgrade);
        if let Some(identity) = identity {
            *lock(&identity.name) = torrent.name();
        }
    }

    /// A torrent is gone.
    pub(crate) fn forget(&self, torrent: TorrentId) {
        lock(&self.0).remove(&torrent);
    }
}
