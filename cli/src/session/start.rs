//! How a client is set up that talks to the world.

use std::io;
use std::path::PathBuf;

use anabranch_core::Config;
use anabranch_driver::{Client, ClientBuilder, DhtOptions, Runtime, StartError};

use crate::args::Listening;
use crate::commands::dht::state_folder;
use crate::exit::Failure;
use crate::output::text::reason;
use crate::runtime::{self, Setup};

/// The port that is listened on unless told otherwise.
const USUAL_PORT: u16 = 6881;

/// How a client is set up that talks to the world.
struct Public {
    config: Config,
    /// None: it takes no part in the DHT.
    dht: Option<DhtOptions>,
    listening: Listening,
    record: Option<PathBuf>,
}

impl Setup for Public {
    fn start<R: Runtime>(self, builder: ClientBuilder<R>) -> Result<Client, StartError> {
        let mut builder = builder.config(self.config);
        if let Some(dht) = self.dht {
            builder = builder.dht(dht);
        }
        if let Some(file) = self.record {
            builder = builder.record(file);
        }
        if let Some(folder) = state_folder() {
            builder = builder.spare_resume_dir(folder.join("resume"));
        }
        let Listening { listen, port } = self.listening;
        match port {
            _ if !listen.is_empty() => builder.listen(listen).start(),
            Some(port) => builder.port(port).start(),
            None => match builder.clone().port(USUAL_PORT).start() {
                Err(StartError::Listen { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse =>
                {
                    builder.port(0).start()
                }
                result => result,
            },
        }
    }
}

/// Starts a client where it is told to listen, or on the usual port if that is free, and else on another.
/// Records it if a file is named.
pub(crate) fn start(
    on: runtime::Choice,
    config: Config,
    dht: Option<DhtOptions>,
    listening: &Listening,
    record: Option<PathBuf>,
) -> Result<Client, Failure> {
    let result = on.start(Public {
        config,
        dht,
        listening: listening.clone(),
        record,
    });
    result.map_err(|error| {
        let failure = Failure::new(reason(&error));
        if let StartError::Record { path, source } = &error {
            let failure = Failure::io("record to", path, source);
            return match source.kind() == io::ErrorKind::AlreadyExists {
                true => failure.advise("choose another name, or remove the file"),
                false => failure,
            };
        }
        let StartError::Listen { source, .. } = &error else {
            return failure;
        };
        if source.kind() == io::ErrorKind::AddrInUse {
            failure.advise(
                "another program listens there; choose another port with --port or --listen, or leave \
                 the option out",
            )
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            failure.advise("give --listen an address of this machine, or 0.0.0.0")
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            failure.advise("choose a port from 1024 on")
        } else {
            failure
        }
    })
}
