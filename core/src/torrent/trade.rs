//! What goes on with a torrent's peers, from the handshake to the end of the connection (BEP 3, 6, 10).
//!
//! It is the same whether the metadata is known or not; what only then makes sense is done by what
//! [`Trade::transfer`] lends.

use alloc::string::ToString;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::action::Action;
use crate::ctx::{DiskOp, Timer};
use crate::error::{Blame, Incompatibility, Misbehaviour, Reaction};
use crate::event::{CloseReason, DiskDone, DiskError};
use crate::id::{ConnId, OpId, TorrentId};
use crate::limits;
use crate::metainfo::InfoHash;
use crate::notice::{DisconnectReason, Notice, PeerError, TorrentState};
use crate::peer::{Introduction, Peer};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::status::PeerSource;
use crate::throttle::{Cause, Direction, Throttle};
use crate::time::Instant;
use crate::torrent::content::Content;
use crate::torrent::disk::{AfterDisk, Storage};
use crate::torrent::extended::{About, send_handshake};
use crate::torrent::flow::Flow;
use crate::torrent::messages::MAX_ALLOWED;
use crate::torrent::phase::{Course, Phase};
use crate::torrent::swarm::{Standing, Swarm};
use crate::torrent::transfer::Transfer;
use crate::wire::{Block, Frame, Message};

/// Bytes that are allowed to be received without having been paid for, so that messages flow.
const MIN_CREDIT: u32 = 16 * 1024;

/// How long a peer that says it wants nothing is kept by a seed: it may want something all the same.
const DONE_AFTER: Duration = Duration::from_secs(60);

/// A torrent without those who tell of peers: no tracker and no DHT is to be had from in here.
#[derive(Debug)]
pub(super) struct Trade {
    pub(super) id: TorrentId,
    pub(super) info_hash: InfoHash,
    pub(super) course: Course,
    pub(super) phase: Phase,
    pub(super) storage: Storage,
    pub(super) swarm: Swarm,
    pub(super) flow: Flow,
}

impl Trade {
    /// All that transfers data, if it is known what there is to transfer.
    pub(super) fn transfer(&mut self) -> Option<Transfer<'_>> {
        match &mut self.phase {
            Phase::Fetching(_) => None,
            Phase::Loaded(content) => Some(Transfer {
                id: self.id,
                info_hash: self.info_hash,
                course: &mut self.course,
                content,
                storage: &mut self.storage,
                swarm: &mut self.swarm,
                flow: &mut self.flow,
            }),
        }
    }

    /// How it stands, as far as that decides whether peers are wanted.
    pub(super) fn standing(&self) -> Standing<'_> {
        Standing {
            id: self.id,
            course: &self.course,
            unjudged: self.phase.is_unjudged(),
            down: &self.flow.down,
        }
    }

    pub(super) fn takes_peers(&self) -> bool {
        self.course.takes_peers(self.phase.is_unjudged())
    }

    /// Lets the torrent be dialled for, if it wants more peers.
    pub(super) fn seek_peers(&self, ctx: &mut Shared) {
        self.swarm.seek_peers(ctx, self.standing());
    }

    /// A handshake is complete. Says whether the peer was taken in; if not, its connection is closed.
    pub(super) fn join(&mut self, ctx: &mut Shared, introduction: Introduction) -> bool {
        if let Err(reason) = self.take_place(ctx, &introduction) {
            if !introduction.incoming {
                let error = PeerError::Unwanted(reason.clone());
                self.tell_of_named(ctx, introduction.address, error);
                let ourselves = reason
                    == DisconnectReason::Blamed(Blame::Incompatible(
                        Incompatibility::SelfConnection,
                    ));
                let candidates = &mut self.swarm.candidates;
                if ourselves {
                    candidates.remove(introduction.address);
                } else {
                    candidates.on_closed(introduction.address, false, ctx.now);
                }
            }
            ctx.connections.close(introduction.conn, &mut ctx.actions);
            return false;
        }
        let conn = introduction.conn;
        ctx.connections.promote(conn, self.id);
        let content = self.phase.content();
        let pieces = content.map(|content| content.layout.piece_count());
        let mut peer = Peer::new(introduction, pieces, ctx.config.default_peer_reqq, ctx.now);
        // The map that it is sent holds them.
        peer.told = self.swarm.news.len() as u32;
        peer.known_idle = ctx.idlers.knows(ctx.now, introduction.address.ip());
        if !introduction.incoming {
            let candidates = &mut self.swarm.candidates;
            let source = candidates.source(introduction.address);
            peer.source = source.unwrap_or(peer.source);
            candidates.on_connected(introduction.address, introduction.transport);
        }
        ctx.notify(Notice::PeerConnected {
            torrent: self.id,
            address: introduction.address,
            incoming: introduction.incoming,
        });
        self.swarm.networks.add(introduction.address.ip());
        self.introduce_ourselves(ctx, peer);
        ctx.timers
            .set(Timer::Conn(conn), ctx.now + Duration::from_secs(1));
        ctx.timers
            .set_no_later(Timer::Choke(self.id), ctx.now + limits::CHOKE_INTERVAL);
        true
    }

    fn introduce_ourselves(&mut self, ctx: &mut Shared, mut peer: Peer) {
        let content = self.phase.content();
        let judged = content.filter(|content| !content.unjudged);
        // The piece map must come first (BEP 3); without pieces it may be left out.
        match judged.map(Content::have) {
            Some(have) if peer.fast && have.is_full() => {
                peer.send(&mut ctx.out(), &Message::HaveAll);
            }
            Some(have) if have.count() > 0 => {
                peer.send(&mut ctx.out(), &Message::Bitfield(have.to_wire()));
            }
            Some(_) | None if peer.fast => peer.send(&mut ctx.out(), &Message::HaveNone),
            Some(_) | None => {}
        }
        let is_judged = judged.is_some();
        let about = self.about(ctx);
        send_handshake(&mut peer, ctx, about);
        if let Some(port) = self.dht_port(ctx)
            && peer.dht
        {
            peer.send(&mut ctx.out(), &Message::Port(port));
        }
        let conn = peer.conn;
        self.swarm.peers.insert(conn, peer);
        if is_judged && let Some(mut transfer) = self.transfer() {
            transfer.grant_first_pieces(ctx, conn);
        }
    }

    /// What peers are told of us.
    fn about(&self, ctx: &Shared) -> About {
        match &self.phase {
            Phase::Fetching(_) => About::nothing(ctx),
            Phase::Loaded(content) => About::of(content, ctx),
        }
    }

    /// Bytes from a peer.
    pub(super) fn receive(&mut self, ctx: &mut Shared, conn: ConnId, mut data: Bytes) {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        ctx.stats.uncredited += u64::from(len.saturating_sub(peer.credit));
        peer.credit = peer.credit.saturating_sub(len);
        peer.last_received = ctx.now;
        let uncharged = peer.uncharged.min(len);
        peer.uncharged -= uncharged;
        ctx.throttle.down.charge(ctx.now, uncharged.into());
        self.flow.down_limit.charge(ctx.now, uncharged.into());
        loop {
            let Some(peer) = self.swarm.peers.get_mut(&conn) else {
                // Something that it said ended the connection.
                return;
            };
            let outcome = match peer.decoder.decode(&mut data) {
                Ok(None) => break,
                Ok(Some(Frame::Block(block))) => match self.transfer() {
                    Some(mut transfer) => transfer.on_block(ctx, conn, block),
                    None => self.on_unasked_block(ctx, conn, &block),
                },
                Ok(Some(Frame::Message(message))) => self.on_message(ctx, conn, message),
                Ok(Some(Frame::Unknown { .. })) => peer.count_chatter(),
                Err(error) => Err(blame_for(error)),
            };
            if let Err(blame) = outcome {
                self.punish(ctx, conn, blame);
                return;
            }
        }
        if let Some(mut transfer) = self.transfer() {
            transfer.serve(ctx, conn);
            transfer.request_blocks(ctx, conn);
        }
        self.feed(ctx, conn);
    }

    /// A block came, and nobody can have asked for it.
    fn on_unasked_block(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        block: &Block,
    ) -> Result<(), Blame> {
        self.flow.waste(ctx, block.data.len() as u64);
        match self.swarm.peers.get_mut(&conn) {
            Some(peer) => peer.count_unrequested(),
            None => Ok(()),
        }
    }

    fn on_message(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        message: Message,
    ) -> Result<(), Blame> {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        if !peer.fast && is_fast_message(&message) {
            return Err(Blame::Misbehaved(Misbehaviour::FastWithoutExtension));
        }
        if let Message::Extended { id, payload } = message {
            return self.on_extended(ctx, conn, id, &payload);
        }
        if self.phase.is_unjudged() {
            return on_early_message(ctx, peer, message);
        }
        if let Message::Port(port) = message {
            let (address, heard) = (peer.address, peer.count_chatter());
            self.on_dht_port(ctx, address, port);
            return heard;
        }
        match self.transfer() {
            Some(mut transfer) => transfer.on_message(ctx, conn, message),
            None => Ok(()),
        }
    }

    /// Bytes for a peer left, as the driver says. How many count: no more than were to be sent.
    pub(super) fn sent(&mut self, ctx: &mut Shared, conn: ConnId, len: u64) -> u64 {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return 0;
        };
        let counted = peer.left(len, ctx.now);
        if let Some(mut transfer) = self.transfer() {
            transfer.serve(ctx, conn);
            transfer.watch_ratio(ctx);
        }
        counted
    }

    /// A connection ended by itself.
    pub(super) fn closed(&mut self, ctx: &mut Shared, conn: ConnId, reason: CloseReason) {
        self.note_parting(ctx, conn);
        self.forget_peer(ctx, conn, DisconnectReason::Closed(reason));
    }

    /// Ends a connection with a peer.
    pub(super) fn disconnect(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        self.swarm.hang_up(ctx, conn);
        self.forget_peer(ctx, conn, reason);
    }

    pub(super) fn disconnect_all(&mut self, ctx: &mut Shared) {
        for conn in self.swarm.conns() {
            self.disconnect(ctx, conn, DisconnectReason::Stopped);
        }
        self.swarm.hang_up_greetings(ctx, self.id);
    }

    fn forget_peer(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        if let Some(mut transfer) = self.transfer() {
            transfer.forget_peer(ctx, conn, reason);
            return;
        }
        let Some(peer) = self.swarm.remove(ctx, conn) else {
            return;
        };
        if let Phase::Fetching(fetching) = &mut self.phase {
            fetching.fetch.remove(conn);
        }
        self.fetch_more(ctx);
        self.swarm.note_parted(ctx, self.id, &peer, reason);
        self.seek_peers(ctx);
    }

    /// A peer broke a rule.
    fn punish(&mut self, ctx: &mut Shared, conn: ConnId, blame: Blame) {
        let Some(address) = self.swarm.address(conn) else {
            return;
        };
        match blame.reaction() {
            Reaction::Close => self.disconnect(ctx, conn, DisconnectReason::Blamed(blame)),
            Reaction::Ban => self.ban(ctx, address, blame),
        }
    }

    /// Ends all connections of this torrent with an address, and has none again.
    pub(super) fn ban(&mut self, ctx: &mut Shared, address: SocketAddr, blame: Blame) {
        for conn in self.swarm.ban(ctx, self.id, address, blame) {
            self.disconnect(ctx, conn, DisconnectReason::Blamed(blame));
        }
    }

    /// The periodic look at a peer.
    pub(super) fn look_after(&mut self, ctx: &mut Shared, conn: ConnId) {
        let now = ctx.now;
        let seeding = self.course.state() == TorrentState::Seeding;
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        let late = match review(ctx, peer, seeding) {
            Ok(late) => late,
            Err(reason) => {
                self.disconnect(ctx, conn, reason);
                return;
            }
        };
        if let Some(mut transfer) = self.transfer() {
            if late {
                transfer.snub(ctx, conn);
            }
            transfer.offer_late(ctx, conn);
            transfer.request_blocks(ctx, conn);
        }
        self.feed(ctx, conn);
        let Some(peer) = self.swarm.peers.get(&conn) else {
            return;
        };
        let mut next = next_look(ctx, peer);
        // At the end others are waiting to take over.
        if let Some(late_at) = peer.pipeline.late_at()
            && late_at > now
            && self.phase.content().is_some_and(Content::is_all_asked)
        {
            next = next.min(late_at);
        }
        ctx.timers.set(
            Timer::Conn(conn),
            next.max(now + Duration::from_millis(100)),
        );
    }

    /// Gives a peer credit to send more, as far as the limits and the disk allow.
    pub(super) fn feed(&mut self, ctx: &mut Shared, conn: ConnId) {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if peer.credit_waits {
            return;
        }
        let limited = ctx.throttle.down.is_limited() || self.flow.down_limit.is_limited();
        let window = if limited {
            MIN_CREDIT
        } else {
            limits::READ_WINDOW
        };
        if peer.credit > window / 2 {
            return;
        }
        let want = u64::from(window - peer.credit);
        // Who owes us nothing may go on talking: it is what it delivers that the disk must keep up with.
        let backlog = ctx.budgets.writing >= u64::from(ctx.config.write_budget) / 2;
        if backlog && !peer.pipeline.is_empty() {
            peer.credit_waits = true;
            ctx.throttle
                .wait(Cause::Disk, (self.id, conn, Direction::Down));
            return;
        }
        let available = ctx
            .throttle
            .down
            .available(ctx.now)
            .min(self.flow.down_limit.available(ctx.now));
        let granted = want.min(available);
        let enough = if limited { want.min(1_024) } else { want };
        if granted < enough {
            peer.credit_waits = true;
            ctx.throttle
                .wait(Cause::Rate, (self.id, conn, Direction::Down));
            let at = Throttle::retry_at(
                ctx.now,
                &mut ctx.throttle.down,
                &mut self.flow.down_limit,
                enough,
            );
            ctx.timers.set_no_later(Timer::Throttle, at);
            return;
        }
        ctx.throttle.down.take(ctx.now, granted);
        self.flow.down_limit.take(ctx.now, granted);
        peer.credit += granted as u32;
        ctx.push(Action::Read {
            conn,
            credit: granted as u32,
        });
    }

    /// The choker's round.
    pub(super) fn choke_round(&mut self, ctx: &mut Shared) {
        // Without peers there is nothing to decide; the first one sets the timer.
        if !self.takes_peers() || self.swarm.peers.is_empty() {
            return;
        }
        let next = ctx.now + limits::CHOKE_INTERVAL;
        if self.course.is_running() {
            ctx.timers.set(Timer::Choke(self.id), next);
        }
        self.review_places(ctx);
        if self.course.is_running() {
            if let Some(mut transfer) = self.transfer() {
                transfer.choose_peers(ctx);
            }
        } else if self.swarm.is_full(ctx) {
            // Nobody is chosen yet, but places may be held to no purpose.
            ctx.timers.set(Timer::Choke(self.id), next);
        }
    }

    /// A connection that waited for a limit may try again.
    pub(super) fn unthrottle(&mut self, ctx: &mut Shared, conn: ConnId, direction: Direction) {
        match direction {
            Direction::Down => {
                if let Some(peer) = self.swarm.peers.get_mut(&conn) {
                    peer.credit_waits = false;
                }
                self.feed(ctx, conn);
            }
            Direction::Up => {
                if let Some(mut transfer) = self.transfer() {
                    transfer.unthrottle(ctx, conn);
                }
            }
        }
    }

    /// A disk job ended. Says what follows from it.
    pub(super) fn on_disk(
        &mut self,
        ctx: &mut Shared,
        op: OpId,
        about: DiskOp,
        result: Result<DiskDone, DiskError>,
    ) -> AfterDisk {
        match self.transfer() {
            Some(mut transfer) => transfer.on_disk(ctx, op, about, result),
            None => {
                self.storage.on_bare_disk(ctx, about, result);
                AfterDisk::Nothing
            }
        }
    }

    /// A peer says where its DHT node is.
    fn on_dht_port(&self, ctx: &mut Shared, peer: SocketAddr, port: u16) {
        if ctx.config.dht.enabled && !self.phase.is_private() && port != 0 {
            ctx.signal(Signal::Node(SocketAddr::new(peer.ip(), port)));
        }
    }

    /// Where our DHT node is, if peers may know.
    fn dht_port(&self, ctx: &Shared) -> Option<u16> {
        let port = ctx.identity.port();
        (ctx.config.dht.enabled && !self.phase.is_private() && port != 0).then_some(port)
    }

    /// Tells the user if it is a peer of theirs that is not to be had.
    pub(super) fn tell_of_named(&self, ctx: &mut Shared, address: SocketAddr, error: PeerError) {
        if self.swarm.candidates.source(address) == Some(PeerSource::User) {
            ctx.notify(Notice::PeerFailed {
                torrent: self.id,
                peer: address.to_string(),
                error,
            });
        }
    }

    /// Bytes of incomplete pieces that are in memory.
    pub(super) fn in_memory(&self) -> u64 {
        let content = self.phase.content();
        content.map_or(0, |content| content.partials.in_memory())
    }

    /// Connections that wait for a limit, each once a direction.
    pub(super) fn waiting(&self) -> usize {
        let peers = self.swarm.peers.values();
        peers
            .map(|peer| usize::from(peer.credit_waits) + usize::from(peer.upload_waits))
            .sum()
    }

    /// Checks that what waits for the disk is under way there, and nothing else is read.
    pub(super) fn check_ops(&self, ops: &[(OpId, DiskOp)]) {
        let Some(content) = self.phase.content() else {
            return;
        };
        let reads = ops
            .iter()
            .filter(|(_, about)| matches!(about, DiskOp::Read { .. }));
        assert!(
            reads.map(|(op, _)| op).eq(content.reads.keys()),
            "what is read is waited for"
        );
        for piece in content.storing.keys() {
            let stores = |about: &DiskOp| matches!(about, DiskOp::Store { piece: stored, .. } if stored == piece);
            assert!(
                ops.iter().any(|(_, about)| stores(about)),
                "a piece on its way to the disk is under way there"
            );
        }
    }

    /// Checks what must hold between two events.
    pub(super) fn check(&self) {
        self.swarm.candidates.check();
        self.swarm.check_places();
        match &self.phase {
            Phase::Fetching(fetching) => fetching.fetch.check(),
            Phase::Loaded(content) => check_peers(content, &self.swarm),
        }
        assert!(
            !self.course.is_running() || !self.phase.is_unjudged(),
            "what runs is known, and its peers are judged"
        );
    }
}

/// Checks what peers and content say of each other.
fn check_peers(content: &Content, swarm: &Swarm) {
    content.picker.check();
    content.partials.check();
    for (conn, peer) in &swarm.peers {
        assert_eq!(
            peer.interesting,
            content.picker.count_missing(&peer.have),
            "interest is counted right"
        );
        for block in peer.pipeline.blocks() {
            assert!(
                content.partials.is_asked(*conn, block.piece, block.begin),
                "a request that is waited for is known to its piece"
            );
        }
    }
}

/// What a peer says while nobody knows what it means.
fn on_early_message(ctx: &mut Shared, peer: &mut Peer, message: Message) -> Result<(), Blame> {
    match message {
        Message::Choke => peer.peer_choking = true,
        Message::Unchoke => peer.peer_choking = false,
        Message::Interested => peer.peer_interested = true,
        Message::NotInterested => peer.peer_interested = false,
        Message::Have(piece) => {
            // They come as fast as the peer downloads.
            return peer.early.insert(piece);
        }
        Message::Bitfield(bits) => peer.early.set(&bits),
        Message::HaveAll => peer.early.set_all(),
        Message::HaveNone => peer.early.set_none(),
        Message::Request(block) => {
            // Where there is a way to say no.
            if peer.fast {
                peer.send(&mut ctx.out(), &Message::Reject(block));
            }
        }
        Message::AllowedFast(piece) => peer.allow(piece, MAX_ALLOWED),
        Message::KeepAlive
        | Message::Cancel(_)
        | Message::Port(_)
        | Message::Suggest(_)
        | Message::Reject(_)
        | Message::Extended { .. } => {}
    }
    peer.count_chatter()
}

/// Looks at a peer. Says whether it is late with what it was asked for.
///
/// # Errors
///
/// Why it has to go.
fn review(ctx: &mut Shared, peer: &mut Peer, seeding: bool) -> Result<bool, DisconnectReason> {
    let now = ctx.now;
    let rate = peer.down.per_second(now);
    if now >= peer.adapt_at {
        peer.pipeline.adapt(rate);
        peer.chatter = peer.chatter.saturating_sub(1);
        peer.adapt_at = now + Duration::from_secs(1);
    }
    // A connection that takes nothing is as dead as one that brings nothing.
    let heard = if peer.unsent > 0 {
        peer.last_received.min(peer.last_left)
    } else {
        peer.last_received
    };
    if now.since(heard) >= ctx.config.silence_timeout {
        return Err(DisconnectReason::TimedOut);
    }
    if peer.interesting > 0 || peer.peer_interested || peer.is_busy() {
        peer.last_useful = now;
    } else if now.since(peer.last_useful) >= ctx.config.idle_timeout
        || (seeding && (peer.is_seed() || is_done(peer, now)))
    {
        return Err(DisconnectReason::Useless);
    }
    if now.since(peer.last_sent) >= ctx.config.keep_alive {
        peer.send(&mut ctx.out(), &Message::KeepAlive);
    }
    let deadline = peer.pipeline.deadline(rate);
    Ok(deadline.is_some_and(|deadline| deadline <= now))
}

/// When to look at a peer again, if nobody waits for what it owes.
fn next_look(ctx: &Shared, peer: &Peer) -> Instant {
    let silence = peer.last_received + ctx.config.silence_timeout;
    let stuck = peer.last_left + ctx.config.silence_timeout;
    let keep_alive = peer.last_sent + ctx.config.keep_alive;
    let idle = peer.last_useful + ctx.config.idle_timeout;
    let mut next = silence.min(keep_alive).min(idle);
    if peer.unsent > 0 {
        next = next.min(stuck);
    }
    if !peer.pipeline.is_empty() || peer.waits_for_rest {
        next = next.min(ctx.now + Duration::from_secs(1));
    }
    next
}

/// Whether a peer says that it wants nothing (BEP 21), and has stood by that for a while.
fn is_done(peer: &Peer, now: Instant) -> bool {
    peer.upload_only && !peer.peer_interested && now.since(peer.connected_at) >= DONE_AFTER
}

fn is_fast_message(message: &Message) -> bool {
    match message {
        Message::HaveAll
        | Message::HaveNone
        | Message::Suggest(_)
        | Message::Reject(_)
        | Message::AllowedFast(_) => true,
        Message::KeepAlive
        | Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::Have(_)
        | Message::Bitfield(_)
        | Message::Request(_)
        | Message::Cancel(_)
        | Message::Port(_)
        | Message::Extended { .. } => false,
    }
}

fn blame_for(error: crate::wire::WireError) -> Blame {
    let how = match error {
        crate::wire::WireError::TooLong { .. } => Misbehaviour::MessageTooLong,
        crate::wire::WireError::NotBitTorrent => Misbehaviour::BadHandshake,
        crate::wire::WireError::WrongLength { .. }
        | crate::wire::WireError::TooShort { .. }
        | crate::wire::WireError::Bencode { .. }
        | crate::wire::WireError::Shape
        | crate::wire::WireError::Missing { .. }
        | crate::wire::WireError::Invalid { .. }
        | crate::wire::WireError::ShortDatagram { .. }
        | crate::wire::WireError::UnknownAction { .. } => Misbehaviour::MessageLength,
    };
    Blame::Misbehaved(how)
}
