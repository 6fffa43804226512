//! Why bytes from outside were refused.

use crate::bencode;

/// What a remote side got wrong. Every value means that the sender broke the protocol (or speaks
/// another one): never that something failed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first bytes of a connection are not those of the BitTorrent handshake (BEP 3). It may be
    /// an encrypted handshake or another protocol altogether.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// The length prefix of a message is over its limit. Found before any of its body is looked at
    /// or stored.
    #[error("a message of {len} bytes, over the limit of {max}")]
    TooLong {
        /// The message's id; `None` where the length is over every limit, so that no id was waited
        /// for.
        id: Option<u8>,
        /// The length as the prefix states it, id included.
        len: u32,
        /// The limit that applies, id included.
        max: u32,
    },
    /// A message of a fixed layout has another length.
    #[error("message {id} of {len} bytes instead of {expected}")]
    WrongLength {
        /// The message's id.
        id: u8,
        /// The length as the prefix states it, id included.
        len: u32,
        /// The only right length, id included.
        expected: u32,
    },
    /// A message is too short for its fixed part.
    #[error("message {id} of {len} bytes, at least {min} are needed")]
    TooShort {
        /// The message's id.
        id: u8,
        /// The length as the prefix states it, id included.
        len: u32,
        /// The least possible length, id included.
        min: u32,
    },
    /// A bencoded message is not well-formed, or goes over a limit of form.
    #[error("bad bencoding at byte {at}: {fault}")]
    Bencode {
        /// Offset of the offending byte.
        at: usize,
        /// What is wrong there.
        fault: BencodeFault,
    },
    /// Well-formed bencoding of another shape than the message has, such as a list instead of a
    /// dictionary or the same key twice.
    #[error("bencoding of an unexpected shape")]
    Shape,
    /// A field that must be there is not.
    #[error("no {key}")]
    Missing {
        /// The name of the field.
        key: &'static str,
    },
    /// A field that must be understood can't be.
    #[error("{key} can't be understood")]
    Invalid {
        /// The name of the field.
        key: &'static str,
    },
    /// A datagram is shorter than its kind can be.
    #[error("a datagram of {len} bytes, at least {min} are needed")]
    ShortDatagram {
        /// The datagram's length.
        len: usize,
        /// The least possible length.
        min: usize,
    },
    /// A UDP tracker datagram with an action that BEP 15 does not have (or not in that direction).
    #[error("unknown action {action}")]
    UnknownAction {
        /// The action as sent.
        action: u32,
    },
}

/// What is wrong with a piece of bencoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeFault {
    /// It ends in the middle of a value, or a string's length promises more than there is.
    #[error("it ends too early")]
    Truncated,
    /// A byte that can't stand where it stands.
    #[error("unexpected byte")]
    Unexpected,
    /// A string's length that is malformed, or larger than an address.
    #[error("a malformed length")]
    Length,
    /// More lists and dictionaries inside one another than the limit.
    #[error("nested too deep")]
    Depth,
    /// More values than the limit.
    #[error("too many values")]
    Tokens,
}

impl From<bencode::Error> for WireError {
    fn from(error: bencode::Error) -> Self {
        use bencode::Error;
        let (at, fault) = match error {
            Error::UnexpectedEnd { offset } | Error::StringTooLong { offset, .. } => {
                (offset, BencodeFault::Truncated)
            }
            Error::UnexpectedByte { offset, .. }
            | Error::InvalidInteger { offset }
            | Error::KeyNotString { offset }
            | Error::MissingValue { offset }
            | Error::TrailingData { offset } => (offset, BencodeFault::Unexpected),
            Error::InvalidLength { offset } => (offset, BencodeFault::Length),
            Error::TooDeep { offset } => (offset, BencodeFault::Depth),
            Error::TooManyTokens { offset } => (offset, BencodeFault::Tokens),
        };
        Self::Bencode { at, fault }
    }
}
