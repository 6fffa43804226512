//! Medians, ratios and columns.

use std::time::Duration;

use crate::idle::Idleness;
use crate::magnet::Arrival;
use crate::transfer::{Load, Sample};

/// What one client did in all rounds, in each place.
#[derive(Debug)]
pub(crate) struct Row<S> {
    name: &'static str,
    places: Vec<Place<S>>,
}

/// What it did in one place.
#[derive(Debug)]
struct Place<S> {
    samples: Vec<S>,
    out: Option<String>,
}

impl<S> Row<S> {
    pub(crate) fn new(name: &'static str, places: usize) -> Self {
        let place = || Place {
            samples: Vec::new(),
            out: None,
        };
        Self {
            name,
            places: (0..places).map(|_| place()).collect(),
        }
    }

    pub(crate) fn add(&mut self, place: usize, sample: S) {
        if let Some(place) = self.places.get_mut(place) {
            place.samples.push(sample);
        }
    }

    /// Leaves it out of further rounds in one place.
    pub(crate) fn leave_out(&mut self, place: usize, why: String) {
        if let Some(place) = self.places.get_mut(place) {
            place.out = Some(why);
        }
    }

    pub(crate) fn is_out(&self, place: usize) -> bool {
        self.why_out(place).is_some()
    }

    fn why_out(&self, place: usize) -> Option<&str> {
        self.places.get(place)?.out.as_deref()
    }

    fn has_any(&self, place: usize) -> bool {
        let place = self.places.get(place);
        place.is_some_and(|place| place.out.is_none() && !place.samples.is_empty())
    }

    fn median(&self, place: usize, figure: impl Fn(&S) -> Option<f64>) -> Option<f64> {
        median(self.figures(place, figure))
    }

    fn figures(
        &self,
        place: usize,
        figure: impl Fn(&S) -> Option<f64>,
    ) -> impl Iterator<Item = f64> {
        let place = self.places.get(place);
        let samples = place.map_or(&[][..], |place| &place.samples);
        samples.iter().filter_map(figure)
    }
}

/// A sample that bears a time to tell while others are taken.
pub(crate) trait Timed {
    fn wall(&self) -> Duration;
}

impl Timed for Sample {
    fn wall(&self) -> Duration {
        self.wall
    }
}

impl Timed for Idleness {
    fn wall(&self) -> Duration {
        self.ready
    }
}

impl Timed for Arrival {
    fn wall(&self) -> Duration {
        self.piece
    }
}

/// Whose processor time and memory a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Leecher,
    Seeder,
    /// One that checks data, or makes a torrent of them.
    Reader,
}

impl Subject {
    const fn loads(self, sample: &Sample) -> (Load, Load) {
        match self {
            Self::Leecher | Self::Reader => (sample.leecher, sample.seeder),
            Self::Seeder => (sample.seeder, sample.leecher),
        }
    }

    const fn other(self) -> &'static str {
        match self {
            Self::Leecher | Self::Reader => "seeder CPU",
            Self::Seeder => "leecher CPU",
        }
    }
}

/// A column: its heading, how many decimals, and the figure of a row.
struct Column<'a, S> {
    heading: &'a str,
    decimals: usize,
    place: usize,
    figure: Figure<'a, S>,
}

type Figure<'a, S> = Box<dyn Fn(&Row<S>) -> Option<f64> + 'a>;

impl<'a, S> Column<'a, S> {
    fn new(
        place: usize,
        heading: &'a str,
        decimals: usize,
        figure: impl Fn(&S) -> Option<f64> + 'a,
    ) -> Self {
        Self {
            heading,
            decimals,
            place,
            figure: Box::new(move |row| row.median(place, &figure)),
        }
    }

    /// The least and the most that it was in any round.
    fn extremes(
        place: usize,
        headings: [&'a str; 2],
        decimals: usize,
        figure: impl Fn(&S) -> Option<f64> + Copy + 'a,
    ) -> [Self; 2] {
        let column = |heading, extreme: fn(f64, f64) -> f64| Self {
            heading,
            decimals,
            place,
            figure: Box::new(move |row| row.figures(place, figure).reduce(extreme)),
        };
        let [least, most] = headings;
        [column(least, f64::min), column(most, f64::max)]
    }

    /// How many times that of the first row that has any the figure of a row is.
    fn ratio(
        place: usize,
        heading: &'a str,
        rows: &'a [Row<S>],
        figure: impl Fn(&S) -> Option<f64> + 'a,
    ) -> Self {
        let first = rows.iter().find(|row| row.has_any(place));
        let ratio =
            move |row: &Row<S>| Some(row.median(place, &figure)? / first?.median(place, &figure)?);
        Self {
            heading,
            decimals: 2,
            place,
            figure: Box::new(move |row| ratio(row).filter(|ratio| ratio.is_finite())),
        }
    }
}

/// Prints the medians of each row, in memory and, if there is a second place, on the disk; ratios are to
/// the first row that has any. `size` is what was transferred in all.
pub(crate) fn print(title: &str, rows: &[Row<Sample>], size: u64, subject: Subject) {
    let amount = mebibytes(size);
    let rate = move |wall: Duration| Some(amount / wall.as_secs_f64());
    let total_rate = move |sample: &Sample| rate(sample.wall);
    let per_gib = move |cpu: Duration| Some(cpu.as_secs_f64() / (amount / 1024.0));
    let cpu = move |sample: &Sample| per_gib(subject.loads(sample).0.cpu);
    let wall = |sample: &Sample| Some(sample.wall.as_secs_f64());

    let mut columns = vec![Column::new(0, "wall s", 2, wall)];
    columns.extend(Column::extremes(0, ["least", " most"], 2, wall));
    columns.extend([
        Column::new(0, "MiB/s", 0, total_rate),
        Column::ratio(0, "rate x", rows, total_rate),
    ]);
    if subject != Subject::Reader {
        columns.push(Column::new(0, "start s", 2, |sample: &Sample| {
            Some(sample.start?.wall.as_secs_f64())
        }));
        columns.push(Column::new(0, "then MiB/s", 0, move |sample: &Sample| {
            rate(sample.wall.checked_sub(sample.start?.wall)?)
        }));
    }
    columns.push(Column::new(0, "CPU s/GiB", 2, cpu));
    columns.push(Column::ratio(0, "CPU x", rows, cpu));
    if subject == Subject::Leecher {
        columns.push(Column::new(0, "start CPU s", 2, |sample: &Sample| {
            Some(sample.start?.cpu.as_secs_f64())
        }));
    }
    if subject != Subject::Reader {
        columns.push(Column::new(
            0,
            subject.other(),
            2,
            move |sample: &Sample| per_gib(subject.loads(sample).1.cpu),
        ));
    }
    columns.push(Column::new(0, "peak MiB", 0, move |sample: &Sample| {
        Some(mebibytes(subject.loads(sample).0.peak))
    }));
    columns.push(Column::new(0, "unmapped MiB", 0, move |sample: &Sample| {
        Some(mebibytes(subject.loads(sample).0.anonymous))
    }));
    if rows.iter().any(|row| row.places.len() > 1) {
        columns.push(Column::new(1, "| disk s", 2, wall));
        columns.extend(Column::extremes(1, ["least", " most"], 2, wall));
        columns.push(Column::new(1, "MiB/s", 0, total_rate));
        columns.push(Column::ratio(1, "rate x", rows, total_rate));
        columns.push(Column::new(1, "CPU s/GiB", 2, cpu));
        columns.push(Column::ratio(1, "CPU x", rows, cpu));
    }
    print_columns(title, rows, &columns);
}

/// Prints what idle torrents cost.
pub(crate) fn print_idle(title: &str, rows: &[Row<Idleness>]) {
    let ready = |sample: &Idleness| Some(sample.ready.as_secs_f64());
    let resident = |sample: &Idleness| Some(mebibytes(sample.resident));
    let share = |sample: &Idleness| Some(sample.share * 100.0);
    let columns = [
        Column::new(0, "ready s", 2, ready),
        Column::ratio(0, "ready x", rows, ready),
        Column::new(0, "start CPU s", 2, |sample: &Idleness| {
            Some(sample.start_cpu.as_secs_f64())
        }),
        Column::new(0, "MiB after", 1, resident),
        Column::ratio(0, "memory x", rows, resident),
        Column::new(0, "peak MiB", 1, |sample: &Idleness| {
            Some(mebibytes(sample.peak))
        }),
        Column::new(0, "idle CPU %", 3, share),
        Column::ratio(0, "CPU x", rows, share),
    ];
    print_columns(title, rows, &columns);
}

/// Prints how long it is from a link to the torrent, and to the first piece.
pub(crate) fn print_arrivals(title: &str, rows: &[Row<Arrival>]) {
    let metadata = |sample: &Arrival| Some(sample.metadata.as_secs_f64());
    let piece = |sample: &Arrival| Some(sample.piece.as_secs_f64());
    let columns = [
        Column::new(0, "torrent s", 3, metadata),
        Column::ratio(0, "torrent x", rows, metadata),
        Column::new(0, "piece s", 3, piece),
        Column::ratio(0, "piece x", rows, piece),
        Column::new(0, "CPU s", 2, |sample: &Arrival| {
            Some(sample.load.cpu.as_secs_f64())
        }),
        Column::new(0, "peak MiB", 1, |sample: &Arrival| {
            Some(mebibytes(sample.load.peak))
        }),
    ];
    print_columns(title, rows, &columns);
}

fn print_columns<S>(title: &str, rows: &[Row<S>], columns: &[Column<'_, S>]) {
    println!("\n{title}");
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    print!("  {:width$}", "");
    for column in columns {
        print!("  {}", column.heading);
    }
    println!();
    for row in rows {
        print!("  {:width$}", row.name);
        let mut told = None;
        for column in columns {
            let width = column.heading.len();
            let why = row.why_out(column.place);
            if let Some(why) = why.and_then(|why| why.lines().next()) {
                // Once, in place of all figures of that place.
                if told != Some(column.place) {
                    print!("  {why}");
                    told = Some(column.place);
                }
                continue;
            }
            match (column.figure)(row) {
                Some(figure) => print!("  {figure:width$.*}", column.decimals),
                None => print!("  {:>width$}", "-"),
            }
        }
        println!();
    }
}

/// The one in the middle, or between the two there.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "sizes are far below 2^53 and printed with a few digits"
)]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
