//! How a loop is set up.

use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::{AllowAll, Policy};

/// How a loop is set up.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Who may be talked to. Default: everybody.
    pub policy: Arc<dyn Policy>,
    /// The local address that everything is dialled from. Destinations of the other address family
    /// are then out of reach. Default: the system chooses.
    pub from: Option<IpAddr>,
    /// The length of a read buffer, in bytes, at least 4 KiB. One for the loop, and as many as the
    /// machine keeps slices of. Default 256 KiB.
    pub read_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Arc::new(AllowAll),
            from: None,
            read_buffer: 256 << 10,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("from", &self.from)
            .field("read_buffer", &self.read_buffer)
            .finish_non_exhaustive()
    }
}
