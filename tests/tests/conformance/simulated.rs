//! The engine in the simulator: each client is a host of one world, and time is virtual.
//!
//! A scenario's futures look at the world each time that something has happened in it, so nobody needs
//! to be woken, and nothing ever waits for the wall clock. Folders are names for what hosts have on
//! their disks: who takes a torrent on in a folder that another host used before gets its data moved to
//! the own disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use anabranch_driver::engine::command::{AddTorrent, Priority, RateLimits, Reply};
use anabranch_driver::engine::error::CommandError;
use anabranch_driver::engine::id::TorrentId;
use anabranch_driver::engine::metainfo::{FileIndex, InfoHash, Layout};
use anabranch_driver::engine::status::{FileStatus, PeerStatus, TorrentStatus, TrackerStatus};
use anabranch_driver::engine::wire::{
    BlockRequest, Decoder, Frame, Handshake, HandshakeDecoder, Limits, Message, PeerId, Reserved,
    encode_piece_header,
};
use anabranch_driver::engine::{Bitfield, Command, Instant, Notice, TorrentState, TorrentView};
use anabranch_driver::{AddOptions, Error};
use anabranch_sim::{
    Actor, ActorEvent, Content, Family, Fault, HostConfig, HostId, JobKind, Stage as Wings,
    TrackerId, TrackerMode, World, WorldConfig,
};
use anabranch_tests::scripted::{self, Gate};
use async_channel::Sender;
use bytes::{Bytes, BytesMut};

use crate::ground::{
    AnyClient, AnyDisk, AnyNotices, AnyPeer, AnyTorrent, AnyTracker, Ground, Script, Setup,
};
use crate::stage::Stage;

/// No scenario takes longer than this, in virtual time.
const LIMIT: Duration = Duration::from_secs(3_600);

/// How often a scripted peer looks whether a gate is open, in virtual time.
const LOOK: Duration = Duration::from_millis(20);

/// How often trackers are asked: not twice within a scenario.
const INTERVAL: Duration = Duration::from_secs(1_800);

/// The folder in which every torrent is complete from the start.
const ORIGIN: &str = "origin";

pub(crate) enum Simulator {}

/// The world in which a scenario is played, and what its folders stand for.
struct Scene {
    world: World,
    dirs: BTreeMap<PathBuf, HostId>,
    contents: BTreeMap<InfoHash, Content>,
}

thread_local! {
    /// Each scenario has a thread of its own.
    static SCENE: RefCell<Option<Scene>> = const { RefCell::new(None) };
}

fn on_scene<T>(look: impl FnOnce(&mut Scene) -> T) -> T {
    SCENE.with_borrow_mut(|scene| look(scene.as_mut().expect("a scenario is played")))
}

/// Waits until something can be seen.
async fn until<T>(mut look: impl FnMut(&mut Scene) -> Option<T>) -> T {
    poll_fn(|_| on_scene(&mut look).map_or(Poll::Pending, Poll::Ready)).await
}

impl Scene {
    fn content(&mut self, stage: &Stage) -> Content {
        let hash = InfoHash::new(stage.torrent.info_hash);
        let make = || {
            let torrent = std::fs::read(&stage.torrent.path).expect("a torrent file");
            let data = scripted::content(&stage.origin);
            Content::of_torrent(torrent, data).expect("they go together")
        };
        self.contents.entry(hash).or_insert_with(make).clone()
    }

    /// Pieces that are on a disk, and right; none at all when the folder holds nothing.
    fn pieces(&mut self, stage: &Stage, dir: &str) -> Option<Bitfield> {
        let content = self.content(stage);
        let host = self.dirs.get(&stage.scratch.join(dir))?;
        self.world.host(*host).pieces_on_disk(&content).cloned()
    }

    fn view<T>(
        &self,
        host: HostId,
        torrent: TorrentId,
        look: impl FnOnce(TorrentView<'_>, Instant) -> T,
    ) -> Result<T, Error> {
        let engine = self.world.host(host).engine().ok_or(Error::Stopped)?;
        let view = engine.torrent(torrent);
        let view = view.ok_or(Error::Command(CommandError::NoSuchTorrent(torrent)))?;
        Ok(look(view, self.world.now()))
    }
}

impl Simulator {
    /// Plays a scenario in the world of a seed.
    pub(crate) fn play_with<T>(seed: u64, scenario: impl Future<Output = T>) -> T {
        let mut config = WorldConfig::new(seed);
        config.checks.invariants_every = 16;
        SCENE.set(Some(Scene {
            world: World::with_config(config),
            dirs: BTreeMap::new(),
            contents: BTreeMap::new(),
        }));
        let mut scenario = pin!(scenario);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(result) = scenario.as_mut().poll(&mut cx) {
                SCENE.set(None);
                return result;
            }
            let (stepped, now) = on_scene(|scene| (scene.world.step(), scene.world.now()));
            match stepped {
                Ok(true) => {}
                Ok(false) => panic!("seed {seed}: nothing is left to happen"),
                Err(failure) => panic!("{failure}"),
            }
            assert!(
                now.since(Instant::ZERO) < LIMIT,
                "seed {seed}: not done after {LIMIT:?}"
            );
        }
    }
}

impl Ground for Simulator {
    type Client = SimClient;
    type Torrent = SimTorrent;
    type Notices = SimNotices;
    type Disk = SimClient;
    type Peer = SimClient;
    type Tracker = SimTracker;

    fn play<T>(scenario: impl Future<Output = T>) -> T {
        Self::play_with(0, scenario)
    }

    fn start(setup: Setup) -> SimClient {
        let mut config = HostConfig::default();
        config.engine = setup.config;
        if setup.ipv6 {
            config.family = Family::V6;
        }
        on_scene(|scene| SimClient {
            host: scene.world.add_host(config),
        })
    }

    fn has_ipv6() -> bool {
        true
    }

    fn now() -> Duration {
        on_scene(|scene| scene.world.now().since(Instant::ZERO))
    }

    fn scripted(stage: &Stage, script: Script) -> SimClient {
        Player::enter(stage, Part::Seed { script, given: 0 })
    }

    fn staller(stage: &Stage, asked: Gate, cancelled: Sender<()>) -> SimClient {
        Player::enter(stage, Part::Staller { asked, cancelled })
    }

    fn leech(stage: &Stage, number: usize, to: SocketAddr, told: Sender<usize>, leave: Gate) {
        let part = Part::Leech {
            number,
            to,
            told,
            leave,
        };
        Player::enter(stage, part);
    }

    fn tracker() -> SimTracker {
        on_scene(|scene| SimTracker {
            tracker: scene.world.add_tracker(INTERVAL),
        })
    }

    fn assert_copied(stage: &Stage, dir: &str) {
        let pieces = on_scene(|scene| scene.pieces(stage, dir));
        assert!(pieces.is_some_and(|pieces| pieces.is_full()), "{dir}");
    }

    fn assert_file(stage: &Stage, dir: &str, file: &str) {
        let pieces = on_scene(|scene| scene.pieces(stage, dir));
        let pieces = pieces.expect("something was begun");
        let (mut all, _) = pieces_of(stage, file);
        assert!(all.all(|piece| pieces.contains(piece)), "{file}");
    }

    /// No piece that holds nothing else is there.
    fn assert_no_file(stage: &Stage, dir: &str, file: &str) {
        let pieces = on_scene(|scene| scene.pieces(stage, dir));
        let pieces = pieces.expect("something was begun");
        let (_, mut own) = pieces_of(stage, file);
        assert!(!own.any(|piece| pieces.contains(piece)), "{file}");
    }

    /// On these disks there is nothing but torrents.
    fn add_file(_: &Stage, _: &str, _: &str) {}

    fn assert_gone(stage: &Stage, dir: &str, _: &str) {
        let pieces = on_scene(|scene| scene.pieces(stage, dir));
        assert!(pieces.is_none(), "{dir}: {pieces:?}");
    }

    /// An address is that of one host for ever; who has left listens no more.
    fn assert_free(address: SocketAddr) {
        on_scene(|scene| {
            let mut hosts = scene.world.hosts();
            let taken = hosts.any(|host| {
                let host = scene.world.host(host);
                host.is_up() && host.addresses().any(|own| own == address)
            });
            assert!(!taken, "{address}");
        });
    }

    fn spoil(stage: &Stage, dir: &str, at: u64) {
        on_scene(|scene| {
            let host = scene.dirs[&stage.scratch.join(dir)];
            let piece = (at / stage.torrent.piece_length) as u32;
            let offset = (at % stage.torrent.piece_length) as u32;
            let rot = Fault::Rot {
                host,
                torrent: 0,
                piece,
                offset,
            };
            scene.world.schedule(Duration::ZERO, rot);
            let struck = scene.world.run_for(Duration::ZERO);
            struck.expect("no check fails");
        });
    }
}

/// The pieces in which a file of a torrent lies, and those of them that no other file shares.
fn pieces_of(stage: &Stage, name: &str) -> (impl Iterator<Item = u32>, impl Iterator<Item = u32>) {
    let content = on_scene(|scene| scene.content(stage));
    let metainfo = content.metainfo();
    let mut files = metainfo.files().iter();
    let index = files.position(|file| file.path().to_string().ends_with(name));
    let file = FileIndex::new(index.expect("a file of the torrent") as u32);
    let layout = Layout::new(metainfo);
    let bytes = layout.file_range(file).expect("it is there");
    let pieces = layout.pieces_of_file(file).expect("it is there");
    let length = u64::from(metainfo.piece_length());
    let own = pieces.clone().filter(move |piece| {
        let start = u64::from(*piece) * length;
        bytes.start <= start && start + length <= bytes.end
    });
    (pieces, own)
}

/// A host, whatever it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClient {
    host: HostId,
}

impl SimClient {
    /// Gives the engine a command, and waits for the answer.
    async fn ask(&self, command: Command) -> Result<Reply, Error> {
        let host = self.host;
        let request = on_scene(|scene| {
            let engine = scene.world.host(host).engine();
            engine
                .is_some()
                .then(|| scene.world.command(host, command).0)
        });
        let request = request.ok_or(Error::Stopped)?;
        until(|scene| {
            let host = scene.world.host(host);
            if host.engine().is_none() {
                return Some(Err(Error::Stopped));
            }
            let reply = host.reply(request)?;
            Some(reply.clone().map_err(Error::Command))
        })
        .await
    }
}

impl AnyClient for SimClient {
    type Ground = Simulator;

    fn addresses(&self) -> Vec<SocketAddr> {
        on_scene(|scene| scene.world.host(self.host).addresses().collect())
    }

    fn hear(&self) -> SimNotices {
        on_scene(|scene| SimNotices {
            host: self.host,
            next: scene.world.host(self.host).notices().len(),
        })
    }

    async fn take(&self, stage: &Stage, options: AddOptions) -> Result<SimTorrent, Error> {
        let host = self.host;
        let dir = options.dir.ok_or(Error::NoFolder)?;
        on_scene(|scene| {
            if scene.world.host(host).engine().is_none() {
                return Err(Error::Stopped);
            }
            let content = scene.content(stage);
            let origin = dir == stage.scratch.join(ORIGIN);
            let add = AddTorrent {
                paused: options.paused,
                priorities: options.priorities,
                sequential: options.sequential,
                // Files that somebody put there come without resume data.
                recheck: options.recheck || origin,
                overwrite: options.overwrite,
                name: options.name,
                limits: options.limits,
                goal: options.goal,
                peers: options.peers,
                trackers: options.trackers,
                ..AddTorrent::default()
            };
            let before = scene.dirs.insert(dir, host);
            if let Some(before) = before.filter(|before| *before != host && !origin) {
                scene.world.move_data(&content, before, host);
            }
            let id = if origin {
                scene.world.seed_torrent(host, &content, add)?
            } else {
                scene.world.add_torrent(host, &content, add)?
            };
            let hash = content.info_hash();
            let name = content.metainfo().name().to_owned();
            Ok(SimTorrent {
                client: *self,
                id,
                hash,
                name,
            })
        })
    }

    async fn take_on_disk(
        &self,
        stage: &Stage,
        options: AddOptions,
    ) -> Result<(SimTorrent, Self), Error> {
        Ok((self.take(stage, options).await?, *self))
    }

    async fn count(&self) -> Result<usize, Error> {
        on_scene(|scene| {
            let engine = scene.world.host(self.host).engine();
            Ok(engine.ok_or(Error::Stopped)?.torrents().count())
        })
    }

    async fn limit(&self, limits: RateLimits) -> Result<(), Error> {
        let torrent = None;
        let reply = self.ask(Command::SetLimits { torrent, limits }).await;
        reply.map(drop)
    }

    async fn end(&self) -> Result<(), Error> {
        let host = self.host;
        on_scene(|scene| {
            let up = scene.world.host(host).is_up();
            scene.world.leave(host);
            up.then_some(()).ok_or(Error::Stopped)
        })?;
        until(|scene| (!scene.world.host(host).is_up()).then_some(Ok(()))).await
    }
}

impl AnyDisk for SimClient {
    fn fill(&self, full: bool) {
        on_scene(|scene| scene.world.host_mut(self.host).disk_faults().full = full);
    }

    fn kill(&self) {
        on_scene(|scene| scene.world.kill(self.host));
    }

    fn verified(&self) -> u32 {
        on_scene(|scene| scene.world.host(self.host).disk_jobs(JobKind::Verify)) as u32
    }
}

impl AnyPeer for SimClient {
    fn address(&self) -> SocketAddr {
        on_scene(|scene| scene.world.address(self.host))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SimTorrent {
    client: SimClient,
    id: TorrentId,
    hash: InfoHash,
    name: String,
}

impl SimTorrent {
    fn look<T>(&self, look: impl FnOnce(TorrentView<'_>, Instant) -> T) -> Result<T, Error> {
        on_scene(|scene| scene.view(self.client.host, self.id, look))
    }

    async fn ask(&self, command: impl FnOnce(TorrentId) -> Command) -> Result<(), Error> {
        self.client.ask(command(self.id)).await.map(drop)
    }
}

impl AnyTorrent for SimTorrent {
    fn id(&self) -> TorrentId {
        self.id
    }

    fn info_hash(&self) -> InfoHash {
        self.hash
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn status(&self) -> Result<TorrentStatus, Error> {
        self.look(|view, now| view.status(now))
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, Error> {
        self.look(|view, now| view.peers(now))
    }

    async fn files(&self) -> Result<Vec<FileStatus>, Error> {
        self.look(|view, _| view.files())
    }

    async fn trackers(&self) -> Result<Vec<TrackerStatus>, Error> {
        self.look(|view, now| view.trackers(now))
    }

    async fn pause(&self) -> Result<(), Error> {
        self.ask(|torrent| Command::Pause { torrent }).await
    }

    async fn resume(&self) -> Result<(), Error> {
        self.ask(|torrent| Command::Resume { torrent }).await
    }

    async fn recheck(&self) -> Result<(), Error> {
        self.ask(|torrent| Command::Recheck { torrent }).await
    }

    async fn checkpoint(&self) -> Result<(), Error> {
        self.ask(|torrent| Command::Checkpoint { torrent }).await
    }

    async fn remove(&self, delete_data: bool) -> Result<(), Error> {
        self.ask(|torrent| Command::RemoveTorrent {
            torrent,
            delete_data,
        })
        .await
    }

    async fn set_priorities(&self, files: Vec<(FileIndex, Priority)>) -> Result<(), Error> {
        self.ask(|torrent| Command::SetPriorities { torrent, files })
            .await
    }

    async fn add_peer(&self, peer: SocketAddr) -> Result<(), Error> {
        let peers = vec![peer];
        self.ask(|torrent| Command::AddPeers { torrent, peers })
            .await
    }

    async fn wait_complete(&self) -> Result<(), Error> {
        until(|scene| {
            let seen = scene.view(self.client.host, self.id, |view, now| match view.state() {
                TorrentState::Seeding => true,
                TorrentState::Paused => {
                    let status = view.status(now);
                    status.have == status.wanted && status.pieces_unchecked == 0
                }
                _ => false,
            });
            match seen {
                Ok(complete) => complete.then_some(Ok(())),
                Err(Error::Command(_)) => Some(Err(Error::Removed)),
                Err(error) => Some(Err(error)),
            }
        })
        .await
    }
}

/// Notices are kept with their host for ever, so none is lost.
#[derive(Debug)]
pub(crate) struct SimNotices {
    host: HostId,
    next: usize,
}

impl AnyNotices for SimNotices {
    async fn next(&mut self) -> Option<Notice> {
        let (host, next) = (self.host, self.next);
        let told = until(|scene| {
            let host = scene.world.host(host);
            match host.notices().get(next) {
                Some((_, notice)) => Some(Some(notice.clone())),
                None => (!host.is_up()).then_some(None),
            }
        })
        .await;
        self.next += usize::from(told.is_some());
        told
    }

    fn missed(&self) -> u64 {
        0
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SimTracker {
    tracker: TrackerId,
}

impl AnyTracker for SimTracker {
    fn http(&self) -> String {
        on_scene(|scene| scene.world.http_url(self.tracker))
    }

    fn udp(&self) -> String {
        on_scene(|scene| format!("{}/announce", scene.world.udp_url(self.tracker)))
    }

    fn dead(&self) -> String {
        // It refuses at once, as a port of this machine does that nobody listens on.
        on_scene(|scene| {
            let dead = scene.world.add_tracker(INTERVAL);
            let refusing = Fault::Tracker(dead, TrackerMode::Refusing);
            scene.world.schedule(Duration::ZERO, refusing);
            scene.world.http_url(dead)
        })
    }
}

/// A scripted peer.
#[derive(Debug)]
struct Player {
    content: Content,
    part: Part,
    conns: BTreeMap<u64, Talk>,
    /// It is going to look at its gates.
    looking: bool,
}

#[derive(Debug)]
enum Part {
    Seed {
        script: Script,
        given: u32,
    },
    Staller {
        asked: Gate,
        cancelled: Sender<()>,
    },
    Leech {
        number: usize,
        to: SocketAddr,
        told: Sender<usize>,
        leave: Gate,
    },
}

/// What is known of a connection.
#[derive(Debug)]
struct Talk {
    greeting: Option<HandshakeDecoder>,
    decoder: Decoder,
    interested: bool,
    unchoked: bool,
    asked: VecDeque<BlockRequest>,
}

impl Player {
    /// Makes a host of its own for it.
    fn enter(stage: &Stage, part: Part) -> SimClient {
        on_scene(|scene| {
            let player = Self {
                content: scene.content(stage),
                part,
                conns: BTreeMap::new(),
                looking: false,
            };
            SimClient {
                host: scene.world.add_actor(HostConfig::default(), player),
            }
        })
    }

    fn greet(&self, wings: &mut Wings<'_>, conn: u64) {
        let mut id = *b"-XX0100-............";
        wings.chance.fill(&mut id[8..]);
        let handshake = Handshake {
            reserved: Reserved::default(),
            info_hash: *self.content.info_hash().as_bytes(),
            peer_id: PeerId(id),
        };
        let mut out = BytesMut::from(&handshake.encode()[..]);
        if let Part::Leech { .. } = self.part {
            Message::Interested.encode(&mut out);
        } else {
            let map = Bitfield::full(self.content.pieces()).to_wire();
            Message::Bitfield(map).encode(&mut out);
        }
        wings.send(conn, out);
    }

    fn hear(&mut self, wings: &mut Wings<'_>, conn: u64, mut data: Bytes) {
        let Some(talk) = self.conns.get_mut(&conn) else {
            return;
        };
        if let Some(greeting) = &mut talk.greeting {
            match greeting.decode(&mut data) {
                Ok(None) => return,
                Ok(Some(_)) => talk.greeting = None,
                Err(error) => panic!("a client sent no handshake: {error}"),
            }
            if !matches!(self.part, Part::Leech { .. }) {
                self.greet(wings, conn);
            }
        }
        let Some(talk) = self.conns.get_mut(&conn) else {
            return;
        };
        loop {
            let frame = match talk.decoder.decode(&mut data) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => panic!("a client broke the protocol: {error}"),
            };
            match (frame, &self.part) {
                (Frame::Message(Message::Interested), _) => talk.interested = true,
                (Frame::Message(Message::Request(request)), part) => {
                    if let Part::Staller { asked, .. } = part {
                        asked.open();
                    }
                    talk.asked.push_back(request);
                }
                (Frame::Message(Message::Cancel(request)), part) => {
                    let before = talk.asked.len();
                    talk.asked.retain(|asked| *asked != request);
                    if let Part::Staller { cancelled, .. } = part
                        && talk.asked.len() < before
                    {
                        let _ = cancelled.try_send(());
                    }
                }
                (Frame::Message(Message::Unchoke), Part::Leech { number, told, .. }) => {
                    talk.unchoked = true;
                    let _ = told.try_send(*number);
                }
                _ => {}
            }
        }
    }

    /// Does what gates allow, and looks again later where one is shut.
    fn go_on(&mut self, wings: &mut Wings<'_>) {
        let mut waits = false;
        for (conn, talk) in &mut self.conns {
            match &mut self.part {
                Part::Seed { script, given } => {
                    if talk.interested && !talk.unchoked {
                        if script.unchoke.is_open() {
                            talk.unchoked = true;
                            let mut out = BytesMut::new();
                            Message::Unchoke.encode(&mut out);
                            wings.send(*conn, out);
                        } else {
                            waits = true;
                        }
                    }
                    while let Some(request) = talk.asked.front().copied() {
                        if let Some((blocks, rest)) = &script.halt
                            && *given >= *blocks
                            && !rest.is_open()
                        {
                            waits = true;
                            break;
                        }
                        talk.asked.pop_front();
                        *given += 1;
                        let mut asked = script.asked.lock().expect("no panic");
                        asked.push((request.piece, request.begin));
                        let mut out = BytesMut::new();
                        encode_piece_header(request, &mut out);
                        let head = out.len();
                        let right = &self.content;
                        let right = right.slice(request.piece, request.begin, request.len);
                        out.extend_from_slice(&right);
                        if script.corrupt {
                            out[head] ^= 1;
                        }
                        wings.send(*conn, out);
                    }
                }
                Part::Staller { .. } => {
                    if talk.interested && !talk.unchoked {
                        talk.unchoked = true;
                        let mut out = BytesMut::new();
                        Message::Unchoke.encode(&mut out);
                        wings.send(*conn, out);
                    }
                }
                Part::Leech { leave, .. } => {
                    if talk.unchoked && leave.is_open() {
                        wings.close(*conn);
                    } else {
                        waits = true;
                    }
                }
            }
        }
        if waits && !std::mem::replace(&mut self.looking, true) {
            wings.wake_in(LOOK, 0);
        }
    }
}

impl Actor for Player {
    fn on(&mut self, wings: &mut Wings<'_>, event: ActorEvent) {
        match event {
            ActorEvent::Started => {
                if let Part::Leech { to, .. } = self.part {
                    wings.connect(to);
                }
            }
            ActorEvent::Incoming { conn, .. } | ActorEvent::Connected { conn } => {
                let talk = Talk {
                    greeting: Some(HandshakeDecoder::new()),
                    decoder: Decoder::new(Limits::default()),
                    interested: false,
                    unchoked: false,
                    asked: VecDeque::new(),
                };
                self.conns.insert(conn, talk);
                if let Part::Leech { .. } = self.part {
                    self.greet(wings, conn);
                }
            }
            ActorEvent::Received { conn, data } => self.hear(wings, conn, data),
            ActorEvent::Closed { conn, .. } => {
                self.conns.remove(&conn);
            }
            ActorEvent::Timer { .. } => self.looking = false,
            _ => {}
        }
        self.go_on(wings);
    }
}
