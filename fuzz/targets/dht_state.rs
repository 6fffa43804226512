#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::dht_state(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use anabranch_fuzz::{Inputs, dht_state, run_arguments};
    run_arguments("dht_state", Inputs::Changed, dht_state)
}
