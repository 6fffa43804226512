//! Events as progress bars on a terminal, with lines above them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::event::{Event, Progress, Total};
use super::glyphs::Glyphs;
use super::layout::{Cell, Column, Fill, Kind, lay_out};
use super::lines::News;
use super::row;
use super::screen::Screen;
use super::text::printable;
use crate::units;

/// With more torrents than this, or than the terminal has rows for, one bar stands for all; with fewer, but more
/// than one, it stands below theirs.
pub(crate) const MOST_BARS: usize = 8;

/// Cells of a bar that shows no more than that something goes on.
const WAITING_BAR: usize = 8;

/// A bar for each torrent, in the order in which they were taken on.
#[derive(Debug)]
pub(crate) struct Bars {
    screen: Screen,
    glyphs: Glyphs,
    news: News,
    /// The last word of each torrent, by info-hash; none yet of those that were only taken on.
    torrents: Vec<(String, Option<Progress>)>,
    /// Where each of them is in the list.
    places: BTreeMap<String, usize>,
    total: Option<Total>,
    work: Option<Work>,
    /// Counts drawings, to move what shows that something goes on.
    step: usize,
}

/// A computation under way.
#[derive(Debug)]
enum Work {
    /// Hashing, since when, and how far.
    Hashing {
        since: Instant,
        done: u64,
        total: u64,
    },
    /// Waiting for this.
    Waiting(String),
    /// How far, and what is told beside it, the most important first.
    #[cfg(feature = "simulate")]
    Gauge {
        done: u64,
        total: u64,
        texts: Vec<String>,
    },
}

impl Default for Bars {
    fn default() -> Self {
        Self {
            screen: Screen::default(),
            glyphs: Glyphs {
                colours: console::colors_enabled_stderr(),
                ..Glyphs::of_environment()
            },
            news: News::default(),
            torrents: Vec::new(),
            places: BTreeMap::new(),
            total: None,
            work: None,
            step: 0,
        }
    }
}

impl Bars {
    pub(crate) fn tell(&mut self, event: &Event) {
        match event {
            // Drawn together with all others, when `refresh` is called.
            Event::Progress(progress) => {
                let place = self.place(&progress.torrent.info_hash);
                self.torrents[place].1 = Some((**progress).clone());
            }
            Event::Total(total) => self.total = Some(total.clone()),
            Event::Stopping => {
                self.screen.leave(&self.lines());
                self.forget();
                self.print(event);
            }
            Event::Hashing { done, total } if done == total => self.clear(),
            Event::Hashing { done, total } => {
                let since = match self.work {
                    Some(Work::Hashing { since, .. }) => since,
                    #[cfg(feature = "simulate")]
                    Some(Work::Gauge { .. }) => Instant::now(),
                    Some(Work::Waiting(_)) | None => Instant::now(),
                };
                self.work = Some(Work::Hashing {
                    since,
                    done: *done,
                    total: *total,
                });
                self.refresh();
            }
            Event::Fetching { torrent, .. } | Event::Added { torrent, .. } => {
                self.place(&torrent.info_hash);
                self.print(event);
            }
            Event::Listening { .. }
            | Event::Fetched { .. }
            | Event::Seeking { .. }
            | Event::PeerFailed { .. }
            | Event::DhtNodeFailed { .. }
            | Event::Dht { .. }
            | Event::Waiting { .. }
            | Event::Checked { .. }
            | Event::FileLonger { .. }
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
    pub(crate) fn gauge(&mut self, done: u64, total: u64, texts: &[String]) {
        self.work = Some(Work::Gauge {
            done,
            total,
            texts: texts.to_vec(),
        });
        self.refresh();
    }

    /// Draws what is waited for.
    pub(crate) fn wait(&mut self, text: &str) {
        self.work = Some(Work::Waiting(printable(text).into_owned()));
        self.refresh();
    }

    /// Draws what was told of all torrents, as the terminal is now.
    pub(crate) fn refresh(&mut self) {
        self.step = self.step.wrapping_add(1);
        self.screen.draw(&self.lines());
    }

    pub(crate) fn clear(&mut self) {
        self.screen.clear();
        self.forget();
    }

    /// Writes a line above the bars.
    fn print(&mut self, event: &Event) {
        if let Some(line) = self.news.line(event) {
            self.screen.print(&line);
            self.screen.draw(&self.lines());
        }
    }

    /// From now on there is nothing to draw, until something is told anew.
    fn forget(&mut self) {
        self.torrents.clear();
        self.places.clear();
        self.total = None;
        self.work = None;
    }

    fn place(&mut self, info_hash: &str) -> usize {
        if let Some(place) = self.places.get(info_hash) {
            return *place;
        }
        self.torrents.push((info_hash.to_owned(), None));
        let place = self.torrents.len() - 1;
        self.places.insert(info_hash.to_owned(), place);
        place
    }

    fn lines(&self) -> Vec<String> {
        let width = self.screen.columns();
        match &self.work {
            Some(Work::Hashing { since, done, total }) => {
                let rate = units::average(*done, since.elapsed().max(Duration::from_millis(1)));
                let left = total.saturating_sub(*done).checked_div(rate);
                let row = row::of_work(*done, *total, rate, left);
                return lay_out(&row::COLUMNS, &[row], width, self.glyphs);
            }
            #[cfg(feature = "simulate")]
            Some(Work::Gauge { done, total, texts }) => {
                return gauge(*done, *total, texts, width, self.glyphs);
            }
            Some(Work::Waiting(text)) => {
                let columns = [
                    Column {
                        rank: 1,
                        gap: 0,
                        kind: Kind::Bar(WAITING_BAR),
                    },
                    Column {
                        rank: 0,
                        gap: 1,
                        kind: Kind::Sentence(0),
                    },
                ];
                let row = vec![Cell::Bar(Fill::Busy(self.step)), Cell::Text(text.clone())];
                return lay_out(&columns, &[row], width, self.glyphs);
            }
            None => {}
        }
        let known = self
            .torrents
            .iter()
            .filter_map(|(_, progress)| progress.as_ref());
        // One is for the line of all together.
        let most = MOST_BARS.min(self.screen.rows().saturating_sub(1));
        let all = self.total.as_ref().map(row::of_all);
        let mut rows: Vec<Vec<Cell>> = match all {
            Some(_) if self.torrents.len() > most => Vec::new(),
            Some(_) | None => known
                .map(|progress| row::of_torrent(progress, self.step))
                .collect(),
        };
        rows.extend(all);
        lay_out(&row::COLUMNS, &rows, width, self.glyphs)
    }
}

/// A bar, and texts of falling importance.
#[cfg(any(test, feature = "simulate"))]
fn gauge(done: u64, total: u64, texts: &[String], width: usize, glyphs: Glyphs) -> Vec<String> {
    let column = |rank, gap, kind| Column { rank, gap, kind };
    let mut columns = vec![column(1, 0, Kind::Bar(8))];
    let mut row = vec![Cell::Bar(Fill::Part(done, total))];
    for (place, text) in (0_u8..).zip(texts) {
        let rank = if place == 0 {
            0
        } else {
            place.saturating_add(1)
        };
        let gap = if place == 0 { 1 } else { 2 };
        columns.push(column(rank, gap, Kind::Whole));
        row.push(Cell::Text(text.clone()));
    }
    lay_out(&columns, &[row], width, glyphs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_keeps_what_comes_first() {
        let texts = ["25%", "1.20s of virtual time", "3 of 40 complete"].map(str::to_owned);
        let shown = |width| gauge(1, 4, &texts, width, Glyphs::ASCII).concat();
        assert_eq!(shown(3), "25%");
        assert_eq!(shown(20), "====------------ 25%");
        assert_eq!(
            shown(54),
            "==------- 25%  1.20s of virtual time  3 of 40 complete"
        );
    }
}
