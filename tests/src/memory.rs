//! Memory that a measurement fills.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK: u64 = 64 << 20;

/// What those that are measured take beside what they transfer.
const MORE: u64 = 256 << 20;

/// So much is free for those that are measured before they take it, in bytes.
const AHEAD: u64 = 256 << 20;

/// How often it is looked whether they took it. At a GiB a second, a tenth of [`AHEAD`] is taken meanwhile.
const LOOK: Duration = Duration::from_millis(25);

/// Memory that is in use, and is given back as others take memory.
///
/// The host of a virtual machine may provide memory only when it is first used, and take back what is
/// free, within seconds. To use it then takes many times what filling it takes: who comes first, or after
/// a pause, would pay for that. So what a measurement is going to fill is filled before, and stays
/// in use until shortly before it is needed.
#[derive(Debug)]
pub struct Warm {
    giver: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Fills so many bytes of memory and some more, which are given back little by little as memory is taken, and the rest
/// when the value is dropped. At most three quarters of what is free are filled, so that nothing has to go for it.
#[must_use]
pub fn warm(bytes: u64) -> Warm {
    let bytes = bytes.saturating_add(MORE).min(free() / 4 * 3);
    let mut filled: Vec<Vec<u8>> = (0..bytes / CHUNK)
        .map(|_| vec![1; CHUNK as usize])
        .collect();
    let wanted = free().saturating_add(AHEAD);
    let (stop, stopped) = mpsc::channel();
    let give = move || {
        loop {
            filled.truncate(left(filled.len(), wanted, free()));
            if filled.is_empty() || stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    Warm {
        giver: Some((stop, thread::spawn(give))),
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        if let Some((stop, giver)) = self.giver.take() {
            drop(stop);
            // It cannot panic, and if it did, nothing would be left to give back.
            let _ = giver.join();
        }
    }
}

/// How many of so many chunks may stay, so that as much is free as is wanted.
fn left(chunks: usize, wanted: u64, free: u64) -> usize {
    let missing = wanted.saturating_sub(free).div_ceil(CHUNK);
    chunks.saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX))
}

/// Bytes of memory that nothing uses.
fn free() -> u64 {
    free_of(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn free_of(meminfo: &str) -> u64 {
    let value = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:"));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_found_among_the_rest() {
        let meminfo =
            "MemTotal:       24684000 kB\nMemFree:            2048 kB\nMemAvailable: 9 kB\n";
        assert_eq!(free_of(meminfo), 2 << 20);
        assert_eq!(free_of(""), 0);
    }

    #[test]
    fn no_more_is_given_back_than_is_missing_or_left() {
        assert_eq!(left(10, 5 * CHUNK, 6 * CHUNK), 10);
        assert_eq!(left(10, 5 * CHUNK, 5 * CHUNK - 1), 9);
        assert_eq!(left(10, 5 * CHUNK, 2 * CHUNK), 7);
        assert_eq!(left(2, 5 * CHUNK, 0), 0);
        assert_eq!(left(10, u64::MAX, 0), 0);
    }
}
