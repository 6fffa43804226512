//! A network in virtual time, for transports: hosts with one uTP socket each, and one bottleneck in each direction
//! between the hosts on the left and those on the right. A bottleneck has a rate, a queue of so many bytes that drops what
//! does not fit, and a delay; on the way, packets may be lost, doubled, overtaken or delayed by chance. Chance comes from
//! the seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use anabranch_core::transport::utp::congestion::{Acked, Congestion, Lost};
use anabranch_core::transport::utp::{
    CloseReason, Config, ConnectionStats, Event, Transmit, Utp, UtpId,
};
use anabranch_core::wire::utp::Packet;
use anabranch_core::{Instant, Seed};
use bytes::Bytes;

/// Chance, as good as it needs to be here.
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something of so many in a million happens.
    fn happens(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }
}

/// What lies between the two sides.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Bits a second, from left to right and back.
    pub(crate) rate: u64,
    /// Of a packet that finds no queue, there and back.
    pub(crate) round_trip: Duration,
    /// Bytes in front of the bottleneck.
    pub(crate) queue: u64,
    /// Packets in a million that are lost, doubled, and delayed by up to `late`.
    pub(crate) loss: u32,
    pub(crate) doubled: u32,
    pub(crate) overtaken: u32,
    pub(crate) late: Duration,
    /// Every packet is delayed by chance, up to so much, without being overtaken.
    pub(crate) jitter: Duration,
    /// The longest IP packet; longer ones vanish, if they must not be cut up.
    pub(crate) mtu: usize,
    /// Packets in a million of which a byte is changed.
    pub(crate) mutated: u32,
}

impl Link {
    pub(crate) fn new(mbit: u64, round_trip_ms: u64, queue_ms: u64) -> Self {
        let rate = mbit * 1_000_000;
        Self {
            rate,
            round_trip: Duration::from_millis(round_trip_ms),
            queue: (rate / 8 * queue_ms / 1_000).max(15_000),
            loss: 0,
            doubled: 0,
            overtaken: 0,
            late: Duration::ZERO,
            jitter: Duration::ZERO,
            mtu: 1_500,
            mutated: 0,
        }
    }

    pub(crate) fn lossy(self, loss: u32) -> Self {
        Self { loss, ..self }
    }
}

/// One direction of the bottleneck.
#[derive(Default)]
struct Pipe {
    /// When what is queued has left.
    free: Instant,
    /// When the packet sent last arrives, so that jitter overtakes nothing.
    last: Instant,
    dropped: u64,
    /// Sum over packets, and the most, of time in the queue.
    waited: Duration,
    passed: u64,
    longest: Duration,
}

impl Pipe {
    /// When a packet arrives; `None` if it is dropped.
    fn pass(&mut self, now: Instant, len: usize, link: &Link) -> Option<Instant> {
        let wait = self.free.since(now);
        let queued = wait.as_nanos() as u64 / 1_000 * (link.rate / 1_000) / 8_000;
        if queued + len as u64 > link.queue {
            self.dropped += 1;
            return None;
        }
        self.waited += wait;
        self.passed += 1;
        self.longest = self.longest.max(wait);
        let takes = Duration::from_nanos(len as u64 * 8 * 1_000_000_000 / link.rate);
        self.free = self.free.max(now) + takes;
        Some(self.free + link.round_trip / 2)
    }
}

/// A host with a socket, and what runs over it.
pub(crate) struct Host {
    pub(crate) addr: SocketAddr,
    pub(crate) utp: Utp,
    pub(crate) events: Vec<Event>,
    wakes: Instant,
    out: Vec<u8>,
}

/// A stream of bytes from one host to another.
pub(crate) struct Flow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    starts: Instant,
    seed: u64,
    /// Bytes to send; as many as there is time for, if none.
    size: Option<u64>,
    given: u64,
    id: Option<UtpId>,
    pub(crate) peer: Option<UtpId>,
    unsent: u64,
    /// Bytes that have arrived, in order and unchanged.
    pub(crate) received: u64,
    /// And at the marks set with [`World::mark`].
    pub(crate) marked: u64,
    pub(crate) ended: [Option<CloseReason>; 2],
    pub(crate) finished: Option<Instant>,
    /// How many bytes its reader takes; all, if none.
    pub(crate) credit: Option<u64>,
}

/// Streams repeat after so many bytes, which no length of packets or blocks divides.
const PERIOD: u64 = 65_521;

/// A block and a period of what every stream is made of.
fn pattern() -> Bytes {
    let mut chance = Chance::new(7);
    let period: Vec<u8> = (0..PERIOD).map(|_| chance.next() as u8).collect();
    let mut bytes = period.clone();
    bytes.extend_from_slice(&period[..BLOCK as usize]);
    Bytes::from(bytes)
}

struct Flying {
    at: Instant,
    order: u64,
    to: usize,
    from: SocketAddr,
    bytes: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) link: Link,
    pub(crate) hosts: Vec<Host>,
    pub(crate) flows: Vec<Flow>,
    pipes: [Pipe; 2],
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    chance: Chance,
    spare: Vec<Vec<u8>>,
    pattern: Bytes,
    /// Whether streams may be damaged, since packets are.
    pub(crate) may_break: bool,
    /// A digest of all that happened.
    pub(crate) trace: u64,
    /// Datagrams that were sent.
    pub(crate) datagrams: u64,
    /// Datagrams that somebody else sends, and when.
    pub(crate) hostile: VecDeque<(Instant, usize, SocketAddr, Vec<u8>)>,
}

const BLOCK: u64 = 16 * 1024;
/// Bytes that a flow has waiting.
const AHEAD: u64 = 1 << 20;

impl World {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            link,
            hosts: Vec::new(),
            flows: Vec::new(),
            pipes: [Pipe::default(), Pipe::default()],
            flying: BinaryHeap::new(),
            order: 0,
            chance: Chance::new(seed),
            spare: Vec::new(),
            pattern: pattern(),
            may_break: false,
            trace: seed,
            datagrams: 0,
            hostile: VecDeque::new(),
        }
    }

    /// Adds a host, even ones on the left and odd ones on the right.
    pub(crate) fn host(&mut self, config: Config) -> usize {
        let at = self.hosts.len();
        self.hosts.push(Host {
            addr: SocketAddr::from(([10, (at % 2) as u8, (at >> 8) as u8, at as u8], 6_881)),
            utp: Utp::new(config, Seed([at as u8 + 1; 32])),
            events: Vec::new(),
            wakes: Instant::FAR,
            out: Vec::new(),
        });
        at
    }

    /// Two hosts, and a flow from the first to the second that starts after some time.
    pub(crate) fn flow(&mut self, config: Config, starts: Duration, size: Option<u64>) -> usize {
        let from = self.host(config.clone());
        let to = self.host(config);
        self.flow_between(from, to, starts, size)
    }

    pub(crate) fn flow_between(
        &mut self,
        from: usize,
        to: usize,
        starts: Duration,
        size: Option<u64>,
    ) -> usize {
        let at = self.flows.len();
        self.flows.push(Flow {
            from,
            to,
            starts: self.now + starts,
            seed: at as u64 + 1,
            size,
            given: 0,
            id: None,
            peer: None,
            unsent: 0,
            received: 0,
            marked: 0,
            ended: [None; 2],
            finished: None,
            credit: None,
        });
        at
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until all flows have ended at both ends, or for so long. Whether they have.
    pub(crate) fn finish(&mut self, within: Duration) -> bool {
        let end = self.now + within;
        while !self
            .flows
            .iter()
            .all(|flow| flow.ended.iter().all(Option::is_some))
        {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Counts rates from now on.
    pub(crate) fn mark(&mut self) {
        for flow in &mut self.flows {
            flow.marked = flow.received;
        }
        self.pipes = self.pipes.each_ref().map(|pipe| Pipe {
            free: pipe.free,
            last: pipe.last,
            ..Pipe::default()
        });
    }

    /// Bytes that a flow has moved since the mark.
    pub(crate) fn moved(&self, flow: usize) -> u64 {
        self.flows[flow].received - self.flows[flow].marked
    }

    /// Time that packets from left to right spent in the queue since the mark, on average and at most.
    pub(crate) fn queued(&self) -> (Duration, Duration) {
        let pipe = &self.pipes[0];
        (pipe.waited / (pipe.passed.max(1) as u32), pipe.longest)
    }

    /// Thousandths of the link that all flows have used since the mark.
    pub(crate) fn used(&self, time: Duration) -> u64 {
        let moved: u64 = (0..self.flows.len()).map(|flow| self.moved(flow)).sum();
        let could = u128::from(self.link.rate) * time.as_millis() / 8_000;
        (u128::from(moved) * 1_000 / could.max(1)) as u64
    }

    fn step(&mut self, end: Instant) -> bool {
        let mut next = self
            .hosts
            .iter()
            .map(|host| host.wakes)
            .min()
            .unwrap_or(Instant::FAR);
        if let Some(Reverse(flying)) = self.flying.peek() {
            next = next.min(flying.at);
        }
        for flow in &self.flows {
            if flow.id.is_none() && flow.ended[0].is_none() {
                next = next.min(flow.starts);
            }
        }
        if let Some((at, ..)) = self.hostile.front() {
            next = next.min(*at);
        }
        if next > end {
            return false;
        }
        assert!(
            next >= self.now || next == Instant::ZERO,
            "a deadline in the past"
        );
        self.now = self.now.max(next);
        let now = self.now;
        let mut touched = None;
        if let Some(at) = self
            .flows
            .iter()
            .position(|flow| flow.id.is_none() && flow.ended[0].is_none() && flow.starts <= now)
        {
            let to = self.hosts[self.flows[at].to].addr;
            let host = self.flows[at].from;
            let id = self.hosts[host]
                .utp
                .connect(now, to)
                .expect("there is room");
            self.flows[at].id = Some(id);
            self.feed(at);
            touched = Some(host);
        } else if self.hostile.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, to, from, bytes)) = self.hostile.pop_front() {
                let host = &mut self.hosts[to];
                host.utp.datagram(now, from, &bytes, now, &mut host.events);
                touched = Some(to);
            }
        } else if self
            .flying
            .peek()
            .is_some_and(|Reverse(flying)| flying.at <= now)
        {
            if let Some(Reverse(flying)) = self.flying.pop() {
                let host = &mut self.hosts[flying.to];
                host.utp
                    .datagram(now, flying.from, &flying.bytes, now, &mut host.events);
                touched = Some(flying.to);
                self.trace = (self.trace ^ now.as_nanos())
                    .wrapping_mul(0x0100_0000_01b3)
                    .wrapping_add(flying.bytes.iter().map(|byte| u64::from(*byte)).sum());
                self.spare.push(flying.bytes);
            }
        } else {
            touched = self.hosts.iter().position(|host| host.wakes <= now);
        }
        if let Some(host) = touched {
            self.serve(host);
        }
        true
    }

    /// What a driver does after an event.
    fn serve(&mut self, at: usize) {
        let now = self.now;
        let mut rounds = 0;
        loop {
            let host = &mut self.hosts[at];
            host.utp.settle(now, &mut host.events);
            let mut out = std::mem::take(&mut host.out);
            while let Some(transmit) = self.next_batch(at, &mut out) {
                for packet in out.chunks(transmit.segment) {
                    self.carry(at, transmit.to, packet, transmit.may_fragment);
                }
            }
            self.hosts[at].out = out;
            self.react(at);
            let deadline = self.hosts[at].utp.deadline();
            rounds += 1;
            assert!(rounds < 1_000, "it never rests");
            if deadline.is_none_or(|at| at > now) {
                self.hosts[at].wakes = deadline.unwrap_or(Instant::FAR);
                return;
            }
        }
    }

    fn carry(&mut self, from: usize, to: SocketAddr, packet: &[u8], may_fragment: bool) {
        self.datagrams += 1;
        assert!(
            Packet::decode(packet).is_ok(),
            "it sends what it does not read itself"
        );
        let Some(target) = self.hosts.iter().position(|host| host.addr == to) else {
            return;
        };
        if packet.len() + 28 > self.link.mtu && !may_fragment {
            return;
        }
        let copies = 1 + u32::from(self.chance.happens(self.link.doubled));
        for _ in 0..copies {
            let now = self.now;
            let pipe = &mut self.pipes[from % 2];
            let Some(mut at) = pipe.pass(now, packet.len() + 28, &self.link) else {
                continue;
            };
            if self.chance.happens(self.link.loss) {
                continue;
            }
            if !self.link.jitter.is_zero() {
                let jitter = self.chance.below(self.link.jitter.as_nanos() as u64);
                at = (at + Duration::from_nanos(jitter)).max(pipe.last);
                pipe.last = at;
            }
            if self.chance.happens(self.link.overtaken) {
                at = at + Duration::from_nanos(self.chance.below(self.link.late.as_nanos() as u64));
            }
            self.order += 1;
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(packet);
            if self.chance.happens(self.link.mutated) {
                let at = self.chance.below(bytes.len().min(40) as u64) as usize;
                bytes[at] ^= 1 << self.chance.below(8);
            }
            self.flying.push(Reverse(Flying {
                at,
                order: self.order,
                to: target,
                from: self.hosts[from].addr,
                bytes,
            }));
        }
    }

    fn next_batch(&mut self, at: usize, out: &mut Vec<u8>) -> Option<Transmit> {
        let now = self.now;
        let host = &mut self.hosts[at];
        host.utp.transmit(now, out, &mut host.events)
    }

    /// Gives a flow more to send.
    fn feed(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let Some(id) = flow.id else { return };
        let utp = &mut self.hosts[flow.from].utp;
        while flow.unsent < AHEAD && flow.ended[0].is_none() {
            let len = flow.size.map_or(BLOCK, |size| BLOCK.min(size - flow.given));
            if len == 0 {
                break;
            }
            let start = ((flow.given + flow.seed * 1_000) % PERIOD) as usize;
            let bytes = self.pattern.slice(start..start + len as usize);
            utp.send(id, bytes).expect("it has room");
            flow.given += len;
            flow.unsent += len;
            if flow.size == Some(flow.given) {
                utp.close(self.now, id);
            }
        }
    }

    /// What the two ends of flows do with events.
    fn react(&mut self, at: usize) {
        let events = std::mem::take(&mut self.hosts[at].events);
        for event in events {
            match event {
                Event::Incoming { id, from } => {
                    let flow = self.flows.iter_mut().find(|flow| {
                        flow.to == at && flow.peer.is_none() && self.hosts[flow.from].addr == from
                    });
                    if let Some(flow) = flow {
                        flow.peer = Some(id);
                        let credit = flow.credit.unwrap_or(u64::MAX);
                        self.hosts[at].utp.credit(id, credit);
                    }
                }
                Event::Connected { .. } => {}
                Event::Readable { id, bytes } => {
                    let flow = self
                        .flows
                        .iter_mut()
                        .find(|flow| flow.to == at && flow.peer == Some(id));
                    let flow = flow.expect("it is of a flow");
                    for part in bytes.chunks(BLOCK as usize) {
                        let start = ((flow.received + flow.seed * 1_000) % PERIOD) as usize;
                        let is_right = part == &self.pattern[start..start + part.len()];
                        assert!(is_right || self.may_break, "at {}", flow.received);
                        flow.received += part.len() as u64;
                    }
                }
                Event::Sent { id, bytes } => {
                    let flow = self
                        .flows
                        .iter()
                        .position(|flow| flow.from == at && flow.id == Some(id));
                    if let Some(flow) = flow {
                        self.flows[flow].unsent -= bytes;
                        self.feed(flow);
                    }
                }
                Event::Finished { id } => {
                    let now = self.now;
                    for flow in &mut self.flows {
                        if flow.to == at && flow.peer == Some(id) {
                            flow.finished = Some(now);
                        }
                    }
                    self.hosts[at].utp.close(now, id);
                }
                Event::Closed { id, reason } => {
                    for flow in &mut self.flows {
                        if flow.from == at && flow.id == Some(id) {
                            flow.ended[0] = Some(reason);
                        } else if flow.to == at && flow.peer == Some(id) {
                            flow.ended[1] = Some(reason);
                        }
                    }
                }
            }
        }
    }

    /// Jain's index of what some flows have moved since the mark, in thousandths.
    pub(crate) fn fairness(&self, flows: &[usize]) -> u64 {
        let moved: Vec<u128> = flows
            .iter()
            .map(|flow| u128::from(self.moved(*flow)))
            .collect();
        let sum: u128 = moved.iter().sum();
        let squares: u128 = moved.iter().map(|moved| moved * moved).sum();
        (sum * sum * 1_000 / (squares * moved.len() as u128).max(1)) as u64
    }
}

/// TCP as most of the world speaks it, as far as congestion goes.
#[derive(Debug)]
pub(crate) struct Tcp {
    packet: u64,
    /// In 256ths of a byte.
    window: u64,
    threshold: u64,
    cubic: Option<Cubic>,
}

/// RFC 9438, in whole numbers.
#[derive(Debug, Default)]
struct Cubic {
    /// The window at the last loss, in packets, and when that was.
    most: u64,
    since: Option<Instant>,
    trip: Duration,
}

impl Tcp {
    pub(crate) fn reno(_: Duration, packet_len: u32) -> Box<dyn Congestion> {
        Box::new(Self::new(packet_len, None))
    }

    pub(crate) fn cubic(_: Duration, packet_len: u32) -> Box<dyn Congestion> {
        Box::new(Self::new(packet_len, Some(Cubic::default())))
    }

    fn new(packet_len: u32, cubic: Option<Cubic>) -> Self {
        let packet = u64::from(packet_len);
        Self {
            packet,
            window: (packet * 10) << 8,
            threshold: u64::MAX,
            cubic,
        }
    }
}

/// The root of the third power, rounded down.
fn cube_root(of: u64) -> u64 {
    let (mut low, mut high) = (0_u64, 2_000_000);
    while low + 1 < high {
        let middle = u64::midpoint(low, high);
        if u128::from(middle).pow(3) <= u128::from(of) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

impl Congestion for Tcp {
    fn acked(&mut self, acked: &Acked) {
        if !acked.limited {
            return;
        }
        let bytes = acked.bytes << 8;
        if self.window < self.threshold {
            self.window += bytes;
            return;
        }
        // As much as Reno in any case.
        let reno = self.packet * bytes / (self.window >> 8);
        let mut more = reno;
        if let Some(cubic) = &mut self.cubic {
            cubic.trip = acked.trip;
            let packets = (self.window >> 8) / self.packet;
            let since = *cubic.since.get_or_insert(acked.now);
            // In milliseconds: 0.4 (t - k)³ + most, with k³ = most × 0.3 / 0.4.
            let k = cube_root(cubic.most * 750_000_000) as i64;
            let time = (acked.now + acked.trip).since(since).as_millis() as i64 - k;
            let target = cubic.most as i64 + (i128::from(time).pow(3) * 4 / 10_000_000_000) as i64;
            if target > packets as i64 {
                let step = ((target - packets as i64) as u64).min(packets / 2).max(1);
                more = more.max(bytes * step / packets.max(1));
            }
        }
        self.window += more;
    }

    fn lost(&mut self, lost: &Lost) {
        if lost.first {
            let packets = (self.window >> 8) / self.packet;
            self.window = match &mut self.cubic {
                Some(cubic) => {
                    cubic.most = packets;
                    cubic.since = Some(lost.now);
                    self.window * 7 / 10
                }
                None => self.window / 2,
            };
            self.window = self.window.max((self.packet * 2) << 8);
            self.threshold = self.window;
        }
    }

    fn timed_out(&mut self, _: Instant) {
        self.threshold = (self.window / 2).max((self.packet * 2) << 8);
        self.window = self.packet << 8;
    }

    fn packet_len(&mut self, len: u32) {
        self.packet = u64::from(len);
    }

    fn window(&self) -> u64 {
        self.window >> 8
    }

    fn pace(&self) -> u64 {
        // Acknowledgements clock it, nearly.
        if self.window < self.threshold { 64 } else { 32 }
    }
}

impl World {
    /// How the sender of a flow fares.
    pub(crate) fn sender(&self, flow: usize) -> Option<ConnectionStats> {
        let flow = &self.flows[flow];
        self.hosts[flow.from].utp.connection(flow.id?)
    }
}

impl World {
    /// Has the receiver of a flow close, too.
    pub(crate) fn close_peer(&mut self, flow: usize) {
        let flow = &self.flows[flow];
        if let Some(peer) = flow.peer {
            let to = flow.to;
            self.hosts[to].utp.close(self.now, peer);
            self.serve(to);
        }
    }

    /// Lets the reader of a flow take more.
    pub(crate) fn give(&mut self, flow: usize, credit: u64) {
        let flow = &self.flows[flow];
        if let Some(peer) = flow.peer {
            let to = flow.to;
            self.hosts[to].utp.credit(peer, credit);
            self.serve(to);
        }
    }

    /// A datagram that is on its way to a host.
    pub(crate) fn last_datagram(&self, to: usize) -> Option<Vec<u8>> {
        let flying = self.flying.iter().map(|Reverse(flying)| flying);
        let last = flying
            .filter(|flying| flying.to == to)
            .max_by_key(|flying| flying.order);
        last.map(|flying| flying.bytes.clone())
    }
}
