//! A client with nothing but the standard library: blocking sockets, and threads that wait on them.
//!
//! ```text
//! cargo run -p anabranch-core --example threads -- FILE.torrent DIR [PEER...]
//! ```
//!
//! One thread owns the engine, so there is no lock around it. It waits for news on a channel, no
//! longer than the engine can wait, and carries out what comes of them. Every other thread blocks on
//! one thing, and is an iterator over what that brings:
//!
//! ```text
//! a reader and a writer per connection ──┐
//! a listener for TCP, and one for UDP ───┼─ News ─▶ the engine's thread ─ credit, bytes ─▶ readers, writers
//! one per dialling, lookup and request ──┘                └─ files
//! ```

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant as Clock};
use std::{iter, thread};

use anabranch_core::action::HttpRequest;
use anabranch_core::event::{CloseReason, ContactError, OpResult};
use anabranch_core::id::{ConnId, OpId};
use anabranch_core::{Action, Actions, Command, Config, Engine, Event, Instant};
use bytes::Bytes;

use common::files::Files;
use common::http::Exchange;
use common::{Args, Callers, close_reason, command};

/// What other threads tell the engine's.
enum News {
    /// For the engine.
    Event(Event),
    /// What came of dialling.
    Dialled(ConnId, io::Result<TcpStream>),
    /// Somebody dialled us.
    Caller(TcpStream, SocketAddr),
}

/// A connection that stands. What waits in the channels is bounded: the engine hands out no more
/// credit than `limits::READ_WINDOW`, and no more bytes than `limits::SEND_WINDOW`.
struct Conn {
    stream: Arc<TcpStream>,
    credit: Sender<u32>,
    bytes: Sender<Bytes>,
}

struct Client {
    /// What this thread has to tell the engine itself. It waits here, since the engine must not be
    /// called while the actions of the last call are carried out.
    events: VecDeque<Event>,
    /// For the other threads. Bounded: when the engine cannot follow, they wait.
    news: SyncSender<News>,
    /// From `Connect` or `Accept` until `Closed` is told; none while it is being dialled.
    conns: BTreeMap<ConnId, Option<Conn>>,
    callers: Callers<TcpStream>,
    /// Lookups and requests that have not been answered.
    ops: BTreeSet<OpId>,
    udp: UdpSocket,
    files: Files,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse()?;
    // One port for both: peers learn it from trackers, and UDP trackers answer to it.
    let listener = TcpListener::bind(("0.0.0.0", 0))?;
    let address = Some(listener.local_addr()?);
    let udp = UdpSocket::bind(listener.local_addr()?)?;
    let (news, queue) = mpsc::sync_channel(64);
    spawn(&news, callers(listener));
    spawn(&news, datagrams(udp.try_clone()?));
    let listening = command(Command::Listening { address });
    let add = command(Command::AddTorrent(args.add));
    let client = Client {
        events: [listening, add].into(),
        news,
        conns: BTreeMap::new(),
        callers: Callers::new(),
        ops: BTreeSet::new(),
        udp,
        files: Files::new(args.folder),
    };
    client.run(&queue)
}

impl Client {
    /// The whole loop: an event goes in, actions come out and are carried out.
    fn run(mut self, queue: &Receiver<News>) -> Result<(), Box<dyn Error>> {
        // Any origin will do for the engine's clock.
        let start = Clock::now();
        let clock = || Instant::ZERO + start.elapsed();
        let (seed, wall) = (common::seed(), common::wall());
        let mut engine = Engine::new(Config::default(), seed, clock(), wall);
        let mut actions = Actions::new();
        let mut deadline = Instant::FAR;
        while !engine.is_down() {
            if let Some(event) = self.events.pop_front() {
                let now = clock();
                let wake = engine.handle(now, event, &mut actions);
                deadline = wake.deadline(now).unwrap_or(Instant::FAR);
                for action in actions.drain() {
                    self.perform(action)?;
                }
            } else {
                match queue.recv_timeout(deadline.since(clock())) {
                    Ok(news) => self.admit(news),
                    Err(_) => self.events.push_back(Event::Tick),
                }
            }
        }
        Ok(())
    }

    /// Makes events of what another thread says. Threads do not know what happened meanwhile, so
    /// what concerns a connection or an operation that has ended stops here: `Closed` and `Done` are
    /// the last that the engine hears of one.
    fn admit(&mut self, news: News) {
        match news {
            News::Event(Event::Closed { conn, reason }) => self.close(conn, reason),
            News::Event(Event::Done { op, result }) => self.finish(op, result),
            News::Event(Event::Received { conn, .. } | Event::Sent { conn, .. })
            | News::Dialled(conn, _)
                if !self.conns.contains_key(&conn) => {}
            News::Event(event) => self.events.push_back(event),
            News::Dialled(conn, Ok(stream)) => {
                self.events.push_back(Event::Connected { conn });
                self.establish(conn, stream);
            }
            News::Dialled(conn, Err(error)) => self.close(conn, close_reason(&error)),
            News::Caller(stream, from) => {
                self.events.push_back(self.callers.admit(stream, from));
            }
        }
    }

    fn perform(&mut self, action: Action) -> Result<(), Box<dyn Error>> {
        match action {
            Action::Connect { conn, to, .. } => {
                self.conns.insert(conn, None);
                // The engine's patience ends before the system's: it closes, and this goes nowhere.
                let dial = move || News::Dialled(conn, TcpStream::connect(to));
                spawn(&self.news, iter::once_with(dial));
            }
            Action::Accept { ticket, conn } => {
                let caller = self.callers.take(ticket)?;
                self.establish(conn, caller);
            }
            // What is dropped is closed.
            Action::Refuse { ticket } => drop(self.callers.take(ticket)?),
            // A thread that has ended will be heard of: its last news is that all is closed.
            Action::Send { conn, data } => {
                if let Some(Some(conn)) = self.conns.get(&conn) {
                    let _ = conn.bytes.send(data);
                }
            }
            Action::Read { conn, credit } => {
                if let Some(Some(conn)) = self.conns.get(&conn) {
                    let _ = conn.credit.send(credit);
                }
            }
            Action::Close { conn } => self.close(conn, CloseReason::Local),
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
            // The simplest way: everything else waits. Threads would tell `Done` as those below do.
            Action::Disk { op, job, .. } => {
                let result = OpResult::Disk(self.files.perform(job));
                self.events.push_back(Event::Done { op, result });
            }
            Action::Resolve { op, host, .. } => self.begin(op, move || common::resolve(&host)),
            Action::Http { op, request, .. } => self.begin(op, move || fetch(*request)),
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

    fn begin(&mut self, op: OpId, work: impl FnOnce() -> OpResult + Send + 'static) {
        self.ops.insert(op);
        let done = move || News::Event(Event::Done { op, result: work() });
        spawn(&self.news, iter::once_with(done));
    }

    /// An operation is answered once: by its thread, or because it was cancelled.
    fn finish(&mut self, op: OpId, result: OpResult) {
        if self.ops.remove(&op) {
            self.events.push_back(Event::Done { op, result });
        }
    }

    /// Lets two threads work for a connection. Neither ever waits for the other.
    fn establish(&mut self, conn: ConnId, stream: TcpStream) {
        let stream = Arc::new(stream);
        let (credit, credits) = mpsc::channel();
        let (bytes, outgoing) = mpsc::channel();
        spawn(&self.news, reader(conn, stream.clone(), credits));
        let writing = stream.clone();
        let write = move |data: Bytes| News::Event(write(conn, &writing, &data));
        spawn(&self.news, outgoing.into_iter().map(write));
        let established = Conn {
            stream,
            credit,
            bytes,
        };
        self.conns.insert(conn, Some(established));
    }

    /// A connection is closed once: whoever is first, one of its threads or the engine.
    fn close(&mut self, conn: ConnId, reason: CloseReason) {
        if let Some(ended) = self.conns.remove(&conn) {
            // Ends its threads, wherever they wait: for the network, or for a channel.
            let _ = ended.map(|ended| ended.stream.shutdown(Shutdown::Both));
            self.events.push_back(Event::Closed { conn, reason });
        }
    }
}

/// Sends news on, each as it comes, from a thread of its own.
fn spawn(to: &SyncSender<News>, news: impl Iterator<Item = News> + Send + 'static) {
    let to = to.clone();
    // The first that nobody wants any more is the last.
    thread::spawn(move || news.map(|news| to.send(news)).find(Result::is_err));
}

/// Reads as long as there is credit. Once closed, it waits for more until that is out of the question.
fn reader(
    conn: ConnId,
    stream: Arc<TcpStream>,
    credits: Receiver<u32>,
) -> impl Iterator<Item = News> {
    let mut buffer = vec![0; 64 * 1024];
    let mut credit = 0;
    iter::from_fn(move || {
        if credit == 0 {
            credit = credits.recv().ok()? as usize;
        }
        let room = credit.min(buffer.len());
        let reason = match (&*stream).read(&mut buffer[..room]) {
            Ok(0) => CloseReason::Remote,
            Ok(len) => {
                credit -= len;
                // The engine keeps what it is given, so it gets these bytes and no larger buffer.
                let data = Bytes::copy_from_slice(&buffer[..len]);
                return Some(News::Event(Event::Received { conn, data }));
            }
            Err(error) => close_reason(&error),
        };
        credit = 0;
        Some(News::Event(Event::Closed { conn, reason }))
    })
}

fn write(conn: ConnId, mut stream: &TcpStream, data: &Bytes) -> Event {
    let len = data.len() as u64;
    match stream.write_all(data).map_err(|error| close_reason(&error)) {
        Ok(()) => Event::Sent { conn, len },
        Err(reason) => Event::Closed { conn, reason },
    }
}

/// Asks a tracker.
fn fetch(request: HttpRequest) -> OpResult {
    let timeout = Duration::from_millis(request.timeout_ms.max(1).into());
    let exchange = Exchange::begin(request, |address| {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        Ok(stream)
    });
    // On a stream that blocks, what stops halfway has run into the time-out.
    let ended = exchange.map(|mut exchange| exchange.advance());
    OpResult::Http(ended.and_then(|ended| ended.unwrap_or(Err(ContactError::TimedOut))))
}

fn callers(listener: TcpListener) -> impl Iterator<Item = News> {
    let next = iter::from_fn(move || listener.accept().ok());
    next.map(|(stream, from)| News::Caller(stream, from))
}

fn datagrams(udp: UdpSocket) -> impl Iterator<Item = News> {
    let mut buffer = vec![0; 64 * 1024];
    iter::from_fn(move || {
        let (len, from) = udp.recv_from(&mut buffer).ok()?;
        let data = Bytes::copy_from_slice(&buffer[..len]);
        Some(News::Event(Event::datagram(from, data)))
    })
}
