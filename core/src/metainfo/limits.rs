//! Every bound on what a torrent file may hold, and what it costs at worst.
//!
//! A torrent at all limits at once keeps the file itself in memory (32 MiB), and besides it about
//! 100 bytes a file (50 MB) and the safe paths, which are at most three times as long as the names
//! in the file were (96 MiB, for names of bytes that are not UTF-8). While it is parsed, paths are
//! compared by copies of them without case, so that the peak is about twice that. All of it is
//! paid for by bytes that were received: nothing is allocated because a number said so.

use crate::bencode;

/// The longest torrent file, in bytes.
pub const MAX_TORRENT_LEN: usize = 32 << 20;

/// Nesting and number of the bencoded values.
///
/// A file entry has at least seven tokens, so that tokens bound the time of a scan and
/// [`MAX_FILES`] is what bounds files. Padding zeros are let pass: the info-hash is taken over the
/// bytes as they stand, so nobody can differ on it.
pub const BENCODE: bencode::Limits = bencode::Limits {
    depth: 100,
    tokens: 6_000_000,
    leading_zeros: true,
};

/// The most pieces: 30 MiB of hashes, which is what peers are willing to send as metadata.
pub const MAX_PIECES: u32 = (30 << 20) / 20;

/// The longest piece, in bytes: twice what mktorrent makes, and what others load. A piece need not fit
/// into memory: its blocks go to the disk as they come, and some 100 bytes for each of 32,768 stay, and
/// 640 KiB of digests for each copy that failed.
pub const MAX_PIECE_LENGTH: u32 = 512 << 20;

/// The most files.
pub const MAX_FILES: usize = 500_000;

/// The most components of a file's path below the torrent's own folder.
pub const MAX_PATH_DEPTH: usize = 100;

/// The longest path of a file after it was made safe, in bytes: what systems that allow 4,096
/// leave when the download folder takes a quarter.
pub const MAX_PATH_LEN: usize = 3072;

/// The longest component of a [portable](super::Names::Portable) path, in bytes; longer ones are cut. File
/// systems allow 255, and temporary names need some room.
pub const MAX_COMPONENT_LEN: usize = 240;

/// The longest component of a path [on Unix](super::Names::Unix), in bytes; longer ones are cut.
pub const MAX_UNIX_COMPONENT_LEN: usize = 255;

/// The most trackers in all tiers together; further ones are ignored.
pub const MAX_TRACKERS: usize = 512;

/// The most web seeds of a kind; further ones are ignored.
pub const MAX_WEB_SEEDS: usize = 256;

/// The most DHT nodes; further ones are ignored.
pub const MAX_NODES: usize = 128;

/// The longest URL or host name, in bytes; longer ones are ignored.
pub const MAX_URL_LEN: usize = 4096;

/// The longest comment or other text for people, in bytes of the file; the rest is cut.
pub const MAX_TEXT_LEN: usize = 16 << 10;
