#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_fuzz::utp_packet(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    anabranch_fuzz::replay_arguments(anabranch_fuzz::utp_packet)
}
