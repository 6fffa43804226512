//! What pieces have of files that are not wanted: kept aside, and moved when they become wanted.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;

use super::hash::with_scratch;
use crate::platform;

/// What is kept aside is moved in units of so many bytes, leaving out those that are all zeros.
const MOVE_UNIT: usize = 4096;

/// Copies what is kept aside of a stretch of the torrent into the file that it belongs to, makes it
/// durable there. Says whether there was anything.
///
/// Zeros are left out: mostly nothing was ever written there, and a new file has them already. Where
/// the file was there before, nothing of it is trusted.
pub(super) fn move_kept(parts: &File, file: &File, range: Range<u64>) -> io::Result<bool> {
    let mut moved = false;
    with_scratch(|scratch| {
        let mut at = range.start;
        while let Some(found) = platform::next_data(parts, at, range.end) {
            at = found.start;
            while at < found.end {
                let len = (found.end - at).min(scratch.len() as u64) as usize;
                let read = platform::read_at(parts, &mut scratch[..len], at)?;
                for (unit, offset) in scratch[..read]
                    .chunks(MOVE_UNIT)
                    .zip((at..).step_by(MOVE_UNIT))
                {
                    if unit.iter().any(|byte| *byte != 0) {
                        let slices = &mut [IoSlice::new(unit)];
                        platform::write_all_at(file, slices, offset - range.start)?;
                        moved = true;
                    }
                }
                if read < len {
                    return Ok(());
                }
                at += len as u64;
            }
        }
        io::Result::Ok(())
    })?;
    if moved {
        file.sync_all()?;
    }
    Ok(moved)
}

/// Whether there is more in a file than zeros and copies of what is kept aside for it: that of a move which
/// was interrupted is all there twice. What is kept aside for the file begins at `kept`.
pub(super) fn has_other_data(
    file: &File,
    len: u64,
    kept: Option<(&File, u64)>,
) -> io::Result<bool> {
    let mut unit = [0; MOVE_UNIT];
    let mut same = [0; MOVE_UNIT];
    let mut at = 0;
    while let Some(found) = platform::next_data(file, at, len) {
        at = found.start;
        while at < found.end {
            let step = (found.end - at).min(MOVE_UNIT as u64) as usize;
            let read = platform::read_at(file, &mut unit[..step], at)?;
            let data = &unit[..read];
            if data.iter().any(|byte| *byte != 0) {
                let Some((parts, start)) = kept else {
                    return Ok(true);
                };
                let there = platform::read_at(parts, &mut same[..read], start.saturating_add(at))?;
                if same[..there] != *data {
                    return Ok(true);
                }
            }
            if read < step {
                return Ok(false);
            }
            at += step as u64;
        }
    }
    Ok(false)
}
