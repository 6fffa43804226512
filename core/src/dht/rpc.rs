//! BEP 5: queries of ours, from the question to the answer or its absence.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::command::{DhtPong, DhtReply};
use super::lookup::Ask;
use super::table::is_v6;
use super::task::TaskId;
use super::{Dht, DhtOutcome, Due};
use crate::action::Action;
use crate::address::is_believable;
use crate::address::is_dialable;
use crate::command::Reply;
use crate::ctx::Ctx;
use crate::datagram::Outbound;
use crate::error::CommandError;
use crate::event::Undelivered;
use crate::id::RequestId;
use crate::limits;
use crate::time::Instant;
use crate::wire::krpc::{Body, Fault, Message, Method, NodeId, NodeInfo, Query, Response};

/// After this time a lookup goes on without the answer.
const SHORT: Duration = Duration::from_millis(1_500);

/// After this time an answer is not waited for any longer.
pub(super) const LONG: Duration = Duration::from_secs(6);

/// Our software and its version, in every message.
pub(super) const VERSION: &[u8; 4] = b"AB\x01\x00";

/// A query that has not been answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) to: SocketAddr,
    /// Whom we took it for.
    pub(super) id: Option<NodeId>,
    pub(super) why: Why,
    pub(super) sent: Instant,
    pub(super) stalled: bool,
}

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// To see whether the node is there.
    Probe,
    /// A step of a lookup.
    Lookup(u64),
    /// To store something at the end of one.
    Store { task: TaskId },
    /// The user pings.
    User(RequestId),
}

impl Dht {
    /// Sends a query. Not if too many wait already.
    pub(super) fn query(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: SocketAddr,
        id: Option<NodeId>,
        why: Why,
        method: Method<'_>,
    ) -> bool {
        if self.queries.len() >= limits::MAX_DHT_QUERIES || !is_dialable(to) {
            return false;
        }
        // Whoever did not get the query must guess 32 bits, and the address that it went to.
        let mut transaction = ctx.rng.u32();
        while self.queries.contains_key(&transaction) {
            transaction = transaction.wrapping_add(1);
        }
        let sender = *self.net(is_v6(to)).table.own();
        let message = Message {
            transaction: &transaction.to_be_bytes(),
            version: Some(VERSION),
            read_only: self.config.read_only,
            your_address: None,
            body: Body::Query(Query { sender, method }),
        };
        let mut data = Vec::with_capacity(160);
        message.encode(&mut data);
        self.counters.sent += data.len() as u64;
        self.counters.queries_sent += 1;
        let data = Bytes::from(data);
        ctx.push(Action::Datagram(Outbound::new(to, data)));
        self.queries.insert(
            transaction,
            Pending {
                to,
                id,
                why,
                sent: ctx.now,
                stalled: false,
            },
        );
        self.timers.set(Due::Query(transaction), ctx.now + SHORT);
        true
    }

    /// Asks a node whether it is there, unless something is asked of it already.
    pub(super) fn ping(&mut self, ctx: &mut Ctx<'_>, to: SocketAddr, id: Option<NodeId>) {
        if self.queries.values().all(|query| query.to != to) {
            self.query(ctx, to, id, Why::Probe, Method::Ping);
        }
    }

    /// The user asks a node whether it is there.
    pub(super) fn user_ping(&mut self, ctx: &mut Ctx<'_>, request: RequestId, to: SocketAddr) {
        if !self.query(ctx, to, None, Why::User(request), Method::Ping) {
            let result = Err(CommandError::DhtBusy);
            ctx.push(Action::Reply { request, result });
        }
    }

    /// A query takes long, or too long.
    pub(super) fn query_due(
        &mut self,
        ctx: &mut Ctx<'_>,
        transaction: u32,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let Some(query) = self.queries.get_mut(&transaction) else {
            return;
        };
        if !query.stalled {
            query.stalled = true;
            let (to, why, sent) = (query.to, query.why, query.sent);
            let limit = match why {
                Why::Lookup(lookup) => self.lookup_patience(lookup),
                Why::Probe | Why::Store { .. } | Why::User(_) => LONG,
            };
            self.timers.set(Due::Query(transaction), sent + limit);
            if let Why::Lookup(lookup) = why {
                self.lookup_stalled(ctx, lookup, to, outcomes);
            }
            return;
        }
        self.give_up(ctx, transaction, CommandError::NoDhtAnswer, outcomes);
    }

    /// A packet to this address did not arrive: nothing that was asked there is waited for.
    ///
    /// Whoever forges such a report, and guesses our port, has a query fail as if nobody had answered, no more.
    pub(super) fn on_lost(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: SocketAddr,
        reason: Undelivered,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let there = self.queries.iter().filter(|(_, query)| query.to == to);
        let there: Vec<u32> = there.map(|(transaction, _)| *transaction).collect();
        for transaction in there {
            let why = match reason {
                Undelivered::Refused => CommandError::DhtRefused,
                Undelivered::Unreachable => CommandError::DhtUnreachable,
                Undelivered::Denied => CommandError::DhtDenied,
            };
            self.give_up(ctx, transaction, why, outcomes);
        }
    }

    /// Goes on without an answer.
    fn give_up(
        &mut self,
        ctx: &mut Ctx<'_>,
        transaction: u32,
        why: CommandError,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let Some(query) = self.queries.remove(&transaction) else {
            return;
        };
        self.timers.cancel(Due::Query(transaction));
        self.counters.unanswered += 1;
        self.on_unanswered(ctx, &query);
        match query.why {
            Why::Probe => {}
            Why::Lookup(lookup) => self.lookup_failed(ctx, lookup, query.to, outcomes),
            Why::Store { task } => self.stored(ctx, task, None, outcomes),
            Why::User(request) => ctx.push(Action::Reply {
                request,
                result: Err(why),
            }),
        }
        self.go_on(ctx, outcomes);
    }

    /// A packet came.
    pub(super) fn on_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        data: &[u8],
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let Ok(message) = Message::decode(data) else {
            self.counters.malformed += 1;
            return;
        };
        match &message.body {
            Body::Query(query) => self.serve(ctx, from, &message, query),
            Body::Response(response) => {
                if let Some(query) = self.settle(&message, from) {
                    self.on_response(ctx, &query, &message, response, outcomes);
                    self.go_on(ctx, outcomes);
                }
            }
            Body::Error(fault) => {
                if let Some(query) = self.settle(&message, from) {
                    self.on_refusal(ctx, &query, fault, outcomes);
                    self.go_on(ctx, outcomes);
                }
            }
        }
    }

    /// The query that a message answers: its transaction must be ours, and it must come from where the query went.
    fn settle(&mut self, message: &Message<'_>, from: SocketAddr) -> Option<Pending> {
        let transaction = <[u8; 4]>::try_from(message.transaction);
        let transaction = transaction.ok().map(u32::from_be_bytes);
        let settled = transaction.filter(|transaction| {
            let query = self.queries.get(transaction);
            query.is_some_and(|query| query.to == from)
        });
        let Some(transaction) = settled else {
            self.counters.stray += 1;
            return None;
        };
        self.timers.cancel(Due::Query(transaction));
        self.counters.answered += 1;
        self.queries.remove(&transaction)
    }

    fn on_response(
        &mut self,
        ctx: &mut Ctx<'_>,
        query: &Pending,
        message: &Message<'_>,
        response: &Response<'_>,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        let from = NodeInfo {
            id: response.sender,
            address: query.to,
        };
        if query.id.is_some_and(|id| id != from.id) {
            // Whom we asked is not there any more; somebody else is.
            self.on_unanswered(ctx, query);
        }
        self.meet(ctx, from);
        if let Some(own) = message.your_address {
            self.on_vote(ctx, from.address, Some(&from.id), own.ip());
        }
        let all = [&response.nodes, &response.nodes6];
        let nodes: Vec<NodeInfo> = all
            .into_iter()
            .flatten()
            .flatten()
            .filter(|node| is_believable(node.address, from.address))
            .copied()
            .collect();
        match query.why {
            Why::Probe => self.hear_of(ctx, &nodes),
            Why::Lookup(lookup) => {
                self.lookup_heard(lookup, ctx.now.since(query.sent));
                self.lookup_replied(ctx, lookup, from, response, &nodes, outcomes);
            }
            Why::Store { task } => self.stored(ctx, task, Some(Ok(())), outcomes),
            Why::User(request) => {
                let version = message.version.map(|version| {
                    let escaped = version.escape_ascii();
                    escaped.take(64).map(char::from).collect::<String>()
                });
                let pong = DhtReply::Pong(DhtPong {
                    id: from.id,
                    took: ctx.now.since(query.sent),
                    version,
                });
                let result = Ok(Reply::Dht(pong.into()));
                ctx.push(Action::Reply { request, result });
            }
        }
    }

    fn on_refusal(
        &mut self,
        ctx: &mut Ctx<'_>,
        query: &Pending,
        fault: &Fault<'_>,
        outcomes: &mut Vec<DhtOutcome>,
    ) {
        match query.why {
            Why::Probe => {}
            Why::Lookup(lookup) => self.lookup_failed(ctx, lookup, query.to, outcomes),
            Why::Store { task } => {
                let message = fault.message.escape_ascii().map(char::from);
                let message = message.take(limits::MAX_FOREIGN_TEXT).collect();
                let refusal = Some(Err((fault.code, message)));
                self.stored(ctx, task, refusal, outcomes);
            }
            Why::User(request) => {
                let result = Err(CommandError::NoDhtAnswer);
                ctx.push(Action::Reply { request, result });
            }
        }
    }

    /// A node has answered: it is there, and may belong into the table.
    fn meet(&mut self, ctx: &mut Ctx<'_>, node: NodeInfo) {
        let v6 = is_v6(node.address);
        let net = self.net_mut(v6);
        let first = net.table.len() == 0;
        let doubtful = net.table.replied(node, ctx.now);
        let met = first && net.table.len() == 1;
        if let Some(doubtful) = doubtful {
            self.ping(ctx, doubtful.address, Some(doubtful.id));
        }
        // BEP 5: the first node shows the way to the neighbourhood.
        if met && self.net(v6).joining.is_none() {
            self.timers.set_no_later(Due::Join { v6 }, ctx.now);
        }
    }

    /// Nodes are told of: those for which there is room are asked whether they are there.
    pub(super) fn hear_of(&mut self, ctx: &mut Ctx<'_>, nodes: &[NodeInfo]) {
        for node in nodes.iter().take(2 * limits::DHT_BUCKET) {
            let table = &self.net(is_v6(node.address)).table;
            if table.wants(node, ctx.now) {
                self.contact(ctx, node.address, Some(node.id));
            }
        }
    }

    fn on_unanswered(&mut self, ctx: &Ctx<'_>, query: &Pending) {
        if let Some(id) = query.id {
            let node = NodeInfo {
                id,
                address: query.to,
            };
            self.net_mut(is_v6(query.to)).table.failed(&node, ctx.now);
        }
    }

    /// Sends a lookup's next query.
    pub(super) fn ask(
        &mut self,
        ctx: &mut Ctx<'_>,
        lookup: u64,
        ask: Ask,
        method: Method<'_>,
    ) -> bool {
        self.query(ctx, ask.address, ask.id, Why::Lookup(lookup), method)
    }
}
