//! A BitTorrent engine that does no I/O.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bencode;
pub mod metainfo;
