//! Downloads a torrent, and lets the client say what it does: connections and their ends, trackers, faults.

use anabranch_smol::{AddOptions, ClientBuilder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which .torrent file?")?;
    // Any subscriber will do; this one writes lines, and leaves out what is told message by message.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(std::io::stderr);
    subscriber.init();
    smol::block_on(async {
        let client = ClientBuilder::new().download_dir(".").start()?;
        let torrent = client.add(&*file, AddOptions::new()).await?;
        torrent.wait_complete().await?;
        client.shutdown().await?;
        Ok(())
    })
}
