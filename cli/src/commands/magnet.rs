//! `anabranch magnet`: the link of a torrent.

use anabranch_core::metainfo::{Magnet, Node};

use super::read_torrent;
use crate::args::{self, PeerAddress};
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::runtime::Choice;

pub(crate) fn run(args: &args::Magnet) -> Result<Exit, Failure> {
    let (_, metainfo) = read_torrent(&args.torrent, Choice::default())?;
    let mut magnet = Magnet::of(&metainfo);
    magnet.peers = args.peers.iter().map(node).collect();
    print(&format!("{magnet}\n"))?;
    Ok(Exit::Done)
}

fn node(peer: &PeerAddress) -> Node {
    match peer {
        PeerAddress::Socket(address) => Node {
            host: address.ip().to_string(),
            port: address.port(),
        },
        PeerAddress::Name { host, port } => Node {
            host: host.clone(),
            port: *port,
        },
    }
}
