//! What happened, as one number and, on demand, as lines of text.

use anabranch_core::action::DiskJob;
use anabranch_core::datagram::{Inbound, Outbound};
use anabranch_core::event::{DiskDone, OpResult};
use anabranch_core::{Action, Event, Instant, Wake};

use crate::chance::mix;

/// A running hash over everything that went into the engines and came out. Two runs with the same
/// number took the same course.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace(u64);

impl Trace {
    pub(crate) fn hash(self) -> u64 {
        mix(self.0, 0)
    }

    /// One multiplication a number. For every number it maps states one to one, and for every state
    /// numbers: a difference does not get lost unless another one makes up for it.
    pub(crate) fn number(&mut self, number: u64) {
        let state = (self.0.rotate_left(23) ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 = state.wrapping_mul(0xd134_2543_de82_ef95);
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.number(number);
        }
    }

    /// Small messages are hashed whole; of payload the length and the first bytes say enough.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let some = bytes.get(..64).unwrap_or(bytes);
        for chunk in some.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    pub(crate) fn event(&mut self, now: Instant, host: u32, event: &Event) {
        self.numbers([now.as_nanos(), u64::from(host)]);
        match event {
            Event::Tick => self.number(1),
            Event::Wall(wall) => self.numbers([2, wall.0]),
            Event::Command { request, command } => {
                self.numbers([3, request.0]);
                self.bytes(format!("{command:?}").as_bytes());
            }
            Event::Incoming { ticket, from } => {
                self.numbers([4, ticket.0, u64::from(from.port())]);
            }
            Event::Connected { conn } => self.numbers([5, conn.to_bits()]),
            Event::Received { conn, data } => {
                self.numbers([6, conn.to_bits()]);
                self.bytes(data);
            }
            Event::Sent { conn, len } => self.numbers([7, conn.to_bits(), *len]),
            Event::Closed { conn, reason } => {
                self.numbers([8, conn.to_bits()]);
                self.bytes(format!("{reason:?}").as_bytes());
            }
            Event::Datagram(Inbound { from, data, .. }) => {
                self.numbers([9, u64::from(from.port())]);
                self.bytes(data);
            }
            Event::Flushed { len } => self.numbers([13, *len]),
            Event::Multicast { from, data } => {
                self.numbers([11, u64::from(from.port())]);
                self.bytes(data);
            }
            Event::Undelivered { to, reason } => {
                self.numbers([12, u64::from(to.port())]);
                self.bytes(format!("{reason:?}").as_bytes());
            }
            Event::Done { op, .. } => self.numbers([10, op.to_bits()]),
        }
    }

    pub(crate) fn action(&mut self, action: &Action) {
        match action {
            Action::Connect { conn, to, .. } => {
                self.numbers([21, conn.to_bits(), u64::from(to.port())]);
            }
            Action::Accept { ticket, conn } => self.numbers([22, ticket.0, conn.to_bits()]),
            Action::Refuse { ticket } => self.numbers([23, ticket.0]),
            Action::Send { conn, data } => {
                self.numbers([24, conn.to_bits()]);
                self.bytes(data);
            }
            Action::Read { conn, credit } => {
                self.numbers([25, conn.to_bits(), u64::from(*credit)]);
            }
            Action::Close { conn } => self.numbers([26, conn.to_bits()]),
            Action::Datagram(Outbound { to, data, .. }) => {
                self.numbers([27, u64::from(to.port())]);
                self.bytes(data);
            }
            Action::Disk { op, torrent, .. } => {
                self.numbers([28, op.to_bits(), torrent.to_bits()]);
            }
            Action::Resolve { op, host, .. } => {
                self.numbers([29, op.to_bits()]);
                self.bytes(host.as_bytes());
            }
            Action::Http { op, request, .. } => {
                self.numbers([30, op.to_bits()]);
                self.bytes(request.url.as_bytes());
            }
            Action::Cancel { op } => self.numbers([31, op.to_bits()]),
            Action::Reply { request, .. } => self.numbers([32, request.0]),
            Action::Notify(notice) => {
                self.numbers([33, notice.torrent().to_bits()]);
            }
        }
    }

    pub(crate) fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Now(_) => self.number(41),
            Wake::At(at, _) => self.numbers([42, at.as_nanos()]),
            Wake::Idle => self.number(43),
        }
    }
}

/// An event in a line.
pub(crate) fn describe_event(event: &Event) -> String {
    match event {
        Event::Tick => String::from("tick"),
        Event::Wall(wall) => format!("wall {}", wall.0),
        Event::Command { command, .. } => {
            let text = format!("{command:?}");
            let name = text.split([' ', '(', '{']).next().unwrap_or_default();
            format!("command {name}")
        }
        Event::Incoming { ticket, from } => format!("incoming {} from {from}", ticket.0),
        Event::Connected { conn } => format!("connected {conn}"),
        Event::Received { conn, data } => format!("received {conn} {} B", data.len()),
        Event::Sent { conn, len } => format!("sent {conn} {len} B"),
        Event::Closed { conn, reason } => format!("closed {conn} {reason}"),
        Event::Datagram(Inbound { from, data, .. }) => format!("datagram {from} {} B", data.len()),
        Event::Flushed { len } => format!("flushed {len} B"),
        Event::Undelivered { to, reason } => format!("undelivered {to} {reason}"),
        Event::Multicast { from, data } => format!("multicast {from} {} B", data.len()),
        Event::Done { op, result } => format!("done {op} {}", describe_result(result)),
    }
}

/// An action in a line.
pub(crate) fn describe_action(action: &Action) -> String {
    match action {
        Action::Connect { conn, to, .. } => format!("> connect {conn} {to}"),
        Action::Accept { ticket, conn } => format!("> accept {} {conn}", ticket.0),
        Action::Refuse { ticket } => format!("> refuse {}", ticket.0),
        Action::Send { conn, data } => format!("> send {conn} {} B", data.len()),
        Action::Read { conn, credit } => format!("> read {conn} {credit} B"),
        Action::Close { conn } => format!("> close {conn}"),
        Action::Datagram(Outbound { to, data, .. }) => format!("> datagram {to} {} B", data.len()),
        Action::Disk { op, job, .. } => format!("> disk {op} {}", describe_job(job)),
        Action::Resolve { op, host, .. } => format!("> resolve {op} {host}"),
        Action::Http { op, request, .. } => format!("> http {op} {}", request.url),
        Action::Cancel { op } => format!("> cancel {op}"),
        Action::Reply { request, result } => match result {
            Ok(_) => format!("> reply {}", request.0),
            Err(error) => format!("> reply {}: {error}", request.0),
        },
        Action::Notify(notice) => format!("> notify {notice:?}"),
    }
}

/// Without the payload, which fills pages.
fn describe_result(result: &OpResult) -> String {
    match result {
        OpResult::Disk(Ok(DiskDone::Read { data })) => format!("read {} B", data.len()),
        OpResult::Disk(Ok(DiskDone::Stored { .. })) => String::from("stored"),
        OpResult::Disk(Ok(DiskDone::Mismatched { .. })) => String::from("mismatched"),
        OpResult::Disk(Ok(DiskDone::Opened(opened))) => format!(
            "opened, {} trusted, {} doubtful",
            opened.trusted.count(),
            opened.doubtful.count()
        ),
        OpResult::Disk(Ok(done)) => format!("{done:?}"),
        OpResult::Disk(Err(error)) => format!("failed: {error}"),
        OpResult::Resolved(Ok(addresses)) => format!("resolved {addresses:?}"),
        OpResult::Http(Ok(reply)) => format!("status {}, {} B", reply.status, reply.body.len()),
        OpResult::Resolved(Err(error)) | OpResult::Http(Err(error)) => format!("failed: {error}"),
        OpResult::Cancelled => String::from("cancelled"),
    }
}

fn describe_job(job: &DiskJob) -> String {
    match job {
        DiskJob::Open(_) => String::from("open"),
        DiskJob::Verify { piece, .. } => format!("verify {}", piece.get()),
        DiskJob::Store { piece, .. } => format!("store {}", piece.get()),
        DiskJob::Write { piece, begin, data } => {
            let len: usize = data.iter().map(bytes::Bytes::len).sum();
            format!("write {} {begin}+{len}", piece.get())
        }
        DiskJob::Read { piece, begin, len } => format!("read {} {begin}+{len}", piece.get()),
        DiskJob::Select { .. } => String::from("select"),
        DiskJob::Trim { file } => format!("trim file {file}"),
        DiskJob::Checkpoint { have, .. } => format!("checkpoint {} pieces", have.count()),
        DiskJob::Probe { space } => format!("probe {space} B"),
        DiskJob::Close => String::from("close"),
        DiskJob::Remove { .. } => String::from("remove"),
    }
}
