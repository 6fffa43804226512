//! One connection to a peer, after the handshake: what each side has said, and what each side owes.

pub(crate) mod allowed_fast;
pub(crate) mod early;
pub(crate) mod exchange;
pub(crate) mod extensions;
pub(crate) mod handshake;
pub(crate) mod pipeline;
pub(crate) mod upload;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::action::Action;
use crate::bitfield::Bitfield;
use crate::ctx::Out;
use crate::error::{Blame, Misbehaviour};
use crate::fading::Fading;
use crate::id::ConnId;
use crate::limits;
use crate::peer::early::EarlyMap;
use crate::peer::exchange::Exchange;
use crate::peer::extensions::Extensions;
use crate::peer::pipeline::Pipeline;
use crate::peer::upload::UploadQueue;
use crate::rate::Rate;
use crate::status::{PeerSource, PeerStatus};
use crate::time::Instant;
use crate::transport::Transport;
use crate::wire::handshake::{PeerId, Reserved};
use crate::wire::{Decoder, Message};

/// Messages that lead to nothing, which a peer may send in a burst; one more is forgiven each second.
const CHATTER: u32 = 2_000;

/// Blocks that nobody asked for, after which a peer is not listened to any more.
const MAX_UNREQUESTED: u32 = 64;

/// A peer of a torrent.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) conn: ConnId,
    /// The other end of the connection.
    pub(crate) address: SocketAddr,
    /// Where the peer can be dialled, as far as it is known.
    pub(crate) dial_address: Option<SocketAddr>,
    pub(crate) incoming: bool,
    pub(crate) transport: Transport,
    /// How it was found.
    pub(crate) source: PeerSource,
    pub(crate) id: PeerId,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    /// The extensions that it has (BEP 10).
    pub(crate) extensions: Extensions,
    /// Bytes of the metadata, as it says; 0 if it has none (BEP 9).
    pub(crate) metadata_size: u32,
    /// Pieces of the metadata that it was given.
    pub(crate) metadata_served: u32,
    /// Whom it was told of, and how often it tells (BEP 11).
    pub(crate) exchange: Exchange,
    /// It says that it wants nothing (BEP 21).
    pub(crate) upload_only: bool,
    /// Whether it was told that we want nothing.
    pub(crate) told_upload_only: bool,
    /// It prefers encrypted connections.
    pub(crate) encryption: bool,
    /// What it says that it has, as long as nobody can judge it.
    pub(crate) early: EarlyMap,
    /// Whether it says that it has a DHT node.
    pub(crate) dht: bool,
    pub(crate) client: String,
    pub(crate) decoder: Decoder,
    /// How many of the torrent's news it has been told.
    pub(crate) told: u32,
    /// Whether the peer has said what it has. Until then it has nothing.
    pub(crate) mapped: bool,
    pub(crate) have: Bitfield,
    /// Pieces that it has, and that we want and lack.
    pub(crate) interesting: u32,

    pub(crate) am_choking: bool,
    /// Whether it was told that we want something of it. While it chokes us it is not told at once that
    /// this is over: see `Peer::show_interest`.
    pub(crate) am_interested: bool,
    pub(crate) peer_choking: bool,
    pub(crate) peer_interested: bool,
    pub(crate) snubbed: bool,
    /// Pieces that we may ask for while choked.
    pub(crate) allowed_to_us: Vec<u32>,
    /// Pieces that the peer may ask for while choked.
    pub(crate) allowed_to_it: Vec<u32>,
    /// Pieces that the peer would rather give than others, oldest first.
    pub(crate) suggested: Vec<u32>,
    /// Pieces that we suggested to it, until it asks for them.
    pub(crate) offered: Vec<u32>,

    pub(crate) pipeline: Pipeline,
    /// Whether it is asked for nothing because others finish sooner: see `Transfer::share_of_rest`.
    pub(crate) waits_for_rest: bool,
    pub(crate) uploads: UploadQueue,
    /// How many requests the peer takes from us.
    pub(crate) allowed_requests: u32,

    pub(crate) down: Rate,
    pub(crate) up: Rate,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    /// Bytes that the driver may still receive.
    pub(crate) credit: u32,
    /// Bytes of its credit that no limit was charged for: what it was given for its handshake, before
    /// it was known whose it is.
    pub(crate) uncharged: u32,
    /// Whether it waits in the throttle's queue for more credit.
    pub(crate) credit_waits: bool,
    /// Whether it waits in the throttle's queue to be sent more.
    pub(crate) upload_waits: bool,
    /// Bytes handed to the driver and not yet sent.
    pub(crate) unsent: u64,
    /// How many of them may be payload: what it asked for and has not taken.
    pub(crate) owed: u64,
    /// Bytes being read from the disk for it.
    pub(crate) reading: u64,

    pub(crate) connected_at: Instant,
    pub(crate) last_received: Instant,
    pub(crate) last_sent: Instant,
    /// When bytes for it last left, or began to wait to leave.
    pub(crate) last_left: Instant,
    /// When payload last passed, either way.
    pub(crate) last_moved: Option<Instant>,
    /// Payload that passed, either way.
    pub(crate) moved: Fading,
    /// When either side last wanted something of the other.
    pub(crate) last_useful: Instant,
    pub(crate) last_unchoked: Option<Instant>,
    /// When it was unchoked, or asked for something that it got, last.
    pub(crate) last_asked: Instant,
    /// It had a slot, made no use of it, and lost it. It has to wait for its turn to be tried again.
    pub(crate) lapsed: bool,
    /// It, or its network, held a place a while ago and was of no use.
    pub(crate) known_idle: bool,
    /// What had been uploaded when it was unchoked last.
    pub(crate) uploaded_before: u64,
    pub(crate) adapt_at: Instant,
    /// Blocks that came without having been asked for.
    pub(crate) unrequested: u32,
    /// Messages that led to nothing, fading with time.
    pub(crate) chatter: u32,
}

/// What is known of a peer when its handshake is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Introduction {
    pub(crate) conn: ConnId,
    pub(crate) address: SocketAddr,
    pub(crate) incoming: bool,
    pub(crate) transport: Transport,
    pub(crate) id: PeerId,
    pub(crate) reserved: Reserved,
    /// Bytes that the driver may still receive.
    pub(crate) credit: u32,
    /// Bytes handed to the driver and not yet sent.
    pub(crate) unsent: u64,
}

impl Peer {
    /// `pieces` is how many the torrent has, or none as long as that is not known.
    pub(crate) fn new(
        introduction: Introduction,
        pieces: Option<u32>,
        default_reqq: u32,
        now: Instant,
    ) -> Self {
        let Introduction {
            conn,
            address,
            incoming,
            transport,
            id,
            reserved,
            credit,
            unsent,
        } = introduction;
        let decoder = Decoder::new(crate::wire::Limits {
            max_block: limits::MAX_REQUEST_LEN,
            max_bitfield: pieces.map_or(early::MAX_MAP, |pieces| pieces.div_ceil(8)),
            max_extended: limits::MAX_EXTENDED_LEN,
        });
        Self {
            conn,
            address,
            // Who comes by uTP comes from the port where it listens.
            dial_address: (!incoming || transport == Transport::Utp).then_some(address),
            incoming,
            transport,
            source: PeerSource::Incoming,
            id,
            fast: reserved.fast(),
            extended: reserved.extended(),
            extensions: Extensions::default(),
            metadata_size: 0,
            metadata_served: 0,
            exchange: Exchange::new(now),
            upload_only: false,
            told_upload_only: false,
            encryption: false,
            early: EarlyMap::default(),
            dht: reserved.dht(),
            client: id.client(),
            decoder,
            told: 0,
            mapped: false,
            have: Bitfield::new(pieces.unwrap_or(0)),
            interesting: 0,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            snubbed: false,
            allowed_to_us: Vec::new(),
            allowed_to_it: Vec::new(),
            suggested: Vec::new(),
            offered: Vec::new(),
            pipeline: Pipeline::new(now),
            waits_for_rest: false,
            uploads: UploadQueue::default(),
            allowed_requests: default_reqq,
            down: Rate::default(),
            up: Rate::default(),
            downloaded: 0,
            uploaded: 0,
            credit,
            uncharged: credit,
            credit_waits: false,
            upload_waits: false,
            unsent,
            owed: 0,
            reading: 0,
            connected_at: now,
            last_received: now,
            last_sent: now,
            last_left: now,
            last_moved: None,
            moved: Fading::default(),
            last_useful: now,
            last_unchoked: None,
            last_asked: now,
            lapsed: false,
            known_idle: false,
            uploaded_before: 0,
            adapt_at: now,
            unrequested: 0,
            chatter: 0,
        }
    }

    /// Counts a message that led to nothing.
    ///
    /// # Errors
    ///
    /// There were too many of them.
    pub(crate) fn count_chatter(&mut self) -> Result<(), Blame> {
        self.chatter += 1;
        if self.chatter > CHATTER {
            return Err(Blame::Misbehaved(Misbehaviour::MessageFlood));
        }
        Ok(())
    }

    /// Counts a block that nobody had asked for.
    ///
    /// # Errors
    ///
    /// There were too many of them.
    pub(crate) fn count_unrequested(&mut self) -> Result<(), Blame> {
        self.unrequested += 1;
        if self.unrequested > MAX_UNREQUESTED {
            return Err(Blame::Misbehaved(Misbehaviour::UnrequestedData));
        }
        Ok(())
    }

    /// It allows us to ask for a piece while it chokes us; so many are remembered.
    pub(crate) fn allow(&mut self, piece: u32, most: usize) {
        if self.allowed_to_us.len() < most && !self.allowed_to_us.contains(&piece) {
            self.allowed_to_us.push(piece);
        }
    }

    /// Tells it whether we want something of it, if that changed. Among peers that all have about as
    /// much, this changes with almost every piece; so who chokes us learns that we want nothing when it
    /// would matter: as it serves us, with the next round of the choker, or when we want nothing at all.
    /// `wants` says whether we want something of anybody.
    pub(crate) fn show_interest(&mut self, out: &mut Out<'_>, wants: bool) {
        let interested = self.interesting > 0;
        if interested != self.am_interested && (interested || !self.peer_choking || !wants) {
            self.am_interested = interested;
            self.last_useful = out.now;
            let message = match interested {
                true => Message::Interested,
                false => Message::NotInterested,
            };
            self.send(out, &message);
        }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, out: &mut Out<'_>, message: &Message) {
        let written = out
            .actions
            .send_with(self.conn, |buffer| message.encode(buffer));
        self.hand_over(written as u64, out.now);
    }

    /// Bytes were handed to the driver.
    pub(crate) fn hand_over(&mut self, bytes: u64, now: Instant) {
        if self.unsent == 0 {
            self.last_left = now;
        }
        self.unsent = self.unsent.saturating_add(bytes);
        self.last_sent = now;
    }

    /// Bytes left, as the driver says. How many count: no more than were to be sent.
    pub(crate) fn left(&mut self, bytes: u64, now: Instant) -> u64 {
        self.last_left = now;
        let bytes = bytes.min(self.unsent);
        self.unsent -= bytes;
        let payload = bytes.min(self.owed);
        if payload > 0 {
            self.owed -= payload;
            self.note_moved(payload, now);
        }
        bytes
    }

    /// Payload passed, either way.
    pub(crate) fn note_moved(&mut self, bytes: u64, now: Instant) {
        self.last_moved = Some(now);
        self.moved.add(now, bytes);
    }

    /// Tells the peer which pieces have come that it has not been told of.
    pub(crate) fn tell(&mut self, out: &mut Out<'_>, news: &[u32]) {
        for piece in news.iter().skip(self.told as usize) {
            self.send(out, &Message::Have(*piece));
        }
        self.told = news.len() as u32;
    }

    /// Whether a piece of ours that it lacks is news to it: it could ask for it, and has nothing to ask
    /// for else.
    pub(crate) fn is_waiting(&self, free_slots: bool) -> bool {
        if self.am_choking {
            free_slots && !self.peer_interested
        } else {
            self.uploads.len() == 0
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, out: &mut Out<'_>, data: bytes::Bytes) {
        self.hand_over(data.len() as u64, out.now);
        out.actions.push(Action::Send {
            conn: self.conn,
            data,
        });
    }

    /// Whether it has every piece.
    pub(crate) fn is_seed(&self) -> bool {
        self.mapped && self.have.is_full()
    }

    /// Whether it may ask for what newcomers are allowed while they are choked (BEP 6): until it has as
    /// many pieces as that, or has been given as many bytes. Who has something to trade gets the rest
    /// as everybody does, or a seed would serve nobody else.
    pub(crate) fn is_starting(&self, piece_length: u32) -> bool {
        let pieces = allowed_fast::allowance(piece_length);
        let allowance = pieces as u64 * u64::from(piece_length);
        (self.have.count() as usize) < pieces && self.uploaded < allowance
    }

    /// Whether blocks may be asked of it, of any piece.
    pub(crate) fn is_open(&self) -> bool {
        self.interesting > 0 && !self.peer_choking
    }

    /// Whether something is expected of it or done for it.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pipeline.is_empty() || self.uploads.len() > 0
    }

    pub(crate) fn status(&self, now: Instant) -> PeerStatus {
        PeerStatus {
            address: self.address,
            client: self.client.clone(),
            incoming: self.incoming,
            transport: self.transport,
            source: self.source,
            am_choking: self.am_choking,
            am_interested: self.am_interested,
            peer_choking: self.peer_choking,
            peer_interested: self.peer_interested,
            snubbed: self.snubbed,
            upload_only: self.upload_only || self.is_seed(),
            pieces: self.have.count(),
            download_rate: self.down.per_second(now),
            upload_rate: self.up.per_second(now),
            downloaded: self.downloaded,
            uploaded: self.uploaded,
            requests_out: self.pipeline.len(),
            requests_in: self.uploads.len(),
        }
    }
}
