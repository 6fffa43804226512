//! Paths and names of files.

use std::path::{Path, PathBuf};

use anabranch_core::metainfo::SafePath;
use anabranch_driver::storage::system_names;
use clap::builder::{OsStringValueParser, PathBufValueParser, TypedValueParser};

/// What nothing may be called that is downloaded: the folder of the resume data.
const RESUME_FOLDER: &str = ".anabranch";

/// Reads the name of a file or folder: one that can be created as it is.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case(RESUME_FOLDER) {
        return Err("resume data has this name; choose another".to_owned());
    }
    let safe = SafePath::with_names([text.as_bytes()], system_names());
    if safe.as_str() == text {
        return Ok(text.to_owned());
    }
    Err(match text.contains('/') {
        true => "a name, not a path: --dir says where".to_owned(),
        false => format!("no name for a file; {safe} is one"),
    })
}

/// Reads a path. Shells know what `~` means and do not always say so: `--dir=~/x` and quotes leave it as it is.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
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
    })
}

/// Reads what must be in UTF-8 with `read`. Whatever is not is refused by the name of its argument, which the library
/// does not tell by itself.
pub(super) fn in_utf8<T: Clone + Send + Sync + 'static>(
    read: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    OsStringValueParser::new().try_map(move |text| match text.to_str() {
        Some(text) => read(text),
        None => Err("it has to be in UTF-8".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_can_be_created() {
        assert_eq!(parse_name("R.E.M. (live)"), Ok("R.E.M. (live)".into()));
        for text in ["", ".", "..", "a/b", "/a", "new\nline", ".Anabranch"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }
}
