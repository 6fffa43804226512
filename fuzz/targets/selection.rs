#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::selection(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use anabranch_fuzz::{Inputs, run_arguments, selection};
    run_arguments("selection", Inputs::Changed, selection)
}
