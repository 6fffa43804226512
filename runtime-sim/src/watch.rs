//! Whether every torrent gets on that could, and a world in words.

use std::time::Duration;

use anabranch_core::id::StorageKey;
use anabranch_core::{Engine, Instant, TorrentState};

use crate::failure::FailureKind;
use crate::host::{Host, Node};
use crate::world::{HostId, World};

impl World {
    /// Looks for a torrent that has not got on for longer than `patience` and could have.
    pub(crate) fn find_stuck(&mut self, patience: Duration) {
        let now = self.now;
        let last_fault = self.last_fault;
        let mut stuck = Vec::new();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let Node::Engine(running) = &host.node else {
                continue;
            };
            let stats = running.engine.stats();
            let progress = stats.payload_received + stats.pieces_verified;
            if progress != host.progress {
                host.progress = progress;
                host.progress_at = now;
            }
            let waited = now.since(host.progress_at.max(last_fault));
            if waited >= patience && has_wanting(&running.engine) {
                stuck.push(index as u32);
            }
        }
        for host in stuck {
            if let Some(seed) = self.reachable_seed(host) {
                let last = self.host(HostId(host)).progress_at;
                let what = format!(
                    "last {}, although {} has everything\n{}",
                    ago(now, last),
                    HostId(seed),
                    self.describe_host(host)
                );
                return self.fail(Some(host), FailureKind::Stalled(what));
            }
        }
    }

    /// Looks for a torrent of which pieces were written wrong.
    pub(crate) fn find_corrupt(&mut self) {
        let found = (0..).zip(&self.hosts).find_map(|(index, host)| {
            (0..).zip(&host.torrents).find_map(|(key, added)| {
                let wrong = host.disk.miswritten(StorageKey(key));
                (wrong > 0).then(|| {
                    let pieces = added.content.pieces();
                    (
                        index,
                        format!("{wrong} of {pieces} pieces were written wrong"),
                    )
                })
            })
        });
        if let Some((host, what)) = found {
            self.fail(Some(host), FailureKind::Corrupt(what));
        }
    }

    /// A host that has all that another one is downloading, and that it can reach or be reached by.
    fn reachable_seed(&self, host: u32) -> Option<u32> {
        let this = self.hosts.get(host as usize)?;
        let engine = this.engine()?;
        for id in engine.torrents() {
            let torrent = engine.torrent(id)?;
            if torrent.state() != TorrentState::Downloading {
                continue;
            }
            let hash = torrent.info_hash();
            let found = self.hosts.iter().position(|other| {
                let seeding = other.engine().is_some_and(|engine| {
                    let found = engine.find(&hash).and_then(|id| engine.torrent(id));
                    found.is_some_and(|found| {
                        found.have().is_full() && found.state() == TorrentState::Seeding
                    })
                });
                let reachable = |from: &Host, to: &Host| {
                    let mut addresses = to.addresses();
                    to.is_dialable() && addresses.any(|to| from.address_towards(to.ip()).is_some())
                };
                seeding
                    && other.group == this.group
                    && (reachable(this, other) || reachable(other, this))
            });
            if let Some(found) = found {
                return Some(found as u32);
            }
        }
        None
    }

    /// The hosts that are not complete, in words.
    pub(crate) fn describe(&self) -> String {
        let wanting = (0..self.hosts.len() as u32).filter(|host| {
            let torrents = &self.host(HostId(*host)).torrents;
            torrents.iter().any(|added| added.completed.is_none())
        });
        let mut lines: Vec<String> = wanting
            .clone()
            .take(4)
            .map(|host| self.describe_host(host))
            .collect();
        lines.push(format!("{} hosts are not complete", wanting.count()));
        lines.join("\n")
    }

    fn describe_host(&self, host: u32) -> String {
        let mut lines = vec![HostId(host).to_string()];
        if let Some(engine) = self.host(HostId(host)).engine() {
            for torrent in engine.torrents().filter_map(|id| engine.torrent(id)) {
                lines.push(format!("{:?}", torrent.status(self.now)));
                let peers = torrent.peers(self.now);
                lines.extend(peers.iter().take(8).map(|peer| format!("  {peer:?}")));
            }
        } else {
            lines.push(String::from("no engine"));
        }
        lines.join("\n")
    }
}

fn has_wanting(engine: &Engine) -> bool {
    engine
        .torrents()
        .filter_map(|id| engine.torrent(id))
        .any(|torrent| torrent.state() == TorrentState::Downloading)
}

fn ago(now: Instant, then: Instant) -> String {
    format!("{} s ago", now.since(then).as_secs())
}
