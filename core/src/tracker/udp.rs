//! BEP 15: the client of UDP trackers, one for all torrents.
//!
//! Requests to one tracker share its name lookup, its address and its connection id. A request waits until the
//! tracker has a connection id, is sent (at most [`limits::UDP_TRACKER_WINDOW`] of one tracker at a time), and ends
//! with an answer or at its deadline. Whatever is not answered is sent again after 15·2ⁿ seconds. A tracker with
//! addresses of both families is asked at the other one when a connect request stays without an answer, so that a
//! machine with half a network loses 15 seconds and no more. Where the network says that a packet did not arrive,
//! nobody waits: see `undelivered`.

mod undelivered;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use thiserror::Error;

use super::url::UdpEndpoint;
use crate::action::Action;
use crate::address::is_host;
use crate::ctx::{Ctx, Op, Timer};
use crate::datagram::Outbound;
use crate::event::{ContactError, Undelivered};
use crate::id::{OpId, TorrentId};
use crate::limits;
use crate::time::Instant;
use crate::timer::Timers;
use crate::wire::tracker::ScrapeStats;
use crate::wire::tracker_udp::{Announce, Family, Request as Query, Response};

/// The first wait for an answer; each further one is twice as long (BEP 15).
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// After this many doublings the wait stays as it is (BEP 15: 3,840 s).
const MAX_DOUBLINGS: u32 = 8;

/// How long a connection id may be used (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How long a looked-up address is used.
const ADDRESS_LIFE: Duration = Duration::from_secs(600);

/// How long a failed lookup stands, so that a thousand torrents do not each ask for the same dead name.
const FAULT_LIFE: Duration = Duration::from_secs(30);

/// The shared client of UDP trackers.
#[derive(Debug, Default)]
pub(crate) struct UdpTrackers {
    hosts: BTreeMap<HostId, Host>,
    requests: BTreeMap<UdpId, Request>,
    /// What is under way, by the number that an answer must carry.
    transactions: BTreeMap<u32, Waiter>,
    timers: Timers<Due>,
    /// Ids given out, of requests and hosts alike.
    ids: u64,
}

/// A request to a UDP tracker; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UdpId(u64);

/// What is asked of a tracker.
#[derive(Clone, Debug)]
pub(crate) enum UdpQuery {
    /// To be told of peers, and to tell them of us.
    Announce(Announce),
    /// The counts of one torrent.
    Scrape([u8; 20]),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UdpOutcome {
    /// Whose request it was.
    pub(crate) torrent: TorrentId,
    /// The request.
    pub(crate) id: UdpId,
    /// What came of it.
    pub(crate) result: Result<UdpReply, UdpFault>,
}

/// A tracker's answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum UdpReply {
    /// To an announce. Numbers are as claimed.
    Announced {
        /// Seconds until the next announce.
        interval: u32,
        /// Peers that do not have everything.
        leechers: u32,
        /// Peers that have.
        seeders: u32,
        /// Peers to try; bounded, otherwise as claimed.
        peers: Vec<SocketAddr>,
    },
    /// To a scrape.
    Scraped(ScrapeStats),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UdpFault {
    #[error("no answer")]
    TimedOut,
    #[error("{0}")]
    Undelivered(Undelivered),
    #[error("{0}")]
    Lookup(ContactError),
    #[error("the name has no usable address")]
    NoAddress,
    #[error("{0}")]
    Refused(String),
    #[error("the answer cannot be understood")]
    Malformed,
    #[error("too many requests to UDP trackers")]
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Host(HostId),
    Request(UdpId),
}

#[derive(Clone, Copy, Debug)]
enum Waiter {
    Connect(HostId),
    Request(UdpId),
}

#[derive(Debug)]
struct Host {
    name: String,
    port: u16,
    lookup: Lookup,
    /// At most one of each family, in the resolver's order.
    addresses: Vec<SocketAddr>,
    /// The one in use.
    at: usize,
    connection: Option<Connection>,
    connecting: Option<Connecting>,
    /// Requests that are not sent.
    waiting: VecDeque<UdpId>,
    /// Requests that are sent and not answered.
    sent: usize,
    used: Instant,
}

#[derive(Debug)]
enum Lookup {
    /// The name is an address.
    Literal,
    Never,
    UnderWay(OpId),
    Known {
        until: Instant,
    },
    Failed {
        until: Instant,
        fault: UdpFault,
    },
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    id: u64,
    made: Instant,
}

#[derive(Debug)]
struct Connecting {
    transaction: u32,
    /// Packets sent before the last one.
    tries: u32,
    /// Addresses, one after the other, to which the network has no way.
    dead_ends: u32,
    sent: Instant,
}

#[derive(Debug)]
struct Request {
    torrent: TorrentId,
    host: HostId,
    query: UdpQuery,
    queued: Instant,
    deadline: Instant,
    /// Packets that stayed without an answer.
    unanswered: u32,
    /// The transaction under way.
    transaction: Option<u32>,
}

impl UdpTrackers {
    /// Asks a tracker. The answer, or its absence once packets with waits of 15·2⁰ to 15·2ᵖ seconds have stayed
    /// unanswered (`p` being `patience`, at most 8), is the outcome of a later call, unless `cancel` or `forget`
    /// come first.
    ///
    /// # Errors
    ///
    /// [`UdpFault::Busy`] at the limits, or a lookup's fault that is still fresh. There is no outcome then.
    pub(crate) fn request(
        &mut self,
        ctx: &mut Ctx<'_>,
        torrent: TorrentId,
        tracker: &UdpEndpoint,
        query: UdpQuery,
        patience: u32,
    ) -> Result<UdpId, UdpFault> {
        if self.is_full() {
            return Err(UdpFault::Busy);
        }
        let host_id = self.host(ctx.now, tracker)?;
        let id = UdpId(self.fresh_id());
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return Err(UdpFault::Busy);
        };
        if let Lookup::Failed { until, fault } = &host.lookup
            && *until > ctx.now
        {
            return Err(fault.clone());
        }
        host.used = ctx.now;
        host.waiting.push_back(id);
        let deadline = ctx.now + total_wait(patience);
        self.requests.insert(
            id,
            Request {
                torrent,
                host: host_id,
                query,
                queued: ctx.now,
                deadline,
                unanswered: 0,
                transaction: None,
            },
        );
        self.timers.set(Due::Request(id), deadline);
        self.hurry(ctx, host_id);
        self.advance(ctx, host_id);
        self.arm(ctx);
        Ok(id)
    }

    /// Whether there is no room for one more request.
    pub(crate) fn is_full(&self) -> bool {
        self.requests.len() >= limits::MAX_UDP_TRACKER_REQUESTS
    }

    /// Ends a request without an outcome.
    pub(crate) fn cancel(&mut self, ctx: &mut Ctx<'_>, id: UdpId) {
        if let Some(request) = self.remove(id) {
            self.advance(ctx, request.host);
            self.arm(ctx);
        }
    }

    /// Whether the tracker may have heard of a request: it has been sent, which takes a tracker that answers.
    pub(crate) fn is_sent(&self, id: UdpId) -> bool {
        self.requests
            .get(&id)
            .is_some_and(|request| request.transaction.is_some())
    }

    /// Ends all requests of a torrent without an outcome.
    pub(crate) fn forget(&mut self, ctx: &mut Ctx<'_>, torrent: TorrentId) {
        let ids: Vec<UdpId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.torrent == torrent)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.cancel(ctx, id);
        }
    }

    /// A packet came. `None` when it is of another protocol; otherwise what it settled, which is nothing for packets
    /// that nobody waits for.
    pub(crate) fn on_datagram(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        data: &[u8],
    ) -> Option<Vec<UdpOutcome>> {
        // BEP 15 has actions 0 to 3. DHT messages begin with `d`, those of uTP with a version of 1.
        let [0, 0, 0, 0..=3, a, b, c, d, ..] = data else {
            return None;
        };
        let transaction = u32::from_be_bytes([*a, *b, *c, *d]);
        let outcomes = self.settle(ctx, from, transaction, data);
        self.arm(ctx);
        if outcomes.is_none() {
            ctx.stats.stray_datagrams += 1;
        }
        Some(outcomes.unwrap_or_default())
    }

    /// A name lookup ended.
    pub(crate) fn on_resolved(
        &mut self,
        ctx: &mut Ctx<'_>,
        op: OpId,
        result: Result<Vec<IpAddr>, ContactError>,
    ) -> Vec<UdpOutcome> {
        let found = self.hosts.iter_mut().find(
            |(_, host)| matches!(host.lookup, Lookup::UnderWay(under_way) if under_way == op),
        );
        let Some((&host_id, host)) = found else {
            return Vec::new();
        };
        let fault = match result {
            Ok(ips) => {
                let addresses = one_of_each_family(&ips, host.port);
                if addresses.is_empty() {
                    Some(UdpFault::NoAddress)
                } else {
                    if addresses != host.addresses {
                        host.addresses = addresses;
                        host.at = 0;
                        host.connection = None;
                    }
                    None
                }
            }
            Err(error) => Some(UdpFault::Lookup(error)),
        };
        let outcomes = match fault {
            None => {
                host.lookup = Lookup::Known {
                    until: ctx.now + ADDRESS_LIFE,
                };
                Vec::new()
            }
            // A resolver that is out of order for a while does not make known addresses wrong.
            Some(_) if !host.addresses.is_empty() => {
                host.lookup = Lookup::Known {
                    until: ctx.now + FAULT_LIFE,
                };
                Vec::new()
            }
            Some(fault) => {
                host.lookup = Lookup::Failed {
                    until: ctx.now + FAULT_LIFE,
                    fault: fault.clone(),
                };
                self.fail_waiting(host_id, &fault)
            }
        };
        self.advance(ctx, host_id);
        self.arm(ctx);
        outcomes
    }

    /// [`Timer::UdpTracker`] fired. At most [`limits::TIMERS_PER_CALL`] deadlines are dealt with; for the rest the
    /// timer is set again, to a time that has come already.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>) -> Vec<UdpOutcome> {
        let mut outcomes = Vec::new();
        for _ in 0..limits::TIMERS_PER_CALL {
            match self.timers.pop_due(ctx.now) {
                Some(Due::Host(id)) => self.connect_unanswered(ctx, id),
                Some(Due::Request(id)) => outcomes.extend(self.request_due(ctx, id)),
                None => break,
            }
        }
        self.arm(ctx);
        outcomes
    }

    /// Requests that have not ended.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    fn fresh_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// The table's entry for a tracker, made when there is none.
    fn host(&mut self, now: Instant, tracker: &UdpEndpoint) -> Result<HostId, UdpFault> {
        let known = self
            .hosts
            .iter()
            .find(|(_, host)| host.port == tracker.port && host.name == tracker.host);
        if let Some((id, _)) = known {
            return Ok(*id);
        }
        if self.hosts.len() >= limits::MAX_UDP_TRACKERS {
            let idle = self
                .hosts
                .iter()
                .filter(|(_, host)| host.is_idle())
                .min_by_key(|(_, host)| host.used)
                .map(|(id, _)| *id)
                .ok_or(UdpFault::Busy)?;
            self.hosts.remove(&idle);
        }
        let literal: Option<IpAddr> = tracker.host.parse().ok();
        let addresses = one_of_each_family(literal.as_slice(), tracker.port);
        let lookup = match literal {
            None => Lookup::Never,
            Some(_) if addresses.is_empty() => return Err(UdpFault::NoAddress),
            Some(_) => Lookup::Literal,
        };
        let id = HostId(self.fresh_id());
        self.hosts.insert(
            id,
            Host {
                name: tracker.host.clone(),
                port: tracker.port,
                lookup,
                addresses,
                at: 0,
                connection: None,
                connecting: None,
                waiting: VecDeque::new(),
                sent: 0,
                used: now,
            },
        );
        Ok(id)
    }

    /// Does the next thing for a host's waiting requests: look up, connect, or send.
    fn advance(&mut self, ctx: &mut Ctx<'_>, host_id: HostId) {
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return;
        };
        if host.waiting.is_empty() {
            self.stop_connecting(host_id);
            return;
        }
        if let Some(connection) = host.connection_at(ctx.now) {
            self.send_waiting(ctx, host_id, connection);
            return;
        }
        if host.connecting.is_some() {
            return;
        }
        match &host.lookup {
            Lookup::UnderWay(_) => return,
            Lookup::Literal => {}
            Lookup::Known { until } if *until > ctx.now => {}
            Lookup::Never | Lookup::Known { .. } | Lookup::Failed { .. } => {
                let op = ctx.ops.insert(Op::TrackerResolve);
                host.lookup = Lookup::UnderWay(op);
                let host = host.name.clone();
                ctx.push(Action::Resolve {
                    op,
                    host,
                    torrent: None,
                });
                return;
            }
        }
        // What was unanswered on the way here counts on, so that the waits go on growing (BEP 15).
        let unanswered = host.waiting.front().and_then(|id| self.requests.get(id));
        let tries = unanswered.map_or(0, |request| request.unanswered) * host.address_count();
        let transaction = fresh_transaction(ctx, &self.transactions);
        self.transactions
            .insert(transaction, Waiter::Connect(host_id));
        host.connecting = Some(Connecting {
            transaction,
            tries,
            dead_ends: 0,
            sent: ctx.now,
        });
        self.send_connect(ctx, host_id);
    }

    /// A new request does not wait out the long pause that earlier ones have reached.
    fn hurry(&mut self, ctx: &mut Ctx<'_>, host_id: HostId) {
        let connecting = self
            .hosts
            .get(&host_id)
            .and_then(|host| host.connecting.as_ref());
        if connecting.is_some_and(|connecting| ctx.now.since(connecting.sent) >= FIRST_WAIT) {
            self.send_connect(ctx, host_id);
        }
    }

    fn send_connect(&mut self, ctx: &mut Ctx<'_>, host_id: HostId) {
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return;
        };
        let count = host.address_count();
        if let Some(connecting) = &mut host.connecting
            && let Some(&to) = host.addresses.get(host.at)
        {
            connecting.sent = ctx.now;
            let transaction = connecting.transaction;
            let at = ctx.now + wait(connecting.tries / count);
            self.timers.set(Due::Host(host_id), at);
            push_query(ctx, to, &Query::Connect { transaction }, None);
        }
    }

    fn connect_unanswered(&mut self, ctx: &mut Ctx<'_>, host_id: HostId) {
        let Some(host) = self.hosts.get_mut(&host_id) else {
            return;
        };
        let Some(connecting) = &mut host.connecting else {
            return;
        };
        connecting.tries = connecting.tries.saturating_add(1);
        connecting.dead_ends = 0;
        host.at = (host.at + 1) % host.addresses.len().max(1);
        self.send_connect(ctx, host_id);
    }

    fn send_waiting(&mut self, ctx: &mut Ctx<'_>, host_id: HostId, connection: u64) {
        while let Some(host) = self.hosts.get_mut(&host_id)
            && host.sent < limits::UDP_TRACKER_WINDOW
            && let Some(id) = host.waiting.pop_front()
        {
            let Some(&to) = host.addresses.get(host.at) else {
                return;
            };
            let Some(request) = self.requests.get_mut(&id) else {
                continue;
            };
            host.sent += 1;
            let transaction = fresh_transaction(ctx, &self.transactions);
            self.transactions.insert(transaction, Waiter::Request(id));
            request.transaction = Some(transaction);
            let query = request.query(connection, transaction);
            let torrent = Some(request.torrent);
            self.timers.set(
                Due::Request(id),
                request.deadline.min(ctx.now + wait(request.unanswered)),
            );
            push_query(ctx, to, &query, torrent);
        }
    }

    /// A request's wait, or its time, is over.
    fn request_due(&mut self, ctx: &mut Ctx<'_>, id: UdpId) -> Option<UdpOutcome> {
        let request = self.requests.get_mut(&id)?;
        let host_id = request.host;
        if request.deadline <= ctx.now {
            let outcome = self.fail(id, UdpFault::TimedOut);
            self.advance(ctx, host_id);
            return outcome;
        }
        let transaction = request.transaction?;
        request.unanswered += 1;
        let host = self.hosts.get_mut(&host_id)?;
        if let Some(connection) = host.connection_at(ctx.now) {
            let query = request.query(connection, transaction);
            let torrent = Some(request.torrent);
            let at = request.deadline.min(ctx.now + wait(request.unanswered));
            self.timers.set(Due::Request(id), at);
            if let Some(&to) = host.addresses.get(host.at) {
                push_query(ctx, to, &query, torrent);
            }
        } else {
            self.requeue(id);
            self.advance(ctx, host_id);
        }
        None
    }

    /// Puts a request that was sent back to those that wait for a connection id.
    fn requeue(&mut self, id: UdpId) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        if let Some(transaction) = request.transaction.take() {
            self.transactions.remove(&transaction);
            if let Some(host) = self.hosts.get_mut(&request.host) {
                host.sent = host.sent.saturating_sub(1);
                host.waiting.push_front(id);
            }
        }
        self.timers.set(Due::Request(id), request.deadline);
    }

    /// What a packet means; `None` when nobody waits for it.
    fn settle(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        transaction: u32,
        data: &[u8],
    ) -> Option<Vec<UdpOutcome>> {
        let waiter = *self.transactions.get(&transaction)?;
        let host_id = match waiter {
            Waiter::Connect(id) => id,
            Waiter::Request(id) => self.requests.get(&id)?.host,
        };
        let host = self.hosts.get_mut(&host_id)?;
        // An answer of the other address that comes late is as good.
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let at = host.addresses.iter().position(|known| *known == from)?;
        let response = Response::decode(data, Family::of(from));
        let outcomes = match waiter {
            Waiter::Connect(_) => match response {
                Ok(Response::Connect { connection, .. }) => {
                    host.at = at;
                    host.connection = Some(Connection {
                        id: connection,
                        made: ctx.now,
                    });
                    self.stop_connecting(host_id);
                    Vec::new()
                }
                Ok(Response::Error { message, .. }) => {
                    self.stop_connecting(host_id);
                    self.fail_waiting(host_id, &UdpFault::Refused(message))
                }
                Ok(Response::Announce { .. } | Response::Scrape { .. }) => return None,
                Err(_) => {
                    self.stop_connecting(host_id);
                    self.fail_waiting(host_id, &UdpFault::Malformed)
                }
            },
            Waiter::Request(id) => self.settle_request(id, response)?.into_iter().collect(),
        };
        self.advance(ctx, host_id);
        Some(outcomes)
    }

    /// The outer `None` when the answer is to something else; the inner one when the request goes on.
    fn settle_request(
        &mut self,
        id: UdpId,
        response: Result<Response, crate::wire::WireError>,
    ) -> Option<Option<UdpOutcome>> {
        let request = self.requests.get(&id)?;
        let host = self.hosts.get_mut(&request.host)?;
        let result = match (response, &request.query) {
            (
                Ok(Response::Announce {
                    interval,
                    leechers,
                    seeders,
                    peers,
                    ..
                }),
                UdpQuery::Announce(_),
            ) => Ok(UdpReply::Announced {
                interval,
                leechers,
                seeders,
                peers,
            }),
            (Ok(Response::Scrape { torrents, .. }), UdpQuery::Scrape(_)) => torrents
                .first()
                .map(|stats| UdpReply::Scraped(*stats))
                .ok_or(UdpFault::Malformed),
            (Ok(Response::Error { message, .. }), UdpQuery::Announce(_) | UdpQuery::Scrape(_)) => {
                // The tracker may have forgotten a connection id that was there before the request, because it was
                // started anew or we have another address: that deserves a second attempt.
                if host
                    .connection
                    .is_some_and(|connection| connection.made < request.queued)
                {
                    host.connection = None;
                    self.requeue(id);
                    return Some(None);
                }
                Err(UdpFault::Refused(message))
            }
            (Ok(Response::Connect { .. }), UdpQuery::Announce(_) | UdpQuery::Scrape(_))
            | (Ok(Response::Announce { .. }), UdpQuery::Scrape(_))
            | (Ok(Response::Scrape { .. }), UdpQuery::Announce(_)) => return None,
            (Err(_), UdpQuery::Announce(_) | UdpQuery::Scrape(_)) => Err(UdpFault::Malformed),
        };
        let request = self.remove(id)?;
        Some(Some(UdpOutcome {
            torrent: request.torrent,
            id,
            result,
        }))
    }

    fn stop_connecting(&mut self, host_id: HostId) {
        self.timers.cancel(Due::Host(host_id));
        let connecting = self
            .hosts
            .get_mut(&host_id)
            .and_then(|host| host.connecting.take());
        if let Some(connecting) = connecting {
            self.transactions.remove(&connecting.transaction);
        }
    }

    fn fail_waiting(&mut self, host_id: HostId, fault: &UdpFault) -> Vec<UdpOutcome> {
        let waiting = self
            .hosts
            .get_mut(&host_id)
            .map(|host| core::mem::take(&mut host.waiting))
            .unwrap_or_default();
        waiting
            .into_iter()
            .filter_map(|id| self.fail(id, fault.clone()))
            .collect()
    }

    fn fail(&mut self, id: UdpId, fault: UdpFault) -> Option<UdpOutcome> {
        let request = self.remove(id)?;
        Some(UdpOutcome {
            torrent: request.torrent,
            id,
            result: Err(fault),
        })
    }

    fn remove(&mut self, id: UdpId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.timers.cancel(Due::Request(id));
        if let Some(host) = self.hosts.get_mut(&request.host) {
            match request.transaction {
                Some(transaction) => {
                    self.transactions.remove(&transaction);
                    host.sent = host.sent.saturating_sub(1);
                }
                None => host.waiting.retain(|waiting| *waiting != id),
            }
        }
        Some(request)
    }

    fn arm(&mut self, ctx: &mut Ctx<'_>) {
        match self.timers.next() {
            Some((at, _)) => ctx.timers.set_no_later(Timer::UdpTracker, at),
            None => ctx.timers.cancel(Timer::UdpTracker),
        }
    }
}

impl Host {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent == 0 && !matches!(self.lookup, Lookup::UnderWay(_))
    }

    fn connection_at(&self, now: Instant) -> Option<u64> {
        self.connection
            .filter(|connection| now.since(connection.made) < CONNECTION_LIFE)
            .map(|connection| connection.id)
    }

    /// At least 1, at most 2.
    fn address_count(&self) -> u32 {
        if self.addresses.len() > 1 { 2 } else { 1 }
    }
}

impl Request {
    fn query(&self, connection: u64, transaction: u32) -> Query {
        match &self.query {
            UdpQuery::Announce(announce) => Query::Announce {
                connection,
                transaction,
                announce: announce.clone(),
            },
            UdpQuery::Scrape(info_hash) => Query::Scrape {
                connection,
                transaction,
                info_hashes: [*info_hash].into(),
            },
        }
    }
}

/// How long a packet is waited for that `n` others went before.
fn wait(n: u32) -> Duration {
    FIRST_WAIT * (1 << n.min(MAX_DOUBLINGS))
}

/// How long packets 0 to `last` are waited for, one after the other.
fn total_wait(last: u32) -> Duration {
    FIRST_WAIT * ((2 << last.min(MAX_DOUBLINGS)) - 1)
}

/// Random, because whoever cannot read our packets must not be able to answer them.
fn fresh_transaction(ctx: &mut Ctx<'_>, taken: &BTreeMap<u32, Waiter>) -> u32 {
    // The table has a few thousand entries: a second draw is rare, a tenth one does not happen.
    loop {
        let transaction = ctx.rng.u32();
        if !taken.contains_key(&transaction) {
            return transaction;
        }
    }
}

fn push_query(ctx: &mut Ctx<'_>, to: SocketAddr, query: &Query, torrent: Option<TorrentId>) {
    let mut data = Vec::new();
    query.encode(&mut data);
    ctx.push(Action::Datagram(Outbound {
        torrent,
        ..Outbound::new(to, data.into())
    }));
}

/// The first usable address of each family, in the order given.
fn one_of_each_family(ips: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for ip in ips.iter().map(IpAddr::to_canonical) {
        if is_host(ip) && addresses.iter().all(|had| had.is_ipv4() != ip.is_ipv4()) {
            addresses.push(SocketAddr::new(ip, port));
        }
    }
    addresses
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects and fails at the rest"
)]
mod tests;
