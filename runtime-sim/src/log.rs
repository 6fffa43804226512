//! The course of a run as text, an event a line.

use std::fmt;
use std::io::Write;

use anabranch_core::Instant;

use crate::event::stamp;

/// Where the lines go.
pub(crate) struct Log(Box<dyn Write + Send>);

impl Log {
    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self(Box::new(out))
    }

    /// Writes a line; that of no host when `host` is the largest number. What cannot be written is lost.
    pub(crate) fn line(&mut self, now: Instant, host: u32, text: &str) {
        let who = match host {
            u32::MAX => String::from("     "),
            host => format!("{host:>5}"),
        };
        let _ = writeln!(self.0, "{} {who} {text}", stamp(now));
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log(..)")
    }
}
