//! What goes wrong in a scenario, as text: presets by name, or files of one's own.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::chance::{Chance, PPM, mix};
use crate::config::{DiskConfig, Link};
use crate::disk::JobKind;
use crate::fault::{Fault, FaultPlan};
use crate::tracker::TrackerMode;
use crate::world::{HostId, TrackerId};

/// Single faults that a plan may consist of, at most.
const MAX_PLAN: usize = 1_000_000;

/// How often something may strike, at most, all faults of a file together.
const MAX_STRIKES: u32 = 10_000;

/// What a file of faults may have of bytes, at most.
const MAX_LEN: usize = 1 << 20;

/// The presets: a name, and the text that [`Faults::parse`] makes them of.
pub const PRESETS: [(&str, &str); 8] = [
    ("none", include_str!("presets/none.toml")),
    ("flaky-network", include_str!("presets/flaky-network.toml")),
    ("partition", include_str!("presets/partition.toml")),
    ("slow-disks", include_str!("presets/slow-disks.toml")),
    ("full-disks", include_str!("presets/full-disks.toml")),
    ("crashes", include_str!("presets/crashes.toml")),
    (
        "tracker-outage",
        include_str!("presets/tracker-outage.toml"),
    ),
    ("hostile-peers", include_str!("presets/hostile-peers.toml")),
];

/// What goes wrong, whatever the size of the swarm and however long it takes: who is meant is a share
/// of the peers, and when is a share of the shortest possible time. None of it by default.
///
/// ```
/// use anabranch_sim::scenario::Faults;
///
/// let faults = Faults::parse(r#"
///     about = "a tenth of the peers lose power, and the tracker is slow all the time"
///
///     [[fault]]
///     what = "crash"
///     who = "10%"
///     at = "20%"
///     for = "30s"
///
///     [[fault]]
///     what = "tracker"
///     mode = "slow"
///     latency = "5s"
///     at = "0s"
/// "#)?;
/// assert!(faults.about().starts_with("a tenth"));
/// # Ok::<(), anabranch_sim::scenario::FaultsError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    about: String,
    troubles: Vec<Trouble>,
    hostile: Vec<(Hostility, Amount)>,
}

/// Why something is no description of faults.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultsError {
    /// It is too long.
    #[error("a file of faults has no more than {MAX_LEN} bytes")]
    TooLong,
    /// It is not TOML, or has something in it that nobody knows.
    #[error("{0}")]
    Format(String),
    /// A fault lacks something that it needs.
    #[error("fault {number} ({what}) needs `{needed}`")]
    Needs {
        /// Which, counted from 1.
        number: usize,
        /// Its kind.
        what: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// A fault has something that means nothing there.
    #[error("fault {number} ({what}): `{unknown}` means nothing there")]
    Meaningless {
        /// Which, counted from 1.
        number: usize,
        /// Its kind.
        what: &'static str,
        /// What it has.
        unknown: &'static str,
    },
    /// There is no such host.
    #[error("there is no host {0} among the seeders and peers")]
    NoHost(u32),
    /// They would strike more often than 10,000 times, or more than a million hosts.
    #[error("these strike more than {MAX_STRIKES} times or {MAX_PLAN} hosts; take fewer of them")]
    TooMany,
}

impl Faults {
    /// A preset.
    pub fn preset(name: &str) -> Option<Self> {
        let (_, text) = PRESETS.iter().find(|(known, _)| *known == name)?;
        // A test reads all of them.
        Self::parse(text).ok()
    }

    /// Reads a description in TOML. `docs/simulation.md` tells everything that it may have.
    ///
    /// # Errors
    ///
    /// It is no such description; the error says where and why.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        if text.len() > MAX_LEN {
            return Err(FaultsError::TooLong);
        }
        let file: File = toml::from_str(text)
            .map_err(|error| FaultsError::Format(error.to_string().trim_end().to_owned()))?;
        let troubles = file.fault.into_iter().enumerate();
        Ok(Self {
            about: file.about,
            troubles: troubles
                .map(|(index, entry)| entry.check(index + 1))
                .collect::<Result<_, _>>()?,
            hostile: file
                .hostile
                .into_iter()
                .map(|entry| (entry.manner, entry.count))
                .collect(),
        })
    }

    /// What it is about, in a line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.troubles.is_empty() && self.hostile.is_empty()
    }

    /// How many hostile peers of each manner there are beside so many others.
    pub(super) fn hostile(&self, peers: u32) -> impl Iterator<Item = (Hostility, u32)> + '_ {
        let hostile = self.hostile.iter();
        hostile.map(move |(hostility, amount)| (*hostility, amount.of(peers)))
    }

    /// The same for one swarm.
    pub(super) fn plan(&self, cast: &Cast) -> Result<FaultPlan, FaultsError> {
        let mut plan = FaultPlan::new();
        let mut left = MAX_STRIKES;
        for (index, trouble) in self.troubles.iter().enumerate() {
            let times = match trouble.every {
                Some(_) => trouble.times,
                None => 1,
            };
            left = left.checked_sub(times).ok_or(FaultsError::TooMany)?;
            for time in 0..times {
                let number = (index as u64) << 32 | u64::from(time);
                let mut chance = Chance::new(mix(cast.seed, number ^ 0xfa17));
                let apart = trouble.every.map_or(Duration::ZERO, |every| every.of(cast));
                let at = trouble.at.of(cast) + apart.saturating_mul(time);
                let end = trouble.lasts.map(|lasts| at + lasts.of(cast));
                trouble.what.strike(cast, &mut chance, at, end, &mut plan)?;
                if plan.len() > MAX_PLAN {
                    return Err(FaultsError::TooMany);
                }
            }
        }
        Ok(plan)
    }
}

/// Who and what there is to be struck.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) seed: u64,
    pub(super) seeders: Range<u32>,
    pub(super) peers: Range<u32>,
    pub(super) tracker: TrackerId,
    /// The shortest possible time.
    pub(super) bound: Duration,
    pub(super) link: Link,
    pub(super) disk: DiskConfig,
    pub(super) loss_ppm: u32,
    pub(super) pieces: u32,
}

/// How a hostile peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Hostility {
    /// It lets everybody in and never says a word.
    Mute,
    /// It answers with random bytes.
    Babbling,
    /// It sends blocks with a wrong byte.
    Corrupt,
    /// It promises everything and sends nothing.
    Stingy,
    /// It sends every block three times.
    Repeating,
    /// It sends keep-alives instead of blocks.
    Flooding,
    /// It breaks the protocol after a block.
    Breaking,
}

/// A fault as it was meant, once it has been found to make sense.
#[derive(Clone, Debug)]
struct Trouble {
    at: When,
    lasts: Option<When>,
    every: Option<When>,
    times: u32,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Crash(Who),
    Leave(Who),
    Partition(Who),
    Reset(Who),
    BlackHole(Who),
    Link {
        who: Who,
        up: Option<u64>,
        down: Option<u64>,
        latency: Option<Duration>,
        jitter: Option<Duration>,
        loss: Option<u32>,
    },
    Loss(u32),
    Disk {
        who: Who,
        rate: Option<u64>,
        latency: Option<Duration>,
    },
    DiskFull(Who),
    DiskError(Who, JobKind),
    Rot(Who),
    CorruptWrites(Who, u32),
    CorruptReads(Who, u32),
    Tracker(TrackerMode),
}

impl What {
    /// Adds what happens at a time, and what ends it.
    fn strike(
        &self,
        cast: &Cast,
        chance: &mut Chance,
        at: Duration,
        end: Option<Duration>,
        plan: &mut FaultPlan,
    ) -> Result<(), FaultsError> {
        let mut each = |who: &Who,
                        begins: &mut dyn FnMut(HostId, &mut Chance) -> Fault,
                        ends: &dyn Fn(HostId) -> Option<Fault>| {
            for host in who.draw(cast, chance)? {
                plan.push((at, begins(host, chance)));
                if let (Some(end), Some(fault)) = (end, ends(host)) {
                    plan.push((end, fault));
                }
            }
            Ok(())
        };
        match self {
            Self::Crash(who) => each(who, &mut |host, _| Fault::Crash(host), &|host| {
                Some(Fault::Restart(host))
            }),
            Self::Leave(who) => each(who, &mut |host, _| Fault::Leave(host), &|host| {
                Some(Fault::Restart(host))
            }),
            Self::Reset(who) => each(who, &mut |host, _| Fault::ResetConnections(host), &|_| None),
            Self::BlackHole(who) => each(who, &mut |host, _| Fault::BlackHole(host), &|_| None),
            Self::Link {
                who,
                up,
                down,
                latency,
                jitter,
                loss,
            } => {
                let mut link = cast.link;
                link.up = up.or(link.up);
                link.down = down.or(link.down);
                link.latency = latency.unwrap_or(link.latency);
                link.jitter = jitter.unwrap_or(link.jitter);
                link.loss_ppm = loss.unwrap_or(link.loss_ppm);
                each(who, &mut |host, _| Fault::Link(host, link), &|host| {
                    Some(Fault::Link(host, cast.link))
                })
            }
            Self::Disk { who, rate, latency } => {
                let mut disk = cast.disk;
                disk.rate = rate.or(disk.rate);
                disk.latency = latency.unwrap_or(disk.latency);
                each(who, &mut |host, _| Fault::Disk(host, disk), &|host| {
                    Some(Fault::Disk(host, cast.disk))
                })
            }
            Self::DiskFull(who) => each(who, &mut |host, _| Fault::DiskFull(host, true), &|host| {
                Some(Fault::DiskFull(host, false))
            }),
            Self::DiskError(who, kind) => each(
                who,
                &mut |host, _| Fault::DiskError(host, *kind, 0),
                &|_| None,
            ),
            Self::Rot(who) => {
                let begins = &mut |host, chance: &mut Chance| Fault::Rot {
                    host,
                    torrent: 0,
                    piece: chance.below(u64::from(cast.pieces)) as u32,
                    offset: 0,
                };
                each(who, begins, &|_| None)
            }
            Self::CorruptWrites(who, ppm) => each(
                who,
                &mut |host, _| Fault::CorruptWrites(host, *ppm),
                &|host| Some(Fault::CorruptWrites(host, 0)),
            ),
            Self::CorruptReads(who, ppm) => each(
                who,
                &mut |host, _| Fault::CorruptReads(host, *ppm),
                &|host| Some(Fault::CorruptReads(host, 0)),
            ),
            Self::Partition(who) => {
                plan.push((at, Fault::Partition(who.draw(cast, chance)?)));
                plan.extend(end.map(|end| (end, Fault::Heal)));
                Ok(())
            }
            Self::Loss(ppm) => {
                plan.push((at, Fault::Loss(*ppm)));
                plan.extend(end.map(|end| (end, Fault::Loss(cast.loss_ppm))));
                Ok(())
            }
            Self::Tracker(mode) => {
                let working = Fault::Tracker(cast.tracker, TrackerMode::Working);
                plan.push((at, Fault::Tracker(cast.tracker, mode.clone())));
                plan.extend(end.map(|end| (end, working)));
                Ok(())
            }
        }
    }
}

/// A time: as such, or in a million of the shortest possible time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum When {
    After(Duration),
    Share(u32),
}

impl When {
    fn of(self, cast: &Cast) -> Duration {
        match self {
            Self::After(time) => time,
            Self::Share(ppm) => {
                let nanos = cast.bound.as_nanos() * u128::from(ppm) / u128::from(PPM);
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        }
    }
}

impl TryFrom<String> for When {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(ppm) = percent(&text) {
            return Ok(Self::Share(ppm));
        }
        let time = duration(&text).map(Self::After);
        time.ok_or("not a time; write \"20%\" of the shortest possible time, or \"90s\", \"1m30s\", \"200ms\"")
    }
}

/// Hosts that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Who {
    All,
    Seeders,
    Peers,
    /// So many of the peers, by lot.
    Some(Amount),
    Host(u32),
}

impl Who {
    fn draw(&self, cast: &Cast, chance: &mut Chance) -> Result<Vec<HostId>, FaultsError> {
        let hosts: Vec<u32> = match self {
            Self::All => (0..cast.peers.end).collect(),
            Self::Seeders => cast.seeders.clone().collect(),
            Self::Peers => cast.peers.clone().collect(),
            Self::Host(host) if *host < cast.peers.end => vec![*host],
            Self::Host(host) => return Err(FaultsError::NoHost(*host)),
            Self::Some(amount) => {
                let mut hosts: Vec<u32> = cast.peers.clone().collect();
                let count = (amount.of(hosts.len() as u32) as usize).min(hosts.len());
                for index in 0..count {
                    let left = (hosts.len() - index) as u64;
                    hosts.swap(index, index + chance.below(left) as usize);
                }
                hosts.truncate(count);
                hosts
            }
        };
        Ok(hosts.into_iter().map(HostId::new).collect())
    }
}

impl TryFrom<String> for Who {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let who = match text.as_str() {
            "all" => Some(Self::All),
            "seeders" => Some(Self::Seeders),
            "peers" => Some(Self::Peers),
            other => match other.strip_prefix("host ") {
                Some(number) => number.trim().parse().ok().map(Self::Host),
                None => Amount::try_from(text).ok().map(Self::Some),
            },
        };
        who.ok_or("not known; write \"all\", \"seeders\", \"peers\", \"host 3\", or so many peers: \"10%\" or \"5\"")
    }
}

/// A number, or a share in a million, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Amount {
    Number(u32),
    Share(u32),
}

impl Amount {
    fn of(self, all: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Share(ppm) => {
                let some = (u64::from(all) * u64::from(ppm)).div_ceil(u64::from(PPM));
                u32::try_from(some).unwrap_or(u32::MAX)
            }
        }
    }
}

impl TryFrom<String> for Amount {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match percent(&text) {
            Some(ppm) if ppm <= PPM => Ok(Self::Share(ppm)),
            Some(_) => Err("more than \"100%\" are not there"),
            None => text
                .parse()
                .map(Self::Number)
                .map_err(|_| "not an amount; write \"10%\" or \"5\""),
        }
    }
}

/// A share in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Share(u32);

impl TryFrom<String> for Share {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let ppm = percent(&text).filter(|ppm| *ppm <= PPM);
        ppm.map(Self)
            .ok_or("not a share; write for example \"5%\" or \"0.1%\"")
    }
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    about: String,
    #[serde(default)]
    fault: Vec<Entry>,
    #[serde(default)]
    hostile: Vec<HostileEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostileEntry {
    manner: Hostility,
    count: Amount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    what: Kind,
    at: When,
    #[serde(rename = "for")]
    lasts: Option<When>,
    every: Option<When>,
    times: Option<u32>,
    who: Option<Who>,
    share: Option<Share>,
    up: Option<u64>,
    down: Option<u64>,
    rate: Option<u64>,
    latency: Option<When>,
    jitter: Option<When>,
    loss: Option<Share>,
    mode: Option<Mode>,
    job: Option<Job>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Crash,
    Leave,
    Partition,
    Reset,
    BlackHole,
    Link,
    Loss,
    Disk,
    DiskFull,
    DiskError,
    Rot,
    CorruptWrites,
    CorruptReads,
    Tracker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Refusing,
    Silent,
    Slow,
    Lying,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Job {
    Open,
    Verify,
    Store,
    Write,
    Read,
    Checkpoint,
    Probe,
}

impl Entry {
    /// Looks whether it has what it needs, and nothing else.
    fn check(mut self, number: usize) -> Result<Trouble, FaultsError> {
        let kind = self.what;
        let what = kind.name();
        let needs = |needed| FaultsError::Needs {
            number,
            what,
            needed,
        };
        // Each kind takes what belongs to it; what is left then belongs to none.
        let mut who = || self.who.take().ok_or(needs("who"));
        let parsed = match kind {
            Kind::Crash => What::Crash(who()?),
            Kind::Leave => What::Leave(who()?),
            Kind::Partition => What::Partition(who()?),
            Kind::Reset => What::Reset(who()?),
            Kind::BlackHole => What::BlackHole(who()?),
            Kind::DiskFull => What::DiskFull(who()?),
            Kind::Rot => What::Rot(who()?),
            Kind::Link => What::Link {
                who: who()?,
                up: self.up.take().map(|rate| rate.max(1)),
                down: self.down.take().map(|rate| rate.max(1)),
                latency: self.take_latency(number)?,
                jitter: match self.jitter.take() {
                    None => None,
                    Some(jitter) => Some(self.time(number, "jitter", jitter)?),
                },
                loss: self.loss.take().map(|share| share.0),
            },
            Kind::Disk => What::Disk {
                who: who()?,
                rate: self.rate.take().map(|rate| rate.max(1)),
                latency: self.take_latency(number)?,
            },
            Kind::DiskError => {
                let job = self.job.take().ok_or(needs("job"))?;
                What::DiskError(who()?, job.kind())
            }
            Kind::CorruptWrites => {
                let share = self.share.take().ok_or(needs("share"))?;
                What::CorruptWrites(who()?, share.0)
            }
            Kind::CorruptReads => {
                let share = self.share.take().ok_or(needs("share"))?;
                What::CorruptReads(who()?, share.0)
            }
            Kind::Loss => What::Loss(self.share.take().ok_or(needs("share"))?.0),
            Kind::Tracker => What::Tracker(match self.mode.take().ok_or(needs("mode"))? {
                Mode::Refusing => TrackerMode::Refusing,
                Mode::Silent => TrackerMode::Silent,
                Mode::Slow => {
                    let latency = self.take_latency(number)?;
                    TrackerMode::Slow(latency.ok_or(needs("latency"))?)
                }
                Mode::Lying => TrackerMode::Lying(bytes::Bytes::from_static(b"i0e")),
                Mode::Broken => TrackerMode::Status(500),
            }),
        };
        let momentary = matches!(
            kind,
            Kind::Reset | Kind::BlackHole | Kind::DiskError | Kind::Rot
        );
        let lasts = self.lasts;
        if momentary && lasts.is_some() {
            return Err(FaultsError::Meaningless {
                number,
                what,
                unknown: "for",
            });
        }
        match self.left() {
            Some(unknown) => Err(FaultsError::Meaningless {
                number,
                what,
                unknown,
            }),
            None => match (self.every, self.times) {
                (Some(_), None) => Err(needs("times")),
                (None, Some(_)) => Err(needs("every")),
                (Some(_), Some(_)) | (None, None) => Ok(Trouble {
                    at: self.at,
                    lasts,
                    every: self.every,
                    times: self.times.unwrap_or(1),
                    what: parsed,
                }),
            },
        }
    }

    fn take_latency(&mut self, number: usize) -> Result<Option<Duration>, FaultsError> {
        match self.latency.take() {
            None => Ok(None),
            Some(latency) => self.time(number, "latency", latency).map(Some),
        }
    }

    /// Latency and jitter are no shares of anything.
    fn time(&self, number: usize, name: &str, when: When) -> Result<Duration, FaultsError> {
        match when {
            When::After(time) => Ok(time),
            When::Share(_) => Err(FaultsError::Format(format!(
                "fault {number} ({}): a {name} is a time such as \"20ms\"",
                self.what.name()
            ))),
        }
    }

    fn left(&self) -> Option<&'static str> {
        let left = [
            ("who", self.who.is_some()),
            ("share", self.share.is_some()),
            ("up", self.up.is_some()),
            ("down", self.down.is_some()),
            ("rate", self.rate.is_some()),
            ("latency", self.latency.is_some()),
            ("jitter", self.jitter.is_some()),
            ("loss", self.loss.is_some()),
            ("mode", self.mode.is_some()),
            ("job", self.job.is_some()),
        ];
        left.into_iter()
            .find_map(|(name, there)| there.then_some(name))
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Leave => "leave",
            Self::Partition => "partition",
            Self::Reset => "reset",
            Self::BlackHole => "black-hole",
            Self::Link => "link",
            Self::Loss => "loss",
            Self::Disk => "disk",
            Self::DiskFull => "disk-full",
            Self::DiskError => "disk-error",
            Self::Rot => "rot",
            Self::CorruptWrites => "corrupt-writes",
            Self::CorruptReads => "corrupt-reads",
            Self::Tracker => "tracker",
        }
    }
}

impl Job {
    const fn kind(self) -> JobKind {
        match self {
            Self::Open => JobKind::Open,
            Self::Verify => JobKind::Verify,
            Self::Store => JobKind::Store,
            Self::Write => JobKind::Write,
            Self::Read => JobKind::Read,
            Self::Checkpoint => JobKind::Checkpoint,
            Self::Probe => JobKind::Probe,
        }
    }
}

/// `12.5%` in a million; of no more than a thousand times the whole.
fn percent(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100_000)?;
    let fraction: u32 = format!("{fraction:0<4}").parse().ok()?;
    Some(whole * 10_000 + fraction)
}

/// `90s`, `200ms`, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(scale)?;
        millis = millis.checked_add(part)?;
        rest = tail;
    }
    // A year is longer than anybody waits, and far from overflowing.
    let longest = Duration::from_secs(366 * 86_400);
    let time = Duration::from_millis(millis);
    (time <= longest).then_some(time)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn cast() -> Cast {
        let mut world = crate::World::new(1);
        Cast {
            seed: 1,
            seeders: 0..2,
            peers: 2..22,
            tracker: world.add_tracker(Duration::from_secs(60)),
            bound: Duration::from_secs(100),
            link: Link::default(),
            disk: DiskConfig::default(),
            loss_ppm: 5,
            pieces: 7,
        }
    }

    fn plan(text: &str) -> FaultPlan {
        Faults::parse(text).unwrap().plan(&cast()).unwrap()
    }

    fn wrong(text: &str) -> String {
        Faults::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn presets_can_be_read_and_say_what_they_are_about() {
        for (name, text) in PRESETS {
            let faults = Faults::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!faults.about().is_empty(), "{name}");
            assert_eq!(faults.is_empty(), name == "none");
            faults.plan(&cast()).unwrap();
        }
        assert!(Faults::preset("earthquake").is_none());
    }

    #[test]
    fn shares_of_time_and_of_peers_are_those_of_the_swarm() {
        let plan = plan(
            "[[fault]]\nwhat = \"crash\"\nwho = \"10%\"\nat = \"20%\"\nfor = \"5s\"\nevery = \"50%\"\ntimes = 2",
        );
        let times: Vec<u64> = plan.iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(times, [20, 25, 20, 25, 70, 75, 70, 75]);
        for pair in plan.chunks(2) {
            let [(_, Fault::Crash(crashed)), (_, Fault::Restart(back))] = pair else {
                panic!("{pair:?}");
            };
            assert_eq!(crashed, back);
            assert!((2..22).contains(&crashed.index()), "a peer");
        }
    }

    #[test]
    fn what_ends_goes_back_to_what_it_was() {
        let plan = plan("[[fault]]\nwhat = \"loss\"\nshare = \"3%\"\nat = \"1s\"\nfor = \"1m\"");
        assert!(
            matches!(plan[..], [(_, Fault::Loss(30_000)), (end, Fault::Loss(5))] if end.as_secs() == 61)
        );
    }

    #[test]
    fn a_link_may_lose_and_delay_and_goes_back_to_what_it_was() {
        let plan = plan(
            "[[fault]]\nwhat = \"link\"\nwho = \"host 3\"\nat = \"1s\"\nfor = \"1m\"\njitter = \"20ms\"\nloss = \"2%\"",
        );
        let links: Vec<_> = plan
            .iter()
            .map(|(_, fault)| {
                let Fault::Link(host, link) = fault else {
                    panic!("{fault:?}");
                };
                (host.index(), link.jitter.as_millis(), link.loss_ppm)
            })
            .collect();
        assert_eq!(links, [(3, 20, 20_000), (3, 0, 0)]);
    }

    #[test]
    fn nobody_is_drawn_twice_at_once() {
        let plan = plan("[[fault]]\nwhat = \"reset\"\nwho = \"100%\"\nat = \"1s\"");
        let mut hosts = Vec::new();
        for (_, fault) in plan {
            let Fault::ResetConnections(host) = fault else {
                panic!("{fault:?}");
            };
            hosts.push(host.index());
        }
        hosts.sort_unstable();
        assert_eq!(hosts, (2..22).collect::<Vec<_>>());
    }

    #[test]
    fn mistakes_are_told() {
        let what = wrong("[[fault]]\nwhat = \"crash\"\nat = \"1s\"");
        assert_eq!(what, "fault 1 (crash) needs `who`");
        let what = wrong("[[fault]]\nwhat = \"crash\"\nwho = \"5\"\nat = \"1s\"\nshare = \"1%\"");
        assert_eq!(what, "fault 1 (crash): `share` means nothing there");
        let what = wrong("[[fault]]\nwhat = \"rot\"\nwho = \"5\"\nat = \"1s\"\nfor = \"1s\"");
        assert_eq!(what, "fault 1 (rot): `for` means nothing there");
        let what = wrong("[[fault]]\nwhat = \"reset\"\nwho = \"5\"\nat = \"1s\"\nevery = \"1s\"");
        assert_eq!(what, "fault 1 (reset) needs `times`");
        let what = wrong("[[fault]]\nwhat = \"meteor\"\nat = \"1s\"");
        assert!(what.contains("line 2") && what.contains("meteor"), "{what}");
        let what = wrong("[[fault]]\nwhat = \"loss\"\nat = \"soon\"\nshare = \"1%\"");
        assert!(what.contains("not a time"), "{what}");
        let what = wrong("[[fault]]\nwhat = \"loss\"\nat = \"1s\"\nshare = \"101%\"");
        assert!(what.contains("not a share"), "{what}");
        let what =
            wrong("[[fault]]\nwhat = \"disk\"\nwho = \"all\"\nat = \"1s\"\nlatency = \"1%\"");
        assert!(what.contains("a latency is a time"), "{what}");
        assert!(wrong("faults = 3").contains("unknown field"));
        assert!(matches!(
            Faults::parse(&" ".repeat(MAX_LEN + 1)),
            Err(FaultsError::TooLong)
        ));
    }

    #[test]
    fn hosts_that_are_not_there_and_plans_without_end_are_refused() {
        let there = Faults::parse("[[fault]]\nwhat = \"reset\"\nwho = \"host 21\"\nat = \"1s\"");
        assert!(there.unwrap().plan(&cast()).is_ok());
        let not = Faults::parse("[[fault]]\nwhat = \"reset\"\nwho = \"host 22\"\nat = \"1s\"");
        assert_eq!(
            not.unwrap().plan(&cast()).err(),
            Some(FaultsError::NoHost(22))
        );
        let many = Faults::parse(
            "[[fault]]\nwhat = \"reset\"\nwho = \"all\"\nat = \"1s\"\nevery = \"1ms\"\ntimes = 4000000000",
        );
        assert_eq!(
            many.unwrap().plan(&cast()).err(),
            Some(FaultsError::TooMany)
        );
        // Nobody is meant, and time goes on.
        let none = Faults::parse(
            "[[fault]]\nwhat = \"reset\"\nwho = \"0\"\nat = \"1s\"\nevery = \"1ms\"\ntimes = 4000000000",
        );
        assert_eq!(
            none.unwrap().plan(&cast()).err(),
            Some(FaultsError::TooMany)
        );
    }

    #[test]
    fn percentages_and_durations() {
        assert_eq!(percent("12.5%"), Some(125_000));
        assert_eq!(percent("0.0001%"), Some(1));
        assert_eq!(percent("100 %"), Some(PPM));
        assert!(
            ["%", "1", "-1%", "1.%", ".5%", "1.00001%", "999999%"]
                .iter()
                .all(|text| percent(text).is_none())
        );
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("200ms"), Some(Duration::from_millis(200)));
        assert!(
            ["", "1", "s", "1d", "1.5s", "9999999h"]
                .iter()
                .all(|text| duration(text).is_none())
        );
    }

    quickcheck! {
        fn nothing_typed_panics(text: String) -> bool {
            let _ = (percent(&text), duration(&text), Faults::parse(&text));
            let fault = format!("[[fault]]\nwhat = \"crash\"\nwho = {text:?}\nat = {text:?}");
            let _ = Faults::parse(&fault);
            true
        }
    }
}
