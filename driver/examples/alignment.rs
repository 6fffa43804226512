//! How fast files are read here, by where in a page the buffer begins. Where the reads to some places are much
//! slower than the others, as on AMD's Zen 3, an `AlignedBuf` matters.
//!
//! `cargo run --release -p anabranch-driver --example alignment -- [FOLDER]`, a folder in memory, or what is read
//! is in the cache anyway.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::time::Instant;

use anabranch_driver::buffers::AlignedBuf;

const PAGE: usize = 4096;
const CHUNK: usize = 256 << 10;
const SIZE: usize = 256 << 20;
const ROUNDS: usize = 3;

/// Where buffers begin, in bytes from the beginning of a page.
const PLACES: [usize; 14] = [0, 1, 8, 16, 24, 31, 32, 48, 64, 128, 1024, 2048, 4032, 4080];

fn main() -> Result<(), Box<dyn Error>> {
    let mut file = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempfile_in(folder)?,
        None => tempfile::tempfile()?,
    };
    let mut buffer = AlignedBuf::zeroed(CHUNK + 2 * PAGE);
    let page = buffer.as_ref().as_ptr().align_offset(PAGE);
    for _ in 0..SIZE / CHUNK {
        file.write_all(&buffer.as_ref()[..CHUNK])?;
    }
    println!("begins at     MiB/s");
    for place in PLACES {
        let begin = page + place;
        let best = (0..ROUNDS)
            .map(|_| read(&mut file, &mut buffer.as_mut()[begin..begin + CHUNK]))
            .collect::<Result<Vec<f64>, _>>()?
            .into_iter()
            .fold(0.0, f64::max);
        println!("{place:>9} {best:>9.0}");
    }
    Ok(())
}

/// Reads the whole file, and tells how many MiB a second that were.
fn read(file: &mut File, buffer: &mut [u8]) -> Result<f64, Box<dyn Error>> {
    file.rewind()?;
    let began = Instant::now();
    for _ in 0..SIZE / CHUNK {
        file.read_exact(buffer)?;
    }
    let mebibytes = u32::try_from(SIZE >> 20)?;
    Ok(f64::from(mebibytes) / began.elapsed().as_secs_f64())
}
