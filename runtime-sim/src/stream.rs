//! Streams on the network: dialling, sending, losing, ending.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anabranch_core::Event;
use anabranch_core::Instant;
use anabranch_core::event::CloseReason;
use anabranch_core::id::ConnId;
use bytes::Bytes;

use crate::actor::ActorEvent;
use crate::config::time_for;
use crate::conn::{Conn, ConnRef, End, Local, PACKET, RETRY, Segment, Side, State};
use crate::event::Happening;
use crate::host::{Flow, Node, PORT};
use crate::world::{World, host_number};

/// Attempts to connect before the system gives up, a second apart at first, twice as long each time.
const SYN_ATTEMPTS: u8 = 6;

/// What a link takes in before it has sent what it took in earlier: the queue of a network card. So
/// small segments and packets leave in one go.
const AHEAD: Duration = Duration::from_millis(1);

/// The table of connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    slots: Vec<(u32, Option<Box<Conn>>)>,
    free: Vec<u32>,
}

impl Conns {
    fn insert(&mut self, conn: Conn) -> ConnRef {
        let conn = Some(Box::new(conn));
        if let Some(slot) = self.free.pop()
            && let Some((generation, place)) = self.slots.get_mut(slot as usize)
        {
            *place = conn;
            return ConnRef {
                slot,
                generation: *generation,
            };
        }
        self.slots.push((0, conn));
        ConnRef {
            slot: self.slots.len() as u32 - 1,
            generation: 0,
        }
    }

    pub(crate) fn get(&self, at: ConnRef) -> Option<&Conn> {
        let (generation, conn) = self.slots.get(at.slot as usize)?;
        conn.as_deref().filter(|_| *generation == at.generation)
    }

    pub(crate) fn get_mut(&mut self, at: ConnRef) -> Option<&mut Conn> {
        let (generation, conn) = self.slots.get_mut(at.slot as usize)?;
        conn.as_deref_mut().filter(|_| *generation == at.generation)
    }

    fn remove(&mut self, at: ConnRef) {
        if let Some((generation, conn)) = self.slots.get_mut(at.slot as usize)
            && *generation == at.generation
            && conn.take().is_some()
        {
            *generation += 1;
            self.free.push(at.slot);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl World {
    pub(crate) fn dial(&mut self, host: u32, local: Local, to: SocketAddr) -> ConnRef {
        let there = self.host_at(to.ip());
        let mut dialler = End::new(Some(host), self.life(host), local);
        dialler.state = State::Opening;
        let at = self.conns.insert(Conn {
            dialler,
            listener: End::new(there, 0, Local::Nameless),
            black_hole: false,
            to,
        });
        let family = self.hosts.get(host as usize);
        if family.is_some_and(|host| host.address_towards(to.ip()).is_none()) {
            self.break_off(at, Side::Dialler, CloseReason::Unreachable);
        } else {
            self.send_syn(at, 0);
        }
        at
    }

    /// The application at an end sends bytes.
    pub(crate) fn send(&mut self, at: ConnRef, side: Side, data: Bytes) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        if end.state != State::Open || data.is_empty() {
            return;
        }
        end.write(data);
        if !std::mem::replace(&mut end.telling, true) {
            self.queue.push(now, Happening::Accepted { conn: at, side });
        }
    }

    /// Lets the system take in what has room, and tells the application.
    pub(crate) fn on_accepted(&mut self, at: ConnRef, side: Side) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        end.telling = false;
        let (host, local, state) = (end.host, end.local, end.state);
        let buffer = self.send_buffer(host);
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        end.settle(now);
        let taken = if state == State::Open {
            end.accept(buffer)
        } else {
            0
        };
        self.want_to_send(at, side);
        self.await_ack(at, side);
        if let (Some(host), Local::Engine(conn), true) = (host, local, taken > 0) {
            self.feed(host, Event::Sent { conn, len: taken });
        }
    }

    /// The application at an end allows so many more bytes to be read.
    pub(crate) fn allow(&mut self, at: ConnRef, side: Side, credit: u64) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        end.credit = end.credit.saturating_add(credit);
        // Not at once: an engine is not called from within a call.
        if (end.readable() > 0 || end.is_at_end()) && !std::mem::replace(&mut end.flushing, true) {
            self.queue.push(now, Happening::Flush { conn: at, side });
        }
    }

    /// The application at an end closes the connection. An engine is told later that it is closed.
    pub(crate) fn close(&mut self, at: ConnRef, side: Side) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        let was = end.state;
        if matches!(was, State::Shut | State::Dead) {
            return;
        }
        end.shut();
        if let (Some(host), Local::Engine(local)) = (end.host, end.local) {
            let life = end.life;
            let closed = Happening::ClosedLocally {
                host,
                life,
                conn: local,
            };
            self.queue.push(now, closed);
        }
        match was {
            State::Opening => {
                // Who was dialled in vain never hears of it.
                conn.end_mut(side.other()).state = State::Dead;
                self.reap(at);
            }
            State::Open | State::Shut | State::Dead => {
                self.want_to_send(at, side);
                self.reap(at);
            }
        }
    }

    pub(crate) fn on_closed_locally(&mut self, host: u32, conn: ConnId) {
        self.tell_closed(host, conn, CloseReason::Local);
    }

    /// Breaks a connection from an end.
    pub(crate) fn reset(&mut self, at: ConnRef, side: Side) {
        if let Some(conn) = self.conns.get_mut(at) {
            conn.end_mut(side).state = State::Shut;
            self.send_reset(at, side.other());
            self.reap(at);
        }
    }

    /// The host at an end is gone without a word.
    pub(crate) fn die(&mut self, at: ConnRef, side: Side) {
        if let Some(conn) = self.conns.get_mut(at) {
            conn.end_mut(side).state = State::Dead;
            self.reap(at);
        }
    }

    pub(crate) fn on_syn(&mut self, at: ConnRef, attempt: u8) {
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let (Some(from), there, to) = (conn.dialler.host, conn.listener.host, conn.to) else {
            return;
        };
        if conn.dialler.state != State::Opening {
            return;
        }
        let loss = there.map_or(0, |there| self.loss_between(from, there));
        let reached = there.filter(|there| {
            self.path_is_open(from, *there)
                && self
                    .hosts
                    .get(*there as usize)
                    .is_some_and(|host| host.is_dialable())
                && !self.chance.happens(loss)
        });
        let Some(there) = reached else {
            if self.tracker_at(to).is_some() {
                let back = self.now + self.config.latency_max;
                self.queue.push(back, Happening::Refused { conn: at });
            } else {
                self.send_syn(at, attempt + 1);
            }
            return;
        };
        let back = self.now + self.one_way(there, from);
        if to.port() == PORT {
            self.queue.push(back, Happening::SynAck { conn: at });
        } else {
            self.queue.push(back, Happening::Refused { conn: at });
        }
    }

    pub(crate) fn on_syn_ack(&mut self, at: ConnRef) {
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let (Some(from), Some(there)) = (conn.dialler.host, conn.listener.host) else {
            return;
        };
        let arrives = self.now + self.one_way(from, there);
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        if conn.dialler.state != State::Opening {
            return;
        }
        conn.dialler.state = State::Open;
        // What is sent now comes no sooner than the confirmation.
        conn.dialler.last_arrival = arrives;
        let local = conn.dialler.local;
        self.queue
            .push(arrives, Happening::Established { conn: at });
        match local {
            Local::Engine(conn) => self.feed(from, Event::Connected { conn }),
            Local::Actor(conn) => self.act(from, ActorEvent::Connected { conn }),
            Local::Nameless => {}
        }
    }

    pub(crate) fn on_established(&mut self, at: ConnRef) {
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let to = conn.to;
        let (Some(from), Some(there)) = (conn.dialler.host, conn.listener.host) else {
            return;
        };
        if conn.listener.state != State::Opening {
            return;
        }
        let source = match self.hosts.get_mut(from as usize) {
            Some(host) => match host.address_towards(to.ip()) {
                Some(address) => SocketAddr::new(address.ip(), host.ephemeral_port()),
                None => return,
            },
            None => return,
        };
        let life = self.life(there);
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        conn.listener.life = life;
        let Some(host) = self.hosts.get_mut(there as usize) else {
            return;
        };
        match &mut host.node {
            Node::Off => self.die(at, Side::Listener),
            Node::Engine(running) => {
                running.next_ticket += 1;
                let ticket = anabranch_core::id::Ticket(running.next_ticket);
                running.tickets.push((ticket, at));
                self.feed(
                    there,
                    Event::Incoming {
                        ticket,
                        from: source,
                    },
                );
            }
            Node::Actor(acting) => {
                acting.next += 1;
                let local = acting.next;
                acting.conns.insert(local, (at, Side::Listener));
                conn.listener.local = Local::Actor(local);
                conn.listener.state = State::Open;
                conn.listener.credit = u64::MAX;
                self.act(
                    there,
                    ActorEvent::Incoming {
                        conn: local,
                        from: source,
                    },
                );
            }
        }
    }

    pub(crate) fn on_refused(&mut self, at: ConnRef) {
        self.end_with(at, Side::Dialler, CloseReason::Refused);
    }

    pub(crate) fn on_reset(&mut self, at: ConnRef, to: Side) {
        self.end_with(at, to, CloseReason::Reset);
    }

    /// Ends a connection as soon as an end can be told.
    pub(crate) fn break_off(&mut self, conn: ConnRef, side: Side, reason: CloseReason) {
        let broken = Happening::Broken { conn, side, reason };
        self.queue.push(self.now, broken);
    }

    pub(crate) fn on_broken(&mut self, at: ConnRef, side: Side, reason: CloseReason) {
        let open = |conn: &Conn| conn.end(side).state == State::Open;
        if self.conns.get(at).is_some_and(open) {
            self.send_reset(at, side.other());
        }
        self.end_with(at, side, reason);
    }

    /// A segment has come to the last link.
    pub(crate) fn on_arrive(&mut self, at: ConnRef, to: Side, segment: Segment) {
        let now = self.now;
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let (here, from) = (conn.end(to), conn.end(to.other()));
        let (Some(host), Some(sender)) = (here.host, from.host) else {
            return;
        };
        let (state, black_hole) = (here.state, conn.black_hole);
        if black_hole || !self.path_is_open(sender, host) {
            return self.vanish(at, to.other(), segment);
        }
        match state {
            State::Dead => return self.send_reset(at, to.other()),
            State::Shut if segment.fin => return,
            State::Shut => return self.send_reset(at, to.other()),
            State::Opening | State::Open => {}
        }
        let packets = u64::from(segment.weight).div_ceil(PACKET).max(1);
        let loss = u64::from(self.loss_between(sender, host)) * packets;
        if self.chance.happens(u32::try_from(loss).unwrap_or(u32::MAX)) {
            // One packet of it is missing, and is sent again.
            let weight = segment.weight.min(PACKET as u32);
            let segment = Segment { weight, ..segment };
            let at_sender = now + self.one_way(host, sender);
            let to = to.other();
            self.queue.push(
                at_sender,
                Happening::Lost {
                    conn: at,
                    to,
                    segment,
                },
            );
            return;
        }
        match self.pass_downlink(host, Some(sender), u64::from(segment.weight)) {
            Some(at_end) if at_end == now => self.on_deliver(at, to, segment),
            Some(at_end) => {
                self.queue.push(
                    at_end,
                    Happening::Deliver {
                        conn: at,
                        to,
                        segment,
                    },
                );
            }
            None => {
                let at_sender = now + self.one_way(host, sender);
                let to = to.other();
                self.queue.push(
                    at_sender,
                    Happening::Lost {
                        conn: at,
                        to,
                        segment,
                    },
                );
            }
        }
    }

    /// When so many bytes are through the last link to a host; none when its queue is full.
    ///
    /// What comes from a `sender` that is a host comes packet by packet, as fast as its link let them
    /// go: the first have passed when the last arrives, unless others are in the way.
    pub(crate) fn pass_downlink(
        &mut self,
        host: u32,
        sender: Option<u32>,
        bytes: u64,
    ) -> Option<Instant> {
        let now = self.now;
        let up = sender.and_then(|sender| self.hosts.get(sender as usize));
        let lasted = up.map_or(Duration::ZERO, |sender| {
            time_for(bytes, sender.config.link.up)
        });
        let host = self.hosts.get_mut(host as usize)?;
        let link = host.config.link;
        let Some(rate) = link.down else {
            return Some(now);
        };
        let waiting = host.downlink_free_at.since(now);
        if waiting > time_for(link.queue, Some(rate)) {
            return None;
        }
        let takes = time_for(bytes, Some(rate));
        let begins = host.downlink_free_at.max(now - lasted.min(takes));
        host.downlink_free_at = (begins + takes).max(now);
        Some(host.downlink_free_at)
    }

    pub(crate) fn on_deliver(&mut self, at: ConnRef, to: Side, segment: Segment) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let (Some(host), Some(sender)) = (conn.end(to).host, conn.end(to.other()).host) else {
            return;
        };
        let back = self.now + self.one_way(host, sender);
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(to);
        if !matches!(end.state, State::Open | State::Opening) {
            return;
        }
        let news = end.receive(segment);
        conn.end_mut(to.other()).acknowledge_at(back, segment);
        self.await_ack(at, to.other());
        if news {
            self.flush(at, to);
        }
    }

    /// Puts the next acknowledgement in the queue if an end waits for it.
    fn await_ack(&mut self, at: ConnRef, to: Side) {
        let Some(end) = self.conns.get_mut(at).map(|conn| conn.end_mut(to)) else {
            return;
        };
        if let Some(known) = end.next_ack() {
            end.awaits_ack = true;
            self.queue
                .push(known, Happening::Acknowledge { conn: at, to });
        }
    }

    pub(crate) fn on_acknowledge(&mut self, at: ConnRef, to: Side) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(to);
        end.awaits_ack = false;
        end.settle(now);
        // There may be room for more of what the application has sent.
        if end.unaccepted() > 0 {
            self.on_accepted(at, to);
        } else {
            self.want_to_send(at, to);
        }
    }

    pub(crate) fn on_lost(&mut self, at: ConnRef, to: Side, segment: Segment) {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(at) {
            let end = conn.end_mut(to);
            end.settle(now);
            end.lost(segment);
            self.want_to_send(at, to);
        }
    }

    pub(crate) fn on_window(&mut self, at: ConnRef, to: Side) {
        self.want_to_send(at, to);
    }

    pub(crate) fn on_retry(&mut self, at: ConnRef, side: Side) {
        let (now, give_up) = (self.now, self.config.give_up);
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        end.waiting_retry = false;
        end.settle(now);
        if end
            .stalled_since
            .is_some_and(|since| now.since(since) > give_up)
        {
            if end.state == State::Shut {
                // Nobody waits for the rest.
                let other = conn.end_mut(side.other());
                if other.state == State::Opening {
                    other.state = State::Dead;
                }
                return self.reap(at);
            }
            return self.end_with(at, side, CloseReason::TimedOut);
        }
        self.want_to_send(at, side);
    }

    pub(crate) fn on_flush(&mut self, at: ConnRef, side: Side) {
        if let Some(conn) = self.conns.get_mut(at) {
            conn.end_mut(side).flushing = false;
            self.flush(at, side);
        }
    }

    /// Hands over what has come, as far as the application allows.
    fn flush(&mut self, at: ConnRef, side: Side) {
        loop {
            let now = self.now;
            let Some(conn) = self.conns.get_mut(at) else {
                return;
            };
            let end = conn.end(side);
            let (Some(host), local) = (end.host, end.local) else {
                return;
            };
            if end.state != State::Open {
                return;
            }
            if end.is_at_end() {
                return self.end_with(at, side, CloseReason::Remote);
            }
            let chop = match self.hosts.get(host as usize) {
                Some(host) => host.config.chop,
                None => return,
            };
            let Some(data) = conn.take(side, chop, &mut self.chance) else {
                return;
            };
            let from = conn.end_mut(side.other());
            if from.take_window_closed()
                && let Some(sender) = from.host
            {
                let back = now + self.one_way(host, sender);
                let to = side.other();
                self.queue.push(back, Happening::Window { conn: at, to });
            }
            match local {
                Local::Engine(conn) => self.feed(host, Event::Received { conn, data }),
                Local::Actor(conn) => self.act(host, ActorEvent::Received { conn, data }),
                Local::Nameless => return,
            }
        }
    }

    /// The uplink of a host is free, or something to send has come up.
    pub(crate) fn pump(&mut self, host: u32) {
        let now = self.now;
        loop {
            let Some(this) = self.hosts.get_mut(host as usize) else {
                return;
            };
            let rate = this.config.link.up;
            let uplink = &mut this.uplink;
            if uplink.free_at.since(now) > AHEAD {
                if !uplink.active.is_empty() && !std::mem::replace(&mut uplink.scheduled, true) {
                    self.queue.push(uplink.free_at, Happening::Uplink { host });
                }
                return;
            }
            let begins = uplink.free_at.max(now);
            let Some(flow) = uplink.active.pop_front() else {
                return;
            };
            let sent = match flow {
                Flow::Packets => self.send_packet(host, begins),
                Flow::Stream(conn, side) => self.send_segment(host, conn, side, begins),
            };
            let (Some((bytes, more)), Some(this)) = (sent, self.hosts.get_mut(host as usize))
            else {
                continue;
            };
            this.uplink.free_at = begins + time_for(bytes, rate);
            if more {
                this.uplink.active.push_back(flow);
            }
        }
    }

    pub(crate) fn on_uplink(&mut self, host: u32) {
        if let Some(this) = self.hosts.get_mut(host as usize) {
            this.uplink.scheduled = false;
            self.pump(host);
        }
    }

    /// Puts the next segment of a stream on the link. Says how large it is, and whether there is more;
    /// none when there is none.
    fn send_segment(
        &mut self,
        host: u32,
        at: ConnRef,
        side: Side,
        begins: Instant,
    ) -> Option<(u64, bool)> {
        let now = self.now;
        let there = self.conns.get(at)?.end(side.other()).host?;
        let window = match self.hosts.get(there as usize) {
            Some(host) => host.config.link.receive_buffer,
            None => 0,
        };
        let conn = self.conns.get_mut(at)?;
        conn.end_mut(side).settle(now);
        let dead = matches!(conn.end(side).state, State::Dead);
        let segment = if dead {
            None
        } else {
            conn.next_segment(side, window)
        };
        let Some(segment) = segment else {
            conn.end_mut(side).queued = false;
            self.await_ack(at, side);
            return None;
        };
        let bytes = u64::from(segment.weight);
        let rate = self.hosts.get(host as usize)?.config.link.up;
        let arrives = begins + time_for(bytes, rate) + self.one_way(host, there);
        let end = self.conns.get_mut(at)?.end_mut(side);
        let arrives = arrives.max(end.last_arrival);
        end.last_arrival = arrives;
        end.queued = end.has_unsent();
        let more = end.queued;
        self.queue.push(
            arrives,
            Happening::Arrive {
                conn: at,
                to: side.other(),
                segment,
            },
        );
        Some((bytes, more))
    }

    /// Puts a stream in the queue of its host's uplink.
    fn want_to_send(&mut self, at: ConnRef, side: Side) {
        let Some(end) = self.conns.get_mut(at).map(|conn| conn.end_mut(side)) else {
            return;
        };
        if end.waiting_retry
            || !end.has_unsent()
            || matches!(end.state, State::Dead | State::Opening)
        {
            return;
        }
        let Some(host) = end.host else {
            return;
        };
        if !std::mem::replace(&mut end.queued, true)
            && let Some(this) = self.hosts.get_mut(host as usize)
        {
            this.uplink.active.push_back(Flow::Stream(at, side));
            self.pump(host);
        }
    }

    /// A segment came nowhere, and nobody says so: the sender tries again by the clock.
    fn vanish(&mut self, at: ConnRef, sender: Side, segment: Segment) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(sender);
        end.settle(now);
        end.vanished(segment, now);
        if !std::mem::replace(&mut end.waiting_retry, true) {
            let again = now + end.retry;
            end.retry = (end.retry * 2).min(RETRY.1);
            self.queue.push(
                again,
                Happening::Retry {
                    conn: at,
                    side: sender,
                },
            );
        }
    }

    fn send_syn(&mut self, at: ConnRef, attempt: u8) {
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let Some(from) = conn.dialler.host else {
            return;
        };
        let wait = match attempt {
            0 => Duration::ZERO,
            later => Duration::from_secs(1 << (later - 1).min(6)),
        };
        if attempt >= SYN_ATTEMPTS {
            self.end_with(at, Side::Dialler, CloseReason::TimedOut);
            return;
        }
        let latency = match conn.listener.host {
            Some(there) => self.one_way(from, there),
            None => self.config.latency_max,
        };
        let arrives = self.now + wait + latency;
        self.queue
            .push(arrives, Happening::Syn { conn: at, attempt });
    }

    /// Lets an end learn that the connection is broken.
    fn send_reset(&mut self, at: ConnRef, to: Side) {
        let Some(conn) = self.conns.get(at) else {
            return;
        };
        let (Some(from), Some(there)) = (conn.end(to.other()).host, conn.end(to).host) else {
            return;
        };
        let arrives = self.now + self.one_way(from, there);
        self.queue.push(arrives, Happening::Reset { conn: at, to });
    }

    /// Ends a connection for the application at an end.
    fn end_with(&mut self, at: ConnRef, side: Side, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(at) else {
            return;
        };
        let end = conn.end_mut(side);
        if matches!(end.state, State::Shut | State::Dead) {
            return;
        }
        let nameless = end.local == Local::Nameless;
        end.state = State::Shut;
        let (host, local) = (end.host, end.local);
        if side == Side::Dialler {
            // Who was dialled in vain never hears of it.
            let listener = &mut conn.listener;
            if listener.state == State::Opening && listener.local == Local::Nameless {
                listener.state = State::Dead;
            }
        }
        self.reap(at);
        let Some(host) = host.filter(|_| !nameless) else {
            return;
        };
        match local {
            Local::Engine(conn) => self.tell_closed(host, conn, reason),
            Local::Actor(conn) => {
                if let Some(Node::Actor(acting)) =
                    self.hosts.get_mut(host as usize).map(|host| &mut host.node)
                {
                    acting.conns.remove(&conn);
                }
                self.act(host, ActorEvent::Closed { conn, reason });
            }
            Local::Nameless => {}
        }
    }

    fn tell_closed(&mut self, host: u32, conn: ConnId, reason: CloseReason) {
        if let Some(running) = self
            .hosts
            .get_mut(host as usize)
            .and_then(|host| host.running())
        {
            running.detach(conn);
            self.feed(host, Event::Closed { conn, reason });
        }
    }

    /// Forgets a connection that nobody cares about any more.
    fn reap(&mut self, at: ConnRef) {
        if self.conns.get(at).is_some_and(Conn::is_over) {
            self.conns.remove(at);
        }
    }

    fn send_buffer(&self, host: Option<u32>) -> u64 {
        host.and_then(|host| self.hosts.get(host as usize))
            .map_or(0, |host| host.config.link.send_buffer)
    }

    /// The host with an address.
    pub(crate) fn host_at(&self, address: IpAddr) -> Option<u32> {
        let index = host_number(address)?;
        let host = self.hosts.get(index as usize)?;
        let has = host.addresses().any(|own| own.ip() == address);
        has.then_some(index)
    }
}
