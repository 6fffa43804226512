//! Events as lines for people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anabranch_core::TorrentState;

use super::event::{self, Event, Progress};
use super::{eprint_line, text::printable};
use crate::units;

/// How often a line about progress is calm enough for a log.
const PACE: Duration = Duration::from_secs(10);

/// Lines without bars.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    news: News,
    /// When progress was told, and what, by info-hash; hashing has the empty name.
    told: BTreeMap<String, (Instant, String)>,
}

impl Lines {
    pub(crate) fn tell(&mut self, event: &Event) {
        if let Event::Progress(progress) = event {
            let name = printable(&progress.torrent.name);
            let line = format!("{name}: {}", summary(progress));
            self.tell_at_pace(&progress.torrent.info_hash, &line);
        } else if let Event::Hashing { done, total } = event {
            self.tell_at_pace("", &hashing(*done, *total));
        } else if let Some(line) = self.news.line(event) {
            eprint_line(&line);
        }
    }

    #[cfg(feature = "simulate")]
    pub(crate) fn gauge(&mut self, text: &str) {
        self.tell_at_pace("", text);
    }

    fn tell_at_pace(&mut self, key: &str, line: &str) {
        if self.is_due(key, line) {
            eprint_line(line);
        }
    }

    /// The first word about a torrent may wait; later ones keep their distance and are not repeated.
    /// Many torrents together write no more than one.
    fn is_due(&mut self, key: &str, line: &str) -> bool {
        let now = Instant::now();
        let torrents = u32::try_from(self.told.len()).unwrap_or(u32::MAX);
        let pace = PACE.saturating_mul(torrents.max(1));
        let Some((at, last)) = self.told.get_mut(key) else {
            self.told.insert(key.to_owned(), (now, String::new()));
            return false;
        };
        if now.duration_since(*at) < pace || last == line {
            return false;
        }
        *at = now;
        line.clone_into(last);
        true
    }
}

/// Decides what is news, for lines and for bars alike.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The last word about each tracker of each torrent: the same again is no news.
    trackers: BTreeMap<(String, String), String>,
}

impl News {
    /// The line that tells this event; none for progress, and for what was told before.
    pub(crate) fn line(&mut self, event: &Event) -> Option<String> {
        let line = match event {
            Event::Progress(_) | Event::Hashing { .. } => return None,
            Event::Listening { address } => format!("listening on {address}"),
            Event::Fetching { torrent, dir } => {
                format!(
                    "{}: fetching the torrent from peers, in {dir}",
                    torrent.name
                )
            }
            Event::Fetched { torrent, saved } => match saved {
                Some(path) => format!("{}: the torrent is there, saved as {path}", torrent.name),
                None => format!("{}: the torrent is there", torrent.name),
            },
            Event::Added {
                torrent,
                dir,
                size,
                wanted,
                files,
                ..
            } => {
                let part = match wanted == size {
                    true => units::size(*size),
                    false => format!("{} of {}", units::size(*wanted), units::size(*size)),
                };
                let files = plural(u64::from(*files), "file", "files");
                format!("{}: {part} in {files}, in {dir}", torrent.name)
            }
            Event::Checked {
                torrent,
                have,
                pieces,
            } => match have {
                // The one is plain, and the other is told as completion.
                0 => return None,
                all if all == pieces => return None,
                have => format!(
                    "{}: {have} of {} are there",
                    torrent.name,
                    plural(u64::from(*pieces), "piece", "pieces")
                ),
            },
            Event::Completed {
                torrent,
                size,
                downloaded,
                elapsed_ms,
            } => match downloaded {
                0 => format!(
                    "{}: complete and verified, {}",
                    torrent.name,
                    units::size(*size)
                ),
                downloaded => {
                    let time = Duration::from_millis(*elapsed_ms);
                    format!(
                        "{}: complete and verified, {} in {} ({})",
                        torrent.name,
                        units::size(*downloaded),
                        units::elapsed(time),
                        units::rate(units::average(*downloaded, time))
                    )
                }
            },
            Event::PieceFailed { torrent, piece } => format!(
                "{}: piece {piece} does not match, fetching it again",
                torrent.name
            ),
            Event::PeerBanned {
                torrent,
                address,
                reason,
            } => format!("{}: peer {address} banned: {reason}", torrent.name),
            Event::Tracker {
                torrent,
                url,
                warning,
                error,
                retry_in,
                ..
            } => {
                let key = (torrent.info_hash.clone(), url.clone());
                let said = match (error, warning) {
                    (Some(error), _) => error,
                    (None, Some(warning)) => warning,
                    (None, None) => {
                        self.trackers.remove(&key);
                        return None;
                    }
                };
                if self.trackers.get(&key) == Some(said) {
                    return None;
                }
                self.trackers.insert(key, said.clone());
                match retry_in {
                    Some(after) => format!(
                        "{}: tracker {url}: {said} (again in {})",
                        torrent.name,
                        units::seconds(u64::from(*after))
                    ),
                    None => format!("{}: tracker {url}: {said}", torrent.name),
                }
            }
            Event::StorageFailed {
                torrent,
                error,
                advice,
            } => format!("{}: {error}; {advice}", torrent.name),
            Event::StorageRecovered { torrent } => {
                format!("{}: the disk works again, going on", torrent.name)
            }
            Event::GoalReached { torrent, uploaded } => format!(
                "{}: seeding goal reached, {} uploaded",
                torrent.name,
                units::size(*uploaded)
            ),
            Event::Stopping => "stopping in good order; Ctrl-C again ends at once".to_owned(),
            Event::Stopped {
                torrent,
                complete,
                wanted,
                have,
                uploaded,
                ..
            } => match complete {
                true if *uploaded == 0 => return None,
                true => format!("{}: {} uploaded", torrent.name, units::size(*uploaded)),
                // Of a magnet link nothing more is known until peers have given its torrent.
                false if *wanted == 0 => {
                    format!("{}: stopped before its torrent was there", torrent.name)
                }
                false => format!(
                    "{}: stopped at {}% ({} of {})",
                    torrent.name,
                    units::percent(*have, *wanted),
                    units::size(*have),
                    units::size(*wanted)
                ),
            },
            Event::Created {
                torrent,
                path,
                size,
                files,
                pieces,
                piece_length,
            } => format!(
                "{path}: {} in {}, {} of {}, info-hash {}",
                units::size(*size),
                plural(u64::from(*files), "file", "files"),
                plural(u64::from(*pieces), "piece", "pieces"),
                units::exact_size(u64::from(*piece_length)),
                torrent.info_hash
            ),
            Event::Warning { message } => format!("warning: {message}"),
            Event::Failed {
                message, advice, ..
            } => match advice {
                Some(advice) => format!("failed: {message}; {advice}"),
                None => format!("failed: {message}"),
            },
            Event::Error { message, .. } => format!("error: {message}"),
        };
        Some(printable(&line).into_owned())
    }
}

/// Where a torrent stands, without its name: what matters most comes first, since a narrow terminal
/// cuts the rest.
pub(crate) fn summary(progress: &Progress) -> String {
    let mut parts = Vec::new();
    let peers = || match progress.seeds {
        0 => plural(u64::from(progress.peers), "peer", "peers"),
        seeds => format!(
            "{} ({})",
            plural(u64::from(progress.peers), "peer", "peers"),
            plural(u64::from(seeds), "seed", "seeds")
        ),
    };
    match progress.state {
        TorrentState::FetchingMetadata => {
            parts.push("fetching metadata".to_owned());
            let metadata = progress.metadata;
            if let Some((total, metadata)) = metadata.and_then(|m| Some((m.total?, m))) {
                parts.push(format!("{} of {total} bytes", metadata.received));
                let from = plural(u64::from(metadata.peers), "peer", "peers");
                parts.push(format!("from {from}"));
            } else if let Some(why) = &progress.hindrance {
                parts.push(printable(why).into_owned());
            }
        }
        TorrentState::Checking => {
            let done = progress.pieces.saturating_sub(progress.pieces_unchecked);
            let percent = units::percent(u64::from(done), u64::from(progress.pieces));
            parts.push(format!("checking {percent}%"));
            parts.push(format!("pieces {done}/{}", progress.pieces));
        }
        TorrentState::Downloading => {
            parts.push(format!(
                "{}%",
                units::percent(progress.have, progress.wanted)
            ));
            parts.push(units::rate(progress.download_rate));
            match (progress.eta, &progress.hindrance) {
                (Some(eta), _) => parts.push(format!("ETA {}", units::seconds(eta))),
                (None, Some(why)) => parts.push(printable(why).into_owned()),
                (None, None) => {}
            }
            parts.push(peers());
            parts.push(format!(
                "pieces {}/{}",
                progress.pieces_have, progress.pieces
            ));
            if progress.upload_rate > 0 {
                parts.push(format!("up {}", units::rate(progress.upload_rate)));
            }
        }
        TorrentState::Seeding => {
            parts.push("seeding".to_owned());
            parts.push(format!("up {}", units::rate(progress.upload_rate)));
            parts.push(peers());
            parts.push(format!("{} uploaded", units::size(progress.uploaded)));
        }
        TorrentState::Paused if progress.have == progress.wanted && progress.metadata.is_none() => {
            parts.push("complete".to_owned());
        }
        TorrentState::Paused | TorrentState::Removing => {
            parts.push(event::state(progress.state).to_owned());
        }
        TorrentState::Failed => {
            parts.push("waiting".to_owned());
            if let Some(why) = &progress.hindrance {
                parts.push(printable(why).into_owned());
            }
        }
    }
    parts.join("  ")
}

pub(crate) fn hashing(done: u64, total: u64) -> String {
    format!(
        "hashing {}% of {}",
        units::percent(done, total),
        units::size(total)
    )
}

/// A number and what is counted, in the form that goes with it.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Torrent;

    fn torrent() -> Torrent {
        Torrent {
            info_hash: "00".repeat(20),
            name: "x\u{1b}[2J".into(),
        }
    }

    fn progress(state: TorrentState) -> Progress {
        Progress {
            torrent: torrent(),
            state,
            hindrance: None,
            metadata: None,
            wanted: 200 << 20,
            have: 50 << 20,
            pieces: 100,
            pieces_have: 25,
            pieces_unchecked: 40,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            download_rate: 3 << 20,
            upload_rate: 0,
            eta: Some(50),
            peers: 2,
            seeds: 1,
        }
    }

    fn tracker(error: Option<&str>) -> Event {
        Event::Tracker {
            torrent: torrent(),
            url: "http://t/announce".into(),
            peers: None,
            warning: None,
            error: error.map(str::to_owned),
            retry_in: Some(30),
        }
    }

    #[test]
    fn rate_eta_peers_and_pieces_are_told() {
        assert_eq!(
            summary(&progress(TorrentState::Downloading)),
            "25%  3.0 MiB/s  ETA 50s  2 peers (1 seed)  pieces 25/100"
        );
        assert_eq!(
            summary(&progress(TorrentState::Checking)),
            "checking 60%  pieces 60/100"
        );
    }

    #[test]
    fn what_holds_a_torrent_back_stands_where_the_eta_would() {
        let stuck = Progress {
            download_rate: 0,
            eta: None,
            hindrance: Some("no peers known".into()),
            peers: 0,
            seeds: 0,
            ..progress(TorrentState::Downloading)
        };
        assert_eq!(
            summary(&stuck),
            "25%  0 B/s  no peers known  0 peers  pieces 25/100"
        );
    }

    #[test]
    fn names_do_not_reach_the_terminal_raw() {
        let mut news = News::default();
        let line = news.line(&Event::StorageRecovered { torrent: torrent() });
        assert_eq!(
            line.as_deref(),
            Some("x\\u{1b}[2J: the disk works again, going on")
        );
    }

    #[test]
    fn a_tracker_that_fails_the_same_way_is_no_news() {
        let mut news = News::default();
        assert!(news.line(&tracker(Some("refused"))).is_some());
        assert!(news.line(&tracker(Some("refused"))).is_none());
        assert!(news.line(&tracker(Some("timed out"))).is_some());
        assert!(news.line(&tracker(None)).is_none());
        assert!(news.line(&tracker(Some("timed out"))).is_some());
    }

    #[test]
    fn how_far_it_came_is_told_when_it_is_not_done() {
        let stopped = |complete, wanted, have| Event::Stopped {
            torrent: torrent(),
            complete,
            wanted,
            have,
            downloaded: have,
            uploaded: 0,
        };
        let mut news = News::default();
        let line = news.line(&stopped(false, 100, 45));
        assert!(line.is_some_and(|line| line.contains("45% (45 B of 100 B)")));
        assert_eq!(news.line(&stopped(true, 100, 100)), None);
        let line = news.line(&stopped(false, 0, 0));
        assert!(line.is_some_and(|line| line.ends_with("stopped before its torrent was there")));
    }

    #[test]
    fn progress_in_a_log_keeps_its_distance() {
        let mut lines = Lines::default();
        assert!(!lines.is_due("x", "1%"));
        assert!(!lines.is_due("x", "2%"));
        let long_ago = Instant::now().checked_sub(PACE).unwrap();
        lines.told.insert("x".into(), (long_ago, "2%".into()));
        assert!(!lines.is_due("x", "2%"));
        assert!(lines.is_due("x", "3%"));
        assert!(!lines.is_due("x", "4%"));
    }
}
