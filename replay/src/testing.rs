//! What the tests have in common.

use anabranch_core::id::ConnId;
use anabranch_core::{Config, Instant, Seed, UnixTime};

use crate::encode::Start;
use crate::number;

pub(crate) fn start() -> Start {
    Start {
        config: Config::default(),
        seed: Seed([3; 32]),
        now: Instant::from_millis(5),
        wall: UnixTime(1_700_000_000),
    }
}

pub(crate) fn conn(slot: u8) -> ConnId {
    number::take_id(&mut [slot, 0].as_slice()).expect("two numbers")
}
