//! Sockets for packets: UDP trackers, the DHT, the local discovery, and connections by uTP.
//!
//! Packets are read and written in batches where the system can: several that came together are one event, and several to
//! one address one call. Elsewhere the same is done one by one.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::event::Undelivered;
use anabranch_core::id::SocketId;
use anabranch_core::wire::utp::Packet;
use anabranch_core::{Event, Instant};
use bytes::{Bytes, BytesMut};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;

use crate::limits::{DATAGRAM_QUEUE, DATAGRAMS_PER_TURN};
use crate::ready::{Queue, Ready, Signal, Source, Turn};
use crate::runtime::Udp;
use crate::undelivered::{self, Reports};

/// The largest payload of a UDP packet, and of several that the system joined.
const MAX_DATAGRAM: usize = 65_535;

/// How many of those are read in one call: 8 × 64 KiB of memory for each socket that hears more than a few.
const BATCH: usize = 8;

/// How much is allocated for packets at a time; as long as one of them is kept, it stays.
const ARENA: usize = 256 << 10;

/// What the system is asked to keep of packets in each direction, in bytes. It may allow less.
const SYSTEM_BUFFER: usize = 4 << 20;

/// The longest time that a packet is believed to have waited in the system.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What every network carries: nothing up to this length needs to be cut up on its way.
const ALWAYS_FITS: usize = 1_200;

/// What is known of a bound socket before a runtime has it.
pub(crate) struct Prepared {
    state: UdpSocketState,
    reports: Reports,
    buffers: usize,
}

impl Prepared {
    /// For a socket that sends and receives.
    pub(crate) fn of(socket: &UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(socket))?;
        // What is not granted is done without.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(socket), SYSTEM_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(socket), SYSTEM_BUFFER);
        Ok(Self {
            state,
            reports: Reports::of(socket),
            buffers: BATCH,
        })
    }

    /// For a socket that hears a multicast group.
    pub(crate) fn for_group(socket: &UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(socket))?,
            reports: Reports::none(),
            buffers: 1,
        })
    }
}

/// Packets to one address that the socket did not take yet.
struct Waiting {
    to: SocketAddr,
    data: Bytes,
    /// Bytes of each but the last.
    segment: usize,
    may_fragment: bool,
    is_counted: bool,
}

/// A socket for packets.
pub(crate) struct Packets<U> {
    socket: U,
    state: UdpSocketState,
    local: SocketAddr,
    id: SocketId,
    /// Whether it hears a multicast group, and speaks to nobody.
    group: bool,
    receive: Signal,
    transmit: Signal,
    reports: Reports,
    /// Packets that the socket did not take at once, oldest first.
    out: VecDeque<Waiting>,
    /// Bytes of counted packets that have left since that was told.
    flushed: u64,
    buffers: Box<[u8]>,
    metas: [RecvMeta; BATCH],
    arena: BytesMut,
}

impl<U: Udp> Packets<U> {
    pub(crate) fn new(
        ready: &Arc<Ready>,
        index: usize,
        socket: U,
        local: SocketAddr,
        prepared: Prepared,
    ) -> Self {
        let Prepared {
            state,
            reports,
            buffers,
        } = prepared;
        Self {
            socket,
            state,
            local,
            id: SocketId(index as u32),
            reports,
            group: false,
            receive: Signal::new(ready, Source::Receive(index)),
            transmit: Signal::new(ready, Source::Transmit(index)),
            out: VecDeque::new(),
            flushed: 0,
            buffers: vec![0; buffers * MAX_DATAGRAM].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH],
            arena: BytesMut::new(),
        }
    }

    /// A socket that hears what is said to a multicast group.
    pub(crate) fn for_group(
        ready: &Arc<Ready>,
        index: usize,
        socket: U,
        group: SocketAddr,
        prepared: Prepared,
    ) -> Self {
        Self {
            group: true,
            ..Self::new(ready, index, socket, group, prepared)
        }
    }

    pub(crate) fn requeue(&self, queue: &mut Queue) {
        self.receive.requeue(queue);
    }

    /// Whether packets to this address can leave here.
    pub(crate) fn reaches(&self, to: SocketAddr) -> bool {
        !self.group && self.local.is_ipv4() == to.is_ipv4()
    }

    /// Sends packets, or queues them while the socket is full. Those that nobody counts may get lost, so
    /// the queue is short for them, and only what is known of the destination is told; of the others
    /// there are no more than the engine keeps count of.
    pub(crate) fn send(&mut self, outbound: Outbound, events: &mut VecDeque<Event>) {
        if !outbound.is_counted && self.out.len() >= DATAGRAM_QUEUE {
            return;
        }
        let is_idle = self.out.is_empty();
        let segment = match outbound.segment as usize {
            0 => outbound.data.len(),
            segment => segment,
        };
        self.out.push_back(Waiting {
            to: outbound.to,
            data: outbound.data,
            segment,
            may_fragment: outbound.may_fragment,
            is_counted: outbound.is_counted,
        });
        if is_idle {
            self.transmit_all(events);
        }
    }

    /// The socket may take packets again.
    pub(crate) fn transmit(&mut self, events: &mut VecDeque<Event>) {
        self.transmit_all(events);
        self.tell_flushed(events);
    }

    /// Tells what has left.
    pub(crate) fn tell_flushed(&mut self, events: &mut VecDeque<Event>) {
        let len = std::mem::take(&mut self.flushed);
        if len > 0 {
            events.push_back(Event::Flushed { len });
        }
    }

    fn transmit_all(&mut self, events: &mut VecDeque<Event>) {
        while let Some(waiting) = self.out.front() {
            let cx = &mut self.transmit.context();
            let state = &self.state;
            let mut push = |socket: SockRef<'_>| push(state, &socket, waiting);
            let mut result = self.socket.poll_transmit(cx, &mut push);
            if let Poll::Ready(Err(_)) = result {
                // It may be the report on an earlier packet, in whose place this one was not sent; or the system, which
                // cannot take several at a time after all.
                self.reports.take(events);
                result = self.socket.poll_transmit(cx, &mut push);
            }
            let left = match result {
                Poll::Pending => return,
                Poll::Ready(Ok(len)) => len,
                // What nobody listens for is never known so soon: that is one more report.
                Poll::Ready(Err(error)) => {
                    if undelivered::reason(&error) == Some(Undelivered::Unreachable) {
                        let (to, reason) = (waiting.to, Undelivered::Unreachable);
                        events.push_back(Event::Undelivered { to, reason });
                    }
                    waiting.data.len()
                }
            };
            let left = left.min(waiting.data.len());
            if waiting.is_counted {
                self.flushed += left as u64;
            }
            let is_through = left == waiting.data.len();
            match self.out.front_mut() {
                Some(waiting) if !is_through => {
                    let _ = waiting.data.split_to(left);
                }
                Some(_) | None => drop(self.out.pop_front()),
            }
        }
    }

    /// Receives what waits, within bounds. What asks for a connection is passed on if its sender may have one.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        may_come: impl Fn(SocketAddr) -> bool,
        queue: &mut Queue,
        events: &mut VecDeque<Event>,
    ) -> Turn {
        while self
            .socket
            .poll_error(&mut self.receive.context())
            .is_ready()
        {
            self.reports.take(events);
        }
        let mut failures = 0;
        let mut received = 0;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        while received + failures < DATAGRAMS_PER_TURN {
            let (state, metas) = (&self.state, &mut self.metas);
            let buffers = &mut self.buffers;
            let result = self
                .socket
                .poll_receive(&mut self.receive.context(), &mut |socket| {
                    pull(state, &socket, buffers, metas)
                });
            match result {
                Poll::Ready(Ok(count)) => {
                    received += count.max(1);
                    let parts = self.buffers.chunks(MAX_DATAGRAM);
                    for (part, meta) in parts.zip(&self.metas).take(count) {
                        let data = keep(&mut self.arena, &part[..meta.len.min(part.len())]);
                        if self.group {
                            let from = meta.addr;
                            events.push_back(Event::Multicast { from, data });
                            continue;
                        }
                        let inbound = inbound(self.id, now, wall, meta, data);
                        if !asks_in(&inbound) || may_come(inbound.from) {
                            events.push_back(Event::Datagram(inbound));
                        }
                    }
                }
                // Some systems report here that an earlier packet did not arrive.
                Poll::Ready(Err(_)) => {
                    failures += 1;
                    self.reports.take(events);
                }
                Poll::Pending => return Turn::Going,
            }
        }
        if received == 0 {
            return Turn::Failing;
        }
        self.receive.requeue(queue);
        Turn::Going
    }
}

/// Copies packets to memory that many of them share.
fn keep(arena: &mut BytesMut, data: &[u8]) -> Bytes {
    if arena.capacity() < data.len() {
        arena.reserve(ARENA.max(data.len()));
    }
    arena.extend_from_slice(data);
    arena.split().freeze()
}

fn inbound(
    id: SocketId,
    now: Instant,
    wall: Option<Duration>,
    meta: &RecvMeta,
    data: Bytes,
) -> Inbound {
    let segment = if meta.stride < data.len() {
        meta.stride as u32
    } else {
        0
    };
    let inbound = Inbound::new(meta.addr, data).in_segments(segment).by(id);
    // The kernel's clock is the time of day, which may be set at any time.
    let waited = wall
        .zip(meta.timestamp)
        .and_then(|(wall, at)| wall.checked_sub(at));
    match waited.filter(|waited| *waited <= MAX_WAIT) {
        Some(waited) => inbound.at(now - waited),
        None => inbound.at(now),
    }
}

/// Whether one of the packets asks for a connection.
fn asks_in(inbound: &Inbound) -> bool {
    let len = match inbound.segment as usize {
        0 => inbound.data.len().max(1),
        len => len,
    };
    inbound.data.chunks(len).any(Packet::is_syn)
}

/// Reads packets into the buffers. How many of the buffers have something in them.
fn pull(
    state: &UdpSocketState,
    socket: &SockRef<'_>,
    buffers: &mut [u8],
    metas: &mut [RecvMeta; BATCH],
) -> io::Result<usize> {
    let mut parts = buffers.chunks_mut(MAX_DATAGRAM);
    let count = parts.len();
    let mut slices: [IoSliceMut<'_>; BATCH] =
        std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
    state.recv(
        UdpSockRef::from(&**socket),
        &mut slices[..count],
        &mut metas[..count],
    )
}

/// Writes as many of the packets as the system takes in one call. How many bytes those are.
fn push(state: &UdpSocketState, socket: &SockRef<'_>, waiting: &Waiting) -> io::Result<usize> {
    let Waiting {
        to, data, segment, ..
    } = waiting;
    // It learns by failing that it takes one only.
    let len = data.len().min(segment * state.max_gso_segments().max(1));
    let is_cut = waiting.may_fragment && *segment > ALWAYS_FITS;
    if is_cut {
        system::let_be_cut(socket, *to, true);
    }
    let result = state.try_send(
        UdpSockRef::from(&**socket),
        &Transmit {
            destination: *to,
            ecn: None,
            contents: &data[..len],
            segment_size: (*segment < len).then_some(*segment),
            src_ip: None,
        },
    );
    if is_cut {
        system::let_be_cut(socket, *to, false);
    }
    result.map(|()| len)
}

#[cfg(target_os = "linux")]
mod system {
    use std::net::SocketAddr;

    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };
    use socket2::SockRef;

    /// Lets packets be cut up on their way, or sees to it that they are not. A system that cannot leaves it as it was.
    pub(super) fn let_be_cut(socket: &SockRef<'_>, to: SocketAddr, cut: bool) {
        let _ = match (to, cut) {
            (SocketAddr::V4(_), true) => set_ip_mtu_discover(&**socket, Ipv4PathMtuDiscovery::DONT),
            (SocketAddr::V4(_), false) => {
                set_ip_mtu_discover(&**socket, Ipv4PathMtuDiscovery::PROBE)
            }
            (SocketAddr::V6(_), true) => {
                set_ipv6_mtu_discover(&**socket, Ipv6PathMtuDiscovery::DONT)
            }
            (SocketAddr::V6(_), false) => {
                set_ipv6_mtu_discover(&**socket, Ipv6PathMtuDiscovery::PROBE)
            }
        };
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::net::SocketAddr;

    use socket2::SockRef;

    pub(super) fn let_be_cut(_: &SockRef<'_>, _: SocketAddr, _: bool) {}
}
