//! What users ask of an engine, carried out.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::action::{Action, Actions};
use crate::command::{AddTorrent, Command, Reply};
use crate::ctx::{Ctx, Op, Timer};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::id::{ConnId, RequestId, TorrentId};
use crate::metainfo::{Magnet, Metainfo, Node};
use crate::notice::Notice;
use crate::status::PeerSource;
use crate::torrent::Torrent;

impl Engine {
    pub(super) fn on_command(
        &mut self,
        request: RequestId,
        command: Command,
        actions: &mut Actions,
    ) {
        if self.shutdown.is_some() || self.is_down {
            let result = Err(CommandError::ShuttingDown);
            actions.push(Action::Reply { request, result });
            return;
        }
        let result = match command {
            Command::AddTorrent(add) => self.add_torrent(&add, actions),
            Command::RemoveTorrent {
                torrent,
                delete_data,
            } => {
                let mut ctx = ctx!(self, actions);
                let Some(found) = self.torrents.get_mut(torrent) else {
                    let result = Err(CommandError::NoSuchTorrent(torrent));
                    actions.push(Action::Reply { request, result });
                    return;
                };
                found.remove(&mut ctx, &mut self.udp, Some(request), delete_data);
                self.settle(torrent, actions);
                return;
            }
            Command::Pause { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.pause(ctx, udp)
            }),
            Command::Resume { torrent } => {
                self.with(torrent, actions, |torrent, ctx, _| torrent.resume(ctx))
            }
            Command::Recheck { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.recheck(ctx, udp)
            }),
            Command::Checkpoint { torrent } => {
                let mut ctx = ctx!(self, actions);
                match self.torrents.get_mut(torrent) {
                    Some(found) => {
                        found.save(&mut ctx, request);
                        return;
                    }
                    None => Err(CommandError::NoSuchTorrent(torrent)),
                }
            }
            Command::SetPriorities { torrent, files } => {
                let mut outcome = Ok(());
                self.with(torrent, actions, |torrent, ctx, _| {
                    outcome = torrent.set_priorities(ctx, &files);
                })
                .and_then(|done| outcome.map(|()| done))
            }
            Command::SetSequential {
                torrent,
                sequential,
            } => self.with(torrent, actions, |torrent, _, _| {
                torrent.set_sequential(sequential)
            }),
            Command::SetLimits {
                torrent: Some(torrent),
                limits,
            } => self.with(torrent, actions, |torrent, ctx, _| {
                torrent.set_limits(ctx, limits)
            }),
            Command::SetLimits {
                torrent: None,
                limits,
            } => {
                self.config.limits = limits;
                self.throttle.down.set_rate(limits.download, self.now);
                self.throttle.up.set_rate(limits.upload, self.now);
                self.timers.set_no_later(Timer::Throttle, self.now);
                Ok(Reply::Done)
            }
            Command::SetGoal { torrent, goal } => self.with(torrent, actions, |torrent, ctx, _| {
                torrent.set_goal(ctx, goal)
            }),
            Command::AddTrackers { torrent, urls } => {
                let mut outcome = Ok(());
                self.with(torrent, actions, |torrent, ctx, udp| {
                    outcome = torrent.add_trackers(ctx, udp, &urls);
                })
                .and_then(|done| outcome.map(|()| done))
            }
            Command::AddPeers { torrent, peers } => {
                self.with(torrent, actions, |torrent, ctx, _| {
                    torrent.add_candidates(ctx, peers, PeerSource::User);
                })
            }
            Command::AddPeerHost {
                torrent,
                host,
                port,
            } => {
                if self.torrents.contains(torrent) {
                    self.look_up_peer(torrent, host, port, actions);
                    Ok(Reply::Done)
                } else {
                    Err(CommandError::NoSuchTorrent(torrent))
                }
            }
            Command::Reannounce { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.reannounce(ctx, udp)
            }),
            Command::Scrape { torrent } => self.with(torrent, actions, |torrent, ctx, udp| {
                torrent.scrape(ctx, udp)
            }),
            Command::Dht(command) => {
                self.on_dht_command(request, command, actions);
                return;
            }
            Command::Listening { address } => {
                self.identity.listen = address;
                self.lsd.on_listening(self.now, &mut self.timers);
                self.on_dht_listening(actions);
                Ok(Reply::Done)
            }
            Command::LocalDiscovery { v4, v6 } => {
                let on = self.config.local_discovery;
                self.lsd
                    .set_groups(on && v4, on && v6, self.now, &mut self.timers);
                Ok(Reply::Done)
            }
            Command::Ban { address } => self.ban(address, actions),
            Command::Unban { address } => {
                self.banned.pardon(address);
                Ok(Reply::Done)
            }
            Command::Shutdown => {
                self.begin_shutdown(request, actions);
                return;
            }
        };
        actions.push(Action::Reply { request, result });
    }

    fn add_torrent(
        &mut self,
        add: &AddTorrent,
        actions: &mut Actions,
    ) -> Result<Reply, CommandError> {
        if self.torrents.len() as u32 >= self.config.max_torrents {
            return Err(CommandError::TooManyTorrents {
                limit: self.config.max_torrents,
            });
        }
        let magnet = add.magnet.as_deref().map(str::parse::<Magnet>).transpose();
        let magnet = magnet.map_err(|error| CommandError::BadMagnet(error.to_string()))?;
        let metainfo = match &magnet {
            Some(magnet) if add.metainfo.is_empty() => {
                Metainfo::unknown(magnet.info_hash, magnet.name.as_deref())
            }
            Some(_) | None => Metainfo::parse(add.metainfo.clone())
                .map(|metainfo| metainfo.with_names(self.config.names))
                .map_err(|error| CommandError::BadMetainfo(error.to_string()))?,
        };
        let metainfo = match &add.name {
            Some(name) => metainfo.with_name(name, self.config.names),
            None => metainfo,
        };
        let other = |magnet: &Magnet| magnet.info_hash != metainfo.info_hash();
        if magnet.as_ref().is_some_and(other) {
            let why = "it is of another torrent than the .torrent file";
            return Err(CommandError::BadMagnet(why.to_string()));
        }
        if let Some(magnet) = &magnet
            && add.priorities.is_empty()
            && !metainfo.info_bytes().is_empty()
        {
            crate::torrent::selection(magnet, &metainfo)
                .map_err(|error| CommandError::BadMagnet(error.to_string()))?;
        }
        let info_hash = metainfo.info_hash();
        if let Some(torrent) = self.by_hash.get(&info_hash).copied() {
            return Err(CommandError::Duplicate { info_hash, torrent });
        }
        let mut ctx = ctx!(self, actions);
        let torrent = self
            .torrents
            .insert_with(|id| Torrent::new(id, metainfo, magnet.as_ref(), add, &mut ctx));
        self.by_hash.insert(info_hash, torrent);
        ctx.notify(Notice::Added { torrent, info_hash });
        if let Some(added) = self.torrents.get_mut(torrent) {
            added.begin(&mut ctx, &add.peers);
        }
        for peer in magnet.into_iter().flat_map(|magnet| magnet.peers) {
            self.add_named_peer(torrent, peer, actions);
        }
        self.add_dht_nodes(torrent, actions);
        Ok(Reply::Added { torrent })
    }

    /// A peer that a magnet link names.
    fn add_named_peer(&mut self, id: TorrentId, peer: Node, actions: &mut Actions) {
        let Node { host, port } = peer;
        let Ok(ip) = host.parse::<IpAddr>() else {
            self.look_up_peer(id, host, port, actions);
            return;
        };
        let mut ctx = ctx!(self, actions);
        if let Some(torrent) = self.torrents.get_mut(id) {
            torrent.add_candidates(&mut ctx, [SocketAddr::new(ip, port)], PeerSource::User);
        }
    }

    fn look_up_peer(&mut self, id: TorrentId, host: String, port: u16, actions: &mut Actions) {
        let op = self.ops.insert(Op::PeerResolve(id, port));
        self.peer_hosts.insert(op, host.clone());
        let torrent = Some(id);
        actions.push(Action::Resolve { op, host, torrent });
    }

    fn begin_shutdown(&mut self, request: RequestId, actions: &mut Actions) {
        self.shutdown = Some(request);
        self.stop_dht(actions);
        let torrents: Vec<TorrentId> = self.torrents.keys().collect();
        for id in torrents {
            let mut ctx = ctx!(self, actions);
            if let Some(torrent) = self.torrents.get_mut(id) {
                torrent.remove(&mut ctx, &mut self.udp, None, false);
            }
        }
        let conns: Vec<ConnId> = self.connections.ids().collect();
        for conn in conns {
            self.connections.close(conn, actions);
            self.timers.cancel(Timer::Conn(conn));
        }
        self.finish_shutdown(actions);
    }

    /// Answers the shutdown once nothing is left.
    pub(super) fn finish_shutdown(&mut self, actions: &mut Actions) {
        if self.torrents.len() == 0
            && self.connections.len() == 0
            && let Some(request) = self.shutdown.take()
        {
            self.is_down = true;
            self.timers.clear();
            actions.push(Action::Reply {
                request,
                result: Ok(Reply::Done),
            });
        }
    }
}
