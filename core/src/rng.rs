//! The engine's chance: a stream cipher under a seed that the caller must give.

use core::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use serde::{Deserialize, Serialize};

/// 32 bytes from which every choice of an engine follows. A real client takes them from the operating
/// system; a simulation takes them from its own seed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub [u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows the seed can foretell tokens and transaction ids, so logs do not show it.
        f.write_str("Seed(..)")
    }
}

/// The engine's source of chance.
#[derive(Clone)]
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(ChaCha8Rng::from_seed(seed.0))
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `bound`, or 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The bias of a multiplication instead of rejection is below 2^-32 times the bound.
        ((u64::from(self.u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Puts a random choice of so many items first, in random order; all if there are no more.
    pub(crate) fn draw<T>(&mut self, items: &mut [T], count: usize) {
        for first in 0..count.min(items.len()) {
            let others = (items.len() - first) as u32;
            items.swap(first, first + self.below(others) as usize);
        }
    }

    /// Shuffles in place.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn whoever_is_drawn_comes_first_and_everybody_may_be() {
        let mut rng = Rng::new(Seed([3; 32]));
        let mut first = [0; 10];
        for _ in 0..1_000 {
            let mut items: Vec<usize> = (0..10).collect();
            rng.draw(&mut items, 3);
            for item in &items[..3] {
                first[*item] += 1;
            }
            items.sort_unstable();
            assert_eq!(items, (0..10).collect::<Vec<_>>());
        }
        // 300 each on the average.
        assert!(
            first.iter().all(|count| (200..400).contains(count)),
            "{first:?}"
        );
        let mut few = [1, 2];
        rng.draw(&mut few, 5);
        few.sort_unstable();
        assert_eq!(few, [1, 2]);
    }
}
