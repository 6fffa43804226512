//! BEP 5, 32, 33, 43, 44: queries of others.

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use super::Dht;
use super::bloom::Bloom;
use super::item::{Item, ItemError, MutableItem, Value};
use super::rpc::VERSION;
use super::table::{Standing, is_v6};
use super::token::TOKEN_LEN;
use crate::action::Action;
use crate::address::is_believable;
use crate::address::is_dialable;
use crate::ctx::Ctx;
use crate::datagram::Outbound;
use crate::limits::DHT_BUCKET;
use crate::metainfo::InfoHash;
use crate::wire::krpc::{
    Body, Fault, MAX_ITEM_LEN, MAX_SALT_LEN, Message, Method, NodeId, NodeInfo, PutMutable, Query,
    Response, Want, code,
};

/// The longest answer, in bytes: what passes everywhere in one piece.
const MAX_ANSWER: usize = 1_200;

/// The most peers in an answer.
const MAX_PEERS: usize = 100;

/// What is left to the parts of an answer that are always there: its sender, token, transaction, address.
const OVERHEAD: usize = 200;

/// A refusal: its code, and in words.
type Refusal = (i64, &'static str);

/// What an answer borrows from.
#[derive(Default)]
struct Answer {
    nodes: Option<Vec<NodeInfo>>,
    nodes6: Option<Vec<NodeInfo>>,
    values: Vec<SocketAddr>,
    token: Option<[u8; TOKEN_LEN]>,
    filters: Option<(Bloom, Bloom)>,
    item: Option<Item>,
    /// The item's number is told, and nothing else of it.
    seq_only: bool,
}

impl Dht {
    /// Answers a query, within the limits.
    pub(super) fn serve(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        message: &Message<'_>,
        query: &Query<'_>,
    ) {
        if self.config.read_only || !is_dialable(from) {
            return;
        }
        if !self.limiter.is_open(ctx.now, from) {
            self.counters.limited += 1;
            return;
        }
        let mut answer = self.answer(ctx, from, query);
        let mut data = Vec::with_capacity(600);
        let sender = *self.net(is_v6(from)).table.own();
        let body = match &mut answer {
            Ok(answer) => Body::Response(answer.response(sender)),
            Err((code, text)) => Body::Error(Fault {
                code: *code,
                message: text.as_bytes(),
            }),
        };
        let reply = Message {
            transaction: message.transaction,
            version: Some(VERSION),
            read_only: false,
            your_address: Some(from),
            body,
        };
        reply.encode(&mut data);
        if !self.limiter.take(ctx.now, from, data.len()) {
            self.counters.limited += 1;
            return;
        }
        self.counters.sent += data.len() as u64;
        self.counters.served += 1;
        let data = Bytes::from(data);
        ctx.push(Action::Datagram(Outbound::new(from, data)));
        if !message.read_only {
            self.on_querier(ctx, query.sender, from);
        }
    }

    /// Somebody who asks may be of use: who is not known is asked whether it answers, too.
    fn on_querier(&mut self, ctx: &mut Ctx<'_>, id: NodeId, address: SocketAddr) {
        let node = NodeInfo { id, address };
        let table = &mut self.net_mut(is_v6(address)).table;
        if !table.queried(&node, ctx.now) && table.wants(&node, ctx.now) {
            self.contact(ctx, address, None);
        }
    }

    fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        query: &Query<'_>,
    ) -> Result<Answer, Refusal> {
        match &query.method {
            Method::Ping => Ok(Answer::default()),
            Method::FindNode { target, want } => Ok(self.with_nodes(ctx, from, target, *want)),
            Method::GetPeers {
                info_hash,
                want,
                no_seeds,
                scrape,
            } => {
                let target = NodeId::from(*info_hash);
                let filters = scrape.then(|| self.peers.filters(info_hash)).flatten();
                // BEP 33: with the filters there is no room for more than the nodes that must be there.
                let want = want.filter(|_| filters.is_none());
                let mut answer = self.with_nodes(ctx, from, &target, want);
                answer.filters = filters;
                if self.peers.is_open(info_hash) {
                    answer.token = Some(self.tokens.make(from.ip(), &target));
                }
                let v6 = is_v6(from);
                let room = answer.room() / if v6 { 21 } else { 8 };
                let max = room.min(MAX_PEERS);
                answer.values = self.peers.sample(info_hash, v6, *no_seeds, max, ctx.rng);
                Ok(answer)
            }
            Method::AnnouncePeer {
                info_hash,
                port,
                implied_port,
                seed,
                token,
            } => {
                self.check_token(token, from, &NodeId::from(*info_hash))?;
                let port = if *implied_port { from.port() } else { *port };
                let peer = SocketAddr::new(from.ip(), port);
                self.announce(ctx, *info_hash, peer, *seed)
            }
            Method::Get { target, want, seq } => {
                let mut answer = self.with_nodes(ctx, from, target, *want);
                answer.token = Some(self.tokens.make(from.ip(), target));
                answer.item = self.items.get(target).cloned();
                if let (Some(Item::Mutable(item)), Some(known)) = (&answer.item, seq) {
                    answer.seq_only = item.seq() <= *known;
                }
                if answer.room() == 0 {
                    // A value of the greatest length leaves no room for nodes that need not be there.
                    answer.only(is_v6(from));
                }
                Ok(answer)
            }
            Method::Put {
                token,
                value,
                mutable,
            } => self.put(ctx, from, token, value, mutable.as_ref()),
            Method::Unknown { .. } => Err((code::METHOD, "unknown method")),
            Method::Invalid { .. } => Err((code::PROTOCOL, "invalid arguments")),
        }
    }

    fn announce(
        &mut self,
        ctx: &Ctx<'_>,
        info_hash: InfoHash,
        peer: SocketAddr,
        seed: bool,
    ) -> Result<Answer, Refusal> {
        if !self.peers.announce(ctx.now, info_hash, peer, seed) {
            return Err((code::SERVER, "too many announces"));
        }
        self.counters.announces += 1;
        Ok(Answer::default())
    }

    fn put(
        &mut self,
        ctx: &Ctx<'_>,
        from: SocketAddr,
        token: &[u8],
        value: &[u8],
        mutable: Option<&PutMutable<'_>>,
    ) -> Result<Answer, Refusal> {
        if value.len() > MAX_ITEM_LEN {
            return Err((code::VALUE_TOO_LONG, "the value is too long"));
        }
        if mutable.is_some_and(|mutable| mutable.salt.len() > MAX_SALT_LEN) {
            return Err((code::SALT_TOO_LONG, "the salt is too long"));
        }
        let value = Value::new(Bytes::copy_from_slice(value)).map_err(refusal)?;
        let target = match mutable {
            Some(mutable) => super::item::mutable_target(&mutable.key, mutable.salt),
            None => value.target(),
        };
        // Before the signature, which takes time to verify.
        self.check_token(token, from, &target)?;
        let item = match mutable {
            Some(mutable) => {
                let salt = Bytes::copy_from_slice(mutable.salt);
                let (key, signature) = (mutable.key, mutable.signature);
                let item = MutableItem::new(key, salt, mutable.seq, value, signature);
                Item::Mutable(item.map_err(refusal)?)
            }
            None => Item::Immutable(value),
        };
        let own = *self.net(is_v6(from)).table.own();
        let cas = mutable.and_then(|mutable| mutable.cas);
        self.items.put(ctx.now, &own, from, item, cas)?;
        Ok(Answer::default())
    }

    fn check_token(
        &mut self,
        token: &[u8],
        from: SocketAddr,
        target: &NodeId,
    ) -> Result<(), Refusal> {
        if self.tokens.accepts(token, from.ip(), target) {
            return Ok(());
        }
        self.counters.bad_tokens += 1;
        Err((code::PROTOCOL, "bad token"))
    }

    /// An answer with the nodes closest to a place, of the families that are wanted.
    fn with_nodes(
        &self,
        ctx: &Ctx<'_>,
        from: SocketAddr,
        target: &NodeId,
        want: Option<Want>,
    ) -> Answer {
        let v6 = is_v6(from);
        let want = want.unwrap_or(Want { v4: !v6, v6 });
        let closest = |v6: bool| {
            let table = &self.net(v6).table;
            let mut nodes = table.closest(target, 2 * DHT_BUCKET, Standing::Good, ctx.now);
            // Nobody far away has a use for our neighbourhood's addresses.
            nodes.retain(|node| node.address != from && is_believable(node.address, from));
            nodes.truncate(DHT_BUCKET);
            nodes
        };
        Answer {
            nodes: want.v4.then(|| closest(false)),
            nodes6: want.v6.then(|| closest(true)),
            ..Answer::default()
        }
    }
}

impl Answer {
    /// What is said of it. Its nodes and peers go into that.
    fn response(&mut self, sender: NodeId) -> Response<'_> {
        let (nodes, nodes6) = (self.nodes.take(), self.nodes6.take());
        let values = core::mem::take(&mut self.values);
        let mutable = match &self.item {
            Some(Item::Mutable(item)) => Some(item),
            Some(Item::Immutable(_)) | None => None,
        };
        let whole = mutable.filter(|_| !self.seq_only);
        let value = self.item.as_ref().filter(|_| !self.seq_only);
        Response {
            sender,
            nodes,
            nodes6,
            values,
            token: self.token.as_ref().map(|token| &token[..]),
            seeds: self.filters.as_ref().map(|(seeds, _)| seeds.as_bytes()),
            peers: self.filters.as_ref().map(|(_, peers)| peers.as_bytes()),
            value: value.map(|item| &item.value()[..]),
            key: whole.map(|item| *item.key()),
            seq: mutable.map(MutableItem::seq),
            signature: whole.map(|item| *item.signature()),
        }
    }

    /// Bytes that are left for more.
    fn room(&self) -> usize {
        let nodes = self.nodes.as_ref().map_or(0, |nodes| 12 + 26 * nodes.len());
        let nodes6 = self
            .nodes6
            .as_ref()
            .map_or(0, |nodes| 13 + 38 * nodes.len());
        let filters = self.filters.as_ref().map_or(0, |_| 2 * (256 + 10));
        let item = self
            .item
            .as_ref()
            .map_or(0, |item| 120 + item.value().len());
        MAX_ANSWER.saturating_sub(OVERHEAD + nodes + nodes6 + filters + item)
    }

    /// Leaves out the nodes of the other family.
    fn only(&mut self, v6: bool) {
        if v6 {
            self.nodes = None;
        } else {
            self.nodes6 = None;
        }
    }
}

fn refusal(error: ItemError) -> Refusal {
    match error {
        ItemError::NotCanonical => (code::PROTOCOL, "the value is not in canonical bencoding"),
        ItemError::TooLong => (code::VALUE_TOO_LONG, "the value is too long"),
        ItemError::SaltTooLong => (code::SALT_TOO_LONG, "the salt is too long"),
        ItemError::NegativeSeq => (code::PROTOCOL, "the sequence number is negative"),
        ItemError::BadSignature => (code::SIGNATURE, "the signature does not match"),
    }
}
