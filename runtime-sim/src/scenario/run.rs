//! A scenario under way.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use anabranch_core::Instant;
use anabranch_core::command::AddTorrent;

use super::faults::{Cast, Hostility};
use super::metrics::{Metrics, Role};
use super::report::Report;
use super::{LEAST_TIME, Scenario, ScenarioError, plot};
use crate::actor::{Babbler, Manner, Mute, ScriptedSeed};
use crate::chance::{Chance, PPM, mix};
use crate::config::{HostConfig, WorldConfig};
use crate::content::Content;
use crate::failure::Failure;
use crate::fault::{Fault, FaultPlan};
use crate::world::{HostId, TrackerId, World};

/// How often the tracker wants to be asked.
const ANNOUNCE: Duration = Duration::from_secs(600);

/// After so many happenings whoever watches is told, whatever the virtual time.
const GLANCE: u32 = 4_096;

/// What leaves by churn is drawn for so much time at once.
const CHURN_SPAN: Duration = Duration::from_secs(60);

/// Hostile peers that each peer is told of, at most.
const TOLD: u64 = 8;

/// A scenario under way.
#[derive(Debug)]
pub struct Run {
    pub(super) scenario: Scenario,
    pub(super) world: World,
    pub(super) content: Content,
    pub(super) seeders: Range<u32>,
    pub(super) peers: Range<u32>,
    pub(super) metrics: Metrics,
    pub(super) bound: Duration,
    /// When something goes wrong, and how many hosts that concerns.
    pub(super) struck: Vec<Duration>,
    until: Instant,
    churn: Chance,
    churn_at: Instant,
    last_fault: Instant,
    end: Option<End>,
}

/// Why a run does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Every peer has everything.
    Complete,
    /// The time is up.
    TimeUp,
    /// The peers that do not have everything are off, and none comes back.
    Deserted,
    /// Whoever watches said so. It can go on.
    Paused,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The virtual time.
    pub now: Duration,
    /// How many things have happened.
    pub happened: u64,
    /// Peers.
    pub peers: u32,
    /// Those of them that have had everything.
    pub complete: u32,
    /// Bytes that the peers have, together, as of the last sample.
    pub have: u64,
    /// Bytes that they want.
    pub wanted: u64,
}

impl Run {
    pub(super) fn new(
        scenario: Scenario,
        piece_length: u32,
        prepare: impl FnOnce(&mut World),
    ) -> Result<Self, ScenarioError> {
        let mut config = WorldConfig::new(scenario.seed);
        config.latency_min = scenario.latency / 2;
        config.latency_max = scenario.latency / 2 + scenario.latency;
        config.jitter = scenario.jitter;
        config.loss_ppm = scenario.loss_ppm;
        config.checks = scenario.checks.clone();
        let mut world = World::with_config(config);
        prepare(&mut world);

        let content = Content::synthetic(scenario.seed, scenario.size, piece_length);
        let tracker = world.add_tracker(ANNOUNCE);
        let seeders = 0..scenario.seeders;
        let peers = scenario.seeders..scenario.seeders + scenario.peers;
        let mut host = HostConfig {
            link: scenario.link(),
            ..HostConfig::default()
        };
        host.engine.transports = scenario.transports;
        for _ in 0..peers.end {
            world.add_host(host.clone());
        }
        let hostile = add_hostile(&mut world, &scenario, &content, &host);
        add_torrents(&mut world, &scenario, &content, tracker, &hostile)?;

        let bound = scenario.bound();
        let plan = scenario.faults.plan(&Cast {
            seed: scenario.seed,
            seeders: seeders.clone(),
            peers: peers.clone(),
            tracker,
            bound,
            link: host.link,
            disk: host.disk,
            loss_ppm: scenario.loss_ppm,
            pieces: content.pieces(),
        })?;
        world.schedule_all(&plan);
        let last = plan.iter().map(|(at, _)| *at).max();

        let roles = seeders.clone().map(|_| Role::Seeder);
        let roles = roles.chain(peers.clone().map(|_| Role::Peer));
        let roles = roles.chain(hostile.iter().map(|_| Role::Hostile));
        let interval = scenario.sample_every.unwrap_or(bound / 200);
        let until = scenario.until.unwrap_or((bound * 10).max(LEAST_TIME));
        Ok(Self {
            churn: Chance::new(mix(scenario.seed, 0xc0de)),
            metrics: Metrics::new(&content, roles.collect(), interval),
            world,
            content,
            seeders,
            peers,
            bound,
            struck: strikes(&plan),
            until: Instant::ZERO + until,
            churn_at: Instant::ZERO,
            last_fault: Instant::ZERO + last.unwrap_or_default(),
            end: None,
            scenario,
        })
    }

    /// Runs on until it ends, or until `watch` breaks off: then it can be called again. `watch` is told
    /// at every sample and after some thousand happenings.
    ///
    /// # Errors
    ///
    /// A check did not hold. Report and metrics tell what has been up to then.
    pub fn advance(
        &mut self,
        mut watch: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<End, Failure> {
        self.metrics.go_on();
        let outcome = self.run(&mut watch);
        self.metrics.finish(&self.world, &self.content);
        self.end = outcome.as_ref().ok().copied();
        outcome
    }

    /// Why it does not go on; none if it has not begun, or a check did not hold.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        Report::new(self)
    }

    /// How everything developed.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How everything developed, as a picture: an SVG document with the completion of every peer, the
    /// availability of the pieces, and the throughput, over time.
    pub fn plot(&self) -> String {
        plot::plot(self)
    }

    /// The world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What is shared.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The hosts that had the torrent from the beginning.
    pub fn seeders(&self) -> impl Iterator<Item = HostId> + use<> {
        self.seeders.clone().map(HostId::new)
    }

    /// The hosts that want it.
    pub fn peers(&self) -> impl Iterator<Item = HostId> + use<> {
        self.peers.clone().map(HostId::new)
    }

    fn run(
        &mut self,
        watch: &mut impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<End, Failure> {
        loop {
            let now = self.world.now();
            if self.metrics.due() <= now {
                self.metrics.sample(&self.world, &self.content);
                if watch(&self.progress()).is_break() {
                    return Ok(End::Paused);
                }
            }
            if self.world.incomplete() == 0 {
                return Ok(End::Complete);
            }
            if now >= self.until {
                return Ok(End::TimeUp);
            }
            if self.is_deserted() {
                return Ok(End::Deserted);
            }
            if self.scenario.churn_ppm > 0 && self.churn_at <= now {
                self.draw_churn();
                self.churn_at = self.churn_at + CHURN_SPAN;
            }
            let mut stop = self.metrics.due().min(self.until);
            if self.scenario.churn_ppm > 0 {
                stop = stop.min(self.churn_at);
            }
            let mut progress = self.progress();
            let mut count = 0;
            let mut paused = false;
            let peers = self.peers.len() as u32;
            self.world.run_for_or_until(stop.since(now), |world| {
                count += 1;
                if count % GLANCE == 0 {
                    progress.now = world.now().since(Instant::ZERO);
                    progress.happened = world.happened();
                    progress.complete = peers.saturating_sub(world.incomplete());
                    paused = watch(&progress).is_break();
                }
                paused || world.incomplete() == 0
            })?;
            if paused {
                return Ok(End::Paused);
            }
        }
    }

    fn progress(&self) -> Progress {
        let peers = self.peers.len() as u32;
        Progress {
            now: self.world.now().since(Instant::ZERO),
            happened: self.world.happened(),
            peers,
            complete: peers.saturating_sub(self.world.incomplete()),
            have: self.metrics.have_of_peers(),
            wanted: self.content.length().saturating_mul(u64::from(peers)),
        }
    }

    /// Whether those who are not complete have gone for good.
    fn is_deserted(&self) -> bool {
        self.scenario.churn_ppm == 0
            && self.world.now() > self.last_fault
            && self.peers().chain(self.seeders()).all(|host| {
                let host = self.world.host(host);
                !host.is_up() || host.completed_at(&self.content).is_some()
            })
    }

    /// Says who leaves and comes back in the next minute.
    fn draw_churn(&mut self) {
        let expected = u64::from(self.scenario.churn_ppm) * self.peers.len() as u64;
        let (whole, rest) = (expected / u64::from(PPM), expected % u64::from(PPM));
        // Below a million, as a remainder of it.
        let more = self.churn.happens(rest as u32);
        for _ in 0..whole + u64::from(more) {
            let host = self.peers.start + self.churn.below(self.peers.len() as u64) as u32;
            let host = HostId::new(host);
            let at = self.churn.up_to(CHURN_SPAN);
            let fault = match self.churn.happens(PPM / 2) {
                true => Fault::Crash(host),
                false => Fault::Leave(host),
            };
            let away = Duration::from_secs(10) + self.churn.up_to(Duration::from_secs(40));
            self.world.schedule(at, fault);
            self.world.schedule(at + away, Fault::Restart(host));
        }
    }
}

fn add_hostile(
    world: &mut World,
    scenario: &Scenario,
    content: &Content,
    host: &HostConfig,
) -> Vec<HostId> {
    let mut hostile = Vec::new();
    for (hostility, count) in scenario.faults.hostile(scenario.peers) {
        let seed = |manner| ScriptedSeed::new(content, manner);
        for _ in 0..count {
            let host = host.clone();
            hostile.push(match hostility {
                Hostility::Mute => world.add_actor(host, Mute),
                Hostility::Babbling => world.add_actor(host, Babbler),
                Hostility::Corrupt => world.add_actor(host, seed(Manner::Corrupt)),
                Hostility::Stingy => world.add_actor(host, seed(Manner::Stingy)),
                Hostility::Repeating => world.add_actor(host, seed(Manner::Repeating(3))),
                Hostility::Flooding => world.add_actor(host, seed(Manner::Flooding(200))),
                Hostility::Breaking => world.add_actor(host, seed(Manner::Breaking)),
            });
        }
    }
    hostile
}

/// Gives everybody the torrent. The hostile do not ask the tracker: each peer is told of some.
fn add_torrents(
    world: &mut World,
    scenario: &Scenario,
    content: &Content,
    tracker: TrackerId,
    hostile: &[HostId],
) -> Result<(), ScenarioError> {
    let tiers = vec![vec![world.udp_url(tracker)], vec![world.http_url(tracker)]];
    let mut chance = Chance::new(mix(scenario.seed, 0xbad));
    for index in 0..scenario.seeders + scenario.peers {
        let count = hostile.len() as u64;
        let peers = (0..count.min(TOLD))
            .filter_map(|_| hostile.get(chance.below(count) as usize))
            .map(|host| world.address(*host))
            .collect();
        let add = AddTorrent {
            trackers: Some(tiers.clone()),
            peers,
            ..AddTorrent::default()
        };
        let host = HostId::new(index);
        match index < scenario.seeders {
            true => world.seed_torrent(host, content, add)?,
            false => world.add_torrent(host, content, add)?,
        };
    }
    Ok(())
}

/// When something strikes, each time once.
fn strikes(plan: &FaultPlan) -> Vec<Duration> {
    let mut times: Vec<Duration> = plan.iter().map(|(at, _)| *at).collect();
    times.sort_unstable();
    times.dedup();
    times
}
