//! What can be wrong with a recording.

use std::io;

use thiserror::Error;

/// A recording cannot be read, or not any further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system failed to read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("not a recording of Anabranch")]
    Foreign,
    /// It was written by an earlier version of this program, whose engine was told other things.
    #[error("a recording of format {version}, and this program reads format {known} alone")]
    Older {
        /// Its format.
        version: u16,
        /// The format that is known here.
        known: u16,
    },
    /// It was written by a later version of this program.
    #[error("a recording of format {version}, and this program reads format {known} alone")]
    Newer {
        /// Its format.
        version: u16,
        /// The format that is known here.
        known: u16,
    },
    /// It ends before it says how the engine was made: nothing of it can be replayed.
    #[error("the recording ends before its beginning is complete")]
    NoStart,
    /// It is not as it was written.
    #[error("the recording is damaged at byte {offset}: {damage}")]
    Damaged {
        /// Where what is damaged begins in the file.
        offset: u64,
        /// What is.
        damage: Damage,
    },
    /// It is as it was written, but by a program whose engine is told other things.
    #[error(
        "record {record} of the recording means nothing to this version ({what}); it was written by {program}"
    )]
    Unknown {
        /// Which event, counted from 1; 0 for what was said at the start.
        record: u64,
        /// What is not understood.
        what: String,
        /// The program that wrote it.
        program: String,
    },
}

/// How a recording is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The head of a chunk does not match its checksum.
    #[error("a chunk's head does not match its checksum")]
    Head,
    /// A chunk does not match its checksum.
    #[error("a chunk does not match its checksum")]
    Checksum,
    /// A chunk is missing, doubled, or not of a kind that may come here.
    #[error("a chunk is out of order")]
    Order,
    /// A chunk is larger than any that is written.
    #[error("a chunk is larger than allowed")]
    Size,
    /// A chunk cannot be unpacked.
    #[error("a chunk cannot be unpacked")]
    Packing,
    /// The chunks do not add up to what the last of them says.
    #[error("its end does not fit what comes before")]
    Totals,
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
}

/// A run cannot be recorded any further. The engine is not concerned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The operating system failed to write.
    #[error("cannot write the recording: {0}")]
    Io(#[from] io::Error),
    /// An event is larger than any that a recording can hold.
    #[error("an event of {len} bytes is too large to be recorded")]
    TooLarge {
        /// Its length.
        len: u64,
    },
    /// An event cannot be written as data.
    #[error("an event cannot be recorded: {0}")]
    Unfit(String),
    /// What is written to does not keep up.
    #[error("the disk does not keep up with the recording")]
    TooSlow,
}
