//! The parts of a torrent that transfer data, lent together: what it consists of, where that is kept, whom it is
//! exchanged with, and how much of it.
//!
//! Here no tracker and no DHT is to be had; what concerns them is told as a [`Signal`](crate::signal::Signal).

use core::net::SocketAddr;

use alloc::vec::Vec;

use crate::action::DiskJob;
use crate::command::Priority;
use crate::ctx::DiskOp;
use crate::error::{Blame, CommandError, Reaction};
use crate::id::{ConnId, TorrentId};
use crate::metainfo::{FileIndex, InfoHash};
use crate::notice::{DisconnectReason, Notice, TorrentState};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::torrent::content::Content;
use crate::torrent::disk::Storage;
use crate::torrent::extended::About;
use crate::torrent::flow::Flow;
use crate::torrent::phase::{Activity, Course};
use crate::torrent::swarm::{Standing, Swarm};

/// A torrent whose metadata is known, as far as data is transferred.
pub(super) struct Transfer<'a> {
    pub(super) id: TorrentId,
    pub(super) info_hash: InfoHash,
    pub(super) course: &'a mut Course,
    pub(super) content: &'a mut Content,
    pub(super) storage: &'a mut Storage,
    pub(super) swarm: &'a mut Swarm,
    pub(super) flow: &'a mut Flow,
}

impl Transfer<'_> {
    /// How it stands, as far as that decides whether peers are wanted.
    pub(super) fn standing(&self) -> Standing<'_> {
        Standing {
            id: self.id,
            course: self.course,
            unjudged: self.content.unjudged,
            down: &self.flow.down,
        }
    }

    /// Lets the torrent be dialled for, if it wants more peers.
    pub(super) fn seek_peers(&self, ctx: &mut Shared) {
        self.swarm.seek_peers(ctx, self.standing());
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

    /// Takes a peer out of everything that knows it.
    pub(super) fn forget_peer(&mut self, ctx: &mut Shared, conn: ConnId, reason: DisconnectReason) {
        let Some(peer) = self.swarm.remove(ctx, conn) else {
            return;
        };
        if peer.mapped {
            self.content.picker.peer_left(&peer.have);
        }
        let freed = peer.pipeline.len();
        self.content.partials.remove_peer(conn);
        self.swarm.note_parted(ctx, self.id, &peer, reason);
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

    /// Ends connections of which neither side has any use: between two that lack nothing.
    pub(super) fn disconnect_useless(&mut self, ctx: &mut Shared) {
        if self.course.state() != TorrentState::Seeding {
            return;
        }
        let peers = self.swarm.peers.values();
        let seeds: Vec<ConnId> = peers
            .filter(|peer| peer.is_seed())
            .map(|peer| peer.conn)
            .collect();
        for conn in seeds {
            self.disconnect(ctx, conn, DisconnectReason::Useless);
        }
    }

    /// A peer broke a rule.
    pub(super) fn punish(&mut self, ctx: &mut Shared, conn: ConnId, blame: Blame) {
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

    /// Something that extended handshakes tell has changed.
    pub(super) fn refresh_extended_handshakes(&mut self, ctx: &mut Shared) {
        let about = About::of(self.content, ctx);
        self.swarm.refresh_extended_handshakes(ctx, about);
    }

    pub(super) fn set_priorities(
        &mut self,
        ctx: &mut Shared,
        files: &[(FileIndex, Priority)],
    ) -> Result<(), CommandError> {
        let priorities = &mut self.content.priorities;
        if let Some((file, _)) = files
            .iter()
            .find(|(file, _)| file.as_usize() >= priorities.len())
        {
            return Err(CommandError::NoSuchFile(*file));
        }
        let wanted_before = self.content.wanted_files();
        for (file, priority) in files {
            if let Some(slot) = self.content.priorities.get_mut(file.as_usize()) {
                *slot = *priority;
            }
        }
        self.content.apply_priorities();
        let wanted = self.content.wanted_files();
        if wanted != wanted_before && self.storage.is_open() {
            ctx.disk(self.id, DiskOp::Select, DiskJob::Select { wanted });
            self.storage.selecting += 1;
        }
        if self.course.is_running() {
            self.drop_unwanted_partials(ctx);
            self.reconsider_all_interest(ctx);
            self.update_completion(ctx);
            // A ratio is one of what is wanted.
            self.watch_goal(ctx);
        }
        Ok(())
    }

    /// The storage is open and checked: starts, or goes on, unless it is paused.
    pub(super) fn go(&mut self, ctx: &mut Shared) {
        let complete = self.content.picker.missing().count() == 0;
        self.content.completed &= complete;
        let since = ctx.now;
        let activity = if complete {
            Activity::Seeding { since }
        } else {
            Activity::Downloading { since }
        };
        self.judge_maps(ctx);
        self.course.enter(ctx, self.id, activity);
        self.store_held(ctx);
        self.greet_early_peers(ctx);
        if complete && !self.content.completed {
            self.content.completed = true;
            ctx.notify(Notice::Completed { torrent: self.id });
        }
    }

    /// Downloading turned into seeding, or back, or neither.
    pub(super) fn update_completion(&mut self, ctx: &mut Shared) {
        if !self.course.is_running() {
            return;
        }
        let since = ctx.now;
        let complete = self.content.picker.missing().count() == 0;
        if complete && self.course.state() == TorrentState::Downloading {
            self.course.enter(ctx, self.id, Activity::Seeding { since });
            self.content.completed = true;
            ctx.notify(Notice::Completed { torrent: self.id });
            if self.content.have().is_full() {
                ctx.signal(Signal::Completed(self.id));
            }
            self.checkpoint(ctx);
            self.watch_goal(ctx);
            self.tell_all(ctx);
            self.disconnect_useless(ctx);
            self.refresh_extended_handshakes(ctx);
        } else if !complete && self.course.state() == TorrentState::Seeding {
            self.content.completed = false;
            self.course
                .enter(ctx, self.id, Activity::Downloading { since });
            self.refresh_extended_handshakes(ctx);
            self.seek_peers(ctx);
        }
    }
}
