//! What a swarm costs, in counts: times depend on the machine.

mod common;

use anabranch_sim::{Content, WorldConfig};
use common::{HOUR, Swarm};

/// What happens in a swarm for each block that somebody gets, in thousandths.
fn happenings_per_block(peers: u32) -> u64 {
    let content = Content::synthetic(1, 8 << 20, 64 << 10);
    let mut config = WorldConfig::new(1);
    config.checks.invariants_every = 0;
    let mut swarm = Swarm::new(config, &content, peers, |_| {});
    if let Err(failure) = swarm.complete(HOUR) {
        panic!("{failure}");
    }
    let blocks = u64::from(peers) * content.length() / (16 << 10);
    swarm.world.happened() * 1_000 / blocks
}

#[test]
fn a_block_takes_so_many_happenings_and_not_many_more_among_many() {
    let (few, many) = (happenings_per_block(5), happenings_per_block(30));
    assert!(few <= 17_000, "{few} thousandths among 5");
    assert!(many <= 32_000, "{many} thousandths among 30");
}
