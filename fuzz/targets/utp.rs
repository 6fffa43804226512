#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::utp(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    use anabranch_fuzz::{Inputs, run_arguments, utp};
    run_arguments("utp", Inputs::Drawn, utp)
}
