//! What is told of a torrent while it is at work, field by field: in bars and in lines alike.

use anabranch_core::TorrentState;

use super::event::{Progress, Total, state};
use super::layout::{Cell, Column, Fill, Kind};
use super::lines::plural;
use super::text::printable;
use crate::units;

/// The fields, in the order of their places. Of a torrent among others its name must be known, and then how far
/// and how fast it is; with 80 columns there is room for all but the last three.
pub(crate) const COLUMNS: [Column; 10] = [
    column(1, 0, Kind::Name(8)),
    column(5, 1, Kind::Bar(6)),
    column(0, 1, Kind::Number(4)),
    column(4, 2, Kind::Number(0)),
    column(2, 2, Kind::Number(10)),
    column(3, 2, Kind::Sentence(10)),
    column(6, 2, Kind::Number(7)),
    column(8, 1, Kind::Whole),
    column(7, 2, Kind::Number(0)),
    column(9, 2, Kind::Whole),
];

const fn column(rank: u8, gap: usize, kind: Kind) -> Column {
    Column { rank, gap, kind }
}

/// A torrent's fields, those of [`COLUMNS`].
#[derive(Debug, Default)]
struct Fields {
    name: String,
    /// Whether the name is a word of ours, and no torrent's.
    is_label: bool,
    bar: Option<Fill>,
    percent: String,
    /// Bytes that are there, and that are wanted.
    amount: String,
    rate: String,
    /// What goes on, or how long it will.
    doing: String,
    /// Or what keeps it from going on, which may be long.
    why: String,
    peers: String,
    seeds: String,
    upload: String,
    /// What only the curious want to know.
    detail: String,
}

impl Fields {
    fn cells(self) -> Vec<Cell> {
        let text = |text: String| match text.as_str() {
            "" => Cell::Empty,
            _ => Cell::Text(text),
        };
        vec![
            match self.is_label {
                false => text(self.name),
                // Half of what stands for all would say something else.
                true => Cell::Whole(self.name),
            },
            self.bar.map_or(Cell::Empty, Cell::Bar),
            text(self.percent),
            text(self.amount),
            text(self.rate),
            match self.doing.as_str() {
                "" => text(self.why),
                _ => Cell::Whole(self.doing),
            },
            text(self.peers),
            text(self.seeds),
            text(self.upload),
            text(self.detail),
        ]
    }
}

/// A torrent's row in the table; `step` moves the bars of those of which nobody knows how much there is.
pub(crate) fn of_torrent(progress: &Progress, step: usize) -> Vec<Cell> {
    fields(progress, step).cells()
}

/// The row that stands for all torrents.
pub(crate) fn of_all(total: &Total) -> Vec<Cell> {
    Fields {
        name: plural(total.torrents.into(), "torrent", "torrents"),
        is_label: true,
        bar: Some(Fill::Part(total.have, total.wanted)),
        percent: format!("{}%", units::percent(total.have, total.wanted)),
        amount: units::amount(total.have, total.wanted),
        rate: units::rate(total.download_rate),
        doing: match total.eta {
            Some(left) => format!("ETA {}", units::seconds(left)),
            None => String::new(),
        },
        // More than how many connections there are, it matters how many torrents are done.
        peers: format!("{} complete", total.complete),
        upload: upload(total.upload_rate),
        detail: plural(total.peers.into(), "peer", "peers"),
        ..Fields::default()
    }
    .cells()
}

/// The row of a computation that has nothing to do with peers.
pub(crate) fn of_work(done: u64, total: u64, rate: u64, left: Option<u64>) -> Vec<Cell> {
    Fields {
        name: "hashing".to_owned(),
        is_label: true,
        bar: Some(Fill::Part(done, total)),
        percent: format!("{}%", units::percent(done, total)),
        amount: units::amount(done, total),
        rate: match rate {
            0 => String::new(),
            rate => units::rate(rate),
        },
        doing: match left {
            Some(left) => format!("ETA {}", units::seconds(left)),
            None => String::new(),
        },
        ..Fields::default()
    }
    .cells()
}

/// A row without its name and bar, as a line for a log.
pub(crate) fn line(row: &[Cell]) -> String {
    let mut line = String::new();
    for (cell, column) in row.iter().zip(&COLUMNS) {
        let (Cell::Text(text) | Cell::Whole(text)) = cell else {
            continue;
        };
        if matches!(column.kind, Kind::Name(_)) {
            continue;
        }
        if !line.is_empty() {
            line.extend(std::iter::repeat_n(' ', column.gap.max(1)));
        }
        line += text.trim_start();
    }
    line
}

fn fields(progress: &Progress, step: usize) -> Fields {
    let name = printable(&progress.torrent.name).into_owned();
    let why = || {
        progress
            .hindrance
            .as_deref()
            .map(|why| printable(why).into_owned())
    };
    let peers = || plural(progress.peers.into(), "peer", "peers");
    let seeds = || match progress.seeds {
        0 => String::new(),
        seeds => format!("({})", plural(seeds.into(), "seed", "seeds")),
    };
    let whole = Fill::Part(progress.have, progress.wanted);
    let percent = format!("{}%", units::percent(progress.have, progress.wanted));
    let amount = || units::amount(progress.have, progress.wanted);
    match progress.state {
        TorrentState::FetchingMetadata => Fields {
            name,
            // Until all of it is there nobody knows whether it is right: a full bar would say too much.
            bar: Some(Fill::Busy(step)),
            why: fetching(progress, why()),
            peers: peers(),
            ..Fields::default()
        },
        TorrentState::Checking => {
            let done = progress.pieces.saturating_sub(progress.pieces_unchecked);
            Fields {
                name,
                bar: Some(Fill::Part(done.into(), progress.pieces.into())),
                percent: format!("{}%", units::percent(done.into(), progress.pieces.into())),
                doing: "checking".to_owned(),
                detail: format!("pieces {done}/{}", progress.pieces),
                ..Fields::default()
            }
        }
        TorrentState::Downloading => Fields {
            name,
            is_label: false,
            bar: Some(whole),
            percent,
            amount: amount(),
            rate: units::rate(progress.download_rate),
            doing: match progress.eta {
                Some(eta) => format!("ETA {}", units::seconds(eta)),
                None => String::new(),
            },
            why: why().unwrap_or_default(),
            peers: peers(),
            seeds: seeds(),
            upload: upload(progress.upload_rate),
            detail: format!("pieces {}/{}", progress.pieces_have, progress.pieces),
        },
        TorrentState::Seeding => Fields {
            name,
            bar: Some(whole),
            percent,
            amount: units::size(progress.have),
            rate: format!("up {}", units::rate(progress.upload_rate)),
            doing: "seeding".to_owned(),
            peers: peers(),
            seeds: seeds(),
            detail: format!("{} uploaded", units::size(progress.uploaded)),
            ..Fields::default()
        },
        TorrentState::Paused if progress.have == progress.wanted && progress.metadata.is_none() => {
            Fields {
                name,
                bar: Some(whole),
                percent,
                amount: units::size(progress.have),
                doing: "complete".to_owned(),
                ..Fields::default()
            }
        }
        TorrentState::Paused | TorrentState::Removing => Fields {
            name,
            bar: progress.metadata.is_none().then_some(whole),
            doing: state(progress.state).to_owned(),
            ..Fields::default()
        },
        TorrentState::Failed => Fields {
            name,
            bar: Some(whole),
            percent,
            amount: amount(),
            why: match why() {
                Some(why) => format!("waiting: {why}"),
                None => "waiting".to_owned(),
            },
            ..Fields::default()
        },
    }
}

fn fetching(progress: &Progress, why: Option<String>) -> String {
    let doing = "fetching metadata";
    match (progress.metadata, why) {
        (Some(metadata), why) if metadata.peers > 0 || why.is_none() => {
            let from = plural(metadata.peers.into(), "peer", "peers");
            match metadata.total {
                Some(total) => {
                    let amount = units::amount(metadata.received.into(), total.into());
                    format!("{doing} from {from}, {}", amount.trim_start())
                }
                None => format!("{doing} from {from}"),
            }
        }
        // Those who are connected do not have it, or have not said so.
        (_, Some(why)) if why.starts_with(doing) => doing.to_owned(),
        (_, Some(why)) => format!("{doing}: {why}"),
        (_, None) => doing.to_owned(),
    }
}

fn upload(rate: u64) -> String {
    match rate {
        0 => String::new(),
        rate => format!("up {}", units::rate(rate)),
    }
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;
    use crate::output::glyphs::Glyphs;
    use crate::output::layout::lay_out;
    use crate::output::{Metadata, Torrent};

    fn progress(state: TorrentState) -> Progress {
        Progress {
            torrent: Torrent {
                info_hash: "00".repeat(20),
                name: "ubuntu-24.04-desktop-amd64.iso".into(),
            },
            state,
            hindrance: None,
            metadata: None,
            wanted: 5666 << 20,
            have: 1410 << 20,
            pieces: 1410,
            pieces_have: 141,
            pieces_unchecked: 564,
            downloaded: 0,
            uploaded: 0,
            wasted: 0,
            download_rate: 3 << 20,
            upload_rate: 0,
            eta: Some(1418),
            peers: 12,
            seeds: 1,
        }
    }

    fn shown(progress: &Progress, width: usize) -> String {
        let rows = [of_torrent(progress, 0)];
        lay_out(&COLUMNS, &rows, width, Glyphs::ASCII).concat()
    }

    #[test]
    fn bytes_done_and_total_are_there_at_80_columns() {
        let line = shown(&progress(TorrentState::Downloading), 79);
        assert!(measure_text_width(&line) <= 79);
        for field in [
            "24%",
            "1.3 of 5.5 GiB",
            "3.0 MiB/s",
            "ETA 23m 38s",
            "12 peers",
            "=---",
        ] {
            assert!(line.contains(field), "{field} in {line}");
        }
    }

    #[test]
    fn what_matters_most_is_left_in_a_narrow_terminal() {
        let downloading = progress(TorrentState::Downloading);
        assert_eq!(
            shown(&downloading, 39),
            "ubuntu...  24%   3.0 MiB/s  ETA 23m 38s"
        );
        assert_eq!(shown(&downloading, 13), "ubunt...  24%");
        assert_eq!(shown(&downloading, 4), " 24%");
    }

    #[test]
    fn everything_is_there_in_a_wide_terminal() {
        let mut downloading = progress(TorrentState::Downloading);
        downloading.upload_rate = 1 << 20;
        let line = shown(&downloading, 199);
        for field in [
            "(1 seed)",
            "up 1.0 MiB/s",
            "pieces 141/1410",
            "desktop-amd64.iso ",
        ] {
            assert!(line.contains(field), "{field} in {line}");
        }
    }

    #[test]
    fn a_log_has_the_same_fields_in_one_line() {
        let text = |progress: &Progress| line(&of_torrent(progress, 0));
        assert_eq!(
            text(&progress(TorrentState::Downloading)),
            "24%  1.3 of 5.5 GiB  3.0 MiB/s  ETA 23m 38s  12 peers (1 seed)  pieces 141/1410"
        );
        assert_eq!(
            text(&progress(TorrentState::Checking)),
            "60%  checking  pieces 846/1410"
        );
        let stuck = Progress {
            download_rate: 0,
            eta: None,
            hindrance: Some("no peers\u{7} known".into()),
            peers: 0,
            seeds: 0,
            ..progress(TorrentState::Downloading)
        };
        assert_eq!(
            text(&stuck),
            "24%  1.3 of 5.5 GiB  0 B/s  no peers\\u{7} known  0 peers  pieces 141/1410"
        );
    }

    #[test]
    fn metadata_that_is_being_fetched_looks_like_no_part_of_anything() {
        let mut fetching = Progress {
            wanted: 0,
            have: 0,
            eta: None,
            hindrance: Some("no peers known".into()),
            metadata: Some(Metadata {
                received: 0,
                total: None,
                peers: 0,
            }),
            peers: 0,
            ..progress(TorrentState::FetchingMetadata)
        };
        for step in 0..100 {
            let row = of_torrent(&fetching, step);
            assert_eq!(row[1], Cell::Bar(Fill::Busy(step)));
            assert_eq!(row[2], Cell::Empty);
        }
        assert_eq!(
            line(&of_torrent(&fetching, 0)),
            "fetching metadata: no peers known  0 peers"
        );
        fetching.metadata = Some(Metadata {
            received: 16 << 10,
            total: Some(40 << 10),
            peers: 2,
        });
        fetching.peers = 3;
        assert_eq!(
            line(&of_torrent(&fetching, 0)),
            "fetching metadata from 2 peers, 16.0 of 40.0 KiB  3 peers"
        );
    }

    #[test]
    fn rows_of_all_states_stand_below_each_other() {
        let mut rows = Vec::new();
        for state in [
            TorrentState::Checking,
            TorrentState::Downloading,
            TorrentState::Seeding,
            TorrentState::Failed,
        ] {
            rows.push(of_torrent(&progress(state), 0));
        }
        let lines = lay_out(&COLUMNS, &rows, 100, Glyphs::ASCII);
        let percent: Vec<Option<usize>> = lines.iter().map(|line| line.find('%')).collect();
        assert!(percent[0].is_some());
        assert!(percent.iter().all(|at| *at == percent[0]), "{lines:#?}");
    }
}
