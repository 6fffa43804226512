//! Command lines that are not quite one: a link that was copied together with the dash of its list, a file whose name
//! begins with a dash, text that is not in UTF-8.

use std::ffi::OsString;
use std::path::Path;

use anabranch_core::metainfo::magnet::is_magnet;
use clap::Parser as _;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;
use super::source::parse_info_hash;
use crate::output::text::printable;

impl Cli {
    /// Reads the command line. What cannot be made sense of ends the command.
    pub(crate) fn read() -> Self {
        Self::read_from(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn read_from(line: Vec<OsString>) -> Result<Self, clap::Error> {
        let error = match Self::try_parse_from(&line) {
            Ok(cli) => return Ok(cli),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::InvalidUtf8 {
            return Err(name_odd(&line, error));
        }
        if error.kind() != ErrorKind::UnknownArgument {
            return Err(error);
        }
        match unlisted(&line) {
            Some(line) => Self::try_parse_from(line),
            None => Err(hint_at_file(&line, error)),
        }
    }
}

/// The arguments that options are looked for in.
fn options(line: &[OsString]) -> impl Iterator<Item = (usize, &str)> {
    let before = line.iter().take_while(|text| *text != "--");
    before
        .enumerate()
        .filter_map(|(at, text)| Some((at, text.to_str()?)))
        .filter(|(_, text)| text.starts_with('-'))
}

/// The line without the dash of a list in front of links and info-hashes, if there is one: no option looks like that.
fn unlisted(line: &[OsString]) -> Option<Vec<OsString>> {
    let mut found = Vec::new();
    for (at, text) in options(line) {
        let bare = text.trim_start_matches('-');
        let is_apart = bare.starts_with(char::is_whitespace);
        let bare = bare.trim();
        let scheme = bare.get(.."magnet:".len());
        let is_link = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
            || parse_info_hash(bare).is_some()
            || is_apart && is_magnet(bare);
        if is_link {
            found.push((at, bare.into()));
        }
    }
    let mut line = (!found.is_empty()).then(|| line.to_vec())?;
    for (at, bare) in found {
        line[at] = bare;
    }
    Some(line)
}

/// Says how to write the name of a file that begins with a dash, where there is one of that name.
fn hint_at_file(line: &[OsString], mut error: clap::Error) -> clap::Error {
    let mut files = options(line).filter(|(_, text)| text.len() > 1 && Path::new(text).exists());
    if let Some((_, file)) = files.next() {
        let file = printable(file).into_owned();
        let tip = format!("to give the file of this name, write './{file}'");
        error.insert(ContextKind::InvalidArg, ContextValue::String(file));
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// Names the argument that had to be in UTF-8, which the library does not tell.
fn name_odd(line: &[OsString], error: clap::Error) -> clap::Error {
    let mut line = line.to_vec();
    for at in 0..line.len() {
        if line[at].to_str().is_some() {
            continue;
        }
        line[at] = line[at].to_string_lossy().into_owned().into();
        let is_it = Cli::try_parse_from(&line)
            .err()
            .is_none_or(|error| error.kind() != ErrorKind::InvalidUtf8);
        if is_it {
            let text = line[at].to_string_lossy();
            let message = format!(
                "'{}' is not in UTF-8; only paths and names of files may be in something else\n",
                printable(&text)
            );
            return clap::Error::raw(ErrorKind::InvalidUtf8, message);
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Origin, Source};
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(words: &[&str]) -> Result<Command, clap::Error> {
        let line = ["anabranch"].iter().chain(words);
        Cli::read_from(line.map(OsString::from).collect()).map(|cli| cli.command)
    }

    fn sources(words: &[&str]) -> Vec<Origin> {
        match read(words) {
            Ok(Command::Download(download)) => download.sources,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn a_link_that_was_copied_with_the_dash_of_its_list_is_a_link() {
        let link = format!("magnet:?xt=urn:btih:{HASH}");
        for text in [
            format!("- {link}"),
            format!("-{link}"),
            format!("-- {link} "),
            format!("-\t{}", link.to_uppercase()),
            format!("- [a name]({link})"),
            format!("- {HASH}"),
            format!("-{HASH}"),
        ] {
            let found = sources(&["download", &text, "--no-dht", "x.torrent"]);
            assert!(
                matches!(&found[0], Origin::Magnet(link, _) if link.info_hash.to_string() == HASH)
            );
            assert_eq!(found[1], Origin::File(Source::Path("x.torrent".into())));
        }
    }

    #[test]
    fn what_is_behind_two_dashes_is_a_source_whatever_it_begins_with() {
        let found = sources(&["download", "--", "-x.torrent", "--no-dht"]);
        let path = |path: &str| Origin::File(Source::Path(path.into()));
        assert_eq!(found, [path("-x.torrent"), path("--no-dht")]);
        assert_eq!(sources(&["download", "-"]), [Origin::File(Source::Stdin)]);
    }

    #[test]
    fn an_option_that_there_is_not_stays_one() {
        for text in [
            "--seeed",
            "-x",
            "--",
            "-magnet",
            "- x",
            "--dir=magnet:?xt=1",
        ] {
            let refused = read(&["show", text]).map(|_| ()).unwrap_err();
            assert_ne!(refused.kind(), ErrorKind::ValueValidation, "{text}");
        }
        // A comment is any text.
        let Ok(Command::Create(create)) = read(&["create", "x", "-c", "- magnet:?x"]) else {
            panic!("not a torrent to make");
        };
        assert_eq!(create.comment.as_deref(), Some("- magnet:?x"));
    }

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_not_in_utf8_and_has_to_be_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let odd = |text: &[u8]| OsString::from_vec(text.to_vec());
        let [first, second] = ["anabranch", "create"].map(OsString::from);
        let line = vec![first, second, odd(b"a\xff"), "-c".into(), odd(b"b\xfe\x1b")];
        let told = Cli::read_from(line).unwrap_err().to_string();
        assert_eq!(
            told,
            "error: 'b\u{fffd}\\u{1b}' is not in UTF-8; only paths and names of files may be in something else\n"
        );
    }
}
