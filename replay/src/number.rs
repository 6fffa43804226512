//! Numbers of variable length, seven bits a byte, and names of the engine as such numbers.

use serde::Deserialize;
use serde::de::value::{Error, SeqDeserializer};

pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A difference, which may be negative: small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Writes an id, as its slot and its generation.
pub(crate) fn put_id(out: &mut Vec<u8>, bits: u64) {
    put(out, bits & u64::from(u32::MAX));
    put(out, bits >> 32);
}

/// Takes a number off `from`; none if there is none.
pub(crate) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

pub(crate) fn take_signed(from: &mut &[u8]) -> Option<i64> {
    let number = take(from)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

pub(crate) fn take_u32(from: &mut &[u8]) -> Option<u32> {
    u32::try_from(take(from)?).ok()
}

/// Takes the bits of an id.
pub(crate) fn take_bits(from: &mut &[u8]) -> Option<u64> {
    let slot = take_u32(from)?;
    let generation = take_u32(from)?;
    Some(u64::from(generation) << 32 | u64::from(slot))
}

/// Takes an id. Only an engine makes them, so one that was written comes back as its parts do.
pub(crate) fn take_id<T: for<'de> Deserialize<'de>>(from: &mut &[u8]) -> Option<T> {
    let parts = [take_u32(from)?, take_u32(from)?];
    T::deserialize(SeqDeserializer::<_, Error>::new(parts.into_iter())).ok()
}

/// Takes so many bytes.
pub(crate) fn take_bytes<'a>(from: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
    *from = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use anabranch_core::id::ConnId;
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn numbers_come_back(unsigned: u64, signed: i64, small: i8) -> bool {
            let mut out = Vec::new();
            put(&mut out, unsigned);
            put_signed(&mut out, signed);
            let before = out.len();
            put_signed(&mut out, small.into());
            let short = out.len() - before <= 2;
            let mut from = &out[..];
            short
                && take(&mut from) == Some(unsigned)
                && take_signed(&mut from) == Some(signed)
                && take_signed(&mut from) == Some(small.into())
                && take(&mut from).is_none()
        }

        fn ids_come_back(slot: u32, generation: u32) -> bool {
            let bits = u64::from(generation) << 32 | u64::from(slot);
            let mut out = Vec::new();
            put_id(&mut out, bits);
            take_bits(&mut &out[..]) == Some(bits)
                && take_id(&mut &out[..]).map(ConnId::to_bits) == Some(bits)
        }

        fn noise_is_no_danger(noise: Vec<u8>) -> bool {
            let mut from = &noise[..];
            while take(&mut from).is_some() {}
            take_bytes(&mut &noise[..], u64::MAX).is_none()
        }
    }

    #[test]
    fn what_does_not_fit_is_no_number() {
        let too_long = [0xff; 12];
        assert_eq!(take(&mut &too_long[..9]), None);
        assert_eq!(take(&mut &too_long[..]), None);
        let mut most = vec![0xff; 9];
        most.push(1);
        assert_eq!(take(&mut &most[..]), Some(u64::MAX));
        most[9] = 2;
        assert_eq!(take(&mut &most[..]), None);
    }
}
