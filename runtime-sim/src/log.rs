//! The course of a run as text, an event a line.

use std::fmt;
use std::io::Write;

use anabranch_core::Instant;

use crate::event::stamp;

/// Where the lines go.
pub(crate) struct Log {
    out: Box<dyn Write + Send>,
    form: Form,
    /// The host that it is about; all of them if none.
    only: Option<u32>,
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Csv,
}

impl Log {
    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            form: Form::Text,
            only: None,
        }
    }

    pub(crate) fn csv(out: impl Write + Send + 'static) -> Self {
        let mut out = Box::new(out);
        let _ = writeln!(out, "time_s,host,direction,event,detail");
        Self {
            out,
            form: Form::Csv,
            only: None,
        }
    }

    /// About one host, and what concerns none.
    pub(crate) fn only(self, host: u32) -> Self {
        Self {
            only: Some(host),
            ..self
        }
    }

    /// Whether it is about a host.
    pub(crate) fn is_about(&self, host: u32) -> bool {
        self.only.is_none_or(|only| only == host)
    }

    /// Writes a line; that of no host when `host` is the largest number. What cannot be written is lost.
    pub(crate) fn line(&mut self, now: Instant, host: u32, text: &str) {
        let who = match host {
            u32::MAX => String::new(),
            host => host.to_string(),
        };
        let _ = match self.form {
            Form::Text => writeln!(self.out, "{} {who:>5} {text}", stamp(now)),
            Form::Csv => {
                let (direction, rest) = match (host, text.strip_prefix("> ")) {
                    (u32::MAX, _) => ("world", text),
                    (_, Some(rest)) => ("out", rest),
                    (_, None) => ("in", text),
                };
                let end = rest
                    .find(|c: char| !c.is_alphanumeric())
                    .unwrap_or(rest.len());
                let (event, detail) = rest.split_at(end);
                let detail = quoted(detail.trim_start());
                let time = stamp(now);
                let time = time.trim_start();
                writeln!(self.out, "{time},{who},{direction},{event},{detail}")
            }
        };
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log(..)")
    }
}

/// A field of a CSV file (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Out(Sender<u8>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            bytes.iter().for_each(|byte| self.0.send(*byte).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(make: impl FnOnce(Out) -> Log) -> String {
        let (sender, receiver) = channel();
        let mut log = make(Out(sender));
        let at = Instant::from_millis(1_234_500);
        log.line(at, 7, "received c0.1 17 B");
        log.line(at, 7, "> disk o3 write 5 0+16384");
        log.line(at, u32::MAX, "Partition([HostId(1), HostId(2)])");
        log.line(at, 7, "tick");
        drop(log);
        String::from_utf8(receiver.into_iter().collect()).unwrap()
    }

    #[test]
    fn text_is_made_for_reading() {
        let text = written(Log::new);
        assert_eq!(
            text,
            "  1234.500000     7 received c0.1 17 B\n\
             \u{20} 1234.500000     7 > disk o3 write 5 0+16384\n\
             \u{20} 1234.500000       Partition([HostId(1), HostId(2)])\n\
             \u{20} 1234.500000     7 tick\n"
        );
    }

    #[test]
    fn csv_is_made_for_tables() {
        let text = written(Log::csv);
        assert_eq!(
            text,
            "time_s,host,direction,event,detail\n\
             1234.500000,7,in,received,c0.1 17 B\n\
             1234.500000,7,out,disk,o3 write 5 0+16384\n\
             1234.500000,,world,Partition,\"([HostId(1), HostId(2)])\"\n\
             1234.500000,7,in,tick,\n"
        );
    }
}
