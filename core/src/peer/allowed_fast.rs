//! BEP 6: the pieces that a peer may have of us while it is choked.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use sha1::{Digest, Sha1};

use crate::metainfo::InfoHash;

/// How many pieces a newcomer is allowed at most.
pub(crate) const ALLOWED_FAST: usize = 10;

/// What those pieces may come to, in bytes, if they are more than one. It takes a piece to trade; what
/// goes to all newcomers beyond that is missed where it could be passed on.
const ALLOWED_BYTES: u32 = 1 << 20;

/// How many pieces of this length a newcomer is allowed.
pub(crate) fn allowance(piece_length: u32) -> usize {
    ((ALLOWED_BYTES / piece_length.max(1)) as usize).clamp(1, ALLOWED_FAST)
}

/// The pieces that BEP 6 grants to a peer at this address: up to `count`, the same for everybody who
/// computes them, so that a peer can't get more by asking more of us. There are none for IPv6, for
/// which the BEP has no rule.
pub(crate) fn allowed_fast_set(
    address: IpAddr,
    info_hash: &InfoHash,
    pieces: u32,
    count: usize,
) -> Vec<u32> {
    let IpAddr::V4(address) = address.to_canonical() else {
        return Vec::new();
    };
    let count = count.min(pieces as usize);
    let mut set = Vec::with_capacity(count);
    let masked = Ipv4Addr::from_bits(address.to_bits() & 0xffff_ff00);
    let mut digest = Sha1::new();
    digest.update(masked.octets());
    digest.update(info_hash.as_bytes());
    let mut hash: [u8; 20] = digest.finalize().into();
    while set.len() < count {
        for word in hash.as_chunks::<4>().0 {
            let piece = u32::from_be_bytes(*word) % pieces;
            if set.len() < count && !set.contains(&piece) {
                set.push(piece);
            }
        }
        hash = Sha1::digest(hash).into();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_that_of_the_specification() {
        let address = IpAddr::V4(Ipv4Addr::new(80, 4, 4, 200));
        let info_hash = InfoHash::new([0xaa; 20]);
        let seven = [1059, 431, 808, 1217, 287, 376, 1188];
        assert_eq!(allowed_fast_set(address, &info_hash, 1313, 7), seven);
        let nine = allowed_fast_set(address, &info_hash, 1313, 9);
        assert_eq!((&nine[..7], &nine[7..]), (&seven[..], &[353, 508][..]));
    }

    #[test]
    fn a_torrent_of_few_pieces_ends_the_search() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let info_hash = InfoHash::new([1; 20]);
        let mut set = allowed_fast_set(address, &info_hash, 3, 10);
        set.sort_unstable();
        assert_eq!(set, [0, 1, 2]);
        assert!(allowed_fast_set(address, &info_hash, 0, 10).is_empty());
    }
}
