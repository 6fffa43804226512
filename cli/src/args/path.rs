//! Paths and names of files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anabranch_driver::storage::{FileName, FileNameError};
use clap::builder::{OsStringValueParser, PathBufValueParser, TypedValueParser};

/// What nothing may be called that is downloaded: the folder of the resume data.
const RESUME_FOLDER: &str = ".anabranch";

/// Reads the name of a file or folder, whatever bytes it has: one that can be created as it is.
pub(super) fn file_name() -> impl TypedValueParser<Value = FileName> {
    OsStringValueParser::new().try_map(read_name)
}

fn read_name(name: OsString) -> Result<FileName, String> {
    if name.eq_ignore_ascii_case(RESUME_FOLDER) {
        return Err("resume data has this name; choose another".to_owned());
    }
    FileName::new(name).map_err(|error| match error == FileNameError::Path {
        true => "a name, not a path: --dir says where".to_owned(),
        false => error.to_string(),
    })
}

/// Reads a path. Shells know what `~` means and do not always say so: `--dir=~/x` and quotes leave it as it is.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(read_path)
}

/// Takes a path, unless it begins with a `~` that the shell should have replaced.
pub(super) fn read_path(path: PathBuf) -> Result<PathBuf, String> {
    let first = path.components().next();
    let tilde = first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~"));
    // A file that is called so is meant by its name.
    if !tilde || path.exists() {
        return Ok(path);
    }
    Err(format!(
        "your shell has not replaced the `~`: write \"$HOME\" in its place, or {} if it is meant",
        Path::new(".").join(&path).display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_can_be_created() {
        let named = |name: &str| read_name(name.into()).map(|name| name.as_os_str().to_owned());
        assert_eq!(named("R.E.M. (live)"), Ok("R.E.M. (live)".into()));
        for text in ["", ".", "..", "a/b", "/a", ".Anabranch"] {
            assert!(named(text).is_err(), "{text:?}");
        }
    }
}
