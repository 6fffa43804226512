//! BEP 5, 33, 42, 43, 44: what a client can ask of the distributed hash table.

use std::net::SocketAddr;

use anabranch_core::Command;
use anabranch_core::command::Reply;
use anabranch_core::dht::{
    DhtCommand, DhtPeers, DhtPong, DhtReply, DhtScrape, DhtStatus, DhtStored, Item, MutableItem,
    NodeId, Value,
};
use anabranch_core::metainfo::{InfoHash, Node};
use bytes::Bytes;

use super::handle::Client;
use crate::error::Error;

/// Takes the answer out that belongs to a command.
macro_rules! expect {
    ($reply:expr, $variant:ident) => {
        match $reply? {
            DhtReply::$variant(reply) => Ok(reply),
            _ => Err(Error::Unexpected),
        }
    };
}

/// What can be asked of the DHT. Every method fails with
/// [`DhtOff`](anabranch_core::error::CommandError::DhtOff) where the client is no node of it, and with
/// [`Error::Stopped`]; those that ask other nodes take some seconds, and fail with
/// [`NoDhtNodes`](anabranch_core::error::CommandError::NoDhtNodes) when none is known half a minute after the start, and
/// with [`DhtBusy`](anabranch_core::error::CommandError::DhtBusy) when too much is asked at a time.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the answers of other commands, of which there may be more"
)]
impl Client {
    /// Finds peers of a torrent, whether or not the client has it.
    ///
    /// # Errors
    ///
    /// See [above](#impl-Client-1).
    pub async fn dht_get_peers(&self, info_hash: InfoHash) -> Result<DhtPeers, Error> {
        expect!(self.dht(DhtCommand::GetPeers { info_hash }).await, Peers)
    }

    /// Finds peers of a torrent, and announces one at this machine's address: on `port`, or on the client's own. The
    /// client's torrents do so by themselves.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_announce(
        &self,
        info_hash: InfoHash,
        port: Option<u16>,
        seed: bool,
    ) -> Result<DhtPeers, Error> {
        let command = DhtCommand::Announce {
            info_hash,
            port,
            seed,
        };
        expect!(self.dht(command).await, Peers)
    }

    /// Estimates how many peers a torrent has (BEP 33).
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_scrape(&self, info_hash: InfoHash) -> Result<DhtScrape, Error> {
        expect!(self.dht(DhtCommand::Scrape { info_hash }).await, Scraped)
    }

    /// Asks a node whether it is there.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`]; [`NoDhtAnswer`](anabranch_core::error::CommandError::NoDhtAnswer).
    pub async fn dht_ping(&self, address: SocketAddr) -> Result<DhtPong, Error> {
        expect!(self.dht(DhtCommand::Ping { address }).await, Pong)
    }

    /// Gets to know a node, by a name or an IP address and its UDP port. Does not wait for its answer.
    ///
    /// # Errors
    ///
    /// [`DhtOff`](anabranch_core::error::CommandError::DhtOff), [`Error::Stopped`].
    pub async fn dht_add_node(&self, host: impl Into<String>, port: u16) -> Result<(), Error> {
        let host = host.into();
        let node = Node { host, port };
        let command = Command::Dht(DhtCommand::AddNode { node });
        self.remote.command(command).await.map(|_| ())
    }

    /// Gets the value that is stored under its own hash (BEP 44); none if nobody has it.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_get(&self, target: NodeId) -> Result<Option<Value>, Error> {
        let item = expect!(self.dht(DhtCommand::GetImmutable { target }).await, Item)?;
        match item {
            Some(Item::Immutable(value)) => Ok(Some(value)),
            None => Ok(None),
            Some(Item::Mutable(_)) => Err(Error::Unexpected),
        }
    }

    /// Stores a value under its own hash (BEP 44), for two hours.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_put(&self, value: Value) -> Result<DhtStored, Error> {
        expect!(self.dht(DhtCommand::PutImmutable { value }).await, Stored)
    }

    /// Gets the newest item of a public key (BEP 44); none if nobody has one.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_get_mutable(
        &self,
        key: [u8; 32],
        salt: impl Into<Bytes>,
    ) -> Result<Option<MutableItem>, Error> {
        let salt = salt.into();
        let command = DhtCommand::GetMutable { key, salt };
        match expect!(self.dht(command).await, Item)? {
            Some(Item::Mutable(item)) => Ok(Some(item)),
            None => Ok(None),
            Some(Item::Immutable(_)) => Err(Error::Unexpected),
        }
    }

    /// Stores a signed item under its public key (BEP 44), for two hours. With `cas`, only where the item of this number
    /// is stored at present.
    ///
    /// # Errors
    ///
    /// As with [`Client::dht_get_peers`].
    pub async fn dht_put_mutable(
        &self,
        item: MutableItem,
        cas: Option<i64>,
    ) -> Result<DhtStored, Error> {
        expect!(self.dht(DhtCommand::PutMutable { item, cas }).await, Stored)
    }

    /// How the node is: its tables, its addresses, what it has done.
    ///
    /// # Errors
    ///
    /// [`DhtOff`](anabranch_core::error::CommandError::DhtOff), [`Error::Stopped`].
    pub async fn dht_stats(&self) -> Result<DhtStatus, Error> {
        expect!(self.dht(DhtCommand::Status).await, Status)
    }

    async fn dht(&self, command: DhtCommand) -> Result<DhtReply, Error> {
        match self.remote.command(Command::Dht(command)).await? {
            Reply::Dht(reply) => Ok(*reply),
            _ => Err(Error::Unexpected),
        }
    }
}
