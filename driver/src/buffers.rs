//! Buffers for reads from disks and sockets: where they begin in memory, and a pool of them.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::sync::lock;

/// The sizes that are pooled, in bytes.
const CLASSES: [usize; 5] = [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10];

/// Where buffers begin: at multiples of this, in bytes.
const ALIGNMENT: usize = 64;

/// A buffer that begins at a multiple of 64 bytes.
///
/// What allocators give for a large buffer begins 16 bytes into a page. Some processors copy (`rep movsb` of
/// AMD's Zen 3, with which Linux copies) at a third of their rate to where an address, within its page, is 1 to 31 bytes
/// beyond that of the source, and the source of a read from a file is the beginning of a page.
#[derive(Default)]
pub struct AlignedBuf {
    bytes: Box<[u8]>,
    /// What is before it of `bytes`.
    skipped: usize,
}

impl AlignedBuf {
    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT - 1].into_boxed_slice();
        // Where an offset cannot be told, as in an interpreter, none is as right as another.
        let offset = bytes.as_ptr().align_offset(ALIGNMENT);
        Self {
            skipped: if offset < ALIGNMENT { offset } else { 0 },
            bytes,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len().saturating_sub(ALIGNMENT - 1)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.skipped..][..self.len()]
    }
}

impl AsMut<[u8]> for AlignedBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.bytes[self.skipped..][..len]
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len())
    }
}

/// A pool of byte buffers, which are zeroed once and then used again. Clones share it.
///
/// Buffers come in sizes of 16, 32, 64, 128 and 256 KiB. One that is larger than that is allocated
/// and given back to the system. What waits to be used again is bounded in bytes; what is in use is
/// bounded by who takes it.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Mutex<Free>>,
}

struct Free {
    /// Buffers that nobody uses, by class.
    classes: [Vec<AlignedBuf>; CLASSES.len()],
    /// Their length together.
    bytes: usize,
    /// What `bytes` may come to.
    limit: usize,
}

/// A buffer of a [`BufferPool`], to which it returns when it is dropped.
pub struct PooledBuf {
    /// Without memory only while it is dropped.
    bytes: AlignedBuf,
    pool: BufferPool,
}

impl BufferPool {
    /// The bytes that a [`Default`] pool keeps for later use: 4 MiB.
    pub const DEFAULT_LIMIT: usize = 4 << 20;

    /// A pool that keeps no more than `limit` bytes of buffers that nobody uses.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Free {
                classes: Default::default(),
                bytes: 0,
                limit,
            })),
        }
    }

    /// A buffer of at least `min_len` bytes. What is in it is unspecified: zeros, or what it was last
    /// used for.
    #[must_use]
    pub fn take(&self, min_len: usize) -> PooledBuf {
        let class = CLASSES.iter().position(|size| *size >= min_len);
        let reused = class.and_then(|class| {
            let mut free = lock(&self.shared);
            let bytes = free.classes[class].pop()?;
            free.bytes -= bytes.len();
            Some(bytes)
        });
        let len = class.map_or(min_len, |class| CLASSES[class]);
        PooledBuf {
            bytes: reused.unwrap_or_else(|| AlignedBuf::zeroed(len)),
            pool: self.clone(),
        }
    }

    /// How many bytes of buffers wait to be used again.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        lock(&self.shared).bytes
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("free_bytes", &self.free_bytes())
            .finish_non_exhaustive()
    }
}

impl PooledBuf {
    /// Makes the first `len` bytes, at most all of them, an immutable value. The buffer returns to its
    /// pool when the last slice of it is dropped.
    ///
    /// Where that would hold up more than four times the memory that is used, the bytes are copied and
    /// the buffer returns at once.
    #[must_use]
    pub fn freeze(self, len: usize) -> Bytes {
        let len = len.min(self.bytes.len());
        if len < self.bytes.len() / 4 {
            return Bytes::copy_from_slice(&self.as_ref()[..len]);
        }
        Bytes::from_owner(Frozen { buf: self, len })
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl AsMut<[u8]> for PooledBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut()
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let Some(class) = CLASSES.iter().position(|size| *size == bytes.len()) else {
            return;
        };
        let mut free = lock(&self.pool.shared);
        if free.bytes + bytes.len() <= free.limit {
            free.bytes += bytes.len();
            free.classes[class].push(bytes);
        }
    }
}

impl fmt::Debug for PooledBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PooledBuf({} bytes)", self.bytes.len())
    }
}

struct Frozen {
    buf: PooledBuf,
    len: usize,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.buf.as_ref()[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_begins_where_copies_are_fast() {
        let pool = BufferPool::default();
        let begin = |buf: &PooledBuf| buf.as_ref().as_ptr().addr() % ALIGNMENT;
        for len in [1, 16 << 10, 200 << 10, (256 << 10) + 1] {
            let fresh: Vec<_> = (0..5).map(|_| pool.take(len)).collect();
            assert!(fresh.iter().all(|buf| begin(buf) == 0), "{len}");
            drop(fresh);
            assert_eq!(begin(&pool.take(len)), 0);
        }
    }

    #[test]
    fn an_aligned_buffer_is_as_long_as_was_asked() {
        for len in [0, 1, 63, 64, 65, 100_000] {
            let mut buf = AlignedBuf::zeroed(len);
            assert_eq!((buf.len(), buf.is_empty()), (len, len == 0));
            assert_eq!(buf.as_ref(), vec![0; len]);
            buf.as_mut().fill(7);
            assert_eq!(buf.as_ref(), vec![7; len]);
        }
        assert!(AlignedBuf::default().as_ref().is_empty());
    }

    #[test]
    fn a_buffer_returns_when_the_last_slice_of_it_is_gone() {
        let pool = BufferPool::default();
        let mut buf = pool.take(100);
        buf.as_mut()[..3].copy_from_slice(b"abc");
        let bytes = buf.freeze(16 << 10);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&slice[..], pool.free_bytes()), (&b"bc"[..], 0));
        drop(slice);
        assert_eq!(pool.free_bytes(), 16 << 10);
        let again = pool.take(16 << 10);
        assert_eq!((again.as_ref()[0], pool.free_bytes()), (b'a', 0));
    }

    #[test]
    fn a_few_bytes_do_not_hold_up_a_large_buffer() {
        let pool = BufferPool::default();
        let bytes = pool.take(200 << 10).freeze(1000);
        assert_eq!((bytes.len(), pool.free_bytes()), (1000, 256 << 10));
    }

    #[test]
    fn sizes_are_rounded_up_and_the_largest_are_not_kept() {
        let pool = BufferPool::default();
        for (asked, given) in [
            (0, 16 << 10),
            (16385, 32 << 10),
            ((256 << 10) + 1, (256 << 10) + 1),
        ] {
            assert_eq!(pool.take(asked).as_ref().len(), given);
        }
        assert_eq!(pool.free_bytes(), 48 << 10);
        assert_eq!(pool.take(5).freeze(usize::MAX).len(), 16 << 10);
    }

    #[test]
    fn what_waits_is_bounded() {
        let pool = BufferPool::new(100 << 10);
        let taken: Vec<_> = (0..4).map(|_| pool.take(32 << 10)).collect();
        drop(taken);
        assert_eq!(pool.free_bytes(), 96 << 10);
    }
}
