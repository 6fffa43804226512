//! What a world, a host, a link and a disk are like.

use std::time::Duration;

use anabranch_core::Config;

/// What holds for a whole world. Make one with [`WorldConfig::new`] and change what matters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorldConfig {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// The shortest time from one host to another, one way. Default 10 ms.
    pub latency_min: Duration,
    /// The longest time. Each pair of hosts has one of its own in between, which follows from the seed.
    /// Default 50 ms.
    pub latency_max: Duration,
    /// What is added to that at random, packet by packet, at most. UDP packets overtake each other by
    /// it; streams stay in order. Default 0.
    pub jitter: Duration,
    /// UDP packets, and packets of streams of 1,460 bytes, that are lost, in a million. What a stream
    /// loses is sent again. Default 0.
    pub loss_ppm: u32,
    /// UDP packets that arrive twice, in a million. Default 0.
    pub duplicate_ppm: u32,
    /// How long a stream goes on sending into nothing before it ends with a time-out. Default 2 min.
    pub give_up: Duration,
    /// How long a look-up of a name takes. Default 20 ms.
    pub dns_latency: Duration,
    /// How long a look-up goes on that nobody answers. Default 10 s.
    pub dns_timeout: Duration,
    /// What is checked while the world runs.
    pub checks: Checks,
}

impl WorldConfig {
    /// The defaults, and a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            latency_min: Duration::from_millis(10),
            latency_max: Duration::from_millis(50),
            jitter: Duration::ZERO,
            loss_ppm: 0,
            duplicate_ppm: 0,
            give_up: Duration::from_secs(120),
            dns_latency: Duration::from_millis(20),
            dns_timeout: Duration::from_secs(10),
            checks: Checks::default(),
        }
    }
}

/// What is checked while a world runs. The checks that cost next to nothing are always on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Checks {
    /// Every how many events of a host [`Engine::check`](anabranch_core::Engine::check) is called; 0 is
    /// never. Default 64.
    pub invariants_every: u64,
    /// How long a torrent may get no further although a host with all of it is within reach, before the
    /// run fails. Counted from the last fault. Default 75 min: longer than a tracker that failed is left
    /// alone.
    pub patience: Duration,
    /// Ticks at the same instant, or ticks one after the other that do nothing, before that counts as
    /// spinning. Default 4,096.
    pub idle_ticks: u32,
    /// Whether every [`Notice`](anabranch_core::Notice) is kept. They add up in large swarms.
    /// Default true.
    pub keep_notices: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            invariants_every: 64,
            patience: Duration::from_secs(75 * 60),
            idle_ticks: 4_096,
            keep_notices: true,
        }
    }
}

/// What a host is like.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HostConfig {
    /// Its engine.
    pub engine: Config,
    /// Its way to the network.
    pub link: Link,
    /// Which addresses it has.
    pub family: Family,
    /// Who can reach it.
    pub nat: Nat,
    /// Its disk.
    pub disk: DiskConfig,
    /// How received bytes are cut up.
    pub chop: Chop,
    /// By how much a deadline is missed, at most; at random.
    pub tick_delay: Duration,
    /// Ticks that nobody asked for, after a million events.
    pub spurious_ticks_ppm: u32,
}

impl HostConfig {
    /// A host with a symmetric link, in bytes a second.
    pub fn with_rate(rate: u64) -> Self {
        Self::with_rates(rate, rate)
    }

    /// A host that can send `up` and receive `down` bytes a second.
    pub fn with_rates(up: u64, down: u64) -> Self {
        Self {
            link: Link {
                up: Some(up),
                down: Some(down),
                ..Link::default()
            },
            ..Self::default()
        }
    }
}

/// A host's way to the network. Rates count what connections and packets carry, without their headers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Link {
    /// Bytes a second that it can send; none is no limit. Connections share it fairly.
    pub up: Option<u64>,
    /// Bytes a second that it can receive; none is no limit.
    pub down: Option<u64>,
    /// Bytes that wait before the last hop to it; more are dropped. Also bounds its UDP packets that
    /// wait to be sent. Default 1 MiB.
    pub queue: u64,
    /// What it adds to the latency of everything that it sends and receives. Default 0.
    pub latency: Duration,
    /// What it adds to that at random, packet by packet, at most; beside that of the
    /// [world](WorldConfig::jitter) and of the link at the other end. Default 0.
    pub jitter: Duration,
    /// Packets that it loses, in either direction, in a million; beside those that are lost
    /// [everywhere](WorldConfig::loss_ppm) and on the link at the other end. Default 0.
    pub loss_ppm: u32,
    /// Received bytes of a stream that wait for the application, at most: the receive window.
    /// Default 4 MiB.
    pub receive_buffer: u64,
    /// Bytes of a stream that are with the operating system and not acknowledged, at most; it starts
    /// with 64 KiB and grows with what is in flight. Default 4 MiB.
    pub send_buffer: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            up: None,
            down: None,
            queue: 1 << 20,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            receive_buffer: 4 << 20,
            send_buffer: 4 << 20,
        }
    }
}

/// Which addresses a host has. Hosts that have no family in common do not reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// One of IPv4.
    #[default]
    V4,
    /// One of IPv6.
    V6,
    /// One of each.
    Both,
}

/// Who can reach a host from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nat {
    /// Everybody.
    #[default]
    None,
    /// It cannot be dialled. Packets reach it from everybody once it has sent one to anybody.
    FullCone,
    /// It cannot be dialled. Packets reach it from hosts that it has sent one to.
    Restricted,
    /// It cannot be dialled. Every destination sees it under another port, and only that destination's
    /// packets reach it there.
    Symmetric,
    /// It cannot be dialled, and packets reach it only as answers: a firewall that changes no ports.
    Firewall,
}

/// What a disk is like.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DiskConfig {
    /// What every operation takes. Default 100 µs.
    pub latency: Duration,
    /// Bytes a second read or written; none is no limit. Default 200 MB/s.
    pub rate: Option<u64>,
    /// Bytes a second hashed; none is no limit. Default 800 MB/s.
    pub hash_rate: Option<u64>,
    /// Bytes that fit; none is no limit. Default none.
    pub capacity: Option<u64>,
    /// What is added to the time of every operation at random, at most, so that operations end in any
    /// order. Default 0.
    pub shuffle: Duration,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(100),
            rate: Some(200_000_000),
            hash_rate: Some(800_000_000),
            capacity: None,
            shuffle: Duration::ZERO,
        }
    }
}

/// How the bytes of a stream are cut up when they are handed to the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chop {
    /// As they were sent, small ones joined.
    #[default]
    AsSent,
    /// Into parts of random length, at most so many bytes each, across what was sent.
    Random(u32),
}

/// How long `bytes` take at `rate` bytes a second; no time without a limit.
pub(crate) fn time_for(bytes: u64, rate: Option<u64>) -> Duration {
    let Some(rate) = rate else {
        return Duration::ZERO;
    };
    let nanos = match bytes.checked_mul(1_000_000_000) {
        Some(product) => product / rate.max(1),
        None => u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1)))
            .unwrap_or(u64::MAX),
    };
    Duration::from_nanos(nanos)
}
