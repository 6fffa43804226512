//! What hosts have and do over virtual time.

use std::io::{self, Write};
use std::time::Duration;

use anabranch_core::{Bitfield, Instant};
use bytes::Bytes;

use crate::content::Content;
use crate::host::Traffic;
use crate::world::{HostId, World};

/// Samples of single hosts, at most, all together: some 60 MB.
const MOST_VALUES: usize = 1_000_000;

/// No more samples than this are worth having, and no fewer are of use.
const MOST_SAMPLES: usize = 400;
const LEAST_SAMPLES: usize = 50;

/// Samples of all hosts at regular times. Their number is bounded: when there are too many, every other
/// one is dropped, and the interval doubles.
#[derive(Debug)]
pub struct Metrics {
    roles: Vec<Role>,
    interval: Duration,
    most: usize,
    samples: Vec<Sample>,
    /// When the next sample is due.
    due: Instant,
    /// Whether the last sample is one that stands for the end and not for its turn.
    ended: bool,
    copies: Copies,
}

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It had everything from the beginning.
    Seeder,
    /// It wants everything.
    Peer,
    /// It wants to do harm.
    Hostile,
}

impl Role {
    /// Its name in the CSV file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seeder => "seeder",
            Self::Peer => "peer",
            Self::Hostile => "hostile",
        }
    }
}

/// Everybody at one time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// The virtual time.
    pub at: Instant,
    /// Hosts with an engine that are there.
    pub up: u32,
    /// How many of them have the rarest piece.
    pub copies_min: u32,
    /// How many of them have a piece on average, in thousandths.
    pub copies_mean_permille: u64,
    /// The hosts, in the order of their numbers.
    pub hosts: Vec<HostSample>,
}

/// A host at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostSample {
    /// Whether it is there.
    pub up: bool,
    /// Connections, those being set up included.
    pub connections: u32,
    /// Bytes of verified pieces; of a host that is off, 0.
    pub have: u64,
    /// What it has moved since the beginning.
    pub traffic: Traffic,
}

impl Metrics {
    pub(super) fn new(content: &Content, roles: Vec<Role>, interval: Duration) -> Self {
        let fit = MOST_VALUES / roles.len().max(1);
        Self {
            interval: interval.max(Duration::from_millis(1)),
            // Even, so that the last of them goes when every other one does.
            most: fit.clamp(LEAST_SAMPLES, MOST_SAMPLES) / 2 * 2,
            samples: Vec::new(),
            due: Instant::ZERO,
            ended: false,
            copies: Copies::new(content.pieces(), roles.len()),
            roles,
        }
    }

    /// The samples, by time. The last one is of the end of the run.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What the hosts are there for, in the order of their numbers.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The time between samples as it has become.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Writes everything as CSV, which begins with a line of names. Each sample is a row for each host,
    /// and then one for the swarm: the sums of all hosts, and how many copies there are of the rarest
    /// and of the average piece. Rates are bytes a second since the sample before, payload and protocol.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(
            out,
            "time_s,host,role,up,connections,have,sent,received,payload_sent,payload_received,wasted,\
             send_rate,receive_rate,copies_min,copies_mean"
        )?;
        for (index, sample) in self.samples.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .and_then(|before| self.samples.get(before));
            let since = before.map_or(Duration::ZERO, |before| sample.at.since(before.at));
            let time = Milli(sample.at.as_nanos() / 1_000_000);
            let mut sum = HostSample::default();
            let mut sum_before = Traffic::default();
            for (number, (host, role)) in sample.hosts.iter().zip(&self.roles).enumerate() {
                let before = before.and_then(|before| before.hosts.get(number));
                let before = before.map(|host| host.traffic).unwrap_or_default();
                sum.connections += host.connections;
                sum.have += host.have;
                sum.traffic = sum.traffic.plus(host.traffic);
                sum_before = sum_before.plus(before);
                write!(
                    out,
                    "{time},{number},{},{},",
                    role.name(),
                    u8::from(host.up)
                )?;
                write_values(&mut out, host, &before, since)?;
                writeln!(out, ",,")?;
            }
            write!(out, "{time},,swarm,{},", sample.up)?;
            write_values(&mut out, &sum, &sum_before, since)?;
            let mean = Milli(sample.copies_mean_permille);
            writeln!(out, ",{},{mean}", sample.copies_min)?;
        }
        Ok(())
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes the sample that is due.
    pub(super) fn sample(&mut self, world: &World, content: &Content) {
        if self.samples.len() >= self.most {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.interval *= 2;
        }
        self.take(world, content);
        self.due = self.due + self.interval;
    }

    /// Takes a sample of the end.
    pub(super) fn finish(&mut self, world: &World, content: &Content) {
        if self.samples.last().is_none_or(|last| last.at < world.now()) {
            self.take(world, content);
            self.ended = true;
        }
    }

    /// It was not the end.
    pub(super) fn go_on(&mut self) {
        if std::mem::take(&mut self.ended) {
            self.samples.pop();
        }
    }

    /// Bytes that the peers have, together, as of the last sample.
    pub(super) fn have_of_peers(&self) -> u64 {
        let Some(last) = self.samples.last() else {
            return 0;
        };
        let hosts = last.hosts.iter().zip(&self.roles);
        let peers = hosts.filter(|(_, role)| **role == Role::Peer);
        peers.map(|(host, _)| host.have).sum()
    }

    fn take(&mut self, world: &World, content: &Content) {
        let hash = content.info_hash();
        let mut up = 0;
        let mut hosts = Vec::with_capacity(self.roles.len());
        for (id, role) in (0..).zip(&self.roles) {
            let host = world.host(HostId::new(id));
            let engine = host.engine();
            let torrent = engine.and_then(|engine| engine.torrent(engine.find(&hash)?));
            if *role != Role::Hostile {
                up += u32::from(host.is_up());
                let have = torrent.as_ref().map(|torrent| torrent.have());
                self.copies.update(id as usize, have);
            }
            hosts.push(HostSample {
                up: host.is_up(),
                connections: host.connections(),
                have: torrent.map_or(0, |torrent| bytes_of(content, torrent.have())),
                traffic: host.traffic(),
            });
        }
        self.samples.push(Sample {
            at: world.now(),
            up,
            copies_min: self.copies.min(),
            copies_mean_permille: self.copies.mean_permille(),
            hosts,
        });
    }
}

fn write_values(
    out: &mut impl Write,
    host: &HostSample,
    before: &Traffic,
    since: Duration,
) -> io::Result<()> {
    let traffic = &host.traffic;
    let rate = |now: u64, before: u64| {
        let moved = u128::from(now.saturating_sub(before)) * 1_000_000_000;
        moved.checked_div(since.as_nanos()).unwrap_or(0)
    };
    write!(
        out,
        "{},{},{},{},{},{},{},{},{}",
        host.connections,
        host.have,
        traffic.sent,
        traffic.received,
        traffic.payload_sent,
        traffic.payload_received,
        traffic.wasted,
        rate(traffic.sent, before.sent),
        rate(traffic.received, before.received)
    )
}

/// Bytes of the pieces in a set.
fn bytes_of(content: &Content, have: &Bitfield) -> u64 {
    let last = content.pieces().saturating_sub(1);
    let full = u64::from(content.piece_size(0));
    let missing = if have.contains(last) {
        full - u64::from(content.piece_size(last))
    } else {
        0
    };
    u64::from(have.count()) * full - missing
}

/// How many hosts have each piece, kept up to date by what changes.
#[derive(Debug)]
struct Copies {
    counts: Vec<u32>,
    /// What each host had when it was last looked at, in the form of the wire.
    known: Vec<Bytes>,
    sum: u64,
}

impl Copies {
    fn new(pieces: u32, hosts: usize) -> Self {
        Self {
            counts: vec![0; pieces as usize],
            known: vec![Bytes::new(); hosts],
            sum: 0,
        }
    }

    fn update(&mut self, host: usize, have: Option<&Bitfield>) {
        let Some(known) = self.known.get_mut(host) else {
            return;
        };
        let now = have.map(Bitfield::to_wire).unwrap_or_default();
        for index in 0..known.len().max(now.len()) {
            let [old, new] = [&*known, &now].map(|map| map.get(index).copied().unwrap_or(0));
            if old == new {
                continue;
            }
            for bit in 0..8 {
                let mask = 0x80 >> bit;
                let Some(count) = self.counts.get_mut(index * 8 + bit) else {
                    break;
                };
                match (old & mask != 0, new & mask != 0) {
                    (false, true) => {
                        *count += 1;
                        self.sum += 1;
                    }
                    (true, false) => {
                        *count -= 1;
                        self.sum -= 1;
                    }
                    (true, true) | (false, false) => {}
                }
            }
        }
        *known = now;
    }

    fn min(&self) -> u32 {
        self.counts.iter().copied().min().unwrap_or(0)
    }

    fn mean_permille(&self) -> u64 {
        self.sum * 1_000 / self.counts.len().max(1) as u64
    }
}

/// Thousandths as a decimal number.
struct Milli(u64);

impl std::fmt::Display for Milli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn a_set_of_pieces_has_as_many_bytes_as_they_have() {
        let content = Content::synthetic(1, 100_000, 16 << 10);
        let mut have = Bitfield::new(content.pieces());
        assert_eq!(bytes_of(&content, &have), 0);
        have.insert(6);
        assert_eq!(bytes_of(&content, &have), 100_000 - 6 * (16 << 10));
        have.insert(0);
        assert_eq!(bytes_of(&content, &have), 100_000 - 5 * (16 << 10));
        assert_eq!(bytes_of(&content, &Bitfield::full(7)), 100_000);
    }

    #[test]
    fn too_many_samples_become_fewer_at_regular_times() {
        let content = Content::synthetic(1, 100_000, 16 << 10);
        let mut metrics = Metrics::new(&content, Vec::new(), Duration::from_secs(1));
        let mut world = World::new(1);
        while metrics.interval() < Duration::from_secs(8) {
            world.run_for(metrics.due().since(world.now())).unwrap();
            metrics.sample(&world, &content);
            assert!(metrics.samples().len() <= MOST_SAMPLES);
        }
        let apart = metrics.interval();
        for pair in metrics.samples().windows(2) {
            assert_eq!(pair[1].at.since(pair[0].at), apart);
        }
        // An end is not kept when it was none.
        let regular = metrics.samples().len();
        world.run_for(Duration::from_millis(1)).unwrap();
        metrics.finish(&world, &content);
        assert_eq!(metrics.samples().len(), regular + 1);
        metrics.go_on();
        assert_eq!(metrics.samples().len(), regular);
    }

    quickcheck! {
        fn copies_are_what_counting_gives(maps: Vec<(u8, Vec<u8>)>) -> bool {
            const PIECES: u32 = 21;
            let mut copies = Copies::new(PIECES, 4);
            let mut truth: [Option<Bitfield>; 4] = [const { None }; 4];
            for (host, bits) in maps {
                let host = usize::from(host % 4);
                let mut map = Bitfield::new(PIECES);
                bits.iter().for_each(|bit| {
                    map.insert(u32::from(*bit) % PIECES);
                });
                truth[host] = (!bits.is_empty()).then_some(map);
                copies.update(host, truth[host].as_ref());
            }
            let count = |piece| truth.iter().flatten().filter(|map| map.contains(piece)).count();
            let counts: Vec<u32> = (0..PIECES).map(|piece| count(piece) as u32).collect();
            let sum: u32 = counts.iter().sum();
            copies.counts == counts
                && copies.min() == counts.iter().copied().min().unwrap_or(0)
                && copies.mean_permille() == u64::from(sum) * 1_000 / u64::from(PIECES)
        }
    }
}
