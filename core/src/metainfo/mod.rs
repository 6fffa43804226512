//! Stand-in.
#![allow(missing_docs)]
use bytes::Bytes;
use serde::{Deserialize, Serialize};
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PieceIndex(u32);
impl PieceIndex {
    pub const fn new(i: u32) -> Self {
        Self(i)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileIndex(u32);
impl FileIndex {
    pub const fn new(i: u32) -> Self {
        Self(i)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InfoHash([u8; 20]);
impl InfoHash {
    pub const fn new(h: [u8; 20]) -> Self {
        Self(h)
    }
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    pub raw: Bytes,
}
impl Metainfo {
    pub fn info_hash(&self) -> InfoHash {
        InfoHash([0; 20])
    }
}
impl core::fmt::Display for InfoHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for b in self.0 {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}
