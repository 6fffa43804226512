//! The measurements: each starts the command, gives it something to do, and looks at what that took.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_tests::clients::{ALONE, Anabranch, anabranch_idle};
use anabranch_tests::process::Process;
use anabranch_tests::scripted::{Gate, Listener, content, honest_seed};
use anabranch_tests::usage::running_time;
use anabranch_tests::wire::Wire;
use anabranch_tests::{Scratch, Torrent, address, data, memory, net, scratch};

use crate::options::Options;
use crate::point::{Curve, Point};

const PIECE_LENGTH: u64 = 256 << 10;

/// The least that pieces have in the field, so that many of them fit on a small disk.
const SMALL_PIECE: u64 = 16 << 10;

/// What an idle torrent has.
const IDLE_LENGTH: usize = 16 << 10;

/// How often a process is looked at while it works.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long a download may take.
const LIMIT: Duration = Duration::from_secs(600);

/// How long a crowd of torrents may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(600);

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Stage {
    scratch: Scratch,
    torrent: Torrent,
    binary: PathBuf,
}

impl Stage {
    pub(crate) fn set(options: &Options) -> Result<Self, String> {
        let binary = match &options.bin {
            Some(path) => path.clone(),
            None => Anabranch::shipped(),
        };
        if !binary.is_file() {
            return Err(format!("{} is no program", binary.display()));
        }
        let size = options.size << 20;
        if scratch::free(&options.dir) < 2 * size as u64 {
            return Err(format!("{} has too little room", options.dir.display()));
        }
        let scratch = Scratch::within(&options.dir);
        let content = scratch.join("seed/payload.bin");
        data::write_file(&content, size, 1);
        let path = scratch.join("payload.torrent");
        let torrent = Torrent::make(&content, &path, PIECE_LENGTH, &[]);
        Ok(Self {
            scratch,
            torrent,
            binary,
        })
    }

    fn seeds(&self) -> PathBuf {
        self.scratch.join("seed")
    }

    fn room(&self) -> Scratch {
        Scratch::within(self.scratch.path())
    }

    /// The command at a download.
    fn download(
        &self,
        room: &Scratch,
        torrent: &Torrent,
        peers: impl Iterator<Item = SocketAddr>,
    ) -> Anabranch {
        let peers: Vec<String> = peers.map(|peer| format!("--peer={peer}")).collect();
        let own = ALONE.into_iter().chain(peers.iter().map(String::as_str));
        let own: Vec<&str> = own.collect();
        let folder = room.folder("download");
        Anabranch::start_build(&self.binary, room, "download", torrent, &folder, &own)
    }

    /// Lets the command download from one seeder, and tells rate and what the seeder took for it.
    fn transfer(&self, seeder: &Process, peer: SocketAddr) -> Result<(f64, f64), String> {
        let room = self.room();
        let before = seeder.usage().cpu;
        let _warm = memory::warm(self.torrent.length);
        let begin = Instant::now();
        let leecher = self.download(&room, &self.torrent, [peer].into_iter());
        let rate = wait_complete(&leecher, begin, self.torrent.length)?;
        let cpu = seeder.usage().cpu.saturating_sub(before);
        Ok((rate, per_gib(cpu, self.torrent.length)))
    }
}

/// A download from so many seeders at once.
pub(crate) fn peers(stage: &Stage, count: usize) -> Result<Point, String> {
    let room = stage.room();
    let bytes: Arc<[u8]> = content(&stage.seeds()).into();
    let seeds: Vec<Listener> = (0..count)
        .map(|number| {
            let address = own_address(1, number);
            honest_seed(&address, &stage.torrent, Arc::clone(&bytes), Gate::opened())
        })
        .collect();
    let _warm = memory::warm(stage.torrent.length);
    let begin = Instant::now();
    let leecher = stage.download(&room, &stage.torrent, seeds.iter().map(Listener::address));
    leech(Curve::Peers, count, &leecher, begin, stage.torrent.length)
}

/// A download of a torrent of so many pieces.
pub(crate) fn pieces(stage: &Stage, count: usize) -> Result<Point, String> {
    let room = stage.room();
    let length = (count as u64).saturating_mul(SMALL_PIECE);
    if scratch::free(room.path()) < length.saturating_mul(2) {
        let needed = length.saturating_mul(2) >> 20;
        return Err(format!("no room for {needed} MiB"));
    }
    let source = room.join("seed/pieces.bin");
    let size = usize::try_from(length).map_err(|error| error.to_string())?;
    data::write_file(&source, size, 2);
    let path = room.join("pieces.torrent");
    let torrent = Torrent::make(&source, &path, SMALL_PIECE, &[]);
    let folder = room.join("seed");
    let seeder = Anabranch::start_build(&stage.binary, &room, "seed", &torrent, &folder, &ALONE);
    seeder.wait_complete();
    let _warm = memory::warm(length);
    let begin = Instant::now();
    let leecher = stage.download(&room, &torrent, [seeder.address()].into_iter());
    leech(Curve::Pieces, count, &leecher, begin, length)
}

/// A seeder with so many torrents, of which one is downloaded.
pub(crate) fn torrents(stage: &Stage, options: &Options, count: usize) -> Result<Point, String> {
    let room = stage.room();
    let folder = stage.seeds();
    let mut torrents = vec![stage.torrent.clone()];
    // Beside the one that is downloaded.
    for number in 1..count {
        let content = folder.join(format!("idle-{number:05}.bin"));
        if !content.is_file() {
            data::write_file(&content, IDLE_LENGTH, number as u64);
        }
        let path = room.join(&format!("{number:05}.torrent"));
        torrents.push(Torrent::make(&content, &path, SMALL_PIECE, &[]));
    }
    // What an earlier run recorded would save this one the work.
    forget(&folder)?;
    let (begin, before) = (Instant::now(), Duration::ZERO);
    let seeder = anabranch_idle(&stage.binary, &room, &torrents, &folder);
    let (mut complete, mut peer) = (0, None);
    let peer = seeder.wait_line_within(READY_LIMIT, "every torrent", |_, line| {
        peer = peer.or_else(|| listening(line));
        complete += usize::from(line.contains("\"completed\""));
        peer.filter(|_| complete == count)
    })?;
    let ready = begin.elapsed().as_secs_f64();
    let ready_cpu = used(&seeder).saturating_sub(before).as_secs_f64();
    let idle = idle(&seeder, options.idle_time);
    let (rate, cpu) = stage.transfer(&seeder, peer)?;
    Ok(Point {
        curve: Curve::Torrents,
        x: count,
        rate,
        cpu,
        peak: mebibytes(seeder.peak_memory()),
        ready: Some(ready),
        ready_cpu: Some(ready_cpu),
        idle: Some(idle),
    })
}

/// A seeder with so many connections on which nothing happens, and one download.
pub(crate) fn connections(stage: &Stage, options: &Options, count: usize) -> Result<Point, String> {
    let listen: SocketAddr = format!("{}:{}", address::ANABRANCH, net::free_port())
        .parse()
        .map_err(|_| "no address to listen on")?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        // And one for the download.
        .args(["--hold", &(count + 1).to_string(), &listen.to_string()])
        .arg(&stage.torrent.path)
        .arg(stage.seeds());
    let seeder = Process::spawn("the holder", &mut command);
    seeder.wait_line_within(READY_LIMIT, "its data", |_, line| {
        (line == "complete").then_some(())
    })?;
    let (begin, before) = (Instant::now(), used(&seeder));
    let mut wires = Vec::new();
    for number in 0..count {
        let wire = connect(&own_address(2, number), listen, &stage.torrent);
        wires.push(wire.map_err(|error| format!("connection {number}: {error}"))?);
    }
    let ready = begin.elapsed().as_secs_f64();
    let ready_cpu = used(&seeder).saturating_sub(before).as_secs_f64();
    let idle = idle(&seeder, options.idle_time);
    let (rate, cpu) = stage.transfer(&seeder, listen)?;
    Ok(Point {
        curve: Curve::Connections,
        x: count,
        rate,
        cpu,
        peak: mebibytes(seeder.peak_memory()),
        ready: Some(ready),
        ready_cpu: Some(ready_cpu),
        idle: Some(idle),
    })
}

fn connect(from: &str, to: SocketAddr, torrent: &Torrent) -> std::io::Result<Wire> {
    let mut wire = Wire::connect(from, to)?;
    wire.send_handshake(torrent.info_hash)?;
    wire.read_handshake()?;
    Ok(wire)
}

/// Waits for a download, and tells what it took.
fn leech(
    curve: Curve,
    x: usize,
    leecher: &Anabranch,
    begin: Instant,
    length: u64,
) -> Result<Point, String> {
    let process = leecher.process();
    // Its memory is gone with it, so it is looked at all the time; its processor time is complete then.
    let failed = AtomicBool::new(false);
    let (rate, peak) = thread::scope(|scope| {
        let watcher = scope.spawn(|| peak_to_the_end(process, &failed));
        let rate = wait_complete(leecher, begin, length);
        failed.store(rate.is_err(), Ordering::Relaxed);
        let peak = watcher.join().map_err(|_| "the watcher failed")?;
        Ok::<_, String>((rate?, peak))
    })?;
    Ok(Point {
        curve,
        x,
        rate,
        cpu: per_gib(process.usage().cpu, length),
        peak: mebibytes(peak),
        ready: None,
        ready_cpu: None,
        idle: None,
    })
}

/// The most memory that a process ever had that ends by itself, unless it has failed.
fn peak_to_the_end(process: &Process, failed: &AtomicBool) -> u64 {
    let mut peak = 0;
    while let Some(memory) = process.usage().memory {
        peak = peak.max(memory.peak);
        if failed.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(INTERVAL);
    }
    peak
}

/// MiB a second from the start of the process to the completion that it reports.
fn wait_complete(leecher: &Anabranch, begin: Instant, length: u64) -> Result<f64, String> {
    let process = leecher.process();
    process.wait_line_within(LIMIT, "its completion", |_, line| {
        line.contains("\"completed\"").then_some(())
    })?;
    Ok(mebibytes(length) / begin.elapsed().as_secs_f64())
}

/// Percent of one core that a process takes that has nothing to do.
fn idle(process: &Process, watch: Duration) -> f64 {
    let (begin, before) = (Instant::now(), used(process));
    thread::sleep(watch);
    let used = used(process).saturating_sub(before);
    used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0
}

/// The processor time that a process has taken so far.
fn used(process: &Process) -> Duration {
    running_time(process.id()).unwrap_or_else(|| process.usage().cpu)
}

/// Removes what seeders recorded about the data in a folder.
fn forget(folder: &Path) -> Result<(), String> {
    let resume = folder.join(".anabranch");
    if !resume.exists() {
        return Ok(());
    }
    std::fs::remove_dir_all(&resume).map_err(|error| format!("{}: {error}", resume.display()))
}

/// The address in an event `listening`.
fn listening(line: &str) -> Option<SocketAddr> {
    let said: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = (said["event"] == "listening").then(|| said["address"].as_str())??;
    address.parse().ok()
}

/// One of 62,500 addresses of a block of loopback's: peers are told apart by address.
fn own_address(block: u8, number: usize) -> String {
    format!("127.{block}.{}.{}", number / 250, number % 250 + 1)
}

fn per_gib(cpu: Duration, length: u64) -> f64 {
    cpu.as_secs_f64() / (mebibytes(length) / 1024.0)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "sizes are far below 2^53 and printed with a few digits"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
