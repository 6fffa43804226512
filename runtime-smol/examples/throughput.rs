//! Measures the loop alone: over loopback it receives from, or sends to, threads that do nothing else.
//! Prints the rate, and the loop's CPU time; its threads are told apart by name.
//!
//! `cargo run --release --example throughput -p anabranch-smol [-- GIB [CONNECTIONS]]`

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the machine answers a few events and ignores the rest"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anabranch_driver::engine::id::ConnId;
use anabranch_driver::engine::{self, Action, Event, Wake};
use anabranch_driver::{Clock, Loop, LoopOptions, Machine, Runtime as _};
use anabranch_smol::Smol;

const WINDOW: u32 = 1 << 20;
const BLOCK: usize = 16 << 10;

/// Receives until the end, or sends blocks as fast as they leave.
struct Endless {
    sending: bool,
    conns: u32,
    block: bytes::Bytes,
    actions: Vec<Action>,
    cpu: std::sync::mpsc::Sender<Duration>,
}

impl Endless {
    /// What uploading looks like: a header and a block each.
    fn send(&mut self, conn: ConnId, len: u64) {
        for _ in 0..len.div_ceil(BLOCK as u64) {
            let header = bytes::Bytes::from_static(&[0; 13]);
            let data = self.block.clone();
            self.actions.push(Action::Send { conn, data: header });
            self.actions.push(Action::Send { conn, data });
        }
    }
}

impl Machine for Endless {
    fn handle(&mut self, _: engine::Instant, event: Event) -> Wake {
        match event {
            Event::Incoming { ticket, .. } => {
                let conn = ConnId::new(self.conns, 1);
                self.conns += 1;
                self.actions.push(Action::Accept { ticket, conn });
                let credit = WINDOW;
                self.actions.push(Action::Read { conn, credit });
                if self.sending {
                    self.send(conn, u64::from(WINDOW));
                }
            }
            Event::Received { conn, data } => {
                let credit = data.len() as u32;
                self.actions.push(Action::Read { conn, credit });
            }
            Event::Sent { conn, len } => self.send(conn, len),
            Event::Closed { .. } => {
                let _ = self.cpu.send(cpu_of_this_thread());
            }
            Event::Command { request, .. } => self.actions.push(Action::Reply {
                request,
                result: Ok(engine::command::Reply::Done),
            }),
            _ => {}
        }
        Wake::Idle
    }

    fn actions(&mut self) -> impl Iterator<Item = Action> + '_ {
        self.actions.drain(..)
    }
}

fn cpu_of_this_thread() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn peer(address: SocketAddr, sending: bool, mut left: u64) {
    let mut stream = TcpStream::connect(address).expect("the loop listens");
    let mut buf = vec![0; 256 << 10];
    while left > 0 {
        let len = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let len = if sending {
            stream.read(&mut buf[..len]).expect("data")
        } else {
            stream.write(&buf[..len]).expect("room")
        };
        left -= len as u64;
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let gib: u64 = args.next().map_or(4, |arg| arg.parse().expect("GiB"));
    let conns: u64 = args
        .next()
        .map_or(1, |arg| arg.parse().expect("connections"));
    for sending in [false, true] {
        let (cpu, used) = std::sync::mpsc::channel();
        let machine = Endless {
            sending,
            conns: 0,
            block: vec![0; BLOCK].into(),
            actions: Vec::new(),
            cpu,
        };
        let smol = Smol::default();
        let (mut run, remote) = Loop::new(
            smol.clone(),
            machine,
            Clock::start(),
            LoopOptions::default(),
        );
        let address = run
            .listen((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        smol.spawn(run.run()).expect("a thread");
        let started = Instant::now();
        let peers: Vec<_> = (0..conns)
            .map(|_| thread::spawn(move || peer(address, sending, (gib << 30) / conns)))
            .collect();
        for peer in peers {
            peer.join().expect("no panic");
        }
        let took = started.elapsed().as_secs_f64();
        let cpu = (0..conns)
            .filter_map(|_| used.recv().ok())
            .max()
            .unwrap_or_default();
        println!(
            "{}: {:.0} MiB/s, {:.3} CPU s/GiB in the loop",
            if sending { "sends" } else { "receives" },
            (gib << 10) as f64 / took,
            cpu.as_secs_f64() / gib as f64,
        );
        smol::block_on(remote.shutdown()).expect("a good end");
    }
}
