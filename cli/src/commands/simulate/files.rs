//! What `simulate` writes to files.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anabranch_sim::scenario::Run;

use crate::args::Simulate;
use crate::exit::Failure;

/// The files that are written after the run.
#[derive(Debug)]
pub(super) struct Files {
    csv: Option<(PathBuf, File)>,
    plot: Option<(PathBuf, File)>,
}

impl Files {
    pub(super) fn create(args: &Simulate) -> Result<Self, Failure> {
        let named = [
            ("--csv", &args.csv),
            ("--log", &args.log),
            ("--plot", &args.plot),
        ];
        for (index, (option, path)) in named.iter().enumerate() {
            let same = named[..index]
                .iter()
                .find(|(_, other)| path.is_some() && other == path);
            if let Some((other, _)) = same {
                return Err(
                    Failure::usage(format!("{other} and {option} name the same file"))
                        .advise("give each a file of its own"),
                );
            }
        }
        if let Some(path) = &args.plot {
            refuse_other_pictures(path)?;
        }
        Ok(Self {
            csv: create(args.csv.as_deref(), |first| first.starts_with("time_s,"))?,
            plot: create(args.plot.as_deref(), |first| first.starts_with("<svg"))?,
        })
    }

    pub(super) fn write(self, run: &Run) -> Result<(), Failure> {
        if let Some((path, file)) = self.csv {
            let mut out = BufWriter::new(file);
            run.metrics()
                .write_csv(&mut out)
                .and_then(|()| out.flush())
                .map_err(|error| Failure::io("write", &path, &error))?;
        }
        if let Some((path, mut file)) = self.plot {
            file.write_all(run.plot().as_bytes())
                .map_err(|error| Failure::io("write", &path, &error))?;
        }
        Ok(())
    }
}

/// A plot is SVG: under a name that promises something else, no program would show it.
fn refuse_other_pictures(path: &Path) -> Result<(), Failure> {
    match path.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("svg") => Err(Failure::usage(format!(
            "--plot draws SVG, which {} would not be taken for",
            path.display()
        ))
        .advise(format!(
            "name it {}; browsers show it, and for example rsvg-convert makes a PNG of it",
            path.with_extension("svg").display()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// How much is looked at of a file that is there.
const FIRST_BYTES: u64 = 64;

/// Creates a file, or replaces one of an earlier run, which `is_ours` knows by how it begins. What else is there
/// is not written over; a device or a pipe is written to.
fn create(
    path: Option<&Path>,
    is_ours: impl Fn(&str) -> bool,
) -> Result<Option<(PathBuf, File)>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    if std::fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() > 0) {
        let mut first = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut first))
            .map_err(|error| Failure::io("read", path, &error))?;
        if !is_ours(&String::from_utf8_lossy(&first)) {
            let message = format!(
                "{} is there, and is not what an earlier run wrote",
                path.display()
            );
            return Err(Failure::new(message).advise("choose another name, or remove the file"));
        }
    }
    let file = File::create(path).map_err(|error| Failure::io("write", path, &error))?;
    Ok(Some((path.to_owned(), file)))
}

/// The event log, given away to be written to.
#[derive(Debug)]
pub(super) struct LogFile {
    out: BufWriter<File>,
    csv: bool,
    error: Arc<Mutex<Option<io::Error>>>,
}

/// Whether the event log could be written.
#[derive(Debug)]
pub(super) struct Written {
    path: PathBuf,
    error: Arc<Mutex<Option<io::Error>>>,
}

impl LogFile {
    pub(super) fn create(path: Option<&Path>) -> Result<(Option<Self>, Written), Failure> {
        let error = Arc::new(Mutex::new(None));
        // A time, or the names of the columns.
        let file = create(path, |first| {
            let time = first.split_whitespace().next().unwrap_or_default();
            let is_time = |c: char| c.is_ascii_digit() || c == '.' || c == ':';
            first.starts_with("time_s,") || !time.is_empty() && time.chars().all(is_time)
        })?;
        let written = Written {
            path: path.unwrap_or(Path::new("")).to_owned(),
            error: Arc::clone(&error),
        };
        let log = file.map(|(path, file)| Self {
            out: BufWriter::with_capacity(1 << 18, file),
            csv: path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("csv")),
            error,
        });
        Ok((log, written))
    }

    pub(super) fn is_csv(&self) -> bool {
        self.csv
    }

    /// Keeps the first error for whoever asks in the end.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(error);
            kind.into()
        })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // The error is noted.
        let _ = self.flush();
    }
}

impl Written {
    /// Fails if something of the log could not be written. The log must be gone by then.
    pub(super) fn check(self) -> Result<(), Failure> {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match first.take() {
            None => Ok(()),
            Some(error) => Err(Failure::io("write", &self.path, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_have_names_that_say_what_they_are() {
        for fine in ["a.svg", "a.SVG", "/dev/stdout", "a"] {
            assert!(refuse_other_pictures(Path::new(fine)).is_ok(), "{fine}");
        }
        for wrong in ["a.png", "a.svg.gz", "a.html"] {
            let failure = refuse_other_pictures(Path::new(wrong)).unwrap_err();
            assert_eq!(failure.exit(), crate::exit::Exit::Usage);
        }
        let failure = refuse_other_pictures(Path::new("x/a.png")).unwrap_err();
        assert!(
            failure
                .advice()
                .is_some_and(|advice| advice.contains("x/a.svg"))
        );
    }
}
