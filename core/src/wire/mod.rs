//! The wire: pure codecs for everything that crosses a socket. Bytes in, typed values out, and
//! back.
//!
//! Nothing here keeps time, decides or remembers more than one unfinished message. What comes from
//! outside is bounded before it is believed: a length is judged from its prefix, and memory grows
//! with what has arrived, not with what was promised. Every decoder reports the reason of a refusal
//! as a [`WireError`].
//!
//! | module | BEPs |
//! |---|---|
//! | [`handshake`] | 3, 5, 6, 10, 20 |
//! | [`message`], [`decoder`], [`block`] | 3, 5, 6, 10 |
//! | [`extended`] | 10, 21 |
//! | [`metadata`], [`pex`], [`lsd`] | 9, 11, 14 |
//! | [`tracker`], [`tracker_http`], [`tracker_http_server`] | 3, 7, 21, 23, 24, 31, 48 |
//! | [`tracker_udp`] | 15, 41 |
//! | [`krpc`] | 5, 32, 33, 42, 43, 44 |
//! | [`utp`] | 29 |

pub mod block;
pub mod decoder;
mod error;
pub mod extended;
mod guard;
pub mod handshake;
pub mod krpc;
pub mod lsd;
mod mend;
pub mod message;
pub mod metadata;
pub mod pex;
mod text;
pub mod tracker;
pub mod tracker_http;
pub mod tracker_http_server;
mod tracker_peers;
pub mod tracker_udp;
pub mod utp;

pub use self::{
    block::{BlockData, BlockRequest},
    decoder::{Block, BlockProgress, Decoder, Frame, Limits},
    error::{BencodeFault, WireError},
    extended::ExtendedHandshake,
    handshake::{Handshake, HandshakeDecoder, PeerId, Reserved},
    lsd::LsdAnnounce,
    message::{Message, encode_piece_header},
    metadata::MetadataMessage,
    pex::{PexFlags, PexMessage},
};
