//! Everything that the loop owns beside its machine, and how each action is performed on it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anabranch_core::action::{DiskJob, HttpRequest};
use anabranch_core::command::{AddTorrent, Reply};
use anabranch_core::datagram::Outbound;
use anabranch_core::error::CommandError;
use anabranch_core::event::{
    CloseReason, ContactError, DiskError, DiskErrorKind, OpResult, Undelivered,
};
use anabranch_core::id::{ConnId, OpId, RequestId, StorageKey, Ticket, TorrentId};
use anabranch_core::wire::utp::Packet;
use anabranch_core::{Action, Command, Event, Instant, Notice};

use tracing::{info, warn};

use crate::buffers::BufferPool;
use crate::conns::Conns;
use crate::http;
use crate::limits::SOCKET_PAUSE;
use crate::net::{self, Bound};
use crate::notices::Readers;
use crate::options::LoopOptions;
use crate::packets::{Packets, Prepared};
use crate::policy::{Contact, ContactKind, Policy};
use crate::pool::{Completion, Pool};
use crate::ready::{Queue, Ready, Signal, TaskKey, Turn};
use crate::remote::{Fetch, ReplyTo};
use crate::runtime::{HttpContent, Runtime};
use crate::sockets::Listening;
use crate::storage::Storage;
use crate::tasks::{Outcome, Tasks};

/// Who waits for a command's answer.
enum Waiting {
    Handle(ReplyTo),
    /// A torrent's, whose storage goes if it is refused.
    Add(StorageKey, ReplyTo),
    /// The end's.
    Shutdown,
    /// The loop itself, which wants no answer.
    Nobody,
}

/// The end is under way.
struct Ending {
    by: Instant,
    replies: Vec<ReplyTo>,
    /// Whether the loop stops now.
    finished: bool,
    /// The machine's answer; none when it took too long.
    result: Option<Result<Reply, CommandError>>,
}

pub(crate) struct Io<R: Runtime> {
    pub(crate) runtime: R,
    pub(crate) ready: Arc<Ready>,
    pub(crate) queue: Queue,
    pub(crate) events: VecDeque<Event>,
    pub(crate) readers: Readers,
    policy: Arc<dyn Policy>,
    from: Option<IpAddr>,
    conns: Conns<R::Stream>,
    tasks: Tasks<R::Stream>,
    listening: Vec<Listening<R::Listener>>,
    packets: Vec<Packets<R::Udp>>,
    /// Sockets that speak to multicast groups, each on one network. They never wait.
    mouths: Vec<std::net::UdpSocket>,
    /// Until when sockets that failed are left alone.
    paused_until: Option<Instant>,
    /// Connections that came in and were not answered for yet.
    tickets: BTreeMap<Ticket, R::Stream>,
    next_ticket: u64,
    pool: Pool,
    completions: Vec<Completion>,
    storages: BTreeMap<StorageKey, Arc<dyn Storage>>,
    torrents: BTreeMap<TorrentId, StorageKey>,
    next_key: u64,
    requests: BTreeMap<RequestId, Waiting>,
    next_request: u64,
    next_fetch: u64,
    ending: Option<Ending>,
}

impl<R: Runtime> Drop for Io<R> {
    fn drop(&mut self) {
        self.readers.end();
    }
}

impl<R: Runtime> Io<R> {
    pub(crate) fn new(runtime: R, options: LoopOptions) -> Self {
        let ready = Arc::new(Ready::default());
        let buffers = BufferPool::default();
        let buffer_len = options.read_buffer.max(4 << 10);
        Self {
            runtime,
            queue: Queue::new(),
            events: VecDeque::new(),
            readers: Readers::default(),
            policy: options.policy,
            from: options.from,
            conns: Conns::new(Arc::clone(&ready), buffers.clone(), buffer_len),
            tasks: Tasks::new(),
            listening: Vec::new(),
            packets: Vec::new(),
            mouths: Vec::new(),
            paused_until: None,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            pool: Pool::new(buffers),
            completions: Vec::new(),
            storages: BTreeMap::new(),
            torrents: BTreeMap::new(),
            next_key: 0,
            requests: BTreeMap::new(),
            next_request: 0,
            next_fetch: 0,
            ending: None,
            ready,
        }
    }

    /// Takes over sockets that are bound.
    pub(crate) fn adopt(&mut self, address: SocketAddr, bound: Bound) -> io::Result<()> {
        if let Some(tcp) = bound.tcp {
            let socket = self.runtime.listener(tcp)?;
            let listening = Listening::new(&self.ready, self.listening.len(), socket);
            listening.requeue(&mut self.queue);
            self.listening.push(listening);
        }
        let prepared = Prepared::of(&bound.udp)?;
        let socket = self.runtime.udp(bound.udp)?;
        let packets = Packets::new(&self.ready, self.packets.len(), socket, address, prepared);
        packets.requeue(&mut self.queue);
        self.packets.push(packets);
        Ok(())
    }

    /// Joins the multicast groups on the networks of these addresses, as far as possible.
    pub(crate) fn join_local_discovery(&mut self, addresses: &[SocketAddr]) -> Vec<io::Error> {
        let (mut v4, mut v6) = (false, false);
        let mut errors = Vec::new();
        for group in crate::lsd::join(addresses) {
            let joined = group.and_then(|group| {
                let prepared = Prepared::for_group(&group.ear)?;
                let ear = self.runtime.udp(group.ear)?;
                Ok((group.address, group.mouths, ear, prepared))
            });
            let (address, mouths, socket, prepared) = match joined {
                Ok(joined) => joined,
                // One peer source less, and no reason to fail.
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            v4 |= address.is_ipv4();
            v6 |= address.is_ipv6();
            let packets =
                Packets::for_group(&self.ready, self.packets.len(), socket, address, prepared);
            packets.requeue(&mut self.queue);
            self.packets.push(packets);
            self.mouths.extend(mouths);
        }
        self.request(Command::LocalDiscovery { v4, v6 }, Waiting::Nobody);
        errors
    }

    /// Sends to a multicast group on every network. Packets may get lost, and so may these.
    fn multicast(&self, to: SocketAddr, data: &[u8]) {
        for mouth in &self.mouths {
            let same = mouth
                .local_addr()
                .is_ok_and(|own| own.is_ipv4() == to.is_ipv4());
            if same {
                let _ = mouth.send_to(data, to);
            }
        }
    }

    /// Takes over what was woken since the last turn.
    pub(crate) fn collect(&mut self) {
        self.ready.collect(&mut self.queue);
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.events.is_empty() || !self.queue.is_empty()
    }

    /// When the loop must run again on its own account.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ending = self.ending.as_ref().map(|ending| ending.by);
        [self.paused_until, ending].into_iter().flatten().min()
    }

    /// Whether the loop is at its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.finished)
    }

    pub(crate) fn look_at_clock(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            for socket in &self.listening {
                socket.requeue(&mut self.queue);
            }
            for socket in &self.packets {
                socket.requeue(&mut self.queue);
            }
        }
        if let Some(ending) = &mut self.ending
            && ending.by <= now
        {
            warn!("the end took too long: not all may be saved");
            ending.finished = true;
        }
    }

    // What handles ask for.

    fn request(&mut self, command: Command, waiting: Waiting) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(request, waiting);
        self.events.push_back(Event::Command {
            request,
            command: Box::new(command),
        });
    }

    pub(crate) fn command(&mut self, command: Command, reply: ReplyTo) {
        self.request(command, Waiting::Handle(reply));
    }

    pub(crate) fn add(&mut self, mut add: AddTorrent, storage: Arc<dyn Storage>, reply: ReplyTo) {
        let key = StorageKey(self.next_key);
        self.next_key += 1;
        self.storages.insert(key, storage);
        add.storage = key;
        self.request(Command::AddTorrent(add), Waiting::Add(key, reply));
    }

    pub(crate) fn shut_down(&mut self, by: Instant, reply: Option<ReplyTo>) {
        match &mut self.ending {
            Some(ending) => ending.replies.extend(reply),
            None => {
                self.ending = Some(Ending {
                    by,
                    replies: reply.into_iter().collect(),
                    finished: false,
                    result: None,
                });
                self.request(Command::Shutdown, Waiting::Shutdown);
            }
        }
    }

    /// What is left to say when everything has been released. To say nothing is to say that it was not
    /// finished.
    pub(crate) fn last_words(&mut self) -> impl FnOnce() + use<R> {
        let ending = self.ending.take();
        move || {
            if let Some(Ending {
                replies,
                result: Some(result),
                ..
            }) = ending
            {
                for reply in replies {
                    answer(&reply, result.clone());
                }
            }
        }
    }

    fn reply(&mut self, request: RequestId, result: Result<Reply, CommandError>) {
        match self.requests.remove(&request) {
            Some(Waiting::Handle(reply)) => answer(&reply, result),
            Some(Waiting::Add(key, reply)) => {
                match &result {
                    // The torrent's jobs name the torrent alone.
                    Ok(Reply::Added { torrent }) => {
                        self.torrents.insert(*torrent, key);
                    }
                    Ok(Reply::Done | Reply::Dht(_)) | Err(_) => {
                        self.storages.remove(&key);
                    }
                }
                answer(&reply, result);
            }
            Some(Waiting::Shutdown) => {
                info!("the client ends");
                if let Some(ending) = &mut self.ending {
                    ending.finished = true;
                    ending.result = Some(result);
                }
            }
            Some(Waiting::Nobody) | None => {}
        }
    }

    // What sources have.

    pub(crate) fn readable(&mut self, conn: ConnId, limit: usize) -> usize {
        self.conns
            .readable(conn, limit, &mut self.queue, &mut self.events)
    }

    pub(crate) fn writable(&mut self, conn: ConnId) {
        self.conns.writable(conn, &mut self.queue, &mut self.events);
    }

    pub(crate) fn accept(&mut self, index: usize, now: Instant) {
        if self.paused_until.is_some() {
            return;
        }
        let Some(socket) = self.listening.get_mut(index) else {
            return;
        };
        let turn = socket.accept(&mut self.queue, |stream, from| {
            let contact = Contact::new(ContactKind::Accept(from), None);
            if !self.policy.allows(&contact) {
                return;
            }
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            self.tickets.insert(ticket, stream);
            self.events.push_back(Event::Incoming { ticket, from });
        });
        if turn == Turn::Failing {
            warn!("a socket fails, and is left alone for a moment");
            self.paused_until = Some(now + SOCKET_PAUSE);
        }
    }

    pub(crate) fn receive(&mut self, index: usize, now: Instant) {
        let Some(socket) = self.packets.get_mut(index) else {
            return;
        };
        let policy = &self.policy;
        let may_come = |from| policy.allows(&Contact::new(ContactKind::Accept(from), None));
        if socket.receive(now, may_come, &mut self.queue, &mut self.events) == Turn::Failing {
            warn!("a socket fails, and is left alone for a moment");
            self.paused_until = Some(now + SOCKET_PAUSE);
        }
    }

    pub(crate) fn transmit(&mut self, index: usize) {
        if let Some(socket) = self.packets.get_mut(index) {
            socket.transmit(&mut self.events);
        }
    }

    /// Takes what disk jobs came to. The machine bounds how many there are.
    pub(crate) fn take_disk(&mut self, signal: &Signal) {
        let polled = self.pool.poll(&mut signal.context(), &mut self.completions);
        if polled.is_ready() {
            // Only a pending poll leaves the waker behind.
            signal.requeue(&mut self.queue);
        }
        for Completion { op, result } in self.completions.drain(..) {
            self.events.push_back(Event::Done { op, result });
        }
    }

    pub(crate) fn poll_task(&mut self, key: TaskKey) {
        let Some(outcome) = self.tasks.poll(key) else {
            return;
        };
        match (key, outcome) {
            (TaskKey::Dial(conn), Outcome::Dialled(Ok(stream))) => {
                self.conns.open(conn, stream);
                self.events.push_back(Event::Connected { conn });
            }
            (TaskKey::Dial(conn), Outcome::Dialled(Err(error))) => {
                self.closed(conn, net::close_reason(&error));
            }
            (TaskKey::Op(op), Outcome::Resolved(result)) => {
                self.done(op, OpResult::Resolved(result));
            }
            (TaskKey::Op(op), Outcome::Http(result)) => self.done(op, OpResult::Http(result)),
            (TaskKey::Fetch(_), Outcome::Fetched) => {}
            (TaskKey::Dial(_), Outcome::Resolved(_) | Outcome::Http(_) | Outcome::Fetched)
            | (TaskKey::Op(_), Outcome::Dialled(_) | Outcome::Fetched)
            | (TaskKey::Fetch(_), Outcome::Dialled(_) | Outcome::Resolved(_) | Outcome::Http(_)) => {
                debug_assert!(false, "a task ended as another kind");
            }
        }
    }

    // What the machine wants.

    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Connect { conn, to, torrent } => self.connect(conn, to, torrent),
            Action::Accept { ticket, conn } => match self.tickets.remove(&ticket) {
                Some(stream) => self.conns.open(conn, stream),
                None => self.closed(conn, CloseReason::Failed),
            },
            Action::Refuse { ticket } => {
                self.tickets.remove(&ticket);
            }
            Action::Send { conn, data } => self.conns.send(conn, data),
            Action::Read { conn, credit } => self.conns.credit(conn, credit, &mut self.queue),
            Action::Close { conn } => {
                // One that has ended by itself has had its event.
                if self.conns.close(conn) || self.tasks.cancel(TaskKey::Dial(conn)) {
                    self.closed(conn, CloseReason::Local);
                }
            }
            Action::Datagram(outbound) => self.datagram(outbound),
            Action::Disk { op, torrent, job } => self.disk(op, torrent, job),
            Action::Resolve { op, host, torrent } => self.resolve(op, host, torrent),
            Action::Http {
                op,
                request,
                torrent,
            } => self.http(op, *request, torrent),
            Action::Cancel { op } => {
                if self.tasks.cancel(TaskKey::Op(op)) {
                    self.done(op, OpResult::Cancelled);
                } else {
                    self.pool.cancel(op);
                }
            }
            Action::Reply { request, result } => self.reply(request, result),
            Action::Notify(notice) => {
                if let Notice::Removed { torrent } = &notice
                    && let Some(key) = self.torrents.remove(torrent)
                {
                    self.storages.remove(&key);
                }
                self.readers.publish(&notice);
            }
        }
    }

    /// Writes what the batch of actions queued, and drops incoming connections that nobody wanted.
    pub(crate) fn end_batch(&mut self) {
        self.conns.flush(&mut self.queue, &mut self.events);
        for socket in &mut self.packets {
            socket.tell_flushed(&mut self.events);
        }
        // Incoming connections are answered for in the turn in which they come.
        self.tickets.clear();
    }

    fn connect(&mut self, conn: ConnId, to: SocketAddr, torrent: TorrentId) {
        let contact = Contact::new(ContactKind::Connect(to), Some(torrent));
        if !self.policy.allows(&contact) {
            return self.closed(conn, CloseReason::Denied);
        }
        if self.from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) {
            return self.closed(conn, CloseReason::Unreachable);
        }
        let dial = self.runtime.connect(to, self.from);
        self.tasks.start(
            &self.ready,
            &mut self.queue,
            TaskKey::Dial(conn),
            async move { Outcome::Dialled(dial.await) },
        );
    }

    fn resolve(&mut self, op: OpId, host: String, torrent: Option<TorrentId>) {
        let unbracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&host);
        if let Ok(address) = unbracketed.parse::<IpAddr>() {
            return self.done(op, OpResult::Resolved(Ok(vec![address])));
        }
        let contact = Contact::new(ContactKind::Resolve(&host), torrent);
        if !self.policy.allows(&contact) {
            return self.done(op, OpResult::Resolved(Err(ContactError::Denied)));
        }
        let lookup = self.runtime.resolve(host);
        self.tasks
            .start(&self.ready, &mut self.queue, TaskKey::Op(op), async move {
                Outcome::Resolved(lookup.await)
            });
    }

    fn http(&mut self, op: OpId, request: HttpRequest, torrent: Option<TorrentId>) {
        let exchange = http::exchange(
            self.runtime.clone(),
            Arc::clone(&self.policy),
            self.from,
            torrent,
            request,
            HttpContent::TrackerReply,
        );
        self.tasks
            .start(&self.ready, &mut self.queue, TaskKey::Op(op), async move {
                Outcome::Http(exchange.await)
            });
    }

    /// Makes a request of a handle's, and answers it.
    pub(crate) fn fetch(&mut self, fetch: Fetch) {
        let exchange = http::exchange(
            self.runtime.clone(),
            Arc::clone(&self.policy),
            self.from,
            None,
            fetch.request,
            HttpContent::TorrentFile,
        );
        let key = TaskKey::Fetch(self.next_fetch);
        self.next_fetch += 1;
        self.tasks
            .start(&self.ready, &mut self.queue, key, async move {
                // Whoever asked may have left.
                let _ = fetch.reply.try_send(exchange.await);
                drop(fetch.place);
                Outcome::Fetched
            });
    }

    fn disk(&mut self, op: OpId, torrent: TorrentId, job: DiskJob) {
        if let DiskJob::Open(open) = &job {
            self.torrents.insert(torrent, open.key);
        }
        let storage = self
            .torrents
            .get(&torrent)
            .and_then(|key| self.storages.get(key));
        match storage {
            Some(storage) => self.pool.submit(op, Arc::clone(storage), job),
            None => self.done(
                op,
                OpResult::Disk(Err(DiskError {
                    kind: DiskErrorKind::NotFound,
                    file: torrent.to_string(),
                    message: "there is no storage for this torrent".into(),
                })),
            ),
        }
    }

    fn closed(&mut self, conn: ConnId, reason: CloseReason) {
        self.events.push_back(Event::Closed { conn, reason });
    }

    fn datagram(&mut self, outbound: Outbound) {
        let (to, torrent) = (outbound.to, outbound.torrent);
        let kind = if !outbound.is_counted {
            ContactKind::Datagram(to)
        } else if Packet::is_syn(&outbound.data) {
            ContactKind::Connect(to)
        } else {
            ContactKind::Stream(to)
        };
        let contact = Contact::new(kind, torrent);
        if !self.policy.allows(&contact) {
            return self.lost(&outbound, Undelivered::Denied);
        }
        if to.ip().is_multicast() {
            return self.multicast(to, &outbound.data);
        }
        let asked_for = |at: usize| outbound.socket.is_none_or(|id| id.0 as usize == at);
        let mut sockets = self.packets.iter_mut().enumerate();
        match sockets.find(|(at, socket)| asked_for(*at) && socket.reaches(to)) {
            Some((_, socket)) => socket.send(outbound, &mut self.events),
            None => self.lost(&outbound, Undelivered::Unreachable),
        }
    }

    /// Packets that no socket takes.
    fn lost(&mut self, outbound: &Outbound, reason: Undelivered) {
        if outbound.is_counted {
            let len = outbound.data.len() as u64;
            self.events.push_back(Event::Flushed { len });
        }
        self.undelivered(outbound.to, reason);
    }

    fn undelivered(&mut self, to: SocketAddr, reason: Undelivered) {
        self.events.push_back(Event::Undelivered { to, reason });
    }

    fn done(&mut self, op: OpId, result: OpResult) {
        self.events.push_back(Event::Done { op, result });
    }
}

/// Answers a handle, which may have left.
fn answer(reply: &ReplyTo, result: Result<Reply, CommandError>) {
    let _ = reply.try_send(result);
}
