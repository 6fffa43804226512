//! Curves with no more points than can be seen.

/// A point in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// How far the simplified line may be off, in pixels.
const TOLERANCE: f64 = 0.35;

/// The line with fewer points (after Ramer, Douglas and Peucker).
pub(super) fn simplified(points: &[Point]) -> Vec<Point> {
    let Some(last) = points.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut keep = vec![false; points.len()];
    keep[0] = true;
    keep[last] = true;
    let mut spans = vec![(0, last)];
    while let Some((from, to)) = spans.pop() {
        let between = from + 1..to;
        let distances =
            between.map(|index| (index, distance(points[index], points[from], points[to])));
        let farthest = distances.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, _)) = farthest.filter(|(_, distance)| *distance > TOLERANCE) {
            keep[index] = true;
            spans.push((from, index));
            spans.push((index, to));
        }
    }
    let kept = points.iter().zip(keep);
    kept.filter_map(|(point, keep)| keep.then_some(*point))
        .collect()
}

/// How far a point is from the line through two others; from the first, if they are the same.
fn distance(point: Point, from: Point, to: Point) -> f64 {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy);
    let (px, py) = (point.x - from.x, point.y - from.y);
    if length == 0.0 {
        return px.hypot(py);
    }
    (dx * py - dy * px).abs() / length
}

/// The line as the data of a path: where it begins, and steps of tenths of a pixel. Nothing for no
/// points.
pub(super) fn path(points: &[Point]) -> String {
    let tenths = |value: f64| (value * 10.0).round() as i64;
    let mut out = String::new();
    let mut at = (0, 0);
    for (index, point) in points.iter().enumerate() {
        let next = (tenths(point.x), tenths(point.y));
        match index {
            0 => {
                out.push('M');
                push(&mut out, next.0, false);
                push(&mut out, next.1, true);
                out.push('l');
            }
            1 => {
                push(&mut out, next.0 - at.0, false);
                push(&mut out, next.1 - at.1, true);
            }
            _ => {
                push(&mut out, next.0 - at.0, true);
                push(&mut out, next.1 - at.1, true);
            }
        }
        at = next;
    }
    if points.len() == 1 {
        out.push_str("0 0");
    }
    out
}

/// The area between the line and a height below.
pub(super) fn area(points: &[Point], bottom: f64) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let mut closed = vec![Point {
        x: first.x,
        y: bottom,
    }];
    closed.extend_from_slice(points);
    closed.push(Point {
        x: last.x,
        y: bottom,
    });
    path(&closed) + "z"
}

/// Appends tenths as a decimal number; a space before it where one is needed.
fn push(out: &mut String, tenths: i64, apart: bool) {
    if apart && tenths >= 0 {
        out.push(' ');
    }
    if tenths < 0 {
        out.push('-');
    }
    let (whole, tenth) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
    if whole > 0 || tenth == 0 {
        out.push_str(&whole.to_string());
    }
    if tenth > 0 {
        out.push('.');
        out.push_str(&tenth.to_string());
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn point(x: f64, y: f64) -> Point {
        Point { x, y }
    }

    #[test]
    fn straight_lines_need_two_points() {
        let straight: Vec<Point> = (0..100)
            .map(|x| point(f64::from(x), 2.0 * f64::from(x)))
            .collect();
        assert_eq!(simplified(&straight), [point(0.0, 0.0), point(99.0, 198.0)]);
        assert!(simplified(&[]).is_empty());
        assert_eq!(simplified(&straight[..1]), [point(0.0, 0.0)]);
    }

    #[test]
    fn paths_are_short() {
        let points = [point(10.0, 20.0), point(10.4, 18.0), point(20.0, 18.0)];
        assert_eq!(path(&points), "M10 20l.4-2 9.6 0");
        assert_eq!(path(&points[..1]), "M10 20l0 0");
        assert_eq!(area(&points, 30.0), "M10 30l0-10 .4-2 9.6 0 0 12z");
        assert_eq!(path(&[]), "");
    }

    quickcheck! {
        fn what_is_left_out_is_not_missed(heights: Vec<u8>) -> bool {
            let points: Vec<Point> =
                heights.iter().enumerate().map(|(x, y)| point(x as f64, f64::from(*y))).collect();
            let kept = simplified(&points);
            points.iter().all(|missed| {
                kept.contains(missed) || kept.windows(2).any(|pair| {
                    (pair[0].x..=pair[1].x).contains(&missed.x)
                        && distance(*missed, pair[0], pair[1]) <= TOLERANCE
                })
            })
        }
    }
}
