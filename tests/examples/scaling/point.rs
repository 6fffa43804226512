//! What is measured at one place of a curve.

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Peers,
    Pieces,
    Torrents,
    Connections,
}

impl Curve {
    pub(crate) const ALL: [Self; 4] =
        [Self::Peers, Self::Pieces, Self::Torrents, Self::Connections];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Pieces => "pieces",
            Self::Torrents => "torrents",
            Self::Connections => "connections",
        }
    }

    /// Where it is measured.
    pub(crate) const fn range(self) -> &'static [usize] {
        match self {
            Self::Peers => &[1, 2, 5, 10, 20, 50, 100, 200],
            Self::Pieces => &[1_000, 5_000, 20_000, 50_000, 100_000, 200_000],
            Self::Torrents => &[1, 10, 100, 500, 1_000, 2_000, 5_000],
            Self::Connections => &[10, 50, 100, 500, 1_000, 2_000, 5_000],
        }
    }
}

/// A figure that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Rate,
    Cpu,
    Memory,
    Ready,
    ReadyCpu,
    Idle,
}

impl Figure {
    pub(crate) const ALL: [Self; 6] = [
        Self::Rate,
        Self::Cpu,
        Self::Memory,
        Self::Ready,
        Self::ReadyCpu,
        Self::Idle,
    ];

    /// What it is, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Rate => "rate, MiB/s",
            Self::Cpu => "processor time, s/GiB",
            Self::Memory => "peak memory, MiB",
            Self::Ready => "until ready, s",
            Self::ReadyCpu => "processor until ready, s",
            Self::Idle => "processor while idle, %",
        }
    }
}

/// The first line of the file of values.
pub(crate) const CSV_HEAD: &str =
    "curve,count,rate_mib_s,cpu_s_per_gib,peak_mib,ready_s,ready_cpu_s,idle_cpu_percent";

/// The figures at one place; not every curve has all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) curve: Curve,
    pub(crate) x: usize,
    pub(crate) rate: f64,
    /// Processor seconds a GiB.
    pub(crate) cpu: f64,
    /// MiB.
    pub(crate) peak: f64,
    /// Seconds.
    pub(crate) ready: Option<f64>,
    pub(crate) ready_cpu: Option<f64>,
    /// Percent of one core.
    pub(crate) idle: Option<f64>,
}

impl Point {
    pub(crate) fn median(curve: Curve, x: usize, samples: &[Self]) -> Self {
        let figure = |figure| median(samples.iter().filter_map(|one| one.figure(figure)));
        Self {
            curve,
            x,
            rate: figure(Figure::Rate).unwrap_or_default(),
            cpu: figure(Figure::Cpu).unwrap_or_default(),
            peak: figure(Figure::Memory).unwrap_or_default(),
            ready: figure(Figure::Ready),
            ready_cpu: figure(Figure::ReadyCpu),
            idle: figure(Figure::Idle),
        }
    }

    pub(crate) const fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Rate => Some(self.rate),
            Figure::Cpu => Some(self.cpu),
            Figure::Memory => Some(self.peak),
            Figure::Ready => self.ready,
            Figure::ReadyCpu => self.ready_cpu,
            Figure::Idle => self.idle,
        }
    }

    /// A line of the file of values, without its end.
    pub(crate) fn csv(&self) -> String {
        let figures = Figure::ALL.map(|figure| {
            let value = self.figure(figure);
            value.map_or_else(String::new, |value| format!("{value:.3}"))
        });
        format!("{},{},{}", self.curve.name(), self.x, figures.join(","))
    }
}

/// The one in the middle, or between the two there.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}
