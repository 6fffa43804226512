//! Thousands of torrents in one engine: no call does more than a count, whatever their number.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it expects and fails at the rest"
)]

use std::collections::VecDeque;

use anabranch_core::action::DiskJob;
use anabranch_core::command::AddTorrent;
use anabranch_core::event::{DiskDone, HttpReply, OpResult, Opened};
use anabranch_core::id::{OpId, RequestId};
use anabranch_core::limits::{MAX_HTTP_ANNOUNCES, MAX_OPENING, REMOVALS_PER_CALL};
use anabranch_core::metainfo::Creator;
use anabranch_core::{
    Action, Actions, Bitfield, Command, Config, Engine, Event, Instant, Seed, UnixTime, Wake,
};

const TORRENTS: u32 = 1_000;
const PIECES: u32 = 8;

/// An engine with many torrents, and what it asked for and has not got.
struct Many {
    engine: Engine,
    now: Instant,
    opening: VecDeque<OpId>,
    verifying: VecDeque<OpId>,
    announcing: VecDeque<OpId>,
    closing: VecDeque<OpId>,
    /// The most actions of one call.
    most: usize,
    replies: usize,
}

impl Many {
    fn new(config: Config) -> Self {
        Self {
            engine: Engine::new(config, Seed([3; 32]), Instant::ZERO, UnixTime(0)),
            now: Instant::ZERO,
            opening: VecDeque::new(),
            verifying: VecDeque::new(),
            announcing: VecDeque::new(),
            closing: VecDeque::new(),
            most: 0,
            replies: 0,
        }
    }

    /// Tells the engine something, and sorts what it wants.
    fn tell(&mut self, event: Event) -> Wake {
        let mut actions = Actions::new();
        let wake = self.engine.handle(self.now, event, &mut actions);
        self.most = self.most.max(actions.len());
        for action in actions.drain() {
            if let Action::Disk { op, job, .. } = action {
                match job {
                    DiskJob::Open(_) => self.opening.push_back(op),
                    DiskJob::Verify { .. } => self.verifying.push_back(op),
                    DiskJob::Close => self.closing.push_back(op),
                    // What was found is recorded, which nothing here waits for.
                    DiskJob::Checkpoint { .. } => {}
                    other => panic!("{other:?}"),
                }
            } else if let Action::Http { op, .. } = action {
                self.announcing.push_back(op);
            } else if let Action::Reply { result, .. } = action {
                result.expect("it is carried out");
                self.replies += 1;
            }
        }
        wake
    }

    /// Adds torrents with a tracker each.
    fn fill(&mut self) {
        for number in 0..TORRENTS {
            let mut digests = vec![7; 20 * PIECES as usize];
            digests[..4].copy_from_slice(&number.to_be_bytes());
            let creation = Creator::single_file("data", u64::from(PIECES) << 14)
                .with_piece_length(1 << 14)
                .with_tracker_tier([format!("http://tracker{number}.example/")])
                .finish(&digests)
                .expect("a torrent");
            let add = AddTorrent {
                metainfo: creation.torrent,
                ..AddTorrent::default()
            };
            let request = RequestId(number.into());
            let _ = self.tell(Event::Command {
                request,
                command: Box::new(Command::AddTorrent(add)),
            });
        }
    }

    fn done(&mut self, op: OpId, result: OpResult) {
        let _ = self.tell(Event::Done { op, result });
    }

    fn open_next(&mut self, doubtful: Bitfield) -> bool {
        let Some(op) = self.opening.pop_front() else {
            return false;
        };
        let opened = Opened {
            trusted: Bitfield::new(PIECES),
            doubtful,
            ..Opened::default()
        };
        self.done(op, OpResult::Disk(Ok(DiskDone::Opened(Box::new(opened)))));
        true
    }
}

#[test]
fn storages_are_opened_and_checked_so_many_at_a_time_and_all_in_the_end() {
    let config = Config::default();
    let depth = config.check_depth as usize;
    let mut many = Many::new(config);
    many.fill();
    let (mut opened, mut verified) = (0, 0);
    loop {
        assert!(many.opening.len() <= MAX_OPENING as usize);
        assert!(many.verifying.len() <= depth);
        if many.open_next(Bitfield::full(PIECES)) {
            opened += 1;
        } else if let Some(op) = many.verifying.pop_front() {
            verified += 1;
            many.done(op, OpResult::Disk(Ok(DiskDone::Verified { matches: true })));
        } else {
            break;
        }
    }
    assert_eq!((opened, verified), (TORRENTS, TORRENTS * PIECES));
    many.engine.check();
}

#[test]
fn trackers_are_asked_so_many_at_a_time_and_all_in_the_end() {
    let mut many = Many::new(Config::default());
    many.fill();
    while many.open_next(Bitfield::new(PIECES)) {}
    let mut asked = 0;
    while let Some(op) = many.announcing.pop_front() {
        assert!(many.announcing.len() < MAX_HTTP_ANNOUNCES as usize);
        asked += 1;
        let body = "d8:completei1e10:incompletei1e8:intervali1800e5:peers0:e";
        let reply = HttpReply {
            status: 200,
            body: body.into(),
            retry_after: None,
        };
        many.done(op, OpResult::Http(Ok(reply)));
    }
    assert_eq!(asked, TORRENTS);
    many.engine.check();
}

#[test]
fn an_end_takes_leave_of_so_many_torrents_a_call() {
    let mut many = Many::new(Config::default());
    many.fill();
    while many.open_next(Bitfield::new(PIECES)) {}
    many.most = 0;
    many.replies = 0;
    let mut wake = many.tell(Event::Command {
        request: RequestId(9_999_999),
        command: Box::new(Command::Shutdown),
    });
    let mut calls = 1;
    while matches!(wake, Wake::Now(_)) {
        wake = many.tell(Event::Tick);
        calls += 1;
    }
    assert!(calls >= TORRENTS as usize / REMOVALS_PER_CALL, "{calls}");
    // A state, a goodbye, a record, and what else one torrent does in the end.
    assert!(many.most <= 8 * REMOVALS_PER_CALL, "{}", many.most);
    while let Some(op) = many.closing.pop_front() {
        many.done(op, OpResult::Disk(Ok(DiskDone::Closed)));
    }
    while let Some(op) = many.announcing.pop_front() {
        many.done(op, OpResult::Cancelled);
    }
    assert!(many.engine.is_down());
    assert_eq!(many.replies, 1);
}
