//! Memory that a measurement fills.

use std::fs;
use std::hint::black_box;

const CHUNK: u64 = 64 << 20;

/// What those that are measured take beside what they transfer.
const MORE: u64 = 256 << 20;

/// Fills so many bytes of memory and some more and gives them back, so that what is measured next finds them in use.
///
/// The host of a virtual machine may provide memory only when it is first used, and take back what is
/// free for some time. To use it then takes many times what filling it takes: who comes first, or after
/// a pause, would pay for that. At most three quarters of what is free are filled, so that nothing
/// has to go for it.
pub fn warm(bytes: u64) {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = bytes.saturating_add(MORE).min(free(&meminfo) / 4 * 3);
    let filled: Vec<Vec<u8>> = (0..bytes / CHUNK)
        .map(|_| vec![1; CHUNK as usize])
        .collect();
    black_box(&filled);
}

fn free(meminfo: &str) -> u64 {
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
        assert_eq!(free(meminfo), 2 << 20);
        assert_eq!(free(""), 0);
    }
}
