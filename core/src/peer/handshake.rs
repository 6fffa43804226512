//! BEP 3, 6, 10, 20: a connection from its first byte until both sides know whom they talk to.

use core::net::SocketAddr;

use bytes::Bytes;

use crate::error::{Blame, Incompatibility, Misbehaviour};
use crate::id::{ConnId, TorrentId};
use crate::metainfo::InfoHash;
use crate::transport::Transport;
use crate::wire::handshake::{Handshake, HandshakeDecoder, PeerId, Reserved};

/// A connection that is being made or introduced.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) address: SocketAddr,
    pub(crate) stage: Stage,
    decoder: HandshakeDecoder,
    pub(crate) credit: u32,
    pub(crate) unsent: u64,
    pub(crate) transport: Transport,
    /// It is dialled by another transport as well if it does not answer soon, and in its place if this fails.
    pub(crate) is_first: bool,
    /// The connection by which the same peer is dialled at the same time.
    pub(crate) rival: Option<ConnId>,
    /// Its number among the strangers, if it dialled us.
    pub(crate) arrival: u64,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// We dial, for this torrent.
    Dialling(TorrentId),
    /// We dialled and sent our handshake; theirs is awaited.
    Dialled(TorrentId),
    /// It dialled us; nobody knows for which torrent.
    Incoming,
    /// It dialled us for this torrent; our handshake is sent, and the rest of theirs is awaited.
    Answered(TorrentId),
}

/// What the bytes of a handshake lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is needed.
    Wait,
    /// It came in for this torrent: look for it, and call `answer` if we have it.
    Asks(InfoHash),
    /// Both sides are introduced.
    Done {
        torrent: TorrentId,
        id: PeerId,
        reserved: Reserved,
    },
}

impl Greeting {
    pub(crate) fn new(address: SocketAddr, stage: Stage, transport: Transport) -> Self {
        Self {
            address,
            stage,
            transport,
            is_first: false,
            rival: None,
            decoder: HandshakeDecoder::new(),
            credit: 0,
            unsent: 0,
            arrival: 0,
        }
    }

    /// Whether it dialled us.
    pub(crate) fn is_incoming(&self) -> bool {
        matches!(self.stage, Stage::Incoming | Stage::Answered(_))
    }

    /// The torrent that it is about, as far as known.
    pub(crate) fn torrent(&self) -> Option<TorrentId> {
        match self.stage {
            Stage::Dialling(torrent) | Stage::Dialled(torrent) | Stage::Answered(torrent) => {
                Some(torrent)
            }
            Stage::Incoming => None,
        }
    }

    /// Takes the handshake off the front of `data`.
    pub(crate) fn receive(
        &mut self,
        data: &mut Bytes,
        expected: Option<InfoHash>,
    ) -> Result<Progress, Blame> {
        let handshake = self
            .decoder
            .decode(data)
            .map_err(|_| Blame::Misbehaved(Misbehaviour::BadHandshake))?;
        if self.stage == Stage::Incoming {
            // Some peers hold their id back until they have seen our handshake.
            return Ok(match self.decoder.info_hash() {
                Some(hash) => Progress::Asks(InfoHash::new(hash)),
                None => Progress::Wait,
            });
        }
        match (self.decoder.info_hash(), expected) {
            (Some(hash), Some(expected)) if hash != *expected.as_bytes() => {
                Err(Blame::Incompatible(Incompatibility::InfoHash))
            }
            _ => Ok(self.progress(handshake)),
        }
    }

    /// We have the torrent that it came in for; our handshake goes out with this.
    pub(crate) fn answer(
        &mut self,
        torrent: TorrentId,
        rest: &mut Bytes,
    ) -> Result<Progress, Blame> {
        self.stage = Stage::Answered(torrent);
        let handshake = self
            .decoder
            .decode(rest)
            .map_err(|_| Blame::Misbehaved(Misbehaviour::BadHandshake))?;
        Ok(self.progress(handshake))
    }

    fn progress(&self, handshake: Option<Handshake>) -> Progress {
        match (handshake, self.torrent()) {
            (
                Some(Handshake {
                    reserved, peer_id, ..
                }),
                Some(torrent),
            ) => Progress::Done {
                torrent,
                id: peer_id,
                reserved,
            },
            _ => Progress::Wait,
        }
    }
}
