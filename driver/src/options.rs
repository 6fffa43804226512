//! How a loop is set up.

use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::{AllowAll, Policy};

/// How a [`Loop`](crate::run::Loop) is set up.
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct LoopOptions {
    /// Who may be talked to. Default: everybody.
    pub policy: Arc<dyn Policy>,
    /// The local address that everything is dialled from. Destinations of the other address family
    /// are then out of reach. Default: the system chooses.
    pub from: Option<IpAddr>,
    /// The length of a read buffer, in bytes, at least 4 KiB. One for the loop, and as many as the
    /// machine keeps slices of. Default 256 KiB.
    pub read_buffer: usize,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            policy: Arc::new(AllowAll),
            from: None,
            read_buffer: 256 << 10,
        }
    }
}

impl LoopOptions {
    /// Everybody may be talked to, from any address.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may be talked to.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Dials from this local address only.
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// The length of a read buffer, in bytes.
    pub fn read_buffer(mut self, len: usize) -> Self {
        self.read_buffer = len;
        self
    }
}

impl std::fmt::Debug for LoopOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoopOptions")
            .field("from", &self.from)
            .field("read_buffer", &self.read_buffer)
            .finish_non_exhaustive()
    }
}
