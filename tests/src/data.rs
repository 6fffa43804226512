//! Files to share, the same ones in every run, and the comparison at the end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A small generator (SplitMix64): the same seed gives the same bytes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }

    /// So many bytes.
    #[must_use]
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = vec![0; length];
        self.fill(&mut buffer);
        buffer
    }
}

/// Writes a file of `length` bytes drawn from `seed`, and the folders above it.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_file(path: &Path, length: usize, seed: u64) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a folder of test data");
    }
    let mut file = File::create(path).expect("a file of test data");
    let mut random = Random::new(seed);
    let mut left = length;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let part = left.min(buffer.len());
        random.fill(&mut buffer[..part]);
        file.write_all(&buffer[..part]).expect("writing test data");
        left -= part;
    }
}

/// Writes a file that is all holes but for short random runs at the given offsets.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_sparse(path: &Path, length: u64, islands: impl IntoIterator<Item = u64>) {
    let file = File::create(path).expect("a file of test data");
    file.set_len(length).expect("a sparse file");
    for offset in islands {
        let mut run = Random::new(offset).bytes(64);
        run.truncate(usize::try_from(length - offset).unwrap_or(usize::MAX));
        file.write_all_at(&run, offset).expect("writing test data");
    }
}

/// Writes a folder with all that is awkward in one: empty files first, in the middle and last, a
/// file that ends on a piece's edge, deep folders, names that are not ASCII, hidden and spaced
/// ones, and many small files in one piece. Some 7 MB.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_tree(folder: &Path, seed: u64) {
    let deep = "d/e/e/p/e/r/than/most/folders/go/down/leaf.bin".to_owned();
    let mut files: Vec<(String, usize)> = vec![
        ("000 empty first".into(), 0),
        ("a file with spaces.bin".into(), 3_000_001),
        ("edge.bin".into(), 1 << 20),
        (deep, 70_000),
        ("kanji/日本語のファイル.txt".into(), 12_345),
        ("kyrillisch/Привет, мир.bin".into(), 1_500_000),
        ("middle/empty".into(), 0),
        ("middle/one byte".into(), 1),
        (".hidden".into(), 17),
        ("umlaute/Größe – ñandú.dat".into(), 999_999),
        ("emoji/🦀🌊.bin".into(), 65_536),
        ("zzz empty last".into(), 0),
    ];
    files.extend((0..40).map(|number| (format!("small/{number:03}.txt"), 100 + number)));
    for (number, (name, length)) in files.iter().enumerate() {
        write_file(
            &folder.join(name),
            *length,
            seed.wrapping_add(number as u64),
        );
    }
}

/// The regular files below a folder (or the file itself, under an empty path) with their sizes.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn files(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for (path, kind) in listing(root) {
        if kind == Kind::File {
            let size = fs::symlink_metadata(place(root, &path))
                .expect("a listed file")
                .len();
            found.insert(path, size);
        }
    }
    found
}

/// A path of [`files`] or [`listing`] where it really is. Joining an empty path would add a slash,
/// which a file does not bear.
#[must_use]
pub fn place(root: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(relative)
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link or anything else.
    Other,
}

/// Everything below a folder, symbolic links not followed.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn listing(root: &Path) -> BTreeMap<PathBuf, Kind> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let here = place(root, &relative);
        let kind = fs::symlink_metadata(&here)
            .unwrap_or_else(|error| panic!("{}: {error}", here.display()))
            .file_type();
        let kind = match (kind.is_file(), kind.is_dir()) {
            (true, _) => Kind::File,
            (_, true) => Kind::Folder,
            (false, false) => Kind::Other,
        };
        if kind == Kind::Folder {
            for entry in fs::read_dir(&here).expect("a folder to list") {
                open.push(relative.join(entry.expect("an entry of a folder").file_name()));
            }
        }
        found.insert(relative, kind);
    }
    found
}

/// Compares two files, or two folders with all in them.
///
/// # Panics
///
/// When they differ; the message names the first difference.
pub fn assert_same(expected: &Path, actual: &Path) {
    compare(expected, actual, &files(expected), &files(actual));
}

/// The same, but for empty files: Transmission does not create them.
///
/// # Panics
///
/// When they differ in anything else.
pub fn assert_same_but_for_empty(expected: &Path, actual: &Path) {
    let [left, right] = [expected, actual].map(|root| {
        let mut found = files(root);
        found.retain(|_, length| *length > 0);
        found
    });
    compare(expected, actual, &left, &right);
}

fn compare(
    expected: &Path,
    actual: &Path,
    left: &BTreeMap<PathBuf, u64>,
    right: &BTreeMap<PathBuf, u64>,
) {
    assert_eq!(
        left,
        right,
        "{} and {}",
        expected.display(),
        actual.display()
    );
    for name in left.keys() {
        let (left, right) = (place(expected, name), place(actual, name));
        if let Some(offset) = first_difference(&left, &right) {
            panic!("{} differs at byte {offset}", right.display());
        }
    }
}

fn first_difference(left: &Path, right: &Path) -> Option<u64> {
    let open = |path: &Path| File::open(path).expect("a file to compare");
    let (mut left, mut right) = (open(left), open(right));
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    loop {
        let count = left.read(&mut one).expect("reading to compare");
        right
            .read_exact(&mut other[..count])
            .expect("reading to compare");
        if one[..count] != other[..count] {
            let at = one.iter().zip(&other).position(|(one, other)| one != other);
            return Some(offset + at.unwrap_or(0) as u64);
        }
        if count == 0 {
            return None;
        }
        offset += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn the_same_seed_writes_the_same_tree() {
        let scratch = Scratch::new();
        write_tree(&scratch.join("one"), 7);
        write_tree(&scratch.join("two"), 7);
        assert_same(&scratch.join("one"), &scratch.join("two"));
    }

    #[test]
    #[should_panic(expected = "differs at byte 5")]
    fn a_changed_byte_is_found() {
        let scratch = Scratch::new();
        fs::write(scratch.join("one"), b"0123456789").unwrap();
        fs::write(scratch.join("two"), b"01234x6789").unwrap();
        assert_same(&scratch.join("one"), &scratch.join("two"));
    }

    #[test]
    #[should_panic(expected = "extra")]
    fn a_file_too_many_is_found() {
        let scratch = Scratch::new();
        write_file(&scratch.join("one/a"), 3, 1);
        write_file(&scratch.join("two/a"), 3, 1);
        write_file(&scratch.join("two/extra"), 0, 1);
        assert_same(&scratch.join("one"), &scratch.join("two"));
    }
}
