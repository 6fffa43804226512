//! The loop around an engine or an actor: what goes in, what comes out, and what must hold.

use anabranch_core::action::DiskJob;
use anabranch_core::event::{CloseReason, OpResult};
use anabranch_core::id::{ConnId, OpId, StorageKey, TorrentId};
use anabranch_core::limits::READ_WINDOW;
use anabranch_core::{Action, Event, Notice, Wake};

use crate::actor::{ActorEvent, Deed, Stage};
use crate::bounds::{SEND_BOUND, has_work, over_bound, over_memory, payload_of};
use crate::conn::{Local, Side, State};
use crate::event::Happening;
use crate::failure::FailureKind;
use crate::host::{Attached, NetKind, Node, Packet, Tamper};
use crate::http::Asker;
use crate::trace::{describe_action, describe_event};
use crate::world::World;

impl World {
    /// Feeds an engine one event, checks it, and does what it wants done.
    pub(crate) fn feed(&mut self, host: u32, event: Event) {
        let now = self.now;
        let checks = &self.config.checks;
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let Node::Engine(running) = &mut this.node else {
            return;
        };
        self.trace.event(now, host, &event);
        if let Some(log) = &mut self.log
            && log.is_about(host)
        {
            log.line(now, host, &describe_event(&event));
        }
        let tick = matches!(event, Event::Tick);
        let mut buffer = std::mem::take(&mut self.buffer);
        running.events += 1;
        let mut wake = match &mut running.tape {
            None => running.engine.handle(now, event, &mut buffer),
            Some(tape) => tape.handle(&mut running.engine, now, event, &mut buffer),
        };
        let mut tampered = Vec::new();
        if let Some(Tamper(tamper)) = &mut this.tamper {
            tampered.extend(buffer.drain());
            tamper(now, &running.engine, &mut wake, &mut tampered);
        }
        running.wake = wake;
        self.trace.wake(wake);
        let every = checks.invariants_every;
        let mut found = over_bound(running);
        if every > 0 && running.events % every == 0 {
            running.engine.check();
            found = found.or_else(|| over_memory(running, &self.conns));
        }
        let idle = buffer.is_empty() && tampered.is_empty();
        if tick {
            let ticks = &mut running.ticks_now;
            *ticks = if ticks.0 == now {
                (now, ticks.1 + 1)
            } else {
                (now, 1)
            };
            let idles = &mut running.idle_ticks;
            *idles = match (idle, idles.1) {
                (false, _) => (now, 0),
                (true, 0) => (now, 1),
                (true, count) => (idles.0, count + 1),
            };
            let most = ticks.1.max(idles.1);
            // A thousand idle ticks in as many seconds are no spin.
            let often = ticks.1 > checks.idle_ticks
                || (idles.1 > checks.idle_ticks
                    && now.since(idles.0).as_millis() < u128::from(idles.1) * 10);
            if often {
                found = Some(FailureKind::Spinning(most, format!("{wake:?}")));
            }
        } else if !idle {
            running.idle_ticks.1 = 0;
        }
        match wake {
            Wake::At(at, reason) if at <= now => {
                found = Some(FailureKind::WakeInThePast(format!("{at} for {reason:?}")));
            }
            Wake::Idle if running.contacts.is_empty() && has_work(&running.engine, now) => {
                found = Some(FailureKind::Asleep(String::from(
                    "a torrent is downloading",
                )));
            }
            Wake::Idle | Wake::Now(_) | Wake::At(..) => {}
        }
        let life = this.life;
        if !tick && self.chance.happens(this.config.spurious_ticks_ppm) {
            let soon = now + self.chance.up_to(std::time::Duration::from_secs(1));
            self.queue.push(soon, Happening::Spurious { host, life });
        }
        if let Some(kind) = found {
            self.fail(Some(host), kind);
        }
        for action in tampered.into_iter().chain(buffer.drain()) {
            self.trace.action(&action);
            if let Some(log) = &mut self.log
                && log.is_about(host)
            {
                log.line(now, host, &describe_action(&action));
            }
            self.perform(host, action);
        }
        self.buffer = buffer;
        self.set_wake(host);
    }

    /// Puts the engine's deadline in the queue, unless one that comes no later is there.
    fn set_wake(&mut self, host: u32) {
        let now = self.now;
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let (delay, life) = (this.config.tick_delay, this.life);
        let Some(running) = this.running() else {
            return;
        };
        let due = match running.wake {
            Wake::Idle => return,
            Wake::Now(_) => now,
            Wake::At(at, _) => at.max(now),
        };
        if running.queued.is_none_or(|queued| queued > due) {
            let due = due + self.chance.up_to(delay);
            running.queued = Some(due);
            self.queue.push(due, Happening::Wake { host, life });
        }
    }

    /// A deadline in the queue has come.
    pub(crate) fn on_wake(&mut self, host: u32) {
        let now = self.now;
        let Some(running) = self
            .hosts
            .get_mut(host as usize)
            .and_then(|host| host.running())
        else {
            return;
        };
        if running.queued != Some(now) {
            // An earlier one took its place.
            return;
        }
        running.queued = None;
        match running.wake {
            Wake::Now(_) => self.feed(host, Event::Tick),
            Wake::At(at, _) if at <= now => self.feed(host, Event::Tick),
            Wake::At(..) => self.set_wake(host),
            Wake::Idle => {}
        }
    }

    fn perform(&mut self, host: u32, action: Action) {
        match action {
            Action::Connect { conn, to, .. } => {
                let at = self.dial(host, Local::Engine(conn), to);
                let side = Side::Dialler;
                if self.net_fails(host, NetKind::Connect) {
                    self.break_off(at, side, CloseReason::Unreachable);
                }
                if let Some(running) = self.running(host) {
                    running.attach(Attached { conn, at, side });
                }
            }
            Action::Accept { ticket, conn } => {
                let Some(running) = self.running(host) else {
                    return;
                };
                let known = running
                    .tickets
                    .iter()
                    .position(|(known, _)| *known == ticket);
                let Some(at) = known.map(|index| running.tickets.swap_remove(index).1) else {
                    return self.contract(host, format!("accepts {}, which waits not", ticket.0));
                };
                let side = Side::Listener;
                running.attach(Attached { conn, at, side });
                if let Some(found) = self.conns.get_mut(at) {
                    found.listener.local = Local::Engine(conn);
                    found.listener.state = State::Open;
                }
            }
            Action::Refuse { ticket } => {
                let Some(running) = self.running(host) else {
                    return;
                };
                let known = running
                    .tickets
                    .iter()
                    .position(|(known, _)| *known == ticket);
                match known.map(|index| running.tickets.swap_remove(index).1) {
                    Some(at) => self.reset(at, Side::Listener),
                    None => self.contract(host, format!("refuses {}, which waits not", ticket.0)),
                }
            }
            Action::Send { conn, data } => {
                let Some(attached) = self.attached(host, conn, "sends on") else {
                    return;
                };
                self.send(attached.at, attached.side, data);
                if self.net_fails(host, NetKind::Send) {
                    self.break_off(attached.at, attached.side, CloseReason::Reset);
                }
                let unsent = self
                    .conns
                    .get(attached.at)
                    .map_or(0, |found| found.end(attached.side).unaccepted());
                if unsent > SEND_BOUND {
                    let kind = FailureKind::OverBound(format!("{unsent} bytes to send on {conn}"));
                    self.fail(Some(host), kind);
                }
            }
            Action::Read { conn, credit } => {
                if let Some(attached) = self.attached(host, conn, "reads from") {
                    self.allow(attached.at, attached.side, u64::from(credit));
                    let open = self.conns.get(attached.at);
                    let open = open.map_or(0, |found| found.end(attached.side).credit);
                    if open > u64::from(READ_WINDOW) {
                        let kind =
                            FailureKind::OverBound(format!("{open} bytes to read on {conn}"));
                        self.fail(Some(host), kind);
                    }
                }
            }
            Action::Close { conn } => {
                if let Some(attached) = self.attached(host, conn, "closes") {
                    self.close(attached.at, attached.side);
                }
            }
            Action::Datagram(outbound) => self.datagrams(host, &outbound),
            Action::Disk { op, torrent, job } => self.disk_job(host, op, torrent, job),
            Action::Resolve { op, host: name, .. } => {
                self.begin_contact(host, op);
                let fails = self.net_fails(host, NetKind::Resolve);
                self.look_up(host, op, &name, fails);
            }
            Action::Http { op, request, .. } => {
                self.begin_contact(host, op);
                let fails = self.net_fails(host, NetKind::Http);
                self.exchange(host, Asker::Engine(op), (*request).into(), fails);
            }
            Action::Cancel { op } => {
                let (now, life) = (self.now, self.life(host));
                let known = self
                    .running(host)
                    .is_some_and(|running| running.contacts.contains(&op));
                if known {
                    let event = Box::new(Event::Done {
                        op,
                        result: OpResult::Cancelled,
                    });
                    self.queue.push(
                        now,
                        Happening::Contact {
                            host,
                            life,
                            op,
                            event,
                        },
                    );
                }
            }
            Action::Reply { request, result } => {
                let (now, life) = (self.now, self.life(host));
                let Some(running) = self.running(host) else {
                    return;
                };
                if running.leaving == Some(request) {
                    self.queue.push(now, Happening::PowerOff { host, life });
                }
                let Some(running) = self.running(host) else {
                    return;
                };
                if running.replies.insert(request, result).is_some() {
                    self.contract(host, format!("answers request {} twice", request.0));
                }
            }
            Action::Notify(notice) => self.on_notice(host, notice),
        }
    }

    fn disk_job(&mut self, host: u32, op: OpId, torrent: TorrentId, job: DiskJob) {
        let now = self.now;
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let life = this.life;
        let Node::Engine(running) = &mut this.node else {
            return;
        };
        if let DiskJob::Open(open) = &job {
            running.bind(torrent, open.key);
        }
        let known = running.begin_job(op, payload_of(&job));
        // Without a key nothing was ever opened.
        let key = running.key(torrent).unwrap_or(StorageKey(u64::MAX));
        let contents = &self.contents;
        let outcome = this.disk.perform(now, key, job, |open| {
            contents.get(&open.metainfo.info_hash()).cloned()
        });
        let result = Box::new(OpResult::Disk(outcome.result));
        let done = Happening::JobDone {
            host,
            life,
            op,
            result,
        };
        self.queue.push(outcome.at, done);
        if !known {
            self.contract(host, format!("begins {op} twice"));
        }
        if let Some(violation) = outcome.violation {
            self.contract(host, violation);
        }
    }

    /// A disk job has ended.
    pub(crate) fn on_job_done(&mut self, host: u32, op: OpId, result: OpResult) {
        let Some(running) = self.running(host) else {
            return;
        };
        if !running.end_job(op) {
            self.contract(host, format!("{op} is completed twice"));
        }
        self.feed(host, Event::Done { op, result });
    }

    /// Counts what an engine asks of the network. Says whether it fails.
    pub(crate) fn net_fails(&mut self, host: u32, kind: NetKind) -> bool {
        let host = self.hosts.get_mut(host as usize);
        host.is_some_and(|host| host.contacts.fails(kind))
    }

    fn on_notice(&mut self, host: u32, notice: Notice) {
        let now = self.now;
        let keep = self.config.checks.keep_notices;
        let torrent = notice.torrent();
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let Node::Engine(running) = &mut this.node else {
            return;
        };
        let key = running.key(torrent);
        let mut wrong = None;
        let mut early = false;
        match (&notice, key) {
            (Notice::Piece { piece, .. }, Some(key))
                if !this.disk.vouches_for(key, piece.get()) =>
            {
                wrong = Some(piece.get());
            }
            (Notice::Completed { .. } | Notice::Checked { .. }, Some(key)) => {
                let view = running.engine.torrent(torrent);
                wrong = view.and_then(|view| {
                    let mut have = view.have().iter();
                    have.find(|piece| !this.disk.vouches_for(key, *piece))
                });
                early = matches!(notice, Notice::Completed { .. })
                    && running.engine.torrent(torrent).is_some_and(|view| {
                        let status = view.status(now);
                        status.have < status.wanted
                    });
                if matches!(notice, Notice::Completed { .. })
                    && let Some(added) = this.torrents.get_mut(key.0 as usize)
                    && added.completed.is_none()
                {
                    added.completed = Some(now);
                    self.incomplete = self.incomplete.saturating_sub(1);
                }
            }
            _ => {}
        }
        if keep {
            this.notices.push((now, notice));
        }
        if early {
            let kind = FailureKind::NotOnDisk(format!("{torrent} is said to be complete"));
            self.fail(Some(host), kind);
        }
        if let Some(piece) = wrong {
            let kind = FailureKind::NotOnDisk(format!("piece {piece} of {torrent}"));
            self.fail(Some(host), kind);
        }
    }

    fn begin_contact(&mut self, host: u32, op: OpId) {
        if let Some(running) = self.running(host)
            && !running.contacts.insert(op)
        {
            self.contract(host, format!("begins {op} twice"));
        }
    }

    fn attached(&mut self, host: u32, conn: ConnId, does: &str) -> Option<Attached> {
        let found = self.running(host)?.attached(conn);
        if found.is_none() {
            self.contract(host, format!("{does} {conn}, which is not"));
        }
        found
    }

    fn contract(&mut self, host: u32, what: String) {
        self.fail(Some(host), FailureKind::Contract(what));
    }

    /// Tells an actor what happened, and does what it wants done.
    pub(crate) fn act(&mut self, host: u32, event: ActorEvent) {
        let (now, life) = (self.now, self.life(host));
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        let address = this.address;
        let Node::Actor(acting) = &mut this.node else {
            return;
        };
        let Some(mut actor) = acting.actor.take() else {
            return;
        };
        let mut stage = Stage {
            now,
            address,
            chance: &mut self.chance,
            next: &mut acting.next,
            deeds: Vec::new(),
        };
        actor.on(&mut stage, event);
        let deeds = stage.deeds;
        acting.actor = Some(actor);
        for deed in deeds {
            self.trace.number(life.into());
            self.do_deed(host, life, deed);
        }
    }

    fn do_deed(&mut self, host: u32, life: u32, deed: Deed) {
        let now = self.now;
        let find = |world: &Self, conn: u64| match world.hosts.get(host as usize) {
            Some(this) => match &this.node {
                Node::Actor(acting) => acting.conns.get(&conn).copied(),
                Node::Off | Node::Engine(_) => None,
            },
            None => None,
        };
        match deed {
            Deed::Connect { conn, to } => {
                let at = self.dial(host, Local::Actor(conn), to);
                if let Some(found) = self.conns.get_mut(at) {
                    found.dialler.credit = u64::MAX;
                }
                if let Some(this) = self.hosts.get_mut(host as usize)
                    && let Node::Actor(acting) = &mut this.node
                {
                    acting.conns.insert(conn, (at, Side::Dialler));
                }
            }
            Deed::Send { conn, data } => {
                if let Some((at, side)) = find(self, conn) {
                    self.send(at, side, data);
                }
            }
            Deed::Close { conn } | Deed::Reset { conn } => {
                let Some((at, side)) = find(self, conn) else {
                    return;
                };
                if matches!(deed, Deed::Close { .. }) {
                    // What an actor has said is said.
                    self.on_accepted(at, side);
                    self.close(at, side);
                } else {
                    self.reset(at, side);
                }
                if let Some(this) = self.hosts.get_mut(host as usize)
                    && let Node::Actor(acting) = &mut this.node
                {
                    acting.conns.remove(&conn);
                }
            }
            Deed::Datagram { to, data } => self.datagram(host, to, data),
            Deed::Forge { from, to, data } => {
                self.carry_packet(host, Packet { from, to, data }, now);
            }
            Deed::Wake { after, token } => {
                self.queue
                    .push(now + after, Happening::ActorTimer { host, life, token });
            }
        }
    }
}
