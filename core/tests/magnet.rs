//! One engine with a magnet link against peers that are scripts of bytes.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests look for one kind of action among all"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anabranch_core::action::DiskJob;
use anabranch_core::command::{AddTorrent, Priority, Reply};
use anabranch_core::error::CommandError;
use anabranch_core::event::{CloseReason, ContactError, DiskDone, OpResult, Opened};
use anabranch_core::id::{ConnId, RequestId, Ticket, TorrentId};
use anabranch_core::metainfo::{Creator, InfoHash, Metainfo, SourceFile, torrent_file};
use anabranch_core::status::Hindrance;
use anabranch_core::wire::{
    Decoder, ExtendedHandshake, Frame, Handshake, Limits, Message, MetadataMessage, PeerId,
    PexFlags, PexMessage, Reserved,
};
use anabranch_core::{
    Action, Actions, Bitfield, Command, Config, Engine, Event, Instant, Notice, Seed, TorrentState,
    UnixTime,
};
use bytes::{Bytes, BytesMut};

/// The ids under which the scripts want messages.
const THEIR_METADATA: u8 = 7;
const THEIR_PEX: u8 = 9;

struct Rig {
    engine: Engine,
    metainfo: Metainfo,
    /// What peers are asked for.
    info: Bytes,
    torrent: TorrentId,
    now: Instant,
    actions: Vec<Action>,
    tickets: u64,
    /// Our ids for the extensions, as the engine told them.
    ours: BTreeMap<String, u8>,
}

/// Two files, and metadata of three blocks.
fn metainfo(private: bool) -> Metainfo {
    let files = ["a", "b"].map(|name| SourceFile {
        path: vec![name.into()],
        length: 16_384 * 1_000,
    });
    let creator = Creator::multi_file("content", files)
        .with_piece_length(16_384)
        .with_private(private);
    let hashes: Vec<u8> = (0..2_000_u32 * 20)
        .map(|at| ((at * 31) >> 3) as u8)
        .collect();
    creator.finish(&hashes).expect("a torrent").metainfo
}

impl Rig {
    fn new(private: bool, extra: &str) -> Self {
        Self::with(private, extra, |_| ())
    }

    fn with(private: bool, extra: &str, change: impl FnOnce(&mut Config)) -> Self {
        let metainfo = metainfo(private);
        let info = metainfo.info_bytes().clone();
        Self::fetching(metainfo, info, extra, change)
    }

    /// Of a link to this info dictionary, which need not be the torrent's.
    fn fetching(
        metainfo: Metainfo,
        info: Bytes,
        extra: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        config.max_metadata_size = 1 << 20;
        change(&mut config);
        let mut engine = Engine::new(config, Seed([1; 32]), Instant::ZERO, UnixTime(0));
        let link = format!("magnet:?xt=urn:btih:{}{extra}", InfoHash::of_info(&info));
        let (torrent, actions) = add(&mut engine, &link);
        Self {
            engine,
            torrent,
            metainfo,
            info,
            now: Instant::ZERO,
            actions,
            tickets: 0,
            ours: BTreeMap::new(),
        }
    }

    fn feed(&mut self, event: Event) {
        let mut actions = Actions::new();
        let _ = self.engine.handle(self.now, event, &mut actions);
        self.engine.check();
        self.actions.extend(actions.drain());
    }

    fn ask(&mut self, command: Command) -> Result<Reply, CommandError> {
        let request = RequestId(77);
        let command = command.into();
        self.feed(Event::Command { request, command });
        let mut replies = self.take(|action| match action {
            Action::Reply {
                request: to,
                result,
            } if *to == request => Some(result.clone()),
            _ => None,
        });
        replies.pop().expect("answered at once")
    }

    fn take<T>(&mut self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let (taken, rest): (Vec<Action>, Vec<Action>) = self
            .actions
            .drain(..)
            .partition(|action| pick(action).is_some());
        self.actions = rest;
        taken.iter().filter_map(pick).collect()
    }

    /// A peer dials in, shakes hands, and says how large the metadata is.
    fn peer(&mut self, last_octet: u8, size: Option<u32>) -> ConnId {
        self.tickets += 1;
        let from = SocketAddr::new([10, 0, 0, last_octet].into(), 5000);
        let ticket = Ticket(self.tickets);
        self.feed(Event::Incoming { ticket, from });
        let conn = self.take(|action| match action {
            Action::Accept { conn, .. } => Some(*conn),
            _ => None,
        })[0];
        let handshake = Handshake {
            reserved: Reserved::default().with_fast(true).with_extended(true),
            info_hash: *InfoHash::of_info(&self.info).as_bytes(),
            peer_id: PeerId([last_octet; 20]),
        };
        let data = Bytes::copy_from_slice(&handshake.encode());
        self.feed(Event::Received { conn, data });
        for message in self.heard(conn) {
            if let Message::Extended { id: 0, payload } = message {
                self.ours = ExtendedHandshake::decode(&payload)
                    .expect("ours")
                    .extensions;
            }
        }
        self.introduce(conn, size);
        conn
    }

    /// The peers that are being dialled take the call, and say that they see us at an address.
    fn pick_up(&mut self, your_ip: IpAddr) -> usize {
        let calls = self.take(|action| match action {
            Action::Connect { conn, to, .. } => Some((*conn, *to)),
            _ => None,
        });
        for (conn, to) in &calls {
            self.feed(Event::Connected { conn: *conn });
            let IpAddr::V4(ip) = to.ip() else {
                panic!("{to}");
            };
            let [.., last] = ip.octets();
            let handshake = Handshake {
                reserved: Reserved::default().with_extended(true),
                info_hash: *self.metainfo.info_hash().as_bytes(),
                peer_id: PeerId([100 + last; 20]),
            };
            let data = Bytes::copy_from_slice(&handshake.encode());
            self.feed(Event::Received { conn: *conn, data });
            self.see_at(*conn, your_ip);
        }
        calls.len()
    }

    fn see_at(&mut self, conn: ConnId, your_ip: IpAddr) {
        let handshake = ExtendedHandshake {
            your_ip: Some(your_ip),
            ..ExtendedHandshake::default()
        };
        let payload = handshake.encode().into();
        self.say(conn, &Message::Extended { id: 0, payload });
    }

    fn introduce(&mut self, conn: ConnId, size: Option<u32>) {
        let extensions = [("ut_metadata", THEIR_METADATA), ("ut_pex", THEIR_PEX)];
        let handshake = ExtendedHandshake {
            extensions: extensions.map(|(name, id)| (name.to_string(), id)).into(),
            metadata_size: size,
            ..ExtendedHandshake::default()
        };
        let payload = handshake.encode().into();
        self.say(conn, &Message::Extended { id: 0, payload });
    }

    fn say(&mut self, conn: ConnId, message: &Message) {
        let mut data = BytesMut::new();
        message.encode(&mut data);
        let data = data.freeze();
        self.feed(Event::Received { conn, data });
    }

    fn say_metadata(&mut self, conn: ConnId, message: &MetadataMessage) {
        let id = self.ours["ut_metadata"];
        let payload = message.encode();
        self.say(conn, &Message::Extended { id, payload });
    }

    /// What was sent to a peer since the last time.
    fn heard(&mut self, conn: ConnId) -> Vec<Message> {
        let sends = self.take(|action| match action {
            Action::Send { conn: to, data } if *to == conn => Some(data.clone()),
            _ => None,
        });
        let mut stream = sends.concat();
        if stream.starts_with(b"\x13BitTorrent protocol") {
            stream.drain(..68);
        }
        let mut stream = Bytes::from(stream);
        let mut decoder = Decoder::new(Limits::default());
        let mut messages = Vec::new();
        while let Some(frame) = decoder.decode(&mut stream).expect("well-formed") {
            if let Frame::Message(message) = frame {
                messages.push(message);
            }
        }
        messages
    }

    fn requests(&mut self, conn: ConnId) -> Vec<u32> {
        let heard = self.heard(conn).into_iter();
        heard
            .filter_map(|message| match message {
                Message::Extended {
                    id: THEIR_METADATA,
                    payload,
                } => match MetadataMessage::decode(&payload).expect("well-formed") {
                    Some(MetadataMessage::Request { piece }) => Some(piece),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    /// Answers a peer's requests, rightly or not, until it gets none.
    fn serve(&mut self, conn: ConnId, honest: bool) {
        loop {
            let requests = self.requests(conn);
            if requests.is_empty() {
                return;
            }
            for piece in requests {
                let info = self.info.clone();
                let start = piece as usize * 16_384;
                let mut data = info[start..info.len().min(start + 16_384)].to_vec();
                if !honest {
                    data[9] ^= 1;
                }
                let message = MetadataMessage::Data {
                    piece,
                    total_size: Some(info.len() as u32),
                    data: data.into(),
                };
                self.say_metadata(conn, &message);
            }
        }
    }

    fn size(&self) -> u32 {
        self.info.len() as u32
    }

    fn state(&self) -> TorrentState {
        self.engine.torrent(self.torrent).expect("there").state()
    }

    fn banned(&mut self) -> Vec<u8> {
        self.take(|action| match action {
            Action::Notify(Notice::PeerBanned { address, .. }) => match address {
                SocketAddr::V4(v4) => Some(v4.ip().octets()[3]),
                SocketAddr::V6(_) => None,
            },
            _ => None,
        })
    }

    /// Opens the storage, with nothing in it; which files are wanted.
    fn open(&mut self) -> Vec<bool> {
        let open = self.take(|action| match action {
            Action::Disk {
                op,
                job: DiskJob::Open(open),
                ..
            } => Some((*op, open.clone())),
            _ => None,
        });
        let [(op, open)] = &open[..] else {
            panic!("opened once: {}", open.len());
        };
        assert!(open.fetched);
        let pieces = self.metainfo.piece_count();
        let opened = Opened {
            trusted: Bitfield::new(pieces),
            doubtful: Bitfield::new(pieces),
            ..Opened::default()
        };
        let result = OpResult::Disk(Ok(DiskDone::Opened(Box::new(opened))));
        self.feed(Event::Done { op: *op, result });
        open.wanted.clone()
    }

    fn is_closed(&self, conn: ConnId) -> bool {
        let closed =
            |action: &Action| matches!(action, Action::Close { conn: closed } if *closed == conn);
        self.actions.iter().any(closed)
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.feed(Event::Tick);
        }
    }
}

fn add(engine: &mut Engine, link: &str) -> (TorrentId, Vec<Action>) {
    let add = AddTorrent {
        magnet: Some(link.to_string()),
        ..AddTorrent::default()
    };
    let mut actions = Actions::new();
    let command = Box::new(Command::AddTorrent(add));
    let request = RequestId(1);
    let _ = engine.handle(
        Instant::ZERO,
        Event::Command { request, command },
        &mut actions,
    );
    let actions: Vec<Action> = actions.drain().collect();
    let reply = actions.iter().find_map(|action| match action {
        Action::Reply {
            result: Ok(Reply::Added { torrent }),
            ..
        } => Some(*torrent),
        _ => None,
    });
    (reply.expect("added"), actions)
}

#[test]
fn a_magnet_becomes_a_torrent_and_keeps_its_connections() {
    let mut rig = Rig::new(false, "&so=1&tr=http://t/");
    assert_eq!(rig.state(), TorrentState::FetchingMetadata);
    let pieces = rig.metainfo.piece_count();
    let size = rig.size();
    let peer = rig.peer(2, Some(size));
    // It says what it has before anybody can know what that means.
    rig.say(peer, &Message::Bitfield(Bitfield::full(pieces).to_wire()));
    rig.say(peer, &Message::Unchoke);
    rig.serve(peer, true);
    let received = rig.take(|action| match action {
        Action::Notify(Notice::MetadataReceived { metainfo, .. }) => Some(metainfo.clone()),
        _ => None,
    });
    let made = Metainfo::parse(received[0].clone()).expect("a torrent file");
    assert_eq!(made.info_hash(), rig.metainfo.info_hash());
    assert_eq!(made.trackers(), [["http://t/"]]);
    assert_eq!(rig.state(), TorrentState::Checking);
    assert_eq!(rig.open(), [false, true]);
    assert_eq!(rig.state(), TorrentState::Downloading);
    let heard = rig.heard(peer);
    assert!(heard.contains(&Message::Interested));
    let first = heard.iter().find_map(|message| match message {
        Message::Request(block) => Some(block.piece),
        _ => None,
    });
    assert!(
        first.is_some_and(|piece| piece >= 1_000),
        "of the second file"
    );
    let update = heard.iter().find_map(|message| match message {
        Message::Extended { id: 0, payload } => ExtendedHandshake::decode(payload).ok(),
        _ => None,
    });
    assert_eq!(update.and_then(|update| update.metadata_size), Some(size));
    assert!(!rig.is_closed(peer));
    let files = rig.engine.torrent(rig.torrent).expect("there").files();
    assert_eq!(files[0].priority, Priority::Skip);
}

#[test]
fn a_link_that_selects_nothing_downloads_nothing_and_says_so() {
    let mut rig = Rig::new(false, "&so=99,2-");
    let size = rig.size();
    let peer = rig.peer(2, Some(size));
    rig.serve(peer, true);
    let errors = rig.take(|action| match action {
        Action::Notify(Notice::MetadataUnusable { error, .. }) => Some(error.clone()),
        _ => None,
    });
    assert_eq!(
        errors,
        ["the link selects (so=) none of the torrent's 2 files"]
    );
    rig.pass(1);
    assert_eq!(rig.state(), TorrentState::Paused);
    let opened = rig.take(|action| matches!(action, Action::Disk { .. }).then_some(()));
    assert!(opened.is_empty());
}

#[test]
fn a_selection_of_a_torrent_that_is_there_is_judged_at_once() {
    let metainfo = metainfo(false);
    let bytes = torrent_file(metainfo.info_bytes(), &[], &[]);
    let hash = metainfo.info_hash();
    let add = |so: &str, priorities: Vec<Priority>, metadata_only| {
        let mut engine = Engine::new(Config::default(), Seed([1; 32]), Instant::ZERO, UnixTime(0));
        let add = AddTorrent {
            metainfo: bytes.clone(),
            magnet: Some(format!("magnet:?xt=urn:btih:{hash}{so}")),
            priorities,
            metadata_only,
            ..AddTorrent::default()
        };
        let mut actions = Actions::new();
        let command = Box::new(Command::AddTorrent(add));
        let request = RequestId(1);
        let event = Event::Command { request, command };
        let _ = engine.handle(Instant::ZERO, event, &mut actions);
        engine.check();
        let reply = actions.drain().find_map(|action| match action {
            Action::Reply { result, .. } => Some(result),
            _ => None,
        });
        reply.expect("answered").map(|reply| match reply {
            Reply::Added { torrent } => engine.torrent(torrent).expect("there").state(),
            reply => panic!("not added: {reply:?}"),
        })
    };
    let why = "the link selects (so=) none of the torrent's 2 files";
    assert_eq!(
        add("&so=99", Vec::new(), false),
        Err(CommandError::BadMagnet(why.into()))
    );
    assert_eq!(
        add("&so=0,99", Vec::new(), false),
        Ok(TorrentState::Checking)
    );
    assert_eq!(
        add("&so=99", [Priority::Normal].into(), false),
        Ok(TorrentState::Checking),
        "the user has chosen"
    );
    assert_eq!(add("", Vec::new(), true), Ok(TorrentState::Paused));
}

#[test]
fn what_follows_the_metadata_is_no_torrent() {
    // It has the hash of the link, and looks like more of a torrent file.
    let metainfo = metainfo(false);
    let info = [metainfo.info_bytes(), &b"8:announce8:http://t"[..]].concat();
    let mut rig = Rig::fetching(metainfo, info.into(), "", |_| ());
    let size = rig.size();
    let peer = rig.peer(2, Some(size));
    rig.serve(peer, true);
    let errors = rig.take(|action| match action {
        Action::Notify(Notice::MetadataUnusable { error, .. }) => Some(error.clone()),
        _ => None,
    });
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("data follows"), "{errors:?}");
}

#[test]
fn peers_that_were_dialled_tell_our_address_and_those_that_dialled_do_not() {
    let own: IpAddr = "203.0.113.9".parse().unwrap();
    let lie: IpAddr = "198.51.100.1".parse().unwrap();
    let named: String = (1..=6).map(|n| format!("&x.pe=5.{n}.0.{n}:6881")).collect();
    for private in [false, true] {
        let mut rig = Rig::with(private, &named, |config| config.dht.enabled = true);
        let address = Some(SocketAddr::from(([0, 0, 0, 0], 6881)));
        let command = Box::new(Command::Listening { address });
        let request = RequestId(2);
        rig.feed(Event::Command { request, command });
        let external = |rig: &Rig| rig.engine.dht().expect("a DHT").status().v4.external;
        for number in 20..30 {
            let incoming = rig.peer(number, None);
            rig.see_at(incoming, lie);
        }
        if private {
            // Before it is known to be so, nothing is known.
            let size = rig.size();
            let seed = rig.peer(2, Some(size));
            rig.serve(seed, true);
            rig.open();
        }
        rig.feed(Event::Tick);
        assert_eq!(external(&rig), None);
        let mut called = 0;
        while called < 6 {
            called += rig.pick_up(own);
            rig.pass(1);
            assert!(rig.now < Instant::from_millis(60_000), "{called}");
        }
        assert_eq!(external(&rig), (!private).then_some(own));
        let counters = rig.engine.dht().expect("a DHT").status().counters;
        assert_eq!(counters.moves, u64::from(!private));
    }
}

#[test]
fn liars_are_found_and_the_rest_goes_on() {
    let mut rig = Rig::new(false, "");
    let size = rig.size();
    let liar = rig.peer(2, Some(size));
    rig.serve(liar, false);
    assert_eq!(rig.banned(), [2]);
    let huge = rig.peer(3, Some(u32::MAX));
    assert!(rig.requests(huge).is_empty(), "nobody has that much");
    let short = rig.peer(4, Some(100));
    assert_eq!(rig.requests(short), [0]);
    let data = MetadataMessage::Data {
        piece: 0,
        total_size: None,
        data: Bytes::from_static(b"less"),
    };
    rig.say_metadata(short, &data);
    assert!(rig.is_closed(short), "a piece of the wrong length");
    let honest = rig.peer(5, Some(size));
    rig.serve(honest, true);
    assert_eq!(rig.state(), TorrentState::Checking);
}

#[test]
fn who_rejects_or_is_silent_is_passed_over() {
    let mut rig = Rig::new(false, "");
    let size = rig.size();
    let silent = rig.peer(2, Some(size));
    assert_eq!(rig.requests(silent).len(), 3);
    let rejecting = rig.peer(3, Some(size));
    rig.pass(4);
    let late = rig.requests(rejecting);
    assert_eq!(late.len(), 3, "asked of somebody else, too");
    for piece in late {
        rig.say_metadata(rejecting, &MetadataMessage::Reject { piece });
    }
    let honest = rig.peer(4, None);
    rig.pass(10);
    assert!(
        rig.requests(honest).is_empty(),
        "it has not said that it has it"
    );
    // A later handshake says so.
    rig.introduce(honest, Some(size));
    rig.serve(honest, true);
    assert_eq!(rig.state(), TorrentState::Checking);
}

#[test]
fn what_was_said_too_early_and_was_wrong_is_punished_in_the_end() {
    let mut rig = Rig::new(false, "");
    let size = rig.size();
    let pieces = rig.metainfo.piece_count();
    let wrong = rig.peer(2, None);
    rig.say(wrong, &Message::Have(pieces));
    let right = rig.peer(3, Some(size));
    rig.say(right, &Message::Have(pieces - 1));
    rig.serve(right, true);
    rig.open();
    assert!(rig.is_closed(wrong) && !rig.is_closed(right));
    assert!(rig.heard(right).contains(&Message::Interested));
}

#[test]
fn metadata_is_given_to_others_but_not_for_ever() {
    let mut rig = Rig::new(false, "");
    let size = rig.size();
    let peer = rig.peer(2, Some(size));
    rig.say_metadata(peer, &MetadataMessage::Request { piece: 0 });
    let answers = |rig: &mut Rig| -> Vec<bool> {
        let heard = rig.heard(peer).into_iter();
        heard
            .filter_map(|message| match message {
                Message::Extended {
                    id: THEIR_METADATA,
                    payload,
                } => match MetadataMessage::decode(&payload).expect("well-formed") {
                    Some(MetadataMessage::Data { data, .. }) => Some(!data.is_empty()),
                    Some(MetadataMessage::Reject { .. }) => Some(false),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    };
    rig.pass(0);
    let honest = rig.peer(3, Some(size));
    assert_eq!(answers(&mut rig), [false], "it is not there yet");
    rig.pass(4);
    rig.serve(honest, true);
    rig.open();
    for round in 0..5 {
        for piece in 0..3 {
            rig.say_metadata(peer, &MetadataMessage::Request { piece });
        }
        let expected = [round < 3; 3];
        assert_eq!(answers(&mut rig), expected, "round {round}");
    }
    rig.say_metadata(peer, &MetadataMessage::Request { piece: u32::MAX });
    assert_eq!(answers(&mut rig), [false]);
    // A flood of them is one of messages.
    for _ in 0..3_000 {
        rig.say_metadata(peer, &MetadataMessage::Request { piece: 0 });
        if rig.is_closed(peer) {
            return;
        }
    }
    panic!("never cut off");
}

#[test]
fn what_a_second_link_names_can_be_given_to_the_torrent_that_is_there() {
    for private in [false, true] {
        let mut rig = Rig::new(private, "");
        let size = rig.size();
        let peer = rig.peer(2, Some(size));
        rig.serve(peer, true);
        rig.open();
        let link = format!(
            "magnet:?xt=urn:btih:{}&tr=http://t/",
            rig.metainfo.info_hash()
        );
        let add = AddTorrent {
            magnet: Some(link),
            ..AddTorrent::default()
        };
        let info_hash = rig.metainfo.info_hash();
        let torrent = rig.torrent;
        let there = CommandError::Duplicate { info_hash, torrent };
        assert_eq!(rig.ask(Command::AddTorrent(add)), Err(there));
        let trackers = |rig: &Rig| {
            rig.engine
                .torrent(torrent)
                .expect("there")
                .trackers(rig.now)
                .len()
        };
        assert_eq!(trackers(&rig), 0, "what failed has changed nothing");
        let urls = vec!["http://t/".to_string()];
        let answer = rig.ask(Command::AddTrackers { torrent, urls });
        if private {
            assert_eq!(answer, Err(CommandError::Private));
            assert_eq!(trackers(&rig), 0);
        } else {
            assert!(answer.is_ok(), "{answer:?}");
            let asked = rig.take(|action| match action {
                Action::Http { request, .. } => Some(request.url.clone()),
                _ => None,
            });
            assert!(
                asked.len() == 1 && asked[0].starts_with("http://t/?"),
                "{asked:?}"
            );
        }
    }
}

#[test]
fn metadata_that_is_private_ends_the_exchange_of_peers() {
    for private in [false, true] {
        let mut rig = Rig::new(private, "");
        let size = rig.size();
        let peer = rig.peer(2, Some(size));
        let told = PexMessage {
            added: vec![(
                "10.0.0.77:6881".parse().expect("an address"),
                PexFlags::default(),
            )],
            dropped: Vec::new(),
        };
        let message = Message::Extended {
            id: rig.ours["ut_pex"],
            payload: told.encode().into(),
        };
        rig.say(peer, &message);
        rig.serve(peer, true);
        rig.open();
        let update = rig
            .heard(peer)
            .into_iter()
            .find_map(|message| match message {
                Message::Extended { id: 0, payload } => ExtendedHandshake::decode(&payload).ok(),
                _ => None,
            });
        let id = update.expect("a new handshake").extensions["ut_pex"];
        assert_eq!(id == 0, private);
        rig.say(peer, &message);
        let status = rig
            .engine
            .torrent(rig.torrent)
            .expect("there")
            .status(rig.now);
        let dialled = rig.take(|action| match action {
            Action::Connect { .. } => Some(()),
            _ => None,
        });
        let known = status.candidates as usize + dialled.len();
        if private {
            assert_eq!(status.candidates, 0);
        } else {
            assert_eq!(known, 1);
        }
    }
}

#[test]
fn links_that_are_wrong_are_refused() {
    let mut engine = Engine::new(Config::default(), Seed([1; 32]), Instant::ZERO, UnixTime(0));
    for link in ["", "magnet:?dn=x", "magnet:?xt=urn:btih:12"] {
        let add = AddTorrent {
            magnet: Some(link.to_string()),
            ..AddTorrent::default()
        };
        let mut actions = Actions::new();
        let command = Box::new(Command::AddTorrent(add));
        let request = RequestId(1);
        let _ = engine.handle(
            Instant::ZERO,
            Event::Command { request, command },
            &mut actions,
        );
        let refused = actions.drain().any(|action| {
            matches!(
                action,
                Action::Reply {
                    result: Err(CommandError::BadMagnet(_)),
                    ..
                }
            )
        });
        assert!(refused, "{link}");
    }
}

#[test]
fn peers_that_were_named_and_are_not_to_be_had_are_told() {
    let mut rig = Rig::new(false, "&x.pe=nowhere.example:5000&x.pe=10.0.0.9:5000");
    let failed = |rig: &mut Rig| {
        rig.take(|action| match action {
            Action::Notify(Notice::PeerFailed { peer, error, .. }) => {
                Some(format!("{peer}: {error}"))
            }
            _ => None,
        })
    };
    let lookups = rig.take(|action| match action {
        Action::Resolve { op, host, .. } => Some((*op, host.clone())),
        _ => None,
    });
    assert_eq!(lookups.len(), 1);
    let (op, host) = lookups[0].clone();
    assert_eq!(host, "nowhere.example");
    let result = OpResult::Resolved(Err(ContactError::NoSuchHost));
    rig.feed(Event::Done { op, result });
    assert_eq!(failed(&mut rig), ["nowhere.example:5000: no such host"]);

    let dialled = |rig: &mut Rig| {
        rig.take(|action| match action {
            Action::Connect { conn, to, .. } => Some((*conn, *to)),
            _ => None,
        })
    };
    let first = dialled(&mut rig);
    assert_eq!(first.len(), 1, "{first:?}");
    let (conn, address) = first[0];
    assert_eq!(address.to_string(), "10.0.0.9:5000");
    let reason = CloseReason::Refused;
    rig.feed(Event::Closed { conn, reason });
    assert_eq!(failed(&mut rig), ["10.0.0.9:5000: connection refused"]);

    // It is tried again, and this time nothing comes at all.
    rig.pass(16);
    assert_eq!(dialled(&mut rig).len(), 1);
    rig.pass(11);
    assert_eq!(failed(&mut rig), ["10.0.0.9:5000: no answer"]);

    // What a client does that does not have the torrent.
    let torrent = rig.torrent;
    let peers = vec!["10.0.0.8:5000".parse().expect("an address")];
    let named = rig.ask(Command::AddPeers { torrent, peers });
    assert!(named.is_ok());
    let (conn, _) = dialled(&mut rig)[0];
    let reason = CloseReason::Remote;
    rig.feed(Event::Closed { conn, reason });
    let told = failed(&mut rig);
    assert!(told[0].contains("may not have this torrent"), "{told:?}");
}

#[test]
fn the_time_of_a_download_is_that_of_its_downloading() {
    let mut rig = Rig::new(false, "");
    let status = |rig: &Rig| {
        let view = rig.engine.torrent(rig.torrent).expect("there");
        view.status(rig.now)
    };
    rig.pass(30);
    assert_eq!(status(&rig).download_time, Duration::ZERO);
    let size = rig.size();
    let peer = rig.peer(2, Some(size));
    rig.serve(peer, true);
    rig.pass(5);
    rig.open();
    assert_eq!(rig.state(), TorrentState::Downloading);
    rig.pass(7);
    assert_eq!(status(&rig).download_time, Duration::from_secs(7));
    let torrent = rig.torrent;
    assert!(rig.ask(Command::Pause { torrent }).is_ok());
    rig.pass(100);
    let paused = status(&rig);
    assert_eq!(paused.download_time, Duration::from_secs(7));
    assert_eq!((paused.download_rate, paused.upload_rate), (0, 0));
}

#[test]
fn a_node_of_the_dht_that_knows_nobody_is_named_as_what_is_missing() {
    let hindrance = |change: fn(&mut Config)| {
        let rig = Rig::with(false, "", change);
        let view = rig.engine.torrent(rig.torrent).expect("there");
        view.hindrance()
    };
    assert_eq!(hindrance(|_| ()), Some(Hindrance::NoPeers));
    let lost = hindrance(|config| config.dht.enabled = true);
    assert_eq!(lost, Some(Hindrance::NoDhtNodes));
}
