//! Where a host's recording goes.

use std::fmt;
use std::io::{self, Write};

/// The recording of an engine.
pub(crate) type Tape = anabranch_replay::Recorder<Sink>;

/// What is recorded to.
pub(crate) struct Sink(Box<dyn Write + Send>);

impl Sink {
    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self(Box::new(out))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink(..)")
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
