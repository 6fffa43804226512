//! What came of a run, in numbers.

use std::time::Duration;

use anabranch_core::Instant;

use super::run::Run;
use crate::host::Traffic;

/// What came of a run. All of it follows from the scenario, to the last digit, on any machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many hosts wanted the torrent.
    pub peers: u32,
    /// How many had it from the beginning.
    pub seeders: u32,
    /// Bytes of the torrent.
    pub size: u64,
    /// Pieces of the torrent.
    pub pieces: u32,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Peers that have had everything.
    pub complete: u32,
    /// Peers that have not.
    pub unfinished: u32,
    /// Peers that have had everything as far as they can know, on disks that wrote pieces wrong.
    pub corrupt: u32,
    /// When those that have had everything had it; none if nobody has.
    pub completion: Option<Spread<Duration>>,
    /// The shortest time in which everybody can have everything, see
    /// [`Scenario::bound`](super::Scenario::bound).
    pub bound: Duration,
    /// That time in thousandths of what it took; none as long as somebody is not complete.
    pub efficiency_permille: Option<u64>,
    /// Uploaded by downloaded payload of each peer, in thousandths; none if nobody has downloaded.
    pub share_ratio_permille: Option<Spread<u64>>,
    /// How evenly the peers upload, by Jain's index of their share ratios in thousandths: 1,000 when all
    /// are equal, a thousand over their number when one does everything.
    pub fairness_permille: Option<u64>,
    /// Payload that was received, by peers and seeders.
    pub payload: u64,
    /// Bytes that were received beside the payload, handshakes, requests and the like; what TCP and IP
    /// add does not count.
    pub overhead: u64,
    /// Payload that was received and of no use: come twice, not asked for, or wrong.
    pub wasted: u64,
    /// Payload that the seeders handed out.
    pub sent_by_seeders: u64,
    /// The virtual time that has passed.
    pub virtual_time: Duration,
    /// How many things have happened.
    pub happened: u64,
    /// One number for the course of the run.
    pub trace_hash: u64,
}

/// How some numbers are spread, by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spread<T> {
    /// The smallest.
    pub min: T,
    /// Half of them are no larger.
    pub median: T,
    /// Nineteen of twenty are no larger.
    pub p95: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy + Ord> Spread<T> {
    /// None of no numbers.
    pub fn of(numbers: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut sorted: Vec<T> = numbers.into_iter().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(Self {
            min: at(0)?,
            median: at(50)?,
            p95: at(95)?,
            max: at(100)?,
        })
    }
}

impl Report {
    pub(super) fn new(run: &Run) -> Self {
        let (world, content) = (&run.world, &run.content);
        let completed = |host| {
            let at = world.host(host).completed_at(content)?;
            Some(at.since(Instant::ZERO))
        };
        let completion = Spread::of(run.peers().filter_map(completed));
        let complete = run.peers().filter_map(completed).count() as u32;
        let unfinished = run.scenario.peers - complete;
        let corrupt = run
            .peers()
            .filter(|host| completed(*host).is_some() && world.host(*host).miswritten(content) > 0)
            .count() as u32;
        let efficiency_permille = completion
            .filter(|_| unfinished == 0)
            .and_then(|spread| thousandths(run.bound.as_nanos(), spread.max.as_nanos()));

        let ratios: Vec<u64> = run
            .peers()
            .map(|host| world.host(host).traffic())
            .filter_map(|moved| {
                thousandths(moved.payload_sent.into(), moved.payload_received.into())
            })
            .collect();
        let sum = |hosts: &mut dyn Iterator<Item = Traffic>| {
            hosts.fold(Traffic::default(), Traffic::plus)
        };
        let by_seeders = sum(&mut run.seeders().map(|host| world.host(host).traffic()));
        let by_peers = sum(&mut run.peers().map(|host| world.host(host).traffic()));
        let all = by_seeders.plus(by_peers);
        Self {
            seed: run.scenario.seed,
            peers: run.scenario.peers,
            seeders: run.scenario.seeders,
            size: content.length(),
            pieces: content.pieces(),
            piece_length: content.metainfo().piece_length(),
            complete,
            unfinished,
            corrupt,
            completion,
            bound: run.bound,
            efficiency_permille,
            share_ratio_permille: Spread::of(ratios.iter().copied()),
            fairness_permille: fairness(&ratios),
            payload: all.payload_received,
            overhead: all.received.saturating_sub(all.payload_received),
            wasted: all.wasted,
            sent_by_seeders: by_seeders.payload_sent,
            virtual_time: world.now().since(Instant::ZERO),
            happened: world.happened(),
            trace_hash: world.trace_hash(),
        }
    }

    /// Protocol bytes to a million bytes of payload; none without payload.
    pub fn overhead_ppm(&self) -> Option<u64> {
        ppm(self.overhead, self.payload)
    }

    /// Useless payload to a million bytes of payload; none without payload.
    pub fn wasted_ppm(&self) -> Option<u64> {
        ppm(self.wasted, self.payload)
    }

    /// How many things happened in a second of the real time that it took.
    pub fn happened_per_second(&self, wall: Duration) -> u64 {
        let nanos = wall.as_nanos().max(1);
        u64::try_from(u128::from(self.happened) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

/// Jain's index, (Σx)² / (n Σx²), in thousandths.
fn fairness(numbers: &[u64]) -> Option<u64> {
    // Smaller numbers than a share ratio of a million keep the squares in bounds.
    let numbers = numbers
        .iter()
        .map(|number| u128::from((*number).min(1_000_000_000)));
    let sum: u128 = numbers.clone().sum();
    let squares: u128 = numbers.clone().map(|number| number * number).sum();
    thousandths(sum * sum, squares * numbers.len() as u128)
}

fn thousandths(part: u128, whole: u128) -> Option<u64> {
    let permille = part.checked_mul(1_000)?.checked_div(whole)?;
    u64::try_from(permille).ok()
}

fn ppm(part: u64, whole: u64) -> Option<u64> {
    let ppm = (u128::from(part) * 1_000_000).checked_div(whole.into())?;
    u64::try_from(ppm).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_by_nearest_rank() {
        assert_eq!(Spread::<u64>::of([]), None);
        let one = Spread::of([7]);
        assert_eq!(
            one.map(|one| [one.min, one.median, one.p95, one.max]),
            Some([7; 4])
        );
        let many = Spread::of((1..=40).rev());
        let many = many.map(|many| [many.min, many.median, many.p95, many.max]);
        assert_eq!(many, Some([1, 20, 38, 40]));
    }

    #[test]
    fn fairness_is_whole_among_equals_and_small_when_one_does_everything() {
        assert_eq!(fairness(&[900, 900, 900]), Some(1_000));
        assert_eq!(fairness(&[0, 0, 0, 5_000]), Some(250));
        assert_eq!(fairness(&[0, 0]), None);
        assert_eq!(fairness(&[u64::MAX; 20_000]), Some(1_000));
    }
}
