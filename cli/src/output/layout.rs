//! Rows of fields in a terminal of a given width.
//!
//! A table is laid out as a whole, so that its columns stand below each other. A field is shown whole or
//! not at all: when there is no room for all columns, those of the highest [`Column::rank`] are left out,
//! however much of them would fit, so that a wider terminal never shows less. Names may be cut anywhere,
//! with an ellipsis; sentences after a clause that fits, and a column of them is at least as wide as their first clauses;
//! numbers are never cut. Nothing here knows a terminal.

use console::measure_text_width;

use super::glyphs::Glyphs;
use super::text::{cut_sentence, first_clause, shortened};

/// Cells of a bar at most.
const WIDEST_BAR: usize = 30;
/// Columns of a name at most: past that, names are no easier to tell apart.
const WIDEST_NAME: usize = 48;

/// Columns that a clause has to itself; of a longer one, words are left out.
const WIDEST_CLAUSE: usize = 40;

/// Cells of the part of a bar that moves when nobody knows how much there is.
const BUSY: usize = 3;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// How soon it is left out: the lowest stays longest.
    pub(crate) rank: u8,
    /// Spaces before it, unless it is the first that is shown.
    pub(crate) gap: usize,
    pub(crate) kind: Kind,
}

/// How a column takes the room that it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// As wide as its widest field and no less than this, so that it stays where it is while numbers change;
    /// fields stand at its right edge.
    Number(usize),
    /// As wide as its widest field; fields stand at its left edge.
    Whole,
    /// A name, cut where it is longer than the column, which has so many columns or more.
    Name(usize),
    /// A sentence, cut between words, in so many columns or more.
    Sentence(usize),
    /// A bar, of so many cells or more.
    Bar(usize),
}

/// A field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cell {
    #[default]
    Empty,
    /// Printable text of one line.
    Text(String),
    /// The same, and what it says is lost if some of it is cut, whatever its column is.
    Whole(String),
    Bar(Fill),
}

/// What a bar shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// So much of so much.
    Part(u64, u64),
    /// That something goes on, of which nobody knows how much it is; it moves with the number.
    Busy(usize),
}

/// The rows as lines, none of which is wider than `width`.
pub(crate) fn lay_out(
    columns: &[Column],
    rows: &[Vec<Cell>],
    width: usize,
    glyphs: Glyphs,
) -> Vec<String> {
    let widths = widths(columns, rows, width);
    let line = |row: &Vec<Cell>| {
        let mut line = String::new();
        // Spaces are written when something comes after them, so that no line ends in some.
        let mut spaces = 0;
        let mut is_first = true;
        for (index, column) in columns.iter().enumerate() {
            let Some(width) = widths[index] else {
                continue;
            };
            if !is_first {
                spaces += column.gap;
            }
            is_first = false;
            let text = match row.get(index) {
                None | Some(Cell::Empty) => String::new(),
                Some(Cell::Whole(text)) => text.clone(),
                Some(Cell::Text(text)) => match column.kind {
                    Kind::Number(_) | Kind::Whole => text.clone(),
                    Kind::Name(_) => shortened(text, width, glyphs.ellipsis),
                    Kind::Sentence(_) | Kind::Bar(_) => cut_sentence(text, width, glyphs.ellipsis),
                },
                Some(Cell::Bar(fill)) => bar(*fill, width, glyphs),
            };
            let used = measure_text_width(&text);
            let rest = width.saturating_sub(used);
            if used == 0 {
                spaces += width;
                continue;
            }
            let (before, after) = match column.kind {
                Kind::Number(_) => (rest, 0),
                Kind::Whole | Kind::Name(_) | Kind::Sentence(_) | Kind::Bar(_) => (0, rest),
            };
            line.extend(std::iter::repeat_n(' ', spaces + before));
            line += &text;
            spaces = after;
        }
        line
    };
    rows.iter().map(line).collect()
}

/// How wide each column is; none for those that are left out.
fn widths(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Vec<Option<usize>> {
    let natural: Vec<usize> = (0..columns.len())
        .map(|index| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            cells.map(natural_width).max().unwrap_or(0)
        })
        .collect();
    let least = |index: usize| match columns[index].kind {
        Kind::Number(least) => natural[index].max(least),
        Kind::Whole => natural[index],
        Kind::Sentence(least) => {
            let cells = rows.iter().filter_map(|row| row.get(index));
            let clauses = cells.map(|cell| match cell {
                // A part of a clause may say something else.
                Cell::Text(text) => measure_text_width(first_clause(text)).min(WIDEST_CLAUSE),
                Cell::Empty | Cell::Whole(_) | Cell::Bar(_) => natural_width(cell),
            });
            natural[index].min(least).max(clauses.max().unwrap_or(0))
        }
        Kind::Name(least) | Kind::Bar(least) => {
            let whole = rows.iter().filter_map(|row| match row.get(index) {
                Some(cell @ Cell::Whole(_)) => Some(natural_width(cell)),
                Some(Cell::Empty | Cell::Text(_) | Cell::Bar(_)) | None => None,
            });
            natural[index].min(least).max(whole.max().unwrap_or(0))
        }
    };
    let mut order: Vec<usize> = (0..columns.len())
        // Nobody has anything to say there.
        .filter(|index| natural[*index] > 0)
        .collect();
    order.sort_by_key(|index| (columns[*index].rank, *index));
    let mut widths = vec![None; columns.len()];
    for index in order {
        widths[index] = Some(least(index));
        if total(columns, &widths) > width {
            widths[index] = None;
            break;
        }
    }
    // What is left makes sentences whole, then names, then bars longer.
    let mut spare = width.saturating_sub(total(columns, &widths));
    let mut grow = |is: fn(Kind) -> bool, most: usize| {
        for (index, column) in columns.iter().enumerate() {
            if let Some(width) = &mut widths[index]
                && is(column.kind)
            {
                let more = natural[index].min(most).saturating_sub(*width).min(spare);
                *width += more;
                spare -= more;
            }
        }
    };
    grow(|kind| matches!(kind, Kind::Sentence(_)), usize::MAX);
    grow(|kind| matches!(kind, Kind::Name(_)), WIDEST_NAME);
    grow(|kind| matches!(kind, Kind::Bar(_)), WIDEST_BAR);
    widths
}

/// The width of a line.
fn total(columns: &[Column], widths: &[Option<usize>]) -> usize {
    let mut total: usize = 0;
    let mut is_first = true;
    for (column, width) in columns.iter().zip(widths) {
        if let Some(width) = width {
            let gap = if is_first { 0 } else { column.gap };
            is_first = false;
            total = total.saturating_add(gap).saturating_add(*width);
        }
    }
    total
}

fn natural_width(cell: &Cell) -> usize {
    match cell {
        Cell::Empty => 0,
        Cell::Text(text) | Cell::Whole(text) => measure_text_width(text),
        Cell::Bar(_) => WIDEST_BAR,
    }
}

fn bar(fill: Fill, width: usize, glyphs: Glyphs) -> String {
    let (before, full, is_half) = match fill {
        Fill::Part(part, whole) => {
            let halves = match part >= whole {
                true => width * 2,
                // Less than all never looks like all.
                false => {
                    let halves = u128::from(part) * (width as u128 * 2) / u128::from(whole);
                    usize::try_from(halves).unwrap_or(0)
                }
            };
            (0, halves / 2, halves % 2 == 1)
        }
        Fill::Busy(step) => {
            let full = BUSY.min(width.saturating_sub(1));
            // To and fro.
            let way = width - full;
            let step = step % (way * 2).max(1);
            (step.min((way * 2).saturating_sub(step)), full, false)
        }
    };
    let repeat =
        |glyph: char, times: usize| -> String { std::iter::repeat_n(glyph, times).collect() };
    let mut lit = repeat(glyphs.full, full);
    if is_half {
        lit.push(glyphs.half);
    }
    let after = width.saturating_sub(before + full + usize::from(is_half));
    let [before, after] = [before, after].map(|times| repeat(glyphs.rest, times));
    if !glyphs.colours {
        return before + &lit + &after;
    }
    let dim = |text: &str| match text {
        "" => String::new(),
        text => format!("\u{1b}[2m{text}\u{1b}[0m"),
    };
    let lit = match lit.as_str() {
        "" => lit,
        text => format!("\u{1b}[36m{text}\u{1b}[0m"),
    };
    dim(&before) + &lit + &dim(&after)
}

#[cfg(test)]
mod tests {
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    const COLUMNS: [Column; 5] = [
        column(1, 0, Kind::Name(6)),
        column(4, 1, Kind::Bar(8)),
        column(0, 1, Kind::Number(4)),
        column(2, 2, Kind::Sentence(8)),
        column(3, 2, Kind::Whole),
    ];

    const fn column(rank: u8, gap: usize, kind: Kind) -> Column {
        Column { rank, gap, kind }
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn row(name: &str, part: u64, rest: [&str; 3]) -> Vec<Cell> {
        let mut row = vec![text(name), Cell::Bar(Fill::Part(part, 4))];
        row.extend(rest.map(text));
        row
    }

    fn shown(rows: &[Vec<Cell>], width: usize) -> Vec<String> {
        lay_out(&COLUMNS, rows, width, Glyphs::ASCII)
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [
            row("one", 1, ["25%", "ETA 50s", "12 peers"]),
            row("another", 4, ["100%", "seeding", "1 peer"]),
        ];
        assert_eq!(
            shown(&rows, 42),
            [
                "one     ==>-------  25%  ETA 50s  12 peers",
                "another ========== 100%  seeding  1 peer",
            ]
        );
    }

    #[test]
    fn whole_fields_are_left_out_from_the_least_important_on() {
        let rows = [row(
            "a long name",
            2,
            ["50%", "no peers known", "1410 of 1410"],
        )];
        for (width, line) in [
            (
                64,
                "a long name ========>--------  50%  no peers known  1410 of 1410",
            ),
            (43, "a lon...  50%  no peers known  1410 of 1410"),
            (31, "a long ...  50%  no peers known"),
            (29, "a lon...  50%  no peers known"),
            (26, "a long name  50%"),
            (20, "a long name  50%"),
            (10, " 50%"),
            (3, ""),
        ] {
            assert_eq!(shown(&rows, width)[0], line, "{width}");
        }
    }

    #[test]
    fn what_must_be_whole_is_cut_in_no_column() {
        let mut row = row("name", 2, ["50%", "", ""]);
        row[3] = Cell::Whole("ETA 23m 38s".to_owned());
        assert_eq!(shown(&[row.clone()], 22)[0], "name  50%  ETA 23m 38s");
        assert_eq!(shown(&[row], 21)[0], "name  50%");
    }

    #[test]
    fn less_than_all_never_looks_like_all() {
        let drawn = |part, whole| bar(Fill::Part(part, whole), 8, Glyphs::UNICODE);
        assert_eq!(drawn(999_999, 1_000_000), "━━━━━━━╸");
        assert_eq!(drawn(1, 1), "━━━━━━━━");
        assert_eq!(drawn(0, 1), "────────");
        assert_eq!(drawn(u64::MAX / 2 + 1, u64::MAX), "━━━━────");
    }

    #[test]
    fn what_nobody_knows_the_extent_of_is_never_full() {
        let steps: Vec<String> = (0..6)
            .map(|step| bar(Fill::Busy(step), 5, Glyphs::ASCII))
            .collect();
        assert_eq!(
            steps,
            ["===--", "-===-", "--===", "-===-", "===--", "-===-"]
        );
        for width in 1..9 {
            for step in 0..40 {
                let bar = bar(Fill::Busy(step), width, Glyphs::ASCII);
                assert_eq!(bar.len(), width);
                assert!(bar.contains('-'), "{bar}");
            }
        }
    }

    #[test]
    fn colours_take_no_room() {
        let glyphs = Glyphs {
            colours: true,
            ..Glyphs::UNICODE
        };
        for fill in [
            Fill::Part(1, 3),
            Fill::Part(0, 1),
            Fill::Part(1, 1),
            Fill::Busy(3),
        ] {
            let plain = bar(fill, 9, Glyphs::UNICODE);
            let coloured = bar(fill, 9, glyphs);
            assert_eq!(console::strip_ansi_codes(&coloured), plain);
        }
    }

    impl Arbitrary for Cell {
        fn arbitrary(g: &mut Gen) -> Self {
            let texts = [
                "",
                "日本語の題名",
                "a",
                "1023.4 of 1023.4 MiB",
                "no peers: 10 refused",
                "🎬🎬",
            ];
            match u8::arbitrary(g) % 4 {
                0 => Self::Empty,
                1 => Self::Bar(Fill::Part(u64::arbitrary(g), u64::arbitrary(g))),
                2 => Self::Bar(Fill::Busy(usize::arbitrary(g) % 1000)),
                _ => {
                    let text = g.choose(&texts).copied().unwrap_or("").to_owned();
                    match bool::arbitrary(g) {
                        true => Self::Text(text),
                        false => Self::Whole(text),
                    }
                }
            }
        }
    }

    /// Every number in the line stands, as long as it is, in a field.
    fn numbers_are_whole(line: &str, row: &[Cell]) -> bool {
        let runs = |text: &str| -> Vec<String> {
            let runs = text.split(|c: char| !c.is_ascii_digit());
            runs.filter(|run| !run.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let known: Vec<String> = row
            .iter()
            .filter_map(|cell| match cell {
                Cell::Text(text) | Cell::Whole(text) => Some(runs(text)),
                Cell::Empty | Cell::Bar(_) => None,
            })
            .flatten()
            .collect();
        runs(line).iter().all(|run| known.contains(run))
    }

    quickcheck! {
        fn no_line_is_longer_than_the_width(rows: Vec<Vec<Cell>>, width: u8) -> bool {
            let width = usize::from(width);
            [Glyphs::ASCII, Glyphs::UNICODE].into_iter().all(|glyphs| {
                let lines = lay_out(&COLUMNS, &rows, width, glyphs);
                lines.iter().all(|line| {
                    measure_text_width(line) <= width && !line.ends_with(' ')
                })
            })
        }

        fn no_number_is_cut(rows: Vec<Vec<Cell>>, width: u8) -> bool {
            // A name's digits are no number.
            let columns = &COLUMNS[1..];
            let lines = lay_out(columns, &rows, width.into(), Glyphs::ASCII);
            lines.iter().zip(&rows).all(|(line, row)| numbers_are_whole(line, row))
        }

        fn a_wider_terminal_never_shows_less(rows: Vec<Vec<Cell>>, width: u8) -> bool {
            let shown = |width: usize| -> Vec<bool> {
                widths(&COLUMNS, &rows, width).iter().map(Option::is_some).collect()
            };
            let (narrow, wide) = (shown(width.into()), shown(usize::from(width) + 1));
            narrow.iter().zip(&wide).all(|(narrow, wide)| narrow <= wide)
        }
    }
}
