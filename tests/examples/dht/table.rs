//! Medians, and how they are printed.

use crate::load::{Load, Sample, Served};
use crate::node::Kind;

/// Prints what the nodes of each kind did.
pub(crate) fn print(kinds: &[Kind], samples: &[Vec<Sample>]) {
    println!(
        "\nQueries that a process serves over loopback, beside others' figures as a multiple of the first's"
    );
    println!(
        "  {:10}  {:10}  {:>12}  {:>6}  {:>9}  {:>8}  {:>10}",
        "", "", "a CPU second", "x", "answered", "bytes", "a second"
    );
    for load in Load::ALL {
        let mut first = None;
        for (kind, samples) in kinds.iter().zip(samples) {
            let of = |figure: fn(&Served) -> f64| {
                let served = samples.iter().flat_map(|sample| &sample.served);
                median(
                    served
                        .filter(|(of, _)| *of == load)
                        .map(|(_, one)| figure(one)),
                )
            };
            let rate = of(|served| served.answers as f64 / served.cpu.as_secs_f64());
            let first = *first.get_or_insert(rate);
            println!(
                "  {:10}  {:10}  {rate:>12.0}  {:>6.2}  {:>7.1} %  {:>8.0}  {:>10.0}",
                load.name(),
                kind.name(),
                rate / first,
                of(|served| 100.0 * served.answers as f64 / served.asked as f64),
                of(|served| served.bytes as f64 / served.answers as f64),
                of(|served| served.answers as f64 / served.wall.as_secs_f64()),
            );
        }
    }
    println!("\nMemory of the processes, MiB resident (and of it no page of a file)");
    println!(
        "  {:10}  {:>6}  {:>16}  {:>16}  {:>16}",
        "", "nodes", "knows nobody", "with a table", "after queries"
    );
    for (kind, samples) in kinds.iter().zip(samples) {
        let of =
            |figure: fn(&Sample) -> u64| median(samples.iter().map(|sample| figure(sample) as f64));
        let pair = |resident: fn(&Sample) -> u64, anonymous: fn(&Sample) -> u64| {
            let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
            format!(
                "{:.1} ({:.1})",
                mebibytes(of(resident)),
                mebibytes(of(anonymous))
            )
        };
        println!(
            "  {:10}  {:>6.0}  {:>16}  {:>16}  {:>16}",
            kind.name(),
            of(|sample| sample.nodes),
            pair(
                |sample| sample.bare.resident,
                |sample| sample.bare.anonymous
            ),
            pair(
                |sample| sample.table.resident,
                |sample| sample.table.anonymous
            ),
            pair(|sample| sample.end.resident, |sample| sample.end.anonymous),
        );
    }
}

/// The one in the middle, or between the two there; not a number if there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2).copied();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied();
    f64::midpoint(middle.unwrap_or(f64::NAN), lower.unwrap_or(f64::NAN))
}

pub(crate) fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}
