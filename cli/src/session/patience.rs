//! How long nothing may come (`--timeout`).

use std::time::{Duration, Instant};

use super::{Entry, NAMED_REASONS, Session};
use crate::commands::dht::heard;
use crate::exit::Failure;
use crate::output::{lines::plural, text::reason};
use crate::units;

/// How many of a torrent's trackers are told of.
const NAMED_TRACKERS: usize = 5;

/// Of so many peers and the like it is remembered what became of them.
const NAMED_PEERS: usize = 5;

/// How long nothing may come.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Instant,
    /// What had come then.
    come: u64,
}

impl Patience {
    fn restart(&mut self, come: u64) {
        (self.come, self.since) = (come, Instant::now());
    }
}

impl Entry {
    /// Remembers what came of what was tried.
    pub(super) fn note(&mut self, what: String, said: String) {
        if self.told.len() < NAMED_PEERS || self.told.contains_key(&what) {
            self.told.insert(what, said);
        }
    }
}

impl Session<'_> {
    /// Gives up when nothing has come for so long.
    pub(crate) fn give_up_after(&mut self, limit: Option<Duration>) {
        self.patience = limit.map(|limit| Patience {
            limit,
            since: Instant::now(),
            come: 0,
        });
    }

    /// Fails if nothing has come for too long, while something is waited for.
    pub(super) async fn lose_patience(&mut self) -> Result<(), Failure> {
        let come = self.come();
        let waits = self.waiting().next().is_some();
        let Some(patience) = &mut self.patience else {
            return Ok(());
        };
        if come != patience.come || !waits {
            patience.restart(come);
            return Ok(());
        }
        if patience.since.elapsed() < patience.limit {
            return Ok(());
        }
        let limit = patience.limit;
        let reasons = self.waiting().take(NAMED_REASONS).map(|entry| {
            let hindrance = entry
                .status
                .as_ref()
                .and_then(|status| status.hindrance.as_ref());
            match hindrance {
                Some(why) => format!("{}: {why}", entry.label.name),
                None => entry.label.name.clone(),
            }
        });
        let reasons: Vec<String> = reasons.collect();
        let tried = self.tried().await;
        let more = match self.waiting().count().saturating_sub(NAMED_REASONS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(Failure::timed_out(format!(
            "nothing has come for {}: {}{more}",
            units::limit(limit),
            reasons.join("; "),
        ))
        .detail(tried)
        .advise("name a peer that has it with --peer, or wait longer with another --timeout"))
    }

    /// What was tried for those that something is missing of, and what came of it, line by line.
    async fn tried(&self) -> String {
        let mut lines = String::new();
        let several = self.waiting().count() > 1;
        for entry in self.waiting().take(NAMED_REASONS) {
            let of = match several {
                true => format!(" of {}", entry.label.name),
                false => String::new(),
            };
            let mut tell = |what: &str, said: &str| {
                lines.push_str(&format!("  {what}{of}: {said}\n"));
            };
            let trackers = entry.torrent.trackers().await.unwrap_or_default();
            for tracker in trackers.iter().take(NAMED_TRACKERS) {
                // What identifies a user to a tracker is in the query, if it is anywhere.
                let url = tracker.url.split('?').next().unwrap_or(&tracker.url);
                let said = match (&tracker.message, tracker.working) {
                    (Some(message), _) => reason(message),
                    (None, true) => plural(tracker.peers.into(), "peer", "peers"),
                    (None, false) if tracker.asked => "no answer yet".to_owned(),
                    (None, false) => "not asked yet".to_owned(),
                };
                tell(&format!("tracker {url}"), &said);
            }
            if let Some(more @ 1..) = trackers.len().checked_sub(NAMED_TRACKERS) {
                tell("trackers", &format!("and {more} more"));
            }
            for (what, said) in &entry.told {
                tell(what, said);
            }
            if let Some(status) = &entry.status {
                let said = match (status.peers, status.candidates) {
                    (0, 0) => "none known".to_owned(),
                    (0, known) => format!("none connected of {known} that are known"),
                    (connected, known) => format!("{connected} connected, and {known} more known"),
                };
                tell("peers", &said);
            }
        }
        if let Ok(status) = self.client.dht_stats().await {
            lines.push_str(&format!("  DHT: {}\n", heard(&status, true)));
        }
        lines
    }

    /// Begins to wait anew, with what is there by now: when what was on the disk has been looked at, which a tick
    /// would learn of later.
    pub(super) fn renew_patience(&mut self) {
        let come = self.come();
        if let Some(patience) = &mut self.patience {
            patience.restart(come);
        }
    }

    /// When patience ends if nothing comes until then. None while nothing is waited for; and without any patience the
    /// next tick is early enough.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let patience = self.patience.as_ref().filter(|it| !it.limit.is_zero())?;
        self.waiting().next()?;
        patience.since.checked_add(patience.limit)
    }

    /// What has come, in whatever unit: it is compared with itself.
    fn come(&self) -> u64 {
        self.entries.values().fold(0_u64, |come, entry| {
            let status = entry.status.as_ref();
            come.saturating_add(status.map_or(0, |status| {
                let checked = status.pieces.saturating_sub(status.pieces_unchecked);
                let metadata = status.metadata.map_or(0, |metadata| metadata.received);
                status.session_downloaded + u64::from(checked) + u64::from(metadata)
            }))
        })
    }

    /// Those that something is missing of.
    fn waiting(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.values();
        entries.filter(|entry| !entry.complete && !entry.lost)
    }
}
