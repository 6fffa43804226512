//! BEP 3: blocks, the unit in which pieces travel; their payload as slices of the bytes that were
//! read.

use alloc::vec::{self, Vec};
use core::{array, fmt, mem};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Chunks of one block that are kept apart. A sender that dribbles has its block copied together
/// past this, so that tiny reads do not pin many buffers.
pub const MAX_CHUNKS: usize = 16;

/// Names a block: `request`, `cancel`, `reject` and `piece` messages all speak of one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct BlockRequest {
    /// The piece's index.
    pub piece: u32,
    /// Offset of the block in its piece, in bytes.
    pub begin: u32,
    /// Length in bytes.
    pub len: u32,
}

impl BlockRequest {
    /// The offset behind the block's last byte, in its piece.
    #[must_use]
    pub fn end(&self) -> u64 {
        u64::from(self.begin) + u64::from(self.len)
    }
}

/// The payload of a block: one or more slices of the buffers it was read into, never copied unless
/// it came in more than [`MAX_CHUNKS`] parts. One or two chunks, the common case, need no
/// allocation. Cloning copies references.
///
/// Equality is that of the content, however it is cut up. Serialised as one byte string.
#[derive(Clone, Default)]
pub struct BlockData(Chunks);

#[derive(Clone, Default)]
enum Chunks {
    #[default]
    Empty,
    One([Bytes; 1]),
    Two([Bytes; 2]),
    Many(Vec<Bytes>),
}

impl BlockData {
    /// Appends a chunk without copying it.
    fn push(&mut self, chunk: Bytes) {
        self.0 = match mem::take(&mut self.0) {
            Chunks::Empty => Chunks::One([chunk]),
            Chunks::One([first]) => Chunks::Two([first, chunk]),
            Chunks::Two([first, second]) => {
                let mut chunks = Vec::with_capacity(4);
                chunks.extend([first, second, chunk]);
                Chunks::Many(chunks)
            }
            Chunks::Many(mut chunks) => {
                chunks.push(chunk);
                Chunks::Many(chunks)
            }
        };
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks().is_empty()
    }

    /// The payload in order, cut as it arrived; at most [`MAX_CHUNKS`], none of them empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Chunks::Empty => &[],
            Chunks::One(chunks) => chunks,
            Chunks::Two(chunks) => chunks,
            Chunks::Many(chunks) => chunks,
        }
    }

    /// The payload in one piece: for free where it is one chunk already, else by one copy.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks() {
            [] => Bytes::new(),
            [only] => only.clone(),
            chunks => join(chunks, self.len()).freeze(),
        }
    }
}

impl From<Bytes> for BlockData {
    fn from(bytes: Bytes) -> Self {
        let mut data = Self::default();
        if !bytes.is_empty() {
            data.push(bytes);
        }
        data
    }
}

impl IntoIterator for BlockData {
    type Item = Bytes;
    type IntoIter = IntoChunks;

    fn into_iter(self) -> IntoChunks {
        IntoChunks(match self.0 {
            Chunks::Empty => Inner::Many(Vec::new().into_iter()),
            Chunks::One(chunks) => Inner::One(chunks.into_iter()),
            Chunks::Two(chunks) => Inner::Two(chunks.into_iter()),
            Chunks::Many(chunks) => Inner::Many(chunks.into_iter()),
        })
    }
}

impl<'a> IntoIterator for &'a BlockData {
    type Item = &'a Bytes;
    type IntoIter = core::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks().iter()
    }
}

/// The chunks of a block, owned.
#[derive(Debug)]
pub struct IntoChunks(Inner);

#[derive(Debug)]
enum Inner {
    One(array::IntoIter<Bytes, 1>),
    Two(array::IntoIter<Bytes, 2>),
    Many(vec::IntoIter<Bytes>),
}

impl Iterator for IntoChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Inner::One(chunks) => chunks.next(),
            Inner::Two(chunks) => chunks.next(),
            Inner::Many(chunks) => chunks.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::One(chunks) => chunks.size_hint(),
            Inner::Two(chunks) => chunks.size_hint(),
            Inner::Many(chunks) => chunks.size_hint(),
        }
    }
}

impl ExactSizeIterator for IntoChunks {}

impl PartialEq for BlockData {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let mut theirs = other.chunks().iter().map(|chunk| &chunk[..]);
        let mut right: &[u8] = &[];
        for chunk in self.chunks() {
            let mut left = &chunk[..];
            while !left.is_empty() {
                if right.is_empty() {
                    // Both have the same length, so there is more on the right while there is on
                    // the left.
                    right = theirs.next().unwrap_or_default();
                }
                let common = left.len().min(right.len());
                let (left_part, left_rest) = left.split_at(common);
                let (right_part, right_rest) = right.split_at(common);
                if left_part != right_part {
                    return false;
                }
                (left, right) = (left_rest, right_rest);
            }
        }
        true
    }
}

impl Eq for BlockData {}

impl fmt::Debug for BlockData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockData")
            .field("len", &self.len())
            .field("chunks", &self.chunks().len())
            .finish()
    }
}

impl Serialize for BlockData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BlockData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::from)
    }
}

/// A block while it arrives.
#[derive(Debug)]
pub(super) enum BlockBuilder {
    Chunks(BlockData),
    /// It came in too many parts. Grows by doubling with what has arrived, so a promise costs
    /// nothing.
    Joined(BytesMut),
}

impl BlockBuilder {
    pub(super) fn new() -> Self {
        Self::Chunks(BlockData::default())
    }

    /// Appends what was read next, not empty.
    pub(super) fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Chunks(data) if data.chunks().len() < MAX_CHUNKS => data.push(chunk),
            Self::Chunks(data) => {
                let mut joined = join(data.chunks(), 2 * data.len() + chunk.len());
                joined.extend_from_slice(&chunk);
                *self = Self::Joined(joined);
            }
            Self::Joined(joined) => joined.extend_from_slice(&chunk),
        }
    }

    pub(super) fn finish(self) -> BlockData {
        match self {
            Self::Chunks(data) => data,
            Self::Joined(joined) => BlockData::from(joined.freeze()),
        }
    }
}

fn join(chunks: &[Bytes], capacity: usize) -> BytesMut {
    let mut joined = BytesMut::with_capacity(capacity);
    for chunk in chunks {
        joined.extend_from_slice(chunk);
    }
    joined
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use quickcheck::quickcheck;

    use super::*;

    fn built(parts: &[&[u8]]) -> BlockData {
        let mut builder = BlockBuilder::new();
        for part in parts {
            builder.push(Bytes::copy_from_slice(part));
        }
        builder.finish()
    }

    #[test]
    fn chunks_are_the_very_bytes_that_were_pushed() {
        let read = Bytes::from(vec![7; 100]);
        for parts in 1..=MAX_CHUNKS {
            let mut builder = BlockBuilder::new();
            for part in 0..parts {
                builder.push(read.slice(part..=part));
            }
            let data = builder.finish();
            assert_eq!(data.chunks().len(), parts);
            for (at, chunk) in data.into_iter().enumerate() {
                assert_eq!(chunk.as_ptr(), read[at..].as_ptr());
            }
        }
    }

    #[test]
    fn a_dribbled_block_becomes_one_chunk() {
        let bytes: Vec<u8> = (0..=MAX_CHUNKS as u8).collect();
        let data = built(&bytes.chunks(1).collect::<Vec<_>>());
        assert_eq!(data.chunks(), [Bytes::from(bytes)]);
    }

    #[test]
    fn an_empty_block_has_no_chunk() {
        let data = BlockData::from(Bytes::new());
        assert!(data.is_empty());
        assert_eq!(data.chunks().len(), 0);
        assert_eq!(data.to_bytes(), Bytes::new());
        assert_eq!(data.into_iter().count(), 0);
    }

    #[test]
    fn a_block_stays_small() {
        assert!(size_of::<BlockData>() <= 72);
    }

    #[test]
    fn serialised_as_one_byte_string() {
        let data = built(&[b"ab", b"c"]);
        let text = bt_bencode::to_vec(&data).unwrap();
        assert_eq!(text, b"3:abc");
        let back: BlockData = bt_bencode::from_slice(&text).unwrap();
        assert_eq!(back, data);
    }

    quickcheck! {
        fn equality_is_that_of_the_content(left: Vec<Vec<u8>>, right: Vec<Vec<u8>>) -> bool {
            fn parts(of: &[Vec<u8>]) -> Vec<&[u8]> {
                of.iter().map(|part| &part[..]).filter(|part| !part.is_empty()).collect()
            }
            let same = left.concat() == right.concat();
            let (a, b) = (built(&parts(&left)), built(&parts(&right)));
            (a == b) == same && a == BlockData::from(a.to_bytes()) && a.len() == left.concat().len()
        }

        fn a_changed_byte_is_seen(bytes: Vec<u8>, at: usize, cut: usize) -> bool {
            if bytes.is_empty() {
                return true;
            }
            let mut changed = bytes.clone();
            changed[at % bytes.len()] ^= 1;
            let (head, tail) = changed.split_at(cut % bytes.len());
            let changed = if head.is_empty() { built(&[tail]) } else { built(&[head, tail]) };
            changed != BlockData::from(Bytes::from(bytes))
        }
    }
}
