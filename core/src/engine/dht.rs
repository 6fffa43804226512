//! What the engine and its DHT node have to do with each other.

use core::net::{IpAddr, SocketAddr};
use core::ops::Bound;

use crate::action::Action;
use crate::dht::{Announce, Attempt, DhtCommand, DhtOutcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::event::{ContactError, OpResult, Undelivered};
use crate::gate::Lane;
use crate::id::{OpId, RequestId, TorrentId};
use crate::limits;
use crate::notice::Notice;
use crate::status::PeerSource;
use crate::torrent::Torrent;

impl Engine {
    pub(super) fn on_dht_command(&mut self, request: RequestId, command: DhtCommand) {
        let Some(dht) = &mut self.dht else {
            let result = Err(CommandError::DhtOff);
            self.shared.push(Action::Reply { request, result });
            return;
        };
        let outcomes = dht.command(&mut self.shared.ctx(), request, command);
        self.on_dht_outcomes(outcomes);
    }

    /// The address that is listened on has changed.
    pub(super) fn on_dht_listening(&mut self) {
        if let Some(dht) = &mut self.dht {
            let listening = self.shared.identity.listen.is_some();
            dht.listen(&mut self.shared.ctx(), listening);
        }
    }

    pub(super) fn stop_dht(&mut self) {
        if let Some(dht) = &mut self.dht {
            dht.stop(&mut self.shared.ctx(), &CommandError::ShuttingDown);
        }
    }

    /// The nodes that a torrent names (BEP 5).
    pub(super) fn add_dht_nodes(&mut self, id: TorrentId) {
        if let (Some(dht), Some(torrent)) = (&mut self.dht, self.torrents.get(id)) {
            for node in torrent.dht_nodes() {
                dht.add_node(&mut self.shared.ctx(), node.clone());
            }
        }
    }

    pub(super) fn on_dht_datagram(&mut self, from: SocketAddr, data: &[u8]) {
        if let Some(dht) = &mut self.dht {
            let outcomes = dht.on_datagram(&mut self.shared.ctx(), from, data);
            self.on_dht_outcomes(outcomes);
            self.call_lookups();
        }
    }

    /// A packet to this address did not arrive.
    pub(super) fn on_dht_undelivered(&mut self, to: SocketAddr, reason: Undelivered) {
        if let Some(dht) = &mut self.dht {
            let outcomes = dht.on_undelivered(&mut self.shared.ctx(), to, reason);
            self.on_dht_outcomes(outcomes);
            self.call_lookups();
        }
    }

    pub(super) fn on_dht_resolved(&mut self, op: OpId, result: OpResult) {
        let result = match result {
            OpResult::Resolved(result) => result,
            OpResult::Disk(_) | OpResult::Http(_) | OpResult::Cancelled => {
                Err(ContactError::TimedOut)
            }
        };
        if let Some(dht) = &mut self.dht {
            dht.on_resolved(&mut self.shared.ctx(), op, result);
        }
    }

    /// A peer says that a node is at an address.
    pub(super) fn on_dht_contact(&mut self, address: SocketAddr) {
        if let Some(dht) = &mut self.dht {
            dht.on_contact(&mut self.shared.ctx(), address);
        }
    }

    /// A peer says what our address is.
    pub(super) fn on_own_address(&mut self, peer: SocketAddr, own: IpAddr) {
        if let Some(dht) = &mut self.dht {
            dht.on_own_address(&mut self.shared.ctx(), peer, own);
        }
    }

    pub(super) fn on_dht_timer(&mut self) {
        if let Some(dht) = &mut self.dht {
            let outcomes = dht.on_timer(&mut self.shared.ctx());
            self.on_dht_outcomes(outcomes);
            self.call_lookups();
        }
    }

    /// It is time to look a torrent up, and to announce it.
    pub(super) fn on_dht_torrent(&mut self, id: TorrentId) {
        let (Some(dht), Some(torrent)) = (&mut self.dht, self.torrents.get_mut(id)) else {
            return;
        };
        let Some(seed) = torrent.dht_wish() else {
            dht.forget_torrent(id);
            return;
        };
        let port = self.shared.identity.port();
        let info_hash = torrent.info_hash();
        let announce = Announce { port, seed };
        let (attempt, outcomes) =
            dht.announce_torrent(&mut self.shared.ctx(), id, info_hash, announce);
        match attempt {
            Attempt::Begun => torrent.dht_begun(&mut self.shared),
            // It is called when there is room, or when there are nodes.
            Attempt::Busy | Attempt::NoNodes => self.shared.gate.wait(Lane::LookUp, id),
        }
        self.on_dht_outcomes(outcomes);
    }

    fn on_dht_outcomes(&mut self, outcomes: impl IntoIterator<Item = DhtOutcome>) {
        for outcome in outcomes {
            match outcome {
                DhtOutcome::Found { torrent, peers } => {
                    let found = self.torrents.get_mut(torrent);
                    if let Some(torrent) = found.filter(|torrent| torrent.dht_wish().is_some()) {
                        torrent.add_candidates(&mut self.shared, peers, PeerSource::Dht);
                    }
                }
                DhtOutcome::Announced {
                    torrent,
                    peers,
                    nodes,
                } => {
                    if let Some(announced) = self.torrents.get_mut(torrent) {
                        announced.dht_announced(&mut self.shared, nodes);
                        self.shared.notify(Notice::DhtReplied {
                            torrent,
                            peers,
                            nodes,
                        });
                    }
                }
                DhtOutcome::Ready => self.lookup_round = Some(Bound::Unbounded),
            }
        }
    }

    /// Looks up torrents as far as there is room: those that wait, and when the DHT has become ready all others, too.
    fn call_lookups(&mut self) {
        let waiting = self.shared.gate.waiting(Lane::LookUp);
        if waiting == 0 && self.lookup_round.is_none() {
            return;
        }
        let room = self.dht.as_ref().map_or(0, |dht| dht.room());
        let mut begun = 0;
        // Who finds nobody to ask waits again, and is not asked twice in one call.
        let most = match self.lookup_round {
            Some(_) => limits::LOOKUPS_PER_CALL,
            None => waiting.min(limits::LOOKUPS_PER_CALL),
        };
        for _ in 0..most {
            if begun == room {
                return;
            }
            let Some(id) = self.next_to_look_up() else {
                return;
            };
            let wishes = |torrent: &Torrent| torrent.dht_wish().is_some();
            if self.torrents.get(id).is_some_and(wishes) {
                begun += 1;
                self.on_dht_torrent(id);
            }
        }
    }

    fn next_to_look_up(&mut self) -> Option<TorrentId> {
        if let Some(id) = self.shared.gate.next(Lane::LookUp) {
            return Some(id);
        }
        let after = self.lookup_round.take()?;
        let (info_hash, id) = self.by_hash.range((after, Bound::Unbounded)).next()?;
        self.lookup_round = Some(Bound::Excluded(*info_hash));
        Some(*id)
    }
}
