//! A run as a picture: three panels over one axis of time, as SVG.
//!
//! Whoever looks at it may have a light or a dark screen: it brings its own background and follows what
//! the viewer prefers. Its size is bounded: lines are simplified to what can be seen.

mod axis;
mod curve;

use std::fmt::Write;
use std::time::Duration;

use self::axis::{Ticks, bytes, exact, percent, time_label};
use self::curve::{Point, area, path, simplified};
use super::metrics::{Role, Sample};
use super::report::Report;
use super::run::{End, Run};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 972.0;

/// Where the first panel begins, and how much lies between panels.
const TOP: f64 = 146.0;
const GAP: f64 = 60.0;

/// Lines for single peers, at most; of more, some are left out evenly.
const MOST_LINES: usize = 600;

/// Marks for faults, at most.
const MOST_MARKS: usize = 200;

const STYLE: &str = "
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2430 }
  .paper { fill: #ffffff; stroke: #d8dce3 }
  .panel { fill: #f7f8fa }
  .title { font-size: 21px; font-weight: 600 }
  .name { font-size: 14px; font-weight: 600 }
  .small { font-size: 12px; fill: #5b6475 }
  .grid { stroke: #dfe3ea; stroke-width: 1 }
  .axis { stroke: #9aa3b2; stroke-width: 1 }
  .peer, .line, .ideal, .mark { fill: none; stroke-linejoin: round; stroke-linecap: round }
  .median { stroke: #111827; stroke-width: 2.2 }
  .ideal { stroke: #d9480f; stroke-width: 1.6; stroke-dasharray: 6 4; stroke-linecap: butt }
  .mark { stroke: #b45309; stroke-width: 1; stroke-opacity: .38 }
  .mean { stroke: #4f46e5; stroke-width: 1.8 }
  .mean-area { fill: #4f46e5; fill-opacity: .10 }
  .rare { stroke: #0d9488; stroke-width: 1.8 }
  .rare-area { fill: #0d9488; fill-opacity: .22 }
  .rate { stroke: #2563eb; stroke-width: 1.6 }
  .rate-area { fill: #2563eb; fill-opacity: .20 }
  .waste-area { fill: #dc2626; fill-opacity: .75 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef }
    .paper { fill: #12151c; stroke: #2b313d }
    .panel { fill: #181c25 }
    .small { fill: #9aa4b5 }
    .grid { stroke: #262c38 }
    .axis { stroke: #566072 }
    .median { stroke: #f8fafc }
    .ideal { stroke: #fb923c }
    .mark { stroke: #fbbf24 }
    .mean { stroke: #818cf8 } .mean-area { fill: #818cf8 }
    .rare { stroke: #2dd4bf } .rare-area { fill: #2dd4bf }
    .rate { stroke: #60a5fa } .rate-area { fill: #60a5fa }
    .waste-area { fill: #f87171 }
  }
";

/// The picture of a run.
pub(super) fn plot(run: &Run) -> String {
    let report = run.report();
    let mut page = Page::new(run, &report);
    page.head(run, &report);
    page.completion(run, &report);
    page.availability(run);
    page.throughput(run);
    page.finish()
}

/// A document that grows downwards.
struct Page {
    out: String,
    /// Where the next panel begins.
    top: f64,
    /// Seconds that the axis of time has.
    span: f64,
    ideal: f64,
    marks: Vec<f64>,
}

/// A panel, for what is drawn into it.
struct Panel {
    top: f64,
    height: f64,
    span: f64,
    ticks: Ticks,
}

/// What an entry of a legend looks like.
enum Sign {
    Line(&'static str),
    Area(&'static str),
    /// The peers' colours.
    Peers,
}

impl Page {
    fn new(run: &Run, report: &Report) -> Self {
        let ideal = run.bound.as_secs_f64();
        let took = report.virtual_time.as_secs_f64();
        let span = took.max(0.001) * 1.02;
        let marks = run.struck.iter().map(Duration::as_secs_f64);
        let marks = marks.filter(|at| *at <= took).take(MOST_MARKS).collect();
        Self {
            out: String::new(),
            top: TOP,
            span,
            ideal,
            marks,
        }
    }

    fn finish(self) -> String {
        // Writing to a string cannot fail, here and below.
        let height = self.top - GAP + 54.0;
        let mut svg = String::with_capacity(self.out.len() + STYLE.len() + 512);
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n",
            WIDTH - 1.0,
            height - 1.0
        );
        svg.push_str(&self.out);
        svg.push_str("</svg>\n");
        svg
    }

    /// What was run, and what came of it, in words.
    fn head(&mut self, run: &Run, report: &Report) {
        let scenario = &run.scenario;
        let title = format!(
            "{}, {}, {}",
            counted(report.peers, "peer"),
            counted(report.seeders, "seeder"),
            exact(report.size)
        );
        let mut parameters = vec![
            format!(
                "{} pieces of {}",
                report.pieces,
                exact(u64::from(report.piece_length))
            ),
            format!(
                "{}/s up, {}/s down",
                exact(scenario.up),
                exact(scenario.down)
            ),
            format!("{} apart", time_label(scenario.latency)),
        ];
        if scenario.loss_ppm > 0 {
            parameters.push(format!("loss {}", percent(scenario.loss_ppm.into())));
        }
        if scenario.churn_ppm > 0 {
            parameters.push(format!(
                "churn {} a minute",
                percent(scenario.churn_ppm.into())
            ));
        }
        parameters.push(format!("seed {:#x}", report.seed));
        let mut results = Vec::new();
        if let (Some(completion), Some(efficiency)) =
            (report.completion, report.efficiency_permille)
        {
            results.push(format!("all complete after {}", time_label(completion.max)));
            results.push(format!(
                "{} of what is possible",
                percent(efficiency * 1_000)
            ));
        } else {
            let why = match run.end() {
                Some(End::TimeUp) => "when the time was up",
                Some(End::Deserted) => "when the others had left",
                Some(End::Paused | End::Complete) | None => "when it ended",
            };
            results.push(format!(
                "{} of {} complete {why}",
                report.complete, report.peers
            ));
        }
        results.extend(
            report
                .overhead_ppm()
                .map(|ppm| format!("overhead {}", percent(ppm))),
        );
        results.extend(
            report
                .wasted_ppm()
                .map(|ppm| format!("wasted {}", percent(ppm))),
        );
        results.push(format!("trace {:016x}", report.trace_hash));

        let _ = writeln!(self.out, "<title>{}</title>", escaped(&title));
        self.text(28.0, 40.0, "title", "start", &title);
        self.text(28.0, 62.0, "small", "start", &parameters.join("  ·  "));
        self.text(28.0, 81.0, "small", "start", &results.join("  ·  "));
        let about = scenario.faults.about();
        if !scenario.faults.is_empty() && !about.is_empty() {
            let about: String = about.chars().take(130).collect();
            self.text(28.0, 100.0, "small", "start", &format!("faults: {about}"));
        }
    }

    /// How much every peer has.
    fn completion(&mut self, run: &Run, report: &Report) {
        let mut legend = vec![(Sign::Peers, "a peer, first to last")];
        if report.peers > 2 {
            legend.push((Sign::Line("median"), "median"));
        }
        legend.push((Sign::Line("ideal"), "possible"));
        if !self.marks.is_empty() {
            legend.push((Sign::Line("mark"), "fault"));
        }
        let ticks = Ticks::of(100.0, 5);
        let panel = self.panel("Completion", 270.0, &legend, ticks, |value| {
            format!("{value:.0} %")
        });
        let samples = run.metrics.samples();
        let size = report.size.max(1) as f64;
        let share = |have: u64| have as f64 * 100.0 / size;

        let mut order: Vec<(f64, usize)> = run
            .peers()
            .map(|host| {
                let at = run.world.host(host).completed_at(&run.content);
                let at = at.map_or(f64::MAX, seconds);
                (at, host.index() as usize)
            })
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let count = order.len();
        let every = count.div_ceil(MOST_LINES).max(1);
        let (opacity, width) = match count {
            0..=12 => (0.9, 1.7),
            13..=40 => (0.65, 1.2),
            41..=150 => (0.42, 1.0),
            _ => (0.24, 0.8),
        };
        let _ = writeln!(
            self.out,
            "<g class=\"peer\" stroke-opacity=\"{opacity}\" stroke-width=\"{width}\">"
        );
        for (rank, (_, index)) in order.iter().enumerate().step_by(every) {
            // While a host is off there is no line.
            let mut line = String::new();
            let mut part: Vec<Point> = Vec::new();
            for sample in samples {
                match sample.hosts.get(*index) {
                    Some(host) if host.up => {
                        part.push(panel.point(seconds(sample.at), share(host.have)));
                    }
                    Some(_) | None => line.push_str(&path(&simplified(&std::mem::take(&mut part)))),
                }
            }
            line.push_str(&path(&simplified(&part)));
            if !line.is_empty() {
                let _ = writeln!(
                    self.out,
                    "<path stroke=\"{}\" d=\"{line}\"/>",
                    colour(rank, count)
                );
            }
        }
        self.out.push_str("</g>\n");

        if report.peers > 2 {
            let median: Vec<Point> = samples
                .iter()
                .map(|sample| {
                    let mut have: Vec<u64> = order
                        .iter()
                        .filter_map(|(_, index)| sample.hosts.get(*index))
                        .map(|host| host.have)
                        .collect();
                    have.sort_unstable();
                    let middle = have.get(have.len() / 2).copied().unwrap_or(0);
                    panel.point(seconds(sample.at), share(middle))
                })
                .collect();
            self.line("median", &median);
        }
        // When each was done.
        let _ = writeln!(
            self.out,
            "<g fill-opacity=\"{}\">",
            (opacity + 0.15_f64).min(1.0)
        );
        for (rank, (at, _)) in order.iter().enumerate().step_by(every) {
            if *at < f64::MAX {
                let Point { x, y } = panel.point(*at, 100.0);
                let _ = writeln!(
                    self.out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"{}\"/>",
                    colour(rank, count)
                );
            }
        }
        self.out.push_str("</g>\n");
        self.ideal_at(&panel, true);
    }

    /// How many copies of the pieces there are.
    fn availability(&mut self, run: &Run) {
        let samples = run.metrics.samples();
        let most = samples.iter().map(|sample| sample.up).max().unwrap_or(1);
        let ticks = Ticks::of_orders(f64::from(most));
        let legend = [
            (Sign::Area("mean"), "of a piece, on average"),
            (Sign::Area("rare"), "of the rarest piece"),
        ];
        let name = "Availability, in copies";
        let panel = self.panel(name, 140.0, &legend, ticks, |value| format!("{value}"));
        let curve = |value: &dyn Fn(&Sample) -> f64| -> Vec<Point> {
            let points = samples.iter();
            points
                .map(|sample| panel.point(seconds(sample.at), value(sample)))
                .collect()
        };
        let mean = curve(&|sample| sample.copies_mean_permille as f64 / 1_000.0);
        let rare = curve(&|sample| f64::from(sample.copies_min));
        for (name, points) in [("mean", &mean), ("rare", &rare)] {
            self.area(&format!("{name}-area"), points, &panel);
            self.line(name, points);
        }
        self.ideal_at(&panel, false);
    }

    /// How much payload all peers receive, against the rectangle that the bound makes of it.
    fn throughput(&mut self, run: &Run) {
        let roles = run.metrics.roles();
        let sum = |sample: &Sample, value: fn(&super::HostSample) -> u64| -> f64 {
            let hosts = sample.hosts.iter().zip(roles);
            let peers = hosts.filter(|(_, role)| **role == Role::Peer);
            peers.map(|(host, _)| value(host)).sum::<u64>() as f64
        };
        let samples = run.metrics.samples();
        // Over three samples, so that neither pieces nor rounds of unchoking make it jump.
        let rates: Vec<(f64, f64, f64)> = (1..samples.len())
            .filter_map(|index| {
                let from = samples.get(index.saturating_sub(3))?;
                let to = samples.get(index)?;
                let time = seconds(to.at) - seconds(from.at);
                let rate = |value| (sum(to, value) - sum(from, value)) / time.max(1e-9);
                let all = rate(|host| host.traffic.payload_received);
                let waste = rate(|host| host.traffic.wasted);
                Some(((seconds(to.at) + seconds(from.at)) / 2.0, all, waste))
            })
            .collect();
        let total = run.scenario.peers as f64 * run.content.length() as f64;
        let ideal = if self.ideal > 0.0 {
            total / self.ideal
        } else {
            0.0
        };
        let peak = rates.iter().map(|(_, rate, _)| *rate).fold(ideal, f64::max);
        let (unit, scale) = bytes(peak);
        let ticks = Ticks::of(peak * 1.04 / scale, 4);

        let wasted = rates.iter().map(|(_, _, waste)| *waste).fold(0.0, f64::max);
        let mut legend = vec![(Sign::Area("rate"), "payload received by all peers")];
        if wasted > peak / 200.0 {
            legend.push((Sign::Area("waste"), "of no use"));
        }
        legend.push((Sign::Line("ideal"), "the shortest time possible"));
        let name = format!("Throughput, in {unit}/s");
        let panel = self.panel(&name, 180.0, &legend, ticks, |value| format!("{value}"));
        let mut points = vec![panel.point(0.0, 0.0)];
        points.extend(
            rates
                .iter()
                .map(|(at, rate, _)| panel.point(*at, rate / scale)),
        );
        self.area("rate-area", &points, &panel);
        self.line("rate", &points);
        if wasted > peak / 200.0 {
            let points = rates.iter();
            let points: Vec<Point> = points
                .map(|(at, _, waste)| panel.point(*at, waste / scale))
                .collect();
            self.area("waste-area", &points, &panel);
        }
        if ideal > 0.0 {
            let end = self.ideal.min(self.span);
            let mut corners = vec![
                panel.point(0.0, 0.0),
                panel.point(0.0, ideal / scale),
                panel.point(end, ideal / scale),
            ];
            if self.ideal <= self.span {
                corners.push(panel.point(end, 0.0));
            }
            let _ = writeln!(self.out, "<path class=\"ideal\" d=\"{}\"/>", path(&corners));
        }
        let y = panel.top + panel.height + 36.0;
        self.text(
            f64::midpoint(LEFT, RIGHT),
            y,
            "small",
            "middle",
            "virtual time",
        );
    }

    /// Begins a panel: its name, its legend, its background, and both axes.
    fn panel(
        &mut self,
        name: &str,
        height: f64,
        legend: &[(Sign, &str)],
        ticks: Ticks,
        label: impl Fn(f64) -> String,
    ) -> Panel {
        let top = self.top;
        self.top += height + GAP;
        let panel = Panel {
            top,
            height,
            span: self.span,
            ticks,
        };
        self.text(LEFT, top - 14.0, "name", "start", name);
        self.legend(top - 14.0, legend);
        let bottom = top + height;
        let width = RIGHT - LEFT;
        let _ = writeln!(
            self.out,
            "<rect class=\"panel\" x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
        );
        for value in panel.ticks.values() {
            let Point { y, .. } = panel.point(0.0, *value);
            let _ = writeln!(
                self.out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"
            );
            self.text(LEFT - 9.0, y + 4.0, "small", "end", &label(*value));
        }
        for at in Ticks::of_time(self.span).values() {
            let Point { x, .. } = panel.point(*at, 0.0);
            let _ = writeln!(
                self.out,
                "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>"
            );
            let label = time_label(Duration::from_secs_f64(*at));
            self.text(x, bottom + 17.0, "small", "middle", &label);
        }
        let marks: String = self
            .marks
            .iter()
            .map(|at| format!("M{:.1} {top}V{bottom}", panel.point(*at, 0.0).x))
            .collect();
        if !marks.is_empty() {
            let _ = writeln!(self.out, "<path class=\"mark\" d=\"{marks}\"/>");
        }
        let _ = writeln!(
            self.out,
            "<path class=\"axis\" d=\"M{LEFT} {bottom}H{RIGHT}\"/>"
        );
        panel
    }

    /// Entries from the right to the left.
    fn legend(&mut self, y: f64, entries: &[(Sign, &str)]) {
        let mut x = RIGHT;
        for (sign, text) in entries.iter().rev() {
            // A guess at how wide the text is, on the safe side.
            x -= text.chars().count() as f64 * 6.4;
            self.text(x, y, "small", "start", text);
            let (from, middle) = (x - 29.0, y - 4.0);
            match sign {
                Sign::Line(class) => {
                    let _ = writeln!(
                        self.out,
                        "<path class=\"line {class}\" d=\"M{from:.1} {middle}h22\"/>"
                    );
                }
                Sign::Area(class) => {
                    let _ = writeln!(
                        self.out,
                        "<rect class=\"{class}-area\" x=\"{from:.1}\" y=\"{:.1}\" width=\"22\" \
                         height=\"10\"/><path class=\"line {class}\" d=\"M{from:.1} {:.1}h22\"/>",
                        middle - 5.0,
                        middle - 5.0
                    );
                }
                Sign::Peers => {
                    for step in 0..11 {
                        let _ = writeln!(
                            self.out,
                            "<path class=\"line\" stroke-width=\"3\" stroke=\"{}\" d=\"M{:.1} {middle}h2\"/>",
                            colour(step, 11),
                            from + 2.0 * step as f64
                        );
                    }
                }
            }
            x = from - 16.0;
        }
    }

    fn ideal_at(&mut self, panel: &Panel, labelled: bool) {
        if self.ideal <= 0.0 || self.ideal > self.span {
            return;
        }
        let Point { x, y } = panel.point(self.ideal, 0.0);
        let top = panel.top;
        let _ = writeln!(
            self.out,
            "<path class=\"ideal\" d=\"M{x:.1} {y:.1}V{top}\"/>"
        );
        if labelled {
            let label = time_label(Duration::from_secs_f64(self.ideal));
            self.text(x - 6.0, y - 8.0, "small", "end", &label);
        }
    }

    fn line(&mut self, class: &str, points: &[Point]) {
        let line = path(&simplified(points));
        let _ = writeln!(self.out, "<path class=\"line {class}\" d=\"{line}\"/>");
    }

    fn area(&mut self, class: &str, points: &[Point], panel: &Panel) {
        let area = area(&simplified(points), panel.top + panel.height);
        let _ = writeln!(self.out, "<path class=\"{class}\" d=\"{area}\"/>");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }
}

impl Panel {
    /// Where a value lies at a time, in seconds.
    fn point(&self, at: f64, value: f64) -> Point {
        Point {
            x: LEFT + (RIGHT - LEFT) * (at / self.span).clamp(0.0, 1.0),
            y: self.top + self.height * (1.0 - self.ticks.place(value)),
        }
    }
}

/// From teal over blue to magenta, readable on light and dark.
fn colour(rank: usize, count: usize) -> String {
    let share = rank as f64 / (count.max(2) - 1) as f64;
    let hue = 174.0 + share.clamp(0.0, 1.0) * 146.0;
    format!("hsl({hue:.0},68%,47%)")
}

fn seconds(at: anabranch_core::Instant) -> f64 {
    at.since(anabranch_core::Instant::ZERO).as_secs_f64()
}

fn counted(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        more => format!("{more} {what}s"),
    }
}

/// Text as it may stand in XML; control characters may not.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
