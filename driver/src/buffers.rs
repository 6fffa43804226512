//! Stand-in until the storage branch lands.
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A pool of buffers.
#[derive(Clone, Debug, Default)]
pub struct BufferPool(Arc<Mutex<Vec<Box<[u8]>>>>);

/// A buffer that returns to its pool.
#[derive(Debug)]
pub struct PooledBuf {
    data: Option<Box<[u8]>>,
    pool: BufferPool,
}

impl BufferPool {
    /// Takes a buffer.
    pub fn take(&self, len: usize) -> PooledBuf {
        let data = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let data = data.filter(|data| data.len() == len);
        PooledBuf {
            data: Some(data.unwrap_or_else(|| vec![0; len].into_boxed_slice())),
            pool: self.clone(),
        }
    }
}

impl PooledBuf {
    /// Makes the first `len` bytes shared.
    pub fn freeze(self, len: usize) -> Bytes {
        Bytes::from_owner(self).slice(..len)
    }
}

impl Deref for PooledBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }
}

impl DerefMut for PooledBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.data.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            let mut pool = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.len() < 64 {
                pool.push(data);
            }
        }
    }
}
