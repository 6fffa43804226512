//! BEP 9: which piece of the metadata is asked of whom, and what becomes of the pieces.
//!
//! All peers that have it are asked side by side, for pieces of as many bytes in all as most of them
//! say. Nothing can be verified before everything is there; so when the whole is wrong and came from
//! several peers, nobody knows who lied. From then on a single peer is asked for all of it, one peer
//! after the other: who gives it wrong alone is guilty, and when it is right, so is everybody who gave a
//! piece that differs.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use sha1::{Digest, Sha1};

use crate::error::{Blame, Misbehaviour};
use crate::id::ConnId;
use crate::metainfo::InfoHash;
use crate::time::Instant;
use crate::wire::metadata::PIECE_LEN;

/// Pieces asked of one peer at a time.
const DEPTH: usize = 4;

/// How long a peer has for a piece before it is asked of another one, too, who has nothing else to do.
const IMPATIENCE: Duration = Duration::from_secs(3);

/// How long a peer has for a piece before it is left alone for a while.
const TIMEOUT: Duration = Duration::from_secs(10);

/// For how long a peer is left alone that rejected a request; it may have the metadata by then.
const AFTER_REJECT: Duration = Duration::from_secs(20);

/// For how long a peer is left alone that did not answer; doubles each time, four times at most.
const AFTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Pieces that nobody asked for, after which a peer is not listened to any more.
const MAX_UNASKED: u32 = 64;

/// The metadata of a torrent while it is being fetched.
///
/// It takes memory for the pieces that have come and for nothing else, whatever sizes are claimed.
#[derive(Debug)]
pub(crate) struct Fetch {
    info_hash: InfoHash,
    /// The largest size that is believed, in bytes.
    max_size: u32,
    peers: BTreeMap<ConnId, Giver>,
    /// The pieces that have come, for metadata of this size.
    size: Option<u32>,
    pieces: BTreeMap<u32, Piece>,
    received: u32,
    /// Somebody lied: one is asked at a time.
    suspicious: bool,
    /// The one.
    trusted: Option<ConnId>,
    /// The copy that was wrong, for a comparison with the right one.
    wrong: Vec<(u32, [u8; 20], IpAddr)>,
}

/// A peer that says it has the metadata.
#[derive(Debug)]
struct Giver {
    address: IpAddr,
    size: u32,
    asked: Vec<(u32, Instant)>,
    /// Until when it is left alone.
    rests_until: Instant,
    timeouts: u32,
    unasked: u32,
    /// How often it was the only one asked.
    turns: u32,
}

#[derive(Debug)]
struct Piece {
    data: Bytes,
    from: IpAddr,
}

/// What a piece led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// More is needed, or it was of no use.
    Waiting,
    /// It is all there and right; these addresses had sent something else.
    Complete { info: Bytes, liars: Vec<IpAddr> },
    /// It is all there, and wrong; this address sent all of it.
    Lied { by: IpAddr },
    /// It is all there, and wrong, and came from several.
    Spoilt,
}

impl Fetch {
    pub(crate) fn new(info_hash: InfoHash, max_size: u32) -> Self {
        Self {
            info_hash,
            max_size,
            peers: BTreeMap::new(),
            size: None,
            pieces: BTreeMap::new(),
            received: 0,
            suspicious: false,
            trusted: None,
            wrong: Vec::new(),
        }
    }

    /// A peer says that it has metadata of so many bytes; 0 says that it has none.
    pub(crate) fn offer(&mut self, conn: ConnId, address: IpAddr, size: u32) {
        if size == 0 || size > self.max_size {
            self.remove(conn);
            return;
        }
        let fresh = Giver {
            address,
            size,
            asked: Vec::new(),
            rests_until: Instant::ZERO,
            timeouts: 0,
            unasked: 0,
            turns: 0,
        };
        let giver = self.peers.entry(conn).or_insert(fresh);
        if giver.size != size {
            giver.size = size;
            giver.asked.clear();
            // Whatever it sent as the only one cannot be completed.
            if self.trusted == Some(conn) {
                self.dismiss();
            }
        }
    }

    /// A peer is gone, or has nothing to give.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
        if self.trusted == Some(conn) {
            self.dismiss();
        }
    }

    /// A peer does not give a piece.
    pub(crate) fn rejected(&mut self, conn: ConnId, piece: u32, now: Instant) {
        let Some(giver) = self.peers.get_mut(&conn) else {
            return;
        };
        let before = giver.asked.len();
        giver.asked.retain(|(asked, _)| *asked != piece);
        if giver.asked.len() < before {
            giver.asked.clear();
            giver.rests_until = now + AFTER_REJECT;
            if self.trusted == Some(conn) {
                self.dismiss();
            }
        }
    }

    /// A piece came.
    ///
    /// # Errors
    ///
    /// It cannot be one, or nobody asked for it, again and again.
    pub(crate) fn received(
        &mut self,
        conn: ConnId,
        piece: u32,
        total_size: Option<u32>,
        data: &[u8],
    ) -> Result<Arrival, Blame> {
        let Some(giver) = self.peers.get_mut(&conn) else {
            return Ok(Arrival::Waiting);
        };
        let before = giver.asked.len();
        giver.asked.retain(|(asked, _)| *asked != piece);
        if giver.asked.len() == before {
            giver.unasked += 1;
            if giver.unasked > MAX_UNASKED {
                return Err(Blame::Misbehaved(Misbehaviour::UnrequestedData));
            }
            return Ok(Arrival::Waiting);
        }
        giver.timeouts = 0;
        let from = giver.address;
        let said = giver.size;
        if let Some(total) = total_size
            && total != said
        {
            self.offer(conn, from, total);
            return Ok(Arrival::Waiting);
        }
        let Some(size) = self.size.filter(|size| *size == said) else {
            return Ok(Arrival::Waiting);
        };
        if data.len() as u32 != piece_len(size, piece) {
            return Err(Blame::Misbehaved(Misbehaviour::BadExtension));
        }
        if self.pieces.contains_key(&piece) {
            return Ok(Arrival::Waiting);
        }
        self.received += data.len() as u32;
        // A copy, so that no large buffer is kept for its sake.
        let data = Bytes::copy_from_slice(data);
        self.pieces.insert(piece, Piece { data, from });
        if self.received < size {
            return Ok(Arrival::Waiting);
        }
        Ok(self.judge())
    }

    /// All pieces are there.
    fn judge(&mut self) -> Arrival {
        let pieces = core::mem::take(&mut self.pieces);
        let mut info = BytesMut::with_capacity(self.received as usize);
        for piece in pieces.values() {
            info.extend_from_slice(&piece.data);
        }
        let right = InfoHash::of_info(&info) == self.info_hash;
        let digests = |(piece, copy): (&u32, &Piece)| {
            let digest: [u8; 20] = Sha1::digest(&copy.data).into();
            (*piece, digest, copy.from)
        };
        if right {
            let mut liars = Vec::new();
            let good: Vec<_> = pieces.iter().map(digests).collect();
            for (piece, digest, from) in &self.wrong {
                let same = good
                    .get(*piece as usize)
                    .is_some_and(|(_, d, _)| d == digest);
                if !same && !liars.contains(from) {
                    liars.push(*from);
                }
            }
            // If no torrent can be made of it, there is nothing to go on with.
            self.dismiss();
            return Arrival::Complete {
                info: info.freeze(),
                liars,
            };
        }
        let mut from = pieces.values().map(|piece| piece.from);
        let first = from.next();
        let only = first.filter(|first| from.all(|other| other == *first));
        if only.is_none() && self.wrong.is_empty() {
            self.wrong = pieces.iter().map(digests).collect();
        }
        self.suspicious |= only.is_none();
        self.dismiss();
        match only {
            Some(by) => Arrival::Lied { by },
            None => Arrival::Spoilt,
        }
    }

    /// Begins anew, and with another peer if one is asked at a time.
    fn dismiss(&mut self) {
        self.trusted = None;
        self.size = None;
        self.pieces.clear();
        self.received = 0;
        for giver in self.peers.values_mut() {
            giver.asked.clear();
        }
    }

    /// What to ask of whom now.
    pub(crate) fn requests(&mut self, now: Instant) -> Vec<(ConnId, u32)> {
        self.give_up_late(now);
        if self.suspicious {
            self.choose_one(now);
        }
        self.choose_size(now);
        let Some(size) = self.size else {
            return Vec::new();
        };
        let mut requests = Vec::new();
        let count = size.div_ceil(PIECE_LEN);
        let mut next = 0;
        // One each in turn, so that all take part.
        for round in 0..DEPTH {
            let conns: Vec<ConnId> = self.peers.keys().copied().collect();
            for conn in conns {
                let may = self.peers.get(&conn).is_some_and(|giver| {
                    giver.size == size && giver.rests_until <= now && giver.asked.len() <= round
                }) && self.trusted.is_none_or(|trusted| trusted == conn);
                if !may {
                    continue;
                }
                while next < count && (self.pieces.contains_key(&next) || self.is_asked(next)) {
                    next += 1;
                }
                let piece = if next < count {
                    Some(next)
                } else {
                    self.overdue(conn, count, now)
                };
                if let Some(piece) = piece
                    && let Some(giver) = self.peers.get_mut(&conn)
                {
                    giver.asked.push((piece, now));
                    requests.push((conn, piece));
                }
            }
        }
        requests
    }

    /// When `requests` may have something new to say, if nothing happens before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let peers = self.peers.values();
        let times = peers.flat_map(|giver| {
            let asked = giver.asked.iter();
            let asked = asked.flat_map(|(_, at)| [*at + IMPATIENCE, *at + TIMEOUT]);
            asked.chain([giver.rests_until])
        });
        times.filter(|at| *at > now).min()
    }

    /// Bytes that have come, and bytes in all as far as peers agree.
    pub(crate) fn progress(&self) -> (u32, Option<u32>) {
        (self.received, self.size)
    }

    /// Peers that say they have it.
    pub(crate) fn givers(&self) -> u32 {
        self.peers.len() as u32
    }

    fn give_up_late(&mut self, now: Instant) {
        let mut failed = false;
        for (conn, giver) in &mut self.peers {
            if giver.asked.iter().any(|(_, at)| *at + TIMEOUT <= now) {
                giver.asked.clear();
                giver.rests_until = now + AFTER_TIMEOUT * (1 << giver.timeouts.min(4));
                giver.timeouts += 1;
                failed |= self.trusted == Some(*conn);
            }
        }
        if failed {
            self.dismiss();
        }
    }

    /// Whose turn it is to be asked for all of it.
    fn choose_one(&mut self, now: Instant) {
        if self.trusted.is_some() {
            return;
        }
        let rested = self.peers.iter_mut();
        let rested = rested.filter(|(_, giver)| giver.rests_until <= now);
        if let Some((conn, giver)) = rested.min_by_key(|(conn, giver)| (giver.turns, **conn)) {
            giver.turns += 1;
            self.trusted = Some(*conn);
            self.size = Some(giver.size);
        }
    }

    /// The size that most addresses claim of those that may be asked; the present one among equals, and
    /// as long as nobody can be asked.
    fn choose_size(&mut self, now: Instant) {
        if self.suspicious {
            return;
        }
        let mut votes: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
        for giver in self.peers.values() {
            let votes = votes.entry(giver.size).or_default();
            if giver.rests_until <= now && !votes.contains(&giver.address) {
                votes.push(giver.address);
            }
        }
        let count = |size: u32| votes.get(&size).map_or(0, Vec::len);
        let best = votes.keys().copied().max_by_key(|size| count(*size));
        let Some(best) = best.filter(|best| count(*best) > 0) else {
            return;
        };
        if self.size.is_none_or(|size| count(best) > count(size)) {
            self.dismiss();
            self.size = Some(best);
        }
    }

    fn is_asked(&self, piece: u32) -> bool {
        let mut peers = self.peers.values();
        peers.any(|giver| giver.asked.iter().any(|(asked, _)| *asked == piece))
    }

    /// A piece that somebody else is late with.
    fn overdue(&self, conn: ConnId, count: u32, now: Instant) -> Option<u32> {
        (0..count).find(|piece| {
            let mut late = false;
            for (other, giver) in &self.peers {
                for (asked, at) in &giver.asked {
                    if asked == piece {
                        if *other == conn || *at + IMPATIENCE > now {
                            return false;
                        }
                        late = true;
                    }
                }
            }
            late && !self.pieces.contains_key(piece)
        })
    }

    /// Panics unless all parts agree.
    pub(crate) fn check(&self) {
        let bytes: usize = self.pieces.values().map(|piece| piece.data.len()).sum();
        assert_eq!(bytes, self.received as usize);
        assert!(
            self.size
                .is_none_or(|size| self.received < size && size <= self.max_size)
        );
        assert!(self.peers.values().all(|giver| giver.asked.len() <= DEPTH));
        assert!(
            self.trusted
                .is_none_or(|conn| self.peers.contains_key(&conn))
        );
    }
}

/// Bytes of a piece; 0 past the end.
fn piece_len(size: u32, piece: u32) -> u32 {
    let start = u64::from(piece) * u64::from(PIECE_LEN);
    let left = u64::from(size).saturating_sub(start);
    // No more than the length of a piece.
    left.min(u64::from(PIECE_LEN)) as u32
}

/// A part of the metadata as it is sent; none past the end.
pub(crate) fn slice(info: &Bytes, piece: u32) -> Option<Bytes> {
    let start = (piece as usize).checked_mul(PIECE_LEN as usize)?;
    if start >= info.len() {
        return None;
    }
    let end = info.len().min(start + PIECE_LEN as usize);
    Some(info.slice(start..end))
}

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::quickcheck;

    use super::*;

    const NOW: Instant = Instant::from_millis(5_000);
    const SIZE: u32 = 5 * PIECE_LEN + 100;

    fn info() -> Bytes {
        let byte = |at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
        (0..SIZE).map(byte).collect::<Vec<u8>>().into()
    }

    fn fetch() -> Fetch {
        Fetch::new(InfoHash::of_info(&info()), 1 << 20)
    }

    fn conn(number: u8) -> ConnId {
        ConnId::new(u32::from(number), 1)
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    /// Peers that say so, each with an address of its own.
    fn offer(fetch: &mut Fetch, peers: &[u8], size: u32) {
        for peer in peers {
            fetch.offer(conn(*peer), address(*peer), size);
        }
    }

    /// Lets peers answer until somebody is found out, or it is complete.
    fn run(
        fetch: &mut Fetch,
        now: &mut Instant,
        liars: &[u8],
        mut each: impl FnMut(&Arrival),
    ) -> Arrival {
        for _ in 0..1_000 {
            let requests = fetch.requests(*now);
            fetch.check();
            if requests.is_empty() {
                *now = fetch.deadline(*now).expect("not at a loss");
            }
            for (to, piece) in requests {
                let mut data = slice(&info(), piece).unwrap().to_vec();
                if liars.iter().any(|liar| conn(*liar) == to) {
                    data[0] ^= 1;
                }
                let arrival = fetch.received(to, piece, None, &data).unwrap();
                each(&arrival);
                match &arrival {
                    Arrival::Waiting | Arrival::Spoilt => {}
                    Arrival::Lied { by } => {
                        let guilty: Vec<ConnId> = (0..=255)
                            .filter(|number| address(*number) == *by)
                            .map(conn)
                            .collect();
                        guilty.into_iter().for_each(|conn| fetch.remove(conn));
                    }
                    Arrival::Complete { .. } => return arrival,
                }
                fetch.check();
            }
        }
        panic!("not complete: {fetch:?}");
    }

    #[test]
    fn several_peers_are_asked_side_by_side() {
        let mut fetch = fetch();
        assert!(fetch.requests(NOW).is_empty());
        offer(&mut fetch, &[1, 2, 3], SIZE);
        let requests = fetch.requests(NOW);
        let mut pieces: Vec<u32> = requests.iter().map(|(_, piece)| *piece).collect();
        pieces.sort_unstable();
        assert_eq!(pieces, [0, 1, 2, 3, 4, 5], "each piece once");
        for peer in [1, 2, 3] {
            let asked = requests.iter().filter(|(to, _)| *to == conn(peer));
            assert_eq!(asked.count(), 2);
        }
        assert_eq!(fetch.progress(), (0, Some(SIZE)));
    }

    #[test]
    fn it_is_complete_when_it_matches() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1, 2], SIZE);
        let mut now = NOW;
        let complete = Arrival::Complete {
            info: info(),
            liars: vec![],
        };
        assert_eq!(run(&mut fetch, &mut now, &[], |_| {}), complete);
    }

    #[test]
    fn who_gives_all_of_it_wrong_is_guilty() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1], SIZE);
        let mut now = NOW;
        let mut lied = false;
        for (to, piece) in fetch.requests(now) {
            fetch
                .received(
                    to,
                    piece,
                    None,
                    &[9; 16_384][..piece_len(SIZE, piece) as usize],
                )
                .unwrap();
        }
        offer(&mut fetch, &[2], SIZE);
        // The rest is asked of the same peer, for it is quicker.
        run(&mut fetch, &mut now, &[1], |arrival| {
            lied |= *arrival == Arrival::Lied { by: address(1) } || *arrival == Arrival::Spoilt;
        });
        assert!(lied);
    }

    #[test]
    fn among_many_liars_the_honest_one_is_found_and_the_liars_are_named() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1, 2, 3, 4, 5], SIZE);
        let mut now = NOW;
        let mut spoilt = 0;
        let mut lied = Vec::new();
        let end = run(
            &mut fetch,
            &mut now,
            &[1, 2, 4, 5],
            |arrival| match arrival {
                Arrival::Spoilt => spoilt += 1,
                Arrival::Lied { by } => lied.push(*by),
                Arrival::Waiting | Arrival::Complete { .. } => {}
            },
        );
        let Arrival::Complete { info: found, liars } = end else {
            panic!("{end:?}");
        };
        assert_eq!((found, spoilt), (info(), 1));
        assert_eq!(lied, [address(1), address(2)], "found one by one");
        let mut guilty = [liars, lied].concat();
        guilty.sort_unstable();
        guilty.dedup();
        assert_eq!(guilty, [1, 2, 4, 5].map(address), "and by comparison");
    }

    #[test]
    fn a_peer_that_is_silent_is_passed_over() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1, 2], SIZE);
        let first = fetch.requests(NOW);
        let silent: Vec<u32> = first
            .iter()
            .filter(|(to, _)| *to == conn(1))
            .map(|(_, piece)| *piece)
            .collect();
        for (to, piece) in &first {
            if *to == conn(2) {
                let data = slice(&info(), *piece).unwrap();
                fetch.received(*to, *piece, None, &data).unwrap();
            }
        }
        assert!(fetch.requests(NOW).is_empty());
        let later = fetch.deadline(NOW).unwrap();
        assert_eq!(later, NOW + IMPATIENCE);
        let again: Vec<(ConnId, u32)> = fetch.requests(later);
        assert_eq!(
            again,
            silent
                .iter()
                .map(|piece| (conn(2), *piece))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn who_rejects_is_asked_again_later() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1], SIZE);
        assert_eq!(fetch.requests(NOW).len(), DEPTH);
        fetch.rejected(conn(1), 0, NOW);
        assert!(fetch.requests(NOW).is_empty());
        assert_eq!(fetch.deadline(NOW), Some(NOW + AFTER_REJECT));
        assert_eq!(fetch.requests(NOW + AFTER_REJECT).len(), DEPTH);
    }

    #[test]
    fn the_size_that_most_addresses_claim_is_tried_first() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1], 100);
        assert_eq!(fetch.requests(NOW), [(conn(1), 0)]);
        offer(&mut fetch, &[2, 3], SIZE);
        // Many connections of one address have one vote.
        for number in 10..20 {
            fetch.offer(conn(number), address(1), 100);
        }
        assert!(!fetch.requests(NOW).is_empty());
        assert_eq!(fetch.progress(), (0, Some(SIZE)));
        fetch.rejected(conn(2), 0, NOW);
        fetch.rejected(conn(3), 1, NOW);
        fetch.requests(NOW);
        assert_eq!(
            fetch.progress(),
            (0, Some(100)),
            "who can't give has no vote"
        );
    }

    #[test]
    fn sizes_that_are_too_large_are_not_believed() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1, 2], u32::MAX);
        offer(&mut fetch, &[3], 0);
        offer(&mut fetch, &[4], (1 << 20) + 1);
        assert_eq!((fetch.givers(), fetch.requests(NOW).len()), (0, 0));
        offer(&mut fetch, &[1], 1 << 20);
        assert_eq!(fetch.givers(), 1);
        // It was promised, and nothing has come: nothing is kept for it.
        assert_eq!(fetch.pieces.len(), 0);
    }

    #[test]
    fn pieces_of_a_wrong_length_and_floods_are_faults() {
        let mut fetch = fetch();
        offer(&mut fetch, &[1], SIZE);
        fetch.requests(NOW);
        let bad = Blame::Misbehaved(Misbehaviour::BadExtension);
        assert_eq!(fetch.received(conn(1), 0, None, &[0; 5]), Err(bad));
        let unasked = |fetch: &mut Fetch| fetch.received(conn(1), 9, None, &[0; 5]);
        for _ in 0..MAX_UNASKED {
            assert_eq!(unasked(&mut fetch), Ok(Arrival::Waiting));
        }
        let flood = Blame::Misbehaved(Misbehaviour::UnrequestedData);
        assert_eq!(unasked(&mut fetch), Err(flood));
    }

    quickcheck! {
        fn one_honest_peer_is_enough(liars: Vec<u8>, honest: u8) -> bool {
            let mut fetch = fetch();
            let mut liars: Vec<u8> = liars.into_iter().filter(|liar| *liar != honest).collect();
            liars.truncate(6);
            offer(&mut fetch, &liars, SIZE);
            offer(&mut fetch, &[honest], SIZE);
            let mut now = NOW;
            let mut accused = Vec::new();
            let end = run(&mut fetch, &mut now, &liars, |arrival| {
                if let Arrival::Lied { by } = arrival {
                    accused.push(*by);
                }
            });
            match end {
                Arrival::Complete { info: found, liars } => {
                    found == info()
                        && !accused.contains(&address(honest))
                        && !liars.contains(&address(honest))
                }
                Arrival::Waiting | Arrival::Lied { .. } | Arrival::Spoilt => false,
            }
        }
    }
}
