//! What came of a simulated run, for people and for programs.

use std::time::Duration;

use anabranch_sim::scenario::{End, Report, Run, Spread};
use serde::Serialize;

use crate::args::Simulate;
use crate::output::lines::plural;
use crate::output::text::printable;
use crate::units;

/// The object that `simulate --json` writes. As stable as [`Event`](crate::output::Event); what ends
/// with `_ppm` is in millionths, with `_permille` in thousandths. All but `wall_ms` and
/// `events_per_second` follows from the options.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "simulated")]
pub(super) struct Told {
    /// In hexadecimal digits, as `--seed` takes them.
    seed: String,
    peers: u32,
    seeders: u32,
    size: u64,
    pieces: u32,
    piece_length: u32,
    up: u64,
    down: u64,
    latency_ms: u64,
    loss_ppm: u32,
    transport: String,
    churn_ppm: u32,
    faults: String,
    ended: Ended,
    /// Peers that had everything.
    complete: u32,
    /// Peers that had not.
    unfinished: u32,
    /// Peers that are complete as far as they can know, on disks that wrote pieces wrong.
    pub(super) corrupt: u32,
    /// When the first, half, 19 of 20, and the last of those that had everything had it.
    completion_ms: Option<Spreading>,
    /// The shortest time in which everybody can have everything.
    possible_ms: u64,
    /// That by the time that it took; null as long as somebody is not complete.
    efficiency_permille: Option<u64>,
    /// Uploaded by downloaded, of the peers.
    share_ratio_permille: Option<Spreading>,
    /// Jain's index of the share ratios: 1000 if all are the same.
    fairness_permille: Option<u64>,
    /// Payload received.
    payload: u64,
    /// Bytes received beside the payload.
    overhead: u64,
    overhead_ppm: Option<u64>,
    /// Payload received that was of no use.
    wasted: u64,
    wasted_ppm: Option<u64>,
    /// Payload that the seeders sent.
    sent_by_seeders: u64,
    virtual_ms: u64,
    wall_ms: u64,
    events: u64,
    events_per_second: u64,
    /// Two runs with the same hash took the same course.
    trace_hash: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ended {
    Complete,
    TimeUp,
    Deserted,
    Interrupted,
    Failed,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Spreading {
    min: u64,
    median: u64,
    p95: u64,
    max: u64,
}

impl Told {
    pub(super) fn new(args: &Simulate, run: &Run, interrupted: bool, wall: Duration) -> Self {
        let report: Report = run.report();
        Self {
            seed: format!("{:x}", report.seed),
            peers: report.peers,
            seeders: report.seeders,
            size: report.size,
            pieces: report.pieces,
            piece_length: report.piece_length,
            up: args.up,
            down: args.down,
            latency_ms: millis(args.latency),
            loss_ppm: args.loss,
            transport: args.transport.to_string(),
            churn_ppm: args.churn,
            faults: args.faults.display().to_string(),
            ended: match run.end() {
                _ if interrupted => Ended::Interrupted,
                Some(End::Complete) => Ended::Complete,
                Some(End::TimeUp) => Ended::TimeUp,
                Some(End::Deserted) => Ended::Deserted,
                Some(_) => Ended::Interrupted,
                None => Ended::Failed,
            },
            complete: report.complete,
            unfinished: report.unfinished,
            corrupt: report.corrupt,
            completion_ms: report.completion.map(|spread| spreading(spread, millis)),
            possible_ms: millis(report.bound),
            efficiency_permille: report.efficiency_permille,
            share_ratio_permille: report
                .share_ratio_permille
                .map(|spread| spreading(spread, |ratio| ratio)),
            fairness_permille: report.fairness_permille,
            payload: report.payload,
            overhead: report.overhead,
            overhead_ppm: report.overhead_ppm(),
            wasted: report.wasted,
            wasted_ppm: report.wasted_ppm(),
            sent_by_seeders: report.sent_by_seeders,
            virtual_ms: millis(report.virtual_time),
            wall_ms: millis(wall),
            events: report.happened,
            events_per_second: report.happened_per_second(wall),
            trace_hash: format!("{:016x}", report.trace_hash),
        }
    }

    /// The same in words.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{}, {}, {} in {} of {}, seed {}\n",
            plural(self.peers.into(), "peer", "peers"),
            plural(self.seeders.into(), "seeder", "seeders"),
            units::size(self.size),
            plural(self.pieces.into(), "piece", "pieces"),
            units::exact_size(self.piece_length.into()),
            self.seed
        );
        let mut row = |name: &str, value: String| text += &format!("{name:<13} {value}\n");
        if self.corrupt > 0 {
            let what = "their disks wrote pieces wrong";
            row(
                "CORRUPT",
                format!("{} of {}, {what}", self.corrupt, self.peers),
            );
        }
        if let Some(why) = self.unfinished_because() {
            let all = plural(self.peers.into(), "peer", "peers");
            row("UNFINISHED", format!("{} of {all}, {why}", self.unfinished));
        }
        if self.faults != "none" {
            row("faults", printable(&self.faults).into_owned());
        }
        let time = |millis| units::elapsed(Duration::from_millis(millis));
        row(
            "completion",
            match self.completion_ms {
                Some(spread) => spread.text(time),
                None => "nobody was complete".to_owned(),
            },
        );
        row(
            "possible",
            match self.efficiency_permille {
                Some(permille) => {
                    format!(
                        "{}, efficiency {}",
                        time(self.possible_ms),
                        percent(permille * 1_000)
                    )
                }
                None => time(self.possible_ms),
            },
        );
        if let Some(spread) = self.share_ratio_permille {
            row("share ratio", spread.text(thousandths));
        }
        if let Some(permille) = self.fairness_permille {
            row(
                "fairness",
                format!("{} (1 if all ratios are the same)", thousandths(permille)),
            );
        }
        let of_payload = |bytes, ppm: Option<u64>| match ppm {
            Some(ppm) => format!("{}, {} of the payload", units::size(bytes), percent(ppm)),
            None => units::size(bytes),
        };
        row("overhead", of_payload(self.overhead, self.overhead_ppm));
        row("wasted", of_payload(self.wasted, self.wasted_ppm));
        row(
            "time",
            format!(
                "{} virtual, {} real",
                time(self.virtual_ms),
                time(self.wall_ms)
            ),
        );
        row(
            "events",
            format!(
                "{}, {} a second",
                grouped(self.events),
                grouped(self.events_per_second)
            ),
        );
        row("trace hash", self.trace_hash.clone());
        text
    }

    fn unfinished_because(&self) -> Option<&'static str> {
        match self.ended {
            Ended::Complete => None,
            Ended::TimeUp => Some("the time was up"),
            Ended::Deserted => Some("they have left for good"),
            Ended::Interrupted => Some("interrupted"),
            Ended::Failed => Some("a check did not hold"),
        }
    }
}

impl Spreading {
    fn text(self, write: impl Fn(u64) -> String) -> String {
        let [min, median, p95, max] = [self.min, self.median, self.p95, self.max].map(write);
        format!("{min} min, {median} median, {p95} p95, {max} max")
    }
}

fn spreading<T>(spread: Spread<T>, number: impl Fn(T) -> u64) -> Spreading {
    Spreading {
        min: number(spread.min),
        median: number(spread.median),
        p95: number(spread.p95),
        max: number(spread.max),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Millionths as percent with two decimals.
fn percent(ppm: u64) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

/// Thousandths as a number with two decimals.
fn thousandths(permille: u64) -> String {
    format!("{}.{:02}", permille / 1_000, permille % 1_000 / 10)
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let text = [0, 999, 1_000, 12_345_678].map(grouped);
        assert_eq!(text, ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn decimals_are_cut_and_not_invented() {
        assert_eq!(percent(721_999), "72.19 %");
        assert_eq!(percent(5), "0.00 %");
        assert_eq!(thousandths(1_049), "1.04");
    }
}
