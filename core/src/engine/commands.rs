//! What users ask of an engine, carried out.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::net::{IpAddr, SocketAddr};

use crate::action::Action;
use crate::command::{AddTorrent, Command, Reply};
use crate::ctx::{Op, Timer};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::id::{RequestId, TorrentId};
use crate::limits;
use crate::metainfo::{Magnet, Metainfo, Node, placeholder_name};
use crate::notice::Notice;
use crate::signal::Signal;
use crate::status::PeerSource;
use crate::torrent::{Known, Torrent};

impl Engine {
    pub(super) fn on_command(&mut self, request: RequestId, command: Command) {
        if self.shutdown.is_some() || self.is_down {
            let result = Err(CommandError::ShuttingDown);
            self.shared.push(Action::Reply { request, result });
            return;
        }
        let result = match command {
            Command::AddTorrent(add) => self.add_torrent(&add),
            Command::RemoveTorrent {
                torrent,
                delete_data,
            } => {
                let Some(found) = self.torrents.get_mut(torrent) else {
                    let result = Err(CommandError::NoSuchTorrent(torrent));
                    self.shared.push(Action::Reply { request, result });
                    return;
                };
                found.remove(&mut self.shared, Some(request), delete_data);
                self.settle(torrent);
                return;
            }
            Command::Pause { torrent } => self.with(torrent, |torrent, ctx| torrent.pause(ctx)),
            Command::Resume { torrent } => self.with(torrent, |torrent, ctx| torrent.resume(ctx)),
            Command::Recheck { torrent } => self.with(torrent, |torrent, ctx| torrent.recheck(ctx)),
            Command::Checkpoint { torrent } => match self.torrents.get_mut(torrent) {
                Some(found) => {
                    found.save(&mut self.shared, request);
                    return;
                }
                None => Err(CommandError::NoSuchTorrent(torrent)),
            },
            Command::SetPriorities { torrent, files } => {
                let mut outcome = Ok(());
                self.with(torrent, |torrent, ctx| {
                    outcome = torrent.set_priorities(ctx, &files);
                })
                .and_then(|done| outcome.map(|()| done))
            }
            Command::SetSequential {
                torrent,
                sequential,
            } => self.with(torrent, |torrent, _| torrent.set_sequential(sequential)),
            Command::SetLimits {
                torrent: Some(torrent),
                limits,
            } => self.with(torrent, |torrent, ctx| torrent.set_limits(ctx, limits)),
            Command::SetTransports(transports) => {
                self.set_transports(transports);
                Ok(Reply::Done)
            }
            Command::SetLimits {
                torrent: None,
                limits,
            } => {
                self.shared.config.limits = limits;
                self.shared
                    .throttle
                    .down
                    .set_rate(limits.download, self.shared.now);
                self.shared
                    .throttle
                    .up
                    .set_rate(limits.upload, self.shared.now);
                self.shared.signal(Signal::Unthrottled);
                Ok(Reply::Done)
            }
            Command::SetGoal { torrent, goal } => {
                self.with(torrent, |torrent, ctx| torrent.set_goal(ctx, goal))
            }
            Command::AddTrackers { torrent, urls } => {
                let mut outcome = Ok(());
                self.with(torrent, |torrent, ctx| {
                    outcome = torrent.add_trackers(ctx, &urls);
                })
                .and_then(|done| outcome.map(|()| done))
            }
            Command::AddPeers { torrent, peers } => self.with(torrent, |torrent, ctx| {
                torrent.add_candidates(ctx, peers, PeerSource::User);
            }),
            Command::AddPeerHost {
                torrent,
                host,
                port,
            } => {
                if self.torrents.contains(torrent) {
                    self.look_up_peer(torrent, host, port);
                    Ok(Reply::Done)
                } else {
                    Err(CommandError::NoSuchTorrent(torrent))
                }
            }
            Command::Reannounce { torrent } => {
                self.with(torrent, |torrent, ctx| torrent.reannounce(ctx))
            }
            Command::Scrape { torrent } => self.with(torrent, |torrent, ctx| torrent.scrape(ctx)),
            Command::Dht(command) => {
                self.on_dht_command(request, command);
                return;
            }
            Command::Listening { address } => {
                self.shared.identity.listen = address;
                self.shared
                    .lsd
                    .on_listening(self.shared.now, &mut self.shared.timers);
                self.on_dht_listening();
                Ok(Reply::Done)
            }
            Command::LocalDiscovery { v4, v6 } => {
                let on = self.shared.config.local_discovery;
                self.shared.lsd.set_groups(
                    on && v4,
                    on && v6,
                    self.shared.now,
                    &mut self.shared.timers,
                );
                Ok(Reply::Done)
            }
            Command::Ban { address } => self.ban(address),
            Command::Unban { address } => {
                self.shared.banned.pardon(address);
                Ok(Reply::Done)
            }
            Command::Shutdown => {
                self.begin_shutdown(request);
                return;
            }
        };
        self.shared.push(Action::Reply { request, result });
    }

    fn add_torrent(&mut self, add: &AddTorrent) -> Result<Reply, CommandError> {
        if self.torrents.len() as u32 >= self.shared.config.max_torrents {
            return Err(CommandError::TooManyTorrents {
                limit: self.shared.config.max_torrents,
            });
        }
        let magnet = add.magnet.as_deref().map(str::parse::<Magnet>).transpose();
        let magnet = magnet.map_err(|error| CommandError::BadMagnet(error.to_string()))?;
        let names = self.shared.config.names;
        let known = match &magnet {
            Some(magnet) if add.metainfo.is_empty() => {
                let (info_hash, name) = (magnet.info_hash, magnet.name.as_deref());
                let name = placeholder_name(info_hash, name, add.name.as_deref(), names);
                Known::Link { info_hash, name }
            }
            Some(_) | None => {
                let metainfo = Metainfo::parse(add.metainfo.clone())
                    .map_err(|error| CommandError::BadMetainfo(error.to_string()))?;
                let metainfo = match &add.name {
                    Some(name) => metainfo.with_name(name, names),
                    None => metainfo.with_names(names),
                };
                Known::Metainfo(Box::new(metainfo))
            }
        };
        let info_hash = known.info_hash();
        if magnet
            .as_ref()
            .is_some_and(|magnet| magnet.info_hash != info_hash)
        {
            let why = "it is of another torrent than the .torrent file";
            return Err(CommandError::BadMagnet(why.to_string()));
        }
        if let (Some(magnet), Known::Metainfo(metainfo)) = (&magnet, &known)
            && add.priorities.is_empty()
        {
            crate::torrent::selection(magnet, metainfo)
                .map_err(|error| CommandError::BadMagnet(error.to_string()))?;
        }
        if let Some(torrent) = self.by_hash.get(&info_hash).copied() {
            return Err(CommandError::Duplicate { info_hash, torrent });
        }
        let torrent = self
            .torrents
            .insert_with(|id| Torrent::new(id, known, magnet.as_ref(), add, &mut self.shared));
        self.by_hash.insert(info_hash, torrent);
        self.shared.notify(Notice::Added { torrent, info_hash });
        if let Some(added) = self.torrents.get_mut(torrent) {
            added.begin(&mut self.shared, &add.peers);
        }
        for peer in magnet.into_iter().flat_map(|magnet| magnet.peers) {
            self.add_named_peer(torrent, peer);
        }
        self.add_dht_nodes(torrent);
        Ok(Reply::Added { torrent })
    }

    /// A peer that a magnet link names.
    fn add_named_peer(&mut self, id: TorrentId, peer: Node) {
        let Node { host, port } = peer;
        let Ok(ip) = host.parse::<IpAddr>() else {
            self.look_up_peer(id, host, port);
            return;
        };
        if let Some(torrent) = self.torrents.get_mut(id) {
            torrent.add_candidates(
                &mut self.shared,
                [SocketAddr::new(ip, port)],
                PeerSource::User,
            );
        }
    }

    fn look_up_peer(&mut self, id: TorrentId, host: String, port: u16) {
        let op = self.shared.ops.insert(Op::PeerResolve(id, port));
        self.peer_hosts.insert(op, host.clone());
        let torrent = Some(id);
        self.shared.push(Action::Resolve { op, host, torrent });
    }

    fn begin_shutdown(&mut self, request: RequestId) {
        self.shutdown = Some(request);
        self.stop_dht();
        for conn in self.shared.connections.greetings() {
            self.shared
                .connections
                .close(conn, &mut self.shared.actions);
            self.shared.timers.cancel(Timer::Conn(conn));
        }
        self.leaving = self.torrents.keys().collect();
        self.leaving.reverse();
    }

    /// Begins the end of as many torrents as one call may.
    pub(super) fn take_leave(&mut self) {
        if self.shutdown.is_none() {
            return;
        }
        for _ in 0..limits::REMOVALS_PER_CALL {
            let Some(id) = self.leaving.pop() else {
                break;
            };
            self.visit(id, |torrent, shared| torrent.remove(shared, None, false));
        }
        self.finish_shutdown();
    }

    /// Answers the shutdown once nothing is left.
    pub(super) fn finish_shutdown(&mut self) {
        if self.torrents.len() == 0
            && self.shared.connections.len() == 0
            && let Some(request) = self.shutdown.take()
        {
            self.is_down = true;
            self.shared.timers.clear();
            self.shared.signals.clear();
            self.shared.push(Action::Reply {
                request,
                result: Ok(Reply::Done),
            });
        }
    }
}
