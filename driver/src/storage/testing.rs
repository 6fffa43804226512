//! Torrents for the tests.

use std::sync::Arc;

use anabranch_core::action::{OpenStorage, Segment};
use anabranch_core::id::StorageKey;
use anabranch_core::metainfo::{Metainfo, Names, PieceIndex};
use anabranch_hash::Sha1;
use bytes::Bytes;

use super::{Storage, Verdict, store};

/// A torrent and its data.
pub(crate) struct Torrent {
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) data: Bytes,
}

impl Torrent {
    /// Files in a folder `t`, with data that does not repeat. Slashes part folders; a name that starts
    /// with `.pad` is a pad file.
    pub(crate) fn new(piece_length: u32, files: &[(&str, u64)]) -> Self {
        let mut data = Vec::new();
        let mut state: u32 = 1;
        for (path, len) in files {
            for _ in 0..*len {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let pad = path.starts_with(".pad");
                data.push(if pad { 0 } else { (state >> 24) as u8 });
            }
        }
        Self::with_data("t", piece_length, files, data.into())
    }

    pub(crate) fn with_data(
        name: &str,
        piece_length: u32,
        files: &[(&str, u64)],
        data: Bytes,
    ) -> Self {
        let mut list = String::new();
        for (path, len) in files {
            let attr = if path.starts_with(".pad") {
                "4:attr1:p"
            } else {
                ""
            };
            let path: String = path
                .split('/')
                .map(|name| format!("{}:{name}", name.len()))
                .collect();
            list += &format!("d{attr}6:lengthi{len}e4:pathl{path}ee");
        }
        let hashes: Vec<u8> = data
            .chunks(piece_length as usize)
            .flat_map(Sha1::digest)
            .collect();
        let mut info = format!(
            "d5:filesl{list}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces{}:",
            name.len(),
            hashes.len()
        )
        .into_bytes();
        info.extend(hashes);
        info.push(b'e');
        Self {
            metainfo: Arc::new(Metainfo::from_info(info.into()).unwrap()),
            data,
        }
    }

    /// The same with the names that Unix takes.
    pub(crate) fn unix(&self) -> Self {
        Self {
            metainfo: Arc::new(Metainfo::clone(&self.metainfo).with_names(Names::Unix)),
            data: self.data.clone(),
        }
    }

    pub(crate) fn open(&self, wanted: &[bool]) -> OpenStorage {
        OpenStorage {
            key: StorageKey(0),
            metainfo: Arc::clone(&self.metainfo),
            wanted: wanted.to_vec(),
            recheck: false,
            overwrite: false,
            fetched: false,
        }
    }

    pub(crate) fn open_all(&self) -> OpenStorage {
        self.open(&vec![true; self.metainfo.files().len()])
    }

    pub(crate) fn piece(&self, piece: u32) -> Bytes {
        let start = piece as usize * self.metainfo.piece_length() as usize;
        let size = self.metainfo.piece_size(PieceIndex::new(piece)).unwrap();
        self.data.slice(start..start + size as usize)
    }

    pub(crate) fn digest(&self, piece: u32) -> [u8; 20] {
        *self.metainfo.piece_hash(PieceIndex::new(piece)).unwrap()
    }

    pub(crate) fn store(&self, storage: &dyn Storage, piece: u32) {
        let data = [Segment::Memory(self.piece(piece))];
        let stored = store(
            storage,
            PieceIndex::new(piece),
            &self.digest(piece),
            &data,
            false,
        );
        assert_eq!(stored, Ok(Verdict::Matched { blocks: None }));
    }

    pub(crate) fn store_all(&self, storage: &dyn Storage) {
        (0..self.metainfo.piece_count()).for_each(|piece| self.store(storage, piece));
    }

    pub(crate) fn matches(&self, storage: &dyn Storage, piece: u32) -> bool {
        storage
            .verify(PieceIndex::new(piece), &self.digest(piece))
            .unwrap()
    }
}
