//! The loop on an adapter's sockets and timers, under scripted machines.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a script answers a few events and ignores the rest"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anabranch_driver::engine::action::{HttpRequest, LocalPaths};
use anabranch_driver::engine::command::Reply;
use anabranch_driver::engine::datagram::{Inbound, Outbound};
use anabranch_driver::engine::event::{CloseReason, ContactError, OpResult, Undelivered};
use anabranch_driver::engine::{Action, Command, Event, Reason, Wake};
use anabranch_driver::{LoopOptions, Policy, Purpose};
use anabranch_tests::subject::Subject;
use smol::block_on;

use crate::support::{PATIENCE, conn, op, record, report, start, torrent, wait, wait_for};

const WINDOW: u32 = 1 << 20;

/// Bytes that show where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .take(len)
        .collect()
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the loop listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

pub(crate) fn an_echo_comes_back_whole_and_every_byte_is_reported<S: Subject>() {
    const LEN: usize = 16 << 20;
    let (done, closed) = mpsc::channel();
    let mut queued = 0;
    let mut sent = 0;
    let running = start::<S, _>(
        move |_, event, actions| {
            match event {
                Event::Incoming { ticket, .. } => {
                    actions.push(Action::Accept {
                        ticket,
                        conn: conn(0),
                    });
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: WINDOW,
                    });
                }
                Event::Received { conn, data } => {
                    queued += data.len() as u64;
                    actions.push(Action::Read {
                        conn,
                        credit: data.len() as u32,
                    });
                    // In odd parts, so that writes are cut everywhere.
                    let mut rest = data;
                    while !rest.is_empty() {
                        let data = rest.split_to(rest.len().min(12_345));
                        actions.push(Action::Send { conn, data });
                    }
                }
                Event::Sent { len, .. } => {
                    sent += len;
                    if queued == LEN as u64 && sent == queued {
                        actions.push(Action::Close { conn: conn(0) });
                    }
                }
                Event::Closed { reason, .. } => report(&done, reason),
                _ => {}
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let mut reader = dial(running.address);
    let mut writer = reader.try_clone().expect("a second handle");
    let data = pattern(LEN);
    let theirs = data.clone();
    let writing = thread::spawn(move || writer.write_all(&theirs));
    let mut echo = vec![0; LEN];
    reader.read_exact(&mut echo).expect("the whole echo");
    writing.join().expect("no panic").expect("all written");
    assert!(echo == data);
    assert_eq!(wait(&closed), CloseReason::Local);
    assert_eq!(reader.read(&mut echo).expect("a good end"), 0);
    running.stop();
    assert!(closed.try_recv().is_err(), "closed once");
}

pub(crate) fn credit_is_obeyed_to_the_byte<S: Subject>() {
    let (seen, received) = mpsc::channel();
    let running = start::<S, _>(
        move |_, event, actions| {
            match event {
                Event::Incoming { ticket, .. } => {
                    actions.push(Action::Accept {
                        ticket,
                        conn: conn(0),
                    });
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: 3,
                    });
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: 7,
                    });
                }
                Event::Received { data, .. } => report(&seen, data.len()),
                Event::Command { request, .. } => {
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: 90,
                    });
                    actions.push(Action::Reply {
                        request,
                        result: Ok(Reply::Done),
                    });
                }
                _ => {}
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let mut stream = dial(running.address);
    stream.write_all(&[7; 200]).expect("written");
    let mut total: usize = 0;
    while total < 10 {
        total += wait(&received);
    }
    // Two answers later the loop has had every chance to read more.
    for _ in 0..2 {
        block_on(running.remote.query(|_, _| ())).expect("running");
    }
    total += received.try_iter().sum::<usize>();
    assert_eq!(total, 10);
    let go_on = Command::Listening { address: None };
    block_on(running.remote.command(go_on)).expect("an answer");
    while total < 100 {
        total += wait(&received);
    }
    assert_eq!(total, 100);
    running.stop();
}

pub(crate) fn a_peer_that_never_reads_is_still_read_from<S: Subject>() {
    const LEN: usize = 32 << 20;
    let (seen, received) = mpsc::channel();
    let mut total = 0;
    let running = start::<S, _>(
        move |_, event, actions| {
            match event {
                Event::Incoming { ticket, .. } => {
                    actions.push(Action::Accept {
                        ticket,
                        conn: conn(0),
                    });
                    actions.push(Action::Send {
                        conn: conn(0),
                        data: vec![0; LEN].into(),
                    });
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: LEN as u32,
                    });
                }
                Event::Received { data, .. } => {
                    total += data.len();
                    if total == LEN {
                        report(&seen, ());
                    }
                }
                _ => {}
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let mut stream = dial(running.address);
    stream.write_all(&vec![1; LEN]).expect("all is read");
    wait(&received);
    running.stop();
}

pub(crate) fn a_peer_that_is_not_read_from_is_still_written_to<S: Subject>() {
    const LEN: usize = 32 << 20;
    let running = start::<S, _>(
        move |_, event, actions| {
            if let Event::Incoming { ticket, .. } = event {
                actions.push(Action::Accept {
                    ticket,
                    conn: conn(0),
                });
                actions.push(Action::Send {
                    conn: conn(0),
                    data: pattern(LEN).into(),
                });
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let stream = dial(running.address);
    let mut writer = stream.try_clone().expect("a second handle");
    let writing = thread::spawn(move || writer.write_all(&vec![1; LEN]));
    let mut data = vec![0; LEN];
    (&stream).read_exact(&mut data).expect("all is written");
    assert!(data == pattern(LEN));
    stream.shutdown(Shutdown::Both).expect("open");
    writing
        .join()
        .expect("no panic")
        .expect_err("nobody reads so much");
    running.stop();
}

pub(crate) fn a_firehose_does_not_drown_the_others<S: Subject>() {
    let (seen, received) = mpsc::channel();
    let mut next = 0;
    let running = start::<S, _>(
        move |_, event, actions| {
            match event {
                Event::Incoming { ticket, .. } => {
                    actions.push(Action::Accept {
                        ticket,
                        conn: conn(next),
                    });
                    actions.push(Action::Read {
                        conn: conn(next),
                        credit: u32::MAX,
                    });
                    next += 1;
                }
                Event::Received { conn, data } => {
                    actions.push(Action::Read {
                        conn,
                        credit: data.len() as u32,
                    });
                    if data.first() == Some(&7) {
                        report(&seen, data.len());
                    }
                }
                _ => {}
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let mut hose = dial(running.address);
    let pouring = thread::spawn(move || {
        let water = vec![0; 1 << 20];
        while hose.write_all(&water).is_ok() {}
    });
    let mut quiet = dial(running.address);
    for _ in 0..100 {
        quiet.write_all(&[7]).expect("written");
        assert_eq!(wait(&received), 1);
    }
    running.stop();
    pouring.join().expect("ends with the loop");
}

/// Everybody may be dialled and sent packets to, but for one.
struct AllBut(SocketAddr);

impl Policy for AllBut {
    fn connect(&self, to: SocketAddr, _: &Purpose) -> bool {
        to != self.0
    }

    fn datagram(&self, to: SocketAddr, _: &Purpose) -> bool {
        to != self.0
    }
}

pub(crate) fn every_dial_ends_once_and_for_the_right_reason<S: Subject>() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let to = listener.local_addr().expect("bound");
    // Another address of the same interface, where the listener does not listen.
    let nobody = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), to.port()));
    let options = LoopOptions::new().policy(AllBut((Ipv4Addr::LOCALHOST, 1).into()));
    let denied = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let first = vec![
        Action::Connect {
            conn: conn(0),
            to: nobody,
            torrent: torrent(),
        },
        Action::Connect {
            conn: conn(1),
            to,
            torrent: torrent(),
        },
        Action::Connect {
            conn: conn(2),
            to,
            torrent: torrent(),
        },
        Action::Close { conn: conn(2) },
        Action::Close { conn: conn(2) },
        Action::Connect {
            conn: conn(3),
            to: denied,
            torrent: torrent(),
        },
    ];
    let (seen, events) = mpsc::channel();
    let mut first = Some(first);
    let running = start::<S, _>(
        move |_, event, actions| {
            actions.extend(first.take().into_iter().flatten());
            match event {
                Event::Connected { conn } => actions.push(Action::Read { conn, credit: 1 }),
                Event::Closed { conn, reason } => {
                    report(&seen, (conn, reason));
                    // Too late: it has ended.
                    actions.push(Action::Close { conn });
                }
                _ => {}
            }
            Wake::Idle
        },
        options,
    );
    let (accepted, _) = listener.accept().expect("conn 1");
    let mut ends = vec![wait(&events), wait(&events), wait(&events)];
    drop(accepted);
    drop(listener);
    ends.push(wait(&events));
    ends.sort();
    let expected = [
        (conn(0), CloseReason::Refused),
        (conn(1), CloseReason::Remote),
        (conn(2), CloseReason::Local),
        (conn(3), CloseReason::Denied),
    ];
    assert_eq!(ends, expected);
    running.stop();
    assert!(events.try_recv().is_err(), "once each");
}

pub(crate) fn a_connection_that_is_refused_sees_its_end<S: Subject>() {
    let running = start::<S, _>(
        move |_, event, actions| {
            if let Event::Incoming { ticket, .. } = event {
                actions.push(Action::Refuse { ticket });
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let mut stream = dial(running.address);
    assert_eq!(stream.read(&mut [0]).expect("a good end"), 0);
    running.stop();
}

pub(crate) fn operations_end_once_also_when_cancelled<S: Subject>() {
    // Accepts, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("bound"));
    let request = |timeout_ms| {
        Box::new(HttpRequest {
            url: url.clone(),
            body_limit: 10,
            redirects: 0,
            timeout_ms,
            local_paths: LocalPaths::Any,
        })
    };
    let first = vec![
        Action::Http {
            op: op(0),
            request: request(60_000),
            torrent: None,
        },
        Action::Http {
            op: op(1),
            request: request(100),
            torrent: None,
        },
        Action::Resolve {
            op: op(2),
            host: "[::1]".into(),
            torrent: None,
        },
        Action::Resolve {
            op: op(3),
            host: "localhost".into(),
            torrent: None,
        },
        Action::Cancel { op: op(0) },
        Action::Cancel { op: op(0) },
        Action::Cancel { op: op(9) },
    ];
    let (running, events) = record::<S>(S::Runtime::default(), LoopOptions::default(), first);
    let mut ends = Vec::new();
    while ends.len() < 4 {
        if let Event::Done { op, result } = wait(&events) {
            ends.push((op, result));
        }
    }
    running.stop();
    ends.extend(events.try_iter().filter_map(|event| match event {
        Event::Done { op, result } => Some((op, result)),
        _ => None,
    }));
    ends.sort_by_key(|(op, _)| *op);
    assert_eq!(ends.len(), 4);
    assert!(matches!(ends[0].1, OpResult::Cancelled));
    assert!(matches!(
        ends[1].1,
        OpResult::Http(Err(ContactError::TimedOut))
    ));
    match (&ends[2].1, &ends[3].1) {
        (OpResult::Resolved(Ok(literal)), OpResult::Resolved(Ok(named))) => {
            assert!(literal[0].is_loopback() && named[0].is_loopback());
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn deadlines_are_kept_and_never_early<S: Subject>() {
    let (seen, ticks) = mpsc::channel();
    let mut due = None;
    let running = start::<S, _>(
        move |now, event, _| {
            if let (Event::Tick, Some(at)) = (&event, due) {
                report(&seen, now >= at);
            }
            if matches!(event, Event::Tick | Event::Wall(_)) {
                let at = now + Duration::from_millis(5);
                due = Some(at);
            }
            match due {
                Some(at) => Wake::At(at, Reason::Dial),
                None => Wake::Idle,
            }
        },
        LoopOptions::default(),
    );
    for _ in 0..20 {
        assert!(wait(&ticks), "a tick came early");
    }
    running.stop();
}

pub(crate) fn a_machine_that_is_always_busy_leaves_room_for_the_rest<S: Subject>() {
    let (seen, received) = mpsc::channel();
    let running = start::<S, _>(
        move |_, event, actions| {
            match event {
                Event::Incoming { ticket, .. } => {
                    actions.push(Action::Accept {
                        ticket,
                        conn: conn(0),
                    });
                    actions.push(Action::Read {
                        conn: conn(0),
                        credit: 1,
                    });
                }
                Event::Received { .. } => report(&seen, ()),
                _ => {}
            }
            Wake::Now(Reason::Dial)
        },
        LoopOptions::default(),
    );
    dial(running.address).write_all(&[1]).expect("written");
    wait(&received);
    running.stop();
}

pub(crate) fn packets_go_both_ways_from_the_port_that_listens<S: Subject>() {
    let running = start::<S, _>(
        move |_, event, actions| {
            if let Event::Datagram(Inbound { from, data, .. }) = event {
                actions.push(Action::Datagram(Outbound::new(from, data)));
            }
            Wake::Idle
        },
        LoopOptions::default(),
    );
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut buf = [0; 2000];
    for len in [0, 1, 1400] {
        let data = pattern(len);
        socket.send_to(&data, running.address).expect("sent");
        let (got, from) = socket.recv_from(&mut buf).expect("an answer");
        assert_eq!((&buf[..got], from), (&data[..], running.address));
    }
    running.stop();
}

pub(crate) fn packets_that_do_not_arrive_are_reported<S: Subject>() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let free = taken.local_addr().expect("bound");
    let listens = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listens.set_read_timeout(Some(PATIENCE)).expect("set");
    drop(taken);
    let refused = SocketAddr::from(([127, 0, 0, 9], 9));
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9));
    let packet = |to| Action::Datagram(Outbound::new(to, pattern(10).into()));
    let options = LoopOptions::new().policy(AllBut(refused));
    let last = listens.local_addr().expect("bound");
    let actions = [refused, v6, free, free, last].map(packet);
    let (running, events) = record::<S>(S::Runtime::default(), options, actions.into());
    let mut missing = vec![
        (refused, Undelivered::Denied),
        (v6, Undelivered::Unreachable),
    ];
    if cfg!(target_os = "linux") {
        missing.push((free, Undelivered::Refused));
    }
    while !missing.is_empty() {
        let report = wait_for(&events, |event| match event {
            Event::Undelivered { to, reason } => Some((to, reason)),
            _ => None,
        });
        missing.retain(|expected| *expected != report);
    }
    // A report takes no packet's place.
    let mut buf = [0; 100];
    let (len, from) = listens.recv_from(&mut buf).expect("a packet");
    assert_eq!((len, from), (10, running.address));
    listens.send_to(&[1], running.address).expect("sent");
    wait_for(&events, |event| match event {
        Event::Datagram(Inbound { from, .. }) => (from == last).then_some(()),
        _ => None,
    });
    running.stop();
}

pub(crate) fn packets_leave_several_at_a_time_and_are_counted<S: Subject>() {
    let hears = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    hears.set_read_timeout(Some(PATIENCE)).expect("set");
    let nobody = SocketAddr::from(([127, 0, 0, 9], 9));
    let batch = |to, segment, len| {
        let mut outbound = Outbound::new(to, pattern(len).into());
        (outbound.segment, outbound.is_counted) = (segment, true);
        Action::Datagram(outbound)
    };
    let to = hears.local_addr().expect("bound");
    let actions = vec![
        batch(to, 1_000, 3_500),
        batch(nobody, 0, 500),
        batch(to, 0, 10),
    ];
    // What is not sent leaves the driver's hands as well.
    let options = LoopOptions::new().policy(AllBut(nobody));
    let (running, events) = record::<S>(S::Runtime::default(), options, actions);
    let mut missing = 4_010;
    while missing > 0 {
        missing -= wait_for(&events, |event| match event {
            Event::Flushed { len } => Some(len),
            _ => None,
        });
    }
    let mut buf = [0; 2_000];
    let mut got = Vec::new();
    for len in [1_000, 1_000, 1_000, 500, 10] {
        assert_eq!(hears.recv(&mut buf).expect("a packet"), len);
        got.extend_from_slice(&buf[..len]);
    }
    assert_eq!(got, [pattern(3_500), pattern(10)].concat());
    running.stop();
}

/// A policy that has leave for packets, and for no connection.
struct PacketsAlone;

impl Policy for PacketsAlone {
    fn datagram(&self, _: SocketAddr, _: &Purpose) -> bool {
        true
    }
}

pub(crate) fn what_asks_for_a_connection_by_packets_has_to_have_leave<S: Subject>() {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    let to = peer.local_addr().expect("bound");
    // A SYN of uTP, and any other packet.
    let syn: Vec<u8> = [&[0x41, 0][..], &[0; 18]].concat();
    let mut asks = Outbound::new(to, syn.clone().into());
    asks.is_counted = true;
    let tells = Outbound::new(to, pattern(30).into());
    let actions = vec![Action::Datagram(asks), Action::Datagram(tells)];
    let options = LoopOptions::new().policy(PacketsAlone);
    let (running, events) = record::<S>(S::Runtime::default(), options, actions);
    let denied = wait_for(&events, |event| match event {
        Event::Undelivered { to, reason } => Some((to, reason)),
        _ => None,
    });
    assert_eq!(denied, (to, Undelivered::Denied));
    let mut buf = [0; 100];
    assert_eq!(peer.recv(&mut buf).expect("a packet"), 30);
    peer.send_to(&syn, running.address).expect("sent");
    peer.send_to(&pattern(7), running.address).expect("sent");
    let first = wait_for(&events, |event| match event {
        Event::Datagram(inbound) => Some(inbound.data),
        _ => None,
    });
    assert_eq!(first, pattern(7));
    running.stop();
}

pub(crate) fn the_end_frees_the_port_and_answers_later_calls_with_an_error<S: Subject>() {
    let (running, _events) = record::<S>(S::Runtime::default(), LoopOptions::default(), Vec::new());
    let mut notices = running.remote.notices();
    running.stop();
    let _rebound = TcpListener::bind(running.address).expect("free again");
    let _packets = UdpSocket::bind(running.address).expect("free again");
    block_on(async {
        assert!(notices.next().await.is_none());
        let stopped = running.remote.query(|_, _| ()).await;
        assert!(matches!(stopped, Err(anabranch_driver::Error::Stopped)));
        let stopped = running.remote.shutdown().await;
        assert!(matches!(stopped, Err(anabranch_driver::Error::Stopped)));
    });
}

pub(crate) fn the_last_handle_ends_the_loop_in_good_order<S: Subject>() {
    let (running, events) = record::<S>(S::Runtime::default(), LoopOptions::default(), Vec::new());
    let address = running.address;
    drop(running);
    wait_for(&events, |event| match event {
        Event::Command { command, .. } => matches!(*command, Command::Shutdown).then_some(()),
        _ => None,
    });
    // The script goes with the loop, and its end of the channel with it.
    while events.recv_timeout(PATIENCE).is_ok() {}
    let _rebound = TcpListener::bind(address).expect("free again");
}
