//! Where torrents stand, as it is told.

use std::path::Path;

use anabranch_core::TorrentState;
use anabranch_core::metainfo::{FileKind, Metainfo};
use anabranch_core::status::TorrentStatus;

use super::{Entry, Session, gone};
use crate::exit::Failure;
use crate::output::{self, Event, Metadata, Progress, Total, text::reason};

impl Session<'_> {
    /// Where all torrents together stand.
    pub(super) async fn total(&self) -> Result<Total, Failure> {
        let traffic = self.client.traffic().await.map_err(gone)?;
        let statuses = || {
            self.entries
                .values()
                .filter_map(|entry| entry.status.as_ref())
        };
        let sum = |number: fn(&TorrentStatus) -> u64| {
            statuses().fold(0_u64, |sum, status| sum.saturating_add(number(status)))
        };
        // What waits for a disk or for the user will not be there in any time.
        let left = sum(|status| match status.state {
            TorrentState::Downloading | TorrentState::Checking => status.wanted - status.have,
            TorrentState::FetchingMetadata
            | TorrentState::Seeding
            | TorrentState::Paused
            | TorrentState::Failed
            | TorrentState::Removing => 0,
        });
        let complete = self.entries.values().filter(|entry| entry.complete);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Total {
            torrents: count(self.entries.len()),
            complete: count(complete.count()),
            wanted: sum(|status| status.wanted),
            have: sum(|status| status.have),
            downloaded: sum(|status| status.session_downloaded),
            uploaded: sum(|status| status.session_uploaded),
            download_rate: traffic.download_rate,
            upload_rate: traffic.upload_rate,
            eta: match (left, traffic.download_rate) {
                (0, _) | (_, 0) => None,
                (left, rate) => Some(left.div_ceil(rate)),
            },
            peers: u32::try_from(sum(|status| status.peers.into())).unwrap_or(u32::MAX),
        })
    }
}

impl Entry {
    /// Its rates in both directions, and how long it will take: as it was of late, as far as it was looked at, and as
    /// the engine has it otherwise. Of who has stopped there is no rate.
    fn speed(&self, status: &TorrentStatus) -> (u64, u64, Option<u64>) {
        let Some((down, up)) = self.pace.rates() else {
            return (status.download_rate, status.upload_rate, status.eta);
        };
        let only_if = |rate: u64, flows: bool| if flows { rate } else { 0 };
        let down = only_if(down, status.download_rate > 0);
        let up = only_if(up, status.upload_rate > 0);
        let eta = match (status.wanted.saturating_sub(status.have), down) {
            (0, _) => None,
            // Nothing has come for a moment.
            (_, 0) => status.eta,
            (left, rate) => Some(left.div_ceil(rate)),
        };
        (down, up, eta)
    }

    /// Bytes that have come in this run for pieces that are not complete.
    pub(super) fn unfinished(&self, status: &TorrentStatus) -> u64 {
        let whole = status
            .have
            .saturating_sub(self.begun.unwrap_or(status.have));
        let come = status.session_downloaded.saturating_sub(status.wasted);
        let missing = status.wanted.saturating_sub(status.have);
        come.saturating_sub(whole).min(missing)
    }

    pub(super) fn progress(&self, status: &TorrentStatus) -> Event {
        let (download_rate, upload_rate, eta) = self.speed(status);
        Event::Progress(Box::new(Progress {
            torrent: self.label.clone(),
            state: status.state,
            hindrance: status.hindrance.as_ref().map(reason),
            metadata: status.metadata.map(|metadata| Metadata {
                received: metadata.received,
                total: metadata.total,
                peers: metadata.peers,
            }),
            wanted: status.wanted,
            have: status.have,
            pieces: status.pieces,
            pieces_have: status.pieces_have,
            pieces_unchecked: status.pieces_unchecked,
            downloaded: status.session_downloaded,
            uploaded: status.session_uploaded,
            wasted: status.wasted,
            download_rate,
            upload_rate,
            eta,
            peers: status.peers,
            seeds: status.seeds,
        }))
    }
}

/// Tells that a torrent was taken on, and how many bytes of its files are wanted.
pub(super) fn added(
    label: &output::Torrent,
    metainfo: &Metainfo,
    dir: &Path,
    wanted: impl Fn(usize) -> bool,
) -> (Event, u64) {
    let files = metainfo.files().iter().enumerate();
    let files: Vec<u64> = files
        .filter(|(index, file)| file.kind() == FileKind::Data && wanted(*index))
        .map(|(_, file)| file.length())
        .collect();
    let wanted = files
        .iter()
        .fold(0_u64, |sum, length| sum.saturating_add(*length));
    let added = Event::Added {
        torrent: label.clone(),
        dir: dir.display().to_string(),
        size: size(metainfo),
        wanted,
        files: u32::try_from(files.len()).unwrap_or(u32::MAX),
        pieces: metainfo.piece_count(),
    };
    (added, wanted)
}

/// Bytes of all files, padding not counted.
fn size(metainfo: &Metainfo) -> u64 {
    metainfo
        .files()
        .iter()
        .filter(|file| file.kind() != FileKind::Pad)
        .fold(0, |sum, file| file.length().saturating_add(sum))
}
