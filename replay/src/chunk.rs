//! The file: a magic number, a version, and chunks that each stand for themselves.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::encode::{Start, Totals};
use crate::error::{Damage, ReadError, RecordError};
use crate::number;

/// The format that is written, and the only one that is read: an engine replays what it is told in its
/// own words.
pub const VERSION: u16 = 2;
/// Bytes of records after which a chunk is worth writing.
pub const CHUNK_LEN: usize = 128 << 10;
/// The largest chunk, unpacked: a torrent of the largest size there is, and room for what comes with it.
pub const MAX_CHUNK_LEN: usize = 80 << 20;

/// The first bytes. The first is no text, and a transfer as text changes the last two.
const MAGIC: [u8; 8] = *b"\x89ABRec\r\n";
/// Bytes of a chunk's head.
const HEAD_LEN: usize = 21;
/// The most that deflate can unpack a byte to.
const MAX_RATIO: u64 = 1032;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How the engine was made. The first, once.
    Start = 1,
    /// Records.
    Records = 2,
    /// Totals. The last, once, if the recording was ended in good order.
    End = 3,
}

/// Packs records into chunks and writes them: one call of [`Write::write_all`] each, so that what was
/// written is of use whatever happens next.
#[derive(Debug)]
pub struct ChunkWriter<W> {
    out: W,
    sequence: u32,
    packed: Vec<u8>,
    written: u64,
}

impl<W: Write> ChunkWriter<W> {
    /// Begins a recording.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn new(mut out: W, start: &Start) -> Result<Self, RecordError> {
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        out.write_all(&file)?;
        let mut this = Self {
            out,
            sequence: 0,
            packed: Vec::new(),
            written: file.len() as u64,
        };
        this.chunk(Kind::Start, &start.encode()?)?;
        this.out.flush()?;
        Ok(this)
    }

    /// Writes the records that an [`Encoder`](crate::Encoder) gave: whole ones, all of them, in order.
    ///
    /// # Errors
    ///
    /// Those of writing, after which nothing more should be written; [`RecordError::TooLarge`].
    pub fn write(&mut self, records: &[u8]) -> Result<(), RecordError> {
        if records.is_empty() {
            return Ok(());
        }
        self.chunk(Kind::Records, records)?;
        Ok(self.out.flush()?)
    }

    /// Ends the recording in good order. Nothing may be written after it.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn finish(&mut self, totals: &Totals) -> Result<(), RecordError> {
        let mut body = Vec::new();
        number::put(&mut body, totals.events);
        number::put(&mut body, totals.actions);
        body.extend(totals.hash.to_le_bytes());
        self.chunk(Kind::End, &body)?;
        Ok(self.out.flush()?)
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn chunk(&mut self, kind: Kind, body: &[u8]) -> Result<(), RecordError> {
        let too_large = || RecordError::TooLarge {
            len: body.len() as u64,
        };
        if body.len() > MAX_CHUNK_LEN {
            return Err(too_large());
        }
        self.packed.clear();
        self.packed.resize(HEAD_LEN, 0);
        let mut packer = DeflateEncoder::new(&mut self.packed, Compression::new(4));
        packer.write_all(body)?;
        packer.finish()?;
        let (head, packed) = self.packed.split_at_mut(HEAD_LEN);
        let len = |of: usize| u32::try_from(of).map_err(|_| too_large());
        head[0] = kind as u8;
        head[1..5].copy_from_slice(&self.sequence.to_le_bytes());
        head[5..9].copy_from_slice(&len(body.len())?.to_le_bytes());
        head[9..13].copy_from_slice(&len(packed.len())?.to_le_bytes());
        head[13..17].copy_from_slice(&crc32fast::hash(packed).to_le_bytes());
        let sum = crc32fast::hash(&head[..17]);
        head[17..].copy_from_slice(&sum.to_le_bytes());
        self.out.write_all(&self.packed)?;
        self.written += self.packed.len() as u64;
        self.sequence = self.sequence.wrapping_add(1);
        // One large torrent must not cost its size for ever.
        self.packed.shrink_to(2 * CHUNK_LEN);
        Ok(())
    }
}

/// Reads chunks.
#[derive(Debug)]
pub(crate) struct ChunkReader<R> {
    from: R,
    sequence: u32,
    offset: u64,
}

impl<R: Read> ChunkReader<R> {
    /// Looks whether it is a recording at all.
    pub(crate) fn new(mut from: R) -> Result<Self, ReadError> {
        let mut head = Vec::with_capacity(MAGIC.len() + 2);
        let wanted = MAGIC.len() as u64 + 2;
        (&mut from).take(wanted).read_to_end(&mut head)?;
        let (magic, version) = head.split_at(head.len().min(MAGIC.len()));
        if magic.is_empty() || !MAGIC.starts_with(magic) {
            return Err(ReadError::Foreign);
        }
        let &[low, high] = version else {
            return Err(ReadError::NoStart);
        };
        match u16::from_le_bytes([low, high]) {
            VERSION => Ok(Self {
                from,
                sequence: 0,
                offset: wanted,
            }),
            0 => Err(ReadError::Foreign),
            version if version < VERSION => Err(ReadError::Older {
                version,
                known: VERSION,
            }),
            version => Err(ReadError::Newer {
                version,
                known: VERSION,
            }),
        }
    }

    /// Where in the file the next chunk begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next chunk, unpacked; none where the file ends, be it within a chunk.
    ///
    /// Memory grows with what is really there, to [`MAX_CHUNK_LEN`] at most.
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, ReadError> {
        let Some(head) = self.take(HEAD_LEN as u64)? else {
            return Ok(None);
        };
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            u32::from_le_bytes(bytes)
        };
        let damaged = |damage| ReadError::Damaged {
            offset: self.offset,
            damage,
        };
        if crc32fast::hash(&head[..17]) != number(17) {
            return Err(damaged(Damage::Head));
        }
        let kind = match head[0] {
            1 => Kind::Start,
            2 => Kind::Records,
            3 => Kind::End,
            _ => return Err(damaged(Damage::Order)),
        };
        if number(1) != self.sequence {
            return Err(damaged(Damage::Order));
        }
        let (len, packed_len) = (u64::from(number(5)), u64::from(number(9)));
        if len > MAX_CHUNK_LEN as u64 || len > packed_len * MAX_RATIO {
            return Err(damaged(Damage::Size));
        }
        let Some(packed) = self.take(packed_len)? else {
            return Ok(None);
        };
        let damaged = |damage| ReadError::Damaged {
            offset: self.offset,
            damage,
        };
        if crc32fast::hash(&packed) != number(13) {
            return Err(damaged(Damage::Checksum));
        }
        let mut body = Vec::new();
        let unpacked = DeflateDecoder::new(&packed[..])
            .take(len + 1)
            .read_to_end(&mut body);
        if unpacked.ok() != usize::try_from(len).ok() {
            return Err(damaged(Damage::Packing));
        }
        self.offset += HEAD_LEN as u64 + packed_len;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some((kind, body)))
    }

    /// Whether nothing follows.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.take(1)?.is_none())
    }

    /// So many bytes, or none if there are fewer.
    fn take(&mut self, len: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        (&mut self.from).take(len).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 == len).then_some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn file() -> Vec<u8> {
        let mut writer = ChunkWriter::new(Vec::new(), &testing::start()).unwrap();
        writer.write(&[5; 300_000]).unwrap();
        writer.write(b"abc").unwrap();
        writer.finish(&Totals::default()).unwrap();
        let written = writer.written();
        assert_eq!(written, writer.out.len() as u64);
        writer.into_inner()
    }

    fn kinds(file: &[u8]) -> Result<Vec<Kind>, ReadError> {
        let mut reader = ChunkReader::new(file)?;
        let mut kinds = Vec::new();
        while let Some((kind, _)) = reader.next()? {
            kinds.push(kind);
        }
        assert!(reader.offset() <= file.len() as u64);
        Ok(kinds)
    }

    #[test]
    fn chunks_come_back() {
        let file = file();
        assert!(file.len() < 2_000, "{}", file.len());
        let mut reader = ChunkReader::new(&file[..]).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().0, Kind::Start);
        let records = (Kind::Records, vec![5; 300_000]);
        assert_eq!(reader.next().unwrap(), Some(records));
        assert_eq!(
            reader.next().unwrap(),
            Some((Kind::Records, b"abc".to_vec()))
        );
        assert_eq!(reader.next().unwrap().unwrap().0, Kind::End);
        assert_eq!(reader.next().unwrap(), None);
        assert!(reader.is_at_end().unwrap());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let file = file();
        for bit in 0..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(kinds(&file).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_as_good_as_its_whole_chunks() {
        let file = file();
        let mut most = 0;
        for len in 1..file.len() {
            match kinds(&file[..len]) {
                Ok(kinds) => {
                    assert!(len >= 10 && kinds.len() >= most && kinds.len() < 4);
                    most = kinds.len();
                }
                Err(error) => assert!(len < 10 && matches!(error, ReadError::NoStart), "{error}"),
            }
        }
        assert_eq!(most, 3);
    }

    #[test]
    fn other_files_and_other_versions_are_told_apart() {
        for other in [
            b"".as_slice(),
            b"d8:announce",
            &[0x89, b'P', b'N', b'G'],
            &[0; 100],
        ] {
            assert!(matches!(kinds(other), Err(ReadError::Foreign)));
        }
        let mut file = file();
        file[8] = 1;
        let error = kinds(&file).unwrap_err();
        assert!(
            matches!(error, ReadError::Older { version: 1, .. }),
            "{error}"
        );
        file[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let error = kinds(&file).unwrap_err();
        assert!(
            matches!(error, ReadError::Newer { version, .. } if version == VERSION + 1),
            "{error}"
        );
    }

    #[test]
    fn chunks_that_lie_about_their_size_are_refused() {
        let mut file = file();
        let at = file.len() - 30;
        // The head of the first chunk, with the size that it claims for what it unpacks to.
        let head = &mut file[10..31];
        head[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        let sum = crc32fast::hash(&head[..17]);
        head[17..].copy_from_slice(&sum.to_le_bytes());
        let error = kinds(&file[..at]).unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::Damaged {
                    damage: Damage::Size,
                    offset: 10
                }
            ),
            "{error}"
        );
    }
}
