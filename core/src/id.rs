//! Ids: generational newtypes that the engine hands out, and tokens that its caller does.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::slab::Key;

macro_rules! generational {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        ///
        /// A slot and its generation: an id that outlived what it named matches nothing, ever after.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name {
            slot: u32,
            generation: u32,
        }

        impl $name {
            /// An id, for the tests of an embedder, whose engine is a script: an engine takes no others than those
            /// that it gave out.
            pub const fn new(slot: u32, generation: u32) -> Self {
                Self { slot, generation }
            }

            /// The id as one number, for logs and for tables of a driver's own.
            pub const fn to_bits(self) -> u64 {
                (self.generation as u64) << 32 | self.slot as u64
            }

            /// The slot alone: small and dense, fit to index a table of a driver's own. Two ids that
            /// live at the same time never share a slot; ids that follow each other may.
            pub const fn slot(self) -> usize {
                self.slot as usize
            }
        }

        impl Key for $name {
            fn new(slot: u32, generation: u32) -> Self {
                Self { slot, generation }
            }

            fn slot(self) -> u32 {
                self.slot
            }

            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}.{}"), self.slot, self.generation)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

generational!(
    /// A torrent in an [`Engine`](crate::Engine).
    TorrentId,
    "torrent#"
);
generational!(
    /// A connection to a peer, from `Connect` or `Accept` until `Closed`.
    ConnId,
    "conn#"
);
generational!(
    /// An operation that the engine asked for and that ends in one `Done`.
    OpId,
    "op#"
);

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $number);
    };
}

token!(
    /// Chosen by the caller of a command, and returned in its reply.
    RequestId,
    u64
);
token!(
    /// Chosen by the driver for a connection that came in, until the engine has accepted or refused it.
    Ticket,
    u64
);
token!(
    /// Chosen by the driver for a socket that packets come and go by.
    SocketId,
    u32
);
token!(
    /// Chosen by the driver for a place where a torrent's data lives; the engine hands it back in
    /// [`DiskJob::Open`](crate::action::DiskJob::Open) and does not look inside.
    StorageKey,
    u64
);
