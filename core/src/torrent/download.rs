//! Which blocks are asked of whom, and what becomes of them (BEP 3, 6).

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::action::DiskJob;
use crate::ctx::{DiskOp, Timer};
use crate::error::Blame;
use crate::event::{DiskError, DiskErrorKind, PartialPiece};
use crate::id::ConnId;
use crate::limits;
use crate::metainfo::{FileIndex, PieceIndex};
use crate::notice::{Notice, TorrentState};
use crate::peer::pipeline::Arrival;
use crate::shared::Shared;
use crate::torrent::blame::{Contributor, Contributors};
use crate::torrent::partial::{Arrival as Kept, Held, Written};
use crate::torrent::picker::Order;
use crate::torrent::transfer::Transfer;
use crate::wire::{Block, BlockData, BlockRequest, Message};

/// Who can deliver a whole piece in this time gets one for itself.
const WHOLE_PIECE_SECONDS: u64 = 20;

/// So few peers cost little to tell, and wait for each piece the more: they are told at once.
const FEW_PEERS: usize = 16;

/// With so many peers, what has come is told as late as it may be; with fewer, sooner in proportion.
const HAVE_PEERS: u32 = 100;

/// Requests made in one go: below this share of the depth, a peer is not bothered for the room of a
/// block or two, so that requests travel, and are sent, in groups.
const REFILL_SHARE: u32 = 4;

/// A piece between its last block and the disk's answer.
#[derive(Debug)]
pub(crate) struct Storing {
    /// Who gave which block.
    from: Contributors,
    /// What came of it, until it is known to be on the disk.
    held: Held<BlockData>,
}

impl Transfer<'_> {
    /// A block came.
    pub(super) fn on_block(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        block: Block,
    ) -> Result<(), Blame> {
        let request = BlockRequest {
            piece: block.piece,
            begin: block.begin,
            len: block.data.len() as u32,
        };
        let bytes = u64::from(request.len);
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let arrival = peer.pipeline.arrived(request, ctx.now);
        if arrival == Arrival::Unrequested {
            self.flow.waste(ctx, bytes);
            return peer.count_unrequested();
        }
        peer.down.add(ctx.now, bytes);
        peer.downloaded += bytes;
        peer.note_moved(bytes, ctx.now);
        peer.snubbed = false;
        let contributor = Contributor {
            conn,
            address: peer.address.ip(),
        };
        self.flow.down.add(ctx.now, bytes);
        self.flow.session_downloaded += bytes;
        ctx.traffic.down.add(ctx.now, bytes);
        ctx.stats.payload_received += bytes;
        let late = arrival == Arrival::Withdrawn;
        let kept = self.content.partials.receive(
            contributor,
            request.piece,
            request.begin,
            request.len,
            block.data,
            late,
        );
        match kept {
            Kept::Superfluous | Kept::Unasked | Kept::Misfit => {
                self.flow.waste(ctx, bytes);
                return Ok(());
            }
            Kept::Accepted { cancel, complete } => {
                for other in cancel.iter() {
                    self.cancel_elsewhere(ctx, other, request);
                }
                if complete {
                    self.store(ctx, request.piece);
                } else {
                    self.keep_large(ctx);
                }
            }
        }
        self.relieve_memory(ctx);
        Ok(())
    }

    /// The peer does not serve us any more.
    pub(super) fn on_choke(&mut self, ctx: &mut Shared, conn: ConnId) -> Result<(), Blame> {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let heard = peer.count_chatter();
        if peer.peer_choking {
            return heard;
        }
        peer.peer_choking = true;
        // What it would rather give is about what it gives now.
        peer.suggested.clear();
        // With the fast extension each request is rejected by itself (BEP 6); without, all are void.
        if !peer.fast {
            peer.pipeline.withdraw_all().for_each(drop);
            self.content.partials.release_all(conn);
            self.request_blocks_of_all(ctx);
        }
        heard
    }

    /// A request will not be served.
    pub(super) fn on_reject(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        block: BlockRequest,
    ) -> Result<(), Blame> {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        if !peer.pipeline.rejected(block) {
            return peer.count_chatter();
        }
        // Who rejects while choking us has taken its leave to ask back; so have single pieces.
        let choking = peer.peer_choking;
        if choking {
            peer.allowed_to_us.retain(|piece| *piece != block.piece);
        }
        // An unchoked peer that rejects on and on would be asked on and on.
        let heard = match choking {
            true => Ok(()),
            false => peer.count_chatter(),
        };
        self.content
            .partials
            .release(conn, block.piece, block.begin);
        self.request_blocks_of_all_but(ctx, conn);
        heard
    }

    /// Asks a peer for as many blocks as its pipeline has room for.
    pub(super) fn request_blocks(&mut self, ctx: &mut Shared, conn: ConnId) {
        if self.course.state() != TorrentState::Downloading || self.storage.is_busy_opening() {
            return;
        }
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if peer.interesting == 0 || (peer.peer_choking && peer.allowed_to_us.is_empty()) {
            return;
        }
        let room = peer.pipeline.room(peer.allowed_requests, peer.snubbed);
        if room == 0 {
            return;
        }
        let mut depth = peer.pipeline.depth().min(peer.allowed_requests);
        let len = peer.pipeline.len();
        let mut room = match self.share_of_rest(ctx.now, conn) {
            Some(share) => {
                depth = depth.min(share);
                room.min(share.saturating_sub(len))
            }
            None => room,
        };
        let was_empty = len == 0;
        if room == 0 || (room < depth / REFILL_SHARE && !was_empty) {
            return;
        }
        let pace = self.pace(ctx.now, conn);
        while room > 0 {
            let Some(block) = self.choose_block(ctx, conn) else {
                break;
            };
            let Some(peer) = self.swarm.peers.get_mut(&conn) else {
                return;
            };
            peer.pipeline.push(block, pace, ctx.now);
            peer.send(&mut ctx.out(), &Message::Request(block));
            room -= 1;
        }
        if was_empty {
            // From now on the peer is looked at every second.
            let soon = ctx.now + core::time::Duration::from_secs(1);
            ctx.timers.set_no_later(Timer::Conn(conn), soon);
        }
    }

    /// Something was freed: whoever has room may ask for it.
    pub(super) fn request_blocks_of_all(&mut self, ctx: &mut Shared) {
        let conns: Vec<ConnId> = self
            .swarm
            .peers
            .values()
            .filter(|peer| peer.is_open())
            .map(|peer| peer.conn)
            .collect();
        for conn in conns {
            self.request_blocks(ctx, conn);
        }
    }

    pub(super) fn request_blocks_of_all_but(&mut self, ctx: &mut Shared, conn: ConnId) {
        let conns: Vec<ConnId> = self
            .swarm
            .peers
            .values()
            .filter(|peer| peer.is_open() && peer.conn != conn)
            .map(|peer| peer.conn)
            .collect();
        for conn in conns {
            self.request_blocks(ctx, conn);
        }
    }

    /// A peer does not deliver in time: its blocks are free for others.
    pub(super) fn snub(&mut self, ctx: &mut Shared, conn: ConnId) {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        peer.snubbed = true;
        let fast = peer.fast;
        let blocks: Vec<BlockRequest> = peer.pipeline.withdraw_all().collect();
        self.content.partials.release_all(conn);
        if fast {
            for block in &blocks {
                peer.send(&mut ctx.out(), &Message::Cancel(*block));
            }
        }
        self.request_blocks_of_all_but(ctx, conn);
    }

    /// The digest of a piece fitted, and it is written.
    pub(super) fn on_stored(&mut self, ctx: &mut Shared, piece: u32, digests: Option<&[[u8; 20]]>) {
        let Some(storing) = self.content.storing.remove(&piece) else {
            return;
        };
        self.content.partials.finish(storing.held);
        ctx.stats.pieces_verified += 1;
        if let Some(digests) = digests {
            for guilty in self.content.suspects.passed(piece, digests) {
                self.convict(ctx, guilty);
            }
        }
        self.gain(ctx, piece);
        self.checkpoint_later(ctx);
        self.update_completion(ctx);
    }

    /// The digest of a piece did not fit.
    pub(super) fn on_mismatched(&mut self, ctx: &mut Shared, piece: u32, digests: Vec<[u8; 20]>) {
        let Some(storing) = self.content.storing.remove(&piece) else {
            return;
        };
        ctx.stats.pieces_failed += 1;
        let size = u64::from(self.content.piece_size(piece));
        self.flow.waste(ctx, size);
        ctx.notify(Notice::PieceFailed {
            torrent: self.id,
            piece: PieceIndex::new(piece),
        });
        self.content.partials.finish(storing.held);
        self.content.picker.release(piece);
        if let Some(guilty) = self.content.suspects.failed(piece, digests, storing.from) {
            self.convict(ctx, guilty);
        }
        self.request_blocks_of_all(ctx);
    }

    /// A piece could not be written: what came of it waits for a disk that works.
    pub(super) fn on_store_failed(&mut self, ctx: &mut Shared, piece: u32, error: &DiskError) {
        // What was written early may be what could not be read back, unless there was only no room.
        let trust = error.kind == DiskErrorKind::NoSpace;
        self.hold_back(ctx, piece, trust);
    }

    /// Takes back a piece that is on its way to the disk.
    fn hold_back(&mut self, ctx: &mut Shared, piece: u32, trust: bool) {
        let Some(storing) = self.content.storing.remove(&piece) else {
            return;
        };
        let wanted = self.content.is_wanted(piece);
        let kept = wanted
            && self
                .content
                .partials
                .put_back(piece, storing.held, &storing.from, trust);
        if !kept {
            self.content.picker.release(piece);
            let size = u64::from(self.content.piece_size(piece));
            self.flow.waste(ctx, size);
        }
        self.bound_held(ctx);
    }

    /// Lets go of incomplete pieces while the disk is not to be had, until what is left leaves room for
    /// torrents on disks that work: a quarter of the budget for all that wait.
    pub(super) fn bound_held(&mut self, ctx: &mut Shared) {
        let most = u64::from(ctx.config.write_budget) / 4;
        self.content.account_partials(ctx);
        while ctx.budgets.partial > most {
            let Some(piece) = self.content.partials.largest() else {
                return;
            };
            self.drop_partial(ctx, piece);
        }
    }

    /// Tries once more to store what waited for a disk that works.
    pub(super) fn store_held(&mut self, ctx: &mut Shared) {
        for piece in self.content.partials.complete() {
            self.store(ctx, piece);
        }
    }

    /// Takes up what is on the disk of incomplete pieces, and gives up what turned out to be there.
    pub(super) fn restore_partials(&mut self, ctx: &mut Shared, found: Vec<PartialPiece>) {
        let under_way: Vec<u32> = self.content.partials.iter().collect();
        for piece in under_way {
            if self.content.have().contains(piece) {
                self.drop_partial(ctx, piece);
            }
        }
        for PartialPiece { piece, blocks } in found {
            let piece = piece.get();
            let size = self.content.piece_size(piece);
            let missing =
                self.content.picker.is_missing(piece) && !self.content.storing.contains_key(&piece);
            if missing && self.content.partials.restore(piece, size, &blocks) {
                self.content.picker.start(piece);
            }
        }
    }

    /// Writes all that is in memory of incomplete pieces, so that the next run has it.
    /// Says whether there was anything.
    pub(super) fn flush_partials(&mut self, ctx: &mut Shared) -> bool {
        let mut any = false;
        while self.flush_one(ctx) {
            any = true;
        }
        any
    }

    /// A part of a piece was written early.
    pub(super) fn on_written(
        &mut self,
        ctx: &mut Shared,
        piece: u32,
        begin: u32,
        len: u32,
        ok: bool,
    ) {
        let after = if ok {
            self.content.partials.written(piece, begin, len)
        } else {
            self.content.partials.write_failed(piece, begin, len)
        };
        match after {
            // What the record says of the piece may be more by now.
            Written::Continues => self.checkpoint_later(ctx),
            Written::Complete if ok => self.store(ctx, piece),
            // It waits until the disk works.
            Written::Complete => {}
            Written::Gone => self.content.picker.release(piece),
        }
    }

    /// A piece is there: everybody is told, and nobody is asked for it.
    pub(super) fn gain(&mut self, ctx: &mut Shared, piece: u32) {
        let was_wanted = self.content.picker.is_missing(piece);
        if !self.content.picker.set_have(piece) {
            return;
        }
        ctx.notify(Notice::Piece {
            torrent: self.id,
            piece: PieceIndex::new(piece),
        });
        self.note_files(ctx, piece);
        if self.swarm.peers.is_empty() {
            return;
        }
        self.swarm.news.push(piece);
        let free_slots = self.swarm.choker.has_room(self.swarm.unchoked as usize);
        let mut owners = Vec::new();
        for peer in self.swarm.peers.values_mut() {
            if !peer.have.contains(piece) {
                // Who has enough to ask for is told later, of several pieces at a time.
                if peer.is_waiting(free_slots) {
                    peer.tell(&mut ctx.out(), &self.swarm.news);
                }
            } else if was_wanted {
                peer.interesting = peer.interesting.saturating_sub(1);
                if peer.interesting == 0 {
                    owners.push(peer.conn);
                }
            }
        }
        let wants = self.content.picker.missing().count() > 0;
        for conn in owners {
            if let Some(peer) = self.swarm.peers.get_mut(&conn) {
                peer.show_interest(&mut ctx.out(), wants);
            }
        }
        if self.swarm.peers.len() <= FEW_PEERS {
            self.tell_all(ctx);
            return;
        }
        let peers = self.swarm.peers.len().min(HAVE_PEERS as usize) as u32;
        let delay = limits::HAVE_DELAY / HAVE_PEERS * peers;
        ctx.timers
            .set_no_later(Timer::Have(self.id), ctx.now + delay);
    }

    /// Tells all peers what has come.
    pub(super) fn tell_all(&mut self, ctx: &mut Shared) {
        for peer in self.swarm.peers.values_mut() {
            // Who has everything wants to hear of nothing.
            if !peer.is_seed() {
                peer.tell(&mut ctx.out(), &self.swarm.news);
            }
            peer.told = 0;
        }
        self.swarm.news.clear();
        ctx.timers.cancel(Timer::Have(self.id));
    }

    /// Drops pieces under way that are not wanted any more.
    pub(super) fn drop_unwanted_partials(&mut self, ctx: &mut Shared) {
        let unwanted: Vec<u32> = self
            .content
            .partials
            .iter()
            .filter(|piece| !self.content.is_wanted(*piece))
            .collect();
        for piece in unwanted {
            self.drop_partial(ctx, piece);
        }
    }

    /// Forgets all that is under way, as when the disk failed.
    pub(super) fn drop_all_partials(&mut self, ctx: &mut Shared) {
        let all: Vec<u32> = self.content.partials.iter().collect();
        for piece in all {
            self.drop_partial(ctx, piece);
        }
    }

    fn drop_partial(&mut self, ctx: &mut Shared, piece: u32) {
        let received = u64::from(self.content.partials.received(piece));
        let (requested, gone) = self.content.partials.abandon(piece);
        if gone {
            self.content.picker.release(piece);
        }
        self.content.account_partials(ctx);
        self.flow.waste(ctx, received);
        for (conn, block) in requested {
            self.cancel_elsewhere(ctx, conn, block);
        }
    }

    /// Whoever sent a block that was wrong is not listened to again.
    fn convict(&mut self, ctx: &mut Shared, guilty: Contributor) {
        let connected = self.swarm.peers.get(&guilty.conn).map(|peer| peer.address);
        // Of a peer that is gone the port is not known any more; a ban is by address.
        let address = connected.unwrap_or(SocketAddr::new(guilty.address, 0));
        self.ban(ctx, address, Blame::Corrupt);
    }

    /// The next block to ask a peer for: one of a piece that is under way, then of a new piece, then
    /// one that others have been asked for.
    fn choose_block(&mut self, ctx: &mut Shared, conn: ConnId) -> Option<BlockRequest> {
        let piece_length = u64::from(self.content.layout.piece_length());
        let peer = self.swarm.peers.get_mut(&conn)?;
        if peer.peer_choking {
            return self.choose_allowed(conn);
        }
        let rate = peer.down.per_second(ctx.now);
        let fast = !peer.snubbed && rate.saturating_mul(WHOLE_PIECE_SECONDS) >= piece_length;
        // What seeds alone have comes before the rest of what others can give as well.
        let unique = if self.content.sequential || !peer.is_seed() {
            None
        } else {
            self.content.picker.unique_priority()
        };
        let picker = &self.content.picker;
        let block = self
            .content
            .partials
            .request(conn, &peer.have, fast, |piece| {
                unique.is_none()
                    || picker.availability(piece) == 0
                    || picker.priority(piece) > unique
            });
        if block.is_some() {
            return block;
        }
        if self
            .content
            .partials
            .has_room(self.content.layout.piece_length())
        {
            let order = if self.content.sequential {
                Order::Sequential
            } else if self.content.picker.have().count() == 0 && self.content.storing.is_empty() {
                Order::Random
            } else {
                Order::RarestFirst
            };
            let picked = self
                .content
                .picker
                .pick(&peer.have, &mut ctx.rng, order)
                .map(|picked| {
                    let wish = self.wish(conn, picked);
                    wish.unwrap_or(picked)
                });
            if let Some(piece) = picked
                && self
                    .content
                    .partials
                    .start(piece, self.content.piece_size(piece), conn, fast)
            {
                self.content.picker.start(piece);
                return self.content.partials.request_open(conn, piece);
            }
        }
        let peer = self.swarm.peers.get(&conn)?;
        if unique.is_some()
            && let Some(block) = self
                .content
                .partials
                .request(conn, &peer.have, fast, |_| true)
        {
            return Some(block);
        }
        if let Some(block) = self.content.partials.request_shared(conn, &peer.have) {
            return Some(block);
        }
        self.take_over(ctx, conn)
    }

    /// The piece that a peer would rather give than the one that was picked, if it serves us as well: it
    /// is as urgent, and no more common.
    fn wish(&mut self, conn: ConnId, picked: u32) -> Option<u32> {
        let peer = self.swarm.peers.get_mut(&conn)?;
        while let Some(piece) = peer.suggested.pop() {
            let as_good = peer.have.contains(piece)
                && self.content.picker.is_open(piece)
                && self.content.picker.priority(piece) == self.content.picker.priority(picked)
                && self.content.picker.availability(piece)
                    <= self.content.picker.availability(picked);
            if as_good && !self.content.sequential {
                return Some(piece);
            }
        }
        None
    }

    /// The next block of a piece that a choking peer gives all the same (BEP 6).
    fn choose_allowed(&mut self, conn: ConnId) -> Option<BlockRequest> {
        let peer = self.swarm.peers.get(&conn)?;
        let mut fresh = None;
        for piece in peer
            .allowed_to_us
            .iter()
            .filter(|piece| peer.have.contains(**piece))
        {
            if self.content.partials.contains(*piece) {
                if let Some(block) = self.content.partials.request_open(conn, *piece) {
                    return Some(block);
                }
            } else if fresh.is_none() && self.content.picker.is_open(*piece) {
                fresh = Some(*piece);
            }
        }
        let piece = fresh?;
        if !self
            .content
            .partials
            .start(piece, self.content.piece_size(piece), conn, false)
        {
            return None;
        }
        self.content.picker.start(piece);
        self.content.partials.request_open(conn, piece)
    }

    /// All blocks of a piece are there: off to the digest and the disk.
    fn store(&mut self, ctx: &mut Shared, piece: u32) {
        let Some(digest) = self
            .content
            .metainfo
            .piece_hash(PieceIndex::new(piece))
            .copied()
        else {
            return;
        };
        let Some(taken) = self.content.partials.take(piece) else {
            return;
        };
        let blocks = self.content.suspects.is_suspect(piece);
        // A piece is shorter than 4 GiB.
        let about = DiskOp::Store {
            piece,
            bytes: taken.in_memory as u32,
        };
        let storing = Storing {
            from: taken.from,
            held: taken.held,
        };
        self.content.storing.insert(piece, storing);
        let job = DiskJob::Store {
            piece: PieceIndex::new(piece),
            digest,
            data: taken.data,
            blocks,
        };
        ctx.disk(self.id, about, job);
        self.content.account_partials(ctx);
    }

    /// Writes blocks of incomplete pieces when they take too much memory.
    fn relieve_memory(&mut self, ctx: &mut Shared) {
        let budget = u64::from(ctx.config.write_budget) / 2;
        self.content.account_partials(ctx);
        while ctx.budgets.partial > budget {
            if !self.flush_one(ctx) {
                return;
            }
        }
    }

    /// Writes some blocks of an incomplete piece; says whether there were any.
    fn flush_one(&mut self, ctx: &mut Shared) -> bool {
        let Some(flush) = self.content.partials.flush() else {
            return false;
        };
        self.content.account_partials(ctx);
        let about = DiskOp::Write {
            piece: flush.piece,
            begin: flush.begin,
            len: flush.len,
        };
        let job = DiskJob::Write {
            piece: PieceIndex::new(flush.piece),
            begin: flush.begin,
            data: flush.data,
        };
        ctx.disk(self.id, about, job);
        true
    }

    /// A block came that was asked of another peer as well.
    pub(super) fn cancel_elsewhere(&mut self, ctx: &mut Shared, conn: ConnId, block: BlockRequest) {
        if let Some(peer) = self.swarm.peers.get_mut(&conn)
            && peer.pipeline.withdraw(block)
        {
            peer.send(&mut ctx.out(), &Message::Cancel(block));
        }
    }

    /// Tells which files a new piece completes.
    fn note_files(&mut self, ctx: &mut Shared, piece: u32) {
        let size = self.content.piece_size(piece);
        let Some(spans) = self.content.layout.spans(PieceIndex::new(piece), 0, size) else {
            return;
        };
        let files: Vec<FileIndex> = spans.map(|span| span.file).collect();
        for file in files {
            let index = file.as_usize();
            let Some(missing) = self.content.file_missing.get_mut(index) else {
                continue;
            };
            *missing = missing.saturating_sub(1);
            let wanted = self
                .content
                .priorities
                .get(index)
                .is_some_and(|priority| *priority != crate::command::Priority::Skip);
            let data = self.content.layout.file_kind(file) == Some(crate::metainfo::FileKind::Data);
            if *missing == 0 && wanted && data && self.course.is_running() {
                ctx.notify(Notice::FileCompleted {
                    torrent: self.id,
                    file,
                });
            }
        }
        self.trim_complete_files(ctx);
    }

    /// Nothing is there any more, as far as is known. What is in memory of pieces under way stays if told
    /// so.
    pub(super) fn forget_pieces(&mut self, ctx: &mut Shared, hold: bool) {
        let storing: Vec<u32> = self.content.storing.keys().copied().collect();
        for piece in storing {
            self.hold_back(ctx, piece, false);
        }
        if hold {
            self.content.partials.forget_stored();
        } else {
            self.drop_all_partials(ctx);
        }
        self.tell_all(ctx);
        for piece in 0..self.content.layout.piece_count() {
            self.content.suspects.forget(piece);
            self.content.picker.set_lost(piece);
        }
        self.content.count_missing();
    }
}
