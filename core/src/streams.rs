//! BEP 29 below the engine's parts: connections that are carried over packets, and look like any other to whoever has
//! them.
//!
//! Parts know connections, and say what is to be done to them in actions. On the way out, those for connections that are
//! carried here are [taken](Streams::take_orders) out of the actions, and what comes of them leaves as packets. On the way
//! in, packets become [news](News), which the engine tells as it would tell an embedder's events. Nobody above this file
//! knows which is which, but who dials.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::action::{Action, Actions};
use crate::config::Config;
use crate::datagram::{Inbound, Outbound};
use crate::event::{CloseReason, Undelivered};
use crate::id::{ConnId, TorrentId};
use crate::limits::{DATAGRAM_WINDOW, MAX_CLOSING, PACKETS_PER_BATCH, STREAM_MEMORY};
use crate::rng::Seed;
use crate::time::Instant;
use crate::transport::utp::{self, Icmp, Utp, UtpId};

/// What has happened to a connection.
#[derive(Debug)]
pub(crate) enum News {
    /// Somebody has dialled us: [`keep`](Streams::keep) or [`refuse`](Streams::refuse).
    Incoming(UtpId, SocketAddr),
    Connected(ConnId),
    Received(ConnId, Bytes),
    Sent(ConnId, u64),
    Closed(ConnId, CloseReason),
}

/// All connections that are carried over packets.
#[derive(Debug)]
pub(crate) struct Streams {
    utp: Utp,
    /// None for those that have ended, until all that was still to be done to them is taken out of the actions.
    by_conn: BTreeMap<ConnId, Option<UtpId>>,
    by_id: BTreeMap<UtpId, ConnId>,
    ended: Vec<ConnId>,
    news: VecDeque<News>,
    /// Why packets did not arrive, as far as was said since the last settling.
    undelivered: Option<Undelivered>,
    /// Bytes of packets that the driver has and has not flushed.
    outstanding: u64,
    /// Packets that came since they were last settled.
    unsettled: u32,
    events: Vec<utp::Event>,
    orders: Vec<Action>,
    buffer: Vec<u8>,
}

impl Streams {
    pub(crate) fn new(config: &Config, seed: Seed) -> Self {
        let places = config.max_connections.saturating_add(MAX_CLOSING);
        let config = utp::Config {
            // Those that were closed may take a while to end.
            max_connections: (places as usize).saturating_mul(2),
            receive_memory: STREAM_MEMORY,
            send_memory: STREAM_MEMORY,
            // What waits is bounded by whoever sends: see `SEND_WINDOW`.
            send_queue: u32::MAX,
            ..utp::Config::default()
        };
        Self {
            utp: Utp::new(config, seed),
            by_conn: BTreeMap::new(),
            by_id: BTreeMap::new(),
            ended: Vec::new(),
            news: VecDeque::new(),
            undelivered: None,
            outstanding: 0,
            unsettled: 0,
            events: Vec::new(),
            orders: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Begins to dial. If that is not possible, it is news.
    pub(crate) fn dial(&mut self, now: Instant, conn: ConnId, to: SocketAddr) {
        match self.utp.connect(now, to) {
            Ok(id) => self.keep(id, conn),
            Err(_) => {
                self.by_conn.insert(conn, None);
                self.end(conn, CloseReason::Exhausted);
            }
        }
    }

    /// Keeps a connection that came in.
    pub(crate) fn keep(&mut self, id: UtpId, conn: ConnId) {
        self.by_conn.insert(conn, Some(id));
        self.by_id.insert(id, conn);
    }

    /// Ends a connection that came in and is not wanted.
    pub(crate) fn refuse(&mut self, now: Instant, id: UtpId) {
        self.utp.abort(now, id);
    }

    /// A connection is none any more.
    fn end(&mut self, conn: ConnId, reason: CloseReason) {
        if let Some(id) = self.by_conn.get_mut(&conn) {
            if let Some(id) = id.take() {
                self.by_id.remove(&id);
            }
            self.ended.push(conn);
            self.news.push_back(News::Closed(conn, reason));
        }
    }

    fn id(&self, conn: ConnId) -> Option<UtpId> {
        self.by_conn.get(&conn).copied().flatten()
    }

    /// Takes in one of the packets that came together. What it leads to is looked at when they are settled.
    pub(crate) fn arrive(&mut self, now: Instant, inbound: &Inbound, packet: &[u8]) {
        let at = inbound.at.unwrap_or(now);
        let way = (inbound.from, inbound.socket);
        self.utp.datagram_by(now, way, packet, at, &mut self.events);
        self.unsettled += 1;
    }

    /// Whether more packets are best waited for before what they lead to is looked at.
    pub(crate) fn expects_more(&self) -> bool {
        (1..PACKETS_PER_BATCH).contains(&self.unsettled)
    }

    /// Packets to an address did not arrive.
    pub(crate) fn undelivered(&mut self, to: SocketAddr, reason: Undelivered) {
        self.undelivered = Some(reason);
        self.utp.icmp(to, Icmp::Unreachable);
    }

    /// The driver has handed so many bytes of packets to the system. Says how many it had not been given.
    pub(crate) fn flushed(&mut self, len: u64) -> u64 {
        let counted = len.min(self.outstanding);
        self.outstanding -= counted;
        len - counted
    }

    /// Does what the engine's parts want done to these connections, taking it out of the actions from the place `from` on.
    pub(crate) fn take_orders(&mut self, now: Instant, actions: &mut Actions, from: usize) {
        if self.by_conn.is_empty() {
            return;
        }
        // Whoever was told of their end before has nothing to say to them from here on.
        let told = core::mem::take(&mut self.ended);
        let by_conn = &self.by_conn;
        actions.divert(from, |conn| by_conn.contains_key(&conn), &mut self.orders);
        let mut orders = core::mem::take(&mut self.orders);
        for order in orders.drain(..) {
            match order {
                Action::Send { conn, data } => {
                    if let Some(id) = self.id(conn) {
                        // One that has ended by itself says so next.
                        let _ = self.utp.send(id, data);
                    }
                }
                Action::Read { conn, credit } => {
                    if let Some(id) = self.id(conn) {
                        self.utp.credit(id, u64::from(credit));
                    }
                }
                Action::Close { conn } => {
                    if let Some(id) = self.id(conn) {
                        self.utp.close(now, id);
                        self.end(conn, CloseReason::Local);
                    }
                }
                Action::Connect { .. }
                | Action::Accept { .. }
                | Action::Refuse { .. }
                | Action::Datagram(_)
                | Action::Disk { .. }
                | Action::Resolve { .. }
                | Action::Http { .. }
                | Action::Cancel { .. }
                | Action::Reply { .. }
                | Action::Notify(_) => {}
            }
        }
        self.orders = orders;
        for conn in told {
            self.by_conn.remove(&conn);
        }
    }

    /// Does what is due.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.unsettled = 0;
        self.utp.settle(now, &mut self.events);
        self.note(now);
        self.undelivered = None;
    }

    /// Has packets sent, as far as the driver takes them. `torrent` says which torrent a connection is for.
    pub(crate) fn transmit(
        &mut self,
        now: Instant,
        actions: &mut Actions,
        torrent: impl Fn(ConnId) -> Option<TorrentId>,
    ) {
        while self.outstanding < u64::from(DATAGRAM_WINDOW) {
            let Some(transmit) = self.utp.transmit(now, &mut self.buffer, &mut self.events) else {
                break;
            };
            let data = Bytes::from(core::mem::take(&mut self.buffer));
            self.outstanding += data.len() as u64;
            let conn = transmit.id.and_then(|id| self.by_id.get(&id).copied());
            let segment = if transmit.segment < data.len() {
                transmit.segment as u32
            } else {
                0
            };
            actions.push(Action::Datagram(Outbound {
                segment,
                socket: transmit.socket,
                may_fragment: transmit.may_fragment,
                is_counted: true,
                torrent: conn.and_then(&torrent),
                ..Outbound::new(transmit.to, data)
            }));
        }
        self.note(now);
    }

    /// What has happened, in its order.
    pub(crate) fn take_news(&mut self) -> VecDeque<News> {
        core::mem::take(&mut self.news)
    }

    /// Whether there is something to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    fn note(&mut self, now: Instant) {
        let mut events = core::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                utp::Event::Incoming { id, from } => {
                    self.news.push_back(News::Incoming(id, from));
                }
                utp::Event::Connected { id } => {
                    let conn = self.by_id.get(&id).copied();
                    self.news.extend(conn.map(News::Connected));
                }
                utp::Event::Readable { id, bytes } => {
                    let conn = self.by_id.get(&id).copied();
                    self.news
                        .extend(conn.map(|conn| News::Received(conn, bytes)));
                }
                utp::Event::Sent { id, bytes } => {
                    let conn = self.by_id.get(&id).copied();
                    self.news.extend(conn.map(|conn| News::Sent(conn, bytes)));
                }
                utp::Event::Finished { id } => {
                    if let Some(conn) = self.by_id.get(&id).copied() {
                        self.end(conn, CloseReason::Remote);
                    }
                    self.utp.close(now, id);
                }
                utp::Event::Closed { id, reason } => {
                    if let Some(conn) = self.by_id.get(&id).copied() {
                        let reason = match (reason, self.undelivered) {
                            (utp::CloseReason::Unreachable, Some(Undelivered::Denied)) => {
                                CloseReason::Denied
                            }
                            (utp::CloseReason::Unreachable, Some(Undelivered::Refused)) => {
                                CloseReason::Refused
                            }
                            (reason, _) => close_reason(reason),
                        };
                        self.end(conn, reason);
                    }
                }
            }
        }
        self.events = events;
    }

    /// When there is something to do if no event comes before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.unsettled > 0 || self.has_news() {
            return Some(Instant::ZERO);
        }
        if self.outstanding < u64::from(DATAGRAM_WINDOW) {
            self.utp.deadline()
        } else {
            self.utp.deadline_while_full()
        }
    }

    /// Whether there is nothing here, and nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.by_conn.is_empty()
            && self.unsettled == 0
            && self.news.is_empty()
            && self.utp.deadline().is_none()
    }

    /// Panics unless all parts agree. `is_there` says whether the engine knows a connection.
    pub(crate) fn check(&self, is_there: impl Fn(ConnId) -> bool) {
        let open = self
            .by_conn
            .iter()
            .filter_map(|(conn, id)| Some((*conn, (*id)?)));
        let mut count = 0;
        for (conn, id) in open {
            count += 1;
            assert_eq!(
                self.by_id.get(&id),
                Some(&conn),
                "a stream is found by its id"
            );
            assert!(is_there(conn), "and is a connection's");
        }
        assert_eq!(count, self.by_id.len(), "each has one id");
    }
}

fn close_reason(reason: utp::CloseReason) -> CloseReason {
    match reason {
        utp::CloseReason::Finished => CloseReason::Remote,
        utp::CloseReason::Aborted => CloseReason::Local,
        utp::CloseReason::Refused => CloseReason::Refused,
        utp::CloseReason::Reset => CloseReason::Reset,
        utp::CloseReason::TimedOut => CloseReason::TimedOut,
        utp::CloseReason::Unreachable => CloseReason::Unreachable,
    }
}
