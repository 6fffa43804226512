//! What a peer's bytes come by, where the embedder brings datagrams in place of streams.
//!
//! A transport is a state machine of its own, in the shape of the [engine](crate::Engine): datagrams, time and orders go
//! in, datagrams and events come out, and it tells when it wants to be called next. [`utp`] is the one there is: BEP 29,
//! by which half of the public network is reached first.

pub mod utp;
