//! The runtimes that the engine can run on. The command's own waiting is smol's either way.

use anabranch_driver::{Client, ClientBuilder, Runtime, StartError};
use bytes::Bytes;
use clap::ValueEnum;
use smol::future::block_on;

use crate::exit::Failure;
use crate::output::text::reason;

#[cfg(not(any(feature = "runtime-smol", feature = "runtime-tokio")))]
compile_error!(
    "the engine needs a runtime: choose the feature runtime-smol, runtime-tokio or both"
);

/// A runtime for the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// A thread for each client, on smol.
    #[cfg(feature = "runtime-smol")]
    #[default]
    Smol,
    /// Tasks on tokio's threads.
    #[cfg(feature = "runtime-tokio")]
    #[cfg_attr(not(feature = "runtime-smol"), default)]
    Tokio,
}

/// How a client is set up, whatever it runs on.
pub(crate) trait Setup {
    /// Starts it.
    fn start<R: Runtime>(self, builder: ClientBuilder<R>) -> Result<Client, StartError>;
}

impl Choice {
    /// Starts a client on this runtime.
    pub(crate) fn start(self, setup: impl Setup) -> Result<Client, StartError> {
        match self {
            #[cfg(feature = "runtime-smol")]
            Self::Smol => setup.start(anabranch_smol::ClientBuilder::new()),
            #[cfg(feature = "runtime-tokio")]
            Self::Tokio => {
                let _inside = tokio()?.enter();
                setup.start(anabranch_tokio::ClientBuilder::new())
            }
        }
    }

    /// Fetches a torrent file from the web over this runtime.
    pub(crate) fn fetch_torrent(self, url: &str) -> Result<Bytes, Failure> {
        let fetched = match self {
            #[cfg(feature = "runtime-smol")]
            Self::Smol => block_on(anabranch_smol::ClientBuilder::new().fetch_torrent(url)),
            #[cfg(feature = "runtime-tokio")]
            Self::Tokio => {
                let runtime = tokio().map_err(|error| Failure::new(reason(&error)))?;
                let _inside = runtime.enter();
                block_on(anabranch_tokio::ClientBuilder::new().fetch_torrent(url))
            }
        };
        fetched.map_err(|error| {
            Failure::new(reason(&error)).advise(
                "look at the address in a browser, or save the file there and give its path",
            )
        })
    }

    /// The next runtime, if this command was built with more than one, and else the same.
    pub(crate) fn other(self) -> Self {
        let all = Self::value_variants();
        let next = all.iter().skip_while(|choice| **choice != self).nth(1);
        next.or(all.first()).copied().unwrap_or(self)
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "runtime-smol")]
            Self::Smol => "smol",
            #[cfg(feature = "runtime-tokio")]
            Self::Tokio => "tokio",
        }
    }
}

/// tokio's threads, which live as long as the process.
#[cfg(feature = "runtime-tokio")]
fn tokio() -> Result<&'static tokio::runtime::Runtime, StartError> {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_known_by_their_names_and_lead_to_each_other() {
        for choice in Choice::value_variants() {
            assert_eq!(Choice::from_str(choice.name(), false), Ok(*choice));
            assert_eq!(choice.other().other(), *choice);
        }
    }
}
