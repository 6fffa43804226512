#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::bencode(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use anabranch_fuzz::{Inputs, bencode, run_arguments};
    run_arguments("bencode", Inputs::Changed, bencode)
}
