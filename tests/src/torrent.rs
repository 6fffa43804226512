//! Torrent files of the suite's own making, and reading those of others (BEP 3).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::bencode::{self, Value};
use crate::data;

/// A torrent file and what the tests need to know of it.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// Where it is.
    pub path: PathBuf,
    /// Its info dictionary, the bytes as they stand in the file.
    pub info: Vec<u8>,
    /// The hash of those.
    pub info_hash: [u8; 20],
    /// Bytes in a piece.
    pub piece_length: u64,
    /// Bytes in all.
    pub length: u64,
    /// The hash of each piece.
    pub pieces: Vec<[u8; 20]>,
}

impl Torrent {
    /// Reads a torrent file that a tool made.
    ///
    /// # Panics
    ///
    /// When it is no torrent.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a torrent file");
        let span = bencode::span(&bytes, "info").expect("an info dictionary");
        let info = bytes[span].to_vec();
        let value = bencode::decode(&info);
        let number = |value: &Value, key| {
            let number = value
                .at(key)
                .and_then(Value::int)
                .expect("a number in a torrent");
            u64::try_from(number).expect("a length")
        };
        let length = value.at("files").and_then(Value::list).map_or_else(
            || number(&value, "length"),
            |files| files.iter().map(|file| number(file, "length")).sum(),
        );
        let pieces = value
            .at("pieces")
            .and_then(Value::bytes)
            .expect("hashes of pieces");
        let pieces = pieces
            .chunks(20)
            .map(|hash| hash.try_into().expect("20 bytes"))
            .collect();
        Self {
            path: path.to_owned(),
            info_hash: Sha1::digest(&info).into(),
            piece_length: number(&value, "piece length"),
            info,
            length,
            pieces,
        }
    }

    /// Makes a torrent of a file or folder. Its files are in the order of their paths.
    ///
    /// # Panics
    ///
    /// When a file cannot be read or written, or a name is not UTF-8.
    #[must_use]
    pub fn make(content: &Path, to: &Path, piece_length: u64, trackers: &[String]) -> Self {
        let name = content
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a UTF-8 name");
        let files = data::files(content);
        let mut hasher = PieceHasher::new(piece_length);
        for file in files.keys() {
            hasher.read(&data::place(content, file));
        }
        let int = |number: u64| Value::Int(i64::try_from(number).expect("a length"));
        let content = if content.is_dir() {
            let entry = |(path, length): (&PathBuf, &u64)| {
                let parts = path
                    .iter()
                    .map(|part| Value::text(part.to_str().expect("UTF-8")));
                Value::dict([
                    ("length", int(*length)),
                    ("path", Value::List(parts.collect())),
                ])
            };
            ("files", Value::List(files.iter().map(entry).collect()))
        } else {
            ("length", int(files.values().sum()))
        };
        let info = Value::dict([
            content,
            ("name", Value::text(name)),
            ("piece length", int(piece_length)),
            ("pieces", Value::Bytes(hasher.finish())),
        ]);
        write(&info, to, trackers);
        Self::read(to)
    }

    /// The info-hash as trackers' lists and other programs print it.
    #[must_use]
    pub fn hex(&self) -> String {
        self.info_hash
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Bytes in the piece of this index.
    #[must_use]
    pub fn piece_size(&self, index: u32) -> u64 {
        let start = u64::from(index) * self.piece_length;
        self.piece_length.min(self.length.saturating_sub(start))
    }

    /// How many pieces there are.
    ///
    /// # Panics
    ///
    /// When there are more than 2³² of them.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.pieces.len()).expect("a number of pieces")
    }
}

/// Writes a torrent file around an info dictionary, however wrong that may be.
///
/// # Panics
///
/// When it cannot be written.
pub fn write(info: &Value, to: &Path, trackers: &[String]) {
    let mut torrent = Value::dict([("info", info.clone())]);
    if let (Value::Dict(entries), Some(first)) = (&mut torrent, trackers.first()) {
        entries.insert(b"announce".to_vec(), Value::text(first));
        let tiers = trackers
            .iter()
            .map(|url| Value::List(vec![Value::text(url)]))
            .collect();
        entries.insert(b"announce-list".to_vec(), Value::List(tiers));
    }
    fs::write(to, torrent.encode()).expect("a torrent file");
}

/// Hashes files end to end. The hash of a piece of zeros is computed once, so that sparse files
/// cost no more than reading them.
struct PieceHasher {
    piece: Vec<u8>,
    filled: usize,
    zeros: Vec<u8>,
    zeros_hash: [u8; 20],
    hashes: Vec<u8>,
}

impl PieceHasher {
    fn new(piece_length: u64) -> Self {
        let length = usize::try_from(piece_length).expect("a piece that fits in memory");
        let zeros = vec![0; length];
        let zeros_hash = Sha1::digest(&zeros).into();
        Self {
            piece: zeros.clone(),
            filled: 0,
            zeros,
            zeros_hash,
            hashes: Vec::new(),
        }
    }

    fn read(&mut self, path: &Path) {
        let mut file = File::open(path).expect("a file to hash");
        loop {
            let count = file
                .read(&mut self.piece[self.filled..])
                .expect("reading to hash");
            if count == 0 {
                return;
            }
            self.filled += count;
            if self.filled == self.piece.len() {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let piece = &self.piece[..self.filled];
        let hash = if piece == self.zeros {
            self.zeros_hash
        } else {
            Sha1::digest(piece).into()
        };
        self.hashes.extend(hash);
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.close();
        }
        self.hashes
    }
}
