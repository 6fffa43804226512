//! Medians, ratios and columns.

use std::time::Duration;

use crate::transfer::{Load, Sample};

/// What one client did in all rounds.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    samples: Vec<Sample>,
    out: Option<String>,
}

impl Row {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            samples: Vec::new(),
            out: None,
        }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Leaves it out of further rounds.
    pub(crate) fn leave_out(&mut self, why: String) {
        self.out = Some(why);
    }

    pub(crate) const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.iter().filter_map(figure))
    }
}

/// Whose processor time and memory a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Leecher,
    Seeder,
    Checker,
}

impl Subject {
    const fn loads(self, sample: &Sample) -> (Load, Load) {
        match self {
            Self::Leecher | Self::Checker => (sample.leecher, sample.seeder),
            Self::Seeder => (sample.seeder, sample.leecher),
        }
    }

    const fn other(self) -> &'static str {
        match self {
            Self::Leecher | Self::Checker => "seeder CPU",
            Self::Seeder => "leecher CPU",
        }
    }
}

/// A column: its heading, how many decimals, and the figure of a row.
struct Column<'a> {
    heading: &'a str,
    decimals: usize,
    figure: Figure<'a>,
}

type Figure<'a> = Box<dyn Fn(&Row) -> Option<f64> + 'a>;

impl<'a> Column<'a> {
    fn new(
        heading: &'a str,
        decimals: usize,
        figure: impl Fn(&Sample) -> Option<f64> + 'a,
    ) -> Self {
        Self {
            heading,
            decimals,
            figure: Box::new(move |row| row.median(&figure)),
        }
    }

    /// How many times that of the first row the figure of a row is.
    fn ratio(
        heading: &'a str,
        first: Option<&'a Row>,
        figure: impl Fn(&Sample) -> Option<f64> + 'a,
    ) -> Self {
        let ratio = move |row: &Row| Some(row.median(&figure)? / first?.median(&figure)?);
        Self {
            heading,
            decimals: 2,
            figure: Box::new(move |row| ratio(row).filter(|ratio| ratio.is_finite())),
        }
    }
}

/// Prints the medians of each row; ratios are to the first row that has any.
pub(crate) fn print(title: &str, rows: &[Row], size: u64, subject: Subject) {
    let first = rows.iter().find(|row| !row.samples.is_empty());
    let amount = mebibytes(size);
    let rate = move |wall: Duration| Some(amount / wall.as_secs_f64());
    let total_rate = move |sample: &Sample| rate(sample.wall);
    let per_gib = move |cpu: Duration| Some(cpu.as_secs_f64() / (amount / 1024.0));
    let cpu = move |sample: &Sample| per_gib(subject.loads(sample).0.cpu);

    let mut columns = vec![
        Column::new("wall s", 2, |sample| Some(sample.wall.as_secs_f64())),
        Column::new("MiB/s", 0, total_rate),
        Column::ratio("rate x", first, total_rate),
    ];
    if subject != Subject::Checker {
        columns.push(Column::new("start s", 2, |sample| {
            Some(sample.start?.wall.as_secs_f64())
        }));
        columns.push(Column::new("then MiB/s", 0, move |sample| {
            rate(sample.wall.checked_sub(sample.start?.wall)?)
        }));
    }
    columns.push(Column::new("CPU s/GiB", 2, cpu));
    columns.push(Column::ratio("CPU x", first, cpu));
    if subject == Subject::Leecher {
        columns.push(Column::new("start CPU s", 2, |sample| {
            Some(sample.start?.cpu.as_secs_f64())
        }));
    }
    if subject != Subject::Checker {
        columns.push(Column::new(subject.other(), 2, move |sample| {
            per_gib(subject.loads(sample).1.cpu)
        }));
    }
    columns.push(Column::new("peak MiB", 0, move |sample| {
        Some(mebibytes(subject.loads(sample).0.peak))
    }));
    columns.push(Column::new("unmapped MiB", 0, move |sample| {
        Some(mebibytes(subject.loads(sample).0.anonymous))
    }));
    print_columns(title, rows, &columns);
}

fn print_columns(title: &str, rows: &[Row], columns: &[Column<'_>]) {
    println!("\n{title}");
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    print!("  {:width$}", "");
    for column in columns {
        print!("  {}", column.heading);
    }
    println!();
    for row in rows {
        print!("  {:width$}", row.name);
        if let Some(why) = row.out.as_ref().and_then(|why| why.lines().next()) {
            print!("  {why}");
        } else {
            for column in columns {
                let width = column.heading.len();
                match (column.figure)(row) {
                    Some(figure) => print!("  {figure:width$.*}", column.decimals),
                    None => print!("  {:>width$}", "-"),
                }
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
