//! Resume data: what is known of a torrent's files from one run to the next, in one small file.
//!
//! The file is a bencoded dictionary: a format version, the state (bencoded once more) and its SHA-1.
//! What is not whole, not of this version or not of this torrent counts as nothing at all.

use std::io::{self, IoSlice, Read};

use anabranch_core::Bitfield;
use anabranch_core::bencode::{self, Limits};
use anabranch_core::event::{DiskErrorKind, PartialPiece};
use anabranch_core::limits::{BLOCK_LEN, MAX_PARTIAL_BLOCKS, MAX_PARTIAL_PIECES};
use anabranch_core::metainfo::limits::MAX_TORRENT_LEN;
use anabranch_core::metainfo::{InfoHash, Metainfo, PieceIndex};
use anabranch_hash::Sha1;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::platform::{self, Access, Dir, Stat};

const VERSION: u32 = 1;

/// What all but the maps and the files takes at most, in bytes.
const OVERHEAD: usize = 1024;

/// A record is flat. The folder that it lies in may be anybody's, and so may the record be.
const LIMITS: Limits = Limits {
    depth: 16,
    tokens: 1000,
    leading_zeros: true,
};

/// How the file begins, whatever its version: with the first key of the dictionary.
const FIRST_BYTES: &[u8] = b"d4:sha1";

/// Names that are tried for a file that is set aside.
const MAX_ASIDE: u32 = 100;
/// Bytes of a piece's number.
const PIECE_LEN: usize = 4;

/// Bytes of a stamp.
const STAMP_LEN: usize = 16;

/// What a file looked like. If it still does, nobody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its length in bytes.
    pub(super) size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub(super) mtime: i64,
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
        }
    }
}

/// The state of a torrent at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    /// Pieces that are on the disk.
    pub(super) have: Bitfield,
    /// What is on the disk of other pieces; ascending.
    pub(super) partial: Vec<PartialPiece>,
    /// One entry a file: what it looked like, or `None` where its bytes were kept aside.
    pub(super) files: Vec<Option<Stamp>>,
    /// The file of what is kept aside, if there was one.
    pub(super) parts: Option<Stamp>,
    /// One entry a file.
    pub(super) wanted: Vec<bool>,
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    sha1: Bytes,
    state: Bytes,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    downloaded: u64,
    /// [`STAMP_LEN`] bytes a file.
    files: Bytes,
    have: Bytes,
    info_hash: Bytes,
    /// For each incomplete piece its number, as four bytes, and the map of its blocks.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    partial: Bytes,
    parts: Bytes,
    uploaded: u64,
    wanted: Bytes,
}

impl Resume {
    /// The state as bytes for [`save`]. Equal states have equal bytes.
    pub(super) fn encode(&self, info_hash: InfoHash) -> io::Result<Vec<u8>> {
        let mut files = Vec::with_capacity(self.files.len() * STAMP_LEN);
        for stamp in &self.files {
            encode_stamp(*stamp, &mut files);
        }
        let mut parts = Vec::new();
        encode_stamp(self.parts, &mut parts);
        let mut partial = Vec::new();
        for map in &self.partial {
            partial.extend(map.piece.get().to_be_bytes());
            partial.extend(map.blocks.to_wire());
        }
        let mut wanted = Bitfield::new(self.wanted.len() as u32);
        for (index, _) in (0..).zip(&self.wanted).filter(|(_, wanted)| **wanted) {
            wanted.insert(index);
        }
        let state = State {
            downloaded: self.downloaded,
            files: files.into(),
            have: self.have.to_wire(),
            info_hash: Bytes::copy_from_slice(info_hash.as_bytes()),
            partial: partial.into(),
            parts: parts.into(),
            uploaded: self.uploaded,
            wanted: wanted.to_wire(),
        };
        let state = bt_bencode::to_vec(&state).map_err(io::Error::other)?;
        bt_bencode::to_vec(&Envelope {
            sha1: Bytes::copy_from_slice(&Sha1::digest(&state)),
            state: state.into(),
            version: VERSION,
        })
        .map_err(io::Error::other)
    }

    /// Reads the bytes of [`encode`](Self::encode); `None` unless all of them are sound.
    fn decode(bytes: &[u8], metainfo: &Metainfo) -> Option<Self> {
        let envelope: Envelope = bencode::decode(bytes, LIMITS)?;
        if envelope.version != VERSION || envelope.sha1[..] != Sha1::digest(&envelope.state)[..] {
            return None;
        }
        let state: State = bencode::decode(&envelope.state, LIMITS)?;
        let file_count = metainfo.files().len();
        if state.info_hash != metainfo.info_hash().as_bytes()[..]
            || state.files.len() != file_count.checked_mul(STAMP_LEN)?
        {
            return None;
        }
        let wanted = map_of(&state.wanted, file_count as u32)?;
        let (stamps, _) = state.files.as_chunks();
        let parts = <[u8; STAMP_LEN]>::try_from(&state.parts[..]).ok()?;
        Some(Self {
            have: map_of(&state.have, metainfo.piece_count())?,
            partial: decode_partial(&state.partial, metainfo)?,
            files: stamps.iter().map(decode_stamp).collect(),
            parts: decode_stamp(&parts),
            wanted: (0..file_count as u32)
                .map(|file| wanted.contains(file))
                .collect(),
            uploaded: state.uploaded,
            downloaded: state.downloaded,
        })
    }
}

/// The name of a torrent's resume data in its folder.
pub(super) fn resume_name(info_hash: InfoHash) -> String {
    format!("{info_hash}.resume")
}

/// The name of what is kept aside of files that are not wanted.
pub(super) fn parts_name(info_hash: InfoHash) -> String {
    format!("{info_hash}.parts")
}

/// The name of a torrent file that was fetched from peers.
fn metainfo_name(info_hash: InfoHash) -> String {
    format!("{info_hash}.torrent")
}

/// Where something is before it is whole.
fn temporary_name(name: &str) -> String {
    format!("{name}.new")
}

/// Reads the resume data of a torrent. `None` if there is none that is worth anything: the files then
/// speak for themselves.
pub(super) fn load(folder: &Dir, metainfo: &Metainfo) -> Option<Resume> {
    let file = folder
        .open_file(&resume_name(metainfo.info_hash()), Access::Read)
        .ok()?;
    let files = metainfo.files().len();
    let maps = (metainfo.piece_count() as usize + files) / 8;
    let blocks = MAX_PARTIAL_BLOCKS.max(metainfo.piece_length().div_ceil(BLOCK_LEN) as usize);
    let partial = MAX_PARTIAL_PIECES * (PIECE_LEN + 1) + blocks / 8;
    let limit = OVERHEAD + maps + files * STAMP_LEN + partial;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() > limit {
        return None;
    }
    Resume::decode(&bytes, metainfo)
}

/// A map as it was written: of so many bits, and with no other set.
fn map_of(bytes: &[u8], len: u32) -> Option<Bitfield> {
    let map = Bitfield::from_wire(bytes, len).ok()?;
    (map.to_wire() == bytes).then_some(map)
}

/// Replaces the resume data of a torrent: whatever happens, either the old or the new is there.
pub(super) fn save(folder: &Dir, info_hash: InfoHash, bytes: &[u8]) -> io::Result<()> {
    let name = resume_name(info_hash);
    // Other programs have files of such names, too, and the folder may be one that they share.
    make_way(folder, &name, |first| first.starts_with(FIRST_BYTES))?;
    replace(folder, &name, bytes)
}

/// Keeps a torrent file that was fetched from peers, as [`save`] keeps resume data.
pub(super) fn save_metainfo(folder: &Dir, metainfo: &Metainfo) -> io::Result<()> {
    let name = metainfo_name(metainfo.info_hash());
    // One that is sound would not have been fetched.
    make_way(folder, &name, |_| false)?;
    replace(folder, &name, &metainfo.torrent_file())
}

/// Gives another name to what is there and is not ours by its first bytes: its own with a number behind it. What is
/// empty is nobody's loss.
fn make_way(folder: &Dir, name: &str, is_ours: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut first = Vec::new();
    let read = folder
        .open_file(name, Access::Read)
        .and_then(|file| file.take(FIRST_BYTES.len() as u64).read_to_end(&mut first));
    match read {
        Ok(_) if first.is_empty() || is_ours(&first) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(_) | Err(_) => {}
    }
    for number in 1..=MAX_ASIDE {
        let aside = format!("{name}.{number}");
        if folder.stat(&aside)?.is_none() {
            return folder.rename(name, &aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The torrent file that was kept; `None` if there is none that is sound.
pub(super) fn load_metainfo(folder: &Dir, info_hash: InfoHash) -> Option<Bytes> {
    let file = folder
        .open_file(&metainfo_name(info_hash), Access::Read)
        .ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_TORRENT_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    let bytes = Bytes::from(bytes);
    let metainfo = Metainfo::parse(bytes.clone()).ok()?;
    (metainfo.info_hash() == info_hash).then_some(bytes)
}

fn replace(folder: &Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(name);
    // A leftover of a crash is overwritten: it begins as what is written now, as far as it goes.
    make_way(folder, &temporary, |first| bytes.starts_with(first))?;
    let file = folder.open_file(&temporary, Access::Create)?;
    file.set_len(0)?;
    platform::write_all_at(&file, &mut [IoSlice::new(bytes)], 0)?;
    file.sync_all()?;
    folder.rename(&temporary, name)?;
    folder.sync()
}

/// Removes all that [`save`] and [`save_metainfo`] make. What others have put under their names stays.
pub(super) fn forget(folder: &Dir, info_hash: InfoHash) -> io::Result<()> {
    let name = resume_name(info_hash);
    for name in [temporary_name(&name), name] {
        // Nothing else begins so, and a crash may have left less than that.
        let is_ours = begins(folder, &name)?.is_some_and(|first| FIRST_BYTES.starts_with(&first));
        if is_ours {
            remove_if_there(folder, &name)?;
        }
    }
    let name = metainfo_name(info_hash);
    let is_ours = |bytes: Bytes| {
        // Others keep more in such a file than there is to be had from peers.
        let metainfo = Metainfo::parse(bytes.clone()).ok()?;
        (metainfo.torrent_file() == bytes).then_some(())
    };
    if load_metainfo(folder, info_hash).and_then(is_ours).is_some() {
        remove_if_there(folder, &name)?;
    }
    let name = temporary_name(&name);
    if begins(folder, &name)?.is_some_and(|first| first.is_empty()) {
        remove_if_there(folder, &name)?;
    }
    Ok(())
}

/// The first bytes of a file; none if there is no such file that could be ours.
fn begins(folder: &Dir, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match folder.open_file(name, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if platform::error_kind(&error) == DiskErrorKind::UnsafePath => return Ok(None),
        file => file?,
    };
    let mut first = Vec::new();
    file.take(FIRST_BYTES.len() as u64)
        .read_to_end(&mut first)?;
    Ok(Some(first))
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(folder: &Dir, name: &str) -> io::Result<()> {
    match folder.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// `None` unless all of it is sound: pieces that are there, ascending, and maps that fit them.
fn decode_partial(mut bytes: &[u8], metainfo: &Metainfo) -> Option<Vec<PartialPiece>> {
    let mut maps: Vec<PartialPiece> = Vec::new();
    while let Some((number, rest)) = bytes.split_first_chunk() {
        let piece = PieceIndex::new(u32::from_be_bytes(*number));
        let blocks = metainfo.piece_size(piece)?.div_ceil(BLOCK_LEN);
        let (map, rest) = rest.split_at_checked(blocks.div_ceil(8) as usize)?;
        if maps.last().is_some_and(|last| last.piece >= piece) || maps.len() >= MAX_PARTIAL_PIECES {
            return None;
        }
        let blocks = map_of(map, blocks)?;
        maps.push(PartialPiece { piece, blocks });
        bytes = rest;
    }
    bytes.is_empty().then_some(maps)
}

fn encode_stamp(stamp: Option<Stamp>, out: &mut Vec<u8>) {
    // No file is that long.
    let stamp = stamp.unwrap_or(Stamp {
        size: u64::MAX,
        mtime: 0,
    });
    out.extend(stamp.size.to_be_bytes());
    out.extend(stamp.mtime.to_be_bytes());
}

fn decode_stamp(bytes: &[u8; STAMP_LEN]) -> Option<Stamp> {
    let both = u128::from_be_bytes(*bytes);
    let size = (both >> 64) as u64;
    let mtime = both as u64 as i64;
    (size != u64::MAX).then_some(Stamp { size, mtime })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::Torrent;
    use super::*;

    fn sample(torrent: &Torrent) -> Resume {
        let mut have = Bitfield::new(torrent.metainfo.piece_count());
        have.insert(1);
        let mut blocks = Bitfield::new(2);
        blocks.insert(1);
        let piece = PieceIndex::new(0);
        Resume {
            have,
            partial: vec![PartialPiece { piece, blocks }],
            files: vec![Some(Stamp { size: 7, mtime: -5 }), None],
            parts: Some(Stamp {
                size: u64::MAX - 1,
                mtime: i64::MAX,
            }),
            wanted: vec![true, false],
            uploaded: u64::MAX >> 1,
            downloaded: 3,
        }
    }

    fn torrent() -> Torrent {
        Torrent::new(32 << 10, &[("a", 40_000), ("b", 40_000)])
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let torrent = torrent();
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let info_hash = torrent.metainfo.info_hash();
        let resume = sample(&torrent);
        assert_eq!(load(&dir, &torrent.metainfo), None);
        save(&dir, info_hash, &resume.encode(info_hash).unwrap()).unwrap();
        assert_eq!(load(&dir, &torrent.metainfo), Some(resume));
        forget(&dir, info_hash).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
        forget(&dir, info_hash).unwrap();
    }

    #[test]
    fn a_temporary_file_of_a_crash_is_neither_read_nor_in_the_way() {
        let torrent = torrent();
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let info_hash = torrent.metainfo.info_hash();
        let resume = sample(&torrent);
        let bytes = resume.encode(info_hash).unwrap();
        save(&dir, info_hash, &bytes).unwrap();
        fs::write(
            temp.path().join(temporary_name(&resume_name(info_hash))),
            [&bytes[..40], &[b'x'; 5000]].concat(),
        )
        .unwrap();
        assert_eq!(load(&dir, &torrent.metainfo), Some(resume.clone()));
        save(&dir, info_hash, &bytes).unwrap();
        assert_eq!(load(&dir, &torrent.metainfo), Some(resume));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_bomb_in_a_record_is_no_record() {
        let torrent = torrent();
        let bytes = sample(&torrent)
            .encode(torrent.metainfo.info_hash())
            .unwrap();
        let deep = vec![b'l'; 1 << 20];
        for value in [
            &deep[..],
            b"18446744073709551615:",
            b"99999999999999999999:",
            b"i99999999999999999999e",
        ] {
            for whole in [
                [b"d4:sha1", value].concat(),
                [b"d1:z", value, &bytes[1..]].concat(),
                [&bytes[..bytes.len() - 1], b"1:z", value, b"e"].concat(),
                value.to_vec(),
            ] {
                assert_eq!(Resume::decode(&whole, &torrent.metainfo), None);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_set_aside_and_never_replaced() {
        let torrent = torrent();
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let info_hash = torrent.metainfo.info_hash();
        let bytes = sample(&torrent).encode(info_hash).unwrap();
        let [resume, metainfo] = [resume_name(info_hash), metainfo_name(info_hash)];
        for theirs in ["d9:activitye", "notes"] {
            fs::write(temp.path().join(&resume), theirs).unwrap();
            fs::write(temp.path().join(&metainfo), theirs).unwrap();
            save(&dir, info_hash, &bytes).unwrap();
            save_metainfo(&dir, &torrent.metainfo).unwrap();
        }
        save(&dir, info_hash, &bytes).unwrap();
        for name in [&resume, &metainfo] {
            let aside =
                |number: u32| fs::read_to_string(temp.path().join(format!("{name}.{number}")));
            assert_eq!(aside(1).unwrap(), "d9:activitye");
            assert_eq!(aside(2).unwrap(), "notes");
        }
        assert_eq!(load(&dir, &torrent.metainfo), Some(sample(&torrent)));
        assert!(load_metainfo(&dir, info_hash).is_some());
    }

    #[test]
    fn what_is_cut_off_changed_or_longer_counts_as_nothing() {
        let torrent = torrent();
        let info_hash = torrent.metainfo.info_hash();
        let bytes = sample(&torrent).encode(info_hash).unwrap();
        assert!(Resume::decode(&bytes, &torrent.metainfo).is_some());
        for len in 0..bytes.len() {
            assert_eq!(Resume::decode(&bytes[..len], &torrent.metainfo), None);
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Resume::decode(&changed, &torrent.metainfo), None, "{at}");
        }
        let longer = [&bytes[..], b"i0e"].concat();
        assert_eq!(Resume::decode(&longer, &torrent.metainfo), None);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_into_memory() {
        let torrent = torrent();
        let temp = tempfile::tempdir().unwrap();
        let name = resume_name(torrent.metainfo.info_hash());
        let file = fs::File::create(temp.path().join(name)).unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(
            load(&Dir::open(temp.path()).unwrap(), &torrent.metainfo),
            None
        );
    }

    #[test]
    fn maps_of_blocks_that_fit_no_piece_count_as_nothing() {
        let torrent = torrent();
        let decode = |bytes: &[u8]| decode_partial(bytes, &torrent.metainfo);
        assert_eq!(decode(&[]), Some(Vec::new()));
        let first = [0, 0, 0, 0, 0b1000_0000];
        let second = [0, 0, 0, 1, 0b0100_0000];
        let both = decode(&[first, second].concat()).unwrap();
        assert_eq!(both.len(), 2);
        assert!(both[0].blocks.contains(0) && both[1].blocks.contains(1));
        assert_eq!(decode(&[second, first].concat()), None, "order");
        assert_eq!(decode(&[first, first].concat()), None, "twice");
        assert_eq!(decode(&first[..4]), None, "no map");
        assert_eq!(decode(&[0, 0]), None, "no number");
        assert_eq!(decode(&[0, 0, 0, 0, 0b0010_0000]), None, "a block too many");
        assert_eq!(decode(&[0, 0, 0, 9, 0b1000_0000]), None, "a piece too many");
    }

    #[test]
    fn a_record_without_maps_of_blocks_is_still_read() {
        let torrent = torrent();
        let info_hash = torrent.metainfo.info_hash();
        let resume = Resume {
            partial: Vec::new(),
            ..sample(&torrent)
        };
        let bytes = resume.encode(info_hash).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"7:partial"));
        assert_eq!(Resume::decode(&bytes, &torrent.metainfo), Some(resume));
    }

    #[test]
    fn another_torrent_or_version_counts_as_nothing() {
        let torrent = torrent();
        let resume = sample(&torrent);
        let other = InfoHash::new([7; 20]);
        let bytes = resume.encode(other).unwrap();
        assert_eq!(Resume::decode(&bytes, &torrent.metainfo), None);

        let bytes = resume.encode(torrent.metainfo.info_hash()).unwrap();
        let mut envelope: Envelope = bt_bencode::from_slice(&bytes).unwrap();
        envelope.version = 2;
        let bytes = bt_bencode::to_vec(&envelope).unwrap();
        assert_eq!(Resume::decode(&bytes, &torrent.metainfo), None);

        let more_files = Torrent::new(32 << 10, &[("a", 40_000), ("b", 39_999), ("c", 1)]);
        let bytes = resume.encode(more_files.metainfo.info_hash()).unwrap();
        assert_eq!(Resume::decode(&bytes, &more_files.metainfo), None);
    }
}
