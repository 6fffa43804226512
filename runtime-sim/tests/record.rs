//! A simulated host's run, recorded and replayed outside of the world.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch_replay::{Ending, Recording, Replayer};
use anabranch_sim::{Content, Fault, HostConfig, WorldConfig};
use common::{HOUR, MINUTE, Swarm};

/// A file that the test keeps a handle to.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The recording of one that downloads 4 MiB, and then leaves or crashes.
fn record(seed: u64, last: impl Fn(anabranch_sim::HostId) -> Fault) -> Vec<u8> {
    let content = Content::synthetic(1, 4 << 20, 64 << 10);
    let mut swarm = Swarm::new(WorldConfig::new(seed), &content, 2, |_| {});
    let file = Shared::default();
    let host = swarm
        .world
        .add_recorded_host(HostConfig::default(), file.clone());
    swarm
        .world
        .add_torrent(host, &content, swarm.add.clone())
        .expect("a torrent that is not there yet");
    swarm.complete(HOUR).expect("a complete swarm");
    swarm.world.schedule(Duration::from_secs(1), last(host));
    swarm.world.run_for(MINUTE).expect("a calm minute");
    drop(swarm);
    let file = file.0.lock().unwrap_or_else(PoisonError::into_inner);
    file.clone()
}

fn replay(file: &[u8]) -> (u64, Ending) {
    let mut replayer = Replayer::new(Recording::open(file).expect("a recording"));
    let ending = replayer.run().expect("the same again");
    (replayer.engine().stats().pieces_verified, ending)
}

#[test]
fn a_simulated_run_is_replayed_and_the_same_seed_records_the_same() {
    let file = record(5, Fault::Leave);
    let (pieces, ending) = replay(&file);
    assert_eq!(pieces, 64);
    assert!(matches!(ending, Ending::Complete(totals) if totals.events > 100));
    assert!(file.len() < (4 << 20) / 50, "{}", file.len());
    assert!(record(5, Fault::Leave) == file);
    assert!(record(6, Fault::Leave) != file);
}

#[test]
fn who_crashes_leaves_a_recording_that_is_good_to_that_point() {
    let (pieces, ending) = replay(&record(5, Fault::Crash));
    assert_eq!((pieces, ending), (64, Ending::Cut));
}
