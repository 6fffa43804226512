//! How long nothing may come (`--timeout`).

use std::time::{Duration, Instant};

use super::{NAMED_REASONS, Session};
use crate::exit::Failure;
use crate::units;

/// How long nothing may come.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Instant,
    /// What had come then.
    come: u64,
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
    pub(super) fn lose_patience(&mut self) -> Result<(), Failure> {
        let Some(patience) = &mut self.patience else {
            return Ok(());
        };
        let come = self.entries.values().fold(0_u64, |come, entry| {
            let status = entry.status.as_ref();
            come.saturating_add(status.map_or(0, |status| {
                let checked = status.pieces.saturating_sub(status.pieces_unchecked);
                let metadata = status.metadata.map_or(0, |metadata| metadata.received);
                status.session_downloaded + u64::from(checked) + u64::from(metadata)
            }))
        });
        let waiting = || {
            let entries = self.entries.values();
            entries.filter(|entry| !entry.complete && !entry.lost)
        };
        if come != patience.come || waiting().next().is_none() {
            (patience.come, patience.since) = (come, Instant::now());
            return Ok(());
        }
        if patience.since.elapsed() < patience.limit {
            return Ok(());
        }
        let reasons = waiting().take(NAMED_REASONS).map(|entry| {
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
        let more = match waiting().count().saturating_sub(NAMED_REASONS) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Err(Failure::timed_out(format!(
            "nothing has come for {}: {}{more}",
            units::limit(patience.limit),
            reasons.join("; "),
        ))
        .advise("name a peer that has it with --peer, or wait longer with another --timeout"))
    }
}
