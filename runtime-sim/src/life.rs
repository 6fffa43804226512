//! Hosts come, go, crash and come back; and everything else that goes wrong.

use std::net::SocketAddr;

use anabranch_core::id::StorageKey;
use anabranch_core::{Command, Instant, UnixTime};
use anabranch_replay::Start;

use crate::chance::{Chance, mix};
use crate::config::{Family, HostConfig};
use crate::disk::Disk;
use crate::event::Happening;
use crate::failure::FailureKind;
use crate::fault::Fault;
use crate::host::{Attached, Contacts, Host, NatTable, Node, PORT, Running, Traffic, Uplink};
use crate::record::{Sink, Tape};
use crate::world::{HostId, World, address_of, address6_of};

/// The wall clock when a world begins.
const START: UnixTime = UnixTime(1_700_000_000);

impl World {
    /// A host loses power. Nothing happens if it is off already.
    pub fn crash(&mut self, host: HostId) {
        let now = self.now;
        if self.hosts.get(host.0 as usize).is_some_and(Host::is_up) {
            self.switch_off(host.0);
            self.change(host, |host| host.disk.crash(now));
        }
    }

    /// A host's process is killed, and the machine runs on: what was written stays, synced or not.
    /// Nothing happens if it is off already.
    pub fn kill(&mut self, host: HostId) {
        let now = self.now;
        if self.hosts.get(host.0 as usize).is_some_and(Host::is_up) {
            self.switch_off(host.0);
            self.change(host, |host| host.disk.abandon(now));
        }
    }

    /// A host comes up again with what is on its disk, and takes on the torrents that it had. Nothing
    /// happens if it is up.
    pub fn restart(&mut self, host: HostId) {
        if self.hosts.get(host.0 as usize).is_none_or(Host::is_up) {
            return;
        }
        self.boot(host.0);
        let known = self.host(host).torrents.len() as u64;
        for key in 0..known {
            if let Err(error) = self.add_known(host, StorageKey(key)) {
                let what = format!("a torrent is not taken on again: {error}");
                self.fail(Some(host.0), FailureKind::Contract(what));
            }
        }
    }

    /// A host shuts down in good order, and is off when that is done. Nothing happens if it is off.
    pub fn leave(&mut self, host: HostId) {
        if self
            .running(host.0)
            .is_none_or(|running| running.leaving.is_some())
        {
            return;
        }
        let life = self.life(host.0);
        let (request, reply) = self.command(host, Command::Shutdown);
        if reply.is_some() {
            let host = host.0;
            self.queue
                .push(self.now, Happening::PowerOff { host, life });
        } else if let Some(running) = self.running(host.0) {
            running.leaving = Some(request);
        }
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        let now = self.now;
        self.last_fault = self.last_fault.max(now);
        if let Some(log) = &mut self.log {
            log.line(now, u32::MAX, &format!("{fault:?}"));
        }
        match fault {
            Fault::Crash(host) => self.crash(host),
            Fault::Restart(host) => self.restart(host),
            Fault::Leave(host) => self.leave(host),
            Fault::Partition(hosts) => {
                for host in hosts {
                    self.change(host, |host| host.group = 1);
                }
            }
            Fault::Heal => self.hosts.iter_mut().for_each(|host| host.group = 0),
            Fault::ResetConnections(host) => {
                for attached in self.attached_of(host.0) {
                    for to in [attached.side, attached.side.other()] {
                        let conn = attached.at;
                        self.queue.push(now, Happening::Reset { conn, to });
                    }
                }
            }
            Fault::BlackHole(host) => {
                for attached in self.attached_of(host.0) {
                    if let Some(conn) = self.conns.get_mut(attached.at) {
                        conn.black_hole = true;
                    }
                }
            }
            Fault::Link(host, link) => self.change(host, |host| host.config.link = link),
            Fault::Disk(host, disk) => self.change(host, |host| host.disk.config = disk),
            Fault::Loss(ppm) => self.config.loss_ppm = ppm,
            Fault::NetError(host, kind, after) => {
                self.change(host, |host| host.contacts.fail_after(kind, after));
            }
            Fault::Dns(mode) => self.dns = mode,
            Fault::Web(web, mode) => self.set_web_mode(web, mode),
            Fault::DiskFull(host, full) => self.change(host, |host| host.disk.faults.full = full),
            Fault::DiskError(host, kind, after) => self.change(host, |host| {
                let nth = host.disk.count(kind) + after + 1;
                host.disk.faults.fail.insert((kind, nth));
            }),
            Fault::Rot {
                host,
                torrent,
                piece,
                offset,
            } => self.change(host, |host| {
                host.disk.rot(StorageKey(torrent as u64), piece, offset);
            }),
            Fault::CorruptWrites(host, ppm) => {
                self.change(host, |host| host.disk.faults.corrupt_writes_ppm = ppm);
            }
            Fault::CorruptReads(host, ppm) => {
                self.change(host, |host| host.disk.faults.corrupt_reads_ppm = ppm);
            }
            Fault::Tracker(tracker, mode) => {
                if let Some(tracker) = self.trackers.get_mut(tracker.0 as usize) {
                    tracker.mode = mode;
                }
            }
        }
    }

    pub(crate) fn add_place(&mut self, config: HostConfig) -> HostId {
        let index = self.hosts.len() as u32;
        let chance = Chance::new(mix(self.config.seed, u64::from(index) << 1));
        let seed = Chance::new(mix(self.config.seed, u64::from(index) << 1 | 1)).seed();
        let v4 = SocketAddr::new(address_of(index), PORT);
        let v6 = SocketAddr::new(address6_of(index), PORT);
        let (address, address6) = match config.family {
            Family::V4 => (v4, None),
            Family::V6 => (v6, None),
            Family::Both => (v4, Some(v6)),
        };
        self.hosts.push(Host {
            address,
            address6,
            node: Node::Off,
            life: 0,
            seed,
            disk: Disk::new(config.disk, chance),
            group: 0,
            uplink: Uplink::default(),
            downlink_free_at: Instant::ZERO,
            nat: NatTable::default(),
            next_port: 32_767,
            torrents: Vec::new(),
            notices: Vec::new(),
            past: Traffic::default(),
            progress: 0,
            progress_at: self.now,
            contacts: Contacts::default(),
            tamper: None,
            config,
        });
        HostId(index)
    }

    pub(crate) fn boot(&mut self, host: u32) {
        self.boot_recorded(host, None);
    }

    /// The same, and records the engine.
    pub(crate) fn boot_recorded(&mut self, host: u32, out: Option<Sink>) {
        let now = self.now;
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        this.life += 1;
        let mut seed = this.seed;
        for (byte, life) in seed.0.iter_mut().zip(this.life.to_le_bytes()) {
            *byte ^= life;
        }
        let wall = UnixTime(START.0 + now.since(Instant::ZERO).as_secs());
        let start = Start {
            config: this.config.engine.clone(),
            seed,
            now,
            wall,
        };
        // What can't be written to is the embedder's concern, and none of the run's.
        let tape = out.and_then(|out| Tape::new(out, &start).ok());
        this.node = Node::Engine(Box::new(Running::new(start.engine(), tape)));
        this.progress_at = now;
        let address = Some(this.address);
        self.command(HostId(host), Command::Listening { address });
    }

    pub(crate) fn switch_off(&mut self, host: u32) {
        let attached = self.attached_of(host);
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let acting: Vec<_> = match &this.node {
            Node::Actor(acting) => acting.conns.values().copied().collect(),
            Node::Off | Node::Engine(_) => Vec::new(),
        };
        this.past = this.traffic();
        let node = std::mem::replace(&mut this.node, Node::Off);
        if let Node::Engine(running) = node
            && running.engine.is_down()
            && let Some(tape) = running.tape
        {
            // As above. Who crashes leaves a recording that is cut off.
            let _ = tape.finish();
        }
        // What was meant for it is for nobody now.
        this.life += 1;
        this.uplink.active.clear();
        this.uplink.packets.clear();
        this.uplink.packet_bytes = 0;
        this.uplink.packets_queued = false;
        let conns = attached.into_iter().map(|found| (found.at, found.side));
        for (at, side) in conns.chain(acting) {
            self.die(at, side);
        }
    }

    fn change(&mut self, host: HostId, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(host.0 as usize) {
            change(host);
        }
    }

    fn attached_of(&mut self, host: u32) -> Vec<Attached> {
        self.running(host)
            .map(|running| running.all_attached().collect())
            .unwrap_or_default()
    }
}
