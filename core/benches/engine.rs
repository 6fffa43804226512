//! What the engine's hot paths take in time: `cargo bench -p anabranch-core --bench engine`, and a part
//! of a name behind `--` for some of them.
//!
//! Only calls of the engine are timed, not the scripts around them. Reading the clock twice is part of
//! it: some 30 ns a call. Times are those of one machine and of what else runs on it; the counts of
//! `instructions.rs` beside this file are steadier, and this tells what they come to.

extern crate alloc;

mod workload;

/// The picker and the timers are private. Their files stand by themselves, but for the few names that
/// the modules here provide.
macro_rules! private {
    ($($path:literal $name:ident)*) => {$(
        #[path = $path]
        #[allow(
            dead_code,
            unreachable_pub,
            unused_imports,
            reason = "a part of it is measured, and its tests run elsewhere"
        )]
        mod $name;
    )*};
}

private! {
    "../src/bitfield.rs" bitfield
    "../src/torrent/picker.rs" picker
    "../src/rng.rs" rng
    "../src/timer.rs" timer
}

mod command {
    pub(crate) use anabranch_core::command::Priority;
}

mod time {
    pub(crate) use anabranch_core::Instant;
}

use std::hint::black_box;
use std::time::Duration;

use anabranch_core::Instant;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};

use crate::bitfield::Bitfield;
use crate::picker::{Order, Picker};
use crate::rng::{Rng, Seed};
use crate::timer::Timers;
use crate::workload::{CrowdChurn, CrowdHave, Decode, Download, Have, Ticks, Upload};
use crate::workload::{Workload, clock};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .sample_size(20)
        .configure_from_args();
    engine(&mut criterion);
    crowd(&mut criterion);
    picker(&mut criterion);
    timers(&mut criterion);
    criterion.final_summary();
}

/// One peer and one torrent, or what is named.
fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    measure(&mut group, "download, a block", 200_000, Download::new);
    measure(&mut group, "upload, a request", u32::MAX, Upload::new);
    measure(&mut group, "have, a piece", 190_000, Have::new);
    measure(&mut group, "tick, 1,000 torrents", u32::MAX, Ticks::new);
    group.throughput(Throughput::Elements(2));
    measure(&mut group, "decode, two frames", u32::MAX, Decode::new);
    group.finish();
}

/// 100,000 pieces and 500 peers.
fn crowd(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crowd");
    group.throughput(Throughput::Elements(1));
    measure(&mut group, "have", 10_000_000, CrowdHave::new);
    measure(&mut group, "join", u32::MAX, || CrowdChurn::new(true));
    measure(&mut group, "leave", u32::MAX, || CrowdChurn::new(false));
    group.finish();
}

/// The picker by itself, with as many pieces and peers.
fn picker(criterion: &mut Criterion) {
    const PIECES: u32 = 100_000;
    const PEERS: u32 = 500;

    let mut rng = Rng::new(Seed([7; 32]));
    let some = |rng: &mut Rng, percent: u32| {
        let mut map = Bitfield::new(PIECES);
        for piece in 0..PIECES {
            if rng.below(100) < percent {
                map.insert(piece);
            }
        }
        map
    };
    let mut picker = Picker::new(PIECES);
    for peer in 0..PEERS {
        picker.peer_joined(&some(&mut rng, peer % 100));
    }
    let mut order: Vec<u32> = (0..PIECES).collect();
    order.sort_by_key(|piece| picker.availability(*piece));
    let common = |count: usize| {
        let mut map = Bitfield::new(PIECES);
        for piece in order.iter().rev().take(count) {
            map.insert(*piece);
        }
        map
    };
    let mut group = criterion.benchmark_group("picker");
    group.throughput(Throughput::Elements(1));
    for (name, map) in [
        ("pick, of a seed", Bitfield::full(PIECES)),
        ("pick, 1 % of the pieces", some(&mut rng, 1)),
        ("pick, the most common 1 %", common(1_000)),
        ("pick, the common half", common(50_000)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| picker.pick(&map, &mut rng, Order::RarestFirst));
        });
    }
    let half = some(&mut rng, 50);
    group.bench_function("join and leave", |bencher| {
        bencher.iter(|| {
            picker.peer_joined(&half);
            picker.peer_left(&half);
        });
    });
    let mut map = Bitfield::new(PIECES);
    let mut next = 0;
    group.bench_function("have", |bencher| {
        bencher.iter(|| {
            next = (next + 7_919) % PIECES;
            // A peer whose pieces are all counted leaves, and an empty one takes its place.
            if !map.insert(next) {
                picker.peer_left(&map);
                map = Bitfield::new(PIECES);
                map.insert(next);
            }
            picker.peer_has(&map, next);
        });
    });
    group.bench_function("start and release", |bencher| {
        bencher.iter(|| {
            next = (next + 7_919) % PIECES;
            picker.start(next);
            picker.release(next);
        });
    });
    group.finish();
}

/// Times units of a kind of work, which lasts for so many of them before it is set up anew.
fn measure<W: Workload>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    lasts: u32,
    set_up: impl Fn() -> W,
) {
    let mut work = None;
    let (mut all_units, mut all_calls, mut all_time) = (0, 0, Duration::ZERO);
    group.bench_function(name, |bencher| {
        // Out here, as the time that a call takes as a whole decides how many units the next one is of.
        let (work, rest) = work.get_or_insert_with(|| (set_up(), lasts));
        bencher.iter_custom(|units| {
            let mut sum = Duration::ZERO;
            let mut left = units;
            while left > 0 {
                let now = u32::try_from(left).unwrap_or(u32::MAX).min(*rest);
                clock::turn(true);
                work.run(now);
                clock::turn(false);
                let (time, calls) = clock::take();
                sum += time;
                all_calls += calls;
                left -= u64::from(now);
                *rest -= now;
                if *rest == 0 {
                    *work = set_up();
                    *rest = lasts;
                }
            }
            all_units += units;
            all_time += sum;
            sum
        });
    });
    // A filter may have left it out.
    if all_units > 0 {
        println!(
            "{:24}calls:  {:.2} a unit, {:.2} million a second",
            "",
            all_calls as f64 / all_units as f64,
            all_calls as f64 / all_time.as_secs_f64() / 1e6,
        );
    }
}

/// A hundred thousand of them, of which a tenth is due at a time.
fn timers(criterion: &mut Criterion) {
    const TIMERS: u32 = 100_000;
    const SOME: u32 = 10_000;

    let at = |key: u32| Instant::from_millis(u64::from(key.wrapping_mul(2_654_435_761) % TIMERS));
    let mut full = Timers::default();
    for key in 0..TIMERS {
        full.set(key, at(key));
    }
    let mut group = criterion.benchmark_group("timers");
    group.throughput(Throughput::Elements(SOME.into()));
    let fill = || {
        let mut timers = Timers::default();
        for key in 0..TIMERS {
            timers.set(key, at(key));
        }
        timers
    };
    group.bench_function("10,000 set anew", |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn += 1;
            for key in 0..SOME {
                full.set(key * 10, at(key.wrapping_add(turn)));
            }
        });
    });
    group.bench_function("10,000 cancelled", |bencher| {
        let cancel = |mut timers: Timers<u32>| {
            for key in 0..SOME {
                timers.cancel(key * 10);
            }
            timers
        };
        bencher.iter_batched(fill, cancel, BatchSize::PerIteration);
    });
    group.bench_function("10,000 due", |bencher| {
        let pop = |mut timers: Timers<u32>| {
            for _ in 0..SOME {
                black_box(timers.pop_due(Instant::from_millis(TIMERS.into())));
            }
            timers
        };
        bencher.iter_batched(fill, pop, BatchSize::PerIteration);
    });
    group.finish();
}
