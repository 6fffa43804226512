//! A client in a single thread: sockets that never block, and a loop that learns from the operating
//! system which of them are ready.
//!
//! ```text
//! cargo run -p anabranch-core --example mio -- FILE.torrent DIR [PEER...]
//! ```
//!
//! The system says once that a stream has become ready, so this is remembered until a call comes back
//! with `WouldBlock` (`common/conn.rs`). A connection that can go on takes one step a turn: none keeps
//! the others waiting, and the engine hears of its deadlines in between.

mod common;
#[path = "common/conn.rs"]
mod conn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};

use anabranch_core::action::HttpRequest;
use anabranch_core::event::{CloseReason, OpResult};
use anabranch_core::id::{ConnId, OpId};
use anabranch_core::{Action, Actions, Command, Config, Engine, Event, Instant};
use bytes::Bytes;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

use common::files::Files;
use common::http::Exchange;
use common::{Args, Callers, close_reason, command};
use conn::Conn;

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
const LISTENER: Token = Token(0);
const UDP: Token = Token(1);

/// Slots are small, and a slot is free when its last event has been told: fit to be tokens.
fn conn_token(conn: ConnId) -> Token {
    Token(2 + 2 * conn.slot())
}

fn op_token(op: OpId) -> Token {
    Token(3 + 2 * op.slot())
}

struct Client {
    poll: Poll,
    /// What the engine is to be told, each in a call of its own.
    events: VecDeque<Event>,
    conns: BTreeMap<Token, Conn<TcpStream>>,
    /// Connections that may go on without news from the system.
    ready: BTreeSet<Token>,
    exchanges: BTreeMap<Token, (OpId, Exchange<TcpStream>)>,
    listener: TcpListener,
    callers: Callers<TcpStream>,
    udp: UdpSocket,
    files: Files,
    buffer: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from(([0; 4], 0)))?;
    // One port for both: peers learn it from trackers, and UDP trackers answer to it.
    let address = listener.local_addr()?;
    let mut udp = UdpSocket::bind(address)?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    poll.registry()
        .register(&mut udp, UDP, Interest::READABLE)?;
    let listening = command(Command::Listening {
        address: Some(address),
    });
    let add = command(Command::AddTorrent(args.add));
    let client = Client {
        poll,
        events: [listening, add].into(),
        conns: BTreeMap::new(),
        ready: BTreeSet::new(),
        exchanges: BTreeMap::new(),
        listener,
        callers: Callers::new(),
        udp,
        files: Files::new(args.folder),
        buffer: vec![0; 64 * 1024],
    };
    client.run()
}

impl Client {
    fn run(mut self) -> Result<(), Box<dyn Error>> {
        // Any origin will do for the engine's clock.
        let start = Clock::now();
        let clock = || Instant::ZERO + start.elapsed();
        let (seed, wall) = (common::seed(), common::wall());
        let mut engine = Engine::new(Config::default(), seed, clock(), wall);
        let mut actions = Actions::new();
        let mut readiness = Events::with_capacity(256);
        loop {
            // 1. The engine is told what happened, and that it is time, if it is. A tick too many
            //    does no harm, so this need not find out. What comes of it waits for the next turn.
            self.events.push_back(Event::Tick);
            let mut wake = None;
            for _ in 0..self.events.len() {
                let Some(event) = self.events.pop_front() else {
                    break;
                };
                let now = clock();
                wake = engine.handle(now, event, &mut actions).deadline(now);
                for action in actions.drain() {
                    self.perform(action)?;
                }
            }
            if engine.is_down() {
                return Ok(());
            }
            // 2. The system is asked, and waited for if there is nothing else to do.
            let busy = !self.events.is_empty() || !self.ready.is_empty();
            let wait = wake.map(|at| at.since(clock()));
            let wait = if busy { Some(Duration::ZERO) } else { wait };
            match self.poll.poll(&mut readiness, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in &readiness {
                match event.token() {
                    LISTENER => self.accept(),
                    UDP => self.receive_datagrams(),
                    token => {
                        if let Some(conn) = self.conns.get_mut(&token) {
                            conn.readable |= event.is_readable();
                            conn.writable |= event.is_writable();
                            self.ready.insert(token);
                        }
                        if let Some((op, exchange)) = self.exchanges.get_mut(&token)
                            && let Some(result) = exchange.advance()
                        {
                            let op = *op;
                            self.finish(op, OpResult::Http(result));
                        }
                    }
                }
            }
            // 3. Whoever can go on does so, a step each.
            for token in mem::take(&mut self.ready) {
                if let Err(reason) = self.step(token) {
                    self.close(token, reason);
                }
            }
        }
    }

    fn perform(&mut self, action: Action) -> Result<(), Box<dyn Error>> {
        match action {
            Action::Connect { conn, to, .. } => self.watch(conn, TcpStream::connect(to), false),
            Action::Accept { ticket, conn } => {
                let stream = self.callers.take(ticket);
                self.watch(conn, stream, true);
            }
            // What is dropped is closed.
            Action::Refuse { ticket } => drop(self.callers.take(ticket)?),
            Action::Send { conn, data } => {
                if let Some(conn) = self.conn(conn) {
                    conn.unsent.push_back(data);
                }
            }
            Action::Read { conn, credit } => {
                if let Some(conn) = self.conn(conn) {
                    conn.credit += credit as usize;
                }
            }
            Action::Close { conn } => self.close(conn_token(conn), CloseReason::Local),
            Action::Datagram(outbound) => {
                for packet in outbound.packets() {
                    // It may get lost, here as anywhere.
                    let _ = self.udp.send_to(&packet, outbound.to);
                }
                if outbound.is_counted {
                    let len = outbound.data.len() as u64;
                    self.events.push_back(Event::Flushed { len });
                }
            }
            // The disk and the names are all that blocks this loop. A client that cannot have that
            // lets threads work on them, which put `Done` on a queue and wake the loop (`mio::Waker`).
            Action::Disk { op, job, .. } => {
                let result = OpResult::Disk(self.files.perform(job));
                self.events.push_back(Event::Done { op, result });
            }
            Action::Resolve { op, host, .. } => {
                let result = common::resolve(&host);
                self.events.push_back(Event::Done { op, result });
            }
            Action::Http { op, request, .. } => self.ask(op, *request),
            Action::Cancel { op } => self.finish(op, OpResult::Cancelled),
            Action::Reply { result, .. } => drop(result?),
            Action::Notify(notice) => {
                if common::is_complete(&notice) {
                    self.events.push_back(command(Command::Shutdown));
                }
            }
        }
        Ok(())
    }

    /// The engine wants something of a connection, which may go on with that.
    fn conn(&mut self, conn: ConnId) -> Option<&mut Conn<TcpStream>> {
        self.ready.insert(conn_token(conn));
        self.conns.get_mut(&conn_token(conn))
    }

    fn watch(&mut self, id: ConnId, stream: io::Result<TcpStream>, connected: bool) {
        let token = conn_token(id);
        let stream = stream.and_then(|mut stream| {
            self.poll.registry().register(&mut stream, token, BOTH)?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => drop(self.conns.insert(token, Conn::new(id, stream, connected))),
            Err(error) => {
                let reason = close_reason(&error);
                self.events.push_back(Event::Closed { conn: id, reason });
            }
        }
    }

    /// Lets a connection go on, one step.
    fn step(&mut self, token: Token) -> Result<(), CloseReason> {
        let Some(conn) = self.conns.get_mut(&token) else {
            return Ok(());
        };
        if !conn.connected {
            if let Ok(Some(error)) | Err(error) = conn.stream.take_error() {
                return Err(close_reason(&error));
            }
            // The system may call it writable before anybody has answered.
            if !conn.writable || conn.stream.peer_addr().is_err() {
                return Ok(());
            }
            conn.connected = true;
            self.events.push_back(Event::Connected { conn: conn.id });
        }
        conn.step(&mut self.buffer, &mut self.events)?;
        if conn.can_go_on() {
            self.ready.insert(token);
        }
        Ok(())
    }

    /// A connection is closed once, and that is the last that the engine hears of it.
    fn close(&mut self, token: Token, reason: CloseReason) {
        if let Some(Conn { id: conn, .. }) = self.conns.remove(&token) {
            self.events.push_back(Event::Closed { conn, reason });
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, from)) = self.listener.accept() {
            self.events.push_back(self.callers.admit(stream, from));
        }
    }

    fn receive_datagrams(&mut self) {
        while let Ok((len, from)) = self.udp.recv_from(&mut self.buffer) {
            let data = Bytes::copy_from_slice(&self.buffer[..len]);
            self.events.push_back(Event::datagram(from, data));
        }
    }

    fn ask(&mut self, op: OpId, request: HttpRequest) {
        let registry = self.poll.registry();
        let begun = Exchange::begin(request, |address| {
            let mut stream = TcpStream::connect(address)?;
            registry.register(&mut stream, op_token(op), BOTH)?;
            Ok(stream)
        });
        match begun {
            Ok(exchange) => drop(self.exchanges.insert(op_token(op), (op, exchange))),
            Err(error) => self.events.push_back(Event::Done {
                op,
                result: OpResult::Http(Err(error)),
            }),
        }
    }

    /// An operation is answered once: with what came of it, or because it was cancelled.
    fn finish(&mut self, op: OpId, result: OpResult) {
        if self.exchanges.remove(&op_token(op)).is_some() {
            self.events.push_back(Event::Done { op, result });
        }
    }
}
