//! Who gets a place in a torrent, and who gives one up for it.
//!
//! Which peer that is, is decided by [`eviction`](crate::eviction); here is what peers are worth,
//! and when a torrent whose places are taken dials all the same.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::ctx::Timer;
use crate::error::{Blame, Incompatibility};
use crate::event::CloseReason;
use crate::eviction::{Facts, Network, Newcomer, Worth};
use crate::id::ConnId;
use crate::notice::{DisconnectReason, PeerError, TorrentState};
use crate::peer::{Introduction, Peer};
use crate::shared::Shared;
use crate::signal::Signal;
use crate::status::PeerSource;
use crate::time::Instant;
use crate::torrent::swarm::{Standing, Swarm};
use crate::torrent::trade::Trade;
use crate::wire::handshake::PeerId;

/// Bytes that a peer has moved, as they fade, from which on it is worth its place for them: what
/// 1.5 kB/s come to. A block a minute comes to a fifth of it.
const MUCH: u64 = 256 << 10;

/// Who takes nothing of what it asked for in this time takes nothing.
const STUCK: Duration = Duration::from_secs(60);

/// In this time a peer that is unchoked asks for something, if it wants anything.
const CHANCE: Duration = Duration::from_secs(20);

/// A download that gets fewer bytes a second than this, of all peers, gets next to nothing: a crowd
/// of a hundred gives more with a block a minute each.
const LITTLE: u64 = 32 << 10;

/// Dials for the sake of places that are held to no purpose are made for one place in so many.
const SPARE_SHARE: u32 = 8;

/// With fewer peers than this, and nobody to dial, trackers are asked for more before it is time.
const FEW_PEERS: usize = 10;

impl Trade {
    /// Gives somebody whose handshake is complete a place, or says why not. Who has it until then
    /// leaves.
    pub(super) fn take_place(
        &mut self,
        ctx: &mut Shared,
        newcomer: &Introduction,
    ) -> Result<(), DisconnectReason> {
        self.admit(ctx, newcomer)?;
        if let Some(twin) = self.swarm.twin(newcomer).map(|twin| twin.conn) {
            self.disconnect(ctx, twin, DisconnectReason::Duplicate);
        }
        if self.make_room(ctx, newcomer.address.ip()) {
            Ok(())
        } else {
            Err(DisconnectReason::Replaced)
        }
    }

    fn admit(&self, ctx: &Shared, newcomer: &Introduction) -> Result<(), DisconnectReason> {
        if !self.takes_peers() {
            return Err(DisconnectReason::Stopped);
        }
        if newcomer.id == ctx.identity.peer_id {
            let blame = Blame::Incompatible(Incompatibility::SelfConnection);
            return Err(DisconnectReason::Blamed(blame));
        }
        if ctx.banned.contains(newcomer.address.ip()) {
            return Err(DisconnectReason::Blamed(Blame::Corrupt));
        }
        if newcomer.incoming && !self.swarm.has_room_for(ctx, newcomer.address.ip()) {
            return Err(DisconnectReason::Replaced);
        }
        match self.swarm.twin(newcomer) {
            Some(twin) if !is_preferred(newcomer, twin, ctx.identity.peer_id) => {
                Err(DisconnectReason::Duplicate)
            }
            _ => Ok(()),
        }
    }

    /// Sees to it that there is a place for somebody from this address. Says whether there is one.
    fn make_room(&mut self, ctx: &mut Shared, from: IpAddr) -> bool {
        if !self.swarm.is_full(ctx) {
            return true;
        }
        self.swarm.look_for_victims(ctx, self.phase.is_unjudged());
        let network = Network::of(from);
        let held = self.swarm.networks.count(network);
        let newcomer = Newcomer {
            network,
            held,
            known_idle: ctx.idlers.knows(ctx.now, from),
        };
        let places = ctx.config.max_connections_per_torrent;
        let (peers, early, now) = (&self.swarm.peers, self.phase.is_unjudged(), ctx.now);
        let worth = |conn| peers.get(&conn).map(|peer| worth_of(peer, early, now));
        let Some(victim) = self.swarm.evictor.choose(now, places, newcomer, worth) else {
            return false;
        };
        self.replace(ctx, victim);
        true
    }

    /// A peer gives up its place to somebody new.
    pub(crate) fn replace(&mut self, ctx: &mut Shared, conn: ConnId) {
        ctx.stats.replaced += 1;
        self.note_idle(ctx, conn);
        self.disconnect(ctx, conn, DisconnectReason::Replaced);
    }

    /// A peer is about to give up its place: if it was of no use in it, that is remembered.
    fn note_idle(&self, ctx: &mut Shared, conn: ConnId) {
        let early = self.phase.is_unjudged();
        if let Some(peer) = self.swarm.peers.get(&conn)
            && worth_of(peer, early, ctx.now) == Worth::Useless
        {
            ctx.idlers.note(ctx.now, peer.address.ip());
        }
    }

    /// The same, if it gives it up by itself while others may want it: who comes back is who it
    /// was.
    pub(super) fn note_parting(&self, ctx: &mut Shared, conn: ConnId) {
        if self.swarm.is_full(ctx) || ctx.connections.is_full(&ctx.config) {
            self.note_idle(ctx, conn);
        }
    }

    /// Looks whether places are held to no purpose, and dials for them. Called with the choker's
    /// rounds.
    pub(super) fn review_places(&mut self, ctx: &mut Shared) {
        if self.swarm.is_full(ctx) {
            self.swarm.look_for_victims(ctx, self.phase.is_unjudged());
            self.seek_peers(ctx);
        }
    }

    /// A connection that was dialled ended by itself before the handshake was complete.
    pub(crate) fn dial_ended(
        &mut self,
        ctx: &mut Shared,
        address: SocketAddr,
        reason: CloseReason,
    ) {
        let denied = reason == CloseReason::Denied;
        self.dial_failed(ctx, address, PeerError::Closed(reason));
        if denied {
            self.swarm.candidates.on_denied();
        }
    }

    /// Dialling, or the handshake after it, came to nothing.
    pub(crate) fn dial_failed(&mut self, ctx: &mut Shared, address: SocketAddr, error: PeerError) {
        self.tell_of_named(ctx, address, error);
        self.swarm.candidates.on_failed(address, ctx.now);
        self.seek_peers(ctx);
    }

    /// The next address to dial, if one is due and wanted.
    pub(crate) fn next_candidate(&mut self, ctx: &mut Shared) -> Option<SocketAddr> {
        if !self.swarm.wants_peers(ctx, self.standing()) {
            return None;
        }
        // A complete torrent waits for those who want something to come, but tells them it is there
        // as well: many of them can't be dialled.
        let banned = &ctx.banned;
        let address = self.swarm.candidates.pick(
            ctx.now,
            self.course.state() == TorrentState::Seeding,
            |address| !banned.contains(address.ip()),
        )?;
        Some(address)
    }
}

impl Standing<'_> {
    /// Whether the torrent gets next to nothing, and wants something.
    pub(super) fn starves(&self, now: Instant) -> bool {
        match self.course.state() {
            TorrentState::FetchingMetadata => true,
            TorrentState::Downloading => self.down.per_second(now) < LITTLE,
            TorrentState::Checking
            | TorrentState::Seeding
            | TorrentState::Paused
            | TorrentState::Failed
            | TorrentState::Removing => false,
        }
    }
}

impl Swarm {
    /// Whether one more peer may come in from an address.
    fn has_room_for(&self, ctx: &Shared, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let same = |peer: &&Peer| peer.address.ip().to_canonical() == address;
        let count = self.peers.values().filter(same).count();
        (count as u32) < ctx.config.max_connections_per_address
    }

    /// The peer that has the newcomer's id already.
    fn twin(&self, newcomer: &Introduction) -> Option<&Peer> {
        self.peers.values().find(|peer| peer.id == newcomer.id)
    }

    /// Whether as many peers are there as may be.
    pub(super) fn is_full(&self, ctx: &Shared) -> bool {
        self.peers.len() as u32 >= ctx.config.max_connections_per_torrent
    }

    fn look_for_victims(&mut self, ctx: &Shared, unjudged: bool) {
        let mut evictor = core::mem::take(&mut self.evictor);
        let places = ctx.config.max_connections_per_torrent;
        evictor.look(ctx.now, places, || {
            self.facts_of_peers(ctx.now, unjudged).collect()
        });
        self.evictor = evictor;
    }

    /// What the rule for places must know of the peers.
    pub(super) fn facts_of_peers(
        &self,
        now: Instant,
        unjudged: bool,
    ) -> impl Iterator<Item = Facts> + '_ {
        self.peers.values().map(move |peer| Facts {
            conn: peer.conn,
            network: Network::of(peer.address.ip()),
            wished: peer.source == PeerSource::User,
            worth: worth_of(peer, unjudged, now),
            connected_at: peer.connected_at,
            idle_since: peer.last_moved.unwrap_or(peer.connected_at),
            moved: peer.moved.at(now),
            untried: peer.peer_interested && peer.last_unchoked.is_none(),
            known_idle: peer.known_idle,
        })
    }

    /// What a peer is worth; none if it is not, or no longer, this torrent's.
    pub(super) fn worth(&self, conn: ConnId, now: Instant, unjudged: bool) -> Option<Worth> {
        let peer = self.peers.get(&conn)?;
        Some(worth_of(peer, unjudged, now))
    }

    /// Lets the torrent be dialled for, if it wants more peers.
    pub(super) fn seek_peers(&self, ctx: &mut Shared, standing: Standing<'_>) {
        let id = standing.id;
        if !self.wants_peers(ctx, standing) {
            return;
        }
        if let Some(at) = self.candidates.next_at(ctx.now) {
            if at <= ctx.now {
                ctx.signal(Signal::Seek(id));
            } else {
                ctx.timers.set_no_later(Timer::Candidates(id), at);
            }
        } else if matches!(
            standing.course.state(),
            TorrentState::Downloading | TorrentState::FetchingMetadata
        ) && self.peers.len() < FEW_PEERS
        {
            ctx.signal(Signal::Lonely(id));
        }
    }

    /// Whether more connections are wanted: for places that are free, and for some of those that
    /// are held by peers of no use. A download that next to nobody gives anything to would replace
    /// any of them.
    pub(super) fn wants_peers(&self, ctx: &Shared, standing: Standing<'_>) -> bool {
        if !standing.takes_peers() {
            return false;
        }
        let connecting = self.candidates.connecting();
        let places = ctx.config.max_connections_per_torrent;
        if !self.is_full(ctx) {
            return (self.peers.len() as u32).saturating_add(connecting) < places;
        }
        let starves = standing.starves(ctx.now)
            && (standing.down.per_second(ctx.now) == 0 || self.evictor.is_idle(places));
        let replaceable = if starves {
            self.evictor.victims()
        } else {
            self.evictor.useless()
        };
        connecting < replaceable.min((places / SPARE_SHARE).max(1))
    }

    /// Panics unless the peers' places are counted right.
    pub(super) fn check_places(&self) {
        let mut networks = crate::eviction::Census::default();
        assert_eq!(
            self.unchoked as usize,
            self.peers.values().filter(|peer| !peer.am_choking).count(),
            "who is not choked is counted right"
        );
        for (conn, peer) in &self.peers {
            assert_eq!(*conn, peer.conn, "a peer is found under its connection");
            assert!(
                peer.pipeline.len() <= crate::limits::MAX_OUTSTANDING,
                "requests are bounded"
            );
            networks.add(peer.address.ip());
            assert!(peer.owed <= peer.unsent, "what is owed waits to be sent");
        }
        assert_eq!(networks, self.networks, "networks are counted right");
    }
}

/// What a peer is worth. `early` says that nobody can judge yet what it has.
fn worth_of(peer: &Peer, early: bool, now: Instant) -> Worth {
    let is_recent = |at| now.since(at) < STUCK;
    if peer.owed > 0 && !is_recent(peer.last_left) && !peer.last_moved.is_some_and(is_recent) {
        // It asked, and does not take what it is given.
        return Worth::Useless;
    }
    if peer.moved.at(now) >= MUCH {
        return Worth::Active;
    }
    let has_something = if early {
        peer.extensions.metadata != 0
    } else {
        peer.interesting > 0 && !peer.snubbed
    };
    let is_idle = !peer.am_choking && now.since(peer.last_asked) >= CHANCE;
    let had_its_chance = (peer.lapsed || is_idle) && peer.uploads.len() == 0;
    if has_something || (peer.peer_interested && !had_its_chance) {
        Worth::Waiting
    } else {
        Worth::Useless
    }
}

/// Whether a second connection to the same peer replaces the first. Two that dial each other at
/// once end up with two connections, and both keep the one that the greater id dialled, whichever
/// handshake they saw first. A connection from elsewhere never replaces one: ids can be copied.
fn is_preferred(newcomer: &Introduction, twin: &Peer, ours: PeerId) -> bool {
    let dialled_by_greater = if newcomer.incoming {
        newcomer.id > ours
    } else {
        ours > newcomer.id
    };
    newcomer.incoming != twin.incoming
        && newcomer.address.ip().to_canonical() == twin.address.ip().to_canonical()
        && dialled_by_greater
}
