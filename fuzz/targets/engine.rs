#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::engine(data));

/// As every target; and with `--measure FROM TO`, names the sequences that take longest, and what they came to.
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use anabranch_fuzz::{Inputs, engine, run_arguments};
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, from, to] = arguments.as_slice() else {
        return run_arguments("engine", Inputs::Drawn, engine);
    };
    let number = |text: &String| text.parse::<u64>().map_err(std::io::Error::other);
    if flag != "--measure" {
        return run_arguments("engine", Inputs::Drawn, engine);
    }
    let mut slowest = std::time::Duration::ZERO;
    for seed in number(from)?..number(to)? {
        let began = std::time::Instant::now();
        let input = anabranch_fuzz::drawn(seed);
        let outcome = std::panic::catch_unwind(|| anabranch_fuzz::sequence(&input));
        let took = began.elapsed();
        if outcome.is_err() || took > slowest {
            slowest = slowest.max(took);
            println!("seed {seed}: {took:?}, {outcome:?}");
        }
    }
    Ok(())
}
