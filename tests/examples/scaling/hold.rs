//! A client that takes more connections than the command does, to see what they cost.

use anabranch_driver::AddOptions;
use anabranch_driver::engine::Config;
use anabranch_smol::ClientBuilder;

use crate::options::Hold;

/// Seeds until it is killed; says `listening` when all is there.
pub(crate) fn run(hold: &Hold) -> Result<(), String> {
    let mut config = Config::default();
    config.max_connections = hold.connections;
    config.max_connections_per_torrent = hold.connections;
    let client = ClientBuilder::new().config(config).listen([hold.listen]);
    let client = client.start().map_err(|error| error.to_string())?;
    smol::block_on(async {
        let options = AddOptions::new().dir(&hold.folder);
        let torrent = client.add(hold.torrent.as_path(), options).await;
        let torrent = torrent.map_err(|error| error.to_string())?;
        let complete = torrent.wait_complete().await;
        complete.map_err(|error| error.to_string())?;
        println!("complete");
        std::future::pending().await
    })
}
