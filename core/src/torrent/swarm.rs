//! Peers come, talk, and go (BEP 3, 6, 10, 21).

use alloc::collections::BTreeSet;

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::bitfield::Bitfield;
use crate::ctx::Timer;
use crate::error::{Blame, Incompatibility, Misbehaviour, Reaction};
use crate::id::ConnId;
use crate::limits;
use crate::notice::{DisconnectReason, Notice, PeerError, TorrentState};
use crate::peer::allowed_fast::{ALLOWED_FAST, allowance, allowed_fast_set};
use crate::peer::{Introduction, Peer};
use crate::shared::Shared;
use crate::throttle::{Cause, Direction, Throttle};
use crate::time::Instant;
use crate::torrent::Torrent;
use crate::wire::{Frame, Message};

/// Messages that lead to nothing, which a peer may send in a burst; one more is forgiven each second.
const CHATTER: u32 = 2_000;

/// A map that comes again counts as a message that leads to nothing for so many pieces.
const PIECES_PER_CHATTER: u32 = 256;

/// Bytes that are allowed to be received without having been paid for, so that messages flow.
const MIN_CREDIT: u32 = 16 * 1024;

/// How long a peer that says it wants nothing is kept by a seed: it may want something all the same.
const DONE_AFTER: Duration = Duration::from_secs(60);

/// Pieces that a peer allows us to ask for while it chokes us, and that are remembered.
pub(super) const MAX_ALLOWED: usize = 4 * ALLOWED_FAST;

/// Pieces that a peer suggests and that are remembered.
const MAX_SUGGESTED: usize = 16;

impl Torrent {
    /// A handshake is complete. Says whether the peer was taken in; if not, its connection is closed.
    pub(crate) fn join(&mut self, ctx: &mut Shared, introduction: Introduction) -> bool {
        if let Err(reason) = self.take_place(ctx, &introduction) {
            if !introduction.incoming {
                let error = PeerError::Unwanted(reason.clone());
                self.tell_of_named(ctx, introduction.address, error);
                let ourselves = reason
                    == DisconnectReason::Blamed(Blame::Incompatible(
                        Incompatibility::SelfConnection,
                    ));
                if ourselves {
                    self.candidates.remove(introduction.address);
                } else {
                    self.candidates
                        .on_closed(introduction.address, false, ctx.now);
                }
            }
            ctx.connections.close(introduction.conn, &mut ctx.actions);
            return false;
        }
        let conn = introduction.conn;
        ctx.connections.promote(conn, self.id);
        let pieces = self.fetch.is_none().then(|| self.layout.piece_count());
        let mut peer = Peer::new(introduction, pieces, ctx.config.default_peer_reqq, ctx.now);
        // The map that it is sent holds them.
        peer.told = self.news.len() as u32;
        if !introduction.incoming {
            let source = self.candidates.source(introduction.address);
            peer.source = source.unwrap_or(peer.source);
            self.candidates.on_connected(introduction.address);
        }
        ctx.notify(Notice::PeerConnected {
            torrent: self.id,
            address: introduction.address,
            incoming: introduction.incoming,
        });
        self.networks.add(introduction.address.ip());
        self.peers.insert(conn, peer);
        self.introduce_ourselves(ctx, conn);
        ctx.timers
            .set(Timer::Conn(conn), ctx.now + Duration::from_secs(1));
        ctx.timers
            .set_no_later(Timer::Choke(self.id), ctx.now + limits::CHOKE_INTERVAL);
        true
    }

    /// Bytes from a peer.
    pub(crate) fn receive(&mut self, ctx: &mut Shared, conn: ConnId, mut data: Bytes) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        ctx.stats.uncredited += u64::from(len.saturating_sub(peer.credit));
        peer.credit = peer.credit.saturating_sub(len);
        peer.last_received = ctx.now;
        let uncharged = peer.uncharged.min(len);
        peer.uncharged -= uncharged;
        ctx.throttle.down.charge(ctx.now, uncharged.into());
        self.down_limit.charge(ctx.now, uncharged.into());
        loop {
            let Some(peer) = self.peers.get_mut(&conn) else {
                // Something that it said ended the connection.
                return;
            };
            let outcome = match peer.decoder.decode(&mut data) {
                Ok(None) => break,
                Ok(Some(Frame::Block(block))) => {
                    peer.spoken = true;
                    self.on_block(ctx, conn, block)
                }
                Ok(Some(Frame::Message(message))) => {
                    let outcome = self.on_message(ctx, conn, message);
                    if let Some(peer) = self.peers.get_mut(&conn) {
                        peer.spoken = true;
                    }
                    outcome
                }
                Ok(Some(Frame::Unknown { .. })) => {
                    peer.spoken = true;
                    self.on_chatter(conn)
                }
                Err(error) => Err(blame_for(error)),
            };
            if let Err(blame) = outcome {
                self.punish(ctx, conn, blame);
                return;
            }
        }
        self.serve(ctx, conn);
        self.request_blocks(ctx, conn);
        self.feed(ctx, conn);
    }

    /// Bytes for a peer left, as the driver says. How many count: no more than were to be sent.
    pub(crate) fn sent(&mut self, ctx: &mut Shared, conn: ConnId, len: u64) -> u64 {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return 0;
        };
        let counted = peer.left(len, ctx.now);
        self.serve(ctx, conn);
        self.watch_ratio(ctx);
        counted
    }

    /// A connection ended by itself.
    pub(crate) fn closed(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        reason: crate::event::CloseReason,
    ) {
        self.forget_peer(ctx, conn, DisconnectReason::Closed(reason));
    }

    /// Ends a connection with a peer.
    pub(crate) fn disconnect(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        let unsent = self.peers.get(&conn).map_or(0, |peer| peer.unsent);
        ctx.connections.close_peer(conn, unsent, &mut ctx.actions);
        self.forget_peer(ctx, conn, reason);
    }

    pub(crate) fn disconnect_all(&mut self, ctx: &mut Shared) {
        let peers: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in peers {
            self.disconnect(ctx, conn, DisconnectReason::Stopped);
        }
        let greetings: Vec<ConnId> = ctx.connections.greetings_of(self.id).collect();
        for conn in greetings {
            ctx.timers.cancel(Timer::Conn(conn));
            ctx.connections.close(conn, &mut ctx.actions);
        }
        self.candidates.forget_attempts(ctx.now);
    }

    /// Ends connections of which neither side has any use: between two that lack nothing.
    pub(crate) fn disconnect_useless(&mut self, ctx: &mut Shared) {
        if self.state != TorrentState::Seeding {
            return;
        }
        let seeds: Vec<ConnId> = self
            .peers
            .values()
            .filter(|peer| peer.is_seed())
            .map(|peer| peer.conn)
            .collect();
        for conn in seeds {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
        }
    }

    /// A peer broke a rule.
    pub(crate) fn punish(&mut self, ctx: &mut Shared, conn: ConnId, blame: Blame) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let address = peer.address;
        match blame.reaction() {
            Reaction::Close => self.disconnect(ctx, conn, DisconnectReason::Blamed(blame)),
            Reaction::Ban => self.ban(ctx, address, blame),
        }
    }

    /// Ends all connections of this torrent with an address, and has none again.
    pub(crate) fn ban(&mut self, ctx: &mut Shared, address: SocketAddr, blame: Blame) {
        if ctx.banned.insert(address.ip()) {
            ctx.stats.bans += 1;
            ctx.notify(Notice::PeerBanned {
                torrent: self.id,
                address,
                blame,
            });
        }
        self.candidates.remove_ip(address.ip());
        let banned = address.ip().to_canonical();
        let conns: Vec<ConnId> = self
            .peers
            .values()
            .filter(|peer| peer.address.ip().to_canonical() == banned)
            .map(|peer| peer.conn)
            .collect();
        for conn in conns {
            self.disconnect(ctx, conn, DisconnectReason::Blamed(blame));
        }
    }

    /// The periodic look at a peer.
    pub(crate) fn look_after(&mut self, ctx: &mut Shared, conn: ConnId) {
        let now = ctx.now;
        let seeding = self.state == TorrentState::Seeding;
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
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
            self.disconnect(ctx, conn, DisconnectReason::TimedOut);
            return;
        }
        if peer.interesting > 0 || peer.peer_interested || peer.is_busy() {
            peer.last_useful = now;
        } else if now.since(peer.last_useful) >= ctx.config.idle_timeout
            || (seeding && (peer.is_seed() || is_done(peer, now)))
        {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
            return;
        }
        if now.since(peer.last_sent) >= ctx.config.keep_alive {
            peer.send(&mut ctx.out(), &Message::KeepAlive);
        }
        if peer
            .pipeline
            .deadline(rate)
            .is_some_and(|deadline| deadline <= now)
        {
            self.snub(ctx, conn);
        }
        self.offer_late(ctx, conn);
        self.request_blocks(ctx, conn);
        self.feed(ctx, conn);
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let silence = peer.last_received + ctx.config.silence_timeout;
        let stuck = peer.last_left + ctx.config.silence_timeout;
        let keep_alive = peer.last_sent + ctx.config.keep_alive;
        let idle = peer.last_useful + ctx.config.idle_timeout;
        let mut next = silence.min(keep_alive).min(idle);
        if peer.unsent > 0 {
            next = next.min(stuck);
        }
        if !peer.pipeline.is_empty() || peer.waits_for_rest {
            next = next.min(now + Duration::from_secs(1));
        }
        // At the end others are waiting to take over.
        if let Some(late_at) = peer.pipeline.late_at()
            && late_at > now
            && self.is_all_asked()
        {
            next = next.min(late_at);
        }
        ctx.timers.set(
            Timer::Conn(conn),
            next.max(now + Duration::from_millis(100)),
        );
    }

    fn introduce_ourselves(&mut self, ctx: &mut Shared, conn: ConnId) {
        self.send_piece_map(ctx, conn);
        self.send_extended_handshake(ctx, conn);
        if let Some(port) = self.dht_port(ctx)
            && let Some(peer) = self.peers.get_mut(&conn)
            && peer.dht
        {
            peer.send(&mut ctx.out(), &Message::Port(port));
        }
        self.grant_first_pieces(ctx, conn);
    }

    fn send_piece_map(&mut self, ctx: &mut Shared, conn: ConnId) {
        let early = self.early;
        let have = self.picker.have();
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        // The piece map must come first (BEP 3); without pieces it may be left out.
        if peer.fast && have.is_full() && !early {
            peer.send(&mut ctx.out(), &Message::HaveAll);
        } else if peer.fast && (have.count() == 0 || early) {
            peer.send(&mut ctx.out(), &Message::HaveNone);
        } else if have.count() > 0 && !early {
            peer.send(&mut ctx.out(), &Message::Bitfield(have.to_wire()));
        }
    }

    /// Tells a newcomer which pieces it may have while it is choked (BEP 6).
    fn grant_first_pieces(&mut self, ctx: &mut Shared, conn: ConnId) {
        if self.early {
            return;
        }
        let pieces = self.layout.piece_count();
        let info_hash = self.info_hash();
        let have = self.picker.have();
        // Neighbours on the network are allowed the same pieces. Each is granted to one of them at a
        // time, who can pass it on.
        let piece_length = self.layout.piece_length();
        let granted: BTreeSet<u32> = self
            .peers
            .values()
            .filter(|peer| peer.is_starting(piece_length))
            .flat_map(|peer| peer.allowed_to_it.iter().copied())
            .collect();
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        if peer.fast {
            let allowed = allowed_fast_set(peer.address.ip(), &info_hash, pieces, ALLOWED_FAST);
            let grants = allowed
                .into_iter()
                .filter(|piece| have.contains(*piece) && !granted.contains(piece));
            for piece in grants.take(allowance(piece_length)) {
                peer.send(&mut ctx.out(), &Message::AllowedFast(piece));
                peer.allowed_to_it.push(piece);
            }
        }
    }

    fn on_message(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        message: Message,
    ) -> Result<(), Blame> {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        if !peer.fast && is_fast_message(&message) {
            return Err(Blame::Misbehaved(Misbehaviour::FastWithoutExtension));
        }
        if self.early {
            return self.on_early_message(ctx, conn, message);
        }
        match message {
            Message::KeepAlive => self.on_chatter(conn),
            Message::Choke => self.on_choke(ctx, conn),
            Message::Unchoke => {
                if !peer.peer_choking {
                    return self.on_chatter(conn);
                }
                peer.peer_choking = false;
                self.show_interest(ctx, conn);
                Ok(())
            }
            Message::Interested => {
                if peer.peer_interested {
                    return self.on_chatter(conn);
                }
                peer.peer_interested = true;
                self.offer_slot(ctx, conn);
                self.on_chatter(conn)
            }
            Message::NotInterested => {
                peer.peer_interested = false;
                self.pass_slot_on(ctx, conn);
                self.on_chatter(conn)
            }
            Message::Have(piece) => self.on_have(ctx, conn, piece),
            Message::Bitfield(bits) => self.on_map(ctx, conn, Map::Bits(bits)),
            Message::HaveAll => self.on_map(ctx, conn, Map::All),
            Message::HaveNone => self.on_map(ctx, conn, Map::None),
            Message::Request(block) => self.on_request(ctx, conn, block),
            Message::Cancel(block) => self.on_cancel(ctx, conn, block),
            Message::Port(port) => {
                let address = peer.address;
                self.on_dht_port(ctx, address, port);
                self.on_chatter(conn)
            }
            Message::Suggest(piece) => {
                if self.is_piece(piece)
                    && let Some(peer) = self.peers.get_mut(&conn)
                    && !peer.suggested.contains(&piece)
                {
                    if peer.suggested.len() == MAX_SUGGESTED {
                        peer.suggested.remove(0);
                    }
                    peer.suggested.push(piece);
                }
                self.on_chatter(conn)
            }
            Message::Reject(block) => self.on_reject(ctx, conn, block),
            Message::AllowedFast(piece) => {
                if self.is_piece(piece)
                    && let Some(peer) = self.peers.get_mut(&conn)
                    && peer.allowed_to_us.len() < MAX_ALLOWED
                    && !peer.allowed_to_us.contains(&piece)
                {
                    peer.allowed_to_us.push(piece);
                }
                self.on_chatter(conn)
            }
            Message::Extended { id, payload } => self.on_extended(ctx, conn, id, &payload),
        }
    }

    fn on_map(&mut self, ctx: &mut Shared, conn: ConnId, map: Map) -> Result<(), Blame> {
        let pieces = self.layout.piece_count();
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        let have = match map {
            Map::All => Bitfield::full(pieces),
            Map::None => Bitfield::new(pieces),
            Map::Bits(bits) => Bitfield::from_wire(&bits, pieces)
                .map_err(|_| Blame::Misbehaved(Misbehaviour::BadBitfield))?,
        };
        // BEP 3 wants the map first, and once; but some clients send a new one in place of many
        // single messages. It costs as much as the work that it makes.
        if peer.mapped {
            self.picker.peer_left(&peer.have);
            peer.chatter += pieces / PIECES_PER_CHATTER;
        }
        peer.mapped = true;
        peer.have = have;
        self.picker.peer_joined(&peer.have);
        peer.interesting = self.picker.count_missing(&peer.have);
        if peer.is_seed() && self.state == TorrentState::Seeding {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
            return Ok(());
        }
        self.show_interest(ctx, conn);
        self.on_chatter(conn)
    }

    fn on_have(&mut self, ctx: &mut Shared, conn: ConnId, piece: u32) -> Result<(), Blame> {
        if !self.is_piece(piece) {
            return Err(Blame::Misbehaved(Misbehaviour::PieceOutOfRange));
        }
        let Some(peer) = self.peers.get_mut(&conn) else {
            return Ok(());
        };
        // Who begins with single pieces has no map to send.
        if !peer.mapped {
            peer.mapped = true;
            self.picker.peer_joined(&peer.have);
        }
        if peer.have.contains(piece) {
            return self.on_chatter(conn);
        }
        peer.have.insert(piece);
        self.picker.peer_has(&peer.have, piece);
        if self.picker.is_missing(piece) {
            peer.interesting += 1;
            self.show_interest(ctx, conn);
        } else if peer.is_seed() && self.state == TorrentState::Seeding {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
        }
        Ok(())
    }

    /// Counts a message that leads to nothing.
    pub(super) fn on_chatter(&mut self, conn: ConnId) -> Result<(), Blame> {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.chatter += 1;
            if peer.chatter > CHATTER {
                return Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
            }
        }
        Ok(())
    }

    /// Whether there is such a piece. What a peer offers or advises about another one is of no use and does no
    /// harm: it counts as a message that leads to nothing. Who claims to have it, or asks for it, talks about
    /// another torrent than we do, and that is a fault.
    fn is_piece(&self, piece: u32) -> bool {
        piece < self.layout.piece_count()
    }

    /// Tells a peer whether we want something of it, if that changed. Among peers that all have about as
    /// much, this changes with almost every piece; so who chokes us learns that we want nothing when it
    /// would matter: as it serves us, with the next round of the choker, or when we want nothing at all.
    pub(super) fn show_interest(&mut self, ctx: &mut Shared, conn: ConnId) {
        let wants = self.picker.missing().count() > 0;
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let interested = peer.interesting > 0;
        if interested != peer.am_interested && (interested || !peer.peer_choking || !wants) {
            peer.am_interested = interested;
            peer.last_useful = ctx.now;
            peer.send(
                &mut ctx.out(),
                if interested {
                    &Message::Interested
                } else {
                    &Message::NotInterested
                },
            );
        }
    }

    /// What we want changed: looks at every peer's pieces anew.
    pub(super) fn reconsider_all_interest(&mut self, ctx: &mut Shared) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.interesting = self.picker.count_missing(&peer.have);
            }
            self.show_interest(ctx, conn);
            self.request_blocks(ctx, conn);
        }
    }

    /// Gives a peer credit to send more, as far as the limits and the disk allow.
    pub(crate) fn feed(&mut self, ctx: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        if peer.credit_waits {
            return;
        }
        let limited = ctx.throttle.down.is_limited() || self.down_limit.is_limited();
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
        let backlog = ctx.stats.write_backlog >= u64::from(ctx.config.write_budget) / 2;
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
            .min(self.down_limit.available(ctx.now));
        let granted = want.min(available);
        let enough = if limited { want.min(1_024) } else { want };
        if granted < enough {
            peer.credit_waits = true;
            ctx.throttle
                .wait(Cause::Rate, (self.id, conn, Direction::Down));
            let at = Throttle::retry_at(
                ctx.now,
                &mut ctx.throttle.down,
                &mut self.down_limit,
                enough,
            );
            ctx.timers.set_no_later(Timer::Throttle, at);
            return;
        }
        ctx.throttle.down.take(ctx.now, granted);
        self.down_limit.take(ctx.now, granted);
        peer.credit += granted as u32;
        ctx.push(crate::action::Action::Read {
            conn,
            credit: granted as u32,
        });
    }

    /// A connection that waited for a limit may try again.
    pub(crate) fn unthrottle(&mut self, ctx: &mut Shared, conn: ConnId, direction: Direction) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        match direction {
            Direction::Down => {
                peer.credit_waits = false;
                self.feed(ctx, conn);
            }
            Direction::Up => {
                peer.upload_waits = false;
                self.serve(ctx, conn);
            }
        }
    }

    /// Takes a peer out of everything that knows it.
    fn forget_peer(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        let Some(peer) = self.peers.remove(&conn) else {
            return;
        };
        ctx.timers.cancel(Timer::Conn(conn));
        self.networks.remove(peer.address.ip());
        if peer.credit_waits || peer.upload_waits {
            ctx.throttle.forget(conn);
        }
        if peer.mapped {
            self.picker.peer_left(&peer.have);
        }
        if let Some(handout) = &mut self.handout {
            peer.offered
                .iter()
                .for_each(|piece| handout.take_back(*piece));
        }
        if !peer.am_choking {
            self.unchoked -= 1;
        }
        let freed = peer.pipeline.len();
        self.partials.remove_peer(conn);
        if let Some(fetch) = &mut self.fetch {
            fetch.remove(conn);
            self.fetch_more(ctx);
        }
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
            torrent: self.id,
            address: peer.address,
            reason,
        });
        if freed > 0 {
            self.request_blocks_of_all(ctx);
        }
        if !peer.am_choking {
            self.free_slot(ctx);
        }
        if peer.unsent > 0 {
            self.watch_ratio(ctx);
        }
        self.seek_peers(ctx);
    }
}

/// Whether a peer says that it wants nothing (BEP 21), and has stood by that for a while.
fn is_done(peer: &Peer, now: Instant) -> bool {
    peer.upload_only && !peer.peer_interested && now.since(peer.connected_at) >= DONE_AFTER
}

/// What a peer says that it has.
enum Map {
    All,
    None,
    Bits(Bytes),
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
