//! Swarms and fault plans drawn by lot: once the faults end, everybody who can be reached completes.

mod common;

use std::time::Duration;

use anabranch_sim::{
    Content, Fault, FaultPlan, HostId, JobKind, SEED_VARIABLE, TrackerMode, seeds,
};
use common::{HOUR, Swarm, strict};
use quickcheck::{Arbitrary, Gen, QuickCheck};

/// A swarm and what goes wrong in it, in a form that shrinks well.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    leechers: u8,
    pieces: u8,
    loss_ppm: u32,
    faults: Vec<(u16, u8, Kind)>,
}

/// What goes wrong at one of the hosts.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Crash,
    Restart,
    Leave,
    Partition,
    Heal,
    Reset,
    BlackHole,
    Full(bool),
    Error(u8, u8),
    Rot(u8),
    CorruptWrites,
    Refusing,
    Silent,
    Slow,
}

/// The faults have ended by then.
const END: Duration = Duration::from_secs(300);

impl Arbitrary for Kind {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 14 {
            0 => Self::Crash,
            1 => Self::Restart,
            2 => Self::Leave,
            3 => Self::Partition,
            4 => Self::Heal,
            5 => Self::Reset,
            6 => Self::BlackHole,
            7 => Self::Full(bool::arbitrary(g)),
            8 | 9 => Self::Error(u8::arbitrary(g), u8::arbitrary(g)),
            10 => Self::Rot(u8::arbitrary(g)),
            11 => Self::CorruptWrites,
            12 => Self::Refusing,
            _ => match bool::arbitrary(g) {
                true => Self::Silent,
                false => Self::Slow,
            },
        }
    }
}

impl Arbitrary for Plan {
    fn arbitrary(g: &mut Gen) -> Self {
        Self {
            seed: u64::arbitrary(g),
            leechers: u8::arbitrary(g) % 4 + 1,
            pieces: u8::arbitrary(g) % 40 + 1,
            loss_ppm: *g.choose(&[0, 0, 1_000, 30_000]).unwrap_or(&0),
            faults: Vec::arbitrary(g),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let plan = self.clone();
        let fewer_faults = self.faults.shrink().map({
            let plan = plan.clone();
            move |faults| Self {
                faults,
                ..plan.clone()
            }
        });
        let fewer_hosts = (1..self.leechers).map({
            let plan = plan.clone();
            move |leechers| Self {
                leechers,
                ..plan.clone()
            }
        });
        let fewer_pieces = [1, self.pieces / 2].into_iter().filter({
            let pieces = self.pieces;
            move |fewer| (1..pieces).contains(fewer)
        });
        let fewer_pieces = fewer_pieces.map({
            let plan = plan.clone();
            move |pieces| Self {
                pieces,
                ..plan.clone()
            }
        });
        let no_loss = (self.loss_ppm > 0).then_some(Self {
            loss_ppm: 0,
            ..plan
        });
        Box::new(
            fewer_hosts
                .chain(fewer_pieces)
                .chain(no_loss)
                .chain(fewer_faults),
        )
    }
}

impl Plan {
    fn faults(&self, swarm: &Swarm) -> FaultPlan {
        let span = u64::try_from(END.as_millis()).unwrap_or(u64::MAX);
        let faults = self.faults.iter().map(|(at, host, kind)| {
            // Most of it happens while the download is under way.
            let millis = u64::from(*at).pow(2) * span / u64::from(u16::MAX).pow(2);
            let all = u32::from(self.leechers) + 1;
            let host = HostId::new(u32::from(*host) % all);
            let leecher = HostId::new(1 + host.index() % u32::from(self.leechers));
            let fault = match *kind {
                Kind::Crash => Fault::Crash(host),
                Kind::Restart => Fault::Restart(host),
                Kind::Leave => Fault::Leave(host),
                Kind::Partition => Fault::Partition(vec![host]),
                Kind::Heal => Fault::Heal,
                Kind::Reset => Fault::ResetConnections(host),
                Kind::BlackHole => Fault::BlackHole(host),
                Kind::Full(full) => Fault::DiskFull(leecher, full),
                Kind::Error(kind, after) => {
                    let kind = JobKind::ALL[usize::from(kind) % JobKind::ALL.len()];
                    Fault::DiskError(host, kind, u64::from(after % 16))
                }
                // Were the only seed's data spoilt, nobody could complete.
                Kind::Rot(piece) => Fault::Rot {
                    host: leecher,
                    torrent: 0,
                    piece: u32::from(piece % self.pieces),
                    offset: 0,
                },
                Kind::CorruptWrites => Fault::CorruptWrites(leecher, 100_000),
                Kind::Refusing => Fault::Tracker(swarm.tracker, TrackerMode::Refusing),
                Kind::Silent => Fault::Tracker(swarm.tracker, TrackerMode::Silent),
                Kind::Slow => {
                    Fault::Tracker(swarm.tracker, TrackerMode::Slow(Duration::from_secs(3)))
                }
            };
            (Duration::from_millis(millis), fault)
        });
        let mut plan: FaultPlan = faults.collect();
        plan.push((END, Fault::Heal));
        plan.push((END, Fault::Loss(0)));
        plan.push((END, Fault::Tracker(swarm.tracker, TrackerMode::Working)));
        for host in 0..=u32::from(self.leechers) {
            plan.push((END, Fault::DiskFull(HostId::new(host), false)));
            plan.push((END, Fault::CorruptWrites(HostId::new(host), 0)));
            // Who is leaving is off by then, and comes back.
            let later = END + Duration::from_secs(60);
            plan.push((later, Fault::Restart(HostId::new(host))));
        }
        plan
    }

    fn run(&self) -> Result<(), String> {
        let content = Content::synthetic(self.seed, u64::from(self.pieces) << 16, 1 << 16);
        let mut config = strict(self.seed);
        config.loss_ppm = self.loss_ppm;
        config.checks.invariants_every = 4;
        let mut swarm = Swarm::new(config, &content, u32::from(self.leechers), |host| {
            host.engine.checkpoint_interval = Duration::from_secs(2);
            host.engine.write_budget = 1 << 20;
        });
        let faults = self.faults(&swarm);
        swarm.world.schedule_all(&faults);
        let outcome = swarm.world.run_until_complete(4 * HOUR);
        outcome.map_err(|failure| failure.to_string())
    }
}

/// `ANABRANCH_SEED` draws other plans.
#[test]
fn whatever_went_wrong_everybody_completes_once_it_is_over() {
    let tests = if std::env::var_os(SEED_VARIABLE).is_some() {
        300
    } else {
        30
    };
    for seed in seeds(1) {
        QuickCheck::new()
            .rng(Gen::from_size_and_seed(24, seed))
            .tests(tests)
            .quickcheck(Plan::run_it as fn(Plan) -> Result<bool, String>);
    }
}

impl Plan {
    fn run_it(self) -> Result<bool, String> {
        self.run().map(|()| true)
    }
}
