//! How torrents are given up, and how the client ends.

use std::time::Duration;

use anabranch_core::Notice;
use anabranch_core::id::TorrentId;
use anabranch_driver::Error;
use smol::Timer;
use smol::future::or;

use super::advice::{farewell, remedy};
use super::{Closed, Session, UNFIT_ADVICE, gone};
use crate::exit::Failure;
use crate::output::{Event, text::reason};

/// How long the end may take before it is told what is waited for.
const MOMENT: Duration = Duration::from_millis(300);

impl Session<'_> {
    /// A torrent has failed for good: it rests, and the others go on.
    pub(super) async fn lose(&mut self, id: TorrentId, failure: Failure) -> Result<(), Failure> {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.lost) else {
            return Ok(());
        };
        entry.lost = true;
        self.losses.add(&entry.label.name, failure, self.output)?;
        entry.torrent.pause().await.map_err(gone)
    }

    /// What was to be seeded is not all there, or not any more.
    pub(super) async fn lose_unfit(&mut self, id: TorrentId) -> Result<(), Failure> {
        let Some(entry) = self.entries.get(&id) else {
            return Ok(());
        };
        let failure = Failure::incomplete(format!(
            "{}: some of the data in {} does not match the torrent",
            entry.label.name,
            entry.dir.display()
        ));
        self.lose(id, failure.advise(UNFIT_ADVICE)).await
    }

    /// Ends the client in good order, and tells where every torrent stands.
    pub(crate) async fn close(mut self) -> Result<Closed, Failure> {
        let looked = self.look(|_| true).await;
        let total = match self.entries.len() > 1 && looked.is_ok() {
            true => self.total().await.ok(),
            false => None,
        };
        let shut = match self.shut_down().await {
            Ok(()) | Err(Error::Stopped) => Ok(()),
            Err(error) => Err(Failure::new(reason(&error)).advise(
                "the disk did not take everything in time; the next run verifies what is there",
            )),
        };
        // What became of the files at the very end.
        while let Some(notice) = self.notices.next().await {
            if matches!(notice, Notice::FileLonger { .. }) {
                self.on_notice(notice).await?;
            }
        }
        self.output.clear();
        self.tell_of_recording()?;
        self.tell_of_keeping()?;
        if let Some(total) = total {
            self.output.tell(&Event::Total(total))?;
        }
        for entry in self.entries.values() {
            let Some(status) = &entry.status else {
                continue;
            };
            self.output.tell(&Event::Stopped {
                torrent: entry.label.clone(),
                complete: entry.complete,
                wanted: status.wanted,
                have: status.have,
                unfinished: match shut {
                    Ok(()) => entry.unfinished(status),
                    Err(_) => 0,
                },
                downloaded: status.session_downloaded,
                uploaded: status.session_uploaded,
            })?;
        }
        looked?;
        shut?;
        let mut complete = true;
        for entry in self.entries.into_values() {
            if let Some(error) = entry.refused.filter(|_| !entry.lost) {
                let advice = format!("{}, and start it again", remedy(&error));
                let failure = Failure::new(format!("{}: {}", entry.label.name, reason(&error)));
                let failure = failure.advise(advice);
                self.losses.add(entry.label.name, failure, self.output)?;
            } else {
                complete &= entry.complete || entry.lost;
            }
        }
        Ok(Closed {
            complete,
            losses: self.losses,
        })
    }

    /// Ends the client, and tells what is waited for if that takes more than a moment.
    async fn shut_down(&mut self) -> Result<(), Error> {
        let client = self.client.clone();
        let mut shutdown = std::pin::pin!(client.shutdown());
        let mut told = String::new();
        loop {
            let done = async { Some((&mut shutdown).await) };
            let pause = async {
                Timer::after(MOMENT).await;
                None
            };
            if let Some(result) = or(done, pause).await {
                return result;
            }
            // It may have come to its end meanwhile.
            let Ok(asked) = self.client.trackers_asked().await else {
                continue;
            };
            let message = farewell(&asked);
            if message != told {
                let event = Event::Waiting {
                    message: message.clone(),
                };
                // Whoever cannot be told any more learns of it when all is over.
                let _ = self.output.tell(&event);
                told = message;
            }
        }
    }
}
