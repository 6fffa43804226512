//! The table of `docs/utp-table.md`: how uTP fares on links in virtual time.

use std::time::Duration;

use anabranch_core::transport::utp::Config;
use anabranch_core::transport::utp::congestion::MakeCongestion;

use super::link::{Link, Tcp, World};

/// How to write it.
pub(crate) const ANEW: &str =
    "cargo run --release -p anabranch-core --example utp_table > docs/utp-table.md";

const HEAD: &str = "\
# How uTP fares

Virtual time, one bottleneck with a queue that drops what does not fit, packets of 1,500 bytes, the same on every machine.
Use is payload by what the link carries, of which headers take 3 %. Delays are of the queue in front of the bottleneck. A
test compares the rows that take no time. After a change that is meant, this writes the table anew:

```sh
cargo run --release -p anabranch-core --example utp_table > docs/utp-table.md
```

## One flow, alone

A queue of 200 ms; from 10 s after the start, for 20 s, and for 60 s where a slowdown is that long.

| Mbit/s | round trip, ms | use, ‰ | queue on average, ms | at most, ms |
|---:|---:|---:|---:|---:|
";

const LOSS: &str = "
## One flow, and packets lost by chance

As above.

| Mbit/s | round trip, ms | lost, ‰ | use, ‰ | queue on average, ms | time-outs |
|---:|---:|---:|---:|---:|---:|
";

const FAIR: &str = "
## Several flows

A queue of 300 ms. The last flow comes late by so much; from 60 s after that, for 30 s. Fairness is Jain's index.

| flows | Mbit/s | round trip, ms | late, s | fairness, ‰ | use, ‰ | queue on average, ms |
|---:|---:|---:|---:|---:|---:|---:|
";

const TCP: &str = "
## Beside one TCP flow

One of them starts 10 s before the other; from 20 s, for 40 s. The TCP is a model of its congestion control over the same
packets.

| TCP | first | Mbit/s | round trip, ms | buffer, ms | uTP's share, ‰ | use, ‰ | queue on average, ms |
|---|---|---:|---:|---:|---:|---:|---:|
";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn alone(mbit: u64, round_trip: u64) -> String {
    let mut world = World::new(Link::new(mbit, round_trip, 200), 1);
    world.flow(Config::default(), Duration::ZERO, None);
    world.run(seconds(10));
    world.mark();
    let time = seconds(if round_trip >= 200 { 60 } else { 20 });
    world.run(time);
    let (queued, longest) = world.queued();
    format!(
        "| {mbit} | {round_trip} | {} | {} | {} |",
        world.used(time),
        queued.as_millis(),
        longest.as_millis()
    )
}

fn lossy(mbit: u64, round_trip: u64, loss: u32) -> String {
    let mut world = World::new(Link::new(mbit, round_trip, 200).lossy(loss), 1);
    world.flow(Config::default(), Duration::ZERO, None);
    world.run(seconds(10));
    world.mark();
    world.run(seconds(20));
    let timeouts = world.sender(0).map_or(0, |sender| sender.timeouts);
    let (queued, _) = world.queued();
    format!(
        "| {mbit} | {round_trip} | {} | {} | {} | {timeouts} |",
        loss / 1_000,
        world.used(seconds(20)),
        queued.as_millis()
    )
}

fn several(flows: u64, mbit: u64, round_trip: u64, late: u64) -> String {
    let mut world = World::new(Link::new(mbit, round_trip, 300), 1);
    for flow in 0..flows {
        let starts =
            Duration::from_millis(flow * 37) + seconds(if flow == flows - 1 { late } else { 0 });
        world.flow(Config::default(), starts, None);
    }
    world.run(seconds(60 + late));
    world.mark();
    world.run(seconds(30));
    let all: Vec<usize> = (0..flows as usize).collect();
    format!(
        "| {flows} | {mbit} | {round_trip} | {late} | {} | {} | {} |",
        world.fairness(&all),
        world.used(seconds(30)),
        world.queued().0.as_millis()
    )
}

fn beside(is_cubic: bool, is_first: bool, mbit: u64, round_trip: u64, buffer: u64) -> String {
    let congestion: MakeCongestion = if is_cubic { Tcp::cubic } else { Tcp::reno };
    let config = Config {
        congestion,
        ..Config::default()
    };
    let mut world = World::new(Link::new(mbit, round_trip, buffer), 1);
    let (tcp, utp) = if is_first { (0, 10) } else { (10, 0) };
    world.flow(config, seconds(tcp), None);
    world.flow(Config::default(), seconds(utp), None);
    world.run(seconds(20));
    world.mark();
    world.run(seconds(40));
    let share = world.moved(1) * 1_000 / (world.moved(0) + world.moved(1)).max(1);
    format!(
        "| {} | {} | {mbit} | {round_trip} | {buffer} | {share} | {} | {} |",
        if is_cubic { "CUBIC" } else { "Reno" },
        if is_first { "TCP" } else { "uTP" },
        world.used(seconds(40)),
        world.queued().0.as_millis()
    )
}

/// Rows that take no time.
pub(crate) fn quick() -> Vec<String> {
    let mut rows: Vec<String> = [10, 50, 100]
        .map(|round_trip| alone(1, round_trip))
        .to_vec();
    rows.push(alone(10, 50));
    rows.push(lossy(10, 50, 10_000));
    rows.push(beside(false, true, 10, 50, 100));
    rows
}

/// The whole table, piece by piece.
pub(crate) fn all(mut write: impl FnMut(&str)) {
    write(HEAD);
    for mbit in [1, 10, 100] {
        for round_trip in [10, 50, 100, 300] {
            write(&line(alone(mbit, round_trip)));
        }
    }
    for round_trip in [10, 100] {
        write(&line(alone(1_000, round_trip)));
    }
    write(LOSS);
    for (mbit, round_trip) in [(10, 50), (50, 50), (200, 50)] {
        for loss in [1_000, 5_000, 10_000, 30_000] {
            write(&line(lossy(mbit, round_trip, loss)));
        }
    }
    write(FAIR);
    for (flows, mbit, round_trip) in [
        (2, 10, 50),
        (2, 20, 10),
        (2, 50, 100),
        (10, 10, 50),
        (10, 40, 50),
    ] {
        for late in [0, 20] {
            write(&line(several(flows, mbit, round_trip, late)));
        }
    }
    write(TCP);
    for is_cubic in [false, true] {
        for is_first in [true, false] {
            for (mbit, round_trip) in [(10, 20), (10, 50), (20, 100)] {
                for buffer in [100, 200, 1_000] {
                    write(&line(beside(is_cubic, is_first, mbit, round_trip, buffer)));
                }
            }
        }
    }
}

fn line(row: String) -> String {
    row + "\n"
}
