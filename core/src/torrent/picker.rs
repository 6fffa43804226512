//! BEP 3: which piece to fetch next, rarest first.

use alloc::vec;
use alloc::vec::Vec;

use crate::bitfield::Bitfield;
use crate::command::Priority;
use crate::rng::Rng;

/// Availability, state and priority of every piece of a torrent, arranged so that a choice touches
/// few of them.
///
/// The pieces that may be started ("open": wanted, not there, not under way) of one priority stand
/// in one array, sorted by how many peers have them. A piece that becomes more or less common by one
/// moves over one boundary of that array, which takes a swap. Peers that have everything are counted
/// together, as they change no order.
///
/// Takes some 13 bytes a piece.
#[derive(Debug)]
pub(crate) struct Picker {
    /// By piece: how many of the counted peers have it; those with a full map are not in it.
    availability: Vec<u32>,
    priority: Vec<Priority>,
    /// By piece: where it stands in the line of its priority, while it is open.
    position: Vec<u32>,
    /// The open pieces: high, normal, low.
    lines: [Line; 3],
    have: Bitfield,
    /// Wanted and not there, under way or not.
    missing: Bitfield,
    /// Under way: somebody is asked for them, or they are being stored.
    started: Bitfield,
    wanted: u32,
    /// By availability: how many wanted pieces have it, there or not.
    histogram: Vec<u32>,
    seeds: u32,
}

/// How to choose between pieces of the same priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The piece that fewest peers have; by lot between equals, so that peers with the same view do
    /// not all fetch the same one.
    RarestFirst,
    /// By lot. For the first piece: a rare one comes slowly, and without a piece there is nothing to
    /// trade.
    Random,
    /// The lowest index.
    Sequential,
}

impl Picker {
    /// No peer, nothing there, everything wanted as usual.
    pub(crate) fn new(pieces: u32) -> Self {
        let mut normal = Line::new(pieces);
        normal.order = (0..pieces).collect();
        normal.open = Bitfield::full(pieces);
        Self {
            availability: vec![0; pieces as usize],
            priority: vec![Priority::Normal; pieces as usize],
            position: (0..pieces).collect(),
            lines: [Line::new(pieces), normal, Line::new(pieces)],
            have: Bitfield::new(pieces),
            missing: Bitfield::full(pieces),
            started: Bitfield::new(pieces),
            wanted: pieces,
            histogram: vec![pieces],
            seeds: 0,
        }
    }

    /// Counts a peer. It counts as a seed exactly as long as its map is full.
    pub(crate) fn peer_joined(&mut self, map: &Bitfield) {
        if map.is_full() {
            self.seeds += 1;
        } else {
            map.iter().for_each(|piece| self.more(piece));
        }
    }

    /// Forgets a peer that was counted, and whose map is `map` by now.
    pub(crate) fn peer_left(&mut self, map: &Bitfield) {
        if map.is_full() {
            self.seeds = self.seeds.saturating_sub(1);
        } else {
            map.iter().for_each(|piece| self.fewer(piece));
        }
    }

    /// A peer that was counted got `piece`; `map` holds it already, and did not before.
    pub(crate) fn peer_has(&mut self, map: &Bitfield, piece: u32) {
        self.more(piece);
        if map.is_full() {
            self.promote();
        }
    }

    /// Turns a peer that is counted for every single piece into a seed. As every piece loses one,
    /// the order stays and the boundaries move together.
    fn promote(&mut self) {
        self.seeds += 1;
        for availability in &mut self.availability {
            *availability = availability.saturating_sub(1);
        }
        for line in &mut self.lines {
            if line.starts.len() > 1 {
                line.starts.remove(0);
            }
        }
        if self.histogram.len() > 1 {
            self.histogram.remove(0);
        }
    }

    fn more(&mut self, piece: u32) {
        let Some(availability) = self.availability.get_mut(piece as usize) else {
            return;
        };
        let before = *availability;
        *availability += 1;
        if let Some(line) = self.line_of(piece) {
            self.lines[line].raise(&mut self.position, piece, before);
        }
        if self.is_wanted(piece) {
            self.uncount(before);
            self.count(before + 1);
        }
    }

    fn fewer(&mut self, piece: u32) {
        let Some(availability) = self.availability.get_mut(piece as usize) else {
            return;
        };
        let before = *availability;
        if before == 0 {
            return;
        }
        *availability -= 1;
        if let Some(line) = self.line_of(piece) {
            self.lines[line].lower(&mut self.position, piece, before);
        }
        if self.is_wanted(piece) {
            self.uncount(before);
            self.count(before - 1);
        }
    }

    /// Changes how much a piece is wanted. Says whether that is news.
    pub(crate) fn set_priority(&mut self, piece: u32, priority: Priority) -> bool {
        let Some(before) = self.priority.get(piece as usize).copied() else {
            return false;
        };
        if before == priority {
            return false;
        }
        self.close(piece);
        let availability = self.availability[piece as usize];
        if before != Priority::Skip {
            self.wanted -= 1;
            self.uncount(availability);
            self.missing.remove(piece);
        }
        self.priority[piece as usize] = priority;
        if priority != Priority::Skip {
            self.wanted += 1;
            self.count(availability);
            if !self.have.contains(piece) {
                self.missing.insert(piece);
            }
        }
        self.open(piece);
        true
    }

    /// The piece is verified and stored. Says whether that is news.
    pub(crate) fn set_have(&mut self, piece: u32) -> bool {
        self.close(piece);
        self.started.remove(piece);
        self.missing.remove(piece);
        self.have.insert(piece)
    }

    /// The piece is not there any more. Says whether that is news.
    pub(crate) fn set_lost(&mut self, piece: u32) -> bool {
        if !self.have.remove(piece) {
            return false;
        }
        if self.is_wanted(piece) {
            self.missing.insert(piece);
        }
        self.open(piece);
        true
    }

    /// Takes a piece on: it is not picked again before [`release`](Self::release). Says whether it
    /// could be: a piece that is there or under way cannot.
    pub(crate) fn start(&mut self, piece: u32) -> bool {
        if self.have.contains(piece) || self.started.contains(piece) {
            return false;
        }
        self.close(piece);
        self.started.insert(piece)
    }

    /// Gives a piece up that was taken on.
    pub(crate) fn release(&mut self, piece: u32) {
        if self.started.remove(piece) {
            self.open(piece);
        }
    }

    /// The best open piece among those in `map`: of the highest priority that there is, chosen by
    /// `order`.
    pub(crate) fn pick(&self, map: &Bitfield, rng: &mut Rng, order: Order) -> Option<u32> {
        self.lines
            .iter()
            .filter(|line| line.open.count() != 0)
            .find_map(|line| match order {
                Order::RarestFirst => line.rarest(map, &self.availability, rng),
                Order::Random => line.random(map, rng),
                Order::Sequential => line.first(map),
            })
    }

    /// How many pieces may be started.
    pub(crate) fn open_pieces(&self) -> u32 {
        self.lines.iter().map(|line| line.open.count()).sum()
    }

    /// Whether any open piece is with a counted peer.
    pub(crate) fn has_obtainable(&self) -> bool {
        self.lines.iter().any(|line| {
            // The most common piece stands last.
            line.order.last().is_some_and(|piece| {
                let among_others = self.availability.get(*piece as usize);
                self.seeds > 0 || among_others.is_some_and(|count| *count > 0)
            })
        })
    }

    /// The priority of the most urgent open pieces, if there is one among them that none of the counted
    /// peers has but the seeds.
    pub(crate) fn unique_priority(&self) -> Option<Priority> {
        let line = self.lines.iter().find(|line| !line.order.is_empty())?;
        let rarest = *line.order.first()?;
        (self.availability(rarest) == 0).then(|| self.priority(rarest))?
    }

    /// Whether the piece may be started.
    pub(crate) fn is_open(&self, piece: u32) -> bool {
        self.missing.contains(piece) && !self.started.contains(piece)
    }

    /// Whether the piece is wanted and not there, under way or not.
    pub(crate) fn is_missing(&self, piece: u32) -> bool {
        self.missing.contains(piece)
    }

    /// Whether `map` has a piece that is missing.
    #[cfg(test)]
    pub(crate) fn is_interesting(&self, map: &Bitfield) -> bool {
        both(map, &self.missing).any(|word| word != 0)
    }

    /// How many missing pieces `map` has. A caller that keeps the number up to date with
    /// [`is_missing`](Self::is_missing) knows at any time whether the peer is of interest.
    pub(crate) fn count_missing(&self, map: &Bitfield) -> u32 {
        both(map, &self.missing).map(u64::count_ones).sum()
    }

    pub(crate) fn priority(&self, piece: u32) -> Option<Priority> {
        self.priority.get(piece as usize).copied()
    }

    /// What is verified and stored.
    pub(crate) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// What is wanted and not there.
    pub(crate) fn missing(&self) -> &Bitfield {
        &self.missing
    }

    /// How many pieces are wanted, there or not.
    pub(crate) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Whole copies of what is wanted among the counted peers, in thousandths: those that every
    /// piece is part of, and the share of pieces that are part of one more.
    pub(crate) fn copies_permille(&self) -> u64 {
        if self.wanted == 0 {
            return 0;
        }
        let (fewest, pieces) = self
            .histogram
            .iter()
            .enumerate()
            .find(|(_, pieces)| **pieces != 0)
            .map_or((0, self.wanted), |(fewest, pieces)| (fewest, *pieces));
        let more = u64::from(self.wanted - pieces) * 1000 / u64::from(self.wanted);
        (u64::from(self.seeds) + fewest as u64) * 1000 + more
    }

    /// How many of the counted peers that lack something have the piece.
    pub(crate) fn availability(&self, piece: u32) -> u32 {
        self.availability
            .get(piece as usize)
            .copied()
            .unwrap_or_default()
    }

    fn is_wanted(&self, piece: u32) -> bool {
        self.priority(piece)
            .is_some_and(|priority| priority != Priority::Skip)
    }

    /// The line that the piece stands in.
    fn line_of(&self, piece: u32) -> Option<usize> {
        if self.is_open(piece) {
            line_for(self.priority(piece)?)
        } else {
            None
        }
    }

    /// Lines the piece up, if it is open.
    fn open(&mut self, piece: u32) {
        if let Some(line) = self.line_of(piece) {
            let availability = self.availability[piece as usize];
            self.lines[line].insert(&mut self.position, piece, availability);
        }
    }

    /// Takes the piece out of its line, if it is open.
    fn close(&mut self, piece: u32) {
        if let Some(line) = self.line_of(piece) {
            let availability = self.availability[piece as usize];
            self.lines[line].remove(&mut self.position, piece, availability);
        }
    }

    fn count(&mut self, availability: u32) {
        let availability = availability as usize;
        if self.histogram.len() <= availability {
            self.histogram.resize(availability + 1, 0);
        }
        self.histogram[availability] += 1;
    }

    fn uncount(&mut self, availability: u32) {
        self.histogram[availability as usize] -= 1;
    }

    /// Panics unless all parts agree.
    pub(crate) fn check(&self) {
        let pieces = self.have.len();
        let mut wanted = 0;
        let mut histogram = vec![0; self.histogram.len()];
        for piece in 0..pieces {
            let is_wanted = self.is_wanted(piece);
            let is_missing = is_wanted && !self.have.contains(piece);
            assert_eq!(self.missing.contains(piece), is_missing);
            assert!(!(self.have.contains(piece) && self.started.contains(piece)));
            for (index, line) in self.lines.iter().enumerate() {
                assert_eq!(
                    line.open.contains(piece),
                    self.line_of(piece) == Some(index)
                );
            }
            if is_wanted {
                wanted += 1;
                histogram[self.availability[piece as usize] as usize] += 1;
            }
        }
        assert_eq!(self.wanted, wanted);
        assert_eq!(self.histogram, histogram);
        for line in &self.lines {
            assert_eq!(line.order.len(), line.open.count() as usize);
            assert_eq!(line.starts.first(), Some(&0));
            assert!(line.starts.is_sorted());
            for availability in 0..line.starts.len() {
                for index in line.bucket(availability) {
                    let piece = line.order[index];
                    assert!(line.open.contains(piece));
                    assert_eq!(self.position[piece as usize] as usize, index);
                    assert_eq!(
                        self.availability[piece as usize] as usize, availability,
                        "piece {piece} stands among others"
                    );
                }
            }
        }
    }
}

fn line_for(priority: Priority) -> Option<usize> {
    match priority {
        Priority::Skip => None,
        Priority::High => Some(0),
        Priority::Normal => Some(1),
        Priority::Low => Some(2),
    }
}

/// The words of the intersection of two maps.
fn both<'a>(a: &'a Bitfield, b: &'a Bitfield) -> impl Iterator<Item = u64> + 'a {
    // Bits behind the last piece are unspecified in either map.
    let spare = (64 - a.len().min(b.len()) % 64) % 64;
    let words = a.words().len().min(b.words().len());
    a.words()
        .iter()
        .zip(b.words())
        .enumerate()
        .map(move |(at, (a, b))| {
            let mask = if at + 1 == words {
                u64::MAX >> spare
            } else {
                u64::MAX
            };
            a & b & mask
        })
}

/// The open pieces of one priority.
#[derive(Debug)]
struct Line {
    /// Sorted by availability.
    order: Vec<u32>,
    /// By availability: where its bucket begins in `order`. It ends where the next one begins. Never
    /// empty.
    starts: Vec<u32>,
    /// The same pieces as a set.
    open: Bitfield,
    /// No open piece stands in a word of the set before this one.
    low: usize,
}

impl Line {
    fn new(pieces: u32) -> Self {
        Self {
            order: Vec::new(),
            starts: vec![0],
            open: Bitfield::new(pieces),
            low: 0,
        }
    }

    fn bucket(&self, availability: usize) -> core::ops::Range<usize> {
        let start = self.starts[availability] as usize;
        let end = self
            .starts
            .get(availability + 1)
            .map_or(self.order.len(), |end| *end as usize);
        start..end
    }

    fn grow(&mut self, availability: u32) {
        let end = self.order.len() as u32;
        if self.starts.len() <= availability as usize {
            self.starts.resize(availability as usize + 1, end);
        }
    }

    /// Drops empty buckets at the end, so that the walks over buckets stay short.
    fn trim(&mut self) {
        while self.starts.len() > 1 && self.starts.last() == Some(&(self.order.len() as u32)) {
            self.starts.pop();
        }
    }

    fn put(&mut self, position: &mut [u32], piece: u32, index: usize) {
        self.order[index] = piece;
        position[piece as usize] = index as u32;
    }

    fn insert(&mut self, position: &mut [u32], piece: u32, availability: u32) {
        self.grow(availability);
        self.open.insert(piece);
        self.low = self.low.min(piece as usize / 64);
        // The gap at the end travels to the piece's bucket: the first of each bucket on the way
        // becomes its last.
        let mut gap = self.order.len();
        self.order.push(piece);
        for bucket in (availability as usize + 1..self.starts.len()).rev() {
            let first = self.starts[bucket] as usize;
            if first != gap {
                self.put(position, self.order[first], gap);
            }
            self.starts[bucket] += 1;
            gap = first;
        }
        self.put(position, piece, gap);
    }

    fn remove(&mut self, position: &mut [u32], piece: u32, availability: u32) {
        self.open.remove(piece);
        let mut gap = position[piece as usize] as usize;
        for bucket in availability as usize..self.starts.len() {
            let last = self.bucket(bucket).end - 1;
            if last != gap {
                self.put(position, self.order[last], gap);
            }
            if let Some(next) = self.starts.get_mut(bucket + 1) {
                *next -= 1;
            }
            gap = last;
        }
        self.order.pop();
        self.trim();
        let words = self.open.words();
        while words.get(self.low) == Some(&0) {
            self.low += 1;
        }
    }

    /// The piece was in the bucket `before`, and goes to the one behind it.
    fn raise(&mut self, position: &mut [u32], piece: u32, before: u32) {
        self.grow(before + 1);
        let last = self.bucket(before as usize).end - 1;
        let index = position[piece as usize] as usize;
        self.put(position, self.order[last], index);
        self.put(position, piece, last);
        self.starts[before as usize + 1] -= 1;
    }

    /// The piece was in the bucket `before`, and goes to the one in front of it.
    fn lower(&mut self, position: &mut [u32], piece: u32, before: u32) {
        let first = self.starts[before as usize] as usize;
        let index = position[piece as usize] as usize;
        self.put(position, self.order[first], index);
        self.put(position, piece, first);
        self.starts[before as usize] += 1;
        self.trim();
    }

    fn rarest(&self, map: &Bitfield, availability: &[u32], rng: &mut Rng) -> Option<u32> {
        // A peer with many of the pieces has one of the first few. Where it does not, the walk is
        // given up when it has cost as much as comparing the maps.
        let words = map.words();
        let matches = map.count().min(self.open.count()) as usize;
        let mut budget = 64 + words.len() + matches;
        for bucket in 0..self.starts.len() {
            let bucket = self.bucket(bucket);
            if bucket.is_empty() {
                continue;
            }
            let pieces = &self.order[bucket];
            let turn = rng.below(pieces.len() as u32) as usize;
            let (head, tail) = pieces.split_at(turn);
            for piece in tail.iter().chain(head).take(budget) {
                if map.len() > *piece && words[*piece as usize / 64] >> (piece % 64) & 1 == 1 {
                    return Some(*piece);
                }
            }
            budget = budget.saturating_sub(pieces.len());
            if budget == 0 {
                return self.rarest_of_all(map, availability, rng);
            }
        }
        None
    }

    fn rarest_of_all(&self, map: &Bitfield, availability: &[u32], rng: &mut Rng) -> Option<u32> {
        let mut best = None;
        let mut fewest = u32::MAX;
        let mut equals = 0;
        for piece in self.matches(map) {
            let peers = availability[piece as usize];
            if peers < fewest {
                (best, fewest, equals) = (Some(piece), peers, 1);
            } else if peers == fewest {
                // Each of the equals is left with the same chance.
                equals += 1;
                if rng.below(equals) == 0 {
                    best = Some(piece);
                }
            }
        }
        best
    }

    fn first(&self, map: &Bitfield) -> Option<u32> {
        self.matches(map).next()
    }

    fn random(&self, map: &Bitfield, rng: &mut Rng) -> Option<u32> {
        let matches: u32 = both(map, &self.open).map(u64::count_ones).sum();
        let mut skip = rng.below(matches);
        for (at, mut word) in both(map, &self.open).enumerate() {
            let ones = word.count_ones();
            if skip >= ones {
                skip -= ones;
                continue;
            }
            for _ in 0..skip {
                word &= word - 1;
            }
            if word != 0 {
                return Some(at as u32 * 64 + word.trailing_zeros());
            }
        }
        None
    }

    /// The open pieces in `map`, ascending.
    fn matches<'a>(&'a self, map: &'a Bitfield) -> impl Iterator<Item = u32> + 'a {
        both(map, &self.open)
            .enumerate()
            .skip(self.low)
            .flat_map(|(at, mut word)| {
                core::iter::from_fn(move || {
                    if word == 0 {
                        return None;
                    }
                    let bit = word.trailing_zeros();
                    word &= word - 1;
                    Some(at as u32 * 64 + bit)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;
    use crate::rng::Seed;

    const PRIORITIES: [Priority; 4] = [
        Priority::Skip,
        Priority::Low,
        Priority::Normal,
        Priority::High,
    ];

    fn rng() -> Rng {
        Rng::new(Seed([7; 32]))
    }

    fn map(len: u32, pieces: impl IntoIterator<Item = u32>) -> Bitfield {
        let mut map = Bitfield::new(len);
        for piece in pieces {
            map.insert(piece);
        }
        map
    }

    #[derive(Clone, Debug)]
    enum Step {
        Join(Vec<u32>),
        JoinFull,
        Leave(usize),
        Has(usize, u32),
        Complete(usize),
        Prioritise(u32, usize),
        Have(u32),
        Lose(u32),
        Start(u32),
        Release(u32),
        Pick(usize),
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            let n = usize::arbitrary(g);
            let piece = u32::arbitrary(g);
            match u8::arbitrary(g) % 15 {
                0 | 1 => Self::Join(Vec::arbitrary(g)),
                2 => Self::JoinFull,
                3 => Self::Leave(n),
                4..=6 => Self::Has(n, piece),
                7 => Self::Complete(n),
                8 => Self::Prioritise(piece, n),
                9 => Self::Have(piece),
                10 => Self::Lose(piece),
                11 | 12 => Self::Start(piece),
                13 => Self::Release(piece),
                _ => Self::Pick(n),
            }
        }
    }

    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Open,
        Started,
        Have,
    }

    quickcheck! {
        fn agrees_with_a_naive_model(len: u8, steps: Vec<Step>) -> bool {
            let len = u32::from(len) % 90 + 1;
            let mut rng = rng();
            let mut picker = Picker::new(len);
            let mut peers: Vec<Bitfield> = Vec::new();
            let mut state = vec![State::Open; len as usize];
            let mut priority = vec![Priority::Normal; len as usize];
            for step in steps {
                let count = peers.len().max(1);
                match step {
                    Step::Join(ref pieces) => {
                        peers.push(map(len, pieces.iter().map(|piece| piece % len)));
                        picker.peer_joined(&peers[peers.len() - 1]);
                    }
                    Step::JoinFull => {
                        peers.push(Bitfield::full(len));
                        picker.peer_joined(&peers[peers.len() - 1]);
                    }
                    Step::Leave(n) if !peers.is_empty() => {
                        let map = peers.swap_remove(n % count);
                        picker.peer_left(&map);
                    }
                    Step::Has(n, piece) => {
                        if let Some(map) = peers.get_mut(n % count)
                            && map.insert(piece % len)
                        {
                            picker.peer_has(map, piece % len);
                        }
                    }
                    Step::Complete(n) => {
                        if let Some(map) = peers.get_mut(n % count) {
                            for piece in 0..len {
                                if map.insert(piece) {
                                    picker.peer_has(map, piece);
                                }
                            }
                        }
                    }
                    Step::Prioritise(piece, n) => {
                        picker.set_priority(piece % len, PRIORITIES[n % 4]);
                        priority[(piece % len) as usize] = PRIORITIES[n % 4];
                    }
                    Step::Have(piece) => {
                        picker.set_have(piece % len);
                        state[(piece % len) as usize] = State::Have;
                    }
                    Step::Lose(piece) => {
                        picker.set_lost(piece % len);
                        let state = &mut state[(piece % len) as usize];
                        if *state == State::Have {
                            *state = State::Open;
                        }
                    }
                    Step::Start(piece) => {
                        let state = &mut state[(piece % len) as usize];
                        assert_eq!(picker.start(piece % len), *state == State::Open);
                        if *state == State::Open {
                            *state = State::Started;
                        }
                    }
                    Step::Release(piece) => {
                        picker.release(piece % len);
                        let state = &mut state[(piece % len) as usize];
                        if *state == State::Started {
                            *state = State::Open;
                        }
                    }
                    Step::Leave(_) | Step::Pick(_) => {}
                }
                picker.check();
                let availability = |piece: u32| {
                    peers.iter().filter(|map| map.contains(piece)).count() as u32
                };
                let wanted = |piece: &u32| priority[*piece as usize] != Priority::Skip;
                let missing = |piece: &u32| wanted(piece) && state[*piece as usize] != State::Have;
                let all: Vec<u32> = (0..len).filter(wanted).collect();
                assert_eq!(picker.wanted() as usize, all.len());
                if let Some(fewest) = all.iter().map(|piece| availability(*piece)).min() {
                    let more = all.iter().filter(|piece| availability(**piece) > fewest).count();
                    let copies = u64::from(fewest) * 1000 + more as u64 * 1000 / all.len() as u64;
                    assert_eq!(picker.copies_permille(), copies);
                }
                if let Step::Pick(n) = step && let Some(map) = peers.get(n % count) {
                    let interesting = map.iter().filter(missing).count();
                    assert_eq!(picker.count_missing(map) as usize, interesting);
                    assert_eq!(picker.is_interesting(map), interesting != 0);
                    let open = |piece: &u32| missing(piece) && state[*piece as usize] == State::Open;
                    let best = map.iter().filter(open).map(|piece| priority[piece as usize]).max();
                    let best: Vec<u32> = map
                        .iter()
                        .filter(open)
                        .filter(|piece| Some(priority[*piece as usize]) == best)
                        .collect();
                    let rarest = picker.pick(map, &mut rng, Order::RarestFirst);
                    assert_eq!(
                        rarest.map(availability),
                        best.iter().map(|piece| availability(*piece)).min()
                    );
                    assert!(rarest.is_none_or(|piece| best.contains(&piece)));
                    for line in &picker.lines {
                        let quick = line.rarest(map, &picker.availability, &mut rng);
                        let slow = line.rarest_of_all(map, &picker.availability, &mut rng);
                        assert_eq!(quick.map(availability), slow.map(availability));
                    }
                    let random = picker.pick(map, &mut rng, Order::Random);
                    assert_eq!(random.is_some(), !best.is_empty());
                    assert!(random.is_none_or(|piece| best.contains(&piece)));
                    let first = picker.pick(map, &mut rng, Order::Sequential);
                    assert_eq!(first, best.first().copied());
                }
            }
            true
        }
    }

    #[test]
    fn a_piece_that_only_seeds_have_is_known_among_the_most_urgent() {
        let mut picker = Picker::new(3);
        assert_eq!(picker.unique_priority(), Some(Priority::Normal));
        let mut map = Bitfield::new(3);
        for piece in [0, 1] {
            map.insert(piece);
        }
        picker.peer_joined(&map);
        picker.peer_joined(&Bitfield::full(3));
        assert_eq!(picker.unique_priority(), Some(Priority::Normal));
        picker.set_priority(1, Priority::High);
        assert_eq!(picker.unique_priority(), None);
        picker.start(1);
        assert_eq!(picker.unique_priority(), Some(Priority::Normal));
        picker.start(2);
        assert_eq!(picker.unique_priority(), None);
    }

    #[test]
    fn the_rarest_piece_comes_first_and_a_higher_priority_before_it() {
        let mut picker = Picker::new(10);
        picker.peer_joined(&map(10, 0..9));
        picker.peer_joined(&map(10, 0..8));
        let everything = Bitfield::full(10);
        let mut rng = rng();
        let pick =
            |picker: &Picker, rng: &mut Rng| picker.pick(&everything, rng, Order::RarestFirst);
        assert_eq!(pick(&picker, &mut rng), Some(9));
        assert!(picker.start(9));
        assert_eq!(pick(&picker, &mut rng), Some(8));
        assert!(picker.set_priority(3, Priority::High));
        assert_eq!(pick(&picker, &mut rng), Some(3));
        assert!(picker.set_priority(8, Priority::Low) && picker.set_priority(3, Priority::Skip));
        assert!(pick(&picker, &mut rng).is_some_and(|piece| piece < 8 && piece != 3));
    }

    #[test]
    fn equals_are_drawn_by_lot() {
        let picker = Picker::new(100);
        let everything = Bitfield::full(100);
        let mut rng = rng();
        for order in [Order::RarestFirst, Order::Random] {
            let mut seen = Bitfield::new(100);
            for _ in 0..2_000 {
                seen.insert(picker.pick(&everything, &mut rng, order).unwrap());
            }
            assert!(seen.is_full());
        }
        let mut seen = Bitfield::new(100);
        for _ in 0..2_000 {
            let piece = picker.lines[1].rarest_of_all(&everything, &picker.availability, &mut rng);
            seen.insert(piece.unwrap());
        }
        assert!(seen.is_full());
    }

    #[test]
    fn a_piece_given_up_can_be_picked_again() {
        let mut picker = Picker::new(1);
        let everything = Bitfield::full(1);
        assert!(picker.start(0) && !picker.start(0));
        assert_eq!(
            picker.pick(&everything, &mut rng(), Order::RarestFirst),
            None
        );
        assert!(picker.is_interesting(&everything));
        picker.release(0);
        assert_eq!(
            picker.pick(&everything, &mut rng(), Order::RarestFirst),
            Some(0)
        );
        assert!(picker.set_have(0) && !picker.set_have(0) && !picker.start(0));
        assert!(!picker.is_interesting(&everything));
        assert!(picker.set_lost(0) && picker.is_open(0));
        picker.check();
    }

    #[test]
    fn copies_count_whole_ones_and_the_share_of_the_next() {
        let mut picker = Picker::new(4);
        picker.peer_joined(&Bitfield::full(4));
        picker.peer_joined(&map(4, 0..3));
        assert_eq!(picker.copies_permille(), 1_750);
        picker.set_priority(3, Priority::Skip);
        assert_eq!(picker.copies_permille(), 2_000);
    }

    #[test]
    fn a_torrent_without_pieces_has_nothing_to_pick() {
        let mut picker = Picker::new(0);
        picker.peer_joined(&Bitfield::new(0));
        assert_eq!(
            picker.pick(&Bitfield::new(0), &mut rng(), Order::Random),
            None
        );
        assert_eq!(picker.copies_permille(), 0);
        picker.check();
    }
}
