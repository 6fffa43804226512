//! UDP packets on the network: lost, doubled, overtaken, kept out.

use std::net::SocketAddr;

use anabranch_core::datagram::Outbound;
use anabranch_core::event::Undelivered;
use anabranch_core::{Event, Instant};
use bytes::Bytes;

use crate::actor::ActorEvent;
use crate::config::time_for;
use crate::event::Happening;
use crate::host::{Flow, NetKind, Node, Packet};
use crate::world::{TRACKER_BIT, World};

impl World {
    /// An engine sends packets. Its system takes them at once, whatever becomes of them.
    pub(crate) fn datagrams(&mut self, host: u32, outbound: &Outbound) {
        if outbound.is_counted {
            let len = outbound.data.len() as u64;
            let life = self.life(host);
            self.queue
                .push(self.now, Happening::Flushed { host, life, len });
        }
        if self.net_fails(host, NetKind::Datagram) {
            return;
        }
        for data in outbound.packets() {
            self.datagram(host, outbound.to, data);
        }
    }

    /// A host sends a packet. One that its link has no room for is dropped.
    pub(crate) fn datagram(&mut self, host: u32, to: SocketAddr, data: Bytes) {
        let now = self.now;
        let Some(this) = self.hosts.get_mut(host as usize) else {
            return;
        };
        if this.uplink.packet_bytes + data.len() as u64 > this.config.link.queue {
            return;
        }
        let Some(from) = this.packet_source(now, to) else {
            return;
        };
        this.uplink.packet_bytes += data.len() as u64;
        this.uplink.packets.push_back(Packet { from, to, data });
        if !std::mem::replace(&mut this.uplink.packets_queued, true) {
            this.uplink.active.push_back(Flow::Packets);
        }
        self.pump(host);
    }

    /// Puts the next packet of a host on its link. Says how large it is, and whether there are more;
    /// none when there is none.
    pub(crate) fn send_packet(&mut self, host: u32, begins: Instant) -> Option<(u64, bool)> {
        let this = self.hosts.get_mut(host as usize)?;
        let packet = this.uplink.packets.pop_front();
        let more = !this.uplink.packets.is_empty();
        this.uplink.packets_queued = more;
        let packet = packet?;
        let bytes = packet.data.len() as u64;
        this.uplink.packet_bytes -= bytes;
        let leaves = begins + time_for(bytes, this.config.link.up);
        self.carry_packet(host, packet, leaves);
        Some((bytes, more))
    }

    /// Takes a packet that leaves `from` at a time to where it goes.
    pub(crate) fn carry_packet(&mut self, from: u32, packet: Packet, leaves: Instant) {
        let to = match self.tracker_at(packet.to) {
            Some(tracker) => Some(tracker | TRACKER_BIT),
            None => self.host_at(packet.to.ip()),
        };
        let Some(to) = to else {
            return;
        };
        let loss = self.loss_between(from, to);
        if self.chance.happens(loss) {
            return;
        }
        let copies = 1 + u32::from(self.chance.happens(self.config.duplicate_ppm));
        for _ in 0..copies {
            let arrives = leaves + self.one_way(from, to);
            let packet = Box::new(packet.clone());
            self.queue
                .push(arrives, Happening::PacketArrive { to, packet });
        }
    }

    pub(crate) fn on_packet_arrive(&mut self, to: u32, packet: Box<Packet>) {
        let from = match self.tracker_at(packet.from) {
            Some(tracker) => Some(tracker | TRACKER_BIT),
            None => self.host_at(packet.from.ip()),
        };
        if from.is_none_or(|from| !self.path_is_open(from, to)) {
            return;
        }
        if to & TRACKER_BIT != 0 {
            return self.packet_to_tracker(to & !TRACKER_BIT, &packet);
        }
        if let Some(at) = self.pass_downlink(to, None, packet.data.len() as u64) {
            self.queue.push(at, Happening::PacketDeliver { to, packet });
        }
    }

    /// A packet has come to a place where nobody listens, which its sender learns. Only trackers say so: peers are behind
    /// routers that do not.
    pub(crate) fn send_back(&mut self, place: u32, packet: &Packet) {
        if let Some(host) = self.host_at(packet.from.ip()) {
            let at = self.now + self.latency(place, host);
            let to = packet.to;
            self.queue.push(at, Happening::Undelivered { host, to });
        }
    }

    pub(crate) fn on_undelivered(&mut self, host: u32, to: SocketAddr) {
        if self.path_is_open(TRACKER_BIT, host) {
            let reason = Undelivered::Refused;
            self.feed(host, Event::Undelivered { to, reason });
        }
    }

    pub(crate) fn on_packet_deliver(&mut self, to: u32, packet: Packet) {
        let now = self.now;
        let Some(host) = self.hosts.get(to as usize) else {
            return;
        };
        if !host.lets_in(now, &packet) {
            return;
        }
        let Packet { from, data, .. } = packet;
        match host.node {
            Node::Off => {}
            Node::Engine(_) => self.feed(to, Event::datagram(from, data)),
            Node::Actor(_) => self.act(to, ActorEvent::Datagram { from, data }),
        }
    }
}
