//! What a process takes of the machine, as Linux counts it in `/proc`.

use std::fs;
use std::time::Duration;

/// Linux counts processor time for user space in hundredths of a second, whatever its own clock.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time and memory of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, to a hundredth of a second each.
    pub cpu: Duration,
    /// Its memory; none once it has ended.
    pub memory: Option<Memory>,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The most there ever was (`VmHWM`), pages of mapped files included.
    pub peak: u64,
    /// What there is now (`VmRSS`), pages of mapped files included.
    pub resident: u64,
    /// What there is now without pages of files (`RssAnon`).
    pub anonymous: u64,
}

impl Usage {
    /// Of the process with this number: running, or ended and not yet waited for.
    #[must_use]
    pub fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        Some(Self {
            cpu: processor_time(&stat)?,
            memory: memory(&status),
        })
    }
}

/// The time that the threads of a running process have run, to the nanosecond, where the system says.
/// Those that have ended are not in it.
#[must_use]
pub fn running_time(process: u32) -> Option<Duration> {
    let mut sum: u64 = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        // A thread may end while one looks.
        let Ok(text) = fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
        sum = sum.checked_add(nanoseconds)?;
    }
    (sum > 0).then(|| Duration::from_nanos(sum))
}

fn processor_time(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may itself have any of those and spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    // From the state, the third field of proc(5), to utime and stime, the 14th and 15th.
    let mut times = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(
        ticks.checked_mul(1000)? / TICKS_PER_SECOND,
    ))
}

fn memory(status: &str) -> Option<Memory> {
    let bytes = |key| {
        let value = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Memory {
        peak: bytes("VmHWM:")?,
        resident: bytes("VmRSS:")?,
        anonymous: bytes("RssAnon:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::wait;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_no_field() {
        let stat = "7 (a ) R 1) S 1 7 7 0 -1 0 0 0 0 0 150 25 0 0 20 0";
        assert_eq!(processor_time(stat), Some(Duration::from_millis(1750)));
    }

    #[test]
    fn peak_and_anonymous_memory_are_told_apart() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nRssAnon:\t     512 kB\nRssFile:\t 9 kB\n";
        let expected = Memory {
            peak: 2 << 20,
            resident: 1 << 20,
            anonymous: 512 << 10,
        };
        assert_eq!(memory(status), Some(expected));
    }

    #[test]
    fn processor_time_is_known_after_the_end_and_memory_is_not() {
        let count = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let busy = Process::spawn("sh", Command::new("sh").args(["-c", count]));
        wait::until("the end", || busy.usage().memory.is_none().then_some(()));
        assert!(busy.usage().cpu > Duration::ZERO);
    }
}
