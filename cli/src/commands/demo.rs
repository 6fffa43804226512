//! `anabranch demo`: a whole swarm in one process.

mod tracker;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anabranch_core::metainfo::{Creation, Creator};
use anabranch_driver::{AddOptions, ByAddress, Client, ClientBuilder, Runtime, StartError};
use smol::channel::Receiver;

use crate::args::Demo;
use crate::exit::{Exit, Failure};
use crate::hashing::{Part, hash_pieces};
use crate::interrupt;
use crate::losses::Losses;
use crate::output::{Output, print, text::reason};
use crate::runtime::{Choice, Setup};
use crate::session::{Aim, End, Session, Task, Work};
use crate::units;

const FILE: &str = "demo.bin";

/// Bytes made, written and compared at a time.
const CHUNK: usize = 1 << 20;

/// Where everything of the demo listens: a port of the system's choice that only this machine reaches.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn run(args: &Demo) -> Result<Exit, Failure> {
    let mut output = Output::new(false);
    let folder = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let work = tempfile::Builder::new()
        .prefix("anabranch-demo-")
        .tempdir_in(&folder)
        .map_err(|error| Failure::io("make a folder in", &folder, &error))?;
    let result =
        interrupt::listen().and_then(|signals| demo(work.path(), args, &signals, &mut output));
    output.clear();
    if args.keep {
        let path = work.keep();
        print(&format!("the files are in {}\n", path.display()))?;
    }
    result
}

fn demo(
    work: &Path,
    args: &Demo,
    signals: &Receiver<Exit>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let size = args.size;
    if size == 0 {
        return Err(Failure::usage("--size 0 leaves nothing to show")
            .advise("write for example --size 100MiB"));
    }
    let [seeds, downloads] = ["seeder", "downloader"].map(|name| work.join(name));
    for dir in [&seeds, &downloads] {
        std::fs::create_dir(dir).map_err(|error| Failure::io("create", dir, &error))?;
    }
    let original = seeds.join(FILE);
    print(&format!("making {} of data\n", units::size(size)))?;
    if let ControlFlow::Break(exit) = make_data(&original, size, signals)? {
        return Ok(exit);
    }

    smol::block_on(async {
        let tracker = tracker::start(HERE).await?;
        print(&format!("tracker: {}\n", tracker.announce_url()))?;
        let creation = make_torrent(&original, size, &tracker.announce_url(), output)?;
        let torrent = work.join("demo.torrent");
        std::fs::write(&torrent, &creation.torrent)
            .map_err(|error| Failure::io("write", &torrent, &error))?;
        let metainfo = &creation.metainfo;
        print(&format!(
            "torrent: {} pieces of {}, info-hash {}\n",
            metainfo.piece_count(),
            units::exact_size(metainfo.piece_length().into()),
            metainfo.info_hash()
        ))?;

        let on = args.runtime.other();
        let seeder = start_client(on)?;
        let options = AddOptions::new().dir(seeds);
        let seeding = seeder
            .add(creation.torrent.clone(), options)
            .await
            .map_err(|error| Failure::new(format!("the seeder: {}", reason(&error))))?;
        let ready = async {
            let ready = seeding.wait_complete().await;
            ready.map_err(|error| Failure::new(format!("the seeder: {}", reason(&error))))?;
            Ok(None)
        };
        let signal = async { Ok(signals.recv().await.ok()) };
        if let Some(exit) = smol::future::or(ready, signal).await? {
            return Ok(exit);
        }
        print(&format!(
            "seeder on {}: {}\n",
            on.name(),
            addresses(&seeder)
        ))?;

        let on = args.runtime;
        print(&format!("downloader on {}\n", on.name()))?;
        let downloader = start_client(on)?;
        let cpu = cpu_time();
        let began = Instant::now();
        let mut session = Session::new(downloader, Losses::new(1), output)?;
        let task = Task {
            work: Work::Torrent(creation.torrent.clone(), Box::new(metainfo.clone())),
            save_torrent: false,
            choice: None,
            options: AddOptions::new().dir(&downloads),
            peers: &[],
            trackers: &[],
            aim: Aim::Complete,
        };
        let ended = match session.add(task).await {
            Ok(()) => session.run(signals).await,
            Err(failure) => Err(failure),
        };
        let elapsed = began.elapsed();
        let cpu = cpu
            .zip(cpu_time())
            .map(|(from, to)| to.saturating_sub(from));
        let closed = session.close().await;
        let shut = seeder.shutdown().await;
        match ended? {
            End::Asked(exit) => return Ok(exit),
            End::Done => {}
        }
        closed?.losses.verdict()?;
        shut.map_err(|error| Failure::new(format!("the seeder: {}", reason(&error))))?;

        compare(&original, &downloads.join(FILE))?;
        report(size, elapsed, cpu)?;
        Ok(Exit::Done)
    })
}

/// How a client is set up that talks to this machine alone.
struct Local;

impl Setup for Local {
    fn start<R: Runtime>(self, builder: ClientBuilder<R>) -> Result<Client, StartError> {
        builder
            .listen([HERE])
            .policy(ByAddress(|address: IpAddr| address.is_loopback()))
            .start()
    }
}

fn start_client(on: Choice) -> Result<Client, Failure> {
    on.start(Local)
        .map_err(|error| Failure::new(reason(&error)))
}

fn addresses(client: &Client) -> String {
    let addresses: Vec<String> = client
        .listen_addrs()
        .iter()
        .map(ToString::to_string)
        .collect();
    addresses.join(", ")
}

/// Writes pseudo-random data, the same in every run. Stops when a signal comes.
fn make_data(
    path: &Path,
    size: u64,
    signals: &Receiver<Exit>,
) -> Result<ControlFlow<Exit>, Failure> {
    let failed = |error: io::Error| Failure::io("write", path, &error);
    let mut file = File::create(path).map_err(failed)?;
    let mut numbers = SplitMix(0);
    let mut buffer = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        if let Ok(exit) = signals.try_recv() {
            return Ok(ControlFlow::Break(exit));
        }
        let len = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        for word in buffer[..len.next_multiple_of(8)].chunks_exact_mut(8) {
            word.copy_from_slice(&numbers.next().to_le_bytes());
        }
        file.write_all(&buffer[..len]).map_err(failed)?;
        left -= len as u64;
    }
    Ok(ControlFlow::Continue(()))
}

/// The generator splitmix64 (Steele, Lea, Flood 2014): quick, and its output does not compress.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn make_torrent(
    path: &Path,
    size: u64,
    announce: &str,
    output: &mut Output,
) -> Result<Creation, Failure> {
    let creator = Creator::single_file(FILE, size).with_tracker_tier([announce]);
    let unusable =
        |why: &dyn std::fmt::Display| Failure::new(format!("cannot make the torrent: {why}"));
    let pieces = usize::try_from(creator.piece_count()).map_err(|error| unusable(&error))?;
    let mut hashes = vec![[0; 20]; pieces];
    let mut failure = None;
    let parts = [Part {
        path: Some(path.to_owned()),
        length: size,
    }];
    hash_pieces(
        &parts,
        creator.piece_length(),
        output,
        |piece, result| match result {
            Ok(hash) => {
                hashes[piece as usize] = hash;
                ControlFlow::Continue(())
            }
            Err(failed) => {
                failure = Some(failed.error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = failure {
        return Err(Failure::io("read", path, &error));
    }
    creator
        .finish(hashes.as_flattened())
        .map_err(|error| unusable(&error))
}

/// Compares two files byte for byte.
fn compare(original: &Path, copy: &Path) -> Result<(), Failure> {
    let open = |path: &Path| File::open(path).map_err(|error| Failure::io("read", path, &error));
    let (mut a, mut b) = (open(original)?, open(copy)?);
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0_u64;
    loop {
        let len = fill(&mut a, &mut ours).map_err(|error| Failure::io("read", original, &error))?;
        let other = fill(&mut b, &mut theirs).map_err(|error| Failure::io("read", copy, &error))?;
        if ours[..len] != theirs[..other] {
            return Err(Failure::new(format!(
                "{} differs from {} after byte {offset}, although every piece was verified",
                copy.display(),
                original.display()
            ))
            .advise("keep the files with --keep, and report this"));
        }
        if len == 0 {
            return Ok(());
        }
        offset += len as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

fn report(size: u64, elapsed: Duration, cpu: Option<Duration>) -> Result<(), Failure> {
    print(&format!(
        "identical: {} in {}, {}\n",
        units::size(size),
        units::elapsed(elapsed),
        units::rate(units::average(size, elapsed))
    ))?;
    let Some(cpu) = cpu else {
        return Ok(());
    };
    let per_gib = u128::from(size.max(1));
    let per_gib = cpu.as_nanos().saturating_mul(1 << 30) / per_gib;
    let per_gib = Duration::from_nanos(u64::try_from(per_gib).unwrap_or(u64::MAX));
    print(&format!(
        "CPU: {} for tracker, seeder and downloader together, {} per GiB\n",
        units::elapsed(cpu),
        units::elapsed(per_gib)
    ))
}

/// CPU time that this process has used, user and system, on all cores.
fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }
    #[cfg(not(unix))]
    {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_size_asked_for_and_no_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let (_sender, signals) = smol::channel::bounded(1);
        let made = make_data(&path, (1 << 20) + 13, &signals).unwrap();
        assert_eq!(made, ControlFlow::Continue(()));
        let data = std::fs::read(&path).unwrap();
        assert_eq!(data.len(), (1 << 20) + 13);
        let mut counts = [0_u32; 256];
        for byte in &data {
            counts[usize::from(*byte)] += 1;
        }
        assert!(counts.iter().all(|count| (3_500..4_700).contains(count)));
    }

    #[test]
    fn a_signal_ends_the_making_of_data() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, signals) = smol::channel::bounded(1);
        sender.try_send(Exit::Interrupted).unwrap();
        let made = make_data(&dir.path().join("data"), u64::MAX, &signals).unwrap();
        assert_eq!(made, ControlFlow::Break(Exit::Interrupted));
    }

    #[test]
    fn files_that_differ_anywhere_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let mut data = vec![7; CHUNK + 10];
        std::fs::write(&a, &data).unwrap();
        std::fs::write(&b, &data).unwrap();
        assert!(compare(&a, &b).is_ok());
        std::fs::write(&b, &data[..CHUNK + 9]).unwrap();
        assert!(compare(&a, &b).is_err());
        data[CHUNK + 5] = 8;
        std::fs::write(&b, &data).unwrap();
        assert!(compare(&a, &b).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn cpu_time_passes() {
        let before = cpu_time().unwrap();
        let mut numbers = SplitMix(0);
        while cpu_time().unwrap() == before {
            std::hint::black_box(numbers.next());
        }
    }
}
