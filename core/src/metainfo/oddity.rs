//! What is odd about a torrent file (BEP 3) that can be used all the same.

use alloc::vec::Vec;
use core::fmt;

use super::FileIndex;

/// Something in a torrent file that is not as it should be, and that the torrent was not refused for.
///
/// Displayed, it is a sentence for people, with files counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// Something follows the end of the torrent. It is ignored; the info-hash is not affected.
    TrailingData {
        /// Its length in bytes.
        len: usize,
    },
    /// A field that is not needed is of another type than it has to be. It counts as absent.
    Ignored {
        /// Its key.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// The files in whose entries it is; none if it is in no entry of the list of files.
        files: Option<OddFiles>,
    },
    /// A field that is not needed is there more than once. The first one counts; of `private`, one that is set.
    Repeated {
        /// Its key.
        field: &'static str,
        /// The files in whose entries it is; none if it is in no entry of the list of files.
        files: Option<OddFiles>,
    },
    /// `private` is neither 0 nor 1. It counts as set: what is not meant to leave its trackers must not
    /// do so because somebody writes it in another way.
    Private,
    /// Symlinks (BEP 47) that have a length, or something else in its place. They have no data.
    SymlinkLength {
        /// Which.
        files: OddFiles,
    },
    /// Files that are never created, pad files or symlinks (BEP 47), have no path that can be used.
    NoPath {
        /// Which.
        files: OddFiles,
    },
}

/// Files that have the same oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddFiles {
    /// The first of them.
    pub first: FileIndex,
    /// How many there are in all; at least one.
    pub count: u32,
}

impl OddFiles {
    pub(super) const fn one(first: FileIndex) -> Self {
        Self { first, count: 1 }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrailingData { len: 1 } => {
                f.write_str("a byte follows the end of the torrent; it is ignored")
            }
            Self::TrailingData { len } => {
                write!(
                    f,
                    "{len} bytes follow the end of the torrent; they are ignored"
                )
            }
            Self::Ignored {
                field,
                expected,
                files,
            } => {
                write!(f, "the field {field:?}")?;
                if let Some(files) = files {
                    write!(f, " of {files}")?;
                }
                write!(f, " is not {expected}; it is ignored")
            }
            Self::Repeated { field, files } => {
                write!(f, "the field {field:?}")?;
                if let Some(files) = files {
                    write!(f, " of {files}")?;
                }
                f.write_str(match *field {
                    "private" => " is there more than once; it counts as set if any of them is",
                    _ => " is there more than once; the first one counts",
                })
            }
            Self::Private => {
                f.write_str("the field \"private\" is neither 0 nor 1; it counts as set")
            }
            Self::SymlinkLength { files } => {
                write!(f, "a symlink has a length, which is ignored: {files}")
            }
            Self::NoPath { files } => {
                write!(f, "a path is missing where none is needed: {files}")
            }
        }
    }
}

impl fmt::Display for OddFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file number {}", u64::from(self.first.get()) + 1)?;
        match self.count {
            0 | 1 => Ok(()),
            2 => f.write_str(" and 1 more"),
            count => write!(f, " and {} more", count - 1),
        }
    }
}

/// Collects oddities. Those that differ in the file alone are counted, so that there are never more
/// than a few for each field that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Oddities(Vec<Oddity>);

impl Oddities {
    pub(super) fn note(&mut self, oddity: Oddity) {
        let same = |known: &&mut Oddity| known.without_files() == oddity.without_files();
        match self.0.iter_mut().find(same) {
            Some(known) => {
                if let Some(files) = known.files_mut() {
                    files.count = files.count.saturating_add(1);
                }
            }
            None => self.0.push(oddity),
        }
    }

    pub(super) fn into_vec(self) -> Vec<Oddity> {
        self.0
    }
}

impl Oddity {
    fn without_files(mut self) -> Self {
        if let Some(files) = self.files_mut() {
            *files = OddFiles {
                first: FileIndex::new(0),
                count: 0,
            };
        }
        self
    }

    fn files_mut(&mut self) -> Option<&mut OddFiles> {
        match self {
            Self::TrailingData { .. } | Self::Private => None,
            Self::Ignored { files, .. } | Self::Repeated { files, .. } => files.as_mut(),
            Self::SymlinkLength { files } | Self::NoPath { files } => Some(files),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn many_files_with_one_oddity_are_counted() {
        let mut oddities = Oddities::default();
        for file in 3..500_000 {
            let files = OddFiles::one(FileIndex::new(file));
            oddities.note(Oddity::SymlinkLength { files });
            oddities.note(Oddity::Private);
            for field in ["attr", "path"] {
                oddities.note(Oddity::Ignored {
                    field,
                    expected: "a string",
                    files: Some(files),
                });
            }
        }
        let oddities = oddities.into_vec();
        assert_eq!(oddities.len(), 4);
        assert_eq!(
            oddities[2].to_string(),
            "the field \"attr\" of file number 4 and 499996 more is not a string; it is ignored"
        );
    }
}
