//! Serving requests (BEP 3, 6).

use bytes::Bytes;

use crate::action::DiskJob;
use crate::ctx::{DiskOp, Timer};
use crate::error::{Blame, Misbehaviour};
use crate::id::{ConnId, OpId};
use crate::limits;
use crate::metainfo::PieceIndex;
use crate::peer::upload::Admission;
use crate::shared::Shared;
use crate::throttle::{Cause, Direction, Throttle};
use crate::torrent::handout::Handout;
use crate::torrent::transfer::Transfer;
use crate::wire::{BlockRequest, Message, encode_piece_header};

/// Requests over the limit that are rejected before they count as a flood.
const FLOOD: u32 = 1_000;

/// So many bytes are suggested to a peer before it asks for them, in pieces, or one piece: what it
/// asks for in one go should not hold more pieces than were suggested to it.
const OFFERED_AHEAD: u32 = 256 << 10;

/// Pieces suggested to a peer before it asks for them, at most.
const MAX_OFFERED: u32 = 8;

/// Lists of requests that are kept for the next reads, so that these allocate nothing.
const SPARE_RUNS: usize = 16;

impl Transfer<'_> {
    /// A peer asks for a block.
    pub(super) fn on_request(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        block: BlockRequest,
    ) -> Result<(), Blame> {
        let size = self.content.layout.piece_size(PieceIndex::new(block.piece));
        let fits = size.is_some_and(|size| block.end() <= u64::from(size));
        if !fits || block.len == 0 || block.len > limits::MAX_REQUEST_LEN {
            return Err(Blame::Misbehaved(Misbehaviour::RequestOutOfRange));
        }
        let have = self.content.have().contains(block.piece);
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let granted = peer.allowed_to_it.contains(&block.piece)
            && peer.is_starting(self.content.layout.piece_length());
        let allowed = !peer.am_choking || granted;
        if !allowed || !have {
            // Without the fast extension there is no way to say no but to choke, which has been said.
            if peer.fast {
                peer.send(&mut ctx.out(), &Message::Reject(block));
            }
            // A request may cross our choke on its way; a flood of them is no accident.
            return peer.count_chatter();
        }
        match peer.uploads.admit(block, ctx.config.max_peer_requests) {
            // Served when all that came with it is known: neighbours are read together.
            Admission::Queued => {
                peer.last_asked = ctx.now;
                peer.offered.retain(|piece| *piece != block.piece);
                if let Some(handout) = &mut self.swarm.handout {
                    handout.give(block.piece);
                }
                self.offer_piece(ctx, conn);
                Ok(())
            }
            Admission::Repeated => peer.count_chatter(),
            Admission::Full => {
                if peer.fast {
                    peer.send(&mut ctx.out(), &Message::Reject(block));
                }
                peer.chatter += 1;
                if peer.chatter > FLOOD {
                    return Err(Blame::Misbehaved(Misbehaviour::RequestFlood));
                }
                Ok(())
            }
        }
    }

    /// Reads what a peer waits for, as far as windows, limits and budgets allow.
    pub(super) fn serve(&mut self, ctx: &mut Shared, conn: ConnId) {
        if !self.course.is_running() {
            return;
        }
        let mut left = self.upload_left().unwrap_or(u64::MAX);
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if peer.upload_waits {
            return;
        }
        while let Some(next) = peer.uploads.front()
            && left > 0
        {
            let least = u64::from(next.len);
            let in_transit = peer.unsent + peer.reading;
            let window = u64::from(limits::SEND_WINDOW);
            if in_transit > 0 && in_transit + least > window {
                // What leaves is the occasion to go on.
                return;
            }
            let budget = u64::from(ctx.config.read_budget);
            if ctx.budgets.reading > 0 && ctx.budgets.reading + least > budget {
                peer.upload_waits = true;
                ctx.throttle
                    .wait(Cause::Disk, (self.id, conn, Direction::Up));
                return;
            }
            let available = ctx
                .throttle
                .up
                .available(ctx.now)
                .min(self.flow.up_limit.available(ctx.now));
            // A bucket holds no more than its burst, which may be less than a large block.
            let burst = ctx.throttle.up.burst().min(self.flow.up_limit.burst());
            if available < least.min(burst) {
                peer.upload_waits = true;
                ctx.throttle
                    .wait(Cause::Rate, (self.id, conn, Direction::Up));
                let at = Throttle::retry_at(
                    ctx.now,
                    &mut ctx.throttle.up,
                    &mut self.flow.up_limit,
                    least.min(burst),
                );
                ctx.timers.set_no_later(Timer::Throttle, at);
                return;
            }
            let room = window.saturating_sub(in_transit).min(left).max(least);
            let room = available.min(room);
            let Some(run) = peer.uploads.next_run(
                u32::try_from(room).unwrap_or(u32::MAX),
                &mut self.content.spare_runs,
            ) else {
                return;
            };
            let len = u64::from(run.len);
            ctx.throttle.up.charge(ctx.now, len);
            self.flow.up_limit.charge(ctx.now, len);
            peer.reading += len;
            left = left.saturating_sub(len);
            let about = DiskOp::Read {
                conn,
                begin: run.begin,
                len: run.len,
            };
            let job = DiskJob::Read {
                piece: PieceIndex::new(run.piece),
                begin: run.begin,
                len: run.len,
            };
            let op = ctx.disk(self.id, about, job);
            self.content.reads.insert(op, run.blocks);
        }
    }

    /// What was read for a peer is there.
    pub(super) fn on_read(
        &mut self,
        ctx: &mut Shared,
        op: OpId,
        conn: ConnId,
        begin: u32,
        len: u32,
        data: Option<Bytes>,
    ) {
        let mut blocks = self.content.reads.remove(&op).unwrap_or_default();
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            self.share_what_is_left(ctx);
            return;
        };
        peer.reading = peer.reading.saturating_sub(u64::from(len));
        for block in blocks.drain(..) {
            if !peer.uploads.finish(block) {
                continue;
            }
            let from = (block.begin - begin) as usize;
            let payload = data
                .as_ref()
                .filter(|data| data.len() == len as usize)
                .map(|data| data.slice(from..from + block.len as usize));
            let Some(payload) = payload else {
                if peer.fast {
                    peer.send(&mut ctx.out(), &Message::Reject(block));
                }
                continue;
            };
            let bytes = u64::from(block.len);
            let header = ctx
                .actions
                .send_with(conn, |buffer| encode_piece_header(block, buffer));
            peer.hand_over(header as u64, ctx.now);
            peer.send_bytes(&mut ctx.out(), payload);
            peer.owed += bytes;
            peer.up.add(ctx.now, bytes);
            peer.uploaded += bytes;
            peer.last_useful = ctx.now;
            peer.last_asked = ctx.now;
            self.flow.up.add(ctx.now, bytes);
            self.flow.session_uploaded += bytes;
            ctx.traffic.up.add(ctx.now, bytes);
            ctx.stats.payload_sent += bytes;
        }
        if self.content.spare_runs.len() < SPARE_RUNS {
            self.content.spare_runs.push(blocks);
        }
        self.uploaded_since_checkpoint(ctx);
        self.serve(ctx, conn);
        if data.is_none() {
            self.share_what_is_left(ctx);
        }
    }

    /// Suggests pieces that nobody else is fetching to a peer that we serve, unless enough were offered
    /// to it that it has not asked for yet.
    pub(super) fn offer_piece(&mut self, ctx: &mut Shared, conn: ConnId) {
        // Without its pieces known, a torrent is full of none.
        if self.content.unjudged || !self.content.have().is_full() {
            return;
        }
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return;
        };
        if !peer.fast || peer.am_choking {
            return;
        }
        let pieces = self.content.layout.piece_count();
        let handout = self
            .swarm
            .handout
            .get_or_insert_with(|| Handout::new(pieces, ctx.rng.below(pieces)));
        let ahead =
            (OFFERED_AHEAD / self.content.layout.piece_length().max(1)).clamp(1, MAX_OFFERED);
        while peer.offered.len() < ahead as usize {
            let Some(piece) = handout.next(|piece| self.content.picker.availability(piece) > 0)
            else {
                return;
            };
            peer.offered.push(piece);
            peer.send(&mut ctx.out(), &Message::Suggest(piece));
        }
    }
}
