//! Events as lines for people.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bars::MOST_BARS;
use super::event::Event;
use super::{eprint_line, row, text::printable};
use crate::units;

/// How often a line about progress is calm enough for a log.
const PACE: Duration = Duration::from_secs(10);

/// The same of the first one: what goes quickly needs none, and whoever waits wants to know for what.
const FIRST_PACE: Duration = Duration::from_secs(2);

/// The shortest time that a rate is told of: what is written of times has two decimals.
const SHORTEST: Duration = Duration::from_millis(10);

/// What stands in the place of an info-hash where no single torrent is meant.
const ALL: &str = "";

/// Lines without bars.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    news: News,
    /// When progress was told, and what, by info-hash, or [`ALL`].
    told: BTreeMap<String, (Instant, String)>,
    /// Whether there are so many torrents that one line stands for all.
    together: bool,
}

impl Lines {
    pub(crate) fn tell(&mut self, event: &Event) {
        if let Event::Progress(progress) = event {
            // Many torrents are told of together.
            if self.together {
                return;
            }
            let name = printable(&progress.torrent.name);
            let line = format!("{name}: {}", row::line(&row::of_torrent(progress, 0)));
            self.tell_at_pace(&progress.torrent.info_hash, &line);
        } else if let Event::Total(total) = event {
            self.together = total.torrents as usize > MOST_BARS;
            if self.together {
                self.told.retain(|key, _| key == ALL);
            }
            let torrents = plural(total.torrents.into(), "torrent", "torrents");
            let line = row::line(&row::of_all(total));
            self.tell_at_pace(ALL, &format!("{torrents}: {line}"));
        } else if let Event::Hashing { done, total } = event {
            self.tell_at_pace(ALL, &hashing(*done, *total));
        } else if let Some(line) = self.news.line(event) {
            eprint_line(&line);
        }
    }

    #[cfg(feature = "simulate")]
    pub(crate) fn gauge(&mut self, texts: &[String]) {
        self.tell_at_pace(ALL, &texts.join("  "));
    }

    pub(crate) fn wait(&mut self, text: &str) {
        match self.told.contains_key(ALL) {
            true => self.tell_at_pace(ALL, text),
            false => {
                self.told
                    .insert(ALL.to_owned(), (Instant::now(), text.to_owned()));
                eprint_line(text);
            }
        }
    }

    fn tell_at_pace(&mut self, key: &str, line: &str) {
        if self.is_due(key, line) {
            eprint_line(line);
        }
    }

    /// The first word about a torrent may wait a little; later ones keep their distance and are not repeated.
    /// Many torrents together write no more than one.
    fn is_due(&mut self, key: &str, line: &str) -> bool {
        let now = Instant::now();
        let torrents = u32::try_from(self.told.len()).unwrap_or(u32::MAX);
        let Some((at, last)) = self.told.get_mut(key) else {
            self.told.insert(key.to_owned(), (now, String::new()));
            return false;
        };
        let pace = if last.is_empty() { FIRST_PACE } else { PACE };
        let pace = pace.saturating_mul(torrents.max(1));
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
    /// The last word of each tracker of each torrent, of each peer that was named, and of the DHT: the same again is
    /// no news.
    said: BTreeMap<(String, String), String>,
}

impl News {
    /// Whether this was not the last word.
    fn is_new(&mut self, key: (String, String), word: &str) -> bool {
        if self.said.get(&key).is_some_and(|last| last == word) {
            return false;
        }
        self.said.insert(key, word.to_owned());
        true
    }

    /// The line that tells this event; none for progress, and for what was told before.
    pub(crate) fn line(&mut self, event: &Event) -> Option<String> {
        let line = match event {
            Event::Progress(_) | Event::Total(_) | Event::Hashing { .. } => return None,
            Event::Listening { address } => format!("listening on {address}"),
            Event::Fetching { torrent, dir } => match dir {
                Some(dir) => format!(
                    "{}: fetching the torrent from peers, in {dir}",
                    torrent.name
                ),
                None => format!("{}: fetching the torrent from peers", torrent.name),
            },
            Event::Seeking {
                torrent,
                trackers,
                dht,
                local,
                peers,
            } => {
                let whom = whom(*trackers, *dht, *local, *peers);
                format!("{}: {whom}", torrent.name)
            }
            Event::PeerFailed {
                torrent,
                peer,
                error,
            } => {
                let key = (torrent.info_hash.clone(), format!("peer {peer}"));
                if !self.is_new(key, error) {
                    return None;
                }
                format!("{}: peer {peer}: {error}", torrent.name)
            }
            Event::DhtNodeFailed { node, error } => {
                let key = (String::new(), format!("node {node}"));
                if !self.is_new(key, error) {
                    return None;
                }
                format!("DHT node {node}: {error}")
            }
            Event::Dht { torrent, peers, .. } => {
                let key = (torrent.info_hash.clone(), "DHT".to_owned());
                if !self.is_new(key, "") {
                    return None;
                }
                let peers = plural((*peers).into(), "peer", "peers");
                format!("{}: DHT: {peers}", torrent.name)
            }
            Event::Waiting { message } => message.clone(),
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
                    // A rate over next to no time says nothing.
                    let rate = match time < SHORTEST {
                        true => String::new(),
                        false => format!(" ({})", units::rate(units::average(*downloaded, time))),
                    };
                    let part = match downloaded < size {
                        true => format!(", {} of it", units::size(*downloaded)),
                        false => String::new(),
                    };
                    format!(
                        "{}: complete and verified, {}{part} in {}{rate}",
                        torrent.name,
                        units::size(*size),
                        units::elapsed(time),
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
                peers,
                warning,
                error,
                retry_in,
            } => {
                let key = (torrent.info_hash.clone(), url.clone());
                let said = match (error, warning) {
                    (Some(error), _) => error,
                    (None, Some(warning)) => warning,
                    // How many they are changes all the time; that it answers is news once.
                    (None, None) => {
                        if !self.is_new(key, "") {
                            return None;
                        }
                        let peers = plural(peers.unwrap_or(0).into(), "peer", "peers");
                        return Some(
                            printable(&format!("{}: tracker {url}: {peers}", torrent.name))
                                .into_owned(),
                        );
                    }
                };
                if !self.is_new(key, said) {
                    return None;
                }
                match retry_in {
                    Some(after) => format!(
                        "{}: tracker {url}: {said} (again in {})",
                        torrent.name,
                        units::seconds(u64::from(*after))
                    ),
                    None if error.is_some() => {
                        format!("{}: tracker {url}: {said} (not asked again)", torrent.name)
                    }
                    None => format!("{}: tracker {url}: {said}", torrent.name),
                }
            }
            Event::FileLonger {
                torrent,
                path,
                found,
                expected,
                cut,
            } => {
                let excess = plural(found.saturating_sub(*expected), "byte", "bytes");
                let then = match cut {
                    true => "cut off",
                    false => "left there; only what matches is seeded",
                };
                format!(
                    "{}: {path} had {excess} after its end: {then}",
                    torrent.name
                )
            }
            Event::StorageFailed {
                torrent,
                error,
                advice,
            } => format!("{}: {error}; {advice}", torrent.name),
            Event::StorageRecovered { torrent } => {
                format!("{}: the disk works again", torrent.name)
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
                unfinished,
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
                    "{}: stopped at {}% ({} of {}{})",
                    torrent.name,
                    units::percent(*have, *wanted),
                    units::size(*have),
                    units::size(*wanted),
                    match unfinished {
                        0 => String::new(),
                        bytes => format!(", and {} of unfinished pieces", units::size(*bytes)),
                    }
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

pub(crate) fn hashing(done: u64, total: u64) -> String {
    format!(
        "hashing {}% of {}",
        units::percent(done, total),
        units::size(total)
    )
}

/// Who is asked for peers.
fn whom(trackers: u32, dht: bool, local: bool, peers: u32) -> String {
    let mut asked = Vec::new();
    if trackers > 0 {
        asked.push(plural(trackers.into(), "tracker", "trackers"));
    }
    if dht {
        asked.push("the DHT".to_owned());
    }
    if local {
        asked.push("the local network".to_owned());
    }
    if peers > 0 {
        asked.push(plural(
            peers.into(),
            "peer that was named",
            "peers that were named",
        ));
    }
    match asked.pop() {
        None => "nobody to ask for peers: waiting for some to connect".to_owned(),
        Some(last) if asked.is_empty() => format!("asking {last}"),
        Some(last) => format!("asking {} and {last}", asked.join(", ")),
    }
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
    use crate::output::{Torrent, Total};

    fn torrent() -> Torrent {
        Torrent {
            info_hash: "00".repeat(20),
            name: "x\u{1b}[2J".into(),
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
    fn names_do_not_reach_the_terminal_raw() {
        let mut news = News::default();
        let line = news.line(&Event::StorageRecovered { torrent: torrent() });
        assert_eq!(line.as_deref(), Some("x\\u{1b}[2J: the disk works again"));
    }

    #[test]
    fn a_tracker_that_fails_the_same_way_is_no_news() {
        let mut news = News::default();
        assert!(news.line(&tracker(Some("refused"))).is_some());
        assert!(news.line(&tracker(Some("refused"))).is_none());
        let mut never = tracker(Some("gone"));
        if let Event::Tracker { retry_in, .. } = &mut never {
            *retry_in = None;
        }
        let line = news.line(&never).unwrap();
        assert!(line.ends_with("gone (not asked again)"), "{line}");
        assert!(news.line(&tracker(Some("timed out"))).is_some());
        let works = Some("x\\u{1b}[2J: tracker http://t/announce: 0 peers".to_owned());
        assert_eq!(news.line(&tracker(None)), works);
        assert!(news.line(&tracker(None)).is_none());
        assert!(news.line(&tracker(Some("timed out"))).is_some());
    }

    #[test]
    fn who_is_asked_is_told() {
        for (asked, text) in [
            (
                whom(2, true, false, 1),
                "asking 2 trackers, the DHT and 1 peer that was named",
            ),
            (whom(0, true, false, 0), "asking the DHT"),
            (
                whom(1, false, true, 0),
                "asking 1 tracker and the local network",
            ),
            (
                whom(0, false, false, 0),
                "nobody to ask for peers: waiting for some to connect",
            ),
        ] {
            assert_eq!(asked, text);
        }
    }

    #[test]
    fn a_peer_that_fails_the_same_way_is_no_news() {
        let mut news = News::default();
        let mut line = |peer: &str, error: &str| {
            news.line(&Event::PeerFailed {
                torrent: Torrent {
                    name: "x".into(),
                    ..torrent()
                },
                peer: peer.into(),
                error: error.into(),
            })
        };
        let refused = Some("x: peer h:1: connection refused".to_owned());
        assert_eq!(line("h:1", "connection refused"), refused);
        assert_eq!(line("h:1", "connection refused"), None);
        assert!(line("h:2", "connection refused").is_some());
        assert!(line("h:1", "no answer").is_some());
    }

    #[test]
    fn completion_tells_the_size_and_not_what_was_fetched_for_it() {
        let line = |size, downloaded| {
            let line = News::default().line(&Event::Completed {
                torrent: Torrent {
                    name: "x".into(),
                    ..torrent()
                },
                size,
                downloaded,
                elapsed_ms: 2_000,
            });
            line.unwrap()
        };
        assert_eq!(
            line(10 << 10, 32 << 10),
            "x: complete and verified, 10.0 KiB in 2.00s (16.0 KiB/s)"
        );
        assert_eq!(
            line(40 << 20, 4 << 20),
            "x: complete and verified, 40.0 MiB, 4.0 MiB of it in 2.00s (2.0 MiB/s)"
        );
        assert_eq!(line(10 << 10, 0), "x: complete and verified, 10.0 KiB");
    }

    #[test]
    fn no_rate_is_told_of_no_time() {
        let line = |elapsed_ms| {
            let line = News::default().line(&Event::Completed {
                torrent: Torrent {
                    name: "x".into(),
                    ..torrent()
                },
                size: 40 << 20,
                downloaded: 40 << 20,
                elapsed_ms,
            });
            line.unwrap()
        };
        assert_eq!(line(0), "x: complete and verified, 40.0 MiB in 0.00s");
        assert_eq!(
            line(2_000),
            "x: complete and verified, 40.0 MiB in 2.00s (20.0 MiB/s)"
        );
    }

    #[test]
    fn many_torrents_are_told_of_in_one_line() {
        let total = |torrents| {
            Event::Total(Total {
                torrents,
                complete: 0,
                wanted: 1,
                have: 0,
                downloaded: 0,
                uploaded: 0,
                download_rate: 0,
                upload_rate: 0,
                eta: None,
                peers: 0,
            })
        };
        let mut lines = Lines::default();
        lines.tell(&total(8));
        assert!(
            !lines.together && lines.told.contains_key(ALL),
            "they have one besides their own"
        );
        lines.tell(&total(9));
        assert!(lines.together);
        assert_eq!(lines.told.keys().collect::<Vec<_>>(), [ALL]);
    }

    #[test]
    fn how_far_it_came_is_told_when_it_is_not_done() {
        let stopped = |complete, wanted, have, unfinished| Event::Stopped {
            torrent: torrent(),
            complete,
            wanted,
            have,
            unfinished,
            downloaded: have,
            uploaded: 0,
        };
        let mut news = News::default();
        let line = news.line(&stopped(false, 100, 45, 0));
        assert!(line.is_some_and(|line| line.contains("45% (45 B of 100 B)")));
        assert_eq!(news.line(&stopped(true, 100, 100, 0)), None);
        let line = news.line(&stopped(false, 64 << 20, 0, 40 << 20)).unwrap();
        assert!(
            line.ends_with("0% (0 B of 64.0 MiB, and 40.0 MiB of unfinished pieces)"),
            "{line}"
        );
        let line = news.line(&stopped(false, 0, 0, 0));
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
