//! How the command ends: exit codes, and errors that say what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::output::text::printable;

/// The exit codes, as `--help` and the manual page tell them.
pub(crate) const HELP: &str = "\
Exit codes:
  0    all that was asked for is done, and verified
  1    something failed; the message says what, and what to do
  2    the command line is wrong
  3    data is missing or does not match the torrent
  4    a replay does something else than what was recorded
  130  interrupted (Ctrl-C) before it was done
  143  terminated (SIGTERM) before it was done";

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
    advice: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failure,
            message: message.into(),
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
        let failure = Self::new(format!("cannot {doing} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => failure.advise("check the path for a typing mistake"),
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
        Self::new(format!("cannot write to standard output: {error}"))
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
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
