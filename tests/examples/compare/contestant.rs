//! The clients, each with its own defaults wherever speed depends on them.

use std::process::Command;

use anabranch_tests::clients::{Client, Clients, Libtorrent, Rqbit};

use crate::options::Measurement;
use crate::stage::Stage;

/// What `cache-size-mb` is in a Transmission that nobody configured.
pub(crate) const TRANSMISSION_CACHE: u32 = 4;

/// A client to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    Anabranch,
    Baseline,
    /// Ours on one runtime, and on the other.
    Smol,
    Tokio,
    Aria2,
    Libtorrent,
    Rqbit,
    Transmission,
    Mktorrent,
}

impl Contestant {
    /// Ours first: ratios are to the first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Anabranch,
        Self::Baseline,
        Self::Smol,
        Self::Tokio,
        Self::Aria2,
        Self::Libtorrent,
        Self::Rqbit,
        Self::Transmission,
        Self::Mktorrent,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anabranch => "anabranch",
            Self::Baseline => "baseline",
            Self::Smol => "smol",
            Self::Tokio => "tokio",
            Self::Aria2 => "aria2",
            Self::Libtorrent => "libtorrent",
            Self::Rqbit => "rqbit",
            Self::Transmission => "transmission",
            Self::Mktorrent => "mktorrent",
        }
    }

    /// Whether it can do what is measured.
    pub(crate) fn takes_part(self, measurement: Measurement) -> bool {
        match self {
            Self::Anabranch | Self::Baseline => measurement != Measurement::Runtimes,
            Self::Smol | Self::Tokio => measurement == Measurement::Runtimes,
            Self::Aria2 => {
                measurement != Measurement::Runtimes && measurement != Measurement::Create
            }
            Self::Libtorrent | Self::Rqbit | Self::Transmission => {
                measurement != Measurement::Runtimes
            }
            Self::Mktorrent => measurement == Measurement::Create,
        }
    }

    /// Whether it can be one side of a transfer.
    pub(crate) fn transfers(self) -> bool {
        self != Self::Mktorrent
    }

    pub(crate) fn missing_package(self) -> Option<&'static str> {
        let client = match self {
            Self::Anabranch | Self::Baseline | Self::Smol | Self::Tokio => return None,
            Self::Aria2 => Client::Aria2,
            Self::Libtorrent => Client::Libtorrent,
            Self::Rqbit => Client::Rqbit,
            Self::Transmission => Client::Transmission,
            Self::Mktorrent => Client::Mktorrent,
        };
        let missing = Clients::find().missing().contains(&client);
        missing.then(|| client.package())
    }

    pub(crate) fn version(self, stage: &Stage) -> String {
        let mut command = match self {
            Self::Anabranch | Self::Baseline | Self::Smol | Self::Tokio => {
                Command::new(stage.build(self))
            }
            Self::Aria2 => Command::new("aria2c"),
            Self::Libtorrent => return Libtorrent::version(),
            Self::Rqbit => return Rqbit::version(),
            Self::Transmission => Command::new("transmission-daemon"),
            // It says so above its help.
            Self::Mktorrent => Command::new("mktorrent"),
        };
        let version = match self {
            Self::Mktorrent => "-h",
            Self::Anabranch
            | Self::Baseline
            | Self::Smol
            | Self::Tokio
            | Self::Aria2
            | Self::Libtorrent
            | Self::Rqbit
            | Self::Transmission => "--version",
        };
        let Ok(output) = command.arg(version).output() else {
            return "of an unknown version".into();
        };
        // Transmission's goes to standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// Whether others have to connect to it: it neither takes a peer by hand nor dials one on
    /// loopback.
    pub(crate) const fn waits_to_be_dialled(self) -> bool {
        matches!(self, Self::Transmission)
    }

    /// What one of ours is told beside the usual.
    pub(crate) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Smol => &["--runtime=smol"],
            Self::Tokio => &["--runtime=tokio"],
            Self::Anabranch
            | Self::Baseline
            | Self::Aria2
            | Self::Libtorrent
            | Self::Rqbit
            | Self::Transmission
            | Self::Mktorrent => &[],
        }
    }
}
