//! What a peer's bytes come by, where the embedder brings datagrams in place of streams.
//!
//! A transport is a state machine of its own, in the shape of the [engine](crate::Engine): datagrams, time and orders go
//! in, datagrams and events come out, and it tells when it wants to be called next. [`utp`] is the one there is: BEP 29,
//! by which half of the public network is reached first.

use serde::{Deserialize, Serialize};

pub mod utp;

/// What a peer's bytes come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Transport {
    /// A TCP connection, which the embedder holds.
    Tcp,
    /// A uTP connection (BEP 29), which the engine holds.
    Utp,
}

impl Transport {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Tcp => Self::Utp,
            Self::Utp => Self::Tcp,
        }
    }
}

impl core::fmt::Display for Transport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Utp => "uTP",
        })
    }
}

/// By what peers are reached, and may reach us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transports {
    /// TCP alone.
    #[default]
    Tcp,
    /// uTP alone (BEP 29).
    Utp,
    /// Both: a peer is dialled by the one that is likelier, and by the other as well if that takes longer than
    /// [`limits::RIVAL_AFTER`](crate::limits::RIVAL_AFTER).
    Both,
}

impl Transports {
    /// Whether a transport is among them.
    #[must_use]
    pub const fn contain(self, transport: Transport) -> bool {
        match (self, transport) {
            (Self::Both, _) | (Self::Tcp, Transport::Tcp) | (Self::Utp, Transport::Utp) => true,
            (Self::Tcp, Transport::Utp) | (Self::Utp, Transport::Tcp) => false,
        }
    }
}
