//! What the client tells about a torrent, and what becomes of it.

use std::sync::Arc;

use anabranch_core::command::Priority;
use anabranch_core::event::DiskErrorKind;
use anabranch_core::id::TorrentId;
use anabranch_core::metainfo::FileIndex;
use anabranch_core::{Notice, TorrentState};

use super::advice::advice;
use super::standing::added;
use super::{Aim, Session, gone};
use crate::commands::save_torrent;
use crate::exit::Failure;
use crate::output::{Event, lines::plural, text::reason};

impl Session<'_> {
    /// Tells of a magnet link's torrent, if it is there and nobody was told.
    pub(super) async fn on_metadata(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.awaited.is_none() {
            return Ok(());
        }
        let Some(metainfo) = entry.torrent.metainfo().await.map_err(gone)? else {
            return Ok(());
        };
        let choice = entry.awaited.as_ref().and_then(|a| a.choice.as_ref());
        if let Some(choice) = choice {
            let status = entry.torrent.status().await.map_err(gone)?;
            if status.state != TorrentState::Paused {
                // It is about to pause.
                return Ok(());
            }
            let priorities = choice.priorities(&metainfo)?;
            let files = (0..).map(FileIndex::new).zip(priorities).collect();
            entry.torrent.set_priorities(files).await.map_err(gone)?;
            entry.torrent.resume().await.map_err(gone)?;
        }
        let Some(awaited) = entry.awaited.take() else {
            return Ok(());
        };
        entry.metainfo = Some(Arc::clone(&metainfo));
        metainfo.name().clone_into(&mut entry.label.name);
        if entry.aim == Aim::Metadata {
            (entry.complete, entry.done) = (true, true);
            let torrent = entry.label.clone();
            let saved = None;
            return self.output.tell(&Event::Fetched { torrent, saved });
        }
        let files = entry.torrent.files().await.map_err(gone)?;
        let wanted = |index: usize| {
            let file = files.get(index);
            file.is_none_or(|file| file.priority != Priority::Skip)
        };
        let saved = match awaited.save.then(|| save_torrent(&metainfo, &entry.dir)) {
            Some(Ok(path)) => Some(path.display().to_string()),
            // It is downloaded all the same.
            Some(Err(failure)) => {
                self.losses.add(&entry.label.name, failure, self.output)?;
                None
            }
            None => None,
        };
        let torrent = entry.label.clone();
        self.output.tell(&Event::Fetched { torrent, saved })?;
        let (added, wanted) = added(&entry.label, &metainfo, &entry.dir, wanted);
        entry.wanted = Some(wanted);
        self.output.tell(&added)
    }

    /// Tells who is asked for peers, once, when something is missing.
    pub(super) async fn on_seeking(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.aim == Aim::SeedOnly || std::mem::replace(&mut entry.sought, true) {
            return Ok(());
        }
        let trackers = entry.torrent.trackers().await.map_err(gone)?;
        let metainfo = entry.torrent.metainfo().await.map_err(gone)?;
        let open = metainfo.is_none_or(|metainfo| !metainfo.is_private());
        self.output.tell(&Event::Seeking {
            torrent: entry.label.clone(),
            trackers: u32::try_from(trackers.len()).unwrap_or(u32::MAX),
            dht: open && self.client.dht_stats().await.is_ok(),
            local: open && self.local,
            peers: entry.named,
        })
    }

    pub(super) async fn on_notice(&mut self, notice: Notice) -> Result<(), Failure> {
        let id = notice.torrent();
        // Whatever else is told of it comes later.
        self.on_metadata(id).await?;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        entry.resting = false;
        let torrent = entry.label.clone();
        let event = match notice {
            Notice::Checked { have, pieces, .. } => {
                if entry.aim != Aim::SeedOnly {
                    entry.status = Some(entry.torrent.status().await.map_err(gone)?);
                }
                entry.opened = true;
                if let (None, Some(status)) = (entry.begun, &entry.status) {
                    entry.begun = Some(status.have);
                }
                entry.refused = None;
                let unfit = entry.aim == Aim::SeedOnly && have < pieces;
                self.renew_patience();
                self.output.tell(&Event::Checked {
                    torrent,
                    have,
                    pieces,
                })?;
                return match unfit {
                    true => self.lose_unfit(id).await,
                    false => self.warn_of_space(id),
                };
            }
            Notice::Piece { .. } => return self.on_piece(id).await,
            Notice::Completed { .. } => return self.on_complete(id).await,
            Notice::State { state, .. } => return self.on_state(id, state).await,
            Notice::GoalReached { .. } => return self.on_goal(id).await,
            Notice::PieceFailed { piece, .. } => Event::PieceFailed {
                torrent,
                piece: piece.get(),
            },
            Notice::PeerBanned { address, blame, .. } => Event::PeerBanned {
                torrent,
                address,
                reason: blame.to_string(),
            },
            Notice::TrackerReplied {
                url,
                peers,
                warning,
                ..
            } => Event::Tracker {
                torrent,
                url,
                peers: Some(peers),
                warning,
                error: None,
                retry_in: None,
            },
            Notice::TrackerFailed {
                url,
                error,
                retry_in,
                ..
            } => Event::Tracker {
                torrent,
                url,
                peers: None,
                warning: None,
                error: Some(reason(&error)),
                retry_in,
            },
            Notice::FileLonger {
                file,
                found,
                expected,
                cut,
                ..
            } => {
                let metainfo = entry.metainfo.as_ref();
                let path = metainfo.and_then(|metainfo| metainfo.download_path(file));
                Event::FileLonger {
                    torrent,
                    path: path.map_or_else(String::new, |path| path.to_string()),
                    found,
                    expected,
                    cut,
                }
            }
            Notice::StorageFailed { error, .. }
                if error.kind == DiskErrorKind::Foreign && entry.aim == Aim::SeedOnly =>
            {
                // What has nothing of the torrent in it is not to be written over, but does not match either.
                return self.lose_unfit(id).await;
            }
            Notice::StorageFailed { error, .. } => {
                // A folder that cannot be used from the start is a mistake, not a mishap: the run ends.
                let event = Event::StorageFailed {
                    torrent,
                    advice: advice(&error, entry.opened, entry.aim == Aim::SeedOnly),
                    error: reason(&error),
                };
                if !entry.opened {
                    entry.refused = Some(error);
                }
                event
            }
            Notice::StorageRecovered { .. } => Event::StorageRecovered { torrent },
            Notice::PeerFailed { peer, error, .. } => {
                let error = reason(&error);
                entry.note(format!("peer {peer}"), error.clone());
                Event::PeerFailed {
                    torrent,
                    peer,
                    error,
                }
            }
            Notice::DhtReplied { peers, nodes, .. } => {
                let found = plural(peers.into(), "peer", "peers");
                entry.note("DHT".to_owned(), found);
                Event::Dht {
                    torrent,
                    peers,
                    nodes,
                }
            }
            Notice::MetadataUnusable { error, .. } => {
                let name = &entry.label.name;
                let failure = Failure::new(format!("{name} cannot be downloaded: {error}")).advise(
                    "get another link; if it selects files that are not there, choose with --files",
                );
                return self.lose(id, failure).await;
            }
            // Told before, or told by progress.
            Notice::MetadataReceived { .. }
            | Notice::Added { .. }
            | Notice::Removed { .. }
            | Notice::FileCompleted { .. }
            | Notice::PeerConnected { .. }
            | Notice::PeerDisconnected { .. }
            | _ => return Ok(()),
        };
        self.output.tell(&event)
    }

    pub(super) async fn on_state(
        &mut self,
        id: TorrentId,
        state: TorrentState,
    ) -> Result<(), Failure> {
        match state {
            TorrentState::Seeding => self.on_complete(id).await,
            // A goal pauses, and so does a failure, and a torrent whose files are to be chosen.
            TorrentState::Paused => match self.entries.get(&id) {
                Some(entry) if entry.lost => Ok(()),
                Some(entry) if matches!(entry.aim, Aim::Goal(_)) && entry.awaited.is_none() => {
                    // It may have gone on since.
                    let status = entry.torrent.status().await.map_err(gone)?;
                    if status.state != TorrentState::Paused {
                        return Ok(());
                    }
                    self.on_goal(id).await
                }
                Some(_) | None => Ok(()),
            },
            TorrentState::Downloading => {
                let aim = self.entries.get(&id).map(|entry| entry.aim);
                match aim == Some(Aim::SeedOnly) {
                    true => self.lose_unfit(id).await,
                    false => self.on_seeking(id).await,
                }
            }
            TorrentState::FetchingMetadata => self.on_seeking(id).await,
            TorrentState::Checking | TorrentState::Failed | TorrentState::Removing => Ok(()),
        }
    }

    /// A piece is there. That of the first is worth knowing at once: data comes.
    async fn on_piece(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if std::mem::replace(&mut entry.moving, true) {
            return Ok(());
        }
        entry.status = Some(entry.torrent.status().await.map_err(gone)?);
        self.tell_progress(id).await
    }

    /// All that is wanted is there; told once.
    pub(super) async fn on_complete(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.complete {
            return Ok(());
        }
        if entry.aim == Aim::Complete {
            // Others may still download: this one is not to upload meanwhile, nobody asked for it.
            entry.torrent.pause().await.map_err(gone)?;
        }
        let status = entry.torrent.status().await.map_err(gone)?;
        let progress = entry.progress(&status);
        let seeds = status.state == TorrentState::Seeding;
        if !seeds {
            self.output.tell(&progress)?;
        }
        entry.complete = true;
        entry.done |= entry.aim == Aim::Complete;
        let completed = Event::Completed {
            torrent: entry.label.clone(),
            size: entry.wanted.unwrap_or(status.wanted),
            downloaded: status.session_downloaded,
            elapsed_ms: u64::try_from(status.download_time.as_millis()).unwrap_or(u64::MAX),
        };
        entry.status = Some(status);
        self.output.tell(&completed)?;
        match seeds {
            true => self.output.tell(&progress),
            false => Ok(()),
        }
    }

    async fn on_goal(&mut self, id: TorrentId) -> Result<(), Failure> {
        self.on_complete(id).await?;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if entry.done {
            return Ok(());
        }
        entry.done = true;
        let status = entry.torrent.status().await.map_err(gone)?;
        let uploaded = status.uploaded;
        entry.status = Some(status);
        self.output.tell(&Event::GoalReached {
            torrent: entry.label.clone(),
            uploaded,
        })
    }
}
