//! The nodes that are asked.

use std::net::SocketAddr;
use std::path::Path;

use anabranch_tests::Scratch;
use anabranch_tests::clients::{Anabranch, LibtorrentNode};
use anabranch_tests::process::Process;

/// More than any node can answer.
const NO_LIMIT: &str = "--reply-rate=1GiB";

/// Whose node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Anabranch,
    Libtorrent,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anabranch => "anabranch",
            Self::Libtorrent => "libtorrent",
        }
    }
}

/// A running node.
pub(crate) enum Node {
    Anabranch(Anabranch),
    Libtorrent(LibtorrentNode),
}

impl Node {
    /// Starts one that knows nobody.
    pub(crate) fn start(kind: Kind, bin: &Path, scratch: &Scratch) -> Self {
        match kind {
            Kind::Anabranch => {
                let extra = ["--alone", "--interval=1s", NO_LIMIT];
                Self::Anabranch(Anabranch::dht_node_build(bin, scratch, &extra))
            }
            Kind::Libtorrent => Self::Libtorrent(LibtorrentNode::start()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Anabranch(node) => node.address(),
            Self::Libtorrent(node) => node.address(),
        }
    }

    /// Makes it get to know a node, if it is not enough to ask it something.
    pub(crate) fn introduce(&mut self, node: SocketAddr) {
        match self {
            Self::Anabranch(_) => {}
            Self::Libtorrent(this) => this.add(node),
        }
    }

    /// How many nodes are in its table, as it tells.
    pub(crate) fn known(&mut self) -> u64 {
        match self {
            Self::Anabranch(node) => {
                let told = node.events("dht");
                let last = told.last();
                last.and_then(|said| said["ipv4"]["nodes"].as_u64())
                    .unwrap_or(0)
            }
            Self::Libtorrent(node) => node.known(),
        }
    }

    pub(crate) const fn process(&self) -> &Process {
        match self {
            Self::Anabranch(node) => node.process(),
            Self::Libtorrent(node) => node.process(),
        }
    }
}
