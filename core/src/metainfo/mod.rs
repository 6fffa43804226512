//! Torrent files: BEP 3, with the fields of BEP 5, 12, 17, 19, 27 and 47; magnet links: BEP 9, 53.
//!
//! [`Metainfo`] is a torrent that was read and found sound; [`Layout`] tells where its pieces and
//! files lie within each other; [`Creator`] makes a torrent of one's own. What is accepted is
//! bounded by [`limits`].

mod create;
mod error;
mod fetched;
mod fields;
mod info_hash;
mod layout;
pub mod limits;
pub mod magnet;
mod names;
mod oddity;
mod path;
mod torrent;

pub use create::{
    CreateError, Creation, Creator, MAX_AUTOMATIC_PIECE_LENGTH, MIN_AUTOMATIC_PIECE_LENGTH,
    SourceFile, automatic_piece_length, compare_paths,
};
pub use error::{EntryFault, MetainfoError};
pub use fetched::torrent_file;
pub use info_hash::{InfoHash, ParseInfoHashError};
pub use layout::{FileIndex, FileSpan, Layout, PieceIndex};
pub use magnet::{Magnet, ParseMagnetError};
pub(crate) use names::placeholder_name;
pub use oddity::{OddFiles, Oddity};
pub use path::{Names, SafePath, UnsafePathError};
pub use torrent::{File, FileKind, Metainfo, Node};
