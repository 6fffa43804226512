//! Events as progress bars on a terminal, with lines above them.

use std::collections::BTreeMap;
use std::fmt;

use anabranch_core::TorrentState;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::eprint_line;
use super::event::{Event, Progress};
use super::lines::{News, hashing, plural, summary};
use super::text::{printable, shortened};
use crate::units;

/// With more torrents than this, one bar stands for all.
const MOST_BARS: usize = 8;

/// Characters of a torrent's name.
const NAME_WIDTH: usize = 20;

/// Redraws a second.
const REFRESH: u8 = 10;

/// A bar for each torrent.
pub(crate) struct Bars {
    screen: MultiProgress,
    news: News,
    bars: BTreeMap<String, ProgressBar>,
    all: Option<ProgressBar>,
    /// The last word of each torrent, by info-hash.
    progress: BTreeMap<String, Progress>,
}

impl Default for Bars {
    fn default() -> Self {
        Self {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REFRESH)),
            news: News::default(),
            bars: BTreeMap::new(),
            all: None,
            progress: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bars")
            .field("torrents", &self.progress.len())
            .finish_non_exhaustive()
    }
}

impl Bars {
    pub(crate) fn tell(&mut self, event: &Event) {
        match event {
            Event::Progress(progress) => self.draw(progress),
            Event::Stopping => {
                self.freeze();
                self.print(event);
            }
            Event::Hashing { done, total } => {
                let bar = self.bar(String::new());
                bar.set_length(*total);
                bar.set_position(*done);
                let eta = bar.eta();
                let left = match done {
                    0 => String::new(),
                    _ => format!("  ETA {}", units::seconds(eta.as_secs())),
                };
                bar.set_message(format!("{}{left}", hashing(*done, *total)));
                if done == total {
                    self.clear();
                }
            }
            Event::Listening { .. }
            | Event::Fetching { .. }
            | Event::Fetched { .. }
            | Event::Added { .. }
            | Event::Checked { .. }
            | Event::Completed { .. }
            | Event::PieceFailed { .. }
            | Event::PeerBanned { .. }
            | Event::Tracker { .. }
            | Event::StorageFailed { .. }
            | Event::StorageRecovered { .. }
            | Event::GoalReached { .. }
            | Event::Stopped { .. }
            | Event::Created { .. }
            | Event::Warning { .. }
            | Event::Failed { .. }
            | Event::Error { .. } => self.print(event),
        }
    }

    #[cfg(feature = "simulate")]
    pub(crate) fn gauge(&mut self, done: u64, total: u64, text: &str) {
        let bar = self.bar(String::new());
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(text.to_owned());
    }

    /// Writes a line above the bars.
    fn print(&mut self, event: &Event) {
        if let Some(line) = self.news.line(event) {
            // A terminal that is gone is noticed elsewhere.
            let _ = self.screen.println(line);
        }
    }

    /// Leaves the bars as they stand; what follows goes below them. After Ctrl-C the cursor is not
    /// where it was, since the terminal writes `^C`, so they cannot be taken away.
    fn freeze(&mut self) {
        let drawn = !self.bars.is_empty() || self.all.is_some();
        self.restart();
        if drawn {
            eprint_line("");
        }
    }

    pub(crate) fn clear(&mut self) {
        // One by one, each bar that goes would draw the others anew.
        let _ = self.screen.clear();
        self.restart();
    }

    fn restart(&mut self) {
        self.screen.set_draw_target(ProgressDrawTarget::hidden());
        *self = Self {
            news: std::mem::take(&mut self.news),
            ..Self::default()
        };
    }

    fn draw(&mut self, progress: &Progress) {
        let key = progress.torrent.info_hash.clone();
        self.progress.insert(key.clone(), progress.clone());
        if self.progress.len() > MOST_BARS {
            for bar in self.bars.values() {
                bar.finish_and_clear();
                self.screen.remove(bar);
            }
            self.bars.clear();
            self.draw_all();
            return;
        }
        let bar = self.bar(key);
        let (done, of) = extent(progress);
        bar.set_length(of);
        bar.set_position(done);
        bar.set_prefix(shortened(&printable(&progress.torrent.name), NAME_WIDTH));
        bar.set_message(summary(progress));
    }

    fn draw_all(&mut self) {
        let sum = |of: fn(&Progress) -> u64| {
            self.progress
                .values()
                .fold(0_u64, |sum, progress| sum.saturating_add(of(progress)))
        };
        let wanted = sum(|progress| progress.wanted);
        let have = sum(|progress| progress.have);
        let rate = sum(|progress| progress.download_rate);
        let complete = self
            .progress
            .values()
            .filter(|progress| progress.have == progress.wanted && progress.metadata.is_none())
            .count();
        let eta = match wanted.saturating_sub(have).checked_div(rate) {
            Some(left) if left > 0 => format!("  ETA {}", units::seconds(left)),
            Some(_) | None => String::new(),
        };
        let message = format!(
            "{}%  {}{eta}  {}  {complete} complete  up {}",
            units::percent(have, wanted),
            units::rate(rate),
            plural(sum(|progress| u64::from(progress.peers)), "peer", "peers"),
            units::rate(sum(|progress| progress.upload_rate)),
        );
        let screen = &self.screen;
        let bar = self.all.get_or_insert_with(|| new_bar(screen));
        bar.set_prefix(format!("{} torrents", self.progress.len()));
        bar.set_length(wanted);
        bar.set_position(have);
        bar.set_message(message);
    }

    fn bar(&mut self, key: String) -> &ProgressBar {
        let screen = &self.screen;
        self.bars.entry(key).or_insert_with(|| new_bar(screen))
    }
}

fn new_bar(screen: &MultiProgress) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:20.cyan/dim} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─");
    screen.add(ProgressBar::new(0).with_style(style))
}

/// How much of the bar is full: of what is looked at while checking, else of what is there.
fn extent(progress: &Progress) -> (u64, u64) {
    match progress.state {
        TorrentState::Checking => (
            u64::from(progress.pieces.saturating_sub(progress.pieces_unchecked)),
            u64::from(progress.pieces),
        ),
        TorrentState::FetchingMetadata => progress.metadata.map_or((0, 0), |metadata| {
            let total = metadata.total.unwrap_or(0);
            (metadata.received.into(), total.into())
        }),
        TorrentState::Downloading
        | TorrentState::Seeding
        | TorrentState::Paused
        | TorrentState::Failed
        | TorrentState::Removing => (progress.have, progress.wanted),
    }
}
