//! Two engines exchange a torrent in one process: no sockets, no files, and a clock that jumps.
use std::collections::{BTreeMap, VecDeque};

use anabranch_core::command::AddTorrent;
use anabranch_core::datagram::Outbound;
use anabranch_core::event::{CloseReason, OpResult};
use anabranch_core::id::{ConnId, RequestId, Ticket};
use anabranch_core::metainfo::Creator;
use anabranch_core::{
    Action, Actions, Command, Config, Engine, Event, Instant, Notice, Seed, UnixTime, Wake,
};
use bytes::BytesMut;
use sha1::{Digest, Sha1};

/// Disks in memory; the documentation of `DiskJob` shows this file.
mod memory {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/common/memory.rs"
    ));
}

type Inbox = VecDeque<(usize, Event)>;

/// One end of a connection.
#[derive(Default)]
struct End {
    peer: Option<ConnId>,
    /// Bytes that may be received, and what has arrived beyond that.
    credit: usize,
    arrived: BytesMut,
}

impl End {
    fn deliver(&mut self, inbox: &mut Inbox, host: usize, conn: ConnId) {
        let len = self.credit.min(self.arrived.len());
        if len > 0 {
            self.credit -= len;
            let data = self.arrived.split_to(len).freeze();
            inbox.push_back((host, Event::Received { conn, data }));
        }
    }
}

fn main() {
    // A torrent of one file. Host 0 has it, host 1 has a disk full of zeros.
    let content = b"An anabranch leaves a river and rejoins it downstream. ".repeat(10_000);
    let piece_length = 32 * 1024;
    let digests = content.chunks(piece_length).flat_map(Sha1::digest);
    let creation = Creator::single_file("content", content.len() as u64)
        .with_piece_length(piece_length as u32)
        .finish(&digests.collect::<Vec<u8>>())
        .expect("a digest for each piece");
    let disk = |data| memory::Disk { data, piece_length };
    let mut disks = [content.clone(), vec![0; content.len()]].map(disk);

    let mut now = Instant::ZERO;
    let mut engines = [Seed([1; 32]), Seed([2; 32])]
        .map(|seed| Engine::new(Config::default(), seed, now, UnixTime(0)));
    let mut wakes = [Wake::Idle; 2];
    let mut actions = Actions::new();
    let mut ends: [BTreeMap<ConnId, End>; 2] = Default::default();
    let (mut inbox, mut callers) = (Inbox::new(), Vec::new());

    // Commands are events like any other. Both hosts get the torrent; host 1 knows where host 0 is.
    let addresses = ["10.0.0.1:6881", "10.0.0.2:6881"].map(|text| text.parse().expect("valid"));
    for (host, peers) in [(0, vec![]), (1, vec![addresses[0]])] {
        let mut add = AddTorrent::default();
        (add.metainfo, add.peers) = (creation.torrent.clone(), peers);
        let (request, command) = (RequestId(1), Box::new(Command::AddTorrent(add)));
        inbox.push_back((host, Event::Command { request, command }));
    }

    let mut complete = false;
    while !complete {
        // 1. What is next? The clock stands still while there is anything in the inbox, and then
        //    jumps to the first time at which an engine wants to be called.
        let (host, event) = inbox.pop_front().unwrap_or_else(|| {
            let deadline = |host: usize| Some((wakes[host].deadline(now)?, host));
            let first = [0, 1].into_iter().filter_map(deadline).min();
            let (at, host) = first.expect("an engine with work left is not idle");
            now = at;
            (host, Event::Tick)
        });
        // 2. The engine is told. It says by when it must be called again.
        wakes[host] = engines[host].handle(now, event, &mut actions);
        // 3. What it wants done is done. Whatever comes of it goes to the inbox.
        let other = 1 - host;
        for action in actions.drain() {
            match action {
                Action::Connect { conn, .. } => {
                    ends[host].insert(conn, End::default());
                    let (ticket, from) = (Ticket(callers.len() as u64), addresses[host]);
                    callers.push(conn);
                    inbox.push_back((other, Event::Incoming { ticket, from }));
                }
                Action::Accept { ticket, conn } => {
                    let caller = callers[ticket.0 as usize];
                    ends[host].entry(conn).or_default().peer = Some(caller);
                    ends[other].entry(caller).or_default().peer = Some(conn);
                    inbox.push_back((other, Event::Connected { conn: caller }));
                }
                Action::Refuse { ticket } => {
                    let (conn, reason) = (callers[ticket.0 as usize], CloseReason::Refused);
                    ends[other].remove(&conn);
                    inbox.push_back((other, Event::Closed { conn, reason }));
                }
                Action::Send { conn, data } => {
                    let len = data.len() as u64;
                    inbox.push_back((host, Event::Sent { conn, len }));
                    if let Some(peer) = ends[host].get(&conn).and_then(|end| end.peer)
                        && let Some(end) = ends[other].get_mut(&peer)
                    {
                        end.arrived.extend_from_slice(&data);
                        end.deliver(&mut inbox, other, peer);
                    }
                }
                Action::Read { conn, credit } => {
                    if let Some(end) = ends[host].get_mut(&conn) {
                        end.credit += credit as usize;
                        end.deliver(&mut inbox, host, conn);
                    }
                }
                Action::Close { conn } => {
                    let Some(end) = ends[host].remove(&conn) else {
                        continue; // The peer was first, and that it closed is in the inbox.
                    };
                    let reason = CloseReason::Local;
                    inbox.push_back((host, Event::Closed { conn, reason }));
                    if let Some(conn) = end.peer.filter(|peer| ends[other].remove(peer).is_some()) {
                        let reason = CloseReason::Remote;
                        inbox.push_back((other, Event::Closed { conn, reason }));
                    }
                }
                Action::Disk { op, job, .. } => {
                    let result = OpResult::Disk(Ok(disks[host].perform(job)));
                    inbox.push_back((host, Event::Done { op, result }));
                }
                Action::Resolve { op, .. } | Action::Http { op, .. } | Action::Cancel { op } => {
                    unreachable!("{op}: this torrent has no trackers")
                }
                Action::Datagram(Outbound { to, .. }) => unreachable!("{to} is a tracker"),
                Action::Reply { result, .. } => assert!(result.is_ok()),
                Action::Notify(Notice::Completed { .. }) => complete |= host == 1,
                Action::Notify(_) => {}
            }
        }
    }
    assert!(disks[1].data == content);
}
