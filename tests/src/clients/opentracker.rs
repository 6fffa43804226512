//! opentracker, over HTTP and UDP on one port. It serves the torrents on its list alone.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::{port_of, utf8};
use crate::bencode::{self, Value};
use crate::process::Process;
use crate::{Scratch, Torrent, address, net, wait};

/// A tracker that is yet to start: torrents bear its address, and it has to know their hashes.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    address: SocketAddr,
}

/// A running tracker.
#[derive(Debug)]
pub struct Opentracker {
    _process: Process,
    address: SocketAddr,
}

impl Opentracker {
    /// Chooses the address.
    #[must_use]
    pub fn reserve() -> Reserved {
        Reserved {
            address: port_of(address::ANABRANCH),
        }
    }

    /// The peers known of a torrent: complete ones, and the others.
    ///
    /// # Panics
    ///
    /// When the tracker does not answer.
    #[must_use]
    pub fn peers(&self, torrent: &Torrent) -> (i64, i64) {
        let hash: String = torrent
            .info_hash
            .iter()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let target = format!("/scrape?info_hash={hash}");
        let reply = net::http(self.address, "GET", &target, &[], &[]).expect("opentracker's reply");
        let reply = bencode::decode(&reply.body);
        let files = reply.at("files").expect("files in a scrape");
        let Value::Dict(files) = files else {
            panic!("no dictionary in a scrape: {files:?}")
        };
        let Some(entry) = files.get(torrent.info_hash.as_slice()) else {
            return (0, 0);
        };
        let number = |key| {
            entry
                .at(key)
                .and_then(Value::int)
                .expect("a number of peers")
        };
        (number("complete"), number("incomplete"))
    }

    /// Waits until so many peers, complete or not, have announced themselves.
    pub fn wait_for_peers(&self, torrent: &Torrent, count: i64) {
        wait::until(&format!("{count} peers at the tracker"), || {
            let (complete, incomplete) = self.peers(torrent);
            (complete + incomplete >= count).then_some(())
        });
    }

    /// Waits until so many complete peers have announced themselves.
    pub fn wait_for_seeds(&self, torrent: &Torrent, count: i64) {
        wait::until(&format!("{count} complete peers at the tracker"), || {
            (self.peers(torrent).0 >= count).then_some(())
        });
    }
}

impl Reserved {
    /// Its announce address over HTTP.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Its announce address over UDP (BEP 15).
    #[must_use]
    pub fn udp(&self) -> String {
        format!("udp://{}/announce", self.address)
    }

    /// Starts it for these torrents.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start(self, scratch: &Scratch, torrents: &[&Torrent]) -> Opentracker {
        let list = scratch.join(&format!("opentracker-{}.list", self.address.port()));
        let hashes: String = torrents
            .iter()
            .map(|torrent| torrent.hex() + "\n")
            .collect();
        fs::write(&list, hashes).expect("the list of torrents");
        let port = self.address.port().to_string();
        let ip = self.address.ip().to_string();
        let process = Process::spawn(
            "opentracker",
            Command::new("opentracker")
                .args(["-i", &ip, "-p", &port, "-P", &port, "-w", utf8(&list)])
                .current_dir(scratch.path()),
        );
        wait::until("opentracker to accept connections", || {
            TcpStream::connect(self.address).ok()
        });
        Opentracker {
            _process: process,
            address: self.address,
        }
    }
}
