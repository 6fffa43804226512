//! The curves as a drawing: a row for each, a panel for each figure, the count on a logarithmic axis.

use std::fmt::Write as _;

use crate::point::{Curve, Figure, Point};

/// A panel with its margins, and what of it is the plot.
const PANEL: (f64, f64) = (250.0, 190.0);
const PLOT: (f64, f64) = (180.0, 110.0);
/// From the corner of a panel to that of its plot.
const OFFSET: (f64, f64) = (52.0, 34.0);

const STYLE: &str = "\
text { font: 11px sans-serif; fill: #333 } \
.title { font-size: 12px; font-weight: bold } \
.grid { stroke: #ddd } \
.axis { stroke: #333; fill: none } \
.line { stroke: #1667a8; stroke-width: 1.5; fill: none } \
.dot { fill: #1667a8 }";

pub(crate) fn draw(points: &[Point]) -> String {
    let rows: Vec<(Curve, Vec<&Point>)> = Curve::ALL
        .into_iter()
        .map(|curve| {
            (
                curve,
                points.iter().filter(|one| one.curve == curve).collect(),
            )
        })
        .filter(|(_, points): &(Curve, Vec<&Point>)| !points.is_empty())
        .collect();
    let mut svg = String::new();
    let mut widest = 0.0_f64;
    let mut top = 0.0;
    for (curve, points) in &rows {
        let mut left = 0.0;
        for figure in Figure::ALL {
            let values: Vec<(usize, f64)> = points
                .iter()
                .filter_map(|point| Some((point.x, point.figure(figure)?)))
                .collect();
            if !values.is_empty() {
                panel(&mut svg, (left, top), *curve, figure, &values);
                left += PANEL.0;
            }
        }
        widest = widest.max(left);
        top += PANEL.1;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {widest} {top}\" \
         width=\"{widest}\" height=\"{top}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{svg}</svg>\n"
    )
}

fn panel(
    svg: &mut String,
    corner: (f64, f64),
    curve: Curve,
    figure: Figure,
    values: &[(usize, f64)],
) {
    let origin = (corner.0 + OFFSET.0, corner.1 + OFFSET.1);
    let bottom = origin.1 + PLOT.1;
    let right = origin.0 + PLOT.0;
    let most = values.iter().fold(0.0, |most: f64, (_, y)| most.max(*y));
    let step = step(most / 3.0);
    let ceiling = (most / step).ceil().max(1.0) * step;
    let logs = values.iter().map(|(x, _)| log(*x));
    let low = logs.clone().fold(f64::INFINITY, f64::min);
    let high = logs.fold(f64::NEG_INFINITY, f64::max);
    let span = if high > low { high - low } else { 1.0 };
    let place_x = |x: usize| origin.0 + (log(x) - low) / span * PLOT.0;
    let place_y = |y: f64| bottom - y / ceiling * PLOT.1;

    text(
        svg,
        "title",
        "start",
        (origin.0, origin.1 - 12.0),
        figure.title(),
    );
    let mut y = 0.0;
    while y <= ceiling * 1.001 {
        let at = place_y(y);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{:.1}\" y1=\"{at:.1}\" x2=\"{right:.1}\" y2=\"{at:.1}\"/>",
            origin.0
        );
        text(svg, "", "end", (origin.0 - 5.0, at + 4.0), &number(y, step));
        y += step;
    }
    let mut free = f64::NEG_INFINITY;
    for (x, _) in values {
        let at = place_x(*x);
        // Labels that would lie on others are left out; the dots are there.
        if at >= free {
            text(svg, "", "middle", (at, bottom + 15.0), &count(*x));
            free = at + 30.0;
        }
    }
    let middle = (origin.0 + PLOT.0 / 2.0, bottom + 30.0);
    text(svg, "", "middle", middle, curve.name());
    let _ = writeln!(
        svg,
        "<path class=\"axis\" d=\"M{:.1} {:.1}V{bottom:.1}H{right:.1}\"/>",
        origin.0, origin.1
    );
    let path: Vec<String> = values
        .iter()
        .map(|(x, y)| format!("{:.1},{:.1}", place_x(*x), place_y(*y)))
        .collect();
    let path = path.join(" ");
    let _ = writeln!(svg, "<polyline class=\"line\" points=\"{path}\"/>");
    for (x, y) in values {
        let (at_x, at_y) = (place_x(*x), place_y(*y));
        let _ = writeln!(
            svg,
            "<circle class=\"dot\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"2.5\">\
             <title>{x} {}: {y:.3}</title></circle>",
            curve.name()
        );
    }
}

fn text(svg: &mut String, class: &str, anchor: &str, at: (f64, f64), text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
        at.0, at.1
    );
}

/// The next of 1, 2 and 5 times a power of ten.
fn step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10.0_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let enough = steps.into_iter().find(|step| *step >= least);
    enough.unwrap_or(10.0 * power)
}

/// With as many decimals as the steps of the axis have.
fn number(value: f64, step: f64) -> String {
    let decimals = match step {
        step if step >= 1.0 => 0,
        step if step >= 0.1 => 1,
        step if step >= 0.01 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn count(count: usize) -> String {
    match count {
        thousands if thousands >= 1_000 && thousands % 1_000 == 0 => {
            format!("{}k", thousands / 1_000)
        }
        count => count.to_string(),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts are far below 2^53, and this is for drawing"
)]
fn log(x: usize) -> f64 {
    (x as f64).log10()
}
