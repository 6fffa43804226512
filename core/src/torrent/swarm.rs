//! Whom a torrent is connected to, and whom it might be: peers come and go (BEP 3).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::ctx::Timer;
use crate::error::Blame;
use crate::eviction::{Census, Evictor};
use crate::id::{ConnId, TorrentId};
use crate::notice::{DisconnectReason, Notice};
use crate::peer::Peer;
use crate::rate::Rate;
use crate::shared::Shared;
use crate::torrent::candidates::Candidates;
use crate::torrent::choker::Choker;
use crate::torrent::extended::{About, send_handshake};
use crate::torrent::handout::Handout;
use crate::torrent::phase::Course;
use crate::torrent::roster::Roster;

/// A torrent's peers, and what is decided of them together.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) peers: BTreeMap<ConnId, Peer>,
    /// How many of them are not choked.
    pub(super) unchoked: u32,
    /// How many of them are on which network.
    pub(super) networks: Census,
    /// Who of them may have to go.
    pub(super) evictor: Evictor,
    /// Who is told of to whom.
    pub(super) roster: Roster,
    pub(super) candidates: Candidates,
    pub(super) choker: Choker,
    /// What to offer to whom, once the torrent is complete and has somebody to offer it to.
    pub(super) handout: Option<Handout>,
    /// Pieces that came, until all peers have been told.
    pub(super) news: Vec<u32>,
}

/// How a torrent stands, as far as that decides whether it wants peers.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) id: TorrentId,
    pub(super) course: &'a Course,
    pub(super) unjudged: bool,
    pub(super) down: &'a Rate,
}

impl Standing<'_> {
    /// Whether peers may be connected.
    pub(super) fn takes_peers(&self) -> bool {
        self.course.takes_peers(self.unjudged)
    }
}

impl Swarm {
    pub(super) fn new(ctx: &mut Shared) -> Self {
        Self {
            peers: BTreeMap::new(),
            unchoked: 0,
            networks: Census::default(),
            evictor: Evictor::default(),
            roster: Roster::default(),
            candidates: Candidates::new(ctx.config.max_connections_per_address, ctx.rng.u32()),
            choker: Choker::new(ctx.config.unchoke_slots),
            handout: None,
            news: Vec::new(),
        }
    }

    /// The peers' connections, in their order.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.peers.keys().copied().collect()
    }

    /// Where a peer is.
    pub(super) fn address(&self, conn: ConnId) -> Option<SocketAddr> {
        self.peers.get(&conn).map(|peer| peer.address)
    }

    /// Has the driver end a peer's connection.
    pub(super) fn hang_up(&self, ctx: &mut Shared, conn: ConnId) {
        let unsent = self.peers.get(&conn).map_or(0, |peer| peer.unsent);
        ctx.connections.close_peer(conn, unsent, &mut ctx.actions);
    }

    /// Ends the connections that are to become peers'.
    pub(super) fn hang_up_greetings(&mut self, ctx: &mut Shared, torrent: TorrentId) {
        let greetings: Vec<ConnId> = match ctx.connections.has_greetings() {
            true => ctx.connections.greetings_of(torrent).collect(),
            false => Vec::new(),
        };
        for conn in greetings {
            ctx.timers.cancel(Timer::Conn(conn));
            ctx.connections.close(conn, &mut ctx.actions);
        }
        self.candidates.forget_attempts(ctx.now);
    }

    /// Takes a peer out of all that is decided of peers together.
    pub(super) fn remove(&mut self, ctx: &mut Shared, conn: ConnId) -> Option<Peer> {
        let peer = self.peers.remove(&conn)?;
        ctx.timers.cancel(Timer::Conn(conn));
        self.networks.remove(peer.address.ip());
        if peer.credit_waits || peer.upload_waits {
            ctx.throttle.forget(conn);
        }
        if let Some(handout) = &mut self.handout {
            peer.offered
                .iter()
                .for_each(|piece| handout.take_back(*piece));
        }
        if !peer.am_choking {
            self.unchoked -= 1;
        }
        Some(peer)
    }

    /// A peer has gone: whether it is worth to be dialled again, and that the user knows.
    pub(super) fn note_parted(
        &mut self,
        ctx: &mut Shared,
        torrent: TorrentId,
        peer: &Peer,
        reason: DisconnectReason,
    ) {
        let useful = peer.downloaded > 0 || peer.uploaded > 0;
        if let Some(address) = peer.dial_address {
            if reason == DisconnectReason::Stopped {
                self.candidates.on_stopped(address, useful, ctx.now);
            } else {
                let blamed = matches!(reason, DisconnectReason::Blamed(_));
                self.candidates
                    .on_closed(address, useful && !blamed, ctx.now);
            }
        }
        ctx.notify(Notice::PeerDisconnected {
            torrent,
            address: peer.address,
            reason,
        });
    }

    /// Has nothing to do with an address again. Returns the connections with it that are to be ended.
    pub(super) fn ban(
        &mut self,
        ctx: &mut Shared,
        torrent: TorrentId,
        address: SocketAddr,
        blame: Blame,
    ) -> Vec<ConnId> {
        if ctx.banned.insert(address.ip()) {
            ctx.stats.bans += 1;
            ctx.notify(Notice::PeerBanned {
                torrent,
                address,
                blame,
            });
        }
        self.candidates.remove_ip(address.ip());
        let banned = address.ip().to_canonical();
        let peers = self.peers.values();
        peers
            .filter(|peer| peer.address.ip().to_canonical() == banned)
            .map(|peer| peer.conn)
            .collect()
    }

    /// Something that extended handshakes tell has changed.
    pub(super) fn refresh_extended_handshakes(&mut self, ctx: &mut Shared, about: About) {
        for peer in self.peers.values_mut() {
            send_handshake(peer, ctx, about);
        }
    }
}
