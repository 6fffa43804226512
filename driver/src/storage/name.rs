//! The name that a user gives to a torrent's file or folder, as the file system knows it: bytes, on Unix. The core,
//! which never sees a file system, knows it [as text](FileName::to_text).

use std::ffi::{OsStr, OsString};
use std::fmt;

use anabranch_core::metainfo::limits::MAX_UNIX_COMPONENT_LEN;

/// A name that stays in its folder: no path, no `.` and no `..`, and short enough to be created.
///
/// On Unix that is all: it may hold any bytes but `/` and NUL, in UTF-8 or not. Elsewhere it has to be one that every
/// system takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(OsString);

/// Why something is no [`FileName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileNameError {
    /// It is empty.
    #[error("a name has at least one character")]
    Empty,
    /// `.` or `..`, which name folders that are there already.
    #[error("it names a folder that is there already; choose another name")]
    Dots,
    /// More than one name.
    #[error("a name, and not a path, is needed")]
    Path,
    /// More bytes than file systems take.
    #[error("it has {0} bytes, and names have {MAX_UNIX_COMPONENT_LEN} at most")]
    Long(usize),
    /// Something that no name on this system has.
    #[error("no name of a file on this system; {0} is one")]
    Unusable(String),
}

impl FileName {
    /// Takes a name as it is.
    ///
    /// # Errors
    ///
    /// [`FileNameError`], for what cannot be created in any folder.
    pub fn new(name: impl Into<OsString>) -> Result<Self, FileNameError> {
        let name = name.into();
        let bytes = name.as_encoded_bytes();
        match bytes {
            b"" => Err(FileNameError::Empty),
            b"." | b".." => Err(FileNameError::Dots),
            _ if bytes.contains(&b'/') => Err(FileNameError::Path),
            _ if bytes.len() > MAX_UNIX_COMPONENT_LEN => Err(FileNameError::Long(bytes.len())),
            _ => match usable(&name) {
                Some(other) => Err(FileNameError::Unusable(other)),
                None => Ok(Self(name)),
            },
        }
    }

    /// The name.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name for those who know text alone. What is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string_lossy())
    }
}

/// What could be taken in its place, for a name that this system does not take.
#[cfg(unix)]
fn usable(name: &OsStr) -> Option<String> {
    let bytes = name.as_encoded_bytes();
    let without = || String::from_utf8_lossy(bytes).replace('\0', "_");
    bytes.contains(&0).then(without)
}

/// What could be taken in its place, for a name that this system does not take.
#[cfg(not(unix))]
fn usable(name: &OsStr) -> Option<String> {
    let safe = anabranch_core::metainfo::SafePath::from_untrusted([name.as_encoded_bytes()]);
    (name.to_str() != Some(safe.as_str())).then(|| safe.as_str().to_owned())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::*;

    #[test]
    fn whatever_is_taken_is_one_name_that_stays_in_its_folder() {
        fn is_so(bytes: Vec<u8>) -> bool {
            let path = std::path::PathBuf::from(OsString::from_vec(bytes.clone()));
            let names: Vec<_> = path.components().collect();
            let single = matches!(names[..], [std::path::Component::Normal(name)] if name.as_bytes() == bytes);
            let taken = FileName::new(OsString::from_vec(bytes.clone()));
            taken.is_ok() == (single && !bytes.contains(&0) && bytes.len() <= 255)
        }
        quickcheck::quickcheck(is_so as fn(Vec<u8>) -> bool);
    }

    #[test]
    fn a_name_may_hold_any_bytes_and_what_is_none_is_told_why() {
        let new = |bytes: &[u8]| FileName::new(OsStr::from_bytes(bytes).to_owned());
        for name in [
            &b"caf\xe9.bin"[..],
            b"R.E.M.",
            b"new\nline",
            b"...",
            &[0xff; 255],
        ] {
            assert_eq!(new(name).map(|name| name.0.into_vec()), Ok(name.to_vec()));
        }
        for (name, error) in [
            (&b""[..], FileNameError::Empty),
            (b".", FileNameError::Dots),
            (b"..", FileNameError::Dots),
            (b"a/b", FileNameError::Path),
            (b"/", FileNameError::Path),
            (b"a/", FileNameError::Path),
            (&[b'x'; 256], FileNameError::Long(256)),
            (b"a\0b", FileNameError::Unusable("a_b".to_owned())),
        ] {
            assert_eq!(new(name), Err(error));
        }
    }
}
