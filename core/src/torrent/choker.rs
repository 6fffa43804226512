//! BEP 3: whom to upload to.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use crate::config::SeedChoke;
use crate::id::ConnId;
use crate::limits::OPTIMISTIC_ROUNDS;
use crate::rng::Rng;
use crate::time::Instant;

/// A turn with everybody in turn: this much time or this many bytes, whichever is reached first.
const TURN: Duration = Duration::from_secs(60);
const TURN_BYTES: u64 = 16 << 20;

/// Of so many tries one goes to a newcomer before its turn, as it has nothing yet to trade with.
const NEW_SHARE: u32 = 2;

/// A seed that serves a peer fewer bytes a second than this has found nobody to serve: such a slot
/// may as well be tried with somebody else. Or a crowd would hold all of them by reading slowly.
const SLOW: u64 = 2 << 10;

/// One slot in so many tries out peers that have not earned it.
const OPTIMISTIC_SHARE: usize = 5;

/// What the choker knows of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerFacts {
    pub(crate) conn: ConnId,
    /// It wants something of us.
    pub(crate) interested: bool,
    /// It did not deliver in time what it promised to.
    pub(crate) snubbed: bool,
    /// Bytes a second from it to us.
    pub(crate) rate_to_us: u64,
    /// Bytes a second from us to it.
    pub(crate) rate_from_us: u64,
    /// Since when it is unchoked, if it is.
    pub(crate) unchoked_since: Option<Instant>,
    /// When it was unchoked last, however long that lasted.
    pub(crate) last_unchoked: Option<Instant>,
    /// Payload bytes from us to it since it was unchoked.
    pub(crate) sent_since_unchoked: u64,
    pub(crate) connected_at: Instant,
    /// It lost its slot as it made no use of it.
    pub(crate) lapsed: bool,
    /// It, or its network, held a place a while ago and was of no use.
    pub(crate) known_idle: bool,
}

/// What the choker knows of the torrent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TorrentFacts {
    /// Nothing is missing.
    pub(crate) seeding: bool,
    pub(crate) seed_choke: SeedChoke,
    /// Slots of a slow upload.
    pub(crate) base_slots: u32,
    /// Bytes a second from us to all peers.
    pub(crate) upload_rate: u64,
}

/// What changes. Whoever is not named stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) choke: Vec<ConnId>,
    pub(crate) unchoke: Vec<ConnId>,
}

/// Decides every [`CHOKE_INTERVAL`](crate::limits::CHOKE_INTERVAL) who is uploaded to.
///
/// While something is missing, those that give most get most slots; when nothing is, those that
/// take fastest or everybody in turn. Some slots, and those that nobody has earned, try out others,
/// and move on every third round; or as soon as they are of no use to who has them.
///
/// Those that are tried out stand in a line: who was tried longest ago, or has waited longest, is
/// next, and who had a slot goes to its end, however short that was. Every second try goes to one
/// that was never tried, by lot; a crowd can neither keep newcomers waiting until it is through,
/// nor keep those that wait from their turn by coming anew.
#[derive(Debug, Default)]
pub(crate) struct Choker {
    round: u32,
    slots: usize,
    /// Those that are being tried out.
    optimistic: Vec<ConnId>,
    /// How many have been.
    tries: u32,
}

impl Choker {
    pub(crate) fn new(base_slots: u32) -> Self {
        Self {
            slots: base_slots as usize,
            ..Self::default()
        }
    }

    /// A round.
    pub(crate) fn decide(
        &mut self,
        now: Instant,
        torrent: &TorrentFacts,
        peers: &[PeerFacts],
        rng: &mut Rng,
    ) -> Verdict {
        self.slots = slots(torrent);
        let rotate = self.round.is_multiple_of(OPTIMISTIC_ROUNDS);
        self.round = self.round.wrapping_add(1);

        // The lot decides between equals, not the order of the list.
        let mut wanting: Vec<(u32, &PeerFacts)> = peers
            .iter()
            .filter(|peer| peer.interested)
            .map(|peer| (rng.u32(), peer))
            .collect();
        wanting.sort_by_cached_key(|(lot, peer)| (merit(now, torrent, peer), *lot));

        let turns = torrent.seeding && torrent.seed_choke == SeedChoke::RoundRobin;
        let earned = if turns {
            self.slots
        } else {
            (self.slots - self.slots.div_ceil(OPTIMISTIC_SHARE).min(self.slots)).max(1)
        };
        let deserving = wanting
            .iter()
            .take(earned)
            .take_while(|(_, peer)| turns || deserves(torrent, peer))
            .count();
        let others = wanting.split_off(deserving);
        let mut chosen: Vec<ConnId> = wanting.iter().map(|(_, peer)| peer.conn).collect();

        // At least one place to try others, also with a single slot.
        let places = if turns {
            0
        } else {
            self.slots.saturating_sub(deserving).max(1)
        };
        let (mut kept, mut rest): (Vec<&PeerFacts>, Vec<&PeerFacts>) = others
            .into_iter()
            .map(|(_, peer)| peer)
            .partition(|peer| self.optimistic.contains(&peer.conn));
        let mut optimistic = Vec::new();
        if rotate {
            // Whoever has been tried comes again only if nobody else is left.
            self.draw(&mut rest, places, &mut optimistic, rng);
            self.draw(&mut kept, places, &mut optimistic, rng);
        } else {
            // Where there are fewer places than before, the longest tried go first.
            kept.sort_by_key(|peer| Reverse(peer.unchoked_since));
            kept.truncate(places);
            optimistic.append(&mut kept);
            self.draw(&mut rest, places, &mut optimistic, rng);
        }
        self.optimistic = optimistic.iter().map(|peer| peer.conn).collect();
        chosen.extend(&self.optimistic);

        let mut verdict = Verdict::default();
        for peer in peers {
            match (peer.unchoked_since, chosen.contains(&peer.conn)) {
                (Some(_), false) => verdict.choke.push(peer.conn),
                (None, true) => verdict.unchoke.push(peer.conn),
                (Some(_), true) | (None, false) => {}
            }
        }
        verdict
    }

    /// Whether a peer that has become interested between two rounds gets a slot at once, when
    /// `unchoked` peers have one. It is tried out.
    pub(crate) fn admit(&mut self, conn: ConnId, unchoked: usize) -> bool {
        let room = self.has_room(unchoked);
        if room && !self.optimistic.contains(&conn) {
            self.optimistic.push(conn);
        }
        room
    }

    /// A peer has no use for its slot: who of those that want one is tried out instead.
    pub(crate) fn pass_on(
        &mut self,
        conn: ConnId,
        wanting: &[PeerFacts],
        rng: &mut Rng,
    ) -> Option<ConnId> {
        let mut chosen = Vec::new();
        self.draw(&mut wanting.iter().collect(), 1, &mut chosen, rng);
        let next = chosen.first()?.conn;
        self.optimistic.retain(|other| *other != conn);
        self.optimistic.push(next);
        Some(next)
    }

    /// Moves peers that are to be tried out from `from` to `to`, until there are `places` or none
    /// is left.
    fn draw<'a>(
        &mut self,
        from: &mut Vec<&'a PeerFacts>,
        places: usize,
        to: &mut Vec<&'a PeerFacts>,
        rng: &mut Rng,
    ) {
        while to.len() < places && !from.is_empty() {
            self.tries = self.tries.wrapping_add(1);
            let newcomers = from.iter().filter(|peer| is_new(peer)).count() as u32;
            let next = if newcomers > 0 && self.tries.is_multiple_of(NEW_SHARE) {
                let lot = rng.below(newcomers) as usize;
                let mut peers = from.iter().enumerate();
                peers.by_ref().filter(|(_, peer)| is_new(peer)).nth(lot)
            } else {
                let peers = from.iter().enumerate();
                peers.min_by_key(|(_, peer)| (waits_since(peer), rng.u32()))
            };
            let position = next.map_or(0, |(position, _)| position);
            to.push(from.remove(position));
        }
    }

    /// Whether one more than `unchoked` peers can have a slot.
    pub(crate) fn has_room(&self, unchoked: usize) -> bool {
        unchoked < self.slots
    }

    /// How many peers are uploaded to at a time.
    #[cfg(test)]
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }
}

/// A fast upload is shared among more: by twice the root of its rate in MiB/s (8 slots at rest are
/// 10 at 1 MiB/s, 28 at 100 MiB/s, 72 at 1 GiB/s).
fn slots(torrent: &TorrentFacts) -> usize {
    let more = 2 * (torrent.upload_rate >> 20).isqrt();
    (u64::from(torrent.base_slots.max(1)).saturating_add(more)) as usize
}

/// Orders peers, the best first.
fn merit(now: Instant, torrent: &TorrentFacts, peer: &PeerFacts) -> (u8, Reverse<u64>) {
    // Who has a slot keeps it against a rival that is no more than an eighth better.
    let at_home = |rate: u64| match peer.unchoked_since {
        Some(_) => rate.saturating_add(rate / 8),
        None => rate,
    };
    if !torrent.seeding {
        return (
            u8::from(!deserves(torrent, peer)),
            Reverse(at_home(peer.rate_to_us)),
        );
    }
    match torrent.seed_choke {
        SeedChoke::Fastest => (
            u8::from(!deserves(torrent, peer)),
            Reverse(at_home(peer.rate_from_us)),
        ),
        SeedChoke::RoundRobin => match peer.unchoked_since {
            Some(since) if now.since(since) < TURN && peer.sent_since_unchoked < TURN_BYTES => {
                (0, Reverse(0))
            }
            // Who has waited longest is next; a peer that connects anew waits anew.
            None => (1, Reverse(u64::MAX - waits_since(peer).as_nanos())),
            Some(since) => (2, Reverse(since.as_nanos())),
        },
    }
}

/// Whether the peer has earned a slot.
fn deserves(torrent: &TorrentFacts, peer: &PeerFacts) -> bool {
    if torrent.seeding {
        peer.rate_from_us >= SLOW && !peer.lapsed
    } else {
        peer.rate_to_us > 0 && !peer.snubbed
    }
}

/// Whether a peer was never tried out.
fn is_new(peer: &PeerFacts) -> bool {
    peer.last_unchoked.is_none() && !peer.known_idle
}

/// Since when a peer waits for a slot.
fn waits_since(peer: &PeerFacts) -> Instant {
    peer.last_unchoked.unwrap_or(peer.connected_at)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Seed;

    const NOW: Instant = Instant::from_millis(1_000_000);

    fn rng() -> Rng {
        Rng::new(Seed([3; 32]))
    }

    fn torrent(seeding: bool, seed_choke: SeedChoke, base_slots: u32) -> TorrentFacts {
        TorrentFacts {
            seeding,
            seed_choke,
            base_slots,
            upload_rate: 0,
        }
    }

    fn leeching(base_slots: u32) -> TorrentFacts {
        torrent(false, SeedChoke::Fastest, base_slots)
    }

    fn peer(number: u32) -> PeerFacts {
        PeerFacts {
            conn: ConnId::new(number, 1),
            interested: true,
            snubbed: false,
            rate_to_us: 0,
            rate_from_us: 0,
            unchoked_since: None,
            last_unchoked: None,
            sent_since_unchoked: 0,
            connected_at: Instant::ZERO,
            lapsed: false,
            known_idle: false,
        }
    }

    /// The peers under a verdict.
    fn obey(now: Instant, peers: &mut [PeerFacts], verdict: &Verdict) {
        for peer in peers {
            if verdict.choke.contains(&peer.conn) {
                peer.unchoked_since = None;
            }
            if verdict.unchoke.contains(&peer.conn) {
                peer.unchoked_since = Some(now);
                peer.last_unchoked = Some(now);
                peer.sent_since_unchoked = 0;
            }
        }
    }

    fn unchoked(peers: &[PeerFacts]) -> Vec<u32> {
        let unchoked = peers.iter().filter(|peer| peer.unchoked_since.is_some());
        unchoked.map(|peer| peer.conn.slot() as u32).collect()
    }

    fn after(millis: u64) -> Instant {
        NOW + Duration::from_millis(millis)
    }

    #[test]
    fn those_that_give_most_get_most_slots() {
        let mut peers: Vec<_> = (0..20)
            .map(|n| PeerFacts {
                rate_to_us: u64::from(n) * 1000,
                ..peer(n)
            })
            .collect();
        let mut choker = Choker::new(5);
        let verdict = choker.decide(NOW, &leeching(5), &peers, &mut rng());
        obey(NOW, &mut peers, &verdict);
        let unchoked = unchoked(&peers);
        assert_eq!(unchoked.len(), 5);
        assert_eq!(unchoked[1..], [16, 17, 18, 19]);
        assert!(unchoked[0] < 16);
    }

    #[test]
    fn when_seeding_those_that_take_fastest_keep_their_slots() {
        let torrent = torrent(true, SeedChoke::Fastest, 5);
        let mut peers: Vec<_> = (0..20).map(peer).collect();
        let mut choker = Choker::new(5);
        let mut rng = rng();
        for peer in &mut peers[3..7] {
            peer.unchoked_since = Some(Instant::ZERO);
            peer.rate_from_us = 50_000;
        }
        for round in 0..12 {
            let now = after(round * 10_000);
            let verdict = choker.decide(now, &torrent, &peers, &mut rng);
            obey(now, &mut peers, &verdict);
            let unchoked = unchoked(&peers);
            assert_eq!(unchoked.len(), 5);
            assert!((3..7).all(|peer| unchoked.contains(&peer)));
        }
    }

    #[test]
    fn everybody_has_a_turn_when_seeding_round_robin() {
        let torrent = torrent(true, SeedChoke::RoundRobin, 4);
        let mut peers: Vec<_> = (0..20).map(peer).collect();
        let mut choker = Choker::new(4);
        let mut rng = rng();
        let mut served = BTreeSet::new();
        for round in 0..30 {
            let now = after(round * 10_000);
            let verdict = choker.decide(now, &torrent, &peers, &mut rng);
            obey(now, &mut peers, &verdict);
            for peer in &mut peers {
                peer.sent_since_unchoked += 1 << 20;
            }
            served.extend(unchoked(&peers));
            assert_eq!(unchoked(&peers).len(), 4);
        }
        assert_eq!(served.len(), 20);
    }

    #[test]
    fn a_turn_ends_early_for_who_takes_much() {
        let torrent = torrent(true, SeedChoke::RoundRobin, 1);
        let mut peers = [peer(0), peer(1)];
        peers[0].unchoked_since = Some(after(0));
        peers[0].last_unchoked = Some(after(0));
        peers[0].sent_since_unchoked = TURN_BYTES - 1;
        let mut choker = Choker::new(1);
        let verdict = choker.decide(after(10_000), &torrent, &peers, &mut rng());
        assert_eq!(verdict, Verdict::default());
        peers[0].sent_since_unchoked = TURN_BYTES;
        let verdict = choker.decide(after(20_000), &torrent, &peers, &mut rng());
        assert_eq!(
            (verdict.choke, verdict.unchoke),
            ([peers[0].conn].into(), [peers[1].conn].into())
        );
    }

    #[test]
    fn a_snubbing_peer_is_only_ever_tried_out() {
        let mut peers: Vec<_> = (0..8)
            .map(|n| PeerFacts {
                rate_to_us: 1000,
                ..peer(n)
            })
            .collect();
        peers[0].rate_to_us = 1_000_000;
        peers[0].snubbed = true;
        peers[0].unchoked_since = Some(Instant::ZERO);
        let mut rng = rng();
        let mut choker = Choker::new(5);
        let mut tried = 0;
        for round in 0..30 {
            let now = after(round * 10_000);
            let verdict = choker.decide(now, &leeching(5), &peers, &mut rng);
            obey(now, &mut peers, &verdict);
            if peers[0].unchoked_since.is_some() {
                assert_eq!(choker.optimistic, [peers[0].conn]);
                tried += 1;
            }
        }
        assert!((3..30).contains(&tried));
    }

    #[test]
    fn the_optimistic_slot_moves_every_third_round_and_every_second_time_to_a_newcomer() {
        let mut counts = [0_u32; 2];
        let mut rng = rng();
        let mut peers: Vec<_> = (0..40).map(peer).collect();
        let mut choker = Choker::new(1);
        let mut last = Vec::new();
        for round in 0..900 {
            let now = after(round * 10_000);
            // Half of them always come anew.
            for peer in &mut peers[20..] {
                peer.connected_at = now;
                peer.last_unchoked = None;
            }
            let verdict = choker.decide(now, &leeching(1), &peers, &mut rng);
            obey(now, &mut peers, &verdict);
            let chosen = unchoked(&peers);
            assert_eq!(chosen.len(), 1);
            if round % 3 == 0 {
                assert_ne!(chosen, last);
                counts[usize::from(chosen[0] >= 20)] += 1;
            } else {
                assert_eq!(chosen, last);
            }
            last = chosen;
        }
        let [old, new] = counts;
        // The first twenty of the old ones are newcomers as well.
        assert!(old >= 150 && new >= 130, "{old} old, {new} new");
    }

    #[test]
    fn who_lost_its_slot_is_tried_again_after_all_that_wait() {
        let mut peers: Vec<_> = (0..12).map(peer).collect();
        let mut choker = Choker::new(1);
        let mut rng = rng();
        let verdict = choker.decide(NOW, &leeching(1), &peers, &mut rng);
        obey(NOW, &mut peers, &verdict);
        let mut order = unchoked(&peers);
        for second in 1..24 {
            let now = after(second * 5_000);
            let last = *order.last().unwrap() as usize;
            let waiting: Vec<_> = peers
                .iter()
                .copied()
                .filter(|peer| peer.unchoked_since.is_none())
                .collect();
            let next = choker
                .pass_on(peers[last].conn, &waiting, &mut rng)
                .unwrap();
            let verdict = Verdict {
                choke: [peers[last].conn].into(),
                unchoke: [next].into(),
            };
            obey(now, &mut peers, &verdict);
            order.push(next.slot() as u32);
        }
        // Two times through, and each time everybody once.
        for turn in order.chunks(12) {
            assert_eq!(turn.iter().collect::<BTreeSet<_>>().len(), 12, "{order:?}");
        }
    }

    #[test]
    fn who_comes_back_after_it_was_of_no_use_is_no_newcomer() {
        let mut peers: Vec<_> = (0..30).map(peer).collect();
        for peer in &mut peers[..29] {
            peer.known_idle = true;
        }
        peers[29].connected_at = NOW;
        let mut choker = Choker::new(1);
        let mut tried = Vec::new();
        for _ in 0..NEW_SHARE {
            let waiting: Vec<_> = peers
                .iter()
                .copied()
                .filter(|peer| !tried.contains(&peer.conn))
                .collect();
            tried.extend(choker.pass_on(ConnId::new(99, 1), &waiting, &mut rng()));
        }
        assert!(tried.contains(&peers[29].conn));
    }

    #[test]
    fn a_seed_lets_nobody_keep_a_slot_for_next_to_nothing() {
        let torrent = torrent(true, SeedChoke::Fastest, 5);
        let mut peers: Vec<_> = (0..20).map(peer).collect();
        for peer in &mut peers[..8] {
            peer.unchoked_since = Some(Instant::ZERO);
            peer.last_unchoked = Some(Instant::ZERO);
            peer.rate_from_us = SLOW - 1;
        }
        let verdict = Choker::new(5).decide(NOW, &torrent, &peers, &mut rng());
        obey(NOW, &mut peers, &verdict);
        assert!(unchoked(&peers).iter().all(|peer| *peer >= 8));
    }

    #[test]
    fn a_rival_must_be_clearly_better() {
        let mut peers = [peer(0), peer(1), peer(2)];
        peers[0].rate_to_us = 1_000;
        peers[0].unchoked_since = Some(Instant::ZERO);
        peers[1].rate_to_us = 1_100;
        peers[2].unchoked_since = Some(Instant::ZERO);
        let mut choker = Choker::new(2);
        choker.optimistic = [peers[2].conn].into();
        choker.round = 1;
        let verdict = choker.decide(NOW, &leeching(2), &peers, &mut rng());
        assert_eq!(verdict, Verdict::default());
        peers[1].rate_to_us = 1_200;
        let verdict = choker.decide(NOW, &leeching(2), &peers, &mut rng());
        assert_eq!(verdict.unchoke, [peers[1].conn]);
        assert_eq!(verdict.choke, [peers[0].conn]);
    }

    #[test]
    fn who_loses_interest_loses_the_slot() {
        let mut peers = [peer(0)];
        peers[0].interested = false;
        peers[0].unchoked_since = Some(Instant::ZERO);
        let verdict = Choker::new(8).decide(NOW, &leeching(8), &peers, &mut rng());
        assert_eq!(verdict.choke, [peers[0].conn]);
    }

    #[test]
    fn a_newcomer_gets_a_free_slot_at_once_and_keeps_it_for_a_while() {
        let mut choker = Choker::new(2);
        assert!(!choker.admit(peer(0).conn, 2));
        let mut peers = [peer(0)];
        choker.round = 1;
        assert!(choker.admit(peer(0).conn, 1));
        peers[0].unchoked_since = Some(NOW);
        let verdict = choker.decide(NOW, &leeching(2), &peers, &mut rng());
        assert_eq!(verdict, Verdict::default());
    }

    #[test]
    fn a_fast_upload_has_more_slots() {
        let at = |upload_rate| {
            slots(&TorrentFacts {
                upload_rate,
                ..leeching(8)
            })
        };
        assert_eq!(
            [at(0), at(1 << 20), at(100 << 20), at(1 << 30)],
            [8, 10, 28, 72]
        );
        assert!(at(u64::MAX) > 0);
    }

    quickcheck! {
        fn the_slots_are_filled_and_not_exceeded(
            facts: Vec<(u8, u16, u16)>, seeding: bool, turns: bool, base: u8, rounds: u8
        ) -> bool {
            let seed_choke = if turns { SeedChoke::RoundRobin } else { SeedChoke::Fastest };
            let torrent = torrent(seeding, seed_choke, u32::from(base % 12));
            let mut peers: Vec<_> = facts
                .iter()
                .enumerate()
                .map(|(n, (flags, to, from))| PeerFacts {
                    interested: flags & 3 != 0,
                    snubbed: flags & 12 == 12,
                    unchoked_since: (flags & 16 != 0).then_some(Instant::ZERO),
                    rate_to_us: u64::from(*to),
                    rate_from_us: u64::from(*from),
                    ..peer(n as u32)
                })
                .collect();
            let wanting = peers.iter().filter(|peer| peer.interested).count();
            let mut choker = Choker::new(8);
            let mut rng = rng();
            (0..u64::from(rounds % 8)).all(|round| {
                let now = after(round * 10_000);
                let verdict = choker.decide(now, &torrent, &peers, &mut rng);
                obey(now, &mut peers, &verdict);
                let unchoked = unchoked(&peers).len();
                // With one slot, one more tries others.
                let most = choker.slots().max(if seeding && turns { 1 } else { 2 });
                let least = choker.slots();
                unchoked <= wanting.min(most)
                    && unchoked >= wanting.min(least)
                    && peers.iter().all(|peer| peer.interested || peer.unchoked_since.is_none())
            })
        }
    }
}
