//! Downloads a torrent, and says what happens meanwhile.

use anabranch_tokio::{AddOptions, ClientBuilder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which .torrent file?")?;
    let client = ClientBuilder::new().download_dir(".").start()?;
    let torrent = client.add(&*file, AddOptions::default()).await?;
    println!("downloading {} ({})", torrent.name(), torrent.info_hash());

    let mut notices = torrent.notices();
    tokio::spawn(async move {
        while let Some(notice) = notices.next().await {
            println!("{notice:?}");
        }
    });

    torrent.wait_complete().await?;
    let status = torrent.status().await?;
    println!("{} bytes, {} of them wasted", status.have, status.wasted);
    client.shutdown().await?;
    Ok(())
}
