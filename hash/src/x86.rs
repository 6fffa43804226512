//! Two messages in the SHA instructions of x86 processors.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
    _mm_shuffle_epi8, _mm_xor_si128,
};

use crate::{Block, State};

/// Whether this processor has what [`compress_two`] needs. The answer is remembered by the standard
/// library: asking costs a load.
pub(crate) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("sha")
        && std::arch::is_x86_feature_detected!("ssse3")
        && std::arch::is_x86_feature_detected!("sse4.1")
}

/// Compresses the blocks of two messages, as many of each as the shorter has.
///
/// The two are independent, and each instruction is issued for both before the next: the processor
/// works on the second while the first is under way.
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
pub(crate) fn compress_two(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    let mut abcd = [_mm_setzero_si128(); 2];
    let mut e = [_mm_setzero_si128(); 2];
    for lane in 0..2 {
        let [a, b, c, d, last] = states[lane].map(u32::cast_signed);
        abcd[lane] = _mm_set_epi32(a, b, c, d);
        e[lane] = _mm_set_epi32(last, 0, 0, 0);
    }
    for (one, two) in blocks[0].iter().zip(blocks[1]) {
        let before = (abcd, e);
        let mut words = [load(one), load(two)];
        // Four rounds of both messages. The words of the schedule are made as they are used up, four
        // groups ahead.
        macro_rules! four_rounds {
            ($($group:literal)*) => {$(
                for lane in 0..2 {
                    let words = &mut words[lane];
                    let now = words[$group % 4];
                    let mixed = if $group == 0 {
                        _mm_add_epi32(e[lane], now)
                    } else {
                        _mm_sha1nexte_epu32(e[lane], now)
                    };
                    e[lane] = abcd[lane];
                    abcd[lane] = _mm_sha1rnds4_epu32::<{ $group / 5 }>(abcd[lane], mixed);
                    if $group < 16 {
                        let next = words[($group + 1) % 4];
                        let half = _mm_xor_si128(
                            _mm_sha1msg1_epu32(now, next),
                            words[($group + 2) % 4],
                        );
                        words[$group % 4] = _mm_sha1msg2_epu32(half, words[($group + 3) % 4]);
                    }
                }
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        for lane in 0..2 {
            abcd[lane] = _mm_add_epi32(abcd[lane], before.0[lane]);
            e[lane] = _mm_sha1nexte_epu32(e[lane], before.1[lane]);
        }
    }
    for (lane, state) in states.into_iter().enumerate() {
        *state = [
            _mm_extract_epi32::<3>(abcd[lane]),
            _mm_extract_epi32::<2>(abcd[lane]),
            _mm_extract_epi32::<1>(abcd[lane]),
            _mm_extract_epi32::<0>(abcd[lane]),
            _mm_extract_epi32::<3>(e[lane]),
        ]
        .map(i32::cast_unsigned);
    }
}

/// A block as sixteen words, the first in the highest place of each four.
#[target_feature(enable = "sse2,ssse3")]
fn load(block: &Block) -> [__m128i; 4] {
    let flip = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    let (quarters, _) = block.as_chunks::<16>();
    let mut words = [_mm_setzero_si128(); 4];
    for (word, quarter) in words.iter_mut().zip(quarters) {
        let bytes = u128::from_le_bytes(*quarter);
        let (high, low) = ((bytes >> 64) as u64, bytes as u64);
        *word = _mm_shuffle_epi8(_mm_set_epi64x(high.cast_signed(), low.cast_signed()), flip);
    }
    words
}

#[cfg(test)]
mod tests {
    use quickcheck::{TestResult, quickcheck};
    use sha1::block_api::compress;

    use super::*;

    /// So many blocks, which differ from each other.
    fn blocks(count: usize, salt: u8) -> Vec<Block> {
        (0..count)
            .map(|block| std::array::from_fn(|at| (at * 7 + block * 31) as u8 ^ salt))
            .collect()
    }

    quickcheck! {
        fn both_messages_go_on_as_far_as_the_shorter(
            lens: (u8, u8),
            salt: u8,
            start: (u32, u32, u32)
        ) -> TestResult {
            if !is_available() {
                return TestResult::discard();
            }
            let blocks = [blocks(usize::from(lens.0) % 9, salt), blocks(usize::from(lens.1) % 9, !salt)];
            let both = blocks[0].len().min(blocks[1].len());
            let (a, b, c) = start;
            let states = [[a, b, c, !a, !b], [c, a, !c, b, 0]];
            let mut expected = states;
            for (state, blocks) in expected.iter_mut().zip(&blocks) {
                compress(state, &blocks[..both]);
            }
            let [mut one, mut two] = states;
            // SAFETY: the processor's features have just been found to be there.
            #[allow(unsafe_code, reason = "the function needs features of the processor")]
            unsafe {
                compress_two([&mut one, &mut two], [&blocks[0], &blocks[1]]);
            }
            TestResult::from_bool([one, two] == expected)
        }
    }
}
