//! BEP 33: Bloom filters that count addresses over many nodes.

use core::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::wire::krpc::BLOOM_LEN;

/// Bits of a filter.
const BITS: u16 = 8 * BLOOM_LEN as u16;

/// What one address uses up of the filter's logarithm: -2·log₂(1 - 1/2048), in 2⁻⁴⁸.
const USED_UP: u64 = 396_661_842_351;

/// A set of addresses of which only the size can be told, and that only nearly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bloom([u8; BLOOM_LEN]);

impl Default for Bloom {
    fn default() -> Self {
        Self([0; BLOOM_LEN])
    }
}

impl Bloom {
    pub(crate) fn new(bytes: [u8; BLOOM_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; BLOOM_LEN] {
        &self.0
    }

    pub(crate) fn insert(&mut self, ip: IpAddr) {
        for index in places(ip) {
            if let Some(byte) = self.0.get_mut(usize::from(index / 8)) {
                *byte |= 1 << (index % 8);
            }
        }
    }

    /// Whether an address may have been inserted; if not, it was not.
    pub(crate) fn may_contain(&self, ip: IpAddr) -> bool {
        places(ip).iter().all(|index| {
            let byte = self.0.get(usize::from(index / 8)).copied();
            byte.is_some_and(|byte| byte & 1 << (index % 8) != 0)
        })
    }

    /// Adds all that is in another one.
    pub(crate) fn unite(&mut self, other: &Self) {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte |= other;
        }
    }

    /// About how many addresses are in it; past some 6,000 it is a guess.
    pub(crate) fn estimate(&self) -> u32 {
        (self.estimate_permille() + 500) / 1_000
    }

    fn estimate_permille(&self) -> u32 {
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let zeros = zeros.clamp(1, u32::from(BITS) - 1);
        // An empty filter has one zero less here than it has, and must not count as one address.
        if self.0.iter().all(|byte| *byte == 0) {
            return 0;
        }
        let missing = (11 << 48) - log2(zeros);
        // Of the order of 2^22 at most.
        (u128::from(missing) * 1_000 / u128::from(USED_UP)) as u32
    }
}

fn places(ip: IpAddr) -> [u16; 2] {
    let hash = match ip.to_canonical() {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()),
    };
    [[hash[0], hash[1]], [hash[2], hash[3]]].map(|bytes| u16::from_le_bytes(bytes) % BITS)
}

/// The binary logarithm of a number from 1 to 2047, in 2⁻⁴⁸.
fn log2(number: u32) -> u64 {
    let whole = number.max(1).ilog2();
    let mut result = u64::from(whole) << 48;
    // Squaring doubles the logarithm, so each round brings one more of its bits to light. The number is kept in
    // 1 ..= 2, in 2⁻⁶².
    let mut rest = u128::from(number) << (62 - whole);
    for bit in (0..48).rev() {
        rest = (rest * rest) >> 62;
        if rest >= 2 << 62 {
            rest >>= 1;
            result |= 1 << bit;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::net::{Ipv4Addr, Ipv6Addr};

    use data_encoding::HEXUPPER;

    use super::*;

    #[test]
    fn the_example_of_the_specification_comes_out() {
        let mut bloom = Bloom::default();
        for last in 0..=255 {
            bloom.insert(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        }
        for last in 0..=0x3e7 {
            bloom.insert(IpAddr::V6(Ipv6Addr::new(
                0x2001, 0xdb8, 0, 0, 0, 0, 0, last,
            )));
        }
        let expected: String =
            "F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE \
            FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B \
            7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F \
            D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3 \
            FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5 \
            BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57 \
            62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6 \
            FD8F72EF"
                .split_whitespace()
                .collect();
        assert_eq!(HEXUPPER.encode(bloom.as_bytes()), expected);
        // The specification has 1224.9308.
        assert_eq!(bloom.estimate_permille(), 1_224_930);
        assert_eq!(bloom.estimate(), 1_225);
    }

    #[test]
    fn small_sets_are_counted_nearly_right_and_unions_as_well() {
        assert_eq!(Bloom::default().estimate(), 0);
        let (mut one, mut two) = (Bloom::default(), Bloom::default());
        for last in 0..10 {
            one.insert(IpAddr::from([198, 51, 100, last]));
            two.insert(IpAddr::from([198, 51, 100, last + 5]));
        }
        assert!(one.may_contain(IpAddr::from([198, 51, 100, 3])));
        assert!(!one.may_contain(IpAddr::from([203, 0, 113, 3])));
        assert_eq!(one.estimate(), 10);
        one.unite(&two);
        assert_eq!(one.estimate(), 15);
        assert!(Bloom::new([0xff; BLOOM_LEN]).estimate() > 7_000);
    }
}
