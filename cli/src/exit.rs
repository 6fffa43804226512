//! How the command ends: exit codes, and errors that say what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::output::text::{printable, reason};

/// The exit codes, as `--help` and the manual page tell them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    all that was asked for is done, and verified
  1    something failed; the message says what, and what to do
  2    the command line is wrong
  3    data is missing or does not match the torrent
  4    a replay does something else than what was recorded
  5    nothing came for as long as --timeout allows
  129  the terminal went away (SIGHUP) before it was done
  130  interrupted (Ctrl-C) before it was done
  143  terminated (SIGTERM) before it was done";

/// Lines of a failure's detail that are shown, and characters of each: what is in a file may be long.
const DETAIL_LINES: usize = 20;
const DETAIL_COLUMNS: usize = 200;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for is done.
    Done,
    /// Something failed.
    Failure,
    /// The command line is wrong.
    Usage,
    /// Data is missing or does not match.
    Incomplete,
    /// A replay does something else than what was recorded.
    Diverged,
    /// Nothing came in time.
    TimedOut,
    /// The terminal went away.
    HungUp,
    /// The user interrupted it.
    Interrupted,
    /// The system, or a script, asked it to end.
    Terminated,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Diverged => 4,
            Self::TimedOut => 5,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// What there is to see, such as the place in a file, line by line.
    detail: Option<String>,
    advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failure,
            message: message.into(),
            detail: None,
            advice: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(message)
        }
    }

    pub(crate) fn incomplete(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Incomplete,
            ..Self::new(message)
        }
    }

    /// One that ends the command with this code.
    pub(crate) fn with_exit(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            ..Self::new(message)
        }
    }

    pub(crate) fn diverged(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Diverged,
            ..Self::new(message)
        }
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::TimedOut,
            ..Self::new(message)
        }
    }

    /// Adds what there is to see below the message. Of much, the beginning is shown.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        self.detail = Some(detail).filter(|detail| !detail.trim().is_empty());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// An error of the operating system about a file, with advice where the kind allows it.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "most of the system's kinds of errors speak for themselves"
    )]
    pub(crate) fn io(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        let failure = Self::new(format!(
            "cannot {doing} {}: {}",
            path.display(),
            reason(error)
        ));
        match error.kind() {
            io::ErrorKind::NotFound => failure.advise("check the path for a typing mistake"),
            io::ErrorKind::AlreadyExists => {
                failure.advise("something else has this name; choose another, or move it away")
            }
            io::ErrorKind::NotADirectory => {
                failure.advise("a part of the path is a file, and no folder; choose another")
            }
            io::ErrorKind::PermissionDenied => failure
                .advise("make it accessible for your user (chmod, chown), or choose another place"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failure.advise("make room on the disk, or choose a folder on another one")
            }
            _ => failure,
        }
    }

    /// Standard output cannot be written to. A reader that went away, such as `head`, has had enough
    /// and wants no complaint.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new("");
        }
        Self::new(format!(
            "cannot write to standard output: {}",
            reason(error)
        ))
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The message and what there is to see, line by line.
    pub(crate) fn whole(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}\n{}", self.message(), detail.trim_end()),
            None => self.message().to_owned(),
        }
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", printable(&self.message))?;
        let lines = self.detail.iter().flat_map(|detail| detail.lines());
        for line in lines.take(DETAIL_LINES) {
            let line: String = line.chars().take(DETAIL_COLUMNS).collect();
            write!(f, "\n{}", printable(&line))?;
        }
        match &self.advice {
            Some(advice) => write!(f, "\n  hint: {}", printable(advice)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_code_is_documented() {
        for exit in [
            Exit::Done,
            Exit::Failure,
            Exit::Usage,
            Exit::Incomplete,
            Exit::Diverged,
            Exit::TimedOut,
            Exit::HungUp,
            Exit::Interrupted,
            Exit::Terminated,
        ] {
            let line = format!("\n  {:<5}", exit.code());
            assert!(HELP.contains(&line), "{exit:?}");
        }
    }

    #[test]
    fn a_failure_says_what_and_what_to_do() {
        let failure = Failure::io(
            "read",
            Path::new("x.torrent"),
            &io::Error::from(io::ErrorKind::NotFound),
        );
        let text = failure.to_string();
        assert!(text.starts_with("error: cannot read x.torrent: "), "{text}");
        assert!(text.contains("\n  hint: "), "{text}");
        assert_eq!(failure.exit(), Exit::Failure);
    }

    #[test]
    fn details_keep_their_lines_and_are_bounded() {
        let failure = Failure::usage("f.toml: line 2")
            .detail("  |\n2 | a =\u{7}\n")
            .advise("mend it");
        assert_eq!(
            failure.to_string(),
            "error: f.toml: line 2\n  |\n2 | a =\\u{7}\n  hint: mend it"
        );
        let endless = Failure::new("x").detail("y".repeat(5000) + &"\nz".repeat(5000));
        let text = endless.to_string();
        assert_eq!(text.lines().count(), 1 + DETAIL_LINES);
        assert!(text.lines().all(|line| line.len() <= DETAIL_COLUMNS));
        assert_eq!(Failure::new("x").detail("\n").to_string(), "error: x");
    }

    #[test]
    fn a_failure_cannot_write_on_the_terminal_at_will() {
        let failure = Failure::new("bad name \u{1b}[2J\u{9b}1m").advise("rename \u{7}it");
        assert!(
            !failure
                .to_string()
                .chars()
                .any(|c| c.is_control() && c != '\n')
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_news() {
        assert!(Failure::stdout(&io::Error::from(io::ErrorKind::BrokenPipe)).is_silent());
        assert!(!Failure::stdout(&io::Error::from(io::ErrorKind::StorageFull)).is_silent());
    }
}
