//! Connections on their way to a peer: dialled or accepted, shaking hands, handed to a torrent.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::action::Action;
use crate::command::Reply;
use crate::connections::Conn;
use crate::ctx::Timer;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::eviction::{Network, Newcomer};
use crate::id::{ConnId, Ticket, TorrentId};
use crate::limits;
use crate::notice::{DisconnectReason, PeerError};
use crate::peer::Introduction;
use crate::peer::handshake::Progress;
use crate::signal::Signal;
use crate::torrent::Torrent;
use crate::transport::Transport;
use crate::wire::handshake::{Handshake, PeerId, Reserved};

/// While all places are taken, strangers may be in one of so many, and one more.
const STRANGERS_SHARE: u32 = 16;

/// Whom a peer makes room for.
#[derive(Clone, Copy)]
enum For {
    /// Somebody at this address, who came.
    Visitor(IpAddr),
    /// Somebody whom we want to dial, for the sake of a torrent that gets next to nothing or does
    /// not.
    Dial { starves: bool },
}

impl Engine {
    pub(super) fn on_incoming(&mut self, ticket: Ticket, from: SocketAddr) {
        match self.admit(from, Transport::Tcp) {
            Some(conn) => {
                self.shared.push(Action::Accept { ticket, conn });
                self.begin_greeting(conn);
            }
            None => self.shared.push(Action::Refuse { ticket }),
        }
    }

    /// Takes in who has dialled us, if it is welcome.
    pub(super) fn admit(&mut self, from: SocketAddr, transport: Transport) -> Option<ConnId> {
        let welcome = self.shutdown.is_none()
            && !self.is_down
            && self.torrents.len() > 0
            && self.shared.config.transports.contain(transport)
            && !self.shared.banned.contains(from.ip())
            && self
                .shared
                .connections
                .has_room_for(from.ip(), &self.shared.config)
            && self.make_room(from.ip());
        if !welcome {
            self.shared.stats.refused += 1;
            return None;
        }
        self.shared.stats.connections += 1;
        Some(self.shared.connections.accept(from, transport))
    }

    /// Sees to it that one more connection can come in from this address. Says whether it can.
    fn make_room(&mut self, from: IpAddr) -> bool {
        let strangers = self.shared.connections.strangers();
        let is_full = self.shared.connections.is_full(&self.shared.config);
        if self.shared.config.max_connections == 0
            || self.shared.connections.is_over(&self.shared.config)
        {
            return false;
        }
        let most = self.shared.config.max_incoming_handshakes;
        if strangers < most.max(self.shared.config.max_connections / 4) {
            if !is_full {
                return true;
            }
            // Who has not said what it wants takes few places of those who have.
            let few = self.shared.config.max_connections / STRANGERS_SHARE;
            if strangers <= few && self.replace_peer(For::Visitor(from)) {
                return true;
            }
        }
        let Some(displaced) = self.shared.connections.displaced_by(from) else {
            return false;
        };
        self.shared.stats.displaced += 1;
        // It came in, so nobody waits to hear why.
        let error = PeerError::Unwanted(DisconnectReason::Replaced);
        self.hang_up(displaced, error);
        true
    }

    /// Lets the peer that is of least use in all torrents go, in favour of somebody. Says whether
    /// there was one.
    fn replace_peer(&mut self, newcomer: For) -> bool {
        let (now, places) = (self.shared.now, self.shared.config.max_connections);
        let torrents = &self.torrents;
        self.evictor.look(now, places, || {
            let torrents = torrents.iter();
            torrents
                .flat_map(|(_, torrent)| torrent.facts_of_peers(now))
                .collect()
        });
        let connections = &self.shared.connections;
        let torrent_of = |conn| match connections.get(conn) {
            Some(Conn::Peer { torrent, .. }) => Some(*torrent),
            Some(Conn::Greeting(_) | Conn::Closing { .. }) | None => None,
        };
        let worth = |conn| torrents.get(torrent_of(conn)?)?.worth(conn, now);
        let victim = match newcomer {
            For::Visitor(from) => {
                let network = Network::of(from);
                let newcomer = Newcomer {
                    network,
                    held: connections.held_by(network),
                    known_idle: self.shared.idlers.knows(now, from),
                };
                self.evictor.choose(now, places, newcomer, worth)
            }
            For::Dial { starves } => self.evictor.choose_to_dial(now, places, starves, worth),
        };
        let Some((conn, torrent)) = victim.and_then(|conn| Some((conn, torrent_of(conn)?))) else {
            return false;
        };
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.replace(&mut self.shared, conn);
        }
        true
    }

    pub(super) fn on_connected(&mut self, conn: ConnId) {
        let Some(greeting) = self.shared.connections.connected(conn) else {
            self.shared.stats.stale_conns += 1;
            return;
        };
        let torrent = greeting.torrent();
        self.outrun_rival(conn);
        self.send_handshake(conn, torrent);
        self.begin_greeting(conn);
        self.dial_soon();
    }

    /// Allows a handshake to be received, and bounds the time that it may take.
    pub(super) fn begin_greeting(&mut self, conn: ConnId) {
        let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) else {
            return;
        };
        // Room for the handshake and the piece map behind it.
        let credit = limits::READ_WINDOW / 16;
        greeting.credit += credit;
        self.shared.push(Action::Read { conn, credit });
        self.shared.timers.set(
            Timer::Conn(conn),
            self.shared.now + self.shared.config.handshake_timeout,
        );
    }

    fn send_handshake(&mut self, conn: ConnId, torrent: Option<TorrentId>) {
        let Some(torrent) = torrent.and_then(|torrent| self.torrents.get(torrent)) else {
            return;
        };
        let handshake = Handshake {
            reserved: Reserved::default()
                .with_fast(true)
                .with_extended(true)
                .with_dht(self.dht.is_some() && !torrent.is_private()),
            info_hash: *torrent.info_hash().as_bytes(),
            peer_id: self.shared.identity.peer_id,
        };
        let sent = self
            .shared
            .actions
            .send_with(conn, |buffer| buffer.extend_from_slice(&handshake.encode()));
        if let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) {
            greeting.unsent = greeting.unsent.saturating_add(sent as u64);
        }
    }

    /// Bytes of a handshake.
    pub(super) fn greet(&mut self, conn: ConnId, mut data: Bytes) {
        let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) else {
            return;
        };
        let expected = greeting
            .torrent()
            .and_then(|torrent| self.torrents.get(torrent));
        let expected = expected.map(Torrent::info_hash);
        let mut progress = greeting.receive(&mut data, expected);
        if let Ok(Progress::Asks(info_hash)) = progress {
            let found = self.by_hash.get(&info_hash).copied();
            let running =
                found.filter(|id| self.torrents.get(*id).is_some_and(Torrent::takes_peers));
            let Some(torrent) = running else {
                self.shared.stats.refused += 1;
                self.hang_up(conn, PeerError::Stranger);
                return;
            };
            self.send_handshake(conn, Some(torrent));
            let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) else {
                return;
            };
            progress = greeting.answer(torrent, &mut data);
        }
        match progress {
            Ok(Progress::Wait | Progress::Asks(_)) => {}
            Ok(Progress::Done {
                torrent,
                id,
                reserved,
            }) => {
                self.introduce(conn, torrent, id, reserved, data);
            }
            Err(_) => self.hang_up(conn, PeerError::Stranger),
        }
    }

    fn introduce(
        &mut self,
        conn: ConnId,
        torrent: TorrentId,
        id: PeerId,
        reserved: Reserved,
        rest: Bytes,
    ) {
        let Some(Conn::Greeting(greeting)) = self.shared.connections.get(conn) else {
            return;
        };
        let introduction = Introduction {
            conn,
            address: greeting.address,
            incoming: greeting.is_incoming(),
            transport: greeting.transport,
            id,
            reserved,
            // What lies behind the handshake is taken off the credit when the peer has it.
            credit: greeting
                .credit
                .saturating_add(u32::try_from(rest.len()).unwrap_or(u32::MAX)),
            unsent: greeting.unsent,
        };
        self.shared.timers.cancel(Timer::Conn(conn));
        let Some(torrent) = self.torrents.get_mut(torrent) else {
            self.shared
                .connections
                .close(conn, &mut self.shared.actions);
            return;
        };
        if torrent.join(&mut self.shared, introduction) {
            torrent.receive(&mut self.shared, conn, rest);
        }
    }

    /// Ends a connection that has not become a peer's.
    pub(super) fn hang_up(&mut self, conn: ConnId, error: PeerError) {
        self.shared.timers.cancel(Timer::Conn(conn));
        if let Some(Conn::Greeting(greeting)) = self.shared.connections.get(conn)
            && !greeting.is_incoming()
            && let Some(torrent) = greeting.torrent()
        {
            let (address, rival) = (greeting.address, greeting.rival);
            if rival.is_some_and(|rival| self.shared.connections.part(rival)) {
                // The other transport may still bring us there.
            } else if let Some(torrent) = self.torrents.get_mut(torrent) {
                torrent.dial_failed(&mut self.shared, address, error);
            }
        }
        self.shared
            .connections
            .close(conn, &mut self.shared.actions);
        self.dial_soon();
    }

    /// Ends all that there is with an address, and has nothing to do with it until it is pardoned.
    pub(super) fn ban(&mut self, address: IpAddr) -> Result<Reply, CommandError> {
        if !self.shared.banned.insert_by_user(address) {
            let limit = limits::MAX_BANNED as u32;
            return Err(CommandError::TooManyBans { limit });
        }
        let conns: Vec<ConnId> = self.shared.connections.with(address).collect();
        for conn in conns {
            match self.shared.connections.get(conn) {
                Some(Conn::Peer { torrent, .. }) => {
                    let torrent = *torrent;
                    if let Some(torrent) = self.torrents.get_mut(torrent) {
                        torrent.disconnect(&mut self.shared, conn, DisconnectReason::Banned);
                    }
                }
                Some(Conn::Greeting(_)) => {
                    let error = PeerError::Unwanted(DisconnectReason::Banned);
                    self.hang_up(conn, error);
                }
                Some(Conn::Closing { .. }) | None => {}
            }
        }
        Ok(Reply::Done)
    }

    /// Sees to it that torrents that wait for a free place are asked again.
    pub(super) fn dial_soon(&mut self) {
        if !self.dialers.is_empty() {
            self.shared.signal(Signal::Place);
        }
    }

    /// A torrent has somebody to dial.
    pub(super) fn dial_for(&mut self, id: TorrentId) {
        if self.torrents.contains(id) {
            self.dialers.insert(id);
            self.dial();
        }
    }

    /// Dials for the torrents that want peers, in turn, as far as the limits allow.
    pub(super) fn dial(&mut self) {
        while !self.dialers.is_empty() && self.shutdown.is_none() {
            if let Err(later) = self
                .shared
                .connections
                .may_dial(&self.shared.config, self.shared.now)
            {
                if let Some(at) = later {
                    self.shared.timers.set_no_later(Timer::Dial, at);
                }
                return;
            }
            let next = self.last_dialer.and_then(|last| {
                self.dialers
                    .range((
                        core::ops::Bound::Excluded(last),
                        core::ops::Bound::Unbounded,
                    ))
                    .next()
            });
            let Some(id) = next.or_else(|| self.dialers.first()).copied() else {
                return;
            };
            // It had its turn, also if nobody makes room for it.
            self.last_dialer = Some(id);
            if self.shared.connections.is_full(&self.shared.config) {
                let torrent = self.torrents.get(id);
                let starves = torrent.is_some_and(|torrent| torrent.starves(self.shared.now));
                if !self.replace_peer(For::Dial { starves }) {
                    // The end of another connection is the occasion.
                    return;
                }
            }
            let Some(torrent) = self.torrents.get_mut(id) else {
                self.dialers.remove(&id);
                continue;
            };
            match torrent.next_candidate(&mut self.shared) {
                Some(address) => {
                    let known = torrent.transport_of(address);
                    self.dial_peer(id, address, known);
                }
                None => {
                    torrent.seek_peers(&mut self.shared);
                    self.dialers.remove(&id);
                }
            }
        }
    }
}
