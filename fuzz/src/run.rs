//! What a target's program does with its arguments.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use crate::draw::Numbers;

/// Changes to one input, at most.
const MAX_CHANGES: u64 = 8;

/// The longest input that changes make of one.
const MAX_LEN: usize = 1 << 16;

/// How inputs follow from numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Bytes from which everything is drawn: any will do.
    Drawn,
    /// What is decoded: a file of the corpus, changed in some places.
    Changed,
}

/// Runs a target as its arguments say:
///
/// - `FILE...` repeats single inputs;
/// - `--seeds FROM TO` runs the inputs that follow from these numbers;
/// - `--seconds N FROM` runs those from `FROM` on, for so long.
///
/// The first that fails is named with the command that repeats it, and ends the program.
pub fn run_arguments(name: &str, inputs: Inputs, target: fn(&[u8])) -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (from, to, time) = match *arguments.as_slice() {
        ["--seeds", from, to] => (number(from)?, number(to)?, None),
        ["--seconds", seconds, from] => {
            let time = Duration::from_secs(number(seconds)?);
            (number(from)?, u64::MAX, Some(time))
        }
        _ => {
            for path in arguments {
                target(&fs::read(path)?);
            }
            return Ok(());
        }
    };
    let corpus = corpus(name)?;
    let began = Instant::now();
    let mut ran = 0_u64;
    for seed in from..to {
        if time.is_some_and(|time| began.elapsed() >= time) {
            break;
        }
        let input = input(inputs, &corpus, seed);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            eprintln!("{name}: seed {seed} fails; to repeat it, in fuzz/:");
            eprintln!(
                "  cargo run --locked --bin {name} -- --seeds {seed} {}",
                seed + 1
            );
            process::exit(1);
        }
        ran += 1;
    }
    println!("{name}: {ran} inputs from seed {from}");
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name)
}

/// The inputs of a target's corpus, in the order of their names.
pub(crate) fn corpus(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder(name))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// The input that follows from a number; of what is changed, as long as the corpus is the same.
pub(crate) fn input(inputs: Inputs, corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    if inputs == Inputs::Drawn || corpus.is_empty() {
        return drawn(seed);
    }
    let mut numbers = Numbers::new(seed);
    let mut input = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.next() % MAX_CHANGES {
        change(&mut input, corpus, &mut numbers);
    }
    input.truncate(MAX_LEN);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], numbers: &mut Numbers) {
    let len = input.len();
    let at = numbers.below(len + 1);
    let end = at + numbers.below((len - at).min(32) + 1);
    match numbers.next() % 8 {
        0 if at < len => input[at] ^= 1 << (numbers.next() % 8),
        1 if at < len => input[at] = numbers.next() as u8,
        2 => input.insert(at, numbers.next() as u8),
        3 => drop(input.drain(at..end)),
        4 => {
            let part = input[at..end].to_vec();
            let to = numbers.below(len + 1);
            input.splice(to..to, part);
        }
        // Numbers as they stand in bencoding, those at the ends above all.
        5 => {
            let digits = input[at..].iter().take_while(|byte| byte.is_ascii_digit());
            let end = at + digits.count();
            let number = match numbers.next() % 4 {
                0 => numbers.next() % 256,
                1 => u64::MAX - numbers.next() % 2,
                2 => i64::MAX as u64 + numbers.next() % 2,
                _ => 1 << (numbers.next() % 64),
            };
            input.splice(at..end, number.to_string().into_bytes());
        }
        6 => {
            let other = &corpus[numbers.below(corpus.len())];
            let from = numbers.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => input.truncate(at),
    }
}

/// Bytes for a sequence of events that follow from a number: what a fuzzer would start with.
pub fn drawn(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::new(seed);
    let words = 50 + numbers.next() % 1_000;
    (0..words)
        .flat_map(|_| numbers.next().to_le_bytes())
        .collect()
}
