//! How close swarms come to what the links allow.
//!
//! `cargo run --release -p anabranch-sim --example efficiency -- [PEERS] [MIB] [PIECE_KIB] [SEED]`
//!
//! One seed and so many equal peers; the bound is max(F/u, F/d, nF/(u + Σu')) for a file of F bytes.

use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::command::AddTorrent;
use anabranch_sim::{Checks, Content, HostConfig, World, WorldConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (peers, mib, piece) = (next(50)?, next(1_024)?, next(1_024)?);
    let seed = next(1)?;
    // 1 MB/s up and 4 MB/s down.
    let (up, down) = (1_000_000, 4_000_000);

    let content = Content::synthetic(1, mib << 20, u32::try_from(piece << 10)?);
    let mut config = WorldConfig::new(seed);
    let mut checks = Checks::default();
    checks.invariants_every = 0;
    checks.keep_notices = false;
    config.checks = checks;
    let mut world = World::with_config(config);
    let tracker = world.add_tracker(Duration::from_secs(1_800));
    let add = AddTorrent {
        trackers: Some(vec![vec![world.udp_url(tracker)]]),
        ..AddTorrent::default()
    };
    let first = world.add_host(HostConfig::with_rates(up, down));
    world.seed_torrent(first, &content, add.clone())?;
    for _ in 0..peers {
        let host = world.add_host(HostConfig::with_rates(up, down));
        world.add_torrent(host, &content, add.clone())?;
    }
    let begun = std::time::Instant::now();
    world.run_until_complete(Duration::from_secs(24 * 3_600))?;
    let wall = begun.elapsed().as_secs_f64();

    let size = content.length() as f64;
    let count = peers as f64;
    let bound = (size / up as f64)
        .max(size / down as f64)
        .max(count * size / (up as f64 * (count + 1.0)));
    let mut times: Vec<f64> = world
        .hosts()
        .skip(1)
        .filter_map(|host| world.host(host).completed_at(&content))
        .map(|at| at.since(Instant::ZERO).as_secs_f64())
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (mut wasted, mut payload, mut received) = (0, 0, 0);
    for engine in world.hosts().filter_map(|host| world.host(host).engine()) {
        wasted += engine.stats().wasted;
        payload += engine.stats().payload_received;
        received += engine.stats().received;
    }
    let sent = world
        .host(first)
        .engine()
        .map_or(0, |engine| engine.stats().payload_sent);
    println!("seed sent  {:8.2} copies", sent as f64 / size);
    println!("peers {peers}, {mib} MiB, pieces of {piece} KiB, seed {seed}");
    println!("bound      {bound:8.1} s");
    println!(
        "completion {:8.1} min {:8.1} median {:8.1} p95 {:8.1} max",
        at(0.0),
        at(0.5),
        at(0.95),
        at(1.0)
    );
    println!("efficiency {:8.1} % (bound / max)", 100.0 * bound / at(1.0));
    println!(
        "overhead   {:8.2} %, wasted {:.3} %",
        100.0 * (received as f64 / payload as f64 - 1.0),
        100.0 * wasted as f64 / payload as f64
    );
    println!(
        "{} happenings in {wall:.1} s: {:.0} a second; trace {:016x}",
        world.happened(),
        world.happened() as f64 / wall,
        world.trace_hash()
    );
    Ok(())
}
