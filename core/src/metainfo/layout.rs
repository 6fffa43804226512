//! Where pieces and files lie within each other (BEP 3): the files of a torrent, one after the
//! other, cut into pieces of equal length.

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::{FileKind, Metainfo};
use crate::limits::BLOCK_LEN;

/// A piece of a torrent, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PieceIndex(u32);

/// A file of a torrent, counted from 0 in the order of the torrent, pad files and symlinks
/// included.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FileIndex(u32);

macro_rules! index {
    ($index:ident) => {
        impl $index {
            /// The index with this number.
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The number, to index with.
            #[must_use]
            pub const fn as_usize(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $index {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(PieceIndex);
index!(FileIndex);

/// The geometry of a torrent: which part of which file a part of a piece is.
///
/// Needs nine bytes a file. Nothing in it is ever out of range: what is asked of pieces, blocks
/// or files that do not exist is answered with `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    piece_length: u32,
    piece_count: u32,
    total_length: u64,
    /// Where each file ends in the torrent, which never decreases.
    ends: Vec<u64>,
    kinds: Vec<FileKind>,
}

/// A part of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpan {
    /// Which file.
    pub file: FileIndex,
    /// What kind of file: the data of a pad file is all zeros, and is neither written nor read.
    pub kind: FileKind,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// Which bytes of what was asked for it is. Never empty; consecutive spans adjoin.
    pub range: Range<u32>,
}

impl Layout {
    /// The layout of a torrent.
    #[must_use]
    pub fn new(metainfo: &Metainfo) -> Self {
        let files = metainfo.files();
        Self {
            piece_length: metainfo.piece_length(),
            piece_count: metainfo.piece_count(),
            total_length: metainfo.total_length(),
            ends: files
                .iter()
                .map(|file| file.offset() + file.length())
                .collect(),
            kinds: files.iter().map(|file| file.kind()).collect(),
        }
    }

    /// How many pieces there are.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// How many files there are.
    #[must_use]
    pub fn file_count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The length of all pieces but the last, in bytes.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The length of all files together, in bytes.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// The length of this piece in bytes; the last one is shorter where the data ends.
    #[must_use]
    pub fn piece_size(&self, piece: PieceIndex) -> Option<u32> {
        piece_size(
            piece,
            self.piece_count,
            self.piece_length,
            self.total_length,
        )
    }

    /// How many blocks of [`BLOCK_LEN`] this piece has; the last one may be shorter.
    #[must_use]
    pub fn block_count(&self, piece: PieceIndex) -> Option<u32> {
        self.piece_size(piece).map(|size| size.div_ceil(BLOCK_LEN))
    }

    /// The length of the block of this piece with this number, in bytes.
    #[must_use]
    pub fn block_size(&self, piece: PieceIndex, block: u32) -> Option<u32> {
        let begin = block.checked_mul(BLOCK_LEN)?;
        let left = self.piece_size(piece)?.checked_sub(begin)?;
        (left > 0).then_some(left.min(BLOCK_LEN))
    }

    /// Where this piece starts in the torrent, in bytes.
    #[must_use]
    pub fn piece_offset(&self, piece: PieceIndex) -> Option<u64> {
        (piece.0 < self.piece_count).then(|| u64::from(piece.0) * u64::from(self.piece_length))
    }

    /// The parts of files that the `len` bytes from `begin` of a piece consist of, in order.
    ///
    /// `None` if some of them are not within the piece. Files without data never appear. Each step
    /// takes time logarithmic in the number of files.
    #[must_use]
    pub fn spans(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u32,
    ) -> Option<impl Iterator<Item = FileSpan> + use<'_>> {
        let end = begin.checked_add(len)?;
        if end > self.piece_size(piece)? {
            return None;
        }
        Some(Spans {
            layout: self,
            next_file: 0,
            start: self.piece_offset(piece)? + u64::from(begin),
            done: 0,
            len,
        })
    }

    /// The pieces that have data of this file: none for a file without data.
    #[must_use]
    pub fn pieces_of_file(&self, file: FileIndex) -> Option<Range<u32>> {
        let span = self.file_range(file)?;
        let piece_length = u64::from(self.piece_length);
        let first = span.start / piece_length;
        let end = if span.is_empty() {
            first
        } else {
            span.end.div_ceil(piece_length)
        };
        // At most the number of pieces, which is a u32.
        Some(first as u32..end as u32)
    }

    /// Which bytes of the torrent this file is.
    #[must_use]
    pub fn file_range(&self, file: FileIndex) -> Option<Range<u64>> {
        let end = *self.ends.get(file.as_usize())?;
        let start = match file.as_usize().checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some(start..end)
    }

    /// What kind of file this is.
    #[must_use]
    pub fn file_kind(&self, file: FileIndex) -> Option<FileKind> {
        self.kinds.get(file.as_usize()).copied()
    }
}

pub(super) fn piece_size(
    piece: PieceIndex,
    piece_count: u32,
    piece_length: u32,
    total_length: u64,
) -> Option<u32> {
    if piece.0 >= piece_count {
        return None;
    }
    let start = u64::from(piece.0) * u64::from(piece_length);
    let left = total_length.checked_sub(start)?;
    Some(u32::try_from(left).map_or(piece_length, |left| left.min(piece_length)))
}

#[derive(Clone, Debug)]
struct Spans<'a> {
    layout: &'a Layout,
    /// No file before this one has any of what is left.
    next_file: usize,
    /// Where the first byte of the request is in the torrent.
    start: u64,
    done: u32,
    len: u32,
}

impl Iterator for Spans<'_> {
    type Item = FileSpan;

    fn next(&mut self) -> Option<FileSpan> {
        if self.done == self.len {
            return None;
        }
        let pos = self.start + u64::from(self.done);
        let rest = self.layout.ends.get(self.next_file..)?;
        let index = self.next_file + rest.partition_point(|&end| end <= pos);
        let file = FileIndex(u32::try_from(index).ok()?);
        let file_range = self.layout.file_range(file)?;
        let left_of_file = file_range.end - pos;
        let left = self.len - self.done;
        let len = u32::try_from(left_of_file).map_or(left, |file| file.min(left));
        let range = self.done..self.done + len;
        self.next_file = index;
        self.done += len;
        Some(FileSpan {
            file,
            kind: self.layout.file_kind(file)?,
            offset: pos - file_range.start,
            range,
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use quickcheck::quickcheck;

    use super::*;

    fn layout(piece_length: u32, lengths: &[u64]) -> Layout {
        let ends: Vec<u64> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .collect();
        let total_length = ends.last().copied().unwrap_or(0);
        Layout {
            piece_length,
            piece_count: total_length.div_ceil(u64::from(piece_length)) as u32,
            total_length,
            kinds: vec![FileKind::Data; ends.len()],
            ends,
        }
    }

    fn spans(layout: &Layout, piece: u32, begin: u32, len: u32) -> Vec<(u32, u64, Range<u32>)> {
        layout
            .spans(PieceIndex(piece), begin, len)
            .unwrap()
            .map(|span| (span.file.get(), span.offset, span.range))
            .collect()
    }

    #[test]
    fn a_request_over_several_files_is_split_and_skips_empty_ones() {
        let layout = layout(100, &[0, 30, 0, 0, 50, 200, 0]);
        assert_eq!(
            spans(&layout, 0, 10, 90),
            [(1, 10, 0..20), (4, 0, 20..70), (5, 0, 70..90)]
        );
        assert_eq!(spans(&layout, 1, 0, 100), [(5, 20, 0..100)]);
        assert_eq!(spans(&layout, 2, 79, 1), [(5, 199, 0..1)]);
        assert_eq!(spans(&layout, 0, 50, 0), []);
    }

    #[test]
    fn what_is_out_of_range_has_no_spans() {
        let layout = layout(100, &[250]);
        for (piece, begin, len) in [
            (0, 0, 101),
            (0, 100, 1),
            (2, 0, 51),
            (2, 51, 0),
            (3, 0, 0),
            (0, u32::MAX, 1),
            (0, 1, u32::MAX),
            (u32::MAX, 0, 1),
        ] {
            assert!(layout.spans(PieceIndex(piece), begin, len).is_none());
        }
    }

    #[test]
    fn the_last_piece_and_block_are_shorter() {
        let total = 2 * 40_000 + 16_385;
        let layout = layout(40_000, &[total]);
        let sizes: Vec<_> = (0..4).map(|i| layout.piece_size(PieceIndex(i))).collect();
        assert_eq!(sizes, [Some(40_000), Some(40_000), Some(16_385), None]);
        assert_eq!(layout.block_count(PieceIndex(0)), Some(3));
        assert_eq!(layout.block_size(PieceIndex(0), 2), Some(40_000 - 32_768));
        assert_eq!(layout.block_size(PieceIndex(0), 3), None);
        assert_eq!(layout.block_count(PieceIndex(2)), Some(2));
        assert_eq!(layout.block_size(PieceIndex(2), 1), Some(1));
        assert_eq!(layout.block_size(PieceIndex(2), u32::MAX), None);
        assert_eq!(layout.piece_offset(PieceIndex(2)), Some(80_000));
        assert_eq!(layout.piece_offset(PieceIndex(3)), None);
    }

    #[test]
    fn whole_last_pieces_are_not_cut() {
        let layout = layout(100, &[200]);
        assert_eq!(layout.piece_count(), 2);
        assert_eq!(layout.piece_size(PieceIndex(1)), Some(100));
    }

    #[test]
    fn pieces_of_files_touch_at_both_ends() {
        let layout = layout(100, &[50, 50, 1, 0, 299, 0]);
        let pieces: Vec<_> = (0..7)
            .map(|file| layout.pieces_of_file(FileIndex(file)))
            .collect();
        assert_eq!(
            pieces,
            [
                Some(0..1),
                Some(0..1),
                Some(1..2),
                Some(1..1),
                Some(1..4),
                Some(4..4),
                None
            ]
        );
    }

    #[test]
    fn data_without_a_byte_has_no_pieces() {
        let layout = layout(100, &[0, 0]);
        assert_eq!(layout.piece_count(), 0);
        assert_eq!(layout.piece_size(PieceIndex(0)), None);
        assert_eq!(layout.pieces_of_file(FileIndex(1)), Some(0..0));
    }

    #[test]
    fn files_beyond_four_gib_keep_their_offsets() {
        let layout = layout(1 << 28, &[5 << 32, 10]);
        let last = (5_u64 << 32 >> 28) as u32;
        assert_eq!(spans(&layout, last, 0, 10), [(1, 0, 0..10)]);
        assert_eq!(
            spans(&layout, last - 1, 0, 1 << 28),
            [(0, (5 << 32) - (1 << 28), 0..1 << 28)]
        );
    }

    quickcheck! {
        fn spans_tile_every_piece_and_every_file(piece_length: u8, lengths: Vec<u16>) -> bool {
            let lengths: Vec<u64> = lengths.iter().map(|length| u64::from(length % 700)).collect();
            let layout = layout(u32::from(piece_length) + 1, &lengths);
            let mut filled = vec![0; lengths.len()];
            for piece in (0..layout.piece_count()).map(PieceIndex) {
                let size = layout.piece_size(piece).unwrap();
                let mut done = 0;
                for span in layout.spans(piece, 0, size).unwrap() {
                    let file = span.file.as_usize();
                    let pieces = layout.pieces_of_file(span.file).unwrap();
                    if span.range.start != done
                        || span.range.is_empty()
                        || span.offset != filled[file]
                        || !pieces.contains(&piece.get())
                    {
                        return false;
                    }
                    done = span.range.end;
                    filled[file] += u64::from(span.range.end - span.range.start);
                }
                if done != size {
                    return false;
                }
            }
            filled == lengths
        }

        fn a_part_of_a_piece_has_the_spans_of_its_bytes(
            piece_length: u8,
            lengths: Vec<u8>,
            piece: u32,
            begin: u32,
            len: u32
        ) -> bool {
            let lengths: Vec<u64> = lengths.iter().map(|length| u64::from(length % 40)).collect();
            let layout = layout(u32::from(piece_length) + 1, &lengths);
            if layout.piece_count() == 0 {
                return true;
            }
            let piece = piece % layout.piece_count();
            let size = layout.piece_size(PieceIndex(piece)).unwrap();
            let begin = begin % size;
            let len = len % (size - begin + 1);
            let whole = spans(&layout, piece, begin, len);
            let bytes = (begin..begin + len).flat_map(|at| spans(&layout, piece, at, 1));
            let expected = whole.into_iter().flat_map(|(file, offset, range)| {
                range.enumerate().map(move |(i, _)| (file, offset + i as u64, 0..1))
            });
            bytes.eq(expected)
        }
    }
}
