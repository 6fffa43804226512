//! Inputs as a source of everything that a sequence needs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

/// Bytes, from which everything else is drawn; zeros when they are used up.
pub(crate) struct Draw<'a>(pub(crate) &'a [u8]);

impl Draw<'_> {
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub(crate) fn chance(&mut self, in_256: u8) -> bool {
        self.byte() < in_256
    }

    /// Any number, the small ones and those at the ends more often.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() % 10 {
            0..=3 => self.byte().into(),
            4 => u64::from(self.byte()) << 8 | u64::from(self.byte()),
            5 => 1 << (self.byte() % 64),
            6 => (1_u64 << (self.byte() % 64)).wrapping_sub(1),
            7 => u64::MAX - u64::from(self.byte()),
            8 => i64::MAX as u64 - u64::from(self.byte()),
            _ => u64::from_le_bytes([(); 8].map(|()| self.byte())),
        }
    }

    pub(crate) fn small(&mut self) -> u32 {
        match self.byte() {
            255 => self.number() as u32,
            byte => byte.into(),
        }
    }

    pub(crate) fn some<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(128).then(|| what(self))
    }

    pub(crate) fn duration(&mut self) -> Duration {
        match self.byte() % 4 {
            0 => Duration::from_millis(self.byte().into()),
            1 => Duration::from_secs(self.byte().into()),
            2 => Duration::from_nanos(self.number()),
            _ => Duration::new(self.number(), 0),
        }
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        let len = self.byte().into();
        let taken = self.0.len().min(len);
        let (bytes, rest) = self.0.split_at(taken);
        self.0 = rest;
        Bytes::copy_from_slice(bytes)
    }

    pub(crate) fn address(&mut self) -> SocketAddr {
        let port = match self.byte() {
            0 => 0,
            byte => 1_000 + u16::from(byte),
        };
        let host = self.byte();
        match self.byte() % 16 {
            0..=8 => SocketAddr::new([10, 0, host, 7].into(), port),
            9..=12 => SocketAddr::new([10, 1, 1, host].into(), port),
            13 => SocketAddr::new([0x2001, 0xdb8, host.into(), 0, 0, 0, 0, 1].into(), port),
            14 => SocketAddr::new([0, 0, 0, 0, 0, 0xffff, 0x0a00, host.into()].into(), port),
            _ => SocketAddr::new([self.byte(), self.byte(), host, self.byte()].into(), port),
        }
    }
}

/// Numbers that follow from one: SplitMix64.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
