//! Where torrents come from: files, URLs, links, hashes.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anabranch_core::metainfo::magnet::{Surplus, is_magnet};
use anabranch_core::metainfo::{InfoHash, Magnet as Link, ParseMagnetError};
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::path::read_path;

/// Where a torrent file is, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Path(PathBuf),
    /// On the web.
    Url(String),
    /// On standard input.
    Stdin,
}

impl Source {
    /// What is typed is a path, unless it is something else. Paths are bytes where the system has them so.
    fn read(text: OsString) -> Result<Self, String> {
        let Some(known) = text.to_str() else {
            return read_path(text.into()).map(Self::Path);
        };
        if is_magnet(known) && !Path::new(known).exists() {
            return Err(
                "this needs the .torrent file; `anabranch show --save-torrent` fetches that of a magnet \
                 link"
                    .to_owned(),
            );
        }
        let is = |scheme: &str| {
            let start = known.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if is("http://") || is("https://") {
            return Ok(Self::Url(known.to_owned()));
        }
        match known {
            "" => Err("give the path of a .torrent file".to_owned()),
            "-" => Ok(Self::Stdin),
            _ if is_cut_hash(known) && !Path::new(known).exists() => {
                let digits = known.len();
                Err(format!(
                    "an info-hash has 40 hexadecimal digits, and this has {digits}; nor is it a file"
                ))
            }
            _ => read_path(text.into()).map(Self::Path),
        }
    }
}

/// Whether it looks like an info-hash with some digits too few or too many.
pub(super) fn is_cut_hash(text: &str) -> bool {
    matches!(text.len(), 36..=39 | 41..=44) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// Where a torrent comes from, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(Source),
    /// A magnet link, or what is as good as one, and what of it was left out.
    Magnet(Box<Link>, Surplus),
}

impl Origin {
    fn read(text: OsString) -> Result<Self, String> {
        let Some(known) = text.to_str() else {
            return Source::read(text).map(Self::File);
        };
        // A file of such a name was given by who has it.
        if Path::new(known).exists() {
            return Source::read(text).map(Self::File);
        }
        match read_link(known) {
            Ok(Some((link, surplus))) => Ok(Self::Magnet(link, surplus)),
            Ok(None) => Source::read(text).map(Self::File),
            Err(error @ (ParseMagnetError::Version2 | ParseMagnetError::Several)) => {
                Err(error.to_string())
            }
            Err(error) => Err(format!("{error}; quote the whole link")),
        }
    }
}

/// A link, or an info-hash, which is as good as one. None: it is neither.
fn read_link(text: &str) -> Result<Option<(Box<Link>, Surplus)>, ParseMagnetError> {
    match Link::parse_counted(text) {
        Ok((link, surplus)) => Ok(Some((Box::new(link), surplus))),
        Err(ParseMagnetError::NotMagnet) => Ok(parse_info_hash(text)
            .map(|info_hash| (Box::new(Link::new(info_hash)), Surplus::default()))),
        Err(error) => Err(error),
    }
}

/// The link that is all there is in a file, if it is that.
pub(crate) fn link_in_file(bytes: &[u8]) -> Result<Option<(Box<Link>, Surplus)>, ParseMagnetError> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    // What is around a link in the text of a page is not what the link is about.
    let is_link = text.get(.."magnet:".len());
    let is_link = is_link.is_some_and(|start| start.eq_ignore_ascii_case("magnet:"));
    match is_link || parse_info_hash(text).is_some() {
        true => read_link(text),
        false => Ok(None),
    }
}

pub(super) fn source() -> impl TypedValueParser<Value = Source> {
    OsStringValueParser::new().try_map(Source::read)
}

pub(super) fn origin() -> impl TypedValueParser<Value = Origin> {
    OsStringValueParser::new().try_map(Origin::read)
}

/// Reads an info-hash or a magnet link.
pub(super) fn parse_torrent_id(text: &str) -> Result<InfoHash, String> {
    match text.parse::<Link>() {
        Ok(link) => Ok(link.info_hash),
        Err(ParseMagnetError::NotMagnet) => parse_info_hash(text).ok_or_else(|| {
            "neither 40 hexadecimal digits nor a magnet link; `anabranch magnet TORRENT` prints that of \
             a torrent file"
                .to_owned()
        }),
        Err(error) => Err(format!("{error}; quote the whole link")),
    }
}

/// Reads an info-hash alone, in the two ways in which magnet links have it.
pub(super) fn parse_info_hash(text: &str) -> Option<InfoHash> {
    let text = text.trim();
    let plain = matches!(text.len(), 32 | 40) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let link = plain.then(|| format!("magnet:?xt=urn:btih:{text}"))?;
    Some(link.parse::<Link>().ok()?.info_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_with_a_digit_too_few_is_no_path() {
        for digits in [39, 41] {
            let refused = Origin::read("a".repeat(digits).into()).unwrap_err();
            assert!(refused.contains("40 hexadecimal digits"), "{refused}");
        }
        let short = Origin::read("abc".into());
        assert_eq!(short, Ok(Origin::File(Source::Path("abc".into()))));
    }

    #[test]
    fn sources_are_told_apart_by_what_they_look_like() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let link = Link::new(hash.parse().unwrap());
        let magnet = || Ok(Origin::Magnet(Box::new(link.clone()), Surplus::default()));
        let base32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
        for text in [
            hash.to_owned(),
            format!(" {hash} "),
            base32.to_owned(),
            base32.to_lowercase(),
            format!("<magnet:?xt=urn:btih:{hash}>"),
            format!("'MAGNET:/?XT=urn:btih:{base32}#x'"),
            format!("magnet%3A%3Fxt%3Durn%3Abtih%3A{hash}"),
            format!("%22magnet:?xt=urn:btih:{hash}%22"),
            format!("[a name](magnet:?xt=urn:btih:{hash})"),
            format!("<a href=\"magnet:?xt=urn:btih:{hash}\">a name</a>"),
            format!("Magnet: magnet:?xt=urn:btih:{hash}"),
        ] {
            assert_eq!(Origin::read(text.clone().into()), magnet(), "{text}");
            assert_eq!(parse_torrent_id(&text), Ok(link.info_hash), "{text}");
        }
        let file = |text: &str| Origin::read(text.into());
        let url = "HTTPS://example.org/a.torrent?x=1&y=2";
        assert_eq!(file(url), Ok(Origin::File(Source::Url(url.into()))));
        assert_eq!(file("-"), Ok(Origin::File(Source::Stdin)));
        for path in ["a", "./-", "http:", "ftp://a/b", "xmagnet:?xt=1"] {
            assert_eq!(file(path), Ok(Origin::File(Source::Path(path.into()))));
        }
        let several = file(&format!(
            "magnet:?xt=urn:btih:{hash} magnet:?xt=urn:btih:{}",
            "0".repeat(40)
        ));
        assert!(several.unwrap_err().contains("one at a time"));
        let version2 = file("magnet:?xt=urn:btmh:1220aa").unwrap_err();
        assert!(version2.contains("version 2"), "{version2}");
        assert!(file("").is_err());
        // All that a link could do, and a file is needed.
        assert!(Source::read(format!("'magnet:?xt=urn:btih:{hash}'").into()).is_err());
        assert!(Source::read(hash.into()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_there_is_no_link_whatever_it_is_called() {
        let hash = "0123456789abcdef0123456789ABCDEF01234567";
        let folder = tempfile::tempdir().unwrap();
        for name in [
            format!("x magnet:?xt=urn:btih:{hash}"),
            format!("\"magnet:?xt=urn:btih:{hash}\""),
        ] {
            // With a space in front of it, it is no part of a path.
            let path = folder.path().join("a b").join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = path.to_str().unwrap().to_owned();
            std::fs::write(&path, "").unwrap();
            let there = || Source::Path(path.clone());
            assert_eq!(Origin::read(text.clone().into()), Ok(Origin::File(there())));
            assert_eq!(Source::read(text.into()), Ok(there()));
        }
    }
}
