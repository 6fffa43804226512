//! How commands tell what happens: progress bars on a terminal, plain lines elsewhere, JSON lines
//! for programs. Progress and messages for people go to standard error; JSON, and what a command was
//! asked to print, to standard output.

mod bars;
pub(crate) mod event;
mod glyphs;
pub(crate) mod json;
mod layout;
pub(crate) mod lines;
mod row;
mod screen;
pub(crate) mod text;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

pub(crate) use self::event::{Event, Metadata, Progress, Torrent, Total};
use crate::exit::Failure;

/// Tells events in the form that suits whoever reads.
#[derive(Debug)]
pub(crate) enum Output {
    Json,
    Lines(lines::Lines),
    Bars(Box<bars::Bars>),
}

impl Output {
    /// JSON if asked for; else bars if somebody looks, and lines if not.
    pub(crate) fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        // Asking switches control sequences on where that is needed.
        let obeys = !cfg!(windows) || console::Term::stderr().features().colors_supported();
        if stderr().is_terminal() && !console::is_dumb() && obeys {
            Self::Bars(Box::default())
        } else {
            Self::Lines(lines::Lines::default())
        }
    }

    /// Tells an event. An error is that standard output is gone.
    pub(crate) fn tell(&mut self, event: &Event) -> Result<(), Failure> {
        match self {
            Self::Json => json::tell(event),
            Self::Lines(lines) => {
                lines.tell(event);
                Ok(())
            }
            Self::Bars(bars) => {
                bars.tell(event);
                Ok(())
            }
        }
    }

    /// Tells what a command was asked to find out: on standard output, in any form.
    pub(crate) fn result(&mut self, event: &Event) -> Result<(), Failure> {
        self.clear();
        let line = match self {
            Self::Json => return json::tell(event),
            Self::Lines(_) | Self::Bars(_) => lines::News::default().line(event),
        };
        line.map_or(Ok(()), |line| print(&(line + "\n")))
    }

    /// Tells how far a long computation is: people only, as one line or bar that changes.
    /// The texts are in the order of their importance.
    #[cfg(feature = "simulate")]
    pub(crate) fn gauge(&mut self, done: u64, total: u64, texts: &[String]) {
        match self {
            Self::Json => {}
            Self::Lines(lines) => lines.gauge(texts),
            Self::Bars(bars) => bars.gauge(done, total, texts),
        }
    }

    /// Tells people what is waited for: at once, and then now and again as it changes. Until `clear`.
    pub(crate) fn wait(&mut self, text: &str) {
        match self {
            Self::Json => {}
            Self::Lines(lines) => lines.wait(text),
            Self::Bars(bars) => bars.wait(text),
        }
    }

    /// Shows what was told of the torrents' progress, if that was not done at once: so that many of them are
    /// drawn once, and never some of them as they were before. Also when the terminal has another size.
    pub(crate) fn refresh(&mut self) {
        match self {
            Self::Json | Self::Lines(_) => {}
            Self::Bars(bars) => bars.refresh(),
        }
    }

    /// Whether something is drawn that depends on the size of the terminal.
    pub(crate) fn draws(&self) -> bool {
        match self {
            Self::Json | Self::Lines(_) => false,
            Self::Bars(_) => true,
        }
    }

    /// How often progress is worth telling.
    pub(crate) fn interval(&self) -> Duration {
        match self {
            Self::Json | Self::Lines(_) => Duration::from_secs(1),
            Self::Bars(_) => Duration::from_millis(250),
        }
    }

    /// Tells people what to do next; programs know.
    pub(crate) fn advise(&mut self, advice: &str) {
        self.clear();
        match self {
            Self::Json => {}
            Self::Lines(_) | Self::Bars(_) => eprint_line(advice),
        }
    }

    /// Takes the bars away, so that what follows stands alone.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Json | Self::Lines(_) => {}
            Self::Bars(bars) => bars.clear(),
        }
    }

    /// Tells why the command ends, for which there is no other place.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.clear();
        if failure.is_silent() {
            return;
        }
        match self {
            Self::Json => {
                // When standard output is what failed, standard error may still be read.
                if json::tell(&Event::from(failure)).is_err() {
                    eprint_line(&failure.to_string());
                }
            }
            Self::Lines(_) | Self::Bars(_) => eprint_line(&failure.to_string()),
        }
    }
}

/// Writes to standard output, whole or not at all.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::stdout(&error))
}

/// Writes a line to standard error. If nobody can read it, there is nobody to tell.
pub(crate) fn eprint_line(line: &str) {
    let _ = writeln!(stderr().lock(), "{line}");
}
