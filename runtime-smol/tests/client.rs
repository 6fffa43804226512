//! Clients as a program uses them: real engines, files and sockets on loopback.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a policy of this kind denies what it does not know"
)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anabranch_smol::core::error::CommandError;
use anabranch_smol::core::metainfo::Creator;
use anabranch_smol::core::{Notice, TorrentState};
use anabranch_smol::{AddOptions, Client, ClientBuilder, Contact, Error, Source, StartError};
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

fn run<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(smol::future::or(test, async {
        smol::Timer::after(PATIENCE).await;
        panic!("not in time")
    }))
}

fn client() -> Client {
    builder().start().expect("a client")
}

fn builder() -> ClientBuilder {
    ClientBuilder::new()
        .listen([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        .policy(|contact: &Contact<'_>| match contact {
            Contact::Connect(to) | Contact::Accept(to) | Contact::Datagram(to) => {
                to.ip().is_loopback()
            }
            _ => false,
        })
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a writable folder")
}

/// Bytes that repeat nowhere near.
fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32) as u32
    });
    words.flat_map(u32::to_le_bytes).take(len).collect()
}

/// Puts a file in a folder, and makes its torrent.
fn share(dir: &Path, name: &str, data: &[u8]) -> Source {
    std::fs::write(dir.join(name), data).expect("written");
    let creator = Creator::single_file(name, data.len() as u64).with_piece_length(64 << 10);
    let hashes: Vec<u8> = data
        .chunks(creator.piece_length() as usize)
        .flat_map(Sha1::digest)
        .collect();
    let torrent = creator.finish(&hashes).expect("a torrent").torrent;
    Source::Bytes(torrent)
}

fn into(dir: &TempDir) -> AddOptions {
    AddOptions {
        dir: Some(dir.path().into()),
        ..AddOptions::default()
    }
}

#[test]
fn a_torrent_travels_from_one_client_to_another() {
    run(async {
        let data = content(5_000_001);
        let (here, there) = (folder(), folder());
        let source = share(here.path(), "file.bin", &data);
        let seeder = client();
        let seeding = seeder
            .add(source.clone(), into(&here))
            .await
            .expect("added");
        seeding.wait_complete().await.expect("it is all there");
        let leecher = client();
        let options = AddOptions {
            peers: seeder.listen_addrs().to_vec(),
            ..into(&there)
        };
        let torrent = leecher.add(source, options).await.expect("added");
        assert_eq!(torrent.info_hash(), seeding.info_hash());
        assert_eq!(torrent.name(), "file.bin");
        torrent.wait_complete().await.expect("downloaded");
        let status = torrent.status().await.expect("there");
        assert_eq!(status.state, TorrentState::Seeding);
        assert_eq!(status.have, data.len() as u64);
        let files = torrent.files().await.expect("there");
        assert_eq!((files.len(), files[0].have), (1, data.len() as u64));
        leecher.shutdown().await.expect("a good end");
        seeder.shutdown().await.expect("a good end");
        let copy = std::fs::read(there.path().join("file.bin")).expect("readable");
        assert!(copy == data);
    });
}

#[test]
fn a_second_run_goes_on_from_what_the_first_saved() {
    run(async {
        let data = content(1_000_000);
        let here = folder();
        let source = share(here.path(), "file.bin", &data);
        for first in [true, false] {
            let client = client();
            let mut notices = client.notices();
            let torrent = client
                .add(source.clone(), into(&here))
                .await
                .expect("added");
            torrent.wait_complete().await.expect("complete");
            client.shutdown().await.expect("a good end");
            let mut checking = false;
            while let Some(notice) = notices.next().await {
                if let Notice::Checked { have, pieces, .. } = notice {
                    assert_eq!((have, pieces), (16, 16));
                    checking = true;
                }
            }
            assert!(checking || !first);
        }
    });
}

#[test]
fn a_handle_outlives_its_torrent_and_its_client_without_hanging() {
    run(async {
        let (here, there) = (folder(), folder());
        let source = share(here.path(), "file.bin", &content(100_000));
        let client = client();
        let torrent = client
            .add(source.clone(), into(&there))
            .await
            .expect("added");
        let duplicate = client.add(source, into(&there)).await;
        assert!(matches!(
            duplicate,
            Err(Error::Command(CommandError::Duplicate { .. }))
        ));
        assert_eq!(client.torrents().await.expect("running").len(), 1);
        torrent.pause().await.expect("paused");
        torrent.resume().await.expect("resumed");

        let waiting = torrent.clone();
        let waiting = smol::spawn(async move { waiting.wait_complete().await });
        torrent.remove(true).await.expect("removed");
        assert!(matches!(
            waiting.await,
            Err(Error::Removed | Error::Command(CommandError::NoSuchTorrent(_)))
        ));
        let gone = |result: Result<(), Error>| {
            assert!(matches!(
                result,
                Err(Error::Command(CommandError::NoSuchTorrent(_)))
            ));
        };
        gone(torrent.status().await.map(|_| ()));
        gone(torrent.pause().await);
        gone(torrent.remove(false).await);
        assert!(!there.path().join("file.bin").exists());

        client.shutdown().await.expect("a good end");
        assert!(matches!(torrent.status().await, Err(Error::Stopped)));
        assert!(matches!(torrent.wait_complete().await, Err(Error::Stopped)));
        assert!(matches!(client.stats().await, Err(Error::Stopped)));
    });
}

#[test]
fn what_cannot_be_added_is_named() {
    run(async {
        let client = client();
        let here = folder();
        let nothing = client.add("/no/such.torrent", into(&here)).await;
        let error = nothing.expect_err("no such file");
        assert!(error.to_string().contains("/no/such.torrent"), "{error}");
        let rubbish = client.add(b"rubbish".to_vec(), into(&here)).await;
        assert!(matches!(
            rubbish,
            Err(Error::Command(CommandError::BadMetainfo(_)))
        ));
        let nowhere = client.add(b"".to_vec(), AddOptions::default()).await;
        assert!(matches!(nowhere, Err(Error::NoFolder)));
        client.shutdown().await.expect("a good end");
    });
}

#[test]
fn a_taken_port_is_named_and_free_again_after_the_end() {
    run(async {
        let first = client();
        let address = first.listen_addrs()[0];
        let second = ClientBuilder::new().listen([address]).start();
        match second {
            Err(StartError::Listen { address: named, .. }) => assert_eq!(named, address),
            other => panic!("{other:?}"),
        }
        first.shutdown().await.expect("a good end");
        let third = ClientBuilder::new().listen([address]).start();
        third
            .expect("the port is free")
            .shutdown()
            .await
            .expect("a good end");
    });
}
