//! SHA-1 (FIPS 180-4) of two messages side by side on one core.
//!
//! Each of a processor's SHA instructions waits for the one before it, so that a single message leaves
//! about half of them unused. Pieces of a torrent are many and independent: [`update_two`] feeds two
//! hashers in turn, instruction by instruction, and takes little longer for both than for one. Where the
//! processor lacks the instructions, it does one after the other.
//!
//! ```
//! use anabranch_hash::{Sha1, update_two};
//!
//! let mut hashers = [Sha1::new(), Sha1::new()];
//! update_two(&mut hashers, [b"a piece", b"another"]);
//! let [piece, another] = hashers.map(Sha1::finish);
//! assert_eq!(piece, Sha1::digest(b"a piece"));
//! assert_eq!(another, Sha1::digest(b"another"));
//! ```
//!
//! [`digest_two`] does that for messages that are read bit by bit.
//!
//! The single message is left to the `sha1` crate. The only unsafe code is the call of functions that
//! need a processor's feature, after it has been looked for.
#![deny(missing_docs)]
#![deny(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod x86;

use sha1::block_api::compress;

/// Bytes that are compressed at a time.
const BLOCK: usize = 64;

/// One step's worth of a message.
type Block = [u8; BLOCK];

/// The five words of a hash under way.
type State = [u32; 5];

/// The state before the first block.
const START: State = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// The SHA-1 of a message that comes in parts.
#[derive(Clone, Debug)]
pub struct Sha1 {
    state: State,
    /// The beginning of a block whose end is still to come.
    tail: Block,
    tail_len: usize,
    /// Bytes so far.
    len: u64,
}

impl Default for Sha1 {
    fn default() -> Self {
        Self {
            state: START,
            tail: [0; BLOCK],
            tail_len: 0,
            len: 0,
        }
    }
}

impl Sha1 {
    /// The hash of nothing so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The hash of a message that is there as a whole.
    #[must_use]
    pub fn digest(message: &[u8]) -> [u8; 20] {
        let mut hasher = Self::new();
        hasher.update(message);
        hasher.finish()
    }

    /// Appends to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let bytes = self.fill_tail(bytes);
        let (blocks, rest) = bytes.as_chunks();
        compress(&mut self.state, blocks);
        self.keep(rest);
    }

    /// The hash of all that was appended.
    #[must_use]
    pub fn finish(mut self) -> [u8; 20] {
        let bits = self.len.wrapping_mul(8).to_be_bytes();
        let mut end = [[0; BLOCK]; 2];
        let [first, second] = &mut end;
        first[..self.tail_len].copy_from_slice(&self.tail[..self.tail_len]);
        first[self.tail_len] = 0x80;
        // The length goes to the end of the block, or of one more where there is no room for it.
        let blocks = if self.tail_len < BLOCK - bits.len() {
            first[BLOCK - bits.len()..].copy_from_slice(&bits);
            &end[..1]
        } else {
            second[BLOCK - bits.len()..].copy_from_slice(&bits);
            &end[..]
        };
        compress(&mut self.state, blocks);
        let mut digest = [0; 20];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// Completes the block that was begun; what is left of `bytes` after that.
    fn fill_tail<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.tail_len == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.tail_len));
        self.keep(now);
        if self.tail_len == BLOCK {
            compress(&mut self.state, &[self.tail]);
            self.tail_len = 0;
        }
        later
    }

    /// Keeps less than a block, for which there is room.
    fn keep(&mut self, bytes: &[u8]) {
        self.tail[self.tail_len..self.tail_len + bytes.len()].copy_from_slice(bytes);
        self.tail_len += bytes.len();
    }
}

/// Appends to two messages at once. As far as both have whole blocks, they are hashed side by side; for
/// the most of it, let the parts be of one length, and multiples of 64 bytes.
pub fn update_two(hashers: &mut [Sha1; 2], parts: [&[u8]; 2]) {
    let [first, second] = hashers;
    let [mut one, mut two] = parts;
    first.len += one.len() as u64;
    second.len += two.len() as u64;
    one = first.fill_tail(one);
    two = second.fill_tail(two);
    let both = one.len().min(two.len()) / BLOCK;
    let (one_now, one_later) = one.split_at(both * BLOCK);
    let (two_now, two_later) = two.split_at(both * BLOCK);
    compress_two(
        [&mut first.state, &mut second.state],
        [one_now.as_chunks().0, two_now.as_chunks().0],
    );
    for (hasher, later) in [(first, one_later), (second, two_later)] {
        let (blocks, rest) = later.as_chunks();
        compress(&mut hasher.state, blocks);
        hasher.keep(rest);
    }
}

/// A message that is read bit by bit.
pub trait Message {
    /// Why it could not be read.
    type Error;

    /// The next part; empty when there is no more, also when asked again.
    ///
    /// # Errors
    ///
    /// When it cannot be read. It is not asked again then.
    fn next(&mut self) -> Result<&[u8], Self::Error>;
}

/// The SHA-1 of a message.
///
/// # Errors
///
/// That of the message.
pub fn digest<M: Message>(message: &mut M) -> Result<[u8; 20], M::Error> {
    digest_rest(Sha1::new(), message)
}

/// The SHA-1 of each of two messages, side by side: see [`update_two`] on the length of their parts.
/// When one cannot be read, that of the other is found nevertheless.
pub fn digest_two<M: Message>(one: &mut M, two: &mut M) -> [Result<[u8; 20], M::Error>; 2] {
    let mut hashers = [Sha1::new(), Sha1::new()];
    loop {
        match (one.next(), two.next()) {
            (Ok([]), Ok([])) => return hashers.map(|hasher| Ok(hasher.finish())),
            (Ok(first), Ok(second)) => update_two(&mut hashers, [first, second]),
            (Err(error), Ok(second)) => {
                let [_, mut hasher] = hashers;
                hasher.update(second);
                return [Err(error), digest_rest(hasher, two)];
            }
            (Ok(first), Err(error)) => {
                let [mut hasher, _] = hashers;
                hasher.update(first);
                return [digest_rest(hasher, one), Err(error)];
            }
            (Err(first), Err(second)) => return [Err(first), Err(second)],
        }
    }
}

fn digest_rest<M: Message>(mut hasher: Sha1, message: &mut M) -> Result<[u8; 20], M::Error> {
    loop {
        match message.next()? {
            [] => return Ok(hasher.finish()),
            part => hasher.update(part),
        }
    }
}

/// Compresses as many blocks of one message as of the other.
fn compress_two(states: [&mut State; 2], blocks: [&[Block]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if x86::is_available() {
        #[allow(unsafe_code, reason = "the function needs features of the processor")]
        // SAFETY: they have just been found to be there.
        unsafe {
            x86::compress_two(states, blocks);
        }
        return;
    }
    for (state, blocks) in states.into_iter().zip(blocks) {
        compress(state, blocks);
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use sha1::Digest;

    use super::*;

    fn expected(message: &[u8]) -> [u8; 20] {
        sha1::Sha1::digest(message).into()
    }

    fn message(len: usize, seed: u8) -> Vec<u8> {
        (0..len)
            .map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ seed)
            .collect()
    }

    /// A length that miri can be asked for.
    fn short(len: u16) -> usize {
        usize::from(if cfg!(miri) { len % 400 } else { len })
    }

    #[test]
    fn every_length_around_a_block_is_padded_right() {
        // Miri takes milliseconds for a block.
        let lens = if cfg!(miri) { 50..70 } else { 0..300 };
        for len in lens {
            let message = message(len, 0);
            assert_eq!(Sha1::digest(&message), expected(&message), "{len} bytes");
        }
    }

    /// Parts of a message, of which some may not be readable.
    struct Cut(std::vec::IntoIter<Option<Vec<u8>>>, Vec<u8>);

    impl Cut {
        fn new(parts: &[(u8, bool)]) -> Self {
            let parts: Vec<_> = parts
                .iter()
                .enumerate()
                // An empty part is the end.
                .map(|(at, (len, bad))| (!bad).then(|| message(usize::from(*len) + 1, at as u8)))
                .collect();
            Self(parts.into_iter(), Vec::new())
        }

        fn expected(&self) -> Result<[u8; 20], ()> {
            let parts: Option<Vec<_>> = self.0.as_slice().iter().cloned().collect();
            parts.map(|parts| expected(&parts.concat())).ok_or(())
        }
    }

    impl Message for Cut {
        type Error = ();

        fn next(&mut self) -> Result<&[u8], ()> {
            self.1 = self.0.next().unwrap_or(Some(Vec::new())).ok_or(())?;
            Ok(&self.1)
        }
    }

    quickcheck! {
        fn messages_read_side_by_side_fail_alone(one: Vec<(u8, bool)>, two: Vec<(u8, bool)>) -> bool {
            let (mut one, mut two) = (Cut::new(&one), Cut::new(&two));
            let expected = [one.expected(), two.expected()];
            digest_two(&mut one, &mut two) == expected
        }

        fn parts_of_any_length_make_the_same_hash(len: u16, cuts: Vec<u8>) -> bool {
            let message = message(short(len), 1);
            let mut hasher = Sha1::new();
            let mut rest = &message[..];
            for cut in cuts {
                let (now, later) = rest.split_at(rest.len().min(cut.into()));
                hasher.update(now);
                rest = later;
            }
            hasher.update(rest);
            hasher.finish() == expected(&message)
        }

        fn two_at_once_are_what_each_is_alone(
            lens: (u16, u16),
            cuts: Vec<(u16, u16)>,
            salt: u8
        ) -> bool {
            let messages = [message(short(lens.0), salt), message(short(lens.1), !salt)];
            let mut hashers = [Sha1::new(), Sha1::new()];
            let mut rests = [&messages[0][..], &messages[1][..]];
            for cut in cuts {
                let [one, two] = rests;
                let (one, one_later) = one.split_at(one.len().min(usize::from(cut.0) % 1_000));
                let (two, two_later) = two.split_at(two.len().min(usize::from(cut.1) % 1_000));
                update_two(&mut hashers, [one, two]);
                rests = [one_later, two_later];
            }
            update_two(&mut hashers, rests);
            hashers.map(Sha1::finish) == [expected(&messages[0]), expected(&messages[1])]
        }
    }
}
