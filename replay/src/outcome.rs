//! What an engine did with an event, as a hash and in brief.

use std::collections::BTreeMap;
use std::fmt;

use anabranch_core::action::{DiskJob, Segment};
use anabranch_core::datagram::Outbound;
use anabranch_core::id::ConnId;
use anabranch_core::{Action, Wake};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::number;
use crate::stream::{Follower, Part};

/// A running hash over all that an engine did.
///
/// Payload counts by its length: what is sent is followed as a peer would read it. Everything else
/// counts in full.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    hash: u64,
    /// What goes to each connection, while it stands.
    sent: BTreeMap<ConnId, Follower>,
    scratch: Vec<u8>,
}

impl Outcomes {
    /// Takes in what an event came to.
    pub(crate) fn add(&mut self, actions: &[Action], wake: Wake) {
        self.scratch.clear();
        for action in actions {
            self.action(action);
        }
        write(&mut self.scratch, &wake);
        self.hash = xxh3_64_with_seed(&self.scratch, self.hash);
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// A connection has ended.
    pub(crate) fn close(&mut self, conn: ConnId) {
        self.sent.remove(&conn);
    }

    fn action(&mut self, action: &Action) {
        let out = &mut self.scratch;
        let put = |out: &mut Vec<u8>, numbers: &[u64]| {
            for number in numbers {
                out.extend(number.to_le_bytes());
            }
        };
        out.push(ActionKind::of(action) as u8);
        match action {
            Action::Connect { conn, to, .. } => {
                self.sent.insert(*conn, Follower::new());
                put(out, &[conn.to_bits()]);
                write(out, to);
            }
            Action::Accept { ticket, conn } => {
                self.sent.insert(*conn, Follower::new());
                put(out, &[ticket.0, conn.to_bits()]);
            }
            Action::Refuse { ticket } => put(out, &[ticket.0]),
            Action::Send { conn, data } => {
                put(out, &[conn.to_bits(), data.len() as u64]);
                let unknown = &mut Follower::unknown();
                let follower = self.sent.get_mut(conn).unwrap_or(unknown);
                follower.split(data, |part| match part {
                    Part::Kept(bytes) => out.extend_from_slice(bytes),
                    Part::Payload(len) => put(out, &[len as u64]),
                });
            }
            Action::Read { conn, credit } => put(out, &[conn.to_bits(), u64::from(*credit)]),
            Action::Close { conn } => put(out, &[conn.to_bits()]),
            Action::Datagram(outbound) => {
                let Outbound {
                    to, data, segment, ..
                } = outbound;
                let way = (outbound.socket, outbound.may_fragment, outbound.is_counted);
                write(out, to);
                write(out, &way);
                put(out, &[u64::from(*segment), data.len() as u64]);
                out.extend_from_slice(data);
            }
            Action::Disk { op, torrent, job } => {
                put(out, &[op.to_bits(), torrent.to_bits()]);
                disk(out, job);
            }
            Action::Resolve { op, host, .. } => {
                put(out, &[op.to_bits()]);
                write(out, host);
            }
            Action::Http { op, request, .. } => {
                put(out, &[op.to_bits()]);
                write(out, request);
            }
            Action::Cancel { op } => put(out, &[op.to_bits()]),
            Action::Reply { request, result } => {
                put(out, &[request.0]);
                write(out, result);
            }
            Action::Notify(notice) => write(out, notice),
        }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "a job that bears no payload counts in full, whatever it is"
)]
fn disk(out: &mut Vec<u8>, job: &DiskJob) {
    match job {
        DiskJob::Store {
            piece,
            digest,
            data,
            blocks,
        } => {
            let len = |kind: fn(&Segment) -> u64| data.iter().map(kind).sum::<u64>();
            let memory = len(|segment| match segment {
                Segment::Memory(bytes) => bytes.len() as u64,
                Segment::Stored { .. } => 0,
            });
            let stored = len(|segment| match segment {
                Segment::Memory(_) => 0,
                Segment::Stored { len } => u64::from(*len),
            });
            write(out, &(piece, digest, blocks, memory, stored));
        }
        DiskJob::Write { piece, begin, data } => {
            let len: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
            write(out, &(piece, begin, len));
        }
        other => write(out, other),
    }
}

/// Appends a value as data. Into memory nothing fails but a value that has no form as data, and none
/// of the engine's is such a one; if it were, it would count for nothing.
fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    let _ = rmp_serde::encode::write(out, value);
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal, $name:literal;)*) => {
        /// What kind of thing an engine wanted done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ActionKind {
            $($(#[$doc])* $kind = $number,)*
        }

        impl ActionKind {
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// Its name in a line of text, such as `send` or `disk read`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// [`Action::Connect`].
    Connect = 1, "connect";
    /// [`Action::Accept`].
    Accept = 2, "accept";
    /// [`Action::Refuse`].
    Refuse = 3, "refuse";
    /// [`Action::Send`].
    Send = 4, "send";
    /// [`Action::Read`].
    Read = 5, "read";
    /// [`Action::Close`].
    Close = 6, "close";
    /// [`Action::Datagram`].
    Datagram = 7, "datagram";
    /// [`Action::Resolve`].
    Resolve = 8, "resolve";
    /// [`Action::Http`].
    Http = 9, "http";
    /// [`Action::Cancel`].
    Cancel = 10, "cancel";
    /// [`Action::Reply`].
    Reply = 11, "reply";
    /// [`Action::Notify`].
    Notify = 12, "notify";
    /// [`DiskJob::Open`].
    DiskOpen = 32, "disk open";
    /// [`DiskJob::Verify`].
    DiskVerify = 33, "disk verify";
    /// [`DiskJob::Store`].
    DiskStore = 34, "disk store";
    /// [`DiskJob::Write`].
    DiskWrite = 35, "disk write";
    /// [`DiskJob::Read`].
    DiskRead = 36, "disk read";
    /// [`DiskJob::Select`].
    DiskSelect = 37, "disk select";
    /// [`DiskJob::Checkpoint`].
    DiskCheckpoint = 38, "disk checkpoint";
    /// [`DiskJob::Probe`].
    DiskProbe = 39, "disk probe";
    /// [`DiskJob::Close`].
    DiskClose = 40, "disk close";
    /// [`DiskJob::Remove`].
    DiskRemove = 41, "disk remove";
    /// [`DiskJob::Trim`].
    DiskTrim = 42, "disk trim";
    /// Another [`DiskJob`].
    DiskOther = 63, "disk";
}

impl ActionKind {
    /// The kind of an action.
    #[must_use]
    #[allow(
        unreachable_patterns,
        clippy::wildcard_enum_match_arm,
        reason = "a disk job to come needs no name of its own"
    )]
    pub fn of(action: &Action) -> Self {
        match action {
            Action::Connect { .. } => Self::Connect,
            Action::Accept { .. } => Self::Accept,
            Action::Refuse { .. } => Self::Refuse,
            Action::Send { .. } => Self::Send,
            Action::Read { .. } => Self::Read,
            Action::Close { .. } => Self::Close,
            Action::Datagram(_) => Self::Datagram,
            Action::Resolve { .. } => Self::Resolve,
            Action::Http { .. } => Self::Http,
            Action::Cancel { .. } => Self::Cancel,
            Action::Reply { .. } => Self::Reply,
            Action::Notify(_) => Self::Notify,
            Action::Disk { job, .. } => match job {
                DiskJob::Open(_) => Self::DiskOpen,
                DiskJob::Verify { .. } => Self::DiskVerify,
                DiskJob::Store { .. } => Self::DiskStore,
                DiskJob::Write { .. } => Self::DiskWrite,
                DiskJob::Read { .. } => Self::DiskRead,
                DiskJob::Select { .. } => Self::DiskSelect,
                DiskJob::Checkpoint { .. } => Self::DiskCheckpoint,
                DiskJob::Probe { .. } => Self::DiskProbe,
                DiskJob::Close => Self::DiskClose,
                DiskJob::Remove { .. } => Self::DiskRemove,
                DiskJob::Trim { .. } => Self::DiskTrim,
                _ => Self::DiskOther,
            },
        }
    }
}

/// An action in brief, as a recording keeps it: enough to set beside what a replay does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionSummary {
    /// What kind.
    pub kind: ActionKind,
    /// The connection, operation or torrent as [`to_bits`](ConnId::to_bits) has it, or the number of
    /// the ticket or request; 0 where there is none.
    pub subject: u64,
    /// Bytes sent, bytes of credit, bytes of a disk job's payload, or the piece that it is about; 0
    /// where there is nothing to count.
    pub amount: u64,
}

impl ActionSummary {
    /// An action in brief.
    #[must_use]
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "most disk jobs have nothing to count"
    )]
    pub fn of(action: &Action) -> Self {
        let (subject, amount) = match action {
            Action::Connect { conn, .. } | Action::Close { conn } => (conn.to_bits(), 0),
            Action::Accept { conn, ticket } => (conn.to_bits(), ticket.0),
            Action::Refuse { ticket } => (ticket.0, 0),
            Action::Send { conn, data } => (conn.to_bits(), data.len() as u64),
            Action::Read { conn, credit } => (conn.to_bits(), u64::from(*credit)),
            Action::Datagram(Outbound { data, .. }) => (0, data.len() as u64),
            Action::Disk { op, job, .. } => (
                op.to_bits(),
                match job {
                    DiskJob::Verify { piece, .. }
                    | DiskJob::Store { piece, .. }
                    | DiskJob::Write { piece, .. }
                    | DiskJob::Read { piece, .. } => u64::from(piece.get()),
                    DiskJob::Probe { space } => *space,
                    _ => 0,
                },
            ),
            Action::Resolve { op, .. } | Action::Http { op, .. } | Action::Cancel { op } => {
                (op.to_bits(), 0)
            }
            Action::Reply { request, result } => (request.0, u64::from(result.is_err())),
            Action::Notify(notice) => (notice.torrent().to_bits(), 0),
        };
        Self {
            kind: ActionKind::of(action),
            subject,
            amount,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        number::put_id(out, self.subject);
        number::put(out, self.amount);
    }

    pub(crate) fn decode(from: &mut &[u8]) -> Option<Self> {
        let (&kind, rest) = from.split_first()?;
        *from = rest;
        Some(Self {
            kind: ActionKind::from_number(kind)?,
            subject: number::take_bits(from)?,
            amount: number::take(from)?,
        })
    }
}

impl fmt::Display for ActionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            subject,
            amount,
        } = self;
        let (slot, generation) = (*subject as u32, subject >> 32);
        f.write_str(kind.name())?;
        match kind {
            ActionKind::Connect | ActionKind::Close => write!(f, " conn#{slot}.{generation}"),
            ActionKind::Accept => write!(f, " {amount} as conn#{slot}.{generation}"),
            ActionKind::Send | ActionKind::Read => {
                write!(f, " conn#{slot}.{generation} {amount} B")
            }
            ActionKind::Refuse => write!(f, " {subject}"),
            ActionKind::Datagram => write!(f, " {amount} B"),
            ActionKind::Resolve | ActionKind::Http | ActionKind::Cancel => {
                write!(f, " op#{slot}.{generation}")
            }
            ActionKind::Reply => {
                let outcome = if *amount == 0 { "done" } else { "failed" };
                write!(f, " {subject} {outcome}")
            }
            ActionKind::Notify => write!(f, " torrent#{slot}.{generation}"),
            ActionKind::DiskVerify
            | ActionKind::DiskStore
            | ActionKind::DiskWrite
            | ActionKind::DiskRead => write!(f, " op#{slot}.{generation} piece {amount}"),
            ActionKind::DiskOpen
            | ActionKind::DiskSelect
            | ActionKind::DiskCheckpoint
            | ActionKind::DiskProbe
            | ActionKind::DiskClose
            | ActionKind::DiskRemove
            | ActionKind::DiskTrim
            | ActionKind::DiskOther => write!(f, " op#{slot}.{generation}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anabranch_core::id::Ticket;
    use bytes::Bytes;

    use super::*;
    use crate::testing::conn;

    fn hash(sends: &[&[u8]]) -> u64 {
        let mut outcomes = Outcomes::default();
        let ticket = Ticket(1);
        outcomes.add(
            &[Action::Accept {
                ticket,
                conn: conn(1),
            }],
            Wake::Idle,
        );
        let send = |data: &&[u8]| Action::Send {
            conn: conn(1),
            data: Bytes::copy_from_slice(data),
        };
        let actions: Vec<Action> = sends.iter().map(send).collect();
        outcomes.add(&actions, Wake::Idle);
        outcomes.hash()
    }

    #[test]
    fn payload_counts_by_its_length_and_protocol_in_full() {
        let handshake = [b"\x13BitTorrent protocol".as_slice(), &[3; 48]].concat();
        let block = |index: u8, len: u8, byte: u8| {
            let head = [0, 0, 0, 9 + len, 7, 0, 0, 0, index, 0, 0, 0, 0];
            [head.as_slice(), &vec![byte; len.into()]].concat()
        };
        let one = hash(&[&handshake, &block(1, 50, 7)]);
        assert_eq!(hash(&[&handshake, &block(1, 50, 8)]), one);
        assert_ne!(hash(&[&handshake, &block(2, 50, 7)]), one);
        assert_ne!(hash(&[&handshake, &block(1, 51, 7)]), one);
        assert_ne!(hash(&[&handshake]), one);
        let mut other = handshake.clone();
        other[60] = 4;
        assert_ne!(hash(&[&other, &block(1, 50, 7)]), one);
    }

    #[test]
    fn every_kind_is_found_by_its_number() {
        let kinds: Vec<ActionKind> = (0..=u8::MAX).filter_map(ActionKind::from_number).collect();
        assert_eq!(kinds.len(), 24);
        for kind in kinds {
            assert_eq!(ActionKind::from_number(kind as u8), Some(kind));
            let summary = ActionSummary {
                kind,
                subject: 5 | 7 << 32,
                amount: 300,
            };
            let mut out = Vec::new();
            summary.encode(&mut out);
            assert_eq!(ActionSummary::decode(&mut &out[..]), Some(summary));
            assert!(summary.to_string().starts_with(kind.name()));
        }
    }

    #[test]
    fn when_it_wants_to_be_called_counts_too() {
        let mut outcomes = [Outcomes::default(), Outcomes::default()];
        outcomes[0].add(&[], Wake::Idle);
        outcomes[1].add(
            &[],
            Wake::At(anabranch_core::Instant::FAR, anabranch_core::Reason::Dial),
        );
        assert_ne!(outcomes[0].hash(), outcomes[1].hash());
    }
}
