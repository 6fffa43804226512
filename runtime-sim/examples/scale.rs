//! What large swarms cost to simulate, and what connections cost that do nothing.
//!
//! `cargo run --release -p anabranch-sim --example scale -- [PEERSxMIB[@SECONDS]]... [idle]`
//!
//! Without arguments: 100, 1,000 and 10,000 peers of 64 MiB, and 1,000 peers of 256 MiB, then what is
//! idle. Every swarm has one seed and equal peers, each with 20 Mbit/s up and 100 Mbit/s down, default
//! settings otherwise, and ends when all have everything, or after so many seconds of virtual time, by
//! when the row says how many have. `idle` tells, for engines alone and for whole worlds, the bytes that
//! an idle connection takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anabranch_core::command::AddTorrent;
use anabranch_core::event::{DiskDone, OpResult, Opened};
use anabranch_core::id::{RequestId, Ticket};
use anabranch_core::metainfo::automatic_piece_length;
use anabranch_core::wire::{Handshake, Message, PeerId, Reserved};
use anabranch_core::{
    Action, Actions, Bitfield, Command, Config, Engine, Event, Instant, Seed, UnixTime,
};
use anabranch_sim::{Content, HostConfig, World, WorldConfig};
use bytes::{Bytes, BytesMut};

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's work; sizes are counted beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = BYTES.fetch_add(layout.size(), Relaxed) + layout.size();
        if now > PEAK.load(Relaxed) {
            PEAK.store(now, Relaxed);
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        let all = ["100x64", "1000x64", "10000x64", "1000x256", "idle"];
        arguments.extend(all.map(String::from));
    }
    println!(
        "{:>6} {:>5} {:>9} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9}",
        "peers",
        "MiB",
        "events M",
        "us/event",
        "user s",
        "wall s",
        "virt s",
        "done %",
        "eff %",
        "peak MiB"
    );
    for argument in arguments {
        if argument == "idle" {
            idle()?;
            continue;
        }
        let (size, seconds) = match argument.split_once('@') {
            Some((size, seconds)) => (size, Some(seconds.parse()?)),
            None => (argument.as_str(), None),
        };
        let (peers, mib) = size.split_once('x').ok_or("PEERSxMIB")?;
        swarm(peers.parse()?, mib.parse()?, seconds)?;
    }
    Ok(())
}

fn idle() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "an idle connection: {} bytes of an engine's",
        idle_in_engine(1_000, 1_000)
    );
    for peers in [100, 1_000, 4_000] {
        let (connections, bytes) = idle_in_world(peers)?;
        println!(
            "{peers} idle hosts, {connections} connections: {bytes} bytes each, both engines and the \
             simulated network"
        );
    }
    Ok(())
}

/// A world that checks what costs next to nothing.
fn world() -> World {
    let mut config = WorldConfig::new(1);
    config.checks.invariants_every = 0;
    config.checks.keep_notices = false;
    World::with_config(config)
}

fn swarm(peers: u32, mib: u64, seconds: Option<u64>) -> Result<(), Box<dyn std::error::Error>> {
    let (up, down) = (2_500_000, 12_500_000);
    let size = mib << 20;
    let content = Content::synthetic(1, size, automatic_piece_length(size));
    let mut world = world();
    let tracker = world.add_tracker(Duration::from_secs(1_800));
    let add = AddTorrent {
        trackers: Some(vec![vec![world.udp_url(tracker)]]),
        ..AddTorrent::default()
    };
    PEAK.store(BYTES.load(Relaxed), Relaxed);
    let first = world.add_host(HostConfig::with_rates(up, down));
    world.seed_torrent(first, &content, add.clone())?;
    for _ in 0..peers {
        let host = world.add_host(HostConfig::with_rates(up, down));
        world.add_torrent(host, &content, add.clone())?;
    }
    let (begun, cpu) = (std::time::Instant::now(), user_seconds());
    match seconds {
        None => world.run_until_complete(Duration::from_secs(24 * 3_600))?,
        Some(seconds) => {
            let time = Duration::from_secs(seconds);
            world.run_for_or_until(time, |world| world.incomplete() == 0)?;
        }
    }
    let done = 100.0 * f64::from(peers - world.incomplete()) / f64::from(peers);
    let wanted = |figure: f64| match seconds {
        None => format!("{figure:.1}"),
        Some(_) => String::from("-"),
    };
    let user = user_seconds() - cpu;
    let wall = begun.elapsed().as_secs_f64();
    let took = world.now().since(Instant::ZERO).as_secs_f64();
    let bound = (size as f64 / up as f64)
        .max(f64::from(peers) * size as f64 / (up as f64 * f64::from(peers + 1)));
    println!(
        "{peers:6} {mib:5} {:9.1} {:8.2} {user:7.0} {wall:7.0} {took:7.1} {done:7.1} {:>7} {:9}",
        world.happened() as f64 / 1e6,
        user * 1e6 / world.happened() as f64,
        wanted(100.0 * bound / took),
        PEAK.load(Relaxed) >> 20,
    );
    Ok(())
}

/// User CPU time of this process so far, in seconds, where the system tells.
fn user_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(11))
        .and_then(|ticks| ticks.parse::<f64>().ok());
    ticks.map_or(f64::NAN, |ticks| ticks / 100.0)
}

/// Bytes that an engine with a torrent of so many pieces needs for each of so many peers that have
/// nothing and say nothing.
fn idle_in_engine(peers: u32, pieces: u64) -> usize {
    let content = Content::synthetic(1, pieces << 18, 1 << 18);
    let mut config = Config::default();
    config.max_connections = peers;
    config.max_connections_per_torrent = peers;
    let mut engine = Engine::new(config, Seed([1; 32]), Instant::ZERO, UnixTime(0));
    let mut actions = Actions::new();
    let mut feed = |event| {
        let _ = engine.handle(Instant::ZERO, event, &mut actions);
        actions.drain().collect::<Vec<Action>>()
    };
    let command = Box::new(Command::AddTorrent(AddTorrent {
        metainfo: content.torrent(),
        ..AddTorrent::default()
    }));
    let request = RequestId(1);
    for action in feed(Event::Command { request, command }) {
        if let Action::Disk { op, .. } = action {
            let opened = Opened {
                trusted: Bitfield::new(pieces as u32),
                doubtful: Bitfield::new(pieces as u32),
                ..Opened::default()
            };
            let result = OpResult::Disk(Ok(DiskDone::Opened(Box::new(opened))));
            feed(Event::Done { op, result });
        }
    }
    let before = BYTES.load(Relaxed);
    for number in 0..peers {
        let [_, high, middle, low] = number.to_be_bytes();
        let from = SocketAddr::from(([10, high, middle, low], 6_881));
        let ticket = Ticket(u64::from(number));
        let actions = feed(Event::Incoming { ticket, from });
        let conn = actions.into_iter().find_map(|action| {
            if let Action::Accept { conn, .. } = action {
                Some(conn)
            } else {
                None
            }
        });
        let Some(conn) = conn else {
            continue;
        };
        let mut peer_id = [7; 20];
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true).with_extended(true),
            info_hash: *content.info_hash().as_bytes(),
            peer_id: PeerId(peer_id),
        };
        let mut data = BytesMut::from(&handshake.encode()[..]);
        Message::HaveNone.encode(&mut data);
        let len = data.len() as u64;
        let data = Bytes::copy_from_slice(&data);
        feed(Event::Received { conn, data });
        feed(Event::Sent { conn, len });
    }
    BYTES.load(Relaxed).saturating_sub(before) / peers as usize
}

/// Connections between so many hosts that have nothing to give each other, and bytes for each.
fn idle_in_world(peers: u32) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let content = Content::synthetic(1, 256 << 20, 256 << 10);
    let mut world = world();
    let tracker = world.add_tracker(Duration::from_secs(1_800));
    let add = AddTorrent {
        trackers: Some(vec![vec![world.udp_url(tracker)]]),
        ..AddTorrent::default()
    };
    for _ in 0..peers {
        let host = world.add_host(HostConfig::default());
        world.add_torrent(host, &content, add.clone())?;
    }
    // With the tracker's answers, but without connections, it would be as large: they come later.
    let before = BYTES.load(Relaxed);
    world.run_for(Duration::from_secs(90))?;
    let connections = world.load().0;
    let bytes = BYTES.load(Relaxed).saturating_sub(before);
    Ok((connections, bytes / connections.max(1)))
}
