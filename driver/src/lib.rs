//! The runtime-neutral half of a client: what turns actions into work on disks, buffers and threads.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod buffers;
mod platform;
pub mod pool;
pub mod storage;
mod sync;
