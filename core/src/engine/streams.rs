//! BEP 29: connections over packets, from the first packet to a peer.
//!
//! [`Streams`](crate::streams) makes of packets what an embedder's events are of a TCP connection; here they are told to
//! the same parts. And who is dialled by which transport, or by both: a peer that does not answer by one of them within
//! [`RIVAL_AFTER`] is dialled by the other as well, and whichever stands first is kept.

use core::net::SocketAddr;

use crate::connections::Conn;
use crate::ctx::Timer;
use crate::engine::Engine;
use crate::event::CloseReason;
use crate::id::{ConnId, TorrentId};
use crate::limits::{RIVAL_AFTER, ROUNDS_PER_CALL};
use crate::peer::handshake::Greeting;
use crate::rng::Seed;
use crate::streams::{News, Streams};
use crate::torrent::Torrent;
use crate::transport::utp::UtpId;
use crate::transport::{Transport, Transports};
use crate::wire::utp::Packet;

impl Engine {
    /// Whether a packet goes to the streams.
    pub(super) fn is_of_stream(&self, packet: &[u8]) -> bool {
        self.streams.is_some() && Packet::is_likely(packet)
    }

    pub(super) fn on_flushed(&mut self, len: u64) {
        let surplus = match &mut self.streams {
            Some(streams) => streams.flushed(len),
            None => len,
        };
        self.shared.stats.oversent = self.shared.stats.oversent.saturating_add(surplus);
    }

    /// Changes by what peers are dialled and let in.
    pub(super) fn set_transports(&mut self, transports: Transports) {
        self.shared.config.transports = transports;
        if transports.contain(Transport::Utp) && self.streams.is_none() {
            let mut seed = [0; 32];
            self.shared.rng.fill(&mut seed);
            let streams = Streams::new(&self.shared.config, Seed(seed));
            self.streams = Some(alloc::boxed::Box::new(streams));
        }
    }

    /// Carries out what parts want done to connections over packets: it is in the actions from the place `from` on. After a
    /// packet, others are waited for that came with it.
    pub(super) fn carry(&mut self, from: usize, after_packet: bool) {
        let Some(mut streams) = self.streams.take() else {
            return;
        };
        if streams.is_idle() {
            self.streams = Some(streams);
            return;
        }
        let mut from = from;
        for _ in 0..ROUNDS_PER_CALL {
            let now = self.shared.now;
            streams.take_orders(now, &mut self.shared.actions, from);
            from = self.shared.actions.len();
            if after_packet && streams.expects_more() && !streams.has_news() {
                break;
            }
            streams.settle(now);
            let connections = &self.shared.connections;
            streams.transmit(now, &mut self.shared.actions, |conn| {
                connections.get(conn).and_then(Conn::torrent)
            });
            if !streams.has_news() {
                break;
            }
            let news = streams.take_news();
            // Whoever is told may dial.
            self.streams = Some(streams);
            for news in news {
                self.on_news(news);
            }
            self.hear();
            match self.streams.take() {
                Some(back) => streams = back,
                None => return,
            }
        }
        streams.take_orders(self.shared.now, &mut self.shared.actions, from);
        self.streams = Some(streams);
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Incoming(id, from) => self.on_stream(id, from),
            News::Connected(conn) => self.on_connected(conn),
            News::Received(conn, data) => self.on_received(conn, data),
            News::Sent(conn, len) => self.on_sent(conn, len),
            News::Closed(conn, reason) => self.on_closed(conn, reason),
        }
    }

    fn on_stream(&mut self, id: UtpId, from: SocketAddr) {
        let conn = self.admit(from, Transport::Utp);
        let now = self.shared.now;
        let Some(streams) = &mut self.streams else {
            return;
        };
        match conn {
            Some(conn) => {
                streams.keep(id, conn);
                self.begin_greeting(conn);
            }
            None => streams.refuse(now, id),
        }
    }

    /// Dials a torrent's peer by the transport that is likelier.
    pub(super) fn dial_peer(&mut self, torrent: TorrentId, to: SocketAddr, by: Option<Transport>) {
        let transports = self.shared.config.transports;
        let first = match (transports, by) {
            (Transports::Tcp, _) | (Transports::Both, Some(Transport::Tcp)) => Transport::Tcp,
            (Transports::Utp, _) | (Transports::Both, Some(Transport::Utp)) => Transport::Utp,
            // On this machine there is no link to share with others, and TCP costs less.
            (Transports::Both, None) if to.ip().to_canonical().is_loopback() => Transport::Tcp,
            (Transports::Both, None) => Transport::Utp,
        };
        let conn = self.dial_by(torrent, to, first);
        let timeout = if transports == Transports::Both {
            if let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) {
                greeting.is_first = true;
            }
            RIVAL_AFTER.min(self.shared.config.connect_timeout)
        } else {
            self.shared.config.connect_timeout
        };
        self.shared
            .timers
            .set(Timer::Conn(conn), self.shared.now + timeout);
    }

    fn dial_by(&mut self, torrent: TorrentId, to: SocketAddr, transport: Transport) -> ConnId {
        self.shared.stats.connections += 1;
        let now = self.shared.now;
        let actions = &mut self.shared.actions;
        let conn = self
            .shared
            .connections
            .dial(torrent, to, transport, actions);
        if transport == Transport::Utp
            && let Some(streams) = &mut self.streams
        {
            streams.dial(now, conn, to);
        }
        conn
    }

    /// A peer that is being dialled does not answer by one transport: it is dialled by the other as well.
    pub(super) fn dial_rival(&mut self, conn: ConnId) {
        let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) else {
            return;
        };
        greeting.is_first = false;
        let Some(torrent) = greeting.torrent() else {
            return;
        };
        let (to, other) = (greeting.address, greeting.transport.other());
        let timeout = self.shared.config.connect_timeout;
        let may_dial = self
            .shared
            .connections
            .may_dial(&self.shared.config, self.shared.now)
            .is_ok();
        if !self.shared.config.transports.contain(other) || !may_dial {
            self.shared
                .timers
                .set(Timer::Conn(conn), self.shared.now + timeout);
            return;
        }
        let rival = self.dial_by(torrent, to, other);
        for (one, another) in [(conn, rival), (rival, conn)] {
            if let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(one) {
                greeting.rival = Some(another);
            }
            self.shared
                .timers
                .set(Timer::Conn(one), self.shared.now + timeout);
        }
    }

    /// A connection that was dialled stands: the one by the other transport is not needed.
    pub(super) fn outrun_rival(&mut self, conn: ConnId) {
        let Some(Conn::Greeting(greeting)) = self.shared.connections.get_mut(conn) else {
            return;
        };
        if let Some(rival) = greeting.rival.take() {
            self.shared.timers.cancel(Timer::Conn(rival));
            self.shared
                .connections
                .close(rival, &mut self.shared.actions);
        }
    }

    /// A connection ended before both sides were introduced.
    pub(super) fn on_greeting_closed(&mut self, greeting: &Greeting, reason: CloseReason) {
        let Some(torrent) = greeting.torrent() else {
            return;
        };
        if greeting.is_incoming() {
            return;
        }
        if let Some(rival) = greeting.rival
            && self.shared.connections.part(rival)
        {
            // The other transport may still bring us there.
            return;
        }
        let other = greeting.transport.other();
        if greeting.is_first
            && !matches!(reason, CloseReason::Exhausted | CloseReason::Denied)
            && self.shared.config.transports.contain(other)
            && self.torrents.get(torrent).is_some_and(Torrent::takes_peers)
        {
            // Known sooner than it was waited for: nobody is there, or who is there wants nobody by this transport.
            let conn = self.dial_by(torrent, greeting.address, other);
            self.shared.timers.set(
                Timer::Conn(conn),
                self.shared.now + self.shared.config.connect_timeout,
            );
            return;
        }
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.dial_ended(&mut self.shared, greeting.address, reason);
        }
    }
}
