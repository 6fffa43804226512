//! What peers say of the pieces that they have and want (BEP 3, 6), and how they are looked after.

use alloc::collections::BTreeSet;

use bytes::Bytes;

use crate::bitfield::Bitfield;
use crate::error::{Blame, Misbehaviour};
use crate::id::ConnId;
use crate::notice::{DisconnectReason, TorrentState};
use crate::peer::allowed_fast::{ALLOWED_FAST, allowance, allowed_fast_set};
use crate::shared::Shared;
use crate::torrent::transfer::Transfer;
use crate::wire::Message;

/// A map that comes again counts as a message that leads to nothing for so many pieces.
const PIECES_PER_CHATTER: u32 = 256;

/// Pieces that a peer allows us to ask for while it chokes us, and that are remembered.
pub(super) const MAX_ALLOWED: usize = 4 * ALLOWED_FAST;

/// Pieces that a peer suggests and that are remembered.
const MAX_SUGGESTED: usize = 16;

impl Transfer<'_> {
    /// A message of a peer about pieces. What it says besides is dealt with before.
    pub(super) fn on_message(
        &mut self,
        ctx: &mut Shared,
        conn: ConnId,
        message: Message,
    ) -> Result<(), Blame> {
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        let wants = self.content.picker.missing().count() > 0;
        match message {
            Message::Choke => self.on_choke(ctx, conn),
            Message::Unchoke => {
                if !peer.peer_choking {
                    return peer.count_chatter();
                }
                peer.peer_choking = false;
                peer.show_interest(&mut ctx.out(), wants);
                Ok(())
            }
            Message::Interested => {
                let heard = peer.count_chatter();
                if !core::mem::replace(&mut peer.peer_interested, true) {
                    self.offer_slot(ctx, conn);
                }
                heard
            }
            Message::NotInterested => {
                peer.peer_interested = false;
                let heard = peer.count_chatter();
                self.pass_slot_on(ctx, conn);
                heard
            }
            Message::Have(piece) => self.on_have(ctx, conn, piece),
            Message::Bitfield(bits) => self.on_map(ctx, conn, Map::Bits(bits)),
            Message::HaveAll => self.on_map(ctx, conn, Map::All),
            Message::HaveNone => self.on_map(ctx, conn, Map::None),
            Message::Request(block) => self.on_request(ctx, conn, block),
            Message::Cancel(block) => {
                // With the fast extension every request is answered, a cancelled one by a reject (BEP 6).
                if peer.uploads.cancel(block) && peer.fast {
                    peer.send(&mut ctx.out(), &Message::Reject(block));
                }
                peer.count_chatter()
            }
            Message::Suggest(piece) => {
                if self.content.is_piece(piece) && !peer.suggested.contains(&piece) {
                    if peer.suggested.len() == MAX_SUGGESTED {
                        peer.suggested.remove(0);
                    }
                    peer.suggested.push(piece);
                }
                peer.count_chatter()
            }
            Message::Reject(block) => self.on_reject(ctx, conn, block),
            Message::AllowedFast(piece) => {
                if self.content.is_piece(piece) {
                    peer.allow(piece, MAX_ALLOWED);
                }
                peer.count_chatter()
            }
            Message::KeepAlive | Message::Port(_) | Message::Extended { .. } => {
                peer.count_chatter()
            }
        }
    }

    fn on_map(&mut self, ctx: &mut Shared, conn: ConnId, map: Map) -> Result<(), Blame> {
        let pieces = self.content.layout.piece_count();
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
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
        let picker = &mut self.content.picker;
        if peer.mapped {
            picker.peer_left(&peer.have);
            peer.chatter += pieces / PIECES_PER_CHATTER;
        }
        peer.mapped = true;
        peer.have = have;
        picker.peer_joined(&peer.have);
        peer.interesting = picker.count_missing(&peer.have);
        if peer.is_seed() && self.course.state() == TorrentState::Seeding {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
            return Ok(());
        }
        peer.show_interest(&mut ctx.out(), picker.missing().count() > 0);
        peer.count_chatter()
    }

    fn on_have(&mut self, ctx: &mut Shared, conn: ConnId, piece: u32) -> Result<(), Blame> {
        if !self.content.is_piece(piece) {
            return Err(Blame::Misbehaved(Misbehaviour::PieceOutOfRange));
        }
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
            return Ok(());
        };
        // Who begins with single pieces has no map to send.
        let picker = &mut self.content.picker;
        if !peer.mapped {
            peer.mapped = true;
            picker.peer_joined(&peer.have);
        }
        if peer.have.contains(piece) {
            return peer.count_chatter();
        }
        peer.have.insert(piece);
        picker.peer_has(&peer.have, piece);
        if picker.is_missing(piece) {
            peer.interesting += 1;
            peer.show_interest(&mut ctx.out(), picker.missing().count() > 0);
        } else if peer.is_seed() && self.course.state() == TorrentState::Seeding {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
        }
        Ok(())
    }

    /// Tells a newcomer what there is, and what it may have of it while it is choked (BEP 6).
    pub(super) fn grant_first_pieces(&mut self, ctx: &mut Shared, conn: ConnId) {
        let pieces = self.content.layout.piece_count();
        let info_hash = self.info_hash;
        let have = self.content.picker.have();
        // Neighbours on the network are allowed the same pieces. Each is granted to one of them at a
        // time, who can pass it on.
        let piece_length = self.content.layout.piece_length();
        let granted: BTreeSet<u32> = self
            .swarm
            .peers
            .values()
            .filter(|peer| peer.is_starting(piece_length))
            .flat_map(|peer| peer.allowed_to_it.iter().copied())
            .collect();
        let Some(peer) = self.swarm.peers.get_mut(&conn) else {
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

    /// What we want changed: looks at every peer's pieces anew.
    pub(super) fn reconsider_all_interest(&mut self, ctx: &mut Shared) {
        let wants = self.content.picker.missing().count() > 0;
        for conn in self.swarm.conns() {
            if let Some(peer) = self.swarm.peers.get_mut(&conn) {
                peer.interesting = self.content.picker.count_missing(&peer.have);
                peer.show_interest(&mut ctx.out(), wants);
            }
            self.request_blocks(ctx, conn);
        }
    }

    /// A connection that waited for a limit to send may try again.
    pub(super) fn unthrottle(&mut self, ctx: &mut Shared, conn: ConnId) {
        if let Some(peer) = self.swarm.peers.get_mut(&conn) {
            peer.upload_waits = false;
            self.serve(ctx, conn);
        }
    }
}

/// What a peer says that it has.
enum Map {
    All,
    None,
    Bits(Bytes),
}
